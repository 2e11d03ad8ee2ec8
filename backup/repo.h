/*
 * Repositories: where sets live. One table of operations per back end: a folder, or a
 * bucket of S3-compatible object storage.
 *
 * Objects have names of the form "sets/ID/manifest" ([A-Za-z0-9._-] components, no leading dot) and
 * are written whole and once. repo_put is durable when it returns and never leaves a part under the
 * name. A repository holds "coffer-repository", a note signed by the volume that says whose it is.
 * Thread-safe.
 */
#ifndef COFFER_BACKUP_REPO_H
#define COFFER_BACKUP_REPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/diag.h"

struct repo;

/* Makes an empty repository for the volume; an existing one of the same volume is success.
 * DIAG_REPOSITORY_OTHER. */
int repo_create(const char *url, const uint8_t volume_id[16], const uint8_t sign_seed[32],
		struct diag *d);
/*
 * Makes a repository of the same volume in a folder, without keys: its mark is a copy of from's. The folder is new,
 * empty, or a repository already (whose is for repo_open to check). DIAG_EXISTS when anything else lies in it.
 */
int repo_create_copy(const char *path, struct repo *from, struct diag *d);
/* DIAG_NO_REPOSITORY, DIAG_REPOSITORY_OTHER (checked against volume_id and sign_pk). */
int repo_open(const char *url, const uint8_t volume_id[16], const uint8_t sign_pk[32],
	      struct repo **ret, struct diag *d);
void repo_close(struct repo *r);
const char *repo_url(const struct repo *r);

int repo_put(struct repo *r, const char *name, const void *p, size_t len);
/* -EEXIST when there: for what must not be overwritten. */
int repo_put_new(struct repo *r, const char *name, const void *p, size_t len);
/* Whole object, at most max bytes; caller frees. -ENOENT, -EFBIG. */
int repo_get(struct repo *r, const char *name, size_t max, uint8_t **ret, size_t *ret_len);
/* The same for a note: at most NOTE_TEXT_MAX bytes; -EUCLEAN when a NUL stands in it. */
int repo_get_note(struct repo *r, const char *name, char **ret);
/* Exactly len bytes at off; -ENODATA when the object is shorter. */
int repo_read(struct repo *r, const char *name, uint64_t off, void *p, size_t len);
int repo_size(struct repo *r, const char *name, uint64_t *ret);
int repo_delete(struct repo *r, const char *name); /* -ENOENT is success */
/* The next path component of every object under prefix ("sets/"), sorted; NULL-terminated, one
 * allocation each; repo_list_free. */
int repo_list(struct repo *r, const char *prefix, char ***ret, size_t *ret_n);
void repo_list_free(char **names, size_t n);

#endif
