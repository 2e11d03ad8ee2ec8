/*
 * AEAD suites behind one table, so that another (SM4) can join.
 *
 * Two ways to seal. A box carries a random 192-bit nonce and fits everything that is written once
 * under a long-lived key: records, states, packs. A block uses a counter nonce under a key that
 * one session alone uses, and keeps its tag apart: file data. A box's tag has 128 bits in every
 * suite; a block's has what suite_tag_len says.
 *
 * aes256gcm has a 96-bit nonce; its box derives a one-time key from the first 16 bytes of the
 * random nonce and uses the last 8 as nonce, so that random nonces are safe at any count.
 *
 * aegis256 seals blocks with AEGIS-256 and its 256-bit tags, the only ones that libsodium (from
 * 1.0.19 on) makes and checks. Its boxes are aes256gcm's, which need the same processor: records
 * are small and many, and a longer tag on each would cost more than a faster cipher gives.
 *
 * None of the suites commits to its key; who needs that (unlock slots) adds a commitment.
 * Stateless, thread-safe.
 */
#ifndef COFFER_CORE_SUITE_H
#define COFFER_CORE_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUITE_KEY_LEN 32
#define SUITE_TAG_LEN 16     /* of boxes */
#define SUITE_TAG_LEN_MAX 32 /* of blocks, in any suite */
#define SUITE_NONCE_LEN 24
#define SUITE_BOX_OVERHEAD (SUITE_NONCE_LEN + SUITE_TAG_LEN)

enum suite_id {
	SUITE_AEGIS256 = 1,
	SUITE_AES256GCM = 2,
	SUITE_XCHACHA20POLY1305 = 3,
};

struct suite;

/* NULL when unknown, or when this library or this processor lacks it. */
const struct suite *suite_by_id(uint8_t id);
const struct suite *suite_by_name(const char *name);
/*
 * The first of aes256gcm, xchacha20poly1305 that is available here; never NULL. Not aegis256, which
 * is for who asks: Debian 12's library could not open the volume.
 */
const struct suite *suite_best(void);
uint8_t suite_id(const struct suite *s);
const char *suite_name(const struct suite *s);
/* One sentence in English: the hardware and library that opening needs. */
const char *suite_needs(const struct suite *s);
/* The name of a suite id, also of one not available here; NULL when unknown. */
const char *suite_id_name(uint8_t id);
/* As suite_needs, also of one not available here; NULL when unknown. */
const char *suite_id_needs(uint8_t id);
/* Bytes in a block's tag: 16 or 32. */
size_t suite_tag_len(const struct suite *s);

/* box = nonce || ciphertext || tag, len + SUITE_BOX_OVERHEAD bytes; box must not overlap pt. */
void suite_seal(const struct suite *s, const uint8_t key[SUITE_KEY_LEN], const void *ad,
		size_t ad_len, const void *pt, size_t len, uint8_t *box);
/* pt gets box_len - SUITE_BOX_OVERHEAD bytes. 0, -EBADMSG (also when too short; pt then zeroed). */
int suite_open(const struct suite *s, const uint8_t key[SUITE_KEY_LEN], const void *ad,
	       size_t ad_len, const void *box, size_t box_len, void *pt);

/*
 * A prepared block key; wipe with secret_wipe. It holds no pointer into itself and may be copied.
 * On the heap it needs 64-byte alignment, as secret_slab_new gives.
 */
struct suite_key {
	_Alignas(64) uint8_t opaque[768];
};
void suite_key_init(struct suite_key *k, const struct suite *s, const uint8_t key[SUITE_KEY_LEN]);
/*
 * Nonce = counter LE64, zero-padded. A (key, counter) pair must never be used twice. ct may be pt.
 * tag has suite_tag_len bytes.
 */
void suite_block_seal(const struct suite_key *k, uint64_t counter, const void *ad, size_t ad_len,
		      const void *pt, size_t len, void *ct, uint8_t *tag);
/* 0 or -EBADMSG (pt then zeroed). pt may be ct. */
int suite_block_open(const struct suite_key *k, uint64_t counter, const void *ad, size_t ad_len,
		     const void *ct, size_t len, const uint8_t *tag, void *pt);

#endif
