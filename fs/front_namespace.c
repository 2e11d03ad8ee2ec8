/*
 * FUSE handlers on names and attributes: get state, one piece of work, exactly one reply.
 */
#include "fs/front_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "core/bytes.h"
#include "core/cleanup.h"

static void reply_made(fuse_req_t req, int err, const struct volume_attr *a)
{
	if (err)
		fuse_reply_err(req, -err);
	else
		front_reply_entry(req, a);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct volume_attr a;
	int err = volume_lookup(front_volume(req), parent, name, &a);

	if (err == -ENOENT) {
		/* A proved absence is worth caching: nobody but the kernel makes names. */
		struct fuse_entry_param e = {.entry_timeout = FRONT_TIMEOUT};
		fuse_reply_entry(req, &e);
		return;
	}
	reply_made(req, err, &a);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	volume_forget(front_volume(req), ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *list)
{
	for (size_t i = 0; i < count; i++)
		volume_forget(front_volume(req), list[i].ino, list[i].nlookup);
	fuse_reply_none(req);
}

static void reply_attr(fuse_req_t req, int err, const struct volume_attr *a)
{
	struct stat st;

	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	front_stat(a, &st);
	fuse_reply_attr(req, &st, front_attr_timeout(a));
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct volume_attr a;
	(void)fi;
	int err = volume_getattr(front_volume(req), ino, &a);

	reply_attr(req, err, &a);
}

static struct timespec now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		       struct fuse_file_info *fi)
{
	struct volume_attr in = {
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = (uint64_t)st->st_size,
		.atime = to_set & FUSE_SET_ATTR_ATIME_NOW ? now() : st->st_atim,
		.mtime = to_set & FUSE_SET_ATTR_MTIME_NOW ? now() : st->st_mtim,
		.ctime = st->st_ctim,
	};
	struct volume_attr a;
	unsigned mask = 0;
	(void)fi;

	if (to_set & FUSE_SET_ATTR_MODE)
		mask |= VOLUME_SET_MODE;
	if (to_set & FUSE_SET_ATTR_UID)
		mask |= VOLUME_SET_UID;
	if (to_set & FUSE_SET_ATTR_GID)
		mask |= VOLUME_SET_GID;
	if (to_set & FUSE_SET_ATTR_SIZE)
		mask |= VOLUME_SET_SIZE;
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		mask |= VOLUME_SET_ATIME;
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		mask |= VOLUME_SET_MTIME;
	if (to_set & FUSE_SET_ATTR_CTIME)
		mask |= VOLUME_SET_CTIME;
	/* The kernel sends a ctime alone for chown(-1, -1) only: it changes no owner, and takes the bits all the same. */
	if (to_set & FRONT_SET_ATTR_KILLS || mask == VOLUME_SET_CTIME)
		mask |= VOLUME_KILL_SUIDGID;
	int err = volume_setattr(front_volume(req), ino, mask, &in, &a);
	reply_attr(req, err, &a);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	int err = volume_readlink(front_volume(req), ino, &w);

	if (err == 0) {
		bytes_w_u8(&w, 0);
		err = w.err;
	}
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_readlink(req, (const char *)w.buf);
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev,
		 const char *target)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct volume_new in = {
		.mode = mode,
		.umask = ctx->umask,
		.uid = ctx->uid,
		.gid = ctx->gid,
		.rdev = rdev,
		.target = target,
	};
	struct volume_attr a;
	int err = volume_make(front_volume(req), parent, name, &in, &a);

	reply_made(req, err, &a);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	make(req, parent, name, mode, rdev, NULL);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, parent, name, S_IFDIR | (mode & 07777), 0, NULL);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	make(req, parent, name, S_IFLNK | 0777, 0, target);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, -volume_unlink(front_volume(req), parent, name));
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, -volume_rmdir(front_volume(req), parent, name));
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned int flags)
{
	fuse_reply_err(req, -volume_rename(front_volume(req), parent, name, new_parent, new_name,
					   flags));
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct volume_attr a;
	int err = volume_link(front_volume(req), ino, parent, name, &a);

	reply_made(req, err, &a);
}

/* --- folders --- */

struct listing {
	fuse_req_t req;
	char *buf;
	size_t size, len;
	bool plus;
};

/* 0 when the entry fitted. */
static int put_entry(struct listing *l, const char *name, uint64_t id, uint32_t type_mode,
		     uint64_t off, const struct volume_attr *attr)
{
	size_t n;

	if (l->plus) {
		struct fuse_entry_param e = {0};

		if (attr) {
			front_entry(attr, &e);
		} else { /* "." and "..": no reference */
			e.attr.st_ino = id;
			e.attr.st_mode = type_mode;
		}
		n = fuse_add_direntry_plus(l->req, l->buf + l->len, l->size - l->len, name, &e,
					   (off_t)off);
	} else {
		struct stat st = {.st_ino = id, .st_mode = type_mode};

		n = fuse_add_direntry(l->req, l->buf + l->len, l->size - l->len, name, &st,
				      (off_t)off);
	}
	if (n > l->size - l->len)
		return 1;
	l->len += n;
	return 0;
}

static int on_dirent(void *arg, const char *name, uint64_t id, uint32_t type_mode, uint64_t cookie,
		     const struct volume_attr *attr)
{
	return put_entry(arg, name, id, type_mode, cookie, attr);
}

