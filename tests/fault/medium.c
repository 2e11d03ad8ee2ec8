/*
 * The recording half: interposed calls. See medium.h; states are built in medium_state.c.
 */
#include "tests/fault/medium_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct medium medium = {.lock = PTHREAD_MUTEX_INITIALIZER};

_Thread_local bool medium_busy;

static void enter(void)
{
	pthread_mutex_lock(&medium.lock);
	medium_busy = true;
}

static void leave(void)
{
	medium_busy = false;
	pthread_mutex_unlock(&medium.lock);
}

void *medium_need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- what is below the folder ---- */

static bool ignored(const char *rel)
{
	const char *slash = strrchr(rel, '/');

	return !strcmp(slash ? slash + 1 : rel, "reserve");
}

/* The path relative to the folder; false when it lies elsewhere or is passed over. */
static bool below(const char *abs, char rel[PATH_MAX])
{
	size_t n = strlen(medium.folder);

	if (strncmp(abs, medium.folder, n) || (abs[n] && abs[n] != '/'))
		return false;
	snprintf(rel, PATH_MAX, "%s", abs[n] ? abs + n + 1 : "");
	return !ignored(rel);
}

static bool path_of_fd(int fd, char ret[PATH_MAX])
{
	char link[64];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, ret, PATH_MAX - 1);
	if (n < 0)
		return false;
	ret[n] = '\0';
	return true;
}

static bool below_at(int dirfd, const char *path, char rel[PATH_MAX])
{
	char dir[PATH_MAX], abs[2 * PATH_MAX];

	if (!medium.on)
		return false;
	if (path[0] == '/')
		return below(path, rel);
	if (dirfd == AT_FDCWD || !path_of_fd(dirfd, dir))
		return false;
	if (!strcmp(path, "."))
		return below(dir, rel);
	snprintf(abs, sizeof(abs), "%s/%s", dir, path);
	return below(abs, rel);
}

/* What the descriptor leads to: a file's number, a folder's path. */
enum what { ELSEWHERE, FILE_BELOW, FOLDER_BELOW };
static enum what what_is(int fd, unsigned *ret_file, char rel[PATH_MAX])
{
	char abs[PATH_MAX];
	struct stat st;

	if (!medium.on || fstat(fd, &st))
		return ELSEWHERE;
	if (S_ISDIR(st.st_mode))
		return path_of_fd(fd, abs) && below(abs, rel) ? FOLDER_BELOW : ELSEWHERE;
	enter();
	unsigned i = medium.n_files;
	while (i && (medium.files[i - 1].dev != st.st_dev || medium.files[i - 1].ino != st.st_ino))
		i--;
	leave();
	if (!i)
		return ELSEWHERE;
	*ret_file = i - 1;
	return FILE_BELOW;
}

static unsigned add_file(const struct stat *st)
{
	medium.files =
	    medium_need(reallocarray(medium.files, medium.n_files + 1, sizeof(*medium.files)));
	medium.files[medium.n_files] = (struct medium_file){.dev = st->st_dev, .ino = st->st_ino};
	return medium.n_files++;
}

/* ---- remembering and failing ---- */

static struct medium_op *add_op(enum medium_kind kind)
{
	if (medium.n_ops == medium.cap_ops) {
		medium.cap_ops = medium.cap_ops ? 2 * medium.cap_ops : 256;
		medium.ops =
		    medium_need(reallocarray(medium.ops, medium.cap_ops, sizeof(*medium.ops)));
	}
	medium.ops[medium.n_ops] = (struct medium_op){.kind = kind, .synced_at = SIZE_MAX};
	return &medium.ops[medium.n_ops++];
}

/* Whether this call has to fail; errno is set then. */
static bool fails(enum medium_calls which, const char *what)
{
	if (!medium.fail_at || medium.fail_which != which)
		return false;
	medium.n_calls++;
	if (medium.n_calls != medium.fail_at && !(medium.lasts && medium.n_calls > medium.fail_at))
		return false;
	medium.failed = true;
	medium.failed_what = what;
	errno = medium.err;
	return true;
}

void medium_fail(enum medium_calls which, uint64_t n, int err, bool lasts)
{
	enter();
	medium.fail_which = which;
	medium.fail_at = n;
	medium.err = err;
	medium.lasts = lasts;
	medium.n_calls = 0;
	medium.failed = false;
	leave();
}

bool medium_failed(void)
{
	return medium.failed;
}

const char *medium_failed_what(void)
{
	return medium.failed ? medium.failed_what : "nothing";
}

size_t medium_n_ops(void)
{
	return medium.n_ops;
}

static void forget_all(void)
{
	for (size_t i = 0; i < medium.n_ops; i++) {
		free(medium.ops[i].data);
		free(medium.ops[i].path);
		free(medium.ops[i].to);
	}
	for (unsigned i = 0; i < medium.n_base; i++) {
		free(medium.base[i].path);
		free(medium.base[i].data);
	}
	medium.n_ops = medium.n_files = medium.n_base = 0;
}

