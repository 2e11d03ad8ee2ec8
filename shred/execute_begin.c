/*
 * Everything that must hold before an order begins: the quorum, nothing said against it (by its
 * files and by the trail), the inventory as it was requested, a set that holds what is kept. Then
 * the trail, and only then the journal.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "shred/execute_internal.h"

int execution_record(const struct shred_context *ctx, const struct order *o, const char *operation,
		     const char *result, const char *detail, char **ret_checkpoint, struct diag *d)
{
	struct trail_event ev = {.uid = ctx->uid, .pid = ctx->pid};
	int r;

	snprintf(ev.operation, sizeof(ev.operation), "%s", operation);
	snprintf(ev.object, sizeof(ev.object), "order %s", o->number);
	snprintf(ev.result, sizeof(ev.result), "%s", result);
	snprintf(ev.detail, sizeof(ev.detail), "%s", detail);
	r = trail_append(ctx->trail, &ev, true);
	if (r == 0)
		r = trail_checkpoint(ctx->trail, NULL, ret_checkpoint);
	return r ? diag_fail(d, DIAG_TRAIL, r, "order %s", o->number) : 0;
}

/* --- the quorum --- */

static int check_quorum(const struct shred_context *ctx, const struct order *o, int64_t now,
			struct diag *d)
{
	enum order_state state;
	char roles[64];
	unsigned missing;
	int r = order_judge(ctx->store_fd, ctx->charter, o, now, &state, &missing, d);

	if (r)
		return r;
	if (state == ORDER_REQUESTED) {
		charter_roles_text(missing, roles);
		return diag_fail(d, DIAG_QUORUM, -EPERM, "order %s: %s", o->number, roles);
	}
	if (state != ORDER_APPROVED)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s is %s", o->number,
				 order_state_name(state));
	return 0;
}

/* --- what the trail says --- */

struct objection {
	char object[256];
	bool found;
	uint64_t index;
	char operation[32];
};

/* What was refused or failed was never said. */
static int on_event(uint64_t index, const struct trail_event *ev, void *arg)
{
	struct objection *ob = arg;

	if (strcmp(ev->object, ob->object) != 0 ||
	    (strcmp(ev->operation, "destroy.reject") &&
	     strcmp(ev->operation, "destroy.withdraw")) ||
	    !strcmp(ev->result, "refused") || !strcmp(ev->result, "failed"))
		return 0;
	ob->found = true;
	ob->index = index;
	snprintf(ob->operation, sizeof(ob->operation), "%s", ev->operation);
	return 1;
}

/*
 * The files say that nobody objects; whoever can write to the store can take a file away, but not a
 * record of the trail. A rejection and a withdrawal are final, so any on record is one too many.
 */
static int check_objections(const struct shred_context *ctx, const struct order *o, struct diag *d)
{
	struct objection ob = {0};
	int r;

	snprintf(ob.object, sizeof(ob.object), "order %s", o->number);
	r = trail_read(ctx->trail, 0, on_event, &ob, d);
	if (r < 0)
		return r;
	if (ob.found)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM,
				 "order %s: trail record %" PRIu64 " is %s, whose file is gone",
				 o->number, ob.index, ob.operation);
	return 0;
}

int shred_may_begin(const struct shred_context *ctx, const struct order *o, int64_t now,
		    struct diag *d)
{
	int r = check_quorum(ctx, o, now, d);

	return r ? r : check_objections(ctx, o, d);
}

/* --- drift --- */

static int list_targets(const struct inventory *inv, uint64_t **ret, size_t *ret_n)
{
	uint64_t *t = calloc(inv->n_items ? inv->n_items : 1, sizeof(*t));
	size_t n = 0;

	if (!t)
		return -ENOMEM;
	for (size_t i = 0; i < inv->n_items; i++)
		if (inv->items[i].flags & INVENTORY_TARGET)
			t[n++] = inv->items[i].id;
	*ret = t;
	*ret_n = n;
	return 0;
}

static int check_drift(const struct execution *x, struct diag *d)
{
	CLEANUP_WITH(inventory_free) struct inventory now = {0};
	CLEANUP_FREE uint64_t *targets = NULL;
	struct inventory_drift drift;
	size_t n;
	int r = list_targets(&x->inv, &targets, &n);

	if (r)
		return diag_fail_errno(d, r, "order %s", x->o.number);
	const struct inventory_request again = {
	    .volume = x->ctx->volume,
	    .repos = x->ctx->repos,
	    .n_repos = x->ctx->n_repos,
	    .targets = targets,
	    .n_targets = n,
	    .destroy_moved = x->inv.destroy_moved,
	    .destroy_linked = x->inv.destroy_linked,
	};
	r = inventory_build(&again, &now, d);
	if (r)
		return r;
	if (inventory_differs(&x->inv, &now, &drift))
		return diag_fail(d, DIAG_ORDER_DRIFT, -ESTALE,
				 "order %s: %" PRIu64 " new, %" PRIu64 " missing, %" PRIu64
				 " changed items; sealed records %s",
				 x->o.number, drift.n_new, drift.n_missing, drift.n_changed,
				 drift.sealed ? "differ" : "are the same");
	return 0;
}

/* --- freezing --- */

