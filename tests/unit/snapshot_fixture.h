/*
 * A real volume in a temporary folder, for the tests of xattrs, snapshots, destruction and check:
 * keyring, store and anchor as a tool would make them, and the calls that make trees short.
 * Included by one file of each test program.
 */
#ifndef COFFER_TESTS_SNAPSHOT_FIXTURE_H
#define COFFER_TESTS_SNAPSHOT_FIXTURE_H

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/keyring.h"
#include "core/secret.h"
#include "fs/volume.h"

#define FX_PASS "a passphrase for tests"

struct fixture {
	char dir[64], store[96], anchor[96];
	struct keyring *kr;
	struct volume *v;
	unsigned n_alarms;
};

static void fx_alarm(void *arg, const struct volume_alarm *a)
{
	(void)a;
	((struct fixture *)arg)->n_alarms++;
}

static inline struct secret *fx_passphrase(void)
{
	struct secret *s = secret_new(strlen(FX_PASS));

	assert_non_null(s);
	memcpy(secret_bytes(s), FX_PASS, strlen(FX_PASS));
	return s;
}

static inline struct volume_config fx_config(struct fixture *f)
{
	return (struct volume_config){
	    .store = f->store, .kr = f->kr, .alarm = fx_alarm, .alarm_arg = f};
}

/* What volume_open says; when it refuses, nothing stays open. */
static inline int fx_try_open(struct fixture *f, bool read_only, struct diag *d)
{
	CLEANUP_SECRET struct secret *pass = fx_passphrase();
	struct header_unlock with = {.passphrase = pass};

	assert_int_equal(keyring_open(f->store, &with, 0, &f->kr, d), 0);
	struct volume_config cfg = fx_config(f);
	cfg.read_only = read_only;
	int r = volume_open(&cfg, &f->v, d);
	if (r) {
		keyring_close(f->kr);
		f->kr = NULL;
	}
	return r;
}

static inline void fx_open_as(struct fixture *f, bool read_only)
{
	struct diag d = {0};

	assert_int_equal(fx_try_open(f, read_only, &d), 0);
}

static inline void fx_open(struct fixture *f)
{
	fx_open_as(f, false);
}

static inline void fx_close(struct fixture *f)
{
	assert_int_equal(volume_close(f->v), 0);
	keyring_close(f->kr);
	f->v = NULL;
	f->kr = NULL;
}

static inline void fx_remount(struct fixture *f)
{
	fx_close(f);
	fx_open(f);
}

static inline int fx_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	CLEANUP_SECRET struct secret *pass = fx_passphrase();
	uint8_t volume_id[16], seed[32], charter[32] = {1};
	struct diag d = {0};

	assert_non_null(f);
	strcpy(f->dir, "/tmp/coffer-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->store, sizeof(f->store), "%s/store", f->dir);
	snprintf(f->anchor, sizeof(f->anchor), "%s/anchor", f->dir);
	assert_int_equal(mkdir(f->store, 0700), 0);
	kdf_random(volume_id, sizeof(volume_id));
	kdf_random(seed, sizeof(seed));
	struct keyring_init in = {
	    .store = f->store,
	    .anchor = f->anchor,
	    .name = "tests",
	    .suite = suite_by_id(SUITE_XCHACHA20POLY1305),
	    .charter_first = charter,
	    .first_id = VOLUME_FIRST_ID,
	    .slot_label = "tests",
	    .passphrase = pass,
	    .cheap_passphrase = true,
	    .volume_id = volume_id,
	    .sign_seed = seed,
	};
	assert_int_equal(keyring_create(&in, &d), 0);
	struct header_unlock with = {.passphrase = pass};
	assert_int_equal(keyring_open(f->store, &with, 0, &f->kr, &d), 0);
	struct volume_config cfg = fx_config(f);
	assert_int_equal(volume_create(&cfg, 1000, 1000, &d), 0);
	assert_int_equal(volume_open(&cfg, &f->v, &d), 0);
	*state = f;
	return 0;
}

static int fx_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int fx_teardown(void **state)
{
	struct fixture *f = *state;

	if (f->v)
		volume_close(f->v);
	if (f->kr)
		keyring_close(f->kr);
	nftw(f->dir, fx_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

#define IN_VOLUME(test) cmocka_unit_test_setup_teardown(test, fx_setup, fx_teardown)

/* --- trees --- */

static inline uint64_t fx_make(struct fixture *f, uint64_t parent, const char *name, uint32_t mode)
{
	struct volume_new in = {.mode = mode, .uid = 1000, .gid = 1000, .target = "target"};
	struct volume_attr a;

	assert_int_equal(volume_make(f->v, parent, name, &in, &a), 0);
	volume_forget(f->v, a.id, 1);
	return a.id;
}

static inline uint64_t fx_dir(struct fixture *f, uint64_t parent, const char *name)
{
	return fx_make(f, parent, name, S_IFDIR | 0755);
}

static inline void fx_write(struct fixture *f, uint64_t id, const void *p, size_t len, uint64_t off)
{
	assert_int_equal(volume_write(f->v, id, p, len, off, false), (ssize_t)len);
}

static inline uint64_t fx_file(struct fixture *f, uint64_t parent, const char *name, const void *p,
			       size_t len)
{
	uint64_t id = fx_make(f, parent, name, S_IFREG | 0644);

	fx_write(f, id, p, len, 0);
	return id;
}

/* len bytes that tell seed and position. Caller frees. */
static inline uint8_t *fx_bytes(uint32_t seed, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);
	uint32_t x = seed * 2654435761u + 1;

	assert_non_null(p);
	for (size_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = (uint8_t)(x >> 24);
	}
	return p;
}

static inline int fx_lookup(struct fixture *f, uint64_t parent, const char *name, uint64_t *ret)
{
	struct volume_attr a;
	int r = volume_lookup(f->v, parent, name, &a);

	if (r == 0) {
		volume_forget(f->v, a.id, 1);
		*ret = a.id;
	}
	return r;
}

static inline struct volume_attr fx_attr(struct fixture *f, uint64_t id)
{
	struct volume_attr a;

	assert_int_equal(volume_getattr(f->v, id, &a), 0);
	return a;
}

#endif
