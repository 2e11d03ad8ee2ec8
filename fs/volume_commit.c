/*
 * Commits: how what is in memory becomes durable.
 *
 *   0. write ahead a commit of everything first writes back what there is, before its turn
 *   1. choose      whose data goes along: all; or the file asked for, those whose fsync waits,
 *                  and heirs of renamed-over files. Each is pinned
 *   2. head start  their objects are written back without the engine lock, so that step 3
 *                  finds little to wait for
 *   3. publish     under the lock: sync the rest, put map records; then every changed inode
 *                  record and the counters
 *   4. commit      one transaction of the record store; only now are ids below the new bound
 *                  ours and freed slots free
 *   5. anchor      later, at most once a minute, naming what step 4 made durable
 *
 * A crash before 4 shows the state of the commit before; after 4 the new one. Callers who meet at
 * commit_lock share: each notes how many commits had begun when it came, and whatever a later one
 * made durable it need not do again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "fs/engine_internal.h"
#include "fs/log.h"

#define HEAD_START_FDS 64u

/* ---- records ---- */

/* -EIO once: what was written since the last good sync goes to fresh slots and is synced again.
 * Twice: it cannot be saved. */
int commit_publish(struct volume *v, struct vinode *ino)
{
	int r = data_publish(v, ino);

	if (r == -EIO)
		r = data_publish(v, ino);
	if (r == -EIO) {
		v->failed = true;
		engine_read_only(v, "file data could not be synced to the store");
	}
	if (r == 0)
		inode_published(v, ino);
	return r;
}

/* Heirs first: no name may become durable ahead of the content it promises. And what the log has:
 * the log ends with the commit. */
static int publish_heirs(struct volume *v)
{
	int r = 0;

	for (struct vinode *ino = v->dirty_head; ino && r == 0; ino = ino->dirty_next) {
		bool logged = ino->logged_epoch == v->epoch && data_dirty(ino);

		if ((ino->publish_first || logged) && !ino->destroyed)
			r = commit_publish(v, ino);
	}
	return r;
}

static int put_records(struct volume *v)
{
	struct vinode *next;
	int r = 0;

	for (struct vinode *ino = v->dirty_head; ino && r == 0; ino = next) {
		next = ino->dirty_next;
		if (ino->destroyed)
			ino->record_dirty = ino->await_commit = false;
		if (ino->record_dirty)
			r = inode_put_record(v, ino);
		else
			inode_settle_dirty(v, ino);
	}
	return r ? r : counters_put(v);
}

static void committed(struct volume *v, const struct rstore_root *root)
{
	struct vinode *next;

	v->durable = *root;
	v->epoch++;
	log_restart(v, root);
	counters_committed(v);
	for (struct vinode *ino = v->dirty_head; ino; ino = next) {
		next = ino->dirty_next;
		if (!ino->await_commit)
			continue;
		ino->await_commit = false;
		data_committed(v, ino);
		inode_settle_dirty(v, ino);
	}
}

/* What can never succeed, however often it is tried, stops writers at once: they would be told that
 * all is well until the volume is closed. */
static void commit_failed(struct volume *v, int err)
{
	const char *why = NULL;

	if (err == -EROFS)
		why = "the record store's log could not be synced";
	else if (err == -EBADMSG || err == -EUCLEAN)
		why = "a damaged node of the record tree stands in the way of commits";
	if (!why)
		return;
	v->failed = true;
	engine_read_only(v, why);
}

/* Everything that the transaction is to hold; again after a failure, for what is left. */
static int put_all(struct volume *v)
{
	int r = publish_heirs(v);

	return r ? r : put_records(v);
}

int engine_commit_records(struct volume *v)
{
	struct rstore_root root;
	int r = engine_writable(v);

	if (r == 0)
		r = put_all(v);
	while ((r == -ENOSPC || r == -EDQUOT) && reserve_release(v))
		r = put_all(v);
	if (r)
		return r;
	if (!rstore_dirty(v->rs)) {
		rstore_root_get(v->rs, &root);
		committed(v, &root);
		return 0;
	}
	r = rstore_commit(v->rs, &root);
	while ((r == -ENOSPC || r == -EDQUOT) && reserve_release(v))
		r = rstore_commit(v->rs, &root);
	if (r == 0)
		committed(v, &root);
	else
		commit_failed(v, r);
	return engine_fault(v, r, 0, "commit", 0);
}

/* ---- whole commits ---- */

struct chosen {
	struct vinode **v;
	size_t n;
};

