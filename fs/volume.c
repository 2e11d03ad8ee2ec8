/*
 * The volume's life: made, opened, closed; and what every call of the engine begins and ends with.
 *
 *   create: objects/, meta.db, root folder, counters -> one commit -> anchor
 *   open:   lock -> record store, not older than the anchor -> what the log has -> ids reserved (a commit)
 *           -> snapshots of an earlier mount closed -> some orphans -> committer
 *   close:  committer stopped -> orphans -> commit -> dead objects -> commit -> anchor
 *
 * Opening repairs nothing: the last commit is a whole state.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "fs/engine_internal.h"
#include "fs/log.h"

#define LOCK_NAME "lock"
#define OBJECTS_NAME "objects"
#define ORPHANS_AT_OPEN 256u
/* Of the cache this part is for block maps, the rest for nodes. */
#define MAPS_SHARE 4u

/* ---- the bracket of every call ---- */

void engine_enter(struct volume *v)
{
	keyring_use_begin(v->kr);
	pthread_mutex_lock(&v->lock);
}

void engine_leave(struct volume *v)
{
	size_t pending = rstore_pending_bytes(v->rs);
	bool press = pending > ENGINE_PENDING_MAX && !v->read_only;

	if ((pending > ENGINE_PENDING_WAKE && !v->wake_now) || v->orphans_waiting) {
		v->wake_now = true;
		pthread_cond_signal(&v->wake);
	}
	pthread_mutex_unlock(&v->lock);
	keyring_use_end(v->kr);
	/* The committer does not keep up: whoever adds to the pile works it off. A failure stays
	 * pending and is fsync's to report. */
	if (press)
		(void)engine_commit(v, NULL);
}

int engine_writable(struct volume *v)
{
	return v->read_only ? -EROFS : 0;
}

void engine_read_only(struct volume *v, const char *why)
{
	if (v->read_only)
		return;
	v->read_only = true;
	snprintf(v->why_read_only, sizeof(v->why_read_only), "%s", why);
}

int engine_half_done(struct volume *v, int err, const char *what)
{
	char why[sizeof(v->why_read_only)];

	snprintf(why, sizeof(why), "%s failed half way (error %d)", what, -err);
	v->failed = true;
	engine_read_only(v, why);
	return err;
}

int engine_fault(struct volume *v, int err, uint64_t id, const char *what, uint64_t position)
{
	struct volume_alarm a = {.id = id, .err = err, .what = what, .position = position};

	if (err != -EBADMSG && err != -EUCLEAN && err != -EKEYREVOKED)
		return err;
	if (err != -EKEYREVOKED) /* destroyed is not damaged */
		v->n_alarms++;
	if (v->alarm)
		v->alarm(v->alarm_arg, &a);
	return -EIO;
}

struct timespec engine_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t;
}

int engine_add_edge(struct volume *v, uint64_t a, uint64_t b, uint8_t kind)
{
	struct rstore_key there = engine_key(SPACE_EDGE, (const uint64_t[]){a, b}, 2);
	struct rstore_key back = engine_key(SPACE_EDGE, (const uint64_t[]){b, a}, 2);

	if (a == b)
		return 0;
	v->depend_epoch = v->epoch; /* no content of either without it */
	int r = rstore_put(v->rs, &there, &kind, 1);
	return r ? r : rstore_put(v->rs, &back, &kind, 1);
}

/* ---- building and tearing down ---- */

static void volume_free(struct volume *v)
{
	if (v->hash)
		inode_cache_free(v);
	if (v->objects)
		object_cache_free(v->objects);
	log_close(v);
	rstore_close(v->rs);
	cleanup_fd(&v->objects_fd);
	cleanup_fd(&v->lock_fd);
	cleanup_fd(&v->store_fd);
	pthread_cond_destroy(&v->wake);
	pthread_cond_destroy(&v->claims_settled);
	pthread_mutex_destroy(&v->lock);
	pthread_mutex_destroy(&v->commit_lock);
	freeze_free(v);
	free(v->store);
	free(v);
}

