/*
 * Storing blocks: slots and counters first, then the ciphertext, then the map.
 *
 * A block that a record names is never overwritten: its new content is sealed to another slot. A
 * private one (unpublished) that is small is sealed to its own slot again under a fresh counter,
 * which keeps files that are written in small steps contiguous; that is done without letting go of
 * the lock, and not while somebody reads the file. Entries change only after their ciphertext was
 * written.
 */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "fs/data_internal.h"

/* A longer write to private blocks takes fresh slots rather than the lock. */
#define IN_PLACE_MAX 16u

/* ---- the plan, with the lock ---- */

/* Loads every group: damage is met before anything is taken. */
static int plan_groups(struct volume *v, struct vinode *ino, const struct data_io *io)
{
	uint64_t last = (io->first + io->n - 1) / MAP_GROUP;
	int r = 0;

	for (uint64_t no = io->first / MAP_GROUP; r == 0 && no <= last; no++) {
		struct data_group *g;

		r = data_group_get(v, ino, no, &g);
	}
	return r;
}

static void plan_return(struct volume *v, struct vfile *f, const struct data_io *io, size_t from)
{
	for (size_t i = from; i < io->n; i++) {
		if (io->fresh[i])
			data_space_return(v, f, io->e[i].slot, 1);
	}
}

/* Fresh slots for blocks from..to-1. */
static int plan_fresh(struct vfile *f, struct data_io *io, size_t from, size_t to)
{
	while (from < to) {
		uint64_t slot, n = data_space_alloc(f, to - from, &slot);

		if (!n)
			return -ENOSPC;
		for (uint64_t i = 0; i < n; i++, from++) {
			io->e[from].slot = slot + i;
			io->fresh[from] = true;
		}
	}
	return 0;
}

static bool is_private(const struct map_entry *e)
{
	return e->slot != MAP_HOLE && !e->birth;
}

/* io->e holds the entries as they are. Whether any keeps its slot. */
static bool plan_keeps(const struct vfile *f, const struct data_io *io)
{
	bool any = false;

	if (io->n > IN_PLACE_MAX || f->resync || f->n_readers[0] || f->n_readers[1])
		return false;
	for (size_t i = 0; i < io->n; i++)
		any |= is_private(&io->e[i]);
	return any;
}

static int plan_slots(struct volume *v, struct vfile *f, struct data_io *io, bool keep)
{
	int r = 0;

	memset(io->fresh, 0, sizeof(io->fresh));
	for (size_t i = 0, to; r == 0 && i < io->n; i = to) {
		to = i;
		while (to < io->n && !(keep && is_private(&io->e[to])))
			to++;
		r = plan_fresh(f, io, i, to);
		to += to == i;
	}
	if (r < 0)
		plan_return(v, f, io, 0);
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

static int plan_key(struct volume *v, uint64_t id, struct data_io *io)
{
	uint64_t counter = take_counters(v, io->n);
	uint8_t no;

	for (size_t i = 0; i < io->n; i++) {
		io->e[i].counter = counter + i;
		io->e[i].birth = io->e[i].moved = 0;
		memcpy(io->e[i].session, v->session, MAP_SESSION_LEN);
	}
	return data_io_key(v, io, id, io->e[0].session, &no);
}

/* ---- the ciphertext, with or without the lock ---- */

/* How many blocks from i on lie in slots that follow each other. */
static size_t slots_in_line(const struct data_io *io, size_t i)
{
	size_t n = 1;

	while (i + n < io->n && io->e[i + n].slot == io->e[i].slot + n)
		n++;
	return n;
}

/* *ret_done blocks from the first were written. */
static int seal_and_write(struct volume *v, uint64_t id, struct data_io *io, const uint8_t *plain,
			  size_t *ret_done)
{
	uint8_t ad[DATA_AD_LEN];
	int r = 0;

	for (size_t i = 0; i < io->n; i++) {
		data_ad(v, id, io->first + i, ad);
		suite_block_seal(&io->keys[0], io->e[i].counter, ad, sizeof(ad),
				 plain + i * MAP_BLOCK, MAP_BLOCK, io->bounce + i * MAP_BLOCK,
				 io->e[i].tag);
	}
	for (size_t i = 0, n; r == 0 && i < io->n; i += n) {
		n = slots_in_line(io, i);
		r = object_pwrite(v, id, io->e[i].slot, io->bounce + i * MAP_BLOCK, n);
		if (r == 0)
			*ret_done = i + n;
	}
	return r;
}

/* ---- the map, with the lock ---- */

/* The groups that blocks [0, n) of io lie in, to be changed: dirty, so that they stay. */
static int edit_groups(struct volume *v, struct vinode *ino, const struct data_io *io, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i += MAP_GROUP - (io->first + i) % MAP_GROUP) {
		struct data_group *g;

		r = data_group_edit(v, ino, (io->first + i) / MAP_GROUP, &g);
	}
	return r;
}

