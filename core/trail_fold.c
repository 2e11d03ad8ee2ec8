/*
 * Checkpoints: the tail is folded into the tree, in the order that trail.h states.
 *
 * Tiles and note are written from copies while appends go on; what was appended meanwhile stays
 * in the tail. After a failure the old tree stands, and whatever files were written for the new
 * one are written again by the next try.
 */
#include <errno.h>
#include <string.h>

#include "core/durable.h"
#include "core/trail_internal.h"

struct fold {
	struct bytes_w frames; /* copied from the tail */
	uint64_t n_frames;
	struct merkle_edge *edge;
	struct bytes_w bundle;
	struct trail_head head;
	char *text;
};

static void fold_free(struct fold *f)
{
	bytes_w_free(&f->frames);
	bytes_w_free(&f->bundle);
	cleanup_free(&f->edge);
	cleanup_free(&f->text);
}

static int fold_begin(struct trail *t, struct fold *f)
{
	pthread_mutex_lock(&t->lock);
	bytes_w_raw(&f->frames, t->frames.buf, t->frames.len);
	f->n_frames = t->n_frames;
	pthread_mutex_unlock(&t->lock);
	bytes_w_raw(&f->bundle, t->bundle.buf, t->bundle.len);
	f->edge = malloc(sizeof(*f->edge));
	if (!f->edge || f->frames.err || f->bundle.err)
		return -ENOMEM;
	*f->edge = *t->edge;
	return 0;
}

/* One entry more; writes the tiles and the bundle that it completes. */
static int fold_entry(int dir_fd, struct fold *f, const struct trail_frame *frame)
{
	uint8_t leaf[MERKLE_HASH_LEN];

	merkle_leaf(leaf, frame->entry, frame->len);
	merkle_edge_add(f->edge, leaf);
	trail_bundle_put(&f->bundle, frame->entry, frame->len);
	if (f->bundle.err)
		return f->bundle.err;
	unsigned filled = merkle_edge_filled(f->edge);
	int r = 0;
	if (filled) {
		r = trail_bundle_write(dir_fd, merkle_tile_index(f->edge->size, 0) - 1,
				       MERKLE_TILE_WIDTH, f->bundle.buf, f->bundle.len);
		bytes_w_reset(&f->bundle);
	}
	for (unsigned level = 0; level < filled && !r; level++)
		r = trail_tile_write(dir_fd, level, merkle_tile_index(f->edge->size, level) - 1,
				     MERKLE_TILE_WIDTH, f->edge->hash[level]);
	return r;
}

/* Partial tiles where the tree grew, and the partial bundle. */
static int fold_edge(int dir_fd, struct fold *f, uint64_t old_size)
{
	uint64_t size = f->edge->size;
	int r = 0;

	for (unsigned level = 0; level < MERKLE_LEVELS && !r; level++) {
		unsigned width = merkle_edge_width(size, level);
		if (width && merkle_level_size(size, level) != merkle_level_size(old_size, level))
			r = trail_tile_write(dir_fd, level, merkle_tile_index(size, level), width,
					     f->edge->hash[level]);
	}
	if (!r && merkle_edge_width(size, 0))
		r = trail_bundle_write(dir_fd, merkle_tile_index(size, 0),
				       merkle_edge_width(size, 0), f->bundle.buf, f->bundle.len);
	return r;
}

static int fold_write(struct trail *t, struct fold *f)
{
	struct trail_frame frame;
	size_t off = 0, step;
	int r = 0;

	for (; off < f->frames.len && !r; off += step) {
		step = trail_frame_get(f->frames.buf + off, f->frames.len - off, &frame);
		r = step ? fold_entry(t->dir_fd, f, &frame) : -EUCLEAN;
	}
	if (!r)
		r = fold_edge(t->dir_fd, f, t->edge->size);
	if (r)
		return r;
	f->head.size = f->edge->size;
	merkle_edge_root(f->edge, f->head.root);
	r = trail_checkpoint_make(&f->head, t->keys.volume_id, keyring_sign_seed(t->keys.kr),
				  &f->text);
	if (!r)
		r = durable_replace(t->dir_fd, "checkpoint", f->text, strlen(f->text), 0600);
	return r;
}

#define SWAP(a, b)                                                                                 \
	do {                                                                                       \
		__auto_type swap_ = (a);                                                           \
		(a) = (b);                                                                         \
		(b) = swap_;                                                                       \
	} while (0)

/* The new checkpoint is durable: it becomes ours, and its entries leave the tail. */
static void fold_adopt(struct trail *t, struct fold *f)
{
	SWAP(t->edge, f->edge);
	SWAP(t->bundle, f->bundle);
	pthread_mutex_lock(&t->lock);
	SWAP(t->text, f->text);
	t->head = f->head;
	t->frames.len -= f->frames.len;
	if (t->frames.len)
		memmove(t->frames.buf, t->frames.buf + f->frames.len, t->frames.len);
	t->n_frames -= f->n_frames;
	if (t->synced < t->head.size)
		t->synced = t->head.size;
	t->oldest_ns = trail_clock(CLOCK_BOOTTIME);
	if (t->tail_fd >= 0)
		close(t->tail_fd);
	t->tail_fd = -1;
	t->written = 0;
	/*
	 * Should it fail, the next append writes the tail anew or fails too; until then its old
	 * frames are below the size.
	 */
	trail_tail_flush(t, true);
	pthread_mutex_unlock(&t->lock);
}

int trail_fold(struct trail *t)
{
	struct fold f CLEANUP_WITH(fold_free) = {0};
	uint64_t old_size = t->edge->size;

	int r = fold_begin(t, &f);
	if (r || f.n_frames == 0)
		return r;
	r = fold_write(t, &f);
	if (r)
		return r;
	trail_tiles_sweep(t->dir_fd, old_size, f.head.size);
	fold_adopt(t, &f);
	return 0;
}

int trail_checkpoint(struct trail *t, struct trail_head *ret, char **ret_text)
{
	char *text = NULL;

	pthread_mutex_lock(&t->fold_lock);
	int r = trail_fold(t);
	pthread_mutex_lock(&t->lock);
	struct trail_head head = t->head;
	if (!r && ret_text && !(text = strdup(t->text)))
		r = -ENOMEM;
	pthread_mutex_unlock(&t->lock);
	pthread_mutex_unlock(&t->fold_lock);
	if (r)
		return r;
	if (ret)
		*ret = head;
	if (ret_text)
		*ret_text = text;
	return 0;
}

int trail_tick(struct trail *t)
{
	int64_t now = trail_clock(CLOCK_BOOTTIME);
	int r = 0;

	pthread_mutex_lock(&t->lock);
	bool due =
	    t->n_frames >= TRAIL_DUE_ENTRIES || (t->n_frames && now - t->oldest_ns >= TRAIL_DUE_NS);
	if (!due && t->unsynced_ns && now - t->unsynced_ns >= TRAIL_SYNC_NS)
		r = trail_tail_flush(t, true);
	pthread_mutex_unlock(&t->lock);
	return due ? trail_checkpoint(t, NULL, NULL) : r;
}
