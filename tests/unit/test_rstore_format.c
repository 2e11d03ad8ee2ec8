/* The bytes of the record store on the medium, made by hand from docs/format.md. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/rstore_texts.h"

static void row_of(struct fx *f, const char *sql, struct bytes_w *ret)
{
	sqlite3 *db = fx_raw(f);
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	bytes_w_reset(ret);
	bytes_w_raw(ret, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
	sqlite3_finalize(st);
	sqlite3_close(db);
}

/* Opens a row with a key derived and an AD put together as the format says. */
static size_t open_row(struct fx *f, const char *sql, const char *label, const void *ad,
		       size_t ad_len, uint8_t ret[256], uint8_t ret_tag8[8])
{
	CLEANUP_BYTES struct bytes_w box = {0};
	uint8_t epoch[32], k[32];

	row_of(f, sql, &box);
	keyring_epoch_key(&fx_keyring, KEYRING_RECORDS, epoch);
	kdf_derive(k, epoch, label, NULL, 0);
	assert_in_range(box.len, SUITE_BOX_OVERHEAD, 256 + SUITE_BOX_OVERHEAD);
	assert_int_equal(
	    suite_open(keyring_suite(&fx_keyring), k, ad, ad_len, box.buf, box.len, ret), 0);
	memcpy(ret_tag8, box.buf + box.len - SUITE_TAG_LEN, 8);
	return box.len - SUITE_BOX_OVERHEAD;
}

/* The bytes on the medium are those of docs/format.md, worked example of "Records" included. */
static void test_format(void **state)
{
	struct fx *f = *state;
	CLEANUP_BYTES struct bytes_w a = {0}, b = {0}, want = {0};
	uint8_t ad[33], pt[256], tag8[8], none[8];
	struct rstore_root root;

	put(f, 1, "first");
	commit(f);
	put(f, 0x102, "second");
	assert_int_equal(rstore_commit(f->rs, &root), 0);
	fx_close(f);
	row_of(f, "SELECT val FROM rec WHERE id=1", &a);
	row_of(f, "SELECT val FROM rec WHERE id=2", &b);
	assert_int_equal(a.len, 5 + SUITE_BOX_OVERHEAD);

	bytes_w_raw(&want,
		    "\x02\x00"
		    "\x00\x0a"
		    "\x10\0\0\0\0\0\0\0\x01\0"
		    "\x01\x01",
		    16);
	bytes_w_raw(&want, a.buf + a.len - 16, 8);
	bytes_w_raw(&want,
		    "\x07\x03"
		    "\x01\x02\0"
		    "\x02\x00",
		    7);
	bytes_w_raw(&want, b.buf + b.len - 16, 8);
	memcpy(ad, fx_keyring.volume_id, 16);
	bytes_put64(ad + 16, 1);
	ad[24] = 0;
	bytes_put64(ad + 25, root.txn);
	assert_int_equal(
	    open_row(f, "SELECT val FROM node WHERE no=1", "coffer node", ad, 33, pt, tag8),
	    want.len);
	assert_memory_equal(pt, want.buf, want.len);

	bytes_w_reset(&want);
	bytes_w_u8(&want, 1);
	bytes_w_u64(&want, root.txn);
	bytes_w_u64(&want, 1);
	bytes_w_u8(&want, 0);
	bytes_w_u64(&want, root.txn);
	bytes_w_raw(&want, tag8, 8);
	bytes_w_u64(&want, 3);
	bytes_w_u64(&want, 2);
	bytes_w_u64(&want, 1);
	bytes_w_u8(&want, 0);
	assert_int_equal(open_row(f, "SELECT val FROM head", "coffer head", ad, 16, pt, none),
			 want.len);
	assert_memory_equal(pt, want.buf, want.len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    FRESH(test_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
