/*
 * STORE/recovering: a recovery has begun and is not complete. While it is there no command but `coffer key recover` opens
 * the store, so that nothing is mounted or exported before the announced orders were applied again.
 *
 * It also says what was lost when the recovery began, so that one that was interrupted goes on the same way.
 */
#ifndef COFFER_TOOLS_RECOVERY_MARKER_H
#define COFFER_TOOLS_RECOVERY_MARKER_H

#include <stdbool.h>

#include "core/diag.h"
#include "core/trail.h"

struct recovery_marker {
	bool records_lost; /* no meta.db */
	bool trail_lost;   /* no trail; then old is its last head that is known, of size 0: none */
	struct trail_head old;
};

/* -ENOENT when there is none (no d); -EUCLEAN. */
int recovery_marker_read(int store_fd, struct recovery_marker *ret, struct diag *d);
/* Durable, in place of an earlier one. */
int recovery_marker_write(int store_fd, const struct recovery_marker *m, struct diag *d);
int recovery_marker_remove(int store_fd, struct diag *d);
/* DIAG_INTERRUPTED when there is one. */
int recovery_marker_refuse(int store_fd, const char *store, struct diag *d);

#endif
