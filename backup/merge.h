/*
 * Merging sets: several that follow one another become one, which takes the place of the newest of them.
 *
 * Sealed records are copied as they are stored, those that newer ones cover are dropped, and so is everything of
 * files that are gone, unless what is kept was made from it (deltas). Nothing is opened and sealed anew; only
 * the index is, for which the volume's index key and signature are needed. The merged set begins where the oldest
 * member began and ends where the newest ended; sets that name the newest as parent build on the merged one from
 * then on ("stands-for" of its manifest), so none of them is rewritten.
 *
 * It is complete before any member goes: members are removed afterwards like any set (prune.h), the newest first. At every
 * moment every set's chain is whole; what was interrupted before the manifest is an unfinished set, what was interrupted
 * after it leaves members that retention removes. Not while a set is being taken.
 */
#ifndef COFFER_BACKUP_MERGE_H
#define COFFER_BACKUP_MERGE_H

#include "backup/prune.h"

/* --- which ones --- */

struct merge_run {
	size_t *members; /* positions in the catalogue, each the next one's parent */
	size_t n;
};
struct merge_rules {
	const struct prune_verdict *verdicts; /* of retention */
	const bool *whole;
	int64_t before; /* only sets older than that; INT64_MAX: any */
	size_t min;     /* at least so many that would go */
};
/*
 * Runs of incremental sets that may be merged: all but the last of each are there only because others build on them, have
 * no other child and no hold; the last is not held. None is longer than SET_MERGED_MAX. merge_runs_free. -ENOMEM.
 */
int merge_plan(const struct set_catalog *c, const struct merge_rules *rules, struct merge_run **ret, size_t *ret_n);
void merge_runs_free(struct merge_run *r, size_t n);
/*
 * Whether these sets (positions in the catalogue, any order) may be merged; *ret is them in order. The oldest may be full. DIAG_USAGE when
 * they do not follow one another, DIAG_HOLD when one of them is held or kept for its own sake.
 */
int merge_check(const struct set_catalog *c, const struct merge_rules *rules, const size_t *sets, size_t n,
		struct merge_run *ret, struct diag *d);

/* --- merging --- */

struct merge_request {
	struct repo *repo;
	struct keyring *kr;
	const struct set_catalog *catalog;
	const struct merge_run *run;
	const uint8_t *charter; /* 32 bytes */
	struct trail_head trail;
	/* Now and then; non-zero stops with -EINTR. May be NULL. */
	int (*progress)(void *arg, uint64_t n_records, uint64_t n_bytes);
	void *arg;
};
struct merge_figures {
	uint64_t n_kept, n_dropped; /* records */
	uint64_t n_bytes;           /* of those kept, as stored */
};
/*
 * Writes the merged set; members stay. DIAG_SET_DAMAGED (-EBADMSG) when a record that is needed is not as the
 * index says: repair first. After a failure nothing is left. *ret is the caller's (set_manifest_free).
 */
int merge_write(const struct merge_request *in, struct set_manifest *ret, struct merge_figures *ret_figures,
		struct diag *d);

#endif
