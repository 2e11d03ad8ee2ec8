/*
 * Appending: an event becomes a frame in memory and in the tail file, or neither.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/durable.h"
#include "core/trail_internal.h"

/* A new tail file with the frames; durable, whatever became of the old one. */
static int tail_renew(struct trail *t)
{
	int r = durable_replace(t->dir_fd, "tail", t->frames.buf ? t->frames.buf : (uint8_t *)"",
				t->frames.len, 0600);

	if (r)
		return r;
	t->tail_fd = openat(t->dir_fd, "tail", O_WRONLY | O_CLOEXEC);
	if (t->tail_fd < 0)
		return -errno;
	t->written = t->frames.len;
	t->synced = t->head.size + t->n_frames;
	t->unsynced_ns = 0;
	return 0;
}

/* The tail file's frames all end up at the offset that they have in memory. */
int trail_tail_flush(struct trail *t, bool sync)
{
	if (t->tail_fd < 0)
		return tail_renew(t);
	if (t->written < t->frames.len) {
		int r = durable_pwrite(t->tail_fd, t->frames.buf + t->written,
				       t->frames.len - t->written, (off_t)t->written);
		if (r)
			return r;
		t->written = t->frames.len;
	}
	if (!sync || t->synced == t->head.size + t->n_frames)
		return 0;
	if (fdatasync(t->tail_fd) < 0) {
		int r = -errno;
		close(t->tail_fd);
		t->tail_fd = -1;
		return r;
	}
	t->synced = t->head.size + t->n_frames;
	t->unsynced_ns = 0;
	return 0;
}

/* Takes the last frame back, so that a failed append leaves no entry behind. */
static void frame_undo(struct trail *t, size_t len)
{
	t->frames.len = len;
	t->frames.err = 0;
	t->n_frames--;
	if (t->written > len)
		t->written = len;
	/* Best effort: half a frame at the end is left out when the tail is next read. */
	if (t->tail_fd >= 0 && ftruncate(t->tail_fd, (off_t)len) < 0)
		return;
}

static int append_locked(struct trail *t, struct trail_event *ev, const struct trail_name *name,
			 bool durable)
{
	uint8_t entry[TRAIL_ENTRY_MAX];
	size_t before = t->frames.len;
	struct trail_frame f = {
	    .index = t->head.size + t->n_frames,
	    .synced = t->synced,
	    .entry = entry,
	};

	if (!ev->time_ns)
		ev->time_ns = trail_clock(CLOCK_REALTIME);
	int r = trail_event_seal(&t->keys, f.index, ev, trail_account(t), name, entry, &f.len);
	if (r)
		return r;
	trail_frame_put(&t->frames, &f);
	t->n_frames++;
	r = t->frames.err ? t->frames.err : trail_tail_flush(t, durable);
	if (r) {
		frame_undo(t, before);
		return r;
	}
	int64_t now = trail_clock(CLOCK_BOOTTIME);
	if (t->n_frames == 1)
		t->oldest_ns = now;
	if (!t->unsynced_ns && t->synced <= f.index)
		t->unsynced_ns = now;
	return 0;
}

int trail_append(struct trail *t, const struct trail_event *ev, bool durable)
{
	struct trail_event copy = *ev;
	struct trail_name name;

	/* The name's keys come from the keyring, whose locks come before ours. */
	int r = trail_name_seal(&t->keys, ev, &name);
	if (r)
		return r;
	pthread_mutex_lock(&t->lock);
	r = append_locked(t, &copy, &name, durable);
	bool due = !r && t->n_frames % TRAIL_DUE_ENTRIES == 0;
	pthread_mutex_unlock(&t->lock);
	/*
	 * When the checkpoint fails the entry stands all the same: trail_tick will try, and
	 * report.
	 */
	if (due && pthread_mutex_trylock(&t->fold_lock) == 0) {
		trail_fold(t);
		pthread_mutex_unlock(&t->fold_lock);
	}
	return r;
}
