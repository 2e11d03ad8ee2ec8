/*
 * The control operation backup.drill: a restore drill in the serving process.
 *
 * Restored files lie for a moment in a scratch folder of the run folder, or in one that is named;
 * the latter takes plaintext elsewhere, like an export, and is for root and the serving user alone.
 */
#include "tools/serve_ops.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "backup/drill.h"
#include "backup/proof.h"
#include "core/cleanup.h"
#include "tools/control.h"

#define FILES_MAX 100000

struct job {
	struct server *s;
	int fd;
	time_t told;
};

static int on_progress(void *arg, uint64_t n_files, uint64_t n_bytes)
{
	struct job *j = arg;

	return serve_progress(j->s, j->fd, &j->told,
			      json_pack("{s:I, s:I}", "files", (json_int_t)n_files, "bytes", (json_int_t)n_bytes));
}

static int choose_scratch(struct server *s, const struct peer *p, const char *to, const char **ret,
			  struct diag *d)
{
	struct stat st, root;

	*ret = s->run;
	if (!to) {
		drill_sweep(s->run);
		return 0;
	}
	if (!p->trusted)
		return diag_fail(d, DIAG_DENIED, -EPERM,
				 "a drill to %s takes plaintext there: for root and the serving user", to);
	if (*to != '/' || stat(to, &st) != 0 || stat(s->mountpoint, &root) != 0)
		return diag_fail_errno(d, *to != '/' ? -EINVAL : -errno, "%s", to);
	/* A copy in the volume would be kept by it, and by its backups. */
	if (st.st_dev == root.st_dev)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "%s lies in the volume", to);
	*ret = to;
	return 0;
}

static json_t *figures(const struct proof *p, const struct drill_result *r)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "drill", p->id, "set", p->set,
			 "time", (json_int_t)p->time, "files_in_set", (json_int_t)r->n_in_set, "files",
			 (json_int_t)r->n_files, "bytes", (json_int_t)r->n_bytes, "live",
			 (json_int_t)r->n_live, "destroyed", (json_int_t)r->n_destroyed, "bad",
			 (json_int_t)r->n_bad, "first_bad", r->first_bad);
}

/* The signed record first: the trail says what is there. */
static int conclude(struct server *s, const struct peer *p, struct repo *r, const char *set,
		    const struct drill_result *res, json_t **ret, struct diag *d)
{
	struct proof proof = {.kind = PROOF_DRILL,
			      .time = time(NULL),
			      .n_sets = 1,
			      .n_checked = res->n_files,
			      .n_bytes = res->n_bytes,
			      .n_live = res->n_live,
			      .n_destroyed = res->n_destroyed,
			      .n_bad = res->n_bad};
	char object[64], detail[256];

	snprintf(proof.set, sizeof(proof.set), "%s", set);
	snprintf(proof.first_bad, sizeof(proof.first_bad), "%s", res->first_bad);
	int err = proof_put(r, keyring_volume_id(s->kr), keyring_sign_seed(s->kr), &proof, d);
	snprintf(object, sizeof(object), "set %s", set);
	snprintf(detail, sizeof(detail), "%s: %llu files, %llu with the live ones, %llu bad%s%s",
		 err ? "no record" : proof.id, (unsigned long long)res->n_files,
		 (unsigned long long)res->n_live, (unsigned long long)res->n_bad,
		 res->n_bad ? ", first " : "", res->first_bad);
	int trail = serve_trail(s, p, "backup.drill", object, NULL,
				res->n_bad ? "integrity" : err ? "failed" : "ok", detail, true);
	if (err)
		return err;
	if (trail)
		return diag_fail(d, DIAG_TRAIL, trail, "%s", s->store);
	*ret = figures(&proof, res);
	return *ret ? 0 : diag_fail_errno(d, -ENOMEM, "set %s", set);
}

static int drill(struct server *s, const struct peer *p, struct repo *r, struct drill_request *in,
		 json_t **ret, struct diag *d)
{
	struct set_catalog cat = {0};
	struct drill_result res = {0};
	int err = set_catalog_load(r, keyring_volume_id(s->kr), keyring_header(s->kr)->sign_pk, &cat, d);

	if (err)
		return err;
	in->repo = r;
	in->kr = s->kr;
	in->live = s->volume;
	in->catalog = &cat;
	err = set_catalog_find(&cat, "latest", 0, &in->set, d);
	if (err == 0) {
		const char *set = cat.sets[in->set].id;
		char object[64];

		snprintf(object, sizeof(object), "set %s", set);
		err = drill_run(in, &res, d);
		if (err == 0)
			err = conclude(s, p, r, set, &res, ret, d);
		else
			serve_trail_end(s, p, "backup.drill", object, NULL, err, NULL, d);
	}
	set_catalog_free(&cat);
	return err;
}

int serve_op_backup_drill(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			  struct diag *d)
{
	const char *repository = NULL, *to = NULL;
	json_int_t files = s->conf.drill_files;
	struct job job = {.s = s, .fd = fd};
	CLEANUP_REPO struct repo *r = NULL;
	struct conf now;

	if (conf_load(s->store_fd, &now, NULL) == 0)
		files = now.drill_files;
	json_unpack((json_t *)req, "{s?s, s?s, s?I}", "repository", &repository, "to", &to, "files", &files);
	if (files < 1 || files > FILES_MAX)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "files: a whole number from 1 to %d", FILES_MAX);
	if (!serve_claim(s, &s->busy_backup))
		return diag_fail(d, DIAG_EXISTS, -EBUSY, "a backup or drill of %s is running", s->mountpoint);
	struct drill_request in = {.n_files = (uint64_t)files, .progress = on_progress, .arg = &job};
	int err = choose_scratch(s, p, to, &in.scratch, d);
	if (err == 0)
		err = serve_repo(s, repository, &r, d);
	if (err == 0)
		err = drill(s, p, r, &in, ret, d);
	serve_unclaim(s, &s->busy_backup);
	return err;
}
