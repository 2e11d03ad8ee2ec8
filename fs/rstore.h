/*
 * The record store: sealed records with proof of freshness, over SQLite.
 *
 * Owns STORE/meta.db. A record is (key, value); the store seals each value under a key that the
 * engine names for it and keeps it as a row whose number says nothing. What is where, and which
 * version is the latest, stands in a tree of freshness nodes kept in the same file: a leaf covers
 * a contiguous key range, holds at most 256 members as (key, row, transaction, first 8 bytes of
 * the tag); inner nodes list their children the same way; the root stands in the commit record,
 * whose digest goes into the anchor. Every answer, "absent" included, comes from a leaf that was
 * checked up to the root; a row or node that was flipped, deleted, swapped or put back older is
 * -EBADMSG, never -ENOENT. Format: docs/format.md "Records".
 *
 * Writes go to an overlay of pending records, which reads see; rstore_commit makes them durable in
 * one SQLite transaction (WAL, synchronous=FULL). A failed commit leaves overlay and old state
 * intact and may be tried again; after a failed sync the store refuses further commits (-EROFS)
 * until reopened. Transaction numbers grow with every attempt and never repeat; each open starts
 * at the last durable one plus a gap.
 *
 * Snapshots are durable: while one is open, the first overwrite or deletion of a record older than
 * it keeps the old row and enters it under the snapshot's own key range. They survive a crash, and
 * are closed explicitly.
 *
 * Not thread-safe: the engine's lock guards every call.
 */
#ifndef COFFER_FS_RSTORE_H
#define COFFER_FS_RSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/diag.h"
#include "core/keyring.h"

#define RSTORE_KEY_MAX 32
#define RSTORE_NODE_MAX 256
#define RSTORE_VALUE_MAX (2u << 20)

/* Compared by memcmp, shorter first; so integers inside are big-endian. */
struct rstore_key {
	uint8_t len;
	uint8_t b[RSTORE_KEY_MAX];
};
int rstore_key_cmp(const struct rstore_key *a, const struct rstore_key *b);

/* Keys whose first byte is at or above this are the store's own; the engine's are below. */
#define RSTORE_KEY_RESERVED 0xf0

/* Names the sealing key of a record. 0, -EKEYREVOKED. Called with the engine lock held. */
typedef int (*rstore_key_of_fn)(void *arg, const struct rstore_key *key, uint8_t ret[32]);

struct rstore;
struct rstore_config {
	const char *store; /* folder that holds meta.db */
	struct keyring
	    *kr; /* KEYRING_RECORDS seals nodes and the commit record; suite seals records */
	rstore_key_of_fn key_of;
	void *arg;
	size_t cache_bytes; /* of decoded nodes; 0 = 64 MiB */
	/* rstore_create: number of the first transaction; 0 = 1. Above all that an earlier store under
	 * the same keys may have used, so that no record of its can be put in the place of one here. */
	uint64_t first_txn;
};

struct rstore_root {
	uint64_t txn;
	uint8_t tag[16]; /* first 16 bytes of BLAKE2b over the sealed commit record */
};

/* What transaction numbers skip at every opening: more than any process tries between two
 * anchors. */
#define RSTORE_TXN_GAP ((uint64_t)1 << 20)

/* Makes an empty meta.db. -EEXIST. */
int rstore_create(const struct rstore_config *cfg, struct diag *d);
/* anchored (may be NULL): the store must not be older. DIAG_ROLLED_BACK, DIAG_STORE_DAMAGED. */
int rstore_open(const struct rstore_config *cfg, const struct rstore_root *anchored,
		struct rstore **ret, struct diag *d);
/* Pending records are dropped: commit first. */
void rstore_close(struct rstore *rs);

/*
 * Appends the value to out, which is wiped when it goes. 0, -ENOENT (proved absent), -EBADMSG, -EKEYREVOKED, -EIO. ret_txn may
 * be NULL; a pending record has the number of the coming transaction.
 */
int rstore_get(struct rstore *rs, const struct rstore_key *key, struct bytes_w *out,
	       uint64_t *ret_txn);
/*
 * Replaces or creates. Copies the value. -ENOMEM, -E2BIG, -EINVAL (empty or reserved key). The
 * value is sealed at commit; when its key has been revoked by then, it is dropped.
 */
int rstore_put(struct rstore *rs, const struct rstore_key *key, const void *val, size_t len);
/* Deleting what is absent is no error. */
int rstore_del(struct rstore *rs, const struct rstore_key *key);
/*
 * Calls fn in key order for from <= key < to (pending included) until it returns non-zero, which is
 * returned. NULL from or to: from the first, to the last. fn must not change the store, but may
 * read. val is valid during the call. Records whose key is revoked are destroyed and passed over;
 * the first damaged one ends the scan.
 */
