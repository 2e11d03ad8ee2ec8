/* coffer key: the slots that unlock a volume, and recovery. Each verb but list is a file of its own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/cmd_key.h"
#include "tools/locate.h"

static const char usage[] =
	"usage: coffer key list VOLUME [--json]\n"
	"       coffer key add STORE --label LABEL NEW [secret]\n"
	"       coffer key remove STORE --label LABEL [secret]\n"
	"       coffer key recover STORE --anchor DIR --escrow DIR --identity FILE [--repo URL ..]\n\n"
	"list     the slots that unlock the volume.\n"
	"add      a further slot, for a volume that is not mounted: no secret goes through the serving process. NEW is one of\n"
	"  --new-passphrase  --new-passphrase-file FILE  --new-key-file FILE (32 bytes to 64 KiB)\n"
	"  --new-identity CARD        of a person (FILE.card of `coffer id new`)\n"
	"remove   the slot that the given secret opens, of a volume that is not mounted. Nobody removes another's.\n"
	"         Whoever has a copy of the header and that secret can still open it.\n"
	"recover  rebuilds the anchor and the key state from an escrow, with a new passphrase. A STORE that was lost as well\n"
	"         (a new or empty folder) becomes an empty volume with its old keys and members, to be mounted and restored.\n"
	"         Orders announced in the repositories are applied again before anything can be mounted.\n"
	"  --repo URL                 repeatable; without it those of the store's coffer.conf\n"
	"  --identity FILE            of a recovery recipient   --identity-passphrase-file FILE\n"
	"  --passphrase-file FILE     the new passphrase; otherwise asked for, twice\n"
	"  --kdf-floor                lowest allowed cost for a new passphrase\n"
	"The secret is asked for, or comes from --passphrase-file FILE, --key-file FILE or\n"
	"--identity FILE [--identity-passphrase-file FILE].\n";

static const char *kind_name(uint8_t kind)
{
	static const char *const kinds[] = {"?", "passphrase", "identity", "key file"};

	return kind <= HEADER_SLOT_KEYFILE ? kinds[kind] : "?";
}

static json_t *slots_json(const struct header *h)
{
	json_t *a = json_array();

	for (size_t i = 0; i < h->n_slots; i++)
		json_array_append_new(a, json_pack("{s:s, s:s}", "label", h->slots[i].label, "kind",
						   kind_name(h->slots[i].kind)));
	return a;
}

static int key_list(int argc, char **argv, struct diag *d)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
	bool json = false;
	struct located l;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'j')
			return diag_fail(d, DIAG_USAGE, -EINVAL, "unknown option");
		json = true;
	}
	if (argc - optind != 1)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "one VOLUME is needed");
	int err = locate(argv[optind], &l, d);
	if (err)
		return err;
	if (json)
		cli_json(slots_json(l.header));
	for (size_t i = 0; !json && i < l.header->n_slots; i++)
		printf("%-12s %s\n", kind_name(l.header->slots[i].kind), l.header->slots[i].label);
	locate_free(&l);
	return 0;
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"list", "add", "remove", "recover", NULL};
	static int (*const run_verb[])(int argc, char **argv, struct diag *d) = {key_list, key_add, key_remove, key_recover};
	int verb = cli_verb(argc > 1 ? argv[1] : NULL, verbs);
	struct diag d = {0};

	if (verb < 0)
		return cli_usage(&cmd_key, "list, add, remove or recover");
	return run_verb[verb](argc - 1, argv + 1, &d) ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_key = {"key", "slots, and recovery from an escrow", usage, run};
