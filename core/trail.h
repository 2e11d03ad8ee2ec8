/*
 * The trail: a tamper-evident audit log. An RFC 6962 Merkle tree over sealed records in
 * tlog-tiles layout.
 *
 *   STORE/trail/checkpoint    signed note, C2SP tlog-checkpoint; origin "coffer/VOLUMEID"
 *   STORE/trail/tile/L/..     tiles, full and partial
 *   STORE/trail/tile/entries/ entry bundles, full and partial
 *   STORE/trail/tail          entries since the checkpoint; folded in at the next
 *   STORE/trail/cosigned/..   checkpoints cosigned elsewhere
 *
 * An entry is a box under the trail epoch key; the names of objects inside it are sealed once
 * more under their file's keys (parent and child), so that they end with the file. A checkpoint
 * is made every minute when there are entries, every 1024 entries, at close, and by
 * trail_checkpoint before a privileged action is acknowledged.
 *
 * Folding the tail in, each step durable before the next:
 *   1. full and partial tiles and bundles written     crash: ignored, written again
 *   2. checkpoint replaced                            crash: open drops tail entries below its size
 *   3. superseded partial tiles and bundles removed   crash: open removes them
 *   4. tail replaced by what was appended meanwhile
 *
 * Thread-safe; its locks are leaves (nothing of another module that locks is called while they
 * are held), and appends go on while a checkpoint is written. One process at a time may hold a
 * trail open; trail_verify may run beside it.
 */
#ifndef COFFER_CORE_TRAIL_H
#define COFFER_CORE_TRAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/keyring.h"

#define TRAIL_DETAIL_MAX 1024

struct trail_event {
	int64_t time_ns; /* 0: now */
	uint32_t uid, pid;
	char member[65]; /* "" unknown */
	char program[32];
	char operation[32]; /* "mount", "backup.run", "destroy.execute" .. */
	char object[256];   /* never a file name: "set 2026..", "order D-..", "id 17" */
	char purpose[128];
	char result[32]; /* "ok", "refused", "failed", "integrity" */
	char detail[TRAIL_DETAIL_MAX + 1];
	/* a named object: parent and child ids (0 = none) and the component, sealed under both */
	uint64_t parent, child;
	char name[256]; /* after reading: "" when its keys are gone or there was none */
	bool name_gone; /* after reading */
	/*
	 * After reading: for how long (CLOCK_BOOTTIME) the trail had been open over its life. No
	 * change of the wall clock moves it.
	 */
	int64_t account_ns;
};

struct trail_head {
	uint64_t size;
	uint8_t root[32];
};

struct trail;

/* Makes STORE/trail with an empty tree and its checkpoint. DIAG_STORE_EXISTS when there is one. */
int trail_create(int store_fd, struct keyring *kr, struct diag *d);
/*
 * Opens for appending and checks the tail, and that the tree extends the head in the keyring's
 * anchor and anchored (another one that the caller knows of; NULL or of size 0: none):
 * DIAG_TRAIL_DAMAGED otherwise. Finishes an
 * interrupted checkpoint, and cuts what a power cut left torn at the end of the tail (never what
 * was synced). kr must outlive the trail.
 */
int trail_open(int store_fd, struct keyring *kr, const struct trail_head *anchored,
	       struct trail **ret, struct diag *d);
/* With a checkpoint; if that cannot be written, the entries stay in the tail. NULL is harmless. */
void trail_close(struct trail *t);

/*
 * Appends. durable = synced before it returns; otherwise within some seconds, by trail_tick.
 * -EROFS and errors of the medium: the entry is not in the trail (when the sync failed, it may
 * yet turn up after a crash), and the caller decides what stops. -EINVAL: an unterminated field, or
 * a name without both ids (it could not be sealed). When a key of the name is gone, the event is
 * recorded without it. Takes the keyring's locks before its own when there is a name.
 */
int trail_append(struct trail *t, const struct trail_event *ev, bool durable);
/* Folds the tail in, signs and syncs. ret and ret_text (caller frees) may be NULL. */
int trail_checkpoint(struct trail *t, struct trail_head *ret, char **ret_text);
/*
 * For the background thread, every second or so: a checkpoint when one is due; syncs what was
 * appended without.
 */
int trail_tick(struct trail *t);
/* The newest durable checkpoint's head: what the anchor may name. */
void trail_head_get(struct trail *t, struct trail_head *ret);
/* The account as of now (see account_ns). */
int64_t trail_account(struct trail *t);

/*
 * Calls fn for entries from..size-1, newest state of the tail included, in order; stops when fn
 * returns non-zero and returns that. No lock is held meanwhile: fn may append (it will not see
 * that). DIAG_TRAIL_DAMAGED with the index.
 */
typedef int (*trail_fn)(uint64_t index, const struct trail_event *ev, void *arg);
int trail_read(struct trail *t, uint64_t from, trail_fn fn, void *arg, struct diag *d);

struct trail_verdict {
	uint64_t size;   /* entries covered by the checkpoint */
	uint64_t n_tail; /* entries after it */
	/*
	 * When damaged: index of the first wrong entry; of the first entry under a wrong tile;
	 * or, when only a head or the checkpoint disagrees, of the first entry that no agreeing
	 * earlier head covers.
	 */
	uint64_t first_wrong;
	bool damaged;
	char why[200];
};
/*
 * Recomputes the whole tree from the entries on disk, needs no decryption key; checks checkpoint
 * signature, tiles, and consistency with each of n earlier heads. Works beside a serving process.
 * Returns 0 with the verdict, or -errno when it could not look.
 */
int trail_verify(int store_fd, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		 const struct trail_head *earlier, size_t n_earlier, struct trail_verdict *ret,
		 struct diag *d);
/* Parses and verifies a checkpoint note. -EUCLEAN, -EBADMSG. */
int trail_checkpoint_parse(const char *text, const uint8_t volume_id[16], const uint8_t sign_pk[32],
			   struct trail_head *ret);

#endif
