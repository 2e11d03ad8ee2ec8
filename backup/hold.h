/*
 * Holds on sets: an object in the set's folder that keeps retention, merging and whoever else away.
 *
 *   sets/ID/hold   "coffer-hold/1", signed by the volume: who holds the set, since when, why
 *
 * Any object of that name holds, also one that does not verify: whoever cannot tell must not remove.
 * Placing a hold takes nothing from anybody. Releasing one does, so it is an order with a quorum
 * (action "hold-release"), whose inventory names the set and the very hold by digest: a hold that was
 * placed anew meanwhile is another one, and stays. Format: docs/format.md "Holds". Stateless.
 */
#ifndef COFFER_BACKUP_HOLD_H
#define COFFER_BACKUP_HOLD_H

#include "backup/set.h"

#define HOLD_OBJECT "hold"
#define HOLD_ACTION "hold-release" /* of the charter's quorum, and of the order */
#define HOLD_BY_MAX 127
#define HOLD_REASON_MAX 512

struct hold {
	char set[SET_ID_MAX + 1];
	int64_t time;
	char by[HOLD_BY_MAX + 1];
	char reason[HOLD_REASON_MAX + 1];
	uint8_t digest[32]; /* SHA-256 of the object; set by hold_get */
};

/* Holds h->set. -EEXIST (DIAG_EXISTS) when it is held already; -EINVAL for what a note cannot say. */
int hold_put(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_seed[32],
	     const struct hold *h, struct diag *d);
/*
 * -ENOENT: not held. -EBADMSG, -EUCLEAN: held by an object that says nothing (another's signature,
 * another set's hold); then set and digest alone are filled in, and the digest is good for a release.
 */
int hold_get(struct repo *r, const char *set, const uint8_t volume_id[16], const uint8_t sign_pk[32],
	     struct hold *ret);
/* The hold of a set with that digest goes. -ENOENT: none; -ESTALE: another one is there, and stays. */
int hold_remove(struct repo *r, const char *set, const uint8_t digest[32]);

/* The inventory of an order that releases a hold. Caller frees. */
int hold_release_build(const uint8_t volume_id[16], const char *set, const uint8_t digest[32],
		       char **ret);
/* -EUCLEAN; also for another volume's. */
int hold_release_parse(const char *text, const uint8_t volume_id[16], char ret_set[SET_ID_MAX + 1],
		       uint8_t ret_digest[32]);

#endif
