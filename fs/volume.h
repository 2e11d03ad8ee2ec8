/*
 * The volume engine: a filesystem over sealed records and ciphertext objects. What the FUSE front
 * end, backup and destruction call.
 *
 * Owns STORE/meta.db (through fs/rstore) and STORE/objects. Knows nothing of FUSE. One process
 * opens a volume (flock on STORE/lock). Permission checks are the front end's (the kernel's); the
 * engine keeps POSIX semantics of everything else: types, link counts, times, set-id clearing, ACL
 * inheritance.
 *
 * Threads: every function may be called from any thread. One engine lock guards everything in
 * memory; it is let go of while blocks are sealed, opened and transferred, and around long syncs.
 * Lock order: keyring epoch lock (each call brackets itself), engine lock, trail lock. Callbacks run with the engine lock held unless said otherwise and must not call back in.
 *
 * Errors are -errno. Damage is -EIO to the caller (never -ENOENT, never zeros), after a call of the
 * alarm; a destroyed file is -EIO too, a frozen or read-only volume -EROFS.
 */
#ifndef COFFER_FS_VOLUME_H
#define COFFER_FS_VOLUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "core/diag.h"
#include "core/kdf.h"
#include "core/keyring.h"
#include "fs/map.h"
#include "fs/rstore.h"

#define VOLUME_ROOT_ID 1
#define VOLUME_FIRST_ID 16
#define VOLUME_NAME_MAX 255
#define VOLUME_SIZE_MAX ((uint64_t)16 << 40)
#define VOLUME_CACHE_BYTES ((size_t)64 << 20) /* unless asked otherwise */
#define VOLUME_INLINE_MAX 4095u /* bytes of a small file kept in its inode record: less than a block */
#define VOLUME_COMMIT_SECONDS 5

struct volume;

struct volume_attr {
	uint64_t id;
	uint32_t mode; /* with type */
	uint32_t nlink, uid, gid;
	uint64_t rdev;
	uint64_t size;
	uint64_t blocks; /* of 512 bytes, as allocated */
	struct timespec atime, mtime, ctime, btime;
};

/* What an integrity alarm says; from any engine call, with the engine lock held: record it and
 * return. */
struct volume_alarm {
	uint64_t id;       /* file, 0 unknown */
	int err;           /* -EBADMSG .. */
	const char *what;  /* "inode record", "block", .. */
	uint64_t position; /* byte offset or key hint */
};
struct volume_config {
	const char *store;
	struct keyring *kr;
	size_t cache_bytes; /* of nodes and block maps; 0 = VOLUME_CACHE_BYTES */
	size_t log_bytes;   /* of STORE/log, multiple of 4096; 0 = 16 MiB */
	bool read_only;
	void (*alarm)(void *arg, const struct volume_alarm *a); /* may be NULL */
	void *alarm_arg;
};

/* Makes meta.db, objects/ and the root folder with owner uid:gid. kr was made by keyring_create and
 * opened. */
int volume_create(const struct volume_config *cfg, uint32_t uid, uint32_t gid, struct diag *d);
/* Locks, opens, checks against the anchor, reserves ids, closes snapshots that were left open, starts
 * the committer thread. DIAG_MOUNTED, DIAG_STORE_READ_ONLY (readers write the journal too),
 * DIAG_ROLLED_BACK, DIAG_STORE_DAMAGED. */
int volume_open(const struct volume_config *cfg, struct volume **ret, struct diag *d);
/* Commits, writes the anchor, stops the thread. What could not be committed is returned; memory is
 * freed in any case. */
int volume_close(struct volume *v);
struct keyring *volume_keyring(struct volume *v);
/* What the anchor should carry besides the store's own root; the caller (daemon) owns these. Copied
 * into every anchor write. */
void volume_set_heads(struct volume *v, const uint8_t charter_head[32], uint64_t trail_size,
		      const uint8_t trail_root[32]);

/* --- namespace --- */

/* lookup, make, link and readdir with plus take a reference (lookup count) for each attr that they
 * return; volume_forget lets go of it. */

