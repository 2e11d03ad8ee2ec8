/*
 * Inside the keyring: the opened object with its locks, the key state in memory, and its files.
 *
 * Locks, in the order in which they are taken:
 *   change       one puncture, escrow sync or change of custody at a time; held while escrows are
 *                written
 *   epoch        shared by users of derived keys, exclusive for a puncture
 *   anchor_lock  the anchor and what is known of it; held across its write
 *   tree_lock    key state and file-key cache
 * keyring_file_key takes tree_lock alone, so it may be called inside a bracket while a puncture
 * waits.
 */
#ifndef COFFER_CORE_KEYRING_INTERNAL_H
#define COFFER_CORE_KEYRING_INTERNAL_H

#include <pthread.h>

#include "core/cleanup.h"
#include "core/escrow.h"
#include "core/keyring.h"
#include "core/keytree.h"

#define KEYRING_N_TREES 2
#define KEYRING_GONE_MAX (1u << 20)
#define KEYRING_KEYS_DIR "keys"

/* --- key state in memory (keyring_state.c) --- */

/* An inclusive id range, and the order under which it was destroyed. */
struct keyring_gone {
	uint64_t first, last;
	char order[KEYRING_ORDER_REF_MAX + 1];
};

/* Sorted by first, disjoint. */
struct keyring_gone_list {
	struct keyring_gone *v;
	size_t n, cap;
};

struct keyring_state {
	uint64_t generation;
	uint8_t volume_id[HEADER_ID_LEN];
	uint8_t suite;
	int64_t created;
	struct secret *fixed; /* signing seed, then the epoch keys */
	size_t n_escrows;
	char *escrows[KEYRING_ESCROWS_MAX];
	size_t n_recipients;
	struct identity_card recipients[ESCROW_RECIPIENTS_MAX];
	struct keyring_gone_list gone[KEYRING_N_TREES];
	struct keytree *trees[KEYRING_N_TREES];
};

/* Room for fixed and no trees; NULL without memory. */
struct keyring_state *keyring_state_new(void);
struct keyring_state *keyring_state_clone(const struct keyring_state *st);
void keyring_state_free(struct keyring_state *st);
CLEANUP_DEFINE(keyring_state, struct keyring_state *, keyring_state_free)
#define CLEANUP_KEYRING_STATE __attribute__((cleanup(cleanup_keyring_state)))

uint8_t *keyring_state_seed(const struct keyring_state *st);
uint8_t *keyring_state_epoch(const struct keyring_state *st, enum keyring_epoch which);
/*
 * Registers an escrow folder (absolute). -ENOSPC, -ENAMETOOLONG, -ENOMEM; one that is there already
 * is success.
 */
int keyring_state_add_escrow(struct keyring_state *st, const char *dir);
/* -ENOENT when it is not registered. */
int keyring_state_remove_escrow(struct keyring_state *st, const char *dir);
bool keyring_state_has_escrow(const struct keyring_state *st, const char *dir);
/* What of first..last no order is noted for yet is noted for this one. -ENOMEM, -ENOSPC. */
int keyring_state_add_gone(struct keyring_state *st, enum keyring_tree tree, uint64_t first,
			   uint64_t last, const char *order);
/* NULL when no order is noted. */
const struct keyring_gone *keyring_state_find_gone(const struct keyring_state *st,
						   enum keyring_tree tree, uint64_t id);

/* Into guarded memory; the caller frees with secret_slab_free. -ENOMEM. */
int keyring_state_encode(const struct keyring_state *st, uint8_t **ret, size_t *ret_len);
/* -EUCLEAN, -EPROTONOSUPPORT, -ENOMEM. */
int keyring_state_decode(const uint8_t *in, size_t len, struct keyring_state **ret);

/* --- key state files (keyring_file.c); keys_fd is STORE/keys --- */

/* Writes both copies, syncs, reads back past the page cache and compares. */
int keyring_file_write(int keys_fd, const struct keyring_state *st, const uint8_t tk[KDF_KEY_LEN]);
/*
 * Loads copy .a, else .b; *ret_bad has a bit for each copy that did not open. The first copy's
 * error.
 */
