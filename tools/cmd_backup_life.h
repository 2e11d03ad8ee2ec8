/*
 * The life of sets: verbs of `coffer backup` that hold, merge, repair, export and import them. Their options are
 * read in cmd_backup_life.c; each verb has a file.
 */
#ifndef COFFER_TOOLS_CMD_BACKUP_LIFE_H
#define COFFER_TOOLS_CMD_BACKUP_LIFE_H

#include "tools/cli.h"
#include "tools/cmd_destroy.h"
#include "tools/located_repo.h"

#define LIFE_SETS_MAX 64

struct life_args {
	char **operands;
	size_t n_operands;
	const char *sets[LIFE_SETS_MAX];
	size_t n_sets;
	const char *from, *to, *label, *kept, *reason, *repository;
	unsigned older_than; /* days; 0 not said */
	bool dry_run, json;
	struct cli_unlock secrets;
};

/* Exit code; -1 when argv[0] is none of these verbs. */
int cmd_backup_life(const struct cli_command *c, int argc, char **argv);

int life_hold(struct life_args *a, struct diag *d);
int life_holds(struct life_args *a, struct diag *d);
int life_release(struct life_args *a, struct diag *d);
int life_merge(struct life_args *a, struct diag *d);
int life_repair(struct life_args *a, struct diag *d);
int life_export(struct life_args *a, struct diag *d);
int life_import(struct life_args *a, struct diag *d);
int life_media(struct life_args *a, struct diag *d);

#endif
