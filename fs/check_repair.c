/*
 * Repair: what a check found and can be put right without guessing.
 *
 *   1  buckets of entries that do not open are taken out of their folders: nobody can ever read them again, and while they
 *      stand, each listing of the folder and each new name in it fails
 *   2  inodes that no name leads to get one in /lost+found: file-ID
 *   3  link counts become what the names say
 *
 * Each step is said as it is done. Nothing is touched of a file that reads well: a new name, or a count. What it cannot put right
 * stays as it is, EIO: file records, block maps, blocks and attributes (an access control list that was dropped would open a file to
 * strangers). When a node of the record tree is damaged, records are hidden that may be sound, and nothing is done at all; nor are
 * names given or counts changed while anything that says how files hang together does not open.
 *
 * The history of a folder whose entries are gone has to lead to what may have stood in it, or an order to destroy that folder would
 * miss it: for each such folder and each file that is given a name, a history record.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "fs/check_internal.h"
#include "fs/engine_internal.h"
#include "fs/history.h"
#include "fs/walk.h"

#define LOST_AND_FOUND "lost+found"

struct repair {
	struct volume *v;
	void (*said)(void *arg, const char *text);
	void *arg;
	struct volume_repair *out;
	uint64_t *emptied; /* folders that lost entries; one may stand twice */
	size_t n_emptied;
};

static void say(const struct repair *rp, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct repair *rp, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (rp->said)
		rp->said(rp->arg, text);
}

/* ---- 1: entries that do not open ---- */

/* A medium that could not be read may be read tomorrow: only what is proved wrong goes. */
static bool is_lost_bucket(const struct check *c, size_t i, uint64_t *ret_folder)
{
	enum engine_sub sub;
	uint64_t at;

	return (c->bad_errs[i] == -EBADMSG || c->bad_errs[i] == -EUCLEAN) &&
	       walk_key_parse(&c->bad_keys[i], ret_folder, &sub, &at) && sub == SUB_DENTRY;
}

static int drop_buckets(struct repair *rp, const struct check *c)
{
	uint64_t folder;
	int r = 0;

	rp->emptied = calloc(c->n_bad_keys + 1, sizeof(*rp->emptied));
	if (!rp->emptied)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_bad_keys && r == 0; i++) {
		if (!is_lost_bucket(c, i, &folder))
			continue;
		r = rstore_del(rp->v->rs, &c->bad_keys[i]);
		rp->emptied[rp->n_emptied++] = folder;
		rp->out->n_dropped++;
		say(rp, "folder %llu: entries that do not open are taken out", (unsigned long long)folder);
	}
	return r ? r : engine_commit_records(rp->v);
}

/* ---- 2: what has no name ---- */

static int remember(struct repair *rp, uint64_t id)
{
	int r = 0;

	for (size_t i = 0; i < rp->n_emptied && r == 0; i++) {
		const struct history_gone g = {
			.parent = rp->emptied[i], .child = id, .link = engine_new_link(rp->v)};
		r = history_gone_put(rp->v, &g);
	}
	return r;
}

static int enter(struct repair *rp, struct vinode *found, struct vinode *ino)
{
	char name[32];
	struct dentry d;
	int r;

	snprintf(name, sizeof(name), "file-%llu", (unsigned long long)ino->id);
	r = dir_find(rp->v, found, name, &d);
	if (r != -ENOENT)
		return r ? r : -EEXIST;
	r = dir_add(rp->v, found, name, ino->id, ino->attr.mode & S_IFMT);
	if (r)
		return r;
	if (S_ISDIR(ino->attr.mode)) {
		ino->parent = found->id;
		found->attr.nlink++;
	} else {
		ino->attr.nlink = 1;
	}
	ino->attr.ctime = engine_now();
	inode_mark_dirty(rp->v, ino);
	namespace_touch(rp->v, found);
	return remember(rp, ino->id);
}

static int adopt(struct repair *rp, uint64_t found_id, uint64_t id)
{
	struct vinode *ino, *found;
	int r = engine_ids_ready(rp->v, (unsigned)rp->n_emptied + 1);

	if (r == 0)
		r = inode_get(rp->v, id, &ino);
	if (r)
		return r;
	r = inode_get(rp->v, found_id, &found);
	if (r == 0) {
		r = enter(rp, found, ino);
		inode_unpin(rp->v, found);
	}
	inode_unpin(rp->v, ino);
	if (r)
		return engine_half_done(rp->v, r, "repair");
	rp->out->n_found++;
	say(rp, "file %llu: no name led to it; now /" LOST_AND_FOUND "/file-%llu does", (unsigned long long)id,
	    (unsigned long long)id);
	return 0;
}

