/*
 * Snapshots: opening, finding and closing. What they contain is read by fs/snapshot_scan.c.
 *
 * The record store keeps the snapshot itself; beside it stands a record of facts (counters, key 50
 * 1 ID) that the resuming backup needs. It is put after the snapshot exists and deleted before the
 * snapshot goes, so a crash in between leaves a snapshot without facts, which nobody can find; the
 * next opening closes such ones first. When the medium is nearly full all are closed: a backup can
 * be begun again, a writer would be refused. A mount that may write begins with closing what an
 * earlier one left, but for those that are to be kept until a time that has not come: a backup that
 * was interrupted goes on with one of them. The committer closes those whose time has come, so kept
 * records and objects do not stay for ever.
 */
#include <errno.h>
#include <time.h>

#include "core/bytes.h"
#include "fs/engine_internal.h"

#define COUNTER_SNAPSHOT 1
#define FACTS_LEN 48
#define KEEP_MAX (2 * VOLUME_SNAPSHOT_KEEP_SECONDS) /* a clock that was wrong keeps nothing for years */

static struct rstore_key facts_key(uint64_t snap_id)
{
	return engine_key(SPACE_COUNTERS, (const uint64_t[]){COUNTER_SNAPSHOT, snap_id}, 2);
}

static int facts_put(struct volume *v, const struct volume_snapshot *s)
{
	struct rstore_key key = facts_key(s->snap.id);
	uint8_t b[FACTS_LEN];

	bytes_put64(b, s->snap.txn);
	bytes_put64(b + 8, s->next_id);
	bytes_put64(b + 16, s->next_link);
	bytes_put64(b + 24, s->timeline);
	bytes_put64(b + 32, (uint64_t)s->time);
	bytes_put64(b + 40, (uint64_t)s->keep_until);
	return rstore_put(v->rs, &key, b, sizeof(b));
}

/* -ENOENT when there are none; a record that speaks of another transaction is damage. */
static int facts_get(struct volume *v, const struct rstore_snap *snap, struct volume_snapshot *ret)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct rstore_key key = facts_key(snap->id);
	int r = rstore_get(v->rs, &key, &w, NULL);

	if (r == 0 && (w.len != FACTS_LEN || bytes_get64(w.buf) != snap->txn))
		r = -EUCLEAN;
	if (r)
		return r == -ENOENT ? r : engine_fault(v, r, 0, "snapshot record", snap->id);
	*ret = (struct volume_snapshot){
	    .snap = *snap,
	    .next_id = bytes_get64(w.buf + 8),
	    .next_link = bytes_get64(w.buf + 16),
	    .timeline = bytes_get64(w.buf + 24),
	    .time = (int64_t)bytes_get64(w.buf + 32),
	    .keep_until = (int64_t)bytes_get64(w.buf + 40),
	};
	return 0;
}

static int close_unknown(struct volume *v)
{
	struct rstore_snap list[RSTORE_SNAPSHOTS_MAX];
	struct volume_snapshot s;
	size_t n = rstore_snap_list(v->rs, list);

	for (size_t i = 0; i < n; i++) {
		int r = facts_get(v, &list[i], &s);
		if (r == -ENOENT)
			r = rstore_snap_close(v->rs, list[i].id);
		if (r)
			return r;
	}
	return 0;
}

static int open_locked(struct volume *v, struct volume_snapshot *ret)
{
	struct volume_snapshot s = {0};
	int r = engine_writable(v);

	if (r == 0)
		r = engine_commit_records(v);
	if (r == 0)
		r = close_unknown(v);
	/* A rename since the last commit brings the data that it relies on. */
	if (r == 0)
		r = engine_commit_records(v);
	if (r)
		return r;
	s.next_id = v->next_id;
	s.next_link = v->next_link;
	s.timeline = v->timeline;
	s.time = time(NULL);
	r = rstore_snap_open(v->rs, &s.snap);
	if (r)
		return engine_fault(v, r, 0, "snapshot", 0);
	r = facts_put(v, &s);
	if (r == 0)
		r = engine_commit_records(v);
	if (r) {
		/* Best effort: without durable facts the next opening closes it. */
		struct rstore_key key = facts_key(s.snap.id);
		if (rstore_del(v->rs, &key) == 0)
			rstore_snap_close(v->rs, s.snap.id);
		return r;
	}
	*ret = s;
	return 0;
}

