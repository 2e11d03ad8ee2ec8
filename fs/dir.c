/*
 * Folders: names under lookup hashes.
 *
 * An entry stands at its name's hash under the folder's lookup id, an id of its own in the live key
 * tree: puncturing it ends every confirmation of a guessed name. The hash is the readdir cookie, so
 * it does not change while entries come and go. Each entry has a link id that is never used again;
 * when the entry goes, the history keeps (parent, child, link) for inventories and incremental
 * backups, without the name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/secret.h"
#include "fs/engine_internal.h"

#define HASH_MASK (UINT64_MAX >> 1)
#define HASH_MIN 16u /* readdir offsets below belong to "." and ".." */
#define HISTORY_LAST 1u

static int fault(struct volume *v, int err, const struct vinode *dir, uint64_t at)
{
	return engine_fault(v, err, dir->id, "directory entry", at);
}

static int lookup_id(struct volume *v, struct vinode *dir)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct rstore_key key = engine_key(SPACE_LOOKUP, &dir->id, 1);

	if (dir->lookup_id)
		return 0;
	int r = rstore_get(v->rs, &key, &val, NULL);
	if (r == -ENOENT || (r == 0 && (val.len != 8 || !bytes_get64(val.buf))))
		r = -EUCLEAN;
	if (r)
		return r;
	dir->lookup_id = bytes_get64(val.buf);
	return 0;
}

static int name_hash(struct volume *v, struct vinode *dir, const char *name, uint64_t *ret)
{
	uint8_t key[KDF_KEY_LEN];
	int r = lookup_id(v, dir);

	if (r == 0)
		r = engine_subkey(v, dir->lookup_id, "lookup", key);
	if (r)
		return r;
	uint64_t hash = kdf_lookup_hash(key, name, strlen(name)) & HASH_MASK;
	secret_wipe(key, sizeof(key));
	*ret = hash < HASH_MIN ? hash + HASH_MIN : hash;
	return 0;
}

/* ---- find ---- */

struct find {
	struct volume *v;
	uint64_t dir;
	const char *name;
	struct dentry *ret;
	int err; /* of an entry that did not open: it may have been the one */
};

static int find_entry(void *arg, const struct dentry_sealed *d)
{
	struct find *f = arg;
	char name[VOLUME_NAME_MAX + 1];
	int r = dir_open_name(f->v, f->dir, d, name);

	if (r) {
		f->err = r;
		return 0;
	}
	if (strcmp(name, f->name) != 0)
		return 0;
	f->ret->child = d->child;
	f->ret->link = d->link;
	f->ret->type_mode = d->type_mode;
	strcpy(f->ret->name, name);
	return 1;
}

int dir_find(struct volume *v, struct vinode *dir, const char *name, struct dentry *ret)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct find f = {.v = v, .dir = dir->id, .name = name, .ret = ret};
	uint64_t hash = 0;
	int r = name_hash(v, dir, name, &hash);

	if (r == 0) {
		struct rstore_key key = engine_file_key_at(dir->id, SUB_DENTRY, hash);
		r = rstore_get(v->rs, &key, &val, NULL);
	}
	if (r == -ENOENT)
		return r;
	if (r == 0)
		r = dir_bucket_each(val.buf, val.len, find_entry, &f);
	if (r == 1)
		return 0;
	if (r == 0)
		r = f.err ? f.err : -ENOENT;
	return fault(v, r, dir, hash);
}

/* ---- add and remove ---- */

int dir_put_entry(struct volume *v, struct vinode *dir, const struct dentry *d)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	uint64_t hash = 0;
	int r = name_hash(v, dir, d->name, &hash);

	if (r)
		return fault(v, r, dir, hash);
	struct rstore_key key = engine_file_key_at(dir->id, SUB_DENTRY, hash);
	r = rstore_get(v->rs, &key, &val, NULL);
	if (r == 0 || r == -ENOENT)
		r = dir_bucket_append(v, dir->id, d, &val);
	if (r == 0)
		r = rstore_put(v->rs, &key, val.buf, val.len);
	return fault(v, r, dir, hash);
}

int dir_add(struct volume *v, struct vinode *dir, const char *name, uint64_t child,
	    uint32_t type_mode)
{
	struct dentry d = {.child = child, .link = engine_new_link(v), .type_mode = type_mode};

	strcpy(d.name, name);
	return dir_put_entry(v, dir, &d);
}

static int history_put(struct volume *v, uint64_t parent, uint64_t child, uint64_t link, bool last)
{
	const uint64_t parts[] = {parent, child, link};
	struct rstore_key key = engine_key(SPACE_HISTORY, parts, 3);
	uint8_t flags = last ? HISTORY_LAST : 0;

	return rstore_put(v->rs, &key, &flags, 1);
}

struct without {
	uint64_t link;
	struct bytes_w rest;
	bool seen;
};

static int keep_others(void *arg, const struct dentry_sealed *d)
{
	struct without *w = arg;

	if (d->link == w->link)
		w->seen = true;
	else
		dir_bucket_copy(d, &w->rest);
	return w->rest.err;
}

int dir_remove(struct volume *v, struct vinode *dir, const struct dentry *d, bool last)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct without w = {.link = d->link};
	uint64_t hash = 0;
	int r = name_hash(v, dir, d->name, &hash);

	if (r)
		return fault(v, r, dir, hash);
	struct rstore_key key = engine_file_key_at(dir->id, SUB_DENTRY, hash);
	r = rstore_get(v->rs, &key, &val, NULL);
	if (r == 0)
		r = dir_bucket_each(val.buf, val.len, keep_others, &w);
	if (r == 0 && !w.seen)
		r = -ENOENT;
	if (r == 0)
		r = history_put(v, dir->id, d->child, d->link, last);
	if (r == 0)
		r = w.rest.len ? rstore_put(v->rs, &key, w.rest.buf, w.rest.len)
			       : rstore_del(v->rs, &key);
	bytes_w_free(&w.rest);
	return fault(v, r, dir, hash);
}

