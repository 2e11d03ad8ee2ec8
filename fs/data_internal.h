/*
 * What fs/data*.c and fs/object*.c share among themselves. All with the engine lock held unless
 * said otherwise.
 *
 * The life of a slot, per file. "Private" is a block that no record names yet (its birth is 0):
 *
 *   free ──alloc──> taken ──enter──> private ──publish──> published ──commit──> durable
 *    ^                                  │ overwritten: the same slot again, or given up
 *    │                                  v                    │ overwritten, cut off or punched
 *    └── no reader may see it ─────── cooling                v
 *                                       ^                  freed ──publish──> awaiting ──commit──┐
 *                                       └── no snapshot holds it: its birth is after the newest ──┤
 *                                             dead: forgotten, found again by a survey <─────────┘
 *
 * So a slot is written again only after the commit that took its last name away is durable, and
 * after every reader that may have looked up its name before is done. Forgetting a slot is always
 * safe: it costs space until the next survey.
 *
 * Without the engine lock. Sealing, opening and the object's input and output are done without the
 * lock, between two halves that hold it:
 *
 *   read    look up entries and keys, be counted as a reader │ read, open │ be counted out
 *   write   be listed as a writer of the range, take fresh
 *           slots, counters and the key                      │ seal, write │ enter in the map
 *
 * - A reader's slots are not written while it is counted: what is given up meanwhile cools.
 * - A slot on its way (taken) stands in no map and no list but the writer's, so no commit names it;
 *   it is in the map only when its ciphertext was written and the descriptor marked dirty.
 * - Writers of overlapping ranges, and whatever else changes the content, wait for each other.
 * - Only who keeps the lock all the time rewrites a private block in its own slot: a commit that
 *   came in between would publish the old tag over the new ciphertext.
 * - What failed its tag without the lock is read once more with it before it is called damage.
 */
#ifndef COFFER_FS_DATA_INTERNAL_H
#define COFFER_FS_DATA_INTERNAL_H

#include "fs/engine.h"

/* Blocks sealed in one go and written with one call when their slots are contiguous: 1 MiB. */
#define DATA_CHUNK 256u
#define DATA_KEYS 32u
/* Requests at work without the lock; more wait. Each may keep a buffer of DATA_CHUNK blocks. */
#define DATA_IOS 8u
/* Sessions that one of them may meet at once. */
#define DATA_IO_KEYS 4u
/* Clean map groups that are kept in memory however small the cache: all that one request needs. */
#define DATA_GROUPS_MIN 64u
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

/* A change of blocks [first, end) on its way; lies on the writer's stack. */
struct data_writer {
	uint64_t first, end;
	bool moving;              /* the content stays as it is, and so do the births */
	const struct data_io *io; /* whose slots are taken; NULL: none */
	bool sync_failed;         /* a sync meanwhile, which may have been its ciphertext's */
	struct data_writer *next;
};

