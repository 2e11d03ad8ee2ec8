/* Control operations of backup and restore into the mounted volume. */
#include "tools/serve_ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backup/backup.h"
#include "backup/parity.h"
#include "backup/policy.h"
#include "backup/proof.h"
#include "backup/restore.h"
#include "core/cleanup.h"
#include "tools/charter_copy.h"
#include "tools/control.h"

struct job {
	struct server *s;
	int fd;
	time_t told;
};

static int flush_kernel(void *arg)
{
	struct job *j = arg;

	return front_flush(j->s->front);
}

static int on_backup_progress(void *arg, const struct backup_progress *p)
{
	struct job *j = arg;

	return serve_progress(j->s, j->fd, &j->told,
			      json_pack("{s:s, s:I, s:I}", "phase", p->phase, "records", (json_int_t)p->n_records, "bytes",
					(json_int_t)p->n_bytes));
}

static json_t *manifest_figures(const struct set_manifest *m)
{
	uint64_t stored = m->index.len;

	for (size_t i = 0; i < m->n_packs; i++)
		stored += m->packs[i].len;
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "set", m->id, "parent",
			 m->parent, "kind", m->full ? "full" : "incremental", "tiers", m->tiers, "time",
			 (json_int_t)m->time, "files", (json_int_t)m->n_nodes, "names",
			 (json_int_t)m->n_names, "data_records", (json_int_t)m->n_data, "gone",
			 (json_int_t)m->n_gone, "bytes", (json_int_t)m->n_bytes, "stored",
			 (json_int_t)stored);
}

/* The policy as it stands now; a file that is wrong at the moment leaves the one that the mount began with. */
static void policy_now(struct server *s, struct conf *ret)
{
	if (conf_load(s->store_fd, ret, NULL) != 0)
		*ret = s->conf;
}

static int verify_new(struct server *s, struct repo *r, const struct set_manifest *m, unsigned percent,
		      struct diag *d)
{
	struct backup_verdict v = {0};
	int err = backup_verify_some(r, s->kr, m, percent, &v, d);

	if (err)
		return err;
	struct proof p = {.kind = PROOF_VERIFY, .time = time(NULL), .n_sets = 1, .percent = percent,
			  .n_checked = v.n_records, .n_bytes = v.n_bytes, .n_destroyed = v.n_destroyed, .n_bad = v.n_bad};
	snprintf(p.set, sizeof(p.set), "%s", m->id);
	snprintf(p.first_bad, sizeof(p.first_bad), "%s", v.first_bad);
	err = proof_put(r, keyring_volume_id(s->kr), keyring_sign_seed(s->kr), &p, d);
	if (err || v.n_bad == 0)
		return err;
	return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "set %s, just taken: %s", m->id, v.first_bad);
}

/* What is told of a set that was taken, after the verification that the policy may want. */
static int conclude(struct server *s, const struct peer *p, struct repo *r, const struct set_manifest *m, json_t **ret,
		    struct diag *d)
{
	struct conf now;
	char detail[64];
	size_t n;

	policy_now(s, &now);
	unsigned percent = now.verify_after;
	int err = percent ? verify_new(s, r, m, percent, d) : 0;
	if (err == 0 && now.parity)
		err = parity_cover(r, m, now.parity, &n, d);

	int len = snprintf(detail, sizeof(detail), "%s", m->full ? "full" : "incremental");
	if (percent == 100)
		snprintf(detail + len, sizeof(detail) - (size_t)len, ", verified");
	else if (percent)
		snprintf(detail + len, sizeof(detail) - (size_t)len, ", %u%% of the records verified", percent);
	err = serve_trail_end(s, p, "backup.run", m->id, m->tiers, err, detail, d);
	if (err)
		return err;
	*ret = manifest_figures(m);
	if (*ret)
		json_object_set_new(*ret, "verified_percent", json_integer(percent));
	return *ret ? 0 : diag_fail_errno(d, -ENOMEM, "set %s", m->id);
}

