/*
 * One record of a set: compressed on its own, padded, sealed under its file's backup key, framed.
 *
 * The frame is authenticated with the box, and with the volume; it names kind, id, version,
 * sequence and basis, so a record cannot stand in for another. It is plain, so that packs can be
 * walked, copied and merged without keys.
 */
#include "backup/set_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/suite.h"

#define FRAME_MAGIC "CFR1"
#define AD_LABEL "coffer-record"
#define AD_LABEL_LEN 13
#define AD_LEN (AD_LABEL_LEN + 16 + SET_FRAME_LEN)
#define HEAD_LEN 5 /* compression u8, raw length u32 */
#define ZSTD_LEVEL 3

enum compression { STORED = 0, ZSTD = 1 };

void set_checksum(const void *p, size_t len, uint8_t ret[SET_CHECKSUM_LEN])
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, XXH3_128bits(p, len));
	memcpy(ret, c.digest, SET_CHECKSUM_LEN);
}

struct set_sum *set_sum_new(void)
{
	XXH3_state_t *s = XXH3_createState();

	if (s)
		XXH3_128bits_reset(s);
	return (struct set_sum *)s;
}

void set_sum_update(struct set_sum *s, const void *p, size_t len)
{
	XXH3_128bits_update((XXH3_state_t *)s, p, len);
}

void set_sum_final(struct set_sum *s, uint8_t ret[SET_CHECKSUM_LEN])
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, XXH3_128bits_digest((XXH3_state_t *)s));
	memcpy(ret, c.digest, SET_CHECKSUM_LEN);
}

void set_sum_free(struct set_sum *s)
{
	XXH3_freeState((XXH3_state_t *)s);
}

/* The key of a record, by kind: names need both sides, so that the end of either ends the name. */
static int record_key(struct keyring *kr, const struct set_entry *e, uint8_t ret[KDF_KEY_LEN])
{
	uint8_t own[KDF_KEY_LEN], other[KDF_KEY_LEN];
	int err = keyring_file_key(kr, KEYRING_BACKUP, e->id, own);

	if (err == 0 && e->kind == SET_NAME) {
		err = keyring_file_key(kr, KEYRING_BACKUP, e->child, other);
		if (err == 0)
			kdf_derive(ret, own, "name", other, sizeof(other));
	} else if (err == 0) {
		kdf_derive(ret, own, "pack", NULL, 0);
	}
	secret_wipe(own, sizeof(own));
	secret_wipe(other, sizeof(other));
	return err;
}

static uint64_t sequence_of(const struct set_entry *e)
{
	return e->kind == SET_NAME   ? e->link
	       : e->kind == SET_NODE ? 0
				     : e->range;
}

void set_frame_put(uint8_t f[SET_FRAME_LEN], const struct set_entry *e, uint64_t basis, uint32_t box_len)
{
	memset(f, 0, SET_FRAME_LEN);
	memcpy(f, FRAME_MAGIC, 4);
	f[4] = e->kind;
	f[5] = e->flags;
	bytes_put32(f + 8, box_len);
	bytes_put64(f + 16, e->id);
	bytes_put64(f + 24, e->version);
	bytes_put64(f + 32, sequence_of(e));
	bytes_put64(f + 40, basis);
}

static void associated(struct keyring *kr, const uint8_t f[SET_FRAME_LEN], uint8_t ad[AD_LEN])
{
	memcpy(ad, AD_LABEL, AD_LABEL_LEN);
	memcpy(ad + AD_LABEL_LEN, keyring_volume_id(kr), 16);
	memcpy(ad + AD_LABEL_LEN + 16, f, SET_FRAME_LEN);
}

/* PADME (Nikitin et al. 2019): at most 12 % more, and the length tells O(log log n) bits. */
static size_t padme(size_t n)
{
	unsigned e = 0, s = 0;

	if (n < 2)
		return 2;
	while (n >> (e + 1))
		e++;
	while (e >> s)
		s++;
	size_t mask = ((size_t)1 << (e - s)) - 1;
	return (n + mask) & ~mask;
}

#define RANGE_SLACK 64

/* A whole range that does not compress, with its few bytes of head, is a class of its own: those bytes must not
 * push it into the next one, which is 3 % larger. */
static size_t padded(size_t n)
{
	return n >= SET_RANGE ? RANGE_SLACK + padme(n - RANGE_SLACK) : padme(n);
}

size_t set_record_room(size_t len)
{
	return SET_FRAME_LEN + padded(HEAD_LEN + len) + SUITE_BOX_OVERHEAD;
}

struct set_sealer {
	ZSTD_CCtx *z;
	struct bytes_w plain;
};

struct set_sealer *set_sealer_new(void)
{
	struct set_sealer *s = calloc(1, sizeof(*s));

