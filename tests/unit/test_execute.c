/*
 * Execution: nothing but a quorum starts it, nothing but completion ends it, and afterwards nothing
 * opens.
 *
 * The attacker of these tests writes to the store and the repository, keeps copies of any age, and
 * may be a member.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>

#include "core/durable.h"
#include "shred/execute_internal.h"
#include "tests/unit/shred_fixture.h"

#define PLAIN                                                                                      \
	(struct wish)                                                                              \
	{                                                                                          \
		0                                                                                  \
	}
#define BIG 200000 /* bytes: several blocks, more than inline */

/* t/: doc saved over once, del deleted, big, sub/deep. Older sets hold all of it. */
struct scene {
	uint64_t t, sub, doc_old, doc, del, big, deep;
	uint64_t survivor, survivor_dir;
	uint64_t all[7];
};

static struct scene play(struct stage *s)
{
	struct volume *v = s->fx.v;
	struct scene x;

	x.t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755);
	x.survivor_dir = make(v, VOLUME_ROOT_ID, "others", S_IFDIR | 0755);
	x.survivor = make_file(v, x.survivor_dir, "survivor", 'S', BIG);
	x.sub = make(v, x.t, "sub", S_IFDIR | 0755);
	x.doc_old = make_file(v, x.t, "doc", '1', 9000);
	x.del = make_file(v, x.t, "del", 'x', 12000);
	x.big = make_file(v, x.t, "big", 'B', BIG);
	x.deep = make_file(v, x.sub, "deep", 'd', 100);
	backup(s, true);
	save_over(s, x.t, "doc", '2', 9500, &x.doc);
	assert_int_equal(volume_unlink(v, x.t, "del"), 0);
	backup(s, false);
	memcpy(x.all, (uint64_t[]){x.t, x.sub, x.doc_old, x.doc, x.del, x.big, x.deep},
	       sizeof(x.all));
	return x;
}

/* How many records of the ids open in the sets of a repository. */
struct opening {
	struct repo *r;
	struct keyring *kr;
	const struct set_manifest *m;
	const uint64_t *ids;
	size_t n, n_records, n_open;
};

static int open_entry(void *arg, const struct set_entry *e)
{
	struct opening *o = arg;
	CLEANUP_BYTES struct bytes_w out = {0};

	for (size_t i = 0; i < o->n; i++) {
		if ((o->ids[i] != e->id && (e->kind != SET_NAME || o->ids[i] != e->child)) ||
		    e->kind == SET_GONE || e->kind == SET_EDGE)
			continue;
		o->n_records++;
		o->n_open += set_record_read(o->r, o->kr, o->m, e, &out) == 0;
		break;
	}
	return 0;
}

static struct opening open_sets(struct stage *s, const char *dir, const uint64_t *ids, size_t n)
{
	const struct header *h = keyring_header(s->fx.kr);
	struct opening o = {.kr = s->fx.kr, .ids = ids, .n = n};
	struct set_catalog c;
	struct diag d = {0};

	assert_int_equal(repo_open(dir, h->volume_id, h->sign_pk, &o.r, &d), 0);
	assert_int_equal(set_catalog_load(o.r, h->volume_id, h->sign_pk, &c, &d), 0);
	assert_true(c.n_sets > 0);
	for (size_t i = 0; i < c.n_sets; i++) {
		o.m = &c.sets[i];
		assert_int_equal(set_index_read(o.r, o.kr, o.m, open_entry, &o, &d), 0);
	}
	set_catalog_free(&c);
	repo_close(o.r);
	return o;
}

static void on_bad(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "check: %s\n", text);
}

static void check_survivors(struct stage *s, const struct scene *x)
{
	struct volume_check c;

	check_file(s->fx.v, find_id(s->fx.v, x->survivor_dir, "survivor"), 'S', BIG);
	assert_int_equal(volume_check(s->fx.v, true, on_bad, NULL, &c), 0);
	assert_int_equal(c.n_bad, 0);
	struct opening o = open_sets(s, s->repo_dir, &x->survivor, 1);
	assert_true(o.n_records > 0);
	assert_int_equal(o.n_open, o.n_records);
}

