/*
 * The end of objects: unlinking, and overwriting before that.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/kdf.h"
#include "fs/data_internal.h"

#define PASS_LEN ((size_t)1 << 20)

/*
 * Segments are made in order, so the first that is missing is the end; one more is tried, for the
 * case that a power cut took a folder entry out of the middle. That the entries are gone is not
 * synced here: an object that comes back is one that no record names.
 */
int object_unlink(struct volume *v, uint64_t id)
{
	char path[OBJECT_NAME_LEN];
	unsigned n_missing = 0;
	bool unlinked = false;

	object_drop(v, id);
	for (uint64_t segment = 0; n_missing < 2; segment++) {
		object_path(id, segment, path);
		if (unlinkat(v->objects_fd, path, 0) == 0) {
			n_missing = 0;
			unlinked = true;
		} else if (errno == ENOENT) {
			n_missing++;
		} else {
			return -errno;
		}
	}
	return unlinked ? object_note_dir(v, id) : 0;
}

/* One pass of random bytes over [off, end). */
static int overwrite_range(int fd, off_t off, off_t end, uint8_t *buf, uint64_t *io_bytes)
{
	while (off < end) {
		size_t n = end - off < (off_t)PASS_LEN ? (size_t)(end - off) : PASS_LEN;

		kdf_random(buf, n);
		int r = durable_pwrite(fd, buf, n, off);
		if (r < 0)
			return r;
		off += (off_t)n;
		*io_bytes += n;
	}
	return 0;
}

/* Where the next allocated range begins; the whole rest counts as allocated when the medium cannot
 * say. */
static off_t next_allocated(int fd, off_t off, off_t size, off_t *ret_end)
{
	off_t begin = lseek(fd, off, SEEK_DATA);

	*ret_end = size;
	if (begin < 0)
		return errno == ENXIO ? size : off;
	off_t end = lseek(fd, begin, SEEK_HOLE);
	if (end > begin && end < size)
		*ret_end = end;
	return begin;
}

static int overwrite(int fd, uint64_t *io_bytes)
{
	CLEANUP_FREE uint8_t *buf = malloc(PASS_LEN);
	off_t size = lseek(fd, 0, SEEK_END), end;
	int r = 0;

	if (!buf)
		return -ENOMEM;
	if (size < 0)
		return -errno;
	for (off_t off = next_allocated(fd, 0, size, &end); r == 0 && off < size;
	     off = next_allocated(fd, end, size, &end))
		r = overwrite_range(fd, off, end, buf, io_bytes);
	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	return r;
}

/* Deallocates what lies in it. The random bytes are on the medium by now. */
static int deallocate(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);

	if (size > 0)
		(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size);
	if (ftruncate(fd, 0) < 0 || fdatasync(fd) < 0)
		return -errno;
	return 0;
}

static int erase_segment(int dirfd, const char *name, bool pass, uint64_t *io_bytes)
{
	CLEANUP_FD int fd = openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int r = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (pass)
		r = overwrite(fd, io_bytes);
	if (r == 0)
		r = deallocate(fd);
	if (r == 0 && unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

/* By the folder's listing rather than by number: nothing of the object may be missed. */
static int erase_listed(DIR *dir, uint64_t id, bool pass, uint64_t *io_bytes)
{
	char prefix[OBJECT_NAME_LEN];
	struct dirent *ent;
	int n = snprintf(prefix, sizeof(prefix), "%016" PRIx64 ".", id), r = 0;

	while (r == 0 && (errno = 0, ent = readdir(dir))) {
		if (!strncmp(ent->d_name, prefix, (size_t)n))
			r = erase_segment(dirfd(dir), ent->d_name, pass, io_bytes);
	}
	return r < 0 ? r : -errno;
}

int object_erase(struct volume *v, uint64_t id, bool overwrite_first, uint64_t *ret)
{
	char path[OBJECT_DIR_LEN];
	uint64_t bytes = 0;

	object_drop(v, id);
	object_dir(id, path);
	CLEANUP_FD int fd = openat(v->objects_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		if (errno != ENOENT)
			return -errno;
		*ret = 0;
		return 0;
	}
	CLEANUP_DIR DIR *dir = fdopendir(fd);
	if (!dir)
		return -errno;
	STEAL_FD(fd);
	int r = erase_listed(dir, id, overwrite_first, &bytes);
	if (r == 0)
		r = durable_sync_dir(dirfd(dir));
	if (r == 0)
		*ret = bytes;
	return r;
}
