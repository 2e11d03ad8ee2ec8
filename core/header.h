/*
 * The store's header: who this volume is, where its anchor lies, and the slots that unlock it.
 *
 * STORE/header is written whole with durable_replace; STORE/header.bak holds the same bytes and is
 * used, with a warning through ret_used_backup, when the first does not verify. Signed by the
 * volume's Ed25519 key, which the key state proves at unlock. Format: docs/format.md "Header".
 *
 * A slot wraps the volume key VK: by passphrase (Argon2id), by member identity (sealed box), by key
 * file (keyed BLAKE2b over 32..64 KiB of content). Each commits to its wrapping key and VK is
 * checked against the header's commitment.
 */
#ifndef COFFER_CORE_HEADER_H
#define COFFER_CORE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/identity.h"
#include "core/secret.h"

#define HEADER_VERSION 1
#define HEADER_ID_LEN 16
#define HEADER_SLOTS_MAX 64
#define HEADER_PATH_MAX 1024
#define HEADER_NAME_MAX 64

enum header_slot_kind {
	HEADER_SLOT_PASSPHRASE = 1,
	HEADER_SLOT_IDENTITY = 2,
	HEADER_SLOT_KEYFILE = 3
};

struct header_slot {
	uint8_t kind;
	char label[HEADER_NAME_MAX + 1];
	uint8_t salt[16];    /* passphrase, key file */
	uint64_t ops, mem;   /* passphrase: Argon2id passes and bytes */
	uint8_t seal_pk[32]; /* identity */
	uint8_t wrapped[96]; /* commitment and box, or sealed box; wrapped_len in use */
	uint8_t wrapped_len;
};

struct header {
	uint8_t volume_id[HEADER_ID_LEN];
	char name[HEADER_NAME_MAX + 1];
	uint8_t suite; /* enum suite_id */
	uint8_t vk_commit[32];
	uint8_t sign_pk[32];
	uint8_t charter_first[32];        /* digest of the first charter */
	int64_t created;                  /* unix seconds */
	char anchor[HEADER_PATH_MAX + 1]; /* absolute folder */
	size_t n_slots;
	struct header_slot slots[HEADER_SLOTS_MAX];
};

/* Writes both copies, signed with the volume's seed; the first one commits. */
int header_write(int store_fd, const struct header *h, const uint8_t sign_seed[32], struct diag *d);
/* The first copy alone, for a caller who has to know whether that one failed. */
int header_commit(int store_fd, const struct header *h, const uint8_t sign_seed[32],
		  struct diag *d);
/*
 * Rewrites the copy that does not hold these very bytes, if any: damage, or a crash between the
 * two.
 */
int header_repair(int store_fd, const struct header *h, const uint8_t sign_seed[32],
		  struct diag *d);
/*
 * Reads and verifies; *ret is large, the caller frees it. DIAG_HEADER_DAMAGED, DIAG_VERSION,
 * DIAG_NO_VOLUME.
 */
int header_read(int store_fd, const char *object, struct header **ret, bool *ret_used_backup,
		struct diag *d);

/* Commitment that the header and escrows carry. */
void header_vk_commit(const uint8_t vk[32], uint8_t ret[32]);

/* What somebody brings to unlock with: exactly one is set. */
struct header_unlock {
	struct secret *passphrase;
	const struct identity *identity;
	struct secret *keyfile; /* its content */
};

/*
 * Adds a slot in memory; h is unchanged after a failure. seal_pk, when given, makes an identity
 * slot for the holder of that key (with is then not looked at); an identity in with makes one for
 * itself. -ENOSPC when 64 are taken, -EEXIST for a label in use. A passphrase must keep
 * header_passphrase_rules; its cost is Argon2id moderate (3 passes, 256 MiB), or the floor (2
 * passes, 64 MiB) when the caller asks with cheap (tests, quickstart). A key file holds 32 bytes to
 * 64 KiB.
 */
int header_slot_add(struct header *h, const uint8_t vk[32], const char *label,
		    const struct header_unlock *with, const uint8_t *seal_pk, bool cheap,
		    struct diag *d);
/* Takes a slot away in memory. DIAG_NOT_FOUND; the last one stays (DIAG_USAGE, -EBUSY). */
int header_slot_remove(struct header *h, const char *label, struct diag *d);
/*
 * The same header under a new VK, in memory. keep[i] says whether slot i of h is wanted and then
 * whether it is in *ret: identity slots are sealed anew, passphrase and key-file slots are wrapped
 * anew with whichever of the secrets opens them, at the cost they had; those that none opens are
 * left out. DIAG_USAGE (-EBUSY) when no slot would be left.
 */
int header_rekey(const struct header *h, const uint8_t vk[32], const struct header_unlock *secrets,
		 size_t n_secrets, bool keep[HEADER_SLOTS_MAX], struct header *ret, struct diag *d);
/* Tries every slot of the kind. DIAG_WRONG_SECRET (-ENOKEY). *ret_label points into h. */
int header_unlock(const struct header *h, const struct header_unlock *with, struct secret **ret_vk,
		  const char **ret_label, struct diag *d);
/*
 * The passphrase rules: at least 12 bytes, not one repeated character, not the volume's name.
 * DIAG_PASS_WEAK (-EINVAL).
 */
int header_passphrase_rules(const struct header *h, struct secret *pass, struct diag *d);

#endif
