/*
 * A store without records: charter, configuration and an empty meta.db made anew.
 *
 * The keys have served another store, which nobody can ask any more. Nothing may be given out twice: the new records begin
 * with ids and transactions above all that any set and the escrow have seen, by a gap that covers what the lost store went
 * on with after the last of them. The timeline is a new one, so that the next set is full.
 */
#include "tools/recovery.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/set.h"
#include "core/charter.h"
#include "core/cleanup.h"
#include "core/durable.h"
#include "fs/volume.h"
#include "tools/charter_copy.h"

/* More ids and transactions than a volume uses between two backups. */
#define GAP ((uint64_t)1 << 32)

/* --- what was given out --- */

struct survey {
	uint64_t next_id;
	uint8_t (*charters)[32];
	size_t n_charters;
};

static void survey_free(struct survey *sv)
{
	free(sv->charters);
}

static void see_head(struct recovery *r, uint64_t size, const uint8_t root[32])
{
	if (!r->marker.trail_lost || size <= r->marker.old.size)
		return;
	r->marker.old.size = size;
	memcpy(r->marker.old.root, root, 32);
}

static int see_charter(struct survey *sv, const uint8_t digest[32])
{
	for (size_t i = 0; i < sv->n_charters; i++)
		if (!memcmp(sv->charters[i], digest, 32))
			return 0;
	uint8_t(*more)[32] = reallocarray(sv->charters, sv->n_charters + 1, 32);
	if (!more)
		return -ENOMEM;
	memcpy(more[sv->n_charters++], digest, 32);
	sv->charters = more;
	return 0;
}

static int see_set(struct recovery *r, struct survey *sv, const struct set_manifest *m)
{
	if (m->next_id > sv->next_id)
		sv->next_id = m->next_id;
	if (m->to_txn > r->last_txn)
		r->last_txn = m->to_txn;
	see_head(r, m->trail.size, m->trail.root);
	if (m->time >= r->newest_time) {
		r->newest_time = m->time;
		snprintf(r->newest_set, sizeof(r->newest_set), "%s", m->id);
	}
	return see_charter(sv, m->charter);
}

static int see_repository(struct recovery *r, struct survey *sv, struct repo *repo, struct diag *d)
{
	struct set_catalog cat = {0};
	int err = set_catalog_load(repo, keyring_volume_id(r->kr), keyring_header(r->kr)->sign_pk, &cat, d);

	if (err)
		return err;
	for (size_t i = 0; err == 0 && i < cat.n_sets; i++)
		err = see_set(r, sv, &cat.sets[i]);
	set_catalog_free(&cat);
	return err ? diag_fail_errno(d, err, "%s", repo_url(repo)) : 0;
}

/* --- the charter --- */

/*
 * Every charter that the escrow or a set names must be on the chain, else the repositories hold back a later one: its
 * members and quorums are those that count.
 */
static int check_charters(struct recovery *r, const struct survey *sv, struct diag *d)
{
	const uint8_t *first = keyring_header(r->kr)->charter_first;
	int err = 0;

	for (size_t i = 0; err == 0 && i < sv->n_charters; i++) {
		CLEANUP_FREE struct charter *c = NULL;

		err = charter_load(r->store_fd, sv->charters[i], first, &c, d);
	}
	return err;
}

static int bring_charter(struct recovery *r, const struct survey *sv, uint8_t ret_head[32], struct diag *d)
{
	const uint8_t *first = keyring_header(r->kr)->charter_first;
	CLEANUP_FREE struct charter *c = NULL;
	int err = 0;

	for (size_t i = 0; err == 0 && i < r->conf.n_repositories; i++)
		err = charter_copy_get(r->repos[i], first, r->store_fd, d);
	if (err == 0)
		err = charter_load(r->store_fd, NULL, first, &c, d);
	if (err == 0)
		err = check_charters(r, sv, d);
	if (err == 0)
		memcpy(ret_head, c->digest, 32);
	return err;
}

/* --- floors, into the anchor --- */

static int raise_floors(struct recovery *r, const struct survey *sv, struct diag *d)
{
	struct keyring_fresh f;
	int err;

	keyring_fresh_get(r->kr, &f);
	uint64_t txn = f.txn > r->last_txn ? f.txn : r->last_txn;
	if (sv->next_id > UINT64_MAX / 2 || txn > UINT64_MAX / 2)
		return diag_fail_errno(d, -EOVERFLOW, "numbers in the sets of %s", r->store);
	f.id_floor = sv->next_id + GAP;
	f.txn = txn + GAP;
	err = bring_charter(r, sv, f.charter_head, d);
	if (err)
		return err;
	err = keyring_fresh_put(r->kr, &f);
	r->first_id = f.id_floor;
	return err ? diag_fail_errno(d, err, "%s", r->anchor) : 0;
}

int recovery_survey(struct recovery *r, struct diag *d)
{
	CLEANUP_WITH(survey_free) struct survey sv = {0};
	struct keyring_fresh f;
	int err;

	keyring_fresh_get(r->kr, &f);
	sv.next_id = f.id_floor;
	see_head(r, f.trail_size, f.trail_root);
	err = see_charter(&sv, f.charter_head);
	for (size_t i = 0; err == 0 && i < r->conf.n_repositories; i++)
		err = see_repository(r, &sv, r->repos[i], d);
	/* The anchor will soon say less than it did: the head of the lost trail is kept where the next attempt finds it. */
	if (err == 0)
		err = recovery_marker_write(r->store_fd, &r->marker, d);
	if (err == 0 && r->marker.records_lost)
		err = raise_floors(r, &sv, d);
	return err;
}

/* --- records --- */

static int remove_below(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st, (void)type;
	return f->level == 0 ? 0 : remove(path);
}

/* What an earlier attempt made and nobody has ever mounted. */
static int clear(struct recovery *r, struct diag *d)
{
	static const char *const files[] = {"meta.db", "meta.db-wal", "meta.db-shm", "meta.db-journal"};
	char path[PATH_MAX + 16];
	int err = 0;

	for (size_t i = 0; err == 0 && i < sizeof(files) / sizeof(*files); i++)
		err = durable_unlink(r->store_fd, files[i]);
	if (err)
		return diag_fail_errno(d, err, "%s", r->store);
	snprintf(path, sizeof(path), "%s/objects", r->store);
	nftw(path, remove_below, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	return 0;
}

int recovery_rebuild(struct recovery *r, struct diag *d)
{
	struct volume_config cfg = {.store = r->store, .kr = r->kr};
	int err = clear(r, d);

	if (err == 0 && faccessat(r->store_fd, CONF_FILE, F_OK, 0) != 0) {
		conf_default_schedule(&r->conf);
		err = conf_write(r->store_fd, &r->conf, d);
	}
	/* The owner of the root folder, until it is restored. */
	return err ? err : volume_create(&cfg, (uint32_t)getuid(), (uint32_t)getgid(), d);
}