static void check_destroyed(struct stage *s, const struct scene *x)
{
	struct volume_attr a;
	char path[64];
	struct stat st;

	assert_int_equal(find(s->fx.v, VOLUME_ROOT_ID, "t", &a), -ENOENT);
	for (size_t i = 0; i < 7; i++) {
		assert_true(key_gone(s, KEYRING_LIVE, x->all[i]));
		assert_true(key_gone(s, KEYRING_BACKUP, x->all[i]));
		assert_true(volume_peek(s->fx.v, x->all[i], &a) < 0);
		volume_object_path(x->all[i], 0, path);
		assert_int_equal(fstatat(s->store_fd, path, &st, 0), -1);
	}
	struct opening o = open_sets(s, s->repo_dir, x->all, 7);
	assert_true(o.n_records > 7);
	assert_int_equal(o.n_open, 0);
	check_survivors(s, x);
}

static void check_untouched(struct stage *s, const struct scene *x, const struct order *o,
			    uint64_t generation)
{
	char(*steps)[64];
	char **names;
	size_t n;
	struct diag d = {0};

	assert_int_equal(keyring_generation(s->fx.kr), generation);
	check_file(s->fx.v, find_id(s->fx.v, x->t, "doc"), '2', 9500);
	check_file(s->fx.v, find_id(s->fx.v, x->t, "big"), 'B', BIG);
	assert_int_equal(
	    order_journal_get(s->store_fd, o, keyring_header(s->fx.kr)->sign_pk, &steps, &n, &d),
	    0);
	assert_int_equal(n, 0);
	if (repo_list(s->repo, "announce/", &names, &n) == 0) {
		assert_int_equal(n, 0);
		repo_list_free(names, n);
	}
	struct opening open = open_sets(s, s->repo_dir, x->all, 7);
	assert_int_equal(open.n_open, open.n_records);
}

/* The newest trail record of an operation, with its result. */
struct looking_for {
	const char *operation;
	struct trail_event last;
	unsigned n;
};

static int on_record(uint64_t index, const struct trail_event *ev, void *arg)
{
	struct looking_for *l = arg;
	(void)index;

	if (!strcmp(ev->operation, l->operation)) {
		l->last = *ev;
		l->n++;
	}
	return 0;
}

static struct looking_for in_trail(struct stage *s, const char *operation)
{
	struct looking_for l = {.operation = operation};
	struct diag d = {0};

	assert_int_equal(trail_read(s->trail, 0, on_record, &l, &d), 0);
	return l;
}

static void statement_path(const struct stage *s, const struct order *o, const char *decision,
			   enum person who, char out[200])
{
	char id[NOTE_KEY_ID_LEN + 1];

	note_key_id(identity_card(s->people[who])->sign_pk, id);
	snprintf(out, 200, "%s/orders/%s/%s.%s", s->fx.store, o->number, decision, id);
}

static struct order unapproved(struct stage *s, uint64_t target)
{
	struct inventory inv = take_inventory(s, &target, 1, PLAIN);
	struct order o;

	request(s, &inv, PLAIN, &o);
	inventory_free(&inv);
	return o;
}

/* --- who may --- */

/*
 * No approval, one, the requester's own, a forged one, or approvals of another order: refused, on
 * record, and nothing changed. The same order then runs with real approvals, so it was the quorum
 * that refused.
 */
