/* History of links, lineage edges, and what an inventory asks the live records. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "fs/history.h"
#include "fs/walk.h"

#define THREE_PART_KEY_LEN 25
#define TWO_PART_KEY_LEN 17

int history_gone_decode(const struct rstore_key *key, const void *val, size_t len,
			struct history_gone *ret)
{
	const uint8_t *p = val;

	if (key->len != THREE_PART_KEY_LEN || key->b[0] != SPACE_HISTORY || len != 1 || p[0] > 1)
		return -EUCLEAN;
	ret->parent = bytes_get64be(key->b + 1);
	ret->child = bytes_get64be(key->b + 9);
	ret->link = bytes_get64be(key->b + 17);
	ret->last = p[0] == 1;
	return 0;
}

int history_gone_put(struct volume *v, const struct history_gone *g)
{
	struct rstore_key key =
	    engine_key(SPACE_HISTORY, (const uint64_t[]){g->parent, g->child, g->link}, 3);
	uint8_t last = g->last;

	return rstore_put(v->rs, &key, &last, 1);
}

int history_edge_decode(const struct rstore_key *key, const void *val, size_t len,
			struct history_edge *ret)
{
	if (key->len != TWO_PART_KEY_LEN || key->b[0] != SPACE_EDGE || len != 1)
		return -EUCLEAN;
	ret->a = bytes_get64be(key->b + 1);
	ret->b = bytes_get64be(key->b + 9);
	ret->kind = *(const uint8_t *)val;
	return 0;
}

struct history_walk {
	struct volume *v;
	uint64_t dir;
	volume_history_fn fn;
	void *arg;
	const uint64_t *ids; /* only links to these; NULL: all */
	size_t n;
};

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int present_entry(void *arg, const struct dentry_sealed *d)
{
	struct history_walk *w = arg;
	char name[VOLUME_NAME_MAX + 1];

	if (w->ids && !bsearch(&d->child, w->ids, w->n, sizeof(*w->ids), compare_ids))
		return 0;
	int r = dir_open_name(w->v, w->dir, d, name);
	if (r == -EKEYREVOKED)
		name[0] = 0;
	else if (r)
		return r;
	return w->fn(w->arg, w->dir, d->link, d->child, true, name);
}

static int present_bucket(void *arg, const struct rstore_key *key, const void *val, size_t len,
			  uint64_t txn)
{
	(void)key;
	(void)txn;
	return dir_bucket_each(val, len, present_entry, arg);
}

static int gone_record(void *arg, const struct rstore_key *key, const void *val, size_t len,
		       uint64_t txn)
{
	struct history_walk *w = arg;
	struct history_gone g;

	(void)txn;
	int r = history_gone_decode(key, val, len, &g);
	return r ? r : w->fn(w->arg, g.parent, g.link, g.child, false, "");
}

int volume_history(struct volume *v, uint64_t dir, volume_history_fn fn, void *arg)
{
	struct history_walk w = {.v = v, .dir = dir, .fn = fn, .arg = arg};
	struct rstore_key from = engine_file_key_at(dir, SUB_DENTRY, 0),
			  to = engine_sub_end(dir, SUB_DENTRY);
	struct rstore_key past = engine_key(SPACE_HISTORY, &dir, 1);
	struct rstore_key past_end = engine_key(SPACE_HISTORY, (const uint64_t[]){dir + 1}, 1);

	engine_enter(v);
	int r = rstore_scan(v->rs, &from, &to, present_bucket, &w);
	if (r == 0)
		r = rstore_scan(v->rs, &past, &past_end, gone_record, &w);
	if (r < 0)
		r = engine_fault(v, r, dir, "history", 0);
	engine_leave(v);
	return r;
}

struct edge_walk {
	int (*fn)(void *arg, uint64_t other, uint8_t kind);
	void *arg;
};

