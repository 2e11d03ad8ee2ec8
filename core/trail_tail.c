/*
 * The frames of the tail file (docs/format.md "Trail tail").
 *
 * Entries are appended without a sync when the caller does not wait for them, so a power cut may
 * leave any pages of the unsynced end missing. Each frame therefore says how many entries were
 * durable when it was written: a damaged frame that a later frame knows to have been durable was
 * damaged afterwards; without such a witness it and all behind it never were acknowledged.
 */
#include <errno.h>
#include <string.h>

#include "core/kdf.h"
#include "core/trail_internal.h"

#define HEAD_PLAIN 20u /* length, index, synced: what the check covers beside the entry */
#define CHECK_LEN 8u
#define CHECK_PREFIX 0x02 /* apart from RFC 6962's 0 and 1 */

static void frame_check(uint8_t ret[CHECK_LEN], const uint8_t *head, const void *entry, size_t len)
{
	uint8_t h[32];

	kdf_sha256_node(h, CHECK_PREFIX, head, HEAD_PLAIN, entry, len);
	memcpy(ret, h, CHECK_LEN);
}

void trail_frame_put(struct bytes_w *w, const struct trail_frame *f)
{
	uint8_t *p = bytes_w_room(w, TRAIL_FRAME_HEAD + f->len);

	if (!p)
		return;
	bytes_put32(p, (uint32_t)f->len);
	bytes_put64(p + 4, f->index);
	bytes_put64(p + 12, f->synced);
	frame_check(p + HEAD_PLAIN, p, f->entry, f->len);
	memcpy(p + TRAIL_FRAME_HEAD, f->entry, f->len);
}

size_t trail_frame_get(const uint8_t *p, size_t left, struct trail_frame *ret)
{
	uint8_t check[CHECK_LEN];

	if (left < TRAIL_FRAME_HEAD)
		return 0;
	size_t len = bytes_get32(p);
	struct trail_frame f = {
	    .index = bytes_get64(p + 4),
	    .synced = bytes_get64(p + 12),
	    .entry = p + TRAIL_FRAME_HEAD,
	    .len = len,
	};
	if (len < SUITE_BOX_OVERHEAD || len > TRAIL_ENTRY_MAX || len > left - TRAIL_FRAME_HEAD ||
	    f.synced > f.index)
		return 0;
	frame_check(check, p, f.entry, len);
	if (memcmp(check, p + HEAD_PLAIN, CHECK_LEN) != 0)
		return 0;
	*ret = f;
	return TRAIL_FRAME_HEAD + len;
}

/* Is there a sound frame anywhere in p that knows the entry of that index to have been durable? */
static bool witnessed(const uint8_t *p, size_t len, uint64_t index)
{
	struct trail_frame f;

	for (size_t off = 0; off + TRAIL_FRAME_HEAD <= len; off++) {
		/*
		 * The damaged frame's length may be gone too, so every offset is tried; synced
		 * filters cheaply.
		 */
		if (bytes_get64(p + off + 12) > index && trail_frame_get(p + off, len - off, &f))
			return true;
	}
	return false;
}

int trail_tail_scan(const uint8_t *p, size_t len, uint64_t size, struct trail_tail *ret)
{
	struct trail_tail t = {0};
	struct trail_frame f;
	uint64_t next = size;
	size_t off = 0, step;

	for (; (step = trail_frame_get(p + off, len - off, &f)) > 0; off += step) {
		/* The first may lie below size, never beyond; after it they follow one another. */
		if (off == 0 ? f.index > size : f.index != next) {
			t.wrong = next < size ? size : next;
			*ret = t;
			return -EUCLEAN;
		}
		if (off == 0)
			t.first = f.index;
		next = f.index + 1;
		t.n += f.index >= size;
		t.start += f.index < size ? step : 0;
	}
	t.end = off;
	t.wrong = next < size ? size : next;
	*ret = t;
	return off < len && witnessed(p + off, len - off, t.wrong) ? -EUCLEAN : 0;
}
