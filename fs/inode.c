/*
 * Inodes in memory: a hash table of everything held, an LRU of what nobody holds, a list of what is
 * dirty.
 *
 *   held by              counter or flag      let go by
 *   an open file         n_open               volume_release_file
 *   a call               n_pins               inode_unpin
 *   a coming commit      on_dirty             inode_settle_dirty
 *   the kernel           n_lookups            volume_forget; holds only what has no link left or is
 *                                             destroyed: of others the count is enough
 *                                             (fs/inode_refs.c)
 *
 * Whatever lets go calls inode_settle, which moves an inode without holds to the LRU, or, when it
 * has no link left, out of the store. So an unlinked file lives exactly as long as something refers
 * to it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/secret.h"
#include "fs/engine_internal.h"

#define HASH_SIZE_MIN 1024u
#define HASH_GOLDEN UINT64_C(0x9e3779b97f4a7c15)
#define SECTOR 512u
#define FOLDER_SIZE 4096u /* what a folder answers as its size */

/* ---- table and lists ---- */

static struct vinode **bucket_of(struct volume *v, uint64_t id)
{
	return &v->hash[((id * HASH_GOLDEN) >> 20) & (v->hash_size - 1)];
}

int inode_cache_new(struct volume *v)
{
	v->hash = calloc(HASH_SIZE_MIN, sizeof(*v->hash));
	if (!v->hash)
		return -ENOMEM;
	v->hash_size = HASH_SIZE_MIN;
	return 0;
}

/* Chains stay short; without memory for a larger table they grow instead. */
static void table_grow(struct volume *v)
{
	struct vinode **old = v->hash;
	size_t old_size = v->hash_size;
	struct vinode **wider = calloc(old_size * 2, sizeof(*wider));

	if (!wider)
		return;
	v->hash = wider;
	v->hash_size = old_size * 2;
	for (size_t i = 0; i < old_size; i++) {
		for (struct vinode *ino = old[i], *next; ino; ino = next) {
			struct vinode **b = bucket_of(v, ino->id);

			next = ino->hash_next;
			ino->hash_next = *b;
			*b = ino;
		}
	}
	free(old);
}

static void table_add(struct volume *v, struct vinode *ino)
{
	if (v->n_vinodes >= v->hash_size)
		table_grow(v);
	struct vinode **b = bucket_of(v, ino->id);
	ino->hash_next = *b;
	*b = ino;
	v->n_vinodes++;
}

static void table_remove(struct volume *v, struct vinode *ino)
{
	for (struct vinode **at = bucket_of(v, ino->id); *at; at = &(*at)->hash_next) {
		if (*at == ino) {
			*at = ino->hash_next;
			v->n_vinodes--;
			return;
		}
	}
}

static void lru_remove(struct volume *v, struct vinode *ino)
{
	if (!ino->on_lru)
		return;
	if (ino->lru_prev)
		ino->lru_prev->lru_next = ino->lru_next;
	else
		v->lru_head = ino->lru_next;
	if (ino->lru_next)
		ino->lru_next->lru_prev = ino->lru_prev;
	else
		v->lru_tail = ino->lru_prev;
	ino->lru_prev = ino->lru_next = NULL;
	ino->on_lru = false;
	v->n_lru--;
	v->lru_bytes -= ino->inline_len;
}

static void lru_append(struct volume *v, struct vinode *ino)
{
	ino->lru_prev = v->lru_tail;
	if (v->lru_tail)
		v->lru_tail->lru_next = ino;
	else
		v->lru_head = ino;
	v->lru_tail = ino;
	ino->on_lru = true;
	v->n_lru++;
	v->lru_bytes += ino->inline_len; /* does not change before it leaves the list */
}

void inode_retire(struct volume *v, struct vinode *ino)
{
	if (!ino->on_lru)
		lru_append(v, ino);
	/* Without memory for its count it stays. */
	while ((v->n_lru > ENGINE_LRU_MAX || (v->lru_bytes > ENGINE_LRU_BYTES && v->n_lru > 1)) &&
	       inode_refs_put(&v->refs, v->lru_head->id, v->lru_head->n_lookups) == 0)
		inode_evict(v, v->lru_head);
}

static void dirty_remove(struct volume *v, struct vinode *ino)
{
	if (!ino->on_dirty)
		return;
	if (ino->dirty_prev)
		ino->dirty_prev->dirty_next = ino->dirty_next;
	else
		v->dirty_head = ino->dirty_next;
	if (ino->dirty_next)
		ino->dirty_next->dirty_prev = ino->dirty_prev;
	ino->dirty_prev = ino->dirty_next = NULL;
	ino->on_dirty = false;
}

