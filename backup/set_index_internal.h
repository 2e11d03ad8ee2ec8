/* Inside index readers: blocks and their order, shared by look-up (set_index_read.c) and merging
 * (set_cursor.c). */
#ifndef COFFER_BACKUP_SET_INDEX_INTERNAL_H
#define COFFER_BACKUP_SET_INDEX_INTERNAL_H

#include "backup/set_index.h"

struct set_block {
	struct set_block *next;
	const struct set_index *ix;
	size_t number;
	unsigned n_users; /* not evicted while there are any */
	struct set_entry *e;
	size_t n;
};
struct set_placed {
	struct set_fence f;
	struct set_key reach; /* the highest last key up to here */
	uint32_t number;      /* of the block within the set, to which its seal is bound */
};
struct set_index {
	struct repo *repo;
	struct keyring *kr;
	const struct set_manifest *m;
	struct set_blocks *cache;
	struct set_placed *order; /* by first key */
	size_t n;
};

/* The i-th block in the order of first keys, in use until set_block_put. */
int set_block_get(struct set_index *ix, size_t i, struct set_block **ret);
void set_block_put(struct set_block *b);
/* The first entry at or above a key. */
size_t set_block_lower(const struct set_block *b, const struct set_key *key);
/* All blocks before it (in the order of first keys) end below the key. */
size_t set_index_reaching(const struct set_index *ix, const struct set_key *key);

#endif
