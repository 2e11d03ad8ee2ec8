/*
 * Changing a file's content: writing, cutting, punching, and the move from the inode to blocks.
 *
 * Writing lets go of the engine lock while blocks are sealed and written (fs/data_store.c), listed
 * as a writer of its range. What makes holes keeps the lock, once no writer is left.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/secret.h"
#include "fs/data_internal.h"

static uint64_t blocks_of(uint64_t size)
{
	return (size + MAP_BLOCK - 1) / MAP_BLOCK;
}

/* ---- parts of blocks ---- */

/* Replaces len bytes of one block, with zeros when src is NULL. w as for data_store. */
static int store_part(struct volume *v, struct vinode *ino, uint64_t off, const uint8_t *src,
		      size_t len, struct data_writer *w)
{
	uint8_t block[MAP_BLOCK];
	size_t done;
	int r = data_fetch(v, ino, off / MAP_BLOCK, 1, block, w ? DATA_YIELD : DATA_KEEP);

	if (r == 0) {
		if (src)
			memcpy(block + off % MAP_BLOCK, src, len);
		else
			memset(block + off % MAP_BLOCK, 0, len);
		r = data_store(v, ino, off / MAP_BLOCK, 1, block, w, &done);
	}
	secret_wipe(block, sizeof(block));
	return r;
}

/* Zeroes part of one block; a hole stays one. */
static int zero_part(struct volume *v, struct vinode *ino, uint64_t off, size_t len)
{
	struct map_entry e;
	int r;

	if (!len)
		return 0;
	r = data_entries(v, ino, off / MAP_BLOCK, 1, &e);
	if (r < 0 || e.slot == MAP_HOLE)
		return r;
	return store_part(v, ino, off, NULL, len, NULL);
}

/* ---- inline content ---- */

/* Gives the inline content this length, zeros at its end. */
static int inline_resize(struct vinode *ino, size_t len)
{
	uint8_t *p = len ? calloc(1, len) : NULL;

	if (len && !p)
		return -ENOMEM;
	if (p && ino->inline_data)
		memcpy(p, ino->inline_data, ino->inline_len < len ? ino->inline_len : len);
	if (ino->inline_data)
		secret_wipe(ino->inline_data, ino->inline_len);
	free(ino->inline_data);
	ino->inline_data = p;
	ino->inline_len = len;
	ino->attr.size = len;
	return 0;
}

static int inline_write(struct vinode *ino, const void *buf, size_t len, uint64_t off)
{
	int r = off + len > ino->inline_len ? inline_resize(ino, (size_t)(off + len)) : 0;

	if (r == 0)
		memcpy(ino->inline_data + off, buf, len);
	return r;
}

/* From here on in blocks. After a failure the content is inline as it was. */
static int leave_inline(struct volume *v, struct vinode *ino)
{
	uint8_t block[MAP_BLOCK] = {0};
	size_t done;

	ino->file = data_file_new(v, ino->id);
	if (!ino->file)
		return -ENOMEM;
	/* The record may hold other content than this: for the log the file begins anew. */
	data_unlogged_cut(ino->file, 0);
	if (!ino->inline_data)
		return 0;
	memcpy(block, ino->inline_data, ino->inline_len);
	int r = data_store(v, ino, 0, 1, block, NULL, &done);
	secret_wipe(block, sizeof(block));
	if (r < 0) {
		/* What was made of an object has no record that would remember it. */
		data_forget(ino);
		(void)object_unlink(v, ino->id);
		return r;
	}
	secret_wipe(ino->inline_data, ino->inline_len);
	free(ino->inline_data);
	ino->inline_data = NULL;
	ino->inline_len = 0;
	return 0;
}

/* ---- writing ---- */

static void grow_to(struct vinode *ino, uint64_t end)
{
	if (ino->attr.size < end)
		ino->attr.size = end;
}

static int write_blocks(struct volume *v, struct vinode *ino, const uint8_t *buf, size_t len,
			uint64_t off, struct data_writer *w)
{
	while (len) {
		size_t in = off % MAP_BLOCK, n, done = 0;
		int r;

		if (in || len < MAP_BLOCK) {
			n = MAP_BLOCK - in < len ? MAP_BLOCK - in : len;
			r = store_part(v, ino, off, buf, n, w);
		} else {
			n = len / MAP_BLOCK < DATA_CHUNK ? len / MAP_BLOCK : DATA_CHUNK;
			r = data_store(v, ino, off / MAP_BLOCK, n, buf, w, &done);
			n *= MAP_BLOCK;
		}
		/* What is in the map must be within the size, or growth would show it. */
		if (r < 0 && done)
			grow_to(ino, off + done * MAP_BLOCK);
		if (r < 0)
			return r;
		grow_to(ino, off + n);
		buf += n;
		off += n;
		len -= n;
	}
	return 0;
}

int data_write(struct volume *v, struct vinode *ino, const void *buf, size_t len, uint64_t off)
{
	if (ino->destroyed)
		return -EIO;
	if (off > VOLUME_SIZE_MAX || len > VOLUME_SIZE_MAX - off)
		return -EFBIG;
	if (!len)
		return 0;
	inode_mark_dirty(v, ino);
	if (data_inline(ino) && off + len <= VOLUME_INLINE_MAX)
		return inline_write(ino, buf, len, off);
	struct data_writer w;
	int r = data_inline(ino) ? leave_inline(v, ino) : 0;
	if (r == 0)
		r = data_writer_begin(v, ino, off / MAP_BLOCK, blocks_of(off + len), &w);
	if (r < 0)
		return r;
	r = write_blocks(v, ino, buf, len, off, &w);
	data_writer_end(v, ino, &w);
	return r;
}

