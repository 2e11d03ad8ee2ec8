/*
 * The opened key hierarchy of one volume: VK, TK, the key state with both trees, and what is
 * derived.
 *
 * The key state lies in STORE/keys/state-GENERATION.a and .b, sealed under TK; TK lies wrapped in
 * the anchor and in the escrows only. The keyring owns all of them, hands out file keys and epoch
 * keys, and does the one irreversible thing: puncture. Format: docs/format.md "Key state".
 *
 * State machine of a puncture (generation g to g+1); each step is durable before the next:
 *   1. state g+1 written twice under TK', synced, reopened, compared
 *      crash: discarded at open (anchor says g)
 *   2. anchor slot A := TK', g+1
 *      crash: open finds g+1, finishes 3..5
 *   3. anchor slot B := TK', g+1
 *   4. state g files overwritten, unlinked
 *   5. escrows rewritten; each confirmed or reported as pending
 *
 * When writing the anchor fails (2, 3) nobody can say which generation a power cut would leave.
 * Both states then stay on the medium, memory goes on with g+1, and the next puncture, freshness
 * write or escrow sync brings the anchor there.
 *
 * Threads: every function may be called from any thread. Whoever holds derived keys beyond one call
 * brackets their use with keyring_use_begin/_end (shared); keyring_puncture takes the epoch lock
 * exclusively, so it waits for them and they never see a half-changed tree. Brackets nest; a
 * waiting puncture goes before new outermost ones. keyring_puncture, keyring_escrow_sync and the
 * changes of custody are refused (-EDEADLK) inside one's own bracket. Lock order: change, the epoch
 * lock, every engine lock, anchor_lock, tree_lock (see keyring_internal.h).
 */
#ifndef COFFER_CORE_KEYRING_H
#define COFFER_CORE_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/anchor.h"
#include "core/diag.h"
#include "core/header.h"
#include "core/identity.h"
#include "core/kdf.h"
#include "core/suite.h"

enum keyring_tree { KEYRING_LIVE = 0, KEYRING_BACKUP = 1 };
#define KEYRING_MASK(tree) (1u << (tree))
#define KEYRING_BOTH (KEYRING_MASK(KEYRING_LIVE) | KEYRING_MASK(KEYRING_BACKUP))

enum keyring_epoch {
	KEYRING_RECORDS = 0,
	KEYRING_INDEX = 1,
	KEYRING_TRAIL = 2,
	KEYRING_N_EPOCH = 3
};

#define KEYRING_ORDER_REF_MAX 31
#define KEYRING_ESCROWS_MAX 16

/* An inclusive range of ids. */
struct keyring_range {
	uint64_t first, last;
};

struct keyring;

struct keyring_init {
	const char *store; /* existing empty folder, made by the caller */
	const char *anchor;
	const char *name;
	const struct suite *suite;
	const uint8_t *charter_first; /* 32 bytes */
	const char *const *escrows;   /* folders, may be none */
	size_t n_escrows;
	const struct identity_card *recipients;
	size_t n_recipients;
	uint64_t first_id; /* id floor to begin with */
	/* slots */
	const char *slot_label;    /* of the passphrase slot; NULL: "passphrase" */
	struct secret *passphrase; /* NULL when slot_cards has somebody */
	bool cheap_passphrase;
	const struct identity_card *slot_cards; /* an identity slot for each */
	size_t n_slot_cards;
	/* Identity of the volume, drawn with kdf_random before the charter could name it. */
	const uint8_t *volume_id; /* 16 bytes */
	const uint8_t *sign_seed; /* 32 bytes */
};
/*
 * Makes header, key state, anchor and escrows, in an order that leaves no half volume that opens:
 * the header is last. What a failure leaves is taken away again. Paths are kept as real paths.
 * DIAG_STORE_EXISTS, DIAG_PASS_WEAK, DIAG_ESCROW.
 */
int keyring_create(const struct keyring_init *in, struct diag *d);

enum keyring_open_flags {
	/* Beside a serving process: never finishes a puncture, never writes. */
	KEYRING_READ_ONLY = 1,
};
/*
 * Header, slot, anchor, state; finishes an interrupted puncture and mends a damaged copy of header
 * or state. Refuses (DIAG_ROLLED_BACK), read-only too, when a registered escrow holds a newer
 * generation than the anchor.
 */
int keyring_open(const char *store, const struct header_unlock *with, unsigned flags,
		 struct keyring **ret, struct diag *d);