int volume_snapshot_open(struct volume *v, struct volume_snapshot *ret)
{
	struct volume_snapshot s;
	int r = engine_commit(v, NULL);

	if (r)
		return r;
	engine_enter(v);
	r = open_locked(v, &s);
	engine_leave(v);
	if (r == 0)
		*ret = s;
	return r;
}

int volume_snapshot_close(struct volume *v, const struct volume_snapshot *s)
{
	struct rstore_key key = facts_key(s->snap.id);

	engine_enter(v);
	int r = engine_writable(v);
	if (r == 0)
		r = rstore_del(v->rs, &key);
	if (r == 0)
		r = engine_commit_records(v);
	if (r == 0)
		r = engine_fault(v, rstore_snap_close(v->rs, s->snap.id), 0, "snapshot", 0);
	v->dead_waiting = true; /* objects that only the snapshot needed */
	engine_leave(v);
	return r;
}

int snapshot_drop_all(struct volume *v)
{
	struct rstore_snap list[RSTORE_SNAPSHOTS_MAX];
	size_t n = rstore_snap_list(v->rs, list);
	int r = 0;

	if (!n)
		return 0;
	for (size_t i = 0; i < n && r == 0; i++) {
		struct rstore_key key = facts_key(list[i].id);

		r = rstore_del(v->rs, &key);
	}
	if (r == 0)
		r = engine_commit_records(v);
	for (size_t i = 0; i < n && r == 0; i++)
		r = engine_fault(v, rstore_snap_close(v->rs, list[i].id), 0, "snapshot", 0);
	v->dead_waiting = true;
	return r;
}

/* The time until which it is kept has come, or is not one that was ever set. */
static bool expired(const struct volume_snapshot *s)
{
	int64_t now = time(NULL);

	return s->keep_until <= now || s->keep_until - now > KEEP_MAX;
}

/* Facts first. On a full medium this fails, and snapshot_drop_all takes them later. */
static void close_some(struct volume *v, const uint64_t *ids, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		struct rstore_key key = facts_key(ids[i]);

		r = rstore_del(v->rs, &key);
	}
	if (r == 0)
		(void)rstore_snap_close_begin(v->rs, ids, n);
}

void snapshot_close_leftover(struct volume *v)
{
	struct rstore_snap list[RSTORE_SNAPSHOTS_MAX];
	size_t n = rstore_snap_list(v->rs, list), n_close = 0;
	uint64_t ids[RSTORE_SNAPSHOTS_MAX];
	struct volume_snapshot s;

	for (size_t i = 0; i < n; i++)
		if (facts_get(v, &list[i], &s) != 0 || expired(&s))
			ids[n_close++] = list[i].id;
	close_some(v, ids, n_close);
}

void snapshot_close_expired(struct volume *v)
{
	struct rstore_snap list[RSTORE_SNAPSHOTS_MAX];
	size_t n = rstore_snap_list(v->rs, list), n_close = 0;
	uint64_t ids[RSTORE_SNAPSHOTS_MAX];
	struct volume_snapshot s;

	/* One that was never to be kept is somebody's who reads it now. */
	for (size_t i = 0; i < n; i++)
		if (facts_get(v, &list[i], &s) == 0 && s.keep_until && expired(&s))
			ids[n_close++] = list[i].id;
	if (n_close)
		v->dead_waiting = true;
	close_some(v, ids, n_close);
}

int volume_snapshot_keep(struct volume *v, struct volume_snapshot *s, int64_t until)
{
	struct volume_snapshot kept = *s;
	struct volume_snapshot now;

	kept.keep_until = until;
	engine_enter(v);
	int r = engine_writable(v);
	if (r == 0) {
		r = facts_get(v, &s->snap, &now);
		r = r == -ENOENT ? -ESTALE : r; /* it was closed for its space */
	}
	if (r == 0)
		r = facts_put(v, &kept);
	if (r == 0)
		r = engine_commit_records(v);
	engine_leave(v);
	if (r == 0)
		*s = kept;
	return r;
}

int snapshot_drain_some(struct volume *v)
{
	int r = engine_commit_records(v);

	return r ? r : engine_fault(v, rstore_snap_drain_some(v->rs), 0, "snapshot", 0);
}

int volume_snapshot_find(struct volume *v, uint64_t snap_id, struct volume_snapshot *ret)
{
	struct rstore_snap list[RSTORE_SNAPSHOTS_MAX];
	int r = -ENOENT;

	engine_enter(v);
	size_t n = rstore_snap_list(v->rs, list);
	for (size_t i = 0; i < n; i++)
		if (list[i].id == snap_id)
			r = facts_get(v, &list[i], ret);
	engine_leave(v);
	return r;
}
