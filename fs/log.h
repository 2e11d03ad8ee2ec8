/*
 * The log: STORE/log, where small synced writes become durable with one flush of one file.
 *
 * An fsync of a file whose names are durable and of which little has changed appends one frame and
 * flushes; the ordinary commit that follows within seconds publishes the same change through block
 * maps and records, and begins the log anew. So the log never holds anything but what lies between
 * the last commit and now:
 *
 *   commit T durable --> frames 0, 1, 2 .. on base T --> commit T' durable --> frames 0, 1 .. on T'
 *
 * A frame says which commit it stands on (number and digest of the commit record), its number, and
 * the tag of the frame before it, and is sealed; what it says of a file is sealed once more under
 * that file's own key. A frame is written only when the one before it was flushed. Hence:
 *
 *   frame opens, is next                   replayed
 *   frame does not open, none behind it    the end: a write that power cut short, and which nobody
 *                                          was told of
 *   frame does not open, but one behind    damage: reported, nothing from here on is replayed
 *   frame of another base                  stale: no frame
 *
 * Every commit takes along all files that the log has (vinode.logged), so none is ever in the log of
 * an older base only. A log that cannot be written is given up until the next commit, and fsync
 * makes an ordinary one. Format: docs/format.md "Log".
 *
 * Threads: log_add, log_restart and log_replay with the engine lock; log_wait and log_prepare with
 * none. The log's own lock is a leaf. Callers who wait at the same time share a frame: the first
 * writes for all that have been added.
 */
#ifndef COFFER_FS_LOG_H
#define COFFER_FS_LOG_H

#include "core/bytes.h"
#include "fs/engine.h"

#define LOG_NAME "log"
#define LOG_UNIT 4096u
#define LOG_BYTES ((size_t)16 << 20)
#define LOG_BYTES_MIN ((size_t)64 << 10)
#define LOG_TAG_LEN SUITE_TAG_LEN
#define LOG_ENTRIES_MAX 64u
#define LOG_PREFIX_LEN 16u
#define LOG_FRAME_MAX ((size_t)1 << 20)

/* --- log_frame.c: bytes of a frame; pure --- */

/* Where a frame belongs. */
struct log_place {
	struct rstore_root base;
	uint64_t seq;
	uint8_t prev[LOG_TAG_LEN]; /* of the frame before; zeros in the first */
};
struct log_keys {
	const struct suite *suite;
	const uint8_t *key; /* 32 bytes: of the heads */
	const uint8_t *volume_id;
};
struct log_item {
	uint64_t id;
	size_t off, len; /* of the entry's box, from the frame's start */
	uint8_t tag[LOG_TAG_LEN];
};
struct log_frame {
	size_t len; /* with padding: the next one begins there */
	struct log_place place;
	uint8_t tag[LOG_TAG_LEN]; /* of the head: what the next frame names */
	unsigned n_items;
	struct log_item items[LOG_ENTRIES_MAX];
};
/* Length of a frame with n items whose boxes have so many bytes in all. */
size_t log_frame_len(unsigned n_items, size_t boxes_len);
/*
 * Appends a frame to out: its head, the boxes as they are, zeros. Items need id and len only; their
 * tags are taken from the boxes. ret_tag is the head's tag. -ENOMEM.
 */
int log_frame_seal(const struct log_keys *k, const struct log_place *at,
		   const struct log_item *items, unsigned n_items, const struct bytes_w *boxes,
		   struct bytes_w *out, uint8_t ret_tag[LOG_TAG_LEN]);
/*
 * Opens the head of what stands at p. 0; -ENODATA: no frame on this base (stale, torn, nothing);
 * -EUCLEAN: sealed, but malformed. ret->place is what the frame says; whether it is next is the
 * caller's to compare. Entries are not opened, but their tags are those that the head names, else
 * -EBADMSG (ret is filled in).
 */
int log_frame_open(const struct log_keys *k, const struct rstore_root *base, const uint8_t *p,
		   size_t left, struct log_frame *ret);

/* --- log_entry.c: what a frame says of one file --- */

/* A run of blocks: their content, or holes. */
struct log_run {
	uint64_t first, n;
	bool hole;
	const uint8_t *data; /* n blocks; NULL for holes */
};
#define LOG_RUNS_MAX 64u
struct log_entry {
	uint32_t mode, uid, gid;
	struct timespec atime, mtime, ctime;
	uint64_t size;
	uint64_t cut; /* the file was as short as this in between; UINT64_MAX: not cut */
	bool is_inline;
	const uint8_t *inline_data; /* size bytes */
	unsigned n_runs;
	struct log_run runs[LOG_RUNS_MAX];
};
void log_entry_encode(const struct log_entry *e, struct bytes_w *out);
/* Pointers into p. -EUCLEAN. */
int log_entry_decode(const void *p, size_t len, struct log_entry *ret);
/* The box of an entry: key "log" of FK(id, live). */
int log_entry_seal(struct volume *v, uint64_t id, const struct bytes_w *plain, struct bytes_w *out);
int log_entry_open(struct volume *v, uint64_t id, const uint8_t *box, size_t len,
		   struct bytes_w *out);
/* What changed of a file since the log or the last commit had it. -E2BIG: no matter for the log. */
int log_entry_of(struct volume *v, struct vinode *ino, struct bytes_w *out);
/* Makes it so: ordinary writes, not yet published. After a failure content may be there in part:
 * mode, owner and ctime are the entry's then, mtime and atime stay. */
int log_entry_apply(struct volume *v, struct vinode *ino, const struct log_entry *e);

/* --- log.c --- */
/* Opens the file where there is one. 0 also when not. */
int log_open(struct volume *v, size_t bytes);
void log_close(struct volume *v);
/*
 * Before volume_fsync waits: 0 and a ticket for log_wait (0: all of the file is durable); -EAGAIN
 * when it takes an ordinary commit.
 */
int log_add(struct volume *v, struct vinode *ino, uint64_t *ret_ticket);
/* 0 once it is durable; -EIO: an ordinary commit is needed. */
int log_wait(struct volume *v, uint64_t ticket);
/* After a durable commit: what is in the log, and on its way, is in the commit. */
void log_restart(struct volume *v, const struct rstore_root *root);
/* Makes the file, when fsyncs come often enough to want it. */
void log_prepare(struct volume *v);
/* Overwrites all of it: what lay there must not stay. No lock held, and a commit came before. */
int log_erase(struct volume *v);

/* --- log_replay.c --- */
/*
 * At opening, before anything else changes: applies the frames of the last commit. They are durable
 * with the first commit that follows. Damage raises alarms and ends it; then 0 as well. -ENOMEM,
 * -EIO: the volume must not be opened.
 */
int log_replay(struct volume *v);
/* Reads what is in the log now and compares; the number of frames, and of bad ones. */
int log_verify(struct volume *v, uint64_t *ret_n, uint64_t *ret_bad, uint64_t *ret_bad_off);

#endif
