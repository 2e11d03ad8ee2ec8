/* Inside comparing sets: pairing paths (setdiff.c), comparing entries (setdiff_entry.c). */
#ifndef COFFER_BACKUP_SETDIFF_INTERNAL_H
#define COFFER_BACKUP_SETDIFF_INTERNAL_H

#include "backup/setdiff.h"
#include "backup/setview_internal.h"

struct setdiff {
	struct setview *view[2];
	setdiff_fn fn;
	void *arg;
	struct setdiff_result res;
};

void setdiff_destroyed(struct setdiff *x, int side, const char *order);
void setdiff_damaged(struct setdiff *x, int side, const char *path);
/*
 * What differs between entry a of the first set and b of the second; path is b's, for messages. An
 * entry that is destroyed or damaged is counted, and no difference told.
 */
int setdiff_compare(struct setdiff *x, uint64_t a, uint64_t b, const char *path, bool *ret_content,
		    bool *ret_attributes);

#endif