static void needs_the_quorum(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	uint64_t generation = keyring_generation(s->fx.kr);
	struct order other = unapproved(s, x.survivor), o = unapproved(s, x.t);
	struct shred_result res;
	char from[200], to[200], cmd[512];

	refused(s, &o, DIAG_QUORUM);
	struct looking_for l = in_trail(s, "destroy.begin");
	assert_int_equal(l.n, 1);
	assert_string_equal(l.last.result, "refused");
	assert_non_null(strstr(l.last.object, o.number));

	assert_int_equal(say(s, &o, OWNER, ORDER_APPROVE), 0);
	refused(s, &o, DIAG_QUORUM);
	assert_true(say(s, &o, ASKER, ORDER_APPROVE) < 0);
	/* The security administrator approved another order: his statement is copied over. */
	assert_int_equal(say(s, &other, SECURITY, ORDER_APPROVE), 0);
	statement_path(s, &other, "approve", SECURITY, from);
	statement_path(s, &o, "approve", SECURITY, to);
	snprintf(cmd, sizeof(cmd), "cp %s %s", from, to);
	assert_int_equal(system(cmd), 0);
	refused(s, &o, DIAG_QUORUM);
	/* The same with the number and digest put right: the signature does not hold. */
	char digest[2][65];
	bytes_hex(digest[0], other.digest, 32);
	bytes_hex(digest[1], o.digest, 32);
	snprintf(cmd, sizeof(cmd), "sed -i 's/%s/%s/;s/%s/%s/' %s", other.number, o.number,
		 digest[0], digest[1], to);
	assert_int_equal(system(cmd), 0);
	refused(s, &o, DIAG_QUORUM);
	/* The owner's approval under the name of the security administrator's file. */
	statement_path(s, &o, "approve", OWNER, from);
	snprintf(cmd, sizeof(cmd), "cp %s %s", from, to);
	assert_int_equal(system(cmd), 0);
	refused(s, &o, DIAG_QUORUM);
	check_untouched(s, &x, &o, generation);

	assert_int_equal(say(s, &o, SECURITY, ORDER_APPROVE), 0);
	execute(s, &o, &res);
	check_destroyed(s, &x);
}

/* A rejection and a withdrawal stop an order, also when only the trail still knows of them. */
static void objections_stand(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	uint64_t generation = keyring_generation(s->fx.kr);
	struct order o = order_for(s, x.t, PLAIN);
	struct trail_event ev = {.operation = "destroy.reject", .result = "refused"};
	char path[200];

	assert_int_equal(say(s, &o, SECURITY, ORDER_REJECT), 0);
	refused(s, &o, DIAG_ORDER_STATE);
	statement_path(s, &o, "reject", SECURITY, path);
	assert_int_equal(unlink(path), 0);
	snprintf(ev.object, sizeof(ev.object), "order %s", o.number);
	strcpy(ev.result, "ok");
	assert_int_equal(trail_append(s->trail, &ev, true), 0);
	refused(s, &o, DIAG_ORDER_STATE);
	check_untouched(s, &x, &o, generation);

	struct order again = order_for(s, x.t, PLAIN);
	strcpy(ev.operation, "destroy.withdraw");
	snprintf(ev.object, sizeof(ev.object), "order %s", again.number);
	assert_int_equal(trail_append(s->trail, &ev, false), 0);
	refused(s, &again, DIAG_ORDER_STATE);
}