void inode_mark_dirty(struct volume *v, struct vinode *ino)
{
	ino->record_dirty = ino->unlogged = true;
	ino->changed_epoch = v->epoch;
	if (!ino->destroyed)
		usage_update(v, ino);
	if (ino->on_dirty || ino->destroyed)
		return;
	lru_remove(v, ino);
	ino->dirty_prev = NULL;
	ino->dirty_next = v->dirty_head;
	if (v->dirty_head)
		v->dirty_head->dirty_prev = ino;
	v->dirty_head = ino;
	ino->on_dirty = true;
}

void inode_settle_dirty(struct volume *v, struct vinode *ino)
{
	if (ino->record_dirty || ino->await_commit || data_dirty(ino))
		return;
	dirty_remove(v, ino);
	inode_settle(v, ino);
}

/* ---- life ---- */

static void vinode_free(struct vinode *ino)
{
	data_forget(ino);
	if (ino->inline_data) {
		secret_wipe(ino->inline_data, ino->inline_len);
		free(ino->inline_data);
	}
	free(ino);
}

void inode_evict(struct volume *v, struct vinode *ino)
{
	lru_remove(v, ino);
	dirty_remove(v, ino);
	table_remove(v, ino);
	vinode_free(ino);
}

void inode_cache_free(struct volume *v)
{
	for (size_t i = 0; i < v->hash_size; i++) {
		while (v->hash[i])
			inode_evict(v, v->hash[i]);
	}
	free(v->hash);
	v->hash = NULL;
	v->hash_size = 0;
	inode_refs_free(&v->refs);
}

struct vinode *inode_peek(struct volume *v, uint64_t id)
{
	for (struct vinode *ino = *bucket_of(v, id); ino; ino = ino->hash_next) {
		if (ino->id == id)
			return ino;
	}
	return NULL;
}

void inode_pin(struct volume *v, struct vinode *ino)
{
	lru_remove(v, ino);
	ino->n_pins++;
}

void inode_unpin(struct volume *v, struct vinode *ino)
{
	ino->n_pins--;
	inode_settle(v, ino);
}

void inode_forget(struct volume *v, uint64_t id, uint64_t n)
{
	struct vinode *ino = inode_peek(v, id);

	if (!ino) {
		inode_refs_drop(&v->refs, id, n);
		return;
	}
	ino->n_lookups -= n < ino->n_lookups ? n : ino->n_lookups;
	inode_settle(v, ino);
}

static int fill_from_record(struct vinode *ino, const struct inode_record *rec)
{
	ino->attr = rec->attr;
	ino->attr.id = ino->id;
	ino->parent = rec->parent;
	ino->has_xattrs = rec->has_xattrs;
	ino->published_size = rec->attr.size;
	ino->published_slots = rec->n_slots;
	ino->published_mapped = rec->n_mapped;
	ino->record_inline = rec->inline_len > 0;
	ino->orphan = rec->attr.nlink == 0;
	if (!rec->inline_len)
		return 0;
	ino->inline_data = malloc(rec->inline_len);
	if (!ino->inline_data)
		return -ENOMEM;
	memcpy(ino->inline_data, rec->inline_data, rec->inline_len);
	ino->inline_len = rec->inline_len;
	return 0;
}

static int load(struct volume *v, struct vinode *ino)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct rstore_key key = engine_file_key(ino->id, SUB_INODE);
	struct inode_record rec;
	uint64_t txn;
	int r = rstore_get(v->rs, &key, &val, &txn);

	if (r == 0)
		r = inode_decode(val.buf, val.len, &rec);
	if (r == 0)
		r = fill_from_record(ino, &rec);
	if (r == 0 && rec.in_blocks)
		r = data_attach(v, ino, rec.n_slots, rec.n_mapped);
	if (r == 0)
		usage_loaded(ino);
	/* Its record waits for a commit, and so may its names. */
	if (r == 0 && txn > v->durable.txn)
		ino->changed_epoch = ino->names_epoch = v->epoch;
	return engine_fault(v, r, ino->id, "inode record", 0);
}

