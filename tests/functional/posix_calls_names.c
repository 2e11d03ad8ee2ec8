/*
 * posix_calls: calls on names and attributes.
 */
#include "posix_calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* An open descriptor when the word is "@x", else the current folder; *path is empty then. */
static int at(const char **path)
{
	if (**path != '@')
		return AT_FDCWD;
	int fd = calls_fd(*path);
	*path = "";
	return fd;
}

static mode_t mode_arg(const struct args *a, int i, mode_t fallback)
{
	return i < a->n ? (mode_t)strtoul(a->v[i], NULL, 8) : fallback;
}

static void do_mkdir(const struct args *a, struct outcome *o)
{
	calls_done(o, mkdir(a->v[0], mode_arg(a, 1, 0777)));
}

/* PATH [MODE [TEXT]]: a new file, closed again. */
static void do_create(const struct args *a, struct outcome *o)
{
	int fd = open(a->v[0], O_CREAT | O_EXCL | O_WRONLY, mode_arg(a, 1, 0666));

	if (fd >= 0 && a->n > 2 && write(fd, a->v[2], a->len[2]) < 0) {
		int saved = errno;
		close(fd);
		errno = saved;
		fd = -1;
	}
	calls_done(o, fd);
	if (fd >= 0)
		calls_done(o, close(fd));
}

static void do_mknod(const struct args *a, struct outcome *o)
{
	static const struct word types[] = {{"fifo", S_IFIFO}, {"socket", S_IFSOCK}, {"char", S_IFCHR},
					    {"block", S_IFBLK}, {"file", S_IFREG}, {"folder", S_IFDIR}, {0}};
	dev_t dev = makedev(calls_number(calls_arg(a, 3, "0")), calls_number(calls_arg(a, 4, "0")));

	calls_done(o, mknod(a->v[0], (mode_t)calls_flags(types, a->v[1]) | mode_arg(a, 2, 0644), dev));
}

static void do_link(const struct args *a, struct outcome *o)
{
	const char *from = a->v[0];
	int fd = at(&from);

	calls_done(o, linkat(fd, from, AT_FDCWD, a->v[1], fd == AT_FDCWD ? 0 : AT_EMPTY_PATH));
}

static void do_link_followed(const struct args *a, struct outcome *o)
{
	calls_done(o, linkat(AT_FDCWD, a->v[0], AT_FDCWD, a->v[1], AT_SYMLINK_FOLLOW));
}

static void do_symlink(const struct args *a, struct outcome *o)
{
	calls_done(o, symlink(a->v[0], a->v[1]));
}

static void do_readlink(const struct args *a, struct outcome *o)
{
	char buf[8192];
	ssize_t n = readlink(a->v[0], buf, sizeof(buf));

	calls_done(o, n);
	if (n >= 0)
		calls_text(o, buf, (size_t)n);
}

static void do_unlink(const struct args *a, struct outcome *o)
{
	calls_done(o, unlink(a->v[0]));
}

static void do_rmdir(const struct args *a, struct outcome *o)
{
	calls_done(o, rmdir(a->v[0]));
}

static void do_chdir(const struct args *a, struct outcome *o)
{
	calls_done(o, chdir(a->v[0]));
}

static void do_rename(const struct args *a, struct outcome *o)
{
	static const struct word flags[] = {{"exchange", RENAME_EXCHANGE}, {"noreplace", RENAME_NOREPLACE},
					    {"whiteout", RENAME_WHITEOUT}, {0}};

	calls_done(o, renameat2(AT_FDCWD, a->v[0], AT_FDCWD, a->v[1],
				(unsigned)calls_flags(flags, calls_arg(a, 2, ""))));
}

static void do_chmod(const struct args *a, struct outcome *o)
{
	mode_t mode = mode_arg(a, 1, 0);

	calls_done(o, *a->v[0] == '@' ? fchmod(calls_fd(a->v[0]), mode) : chmod(a->v[0], mode));
}

/* PATH UID GID; -1 keeps. */
static void do_chown(const struct args *a, struct outcome *o)
{
	uid_t uid = (uid_t)calls_number(a->v[1]);
	gid_t gid = (gid_t)calls_number(a->v[2]);

	calls_done(o, *a->v[0] == '@' ? fchown(calls_fd(a->v[0]), uid, gid) : chown(a->v[0], uid, gid));
}

static void do_lchown(const struct args *a, struct outcome *o)
{
	calls_done(o, lchown(a->v[0], (uid_t)calls_number(a->v[1]), (gid_t)calls_number(a->v[2])));
}

static void do_truncate(const struct args *a, struct outcome *o)
{
	off_t size = calls_number(a->v[1]);

	calls_done(o, *a->v[0] == '@' ? ftruncate(calls_fd(a->v[0]), size) : truncate(a->v[0], size));
}

static void do_access(const struct args *a, struct outcome *o)
{
	int mode = 0;

	for (const char *s = a->v[1]; *s; s++)
		mode |= *s == 'r' ? R_OK : *s == 'w' ? W_OK : *s == 'x' ? X_OK : F_OK;
	calls_done(o, faccessat(AT_FDCWD, a->v[0], mode, AT_EACCESS));
}

