/*
 * The log's file: made, appended to by whoever waits first for all who wait, begun anew with each
 * commit. See fs/log.h.
 *
 * A batch collects entries until somebody writes it. Tickets are batch numbers:
 *
 *   collecting (open_no) --first waiter, when nobody writes--> being written --flushed--> done
 *                        --a commit came first--> done            --failed--> failed, and the log
 *                                                                             is broken until the
 *                                                                             next commit
 *
 * Place and number in the chain are taken when writing begins. A commit meanwhile begins the log
 * anew: the frame on its way is stale then, and whoever waits for it is served by the commit.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/secret.h"
#include "fs/data_internal.h"
#include "fs/engine_internal.h"
#include "fs/log_internal.h"

/* fsyncs that might have used a log before one is made. */
#define LOG_WANTED 4u
/* Failures to write after which this mount does without. */
#define LOG_FAILURES_MAX 3u

struct log_keys log_keys_of(struct volume *v)
{
	return (struct log_keys){.suite = keyring_suite(v->kr),
				 .key = secret_bytes(v->log->key),
				 .volume_id = keyring_volume_id(v->kr)};
}

/* ---- opening ---- */

static int open_file(struct volume *v)
{
	struct vlog *l = v->log;
	struct stat st;

	l->fd = openat(v->store_fd, LOG_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (l->fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(l->fd, &st))
		return -errno;
	l->size = (size_t)st.st_size / LOG_UNIT * LOG_UNIT;
	if (!S_ISREG(st.st_mode) || l->size > LOG_BYTES)
		return -EUCLEAN;
	l->ready = l->size >= l->wanted_size;
	return 0;
}

static int derive_key(struct volume *v)
{
	uint8_t epoch[KDF_KEY_LEN];

	v->log->key = secret_new(KDF_KEY_LEN);
	if (!v->log->key)
		return -ENOMEM;
	keyring_epoch_key(v->kr, KEYRING_RECORDS, epoch);
	kdf_derive(secret_bytes(v->log->key), epoch, "coffer log", NULL, 0);
	secret_wipe(epoch, sizeof(epoch));
	return 0;
}

int log_open(struct volume *v, size_t bytes)
{
	struct vlog *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->fd = -1;
	l->open_no = 1;
	l->wanted_size = bytes ? bytes / LOG_UNIT * LOG_UNIT : LOG_BYTES;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->settled, NULL);
	v->log = l;
	int r = derive_key(v);
	return r ? r : open_file(v);
}

void log_close(struct volume *v)
{
	struct vlog *l = v->log;

	if (!l)
		return;
	bytes_w_free(&l->boxes);
	bytes_w_free(&l->frame);
	cleanup_fd(&l->fd);
	secret_free(l->key);
	pthread_cond_destroy(&l->settled);
	pthread_mutex_destroy(&l->lock);
	free(l);
	v->log = NULL;
}

/* ---- making it ---- */

/* Every block is written: an overwrite later changes nothing but content, so that flushing it is
 * all that durability takes. */
static int fill(int fd, size_t from, size_t size)
{
	CLEANUP_FREE uint8_t *zeros = calloc(1, LOG_FRAME_MAX);
	int r = zeros ? 0 : -ENOMEM;

	for (size_t n; r == 0 && from < size; from += n) {
		n = size - from < LOG_FRAME_MAX ? size - from : LOG_FRAME_MAX;
		r = durable_pwrite(fd, zeros, n, (off_t)from);
	}
	return r == 0 && fdatasync(fd) ? -errno : r;
}

