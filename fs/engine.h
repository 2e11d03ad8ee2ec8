/*
 * Inside the volume engine: the state shared by fs/volume*.c (lifecycle, commits), fs/inode*.c,
 * fs/dir*.c, fs/namespace*.c, fs/attr.c, fs/data*.c, fs/object*.c, fs/snapshot*.c, fs/destroy*.c.
 *
 * Record keys (all integers big-endian, so that memcmp sorts). Sealed under: A = "attr" of
 * FK(id, live), M = "map" of FK(id, live), R = the records epoch key.
 *
 *   10 id 00             A  inode
 *   10 id 01             A  xattrs
 *   10 id 02 hash        R  dentry bucket; each name inside once more under parent and child
 *   10 id 03 group       M  block map
 *   20 parent child link R  history: this link is gone
 *   30 a b               R  lineage edge, both directions
 *   31 dir               R  lookup id of a folder; outlives it, to be punctured
 *   32 lookup-id         R  lookup id retired, to be punctured
 *   40 id                R  orphan: unlinked, still open; reclaimed at the next open
 *   41 id                R  object whose file is gone, to be unlinked when no snapshot needs it
 *   50                   R  counters: ids and link ids reserved, timeline, number of inodes
 *   50 1 snapshot        R  facts of an open snapshot (fs/snapshot.c)
 *
 * Publication. Namespace changes go to the record overlay at once. File data is written to fresh
 * slots of the object at once, but map and size stay in memory (struct vfile) until data_publish:
 * sync the object, then put map and inode records. A commit publishes everything; fsync of one
 * file publishes that file (and files that a rename moved over another: publish_first) and commits
 * the namespace. An inode record put before its data is published carries the last published size,
 * so no size is ever ahead of its data.
 *
 * Locking: v->lock guards everything here. commit_lock serialises committers and is taken before
 * v->lock. A committer may release v->lock while it syncs objects; data written meanwhile simply
 * belongs to the next commit.
 */
#ifndef COFFER_FS_ENGINE_H
#define COFFER_FS_ENGINE_H

#include <pthread.h>

#include "fs/volume.h"

struct vfile;
struct vlog;

/* An inode in memory. Lives while used (pins, opens, dirty; as an orphan also lookups) and then in
 * an LRU. */
struct vinode {
	uint64_t id;
	struct volume_attr attr; /* the truth; attr.size is the live size */
	uint64_t published_size;
	uint64_t parent;    /* folders: where they stand */
	uint64_t lookup_id; /* folders, 0 not loaded */
	bool has_xattrs;
	bool record_dirty;  /* attr differs from the pending or stored record */
	bool publish_first; /* renamed over another: its data goes with the next namespace commit */
	bool orphan;        /* nlink 0, still open or referenced; has an orphan record */
	bool destroyed;     /* answers EIO */
	uint8_t *inline_data; /* a small file's content, a symlink's target; NULL when in blocks */
	size_t inline_len;
	struct vfile *file; /* block state, NULL until needed */
	uint64_t n_lookups; /* kernel's references */
	uint32_t n_pins;    /* engine's own, within calls */
	uint32_t n_open, n_open_writable;
	struct vinode *hash_next;
	struct vinode *lru_prev, *lru_next;     /* when unused */
	struct vinode *dirty_prev, *dirty_next; /* when record_dirty or file dirty */
	bool on_lru, on_dirty;
	/* the commit's own bookkeeping (fs/volume_commit.c) */
	uint64_t published_slots, published_mapped; /* data_figures as of published_size */
	uint64_t commit_seq;                        /* the last commit that made it durable */
	bool sync_wanted;   /* an fsync waits for it: the next commit takes it along */
	bool in_commit;     /* chosen by the commit that runs */
	bool await_commit;  /* published, not yet durable: data_committed is owed */
	bool record_inline; /* its newest record holds inline data */
	uint64_t used_live, used_record; /* what it holds, now and as its newest record says (fs/usage.c) */
	/* For the log (fs/log.h), each equal to volume.epoch while it is so: it changed since the last
	 * durable commit; and what of it only a commit can make durable (names, xattrs); it is in the
	 * log, so that the next commit must take it along. */
	uint64_t changed_epoch, names_epoch, logged_epoch;
	uint64_t log_ticket; /* of the newest frame that has it */
	bool unlogged;       /* changed since then */
};

struct object_cache; /* open descriptors, LRU-bounded */

/* Lookup counts of inodes that are not in memory (fs/inode_refs.c). */
struct inode_ref;
struct inode_refs {
	struct inode_ref *v;
	size_t size, n; /* size is a power of two */
};

