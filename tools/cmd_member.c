/* coffer member: the charter in force. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/charter.h"
#include "core/cleanup.h"
#include "tools/cli.h"
#include "tools/locate.h"

static const char member_usage[] = "usage: coffer member list VOLUME [--json]\n\n"
				   "The charter in force: members, roles, quorums, fingerprint.\n";

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

/* VOLUME [--json] */
static int arguments(int argc, char **argv, const char **ret_volume, bool *ret_json, struct diag *d)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'j')
			return diag_fail(d, DIAG_USAGE, -EINVAL, "unknown option");
		*ret_json = true;
	}
	if (argc - optind != 1)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "one VOLUME is needed");
	*ret_volume = argv[optind];
	return 0;
}

static int list(int argc, char **argv, struct diag *d)
{
	CLEANUP_FREE struct charter *c = NULL;
	const char *volume = NULL;
	struct located l;
	bool json = false;
	int err = arguments(argc, argv, &volume, &json, d);

	if (err == 0)
		err = locate(volume, &l, d);
	if (err)
		return err;
	err = charter_load(l.store_fd, NULL, l.header->charter_first, &c, d);
	locate_free(&l);
	if (err == 0 && json)
		cli_json(charter_json(c));
	else if (err == 0)
		print_charter(c);
	return err;
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"list", NULL};
	struct diag d = {0};

	if (cli_verb(argc > 1 ? argv[1] : NULL, verbs) != 0)
		return cli_usage(&cmd_member, "list");
	return list(argc - 1, argv + 1, &d) ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_member = {"member", "the charter", member_usage, run};
