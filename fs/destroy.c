/*
 * Destruction: takes ids out of the live store after their keys are gone.
 *
 *   1. survey   every folder's entries and history; refuse what the order does not cover    nothing
 * changed yet
 *   2. history  tombstones of the names that go                                             one
 * commit
 *   3. memory   inodes answer EIO; their unpublished data is dropped
 *   4. folders  that survive and ever held such a name: rehashed without them               |
 *   5. links    of spared files inside destroyed folders fall                               | one
 * commit
 *   6. records  of the ids erased, from snapshots as well                                   |
 *      log      overwritten
 *   7. objects  overwritten, synced, deallocated, unlinked
 *   8. scrub    the WAL is emptied and truncated
 *
 * Every step finds by itself what is left to do, so after a crash or an error the whole is called
 * again. None opens anything under the ids' own keys: entries tell parent and child under the
 * records epoch key, erasing needs no key. The lock is held from 1 to 6, so that no name moves out
 * of sight between survey and change.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/secret.h"
#include "fs/destroy_internal.h"
#include "fs/engine_internal.h"
#include "fs/log.h"

/* ---- change ---- */

/* The inode in memory, if any: from now on it answers EIO and owes nothing to a commit. */
static void end_in_memory(struct volume *v, uint64_t id, struct volume_destroyed *io)
{
	struct vinode *ino = inode_peek(v, id);

	if (!ino || ino->destroyed)
		return;
	inode_pin(v, ino);
	ino->destroyed = true;
	io->n_handles += ino->n_open;
	data_forget(ino);
	if (ino->inline_data) {
		secret_wipe(ino->inline_data, ino->inline_len);
		free(STEAL_PTR(ino->inline_data));
		ino->inline_len = 0;
	}
	usage_forget(v, ino);
	ino->record_dirty = ino->publish_first = ino->await_commit = ino->sync_wanted = false;
	inode_settle_dirty(v, ino);
	inode_unpin(v, ino);
}

static int thin_folder(struct survey *s, const struct survey_loss *loss)
{
	struct volume *v = s->v;
	struct vinode *dir;
	int r = inode_get(v, loss->folder, &dir);

	if (r)
		return r;
	r = dir_rehash(v, dir, s->ids, s->n);
	if (r == 0) {
		dir->attr.nlink -= loss->n_subfolders < dir->attr.nlink ? loss->n_subfolders : 0;
		namespace_touch(v, dir);
		r = inode_put_record(v, dir);
		if (r)
			r = engine_half_done(v, r, "destruction");
	}
	inode_unpin(v, dir);
	return r;
}

static int drop_spared(struct survey *s)
{
	for (size_t i = 0; i < s->n_spared; i++) {
		struct vinode *ino;
		int r = inode_get(s->v, s->spared[i].id, &ino);

		if (r)
			return r;
		for (uint32_t k = 0; k < s->spared[i].n_links && r == 0; k++)
			r = namespace_drop_link(s->v, ino);
		inode_unpin(s->v, ino);
		if (r)
			return r;
	}
	return 0;
}

static int erase_key(struct volume *v, enum engine_space space, uint64_t id)
{
	struct rstore_key key = engine_key(space, &id, 1), end = engine_key(space, &id, 1);

	end.b[end.len++] = 0;
	return rstore_erase_range(v->rs, &key, &end, NULL);
}

static int erase_records(struct volume *v, uint64_t id, struct volume_destroyed *io)
{
	struct rstore_key from = engine_file_key(id, SUB_INODE),
			  mid = engine_file_key(id, SUB_XATTR);
	struct rstore_key to = engine_file_end(id);
	uint64_t n_inodes = 0;
	int r = rstore_erase_range(v->rs, &from, &mid, &n_inodes);

	if (r == 0)
		r = rstore_erase_range(v->rs, &mid, &to, NULL);
	if (r == 0)
		r = erase_key(v, SPACE_ORPHAN, id);
	if (r == 0)
		r = erase_key(v, SPACE_DEAD_OBJECT, id);
	if (r == 0 && n_inodes) {
		io->n_inodes++;
		v->n_inodes -= v->n_inodes > 0;
		usage_unknown(v);
	}
	return r;
}

/* A folder that is gone itself keeps its lookup id until somebody asks for it: now it is retired.
 */
static int retire_lookup_id(struct volume *v, uint64_t dir)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct rstore_key key = engine_key(SPACE_LOOKUP, &dir, 1);
	uint8_t enc[8];
	int r = rstore_get(v->rs, &key, &val, NULL);

	if (r || val.len != 8)
		return engine_fault(v, r ? r : -EUCLEAN, dir, "lookup id", 0);
	uint64_t lookup_id = bytes_get64(val.buf);
	struct rstore_key retired = engine_key(SPACE_RETIRED, &lookup_id, 1);
	bytes_put64(enc, dir);
	r = rstore_put(v->rs, &retired, enc, sizeof(enc));
	return r ? r : rstore_del(v->rs, &key);
}

