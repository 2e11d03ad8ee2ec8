/*
 * coffer backup run --due: what a timer calls. Looks at the policy and at the sets that the
 * repository holds, and asks for one set that serves every tier whose time has come.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "backup/policy.h"
#include "core/cleanup.h"
#include "core/conf.h"
#include "tools/cmd_backup.h"

static int judge(const struct located_repo *lr, const struct conf *c, struct policy_due *ret,
		 struct diag *d)
{
	CLEANUP_FREE struct policy_set *sets = calloc(lr->catalog.n_sets + 1, sizeof(*sets));

	if (!sets)
		return diag_fail_errno(d, -ENOMEM, "%s", repo_url(lr->repo));
	for (size_t i = 0; i < lr->catalog.n_sets; i++)
		sets[i] = (struct policy_set){.tiers = lr->catalog.sets[i].tiers,
					      .time = lr->catalog.sets[i].time};
	policy_due(c, sets, lr->catalog.n_sets, time(NULL), ret);
	return 0;
}

static void warn(const struct policy_due *due)
{
	char when[32];

	if (due->n_future == 0)
		return;
	cli_time(due->future, when);
	fprintf(stderr,
		"coffer: warning: %zu set%s dated in the future, up to %s: the clock was set back, "
		"or is wrong now\n",
		due->n_future, due->n_future == 1 ? " is" : "s are", when);
}

/* The tier whose turn comes first; -1 without tiers. */
static int first_next(const struct conf *c, const struct policy_due *due)
{
	int first = -1;

	for (int t = 0; t < CONF_N_TIERS; t++)
		if (c->tiers[t].set && (first < 0 || due->tier[t].next < due->tier[first].next))
			first = t;
	return first;
}

static void tell_nothing(const struct conf *c, const struct policy_due *due, bool json)
{
	const char *remark = policy_remark(c);
	int t = first_next(c, due);
	bool comes = c->backup_wanted && t >= 0;
	char when[32];

	if (json) {
		json_t *j = json_pack("{s:s, s:I}", "due", "", "future", (json_int_t)due->n_future);
		if (j && comes)
			json_object_set_new(j, "next", json_integer((json_int_t)due->tier[t].next));
		cli_json(j);
	} else if (comes) {
		cli_time(due->tier[t].next, when);
		printf("nothing is due; next is %s at %s\n", conf_tier_name(t), when);
	} else {
		printf("nothing is due: %s\n", remark ? remark : "backups are not wanted");
	}
}

int cmd_backup_due(const struct located_repo *lr, const struct backup_wanted *a, struct diag *d)
{
	struct backup_wanted wanted = *a;
	char tiers[POLICY_TIERS_MAX + 1];
	struct policy_due due;
	struct conf c;
	int err = conf_load(lr->l.store_fd, &c, d);

	if (err == 0)
		err = judge(lr, &c, &due, d);
	if (err)
		return err;
	warn(&due);
	if (due.tiers == 0) {
		tell_nothing(&c, &due, a->json);
		return 0;
	}
	policy_tiers_text(due.tiers, tiers);
	wanted.tiers = tiers;
	wanted.full = due.full;
	if (!a->json)
		printf("due: %s\n", tiers);
	fflush(stdout);
	return cmd_backup_take(&lr->l, &wanted, d);
}