/* Name "." is the inode parent itself, of whatever type: how a file handle is turned back into a file
 * after a restart. ".." is a folder's parent. -ENOENT (proved), also for an inode without links. */
int volume_lookup(struct volume *v, uint64_t parent, const char *name, struct volume_attr *ret);
void volume_forget(struct volume *v, uint64_t id, uint64_t n);
int volume_getattr(struct volume *v, uint64_t id, struct volume_attr *ret);

enum volume_set {
	VOLUME_SET_MODE = 1,
	VOLUME_SET_UID = 2,
	VOLUME_SET_GID = 4,
	VOLUME_SET_SIZE = 8,
	VOLUME_SET_ATIME = 16,
	VOLUME_SET_MTIME = 32,
	VOLUME_SET_CTIME = 64,
	VOLUME_KILL_SUIDGID = 128, /* clear set-id bits as POSIX asks on chown, write, truncate */
};
/* Times given as "now" are filled in by the caller. ctime is now unless VOLUME_SET_CTIME. */
int volume_setattr(struct volume *v, uint64_t id, unsigned mask, const struct volume_attr *in,
		   struct volume_attr *ret);

/* Before a write by somebody who may not keep them: clears set-id bits, where there are any. What stands in the way (a frozen
 * file, a volume that is read-only) is the write's to report. */
void volume_kill_set_ids(struct volume *v, uint64_t id);

struct volume_new {
	uint32_t mode; /* type and permissions, umask not yet applied */
	uint32_t umask;
	uint32_t uid, gid; /* of the caller; a set-gid parent overrides gid */
	uint64_t rdev;
	const char *target; /* symlinks */
};
/* Any type. parent 0 with name NULL: an unlinked file (O_TMPFILE). -EEXIST, -ENAMETOOLONG, -ENOSPC
 * .. */
int volume_make(struct volume *v, uint64_t parent, const char *name, const struct volume_new *in,
		struct volume_attr *ret);
int volume_link(struct volume *v, uint64_t id, uint64_t parent, const char *name,
		struct volume_attr *ret);
int volume_unlink(struct volume *v, uint64_t parent, const char *name);
int volume_rmdir(struct volume *v, uint64_t parent, const char *name);
/* flags: RENAME_NOREPLACE, RENAME_EXCHANGE */
int volume_rename(struct volume *v, uint64_t parent, const char *name, uint64_t new_parent,
		  const char *new_name, unsigned flags);
/* Appends the target to out (no NUL). */
int volume_readlink(struct volume *v, uint64_t id, struct bytes_w *out);
/* Entries after cookie (0: from the start; "." and ".." are the front end's) until fn returns
 * non-zero; attr is NULL unless plus, and for an entry whose inode does not open. With plus, an
 * entry that has attr and that fn accepts (returns 0) takes a reference. Cookies are stable while
 * entries come and go, at least 15 and below 2^63. */
typedef int (*volume_dirent_fn)(void *arg, const char *name, uint64_t id, uint32_t type_mode,
				uint64_t cookie, const struct volume_attr *attr);
int volume_readdir(struct volume *v, uint64_t dir, uint64_t cookie, bool plus, volume_dirent_fn fn,
		   void *arg);
/* The parent of a folder. */
int volume_parent(struct volume *v, uint64_t dir, uint64_t *ret);

/* value appended to out. -ENODATA */
int volume_getxattr(struct volume *v, uint64_t id, const char *name, struct bytes_w *out);
/* flags: XATTR_CREATE, XATTR_REPLACE */
int volume_setxattr(struct volume *v, uint64_t id, const char *name, const void *val, size_t len,
		    int flags);
/* names with their NULs appended to out */
int volume_listxattr(struct volume *v, uint64_t id, struct bytes_w *out);
int volume_removexattr(struct volume *v, uint64_t id, const char *name);

/* --- files --- */

/* Counts handles; writable ones are what a snapshot flushes and a freeze waits for. O_TRUNC is the
 * caller's setattr. */
