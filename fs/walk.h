/*
 * Inside the volume engine: walks over the live records.
 *
 * The engine lock is held by the caller; with breathe it is let go of between batches, so that the
 * namespace may change during the walk. Records that no key opens any more are passed over
 * (fs/rstore).
 */
#ifndef COFFER_FS_WALK_H
#define COFFER_FS_WALK_H

#include "fs/engine.h"

/* The smallest key above k. */
struct rstore_key walk_key_after(const struct rstore_key *k);
/* Id, sub and position of a key of SPACE_FILE; false for another space or a malformed key. */
bool walk_key_parse(const struct rstore_key *k, uint64_t *ret_id, enum engine_sub *ret_sub,
		    uint64_t *ret_at);

/* Records of from <= key < to in key order; fn as in rstore_scan, its non-zero value ends the walk
 * and is returned. WALK_NEXT_ID from fn skips what is left of the key's id. Errors are the store's,
 * not yet reported. */
#define WALK_NEXT_ID 0x7fff0001
int walk_records(struct volume *v, const struct rstore_key *from, const struct rstore_key *to,
		 bool breathe, rstore_scan_fn fn, void *arg);
/* Every entry of every folder, names sealed still. -EIO (reported) for a damaged record. */
typedef int (*walk_dentry_fn)(void *arg, uint64_t parent, const struct dentry_sealed *d);
int walk_dentries(struct volume *v, bool breathe, walk_dentry_fn fn, void *arg);

#endif