/* No trail, no destruction. */
static void needs_the_trail(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	uint64_t generation = keyring_generation(s->fx.kr);
	struct rlimit was, none;

	assert_int_equal(volume_sync(s->fx.v), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	none = was;
	none.rlim_cur = 0;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	refused(s, &o, DIAG_TRAIL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	check_untouched(s, &x, &o, generation);
}

/* What changed since the request stops it before anything is done: content, a new file, a moved
 * one. */
static void drift_stops(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;
	uint64_t extra;

	/* Another file and a further backup are no drift of this. */
	make_file(v, x.survivor_dir, "new", 'n', 10);
	backup(s, false);
	extra = make_file(v, x.t, "extra", 'e', 10);
	refused(s, &o, DIAG_ORDER_DRIFT);
	assert_string_equal(in_trail(s, "destroy.begin").last.result, "refused");
	struct order with = order_for(s, x.t, PLAIN);
	write_at(v, x.doc, "!", 1, 0);
	refused(s, &with, DIAG_ORDER_DRIFT);
	with = order_for(s, x.t, PLAIN);
	assert_int_equal(volume_rename(v, x.t, "extra", x.survivor_dir, "extra", 0), 0);
	refused(s, &with, DIAG_ORDER_DRIFT);
	assert_false(key_gone(s, KEYRING_LIVE, x.t));
	with = order_for(s, x.t, PLAIN);
	execute(s, &with, &res);
	check_destroyed(s, &x);
	check_file(v, extra, 'e', 10);
}

/* An inventory that is not the one that was signed, or approvals of which the order was edited:
 * refused and on record. */
static void edited_orders_are_refused(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN), p = order_for(s, x.t, PLAIN);
	uint64_t generation = keyring_generation(s->fx.kr);
	struct shred_result res;
	struct diag d = {0};
	char cmd[512];

	snprintf(cmd, sizeof(cmd),
		 "sed -i 's/^%" PRIu64 " tpd/%" PRIu64 " tpd/' %s/orders/%s/inventory", x.t,
		 x.survivor_dir, s->fx.store, o.number);
	assert_int_equal(system(cmd), 0);
	refused(s, &o, DIAG_NOTE_UNSIGNED);
	assert_string_equal(in_trail(s, "destroy.begin").last.result, "integrity");
	snprintf(cmd, sizeof(cmd), "sed -i 's/retention/attention/' %s/orders/%s/order",
		 s->fx.store, p.number);
	assert_int_equal(system(cmd), 0);
	refused(s, &p, DIAG_NOTE_UNSIGNED);
	assert_int_equal(in_trail(s, "destroy.begin").n, 2);
	assert_true(shred_execute(&s->ctx, "D-20200101-0001", &res, &d) < 0);
	assert_int_equal(d.id, DIAG_NOT_FOUND);
	assert_int_equal(in_trail(s, "destroy.begin").n, 2);
	check_untouched(s, &x, &o, generation);
}

/* --- what is gone --- */

/* The whole way: live data, sets, a copy of the repository and of the store from before; survivors
 * are what they were. */
static void destroys(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	char old_repo[128], old_store[128];
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;
	struct shred_verdict v;
	struct diag d = {0};

	assert_int_equal(volume_sync(s->fx.v), 0);
	snprintf(old_repo, sizeof(old_repo), "%s.old", s->repo_dir);
	snprintf(old_store, sizeof(old_store), "%s.old", s->fx.store);
	copy_all(s->repo_dir, old_repo);
	copy_all(s->fx.store, old_store);
	struct opening before = open_sets(s, old_repo, x.all, 7);
	assert_int_equal(before.n_open, before.n_records);

	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_DONE);
	assert_int_equal(res.n_ids, 7);
	assert_int_equal(res.n_set_records, before.n_records);
	assert_string_equal(in_trail(s, OPERATION_VERIFY).last.result, "ok");
	check_destroyed(s, &x);
	struct opening after = open_sets(s, old_repo, x.all, 7);
	assert_int_equal(after.n_records, before.n_records);
	assert_int_equal(after.n_open, 0);
	assert_int_equal(s->n_invalidated, 7);

	enum order_state now;
	unsigned missing;
	assert_int_equal(order_judge(s->store_fd, s->charter, &o, time(NULL), &now, &missing, &d),
			 0);
	assert_int_equal(now, ORDER_DONE);
	struct inventory inv = take_inventory(s, &x.survivor, 1, PLAIN);
	assert_int_equal(shred_verify(&s->ctx, &o, &inv, &v, &d), 0);
	assert_true(v.n_live_open == 1 && v.n_set_open > 0 && v.n_raw_open == 1);
	inventory_free(&inv);
	/* Again, after a restart: done is done. */
	stage_reopen(s);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_DONE);
	check_destroyed(s, &x);

	/* The store of before does not open with the anchor of now. */
	struct keyring *kr = NULL;
	CLEANUP_SECRET struct secret *pass = fixture_passphrase();
	const struct header_unlock with = {.passphrase = pass};
	assert_true(keyring_open(old_store, &with, KEYRING_READ_ONLY, &kr, &d) < 0);
}

/* Nobody can confirm a guessed name afterwards: the folders that held it have new lookup ids, the
 * old ones are punctured and announced. */
static void ends_lookup_ids(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.big, PLAIN);
	struct shred_result res;
	struct bytes_w left = {0};
	struct volume_destroyed done;
	char name[64];
	uint64_t size;

	execute(s, &o, &res);
	snprintf(name, sizeof(name), "announce/%s.names", o.number);
	assert_int_equal(repo_size(s->repo, name, &size), 0);
	assert_int_equal(volume_destroy(s->fx.v, &x.big, 1, false, &done, &left), 0);
	assert_int_equal(left.len, 0);
	bytes_w_free(&left);
	check_file(s->fx.v, find_id(s->fx.v, x.t, "doc"), '2', 9500);
}