int volume_open_file(struct volume *v, uint64_t id, bool writable);
void volume_release_file(struct volume *v, uint64_t id, bool writable);
/* Bytes read into buf (short only at the end of the file), or -errno. */
ssize_t volume_read(struct volume *v, uint64_t id, void *buf, size_t len, uint64_t off);
/* len or -errno. kernel_times: the kernel owns mtime (writeback cache), do not touch it. */
ssize_t volume_write(struct volume *v, uint64_t id, const void *buf, size_t len, uint64_t off,
		     bool kernel_times);
/* mode as fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]. */
int volume_fallocate(struct volume *v, uint64_t id, int mode, uint64_t off, uint64_t len);
/* SEEK_DATA, SEEK_HOLE; -ENXIO. */
int volume_seek(struct volume *v, uint64_t id, uint64_t off, int whence, uint64_t *ret);
/* Copies and enters the lineage. Bytes copied or -errno. */
ssize_t volume_copy(struct volume *v, uint64_t src, uint64_t src_off, uint64_t dst,
		    uint64_t dst_off, size_t len);
/* The file and the namespace it depends on are durable. For a folder: the namespace. */
int volume_fsync(struct volume *v, uint64_t id);
/*
 * The same in two halves: the first does not wait for the medium and says which way it goes; the
 * second does, and must follow when the first returned 0. What others did in between shares the
 * flush, or the commit.
 */
struct volume_syncing {
	struct vinode *ino;
	bool in_log;
	uint64_t ticket;  /* of the log */
	uint64_t arrived; /* commits begun until then */
};
int volume_fsync_begin(struct volume *v, uint64_t id, struct volume_syncing *ret);
int volume_fsync_end(struct volume *v, struct volume_syncing *s);
/* Everything handed over so far is durable. */
int volume_sync(struct volume *v);

/* Files may hold so many bytes, 0 without bound; also less than they hold: then nothing is added until they hold less.
 * Durable at return. -EROFS, or what the commit came to. */
int volume_set_quota(struct volume *v, uint64_t bytes);

struct volume_stat {
	/* of the medium under the store; none is free while whatever needs space is refused */
	uint64_t total_bytes, free_bytes;
	uint64_t n_files_free;
	uint64_t n_inodes; /* in use */
	uint64_t used_bytes, quota_bytes; /* what files hold, and may (0: any); -EDQUOT beyond */
	uint64_t txn;      /* last durable */
	uint64_t next_id;
	uint64_t n_snapshots;
	uint64_t n_alarms; /* since open */
	uint64_t pending_bytes;
	bool read_only; /* after a failed sync */
	char why_read_only[160];
};
void volume_stat(struct volume *v, struct volume_stat *ret);
/* Whether a handle that may write to it is open. */
bool volume_is_writable(struct volume *v, uint64_t id);
/* Ids with a writable handle: their kernel caches are flushed before a snapshot. Caller frees. */
int volume_writable_ids(struct volume *v, uint64_t **ret, size_t *ret_n);

/* --- snapshots, for backup --- */

struct volume_snapshot {
	struct rstore_snap snap;
	uint64_t next_id;   /* ids at or above did not exist */
	uint64_t next_link; /* link ids at or above did not exist */
	uint64_t timeline;  /* random number of this history; changes when history forks */
	int64_t time;       /* unix seconds */
	int64_t keep_until; /* unix seconds; 0: no longer than this mount */
};
#define VOLUME_SNAPSHOT_KEEP_SECONDS (24 * 60 * 60)
/* Publishes everything, commits, opens. The engine closes it by itself when the medium is nearly
 * full; whatever is asked of it then is -ESTALE. */
int volume_snapshot_open(struct volume *v, struct volume_snapshot *ret);
int volume_snapshot_close(struct volume *v, const struct volume_snapshot *s);
/* Has it outlive a restart or a crash until then, at most twice VOLUME_SNAPSHOT_KEEP_SECONDS from now; it is
 * closed when that time has come. 0: not any more. Durable. -ESTALE when it is closed. */
