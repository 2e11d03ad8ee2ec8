/* Inside merging: what is gone, and what is needed all the same (merge_gone.c). */
#ifndef COFFER_BACKUP_MERGE_INTERNAL_H
#define COFFER_BACKUP_MERGE_INTERNAL_H

#include "backup/merge.h"
#include "backup/set_index.h"

/* Made from the content that a file had as of a transaction. */
struct merge_basis {
	uint64_t id;
	uint64_t basis, as_of;
};
struct merge_bases {
	struct merge_basis *v;
	size_t n, cap;
};
struct merge_gone {
	uint64_t id;
	uint32_t member; /* whose tombstone it is: records up to that one are gone */
};
struct merge_known {
	struct merge_gone *gone; /* by id */
	size_t n_gone, cap_gone;
	struct merge_bases needed; /* by basis and as_of: of what is kept, in the members and in all later sets */
};
/* Reads the indices of members and of what came later. -EBADMSG with d. */
int merge_know(const struct merge_request *in, struct merge_known *ret, struct diag *d);
void merge_known_free(struct merge_known *k);
/* Whether records of an id in that member are of a file that is gone. */
bool merge_is_gone(const struct merge_known *k, uint64_t id, uint32_t member);
/* The transactions as of which a file is needed: first and count in needed.v. */
size_t merge_needed(const struct merge_known *k, uint64_t id, size_t *ret_first);

#endif
