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
void set_writer_free(struct set_writer *w);

#endif
