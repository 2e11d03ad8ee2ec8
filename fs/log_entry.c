/*
 * What a frame of the log says of one file: its attributes, the runs of blocks that changed, how
 * short it was cut in between; or its whole content while that is in the inode record. Applying it
 * twice is no different from once, so a replay that a power cut interrupts begins again.
 * docs/format.md "Log".
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/secret.h"
#include "fs/data_internal.h"
#include "fs/log.h"

#define ENTRY_VERSION 1
#define ENTRY_INLINE 1u
#define LABEL "coffer-log"
#define LABEL_LEN (sizeof(LABEL) - 1)
#define AD_LEN (LABEL_LEN + 16 + 8)

/* ---- codec ---- */

static void put_time(struct bytes_w *w, struct timespec t)
{
	bytes_w_u64(w, (uint64_t)t.tv_sec);
	bytes_w_u32(w, (uint32_t)t.tv_nsec);
}

static struct timespec get_time(struct bytes_r *r)
{
	struct timespec t = {.tv_sec = (time_t)bytes_r_u64(r)};

	t.tv_nsec = bytes_r_u32(r);
	if (t.tv_nsec >= 1000000000L)
		bytes_r_fail(r);
	return t;
}

static void encode_runs(const struct log_entry *e, struct bytes_w *out)
{
	bytes_w_varint(out, e->n_runs);
	for (unsigned i = 0; i < e->n_runs; i++) {
		bytes_w_varint(out, e->runs[i].first);
		bytes_w_varint(out, e->runs[i].n);
		bytes_w_u8(out, e->runs[i].hole);
	}
	for (unsigned i = 0; i < e->n_runs; i++) {
		if (!e->runs[i].hole)
			bytes_w_raw(out, e->runs[i].data, e->runs[i].n * MAP_BLOCK);
	}
}

void log_entry_encode(const struct log_entry *e, struct bytes_w *out)
{
	bytes_w_u8(out, ENTRY_VERSION);
	bytes_w_u8(out, e->is_inline ? ENTRY_INLINE : 0);
	bytes_w_u32(out, e->mode);
	bytes_w_u32(out, e->uid);
	bytes_w_u32(out, e->gid);
	put_time(out, e->atime);
	put_time(out, e->mtime);
	put_time(out, e->ctime);
	bytes_w_u64(out, e->size);
	bytes_w_u64(out, e->cut);
	if (e->is_inline)
		bytes_w_raw(out, e->inline_data, (size_t)e->size);
	else
		encode_runs(e, out);
}

static void decode_runs(struct bytes_r *r, struct log_entry *e)
{
	uint64_t n = bytes_r_varint(r);

	if (n > LOG_RUNS_MAX)
		bytes_r_fail(r);
	for (unsigned i = 0; i < n && !r->err; i++) {
		struct log_run *run = &e->runs[e->n_runs++];

		run->first = bytes_r_varint(r);
		run->n = bytes_r_varint(r);
		uint8_t kind = bytes_r_u8(r);
		run->hole = kind != 0;
		if (kind > 1 || !run->n || run->n > VOLUME_SIZE_MAX / MAP_BLOCK ||
		    run->first > VOLUME_SIZE_MAX / MAP_BLOCK - run->n)
			bytes_r_fail(r);
	}
	for (unsigned i = 0; i < e->n_runs && !r->err; i++) {
		struct log_run *run = &e->runs[i];

		if (!run->hole && run->n > r->left / MAP_BLOCK)
			bytes_r_fail(r);
		else if (!run->hole)
			run->data = bytes_r_raw(r, (size_t)run->n * MAP_BLOCK);
	}
}

int log_entry_decode(const void *p, size_t len, struct log_entry *ret)
{
	struct bytes_r r = bytes_r_init(p, len);
	struct log_entry e = {0};

	if (bytes_r_u8(&r) != ENTRY_VERSION)
		return -EUCLEAN;
	uint8_t flags = bytes_r_u8(&r);
	e.is_inline = flags & ENTRY_INLINE;
	e.mode = bytes_r_u32(&r);
	e.uid = bytes_r_u32(&r);
	e.gid = bytes_r_u32(&r);
	e.atime = get_time(&r);
	e.mtime = get_time(&r);
	e.ctime = get_time(&r);
	e.size = bytes_r_u64(&r);
	e.cut = bytes_r_u64(&r);
	if ((flags & ~ENTRY_INLINE) || !S_ISREG(e.mode) || (e.mode & ~(uint32_t)(S_IFMT | 07777)) ||
	    e.size > VOLUME_SIZE_MAX || (e.is_inline && e.size > VOLUME_INLINE_MAX))
		bytes_r_fail(&r);
	if (e.is_inline && !r.err)
		e.inline_data = bytes_r_raw(&r, (size_t)e.size);
	else if (!r.err)
		decode_runs(&r, &e);
	int err = bytes_r_done(&r);
	if (err == 0)
		*ret = e;
	return err;
}

/* ---- sealing ---- */

static void make_ad(struct volume *v, uint64_t id, uint8_t ad[AD_LEN])
{
	memcpy(ad, LABEL, LABEL_LEN);
	memcpy(ad + LABEL_LEN, keyring_volume_id(v->kr), 16);
	bytes_put64(ad + LABEL_LEN + 16, id);
}

int log_entry_seal(struct volume *v, uint64_t id, const struct bytes_w *plain, struct bytes_w *out)
{
	uint8_t key[KDF_KEY_LEN], ad[AD_LEN];
	int r = engine_subkey(v, id, "log", key);
	uint8_t *box = r ? NULL : bytes_w_room(out, plain->len + SUITE_BOX_OVERHEAD);

	if (!box)
		return r ? r : -ENOMEM;
	make_ad(v, id, ad);
	suite_seal(keyring_suite(v->kr), key, ad, sizeof(ad), plain->buf, plain->len, box);
	secret_wipe(key, sizeof(key));
	return 0;
}

