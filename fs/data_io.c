/*
 * Requests at work without the engine lock: what they carry, and who waits for whom.
 *
 * There is a fixed number, so that memory is bounded however many ask; one more belongs to whoever
 * keeps the lock, who must not wait. Each has copies of the keys it needs, in guarded memory, since
 * the cached ones may be replaced meanwhile. Nobody who has one waits for anything but the engine
 * lock, and ranges are taken before: no two can wait for each other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/secret.h"
#include "fs/data_internal.h"

int data_ios_new(struct data_cache *c)
{
	struct suite_key *keys =
	    secret_slab_new((DATA_IOS + 1) * DATA_IO_KEYS * sizeof(struct suite_key));

	if (!keys)
		return -ENOMEM;
	for (size_t i = 0; i <= DATA_IOS; i++)
		c->io[i].keys = keys + i * DATA_IO_KEYS;
	pthread_cond_init(&c->idle, NULL);
	return 0;
}

void data_ios_free(struct data_cache *c)
{
	if (!c->io[0].keys)
		return;
	secret_slab_free(c->io[0].keys);
	for (size_t i = 0; i <= DATA_IOS; i++)
		free(c->io[i].bounce);
	pthread_cond_destroy(&c->idle);
}

static struct data_io *find_idle(struct data_cache *c, enum data_lock lock)
{
	struct data_io *without = NULL;

	if (lock == DATA_KEEP)
		return &c->io[DATA_IOS];
	/* One that has a buffer rather than one that would need another. */
	for (size_t i = 0; i < DATA_IOS; i++) {
		if (!c->io[i].busy && c->io[i].bounce)
			return &c->io[i];
		if (!c->io[i].busy)
			without = &c->io[i];
	}
	return without;
}

int data_io_get(struct volume *v, enum data_lock lock, bool buffer, struct data_io **ret)
{
	struct data_cache *c = object_data(v->objects);
	struct data_io *io = find_idle(c, lock);

	while (!io) {
		pthread_cond_wait(&c->idle, &v->lock);
		io = find_idle(c, lock);
	}
	if (buffer && !io->bounce)
		io->bounce = aligned_alloc(MAP_BLOCK, (size_t)DATA_CHUNK * MAP_BLOCK);
	if (buffer && !io->bounce)
		return -ENOMEM;
	io->busy = true;
	io->n = 0;
	io->n_keys = 0;
	*ret = io;
	return 0;
}

void data_io_put(struct volume *v, struct data_io *io)
{
	secret_wipe(io->keys, io->n_keys * sizeof(*io->keys));
	io->busy = false;
	pthread_cond_broadcast(&object_data(v->objects)->idle);
}

int data_io_key(struct volume *v, struct data_io *io, uint64_t id, const uint8_t *session,
		uint8_t *ret_no)
{
	const struct suite_key *key;
	unsigned i = io->n_keys;

	/* Neighbours mostly share a session: the newest first. */
	while (i && memcmp(io->session[i - 1], session, MAP_SESSION_LEN))
		i--;
	if (i) {
		*ret_no = (uint8_t)(i - 1);
		return 0;
	}
	if (io->n_keys == DATA_IO_KEYS)
		return -ENOBUFS;
	int r = data_key(v, id, session, &key);
	if (r < 0)
		return r;
	io->keys[io->n_keys] = *key;
	io->session[io->n_keys] = session;
	*ret_no = (uint8_t)io->n_keys++;
	return 0;
}

/* ---- ranges ---- */

static bool overlaps(const struct vfile *f, uint64_t first, uint64_t end)
{
	const struct data_writer *w = f->writers;

	while (w && (w->first >= end || w->end <= first))
		w = w->next;
	return w;
}

/* Waits while somebody changes blocks in [first, end). The file may have come to its end or been
 * frozen by then. */
static int wait_for(struct volume *v, struct vinode *ino, uint64_t first, uint64_t end)
{
	bool waited = false;

	while (!ino->destroyed && ino->file && overlaps(ino->file, first, end)) {
		waited = true;
		pthread_cond_wait(&ino->file->cache->idle, &v->lock);
	}
	if (ino->destroyed)
		return -EIO;
	return waited ? freeze_check(v, ino->id) : 0;
}

int data_writer_begin(struct volume *v, struct vinode *ino, uint64_t first, uint64_t end,
		      struct data_writer *w)
{
	int r = wait_for(v, ino, first, end);

	if (r < 0)
		return r;
	*w = (struct data_writer){.first = first, .end = end, .next = ino->file->writers};
	ino->file->writers = w;
	return 0;
}

void data_writer_end(struct volume *v, struct vinode *ino, struct data_writer *w)
{
	/* Of a destroyed file nothing is left to be taken from. */
	struct data_writer **at = ino->destroyed ? NULL : &ino->file->writers;

	while (at && *at != w)
		at = &(*at)->next;
	if (at)
		*at = w->next;
	pthread_cond_broadcast(&object_data(v->objects)->idle);
}

int data_writers_wait(struct volume *v, struct vinode *ino)
{
	return wait_for(v, ino, 0, UINT64_MAX);
}
