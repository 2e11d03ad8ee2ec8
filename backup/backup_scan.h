/* From the changes of a snapshot to the records of a set. */
#ifndef COFFER_BACKUP_BACKUP_SCAN_H
#define COFFER_BACKUP_BACKUP_SCAN_H

#include "backup/backup.h"
#include "backup/set_writer.h"

/*
 * Everything newer than parent, a set of the catalogue (NULL: everything), goes to w, or what of it comes
 * after a checkpoint (from; NULL: all). Now and then w gets a checkpoint; with the first one the snapshot is
 * kept over restarts. What is destroyed while this runs is left out. DIAG_INTERRUPTED when in->progress says so, DIAG_STORE_DAMAGED when the
 * volume does not give what the snapshot holds, else what the repository answers.
 */
int backup_scan(const struct backup_request *in, struct volume_snapshot *snap,
		const struct set_catalog *catalog, const struct set_manifest *parent,
		const struct set_progress *from, struct set_writer *w, struct diag *d);

#endif
