/* coffer id: a member's own keys. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/identity.h"
#include "tools/cli.h"

static const char usage[] =
	"usage: coffer id new --name NAME --number NUMBER --out FILE [--passphrase-file FILE]\n"
	"       coffer id show FILE [--json]\n\n"
	"new   makes an identity: Ed25519 to sign, X25519 to unwrap. FILE holds the secret keys under a\n"
	"      passphrase and stays with the member; FILE.card is public and goes to whoever makes the volume.\n"
	"show  prints a card (of FILE.card, or any card).\n\n"
	"  --name NAME             the person's name\n"
	"  --number NUMBER         the person's staff number; with the name, one person\n"
	"  --out FILE              where the identity is written; must not exist\n"
	"  --passphrase-file FILE  first line is the passphrase; otherwise it is asked for, twice\n";

/* Both or neither: a card without its secret would be a member who cannot act. */
static int write_both(const char *out, const char *secret, const char *card, struct diag *d)
{
	char card_path[4096];

	if (snprintf(card_path, sizeof(card_path), "%s.card", out) >= (int)sizeof(card_path))
		return diag_fail_errno(d, -ENAMETOOLONG, "%s", out);
	int err = durable_create(AT_FDCWD, out, secret, strlen(secret), 0600);
	if (err)
		return err == -EEXIST ? diag_fail(d, DIAG_EXISTS, err, "%s", out) : diag_fail_errno(d, err, "%s", out);
	err = durable_create(AT_FDCWD, card_path, card, strlen(card), 0644);
	if (err) {
		unlink(out);
		return err == -EEXIST ? diag_fail(d, DIAG_EXISTS, err, "%s", card_path)
				      : diag_fail_errno(d, err, "%s", card_path);
	}
	printf("identity  %s\ncard      %s\n", out, card_path);
	return 0;
}

static int make(const char *name, const char *number, const char *out, const char *pass_file, struct diag *d)
{
	CLEANUP_IDENTITY struct identity *id = NULL;
	CLEANUP_SECRET struct secret *pass = NULL;
	CLEANUP_FREE char *secret = NULL, *card = NULL;
	int err = pass_file ? secret_from_file(pass_file, &pass) : secret_prompt("New passphrase: ", 1, &pass);

	if (err)
		return diag_fail(d, DIAG_SECRET_FILE, err, "%s", pass_file ? pass_file : "passphrase");
	if (secret_len(pass) < 12)
		return diag_fail(d, DIAG_PASS_WEAK, -EINVAL, "%s", out);
	id = identity_new(name, number);
	if (!id)
		return diag_fail_errno(d, -ENOMEM, "%s", out);
	err = identity_export(id, pass, &secret);
	if (err == 0)
		err = identity_card_export(id, &card);
	return err ? diag_fail_errno(d, err, "%s", out) : write_both(out, secret, card, d);
}

static int new_identity(int argc, char **argv)
{
	static const struct option options[] = {{"name", required_argument, NULL, 'n'},
						{"number", required_argument, NULL, 'N'},
						{"out", required_argument, NULL, 'o'},
						{"passphrase-file", required_argument, NULL, 'p'},
						{0}};
	const char *name = NULL, *number = NULL, *out = NULL, *pass = NULL;
	struct diag d = {0};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return cli_usage(&cmd_id, "unknown or incomplete option");
		*(c == 'n' ? &name : c == 'N' ? &number : c == 'o' ? &out : &pass) = optarg;
	}
	if (!name || !number || !out || optind != argc)
		return cli_usage(&cmd_id, "new needs --name, --number and --out");
	if (!identity_name_valid(name) || !identity_name_valid(number))
		return cli_usage(&cmd_id, "name and number have 1 to 64 bytes, no control characters and no '|'");
	return make(name, number, out, pass, &d) ? cli_fail(&d) : DIAG_EXIT_DONE;
}

static int show(int argc, char **argv)
{
	struct identity_card card;
	struct diag d = {0};
	bool json = false;
	const char *path = NULL;
	char sign[65], seal[65], with[4096];

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			json = true;
		else
			path = argv[i];
	}
	if (!path)
		return cli_usage(&cmd_id, "show needs a file");
	/* FILE.card stands beside FILE: the name of either will do. */
	snprintf(with, sizeof(with), "%s.card", path);
	if (identity_card_load(access(with, R_OK) == 0 ? with : path, &card, &d) != 0)
		return cli_fail(&d);
	bytes_hex(sign, card.sign_pk, 32);
	bytes_hex(seal, card.seal_pk, 32);
	if (json)
		cli_json(json_pack("{s:s, s:s, s:s, s:s}", "name", card.name, "number", card.number, "sign", sign,
				   "seal", seal));
	else
		printf("name    %s\nnumber  %s\nsign    ed25519 %s\nseal    x25519 %s\n", card.name, card.number, sign, seal);
	return DIAG_EXIT_DONE;
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"new", "show", NULL};

	switch (cli_verb(argc > 1 ? argv[1] : NULL, verbs)) {
	case 0:
		return new_identity(argc - 1, argv + 1);
	case 1:
		return show(argc - 1, argv + 1);
	default:
		return cli_usage(&cmd_id, "new or show");
	}
}

const struct cli_command cmd_id = {"id", "make and show a member's identity", usage, run};
