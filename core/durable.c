/*
 * Small files that survive a power cut as the old or the new content.
 *
 * A replacement is built in ".NAME.tmp" beside its target. The name is fixed, so that the leaving
 * of a power cut is overwritten by the next replacement instead of lying about with an old key
 * state in it. Writers of the same name take turns by a lock on the temporary file.
 */
#include "core/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "core/cleanup.h"

#define SECTOR_LEN 4096
#define READBACK_LEN ((size_t)1 << 20)

/* Where a name lies: its folder, opened, and what is left of it there. */
struct place {
	int dirfd;
	const char *base;
};

static void place_close(struct place *pl)
{
	cleanup_fd(&pl->dirfd);
}

#define CLEANUP_PLACE __attribute__((cleanup(place_close)))

static int place_open(int dirfd, const char *name, struct place *pl)
{
	const char *slash = strrchr(name, '/');
	char dir[PATH_MAX];

	pl->base = slash ? slash + 1 : name;
	if (!*pl->base)
		return -EINVAL;
	if (!slash)
		strcpy(dir, ".");
	else if ((size_t)(pl->base - name) >= sizeof(dir))
		return -ENAMETOOLONG;
	else
		*(char *)mempcpy(dir, name, (size_t)(pl->base - name)) = '\0';
	pl->dirfd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return pl->dirfd < 0 ? -errno : 0;
}

static int sync_folder(int fd)
{
	/* Filesystems without directory syncs say EINVAL; there is nothing more to do on them. */
	if (fsync(fd) < 0 && errno != EINVAL && errno != ENOTSUP)
		return -errno;
	return 0;
}

int durable_sync_dir(int dirfd)
{
	/* Opened anew, because dirfd may be O_PATH or AT_FDCWD. */
	CLEANUP_FD int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : sync_folder(fd);
}

/* ---- replace and create ---- */

static bool is_same_file(int dirfd, const char *name, int fd)
{
	struct stat by_name, by_fd;

	return fstatat(dirfd, name, &by_name, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &by_fd) == 0 &&
	       by_name.st_dev == by_fd.st_dev && by_name.st_ino == by_fd.st_ino;
}

/*
 * The temporary file, locked, or -errno. Another writer may rename it away while we wait. A
 * second name for it means that a power cut came between link and unlink in publish_new: then it
 * is the published file, and writing to it would tear that.
 */
