/*
 * What the trail's tests stand on: one keyring for all of them, a fresh trail for each, and an
 * attacker's hands on its files.
 */
#ifndef COFFER_TESTS_UNIT_TRAIL_FIXTURE_H
#define COFFER_TESTS_UNIT_TRAIL_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/durable.h"
#include "core/kdf.h"
#include "core/keyring.h"
#include "core/secret.h"
#include "core/trail.h"

struct fixture {
	char dir[64]; /* holds all of the below */
	struct keyring *kr;
	uint8_t volume_id[16], sign_seed[32], sign_pk[32];
	/* a test's own */
	char store[80];
	int store_fd;
	struct trail *t;
	struct diag d;
};

/* --- files --- */

static inline void remove_tree(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			remove_tree(fd, e->d_name);
	}
	if (dir)
		closedir(dir);
	unlinkat(at, name, dir ? AT_REMOVEDIR : 0);
}

/* Copies a tree over what is there: a backup taken, or an old copy put back. */
static inline void copy_tree(int from_at, int to_at, const char *name)
{
	int fd = openat(from_at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint8_t *buf;
	size_t len;

	if (!dir) {
		assert_int_equal(durable_read(from_at, name, 1 << 24, &buf, &len), 0);
		to = openat(to_at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_true(to >= 0);
		assert_int_equal(write(to, buf, len), len);
		close(to);
		free(buf);
		return;
	}
	mkdirat(to_at, name, 0700);
	to = openat(to_at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(to >= 0);
	for (struct dirent *e; (e = readdir(dir));) {
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			copy_tree(fd, to, e->d_name);
	}
	close(to);
	closedir(dir);
}

/* A file of the trail, taken into memory. */
struct taken {
	char path[96];
	uint8_t *buf;
	size_t len;
};

static inline struct taken take(const struct fixture *fx, const char *name)
{
	struct taken f;

	snprintf(f.path, sizeof(f.path), "trail/%s", name);
	assert_int_equal(durable_read(fx->store_fd, f.path, 1 << 24, &f.buf, &f.len), 0);
	return f;
}

static inline void put(const struct fixture *fx, const struct taken *f, const void *p, size_t len)
{
	int fd = openat(fx->store_fd, f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, len), len);
	close(fd);
}

static inline void put_back(const struct fixture *fx, struct taken *f)
{
	put(fx, f, f->buf, f->len);
	free(f->buf);
}

/* --- the volume and its trail --- */

static inline int fixture_keyring(struct fixture *fx)
{
	static const char pass_text[] = "a passphrase for tests";
	char store[80], anchor[80];
	struct secret *pass = secret_new(strlen(pass_text));
	struct header_unlock with = {.passphrase = pass};

	if (!pass)
		return -ENOMEM;
	memcpy(secret_bytes(pass), pass_text, strlen(pass_text));
	snprintf(store, sizeof(store), "%s/volume", fx->dir);
	snprintf(anchor, sizeof(anchor), "%s/anchor", fx->dir);
	struct keyring_init in = {
	    .store = store,
	    .anchor = anchor,
	    .name = "tests",
	    .suite = suite_by_name("xchacha20poly1305"),
	    .charter_first = (uint8_t[32]){1},
	    .first_id = 2,
	    .slot_label = "passphrase",
	    .passphrase = pass,
	    .cheap_passphrase = true,
	    .volume_id = fx->volume_id,
	    .sign_seed = fx->sign_seed,
	};
	int r = mkdir(store, 0700) < 0 ? -errno : keyring_create(&in, &fx->d);
	if (!r)
		r = keyring_open(store, &with, 0, &fx->kr, &fx->d);
	secret_free(pass);
	return r;
}

static inline int group_setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	const char *tmp = getenv("TMPDIR");

	if (!fx || secret_process_init() != 0)
		return -1;
	*state = fx;
	snprintf(fx->dir, sizeof(fx->dir), "%.40s/coffer-trail-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(fx->dir))
		return -1;
	kdf_random(fx->volume_id, sizeof(fx->volume_id));
	kdf_random(fx->sign_seed, sizeof(fx->sign_seed));
	identity_sign_pk_from_seed(fx->sign_seed, fx->sign_pk);
	int r = fixture_keyring(fx);
	if (r)
		diag_print(&fx->d, stderr);
	return r;
}

static inline int group_teardown(void **state)
{
	struct fixture *fx = *state;

	keyring_close(fx->kr);
	remove_tree(AT_FDCWD, fx->dir);
	free(fx);
	return 0;
}

static inline int test_setup(void **state)
{
	struct fixture *fx = *state;

	snprintf(fx->store, sizeof(fx->store), "%s/store", fx->dir);
	if (mkdir(fx->store, 0700) < 0)
		return -1;
	fx->store_fd = open(fx->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fx->store_fd < 0 || trail_create(fx->store_fd, fx->kr, &fx->d) != 0)
		return -1;
	return trail_open(fx->store_fd, fx->kr, NULL, &fx->t, &fx->d);
}

static inline int test_teardown(void **state)
{
	struct fixture *fx = *state;

	trail_close(fx->t);
	fx->t = NULL;
	close(fx->store_fd);
	remove_tree(AT_FDCWD, fx->store);
	return 0;
}

/* Sets a copy of the trail's files aside, as they are at this moment. */
static inline void keep(struct fixture *fx, const char *copy)
{
	mkdirat(fx->store_fd, copy, 0700);
	int fd = openat(fx->store_fd, copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	copy_tree(fx->store_fd, fd, "trail");
	close(fd);
}

/*
 * Closes the trail and puts the copy in its place: a crash at that moment, or an attacker's old
 * copy.
 */
static inline void put_kept(struct fixture *fx, const char *copy)
{
	int fd = openat(fx->store_fd, copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	trail_close(fx->t);
	fx->t = NULL;
	remove_tree(fx->store_fd, "trail");
	copy_tree(fd, fx->store_fd, "trail");
	close(fd);
}

static inline int reopen_anchored(struct fixture *fx, const struct trail_head *anchored)
{
	trail_close(fx->t);
	fx->t = NULL;
	return trail_open(fx->store_fd, fx->kr, anchored, &fx->t, &fx->d);
}

static inline int reopen(struct fixture *fx)
{
	return reopen_anchored(fx, NULL);
}

/* Event number i; what read_numbers expects back. */
static inline struct trail_event numbered(uint64_t i)
{
	struct trail_event ev = {.time_ns = 1000 + (int64_t)i, .uid = (uint32_t)i, .pid = 7};

	snprintf(ev.operation, sizeof(ev.operation), "test.count");
	snprintf(ev.object, sizeof(ev.object), "number %llu", (unsigned long long)i);
	/* lengths differ, so that nothing lies at a fixed distance */
	memset(ev.detail, 'd', (size_t)(i * 37 % 300));
	return ev;
}

static inline void append_numbers(struct fixture *fx, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		struct trail_event ev = numbered(i);
		assert_int_equal(trail_append(fx->t, &ev, false), 0);
	}
}

static inline int expect_number(uint64_t index, const struct trail_event *ev, void *arg)
{
	uint64_t *next = arg;
	struct trail_event want = numbered(index);

	assert_int_equal(index, *next);
	assert_int_equal(ev->time_ns, want.time_ns);
	assert_int_equal(ev->uid, want.uid);
	assert_string_equal(ev->object, want.object);
	assert_string_equal(ev->detail, want.detail);
	++*next;
	return 0;
}

/* All entries, from one on, are there, in order and whole; how many there are in all. */
static inline uint64_t read_numbers(struct fixture *fx, uint64_t from)
{
	uint64_t next = from;

	assert_int_equal(trail_read(fx->t, from, expect_number, &next, &fx->d), 0);
	return next;
}

static inline struct trail_verdict verify(struct fixture *fx, const struct trail_head *earlier,
					  size_t n_earlier)
{
	struct trail_verdict v;

	assert_int_equal(
	    trail_verify(fx->store_fd, fx->volume_id, fx->sign_pk, earlier, n_earlier, &v, &fx->d),
	    0);
	return v;
}

static inline void assert_sound(struct fixture *fx, uint64_t size, uint64_t n_tail)
{
	struct trail_verdict v = verify(fx, NULL, 0);

	if (v.damaged)
		fail_msg("entry %llu: %s", (unsigned long long)v.first_wrong, v.why);
	assert_int_equal(v.size, size);
	assert_int_equal(v.n_tail, n_tail);
}

#endif
