/* coffer destroy, in two files: what is said by members (cmd_destroy_say.c), and everything else (cmd_destroy.c). */
#ifndef COFFER_TOOLS_CMD_DESTROY_H
#define COFFER_TOOLS_CMD_DESTROY_H

#include <fcntl.h>

#include "core/charter.h"
#include "core/order.h"
#include "tools/cli.h"
#include "tools/control.h"
#include "tools/locate.h"

struct destroy_args {
	const char *volume;
	char **rest;
	size_t n_rest;
	const char *description, *reason, *legal_basis, *unit, *opinion, *html;
	long days;
	bool backups_kept, destroy_moved, destroy_linked, json, note;
	struct cli_unlock secrets;
};

int destroy_request(struct destroy_args *a, const struct located *l, struct diag *d);
int destroy_say(struct destroy_args *a, const struct located *l, enum order_decision decision, struct diag *d);

/* Charter in force and one order. The caller frees the charter. */
int destroy_load(const struct located *l, const char *number, struct charter **ret_charter, struct order *ret,
		 struct diag *d);
/* Asks the serving process what an order covers now, and prints it unless json. */
int destroy_describe(const struct located *l, const struct order *o, bool json, json_t **ret, struct diag *d);

#endif
