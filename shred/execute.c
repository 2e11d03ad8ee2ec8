/*
 * Executing an order: loads what is known, then one step after the other (execute.h).
 *
 * Each step does its work, tells progress, and only then stands in the journal; each can be done
 * again. From "begin" on an execution reads the inventory as the order signed it, never the volume.
 * Each run freezes what the order destroys before it looks at it, and thaws when it ends, unless it
 * ends between puncture and completion.
 *
 *   journal has         a crash leaves                                   the next run
 *   nothing             maybe a trail record of a beginning              checks everything anew
 *   begin               maybe announcements                              announces again
 *   announced           maybe the puncture                               punctures (what is gone is
 * no error) punctured           live records and objects, unreadable             erases what is
 * left erased, rehashed    old lookup ids                                   punctures them verified
 * a certificate, or none                           certifies certified           escrows that did
 * not confirm                     asks them, certifies anew
 */
#include "shred/execute.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/kdf.h"
#include "shred/certificate.h"
#include "shred/execute_internal.h"

static void execution_free(struct execution *x)
{
	inventory_free(&x->inv);
	free(x->ids);
	free(x->ranges);
	free(x->steps);
}

unsigned execution_trees(const struct order *o)
{
	return o->backups_kept ? KEYRING_MASK(KEYRING_LIVE) : KEYRING_BOTH;
}

int execution_progress(const struct execution *x, const char *step, bool after, struct diag *d)
{
	if (!x->ctx->progress || x->ctx->progress(x->ctx->arg, step, after, 1) == 0)
		return 0;
	return diag_fail(d, DIAG_INTERRUPTED, -EINTR, "order %s, %s step %s", x->o.number,
			 after ? "after" : "before", step);
}

static int load_journal(struct execution *x, struct diag *d)
{
	free(STEAL_PTR(x->steps));
	x->n_steps = 0;
	return order_journal_get(x->ctx->store_fd, &x->o, keyring_header(x->kr)->sign_pk, &x->steps,
				 &x->n_steps, d);
}

static bool done(const struct execution *x, const char *step)
{
	for (size_t i = 0; i < x->n_steps; i++)
		if (strcmp(x->steps[i], step) == 0)
			return true;
	return false;
}

static int enter(struct execution *x, const char *step, struct diag *d)
{
	int r = order_journal_add(x->ctx->store_fd, &x->o, keyring_sign_seed(x->kr), step, d);

	return r ? r : load_journal(x, d);
}

static int load(struct execution *x, const char *number, struct diag *d)
{
	CLEANUP_FREE uint8_t *text = NULL;
	size_t len;
	int r = order_load(x->ctx->store_fd, number, &x->o, &text, &len, d);

	if (r)
		return r;
	if (memcmp(x->o.volume_id, keyring_volume_id(x->kr), 16) != 0 ||
	    strcmp(x->o.action, "destroy") != 0)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM,
				 "order %s is no destruction in this volume", number);
	r = inventory_decode(text, len, &x->inv);
	if (r == -EUCLEAN)
		return diag_fail(d, DIAG_NOTE_MALFORMED, r, "order %s: inventory", number);
	if (r == 0 && (x->inv.n_destroy != x->o.n_ids || x->inv.n_bytes != x->o.n_bytes ||
		       memcmp(x->inv.sealed, x->o.sealed, sizeof(x->o.sealed)) != 0))
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN,
				 "order %s: form and inventory state different things", number);
	if (r == 0)
		r = inventory_ids(&x->inv, &x->ids, &x->n_ids);
	if (r == 0)
		r = inventory_ranges(x->ids, x->n_ids, &x->ranges, &x->n_ranges);
	return r ? diag_fail_errno(d, r, "order %s", number) : load_journal(x, d);
}

/* An order or inventory that is not what was signed is worth a record; a number that leads nowhere
 * is not. */
static int load_or_refuse(struct execution *x, const char *number, struct diag *d)
{
	struct diag why = {0};
	struct order named = {0};
	int r = load(x, number, &why);

	if (r == 0)
		return 0;
	if (why.id != DIAG_NOT_FOUND) {
		snprintf(named.number, sizeof(named.number), "%s", number);
		execution_record_refusal(x->ctx, &named, &why);
	}
	if (d)
		*d = why;
	return r;
}

/* --- the steps in order --- */

static const struct step {
	const char *name;
	int (*run)(struct execution *x, struct diag *d);
} steps[] = {
    {STEP_ANNOUNCED, step_announce},    {ORDER_STEP_PUNCTURED, step_puncture},
    {STEP_ERASED, step_erase},          {STEP_REHASHED, step_rehash},
    {ORDER_STEP_VERIFIED, step_verify},
};

static int run_step(struct execution *x, const struct step *s, struct diag *d)
{
	int r = done(x, s->name) ? 1 : execution_progress(x, s->name, false, d);

	if (r)
		return r < 0 ? r : 0;
	r = s->run(x, d);
	if (r == 0)
		r = execution_progress(x, s->name, true, d);
	return r ? r : enter(x, s->name, d);
}

