/*
 * The freshness tree: a B+-tree whose leaves are the only index from record key to row.
 *
 * An inner entry's key is the lowest key its child may hold. An inner node's first entry has the
 * empty key instead: its child takes whatever the parent sends that is below the second key. So
 * separators ascend whichever children come and go; the lowest key of a node stands in its parent
 * only.
 *
 * Changing a leaf makes its whole path dirty, because a parent names its children's
 * transactions and tags; rstore_tree_flush seals bottom-up.
 */
#include <string.h>

#include "fs/rstore_internal.h"

struct path {
	unsigned depth; /* number of nodes; the last is the leaf */
	struct {
		struct tree_node *node;
		unsigned i; /* inner: the child taken; leaf: first entry >= key */
	} at[TREE_LEVELS];
	bool found;
};

static const struct tree_key lowest;

/* --- keys --- */

int tree_key_cmp(const struct tree_key *a, const struct tree_key *b)
{
	unsigned min = a->len < b->len ? a->len : b->len;
	int c = memcmp(a->b, b->b, min);

	return c ? c : (int)a->len - (int)b->len;
}

void tree_key_plain(struct tree_key *ret, const struct rstore_key *key)
{
	ret->len = key->len;
	memcpy(ret->b, key->b, key->len);
}

void tree_key_kept(struct tree_key *ret, uint64_t snap, const struct rstore_key *key)
{
	uint8_t len = key ? key->len : 0;

	ret->b[0] = RSTORE_KEY_RESERVED;
	bytes_put64be(ret->b + 1, snap);
	if (len)
		memcpy(ret->b + TREE_KEPT_PREFIX, key->b, len);
	ret->len = (uint8_t)(TREE_KEPT_PREFIX + len);
}

void tree_key_record(const struct tree_key *k, struct rstore_key *ret, bool *ret_kept)
{
	bool kept = k->len >= TREE_KEPT_PREFIX && k->b[0] == RSTORE_KEY_RESERVED;
	unsigned skip = kept ? TREE_KEPT_PREFIX : 0;
	unsigned len = k->len - skip;

	*ret = (struct rstore_key){0};
	ret->len = (uint8_t)(len < RSTORE_KEY_MAX ? len : RSTORE_KEY_MAX);
	memcpy(ret->b, k->b + skip, ret->len);
	if (ret_kept)
		*ret_kept = kept;
}

/* --- descent --- */

void tree_child_ref(const struct tree_node *n, unsigned i, struct tree_ref *ret)
{
	*ret = (struct tree_ref){
	    .no = n->e[i].ref, .txn = n->e[i].txn, .level = (uint8_t)(n->level - 1)};
	memcpy(ret->tag, n->e[i].tag, TREE_TAG_LEN);
}