/*
 * Bare metal and lost anchors: rebuilds STORE/header, keys and the anchor from an escrow, with a
 * new passphrase slot "recovery". store may be a new empty folder; a header of the same volume that
 * is still there keeps its other slots, if they wrap the same VK. Refuses an escrow that is older
 * than a key state in the store, than an anchor that still opens, or than another registered escrow
 * within reach, or that has the same generation under another tree key (DIAG_ESCROW, -ESTALE): it
 * would undo a destruction. A state in the store that is merely damaged looks like that too, unless
 * the anchor opens; whoever knows better moves STORE/keys, or that escrow, away. -EBADMSG for an
 * escrow that was not signed by the volume that the header names.
 */
int keyring_recover(const char *store, const char *anchor, const char *escrow_dir,
		    const struct identity *recipient, struct secret *new_passphrase, bool cheap,
		    struct diag *d);
void keyring_close(struct keyring *kr);

/* Its slots and commitment to VK change by the functions under "custody" below, nothing else. */
const struct header *keyring_header(const struct keyring *kr);
const struct suite *keyring_suite(const struct keyring *kr);
const uint8_t *keyring_volume_id(const struct keyring *kr); /* 16 bytes */
const uint8_t *keyring_sign_seed(const struct keyring *kr); /* 32 bytes, secret */
uint64_t keyring_generation(struct keyring *kr);
/*
 * For who keeps one open read-only: another process has gone on to a newer generation (a destruction, a change of
 * custody) and removed the state that this one was opened from. What this one derives may be destroyed by now, and it
 * should be closed. A store that is out of reach counts as well.
 */
bool keyring_superseded(struct keyring *kr);
/* The label of the slot that opened it, also when that slot is gone since. */
const char *keyring_slot_label(const struct keyring *kr);
/*
 * The first copy of the header did not verify when it was opened (unless read-only it is mended by
 * now).
 */
bool keyring_used_backup(const struct keyring *kr);

void keyring_use_begin(struct keyring *kr);
void keyring_use_end(struct keyring *kr);
/*
 * Inside or outside a use bracket. 0, -EKEYREVOKED. The caller wipes ret. Keys are cached in a
 * guarded slab.
 */
int keyring_file_key(struct keyring *kr, enum keyring_tree tree, uint64_t id,
		     uint8_t ret[KDF_KEY_LEN]);
void keyring_epoch_key(struct keyring *kr, enum keyring_epoch which, uint8_t ret[KDF_KEY_LEN]);
/*
 * True when the id is gone from that tree; ret_order then names the order, if one is noted. "" for
 * an id that is alive.
 */
bool keyring_gone(struct keyring *kr, enum keyring_tree tree, uint64_t id,
		  char ret_order[KEYRING_ORDER_REF_MAX + 1]);

struct keyring_escrow_status {
	char dir[HEADER_PATH_MAX + 1];
	bool confirmed;      /* holds the current generation, and no other */
	uint64_t generation; /* what it holds; 0 unreadable */
	char why[160];       /* when not confirmed */
};

/*
 * Removes the ranges from the trees in the mask, for ever, and writes the escrows. Idempotent:
 * ranges already gone still finish steps 2..5. After a failure before step 2 nothing has changed;
 * after it, the same call again or keyring_open finishes. *ret_pending counts escrows that could
 * not be rewritten (the puncture itself is then done: 0 is returned).
 */
int keyring_puncture(struct keyring *kr, unsigned trees, const struct keyring_range *ranges,
		     size_t n_ranges, const char *order, size_t *ret_pending, struct diag *d);
/*
 * Rewrites every escrow with the current generation and freshness; the count still pending in
 * *ret_pending.
 */
int keyring_escrow_sync(struct keyring *kr, size_t *ret_pending);
/* ret has room for KEYRING_ESCROWS_MAX. */
size_t keyring_escrow_list(struct keyring *kr, struct keyring_escrow_status *ret);

