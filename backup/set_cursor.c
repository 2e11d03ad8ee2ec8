/*
 * Merging the indices of a chain in the order of keys.
 *
 * A block is opened when its first key is due, and given up after its last: at any time only blocks
 * that overlap at one key are open.
 */
#include "backup/set_index_internal.h"

#include <errno.h>
#include <stdlib.h>

struct open_block {
	struct set_block *b;
	size_t pos;
	uint32_t ix;
};
struct set_cursor {
	struct set_index *const *ix;
	size_t n_ix;
	struct set_key from, to;
	size_t *next; /* of each index: its first block that is not opened yet */
	struct open_block *open;
	size_t n_open, cap_open;
};

int set_cursor_open(struct set_index *const *ix, size_t n, const struct set_key *from, const struct set_key *to,
		    struct set_cursor **ret)
{
	struct set_cursor *c = calloc(1, sizeof(*c));

	if (!c || !(c->next = calloc(n ? n : 1, sizeof(*c->next)))) {
		free(c);
		return -ENOMEM;
	}
	c->ix = ix;
	c->n_ix = n;
	c->from = *from;
	c->to = *to;
	for (size_t i = 0; i < n; i++)
		c->next[i] = set_index_reaching(ix[i], from);
	*ret = c;
	return 0;
}

void set_cursor_close(struct set_cursor *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_open; i++)
		set_block_put(c->open[i].b);
	free(c->open);
	free(c->next);
	free(c);
}

static int open_next(struct set_cursor *c, size_t ix)
{
	struct set_index *x = c->ix[ix];
	size_t i = c->next[ix]++;

	if (set_key_cmp(&x->order[i].f.last, &c->from) < 0)
		return 0;
	if (c->n_open == c->cap_open) {
		size_t cap = c->cap_open ? 2 * c->cap_open : 8;
		struct open_block *more = realloc(c->open, cap * sizeof(*more));
		if (!more)
			return -ENOMEM;
		c->open = more;
		c->cap_open = cap;
	}
	struct open_block *o = &c->open[c->n_open];
	int err = set_block_get(x, i, &o->b);
	if (err)
		return err;
	o->ix = (uint32_t)ix;
	o->pos = set_block_lower(o->b, &c->from);
	if (o->pos == o->b->n)
		set_block_put(o->b);
	else
		c->n_open++;
	return 0;
}

static int cmp_open(const struct open_block *a, const struct open_block *b)
{
	int c = set_entry_cmp(&a->b->e[a->pos], &b->b->e[b->pos]);
	const struct set_key x = set_entry_key(&a->b->e[a->pos]), y = set_entry_key(&b->b->e[b->pos]);
	int key = set_key_cmp(&x, &y);

	if (key)
		return key;
	return a->ix != b->ix ? (a->ix < b->ix ? -1 : 1) : c;
}

static struct open_block *least(struct set_cursor *c)
{
	struct open_block *min = NULL;

	for (size_t i = 0; i < c->n_open; i++)
		if (!min || cmp_open(&c->open[i], min) < 0)
			min = &c->open[i];
	return min;
}

/* The index whose next block begins first; n_ix when none is left within bounds. */
static size_t first_due(const struct set_cursor *c)
{
	size_t due = c->n_ix;

	for (size_t i = 0; i < c->n_ix; i++) {
		const struct set_index *x = c->ix[i];

		if (c->next[i] == x->n || set_key_cmp(&x->order[c->next[i]].f.first, &c->to) > 0)
			continue;
		if (due == c->n_ix || set_key_cmp(&x->order[c->next[i]].f.first,
						  &c->ix[due]->order[c->next[due]].f.first) < 0)
			due = i;
	}
	return due;
}

/* Opens every block that may hold what comes next. */
static int open_due(struct set_cursor *c)
{
	for (size_t due; (due = first_due(c)) < c->n_ix;) {
		const struct open_block *min = least(c);
		int err;

		if (min) {
			const struct set_key k = set_entry_key(&min->b->e[min->pos]);
			if (set_key_cmp(&c->ix[due]->order[c->next[due]].f.first, &k) > 0)
				return 0;
		}
		err = open_next(c, due);
		if (err)
			return err;
	}
	return 0;
}

int set_cursor_next(struct set_cursor *c, struct set_entry *ret, uint32_t *ret_ix)
{
	int err = open_due(c);
	struct open_block *min = err ? NULL : least(c);

	if (!min)
		return err;
	const struct set_key k = set_entry_key(&min->b->e[min->pos]);
	if (set_key_cmp(&k, &c->to) > 0)
		return 0;
	*ret = min->b->e[min->pos];
	*ret_ix = min->ix;
	if (++min->pos == min->b->n) {
		set_block_put(min->b);
		*min = c->open[--c->n_open];
	}
	return 1;
}
