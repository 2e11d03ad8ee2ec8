/* coffer key, member, escrow: looking at custody, and recovering it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/charter.h"
#include "core/cleanup.h"
#include "core/conf.h"
#include "core/escrow.h"
#include "core/keyring.h"
#include "core/trail.h"
#include "shred/execute.h"
#include "tools/cli.h"
#include "tools/control.h"
#include "tools/locate.h"

static const char key_usage[] =
	"usage: coffer key list VOLUME [--json]\n"
	"       coffer key recover STORE --anchor DIR --escrow DIR --identity FILE [--repo DIR ..]\n\n"
	"list     the slots that unlock the volume.\n"
	"recover  rebuilds the anchor and the key state (and the header, for an empty STORE) from an escrow, with a new\n"
	"         passphrase. Orders announced in the repositories are applied again before anything can be mounted.\n"
	"  --identity FILE            of a recovery recipient   --identity-passphrase-file FILE\n"
	"  --passphrase-file FILE     the new passphrase; otherwise asked for, twice\n"
	"  --kdf-floor                lowest allowed cost for it\n";

static const char member_usage[] = "usage: coffer member list VOLUME [--json]\n\n"
				   "The charter in force: members, roles, quorums, fingerprint.\n";

static const char escrow_usage[] = "usage: coffer escrow list VOLUME [--json]\n"
				   "       coffer escrow sync VOLUME\n\n"
				   "list  where the escrows lie, and whether each holds the current keys.\n"
				   "sync  rewrites those that do not.\n";

static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--json"))
			return true;
	return false;
}

/* The volume named after the verb. */
static int located_arg(int argc, char **argv, struct located *l, struct diag *d)
{
	if (argc < 3)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "VOLUME is needed");
	return locate(argv[2], l, d);
}

/* --- key --- */

static int key_list(int argc, char **argv)
{
	static const char *const kinds[] = {"?", "passphrase", "identity", "key file"};
	struct diag d = {0};
	struct located l;
	json_t *a;

	if (located_arg(argc, argv, &l, &d) != 0)
		return cli_fail(&d);
	a = json_array();
	for (size_t i = 0; i < l.header->n_slots; i++) {
		const struct header_slot *s = &l.header->slots[i];
		const char *kind = s->kind <= HEADER_SLOT_KEYFILE ? kinds[s->kind] : "?";
		if (wants_json(argc, argv))
			json_array_append_new(a, json_pack("{s:s, s:s}", "label", s->label, "kind", kind));
		else
			printf("%-12s %s\n", kind, s->label);
	}
	if (wants_json(argc, argv))
		cli_json(json_incref(a));
	json_decref(a);
	locate_free(&l);
	return DIAG_EXIT_DONE;
}

struct recovering {
	const char *anchor, *escrow, *store;
	const char *repos[CONF_REPOSITORIES_MAX];
	size_t n_repos;
	struct cli_unlock secrets;
	bool cheap;
};

static int recover_arguments(struct recovering *r, int argc, char **argv, struct diag *d)
{
	static const struct option options[] = {{"anchor", required_argument, NULL, 'a'},
						{"escrow", required_argument, NULL, 'e'},
						{"repo", required_argument, NULL, 'r'},
						{"kdf-floor", no_argument, NULL, 'k'},
						CLI_UNLOCK_OPTIONS, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'a')
			r->anchor = optarg;
		else if (c == 'e')
			r->escrow = optarg;
		else if (c == 'k')
			r->cheap = true;
		else if (c == 'r' && r->n_repos < CONF_REPOSITORIES_MAX)
			r->repos[r->n_repos++] = optarg;
		else if (!cli_unlock_option(&r->secrets, c, optarg))
			return diag_fail(d, DIAG_USAGE, -EINVAL, "unknown or incomplete option");
	}
	if (argc - optind != 1 || !r->anchor || !r->escrow || !r->secrets.identity_file)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "recover needs STORE, --anchor, --escrow and --identity");
	r->store = argv[optind];
	return 0;
}

