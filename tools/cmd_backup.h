/* The verbs of `coffer backup` that lie in files of their own, and what they share. */
#ifndef COFFER_TOOLS_CMD_BACKUP_H
#define COFFER_TOOLS_CMD_BACKUP_H

#include "tools/cli.h"
#include "tools/located_repo.h"

/* --- run --- */

struct backup_wanted {
	const char *tiers;      /* "daily weekly" */
	const char *repository; /* NULL: the first */
	bool full, json;
};
/* Asks the serving process for a set: its figures, which the caller releases. */
int cmd_backup_take(const struct located *l, const struct backup_wanted *a, json_t **ret,
		    struct diag *d);
void cmd_backup_print(const json_t *figures);
/* Takes what is due, by the policy and the sets in the repository, and drills when that is due;
 * a->tiers and a->full are not looked at. */
int cmd_backup_due(const struct located_repo *lr, const struct backup_wanted *a, struct diag *d);

/* --- drill --- */

struct backup_drill {
	const char *repository; /* NULL: the first */
	const char *to;         /* NULL: the run folder */
	unsigned files;         /* 0: as the policy says */
};
/* Asks the serving process for a drill: its figures, which the caller releases. */
int cmd_backup_drill_ask(const struct located *l, const struct backup_drill *a, json_t **ret,
			 struct diag *d);
/* DIAG_SET_DAMAGED when something was bad. */
int cmd_backup_drill_judge(const json_t *figures, struct diag *d);
void cmd_backup_drill_print(const json_t *figures);
int cmd_backup_drill(const char *volume, const struct backup_drill *a, bool json, struct diag *d);

/* --- the others --- */

/* repository: as the command names it, NULL: the first. */
int cmd_backup_prune(const struct located_repo *lr, struct cli_unlock *secrets, const char *repository, bool dry_run,
		     bool json, struct diag *d);
int cmd_backup_show(const struct located_repo *lr, const char *set, bool json, struct diag *d);
int cmd_backup_diff(const struct located_repo *lr, struct cli_unlock *secrets, const char *first,
		    const char *second, bool json, struct diag *d);
int cmd_backup_find(const struct located_repo *lr, struct cli_unlock *secrets, const char *pattern,
		    bool json, struct diag *d);

#endif