CLEANUP_DEFINE(volume, struct volume *, volume_free)
#define CLEANUP_VOLUME __attribute__((cleanup(cleanup_volume)))

static void init_threads(struct volume *v)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->commit_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&v->wake, &attr);
	pthread_cond_init(&v->claims_settled, NULL);
	pthread_condattr_destroy(&attr);
}

static int lock_store(struct volume *v, struct diag *d)
{
	v->lock_fd =
	    openat(v->store_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* The record store's journal is written by readers as well, and the log's content enters. */
	if (v->lock_fd < 0 && errno == EROFS)
		return diag_fail(d, DIAG_STORE_READ_ONLY, -EROFS, "%s", v->store);
	if (v->lock_fd < 0)
		return diag_fail_errno(d, -errno, "%s/%s", v->store, LOCK_NAME);
	if (flock(v->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return diag_fail(d, DIAG_MOUNTED, -EBUSY, "%s", v->store);
	return diag_fail_errno(d, -errno, "%s/%s", v->store, LOCK_NAME);
}

static int open_folders(struct volume *v, struct diag *d)
{
	v->store_fd = open(v->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (v->store_fd < 0)
		return diag_fail_errno(d, -errno, "%s", v->store);
	int r = lock_store(v, d);
	if (r)
		return r;
	r = v->read_only ? 0 : durable_mkdir(v->store_fd, OBJECTS_NAME, 0700);
	if (r)
		return diag_fail_errno(d, r, "%s/%s", v->store, OBJECTS_NAME);
	v->objects_fd = openat(v->store_fd, OBJECTS_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return v->objects_fd < 0 ? diag_fail_errno(d, -errno, "%s/%s", v->store, OBJECTS_NAME) : 0;
}

static size_t cache_bytes(const struct volume_config *cfg)
{
	return cfg->cache_bytes ? cfg->cache_bytes : VOLUME_CACHE_BYTES;
}

/* Everything but the record store, locked. *ret_fresh is what the anchor says. */
static int volume_begin(const struct volume_config *cfg, struct volume **ret, struct diag *d)
{
	CLEANUP_VOLUME struct volume *v = calloc(1, sizeof(*v));
	struct keyring_fresh fresh;

	if (!v)
		return diag_fail_errno(d, -ENOMEM, "%s", cfg->store);
	v->store_fd = v->lock_fd = v->objects_fd = -1;
	init_threads(v);
	v->epoch = 1;
	v->kr = cfg->kr;
	v->alarm = cfg->alarm;
	v->alarm_arg = cfg->alarm_arg;
	if (cfg->read_only)
		engine_read_only(v, "opened for reading");
	v->store = strdup(cfg->store);
	if (!v->store || inode_cache_new(v) ||
	    object_cache_new(cache_bytes(cfg) / MAPS_SHARE, &v->objects))
		return diag_fail_errno(d, -ENOMEM, "%s", cfg->store);
	int r = open_folders(v, d);
	if (r)
		return r;
	r = log_open(v, cfg->log_bytes);
	if (r)
		return diag_fail_errno(d, r, "%s/%s", cfg->store, LOG_NAME);
	kdf_random(v->session, sizeof(v->session));
	keyring_fresh_get(v->kr, &fresh);
	memcpy(v->charter_head, fresh.charter_head, sizeof(v->charter_head));
	memcpy(v->trail_root, fresh.trail_root, sizeof(v->trail_root));
	v->trail_size = fresh.trail_size;
	*ret = STEAL_PTR(v);
	return 0;
}

static struct rstore_config record_config(struct volume *v, const struct volume_config *cfg)
{
	return (struct rstore_config){
	    .store = v->store,
	    .kr = v->kr,
	    .key_of = engine_key_of,
	    .arg = v,
	    .cache_bytes = cache_bytes(cfg) - cache_bytes(cfg) / MAPS_SHARE,
	};
}

/* ---- create ---- */

static int make_root(struct volume *v, uint32_t uid, uint32_t gid)
{
	struct vinode *root;
	int r = inode_new_with_id(v, VOLUME_ROOT_ID, S_IFDIR | 0755, &root);

	if (r)
		return r;
	root->attr.uid = uid;
	root->attr.gid = gid;
	root->parent = VOLUME_ROOT_ID;
	r = dir_init(v, root);
	inode_unpin(v, root);
	return r;
}

static int create_records(struct volume *v, uint32_t uid, uint32_t gid)
{
	struct keyring_fresh fresh;

	/* The anchor may know of ids that an earlier store of this volume gave out. */
	keyring_fresh_get(v->kr, &fresh);
	v->next_id = fresh.id_floor > VOLUME_FIRST_ID ? fresh.id_floor : VOLUME_FIRST_ID;
	v->next_link = 1;
	v->reserved_id = v->next_id + ENGINE_ID_BATCH;
	v->reserved_link = v->next_link + ENGINE_ID_BATCH;
	kdf_random(&v->timeline, sizeof(v->timeline));
	v->used_known = true;
	keyring_use_begin(v->kr);
	pthread_mutex_lock(&v->lock);
	int r = make_root(v, uid, gid);
	if (r == 0)
		r = engine_commit_records(v);
	pthread_mutex_unlock(&v->lock);
	keyring_use_end(v->kr);
	return r ? r : commit_anchor(v, true);
}

int volume_create(const struct volume_config *cfg, uint32_t uid, uint32_t gid, struct diag *d)
{
	CLEANUP_VOLUME struct volume *v = NULL;
	int r = volume_begin(cfg, &v, d);

	if (r)
		return r;
	struct rstore_config rc = record_config(v, cfg);
	struct keyring_fresh fresh;
	keyring_fresh_get(v->kr, &fresh);
	/* Keys that were recovered have served another store, which went on after its last anchor. */
	if (fresh.txn)
		rc.first_txn = fresh.txn + RSTORE_TXN_GAP;
	r = rstore_create(&rc, d);
	if (r == 0)
		r = rstore_open(&rc, NULL, &v->rs, d);
	if (r)
		return r;
	r = create_records(v, uid, gid);
	return r ? diag_fail_errno(d, r, "%s", cfg->store) : 0;
}

/* ---- open ---- */

static int open_records(struct volume *v, const struct volume_config *cfg, struct diag *d)
{
	struct rstore_config rc = record_config(v, cfg);
	struct keyring_fresh fresh;
	struct rstore_root anchored;

	keyring_fresh_get(v->kr, &fresh);
	anchored.txn = fresh.txn;
	memcpy(anchored.tag, fresh.root_tag, sizeof(anchored.tag));
	int r = rstore_open(&rc, &anchored, &v->rs, d);
	if (r)
		return r;
	rstore_root_get(v->rs, &v->durable);
	r = counters_load(v);
	if (r)
		return diag_fail(d, DIAG_STORE_DAMAGED, r, "%s: counters", v->store);
	if (fresh.id_floor > v->next_id)
		v->next_id = v->reserved_id = fresh.id_floor;
	return 0;
}

/*
 * What fsync put into the log after the last commit. Opening for reading writes it where it belongs
 * as well: else what was acknowledged would not be seen. It is durable with the next commit.
 */
static int apply_log(struct volume *v, struct diag *d)
{
	bool for_reading = v->read_only;

	keyring_use_begin(v->kr);
	pthread_mutex_lock(&v->lock);
	v->read_only = false;
	int r = log_replay(v);
	if (r == 0 && for_reading && v->dirty_head)
		r = engine_commit_records(v);
	v->read_only = for_reading;
	pthread_mutex_unlock(&v->lock);
	keyring_use_end(v->kr);
	return r ? diag_fail_errno(d, r, "%s/%s: what it holds could not be applied", v->store,
				   LOG_NAME)
		 : 0;
}

/* What a mount may change: the first reservation, and what an earlier mount left half unlinked. */
static int begin_writing(struct volume *v)
{
	keyring_use_begin(v->kr);
	pthread_mutex_lock(&v->lock);
	reserve_fill(v);
	int r = engine_commit_records(v);
	if (r == 0)
		snapshot_close_leftover(v);
	if (r == 0)
		(void)inode_reclaim(
		    v, ORPHANS_AT_OPEN); /* damaged ones were reported; they hinder nobody */
	v->dead_waiting = true;
	pthread_mutex_unlock(&v->lock);
	keyring_use_end(v->kr);
	if (r)
		return r;
	r = -pthread_create(&v->committer, NULL, committer_main, v);
	v->committer_runs = r == 0;
	return r;
}

int volume_open(const struct volume_config *cfg, struct volume **ret, struct diag *d)
{
	CLEANUP_VOLUME struct volume *v = NULL;
	int r = volume_begin(cfg, &v, d);

	if (r == 0)
		r = open_records(v, cfg, d);
	if (r == 0)
		r = apply_log(v, d);
	if (r)
		return r;
	if (!cfg->read_only) {
		r = begin_writing(v);
		if (r)
			return diag_fail_errno(d, r, "%s", cfg->store);
	}
	*ret = STEAL_PTR(v);
	return 0;
}

/* ---- close ---- */

static void stop_committer(struct volume *v)
{
	if (!v->committer_runs)
		return;
	pthread_mutex_lock(&v->lock);
	v->stop = true;
	pthread_cond_signal(&v->wake);
	pthread_mutex_unlock(&v->lock);
	pthread_join(v->committer, NULL);
	v->committer_runs = false;
}

/* Nobody refers to anything any more. */
static void let_go_of_orphans(struct volume *v)
{
	engine_enter(v);
	for (size_t i = 0; i < v->hash_size; i++) {
		for (struct vinode *ino = v->hash[i], *next; ino; ino = next) {
			next = ino->hash_next;
			ino->n_lookups = 0;
			ino->n_open = ino->n_open_writable = 0;
			if (ino->orphan)
				inode_settle(v, ino);
		}
	}
	engine_leave(v);
}

int volume_close(struct volume *v)
{
	int r = 0;

	if (!v)
		return 0;
	stop_committer(v);
	if (v->read_only) {
		r = engine_commit(v, NULL); /* says what is lost */
	} else {
		let_go_of_orphans(v);
		r = engine_commit(v, NULL);
		committer_chores(v);
		int r2 = engine_commit(v, NULL);
		if (r == 0)
			r = r2;
		r2 = commit_anchor(v, true);
		if (r == 0)
			r = r2;
	}
	volume_free(v);
	return r;
}

/* ---- facts ---- */

struct keyring *volume_keyring(struct volume *v)
{
	return v->kr;
}

void volume_set_heads(struct volume *v, const uint8_t charter_head[32], uint64_t trail_size,
		      const uint8_t trail_root[32])
{
	pthread_mutex_lock(&v->lock);
	memcpy(v->charter_head, charter_head, sizeof(v->charter_head));
	memcpy(v->trail_root, trail_root, sizeof(v->trail_root));
	v->trail_size = trail_size;
	pthread_mutex_unlock(&v->lock);
}

void volume_stat(struct volume *v, struct volume_stat *ret)
{
	struct rstore_snap snaps[RSTORE_SNAPSHOTS_MAX];
	struct statvfs st;
	struct volume_stat s = {0};

	bool known = fstatvfs(v->store_fd, &st) == 0;
	pthread_mutex_lock(&v->lock);
	if (known) {
		s.total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
		/* What is free then is kept for what is done already. */
		s.free_bytes = v->starved ? 0 : (uint64_t)st.f_bavail * st.f_frsize;
		s.n_files_free =
		    s.free_bytes / 1024; /* inodes are records: space is their only bound */
	}
	struct rstore_root root;
	rstore_root_get(v->rs, &root);
	s.txn = root.txn;
	s.n_inodes = v->n_inodes;
	s.used_bytes = usage_total(v);
	s.quota_bytes = v->quota;
	s.next_id = v->next_id;
	s.n_snapshots = rstore_snap_list(v->rs, snaps);
	s.n_alarms = v->n_alarms;
	s.pending_bytes = rstore_pending_bytes(v->rs);
	s.read_only = v->read_only;
	memcpy(s.why_read_only, v->why_read_only, sizeof(s.why_read_only));
	pthread_mutex_unlock(&v->lock);
	*ret = s;
}
