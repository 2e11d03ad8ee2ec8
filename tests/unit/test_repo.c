/*
 * Repositories in folders: objects whole and once, no way out of the folder, and nobody's but the
 * volume's.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/repo.h"
#include "core/cleanup.h"
#include "core/durable.h"
#include "core/identity.h"
#include "core/note.h"
#include "core/secret.h"

struct place {
	char dir[64], path[96];
	uint8_t volume[16], seed[32], pk[32];
	struct repo *r;
	struct diag d;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/coffer-repo-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/repo", p->dir);
	memset(p->volume, 0xab, sizeof(p->volume));
	memset(p->seed, 0x11, sizeof(p->seed));
	identity_sign_pk_from_seed(p->seed, p->pk);
	assert_int_equal(repo_create(p->path, p->volume, p->seed, &p->d), 0);
	assert_int_equal(repo_open(p->path, p->volume, p->pk, &p->r, &p->d), 0);
	*state = p;
	return 0;
}

static void remove_tree(int at, const char *name)
{
	CLEANUP_DIR DIR *dir = NULL;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		dir = fdopendir(fd);
	for (struct dirent *e; dir && (e = readdir(dir));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			remove_tree(fd, e->d_name);
	unlinkat(at, name, dir ? AT_REMOVEDIR : 0);
}

static int teardown(void **state)
{
	struct place *p = *state;

	repo_close(p->r);
	remove_tree(AT_FDCWD, p->dir);
	free(p);
	return 0;
}

static void in_repo(const struct place *p, const char *name, char out[192])
{
	snprintf(out, 192, "%s/%s", p->path, name);
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* What was put comes back, in whole and in parts; what is not there, too long or too short is said
 * to be so. */
static void objects_come_back(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE uint8_t *got = NULL;
	uint8_t part[4];
	uint64_t size;
	size_t len;

	assert_int_equal(repo_put(p->r, "sets/one/pack", "0123456789", 10), 0);
	assert_int_equal(repo_size(p->r, "sets/one/pack", &size), 0);
	assert_int_equal(size, 10);
	assert_int_equal(repo_get(p->r, "sets/one/pack", 10, &got, &len), 0);
	assert_int_equal(len, 10);
	assert_memory_equal(got, "0123456789", 11); /* a zero follows */
	assert_int_equal(repo_read(p->r, "sets/one/pack", 6, part, 4), 0);
	assert_memory_equal(part, "6789", 4);

	assert_int_equal(repo_read(p->r, "sets/one/pack", 7, part, 4), -ENODATA);
	assert_int_equal(repo_read(p->r, "sets/one/pack", UINT64_MAX, part, 4), -ENODATA);
	assert_int_equal(repo_get(p->r, "sets/one/pack", 9, &got, &len), -EFBIG);
	assert_int_equal(repo_get(p->r, "sets/two/pack", 9, &got, &len), -ENOENT);
	assert_int_equal(repo_size(p->r, "sets/one", &size), -EUCLEAN);
	assert_int_equal(repo_size(p->r, "nothing", &size), -ENOENT);
}

/* An object that must be new does not replace one that is there; repo_put does, as a whole. */
static void once_means_once(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE uint8_t *got = NULL;
	size_t len;

	assert_int_equal(repo_put_new(p->r, "a", "first", 5), 0);
	assert_int_equal(repo_put_new(p->r, "a", "second", 6), -EEXIST);
	assert_int_equal(repo_get(p->r, "a", 100, &got, &len), 0);
	assert_string_equal((char *)got, "first");
	free(STEAL_PTR(got));
	assert_int_equal(repo_put(p->r, "a", "two", 3), 0);
	assert_int_equal(repo_get(p->r, "a", 100, &got, &len), 0);
	assert_string_equal((char *)got, "two");
	free(STEAL_PTR(got));
	assert_int_equal(repo_put_new(p->r, "empty", NULL, 0), 0);
	assert_int_equal(repo_get(p->r, "empty", 100, &got, &len), 0);
	assert_int_equal(len, 0);
}

/* Listing names the next component only, sorted, and passes over what a power cut left of a write.
 */
