/*
 * The bytes of one escrow slot: clear head, recipients, box, signature.
 *
 * The box is sealed under a random content key with everything before it as associated data; the
 * content key is sealed to each recipient; the volume's signature closes the slot. Format:
 * docs/format.md "Escrow".
 */
#include "core/escrow_internal.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/suite.h"

#define MAGIC "COFFERES"
#define VERSION 1
#define HEAD_LEN 112
#define NAME_LEN 64
#define SEALED_LEN (KDF_KEY_LEN + IDENTITY_SEAL_OVERHEAD)
#define RECIPIENT_LEN (NAME_LEN + IDENTITY_KEY_LEN + SEALED_LEN)
/* Plaintext before the key state: VK, anchor state, first charter, name. */
#define FIXED_LEN (32 + ANCHOR_STATE_LEN + 32 + 1 + NAME_LEN)

void escrow_slot_free(struct escrow_slot *s)
{
	free(s->buf);
	s->buf = NULL;
}

void escrow_file_name(const uint8_t volume_id[16], char out[ESCROW_NAME_LEN])
{
	bytes_hex(out, volume_id, 16);
	strcpy(out + 32, ".escrow");
}

void escrow_key_tag(const struct anchor_state *st, uint8_t ret[16])
{
	uint8_t full[KDF_KEY_LEN];

	kdf_derive(full, st->tk, "coffer escrow tag 1", NULL, 0);
	memcpy(ret, full, 16);
}

static const struct suite *slot_suite(void)
{
	return suite_by_id(SUITE_XCHACHA20POLY1305);
}

/* --- the sealed content --- */

static size_t content_len(const struct escrow_content *c)
{
	return FIXED_LEN + c->state_len;
}

static void content_encode(const struct escrow_content *c, uint8_t *out)
{
	uint8_t *p = mempcpy(out, c->vk, 32);

	anchor_state_encode(&c->anchor, p);
	p = mempcpy(p + ANCHOR_STATE_LEN, c->charter_first, 32);
	*p++ = (uint8_t)strnlen(c->name, NAME_LEN);
	memcpy(p, c->name, NAME_LEN);
	memcpy(p + NAME_LEN, c->state, c->state_len);
}

static int content_decode(const uint8_t *in, size_t len, struct escrow_content *ret)
{
	const uint8_t *name = in + 32 + ANCHOR_STATE_LEN + 32;

	if (len <= FIXED_LEN || name[0] > NAME_LEN)
		return -EUCLEAN;
	memcpy(ret->vk, in, 32);
	anchor_state_decode(in + 32, &ret->anchor);
	memcpy(ret->charter_first, name - 32, 32);
	memcpy(ret->name, name + 1, name[0]);
	ret->name[name[0]] = '\0';
	if (!identity_name_valid(ret->name))
		return -EUCLEAN;
	ret->state_len = len - FIXED_LEN;
	ret->state = secret_slab_new(ret->state_len);
	if (!ret->state)
		return -ENOMEM;
	memcpy(ret->state, in + FIXED_LEN, ret->state_len);
	return 0;
}

/* --- writing --- */

size_t escrow_slot_len(const struct escrow_content *c, size_t n_recipients)
{
	return HEAD_LEN + n_recipients * RECIPIENT_LEN + content_len(c) + SUITE_BOX_OVERHEAD +
	       IDENTITY_SIG_LEN;
}

static int recipient_encode(uint8_t *out, const struct identity_card *card,
			    const uint8_t key[KDF_KEY_LEN])
{
	memset(out, 0, NAME_LEN);
	memcpy(out, card->name, strnlen(card->name, NAME_LEN));
	memcpy(out + NAME_LEN, card->seal_pk, IDENTITY_KEY_LEN);
	return identity_seal(card->seal_pk, key, KDF_KEY_LEN, out + NAME_LEN + IDENTITY_KEY_LEN);
}

static int box_encode(const struct escrow_content *c, const uint8_t key[KDF_KEY_LEN],
		      const uint8_t *slot, size_t box_off, uint8_t *box)
{
	uint8_t *pt = secret_slab_new(content_len(c));

	if (!pt)
		return -ENOMEM;
	content_encode(c, pt);
	suite_seal(slot_suite(), key, slot, box_off, pt, content_len(c), box);
	secret_slab_free(pt);
	return 0;
}

