/*
 * Control operations of destruction: the inventory for a request, the description for an approver, execution, and looking again.
 *
 * Who may decide is settled by signatures on the order, never here. A peer's right to ask for execution only starts the examination.
 */
#include "tools/serve_ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/cleanup.h"
#include "shred/certificate.h"
#include "shred/execute.h"
#include "tools/control.h"

#define LISTING_MAX 2000

/* --- paths --- */

static int resolve(struct server *s, const char *path, uint64_t *ret, struct diag *d)
{
	uint64_t id = VOLUME_ROOT_ID;
	char part[VOLUME_NAME_MAX + 1];

	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		struct volume_attr a;

		if (n == 0) {
			p++;
			continue;
		}
		if (n > VOLUME_NAME_MAX)
			return diag_fail_errno(d, -ENAMETOOLONG, "%s", path);
		memcpy(part, p, n);
		part[n] = 0;
		int err = volume_lookup(s->volume, id, part, &a);
		if (err == -ENOENT)
			return diag_fail(d, DIAG_NOT_FOUND, err, "%s in %s", path, s->mountpoint);
		if (err)
			return diag_fail_errno(d, err, "%s in %s", path, s->mountpoint);
		volume_forget(s->volume, a.id, 1);
		id = a.id;
		p += n;
	}
	if (id == VOLUME_ROOT_ID)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "%s: the root cannot be a target; name what is in it", path);
	*ret = id;
	return 0;
}

static int resolve_all(struct server *s, const json_t *paths, uint64_t **ret, size_t *ret_n, struct diag *d)
{
	size_t n = json_array_size(paths);
	CLEANUP_FREE uint64_t *ids = calloc(n ? n : 1, sizeof(*ids));

	if (!ids)
		return diag_fail_errno(d, -ENOMEM, "inventory");
	if (n == 0)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "no path given");
	for (size_t i = 0; i < n; i++) {
		CLEANUP_FREE char *path = NULL;
		int err = control_name_get(json_array_get(paths, i), &path);
		if (err)
			return diag_fail(d, DIAG_USAGE, err, "path %zu", i + 1);
		err = resolve(s, path, &ids[i], d);
		if (err)
			return err;
	}
	*ret = STEAL_PTR(ids);
	*ret_n = n;
	return 0;
}

static void close_all_repos(struct repo *(*repos)[CONF_REPOSITORIES_MAX])
{
	for (size_t i = 0; i < CONF_REPOSITORIES_MAX; i++)
		repo_close((*repos)[i]);
}
#define CLEANUP_REPOS __attribute__((cleanup(close_all_repos)))

static int all_repos(struct server *s, struct repo *ret[CONF_REPOSITORIES_MAX], struct diag *d)
{
	for (size_t i = 0; i < s->conf.n_repositories; i++) {
		int err = serve_repo(s, s->conf.repositories[i].name, &ret[i], d);
		if (err)
			return err;
	}
	return 0;
}

/* --- names of what an inventory lists, where they still open --- */

struct names {
	json_t *by_id; /* id in decimal -> path */
	const char *prefix;
	json_t *folders; /* pairs to walk: [id, path] */
};

static int on_history(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool present, const char *name)
{
	struct names *n = arg;
	char key[24], path[PATH_MAX];
	(void)parent, (void)link;

	if (!present || !*name || json_object_size(n->by_id) >= LISTING_MAX)
		return 0;
	snprintf(key, sizeof(key), "%llu", (unsigned long long)child);
	if (json_object_get(n->by_id, key) ||
	    snprintf(path, sizeof(path), "%s/%s", n->prefix, name) >= (int)sizeof(path))
		return 0;
	json_object_set_new(n->by_id, key, json_string(path));
	json_array_append_new(n->folders, json_pack("[I,s]", (json_int_t)child, path));
	return 0;
}

/* Breadth first from the root; the engine refuses what is no folder, which ends that branch. */
static json_t *name_everything(struct server *s)
{
	struct names n = {.by_id = json_object(), .folders = json_array()};

	json_array_append_new(n.folders, json_pack("[I,s]", (json_int_t)VOLUME_ROOT_ID, ""));
	for (size_t i = 0; i < json_array_size(n.folders) && i < LISTING_MAX * 4; i++) {
		json_int_t id;
		const char *path;
		struct volume_attr a;

		json_unpack(json_array_get(n.folders, i), "[I,s]", &id, &path);
		CLEANUP_FREE char *prefix = strdup(path);
		n.prefix = prefix ? prefix : "";
		if (volume_peek(s->volume, (uint64_t)id, &a) == 0 && S_ISDIR(a.mode))
			volume_history(s->volume, (uint64_t)id, on_history, &n);
	}
	json_decref(n.folders);
	return n.by_id;
}