static int stop_at_first(void *arg, const struct rstore_key *key, const void *val, size_t len,
			 uint64_t txn)
{
	(void)arg;
	(void)key;
	(void)val;
	(void)len;
	(void)txn;
	return 1;
}

int dir_is_empty(struct volume *v, struct vinode *dir)
{
	struct rstore_key from = engine_file_key(dir->id, SUB_DENTRY);
	struct rstore_key to = engine_sub_end(dir->id, SUB_DENTRY);
	int r = rstore_scan(v->rs, &from, &to, stop_at_first, NULL);

	return r < 0 ? fault(v, r, dir, 0) : !r;
}

/* ---- lookup ids ---- */

static int put_lookup_id(struct volume *v, enum engine_space space, uint64_t at, uint64_t val)
{
	struct rstore_key key = engine_key(space, &at, 1);
	uint8_t enc[8];

	bytes_put64(enc, val);
	return rstore_put(v->rs, &key, enc, sizeof(enc));
}

int dir_init(struct volume *v, struct vinode *dir)
{
	uint64_t id;
	int r = engine_new_id(v, &id);

	if (r == 0)
		r = put_lookup_id(v, SPACE_LOOKUP, dir->id, id);
	if (r == 0)
		dir->lookup_id = id;
	return r;
}

struct rehash {
	struct volume *v;
	struct vinode *dir;
	const uint64_t *drop;
	size_t n_drop;
	struct bytes_w kept;    /* child, link, type, name of each entry that stays */
	struct bytes_w dropped; /* child, link */
};

static int cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int rehash_entry(void *arg, const struct dentry_sealed *d)
{
	struct rehash *h = arg;
	char name[VOLUME_NAME_MAX + 1];
	int r = 0;
	bool drop = h->n_drop && bsearch(&d->child, h->drop, h->n_drop, sizeof(*h->drop), cmp_u64);

	if (!drop) {
		r = dir_open_name(h->v, h->dir->id, d, name);
		/* Destroyed earlier: there is no name to hash any more. */
		drop = r == -EKEYREVOKED;
	}
	if (drop) {
		bytes_w_u64(&h->dropped, d->child);
		bytes_w_u64(&h->dropped, d->link);
		return h->dropped.err;
	}
	if (r)
		return r;
	bytes_w_u64(&h->kept, d->child);
	bytes_w_u64(&h->kept, d->link);
	bytes_w_u32(&h->kept, d->type_mode);
	bytes_w_blob(&h->kept, name, strlen(name));
	return h->kept.err;
}

static int rehash_bucket(void *arg, const struct rstore_key *key, const void *val, size_t len,
			 uint64_t txn)
{
	(void)key;
	(void)txn;
	return dir_bucket_each(val, len, rehash_entry, arg);
}

static int delete_buckets(struct volume *v, const struct rstore_key *from,
			  const struct rstore_key *to)
{
	const size_t at_once = 4096;
	size_t n = at_once;
	int r = 0;

	while (r == 0 && n == at_once)
		r = inode_del_range(v, from, to, at_once, &n);
	return r;
}

static int put_rehashed(struct rehash *h)
{
	struct bytes_r kept = bytes_r_init(h->kept.buf, h->kept.len);
	struct bytes_r dropped = bytes_r_init(h->dropped.buf, h->dropped.len);
	int r = 0;

	while (r == 0 && kept.left) {
		struct dentry d = {.child = bytes_r_u64(&kept)};
		size_t len;

		d.link = bytes_r_u64(&kept);
		d.type_mode = bytes_r_u32(&kept);
		const uint8_t *name = bytes_r_blob(&kept, VOLUME_NAME_MAX, &len);
		if (!name)
			return -EUCLEAN;
		memcpy(d.name, name, len);
		r = dir_put_entry(h->v, h->dir, &d);
	}
	while (r == 0 && dropped.left) {
		uint64_t child = bytes_r_u64(&dropped);

		r = history_put(h->v, h->dir->id, child, bytes_r_u64(&dropped), true);
	}
	return r;
}

static int move_entries(struct rehash *h, const struct rstore_key *from,
			const struct rstore_key *to, uint64_t old)
{
	int r = delete_buckets(h->v, from, to);

	if (r == 0)
		r = put_lookup_id(h->v, SPACE_RETIRED, old, h->dir->id);
	if (r == 0)
		r = dir_init(h->v, h->dir);
	if (r == 0)
		r = put_rehashed(h);
	return r;
}

int dir_rehash(struct volume *v, struct vinode *dir, const uint64_t *drop, size_t n_drop)
{
	struct rehash h = {
	    .v = v, .dir = dir, .drop = drop, .n_drop = n_drop, .kept.wiped = true};
	struct rstore_key from = engine_file_key(dir->id, SUB_DENTRY);
	struct rstore_key to = engine_sub_end(dir->id, SUB_DENTRY);
	int r = lookup_id(v, dir);
	uint64_t old = dir->lookup_id;

	if (r == 0)
		r = engine_ids_ready(v, 1);
	if (r == 0)
		r = rstore_scan(v->rs, &from, &to, rehash_bucket, &h);
	if (r == 0) {
		r = move_entries(&h, &from, &to, old);
		/* The entries that were taken out and not put back are names lost. */
		if (r)
			r = engine_half_done(v, r, "rehashing a folder");
	}
	bytes_w_free(&h.kept);
	bytes_w_free(&h.dropped);
	return fault(v, r, dir, 0);
}
