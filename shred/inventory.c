/* From a request to its inventory, and what follows from one: ids, ranges, differences. */
#include "shred/inventory.h"

#include <errno.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "shred/inventory_internal.h"

static int by_id(const void *a, const void *b)
{
	uint64_t x = ((const struct inventory_item *)a)->id;
	uint64_t y = ((const struct inventory_item *)b)->id;

	return (x > y) - (x < y);
}

static void count(struct inventory *inv)
{
	inv->n_destroy = inv->n_kept = inv->n_bytes = 0;
	for (size_t i = 0; i < inv->n_items; i++) {
		if (inv->items[i].flags & INVENTORY_KEPT) {
			inv->n_kept++;
		} else {
			inv->n_destroy++;
			inv->n_bytes += inv->items[i].bytes;
		}
	}
}

static int list(const struct closure_table *t, struct inventory *inv)
{
	inv->items = calloc(t->n ? t->n : 1, sizeof(*inv->items));
	if (!inv->items)
		return -ENOMEM;
	for (size_t i = 0; i < t->n; i++)
		if (!t->v[i].gone)
			inv->items[inv->n_items++] =
			    (struct inventory_item){t->v[i].id, t->v[i].flags, t->v[i].bytes};
	qsort(inv->items, inv->n_items, sizeof(*inv->items), by_id);
	count(inv);
	return 0;
}

static int seal(struct volume *v, struct inventory *inv)
{
	CLEANUP_FREE uint64_t *ids = NULL;
	uint64_t bytes;
	size_t n;
	int r = inventory_ids(inv, &ids, &n);

	return r ? r : volume_sealed_digest(v, ids, n, inv->sealed, &bytes);
}

int inventory_build(const struct inventory_request *in, struct inventory *ret, struct diag *d)
{
	CLEANUP_WITH(closure_free) struct closure c = {.in = in};
	CLEANUP_WITH(inventory_free)
	struct inventory inv = {.destroy_moved = in->destroy_moved,
				.destroy_linked = in->destroy_linked};
	int r;

	if (!in->n_targets)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "an inventory without targets");
	r = set_knowledge_load(in->repos, in->n_repos, volume_keyring(in->volume), &c.sets, d);
	if (r == 0)
		r = closure_walk(&c, d);
	if (r == 0)
		r = closure_follow_lineages(&c, d);
	if (r)
		return r;
	r = list(&c.t, &inv);
	if (r == 0)
		r = seal(in->volume, &inv);
	if (r)
		return diag_fail_errno(d, r, "inventory");
	*ret = inv;
	inv = (struct inventory){0};
	return 0;
}

void inventory_free(struct inventory *inv)
{
	free(inv->items);
	*inv = (struct inventory){0};
}

int inventory_ids(const struct inventory *inv, uint64_t **ret, size_t *ret_n)
{
	uint64_t *ids = calloc(inv->n_items ? inv->n_items : 1, sizeof(*ids));
	size_t n = 0;

	if (!ids)
		return -ENOMEM;
	for (size_t i = 0; i < inv->n_items; i++)
		if (!(inv->items[i].flags & INVENTORY_KEPT))
			ids[n++] = inv->items[i].id;
	*ret = ids;
	*ret_n = n;
	return 0;
}

int inventory_ranges(const uint64_t *ids, size_t n, struct keyring_range **ret, size_t *ret_n)
{
	struct keyring_range *r = calloc(n ? n : 1, sizeof(*r));
	size_t n_ranges = 0;

	if (!r)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (n_ranges && ids[i] == r[n_ranges - 1].last + 1)
			r[n_ranges - 1].last = ids[i];
		else
			r[n_ranges++] = (struct keyring_range){ids[i], ids[i]};
	}
	*ret = r;
	*ret_n = n_ranges;
	return 0;
}

/* A backup taken meanwhile adds INVENTORY_SET, a merge takes it away: no difference in what is
 * destroyed. */
static bool item_differs(const struct inventory_item *a, const struct inventory_item *b)
{
	const unsigned telling = INVENTORY_TARGET | INVENTORY_PRESENT | INVENTORY_KEPT;

	return ((a->flags ^ b->flags) & telling) || a->bytes != b->bytes;
}

bool inventory_differs(const struct inventory *then, const struct inventory *now,
		       struct inventory_drift *ret)
{
	struct inventory_drift x = {0};
	size_t i = 0, k = 0;

	while (i < then->n_items || k < now->n_items) {
		const struct inventory_item *a = i < then->n_items ? &then->items[i] : NULL;
		const struct inventory_item *b = k < now->n_items ? &now->items[k] : NULL;

		if (!a || (b && b->id < a->id)) {
			x.n_new++;
			k++;
		} else if (!b || a->id < b->id) {
			x.n_missing += a->flags != INVENTORY_SET;
			i++;
		} else {
			x.n_changed += item_differs(a, b);
			i++;
			k++;
		}
	}
	/* An id without live records adds nothing to the digest. */
	for (i = 0; i < sizeof(then->sealed); i++)
		x.sealed |= then->sealed[i] != now->sealed[i];
	*ret = x;
	return x.n_new || x.n_missing || x.n_changed || x.sealed;
}
