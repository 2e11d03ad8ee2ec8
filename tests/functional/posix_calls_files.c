/*
 * posix_calls: calls on open files. "@a" .. name descriptors; a path is opened for the call alone where that is enough.
 */
#include "posix_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096u

const struct word calls_open_flags[] = {
	{"rdonly", O_RDONLY}, {"wronly", O_WRONLY}, {"rdwr", O_RDWR}, {"creat", O_CREAT}, {"excl", O_EXCL},
	{"trunc", O_TRUNC}, {"append", O_APPEND}, {"directory", O_DIRECTORY}, {"nofollow", O_NOFOLLOW},
	{"direct", O_DIRECT}, {"sync", O_SYNC}, {"dsync", O_DSYNC}, {"path", O_PATH}, {"tmpfile", O_TMPFILE},
	{"nonblock", O_NONBLOCK}, {"noatime", O_NOATIME}, {0},
};

/* @FD PATH FLAGS [MODE] */
static void do_open(const struct args *a, struct outcome *o)
{
	int fd = open(a->v[1], (int)calls_flags(calls_open_flags, a->v[2]) | O_CLOEXEC,
		      (mode_t)strtoul(calls_arg(a, 3, "666"), NULL, 8));

	calls_done(o, fd);
	if (fd >= 0)
		calls_fd_set(a->v[0], fd);
}

static void do_close(const struct args *a, struct outcome *o)
{
	calls_done(o, close(calls_fd(a->v[0])));
	calls_fd_set(a->v[0], -1);
}

/* PATH FLAGS: opened and closed again. */
static void do_opens(const struct args *a, struct outcome *o)
{
	int fd = open(a->v[0], (int)calls_flags(calls_open_flags, a->v[1]) | O_CLOEXEC, 0666);

	calls_done(o, fd);
	if (fd >= 0)
		calls_done(o, close(fd));
}

/* Buffers begin on a page, as O_DIRECT asks. */
static char *buffer(size_t len)
{
	void *p;

	if (posix_memalign(&p, PAGE, len ? len : 1))
		abort();
	return p;
}

/* @FD TEXT [OFFSET] */
static void do_write(const struct args *a, struct outcome *o)
{
	int fd = calls_fd(a->v[0]);
	char *buf = buffer(a->len[1]);

	memcpy(buf, a->v[1], a->len[1]);
	calls_done(o, a->n > 2 ? pwrite(fd, buf, a->len[1], calls_number(a->v[2])) : write(fd, buf, a->len[1]));
	free(buf);
}

/* @FD or PATH, LENGTH [OFFSET] */
static void do_read(const struct args *a, struct outcome *o)
{
	int own = *a->v[0] == '@' ? -1 : open(a->v[0], O_RDONLY | O_CLOEXEC);
	int fd = *a->v[0] == '@' ? calls_fd(a->v[0]) : own;
	size_t len = (size_t)calls_number(a->v[1]);
	char *buf = buffer(len);
	ssize_t n = -1;

	if (fd >= 0)
		n = a->n > 2 ? pread(fd, buf, len, calls_number(a->v[2])) : read(fd, buf, len);
	else if (own != -1 || *a->v[0] == '@')
		errno = EBADF;
	calls_done(o, n);
	if (n >= 0)
		calls_text(o, buf, (size_t)n);
	if (own >= 0)
		close(own);
	free(buf);
}

/* @FD FLAGS TEXT OFFSET: pwritev2, for RWF_APPEND and RWF_NOAPPEND's kin. */
static void do_write_with(const struct args *a, struct outcome *o)
{
	static const struct word flags[] = {{"append", RWF_APPEND}, {"sync", RWF_SYNC}, {"dsync", RWF_DSYNC}, {0}};
	struct iovec iov = {.iov_base = a->v[2], .iov_len = a->len[2]};

	calls_done(o, pwritev2(calls_fd(a->v[0]), &iov, 1, calls_number(a->v[3]),
			       (int)calls_flags(flags, a->v[1])));
}

static void do_lseek(const struct args *a, struct outcome *o)
{
	static const struct word whences[] = {{"set", SEEK_SET}, {"cur", SEEK_CUR}, {"end", SEEK_END},
					      {"data", SEEK_DATA}, {"hole", SEEK_HOLE}, {0}};

	calls_done(o, lseek(calls_fd(a->v[0]), calls_number(a->v[2]), (int)calls_flags(whences, a->v[1])));
}

/* @FD MODE OFFSET LENGTH */
static void do_fallocate(const struct args *a, struct outcome *o)
{
	static const struct word modes[] = {
		{"allocate", 0}, {"keep", FALLOC_FL_KEEP_SIZE}, {"punch", FALLOC_FL_PUNCH_HOLE},
		{"zero", FALLOC_FL_ZERO_RANGE}, {"collapse", FALLOC_FL_COLLAPSE_RANGE},
		{"insert", FALLOC_FL_INSERT_RANGE}, {"unshare", FALLOC_FL_UNSHARE_RANGE}, {0}};

	calls_done(o, fallocate(calls_fd(a->v[0]), (int)calls_flags(modes, a->v[1]), calls_number(a->v[2]),
				calls_number(a->v[3])));
}

