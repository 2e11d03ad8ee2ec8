/*
 * Changing a file's content: writing, cutting, punching, and the move from the inode to blocks.
 *
 * A block that a record names is never overwritten: its new content is sealed to another slot. A
 * private one (unpublished) is sealed to its own slot again under a fresh counter, which keeps
 * files that are written in small steps contiguous. Entries change only after their ciphertext was
 * written.
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

/* ---- storing blocks ---- */

/* n blocks on their way to the object. */
struct plan {
	uint64_t first;
	size_t n;
	uint64_t counter; /* of the first */
	uint64_t slot[DATA_CHUNK];
	bool fresh[DATA_CHUNK]; /* the slot was allocated for this */
	uint8_t tag[DATA_CHUNK][SUITE_TAG_LEN];
};

/* Every group of the plan is dirty from here on, so it stays in memory and cannot fail to be found
 * later. */
static int plan_groups(struct volume *v, struct vinode *ino, const struct plan *p)
{
	uint64_t last = (p->first + p->n - 1) / MAP_GROUP;
	int r = 0;

	for (uint64_t no = p->first / MAP_GROUP; r == 0 && no <= last; no++) {
		struct data_group *g;

		r = data_group_edit(v, ino, no, &g);
	}
	return r;
}

static void plan_return(struct vfile *f, const struct plan *p, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		if (p->fresh[i])
			data_space_return(f, p->slot[i], 1);
	}
}

/* Fresh slots for blocks from..to-1. */
static int plan_fresh(struct vfile *f, struct plan *p, size_t from, size_t to)
{
	while (from < to) {
		uint64_t slot, n = data_space_alloc(f, to - from, &slot);

		if (!n)
			return -ENOSPC;
		for (uint64_t i = 0; i < n; i++, from++) {
			p->slot[from] = slot + i;
			p->fresh[from] = true;
		}
	}
	return 0;
}

static int plan_slots(struct volume *v, struct vinode *ino, struct plan *p)
{
	struct map_entry e[DATA_CHUNK];
	int r = data_entries(v, ino, p->first, p->n, e);

	for (size_t i = 0, to; r == 0 && i < p->n; i = to) {
		to = i;
		while (to < p->n && (e[to].slot == MAP_HOLE || e[to].birth || ino->file->resync))
			to++;
		r = plan_fresh(ino->file, p, i, to);
		if (to == i) {
			p->slot[i] = e[i].slot;
			to++;
		}
	}
	if (r < 0)
		plan_return(ino->file, p, 0, p->n);
	return r;
}

/* Counters for n blocks; the session is renewed long before they run out. */
static uint64_t take_counters(struct volume *v, size_t n)
{
	if (v->session_counter + n > DATA_SESSION_BLOCKS) {
		kdf_random(v->session, sizeof(v->session));
		v->session_counter = 0;
	}
	v->session_counter += n;
	return v->session_counter - n;
}

static int plan_seal(struct volume *v, uint64_t id, struct plan *p, const uint8_t *plain,
		     uint8_t *bounce)
{
	const struct suite_key *key;
	uint8_t ad[DATA_AD_LEN];

	p->counter = take_counters(v, p->n);
	int r = data_key(v, id, v->session, &key);
	if (r < 0)
		return engine_fault(v, r, id, "block key", p->first * MAP_BLOCK);
	for (size_t i = 0; i < p->n; i++) {
		data_ad(v, id, p->first + i, ad);
		suite_block_seal(key, p->counter + i, ad, sizeof(ad), plain + i * MAP_BLOCK,
				 MAP_BLOCK, bounce + i * MAP_BLOCK, p->tag[i]);
	}
	return 0;
}

/* The ciphertext of block i stands in its slot: the map says so from now on. */
static int plan_enter(struct volume *v, struct vinode *ino, const struct plan *p, size_t i)
{
	struct vfile *f = ino->file;
	struct data_group *g;
	uint64_t block = p->first + i;
	int r = data_group_edit(v, ino, block / MAP_GROUP, &g);

	if (r < 0)
		return r;
	struct map_entry *e = &g->m->e[block % MAP_GROUP];
	if (e->slot == MAP_HOLE)
		f->n_mapped++;
	else if (p->fresh[i])
		data_space_free(f, e);
	*e = (struct map_entry){.slot = p->slot[i], .counter = p->counter + i};
	memcpy(e->session, v->session, MAP_SESSION_LEN);
	memcpy(e->tag, p->tag[i], SUITE_TAG_LEN);
	return 0;
}