int escrow_slot_encode(const struct escrow_content *c, const uint8_t sign_seed[32],
		       const struct identity_card *recipients, size_t n_recipients, uint64_t seq,
		       int64_t written, uint8_t *out)
{
	size_t box_off = HEAD_LEN + n_recipients * RECIPIENT_LEN;
	size_t box_len = content_len(c) + SUITE_BOX_OVERHEAD;
	uint8_t key[KDF_KEY_LEN];
	int r = 0;

	memset(out, 0, HEAD_LEN);
	memcpy(out, MAGIC, 8);
	bytes_put16(out + 8, VERSION);
	bytes_put16(out + 10, (uint16_t)n_recipients);
	memcpy(out + 16, c->volume_id, 16);
	bytes_put64(out + 32, seq);
	bytes_put64(out + 40, c->anchor.generation);
	bytes_put64(out + 48, (uint64_t)written);
	bytes_put64(out + 56, box_len);
	identity_sign_pk_from_seed(sign_seed, out + 64);
	escrow_key_tag(&c->anchor, out + 96);
	kdf_random(key, sizeof(key));
	for (size_t i = 0; i < n_recipients && r == 0; i++)
		r = recipient_encode(out + HEAD_LEN + i * RECIPIENT_LEN, &recipients[i], key);
	if (r == 0)
		r = box_encode(c, key, out, box_off, out + box_off);
	secret_wipe(key, sizeof(key));
	if (r == 0)
		identity_sign_with_seed(sign_seed, out, box_off + box_len, out + box_off + box_len);
	return r;
}

/* --- reading --- */

/* Lengths first: everything that the head promises lies inside len. */
static bool head_parse(struct escrow_slot *s, size_t len, const uint8_t volume_id[16],
		       const uint8_t *sign_pk)
{
	const uint8_t *b = s->buf;
	uint64_t box_len = bytes_get64(b + 56);

	s->n_recipients = bytes_get16(b + 10);
	if (s->n_recipients == 0 || s->n_recipients > ESCROW_RECIPIENTS_MAX)
		return false;
	s->recipients = b + HEAD_LEN;
	s->box_off = HEAD_LEN + s->n_recipients * RECIPIENT_LEN;
	if (s->box_off + IDENTITY_SIG_LEN > len || box_len > len - s->box_off - IDENTITY_SIG_LEN)
		return false;
	s->box_len = (size_t)box_len;
	s->generation = bytes_get64(b + 40);
	s->written = (int64_t)bytes_get64(b + 48);
	memcpy(s->sign_pk, b + 64, 32);
	memcpy(s->key_tag, b + 96, 16);
	return memcmp(b + 16, volume_id, 16) == 0 && bytes_get64(b + 32) != 0 &&
	       (!sign_pk || memcmp(s->sign_pk, sign_pk, 32) == 0);
}

void escrow_slot_parse(struct escrow_slot *s, uint8_t *buf, size_t len, const uint8_t volume_id[16],
		       const uint8_t *sign_pk)
{
	*s = (struct escrow_slot){.buf = buf};
	if (len < HEAD_LEN || memcmp(buf, MAGIC, 8) != 0)
		return;
	s->newer = bytes_get16(buf + 8) > VERSION;
	if (bytes_get16(buf + 8) != VERSION || !head_parse(s, len, volume_id, sign_pk))
		return;
	len = s->box_off + s->box_len;
	if (identity_verify(s->sign_pk, buf, len, buf + len) == 0)
		s->seq = bytes_get64(buf + 32);
}

void escrow_slot_recipient(const struct escrow_slot *s, size_t i, char ret_name[65])
{
	memcpy(ret_name, s->recipients + i * RECIPIENT_LEN, NAME_LEN);
	ret_name[NAME_LEN] = '\0';
}

static int content_key(const struct escrow_slot *s, const struct identity *id,
		       uint8_t key[KDF_KEY_LEN])
{
	const uint8_t *pk = identity_card(id)->seal_pk;

	for (size_t i = 0; i < s->n_recipients; i++) {
		const uint8_t *rec = s->recipients + i * RECIPIENT_LEN + NAME_LEN;

		if (memcmp(rec, pk, IDENTITY_KEY_LEN) == 0)
			return identity_unseal(id, rec + IDENTITY_KEY_LEN, SEALED_LEN, key);
	}
	return -ENOKEY;
}

int escrow_slot_open(const struct escrow_slot *s, const struct identity *id,
		     struct escrow_content *ret)
{
	uint8_t key[KDF_KEY_LEN], *pt;
	int r;

	if (s->box_len <= SUITE_BOX_OVERHEAD)
		return -EUCLEAN;
	r = content_key(s, id, key);
	if (r < 0)
		return r;
	pt = secret_slab_new(s->box_len - SUITE_BOX_OVERHEAD);
	r = -ENOMEM;
	if (pt)
		r = suite_open(slot_suite(), key, s->buf, s->box_off, s->buf + s->box_off,
			       s->box_len, pt);
	secret_wipe(key, sizeof(key));
	if (r == 0)
		r = content_decode(pt, s->box_len - SUITE_BOX_OVERHEAD, ret);
	secret_slab_free(pt);
	if (r < 0)
		return r;
	memcpy(ret->volume_id, s->buf + 16, 16);
	memcpy(ret->sign_pk, s->sign_pk, 32);
	/* The clear generation is what status reports; it may not tell another story. */
	if (ret->anchor.generation != s->generation) {
		escrow_content_wipe(ret);
		return -EUCLEAN;
	}
	return 0;
}
