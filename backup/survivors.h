/*
 * Files that stay, in sets, but are made from files that are to be destroyed.
 *
 * A delta copies from records that only its basis's key opens. When the basis is destroyed and the file
 * stays (it was saved over the basis, lives elsewhere, and the order keeps what was moved), its content
 * would be lost with it, in every set that holds it so. Before the keys go, each such set is written anew:
 * its records as they are stored, but those deltas as whole ranges. The new set takes the old one's place
 * (the lists "merged" and "stands-for" of its manifest, as in backup/merge.h), and the old one's manifest goes.
 *
 * Only what rests on a destroyed file directly is concerned: whatever is made from that in turn is made from
 * the whole ranges then. Copies of sets elsewhere are not reached; there, these files are lost with their basis.
 * Not while a set is being taken, pruned or merged.
 */
#ifndef COFFER_BACKUP_SURVIVORS_H
#define COFFER_BACKUP_SURVIVORS_H

#include "backup/set.h"

struct survivors {
	uint64_t n_ranges; /* made whole */
	uint64_t n_sets;   /* written anew for that */
};
/*
 * ids (sorted, distinct) are to be destroyed; their keys are still there. Can be done again: what is done is
 * passed over. DIAG_SET_DAMAGED when a set, or what has to be made from it, cannot be read: repair it or let it
 * go first. Else what the repository answers. *ret is set in any case.
 */
int survivors_secure(struct repo *r, struct keyring *kr, const uint64_t *ids, size_t n, struct survivors *ret,
		     struct diag *d);

#endif
