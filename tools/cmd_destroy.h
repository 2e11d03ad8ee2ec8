/* coffer destroy: saying (cmd_destroy_say.c), where orders are read (cmd_destroy_source.c), and everything else. */
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
	unsigned days;
	unsigned given; /* options, a bit each */
	bool backups_kept, destroy_moved, destroy_linked, json, note;
	struct cli_unlock secrets;
};

int destroy_request(struct destroy_args *a, const struct located *l, struct diag *d);
int destroy_say(struct destroy_args *a, const struct located *l, enum order_decision decision, struct diag *d);

/*
 * Builds, signs and submits an order under the next number; of a, its secrets (the identity at hand) and days count. The
 * form is o's, inventory the text it states.
 */
int destroy_submit(struct order *o, const char *inventory, const struct destroy_args *a, const struct located *l,
		   struct diag *d);
/* The charter in force, told by the serving process and verified from the fingerprint on. The caller frees it. */
int destroy_charter_now(const struct located *l, struct charter **ret, struct diag *d);

/* Where orders and charters are read from, as from a store's folder. */
struct destroy_source {
	int fd;
	uint8_t first[32];   /* the volume's fingerprint */
	char copy[PATH_MAX]; /* folder of the copy; "" when it is the store itself */
	json_t *answer;	     /* of order.read or, without a number, orders.list; NULL for the store itself */
};
/*
 * The store; for who may not read it, and when it must_be_served, what the serving process tells of one order (number)
 * or of all (NULL). DIAG_NOT_MOUNTED. Release with destroy_source_close, which removes the copy.
 */
int destroy_source_open(const struct located *l, const char *number, bool must_be_served, struct destroy_source *ret,
			struct diag *d);
void destroy_source_close(struct destroy_source *src);
/* Charter in force. The caller frees it. */
int destroy_charter(const struct destroy_source *src, struct charter **ret, struct diag *d);
/* And one order. */
int destroy_load(const struct destroy_source *src, const char *number, struct charter **ret_charter, struct order *ret,
		 struct diag *d);
/* Asks the serving process what an order covers now, and prints it unless json. */
int destroy_describe(const struct located *l, const struct order *o, bool json, json_t **ret, struct diag *d);
/* cmd_backup_hold.c: prints which hold an order releases, as it stands now. */
int hold_describe(const struct located *l, const struct destroy_source *src, const struct order *o, struct diag *d);

#endif
