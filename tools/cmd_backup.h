/* The verbs of `coffer backup` that lie in files of their own, and what they share. */
#ifndef COFFER_TOOLS_CMD_BACKUP_H
#define COFFER_TOOLS_CMD_BACKUP_H

#include "tools/cli.h"
#include "tools/located_repo.h"

struct backup_wanted {
	const char *tiers;      /* "daily weekly" */
	const char *repository; /* NULL: the first */
	bool full, json;
};
/* Asks the serving process for a set, and prints what came of it. */
int cmd_backup_take(const struct located *l, const struct backup_wanted *a, struct diag *d);
/* Takes what is due, by the policy and the sets in the repository; a->tiers and a->full are not
 * looked at. */
int cmd_backup_due(const struct located_repo *lr, const struct backup_wanted *a, struct diag *d);
int cmd_backup_prune(const struct located_repo *lr, struct cli_unlock *secrets, bool dry_run,
		     bool json, struct diag *d);

#endif
