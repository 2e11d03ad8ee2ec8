/*
 * Sets as objects, without keys: enumerating what a set consists of, checking one object against what the
 * signed manifest says of it, and copying a set from one repository to another.
 *
 * A copy is verified before it is put (BLAKE2b-256 against manifest and table of packs) and read back
 * afterwards; the manifest comes last, so a copy that was interrupted is no set, and is resumed by copying
 * again: what is there and good is passed over. Nothing is opened. Stateless.
 */
#ifndef COFFER_BACKUP_SET_COPY_H
#define COFFER_BACKUP_SET_COPY_H

#include "backup/set.h"

/* "index", "packs", and packs "pack-00000" .. of a set. Stops at the first non-zero answer. */
typedef int (*set_object_fn)(void *arg, const char *what, const struct set_pack *p);
int set_each_object(const struct set_manifest *m, set_object_fn fn, void *arg);

/*
 * The object sets/ID/what as it should be: caller frees *ret. -EBADMSG when it lacks or is not what p
 * says; other errors are the repository's.
 */
int set_object_fetch(struct repo *r, const char *id, const char *what, const struct set_pack *p,
		     uint8_t **ret);
/* Replaces it, and reads it back. p must describe the bytes. */
int set_object_replace(struct repo *r, const char *id, const char *what, const struct set_pack *p,
		       const uint8_t *bytes);

/* The manifest's text, verified and of that very set; caller frees. -EBADMSG, -EUCLEAN, -ENOENT. */
int set_manifest_fetch(struct repo *r, const char *id, const uint8_t volume_id[16],
		       const uint8_t sign_pk[32], char **ret_text, struct set_manifest *ret);

struct set_copying {
	struct repo *from, *to;
	const uint8_t *volume_id, *sign_pk;
	/* After each object; non-zero stops with -EINTR. May be NULL. */
	int (*progress)(void *arg, uint64_t n_objects, uint64_t n_bytes);
	void *arg;
	uint64_t n_objects, n_bytes; /* copied, of what was not there */
};
/*
 * One set, m of `from`. -EBADMSG (DIAG_SET_DAMAGED) when `from` lacks something of it or holds it damaged:
 * then there is no set in `to`. -EEXIST (DIAG_EXISTS) when `to` holds another manifest under the id.
 */
int set_copy(struct set_copying *c, const struct set_manifest *m, struct diag *d);
/* Bytes that a copy would put, by presence and length alone. */
int set_copy_missing(struct repo *to, const struct set_manifest *m, uint64_t *ret);
/*
 * Charters and announcements that `to` lacks, each a note that verifies as this volume's; nothing there is
 * replaced. What does not verify is passed over and counted.
 */
int set_copy_notes(struct set_copying *c, const char *prefix, size_t *ret_n_bad, struct diag *d);

#endif
