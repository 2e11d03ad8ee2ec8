/*
 * A medium under a folder, for tests: it records, fails, and loses power.
 *
 * The program that links this has its file calls (SQLite's included) go through here, by symbol
 * interposition: open, write, truncate, sync, unlink, mkdir, rename and their variants. Calls below
 * the folder are numbered and remembered; syncs are not really made. From what is remembered, any
 * state is built that a power cut may leave: whatever was synced is there (a file's bytes by a sync
 * of the file, an entry by a sync of its folder), and of the rest all, nothing, or any part, in any
 * order, torn at sector or page borders. The bytes that a failed sync was asked for are no longer
 * owed by a later one, and every descriptor that was open is told of it once, as kernels have it.
 *
 * Files named "reserve" are passed over: their content says nothing.
 */
#ifndef COFFER_TESTS_FAULT_MEDIUM_H
#define COFFER_TESTS_FAULT_MEDIUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From now on. What is in the folder counts as synced; nothing remembered is left. */
void medium_record(const char *folder);
/* Passes everything through; what was remembered stays until the next recording. */
void medium_stop(void);
/* How many calls are remembered. */
size_t medium_n_ops(void);

enum medium_calls { MEDIUM_CHANGES, MEDIUM_READS };
/* The n-th change (or read) from now on (1 is the next) ends with the errno and does nothing; all
 * after it as well when it lasts. n 0: none. */
void medium_fail(enum medium_calls which, uint64_t n, int err, bool lasts);
bool medium_failed(void);
/* The kind of call that failed, for messages. */
const char *medium_failed_what(void);

/* The calling thread is in here: what it allocates is not the tested code's. */
extern _Thread_local bool medium_busy;

enum medium_keep {
	MEDIUM_SYNCED, /* nothing else */
	MEDIUM_ALL,
	MEDIUM_SOME, /* each other call arrived or did not */
	MEDIUM_TORN, /* and writes in part, by units */
};
/*
 * The state after a cut behind the first n_ops calls. unit is 512 or 4096 and counts for
 * MEDIUM_TORN. The caller frees.
 */
struct medium_state;
struct medium_state *medium_cut(size_t n_ops, enum medium_keep keep, unsigned unit, uint64_t seed);
uint64_t medium_state_hash(const struct medium_state *s);
/* Whether it is what the folder holds: with everything kept, that no change went by unseen. */
bool medium_state_is(const struct medium_state *s);
/* Puts it into the folder in place of what is there. Not while recording. */
void medium_state_put(const struct medium_state *s);
void medium_state_free(struct medium_state *s);

#endif
