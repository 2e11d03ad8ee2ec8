/*
 * The opened keyring: brackets, file keys and their cache, what is gone, and the anchor's freshness
 * part.
 */
#include "core/keyring_internal.h"

#include <errno.h>
#include <string.h>

/* --- brackets --- */

/*
 * Keyrings that one thread is inside brackets of at the same time; beyond that brackets do not
 * nest.
 */
#define HELD_MAX 4

struct held {
	const struct keyring *kr;
	unsigned depth;
};

/*
 * A second shared lock of the same thread would wait behind a puncture that waits for the first, so
 * only the outermost bracket locks.
 */
static __thread struct held held[HELD_MAX];

static struct held *held_find(const struct keyring *kr)
{
	for (int i = 0; i < HELD_MAX; i++) {
		if (held[i].kr == kr)
			return &held[i];
	}
	return NULL;
}

bool keyring_in_use_here(const struct keyring *kr)
{
	return held_find(kr) != NULL;
}

void keyring_use_begin(struct keyring *kr)
{
	struct held *h = held_find(kr);

	if (!h) {
		pthread_rwlock_rdlock(&kr->epoch);
		h = held_find(NULL);
		if (!h)
			return;
		h->kr = kr;
	}
	h->depth++;
}

void keyring_use_end(struct keyring *kr)
{
	struct held *h = held_find(kr);

	if (h && --h->depth > 0)
		return;
	if (h)
		h->kr = NULL;
	pthread_rwlock_unlock(&kr->epoch);
}

/* --- file-key cache --- */

#define CACHE_WAYS 4
#define CACHE_SETS 1024

struct cache_entry {
	uint64_t id;
	uint8_t tree;
	bool used;
	uint8_t key[KDF_KEY_LEN];
};

/* Guarded. Neighbouring ids fall into different sets; within one the victims take turns. */
struct keyring_cache {
	struct cache_entry sets[CACHE_SETS][CACHE_WAYS];
	unsigned turn;
};

static struct cache_entry *cache_set(struct keyring *kr, enum keyring_tree tree, uint64_t id)
{
	/* The trees' ids are the same numbers: keep them out of each other's sets. */
	return kr->cache->sets[(id ^ (tree ? CACHE_SETS / 2 : 0)) % CACHE_SETS];
}

static bool cache_get(struct keyring *kr, enum keyring_tree tree, uint64_t id,
		      uint8_t ret[KDF_KEY_LEN])
{
	const struct cache_entry *set = cache_set(kr, tree, id);

	for (int w = 0; w < CACHE_WAYS; w++) {
		if (set[w].used && set[w].id == id && set[w].tree == tree) {
			memcpy(ret, set[w].key, KDF_KEY_LEN);
			return true;
		}
	}
	return false;
}

static void cache_put(struct keyring *kr, enum keyring_tree tree, uint64_t id,
		      const uint8_t key[KDF_KEY_LEN])
{
	struct cache_entry *e = &cache_set(kr, tree, id)[kr->cache->turn++ % CACHE_WAYS];

	e->id = id;
	e->tree = (uint8_t)tree;
	e->used = true;
	memcpy(e->key, key, KDF_KEY_LEN);
}

void keyring_cache_drop(struct keyring *kr)
{
	secret_wipe(kr->cache, sizeof(*kr->cache));
}

/* --- keys --- */

int keyring_file_key(struct keyring *kr, enum keyring_tree tree, uint64_t id,
		     uint8_t ret[KDF_KEY_LEN])
{
	int r = 0;

	pthread_mutex_lock(&kr->tree_lock);
	if (!cache_get(kr, tree, id, ret)) {
		r = keytree_derive(kr->state->trees[tree], id, ret);
		if (r == 0)
			cache_put(kr, tree, id, ret);
	}
	pthread_mutex_unlock(&kr->tree_lock);
	return r;
}

void keyring_epoch_key(struct keyring *kr, enum keyring_epoch which, uint8_t ret[KDF_KEY_LEN])
{
	pthread_mutex_lock(&kr->tree_lock);
	memcpy(ret, keyring_state_epoch(kr->state, which), KDF_KEY_LEN);
	pthread_mutex_unlock(&kr->tree_lock);
}

bool keyring_gone(struct keyring *kr, enum keyring_tree tree, uint64_t id,
		  char ret_order[KEYRING_ORDER_REF_MAX + 1])
{
	const struct keyring_gone *g;
	bool gone;

	pthread_mutex_lock(&kr->tree_lock);
	gone = !keytree_has(kr->state->trees[tree], id);
	g = gone ? keyring_state_find_gone(kr->state, tree, id) : NULL;
	strcpy(ret_order, g ? g->order : "");
	pthread_mutex_unlock(&kr->tree_lock);
	return gone;
}

uint64_t keyring_generation(struct keyring *kr)
{
	uint64_t generation;

	pthread_mutex_lock(&kr->tree_lock);
	generation = kr->state->generation;
	pthread_mutex_unlock(&kr->tree_lock);
	return generation;
}

