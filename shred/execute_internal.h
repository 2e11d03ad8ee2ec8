/* Shared by shred/execute*.c, keep.c, verify.c and certificate.c. */
#ifndef COFFER_SHRED_EXECUTE_INTERNAL_H
#define COFFER_SHRED_EXECUTE_INTERNAL_H

#include "shred/execute.h"

/* Steps that order_judge does not know. */
#define STEP_ANNOUNCED "announced"
#define STEP_ERASED "erased"
#define STEP_REHASHED "rehashed"
/* Figures that the certificate needs, as steps: "quorum-at UNIX-SECONDS" before begin, "overwritten
 * COUNT BYTES" for each erasure. */
#define STEP_QUORUM_AT "quorum-at "
#define STEP_OVERWRITTEN "overwritten "
#define STEP_LEN 64

#define OPERATION_BEGIN "destroy.begin"
#define OPERATION_SPARE "destroy.spare"
#define OPERATION_PUNCTURE "destroy.puncture"
#define OPERATION_VERIFY "destroy.verify"
#define OPERATION_CERTIFY "destroy.certify"

/* What an execution works on. */
struct execution {
	const struct shred_context *ctx;
	struct keyring *kr;
	struct order o;
	struct inventory inv;
	uint64_t *ids; /* to destroy; sorted, distinct */
	size_t n_ids;
	struct keyring_range *ranges;
	size_t n_ranges;
	char (*steps)[STEP_LEN]; /* the journal as loaded */
	size_t n_steps;
	struct shred_verdict verdict; /* set by the verified step */
};

/* --- execute.c --- */

/* Keys of which trees an order ends. */
unsigned execution_trees(const struct order *o);
/* Calls progress: 0 or -EINTR (DIAG_INTERRUPTED). */
int execution_progress(const struct execution *x, const char *step, bool after, struct diag *d);

/* --- execute_begin.c: everything that must hold before an order begins --- */

/* Until the execution ends nothing changes of what the order destroys, and what it spares keeps its
 * names elsewhere. */
int execution_freeze(const struct execution *x, struct diag *d);
/* Checks, records it in the trail, enters it in the journal; a refusal is recorded as well. */
int execution_begin(struct execution *x, struct diag *d);
/* An order that did not begin, and why: the refusal stands whether or not the trail takes it. */
void execution_record_refusal(const struct shred_context *ctx, const struct order *o,
			      const struct diag *why);
/* A durable trail record and a checkpoint. DIAG_TRAIL. ret_checkpoint (caller frees) may be NULL.
 */
int execution_record(const struct shred_context *ctx, const struct order *o, const char *operation,
		     const char *result, const char *detail, char **ret_checkpoint, struct diag *d);
/* DIAG_ORDER_DRIFT when something stands in a folder of the order that it does not cover. */
int execution_no_strays(const struct execution *x, struct diag *d);

/* --- keep.c --- */

/* With backups kept: DIAG_POLICY unless a set of some repository opens and holds every live file as
 * it is now. */
int keep_check(const struct shred_context *ctx, const uint64_t *ids, size_t n, struct diag *d);

/* --- spare.c --- */

/* When backups are destroyed: no set holds what stays as a delta on what goes. DIAG_SET_DAMAGED. */
int spare_survivors(const struct execution *x, struct diag *d);

/* --- execute_announce.c --- */

/* Announces ids of an order in every repository; names: the lookup ids that its erasure retired.
 * Adds to what stands there. */
int announce_put(const struct execution *x, bool names, unsigned trees,
		 const struct keyring_range *ranges, size_t n, struct diag *d);

/* --- execute_steps.c: from the announcement to the escrows --- */

/* Whether there is no way back. */
bool execution_punctured(const struct execution *x);
int step_announce(struct execution *x, struct diag *d);
int step_puncture(struct execution *x, struct diag *d);
int step_erase(struct execution *x, struct diag *d);
int step_rehash(struct execution *x, struct diag *d);
int step_verify(struct execution *x, struct diag *d);

/* --- certificate.c --- */

/* The last "quorum-at" of a journal, 0 none; the sum of "overwritten". */
int64_t journal_quorum_at(char (*steps)[STEP_LEN], size_t n);
uint64_t journal_overwritten(char (*steps)[STEP_LEN], size_t n);

#endif
