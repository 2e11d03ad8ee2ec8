/*
 * What the files of the volume's lifecycle, commit and inode cache share among themselves; other
 * parts of the engine use fs/engine.h. All with the engine lock held unless said otherwise.
 */
#ifndef COFFER_FS_ENGINE_INTERNAL_H
#define COFFER_FS_ENGINE_INTERNAL_H

#include "fs/engine.h"

/* Records pending beyond the first wake the committer; beyond the second the writer commits itself.
 */
#define ENGINE_PENDING_WAKE ((size_t)32 << 20)
#define ENGINE_PENDING_MAX ((size_t)128 << 20)
/* Beyond this commits have failed for long: nothing new begins. */
#define ENGINE_PENDING_LIMIT ((size_t)512 << 20)
/* Ids and link ids become durable in batches of this size. */
#define ENGINE_ID_BATCH 4096u
#define ENGINE_ANCHOR_SECONDS 60
/* Unused inodes kept in memory, whether the kernel refers to them or not. */
#define ENGINE_LRU_MAX 65536u
/* What their contents may take of memory in all. */
#define ENGINE_LRU_BYTES ((size_t)16 << 20)

/* --- engine_keys.c --- */
/* rstore's question; arg is the volume. */
int engine_key_of(void *arg, const struct rstore_key *key, uint8_t ret[32]);

/* --- volume_ids.c: ids, link ids and the counters record --- */
int counters_load(struct volume *v);
/* Puts the record when the reservation runs low or a count changed. */
int counters_put(struct volume *v);
/* A commit was durable: what it asked for is ours. */
void counters_committed(struct volume *v);

/* --- volume_reserve.c: the space kept back so that deleting works on a full disk --- */
/* Makes STORE/reserve whole where it is not and the medium has room for it with some to spare. */
void reserve_fill(struct volume *v);
/* Whether the medium has room for so much and would be far from full then. */
bool reserve_spare(struct volume *v, uint64_t len);
/* The medium is nearly full: what only snapshots hold must go before writers are refused. */
bool reserve_low(struct volume *v);
/* Gives up a part of it; whether there was any left. New work is refused until it is whole again. */
bool reserve_release(struct volume *v);

/* --- snapshot.c --- */
/* Closes every snapshot, for the space that they hold; who reads them is told -ESTALE. */
int snapshot_drop_all(struct volume *v);

/* Closes those that an earlier mount left open: whoever read them is gone. Best effort; what they
 * kept goes with snapshot_drain_some. */
void snapshot_close_leftover(struct volume *v);
/* Closes those that were kept until a time that has come. The lock is held. */
void snapshot_close_expired(struct volume *v);
/* Removes some of what closed snapshots kept, with a commit; 1 when more is left. */
int snapshot_drain_some(struct volume *v);

/* --- volume_commit.c --- */
/* data_publish, tried again after a failed sync; a second failure makes the volume read-only. */
int commit_publish(struct volume *v, struct vinode *ino);
/* Writes the store's root into the anchor when it is due (or at once). Neither lock held. */
int commit_anchor(struct volume *v, bool now);

/* --- volume_committer.c --- */
/* The thread: commits in time, then unlinks dead objects, reclaims orphans, keeps the reserve and
 * the anchor. */
void *committer_main(void *volume);
/* One round of what is not a commit. Neither lock held. */
void committer_chores(struct volume *v);

/* --- inode.c --- */
int inode_cache_new(struct volume *v);
/* Frees every inode: at close. */
void inode_cache_free(struct volume *v);
/* As inode_new, with an id of the caller's choice: the root folder. */
int inode_new_with_id(struct volume *v, uint64_t id, uint32_t mode, struct vinode **ret);
/* Lets go of what the counters hold no more: to the LRU, or out of the store if it was the last
 * hold on an orphan. */
void inode_settle(struct volume *v, struct vinode *ino);
/* Out of the dirty list when nothing of it is owed to a commit. */
void inode_settle_dirty(struct volume *v, struct vinode *ino);
/* Nobody holds it and it is clean: to the LRU, whose oldest go. */
void inode_retire(struct volume *v, struct vinode *ino);
/* Frees it and everything it holds in memory; nothing may refer to it. */
void inode_evict(struct volume *v, struct vinode *ino);
/* data_publish succeeded: remembers what it published, and that data_committed is owed. */
void inode_published(struct volume *v, struct vinode *ino);
/* Content lies in blocks rather than in the inode record. */
bool inode_in_blocks(const struct vinode *ino);

/* --- inode_refs.c --- */
int inode_refs_put(struct inode_refs *t, uint64_t id, uint64_t n);
uint64_t inode_refs_get(const struct inode_refs *t, uint64_t id);
/* The count, which leaves the table. */
uint64_t inode_refs_take(struct inode_refs *t, uint64_t id);
void inode_refs_drop(struct inode_refs *t, uint64_t id, uint64_t n);
void inode_refs_free(struct inode_refs *t);

/* --- inode_reap.c --- */
/* Unlinks objects of files that are durably gone and in no snapshot, some at a time; 1 when more
 * can go at once; dead_waiting says whether some may after the next commit. */
int inode_unlink_dead(struct volume *v);

/* --- dir.c --- */
/* As dir_add, with a link id that exists. */
int dir_put_entry(struct volume *v, struct vinode *dir, const struct dentry *d);

/* --- dir_bucket.c --- */
/* Appends one entry, its name sealed under parent and child. */
int dir_bucket_append(struct volume *v, uint64_t parent, const struct dentry *d,
		      struct bytes_w *out);
/* Appends an entry as it is. */
void dir_bucket_copy(const struct dentry_sealed *d, struct bytes_w *out);

/* --- namespace.c --- */
int namespace_check_name(const char *name);
/* A pinned folder that can be looked into: -ENOTDIR; -ENOENT when it was removed. */
int namespace_get_dir(struct volume *v, uint64_t id, struct vinode **ret);
/* As namespace_get_dir, for a folder whose entries are to change: -EROFS while it is frozen, -EIO
 * when its key is gone (it is half destroyed: a rename into it would fail after its first change).
 */
int namespace_get_dir_to_change(struct volume *v, uint64_t id, struct vinode **ret);
/* What an entry leads to, pinned; an entry whose inode is absent or of another type is damage. */
int namespace_get_child(struct volume *v, const struct dentry *d, struct vinode **ret);
/* The entry changed: times of the folder. */
void namespace_touch(struct volume *v, struct vinode *dir);
/* One link of ino is gone: count, ctime, and the inode with the last. */
int namespace_drop_link(struct volume *v, struct vinode *ino);

#endif
