/*
 * Small files: old or new content whatever fails, nothing left behind, and writes that are
 * believed only after they were read back.
 *
 * The system calls that must fail on demand are defined here in front of the C library's.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/durable.h"

/* ---- faults ---- */

static struct {
	int fsync_fails_at;    /* the n-th fsync from now gives EIO */
	int pwrite_fails_at;   /* the n-th pwrite from now gives ENOSPC */
	bool short_transfers;  /* at most 3 bytes a call, EINTR before each */
	bool corrupt_reads;    /* the last byte read comes back flipped */
	bool no_direct;	       /* the medium knows no O_DIRECT */
	bool no_noreplace;     /* the medium knows no RENAME_NOREPLACE */
	bool interrupted;      /* EINTR was given, the next call goes through */
	int n_direct;	       /* opens with O_DIRECT */
	int n_fsync;
} fault;

static bool interrupts(size_t *n)
{
	if (!fault.short_transfers)
		return false;
	if (*n > 3)
		*n = 3;
	fault.interrupted = !fault.interrupted;
	errno = EINTR;
	return fault.interrupted;
}

ssize_t pread(int fd, void *p, size_t n, off_t off)
{
	ssize_t r;

	if (interrupts(&n))
		return -1;
	r = syscall(SYS_pread64, fd, p, n, off);
	if (r > 0 && fault.corrupt_reads)
		((uint8_t *)p)[r - 1] ^= 1;
	return r;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (interrupts(&n))
		return -1;
	if (fault.pwrite_fails_at && --fault.pwrite_fails_at == 0) {
		errno = ENOSPC;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, p, n, off);
}