static void listdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	CLEANUP_FREE char *buf = malloc(size);
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};
	struct volume *v = front_volume(req);
	uint64_t parent = ino;
	int err = buf ? 0 : -ENOMEM;

	if (err == 0 && off < 2)
		err = volume_parent(v, ino, &parent);
	/* Offsets 1 and 2 are "." and ".."; the engine's cookies begin above them. */
	if (err == 0 && off == 0 && put_entry(&l, ".", ino, S_IFDIR, 1, NULL) == 0)
		off = 1;
	if (err == 0 && off == 1 && put_entry(&l, "..", parent, S_IFDIR, 2, NULL) == 0)
		off = 2;
	if (err == 0 && off >= 2)
		err = volume_readdir(v, ino, off == 2 ? 0 : (uint64_t)off, plus, on_dirent, &l);
	if (err < 0 && l.len == 0)
		fuse_reply_err(req, -err);
	else
		fuse_reply_buf(req, buf, l.len);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	listdir(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	(void)fi;
	listdir(req, ino, size, off, true);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct front *f = fuse_req_userdata(req);
	(void)ino;

	if (f->no_opendir) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	fuse_reply_open(req, fi);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	front_sync(req, ino);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct volume_stat s;
	(void)ino;
	volume_stat(front_volume(req), &s);
	if (s.quota_bytes) {
		uint64_t left = s.quota_bytes > s.used_bytes ? s.quota_bytes - s.used_bytes : 0;

		if (s.free_bytes > left)
			s.free_bytes = left;
		if (s.total_bytes > s.quota_bytes)
			s.total_bytes = s.quota_bytes;
	}
	struct statvfs st = {
		.f_bsize = MAP_BLOCK,
		.f_frsize = MAP_BLOCK,
		.f_blocks = s.total_bytes / MAP_BLOCK,
		.f_bfree = s.free_bytes / MAP_BLOCK,
		.f_bavail = s.free_bytes / MAP_BLOCK,
		.f_files = s.n_inodes + s.n_files_free,
		.f_ffree = s.n_files_free,
		.f_favail = s.n_files_free,
		.f_namemax = VOLUME_NAME_MAX,
	};

	fuse_reply_statfs(req, &st);
}

/* --- extended attributes --- */

/* The kernel passes every name on; those of no namespace could not be restored onto another filesystem. */
static int check_namespace(const char *name)
{
	static const char *const known[] = {"user.", "trusted.", "security.", "system.posix_acl_"};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strncmp(name, known[i], strlen(known[i])))
			return name[strlen(known[i])] ? 0 : -EINVAL;
	return -EOPNOTSUPP;
}

/* Whether the caller belongs to the group, or need not. */
static bool in_group(fuse_req_t req, gid_t gid)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	CLEANUP_FREE gid_t *groups = NULL;

	if (ctx->uid == 0 || ctx->gid == gid)
		return true;
	int n = fuse_req_getgroups(req, 0, NULL);
	if (n > 0)
		groups = calloc((size_t)n, sizeof(*groups));
	if (groups)
		n = fuse_req_getgroups(req, n, groups);
	for (int i = 0; groups && i < n; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

/*
 * Whoever sets an access ACL without belonging to the file's group takes its set-gid bit away (POSIX.1e 23.1.4). The kernel
 * says so only in a form of the request that libfuse does not read before 3.17.
 */
static int acl_sheds_set_gid(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct volume *v = front_volume(req);
	struct volume_attr a;

	if (strcmp(name, "system.posix_acl_access") != 0)
		return 0;
	int err = volume_getattr(v, ino, &a);
	if (err || !(a.mode & S_ISGID) || in_group(req, a.gid))
		return err;
	a.mode &= ~(uint32_t)S_ISGID;
	return volume_setattr(v, ino, VOLUME_SET_MODE, &a, &a);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	int err = check_namespace(name);

	if (err == 0)
		err = volume_setxattr(front_volume(req), ino, name, value, size, flags);
	if (err == 0)
		err = acl_sheds_set_gid(req, ino, name);
	fuse_reply_err(req, -err);
}

void front_reply_sized(fuse_req_t req, int err, const struct bytes_w *w, size_t size)
{
	if (err == 0)
		err = w->err;
	if (err)
		fuse_reply_err(req, -err);
	else if (size == 0)
		fuse_reply_xattr(req, w->len);
	else if (size < w->len)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, (const char *)w->buf, w->len);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	int err = volume_getxattr(front_volume(req), ino, name, &w);

	front_reply_sized(req, err, &w, size);
}

void front_drop_trusted(struct bytes_w *names)
{
	size_t kept = 0;

	for (size_t at = 0, n; at < names->len; at += n) {
		n = strlen((const char *)names->buf + at) + 1;
		if (!strncmp((const char *)names->buf + at, "trusted.", 8))
			continue;
		memmove(names->buf + kept, names->buf + at, n);
		kept += n;
	}
	names->len = kept;
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	int err = volume_listxattr(front_volume(req), ino, &w);

	if (err == 0 && fuse_req_ctx(req)->uid != 0)
		front_drop_trusted(&w);
	front_reply_sized(req, err, &w, size);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	fuse_reply_err(req, -volume_removexattr(front_volume(req), ino, name));
}

void front_namespace_ops(struct fuse_lowlevel_ops *ops)
{
	ops->lookup = op_lookup;
	ops->forget = op_forget;
	ops->forget_multi = op_forget_multi;
	ops->getattr = op_getattr;
	ops->setattr = op_setattr;
	ops->readlink = op_readlink;
	ops->mknod = op_mknod;
	ops->mkdir = op_mkdir;
	ops->symlink = op_symlink;
	ops->unlink = op_unlink;
	ops->rmdir = op_rmdir;
	ops->rename = op_rename;
	ops->link = op_link;
	ops->opendir = op_opendir;
	ops->readdir = op_readdir;
	ops->readdirplus = op_readdirplus;
	ops->fsyncdir = op_fsyncdir;
	ops->statfs = op_statfs;
	ops->setxattr = op_setxattr;
	ops->getxattr = op_getxattr;
	ops->listxattr = op_listxattr;
	ops->removexattr = op_removexattr;
}