int keyring_file_load(int keys_fd, const uint8_t volume_id[HEADER_ID_LEN], uint64_t generation,
		      const uint8_t tk[KDF_KEY_LEN], struct keyring_state **ret, unsigned *ret_bad);
/* Writes the copies in the mask anew. */
int keyring_file_mend(int keys_fd, const struct keyring_state *st, const uint8_t tk[KDF_KEY_LEN],
		      unsigned bad);
/* Overwrites and unlinks both copies of one generation. */
int keyring_file_remove(int keys_fd, uint64_t generation);
/* The same for every generation but one, and for leavings of interrupted writes. */
int keyring_file_discard_others(int keys_fd, uint64_t keep);
/* Whether a copy of that generation is there. */
bool keyring_file_there(int keys_fd, uint64_t generation);
/* The highest generation that has a file; 0 when there is none. */
int keyring_file_newest(int keys_fd, uint64_t *ret);

/* --- the opened keyring --- */

struct keyring_cache;

struct keyring {
	/* Immutable once opened. */
	unsigned flags;
	int store_fd, keys_fd;
	char *store;
	bool used_backup;
	char slot_label[HEADER_NAME_MAX + 1]; /* of the slot that opened it */
	const struct suite *suite;
	struct secret *seed;

	pthread_mutex_t change; /* guards vk, and in header the slots and the commitment to vk */
	struct header *header;
	struct secret *vk;
	pthread_rwlock_t epoch;

	pthread_mutex_t anchor_lock; /* guards anchor, at, unfinished, adrift */
	struct anchor *anchor;
	struct anchor_state *at; /* guarded memory: what the anchor holds */
	bool unfinished;         /* not known to hold at in both slots: bring it there first */
	/*
	 * Nobody can say which header, and so which VK, a power cut would leave: the anchor is not
	 * written until it is opened again.
	 */
	bool adrift;

	pthread_mutex_t tree_lock; /* guards state, cache */
	struct keyring_state *state;
	struct keyring_cache *cache;
};

/* An empty keyring with its locks and cache; NULL without memory. */
struct keyring *keyring_alloc(void);
/* Wipes every cached key; tree_lock held. */
void keyring_cache_drop(struct keyring *kr);
/* This thread is inside a bracket of kr. */
bool keyring_in_use_here(const struct keyring *kr);

/* --- keyring_escrow.c --- */

enum keyring_escrow_which { KEYRING_ESCROW_ALL, KEYRING_ESCROW_STALE };
/*
 * Rewrites escrows, all or those that lack the current generation; change held, or kr not shared
 * yet. Returns how many are pending.
 */
size_t keyring_escrow_rewrite(struct keyring *kr, enum keyring_escrow_which which);
/*
 * A registered escrow that holds a later generation than this or, when tag is given, this one under
 * another tree key; NULL when there is none.
 */
const char *keyring_escrow_newer(const struct keyring_state *st, uint64_t generation,
				 const uint8_t *tag);

/* --- keyring_puncture.c: all of it with anchor_lock and tree_lock held --- */

/* What makes a copy of the present state the next one. */
typedef int (*keyring_change_fn)(struct keyring_state *next, const void *arg);
/*
 * Steps 1 to 3 of a puncture for any change of the state; change and epoch held too. After a
 * failure in step 1 nothing has changed, after a later one memory has gone on. -EROFS when adrift.
 */
int keyring_advance(struct keyring *kr, keyring_change_fn fn, const void *arg, struct diag *d);
/* The state of the next generation, in memory. */
int keyring_next_make(const struct keyring *kr, keyring_change_fn fn, const void *arg,
		      struct keyring_state **ret);
/* Step 1. Leaves no file of the new generation behind a failure. */
int keyring_lay_down(struct keyring *kr, const struct keyring_state *next,
		     const uint8_t tk[KDF_KEY_LEN]);
/* Memory takes the new state; every key that was derived from the old one is wiped. */
void keyring_adopt(struct keyring *kr, struct keyring_state *next, const struct anchor_state *at);
/*
 * Brings an unfinished anchor to what memory holds and removes other states (steps 2..4). -EROFS
 * when adrift.
 */
int keyring_settle(struct keyring *kr);

#endif
