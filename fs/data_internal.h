/*
 * What fs/data*.c and fs/object*.c share among themselves. All with the engine lock held unless
 * said otherwise.
 *
 * The life of a slot, per file. "Private" is a block that no record names yet (its birth is 0):
 *
 *   free ──alloc──> private ──publish──> published ──commit──> durable
 *    ^  ^              │ overwritten: the same slot again, or freed at once
 *    │  └──────────────┘                  │ overwritten, cut off or punched
 *    │                                    v
 *    │                                  freed ──publish──> awaiting ──commit──┐
 *    └──── no snapshot holds it: its birth is after the newest one ───────────┤
 *                          dead: forgotten, found again by a survey <─────────┘
 *
 * So a slot is written again only after the commit that took its last name away is durable.
 * Forgetting a slot is always safe: it costs space until the next survey.
 */
#ifndef COFFER_FS_DATA_INTERNAL_H
#define COFFER_FS_DATA_INTERNAL_H

#include "fs/engine.h"

/* Blocks sealed in one go and written with one call when their slots are contiguous: 1 MiB. */
#define DATA_CHUNK 256u
#define DATA_KEYS 32u
/* Clean map groups kept in memory, over all files. */
#define DATA_GROUPS_MAX 8192u
#define DATA_AD_LEN 32
/* Blocks in a session before a new one is drawn. */
#define DATA_SESSION_BLOCKS ((uint64_t)1 << 31)

struct data_run {
	uint64_t slot, n;
	uint64_t birth; /* of every block that lay there */
};

struct data_runs {
	struct data_run *v;
	size_t n, cap;
	uint64_t n_slots; /* in all runs */
};

/* A map group in memory. m is NULL while it is all holes. */
struct data_group {
	uint64_t no;
	struct vfile *file;
	struct map_group *m;
	bool dirty;  /* differs from the record; on no list, never evicted */
	bool stored; /* has a record, so all holes means a tombstone */
	struct data_group *lru_prev, *lru_next;
};

/* A walk over the file's map records that finds dead slots (fs/data_space.c). */
struct data_survey {
	uint64_t limit;      /* slots below are judged */
	uint64_t next_group; /* to be looked at */
	uint8_t *named;      /* a bit for each slot */
	bool forgot;         /* slots died meanwhile */
};

struct vfile {
	struct data_cache *cache;
	uint64_t id;
	struct data_group **groups; /* sorted by number */
	size_t n_groups, cap_groups, n_dirty;
	uint64_t n_slots; /* high-water mark */
	uint64_t n_mapped;
	struct data_runs free;
	bool free_unsorted;
	uint64_t no_fit;           /* no free run is this long */
	struct data_runs freed;    /* by changes not yet published */
	struct data_runs awaiting; /* by changes published, not yet durable */
	bool uncommitted;          /* published since the last commit */
	bool resync; /* a sync failed: every private block goes to a fresh slot before the next */
	bool surveyed;
	uint64_t n_forgotten; /* since the survey */
	struct data_survey *survey;
};

struct data_key {
	uint64_t id;
	uint8_t session[MAP_SESSION_LEN];
	uint64_t used; /* clock value, 0 empty */
};

/* What all files of a volume share. */
struct data_cache {
	struct suite_key *keys; /* DATA_KEYS, guarded memory */
	struct data_key key_of[DATA_KEYS];
	uint64_t clock;
	struct data_group *lru_head, *lru_tail; /* clean groups, oldest at the head */
	size_t n_lru;
	uint8_t *bounce; /* ciphertext on its way to an object: DATA_CHUNK blocks */
};

/* --- data_map.c --- */
int data_cache_new(struct data_cache **ret);
void data_cache_free(struct data_cache *c);
/* The prepared key; valid until the next call. -EKEYREVOKED. */
int data_key(struct volume *v, uint64_t id, const uint8_t session[MAP_SESSION_LEN],
	     const struct suite_key **ret);
void data_keys_drop(struct data_cache *c, uint64_t id);
void data_ad(struct volume *v, uint64_t id, uint64_t block, uint8_t ret[DATA_AD_LEN]);
/* The group, from memory or the store. Valid until the next call, and as long as it is dirty. -EIO
 * (reported). */
int data_group_get(struct volume *v, struct vinode *ino, uint64_t no, struct data_group **ret);
/* The same with entries to write to, and dirty from now on. */
int data_group_edit(struct volume *v, struct vinode *ino, uint64_t no, struct data_group **ret);
/* Takes it from the dirty ones: its record was put. */
void data_group_clean(struct data_group *g);
/* Copies n entries from block first. */
int data_entries(struct volume *v, struct vinode *ino, uint64_t first, size_t n,
		 struct map_entry *ret);
/* Numbers of the groups in [from, to) that have a record or are in memory, rising; at most max.
 * Caller frees. */
int data_groups_in(struct volume *v, struct vinode *ino, uint64_t from, uint64_t to, size_t max,
		   uint64_t **ret, size_t *ret_n);
struct vfile *data_file_new(struct volume *v, uint64_t id);

/* --- data.c --- */
/* Content is in the inode rather than in blocks. */
bool data_inline(const struct vinode *ino);
/* Decrypts blocks first..first+n-1 into buf (at most DATA_CHUNK); holes are zeros. */
int data_fetch(struct volume *v, struct vinode *ino, uint64_t first, size_t n, uint8_t *buf);

/* --- data_write.c --- */
/*
 * Seals n blocks (at most DATA_CHUNK) and enters them in the map. On failure *ret_done blocks from
 * the first are in, the others are as before, except that a private block whose own slot could not
 * be rewritten may be lost.
 */
int data_store(struct volume *v, struct vinode *ino, uint64_t first, size_t n, const uint8_t *plain,
	       size_t *ret_done);

/* --- data_space.c --- */
/* Up to want contiguous slots; 0 means no memory for them. *ret_slot is the first. */
uint64_t data_space_alloc(struct vfile *f, uint64_t want, uint64_t *ret_slot);
/* Slots that were never named by a record. */
void data_space_return(struct vfile *f, uint64_t slot, uint64_t n);
/* The slot of an entry that leaves the map. */
void data_space_free(struct vfile *f, const struct map_entry *e);
/* Slots that must not be used again in this mount. */
void data_space_forget(struct vfile *f, uint64_t n);
void data_space_published(struct vfile *f);
void data_space_committed(struct volume *v, struct vfile *f);
/* One step towards finding dead slots, when there seem to be many. */
void data_space_survey(struct volume *v, struct vfile *f);
void data_space_forget_all(struct vfile *f);

/* --- object.c: descriptors; any thread, its lock is a leaf --- */
struct object_fd;
#define OBJECT_SEGMENT_SLOTS ((uint64_t)1 << 24)
#define OBJECT_DIR_LEN 32
#define OBJECT_NAME_LEN 64
/* Folder of an object below objects/, and the path of a segment. */
void object_dir(uint64_t id, char ret[OBJECT_DIR_LEN]);
void object_path(uint64_t id, uint64_t segment, char ret[OBJECT_NAME_LEN]);
struct data_cache *object_data(struct object_cache *c);
/* A segment that was written and not yet synced, opened anew; -1 when there is none. */
int object_dirty_fd(struct volume *v, uint64_t id);
/* Closes what is open of it, unsynced or not. */
void object_drop(struct volume *v, uint64_t id);
/* Its folder lost or won an entry: synced at the next object_sync of anything in it. */
int object_note_dir(struct volume *v, uint64_t id);

#endif
