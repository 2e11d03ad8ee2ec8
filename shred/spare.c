/*
 * What an order spares must not be lost with what it destroys: before the backup keys go, deltas of
 * files that stay are made whole in every set (backup/survivors.h).
 */
#include <inttypes.h>
#include <stdio.h>

#include "backup/survivors.h"
#include "shred/execute_internal.h"

int spare_survivors(const struct execution *x, struct diag *d)
{
	char detail[TRAIL_DETAIL_MAX + 1];
	int r = 0;

	if (!(execution_trees(&x->o) & KEYRING_MASK(KEYRING_BACKUP)))
		return 0;
	for (size_t i = 0; r == 0 && i < x->ctx->n_repos; i++) {
		struct survivors s = {0};

		r = survivors_secure(x->ctx->repos[i], x->kr, x->ids, x->n_ids, &s, d);
		if (r || !s.n_sets)
			continue;
		snprintf(detail, sizeof(detail), "%" PRIu64 " ranges made whole in %" PRIu64 " sets of %.100s",
			 s.n_ranges, s.n_sets, repo_url(x->ctx->repos[i]));
		r = execution_record(x->ctx, &x->o, OPERATION_SPARE, "ok", detail, NULL, d);
	}
	return r;
}