static bool nameless(struct check *c, const struct check_inode *ci)
{
	return ci->id != VOLUME_ROOT_ID && !ci->n_names && ci->nlink && !check_is_orphan(c, ci->id);
}

static bool any_nameless(struct check *c)
{
	for (size_t i = 0; i < c->n_inodes; i++)
		if (nameless(c, &c->inodes[i]))
			return true;
	return false;
}

/* Made like any folder, for root alone. Called without the lock. */
static int lost_and_found(struct volume *v, uint64_t *ret)
{
	const struct volume_new in = {.mode = S_IFDIR | 0700};
	struct volume_attr a;
	int r = volume_lookup(v, VOLUME_ROOT_ID, LOST_AND_FOUND, &a);

	if (r == -ENOENT)
		r = volume_make(v, VOLUME_ROOT_ID, LOST_AND_FOUND, &in, &a);
	if (r)
		return r;
	*ret = a.id;
	volume_forget(v, a.id, 1);
	return S_ISDIR(a.mode) ? 0 : -ENOTDIR;
}

/* ---- 3: counts ---- */

static int count(struct repair *rp, const struct check_inode *ci)
{
	bool folder = S_ISDIR(ci->mode);
	uint32_t right = folder ? 2 + ci->n_subfolders : ci->n_names;
	struct vinode *ino;

	if ((!folder && !ci->n_names) || ci->nlink == right)
		return 0;
	int r = inode_get(rp->v, ci->id, &ino);
	if (r)
		return r;
	ino->attr.nlink = right;
	ino->attr.ctime = engine_now();
	inode_mark_dirty(rp->v, ino);
	inode_unpin(rp->v, ino);
	rp->out->n_counts++;
	say(rp, "file %llu: its link count is %u now", (unsigned long long)ci->id, right);
	return 0;
}

/* ---- the whole ---- */

static int diagnose(struct repair *rp, struct check *c)
{
	struct volume_check out = {0};
	struct rstore_check store = {0};

	*c = (struct check){.v = rp->v, .out = &out};
	int r = check_store(c, &store);
	if (r == 0)
		r = check_records(c);
	c->out = NULL;
	if (r == 0 && store.n_bad_nodes)
		r = -EUCLEAN;
	return r;
}

static int repair_entries(struct repair *rp)
{
	CLEANUP_WITH(check_free) struct check c = {0};
	int r = diagnose(rp, &c);

	return r ? r : drop_buckets(rp, &c);
}

/* Counts first: what a name in /lost+found adds to them is added afterwards. */
static int repair_names(struct repair *rp)
{
	CLEANUP_WITH(check_free) struct check c = {0};
	uint64_t found = 0;
	int r;

	engine_enter(rp->v);
	r = diagnose(rp, &c);
	bool blind = c.incomplete;
	for (size_t i = 0; i < c.n_inodes && r == 0 && !blind; i++)
		r = count(rp, &c.inodes[i]);
	bool any = r == 0 && !blind && any_nameless(&c);
	engine_leave(rp->v);
	if (r == 0 && blind)
		say(rp, "records that do not open hide how files hang together: no names are given, no counts changed");
	if (r || !any)
		return r;
	r = lost_and_found(rp->v, &found);
	engine_enter(rp->v);
	for (size_t i = 0; i < c.n_inodes && r == 0; i++)
		if (nameless(&c, &c.inodes[i]))
			r = adopt(rp, found, c.inodes[i].id);
	engine_leave(rp->v);
	return r;
}

int volume_repair(struct volume *v, void (*said)(void *arg, const char *text), void *arg, struct volume_repair *ret)
{
	struct volume_repair out = {0};
	struct repair rp = {.v = v, .said = said, .arg = arg, .out = &out};
	int r = engine_commit(v, NULL);

	if (r)
		return r;
	engine_enter(v);
	r = engine_writable(v);
	if (r == 0)
		r = repair_entries(&rp);
	engine_leave(v);
	if (r == 0)
		r = repair_names(&rp);
	if (r == 0)
		r = engine_commit(v, NULL);
	free(rp.emptied);
	if (r == 0)
		*ret = out;
	return r;
}
