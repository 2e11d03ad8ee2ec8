/*
 * The inventory of a destruction: a closure over history.
 *
 * From target ids: everything that the live volume, its history or any set ever placed under them, and their lineages, whole. What was moved out and lives
 * elsewhere, and what has a further link outside, is listed as kept unless the request says otherwise; what a kept folder holds stays with it. A
 * file that was saved over one of these and lives elsewhere counts as moved; a copy or a restored copy is destroyed wherever it lives.
 * Encoded as text, one item a line, sorted by id, without names (docs/format.md "Inventory"), so that an order states it by digest.
 * Stateless; inventory_build may run beside everything else, and is as consistent as the volume is quiet.
 */
#ifndef COFFER_SHRED_INVENTORY_H
#define COFFER_SHRED_INVENTORY_H

#include "backup/repo.h"
#include "core/charter.h"
#include "core/order.h"
#include "fs/volume.h"

enum inventory_flag {
	INVENTORY_TARGET = 1,	/* named in the request */
	INVENTORY_PRESENT = 2,	/* has a live inode */
	INVENTORY_HISTORY = 4,	/* once under the target, by the volume's history */
	INVENTORY_SET = 8,	/* once under the target, by a set */
	INVENTORY_LINEAGE = 16, /* by lineage */
	INVENTORY_MOVED = 32,	/* was moved out and lives elsewhere */
	INVENTORY_LINKED = 64,	/* has a further link outside the target */
	INVENTORY_KEPT = 128,	/* not destroyed: moved or linked, by decision */
	INVENTORY_DIR = 256,
};
struct inventory_item {
	uint64_t id;
	unsigned flags;
	uint64_t bytes;	 /* size of the live file */
};
struct inventory {
	struct inventory_item *items; /* sorted by id, distinct */
	size_t n_items;
	uint64_t n_destroy, n_kept, n_bytes; /* destroyed / kept items; bytes of live data destroyed */
	bool destroy_moved, destroy_linked;  /* what the request decided */
	uint8_t sealed[32]; /* volume_sealed_digest of the destroyed ids */
};
struct inventory_request {
	struct volume *volume;
	struct repo *const *repos;
	size_t n_repos;
	const uint64_t *targets; /* ids */
	size_t n_targets;
	bool destroy_moved, destroy_linked;
};
/*
 * DIAG_DENIED for a target that cannot be destroyed (the root), DIAG_DESTROYED for one that is, DIAG_SET_DAMAGED when a
 * set's index or manifest cannot be read: nobody could say what it holds.
 */
int inventory_build(const struct inventory_request *in, struct inventory *ret, struct diag *d);
void inventory_free(struct inventory *inv);
/* Text, caller frees; and back. -EUCLEAN for whatever inventory_encode would not write. */
int inventory_encode(const struct inventory *inv, char **ret, size_t *ret_len);
int inventory_decode(const void *p, size_t len, struct inventory *ret);
/* The ids to destroy: sorted array, caller frees. */
int inventory_ids(const struct inventory *inv, uint64_t **ret, size_t *ret_n);
/* As inclusive ranges. Caller frees. */
int inventory_ranges(const uint64_t *ids, size_t n, struct keyring_range **ret, size_t *ret_n);
/*
 * How now differs from then: items whose destruction is decided differently, that are new or no longer there, and whether the sealed
 * records of what is destroyed do. What only a set knew of, and none knows any more, is no difference.
 */
struct inventory_drift {
	uint64_t n_new, n_missing, n_changed;
	bool sealed;
};
bool inventory_differs(const struct inventory *then, const struct inventory *now,
		       struct inventory_drift *ret);

#endif
