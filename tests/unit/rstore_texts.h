/* Records whose values are texts, by number: short forms of writing and of what is expected. */
#ifndef COFFER_TESTS_UNIT_RSTORE_TEXTS_H
#define COFFER_TESTS_UNIT_RSTORE_TEXTS_H

#include "tests/unit/rstore_fixture.h"

static inline int setup(void **state)
{
	struct fx *f = calloc(1, sizeof(*f));

	fx_folder(f);
	fx_revoked = 0;
	if (rstore_create(&f->cfg, NULL) || rstore_open(&f->cfg, NULL, &f->rs, NULL))
		return -1;
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	fx_remove(*state);
	free(*state);
	return 0;
}

#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static inline void reopen(struct fx *f)
{
	fx_close(f);
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
}

static inline void put(struct fx *f, uint64_t n, const char *text)
{
	struct rstore_key k = fx_key(n);

	assert_int_equal(rstore_put(f->rs, &k, text, strlen(text)), 0);
}

static inline void del(struct fx *f, uint64_t n)
{
	struct rstore_key k = fx_key(n);

	assert_int_equal(rstore_del(f->rs, &k), 0);
}

static inline void commit(struct fx *f)
{
	assert_int_equal(rstore_commit(f->rs, NULL), 0);
}

static inline void assert_value(const struct bytes_w *w, int r, const char *text)
{
	if (!text) {
		assert_int_equal(r, -ENOENT);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(w->len, strlen(text));
	assert_memory_equal(w->buf, text, w->len);
}

static inline void expect(struct fx *f, uint64_t n, const char *text)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct rstore_key k = fx_key(n);

	assert_value(&w, rstore_get(f->rs, &k, &w, NULL), text);
}

static inline void expect_snap(struct fx *f, const struct rstore_snap *s, uint64_t n,
			       const char *text)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct rstore_key k = fx_key(n);

	assert_value(&w, rstore_snap_get(f->rs, s, &k, &w, NULL), text);
}

/* Appends "NUMBER=VALUE " to a text. */
static inline int list(void *arg, const struct rstore_key *key, const void *val, size_t len,
		       uint64_t txn)
{
	char *text = arg;

	assert_true(txn > 0);
	sprintf(text + strlen(text), "%d=%.*s ", (int)fx_key_number(key), (int)len,
		(const char *)val);
	return 0;
}

#endif
