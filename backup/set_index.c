/*
 * A set's index: the bytes of entries, blocks and fences, and how they are sealed.
 *
 * It holds ids, versions and places, never names; so it stays readable after a destruction and
 * tells which records are gone.
 */
#include "backup/set_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/suite.h"
#include "fs/volume.h"

#define BLOCK_LABEL "coffer-index"
#define TOP_LABEL "coffer-index-top"
#define AD_MAX (16 + 16 + SET_ID_MAX + 1 + SET_FRAME_LEN)
#define TOP_VERSION 1
#define BLOCKS_MAX (64u << 20)

/* --- order --- */

struct set_key set_entry_key(const struct set_entry *e)
{
	struct set_key k = {.id = e->id, .class = e->kind == SET_GONE ? SET_NAME : e->kind};

	switch (e->kind) {
	case SET_NAME:
	case SET_GONE:
	case SET_EDGE:
		k.sub = e->link;
		break;
	case SET_DATA:
	case SET_SIGN:
		k.sub = e->range;
		break;
	}
	return k;
}

static int cmp64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

int set_key_cmp(const struct set_key *a, const struct set_key *b)
{
	int c = cmp64(a->id, b->id);

	if (c == 0)
		c = cmp64(a->class, b->class);
	return c ? c : cmp64(a->sub, b->sub);
}

int set_entry_cmp(const void *a, const void *b)
{
	const struct set_key x = set_entry_key(a), y = set_entry_key(b);
	int c = set_key_cmp(&x, &y);

	if (c == 0)
		c = cmp64(((const struct set_entry *)a)->kind, ((const struct set_entry *)b)->kind);
	return c ? c : cmp64(((const struct set_entry *)a)->version, ((const struct set_entry *)b)->version);
}

/* --- entries --- */

void set_index_put_entry(struct bytes_w *w, const struct set_entry *e)
{
	bytes_w_u8(w, e->kind);
	bytes_w_u8(w, e->flags);
	bytes_w_varint(w, e->id);
	switch (e->kind) {
	case SET_NAME:
		bytes_w_varint(w, e->type_mode);
		/* fallthrough */
	case SET_GONE:
		bytes_w_varint(w, e->link);
		bytes_w_varint(w, e->child);
		break;
	case SET_EDGE:
		bytes_w_varint(w, e->link);
		break;
	case SET_DATA:
	case SET_SIGN:
		bytes_w_varint(w, e->range);
		break;
	}
	if (set_entry_is_delta(e)) {
		bytes_w_varint(w, e->basis);
		bytes_w_varint(w, e->as_of);
	}
	if (e->kind == SET_GONE || e->kind == SET_EDGE)
		return;
	bytes_w_varint(w, e->version);
	bytes_w_varint(w, e->pack);
	bytes_w_varint(w, e->off);
	bytes_w_varint(w, e->len);
	bytes_w_raw(w, e->sum, SET_CHECKSUM_LEN);
}

static uint32_t small(struct bytes_r *r)
{
	uint64_t v = bytes_r_varint(r);

	if (v > UINT32_MAX)
		bytes_r_fail(r);
	return (uint32_t)v;
}

static void get_entry(struct bytes_r *r, struct set_entry *e)
{
	*e = (struct set_entry){.kind = bytes_r_u8(r), .flags = bytes_r_u8(r)};
	e->id = bytes_r_varint(r);
	switch (e->kind) {
	case SET_NODE:
		break;
	case SET_NAME:
		e->type_mode = small(r);
		/* fallthrough */
	case SET_GONE:
		e->link = bytes_r_varint(r);
		e->child = bytes_r_varint(r);
		break;
	case SET_EDGE:
		e->link = bytes_r_varint(r);
		break;
	case SET_DATA:
	case SET_SIGN:
		e->range = bytes_r_varint(r);
		if (e->range >= VOLUME_SIZE_MAX / SET_RANGE)
			bytes_r_fail(r);
		break;
	default:
		bytes_r_fail(r);
	}
	if (e->kind == SET_DATA && e->flags > SET_DELTA) /* it lies over what is older, or needs none of it */
		bytes_r_fail(r);
	if (set_entry_is_delta(e)) {
		e->basis = bytes_r_varint(r);
		e->as_of = bytes_r_varint(r);
	}
	if (e->kind == SET_GONE || e->kind == SET_EDGE)
		return;
	e->version = bytes_r_varint(r);
	e->pack = small(r);
	e->off = small(r);
	e->len = small(r);
	bytes_r_copy(r, e->sum, SET_CHECKSUM_LEN);
}

