/*
 * What the files of the trail share. trail.c opens and closes, trail_append.c appends,
 * trail_fold.c makes checkpoints, trail_read.c reads back, trail_verify.c recomputes; below them
 * trail_event.c (records and their seals), trail_tail.c (frames), trail_tiles.c (tile and bundle
 * files), trail_checkpoint.c (the note).
 */
#ifndef COFFER_CORE_TRAIL_INTERNAL_H
#define COFFER_CORE_TRAIL_INTERNAL_H

#include <pthread.h>

#include "core/bytes.h"
#include "core/merkle.h"
#include "core/secret.h"
#include "core/suite.h"
#include "core/trail.h"

#define TRAIL_ENTRY_MAX 4096u    /* a sealed entry of this version */
#define TRAIL_ENTRY_LIMIT 65535u /* what a bundle can hold at all */
#define TRAIL_CHECKPOINT_MAX 65536u
#define TRAIL_DUE_ENTRIES 1024u
#define TRAIL_DUE_NS (60 * INT64_C(1000000000))
#define TRAIL_SYNC_NS (4 * INT64_C(1000000000))

int64_t trail_clock(clockid_t clock);

/* --- trail_event.c --- */

/* All that sealing and opening an entry takes; immutable while the trail is open. */
struct trail_keys {
	struct keyring *kr;
	const struct suite *suite;
	const uint8_t *volume_id;
	struct secret *entry; /* entry key, derived from the epoch key */
};

#define TRAIL_NAME_STEP 64u /* names are padded to a multiple */
#define TRAIL_NAME_BOX_MAX (256u + SUITE_BOX_OVERHEAD)

/* An event's name as it goes into the record. */
struct trail_name {
	uint8_t box[TRAIL_NAME_BOX_MAX];
	size_t len; /* 0: none */
	bool gone;  /* there was one, but a key was gone */
};

int trail_keys_open(struct trail_keys *k, struct keyring *kr);
void trail_keys_close(struct trail_keys *k);
/* Takes the keyring's locks. 0, -EINVAL, or what the keyring says except -EKEYREVOKED. */
int trail_name_seal(const struct trail_keys *k, const struct trail_event *ev,
		    struct trail_name *ret);
/* Fills ev->name, or name_gone when a key is gone. 0, -EBADMSG, -EUCLEAN. */
int trail_name_open(const struct trail_keys *k, const struct trail_name *name,
		    struct trail_event *ev);
/* The entry of that index into out (TRAIL_ENTRY_MAX bytes). 0 or -EINVAL. */
int trail_event_seal(const struct trail_keys *k, uint64_t index, const struct trail_event *ev,
		     int64_t account_ns, const struct trail_name *name, uint8_t *out,
		     size_t *ret_len);
/*
 * 0, -EBADMSG, -EUCLEAN, -EPROTONOSUPPORT. ret->name stays empty; ret_name is for
 * trail_name_open.
 */
int trail_event_open(const struct trail_keys *k, uint64_t index, const void *entry, size_t len,
		     struct trail_event *ret, struct trail_name *ret_name);

/* --- trail_tail.c --- */

#define TRAIL_FRAME_HEAD 28u

struct trail_frame {
	uint64_t index;
	uint64_t synced; /* entries that were durable when this one was written */
	const uint8_t *entry;
	size_t len;
};
void trail_frame_put(struct bytes_w *w, const struct trail_frame *f);
/* The frame at p: its whole length in bytes, or 0 when it is not a sound frame. */
size_t trail_frame_get(const uint8_t *p, size_t left, struct trail_frame *ret);

/* What a tail file holds, given the size of the checkpoint. */
struct trail_tail {
	size_t start;   /* offset of the first frame not below size */
	size_t end;     /* and behind the last sound one */
	uint64_t n;     /* frames between them */
	uint64_t first; /* index of the file's first frame, when there is one */
	uint64_t wrong; /* after -EUCLEAN: index of the first entry that is wrong */
};
/*
 * Whole frames in sequence from at most size on. 0; -EUCLEAN when one is missing, out of order,
 * or damaged although a later one proves that it had been synced. Unsynced rubbish at the end is
 * a power cut's: it is left out.
 */
