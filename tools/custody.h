/*
 * Changes of custody (slots, escrow places, keys) by a tool, while nothing serves the volume.
 *
 * The keys belong to the serving process, and secrets do not travel over its socket: so the volume is unmounted, and the tool
 * holds the store's lock, the keys and the trail. Every change is on the trail before it is made, and so is what came of it.
 */
#ifndef COFFER_TOOLS_CUSTODY_H
#define COFFER_TOOLS_CUSTODY_H

#include "core/keyring.h"
#include "core/trail.h"
#include "tools/cli.h"
#include "tools/locate.h"

struct custody {
	struct located l;
	int lock_fd;
	struct keyring *kr;
	struct trail *trail;
	char member[65]; /* whose identity unlocked, "" unknown */
};
/* Asks for the unlocking secret. DIAG_MOUNTED, and what the parts say. Release with custody_close. */
int custody_open(const char *volume, struct cli_unlock *secrets, struct custody *ret, struct diag *d);
/* A durable trail record, checkpointed; result is "begun", "ok", "failed" or "refused". DIAG_TRAIL. */
int custody_record(struct custody *c, const char *operation, const char *object, const char *result,
		   const char *detail, struct diag *d);
/*
 * Between "begun" and what came of it: change is called once, and its outcome recorded. A change that was made, but whose
 * outcome could not be recorded, is DIAG_TRAIL.
 */
int custody_change(struct custody *c, const char *operation, const char *object,
		   int (*change)(struct custody *c, void *arg, struct diag *d), void *arg, struct diag *d);
/* The trail's head goes into the anchor. Harmless for one that was not opened (all zero, but lock_fd and l.store_fd -1). */
void custody_close(struct custody *c);

#define CUSTODY_NONE {.lock_fd = -1, .l = {.store_fd = -1}}

#endif