static void add_base(const char *abs, const char *rel, const struct stat *st)
{
	struct medium_base b = {.path = medium_need(strdup(rel)), .folder = S_ISDIR(st->st_mode)};

	if (!b.folder) {
		int fd = open(abs, O_RDONLY | O_CLOEXEC);

		b.file = add_file(st);
		b.len = (size_t)st->st_size;
		b.data = medium_need(malloc(b.len + 1));
		if (fd < 0 || pread(fd, b.data, b.len, 0) != (ssize_t)b.len)
			abort();
		close(fd);
	}
	medium.base =
	    medium_need(reallocarray(medium.base, medium.n_base + 1, sizeof(*medium.base)));
	medium.base[medium.n_base++] = b;
}

static void take_base(const char *rel)
{
	char abs[3 * PATH_MAX], inner[2 * PATH_MAX];
	struct stat st;

	snprintf(abs, sizeof(abs), "%s/%s", medium.folder, rel);
	DIR *dir = medium_need(opendir(abs));
	for (struct dirent *e; (e = readdir(dir));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || ignored(e->d_name))
			continue;
		snprintf(inner, sizeof(inner), "%s%s%s", rel, *rel ? "/" : "", e->d_name);
		snprintf(abs, sizeof(abs), "%s/%s", medium.folder, inner);
		if (stat(abs, &st))
			abort();
		add_base(abs, inner, &st);
		if (S_ISDIR(st.st_mode))
			take_base(inner);
	}
	closedir(dir);
}

void medium_record(const char *folder)
{
	medium.on = false;
	forget_all();
	free(medium.folder);
	medium.folder = medium_need(realpath(folder, NULL));
	take_base("");
	medium_fail(MEDIUM_CHANGES, 0, 0, false);
	medium.on = true;
}

void medium_stop(void)
{
	medium.on = false;
}

/* ---- errors of writing back: told once to every descriptor that was open then ---- */

static int sampled(int fd)
{
	char rel[PATH_MAX];
	unsigned file;

	if (fd >= 0 && fd < FDS_MAX && what_is(fd, &file, rel) == FILE_BELOW)
		medium.seen[fd] = medium.files[file].n_errors;
	return fd;
}

static void note_error(unsigned file)
{
	medium.files[file].n_errors++;
	medium.files[file].err = medium.err;
}

/* Whether there was one that this descriptor has not been told; errno is set then. */
static bool owes_error(int fd, unsigned file)
{
	if (fd >= FDS_MAX || medium.seen[fd] == medium.files[file].n_errors)
		return false;
	medium.seen[fd] = medium.files[file].n_errors;
	errno = medium.files[file].err;
	return true;
}

/* ---- the calls ---- */

static int do_open(int dirfd, const char *path, int flags, mode_t mode)
{
	char rel[PATH_MAX];
	struct stat st;

	if (!(flags & O_CREAT) || !below_at(dirfd, path, rel))
		return sampled((int)syscall(SYS_openat, dirfd, path, flags, mode));
	enter();
	bool made = fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) != 0;
	int fd = -1;
	if (!made || !fails(MEDIUM_CHANGES, "creation"))
		fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
	if (fd >= 0 && made && fstat(fd, &st) == 0) {
		unsigned file = add_file(&st);
		struct medium_op *op = add_op(MEDIUM_CREATE);

		op->file = file;
		op->path = medium_need(strdup(rel));
	}
	leave();
	return sampled(fd);
}

int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return do_open(AT_FDCWD, path, flags, mode);
}

int openat64(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return do_open(dirfd, path, flags, mode);
}

ssize_t pread64(int fd, void *buf, size_t len, off_t off)
{
	char rel[PATH_MAX];
	unsigned file;

	if (medium.fail_at && medium.fail_which == MEDIUM_READS &&
	    what_is(fd, &file, rel) == FILE_BELOW) {
		enter();
		bool failed = fails(MEDIUM_READS, "read");
		leave();
		if (failed)
			return -1;
	}
	return syscall(SYS_pread64, fd, buf, len, off);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off_t off)
{
	char rel[PATH_MAX];
	unsigned file;

	if (what_is(fd, &file, rel) != FILE_BELOW)
		return syscall(SYS_pwrite64, fd, buf, len, off);
	enter();
	ssize_t n = fails(MEDIUM_CHANGES, "write") ? -1 : syscall(SYS_pwrite64, fd, buf, len, off);
	if (n > 0) {
		struct medium_op *op = add_op(MEDIUM_WRITE);

		op->file = file;
		op->off = (uint64_t)off;
		op->len = (size_t)n;
		op->data = medium_need(malloc((size_t)n));
		memcpy(op->data, buf, (size_t)n);
	}
	leave();
	return n;
}

static int change_file(int fd, enum medium_kind kind, uint64_t off, uint64_t len, long nr, long a,
		       long b, long c)
{
	char rel[PATH_MAX];
	unsigned file;

	if (what_is(fd, &file, rel) != FILE_BELOW)
		return (int)syscall(nr, fd, a, b, c);
	enter();
	int r = fails(MEDIUM_CHANGES, "truncation or punch") ? -1 : (int)syscall(nr, fd, a, b, c);
	if (r == 0) {
		struct medium_op *op = add_op(kind);

		op->file = file;
		op->off = off;
		op->len = len;
	}
	leave();
	return r;
}

