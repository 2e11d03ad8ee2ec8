/*
 * coffer destroy request, approve, reject, withdraw: what members say, under their own signature.
 *
 * Signed here, with the member's identity; examined, recorded and stored by the serving process, which never sees
 * a member's key.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"
#include "backup/hold.h"
#include "tools/cmd_destroy.h"

#define NUMBER_TRIES 5

static int copy(char *out, size_t size, const char *text, const char *what, struct diag *d)
{
	if (!text)
		text = "";
	if (strlen(text) >= size || !note_value_valid(text, strlen(text)))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "%s: at most 1024 bytes, no control characters", what);
	strcpy(out, text);
	return 0;
}

static int fill(struct order *o, const struct destroy_args *a, const struct charter *c, const struct identity_card *who,
		struct diag *d)
{
	memcpy(o->volume_id, c->volume_id, 16);
	memcpy(o->charter, c->digest, 32);
	strcpy(o->action, "destroy");
	memcpy(o->requester_pk, who->sign_pk, 32);
	strcpy(o->requester, who->name);
	o->backups_kept = a->backups_kept;
	int err = copy(o->description, sizeof(o->description), a->description, "--description", d);
	if (err == 0)
		err = copy(o->reason, sizeof(o->reason), a->reason, "--reason", d);
	if (err == 0)
		err = copy(o->legal_basis, sizeof(o->legal_basis), a->legal_basis, "--legal-basis", d);
	if (err == 0)
		err = copy(o->unit, sizeof(o->unit), a->unit, "--unit", d);
	if (err == 0)
		err = copy(o->method, sizeof(o->method),
			   "cryptographic erase (key puncture), then one overwrite where the medium makes it meaningful",
			   "method", d);
	return err;
}

static int ask_inventory(const struct destroy_args *a, const struct located *l, json_t **ret, struct diag *d)
{
	json_t *paths = json_array();

	for (size_t i = 0; i < a->n_rest; i++)
		json_array_append_new(paths, control_name(a->rest[i]));
	return control_call(l->run, json_pack("{s:s, s:o, s:b, s:b}", "op", "destroy.inventory", "paths", paths,
					      "destroy_moved", a->destroy_moved, "destroy_linked", a->destroy_linked),
			    NULL, NULL, ret, d);
}

/* What the inventory says, into the form. */
static int take_inventory(struct order *o, const json_t *inv, struct diag *d)
{
	const char *text = json_string_value(json_object_get(inv, "inventory"));
	const char *sealed = json_string_value(json_object_get(inv, "sealed"));

	if (!text || !sealed || bytes_unhex(sealed, o->sealed, 32) != 0)
		return diag_fail_errno(d, -EUCLEAN, "the serving process's inventory");
	o->n_ids = (uint64_t)json_integer_value(json_object_get(inv, "n_destroy"));
	o->n_bytes = (uint64_t)json_integer_value(json_object_get(inv, "bytes"));
	kdf_sha256(o->inventory, text, strlen(text));
	return 0;
}

/* Under the next number. */
static int submit_once(struct order *o, const char *inventory, const struct destroy_args *a, const struct located *l,
			struct diag *d)
{
	CLEANUP_FREE char *body = NULL, *note = NULL;
	json_t *orders = NULL, *ok = NULL;
	int err = control_call(l->run, json_pack("{s:s}", "op", "orders.list"), NULL, NULL, &orders, d);

	if (err)
		return err;
	const char *next = json_string_value(json_object_get(orders, "next"));
	snprintf(o->number, sizeof(o->number), "%s", next ? next : "");
	o->created = json_integer_value(json_object_get(orders, "now"));
	o->expires = o->created + a->days * 86400;
	json_decref(orders);
	err = order_build(o, &body, d);
	if (err == 0)
		err = note_sign(body, a->secrets.identity, &note) ? diag_fail_errno(d, -ENOMEM, "signing") : 0;
	if (err == 0)
		err = control_call(l->run, json_pack("{s:s, s:s, s:s}", "op", "order.submit", "order", note, "inventory",
						     inventory), NULL, NULL, &ok, d);
	json_decref(ok);
	return err;
}

/* Somebody else may have taken the number between asking for it and submitting. */
int destroy_submit(struct order *o, const char *inventory, const struct destroy_args *a, const struct located *l,
		   struct diag *d)
{
	int err = -EEXIST;

	for (int i = 0; err == -EEXIST && i < NUMBER_TRIES; i++)
		err = submit_once(o, inventory, a, l, d);
	return err;
}

