/*
 * Taking sets, verifying and scrubbing them.
 */
#ifndef COFFER_BACKUP_BACKUP_H
#define COFFER_BACKUP_BACKUP_H

#include "backup/set.h"
#include "fs/volume.h"

struct backup_progress {
	uint64_t n_records, n_bytes;
	const char *phase; /* "scan", "verify" .. */
};
struct backup_request {
	struct volume *volume;
	struct repo *repo;
	const char *tier;       /* "daily", or several: "daily weekly" */
	bool full;              /* else incremental when a parent fits */
	const uint8_t *charter; /* 32 bytes */
	struct trail_head trail;
	/* Bytes a second: read of the volume; put into the repository and read back. 0: no limit. */
	uint64_t read_rate, write_rate;
	/* Brings what programs wrote into the engine (front_flush); may be NULL. */
	int (*flush)(void *arg);
	/* Non-zero stops the run with -EINTR. Called a few times a second at most; may be NULL. */
	int (*progress)(void *arg, const struct backup_progress *p);
	void *arg;
};
/*
 * One set; before it, the set that an earlier run was interrupted at, gone on with on that run's snapshot. A
 * parent is the newest verified set of this repository on the volume's timeline. After a failure earlier sets
 * are untouched; the snapshot is closed and the unfinished set's objects are removed, or, when it is worth
 * while (128 MiB or more were put, and the repository failed or progress said stop), both are left to the next
 * run for a day. Every pack is read back and opened before the manifest is written. ret->packs is the
 * caller's (set_manifest_free).
 */
int backup_run(const struct backup_request *in, struct set_manifest *ret, struct diag *d);

struct backup_verdict {
	uint64_t n_records, n_bytes, n_bad, n_destroyed;
	char first_bad[160];
};
/* Without keys: sizes and XXH3 of packs and index against the manifest. */
int backup_scrub(struct repo *r, const struct set_manifest *m, struct backup_verdict *ret,
		 struct diag *d);
/* With keys: every record of the set opens; records of destroyed ids count as destroyed, not bad.
 */
int backup_verify(struct repo *r, struct keyring *kr, const struct set_manifest *m,
		  struct backup_verdict *ret, struct diag *d);
/* The same of about so many percent of the records, drawn at random; the index is read whole. */
int backup_verify_some(struct repo *r, struct keyring *kr, const struct set_manifest *m, unsigned percent,
		       struct backup_verdict *ret, struct diag *d);
/*
 * With keys: every delta of set i of the catalogue makes what its digest says, from what the chain holds; of these
 * ids (sorted; NULL: all). What does not is added to *io. A chain that is not whole is no finding of this set.
 */
int backup_verify_deltas(struct repo *r, struct keyring *kr, const struct set_catalog *c, size_t i,
			 const uint64_t *ids, size_t n, struct backup_verdict *io, struct diag *d);

#endif
