/*
 * Control operations: the table of who may ask for what, and the operations on the volume and the trail themselves.
 * Backup and restore are in serve_backup.c, destruction in serve_destroy.c, escrows in serve_custody.c.
 */
#include "tools/serve_ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "backup/proof.h"
#include "backup/set.h"
#include "core/bytes.h"
#include "core/cleanup.h"
#include "tools/control.h"

/* --- status --- */

static json_t *volume_figures(struct server *s)
{
	struct volume_stat st;

	volume_stat(s->volume, &st);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s}", "total_bytes",
			 (json_int_t)st.total_bytes, "free_bytes", (json_int_t)st.free_bytes, "inodes",
			 (json_int_t)st.n_inodes, "used_bytes", (json_int_t)st.used_bytes, "quota_bytes",
			 (json_int_t)st.quota_bytes, "transaction", (json_int_t)st.txn, "next_id",
			 (json_int_t)st.next_id, "snapshots", (json_int_t)st.n_snapshots, "read_only",
			 st.read_only, "why_read_only", st.why_read_only);
}

static void put_proof(struct server *s, struct repo *r, enum proof_kind kind, const char *key, json_t *into)
{
	struct proof p;

	if (proof_last(r, kind, false, keyring_volume_id(s->kr), keyring_header(s->kr)->sign_pk, &p) != 0)
		return;
	json_object_set_new(into, key, json_pack("{s:I, s:s, s:I, s:I, s:I, s:s}", "time", (json_int_t)p.time, "set",
						 p.set, "checked", (json_int_t)p.n_checked, "destroyed",
						 (json_int_t)p.n_destroyed, "bad", (json_int_t)p.n_bad, "first_bad",
						 p.first_bad));
	if (kind == PROOF_VERIFY)
		json_object_set_new(json_object_get(into, key), "percent", json_integer(p.percent));
}

static json_t *repository_figures(struct server *s, const struct conf_repository *c)
{
	struct set_catalog cat = {0};
	struct diag d = {0};
	CLEANUP_REPO struct repo *r = NULL;
	json_t *j = json_pack("{s:s, s:s}", "name", c->name, "url", c->url);

	if (!j)
		return NULL;
	if (serve_repo(s, c->name, &r, &d) == 0 &&
	    set_catalog_load(r, keyring_volume_id(s->kr), keyring_header(s->kr)->sign_pk, &cat, &d) == 0) {
		json_object_set_new(j, "sets", json_integer((json_int_t)cat.n_sets));
		json_object_set_new(j, "damaged", json_integer((json_int_t)cat.n_damaged));
		if (cat.n_sets) {
			const struct set_manifest *m = &cat.sets[cat.n_sets - 1];
			json_object_set_new(j, "last", json_string(m->id));
			json_object_set_new(j, "last_time", json_integer(m->time));
		}
		put_proof(s, r, PROOF_DRILL, "drill", j);
		put_proof(s, r, PROOF_VERIFY, "verify", j);
		set_catalog_free(&cat);
	} else {
		json_object_set_new(j, "error", json_string(diag_cause(d.id)));
	}
	return j;
}

static json_t *escrow_figures(struct server *s)
{
	struct keyring_escrow_status e[KEYRING_ESCROWS_MAX];
	size_t n = keyring_escrow_list(s->kr, e);
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, json_pack("{s:s, s:b, s:I, s:s}", "place", e[i].dir, "confirmed",
						   e[i].confirmed, "generation",
						   (json_int_t)e[i].generation, "why", e[i].why));
	return a;
}

static int op_status(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		     struct diag *d)
{
	const struct header *h = keyring_header(s->kr);
	struct trail_head head;
	char id[33], medium[256];
	json_t *repos = json_array();
	(void)p, (void)req, (void)fd, (void)d;

	bytes_hex(id, h->volume_id, 16);
	trail_head_get(s->trail, &head);
	anchor_medium(h->anchor, medium, sizeof(medium));
	for (size_t i = 0; i < s->conf.n_repositories; i++)
		json_array_append_new(repos, repository_figures(s, &s->conf.repositories[i]));
	pthread_mutex_lock(&s->lock);
	json_t *alarms = json_pack("{s:I, s:s}", "count", (json_int_t)s->n_alarms, "last", s->last_alarm);
	pthread_mutex_unlock(&s->lock);
	*ret = json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:I, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:{s:s, s:s}}",
			 "name", h->name, "volume", id, "store", s->store, "mountpoint", s->mountpoint,
			 "mounted", 1, "confined", (int)s->confined, "since", (json_int_t)s->started, "suite",
			 suite_name(keyring_suite(s->kr)), "generation",
			 (json_int_t)keyring_generation(s->kr), "trail_entries", (json_int_t)head.size,
			 "space", volume_figures(s), "repositories", repos, "escrows", escrow_figures(s),
			 "orders", serve_orders_figures(s), "alarms", alarms, "anchor", "place", h->anchor, "medium",
			 medium);
	return *ret ? 0 : -ENOMEM;
}

