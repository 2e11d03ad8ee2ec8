/*
 * coffer backup hold, holds, release.
 *
 * A hold is placed by the serving process, which signs it. A release is an order: requested here with a member's own
 * identity, approved with `coffer destroy approve` like every order, executed by naming it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/hold.h"
#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"
#include "tools/cmd_backup_life.h"

#define EXPIRY_DAYS 30

static int ask(const char *volume, json_t *req, json_t **ret, struct diag *d)
{
	struct located l;
	int err = locate_served(volume, &l, d);

	if (err) {
		json_decref(req);
		return err;
	}
	err = control_call(l.run, req, NULL, NULL, ret, d);
	locate_free(&l);
	return err;
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

int life_hold(struct life_args *a, struct diag *d)
{
	json_t *req = json_pack("{s:s, s:s, s:s}", "op", "backup.hold", "set", a->operands[1], "reason", a->reason);
	json_t *ok = NULL;

	if (a->repository)
		json_object_set_new(req, "repository", json_string(a->repository));
	int err = ask(a->operands[0], req, &ok, d);
	if (err)
		return err;
	if (a->json)
		cli_json(json_incref(ok));
	else
		printf("set %s is held\n", text_of(ok, "set"));
	json_decref(ok);
	return 0;
}

int life_holds(struct life_args *a, struct diag *d)
{
	json_t *ok = NULL, *list, *h;
	char when[32];
	size_t i;
	int err = ask(a->operands[0], json_pack("{s:s}", "op", "backup.holds"), &ok, d);

	if (err)
		return err;
	list = json_object_get(ok, "holds");
	json_array_foreach(list, i, h) {
		cli_time(json_integer_value(json_object_get(h, "time")), when);
		if (a->json)
			continue;
		if (json_is_true(json_object_get(h, "verified")))
			printf("%s  %s  %s  by %s: %s\n", text_of(h, "set"), text_of(h, "repository"), when,
			       text_of(h, "by"), text_of(h, "reason"));
		else
			printf("%s  %s  by an object that does not verify\n", text_of(h, "set"),
			       text_of(h, "repository"));
	}
	if (a->json)
		cli_json(json_incref(list));
	json_decref(ok);
	return 0;
}

/* --- requesting a release --- */

/* The one hold that is meant: of a set by id, the beginning of one. */
static int find_hold(const struct located *l, const char *set, json_t **ret_all, const json_t **ret, struct diag *d)
{
	const json_t *h, *found = NULL;
	json_t *ok = NULL;
	size_t i;
	int err = control_call(l->run, json_pack("{s:s}", "op", "backup.holds"), NULL, NULL, &ok, d);

	if (err)
		return err;
	json_array_foreach(json_object_get(ok, "holds"), i, h) {
		if (strncmp(text_of(h, "set"), set, strlen(set)) != 0)
			continue;
		/* Copies of one set in several repositories are under one hold. */
		if (found && strcmp(text_of(h, "hold"), text_of(found, "hold")) != 0) {
			json_decref(ok);
			return diag_fail(d, DIAG_NOT_FOUND, -EINVAL, "%s (several holds begin so)", set);
		}
		found = h;
	}
	if (!found) {
		json_decref(ok);
		return diag_fail(d, DIAG_NOT_FOUND, -ENOENT, "a hold on set %s", set);
	}
	*ret_all = ok;
	*ret = found;
	return 0;
}

static int fill(struct order *o, const struct life_args *a, const struct charter *c, const struct identity_card *who,
		const json_t *h, char **ret_inventory, struct diag *d)
{
	uint8_t hold[32];

	if (strlen(a->reason) > ORDER_TEXT_MAX || !note_value_valid(a->reason, strlen(a->reason)))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "--reason: at most 1024 bytes, no control characters");
	memcpy(o->volume_id, c->volume_id, 16);
	memcpy(o->charter, c->digest, 32);
	strcpy(o->action, HOLD_ACTION);
	memcpy(o->requester_pk, who->sign_pk, 32);
	strcpy(o->requester, who->name);
	o->backups_kept = true;
	snprintf(o->description, sizeof(o->description), "release the hold on set %s", text_of(h, "set"));
	strcpy(o->reason, a->reason);
	strcpy(o->method, "removal of the hold");
	if (bytes_unhex(text_of(h, "hold"), hold, 32) != 0 ||
	    hold_release_build(o->volume_id, text_of(h, "set"), hold, ret_inventory) != 0)
		return diag_fail_errno(d, -EUCLEAN, "the serving process's list of holds");
	kdf_sha256(o->inventory, *ret_inventory, strlen(*ret_inventory));
	return 0;
}

