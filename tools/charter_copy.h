/*
 * Copies of the charter notes in a repository (charter/NUMBER): public, signed text, so that a volume whose store is lost
 * still has its members and quorums. docs/format.md "Repository".
 */
#ifndef COFFER_TOOLS_CHARTER_COPY_H
#define COFFER_TOOLS_CHARTER_COPY_H

#include "backup/repo.h"
#include "core/charter.h"

/* Charters 1 to that number of the store, those that the repository does not hold in these very bytes. Durable. */
int charter_copy_put(int store_fd, uint64_t number, struct repo *r, struct diag *d);
/*
 * Brings what continues the store's chain (from 1, whose digest must be first) into STORE/charter. What does not verify is
 * DIAG_NOTE_UNSIGNED or DIAG_NOTE_MALFORMED; a repository without copies is success.
 */
int charter_copy_get(struct repo *r, const uint8_t first[32], int store_fd, struct diag *d);
/*
 * Whether the copies are this volume's chain, unbroken, up to the charter with digest last at least. -EBADMSG with the object that is not
 * in d. Needs no key.
 */
int charter_copy_check(struct repo *r, const uint8_t first[32], const uint8_t last[32], struct diag *d);

#endif
