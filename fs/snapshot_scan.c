/*
 * Reading a snapshot: the scan that a backup runs, and blocks.
 *
 * Records are copied in batches under the engine lock and delivered without it; a batch bounds both
 * how long the lock is held and how much plaintext is in memory. What was destroyed after the
 * snapshot was taken is left out.
 */
#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "fs/history.h"
#include "fs/walk.h"

#define BATCH_RECORDS 256u
#define BATCH_BYTES (4u << 20)
#define BATCH_FULL 1

struct batch_record {
	struct rstore_key key;
	size_t off, len; /* in data */
	uint64_t txn;
};

struct batch {
	struct batch_record r[BATCH_RECORDS];
	size_t n;
	struct bytes_w data;
};

static void batch_free(struct batch *b)
{
	bytes_w_free(&b->data);
	free(b);
}
CLEANUP_DEFINE(batch, struct batch *, batch_free)

struct scan {
	struct volume *v;
	const struct volume_snapshot *s;
	uint64_t since;
	const struct volume_snap_ops *ops;
	void *arg;
	struct rstore_key next, to;
};

static int batch_add(void *arg, const struct rstore_key *key, const void *val, size_t len,
		     uint64_t txn)
{
	struct batch *b = arg;

	b->r[b->n++] = (struct batch_record){*key, b->data.len, len, txn};
	bytes_w_raw(&b->data, val, len);
	if (b->data.err)
		return b->data.err;
	return b->n == BATCH_RECORDS || b->data.len >= BATCH_BYTES ? BATCH_FULL : 0;
}

/* Fills b from sc->next on; *ret_more says whether to come again. The lock is held. */
static int batch_fill(struct scan *sc, struct batch *b, bool *ret_more)
{
	struct rstore_key next;
	bool more = false;

	b->n = 0;
	bytes_w_reset(&b->data);
	int r = rstore_snap_scan(sc->v->rs, &sc->s->snap, sc->since, &sc->next, &sc->to,
				 BATCH_RECORDS, batch_add, b, &more, &next);
	if (r == 0 && more) {
		sc->next = next;
	} else if (r == BATCH_FULL) {
		sc->next = walk_key_after(&b->r[b->n - 1].key);
		more = true;
		r = 0;
	}
	if (r)
		return engine_fault(sc->v, r, 0, "snapshot",
				    b->n ? bytes_get64be(b->r[b->n - 1].key.b + 1) : 0);
	*ret_more = more;
	return 0;
}

static int scan_fault(struct scan *sc, int err, uint64_t id, const char *what, uint64_t position)
{
	engine_enter(sc->v);
	int r = engine_fault(sc->v, err, id, what, position);
	engine_leave(sc->v);
	return r;
}

/* 0, -EKEYREVOKED (destroyed meanwhile), -EIO (reported). */
static int snapshot_xattrs(struct scan *sc, uint64_t id, struct bytes_w *out)
{
	struct rstore_key key = engine_file_key(id, SUB_XATTR);
	size_t len = 0;

	engine_enter(sc->v);
	int r = rstore_snap_get(sc->v->rs, &sc->s->snap, &key, out, NULL);
	if (r == -ENOENT)
		r = -EUCLEAN;
	if (r == 0)
		r = xattr_record_decode(out->buf, out->len, &len);
	out->len = len;
	if (r && r != -EKEYREVOKED)
		r = engine_fault(sc->v, r, id, "xattr record", 0);
	engine_leave(sc->v);
	return r;
}

static int deliver_inode(struct scan *sc, uint64_t id, const uint8_t *val,
			 const struct batch_record *rec)
{
	CLEANUP_BYTES struct bytes_w xattrs = {0};
	struct inode_record ir;
	int r = inode_decode(val, rec->len, &ir);

	if (r)
		return scan_fault(sc, r, id, "inode record", 0);
	if (ir.has_xattrs)
		r = snapshot_xattrs(sc, id, &xattrs);
	if (r)
		return r == -EKEYREVOKED ? 0 : r;
	ir.attr.id = id;
	ir.attr.blocks = ir.n_mapped * (MAP_BLOCK / 512);
	struct volume_snap_inode in = {
	    .attr = ir.attr,
	    .txn = rec->txn,
	    .inline_data = ir.inline_len ? ir.inline_data : NULL,
	    .inline_len = ir.inline_len,
	    .xattrs = xattrs.buf,
	    .xattrs_len = xattrs.len,
	};
	return sc->ops->inode(sc->arg, &in);
}

