/* Which sets may be merged. See merge.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/merge.h"
#include "core/cleanup.h"

#define NONE SIZE_MAX

/* Who builds on whom. */
struct family {
	const struct set_catalog *c;
	const struct merge_rules *r;
	size_t *parent;     /* NONE */
	size_t *n_children;
	size_t *child;      /* the last one found */
	bool *superseded;
};

static void family_free(struct family *f)
{
	free(f->parent);
	free(f->n_children);
	free(f->child);
	free(f->superseded);
}

static int family_new(const struct set_catalog *c, const struct merge_rules *r, struct family *f)
{
	size_t n = c->n_sets + 1, by;

	*f = (struct family){.c = c, .r = r, .parent = calloc(n, sizeof(size_t)), .n_children = calloc(n, sizeof(size_t)),
			     .child = calloc(n, sizeof(size_t)), .superseded = calloc(n, sizeof(bool))};
	if (!f->parent || !f->n_children || !f->child || !f->superseded)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_sets; i++) {
		f->superseded[i] = set_catalog_superseded(c, i, &by);
		f->parent[i] = NONE;
	}
	/* A set that was merged away and still stands builds on nothing that counts. */
	for (size_t i = 0; i < c->n_sets; i++) {
		size_t p;

		if (c->sets[i].full || f->superseded[i] || !set_catalog_parent(c, i, &p))
			continue;
		f->parent[i] = p;
		f->n_children[p]++;
		f->child[p] = i;
	}
	return 0;
}

static bool possible(const struct family *f, size_t i)
{
	return f->r->whole[i] && !f->superseded[i] && f->c->sets[i].time < f->r->before;
}

/* It would be gone afterwards. */
static bool may_go(const struct family *f, size_t i)
{
	return possible(f, i) && !f->c->sets[i].full && !f->r->verdicts[i].own && f->n_children[i] == 1;
}

/* Its snapshot stays, as that of the merged set. */
static bool may_end(const struct family *f, size_t i)
{
	return possible(f, i) && !f->c->sets[i].full && !f->r->verdicts[i].held;
}

static int add_run(struct merge_run **io, size_t *io_n, const size_t *members, size_t n)
{
	struct merge_run *more = realloc(*io, (*io_n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	*io = more;
	more[*io_n] = (struct merge_run){.members = malloc(n * sizeof(*members)), .n = n};
	if (!more[*io_n].members)
		return -ENOMEM;
	memcpy(more[(*io_n)++].members, members, n * sizeof(*members));
	return 0;
}

/* From a set on that is nobody's continuation. */
static size_t follow(const struct family *f, size_t from, size_t members[SET_MERGED_MAX])
{
	size_t n = 0, i = from;

	while (n < SET_MERGED_MAX) {
		members[n++] = i;
		if (!may_go(f, i) || !may_end(f, f->child[i]))
			break;
		i = f->child[i];
	}
	return n;
}

static bool begins(const struct family *f, size_t i)
{
	size_t p = f->parent[i];

	return may_go(f, i) && !(p != NONE && may_go(f, p));
}

int merge_plan(const struct set_catalog *c, const struct merge_rules *rules, struct merge_run **ret, size_t *ret_n)
{
	CLEANUP_WITH(family_free) struct family f = {0};
	size_t members[SET_MERGED_MAX], n_runs = 0;
	struct merge_run *runs = NULL;
	int err = family_new(c, rules, &f);

	for (size_t i = 0; err == 0 && i < c->n_sets; i++) {
		if (!begins(&f, i))
			continue;
		size_t n = follow(&f, i, members);
		if (n >= 2 && n - 1 >= rules->min)
			err = add_run(&runs, &n_runs, members, n);
	}
	if (err) {
		merge_runs_free(runs, n_runs);
		return err;
	}
	*ret = runs;
	*ret_n = n_runs;
	return 0;
}

void merge_runs_free(struct merge_run *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(r[i].members);
	free(r);
}

/* --- sets that were named --- */

static int by_position(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

static int check_one(const struct family *f, const size_t *m, size_t i, size_t n, struct diag *d)
{
	const struct prune_verdict *v = &f->r->verdicts[m[i]];
	const char *id = f->c->sets[m[i]].id;
	bool last = i + 1 == n;

	if (!f->r->whole[m[i]] || f->superseded[m[i]])
		return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "set %s: %s", id,
				 f->superseded[m[i]] ? "it was merged already" : "its chain is not whole");
	if (i > 0 && f->parent[m[i]] != m[i - 1])
		return diag_fail(d, DIAG_USAGE, -EINVAL, "set %s does not build on set %s", id,
				 f->c->sets[m[i - 1]].id);
	if (last ? v->held : v->own)
		return diag_fail(d, DIAG_HOLD, -EPERM, "set %s stays: %s", id, v->why);
	if (!last && f->n_children[m[i]] != 1)
		return diag_fail(d, DIAG_HOLD, -EPERM, "set %s: other sets build on it", id);
	return 0;
}

int merge_check(const struct set_catalog *c, const struct merge_rules *rules, const size_t *sets, size_t n,
		struct merge_run *ret, struct diag *d)
{
	CLEANUP_WITH(family_free) struct family f = {0};
	CLEANUP_FREE size_t *m = calloc(n + 1, sizeof(*m));
	int err = m ? family_new(c, rules, &f) : -ENOMEM;

	if (err)
		return diag_fail_errno(d, err, "merging");
	if (n < 2 || n > SET_MERGED_MAX)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "2 to %d sets can be merged", SET_MERGED_MAX);
	memcpy(m, sets, n * sizeof(*m));
	qsort(m, n, sizeof(*m), by_position);
	for (size_t i = 0; err == 0 && i < n; i++)
		err = check_one(&f, m, i, n, d);
	if (err == 0)
		*ret = (struct merge_run){STEAL_PTR(m), n};
	return err;
}
