/* coffer destroy request, approve, reject, withdraw: what members say, under their own signature. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"
#include "tools/cmd_destroy.h"

/* In the trail before it stands anywhere else. */
static int record(const struct located *l, const char *operation, const char *number, const char *member,
		  const char *result, struct diag *d)
{
	char object[64];
	json_t *ok = NULL;

	snprintf(object, sizeof(object), "order %s", number);
	int err = control_call(l->run, json_pack("{s:s, s:s, s:s, s:s, s:s}", "op", "trail.append", "operation", operation,
						 "object", object, "result", result, "purpose", member), NULL, NULL, &ok, d);
	json_decref(ok);
	return err;
}

static int copy(char *out, size_t size, const char *text, const char *what, struct diag *d)
{
	if (!text)
		text = "";
	if (strlen(text) >= size || !note_value_valid(text, strlen(text)))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "%s: at most 1024 bytes, no control characters", what);
	strcpy(out, text);
	return 0;
}

static int fill(struct order *o, const struct destroy_args *a, const struct located *l, const struct charter *c,
		const struct identity_card *who, struct diag *d)
{
	int64_t now = time(NULL);

	memcpy(o->volume_id, l->header->volume_id, 16);
	memcpy(o->charter, c->digest, 32);
	strcpy(o->action, "destroy");
	o->created = now;
	o->expires = now + a->days * 86400;
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
	if (err == 0)
		err = order_next_number(l->store_fd, now, o->number)
			      ? diag_fail_errno(d, -EIO, "%s, orders", l->store) : 0;
	return err;
}

static int ask_inventory(const struct destroy_args *a, const struct located *l, json_t **ret, struct diag *d)
{
	json_t *paths = json_array();

	for (size_t i = 0; i < a->n_rest; i++)
		json_array_append_new(paths, json_string(a->rest[i]));
	return control_call(l->run, json_pack("{s:s, s:o, s:b, s:b}", "op", "destroy.inventory", "paths", paths,
					      "destroy_moved", a->destroy_moved, "destroy_linked", a->destroy_linked),
			    NULL, NULL, ret, d);
}

static int store_order(struct order *o, const json_t *inv, const struct identity *id, const struct located *l,
		       struct diag *d)
{
	const char *text = json_string_value(json_object_get(inv, "inventory"));
	const char *sealed = json_string_value(json_object_get(inv, "sealed"));
	CLEANUP_FREE char *body = NULL, *note = NULL;

	if (!text || !sealed || bytes_unhex(sealed, o->sealed, 32) != 0)
		return diag_fail_errno(d, -EUCLEAN, "the serving process's inventory");
	o->n_ids = (uint64_t)json_integer_value(json_object_get(inv, "n_destroy"));
	o->n_bytes = (uint64_t)json_integer_value(json_object_get(inv, "bytes"));
	kdf_sha256(o->inventory, text, strlen(text));
	int err = order_build(o, &body, d);
	if (err == 0)
		err = note_sign(body, id, &note) ? diag_fail_errno(d, -ENOMEM, "signing") : 0;
	if (err == 0)
		err = record(l, "destroy.request", o->number, o->requester, "ok", d);
	return err ? err : order_store(l->store_fd, o, note, text, strlen(text), d);
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

/* No trail, no privileged action: the trail is the serving process's. */
static int must_be_mounted(const struct located *l, struct diag *d)
{
	return l->mounted ? 0 : diag_fail(d, DIAG_NOT_MOUNTED, -ENOTCONN, "%s", l->store);
}

int destroy_request(struct destroy_args *a, const struct located *l, struct diag *d)
{
	CLEANUP_FREE struct charter *c = NULL;
	struct order o = {0};
	json_t *inv = NULL;

	if (!a->description || !a->reason)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "request needs --description and --reason");
	int err = must_be_mounted(l, d);
	if (err == 0)
		err = charter_load(l->store_fd, NULL, l->header->charter_first, &c, d);
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
	err = fill(&o, a, l, c, &m->card, d);
	if (err == 0)
		err = ask_inventory(a, l, &inv, d);
	if (err == 0)
		err = store_order(&o, inv, a->secrets.identity, l, d);
	if (err == 0)
		print_request(&o, inv, a->json);
	json_decref(inv);
	return err;
}

int destroy_say(struct destroy_args *a, const struct located *l, enum order_decision decision, struct diag *d)
{
	static const char *const operations[] = {"", "destroy.approve", "destroy.reject", "destroy.withdraw"};
	static const char *const words[] = {"", "approved", "rejected", "withdrawn"};
	CLEANUP_FREE struct charter *c = NULL;
	struct diag shown = {0};
	json_t *now = NULL;
	struct order o;

	int err = must_be_mounted(l, d);
	if (err == 0)
		err = destroy_load(l, a->rest[0], &c, &o, d);
	if (err == 0)
		err = cli_identity_get(&a->secrets, d);
	if (err)
		return err;
	const char *name = identity_card(a->secrets.identity)->name;
	/* Whoever approves sees what it is, computed now, by the tool that signs. */
	if (decision == ORDER_APPROVE) {
		printf("order %s: %s\n", o.number, o.description);
		destroy_describe(l, &o, false, &now, &shown);
		json_decref(now);
	}
	err = order_say(l->store_fd, c, &o, a->secrets.identity, decision, a->opinion ? a->opinion : "", time(NULL), d);
	/* Refusals are recorded as well. A rejection that is recorded binds the executor even when its file is taken away. */
	struct diag trail = {0};
	int recorded = record(l, operations[decision], o.number, name, err ? "refused" : "ok", &trail);
	if (err == 0 && recorded) {
		*d = trail;
		return recorded;
	}
	if (err == 0)
		printf("order %s: %s by %s\n", o.number, words[decision], name);
	return err;
}