struct name_delivery {
	struct scan *sc;
	uint64_t parent;
};

static int deliver_name(void *arg, const struct dentry_sealed *d)
{
	struct name_delivery *nd = arg;
	struct scan *sc = nd->sc;
	char name[VOLUME_NAME_MAX + 1] = "";

	engine_enter(sc->v);
	int r = dir_open_name(sc->v, nd->parent, d, name);
	if (r && r != -EKEYREVOKED)
		r = engine_fault(sc->v, r, nd->parent, "name", d->link);
	engine_leave(sc->v);
	if (r && r != -EKEYREVOKED)
		return r;
	return sc->ops->name(sc->arg, nd->parent, d->link, d->child, d->type_mode, r ? "" : name,
			     r);
}

static int deliver_bucket(struct scan *sc, uint64_t id, const uint8_t *val,
			  const struct batch_record *rec)
{
	struct name_delivery nd = {sc, id};
	int r = dir_bucket_each(val, rec->len, deliver_name, &nd);

	return r == -EUCLEAN ? scan_fault(sc, r, id, "folder entries", 0) : r;
}

static int deliver_map(struct scan *sc, uint64_t id, uint64_t group, const uint8_t *val,
		       const struct batch_record *rec)
{
	struct map_group g;
	int r = map_decode(val, rec->len, engine_tag_len(sc->v), &g);

	if (r)
		return scan_fault(sc, r, id, "block map", group * MAP_GROUP_BYTES);
	return sc->ops->map(sc->arg, id, group, rec->txn, &g);
}

static int deliver_file(struct scan *sc, const uint8_t *val, const struct batch_record *rec)
{
	enum engine_sub sub;
	uint64_t id, at;

	if (!walk_key_parse(&rec->key, &id, &sub, &at))
		return scan_fault(sc, -EUCLEAN, 0, "record key", 0);
	switch (sub) {
	case SUB_INODE:
		return sc->ops->inode ? deliver_inode(sc, id, val, rec) : 0;
	case SUB_XATTR:
		return 0; /* goes with its inode, whose record changes with it */
	case SUB_DENTRY:
		return sc->ops->name ? deliver_bucket(sc, id, val, rec) : 0;
	case SUB_MAP:
		return sc->ops->map ? deliver_map(sc, id, at, val, rec) : 0;
	}
	return 0;
}

static int deliver_gone(struct scan *sc, const uint8_t *val, const struct batch_record *rec)
{
	struct history_gone g;
	int r = history_gone_decode(&rec->key, val, rec->len, &g);

	if (r)
		return scan_fault(sc, r, 0, "history", 0);
	return sc->ops->gone ? sc->ops->gone(sc->arg, g.parent, g.link, g.child, g.last) : 0;
}

/* An edge is stored in both directions and delivered in one. */
static int deliver_edge(struct scan *sc, const uint8_t *val, const struct batch_record *rec)
{
	struct history_edge e;
	int r = history_edge_decode(&rec->key, val, rec->len, &e);

	if (r)
		return scan_fault(sc, r, 0, "lineage", 0);
	return sc->ops->edge && e.a < e.b ? sc->ops->edge(sc->arg, e.a, e.b, e.kind) : 0;
}

static int deliver(struct scan *sc, const struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct batch_record *rec = &b->r[i];
		const uint8_t *val = b->data.buf + rec->off;
		int r = 0;

		switch (rec->key.b[0]) {
		case SPACE_FILE:
			r = deliver_file(sc, val, rec);
			break;
		case SPACE_HISTORY:
			r = deliver_gone(sc, val, rec);
			break;
		case SPACE_EDGE:
			r = deliver_edge(sc, val, rec);
			break;
		}
		if (r)
			return r;
	}
	return 0;
}

