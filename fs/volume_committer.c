/*
 * The committer: the one thread of the engine. Commits in time, and does what waits for a commit.
 *
 * Every round: write scattered files anew when nobody asks for anything; commit; make the reserve
 * anew; remove what closed snapshots kept; unlink objects of files that are durably gone; reclaim
 * orphans, some at a time; write the anchor when it is due. Nothing here is needed for
 * correctness after a crash: the records say what is left to do, and the next mount's committer
 * finds it.
 */
#include <time.h>

#include "fs/engine_internal.h"

/* Leaves time for the commit itself within VOLUME_COMMIT_SECONDS. */
#define ROUND_SECONDS (VOLUME_COMMIT_SECONDS - 2)
#define ORPHANS_AT_ONCE 16u
/* Chunks of 1 MiB that are written anew between two commits. */
#define CHUNKS_A_ROUND 256u
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

/* Pinned. */
static struct vinode *find_scattered(struct volume *v)
{
	for (size_t i = 0; i < v->hash_size; i++) {
		for (struct vinode *ino = v->hash[i]; ino; ino = ino->hash_next) {
			if (!data_rewrite_due(ino) || freeze_check(v, ino->id))
				continue;
			inode_pin(v, ino);
			return ino;
		}
	}
	return NULL;
}

/* Nobody has asked for file data since the count was n_requests, nothing stands in the way. */
static bool may_rewrite(struct volume *v, uint64_t n_requests)
{
	return v->n_requests == n_requests && !v->stop && !v->starved && !engine_writable(v) &&
	       !rstore_snap_newest_txn(v->rs) && !reserve_low(v);
}

/* As long as nobody asks for anything, and not more than a commit can take in its stride. */
static void rewrite_scattered(struct volume *v, uint64_t n_requests)
{
	struct vinode *ino = NULL;
	int r = 1;

	for (unsigned i = 0; r > 0 && i < CHUNKS_A_ROUND; i++) {
		engine_enter(v);
		bool may = may_rewrite(v, n_requests);
		if (may && !ino)
			ino = find_scattered(v);
		r = may && ino && !ino->destroyed ? data_rewrite_some(v, ino) : 0;
		if (ino && (r <= 0 || i + 1 == CHUNKS_A_ROUND))
			inode_unpin(v, ino);
		engine_leave(v);
	}
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

static uint64_t requests(struct volume *v)
{
	pthread_mutex_lock(&v->lock);
	uint64_t n = v->n_requests;
	pthread_mutex_unlock(&v->lock);
	return n;
}

void *committer_main(void *volume)
{
	struct volume *v = volume;
	unsigned round = 0;
	uint64_t seen = 0;

	while (wait_round(v)) {
		uint64_t n_requests = requests(v);
		if (n_requests == seen)
			rewrite_scattered(v, n_requests);
		seen = n_requests;
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
