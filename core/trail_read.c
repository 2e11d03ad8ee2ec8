/*
 * Reading entries back: whole bundles from disk, where they never change; the partial one and the
 * tail from a copy.
 */
#include <errno.h>
#include <string.h>

#include "core/trail_internal.h"

struct reading {
	struct trail *t;
	uint64_t from;
	trail_fn fn;
	void *arg;
	struct diag *d;
	/* copied when it began */
	uint64_t size; /* of the tree */
	struct bytes_w bundle, frames;
};

static void reading_free(struct reading *rd)
{
	bytes_w_free(&rd->bundle);
	bytes_w_free(&rd->frames);
}

static int reading_begin(struct reading *rd)
{
	struct trail *t = rd->t;

	pthread_mutex_lock(&t->fold_lock);
	pthread_mutex_lock(&t->lock);
	rd->size = t->head.size;
	bytes_w_raw(&rd->bundle, t->bundle.buf, t->bundle.len);
	bytes_w_raw(&rd->frames, t->frames.buf, t->frames.len);
	pthread_mutex_unlock(&t->lock);
	pthread_mutex_unlock(&t->fold_lock);
	return rd->bundle.err ? rd->bundle.err : rd->frames.err;
}

/* Opens one entry and hands it on, if it is wanted. */
static int read_entry(struct reading *rd, uint64_t index, const uint8_t *entry, size_t len)
{
	struct trail_event ev;
	struct trail_name name;

	if (index < rd->from)
		return 0;
	int r = trail_event_open(&rd->t->keys, index, entry, len, &ev, &name);
	if (!r)
		r = trail_name_open(&rd->t->keys, &name, &ev);
	if (r)
		return trail_fail(rd->d, r, "trail entry %llu", (unsigned long long)index);
	return rd->fn(index, &ev, rd->arg);
}

static int read_bundle(struct reading *rd, uint64_t n, unsigned width, const uint8_t *p, size_t len)
{
	struct bytes_r in = bytes_r_init(p, len);
	uint64_t first = n * MERKLE_TILE_WIDTH;
	int r = 0;

	for (unsigned i = 0; i < width && !r; i++) {
		size_t entry_len = 0;
		const uint8_t *entry = trail_bundle_next(&in, &entry_len);
		r = entry ? read_entry(rd, first + i, entry, entry_len)
			  : trail_fail(rd->d, -EUCLEAN, "trail entry %llu",
				       (unsigned long long)first + i);
	}
	return r;
}

static int read_whole_bundle(struct reading *rd, uint64_t n)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;

	int r = trail_bundle_read(rd->t->dir_fd, n, MERKLE_TILE_WIDTH, &buf, &len);
	return r ? trail_fail(rd->d, r, "trail entries from %llu",
			      (unsigned long long)n * MERKLE_TILE_WIDTH)
		 : read_bundle(rd, n, MERKLE_TILE_WIDTH, buf, len);
}

static int read_tail(struct reading *rd)
{
	const struct bytes_w *w = &rd->frames;
	struct trail_frame f;
	int r = 0;

	for (size_t off = 0, step; off < w->len && !r; off += step) {
		step = trail_frame_get(w->buf + off, w->len - off, &f);
		r = step ? read_entry(rd, f.index, f.entry, f.len) : -EUCLEAN;
	}
	return r;
}

int trail_read(struct trail *t, uint64_t from, trail_fn fn, void *arg, struct diag *d)
{
	struct reading rd CLEANUP_WITH(reading_free) = {
	    .t = t,
	    .from = from,
	    .fn = fn,
	    .arg = arg,
	    .d = d,
	};

	int r = reading_begin(&rd);
	if (r)
		return diag_fail_errno(d, r, "trail");
	uint64_t whole = merkle_tile_index(rd.size, 0);
	for (uint64_t n = from / MERKLE_TILE_WIDTH; n < whole && !r; n++)
		r = read_whole_bundle(&rd, n);
	if (!r)
		r = read_bundle(&rd, whole, merkle_edge_width(rd.size, 0), rd.bundle.buf,
				rd.bundle.len);
	return r ? r : read_tail(&rd);
}
