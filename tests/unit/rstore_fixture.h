/*
 * What the record store's tests share: a keyring that knows only what the store asks of it, record
 * keys, a folder, and raw access to meta.db. Included by one file of each test program.
 */
#ifndef COFFER_TESTS_RSTORE_FIXTURE_H
#define COFFER_TESTS_RSTORE_FIXTURE_H

#include <ftw.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "core/secret.h"
#include "fs/rstore.h"

/* --- keyring --- */

struct keyring {
	uint8_t volume_id[16];
	uint8_t epoch[KDF_KEY_LEN];
	const struct suite *suite;
};

static struct keyring fx_keyring = {.volume_id = "fixture volume", .epoch = "fixture epoch key"};

void keyring_epoch_key(struct keyring *kr, enum keyring_epoch which, uint8_t ret[KDF_KEY_LEN])
{
	kdf_derive(ret, kr->epoch, "fixture epoch", &which, sizeof(which));
}

const struct suite *keyring_suite(const struct keyring *kr)
{
	return kr->suite ? kr->suite : suite_by_id(SUITE_XCHACHA20POLY1305);
}

const uint8_t *keyring_volume_id(const struct keyring *kr)
{
	return kr->volume_id;
}

/* --- records --- */

/* Records of this number are destroyed; 0: none. */
static uint64_t fx_revoked;

static inline struct rstore_key fx_key(uint64_t n)
{
	struct rstore_key k = {.len = 10, .b = {0x10}};

	bytes_put64be(k.b + 1, n);
	return k;
}

static inline uint64_t fx_key_number(const struct rstore_key *k)
{
	return bytes_get64be(k->b + 1);
}

static inline int fx_key_of(void *arg, const struct rstore_key *key, uint8_t ret[32])
{
	struct keyring *kr = arg;

	if (fx_revoked && fx_key_number(key) == fx_revoked)
		return -EKEYREVOKED;
	kdf_derive(ret, kr->epoch, "fixture record", key->b, key->len);
	return 0;
}

/* --- folder --- */

struct fx {
	char dir[64];
	char db[80];
	struct rstore_config cfg;
	struct rstore *rs;
};

static inline int fx_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void fx_folder(struct fx *f)
{
	*f = (struct fx){.dir = "/tmp/coffer-rstore-XXXXXX"};
	if (!mkdtemp(f->dir))
		abort();
	snprintf(f->db, sizeof(f->db), "%s/meta.db", f->dir);
	f->cfg = (struct rstore_config){
	    .store = f->dir, .kr = &fx_keyring, .key_of = fx_key_of, .arg = &fx_keyring};
}

static inline void fx_close(struct fx *f)
{
	rstore_close(f->rs);
	f->rs = NULL;
}

static inline void fx_remove(struct fx *f)
{
	fx_close(f);
	nftw(f->dir, fx_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

/* --- raw access; the store must be closed --- */

static inline sqlite3 *fx_raw(const struct fx *f)
{
	sqlite3 *db;

	if (sqlite3_open_v2(f->db, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		abort();
	return db;
}

static inline void fx_sql(const struct fx *f, const char *sql)
{
	sqlite3 *db = fx_raw(f);

	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		abort();
	sqlite3_close(db);
}

static inline int64_t fx_count(const struct fx *f, const char *sql)
{
	sqlite3 *db = fx_raw(f);
	sqlite3_stmt *st;
	int64_t n;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		abort();
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

#endif
