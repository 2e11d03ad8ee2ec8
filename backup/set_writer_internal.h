/* Inside the writer of a set: writing (set_writer.c), and going on with a set that was interrupted
 * (set_progress.c). */
#ifndef COFFER_BACKUP_SET_WRITER_INTERNAL_H
#define COFFER_BACKUP_SET_WRITER_INTERNAL_H

#include "backup/pack_writer.h"
#include "backup/set_index.h"
#include "backup/set_writer.h"

struct set_writer {
	struct repo *repo;
	struct keyring *kr;
	struct set_manifest m;
	struct set_index_writer index;
	struct pack_writer *packs;
	struct throttle throttle;
	struct bytes_w block;
	uint64_t n_records, n_bytes;
	uint64_t n_settled;   /* n_bytes at the last checkpoint */
	bool has_checkpoint;
};

/* A writer for the set m->id, which goes on after the packs of m. */
int set_writer_make(struct repo *r, struct keyring *kr, const struct set_manifest *m, struct set_writer **ret);
/* Everything that was entered is in the repository, index blocks included, and stands in m. */
int set_writer_settle(struct set_writer *w);

#endif