/* Kept files stay whole when the folder around them goes. */
static void spares_what_is_kept(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	struct volume_attr a;
	struct shred_result res;
	uint64_t t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755),
		 linked = make_file(v, t, "linked", 'l', BIG);

	assert_int_equal(volume_link(v, linked, VOLUME_ROOT_ID, "outside", &a), 0);
	volume_forget(v, linked, 1);
	make_file(v, t, "goes", 'g', 100);
	struct order o = order_for(s, t, PLAIN);
	execute(s, &o, &res);
	assert_int_equal(res.n_ids, 2);
	check_file(v, find_id(v, VOLUME_ROOT_ID, "outside"), 'l', BIG);
	assert_int_equal(nlink_of(v, linked), 1);
}

/* --- interruptions --- */

/*
 * Stopped at each moment that progress tells of (before a step, after it but before the journal
 * knows, and before the next), with everything reopened, the next run goes on to the same end; and
 * before it does, the order is never reported as done.
 */
static void goes_on_after_every_stop(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;
	int n_stops = 0, r;

	for (;; n_stops++) {
		struct diag d = {0};
		enum order_state now;
		unsigned missing;

		s->n_progress = 0;
		/* A cycle of three takes a step of six; the last four moments are one run's. */
		s->stop_at = n_stops < 18 ? 1 + n_stops % 3 : 1 + n_stops - 18;
		r = shred_execute(&s->ctx, o.number, &res, &d);
		if (r == 0)
			break;
		assert_int_equal(d.id, DIAG_INTERRUPTED);
		assert_true(n_stops < 40);
		assert_int_equal(
		    order_judge(s->store_fd, s->charter, &o, time(NULL), &now, &missing, &d), 0);
		assert_int_not_equal(now, ORDER_DONE);
		stage_reopen(s);
	}
	assert_int_equal(n_stops, 22);
	assert_int_equal(res.state, ORDER_DONE);
	check_destroyed(s, &x);
}

static int stop_at_step(void *arg, const char *step, uint64_t done, uint64_t total)
{
	(void)total;
	return !done && !strcmp(step, arg);
}

/* Runs until the step is about to begin, and stops there. */
static void stop_before(struct stage *s, const struct order *o, const char *step)
{
	struct shred_result res;
	struct diag d = {0};

	s->ctx.progress = stop_at_step;
	s->ctx.arg = (void *)step;
	s->ctx.invalidate = NULL;
	assert_int_equal(shred_execute(&s->ctx, o->number, &res, &d), -EINTR);
	s->ctx.progress = NULL;
}

/* A file that comes into the folder while an interrupted order waits stops the puncture, survives,
 * and the order goes on once it is moved out. */
static void strays_stop_the_puncture(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;

	stop_before(s, &o, "punctured");
	make_file(s->fx.v, x.sub, "intruder", 'i', 10);
	refused(s, &o, DIAG_ORDER_DRIFT);
	assert_false(key_gone(s, KEYRING_LIVE, x.t));
	assert_int_equal(volume_rename(s->fx.v, x.sub, "intruder", x.survivor_dir, "intruder", 0),
			 0);
	execute(s, &o, &res);
	check_destroyed(s, &x);
	check_file(s->fx.v, find_id(s->fx.v, x.survivor_dir, "intruder"), 'i', 10);
}

/* What an order spares, and what meanwhile lost its name elsewhere, would go with the folder: the
 * order stops while there is a way back. */
static void lost_names_stop_the_puncture(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	struct volume_attr a;
	struct shred_result res;
	uint64_t t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755),
		 linked = make_file(v, t, "linked", 'l', 100);

	assert_int_equal(volume_link(v, linked, VOLUME_ROOT_ID, "outside", &a), 0);
	struct order o = order_for(s, t, PLAIN);
	stop_before(s, &o, "punctured");
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "outside"), 0);
	refused(s, &o, DIAG_ORDER_DRIFT);
	assert_false(key_gone(s, KEYRING_LIVE, t));
	assert_int_equal(volume_link(v, linked, VOLUME_ROOT_ID, "again", &a), 0);
	execute(s, &o, &res);
	check_file(v, find_id(v, VOLUME_ROOT_ID, "again"), 'l', 100);
	volume_forget(v, linked, 2);
}

