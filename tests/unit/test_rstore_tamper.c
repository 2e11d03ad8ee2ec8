/*
 * The record store against somebody who can write to meta.db: whatever is flipped, deleted,
 * swapped or put back older is answered with -EBADMSG, never with -ENOENT, and never with old data.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/rstore_fixture.h"

/* Enough for a root over several leaves. */
#define N_RECORDS 700

static int setup(void **state)
{
	struct fx *f = calloc(1, sizeof(*f));

	fx_folder(f);
	if (rstore_create(&f->cfg, NULL) || rstore_open(&f->cfg, NULL, &f->rs, NULL))
		return -1;
	for (uint64_t n = 1; n <= N_RECORDS; n++) {
		struct rstore_key k = fx_key(n);

		if (rstore_put(f->rs, &k, &n, sizeof(n)))
			return -1;
	}
	if (rstore_commit(f->rs, NULL))
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	fx_remove(*state);
	free(*state);
	return 0;
}

/* Gives record n another value, durably. */
static void change(struct fx *f, uint64_t n)
{
	struct rstore_key k = fx_key(n);
	uint64_t other = ~n;

	assert_int_equal(rstore_put(f->rs, &k, &other, sizeof(other)), 0);
	assert_int_equal(rstore_commit(f->rs, NULL), 0);
}

/*
 * Opens and reads everything. Each answer must be the record as first committed (or as changed,
 * when n == changed) or -EBADMSG. Returns how many were refused; all when the store itself is.
 */
static unsigned refusals(struct fx *f, uint64_t changed)
{
	struct diag d = {0};
	unsigned bad = 0;
	int r = rstore_open(&f->cfg, NULL, &f->rs, &d);

	if (r) {
		assert_int_equal(r, -EBADMSG);
		assert_int_equal(d.id, DIAG_STORE_DAMAGED);
		return N_RECORDS;
	}
	for (uint64_t n = 1; n <= N_RECORDS; n++) {
		CLEANUP_BYTES struct bytes_w w = {0};
		struct rstore_key k = fx_key(n);
		uint64_t want = n == changed ? ~n : n;

		r = rstore_get(f->rs, &k, &w, NULL);
		if (r) {
			assert_int_equal(r, -EBADMSG);
			assert_int_equal(w.len, 0);
			bad++;
			continue;
		}
		assert_int_equal(w.len, sizeof(want));
		assert_memory_equal(w.buf, &want, sizeof(want));
	}
	fx_close(f);
	return bad;
}

/* --- rows --- */

struct row {
	char table[8], column[8];
	int64_t id;
	uint8_t *val;
	int len;
};

static struct row row_read(struct fx *f, const char *table, const char *column, int64_t id)
{
	struct row row = {.id = id};
	sqlite3 *db = fx_raw(f);
	char sql[100];
	sqlite3_stmt *st;

	snprintf(row.table, sizeof(row.table), "%s", table);
	snprintf(row.column, sizeof(row.column), "%s", column);
	snprintf(sql, sizeof(sql), "SELECT val FROM %s WHERE %s=%lld", table, column,
		 (long long)id);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	row.len = sqlite3_column_bytes(st, 0);
	row.val = malloc((size_t)row.len);
	memcpy(row.val, sqlite3_column_blob(st, 0), (size_t)row.len);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return row;
}

/* Puts it back, or in the place of another. */
static void row_write(struct fx *f, const struct row *row, int64_t id, int len)
{
	sqlite3 *db = fx_raw(f);
	char sql[100];
	sqlite3_stmt *st;

	snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO %s VALUES(%lld,?1)", row->table,
		 (long long)id);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	sqlite3_bind_blob(st, 1, row->val, len, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	sqlite3_close(db);
}

static void row_delete(struct fx *f, const struct row *row)
{
	char sql[100];

	snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE %s=%lld", row->table, row->column,
		 (long long)row->id);
	fx_sql(f, sql);
}

