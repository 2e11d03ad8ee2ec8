/* Inside `coffer key`: the verbs, one file each. argv[0] is the verb. */
#ifndef COFFER_TOOLS_CMD_KEY_H
#define COFFER_TOOLS_CMD_KEY_H

#include "core/diag.h"

/* cmd_key_slots.c */
int key_add(int argc, char **argv, struct diag *d);
int key_remove(int argc, char **argv, struct diag *d);
/* cmd_key_recover.c */
int key_recover(int argc, char **argv, struct diag *d);

#endif