static int run_backup(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		      struct diag *d)
{
	const char *text = "daily", *repository = NULL;
	char tier[POLICY_TIERS_MAX + 1];
	unsigned tiers;
	struct job job = {.s = s, .fd = fd};
	struct set_manifest m = {0};
	struct conf now;
	int full = 0;
	CLEANUP_REPO struct repo *r = NULL;

	json_unpack((json_t *)req, "{s?s, s?b, s?s}", "tiers", &text, "full", &full, "repository",
		    &repository);
	if (policy_tiers_parse(text, &tiers) != 0)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "tier \"%s\" (daily, weekly, monthly)", text);
	policy_tiers_text(tiers, tier);
	int err = serve_repo(s, repository, &r, d);
	if (err)
		return err;
	struct backup_request in = {.volume = s->volume, .repo = r, .tier = tier, .full = full != 0,
				    .charter = s->charter->digest, .flush = flush_kernel,
				    .progress = on_backup_progress, .arg = &job};
	policy_now(s, &now);
	in.read_rate = (uint64_t)now.read_mib << 20;
	in.write_rate = (uint64_t)now.write_mib << 20;
	err = charter_copy_put(s->store_fd, s->charter->number, r, d);
	if (err)
		return err;
	err = trail_checkpoint(s->trail, &in.trail, NULL);
	if (err)
		return diag_fail(d, DIAG_TRAIL, err, "%s", s->store);
	err = backup_run(&in, &m, d);
	if (err == 0) {
		err = conclude(s, p, r, &m, ret, d);
		set_manifest_free(&m);
	} else {
		serve_trail_end(s, p, "backup.run", repo_url(r), tier, err, NULL, d);
	}
	return err;
}

int serve_op_backup_run(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			struct diag *d)
{
	if (!serve_claim(s, &s->busy_backup))
		return diag_fail(d, DIAG_EXISTS, -EBUSY, "a backup or an execution on %s is running", s->mountpoint);
	int err = run_backup(s, p, req, fd, ret, d);
	serve_unclaim(s, &s->busy_backup);
	return err;
}

/* --- restore --- */

static int on_restored(void *arg, uint64_t set_id, uint64_t new_id)
{
	struct job *j = arg;

	return volume_add_edge(j->s->volume, set_id, new_id, VOLUME_EDGE_RESTORED);
}

static int on_restore_progress(void *arg, uint64_t n_files, uint64_t n_bytes)
{
	struct job *j = arg;

	return serve_progress(j->s, j->fd, &j->told,
			      json_pack("{s:I, s:I}", "files", (json_int_t)n_files, "bytes", (json_int_t)n_bytes));
}

/* The target's folder must lie inside the mount: what leaves the volume is an export, and needs a key. This only gives the
 * clear answer; restore_run holds what it opened to it. */
static int check_target(struct server *s, const char *to, dev_t *ret, struct diag *d)
{
	char parent[PATH_MAX], real[PATH_MAX];
	struct stat st, root;

	snprintf(parent, sizeof(parent), "%s", to);
	if (stat(parent, &st) != 0) { /* a new folder: its parent counts */
		char *slash = strrchr(parent, '/');
		if (!slash || slash == parent)
			return diag_fail(d, DIAG_USAGE, -EINVAL, "%s", to);
		*slash = 0;
	}
	if (!realpath(parent, real) || stat(real, &st) || stat(s->mountpoint, &root))
		return diag_fail_errno(d, -errno, "%s", parent);
	if (st.st_dev != root.st_dev)
		return diag_fail(d, DIAG_DENIED, -EPERM,
				 "%s lies outside %s: that is an export, and needs a key", to, s->mountpoint);
	*ret = root.st_dev;
	return 0;
}

/* What is restored, and to where. */
struct target {
	char **paths;
	size_t n;
	dev_t mount;
};

static void target_free(struct target *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->paths[i]);
	free(t->paths);
}

/* Everything is asked for as such: a list that came out empty is no such wish. */
static int take_paths(struct target *t, const json_t *a, bool all)
{
	size_t n = json_array_size(a);
	int err = all == (n == 0) ? 0 : -EINVAL;

	t->paths = calloc(n ? n : 1, sizeof(*t->paths));
	if (!t->paths)
		return -ENOMEM;
	for (; err == 0 && t->n < n; t->n += err == 0)
		err = control_name_get(json_array_get(a, t->n), &t->paths[t->n]);
	return err;
}

/* The root among others would give its own mode to the folder that hides the others. */
static bool mixes_root(const struct target *t)
{
	for (size_t i = 0; t->n > 1 && i < t->n; i++)
		if (t->paths[i][strspn(t->paths[i], "/.")] == 0)
			return true;
	return false;
}

