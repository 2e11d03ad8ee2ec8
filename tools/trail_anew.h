/*
 * STORE/trail/anew: a note by the volume that its trail began anew at some time, because the one before was lost with the
 * store, and where that one stood. Sets from before then hold checkpoints of the lost trail, which this one does not extend.
 * docs/format.md "A trail that began anew".
 */
#ifndef COFFER_TOOLS_TRAIL_ANEW_H
#define COFFER_TOOLS_TRAIL_ANEW_H

#include "core/trail.h"

struct trail_anew {
	int64_t created;       /* unix seconds */
	uint64_t txn;	       /* sets up to this transaction hold checkpoints of the lost trail */
	struct trail_head old; /* its last head that is known; of size 0: none */
};

int trail_anew_write(int store_fd, struct keyring *kr, const struct trail_anew *a, struct diag *d);
/* -ENOENT (without d) for a trail that never did; DIAG_NOTE_UNSIGNED, DIAG_NOTE_MALFORMED. */
int trail_anew_read(int store_fd, const uint8_t volume_id[16], const uint8_t sign_pk[32], struct trail_anew *ret,
		    struct diag *d);

#endif
