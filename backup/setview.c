/*
 * The tree of a set as of its snapshot: indices of the chain merged, the latest of everything, what
 * is gone left out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/setview_internal.h"
#include "core/cleanup.h"

struct loading {
	struct setview *sv;
	uint32_t set;
};

static int push(struct view_list *l, const struct set_entry *e, uint32_t set)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 1024;
		struct view_entry *more = realloc(l->v, cap * sizeof(*more));
		if (!more)
			return -ENOMEM;
		l->v = more;
		l->cap = cap;
	}
	l->v[l->n++] = (struct view_entry){.e = *e, .set = set};
	return 0;
}

static int on_entry(void *arg, const struct set_entry *e)
{
	struct loading *l = arg;

	switch (e->kind) {
	case SET_NODE:
		return push(&l->sv->nodes, e, l->set);
	case SET_NAME:
	case SET_GONE:
		return push(&l->sv->names, e, l->set);
	case SET_DATA:
		return push(&l->sv->data, e, l->set);
	default:
		return 0;
	}
}

static int cmp64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_id(const void *a, const void *b)
{
	const struct view_entry *x = a, *y = b;
	int c = cmp64(x->e.id, y->e.id);

	return c ? c : cmp64(x->set, y->set);
}

static int by_link(const void *a, const void *b)
{
	const struct view_entry *x = a, *y = b;
	int c = cmp64(x->e.id, y->e.id);

	if (c == 0)
		c = cmp64(x->e.link, y->e.link);
	return c ? c : cmp64(x->set, y->set);
}

static int by_range(const void *a, const void *b)
{
	const struct view_entry *x = a, *y = b;
	int c = cmp64(x->e.id, y->e.id);

	if (c == 0)
		c = cmp64(x->e.range, y->e.range);
	return c ? c : cmp64(x->set, y->set);
}

static void sort(struct view_list *l, int (*cmp)(const void *, const void *))
{
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), cmp);
}

/* Keeps the last of each key; names that are gone go. */
static void keep_latest(struct view_list *l, bool links)
{
	size_t out = 0;

	for (size_t i = 0; i < l->n; i++) {
		bool superseded = i + 1 < l->n && l->v[i + 1].e.id == l->v[i].e.id &&
				  (!links || l->v[i + 1].e.link == l->v[i].e.link);
		if (!superseded && l->v[i].e.kind != SET_GONE)
			l->v[out++] = l->v[i];
	}
	l->n = out;
}

int setview_open(struct repo *r, struct keyring *kr, const struct set_catalog *c, size_t set,
		 struct setview **ret, struct diag *d)
{
	struct setview *sv = calloc(1, sizeof(*sv));
	int err;

	if (!sv)
		return diag_fail_errno(d, -ENOMEM, "set %s", c->sets[set].id);
	sv->repo = r;
	sv->kr = kr;
	sv->catalog = c;
	err = set_catalog_chain(c, set, &sv->chain, &sv->n_chain, d);
	for (uint32_t i = 0; err == 0 && i < sv->n_chain; i++) {
		struct loading l = {.sv = sv, .set = i};
		err = set_index_read(r, kr, &c->sets[sv->chain[i]], on_entry, &l, d);
	}
	if (err) {
		setview_close(sv);
		return err;
	}
	sort(&sv->nodes, by_id);
	sort(&sv->names, by_link);
	sort(&sv->data, by_range);
	keep_latest(&sv->nodes, false);
	keep_latest(&sv->names, true);
	*ret = sv;
	return 0;
}

void setview_close(struct setview *sv)
{
	if (!sv)
		return;
	free(sv->chain);
	free(sv->nodes.v);
	free(sv->names.v);
	free(sv->data.v);
	free(sv);
}

const struct set_manifest *setview_manifest(const struct setview *sv, const struct view_entry *ve)
{
	return &sv->catalog->sets[sv->chain[ve->set]];
}

const char *setview_id(const struct setview *sv)
{
	return sv->catalog->sets[sv->chain[sv->n_chain - 1]].id;
}

int setview_read(struct setview *sv, const struct view_entry *ve, struct bytes_w *out)
{
	return set_record_read(sv->repo, sv->kr, setview_manifest(sv, ve), &ve->e, out);
}

/* The first entry whose id is not below. */
static size_t lower(const struct view_list *l, uint64_t id)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (l->v[mid].e.id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static size_t span(const struct view_list *l, uint64_t id, size_t *ret_first)
{
	size_t first = lower(l, id), end = id == UINT64_MAX ? l->n : lower(l, id + 1);

	*ret_first = first;
	return end - first;
}

const struct view_entry *setview_node(const struct setview *sv, uint64_t id)
{
	size_t first;

	return span(&sv->nodes, id, &first) ? &sv->nodes.v[first] : NULL;
}

size_t setview_names_of(const struct setview *sv, uint64_t parent, size_t *ret_first)
{
	return span(&sv->names, parent, ret_first);
}

size_t setview_data_of(const struct setview *sv, uint64_t id, size_t *ret_first)
{
	return span(&sv->data, id, ret_first);
}

void setview_order(struct setview *sv, uint64_t id, uint64_t parent,
		   char ret[KEYRING_ORDER_REF_MAX + 1])
{
	if (!keyring_gone(sv->kr, KEYRING_BACKUP, id, ret) &&
	    !keyring_gone(sv->kr, KEYRING_LIVE, id, ret))
		keyring_gone(sv->kr, KEYRING_BACKUP, parent, ret);
}

int setview_read_node(struct setview *sv, uint64_t id, struct bytes_w *body, struct set_node *ret)
{
	const struct view_entry *ve = setview_node(sv, id);
	char order[KEYRING_ORDER_REF_MAX + 1];

	/* A live file that was destroyed while the set was taken has a name in it, perhaps, and no
	 * node. */
	if (!ve)
		return keyring_gone(sv->kr, KEYRING_LIVE, id, order) ? -EKEYREVOKED : -EBADMSG;
	int err = setview_read(sv, ve, body);
	if (err == 0 && set_node_decode(body->buf, body->len, ret) != 0)
		err = -EBADMSG;
	return err;
}

int setview_attr(struct setview *sv, uint64_t id, struct volume_attr *ret)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	struct set_node n;
	int err = setview_read_node(sv, id, &body, &n);

	if (err)
		return err;
	*ret = n.attr;
	ret->id = id;
	return 0;
}