int execution_freeze(const struct execution *x, struct diag *d)
{
	CLEANUP_FREE uint64_t *spared = calloc(x->inv.n_items + 1, sizeof(*spared));
	const unsigned linked = INVENTORY_KEPT | INVENTORY_LINKED;
	size_t n = 0;

	if (!spared)
		return diag_fail_errno(d, -ENOMEM, "order %s", x->o.number);
	for (size_t i = 0; i < x->inv.n_items; i++)
		if ((x->inv.items[i].flags & linked) == linked)
			spared[n++] = x->inv.items[i].id;
	int r = volume_freeze(x->ctx->volume, x->ids, x->n_ids);
	if (r == 0)
		r = volume_freeze_names(x->ctx->volume, spared, n);
	return r ? diag_fail_errno(d, r, "order %s", x->o.number) : 0;
}

/* --- strays --- */

static int collect_present(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool present,
			   const char *name)
{
	struct bytes_w *w = arg;

	(void)parent;
	(void)link;
	(void)name;
	if (present)
		bytes_w_u64(w, child);
	return w->err;
}

static int compare_items(const void *a, const void *b)
{
	uint64_t x = ((const struct inventory_item *)a)->id;
	uint64_t y = ((const struct inventory_item *)b)->id;

	return (x > y) - (x < y);
}

int execution_no_strays(const struct execution *x, struct diag *d)
{
	const struct inventory *inv = &x->inv;
	CLEANUP_BYTES struct bytes_w found = {0};
	uint64_t n_strays = 0;

	for (size_t i = 0; i < inv->n_items; i++) {
		bool goes = !(inv->items[i].flags & INVENTORY_KEPT);
		int r =
		    goes && (inv->items[i].flags & INVENTORY_DIR)
			? volume_history(x->ctx->volume, inv->items[i].id, collect_present, &found)
			: 0;
		if (r)
			return diag_fail_errno(d, r, "order %s: id %" PRIu64, x->o.number,
					       inv->items[i].id);
	}
	for (size_t at = 0; at < found.len; at += 8) {
		struct inventory_item key = {.id = bytes_get64(found.buf + at)};

		n_strays += !bsearch(&key, inv->items, inv->n_items, sizeof(key), compare_items);
	}
	if (n_strays)
		return diag_fail(d, DIAG_ORDER_DRIFT, -ESTALE,
				 "order %s: %" PRIu64
				 " entries came into its folders since it began; "
				 "move them out and execute it again",
				 x->o.number, n_strays);
	/* What the order spares may have lost its other names. */
	int r = volume_may_destroy(x->ctx->volume, x->ids, x->n_ids);
	if (r == -EINVAL)
		return diag_fail(d, DIAG_ORDER_DRIFT, -ESTALE,
				 "order %s: what it spares has no name outside its folders any "
				 "more; give it one and execute it again",
				 x->o.number);
	return r ? diag_fail_errno(d, r, "order %s", x->o.number) : 0;
}

/* --- beginning --- */

static int check(struct execution *x, int64_t now, struct diag *d)
{
	int r = shred_may_begin(x->ctx, &x->o, now, d);

	if (r == 0)
		r = check_drift(x, d);
	if (r == 0 && x->o.backups_kept)
		r = keep_check(x->ctx, x->ids, x->n_ids, d);
	return r ? r : spare_survivors(x, d);
}

void execution_record_refusal(const struct shred_context *ctx, const struct order *o,
			      const struct diag *why)
{
	const char *result = diag_exit_code(why->id) == DIAG_EXIT_REFUSED     ? "refused"
			     : diag_exit_code(why->id) == DIAG_EXIT_INTEGRITY ? "integrity"
									      : "failed";
	char detail[TRAIL_DETAIL_MAX + 1];
	struct diag ignored = {0};

	snprintf(detail, sizeof(detail), "%s: %s", diag_name(why->id), why->object);
	execution_record(ctx, o, OPERATION_BEGIN, result, detail, NULL, &ignored);
}

int execution_begin(struct execution *x, struct diag *d)
{
	int64_t now = (int64_t)time(NULL);
	char step[STEP_LEN], detail[TRAIL_DETAIL_MAX + 1];
	struct diag why = {0};
	int r = execution_progress(x, ORDER_STEP_BEGIN, false, d);

	if (r)
		return r;
	r = check(x, now, &why);
	if (r) {
		execution_record_refusal(x->ctx, &x->o, &why);
		if (d)
			*d = why;
		return r;
	}
	snprintf(detail, sizeof(detail), "%zu ids, %" PRIu64 " bytes, backups %s, requested by %s",
		 x->n_ids, x->o.n_bytes, x->o.backups_kept ? "kept" : "destroyed", x->o.requester);
	r = execution_record(x->ctx, &x->o, OPERATION_BEGIN, "ok", detail, NULL, d);
	if (r == 0)
		r = execution_progress(x, ORDER_STEP_BEGIN, true, d);
	snprintf(step, sizeof(step), STEP_QUORUM_AT "%" PRId64, now);
	if (r == 0)
		r = order_journal_add(x->ctx->store_fd, &x->o, keyring_sign_seed(x->kr), step, d);
	if (r == 0)
		r = order_journal_add(x->ctx->store_fd, &x->o, keyring_sign_seed(x->kr),
				      ORDER_STEP_BEGIN, d);
	return r;
}
