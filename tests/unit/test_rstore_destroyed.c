/* Destruction in the record store: what is revoked says so, what is erased is in no file any more.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/rstore_texts.h"

/* A record whose key is revoked says so, does not stop scans, and is dropped when it was pending.
 */
static void test_revoked(void **state)
{
	struct fx *f = *state;
	CLEANUP_BYTES struct bytes_w w = {0};
	struct rstore_key k = fx_key(2);
	struct rstore_check c;
	char text[200] = "";

	for (uint64_t n = 1; n <= 3; n++)
		put(f, n, "x");
	commit(f);
	put(f, 2, "pending");
	put(f, 4, "pending");
	fx_revoked = 2;
	commit(f);
	assert_int_equal(rstore_get(f->rs, &k, &w, NULL), -EKEYREVOKED);
	assert_int_equal(w.len, 0);
	assert_int_equal(rstore_scan(f->rs, NULL, NULL, list, text), 0);
	assert_string_equal(text, "1=x 3=x 4=pending ");
	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_records, 4);
	assert_int_equal(c.n_bad, 0);
	fx_revoked = 0;
	expect(f, 2, "x");
}

static bool file_holds(const char *path, const void *needle, size_t len)
{
	CLEANUP_FILE FILE *file = fopen(path, "r");
	CLEANUP_FREE char *all = NULL;
	struct stat st;

	if (!file || fstat(fileno(file), &st) || !st.st_size)
		return false;
	all = malloc((size_t)st.st_size);
	assert_int_equal(fread(all, 1, (size_t)st.st_size, file), st.st_size);
	return memmem(all, (size_t)st.st_size, needle, len) != NULL;
}

/* The last sealed bytes of the only record, as they stand in the file. */
static void sealed_end(struct fx *f, uint8_t ret[32])
{
	sqlite3 *db;
	sqlite3_stmt *st;

	fx_close(f);
	db = fx_raw(f);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT val FROM rec", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	memcpy(ret, (const uint8_t *)sqlite3_column_blob(st, 0) + sqlite3_column_bytes(st, 0) - 32,
	       32);
	sqlite3_finalize(st);
	sqlite3_close(db);
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
}

/* An erased record is in no file any more, though a snapshot had kept it and its key is gone. */
static void test_erase(void **state)
{
	struct fx *f = *state;
	struct rstore_key from = fx_key(1), to = fx_key(3);
	CLEANUP_FREE char *wal = NULL;
	struct rstore_snap s;
	uint8_t sealed[32], large[10000] = {0};
	uint64_t n = 0;

	assert_true(asprintf(&wal, "%s-wal", f->db) > 0);
	assert_int_equal(rstore_put(f->rs, &from, large, sizeof(large)), 0);
	commit(f);
	sealed_end(f, sealed);
	assert_true(file_holds(f->db, sealed, sizeof(sealed)));
	assert_int_equal(rstore_snap_open(f->rs, &s), 0);
	put(f, 1, "newer");
	commit(f);
	put(f, 2, "pending");
	put(f, 3, "outside");
	fx_revoked = 1;
	assert_int_equal(rstore_erase_range(f->rs, &from, &to, &n), 0);
	assert_int_equal(n, 2);
	commit(f);
	assert_int_equal(rstore_scrub(f->rs), 0);
	fx_revoked = 0;
	expect(f, 1, NULL);
	expect(f, 2, NULL);
	expect(f, 3, "outside");
	expect_snap(f, &s, 1, NULL);
	assert_false(file_holds(f->db, sealed, sizeof(sealed)));
	assert_false(file_holds(wal, sealed, sizeof(sealed)));
	put(f, 1, "again");
	commit(f);
	expect(f, 1, "again");
	expect_snap(f, &s, 1, NULL);
}

static void sealed_digest(struct fx *f, uint8_t ret[32], uint64_t *ret_n, uint64_t *ret_bytes)
{
	struct rstore_key from = fx_key(1), to = fx_key(3);
	struct kdf_hash_state st;

	*ret_n = *ret_bytes = 0;
	kdf_hash_init(&st);
	assert_int_equal(rstore_sealed_hash(f->rs, &from, &to, &st, ret_n, ret_bytes), 0);
	kdf_hash_final(&st, ret);
}

/* The digest over sealed bytes stands still while the records do, needs no key, and moves with
 * them. */
static void test_sealed_hash(void **state)
{
	struct fx *f = *state;
	uint8_t a[32], b[32];
	uint64_t n, bytes;

	put(f, 1, "one");
	put(f, 2, "two");
	put(f, 3, "outside");
	sealed_digest(f, a, &n, &bytes);
	assert_int_equal(n, 2);
	assert_int_equal(bytes, 2 * (3 + SUITE_BOX_OVERHEAD));
	put(f, 3, "outside still");
	commit(f);
	reopen(f);
	fx_revoked = 2;
	sealed_digest(f, b, &n, &bytes);
	fx_revoked = 0;
	assert_memory_equal(a, b, 32);
	put(f, 2, "two");
	sealed_digest(f, b, &n, &bytes);
	assert_memory_not_equal(a, b, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    FRESH(test_revoked),
	    FRESH(test_erase),
	    FRESH(test_sealed_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
