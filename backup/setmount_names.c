/*
 * Names in mounted sets.
 *
 * A set has the names of a folder in the order of their links, each sealed for itself: to find one, all are opened.
 * They are kept for the next look-up, as long as there is room; of a folder with more names than that each look-up
 * opens them anew. Listing needs nothing kept: it goes on from a link.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/setmount_internal.h"
#include "core/secret.h"

/* --- names that are kept --- */

static size_t bytes_of(const struct setmount_listing *l)
{
	return l->names.len + l->n * sizeof(*l->v);
}

static void drop(struct setmount_listing *l)
{
	if (l->names.len)
		secret_wipe(l->names.buf, l->names.len);
	bytes_w_free(&l->names);
	free(l->v);
	*l = (struct setmount_listing){0};
}

void setmount_names_free(struct setmount *m)
{
	for (size_t i = 0; i < SETMOUNT_LISTINGS; i++)
		drop(&m->listings[i]);
}

/* Of those that are kept, but one, the least used; NULL: none. */
static struct setmount_listing *least_used(struct setmount *m, const struct setmount_listing *but)
{
	struct setmount_listing *found = NULL;

	for (size_t i = 0; i < SETMOUNT_LISTINGS; i++) {
		struct setmount_listing *l = &m->listings[i];

		if (l != but && l->node && (!found || l->used < found->used))
			found = l;
	}
	return found;
}

static struct setmount_listing *free_slot(struct setmount *m)
{
	for (size_t i = 0; i < SETMOUNT_LISTINGS; i++)
		if (!m->listings[i].node)
			return &m->listings[i];
	struct setmount_listing *l = least_used(m, NULL);
	drop(l);
	return l;
}

static void make_room(struct setmount *m, const struct setmount_listing *but)
{
	struct setmount_listing *least;
	size_t total = 0;

	for (size_t i = 0; i < SETMOUNT_LISTINGS; i++)
		total += bytes_of(&m->listings[i]);
	while (total > SETMOUNT_NAMES_TOTAL && (least = least_used(m, but))) {
		total -= bytes_of(least);
		drop(least);
	}
}

static int grow(struct setmount_listing *l)
{
	size_t cap = l->cap ? 2 * l->cap : 64;
	struct setmount_child *more = realloc(l->v, cap * sizeof(*more));

	if (!more)
		return -ENOMEM;
	l->v = more;
	l->cap = cap;
	return 0;
}

static int keep_name(void *arg, uint64_t child, uint32_t type_mode, const char *name, const char *order)
{
	struct setmount_listing *l = arg;

	if (!name) {
		l->damaged |= !order;
		return 0;
	}
	if (bytes_of(l) > SETMOUNT_NAMES_MAX)
		return -EFBIG;
	if (l->n == l->cap && grow(l) != 0)
		return -ENOMEM;
	l->v[l->n++] = (struct setmount_child){.id = child, .name = (uint32_t)l->names.len, .type_mode = type_mode};
	bytes_w_raw(&l->names, name, strlen(name) + 1);
	return l->names.err;
}

static int by_name(const void *a, const void *b, void *names)
{
	const struct setmount_child *x = a, *y = b;

	return strcmp((const char *)names + x->name, (const char *)names + y->name);
}

static int fill(const struct setmount_at *dir, struct setmount_listing *l)
{
	int err = setview_children(dir->sv, dir->id, keep_name, l);

	if (err == -EFBIG) {
		drop(l);
		l->too_many = true;
		err = 0;
	}
	if (err) {
		drop(l);
		return err;
	}
	l->node = dir->node;
	if (l->n)
		qsort_r(l->v, l->n, sizeof(*l->v), by_name, l->names.buf);
	return 0;
}

static int listing(struct setmount *m, const struct setmount_at *dir, struct setmount_listing **ret)
{
	struct setmount_listing *l = NULL;

	for (size_t i = 0; i < SETMOUNT_LISTINGS && !l; i++)
		if (m->listings[i].node == dir->node)
			l = &m->listings[i];
	if (!l) {
		l = free_slot(m);
		int err = fill(dir, l);
		if (err)
			return err;
		make_room(m, l);
	}
	l->used = ++m->n_uses;
	*ret = l;
	return 0;
}

/* --- look-up --- */

struct search {
	const char *name;
	uint64_t id;
	bool found, damaged;
};

static int compare(void *arg, uint64_t child, uint32_t type_mode, const char *name, const char *order)
{
	struct search *s = arg;
	(void)type_mode;

	s->damaged |= !name && !order;
	if (!name || strcmp(name, s->name) != 0)
		return 0;
	s->id = child;
	s->found = true;
	return 1;
}

static void search_kept(const struct setmount_listing *l, struct search *s)
{
	size_t lo = 0, hi = l->n;

	s->damaged = l->damaged;
	while (lo < hi && !s->found) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp((const char *)l->names.buf + l->v[mid].name, s->name);

		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
		s->found = c == 0;
		s->id = l->v[mid].id;
	}
}

int setmount_lookup(struct setmount *m, const struct setmount_at *dir, const char *name, uint64_t *ret_id)
{
	struct search s = {.name = name};
	struct setmount_listing *l;
	int err = listing(m, dir, &l);

	if (err == 0 && !l->too_many)
		search_kept(l, &s);
	else if (err == 0)
		err = setview_children(dir->sv, dir->id, compare, &s);
	if (err < 0)
		return setmount_failed(m, dir, err);
	if (s.found)
		*ret_id = s.id;
	/* It may be one of those that do not open. */
	return s.found ? 0 : s.damaged ? setmount_failed(m, dir, -EBADMSG) : -ENOENT;
}

/* --- listing --- */

struct reading {
	struct setmount *m;
	const struct setmount_at *dir;
	bool plus;
	readonly_tree_entry_fn fn;
	void *arg;
};

/* What it says of itself; not at hand when that does not open, which who asks for it is told. */
static const struct volume_attr *look(struct reading *r, uint64_t node, uint64_t id, struct volume_attr *a)
{
	struct setmount_at at = *r->dir;
	const struct set_node *n;

	at.node = node;
	at.id = id;
	if (!r->plus || setmount_read_node(r->m, &at, &n) != 0)
		return NULL;
	setmount_attr(&at, n, a);
	return a;
}

static int on_link(void *arg, uint64_t link, uint64_t child, uint32_t type_mode, const char *name, const char *order)
{
	uint64_t node;
	struct volume_attr a;
	struct reading *r = arg;

	if (!name && order)
		return 0;
	if (!name) {
		setmount_failed(r->m, r->dir, -EBADMSG);
		return r->fn(r->arg, NULL, 0, 0, link + 1, NULL);
	}
	node = setmount_node(r->dir->set, child);
	return r->fn(r->arg, name, node, type_mode, link + 1, look(r, node, child, &a));
}

int setmount_readdir(struct setmount *m, const struct setmount_at *dir, uint64_t cookie, bool plus,
		     readonly_tree_entry_fn fn, void *arg)
{
	struct reading r = {m, dir, plus, fn, arg};
	int err = setview_links(dir->sv, dir->id, cookie, on_link, &r);

	return err < 0 ? setmount_failed(m, dir, err) : 0;
}