static void flags_text(unsigned flags, char out[128])
{
	static const struct {
		unsigned flag;
		const char *text;
	} names[] = {{INVENTORY_TARGET, "target"}, {INVENTORY_PRESENT, "present"}, {INVENTORY_HISTORY, "history"},
		     {INVENTORY_SET, "in-sets"}, {INVENTORY_LINEAGE, "lineage"}, {INVENTORY_MOVED, "moved-out"},
		     {INVENTORY_LINKED, "linked-elsewhere"}, {INVENTORY_KEPT, "kept"}, {INVENTORY_DIR, "folder"}};

	*out = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (flags & names[i].flag)
			snprintf(out + strlen(out), 128 - strlen(out), "%s%s", *out ? " " : "", names[i].text);
}

/* Whoever only operates the platform may ask for an order, but learns no names by that. */
static bool may_see_names(const struct peer *p)
{
	return p->trusted || (p->roles & ~(unsigned)CHARTER_OPERATOR);
}

static const char *without_name(const struct inventory_item *it, bool named)
{
	if (!named)
		return "(name not shown)";
	return it->flags & INVENTORY_PRESENT ? "(not listed)" : "(earlier version or deleted)";
}

static json_t *listing(struct server *s, const struct peer *p, const struct inventory *inv)
{
	bool named = may_see_names(p);
	json_t *a = json_array(), *names = named ? name_everything(s) : json_object();

	for (size_t i = 0; i < inv->n_items && i < LISTING_MAX; i++) {
		const struct inventory_item *it = &inv->items[i];
		char key[24], flags[128];

		snprintf(key, sizeof(key), "%llu", (unsigned long long)it->id);
		flags_text(it->flags, flags);
		const char *path = json_string_value(json_object_get(names, key));
		json_array_append_new(a, json_pack("{s:I, s:s, s:I, s:s}", "id", (json_int_t)it->id, "flags", flags,
						   "bytes", (json_int_t)it->bytes, "path",
						   path ? path : without_name(it, named)));
	}
	json_decref(names);
	return a;
}

static json_t *inventory_figures(struct server *s, const struct peer *p, const struct inventory *inv)
{
	CLEANUP_FREE char *text = NULL;
	char sealed[65];
	size_t len;

	if (inventory_encode(inv, &text, &len) != 0)
		return NULL;
	bytes_hex(sealed, inv->sealed, 32);
	return json_pack("{s:s#, s:s, s:I, s:I, s:I, s:o}", "inventory", text, len, "sealed", sealed, "bytes",
			 (json_int_t)inv->n_bytes, "n_destroy", (json_int_t)inv->n_destroy, "n_kept",
			 (json_int_t)inv->n_kept, "listing", listing(s, p, inv));
}

int serve_op_inventory(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		       struct diag *d)
{
	CLEANUP_FREE uint64_t *targets = NULL;
	CLEANUP_REPOS struct repo *repos[CONF_REPOSITORIES_MAX] = {0};
	struct inventory_request in = {.volume = s->volume, .repos = repos};
	struct inventory inv = {0};
	(void)fd;

	in.destroy_moved = json_is_true(json_object_get(req, "destroy_moved"));
	in.destroy_linked = json_is_true(json_object_get(req, "destroy_linked"));
	int err = resolve_all(s, json_object_get(req, "paths"), &targets, &in.n_targets, d);
	if (err == 0)
		err = all_repos(s, repos, d);
	/* What programs wrote but the kernel still holds belongs to what is destroyed. */
	if (err == 0 && front_flush(s->front) != 0)
		err = diag_fail_errno(d, -EIO, "flushing %s", s->mountpoint);
	in.targets = targets;
	in.n_repos = s->conf.n_repositories;
	if (err == 0)
		err = inventory_build(&in, &inv, d);
	if (err)
		return err;
	*ret = inventory_figures(s, p, &inv);
	inventory_free(&inv);
	return *ret ? 0 : -ENOMEM;
}

/* --- orders --- */

/* There are orders that destroy nothing. */
static int check_action(const struct order *o, struct diag *d)
{
	return strcmp(o->action, "destroy") == 0
		       ? 0 : diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s is for %s", o->number, o->action);
}

