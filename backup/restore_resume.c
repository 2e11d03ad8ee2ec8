/*
 * Going on with a restore that was interrupted.
 *
 * An entry takes its name when it is complete. But a power cut may keep a name and lose what stands behind it, and somebody
 * may have changed the file since; so nothing is believed for its name, size or time: what lies there is read and compared,
 * by digest, with what the set's records hold. Only what is the same is left as it is, and gets its attributes again;
 * everything else is in the way as it always was, or, in place, replaced.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "backup/content.h"
#include "backup/restore_internal.h"
#include "core/cleanup.h"

static int same_content(struct restore *r, int fd, uint64_t id, const struct set_node *n)
{
	uint8_t there[CONTENT_DIGEST_LEN], wanted[CONTENT_DIGEST_LEN];
	int err = content_digest_set(r->sv, id, n, wanted);

	if (err == 0)
		err = content_digest_fd(fd, there);
	return err ? err : !memcmp(there, wanted, sizeof(there));
}

/* 1: the same. */
static int same_file(struct restore *r, int dir_fd, const char *name, uint64_t id, const struct set_node *n)
{
	CLEANUP_FD int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != n->attr.size)
		return 0;
	return same_content(r, fd, id, n);
}

static bool same_special(int dir_fd, const char *name, const struct stat *st, const struct set_node *n)
{
	char target[PATH_MAX];

	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		return st->st_rdev == n->attr.rdev;
	if (!S_ISLNK(st->st_mode))
		return true;
	ssize_t len = readlinkat(dir_fd, name, target, sizeof(target));
	return len == (ssize_t)n->inline_len && !memcmp(target, n->inline_data, n->inline_len);
}

int restore_kept(struct restore *r, int dir_fd, const char *name, uint64_t id, const struct set_node *n)
{
	struct stat st;
	int same;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : -errno;
	if ((st.st_mode & S_IFMT) != (n->attr.mode & S_IFMT))
		return 0;
	same = S_ISREG(st.st_mode) ? same_file(r, dir_fd, name, id, n) : same_special(dir_fd, name, &st, n);
	if (same <= 0)
		return same;
	/* Whose copy it is was noted before its first byte was written, unless it was there before. */
	int err = r->in->restored && st.st_ino != id ? r->in->restored(r->in->arg, id, st.st_ino) : 0;
	if (err == 0)
		err = restore_set_attributes_at(r, dir_fd, name, n);
	if (err)
		return err;
	r->res.n_kept++;
	return 1;
}

/* The interrupted run was killed while it wrote under these names; nobody else has such. */
void restore_clear(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_DIR DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && (e = readdir(dir)))
		if (restore_is_temp(e->d_name))
			unlinkat(dir_fd, e->d_name, 0);
}

/* --- whether the target is of our making --- */

/* Says, in a folder that a restore has made, that it has not got its own attributes yet. */
#define UNFINISHED ".coffer-unfinished"

int restore_mark(struct restore *r)
{
	CLEANUP_FD int fd = openat(r->to_fd, UNFINISHED, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : 0;
}

bool restore_marked(const struct restore *r)
{
	return faccessat(r->to_fd, UNFINISHED, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void restore_unmark(struct restore *r)
{
	unlinkat(r->to_fd, UNFINISHED, 0);
}
