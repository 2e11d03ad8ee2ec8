/*
 * Records: sealing, opening, and everything that reads or erases them by key.
 *
 * A record's AD is volume, key and the transaction it was sealed in; the leaf names row,
 * transaction and tag. A row is therefore only accepted as the version of the key that the tree
 * names.
 */
#include <string.h>

#include "fs/rstore_internal.h"

#define RECORD_AD_MAX (16 + RSTORE_KEY_MAX + 8)

/* --- sealed form --- */

static size_t record_ad(const struct rstore *rs, const struct rstore_key *key, uint64_t txn,
			uint8_t ad[RECORD_AD_MAX])
{
	memcpy(ad, rs->volume_id, 16);
	memcpy(ad + 16, key->b, key->len);
	bytes_put64(ad + 16 + key->len, txn);
	return 16u + key->len + 8;
}

int rstore_record_seal(struct rstore *rs, const struct rstore_key *key, uint64_t txn,
		       const void *val, size_t len, uint8_t ret_tag[TREE_TAG_LEN])
{
	uint8_t ad[RECORD_AD_MAX], k[SUITE_KEY_LEN];
	size_t ad_len = record_ad(rs, key, txn, ad);
	uint8_t *box;
	int r;

	bytes_w_reset(&rs->sealed);
	box = bytes_w_room(&rs->sealed, len + SUITE_BOX_OVERHEAD);
	if (!box)
		return -ENOMEM;
	r = rs->key_of(rs->arg, key, k);
	if (r)
		return r;
	suite_seal(rs->suite, k, ad, ad_len, val, len, box);
	secret_wipe(k, sizeof(k));
	memcpy(ret_tag, box + rs->sealed.len - SUITE_TAG_LEN, TREE_TAG_LEN);
	return 0;
}

int rstore_record_fetch(struct rstore *rs, const struct tree_entry *e)
{
	const struct bytes_w *box = &rs->box;
	int r = rstore_db_get(rs, DB_REC, e->ref, &rs->box);

	if (r)
		return r == -ENOENT ? -EBADMSG : r;
	if (box->len < SUITE_BOX_OVERHEAD || box->len > RSTORE_VALUE_MAX + SUITE_BOX_OVERHEAD ||
	    memcmp(box->buf + box->len - SUITE_TAG_LEN, e->tag, TREE_TAG_LEN) != 0)
		return -EBADMSG;
	return 0;
}

int rstore_record_open(struct rstore *rs, const struct rstore_key *key, const struct tree_entry *e,
		       struct bytes_w *out)
{
	uint8_t ad[RECORD_AD_MAX], k[SUITE_KEY_LEN];
	size_t ad_len = record_ad(rs, key, e->txn, ad), before = out->len;
	uint8_t *pt;
	int r = rstore_record_fetch(rs, e);

	if (r)
		return r;
	out->wiped = true;
	pt = bytes_w_room(out, rs->box.len - SUITE_BOX_OVERHEAD);
	if (!pt)
		return -ENOMEM;
	r = rs->key_of(rs->arg, key, k);
	if (!r) {
		r = suite_open(rs->suite, k, ad, ad_len, rs->box.buf, rs->box.len, pt);
		secret_wipe(k, sizeof(k));
	}
	if (r)
		out->len = before;
	return r;
}

/* --- get --- */

static int get_pending(const struct rstore *rs, const struct pending_item *it, struct bytes_w *out,
		       uint64_t *ret_txn)
{
	if (!it->has_val)
		return -ENOENT;
	out->wiped = true;
	bytes_w_raw(out, it->val, it->len);
	if (out->err)
		return out->err;
	if (ret_txn)
		*ret_txn = rs->next_txn;
	return 0;
}

int rstore_get(struct rstore *rs, const struct rstore_key *key, struct bytes_w *out,
	       uint64_t *ret_txn)
{
	struct pending_item *it = rstore_pending_find(&rs->pending, key);
	struct tree_entry e;
	struct tree_key tk;
	int r = rstore_key_valid(key);

	if (r)
		return r;
	if (it)
		return get_pending(rs, it, out, ret_txn);
	tree_key_plain(&tk, key);
	r = rstore_tree_find(rs, &tk, &e);
	if (!r)
		r = rstore_record_open(rs, key, &e, out);
	if (!r && ret_txn)
		*ret_txn = e.txn;
	return r;
}

/* --- scan: stored and pending records merged --- */

struct scan {
	struct rstore *rs;
	const struct rstore_key *to;
	struct tree_cursor stored;
	struct pending_item *pending;
	struct bytes_w val;
	rstore_scan_fn fn;
	void *arg;
};

static void scan_free(struct scan *s)
{
	rstore_cursor_free(&s->stored);
	bytes_w_free(&s->val);
}

static int scan_stored(struct scan *s, const struct rstore_key *key, const struct tree_entry *e)
{
	int r;

	s->stored.i++;
	bytes_w_reset(&s->val);
	r = rstore_record_open(s->rs, key, e, &s->val);
	if (r == -EKEYREVOKED)
		return 0;
	return r ? r : s->fn(s->arg, key, s->val.buf, s->val.len, e->txn);
}

