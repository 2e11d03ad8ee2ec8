/*
 * What differs between two sets of a volume, by paths.
 *
 * A path that both have is changed when its content differs (bytes, a link's target, a device's
 * number, the kind of entry), or its attributes do (mode, owner, group, xattrs, and, while the
 * content is the same and it is no folder, the time of modification). A path that only the first
 * has is removed, one that only the second has is added, unless both stand for the same file: then
 * it is renamed. What merely lies below a renamed folder is not told again. Names that were
 * destroyed can be compared by nobody; they are counted. Views are used by one thread at a time.
 */
#ifndef COFFER_BACKUP_SETDIFF_H
#define COFFER_BACKUP_SETDIFF_H

#include "backup/restore.h"

enum setdiff_what { SETDIFF_ADDED, SETDIFF_REMOVED, SETDIFF_CHANGED, SETDIFF_RENAMED };
const char *setdiff_name(enum setdiff_what w);

struct setdiff_entry {
	enum setdiff_what what;
	const char *path; /* in the second set; of what was removed: in the first */
	const char *from; /* RENAMED: in the first set; else NULL */
	uint32_t type_mode;
	bool content, attributes; /* CHANGED, RENAMED: what of it differs as well */
};
typedef int (*setdiff_fn)(void *arg, const struct setdiff_entry *e);

struct setdiff_result {
	uint64_t n[4]; /* by enum setdiff_what */
	/* Of the first and the second set. */
	uint64_t n_destroyed[2], n_damaged[2];
	char order[KEYRING_ORDER_REF_MAX + 1]; /* one of the orders */
	char first_damaged[512];
};
/* Calls fn in the order of paths. Goes on past what is destroyed or damaged; the caller decides what
 * n_damaged means. Whatever fn returns but 0 ends it. */
int setdiff_run(struct setview *first, struct setview *second, setdiff_fn fn, void *arg,
		struct setdiff_result *ret, struct diag *d);

#endif
