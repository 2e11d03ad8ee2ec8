/*
 * Freshness nodes: their sealed form and the cache of opened ones.
 *
 * A node is a box under the node key whose AD binds volume, number, level and transaction, so that
 * it opens only where its parent, which names all of these and the tag, expects it.
 * Format: docs/format.md "Freshness nodes".
 */
#include <string.h>

#include "fs/rstore_internal.h"

#define NODE_AD_LEN (16 + 8 + 1 + 8)
/* Two lengths, suffix, two varints, tag. */
#define NODE_ENTRY_MAX (2 + TREE_KEY_MAX + 10 + 10 + TREE_TAG_LEN)
#define NODE_BOX_MAX (SUITE_BOX_OVERHEAD + 2 + RSTORE_NODE_MAX * NODE_ENTRY_MAX)
#define NODE_GROW 32

/* --- cache --- */

static void list_unlink(struct node_list *l, struct tree_node *n)
{
	*(n->prev ? &n->prev->next : &l->head) = n->next;
	*(n->next ? &n->next->prev : &l->tail) = n->prev;
}

static void list_push(struct node_list *l, struct tree_node *n)
{
	n->prev = NULL;
	n->next = l->head;
	*(l->head ? &l->head->prev : &l->tail) = n;
	l->head = n;
}

static struct tree_node **hash_slot(struct node_cache *c, uint64_t no)
{
	/* Numbers are given out in sequence: their low bits spread by themselves. */
	return &c->hash[no & (c->n_hash - 1)];
}

static size_t node_bytes(const struct tree_node *n)
{
	return sizeof(*n) + n->cap * sizeof(*n->e);
}

int rstore_cache_init(struct node_cache *c, size_t max_bytes)
{
	size_t full = sizeof(struct tree_node) + RSTORE_NODE_MAX * sizeof(struct tree_entry);

	c->max_bytes = max_bytes ? max_bytes : (size_t)64 << 20;
	for (c->n_hash = 1024; c->n_hash < c->max_bytes / full * 2; c->n_hash *= 2)
		;
	c->hash = calloc(c->n_hash, sizeof(*c->hash));
	return c->hash ? 0 : -ENOMEM;
}

static void node_free(struct tree_node *n)
{
	free(n->e);
	free(n);
}

static void cache_remove(struct node_cache *c, struct tree_node *n)
{
	struct tree_node **slot = hash_slot(c, n->no);

	while (*slot != n)
		slot = &(*slot)->hash_next;
	*slot = n->hash_next;
	list_unlink(n->dirty ? &c->dirty : &c->clean, n);
	c->bytes -= node_bytes(n);
	node_free(n);
}

static void cache_add(struct node_cache *c, struct tree_node *n)
{
	struct tree_node **slot = hash_slot(c, n->no);

	n->hash_next = *slot;
	*slot = n;
	list_push(n->dirty ? &c->dirty : &c->clean, n);
	c->bytes += node_bytes(n);
}

void rstore_cache_trim(struct node_cache *c)
{
	while (c->bytes > c->max_bytes && c->clean.tail)
		cache_remove(c, c->clean.tail);
}

void rstore_cache_settle(struct node_cache *c)
{
	struct tree_node *n;

	while ((n = c->dirty.head)) {
		list_unlink(&c->dirty, n);
		n->dirty = false;
		list_push(&c->clean, n);
	}
}

void rstore_cache_drop_dirty(struct node_cache *c)
{
	while (c->dirty.head)
		cache_remove(c, c->dirty.head);
}

void rstore_cache_drop_clean(struct node_cache *c)
{
	while (c->clean.head)
		cache_remove(c, c->clean.head);
}

void rstore_cache_free(struct node_cache *c)
{
	if (!c->hash)
		return;
	rstore_cache_drop_dirty(c);
	rstore_cache_drop_clean(c);
	free(c->hash);
	c->hash = NULL;
}

struct tree_node *rstore_node_peek(struct rstore *rs, uint64_t no)
{
	struct tree_node *n = *hash_slot(&rs->cache, no);

	while (n && n->no != no)
		n = n->hash_next;
	return n;
}

void rstore_node_dirty(struct rstore *rs, struct tree_node *n)
{
	if (n->dirty)
		return;
	list_unlink(&rs->cache.clean, n);
	n->dirty = true;
	list_push(&rs->cache.dirty, n);
}

int rstore_node_reserve(struct rstore *rs, struct tree_node *n, unsigned want)
{
	unsigned cap = want + NODE_GROW < RSTORE_NODE_MAX ? want + NODE_GROW : RSTORE_NODE_MAX;
	struct tree_entry *e;

	if (want <= n->cap)
		return 0;
	e = reallocarray(n->e, cap, sizeof(*e));
	if (!e)
		return -ENOMEM;
	rs->cache.bytes += (cap - n->cap) * sizeof(*e);
	n->e = e;
	n->cap = cap;
	return 0;
}

int rstore_node_new(struct rstore *rs, uint8_t level, struct tree_node **ret)
{
	struct tree_node *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->no = rs->head.next_node++;
	n->level = level;
	n->last_pos = -2;
	n->dirty = true;
	cache_add(&rs->cache, n);
	*ret = n;
	return 0;
}

int rstore_node_delete(struct rstore *rs, struct tree_node *n)
{
	uint64_t no = n->no;

	cache_remove(&rs->cache, n);
	return rstore_db_del(rs, DB_NODE, no);
}

/* --- codec --- */

static void node_ad(const struct rstore *rs, uint64_t no, uint8_t level, uint64_t txn,
		    uint8_t ad[NODE_AD_LEN])
{
	memcpy(ad, rs->volume_id, 16);
	bytes_put64(ad + 16, no);
	ad[24] = level;
	bytes_put64(ad + 25, txn);
}

