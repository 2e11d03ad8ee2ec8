/* Writing an index: entries collected, sorted, cut into blocks. See set_index.h. */
#include "backup/set_index.h"

#include <errno.h>
#include <stdlib.h>

int set_index_add(struct set_index_writer *w, const struct set_entry *e)
{
	if (!w->run && !(w->run = malloc(SET_INDEX_RUN * sizeof(*w->run))))
		return -ENOMEM;
	w->run[w->n_run++] = *e;
	return w->n_run == SET_INDEX_RUN ? set_index_flush(w) : 0;
}

static int add_fence(struct set_index_writer *w, const struct set_fence *f)
{
	if (w->n_fences == w->cap_fences) {
		size_t cap = w->cap_fences ? 2 * w->cap_fences : 64;
		struct set_fence *more = realloc(w->fences, cap * sizeof(*more));
		if (!more)
			return -ENOMEM;
		w->fences = more;
		w->cap_fences = cap;
	}
	w->fences[w->n_fences++] = *f;
	return 0;
}

/* One block from entry i on; *ret_n of them. */
static int put_block(struct set_index_writer *w, size_t i, struct bytes_w *plain, size_t *ret_n)
{
	struct set_fence f = {.first = set_entry_key(&w->run[i])};
	size_t n = 0;

	bytes_w_reset(plain);
	while (i + n < w->n_run && n < SET_INDEX_BLOCK_ENTRIES && plain->len < SET_INDEX_BLOCK)
		set_index_put_entry(plain, &w->run[i + n++]);
	if (plain->err)
		return plain->err;
	f.last = set_entry_key(&w->run[i + n - 1]);
	f.n = (uint32_t)n;
	int err = w->put(w->arg, (uint32_t)w->n_fences, plain->buf, plain->len, &f.pack, &f.off, &f.len);
	*ret_n = n;
	return err ? err : add_fence(w, &f);
}

int set_index_flush(struct set_index_writer *w)
{
	CLEANUP_BYTES struct bytes_w plain = {0};
	int err = 0;

	if (w->n_run)
		qsort(w->run, w->n_run, sizeof(*w->run), set_entry_cmp);
	for (size_t i = 0, n; err == 0 && i < w->n_run; i += n)
		err = put_block(w, i, &plain, &n);
	w->n_run = 0;
	return err;
}

void set_index_writer_free(struct set_index_writer *w)
{
	free(w->run);
	free(w->fences);
}