/*
 * --- custody (keyring_custody.c): who can open the volume ---
 *
 * Slots alone come and go without a new key: a slot that is removed no longer opens this store, but
 * whoever has a copy of the header, or kept VK, is not locked out. Rotation does that: a new VK and
 * TK, and fresh random subtrees for every id from first_unused on, so that an old VK, anchor, state
 * or escrow, alone or together, opens nothing of any file that is made later. It does not protect
 * what they could open already, and what is sealed under epoch keys (the trail's records, the
 * records that belong to no file) stays open to whoever had those.
 *
 * Rotation from generation g to g+1; each step is durable before the next:
 *   1. state g+1 written twice under TK'
 *      crash: the header still wraps VK; discarded at open
 *   2. the anchor's older slot := TK', g+1 under VK'
 *      crash: the header still wraps VK, which opens the other slot: open writes g over both
 *   3. header := slots that wrap VK'
 *      crash: VK' opens the one slot; open finishes 4 to 6
 *   4. second copy of the header; the anchor's other slot
 *   5. state g files overwritten, unlinked
 *   6. escrows rewritten
 * When the new header (3) stands but could not be synced, nobody can say which one a power cut
 * would leave: then nothing is written any more (-EROFS) and no id from first_unused on derives,
 * until the volume is opened again.
 *
 * All refuse with -EROFS when read-only.
 */

/* Adds a slot: see header_slot_add. */
int keyring_slot_add(struct keyring *kr, const char *label, const struct header_unlock *with,
		     const uint8_t *seal_pk, bool cheap, struct diag *d);
/* DIAG_NOT_FOUND; the last one stays (DIAG_USAGE, -EBUSY). */
int keyring_slot_remove(struct keyring *kr, const char *label, struct diag *d);
/*
 * Registers an escrow place for the recipients that the volume has, and writes it. The registry is
 * part of the key state, so this is a new generation with a new TK. DIAG_ESCROW when the place
 * cannot be made or lies on the store, or when there are no recipients (what else it may not lie on
 * the caller checks: escrow_place_check); DIAG_EXISTS. *ret_pending as in keyring_puncture.
 */
int keyring_escrow_add(struct keyring *kr, const char *dir, size_t *ret_pending, struct diag *d);

struct keyring_rotation {
	/*
	 * No id from here on was ever reserved by the engine or stands in a set; not below the
	 * anchor's floor, which it becomes. The caller keeps the engine from reserving meanwhile.
	 */
	uint64_t first_unused;
	/* Secrets of the passphrase and key-file slots that shall stay. */
	const struct header_unlock *secrets;
	size_t n_secrets;
	/* Labels of slots that shall not stay. */
	const char *const *drop;
	size_t n_drop;
	/* The escrows' recipients from now on; NULL: as they are. */
	const struct identity_card *recipients;
	size_t n_recipients;
};
struct keyring_rotated {
	size_t n_dropped; /* slots that are gone: named, or for want of their secret */
	char dropped[HEADER_SLOTS_MAX][HEADER_NAME_MAX + 1];
	size_t n_pending; /* escrows not rewritten yet */
};
/*
 * -EINVAL (DIAG_USAGE) for a first_unused below the floor, DIAG_NOT_FOUND for a label in drop that
 * is no slot's, -EBUSY (DIAG_USAGE) when no slot would be left. 0 once step 5 is done. After a
 * failure in step 1 or 2 nothing has changed; after one in 4 or 5 it is done but for what the next
 * freshness write, puncture or opening finishes.
 */
int keyring_rotate(struct keyring *kr, const struct keyring_rotation *in,
		   struct keyring_rotated *ret, struct diag *d);
/*
 * Gives up an escrow place: overwrites what lies there, rotates, and removes the file. A place that
 * cannot be overwritten is refused (DIAG_ESCROW) unless lost says that it is known to be out of
 * reach for good: what lies there opens for ever what was there before. After a failure the place
 * is still registered, and keyring_escrow_sync writes it again. DIAG_NOT_FOUND.
 */
int keyring_escrow_remove(struct keyring *kr, const char *dir, bool lost,
			  const struct keyring_rotation *in, struct keyring_rotated *ret,
			  struct diag *d);

/* The anchor's freshness part; tk and generation are the keyring's own business. */
struct keyring_fresh {
	uint64_t txn;
	uint8_t root_tag[16];
	uint64_t id_floor;
	uint8_t charter_head[32];
	uint64_t trail_size;
	uint8_t trail_root[32];
};
void keyring_fresh_get(struct keyring *kr, struct keyring_fresh *ret);
/* Writes the anchor. Refuses (-EINVAL) to lower txn, id_floor or trail_size. */
int keyring_fresh_put(struct keyring *kr, const struct keyring_fresh *f);
/*
 * For recovery alone, when the trail was lost with the store: the anchor no longer names a head, so
 * that a new trail can begin. The caller has made a durable note of the head that it named. 0 or
 * -errno.
 */
int keyring_trail_lost(struct keyring *kr);

#endif