int posix_fallocate64(int fd, off_t off, off_t len)
{
	return fallocate64(fd, 0, off, len) ? errno : 0;
}

int ftruncate64(int fd, off_t size)
{
	return change_file(fd, MEDIUM_TRUNCATE, (uint64_t)size, 0, SYS_ftruncate, size, 0, 0);
}

int fallocate64(int fd, int mode, off_t off, off_t len)
{
	struct stat st;

	if (mode == 0 && !fstat(fd, &st) && off + len > st.st_size)
		return change_file(fd, MEDIUM_TRUNCATE, (uint64_t)(off + len), 0, SYS_fallocate,
				   mode, off, len);
	if (!(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)))
		return (int)syscall(SYS_fallocate, fd, mode, off, len);
	return change_file(fd, MEDIUM_PUNCH, (uint64_t)off, (uint64_t)len, SYS_fallocate, mode, off,
			   len);
}

static int sync_fd(int fd)
{
	char rel[PATH_MAX] = "";
	unsigned file = 0;
	enum what what = what_is(fd, &file, rel);

	if (what == ELSEWHERE)
		return 0;
	enter();
	bool failed = fails(MEDIUM_CHANGES, what == FILE_BELOW ? "sync" : "sync of a folder");
	struct medium_op *op = add_op(what == FILE_BELOW ? MEDIUM_SYNC : MEDIUM_SYNC_FOLDER);
	op->file = file;
	op->path = what == FOLDER_BELOW ? medium_need(strdup(rel)) : NULL;
	if (failed && what == FILE_BELOW)
		note_error(file);
	if (what == FILE_BELOW && owes_error(fd, file))
		failed = true;
	op->failed = failed;
	leave();
	return failed ? -1 : 0;
}

int fsync(int fd)
{
	return sync_fd(fd);
}

int fdatasync(int fd)
{
	return sync_fd(fd);
}

int syncfs(int fd)
{
	char rel[PATH_MAX];
	unsigned file;

	if (what_is(fd, &file, rel) == ELSEWHERE)
		return 0;
	enter();
	bool failed = fails(MEDIUM_CHANGES, "sync of all");
	add_op(MEDIUM_SYNC_ALL)->failed = failed;
	for (unsigned i = 0; failed && i < medium.n_files; i++)
		note_error(i);
	leave();
	return failed ? -1 : 0;
}

/* Waits for pages without flushing the medium: proves nothing, but tells of errors. */
int sync_file_range(int fd, off_t off, off_t len, unsigned flags)
{
	char rel[PATH_MAX];
	unsigned file;

	(void)off, (void)len, (void)flags;
	if (what_is(fd, &file, rel) != FILE_BELOW)
		return 0;
	enter();
	bool failed = owes_error(fd, file);
	leave();
	return failed ? -1 : 0;
}

static int change_entry(int dirfd, const char *path, enum medium_kind kind, long nr, long arg)
{
	char rel[PATH_MAX];

	if (!below_at(dirfd, path, rel))
		return (int)syscall(nr, dirfd, path, arg);
	enter();
	int r = fails(MEDIUM_CHANGES, "entry") ? -1 : (int)syscall(nr, dirfd, path, arg);
	if (r == 0)
		add_op(kind)->path = medium_need(strdup(rel));
	leave();
	return r;
}

int unlinkat(int dirfd, const char *path, int flags)
{
	return change_entry(dirfd, path, MEDIUM_UNLINK, SYS_unlinkat, flags);
}

int unlink(const char *path)
{
	return change_entry(AT_FDCWD, path, MEDIUM_UNLINK, SYS_unlinkat, 0);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
	return change_entry(dirfd, path, MEDIUM_MKDIR, SYS_mkdirat, (long)mode);
}

int mkdir(const char *path, mode_t mode)
{
	return change_entry(AT_FDCWD, path, MEDIUM_MKDIR, SYS_mkdirat, (long)mode);
}

static int do_rename(int dirfd, const char *path, int to_dirfd, const char *to, unsigned flags)
{
	char rel[PATH_MAX], to_rel[PATH_MAX];

	if (!below_at(dirfd, path, rel) || !below_at(to_dirfd, to, to_rel))
		return (int)syscall(SYS_renameat2, dirfd, path, to_dirfd, to, flags);
	enter();
	int r = fails(MEDIUM_CHANGES, "rename")
		    ? -1
		    : (int)syscall(SYS_renameat2, dirfd, path, to_dirfd, to, flags);
	if (r == 0) {
		struct medium_op *op = add_op(MEDIUM_RENAME);

		op->path = medium_need(strdup(rel));
		op->to = medium_need(strdup(to_rel));
	}
	leave();
	return r;
}

int renameat(int dirfd, const char *path, int to_dirfd, const char *to)
{
	return do_rename(dirfd, path, to_dirfd, to, 0);
}

int renameat2(int dirfd, const char *path, int to_dirfd, const char *to, unsigned flags)
{
	return do_rename(dirfd, path, to_dirfd, to, flags);
}
