/*
 * Objects: the ciphertext of a file's blocks, in segments of OBJECT_SEGMENT_SLOTS slots.
 *
 *   STORE/objects/<id >> 24>/<(id >> 12) & fff>/<id>.<segment>
 *
 * with ids in hex and segments in decimal. A leaf folder holds 4096 ids and is made once for them,
 * a folder above it 4096 leaf folders. Descriptors are kept open in an LRU. One with unsynced
 * writes is not closed before it was synced, and a sync that failed is remembered until object_sync
 * has said so: the kernel tells each descriptor once and would tell a new one nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "fs/object_internal.h"

#define OPEN_MAX 256u

/* ---- where objects lie ---- */

void object_dir(uint64_t id, char ret[OBJECT_DIR_LEN])
{
	snprintf(ret, OBJECT_DIR_LEN, "%" PRIx64 "/%03x", id >> 24, (unsigned)(id >> 12 & 0xfff));
}

void object_path(uint64_t id, uint64_t segment, char ret[OBJECT_NAME_LEN])
{
	char dir[OBJECT_DIR_LEN];

	object_dir(id, dir);
	snprintf(ret, OBJECT_NAME_LEN, "%s/%016" PRIx64 ".%" PRIu64, dir, id, segment);
}

void volume_object_path(uint64_t id, uint32_t segment, char out[64])
{
	char path[OBJECT_NAME_LEN];

	object_path(id, segment, path);
	snprintf(out, 64, "objects/%.55s", path);
}

/* ---- the table ---- */

int object_cache_new(size_t max_bytes, struct object_cache **ret)
{
	CLEANUP_FREE struct object_cache *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	r = data_cache_new(max_bytes, &c->data);
	if (r < 0)
		return r;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->synced, NULL);
	*ret = STEAL_PTR(c);
	return 0;
}

struct data_cache *object_data(struct object_cache *c)
{
	return c->data;
}

static struct object_fd **bucket_of(struct object_cache *c, uint64_t id, uint64_t segment)
{
	return &c->bucket[(id * 31 + segment) % OBJECT_BUCKETS];
}

static struct object_fd *fd_find(struct object_cache *c, uint64_t id, uint64_t segment)
{
	struct object_fd *e = *bucket_of(c, id, segment);

	while (e && (e->id != id || e->segment != segment))
		e = e->next;
	return e;
}

static void lru_remove(struct object_cache *c, struct object_fd *e)
{
	*(e->lru_prev ? &e->lru_prev->lru_next : &c->lru_head) = e->lru_next;
	*(e->lru_next ? &e->lru_next->lru_prev : &c->lru_tail) = e->lru_prev;
}

static void lru_append(struct object_cache *c, struct object_fd *e)
{
	e->lru_prev = c->lru_tail;
	e->lru_next = NULL;
	*(c->lru_tail ? &c->lru_tail->lru_next : &c->lru_head) = e;
	c->lru_tail = e;
}

static void fd_close(struct object_fd *e)
{
	close(e->fd);
	if (e->direct_fd >= 0)
		close(e->direct_fd);
	free(e);
}

/* Out of the table, whatever it holds; closed when nobody uses it. */
static void fd_drop(struct object_cache *c, struct object_fd *e)
{
	struct object_fd **at = bucket_of(c, e->id, e->segment);

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	lru_remove(c, e);
	c->n--;
	c->n_dirty -= e->dirty;
	e->dropped = true;
	if (!e->n_pins)
		fd_close(e);
}

void object_cache_free(struct object_cache *c)
{
	if (!c)
		return;
	while (c->lru_head)
		fd_drop(c, c->lru_head);
	data_cache_free(c->data);
	pthread_cond_destroy(&c->synced);
	pthread_mutex_destroy(&c->lock);
	free(c->dirs);
	free(c);
}

/* ---- syncing; with the cache's lock held ---- */

static int note_dir(struct object_cache *c, uint64_t dir)
{
	for (size_t i = 0; i < c->n_dirs; i++) {
		if (c->dirs[i] == dir)
			return 0;
	}
	if (c->n_dirs == c->cap_dirs) {
		size_t cap = c->cap_dirs ? 2 * c->cap_dirs : 8;
		uint64_t *wider = reallocarray(c->dirs, cap, sizeof(*wider));

		if (!wider)
			return -ENOMEM;
		c->dirs = wider;
		c->cap_dirs = cap;
	}
	c->dirs[c->n_dirs++] = dir;
	return 0;
}

