/*
 * One backup run: go on with what an earlier one left; then flush, snapshot, choose the parent, scan, finish.
 *
 *   running ── no checkpoint yet, or the volume itself failed ──> snapshot closed, objects removed
 *      │ checkpoint: progress in the repository, snapshot kept for a day
 *      └── repository gone or full, killed, stopped ──> left as they are ──> the next run goes on there
 *
 * A run that went on with another's set takes a set of its own as well, on top of it: whoever asks for a backup gets
 * every write that was made before. That second one costs what changed since.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/backup.h"
#include "backup/backup_scan.h"
#include "backup/set_internal.h"
#include "backup/set_writer.h"
#include "core/cleanup.h"

/* All sets that set i rests on, and their objects, are there. */
static bool stands(struct repo *r, const struct set_catalog *c, size_t i)
{
	CLEANUP_FREE size_t *chain = NULL;
	size_t n = 0;
	bool whole = set_catalog_chain(c, i, &chain, &n, NULL) == 0;

	for (size_t k = 0; whole && k < n; k++)
		whole = set_objects_present(r, &c->sets[chain[k]]) == 0;
	return whole;
}

/* The newest set that this snapshot descends from. One whose chain is broken is no ground to build
 * on. */
static const struct set_manifest *choose_parent(struct repo *r, const struct set_catalog *c,
						const struct volume_snapshot *snap)
{
	for (size_t i = c->n_sets; i-- > 0;) {
		const struct set_manifest *m = &c->sets[i];

		if (m->timeline == snap->timeline && m->to_txn <= snap->snap.txn && stands(r, c, i))
			return m;
	}
	return NULL;
}

static void describe(const struct backup_request *in, const struct volume_snapshot *snap,
		     const struct set_manifest *parent, struct set_manifest *m)
{
	struct keyring *kr = volume_keyring(in->volume);

	*m = (struct set_manifest){.full = !parent,
				   .timeline = snap->timeline,
				   .time = snap->time,
				   .from_txn = parent ? parent->to_txn : 0,
				   .to_txn = snap->snap.txn,
				   .next_id = snap->next_id,
				   .next_link = snap->next_link,
				   .generation = keyring_generation(kr),
				   .trail = in->trail};
	if (parent)
		strcpy(m->parent, parent->id);
	strncpy(m->tiers, in->tier, sizeof(m->tiers) - 1);
	memcpy(m->volume_id, keyring_volume_id(kr), 16);
	memcpy(m->charter, in->charter, 32);
}

/* Whether it is worth while to leave what there is to the next run. What the volume itself does not give, it will not
 * give later either. */
static bool is_resumable(const struct set_writer *w, int err, const struct diag *d)
{
	return set_writer_has_checkpoint(w) && err != -ESTALE && err != -ENOMEM && d->id != DIAG_STORE_DAMAGED;
}

/* Ends with the set, or w gone and the snapshot closed, or (*ret_left) both left to a later run. */
static int write_set(const struct backup_request *in, struct volume_snapshot *snap, const struct set_catalog *cat,
		     const struct set_manifest *parent, const struct set_progress *from, struct set_writer *w,
		     struct set_manifest *ret, bool *ret_left, struct diag *d)
{
	set_writer_limit(w, in->write_rate);
	int err = backup_scan(in, snap, cat, parent, from, w, d);

	*ret_left = false;
	if (err == 0) {
		err = set_writer_finish(w, keyring_sign_seed(volume_keyring(in->volume)), ret);
		if (err)
			diag_fail_errno(d, err, "backup into %s", repo_url(in->repo));
	}
	if (err && is_resumable(w, err, d)) {
		diag_fail(d, d->id, err, "backup into %s: the next run goes on where this one stopped", repo_url(in->repo));
		*ret_left = true;
		set_writer_free(w);
	} else if (err) {
		set_writer_abort(w);
	} else {
		set_writer_free(w);
	}
	return err;
}

static int close_snapshot(const struct backup_request *in, const struct volume_snapshot *snap, int err,
			  struct set_manifest *ret, struct diag *d)
{
	int closed = volume_snapshot_close(in->volume, snap);

	if (err || closed == 0)
		return err;
	set_manifest_free(ret);
	return diag_fail_errno(d, closed, "closing the snapshot (the set is complete)");
}

static int take(const struct backup_request *in, bool full, const struct set_catalog *cat, struct set_manifest *ret,
		struct diag *d)
{
	struct volume_snapshot snap;
	struct set_manifest m;
	struct set_writer *w;
	bool left = false;
	int err = in->flush ? in->flush(in->arg) : 0;

	if (err == 0)
		err = volume_snapshot_open(in->volume, &snap);
	if (err)
		return diag_fail_errno(d, err, "taking the snapshot");
	const struct set_manifest *parent = full ? NULL : choose_parent(in->repo, cat, &snap);
	describe(in, &snap, parent, &m);
	err = set_writer_new(in->repo, volume_keyring(in->volume), &m, &w);
	if (err)
		diag_fail_errno(d, err, "%s", repo_url(in->repo));
	else
		err = write_set(in, &snap, cat, parent, NULL, w, ret, &left, d);
	return left ? err : close_snapshot(in, &snap, err, ret, d);
}