/* On the trail, which begins anew when it was lost with the store: without one nothing could be exported. */
static int record_recovery(struct recovering *r, struct keyring *kr, struct diag *d)
{
	struct trail_event ev = {.uid = (uint32_t)getuid(), .pid = (uint32_t)getpid(), .operation = "key.recover",
				 .result = "ok"};
	CLEANUP_FD int store_fd = open(r->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct keyring_fresh fresh;
	struct trail_head head;
	struct trail *t;

	if (store_fd < 0)
		return diag_fail_errno(d, -errno, "%s", r->store);
	bool lost = faccessat(store_fd, "trail", F_OK, 0) != 0;
	int err = lost ? trail_create(store_fd, kr, d) : 0;
	if (err == 0)
		err = trail_open(store_fd, kr, NULL, &t, d);
	if (err)
		return err;
	snprintf(ev.member, sizeof(ev.member), "%s", identity_card(r->secrets.identity)->name);
	snprintf(ev.object, sizeof(ev.object), "volume %s", keyring_header(kr)->name);
	snprintf(ev.detail, sizeof(ev.detail), "%s", lost ? "the trail before this was lost" : "");
	err = trail_append(t, &ev, true);
	if (err == 0)
		err = trail_checkpoint(t, &head, NULL);
	trail_close(t);
	if (err)
		return diag_fail(d, DIAG_TRAIL, err, "%s", r->store);
	keyring_fresh_get(kr, &fresh);
	fresh.trail_size = head.size;
	memcpy(fresh.trail_root, head.root, sizeof(fresh.trail_root));
	err = keyring_fresh_put(kr, &fresh);
	return err ? diag_fail_errno(d, err, "%s", r->anchor) : 0;
}

/* What was destroyed stays destroyed, also when the escrow is older than the order. */
static int reapply(struct recovering *r, struct secret *pass, size_t *ret_n, struct diag *d)
{
	struct header_unlock with = {.passphrase = pass};
	struct keyring *kr;
	int err = keyring_open(r->store, &with, 0, &kr, d);

	if (err)
		return err;
	for (size_t i = 0; err == 0 && i < r->n_repos; i++) {
		struct repo *repo;
		size_t n = 0;

		err = repo_open(r->repos[i], keyring_volume_id(kr), keyring_header(kr)->sign_pk, &repo, d);
		if (err == 0) {
			err = shred_reapply(kr, repo, &n, d);
			*ret_n += n;
			repo_close(repo);
		}
	}
	if (err == 0)
		err = record_recovery(r, kr, d);
	keyring_close(kr);
	return err;
}

static int recover(struct recovering *r, int argc, char **argv, struct diag *d)
{
	struct secret **pass = &r->secrets.passphrase;
	char store[PATH_MAX], anchor[PATH_MAX];
	size_t n = 0;
	int err = recover_arguments(r, argc, argv, d);

	if (err == 0)
		err = cli_identity_get(&r->secrets, d);
	if (err)
		return err;
	err = r->secrets.passphrase_file ? secret_from_file(r->secrets.passphrase_file, pass)
					 : secret_prompt("New passphrase of the volume: ", 1, pass);
	if (err)
		return diag_fail(d, DIAG_SECRET_FILE, err, "new passphrase");
	mkdir(r->store, 0700);
	mkdir(r->anchor, 0700);
	if (!realpath(r->store, store) || !realpath(r->anchor, anchor))
		return diag_fail_errno(d, -errno, "%s or %s", r->store, r->anchor);
	r->store = store;
	err = keyring_recover(store, anchor, r->escrow, r->secrets.identity, *pass, r->cheap, d);
	if (err == 0)
		err = reapply(r, *pass, &n, d);
	if (err == 0)
		printf("recovered %s: anchor %s, %zu announced order%s applied again\n", store, anchor, n, n == 1 ? "" : "s");
	return err;
}

static int run_key(int argc, char **argv)
{
	static const char *const verbs[] = {"list", "recover", NULL};
	struct recovering r = {0};
	struct diag d = {0};

	switch (cli_verb(argc > 1 ? argv[1] : NULL, verbs)) {
	case 0:
		return key_list(argc, argv);
	case 1: {
		int err = recover(&r, argc - 1, argv + 1, &d);
		cli_unlock_free(&r.secrets);
		return err ? cli_fail(&d) : DIAG_EXIT_DONE;
	}
	default:
		return cli_usage(&cmd_key, "list or recover");
	}
}

/* --- member --- */

static void print_charter(const struct charter *c)
{
	char digest[65], roles[64];

	bytes_hex(digest, c->digest, 32);
	printf("charter %llu, %s\n", (unsigned long long)c->number, digest);
	for (size_t i = 0; i < c->n_members; i++) {
		charter_roles_text(c->members[i].roles, roles);
		printf("member  %s (%s): %s", c->members[i].card.name, c->members[i].card.number, roles);
		if (c->members[i].uid >= 0)
			printf(", uid %lld", (long long)c->members[i].uid);
		putchar('\n');
	}
	for (size_t i = 0; i < c->n_quorums; i++) {
		charter_roles_text(c->quorums[i].roles, roles);
		printf("quorum  %s needs %s\n", c->quorums[i].action, roles);
	}
}

static json_t *charter_json(const struct charter *c)
{
	json_t *members = json_array(), *quorums = json_array();
	char digest[65], roles[64];

	for (size_t i = 0; i < c->n_members; i++) {
		charter_roles_text(c->members[i].roles, roles);
		json_array_append_new(members, json_pack("{s:s, s:s, s:s, s:I}", "name", c->members[i].card.name,
							 "number", c->members[i].card.number, "roles", roles, "uid",
							 (json_int_t)c->members[i].uid));
	}
	for (size_t i = 0; i < c->n_quorums; i++) {
		charter_roles_text(c->quorums[i].roles, roles);
		json_array_append_new(quorums, json_pack("{s:s, s:s}", "action", c->quorums[i].action, "roles", roles));
	}
	bytes_hex(digest, c->digest, 32);
	return json_pack("{s:I, s:s, s:o, s:o}", "number", (json_int_t)c->number, "digest", digest, "members", members,
			 "quorums", quorums);
}

static int run_member(int argc, char **argv)
{
	static const char *const verbs[] = {"list", NULL};
	struct charter *c = NULL;
	struct diag d = {0};
	struct located l;

	if (cli_verb(argc > 1 ? argv[1] : NULL, verbs) != 0)
		return cli_usage(&cmd_member, "list");
	if (located_arg(argc, argv, &l, &d) != 0)
		return cli_fail(&d);
	int err = charter_load(l.store_fd, NULL, l.header->charter_first, &c, &d);
	locate_free(&l);
	if (err)
		return cli_fail(&d);
	if (wants_json(argc, argv))
		cli_json(charter_json(c));
	else
		print_charter(c);
	free(c);
	return DIAG_EXIT_DONE;
}

/* --- escrow --- */

static int escrow_list(const struct located *l, bool json, struct diag *d)
{
	json_t *st = NULL, *e, *list;
	size_t i;
	int err = control_call(l->run, json_pack("{s:s}", "op", "status"), NULL, NULL, &st, d);

	if (err)
		return err;
	list = json_object_get(st, "escrows");
	if (json)
		cli_json(json_incref(list));
	else
		json_array_foreach(list, i, e)
			printf("%s  generation %lld, %s%s\n", json_string_value(json_object_get(e, "place")),
			       json_integer_value(json_object_get(e, "generation")),
			       json_is_true(json_object_get(e, "confirmed")) ? "up to date" : "NOT CONFIRMED: ",
			       json_string_value(json_object_get(e, "why")));
	json_decref(st);
	return 0;
}

static int escrow_sync(const struct located *l, struct diag *d)
{
	json_t *ok = NULL;
	int err = control_call(l->run, json_pack("{s:s}", "op", "escrow.sync"), NULL, NULL, &ok, d);

	if (err)
		return err;
	json_int_t pending = json_integer_value(json_object_get(ok, "pending"));
	json_decref(ok);
	if (pending)
		return diag_fail(d, DIAG_ESCROW, -EIO, "%lld of the escrows of %s", pending, l->store);
	return 0;
}

static int run_escrow(int argc, char **argv)
{
	static const char *const verbs[] = {"list", "sync", NULL};
	int verb = cli_verb(argc > 1 ? argv[1] : NULL, verbs);
	struct diag d = {0};
	struct located l;

	if (verb < 0)
		return cli_usage(&cmd_escrow, "list or sync");
	if (argc < 3)
		return cli_usage(&cmd_escrow, "VOLUME is needed");
	if (locate_served(argv[2], &l, &d) != 0)
		return cli_fail(&d);
	int err = verb == 0 ? escrow_list(&l, wants_json(argc, argv), &d) : escrow_sync(&l, &d);
	locate_free(&l);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_key = {"key", "slots, and recovery from an escrow", key_usage, run_key};
const struct cli_command cmd_member = {"member", "the charter", member_usage, run_member};
const struct cli_command cmd_escrow = {"escrow", "recovery copies of the keys", escrow_usage, run_escrow};
