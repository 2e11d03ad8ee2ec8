/*
 * SQLite under the record store: three tables of sealed blobs, one owner.
 *
 * SQLite gives atomic durable commits and space management; it is trusted with nothing else. The
 * connection is exclusive, so the WAL needs no shared memory file. Whatever it reports as corrupt
 * is -EBADMSG, like any other damage. After a failed sync nobody knows what the medium holds (the
 * kernel forgets dirty pages), so nothing is committed on top of it until a reopen has moved the
 * WAL into the database with fresh writes.
 */
#include <string.h>

#include "fs/rstore_internal.h"

/* Half of what the WAL may take up; a large commit fits in the other half. */
#define WAL_PAGES_CHECKPOINT 8192

static const char *const table_sql[DB_N_TABLES][3] = {
    [DB_REC] = {"SELECT val FROM rec WHERE id=?1", "INSERT OR REPLACE INTO rec VALUES(?1,?2)",
		"DELETE FROM rec WHERE id=?1"},
    [DB_NODE] = {"SELECT val FROM node WHERE no=?1", "INSERT OR REPLACE INTO node VALUES(?1,?2)",
		 "DELETE FROM node WHERE no=?1"},
    [DB_HEAD] = {"SELECT val FROM head WHERE id=?1", "INSERT OR REPLACE INTO head VALUES(?1,?2)",
		 "DELETE FROM head WHERE id=?1"},
};

static const char schema_sql[] =
    "CREATE TABLE rec(id INTEGER PRIMARY KEY, val BLOB NOT NULL);"
    "CREATE TABLE node(no INTEGER PRIMARY KEY, val BLOB NOT NULL);"
    "CREATE TABLE head(id INTEGER PRIMARY KEY CHECK(id=1), val BLOB NOT NULL);";

/* First: it decides how the WAL is opened. */
static const char locking_sql[] = "PRAGMA locking_mode=EXCLUSIVE;";

/* A page holds the longest block map, whose size follows from the suite's tags. Without effect on a
 * database that exists. */
static const char page_sql[] = "PRAGMA page_size=4096;", large_page_sql[] = "PRAGMA page_size=8192;";

static const char settings_sql[] = "PRAGMA journal_mode=WAL;"
				   "PRAGMA synchronous=FULL;"
				   "PRAGMA secure_delete=ON;"
				   "PRAGMA cache_size=-16384;"
				   "PRAGMA temp_store=MEMORY;"
				   "PRAGMA mmap_size=0;"
				   "PRAGMA cell_size_check=ON;";

static int io_errno(struct rstore *rs, int rc)
{
	int err = sqlite3_system_errno(rs->db);

	if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC)
		rs->sync_failed = true;
	else if (err == ENOSPC || err == EDQUOT)
		return -err;
	return rc == SQLITE_IOERR_NOMEM ? -ENOMEM : -EIO;
}

static int db_errno(struct rstore *rs, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_IOERR:
		return io_errno(rs, rc);
	case SQLITE_CANTOPEN:
	case SQLITE_ABORT: /* from check_setting */
		return -EIO;
	default:
		/* Corrupt pages, a foreign schema, wrong types: somebody changed the file. */
		return -EBADMSG;
	}
}

static int run(struct rstore *rs, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	int r = db_errno(rs, rc);

	sqlite3_reset(st);
	return r;
}

static int prepare(struct rstore *rs, const char *sql, sqlite3_stmt **ret)
{
	return db_errno(rs,
			sqlite3_prepare_v3(rs->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL));
}

static int prepare_all(struct rstore *rs)
{
	int r = 0;

	for (int t = 0; !r && t < DB_N_TABLES; t++) {
		r = prepare(rs, table_sql[t][0], &rs->st.get[t]);
		if (!r)
			r = prepare(rs, table_sql[t][1], &rs->st.put[t]);
		if (!r)
			r = prepare(rs, table_sql[t][2], &rs->st.del[t]);
	}
	if (!r)
		r = prepare(rs, "BEGIN IMMEDIATE", &rs->st.begin);
	if (!r)
		r = prepare(rs, "COMMIT", &rs->st.commit);
	if (!r)
		r = prepare(rs, "ROLLBACK", &rs->st.rollback);
	return r;
}

static int note_wal_pages(void *arg, sqlite3 *db, const char *name, int n_pages)
{
	struct rstore *rs = arg;

	(void)db;
	(void)name;
	rs->wal_pages = n_pages;
	return SQLITE_OK;
}

/* SQLite keeps another journal mode without calling it an error. */
static int check_setting(void *arg, int n, char **vals, char **names)
{
	(void)arg;
	return n == 1 && !strcmp(names[0], "journal_mode") && (!vals[0] || strcmp(vals[0], "wal"));
}