int set_index_entries(const uint8_t *plain, size_t len, set_entry_fn fn, void *arg)
{
	struct bytes_r r = bytes_r_init(plain, len);
	struct set_entry e;

	while (r.left) {
		get_entry(&r, &e);
		if (r.err)
			return -EBADMSG;
		int err = fn(arg, &e);
		if (err)
			return err;
	}
	return 0;
}

/* --- seals --- */

static void index_key(struct keyring *kr, uint8_t ret[KDF_KEY_LEN])
{
	uint8_t epoch[KDF_KEY_LEN];

	keyring_epoch_key(kr, KEYRING_INDEX, epoch);
	kdf_derive(ret, epoch, "set index", NULL, 0);
	secret_wipe(epoch, sizeof(epoch));
}

/* label || volume id || set id, zeros to 32 bytes || frame (of blocks) */
static size_t associated(struct keyring *kr, const char *label, const char *id, const uint8_t *frame,
			 uint8_t ad[AD_MAX])
{
	size_t n = strlen(label);

	memset(ad, 0, AD_MAX);
	memcpy(ad, label, n);
	memcpy(ad + n, keyring_volume_id(kr), 16);
	memcpy(ad + n + 16, id, strlen(id));
	n += 16 + SET_ID_MAX + 1;
	if (!frame)
		return n;
	memcpy(ad + n, frame, SET_FRAME_LEN);
	return n + SET_FRAME_LEN;
}

static void block_frame(uint32_t number, size_t box_len, uint8_t f[SET_FRAME_LEN])
{
	const struct set_entry e = {.kind = SET_INDEX, .range = number};

	set_frame_put(f, &e, 0, (uint32_t)box_len);
}

int set_index_block_seal(struct keyring *kr, const char *id, uint32_t number, const void *plain, size_t len,
			 struct bytes_w *out)
{
	size_t box_len = len + SUITE_BOX_OVERHEAD;
	uint8_t *f = bytes_w_room(out, SET_FRAME_LEN + box_len);
	uint8_t key[KDF_KEY_LEN], ad[AD_MAX];

	if (!f)
		return out->err;
	block_frame(number, box_len, f);
	size_t ad_len = associated(kr, BLOCK_LABEL, id, f, ad);
	index_key(kr, key);
	suite_seal(keyring_suite(kr), key, ad, ad_len, plain, len, f + SET_FRAME_LEN);
	secret_wipe(key, sizeof(key));
	return 0;
}

static int open_box(struct keyring *kr, const uint8_t *ad, size_t ad_len, const uint8_t *box, size_t len,
		    struct bytes_w *out)
{
	uint8_t key[KDF_KEY_LEN];
	size_t before = out->len;
	uint8_t *plain = bytes_w_room(out, len - SUITE_BOX_OVERHEAD);

	if (!plain)
		return out->err;
	index_key(kr, key);
	int err = suite_open(keyring_suite(kr), key, ad, ad_len, box, len, plain);
	secret_wipe(key, sizeof(key));
	if (err)
		out->len = before;
	return err;
}

int set_index_block_open(struct keyring *kr, const char *id, uint32_t number, const void *stored, size_t len,
			 struct bytes_w *out)
{
	uint8_t f[SET_FRAME_LEN], ad[AD_MAX];