/* What one request needs without the lock: blocks, where they lie, their keys. */
struct data_io {
	bool busy;
	uint64_t first; /* block */
	size_t n;
	struct map_entry e[DATA_CHUNK];
	bool fresh[DATA_CHUNK];         /* writing: the slot was taken for this */
	uint8_t key_no[DATA_CHUNK];     /* reading: index of the block's key */
	struct suite_key *keys;         /* DATA_IO_KEYS in guarded memory, wiped after use */
	const uint8_t *session[DATA_IO_KEYS]; /* of each, within e */
	unsigned n_keys;
	uint8_t *bounce; /* writing: ciphertext on its way, DATA_CHUNK blocks; NULL until needed */
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

/* Blocks that the log does not have yet; runs may overlap (fs/data_unlogged.c). */
#define DATA_UNLOGGED_RUNS 16u
#define DATA_UNLOGGED_BLOCKS 32u
struct data_unlogged_run {
	uint64_t first, n;
};
struct data_unlogged {
	uint64_t cut; /* the shortest that the file was; UINT64_MAX: it was not cut */
	bool too_much;
	unsigned n_runs;
	uint64_t n_blocks;
	struct data_unlogged_run runs[DATA_UNLOGGED_RUNS];
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
	/* Given up while somebody may read: by the generation in which. Free once nobody of that
	 * generation or an earlier one reads. */
	struct data_runs cooling[2];
	unsigned n_readers[2];
	unsigned generation;         /* 0 or 1: of readers that come now */
	struct data_writer *writers; /* changes on their way */
	bool uncommitted;          /* published since the last commit */
	bool resync; /* a sync failed: every private block goes to a fresh slot before the next */
	uint64_t n_scattered;  /* blocks written or read by themselves since the last rewriting */
	uint64_t rewrite_next; /* block from which a rewriting goes on */
	bool surveyed;
	uint64_t n_forgotten; /* since the survey */
	struct data_survey *survey;
	struct data_unlogged unlogged;
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
	size_t n_lru, max_lru; /* bound of the clean ones, over all files */
	struct data_io io[DATA_IOS + 1]; /* the last for those who keep the lock */
	pthread_cond_t idle;             /* an io or a range became free */
};

/* --- data_map.c --- */
int data_cache_new(size_t max_bytes, struct data_cache **ret);
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
/* Whether the engine lock may be let go meanwhile. Whoever yields must have pinned the inode, and
 * look again at what it knew of it. */
enum data_lock { DATA_KEEP, DATA_YIELD };
/* Decrypts blocks first..first+n-1 into buf (at most DATA_CHUNK); holes are zeros. */
int data_fetch(struct volume *v, struct vinode *ino, uint64_t first, size_t n, uint8_t *buf,
	       enum data_lock lock);

/* --- data_io.c --- */
int data_ios_new(struct data_cache *c);
void data_ios_free(struct data_cache *c);
/* One that is nobody's, with a buffer if asked for. DATA_YIELD may wait, letting go of the lock.
 * -ENOMEM */
int data_io_get(struct volume *v, enum data_lock lock, bool buffer, struct data_io **ret);
/* Wipes its keys. */
void data_io_put(struct volume *v, struct data_io *io);
/* Adds the key of a session that lives as long as io does. -ENOBUFS when there are DATA_IO_KEYS
 * already; -EKEYREVOKED. */
int data_io_key(struct volume *v, struct data_io *io, uint64_t id, const uint8_t *session,
		uint8_t *ret_no);
/*
 * Waits until nobody changes any of the blocks and lists w as who does. -EIO when the file was
 * destroyed, -EROFS when it was frozen meanwhile; nothing is listed then.
 */
int data_writer_begin(struct volume *v, struct vinode *ino, uint64_t first, uint64_t end,
		      struct data_writer *w);
void data_writer_end(struct volume *v, struct vinode *ino, struct data_writer *w);
/* Waits until nobody changes the file's blocks. The same errors. */
int data_writers_wait(struct volume *v, struct vinode *ino);

/* --- data_store.c --- */
/*
 * Seals n blocks (at most DATA_CHUNK) and enters them in the map. On failure *ret_done blocks from
 * the first are in, the others are as before, except that a private block whose own slot could not
 * be rewritten may be lost. With w, which covers the blocks, the lock may be let go meanwhile.
 */
int data_store(struct volume *v, struct vinode *ino, uint64_t first, size_t n, const uint8_t *plain,
	       struct data_writer *w, size_t *ret_done);

/* --- data_rewrite.c --- */
/* n_runs transfers were needed where one would do. */
void data_scattered(struct vfile *f, size_t n_runs);

/* --- data_space.c --- */
/* Up to want contiguous slots; 0 means no memory for them. *ret_slot is the first. */
uint64_t data_space_alloc(struct vfile *f, uint64_t want, uint64_t *ret_slot);
/* A reader of the file comes; the generation to be told when it goes. */
unsigned data_space_reader(struct vfile *f);
void data_space_reader_gone(struct volume *v, struct vfile *f, unsigned generation);
/* Slots that no record names, or none that is durable or kept: free as soon as nobody reads them. */
void data_space_return(struct volume *v, struct vfile *f, uint64_t slot, uint64_t n);
/* The slot of an entry that leaves the map. */
void data_space_free(struct volume *v, struct vfile *f, const struct map_entry *e);
/* Slots that must not be used again in this mount. */
void data_space_forget(struct vfile *f, uint64_t n);
void data_space_published(struct vfile *f);
void data_space_committed(struct volume *v, struct vfile *f);
/* One step towards finding dead slots, when there seem to be many. */
void data_space_survey(struct volume *v, struct vfile *f);
void data_space_forget_all(struct vfile *f);

/* --- data_unlogged.c --- */
/* n blocks from the first got another content, or none. */
void data_unlogged_add(struct vfile *f, uint64_t first, uint64_t n);
void data_unlogged_cut(struct vfile *f, uint64_t size);
void data_unlogged_clear(struct vfile *f);

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
