/* The table of a closure: nodes in the order they were reached, found by id through open
 * addressing. */
#include "shred/inventory_internal.h"

#include <errno.h>
#include <stdlib.h>

#define SLOTS_MIN 1024
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

void closure_table_free(struct closure_table *t)
{
	free(t->v);
	free(t->slots);
	*t = (struct closure_table){0};
}

/* The slot that holds the id, or the free one where it would go. There is always a free one. */
static size_t slot_of(const struct closure_table *t, uint64_t id)
{
	size_t at = (size_t)((id * GOLDEN) >> 16) & (t->n_slots - 1);

	while (t->slots[at] && t->v[t->slots[at] - 1].id != id)
		at = (at + 1) & (t->n_slots - 1);
	return at;
}

size_t closure_table_find(const struct closure_table *t, uint64_t id)
{
	if (!t->n_slots)
		return SIZE_MAX;
	size_t at = slot_of(t, id);
	return t->slots[at] ? t->slots[at] - 1 : SIZE_MAX;
}

/* At most half of the slots are taken. */
static int grow_slots(struct closure_table *t)
{
	size_t want = t->n_slots ? t->n_slots * 2 : SLOTS_MIN;
	size_t *slots;

	if (t->n + 1 <= t->n_slots / 2)
		return 0;
	slots = calloc(want, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(t->slots);
	t->slots = slots;
	t->n_slots = want;
	for (size_t i = 0; i < t->n; i++)
		t->slots[slot_of(t, t->v[i].id)] = i + 1;
	return 0;
}

static int grow_nodes(struct closure_table *t)
{
	size_t want = t->cap ? t->cap * 2 : 256;
	struct closure_node *v;

	if (t->n < t->cap)
		return 0;
	v = reallocarray(t->v, want, sizeof(*v));
	if (!v)
		return -ENOMEM;
	t->v = v;
	t->cap = want;
	return 0;
}

int closure_table_add(struct closure_table *t, uint64_t id, size_t *ret, bool *ret_new)
{
	size_t at = closure_table_find(t, id);
	int r;

	*ret_new = at == SIZE_MAX;
	if (!*ret_new) {
		*ret = at;
		return 0;
	}
	r = grow_slots(t);
	if (r == 0)
		r = grow_nodes(t);
	if (r)
		return r;
	t->v[t->n] = (struct closure_node){.id = id};
	t->slots[slot_of(t, id)] = t->n + 1;
	*ret = t->n++;
	return 0;
}
