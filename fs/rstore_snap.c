/*
 * Snapshots: the state at one transaction, kept readable while the store goes on.
 *
 * The version of a record that snapshot s shows is the current one while that is not newer than
 * s.txn; after that it stands under (0xf0, s.id, key). When a version goes, it is entered for every
 * open snapshot with version <= s.txn: none of them can have an entry for the key yet, since any
 * earlier change would have left a version newer than them. Such entries share the old row, which
 * goes with the last of them.
 */
#include <string.h>

#include "fs/rstore_internal.h"

/* Entries that one commit removes for closing snapshots: bounds how long it takes. */
#define DRAIN_MAX 4096

/* The place of an open snapshot in the list, or -ESTALE. */
static int find_open(const struct head *h, uint64_t id)
{
	for (unsigned i = 0; i < h->n_snaps; i++) {
		if (h->snaps[i].id == id && !h->snaps[i].closing)
			return (int)i;
	}
	return -ESTALE;
}

static int check_open(const struct rstore *rs, const struct rstore_snap *s)
{
	int i = find_open(&rs->durable, s->id);

	return i >= 0 && rs->durable.snaps[i].txn == s->txn ? 0 : -ESTALE;
}

/* --- keeping and removing, within a commit --- */

int rstore_snap_keep(struct rstore *rs, const struct rstore_key *key, const struct tree_entry *e,
		     uint64_t txn, bool *ret_kept)
{
	*ret_kept = false;
	for (unsigned i = 0; i < rs->head.n_snaps; i++) {
		const struct head_snap *s = &rs->head.snaps[i];
		struct tree_entry copy = *e;
		int r;

		/* The one that this very commit opens shows the new version. */
		if (s->closing || s->txn < e->txn || s->txn >= txn)
			continue;
		tree_key_kept(&copy.key, s->id, key);
		r = rstore_tree_put(rs, &copy);
		if (r)
			return r;
		*ret_kept = true;
	}
	return 0;
}

/* Whether another snapshot's entry names the same row. */
static int row_shared(struct rstore *rs, uint64_t but_for, const struct rstore_key *key,
		      uint64_t row)
{
	for (unsigned i = 0; i < rs->head.n_snaps; i++) {
		struct tree_entry e;
		struct tree_key tk;
		int r;

		if (rs->head.snaps[i].id == but_for)
			continue;
		tree_key_kept(&tk, rs->head.snaps[i].id, key);
		r = rstore_tree_find(rs, &tk, &e);
		if (r && r != -ENOENT)
			return r;
		if (!r && e.ref == row)
			return 1;
	}
	return 0;
}

static int remove_kept(struct rstore *rs, uint64_t snap, const struct rstore_key *key)
{
	struct tree_entry e;
	struct tree_key tk;
	int shared, r;

	tree_key_kept(&tk, snap, key);
	r = rstore_tree_find(rs, &tk, &e);
	if (r)
		return r == -ENOENT ? 0 : r;
	shared = row_shared(rs, snap, key, e.ref);
	if (shared < 0)
		return shared;
	r = shared ? 0 : rstore_db_del(rs, DB_REC, e.ref);
	return r ? r : rstore_tree_del(rs, &tk);
}

int rstore_snap_erase(struct rstore *rs, const struct rstore_key *key)
{
	int r = 0;

	for (unsigned i = 0; i < rs->head.n_snaps && !r; i++)
		r = remove_kept(rs, rs->head.snaps[i].id, key);
	return r;
}

/* Removes up to max entries of one snapshot; *ret_n says how many there were. */
static int drain_some(struct rstore *rs, uint64_t snap, unsigned max, unsigned *ret_n)
{
	__attribute__((cleanup(rstore_cursor_free))) struct tree_cursor c = {0};
	const struct tree_entry *e;
	int r = rstore_cursor_kept(&c, rs, snap, NULL, NULL, 0);

	*ret_n = 0;
	while (!r && *ret_n < max && !(r = rstore_cursor_peek(&c, &e)) && e) {
		struct rstore_key key;

		tree_key_record(&e->key, &key, NULL);
		c.i++;
		++*ret_n;
		r = remove_kept(rs, snap, &key);
	}
	return r;
}

static void forget_snap(struct head *h, unsigned i)
{
	h->n_snaps--;
	memmove(h->snaps + i, h->snaps + i + 1, (h->n_snaps - i) * sizeof(h->snaps[0]));
}

int rstore_snap_drain(struct rstore *rs)
{
	unsigned left = DRAIN_MAX, n;
	int r;

	for (unsigned i = 0; i < rs->head.n_snaps && left;) {
		if (!rs->head.snaps[i].closing) {
			i++;
			continue;
		}
		r = drain_some(rs, rs->head.snaps[i].id, left, &n);
		if (r)
			return r;
		if (n < left)
			forget_snap(&rs->head, i);
		left -= n;
	}
	return 0;
}

/* --- opening and closing --- */

/* Commits until nothing is left of closed snapshots. */
static int finish_closing(struct rstore *rs)
{
	for (unsigned i = 0; i < rs->durable.n_snaps;) {
		int r;

		if (!rs->durable.snaps[i].closing) {
			i++;
			continue;
		}
		r = rstore_commit_head(rs);
		if (r)
			return r;
		i = 0;
	}
	return 0;
}

int rstore_snap_open(struct rstore *rs, struct rstore_snap *ret)
{
	struct head *h = &rs->head;
	int r = finish_closing(rs);

	if (r)
		return r;
	if (h->n_snaps == RSTORE_SNAPSHOTS_MAX)
		return -EBUSY;
	h->snaps[h->n_snaps++] = (struct head_snap){.id = h->next_snap++, .txn = rs->next_txn};
	r = rstore_commit_head(rs);
	if (r)
		return r;
	*ret = (struct rstore_snap){.id = rs->durable.next_snap - 1, .txn = rs->durable.txn};
	return 0;
}

