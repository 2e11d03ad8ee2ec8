/*
 * One backup run: flush, snapshot, choose the parent, scan, finish; or leave nothing behind.
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

static int write_set(const struct backup_request *in, const struct volume_snapshot *snap,
		     const struct set_catalog *cat, const struct set_manifest *parent, struct set_manifest *ret, struct diag *d)
{
	struct keyring *kr = volume_keyring(in->volume);
	struct set_manifest m;
	struct set_writer *w;

	describe(in, snap, parent, &m);
	int err = set_writer_new(in->repo, kr, &m, &w);
	if (err)
		return diag_fail_errno(d, err, "%s", repo_url(in->repo));
	err = backup_scan(in, snap, cat, parent, w, d);
	if (err == 0) {
		err = set_writer_finish(w, keyring_sign_seed(kr), ret);
		if (err)
			diag_fail_errno(d, err, "backup into %s", repo_url(in->repo));
	}
	if (err) {
		set_writer_abort(w);
		return err;
	}
	set_writer_free(w);
	return 0;
}

int backup_run(const struct backup_request *in, struct set_manifest *ret, struct diag *d)
{
	struct keyring *kr = volume_keyring(in->volume);
	struct volume_snapshot snap;
	struct set_catalog cat = {0};
	int err =
	    set_catalog_load(in->repo, keyring_volume_id(kr), keyring_header(kr)->sign_pk, &cat, d);

	if (err)
		return err;
	set_remove_unfinished(in->repo);
	if (in->flush)
		err = in->flush(in->arg);
	if (err == 0)
		err = volume_snapshot_open(in->volume, &snap);
	if (err) {
		set_catalog_free(&cat);
		return diag_fail_errno(d, err, "taking the snapshot");
	}
	const struct set_manifest *parent = in->full ? NULL : choose_parent(in->repo, &cat, &snap);
	err = write_set(in, &snap, &cat, parent, ret, d);
	set_catalog_free(&cat);
	int closed = volume_snapshot_close(in->volume, &snap);
	if (err == 0 && closed) {
		set_manifest_free(ret);
		err = diag_fail_errno(d, closed, "closing the snapshot (the set is complete)");
	}
	return err;
}
