/*
 * Writing one entry of a set into a folder, with everything that belongs to it.
 *
 * Nothing takes its final name before it is complete: a file is written under a temporary one,
 * owner-only, then gets owner, attributes, mode and times, then its name. No path is followed:
 * everything goes through the descriptors of the folder and of the entry, which for links and
 * special files is an O_PATH one, so whoever swaps names in the target meanwhile changes nothing of
 * what it lands on.
 *
 * What needs privileges that this process lacks, or a filesystem that the target is not, is counted
 * and passed over.
 */
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "backup/restore_internal.h"
#include "core/cleanup.h"
#include "core/durable.h"

#define TEMP_LEN 40
#define TEMP_PREFIX ".coffer-restore-"
#define FD_PATH_LEN 40

static void temp_name(char out[TEMP_LEN])
{
	uint8_t salt[8];
	char hex[17];

	kdf_random(salt, sizeof(salt));
	bytes_hex(hex, salt, sizeof(salt));
	snprintf(out, TEMP_LEN, TEMP_PREFIX "%s", hex);
}

bool restore_is_temp(const char *name)
{
	const size_t n = sizeof(TEMP_PREFIX) - 1;

	return !strncmp(name, TEMP_PREFIX, n) && strspn(name + n, "0123456789abcdef") == 16 && !name[n + 16];
}

/* --- attributes --- */

/* xattr and mode calls want a path; this one leads to the descriptor's own inode, a symbolic link's
 * included. */
static void fd_path(int fd, char out[FD_PATH_LEN])
{
	snprintf(out, FD_PATH_LEN, "/proc/self/fd/%d", fd);
}

static bool is_refusal(int err)
{
	return err == -EPERM || err == -EOPNOTSUPP;
}

static int set_xattrs(int fd, const struct set_node *n, bool *io_refused)
{
	char path[FD_PATH_LEN];
	const uint8_t *val;
	const char *key;
	size_t pos = 0, len;

	fd_path(fd, path);
	while (volume_xattrs_next(n->xattrs, n->xattrs_len, &pos, &key, &val, &len)) {
		if (setxattr(path, key, val, len, 0) == 0)
			continue;
		if (!is_refusal(-errno))
			return -errno;
		*io_refused = true;
	}
	return 0;
}

/* In this order: a change of owner clears set-id bits and capabilities; every change moves the
 * times. */
int restore_set_attributes(struct restore *r, int fd, const struct set_node *n)
{
	const struct timespec times[2] = {n->attr.atime, n->attr.mtime};
	mode_t mode = n->attr.mode & 07777;
	bool refused = false;
	char path[FD_PATH_LEN];

	fd_path(fd, path);
	if (fchownat(fd, "", n->attr.uid, n->attr.gid, AT_EMPTY_PATH) != 0) {
		if (!is_refusal(-errno))
			return -errno;
		/* With another owner, set-id bits would mean something else. */
		mode &= 0777;
		refused = true;
	}
	int err = set_xattrs(fd, n, &refused);
	if (err)
		return err;
	if (!S_ISLNK(n->attr.mode) && chmod(path, mode) != 0)
		return -errno;
	if (utimensat(AT_FDCWD, path, times, 0) != 0)
		return -errno;
	if (refused)
		restore_refused(r);
	return 0;
}

int restore_set_attributes_at(struct restore *r, int dir_fd, const char *name,
			      const struct set_node *n)
{
	CLEANUP_FD int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != (n->attr.mode & S_IFMT))
		return -ESTALE; /* somebody put something else in its place */
	return restore_set_attributes(r, fd, n);
}

/* --- content --- */

static int write_range(struct restore *r, int fd, uint64_t range,
		       const uint8_t what[SET_RANGE_BLOCKS], uint64_t size)
{
	for (size_t i = 0; i < SET_RANGE_BLOCKS;) {
		size_t n = 1;
		uint64_t off = range * SET_RANGE + i * MAP_BLOCK;

		while (i + n < SET_RANGE_BLOCKS && what[i + n] == what[i])
			n++;
		if (what[i] == SET_BLOCK_DATA && off < size) {
			size_t len = n * MAP_BLOCK;
			if (len > size - off)
				len = (size_t)(size - off);
			int err = durable_pwrite(fd, r->range + i * MAP_BLOCK, len, (off_t)off);
			if (err)
				return err;
			r->res.n_bytes += len;
		}
		i += n;
	}
	return 0;
}

