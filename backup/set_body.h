/*
 * Bodies of set records, before compression and sealing. Pure codecs (docs/format.md "Record
 * bodies").
 */
#ifndef COFFER_BACKUP_SET_BODY_H
#define COFFER_BACKUP_SET_BODY_H

#include "backup/set.h"
#include "fs/volume.h"

#define SET_RANGE_BLOCKS (SET_RANGE / MAP_BLOCK)
#define SET_RANGE_GROUPS (SET_RANGE_BLOCKS / MAP_GROUP)

/* NODE */
struct set_node {
	struct volume_attr attr; /* id is the entry's */
	bool in_blocks;          /* a regular file whose content is in DATA records */
	uint64_t n_mapped;       /* then: how many blocks they hold in all; a restore counts them */
	const uint8_t *inline_data;
	size_t inline_len;
	const uint8_t *xattrs;
	size_t xattrs_len;
};
void set_node_encode(const struct set_node *n, struct bytes_w *out);
/* Pointers lie within p. -EUCLEAN. */
int set_node_decode(const void *p, size_t len, struct set_node *ret);

/* NAME: the component padded to a multiple of 32 bytes. */
void set_name_encode(const char *name, struct bytes_w *out);
/* Refuses what could not be a name: empty, '/', NUL, "." and "..", over 255 bytes. -EUCLEAN. */
int set_name_decode(const void *p, size_t len, char ret[VOLUME_NAME_MAX + 1]);

/* DATA: what each block of the range is, then the bytes of the data blocks in order. */
enum set_block { SET_BLOCK_SAME = 0, SET_BLOCK_HOLE = 1, SET_BLOCK_DATA = 2 };
void set_data_encode_runs(const uint8_t what[SET_RANGE_BLOCKS], struct bytes_w *out);
/* The runs alone; r stands behind them then. what is untouched on -EUCLEAN. */
int set_data_decode_runs(struct bytes_r *r, uint8_t what[SET_RANGE_BLOCKS]);
/* *ret_bytes points at n data blocks within p. -EUCLEAN. */
int set_data_decode(const void *p, size_t len, uint8_t what[SET_RANGE_BLOCKS],
		    const uint8_t **ret_bytes, size_t *ret_n_blocks);

#endif