/* --- volume --- */

static int op_sync(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		   struct diag *d)
{
	struct volume_stat st;
	(void)p, (void)req, (void)fd;

	int err = front_flush(s->front);
	if (err == 0)
		err = volume_sync(s->volume);
	if (err)
		return diag_fail_errno(d, err, "syncing %s", s->mountpoint);
	volume_stat(s->volume, &st);
	*ret = json_pack("{s:I}", "transaction", (json_int_t)st.txn);
	return 0;
}

/* Any bound, also below what files hold: what is there stays, and nothing is added until they hold less. */
static int op_quota(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		    struct diag *d)
{
	json_int_t bytes = -1;
	char text[24];
	(void)fd, (void)ret;

	if (json_unpack((json_t *)req, "{s:I}", "bytes", &bytes) != 0 || bytes < 0)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "quota");
	snprintf(text, sizeof(text), "%lld", (long long)bytes);
	if (serve_trail(s, p, "quota.set", text, NULL, "begun", NULL, true) != 0)
		return diag_fail(d, DIAG_TRAIL, -EIO, "%s", s->store);
	int err = volume_set_quota(s->volume, (uint64_t)bytes);
	serve_trail(s, p, "quota.set", text, NULL, err ? "failed" : "ok", NULL, false);
	return err ? diag_fail_errno(d, err, "setting the quota of %s", s->store) : 0;
}

static void on_finding(void *arg, const char *text)
{
	json_t *findings = arg;

	if (json_array_size(findings) < 1000)
		json_array_append_new(findings, control_text(text));
}

static int op_check(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		    struct diag *d)
{
	struct volume_check c = {0};
	json_t *findings = json_array();
	bool data = json_is_true(json_object_get(req, "data"));
	(void)fd;

	int err = volume_check(s->volume, data, on_finding, findings, &c);
	if (err) {
		json_decref(findings);
		return diag_fail_errno(d, err, "checking %s", s->store);
	}
	serve_trail(s, p, "check", data ? "records and data" : "records", NULL, c.n_bad ? "integrity" : "ok", NULL,
		    false);
	*ret = json_pack("{s:I, s:I, s:I, s:I, s:o}", "records", (json_int_t)c.n_records, "inodes",
			 (json_int_t)c.n_inodes, "blocks", (json_int_t)c.n_blocks, "bad",
			 (json_int_t)c.n_bad, "findings", findings);
	return *ret ? 0 : -ENOMEM;
}

static int op_unmount(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		      struct diag *d)
{
	(void)req, (void)fd, (void)ret;
	serve_trail(s, p, "unmount.request", s->mountpoint, NULL, "ok", NULL, false);
	/*
	 * What cannot be brought to disk is told while somebody listens; afterwards nothing is left to commit. Pages that the
	 * engine refuses (a full disk) are the writers' errors, told to them at close and fsync: only the engine's own counts here.
	 */
	front_flush(s->front);
	int err = volume_sync(s->volume);
	/* Refuses while files are open, as umount(8) does; the loop ends by itself once the kernel lets go. */
	if (umount2(s->mountpoint, UMOUNT_NOFOLLOW) != 0)
		return diag_fail_errno(d, -errno, "%s", s->mountpoint);
	return err ? diag_fail_errno(d, err, "%s is unmounted, but its last changes are not on disk", s->mountpoint) : 0;
}

/* --- trail --- */

