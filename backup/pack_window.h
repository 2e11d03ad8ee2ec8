/*
 * Small records read many at a time: windows onto packs.
 *
 * Neighbours in a tree are mostly neighbours in a pack; reading WINDOW bytes for one serves many others, which matters
 * in a folder (three system calls a record) and more so over a network. Nothing is trusted for having been read: who
 * uses the bytes checks them. At most PACK_WINDOWS windows are held. For one thread at a time.
 */
#ifndef COFFER_BACKUP_PACK_WINDOW_H
#define COFFER_BACKUP_PACK_WINDOW_H

#include "backup/set_internal.h"

struct pack_windows;
struct pack_windows *pack_windows_new(void);
void pack_windows_free(struct pack_windows *w);
/* Whether the record is small enough to be worth it. */
bool pack_windows_cover(const struct set_entry *e);
/* Its bytes, e->len of them, until the next call. -EBADMSG when the pack lacks them. */
int pack_windows_get(struct pack_windows *w, struct repo *r, const struct set_manifest *m, const struct set_entry *e,
		     const uint8_t **ret);

#endif
