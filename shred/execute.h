/*
 * Executing an order: a journalled list of idempotent steps, and its verification.
 *
 *   begin       quorum, charter, expiry and inventory re-checked (only when not begun); trail record, checkpoint
 *   announced   the ranges stand in every repository, so that a recovery re-applies them before anything mounts
 *   punctured   both trees (live only when backups are kept); from here there is no way back
 *   erased      live records and objects; kernel caches dropped
 *   rehashed    retired lookup ids punctured
 *   verified    nothing opens: names, live reads, every set's records for the ids; a sample of raw bytes. A set
 *               that cannot be read stops nothing (its records need the same keys): trail and certificate say so
 *   escrowed    every escrow confirmed (else the order stays "escrow pending")
 *   certified   certificate signed and stored; trail record, checkpoint
 *
 * Interrupted anywhere, shred_execute goes on where the journal ends. A failure is an open order with a reason, never a success.
 * Before begin nothing is changed but the trail, which records the refusal. While it runs, what the
 * order destroys is frozen (volume_freeze); a run that ends before the puncture thaws it. One that goes on after an interruption before
 * the puncture can stop for what came in between (DIAG_ORDER_DRIFT): move new entries out of the order's folders, and execute again. One order at a time: callers serialise.
 *
 * What the trail records of an order has the object "order NUMBER" and one of the operations destroy.request, .approve, .reject,
 * .withdraw (by whoever takes the statement) and .begin, .puncture, .verify, .certify (here). A rejection or withdrawal that the trail holds
 * stops an order even when its file is gone.
 */
#ifndef COFFER_SHRED_EXECUTE_H
#define COFFER_SHRED_EXECUTE_H

#include "backup/repo.h"
#include "core/charter.h"
#include "core/order.h"
#include "core/trail.h"
#include "fs/volume.h"
#include "shred/inventory.h"

struct shred_context {
	struct volume *volume;
	struct trail *trail;
	int store_fd;
	const struct charter *charter; /* in force */
	struct repo *const *repos;
	size_t n_repos;
	const char *const *repo_urls;
	/* drops the kernel's caches (front_invalidate); may be NULL */
	void (*invalidate)(void *arg, const uint64_t *ids, size_t n);
	/* before (0 of 1) and after (1 of 1) each step, the latter before the journal has it; non-zero stops with -EINTR; may be NULL */
	int (*progress)(void *arg, const char *step, uint64_t done, uint64_t total);
	void *arg;
	uint32_t uid, pid; /* who asks, for the trail */
};
struct shred_result {
	enum order_state state; /* ORDER_DONE or ORDER_ESCROW_PENDING */
	size_t n_escrow_pending;
	uint64_t n_ids, bytes_overwritten;
	uint64_t n_set_records, n_sets_unread; /* as verified by this run: records in sets that no longer open; sets not looked into */
};
/*
 * DIAG_QUORUM, DIAG_ORDER_STATE, DIAG_ORDER_DRIFT, DIAG_TRAIL, DIAG_POLICY (backups are to be kept, but no set holds what
 * would be destroyed), DIAG_INTERRUPTED .. Escrows that did not confirm are no failure: call again when they are within reach.
 * An order that is done stays done: 0 with its figures. ret is untouched after a failure.
 */
int shred_execute(const struct shred_context *ctx, const char *number, struct shred_result *ret,
		  struct diag *d);
/*
 * Whether an order of any action may begin now: the quorum, and nothing said against it, by its files and by the trail (which tells of a
 * rejection whose file was taken away). Uses ctx's store_fd, charter and trail. DIAG_QUORUM, DIAG_ORDER_STATE.
 */
int shred_may_begin(const struct shred_context *ctx, const struct order *o, int64_t now, struct diag *d);
/* Looks again, any time later: the verification step alone. Counts what opens although it must not. */
struct shred_verdict {
	uint64_t n_ids;
	uint64_t n_live_open;	/* ids whose live key, inode or records are still there */
	uint64_t n_set_records; /* of these ids in all sets; 0 when backups are kept */
	uint64_t n_set_open;	/* of them, that open; and ids whose backup key is still there */
	uint64_t n_sets, n_sets_unread; /* looked at; of them, whose manifest or index does not read */
	uint64_t n_raw_samples, n_raw_open; /* object files looked for in the store; still there */
};
int shred_verify(const struct shred_context *ctx, const struct order *o, const struct inventory *inv,
		 struct shred_verdict *ret, struct diag *d);
/* Whether anything of it still opens: then it is not destroyed. */
bool shred_verdict_opens(const struct shred_verdict *v);
/* Whether nothing opens and everything could be looked at: nothing less is "ok" in the trail. */
bool shred_verdict_clean(const struct shred_verdict *v);
/*
 * At recovery: applies every announced order of a repository that the keys do not reflect yet; *ret_n is how many. An announcement that
 * does not verify is DIAG_NOTE_UNSIGNED, after all others were applied: do not mount, ask another repository.
 */
int shred_reapply(struct keyring *kr, struct repo *r, size_t *ret_n, struct diag *d);

#endif
