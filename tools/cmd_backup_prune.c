/*
 * coffer backup prune: retention, as the policy says it.
 *
 * Works on the repository as whoever may write there; no key is needed for that. It is a privileged
 * act all the same: each removal is on the trail before it happens, written by the serving process,
 * or by this one with the unlock secret when the volume is not mounted. --dry-run shows the same
 * plan and records nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/policy.h"
#include "backup/prune.h"
#include "core/cleanup.h"
#include "core/conf.h"
#include "tools/cmd_backup.h"
#include "tools/cmd_backup_merge.h"
#include "tools/recorder.h"

#define OPERATION "backup.prune"

struct prune {
	const struct located_repo *lr;
	struct conf conf;
	int64_t now;
	bool dry_run, json;
	struct prune_verdict *verdicts; /* of each set */
	struct prune_orphan *orphans;
	size_t n_orphans;
	size_t n_removed, n_cleaned;
	struct recorder recorder;
	json_t *merged; /* the answer, when the policy asks for it */
};

static int record(struct prune *p, const char *id, const char *result, const char *detail,
		  struct diag *d)
{
	char object[64], where[512];

	snprintf(object, sizeof(object), "set %s", id);
	snprintf(where, sizeof(where), "%s: %s", repo_url(p->lr->repo), detail);
	return recorder_put(&p->recorder, OPERATION, object, "retention", result, where, d);
}

/* --- the plan --- */

static int plan_with(struct prune *p, struct repo *objects, struct diag *d)
{
	const struct set_catalog *c = &p->lr->catalog;
	CLEANUP_FREE bool *whole = NULL;
	struct prune_rules rules;

	prune_rules_of(&p->conf, &rules);
	rules.held = prune_held_by_object;
	rules.arg = p->lr->repo;
	free(p->verdicts);
	p->verdicts = NULL;
	int err = prune_survey(objects, c, &whole);
	if (err == 0)
		err = prune_plan(c, &rules, whole, &p->verdicts);
	return err ? diag_fail_errno(d, err, "%s", repo_url(p->lr->repo)) : 0;
}

static size_t to_remove(const struct prune *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->lr->catalog.n_sets; i++)
		n += !p->verdicts[i].keep;
	return n;
}

/* The objects are looked at only when something would go: on a large repository that is millions of
 * them. */
static int plan(struct prune *p, struct diag *d)
{
	int err = plan_with(p, NULL, d);

	if (err == 0 && to_remove(p))
		err = plan_with(p, p->lr->repo, d);
	if (err)
		return err;
	err = prune_orphans(p->lr->repo, &p->lr->catalog, p->now,
			    (int64_t)p->conf.grace_hours * 3600, &p->orphans, &p->n_orphans);
	return err ? diag_fail_errno(d, err, "%s", repo_url(p->lr->repo)) : 0;
}

/* --- doing it --- */

static int remove_set(struct prune *p, size_t i, struct diag *d)
{
	const char *id = p->lr->catalog.sets[i].id;
	int err = record(p, id, "ok", p->verdicts[i].why, d);

	if (err)
		return err;
	err = prune_remove_manifest(p->lr->repo, id, p->now);
	if (err) {
		record(p, id, "failed", diag_errno(err), NULL);
		return diag_fail_errno(d, err, "removing set %s from %s", id,
				       repo_url(p->lr->repo));
	}
	p->n_removed++;
	return 0;
}

static int clean_orphan(struct prune *p, const struct prune_orphan *o, struct diag *d)
{
	int err;

	if (o->state == PRUNE_ORPHAN_UNMARKED) {
		err = prune_orphan_mark(p->lr->repo, o->id, p->now);
		return err ? diag_fail_errno(d, err, "set %s in %s", o->id, repo_url(p->lr->repo))
			   : 0;
	}
	if (o->state != PRUNE_ORPHAN_DUE)
		return 0;
	err =
	    record(p, o->id, "ok",
		   o->unfinished ? "what a killed run left" : "its packs, after the grace time", d);
	if (err)
		return err;
	err = prune_remove_rest(p->lr->repo, o->id);
	if (err) {
		record(p, o->id, "failed", diag_errno(err), NULL);
		return diag_fail_errno(d, err, "removing the rest of set %s from %s", o->id,
				       repo_url(p->lr->repo));
	}
	p->n_cleaned++;
	return 0;
}

/* Newest first: at no time does a set stand whose parent is gone. */
static int carry_out(struct prune *p, struct diag *d)
{
	int err = 0;

	for (size_t i = p->lr->catalog.n_sets; err == 0 && i-- > 0;)
		if (!p->verdicts[i].keep)
			err = remove_set(p, i, d);
	for (size_t i = 0; err == 0 && i < p->n_orphans; i++)
		err = clean_orphan(p, &p->orphans[i], d);
	return err;
}

/* --- telling it --- */

static const char *orphan_action(const struct prune_orphan *o)
{
	static const char *const actions[] = {"clean", "wait", "wait", "leave", "leave"};

	return actions[o->state];
}

