/* Shared by fs/destroy*.c. The engine lock is held in all of it. */
#ifndef COFFER_FS_DESTROY_INTERNAL_H
#define COFFER_FS_DESTROY_INTERNAL_H

#include "fs/history.h"

/* A folder that survives and is rehashed. */
struct survey_loss {
	uint64_t folder;       /* first, for bsearch */
	uint32_t n_subfolders; /* among what it loses */
};
/* A file outside the order with links inside a destroyed folder. */
struct survey_spared {
	uint64_t id;
	uint32_t n_links;
};
/* A folder out of which such a name went in txn (the latest). */
struct survey_past {
	uint64_t folder, txn;
};
struct survey {
	struct volume *v;
	const uint64_t *ids; /* sorted */
	size_t n;
	struct history_gone *gone; /* every name that goes */
	size_t n_gone, cap_gone;
	struct survey_loss *losses;
	size_t n_losses, cap_losses;
	struct survey_spared *spared;
	size_t n_spared, cap_spared;
	struct survey_past *past;
	size_t n_past, cap_past;
	uint64_t *retired; /* folders that are gone, whose lookup ids must go */
	size_t n_retired, cap_retired;
};
/* -EINVAL when a child that is not listed would lose its last link or its only parent. */
int survey_run(struct survey *s);
void survey_free(struct survey *s);

/* Lookup ids of the destroyed folders and retired ones: appended to out while alive, their records
 * deleted once punctured. */
int destroy_lookup_ids(struct volume *v, const uint64_t *ids, size_t n, struct bytes_w *out);

#endif