int rstore_snap_close(struct rstore *rs, uint64_t id)
{
	int r, i = find_open(&rs->head, id);

	if (i < 0)
		return i;
	rs->head.snaps[i].closing = true;
	r = rstore_commit_head(rs);
	return r ? r : finish_closing(rs);
}

int rstore_snap_close_begin(struct rstore *rs, const uint64_t *ids, size_t n)
{
	if (n == 0)
		return 0;
	for (size_t k = 0; k < n; k++) {
		int i = find_open(&rs->head, ids[k]);

		if (i >= 0)
			rs->head.snaps[i].closing = true;
	}
	return rstore_commit_head(rs);
}

static bool any_closing(const struct head *h)
{
	for (unsigned i = 0; i < h->n_snaps; i++)
		if (h->snaps[i].closing)
			return true;
	return false;
}

int rstore_snap_drain_some(struct rstore *rs)
{
	if (!any_closing(&rs->durable))
		return 0;
	int r = rstore_commit_head(rs);
	return r ? r : any_closing(&rs->durable);
}

size_t rstore_snap_list(const struct rstore *rs, struct rstore_snap ret[RSTORE_SNAPSHOTS_MAX])
{
	size_t n = 0;

	for (unsigned i = 0; i < rs->durable.n_snaps; i++) {
		const struct head_snap *s = &rs->durable.snaps[i];

		if (!s->closing)
			ret[n++] = (struct rstore_snap){.id = s->id, .txn = s->txn};
	}
	return n;
}

uint64_t rstore_snap_newest_txn(const struct rstore *rs)
{
	struct rstore_snap open[RSTORE_SNAPSHOTS_MAX];
	size_t n = rstore_snap_list(rs, open);

	return n ? open[n - 1].txn : 0;
}

/* --- reading --- */

int rstore_snap_get(struct rstore *rs, const struct rstore_snap *s, const struct rstore_key *key,
		    struct bytes_w *out, uint64_t *ret_txn)
{
	struct tree_entry e;
	struct tree_key tk;
	int r = rstore_key_valid(key);

	if (!r)
		r = check_open(rs, s);
	if (r)
		return r;
	tree_key_plain(&tk, key);
	r = rstore_tree_find(rs, &tk, &e);
	if (r == -ENOENT || (!r && e.txn > s->txn)) {
		tree_key_kept(&tk, s->id, key);
		r = rstore_tree_find(rs, &tk, &e);
	}
	if (!r)
		r = rstore_record_open(rs, key, &e, out);
	if (!r && ret_txn)
		*ret_txn = e.txn;
	return r;
}

/* Current entries and kept ones; no key is in both, as far as the snapshot shows them. */
struct merge {
	struct rstore *rs;
	uint64_t snap_txn;
	struct tree_cursor now, kept;
	struct bytes_w val;
};

static void merge_free(struct merge *m)
{
	rstore_cursor_free(&m->now);
	rstore_cursor_free(&m->kept);
	bytes_w_free(&m->val);
}

/* The entry that is next in key order, its record key, and the cursor it stands in; NULL at the
 * end. */
static int merge_peek(struct merge *m, const struct tree_entry **ret, struct rstore_key *ret_key,
		      struct tree_cursor **ret_cursor)
{
	const struct tree_entry *now, *kept;
	struct rstore_key key;
	int r;

	while (!(r = rstore_cursor_peek(&m->now, &now)) && now && now->txn > m->snap_txn)
		m->now.i++;
	if (!r)
		r = rstore_cursor_peek(&m->kept, &kept);
	if (r)
		return r;
	*ret = now;
	*ret_cursor = &m->now;
	if (now)
		tree_key_record(&now->key, ret_key, NULL);
	if (!kept)
		return 0;
	tree_key_record(&kept->key, &key, NULL);
	if (!now || rstore_key_cmp(&key, ret_key) < 0) {
		*ret = kept;
		*ret_cursor = &m->kept;
		*ret_key = key;
	}
	return 0;
}

static int deliver(struct merge *m, const struct rstore_key *key, const struct tree_entry *e,
		   rstore_scan_fn fn, void *arg, size_t *io_n)
{
	int r;

	bytes_w_reset(&m->val);
	r = rstore_record_open(m->rs, key, e, &m->val);
	if (r == -EKEYREVOKED)
		return 0;
	++*io_n;
	return r ? r : fn(arg, key, m->val.buf, m->val.len, e->txn);
}

int rstore_snap_scan(struct rstore *rs, const struct rstore_snap *s, uint64_t since,
		     const struct rstore_key *from, const struct rstore_key *to, size_t max,
		     rstore_scan_fn fn, void *arg, bool *ret_more, struct rstore_key *ret_next)
{
	__attribute__((cleanup(merge_free))) struct merge m = {.rs = rs, .snap_txn = s->txn};
	struct rstore_key key = {0};
	size_t n = 0;
	int r = check_open(rs, s);

	if (!r)
		r = rstore_cursor_plain(&m.now, rs, from, to, since);
	if (!r)
		r = rstore_cursor_kept(&m.kept, rs, s->id, from, to, since);
	while (!r) {
		const struct tree_entry *e;
		struct tree_cursor *c;

		r = merge_peek(&m, &e, &key, &c);
		if (r)
			break;
		if (!e || (max && n == max)) {
			*ret_more = e != NULL;
			if (e)
				*ret_next = key;
			return 0;
		}
		c->i++;
		r = deliver(&m, &key, e, fn, arg, &n);
	}
	return r;
}