	if (s && (s->z = ZSTD_createCCtx()))
		return s;
	free(s);
	return NULL;
}

void set_sealer_free(struct set_sealer *s)
{
	if (!s)
		return;
	ZSTD_freeCCtx(s->z);
	if (s->plain.buf)
		secret_wipe(s->plain.buf, s->plain.cap);
	bytes_w_free(&s->plain);
	free(s);
}

/*
 * Head, payload and padding. A body that does not shrink is stored as it is. A name always is: its
 * zeros would shrink by just what they are there to hide.
 */
static int pack_body(struct set_sealer *s, uint8_t kind, const void *body, size_t len)
{
	size_t bound = ZSTD_compressBound(len), cap = padded(HEAD_LEN + (bound > len ? bound : len)), n = len;

	bytes_w_reset(&s->plain);
	uint8_t *p = bytes_w_room(&s->plain, cap);
	if (!p)
		return s->plain.err;
	p[0] = ZSTD;
	if (kind != SET_NAME)
		n = ZSTD_compressCCtx(s->z, p + HEAD_LEN, cap - HEAD_LEN, body, len, ZSTD_LEVEL);
	if (ZSTD_isError(n) || n >= len) {
		p[0] = STORED;
		n = len;
		if (len)
			memcpy(p + HEAD_LEN, body, len);
	}
	bytes_put32(p + 1, (uint32_t)len);
	s->plain.len = padded(HEAD_LEN + n);
	memset(p + HEAD_LEN + n, 0, s->plain.len - HEAD_LEN - n);
	return 0;
}

/* The key is derived and used within one bracket, so that a puncture never overtakes it. */
static int seal_box(struct keyring *kr, const struct set_entry *e, const uint8_t *f,
		    const uint8_t *plain, size_t plain_len, uint8_t *box)
{
	uint8_t key[KDF_KEY_LEN], ad[AD_LEN];

	associated(kr, f, ad);
	keyring_use_begin(kr);
	int err = record_key(kr, e, key);
	if (err == 0)
		suite_seal(keyring_suite(kr), key, ad, sizeof(ad), plain, plain_len, box);
	secret_wipe(key, sizeof(key));
	keyring_use_end(kr);
	return err;
}

int set_sealer_record(struct set_sealer *s, struct keyring *kr, struct set_entry *e, uint64_t basis,
		      const void *body, size_t len, struct bytes_w *out)
{
	if (len > SET_RECORD_MAX)
		return -E2BIG;
	int err = pack_body(s, e->kind, body, len);
	if (err)
		return err;
	size_t stored = SET_FRAME_LEN + s->plain.len + SUITE_BOX_OVERHEAD, before = out->len;
	uint8_t *f = bytes_w_room(out, stored);
	if (!f)
		return out->err;
	set_frame_put(f, e, basis, (uint32_t)(s->plain.len + SUITE_BOX_OVERHEAD));
	err = seal_box(kr, e, f, s->plain.buf, s->plain.len, f + SET_FRAME_LEN);
	if (err) {
		out->len = before;
		return err;
	}
	e->len = (uint32_t)stored;
	set_checksum(f, stored, e->sum);
	return 0;
}

int set_record_seal(struct keyring *kr, struct set_entry *e, uint64_t basis, const void *body,
		    size_t len, struct bytes_w *out)
{
	struct set_sealer *s = set_sealer_new();
	int err = s ? set_sealer_record(s, kr, e, basis, body, len, out) : -ENOMEM;

	set_sealer_free(s);
	return err;
}

/* The frame's own word for what the key depends on. */
int set_record_authenticate(struct keyring *kr, const uint8_t *stored, size_t len, struct bytes_w *out)
{
	const struct set_entry e = {.kind = stored[4], .id = bytes_get64(stored + 16), .child = bytes_get64(stored + 40)};
	uint8_t key[KDF_KEY_LEN], ad[AD_LEN];

	if (len < SET_FRAME_LEN + SUITE_BOX_OVERHEAD + HEAD_LEN || memcmp(stored, FRAME_MAGIC, 4) != 0)
		return -EBADMSG;
	uint8_t *plain = bytes_w_room(out, len - SET_FRAME_LEN - SUITE_BOX_OVERHEAD);
	if (!plain)
		return out->err;
	associated(kr, stored, ad);
	keyring_use_begin(kr);
	int err = record_key(kr, &e, key);
	if (err == 0)
		err = suite_open(keyring_suite(kr), key, ad, sizeof(ad), stored + SET_FRAME_LEN, len - SET_FRAME_LEN,
				 plain);
	secret_wipe(key, sizeof(key));
	keyring_use_end(kr);
	return err;
}

