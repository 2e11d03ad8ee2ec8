/* The check's walk over records: each decodes, and agrees with its inode. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "fs/check_internal.h"
#include "fs/history.h"
#include "fs/walk.h"

/* No object has more slots than a file's blocks, twice over while snapshots hold the old ones, and
 * some. */
#define SLOTS_MAX (VOLUME_SIZE_MAX / MAP_BLOCK * 4)

static bool destroyed(struct check *c, uint64_t id)
{
	char order[KEYRING_ORDER_REF_MAX + 1];

	return keyring_gone(c->v->kr, KEYRING_LIVE, id, order);
}

static int add_inode(struct check *c, const struct check_inode *in)
{
	if (c->n_inodes == c->cap_inodes) {
		size_t cap = c->cap_inodes ? c->cap_inodes * 2 : 1024;
		struct check_inode *p = reallocarray(c->inodes, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		c->inodes = p;
		c->cap_inodes = cap;
	}
	c->inodes[c->n_inodes++] = *in;
	return 0;
}

/* ---- maps ---- */

static void maps_end(struct check *c)
{
	if (c->map_id && c->seen_mapped != c->n_mapped && !c->incomplete)
		check_report(c, c->map_id, "%llu blocks are mapped, its inode says %llu",
			     (unsigned long long)c->seen_mapped, (unsigned long long)c->n_mapped);
	free(STEAL_PTR(c->slots));
	c->map_id = 0;
}

static int maps_begin(struct check *c, uint64_t id, const struct inode_record *r)
{
	if (r->n_slots > SLOTS_MAX) {
		check_report(c, id, "inode record: %llu slots", (unsigned long long)r->n_slots);
		return 0;
	}
	c->slots = calloc(1, r->n_slots / 8 + 1);
	if (!c->slots)
		return -ENOMEM;
	c->map_id = id;
	c->n_slots = r->n_slots;
	c->n_mapped = r->n_mapped;
	c->seen_mapped = 0;
	return 0;
}

static void check_map(struct check *c, uint64_t id, uint64_t group, const void *val, size_t len)
{
	unsigned long long pos = group * MAP_GROUP_BYTES;
	struct map_group g;

	if (map_decode(val, len, engine_tag_len(c->v), &g)) {
		check_report(c, id, "block map at byte %llu is malformed", pos);
		return;
	}
	if (c->map_id != id) {
		/* Its inode record does not open, which is a finding already, or denies having
		 * blocks. */
		if (!c->incomplete)
			check_report(c, id, "block map at byte %llu of a file without blocks", pos);
		return;
	}
	for (unsigned i = 0; i < MAP_GROUP; i++) {
		uint64_t slot = g.e[i].slot;

		if (slot == MAP_HOLE)
			continue;
		c->seen_mapped++;
		c->out->n_blocks++;
		if (slot >= c->n_slots)
			check_report(c, id, "block at byte %llu lies beyond its object",
				     pos + i * MAP_BLOCK);
		else if (c->slots[slot / 8] & 1u << slot % 8)
			check_report(c, id, "block at byte %llu shares its slot",
				     pos + i * MAP_BLOCK);
		else
			c->slots[slot / 8] |= (uint8_t)(1u << slot % 8);
	}
}

/* ---- inodes and entries ---- */

static void check_xattrs(struct check *c, uint64_t id, bool expected)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct rstore_key key = engine_file_key(id, SUB_XATTR);
	size_t list_len;
	int r = rstore_get(c->v->rs, &key, &w, NULL);

	if (r == -ENOENT && expected)
		check_report(c, id, "its xattrs are missing");
	else if (r == 0 && !expected)
		check_report(c, id, "xattrs that its inode does not know");
	else if (r == 0 && xattr_record_decode(w.buf, w.len, &list_len))
		check_report(c, id, "xattr record is malformed");
}

static int check_inode(struct check *c, uint64_t id, const void *val, size_t len)
{
	struct inode_record rec;

	if (inode_decode(val, len, &rec)) {
		c->incomplete = true;
		check_report(c, id, "inode record is malformed");
		return 0;
	}
	c->out->n_inodes++;
	c->used += usage_of(&rec);
	struct check_inode ci = {
	    .id = id,
	    .parent = rec.parent,
	    .mode = rec.attr.mode,
	    .nlink = rec.attr.nlink,
	    .in_blocks = rec.in_blocks,
	};
	int r = add_inode(c, &ci);
	if (r)
		return r;
	check_xattrs(c, id, rec.has_xattrs);
	return rec.in_blocks ? maps_begin(c, id, &rec) : 0;
}

static int check_file_record(void *arg, const struct rstore_key *key, const void *val, size_t len,
			     uint64_t txn)
{
	struct check *c = arg;
	enum engine_sub sub;
	uint64_t id, at;

	(void)txn;
	if (!walk_key_parse(key, &id, &sub, &at)) {
		check_report(c, 0, "a record key is malformed");
		return 0;
	}
	if (c->map_id && c->map_id != id)
		maps_end(c);
	if (sub == SUB_INODE)
		return check_inode(c, id, val, len);
	if (sub == SUB_MAP)
		check_map(c, id, at, val, len);
	return 0; /* entries are read when all inodes are known */
}

static int check_history(void *arg, const struct rstore_key *key, const void *val, size_t len,
			 uint64_t txn)
{
	struct check *c = arg;
	struct history_gone g;
	struct history_edge e;
	bool gone = key->b[0] == SPACE_HISTORY;

	(void)txn;
	if (gone ? history_gone_decode(key, val, len, &g) : history_edge_decode(key, val, len, &e))
		check_report(c, bytes_get64be(key->b + 1), "%s record is malformed",
			     gone ? "history" : "lineage");
	return 0;
}