static int scan_pending(struct scan *s)
{
	struct pending_item *it = s->pending;

	s->pending = it->next[0];
	return it->has_val ? s->fn(s->arg, &it->key, it->val, it->len, s->rs->next_txn) : 0;
}

static int scan_step(struct scan *s, bool *ret_end)
{
	const struct pending_item *it = s->pending;
	const struct tree_entry *e;
	struct rstore_key key;
	int order, r = rstore_cursor_peek(&s->stored, &e);

	if (r)
		return r;
	if (it && s->to && rstore_key_cmp(&it->key, s->to) >= 0)
		it = NULL;
	*ret_end = !it && !e;
	if (*ret_end)
		return 0;
	if (e)
		tree_key_record(&e->key, &key, NULL);
	order = !e ? 1 : !it ? -1 : rstore_key_cmp(&key, &it->key);
	if (order < 0)
		return scan_stored(s, &key, e);
	if (order == 0)
		s->stored.i++; /* replaced or deleted */
	return scan_pending(s);
}

int rstore_scan(struct rstore *rs, const struct rstore_key *from, const struct rstore_key *to,
		rstore_scan_fn fn, void *arg)
{
	__attribute__((cleanup(scan_free))) struct scan s = {
	    .rs = rs, .to = to, .fn = fn, .arg = arg};
	bool end = false;
	int r = rstore_cursor_plain(&s.stored, rs, from, to, 0);

	s.pending = rstore_pending_from(&rs->pending, from);
	while (!r && !end)
		r = scan_step(&s, &end);
	return r;
}

/* --- destruction --- */

static int hash_record(struct rstore *rs, const struct tree_entry *e, struct kdf_hash_state *st)
{
	uint8_t len[4];
	int r = rstore_record_fetch(rs, e);

	if (r)
		return r;
	kdf_hash_update(st, &e->key.len, 1);
	kdf_hash_update(st, e->key.b, e->key.len);
	bytes_put32(len, (uint32_t)rs->box.len);
	kdf_hash_update(st, len, sizeof(len));
	kdf_hash_update(st, rs->box.buf, rs->box.len);
	return 0;
}

int rstore_sealed_hash(struct rstore *rs, const struct rstore_key *from,
		       const struct rstore_key *to, struct kdf_hash_state *st, uint64_t *io_count,
		       uint64_t *io_bytes)
{
	__attribute__((cleanup(rstore_cursor_free))) struct tree_cursor c = {0};
	const struct tree_entry *e;
	int r = rstore_dirty(rs) ? rstore_commit(rs, NULL) : 0;

	if (!r)
		r = rstore_cursor_plain(&c, rs, from, to, 0);
	while (!r && !(r = rstore_cursor_peek(&c, &e)) && e) {
		r = hash_record(rs, e, st);
		c.i++;
		if (!r) {
			++*io_count;
			*io_bytes += rs->box.len;
		}
	}
	return r;
}

static int erase_all(struct rstore *rs, struct tree_cursor *c, uint64_t *io_count)
{
	const struct tree_entry *e;
	int r;

	while (!(r = rstore_cursor_peek(c, &e)) && e) {
		struct pending_item *it;
		struct rstore_key key;

		tree_key_record(&e->key, &key, NULL);
		it = rstore_pending_at(&rs->pending, &key);
		if (!it)
			return -ENOMEM;
		rstore_pending_set(&rs->pending, it, false, NULL, 0);
		if (!it->erase)
			++*io_count;
		it->erase = true;
		c->i++;
	}
	return r;
}

static void erase_pending(struct rstore *rs, const struct rstore_key *from,
			  const struct rstore_key *to, uint64_t *io_count)
{
	struct pending_item *it = rstore_pending_from(&rs->pending, from);

	for (; it && (!to || rstore_key_cmp(&it->key, to) < 0); it = it->next[0]) {
		if (it->has_val && !it->erase)
			++*io_count;
		rstore_pending_set(&rs->pending, it, false, NULL, 0);
		it->erase = true;
	}
}

int rstore_erase_range(struct rstore *rs, const struct rstore_key *from,
		       const struct rstore_key *to, uint64_t *io_count)
{
	uint64_t n = 0;
	int r = 0;

	/* The stored ones as they are now, then those that only snapshots still have. */
	for (unsigned i = 0; !r && i <= rs->head.n_snaps; i++) {
		__attribute__((cleanup(rstore_cursor_free))) struct tree_cursor c = {0};

		if (i == 0)
			r = rstore_cursor_plain(&c, rs, from, to, 0);
		else
			r = rstore_cursor_kept(&c, rs, rs->head.snaps[i - 1].id, from, to, 0);
		if (!r)
			r = erase_all(rs, &c, &n);
	}
	if (!r)
		erase_pending(rs, from, to, &n);
	if (!r && io_count)
		*io_count += n;
	return r;
}
