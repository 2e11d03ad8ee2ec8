/*
 * The commit record, and the commit: overlay into tree and rows, nodes, commit record, one
 * SQLite transaction.
 *
 * Every attempt takes a transaction number of its own, so nothing is ever sealed twice under one
 * number, also not when a failed attempt turns out to have reached the medium after all.
 * Format: docs/format.md "Commit record".
 */
#include <string.h>

#include "fs/rstore_internal.h"

#define HEAD_VERSION 1
#define HEAD_ROW 1
#define HEAD_BOX_MAX 1024

/* --- commit record --- */

static const uint8_t *head_key(const struct rstore *rs)
{
	return secret_bytes(rs->keys) + KDF_KEY_LEN;
}

static void head_encode(const struct head *h, struct bytes_w *w)
{
	bytes_w_reset(w);
	bytes_w_u8(w, HEAD_VERSION);
	bytes_w_u64(w, h->txn);
	bytes_w_u64(w, h->root.no);
	bytes_w_u8(w, h->root.level);
	bytes_w_u64(w, h->root.txn);
	bytes_w_raw(w, h->root.tag, TREE_TAG_LEN);
	bytes_w_u64(w, h->next_row);
	bytes_w_u64(w, h->next_node);
	bytes_w_u64(w, h->next_snap);
	bytes_w_u8(w, (uint8_t)h->n_snaps);
	for (unsigned i = 0; i < h->n_snaps; i++) {
		bytes_w_u64(w, h->snaps[i].id);
		bytes_w_u64(w, h->snaps[i].txn);
		bytes_w_u8(w, h->snaps[i].closing);
	}
}

static int head_decode(struct head *h, const void *p, size_t len)
{
	struct bytes_r r = bytes_r_init(p, len);

	if (bytes_r_u8(&r) != HEAD_VERSION)
		return -EPROTONOSUPPORT;
	h->txn = bytes_r_u64(&r);
	h->root.no = bytes_r_u64(&r);
	h->root.level = bytes_r_u8(&r);
	h->root.txn = bytes_r_u64(&r);
	bytes_r_copy(&r, h->root.tag, TREE_TAG_LEN);
	h->next_row = bytes_r_u64(&r);
	h->next_node = bytes_r_u64(&r);
	h->next_snap = bytes_r_u64(&r);
	h->n_snaps = bytes_r_u8(&r);
	if (h->n_snaps > RSTORE_SNAPSHOTS_MAX || h->root.level >= TREE_LEVELS)
		return -EUCLEAN;
	for (unsigned i = 0; i < h->n_snaps; i++) {
		h->snaps[i].id = bytes_r_u64(&r);
		h->snaps[i].txn = bytes_r_u64(&r);
		h->snaps[i].closing = bytes_r_u8(&r) != 0;
	}
	return bytes_r_done(&r);
}

static void root_of(const struct head *h, const struct bytes_w *box, struct rstore_root *ret)
{
	uint8_t digest[KDF_HASH_LEN];

	kdf_hash(digest, box->buf, box->len);
	ret->txn = h->txn;
	memcpy(ret->tag, digest, sizeof(ret->tag));
}

static int head_write(struct rstore *rs, struct rstore_root *ret)
{
	uint8_t *box;

	head_encode(&rs->head, &rs->plain);
	bytes_w_reset(&rs->box);
	box = bytes_w_room(&rs->box, rs->plain.len + SUITE_BOX_OVERHEAD);
	if (rs->plain.err || !box)
		return -ENOMEM;
	suite_seal(rs->suite, head_key(rs), rs->volume_id, 16, rs->plain.buf, rs->plain.len, box);
	root_of(&rs->head, &rs->box, ret);
	return rstore_db_put(rs, DB_HEAD, HEAD_ROW, box, rs->box.len);
}

int rstore_head_load(struct rstore *rs)
{
	struct bytes_w *box = &rs->box;
	uint8_t *pt;
	int r = rstore_db_get(rs, DB_HEAD, HEAD_ROW, box);

	if (r)
		return r == -ENOENT ? -EBADMSG : r;
	if (box->len < SUITE_BOX_OVERHEAD || box->len > HEAD_BOX_MAX)
		return -EBADMSG;
	bytes_w_reset(&rs->plain);
	pt = bytes_w_room(&rs->plain, box->len - SUITE_BOX_OVERHEAD);
	if (!pt)
		return -ENOMEM;
	r = suite_open(rs->suite, head_key(rs), rs->volume_id, 16, box->buf, box->len, pt);
	if (!r)
		r = head_decode(&rs->durable, pt, rs->plain.len);
	if (r)
		return r;
	rs->head = rs->durable;
	root_of(&rs->durable, box, &rs->root);
	return 0;
}

