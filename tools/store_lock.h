/*
 * The lock of a store (STORE/lock, as the engine takes it), for what a tool changes while nothing serves the volume.
 */
#ifndef COFFER_TOOLS_STORE_LOCK_H
#define COFFER_TOOLS_STORE_LOCK_H

#include "core/diag.h"

/* The lock, held until the descriptor is closed. DIAG_MOUNTED when another process has it. */
int store_lock(int store_fd, const char *store, int *ret_fd, struct diag *d);

#endif
