/*
 * Publication: from blocks in an object and a map in memory to records that name them.
 *
 * The object is synced first, so no record ever names a block that a power cut could take. A sync
 * that failed leaves it open which blocks arrived (the kernel forgets them either way), so
 * everything private is sealed to fresh slots before the next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/secret.h"
#include "fs/data_internal.h"

/* ---- after a failed sync ---- */

static int rewrite_group(struct volume *v, struct vinode *ino, uint64_t no)
{
	struct data_group *g;
	int r = data_group_get(v, ino, no, &g);

	for (unsigned i = 0; r == 0 && g->m && i < MAP_GROUP; i++) {
		uint8_t block[MAP_BLOCK];
		size_t done;

		if (g->m->e[i].slot == MAP_HOLE || g->m->e[i].birth)
			continue;
		r = data_fetch(v, ino, no * MAP_GROUP + i, 1, block, DATA_KEEP);
		if (r == 0)
			r = data_store(v, ino, no * MAP_GROUP + i, 1, block, NULL, &done);
		secret_wipe(block, sizeof(block));
	}
	return r;
}

/* Private blocks only stand in dirty groups, which neither go nor come while this runs. */
static int rewrite_private(struct volume *v, struct vinode *ino)
{
	struct vfile *f = ino->file;
	int r = 0;

	for (size_t i = 0; r == 0 && i < f->n_groups; i++) {
		if (f->groups[i]->dirty)
			r = rewrite_group(v, ino, f->groups[i]->no);
	}
	return r;
}

/* What is on its way is in no map yet and may have been in what was not synced: once it is, it is
 * rewritten like the rest. */
static void tell_writers(struct vfile *f)
{
	for (struct data_writer *w = f->writers; w; w = w->next)
		w->sync_failed |= w->io != NULL;
}

static int sync_object(struct volume *v, struct vinode *ino)
{
	int r = ino->file->resync ? rewrite_private(v, ino) : 0;

	if (r == 0)
		r = object_sync(v, ino->id);
	ino->file->resync = r < 0;
	if (r < 0)
		tell_writers(ino->file);
	return r;
}

/* ---- records ---- */

/* In memory the births are set only once the record holds them: until then the blocks are private.
 */
static int put_group(struct volume *v, struct data_group *g, uint64_t txn)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct rstore_key key = engine_file_key_at(g->file->id, SUB_MAP, g->no);
	struct map_group m;

	map_init(&m);
	if (g->m)
		m = *g->m;
	for (unsigned i = 0; i < MAP_GROUP; i++) {
		if (m.e[i].slot != MAP_HOLE && !m.e[i].birth)
			m.e[i].birth = m.e[i].moved ? m.e[i].moved : txn;
		m.e[i].moved = 0;
	}
	if (g->stored || !map_all_holes(&m)) {
		map_encode(&m, engine_tag_len(v), &val);
		int r = val.err ? val.err : rstore_put(v->rs, &key, val.buf, val.len);
		if (r < 0)
			return r;
		g->stored = true;
	}
	if (g->m)
		*g->m = m;
	return 0;
}

static int put_groups(struct volume *v, struct vfile *f)
{
	CLEANUP_FREE struct data_group **dirty = calloc(f->n_dirty + 1, sizeof(*dirty));
	uint64_t txn = rstore_next_txn(v->rs);
	size_t n = 0;

	if (!dirty)
		return -ENOMEM;
	for (size_t i = 0; i < f->n_groups; i++) {
		if (f->groups[i]->dirty)
			dirty[n++] = f->groups[i];
	}
	for (size_t i = 0; i < n; i++) {
		int r = put_group(v, dirty[i], txn);
		if (r < 0)
			return r;
		data_group_clean(dirty[i]);
	}
	return 0;
}

int data_publish(struct volume *v, struct vinode *ino)
{
	if (ino->destroyed)
		return -EIO;
	if (!data_dirty(ino))
		return 0;
	int r = sync_object(v, ino);
	if (r == 0)
		r = put_groups(v, ino->file);
	if (r < 0)
		return r;
	data_space_published(ino->file);
	data_unlogged_clear(ino->file);
	ino->published_size = ino->attr.size;
	return 0;
}

void data_committed(struct volume *v, struct vinode *ino)
{
	if (!ino->destroyed && !data_inline(ino))
		data_space_committed(v, ino->file);
}
