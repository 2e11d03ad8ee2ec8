/*
 * Which older file a new one was made from: a basis for a delta, found through the lineage.
 *
 * When a program writes a file anew and renames it over the old one, the engine joins the two
 * (docs/format.md "History"). The basis is the nearest file on the way back that the parent's chain
 * has a signature of. It lies in the set's own chain, so whatever keeps the set keeps it too. Beside that, how
 * much the chain has piled up over a range that changes in place.
 */
#ifndef COFFER_BACKUP_BACKUP_LINEAGE_H
#define COFFER_BACKUP_BACKUP_LINEAGE_H

#include "backup/set.h"
#include "backup/set_delta.h"
#include "fs/volume.h"

struct backup_basis {
	uint64_t id, as_of;
	unsigned depth;	  /* of deltas that it rests on itself */
	uint64_t carried; /* bytes that they stored */
	uint64_t n_blocks;
	struct delta_basis *sums;
};
void backup_basis_free(struct backup_basis *b);

struct backup_lineage;
/* Nothing is read before it is needed. catalog and its set parent must outlive it. NULL: no memory. */
struct backup_lineage *backup_lineage_new(struct volume *v, struct repo *r,
					  const struct set_catalog *catalog, size_t parent);
void backup_lineage_free(struct backup_lineage *l);
/*
 * For a file that the parent does not have. -ENOENT: there is none, or it already rests on
 * SET_DELTA_DEPTH_MAX deltas or on deltas of half its size, or it cannot be read: the file is stored
 * whole. -ENOMEM; -EIO when the volume's lineage cannot be read.
 */
int backup_lineage_basis(struct backup_lineage *l, uint64_t id, struct backup_basis *ret);
/*
 * Whether a range of a file should be stored whole again: what lies over its ground in the parent's chain takes
 * more than half of what the ground takes, or is BACKUP_OVERLAYS_MAX records. 1, 0; a chain that cannot be read answers 0.
 * -ENOMEM.
 */
#define BACKUP_OVERLAYS_MAX 32
int backup_lineage_worn(struct backup_lineage *l, uint64_t id, uint64_t range);

#endif