static int dir_sync(struct volume *v, struct object_cache *c, uint64_t id)
{
	char path[OBJECT_DIR_LEN];
	size_t i = 0;

	while (i < c->n_dirs && c->dirs[i] != id >> 12)
		i++;
	if (i == c->n_dirs)
		return 0;
	object_dir(id, path);
	CLEANUP_FD int fd = openat(v->objects_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* One that was never made has no entries to lose. */
	if (fd < 0 && errno != ENOENT)
		return -errno;
	int r = fd < 0 ? 0 : durable_sync_dir(fd);
	if (r == 0)
		c->dirs[i] = c->dirs[--c->n_dirs];
	return r;
}

/* The kernel has told the outcome of everything written so far, once: it is kept in failed. */
static void fd_synced(struct object_cache *c, struct object_fd *e, int r)
{
	if (r < 0 && !e->failed)
		e->failed = -errno;
	e->dirty = false;
	c->n_dirty--;
}

static void sync_all(struct volume *v, struct object_cache *c)
{
	bool whole = syncfs(v->objects_fd) == 0;

	for (struct object_fd *e = c->lru_head; e; e = e->lru_next) {
		if (!e->dirty)
			continue;
		/* syncfs need not tell which file failed, or at all; this asks without another
		 * flush. */
		fd_synced(c, e,
			  whole ? sync_file_range(e->fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE)
				: fdatasync(e->fd));
	}
	if (whole)
		c->n_dirs = 0;
}

/* The first of the object's that this pass has not yet looked at. */
static struct object_fd *next_of(struct object_cache *c, uint64_t id, uint64_t pass)
{
	struct object_fd *e = c->lru_head;

	while (e && (e->id != id || e->pass == pass))
		e = e->lru_next;
	return e;
}

/* Without the lock, so that a flush holds up no reader. What is written meanwhile makes it dirty
 * again. */
static void fd_sync_unlocked(struct object_cache *c, struct object_fd *e)
{
	e->n_pins++;
	e->syncing = true;
	e->dirty = false;
	c->n_dirty--;
	pthread_mutex_unlock(&c->lock);
	int err = fdatasync(e->fd) < 0 ? -errno : 0;
	pthread_mutex_lock(&c->lock);
	e->n_pins--;
	e->syncing = false;
	if (err && !e->failed)
		e->failed = err;
	pthread_cond_broadcast(&c->synced);
}

static int sync_one(struct volume *v, struct object_cache *c, uint64_t id)
{
	uint64_t pass = ++c->n_passes;
	struct object_fd *e;
	int r = 0;

	while ((e = next_of(c, id, pass))) {
		if (e->syncing) {
			/* Its outcome is ours as well. */
			pthread_cond_wait(&c->synced, &c->lock);
			continue;
		}
		e->pass = pass;
		if (e->dirty)
			fd_sync_unlocked(c, e);
		if (e->failed && r == 0)
			r = e->failed;
		e->failed = 0;
		if (e->dropped && !e->n_pins)
			fd_close(e);
	}
	return r < 0 ? r : dir_sync(v, c, id);
}

int object_sync(struct volume *v, uint64_t id)
{
	struct object_cache *c = v->objects;

	pthread_mutex_lock(&c->lock);
	int r = sync_one(v, c, id);
	pthread_mutex_unlock(&c->lock);
	return r;
}

void object_sync_many(struct volume *v)
{
	struct object_cache *c = v->objects;

	pthread_mutex_lock(&c->lock);
	if (c->n_dirty >= OBJECT_SYNCFS_MIN)
		sync_all(v, c);
	pthread_mutex_unlock(&c->lock);
}

void object_write_back_all(struct volume *v)
{
	/* Opened anew: what this descriptor is told is still told to the one that counts. */
	CLEANUP_FD int fd = openat(v->objects_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)syncfs(fd);
}

int object_note_dir(struct volume *v, uint64_t id)
{
	struct object_cache *c = v->objects;

	pthread_mutex_lock(&c->lock);
	int r = note_dir(c, id >> 12);
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* ---- opening; with the cache's lock held ---- */

/* The oldest that may be closed. Failures stay, and so may exceed the bound. */
static struct object_fd *victim(struct object_cache *c)
{
	struct object_fd *e = c->lru_head;

	while (e && (e->n_pins || e->dirty || e->failed))
		e = e->lru_next;
	return e;
}

static void make_room(struct volume *v, struct object_cache *c)
{
	struct object_fd *e;

	if (c->n < OPEN_MAX)
		return;
	e = victim(c);
	if (!e && c->n_dirty) {
		sync_all(v, c);
		e = victim(c);
	}
	if (e)
		fd_drop(c, e);
}

static int make_dirs(struct volume *v, uint64_t id)
{
	char path[OBJECT_DIR_LEN];

	object_dir(id, path);
	char *slash = strchr(path, '/');
	*slash = '\0';
	int r = durable_mkdir(v->objects_fd, path, 0700);
	*slash = '/';
	return r < 0 ? r : durable_mkdir(v->objects_fd, path, 0700);
}

static int open_segment(struct volume *v, struct object_cache *c, uint64_t id, uint64_t segment,
			bool create)
{
	int flags = (v->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW;
	char path[OBJECT_NAME_LEN];

	object_path(id, segment, path);
	int fd = openat(v->objects_fd, path, flags);
	if (fd >= 0 || errno != ENOENT || !create)
		return fd < 0 ? -errno : fd;
	/* Noted first: an entry that nobody remembers to sync could be lost after its publication.
	 */
	int r = note_dir(c, id >> 12);
	if (r < 0)
		return r;
	fd = openat(v->objects_fd, path, flags | O_CREAT, 0600);
	if (fd < 0 && errno == ENOENT) {
		r = make_dirs(v, id);
		if (r < 0)
			return r;
		fd = openat(v->objects_fd, path, flags | O_CREAT, 0600);
	}
	return fd < 0 ? -errno : fd;
}

static int fd_get(struct volume *v, struct object_cache *c, uint64_t id, uint64_t segment,
		  bool write, struct object_fd **ret)
{
	struct object_fd *e = fd_find(c, id, segment);

	if (e) {
		lru_remove(c, e);
		lru_append(c, e);
	} else {
		make_room(v, c);
		e = calloc(1, sizeof(*e));
		if (!e)
			return -ENOMEM;
		*e = (struct object_fd){.id = id, .segment = segment, .direct_fd = -1};
		e->fd = open_segment(v, c, id, segment, write);
		if (e->fd < 0) {
			int r = e->fd;
			free(e);
			return r;
		}
		e->next = *bucket_of(c, id, segment);
		*bucket_of(c, id, segment) = e;
		lru_append(c, e);
		c->n++;
	}
	e->n_pins++;
	*ret = e;
	return 0;
}

/* ---- for use without the lock ---- */

/* Large transfers go past the page cache, where the medium can: through a descriptor of their own,
 * whose errors are told by the call itself. */
static void open_direct(struct volume *v, struct object_cache *c, struct object_fd *e)
{
	int flags = (v->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_DIRECT;
	char path[OBJECT_NAME_LEN];

	object_path(e->id, e->segment, path);
	e->direct_fd = openat(v->objects_fd, path, flags);
	if (e->direct_fd < 0 && errno == EINVAL)
		c->no_direct = true;
}

int object_acquire(struct volume *v, uint64_t id, uint64_t segment, unsigned how,
		   struct object_fd **ret)
{
	struct object_cache *c = v->objects;

	pthread_mutex_lock(&c->lock);
	int r = fd_get(v, c, id, segment, how & OBJECT_WRITE, ret);
	if (r == 0 && (how & OBJECT_DIRECT) && (*ret)->direct_fd < 0 && !c->no_direct)
		open_direct(v, c, *ret);
	pthread_mutex_unlock(&c->lock);
	return r;
}

void object_release(struct volume *v, struct object_fd *e, bool written)
{
	struct object_cache *c = v->objects;

	pthread_mutex_lock(&c->lock);
	e->n_pins--;
	/* After the write and not before: a sync by another thread meanwhile may not have seen it.
	 */
	if (written && !e->dirty && !e->dropped) {
		e->dirty = true;
		c->n_dirty++;
	}
	if (e->dropped && !e->n_pins)
		fd_close(e);
	pthread_mutex_unlock(&c->lock);
}

void object_refuse_direct(struct volume *v)
{
	pthread_mutex_lock(&v->objects->lock);
	v->objects->no_direct = true;
	pthread_mutex_unlock(&v->objects->lock);
}

/* ---- for others ---- */

int object_dirty_fd(struct volume *v, uint64_t id)
{
	struct object_cache *c = v->objects;
	char path[OBJECT_NAME_LEN];
	int fd = -1;

	pthread_mutex_lock(&c->lock);
	struct object_fd *e = c->n_dirty ? c->lru_tail : NULL;
	while (e && (e->id != id || !e->dirty))
		e = e->lru_prev;
	if (e) {
		/* Opened anew: an error told to a duplicate would not be told to the original. */
		object_path(id, e->segment, path);
		fd = openat(v->objects_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	pthread_mutex_unlock(&c->lock);
	return fd;
}

void object_drop(struct volume *v, uint64_t id)
{
	struct object_cache *c = v->objects;

	pthread_mutex_lock(&c->lock);
	for (struct object_fd *e = c->lru_head, *next; e; e = next) {
		next = e->lru_next;
		if (e->id == id)
			fd_drop(c, e);
	}
	pthread_mutex_unlock(&c->lock);
}