int inode_get(struct volume *v, uint64_t id, struct vinode **ret)
{
	struct vinode *ino = inode_peek(v, id);

	if (ino) {
		if (ino->destroyed)
			return -EIO;
		inode_pin(v, ino);
		*ret = ino;
		return 0;
	}
	ino = calloc(1, sizeof(*ino));
	if (!ino)
		return -ENOMEM;
	ino->id = id;
	int r = load(v, ino);
	if (r) {
		vinode_free(ino);
		/* One that the kernel refers to has gone with a destruction. */
		return r == -ENOENT && inode_refs_get(&v->refs, id) ? -EIO : r;
	}
	ino->n_lookups = inode_refs_take(&v->refs, id);
	table_add(v, ino);
	inode_pin(v, ino);
	*ret = ino;
	return 0;
}

int inode_new_with_id(struct volume *v, uint64_t id, uint32_t mode, struct vinode **ret)
{
	struct vinode *ino = calloc(1, sizeof(*ino));

	if (!ino)
		return -ENOMEM;
	ino->id = ino->attr.id = id;
	ino->attr.mode = mode;
	ino->attr.nlink = S_ISDIR(mode) ? 2 : 1;
	ino->attr.size = S_ISDIR(mode) ? FOLDER_SIZE : 0;
	ino->attr.atime = ino->attr.mtime = ino->attr.ctime = ino->attr.btime = engine_now();
	ino->names_epoch = v->epoch;
	table_add(v, ino);
	v->n_inodes++;
	inode_pin(v, ino);
	inode_mark_dirty(v, ino);
	*ret = ino;
	return 0;
}

int inode_new(struct volume *v, uint32_t mode, uint32_t uid, uint32_t gid, uint64_t rdev,
	      struct vinode **ret)
{
	uint64_t id;
	int r = engine_new_id(v, &id);

	if (r == 0)
		r = inode_new_with_id(v, id, mode, ret);
	if (r)
		return r;
	(*ret)->attr.uid = uid;
	(*ret)->attr.gid = gid;
	(*ret)->attr.rdev = S_ISCHR(mode) || S_ISBLK(mode) ? rdev : 0;
	return 0;
}

/* ---- attributes and record ---- */

bool inode_in_blocks(const struct vinode *ino)
{
	return S_ISREG(ino->attr.mode) && ino->file && !ino->inline_data;
}

void inode_attr(const struct vinode *ino, struct volume_attr *ret)
{
	uint64_t slots, mapped;

	*ret = ino->attr;
	ret->id = ino->id;
	if (inode_in_blocks(ino)) {
		data_figures(ino, &slots, &mapped);
		ret->blocks = mapped * (MAP_BLOCK / SECTOR);
	} else {
		ret->blocks = (ino->attr.size + SECTOR - 1) / SECTOR;
	}
}

/*
 * A file that has just left its inode record for blocks: the record it has still holds the old
 * content whole, and putting one without it, before the blocks are published, would let a crash
 * lose both.
 */
static int publish_before_leaving(struct volume *v, struct vinode *ino)
{
	if (!ino->record_inline || !inode_in_blocks(ino) || !data_dirty(ino))
		return 0;
	return commit_publish(v, ino);
}

int inode_put_record(struct volume *v, struct vinode *ino)
{
	CLEANUP_BYTES struct bytes_w val = {.wiped = true};
	struct rstore_key key = engine_file_key(ino->id, SUB_INODE);
	int r = publish_before_leaving(v, ino);

	if (r)
		return r;
	struct inode_record rec = {
	    .attr = ino->attr,
	    .parent = ino->parent,
	    .has_xattrs = ino->has_xattrs,
	    .in_blocks = inode_in_blocks(ino),
	    .inline_data = ino->inline_data,
	    .inline_len = ino->inline_len,
	};
	if (rec.in_blocks) {
		rec.attr.size = ino->published_size;
		rec.n_slots = ino->published_slots;
		rec.n_mapped = ino->published_mapped;
	} else if (S_ISREG(ino->attr.mode)) {
		/* Inline content is published by the record itself. */
		ino->published_size = ino->attr.size;
	}
	inode_encode(&rec, &val);
	r = val.err ? val.err : rstore_put(v->rs, &key, val.buf, val.len);
	if (r)
		return r;
	ino->record_inline = rec.inline_len > 0;
	usage_recorded(v, ino);
	ino->record_dirty = false;
	inode_settle_dirty(v, ino);
	return 0;
}

void inode_published(struct volume *v, struct vinode *ino)
{
	if (inode_in_blocks(ino))
		data_figures(ino, &ino->published_slots, &ino->published_mapped);
	ino->publish_first = false;
	ino->await_commit = true;
	inode_mark_dirty(v, ino);
}