/* Ranges beyond the end are read as well: what a file holds there belongs to its count. */
static int write_blocks(struct restore *r, int fd, uint64_t id, const struct set_node *n)
{
	uint8_t what[SET_RANGE_BLOCKS];
	uint64_t n_mapped = 0, range;
	struct view_data it;
	int err = 0, more = view_data_open(r->sv, id, &it);

	if (more)
		return more;
	while (err == 0 && (more = view_data_next(&it, &range, what, r->range)) > 0) {
		for (size_t k = 0; k < SET_RANGE_BLOCKS; k++)
			n_mapped += what[k] == SET_BLOCK_DATA;
		err = write_range(r, fd, range, what, n->attr.size);
	}
	view_data_close(&it);
	err = err ? err : more;
	/* Never a hole for want of a record. */
	return err == 0 && n_mapped != n->n_mapped ? -EBADMSG : err;
}

static int write_content(struct restore *r, int fd, uint64_t id, const struct set_node *n)
{
	int err = 0;

	if (n->in_blocks)
		err = write_blocks(r, fd, id, n);
	else if (n->inline_len)
		err = durable_pwrite(fd, n->inline_data, n->inline_len, 0);
	if (err)
		return err;
	r->res.n_bytes += n->inline_len;
	return ftruncate(fd, (off_t)n->attr.size) ? -errno : 0;
}

/* --- entries --- */

/* Outside of restores in place nothing that exists is replaced. */
static int take_name(struct restore *r, int dir_fd, const char *temp, const char *name)
{
	if (renameat2(dir_fd, temp, dir_fd, name, r->in->in_place ? 0 : RENAME_NOREPLACE) == 0)
		return 0;
	if (r->in->in_place || (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP))
		return -errno;
	/* NFS, for one: there a link refuses a taken name. */
	if (linkat(dir_fd, temp, dir_fd, name, 0) != 0)
		return -errno;
	unlinkat(dir_fd, temp, 0);
	return 0;
}

static int fill_file(struct restore *r, int fd, uint64_t id, const struct set_node *n)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	int err = r->in->restored ? r->in->restored(r->in->arg, id, st.st_ino) : 0;
	if (err == 0)
		err = write_content(r, fd, id, n);
	return err ? err : restore_set_attributes(r, fd, n);
}