/* Sorted. */
struct frozen_ids {
	uint64_t *ids;
	size_t n;
};

struct volume {
	struct keyring *kr;
	char *store;
	int store_fd, lock_fd, objects_fd;
	bool read_only;
	char why_read_only[160];
	void (*alarm)(void *arg, const struct volume_alarm *a);
	void *alarm_arg;

	pthread_mutex_t commit_lock; /* before lock */
	pthread_mutex_t lock;
	struct rstore *rs;
	struct vinode **hash;
	size_t hash_size, n_vinodes;
	struct vinode *lru_head, *lru_tail; /* oldest at the head */
	struct inode_refs refs;
	struct vinode *dirty_head;
	uint64_t next_id, reserved_id;     /* next to give out; durable bound */
	uint64_t next_link, reserved_link; /* the same for links */
	uint64_t asked_id, asked_link;     /* bounds in the pending counters record, 0 none */
	uint64_t timeline;
	uint64_t n_inodes, n_inodes_put; /* in use; as the counters record has it */
	/* fs/usage.c: bytes that files hold by their records; in memory beyond that; the bound, 0 none */
	uint64_t used_records, quota;
	int64_t used_pending;
	uint64_t used_claimed; /* by writers on their way */
	pthread_cond_t claims_settled;
	uint64_t used_put, quota_put; /* as the counters record has them */
	bool used_known;	      /* else used_records is to be counted anew */
	bool recounting;	      /* .. and is: up to this id, to this sum */
	uint64_t recount_id, recount_sum;
	size_t n_lru, lru_bytes; /* of them; of their content */
	uint8_t session[MAP_SESSION_LEN]; /* of this mount, for block keys */
	uint64_t session_counter;         /* blocks sealed in it */
	struct object_cache *objects;
	uint64_t n_alarms;
	uint64_t n_requests; /* for file data, so far: whether anybody asks for anything */
	uint8_t charter_head[32], trail_root[32];
	uint64_t trail_size;
	int64_t anchor_written;     /* CLOCK_MONOTONIC seconds */
	struct rstore_root durable; /* last committed */

	struct vlog *log;
	uint64_t epoch; /* grows with every durable commit, from 1 */
	/* As names_epoch of an inode, for all: a folder moved, a lineage was entered. */
	uint64_t depend_epoch;
	uint64_t commits_begun; /* how many chose what they take: the newest one's number */
	uint64_t full_done;     /* number of the last that took everything and was durable */
	bool failed;  /* read_only because a sync failed: what is dirty is lost at close */
	bool starved; /* the reserve is not whole: nothing that needs new space begins */
	bool orphans_waiting, dead_waiting; /* work for the committer */
	struct frozen_ids frozen, frozen_names; /* fs/freeze.c */
	uint64_t dead_held_by; /* transaction of the snapshot for which all that is dead now waits */

	pthread_t committer;
	bool committer_runs;
	pthread_cond_t wake;
	bool wake_now; /* pending records press: commit before the time is up */
	bool stop;
};

/* --- volume.c, volume_commit.c --- */
/* Begins and ends a public call: the keyring's use bracket and the lock. */
void engine_enter(struct volume *v);
void engine_leave(struct volume *v);
/* -EROFS when read-only, else 0. */
int engine_writable(struct volume *v);
/* Reports damage and turns it into -EIO: -EBADMSG, -EUCLEAN, -EKEYREVOKED -> -EIO; others pass. */
int engine_fault(struct volume *v, int err, uint64_t id, const char *what, uint64_t position);
void engine_read_only(struct volume *v, const char *why);
/* -EROFS, or -ENOSPC without the reserve file: asked first by whatever needs new space. */
int engine_room(struct volume *v);
/* A fresh id, below the durable reservation (extends it with a commit when used up). */
int engine_new_id(struct volume *v, uint64_t *ret);
/* Makes sure that n ids and n link ids can be had without a commit: asked before an operation
 * changes its first record. */
int engine_ids_ready(struct volume *v, unsigned n);
/* A fresh link id; engine_ids_ready came before. */
uint64_t engine_new_link(struct volume *v);
/* Commits all records, and the data that publish_first asks for, with the lock held. */
int engine_commit_records(struct volume *v);
/* An operation failed after its first change: the half must never be committed. Returns err. */
int engine_half_done(struct volume *v, int err, const char *what);
/* Enters the lineage edge a <-> b in both directions; value: kind u8. */
int engine_add_edge(struct volume *v, uint64_t a, uint64_t b, uint8_t kind);
/* Publishes everything (only == NULL) or one inode, then commits. Called with neither lock; -errno
 * of what failed. */
