/*
 * What the tests of destruction stand on: a volume with trail, one escrow, one repository and a
 * charter of three members, made as the tools make them, and short forms of requesting, approving
 * and executing.
 */
#ifndef COFFER_TESTS_UNIT_SHRED_FIXTURE_H
#define COFFER_TESTS_UNIT_SHRED_FIXTURE_H

#include <time.h>

#include "tests/unit/volume_fixture.h"

#include "backup/backup.h"
#include "core/note.h"
#include "core/order.h"
#include "shred/certificate.h"
#include "shred/execute.h"

/* The requester is an owner, so that only his being the requester stops him. */
enum person { ASKER, OWNER, SECURITY, N_PEOPLE };

struct stage {
	struct fixture fx;
	char escrow[96], repo_dir[96];
	int store_fd;
	struct identity *people[N_PEOPLE];
	struct charter *charter;
	struct trail *trail;
	struct repo *repo;
	struct shred_context ctx;
	uint64_t *invalidated;
	size_t n_invalidated;
	int stop_at, n_progress; /* the call of progress that says stop; 0 none */
};

static inline void copy_all(const char *from, const char *to)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "cp -a %s %s", from, to);
	assert_int_equal(system(cmd), 0);
}

static inline int stage_progress(void *arg, const char *step, uint64_t done, uint64_t total)
{
	struct stage *s = arg;

	(void)step, (void)done, (void)total;
	return ++s->n_progress == s->stop_at;
}

static inline void stage_invalidate(void *arg, const uint64_t *ids, size_t n)
{
	struct stage *s = arg;

	free(s->invalidated);
	s->invalidated = calloc(n + 1, sizeof(*ids));
	memcpy(s->invalidated, ids, n * sizeof(*ids));
	s->n_invalidated = n;
}

