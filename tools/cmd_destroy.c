/*
 * coffer destroy: request, approve, reject, withdraw, list, show, execute, verify, certificate.
 *
 * Orders and statements are made and signed here, with the member's own identity; the serving process computes inventories,
 * examines and keeps what is signed, and executes. Who may not read the store reads orders through it.
 */
#include "tools/cmd_destroy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/note.h"
#include "shred/certificate.h"

static const char usage[] =
	"usage: coffer destroy request VOLUME PATH.. --identity FILE --description TEXT --reason TEXT [options]\n"
	"       coffer destroy approve|reject|withdraw VOLUME ORDER --identity FILE [--opinion TEXT]\n"
	"       coffer destroy list VOLUME [--json]\n"
	"       coffer destroy show VOLUME ORDER [--json]\n"
	"       coffer destroy execute VOLUME ORDER [--json]\n"
	"       coffer destroy verify VOLUME ORDER | FILE [--json]\n"
	"       coffer destroy certificate VOLUME ORDER [--html FILE] [--note]\n\n"
	"request      asks for the destruction of PATHs (relative to the volume's root) in the live volume and in every\n"
	"             backup: of everything ever kept under them, with the earlier versions and copies of each file.\n"
	"  --description TEXT    what is destroyed, in words that may stay readable for ever (no secret names)\n"
	"  --reason TEXT  --legal-basis TEXT  --unit TEXT\n"
	"  --backups destroyed|kept   kept: only the live data is destroyed (default destroyed)\n"
	"  --moved keep|destroy       what was moved out of the PATHs and lives elsewhere (default keep)\n"
	"  --linked keep|destroy      what has a further name outside the PATHs (default keep)\n"
	"  --expires DAYS             until when it may be executed, 1 to 365 (default 30)\n"
	"approve ..   a statement signed by a member; the charter says whose are needed. None may approve an own request.\n"
	"execute      examines quorum and inventory again, then destroys; goes on where an interruption left it.\n"
	"verify       of an ORDER: looks again whether anything opens. Of a FILE: a certificate, offline, with the store's header.\n"
	"certificate  prints it; --html writes the page, --note prints the signed note.\n"
	"Identity: --identity FILE [--identity-passphrase-file FILE]\n";

enum { OPT_DESCRIPTION = 1, OPT_REASON, OPT_LEGAL, OPT_UNIT, OPT_BACKUPS, OPT_MOVED, OPT_LINKED, OPT_EXPIRES,
       OPT_OPINION, OPT_HTML, OPT_NOTE, OPT_JSON };

static int choice(const char *arg, const char *yes, const char *no, bool *ret)
{
	if (strcmp(arg, yes) != 0 && strcmp(arg, no) != 0)
		return -EINVAL;
	*ret = !strcmp(arg, yes);
	return 0;
}

static int one_option(struct destroy_args *a, int c)
{
	switch (c) {
	case OPT_DESCRIPTION:
		a->description = optarg;
		return 0;
	case OPT_REASON:
		a->reason = optarg;
		return 0;
	case OPT_LEGAL:
		a->legal_basis = optarg;
		return 0;
	case OPT_UNIT:
		a->unit = optarg;
		return 0;
	case OPT_OPINION:
		a->opinion = optarg;
		return 0;
	case OPT_BACKUPS:
		return choice(optarg, "kept", "destroyed", &a->backups_kept);
	case OPT_MOVED:
		return choice(optarg, "destroy", "keep", &a->destroy_moved);
	case OPT_LINKED:
		return choice(optarg, "destroy", "keep", &a->destroy_linked);
	case OPT_EXPIRES:
		return cli_parse_number(optarg, 365, &a->days);
	case OPT_HTML:
		a->html = optarg;
		return 0;
	case OPT_NOTE:
		a->note = true;
		return 0;
	case OPT_JSON:
		a->json = true;
		return 0;
	default:
		return cli_unlock_option(&a->secrets, c, optarg) ? 0 : -EINVAL;
	}
}

