/*
 * The anchor: the small erasable place that holds the wrapped tree key and the freshness root.
 *
 * ANCHOR/anchor is one preallocated file of two 4 KiB slots, overwritten in place (never replaced,
 * so that the old tree key is gone from where it lay). Each slot carries a sequence number and a
 * box under a key of VK; the newest slot that opens counts. anchor_put writes the older slot;
 * anchor_put_both is for a new tree key: one slot, synced and read back past the page cache, then
 * the other. The anchor is the only seam for TPM and PKCS#11 anchors later. Format: docs/format.md
 * "Anchor". Not thread-safe: the keyring guards it.
 */
#ifndef COFFER_CORE_ANCHOR_H
#define COFFER_CORE_ANCHOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cleanup.h"
#include "core/diag.h"
#include "core/kdf.h"

struct anchor_state {
	uint64_t generation;      /* of the key state that tk opens */
	uint8_t tk[KDF_KEY_LEN];  /* tree key: secret */
	uint64_t txn;             /* freshness: transaction last made durable here */
	uint8_t root_tag[16];     /* and its root (fs/rstore) */
	uint64_t id_floor;        /* no id below was ever unreserved */
	uint8_t charter_head[32]; /* digest of the charter in force */
	uint64_t trail_size;      /* entries */
	uint8_t trail_root[32];
};

/* The state as bytes, also inside escrows. Secret: the caller wipes out. */
#define ANCHOR_STATE_LEN 144
void anchor_state_encode(const struct anchor_state *st, uint8_t out[ANCHOR_STATE_LEN]);
void anchor_state_decode(const uint8_t in[ANCHOR_STATE_LEN], struct anchor_state *ret);

struct anchor;

/*
 * Opens a folder for erasable files; makes it (0700) and syncs its parent when it is not there. A
 * descriptor or -errno.
 */
int anchor_folder(const char *dir);
/*
 * Creates DIR (0700) if needed and DIR/anchor; -EEXIST (DIAG_STORE_EXISTS) when there is one. Does
 * not write a state.
 */
int anchor_create(const char *dir, const uint8_t volume_id[16], struct diag *d);
/* Overwrites what anchor_create made and removes it: for a caller whose later steps failed. */
void anchor_destroy(const char *dir);
/*
 * Opens for use with a key of vk (kept in guarded memory). DIAG_ANCHOR_MISSING; DIAG_ANCHOR_DAMAGED
 * with -EXDEV when it is another volume's, DIAG_VERSION when a newer program wrote it.
 */
int anchor_open(const char *dir, const uint8_t volume_id[16], const uint8_t vk[32],
		struct anchor **ret, struct diag *d);
void anchor_close(struct anchor *a);
/*
 * The newest state that opens; *ret_other_stale says that the other slot holds another tree key or
 * none (finish with anchor_put_both). DIAG_ANCHOR_DAMAGED. The caller wipes ret->tk.
 */
int anchor_get(struct anchor *a, struct anchor_state *ret, bool *ret_other_stale, struct diag *d);
/*
 * Overwrites the older slot. Only for a state with the same generation and tk (else -EINVAL). 0 or
 * -errno.
 */
int anchor_put(struct anchor *a, const struct anchor_state *st);
/*
 * Overwrites both, one after the other. After a failure between them anchor_get says so. 0 or
 * -errno.
 */
int anchor_put_both(struct anchor *a, const struct anchor_state *st);
/*
 * The first half of a change of VK: opens the same anchor for a key of the new vk and writes st
 * over the older slot. The newer one still opens under the old vk, so whichever of the two the header
 * wraps finds its state. Then anchor_put_both on *ret ends the old key, or anchor_put_both on a the
 * new one. After a failure a goes on, and its next write goes over the same slot. 0 or -errno.
 */
int anchor_rekey(struct anchor *a, const uint8_t vk[32], const struct anchor_state *st,
		 struct anchor **ret);
/*
 * What the anchor lies on, in words for the record: "ext4 on /dev/sda1 (rotational)", "btrfs
 * (copy-on-write: ..)".
 */
void anchor_medium(const char *dir, char *out, size_t out_len);

CLEANUP_DEFINE(anchor, struct anchor *, anchor_close)
#define CLEANUP_ANCHOR __attribute__((cleanup(cleanup_anchor)))

#endif