static inline void stage_open(struct stage *s)
{
	const struct header *h;
	struct keyring_fresh fresh;
	struct diag d = {0};

	fixture_open_keys(&s->fx);
	h = keyring_header(s->fx.kr);
	s->store_fd = open(s->fx.store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(s->store_fd >= 0);
	keyring_fresh_get(s->fx.kr, &fresh);
	assert_int_equal(trail_open(s->store_fd, s->fx.kr, NULL, &s->trail, &d), 0);
	fixture_mount(&s->fx);
	assert_int_equal(repo_open(s->repo_dir, h->volume_id, h->sign_pk, &s->repo, &d), 0);
	s->ctx = (struct shred_context){.volume = s->fx.v,
					.trail = s->trail,
					.store_fd = s->store_fd,
					.charter = s->charter,
					.repos = &s->repo,
					.n_repos = 1,
					.invalidate = stage_invalidate,
					.progress = stage_progress,
					.arg = s,
					.uid = 1000,
					.pid = 4711};
}

static inline void stage_close(struct stage *s)
{
	repo_close(s->repo);
	fixture_unmount(&s->fx);
	trail_close(s->trail);
	close(s->store_fd);
	fixture_close_keys(&s->fx);
}

static inline void stage_reopen(struct stage *s)
{
	stage_close(s);
	stage_open(s);
}

static inline void stage_charter(struct stage *s, const uint8_t id[16], const uint8_t seed[32],
				 char **ret_text)
{
	static const unsigned roles[N_PEOPLE] = {CHARTER_OWNER, CHARTER_OWNER, CHARTER_SECURITY};
	static const char *const names[N_PEOPLE] = {"赵一", "钱二", "孙三"};
	struct charter *c = calloc(1, sizeof(*c));
	CLEANUP_FREE char *body = NULL, *by_volume = NULL;
	char key[NOTE_KEY_NAME_MAX + 1];

	assert_non_null(c);
	memcpy(c->volume_id, id, 16);
	identity_sign_pk_from_seed(seed, c->sign_pk);
	c->number = 1;
	c->created = time(NULL) - 60;
	c->n_members = N_PEOPLE;
	for (int i = 0; i < N_PEOPLE; i++) {
		char number[16];

		snprintf(number, sizeof(number), "%d", 1001 + i);
		s->people[i] = identity_new(names[i], number);
		assert_non_null(s->people[i]);
		c->members[i].card = *identity_card(s->people[i]);
		c->members[i].roles = roles[i];
		c->members[i].uid = -1;
	}
	c->n_quorums = 1;
	c->quorums[0] = (struct charter_quorum){"destroy", CHARTER_OWNER | CHARTER_SECURITY};
	assert_int_equal(charter_build(c, &body, NULL), 0);
	note_volume_key_name(id, key);
	assert_int_equal(note_sign_seed(body, key, seed, &by_volume), 0);
	assert_int_equal(note_cosign(by_volume, s->people[OWNER], ret_text), 0);
	s->charter = c;
}

static inline void stage_keys(struct stage *s, const uint8_t id[16], const uint8_t seed[32])
{
	CLEANUP_SECRET struct secret *pass = fixture_passphrase();
	const char *escrows[] = {s->escrow};
	struct keyring_init in = {
	    .store = s->fx.store,
	    .anchor = s->fx.anchor,
	    .name = "档案",
	    .suite = suite_best(),
	    .charter_first = s->charter->digest,
	    .escrows = escrows,
	    .n_escrows = 1,
	    .recipients = identity_card(s->people[OWNER]),
	    .n_recipients = 1,
	    .first_id = VOLUME_FIRST_ID,
	    .slot_label = "passphrase",
	    .passphrase = pass,
	    .cheap_passphrase = true,
	    .volume_id = id,
	    .sign_seed = seed,
	};

	assert_int_equal(mkdir(s->fx.store, 0700), 0);
	assert_int_equal(mkdir(s->escrow, 0700), 0);
	assert_int_equal(keyring_create(&in, &s->fx.d), 0);
}

static inline int stage_setup(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));
	CLEANUP_FREE char *charter_text = NULL;
	uint8_t id[16], seed[32];
	struct diag d = {0};

	assert_non_null(s);
	assert_int_equal(secret_process_init(), 0);
	strcpy(s->fx.dir, "/tmp/coffer-shred-XXXXXX");
	assert_non_null(mkdtemp(s->fx.dir));
	snprintf(s->fx.store, sizeof(s->fx.store), "%s/store", s->fx.dir);
	snprintf(s->fx.anchor, sizeof(s->fx.anchor), "%s/anchor", s->fx.dir);
	snprintf(s->escrow, sizeof(s->escrow), "%s/escrow", s->fx.dir);
	snprintf(s->repo_dir, sizeof(s->repo_dir), "%s/repo", s->fx.dir);
	kdf_random(id, sizeof(id));
	kdf_random(seed, sizeof(seed));
	stage_charter(s, id, seed, &charter_text);
	stage_keys(s, id, seed);
	fixture_open_keys(&s->fx);
	struct volume_config cfg = fixture_config(&s->fx);
	assert_int_equal(volume_create(&cfg, 1000, 1000, &d), 0);
	s->store_fd = open(s->fx.store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(charter_store(s->store_fd, s->charter, charter_text, &d), 0);
	assert_int_equal(trail_create(s->store_fd, s->fx.kr, &d), 0);
	assert_int_equal(repo_create(s->repo_dir, id, seed, &d), 0);
	close(s->store_fd);
	fixture_close_keys(&s->fx);
	stage_open(s);
	*state = s;
	return 0;
}

static inline int stage_teardown(void **state)
{
	struct stage *s = *state;

	stage_close(s);
	remove_tree(AT_FDCWD, s->fx.dir);
	for (int i = 0; i < N_PEOPLE; i++)
		identity_free(s->people[i]);
	free(s->charter);
	free(s->invalidated);
	free(s);
	return 0;
}

#define STAGED(test) cmocka_unit_test_setup_teardown(test, stage_setup, stage_teardown)

/* ---- what a test does ---- */

static inline void backup(struct stage *s, bool full)
{
	struct backup_request in = {.volume = s->fx.v,
				    .repo = s->repo,
				    .tier = "daily",
				    .full = full,
				    .charter = s->charter->digest};
	struct set_manifest m;
	struct diag d = {0};

	trail_head_get(s->trail, &in.trail);
	int r = backup_run(&in, &m, &d);
	if (r)
		diag_print(&d, stderr);
	assert_int_equal(r, 0);
	set_manifest_free(&m);
}

struct wish {
	bool moved, linked, backups_kept;
};

static inline struct inventory take_inventory(struct stage *s, const uint64_t *targets, size_t n,
					      struct wish w)
{
	struct inventory_request in = {.volume = s->fx.v,
				       .repos = &s->repo,
				       .n_repos = 1,
				       .targets = targets,
				       .n_targets = n,
				       .destroy_moved = w.moved,
				       .destroy_linked = w.linked};
	struct inventory inv;
	struct diag d = {0};
	int r = inventory_build(&in, &inv, &d);

