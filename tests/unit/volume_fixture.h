/*
 * What the volume's tests stand on: keys and a store of their own in a temporary folder, mounted
 * and unmounted at will, and short forms of what a test does most.
 */
#ifndef COFFER_TESTS_UNIT_VOLUME_FIXTURE_H
#define COFFER_TESTS_UNIT_VOLUME_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/durable.h"
#include "core/identity.h"
#include "core/kdf.h"
#include "core/keyring.h"
#include "core/secret.h"
#include "fs/volume.h"

struct fixture {
	char dir[64], store[96], anchor[96];
	struct keyring *kr;
	struct volume *v;
	struct diag d;
	unsigned n_alarms;
};

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

static inline struct secret *fixture_passphrase(void)
{
	static const char text[] = "a passphrase for tests";
	struct secret *pass = secret_new(strlen(text));

	assert_non_null(pass);
	memcpy(secret_bytes(pass), text, strlen(text));
	return pass;
}

static inline void fixture_open_keys(struct fixture *fx)
{
	struct secret *pass = fixture_passphrase();
	const struct header_unlock with = {.passphrase = pass};

	assert_int_equal(keyring_open(fx->store, &with, 0, &fx->kr, &fx->d), 0);
	secret_free(pass);
}

static inline void fixture_close_keys(struct fixture *fx)
{
	keyring_close(fx->kr);
	fx->kr = NULL;
}

static inline void count_alarm(void *arg, const struct volume_alarm *a)
{
	struct fixture *fx = arg;
	(void)a;
	fx->n_alarms++;
}

static inline struct volume_config fixture_config(struct fixture *fx)
{
	return (struct volume_config){
	    .store = fx->store, .kr = fx->kr, .alarm = count_alarm, .alarm_arg = fx,
	    .log_bytes = 256 << 10};
}

static inline void fixture_mount(struct fixture *fx)
{
	struct volume_config cfg = fixture_config(fx);
	int r = volume_open(&cfg, &fx->v, &fx->d);

	if (r)
		diag_print(&fx->d, stderr);
	assert_int_equal(r, 0);
}

static inline void fixture_unmount(struct fixture *fx)
{
	assert_int_equal(volume_close(fx->v), 0);
	fx->v = NULL;
}

static inline void fixture_remount(struct fixture *fx)
{
	fixture_unmount(fx);
	fixture_mount(fx);
}

/* The keys of a new store below dir, with a slot for who; for the passphrase when that is NULL. */
static inline void fixture_create_keys(struct fixture *fx, const char *dir,
				       const struct identity *who)
{
	uint8_t id[16], seed[32];
	struct secret *pass = who ? NULL : fixture_passphrase();

	snprintf(fx->store, sizeof(fx->store), "%.60s/store", dir);
	snprintf(fx->anchor, sizeof(fx->anchor), "%.60s/anchor", fx->dir);
	kdf_random(id, sizeof(id));
	kdf_random(seed, sizeof(seed));
	struct keyring_init in = {
	    .store = fx->store,
	    .anchor = fx->anchor,
	    .name = "tests",
	    .suite = suite_best(),
	    .charter_first = (uint8_t[32]){1},
	    .first_id = VOLUME_FIRST_ID,
	    .passphrase = pass,
	    .cheap_passphrase = true,
	    .slot_cards = who ? identity_card(who) : NULL,
	    .n_slot_cards = who != NULL,
	    .volume_id = id,
	    .sign_seed = seed,
	};
	assert_int_equal(durable_mkdir(AT_FDCWD, fx->store, 0700), 0);
	assert_int_equal(keyring_create(&in, &fx->d), 0);
	secret_free(pass);
}

static inline void fixture_create_at(struct fixture *fx, const char *dir)
{
	fixture_create_keys(fx, dir, NULL);
	fixture_open_keys(fx);
	struct volume_config cfg = fixture_config(fx);
	assert_int_equal(volume_create(&cfg, 1000, 1000, &fx->d), 0);
	fixture_mount(fx);
}

/* For what makes thousands of stores: they lie in memory where that is possible and nothing else is
 * asked for. */
static inline void fixture_in_memory(void)
{
	if (access("/dev/shm", W_OK) == 0)
		(void)setenv("TMPDIR", "/dev/shm", 0);
}

