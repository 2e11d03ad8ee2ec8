/*
 * A repository in a folder. Objects are files (0600) in folders (0700), written through
 * core/durable.
 *
 * Others may write here: no symbolic link is followed below the repository, and only regular files
 * are read.
 */
#include "backup/repo_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/durable.h"

struct folder {
	int fd;
};

/* The folder that holds name, and its last component. make: missing folders on the way are made. */
static int parent_of(struct folder *f, const char *name, bool make, int *ret_fd,
		     const char **ret_last)
{
	CLEANUP_FD int at = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
	const char *slash;
	char part[256];

	while (at >= 0 && (slash = strchr(name, '/'))) {
		size_t n = (size_t)(slash - name);

		if (n == 0 || n >= sizeof(part))
			return -EINVAL;
		memcpy(part, name, n);
		part[n] = 0;
		if (make) {
			int err = durable_mkdir(at, part, 0700);
			if (err)
				return err;
		}
		int next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int saved = errno;
		close(at);
		at = next;
		errno = saved;
		name = slash + 1;
	}
	if (at < 0)
		return -errno;
	*ret_last = name;
	*ret_fd = STEAL_FD(at);
	return 0;
}

/* It is durable: whoever reads it back shall hear from the medium, not from memory. */
static void forget_cached(int at, const char *name)
{
	CLEANUP_FD int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int folder_put(void *self, const char *name, const void *p, size_t len, bool exclusive)
{
	CLEANUP_FD int at = -1;
	const char *last;
	int err = parent_of(self, name, true, &at, &last);

	if (err)
		return err;
	err = exclusive ? durable_create(at, last, p, len, 0600)
			: durable_replace(at, last, p, len, 0600);
	if (err == 0)
		forget_cached(at, last);
	return err;
}

/* Without waiting, so that a FIFO in an object's place cannot hold us up. */
static int open_object(struct folder *f, const char *name, struct stat *st)
{
	CLEANUP_FD int at = -1;
	const char *last;
	int err = parent_of(f, name, false, &at, &last);

	if (err)
		return err;
	CLEANUP_FD int fd =
	    openat(at, last, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, st) != 0)
		return -errno;
	return S_ISREG(st->st_mode) ? STEAL_FD(fd) : -EUCLEAN;
}

static int folder_read(void *self, const char *name, uint64_t off, void *p, size_t len)
{
	struct stat st;
	CLEANUP_FD int fd = open_object(self, name, &st);

	if (fd < 0)
		return fd;
	if (off > INT64_MAX)
		return -ENODATA;
	return len ? durable_pread(fd, p, len, (off_t)off) : 0;
}

static int folder_size(void *self, const char *name, uint64_t *ret)
{
	struct stat st;
	CLEANUP_FD int fd = open_object(self, name, &st);

	if (fd < 0)
		return fd;
	*ret = (uint64_t)st.st_size;
	return 0;
}

/* Also takes away the folder it leaves empty, so that a dropped set leaves nothing. */
static int folder_remove(void *self, const char *name)
{
	CLEANUP_FD int at = -1;
	const char *last;
	int err = parent_of(self, name, false, &at, &last);

	if (err)
		return err;
	err = durable_unlink(at, last);
	if (err || last == name)
		return err;
	char folder[256];
	size_t n = (size_t)(last - name) - 1;
	if (n < sizeof(folder)) {
		memcpy(folder, name, n);
		folder[n] = 0;
		if (strchr(folder, '/')) /* never the top-level ones */
			unlinkat(((struct folder *)self)->fd, folder, AT_REMOVEDIR);
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int collect(DIR *dir, char ***ret, size_t *ret_n)
{
	size_t n = 0, cap = 0;
	char **names = NULL;
	struct dirent *de;
	int err = 0;

	/* A list that was cut short would look like one of fewer sets: retention goes by it. */
	while (err == 0 && (errno = 0, de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		if (n == cap) {
			char **more = realloc(names, (cap = cap ? 2 * cap : 64) * sizeof(*names));
			if (!more) {
				err = -ENOMEM;
				break;
			}
			names = more;
		}
		names[n] = strdup(de->d_name);
		err = names[n] ? 0 : -ENOMEM;
		n += err == 0;
	}
	if (err == 0)
		err = -errno;
	if (err) {
		repo_list_free(names, n);
		return err;
	}
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	*ret = names;
	*ret_n = n;
	return 0;
}

static int folder_list(void *self, const char *prefix, char ***ret, size_t *ret_n)
{
	CLEANUP_FD int at = -1;
	const char *last;
	int err = parent_of(self, prefix, false, &at, &last);

	if (err == -ENOENT) {
		*ret = NULL;
		*ret_n = 0;
		return 0;
	}
	if (err)
		return err;
	if (*last)
		return -EINVAL; /* a prefix ends in '/' or is empty */
	CLEANUP_DIR DIR *dir = fdopendir(at);
	if (!dir)
		return -errno;
	at = -1;
	return collect(dir, ret, ret_n);
}

static void folder_close(void *self)
{
	struct folder *f = self;

	close(f->fd);
	free(f);
}

static const struct repo_ops folder_ops = {
    .put = folder_put,
    .read = folder_read,
    .size = folder_size,
    .remove = folder_remove,
    .list = folder_list,
    .close = folder_close,
};

/* The folder's own name is durable before anything counts on it. */
static int make_folder(const char *path)
{
	if (mkdir(path, 0700) != 0)
		return errno == EEXIST ? 0 : -errno;
	CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_FD int above = fd < 0 ? -1 : openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return above < 0 ? -errno : durable_sync_dir(above);
}

int repo_folder_open(const char *path, bool create, const struct repo_ops **ret_ops,
		     void **ret_self)
{
	int err = create ? make_folder(path) : 0;

	if (err)
		return err;
	CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct folder *f = malloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->fd = STEAL_FD(fd);
	*ret_ops = &folder_ops;
	*ret_self = f;
	return 0;
}