/* Pins what goes along. */
static int choose(struct volume *v, const struct vinode *only, struct chosen *c)
{
	size_t n = 0;

	for (struct vinode *ino = v->dirty_head; ino; ino = ino->dirty_next) {
		ino->in_commit = !ino->destroyed && data_dirty(ino) &&
				 (!only || ino == only || ino->sync_wanted || ino->publish_first ||
				  ino->logged_epoch == v->epoch);
		n += ino->in_commit;
	}
	c->v = calloc(n ? n : 1, sizeof(struct vinode *));
	if (!c->v)
		return -ENOMEM;
	for (struct vinode *ino = v->dirty_head; ino; ino = ino->dirty_next) {
		if (!ino->in_commit)
			continue;
		ino->in_commit = ino->sync_wanted = false;
		ino->n_pins++;
		c->v[c->n++] = ino;
	}
	return 0;
}

/*
 * Errors show again when the engine syncs for itself, so they are not judged here. A caller who
 * waits for one file gets its pages written and no more: the flush of the medium comes once, with
 * the sync that follows.
 */
static void write_back(const int *fds, size_t n, bool flush)
{
	for (size_t i = 0; i < n; i++) {
		if (flush)
			(void)fdatasync(fds[i]);
		else
			(void)sync_file_range(fds[i], 0, 0,
					      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
						  SYNC_FILE_RANGE_WAIT_AFTER);
		close(fds[i]);
	}
}

static void head_start(struct volume *v, const struct chosen *c, bool flush)
{
	int fds[HEAD_START_FDS];
	size_t i = 0;

	if (flush && c->n >= OBJECT_SYNCFS_MIN) {
		pthread_mutex_unlock(&v->lock);
		object_write_back_all(v);
		pthread_mutex_lock(&v->lock);
		return;
	}
	while (i < c->n) {
		size_t n = 0;

		for (; i < c->n && n < HEAD_START_FDS; i++) {
			int fd = c->v[i]->destroyed ? -1 : data_sync_fd(v, c->v[i]);
			if (fd >= 0)
				fds[n++] = fd;
		}
		if (!n)
			continue;
		pthread_mutex_unlock(&v->lock);
		write_back(fds, n, flush);
		pthread_mutex_lock(&v->lock);
	}
}

/* The first failure of an inode whose caller is ours; others learn of theirs when their turn comes.
 */
static int publish_chosen(struct volume *v, const struct chosen *c, const struct vinode *only,
			  uint64_t seq)
{
	int ret = 0;

	for (size_t i = 0; i < c->n; i++) {
		struct vinode *ino = c->v[i];
		int r = 0;

		if (v->read_only)
			return -EIO;
		if (!ino->destroyed && data_dirty(ino))
			r = commit_publish(v, ino);
		if (r == 0)
			ino->commit_seq = seq; /* taken back if the transaction fails */
		else if (!ret && (!only || ino == only))
			ret = r;
	}
	return ret;
}

static void let_go(struct volume *v, struct chosen *c, bool durable)
{
	for (size_t i = 0; i < c->n; i++) {
		if (!durable)
			c->v[i]->commit_seq = 0;
		inode_unpin(v, c->v[i]);
	}
	free(c->v);
}

/* Both locks held; the engine lock is let go of in between. */
static int run(struct volume *v, struct vinode *only)
{
	struct chosen c = {0};
	uint64_t seq = ++v->commits_begun;

	if (v->read_only)
		return v->dirty_head || rstore_dirty(v->rs) ? (v->failed ? -EIO : -EROFS) : 0;
	int r = choose(v, only, &c);
	if (r)
		return r;
	head_start(v, &c, !only);
	if (!only)
		object_sync_many(v);
	r = publish_chosen(v, &c, only, seq);
	int r2 = engine_commit_records(v);
	let_go(v, &c, r2 == 0);
	if (r == 0)
		r = r2;
	if (r)
		return r;
	if (only)
		only->commit_seq = seq;
	else
		v->full_done = seq;
	return 0;
}

static bool covered(const struct volume *v, const struct vinode *only, uint64_t arrived)
{
	return v->full_done > arrived || (only && only->commit_seq > arrived);
}

/*
 * A commit of everything may have gigabytes to write back. That is done before it takes its turn:
 * whoever waits for one file waits for the rest only.
 */
