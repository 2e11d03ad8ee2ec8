/* The steps between the beginning and the certificate. Each can be done again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "shred/execute_internal.h"
#include "shred/media.h"

#define REHASH_ROUNDS 4

int step_announce(struct execution *x, struct diag *d)
{
	return announce_put(x, false, execution_trees(&x->o), x->ranges, x->n_ranges, d);
}

bool execution_punctured(const struct execution *x)
{
	char order[KEYRING_ORDER_REF_MAX + 1];

	for (size_t i = 0; i < x->n_ids; i++)
		if (!keyring_gone(x->kr, KEYRING_LIVE, x->ids[i], order))
			return false;
	return true;
}

int step_puncture(struct execution *x, struct diag *d)
{
	char detail[TRAIL_DETAIL_MAX + 1];
	size_t pending = 0;
	/* What came while nothing was frozen (between two runs) would be left without a folder. Once
	 * punctured a folder takes no new ones. */
	int r = execution_punctured(x) ? 0 : execution_no_strays(x, d);

	/* A set may have been taken between two runs, too. */
	if (r == 0 && !execution_punctured(x))
		r = spare_survivors(x, d);
	if (r == 0 && x->n_ranges)
		r = keyring_puncture(x->kr, execution_trees(&x->o), x->ranges, x->n_ranges,
				     x->o.number, &pending, d);
	if (r)
		return r;
	snprintf(detail, sizeof(detail),
		 "%zu ids in %zu ranges; generation %" PRIu64 "; escrows pending: %zu", x->n_ids,
		 x->n_ranges, keyring_generation(x->kr), pending);
	return execution_record(x->ctx, &x->o, OPERATION_PUNCTURE, "ok", detail, NULL, d);
}

/* --- live records and objects --- */

static void drop_caches(const struct execution *x)
{
	if (x->ctx->invalidate)
		x->ctx->invalidate(x->ctx->arg, x->ids, x->n_ids);
}

/* A call that a crash interrupts is not counted: the certificate says "at least". */
static int count_overwritten(struct execution *x, uint64_t bytes, struct diag *d)
{
	char step[STEP_LEN];
	size_t n = 0;

	if (!bytes)
		return 0;
	for (size_t i = 0; i < x->n_steps; i++)
		n += strncmp(x->steps[i], STEP_OVERWRITTEN, strlen(STEP_OVERWRITTEN)) == 0;
	snprintf(step, sizeof(step), STEP_OVERWRITTEN "%zu %" PRIu64, n + 1, bytes);
	return order_journal_add(x->ctx->store_fd, &x->o, keyring_sign_seed(x->kr), step, d);
}

static int erase(struct execution *x, struct bytes_w *lookup_ids, struct diag *d)
{
	struct volume_destroyed done = {0};
	char medium[MEDIA_TEXT_MAX];
	int r;

	media_describe(x->ctx->store_fd, medium);
	r = volume_destroy(x->ctx->volume, x->ids, x->n_ids, media_overwriting_reaches(medium),
			   &done, lookup_ids);
	if (r)
		return diag_fail_errno(d, r, "order %s: erasing live records", x->o.number);
	return count_overwritten(x, done.bytes_overwritten, d);
}

int step_erase(struct execution *x, struct diag *d)
{
	CLEANUP_BYTES struct bytes_w lookup_ids = {0};
	int r = erase(x, &lookup_ids, d);

	if (r == 0)
		drop_caches(x);
	return r;
}

/* --- lookup ids --- */

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int puncture_lookup_ids(struct execution *x, const struct bytes_w *list, struct diag *d)
{
	CLEANUP_FREE struct keyring_range *ranges = NULL;
	CLEANUP_FREE uint64_t *ids = calloc(list->len / 8, sizeof(*ids));
	size_t n = list->len / 8, n_distinct = 0, n_ranges, pending;
	int r;

	if (!ids)
		return diag_fail_errno(d, -ENOMEM, "order %s", x->o.number);
	for (size_t i = 0; i < n; i++)
		ids[i] = bytes_get64(list->buf + 8 * i);
	qsort(ids, n, sizeof(*ids), compare_ids);
	for (size_t i = 0; i < n; i++)
		if (!n_distinct || ids[i] != ids[n_distinct - 1])
			ids[n_distinct++] = ids[i];
	r = inventory_ranges(ids, n_distinct, &ranges, &n_ranges);
	if (r)
		return diag_fail_errno(d, r, "order %s", x->o.number);
	r = announce_put(x, true, KEYRING_MASK(KEYRING_LIVE), ranges, n_ranges, d);
	if (r == 0)
		r = keyring_puncture(x->kr, KEYRING_MASK(KEYRING_LIVE), ranges, n_ranges,
				     x->o.number, &pending, d);
	return r;
}

/* The engine hands out what is retired until it is punctured, and then forgets it: the round that
 * brings none is the last. */
int step_rehash(struct execution *x, struct diag *d)
{
	for (int round = 0; round < REHASH_ROUNDS; round++) {
		CLEANUP_BYTES struct bytes_w lookup_ids = {0};
		int r = erase(x, &lookup_ids, d);

		if (r || !lookup_ids.len)
			return r;
		r = puncture_lookup_ids(x, &lookup_ids, d);
		if (r)
			return r;
	}
	return diag_fail_errno(d, -EIO, "order %s: lookup ids stay", x->o.number);
}

/* --- looking again --- */

int step_verify(struct execution *x, struct diag *d)
{
	char detail[TRAIL_DETAIL_MAX + 1];
	struct shred_verdict v;
	int r = shred_verify(x->ctx, &x->o, &x->inv, &v, d);

	if (r)
		return r;
	bool opens = shred_verdict_opens(&v);
	const char *result = opens ? "failed" : shred_verdict_clean(&v) ? "ok" : "integrity";
	snprintf(detail, sizeof(detail),
		 "live: %" PRIu64 " of %" PRIu64 " ids open; sets: %" PRIu64 " of %" PRIu64
		 " records open in %" PRIu64 " sets, %" PRIu64 " sets unread; store: %" PRIu64
		 " of %" PRIu64 " objects there",
		 v.n_live_open, v.n_ids, v.n_set_open, v.n_set_records, v.n_sets, v.n_sets_unread,
		 v.n_raw_open, v.n_raw_samples);
	r = execution_record(x->ctx, &x->o, OPERATION_VERIFY, result, detail, NULL, d);
	if (r == 0 && opens)
		r = diag_fail_errno(d, -EIO, "order %s is not destroyed: %s", x->o.number, detail);
	if (r == 0)
		x->verdict = v;
	return r;
}
