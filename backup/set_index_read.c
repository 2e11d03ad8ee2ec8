/* Reading indices: fences, a cache of blocks, look-up. Merging is in set_cursor.c. */
#include "backup/set_index_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

#define CACHE_BLOCKS 64
#define TOP_MAX ((size_t)1 << 30)

struct set_blocks {
	struct set_block *list; /* the latest used first */
	size_t n_idle;
};

/* --- blocks --- */

struct set_blocks *set_blocks_new(void)
{
	return calloc(1, sizeof(struct set_blocks));
}

static void block_free(struct set_block *b)
{
	free(b->e);
	free(b);
}

void set_blocks_free(struct set_blocks *c)
{
	for (struct set_block *b = c ? c->list : NULL, *next; b; b = next) {
		next = b->next;
		block_free(b);
	}
	free(c);
}

/* Keeps those in use and the latest others. */
static void trim(struct set_blocks *c)
{
	size_t n = 0;

	for (struct set_block **at = &c->list; *at;) {
		struct set_block *b = *at;

		if (b->n_users || n++ < CACHE_BLOCKS) {
			at = &b->next;
			continue;
		}
		*at = b->next;
		block_free(b);
	}
}

static struct set_block *cached(struct set_blocks *c, const struct set_index *ix, size_t number)
{
	for (struct set_block **at = &c->list; *at; at = &(*at)->next) {
		struct set_block *b = *at;

		if (b->ix != ix || b->number != number)
			continue;
		*at = b->next;
		b->next = c->list;
		c->list = b;
		return b;
	}
	return NULL;
}

struct filling {
	struct set_block *b;
	size_t cap;
};

static int on_entry(void *arg, const struct set_entry *e)
{
	struct filling *f = arg;

	if (f->b->n == f->cap || (f->b->n && set_entry_cmp(&f->b->e[f->b->n - 1], e) > 0))
		return -EBADMSG;
	f->b->e[f->b->n++] = *e;
	return 0;
}

/* What the fence says must be what is there. */
static int fill(struct set_index *ix, const struct set_fence *f, size_t number, struct set_block *b)
{
	CLEANUP_FREE uint8_t *stored = malloc(f->len);
	CLEANUP_BYTES struct bytes_w plain = {0};
	struct filling filling = {b, f->n};
	char name[SET_NAME_LEN];

	b->e = calloc(f->n, sizeof(*b->e));
	if (!stored || !b->e)
		return -ENOMEM;
	if (f->pack >= ix->m->n_packs)
		return -EBADMSG;
	set_object_pack(ix->m->id, f->pack, name);
	int err = set_damage(repo_read(ix->repo, name, f->off, stored, f->len));
	if (err == 0)
		err = set_index_block_open(ix->kr, ix->m->id, (uint32_t)number, stored, f->len, &plain);
	if (err == 0)
		err = set_index_entries(plain.buf, plain.len, on_entry, &filling);
	if (err)
		return err;
	const struct set_key first = set_entry_key(&b->e[0]), last = set_entry_key(&b->e[f->n - 1]);
	return b->n == f->n && set_key_cmp(&first, &f->first) == 0 && set_key_cmp(&last, &f->last) == 0
		   ? 0
		   : -EBADMSG;
}

