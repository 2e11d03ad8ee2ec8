/* The request itself: its text, and the names of states. Folders are in order_store.c. */
#include "core/order.h"
#include "core/order_internal.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/note.h"
#include "core/note_internal.h"

#define ORDER_TYPE "order"
#define ORDER_VERSION 1

const char *order_state_name(enum order_state s)
{
	static const char *const names[] = {
	    [ORDER_REQUESTED] = "requested",
	    [ORDER_APPROVED] = "approved",
	    [ORDER_REJECTED] = "rejected",
	    [ORDER_WITHDRAWN] = "withdrawn",
	    [ORDER_EXPIRED] = "expired",
	    [ORDER_EXECUTING] = "executing",
	    [ORDER_ESCROW_PENDING] = "executed, escrow pending",
	    [ORDER_DONE] = "done",
	};

	return (size_t)s < sizeof(names) / sizeof(names[0]) ? names[s] : "unknown";
}

/* "D-20261128-0001": a letter, a date, a count. */
bool order_number_valid(const char *s)
{
	static const char form[] = "A-00000000-0000";

	if (strnlen(s, sizeof(form)) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; form[i]; i++) {
		char lo = form[i] == 'A' ? 'A' : form[i] == '0' ? '0' : '-';
		char hi = form[i] == 'A' ? 'Z' : form[i] == '0' ? '9' : '-';

		if (s[i] < lo || s[i] > hi)
			return false;
	}
	return true;
}

static int body(const struct order *o, char **ret_body)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	if (!order_number_valid(o->number) || !identity_name_valid(o->requester) ||
	    !note_word_ok(o->action, strnlen(o->action, sizeof(o->action)),
			  sizeof(o->action) - 1) ||
	    o->expires <= o->created)
		return -EINVAL;
	note_begin(&w, ORDER_TYPE, ORDER_VERSION);
	note_put_hex(&w, "volume", o->volume_id, sizeof(o->volume_id));
	note_put_hex(&w, "charter", o->charter, sizeof(o->charter));
	note_put(&w, "order", o->number);
	note_put(&w, "action", o->action);
	note_put_time(&w, "created", o->created);
	note_put_time(&w, "expires", o->expires);
	note_put(&w, "requester", o->requester);
	note_put_hex(&w, "requester-key", o->requester_pk, sizeof(o->requester_pk));
	note_put(&w, "description", o->description);
	note_put(&w, "reason", o->reason);
	note_put(&w, "legal-basis", o->legal_basis);
	note_put(&w, "method", o->method);
	note_put(&w, "unit", o->unit);
	note_put(&w, "backups", o->backups_kept ? "kept" : "destroyed");
	note_put_u64(&w, "ids", o->n_ids);
	note_put_u64(&w, "bytes", o->n_bytes);
	note_put_hex(&w, "inventory", o->inventory, sizeof(o->inventory));
	note_put_hex(&w, "sealed", o->sealed, sizeof(o->sealed));
	return note_end(&w, ret_body);
}

int order_build(struct order *o, char **ret_body, struct diag *d)
{
	char *text;
	int r = body(o, &text);

	if (r == -ENOMEM)
		return diag_fail_errno(d, r, "order");
	if (r < 0)
		return diag_fail(d, DIAG_NOTE_MALFORMED, r, "order %.*s", ORDER_NUMBER_MAX,
				 o->number);
	note_body_digest(text, o->digest);
	*ret_body = text;
	return 0;
}

/* --- parsing --- */

static int parse_form(const struct note *n, struct order *o)
{
	const char *backups = note_get(n, "backups");

	if (!backups || note_get_text(n, "description", o->description, sizeof(o->description)) < 0 ||
	    note_get_text(n, "reason", o->reason, sizeof(o->reason)) < 0 ||
	    note_get_text(n, "legal-basis", o->legal_basis, sizeof(o->legal_basis)) < 0 ||
	    note_get_text(n, "method", o->method, sizeof(o->method)) < 0 ||
	    note_get_text(n, "unit", o->unit, sizeof(o->unit)) < 0)
		return -EUCLEAN;
	/* Any other word becomes "destroyed" when written anew, and so does not match. */
	o->backups_kept = strcmp(backups, "kept") == 0;
	return 0;
}

static int parse_fields(const struct note *n, struct order *o)
{
	if (note_get_hex(n, "volume", o->volume_id, sizeof(o->volume_id)) < 0 ||
	    note_get_hex(n, "charter", o->charter, sizeof(o->charter)) < 0 ||
	    note_get_text(n, "order", o->number, sizeof(o->number)) < 0 ||
	    note_get_text(n, "action", o->action, sizeof(o->action)) < 0 ||
	    note_get_time(n, "created", &o->created) < 0 ||
	    note_get_time(n, "expires", &o->expires) < 0 ||
	    note_get_text(n, "requester", o->requester, sizeof(o->requester)) < 0 ||
	    note_get_hex(n, "requester-key", o->requester_pk, sizeof(o->requester_pk)) < 0 ||
	    note_get_u64(n, "ids", &o->n_ids) < 0 || note_get_u64(n, "bytes", &o->n_bytes) < 0 ||
	    note_get_hex(n, "inventory", o->inventory, sizeof(o->inventory)) < 0 ||
	    note_get_hex(n, "sealed", o->sealed, sizeof(o->sealed)) < 0)
		return -EUCLEAN;
	return parse_form(n, o);
}

static int parse(const char *text, struct order *o)
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_FREE char *again = NULL;
	char name[NOTE_KEY_NAME_MAX + 1];
	int r;

	r = note_parse(text, &n);
	if (r < 0)
		return r;
	if (strcmp(n.type, ORDER_TYPE) != 0)
		return -EUCLEAN;
	if (n.version != ORDER_VERSION)
		return -EPROTONOSUPPORT;
	r = parse_fields(&n, o);
	if (r == 0)
		r = body(o, &again);
	if (r < 0)
		return r;
	if (!note_body_is(text, again))
		return -EUCLEAN;
	note_member_key_name(o->requester_pk, name);
	r = note_verify(text, name, o->requester_pk);
	return r < 0 ? r : note_digest(text, o->digest);
}

int order_parse(const char *text, struct order *ret, struct diag *d)
{
	struct order o = {0};
	int r = parse(text, &o);

	switch (r) {
	case 0:
		*ret = o;
		return 0;
	case -ENOMEM:
		return diag_fail_errno(d, r, "order");
	case -EPROTONOSUPPORT:
		return diag_fail(d, DIAG_VERSION, r, "order");
	case -EBADMSG:
		return diag_fail(d, DIAG_NOTE_UNSIGNED, r, "order %s: the requester's signature",
				 o.number);
	default:
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "order");
	}
}
