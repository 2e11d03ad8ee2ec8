/*
 * Control operations of holds on sets: placing one, telling them, releasing one by an approved order.
 *
 * Each is on the trail before it happens. A release goes through every repository of coffer.conf, so that
 * copies of the set are released alike; interrupted, it is simply executed again.
 */
#include "tools/serve_ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/hold.h"
#include "backup/set.h"
#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/note.h"
#include "shred/execute.h"
#include "tools/control.h"

#define CLEANUP_CATALOG CLEANUP_WITH(set_catalog_free)

static int catalog(struct server *s, struct repo *r, struct set_catalog *ret, struct diag *d)
{
	return set_catalog_load(r, keyring_volume_id(s->kr), keyring_header(s->kr)->sign_pk, ret, d);
}

/* --- placing --- */

static int fill(struct hold *h, const struct peer *p, const char *set, const char *reason, struct diag *d)
{
	if (strlen(reason) > HOLD_REASON_MAX || !note_value_valid(reason, strlen(reason)))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "--reason: at most %d bytes, no control characters",
				 HOLD_REASON_MAX);
	*h = (struct hold){.time = time(NULL)};
	snprintf(h->set, sizeof(h->set), "%s", set);
	snprintf(h->reason, sizeof(h->reason), "%s", reason);
	if (*p->member)
		snprintf(h->by, sizeof(h->by), "%s", p->member);
	else
		snprintf(h->by, sizeof(h->by), "uid %u", p->uid);
	return 0;
}

int serve_op_backup_hold(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			 struct diag *d)
{
	const char *set = NULL, *reason = "", *repository = NULL;
	CLEANUP_CATALOG struct set_catalog cat = {0};
	CLEANUP_REPO struct repo *r = NULL;
	struct hold h;
	size_t i;
	(void)fd;

	if (json_unpack((json_t *)req, "{s:s, s?s, s?s}", "set", &set, "reason", &reason, "repository", &repository) != 0)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "backup.hold");
	int err = serve_repo(s, repository, &r, d);
	if (err == 0)
		err = catalog(s, r, &cat, d);
	if (err == 0)
		err = set_catalog_find(&cat, set, 0, &i, d);
	if (err == 0)
		err = fill(&h, p, cat.sets[i].id, reason, d);
	if (err)
		return err;
	if (serve_trail(s, p, "backup.hold", h.set, NULL, "begun", repo_url(r), true) != 0)
		return diag_fail(d, DIAG_TRAIL, -EIO, "%s", s->store);
	err = hold_put(r, keyring_volume_id(s->kr), keyring_sign_seed(s->kr), &h, d);
	err = serve_trail_end(s, p, "backup.hold", h.set, NULL, err, repo_url(r), d);
	if (err)
		return err;
	*ret = json_pack("{s:s, s:s}", "set", h.set, "by", h.by);
	return *ret ? 0 : diag_fail_errno(d, -ENOMEM, "set %s", h.set);
}

/* --- telling --- */

static json_t *told(const char *repository, const struct hold *h, bool verified)
{
	char digest[65];

	bytes_hex(digest, h->digest, 32);
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:b}", "repository", repository, "set", h->set, "time",
			 (json_int_t)h->time, "by", h->by, "reason", h->reason, "hold", digest, "verified",
			 verified);
}

/* Of every folder, also of one whose manifest is damaged: its hold is what keeps the rest. */
static int add_holds(struct server *s, const char *repository, json_t *list, struct diag *d)
{
	CLEANUP_REPO struct repo *r = NULL;
	char **ids = NULL;
	size_t n = 0;
	int err = serve_repo(s, repository, &r, d);

	if (err)
		return err;
	err = repo_list(r, "sets/", &ids, &n);
	for (size_t i = 0; err == 0 && i < n; i++) {
		struct hold h;
		int one = hold_get(r, ids[i], keyring_volume_id(s->kr), keyring_header(s->kr)->sign_pk, &h);

		if (one == 0 || one == -EBADMSG || one == -EUCLEAN)
			json_array_append_new(list, told(repository, &h, one == 0));
		else if (one != -ENOENT)
			err = one;
	}
	repo_list_free(ids, n);
	return err ? diag_fail_errno(d, err, "%s", repo_url(r)) : 0;
}

