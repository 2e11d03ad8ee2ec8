/* coffer init: members, quorums, places and secrets as the command line names them. */
#include "tools/cmd_init.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/conf_repository.h"

/* A local user: digits only, so that a mistake never becomes uid 0. */
static bool parse_uid(const char *text, int64_t *ret)
{
	char *end;

	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n >= UINT32_MAX)
		return false;
	*ret = (int64_t)n;
	return true;
}

static int add_member(struct init *in, unsigned role, const char *arg, struct diag *d)
{
	char path[PATH_MAX];
	const char *uid = strstr(arg, ",uid=");
	struct identity_card card;
	int64_t local = -1;

	if (uid && !parse_uid(uid + 5, &local))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "%s: uid=N with N a local user's number", arg);

	snprintf(path, sizeof(path), "%.*s", uid ? (int)(uid - arg) : PATH_MAX - 1, arg);
	int err = identity_card_load(path, &card, d);
	if (err)
		return err;
	/* The same card in a second role is the same member. */
	for (size_t i = 0; i < in->charter.n_members; i++) {
		if (!memcmp(in->charter.members[i].card.sign_pk, card.sign_pk, 32)) {
			in->charter.members[i].roles |= role;
			return 0;
		}
	}
	if (in->charter.n_members == CHARTER_MEMBERS_MAX)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "more than %d members", CHARTER_MEMBERS_MAX);
	in->charter.members[in->charter.n_members++] =
		(struct charter_member){.card = card, .roles = role, .uid = local};
	return 0;
}

static int add_quorum(struct init *in, const char *arg, struct diag *d)
{
	const char *eq = strchr(arg, '=');
	struct charter_quorum q = {0};
	char roles[128], *save = NULL;

	if (!eq || (size_t)(eq - arg) >= sizeof(q.action) || strlen(eq + 1) >= sizeof(roles) ||
	    in->charter.n_quorums == CHARTER_QUORUMS_MAX)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "--quorum %s (ACTION=ROLE+ROLE)", arg);
	memcpy(q.action, arg, (size_t)(eq - arg));
	strcpy(roles, eq + 1);
	for (char *r = strtok_r(roles, "+", &save); r; r = strtok_r(NULL, "+", &save)) {
		unsigned role = charter_role_by_name(r);
		if (!role)
			return diag_fail(d, DIAG_USAGE, -EINVAL, "--quorum %s: no role \"%s\"", arg, r);
		q.roles |= role;
	}
	in->charter.quorums[in->charter.n_quorums++] = q;
	return 0;
}

static int add_recipient(struct init *in, const char *path, struct diag *d)
{
	if (in->n_recipients == ESCROW_RECIPIENTS_MAX)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "more than %d recovery recipients", ESCROW_RECIPIENTS_MAX);
	return identity_card_load(path, &in->recipients[in->n_recipients++], d);
}

enum { OPT_NAME = 1, OPT_QUORUM, OPT_ANCHOR, OPT_ANCHOR_IN, OPT_ESCROW, OPT_NO_ESCROW, OPT_RECOVERY, OPT_REPO,
       OPT_SUITE, OPT_KDF_FLOOR, OPT_JSON, OPT_ROLE = 0x100 };

static int one_option(struct init *in, int c, struct diag *d)
{
	switch (c) {
	case OPT_NAME:
		in->name = optarg;
		return 0;
	case OPT_QUORUM:
		return add_quorum(in, optarg, d);
	case OPT_ANCHOR:
		in->anchor = optarg;
		return 0;
	case OPT_ANCHOR_IN:
		in->anchor_in_store = true;
		return 0;
	case OPT_ESCROW:
		if (in->n_escrows == KEYRING_ESCROWS_MAX)
			return diag_fail(d, DIAG_USAGE, -EINVAL, "more than %d escrows", KEYRING_ESCROWS_MAX);
		in->escrows[in->n_escrows++] = optarg;
		return 0;
	case OPT_NO_ESCROW:
		in->no_escrow = true;
		return 0;
	case OPT_RECOVERY:
		return add_recipient(in, optarg, d);
	case OPT_REPO:
		return conf_repository_add(&in->conf, optarg, d);
	case OPT_SUITE:
		in->suite = suite_by_name(optarg);
		return in->suite ? 0 : diag_fail(d, DIAG_SUITE, -EPROTONOSUPPORT, "%s", optarg);
	case OPT_KDF_FLOOR:
		in->cheap = true;
		return 0;
	case OPT_JSON:
		in->json = true;
		return 0;
	default:
		if (c > OPT_ROLE && c < OPT_ROLE + 32)
			return add_member(in, (unsigned)(c - OPT_ROLE), optarg, d);
		return cli_unlock_option(&in->secrets, c, optarg)
			       ? 0
			       : diag_fail(d, DIAG_USAGE, -EINVAL, "unknown or incomplete option");
	}
}

int init_arguments(struct init *in, int argc, char **argv, struct diag *d)
{
	static const struct option options[] = {
		{"name", required_argument, NULL, OPT_NAME},
		{"quorum", required_argument, NULL, OPT_QUORUM},
		{"anchor", required_argument, NULL, OPT_ANCHOR},
		{"anchor-in-store", no_argument, NULL, OPT_ANCHOR_IN},
		{"escrow", required_argument, NULL, OPT_ESCROW},
		{"no-escrow", no_argument, NULL, OPT_NO_ESCROW},
		{"recovery", required_argument, NULL, OPT_RECOVERY},
		{"repo", required_argument, NULL, OPT_REPO},
		{"suite", required_argument, NULL, OPT_SUITE},
		{"kdf-floor", no_argument, NULL, OPT_KDF_FLOOR},
		{"json", no_argument, NULL, OPT_JSON},
		{"owner", required_argument, NULL, OPT_ROLE + CHARTER_OWNER},
		{"security", required_argument, NULL, OPT_ROLE + CHARTER_SECURITY},
		{"operator", required_argument, NULL, OPT_ROLE + CHARTER_OPERATOR},
		{"auditor", required_argument, NULL, OPT_ROLE + CHARTER_AUDITOR},
		{"custodian", required_argument, NULL, OPT_ROLE + CHARTER_CUSTODIAN},
		CLI_UNLOCK_OPTIONS,
		{0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int err = one_option(in, c, d);
		if (err)
			return err;
	}
	if (optind + 1 != argc || !in->name)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "STORE and --name are needed");
	if (!identity_name_valid(in->name))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "--name %s", in->name);
	if (!in->n_escrows && !in->no_escrow)
		return diag_fail(d, DIAG_USAGE, -EINVAL,
				 "give --escrow DIR (a place on another disk or host), or --no-escrow");
	in->store = argv[optind];
	return 0;
}
