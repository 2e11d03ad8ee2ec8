/* Merging, as `coffer backup merge` and `prune` ask for it. */
#ifndef COFFER_TOOLS_CMD_BACKUP_MERGE_H
#define COFFER_TOOLS_CMD_BACKUP_MERGE_H

#include "tools/cmd_backup_life.h"

/* Sends req (which it releases): {"op": "backup.merge", ..}. *ret is the caller's. */
int cmd_backup_merge_ask(const struct located *l, json_t *req, json_t **ret, struct diag *d);
void cmd_backup_merge_print(const json_t *answer);

#endif