static unsigned shared_prefix(const struct tree_key *a, const struct tree_key *b)
{
	unsigned max = a->len < b->len ? a->len : b->len, i = 0;

	while (i < max && a->b[i] == b->b[i])
		i++;
	return i;
}

static void node_encode(const struct tree_node *n, uint64_t txn, struct bytes_w *w)
{
	static const struct tree_key none;
	const struct tree_key *before = &none;

	bytes_w_reset(w);
	bytes_w_u16(w, (uint16_t)n->n);
	for (unsigned i = 0; i < n->n; i++) {
		const struct tree_entry *e = &n->e[i];
		unsigned shared = shared_prefix(before, &e->key);

		bytes_w_u8(w, (uint8_t)shared);
		bytes_w_u8(w, (uint8_t)(e->key.len - shared));
		bytes_w_raw(w, e->key.b + shared, e->key.len - shared);
		bytes_w_varint(w, e->ref);
		bytes_w_varint(w, txn - e->txn);
		bytes_w_raw(w, e->tag, TREE_TAG_LEN);
		before = &e->key;
	}
}

static void entry_decode(struct bytes_r *r, const struct tree_node *n, unsigned i)
{
	struct tree_entry *e = &n->e[i];
	unsigned shared = bytes_r_u8(r), rest = bytes_r_u8(r);
	uint64_t age;

	if (shared > (i ? n->e[i - 1].key.len : 0) || shared + rest > TREE_KEY_MAX) {
		bytes_r_fail(r);
		return;
	}
	if (i)
		memcpy(e->key.b, n->e[i - 1].key.b, shared);
	bytes_r_copy(r, e->key.b + shared, rest);
	e->key.len = (uint8_t)(shared + rest);
	e->ref = bytes_r_varint(r);
	age = bytes_r_varint(r);
	e->txn = n->txn - age;
	e->dirty = false;
	bytes_r_copy(r, e->tag, TREE_TAG_LEN);
	if (age >= n->txn || !e->ref || (i && tree_key_cmp(&n->e[i - 1].key, &e->key) >= 0))
		bytes_r_fail(r);
}

static int node_decode(struct tree_node *n, const void *p, size_t len)
{
	struct bytes_r r = bytes_r_init(p, len);

	n->n = bytes_r_u16(&r);
	/* Only an empty store has an empty node: its root. */
	if (r.err || n->n > RSTORE_NODE_MAX || (!n->n && n->level))
		return -EUCLEAN;
	n->cap = n->n;
	n->e = calloc(n->n ? n->n : 1, sizeof(*n->e));
	if (!n->e)
		return -ENOMEM;
	for (unsigned i = 0; i < n->n && !r.err; i++)
		entry_decode(&r, n, i);
	return bytes_r_done(&r);
}

static int node_open(struct rstore *rs, const struct tree_ref *ref, struct tree_node *n)
{
	uint8_t ad[NODE_AD_LEN];
	const struct bytes_w *box = &rs->box;
	uint8_t *pt;
	int r = rstore_db_get(rs, DB_NODE, ref->no, &rs->box);

	if (r)
		return r == -ENOENT ? -EBADMSG : r;
	if (box->len < SUITE_BOX_OVERHEAD || box->len > NODE_BOX_MAX ||
	    memcmp(box->buf + box->len - SUITE_TAG_LEN, ref->tag, TREE_TAG_LEN) != 0)
		return -EBADMSG;
	bytes_w_reset(&rs->plain);
	pt = bytes_w_room(&rs->plain, box->len - SUITE_BOX_OVERHEAD);
	if (!pt)
		return -ENOMEM;
	node_ad(rs, ref->no, ref->level, ref->txn, ad);
	r = suite_open(rs->suite, secret_bytes(rs->keys), ad, sizeof(ad), box->buf, box->len, pt);
	return r ? r : node_decode(n, pt, rs->plain.len);
}

int rstore_node_load(struct rstore *rs, const struct tree_ref *ref, struct tree_node **ret)
{
	struct tree_node *n = rstore_node_peek(rs, ref->no);
	int r;

	if (n) {
		struct node_list *l = n->dirty ? &rs->cache.dirty : &rs->cache.clean;

		list_unlink(l, n);
		list_push(l, n);
		*ret = n;
		return 0;
	}
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->no = ref->no;
	n->txn = ref->txn;
	n->level = ref->level;
	n->last_pos = -2;
	memcpy(n->tag, ref->tag, TREE_TAG_LEN);
	r = node_open(rs, ref, n);
	if (r) {
		node_free(n);
		return r;
	}
	cache_add(&rs->cache, n);
	*ret = n;
	return 0;
}

int rstore_node_write(struct rstore *rs, struct tree_node *n, uint64_t txn)
{
	uint8_t ad[NODE_AD_LEN];
	uint8_t *box;

	node_encode(n, txn, &rs->plain);
	bytes_w_reset(&rs->box);
	box = bytes_w_room(&rs->box, rs->plain.len + SUITE_BOX_OVERHEAD);
	if (rs->plain.err || !box)
		return -ENOMEM;
	node_ad(rs, n->no, n->level, txn, ad);
	suite_seal(rs->suite, secret_bytes(rs->keys), ad, sizeof(ad), rs->plain.buf, rs->plain.len,
		   box);
	n->txn = txn;
	memcpy(n->tag, box + rs->box.len - SUITE_TAG_LEN, TREE_TAG_LEN);
	return rstore_db_put(rs, DB_NODE, n->no, box, rs->box.len);
}