static int write_file(struct restore *r, int dir_fd, const char *name, uint64_t id,
		      const struct set_node *n)
{
	uint64_t bytes = r->res.n_bytes;
	char temp[TEMP_LEN];

	temp_name(temp);
	CLEANUP_FD int fd =
	    openat(dir_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int err = fill_file(r, fd, id, n);
	/* A write may fail as late as here (ENOSPC behind a cache). */
	if (close(STEAL_FD(fd)) != 0 && err == 0)
		err = -errno;
	if (err == 0)
		err = take_name(r, dir_fd, temp, name);
	if (err) {
		unlinkat(dir_fd, temp, 0);
		r->res.n_bytes = bytes;
		return err;
	}
	r->res.n_files++;
	return 0;
}

static int make_special(int dir_fd, const char *temp, const struct set_node *n)
{
	char target[PATH_MAX];

	if (!S_ISLNK(n->attr.mode))
		return mknodat(dir_fd, temp, (n->attr.mode & S_IFMT) | 0600, n->attr.rdev) ? -errno
											   : 0;
	if (n->inline_len >= sizeof(target))
		return -EBADMSG;
	memcpy(target, n->inline_data, n->inline_len);
	target[n->inline_len] = 0;
	return symlinkat(target, dir_fd, temp) ? -errno : 0;
}

/* What was just made as name enters the lineage of id; what an in-place restore found there is itself. */
static int enter_lineage(struct restore *r, int dir_fd, const char *name, uint64_t id)
{
	struct stat st;

	if (!r->in->restored)
		return 0;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	return st.st_ino == id ? 0 : r->in->restored(r->in->arg, id, st.st_ino);
}

static int write_special(struct restore *r, int dir_fd, const char *name, uint64_t id,
			 const struct set_node *n)
{
	char temp[TEMP_LEN];

	temp_name(temp);
	int err = make_special(dir_fd, temp, n);
	if (err == -EPERM && (S_ISBLK(n->attr.mode) || S_ISCHR(n->attr.mode))) {
		restore_refused(r);
		return 0;
	}
	if (err)
		return err;
	err = enter_lineage(r, dir_fd, temp, id);
	if (err == 0)
		err = restore_set_attributes_at(r, dir_fd, temp, n);
	if (err == 0)
		err = take_name(r, dir_fd, temp, name);
	if (err)
		unlinkat(dir_fd, temp, 0);
	r->res.n_other += err == 0;
	return err;
}

static int write_dir(struct restore *r, int dir_fd, const char *name, uint64_t id)
{
	struct stat st;

	if (mkdirat(dir_fd, name, 0700) != 0) {
		if (errno != EEXIST || !(r->in->in_place || r->in->resume))
			return -errno;
		if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			return -errno;
		if (!S_ISDIR(st.st_mode))
			return -ENOTDIR;
	}
	r->res.n_dirs++;
	return enter_lineage(r, dir_fd, name, id);
}

/* --- hard links: the first name is written, the others lead to it --- */

struct restored_link {
	uint64_t id;
	dev_t dev;
	ino_t ino;
	char path[]; /* relative to the target */
};

static int by_id(const void *a, const void *b)
{
	const struct restored_link *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

void restore_links_free(struct restore *r)
{
	tdestroy(r->links, free);
	r->links = NULL;
}

static int remember_link(struct restore *r, int dir_fd, const char *name, uint64_t id)
{
	CLEANUP_FREE struct restored_link *l = malloc(sizeof(*l) + strlen(r->path) + 1);
	struct stat st;

	if (!l)
		return -ENOMEM;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	l->id = id;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	strcpy(l->path, r->path);
	if (!tsearch(l, &r->links, by_id))
		return -ENOMEM;
	(void)STEAL_PTR(l);
	return 0;
}

/* 0 when temp in dir_fd is the file that was restored under that path, -ESTALE when somebody has
 * replaced it since. */
static int link_restored(struct restore *r, const struct restored_link *l, int dir_fd,
			 const char *temp)
{
	const char *slash = strrchr(l->path, '/'), *last = slash ? slash + 1 : l->path;
	CLEANUP_FD int fd = -1;
	struct stat st;
	int err = restore_open_folder(r->to_fd, l->path, (size_t)(last - l->path), &fd);

	if (err)
		return err;
	if (linkat(fd, last, dir_fd, temp, 0) != 0)
		return -errno;
	if (fstatat(dir_fd, temp, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	return st.st_dev == l->dev && st.st_ino == l->ino ? 0 : -ESTALE;
}

/* In a run that goes on: whether the name leads to it already. */
static bool is_linked(struct restore *r, const struct restored_link *l, int dir_fd, const char *name)
{
	struct stat st;

	return r->in->resume && fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == l->dev &&
	       st.st_ino == l->ino;
}

/* A further name of what is restored already. 1: linked. */
static int write_link(struct restore *r, int dir_fd, const char *name, uint64_t id)
{
	const struct restored_link wanted = {.id = id};
	struct restored_link *const *found = tfind(&wanted, &r->links, by_id);
	char temp[TEMP_LEN];

	if (!found)
		return 0;
	if (is_linked(r, *found, dir_fd, name)) {
		r->res.n_kept++;
		return 1;
	}
	temp_name(temp);
	int err = link_restored(r, *found, dir_fd, temp);
	if (err == 0)
		err = take_name(r, dir_fd, temp, name);
	/* Renaming over another name of the same file leaves both. */
	unlinkat(dir_fd, temp, 0);
	r->res.n_links += err == 0;
	return err ? err : 1;
}

int restore_write(struct restore *r, int dir_fd, const char *name, uint64_t id,
		  const struct set_node *n)
{
	int err;

	if (S_ISDIR(n->attr.mode))
		return write_dir(r, dir_fd, name, id);
	if (n->attr.nlink > 1) {
		err = write_link(r, dir_fd, name, id);
		if (err)
			return err < 0 ? err : 0;
	}
	uint64_t refused = r->res.n_refused;
	int kept = r->in->resume ? restore_kept(r, dir_fd, name, id, n) : 0;
	if (kept < 0)
		return kept;
	err = kept		      ? 0
	      : S_ISREG(n->attr.mode) ? write_file(r, dir_fd, name, id, n)
				      : write_special(r, dir_fd, name, id, n);
	/* A device that was refused is not there to be linked to. */
	if (err == 0 && n->attr.nlink > 1 && (S_ISREG(n->attr.mode) || r->res.n_refused == refused))
		err = remember_link(r, dir_fd, name, id);
	return err;
}