int log_entry_open(struct volume *v, uint64_t id, const uint8_t *box, size_t len,
		   struct bytes_w *out)
{
	uint8_t key[KDF_KEY_LEN], ad[AD_LEN];
	int r = engine_subkey(v, id, "log", key);
	uint8_t *plain = r ? NULL : bytes_w_room(out, len - SUITE_BOX_OVERHEAD);

	if (!plain)
		return r ? r : -ENOMEM;
	make_ad(v, id, ad);
	r = suite_open(keyring_suite(v->kr), key, ad, sizeof(ad), box, len, plain);
	secret_wipe(key, sizeof(key));
	return r;
}

/* ---- from an inode ---- */

/* A run of like blocks from `first`, before `end`. */
static int next_run(struct volume *v, struct vinode *ino, uint64_t first, uint64_t end,
		    uint8_t *io_data, struct log_run *ret)
{
	struct map_entry e[DATA_UNLOGGED_BLOCKS];
	size_t n = (size_t)(end - first), i = 1;
	int r = data_entries(v, ino, first, n, e);

	if (r < 0)
		return r;
	*ret = (struct log_run){.first = first, .hole = e[0].slot == MAP_HOLE};
	while (i < n && (e[i].slot == MAP_HOLE) == ret->hole)
		i++;
	ret->n = i;
	if (ret->hole)
		return 0;
	ret->data = io_data;
	return data_fetch(v, ino, first, i, io_data, DATA_KEEP);
}

static int collect_runs(struct volume *v, struct vinode *ino, struct log_entry *e, uint8_t *data)
{
	const struct data_unlogged *u = &ino->file->unlogged;
	uint64_t size = (e->size + MAP_BLOCK - 1) / MAP_BLOCK;

	for (unsigned i = 0; i < u->n_runs; i++) {
		uint64_t first = u->runs[i].first, end = first + u->runs[i].n;

		/* What lies beyond the end was cut off since. */
		end = end < size ? end : size;
		while (first < end) {
			if (e->n_runs == LOG_RUNS_MAX)
				return -E2BIG;
			struct log_run *run = &e->runs[e->n_runs];
			int r = next_run(v, ino, first, end, data, run);
			if (r < 0)
				return r;
			e->n_runs++;
			first += run->n;
			data += run->hole ? 0 : run->n * MAP_BLOCK;
		}
	}
	return 0;
}

/* What the runs have of the buffer; one that failed half way is counted. */
static size_t data_len(const struct log_entry *e)
{
	size_t n = 0;

	for (unsigned i = 0; i < LOG_RUNS_MAX; i++)
		n += e->runs[i].hole ? 0 : (size_t)e->runs[i].n * MAP_BLOCK;
	return n;
}

int log_entry_of(struct volume *v, struct vinode *ino, struct bytes_w *out)
{
	uint8_t data[DATA_UNLOGGED_BLOCKS * MAP_BLOCK];
	const struct volume_attr *a = &ino->attr;
	struct log_entry e = {.mode = a->mode,
			      .uid = a->uid,
			      .gid = a->gid,
			      .atime = a->atime,
			      .mtime = a->mtime,
			      .ctime = a->ctime,
			      .size = a->size,
			      .cut = UINT64_MAX};
	int r = 0;

	if (data_inline(ino)) {
		e.is_inline = true;
		e.inline_data = ino->inline_data;
	} else {
		if (ino->file->unlogged.too_much)
			return -E2BIG;
		e.cut = ino->file->unlogged.cut;
		r = collect_runs(v, ino, &e, data);
	}
	if (r == 0) {
		log_entry_encode(&e, out);
		r = out->err;
	}
	secret_wipe(data, data_len(&e));
	return r;
}

/* ---- to an inode ---- */

static int apply_run(struct volume *v, struct vinode *ino, const struct log_run *run)
{
	uint64_t off = run->first * MAP_BLOCK, len = run->n * MAP_BLOCK;

	if (off >= ino->attr.size)
		return -EUCLEAN;
	len = len < ino->attr.size - off ? len : ino->attr.size - off;
	return run->hole ? data_punch(v, ino, off, len)
			 : data_write(v, ino, run->data, (size_t)len, off);
}

static int apply_content(struct volume *v, struct vinode *ino, const struct log_entry *e)
{
	int r = 0;

	if (e->is_inline) {
		if (!data_inline(ino))
			return -EUCLEAN;
		r = data_truncate(v, ino, 0);
		return r ? r : data_write(v, ino, e->inline_data, (size_t)e->size, 0);
	}
	if (e->cut < ino->attr.size)
		r = data_truncate(v, ino, e->cut);
	if (r == 0)
		r = data_truncate(v, ino, e->size);
	for (unsigned i = 0; r == 0 && i < e->n_runs; i++)
		r = apply_run(v, ino, &e->runs[i]);
	return r;
}

int log_entry_apply(struct volume *v, struct vinode *ino, const struct log_entry *e)
{
	int r = apply_content(v, ino, e);

	/* Who may read it holds for a part of the content as well; that it is the content of then, which
	 * is what programs take the times for, only for all of it. */
	ino->attr.mode = e->mode;
	ino->attr.uid = e->uid;
	ino->attr.gid = e->gid;
	ino->attr.ctime = e->ctime;
	if (r == 0) {
		ino->attr.atime = e->atime;
		ino->attr.mtime = e->mtime;
	}
	ino->logged_epoch = v->epoch; /* published by the first commit */
	inode_mark_dirty(v, ino);
	return r;
}