/* --- going on with a set that was interrupted --- */

struct interrupted {
	char id[SET_ID_MAX + 1];
	struct set_manifest m;
	struct set_progress at;
	struct volume_snapshot snap;
	const struct set_manifest *parent; /* in the catalogue; NULL: full */
};

static const struct set_manifest *by_id(const struct set_catalog *c, const char *id)
{
	for (size_t i = 0; i < c->n_sets; i++)
		if (!strcmp(c->sets[i].id, id))
			return &c->sets[i];
	return NULL;
}

/*
 * The sets it rests on still stand, none was merged meanwhile, and no key went: what was put already may be made from
 * what an order has destroyed since, or from records that a merge did not know to be needed.
 */
static bool rests_well(const struct backup_request *in, const struct set_catalog *cat, const struct interrupted *x)
{
	size_t i, by;

	if (x->m.generation != keyring_generation(volume_keyring(in->volume)))
		return false;
	if (x->m.full)
		return true;
	if (!x->parent || x->parent->to_txn != x->m.from_txn)
		return false;
	i = (size_t)(x->parent - cat->sets);
	return !set_catalog_superseded(cat, i, &by) && stands(in->repo, cat, i);
}

/* The ground it was begun on is still there: its snapshot, and the sets it rests on. */
static bool has_ground(const struct backup_request *in, const struct set_catalog *cat, struct interrupted *x)
{
	if (volume_snapshot_find(in->volume, x->at.snap_id, &x->snap) != 0)
		return false;
	if (x->snap.snap.txn != x->at.snap_txn || x->snap.timeline != x->m.timeline)
		return false;
	x->parent = x->m.full ? NULL : by_id(cat, x->m.parent);
	if (rests_well(in, cat, x))
		return true;
	volume_snapshot_close(in->volume, &x->snap);
	return false;
}

/* 1: one can be gone on with. What cannot is removed: nobody else runs backups of this volume. */
static int find_interrupted(const struct backup_request *in, const struct set_catalog *cat, struct interrupted *x)
{
	char **ids = NULL;
	size_t n = 0;
	int found = 0, err = repo_list(in->repo, "sets/", &ids, &n);

	for (size_t i = n; err == 0 && !found && i-- > 0;) {
		if (!set_id_valid(ids[i]) || by_id(cat, ids[i]))
			continue;
		strcpy(x->id, ids[i]);
		if (set_progress_load(in->repo, volume_keyring(in->volume), x->id, &x->m, &x->at) != 0)
			continue;
		found = has_ground(in, cat, x);
		if (!found) {
			set_manifest_free(&x->m);
			set_remove(in->repo, x->id);
		}
	}
	repo_list_free(ids, n);
	return err ? err : found;
}

/* 1: *ret is the set that was completed. 0: there was none to go on with. */
static int go_on(const struct backup_request *in, const struct set_catalog *cat, struct set_manifest *ret,
		 struct diag *d)
{
	struct interrupted x = {0};
	struct set_writer *w;
	bool left = false;
	int found = find_interrupted(in, cat, &x);

	if (found <= 0)
		return found ? diag_fail_errno(d, found, "%s", repo_url(in->repo)) : 0;
	set_manifest_free(&x.m);
	int err = set_writer_resume(in->repo, volume_keyring(in->volume), x.id, &w);
	if (err)
		return diag_fail_errno(d, err, "%s: going on with set %s", repo_url(in->repo), x.id);
	err = write_set(in, &x.snap, cat, x.parent, &x.at, w, ret, &left, d);
	if (!left)
		err = close_snapshot(in, &x.snap, err, ret, d);
	return err ? err : 1;
}

static int load_catalog(const struct backup_request *in, struct set_catalog *ret, struct diag *d)
{
	struct keyring *kr = volume_keyring(in->volume);

	return set_catalog_load(in->repo, keyring_volume_id(kr), keyring_header(kr)->sign_pk, ret, d);
}

int backup_run(const struct backup_request *in, struct set_manifest *ret, struct diag *d)
{
	CLEANUP_WITH(set_catalog_free) struct set_catalog cat = {0};
	struct set_manifest before = {0};
	bool full = in->full;
	int err = load_catalog(in, &cat, d);

	if (err)
		return err;
	int went_on = go_on(in, &cat, &before, d);
	if (went_on < 0)
		return went_on;
	if (went_on) {
		full = in->full && !before.full; /* a full set is there now */
		set_manifest_free(&before);
		set_catalog_free(&cat);
		err = load_catalog(in, &cat, d);
	}
	set_remove_unfinished(in->repo);
	return err ? err : take(in, full, &cat, ret, d);
}
