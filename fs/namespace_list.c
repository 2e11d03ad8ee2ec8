/*
 * Listing a folder.
 *
 * Entries come in order of their hashes, some at a time: first read out of the record store, then
 * handed to the caller, who may want their attributes. The cookie of an entry is its hash; where
 * several share one, only the last has it and the others have the one before, so that going on from
 * any of them repeats rather than skips.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "fs/engine_internal.h"

#define BATCH 64u

struct listed {
	struct dentry d;
	uint64_t cookie;
};

struct batch {
	struct volume *v;
	uint64_t dir, hash;
	struct listed *e; /* grows: a bucket is never split */
	size_t n, cap;
};

static int list_entry(void *arg, const struct dentry_sealed *d)
{
	struct batch *b = arg;

	if (b->n == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : BATCH * 2;
		struct listed *e = realloc(b->e, cap * sizeof(*e));

		if (!e)
			return -ENOMEM;
		b->e = e;
		b->cap = cap;
	}
	struct listed *l = &b->e[b->n];
	int r = dir_open_name(b->v, b->dir, d, l->d.name);
	if (r == -EKEYREVOKED)
		return 0; /* destroyed: it has no name any more */
	if (r)
		return r;
	l->d.child = d->child;
	l->d.link = d->link;
	l->d.type_mode = d->type_mode;
	l->cookie = b->hash - 1;
	b->n++;
	return 0;
}

static int list_bucket(void *arg, const struct rstore_key *key, const void *val, size_t len,
		       uint64_t txn)
{
	struct batch *b = arg;
	size_t before = b->n;
	(void)txn;

	b->hash = bytes_get64be(key->b + key->len - 8);
	int r = dir_bucket_each(val, len, list_entry, b);
	if (r) {
		b->n = before;
		return r;
	}
	if (b->n > before)
		b->e[b->n - 1].cookie = b->hash;
	return b->n >= BATCH;
}

/* Fills the batch with what comes after the cookie. 1 when more may follow, 0 at the end. */
static int fill(struct batch *b, uint64_t cookie)
{
	struct rstore_key from = engine_file_key_at(b->dir, SUB_DENTRY, cookie + 1);
	struct rstore_key to = engine_sub_end(b->dir, SUB_DENTRY);

	b->n = 0;
	int r = rstore_scan(b->v->rs, &from, &to, list_bucket, b);
	return r < 0 ? engine_fault(b->v, r, b->dir, "directory entry", b->hash) : r;
}

static int emit(struct volume *v, const struct listed *l, bool plus, volume_dirent_fn fn, void *arg)
{
	const struct dentry *d = &l->d;
	struct volume_attr attr;
	struct vinode *ino;

	/* An inode that does not open is told by the entry's own getattr, not by ending the list.
	 */
	if (!plus || namespace_get_child(v, d, &ino))
		return fn(arg, d->name, d->child, d->type_mode, l->cookie, NULL);
	inode_attr(ino, &attr);
	int r = fn(arg, d->name, d->child, d->type_mode, l->cookie, &attr);
	if (r == 0)
		ino->n_lookups++;
	inode_unpin(v, ino);
	return r;
}

static int list(struct volume *v, struct batch *b, uint64_t cookie, bool plus, volume_dirent_fn fn,
		void *arg)
{
	bool emitted = false;

	for (;;) {
		int more = fill(b, cookie);

		/* What stands before the damage is handed out; the next call meets it first. */
		if (more < 0 && !b->n)
			return emitted ? 0 : more;
		for (size_t i = 0; i < b->n; i++) {
			if (emit(v, &b->e[i], plus, fn, arg))
				return 0;
			cookie = b->e[i].cookie;
			emitted = true;
		}
		if (more <= 0)
			return 0;
	}
}

int volume_readdir(struct volume *v, uint64_t dir_id, uint64_t cookie, bool plus,
		   volume_dirent_fn fn, void *arg)
{
	struct batch b = {.v = v, .dir = dir_id};
	struct vinode *dir;

	engine_enter(v);
	int r = inode_get(v, dir_id, &dir);
	if (r == 0) {
		r = S_ISDIR(dir->attr.mode) ? list(v, &b, cookie, plus, fn, arg) : -ENOTDIR;
		inode_unpin(v, dir);
	}
	engine_leave(v);
	free(b.e);
	return r;
}