static int arguments(struct destroy_args *a, int argc, char **argv)
{
	static const struct option options[] = {{"description", required_argument, NULL, OPT_DESCRIPTION},
						{"reason", required_argument, NULL, OPT_REASON},
						{"legal-basis", required_argument, NULL, OPT_LEGAL},
						{"unit", required_argument, NULL, OPT_UNIT},
						{"backups", required_argument, NULL, OPT_BACKUPS},
						{"moved", required_argument, NULL, OPT_MOVED},
						{"linked", required_argument, NULL, OPT_LINKED},
						{"expires", required_argument, NULL, OPT_EXPIRES},
						{"opinion", required_argument, NULL, OPT_OPINION},
						{"html", required_argument, NULL, OPT_HTML},
						{"note", no_argument, NULL, OPT_NOTE},
						{"json", no_argument, NULL, OPT_JSON},
						CLI_UNLOCK_OPTIONS, {0}};
	int c;

	a->days = 30;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (one_option(a, c) != 0)
			return -EINVAL;
		a->given |= c <= OPT_JSON ? 1u << c : 0;
	}
	if (optind >= argc)
		return -EINVAL;
	a->volume = argv[optind];
	a->rest = argv + optind + 1;
	a->n_rest = (size_t)(argc - optind - 1);
	return 0;
}

/* --- looking --- */

static json_t *one_of_list(const struct destroy_source *src, const char *number)
{
	CLEANUP_FREE struct charter *c = NULL;
	struct order o;
	enum order_state state;
	unsigned missing = 0;
	char roles[64];
	struct diag d = {0};

	if (destroy_load(src, number, &c, &o, &d) != 0 ||
	    order_judge(src->fd, c, &o, time(NULL), &state, &missing, &d) != 0) {
		fprintf(stderr, "coffer: order %s: %s\n", number, diag_cause(d.id));
		return NULL;
	}
	charter_roles_text(missing, roles);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "order", o.number, "state", order_state_name(state), "missing",
			 roles, "requester", o.requester, "description", o.description, "created",
			 (json_int_t)o.created);
}

static int collect(const struct destroy_source *src, json_t **ret, struct diag *d)
{
	CLEANUP_FREE char(*numbers)[ORDER_NUMBER_MAX + 1] = NULL;
	size_t n;
	int err;

	if (src->answer) {
		*ret = json_incref(json_object_get(src->answer, "orders"));
		return 0;
	}
	err = order_list(src->fd, &numbers, &n);
	if (err)
		return diag_fail_errno(d, err, "orders");
	*ret = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *one = one_of_list(src, numbers[i]);

		if (one)
			json_array_append_new(*ret, one);
	}
	return 0;
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static int list(struct destroy_args *a, const struct destroy_source *src, struct diag *d)
{
	json_t *all = NULL, *one;
	size_t i;
	int err = collect(src, &all, d);

	if (err)
		return err;
	json_array_foreach(all, i, one) {
		const char *missing = text_of(one, "missing");
		char when[32];

		cli_time(json_integer_value(json_object_get(one, "created")), when);
		if (!a->json)
			printf("%s  %s  %-14s %s%s%s\n", text_of(one, "order"), when, text_of(one, "state"),
			       text_of(one, "description"), *missing ? "  missing " : "", missing);
	}
	if (a->json)
		cli_json(json_incref(all));
	json_decref(all);
	return 0;
}

static void print_statements(const struct destroy_source *src, const struct charter *c, const struct order *o)
{
	CLEANUP_FREE struct order_statement *st = calloc(ORDER_STATEMENTS_MAX, sizeof(*st));
	static const char *const words[] = {"?", "approved", "rejected", "withdrawn"};
	struct diag ignored = {0};
	size_t n = 0;

	if (!st || order_statements(src->fd, c, o, time(NULL), st, &n, &ignored) != 0)
		return;
	for (size_t i = 0; i < n; i++) {
		char when[32];

		cli_time(st[i].created, when);
		printf("  %s by %s as %s, %s%s%s%s%s\n", words[st[i].decision & 3], st[i].signer,
		       charter_role_name(st[i].role), when, *st[i].opinion ? ": " : "", st[i].opinion,
		       st[i].counts ? "" : "  DOES NOT COUNT: ", st[i].counts ? "" : st[i].why_not);
	}
}

