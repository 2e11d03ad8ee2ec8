/*
 * Reading a file's content, and what the rest of the engine may ask about it.
 *
 * Content of up to VOLUME_INLINE_MAX bytes lies in the inode (no struct vfile); anything else in
 * blocks, and it never goes back. Nothing is mapped wholly beyond the end of the file, and what the
 * last block holds beyond it is zero, so that growing shows zeros. Blocks are opened in the
 * caller's buffer, without the engine lock (fs/data_internal.h says why that is safe); a tag that
 * does not fit is -EIO for the whole request, because a short answer would be taken for zeros.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/secret.h"
#include "fs/data_internal.h"

/* ---- state ---- */

bool data_inline(const struct vinode *ino)
{
	return !ino->file || ino->inline_data;
}

int data_attach(struct volume *v, struct vinode *ino, uint64_t n_slots, uint64_t n_mapped)
{
	if (n_slots > MAP_SLOT_END || n_mapped > n_slots)
		return -EUCLEAN;
	ino->file = data_file_new(v, ino->id);
	if (!ino->file)
		return -ENOMEM;
	ino->file->n_slots = n_slots;
	ino->file->n_mapped = n_mapped;
	return 0;
}

void data_figures(const struct vinode *ino, uint64_t *ret_slots, uint64_t *ret_mapped)
{
	*ret_slots = ino->file ? ino->file->n_slots : 0;
	*ret_mapped = ino->file ? ino->file->n_mapped : 0;
}

bool data_dirty(const struct vinode *ino)
{
	if (ino->destroyed || data_inline(ino))
		return false;
	return ino->file->n_dirty || ino->published_size != ino->attr.size;
}

int data_sync_fd(struct volume *v, struct vinode *ino)
{
	return ino->destroyed || data_inline(ino) ? -1 : object_dirty_fd(v, ino->id);
}

/* ---- opening blocks ---- */

/* How many entries from the first lie in slots that follow each other. */
static size_t slot_run(const struct map_entry *e, size_t n)
{
	size_t i = 1;

	while (i < n && e[i].slot == e[0].slot + i)
		i++;
	return i;
}

/* What a block whose object is missing or too short fails with is no different from a wrong tag. */
static int read_slots(struct volume *v, uint64_t id, uint64_t slot, void *buf, size_t n)
{
	int r = object_pread(v, id, slot, buf, n);

	return r == -ENODATA || r == -ENOENT ? -EBADMSG : r;
}

static int open_block(struct volume *v, const struct suite_key *key, uint64_t id, uint64_t block,
		      const struct map_entry *e, uint8_t *buf)
{
	uint8_t ad[DATA_AD_LEN];

	data_ad(v, id, block, ad);
	return suite_block_open(key, e->counter, ad, sizeof(ad), buf, MAP_BLOCK, e->tag, buf);
}

/*
 * Entries and keys of as many of n blocks as DATA_IO_KEYS sessions cover: at least one, or none
 * and an error.
 */
static int plan_fetch(struct volume *v, struct vinode *ino, uint64_t first, size_t n,
		      struct data_io *io)
{
	int r = data_entries(v, ino, first, n, io->e);

	io->first = first;
	for (; r == 0 && io->n < n; io->n++) {
		const struct map_entry *e = &io->e[io->n];

		if (e->slot != MAP_HOLE)
			r = data_io_key(v, io, ino->id, e->session, &io->key_no[io->n]);
		if (r < 0)
			break;
	}
	if (r == -ENOBUFS)
		return 0;
	return engine_fault(v, r, ino->id, "block", (first + io->n) * MAP_BLOCK);
}

/* Scattered blocks come from the medium all at once rather than one after the other. */
static void prefetch(struct volume *v, uint64_t id, const struct data_io *io)
{
	for (size_t i = 0, n; i < io->n; i += n) {
		n = io->e[i].slot == MAP_HOLE ? 1 : slot_run(io->e + i, io->n - i);
		if (n < io->n && io->e[i].slot != MAP_HOLE)
			object_prefetch(v, id, io->e[i].slot, n);
	}
}

static size_t n_runs(const struct data_io *io)
{
	size_t runs = 0;

	for (size_t i = 0; i < io->n; i++)
		runs += io->e[i].slot != MAP_HOLE &&
			(!i || io->e[i].slot != io->e[i - 1].slot + 1);
	return runs;
}

