/*
 * Members' identities: Ed25519 to sign, X25519 to unwrap, kept in a passphrase-protected file.
 *
 * A secret identity lives in a file of its member (docs/format.md "Identity file"); what others
 * need is its card: a signed note by its own Ed25519 key that states name, number and both public
 * keys. Names and numbers are 1..64 bytes of printable UTF-8 without control, bidirectional or '|'
 * characters and without leading or trailing blanks. Stateless; a struct identity may be used by
 * one thread at a time.
 */
#ifndef COFFER_CORE_IDENTITY_H
#define COFFER_CORE_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/diag.h"
#include "core/secret.h"

#define IDENTITY_KEY_LEN 32
#define IDENTITY_SIG_LEN 64
#define IDENTITY_NAME_MAX 64
#define IDENTITY_SEAL_OVERHEAD 48 /* sealed box: ephemeral key and tag */

/* The public half. */
struct identity_card {
	char name[IDENTITY_NAME_MAX + 1];
	char number[IDENTITY_NAME_MAX + 1]; /* staff number: with the name, one person */
	uint8_t sign_pk[IDENTITY_KEY_LEN];
	uint8_t seal_pk[IDENTITY_KEY_LEN];
};

struct identity;

bool identity_name_valid(const char *name);

/* Fresh keys. NULL when guarded memory is short. Caller frees. */
struct identity *identity_new(const char *name, const char *number);
void identity_free(struct identity *id);
const struct identity_card *identity_card(const struct identity *id);

/* Encrypted file text under the passphrase (Argon2id at interactive cost, XChaCha20-Poly1305).
 * Caller frees *ret. */
int identity_export(const struct identity *id, struct secret *pass, char **ret);
/* The reverse; DIAG_WRONG_SECRET or DIAG_NOTE_MALFORMED. object names the file in messages. */
int identity_import(const char *text, struct secret *pass, const char *object,
		    struct identity **ret, struct diag *d);
/* Reads FILE and imports; pass may be NULL for a file made without a passphrase (never made by the
 * tools). */
int identity_load(const char *path, struct secret *pass, struct identity **ret, struct diag *d);

/* The card as a signed note; caller frees. */
int identity_card_export(const struct identity *id, char **ret);
/* Parses and verifies a card's own signature. */
int identity_card_import(const char *text, const char *object, struct identity_card *ret,
			 struct diag *d);
int identity_card_load(const char *path, struct identity_card *ret, struct diag *d);

void identity_sign(const struct identity *id, const void *msg, size_t len,
		   uint8_t sig[IDENTITY_SIG_LEN]);
/* 0 or -EBADMSG. */
int identity_verify(const uint8_t pk[IDENTITY_KEY_LEN], const void *msg, size_t len,
		    const uint8_t sig[IDENTITY_SIG_LEN]);

/* Anonymous sealed box to a card's seal_pk: out gets len + IDENTITY_SEAL_OVERHEAD bytes. */
int identity_seal(const uint8_t seal_pk[IDENTITY_KEY_LEN], const void *msg, size_t len,
		  uint8_t *out);
/* msg gets len - IDENTITY_SEAL_OVERHEAD bytes. 0 or -EBADMSG. */
int identity_unseal(const struct identity *id, const void *box, size_t len, uint8_t *msg);

/* Bare signing keys, for a volume's own key: seed is secret, 32 bytes. */
void identity_sign_pk_from_seed(const uint8_t seed[32], uint8_t pk[IDENTITY_KEY_LEN]);
void identity_sign_with_seed(const uint8_t seed[32], const void *msg, size_t len,
			     uint8_t sig[IDENTITY_SIG_LEN]);

CLEANUP_DEFINE(identity, struct identity *, identity_free)
#define CLEANUP_IDENTITY __attribute__((cleanup(cleanup_identity)))

#endif