/* "now", "omit", or seconds with an optional fraction of nine digits. */
static struct timespec time_arg(const char *s)
{
	struct timespec t = {0};
	char *end;

	if (strcmp(s, "now") == 0 || strcmp(s, "omit") == 0)
		return (struct timespec){.tv_nsec = *s == 'n' ? UTIME_NOW : UTIME_OMIT};
	t.tv_sec = strtoll(s, &end, 10);
	if (*end == '.')
		t.tv_nsec = strtol(end + 1, NULL, 10);
	return t;
}

/* PATH ATIME MTIME [nofollow] */
static void do_utimens(const struct args *a, struct outcome *o)
{
	struct timespec t[2] = {time_arg(a->v[1]), time_arg(a->v[2])};
	int flags = a->n > 3 ? AT_SYMLINK_NOFOLLOW : 0;

	if (*a->v[0] == '@')
		calls_done(o, futimens(calls_fd(a->v[0]), t));
	else
		calls_done(o, utimensat(AT_FDCWD, a->v[0], t, flags));
}

/* The call with a null pointer: both times now. */
static void do_touch(const struct args *a, struct outcome *o)
{
	calls_done(o, utimensat(AT_FDCWD, a->v[0], NULL, 0));
}

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return "file";
	case S_IFDIR: return "folder";
	case S_IFLNK: return "symlink";
	case S_IFIFO: return "fifo";
	case S_IFSOCK: return "socket";
	case S_IFCHR: return "char";
	case S_IFBLK: return "block";
	default: return "none";
	}
}

static int time_text(char *p, size_t n, struct timespec t)
{
	return snprintf(p, n, "%lld.%09ld", (long long)t.tv_sec, t.tv_nsec);
}

static int field_text(char *p, size_t n, const struct stat *st, const char *f)
{
	if (strcmp(f, "type") == 0)
		return snprintf(p, n, "%s", type_name(st->st_mode));
	if (strcmp(f, "mode") == 0)
		return snprintf(p, n, "%04o", st->st_mode & 07777);
	if (strcmp(f, "nlink") == 0)
		return snprintf(p, n, "%lu", (unsigned long)st->st_nlink);
	if (strcmp(f, "uid") == 0)
		return snprintf(p, n, "%d", (int)st->st_uid);
	if (strcmp(f, "gid") == 0)
		return snprintf(p, n, "%d", (int)st->st_gid);
	if (strcmp(f, "size") == 0)
		return snprintf(p, n, "%lld", (long long)st->st_size);
	if (strcmp(f, "blocks") == 0)
		return snprintf(p, n, "%lld", (long long)st->st_blocks);
	if (strcmp(f, "blksize") == 0)
		return snprintf(p, n, "%ld", (long)st->st_blksize);
	if (strcmp(f, "ino") == 0)
		return snprintf(p, n, "%lu", (unsigned long)st->st_ino);
	if (strcmp(f, "rdev") == 0)
		return snprintf(p, n, "%u:%u", major(st->st_rdev), minor(st->st_rdev));
	if (strcmp(f, "atime") == 0)
		return time_text(p, n, st->st_atim);
	if (strcmp(f, "mtime") == 0)
		return time_text(p, n, st->st_mtim);
	if (strcmp(f, "ctime") == 0)
		return time_text(p, n, st->st_ctim);
	fprintf(stderr, "unknown field %s\n", f);
	exit(2);
}

void calls_stat_text(const struct stat *st, const char *fields, struct outcome *o)
{
	char out[512];
	size_t len = 0;

	while (*fields) {
		char field[16];
		size_t n = strcspn(fields, ",");

		snprintf(field, sizeof(field), "%.*s", (int)n, fields);
		if (len)
			out[len++] = ',';
		len += (size_t)field_text(out + len, sizeof(out) - len, st, field);
		fields += n + (fields[n] == ',');
	}
	calls_text(o, out, len);
}

static void stat_with(const struct args *a, struct outcome *o, int flags)
{
	const char *path = a->v[0];
	int fd = at(&path);
	struct stat st;

	calls_done(o, fstatat(fd, path, &st, flags | (fd == AT_FDCWD ? 0 : AT_EMPTY_PATH)));
	if (o->r == 0)
		calls_stat_text(&st, calls_arg(a, 1, "type"), o);
}

/* PATH FIELD[,FIELD..] */
static void do_stat(const struct args *a, struct outcome *o)
{
	stat_with(a, o, 0);
}

static void do_lstat(const struct args *a, struct outcome *o)
{
	stat_with(a, o, AT_SYMLINK_NOFOLLOW);
}

/* PATH PATH: whether both are one file. */
static void do_same(const struct args *a, struct outcome *o)
{
	struct stat one, two;

	calls_done(o, lstat(a->v[0], &one) | lstat(a->v[1], &two));
	if (o->r == 0)
		o->r = one.st_ino == two.st_ino && one.st_dev == two.st_dev;
}

