/*
 * coffer backup run --due: what a timer calls. Looks at the policy and at the sets that the
 * repository holds, and asks for one set that serves every tier whose time has come; then, when the policy
 * wants drills and the last good one is long enough ago, for a drill.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "backup/policy.h"
#include "backup/proof.h"
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

/* What is told when no tier is due. */
static json_t *nothing(const struct conf *c, const struct policy_due *due)
{
	json_t *j = json_pack("{s:s, s:I}", "due", "", "future", (json_int_t)due->n_future);
	int t = first_next(c, due);

	if (j && c->backup_wanted && t >= 0)
		json_object_set_new(j, "next", json_integer((json_int_t)due->tier[t].next));
	return j;
}

static void print_nothing(const struct conf *c, const struct policy_due *due)
{
	const char *remark = policy_remark(c);
	int t = first_next(c, due);
	char when[32];

	if (c->backup_wanted && t >= 0) {
		cli_time(due->tier[t].next, when);
		printf("nothing is due; next is %s at %s\n", conf_tier_name(t), when);
	} else {
		printf("nothing is due: %s\n", remark ? remark : "backups are not wanted");
	}
}

/* One set that serves every tier that is due. */
static int take(const struct located_repo *lr, const struct backup_wanted *a,
		const struct policy_due *due, json_t **ret, struct diag *d)
{
	struct backup_wanted wanted = *a;
	char tiers[POLICY_TIERS_MAX + 1];

	policy_tiers_text(due->tiers, tiers);
	wanted.tiers = tiers;
	wanted.full = due->full;
	if (!a->json)
		printf("due: %s\n", tiers);
	fflush(stdout);
	int err = cmd_backup_take(&lr->l, &wanted, ret, d);
	if (err == 0 && !a->json)
		cmd_backup_print(*ret);
	return err;
}

/* Whether a drill is due of a repository that has a set to drill on. */
static bool drill_due(const struct located_repo *lr, const struct conf *c, bool has_set)
{
	const struct header *h = lr->l.header;
	int64_t passed = POLICY_NEVER;
	struct proof last;

	if (!has_set || c->drill_days == 0)
		return false;
	if (proof_last(lr->repo, PROOF_DRILL, true, h->volume_id, h->sign_pk, &last) == 0)
		passed = last.time;
	return policy_drill_due(c, passed, time(NULL));
}

static int drill(const struct located_repo *lr, const struct backup_wanted *a, json_t *into,
		 struct diag *d)
{
	const struct backup_drill in = {.repository = a->repository};
	json_t *j = NULL;

	if (!a->json)
		printf("due: drill\n");
	fflush(stdout);
	int err = cmd_backup_drill_ask(&lr->l, &in, &j, d);
	if (err)
		return err;
	if (!a->json)
		cmd_backup_drill_print(j);
	err = cmd_backup_drill_judge(j, d);
	json_object_set_new(into, "drill", j);
	return err;
}

int cmd_backup_due(const struct located_repo *lr, const struct backup_wanted *a, struct diag *d)
{
	struct policy_due due;
	json_t *told = NULL;
	struct conf c;
	int err = conf_load(lr->l.store_fd, &c, d);

	if (err == 0)
		err = judge(lr, &c, &due, d);
	if (err)
		return err;
	warn(&due);
	if (due.tiers)
		err = take(lr, a, &due, &told, d);
	else
		told = nothing(&c, &due);
	bool drills = err == 0 && drill_due(lr, &c, due.tiers || lr->catalog.n_sets);
	if (err == 0 && !due.tiers && !drills && !a->json)
		print_nothing(&c, &due);
	if (drills)
		err = drill(lr, a, told, d);
	/* A set that was taken is told, whatever became of the drill. */
	if (told && a->json)
		cli_json(json_incref(told));
	json_decref(told);
	return err;
}
