/*
 * The committer: the one thread of the engine. Commits in time, and does what waits for a commit.
 *
 * Every round: commit; remove what closed snapshots kept; unlink objects of files that are durably gone; reclaim orphans, some at a
 * time; make the reserve anew; write the anchor when it is due. Nothing here is needed for
 * correctness after a crash: the records say what is left to do, and the next mount's committer
 * finds it.
 */
#include <time.h>

#include "fs/engine_internal.h"

/* Leaves time for the commit itself within VOLUME_COMMIT_SECONDS. */
#define ROUND_SECONDS (VOLUME_COMMIT_SECONDS - 2)
#define ORPHANS_AT_ONCE 16u
/* Rounds between looks for objects that only a snapshot held. */
#define SNAPSHOT_ROUNDS 20u

static void unlink_dead(struct volume *v)
{
	int n;

	do {
		engine_enter(v);
		n = engine_writable(v) ? 0 : inode_unlink_dead(v);
		engine_leave(v);
	} while (n > 0);
}

static void reclaim(struct volume *v)
{
	engine_enter(v);
	if (engine_writable(v) == 0)
		(void)inode_reclaim(v, ORPHANS_AT_ONCE);
	engine_leave(v);
}

/* A long history that a closed snapshot kept goes in many small commits, with others' calls between
 * them. Not at the end: the next mount goes on. */
static void drain_snapshots(struct volume *v)
{
	int r;

	do {
		engine_enter(v);
		r = engine_writable(v) || v->stop ? 0 : snapshot_drain_some(v);
		engine_leave(v);
	} while (r > 0);
}

void committer_chores(struct volume *v)
{
	engine_enter(v);
	bool orphans = v->orphans_waiting;
	bool dead = v->dead_waiting;
	if (!v->read_only) {
		reserve_fill(v);
		/* A failure leaves them open: the next round tries again. */
		if (v->starved || reserve_low(v))
			(void)snapshot_drop_all(v);
		dead = v->dead_waiting;
	}
	bool unknown = !v->used_known;
	engine_leave(v);
	if (unknown)
		usage_count(v);
	drain_snapshots(v);
	if (dead)
		unlink_dead(v);
	if (orphans)
		reclaim(v);
}

/* Until the next round, or earlier when woken. False: stop. */
static bool wait_round(struct volume *v)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ROUND_SECONDS;
	pthread_mutex_lock(&v->lock);
	while (!v->stop && !v->wake_now && (!v->orphans_waiting || v->read_only)) {
		if (pthread_cond_timedwait(&v->wake, &v->lock, &until) != 0)
			break;
	}
	v->wake_now = false;
	bool go = !v->stop;
	pthread_mutex_unlock(&v->lock);
	return go;
}

void *committer_main(void *volume)
{
	struct volume *v = volume;
	unsigned round = 0;

	while (wait_round(v)) {
		/* A failure leaves everything pending: fsync reports it, the next round tries
		 * again. */
		(void)engine_commit(v, NULL);
		if (++round % SNAPSHOT_ROUNDS == 0) {
			engine_enter(v);
			v->dead_waiting = true;
			if (engine_writable(v) == 0)
				snapshot_close_expired(v);
			engine_leave(v);
		}
		committer_chores(v);
		(void)commit_anchor(v, false);
	}
	return NULL;
}
