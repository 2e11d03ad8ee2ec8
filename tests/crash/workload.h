/*
 * A list of operations done on a recorded medium, and every state that a power cut may leave of it:
 * put on the medium, mounted and judged against the history of the reference (promise 3).
 *
 * State number n of a workload is its n-th candidate, in the order of calls; the same bytes are
 * judged once. Nothing asserts: what is wrong stands in w->d.why and workload_story.
 */
#ifndef COFFER_TESTS_CRASH_WORKLOAD_H
#define COFFER_TESTS_CRASH_WORKLOAD_H

#include "tests/crash/view.h"

#define WORKLOAD_MAX 80u /* operations */
#define WORKLOAD_ALL UINT64_MAX

struct workload {
	struct fixture *fx;
	struct driver d;
	struct reference history[WORKLOAD_MAX + 1];
	size_t begun_at[WORKLOAD_MAX + 1],
	    acked_at[WORKLOAD_MAX + 1]; /* calls until then; by step */
	unsigned n_steps;
	unsigned snap_from,
	    snap_to;             /* steps between which a snapshot is open; snap_to 0: to the end */
	uint64_t seed, n_states; /* n_states: candidates so far */
	uint64_t only;           /* the one candidate to look at, WORKLOAD_ALL */
};

/* What is being looked at, for whoever reads of a crash: the first line of every report. */
extern char workload_story[160];

struct workload *workload_new(struct identity *who, uint64_t seed);
void workload_free(struct workload *w);
/* Makes a volume, does the list, judges states until enough distinct ones were seen since
 * workload_forget; then the same while a volume comes back from one of them. false: w->d.why. */
bool workload_run(struct workload *w, const struct op *ops, size_t n, uint64_t enough);
/* Distinct states that were looked at, of all workloads. */
size_t workload_n_seen(void);
void workload_forget(void);

#endif