static int edge_record(void *arg, const struct rstore_key *key, const void *val, size_t len,
		       uint64_t txn)
{
	struct edge_walk *w = arg;
	struct history_edge e;

	(void)txn;
	int r = history_edge_decode(key, val, len, &e);
	return r ? r : w->fn(w->arg, e.b, e.kind);
}

int volume_edges(struct volume *v, uint64_t id, int (*fn)(void *arg, uint64_t other, uint8_t kind),
		 void *arg)
{
	struct edge_walk w = {fn, arg};
	struct rstore_key from = engine_key(SPACE_EDGE, &id, 1);
	struct rstore_key to = engine_key(SPACE_EDGE, (const uint64_t[]){id + 1}, 1);

	engine_enter(v);
	int r = rstore_scan(v->rs, &from, &to, edge_record, &w);
	if (r < 0)
		r = engine_fault(v, r, id, "lineage", 0);
	engine_leave(v);
	return r;
}

int volume_add_edge(struct volume *v, uint64_t a, uint64_t b, uint8_t kind)
{
	engine_enter(v);
	int r = engine_room(v);
	if (r == 0)
		r = freeze_check(v, a);
	if (r == 0)
		r = freeze_check(v, b);
	if (r == 0)
		r = engine_add_edge(v, a, b, kind);
	engine_leave(v);
	return r;
}

int volume_peek(struct volume *v, uint64_t id, struct volume_attr *ret)
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

static int link_entry(void *arg, uint64_t parent, const struct dentry_sealed *d)
{
	struct history_walk *w = arg;

	w->dir = parent;
	return present_entry(w, d);
}

int volume_links_of(struct volume *v, const uint64_t *ids, size_t n, volume_history_fn fn,
		    void *arg)
{
	CLEANUP_FREE uint64_t *sorted = NULL;

	if (!n)
		return 0;
	sorted = calloc(n, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		sorted[i] = ids[i];
	qsort(sorted, n, sizeof(*sorted), compare_ids);
	struct history_walk w = {.v = v, .fn = fn, .arg = arg, .ids = sorted, .n = n};

	engine_enter(v);
	int r = walk_dentries(v, true, link_entry, &w);
	engine_leave(v);
	return r;
}

/* The records of one id into st. The lock is held. */
static int digest_one(struct volume *v, uint64_t id, struct kdf_hash_state *st, uint64_t *io_bytes)
{
	struct rstore_key from = engine_file_key(id, SUB_INODE), to = engine_file_end(id);
	uint64_t n_records = 0, sealed = 0;
	struct vinode *ino;
	int r = 0;

	/* Hashing commits what is pending: through the engine, so that it is whole. */
	if (rstore_dirty(v->rs))
		r = engine_writable(v);
	if (r == 0 && rstore_dirty(v->rs))
		r = engine_commit_records(v);
	if (r == 0)
		r = rstore_sealed_hash(v->rs, &from, &to, st, &n_records, &sealed);
	if (r)
		return engine_fault(v, r, id, "sealed records", 0);
	if (n_records && inode_get(v, id, &ino) == 0) {
		if (S_ISREG(ino->attr.mode))
			*io_bytes += ino->attr.size;
		inode_unpin(v, ino);
	}
	return 0;
}

int volume_sealed_digest(struct volume *v, const uint64_t *ids, size_t n, uint8_t ret[32],
			 uint64_t *ret_bytes)
{
	struct kdf_hash_state st;
	uint64_t bytes = 0;
	int r = engine_commit(v, NULL);

	/* A read-only volume has nothing to publish: what stands is what is hashed. */
	if (r && r != -EROFS)
		return r;
	kdf_hash_init(&st);
	for (size_t i = 0; i < n; i++) {
		if (i && ids[i] <= ids[i - 1])
			return -EINVAL;
		engine_enter(v);
		r = digest_one(v, ids[i], &st, &bytes);
		engine_leave(v);
		if (r)
			return r;
	}
	kdf_hash_final(&st, ret);
	*ret_bytes = bytes;
	return 0;
}