/* Flipped at each of a few places, cut, lengthened, emptied, deleted: refused every time. */
static void mistreat(struct fx *f, struct row *row)
{
	const int at[] = {0, SUITE_NONCE_LEN, row->len / 2, row->len - SUITE_TAG_LEN, row->len - 1};
	unsigned before = refusals(f, 0);

	assert_int_equal(before, 0);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		row->val[at[i]] ^= 1;
		row_write(f, row, row->id, row->len);
		assert_true(refusals(f, 0) > 0);
		row->val[at[i]] ^= 1;
	}
	row_write(f, row, row->id, row->len - 1);
	assert_true(refusals(f, 0) > 0);
	row_write(f, row, row->id, SUITE_BOX_OVERHEAD - 1);
	assert_true(refusals(f, 0) > 0);
	row_write(f, row, row->id, 0);
	assert_true(refusals(f, 0) > 0);
	row_delete(f, row);
	assert_true(refusals(f, 0) > 0);
	row_write(f, row, row->id, row->len);
	assert_int_equal(refusals(f, 0), 0);
	free(row->val);
}

/* Every node, the commit record, and records at both ends and in the middle. */
static void test_each_kind_of_row(void **state)
{
	struct fx *f = *state;
	const int64_t recs[] = {1, N_RECORDS / 2, N_RECORDS};
	struct row row;

	fx_close(f);
	for (size_t i = 0; i < 3; i++) {
		row = row_read(f, "rec", "id", recs[i]);
		mistreat(f, &row);
	}
	assert_int_equal(fx_count(f, "SELECT count(*) FROM node"), 4);
	for (int64_t no = 1; no <= 4; no++) {
		row = row_read(f, "node", "no", no);
		mistreat(f, &row);
	}
	row = row_read(f, "head", "id", 1);
	mistreat(f, &row);
}

/* Another type of value in the place of a sealed row. */
static void test_wrong_types(void **state)
{
	struct fx *f = *state;

	fx_close(f);
	fx_sql(f, "UPDATE rec SET val='text' WHERE id=5; UPDATE rec SET val=7 WHERE id=6");
	assert_int_equal(refusals(f, 0), 2);
	fx_sql(f, "UPDATE node SET val=7 WHERE no=2");
	assert_in_range(refusals(f, 0), RSTORE_NODE_MAX, N_RECORDS - 1);
	fx_sql(f, "DROP TABLE rec");
	assert_int_equal(refusals(f, 0), N_RECORDS);
}

static void swap(struct fx *f, const char *table, const char *column, int64_t a, int64_t b)
{
	struct row ra = row_read(f, table, column, a), rb = row_read(f, table, column, b);

	row_write(f, &ra, b, ra.len);
	row_write(f, &rb, a, rb.len);
	free(ra.val);
	free(rb.val);
}

/* Two rows, and two leaves, in each other's place. */
static void test_swapped(void **state)
{
	struct fx *f = *state;

	fx_close(f);
	swap(f, "rec", "id", 10, 11);
	assert_int_equal(refusals(f, 0), 2);
	swap(f, "rec", "id", 10, 11);
	assert_int_equal(refusals(f, 0), 0);
	swap(f, "node", "no", 1, 2);
	assert_true(refusals(f, 0) >= RSTORE_NODE_MAX);
}

/* The record row, leaf, root and commit record of before a change, put back one, two, three at a
 * time: all but the complete set is refused, which only the anchor can know. */