static void lists(void **state)
{
	struct place *p = *state;
	char path[192];
	char **names;
	size_t n;

	assert_int_equal(repo_list(p->r, "sets/", &names, &n), 0);
	assert_int_equal(n, 0);
	repo_list_free(names, n);
	assert_int_equal(repo_put(p->r, "sets/b/x", "1", 1), 0);
	assert_int_equal(repo_put(p->r, "sets/a/x", "1", 1), 0);
	assert_int_equal(repo_put(p->r, "sets/a/y", "1", 1), 0);
	in_repo(p, "sets/a/.z.tmp", path);
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(repo_list(p->r, "sets/", &names, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(names[0], "a");
	assert_string_equal(names[1], "b");
	repo_list_free(names, n);
	assert_int_equal(repo_list(p->r, "sets/a/", &names, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(names[0], "x");
	repo_list_free(names, n);
	assert_int_equal(repo_list(p->r, "sets/a", &names, &n), -EINVAL);
}

/* Deleting twice is success; a set whose last object goes leaves no folder behind. */
static void deletes(void **state)
{
	struct place *p = *state;
	char path[192];

	assert_int_equal(repo_put(p->r, "sets/a/x", "1", 1), 0);
	assert_int_equal(repo_delete(p->r, "sets/a/x"), 0);
	assert_int_equal(repo_delete(p->r, "sets/a/x"), 0);
	in_repo(p, "sets/a", path);
	assert_false(exists(path));
	in_repo(p, "sets", path);
	assert_true(exists(path));
}

/* No name leads out of the repository or to a hidden file, in any call. */
static void names_cannot_escape(void **state)
{
	static const char *const bad[] = {
	    "",     "/x",   "..",  "../x", "sets/../../x", "sets//x",  "sets/", ".x",
	    "a/.x", "a/..", "a b", "a\nb", "a\\b",         "\xc3\xa4", ".",     "a/./b"};
	struct place *p = *state;
	uint8_t *got = NULL;
	char **names, longest[300];
	uint64_t size;
	size_t len, n;

	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(repo_put(p->r, longest, "1", 1), -EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(repo_put(p->r, bad[i], "1", 1), -EINVAL);
		assert_int_equal(repo_put_new(p->r, bad[i], "1", 1), -EINVAL);
		assert_int_equal(repo_get(p->r, bad[i], 9, &got, &len), -EINVAL);
		assert_int_equal(repo_read(p->r, bad[i], 0, &size, 1), -EINVAL);
		assert_int_equal(repo_size(p->r, bad[i], &size), -EINVAL);
		assert_int_equal(repo_delete(p->r, bad[i]), -EINVAL);
	}
	assert_int_equal(repo_list(p->r, "../", &names, &n), -EINVAL);
	assert_int_equal(repo_list(p->r, "/", &names, &n), -EINVAL);
}

/* Others may write in a repository: what they put in the place of a folder or an object is neither
 * followed nor waited for. */
static void traps_are_refused(void **state)
{
	struct place *p = *state;
	char path[192], outside[96];
	uint8_t *got = NULL;
	size_t len;

	snprintf(outside, sizeof(outside), "%s/outside", p->dir);
	assert_int_equal(mkdir(outside, 0700), 0);
	assert_int_equal(repo_put(p->r, "sets/a/x", "1", 1), 0);
	in_repo(p, "sets/b", path);
	assert_int_equal(symlink(outside, path), 0);
	assert_int_equal(repo_put(p->r, "sets/b/x", "1", 1), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/x", outside);
	assert_false(exists(path));

	in_repo(p, "sets/a/y", path);
	assert_int_equal(symlink("x", path), 0);
	assert_int_equal(repo_get(p->r, "sets/a/y", 9, &got, &len), -ELOOP);
	in_repo(p, "sets/a/z", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(repo_get(p->r, "sets/a/z", 9, &got, &len), -EUCLEAN);
	assert_int_equal(repo_read(p->r, "sets/a/z", 0, path, 1), -EUCLEAN);
}

/* A put that fails leaves neither a part under the name nor a temporary file. */
static void failed_put_leaves_nothing(void **state)
{
	struct place *p = *state;
	struct rlimit old, tight;
	CLEANUP_FREE uint8_t *big = calloc(1, 1 << 20);
	char **names, path[192];
	size_t n;

	assert_non_null(big);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	tight = old;
	tight.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	int r = repo_put_new(p->r, "sets/a/x", big, 1 << 20);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(r, -EFBIG);
	assert_int_equal(repo_list(p->r, "sets/a/", &names, &n), 0);
	assert_int_equal(n, 0);
	repo_list_free(names, n);
	in_repo(p, "sets/a/.x.tmp", path);
	assert_false(exists(path));
}

/* Promise 1: what an operator's other users can see is nothing: 0700 folders, 0600 objects. */
static void modes(void **state)
{
	struct place *p = *state;
	struct stat st;
	char path[192];

	assert_int_equal(repo_put(p->r, "sets/a/x", "1", 1), 0);
	in_repo(p, "sets/a/x", path);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	in_repo(p, "sets/a", path);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(lstat(p->path, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
}

static int try_open(struct place *p, const char *url, const uint8_t volume[16],
		    const uint8_t pk[32])
{
	struct repo *r = NULL;

	p->d = (struct diag){0};
	int err = repo_open(url, volume, pk, &r, &p->d);
	repo_close(r);
	return err;
}

/* A repository is one volume's: another one neither opens nor takes it over. */
static void belongs_to_one_volume(void **state)
{
	struct place *p = *state;
	uint8_t other[16] = {1}, pk[32], seed[32] = {2};
	char url[128];

	identity_sign_pk_from_seed(seed, pk);
	assert_int_equal(try_open(p, p->path, p->volume, p->pk), 0);
	snprintf(url, sizeof(url), "file:%s", p->path);
	assert_int_equal(try_open(p, url, p->volume, p->pk), 0);
	assert_int_equal(try_open(p, p->path, other, p->pk), -EINVAL);
	assert_int_equal(p->d.id, DIAG_REPOSITORY_OTHER);
	assert_int_equal(try_open(p, p->path, p->volume, pk), -EBADMSG);
	assert_int_equal(p->d.id, DIAG_NOTE_UNSIGNED);
	assert_int_equal(repo_create(p->path, p->volume, p->seed, &p->d), 0);
	assert_int_equal(repo_create(p->path, other, seed, &p->d), -EINVAL);
	assert_int_equal(p->d.id, DIAG_REPOSITORY_OTHER);
	assert_int_equal(try_open(p, p->path, p->volume, p->pk), 0);

	assert_int_equal(try_open(p, p->dir, p->volume, p->pk), -ENOENT);
	assert_int_equal(p->d.id, DIAG_NO_REPOSITORY);
	assert_int_equal(try_open(p, "/nowhere/at/all", p->volume, p->pk), -ENOENT);
	assert_int_equal(p->d.id, DIAG_NO_REPOSITORY);
	assert_int_equal(try_open(p, "ftp://host/x", p->volume, p->pk), -EPROTONOSUPPORT);
	assert_int_equal(p->d.id, DIAG_NO_REPOSITORY);
}

/* Promise 2: no mark that differs in a single bit, is cut short or has a tail passes for the
 * volume's. */
static void tampered_mark(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE uint8_t *text = NULL;
	char path[192];
	size_t len;

	in_repo(p, "coffer-repository", path);
	assert_int_equal(durable_read(AT_FDCWD, path, 9999, &text, &len), 0);
	for (size_t i = 0; i < len; i++) {
		text[i] ^= 4;
		assert_int_equal(durable_replace(AT_FDCWD, path, text, len, 0600), 0);
		assert_int_not_equal(try_open(p, p->path, p->volume, p->pk), 0);
		text[i] ^= 4;
	}
	for (size_t i = 0; i < len; i += 7) {
		assert_int_equal(durable_replace(AT_FDCWD, path, text, i, 0600), 0);
		assert_int_not_equal(try_open(p, p->path, p->volume, p->pk), 0);
	}
	/* A zero would end the text for a reader of strings. */
	assert_int_equal(durable_replace(AT_FDCWD, path, text, len + 1, 0600), 0);
	assert_int_equal(try_open(p, p->path, p->volume, p->pk), -EUCLEAN);
	assert_int_equal(durable_replace(AT_FDCWD, path, text, len, 0600), 0);
	assert_int_equal(try_open(p, p->path, p->volume, p->pk), 0);
}

/* A mark of a later version is told as such; a note of another type by the same volume is none. */
static void other_notes(void **state)
{
	static const struct {
		const char *type;
		unsigned version;
		int err;
	} cases[] = {{"repository", 2, -EPROTONOSUPPORT}, {"manifest", 1, -EUCLEAN}};
	struct place *p = *state;
	char key_name[NOTE_KEY_NAME_MAX + 1];

	note_volume_key_name(p->volume, key_name);
	for (size_t i = 0; i < 2; i++) {
		struct bytes_w w = {0};
		CLEANUP_FREE char *body = NULL, *text = NULL;

		note_begin(&w, cases[i].type, cases[i].version);
		note_put_hex(&w, "volume", p->volume, 16);
		assert_int_equal(note_end(&w, &body), 0);
		assert_int_equal(note_sign_seed(body, key_name, p->seed, &text), 0);
		assert_int_equal(repo_put(p->r, "coffer-repository", text, strlen(text)), 0);
		assert_int_equal(try_open(p, p->path, p->volume, p->pk), cases[i].err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(objects_come_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(once_means_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(lists, setup, teardown),
	    cmocka_unit_test_setup_teardown(deletes, setup, teardown),
	    cmocka_unit_test_setup_teardown(names_cannot_escape, setup, teardown),
	    cmocka_unit_test_setup_teardown(traps_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(failed_put_leaves_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(modes, setup, teardown),
	    cmocka_unit_test_setup_teardown(belongs_to_one_volume, setup, teardown),
	    cmocka_unit_test_setup_teardown(tampered_mark, setup, teardown),
	    cmocka_unit_test_setup_teardown(other_notes, setup, teardown),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
