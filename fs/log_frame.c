/*
 * Frames of the log: docs/format.md "Log".
 *
 *   prefix 16 bytes | head box | box of each entry | zeros to a multiple of LOG_UNIT
 *
 * The head is sealed with the base in its associated data: a frame of another commit does not open.
 * Number and the tag of the frame before stand inside, so that a frame behind a damaged one can
 * still be recognised. The tags of the entries' boxes stand there too, which binds those to the
 * frame before their keys are known.
 */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "fs/log.h"

#define FRAME_MAGIC "CFL1"
#define HEAD_VERSION 1
#define HEAD_FIXED (1 + 8 + LOG_TAG_LEN + 2)
#define HEAD_ITEM (8 + 4 + LOG_TAG_LEN)
#define HEAD_MAX (HEAD_FIXED + HEAD_ITEM * LOG_ENTRIES_MAX)
#define LABEL "coffer-log"
#define LABEL_LEN (sizeof(LABEL) - 1)
#define AD_LEN (LABEL_LEN + 16 + 8 + 16 + LOG_PREFIX_LEN)

static size_t head_len(unsigned n_items)
{
	return HEAD_FIXED + (size_t)HEAD_ITEM * n_items;
}

static size_t boxes_off(unsigned n_items)
{
	return LOG_PREFIX_LEN + head_len(n_items) + SUITE_BOX_OVERHEAD;
}

size_t log_frame_len(unsigned n_items, size_t boxes_len)
{
	return (boxes_off(n_items) + boxes_len + LOG_UNIT - 1) / LOG_UNIT * LOG_UNIT;
}

static void make_ad(const struct log_keys *k, const struct rstore_root *base,
		    const uint8_t prefix[LOG_PREFIX_LEN], uint8_t ad[AD_LEN])
{
	memcpy(ad, LABEL, LABEL_LEN);
	memcpy(ad + LABEL_LEN, k->volume_id, 16);
	bytes_put64(ad + LABEL_LEN + 16, base->txn);
	memcpy(ad + LABEL_LEN + 24, base->tag, sizeof(base->tag));
	memcpy(ad + LABEL_LEN + 40, prefix, LOG_PREFIX_LEN);
}

static void encode_head(const struct log_place *at, const struct log_item *items, unsigned n_items,
			const struct bytes_w *boxes, struct bytes_w *w)
{
	size_t off = 0;

	bytes_w_u8(w, HEAD_VERSION);
	bytes_w_u64(w, at->seq);
	bytes_w_raw(w, at->prev, LOG_TAG_LEN);
	bytes_w_u16(w, (uint16_t)n_items);
	for (unsigned i = 0; i < n_items; i++) {
		off += items[i].len;
		bytes_w_u64(w, items[i].id);
		bytes_w_u32(w, (uint32_t)items[i].len);
		bytes_w_raw(w, boxes->buf + off - LOG_TAG_LEN, LOG_TAG_LEN);
	}
}

int log_frame_seal(const struct log_keys *k, const struct log_place *at,
		   const struct log_item *items, unsigned n_items, const struct bytes_w *boxes,
		   struct bytes_w *out, uint8_t ret_tag[LOG_TAG_LEN])
{
	CLEANUP_BYTES struct bytes_w head = {0};
	size_t len = log_frame_len(n_items, boxes->len);
	uint8_t ad[AD_LEN];

	encode_head(at, items, n_items, boxes, &head);
	uint8_t *p = bytes_w_room(out, len);
	if (!p || head.err)
		return -ENOMEM;
	memcpy(p, FRAME_MAGIC, 4);
	bytes_put32(p + 4, (uint32_t)len);
	bytes_put32(p + 8, (uint32_t)(head.len + SUITE_BOX_OVERHEAD));
	bytes_put32(p + 12, 0);
	make_ad(k, &at->base, p, ad);
	suite_seal(k->suite, k->key, ad, sizeof(ad), head.buf, head.len, p + LOG_PREFIX_LEN);
	memcpy(ret_tag, p + boxes_off(n_items) - LOG_TAG_LEN, LOG_TAG_LEN);
	memcpy(p + boxes_off(n_items), boxes->buf, boxes->len);
	memset(p + boxes_off(n_items) + boxes->len, 0, len - boxes_off(n_items) - boxes->len);
	return 0;
}

/* ---- opening ---- */

static int decode_head(const uint8_t *head, size_t len, struct log_frame *f)
{
	struct bytes_r r = bytes_r_init(head, len);

	if (bytes_r_u8(&r) != HEAD_VERSION)
		bytes_r_fail(&r);
	f->place.seq = bytes_r_u64(&r);
	bytes_r_copy(&r, f->place.prev, LOG_TAG_LEN);
	f->n_items = bytes_r_u16(&r);
	if (r.err || !f->n_items || f->n_items > LOG_ENTRIES_MAX || len != head_len(f->n_items))
		return -EUCLEAN;
	size_t off = boxes_off(f->n_items);
	for (unsigned i = 0; i < f->n_items; i++) {
		struct log_item *it = &f->items[i];

		it->id = bytes_r_u64(&r);
		it->len = bytes_r_u32(&r);
		it->off = off;
		bytes_r_copy(&r, it->tag, LOG_TAG_LEN);
		if (it->len <= SUITE_BOX_OVERHEAD || it->len > f->len - off)
			return -EUCLEAN;
		off += it->len;
	}
	if (f->len - off >= LOG_UNIT)
		return -EUCLEAN;
	return bytes_r_done(&r);
}

static bool prefix_fits(const uint8_t *p, size_t left, size_t *ret_len, size_t *ret_head)
{
	if (left < LOG_UNIT || memcmp(p, FRAME_MAGIC, 4) != 0)
		return false;
	size_t len = bytes_get32(p + 4), head = bytes_get32(p + 8);
	*ret_len = len;
	*ret_head = head;
	return len && len % LOG_UNIT == 0 && len <= LOG_FRAME_MAX && len <= left &&
	       head > SUITE_BOX_OVERHEAD && head <= HEAD_MAX + SUITE_BOX_OVERHEAD &&
	       head <= len - LOG_PREFIX_LEN;
}

int log_frame_open(const struct log_keys *k, const struct rstore_root *base, const uint8_t *p,
		   size_t left, struct log_frame *ret)
{
	uint8_t head[HEAD_MAX], ad[AD_LEN];
	struct log_frame f = {.place.base = *base};
	size_t head_box;

	if (!prefix_fits(p, left, &f.len, &head_box))
		return -ENODATA;
	make_ad(k, base, p, ad);
	if (suite_open(k->suite, k->key, ad, sizeof(ad), p + LOG_PREFIX_LEN, head_box, head))
		return -ENODATA;
	memcpy(f.tag, p + LOG_PREFIX_LEN + head_box - LOG_TAG_LEN, LOG_TAG_LEN);
	int r = decode_head(head, head_box - SUITE_BOX_OVERHEAD, &f);
	if (r)
		return r;
	*ret = f;
	for (unsigned i = 0; i < f.n_items; i++) {
		const struct log_item *it = &f.items[i];

		if (memcmp(p + it->off + it->len - LOG_TAG_LEN, it->tag, LOG_TAG_LEN) != 0)
			return -EBADMSG;
	}
	return 0;
}