static int request(struct life_args *a, const struct located *l, struct diag *d)
{
	struct destroy_args with = {.days = EXPIRY_DAYS, .secrets = a->secrets};
	CLEANUP_FREE struct charter *c = NULL;
	CLEANUP_FREE char *inventory = NULL;
	const struct charter_member *m = NULL;
	struct order o = {0};
	json_t *all = NULL;
	const json_t *h = NULL;

	int err = find_hold(l, a->operands[1], &all, &h, d);
	if (err == 0)
		err = destroy_charter_now(l, &c, d);
	if (err == 0)
		err = cli_identity_get(&with.secrets, d);
	if (err == 0) {
		m = charter_find_key(c, identity_card(with.secrets.identity)->sign_pk);
		err = m ? 0 : diag_fail(d, DIAG_NOT_MEMBER, -EPERM, "%s", identity_card(with.secrets.identity)->name);
	}
	if (err == 0 && !charter_quorum(c, HOLD_ACTION))
		err = diag_fail(d, DIAG_QUORUM, -EPERM, "the charter names none for %s", HOLD_ACTION);
	if (err == 0)
		err = fill(&o, a, c, &m->card, h, &inventory, d);
	if (err == 0)
		err = destroy_submit(&o, inventory, &with, l, d);
	if (err == 0 && a->json)
		cli_json(json_pack("{s:s, s:s}", "order", o.number, "set", text_of(h, "set")));
	else if (err == 0)
		printf("order %s requested: release the hold on set %s\nApprovals: coffer destroy approve VOLUME %s\n",
		       o.number, text_of(h, "set"), o.number);
	json_decref(all);
	a->secrets = with.secrets;
	return err;
}

/* --- executing it --- */

static int execute(const struct life_args *a, const struct located *l, struct diag *d)
{
	json_t *ok = NULL;
	int err = control_call(l->run, json_pack("{s:s, s:s}", "op", "backup.release", "order", a->operands[1]), NULL,
			       NULL, &ok, d);

	if (err)
		return err;
	if (a->json)
		cli_json(json_incref(ok));
	else
		printf("order %s done: set %s is held no more\n", text_of(ok, "order"), text_of(ok, "set"));
	json_decref(ok);
	return 0;
}

/* "D-20261128-0001"; ids of sets begin with a digit. */
static bool is_order(const char *s)
{
	return *s >= 'A' && *s <= 'Z' && s[1] == '-';
}

int life_release(struct life_args *a, struct diag *d)
{
	bool order = is_order(a->operands[1]);
	struct located l;

	if (!order && !a->reason)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "release of a set needs --reason and --identity");
	int err = locate_served(a->operands[0], &l, d);
	if (err)
		return err;
	err = order ? execute(a, &l, d) : request(a, &l, d);
	locate_free(&l);
	return err;
}

/* --- what an approver sees --- */

int hold_describe(const struct located *l, const struct destroy_source *src, const struct order *o, struct diag *d)
{
	CLEANUP_FREE uint8_t *text = NULL;
	char set[SET_ID_MAX + 1], hex[65], when[32];
	json_t *all = NULL;
	const json_t *h = NULL;
	struct order again;
	uint8_t hold[32];
	size_t len;

	int err = order_load(src->fd, o->number, &again, &text, &len, d);
	if (err)
		return err;
	if (strlen((const char *)text) != len ||
	    hold_release_parse((const char *)text, o->volume_id, set, hold) != 0)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "order %s, inventory", o->number);
	err = find_hold(l, set, &all, &h, d);
	if (err)
		return err;
	bytes_hex(hex, hold, 32);
	cli_time(json_integer_value(json_object_get(h, "time")), when);
	printf("releases the hold on set %s, placed by %s on %s: %s\n", set, text_of(h, "by"), when, text_of(h, "reason"));
	if (strcmp(text_of(h, "hold"), hex) != 0)
		err = diag_fail(d, DIAG_ORDER_DRIFT, -ESTALE, "set %s is under another hold than the order names", set);
	json_decref(all);
	return err;
}
