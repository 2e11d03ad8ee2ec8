/*
 * Parity: Reed-Solomon blocks beside the objects of a set, which bring damaged bytes back without another
 * copy and without keys.
 *
 *   sets/ID/parity-pack-00000   beside pack-00000; likewise parity-index
 *
 * An object is cut into blocks, the blocks are dealt out to groups in turn, and each group of k blocks gets m
 * parity blocks: any m lost blocks of a group come back. So whatever the groups, any m damaged blocks anywhere
 * do, and so does one run of damaged bytes of the share of the object that was asked for. Checksums of
 * all blocks, kept twice, tell which are damaged; that the whole is right again the digest in the manifest
 * tells, never these. Format: docs/format.md "Parity". Only parity*.c know of the erasure code's library.
 * Stateless, thread-safe.
 */
#ifndef COFFER_BACKUP_PARITY_H
#define COFFER_BACKUP_PARITY_H

#include "backup/set.h"

#define PARITY_PERCENT_MAX 50
/* Of an object of len bytes: half of it, checksums, and what small blocks add. */
#define PARITY_LEN_MAX(len) (2 * (size_t)(len) + (64u << 10))

/* --- codec --- */

/* The parity of len bytes, appended to out. percent is 1 .. PARITY_PERCENT_MAX; len is not 0. -EINVAL, -ENOMEM. */
int parity_encode(const uint8_t *p, size_t len, unsigned percent, struct bytes_w *out);
/*
 * Repairs p, of the length that the parity was made for, in place. *ret_n is how many of its blocks were
 * damaged. -EBADMSG: too much is, or both tables are; p is unchanged then. -EUCLEAN: no parity of this length.
 */
int parity_repair(uint8_t *p, size_t len, const uint8_t *parity, size_t parity_len, size_t *ret_n);

/* --- in a repository --- */

/* The name of the parity of an object: "parity-" and it. */
void parity_name(const char *what, char out[32]);
/* Parity for every pack and the index of a set that has none yet; *ret_n is how many were put. */
int parity_cover(struct repo *r, const struct set_manifest *m, unsigned percent, size_t *ret_n, struct diag *d);
/*
 * The object as it should be, out of what lies there and its parity; caller frees *ret. Nothing is written.
 * -EBADMSG: it cannot be brought back so; other errors are the repository's.
 */
int parity_fetch(struct repo *r, const char *id, const char *what, const struct set_pack *p, uint8_t **ret);

#endif
