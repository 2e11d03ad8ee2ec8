/*
 * In which sets a path occurs.
 *
 * A pattern without '/' is compared with every name, wherever it is; one with '/' with whole paths
 * from the root, component by component ('*' does not cross '/'; folders that cannot match are not
 * read). Components are fnmatch(3) patterns over bytes; a leading '/' counts for nothing but being a
 * '/'. A name that was destroyed can be matched by nobody: where one lies in a folder that was
 * looked at, it is counted.
 */
#ifndef COFFER_BACKUP_SETFIND_H
#define COFFER_BACKUP_SETFIND_H

#include "backup/restore.h"

struct setfind_hit {
	const struct set_manifest *set;
	const char *path;
	uint32_t mode;
	uint64_t size;
	int64_t mtime;
	bool destroyed; /* its name opens and its record does not: size and mtime are 0 */
};
struct setfind_set {
	const struct set_manifest *set;
	uint64_t n_hits;
	uint64_t n_destroyed; /* names in the folders looked at */
	char order[KEYRING_ORDER_REF_MAX + 1];
	uint64_t n_damaged;
};
struct setfind_request {
	struct repo *repo;
	struct keyring *kr;
	const struct set_catalog *catalog;
	const char *pattern;
	int (*hit)(void *arg, const struct setfind_hit *h);
	/* After the hits of each set, the oldest set first. */
	int (*set)(void *arg, const struct setfind_set *s);
	void *arg;
};
/* A set whose chain is broken counts as one damage, and the search goes on. -EINVAL (DIAG_USAGE): an
 * empty pattern. */
int setfind_run(const struct setfind_request *in, struct diag *d);

#endif
