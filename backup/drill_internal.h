/* Inside a drill: drawing (drill.c), the scratch folder (drill_scratch.c), the live volume
 * (drill_live.c). */
#ifndef COFFER_BACKUP_DRILL_INTERNAL_H
#define COFFER_BACKUP_DRILL_INTERNAL_H

#include "backup/content.h"
#include "backup/drill.h"
#include "backup/restore_internal.h"

struct drill_look {
	uint64_t id;
	bool same, changed;
};
struct drill_drawn {
	uint64_t tag;
	struct view_entry name;
};
struct drill {
	const struct drill_request *in;
	struct drill_result res;
	struct diag *d;
	struct setview *view, *second;
	/* A sample: one name of each of the files whose tags come first, and of those that follow the last
	 * one drawn. A tag is a keyed hash of the id, so their order is a random one. */
	struct drill_drawn *pool; /* by tag */
	size_t n_pool, cap_pool;
	uint8_t tag_key[KDF_KEY_LEN];
	uint64_t past; /* tags up to here were drawn */
	bool any_past;
	char scratch[PATH_MAX];
	int scratch_fd;
	struct restore *restore;
	/* files compared with the live volume; whether that counts is known at the end */
	struct drill_look *looks;
	size_t n_looks;
};

void drill_bad(struct drill *dr, uint64_t id, const char *what);

int drill_scratch_begin(struct drill *dr);
void drill_scratch_end(struct drill *dr);
/* Restores one file, digests it and removes it. -EBADMSG, -EKEYREVOKED; else the target's error. */
int drill_scratch_restore(struct drill *dr, uint64_t id, const struct set_node *n,
			  uint64_t *ret_size, uint8_t ret[CONTENT_DIGEST_LEN]);

/* Compares with the live file, unless it is plain that it changed. -ENOMEM. */
int drill_live_look(struct drill *dr, uint64_t id, const struct set_node *n,
		    const uint8_t digest[CONTENT_DIGEST_LEN]);
/*
 * Which of those looks count: files that nothing touched between the set's snapshot and one taken
 * now, after all of them were read. Whatever keeps that from being known lets none count.
 */
int drill_live_settle(struct drill *dr);

#endif