/* Links of spared files and the entries that count them go together, or a repetition would count
 * them twice. */
static int erase_all(struct survey *s, struct volume_destroyed *io)
{
	int r = drop_spared(s);

	for (size_t i = 0; i < s->n && r == 0; i++)
		r = erase_records(s->v, s->ids[i], io);
	return r ? engine_half_done(s->v, r, "destruction") : 0;
}

static int apply(struct survey *s, struct volume_destroyed *io)
{
	int r = 0;

	/* Tombstones first: once the entries are gone, a repetition could not tell which there
	 * were. */
	for (size_t i = 0; i < s->n_gone && r == 0; i++)
		r = history_gone_put(s->v, &s->gone[i]);
	if (r)
		return r;
	for (size_t i = 0; i < s->n; i++)
		end_in_memory(s->v, s->ids[i], io);
	/* What was pending becomes records that erasing counts, or falls away with its key. */
	r = engine_commit_records(s->v);
	for (size_t i = 0; i < s->n_retired && r == 0; i++)
		r = retire_lookup_id(s->v, s->retired[i]);
	for (size_t i = 0; i < s->n_losses && r == 0; i++)
		r = thin_folder(s, &s->losses[i]);
	if (r == 0)
		r = erase_all(s, io);
	if (r == 0)
		io->n_names += s->n_gone;
	return r;
}

/* ---- the whole ---- */

static int destroy_locked(struct survey *s, struct volume_destroyed *io,
			  struct bytes_w *ret_lookup_ids)
{
	struct volume *v = s->v;
	int r = engine_writable(v);

	if (r == 0)
		r = survey_run(s);
	if (r == 0)
		r = apply(s, io);
	if (r == 0)
		r = destroy_lookup_ids(v, s->ids, s->n, ret_lookup_ids);
	if (r == 0)
		r = engine_commit_records(v);
	/* What fsync wrote of the ids may lie there still. */
	return r ? r : log_erase(v);
}

/* Without the engine lock, which must not be held for as long as overwriting takes: nothing uses
 * the object any more. */
static int erase_object(struct volume *v, uint64_t id, bool overwrite, struct volume_destroyed *io)
{
	char path[64];
	struct stat st;
	uint64_t bytes = 0;

	volume_object_path(id, 0, path);
	bool there = fstatat(v->store_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
	int r = object_erase(v, id, overwrite, &bytes);
	if (r == 0 || r == -ENOENT) {
		io->n_objects += there;
		io->bytes_overwritten += bytes;
		r = 0;
	}
	return r;
}

static bool ids_valid(const uint64_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] < VOLUME_FIRST_ID || (i && ids[i] <= ids[i - 1]))
			return false;
	return true;
}

int volume_may_destroy(struct volume *v, const uint64_t *ids, size_t n)
{
	CLEANUP_WITH(survey_free) struct survey s = {.v = v, .ids = ids, .n = n};

	if (!ids_valid(ids, n))
		return -EINVAL;
	engine_enter(v);
	int r = survey_run(&s);
	engine_leave(v);
	return r;
}

int volume_destroy(struct volume *v, const uint64_t *ids, size_t n, bool overwrite,
		   struct volume_destroyed *ret, struct bytes_w *ret_lookup_ids)
{
	CLEANUP_WITH(survey_free) struct survey s = {.v = v, .ids = ids, .n = n};
	struct volume_destroyed done = {0};
	size_t n_before = ret_lookup_ids->len;

	if (!ids_valid(ids, n))
		return -EINVAL;
	/* No commit may be half way: it would publish what is about to be dropped. The order is
	 * that of engine_commit. */
	keyring_use_begin(v->kr);
	pthread_mutex_lock(&v->commit_lock);
	pthread_mutex_lock(&v->lock);
	int r = destroy_locked(&s, &done, ret_lookup_ids);
	pthread_mutex_unlock(&v->lock);
	pthread_mutex_unlock(&v->commit_lock);
	keyring_use_end(v->kr);

	for (size_t i = 0; i < n && r == 0; i++)
		r = erase_object(v, ids[i], overwrite, &done);
	if (r == 0) {
		engine_enter(v);
		r = rstore_scrub(v->rs);
		engine_leave(v);
	}
	if (r)
		ret_lookup_ids->len = n_before;
	else
		*ret = done;
	return r;
}