static int certify(struct execution *x, size_t n_pending, struct diag *d)
{
	struct shred_result res = {.n_escrow_pending = n_pending,
				   .n_ids = x->n_ids,
				   .bytes_overwritten = journal_overwritten(x->steps, x->n_steps)};
	CLEANUP_FREE char *checkpoint = NULL, *text = NULL;
	char detail[TRAIL_DETAIL_MAX + 1], hex[65];
	uint8_t digest[32];
	int r = trail_checkpoint(x->ctx->trail, NULL, &checkpoint);

	if (r)
		return diag_fail(d, DIAG_TRAIL, r, "order %s", x->o.number);
	/* A verdict from an earlier run is not kept: what the certificate states was seen by the
	 * run that signs it. */
	if (!x->verdict.n_ids)
		r = shred_verify(x->ctx, &x->o, &x->inv, &x->verdict, d);
	if (r == 0 && shred_verdict_opens(&x->verdict))
		r = diag_fail_errno(d, -EIO, "order %s is not destroyed", x->o.number);
	if (r == 0)
		r = certificate_build(x->ctx, &x->o, &x->inv, &x->verdict, &res, checkpoint, &text,
				      d);
	if (r)
		return r;
	CLEANUP_FD int fd = order_folder_open(x->ctx->store_fd, x->o.number);
	r = fd < 0 ? fd : durable_replace(fd, ORDER_FILE_CERTIFICATE, text, strlen(text), 0644);
	if (r)
		return diag_fail_errno(d, r, "certificate of order %s", x->o.number);
	kdf_sha256(digest, text, strlen(text));
	bytes_hex(hex, digest, sizeof(digest));
	snprintf(detail, sizeof(detail), "certificate with SHA-256 %s; escrows pending: %zu", hex,
		 n_pending);
	return execution_record(x->ctx, &x->o, OPERATION_CERTIFY, "ok", detail, NULL, d);
}

static int ask_escrows(struct execution *x, size_t *ret_pending, struct diag *d)
{
	int r = execution_progress(x, ORDER_STEP_ESCROWED, false, d);

	if (r)
		return r;
	r = keyring_escrow_sync(x->kr, ret_pending);
	if (r)
		return diag_fail_errno(d, r, "escrows of order %s", x->o.number);
	return execution_progress(x, ORDER_STEP_ESCROWED, true, d);
}

/*
 * "escrowed" enters the journal only with a certificate that says so, or before the first one: a
 * crash between the two must not leave an order that is done under a certificate that still lists
 * pending escrows.
 */
static int finish(struct execution *x, size_t *ret_pending, struct diag *d)
{
	bool first = !done(x, ORDER_STEP_CERTIFIED);
	size_t pending = 0;
	int r = ask_escrows(x, &pending, d);

	if (r == 0 && first && !pending)
		r = enter(x, ORDER_STEP_ESCROWED, d);
	if (r == 0 && (first || !pending)) {
		r = execution_progress(x, ORDER_STEP_CERTIFIED, false, d);
		if (r == 0)
			r = certify(x, pending, d);
		if (r == 0)
			r = execution_progress(x, ORDER_STEP_CERTIFIED, true, d);
		if (r == 0)
			r = enter(x, ORDER_STEP_CERTIFIED, d);
	}
	if (r == 0 && !pending)
		r = enter(x, ORDER_STEP_ESCROWED, d);
	*ret_pending = pending;
	return r;
}

static void report(const struct execution *x, size_t n_pending, struct shred_result *ret)
{
	*ret = (struct shred_result){
	    .state = n_pending ? ORDER_ESCROW_PENDING : ORDER_DONE,
	    .n_escrow_pending = n_pending,
	    .n_ids = x->n_ids,
	    .bytes_overwritten = journal_overwritten(x->steps, x->n_steps),
	    .n_set_records = x->verdict.n_set_records,
	    .n_sets_unread = x->verdict.n_sets_unread,
	};
}

static int execution_run(struct execution *x, size_t *ret_pending, struct diag *d)
{
	int r = 0;

	if (!done(x, ORDER_STEP_BEGIN)) {
		r = execution_begin(x, d);
		if (r == 0)
			r = load_journal(x, d);
	}
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && r == 0; i++)
		r = run_step(x, &steps[i], d);
	return r ? r : finish(x, ret_pending, d);
}

int shred_execute(const struct shred_context *ctx, const char *number, struct shred_result *ret,
		  struct diag *d)
{
	CLEANUP_WITH(execution_free)
	struct execution x = {.ctx = ctx, .kr = volume_keyring(ctx->volume)};
	size_t pending = 0;
	int r = load_or_refuse(&x, number, d);

	if (r == 0 && done(&x, ORDER_STEP_ESCROWED) && done(&x, ORDER_STEP_CERTIFIED)) {
		report(&x, 0, ret);
		return 0;
	}
	if (r)
		return r;
	r = execution_freeze(&x, d);
	if (r == 0)
		r = execution_run(&x, &pending, d);
	if (r == 0 || !execution_punctured(&x))
		volume_thaw(ctx->volume);
	if (r == 0)
		report(&x, pending, ret);
	return r;
}
