/*
 * The keys that malformed inputs are signed with, so that a test gets past the signature to the
 * check it is about, and a signer that signs what the product's own refuses to sign.
 */
#ifndef COFFER_TESTS_KNOWN_H
#define COFFER_TESTS_KNOWN_H

#include <stdlib.h>
#include <string.h>

#include "core/base64.h"
#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/identity_internal.h"
#include "core/kdf.h"
#include "core/note.h"

#define KNOWN_TIME 1764320400 /* 2025-11-28T09:00:00Z */

static const uint8_t known_volume_id[16] = {0xc0, 0xff, 0xee, 1, 2,  3,  4,  5,
					    6,    7,    8,    9, 10, 11, 12, 13};
static const uint8_t known_seed[32] = {0x5e, 0xed, 1};
static const uint8_t known_vk[32] = {0x7e, 0x57, 2};

/* Of known_seed. */
static inline const uint8_t *known_pk(void)
{
	static uint8_t pk[IDENTITY_KEY_LEN];

	if (!pk[0] && !pk[1])
		identity_sign_pk_from_seed(known_seed, pk);
	return pk;
}

/* A member whose keys never change. */
static inline struct identity *known_member(uint8_t n)
{
	uint8_t seeds[IDENTITY_SEEDS_LEN] = {n, 0x11};
	char name[] = "Ada 0", number[] = "100";

	name[4] = (char)('0' + n);
	number[2] = (char)('0' + n);
	seeds[IDENTITY_SEED_LEN] = n;
	seeds[IDENTITY_SEED_LEN + 1] = 0x22;
	return identity_from_seeds(name, number, seeds);
}

/* Appends "— NAME BASE64" over the first body_len bytes of w, whatever they are. */
static inline void known_sign_line(struct bytes_w *w, size_t body_len, const char *name,
				   const uint8_t seed[32])
{
	uint8_t in[NOTE_KEY_NAME_MAX + 2 + IDENTITY_KEY_LEN], hash[32], blob[4 + IDENTITY_SIG_LEN];
	char b64[BASE64_LEN(sizeof(blob)) + 1];
	size_t n = strlen(name);

	memcpy(in, name, n);
	in[n++] = '\n';
	in[n++] = 1;
	identity_sign_pk_from_seed(seed, in + n);
	kdf_sha256(hash, in, n + IDENTITY_KEY_LEN);
	memcpy(blob, hash, 4);
	identity_sign_with_seed(seed, w->buf, body_len, blob + 4);
	base64_encode(b64, blob, sizeof(blob));
	bytes_w_raw(w, "\xe2\x80\x94 ", 4);
	bytes_w_raw(w, name, strlen(name));
	bytes_w_raw(w, " ", 1);
	bytes_w_raw(w, b64, strlen(b64));
	bytes_w_raw(w, "\n", 1);
}

/* By the keys that a member's seeds make: as a member, and as the proof of the sealing key. */
static inline void known_sign_member(struct bytes_w *w, size_t body_len, const struct identity *id)
{
	char name[NOTE_KEY_NAME_MAX + 1];
	const uint8_t *seeds = identity_keys(id)->seeds;

	note_member_key_name(identity_card(id)->sign_pk, name);
	known_sign_line(w, body_len, name, seeds);
	note_member_key_name(id->proof_pk, name);
	known_sign_line(w, body_len, name, seeds + IDENTITY_SEED_LEN);
}

/* The body as a note signed by the volume and by the first member. NUL-terminated; caller frees. */
static inline char *known_sign(const void *body, size_t len)
{
	static struct identity *ada; /* made once: fuzzers sign often */
	struct bytes_w w = {0};
	char name[NOTE_KEY_NAME_MAX + 1];

	if (!ada)
		ada = known_member(1);
	if (!ada)
		abort();
	note_volume_key_name(known_volume_id, name);
	bytes_w_raw(&w, body, len);
	bytes_w_raw(&w, "\n", 1);
	known_sign_line(&w, len, name, known_seed);
	known_sign_member(&w, len, ada);
	bytes_w_raw(&w, "", 1);
	if (w.err)
		abort();
	return (char *)w.buf;
}

#endif
