/* coffer init, in two files: its arguments (cmd_init_args.c), and what it does with them (cmd_init.c). */
#ifndef COFFER_TOOLS_CMD_INIT_H
#define COFFER_TOOLS_CMD_INIT_H

#include <limits.h>

#include "core/charter.h"
#include "core/conf.h"
#include "core/escrow.h"
#include "core/keyring.h"
#include "tools/cli.h"

struct init {
	const char *store, *name, *anchor;
	const char *escrows[KEYRING_ESCROWS_MAX];
	size_t n_escrows;
	struct conf conf;
	const struct suite *suite;
	struct charter charter;
	struct identity_card recipients[ESCROW_RECIPIENTS_MAX];
	size_t n_recipients;
	struct cli_unlock secrets;
	char anchor_path[PATH_MAX], store_path[PATH_MAX];
	uint8_t volume_id[16];
	struct secret *sign_seed;
	bool cheap, no_escrow, anchor_in_store, json;
	bool made_store, begun; /* for undoing: the anchor's place was free, and what stands there now is ours */
};

/* Fills in from the command line; cards are read, nothing is written. DIAG_USAGE and what reading a card says. */
int init_arguments(struct init *in, int argc, char **argv, struct diag *d);

#endif
