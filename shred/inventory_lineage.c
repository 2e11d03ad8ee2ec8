/*
 * Lineages: what was saved over, copied from or to, or restored from what is condemned.
 *
 * In rounds, because telling where a file's links are is a walk over the namespace: one for all
 * that a round brings. What is kept hands nothing on.
 */
#include "shred/inventory_internal.h"

#include <errno.h>

#include "core/bytes.h"

static int collect_edge(void *arg, uint64_t other, uint8_t kind)
{
	struct bytes_w *w = arg;

	bytes_w_u64(w, other);
	bytes_w_u8(w, kind);
	return w->err;
}

static void collect_set_edges(const struct closure *c, uint64_t id, struct bytes_w *w)
{
	size_t first, n = set_pairs_of(&c->sets.edges, id, &first);

	for (size_t i = first; i < first + n; i++) {
		bytes_w_u64(w, c->sets.edges.v[i].b);
		bytes_w_u8(w, c->sets.edges.v[i].kind);
	}
}

/* Whether where it lives was decided by lineage alone: then a copy made of condemned data changes
 * the decision. */
static bool by_lineage_alone(const struct closure_node *n)
{
	return !(n->flags & (INVENTORY_HISTORY | INVENTORY_SET)) && (n->flags & INVENTORY_LINEAGE);
}

static int join(struct closure *c, uint64_t id, bool copied, struct diag *d)
{
	size_t n_before = c->t.n, at;
	int r;

	if (id < VOLUME_FIRST_ID)
		return 0;
	r = closure_reach(c, id, 0, &at, d);
	if (r)
		return r;
	struct closure_node *n = &c->t.v[at];
	if (c->t.n > n_before)
		n->flags |= INVENTORY_LINEAGE;
	/* A folder that a restore made, or was made from, and that stands elsewhere is not dragged in: what
	 * was put into it since has nothing to do with the request. Its restored files go by their own lineage. */
	if ((n->flags & INVENTORY_PRESENT) && (n->flags & INVENTORY_DIR))
		return 0;
	if (copied && by_lineage_alone(n) && !n->copied) {
		n->copied = true;
		if (n->settled && !n->condemned) {
			n->flags &= ~(unsigned)INVENTORY_KEPT;
			n->condemned = true;
		}
	}
	return 0;
}

static int follow(struct closure *c, size_t at, struct diag *d)
{
	CLEANUP_BYTES struct bytes_w edges = {0};
	uint64_t id = c->t.v[at].id;
	int r = volume_edges(c->in->volume, id, collect_edge, &edges);

	c->t.v[at].followed = true;
	collect_set_edges(c, id, &edges);
	if (r == 0)
		r = edges.err;
	if (r)
		return diag_fail_errno(d, r, "lineage of id %llu", (unsigned long long)id);
	struct bytes_r rd = bytes_r_init(edges.buf, edges.len);
	while (r == 0 && rd.left) {
		uint64_t other = bytes_r_u64(&rd);
		uint8_t kind = bytes_r_u8(&rd);

		r = join(c, other, kind != VOLUME_EDGE_SAVED_OVER, d);
	}
	return r;
}

int closure_follow_lineages(struct closure *c, struct diag *d)
{
	bool more = true;
	int r = 0;

	while (more && r == 0) {
		more = false;
		for (size_t i = 0; i < c->t.n && r == 0; i++) {
			if (!c->t.v[i].condemned || c->t.v[i].followed)
				continue;
			more = true;
			r = follow(c, i, d);
		}
		if (more && r == 0)
			r = closure_settle(c, d);
		/* What is condemned now and is no more may have been a folder. */
		if (more && r == 0)
			r = closure_descend(c, d);
		if (more && r == 0)
			r = closure_settle(c, d);
	}
	return r;
}
