/*
 * fsync requests, which wait for the medium: at most two loop threads do, whoever else comes leaves
 * its request with them and goes on reading others.
 *
 * A request is begun at once by the thread that read it (volume_fsync_begin does not wait), which
 * says whether it goes by way of the log or takes a commit. For each way there is one queue. Who
 * finds nobody at work on it takes the queue to its end, and answers each request in turn; those
 * that were begun before a flush or a commit started share it. So the request that comes alone is
 * answered by the thread that read it.
 */
#include "fs/front_internal.h"

#include <errno.h>
#include <stdlib.h>

struct front_sync {
	fuse_req_t req;
	struct volume_syncing s;
	struct front_sync *next;
};

/* The next of the queue, or nobody is at work on it from now on. */
static struct front_sync *next_of(struct front *f, struct front_syncs *q)
{
	pthread_mutex_lock(&f->sync_lock);
	struct front_sync *e = q->head;
	if (e) {
		q->head = e->next;
		if (!q->head)
			q->tail = &q->head;
	} else {
		q->busy = false;
	}
	pthread_mutex_unlock(&f->sync_lock);
	return e;
}

static void answer_all(struct front *f, struct front_syncs *q)
{
	for (struct front_sync *e; (e = next_of(f, q));) {
		fuse_reply_err(e->req, -volume_fsync_end(f->volume, &e->s));
		free(e);
	}
}

/* Whether the caller is to work the queue. */
static bool enqueue(struct front *f, struct front_syncs *q, struct front_sync *e)
{
	pthread_mutex_lock(&f->sync_lock);
	bool idle = !q->busy;
	q->busy = true;
	e->next = NULL;
	*q->tail = e;
	q->tail = &e->next;
	pthread_mutex_unlock(&f->sync_lock);
	return idle;
}

void front_sync(fuse_req_t req, fuse_ino_t ino)
{
	struct front *f = fuse_req_userdata(req);
	struct front_sync *e = malloc(sizeof(*e));

	if (!e) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	e->req = req;
	int err = volume_fsync_begin(f->volume, ino, &e->s);
	if (err) {
		free(e);
		fuse_reply_err(req, -err);
		return;
	}
	struct front_syncs *q = e->s.in_log ? &f->by_log : &f->by_commit;
	if (enqueue(f, q, e))
		answer_all(f, q);
}

void front_sync_init(struct front *f)
{
	pthread_mutex_init(&f->sync_lock, NULL);
	f->by_log.tail = &f->by_log.head;
	f->by_commit.tail = &f->by_commit.head;
}
