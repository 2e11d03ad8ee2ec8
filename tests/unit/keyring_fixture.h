/*
 * A small volume's keys in a temporary folder, for the keyring's tests: one identity that unlocks
 * and recovers (no Argon2, so that hundreds of openings cost little), one escrow, and the keys of a
 * few ids noted down.
 */
#ifndef COFFER_TESTS_KEYRING_FIXTURE_H
#define COFFER_TESTS_KEYRING_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/keyring_internal.h"

#define FIRST_ID 16
#define N_IDS 24

struct fixture {
	char dir[64], store[96], keys[112], anchor[96], escrow[96], saved[96];
	struct identity *ada;
	struct keyring *kr;
	uint8_t volume_id[16], sign_seed[32], charter[32];
	uint8_t noted[KEYRING_N_TREES][N_IDS][KDF_KEY_LEN];
	uint8_t epoch[KEYRING_N_EPOCH][KDF_KEY_LEN];
};

/* --- files --- */

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Files of a folder, one level of folders below it included. */
static inline void copy_tree(const char *from, const char *to)
{
	CLEANUP_DIR DIR *dp = opendir(from);
	const struct dirent *e;

	assert_non_null(dp);
	assert_true(mkdir(to, 0700) == 0 || errno == EEXIST);
	while ((e = readdir(dp))) {
		char src[512], dst[512];
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(src, sizeof(src), "%s/%s", from, e->d_name);
		snprintf(dst, sizeof(dst), "%s/%s", to, e->d_name);
		assert_int_equal(lstat(src, &st), 0);
		if (S_ISDIR(st.st_mode)) {
			copy_tree(src, dst);
		} else {
			CLEANUP_FREE uint8_t *buf = NULL;
			CLEANUP_FD int fd = open(dst, O_WRONLY | O_CREAT | O_TRUNC, 0600);
			size_t len;

			assert_true(fd >= 0);
			assert_int_equal(durable_read(AT_FDCWD, src, 1 << 24, &buf, &len), 0);
			assert_int_equal(write(fd, buf, len), len);
		}
	}
}

static inline void replace_tree(const char *from, const char *to)
{
	remove_tree(to);
	copy_tree(from, to);
}

static inline void flip_byte(const char *dir, const char *name, off_t off)
{
	CLEANUP_FD int fd = -1;
	char path[512];
	uint8_t b;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, off), 1);
	b ^= 1;
	assert_int_equal(pwrite(fd, &b, 1, off), 1);
}

static inline bool exists(const char *dir, const char *name)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) == 0;
}

static inline size_t n_entries(const char *dir)
{
	CLEANUP_DIR DIR *dp = opendir(dir);
	const struct dirent *e;
	size_t n = 0;

	assert_non_null(dp);
	while ((e = readdir(dp)))
		n += e->d_name[0] != '.' || (e->d_name[1] && e->d_name[1] != '.');
	return n;
}

/* --- the volume --- */

static inline int open_flags(struct fixture *f, unsigned flags, struct diag *d)
{
	const struct header_unlock with = {.identity = f->ada};

	return keyring_open(f->store, &with, flags, &f->kr, d);
}

static inline void shut(struct fixture *f)
{
	keyring_close(f->kr);
	f->kr = NULL;
}

static inline void reopen(struct fixture *f)
{
	shut(f);
	assert_int_equal(open_flags(f, 0, NULL), 0);
}

static inline int create(struct fixture *f, struct diag *d)
{
	const char *const escrows[] = {f->escrow};
	const struct keyring_init in = {
	    .store = f->store,
	    .anchor = f->anchor,
	    .name = "land registry",
	    .suite = suite_best(),
	    .charter_first = f->charter,
	    .escrows = escrows,
	    .n_escrows = 1,
	    .recipients = identity_card(f->ada),
	    .n_recipients = 1,
	    .first_id = FIRST_ID,
	    .slot_cards = identity_card(f->ada),
	    .n_slot_cards = 1,
	    .volume_id = f->volume_id,
	    .sign_seed = f->sign_seed,
	};

	return keyring_create(&in, d);
}

static inline void note_keys(struct fixture *f)
{
	for (int t = 0; t < KEYRING_N_TREES; t++) {
		for (uint64_t i = 0; i < N_IDS; i++)
			assert_int_equal(keyring_file_key(f->kr, t, FIRST_ID + i, f->noted[t][i]),
					 0);
	}
	for (int e = 0; e < KEYRING_N_EPOCH; e++)
		keyring_epoch_key(f->kr, e, f->epoch[e]);
}

/* Each noted id either derives the noted key, or is one of first..last in a tree of the mask. */
static inline void check_keys(struct fixture *f, unsigned trees, uint64_t first, uint64_t last)
{
	uint8_t key[KDF_KEY_LEN];

	for (int t = 0; t < KEYRING_N_TREES; t++) {
		for (uint64_t id = FIRST_ID; id < FIRST_ID + N_IDS; id++) {
			bool gone = trees & KEYRING_MASK(t) && first <= id && id <= last;
			int r = keyring_file_key(f->kr, t, id, key);

			assert_int_equal(r, gone ? -EKEYREVOKED : 0);
			if (!gone)
				assert_memory_equal(key, f->noted[t][id - FIRST_ID], KDF_KEY_LEN);
		}
	}
	for (int e = 0; e < KEYRING_N_EPOCH; e++) {
		keyring_epoch_key(f->kr, e, key);
		assert_memory_equal(key, f->epoch[e], KDF_KEY_LEN);
	}
}

static inline int puncture(struct fixture *f, unsigned trees, uint64_t first, uint64_t last,
			   const char *order, size_t *ret_pending)
{
	const struct keyring_range range = {first, last};

	return keyring_puncture(f->kr, trees, &range, 1, order, ret_pending, NULL);
}

static inline int fixture_folders(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/coffer-keyring-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->store, sizeof(f->store), "%s/store", f->dir);
	snprintf(f->keys, sizeof(f->keys), "%s/keys", f->store);
	snprintf(f->anchor, sizeof(f->anchor), "%s/anchor", f->dir);
	snprintf(f->escrow, sizeof(f->escrow), "%s/escrow", f->dir);
	snprintf(f->saved, sizeof(f->saved), "%s/saved", f->dir);
	assert_int_equal(mkdir(f->store, 0700), 0);
	kdf_random(f->volume_id, sizeof(f->volume_id));
	kdf_random(f->sign_seed, sizeof(f->sign_seed));
	kdf_random(f->charter, sizeof(f->charter));
	f->ada = identity_new("Ada", "1");
	assert_non_null(f->ada);
	*state = f;
	return 0;
}

static inline int fixture_volume(void **state)
{
	struct fixture *f;

	fixture_folders(state);
	f = *state;
	assert_int_equal(create(f, NULL), 0);
	reopen(f);
	note_keys(f);
	return 0;
}

static inline int fixture_end(void **state)
{
	struct fixture *f = *state;

	keyring_close(f->kr);
	identity_free(f->ada);
	remove_tree(f->dir);
	free(f);
	return 0;
}

#define VOLUME_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_volume, fixture_end)

#endif