bool keyring_superseded(struct keyring *kr)
{
	return !keyring_file_there(kr->keys_fd, keyring_generation(kr));
}

/* --- what does not change --- */

const struct header *keyring_header(const struct keyring *kr)
{
	return kr->header;
}

const struct suite *keyring_suite(const struct keyring *kr)
{
	return kr->suite;
}

const uint8_t *keyring_volume_id(const struct keyring *kr)
{
	return kr->header->volume_id;
}

const uint8_t *keyring_sign_seed(const struct keyring *kr)
{
	return secret_bytes(kr->seed);
}

const char *keyring_slot_label(const struct keyring *kr)
{
	return kr->slot_label;
}

bool keyring_used_backup(const struct keyring *kr)
{
	return kr->used_backup;
}

/* --- freshness --- */

void keyring_fresh_get(struct keyring *kr, struct keyring_fresh *ret)
{
	pthread_mutex_lock(&kr->anchor_lock);
	ret->txn = kr->at->txn;
	memcpy(ret->root_tag, kr->at->root_tag, sizeof(ret->root_tag));
	ret->id_floor = kr->at->id_floor;
	memcpy(ret->charter_head, kr->at->charter_head, sizeof(ret->charter_head));
	ret->trail_size = kr->at->trail_size;
	memcpy(ret->trail_root, kr->at->trail_root, sizeof(ret->trail_root));
	pthread_mutex_unlock(&kr->anchor_lock);
}

/* anchor_lock held. The anchor has the new freshness only once its write returns. */
static int fresh_write(struct keyring *kr, const struct keyring_fresh *f)
{
	struct anchor_state next = *kr->at;
	int r;

	next.txn = f->txn;
	memcpy(next.root_tag, f->root_tag, sizeof(next.root_tag));
	next.id_floor = f->id_floor;
	memcpy(next.charter_head, f->charter_head, sizeof(next.charter_head));
	next.trail_size = f->trail_size;
	memcpy(next.trail_root, f->trail_root, sizeof(next.trail_root));
	r = kr->unfinished ? anchor_put_both(kr->anchor, &next) : anchor_put(kr->anchor, &next);
	if (r == 0) {
		*kr->at = next;
		kr->unfinished = false;
	}
	secret_wipe(&next, sizeof(next));
	return r;
}

int keyring_fresh_put(struct keyring *kr, const struct keyring_fresh *f)
{
	int r = -EINVAL;

	if (kr->flags & KEYRING_READ_ONLY)
		return -EROFS;
	pthread_mutex_lock(&kr->anchor_lock);
	if (kr->adrift)
		r = -EROFS;
	else if (f->txn >= kr->at->txn && f->id_floor >= kr->at->id_floor &&
	    f->trail_size >= kr->at->trail_size)
		r = fresh_write(kr, f);
	pthread_mutex_unlock(&kr->anchor_lock);
	return r;
}

int keyring_trail_lost(struct keyring *kr)
{
	struct keyring_fresh f;
	int r;

	if (kr->flags & KEYRING_READ_ONLY)
		return -EROFS;
	keyring_fresh_get(kr, &f);
	f.trail_size = 0;
	memset(f.trail_root, 0, sizeof(f.trail_root));
	pthread_mutex_lock(&kr->anchor_lock);
	r = kr->adrift ? -EROFS : fresh_write(kr, &f);
	pthread_mutex_unlock(&kr->anchor_lock);
	return r;
}

/* --- life --- */

static void locks_init(struct keyring *kr)
{
	pthread_rwlockattr_t attr;

	pthread_mutex_init(&kr->change, NULL);
	pthread_mutex_init(&kr->anchor_lock, NULL);
	pthread_mutex_init(&kr->tree_lock, NULL);
	pthread_rwlockattr_init(&attr);
	/* A busy volume always has somebody inside a bracket; a puncture must get its turn. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&kr->epoch, &attr);
	pthread_rwlockattr_destroy(&attr);
}

struct keyring *keyring_alloc(void)
{
	struct keyring *kr = calloc(1, sizeof(*kr));

	if (!kr)
		return NULL;
	kr->store_fd = kr->keys_fd = -1;
	locks_init(kr);
	kr->at = secret_slab_new(sizeof(*kr->at));
	kr->cache = secret_slab_new(sizeof(*kr->cache));
	if (!kr->at || !kr->cache) {
		keyring_close(kr);
		return NULL;
	}
	return kr;
}

void keyring_close(struct keyring *kr)
{
	if (!kr)
		return;
	keyring_state_free(kr->state);
	anchor_close(kr->anchor);
	secret_slab_free(kr->cache);
	secret_slab_free(kr->at);
	secret_free(kr->vk);
	secret_free(kr->seed);
	cleanup_fd(&kr->keys_fd);
	cleanup_fd(&kr->store_fd);
	pthread_rwlock_destroy(&kr->epoch);
	pthread_mutex_destroy(&kr->tree_lock);
	pthread_mutex_destroy(&kr->anchor_lock);
	pthread_mutex_destroy(&kr->change);
	free(kr->header);
	free(kr->store);
	free(kr);
}