int engine_commit(struct volume *v, struct vinode *only);
struct timespec engine_now(void);

/* --- freeze.c --- */
/* -EROFS when the id is frozen: nothing of it changes. */
int freeze_check(struct volume *v, uint64_t id);
/* -EROFS when it, or the names that lead to it, are frozen: none is given, taken or moved. */
int freeze_check_names(struct volume *v, uint64_t id);
/* At close; with the lock held. */
void freeze_free(struct volume *v);

/* Record keys. */
enum engine_sub { SUB_INODE = 0, SUB_XATTR = 1, SUB_DENTRY = 2, SUB_MAP = 3 };
enum engine_space {
	SPACE_FILE = 0x10,
	SPACE_HISTORY = 0x20,
	SPACE_EDGE = 0x30,
	SPACE_LOOKUP = 0x31,
	SPACE_RETIRED = 0x32,
	SPACE_ORPHAN = 0x40,
	SPACE_DEAD_OBJECT = 0x41,
	SPACE_COUNTERS = 0x50,
};
struct rstore_key engine_key(enum engine_space space, const uint64_t *parts, size_t n_parts);
struct rstore_key engine_file_key(uint64_t id, enum engine_sub sub); /* inode, xattrs */
/* dentry, map */
struct rstore_key engine_file_key_at(uint64_t id, enum engine_sub sub, uint64_t at);
/* The first key after everything of the id (or of the id's sub). */
struct rstore_key engine_file_end(uint64_t id);
struct rstore_key engine_sub_end(uint64_t id, enum engine_sub sub);

/* Subkeys of a file: "attr", "map", "name" (combined with the other side's), and block keys by
 * session. 0 or -EKEYREVOKED. */
int engine_subkey(struct volume *v, uint64_t id, const char *label, uint8_t ret[32]);
int engine_name_key(struct volume *v, uint64_t parent, uint64_t child, uint8_t ret[32]);
int engine_block_key(struct volume *v, uint64_t id, const uint8_t session[MAP_SESSION_LEN],
		     struct suite_key *ret);

/* --- inode.c --- */
/* Pinned; from memory or the store. -ENOENT (proved), -EIO. inode_unpin lets go. */
int inode_get(struct volume *v, uint64_t id, struct vinode **ret);
/* From memory only, not pinned; NULL. */
struct vinode *inode_peek(struct volume *v, uint64_t id);
/* A new one, pinned, in memory and dirty; nlink as given. */
int inode_new(struct volume *v, uint32_t mode, uint32_t uid, uint32_t gid, uint64_t rdev,
	      struct vinode **ret);
void inode_unpin(struct volume *v, struct vinode *ino);
void inode_pin(struct volume *v, struct vinode *ino);
/* The kernel lets go of n lookups. */
void inode_forget(struct volume *v, uint64_t id, uint64_t n);
void inode_mark_dirty(struct volume *v, struct vinode *ino);
/* Puts the inode record (published size, inline data) into the overlay. */
int inode_put_record(struct volume *v, struct vinode *ino);
/* nlink fell to zero: an orphan, which goes (records deleted, object to the dead list) as soon as
 * nothing refers to it: at the earliest when the caller unpins it. */
int inode_drop_links(struct volume *v, struct vinode *ino);
/* Before a new inode got its name: forgets it and what acl_inherit stored. */
void inode_abandon(struct volume *v, struct vinode *ino);
/* The attributes as callers see them: live size, blocks. */
void inode_attr(const struct vinode *ino, struct volume_attr *ret);
/* Deletes at most max records from <= key < to; how many in *ret_n. */
int inode_del_range(struct volume *v, const struct rstore_key *from, const struct rstore_key *to,
		    size_t max, size_t *ret_n);
/* Takes up to max orphans that nothing refers to out of the store; clears orphans_waiting when none
 * is left. */
int inode_reclaim(struct volume *v, size_t max);
/* Codec, also used on snapshots: fills attr (but its id), parent, flags and inline (pointing into
 * p). -EUCLEAN. */
struct inode_record {
	struct volume_attr attr;
	uint64_t parent;
	bool has_xattrs, in_blocks;
	const uint8_t *inline_data;
	size_t inline_len;
	uint64_t n_slots, n_mapped; /* of the object: high-water mark and live blocks */
};
void inode_encode(const struct inode_record *r, struct bytes_w *out);
int inode_decode(const void *p, size_t len, struct inode_record *ret);