static json_t *restore_figures(const struct restore_result *r, const char *set)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:o, s:I, s:o}", "set", set, "kept",
			 (json_int_t)r->n_kept, "files",
			 (json_int_t)r->n_files, "folders", (json_int_t)r->n_dirs, "other",
			 (json_int_t)r->n_other, "links", (json_int_t)r->n_links, "bytes",
			 (json_int_t)r->n_bytes, "destroyed", (json_int_t)r->n_destroyed, "order",
			 r->order, "damaged", (json_int_t)r->n_damaged, "first_damaged",
			 control_text(r->first_damaged), "refused", (json_int_t)r->n_refused, "first_refused",
			 control_text(r->first_refused));
}

static int restore_from(struct server *s, struct repo *r, const struct set_catalog *cat, size_t set,
			struct restore_request *in, struct restore_result *ret_res, json_t **ret, struct diag *d)
{
	struct restore_result res = {0};
	int err = setview_open(r, s->kr, cat, set, &in->view, d);

	if (err)
		return err;
	err = restore_run(in, &res, d);
	setview_close(in->view);
	*ret_res = res;
	/* Damage is told with what could be restored, not instead of it. */
	if (err == 0 || (err == -EBADMSG && res.n_damaged) || (err == -EPERM && res.n_refused)) {
		*ret = restore_figures(&res, cat->sets[set].id);
		err = *ret ? 0 : diag_fail_errno(d, -ENOMEM, "set %s", cat->sets[set].id);
	}
	return err;
}

/* Recorded before it begins and when it has ended. Neither paths nor the message's object: names of files do not go into
 * the trail in the clear. */
static int restore_recorded(struct server *s, const struct peer *p, struct repo *r, const struct set_catalog *cat,
			    size_t set, struct restore_request *in, json_t **ret, struct diag *d)
{
	const char *how = in->in_place ? "in place" : "beside", *id = cat->sets[set].id;
	struct restore_result res = {0};
	char detail[64] = "";

	int err = serve_trail(s, p, "restore", id, how, "begun", NULL, true);
	if (err)
		return diag_fail(d, DIAG_TRAIL, err, "%s", s->store);
	err = restore_from(s, r, cat, set, in, &res, ret, d);
	if (res.n_damaged)
		snprintf(detail, sizeof(detail), "%llu damaged", (unsigned long long)res.n_damaged);
	int trail = serve_trail(s, p, "restore", id, how, err ? "failed" : res.n_damaged ? "integrity" : "ok",
				err ? diag_name(d->id) : detail, true);
	if (err || trail == 0)
		return err;
	json_decref(*ret);
	*ret = NULL;
	return diag_fail(d, DIAG_TRAIL, trail, "%s", s->store);
}

int serve_op_restore(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		     struct diag *d)
{
	const char *set = NULL, *to = NULL, *repository = NULL;
	CLEANUP_WITH(target_free) struct target t = {0};
	struct job job = {.s = s, .fd = fd};
	struct set_catalog cat = {0};
	json_int_t at = 0;
	json_t *list = NULL;
	int in_place = 0, all = 0, resume = 0;
	size_t i;
	CLEANUP_REPO struct repo *r = NULL;

	if (json_unpack((json_t *)req, "{s?s, s?I, s?s, s?s, s?b, s?b, s?b, s?o}", "set", &set, "at", &at, "to", &to,
			"repository", &repository, "in_place", &in_place, "resume", &resume, "all", &all, "paths", &list) != 0)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "restore");
	bool owner = p->trusted || (p->roles & CHARTER_OWNER);
	if (in_place && !owner)
		return diag_fail(d, DIAG_DENIED, -EPERM, "restoring in place overwrites: the owner's right");
	if (in_place)
		to = s->mountpoint;
	int err = to ? take_paths(&t, list, all != 0) : -EINVAL;
	if (err || (!owner && mixes_root(&t)))
		return diag_fail(d, DIAG_USAGE, err ? err : -EINVAL, "restore");
	err = check_target(s, to, &t.mount, d);
	if (err == 0)
		err = serve_repo_for(s, p, repository, &r, d);
	if (err == 0)
		err = set_catalog_load(r, keyring_volume_id(s->kr), keyring_header(s->kr)->sign_pk, &cat, d);
	if (err)
		return err;
	err = set_catalog_find(&cat, set, at, &i, d);
	struct restore_request in = {.paths = (const char *const *)t.paths, .n_paths = t.n, .to = to,
				     .in_place = in_place != 0, .resume = resume != 0, .within = &t.mount, .quarantine = !owner,
				     .restored = on_restored, .progress = on_restore_progress, .arg = &job};
	if (err == 0)
		err = restore_recorded(s, p, r, &cat, i, &in, ret, d);
	set_catalog_free(&cat);
	return err;
}
