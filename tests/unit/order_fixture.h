/*
 * What the tests of orders stand on: people, a charter, a store with one order in it; what the
 * attacker does to the store; and short forms of what is expected.
 *
 * The attacker of these tests writes to the store: he adds, edits, copies, links and deletes files,
 * and may be a member. He has nobody else's key.
 */
#ifndef COFFER_TESTS_UNIT_ORDER_FIXTURE_H
#define COFFER_TESTS_UNIT_ORDER_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"
#include "core/order.h"

#define NOW 1795856400 /* 2026-11-28T09:00:00Z */
#define DAY 86400

/* BOTH holds owner and security; the requester holds owner, so that only his being the requester
 * stops him. */
enum {
	REQUESTER,
	OWNER,
	SECURITY,
	BOTH,
	OPERATOR,
	AUDITOR,
	N_MEMBERS,
	STRANGER = N_MEMBERS,
	N_PEOPLE
};

static const unsigned roles_of[N_MEMBERS] = {
    CHARTER_OWNER,    CHARTER_OWNER,   CHARTER_SECURITY, CHARTER_OWNER | CHARTER_SECURITY,
    CHARTER_OPERATOR, CHARTER_AUDITOR,
};
static const uint8_t seed[32] = {42};
static const char inventory[] = "inventory bytes";
static struct identity *people[N_PEOPLE];

struct place {
	char dir[32];
	int fd;
	struct charter *c;
	struct order o;
	char number[ORDER_NUMBER_MAX + 1];
};

/* --- the stage --- */

static inline struct charter *make_charter(uint8_t volume, int64_t created)
{
	struct charter *c = calloc(1, sizeof(*c));
	char *body = NULL;

	assert_non_null(c);
	memset(c->volume_id, volume, sizeof(c->volume_id));
	identity_sign_pk_from_seed(seed, c->sign_pk);
	c->number = 1;
	c->created = created;
	c->n_members = N_MEMBERS;
	for (int i = 0; i < N_MEMBERS; i++) {
		c->members[i].card = *identity_card(people[i]);
		c->members[i].roles = roles_of[i];
		c->members[i].uid = -1;
	}
	c->n_quorums = 1;
	c->quorums[0] = (struct charter_quorum){"destroy", CHARTER_OWNER | CHARTER_SECURITY};
	assert_int_equal(charter_build(c, &body, NULL), 0);
	free(body);
	return c;
}

static inline struct order blank_order(const struct charter *c, const char *number,
				       const struct identity *by)
{
	struct order o = {.created = NOW, .expires = NOW + 60 * DAY, .n_ids = 3, .n_bytes = 12345};

	strcpy(o.number, number);
	memcpy(o.volume_id, c->volume_id, sizeof(o.volume_id));
	memcpy(o.charter, c->digest, sizeof(o.charter));
	strcpy(o.action, "destroy");
	memcpy(o.requester_pk, identity_card(by)->sign_pk, sizeof(o.requester_pk));
	strcpy(o.requester, identity_card(by)->name);
	strcpy(o.description, "2019 年度档案");
	strcpy(o.reason, "retention period over");
	strcpy(o.legal_basis, "");
	strcpy(o.method, "cryptographic erase");
	strcpy(o.unit, "Archive");
	kdf_sha256(o.inventory, inventory, sizeof(inventory));
	return o;
}

static inline char *sign_order(struct order *o, const struct identity *by)
{
	CLEANUP_FREE char *body = NULL;
	char *text = NULL;

	assert_int_equal(order_build(o, &body, NULL), 0);
	assert_int_equal(note_sign(body, by, &text), 0);
	return text;
}

static inline void add_order(const struct place *p, struct order *o, const struct identity *by)
{
	CLEANUP_FREE char *text = sign_order(o, by);
	struct diag d = {0};

	assert_int_equal(order_store(p->fd, o, text, inventory, sizeof(inventory), &d), 0);
}

static inline int make_people(void **state)
{
	static const char *const names[] = {"Req Wu",   "Own Li",   "Sec Wang", "Both Sun",
					    "Op Zhang", "Aud Chen", "Mallory"};

	(void)state;
	for (int i = 0; i < N_PEOPLE; i++) {
		char number[16];

		snprintf(number, sizeof(number), "%d", 1000 + i);
		people[i] = identity_new(names[i], number);
		if (!people[i])
			return -1;
	}
	return 0;
}

static inline int free_people(void **state)
{
	(void)state;
	for (int i = 0; i < N_PEOPLE; i++)
		identity_free(people[i]);
	return 0;
}