/* --- record_pad.c --- */
#define RECORD_PAD 128u
#define RECORD_PAD_WIDE 2048u
/* Zeros after a record of len bytes. */
void record_pad(struct bytes_w *out, size_t len);
/* Whether what follows the first used bytes is the padding that record_pad would have written. */
bool record_padded(const uint8_t *p, size_t len, size_t used);

/* --- dir.c --- */
struct dentry {
	uint64_t child, link;
	uint32_t type_mode; /* S_IFMT bits */
	char name[VOLUME_NAME_MAX + 1];
};
int dir_find(struct volume *v, struct vinode *dir, const char *name, struct dentry *ret);
int dir_add(struct volume *v, struct vinode *dir, const char *name, uint64_t child,
	    uint32_t type_mode);
/* Removes the entry and enters it in the history. last: the child's inode goes with it. */
int dir_remove(struct volume *v, struct vinode *dir, const struct dentry *d, bool last);
int dir_is_empty(struct volume *v, struct vinode *dir); /* 1, 0, -errno */
/* New folder: its lookup id. */
int dir_init(struct volume *v, struct vinode *dir);
/* Moves every entry to a new lookup id, without those whose child is in drop (sorted); the old one
 * is retired. */
int dir_rehash(struct volume *v, struct vinode *dir, const uint64_t *drop, size_t n_drop);
/* Bucket codec: calls fn for each entry; the name is sealed still. */
struct dentry_sealed {
	uint64_t child, link;
	uint32_t type_mode;
	const uint8_t *box;
	size_t box_len;
};
int dir_bucket_each(const void *p, size_t len, int (*fn)(void *arg, const struct dentry_sealed *d),
		    void *arg);
int dir_open_name(struct volume *v, uint64_t parent, const struct dentry_sealed *d,
		  char ret[VOLUME_NAME_MAX + 1]);

/* --- usage.c: what files hold, and the quota --- */
/* The inode holds more or less than it did. */
void usage_update(struct volume *v, struct vinode *ino);
/* It was filled from its record. */
void usage_loaded(struct vinode *ino);
/* Its record was put. */
void usage_recorded(struct volume *v, struct vinode *ino);
/* It leaves memory for good: what it holds beyond its record is given up. */
void usage_forget(struct volume *v, struct vinode *ino);
/* Its record, which said so many bytes, is gone. */
void usage_dropped(struct volume *v, uint64_t id, uint64_t bytes);
/* What the stored record says. */
int usage_of_record(struct volume *v, uint64_t id, uint64_t *ret);
uint64_t usage_of(const struct inode_record *rec);
/* A record went unread: the sum is counted anew by the committer. */
void usage_unknown(struct volume *v);
/* Counts, when it is to be; without the lock, which others get in between. */
void usage_count(struct volume *v);
uint64_t usage_total(const struct volume *v);
/* Before bytes are written: -EDQUOT when they would pass the quota. May wait, letting go of the lock, and then tells -EROFS or
 * -EIO as the freeze or destruction of the file has it. usage_settle follows when 0. */
int usage_claim(struct volume *v, struct vinode *ino, uint64_t off, uint64_t len, uint64_t *ret_claim);
void usage_settle(struct volume *v, struct vinode *ino, uint64_t claim);
/* -EDQUOT when so many bytes would pass it. */
int usage_room(struct volume *v, uint64_t more);

/* --- xattr.c, acl.c --- */
/* Applies the parent's default ACL or the umask to a new inode, before it is named. Stores ACL
 * xattrs as needed. */
int acl_inherit(struct volume *v, struct vinode *dir, struct vinode *ino, uint32_t umask);
/* chmod changed the mode: the access ACL's mask follows. */
int acl_chmod(struct volume *v, struct vinode *ino);
/* setxattr of system.posix_acl_*: validates, updates the mode; *ret_drop when the xattr adds
 * nothing and is not kept. */
int acl_set(struct volume *v, struct vinode *ino, const char *name, const void *val, size_t len,
	    bool *ret_drop);
int xattr_read(struct volume *v, struct vinode *ino, struct bytes_w *out); /* whole encoded list */
int xattr_write(struct volume *v, struct vinode *ino, const void *list, size_t len);
/* Length of the list in an xattr record, which pads it; -EUCLEAN. */
int xattr_record_decode(const uint8_t *p, size_t len, size_t *ret_list_len);
/* Within an encoded list: value or NULL. */
const uint8_t *xattr_find(const uint8_t *list, size_t len, const char *name, size_t *ret_len);
/* Replaces (val != NULL) or removes one pair: the new list appended to out. */
void xattr_replace(const uint8_t *list, size_t len, const char *name, const void *val,
		   size_t val_len, struct bytes_w *out);