	if (r)
		diag_print(&d, stderr);
	assert_int_equal(r, 0);
	return inv;
}

/* NULL when it is not listed. */
static inline const struct inventory_item *item(const struct inventory *inv, uint64_t id)
{
	for (size_t i = 0; i < inv->n_items; i++)
		if (inv->items[i].id == id)
			return &inv->items[i];
	return NULL;
}

static inline bool goes(const struct inventory *inv, uint64_t id)
{
	const struct inventory_item *it = item(inv, id);

	return it && !(it->flags & INVENTORY_KEPT);
}

/* Requests the destruction of what an inventory lists; number gets the order's. */
static inline void request(struct stage *s, const struct inventory *inv, struct wish w,
			   struct order *ret)
{
	struct order o = {.created = time(NULL), .backups_kept = w.backups_kept};
	CLEANUP_FREE char *text = NULL, *body = NULL, *note = NULL;
	struct diag d = {0};
	size_t len;

	assert_int_equal(inventory_encode(inv, &text, &len), 0);
	assert_int_equal(order_next_number(s->store_fd, o.created, o.number), 0);
	o.expires = o.created + 86400;
	memcpy(o.volume_id, s->charter->volume_id, 16);
	memcpy(o.charter, s->charter->digest, 32);
	strcpy(o.action, "destroy");
	memcpy(o.requester_pk, identity_card(s->people[ASKER])->sign_pk, 32);
	strcpy(o.requester, identity_card(s->people[ASKER])->name);
	strcpy(o.description, "2019 年度档案 <A&B>");
	strcpy(o.reason, "retention period over");
	strcpy(o.legal_basis, "数据安全法");
	strcpy(o.method, "cryptographic erase");
	strcpy(o.unit, "档案处");
	o.n_ids = inv->n_destroy;
	o.n_bytes = inv->n_bytes;
	memcpy(o.sealed, inv->sealed, 32);
	kdf_sha256(o.inventory, text, len);
	assert_int_equal(order_build(&o, &body, &d), 0);
	assert_int_equal(note_sign(body, s->people[ASKER], &note), 0);
	assert_int_equal(order_store(s->store_fd, &o, note, text, len, &d), 0);
	*ret = o;
}

static inline int say(struct stage *s, const struct order *o, enum person who,
		      enum order_decision what)
{
	struct diag d = {0};

	return order_say(s->store_fd, s->charter, o, s->people[who], what, "", time(NULL), &d);
}

static inline void approve(struct stage *s, const struct order *o)
{
	assert_int_equal(say(s, o, OWNER, ORDER_APPROVE), 0);
	assert_int_equal(say(s, o, SECURITY, ORDER_APPROVE), 0);
}

/* Inventory, request, approvals of one folder or file. */
static inline struct order order_for(struct stage *s, uint64_t target, struct wish w)
{
	struct inventory inv = take_inventory(s, &target, 1, w);
	struct order o;

	request(s, &inv, w, &o);
	approve(s, &o);
	inventory_free(&inv);
	return o;
}

static inline void execute(struct stage *s, const struct order *o, struct shred_result *ret)
{
	struct diag d = {0};
	int r = shred_execute(&s->ctx, o->number, ret, &d);

	if (r)
		diag_print(&d, stderr);
	assert_int_equal(r, 0);
}

static inline void refused(struct stage *s, const struct order *o, enum diag_id why)
{
	struct shred_result res;
	struct diag d = {0};

	assert_true(shred_execute(&s->ctx, o->number, &res, &d) < 0);
	if (d.id != why)
		diag_print(&d, stderr);
	assert_int_equal(d.id, why);
}

static inline bool key_gone(struct stage *s, enum keyring_tree tree, uint64_t id)
{
	uint8_t key[KDF_KEY_LEN];

	return keyring_file_key(s->fx.kr, tree, id, key) == -EKEYREVOKED;
}

static inline void save_over(struct stage *s, uint64_t dir, const char *name, char c, size_t len,
			     uint64_t *ret_new)
{
	*ret_new = make_file(s->fx.v, dir, ".tmp", c, len);
	assert_int_equal(volume_rename(s->fx.v, dir, ".tmp", dir, name, 0), 0);
}

#endif
