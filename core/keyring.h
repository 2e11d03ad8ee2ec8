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
 * waiting puncture goes before new outermost ones. keyring_puncture and keyring_escrow_sync are
 * refused (-EDEADLK) inside one's own bracket. Lock order: change, the epoch lock, every engine
 * lock, anchor_lock, tree_lock (see keyring_internal.h).
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
 * or state. Refuses (DIAG_ROLLED_BACK) when a registered escrow holds a newer generation than the
 * anchor.
 */
int keyring_open(const char *store, const struct header_unlock *with, unsigned flags,
		 struct keyring **ret, struct diag *d);
/*
 * Bare metal and lost anchors: rebuilds STORE/header, keys and the anchor from an escrow, with a
 * new passphrase slot "recovery". store may be a new empty folder; a header of the same volume that
 * is still there keeps its other slots. Refuses an escrow that is older than a key state in the
 * store, than an anchor that still opens, or than another registered escrow within reach
 * (DIAG_ESCROW, -ESTALE): it would undo a destruction.
 */
int keyring_recover(const char *store, const char *anchor, const char *escrow_dir,
		    const struct identity *recipient, struct secret *new_passphrase, bool cheap,
		    struct diag *d);
void keyring_close(struct keyring *kr);

const struct header *keyring_header(const struct keyring *kr);
const struct suite *keyring_suite(const struct keyring *kr);
const uint8_t *keyring_volume_id(const struct keyring *kr); /* 16 bytes */
const uint8_t *keyring_sign_seed(const struct keyring *kr); /* 32 bytes, secret */
uint64_t keyring_generation(struct keyring *kr);
/* The label of the slot that opened it. */
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
	bool confirmed;      /* holds the current generation */
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

#endif
