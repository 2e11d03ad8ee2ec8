/*
 * The kernel's references to inodes that are not in memory: id -> lookup count.
 *
 * The kernel may hold millions of inodes for as long as it likes. What the engine owes it for a
 * clean one that nobody has open is its count alone, so that is all that is kept: 16 bytes in an
 * open-addressed table. A count leaves the table when the inode is loaded, and comes back when it
 * is evicted. Orphans and destroyed files are not evicted while they are referred to.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/engine_internal.h"

#define SIZE_MIN 1024u
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

struct inode_ref {
	uint64_t id, n; /* id 0: empty */
};

static size_t home(const struct inode_refs *t, uint64_t id)
{
	return ((id * GOLDEN) >> 20) & (t->size - 1);
}

/* Where the id is, or where it would go. */
static struct inode_ref *at(const struct inode_refs *t, uint64_t id)
{
	size_t i = home(t, id);

	while (t->v[i].id && t->v[i].id != id)
		i = (i + 1) & (t->size - 1);
	return &t->v[i];
}

static int grow(struct inode_refs *t)
{
	struct inode_refs wider = {.size = t->size ? 2 * t->size : SIZE_MIN, .n = t->n};

	wider.v = calloc(wider.size, sizeof(*wider.v));
	if (!wider.v)
		return -ENOMEM;
	for (size_t i = 0; i < t->size; i++) {
		if (t->v[i].id)
			*at(&wider, t->v[i].id) = t->v[i];
	}
	free(t->v);
	*t = wider;
	return 0;
}

int inode_refs_put(struct inode_refs *t, uint64_t id, uint64_t n)
{
	if (!n)
		return 0;
	if (t->n >= t->size / 2) {
		int r = grow(t);

		if (r)
			return r;
	}
	struct inode_ref *e = at(t, id);
	t->n += !e->id;
	e->id = id;
	e->n = n;
	return 0;
}

uint64_t inode_refs_get(const struct inode_refs *t, uint64_t id)
{
	return t->n ? at(t, id)->n : 0;
}

/* What stands behind a hole and would have come to stand in it moves up. */
static void close_hole(struct inode_refs *t, size_t hole)
{
	size_t mask = t->size - 1;

	for (size_t i = (hole + 1) & mask; t->v[i].id; i = (i + 1) & mask) {
		if (((i - home(t, t->v[i].id)) & mask) < ((i - hole) & mask))
			continue;
		t->v[hole] = t->v[i];
		hole = i;
	}
	t->v[hole] = (struct inode_ref){0};
}

uint64_t inode_refs_take(struct inode_refs *t, uint64_t id)
{
	struct inode_ref *e = t->n ? at(t, id) : NULL;

	if (!e || !e->id)
		return 0;
	uint64_t n = e->n;
	close_hole(t, (size_t)(e - t->v));
	t->n--;
	return n;
}

void inode_refs_drop(struct inode_refs *t, uint64_t id, uint64_t n)
{
	uint64_t had = inode_refs_take(t, id);

	/* There is room: one was just taken out. */
	if (had > n)
		(void)inode_refs_put(t, id, had - n);
}

void inode_refs_free(struct inode_refs *t)
{
	free(t->v);
	*t = (struct inode_refs){0};
}