static int op_trail_append(struct server *s, const struct peer *p, const json_t *req, int fd,
			   json_t **ret, struct diag *d)
{
	const char *operation, *object, *result, *purpose = "", *detail = "";
	(void)fd, (void)ret;

	if (json_unpack((json_t *)req, "{s:s, s:s, s:s, s?s, s?s}", "operation", &operation, "object",
			&object, "result", &result, "purpose", &purpose, "detail", &detail) != 0)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "trail.append");
	int err = serve_trail(s, p, operation, object, purpose, result, detail, true);
	return err ? diag_fail(d, DIAG_TRAIL, err, "%s", s->store) : 0;
}

static int op_trail_checkpoint(struct server *s, const struct peer *p, const json_t *req, int fd,
			       json_t **ret, struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	struct trail_head head;
	(void)p, (void)req, (void)fd;

	int err = trail_checkpoint(s->trail, &head, &text);
	if (err)
		return diag_fail(d, DIAG_TRAIL, err, "%s", s->store);
	*ret = json_pack("{s:I, s:s}", "size", (json_int_t)head.size, "checkpoint", text);
	return 0;
}

struct reading {
	json_t *entries;
	size_t max;
};

/* No record is left out for a byte in it that JSON does not take. */
static int on_entry(uint64_t index, const struct trail_event *ev, void *arg)
{
	struct reading *r = arg;

	json_t *e = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "index", (json_int_t)index,
			      "time_ns", (json_int_t)ev->time_ns, "uid", (json_int_t)ev->uid, "pid", (json_int_t)ev->pid,
			      "member", control_text(ev->member), "operation", control_text(ev->operation), "object",
			      control_text(ev->object), "purpose", control_text(ev->purpose), "result",
			      control_text(ev->result), "detail", control_text(ev->detail), "name_gone", ev->name_gone);

	if (json_array_append_new(r->entries, e) != 0)
		return -ENOMEM;
	return json_array_size(r->entries) >= r->max;
}

static int op_trail_read(struct server *s, const struct peer *p, const json_t *req, int fd,
			 json_t **ret, struct diag *d)
{
	json_int_t from = 0, max = 10000;
	struct reading r = {.entries = json_array()};
	(void)p, (void)fd;

	json_unpack((json_t *)req, "{s?I, s?I}", "from", &from, "max", &max);
	r.max = max > 0 && max < 100000 ? (size_t)max : 100000;
	int err = trail_read(s->trail, from > 0 ? (uint64_t)from : 0, on_entry, &r, d);
	if (err < 0) {
		json_decref(r.entries);
		return err;
	}
	*ret = json_pack("{s:o}", "entries", r.entries);
	return 0;
}

/* --- the table --- */

/* Who may: trusted peers everything, members by role. */
static const struct {
	const char *name;
	unsigned roles;
	int (*run)(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		   struct diag *d);
} ops[] = {
	{"status", ~0u, op_status},
	{"sync", ~0u, op_sync},
	{"quota", CHARTER_OPERATOR | CHARTER_OWNER, op_quota},
	{"check", CHARTER_OPERATOR | CHARTER_OWNER | CHARTER_SECURITY | CHARTER_AUDITOR, op_check},
	{"unmount", CHARTER_OPERATOR | CHARTER_OWNER, op_unmount},
	{"escrow.sync", CHARTER_OWNER | CHARTER_SECURITY | CHARTER_OPERATOR, serve_op_escrow_sync},
	/* It has the process write where the peer says. */
	{"escrow.add", 0, serve_op_escrow_add},
	{"backup.run", CHARTER_OPERATOR | CHARTER_OWNER, serve_op_backup_run},
	{"backup.drill", CHARTER_OPERATOR | CHARTER_OWNER, serve_op_backup_drill},
	{"backup.hold", CHARTER_OPERATOR | CHARTER_OWNER | CHARTER_SECURITY | CHARTER_AUDITOR, serve_op_backup_hold},
	{"backup.holds", ~0u, serve_op_backup_holds},
	{"backup.release", CHARTER_OPERATOR | CHARTER_OWNER | CHARTER_SECURITY, serve_op_backup_release},
	{"backup.merge", CHARTER_OPERATOR | CHARTER_OWNER, serve_op_backup_merge},
	{"backup.medium", CHARTER_OPERATOR | CHARTER_OWNER, serve_op_backup_medium},
	{"restore", CHARTER_OPERATOR | CHARTER_OWNER, serve_op_restore},
	{"destroy.inventory", CHARTER_OPERATOR | CHARTER_OWNER | CHARTER_SECURITY, serve_op_inventory},
	/* Any member may be asked to approve. */
	{"destroy.describe", ~0u, serve_op_describe},
	{"destroy.execute", CHARTER_OPERATOR | CHARTER_OWNER | CHARTER_SECURITY, serve_op_execute},
	{"destroy.verify", CHARTER_OPERATOR | CHARTER_OWNER | CHARTER_SECURITY | CHARTER_AUDITOR, serve_op_verify},
	{"order.submit", ~0u, serve_op_order_submit},
	{"statement.submit", ~0u, serve_op_statement_submit},
	{"order.read", ~0u, serve_op_order_read},
	{"orders.list", ~0u, serve_op_orders_list},
	{"trail.append", 0, op_trail_append},
	{"trail.checkpoint", CHARTER_AUDITOR | CHARTER_OWNER | CHARTER_SECURITY, op_trail_checkpoint},
	{"trail.read", CHARTER_AUDITOR | CHARTER_OWNER | CHARTER_SECURITY, op_trail_read},
};