static void print_listing(const json_t *listing)
{
	size_t i;
	json_t *it;

	json_array_foreach(listing, i, it)
		printf("  id %-6lld %-44s %10lld  %s\n", json_integer_value(json_object_get(it, "id")),
		       json_string_value(json_object_get(it, "path")), json_integer_value(json_object_get(it, "bytes")),
		       json_string_value(json_object_get(it, "flags")));
}

static void print_order(const struct destroy_source *src, const struct charter *c, const struct order *o,
			enum order_state state, unsigned missing)
{
	char roles[64], size[32], when[32], until[32];

	charter_roles_text(missing, roles);
	cli_size(o->n_bytes, size);
	cli_time(o->created, when);
	cli_time(o->expires, until);
	printf("order        %s: %s%s%s\nrequested    %s by %s, may be executed until %s\ndescription  %s\nreason       %s\n",
	       o->number, order_state_name(state), *roles ? ", missing " : "", roles, when, o->requester, until,
	       o->description, o->reason);
	if (strcmp(o->action, "destroy") != 0) {
		printf("action       %s\n", o->action);
		print_statements(src, c, o);
		return;
	}
	if (*o->legal_basis)
		printf("legal basis  %s\n", o->legal_basis);
	if (*o->unit)
		printf("unit         %s\n", o->unit);
	printf("method       %s\nbackups      %s\ncovers       %llu files and folders, %s live\n", o->method,
	       o->backups_kept ? "kept" : "destroyed", (unsigned long long)o->n_ids, size);
	print_statements(src, c, o);
}

/* What the serving process sees now; an order that was executed has nothing left to describe. */
int destroy_describe(const struct located *l, const struct order *o, bool json, json_t **ret, struct diag *d)
{
	int err = control_call(l->run, json_pack("{s:s, s:s}", "op", "destroy.describe", "order", o->number), NULL,
			       NULL, ret, d);

	if (err || json)
		return err;
	print_listing(json_object_get(*ret, "listing"));
	if (json_is_true(json_object_get(*ret, "drift")))
		printf("  CHANGED since the request: execution will be refused\n");
	return 0;
}

static int show(struct destroy_args *a, const struct located *l, const struct destroy_source *src, struct diag *d)
{
	CLEANUP_FREE struct charter *c = NULL;
	enum order_state state;
	unsigned missing = 0;
	json_t *now = NULL;
	struct order o;
	int err = destroy_load(src, a->rest[0], &c, &o, d);

	if (err == 0)
		err = order_judge(src->fd, c, &o, time(NULL), &state, &missing, d);
	if (err)
		return err;
	if (!a->json)
		print_order(src, c, &o, state, missing);
	if (l->mounted && state < ORDER_EXECUTING && !strcmp(o.action, "destroy"))
		err = destroy_describe(l, &o, a->json, &now, d);
	if (err == 0 && a->json) {
		char roles[64];
		charter_roles_text(missing, roles);
		cli_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:O?}", "order", o.number, "action",
				   o.action, "state",
				   order_state_name(state), "missing", roles, "requester", o.requester, "description",
				   o.description, "reason", o.reason, "backups_kept", o.backups_kept, "ids",
				   (json_int_t)o.n_ids, "bytes", (json_int_t)o.n_bytes, "now", now));
	}
	json_decref(now);
	return err;
}

/* --- executing --- */

static void on_progress(void *arg, const json_t *p)
{
	(void)arg;
	cli_progress("destroy: %s %lld/%lld", json_string_value(json_object_get(p, "step")),
		     json_integer_value(json_object_get(p, "done")), json_integer_value(json_object_get(p, "total")));
}

