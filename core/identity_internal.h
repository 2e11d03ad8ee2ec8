/* What the parts of identity share: where the secret keys lie. */
#ifndef COFFER_CORE_IDENTITY_INTERNAL_H
#define COFFER_CORE_IDENTITY_INTERNAL_H

#include "core/identity.h"

/*
 * The member's two seeds are all that is kept in a file. Both are Ed25519 seeds: the unwrapping key
 * is the X25519 form of the second, so that a card can prove possession of it with an ordinary
 * signature.
 */
#define IDENTITY_SEED_LEN 32
#define IDENTITY_SEEDS_LEN (2 * IDENTITY_SEED_LEN)

struct identity {
	struct identity_card card;
	uint8_t proof_pk[IDENTITY_KEY_LEN]; /* Ed25519 form of card.seal_pk */
	struct secret *keys;                /* struct identity_keys */
};

struct identity_keys {
	uint8_t seeds[IDENTITY_SEEDS_LEN]; /* signing, unwrapping */
	uint8_t sign_sk[64];               /* libsodium's form */
	uint8_t seal_sk[IDENTITY_KEY_LEN]; /* X25519 */
};

struct identity_keys *identity_keys(const struct identity *id);
/* NULL when guarded memory is short or the names are invalid. */
struct identity *identity_from_seeds(const char *name, const char *number,
				     const uint8_t seeds[IDENTITY_SEEDS_LEN]);
/* X25519 form of an Ed25519 key. 0 or -EBADMSG for a point that is none or of small order. */
int identity_seal_pk_of(const uint8_t proof_pk[IDENTITY_KEY_LEN], uint8_t ret[IDENTITY_KEY_LEN]);

#endif
