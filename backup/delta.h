/*
 * Signatures and deltas of files that programs rewrite whole, by librsync.
 *
 * A signature has one sum for every block of a file: librsync's rolling checksum (RabinKarp, 4 bytes)
 * and its strong one (BLAKE2b-256), 36 bytes as librsync writes them. Against the signature of an
 * older version, a stream becomes commands: copy from there, or take these bytes. Only these files
 * include librsync; what the commands look like in a set is backup/set_delta.h's.
 *
 * Blocks are powers of two that divide SET_RANGE, so ranges are summed one by one, by any thread,
 * and comparing a block with the one in the same place costs no search. The length is about
 * sqrt(24 * size), where signature and what one change drags along are smallest together, but
 * 2 KiB at least and 16 KiB at most, and longer again where there would be more than 2^18 blocks:
 * that bounds the memory of a signature to about 22 MiB (sums twice and the hash table).
 *
 * Sums are stateless; a delta belongs to one thread, a basis may be shared by readers.
 */
#ifndef COFFER_BACKUP_DELTA_H
#define COFFER_BACKUP_DELTA_H

#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"

#define DELTA_SUM_LEN 36
#define DELTA_LOG_MIN 11
#define DELTA_LOG_MAX 18
#define DELTA_BLOCKS_MAX (1u << 18)
/* Files below gain too little, files above would need too much memory: they have no signature. */
#define DELTA_FILE_MIN ((uint64_t)64 << 10)
#define DELTA_FILE_MAX ((uint64_t)DELTA_BLOCKS_MAX << DELTA_LOG_MAX) /* 64 GiB */

/* log2 of the block length for a file of that size; 0: it gets no signature. */
unsigned delta_block_log(uint64_t size);

/* Appends the sums of len bytes at p, which begin at a block; the last may be short. -ENOMEM. */
int delta_sums(const void *p, size_t len, unsigned block_log, struct bytes_w *out);

/* The signature of a basis, ready for searching. */
struct delta_basis;
/* n sums of a basis of len bytes. Copies them. -EUCLEAN when they are not that many, -ENOMEM. */
int delta_basis_new(const uint8_t *sums, size_t n, unsigned block_log, uint64_t len,
		    struct delta_basis **ret);
void delta_basis_free(struct delta_basis *b);
/* log2 of its block length. */
unsigned delta_basis_log(const struct delta_basis *b);

/* What comes out, in order, and covers what went in. A non-zero answer ends the delta with it. */
struct delta_sink {
	int (*copy)(void *arg, uint64_t basis_off, uint64_t len);
	int (*literal)(void *arg, const uint8_t *p, size_t len);
	void *arg;
};
struct delta;
int delta_new(const struct delta_basis *b, const struct delta_sink *sink, struct delta **ret);
void delta_free(struct delta *d);
/*
 * The next len bytes of the stream (a multiple of the block length but at the end) and their sums in
 * the basis's block length, or NULL: then everything is searched. What comes out may lag
 * behind what went in by up to DELTA_SEARCH_MAX. -ENOMEM; -EUCLEAN when librsync breaks its word.
 */
#define DELTA_SEARCH_MAX ((uint64_t)16 << 20)
int delta_feed(struct delta *d, const uint8_t *p, size_t len, const uint8_t *sums);
/* Nothing lags behind any more. At the end, or before a gap in the stream of len bytes (a multiple of
 * the block length). */
int delta_finish(struct delta *d, uint64_t gap);

#endif
