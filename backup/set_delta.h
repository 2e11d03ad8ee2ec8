/*
 * Bodies of ranges that are stored as a delta, and of signatures (docs/format.md "Record bodies").
 * Pure codecs, like backup/set_body.h.
 *
 * A delta says how to make the content of a range (holes as zeros) from an older file of the same
 * lineage: its basis, as that was at transaction as_of. Commands cover the range in order.
 */
#ifndef COFFER_BACKUP_SET_DELTA_H
#define COFFER_BACKUP_SET_DELTA_H

#include "backup/delta.h"
#include "backup/set_body.h"

/* How many deltas a range may rest on one below the other. Writers stop there, readers refuse. */
#define SET_DELTA_DEPTH_MAX 8
#define SET_CHECK_LEN 32

struct set_delta {
	uint8_t what[SET_RANGE_BLOCKS];	/* data or hole */
	unsigned block_log;		/* of the sums behind check */
	size_t n_blocks;		/* so many of MAP_BLOCK are made, from the range's begin */
	uint64_t as_of;
	uint8_t check[SET_CHECK_LEN];	/* set_delta_check of what comes out */
	const uint8_t *ops;
	size_t ops_len;
};
struct set_delta_op {
	bool copy;
	uint64_t off; /* copy: in the basis */
	size_t len;
	const uint8_t *bytes; /* else */
};
/* The digest of a range's sums as delta_sums makes them. */
void set_delta_check(const uint8_t *sums, size_t len, uint8_t ret[SET_CHECK_LEN]);
void set_delta_put_copy(struct bytes_w *ops, uint64_t off, size_t len);
void set_delta_put_bytes(struct bytes_w *ops, const void *p, size_t len);
void set_delta_encode(const struct set_delta *d, struct bytes_w *out);
/* ops points within p; the commands are known to be whole, to make n_blocks and to copy from below
 * VOLUME_SIZE_MAX. -EUCLEAN. */
int set_delta_decode(const void *p, size_t len, struct set_delta *ret);
/* The next command; false at the end. Zero *pos first. d was decoded. */
bool set_delta_next(const struct set_delta *d, size_t *pos, struct set_delta_op *ret);

/* One part of a signature: SET_SIGN_PART sums, the last part the rest. */
#define SET_SIGN_PART 16384u
struct set_sign {
	unsigned block_log;
	unsigned depth;	   /* of deltas that the file rests on, 0: none */
	uint64_t n_blocks; /* of MAP_BLOCK, that the whole signature covers */
	uint64_t carried;  /* bytes stored by deltas since the file was last stored whole */
	const uint8_t *sums;
	size_t n_sums; /* in this part */
};
void set_sign_encode(const struct set_sign *s, struct bytes_w *out);
/* sums points within p. -EUCLEAN, also when part cannot have so many sums. */
int set_sign_decode(const void *p, size_t len, uint64_t part, struct set_sign *ret);
/* Sums, or parts, that a signature of a file of n_blocks has. */
uint64_t set_sign_sums(uint64_t n_blocks, unsigned block_log);
uint64_t set_sign_parts(uint64_t n_blocks, unsigned block_log);

#endif
