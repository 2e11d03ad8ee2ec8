/*
 * Files whose blocks lie scattered are written anew when nobody asks for anything.
 *
 * Copy-on-write scatters what is overwritten at random, and reading it in sequence then costs a
 * transfer a block. Small writes and scattered reads add to a file's account; when that amounts to
 * a part of the file worth the work, the committer moves it, chunk by chunk, to slots in line. What
 * is written whole or lies well already is passed over.
 *
 * A block that moves keeps its birth, so that no backup takes it for new: map_entry.moved carries
 * it until the record is put. Everything else is as with a write of the same content, whose old
 * slots are free after the commit. While a snapshot is open nothing moves: it would hold them.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/secret.h"
#include "fs/data_internal.h"

/* Blocks on the account before a file is looked at, and the part of the file they must make up. */
#define SCATTERED_MIN 256u
#define SCATTERED_PART 4u
/* Runs of a chunk from which on it moves: below, a transfer is 64 KiB on the average. */
#define RUNS_MIN 16u

void data_scattered(struct vfile *f, size_t n_runs)
{
	f->n_scattered += n_runs > 1 ? n_runs : 0;
}

bool data_rewrite_due(const struct vinode *ino)
{
	const struct vfile *f = ino->file;

	if (ino->destroyed || ino->orphan || data_inline(ino))
		return false;
	return f->n_scattered >= SCATTERED_MIN && f->n_scattered >= f->n_mapped / SCATTERED_PART;
}

static bool is_published(const struct map_entry *e)
{
	return e->slot != MAP_HOLE && e->birth;
}

/* The first stretch of published blocks in n entries; *ret_runs: in how many pieces it lies. 0 when
 * there is none. */
static size_t stretch(const struct map_entry *e, size_t n, size_t *ret_first, size_t *ret_runs)
{
	size_t i = 0, len = 0;

	while (i < n && !is_published(&e[i]))
		i++;
	*ret_first = i;
	*ret_runs = 0;
	for (; i + len < n && is_published(&e[i + len]); len++)
		*ret_runs += !len || e[i + len].slot != e[i + len - 1].slot + 1;
	return len;
}

/* Reads the blocks and stores them again in line. The range is the caller's. */
static int move(struct volume *v, struct vinode *ino, uint64_t first, size_t n,
		struct data_writer *w)
{
	CLEANUP_FREE uint8_t *buf = aligned_alloc(MAP_BLOCK, n * MAP_BLOCK);
	size_t done;

	if (!buf)
		return -ENOMEM;
	int r = data_fetch(v, ino, first, n, buf, DATA_YIELD);
	if (r == 0)
		r = data_store(v, ino, first, n, buf, w, &done);
	secret_wipe(buf, n * MAP_BLOCK);
	return r;
}

static int move_chunk(struct volume *v, struct vinode *ino, uint64_t first, size_t n)
{
	struct data_writer w;
	int r = data_writer_begin(v, ino, first, first + n, &w);

	if (r < 0)
		return r;
	w.moving = true;
	for (size_t i = 0, at, len, runs; r == 0 && i < n; i += at + len) {
		struct map_entry e[MAP_GROUP];
		size_t part = n - i < MAP_GROUP ? n - i : MAP_GROUP;

		r = data_entries(v, ino, first + i, part, e);
		if (r < 0)
			break;
		len = stretch(e, part, &at, &runs);
		if (runs >= RUNS_MIN * MAP_GROUP / DATA_CHUNK)
			r = move(v, ino, first + i + at, len, &w);
	}
	data_writer_end(v, ino, &w);
	return r;
}

int data_rewrite_some(struct volume *v, struct vinode *ino)
{
	struct vfile *f = ino->file;
	uint64_t end = (ino->attr.size + MAP_BLOCK - 1) / MAP_BLOCK, first = f->rewrite_next;

	if (first >= end) {
		f->rewrite_next = f->n_scattered = 0;
		return 0;
	}
	size_t n = end - first < DATA_CHUNK ? (size_t)(end - first) : DATA_CHUNK;
	f->rewrite_next = first + n;
	int r = move_chunk(v, ino, first, n);
	if (r < 0 && !ino->destroyed)
		ino->file->rewrite_next = ino->file->n_scattered = 0;
	return r < 0 ? r : 1;
}
