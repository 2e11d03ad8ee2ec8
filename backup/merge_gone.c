/*
 * What a merge may drop, from a first pass through the indices: the files whose inode is gone, and, of those, what
 * deltas still copy from.
 *
 * A delta is kept when its file is, or when that file is itself needed as a basis. Deltas in sets after the
 * members count too: their basis lies in the chain below them.
 */
#include "backup/merge_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

struct knowing {
	struct merge_known *k;
	struct merge_bases deltas; /* of the members */
	uint32_t member;
	bool later; /* reading a set that is no member: its deltas are needed as they are */
};

static int add_basis(struct merge_bases *l, const struct merge_basis *b)
{
	/* The ranges of a file have mostly one basis. */
	if (l->n && !memcmp(&l->v[l->n - 1], b, sizeof(*b)))
		return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct merge_basis *more = realloc(l->v, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->v = more;
		l->cap = cap;
	}
	l->v[l->n++] = *b;
	return 0;
}

static int add_gone(struct merge_known *k, uint64_t id, uint32_t member)
{
	if (k->n_gone == k->cap_gone) {
		size_t cap = k->cap_gone ? 2 * k->cap_gone : 256;
		struct merge_gone *more = realloc(k->gone, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		k->gone = more;
		k->cap_gone = cap;
	}
	k->gone[k->n_gone++] = (struct merge_gone){id, member};
	return 0;
}

static int on_entry(void *arg, const struct set_entry *e)
{
	struct knowing *x = arg;

	if (set_entry_is_delta(e)) {
		const struct merge_basis b = {e->id, e->basis, e->as_of};
		return add_basis(x->later ? &x->k->needed : &x->deltas, &b);
	}
	if (e->kind == SET_GONE && (e->flags & SET_LAST) && !x->later)
		return add_gone(x->k, e->child, x->member);
	return 0;
}

static int by_gone(const void *a, const void *b)
{
	const struct merge_gone *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->member < y->member ? -1 : x->member > y->member;
}

static int by_basis(const void *a, const void *b)
{
	const struct merge_basis *x = a, *y = b;

	if (x->basis != y->basis)
		return x->basis < y->basis ? -1 : 1;
	return x->as_of < y->as_of ? -1 : x->as_of > y->as_of;
}

bool merge_is_gone(const struct merge_known *k, uint64_t id, uint32_t member)
{
	size_t lo = 0, hi = k->n_gone;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (k->gone[mid].id < id || (k->gone[mid].id == id && k->gone[mid].member < member))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < k->n_gone && k->gone[lo].id == id;
}

size_t merge_needed(const struct merge_known *k, uint64_t id, size_t *ret_first)
{
	size_t lo = 0, hi = k->needed.n, n = 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (k->needed.v[mid].basis < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_first = lo;
	while (lo + n < k->needed.n && k->needed.v[lo + n].basis == id)
		n++;
	return n;
}

static void sort_needed(struct merge_known *k)
{
	if (k->needed.n)
		qsort(k->needed.v, k->needed.n, sizeof(*k->needed.v), by_basis);
}

/* Until no delta is added: a chain of them is short. What is taken is not looked at again. */
static int close_over(struct knowing *x)
{
	struct merge_known *k = x->k;
	size_t before;

	do {
		before = k->needed.n;
		sort_needed(k);
		size_t left = 0;
		for (size_t i = 0; i < x->deltas.n; i++) {
			const struct merge_basis *b = &x->deltas.v[i];
			size_t first, known = k->needed.n;

			k->needed.n = before; /* sorted up to here */
			bool keep = !merge_is_gone(k, b->id, 0) || merge_needed(k, b->id, &first);
			k->needed.n = known;
			int err = keep ? add_basis(&k->needed, b) : 0;
			if (err)
				return err;
			if (!keep)
				x->deltas.v[left++] = *b;
		}
		x->deltas.n = left;
	} while (k->needed.n > before);
	sort_needed(k);
	return 0;
}

static bool is_member(const struct merge_run *run, size_t i)
{
	for (size_t k = 0; k < run->n; k++)
		if (run->members[k] == i)
			return true;
	return false;
}

static int read_all(const struct merge_request *in, struct knowing *x, struct diag *d)
{
	const struct set_catalog *c = in->catalog;
	const struct set_manifest *newest = &c->sets[in->run->members[in->run->n - 1]];
	int err = 0;

	for (size_t k = 0; err == 0 && k < in->run->n; k++) {
		x->member = (uint32_t)k;
		err = set_index_read(in->repo, in->kr, &c->sets[in->run->members[k]], on_entry, x, d);
	}
	x->later = true;
	for (size_t i = 0; err == 0 && i < c->n_sets; i++)
		if (!is_member(in->run, i) && c->sets[i].timeline == newest->timeline &&
		    c->sets[i].to_txn >= newest->to_txn)
			err = set_index_read(in->repo, in->kr, &c->sets[i], on_entry, x, d);
	return err;
}

int merge_know(const struct merge_request *in, struct merge_known *ret, struct diag *d)
{
	struct merge_known k = {0};
	struct knowing x = {.k = &k};
	int err = read_all(in, &x, d);

	if (err == 0 && k.n_gone)
		qsort(k.gone, k.n_gone, sizeof(*k.gone), by_gone);
	if (err == 0 && (err = close_over(&x)))
		diag_fail_errno(d, err, "merging");
	free(x.deltas.v);
	if (err) {
		merge_known_free(&k);
		return err;
	}
	*ret = k;
	return 0;
}

void merge_known_free(struct merge_known *k)
{
	free(k->gone);
	free(k->needed.v);
	*k = (struct merge_known){0};
}