static void orphan_why(const struct prune *p, const struct prune_orphan *o, char out[128])
{
	char when[32];

	cli_time(o->state == PRUNE_ORPHAN_UNMARKED ? p->now + (int64_t)p->conf.grace_hours * 3600
						   : o->until,
		 when);
	switch (o->state) {
	case PRUNE_ORPHAN_DUE:
		snprintf(out, 128, "%s",
			 o->unfinished ? "what a killed run left"
				       : "without a manifest since the grace time");
		break;
	case PRUNE_ORPHAN_RUNNING:
		snprintf(out, 128, "unfinished; a run may be at it");
		break;
	case PRUNE_ORPHAN_HELD:
		snprintf(out, 128, "held, but without a manifest: repair it");
		break;
	default:
		snprintf(out, 128, "without a manifest; its packs go after %s", when);
	}
}

static json_t *told(const struct prune *p)
{
	const struct set_catalog *c = &p->lr->catalog;
	json_t *sets = json_array(), *orphans = json_array(), *damaged = json_array();
	char why[128];

	for (size_t i = 0; i < c->n_sets; i++)
		json_array_append_new(
		    sets,
		    json_pack("{s:s, s:s, s:s, s:I, s:s}", "set", c->sets[i].id, "action",
			      p->verdicts[i].keep ? "keep" : "remove", "tiers", c->sets[i].tiers,
			      "time", (json_int_t)c->sets[i].time, "why", p->verdicts[i].why));
	for (size_t i = 0; i < p->n_orphans; i++) {
		orphan_why(p, &p->orphans[i], why);
		json_array_append_new(orphans, json_pack("{s:s, s:s, s:s}", "set", p->orphans[i].id,
							 "action", orphan_action(&p->orphans[i]),
							 "why", why));
	}
	for (size_t i = 0; i < c->n_damaged; i++)
		json_array_append_new(damaged, json_string(c->damaged[i]));
	return json_pack("{s:s, s:b, s:o, s:o, s:o, s:I, s:I}", "repository", repo_url(p->lr->repo),
			 "dry_run", p->dry_run, "sets", sets, "orphans", orphans, "damaged",
			 damaged, "removed", (json_int_t)p->n_removed, "cleaned",
			 (json_int_t)p->n_cleaned);
}

static void tell(const struct prune *p)
{
	const struct set_catalog *c = &p->lr->catalog;
	char why[128];

	for (size_t i = 0; i < c->n_sets; i++)
		printf("%-6s  %s  %-11s  %s\n", p->verdicts[i].keep ? "keep" : "remove",
		       c->sets[i].id, c->sets[i].full ? "full" : "incremental", p->verdicts[i].why);
	for (size_t i = 0; i < c->n_damaged; i++)
		printf("%-6s  %s  its manifest is damaged\n", "keep", c->damaged[i]);
	for (size_t i = 0; i < p->n_orphans; i++) {
		orphan_why(p, &p->orphans[i], why);
		printf("%-6s  %s  %s\n", orphan_action(&p->orphans[i]), p->orphans[i].id, why);
	}
	if (p->dry_run)
		printf("%zu sets would be removed; nothing was changed\n", to_remove(p));
	else
		printf("%zu sets removed (their packs go in %u h), the rest of %zu cleaned away\n",
		       p->n_removed, p->conf.grace_hours, p->n_cleaned);
}

/* Sets that only stay because others build on them, once there are as many as the policy says. The serving process merges;
 * of an unmounted volume it waits. */
static int ask_merge(struct prune *p, const char *repository, struct diag *d)
{
	json_t *req = json_pack("{s:s, s:I, s:b}", "op", "backup.merge", "min", (json_int_t)p->conf.merge_after,
				"dry_run", p->dry_run);

	if (repository)
		json_object_set_new(req, "repository", json_string(repository));
	return cmd_backup_merge_ask(&p->lr->l, req, &p->merged, d);
}

int cmd_backup_prune(const struct located_repo *lr, struct cli_unlock *secrets, const char *repository, bool dry_run,
		     bool json, struct diag *d)
{
	struct prune *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return diag_fail_errno(d, -ENOMEM, "%s", repo_url(lr->repo));
	*p = (struct prune){.lr = lr, .now = time(NULL), .dry_run = dry_run, .json = json};
	err = conf_load(lr->l.store_fd, &p->conf, d);
	if (err == 0)
		err = plan(p, d);
	if (err == 0 && !dry_run) {
		err = recorder_open(&p->recorder, &lr->l, secrets, d);
		if (err == 0)
			err = carry_out(p, d);
		err = recorder_close(&p->recorder, err, d);
	}
	if (err == 0 && p->conf.merge_after && lr->l.mounted)
		err = ask_merge(p, repository, d);
	if (err == 0 && json) {
		json_t *j = told(p);

		if (p->merged)
			json_object_set(j, "merged", json_object_get(p->merged, "merged"));
		cli_json(j);
	} else if (err == 0) {
		tell(p);
		if (p->merged)
			cmd_backup_merge_print(p->merged);
	}
	json_decref(p->merged);
	free(p->verdicts);
	free(p->orphans);
	free(p);
	return err;
}