/* With or without the lock. *ret_at is the block that failed. */
static int read_and_open(struct volume *v, uint64_t id, const struct data_io *io, uint8_t *buf,
			 size_t *ret_at)
{
	int r = 0;

	prefetch(v, id, io);
	for (size_t i = 0, n; r == 0 && i < io->n; i += n) {
		n = 1;
		*ret_at = i;
		if (io->e[i].slot == MAP_HOLE) {
			memset(buf + i * MAP_BLOCK, 0, MAP_BLOCK);
			continue;
		}
		n = slot_run(io->e + i, io->n - i);
		r = read_slots(v, id, io->e[i].slot, buf + i * MAP_BLOCK, n);
		for (size_t k = i; r == 0 && k < i + n; k++) {
			*ret_at = k;
			r = open_block(v, &io->keys[io->key_no[k]], id, io->first + k, &io->e[k],
				       buf + k * MAP_BLOCK);
		}
	}
	return r;
}

/* *io_n blocks, or fewer when they are of many sessions. *ret_at as above. */
static int fetch_some(struct volume *v, struct vinode *ino, uint64_t first, size_t *io_n,
		      uint8_t *buf, enum data_lock lock, size_t *ret_at)
{
	struct data_io *io;
	int r = data_io_get(v, lock, false, &io);

	if (r < 0)
		return r;
	if (ino->destroyed)
		r = -EIO;
	else
		r = plan_fetch(v, ino, first, *io_n, io);
	if (r == 0 && lock == DATA_YIELD) {
		unsigned generation = data_space_reader(ino->file);

		data_scattered(ino->file, n_runs(io));
		pthread_mutex_unlock(&v->lock);
		r = read_and_open(v, ino->id, io, buf, ret_at);
		pthread_mutex_lock(&v->lock);
		if (!ino->destroyed)
			data_space_reader_gone(v, ino->file, generation);
		else if (r < 0)
			r = -EIO;
	} else if (r == 0) {
		r = read_and_open(v, ino->id, io, buf, ret_at);
	}
	*io_n = io->n;
	data_io_put(v, io);
	return r;
}

int data_fetch(struct volume *v, struct vinode *ino, uint64_t first, size_t n, uint8_t *buf,
	       enum data_lock lock)
{
	size_t part = 0, at = 0;

	for (size_t i = 0; i < n; i += part) {
		uint8_t *to = buf + i * MAP_BLOCK;

		part = n - i;
		int r = fetch_some(v, ino, first + i, &part, to, lock, &at);
		if (r == -EBADMSG && lock == DATA_YIELD) {
			/* Before it is called damage: nothing can change under the lock. */
			part = n - i;
			r = fetch_some(v, ino, first + i, &part, to, DATA_KEEP, &at);
		}
		if (r < 0)
			return engine_fault(v, r, ino->id, "block", (first + i + at) * MAP_BLOCK);
	}
	return 0;
}

int data_read_entries(struct volume *v, uint64_t id, uint64_t group, const struct map_group *g,
		      unsigned first, unsigned n, void *buf)
{
	struct suite_key key;
	uint8_t *at = buf;
	int r = 0;

	for (unsigned i = first, part; r == 0 && i < first + n; i += part) {
		part = (unsigned)slot_run(&g->e[i], first + n - i);
		r = read_slots(v, id, g->e[i].slot, at + (size_t)(i - first) * MAP_BLOCK, part);
	}
	for (unsigned i = first; r == 0 && i < first + n; i++) {
		const struct map_entry *e = &g->e[i];

		if (i == first || memcmp(e->session, e[-1].session, MAP_SESSION_LEN))
			r = engine_block_key(v, id, e->session, &key);
		if (r == 0)
			r = open_block(v, &key, id, group * MAP_GROUP + i, e,
				       at + (size_t)(i - first) * MAP_BLOCK);
	}
	secret_wipe(&key, sizeof(key));
	return r;
}

/* ---- reading ---- */

/* Part of one block, by way of a whole one. */
static int read_part(struct volume *v, struct vinode *ino, uint8_t *buf, size_t len, uint64_t off)
{
	uint8_t block[MAP_BLOCK];
	int r = data_fetch(v, ino, off / MAP_BLOCK, 1, block, DATA_YIELD);

	if (r == 0)
		memcpy(buf, block + off % MAP_BLOCK, len);
	secret_wipe(block, sizeof(block));
	return r;
}