static int connect(struct rstore *rs, const char *path)
{
	int rc = sqlite3_open_v2(path, &rs->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

	if (!rs->db)
		return -ENOMEM;
	if (rc != SQLITE_OK)
		return db_errno(rs, rc);
	sqlite3_extended_result_codes(rs->db, 1);
	/* The file may have been prepared by somebody else: nothing in it gets to run. */
	sqlite3_db_config(rs->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(rs->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(rs->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	sqlite3_db_config(rs->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	bool large = suite_tag_len(keyring_suite(rs->kr)) > SUITE_TAG_LEN;
	rc = sqlite3_exec(rs->db, locking_sql, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(rs->db, large ? large_page_sql : page_sql, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(rs->db, settings_sql, check_setting, NULL, NULL);
	if (rc != SQLITE_OK)
		return db_errno(rs, rc);
	sqlite3_wal_hook(rs->db, note_wal_pages, rs);
	return 0;
}

int rstore_db_create(struct rstore *rs, const char *path)
{
	int r = connect(rs, path);

	if (!r)
		r = db_errno(rs, sqlite3_exec(rs->db, schema_sql, NULL, NULL, NULL));
	if (!r)
		r = prepare_all(rs);
	return r;
}

int rstore_db_open(struct rstore *rs, const char *path)
{
	int r = connect(rs, path);

	if (!r)
		r = prepare_all(rs);
	if (r)
		return r;
	/*
	 * A WAL that is still here comes from a crash or a failed sync; part of it may be in the
	 * page cache only, and look clean. Written anew into the database it is durable. On a full
	 * medium it stays, so that the volume opens and something can be deleted.
	 */
	r = rstore_db_checkpoint(rs, true);
	return r == -ENOSPC || r == -EDQUOT ? 0 : r;
}

void rstore_db_close(struct rstore *rs)
{
	for (int t = 0; t < DB_N_TABLES; t++) {
		sqlite3_finalize(rs->st.get[t]);
		sqlite3_finalize(rs->st.put[t]);
		sqlite3_finalize(rs->st.del[t]);
	}
	sqlite3_finalize(rs->st.begin);
	sqlite3_finalize(rs->st.commit);
	sqlite3_finalize(rs->st.rollback);
	sqlite3_close(rs->db);
	rs->st = (struct db_statements){0};
	rs->db = NULL;
}

int rstore_db_get(struct rstore *rs, enum db_table t, uint64_t id, struct bytes_w *out)
{
	sqlite3_stmt *st = rs->st.get[t];
	int rc, r;

	bytes_w_reset(out);
	sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
	rc = sqlite3_step(st);
	r = db_errno(rs, rc);
	if (rc == SQLITE_DONE)
		r = -ENOENT;
	if (rc == SQLITE_ROW) {
		const void *p = sqlite3_column_blob(st, 0);
		int len = sqlite3_column_bytes(st, 0);

		if (sqlite3_column_type(st, 0) != SQLITE_BLOB || (!p && len))
			r = -EBADMSG;
		else
			bytes_w_raw(out, p, (size_t)len);
	}
	sqlite3_reset(st);
	return r ? r : out->err;
}

int rstore_db_put(struct rstore *rs, enum db_table t, uint64_t id, const void *p, size_t len)
{
	sqlite3_stmt *st = rs->st.put[t];
	int r;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
	r = db_errno(rs, sqlite3_bind_blob64(st, 2, p, len, SQLITE_STATIC));
	if (!r)
		r = run(rs, st);
	sqlite3_bind_null(st, 2);
	return r;
}

int rstore_db_del(struct rstore *rs, enum db_table t, uint64_t id)
{
	sqlite3_bind_int64(rs->st.del[t], 1, (sqlite3_int64)id);
	return run(rs, rs->st.del[t]);
}

int rstore_db_begin(struct rstore *rs)
{
	return run(rs, rs->st.begin);
}

int rstore_db_commit(struct rstore *rs)
{
	return run(rs, rs->st.commit);
}

void rstore_db_rollback(struct rstore *rs)
{
	/* Some errors have rolled back by themselves. */
	if (!sqlite3_get_autocommit(rs->db))
		run(rs, rs->st.rollback);
}

int rstore_db_checkpoint(struct rstore *rs, bool truncate)
{
	int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
	int r = db_errno(rs, sqlite3_wal_checkpoint_v2(rs->db, NULL, mode, NULL, NULL));

	if (!r)
		rs->wal_pages = 0;
	return r;
}

void rstore_db_cap_wal(struct rstore *rs)
{
	/* The commit itself is durable whatever happens here; a failed sync is remembered. */
	if (rs->wal_pages >= WAL_PAGES_CHECKPOINT)
		(void)rstore_db_checkpoint(rs, false);
}

void rstore_db_forget(struct rstore *rs)
{
	sqlite3_db_release_memory(rs->db);
}
