/*
 * Recovery from repositories and an escrow: what `coffer key recover` does once its arguments are read.
 *
 *   1  STORE/recovering written (recovery_marker.h)     from here on nothing but a recovery opens the store
 *   2  key state, anchor, header, from the escrow       keyring_recover; passed over when an earlier attempt did it
 *   3  every announced order applied again
 *   4  when the records were lost: charter and configuration, floors above all that was ever given out, a new empty meta.db
 *   5  a trail record; when the trail was lost, as the first of a new one, naming the last head of the old one that is known
 *   6  STORE/recovering removed
 *
 * Each step is durable before the next and may be done again: after a crash the same command goes on.
 */
#ifndef COFFER_TOOLS_RECOVERY_H
#define COFFER_TOOLS_RECOVERY_H

#include <limits.h>

#include "backup/repo.h"
#include "core/conf.h"
#include "core/keyring.h"
#include "tools/recovery_marker.h"

struct recovery {
	/* what is asked for */
	const char *store, *anchor, *escrow; /* folders; the first two as real paths */
	const struct identity *identity;     /* of a recovery recipient */
	struct secret *passphrase;	     /* the new one */
	bool cheap;
	struct conf conf; /* the repositories to ask; none: those of the store's configuration */

	/* in work, and what came of it */
	int store_fd;
	struct recovery_marker marker;
	struct keyring *kr;
	struct repo *repos[CONF_REPOSITORIES_MAX];
	uint64_t first_id; /* of the new records */
	uint64_t last_txn;   /* the highest of all sets */
	int64_t newest_time; /* of the newest set, and its name */
	char newest_set[64]; /* "" when there is none */
	size_t n_applied;
};
/* Refuses (DIAG_STORE_EXISTS) a store whose records are lost but whose objects are there. The caller releases with recovery_free. */
int recovery_run(struct recovery *r, struct diag *d);
void recovery_free(struct recovery *r);

/* Step 4, in recovery_rebuild.c: of a store without records. Notes the old trail's head in r->marker. */
int recovery_survey(struct recovery *r, struct diag *d);
int recovery_rebuild(struct recovery *r, struct diag *d);

#endif
