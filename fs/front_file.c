/*
 * FUSE handlers on open files.
 *
 * There is no flush handler: libfuse answers ENOSYS once and the kernel then closes files without asking; it writes dirty
 * pages back before that either way.
 */
#include "fs/front_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

static bool writes(const struct fuse_file_info *fi)
{
	return (fi->flags & O_ACCMODE) != O_RDONLY;
}

static void open_flags(struct fuse_file_info *fi)
{
	/* The kernel makes every change to the file, so its pages stay valid across opens. */
	fi->keep_cache = 1;
	fi->fh = writes(fi);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct volume *v = front_volume(req);
	int err = volume_open_file(v, ino, writes(fi));

	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	open_flags(fi);
	if (fuse_reply_open(req, fi) != 0)
		volume_release_file(v, ino, writes(fi));
}

/* A file without a name (O_TMPFILE) as well: see fs/front_tmpfile.c. */
static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct volume *v = front_volume(req);
	struct volume_new in = {
		.mode = S_IFREG | (mode & 07777),
		.umask = ctx->umask,
		.uid = ctx->uid,
		.gid = ctx->gid,
	};
	struct volume_attr a;
	struct fuse_entry_param e;
	const char *named = strcmp(name, FRONT_NO_NAME) != 0 ? name : NULL;
	int err = volume_make(v, parent, named, &in, &a);

	if (err == 0) {
		err = volume_open_file(v, a.id, writes(fi));
		if (err)
			volume_forget(v, a.id, 1);
	}
	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	open_flags(fi);
	front_entry(&a, &e);
	if (fuse_reply_create(req, &e, fi) != 0) {
		volume_release_file(v, a.id, writes(fi));
		volume_forget(v, a.id, 1);
	}
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	volume_release_file(front_volume(req), ino, fi->fh != 0);
	fuse_reply_err(req, 0);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	char *buf = front_buffer(size);
	(void)fi;

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	ssize_t n = volume_read(front_volume(req), ino, buf, size, (uint64_t)off);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	/* Written-back pages carry the kernel's own times; a direct write leaves them to us. */
	bool kernel_times = fi->writepage;

	if (front_device_write_kills(req, fi))
		volume_kill_set_ids(front_volume(req), ino);
	ssize_t n = volume_write(front_volume(req), ino, buf, size, (uint64_t)off, kernel_times);

	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	front_sync(req, ino);
}

/* What changes content otherwise than by a write: the kernel leaves it to us to look who does it. */
static void kill_set_ids(fuse_req_t req, fuse_ino_t ino)
{
	struct volume_attr a;

	if (volume_getattr(front_volume(req), ino, &a) == 0 && (a.mode & (S_ISUID | S_ISGID)) &&
	    front_device_lacks_fsetid(req))
		volume_kill_set_ids(front_volume(req), ino);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
			 struct fuse_file_info *fi)
{
	(void)fi;
	kill_set_ids(req, ino);
	fuse_reply_err(req, -volume_fallocate(front_volume(req), ino, mode, (uint64_t)off,
					      (uint64_t)len));
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	(void)fi;
	front_seek(req, ino, off, whence);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t src, off_t src_off,
			       struct fuse_file_info *src_fi, fuse_ino_t dst, off_t dst_off,
			       struct fuse_file_info *dst_fi, size_t len, int flags)
{
	(void)src_fi;
	(void)dst_fi;
	if (flags) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	kill_set_ids(req, dst);
	ssize_t n = volume_copy(front_volume(req), src, (uint64_t)src_off, dst, (uint64_t)dst_off,
				len);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

void front_file_ops(struct fuse_lowlevel_ops *ops)
{
	ops->open = op_open;
	ops->create = op_create;
	ops->release = op_release;
	ops->read = op_read;
	ops->write = op_write;
	ops->fsync = op_fsync;
	ops->fallocate = op_fallocate;
	ops->lseek = op_lseek;
	ops->copy_file_range = op_copy_file_range;
}
