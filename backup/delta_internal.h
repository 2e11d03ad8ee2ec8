/* Inside deltas: a loaded signature. */
#ifndef COFFER_BACKUP_DELTA_INTERNAL_H
#define COFFER_BACKUP_DELTA_INTERNAL_H

#include "backup/delta.h"

struct delta_basis {
	unsigned log;
	size_t n;
	uint64_t len;
	uint8_t *sums;			/* n of DELTA_SUM_LEN, in order of the blocks */
	struct rs_signature *sig;	/* the same, hashed by the rolling checksum */
};

/* Keeps librsync from printing; before its first use. */
void delta_quiet(void);
/* What an rs_result that is not RS_DONE means here. */
int delta_error(int rs);

#endif