static inline struct fixture *fixture_new(void)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(fx);
	assert_int_equal(secret_process_init(), 0);
	snprintf(fx->dir, sizeof(fx->dir), "%.40s/coffer-volume-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(fx->dir));
	return fx;
}

static inline int fixture_setup(void **state)
{
	struct fixture *fx = fixture_new();

	fixture_create_at(fx, fx->dir);
	*state = fx;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *fx = *state;

	volume_close(fx->v);
	keyring_close(fx->kr);
	remove_tree(AT_FDCWD, fx->dir);
	free(fx);
	return 0;
}

#define MOUNTED(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

/*
 * Runs fn against the volume in a process that ends without closing anything: a crash of the
 * engine, whose page cache lives. The volume is not mounted when it returns.
 */
static inline void fixture_crash(struct fixture *fx, void (*fn)(struct volume *v))
{
	int status;

	fixture_unmount(fx);
	fixture_close_keys(fx);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fixture_open_keys(fx);
		fixture_mount(fx);
		fn(fx->v);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fixture_open_keys(fx);
}

/* ---- short forms; references are let go of at once ---- */

static inline int try_make(struct volume *v, uint64_t parent, const char *name, uint32_t mode,
			   uint64_t *ret)
{
	struct volume_new in = {.mode = mode, .uid = 1000, .gid = 1000, .target = "target"};
	struct volume_attr a;
	int r = volume_make(v, parent, name, &in, &a);

	if (r == 0) {
		volume_forget(v, a.id, 1);
		*ret = a.id;
	}
	return r;
}

static inline uint64_t make(struct volume *v, uint64_t parent, const char *name, uint32_t mode)
{
	uint64_t id = 0;

	assert_int_equal(try_make(v, parent, name, mode, &id), 0);
	return id;
}

static inline int find(struct volume *v, uint64_t parent, const char *name, struct volume_attr *ret)
{
	int r = volume_lookup(v, parent, name, ret);

	if (r == 0)
		volume_forget(v, ret->id, 1);
	return r;
}

static inline uint64_t find_id(struct volume *v, uint64_t parent, const char *name)
{
	struct volume_attr a;

	assert_int_equal(find(v, parent, name, &a), 0);
	return a.id;
}

static inline void write_at(struct volume *v, uint64_t id, const void *p, size_t len, uint64_t off)
{
	assert_int_equal(volume_write(v, id, p, len, off, false), len);
}

/* A file of len bytes, each of them c. */
static inline uint64_t make_file(struct volume *v, uint64_t parent, const char *name, char c,
				 size_t len)
{
	uint64_t id = make(v, parent, name, S_IFREG | 0644);
	char *p = malloc(len + 1);

	assert_non_null(p);
	memset(p, c, len);
	if (len)
		write_at(v, id, p, len, 0);
	free(p);
	return id;
}

static inline void check_file(struct volume *v, uint64_t id, char c, size_t len)
{
	struct volume_attr a;
	char *p = malloc(len + 1);

	assert_non_null(p);
	assert_int_equal(volume_getattr(v, id, &a), 0);
	assert_int_equal(a.size, len);
	assert_int_equal(volume_read(v, id, p, len + 1, 0), len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(p[i], c);
	free(p);
}

static inline uint32_t nlink_of(struct volume *v, uint64_t id)
{
	struct volume_attr a;

	assert_int_equal(volume_getattr(v, id, &a), 0);
	return a.nlink;
}

/* The last lineage edge: other id and kind, into a pair. */
static inline int note_edge(void *arg, uint64_t other, uint8_t kind)
{
	uint64_t *pair = arg;

	pair[0] = other;
	pair[1] = kind;
	return 0;
}

static inline void print_finding(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "check: %s\n", text);
}

/* Every record, link count, map and block is as it must be. */
static inline void check_clean(struct volume *v)
{
	struct volume_check c;

	assert_int_equal(volume_check(v, true, print_finding, NULL, &c), 0);
	assert_int_equal(c.n_bad, 0);
}

static inline uint64_t inodes_in_use(struct volume *v)
{
	struct volume_stat st;

	volume_stat(v, &st);
	return st.n_inodes;
}

#endif