static void test_older_rows(void **state)
{
	struct fx *f = *state;
	struct rstore_root anchored;
	struct rstore *rs = NULL;
	struct row old[4], now[4];
	struct diag d = {0};

	fx_close(f);
	for (int side = 0; side < 2; side++) {
		struct row *rows = side ? now : old;

		if (side) {
			assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
			change(f, 1);
			rstore_root_get(f->rs, &anchored);
			fx_close(f);
		}
		rows[0] = row_read(f, "rec", "id", 1);
		rows[1] = row_read(f, "node", "no", 1); /* first leaf */
		rows[2] = row_read(f, "node", "no", 3); /* root */
		rows[3] = row_read(f, "head", "id", 1);
	}
	for (unsigned set = 0; set < 16; set++) {
		for (unsigned i = 0; i < 4; i++) {
			struct row *row = set >> i & 1 ? &old[i] : &now[i];

			assert_memory_not_equal(old[i].val, now[i].val, 24);
			row_write(f, row, row->id, row->len);
		}
		if (set == 0)
			assert_int_equal(refusals(f, 1), 0);
		else if (set < 15)
			assert_true(refusals(f, 1) > 0);
	}
	assert_int_equal(rstore_open(&f->cfg, &anchored, &rs, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_ROLLED_BACK);
	for (unsigned i = 0; i < 4; i++) {
		free(old[i].val);
		free(now[i].val);
	}
}

/* --- the whole file --- */

static void copy_file(const char *from, const char *to)
{
	CLEANUP_FREE char *cmd = NULL;

	assert_true(asprintf(&cmd, "cp '%s' '%s'", from, to) > 0);
	assert_int_equal(system(cmd), 0);
}

/* An older meta.db, and another history that reached the same transaction number, are told from
 * what the anchor has seen; a newer one is not refused. */
static void test_anchor(void **state)
{
	struct fx *f = *state;
	struct rstore_root first, second;
	struct diag d = {0};
	char copy[100];

	snprintf(copy, sizeof(copy), "%s/copy", f->dir);
	rstore_root_get(f->rs, &first);
	fx_close(f);
	copy_file(f->db, copy);
	assert_int_equal(rstore_open(&f->cfg, &first, &f->rs, NULL), 0);
	change(f, 1);
	rstore_root_get(f->rs, &second);
	fx_close(f);
	assert_int_equal(rstore_open(&f->cfg, &first, &f->rs, NULL), 0);
	fx_close(f);
	assert_int_equal(rstore_open(&f->cfg, &second, &f->rs, NULL), 0);
	fx_close(f);

	copy_file(copy, f->db);
	assert_int_equal(rstore_open(&f->cfg, &second, &f->rs, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_ROLLED_BACK);
	assert_null(f->rs);
	assert_int_equal(rstore_open(&f->cfg, &first, &f->rs, NULL), 0);
	change(f, 2);
	fx_close(f);
	d.id = DIAG_NONE;
	assert_int_equal(rstore_open(&f->cfg, &second, &f->rs, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_ROLLED_BACK);
}

/* The one row of records that differs from the other database's of the same number. */
static int64_t differing_row(struct fx *f, const char *other)
{
	sqlite3 *db = fx_raw(f);
	sqlite3_stmt *st;
	char sql[200];

	snprintf(sql, sizeof(sql), "ATTACH '%s' AS other", other);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db,
					    "SELECT m.id FROM main.rec m JOIN other.rec o ON m.id=o.id WHERE m.val<>o.val", -1,
					    &st, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	int64_t id = sqlite3_column_int64(st, 0);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return id;
}

/* The store goes on from the copy with another value of record 5. The transaction in which that was committed. */
static uint64_t go_on(struct fx *f, const char *copy, uint64_t value)
{
	struct rstore_key k = fx_key(5);
	CLEANUP_BYTES struct bytes_w w = {0};
	uint64_t txn;

	copy_file(copy, f->db);
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
	assert_int_equal(rstore_put(f->rs, &k, &value, sizeof(value)), 0);
	assert_int_equal(rstore_commit(f->rs, NULL), 0);
	assert_int_equal(rstore_get(f->rs, &k, &w, &txn), 0);
	fx_close(f);
	return txn;
}

/* Two copies of one store each change the same record in the transaction of the same number, under the same keys: the row of one
 * is authentic in the other, and only the tag in its leaf tells that it is not its own. */
static void test_row_of_a_fork(void **state)
{
	struct fx *f = *state;
	struct rstore_key k = fx_key(5);
	CLEANUP_BYTES struct bytes_w w = {0};
	char copy[100], first[100], second[100];

	snprintf(copy, sizeof(copy), "%s/copy", f->dir);
	snprintf(first, sizeof(first), "%s/first", f->dir);
	snprintf(second, sizeof(second), "%s/second", f->dir);
	fx_close(f);
	copy_file(f->db, copy);
	uint64_t txn = go_on(f, copy, 111);
	copy_file(f->db, first);
	assert_int_equal(go_on(f, copy, 222), txn);
	copy_file(f->db, second);
	int64_t id = differing_row(f, first);
	copy_file(first, f->db);
	struct row theirs = row_read(f, "rec", "id", id);
	copy_file(second, f->db);
	row_write(f, &theirs, id, theirs.len);
	free(theirs.val);
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
	assert_int_equal(rstore_get(f->rs, &k, &w, NULL), -EBADMSG);
	assert_int_equal(w.len, 0);
}

/* Missing, empty and foreign files; another volume's, and one under another epoch key. */
static void test_foreign_file(void **state)
{
	struct fx *f = *state;
	struct keyring before = fx_keyring;
	struct diag d = {0};

	fx_close(f);
	fx_keyring.volume_id[0] ^= 1;
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_STORE_DAMAGED);
	fx_keyring = before;
	fx_keyring.epoch[0] ^= 1;
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, &d), -EBADMSG);
	fx_keyring = before;
	assert_int_equal(truncate(f->db, 4096 * 3), 0);
	assert_int_equal(refusals(f, 0), N_RECORDS);
	assert_int_equal(truncate(f->db, 0), 0);
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, &d), -EBADMSG);
	assert_int_equal(unlink(f->db), 0);
	d.id = DIAG_NONE;
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_STORE_DAMAGED);
}

