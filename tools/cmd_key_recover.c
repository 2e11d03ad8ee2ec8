/* coffer key recover: its arguments, and what it tells. The recovery itself is recovery.c. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "tools/cli.h"
#include "tools/cmd_key.h"
#include "tools/conf_repository.h"
#include "tools/recovery.h"

struct recover_args {
	const char *store, *anchor;
	char store_path[PATH_MAX], anchor_path[PATH_MAX];
	struct cli_unlock secrets;
	struct recovery r;
};

static void args_free(struct recover_args *a)
{
	recovery_free(&a->r);
	cli_unlock_free(&a->secrets);
}

static int arguments(struct recover_args *a, int argc, char **argv, struct diag *d)
{
	static const struct option options[] = {{"anchor", required_argument, NULL, 'a'},
						{"escrow", required_argument, NULL, 'e'},
						{"repo", required_argument, NULL, 'r'},
						{"kdf-floor", no_argument, NULL, 'k'},
						CLI_UNLOCK_OPTIONS, {0}};
	int c, err = 0;

	while (err == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'a')
			a->anchor = optarg;
		else if (c == 'e')
			a->r.escrow = optarg;
		else if (c == 'k')
			a->r.cheap = true;
		else if (c == 'r')
			err = conf_repository_add(&a->r.conf, optarg, d);
		else if (!cli_unlock_option(&a->secrets, c, optarg))
			err = diag_fail(d, DIAG_USAGE, -EINVAL, "unknown or incomplete option");
	}
	if (err)
		return err;
	if (argc - optind != 1 || !a->anchor || !a->r.escrow || !a->secrets.identity_file)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "recover needs STORE, --anchor, --escrow and --identity");
	a->store = argv[optind];
	return 0;
}

static int secrets(struct recover_args *a, struct diag *d)
{
	struct secret **pass = &a->secrets.passphrase;
	int err = cli_identity_get(&a->secrets, d);

	if (err)
		return err;
	err = a->secrets.passphrase_file ? secret_from_file(a->secrets.passphrase_file, pass)
					 : secret_prompt("New passphrase of the volume: ", 1, pass);
	if (err)
		return diag_fail(d, DIAG_SECRET_FILE, err, "new passphrase");
	a->r.identity = a->secrets.identity;
	a->r.passphrase = *pass;
	return 0;
}

/* Both may be new; the escrow is what is brought. */
static int folders(struct recover_args *a, struct diag *d)
{
	struct stat st;

	if (stat(a->r.escrow, &st) != 0 || !S_ISDIR(st.st_mode))
		return diag_fail(d, DIAG_ESCROW, -ENOENT, "%s", a->r.escrow);
	mkdir(a->store, 0700);
	mkdir(a->anchor, 0700);
	if (!realpath(a->store, a->store_path))
		return diag_fail_errno(d, -errno, "%s", a->store);
	if (!realpath(a->anchor, a->anchor_path))
		return diag_fail_errno(d, -errno, "%s", a->anchor);
	/* Their names have to outlive a power cut as what is in them does. */
	int err = durable_mkdir(AT_FDCWD, a->store_path, 0700);
	if (err == 0)
		err = durable_mkdir(AT_FDCWD, a->anchor_path, 0700);
	if (err)
		return diag_fail_errno(d, err, "%s", a->store);
	a->r.store = a->store_path;
	a->r.anchor = a->anchor_path;
	return 0;
}

/* --- telling --- */

/* The escrow that was brought may be a copy, or lie elsewhere than it did: then nobody keeps it up to date. */
static void tell_escrows(const struct recover_args *a)
{
	struct keyring_escrow_status e[KEYRING_ESCROWS_MAX];
	size_t n = keyring_escrow_list(a->r.kr, e);
	char brought[PATH_MAX];
	bool registered = false;

	if (!realpath(a->r.escrow, brought))
		return;
	for (size_t i = 0; i < n; i++) {
		registered |= !strcmp(e[i].dir, brought);
		if (!e[i].confirmed)
			printf("escrow    %s: not confirmed (%s)\n", e[i].dir, e[i].why);
	}
	if (!registered)
		printf("escrow    %s is not among the volume's places and is not rewritten\n"
		       "          if this is the volume from now on: coffer escrow add VOLUME %s\n",
		       brought, brought);
}

static void tell(const struct recover_args *a)
{
	char fingerprint[65];

	bytes_hex(fingerprint, keyring_header(a->r.kr)->charter_first, 32);
	printf("recovered %s: anchor %s, %zu announced order%s applied again\n", a->store_path, a->anchor_path,
	       a->r.n_applied, a->r.n_applied == 1 ? "" : "s");
	printf("charter   %s\n          compare it with the fingerprint on paper: it tells this volume from a substitute\n",
	       fingerprint);
	tell_escrows(a);
	if (a->r.marker.trail_lost)
		printf("trail     begun anew; the old one was lost with the store\n");
	printf("next      coffer mount %s MOUNTPOINT\n", a->store_path);
	if (a->r.marker.records_lost && *a->r.newest_set)
		printf("          coffer restore MOUNTPOINT --all --in-place      (newest set: %s)\n", a->r.newest_set);
	else if (a->r.marker.records_lost)
		printf("          the volume is empty, and no repository holds a set\n");
}

int key_recover(int argc, char **argv, struct diag *d)
{
	struct recover_args *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return diag_fail_errno(d, -ENOMEM, "recovery");
	a->r.store_fd = -1;
	conf_init(&a->r.conf);
	err = arguments(a, argc, argv, d);
	if (err == 0)
		err = secrets(a, d);
	if (err == 0)
		err = folders(a, d);
	if (err == 0)
		err = recovery_run(&a->r, d);
	if (err == 0)
		tell(a);
	args_free(a);
	free(a);
	return err;
}