/* --- applying the overlay --- */

static int apply_erase(struct rstore *rs, const struct rstore_key *key, const struct tree_key *tk)
{
	struct tree_entry e;
	int r = rstore_snap_erase(rs, key);

	if (!r)
		r = rstore_tree_find(rs, tk, &e);
	if (!r)
		r = rstore_db_del(rs, DB_REC, e.ref);
	if (!r)
		r = rstore_tree_del(rs, tk);
	return r == -ENOENT ? 0 : r;
}

static int apply_delete(struct rstore *rs, const struct rstore_key *key, const struct tree_key *tk,
			uint64_t txn)
{
	struct tree_entry e;
	bool kept = false;
	int r = rstore_tree_find(rs, tk, &e);

	if (!r)
		r = rstore_snap_keep(rs, key, &e, txn, &kept);
	if (!r && !kept)
		r = rstore_db_del(rs, DB_REC, e.ref);
	if (!r)
		r = rstore_tree_del(rs, tk);
	return r == -ENOENT ? 0 : r;
}

static int apply_put(struct rstore *rs, const struct pending_item *it, const struct tree_key *tk,
		     uint64_t txn)
{
	struct tree_entry old, now = {.key = *tk, .txn = txn};
	bool fresh, kept = false;
	int r = rstore_record_seal(rs, &it->key, txn, it->val, it->len, now.tag);

	/* Its file was destroyed while it was pending: the value must not and cannot be kept. */
	if (r == -EKEYREVOKED)
		return 0;
	if (!r)
		r = rstore_tree_find(rs, tk, &old);
	fresh = r == -ENOENT;
	if (!r)
		r = rstore_snap_keep(rs, &it->key, &old, txn, &kept);
	if (r && !fresh)
		return r;
	now.ref = fresh || kept ? rs->head.next_row++ : old.ref;
	r = rstore_db_put(rs, DB_REC, now.ref, rs->sealed.buf, rs->sealed.len);
	return r ? r : rstore_tree_put(rs, &now);
}

static int apply_item(struct rstore *rs, const struct pending_item *it, uint64_t txn)
{
	struct tree_key tk;
	int r = 0;

	tree_key_plain(&tk, &it->key);
	if (it->erase)
		r = apply_erase(rs, &it->key, &tk);
	if (r)
		return r;
	if (it->has_val)
		return apply_put(rs, it, &tk, txn);
	return it->erase ? 0 : apply_delete(rs, &it->key, &tk, txn);
}

static int apply(struct rstore *rs, uint64_t txn, struct rstore_root *ret)
{
	int r = 0;

	for (struct pending_item *it = rs->pending.head[0]; it && !r; it = it->next[0])
		r = apply_item(rs, it, txn);
	if (!r)
		r = rstore_snap_drain(rs);
	if (!r)
		r = rstore_tree_flush(rs, txn);
	rs->head.txn = txn;
	return r ? r : head_write(rs, ret);
}

/* --- commit --- */

int rstore_commit_head(struct rstore *rs)
{
	struct rstore_root root;
	int r;

	if (rs->sync_failed) {
		rs->head = rs->durable;
		return -EROFS;
	}
	r = rstore_db_begin(rs);
	if (!r)
		r = apply(rs, rs->next_txn, &root);
	if (!r)
		r = rstore_db_commit(rs);
	rs->next_txn++;
	if (r) {
		rstore_db_rollback(rs);
		rstore_cache_drop_dirty(&rs->cache);
		rs->head = rs->durable;
		return r;
	}
	rstore_cache_settle(&rs->cache);
	rstore_pending_clear(&rs->pending);
	rs->durable = rs->head;
	rs->root = root;
	rstore_db_cap_wal(rs);
	return 0;
}

int rstore_commit(struct rstore *rs, struct rstore_root *ret)
{
	int r;

	if (!rstore_dirty(rs) && !rs->sync_failed)
		r = 0;
	else
		r = rstore_commit_head(rs);
	if (!r && ret)
		*ret = rs->root;
	return r;
}

int rstore_commit_first(struct rstore *rs, uint64_t txn)
{
	struct tree_node *root;
	int r;

	rs->next_txn = txn;
	rs->head = (struct head){.next_row = 1, .next_node = 1, .next_snap = 1};
	r = rstore_node_new(rs, 0, &root);
	if (r)
		return r;
	rs->head.root.no = root->no;
	return rstore_commit_head(rs);
}