int set_block_get(struct set_index *ix, size_t i, struct set_block **ret)
{
	struct set_block *b = cached(ix->cache, ix, ix->order[i].number);

	if (b) {
		b->n_users++;
		*ret = b;
		return 0;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->ix = ix;
	b->number = ix->order[i].number;
	int err = fill(ix, &ix->order[i].f, b->number, b);
	if (err) {
		block_free(b);
		return err;
	}
	b->n_users = 1;
	b->next = ix->cache->list;
	ix->cache->list = b;
	trim(ix->cache);
	*ret = b;
	return 0;
}

void set_block_put(struct set_block *b)
{
	b->n_users--;
}

size_t set_block_lower(const struct set_block *b, const struct set_key *key)
{
	size_t lo = 0, hi = b->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct set_key k = set_entry_key(&b->e[mid]);

		if (set_key_cmp(&k, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* --- indices --- */

static int by_first(const void *a, const void *b)
{
	const struct set_placed *x = a, *y = b;
	int c = set_key_cmp(&x->f.first, &y->f.first);

	return c ? c : x->number < y->number ? -1 : x->number > y->number;
}

static int load(struct set_index *ix)
{
	CLEANUP_FREE uint8_t *box = NULL;
	CLEANUP_FREE struct set_fence *f = NULL;
	char name[SET_NAME_LEN];
	size_t len, n;

	set_object(ix->m->id, "index", name);
	int err = set_damage(repo_get(ix->repo, name, TOP_MAX, &box, &len));
	if (err == 0 && len != ix->m->index.len)
		err = -EBADMSG;
	if (err == 0)
		err = set_index_top_open(ix->kr, ix->m->id, box, len, &f, &n);
	if (err)
		return err;
	ix->order = calloc(n + 1, sizeof(*ix->order));
	if (!ix->order)
		return -ENOMEM;
	ix->n = n;
	for (size_t i = 0; i < n; i++)
		ix->order[i] = (struct set_placed){.f = f[i], .number = (uint32_t)i};
	qsort(ix->order, n, sizeof(*ix->order), by_first);
	for (size_t i = 0; i < n; i++) {
		ix->order[i].reach = ix->order[i].f.last;
		if (i && set_key_cmp(&ix->order[i - 1].reach, &ix->order[i].reach) > 0)
			ix->order[i].reach = ix->order[i - 1].reach;
	}
	return 0;
}

int set_index_open(struct repo *r, struct keyring *kr, const struct set_manifest *m, struct set_blocks *cache,
		   struct set_index **ret)
{
	struct set_index *ix = calloc(1, sizeof(*ix));

	if (!ix)
		return -ENOMEM;
	*ix = (struct set_index){.repo = r, .kr = kr, .m = m, .cache = cache};
	int err = load(ix);
	if (err) {
		set_index_close(ix);
		return err;
	}
	*ret = ix;
	return 0;
}

void set_index_close(struct set_index *ix)
{
	if (!ix)
		return;
	free(ix->order);
	free(ix);
}

size_t set_index_reaching(const struct set_index *ix, const struct set_key *key)
{
	size_t lo = 0, hi = ix->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (set_key_cmp(&ix->order[mid].reach, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int find_in(struct set_index *ix, size_t i, const struct set_key *key, struct set_entry *ret,
		   bool *io_found)
{
	struct set_block *b;
	int err = set_block_get(ix, i, &b);

	if (err)
		return err;
	for (size_t k = set_block_lower(b, key); k < b->n; k++) {
		const struct set_key here = set_entry_key(&b->e[k]);

		if (set_key_cmp(&here, key) != 0)
			break;
		*ret = b->e[k];
		*io_found = true;
	}
	set_block_put(b);
	return 0;
}

int set_index_find(struct set_index *ix, const struct set_key *key, struct set_entry *ret)
{
	bool found = false;

	for (size_t i = set_index_reaching(ix, key); i < ix->n; i++) {
		const struct set_fence *f = &ix->order[i].f;

		if (set_key_cmp(&f->first, key) > 0)
			break;
		if (set_key_cmp(&f->last, key) < 0)
			continue;
		int err = find_in(ix, i, key, ret, &found);
		if (err)
			return err;
	}
	return found ? 0 : -ENOENT;
}

/* --- all of one set --- */

static int each_block(struct set_index *ix, set_entry_fn fn, void *arg)
{
	for (size_t i = 0; i < ix->n; i++) {
		struct set_block *b;
		int err = set_block_get(ix, i, &b);

		for (size_t k = 0; err == 0 && k < b->n; k++)
			err = fn(arg, &b->e[k]);
		if (err)
			return err;
		set_block_put(b);
	}
	return 0;
}

int set_index_read(struct repo *r, struct keyring *kr, const struct set_manifest *m, set_entry_fn fn, void *arg,
		   struct diag *d)
{
	struct set_blocks *cache = set_blocks_new();
	struct set_index *ix = NULL;
	int err = cache ? set_index_open(r, kr, m, cache, &ix) : -ENOMEM;

	if (err == 0)
		err = each_block(ix, fn, arg);
	set_index_close(ix);
	set_blocks_free(cache);
	if (err == -EBADMSG)
		return diag_fail(d, DIAG_SET_DAMAGED, err, "set %s, index", m->id);
	return err ? diag_fail_errno(d, err, "%s: set %s, index", repo_url(r), m->id) : 0;
}