/* ---- cutting and punching ---- */

static int free_in_group(struct volume *v, struct vinode *ino, uint64_t no, uint64_t first,
			 uint64_t end)
{
	uint64_t base = no * MAP_GROUP;
	struct data_group *g;
	int r = data_group_get(v, ino, no, &g);

	if (r < 0 || !g->m)
		return r;
	r = data_group_edit(v, ino, no, &g);
	for (unsigned i = 0; r == 0 && i < MAP_GROUP; i++) {
		struct map_entry *e = &g->m->e[i];

		if (base + i < first || base + i >= end || e->slot == MAP_HOLE)
			continue;
		data_space_free(v, ino->file, e);
		*e = (struct map_entry){.slot = MAP_HOLE};
		ino->file->n_mapped -= ino->file->n_mapped > 0;
	}
	if (r == 0 && map_all_holes(g->m)) {
		free(g->m);
		g->m = NULL;
	}
	return r;
}

struct group_list {
	uint64_t *no;
	size_t n;
};

/* The groups that blocks [first, end) touch. Finds what is damaged before anything changes. */
static int list_groups(struct volume *v, struct vinode *ino, uint64_t first, uint64_t end,
		       struct group_list *ret)
{
	if (first >= end)
		return 0;
	return data_groups_in(v, ino, first / MAP_GROUP, (end - 1) / MAP_GROUP + 1, SIZE_MAX,
			      &ret->no, &ret->n);
}

/*
 * Makes holes of blocks [first, end), from the last group to the first: after a failure everything
 * from *ret_reached on is a hole and everything before is as it was.
 */
static int free_blocks(struct volume *v, struct vinode *ino, const struct group_list *l,
		       uint64_t first, uint64_t end, uint64_t *ret_reached)
{
	int r = 0;

	*ret_reached = end;
	for (size_t i = l->n; r == 0 && i--;) {
		r = free_in_group(v, ino, l->no[i], first, end);
		if (r == 0)
			*ret_reached = l->no[i] * MAP_GROUP > first ? l->no[i] * MAP_GROUP : first;
	}
	return r;
}

static int cut(struct volume *v, struct vinode *ino, uint64_t size)
{
	uint64_t first = blocks_of(size), end = blocks_of(ino->attr.size), reached;
	size_t in = size % MAP_BLOCK;
	struct group_list l = {0};
	int r = list_groups(v, ino, first, end, &l);

	if (r == 0 && in)
		r = zero_part(v, ino, size, MAP_BLOCK - in);
	if (r < 0) {
		free(l.no);
		return r;
	}
	data_unlogged_cut(ino->file, size);
	r = free_blocks(v, ino, &l, first, end, &reached);
	free(l.no);
	/* Half a cut is nothing that the log could say. */
	if (r < 0)
		ino->file->unlogged.too_much = true;
	if (r == 0)
		ino->attr.size = size;
	else if (reached * MAP_BLOCK < ino->attr.size)
		ino->attr.size = reached * MAP_BLOCK;
	return r;
}

int data_extend(struct volume *v, struct vinode *ino, uint64_t size)
{
	if (ino->destroyed)
		return -EIO;
	if (size > VOLUME_SIZE_MAX)
		return -EFBIG;
	if (size <= ino->attr.size)
		return 0;
	inode_mark_dirty(v, ino);
	if (data_inline(ino) && size <= VOLUME_INLINE_MAX)
		return inline_resize(ino, (size_t)size);
	int r = data_inline(ino) ? leave_inline(v, ino) : 0;
	if (r == 0)
		grow_to(ino, size);
	return r;
}

int data_truncate(struct volume *v, struct vinode *ino, uint64_t size)
{
	if (ino->destroyed)
		return -EIO;
	if (size > VOLUME_SIZE_MAX)
		return -EFBIG;
	int r = data_writers_wait(v, ino);
	if (r < 0)
		return r;
	if (size >= ino->attr.size)
		return data_extend(v, ino, size);
	inode_mark_dirty(v, ino);
	return data_inline(ino) ? inline_resize(ino, (size_t)size) : cut(v, ino, size);
}

static int punch_blocks(struct volume *v, struct vinode *ino, uint64_t off, uint64_t end)
{
	uint64_t first = blocks_of(off), last = end / MAP_BLOCK, reached;
	struct group_list l = {0};
	int r;

	/* The last block of the file has nothing to keep beyond its end. */
	if (end == ino->attr.size)
		last = blocks_of(end);
	if (first > last) /* within one block */
		return zero_part(v, ino, off, (size_t)(end - off));
	r = zero_part(v, ino, off, (size_t)(first * MAP_BLOCK - off));
	if (r == 0 && last * MAP_BLOCK < end)
		r = zero_part(v, ino, last * MAP_BLOCK, (size_t)(end - last * MAP_BLOCK));
	if (r == 0)
		r = list_groups(v, ino, first, last, &l);
	if (r == 0 && first < last)
		data_unlogged_add(ino->file, first, last - first);
	if (r == 0)
		r = free_blocks(v, ino, &l, first, last, &reached);
	free(l.no);
	return r;
}

int data_punch(struct volume *v, struct vinode *ino, uint64_t off, uint64_t len)
{
	if (ino->destroyed)
		return -EIO;
	int r = data_writers_wait(v, ino);
	if (r < 0)
		return r;
	uint64_t size = ino->attr.size;
	if (off >= size || !len)
		return 0;
	uint64_t end = len < size - off ? off + len : size;
	inode_mark_dirty(v, ino);
	if (data_inline(ino)) {
		memset(ino->inline_data + off, 0, (size_t)(end - off));
		return 0;
	}
	return punch_blocks(v, ino, off, end);
}
