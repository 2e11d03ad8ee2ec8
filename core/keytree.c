/*
 * The puncturable tree: a sorted array of disjoint subtrees, and the path of the last derivation.
 *
 * A subtree of depth d covers 2^(64-d) ids, aligned to its size; depth 0 is the whole tree, depth
 * 64 a single id, whose seed is its key. Puncturing splits at most the two subtrees that the ends
 * of the range fall into; what lies between is dropped. The array is spliced in place, and the
 * slots that a shrinking leaves are wiped.
 */
#include "core/keytree.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/secret.h"

#define DEPTH_MAX 64
#define NODES_MIN 128
#define NODE_ENCODED (8 + 1 + KDF_KEY_LEN)
/* Co-paths of both ends: at most one subtree a level each. */
#define PIECES_MAX (2 * DEPTH_MAX)

struct node {
	uint64_t first;
	uint8_t depth;
	uint8_t seed[KDF_KEY_LEN];
};

/* seed[d] is the seed of the subtree of depth d that holds id, for base <= d <= 64. */
struct path {
	bool valid;
	unsigned base;
	uint64_t id;
	uint8_t seed[DEPTH_MAX + 1][KDF_KEY_LEN];
};

struct keytree {
	struct node *nodes; /* guarded; sorted by first, disjoint */
	size_t n, cap;
	struct path *path; /* guarded */
};

/* The subtrees that take the place of those a range meets. */
struct pieces {
	struct node nodes[PIECES_MAX];
	size_t n;
};

/* ids of a subtree of this depth, less one: also the mask of its alignment. */
static uint64_t span(unsigned depth)
{
	return depth == DEPTH_MAX ? 0 : UINT64_MAX >> depth;
}

static uint64_t node_last(const struct node *n)
{
	return n->first + span(n->depth);
}

/* --- memory --- */

static struct keytree *keytree_alloc(size_t n)
{
	struct keytree *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->cap = n < NODES_MIN ? NODES_MIN : n;
	t->nodes = secret_slab_new(t->cap * sizeof(*t->nodes));
	t->path = secret_slab_new(sizeof(*t->path));
	if (!t->nodes || !t->path) {
		keytree_free(t);
		return NULL;
	}
	return t;
}

struct keytree *keytree_new(void)
{
	struct keytree *t = keytree_alloc(1);

	if (!t)
		return NULL;
	kdf_random(t->nodes[0].seed, KDF_KEY_LEN);
	t->n = 1;
	return t;
}

struct keytree *keytree_clone(const struct keytree *t)
{
	struct keytree *c = keytree_alloc(t->n);

	if (!c)
		return NULL;
	memcpy(c->nodes, t->nodes, t->n * sizeof(*t->nodes));
	c->n = t->n;
	return c;
}

void keytree_free(struct keytree *t)
{
	if (!t)
		return;
	secret_slab_free(t->nodes);
	secret_slab_free(t->path);
	free(t);
}

