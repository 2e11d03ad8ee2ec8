/*
 * SEEK_DATA and SEEK_HOLE.
 *
 * The kernel passes them on without writing back what its cache holds, and the engine would answer
 * that there is no data where there is some: a program that copies a file by its data would lose
 * it. So for a file that is open for writing (only then there are dirty pages) they are written
 * back first. That takes a notification, which must not come from a loop thread: one thread of its
 * own answers these requests, in turn.
 */
#include "fs/front_internal.h"

#include <errno.h>
#include <stdlib.h>

struct front_seek {
	fuse_req_t req;
	fuse_ino_t ino;
	off_t off;
	int whence;
	struct front_seek *next;
};

static void answer(fuse_req_t req, fuse_ino_t ino, off_t off, int whence)
{
	uint64_t at;
	int err = off < 0 ? -ENXIO : volume_seek(front_volume(req), ino, (uint64_t)off, whence, &at);

	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_lseek(req, (off_t)at);
}

/* The next one, or NULL to end. */
static struct front_seek *take(struct front *f)
{
	pthread_mutex_lock(&f->seek_lock);
	while (!f->seeks && !f->seek_stop)
		pthread_cond_wait(&f->seek_wake, &f->seek_lock);
	struct front_seek *s = f->seeks;
	if (s)
		f->seeks = s->next;
	pthread_mutex_unlock(&f->seek_lock);
	return s;
}

static void *seek_main(void *arg)
{
	struct front *f = arg;
	struct front_seek *s;

	while ((s = take(f))) {
		/* Offset and length 0: every page of the file. */
		fuse_lowlevel_notify_inval_inode(f->se, s->ino, 0, 0);
		answer(s->req, s->ino, s->off, s->whence);
		free(s);
	}
	return NULL;
}

int front_seek_start(struct front *f)
{
	pthread_mutex_init(&f->seek_lock, NULL);
	pthread_cond_init(&f->seek_wake, NULL);
	int r = -pthread_create(&f->seek_thread, NULL, seek_main, f);
	f->seek_runs = r == 0;
	return r;
}

void front_seek_stop(struct front *f)
{
	if (!f->seek_runs)
		return;
	pthread_mutex_lock(&f->seek_lock);
	f->seek_stop = true;
	pthread_cond_signal(&f->seek_wake);
	pthread_mutex_unlock(&f->seek_lock);
	pthread_join(f->seek_thread, NULL);
	f->seek_runs = false;
}

void front_seek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence)
{
	struct front *f = fuse_req_userdata(req);
	struct front_seek *s;

	if (!volume_is_writable(f->volume, ino)) {
		answer(req, ino, off, whence);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*s = (struct front_seek){.req = req, .ino = ino, .off = off, .whence = whence};
	pthread_mutex_lock(&f->seek_lock);
	struct front_seek **at = &f->seeks;
	while (*at)
		at = &(*at)->next;
	*at = s;
	pthread_cond_signal(&f->seek_wake);
	pthread_mutex_unlock(&f->seek_lock);
}
