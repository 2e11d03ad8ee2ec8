/* With keys: which files a lost pack takes along. See repair.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/repair.h"
#include "backup/set_copy.h"
#include "backup/setview_internal.h"
#include "core/cleanup.h"

struct losing {
	struct repo *r;
	struct keyring *kr;
	const struct set_manifest *m;
	bool *pack_lost;
	uint64_t *ids; /* whose records are lost */
	size_t n, cap;
	uint64_t n_records;
	struct bytes_w plain;
	repair_path_fn fn;
	void *arg;
};

static int add(struct losing *x, uint64_t id)
{
	if (x->n == x->cap) {
		size_t cap = x->cap ? 2 * x->cap : 256;
		uint64_t *more = realloc(x->ids, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		x->ids = more;
		x->cap = cap;
	}
	x->ids[x->n++] = id;
	return 0;
}

/* A record in a damaged pack that still opens is not lost; one that an order destroyed is not ours to mourn. */
static int on_entry(void *arg, const struct set_entry *e)
{
	struct losing *x = arg;

	if (e->kind == SET_GONE || e->kind == SET_EDGE || e->pack >= x->m->n_packs || !x->pack_lost[e->pack])
		return 0;
	bytes_w_reset(&x->plain);
	int err = set_record_read(x->r, x->kr, x->m, e, &x->plain);
	if (err == 0 || err == -EKEYREVOKED)
		return 0;
	if (err != -EBADMSG && err != -EUCLEAN)
		return err;
	x->n_records++;
	return add(x, e->kind == SET_NAME ? e->child : e->id);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int on_met(void *arg, const struct setview_met *met)
{
	struct losing *x = arg;

	if (!x->n || !bsearch(&met->id, x->ids, x->n, sizeof(*x->ids), by_value))
		return 0;
	if (!met->name && met->order)
		return 0; /* destroyed */
	return x->fn(x->arg, met->name ? met->path : "");
}

static int mark_packs(struct losing *x, const struct repair_result *res)
{
	x->pack_lost = calloc(x->m->n_packs + 1, sizeof(*x->pack_lost));
	if (!x->pack_lost)
		return -ENOMEM;
	for (size_t i = 0; i < res->n_items; i++) {
		const struct repair_item *it = &res->items[i];

		if (strcmp(it->set, x->m->id) != 0 || it->state != REPAIR_LOST || strncmp(it->what, "pack-", 5) != 0)
			continue;
		size_t pack = (size_t)strtoul(it->what + 5, NULL, 10);
		if (pack < x->m->n_packs)
			x->pack_lost[pack] = true;
	}
	return 0;
}

int repair_lost_paths(struct repo *r, struct keyring *kr, const struct set_catalog *c, size_t set,
		      const struct repair_result *res, repair_path_fn fn, void *arg, uint64_t *ret_n_records,
		      struct diag *d)
{
	struct losing x = {.r = r, .kr = kr, .m = &c->sets[set], .fn = fn, .arg = arg};
	struct setview *sv = NULL;
	int err = mark_packs(&x, res);

	if (err == 0)
		err = set_index_read(r, kr, x.m, on_entry, &x, d);
	if (err == 0 && x.n)
		qsort(x.ids, x.n, sizeof(*x.ids), by_value);
	if (err == 0)
		err = setview_open(r, kr, c, set, &sv, d);
	if (err == 0) {
		uint64_t root = VOLUME_ROOT_ID;

		if (x.n && bsearch(&root, x.ids, x.n, sizeof(*x.ids), by_value))
			err = fn(arg, "/");
		if (err == 0)
			err = setview_walk(sv, VOLUME_ROOT_ID, "", on_met, &x);
	}
	setview_close(sv);
	*ret_n_records = x.n_records;
	free(x.pack_lost);
	free(x.ids);
	bytes_w_free(&x.plain);
	return err;
}
