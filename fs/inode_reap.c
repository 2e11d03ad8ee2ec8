/*
 * The end of an inode: from the last link to the last byte.
 *
 *   has links -> orphan           no link, still referred to; orphan record
 *             -> gone             records deleted, object on the dead list
 *             -> object unlinked  when the commit is durable and no snapshot needs it
 *
 * An orphan record alone says that everything of the id may go, whatever its other records say; so
 * reclaiming after a crash opens none of them. Large files go in slices, so that no call holds the
 * lock for long: the orphan record goes with the last.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "fs/engine_internal.h"

#define SLICE_RECORDS 1024u /* map records deleted at a time: 256 MiB of file */
#define DEAD_BATCH 256u

struct key_list {
	struct rstore_key *keys;
	size_t n, max;
};

static int collect_key(void *arg, const struct rstore_key *key, const void *val, size_t len,
		       uint64_t txn)
{
	struct key_list *l = arg;
	(void)val;
	(void)len;
	(void)txn;

	l->keys[l->n++] = *key;
	return l->n == l->max;
}

int inode_del_range(struct volume *v, const struct rstore_key *from, const struct rstore_key *to,
		    size_t max, size_t *ret_n)
{
	CLEANUP_FREE struct rstore_key *keys = calloc(max, sizeof(*keys));
	struct key_list l = {.keys = keys, .max = max};

	if (!keys)
		return -ENOMEM;
	int r = rstore_scan(v->rs, from, to, collect_key, &l);
	if (r < 0)
		return r;
	for (size_t i = 0; i < l.n; i++) {
		r = rstore_del(v->rs, &keys[i]);
		if (r)
			return r;
	}
	*ret_n = l.n;
	return 0;
}

static int put_u64(struct volume *v, enum engine_space space, uint64_t id, uint64_t val)
{
	struct rstore_key key = engine_key(space, &id, 1);
	uint8_t enc[8];

	bytes_put64(enc, val);
	return rstore_put(v->rs, &key, enc, sizeof(enc));
}

/* What the id has besides maps, and its orphan record; used: what its record says it holds, where that is known. */
static int drop_records(struct volume *v, uint64_t id, bool has_object, const uint64_t *used)
{
	uint64_t bytes = 0;
	bool known = used || usage_of_record(v, id, &bytes) == 0;
	struct rstore_key inode = engine_file_key(id, SUB_INODE);
	struct rstore_key xattr = engine_file_key(id, SUB_XATTR);
	struct rstore_key orphan = engine_key(SPACE_ORPHAN, &id, 1);
	int r = rstore_del(v->rs, &inode);

	if (r == 0)
		r = rstore_del(v->rs, &xattr);
	if (r == 0 && has_object)
		r = put_u64(v, SPACE_DEAD_OBJECT, id, rstore_next_txn(v->rs));
	if (r == 0)
		r = rstore_del(v->rs, &orphan);
	if (r)
		return r;
	v->n_inodes--;
	if (known)
		usage_dropped(v, id, used ? *used : bytes);
	else
		usage_unknown(v);
	if (has_object)
		v->dead_waiting = true;
	return 0;
}

/* One slice. 0 with *ret_more when another is needed. */
static int drop_slice(struct volume *v, uint64_t id, bool has_object, const uint64_t *used, bool *ret_more)
{
	struct rstore_key from = engine_file_key(id, SUB_MAP);
	struct rstore_key to = engine_sub_end(id, SUB_MAP);
	size_t n = 0;
	int r = has_object ? inode_del_range(v, &from, &to, SLICE_RECORDS, &n) : 0;

	*ret_more = n == SLICE_RECORDS;
	if (r == 0 && !*ret_more)
		r = drop_records(v, id, has_object, used);
	return engine_fault(v, r, id, "orphan", 0);
}

/* The last hold on an orphan is gone. What cannot be finished here is found by its orphan record
 * later. */
static void reap(struct volume *v, struct vinode *ino)
{
	bool has_object = inode_in_blocks(ino), more = false;
	uint64_t id = ino->id, used = ino->used_record;

	usage_forget(v, ino);
	inode_evict(v, ino);
	if (v->read_only)
		return;
	int r = drop_slice(v, id, has_object, &used, &more);
	if (r == 0 && more)
		v->orphans_waiting = true;
}

void inode_settle(struct volume *v, struct vinode *ino)
{
	if (ino->n_pins || ino->n_open)
		return;
	if (ino->n_lookups && (ino->destroyed || ino->orphan))
		return;
	if (ino->destroyed)
		inode_evict(v, ino);
	else if (ino->orphan)
		reap(v, ino);
	else if (!ino->on_dirty)
		inode_retire(v, ino);
}

int inode_drop_links(struct volume *v, struct vinode *ino)
{
	int r = put_u64(v, SPACE_ORPHAN, ino->id, 0);

	if (r)
		return r;
	ino->orphan = true;
	inode_mark_dirty(v, ino);
	return 0;
}