typedef int (*rstore_scan_fn)(void *arg, const struct rstore_key *key, const void *val, size_t len,
			      uint64_t txn);
int rstore_scan(struct rstore *rs, const struct rstore_key *from, const struct rstore_key *to,
		rstore_scan_fn fn, void *arg);
/* True when something is pending. */
bool rstore_dirty(const struct rstore *rs);
/* Bytes that pending records take in memory, for limits; 0 when nothing is pending. */
size_t rstore_pending_bytes(const struct rstore *rs);

/* The number the next commit attempt will carry. */
uint64_t rstore_next_txn(const struct rstore *rs);
/* Durable when it returns 0. -ENOSPC and -EIO leave everything pending. ret may be NULL. */
int rstore_commit(struct rstore *rs, struct rstore_root *ret);
void rstore_root_get(const struct rstore *rs, struct rstore_root *ret);

/*
 * Destruction. The digest: for each record in the range, in key order, key length (u8), key, length
 * of the sealed bytes (LE32), sealed bytes go into st; io_count and io_bytes grow by what was
 * hashed. Needs no record key. Commits first what is pending.
 */
struct kdf_hash_state;
int rstore_sealed_hash(struct rstore *rs, const struct rstore_key *from,
		       const struct rstore_key *to, struct kdf_hash_state *st, uint64_t *io_count,
		       uint64_t *io_bytes);
/*
 * Deletes every record of the range without opening it (its key may be gone), pending ones and what
 * open snapshots kept of it included; the next commit removes and overwrites their rows (PRAGMA
 * secure_delete). *io_count (may be NULL) grows by the number of records.
 */
int rstore_erase_range(struct rstore *rs, const struct rstore_key *from,
		       const struct rstore_key *to, uint64_t *io_count);
/* Moves everything out of the WAL and truncates it, so that no old sealed bytes stay in it. */
int rstore_scrub(struct rstore *rs);

/* --- snapshots --- */

#define RSTORE_SNAPSHOTS_MAX 16
struct rstore_snap {
	uint64_t id;
	uint64_t txn; /* everything up to and including this transaction is in it */
};
/* Commits what is pending and opens a snapshot of exactly that state, durably. -EBUSY: too many. */
int rstore_snap_open(struct rstore *rs, struct rstore_snap *ret);
/*
 * Drops it and what only it kept, durably, in one or several commits (of what is pending as well).
 * Once the first is durable the snapshot is gone from the list, and later commits finish the rest
 * after a failure. -ESTALE when it is not open.
 */
int rstore_snap_close(struct rstore *rs, uint64_t id);
/* As rstore_snap_close for several, but only the first commit: what is left to remove goes with each
 * later commit, some at a time; rstore_snap_drain_some makes one for that. */
int rstore_snap_close_begin(struct rstore *rs, const uint64_t *ids, size_t n);
/* 1 when more is left, 0 when nothing was or is. */
int rstore_snap_drain_some(struct rstore *rs);
size_t rstore_snap_list(const struct rstore *rs, struct rstore_snap ret[RSTORE_SNAPSHOTS_MAX]);
/* The newest open snapshot's transaction (0: none): what was born at or before it must be kept. */
uint64_t rstore_snap_newest_txn(const struct rstore *rs);
/* As rstore_get, of the snapshot. -ESTALE when s is not open. */
int rstore_snap_get(struct rstore *rs, const struct rstore_snap *s, const struct rstore_key *key,
		    struct bytes_w *out, uint64_t *ret_txn);
/*
 * The records of the snapshot in from <= key < to (NULL as in rstore_scan) whose transaction is
 * above since (0: all), in key order. Nodes in which nothing is newer than since are not read: the
 * cost follows the change. Deletions do not show; the engine keeps its own tombstone records.
 * Resumable: pass *ret_next as from. Stops after max records (0: no limit), so that the caller can
 * let go of the engine lock between calls; *ret_more says whether more may follow, *ret_next from
 * where. Both are untouched on failure. Records whose key is revoked are passed over.
 */
int rstore_snap_scan(struct rstore *rs, const struct rstore_snap *s, uint64_t since,
		     const struct rstore_key *from, const struct rstore_key *to, size_t max,
		     rstore_scan_fn fn, void *arg, bool *ret_more, struct rstore_key *ret_next);

/* --- check --- */

struct rstore_check {
	uint64_t n_nodes, n_records, n_bad;
	uint64_t n_bad_nodes; /* of n_bad: what they cover is hidden */
	struct rstore_key first_bad;
};
/*
 * Reads and opens every node and record from the medium, what snapshots keep included; calls bad
 * (may be NULL) for each key that fails, for a node with the first key it covers. A record whose
 * key is revoked is only compared with its tag. 0 when it could look at all.
 */
int rstore_check(struct rstore *rs, void (*bad)(void *arg, const struct rstore_key *key, int err),
		 void *arg, struct rstore_check *ret);

#endif
