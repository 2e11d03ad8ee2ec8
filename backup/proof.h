/*
 * What was proved about a repository, kept in it: notes signed by the volume that say when a drill
 * or a verification took place, on what, and with which result.
 *
 *   drills/ID    "coffer-drill/1": files of one set were restored and compared
 *   verified/ID  "coffer-verify/1": the records of sets were opened, all of them or a share drawn at random
 *
 * ID has the form of a set's. Neither names of files nor content stand in them; reading them needs
 * no key. Format: docs/format.md "Drills and verifications". Stateless.
 */
#ifndef COFFER_BACKUP_PROOF_H
#define COFFER_BACKUP_PROOF_H

#include "backup/set.h"

#define PROOF_BAD_MAX 159

enum proof_kind { PROOF_DRILL, PROOF_VERIFY };

struct proof {
	enum proof_kind kind;
	char id[SET_ID_MAX + 1];
	int64_t time;
	char set[SET_ID_MAX + 1]; /* the newest of those looked at */
	uint64_t n_sets;
	unsigned percent; /* of a verification: so many of a hundred records were drawn; 100: all. Of a drill 0 */
	uint64_t n_checked; /* files of a drill, records of a verification */
	uint64_t n_bytes;
	uint64_t n_live; /* of a drill: files compared with the live volume as well */
	uint64_t n_destroyed;
	uint64_t n_bad; /* 0: it passed */
	char first_bad[PROOF_BAD_MAX + 1];
};

/* Signed text; caller frees. -EINVAL for what a note cannot say. */
int proof_build(const struct proof *p, const uint8_t volume_id[16], const uint8_t sign_seed[32],
		char **ret_text);
/* -EUCLEAN, -EBADMSG, -EPROTONOSUPPORT. */
int proof_parse(const char *text, enum proof_kind kind, const uint8_t volume_id[16],
		const uint8_t sign_pk[32], struct proof *ret);
/* Gives it an id and puts it into the repository. */
int proof_put(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_seed[32],
	      struct proof *io, struct diag *d);
/* The newest one, or the newest that passed. What does not verify is passed over. -ENOENT: none. */
int proof_last(struct repo *r, enum proof_kind kind, bool passed, const uint8_t volume_id[16],
	       const uint8_t sign_pk[32], struct proof *ret);

#endif