static int load(struct server *s, const json_t *req, struct order *o, struct inventory *inv, struct diag *d)
{
	CLEANUP_FREE uint8_t *text = NULL;
	const char *number = json_string_value(json_object_get(req, "order"));
	size_t len;

	if (!number)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "no order given");
	int err = order_load(s->store_fd, number, o, &text, &len, d);
	if (err == 0)
		err = check_action(o, d);
	if (err == 0 && inventory_decode(text, len, inv) != 0)
		err = diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "order %s, inventory", number);
	return err;
}

int serve_op_describe(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		      struct diag *d)
{
	struct inventory inv = {0};
	struct order o;
	uint8_t sealed[32];
	uint64_t bytes;
	CLEANUP_FREE uint64_t *ids = NULL;
	size_t n;
	(void)fd;

	int err = load(s, req, &o, &inv, d);
	if (err)
		return err;
	err = inventory_ids(&inv, &ids, &n);
	if (err == 0)
		err = volume_sealed_digest(s->volume, ids, n, sealed, &bytes);
	if (err == 0) {
		*ret = inventory_figures(s, p, &inv);
		err = *ret ? 0 : -ENOMEM;
	}
	if (err == 0)
		json_object_set_new(*ret, "drift", json_boolean(memcmp(sealed, o.sealed, 32) != 0));
	inventory_free(&inv);
	return err ? diag_fail_errno(d, err, "order %s", o.number) : 0;
}

/* A name that leads from a folder to what is destroyed. */
struct leading {
	uint64_t parent;
	char *name;
};

struct job {
	struct server *s;
	int fd;
	struct leading *names; /* collected before, while they still open */
	size_t n_names, cap_names;
	uint64_t *kept; /* ids that lose a link, or nothing */
	size_t n_kept;
};

static void job_free(struct job *j)
{
	for (size_t i = 0; i < j->n_names; i++)
		free(j->names[i].name);
	free(j->names);
	free(j->kept);
}

static int on_leading(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool present, const char *name)
{
	struct job *j = arg;
	(void)link, (void)child;

	if (!present || !*name)
		return 0;
	if (j->n_names == j->cap_names) {
		size_t cap = j->cap_names ? j->cap_names * 2 : 64;
		struct leading *wider = reallocarray(j->names, cap, sizeof(*wider));
		if (!wider)
			return -ENOMEM;
		j->names = wider;
		j->cap_names = cap;
	}
	char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	j->names[j->n_names++] = (struct leading){.parent = parent, .name = copy};
	return 0;
}

/* What the kernel has to forget afterwards. An order that is gone on with has no names left to find. */
static int collect_cached(struct job *j, const char *number, struct diag *d)
{
	CLEANUP_FREE uint64_t *ids = NULL;
	CLEANUP_FREE uint8_t *text = NULL;
	struct inventory inv = {0};
	struct order o;
	size_t len, n = 0;

	int err = order_load(j->s->store_fd, number, &o, &text, &len, d);
	if (err == 0)
		err = check_action(&o, d);
	if (err)
		return err;
	err = inventory_decode(text, len, &inv);
	if (err == 0)
		err = inventory_ids(&inv, &ids, &n);
	if (err == 0)
		err = volume_links_of(j->s->volume, ids, n, on_leading, j);
	j->kept = err == 0 ? calloc(inv.n_items + 1, sizeof(*j->kept)) : NULL;
	for (size_t i = 0; j->kept && i < inv.n_items; i++)
		if (inv.items[i].flags & INVENTORY_KEPT)
			j->kept[j->n_kept++] = inv.items[i].id;
	inventory_free(&inv);
	return err ? diag_fail_errno(d, err, "order %s", number) : 0;
}

static void on_invalidate(void *arg, const uint64_t *ids, size_t n)
{
	struct job *j = arg;

	for (size_t i = 0; i < j->n_names; i++) {
		front_invalidate_entry(j->s->front, j->names[i].parent, j->names[i].name);
		front_invalidate(j->s->front, &j->names[i].parent, 1);
	}
	front_invalidate(j->s->front, ids, n);
	front_invalidate(j->s->front, j->kept, j->n_kept);
}

static int on_progress(void *arg, const char *step, uint64_t done, uint64_t total)
{
	struct job *j = arg;
	json_t *line = json_pack("{s:{s:s, s:I, s:I}}", "progress", "step", step, "done", (json_int_t)done,
				 "total", (json_int_t)total);

	if (line)
		control_write(j->fd, line);
	json_decref(line);
	return 0;
}

