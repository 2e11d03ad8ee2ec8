/*
 * The control operation backup.merge: sets that follow one another become one, signed anew by this process.
 *
 * What may be merged retention says, as coffer.conf has it now: no restore point goes that it keeps. Each run is
 * written whole before its members go, newest first; each removal is on the trail before it happens. No set is
 * taken meanwhile.
 */
#include "tools/serve_ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/merge.h"
#include "backup/parity.h"
#include "core/cleanup.h"
#include "core/conf.h"
#include "tools/control.h"

struct job {
	struct server *s;
	const struct peer *p;
	int fd;
	time_t told;
	struct repo *repo;
	struct conf conf;
	struct set_catalog catalog;
	bool *whole;
	struct prune_verdict *verdicts;
	struct merge_run *runs;
	size_t n_runs;
	bool dry_run;
	json_t *answer; /* array: a run each */
};

static void job_free(struct job *j)
{
	set_catalog_free(&j->catalog);
	free(j->whole);
	free(j->verdicts);
	merge_runs_free(j->runs, j->n_runs);
	json_decref(j->answer);
}

static int on_progress(void *arg, uint64_t n_records, uint64_t n_bytes)
{
	struct job *j = arg;

	return serve_progress(j->s, j->fd, &j->told,
			      json_pack("{s:I, s:I}", "records", (json_int_t)n_records, "bytes", (json_int_t)n_bytes));
}

/* --- which --- */

static int look(struct job *j, struct diag *d)
{
	struct server *s = j->s;
	struct prune_rules rules;
	int err = set_catalog_load(j->repo, keyring_volume_id(s->kr), keyring_header(s->kr)->sign_pk, &j->catalog, d);

	if (err)
		return err;
	prune_rules_of(&j->conf, &rules);
	rules.held = prune_held_by_object;
	rules.arg = j->repo;
	err = prune_survey(j->repo, &j->catalog, &j->whole);
	if (err == 0)
		err = prune_plan(&j->catalog, &rules, j->whole, &j->verdicts);
	return err ? diag_fail_errno(d, err, "%s", repo_url(j->repo)) : 0;
}

static int choose_named(struct job *j, const struct merge_rules *rules, const json_t *sets, struct diag *d)
{
	size_t n = json_array_size(sets), v[SET_MERGED_MAX];
	int err = n > SET_MERGED_MAX ? diag_fail(d, DIAG_USAGE, -EINVAL, "more than %d sets", SET_MERGED_MAX) : 0;

	for (size_t i = 0; err == 0 && i < n; i++) {
		const char *id = json_string_value(json_array_get(sets, i));
		err = id ? set_catalog_find(&j->catalog, id, 0, &v[i], d) : diag_fail(d, DIAG_USAGE, -EINVAL, "sets");
	}
	if (err)
		return err;
	j->runs = calloc(1, sizeof(*j->runs));
	if (!j->runs)
		return diag_fail_errno(d, -ENOMEM, "merging");
	err = merge_check(&j->catalog, rules, v, n, &j->runs[0], d);
	j->n_runs = err == 0;
	return err;
}

static int choose(struct job *j, const json_t *req, struct diag *d)
{
	struct merge_rules rules = {.verdicts = j->verdicts, .whole = j->whole, .before = INT64_MAX, .min = 1};
	json_int_t older = 0, min = 1;
	json_t *sets = NULL;

	if (json_unpack((json_t *)req, "{s?o, s?I, s?I}", "sets", &sets, "older_than_days", &older, "min", &min) != 0 ||
	    older < 0 || older > 36500 || min < 1)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "backup.merge");
	if (older)
		rules.before = time(NULL) - older * 86400;
	rules.min = (size_t)min;
	if (sets && json_array_size(sets))
		return choose_named(j, &rules, sets, d);
	int err = merge_plan(&j->catalog, &rules, &j->runs, &j->n_runs);
	return err ? diag_fail_errno(d, err, "%s", repo_url(j->repo)) : 0;
}

/* --- doing it --- */

