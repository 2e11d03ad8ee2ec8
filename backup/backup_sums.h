/*
 * The signature of a file while its content goes by, range after range.
 *
 * For files that are stored whole: a full set, or a file that no parent has. In memory until the file
 * ends, 9.4 MiB at most.
 */
#ifndef COFFER_BACKUP_BACKUP_SUMS_H
#define COFFER_BACKUP_BACKUP_SUMS_H

#include "backup/set_delta.h"

struct backup_sums {
	bool on; /* a signature is being made */
	unsigned log;
	uint64_t n_blocks; /* of the file */
	uint64_t done;     /* bytes summed */
	struct bytes_w sums;
};
/*
 * For a file of that size and so many mapped blocks; on stays false where there shall be none (too
 * small, too large, more holes than data). log: the block length to use; 0: what its size suggests.
 */
void backup_sums_begin(struct backup_sums *s, uint64_t size, uint64_t n_mapped, unsigned log);
/* content has SET_RANGE bytes, zeros where there is no data. Ranges ascend; those left out are
 * holes. What lies behind the end does not count. */
int backup_sums_range(struct backup_sums *s, uint64_t range, const uint8_t *content);
/* The sums of a range that was the last one to be added, and how many bytes of it they cover. */
const uint8_t *backup_sums_of(const struct backup_sums *s, uint64_t range, size_t *ret_len);
/* The holes behind the last range. */
int backup_sums_end(struct backup_sums *s);
void backup_sums_free(struct backup_sums *s);

#endif