struct intruder {
	struct stage *s;
	uint64_t t, doc, linked;
	unsigned n_frozen, n_gone;
};

/* Tries what would change what the order was checked against. */
static int intrude(void *arg, const char *step, uint64_t done, uint64_t total)
{
	struct intruder *in = arg;
	struct volume *v = in->s->fx.v;
	struct volume_attr a;
	uint64_t id;
	(void)total;

	if (!strcmp(step, "begin") && !done)
		return 0; /* nothing was looked at yet, and nothing promised */
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "outside"), -EROFS);
	int r[] = {
	    try_make(v, in->t, "new", S_IFREG | 0644, &id),
	    (int)volume_write(v, in->doc, "x", 1, 0, false),
	    volume_rename(v, VOLUME_ROOT_ID, "loose", in->t, "loose", 0),
	    volume_link(v, in->doc, VOLUME_ROOT_ID, "escaped", &a),
	};
	bool gone = key_gone(in->s, KEYRING_LIVE, in->t);
	for (size_t i = 0; i < sizeof(r) / sizeof(r[0]); i++)
		assert_true(r[i] == -EROFS || (gone && r[i] == -EIO) || (gone && r[i] == -ENOENT));
	in->n_frozen += !gone;
	in->n_gone += gone;
	return 0;
}

/* From the checks to the end nothing comes under an order's folders or leaves them, and what it
 * spares keeps its other names; so the erasure meets what was checked. Then all is as before. */
static void nothing_moves_while_it_runs(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	struct intruder in = {.s = s};
	struct shred_result res;
	struct volume_stat st;
	struct volume_attr a;

	in.t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755);
	in.doc = make_file(v, in.t, "doc", 'd', BIG);
	in.linked = make_file(v, in.t, "linked", 'l', 100);
	make_file(v, VOLUME_ROOT_ID, "loose", 'o', 100);
	assert_int_equal(volume_link(v, in.linked, VOLUME_ROOT_ID, "outside", &a), 0);
	volume_forget(v, in.linked, 1);
	assert_int_equal(volume_open_file(v, in.doc, true), 0);
	struct order o = order_for(s, in.t, PLAIN);
	s->ctx.progress = intrude;
	s->ctx.arg = &in;
	s->ctx.invalidate = NULL;
	execute(s, &o, &res);
	assert_true(in.n_frozen >= 4 && in.n_gone >= 4);
	volume_release_file(v, in.doc, true);
	volume_stat(v, &st);
	assert_false(st.read_only);
	assert_int_equal(volume_rename(v, VOLUME_ROOT_ID, "loose", VOLUME_ROOT_ID, "free", 0), 0);
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "outside"), 0);
	check_clean(v);
}

/* An execution that ends before the puncture leaves the folder as usable as it was. */
static void a_refusal_thaws(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);

	make_file(s->fx.v, x.sub, "late", 'i', 10);
	refused(s, &o, DIAG_ORDER_DRIFT);
	write_at(s->fx.v, x.doc, "x", 1, 0);
	assert_int_equal(volume_unlink(s->fx.v, x.sub, "late"), 0);
}

/* --- escrows --- */

/* An escrow out of reach leaves the order pending and the certificate says so; once it is back the
 * order completes. */
static void waits_for_escrows(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;
	char away[128], path[160], *text;

	snprintf(away, sizeof(away), "%s.away", s->escrow);
	assert_int_equal(rename(s->escrow, away), 0);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_ESCROW_PENDING);
	assert_int_equal(res.n_escrow_pending, 1);
	snprintf(path, sizeof(path), "%s/orders/%s/certificate", s->fx.store, o.number);
	assert_int_equal(note_file_read(AT_FDCWD, path, 1 << 20, &text), 0);
	assert_non_null(strstr(text, "\nescrows-pending: 1\n"));
	free(text);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_ESCROW_PENDING);
	remove_tree(AT_FDCWD, s->escrow);
	assert_int_equal(rename(away, s->escrow), 0);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_DONE);
	assert_int_equal(note_file_read(AT_FDCWD, path, 1 << 20, &text), 0);
	assert_non_null(strstr(text, "\nescrows-pending: 0\n"));
	free(text);
	check_destroyed(s, &x);
}