static int execute(struct destroy_args *a, const struct located *l, struct diag *d)
{
	json_t *ok = NULL;
	int err = control_call(l->run, json_pack("{s:s, s:s}", "op", "destroy.execute", "order", a->rest[0]), on_progress,
			       NULL, &ok, d);

	cli_progress_done();
	if (err)
		return err;
	json_int_t pending = json_integer_value(json_object_get(ok, "escrows_pending"));
	if (a->json) {
		cli_json(ok);
		return 0;
	}
	printf("order %s: %s\n%lld ids destroyed, %lld records in sets no longer open, %lld bytes overwritten\n", a->rest[0],
	       json_string_value(json_object_get(ok, "state")), json_integer_value(json_object_get(ok, "ids")),
	       json_integer_value(json_object_get(ok, "set_records")),
	       json_integer_value(json_object_get(ok, "bytes_overwritten")));
	if (json_integer_value(json_object_get(ok, "sets_unread")))
		printf("%lld sets could not be looked into: repair them, then let destroy verify look again\n",
		       json_integer_value(json_object_get(ok, "sets_unread")));
	if (pending)
		printf("%lld escrow%s could not be rewritten: bring it back, then execute again\n", pending,
		       pending == 1 ? "" : "s");
	json_decref(ok);
	return 0;
}

static int verify_order(struct destroy_args *a, const struct located *l, struct diag *d)
{
	json_t *ok = NULL;
	int err = control_call(l->run, json_pack("{s:s, s:s}", "op", "destroy.verify", "order", a->rest[0]), on_progress,
			       NULL, &ok, d);

	cli_progress_done();
	if (err)
		return err;
	json_int_t open = json_integer_value(json_object_get(ok, "live_open")) +
			  json_integer_value(json_object_get(ok, "set_open")) +
			  json_integer_value(json_object_get(ok, "raw_open"));
	if (!a->json)
		printf("%lld ids: %lld opened in the live volume, %lld of %lld records in sets, %lld of %lld raw samples\n",
		       json_integer_value(json_object_get(ok, "ids")), json_integer_value(json_object_get(ok, "live_open")),
		       json_integer_value(json_object_get(ok, "set_open")),
		       json_integer_value(json_object_get(ok, "set_records")),
		       json_integer_value(json_object_get(ok, "raw_open")),
		       json_integer_value(json_object_get(ok, "raw_samples")));
	else
		cli_json(json_incref(ok));
	json_int_t sets = json_integer_value(json_object_get(ok, "sets"));
	json_int_t unread = json_integer_value(json_object_get(ok, "sets_unread"));
	json_decref(ok);
	/* What could not be looked at is not clean. */
	if (!open && unread)
		return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "order %s: %lld of %lld sets could not be looked at",
				 a->rest[0], unread, sets);
	return open ? diag_fail(d, DIAG_STORE_DAMAGED, -EBADMSG, "order %s: %lld things open although they must not",
				a->rest[0], open)
		    : 0;
}

/* --- certificates --- */

/* By the store's header; for who may not read it, by the charter that the serving process tells. */
static int check(const char *note, const struct located *l, const struct destroy_source *src, struct diag *d)
{
	CLEANUP_FREE struct charter *c = NULL;
	int err;

	if (l->header)
		return certificate_check(note, l->header->volume_id, l->header->sign_pk, l->header->charter_first, d);
	err = destroy_charter(src, &c, d);
	return err ? err : certificate_check(note, c->volume_id, c->sign_pk, src->first, d);
}

static int check_file(struct destroy_args *a, const struct located *l, const struct destroy_source *src, struct diag *d)
{
	CLEANUP_FREE uint8_t *text = NULL;
	size_t len;
	int err = durable_read(AT_FDCWD, a->rest[0], NOTE_BODY_MAX * 2, &text, &len);

	if (err)
		return diag_fail_errno(d, err, "%s", a->rest[0]);
	err = check((const char *)text, l, src, d);
	if (err == 0)
		printf("%s: a certificate of volume %s, signature good\n", a->rest[0],
		       l->header ? l->header->name : l->mountpoint);
	return err;
}