static int named(const struct dirent *e)
{
	return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

/* The names in a folder, sorted, joined by commas; "-" for none. */
static void do_list(const struct args *a, struct outcome *o)
{
	struct dirent **names;
	char out[65536] = "-";
	size_t len = 0;
	int n = scandir(a->v[0], &names, named, alphasort);

	calls_done(o, n);
	for (int i = 0; i < n; i++) {
		if (len < sizeof(out) - 260)
			len += (size_t)sprintf(out + len, "%s%s", i ? "," : "", names[i]->d_name);
		free(names[i]);
	}
	if (n < 0)
		return;
	free(names);
	calls_text(o, out, n ? len : 1);
}

/* How many entries, without "." and "..". */
static void do_count(const struct args *a, struct outcome *o)
{
	struct dirent **names;
	int n = scandir(a->v[0], &names, named, NULL);

	calls_done(o, n);
	for (int i = 0; i < n; i++)
		free(names[i]);
	if (n >= 0)
		free(names);
}

/* --- extended attributes: PATH NAME [VALUE [create|replace]] --- */

static void do_setxattr(const struct args *a, struct outcome *o)
{
	static const struct word flags[] = {{"create", XATTR_CREATE}, {"replace", XATTR_REPLACE}, {0}};
	int f = (int)calls_flags(flags, calls_arg(a, 3, ""));

	if (*a->v[0] == '@')
		calls_done(o, fsetxattr(calls_fd(a->v[0]), a->v[1], a->v[2], a->len[2], f));
	else
		calls_done(o, lsetxattr(a->v[0], a->v[1], a->v[2], a->len[2], f));
}

/* With a size that is too small by one. */
static void do_getxattr_short(const struct args *a, struct outcome *o)
{
	char buf[65536];
	ssize_t n = lgetxattr(a->v[0], a->v[1], NULL, 0);

	calls_done(o, n < 1 ? n : lgetxattr(a->v[0], a->v[1], buf, (size_t)n - 1));
}

static void do_getxattr(const struct args *a, struct outcome *o)
{
	char buf[65536];
	ssize_t n = *a->v[0] == '@' ? fgetxattr(calls_fd(a->v[0]), a->v[1], buf, sizeof(buf))
				    : lgetxattr(a->v[0], a->v[1], buf, sizeof(buf));

	calls_done(o, n);
	if (n >= 0)
		calls_text(o, buf, (size_t)n);
}

static void do_getxattr_size(const struct args *a, struct outcome *o)
{
	calls_done(o, lgetxattr(a->v[0], a->v[1], NULL, 0));
}

/* How many names there are. */
static void do_listxattr(const struct args *a, struct outcome *o)
{
	static char buf[65536];
	ssize_t n = llistxattr(a->v[0], buf, sizeof(buf));
	long names = 0;

	calls_done(o, n);
	for (ssize_t i = 0; i < n; i++)
		names += !buf[i];
	if (n >= 0)
		o->r = names;
}

static void do_listxattr_size(const struct args *a, struct outcome *o)
{
	calls_done(o, llistxattr(a->v[0], NULL, 0));
}

static void do_removexattr(const struct args *a, struct outcome *o)
{
	calls_done(o, lremovexattr(a->v[0], a->v[1]));
}

static void do_pathconf(const struct args *a, struct outcome *o)
{
	static const struct word names[] = {{"name", _PC_NAME_MAX}, {"path", _PC_PATH_MAX}, {0}};

	calls_done(o, pathconf(a->v[0], (int)calls_flags(names, a->v[1])));
}

const struct call calls_names[] = {
	{"mkdir", 1, do_mkdir},
	{"create", 1, do_create},
	{"mknod", 2, do_mknod},
	{"link", 2, do_link},
	{"link_followed", 2, do_link_followed},
	{"symlink", 2, do_symlink},
	{"readlink", 1, do_readlink},
	{"unlink", 1, do_unlink},
	{"rmdir", 1, do_rmdir},
	{"chdir", 1, do_chdir},
	{"rename", 2, do_rename},
	{"chmod", 2, do_chmod},
	{"chown", 3, do_chown},
	{"lchown", 3, do_lchown},
	{"truncate", 2, do_truncate},
	{"access", 2, do_access},
	{"utimens", 3, do_utimens},
	{"touch", 1, do_touch},
	{"stat", 1, do_stat},
	{"lstat", 1, do_lstat},
	{"same", 2, do_same},
	{"list", 1, do_list},
	{"count", 1, do_count},
	{"setxattr", 3, do_setxattr},
	{"getxattr", 2, do_getxattr},
	{"getxattr_short", 2, do_getxattr_short},
	{"getxattr_size", 2, do_getxattr_size},
	{"listxattr", 1, do_listxattr},
	{"listxattr_size", 1, do_listxattr_size},
	{"removexattr", 2, do_removexattr},
	{"pathconf", 2, do_pathconf},
	{0},
};
