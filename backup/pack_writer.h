/*
 * From record bodies to packs that the repository holds and gives back: the pipeline of a set.
 *
 *   caller ──bodies──> queue ──> sealers: compress, seal ──> the pack being filled ──> putter: put, read back, open
 *                        └─ full: the caller seals, too             └─ taken when full; a second waits its turn
 *
 * Memory is bounded: QUEUE_BYTES of bodies and two packs. Records lie in a pack in the order in which they were sealed,
 * which is about the order of pack_writer_add. Threads are started when there is work for them: a small set is written
 * by its caller alone. Every pack is read back from the medium; its bytes must be those that were handed over, and every
 * record in it must open under its key. One caller; the rest is inside. Errors stay: the first one is what every later
 * call returns.
 */
#ifndef COFFER_BACKUP_PACK_WRITER_H
#define COFFER_BACKUP_PACK_WRITER_H

#include "backup/set_internal.h"
#include "backup/throttle.h"

struct pack_writer;

/* throttle: for what is put and read back; may be NULL. Both are borrowed. packs go on from those in m. */
int pack_writer_new(struct repo *r, struct keyring *kr, const struct set_manifest *m, struct throttle *throttle,
		    struct pack_writer **ret);
/* Copies body. Where the record lies is told by pack_writer_sealed. */
int pack_writer_add(struct pack_writer *p, const struct set_entry *e, uint64_t basis, const void *body, size_t len);
struct pack_sealed {
	struct set_entry e; /* with its place */
	size_t len;         /* of the body */
};
/* What was sealed since the last call; caller frees. What was destroyed meanwhile is simply not there. */
int pack_writer_sealed(struct pack_writer *p, struct pack_sealed **ret, size_t *ret_n);
/* Returns when everything added is sealed. */
int pack_writer_drain(struct pack_writer *p);
/* Bytes that are sealed already, into a pack. */
int pack_writer_raw(struct pack_writer *p, const void *bytes, size_t len, uint32_t *ret_pack, uint32_t *ret_off);
/* Returns when everything is in the repository and was read back and opened. */
int pack_writer_flush(struct pack_writer *p);
/* The packs so far; after a flush all of them are complete. */
const struct set_pack *pack_writer_packs(const struct pack_writer *p, size_t *ret_n);
void pack_writer_free(struct pack_writer *p);

/* Puts an object that must be new, reads it back and compares. ret says what it is. */
int pack_put_checked(struct repo *r, const char *name, const void *bytes, size_t len, struct throttle *throttle,
		     struct set_pack *ret);

#endif
