/*
 * A digest of what a regular file holds, the same wherever it lies: in a set, in a folder, in the
 * live volume.
 *
 * BLAKE2b-256 over, for each 4096-byte block that is not all zeros, its offset (u64) and its bytes
 * (zero-filled at the end of the file), and last the size (u64). Holes and zeros are the same
 * content, and cost nothing. Stateless; a view is used by one thread at a time.
 */
#ifndef COFFER_BACKUP_CONTENT_H
#define COFFER_BACKUP_CONTENT_H

#include "backup/setview_internal.h"

#define CONTENT_DIGEST_LEN 32

/* Reads the records of the set. -EKEYREVOKED, -EBADMSG. */
int content_digest_set(struct setview *sv, uint64_t id, const struct set_node *n,
		       uint8_t ret[CONTENT_DIGEST_LEN]);
/* The size is as fstat tells it. */
int content_digest_fd(int fd, uint8_t ret[CONTENT_DIGEST_LEN]);
/* size bytes of a live file; whatever keeps it from being read is an error. */
int content_digest_live(struct volume *v, uint64_t id, uint64_t size,
			uint8_t ret[CONTENT_DIGEST_LEN]);

#endif