static int tmp_open(int dirfd, const char *tmp)
{
	struct stat st;

	for (;;) {
		CLEANUP_FD int fd =
			openat(dirfd, tmp, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
		/* Some network filesystems have no locks; there, one writer a name is assumed. */
		if (flock(fd, LOCK_EX) < 0 && errno != ENOLCK && errno != ENOTSUP)
			return -errno;
		if (!is_same_file(dirfd, tmp, fd))
			continue;
		if (fstat(fd, &st) < 0)
			return -errno;
		if (st.st_nlink == 1)
			return STEAL_FD(fd);
		if (unlinkat(dirfd, tmp, 0) < 0)
			return -errno;
	}
}

static int tmp_fill(int fd, const void *p, size_t len, mode_t mode)
{
	int r;

	if (ftruncate(fd, 0) < 0)
		return -errno;
	r = durable_pwrite(fd, p, len, 0);
	if (r < 0)
		return r;
	/* The file is ours, so EPERM means a medium without modes, such as FAT. */
	if (fchmod(fd, mode) < 0 && errno != EPERM && errno != ENOTSUP)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

static int publish_over(int dirfd, const char *tmp, const char *base)
{
	return renameat(dirfd, tmp, dirfd, base) < 0 ? -errno : 0;
}

static int publish_new(int dirfd, const char *tmp, const char *base)
{
	if (renameat2(dirfd, tmp, dirfd, base, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
		return -errno;
	/* NFS, for one: there a link refuses a taken name. */
	if (linkat(dirfd, tmp, dirfd, base, 0) < 0)
		return -errno;
	unlinkat(dirfd, tmp, 0);
	return 0;
}

typedef int (*publish_fn)(int dirfd, const char *tmp, const char *base);

static int publish(const struct place *pl, const void *p, size_t len, mode_t mode, publish_fn fn)
{
	char tmp[NAME_MAX + 1];
	CLEANUP_FD int fd = -1;
	int r;

	if (strlen(pl->base) > DURABLE_NAME_MAX)
		return -ENAMETOOLONG;
	sprintf(tmp, ".%s.tmp", pl->base);
	fd = tmp_open(pl->dirfd, tmp);
	if (fd < 0)
		return fd;
	r = tmp_fill(fd, p, len, mode);
	if (r == 0)
		r = fn(pl->dirfd, tmp, pl->base);
	if (r < 0) {
		/* Still under its lock, so it is not another writer's. */
		unlinkat(pl->dirfd, tmp, 0);
		return r;
	}
	return sync_folder(pl->dirfd);
}

int durable_replace(int dirfd, const char *name, const void *p, size_t len, mode_t mode)
{
	CLEANUP_PLACE struct place pl = {.dirfd = -1};
	int r = place_open(dirfd, name, &pl);

	return r < 0 ? r : publish(&pl, p, len, mode, publish_over);
}

int durable_create(int dirfd, const char *name, const void *p, size_t len, mode_t mode)
{
	CLEANUP_PLACE struct place pl = {.dirfd = -1};
	int r = place_open(dirfd, name, &pl);

	return r < 0 ? r : publish(&pl, p, len, mode, publish_new);
}

/* ---- overwrite in place ---- */

/*
 * Compares len bytes of fd with p through buf; -EINVAL when this descriptor cannot read directly.
 */
static int compare_chunks(int fd, off_t off, const uint8_t *p, size_t len, uint8_t *buf)
{
	while (len) {
		size_t n = len < READBACK_LEN ? len : READBACK_LEN;
		int r = durable_pread(fd, buf, n, off);

		if (r < 0)
			return r == -ENODATA ? -EIO : r;
		if (memcmp(buf, p, n) != 0)
			return -EIO;
		p += n;
		off += (off_t)n;
		len -= n;
	}
	return 0;
}

static int read_back(int dirfd, const char *name, int fd, off_t off, const void *p, size_t len)
{
	CLEANUP_FREE uint8_t *buf =
		aligned_alloc(SECTOR_LEN, len < READBACK_LEN ? len : READBACK_LEN);
	CLEANUP_FD int direct = -1;
	int r = -EINVAL;

	if (!buf)
		return -ENOMEM;
	direct = openat(dirfd, name, O_RDONLY | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);
	if (direct >= 0)
		r = compare_chunks(direct, off, p, len, buf);
	else if (errno != EINVAL && errno != ENOTSUP)
		return -errno;
	if (r != -EINVAL)
		return r;
	/* Nothing dirty is left after fdatasync, so the cache can let go of these pages. */
	posix_fadvise(fd, off, (off_t)len, POSIX_FADV_DONTNEED);
	return compare_chunks(fd, off, p, len, buf);
}

int durable_overwrite(int dirfd, const char *name, off_t off, const void *p, size_t len)
{
	CLEANUP_FD int fd = -1;
	struct stat st;
	int r;

	if (!len || len % SECTOR_LEN || off < 0 || off % SECTOR_LEN)
		return -EINVAL;
	fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < off || (uint64_t)(st.st_size - off) < len)
		return -EINVAL;
	r = durable_pwrite(fd, p, len, off);
	if (r < 0)
		return r;
	if (fdatasync(fd) < 0)
		return -errno;
	return read_back(dirfd, name, fd, off, p, len);
}

/* ---- reading ---- */

int durable_pread(int fd, void *p, size_t len, off_t off)
{
	uint8_t *at = p;

	while (len) {
		ssize_t n = pread(fd, at, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		at += n;
		off += n;
		len -= (size_t)n;
	}
	return 0;
}

int durable_pwrite(int fd, const void *p, size_t len, off_t off)
{
	const uint8_t *at = p;

	while (len) {
		ssize_t n = pwrite(fd, at, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		off += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Opened without waiting, so that a FIFO put in the place of a file cannot hold us up. */
static int open_regular(int dirfd, const char *name, size_t *ret_size)
{
	CLEANUP_FD int fd = openat(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*ret_size = (size_t)st.st_size;
	return STEAL_FD(fd);
}

int durable_read(int dirfd, const char *name, size_t max, uint8_t **ret, size_t *ret_len)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	CLEANUP_FD int fd = -1;
	size_t size = 0;
	int r;

	fd = open_regular(dirfd, name, &size);
	if (fd < 0)
		return fd;
	if (size > max)
		return -EFBIG;
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	/* These files change only by being replaced; one that shrinks meanwhile is -ENODATA. */
	r = durable_pread(fd, buf, size, 0);
	if (r < 0)
		return r;
	buf[size] = '\0';
	*ret = STEAL_PTR(buf);
	*ret_len = size;
	return 0;
}

/* ---- names ---- */

int durable_unlink(int dirfd, const char *name)
{
	CLEANUP_PLACE struct place pl = {.dirfd = -1};
	int r = place_open(dirfd, name, &pl);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (unlinkat(pl.dirfd, pl.base, 0) < 0 && errno != ENOENT)
		return -errno;
	/* Also when it was gone: an earlier removal may have been cut off before its sync. */
	return sync_folder(pl.dirfd);
}

int durable_mkdir(int dirfd, const char *name, mode_t mode)
{
	CLEANUP_PLACE struct place pl = {.dirfd = -1};
	int r = place_open(dirfd, name, &pl);
	struct stat st;

	if (r < 0)
		return r;
	if (mkdirat(pl.dirfd, pl.base, mode) < 0) {
		if (errno != EEXIST || fstatat(pl.dirfd, pl.base, &st, 0) < 0)
			return -errno;
		if (!S_ISDIR(st.st_mode))
			return -ENOTDIR;
	}
	return sync_folder(pl.dirfd);
}
