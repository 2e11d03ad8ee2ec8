/*
 * Map groups and block keys in memory.
 *
 * A dirty group is the truth and stays until its record was put; clean ones are kept in one list
 * over all files, so that memory follows use and not the number of open files. Block keys lie in
 * one guarded slab for the same reason.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/secret.h"
#include "fs/data_internal.h"

/* ---- the shared cache ---- */

void data_cache_free(struct data_cache *c)
{
	if (!c)
		return;
	data_ios_free(c);
	secret_slab_free(c->keys);
	free(c);
}

CLEANUP_DEFINE(data_cache, struct data_cache *, data_cache_free)

int data_cache_new(size_t max_bytes, struct data_cache **ret)
{
	CLEANUP_WITH(cleanup_data_cache) struct data_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->max_lru = max_bytes / (sizeof(struct data_group) + sizeof(struct map_group));
	if (c->max_lru < DATA_GROUPS_MIN)
		c->max_lru = DATA_GROUPS_MIN;
	c->keys = secret_slab_new(DATA_KEYS * sizeof(*c->keys));
	if (!c->keys || data_ios_new(c) < 0)
		return -ENOMEM;
	*ret = STEAL_PTR(c);
	return 0;
}

static bool key_is(const struct data_key *k, uint64_t id, const uint8_t *session)
{
	return k->used && k->id == id && !memcmp(k->session, session, MAP_SESSION_LEN);
}

int data_key(struct volume *v, uint64_t id, const uint8_t session[MAP_SESSION_LEN],
	     const struct suite_key **ret)
{
	struct data_cache *c = object_data(v->objects);
	size_t oldest = 0;

	for (size_t i = 0; i < DATA_KEYS; i++) {
		if (key_is(&c->key_of[i], id, session)) {
			c->key_of[i].used = ++c->clock;
			*ret = &c->keys[i];
			return 0;
		}
		if (c->key_of[i].used < c->key_of[oldest].used)
			oldest = i;
	}
	c->key_of[oldest].used = 0;
	int r = engine_block_key(v, id, session, &c->keys[oldest]);
	if (r < 0)
		return r;
	c->key_of[oldest] = (struct data_key){.id = id, .used = ++c->clock};
	memcpy(c->key_of[oldest].session, session, MAP_SESSION_LEN);
	*ret = &c->keys[oldest];
	return 0;
}

void data_keys_drop(struct data_cache *c, uint64_t id)
{
	for (size_t i = 0; i < DATA_KEYS; i++) {
		if (c->key_of[i].used && c->key_of[i].id == id) {
			secret_wipe(&c->keys[i], sizeof(c->keys[i]));
			c->key_of[i].used = 0;
		}
	}
}

void data_ad(struct volume *v, uint64_t id, uint64_t block, uint8_t ret[DATA_AD_LEN])
{
	memcpy(ret, keyring_volume_id(v->kr), 16);
	bytes_put64(ret + 16, id);
	bytes_put64(ret + 24, block);
}

/* ---- groups: the list of clean ones ---- */

static void lru_remove(struct data_cache *c, struct data_group *g)
{
	*(g->lru_prev ? &g->lru_prev->lru_next : &c->lru_head) = g->lru_next;
	*(g->lru_next ? &g->lru_next->lru_prev : &c->lru_tail) = g->lru_prev;
	g->lru_prev = g->lru_next = NULL;
	c->n_lru--;
}

static void lru_append(struct data_cache *c, struct data_group *g)
{
	g->lru_prev = c->lru_tail;
	g->lru_next = NULL;
	*(c->lru_tail ? &c->lru_tail->lru_next : &c->lru_head) = g;
	c->lru_tail = g;
	c->n_lru++;
}

/* The first group of the file at or above no. */
static size_t group_index(const struct vfile *f, uint64_t no)
{
	size_t lo = 0, hi = f->n_groups;

	if (hi && f->groups[hi - 1]->no < no)
		return hi;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->groups[mid]->no < no)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void group_evict(struct data_cache *c, struct data_group *g)
{
	struct vfile *f = g->file;
	size_t i = group_index(f, g->no);

	lru_remove(c, g);
	f->n_groups--;
	memmove(f->groups + i, f->groups + i + 1, (f->n_groups - i) * sizeof(*f->groups));
	free(g->m);
	free(g);
}

/* The newest stays: whoever asked for it still uses it. */
static void lru_trim(struct data_cache *c)
{
	while (c->n_lru > c->max_lru)
		group_evict(c, c->lru_head);
}

/* ---- groups: loading ---- */

static void group_free(struct data_group *g)
{
	if (g)
		free(g->m);
	free(g);
}

CLEANUP_DEFINE(group, struct data_group *, group_free)

static int group_load(struct volume *v, uint64_t id, struct data_group *g)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct rstore_key key = engine_file_key_at(id, SUB_MAP, g->no);
	struct map_group m;
	int r = rstore_get(v->rs, &key, &val, NULL);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = map_decode(val.buf, val.len, engine_tag_len(v), &m);
	if (r < 0)
		return engine_fault(v, r, id, "block map", g->no * MAP_GROUP_BYTES);
	g->stored = true;
	if (map_all_holes(&m))
		return 0;
	g->m = malloc(sizeof(m));
	if (!g->m)
		return -ENOMEM;
	*g->m = m;
	return 0;
}

static int group_insert(struct vfile *f, struct data_group *g)
{
	size_t i = group_index(f, g->no);

	if (f->n_groups == f->cap_groups) {
		size_t cap = f->cap_groups ? 2 * f->cap_groups : 4;
		struct data_group **wider = reallocarray(f->groups, cap, sizeof(*wider));

		if (!wider)
			return -ENOMEM;
		f->groups = wider;
		f->cap_groups = cap;
	}
	memmove(f->groups + i + 1, f->groups + i, (f->n_groups - i) * sizeof(*f->groups));
	f->groups[i] = g;
	f->n_groups++;
	return 0;
}

