/* coffer key add, remove: who can unlock the volume. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli.h"
#include "tools/cmd_key.h"
#include "tools/custody.h"

struct slot_args {
	const char *volume, *label;
	const char *passphrase_file, *key_file, *card; /* of the new slot */
	bool ask, cheap;
	struct cli_unlock secrets;	/* that unlock now */
	struct cli_unlock fresh_secret; /* of the new slot */
	struct header_unlock with;	/* the same */
	struct identity_card holder;
};

static void args_free(struct slot_args *a)
{
	cli_unlock_free(&a->secrets);
	cli_unlock_free(&a->fresh_secret);
}

enum { OPT_LABEL = 1, OPT_NEW_PASSPHRASE, OPT_NEW_PASSPHRASE_FILE, OPT_NEW_KEY_FILE, OPT_NEW_IDENTITY, OPT_KDF_FLOOR };

static const struct option add_options[] = {{"label", required_argument, NULL, OPT_LABEL},
					    {"new-passphrase", no_argument, NULL, OPT_NEW_PASSPHRASE},
					    {"new-passphrase-file", required_argument, NULL, OPT_NEW_PASSPHRASE_FILE},
					    {"new-key-file", required_argument, NULL, OPT_NEW_KEY_FILE},
					    {"new-identity", required_argument, NULL, OPT_NEW_IDENTITY},
					    {"kdf-floor", no_argument, NULL, OPT_KDF_FLOOR},
					    CLI_UNLOCK_OPTIONS, {0}};
static const struct option remove_options[] = {{"label", required_argument, NULL, OPT_LABEL}, CLI_UNLOCK_OPTIONS, {0}};

static int one_option(struct slot_args *a, int c, struct diag *d)
{
	switch (c) {
	case OPT_LABEL:
		a->label = optarg;
		return 0;
	case OPT_NEW_PASSPHRASE:
		a->ask = true;
		return 0;
	case OPT_NEW_PASSPHRASE_FILE:
		a->passphrase_file = optarg;
		return 0;
	case OPT_NEW_KEY_FILE:
		a->key_file = optarg;
		return 0;
	case OPT_NEW_IDENTITY:
		a->card = optarg;
		return 0;
	case OPT_KDF_FLOOR:
		a->cheap = true;
		return 0;
	default:
		return cli_unlock_option(&a->secrets, c, optarg)
			       ? 0
			       : diag_fail(d, DIAG_USAGE, -EINVAL, "unknown or incomplete option");
	}
}

static int arguments(struct slot_args *a, const struct option *options, int argc, char **argv, struct diag *d)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int err = one_option(a, c, d);
		if (err)
			return err;
	}
	if (argc - optind != 1 || !a->label)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "VOLUME and --label are needed");
	a->volume = argv[optind];
	return 0;
}

/* --- adding --- */

static int new_secret(struct slot_args *a, struct diag *d)
{
	if (a->card)
		return identity_card_load(a->card, &a->holder, d);
	if (a->ask) {
		int err = secret_prompt("Passphrase of the new slot: ", 1, &a->fresh_secret.passphrase);
		a->with.passphrase = a->fresh_secret.passphrase;
		return err ? diag_fail(d, DIAG_SECRET_FILE, err, "new passphrase") : 0;
	}
	a->fresh_secret.passphrase_file = a->passphrase_file;
	a->fresh_secret.key_file = a->key_file;
	return cli_unlock_get(&a->fresh_secret, "", &a->with, d);
}

static int add_slot(struct custody *c, void *arg, struct diag *d)
{
	const struct slot_args *a = arg;

	return keyring_slot_add(c->kr, a->label, &a->with, a->card ? a->holder.seal_pk : NULL, a->cheap, d);
}

int key_add(int argc, char **argv, struct diag *d)
{
	CLEANUP_WITH(args_free) struct slot_args a = {0};
	CLEANUP_WITH(custody_close) struct custody c = CUSTODY_NONE;
	char object[128];
	int err = arguments(&a, add_options, argc, argv, d);

	if (err == 0 && a.ask + !!a.passphrase_file + !!a.key_file + !!a.card != 1)
		err = diag_fail(d, DIAG_USAGE, -EINVAL,
				"one of --new-passphrase, --new-passphrase-file, --new-key-file and --new-identity");
	if (err == 0)
		err = custody_open(a.volume, &a.secrets, &c, d);
	if (err == 0)
		err = new_secret(&a, d);
	if (err)
		return err;
	snprintf(object, sizeof(object), "slot %.64s", a.label);
	err = custody_change(&c, "key.add", object, add_slot, &a, d);
	if (err == 0)
		printf("slot %s added; unlocked by %s\n", a.label, keyring_slot_label(c.kr));
	return err;
}

/* --- removing --- */

static int remove_slot(struct custody *c, void *arg, struct diag *d)
{
	const struct slot_args *a = arg;

	return keyring_slot_remove(c->kr, a->label, d);
}

static bool is_slot(const struct header *h, const char *label)
{
	for (size_t i = 0; i < h->n_slots; i++)
		if (!strcmp(h->slots[i].label, label))
			return true;
	return false;
}

/* One's own slot needs nobody else; another's would lock that person out, which nobody does alone. */
static int check_own(const struct custody *c, const struct slot_args *a, struct diag *d)
{
	if (!is_slot(c->l.header, a->label))
		return diag_fail(d, DIAG_NOT_FOUND, -ENOENT, "slot %s", a->label);
	if (strcmp(keyring_slot_label(c->kr), a->label) != 0)
		return diag_fail(d, DIAG_DENIED, -EPERM, "slot %s is another's: this secret opens slot %s", a->label,
				 keyring_slot_label(c->kr));
	return 0;
}

int key_remove(int argc, char **argv, struct diag *d)
{
	CLEANUP_WITH(args_free) struct slot_args a = {0};
	CLEANUP_WITH(custody_close) struct custody c = CUSTODY_NONE;
	char object[128];
	int err = arguments(&a, remove_options, argc, argv, d);

	if (err == 0)
		err = custody_open(a.volume, &a.secrets, &c, d);
	if (err)
		return err;
	snprintf(object, sizeof(object), "slot %.64s", a.label);
	err = check_own(&c, &a, d);
	if (err) {
		custody_record(&c, "key.remove", object, "refused", diag_name(d->id), &(struct diag){0});
		return err;
	}
	err = custody_change(&c, "key.remove", object, remove_slot, &a, d);
	if (err == 0)
		printf("slot %s removed\n", a.label);
	return err;
}