int serve_op(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret_ok,
	     struct diag *d)
{
	const char *name = json_string_value(json_object_get(req, "op"));

	for (size_t i = 0; name && i < sizeof(ops) / sizeof(*ops); i++) {
		if (strcmp(ops[i].name, name) != 0)
			continue;
		if (!p->trusted && !(p->roles & ops[i].roles)) {
			serve_trail(s, p, name, "", NULL, "refused", "role", false);
			return diag_fail(d, DIAG_DENIED, -EPERM, "%s by uid %u", name, p->uid);
		}
		return ops[i].run(s, p, req, fd, ret_ok, d);
	}
	return diag_fail(d, DIAG_USAGE, -EINVAL, "control operation \"%s\"", name ? name : "");
}

/* Repositories by name, then offline media by label: those with a path in coffer.conf. */
static const char *url_of(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->n_repositories; i++)
		if (!name || !strcmp(c->repositories[i].name, name))
			return c->repositories[i].url;
	for (size_t i = 0; name && i < c->n_media; i++)
		if (!strcmp(c->media[i].name, name) && *c->media[i].path)
			return c->media[i].path;
	return NULL;
}

int serve_repo(struct server *s, const char *name, struct repo **ret, struct diag *d)
{
	const char *url = url_of(&s->conf, name);

	if (!url)
		return diag_fail(d, DIAG_NO_REPOSITORY, -ENOENT, "%s",
				 name ? name : "coffer.conf names no repository");
	return repo_open(url, keyring_volume_id(s->kr), keyring_header(s->kr)->sign_pk, ret, d);
}

int serve_repo_for(struct server *s, const struct peer *p, const char *name, struct repo **ret, struct diag *d)
{
	if (!name || *name != '/' || !p->trusted)
		return serve_repo(s, name, ret, d);
	return repo_open(name, keyring_volume_id(s->kr), keyring_header(s->kr)->sign_pk, ret, d);
}

bool serve_claim(struct server *s, bool *flag)
{
	pthread_mutex_lock(&s->lock);
	bool ok = !*flag;
	*flag = true;
	pthread_mutex_unlock(&s->lock);
	return ok;
}

void serve_unclaim(struct server *s, bool *flag)
{
	pthread_mutex_lock(&s->lock);
	*flag = false;
	pthread_mutex_unlock(&s->lock);
}

bool serve_progress(struct server *s, int fd, time_t *io_told, json_t *progress)
{
	time_t now = time(NULL);

	pthread_mutex_lock(&s->lock);
	bool stop = s->stopping;
	pthread_mutex_unlock(&s->lock);
	if (progress && now != *io_told) {
		json_t *line = json_pack("{s:O}", "progress", progress);
		if (line)
			control_write(fd, line); /* a client that left stops nothing */
		json_decref(line);
		*io_told = now;
	}
	json_decref(progress);
	return stop;
}

int serve_trail_end(struct server *s, const struct peer *p, const char *operation, const char *object, const char *purpose,
		    int err, const char *detail, struct diag *d)
{
	const char *result = !err ? "ok" : diag_exit_code(d->id) == DIAG_EXIT_INTEGRITY ? "integrity" : "failed";
	int trail = serve_trail(s, p, operation, object, purpose, result, err ? diag_name(d->id) : detail, true);

	if (err || trail == 0)
		return err;
	return diag_fail(d, DIAG_TRAIL, trail, "%s", s->store);
}
