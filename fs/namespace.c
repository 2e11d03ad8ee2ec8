/*
 * The namespace: making, linking, finding and removing names. Renames and listings have files of
 * their own.
 *
 * Every operation looks at all it needs first and changes records only then, so that it fails
 * whole; what fails after the first change makes the volume read-only (engine_half_done), because a
 * half must never become durable.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "fs/engine_internal.h"

#define SYMLINK_MAX_LEN 4095u

/* ---- shared by the namespace's files ---- */

int namespace_check_name(const char *name)
{
	size_t len = strlen(name);

	if (len > VOLUME_NAME_MAX)
		return -ENAMETOOLONG;
	if (!len || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	return 0;
}

int namespace_get_dir(struct volume *v, uint64_t id, struct vinode **ret)
{
	struct vinode *dir;
	int r = inode_get(v, id, &dir);

	if (r)
		return r;
	if (!S_ISDIR(dir->attr.mode))
		r = -ENOTDIR;
	else if (dir->orphan)
		r = -ENOENT;
	if (r)
		inode_unpin(v, dir);
	else
		*ret = dir;
	return r;
}

int namespace_get_dir_to_change(struct volume *v, uint64_t id, struct vinode **ret)
{
	char order[KEYRING_ORDER_REF_MAX + 1];
	int r = namespace_get_dir(v, id, ret);

	if (r)
		return r;
	r = freeze_check(v, id);
	if (r == 0 && keyring_gone(v->kr, KEYRING_LIVE, id, order))
		r = engine_fault(v, -EKEYREVOKED, id, "folder", 0);
	if (r)
		inode_unpin(v, STEAL_PTR(*ret));
	return r;
}

int namespace_get_child(struct volume *v, const struct dentry *d, struct vinode **ret)
{
	int r = inode_get(v, d->child, ret);

	/* The entry proves that there is an inode: its absence is damage. */
	if (r == -ENOENT)
		r = engine_fault(v, -EUCLEAN, d->child, "inode record", 0);
	if (r == 0 && ((*ret)->attr.mode & S_IFMT) != d->type_mode) {
		inode_unpin(v, *ret);
		r = engine_fault(v, -EUCLEAN, d->child, "directory entry", 0);
	}
	return r;
}

void namespace_touch(struct volume *v, struct vinode *dir)
{
	dir->attr.mtime = dir->attr.ctime = engine_now();
	inode_mark_dirty(v, dir);
}

int namespace_drop_link(struct volume *v, struct vinode *ino)
{
	ino->attr.nlink = S_ISDIR(ino->attr.mode) ? 0 : ino->attr.nlink - 1;
	ino->attr.ctime = engine_now();
	ino->names_epoch = v->epoch;
	inode_mark_dirty(v, ino);
	return ino->attr.nlink ? 0 : inode_drop_links(v, ino);
}

/* ---- lookup ---- */

/* The reference that the caller now holds. */
static void refer(struct vinode *ino, struct volume_attr *ret)
{
	ino->n_lookups++;
	inode_attr(ino, ret);
}

static int lookup_in(struct volume *v, struct vinode *dir, const char *name, struct vinode **ret)
{
	struct dentry d;

	if (strcmp(name, "..") == 0)
		return inode_get(v, dir->parent, ret);
	int r = namespace_check_name(name);
	if (r == 0)
		r = dir_find(v, dir, name, &d);
	if (r)
		return r == -EINVAL ? -ENOENT : r;
	return namespace_get_child(v, &d, ret);
}

/* By number, of any type: a file handle asks so. What has no link left is gone for whoever comes that late. */
static int lookup_number(struct volume *v, uint64_t id, struct vinode **ret)
{
	int r = inode_get(v, id, ret);

	if (r == 0 && (*ret)->orphan) {
		inode_unpin(v, *ret);
		r = -ENOENT;
	}
	return r;
}

static int lookup_name(struct volume *v, uint64_t parent, const char *name, struct vinode **ret)
{
	struct vinode *dir;
	int r = namespace_get_dir(v, parent, &dir);

	if (r)
		return r;
	r = lookup_in(v, dir, name, ret);
	inode_unpin(v, dir);
	return r;
}

int volume_lookup(struct volume *v, uint64_t parent, const char *name, struct volume_attr *ret)
{
	struct vinode *ino;

	engine_enter(v);
	int r = strcmp(name, ".") == 0 ? lookup_number(v, parent, &ino)
				       : lookup_name(v, parent, name, &ino);
	if (r == 0) {
		refer(ino, ret);
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r;
}

void volume_forget(struct volume *v, uint64_t id, uint64_t n)
{
	engine_enter(v);
	inode_forget(v, id, n);
	engine_leave(v);
}

int volume_parent(struct volume *v, uint64_t dir_id, uint64_t *ret)
{
	struct vinode *dir;

	engine_enter(v);
	int r = inode_get(v, dir_id, &dir);
	if (r == 0) {
		if (S_ISDIR(dir->attr.mode))
			*ret = dir->parent;
		else
			r = -ENOTDIR;
		inode_unpin(v, dir);
	}
	engine_leave(v);
	return r;
}

int volume_readlink(struct volume *v, uint64_t id, struct bytes_w *out)
{
	struct vinode *ino;

	engine_enter(v);
	int r = inode_get(v, id, &ino);
	if (r == 0) {
		if (S_ISLNK(ino->attr.mode)) {
			bytes_w_raw(out, ino->inline_data, ino->inline_len);
			r = out->err;
		} else {
			r = -EINVAL;
		}
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r;
}

/* ---- make ---- */

static int set_target(struct vinode *ino, const char *target)
{
	size_t len = target ? strlen(target) : 0;

	if (!len)
		return -ENOENT;
	if (len > SYMLINK_MAX_LEN)
		return -ENAMETOOLONG;
	ino->inline_data = malloc(len);
	if (!ino->inline_data)
		return -ENOMEM;
	memcpy(ino->inline_data, target, len);
	ino->inline_len = ino->attr.size = len;
	return 0;
}

/* The new inode with all that its type and its folder (may be NULL) give it; not named yet. Pinned.
 */
static int make_inode(struct volume *v, struct vinode *dir, const struct volume_new *in,
		      struct vinode **ret)
{
	uint32_t mode = in->mode & (S_IFMT | 07777), gid = in->gid;
	struct vinode *ino;

	if (dir && (dir->attr.mode & S_ISGID)) {
		gid = dir->attr.gid;
		if (S_ISDIR(mode))
			mode |= S_ISGID;
	}
	int r = inode_new(v, mode, in->uid, gid, in->rdev, &ino);
	if (r)
		return r;
	/* First: what an ACL stores takes the inode's record along. */
	if (S_ISDIR(mode))
		ino->parent = dir->id;
	if (S_ISLNK(mode))
		r = set_target(ino, in->target);
	else if (dir)
		r = acl_inherit(v, dir, ino, in->umask);
	else
		ino->attr.mode &= ~(in->umask & 0777u);
	if (r == 0 && S_ISDIR(mode))
		r = dir_init(v, ino);
	if (r)
		inode_abandon(v, ino);
	else
		*ret = ino;
	return r;
}

static bool type_can_be_made(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return true;
	default:
		return false;
	}
}

static int make_named(struct volume *v, struct vinode *dir, const char *name,
		      const struct volume_new *in, struct volume_attr *ret)
{
	struct dentry d;
	struct vinode *ino;
	int r = dir_find(v, dir, name, &d);

	if (r != -ENOENT)
		return r ? r : -EEXIST;
	r = make_inode(v, dir, in, &ino);
	if (r)
		return r;
	r = dir_add(v, dir, name, ino->id, ino->attr.mode & S_IFMT);
	if (r) {
		inode_abandon(v, ino);
		return r;
	}
	if (S_ISDIR(ino->attr.mode))
		dir->attr.nlink++;
	namespace_touch(v, dir);
	refer(ino, ret);
	inode_unpin(v, ino);
	return 0;
}

/* O_TMPFILE: an orphan from the start, which a link may still name. dir may be NULL. */
static int make_unnamed(struct volume *v, struct vinode *dir, const struct volume_new *in,
			struct volume_attr *ret)
{
	struct vinode *ino;

	if (!S_ISREG(in->mode))
		return -EINVAL;
	int r = make_inode(v, dir, in, &ino);
	if (r)
		return r;
	ino->attr.nlink = 0;
	r = inode_drop_links(v, ino);
	if (r) {
		inode_abandon(v, ino);
		return r;
	}
	refer(ino, ret);
	inode_unpin(v, ino);
	return 0;
}

int volume_make(struct volume *v, uint64_t parent, const char *name, const struct volume_new *in,
		struct volume_attr *ret)
{
	struct vinode *dir = NULL;
	int r = name ? namespace_check_name(name) : 0;

	if (r == 0 && (!type_can_be_made(in->mode) || (name && !parent)))
		r = -EINVAL;
	if (r)
		return r;
	engine_enter(v);
	r = engine_room(v);
	if (r == 0 && in->target)
		r = usage_room(v, strlen(in->target));
	if (r == 0)
		r = engine_ids_ready(v, 2);
	if (r == 0 && parent)
		r = namespace_get_dir_to_change(v, parent, &dir);
	if (r == 0)
		r = name ? make_named(v, dir, name, in, ret) : make_unnamed(v, dir, in, ret);
	if (dir)
		inode_unpin(v, dir);
	engine_leave(v);
	return r;
}

/* ---- link and unlink ---- */

static int link_locked(struct volume *v, struct vinode *ino, struct vinode *dir, const char *name)
{
	struct rstore_key orphan = engine_key(SPACE_ORPHAN, &ino->id, 1);
	struct dentry d;

	if (S_ISDIR(ino->attr.mode))
		return -EPERM;
	if (ino->attr.nlink == UINT32_MAX)
		return -EMLINK;
	int r = dir_find(v, dir, name, &d);
	if (r != -ENOENT)
		return r ? r : -EEXIST;
	r = dir_add(v, dir, name, ino->id, ino->attr.mode & S_IFMT);
	if (r)
		return r;
	if (ino->orphan) {
		r = rstore_del(v->rs, &orphan);
		if (r)
			return engine_half_done(v, r, "link");
		ino->orphan = false;
	}
	ino->attr.nlink++;
	ino->names_epoch = v->epoch;
	ino->attr.ctime = engine_now();
	inode_mark_dirty(v, ino);
	namespace_touch(v, dir);
	return 0;
}

int volume_link(struct volume *v, uint64_t id, uint64_t parent, const char *name,
		struct volume_attr *ret)
{
	struct vinode *ino, *dir;
	int r = namespace_check_name(name);

	if (r)
		return r;
	engine_enter(v);
	r = engine_room(v);
	if (r == 0)
		r = engine_ids_ready(v, 1);
	if (r == 0)
		r = inode_get(v, id, &ino);
	if (r) {
		engine_leave(v);
		return r;
	}
	r = freeze_check_names(v, id);
	if (r == 0)
		r = namespace_get_dir_to_change(v, parent, &dir);
	if (r == 0) {
		r = link_locked(v, ino, dir, name);
		if (r == 0)
			refer(ino, ret);
		inode_unpin(v, dir);
	}
	inode_unpin(v, ino);
	engine_leave(v);
	return r;
}

static int remove_entry(struct volume *v, struct vinode *dir, const struct dentry *d,
			struct vinode *ino)
{
	bool folder = S_ISDIR(ino->attr.mode);
	int r = dir_remove(v, dir, d, folder || ino->attr.nlink == 1);

	if (r == 0)
		r = namespace_drop_link(v, ino);
	if (r)
		return engine_half_done(v, r, "unlink");
	if (folder)
		dir->attr.nlink--;
	namespace_touch(v, dir);
	return 0;
}

/* Whether the inode may be removed by the call that wants a folder (or not). */
static int may_remove(struct volume *v, struct vinode *ino, bool want_folder)
{
	if (!S_ISDIR(ino->attr.mode))
		return want_folder ? -ENOTDIR : 0;
	if (!want_folder)
		return -EISDIR;
	int r = dir_is_empty(v, ino);
	return r < 0 ? r : r ? 0 : -ENOTEMPTY;
}

static int remove_name(struct volume *v, uint64_t parent, const char *name, bool want_folder)
{
	struct vinode *dir, *ino;
	struct dentry d;
	int r = namespace_check_name(name);

	if (r)
		return r;
	engine_enter(v);
	r = engine_writable(v);
	if (r == 0)
		r = namespace_get_dir_to_change(v, parent, &dir);
	if (r == 0) {
		r = dir_find(v, dir, name, &d);
		if (r == 0)
			r = namespace_get_child(v, &d, &ino);
		if (r == 0) {
			r = may_remove(v, ino, want_folder);
			if (r == 0)
				r = freeze_check_names(v, ino->id);
			if (r == 0)
				r = remove_entry(v, dir, &d, ino);
			inode_unpin(v, ino);
		}
		inode_unpin(v, dir);
	}
	engine_leave(v);
	return r;
}

int volume_unlink(struct volume *v, uint64_t parent, const char *name)
{
	return remove_name(v, parent, name, false);
}

int volume_rmdir(struct volume *v, uint64_t parent, const char *name)
{
	return remove_name(v, parent, name, true);
}
