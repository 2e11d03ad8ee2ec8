/*
 * Inside the escrow module: one slot as it lies in the file, and how slots are laid out.
 *
 * The file is striped: chunk k of slot A, chunk k of slot B, and so on. A slot that needs more
 * chunks makes the file longer and moves nothing, so growing never touches the slot that must
 * survive.
 */
#ifndef COFFER_CORE_ESCROW_INTERNAL_H
#define COFFER_CORE_ESCROW_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "core/cleanup.h"
#include "core/escrow.h"

#define ESCROW_CHUNK ((size_t)256 << 10)
#define ESCROW_NAME_LEN 40 /* 32 digits, ".escrow", NUL */

/* One slot. Release with escrow_slot_free. */
struct escrow_slot {
	uint8_t *buf; /* as read */
	uint64_t seq; /* 0: the signature did not verify, nothing else counts */
	bool newer;   /* of a later format, as far as its head can be believed */
	uint64_t generation;
	uint8_t key_tag[16];
	int64_t written;
	uint8_t sign_pk[32];
	size_t n_recipients;
	const uint8_t *recipients; /* in buf */
	size_t box_off, box_len;
};

void escrow_slot_free(struct escrow_slot *s);
#define CLEANUP_ESCROW_SLOT __attribute__((cleanup(escrow_slot_free)))

void escrow_file_name(const uint8_t volume_id[16], char out[ESCROW_NAME_LEN]);
/* The i-th recipient's name, NUL-terminated. */
void escrow_slot_recipient(const struct escrow_slot *s, size_t i, char ret_name[65]);
/*
 * Decrypts the slot into guarded memory. -ENOKEY when the identity is no recipient, -EBADMSG,
 * -EUCLEAN.
 */
int escrow_slot_open(const struct escrow_slot *s, const struct identity *id,
		     struct escrow_content *ret);

/* How long a slot with this content and this many recipients is. */
size_t escrow_slot_len(const struct escrow_content *c, size_t n_recipients);
/* Encodes into out, escrow_slot_len bytes. */
int escrow_slot_encode(const struct escrow_content *c, const uint8_t sign_seed[32],
		       const struct identity_card *recipients, size_t n_recipients, uint64_t seq,
		       int64_t written, uint8_t *out);
/* Takes over buf (len bytes); s->seq stays 0 when it does not verify. */
void escrow_slot_parse(struct escrow_slot *s, uint8_t *buf, size_t len, const uint8_t volume_id[16],
		       const uint8_t *sign_pk);

#endif
