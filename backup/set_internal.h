/*
 * Inside sets: records, checksums and object names, shared by the writer and the readers.
 */
#ifndef COFFER_BACKUP_SET_INTERNAL_H
#define COFFER_BACKUP_SET_INTERNAL_H

#include "backup/set.h"

#define SET_RECORD_MAX (4u << 20) /* plaintext; xattrs and inline data fit as well */
#define SET_FRAME_MAX (SET_RECORD_MAX + (SET_RECORD_MAX >> 3) + 1024) /* as stored */
#define SET_INDEX_BLOCK_MAX (64u << 10) /* as stored, frame included */
#define SET_OBJECT_MAX 24
#define SET_NAME_LEN (SET_ID_MAX + SET_OBJECT_MAX + 8)

/* Whether a record is made from another file's content. */
static inline bool set_entry_is_delta(const struct set_entry *e)
{
	return e->kind == SET_DATA && (e->flags & SET_DELTA);
}

void set_checksum(const void *p, size_t len, uint8_t ret[SET_CHECKSUM_LEN]);
/* Streaming form, for packs. */
struct set_sum;
struct set_sum *set_sum_new(void);
void set_sum_update(struct set_sum *s, const void *p, size_t len);
void set_sum_final(struct set_sum *s, uint8_t ret[SET_CHECKSUM_LEN]);
void set_sum_free(struct set_sum *s);

/* "sets/ID/pack-00001" */
void set_object_pack(const char *id, uint32_t pack, char out[SET_NAME_LEN]);
void set_object(const char *id, const char *what, char out[SET_NAME_LEN]);

/* A frame; the length of the box is that of what follows it. */
void set_frame_put(uint8_t f[SET_FRAME_LEN], const struct set_entry *e, uint64_t basis, uint32_t box_len);

/*
 * Compresses, pads, seals and frames one record of kind NODE, NAME, DATA or SIGN; the stored bytes are
 * appended to out, and e->len and e->sum are set. basis as in docs/format.md. -EKEYREVOKED when the
 * file is destroyed, -E2BIG.
 */
int set_record_seal(struct keyring *kr, struct set_entry *e, uint64_t basis, const void *body,
		    size_t len, struct bytes_w *out);
/* The same for many records, by one thread at a time: keeps a compressor. NULL: out of memory. */
struct set_sealer;
struct set_sealer *set_sealer_new(void);
void set_sealer_free(struct set_sealer *s);
int set_sealer_record(struct set_sealer *s, struct keyring *kr, struct set_entry *e, uint64_t basis,
		      const void *body, size_t len, struct bytes_w *out);
/* Whether a record opens under the key that its frame names (at least a frame's bytes); what was in its
 * box, still compressed, is appended. -EKEYREVOKED, -EBADMSG. */
int set_record_authenticate(struct keyring *kr, const uint8_t *stored, size_t len, struct bytes_w *out);
/* The two halves of set_record_read, for who has the bytes: whether they are worth reading (0, -EKEYREVOKED,
 * -EBADMSG), and opening e->len of them. */
int set_record_judge(struct keyring *kr, const struct set_manifest *m, const struct set_entry *e);
int set_record_take(struct keyring *kr, const struct set_entry *e, const void *stored, struct bytes_w *out);
/* The most bytes that a body of len takes as stored. */
size_t set_record_room(size_t len);
/* Checks and opens stored bytes (frame and box) that e describes. */
int set_record_open(struct keyring *kr, const struct set_entry *e, const void *stored, size_t len,
		    struct bytes_w *out);

bool set_id_valid(const char *id);
/* The part of an id that is its time: "20261128T091500Z". */
void set_id_stamp(int64_t unix_seconds, char out[SET_ID_MAX + 1]);
/* A new id: that stamp and random digits. */
void set_id_new(int64_t unix_seconds, char out[SET_ID_MAX + 1]);

/*
 * What a repository's answer means for a set: an object that is not there, too short, not a file or
 * not readable is damage of the set (-EBADMSG), and a restore or a scrub goes on with the rest.
 */
int set_damage(int err);

/*
 * A run announces its set with the object "unfinished" and takes that away last, so that what a
 * killed run leaves can be told from what a prune is about to remove. set_remove deletes a whole
 * set, the manifest first: from then on nobody counts on the rest.
 */
#define SET_UNFINISHED "unfinished"
int set_remove(struct repo *r, const char *id);
/* Removes what killed runs left behind more than a day ago; what cannot be removed now is left for
 * the next time. */
void set_remove_unfinished(struct repo *r);

/* The table of packs: an object of its own, since a signed note holds only some thousand lines. */
int set_pack_table_encode(const struct set_manifest *m, struct bytes_w *out);
/* Fills m->packs from the object that m->pack_table describes. -EBADMSG. */
int set_pack_table_read(struct repo *r, struct set_manifest *m);
/* Marks a set of which something is lost (repair.h): it is no ground to build on, and counts nowhere. */
#define SET_DAMAGED "damaged"
/* Every object of the set is there with its length, and it is not marked. -EBADMSG. Says nothing about content. */
int set_objects_present(struct repo *r, const struct set_manifest *m);

#endif
