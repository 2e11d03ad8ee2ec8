/*
 * Escrows: self-contained copies of the keys, sealed to the recovery recipients, at registered
 * erasable places.
 *
 * DIR/VOLUMEID.escrow is overwritten in place like the anchor (two slots, both rewritten after a
 * puncture, read back), so that an old escrow does not undo a destruction. A place is made once
 * (escrow_create) and only ever overwritten after that: where a medium is not plugged in, an empty
 * mount point must not be taken for it. Content: VK, TK, key state, anchor state, first charter's
 * digest, volume id and name; sealed with a random content key that is sealed to each recipient's
 * X25519 key; signed by the volume. The generation, a tag of TK and the recipients' names stand
 * outside the seal, so that state can be told without keys. Format: docs/format.md "Escrow".
 * Stateless.
 */
#ifndef COFFER_CORE_ESCROW_H
#define COFFER_CORE_ESCROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/anchor.h"
#include "core/diag.h"
#include "core/identity.h"

#define ESCROW_RECIPIENTS_MAX 16

struct escrow_content {
	uint8_t volume_id[16];
	char name[65];
	uint8_t vk[32];
	struct anchor_state anchor; /* with tk */
	uint8_t charter_first[32];
	uint8_t sign_pk[32]; /* of the volume; set by escrow_open: the state must prove it */
	uint8_t *state;      /* encoded key state in plaintext, guarded memory (secret_slab) */
	size_t state_len;
};

struct escrow_info {
	uint8_t volume_id[16];
	uint64_t generation;
	uint8_t key_tag[16]; /* escrow_key_tag of its tree key */
	/*
	 * The other slot holds another tree key, or does not verify and may hold any: until it is
	 * overwritten, whoever has this escrow may have that key too.
	 */
	bool other_stale;
	int64_t written;     /* unix seconds */
	size_t n_recipients;
	char recipients[ESCROW_RECIPIENTS_MAX][65];
};

/*
 * Makes DIR (0700) if needed and an empty escrow file in it; one that is there already is success.
 * DIAG_ESCROW.
 */
int escrow_create(const char *dir, const uint8_t volume_id[16], struct diag *d);
/*
 * Overwrites both slots with noise, synced and read back; the file stays. -ENOENT (DIAG_ESCROW)
 * when there is none, as where the medium is away.
 */
int escrow_erase(const char *dir, const uint8_t volume_id[16], struct diag *d);
/* Erases what escrow_create made and removes it; best effort. */
void escrow_destroy(const char *dir, const uint8_t volume_id[16]);
/*
 * The volume whose escrow lies in DIR; DIAG_ESCROW when there is none (-ENOENT) or more than one
 * (-EEXIST).
 */
int escrow_find(const char *dir, uint8_t ret_volume_id[16], struct diag *d);
/*
 * Overwrites both slots in place, one after the other; grows the file when the state has grown.
 * Every write is synced and read back. DIAG_ESCROW, with -ENOENT when there is no file. After a
 * failure at least one slot still opens, with the new content or the old. The signature is by
 * sign_seed, whose public key stands in the file.
 */
int escrow_write(const char *dir, const struct escrow_content *c, const uint8_t sign_seed[32],
		 const struct identity_card *recipients, size_t n_recipients, struct diag *d);
/*
 * Tells tree keys apart without saying anything about them: two lines of descent (a recovery from
 * an older escrow is one) may reach the same generation with different keys.
 */
void escrow_key_tag(const struct anchor_state *st, uint8_t ret[16]);
/*
 * What can be told without keys, from the newest slot whose signature verifies: against sign_pk
 * when given, else against the key in the file. DIAG_ESCROW.
 */
int escrow_info(const char *dir, const uint8_t volume_id[16], const uint8_t *sign_pk,
		struct escrow_info *ret, struct diag *d);
/*
 * Opens the newest slot with a recipient's identity. The caller releases with escrow_content_wipe.
 * Whoever holds a recipient's card can make an escrow: trust comes from charter_first and from the
 * volume's key. DIAG_WRONG_SECRET when the identity is no recipient.
 */
int escrow_open(const char *dir, const uint8_t volume_id[16], const struct identity *id,
		struct escrow_content *ret, struct diag *d);
void escrow_content_wipe(struct escrow_content *c);
/*
 * A folder is refused as an escrow place when it is on or under one of these paths (store,
 * repositories). DIAG_ESCROW (-EINVAL).
 */
int escrow_place_check(const char *dir, const char *const *forbidden, size_t n, struct diag *d);

#endif