int volume_snapshot_keep(struct volume *v, struct volume_snapshot *s, int64_t until);
/* One that is open, by rstore id: for resuming a run. A writable volume_open closes whatever an
 * earlier mount left open and did not ask to keep. -ENOENT */
int volume_snapshot_find(struct volume *v, uint64_t snap_id, struct volume_snapshot *ret);

/* A file as the snapshot has it. Pointers are valid during the call. */
struct volume_snap_inode {
	struct volume_attr attr;
	uint64_t txn; /* of the inode record: the version */
	const uint8_t
	    *inline_data; /* small file's content or symlink's target; NULL: none or in blocks */
	size_t inline_len;
	const uint8_t *xattrs; /* encoded as docs/format.md "Xattrs"; see volume_xattrs_next */
	size_t xattrs_len;
};
/* What a scan delivers, in key order: for each id first its inode, then names in it (a folder) or
 * maps (a file). */
struct volume_snap_ops {
	/* The inode changed. */
	int (*inode)(void *arg, const struct volume_snap_inode *in);
	/* parent holds name -> child. Link ids are unique for ever. name_err is not 0 when the name
	 * does not open (-EKEYREVOKED). */
	int (*name)(void *arg, uint64_t parent, uint64_t link, uint64_t child, uint32_t type_mode,
		    const char *name, int name_err);
	/* A group of 64 blocks changed; entries with birth > since are new, holes may be new. */
	int (*map)(void *arg, uint64_t id, uint64_t group, uint64_t txn, const struct map_group *g);
	/* The link is gone from parent (unlinked, moved or replaced); last: the child's inode is
	 * gone as well. */
	int (*gone)(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool last);
	/* a and b are of one lineage. */
	int (*edge)(void *arg, uint64_t a, uint64_t b, uint8_t kind);
};
/* Everything newer than since (0: everything). Callbacks run WITHOUT the engine lock and may call
 * volume_snapshot_read and volume_snapshot_inode. A damaged record ends it with -EIO. */
int volume_snapshot_scan(struct volume *v, const struct volume_snapshot *s, uint64_t since,
			 const struct volume_snap_ops *ops, void *arg);
/* The group of 64 blocks as the snapshot has it, changed or not; all holes when it has no record. -EKEYREVOKED
 * when it was destroyed meanwhile, -EIO. */
int volume_snapshot_map(struct volume *v, const struct volume_snapshot *s, uint64_t id, uint64_t group,
			struct map_group *ret);
/* The rest of such a scan: from the inode of id on, or (group not 0) from that group of its map. */
int volume_snapshot_scan_from(struct volume *v, const struct volume_snapshot *s, uint64_t since, uint64_t id,
			      uint64_t group, const struct volume_snap_ops *ops, void *arg);
/* n entries of the group from index first, which must not be holes, decrypted into buf (n *
 * MAP_BLOCK). */
int volume_snapshot_read(struct volume *v, const struct volume_snapshot *s, uint64_t id,
			 uint64_t group, const struct map_group *g, unsigned first, unsigned n,
			 void *buf);
/* The next pair in an encoded xattr list; false at the end. Zero *pos first. */
bool volume_xattrs_next(const uint8_t *xattrs, size_t len, size_t *pos, const char **name,
			const uint8_t **val, size_t *val_len);

/* --- destruction --- */

/* Everything ever known under a folder in the live records: present entries (present = true) and
 * history. name is "" when it does not open. */
typedef int (*volume_history_fn)(void *arg, uint64_t parent, uint64_t link, uint64_t child,
				 bool present, const char *name);
int volume_history(struct volume *v, uint64_t dir, volume_history_fn fn, void *arg);
/* Lineage edges of an id. */
int volume_edges(struct volume *v, uint64_t id, int (*fn)(void *arg, uint64_t other, uint8_t kind),
		 void *arg);