/* The index of every set changes by a bit; how many sets there are. */
static size_t damage_indexes(struct stage *s)
{
	char **ids, name[96];
	size_t n;

	assert_int_equal(repo_list(s->repo, "sets/", &ids, &n), 0);
	for (size_t i = 0; i < n; i++) {
		CLEANUP_FREE uint8_t *index = NULL;
		size_t len;

		snprintf(name, sizeof(name), "sets/%s/index", ids[i]);
		assert_int_equal(repo_get(s->repo, name, 1 << 20, &index, &len), 0);
		index[len / 2] ^= 1;
		assert_int_equal(repo_put(s->repo, name, index, len), 0);
	}
	repo_list_free(ids, n);
	return n;
}

/* Sets that were damaged after the puncture cannot be looked into: the order completes, and neither the trail nor
 * the certificate nor its figures pass them off as verified. */
static void unread_sets_are_told(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;
	char path[160], line[64], *text;

	stop_before(s, &o, "verified");
	size_t n = damage_indexes(s);
	assert_true(n > 0);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_DONE);
	assert_int_equal(res.n_sets_unread, n);
	assert_int_equal(res.n_set_records, 0);
	assert_string_equal(in_trail(s, OPERATION_VERIFY).last.result, "integrity");
	snprintf(path, sizeof(path), "%s/orders/%s/certificate", s->fx.store, o.number);
	assert_int_equal(note_file_read(AT_FDCWD, path, 1 << 20, &text), 0);
	snprintf(line, sizeof(line), "\nsets-unread: %zu\n", n);
	assert_non_null(strstr(text, line));
	assert_non_null(strstr(text, "\nlimit-en: Sets whose manifest or index does not read"));
	free(text);
}

/* --- backups kept --- */

/* Keeping the backups needs a set that holds the files as they are; then only the live data goes.
 */
static void keeps_backups(void **state)
{
	struct stage *s = *state;
	struct wish keep = {.backups_kept = true};
	struct scene x = play(s);
	struct shred_result res;

	write_at(s->fx.v, x.big, "changed", 7, 50000);
	struct order o = order_for(s, x.t, keep);
	refused(s, &o, DIAG_POLICY);
	assert_false(key_gone(s, KEYRING_LIVE, x.t));
	backup(s, false);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_DONE);
	for (size_t i = 0; i < 7; i++) {
		assert_true(key_gone(s, KEYRING_LIVE, x.all[i]));
		assert_false(key_gone(s, KEYRING_BACKUP, x.all[i]));
	}
	struct opening open = open_sets(s, s->repo_dir, x.all, 7);
	assert_int_equal(open.n_open, open.n_records);
	check_survivors(s, &x);
}

/* --- recovery --- */

static void swap_in(const char *dir)
{
	char old[128], now[128];

	snprintf(old, sizeof(old), "%s.old", dir);
	snprintf(now, sizeof(now), "%s.now", dir);
	assert_int_equal(rename(dir, now), 0);
	assert_int_equal(rename(old, dir), 0);
}

/* Store, anchor and escrow from before the order open the data again, until the announcements are
 * applied: then nothing does. */
