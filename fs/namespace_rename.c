/*
 * Renames.
 *
 * A moved entry is a new link; the old one goes into the history. A file renamed over another
 * becomes its heir: a lineage edge joins the two ids (when the old one goes), and the heir's data
 * is published with the rename, never after it, so that a crash shows the old content or the new.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fs/engine_internal.h"

/* One end of a rename: the folder, the entry, and what it leads to (NULL: nothing there). */
struct end {
	struct vinode *dir;
	const char *name;
	struct dentry d;
	struct vinode *ino;
};

static int end_find(struct volume *v, struct end *e)
{
	int r = dir_find(v, e->dir, e->name, &e->d);

	if (r == -ENOENT)
		return 0;
	return r ? r : namespace_get_child(v, &e->d, &e->ino);
}

static bool is_dir(const struct vinode *ino)
{
	return S_ISDIR(ino->attr.mode);
}

/* -EINVAL when the folder moved would come to stand below itself. */
static int check_not_below(struct volume *v, const struct vinode *moved, const struct vinode *to)
{
	uint64_t id = to->id;

	while (id != VOLUME_ROOT_ID) {
		struct vinode *dir;

		if (id == moved->id)
			return -EINVAL;
		int r = inode_get(v, id, &dir);
		if (r)
			return r;
		id = dir->parent;
		inode_unpin(v, dir);
	}
	return moved->id == VOLUME_ROOT_ID ? -EINVAL : 0;
}

/* What may stand in for what. */
static int check_types(struct volume *v, const struct end *from, const struct end *to)
{
	if (!is_dir(from->ino))
		return is_dir(to->ino) ? -EISDIR : 0;
	if (!is_dir(to->ino))
		return -ENOTDIR;
	int r = dir_is_empty(v, to->ino);
	return r < 0 ? r : r ? 0 : -ENOTEMPTY;
}

static int check(struct volume *v, const struct end *from, const struct end *to, unsigned flags)
{
	int r = 0;

	if (!from->ino)
		return -ENOENT;
	if (to->ino && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!to->ino && (flags & RENAME_EXCHANGE))
		return -ENOENT;
	if (from->dir != to->dir && is_dir(from->ino))
		r = check_not_below(v, from->ino, to->dir);
	if (r == 0 && (flags & RENAME_EXCHANGE) && from->dir != to->dir && is_dir(to->ino))
		r = check_not_below(v, to->ino, from->dir);
	if (r == 0 && to->ino && to->ino != from->ino && !(flags & RENAME_EXCHANGE))
		r = check_types(v, from, to);
	return r;
}

/* ino, found at from, now stands in to. */
static void arrived(struct volume *v, struct vinode *ino, struct vinode *from, struct vinode *to)
{
	ino->attr.ctime = engine_now();
	ino->names_epoch = v->epoch;
	if (is_dir(ino)) {
		v->depend_epoch = v->epoch; /* files below it stand elsewhere */
		from->attr.nlink--;
		to->attr.nlink++;
		ino->parent = to->id;
	}
	inode_mark_dirty(v, ino);
}

/*
 * It has content that no record holds yet, in blocks or in the inode. The latter would come with the
 * name by itself, but may have grown into blocks by the time the name is committed.
 */
static bool unpublished(const struct vinode *ino)
{
	return data_dirty(ino) || (S_ISREG(ino->attr.mode) && ino->record_dirty);
}

static int inherit_lineage(struct volume *v, struct vinode *heir, const struct vinode *old)
{
	if (!S_ISREG(heir->attr.mode))
		return 0;
	heir->publish_first = unpublished(heir);
	if (!S_ISREG(old->attr.mode) || old->attr.nlink != 1)
		return 0;
	return engine_add_edge(v, old->id, heir->id, VOLUME_EDGE_SAVED_OVER);
}

/* The name at to gives way. */
static int replace(struct volume *v, struct end *from, struct end *to)
{
	bool folder = is_dir(to->ino);
	int r = inherit_lineage(v, from->ino, to->ino);

	if (r == 0)
		r = dir_remove(v, to->dir, &to->d, folder || to->ino->attr.nlink == 1);
	if (r == 0)
		r = namespace_drop_link(v, to->ino);
	if (r == 0 && folder)
		to->dir->attr.nlink--;
	return r;
}

static int move(struct volume *v, struct end *from, struct end *to)
{
	int r = dir_remove(v, from->dir, &from->d, false);

	if (r == 0 && to->ino)
		r = replace(v, from, to);
	if (r == 0)
		r = dir_add(v, to->dir, to->name, from->ino->id, from->d.type_mode);
	if (r == 0)
		arrived(v, from->ino, from->dir, to->dir);
	return r;
}

static int exchange(struct volume *v, struct end *a, struct end *b)
{
	int r = dir_remove(v, a->dir, &a->d, false);

	/* Each takes the place of content that is durable. */
	a->ino->publish_first |= unpublished(a->ino);
	b->ino->publish_first |= unpublished(b->ino);
	if (r == 0)
		r = dir_remove(v, b->dir, &b->d, false);
	if (r == 0)
		r = dir_add(v, a->dir, a->name, b->ino->id, b->d.type_mode);
	if (r == 0)
		r = dir_add(v, b->dir, b->name, a->ino->id, a->d.type_mode);
	if (r)
		return r;
	arrived(v, a->ino, a->dir, b->dir);
	arrived(v, b->ino, b->dir, a->dir);
	return 0;
}

static int rename_found(struct volume *v, struct end *from, struct end *to, unsigned flags)
{
	int r = check(v, from, to, flags);

	if (r)
		return r;
	if (from->ino == to->ino)
		return 0; /* two names of one file: POSIX leaves both */
	r = freeze_check_names(v, from->ino->id);
	if (r == 0 && to->ino)
		r = freeze_check_names(v, to->ino->id);
	if (r)
		return r;
	r = (flags & RENAME_EXCHANGE) ? exchange(v, from, to) : move(v, from, to);
	if (r)
		return engine_half_done(v, r, "rename");
	namespace_touch(v, from->dir);
	namespace_touch(v, to->dir);
	return 0;
}

static int rename_locked(struct volume *v, struct end *from, struct end *to, unsigned flags)
{
	int r = end_find(v, from);

	if (r == 0)
		r = end_find(v, to);
	if (r == 0)
		r = rename_found(v, from, to, flags);
	if (from->ino)
		inode_unpin(v, from->ino);
	if (to->ino)
		inode_unpin(v, to->ino);
	return r;
}

static int check_arguments(const char *name, const char *new_name, unsigned flags)
{
	int r = namespace_check_name(name);

	if (r == 0)
		r = namespace_check_name(new_name);
	if (r == 0 && ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) ||
		       flags == (RENAME_NOREPLACE | RENAME_EXCHANGE)))
		r = -EINVAL;
	return r;
}

int volume_rename(struct volume *v, uint64_t parent, const char *name, uint64_t new_parent,
		  const char *new_name, unsigned flags)
{
	struct end from = {.name = name}, to = {.name = new_name};
	int r = check_arguments(name, new_name, flags);

	if (r)
		return r;
	engine_enter(v);
	r = engine_writable(v);
	if (r == 0)
		r = engine_ids_ready(v, 2);
	if (r == 0)
		r = namespace_get_dir_to_change(v, parent, &from.dir);
	if (r == 0)
		r = namespace_get_dir_to_change(v, new_parent, &to.dir);
	if (r == 0)
		r = rename_locked(v, &from, &to, flags);
	if (to.dir)
		inode_unpin(v, to.dir);
	if (from.dir)
		inode_unpin(v, from.dir);
	engine_leave(v);
	return r;
}