/* First entry with a key >= key. */
static unsigned lower_bound(const struct tree_node *n, const struct tree_key *key)
{
	unsigned lo = 0, hi = n->n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (tree_key_cmp(&n->e[mid].key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The child of an inner node that covers key. */
static unsigned child_of(const struct tree_node *n, const struct tree_key *key)
{
	unsigned i = lower_bound(n, key);

	if (i < n->n && tree_key_cmp(&n->e[i].key, key) == 0)
		return i;
	return i ? i - 1 : 0;
}

static int descend(struct rstore *rs, const struct tree_key *key, struct path *p)
{
	struct tree_ref ref = rs->head.root;
	struct tree_node *n;
	int r;

	rstore_cache_trim(&rs->cache);
	for (p->depth = 0;;) {
		r = rstore_node_load(rs, &ref, &n);
		if (r)
			return r;
		p->at[p->depth].node = n;
		p->at[p->depth].i = n->level ? child_of(n, key) : lower_bound(n, key);
		p->depth++;
		if (!n->level)
			break;
		tree_child_ref(n, p->at[p->depth - 1].i, &ref);
	}
	p->found = p->at[p->depth - 1].i < n->n &&
		   tree_key_cmp(&n->e[p->at[p->depth - 1].i].key, key) == 0;
	return 0;
}

static void path_dirty(struct rstore *rs, struct path *p)
{
	for (unsigned d = 0; d < p->depth; d++) {
		rstore_node_dirty(rs, p->at[d].node);
		if (d + 1 < p->depth)
			p->at[d].node->e[p->at[d].i].dirty = true;
	}
}

int rstore_tree_find(struct rstore *rs, const struct tree_key *key, struct tree_entry *ret)
{
	struct path p;
	int r = descend(rs, key, &p);

	if (r)
		return r;
	if (!p.found)
		return -ENOENT;
	*ret = p.at[p.depth - 1].node->e[p.at[p.depth - 1].i];
	return 0;
}

/* --- put --- */

static int node_insert(struct rstore *rs, struct tree_node *n, unsigned pos,
		       const struct tree_entry *in)
{
	int r = rstore_node_reserve(rs, n, n->n + 1);

	if (r)
		return r;
	memmove(n->e + pos + 1, n->e + pos, (n->n - pos) * sizeof(*n->e));
	n->e[pos] = *in;
	n->n++;
	n->last_pos = (int)pos;
	return 0;
}

/*
 * Where a full node parts when something is inserted at pos. Runs of ascending keys leave full
 * nodes behind them, also in the middle of the tree; anything else parts in halves.
 */
static unsigned split_at(const struct tree_node *n, unsigned pos)
{
	if (pos == n->n || (int)pos == n->last_pos + 1)
		return pos;
	return n->n / 2;
}

static struct tree_entry entry_for(const struct tree_node *child, const struct tree_key *low)
{
	return (struct tree_entry){.key = *low, .dirty = true, .ref = child->no, .txn = child->txn};
}

/*
 * Moves the upper part of n into a new right neighbour and inserts into the half it belongs to.
 * *ret_up is the neighbour's entry for the parent.
 */
static int split_insert(struct rstore *rs, struct tree_node *n, unsigned pos,
			const struct tree_entry *in, struct tree_entry *ret_up)
{
	unsigned at = split_at(n, pos);
	struct tree_node *right;
	int r = rstore_node_new(rs, n->level, &right);

	if (!r)
		r = rstore_node_reserve(rs, right, n->n - at + 1);
	if (r)
		return r;
	memcpy(right->e, n->e + at, (n->n - at) * sizeof(*n->e));
	right->n = n->n - at;
	n->n = at;
	/* A full left half takes nothing more: the new entry opens the right one. */
	if (pos <= at && at < RSTORE_NODE_MAX)
		r = node_insert(rs, n, pos, in);
	else
		r = node_insert(rs, right, pos - at, in);
	*ret_up = entry_for(right, &right->e[0].key);
	if (right->level)
		right->e[0].key = lowest;
	return r;
}

static int grow_root(struct rstore *rs, struct tree_node *left, const struct tree_entry *right)
{
	struct tree_entry first = entry_for(left, &lowest);
	struct tree_node *root;
	int r;

	if (left->level + 1 >= TREE_LEVELS)
		return -EOVERFLOW;
	r = rstore_node_new(rs, (uint8_t)(left->level + 1), &root);
	if (!r)
		r = node_insert(rs, root, 0, &first);
	if (!r)
		r = node_insert(rs, root, 1, right);
	rs->head.root.no = root->no;
	rs->head.root.level = root->level;
	return r;
}

int rstore_tree_put(struct rstore *rs, const struct tree_entry *in)
{
	struct tree_entry up = *in;
	struct path p;
	int r = descend(rs, &in->key, &p);

	if (r)
		return r;
	path_dirty(rs, &p);
	if (p.found) {
		p.at[p.depth - 1].node->e[p.at[p.depth - 1].i] = *in;
		return 0;
	}
	for (unsigned d = p.depth; d-- > 0;) {
		struct tree_node *n = p.at[d].node;
		unsigned pos = p.at[d].i + (d + 1 < p.depth);

		if (n->n < RSTORE_NODE_MAX)
			return node_insert(rs, n, pos, &up);
		r = split_insert(rs, n, pos, &up, &up);
		if (r)
			return r;
	}
	return grow_root(rs, p.at[0].node, &up);
}

/* --- delete --- */

static void node_remove(struct tree_node *n, unsigned i)
{
	n->n--;
	memmove(n->e + i, n->e + i + 1, (n->n - i) * sizeof(*n->e));
	if (!i && n->level && n->n)
		n->e[0].key = lowest;
	n->last_pos = -2;
}

/* Joins child i of parent and its right neighbour when both are at hand and small. */
static int join(struct rstore *rs, struct tree_node *parent, unsigned i, bool *ret_joined)
{
	struct tree_node *left, *right;
	int r;

	if (i + 1 >= parent->n)
		return 0;
	left = rstore_node_peek(rs, parent->e[i].ref);
	right = rstore_node_peek(rs, parent->e[i + 1].ref);
	if (!left || !right || left->n + right->n > RSTORE_NODE_MAX / 2)
		return 0;
	r = rstore_node_reserve(rs, left, left->n + right->n);
	if (r)
		return r;
	if (right->level)
		right->e[0].key = parent->e[i + 1].key;
	memcpy(left->e + left->n, right->e, right->n * sizeof(*right->e));
	left->n += right->n;
	rstore_node_dirty(rs, left);
	parent->e[i].dirty = true;
	node_remove(parent, i + 1);
	*ret_joined = true;
	return rstore_node_delete(rs, right);
}

/* Child i of parent has lost an entry: removes it when empty, joins it when small. */
static int shrink(struct rstore *rs, struct tree_node *parent, unsigned i, bool *ret_changed)
{
	struct tree_node *n = rstore_node_peek(rs, parent->e[i].ref);
	int r = 0;

	*ret_changed = false;
	if (!n->n) {
		node_remove(parent, i);
		*ret_changed = true;
		return rstore_node_delete(rs, n);
	}
	if (n->n >= RSTORE_NODE_MAX / 4)
		return 0;
	if (i)
		r = join(rs, parent, i - 1, ret_changed);
	if (!r && !*ret_changed)
		r = join(rs, parent, i, ret_changed);
	return r;
}

/* A root with one child gives way to it; one without is an empty leaf. */
static int shrink_root(struct rstore *rs)
{
	struct tree_node *root = rstore_node_peek(rs, rs->head.root.no);
	struct tree_ref ref;
	int r;

	while (root->level && root->n == 1) {
		tree_child_ref(root, 0, &ref);
		r = rstore_node_delete(rs, root);
		if (!r)
			r = rstore_node_load(rs, &ref, &root);
		if (r)
			return r;
		rs->head.root = ref;
	}
	if (!root->n) {
		root->level = 0;
		rs->head.root.level = 0;
	}
	return 0;
}

int rstore_tree_del(struct rstore *rs, const struct tree_key *key)
{
	struct path p;
	bool changed = true;
	int r = descend(rs, key, &p);

	if (r)
		return r;
	if (!p.found)
		return -ENOENT;
	path_dirty(rs, &p);
	node_remove(p.at[p.depth - 1].node, p.at[p.depth - 1].i);
	for (unsigned d = p.depth - 1; d > 0 && changed && !r; d--)
		r = shrink(rs, p.at[d - 1].node, p.at[d - 1].i, &changed);
	return r ? r : shrink_root(rs);
}

/* --- flush --- */

static int flush(struct rstore *rs, struct tree_node *n, uint64_t txn)
{
	if (!n->dirty)
		return 0;
	for (unsigned i = 0; n->level && i < n->n; i++) {
		struct tree_node *child;
		int r;

		if (!n->e[i].dirty)
			continue;
		child = rstore_node_peek(rs, n->e[i].ref);
		r = flush(rs, child, txn);
		if (r)
			return r;
		n->e[i].txn = child->txn;
		memcpy(n->e[i].tag, child->tag, TREE_TAG_LEN);
		n->e[i].dirty = false;
	}
	return rstore_node_write(rs, n, txn);
}

int rstore_tree_flush(struct rstore *rs, uint64_t txn)
{
	struct tree_node *root = rstore_node_peek(rs, rs->head.root.no);
	int r;

	/* Not in memory: nothing on any path has changed. */
	if (!root || !root->dirty)
		return 0;
	r = flush(rs, root, txn);
	if (r)
		return r;
	rs->head.root.txn = root->txn;
	memcpy(rs->head.root.tag, root->tag, TREE_TAG_LEN);
	return 0;
}

/* --- cursor --- */

int rstore_cursor_init(struct tree_cursor *c, struct rstore *rs, const struct tree_key *from,
		       const struct tree_key *to, uint64_t since)
{
	*c = (struct tree_cursor){.rs = rs, .since = since, .next = *from, .to = *to};
	c->more = tree_key_cmp(from, to) < 0;
	c->run = calloc(RSTORE_NODE_MAX, sizeof(*c->run));
	return c->run ? 0 : -ENOMEM;
}

void rstore_cursor_free(struct tree_cursor *c)
{
	free(c->run);
	c->run = NULL;
}

/* A child written at or before since has nothing newer in it; a dirty one has no number yet. */
static bool skips(const struct tree_cursor *c, const struct tree_entry *e)
{
	return !e->dirty && e->txn <= c->since;
}

/* Down to the leaf for c->next, past children in which nothing is newer than since. */
static int cursor_leaf(struct tree_cursor *c, struct tree_node **ret, struct tree_key *ret_upper)
{
	struct tree_ref ref = c->rs->head.root;
	struct tree_node *n;
	int r;

	rstore_cache_trim(&c->rs->cache);
	*ret = NULL;
	*ret_upper = c->to;
	for (;;) {
		unsigned i;

		r = rstore_node_load(c->rs, &ref, &n);
		if (r)
			return r;
		if (!n->level)
			break;
		for (i = child_of(n, &c->next); i < n->n && skips(c, &n->e[i]); i++)
			;
		if (i == n->n)
			return 0;
		if (i + 1 < n->n && tree_key_cmp(&n->e[i + 1].key, ret_upper) < 0)
			*ret_upper = n->e[i + 1].key;
		tree_child_ref(n, i, &ref);
	}
	*ret = n;
	return 0;
}

static int cursor_fill(struct tree_cursor *c)
{
	struct tree_key upper;
	struct tree_node *n;
	int r = cursor_leaf(c, &n, &upper);

	if (r)
		return r;
	c->n = c->i = 0;
	for (unsigned i = n ? lower_bound(n, &c->next) : 0; n && i < n->n; i++) {
		if (tree_key_cmp(&n->e[i].key, &c->to) >= 0)
			break;
		if (n->e[i].txn > c->since)
			c->run[c->n++] = n->e[i];
	}
	c->next = upper;
	c->more = tree_key_cmp(&upper, &c->to) < 0;
	return 0;
}

int rstore_cursor_peek(struct tree_cursor *c, const struct tree_entry **ret)
{
	while (c->i == c->n && c->more) {
		int r = cursor_fill(c);

		if (r)
			return r;
	}
	*ret = c->i < c->n ? &c->run[c->i] : NULL;
	return 0;
}

/* The first key that is not a record's: where an open upper bound ends. */
static const struct rstore_key records_end = {.len = 1, .b = {RSTORE_KEY_RESERVED}};

static const struct rstore_key *upper_bound(const struct rstore_key *to)
{
	return !to || rstore_key_cmp(to, &records_end) > 0 ? &records_end : to;
}

int rstore_cursor_plain(struct tree_cursor *c, struct rstore *rs, const struct rstore_key *from,
			const struct rstore_key *to, uint64_t since)
{
	struct tree_key lo = {0}, hi;

	if (from)
		tree_key_plain(&lo, from);
	tree_key_plain(&hi, upper_bound(to));
	return rstore_cursor_init(c, rs, &lo, &hi, since);
}

int rstore_cursor_kept(struct tree_cursor *c, struct rstore *rs, uint64_t snap,
		       const struct rstore_key *from, const struct rstore_key *to, uint64_t since)
{
	struct tree_key lo, hi;

	tree_key_kept(&lo, snap, from);
	tree_key_kept(&hi, snap, upper_bound(to));
	return rstore_cursor_init(c, rs, &lo, &hi, since);
}