static int make_file(struct volume *v, size_t size, int *ret_fd)
{
	CLEANUP_FD int fd =
	    openat(v->store_fd, LOG_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : fill(fd, 0, size);

	if (r == 0)
		r = durable_sync_dir(v->store_fd);
	if (r) {
		(void)unlinkat(v->store_fd, LOG_NAME, 0);
		return r;
	}
	*ret_fd = STEAL_FD(fd);
	return 0;
}

void log_prepare(struct volume *v)
{
	struct vlog *l = v->log;
	int fd = -1;

	pthread_mutex_lock(&l->lock);
	bool make = !l->ready && !l->making && l->n_wanted >= LOG_WANTED &&
		    l->n_failures < LOG_FAILURES_MAX;
	l->making |= make;
	pthread_mutex_unlock(&l->lock);
	if (!make)
		return;
	/* Room that deleting may need is not taken. */
	int r = reserve_spare(v, l->wanted_size) ? make_file(v, l->wanted_size, &fd) : -ENOSPC;
	pthread_mutex_lock(&l->lock);
	l->making = false;
	if (r == 0) {
		cleanup_fd(&l->fd);
		l->fd = fd;
		l->size = l->wanted_size;
		l->ready = true;
	} else {
		l->n_failures++;
	}
	pthread_mutex_unlock(&l->lock);
}

/* ---- adding ---- */

/* Whether a frame can say all that fsync of the file must make durable. */
static bool may_log(const struct volume *v, const struct vinode *ino)
{
	if (!S_ISREG(ino->attr.mode) || v->read_only || ino->destroyed || ino->orphan)
		return false;
	/* Names and xattrs are records: a commit's. */
	if (ino->names_epoch == v->epoch || v->depend_epoch == v->epoch)
		return false;
	if (ino->publish_first || ino->await_commit)
		return false;
	return data_inline(ino) || (!ino->file->resync && !ino->file->unlogged.too_much);
}

static bool durable(const struct volume *v, const struct vinode *ino)
{
	return ino->changed_epoch != v->epoch && ino->names_epoch != v->epoch &&
	       !ino->record_dirty && !ino->await_commit && !data_dirty(ino);
}

/* With the log's lock. */
static bool fits(const struct vlog *l, size_t len)
{
	size_t whole = log_frame_len(l->n_items + 1, l->boxes.len + len);

	return l->n_items < LOG_ENTRIES_MAX && whole <= LOG_FRAME_MAX && l->pos + whole <= l->size;
}

static int batch_add(struct volume *v, uint64_t id, const struct bytes_w *box, uint64_t *ret_ticket)
{
	struct vlog *l = v->log;
	int r = 0;

	pthread_mutex_lock(&l->lock);
	if (l->broken || !fits(l, box->len))
		r = -EAGAIN;
	else
		bytes_w_raw(&l->boxes, box->buf, box->len);
	if (r == 0 && l->boxes.err)
		r = l->boxes.err;
	if (r == 0) {
		l->items[l->n_items++] = (struct log_item){.id = id, .len = box->len};
		*ret_ticket = l->open_no;
	}
	/* In good time: a commit begins the log anew. */
	bool press = l->pos > l->size / 2;
	pthread_mutex_unlock(&l->lock);
	if (press && !v->wake_now) {
		v->wake_now = true;
		pthread_cond_signal(&v->wake);
	}
	return r;
}

static bool usable(struct volume *v)
{
	struct vlog *l = v->log;

	struct rstore_root root;

	/* The record store commits by itself where snapshots come and go. */
	rstore_root_get(v->rs, &root);
	pthread_mutex_lock(&l->lock);
	bool yes = l->ready && !l->broken && l->base.txn && l->base.txn == root.txn;
	l->n_wanted += !l->ready;
	pthread_mutex_unlock(&l->lock);
	return yes;
}

int log_add(struct volume *v, struct vinode *ino, uint64_t *ret_ticket)
{
	CLEANUP_BYTES struct bytes_w plain = {.wiped = true}, box = {0};

	if (S_ISREG(ino->attr.mode) && !v->read_only && !ino->destroyed && durable(v, ino)) {
		*ret_ticket = 0;
		return 0;
	}
	if (!may_log(v, ino) || !usable(v))
		return -EAGAIN;
	if (!ino->unlogged) {
		*ret_ticket = ino->log_ticket;
		return 0;
	}
	int r = log_entry_of(v, ino, &plain);
	if (r == 0)
		r = log_entry_seal(v, ino->id, &plain, &box);
	if (r == 0)
		r = batch_add(v, ino->id, &box, ret_ticket);
	if (r)
		return -EAGAIN; /* whatever it is, the ordinary commit will say */
	ino->unlogged = false;
	ino->logged_epoch = v->epoch;
	ino->log_ticket = *ret_ticket;
	if (!data_inline(ino))
		data_unlogged_clear(ino->file);
	return 0;
}

/* ---- writing ---- */

static int write_frame(struct vlog *l, size_t at)
{
	int r = durable_pwrite(l->fd, l->frame.buf, l->frame.len, (off_t)at);

	return r == 0 && fdatasync(l->fd) ? -errno : r;
}

/* With the log's lock, let go of while the medium works. */
static void write_batch(struct volume *v)
{
	struct vlog *l = v->log;
	struct log_keys keys = log_keys_of(v);
	struct log_place place = {.base = l->base, .seq = l->seq};
	uint64_t no = l->open_no++, generation = l->generation;
	size_t at = l->pos;

	memcpy(place.prev, l->prev, LOG_TAG_LEN);
	bytes_w_reset(&l->frame);
	l->frame.err = 0;
	int r = log_frame_seal(&keys, &place, l->items, l->n_items, &l->boxes, &l->frame, l->prev);
	l->n_items = 0;
	bytes_w_reset(&l->boxes);
	l->boxes.err = 0;
	l->pos += l->frame.len;
	l->seq++;
	l->writing = true;
	/* Behind a frame that failed none may follow: it would be taken for damage. */
	if (r == 0 && l->broken)
		r = -EIO;
	else if (r == 0) {
		pthread_mutex_unlock(&l->lock);
		r = write_frame(l, at);
		pthread_mutex_lock(&l->lock);
	}
	l->writing = false;
	if (r) {
		l->failed_no = no;
		l->n_failures += !l->broken;
		l->broken |= generation == l->generation;
	}
	if (l->done_no < no)
		l->done_no = no;
	pthread_cond_broadcast(&l->settled);
}

int log_wait(struct volume *v, uint64_t ticket)
{
	struct vlog *l = v->log;

	pthread_mutex_lock(&l->lock);
	while (l->done_no < ticket) {
		if (!l->writing && l->open_no == ticket)
			write_batch(v);
		else
			pthread_cond_wait(&l->settled, &l->lock);
	}
	/* A ticket below a failed one may have succeeded: then one commit more does no harm. */
	int r = ticket && ticket <= l->failed_no ? -EIO : 0;
	pthread_mutex_unlock(&l->lock);
	return r;
}

void log_restart(struct volume *v, const struct rstore_root *root)
{
	struct vlog *l = v->log;

	pthread_mutex_lock(&l->lock);
	if (l->base.txn != root->txn) {
		l->base = *root;
		l->seq = 0;
		memset(l->prev, 0, sizeof(l->prev));
		l->pos = 0;
		l->generation++;
		l->broken = l->n_failures >= LOG_FAILURES_MAX;
		l->done_no = l->open_no++;
		l->n_items = 0;
		bytes_w_reset(&l->boxes);
		l->boxes.err = 0;
		pthread_cond_broadcast(&l->settled);
	}
	pthread_mutex_unlock(&l->lock);
}

int log_erase(struct volume *v)
{
	struct vlog *l = v->log;

	pthread_mutex_lock(&l->lock);
	while (l->writing)
		pthread_cond_wait(&l->settled, &l->lock);
	int r = l->fd < 0 ? 0 : fill(l->fd, l->pos, l->size);
	pthread_mutex_unlock(&l->lock);
	return r;
}
