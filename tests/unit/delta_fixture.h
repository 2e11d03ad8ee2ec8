/* Files as editors save them, set after set, and how many deltas a set has of them. */
#ifndef COFFER_TESTS_UNIT_DELTA_FIXTURE_H
#define COFFER_TESTS_UNIT_DELTA_FIXTURE_H

#include "backup/setview_internal.h"
#include "tests/unit/backup_tree.h"

#define KIB 1024u
#define MIB (1024u * KIB)

/* What the file at hand holds. */
struct text {
	uint8_t *p;
	size_t len;
};

static inline struct text text_of(uint64_t seed, size_t len)
{
	return (struct text){noise(seed, len), len};
}

/* len bytes of other noise at off, in the place of old_len that go. */
static inline void edit(struct text *t, size_t off, size_t old_len, uint64_t seed, size_t len)
{
	CLEANUP_FREE uint8_t *more = noise(seed, len);
	size_t now = t->len - old_len + len;
	uint8_t *p = malloc(now + 1);

	assert_non_null(p);
	memcpy(p, t->p, off);
	memcpy(p + off, more, len);
	memcpy(p + off + len, t->p + off + old_len, t->len - off - old_len);
	free(t->p);
	*t = (struct text){p, now};
}

static inline struct text copy_of(const struct text *t)
{
	struct text c = {malloc(t->len + 1), t->len};

	assert_non_null(c.p);
	memcpy(c.p, t->p, t->len);
	return c;
}

/* As an editor saves: a new file, renamed over the old one. */
static inline uint64_t save(struct volume *v, const char *name, const struct text *t)
{
	uint64_t id = make(v, VOLUME_ROOT_ID, "saving~", S_IFREG | 0644);

	if (t->len)
		write_at(v, id, t->p, t->len, 0);
	assert_int_equal(volume_rename(v, VOLUME_ROOT_ID, "saving~", VOLUME_ROOT_ID, name, 0), 0);
	return id;
}

/* Bytes in the packs that a run made. */
static inline uint64_t back_up_size(struct backup_fixture *b, bool full)
{
	struct set_manifest m;
	struct backup_verdict v;
	uint64_t n = 0;

	back_up(b, full, &m);
	for (size_t i = 0; i < m.n_packs; i++)
		n += m.packs[i].len;
	assert_int_equal(backup_verify(b->repo, keys(b), &m, &v, &b->d), 0);
	assert_int_equal(v.n_bad, 0);
	set_manifest_free(&m);
	return n;
}

/* The content of a file in a set: 0, or why not. */
static inline int content(struct backup_fixture *b, size_t set, const char *path, struct text *ret)
{
	CLEANUP_FREE uint8_t *buf = malloc(SET_RANGE);
	uint8_t what[SET_RANGE_BLOCKS];
	struct set_catalog c;
	struct setview *sv;
	struct view_data it;
	struct volume_attr a;
	uint64_t id, range;
	int more;

	load(b, &c);
	assert_int_equal(setview_open(b->repo, keys(b), &c, set, &sv, &b->d), 0);
	assert_int_equal(setview_resolve(sv, path, &id, &b->d), 0);
	assert_int_equal(setview_attr(sv, id, &a), 0);
	ret->len = a.size;
	ret->p = calloc(1, a.size / SET_RANGE * SET_RANGE + SET_RANGE);
	assert_int_equal(view_data_open(sv, id, &it), 0);
	while ((more = view_data_next(&it, &range, what, buf)) > 0)
		for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
			if (what[i] == SET_BLOCK_DATA && range * SET_RANGE < a.size)
				memcpy(ret->p + range * SET_RANGE + i * MAP_BLOCK,
				       buf + i * MAP_BLOCK, MAP_BLOCK);
	view_data_close(&it);
	setview_close(sv);
	set_catalog_free(&c);
	return more;
}

static inline void expect_version(struct backup_fixture *b, size_t set, const char *path,
				  const struct text *want)
{
	struct text got = {0};

	assert_int_equal(content(b, set, path, &got), 0);
	assert_int_equal(got.len, want->len);
	assert_true(memcmp(got.p, want->p, want->len) == 0);
	free(got.p);
}

/* How many entries of the newest set are deltas; and the last of them. */
struct counting {
	size_t n;
	struct set_entry last;
};

static inline int count_delta(void *arg, const struct set_entry *e)
{
	struct counting *c = arg;

	if (set_entry_is_delta(e)) {
		c->n++;
		c->last = *e;
	}
	return 0;
}

static inline struct counting deltas(struct backup_fixture *b)
{
	struct counting n = {0};
	struct set_catalog c;

	load(b, &c);
	assert_int_equal(
	    set_index_read(b->repo, keys(b), &c.sets[c.n_sets - 1], count_delta, &n, &b->d), 0);
	set_catalog_free(&c);
	return n;
}

#endif