static int context(struct server *s, const struct peer *p, struct job *j, struct repo **repos,
		   const char **urls, struct shred_context *ret, struct diag *d)
{
	int err = all_repos(s, repos, d);

	for (size_t i = 0; i < s->conf.n_repositories; i++)
		urls[i] = s->conf.repositories[i].url;
	*ret = (struct shred_context){.volume = s->volume, .trail = s->trail, .store_fd = s->store_fd,
				      .charter = s->charter, .repos = repos,
				      .n_repos = s->conf.n_repositories, .repo_urls = urls,
				      .invalidate = on_invalidate, .progress = on_progress, .arg = j,
				      .uid = p->uid, .pid = (uint32_t)p->pid};
	return err;
}

static int execute(struct server *s, const struct peer *p, const char *number, int fd, json_t **ret,
		   struct diag *d)
{
	CLEANUP_REPOS struct repo *repos[CONF_REPOSITORIES_MAX] = {0};
	const char *urls[CONF_REPOSITORIES_MAX];
	struct job j = {.s = s, .fd = fd};
	struct shred_context ctx;
	struct shred_result res = {0};

	int err = context(s, p, &j, repos, urls, &ctx, d);
	/* Dirty pages are part of the inventory that is compared. */
	if (err == 0)
		err = front_flush(s->front);
	if (err == 0)
		err = collect_cached(&j, number, d);
	if (err == 0)
		err = shred_execute(&ctx, number, &res, d);
	job_free(&j);
	if (err)
		return err;
	*ret = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "order", number, "state", order_state_name(res.state),
			 "ids", (json_int_t)res.n_ids, "bytes_overwritten", (json_int_t)res.bytes_overwritten,
			 "set_records", (json_int_t)res.n_set_records, "sets_unread", (json_int_t)res.n_sets_unread, "escrows_pending",
			 (json_int_t)res.n_escrow_pending);
	return *ret ? 0 : -ENOMEM;
}

/* After what is being said at this moment is stored; from here on, nothing is said about this order any more. */
static bool begin(struct server *s, const char *number)
{
	pthread_mutex_lock(&s->orders);
	bool ok = serve_claim(s, &s->busy_destroy);
	if (ok) {
		pthread_mutex_lock(&s->lock);
		snprintf(s->executing, sizeof(s->executing), "%s", number);
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&s->orders);
	return ok;
}

int serve_op_execute(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		     struct diag *d)
{
	const char *number = json_string_value(json_object_get(req, "order"));

	if (!number)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "no order given");
	if (!begin(s, number))
		return diag_fail(d, DIAG_EXISTS, -EBUSY, "an execution on %s is running", s->mountpoint);
	/* A set that is being taken could be made from what goes. */
	bool alone = serve_claim(s, &s->busy_backup);
	int err = alone ? execute(s, p, number, fd, ret, d)
			: diag_fail(d, DIAG_EXISTS, -EBUSY, "a backup of %s is running; execute order %s when it has ended",
				    s->mountpoint, number);
	pthread_mutex_lock(&s->lock);
	if (alone)
		s->busy_backup = false;
	s->executing[0] = 0;
	s->busy_destroy = false;
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* Before that everything opens, and that is as it should be. */
static int check_executed(struct server *s, const struct order *o, struct diag *d)
{
	enum order_state state;
	unsigned missing = 0;
	int err = order_judge(s->store_fd, s->charter, o, time(NULL), &state, &missing, d);

	if (err || state == ORDER_EXECUTING || state == ORDER_ESCROW_PENDING || state == ORDER_DONE)
		return err;
	return diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s is %s", o->number, order_state_name(state));
}

int serve_op_verify(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
		    struct diag *d)
{
	CLEANUP_REPOS struct repo *repos[CONF_REPOSITORIES_MAX] = {0};
	const char *urls[CONF_REPOSITORIES_MAX];
	struct job j = {.s = s, .fd = fd};
	struct shred_verdict v = {0};
	struct inventory inv = {0};
	struct shred_context ctx;
	struct order o;

	int err = load(s, req, &o, &inv, d);
	if (err == 0)
		err = check_executed(s, &o, d);
	if (err == 0)
		err = context(s, p, &j, repos, urls, &ctx, d);
	if (err == 0)
		err = shred_verify(&ctx, &o, &inv, &v, d);
	inventory_free(&inv);
	if (err)
		return err;
	*ret = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "order", o.number, "ids", (json_int_t)v.n_ids,
			 "live_open", (json_int_t)v.n_live_open, "set_open", (json_int_t)v.n_set_open,
			 "set_records", (json_int_t)v.n_set_records, "raw_samples",
			 (json_int_t)v.n_raw_samples, "raw_open", (json_int_t)v.n_raw_open, "sets",
			 (json_int_t)v.n_sets, "sets_unread", (json_int_t)v.n_sets_unread);
	return *ret ? 0 : -ENOMEM;
}
