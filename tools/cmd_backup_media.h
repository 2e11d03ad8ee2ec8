/* What export, import and the register of media share. */
#ifndef COFFER_TOOLS_CMD_BACKUP_MEDIA_H
#define COFFER_TOOLS_CMD_BACKUP_MEDIA_H

#include "backup/medium.h"
#include "backup/set_copy.h"
#include "tools/cmd_backup_life.h"
#include "tools/recorder.h"

/* Enters m (id, time and by are filled in) into the register of r, which coffer.conf calls repository (NULL: the
 * first). *ret_note is the signed entry, the caller's. */
int media_register(struct recorder *rec, struct repo *r, const char *repository, struct medium *m, char **ret_note,
		   struct diag *d);
/* What the register says of a label. DIAG_NOT_FOUND. Release with medium_free. */
int media_find(const struct located_repo *lr, const char *label, struct medium *ret, struct diag *d);

/* Sets of c that are named, or the latest without a name, or all of them; and everything they build on, oldest first.
 * Caller frees. A set that is named but lacks its ground is DIAG_SET_MISSING or DIAG_SET_DAMAGED. */
int media_choose(const struct set_catalog *c, const struct life_args *a, bool all, size_t **ret, size_t *ret_n,
		 struct diag *d);
/* Enough room in a folder for n bytes more. DIAG_NO_SPACE. A repository that is no folder has it. */
int media_room(const char *url, uint64_t n, struct diag *d);
/* A progress line. */
int media_progress(void *arg, uint64_t n_objects, uint64_t n_bytes);

#endif