static int certificate(struct destroy_args *a, const struct located *l, const struct destroy_source *src, struct diag *d)
{
	CLEANUP_FREE uint8_t *note = NULL;
	CLEANUP_FREE char *out = NULL;
	char path[128];
	size_t len;

	if (strchr(a->rest[0], '/'))
		return diag_fail(d, DIAG_NOT_FOUND, -ENOENT, "order %s", a->rest[0]);
	snprintf(path, sizeof(path), "orders/%.60s/certificate", a->rest[0]);
	int err = durable_read(src->fd, path, NOTE_BODY_MAX * 2, &note, &len);
	if (err == -ENOENT)
		return diag_fail(d, DIAG_ORDER_STATE, err, "order %s has no certificate", a->rest[0]);
	if (err)
		return diag_fail_errno(d, err, "%s", path);
	err = check((const char *)note, l, src, d);
	if (err)
		return err;
	if (a->note) {
		fputs((const char *)note, stdout);
		return 0;
	}
	err = a->html ? certificate_html((const char *)note, &out, d) : certificate_text((const char *)note, &out, d);
	if (err)
		return err;
	if (!a->html) {
		fputs(out, stdout);
		return 0;
	}
	err = durable_replace(AT_FDCWD, a->html, out, strlen(out), 0644);
	return err ? diag_fail_errno(d, err, "%s", a->html) : 0;
}

enum { REQUEST, APPROVE, REJECT, WITHDRAW, LIST, SHOW, EXECUTE, VERIFY, CERTIFICATE };

static bool is_file(const char *arg)
{
	return strchr(arg, '/') || strchr(arg, '.');
}

/* The verbs that look: at one order or at all. */
static int look(int verb, struct destroy_args *a, const struct located *l, struct diag *d)
{
	struct destroy_source src;
	bool one = verb == SHOW || verb == CERTIFICATE;
	int err = destroy_source_open(l, one ? a->rest[0] : NULL, false, &src, d);

	if (err)
		return err;
	if (verb == LIST)
		err = list(a, &src, d);
	else if (verb == SHOW)
		err = show(a, l, &src, d);
	else if (verb == CERTIFICATE)
		err = certificate(a, l, &src, d);
	else
		err = check_file(a, l, &src, d);
	destroy_source_close(&src);
	return err;
}

static int act(int verb, struct destroy_args *a, const struct located *l, struct diag *d)
{
	switch (verb) {
	case REQUEST:
		return destroy_request(a, l, d);
	case APPROVE:
		return destroy_say(a, l, ORDER_APPROVE, d);
	case REJECT:
		return destroy_say(a, l, ORDER_REJECT, d);
	case WITHDRAW:
		return destroy_say(a, l, ORDER_WITHDRAW, d);
	case EXECUTE:
		return execute(a, l, d);
	case VERIFY:
		if (!is_file(a->rest[0]))
			return verify_order(a, l, d);
		/* fall through */
	default:
		return look(verb, a, l, d);
	}
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"request", "approve", "reject", "withdraw", "list", "show", "execute",
					    "verify", "certificate", NULL};
	/* What goes with each verb: whoever gives another option expects something that would not happen. */
	static const unsigned opinion = 1u << OPT_OPINION, page = 1u << OPT_HTML | 1u << OPT_NOTE, json = 1u << OPT_JSON;
	const unsigned takes[] = {[REQUEST] = ~(opinion | page), [APPROVE] = opinion | json, [REJECT] = opinion | json,
				  [WITHDRAW] = opinion | json, [LIST] = json, [SHOW] = json, [EXECUTE] = json,
				  [VERIFY] = json, [CERTIFICATE] = page | json};
	int verb = cli_verb(argc > 1 ? argv[1] : NULL, verbs);
	struct destroy_args a = {0};
	struct diag d = {0};
	struct located l;
	int err;

	if (verb < 0)
		return cli_usage(&cmd_destroy, "request, approve, reject, withdraw, list, show, execute, verify or certificate");
	if (arguments(&a, argc - 1, argv + 1) != 0)
		return cli_usage(&cmd_destroy, "unknown, incomplete or impossible option");
	if (a.given & ~takes[verb])
		return cli_usage(&cmd_destroy, "an option is there that does not go with %s", verbs[verb]);
	if (verb == REQUEST ? a.n_rest == 0 : a.n_rest != (verb != LIST))
		return cli_usage(&cmd_destroy, verb == REQUEST ? "request needs PATHs" : verb == LIST ? "list takes only VOLUME" : "VOLUME and one ORDER");
	if (locate_served(a.volume, &l, &d) != 0)
		return cli_fail(&d);
	err = act(verb, &a, &l, &d);
	cli_unlock_free(&a.secrets);
	locate_free(&l);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_destroy = {"destroy", "destroy data, by approved order", usage, run};