/* From..to without the records that are known not to open: a walk would end at the first. */
static int walk_around_bad(struct check *c, struct rstore_key from, const struct rstore_key *to,
			   rstore_scan_fn fn)
{
	for (size_t i = 0; i <= c->n_bad_keys; i++) {
		const struct rstore_key *stop = i < c->n_bad_keys ? &c->bad_keys[i] : to;

		if (rstore_key_cmp(stop, &from) < 0)
			continue;
		if (rstore_key_cmp(stop, to) > 0)
			stop = to;
		int r = walk_records(c->v, &from, stop, false, fn, c);
		if (r == -EBADMSG || r == -EUCLEAN || r == -EIO)
			c->incomplete = true; /* a node: reported by the store's own check */
		else if (r)
			return r;
		if (stop == to)
			break;
		from = walk_key_after(stop);
	}
	return 0;
}

static int compare_bad(const void *a, const void *b)
{
	return rstore_key_cmp(*(const struct rstore_key *const *)a,
			      *(const struct rstore_key *const *)b);
}

/* The store reports in its own order, and what snapshots keep after the rest. */
static int sort_bad(struct check *c)
{
	size_t n = c->n_bad_keys;
	CLEANUP_FREE const struct rstore_key **order = calloc(n + 1, sizeof(*order));
	CLEANUP_FREE struct rstore_key *keys = calloc(n + 1, sizeof(*keys));
	CLEANUP_FREE int *errs = calloc(n + 1, sizeof(*errs));

	if (!order || !keys || !errs)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		order[i] = &c->bad_keys[i];
	qsort(order, n, sizeof(*order), compare_bad);
	for (size_t i = 0; i < n; i++) {
		keys[i] = *order[i];
		errs[i] = c->bad_errs[order[i] - c->bad_keys];
	}
	if (n) {
		memcpy(c->bad_keys, keys, n * sizeof(*keys));
		memcpy(c->bad_errs, errs, n * sizeof(*errs));
	}
	return 0;
}

/* Whether damage hides something that links or maps are counted by. */
static bool hides_structure(const struct check *c)
{
	enum engine_sub sub;
	uint64_t id, at;

	for (size_t i = 0; i < c->n_bad_keys; i++) {
		const struct rstore_key *key = &c->bad_keys[i];
		bool other_space =
		    key->len && key->b[0] != SPACE_FILE && key->b[0] < RSTORE_KEY_RESERVED;

		if (walk_key_parse(key, &id, &sub, &at) ? sub != SUB_XATTR : !other_space)
			return true;
	}
	return false;
}

/* ---- names ---- */

static int check_entry(void *arg, uint64_t parent, const struct dentry_sealed *d)
{
	struct check *c = arg;
	char name[VOLUME_NAME_MAX + 1];

	if (destroyed(c, parent))
		return 0;
	struct check_inode *in = check_find(c, parent), *child = check_find(c, d->child);
	/* Between the puncture and the erasure the entry still stands, and its folder still counts it. */
	if (destroyed(c, d->child)) {
		c->passed_over = true;
		if (in && S_ISDIR(in->mode))
			in->n_subfolders += S_ISDIR(d->type_mode);
		return 0;
	}
	if (dir_open_name(c->v, parent, d, name))
		check_report(c, parent, "a name in it does not open");
	if (!in || !S_ISDIR(in->mode)) {
		if (!c->incomplete)
			check_report(c, parent, "holds names and is no folder");
		return 0;
	}
	if (!child) {
		if (!c->incomplete)
			check_report(c, parent,
				     "a name in it leads to file %llu, which is not there",
				     (unsigned long long)d->child);
		return 0;
	}
	if ((child->mode & S_IFMT) != d->type_mode)
		check_report(c, d->child, "is of another type than its name says");
	child->n_names++;
	child->named_in = parent;
	in->n_subfolders += S_ISDIR(child->mode);
	return 0;
}

struct bucket_check {
	struct check *c;
	uint64_t parent;
};

static int bucket_entry(void *arg, const struct dentry_sealed *d)
{
	struct bucket_check *b = arg;

	return check_entry(b->c, b->parent, d);
}

static int check_bucket(void *arg, const struct rstore_key *key, const void *val, size_t len,
			uint64_t txn)
{
	struct check *c = arg;
	enum engine_sub sub;
	uint64_t id, at;

	(void)txn;
	if (!walk_key_parse(key, &id, &sub, &at) || sub == SUB_MAP)
		return WALK_NEXT_ID;
	if (sub != SUB_DENTRY)
		return 0;
	struct bucket_check b = {c, id};
	int r = dir_bucket_each(val, len, bucket_entry, &b);
	if (r == -EUCLEAN) {
		c->incomplete = true;
		check_report(c, id, "a directory entry is malformed");
		r = 0;
	}
	return r;
}

int check_records(struct check *c)
{
	struct rstore_key from = engine_key(SPACE_FILE, NULL, 0),
			  to = engine_key(SPACE_FILE + 1, NULL, 0);
	struct rstore_key past = engine_key(SPACE_HISTORY, NULL, 0),
			  past_to = engine_key(SPACE_LOOKUP, NULL, 0);
	int r = sort_bad(c);

	c->incomplete |= hides_structure(c);
	if (r == 0)
		r = walk_around_bad(c, from, &to, check_file_record);
	if (r == 0) {
		maps_end(c);
		r = walk_around_bad(c, from, &to, check_bucket);
	}
	return r ? r : walk_around_bad(c, past, &past_to, check_history);
}
