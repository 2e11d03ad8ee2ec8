/*
 * Writing a set: records into packs, packs into the repository, the index beside them, the manifest
 * last.
 *
 * One writer, one calling thread; sealing and putting go on beside it (pack_writer.h), so an error may be
 * told by a later call than the one it belongs to. Each pack is read back, compared and opened after it was
 * put. What is destroyed meanwhile is simply not in the set. Until set_writer_finish has returned 0 the set does not exist;
 * set_writer_abort removes what was put.
 */
#ifndef COFFER_BACKUP_SET_WRITER_H
#define COFFER_BACKUP_SET_WRITER_H

#include "backup/set.h"

struct set_writer;

/* A new set id for now. m is copied as the manifest's first state; its counts are filled in, n_bytes is added to. */
int set_writer_new(struct repo *r, struct keyring *kr, const struct set_manifest *m,
		   struct set_writer **ret);
/* Has a NODE, NAME, DATA or SIGN record sealed and entered. body is copied. basis: docs/format.md "Sets". */
int set_writer_record(struct set_writer *w, const struct set_entry *e, uint64_t basis, const void *body,
		      size_t len);
/* A record as another set of the volume has it, e->len bytes, opened by nobody: e gets its new place. */
int set_writer_stored(struct set_writer *w, struct set_entry *e, const uint8_t *stored);
/* GONE and EDGE: index only. */
int set_writer_entry(struct set_writer *w, const struct set_entry *e);
void set_writer_figures(const struct set_writer *w, uint64_t *ret_records, uint64_t *ret_bytes);
/* Last pack, index, manifest. *ret is the caller's. After a failure call set_writer_abort. */
int set_writer_finish(struct set_writer *w, const uint8_t sign_seed[32], struct set_manifest *ret);
void set_writer_abort(struct set_writer *w);
/* Leaves in the repository what is there: a set that was not finished can be gone on with when it had a
 * checkpoint, and is removed by a later run else. */
void set_writer_free(struct set_writer *w);
/* Bytes per second that are put and read back; 0: as fast as it goes. Before the first record. */
void set_writer_limit(struct set_writer *w, uint64_t bytes_per_second);
const char *set_writer_id(const struct set_writer *w);

/* --- going on after an interruption (set_progress.c) --- */

/* How far a run had come: what comes before this place of the scan is in the set. */
struct set_progress {
	uint64_t snap_id, snap_txn;
	uint64_t id, group; /* as in volume_snapshot_scan_from */
};
/* Whether so much was written since the last checkpoint that another is worth its price. */
bool set_writer_checkpoint_due(const struct set_writer *w);
/* Waits until everything entered is in the repository and verified, and notes that there, sealed. */
int set_writer_checkpoint(struct set_writer *w, const struct set_progress *p);
bool set_writer_has_checkpoint(const struct set_writer *w);
/*
 * What a run left of a set, from its note: the manifest's state, and how far it had come. ret->packs is the
 * caller's (set_manifest_free). -ENOENT: no set is unfinished under that id, or it had no checkpoint;
 * -EBADMSG: the note, or a pack that it counts on, is not as it was.
 */
int set_progress_load(struct repo *r, struct keyring *kr, const char *id, struct set_manifest *ret,
		      struct set_progress *ret_p);
/* Goes on with that set: packs behind the checkpoint are removed. Errors as above. */
int set_writer_resume(struct repo *r, struct keyring *kr, const char *id, struct set_writer **ret);

#endif
