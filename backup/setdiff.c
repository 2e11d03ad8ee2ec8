/* See setdiff.h: which paths belong together. What differs between two is in setdiff_entry.c. */
#include "backup/setdiff_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"

static const char *const names[] = {"added", "removed", "changed", "renamed"};

const char *setdiff_name(enum setdiff_what w)
{
	return names[w];
}

/* --- the paths of a set --- */

struct seen {
	uint64_t id, parent;
	uint32_t type_mode;
	char *path;
	const char *name; /* within path */
	struct seen *mate; /* in the other set */
};
struct tree {
	struct seen *v;
	size_t n, cap;
};
struct collecting {
	struct setdiff *x;
	struct tree *t;
	int side;
};

void setdiff_destroyed(struct setdiff *x, int side, const char *order)
{
	x->res.n_destroyed[side]++;
	snprintf(x->res.order, sizeof(x->res.order), "%s", order);
}

void setdiff_damaged(struct setdiff *x, int side, const char *path)
{
	bool first = x->res.n_damaged[0] + x->res.n_damaged[1] == 0;

	x->res.n_damaged[side]++;
	if (first)
		snprintf(x->res.first_damaged, sizeof(x->res.first_damaged), "set %s, %.400s",
			 setview_id(x->view[side]), *path ? path : "/");
}

static int on_met(void *arg, const struct setview_met *m)
{
	struct collecting *c = arg;
	struct tree *t = c->t;

	if (!m->name) {
		if (m->order)
			setdiff_destroyed(c->x, c->side, m->order);
		else
			setdiff_damaged(c->x, c->side, m->path);
		return 0;
	}
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 256;
		struct seen *more = realloc(t->v, cap * sizeof(*more));
		if (!more)
			return -ENOMEM;
		t->v = more;
		t->cap = cap;
	}
	char *path = strdup(m->path);
	if (!path)
		return -ENOMEM;
	t->v[t->n++] = (struct seen){.id = m->id,
				     .parent = m->parent,
				     .type_mode = m->type_mode,
				     .path = path,
				     .name = path + strlen(path) - strlen(m->name)};
	return 0;
}

static void tree_free(struct tree *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].path);
	free(t->v);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->path, ((const struct seen *)b)->path);
}

static int collect(struct setdiff *x, int side, struct tree *ret)
{
	struct collecting c = {.x = x, .t = ret, .side = side};
	int err = setview_walk(x->view[side], VOLUME_ROOT_ID, "", on_met, &c);

	if (err == 0 && ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_path);
	return err;
}

/* --- mates --- */

static void join(struct seen *a, struct seen *b)
{
	a->mate = b;
	b->mate = a;
}

static void match_paths(struct tree *a, struct tree *b)
{
	for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
		int c = strcmp(a->v[i].path, b->v[k].path);

		if (c == 0)
			join(&a->v[i++], &b->v[k++]);
		else if (c < 0)
			i++;
		else
			k++;
	}
}

static int by_file(const void *a, const void *b)
{
	const struct seen *x = *(struct seen *const *)a, *y = *(struct seen *const *)b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return strcmp(x->path, y->path);
}

static int lonely(struct tree *t, struct seen ***ret, size_t *ret_n)
{
	struct seen **v = calloc(t->n + 1, sizeof(*v));
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < t->n; i++)
		if (!t->v[i].mate)
			v[n++] = &t->v[i];
	qsort(v, n, sizeof(*v), by_file);
	*ret = v;
	*ret_n = n;
	return 0;
}

static bool same_link(const struct seen *a, const struct seen *b)
{
	return a->parent == b->parent && strcmp(a->name, b->name) == 0;
}

/* The names of one file that only one of the sets has: v and w, n and m of them. What moved along with
 * its folder meets itself before other names of the file do. */
static void match_names(struct seen **v, size_t n, struct seen **w, size_t m)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < m && !v[i]->mate; j++)
			if (!w[j]->mate && same_link(v[i], w[j]))
				join(v[i], w[j]);
	for (size_t i = 0; i < n; i++) {
		while (k < m && w[k]->mate)
			k++;
		if (!v[i]->mate && k < m)
			join(v[i], w[k]);
	}
}

static size_t run_of(struct seen **v, size_t at, size_t n)
{
	size_t len = 1;

	while (at + len < n && v[at + len]->id == v[at]->id)
		len++;
	return len;
}

static int match_files(struct tree *a, struct tree *b)
{
	CLEANUP_FREE struct seen **v = NULL, **w = NULL;
	size_t n = 0, m = 0;
	int err = lonely(a, &v, &n);

	if (err == 0)
		err = lonely(b, &w, &m);
	if (err)
		return err;
	for (size_t i = 0, k = 0; i < n && k < m;) {
		size_t in = run_of(v, i, n), kn = run_of(w, k, m);

		if (v[i]->id == w[k]->id)
			match_names(v + i, in, w + k, kn);
		uint64_t x = v[i]->id, y = w[k]->id;
		i += x <= y ? in : 0;
		k += y <= x ? kn : 0;
	}
	return 0;
}

/* --- telling --- */

static int tell(struct setdiff *x, const struct setdiff_entry *e)
{
	x->res.n[e->what]++;
	return x->fn(x->arg, e);
}

static int tell_pair(struct setdiff *x, const struct seen *a, const struct seen *b)
{
	bool same_path = strcmp(a->path, b->path) == 0;
	bool renamed = !same_path && !same_link(a, b);
	struct setdiff_entry e = {.what = renamed ? SETDIFF_RENAMED : SETDIFF_CHANGED,
				  .path = b->path,
				  .from = renamed ? a->path : NULL,
				  .type_mode = b->type_mode};
	int err = setdiff_compare(x, a->id, b->id, b->path, &e.content, &e.attributes);

	if (err)
		return err;
	return renamed || e.content || e.attributes ? tell(x, &e) : 0;
}

static int tell_one(struct setdiff *x, enum setdiff_what what, const struct seen *s)
{
	const struct setdiff_entry e = {.what = what, .path = s->path, .type_mode = s->type_mode};

	return tell(x, &e);
}

static int tell_all(struct setdiff *x, const struct tree *a, const struct tree *b)
{
	int err = 0;

	for (size_t i = 0, k = 0; err == 0 && (i < a->n || k < b->n);) {
		if (i < a->n && (k == b->n || strcmp(a->v[i].path, b->v[k].path) < 0)) {
			if (!a->v[i].mate)
				err = tell_one(x, SETDIFF_REMOVED, &a->v[i]);
			i++;
			continue;
		}
		if (i < a->n && strcmp(a->v[i].path, b->v[k].path) == 0)
			i++; /* its mate is b's */
		err = b->v[k].mate ? tell_pair(x, b->v[k].mate, &b->v[k])
				   : tell_one(x, SETDIFF_ADDED, &b->v[k]);
		k++;
	}
	return err;
}

int setdiff_run(struct setview *first, struct setview *second, setdiff_fn fn, void *arg,
		struct setdiff_result *ret, struct diag *d)
{
	struct setdiff x = {.view = {first, second}, .fn = fn, .arg = arg};
	struct tree a = {0}, b = {0};
	int err = collect(&x, 0, &a);

	if (err == 0)
		err = collect(&x, 1, &b);
	if (err == 0) {
		match_paths(&a, &b);
		err = match_files(&a, &b);
	}
	if (err == 0)
		err = tell_all(&x, &a, &b);
	tree_free(&a);
	tree_free(&b);
	*ret = x.res;
	return err < 0 ? diag_fail_errno(d, err, "comparing set %s with %s", setview_id(first),
					 setview_id(second))
		       : err;
}
