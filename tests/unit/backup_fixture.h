/*
 * What the tests of repositories, sets, backup and restore stand on: the volume of
 * volume_fixture.h, a repository beside it, and ways to look at raw files.
 */
#ifndef COFFER_TESTS_UNIT_BACKUP_FIXTURE_H
#define COFFER_TESTS_UNIT_BACKUP_FIXTURE_H

#include <ftw.h>
#include <limits.h>

#include "backup/backup.h"
#include "backup/restore.h"
#include "backup/set_internal.h"
#include "core/cleanup.h"
#include "core/durable.h"
#include "tests/unit/volume_fixture.h"

struct backup_fixture {
	struct fixture *fx;
	char repo_dir[96], out_dir[96];
	struct repo *repo;
	struct diag d;
};

static inline struct keyring *keys(struct backup_fixture *b)
{
	return b->fx->kr;
}

static inline void open_repo(struct backup_fixture *b)
{
	int r = repo_open(b->repo_dir, keyring_volume_id(keys(b)), keyring_header(keys(b))->sign_pk,
			  &b->repo, &b->d);

	assert_int_equal(r, 0);
}

static inline int backup_setup(void **state)
{
	struct backup_fixture *b = calloc(1, sizeof(*b));
	void *fx;

	assert_non_null(b);
	assert_int_equal(fixture_setup(&fx), 0);
	b->fx = fx;
	snprintf(b->repo_dir, sizeof(b->repo_dir), "%s/repo", b->fx->dir);
	snprintf(b->out_dir, sizeof(b->out_dir), "%s/out", b->fx->dir);
	assert_int_equal(
	    repo_create(b->repo_dir, keyring_volume_id(keys(b)), keyring_sign_seed(keys(b)), &b->d),
	    0);
	open_repo(b);
	*state = b;
	return 0;
}

static inline int backup_teardown(void **state)
{
	struct backup_fixture *b = *state;
	void *fx = b->fx;

	repo_close(b->repo);
	free(b);
	return fixture_teardown(&fx);
}

#define WITH_REPOSITORY(test) cmocka_unit_test_setup_teardown(test, backup_setup, backup_teardown)

/* --- backup --- */

static inline struct backup_request request(struct backup_fixture *b, bool full)
{
	static const uint8_t charter[32] = {7};

	return (struct backup_request){.volume = b->fx->v,
				       .repo = b->repo,
				       .tier = "daily",
				       .full = full,
				       .charter = charter,
				       .trail = {.size = 5, .root = {9}},
				       .arg = b};
}

static inline void back_up(struct backup_fixture *b, bool full, struct set_manifest *ret)
{
	struct backup_request in = request(b, full);
	int r = backup_run(&in, ret, &b->d);

	if (r)
		diag_print(&b->d, stderr);
	assert_int_equal(r, 0);
}

static inline void back_up_only(struct backup_fixture *b, bool full)
{
	struct set_manifest m;

	back_up(b, full, &m);
	set_manifest_free(&m);
}

static inline void load(struct backup_fixture *b, struct set_catalog *ret)
{
	assert_int_equal(set_catalog_load(b->repo, keyring_volume_id(keys(b)),
					  keyring_header(keys(b))->sign_pk, ret, &b->d),
			 0);
}

/* --- raw files --- */

static inline void object_path(struct backup_fixture *b, const char *id, const char *what,
			       char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/sets/%s/%s", b->repo_dir, id, what);
}

static inline size_t read_raw(const char *path, uint8_t **ret)
{
	size_t len = 0;

	assert_int_equal(durable_read(AT_FDCWD, path, SIZE_MAX / 2, ret, &len), 0);
	return len;
}

static inline void write_raw(const char *path, const void *p, size_t len)
{
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(durable_pwrite(fd, p, len, 0), 0);
}

static inline void flip_raw(const char *path, size_t off, uint8_t bits)
{
	CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t c;

	assert_true(fd >= 0);
	assert_int_equal(durable_pread(fd, &c, 1, (off_t)off), 0);
	c ^= bits;
	assert_int_equal(durable_pwrite(fd, &c, 1, (off_t)off), 0);
}

/* Calls fn for every regular file under a folder. nftw has no argument of its own. */
static int (*raw_fn)(void *arg, const char *path);
static void *raw_arg;

static inline int raw_visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	(void)type;
	return S_ISREG(st->st_mode) ? raw_fn(raw_arg, path) : 0;
}

static inline int each_raw(const char *dir, int (*fn)(void *arg, const char *path), void *arg)
{
	raw_fn = fn;
	raw_arg = arg;
	return nftw(dir, raw_visit, 16, FTW_PHYS);
}

/* --- content --- */

/* len bytes that tell seed and position and do not compress. Caller frees. */
static inline uint8_t *noise(uint64_t seed, size_t len)
{
	uint8_t *p = malloc(len + 8);
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	assert_non_null(p);
	for (size_t i = 0; i < len; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bytes_put64(p + i, x);
	}
	return p;
}

static inline uint64_t make_noise(struct volume *v, uint64_t parent, const char *name,
				  uint64_t seed, size_t len)
{
	CLEANUP_FREE uint8_t *p = noise(seed, len);
	uint64_t id = make(v, parent, name, S_IFREG | 0644);

	write_at(v, id, p, len, 0);
	return id;
}

static inline void puncture(struct backup_fixture *b, unsigned trees, uint64_t id,
			    const char *order)
{
	const struct keyring_range range = {id, id};
	size_t pending;

	assert_int_equal(keyring_puncture(keys(b), trees, &range, 1, order, &pending, &b->d), 0);
}

#endif