/* Bytes in the tag of a block: the suite's. */
static inline size_t engine_tag_len(const struct volume *v)
{
	return suite_tag_len(keyring_suite(v->kr));
}

/* --- data*.c: blocks of regular files. All with the lock held; reading, writing, cutting and
 * punching may let go of it meanwhile, so the inode is pinned. --- */
ssize_t data_read(struct volume *v, struct vinode *ino, void *buf, size_t len, uint64_t off);
/* Grows attr.size. Inline while small, moves to blocks once. */
int data_write(struct volume *v, struct vinode *ino, const void *buf, size_t len, uint64_t off);
/* To just this size, once nobody else changes the file. */
int data_truncate(struct volume *v, struct vinode *ino, uint64_t size);
/* To at least this size: what others make longer meanwhile is never cut. Waits for nobody. */
int data_extend(struct volume *v, struct vinode *ino, uint64_t size);
/* Holes in [off, off+len); partial blocks at the edges are zeroed. */
int data_punch(struct volume *v, struct vinode *ino, uint64_t off, uint64_t len);
int data_seek(struct volume *v, struct vinode *ino, uint64_t off, int whence, uint64_t *ret);
/* Whether the file lies so scattered that it should be written anew. */
bool data_rewrite_due(const struct vinode *ino);
/* Moves one chunk; the inode is pinned. 1: come again, 0: the file is done, -errno: given up. */
int data_rewrite_some(struct volume *v, struct vinode *ino);
/* Whether something is unpublished. */
bool data_dirty(const struct vinode *ino);
/* A descriptor of its own to write the object back through, without the lock; -1: none. The caller
 * closes it. */
int data_sync_fd(struct volume *v, struct vinode *ino);
/* Syncs the object, puts map records, sets published_size; the caller puts the inode record and
 * commits. -EIO, -ENOSPC: stays unpublished. */
int data_publish(struct volume *v, struct vinode *ino);
/* After a durable commit: slots freed by it become reusable. */
void data_committed(struct volume *v, struct vinode *ino);
/* Frees memory (not the object). */
void data_forget(struct vinode *ino);
/* The object's figures for the inode record and attr.blocks. */
void data_figures(const struct vinode *ino, uint64_t *ret_slots, uint64_t *ret_mapped);
/* Called once after the inode was loaded. */
int data_attach(struct volume *v, struct vinode *ino, uint64_t n_slots, uint64_t n_mapped);
/* Decrypts n consecutive non-hole entries of a group into buf. No lock needed when fd's slots are
 * kept by a snapshot. */
int data_read_entries(struct volume *v, uint64_t id, uint64_t group, const struct map_group *g,
		      unsigned first, unsigned n, void *buf);

/* --- object.c: the ciphertext files --- */
/* max_bytes: of map groups kept in memory. */
int object_cache_new(size_t max_bytes, struct object_cache **ret);
void object_cache_free(struct object_cache *c);
/* Slots n..n+count-1 of id's object, which may lie in two segments. The folder of a new object is
 * synced before object_sync returns. */
int object_pread(struct volume *v, uint64_t id, uint64_t slot, void *buf, size_t n_slots);
/* Begins to read what object_pread will be asked for soon. Best effort. */
void object_prefetch(struct volume *v, uint64_t id, uint64_t slot, size_t n_slots);
int object_pwrite(struct volume *v, uint64_t id, uint64_t slot, const void *buf, size_t n_slots);
/* fdatasync of every segment written since, and of new folders. */
int object_sync(struct volume *v, uint64_t id);
/* From this many dirty objects on, one syncfs is cheaper than a flush for each. */
#define OBJECT_SYNCFS_MIN 32u
/* Syncs all at once when they are that many; object_sync then tells the outcome for each. */
void object_sync_many(struct volume *v);
/* Writes back all there is, without judging; no lock needed. */
void object_write_back_all(struct volume *v);
int object_unlink(struct volume *v, uint64_t id);
/* Overwrites allocated ranges once with random bytes, syncs, punches, unlinks. Bytes overwritten in
 * *ret. -ENOENT is success. */
int object_erase(struct volume *v, uint64_t id, bool overwrite, uint64_t *ret);
/* Gives space of dead slots back to the medium (punch hole). */
int object_punch(struct volume *v, uint64_t id, uint64_t slot, uint64_t n_slots);

#endif
