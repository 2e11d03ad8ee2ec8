/* A full pack into the repository, and back out of it. Stateless. */
#ifndef COFFER_BACKUP_PACK_PUT_H
#define COFFER_BACKUP_PACK_PUT_H

#include "backup/pack_writer.h"

/*
 * Puts a pack that must be new, reads it back over the same memory, and opens every record: -EIO when the repository
 * does not give back what was put, or a record does not open. What was destroyed meanwhile is passed over. *ret is set.
 */
int pack_put(struct repo *r, struct keyring *kr, const char *id, uint32_t number, struct bytes_w *io_pack,
	     struct throttle *throttle, struct set_pack *ret);

#endif
