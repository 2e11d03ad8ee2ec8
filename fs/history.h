/*
 * Inside the volume engine: what the live records remember of links that are gone, and of lineages.
 *
 * Codec of the records of SPACE_HISTORY and SPACE_EDGE (docs/format.md "History"). They hold ids
 * only, never names.
 */
#ifndef COFFER_FS_HISTORY_H
#define COFFER_FS_HISTORY_H

#include "fs/engine.h"

struct history_gone {
	uint64_t parent, child, link;
	bool last; /* the child's inode went with it */
};
/* -EUCLEAN */
int history_gone_decode(const struct rstore_key *key, const void *val, size_t len,
			struct history_gone *ret);
/* Puts the record (the engine lock is held). */
int history_gone_put(struct volume *v, const struct history_gone *g);

struct history_edge {
	uint64_t a, b;
	uint8_t kind;
};
int history_edge_decode(const struct rstore_key *key, const void *val, size_t len,
			struct history_edge *ret);

#endif
