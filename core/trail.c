/*
 * Making, opening and closing a trail. Opening reads the edge of the tree, not the whole of it:
 * the signed root covers the edge, the edge covers the newest bundle, and the anchored head's own
 * edge must roll up into it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/trail_internal.h"

#define TAIL_MAX ((size_t)1 << 30)

int64_t trail_clock(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

int trail_fail(struct diag *d, int r, const char *object_fmt, ...)
{
	char object[256];
	va_list ap;

	va_start(ap, object_fmt);
	vsnprintf(object, sizeof(object), object_fmt, ap);
	va_end(ap);
	switch (r) {
	case -EPROTONOSUPPORT:
		return diag_fail(d, DIAG_VERSION, r, "%s", object);
	case -ENOENT:
	case -ENOTDIR:
	case -EISDIR:
	case -EFBIG:
		r = -EUCLEAN;
		/* fall through */
	case -EUCLEAN:
	case -EBADMSG:
	case -EIO:
		return diag_fail(d, DIAG_TRAIL_DAMAGED, r, "%s", object);
	default:
		return diag_fail_errno(d, r, "%s", object);
	}
}

/* --- create --- */

int trail_create(int store_fd, struct keyring *kr, struct diag *d)
{
	CLEANUP_FREE struct merkle_edge *edge = calloc(1, sizeof(*edge));
	CLEANUP_FREE char *text = NULL;
	struct trail_head head = {0};

	if (!edge)
		return diag_fail_errno(d, -ENOMEM, "trail");
	merkle_edge_root(edge, head.root);
	int r = durable_mkdir(store_fd, "trail", 0700);
	/* The tail first: with a checkpoint but no tail it would count as damaged. */
	if (!r)
		r = durable_create(store_fd, "trail/tail", "", 0, 0600);
	if (!r)
		r = trail_checkpoint_make(&head, keyring_volume_id(kr), keyring_sign_seed(kr),
					  &text);
	if (!r)
		r = durable_create(store_fd, "trail/checkpoint", text, strlen(text), 0600);
	if (r == -EEXIST)
		return diag_fail(d, DIAG_STORE_EXISTS, r, "trail");
	return r ? diag_fail_errno(d, r, "trail") : 0;
}

/* --- open --- */

static int open_checkpoint(struct trail *t, struct diag *d)
{
	uint8_t pk[IDENTITY_KEY_LEN], *text = NULL;
	size_t len;

	int r = durable_read(t->dir_fd, "checkpoint", TRAIL_CHECKPOINT_MAX, &text, &len);
	t->text = (char *)text;
	if (!r) {
		identity_sign_pk_from_seed(keyring_sign_seed(t->keys.kr), pk);
		r = strlen(t->text) == len
			? trail_checkpoint_parse(t->text, t->keys.volume_id, pk, &t->head)
			: -EUCLEAN;
	}
	return r ? trail_fail(d, r, "trail checkpoint") : 0;
}

/* The newest bundle: kept when it is partial; its last entry carries the account on. */
static int open_bundle(struct trail *t, struct trail_event *last, struct diag *d)
{
	unsigned width = merkle_edge_width(t->head.size, 0);
	CLEANUP_FREE uint8_t *buf = NULL;
	uint8_t leaf[MERKLE_HASH_LEN];
	const uint8_t *entry = NULL;
	struct trail_name name;
	size_t len, n = 0;

	if (t->head.size == 0)
		return 0;
	uint64_t first = (t->head.size - 1) / MERKLE_TILE_WIDTH * MERKLE_TILE_WIDTH;
	int r = trail_bundle_read(t->dir_fd, first / MERKLE_TILE_WIDTH,
				  width ? width : MERKLE_TILE_WIDTH, &buf, &len);
	if (r)
		return trail_fail(d, r, "trail entries from %llu", (unsigned long long)first);
	struct bytes_r in = bytes_r_init(buf, len);
	for (uint64_t i = first; i < t->head.size; i++) {
		entry = trail_bundle_next(&in, &n);
		if (entry)
			merkle_leaf(leaf, entry, n);
		if (!entry ||
		    (width && memcmp(leaf, t->edge->hash[0][i - first], sizeof(leaf)) != 0))
			return trail_fail(d, -EUCLEAN, "trail entry %llu", (unsigned long long)i);
	}
	r = bytes_r_done(&in);
	if (!r)
		r = trail_event_open(&t->keys, t->head.size - 1, entry, n, last, &name);
	if (r)
		return trail_fail(d, r, "trail entry %llu", (unsigned long long)t->head.size - 1);
	if (width)
		bytes_w_raw(&t->bundle, buf, len);
	return t->bundle.err ? diag_fail_errno(d, t->bundle.err, "trail") : 0;
}

static int edge_root_matches(const struct merkle_edge *e, const uint8_t want[MERKLE_HASH_LEN])
{
	uint8_t root[MERKLE_HASH_LEN];

	merkle_edge_root(e, root);
	return memcmp(root, want, sizeof(root)) == 0 ? 0 : -EUCLEAN;
}

static int open_edge(struct trail *t, struct diag *d)
{
	t->edge = malloc(sizeof(*t->edge));
	if (!t->edge)
		return diag_fail_errno(d, -ENOMEM, "trail");
	int r = trail_edge_read(t->dir_fd, t->head.size, t->head.size, t->edge);
	if (!r)
		r = edge_root_matches(t->edge, t->head.root);
	return r ? trail_fail(d, r, "trail tiles at size %llu", (unsigned long long)t->head.size)
		 : 0;
}