static void recovery_destroys_again(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	const char *dirs[] = {s->fx.store, s->fx.anchor, s->escrow};
	struct shred_result res;
	char old[128], name[64], ref[KEYRING_ORDER_REF_MAX + 1];
	struct diag d = {0};
	uint8_t *p;
	size_t n, len;

	stage_close(s);
	for (int i = 0; i < 3; i++) {
		snprintf(old, sizeof(old), "%s.old", dirs[i]);
		copy_all(dirs[i], old);
	}
	stage_open(s);
	execute(s, &o, &res);
	stage_close(s);
	for (int i = 0; i < 3; i++)
		swap_in(dirs[i]);
	stage_open(s);
	assert_false(key_gone(s, KEYRING_BACKUP, x.doc));

	snprintf(name, sizeof(name), "announce/%s", o.number);
	assert_int_equal(repo_get(s->repo, name, 1 << 20, &p, &len), 0);
	p[len / 2] ^= 1;
	assert_int_equal(repo_put(s->repo, name, p, len), 0);
	assert_true(shred_reapply(s->fx.kr, s->repo, &n, &d) < 0);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	assert_int_equal(n, 1); /* the lookup ids */
	p[len / 2] ^= 1;
	assert_int_equal(repo_put(s->repo, name, p, len), 0);
	free(p);
	assert_int_equal(shred_reapply(s->fx.kr, s->repo, &n, &d), 0);
	assert_int_equal(n, 1);
	assert_int_equal(shred_reapply(s->fx.kr, s->repo, &n, &d), 0);
	assert_int_equal(n, 0);
	for (size_t i = 0; i < 7; i++) {
		assert_true(key_gone(s, KEYRING_LIVE, x.all[i]));
		assert_true(key_gone(s, KEYRING_BACKUP, x.all[i]));
	}
	assert_true(keyring_gone(s->fx.kr, KEYRING_LIVE, x.doc, ref));
	assert_string_equal(ref, o.number);
	struct opening open = open_sets(s, s->repo_dir, x.all, 7);
	assert_int_equal(open.n_open, 0);
}

/* A repository without announcements has nothing to apply. */
static void reapply_nothing(void **state)
{
	struct stage *s = *state;
	struct diag d = {0};
	size_t n = 7;

	assert_int_equal(shred_reapply(s->fx.kr, s->repo, &n, &d), 0);
	assert_int_equal(n, 0);
}

/* More ranges than one note holds come in parts; announcing again adds nothing, and all parts are
 * applied. */
static void announces_in_parts(void **state)
{
	enum { N = 20000 };
	struct stage *s = *state;
	struct execution x = {.ctx = &s->ctx, .kr = s->fx.kr, .o = {.number = "D-20261128-0001"}};
	CLEANUP_FREE struct keyring_range *r = calloc(N, sizeof(*r));
	struct diag d = {0};
	char **names;
	size_t n;

	assert_non_null(r);
	for (uint64_t i = 0; i < N; i++)
		r[i] = (struct keyring_range){1000 + 2 * i, 1000 + 2 * i};
	for (int again = 0; again < 2; again++) {
		assert_int_equal(announce_put(&x, false, KEYRING_BOTH, r, N, &d), 0);
		assert_int_equal(repo_list(s->repo, "announce/", &names, &n), 0);
		assert_int_equal(n, 2);
		repo_list_free(names, n);
	}
	assert_int_equal(
	    announce_put(&x, false, KEYRING_BOTH, &(struct keyring_range){7000000, 7000001}, 1, &d),
	    0);
	assert_int_equal(shred_reapply(s->fx.kr, s->repo, &n, &d), 0);
	assert_int_equal(n, 3);
	assert_true(key_gone(s, KEYRING_LIVE, 1000) &&
		    key_gone(s, KEYRING_BACKUP, 1000 + 2 * (N - 1)));
	assert_true(key_gone(s, KEYRING_LIVE, 7000001));
	assert_false(key_gone(s, KEYRING_LIVE, 1001));
}

#define STAGED(f) cmocka_unit_test_setup_teardown(f, stage_setup, stage_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGED(needs_the_quorum),          STAGED(objections_stand),
	    STAGED(needs_the_trail),           STAGED(drift_stops),
	    STAGED(edited_orders_are_refused), STAGED(destroys),
	    STAGED(ends_lookup_ids),           STAGED(spares_what_is_kept),
	    STAGED(goes_on_after_every_stop),  STAGED(strays_stop_the_puncture),
	    STAGED(lost_names_stop_the_puncture), STAGED(nothing_moves_while_it_runs),
	    STAGED(a_refusal_thaws),
	    STAGED(waits_for_escrows),         STAGED(unread_sets_are_told),
	    STAGED(keeps_backups),
	    STAGED(recovery_destroys_again),   STAGED(reapply_nothing),
	    STAGED(announces_in_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