int fsync(int fd)
{
	fault.n_fsync++;
	if (fault.fsync_fails_at && --fault.fsync_fails_at == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

int openat(int dirfd, const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	if (flags & O_DIRECT) {
		fault.n_direct++;
		if (fault.no_direct) {
			errno = EINVAL;
			return -1;
		}
	}
	return (int)syscall(SYS_openat, dirfd, name, flags, mode);
}

int renameat2(int fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
	if (fault.no_noreplace && flags) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_renameat2, fd, from, to_fd, to, flags);
}

/* ---- a folder a test ---- */

static char dir[64];
static int dirfd_ = -1;

static int setup(void **state)
{
	(void)state;
	memset(&fault, 0, sizeof(fault));
	strcpy(dir, "/tmp/coffer-durable-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0 ? -1 : 0;
}

static int n_entries(void)
{
	CLEANUP_DIR DIR *d = opendir(dir);
	int n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	return n;
}

static int teardown(void **state)
{
	CLEANUP_DIR DIR *d = opendir(dir);

	(void)state;
	for (struct dirent *e; d && (e = readdir(d));) {
		if (unlinkat(dirfd_, e->d_name, 0) < 0)
			unlinkat(dirfd_, e->d_name, AT_REMOVEDIR);
	}
	close(dirfd_);
	return rmdir(dir);
}

static void assert_content(const char *name, const void *want, size_t len)
{
	CLEANUP_FREE uint8_t *got = NULL;
	size_t got_len;

	assert_int_equal(durable_read(dirfd_, name, 1 << 24, &got, &got_len), 0);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, want, len);
}

static void put(const char *name, const char *text)
{
	assert_int_equal(durable_replace(dirfd_, name, text, strlen(text), 0600), 0);
}

/* A file as something other than this module would leave it. */
static void put_raw(const char *name, const char *text)
{
	CLEANUP_FD int fd = openat(dirfd_, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* ---- replace and create ---- */

/* A name gets content of any length, old content goes whole, and only the file is there. */
static void test_replace(void **state)
{
	(void)state;
	put("f", "a longer first content");
	assert_content("f", "a longer first content", 22);
	put("f", "short");
	assert_content("f", "short", 5);
	assert_int_equal(durable_replace(dirfd_, "f", NULL, 0, 0600), 0);
	assert_content("f", "", 0);
	assert_int_equal(n_entries(), 1);
}

/* File and folder are both synced: a rename alone does not survive a power cut. */
static void test_replace_syncs_both(void **state)
{
	(void)state;
	put("f", "x");
	assert_int_equal(fault.n_fsync, 2);
}

/* The mode is what was asked for, whatever the umask and the old file say. */
static void test_mode_is_exact(void **state)
{
	mode_t before = umask(0077);
	struct stat st;

	(void)state;
	assert_int_equal(durable_replace(dirfd_, "f", "x", 1, 0644), 0);
	umask(before);
	assert_int_equal(fstatat(dirfd_, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(durable_replace(dirfd_, "f", "x", 1, 0400), 0);
	assert_int_equal(fstatat(dirfd_, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
}

/* After a failed write or a failed sync of the file, the old content stands alone. */
static void test_failure_keeps_old(void **state)
{
	(void)state;
	put("f", "old");
	fault.pwrite_fails_at = 1;
	assert_int_equal(durable_replace(dirfd_, "f", "new", 3, 0600), -ENOSPC);
	fault.fsync_fails_at = 1;
	assert_int_equal(durable_replace(dirfd_, "f", "new", 3, 0600), -EIO);
	assert_content("f", "old", 3);
	fault.fsync_fails_at = 1;
	assert_int_equal(durable_create(dirfd_, "g", "new", 3, 0600), -EIO);
	assert_int_equal(n_entries(), 1);
}

/* A failed sync of the folder is reported: the new name may not survive. */
static void test_folder_sync_failure_is_reported(void **state)
{
	(void)state;
	fault.fsync_fails_at = 2;
	assert_int_equal(durable_replace(dirfd_, "f", "new", 3, 0600), -EIO);
}

/* A folder in the way is an error, and the temporary file goes. */
static void test_target_is_folder(void **state)
{
	(void)state;
	assert_int_equal(durable_mkdir(dirfd_, "d", 0700), 0);
	assert_int_equal(durable_replace(dirfd_, "d", "x", 1, 0600), -EISDIR);
	assert_int_equal(n_entries(), 1);
}

/* What a power cut left of an earlier try, longer too, is overwritten and disappears. */
static void test_stale_temporary_is_reused(void **state)
{
	(void)state;
	put_raw(".f.tmp", "an old key state that must not stay about");
	put("f", "new");
	assert_content("f", "new", 3);
	assert_int_equal(n_entries(), 1);
}

/* Cut between link and unlink, the temporary name is the published file: it is not written to. */
static void test_linked_temporary_is_not_torn(void **state)
{
	CLEANUP_FD int old = -1;
	char got[4] = "";

	(void)state;
	put("f", "old");
	old = openat(dirfd_, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(linkat(dirfd_, "f", dirfd_, ".f.tmp", 0), 0);
	put("f", "new");
	assert_content("f", "new", 3);
	assert_int_equal(pread(old, got, 3, 0), 3);
	assert_string_equal(got, "old");
	assert_int_equal(n_entries(), 1);
}

/* A link planted under the temporary name leads nowhere. */
static void test_temporary_symlink_is_refused(void **state)
{
	(void)state;
	put("victim", "untouched");
	assert_int_equal(symlinkat("victim", dirfd_, ".f.tmp"), 0);
	assert_int_equal(durable_replace(dirfd_, "f", "x", 1, 0600), -ELOOP);
	assert_content("victim", "untouched", 9);
}

/* A taken name keeps its content; a free one gets the new, with or without RENAME_NOREPLACE. */
static void test_create(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		fault.no_noreplace = i == 1;
		assert_int_equal(durable_create(dirfd_, "f", "first", 5, 0600), 0);
		assert_int_equal(durable_create(dirfd_, "f", "second", 6, 0600), -EEXIST);
		assert_content("f", "first", 5);
		assert_int_equal(n_entries(), 1);
		assert_int_equal(durable_unlink(dirfd_, "f"), 0);
	}
}

/* Names: with folders, up to the documented length, never empty. */
static void test_names(void **state)
{
	char name[DURABLE_NAME_MAX + 2], whole[128];

	(void)state;
	assert_int_equal(durable_mkdir(dirfd_, "d", 0700), 0);
	put("d/f", "x");
	assert_content("d/f", "x", 1);
	snprintf(whole, sizeof(whole), "%s/d/f", dir);
	assert_int_equal(durable_replace(AT_FDCWD, whole, "y", 1, 0600), 0);
	assert_content("d/f", "y", 1);
	assert_int_equal(durable_unlink(dirfd_, "d/f"), 0);
	memset(name, 'n', sizeof(name));
	name[DURABLE_NAME_MAX] = '\0';
	put(name, "z");
	name[DURABLE_NAME_MAX] = 'n';
	name[DURABLE_NAME_MAX + 1] = '\0';
	assert_int_equal(durable_replace(dirfd_, name, "z", 1, 0600), -ENAMETOOLONG);
	assert_int_equal(durable_replace(dirfd_, "", "z", 1, 0600), -EINVAL);
	assert_int_equal(durable_replace(dirfd_, "d/", "z", 1, 0600), -EINVAL);
	assert_int_equal(durable_replace(dirfd_, "none/f", "z", 1, 0600), -ENOENT);
}

#define RACE_LEN 20000
#define N_WRITERS 3
#define N_ROUNDS 15

static int race_writer(int who)
{
	char content[RACE_LEN];

	memset(content, 'a' + who, sizeof(content));
	for (int i = 0; i < N_ROUNDS; i++) {
		if (durable_replace(dirfd_, "f", content, sizeof(content), 0600) != 0)
			return 1;
	}
	return 0;
}

static void assert_not_torn(void)
{
	CLEANUP_FREE uint8_t *got = NULL;
	size_t len;

	assert_int_equal(durable_read(dirfd_, "f", 1 << 20, &got, &len), 0);
	assert_int_equal(len, RACE_LEN);
	for (size_t i = 1; i < len; i++)
		assert_int_equal(got[i], got[0]);
}

/* Writers of one name at once, and a reader: everybody succeeds and nobody sees a mixture. */
static void test_concurrent_writers(void **state)
{
	int left = N_WRITERS, status;

	(void)state;
	assert_int_equal(race_writer(0), 0);
	for (int i = 0; i < N_WRITERS; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			_exit(race_writer(i));
	}
	while (left) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		assert_true(pid >= 0);
		assert_not_torn();
		if (pid > 0) {
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), 0);
			left--;
		}
	}
	assert_int_equal(n_entries(), 1);
}

/* ---- overwrite ---- */

#define SLOT 4096

/* Three slots of 'o', to overwrite the middle one of. */
static void put_slots(void)
{
	char old[3 * SLOT];

	memset(old, 'o', sizeof(old));
	assert_int_equal(durable_replace(dirfd_, "f", old, sizeof(old), 0600), 0);
}

static void assert_overwrite_works(void)
{
	char slot[SLOT], want[3 * SLOT];

	put_slots();
	memset(slot, 'n', sizeof(slot));
	memset(want, 'o', sizeof(want));
	memcpy(want + SLOT, slot, SLOT);
	assert_int_equal(durable_overwrite(dirfd_, "f", SLOT, slot, SLOT), 0);
	assert_content("f", want, sizeof(want));
}

/* The slot is new, its neighbours are not touched; with O_DIRECT and on media without it. */
static void test_overwrite(void **state)
{
	(void)state;
	assert_overwrite_works();
	assert_int_equal(fault.n_direct, 1);
	fault.no_direct = true;
	assert_overwrite_works();
	assert_int_equal(fault.n_direct, 2);
}

/* Longer than the read-back buffer, and in place: the inode stays. */
static void test_overwrite_large(void **state)
{
	size_t len = (1 << 20) + 2 * SLOT;
	CLEANUP_FREE uint8_t *p = calloc(1, len);
	struct stat before, after;

	(void)state;
	assert_non_null(p);
	assert_int_equal(durable_replace(dirfd_, "f", p, len, 0600), 0);
	assert_int_equal(fstatat(dirfd_, "f", &before, 0), 0);
	memset(p, 0x5a, len);
	assert_int_equal(durable_overwrite(dirfd_, "f", 0, p, len), 0);
	assert_content("f", p, len);
	assert_int_equal(fstatat(dirfd_, "f", &after, 0), 0);
	assert_true(before.st_ino == after.st_ino);
}

/* A medium that gives back something else is caught, whichever way it is read. */
static void test_overwrite_mismatch(void **state)
{
	char slot[SLOT];

	(void)state;
	memset(slot, 'n', sizeof(slot));
	put_slots();
	fault.corrupt_reads = true;
	assert_int_equal(durable_overwrite(dirfd_, "f", 0, slot, SLOT), -EIO);
	fault.no_direct = true;
	assert_int_equal(durable_overwrite(dirfd_, "f", 0, slot, SLOT), -EIO);
}

/* Odd lengths and places, a file too short, a link, no file: refused, nothing written. */
static void test_overwrite_refuses(void **state)
{
	char slot[2 * SLOT], want[3 * SLOT];

	(void)state;
	memset(slot, 'n', sizeof(slot));
	memset(want, 'o', sizeof(want));
	put_slots();
	assert_int_equal(symlinkat("f", dirfd_, "link"), 0);
	assert_int_equal(durable_overwrite(dirfd_, "f", 1, slot, SLOT), -EINVAL);
	assert_int_equal(durable_overwrite(dirfd_, "f", -SLOT, slot, SLOT), -EINVAL);
	assert_int_equal(durable_overwrite(dirfd_, "f", 0, slot, SLOT - 1), -EINVAL);
	assert_int_equal(durable_overwrite(dirfd_, "f", 0, slot, 0), -EINVAL);
	assert_int_equal(durable_overwrite(dirfd_, "f", 2 * SLOT, slot, 2 * SLOT), -EINVAL);
	assert_int_equal(durable_overwrite(dirfd_, "f", 4 * SLOT, slot, SLOT), -EINVAL);
	assert_int_equal(durable_overwrite(dirfd_, "link", 0, slot, SLOT), -ELOOP);
	assert_int_equal(durable_overwrite(dirfd_, "none", 0, slot, SLOT), -ENOENT);
	assert_content("f", want, sizeof(want));
}

/* ---- reading ---- */

/* Short transfers and signals are no errors; the end of the file is. */
static void test_full_transfers(void **state)
{
	CLEANUP_FD int fd = -1;
	char got[11] = "";

	(void)state;
	put("f", "");
	fd = openat(dirfd_, "f", O_RDWR | O_CLOEXEC);
	fault.short_transfers = true;
	assert_int_equal(durable_pwrite(fd, "0123456789", 10, 2), 0);
	assert_int_equal(durable_pread(fd, got, 10, 2), 0);
	assert_string_equal(got, "0123456789");
	assert_int_equal(durable_pread(fd, got, 10, 3), -ENODATA);
	assert_int_equal(durable_pread(fd, got, 0, 99), 0);
	assert_int_equal(durable_pread(-1, got, 1, 0), -EBADF);
}

/* Content ends in a NUL that does not count, and what is too large is not read. */
static void test_read_limits(void **state)
{
	uint8_t *got = NULL;
	size_t len = 0;

	(void)state;
	put("f", "12345");
	assert_int_equal(durable_read(dirfd_, "f", 4, &got, &len), -EFBIG);
	assert_null(got);
	assert_int_equal(durable_read(dirfd_, "f", 5, &got, &len), 0);
	assert_int_equal(len, 5);
	assert_string_equal((char *)got, "12345");
	free(got);
}

/* What is not a regular file is an error, and a FIFO does not hold the reader up. */
static void test_read_kinds(void **state)
{
	uint8_t *got = NULL;
	size_t len;

	(void)state;
	assert_int_equal(durable_read(dirfd_, "none", 9, &got, &len), -ENOENT);
	assert_int_equal(durable_read(dirfd_, ".", 9, &got, &len), -EISDIR);
	assert_int_equal(mkfifoat(dirfd_, "fifo", 0600), 0);
	assert_int_equal(durable_read(dirfd_, "fifo", 9, &got, &len), -EINVAL);
	assert_null(got);
}

/* ---- names ---- */

/* Removing what is gone is success, so that interrupted removals can run again. */
static void test_unlink(void **state)
{
	(void)state;
	put("f", "x");
	assert_int_equal(durable_unlink(dirfd_, "f"), 0);
	assert_int_equal(n_entries(), 0);
	assert_int_equal(durable_unlink(dirfd_, "f"), 0);
	assert_int_equal(durable_unlink(dirfd_, "none/f"), 0);
	put("f", "x");
	fault.fsync_fails_at = 1;
	assert_int_equal(durable_unlink(dirfd_, "f"), -EIO);
}

/* An existing folder is success; a file in its place is not. */
static void test_mkdir(void **state)
{
	(void)state;
	assert_int_equal(durable_mkdir(dirfd_, "d", 0700), 0);
	assert_int_equal(durable_mkdir(dirfd_, "d", 0700), 0);
	put("f", "x");
	assert_int_equal(durable_mkdir(dirfd_, "f", 0700), -ENOTDIR);
	assert_int_equal(durable_mkdir(dirfd_, "none/d", 0700), -ENOENT);
	fault.fsync_fails_at = 1;
	assert_int_equal(durable_mkdir(dirfd_, "d", 0700), -EIO);
}

/* Works on descriptors that cannot be synced themselves. */
static void test_sync_dir(void **state)
{
	CLEANUP_FD int path_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_int_equal(durable_sync_dir(dirfd_), 0);
	assert_int_equal(durable_sync_dir(path_fd), 0);
	assert_int_equal(durable_sync_dir(AT_FDCWD), 0);
	assert_int_equal(durable_sync_dir(-1), -EBADF);
	fault.fsync_fails_at = 1;
	assert_int_equal(durable_sync_dir(dirfd_), -EIO);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_replace),
		TEST(test_replace_syncs_both),
		TEST(test_mode_is_exact),
		TEST(test_failure_keeps_old),
		TEST(test_folder_sync_failure_is_reported),
		TEST(test_target_is_folder),
		TEST(test_stale_temporary_is_reused),
		TEST(test_linked_temporary_is_not_torn),
		TEST(test_temporary_symlink_is_refused),
		TEST(test_create),
		TEST(test_names),
		TEST(test_concurrent_writers),
		TEST(test_overwrite),
		TEST(test_overwrite_large),
		TEST(test_overwrite_mismatch),
		TEST(test_overwrite_refuses),
		TEST(test_full_transfers),
		TEST(test_read_limits),
		TEST(test_read_kinds),
		TEST(test_unlink),
		TEST(test_mkdir),
		TEST(test_sync_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
