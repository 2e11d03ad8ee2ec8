/* Rows of a closed volume's meta.db, by hand: which there are, and one that the disk gives back with a bit flipped. */
#ifndef COFFER_TESTS_UNIT_META_ROWS_H
#define COFFER_TESTS_UNIT_META_ROWS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>

#define META_ROWS_MAX 500

static inline sqlite3 *meta_open(const char *store)
{
	char path[192];
	sqlite3 *db;

	assert_true((size_t)snprintf(path, sizeof(path), "%s/meta.db", store) < sizeof(path));
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	return db;
}

/* The numbers that the query gives, all of them. */
static inline int meta_rows(const char *store, const char *query, sqlite3_int64 ids[META_ROWS_MAX])
{
	sqlite3 *db = meta_open(store);
	sqlite3_stmt *st;
	int n = 0, r;

	assert_int_equal(sqlite3_prepare_v2(db, query, -1, &st, NULL), SQLITE_OK);
	while ((r = sqlite3_step(st)) == SQLITE_ROW) {
		assert_true(n < META_ROWS_MAX);
		ids[n++] = sqlite3_column_int64(st, 0);
	}
	assert_int_equal(r, SQLITE_DONE);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

/* Flips a bit in the middle of a row of the table; false when the row is no more. */
static inline bool meta_flip(const char *store, const char *table, sqlite3_int64 id)
{
	sqlite3 *db = meta_open(store);
	sqlite3_blob *blob;
	uint8_t b;

	if (sqlite3_blob_open(db, "main", table, "val", id, 1, &blob) != SQLITE_OK) {
		sqlite3_close(db);
		return false;
	}
	int at = sqlite3_blob_bytes(blob) / 2;
	assert_int_equal(sqlite3_blob_read(blob, &b, 1, at), SQLITE_OK);
	b ^= 4;
	assert_int_equal(sqlite3_blob_write(blob, &b, 1, at), SQLITE_OK);
	sqlite3_blob_close(blob);
	sqlite3_close(db);
	return true;
}

#endif
