/* What every set of every repository knows of places and lineages, loaded once and sorted. */
#include "shred/inventory_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "backup/set.h"
#include "core/cleanup.h"

static int pairs_add(struct set_pairs *p, uint64_t a, uint64_t b, uint8_t kind)
{
	if (p->n == p->cap) {
		size_t want = p->cap ? p->cap * 2 : 1024;
		struct set_pair *v = reallocarray(p->v, want, sizeof(*v));

		if (!v)
			return -ENOMEM;
		p->v = v;
		p->cap = want;
	}
	p->v[p->n++] = (struct set_pair){a, b, kind};
	return 0;
}

static int compare(const void *x, const void *y)
{
	const struct set_pair *p = x, *q = y;

	if (p->a != q->a)
		return p->a < q->a ? -1 : 1;
	if (p->b != q->b)
		return p->b < q->b ? -1 : 1;
	return p->kind - q->kind;
}

static void pairs_sort(struct set_pairs *p)
{
	size_t n = 0;

	if (p->n)
		qsort(p->v, p->n, sizeof(*p->v), compare);
	for (size_t i = 0; i < p->n; i++)
		if (!n || compare(&p->v[n - 1], &p->v[i]) != 0)
			p->v[n++] = p->v[i];
	p->n = n;
}

size_t set_pairs_of(const struct set_pairs *p, uint64_t a, size_t *ret_first)
{
	size_t lo = 0, hi = p->n, n = 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->v[mid].a < a)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_first = lo;
	while (lo + n < p->n && p->v[lo + n].a == a)
		n++;
	return n;
}

static int on_entry(void *arg, const struct set_entry *e)
{
	struct set_knowledge *k = arg;
	int r = 0;

	if (e->kind == SET_NAME || e->kind == SET_GONE)
		return pairs_add(&k->children, e->id, e->child, 0);
	if (e->kind == SET_EDGE) {
		r = pairs_add(&k->edges, e->id, e->link, e->flags);
		if (r == 0)
			r = pairs_add(&k->edges, e->link, e->id, e->flags);
	}
	return r;
}

static int load_repo(struct repo *repo, struct keyring *kr, struct set_knowledge *k, struct diag *d)
{
	CLEANUP_WITH(set_catalog_free) struct set_catalog c = {0};
	int r = set_catalog_load(repo, keyring_volume_id(kr), keyring_header(kr)->sign_pk, &c, d);

	if (r)
		return r;
	if (c.n_damaged)
		return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%s: set %s, manifest",
				 repo_url(repo), c.damaged[0]);
	for (size_t i = 0; i < c.n_sets && r == 0; i++) {
		struct diag inner = {0};

		r = set_index_read(repo, kr, &c.sets[i], on_entry, k, &inner);
		if (r && inner.id == DIAG_SET_DAMAGED)
			diag_fail(d, DIAG_SET_DAMAGED, r, "%s: %s", repo_url(repo), inner.object);
		else if (r)
			diag_fail_errno(d, r, "%s: set %s, index", repo_url(repo), c.sets[i].id);
	}
	return r;
}

int set_knowledge_load(struct repo *const *repos, size_t n_repos, struct keyring *kr,
		       struct set_knowledge *ret, struct diag *d)
{
	struct set_knowledge k = {0};
	int r = 0;

	for (size_t i = 0; i < n_repos && r == 0; i++)
		r = load_repo(repos[i], kr, &k, d);
	if (r) {
		set_knowledge_free(&k);
		return r;
	}
	pairs_sort(&k.children);
	pairs_sort(&k.edges);
	*ret = k;
	return 0;
}

void set_knowledge_free(struct set_knowledge *k)
{
	free(k->children.v);
	free(k->edges.v);
	*k = (struct set_knowledge){0};
}
