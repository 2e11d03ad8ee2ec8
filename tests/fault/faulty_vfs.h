/*
 * A SQLite VFS over the default one that fails on demand or loses power.
 *
 * Writes, truncations, syncs and deletions are counted; the one with the planned number fails,
 * alone or with everything after it (power cut). What was written and not synced is remembered, so
 * that after a power cut the files can be put into any state the medium may have kept. Real syncs
 * are not made. One thread.
 */
#ifndef COFFER_TESTS_FAULTY_VFS_H
#define COFFER_TESTS_FAULTY_VFS_H

#include <stdbool.h>
#include <stdint.h>

enum faulty_kind { FAULTY_NONE, FAULTY_ERROR, FAULTY_FULL, FAULTY_POWER };

/* Registers itself as the default. */
void faulty_vfs_install(void);
/*
 * From now on the at-th operation fails (1 is the next). What was written so far counts as synced.
 * FAULTY_FULL: a write says that the medium is full, others fail as with FAULTY_ERROR.
 */
void faulty_vfs_plan(enum faulty_kind kind, uint64_t at);
/* From now on the at-th read fails, once. */
void faulty_vfs_plan_read(uint64_t at);
/* Whether the planned failure has happened, and whether it hit a sync. */
bool faulty_vfs_hit(void);
bool faulty_vfs_hit_sync(void);

enum faulty_keep {
	FAULTY_KEEP_ALL,  /* every write up to the cut arrived */
	FAULTY_KEEP_NONE, /* only what was synced did */
	FAULTY_KEEP_SOME, /* any of the others, some of them in part */
};
/* After a power cut, with all files closed: what is on the medium. Then the power is back. */
void faulty_vfs_restore(enum faulty_keep keep, uint64_t seed);

#endif