static void write_ahead(struct volume *v)
{
	struct chosen c = {0};

	for (struct vinode *ino = v->dirty_head; ino; ino = ino->dirty_next)
		c.n += !ino->destroyed && data_dirty(ino);
	c.v = v->read_only || !c.n ? NULL : calloc(c.n, sizeof(struct vinode *));
	c.n = 0;
	for (struct vinode *ino = c.v ? v->dirty_head : NULL; ino; ino = ino->dirty_next) {
		if (ino->destroyed || !data_dirty(ino))
			continue;
		ino->n_pins++;
		c.v[c.n++] = ino;
	}
	head_start(v, &c, true);
	for (size_t i = 0; i < c.n; i++)
		inode_unpin(v, c.v[i]);
	free(c.v);
}

/* With neither lock; arrived as the caller noted it when it came. */
static int commit_since(struct volume *v, struct vinode *only, uint64_t arrived)
{
	keyring_use_begin(v->kr);
	pthread_mutex_lock(&v->commit_lock);
	pthread_mutex_lock(&v->lock);
	int r = covered(v, only, arrived) ? 0 : run(v, only);
	if (only)
		only->sync_wanted = false;
	pthread_mutex_unlock(&v->lock);
	pthread_mutex_unlock(&v->commit_lock);
	keyring_use_end(v->kr);
	return r;
}

int engine_commit(struct volume *v, struct vinode *only)
{
	keyring_use_begin(v->kr);
	pthread_mutex_lock(&v->lock);
	uint64_t arrived = v->commits_begun;
	if (only)
		only->sync_wanted = true;
	else
		write_ahead(v);
	pthread_mutex_unlock(&v->lock);
	int r = commit_since(v, only, arrived);
	keyring_use_end(v->kr);
	return r;
}

int volume_sync(struct volume *v)
{
	return engine_commit(v, NULL);
}

/* ---- fsync: by way of the log where that will do, else by a commit ---- */

int volume_fsync_begin(struct volume *v, uint64_t id, struct volume_syncing *ret)
{
	struct volume_syncing s = {0};

	engine_enter(v);
	int r = inode_get(v, id, &s.ino);
	if (r == 0) {
		s.arrived = v->commits_begun;
		s.in_log = log_add(v, s.ino, &s.ticket) == 0;
		s.ino->sync_wanted |= !s.in_log;
		*ret = s;
	}
	engine_leave(v);
	return r;
}

static int sync_inode(struct volume *v, struct volume_syncing *s)
{
	if (s->in_log)
		return log_wait(v, s->ticket) ? engine_commit(v, s->ino) : 0;
	int r = commit_since(v, s->ino, s->arrived);
	if (r == 0)
		log_prepare(v);
	return r;
}

int volume_fsync_end(struct volume *v, struct volume_syncing *s)
{
	int r = sync_inode(v, s);

	engine_enter(v);
	if (r == 0 && s->ino->destroyed)
		r = -EIO;
	inode_unpin(v, s->ino);
	engine_leave(v);
	return r;
}

int volume_fsync(struct volume *v, uint64_t id)
{
	struct volume_syncing s;
	int r = volume_fsync_begin(v, id, &s);

	return r ? r : volume_fsync_end(v, &s);
}

/* ---- anchor ---- */

static int64_t monotonic_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void fresh_fill(struct volume *v, struct keyring_fresh *f)
{
	struct rstore_root root;

	rstore_root_get(v->rs, &root);
	f->txn = root.txn;
	memcpy(f->root_tag, root.tag, sizeof(f->root_tag));
	if (v->reserved_id > f->id_floor)
		f->id_floor = v->reserved_id;
	memcpy(f->charter_head, v->charter_head, sizeof(f->charter_head));
	memcpy(f->trail_root, v->trail_root, sizeof(f->trail_root));
	f->trail_size = v->trail_size;
}

int commit_anchor(struct volume *v, bool now)
{
	struct keyring_fresh f, old;

	keyring_fresh_get(v->kr, &old);
	f = old;
	pthread_mutex_lock(&v->lock);
	bool due = now || monotonic_seconds() - v->anchor_written >= ENGINE_ANCHOR_SECONDS;
	fresh_fill(v, &f);
	pthread_mutex_unlock(&v->lock);
	if (!due || memcmp(&f, &old, sizeof(f)) == 0)
		return 0;
	int r = keyring_fresh_put(v->kr, &f);
	if (r == 0) {
		pthread_mutex_lock(&v->lock);
		v->anchor_written = monotonic_seconds();
		pthread_mutex_unlock(&v->lock);
	}
	return r;
}
