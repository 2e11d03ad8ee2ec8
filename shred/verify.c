/*
 * Looking again: nothing of an order may open, from whatever side one comes.
 *
 *   keys      neither tree derives a key of an id (live only when backups are kept)
 *   live      no inode answers; no record of the ids is stored; no object file lies in the store
 *   sets      every record of every set that needs a key of an id fails to open, tried one by one
 *
 * A set whose manifest or index cannot be read is counted, not searched: its records need the same
 * keys.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backup/set.h"
#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/kdf.h"
#include "shred/execute_internal.h"

#define SEGMENTS_LOOKED_AT 2

struct looking {
	const uint64_t *ids;
	size_t n;
	struct keyring *kr;
	struct repo *repo;
	const struct set_manifest *m;
	struct bytes_w plain;
	struct shred_verdict v;
};

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool listed(const struct looking *l, uint64_t id)
{
	return bsearch(&id, l->ids, l->n, sizeof(id), compare_ids) != NULL;
}

static bool key_there(struct keyring *kr, enum keyring_tree tree, uint64_t id)
{
	uint8_t key[KDF_KEY_LEN];
	int r = keyring_file_key(kr, tree, id, key);

	secret_wipe(key, sizeof(key));
	return r != -EKEYREVOKED;
}

/* --- live --- */

/* Whether any record of the id is stored: the digest over none is that of nothing. */
static int has_records(struct volume *v, uint64_t id, bool *ret)
{
	uint8_t digest[KDF_HASH_LEN], nothing[KDF_HASH_LEN];
	uint64_t bytes;
	int r = volume_sealed_digest(v, &id, 1, digest, &bytes);

	kdf_hash(nothing, "", 0);
	*ret = memcmp(digest, nothing, sizeof(digest)) != 0;
	return r;
}

/* All at once first: one by one only when something is found. */
static int look_at_records(struct looking *l, struct volume *v, bool *ret_any)
{
	uint8_t digest[KDF_HASH_LEN], nothing[KDF_HASH_LEN];
	uint64_t bytes;
	int r = volume_sealed_digest(v, l->ids, l->n, digest, &bytes);

	kdf_hash(nothing, "", 0);
	*ret_any = memcmp(digest, nothing, sizeof(digest)) != 0;
	return r;
}

static int look_live(struct looking *l, struct volume *v)
{
	struct volume_attr attr;
	bool any, there = false;
	int r = look_at_records(l, v, &any);

	for (size_t i = 0; i < l->n && r == 0; i++) {
		if (any)
			r = has_records(v, l->ids[i], &there);
		l->v.n_live_open += there || key_there(l->kr, KEYRING_LIVE, l->ids[i]) ||
				    volume_peek(v, l->ids[i], &attr) == 0;
	}
	return r;
}

static void look_in_store(struct looking *l, int store_fd)
{
	char path[64];
	struct stat st;

	for (size_t i = 0; i < l->n; i++) {
		for (uint32_t segment = 0; segment < SEGMENTS_LOOKED_AT; segment++) {
			volume_object_path(l->ids[i], segment, path);
			l->v.n_raw_samples++;
			l->v.n_raw_open += fstatat(store_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
		}
	}
}

/* --- sets --- */

static int on_entry(void *arg, const struct set_entry *e)
{
	struct looking *l = arg;
	bool concerned = listed(l, e->id) || (e->kind == SET_NAME && listed(l, e->child));

	if (!concerned || e->kind == SET_GONE || e->kind == SET_EDGE)
		return 0;
	bytes_w_reset(&l->plain);
	int r = set_record_read(l->repo, l->kr, l->m, e, &l->plain);
	if (r && r != -EKEYREVOKED && r != -EBADMSG && r != -EUCLEAN)
		return r;
	l->v.n_set_records++;
	l->v.n_set_open += r == 0;
	return 0;
}

static int look_in_sets(struct looking *l, struct repo *repo, struct diag *d)
{
	CLEANUP_WITH(set_catalog_free) struct set_catalog c = {0};
	int r =
	    set_catalog_load(repo, keyring_volume_id(l->kr), keyring_header(l->kr)->sign_pk, &c, d);

	if (r)
		return r;
	l->repo = repo;
	l->v.n_sets += c.n_sets + c.n_damaged;
	l->v.n_sets_unread += c.n_damaged;
	for (size_t i = 0; i < c.n_sets; i++) {
		struct diag inner = {0};

		l->m = &c.sets[i];
		r = set_index_read(repo, l->kr, l->m, on_entry, l, &inner);
		if (r == -EBADMSG)
			l->v.n_sets_unread++;
		else if (r)
			return diag_fail_errno(d, r, "%s: set %s", repo_url(repo), l->m->id);
	}
	return 0;
}

static int look_at_backups(struct looking *l, const struct shred_context *ctx, struct diag *d)
{
	int r = 0;

	for (size_t i = 0; i < l->n; i++)
		l->v.n_set_open += key_there(l->kr, KEYRING_BACKUP, l->ids[i]);
	for (size_t i = 0; i < ctx->n_repos && r == 0; i++)
		r = look_in_sets(l, ctx->repos[i], d);
	return r;
}

bool shred_verdict_opens(const struct shred_verdict *v)
{
	return v->n_live_open || v->n_set_open || v->n_raw_open;
}

bool shred_verdict_clean(const struct shred_verdict *v)
{
	return !shred_verdict_opens(v) && !v->n_sets_unread;
}

int shred_verify(const struct shred_context *ctx, const struct order *o,
		 const struct inventory *inv, struct shred_verdict *ret, struct diag *d)
{
	CLEANUP_FREE uint64_t *ids = NULL;
	struct looking l = {.kr = volume_keyring(ctx->volume)};
	int r = inventory_ids(inv, &ids, &l.n);

	l.ids = ids;
	l.v.n_ids = l.n;
	if (r == 0)
		r = look_live(&l, ctx->volume);
	if (r)
		return diag_fail_errno(d, r, "verifying order %s", o->number);
	look_in_store(&l, ctx->store_fd);
	if (!o->backups_kept)
		r = look_at_backups(&l, ctx, d);
	bytes_w_free(&l.plain);
	if (r == 0)
		*ret = l.v;
	return r;
}
