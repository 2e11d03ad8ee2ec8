/*
 * A restore drill: a random sample of a set's regular files is restored for real and compared.
 *
 * For each file drawn: its name record opens; its content is restored into a scratch folder by what
 * restores use; size and digest of the restored file equal those of the set's records, read a second
 * time through a view of its own; and, when the volume is open and the file is unchanged since the
 * set (no transaction after the set's touched it), those of the live file. Each restored file is
 * removed before the next is written. What an order destroyed is not drawn. For one thread.
 */
#ifndef COFFER_BACKUP_DRILL_H
#define COFFER_BACKUP_DRILL_H

#include "backup/restore.h"

struct drill_request {
	struct repo *repo;
	struct keyring *kr;
	const struct set_catalog *catalog;
	size_t set;
	uint64_t n_files;     /* to draw; fewer when the set has fewer */
	const char *scratch;  /* an existing folder: one of mode 0700 is made in it, and removed */
	struct volume *live;  /* NULL: not at hand */
	int (*progress)(void *arg, uint64_t n_files, uint64_t n_bytes); /* may be NULL; non-zero stops */
	void *arg;
};
struct drill_result {
	/* Regular files that could be drawn; of a set with thousands of them, their names. */
	uint64_t n_in_set;
	uint64_t n_files;   /* drawn: good or bad */
	uint64_t n_bytes;   /* restored */
	uint64_t n_live;    /* compared with the live file as well */
	uint64_t n_destroyed; /* met, whose folder was destroyed */
	uint64_t n_bad;
	char first_bad[160]; /* ids, never names */
};
/* 0 also when something was bad: n_bad tells. Errors are the scratch folder's, the repository's, or
 * DIAG_INTERRUPTED; the scratch is removed in any case. */
int drill_run(const struct drill_request *in, struct drill_result *ret, struct diag *d);
/* Removes scratch folders that a killed drill left in a folder which only this volume uses. */
void drill_sweep(const char *scratch);

#endif