int trail_tail_scan(const uint8_t *p, size_t len, uint64_t size, struct trail_tail *ret);

/* --- trail_tiles.c --- (paths below the trail's folder; widths as in merkle_tile_path) */

int trail_tile_write(int dir_fd, unsigned level, uint64_t n, unsigned width,
		     const uint8_t (*hash)[MERKLE_HASH_LEN]);
/* Exactly width hashes. 0, -ENOENT, -EUCLEAN (another length), -errno. */
int trail_tile_read(int dir_fd, unsigned level, uint64_t n, unsigned width,
		    uint8_t (*ret)[MERKLE_HASH_LEN]);
int trail_bundle_write(int dir_fd, uint64_t n, unsigned width, const void *p, size_t len);
/* Caller frees. */
int trail_bundle_read(int dir_fd, uint64_t n, unsigned width, uint8_t **ret, size_t *ret_len);
/* Appends an entry to a bundle. */
void trail_bundle_put(struct bytes_w *w, const void *entry, size_t len);
/* The next entry: big-endian length and bytes. NULL when the bundle ends within it. */
const uint8_t *trail_bundle_next(struct bytes_r *r, size_t *ret_len);
/*
 * Removes partial tiles and bundles made between the sizes, other than those of size. Best
 * effort.
 */
void trail_tiles_sweep(int dir_fd, uint64_t old_size, uint64_t size);
/*
 * The edge of the tree of size n from tiles on disk, where the whole tree has size entries (n <=
 * size), and each tile rolls up into the one above. -EUCLEAN, -ENOENT, -errno.
 */
int trail_edge_read(int dir_fd, uint64_t n, uint64_t size, struct merkle_edge *ret);

/* --- trail_checkpoint.c --- */

int trail_checkpoint_make(const struct trail_head *h, const uint8_t volume_id[16],
			  const uint8_t seed[32], char **ret_text);
/* The body alone, no signature checked. */
int trail_checkpoint_body(const char *text, const uint8_t volume_id[16], struct trail_head *ret);

/* --- the open trail --- */

struct trail {
	int dir_fd; /* STORE/trail */
	struct trail_keys keys;
	int64_t opened_ns;  /* CLOCK_BOOTTIME */
	int64_t account_ns; /* the account when it was opened */

	pthread_mutex_t fold_lock; /* before lock; held while a checkpoint is made */
	/* fold_lock: the tree up to head */
	struct merkle_edge *edge;
	struct bytes_w bundle; /* the partial entry bundle */

	pthread_mutex_t lock;
	/* lock: */
	struct trail_head head;
	char *text; /* its checkpoint */
	/*
	 * The tail in memory: frames from head.size on. The file holds the first written bytes of
	 * them, maybe behind frames below head.size; tail_fd is -1 when it has to be written anew
	 * (after a checkpoint, or a sync that failed: what the kernel then still holds as clean
	 * pages is not on the medium).
	 */
	struct bytes_w frames;
	uint64_t n_frames;
	int tail_fd;
	size_t written;
	uint64_t synced;     /* entries known durable */
	int64_t oldest_ns;   /* CLOCK_BOOTTIME of the first frame; 0: from before */
	int64_t unsynced_ns; /* CLOCK_BOOTTIME of the first append after the last sync; 0: none */
};

/*
 * trail.c: a failure with its row of the table; r is returned (-ENOENT as -EUCLEAN: what is
 * missing is damage).
 */
int trail_fail(struct diag *d, int r, const char *object_fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* trail_append.c: frames to the file; with sync, onto the medium. lock is held. */
int trail_tail_flush(struct trail *t, bool sync);
/* trail_fold.c: the tail into the tree. fold_lock is held, lock is not. */
int trail_fold(struct trail *t);

#endif