/* The ciphertext of blocks [0, n) stands in their slots: the map says so from now on. */
static int enter(struct volume *v, struct vinode *ino, const struct data_io *io, size_t n,
		 bool moving)
{
	struct vfile *f = ino->file;
	struct data_group *g = NULL;
	int r = edit_groups(v, ino, io, n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		uint64_t block = io->first + i;

		if (!g || g->no != block / MAP_GROUP)
			r = data_group_edit(v, ino, block / MAP_GROUP, &g);
		if (r < 0)
			break;
		struct map_entry *e = &g->m->e[block % MAP_GROUP];
		if (e->slot == MAP_HOLE)
			f->n_mapped++;
		else if (io->fresh[i])
			data_space_free(v, f, e);
		uint64_t moved = moving ? e->birth : 0;
		*e = io->e[i];
		e->moved = moved;
		/* What only moved stands where the durable map says as well. */
		if (!moving)
			data_unlogged_add(f, block, 1);
	}
	return r;
}

/* What another thread may have done while the lock was free. The object of a destroyed file must
 * not come back by this write. */
static int still_wanted(struct volume *v, struct vinode *ino)
{
	if (!ino->destroyed)
		return freeze_check(v, ino->id);
	(void)object_unlink(v, ino->id);
	return -EIO;
}

static int store(struct volume *v, struct vinode *ino, struct data_io *io, const uint8_t *plain,
		 struct data_writer *w, size_t *ret_done)
{
	bool moving = w && w->moving;
	size_t done = 0;

	if (w) {
		w->io = io;
		pthread_mutex_unlock(&v->lock);
	}
	int r = seal_and_write(v, ino->id, io, plain, &done);
	int gone = 0;
	if (w) {
		pthread_mutex_lock(&v->lock);
		w->io = NULL;
		gone = still_wanted(v, ino);
		if (gone < 0)
			done = 0;
		if (ino->destroyed)
			return gone;
		inode_mark_dirty(v, ino);
		ino->file->resync |= w->sync_failed;
		w->sync_failed = false;
	}
	int entered = enter(v, ino, io, done, moving);
	if (entered < 0)
		done = 0;
	plan_return(v, ino->file, io, done);
	*ret_done = done;
	if (gone < 0)
		return gone;
	return r < 0 ? r : entered;
}

static int plan(struct volume *v, struct vinode *ino, struct data_io *io, struct data_writer **io_w)
{
	int r = plan_groups(v, ino, io);

	if (r == 0)
		r = data_entries(v, ino, io->first, io->n, io->e);
	if (r < 0)
		return r;
	bool keep = plan_keeps(ino->file, io);
	/* The wait for io let go of the lock, and nobody asks again before the slot is written. */
	if (keep && *io_w)
		r = freeze_check(v, ino->id);
	if (r < 0)
		return r;
	r = plan_slots(v, ino->file, io, keep);
	if (r < 0)
		return r;
	if (keep)
		*io_w = NULL;
	/* Small, and not at the end of what there is: that is how files get scattered. */
	if (io->n <= IN_PLACE_MAX && !keep && (io->first + io->n) * MAP_BLOCK < ino->attr.size)
		data_scattered(ino->file, io->n + 1);
	r = plan_key(v, ino->id, io);
	if (r < 0) {
		plan_return(v, ino->file, io, 0);
		return engine_fault(v, r, ino->id, "block key", io->first * MAP_BLOCK);
	}
	return 0;
}

int data_store(struct volume *v, struct vinode *ino, uint64_t first, size_t n, const uint8_t *plain,
	       struct data_writer *w, size_t *ret_done)
{
	struct data_io *io;

	*ret_done = 0;
	int r = data_io_get(v, w ? DATA_YIELD : DATA_KEEP, true, &io);
	if (r < 0)
		return r;
	io->first = first;
	io->n = n;
	if (ino->destroyed)
		r = -EIO;
	else
		data_space_survey(v, ino->file);
	if (r == 0)
		r = plan(v, ino, io, &w);
	if (r == 0)
		r = store(v, ino, io, plain, w, ret_done);
	data_io_put(v, io);
	return r;
}
