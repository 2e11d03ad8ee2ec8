/*
 * What the files of the object cache share: descriptors and how they are held.
 */
#ifndef COFFER_FS_OBJECT_INTERNAL_H
#define COFFER_FS_OBJECT_INTERNAL_H

#include "fs/data_internal.h"

#define OBJECT_BUCKETS 256u

struct object_fd {
	uint64_t id, segment;
	int fd;
	int direct_fd;          /* O_DIRECT; -1 none. Fixed while pinned once it is open */
	unsigned n_pins;        /* in use without the lock */
	bool dirty;             /* written since the last sync */
	bool syncing;           /* a sync is under way; dirty is what came since */
	uint64_t pass;          /* of object_sync that looked at it last */
	bool dropped;           /* not in the table any more; closed by the last pin */
	int failed;             /* of a sync, not yet told */
	struct object_fd *next; /* in its bucket */
	struct object_fd *lru_prev, *lru_next;
};

struct object_cache {
	pthread_mutex_t lock; /* a leaf; guards everything here but data */
	struct object_fd *bucket[OBJECT_BUCKETS];
	struct object_fd *lru_head, *lru_tail; /* oldest at the head */
	size_t n, n_dirty;
	pthread_cond_t synced; /* one is no longer syncing */
	uint64_t n_passes;     /* of object_sync */
	bool no_direct; /* the medium refused O_DIRECT */
	uint64_t *dirs; /* id >> 12 of folders with unsynced entries */
	size_t n_dirs, cap_dirs;
	struct data_cache *data; /* under the engine lock */
};

/* --- object.c --- */
#define OBJECT_WRITE 1u  /* makes the segment when it is missing */
#define OBJECT_DIRECT 2u /* with direct_fd, where the medium has it */
/* Pins the descriptor of a segment. */
int object_acquire(struct volume *v, uint64_t id, uint64_t segment, unsigned how,
		   struct object_fd **ret);
/* Lets go of it; written says that a sync is owed. */
void object_release(struct volume *v, struct object_fd *e, bool written);
/* A direct transfer was refused: no other is tried. */
void object_refuse_direct(struct volume *v);

#endif