/* Everything that the index says of the record must stand in its frame. */
static int check_frame(const struct set_entry *e, const uint8_t *f, size_t len)
{
	uint8_t expected[SET_FRAME_LEN];

	if (len < SET_FRAME_LEN + SUITE_BOX_OVERHEAD + HEAD_LEN || len != e->len)
		return -EBADMSG;
	/* Of an overlay the basis is the frame's own word; what else stands there the index knows. */
	uint64_t basis = e->kind == SET_NAME	     ? e->child
			 : set_entry_is_delta(e) ? e->basis
						 : bytes_get64(f + 40);
	set_frame_put(expected, e, basis, (uint32_t)(len - SET_FRAME_LEN));
	return memcmp(expected, f, SET_FRAME_LEN) == 0 ? 0 : -EBADMSG;
}

static int unpack_body(const uint8_t *plain, size_t len, struct bytes_w *out)
{
	uint32_t raw = bytes_get32(plain + 1);

	if (raw > SET_RECORD_MAX)
		return -EBADMSG;
	uint8_t *p = bytes_w_room(out, raw);
	if (!p)
		return out->err;
	if (plain[0] == STORED) {
		if (raw > len - HEAD_LEN)
			return -EBADMSG;
		memcpy(p, plain + HEAD_LEN, raw);
		return 0;
	}
	if (plain[0] != ZSTD)
		return -EBADMSG;
	/* The padding is zeros behind the one zstd frame: its own length ends it. */
	size_t frame = ZSTD_findFrameCompressedSize(plain + HEAD_LEN, len - HEAD_LEN);
	if (ZSTD_isError(frame) || ZSTD_decompress(p, raw, plain + HEAD_LEN, frame) != raw)
		return -EBADMSG;
	return 0;
}

int set_record_open(struct keyring *kr, const struct set_entry *e, const void *stored, size_t len,
		    struct bytes_w *out)
{
	const uint8_t *f = stored;
	uint8_t key[KDF_KEY_LEN], ad[AD_LEN];
	int err = check_frame(e, f, len);

	if (err)
		return err;
	size_t plain_len = len - SET_FRAME_LEN - SUITE_BOX_OVERHEAD, before = out->len;
	CLEANUP_FREE uint8_t *plain = malloc(plain_len);
	if (!plain)
		return -ENOMEM;
	associated(kr, f, ad);
	keyring_use_begin(kr);
	err = record_key(kr, e, key);
	if (err == 0)
		err = suite_open(keyring_suite(kr), key, ad, sizeof(ad), f + SET_FRAME_LEN,
				 len - SET_FRAME_LEN, plain);
	secret_wipe(key, sizeof(key));
	keyring_use_end(kr);
	if (err == 0)
		err = unpack_body(plain, plain_len, out);
	if (err)
		out->len = before;
	return err;
}

int set_damage(int err)
{
	switch (err) {
	case -ENODATA:
	case -ENOENT:
	case -EIO:
	case -EUCLEAN:
	case -EFBIG:
	case -ELOOP:
	case -ENOTDIR:
	case -EISDIR:
		return -EBADMSG;
	default:
		return err;
	}
}

/* What is destroyed is told before anything is read: its bytes may be gone by right. */
static bool destroyed(struct keyring *kr, const struct set_entry *e)
{
	char order[KEYRING_ORDER_REF_MAX + 1];

	return keyring_gone(kr, KEYRING_BACKUP, e->id, order) ||
	       (e->kind == SET_NAME && keyring_gone(kr, KEYRING_BACKUP, e->child, order));
}

int set_record_take(struct keyring *kr, const struct set_entry *e, const void *stored, struct bytes_w *out)
{
	uint8_t sum[SET_CHECKSUM_LEN];

	set_checksum(stored, e->len, sum);
	if (memcmp(sum, e->sum, sizeof(sum)) != 0)
		return -EBADMSG;
	return set_record_open(kr, e, stored, e->len, out);
}

int set_record_judge(struct keyring *kr, const struct set_manifest *m, const struct set_entry *e)
{
	if (destroyed(kr, e))
		return -EKEYREVOKED;
	return e->pack >= m->n_packs || e->len > SET_FRAME_MAX ? -EBADMSG : 0;
}

int set_record_read(struct repo *r, struct keyring *kr, const struct set_manifest *m,
		    const struct set_entry *e, struct bytes_w *out)
{
	char name[SET_NAME_LEN];
	int err = set_record_judge(kr, m, e);

	if (err)
		return err;
	CLEANUP_FREE uint8_t *stored = malloc(e->len ? e->len : 1);
	if (!stored)
		return -ENOMEM;
	set_object_pack(m->id, e->pack, name);
	err = repo_read(r, name, e->off, stored, e->len);
	return err ? set_damage(err) : set_record_take(kr, e, stored, out);
}