static int plan_write(struct volume *v, struct vinode *ino, const struct plan *p,
		      const uint8_t *bounce, size_t *ret_done)
{
	for (size_t i = 0, to; i < p->n; i = to) {
		to = i + 1;
		while (to < p->n && p->slot[to] == p->slot[to - 1] + 1)
			to++;
		int r = object_pwrite(v, ino->id, p->slot[i], bounce + i * MAP_BLOCK, to - i);
		for (; r == 0 && i < to; i++) {
			r = plan_enter(v, ino, p, i);
			*ret_done = i + (r == 0);
		}
		if (r < 0) {
			plan_return(ino->file, p, i, p->n);
			return r;
		}
	}
	return 0;
}

int data_store(struct volume *v, struct vinode *ino, uint64_t first, size_t n, const uint8_t *plain,
	       size_t *ret_done)
{
	uint8_t *bounce = object_data(v->objects)->bounce;
	struct plan p = {.first = first, .n = n};

	*ret_done = 0;
	data_space_survey(v, ino->file);
	int r = plan_groups(v, ino, &p);
	if (r == 0)
		r = plan_slots(v, ino, &p);
	if (r < 0)
		return r;
	r = plan_seal(v, ino->id, &p, plain, bounce);
	if (r < 0) {
		plan_return(ino->file, &p, 0, n);
		return r;
	}
	return plan_write(v, ino, &p, bounce, ret_done);
}

/* Replaces len bytes of one block, with zeros when src is NULL. */
static int store_part(struct volume *v, struct vinode *ino, uint64_t off, const uint8_t *src,
		      size_t len)
{
	uint8_t block[MAP_BLOCK];
	size_t done;
	int r = data_fetch(v, ino, off / MAP_BLOCK, 1, block);

	if (r < 0)
		return r;
	if (src)
		memcpy(block + off % MAP_BLOCK, src, len);
	else
		memset(block + off % MAP_BLOCK, 0, len);
	return data_store(v, ino, off / MAP_BLOCK, 1, block, &done);
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
	return store_part(v, ino, off, NULL, len);
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
	if (!ino->inline_data)
		return 0;
	memcpy(block, ino->inline_data, ino->inline_len);
	int r = data_store(v, ino, 0, 1, block, &done);
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
			uint64_t off)
{
	while (len) {
		size_t in = off % MAP_BLOCK, n, done = 0;
		int r;

		if (in || len < MAP_BLOCK) {
			n = MAP_BLOCK - in < len ? MAP_BLOCK - in : len;
			r = store_part(v, ino, off, buf, n);
		} else {
			n = len / MAP_BLOCK < DATA_CHUNK ? len / MAP_BLOCK : DATA_CHUNK;
			r = data_store(v, ino, off / MAP_BLOCK, n, buf, &done);
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
	int r = data_inline(ino) ? leave_inline(v, ino) : 0;
	return r < 0 ? r : write_blocks(v, ino, buf, len, off);
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
		data_space_free(ino->file, e);
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
	r = free_blocks(v, ino, &l, first, end, &reached);
	free(l.no);
	if (r == 0)
		ino->attr.size = size;
	else if (reached * MAP_BLOCK < ino->attr.size)
		ino->attr.size = reached * MAP_BLOCK;
	return r;
}

int data_truncate(struct volume *v, struct vinode *ino, uint64_t size)
{
	if (ino->destroyed)
		return -EIO;
	if (size > VOLUME_SIZE_MAX)
		return -EFBIG;
	inode_mark_dirty(v, ino);
	if (data_inline(ino) && size <= VOLUME_INLINE_MAX)
		return inline_resize(ino, (size_t)size);
	if (size < ino->attr.size)
		return cut(v, ino, size);
	int r = data_inline(ino) ? leave_inline(v, ino) : 0;
	if (r == 0)
		ino->attr.size = size;
	return r;
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
	if (r == 0)
		r = free_blocks(v, ino, &l, first, last, &reached);
	free(l.no);
	return r;
}

int data_punch(struct volume *v, struct vinode *ino, uint64_t off, uint64_t len)
{
	uint64_t size = ino->attr.size;

	if (ino->destroyed)
		return -EIO;
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