	if (len <= SET_FRAME_LEN + SUITE_BOX_OVERHEAD)
		return -EBADMSG;
	block_frame(number, len - SET_FRAME_LEN, f);
	if (memcmp(f, stored, SET_FRAME_LEN) != 0)
		return -EBADMSG;
	size_t ad_len = associated(kr, BLOCK_LABEL, id, f, ad);
	return open_box(kr, ad, ad_len, (const uint8_t *)stored + SET_FRAME_LEN, len - SET_FRAME_LEN, out);
}

/* --- fences --- */

static void put_key(struct bytes_w *w, const struct set_key *k)
{
	bytes_w_varint(w, k->id);
	bytes_w_u8(w, k->class);
	bytes_w_varint(w, k->sub);
}

static struct set_key get_key(struct bytes_r *r)
{
	struct set_key k = {.id = bytes_r_varint(r), .class = bytes_r_u8(r)};

	k.sub = bytes_r_varint(r);
	return k;
}

void set_index_put_fences(struct bytes_w *w, const struct set_fence *f, size_t n)
{
	bytes_w_u8(w, TOP_VERSION);
	bytes_w_varint(w, n);
	for (size_t i = 0; i < n; i++) {
		put_key(w, &f[i].first);
		put_key(w, &f[i].last);
		bytes_w_varint(w, f[i].n);
		bytes_w_varint(w, f[i].pack);
		bytes_w_varint(w, f[i].off);
		bytes_w_varint(w, f[i].len);
	}
}

static void get_fence(struct bytes_r *r, struct set_fence *f)
{
	f->first = get_key(r);
	f->last = get_key(r);
	f->n = small(r);
	f->pack = small(r);
	f->off = small(r);
	f->len = small(r);
	if (set_key_cmp(&f->first, &f->last) > 0 || f->n == 0 || f->n > SET_INDEX_BLOCK_ENTRIES ||
	    f->len <= SET_FRAME_LEN + SUITE_BOX_OVERHEAD || f->len > SET_INDEX_BLOCK_MAX)
		bytes_r_fail(r);
}

int set_index_fences(const void *plain, size_t len, struct set_fence **ret, size_t *ret_n)
{
	struct bytes_r r = bytes_r_init(plain, len);
	uint8_t version = bytes_r_u8(&r);
	uint64_t n = bytes_r_varint(&r);

	/* Each takes more bytes than one. */
	if (version != TOP_VERSION || r.err || n > BLOCKS_MAX || n > r.left)
		return -EBADMSG;
	CLEANUP_FREE struct set_fence *f = calloc(n ? (size_t)n : 1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < n && !r.err; i++)
		get_fence(&r, &f[i]);
	if (bytes_r_done(&r))
		return -EBADMSG;
	*ret = STEAL_PTR(f);
	*ret_n = (size_t)n;
	return 0;
}

int set_index_top_seal(struct keyring *kr, const char *id, const struct set_fence *f, size_t n,
		       struct bytes_w *out)
{
	CLEANUP_BYTES struct bytes_w plain = {0};
	uint8_t key[KDF_KEY_LEN], ad[AD_MAX];

	set_index_put_fences(&plain, f, n);
	if (plain.err)
		return plain.err;
	uint8_t *box = bytes_w_room(out, plain.len + SUITE_BOX_OVERHEAD);
	if (!box)
		return out->err;
	size_t ad_len = associated(kr, TOP_LABEL, id, NULL, ad);
	index_key(kr, key);
	suite_seal(keyring_suite(kr), key, ad, ad_len, plain.buf, plain.len, box);
	secret_wipe(key, sizeof(key));
	return 0;
}

int set_index_top_open(struct keyring *kr, const char *id, const void *box, size_t len,
		       struct set_fence **ret, size_t *ret_n)
{
	CLEANUP_BYTES struct bytes_w plain = {0};
	uint8_t ad[AD_MAX];

	if (len <= SUITE_BOX_OVERHEAD)
		return -EBADMSG;
	size_t ad_len = associated(kr, TOP_LABEL, id, NULL, ad);
	int err = open_box(kr, ad, ad_len, box, len, &plain);
	return err ? err : set_index_fences(plain.buf, plain.len, ret, ret_n);
}
