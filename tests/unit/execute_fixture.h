/*
 * What the tests of execution play: a folder with files that older sets hold as well, orders about
 * it, and what has to be gone, or has to be untouched, afterwards.
 *
 * The attacker of these tests writes to the store and the repository, keeps copies of any age, and
 * may be a member.
 */
#ifndef COFFER_TESTS_UNIT_EXECUTE_FIXTURE_H
#define COFFER_TESTS_UNIT_EXECUTE_FIXTURE_H

#include <inttypes.h>

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

static inline struct scene play(struct stage *s)
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

static inline int open_entry(void *arg, const struct set_entry *e)
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

static inline struct opening open_sets(struct stage *s, const char *dir, const uint64_t *ids,
				       size_t n)
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

static inline void on_bad(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "check: %s\n", text);
}

static inline void check_survivors(struct stage *s, const struct scene *x)
{
	struct volume_check c;

	check_file(s->fx.v, find_id(s->fx.v, x->survivor_dir, "survivor"), 'S', BIG);
	assert_int_equal(volume_check(s->fx.v, true, on_bad, NULL, &c), 0);
	assert_int_equal(c.n_bad, 0);
	struct opening o = open_sets(s, s->repo_dir, &x->survivor, 1);
	assert_true(o.n_records > 0);
	assert_int_equal(o.n_open, o.n_records);
}

static inline void check_destroyed(struct stage *s, const struct scene *x)
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

static inline void check_untouched(struct stage *s, const struct scene *x, const struct order *o,
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

static inline int on_record(uint64_t index, const struct trail_event *ev, void *arg)
{
	struct looking_for *l = arg;
	(void)index;

	if (!strcmp(ev->operation, l->operation)) {
		l->last = *ev;
		l->n++;
	}
	return 0;
}

static inline struct looking_for in_trail(struct stage *s, const char *operation)
{
	struct looking_for l = {.operation = operation};
	struct diag d = {0};

	assert_int_equal(trail_read(s->trail, 0, on_record, &l, &d), 0);
	return l;
}

static inline void statement_path(const struct stage *s, const struct order *o,
				  const char *decision, enum person who, char out[200])
{
	char id[NOTE_KEY_ID_LEN + 1];

	note_key_id(identity_card(s->people[who])->sign_pk, id);
	snprintf(out, 200, "%s/orders/%s/%s.%s", s->fx.store, o->number, decision, id);
}

static inline struct order unapproved(struct stage *s, uint64_t target)
{
	struct inventory inv = take_inventory(s, &target, 1, PLAIN);
	struct order o;

	request(s, &inv, PLAIN, &o);
	inventory_free(&inv);
	return o;
}

#endif