/* @FROM OFFSET @TO OFFSET LENGTH */
static void do_copy(const struct args *a, struct outcome *o)
{
	off_t from = calls_number(a->v[1]), to = calls_number(a->v[3]);

	calls_done(o, copy_file_range(calls_fd(a->v[0]), &from, calls_fd(a->v[2]), &to,
				      (size_t)calls_number(a->v[4]), 0));
}

static void do_fsync(const struct args *a, struct outcome *o)
{
	calls_done(o, fsync(calls_fd(a->v[0])));
}

static void do_fdatasync(const struct args *a, struct outcome *o)
{
	calls_done(o, fdatasync(calls_fd(a->v[0])));
}

/* @FD OFFSET TEXT [private]: written through a mapping, then msync. */
static void do_mmap_write(const struct args *a, struct outcome *o)
{
	size_t off = (size_t)calls_number(a->v[1]), base = off & ~(size_t)(PAGE - 1), len = off - base + a->len[2];
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, a->n > 3 ? MAP_PRIVATE : MAP_SHARED,
		       calls_fd(a->v[0]), (off_t)base);

	calls_done(o, p == MAP_FAILED ? -1 : 0);
	if (p == MAP_FAILED)
		return;
	memcpy(p + (off - base), a->v[2], a->len[2]);
	calls_done(o, msync(p, len, MS_SYNC));
	munmap(p, len);
}

static void do_mmap_read(const struct args *a, struct outcome *o)
{
	size_t off = (size_t)calls_number(a->v[1]), base = off & ~(size_t)(PAGE - 1);
	size_t len = off - base + (size_t)calls_number(a->v[2]);
	char *p = mmap(NULL, len, PROT_READ, MAP_SHARED, calls_fd(a->v[0]), (off_t)base);

	calls_done(o, p == MAP_FAILED ? -1 : 0);
	if (p == MAP_FAILED)
		return;
	calls_text(o, p + (off - base), len - (off - base));
	munmap(p, len);
}

static const struct word lock_types[] = {{"read", F_RDLCK}, {"write", F_WRLCK}, {"unlock", F_UNLCK}, {0}};

static struct flock lock_arg(const struct args *a)
{
	return (struct flock){.l_type = (short)calls_flags(lock_types, a->v[1]), .l_whence = SEEK_SET,
			      .l_start = calls_number(a->v[2]), .l_len = calls_number(a->v[3])};
}

/* @FD read|write|unlock START LENGTH */
static void do_lock(const struct args *a, struct outcome *o)
{
	struct flock l = lock_arg(a);

	calls_done(o, fcntl(calls_fd(a->v[0]), F_SETLK, &l));
}

static void do_ofd_lock(const struct args *a, struct outcome *o)
{
	struct flock l = lock_arg(a);

	calls_done(o, fcntl(calls_fd(a->v[0]), F_OFD_SETLK, &l));
}

/* What stands in the way: read, write or unlock (nothing). */
static void do_lock_ask(const struct args *a, struct outcome *o)
{
	struct flock l = lock_arg(a);

	calls_done(o, fcntl(calls_fd(a->v[0]), F_GETLK, &l));
	for (const struct word *w = lock_types; o->r == 0 && w->name; w++)
		if (w->value == l.l_type)
			calls_text(o, w->name, strlen(w->name));
}

static void do_flock(const struct args *a, struct outcome *o)
{
	static const struct word ops[] = {{"shared", LOCK_SH}, {"exclusive", LOCK_EX}, {"unlock", LOCK_UN}, {0}};

	calls_done(o, flock(calls_fd(a->v[0]), (int)calls_flags(ops, a->v[1]) | LOCK_NB));
}

/* @FD PATH: a file without a name gets one, by way of /proc. */
static void do_link_fd(const struct args *a, struct outcome *o)
{
	char from[64];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", calls_fd(a->v[0]));
	calls_done(o, linkat(AT_FDCWD, from, AT_FDCWD, a->v[1], AT_SYMLINK_FOLLOW));
}

/* @FD: the access mode and status flags by fcntl. */
static void do_getfl(const struct args *a, struct outcome *o)
{
	long r = fcntl(calls_fd(a->v[0]), F_GETFL);

	calls_done(o, r < 0 ? r : r & (O_ACCMODE | O_APPEND | O_NONBLOCK));
}

const struct call calls_files[] = {
	{"open", 3, do_open},
	{"opens", 2, do_opens},
	{"close", 1, do_close},
	{"write", 2, do_write},
	{"write_with", 4, do_write_with},
	{"read", 2, do_read},
	{"lseek", 3, do_lseek},
	{"fallocate", 4, do_fallocate},
	{"copy", 5, do_copy},
	{"fsync", 1, do_fsync},
	{"fdatasync", 1, do_fdatasync},
	{"mmap_write", 3, do_mmap_write},
	{"mmap_read", 3, do_mmap_read},
	{"lock", 4, do_lock},
	{"ofd_lock", 4, do_ofd_lock},
	{"lock_ask", 4, do_lock_ask},
	{"flock", 2, do_flock},
	{"link_fd", 2, do_link_fd},
	{"getfl", 1, do_getfl},
	{0},
};
