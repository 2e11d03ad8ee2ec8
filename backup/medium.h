/*
 * Offline media: which label carries which sets, where it is kept, since when, by whom.
 *
 *   media/ID   "coffer-medium/1" in the repository: one entry of the register, never replaced
 *   medium     on the medium itself, a repository like any: the newest entry about it
 *
 * Entries are signed by the volume. Of one label the entry with the highest number counts; one that says "forgotten" ends
 * it. Reading needs no key. Format: docs/format.md "Offline media". Stateless.
 */
#ifndef COFFER_BACKUP_MEDIUM_H
#define COFFER_BACKUP_MEDIUM_H

#include "backup/set.h"
#include "core/conf.h"

#define MEDIUM_OBJECT "medium"
#define MEDIUM_BY_MAX 127
#define MEDIUM_REASON_MAX 512
#define MEDIUM_SETS_MAX 4096

struct medium {
	char id[SET_ID_MAX + 1]; /* of the entry */
	int64_t time;
	uint64_t number; /* of the entry among those of its label, from 1 */
	char label[CONF_NAME_MAX + 1];
	enum conf_kept kept; /* department or platform */
	bool forgotten;
	char by[MEDIUM_BY_MAX + 1];
	char reason[MEDIUM_REASON_MAX + 1]; /* of a forgotten one */
	uint64_t n_bytes;
	uint8_t digest[32]; /* medium_digest of its sets */
	size_t n_sets;
	char (*sets)[SET_ID_MAX + 1]; /* ascending; medium_free */
};
void medium_free(struct medium *m);
bool medium_label_valid(const char *label);
bool medium_has_set(const struct medium *m, const char *id);

/* Signed text; caller frees. -EINVAL for what a note cannot say. */
int medium_build(const struct medium *m, const uint8_t volume_id[16], const uint8_t sign_seed[32],
		 char **ret_text);
/* *ret is released with medium_free. -EUCLEAN, -EBADMSG, -EPROTONOSUPPORT. */
int medium_parse(const char *text, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		 struct medium *ret);
/* BLAKE2b-256 over the BLAKE2b-256 of each set's index and table of packs, in the order given: what the
 * manifests vouch for. */
void medium_digest(const struct set_manifest *const *sets, size_t n, uint8_t ret[32]);

/* Gives it an id and the next number of its label, and puts it into the register; ret_text (may be NULL) is the note, the caller's. */
int medium_put(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_seed[32],
	       struct medium *io, char **ret_text, struct diag *d);
/* The newest entry of each label, by label; entries that do not verify are passed over and counted.
 * medium_list_free. */
int medium_list(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		struct medium **ret, size_t *ret_n, size_t *ret_n_bad, struct diag *d);
void medium_list_free(struct medium *m, size_t n);
/* What a medium says of itself. -ENOENT: it says nothing. -EBADMSG and -EUCLEAN: nothing that verifies. */
int medium_read(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		struct medium *ret);

#endif
