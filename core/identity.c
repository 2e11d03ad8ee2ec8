/* Keys of members: making, signing, sealing. Files are in identity_file.c, cards in
 * identity_card.c. */
#include "core/identity.h"
#include "core/identity_internal.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/kdf.h"
#include "core/note.h"
#include "core/note_internal.h"

_Static_assert(IDENTITY_KEY_LEN == crypto_sign_PUBLICKEYBYTES, "key size");
_Static_assert(IDENTITY_SIG_LEN == crypto_sign_BYTES, "signature size");
_Static_assert(IDENTITY_SEAL_OVERHEAD == crypto_box_SEALBYTES, "sealed box overhead");
_Static_assert(IDENTITY_SEED_LEN == crypto_sign_SEEDBYTES, "seed size");

/* Characters that show nothing: with them two names could look alike. */
static bool invisible(uint32_t cp)
{
	return cp == 0xad || cp == 0x34f || cp == 0x115f || cp == 0x1160 || cp == 0x180e ||
	       (cp >= 0x200b && cp <= 0x200f) || (cp >= 0x2060 && cp <= 0x206f) || cp == 0x3164 ||
	       (cp >= 0xfe00 && cp <= 0xfe0f) || cp == 0xfeff || cp == 0xffa0 ||
	       (cp >= 0xe0000 && cp <= 0xe0fff);
}

bool identity_name_valid(const char *name)
{
	size_t len = strnlen(name, IDENTITY_NAME_MAX + 1);
	const uint8_t *p = (const uint8_t *)name;

	if (len == 0 || len > IDENTITY_NAME_MAX || !note_value_valid(name, len))
		return false;
	for (size_t at = 0; at < len;) {
		uint32_t cp;

		at += note_utf8(p + at, len - at, &cp);
		if (cp == '|' || invisible(cp))
			return false;
	}
	return true;
}

struct identity_keys *identity_keys(const struct identity *id)
{
	return (struct identity_keys *)secret_bytes(id->keys);
}

int identity_seal_pk_of(const uint8_t proof_pk[IDENTITY_KEY_LEN], uint8_t ret[IDENTITY_KEY_LEN])
{
	uint8_t pk[IDENTITY_KEY_LEN];

	if (crypto_sign_ed25519_pk_to_curve25519(pk, proof_pk) != 0)
		return -EBADMSG;
	memcpy(ret, pk, sizeof(pk));
	return 0;
}

/* Everything that follows from the seeds. */
static int expand(struct identity *id)
{
	struct identity_keys *k = identity_keys(id);
	uint8_t proof_sk[crypto_sign_SECRETKEYBYTES];
	int r;

	crypto_sign_seed_keypair(id->card.sign_pk, k->sign_sk, k->seeds);
	crypto_sign_seed_keypair(id->proof_pk, proof_sk, k->seeds + IDENTITY_SEED_LEN);
	r = crypto_sign_ed25519_sk_to_curve25519(k->seal_sk, proof_sk);
	secret_wipe(proof_sk, sizeof(proof_sk));
	return r == 0 ? identity_seal_pk_of(id->proof_pk, id->card.seal_pk) : -EBADMSG;
}

struct identity *identity_from_seeds(const char *name, const char *number,
				     const uint8_t seeds[IDENTITY_SEEDS_LEN])
{
	struct identity *id;

	if (!identity_name_valid(name) || !identity_name_valid(number))
		return NULL;
	id = calloc(1, sizeof(*id));
	if (!id)
		return NULL;
	strcpy(id->card.name, name);
	strcpy(id->card.number, number);
	id->keys = secret_new(sizeof(struct identity_keys));
	if (id->keys) {
		memcpy(identity_keys(id)->seeds, seeds, IDENTITY_SEEDS_LEN);
		if (expand(id) == 0)
			return id;
	}
	identity_free(id);
	return NULL;
}

struct identity *identity_new(const char *name, const char *number)
{
	uint8_t seeds[IDENTITY_SEEDS_LEN];
	struct identity *id;

	kdf_random(seeds, sizeof(seeds));
	id = identity_from_seeds(name, number, seeds);
	secret_wipe(seeds, sizeof(seeds));
	return id;
}

void identity_free(struct identity *id)
{
	if (!id)
		return;
	secret_free(id->keys);
	free(id);
}

const struct identity_card *identity_card(const struct identity *id)
{
	return &id->card;
}

void identity_sign(const struct identity *id, const void *msg, size_t len,
		   uint8_t sig[IDENTITY_SIG_LEN])
{
	crypto_sign_detached(sig, NULL, msg, len, identity_keys(id)->sign_sk);
}

int identity_verify(const uint8_t pk[IDENTITY_KEY_LEN], const void *msg, size_t len,
		    const uint8_t sig[IDENTITY_SIG_LEN])
{
	return crypto_sign_verify_detached(sig, msg, len, pk) == 0 ? 0 : -EBADMSG;
}

int identity_seal(const uint8_t seal_pk[IDENTITY_KEY_LEN], const void *msg, size_t len,
		  uint8_t *out)
{
	/* Fails only for a key of small order, whose box anybody could open. */
	return crypto_box_seal(out, msg, len, seal_pk) == 0 ? 0 : -EBADMSG;
}

int identity_unseal(const struct identity *id, const void *box, size_t len, uint8_t *msg)
{
	if (len < IDENTITY_SEAL_OVERHEAD)
		return -EBADMSG;
	return crypto_box_seal_open(msg, box, len, id->card.seal_pk, identity_keys(id)->seal_sk) ==
		       0
		   ? 0
		   : -EBADMSG;
}

void identity_sign_pk_from_seed(const uint8_t seed[32], uint8_t pk[IDENTITY_KEY_LEN])
{
	uint8_t sk[crypto_sign_SECRETKEYBYTES];

	crypto_sign_seed_keypair(pk, sk, seed);
	secret_wipe(sk, sizeof(sk));
}

void identity_sign_with_seed(const uint8_t seed[32], const void *msg, size_t len,
			     uint8_t sig[IDENTITY_SIG_LEN])
{
	uint8_t pk[IDENTITY_KEY_LEN], sk[crypto_sign_SECRETKEYBYTES];

	crypto_sign_seed_keypair(pk, sk, seed);
	crypto_sign_detached(sig, NULL, msg, len, sk);
	secret_wipe(sk, sizeof(sk));
}
