/*
 * What of a file changed since the log or the last publication had it: which blocks got another
 * content or became holes, and how short the file was cut in between. Bounded: more is no matter
 * for the log (fs/log.h).
 */
#include "fs/data_internal.h"

void data_unlogged_clear(struct vfile *f)
{
	f->unlogged = (struct data_unlogged){.cut = UINT64_MAX};
}

void data_unlogged_cut(struct vfile *f, uint64_t size)
{
	if (size < f->unlogged.cut)
		f->unlogged.cut = size;
}

static bool touches(const struct data_unlogged_run *run, uint64_t first, uint64_t n)
{
	return first <= run->first + run->n && run->first <= first + n;
}

static void widen(struct data_unlogged *u, struct data_unlogged_run *run, uint64_t first,
		  uint64_t n)
{
	uint64_t end = first + n > run->first + run->n ? first + n : run->first + run->n;

	u->n_blocks -= run->n;
	run->first = first < run->first ? first : run->first;
	run->n = end - run->first;
	u->n_blocks += run->n;
}

void data_unlogged_add(struct vfile *f, uint64_t first, uint64_t n)
{
	struct data_unlogged *u = &f->unlogged;
	unsigned i = 0;

	if (u->too_much)
		return;
	while (i < u->n_runs && !touches(&u->runs[i], first, n))
		i++;
	if (i < u->n_runs) {
		widen(u, &u->runs[i], first, n);
	} else if (u->n_runs < DATA_UNLOGGED_RUNS) {
		u->runs[u->n_runs++] = (struct data_unlogged_run){first, n};
		u->n_blocks += n;
	} else {
		u->too_much = true;
	}
	if (u->n_blocks > DATA_UNLOGGED_BLOCKS)
		u->too_much = true;
}
