/*
 * From what the user calls VOLUME (a store or a mount point) to the store and, when it is mounted, its control socket.
 *
 * A serving process keeps RUN/VOLUMEID/ (0711) with "control" (socket) and "where" (0644; JSON: store, mountpoint, pid): everyone may find
 * and ask it, and it decides by who asks. RUN is /run/coffer, or $COFFER_RUN_DIR.
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
	struct header *header; /* never NULL after locate */
	int store_fd;
};
/* DIAG_NO_VOLUME, DIAG_DENIED, DIAG_HEADER_DAMAGED; DIAG_INTERRUPTED while a recovery is not complete. Release with locate_free. */
int locate(const char *volume, struct located *ret, struct diag *d);
/*
 * For commands that only ask the serving process: who may not read the store finds a mounted volume by its mount point all the same, with a NULL
 * header and store_fd -1.
 */
int locate_served(const char *volume, struct located *ret, struct diag *d);
void locate_free(struct located *l);
/* RUN/VOLUMEID for a volume id. */
void locate_run_dir(const uint8_t volume_id[16], char out[PATH_MAX]);

#endif