static void print_request(const struct order *o, const json_t *inv, bool json)
{
	size_t i;
	json_t *it;

	if (json) {
		cli_json(json_pack("{s:s, s:I, s:I, s:O, s:O}", "order", o->number, "ids", (json_int_t)o->n_ids, "bytes",
				   (json_int_t)o->n_bytes, "kept", json_object_get(inv, "n_kept"), "listing",
				   json_object_get(inv, "listing")));
		return;
	}
	printf("order %s requested: %llu ids to destroy, %lld kept by decision\n", o->number,
	       (unsigned long long)o->n_ids, json_integer_value(json_object_get(inv, "n_kept")));
	json_array_foreach(json_object_get(inv, "listing"), i, it)
		printf("  id %-6lld %-44s %s\n", json_integer_value(json_object_get(it, "id")),
		       json_string_value(json_object_get(it, "path")), json_string_value(json_object_get(it, "flags")));
}

int destroy_charter_now(const struct located *l, struct charter **ret, struct diag *d)
{
	struct destroy_source src;
	int err = destroy_source_open(l, NULL, true, &src, d);

	if (err)
		return err;
	err = destroy_charter(&src, ret, d);
	destroy_source_close(&src);
	return err;
}

int destroy_request(struct destroy_args *a, const struct located *l, struct diag *d)
{
	CLEANUP_FREE struct charter *c = NULL;
	struct order o = {0};
	json_t *inv = NULL;

	if (!a->description || !a->reason)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "request needs --description and --reason");
	int err = destroy_charter_now(l, &c, d);
	if (err == 0)
		err = cli_identity_get(&a->secrets, d);
	if (err)
		return err;
	const struct identity_card *who = identity_card(a->secrets.identity);
	const struct charter_member *m = charter_find_key(c, who->sign_pk);
	if (!m)
		return diag_fail(d, DIAG_NOT_MEMBER, -EPERM, "%s", who->name);
	if (!charter_quorum(c, "destroy"))
		return diag_fail(d, DIAG_QUORUM, -EPERM, "the charter names none for destroy");
	err = fill(&o, a, c, &m->card, d);
	if (err == 0)
		err = ask_inventory(a, l, &inv, d);
	if (err == 0)
		err = take_inventory(&o, inv, d);
	if (err == 0)
		err = destroy_submit(&o, json_string_value(json_object_get(inv, "inventory")), a, l, d);
	if (err == 0)
		print_request(&o, inv, a->json);
	json_decref(inv);
	return err;
}

/* Whoever approves sees what it is, verified and computed now, by the tool that signs. */
static int show_subject(const struct located *l, const struct destroy_source *src, const struct charter *c,
			 const struct order *o, struct diag *d)
{
	json_t *now = NULL;
	char fingerprint[65];

	bytes_hex(fingerprint, src->first, 32);
	printf("order %s: %s\nrequested by %s; charter %llu of %s\n", o->number, o->description, o->requester,
	       (unsigned long long)c->number, fingerprint);
	if (!strcmp(o->action, HOLD_ACTION))
		return hold_describe(l, src, o, d);
	int err = destroy_describe(l, o, false, &now, d);
	json_decref(now);
	return err;
}

static int submit_statement(const struct located *l, const struct order *o, const char *note, struct diag *d)
{
	json_t *ok = NULL;
	int err = control_call(l->run, json_pack("{s:s, s:s, s:s}", "op", "statement.submit", "order", o->number, "note",
						 note), NULL, NULL, &ok, d);

	json_decref(ok);
	return err;
}

static int say(struct destroy_args *a, const struct located *l, const struct destroy_source *src,
	       enum order_decision decision, struct diag *d)
{
	static const char *const words[] = {"", "approved", "rejected", "withdrawn"};
	CLEANUP_FREE struct charter *c = NULL;
	CLEANUP_FREE char *note = NULL;
	struct diag unjudged = {0};
	enum order_state state;
	unsigned missing = 0;
	struct order o;

	int err = destroy_load(src, a->rest[0], &c, &o, d);
	if (err == 0)
		err = cli_identity_get(&a->secrets, d);
	if (err)
		return err;
	/* What cannot be shown is not approved. */
	if (decision == ORDER_APPROVE)
		err = show_subject(l, src, c, &o, d);
	if (err)
		return err;
	/* Only chooses the role. What may not be said is refused by the serving process, which records the attempt. */
	order_judge(src->fd, c, &o, time(NULL), &state, &missing, &unjudged);
	err = order_statement_make(c, &o, a->secrets.identity, decision, a->opinion, missing, time(NULL), &note, d);
	if (err == 0)
		err = submit_statement(l, &o, note, d);
	if (err == 0)
		printf("order %s: %s by %s\n", o.number, words[decision], identity_card(a->secrets.identity)->name);
	return err;
}

int destroy_say(struct destroy_args *a, const struct located *l, enum order_decision decision, struct diag *d)
{
	struct destroy_source src;
	int err = destroy_source_open(l, a->rest[0], true, &src, d);

	if (err)
		return err;
	err = say(a, l, &src, decision, d);
	destroy_source_close(&src);
	return err;
}
