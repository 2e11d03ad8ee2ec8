/*
 * A file stored as a delta: its ranges go in, records come out.
 *
 * Each range becomes what costs less: commands against the basis, or itself, when they would spare
 * less than a quarter of it or copy from more than SPREAD_MAX ranges (each of which a restore has to
 * make). Ranges wait for the delta, which may lag behind by DELTA_SEARCH_MAX: some 20 MiB of memory.
 */
#ifndef COFFER_BACKUP_BACKUP_DELTA_H
#define COFFER_BACKUP_BACKUP_DELTA_H

#include "backup/backup_lineage.h"

/* A range that is ready: e has range, version, flags, basis and as_of. */
struct backup_delta_out {
	int (*put)(void *arg, struct set_entry *e, const struct bytes_w *body);
	void *arg;
};
struct backup_delta;
/* Takes over *basis, in any case. n_blocks: of the file, as its signature covers them. */
int backup_delta_new(struct backup_basis *basis, uint64_t n_blocks, const struct backup_delta_out *out,
		     struct backup_delta **ret);
void backup_delta_free(struct backup_delta *d);
/* log2 of the basis's block length. */
unsigned backup_delta_log(const struct backup_delta *d);
/*
 * The next range: what tells which blocks are data or holes (none is "same"), content has SET_RANGE
 * bytes, zeros where there is no data; sums those of its first len bytes in blocks of 2^log.
 */
struct backup_delta_range {
	uint64_t range, version;
	const uint8_t *what, *content, *sums;
	size_t len;
	unsigned log;
};
int backup_delta_range(struct backup_delta *d, const struct backup_delta_range *r);
/* Puts what waits. Then: how deep the file rests on deltas now (0: all of it was stored whole), and how
 * many bytes they carry. */
int backup_delta_end(struct backup_delta *d, unsigned *ret_depth, uint64_t *ret_carried);

#endif
