/*
 * Reading the log: at opening, to apply it; and for the check, to compare it with what was written.
 *
 * Entries of a frame are opened, all of them, before one is applied. A frame that does not open ends
 * the log, unless a frame of the same base stands anywhere behind it: no frame is written before the
 * one ahead of it is durable, so then something was changed or lost. The frames behind it are not
 * applied, because a file would show a later write without an earlier one; but their heads say which
 * files had acknowledged writes, and an alarm goes out for each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "fs/engine_internal.h"
#include "fs/log_internal.h"

struct reading {
	struct volume *v;
	struct log_keys keys;
	uint8_t *buf;
	size_t size, pos;
	struct log_place next;
	uint64_t n_frames;
};

/* What cannot be read is zeros: no frame. It matters only when it was one. */
static int load(struct volume *v, size_t size, struct reading *rd)
{
	*rd = (struct reading){
	    .v = v, .keys = log_keys_of(v), .size = size, .next.base = v->durable};
	rd->buf = calloc(1, size + 1);
	if (!rd->buf)
		return -ENOMEM;
	if (!size || durable_pread(v->log->fd, rd->buf, size, 0) == 0)
		return 0;
	for (size_t at = 0; at < size; at += LOG_UNIT) {
		if (durable_pread(v->log->fd, rd->buf + at, LOG_UNIT, (off_t)at))
			memset(rd->buf + at, 0, LOG_UNIT);
	}
	return 0;
}

static void unload(struct reading *rd)
{
	free(rd->buf);
}

/* The frame at pos, when it is the next one and its entries bear the tags that it names. */
static int next_frame(struct reading *rd, struct log_frame *f)
{
	int r = log_frame_open(&rd->keys, &rd->next.base, rd->buf + rd->pos, rd->size - rd->pos, f);

	if (r == 0 && (f->place.seq != rd->next.seq ||
		       memcmp(f->place.prev, rd->next.prev, LOG_TAG_LEN) != 0))
		r = -EBADMSG;
	return r;
}

static void pass(struct reading *rd, const struct log_frame *f)
{
	rd->pos += f->len;
	rd->next.seq++;
	memcpy(rd->next.prev, f->tag, LOG_TAG_LEN);
	rd->n_frames++;
}

/* The entry's plain bytes appended to out; -EKEYREVOKED: its file is destroyed. */
static int open_item(struct reading *rd, const struct log_item *it, struct bytes_w *out)
{
	return log_entry_open(rd->v, it->id, rd->buf + rd->pos + it->off, it->len, out);
}

/* Whether every entry opens. */
static int try_items(struct reading *rd, const struct log_frame *f)
{
	CLEANUP_BYTES struct bytes_w plain = {.wiped = true};
	struct log_entry e;
	int r = 0;

	for (unsigned i = 0; i < f->n_items && r == 0; i++) {
		r = open_item(rd, &f->items[i], &plain);
		if (r == 0)
			r = log_entry_decode(plain.buf, plain.len, &e);
		else if (r == -EKEYREVOKED)
			r = 0;
		bytes_w_reset(&plain);
	}
	return r;
}

static int apply_item(struct reading *rd, const struct log_item *it)
{
	CLEANUP_BYTES struct bytes_w plain = {.wiped = true};
	struct volume *v = rd->v;
	struct log_entry e;
	struct vinode *ino;
	int r = open_item(rd, it, &plain);

	if (r == 0)
		r = log_entry_decode(plain.buf, plain.len, &e);
	if (r == 0)
		r = inode_get(v, it->id, &ino);
	if (r == 0) {
		if (!ino->orphan)
			r = log_entry_apply(v, ino, &e);
		inode_unpin(v, ino);
	}
	/* The commit that the frame stands on has the file: its absence is damage. What is damaged
	 * answers for itself when it is read; the other files' writes are not held up by it. */
	if (r == -ENOENT)
		r = -EUCLEAN;
	if (r == -EUCLEAN || r == -EIO)
		(void)engine_fault(v, -EUCLEAN, it->id, "log", rd->pos);
	return r == -EUCLEAN || r == -EIO || r == -EKEYREVOKED ? 0 : r;
}

static int apply_frame(struct reading *rd, const struct log_frame *f)
{
	int r = 0;

	for (unsigned i = 0; i < f->n_items && r == 0; i++) {
		r = apply_item(rd, &f->items[i]);
		/* A volume that was filled up must open still. */
		while ((r == -ENOSPC || r == -EDQUOT) && reserve_release(rd->v))
			r = apply_item(rd, &f->items[i]);
	}
	return r;
}

/* ---- behind the end ---- */

/* Alarms for what stands behind pos and belongs to this base; whether anything does. */
static bool report_behind(struct reading *rd)
{
	struct log_frame f;
	bool any = false;

	for (size_t at = rd->pos; at < rd->size;) {
		int r = log_frame_open(&rd->keys, &rd->next.base, rd->buf + at, rd->size - at, &f);
		/* The frame at pos itself is damage only by what is behind it, or by being another. */
		bool torn = at == rd->pos && (r == -ENODATA || f.place.seq == rd->next.seq);

		if (r == -ENODATA || torn) {
			at += LOG_UNIT;
			continue;
		}
		if (!any)
			(void)engine_fault(rd->v, -EBADMSG, 0, "log", rd->pos);
		any = true;
		for (unsigned i = 0; r != -EUCLEAN && i < f.n_items; i++)
			(void)engine_fault(rd->v, -EBADMSG, f.items[i].id, "log", at);
		at += r == -EUCLEAN ? LOG_UNIT : f.len;
	}
	return any;
}

/* ---- opening ---- */

int log_replay(struct volume *v)
{
	CLEANUP_WITH(unload) struct reading rd = {0};
	struct log_frame f;

	if (v->log->fd < 0)
		return 0;
	int r = load(v, v->log->size, &rd);
	if (r)
		return r;
	while (rd.pos < rd.size && next_frame(&rd, &f) == 0) {
		r = try_items(&rd, &f);
		if (r == -EBADMSG || r == -EUCLEAN)
			break;
		if (r == 0)
			r = apply_frame(&rd, &f);
		if (r)
			return r;
		pass(&rd, &f);
	}
	if (report_behind(&rd)) {
		v->log->damaged = true;
		v->log->damaged_off = rd.pos;
	}
	return 0;
}

/* ---- checking ---- */

int log_verify(struct volume *v, uint64_t *ret_n, uint64_t *ret_bad, uint64_t *ret_bad_off)
{
	CLEANUP_WITH(unload) struct reading rd = {0};
	struct vlog *l = v->log;
	struct log_frame f;

	*ret_bad = l->damaged;
	*ret_bad_off = l->damaged_off;
	*ret_n = 0;
	pthread_mutex_lock(&l->lock);
	while (l->writing)
		pthread_cond_wait(&l->settled, &l->lock);
	size_t len = l->fd >= 0 && !l->broken ? l->pos : 0;
	pthread_mutex_unlock(&l->lock);
	int r = load(v, len, &rd);
	if (r)
		return r;
	while (rd.pos < rd.size) {
		if (next_frame(&rd, &f) || try_items(&rd, &f)) {
			++*ret_bad;
			*ret_bad_off = rd.pos;
			break;
		}
		pass(&rd, &f);
	}
	*ret_n = rd.n_frames;
	return 0;
}