/* The tree extends one that was held elsewhere. */
static int check_anchored(struct trail *t, const struct trail_head *anchored, struct diag *d)
{
	if (!anchored || anchored->size == 0)
		return 0;
	if (anchored->size > t->head.size)
		return trail_fail(d, -EUCLEAN, "trail: %llu entries, the anchor knows of %llu",
				  (unsigned long long)t->head.size,
				  (unsigned long long)anchored->size);
	CLEANUP_FREE struct merkle_edge *old = malloc(sizeof(*old));
	if (!old)
		return diag_fail_errno(d, -ENOMEM, "trail");
	int r = trail_edge_read(t->dir_fd, anchored->size, t->head.size, old);
	if (!r)
		r = edge_root_matches(old, anchored->root);
	return r ? trail_fail(d, r, "trail before entry %llu: not what the anchor knows of",
			      (unsigned long long)anchored->size)
		 : 0;
}

/* No caller can forget this one: a trail that is cut back opens nowhere. */
static int check_anchor(struct trail *t, struct diag *d)
{
	struct keyring_fresh fresh;
	struct trail_head head;

	keyring_fresh_get(t->keys.kr, &fresh);
	head.size = fresh.trail_size;
	memcpy(head.root, fresh.trail_root, sizeof(head.root));
	return check_anchored(t, &head, d);
}

/* Every entry of the tail opens at its place; ret is the last. */
static int open_tail_entries(struct trail *t, const uint8_t *p, const struct trail_tail *tail,
			     struct trail_event *ret, struct diag *d)
{
	struct trail_frame frame;
	struct trail_name name;

	for (size_t off = tail->start, step; off < tail->end; off += step) {
		step = trail_frame_get(p + off, tail->end - off, &frame);
		int r = step ? trail_event_open(&t->keys, frame.index, frame.entry, frame.len, ret,
						&name)
			     : -EUCLEAN;
		if (r)
			return trail_fail(d, r, "trail entry %llu",
					  (unsigned long long)frame.index);
	}
	bytes_w_raw(&t->frames, p + tail->start, tail->end - tail->start);
	t->n_frames = tail->n;
	return t->frames.err ? diag_fail_errno(d, t->frames.err, "trail tail") : 0;
}

/* Reads the tail, finishes what a crash interrupted, and leaves the tail file clean and durable. */
static int open_tail(struct trail *t, struct trail_event *last, struct diag *d)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	struct trail_tail tail;
	size_t len;

	int r = durable_read(t->dir_fd, "tail", TAIL_MAX, &buf, &len);
	if (r)
		return trail_fail(d, r, "trail tail");
	r = trail_tail_scan(buf, len, t->head.size, &tail);
	if (r)
		return trail_fail(d, r, "trail entry %llu", (unsigned long long)tail.wrong);
	r = open_tail_entries(t, buf, &tail, last, d);
	if (r)
		return r;
	t->synced = t->head.size;
	if (tail.start == 0 && tail.end == len) {
		t->tail_fd = openat(t->dir_fd, "tail", O_WRONLY | O_CLOEXEC);
		if (t->tail_fd < 0)
			return diag_fail_errno(d, -errno, "trail tail");
		t->written = len;
	} else if (tail.start > 0) {
		trail_tiles_sweep(t->dir_fd, tail.first, t->head.size);
	}
	r = trail_tail_flush(t, true);
	return r ? diag_fail_errno(d, r, "trail tail") : 0;
}

static void trail_free(struct trail *t)
{
	trail_keys_close(&t->keys);
	bytes_w_free(&t->bundle);
	bytes_w_free(&t->frames);
	cleanup_fd(&t->tail_fd);
	cleanup_fd(&t->dir_fd);
	pthread_mutex_destroy(&t->fold_lock);
	pthread_mutex_destroy(&t->lock);
	free(t->edge);
	free(t->text);
	free(t);
}
CLEANUP_DEFINE(trail, struct trail *, trail_free)

static struct trail *trail_alloc(void)
{
	struct trail *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->dir_fd = t->tail_fd = -1;
	pthread_mutex_init(&t->fold_lock, NULL);
	pthread_mutex_init(&t->lock, NULL);
	return t;
}

int trail_open(int store_fd, struct keyring *kr, const struct trail_head *anchored,
	       struct trail **ret, struct diag *d)
{
	struct trail *t CLEANUP_WITH(cleanup_trail) = trail_alloc();
	struct trail_event last = {0};

	int r = t ? trail_keys_open(&t->keys, kr) : -ENOMEM;
	if (r)
		return diag_fail_errno(d, r, "trail");
	t->dir_fd = openat(store_fd, "trail", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dir_fd < 0)
		return trail_fail(d, -errno, "trail");
	r = open_checkpoint(t, d);
	if (!r)
		r = open_edge(t, d);
	if (!r)
		r = check_anchor(t, d);
	if (!r)
		r = check_anchored(t, anchored, d);
	if (!r)
		r = open_bundle(t, &last, d);
	if (!r)
		r = open_tail(t, &last, d);
	if (r)
		return r;
	t->account_ns = last.account_ns;
	t->opened_ns = trail_clock(CLOCK_BOOTTIME);
	*ret = STEAL_PTR(t);
	return 0;
}

void trail_close(struct trail *t)
{
	if (!t)
		return;
	/*
	 * Not fatal: an unfolded tail is read back by the next open, if only it is on the medium.
	 */
	if (trail_checkpoint(t, NULL, NULL) != 0) {
		pthread_mutex_lock(&t->lock);
		trail_tail_flush(t, true);
		pthread_mutex_unlock(&t->lock);
	}
	trail_free(t);
}

void trail_head_get(struct trail *t, struct trail_head *ret)
{
	pthread_mutex_lock(&t->lock);
	*ret = t->head;
	pthread_mutex_unlock(&t->lock);
}

int64_t trail_account(struct trail *t)
{
	return t->account_ns + trail_clock(CLOCK_BOOTTIME) - t->opened_ns;
}