void inode_abandon(struct volume *v, struct vinode *ino)
{
	struct rstore_key inode = engine_file_key(ino->id, SUB_INODE);
	struct rstore_key xattr = engine_file_key(ino->id, SUB_XATTR);
	struct rstore_key lookup = engine_key(SPACE_LOOKUP, &ino->id, 1);

	/* Failing leaves unreachable records, which check finds: the operation fails with an error
	 * of its own. */
	(void)rstore_del(v->rs, &inode);
	(void)rstore_del(v->rs, &xattr);
	(void)rstore_del(v->rs, &lookup);
	v->n_inodes--;
	usage_forget(v, ino);
	usage_dropped(v, ino->id, ino->used_record);
	inode_evict(v, ino);
}

/* ---- orphans of an earlier mount, and large ones ---- */

struct orphan_list {
	struct volume *v;
	uint64_t *ids;
	size_t n, max;
};

static int collect_orphan(void *arg, const struct rstore_key *key, const void *val, size_t len,
			  uint64_t txn)
{
	struct orphan_list *l = arg;
	(void)val;
	(void)len;
	(void)txn;

	if (key->len != 9)
		return -EUCLEAN;
	uint64_t id = bytes_get64be(key->b + 1);
	if (!inode_peek(l->v, id)) /* in memory: its holder ends it */
		l->ids[l->n++] = id;
	return l->n == l->max;
}

int inode_reclaim(struct volume *v, size_t max)
{
	CLEANUP_FREE uint64_t *ids = calloc(max, sizeof(*ids));
	struct orphan_list l = {.v = v, .ids = ids, .max = max};
	struct rstore_key from = engine_key(SPACE_ORPHAN, NULL, 0);
	struct rstore_key to = engine_key(SPACE_ORPHAN + 1, NULL, 0);
	size_t n_done = 0;
	bool more = false;

	v->orphans_waiting = false;
	if (!ids)
		return -ENOMEM;
	int r = rstore_scan(v->rs, &from, &to, collect_orphan, &l);
	if (r < 0)
		return engine_fault(v, r, 0, "orphan", 0);
	for (size_t i = 0; i < l.n; i++) {
		/* One that does not open must not keep the others. */
		if (drop_slice(v, ids[i], true, NULL, &more) == 0)
			n_done++;
		v->orphans_waiting |= more;
	}
	if (n_done && l.n == max)
		v->orphans_waiting = true;
	return 0;
}

/* ---- dead objects ---- */

struct dead_list {
	uint64_t ids[DEAD_BATCH];
	size_t n;
	uint64_t durable;     /* what died later may still be needed after a crash */
	uint64_t oldest_snap; /* what died later is in an open snapshot */
	bool young;           /* some wait for the next commit only */
};

static int collect_dead(void *arg, const struct rstore_key *key, const void *val, size_t len,
			uint64_t txn)
{
	struct dead_list *l = arg;
	(void)val;
	(void)len;

	if (key->len != 9)
		return -EUCLEAN;
	if (txn > l->durable)
		l->young = true;
	else if (txn <= l->oldest_snap)
		l->ids[l->n++] = bytes_get64be(key->b + 1);
	return l->n == DEAD_BATCH;
}

static uint64_t oldest_snapshot(struct volume *v)
{
	struct rstore_snap snaps[RSTORE_SNAPSHOTS_MAX];
	size_t n = rstore_snap_list(v->rs, snaps);
	uint64_t oldest = UINT64_MAX;

	for (size_t i = 0; i < n; i++) {
		if (snaps[i].txn < oldest)
			oldest = snaps[i].txn;
	}
	return oldest;
}

int inode_unlink_dead(struct volume *v)
{
	struct rstore_key from = engine_key(SPACE_DEAD_OBJECT, NULL, 0);
	struct rstore_key to = engine_key(SPACE_DEAD_OBJECT + 1, NULL, 0);
	struct dead_list l = {.oldest_snap = oldest_snapshot(v)};
	struct rstore_root root;

	/* What dies while a snapshot is open waits for it, so it is no use looking again. */
	if (l.oldest_snap == v->dead_held_by) {
		v->dead_waiting = false;
		return 0;
	}
	v->dead_held_by = 0;
	rstore_root_get(v->rs, &root);
	l.durable = root.txn;
	int r = rstore_scan(v->rs, &from, &to, collect_dead, &l);
	if (r < 0)
		return engine_fault(v, r, 0, "dead object", 0);
	v->dead_waiting = l.young || l.n == DEAD_BATCH;
	for (size_t i = 0; i < l.n; i++) {
		struct rstore_key key = engine_key(SPACE_DEAD_OBJECT, &l.ids[i], 1);

		r = object_unlink(v, l.ids[i]);
		if (r == 0 || r == -ENOENT)
			r = rstore_del(v->rs, &key);
		if (r)
			return r;
	}
	if (l.n < DEAD_BATCH && !l.young && l.oldest_snap != UINT64_MAX)
		v->dead_held_by = l.oldest_snap;
	return l.n == DEAD_BATCH;
}