/* Every page of the file overwritten in turn, SQLite's own included: no wrong answer. */
static void test_pages(void **state)
{
	struct fx *f = *state;
	char copy[100];
	struct stat st;
	unsigned n_refused = 0;

	fx_close(f);
	snprintf(copy, sizeof(copy), "%s/copy", f->dir);
	copy_file(f->db, copy);
	assert_int_equal(stat(f->db, &st), 0);
	for (off_t off = 0; off < st.st_size; off += 4096) {
		CLEANUP_FILE FILE *file = NULL;
		char junk[4096];

		memset(junk, 0xa5, sizeof(junk));
		copy_file(copy, f->db);
		file = fopen(f->db, "r+");
		assert_int_equal(fseeko(file, off, SEEK_SET), 0);
		assert_int_equal(fwrite(junk, 1, sizeof(junk), file), sizeof(junk));
		fflush(file);
		n_refused += refusals(f, 0) > 0;
	}
	assert_true(n_refused >= 10);
}

/* --- findings --- */

struct findings {
	unsigned n;
	struct rstore_key key[4];
};

static void note(void *arg, const struct rstore_key *key, int err)
{
	struct findings *found = arg;

	assert_int_equal(err, -EBADMSG);
	if (found->n < 4)
		found->key[found->n] = *key;
	found->n++;
}

/* The check names each damaged record, a kept one too, and each unreadable node once, and goes on.
 */
static void test_check(void **state)
{
	struct fx *f = *state;
	struct findings found = {0};
	struct rstore_snap s;
	struct rstore_check c;

	assert_int_equal(rstore_snap_open(f->rs, &s), 0);
	change(f, 600);
	fx_close(f);
	fx_sql(f, "DELETE FROM rec WHERE id IN (7, 600); UPDATE node SET val=x'00' WHERE no=2");
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
	assert_int_equal(rstore_check(f->rs, note, &found, &c), 0);
	assert_int_equal(c.n_bad, 3);
	assert_int_equal(found.n, 3);
	assert_int_equal(fx_key_number(&found.key[0]), 7);
	assert_int_equal(fx_key_number(&c.first_bad), 7);
	assert_int_equal(fx_key_number(&found.key[1]), RSTORE_NODE_MAX + 1);
	assert_int_equal(fx_key_number(&found.key[2]), 600);
	assert_int_equal(c.n_records, N_RECORDS + 1 - RSTORE_NODE_MAX);
}

static int count(void *arg, const struct rstore_key *key, const void *val, size_t len, uint64_t txn)
{
	(void)key;
	(void)val;
	(void)len;
	(void)txn;
	++*(unsigned *)arg;
	return 0;
}

/* Scans stop at damage instead of passing it over, in the store and in a snapshot. */
static void test_scans(void **state)
{
	struct fx *f = *state;
	struct rstore_snap s;
	struct rstore_key next;
	unsigned n = 0;
	bool more;

	assert_int_equal(rstore_snap_open(f->rs, &s), 0);
	change(f, 20);
	fx_close(f);
	fx_sql(f, "DELETE FROM rec WHERE id=20"); /* as the snapshot had it */
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
	assert_int_equal(rstore_scan(f->rs, NULL, NULL, count, &n), 0);
	assert_int_equal(n, N_RECORDS);
	n = 0;
	assert_int_equal(rstore_snap_scan(f->rs, &s, 0, NULL, NULL, 0, count, &n, &more, &next),
			 -EBADMSG);
	assert_int_equal(n, 19);
	fx_close(f);
	fx_sql(f, "DELETE FROM rec WHERE id=30");
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
	n = 0;
	assert_int_equal(rstore_scan(f->rs, NULL, NULL, count, &n), -EBADMSG);
	assert_int_equal(n, 29);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_each_kind_of_row, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_wrong_types, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_swapped, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_older_rows, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_anchor, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_row_of_a_fork, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_foreign_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_check, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_scans, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