int volume_snapshot_scan(struct volume *v, const struct volume_snapshot *s, uint64_t since,
			 const struct volume_snap_ops *ops, void *arg)
{
	return volume_snapshot_scan_from(v, s, since, 0, 0, ops, arg);
}

int volume_snapshot_scan_from(struct volume *v, const struct volume_snapshot *s, uint64_t since, uint64_t id,
			      uint64_t group, const struct volume_snap_ops *ops, void *arg)
{
	/* Files, history and lineage lie side by side; what follows them is the engine's own. */
	struct scan sc = {
	    .v = v,
	    .s = s,
	    .since = since,
	    .ops = ops,
	    .arg = arg,
	    .next = group ? engine_file_key_at(id, SUB_MAP, group) : engine_file_key(id, SUB_INODE),
	    .to = engine_key(SPACE_LOOKUP, NULL, 0),
	};
	__attribute__((cleanup(cleanup_batch))) struct batch *b = calloc(1, sizeof(*b));
	bool more = true;
	int r = 0;

	if (!b)
		return -ENOMEM;
	b->data.wiped = true;
	while (r == 0 && more) {
		engine_enter(v);
		r = batch_fill(&sc, b, &more);
		engine_leave(v);
		if (r == 0)
			r = deliver(&sc, b);
	}
	return r;
}

int volume_snapshot_map(struct volume *v, const struct volume_snapshot *s, uint64_t id, uint64_t group,
			struct map_group *ret)
{
	struct rstore_key key = engine_file_key_at(id, SUB_MAP, group);
	CLEANUP_BYTES struct bytes_w rec = {0};
	struct map_group g;

	engine_enter(v);
	int r = rstore_snap_get(v->rs, &s->snap, &key, &rec, NULL);
	if (r == -ENOENT) {
		map_init(&g);
		r = 0;
	} else if (r == 0) {
		r = map_decode(rec.buf, rec.len, engine_tag_len(v), &g);
	}
	if (r && r != -EKEYREVOKED)
		r = engine_fault(v, r, id, "block map", group * MAP_GROUP_BYTES);
	engine_leave(v);
	if (r == 0)
		*ret = g;
	return r;
}

static bool snapshot_is_open(struct volume *v, const struct volume_snapshot *s)
{
	struct rstore_snap list[RSTORE_SNAPSHOTS_MAX];
	size_t n = rstore_snap_list(v->rs, list);

	for (size_t i = 0; i < n; i++) {
		if (list[i].id == s->snap.id && list[i].txn == s->snap.txn)
			return true;
	}
	return false;
}

int volume_snapshot_read(struct volume *v, const struct volume_snapshot *s, uint64_t id,
			 uint64_t group, const struct map_group *g, unsigned first, unsigned n,
			 void *buf)
{
	if (first >= MAP_GROUP || n > MAP_GROUP - first)
		return -EINVAL;
	for (unsigned i = first; i < first + n; i++)
		if (g->e[i].slot == MAP_HOLE || g->e[i].birth > s->snap.txn)
			return -EINVAL;
	/* The snapshot keeps the slots: no lock, so that reading a set stops no writer. */
	keyring_use_begin(v->kr);
	int r = data_read_entries(v, id, group, g, first, n, buf);
	keyring_use_end(v->kr);
	if (r == 0 || r == -EKEYREVOKED) /* destroyed meanwhile: the caller leaves it out */
		return r;
	engine_enter(v);
	/* One that was closed meanwhile keeps no slots: what stands there now is no damage. */
	if (snapshot_is_open(v, s))
		r = engine_fault(v, r, id, "block", (group * MAP_GROUP + first) * MAP_BLOCK);
	else
		r = -ESTALE;
	engine_leave(v);
	return r;
}