static int reserve(struct keytree *t, size_t n)
{
	struct node *grown;
	size_t cap = t->cap;

	if (n > KEYTREE_NODES_MAX)
		return -ENOSPC;
	if (n <= cap)
		return 0;
	while (cap < n)
		cap *= 2;
	grown = secret_slab_new(cap * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memcpy(grown, t->nodes, t->n * sizeof(*grown));
	secret_slab_free(t->nodes);
	t->nodes = grown;
	t->cap = cap;
	return 0;
}

/* --- looking up --- */

/* The first subtree that ends at or after id; n when there is none. */
static size_t lower_bound(const struct keytree *t, uint64_t id)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (node_last(&t->nodes[mid]) < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool keytree_has_any(const struct keytree *t, uint64_t first, uint64_t last)
{
	size_t i = lower_bound(t, first);

	return i < t->n && t->nodes[i].first <= last;
}

bool keytree_has(const struct keytree *t, uint64_t id)
{
	return keytree_has_any(t, id, id);
}

size_t keytree_n_nodes(const struct keytree *t)
{
	return t->n;
}

/* --- deriving --- */

static void path_drop(struct keytree *t)
{
	secret_wipe(t->path, sizeof(*t->path));
}

/* How many levels below the root the paths of two ids share. */
static unsigned shared_depth(uint64_t a, uint64_t b)
{
	return a == b ? DEPTH_MAX : (unsigned)__builtin_clzll(a ^ b);
}

/* Makes the path stand on id's covering subtree; from what depth on it has to be walked. */
static int path_enter(struct keytree *t, uint64_t id, unsigned *ret_depth)
{
	struct path *p = t->path;
	size_t i;

	/* Sharing the covering subtree is what makes the shared part of the path ours. */
	if (p->valid && shared_depth(p->id, id) >= p->base) {
		*ret_depth = shared_depth(p->id, id);
		return 0;
	}
	i = lower_bound(t, id);
	if (i == t->n || t->nodes[i].first > id)
		return -EKEYREVOKED;
	p->base = t->nodes[i].depth;
	memcpy(p->seed[p->base], t->nodes[i].seed, KDF_KEY_LEN);
	*ret_depth = p->base;
	return 0;
}

/* The seed one level below a subtree of this depth, towards id. */
static void step(uint8_t out[KDF_KEY_LEN], const uint8_t seed[KDF_KEY_LEN], unsigned depth,
		 uint64_t id)
{
	uint8_t both[2 * KDF_KEY_LEN];
	unsigned right = (unsigned)(id >> (DEPTH_MAX - 1 - depth)) & 1;

	kdf_ggm_children(both, seed);
	memcpy(out, both + right * KDF_KEY_LEN, KDF_KEY_LEN);
	secret_wipe(both, sizeof(both));
}

int keytree_derive(struct keytree *t, uint64_t id, uint8_t ret[KDF_KEY_LEN])
{
	struct path *p = t->path;
	unsigned depth;
	int r = path_enter(t, id, &depth);

	if (r < 0)
		return r;
	for (; depth < DEPTH_MAX; depth++)
		step(p->seed[depth + 1], p->seed[depth], depth, id);
	p->id = id;
	p->valid = true;
	memcpy(ret, p->seed[DEPTH_MAX], KDF_KEY_LEN);
	return 0;
}

/* --- puncturing --- */

/*
 * Appends what is left of one subtree without first..last. Splits go down one path for each end of
 * the range inside it, so the recursion is at most 64 deep and its pieces fit.
 */
static void split(struct pieces *out, const struct node *n, uint64_t first, uint64_t last)
{
	uint8_t both[2 * KDF_KEY_LEN];
	struct node child;

	if (node_last(n) < first || n->first > last) {
		assert(out->n < PIECES_MAX);
		out->nodes[out->n++] = *n;
		return;
	}
	if (first <= n->first && node_last(n) <= last)
		return;
	kdf_ggm_children(both, n->seed);
	for (unsigned right = 0; right < 2; right++) {
		child.depth = (uint8_t)(n->depth + 1);
		child.first = n->first + (right ? span(child.depth) + 1 : 0);
		memcpy(child.seed, both + right * KDF_KEY_LEN, KDF_KEY_LEN);
		split(out, &child, first, last);
	}
	secret_wipe(both, sizeof(both));
	secret_wipe(&child, sizeof(child));
}

/* Puts the pieces in the place of nodes[from..to). */
static int splice(struct keytree *t, size_t from, size_t to, const struct pieces *in)
{
	size_t n = t->n - (to - from) + in->n;
	int r = reserve(t, n);

	if (r < 0)
		return r;
	memmove(t->nodes + from + in->n, t->nodes + to, (t->n - to) * sizeof(*t->nodes));
	memcpy(t->nodes + from, in->nodes, in->n * sizeof(*t->nodes));
	if (n < t->n)
		secret_wipe(t->nodes + n, (t->n - n) * sizeof(*t->nodes));
	t->n = n;
	path_drop(t);
	return 0;
}

/* The subtrees nodes[from..to) that meet first..last, and what is left of them. */
static void cut(const struct keytree *t, uint64_t first, uint64_t last, size_t *ret_from,
		size_t *ret_to, struct pieces *left)
{
	size_t i = lower_bound(t, first);

	*ret_from = i;
	left->n = 0;
	for (; i < t->n && t->nodes[i].first <= last; i++)
		split(left, &t->nodes[i], first, last);
	*ret_to = i;
}

int keytree_puncture(struct keytree *t, uint64_t first, uint64_t last)
{
	struct pieces left;
	size_t from, to;
	int r;

	if (first > last)
		return -EINVAL;
	cut(t, first, last, &from, &to, &left);
	r = from == to ? 0 : splice(t, from, to, &left);
	secret_wipe(&left, sizeof(left));
	return r;
}

/* Appends fresh subtrees over first..2^64-1: one for each aligned step up to the end. */
static void graft(struct pieces *out, uint64_t first)
{
	for (;;) {
		struct node *n = &out->nodes[out->n++];
		unsigned zeros = first ? (unsigned)__builtin_ctzll(first) : DEPTH_MAX;

		n->first = first;
		n->depth = (uint8_t)(DEPTH_MAX - zeros);
		kdf_random(n->seed, KDF_KEY_LEN);
		if (node_last(n) == UINT64_MAX)
			return;
		first = node_last(n) + 1;
	}
}

int keytree_regenerate(struct keytree *t, uint64_t first)
{
	struct pieces left;
	size_t from, to;
	int r;

	cut(t, first, UINT64_MAX, &from, &to, &left);
	graft(&left, first);
	r = splice(t, from, to, &left);
	secret_wipe(&left, sizeof(left));
	return r;
}

/* --- encoding --- */

size_t keytree_encoded_len(const struct keytree *t)
{
	return 4 + t->n * NODE_ENCODED;
}

void keytree_encode(const struct keytree *t, uint8_t *out)
{
	bytes_put32(out, (uint32_t)t->n);
	out += 4;
	for (size_t i = 0; i < t->n; i++, out += NODE_ENCODED) {
		bytes_put64(out, t->nodes[i].first);
		out[8] = t->nodes[i].depth;
		memcpy(out + 9, t->nodes[i].seed, KDF_KEY_LEN);
	}
}

/* The next subtree; false unless it is aligned and lies behind the one before it. */
static bool node_decode(struct node *n, const uint8_t *in, const struct node *before)
{
	n->first = bytes_get64(in);
	n->depth = in[8];
	memcpy(n->seed, in + 9, KDF_KEY_LEN);
	if (n->depth > DEPTH_MAX || n->first & span(n->depth))
		return false;
	return !before || n->first > node_last(before);
}

int keytree_decode(struct bytes_r *r, struct keytree **ret)
{
	CLEANUP_KEYTREE struct keytree *t = NULL;
	uint32_t n = bytes_r_u32(r);
	const uint8_t *in;

	/* Before any memory is asked for: a count cannot promise more than there is. */
	if (r->err || n > KEYTREE_NODES_MAX || n > r->left / NODE_ENCODED) {
		bytes_r_fail(r);
		return -EUCLEAN;
	}
	in = bytes_r_raw(r, (size_t)n * NODE_ENCODED);
	t = keytree_alloc(n);
	if (!t)
		return -ENOMEM;
	for (; t->n < n; t->n++, in += NODE_ENCODED) {
		if (!node_decode(&t->nodes[t->n], in, t->n ? &t->nodes[t->n - 1] : NULL)) {
			bytes_r_fail(r);
			return -EUCLEAN;
		}
	}
	*ret = STEAL_PTR(t);
	return 0;
}
