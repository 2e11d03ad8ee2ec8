/*
 * "Backups kept" is a promise: before the live keys go, a set must open and hold every live file as
 * it is now.
 *
 * Shown in two parts, for one set and its chain: every record of the ids in it opens, deltas can be made,
 * and every live id has its node there; and a scan of the live volume since that set finds none of the ids
 * changed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backup/backup.h"
#include "core/bytes.h"
#include "core/cleanup.h"
#include "shred/execute_internal.h"

struct keeping {
	const uint64_t *ids;
	size_t n;
	bool *live; /* has an inode */
	bool *seen; /* has a node in the chain */
	uint64_t n_changed, n_unread;
	struct repo *repo;
	struct keyring *kr;
	const struct set_manifest *m;
	struct bytes_w plain;
};

static void keeping_free(struct keeping *k)
{
	free(k->live);
	free(k->seen);
	bytes_w_free(&k->plain);
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static size_t place_of(const struct keeping *k, uint64_t id)
{
	const uint64_t *at = bsearch(&id, k->ids, k->n, sizeof(id), compare_ids);

	return at ? (size_t)(at - k->ids) : SIZE_MAX;
}

static int note_live(struct keeping *k, struct volume *v)
{
	struct volume_attr attr;
	int r = 0;

	k->live = calloc(k->n ? k->n : 1, sizeof(*k->live));
	k->seen = calloc(k->n ? k->n : 1, sizeof(*k->seen));
	if (!k->live || !k->seen)
		return -ENOMEM;
	for (size_t i = 0; i < k->n && r == 0; i++) {
		r = volume_peek(v, k->ids[i], &attr);
		k->live[i] = r == 0;
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

/* --- the set opens --- */

static int on_entry(void *arg, const struct set_entry *e)
{
	struct keeping *k = arg;
	size_t at = place_of(k, e->kind == SET_NAME ? e->child : e->id);

	if (at == SIZE_MAX || e->kind == SET_GONE || e->kind == SET_EDGE)
		return 0;
	bytes_w_reset(&k->plain);
	if (set_record_read(k->repo, k->kr, k->m, e, &k->plain) != 0)
		k->n_unread++;
	else if (e->kind == SET_NODE)
		k->seen[at] = true;
	return 0;
}

static bool chain_opens(struct keeping *k, const struct set_catalog *c, size_t set)
{
	CLEANUP_FREE size_t *chain = NULL;
	struct diag ignored = {0};
	size_t n;

	if (set_catalog_chain(c, set, &chain, &n, &ignored))
		return false;
	memset(k->seen, 0, k->n);
	k->n_unread = 0;
	for (size_t i = 0; i < n; i++) {
		struct backup_verdict made = {0};

		k->m = &c->sets[chain[i]];
		if (set_index_read(k->repo, k->kr, k->m, on_entry, k, &ignored) ||
		    backup_verify_deltas(k->repo, k->kr, c, chain[i], k->ids, k->n, &made, &ignored) ||
		    made.n_bad)
			return false;
	}
	for (size_t i = 0; i < k->n; i++)
		if (k->live[i] && !k->seen[i])
			return false;
	return k->n_unread == 0;
}

/* --- nothing changed since --- */

static int on_inode(void *arg, const struct volume_snap_inode *in)
{
	struct keeping *k = arg;

	k->n_changed += place_of(k, in->attr.id) != SIZE_MAX;
	return 0;
}

static int on_map(void *arg, uint64_t id, uint64_t group, uint64_t txn, const struct map_group *g)
{
	struct keeping *k = arg;

	(void)group;
	(void)txn;
	(void)g;
	k->n_changed += place_of(k, id) != SIZE_MAX;
	return 0;
}

static int on_name(void *arg, uint64_t parent, uint64_t link, uint64_t child, uint32_t type_mode,
		   const char *name, int name_err)
{
	(void)arg, (void)parent, (void)link, (void)child, (void)type_mode, (void)name,
	    (void)name_err;
	return 0;
}

static int on_gone(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool last)
{
	(void)arg, (void)parent, (void)link, (void)child, (void)last;
	return 0;
}

static int on_edge(void *arg, uint64_t a, uint64_t b, uint8_t kind)
{
	(void)arg, (void)a, (void)b, (void)kind;
	return 0;
}

static int repo_keeps(struct keeping *k, struct volume *v, const struct volume_snapshot *snap,
		      bool *ret, struct diag *d)
{
	static const struct volume_snap_ops ops = {
	    .inode = on_inode, .name = on_name, .map = on_map, .gone = on_gone, .edge = on_edge};
	CLEANUP_WITH(set_catalog_free) struct set_catalog c = {0};
	int r = set_catalog_load(k->repo, keyring_volume_id(k->kr), keyring_header(k->kr)->sign_pk,
				 &c, d);

	*ret = false;
	for (size_t i = c.n_sets; r == 0 && i-- > 0 && !*ret;) {
		if (c.sets[i].timeline != snap->timeline || c.sets[i].to_txn > snap->snap.txn)
			continue;
		k->n_changed = 0;
		r = volume_snapshot_scan(v, snap, c.sets[i].to_txn, &ops, k);
		if (r)
			return diag_fail_errno(d, r, "changes since set %s", c.sets[i].id);
		if (k->n_changed) /* older sets lack it, too */
			break;
		*ret = chain_opens(k, &c, i);
	}
	return r;
}

int keep_check(const struct shred_context *ctx, const uint64_t *ids, size_t n, struct diag *d)
{
	CLEANUP_WITH(keeping_free)
	struct keeping k = {.ids = ids, .n = n, .kr = volume_keyring(ctx->volume)};
	struct volume_snapshot snap;
	bool kept = false;
	int r = note_live(&k, ctx->volume);

	if (r == 0)
		r = volume_snapshot_open(ctx->volume, &snap);
	if (r)
		return diag_fail_errno(d, r, "what the backups would keep");
	for (size_t i = 0; i < ctx->n_repos && r == 0 && !kept; i++) {
		k.repo = ctx->repos[i];
		r = repo_keeps(&k, ctx->volume, &snap, &kept, d);
	}
	int closed = volume_snapshot_close(ctx->volume, &snap);
	if (r == 0 && closed)
		r = diag_fail_errno(d, closed, "closing the snapshot");
	if (r == 0 && !kept)
		r = diag_fail(d, DIAG_POLICY, -EPERM,
			      "backups are to be kept, but no set holds the files as they are now; "
			      "run a backup first");
	return r;
}