enum volume_edge_kind {
	VOLUME_EDGE_SAVED_OVER = 1,
	VOLUME_EDGE_COPIED = 2,
	VOLUME_EDGE_RESTORED = 3
};
/* Enters an edge in both directions (restore does). -EROFS when either is frozen. */
int volume_add_edge(struct volume *v, uint64_t a, uint64_t b, uint8_t kind);
/* Whether the id has a live inode; attr without taking a reference. -ENOENT. */
int volume_peek(struct volume *v, uint64_t id, struct volume_attr *ret);
/* Present links to an id found by walking all folders: for what is linked elsewhere. fn as above.
 * Cost: the namespace. */
int volume_links_of(struct volume *v, const uint64_t *ids, size_t n, volume_history_fn fn,
		    void *arg);
/* BLAKE2b over the sealed records of the ids (sorted, distinct), and how many bytes of file data
 * they hold. */
int volume_sealed_digest(struct volume *v, const uint64_t *ids, size_t n, uint8_t ret[32],
			 uint64_t *ret_bytes);

/*
 * Freezes ids, in any order, in place of those frozen before: from the return on their content,
 * attributes and xattrs do not change, no name in such a folder comes or goes, no name that leads to
 * one comes, goes or moves, and none is opened for writing, copied from or restored: -EROFS, through handles
 * that are open as well. Reading goes on. Known in memory only: closing thaws. -ENOMEM.
 */
int volume_freeze(struct volume *v, const uint64_t *ids, size_t n);
/* Freezes only the names that lead to ids: they can be written to, not unlinked, renamed or renamed
 * over. A set of its own; volume_thaw ends both. */
int volume_freeze_names(struct volume *v, const uint64_t *ids, size_t n);
void volume_thaw(struct volume *v);
/* What volume_destroy would refuse (-EINVAL), asked before there is no way back: something that is
 * not listed stands in a listed folder and has no name elsewhere. ids sorted, distinct. */
int volume_may_destroy(struct volume *v, const uint64_t *ids, size_t n);

struct volume_destroyed {
	uint64_t n_inodes, n_names, n_objects;
	uint64_t bytes_overwritten;
	uint64_t n_handles; /* that were open and now answer EIO */
};
/*
 * Removes the ids (sorted, distinct) from the live store after their puncture: open handles answer
 * EIO, names that lead to them go, with their folders rehashed under new lookup ids, records
 * erased, objects overwritten once with random bytes (when overwrite), synced, deallocated,
 * unlinked. Idempotent: what is already gone is no error. Commits. Works without the ids' own keys.
 * The lookup ids of destroyed and of rehashed folders that are not punctured yet are appended to
 * ret_lookup_ids as LE64 (again at a repeated call, until they are punctured): the caller punctures
 * them next.
 */
int volume_destroy(struct volume *v, const uint64_t *ids, size_t n, bool overwrite,
		   struct volume_destroyed *ret, struct bytes_w *ret_lookup_ids);
/* Path of a file's object relative to STORE, for verification by raw reads. */
void volume_object_path(uint64_t id, uint32_t segment, char out[64]);

/* --- check --- */

struct volume_check {
	uint64_t n_records, n_inodes, n_blocks, n_bad;
};
/* Verifies every record, tree shape, link counts and maps; with data every block. bad is called for
 * each finding with a text. */
int volume_check(struct volume *v, bool data, void (*bad)(void *arg, const char *text), void *arg,
		 struct volume_check *ret);

struct volume_repair {
	uint64_t n_dropped; /* buckets of entries that did not open */
	uint64_t n_found;   /* files that got a name in /lost+found */
	uint64_t n_counts;  /* link counts */
};
/*
 * Puts right what can be without guessing: entries that do not open leave their folder, what no name leads to gets one in
 * /lost+found (folder of root, 0700), link counts follow the names. said is called for each change, with a text, the engine lock
 * held. Nobody else uses the volume meanwhile (kernel caches would not know). -EUCLEAN: a node of the record tree is damaged,
 * nothing was done. -EROFS; other errors end it, with what was said before committed or not.
 */
int volume_repair(struct volume *v, void (*said)(void *arg, const char *text), void *arg, struct volume_repair *ret);

#endif