static struct data_group *group_find(const struct vfile *f, uint64_t no)
{
	size_t i = group_index(f, no);

	return i < f->n_groups && f->groups[i]->no == no ? f->groups[i] : NULL;
}

int data_group_get(struct volume *v, struct vinode *ino, uint64_t no, struct data_group **ret)
{
	struct vfile *f = ino->file;
	struct data_group *found = group_find(f, no);

	if (found) {
		if (!found->dirty) {
			lru_remove(f->cache, found);
			lru_append(f->cache, found);
		}
		*ret = found;
		return 0;
	}
	CLEANUP_WITH(cleanup_group) struct data_group *g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->no = no;
	g->file = f;
	int r = group_load(v, ino->id, g);
	if (r == 0)
		r = group_insert(f, g);
	if (r < 0)
		return r;
	lru_append(f->cache, g);
	*ret = STEAL_PTR(g);
	lru_trim(f->cache);
	return 0;
}

int data_group_edit(struct volume *v, struct vinode *ino, uint64_t no, struct data_group **ret)
{
	struct data_group *g;
	int r = data_group_get(v, ino, no, &g);

	if (r < 0)
		return r;
	if (!g->m) {
		g->m = malloc(sizeof(*g->m));
		if (!g->m)
			return -ENOMEM;
		map_init(g->m);
	}
	if (!g->dirty) {
		lru_remove(g->file->cache, g);
		g->dirty = true;
		g->file->n_dirty++;
	}
	*ret = g;
	return 0;
}

void data_group_clean(struct data_group *g)
{
	if (g->m && map_all_holes(g->m)) {
		free(g->m);
		g->m = NULL;
	}
	g->dirty = false;
	g->file->n_dirty--;
	lru_append(g->file->cache, g);
}

int data_entries(struct volume *v, struct vinode *ino, uint64_t first, size_t n,
		 struct map_entry *ret)
{
	for (size_t i = 0, part; i < n; i += part) {
		struct data_group *g;
		size_t at = (first + i) % MAP_GROUP;
		int r = data_group_get(v, ino, (first + i) / MAP_GROUP, &g);

		if (r < 0)
			return r;
		part = MAP_GROUP - at < n - i ? MAP_GROUP - at : n - i;
		for (size_t k = 0; k < part; k++) {
			if (g->m)
				ret[i + k] = g->m->e[at + k];
			else
				ret[i + k].slot = MAP_HOLE;
		}
	}
	return 0;
}

/* ---- which groups there are ---- */

struct number_list {
	uint64_t *v;
	size_t n, cap, max;
};

static int number_add(struct number_list *l, uint64_t no)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		uint64_t *wider = reallocarray(l->v, cap, sizeof(*wider));

		if (!wider)
			return -ENOMEM;
		l->v = wider;
		l->cap = cap;
	}
	l->v[l->n++] = no;
	return 0;
}

/* Returns 1 when there are enough. */
static int number_of_record(void *arg, const struct rstore_key *key, const void *val, size_t len,
			    uint64_t txn)
{
	struct number_list *l = arg;

	(void)val, (void)len, (void)txn;
	if (key->len < 8)
		return -EUCLEAN;
	int r = number_add(l, bytes_get64be(key->b + key->len - 8));
	return r < 0 ? r : l->n == l->max;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int data_groups_in(struct volume *v, struct vinode *ino, uint64_t from, uint64_t to, size_t max,
		   uint64_t **ret, size_t *ret_n)
{
	struct vfile *f = ino->file;
	struct rstore_key first = engine_file_key_at(ino->id, SUB_MAP, from);
	struct rstore_key end = engine_file_key_at(ino->id, SUB_MAP, to);
	struct number_list l = {.max = max};
	size_t n = 0, in_memory = 0;
	int r = rstore_scan(v->rs, &first, &end, number_of_record, &l);

	for (size_t i = group_index(f, from);
	     r >= 0 && in_memory < max && i < f->n_groups && f->groups[i]->no < to;
	     i++, in_memory++)
		r = number_add(&l, f->groups[i]->no);
	if (r < 0) {
		free(l.v);
		return engine_fault(v, r, ino->id, "block map", from * MAP_GROUP_BYTES);
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), compare_numbers);
	for (size_t i = 0; i < l.n; i++) {
		if (!n || l.v[n - 1] != l.v[i])
			l.v[n++] = l.v[i];
	}
	*ret = l.v;
	*ret_n = n < max ? n : max;
	return 0;
}

/* ---- files ---- */

struct vfile *data_file_new(struct volume *v, uint64_t id)
{
	struct vfile *f = calloc(1, sizeof(*f));

	if (f) {
		f->cache = object_data(v->objects);
		f->id = id;
		f->no_fit = UINT64_MAX;
		data_unlogged_clear(f);
	}
	return f;
}

void data_forget(struct vinode *ino)
{
	struct vfile *f = ino->file;

	if (!f)
		return;
	for (size_t i = 0; i < f->n_groups; i++) {
		if (!f->groups[i]->dirty)
			lru_remove(f->cache, f->groups[i]);
		group_free(f->groups[i]);
	}
	data_keys_drop(f->cache, f->id);
	/* Who waits for its writers must look again. */
	pthread_cond_broadcast(&f->cache->idle);
	data_space_forget_all(f);
	free(f->groups);
	free(f);
	ino->file = NULL;
}
