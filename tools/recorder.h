/*
 * The trail, for a command that does a privileged act by itself, beside the serving process or without
 * one: no record, no act.
 *
 * Of a mounted volume the serving process writes the record. Of an unmounted one this process does, for
 * which it needs the unlock secret; then it can sign for the volume as well. One thread.
 */
#ifndef COFFER_TOOLS_RECORDER_H
#define COFFER_TOOLS_RECORDER_H

#include "core/keyring.h"
#include "core/trail.h"
#include "tools/cli.h"
#include "tools/locate.h"

struct recorder {
	const struct located *l;
	/* when the volume is not mounted */
	struct keyring *kr;
	struct trail *trail;
};
/* Before anything is done. DIAG_TRAIL when not mounted and without a secret. Close it also after a failure. */
int recorder_open(struct recorder *r, const struct located *l, struct cli_unlock *secrets, struct diag *d);
/* A durable record. DIAG_TRAIL. */
int recorder_put(struct recorder *r, const char *operation, const char *object, const char *purpose,
		 const char *result, const char *detail, struct diag *d);
/*
 * One durable, signed record by who has the keys open already. Beside a serving process it keeps the trail; alone, this
 * process does, under the store's lock meanwhile (DIAG_MOUNTED when another has it). DIAG_TRAIL.
 */
int recorder_note(const struct located *l, struct keyring *kr, const char *operation, const char *object,
		  const char *detail, struct diag *d);
/* Signs what was recorded, and has the anchor name it. Returns err, or else what went wrong here. */
int recorder_close(struct recorder *r, int err, struct diag *d);

#endif
