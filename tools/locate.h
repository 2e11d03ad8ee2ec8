/*
 * From what the user calls VOLUME (a store or a mount point) to the store and, when it is mounted, its control socket.
 *
 * A serving process keeps RUN/VOLUMEID/ (0700, root's) with "control" (socket) and "where" (JSON: store, mountpoint, pid). RUN is /run/coffer, or
 * $COFFER_RUN_DIR.
 */
#ifndef COFFER_TOOLS_LOCATE_H
#define COFFER_TOOLS_LOCATE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "core/diag.h"
#include "core/header.h"

struct located {
	char store[PATH_MAX];
	char mountpoint[PATH_MAX]; /* "" not mounted */
	char run[PATH_MAX];	   /* RUN/VOLUMEID */
	pid_t pid;
	bool mounted; /* the control socket answers */
	struct header *header;
	int store_fd;
};
/* DIAG_NO_VOLUME, DIAG_HEADER_DAMAGED. Release with locate_free. */
int locate(const char *volume, struct located *ret, struct diag *d);
void locate_free(struct located *l);
/* RUN/VOLUMEID for a volume id. */
void locate_run_dir(const uint8_t volume_id[16], char out[PATH_MAX]);

#endif