static inline int place_make(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test-order-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->c = make_charter(0xab, NOW - DAY);
	strcpy(p->number, "D-20261128-0001");
	p->o = blank_order(p->c, p->number, people[REQUESTER]);
	add_order(p, &p->o, people[REQUESTER]);
	*state = p;
	return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline int place_remove(void **state)
{
	struct place *p = *state;
	int r;

	close(p->fd);
	r = nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(p->c);
	free(p);
	return r;
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)

/* --- what the attacker does --- */

static inline void path_of(const struct place *p, const char *number, const char *file,
			   char out[160])
{
	snprintf(out, 160, "%s/orders/%s/%s", p->dir, number, file);
}

static inline void statement_name(const char *decision, const struct identity *by, char out[40])
{
	char id[NOTE_KEY_ID_LEN + 1];

	note_key_id(identity_card(by)->sign_pk, id);
	snprintf(out, 40, "%s.%s", decision, id);
}

static inline void write_file(const struct place *p, const char *file, const char *text)
{
	char path[160];
	FILE *f;

	path_of(p, p->number, file, path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static inline char *read_file(const struct place *p, const char *number, const char *file)
{
	char path[160], *text = NULL;

	path_of(p, number, file, path);
	assert_int_equal(note_file_read(AT_FDCWD, path, 1 << 20, &text), 0);
	return text;
}

static inline char *edit(const char *text, const char *from, const char *to)
{
	const char *at = memmem(text, strlen(text), from, strlen(from));
	char *out = NULL;

	assert_non_null(at);
	assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	return out;
}

/* What a forger can vary; NULL and 0 take what is right. */
struct forgery {
	const struct identity *signer, *claims_to_be;
	const char *decision, *role, *number, *file, *extra;
	const uint8_t *volume, *charter, *digest;
	int64_t created, expires;
};

static inline char *forge(const struct place *p, const struct forgery *f)
{
	const struct identity *as = f->claims_to_be ? f->claims_to_be : f->signer;
	const char *decision = f->decision ? f->decision : "approve";
	int64_t created = f->created ? f->created : NOW;
	CLEANUP_BYTES struct bytes_w w = {0};
	CLEANUP_FREE char *body = NULL;
	char *text = NULL;

	note_begin(&w, "statement", 1);
	note_put_hex(&w, "volume", f->volume ? f->volume : p->o.volume_id, 16);
	note_put_hex(&w, "charter", f->charter ? f->charter : p->o.charter, 32);
	note_put(&w, "order", f->number ? f->number : p->o.number);
	note_put_hex(&w, "order-digest", f->digest ? f->digest : p->o.digest, 32);
	note_put(&w, "decision", decision);
	note_put(&w, "role", f->role ? f->role : "owner");
	note_put(&w, "signer", identity_card(as)->name);
	note_put_hex(&w, "signer-key", identity_card(as)->sign_pk, 32);
	note_put_time(&w, "created", created);
	if (strcmp(decision, "approve") == 0)
		note_put_time(&w, "expires", f->expires ? f->expires : created + 30 * DAY);
	note_put(&w, "opinion", "");
	if (f->extra)
		note_put(&w, "extra", f->extra);
	assert_int_equal(note_end(&w, &body), 0);
	assert_int_equal(note_sign(body, f->signer, &text), 0);
	return text;
}

static inline void plant(const struct place *p, const struct forgery *f)
{
	const struct identity *as = f->claims_to_be ? f->claims_to_be : f->signer;
	CLEANUP_FREE char *text = forge(p, f);
	char name[40];

	statement_name(f->decision ? f->decision : "approve", as, name);
	write_file(p, f->file ? f->file : name, text);
}

/* --- what is expected --- */

static inline void say(const struct place *p, int who, enum order_decision decision, int64_t now)
{
	struct diag d = {0};

	assert_int_equal(order_say(p->fd, p->c, &p->o, people[who], decision, "seen", now, &d), 0);
}

static inline void say_refused(const struct place *p, int who, enum order_decision decision,
			       int64_t now, enum diag_id id)
{
	struct diag d = {0};

	assert_int_equal(order_say(p->fd, p->c, &p->o, people[who], decision, NULL, now, &d),
			 -EPERM);
	assert_int_equal(d.id, id);
}

static inline void expect_at(const struct place *p, int64_t now, enum order_state want,
			     unsigned want_missing)
{
	enum order_state got;
	unsigned missing;
	struct diag d = {0};

	assert_int_equal(order_judge(p->fd, p->c, &p->o, now, &got, &missing, &d), 0);
	assert_string_equal(order_state_name(got), order_state_name(want));
	assert_int_equal(missing, want_missing);
}

static inline void expect(const struct place *p, enum order_state want, unsigned want_missing)
{
	expect_at(p, NOW, want, want_missing);
}

static inline void judge_fails(const struct place *p, const struct charter *c,
			       const struct order *o, int want, enum diag_id id)
{
	enum order_state got;
	unsigned missing;
	struct diag d = {0};

	assert_int_equal(order_judge(p->fd, c, o, NOW, &got, &missing, &d), want);
	assert_int_equal(d.id, id);
}

/* Exactly one statement is there, is ignored, and the reason has these words. */
static inline void expect_ignored(const struct place *p, const char *why)
{
	struct order_statement list[ORDER_STATEMENTS_MAX];
	struct diag d = {0};
	size_t n;

	assert_int_equal(order_statements(p->fd, p->c, &p->o, NOW, list, &n, &d), 0);
	assert_int_equal(n, 1);
	assert_false(list[0].counts);
	if (!strstr(list[0].why_not, why))
		fail_msg("\"%s\" lacks \"%s\"", list[0].why_not, why);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
}

#endif
