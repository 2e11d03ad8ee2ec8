/*
 * A keyring above a medium that fails.
 *
 * The durable layer is interposed at link time (-Wl,--wrap=.., tests/meson.build): from the n-th
 * write on every one fails, as after a power cut before it; or the n-th write in place is torn
 * first; or the n-th alone fails, or lies, or is done and yet reported as failed, as on a bad
 * medium. Included by one file of each test program.
 */
#ifndef COFFER_TESTS_UNIT_KEYRING_CRASH_FIXTURE_H
#define COFFER_TESTS_UNIT_KEYRING_CRASH_FIXTURE_H

#include "core/bytes.h"
#include "tests/unit/keyring_fixture.h"

#define GONE_FIRST 20
#define GONE_LAST 25

/* --- the interposed layer --- */

enum fault_kind { FAULT_CUT, FAULT_TORN, FAULT_ONCE, FAULT_LIE, FAULT_DONE };

static struct {
	bool armed;
	enum fault_kind kind;
	unsigned at;    /* writes before the fault */
	unsigned calls; /* writes so far */
} fault;

static inline void arm(enum fault_kind kind, unsigned at)
{
	fault.armed = true;
	fault.kind = kind;
	fault.at = at;
	fault.calls = 0;
}

/* Disarms; whether the fault was reached at all. */
static inline bool disarm(void)
{
	fault.armed = false;
	return fault.calls > fault.at;
}

static inline bool fails(void)
{
	unsigned call;

	if (!fault.armed)
		return false;
	call = fault.calls++;
	if (fault.kind == FAULT_CUT || fault.kind == FAULT_TORN)
		return call >= fault.at;
	return call == fault.at;
}

int __real_durable_overwrite(int dirfd, const char *name, off_t off, const void *p, size_t len);
int __real_durable_replace(int dirfd, const char *name, const void *p, size_t len, mode_t mode);
int __real_durable_create(int dirfd, const char *name, const void *p, size_t len, mode_t mode);
int __real_durable_unlink(int dirfd, const char *name);
int __real_durable_mkdir(int dirfd, const char *name, mode_t mode);
int __real_durable_pwrite(int fd, const void *p, size_t len, off_t off);
int __wrap_durable_overwrite(int dirfd, const char *name, off_t off, const void *p, size_t len);
int __wrap_durable_replace(int dirfd, const char *name, const void *p, size_t len, mode_t mode);
int __wrap_durable_create(int dirfd, const char *name, const void *p, size_t len, mode_t mode);
int __wrap_durable_unlink(int dirfd, const char *name);
int __wrap_durable_mkdir(int dirfd, const char *name, mode_t mode);
int __wrap_durable_pwrite(int fd, const void *p, size_t len, off_t off);

/* The first 100 bytes land: into the box of an anchor slot, into the head of anything larger. */
static inline void tear(int dirfd, const char *name, off_t off, const void *p)
{
	CLEANUP_FD int fd = openat(dirfd, name, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, p, 100, off), 100);
}

int __wrap_durable_overwrite(int dirfd, const char *name, off_t off, const void *p, size_t len)
{
	if (!fails())
		return __real_durable_overwrite(dirfd, name, off, p, len);
	if (fault.kind != FAULT_CUT && fault.calls == fault.at + 1)
		tear(dirfd, name, off, p);
	return -EIO;
}

int __wrap_durable_replace(int dirfd, const char *name, const void *p, size_t len, mode_t mode)
{
	CLEANUP_FREE uint8_t *other = NULL;

	if (!fails())
		return __real_durable_replace(dirfd, name, p, len, mode);
	if (fault.kind == FAULT_DONE)
		__real_durable_replace(dirfd, name, p, len, mode);
	if (fault.kind != FAULT_LIE)
		return -EIO;
	/* A medium that says done and keeps something else. */
	other = malloc(len);
	assert_non_null(other);
	memcpy(other, p, len);
	other[len / 2] ^= 1;
	return __real_durable_replace(dirfd, name, other, len, mode);
}

int __wrap_durable_create(int dirfd, const char *name, const void *p, size_t len, mode_t mode)
{
	return fails() ? -EIO : __real_durable_create(dirfd, name, p, len, mode);
}

int __wrap_durable_unlink(int dirfd, const char *name)
{
	return fails() ? -EIO : __real_durable_unlink(dirfd, name);
}

int __wrap_durable_mkdir(int dirfd, const char *name, mode_t mode)
{
	return fails() ? -EIO : __real_durable_mkdir(dirfd, name, mode);
}

int __wrap_durable_pwrite(int fd, const void *p, size_t len, off_t off)
{
	return fails() ? -EIO : __real_durable_pwrite(fd, p, len, off);
}

/* --- what must hold --- */

/* The anchor moved when one of its slots changed into one that opens under the next generation. */
static inline bool anchor_moved(struct fixture *f)
{
	struct anchor *a = NULL;
	struct anchor_state st;
	bool stale;

	assert_int_equal(anchor_open(f->anchor, f->volume_id, secret_bytes(f->kr->vk), &a, NULL),
			 0);
	assert_int_equal(anchor_get(a, &st, &stale, NULL), 0);
	anchor_close(a);
	return st.generation > 1;
}

/*
 * Both anchor slots hold the same tree key, nothing of another generation is left, and the n
 * escrows are current in both of their slots.
 */
static inline void check_tidy_with(struct fixture *f, size_t n_escrows)
{
	struct keyring_escrow_status st[KEYRING_ESCROWS_MAX];
	struct escrow_info info;
	struct anchor_state at;
	char name[40];
	bool stale = true;

	assert_int_equal(anchor_get(f->kr->anchor, &at, &stale, NULL), 0);
	assert_false(stale);
	assert_int_equal(n_entries(f->keys), 2);
	snprintf(name, sizeof(name), "state-%d.a", (int)keyring_generation(f->kr));
	assert_true(exists(f->keys, name));
	assert_int_equal(keyring_escrow_list(f->kr, st), n_escrows);
	for (size_t i = 0; i < n_escrows; i++) {
		assert_true(st[i].confirmed);
		assert_int_equal(escrow_info(st[i].dir, f->volume_id, NULL, &info, NULL), 0);
		assert_false(info.other_stale);
	}
}

static inline void check_tidy(struct fixture *f)
{
	check_tidy_with(f, 1);
}

static inline int destroy(struct fixture *f, size_t *ret_pending)
{
	return puncture(f, KEYRING_BOTH, GONE_FIRST, GONE_LAST, "D-1", ret_pending);
}

/* Before: everything derives. After: the range is gone. Never anything between, and never back. */
static inline void check_either(struct fixture *f, bool gone)
{
	if (gone)
		check_keys(f, KEYRING_BOTH, GONE_FIRST, GONE_LAST);
	else
		check_keys(f, 0, 0, 0);
}

#endif