static int read_blocks(struct volume *v, struct vinode *ino, uint8_t *buf, size_t len, uint64_t off)
{
	while (len) {
		size_t in = off % MAP_BLOCK, n;
		int r;

		if (in || len < MAP_BLOCK) {
			n = MAP_BLOCK - in < len ? MAP_BLOCK - in : len;
			r = read_part(v, ino, buf, n, off);
		} else {
			n = len / MAP_BLOCK < DATA_CHUNK ? len / MAP_BLOCK : DATA_CHUNK;
			r = data_fetch(v, ino, off / MAP_BLOCK, n, buf, DATA_YIELD);
			n *= MAP_BLOCK;
		}
		if (r < 0)
			return r;
		buf += n;
		off += n;
		len -= n;
	}
	return 0;
}

ssize_t data_read(struct volume *v, struct vinode *ino, void *buf, size_t len, uint64_t off)
{
	if (ino->destroyed)
		return -EIO;
	if (off >= ino->attr.size)
		return 0;
	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	if (len > ino->attr.size - off)
		len = (size_t)(ino->attr.size - off);
	if (data_inline(ino)) {
		memcpy(buf, ino->inline_data + off, len);
		return (ssize_t)len;
	}
	int r = read_blocks(v, ino, buf, len, off);
	if (r < 0)
		return r;
	if (ino->destroyed)
		return -EIO;
	/* Cut meanwhile: the zeros of holes that were never there are not shown. */
	if (ino->attr.size < off + len)
		len = ino->attr.size > off ? (size_t)(ino->attr.size - off) : 0;
	return (ssize_t)len;
}

/* ---- seeking ---- */

/* The first block of the group at or after `from` that is a hole, or is not; MAP_GROUP when there
 * is none. */
static unsigned find_in_group(const struct data_group *g, unsigned from, bool hole)
{
	while (from < MAP_GROUP && (!g->m || g->m->e[from].slot == MAP_HOLE) != hole)
		from++;
	return from;
}

/* The next group that may hold data; -ENXIO when there is none. */
static int next_group(struct volume *v, struct vinode *ino, uint64_t from, uint64_t *ret)
{
	CLEANUP_FREE uint64_t *list = NULL;
	uint64_t end = (ino->attr.size + MAP_GROUP_BYTES - 1) / MAP_GROUP_BYTES;
	size_t n = 0;
	int r = data_groups_in(v, ino, from, end, 1, &list, &n);

	if (r == 0 && n == 0)
		return -ENXIO;
	if (r == 0)
		*ret = list[0];
	return r;
}

static int seek_blocks(struct volume *v, struct vinode *ino, uint64_t off, bool hole, uint64_t *ret)
{
	uint64_t block = off / MAP_BLOCK, end = (ino->attr.size + MAP_BLOCK - 1) / MAP_BLOCK;

	while (block < end) {
		uint64_t no = block / MAP_GROUP;
		struct data_group *g;
		int r = hole ? 0 : next_group(v, ino, no, &no);

		if (r == 0)
			r = data_group_get(v, ino, no, &g);
		if (r < 0)
			return r;
		unsigned i = no == block / MAP_GROUP ? block % MAP_GROUP : 0;
		i = find_in_group(g, i, hole);
		block = no * MAP_GROUP + i;
		if (i < MAP_GROUP)
			break;
	}
	if (block >= end && !hole)
		return -ENXIO;
	*ret = block * MAP_BLOCK > off ? block * MAP_BLOCK : off;
	*ret = *ret < ino->attr.size ? *ret : ino->attr.size;
	return 0;
}

int data_seek(struct volume *v, struct vinode *ino, uint64_t off, int whence, uint64_t *ret)
{
	bool hole = whence == SEEK_HOLE;

	if (ino->destroyed)
		return -EIO;
	if (!hole && whence != SEEK_DATA)
		return -EINVAL;
	if (off >= ino->attr.size)
		return -ENXIO;
	/* Without a hole in the file, which most are, no map need be looked at. */
	if (data_inline(ino) ||
	    ino->file->n_mapped >= (ino->attr.size + MAP_BLOCK - 1) / MAP_BLOCK) {
		*ret = hole ? ino->attr.size : off;
		return 0;
	}
	return seek_blocks(v, ino, off, hole, ret);
}