int serve_op_backup_holds(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			  struct diag *d)
{
	json_t *list = json_array();
	int err = 0;
	(void)p, (void)req, (void)fd;

	for (size_t i = 0; err == 0 && i < s->conf.n_repositories; i++)
		err = add_holds(s, s->conf.repositories[i].name, list, d);
	if (err) {
		json_decref(list);
		return err;
	}
	*ret = json_pack("{s:o}", "holds", list);
	return *ret ? 0 : diag_fail_errno(d, -ENOMEM, "holds");
}

/* --- releasing --- */

struct release {
	struct order o;
	char set[SET_ID_MAX + 1];
	uint8_t hold[32];
};

static int load(struct server *s, const char *number, struct release *x, struct diag *d)
{
	CLEANUP_FREE uint8_t *text = NULL;
	size_t len;
	int err = order_load(s->store_fd, number, &x->o, &text, &len, d);

	if (err)
		return err;
	if (strcmp(x->o.action, HOLD_ACTION) != 0)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s is for %s", number, x->o.action);
	if (strlen((const char *)text) != len ||
	    hold_release_parse((const char *)text, keyring_volume_id(s->kr), x->set, x->hold) != 0)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "order %s, inventory", number);
	return 0;
}

/* 0 when it may go on, 1 when it is done already. */
static int may_begin(struct server *s, const struct peer *p, const struct release *x, struct diag *d)
{
	const struct shred_context ctx = {.store_fd = s->store_fd, .charter = s->charter, .trail = s->trail,
					  .uid = p->uid, .pid = (uint32_t)p->pid};
	enum order_state state;
	unsigned missing;
	int err = order_judge(s->store_fd, s->charter, &x->o, time(NULL), &state, &missing, d);

	if (err || state == ORDER_EXECUTING)
		return err;
	return state == ORDER_DONE ? 1 : shred_may_begin(&ctx, &x->o, time(NULL), d);
}

/* From every repository. What is held anew under another hold stays, and says so. */
static int remove_everywhere(struct server *s, const struct release *x, size_t *ret_n, struct diag *d)
{
	for (size_t i = 0; i < s->conf.n_repositories; i++) {
		CLEANUP_REPO struct repo *r = NULL;
		int err = serve_repo(s, s->conf.repositories[i].name, &r, d);

		if (err)
			return err;
		err = hold_remove(r, x->set, x->hold);
		if (err == -ESTALE)
			return diag_fail(d, DIAG_ORDER_DRIFT, err, "set %s in %s is under another hold", x->set,
					 repo_url(r));
		if (err && err != -ENOENT)
			return diag_fail_errno(d, err, "set %s in %s", x->set, repo_url(r));
		*ret_n += err == 0;
	}
	return 0;
}

static int carry_out(struct server *s, const struct peer *p, const struct release *x, size_t *ret_n, struct diag *d)
{
	char object[64];
	int err = may_begin(s, p, x, d);

	if (err == 1)
		return 0;
	snprintf(object, sizeof(object), "order %s", x->o.number);
	if (err) {
		serve_trail(s, p, "hold.release", object, x->set, "refused", diag_name(d->id), true);
		return err;
	}
	if (serve_trail(s, p, "hold.release", object, x->set, "begun", NULL, true) != 0)
		return diag_fail(d, DIAG_TRAIL, -EIO, "%s", s->store);
	err = order_journal_add(s->store_fd, &x->o, keyring_sign_seed(s->kr), ORDER_STEP_BEGIN, d);
	if (err == 0)
		err = remove_everywhere(s, x, ret_n, d);
	if (err == 0)
		err = order_journal_add(s->store_fd, &x->o, keyring_sign_seed(s->kr), ORDER_STEP_DONE, d);
	return serve_trail_end(s, p, "hold.release", object, x->set, err, NULL, d);
}

int serve_op_backup_release(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			    struct diag *d)
{
	const char *number = json_string_value(json_object_get(req, "order"));
	struct release *x = calloc(1, sizeof(*x));
	size_t n = 0;
	(void)fd;

	if (!x || !number) {
		free(x);
		return diag_fail(d, DIAG_USAGE, -EINVAL, "no order given");
	}
	pthread_mutex_lock(&s->orders);
	int err = load(s, number, x, d);
	if (err == 0)
		err = carry_out(s, p, x, &n, d);
	pthread_mutex_unlock(&s->orders);
	if (err == 0)
		*ret = json_pack("{s:s, s:s, s:I}", "order", number, "set", x->set, "released", (json_int_t)n);
	free(x);
	return err ? err : *ret ? 0 : diag_fail_errno(d, -ENOMEM, "order %s", number);
}
