/* coffer backup mount: sets as dated read-only folders, and how `coffer umount` ends that. */
#ifndef COFFER_TOOLS_CMD_BACKUP_MOUNT_H
#define COFFER_TOOLS_CMD_BACKUP_MOUNT_H

#include <stdbool.h>

#include "core/diag.h"

/* argv[0] is "mount". Exit code. */
int cmd_backup_mount(int argc, char **argv);
/* Whether sets are mounted right there. */
bool backup_mount_is(const char *mountpoint);
/* Unmounts them; the serving process then ends by itself. Refused (EBUSY) while files are open. */
int backup_mount_end(const char *mountpoint, struct diag *d);

#endif
