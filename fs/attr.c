/*
 * Attributes. With a writeback cache the kernel owns size, mtime and ctime of a cached regular
 * file, so given times are taken as they are; atime moves only when it is set (reading changes no
 * record).
 */
#include <errno.h>
#include <sys/stat.h>

#include "fs/engine_internal.h"

int volume_getattr(struct volume *v, uint64_t id, struct volume_attr *ret)
{
	struct vinode *ino;

	engine_enter(v);
	int r = inode_get(v, id, &ino);
	if (r == 0) {
		inode_attr(ino, ret);
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r;
}

static int set_size(struct volume *v, struct vinode *ino, uint64_t size)
{
	if (S_ISDIR(ino->attr.mode))
		return -EISDIR;
	if (!S_ISREG(ino->attr.mode))
		return -EINVAL;
	if (size > VOLUME_SIZE_MAX)
		return -EFBIG;
	int r = data_truncate(v, ino, size);
	if (r == 0)
		inode_mark_dirty(v, ino);
	return r;
}

static int set_mode(struct volume *v, struct vinode *ino, uint32_t mode)
{
	uint32_t old = ino->attr.mode;

	ino->attr.mode = (old & S_IFMT) | (mode & 07777);
	int r = ino->has_xattrs ? acl_chmod(v, ino) : 0;
	if (r)
		ino->attr.mode = old;
	return r;
}

/* Whether there were any. */
static bool kill_set_ids(struct vinode *ino)
{
	uint32_t before = ino->attr.mode;

	if (S_ISDIR(before))
		return false;
	ino->attr.mode &= ~(uint32_t)S_ISUID;
	/* Set-gid without group execution means mandatory locking, not a privilege. */
	if (ino->attr.mode & S_IXGRP)
		ino->attr.mode &= ~(uint32_t)S_ISGID;
	return ino->attr.mode != before;
}

static void set_times(struct vinode *ino, unsigned mask, const struct volume_attr *in)
{
	struct timespec now = engine_now();

	if (mask & VOLUME_SET_ATIME)
		ino->attr.atime = in->atime;
	if (mask & VOLUME_SET_MTIME)
		ino->attr.mtime = in->mtime;
	else if (mask & VOLUME_SET_SIZE)
		ino->attr.mtime = now;
	ino->attr.ctime = mask & VOLUME_SET_CTIME ? in->ctime : now;
}

static bool time_valid(struct timespec t)
{
	return t.tv_nsec >= 0 && t.tv_nsec < 1000000000L;
}

static int setattr_locked(struct volume *v, struct vinode *ino, unsigned mask,
			  const struct volume_attr *in)
{
	int r = 0;

	if (mask & VOLUME_SET_SIZE)
		r = set_size(v, ino, in->size);
	if (r == 0 && (mask & VOLUME_SET_MODE))
		r = set_mode(v, ino, in->mode);
	if (r)
		return r;
	if (mask & VOLUME_SET_UID)
		ino->attr.uid = in->uid;
	if (mask & VOLUME_SET_GID)
		ino->attr.gid = in->gid;
	if (mask & VOLUME_KILL_SUIDGID)
		kill_set_ids(ino);
	set_times(ino, mask, in);
	inode_mark_dirty(v, ino);
	return 0;
}

int volume_setattr(struct volume *v, uint64_t id, unsigned mask, const struct volume_attr *in,
		   struct volume_attr *ret)
{
	struct vinode *ino;

	if (((mask & VOLUME_SET_ATIME) && !time_valid(in->atime)) ||
	    ((mask & VOLUME_SET_MTIME) && !time_valid(in->mtime)) ||
	    ((mask & VOLUME_SET_CTIME) && !time_valid(in->ctime)))
		return -EINVAL;
	engine_enter(v);
	int r = engine_writable(v);
	if (r == 0)
		r = inode_get(v, id, &ino);
	if (r == 0) {
		r = freeze_check(v, id);
		if (r == 0)
			r = setattr_locked(v, ino, mask, in);
		if (r == 0)
			inode_attr(ino, ret);
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r;
}

void volume_kill_set_ids(struct volume *v, uint64_t id)
{
	struct vinode *ino;

	engine_enter(v);
	if (engine_writable(v) == 0 && inode_get(v, id, &ino) == 0) {
		if (freeze_check(v, id) == 0 && kill_set_ids(ino)) {
			ino->attr.ctime = engine_now();
			inode_mark_dirty(v, ino);
		}
		inode_unpin(v, ino);
	}
	engine_leave(v);
}