static void tell_run(struct job *j, const struct merge_run *run, const char *id, const struct merge_figures *f)
{
	json_t *members = json_array();

	for (size_t i = 0; i < run->n; i++)
		json_array_append_new(members, json_string(j->catalog.sets[run->members[i]].id));
	json_array_append_new(j->answer, json_pack("{s:o, s:s, s:I, s:I, s:I}", "sets", members, "set", id, "kept",
						   (json_int_t)f->n_kept, "dropped", (json_int_t)f->n_dropped, "stored",
						   (json_int_t)f->n_bytes));
}

/* The new one is there, so whatever stops this, retention goes on with it. */
static int remove_members(struct job *j, const struct merge_run *run, const char *id, struct diag *d)
{
	char object[64], detail[96];

	snprintf(detail, sizeof(detail), "merged into set %s", id);
	for (size_t i = run->n; i-- > 0;) {
		const char *member = j->catalog.sets[run->members[i]].id;

		snprintf(object, sizeof(object), "set %s", member);
		if (serve_trail(j->s, j->p, "backup.prune", object, "merge", "ok", detail, true) != 0)
			return diag_fail(d, DIAG_TRAIL, -EIO, "%s", j->s->store);
		int err = prune_remove_manifest(j->repo, member, time(NULL));
		if (err == -EPERM)
			return diag_fail(d, DIAG_HOLD, err, "set %s", member);
		if (err)
			return diag_fail_errno(d, err, "removing set %s from %s", member, repo_url(j->repo));
	}
	return 0;
}

static int merge_one(struct job *j, const struct merge_run *run, struct diag *d)
{
	struct server *s = j->s;
	struct merge_figures f = {0};
	CLEANUP_WITH(set_manifest_free) struct set_manifest m = {0};
	char object[64], detail[96];
	size_t n_parity;

	if (j->dry_run) {
		tell_run(j, run, "", &f);
		return 0;
	}
	struct merge_request in = {.repo = j->repo, .kr = s->kr, .catalog = &j->catalog, .run = run,
				   .charter = s->charter->digest, .progress = on_progress, .arg = j};
	int err = trail_checkpoint(s->trail, &in.trail, NULL);
	if (err)
		return diag_fail(d, DIAG_TRAIL, err, "%s", s->store);
	err = merge_write(&in, &m, &f, d);
	snprintf(object, sizeof(object), "set %s", err ? j->catalog.sets[run->members[run->n - 1]].id : m.id);
	snprintf(detail, sizeof(detail), "%zu sets", run->n);
	err = serve_trail_end(s, j->p, "backup.merge", object, NULL, err, detail, d);
	if (err)
		return err;
	if (j->conf.parity)
		err = parity_cover(j->repo, &m, j->conf.parity, &n_parity, d);
	if (err == 0)
		err = remove_members(j, run, m.id, d);
	tell_run(j, run, m.id, &f);
	return err;
}

static int merge(struct job *j, const json_t *req, json_t **ret, struct diag *d)
{
	const char *repository = json_string_value(json_object_get(req, "repository"));
	CLEANUP_REPO struct repo *r = NULL;
	int err = conf_load(j->s->store_fd, &j->conf, d);

	if (err == 0)
		err = serve_repo(j->s, repository, &r, d);
	j->repo = r;
	if (err == 0)
		err = look(j, d);
	if (err == 0)
		err = choose(j, req, d);
	for (size_t i = 0; err == 0 && i < j->n_runs; i++)
		err = merge_one(j, &j->runs[i], d);
	if (err)
		return err;
	*ret = json_pack("{s:b, s:O}", "dry_run", j->dry_run, "merged", j->answer);
	return *ret ? 0 : diag_fail_errno(d, -ENOMEM, "merging");
}

int serve_op_backup_merge(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			  struct diag *d)
{
	struct job j = {.s = s, .p = p, .fd = fd, .dry_run = json_is_true(json_object_get(req, "dry_run")),
			.answer = json_array()};

	if (!serve_claim(s, &s->busy_backup)) {
		json_decref(j.answer);
		return diag_fail(d, DIAG_EXISTS, -EBUSY, "a backup, drill or merge of %s is running", s->mountpoint);
	}
	int err = merge(&j, req, ret, d);
	serve_unclaim(s, &s->busy_backup);
	job_free(&j);
	return err;
}
