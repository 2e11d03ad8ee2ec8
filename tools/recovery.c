/* See recovery.h: the steps in their order, and those that every recovery takes. */
#include "tools/recovery.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "shred/execute.h"
#include "tools/store_lock.h"
#include "tools/trail_anew.h"

/* --- what there is --- */

static bool there(const struct recovery *r, const char *name)
{
	return faccessat(r->store_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int is_file(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)path, (void)type, (void)f;
	return S_ISREG(st->st_mode);
}

/* Records that are away while the blocks they speak of are here: somebody has put them elsewhere. */
static int check_objects(const struct recovery *r, struct diag *d)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/objects", r->store);
	if (nftw(path, is_file, 16, FTW_PHYS) != 1)
		return 0;
	return diag_fail(d, DIAG_STORE_EXISTS, -EEXIST, "%s, while %s/meta.db is not there", path, r->store);
}

static int look(struct recovery *r, bool *ret_resumed, struct diag *d)
{
	int err = recovery_marker_read(r->store_fd, &r->marker, d);

	*ret_resumed = err == 0;
	if (err != -ENOENT)
		return err;
	r->marker = (struct recovery_marker){.records_lost = !there(r, "meta.db"),
					     .trail_lost = !there(r, "trail/checkpoint")};
	return r->marker.records_lost ? check_objects(r, d) : 0;
}

/* Without --repo those that the volume itself names. */
static int choose_repositories(struct recovery *r, struct diag *d)
{
	int err = r->conf.n_repositories ? 0 : conf_load(r->store_fd, &r->conf, d);

	if (err == 0 && r->marker.records_lost && !r->conf.n_repositories)
		err = diag_fail(d, DIAG_USAGE, -EINVAL,
				"--repo is needed: %s has no records, and what else there is lies in a repository", r->store);
	return err;
}

/* --- 1: the marker --- */

/* A mount that got by before the marker stood holds the lock; a later one finds the marker. */
static int begin(struct recovery *r, bool resumed, struct diag *d)
{
	CLEANUP_FD int lock = -1;
	int err;

	if (flock(r->store_fd, LOCK_EX | LOCK_NB) != 0)
		return diag_fail(d, DIAG_MOUNTED, -EBUSY, "%s, by another recovery", r->store);
	err = recovery_marker_write(r->store_fd, &r->marker, d);
	if (err)
		return err;
	err = store_lock(r->store_fd, r->store, &lock, d);
	if (err && !resumed)
		recovery_marker_remove(r->store_fd, NULL);
	return err;
}

/* --- 2: the keys --- */

static int open_keys(struct recovery *r, struct diag *d)
{
	struct header_unlock with = {.passphrase = r->passphrase};

	return keyring_open(r->store, &with, 0, &r->kr, d);
}

/*
 * An earlier attempt got as far as the keys. They may be newer than the escrow by now, by the orders that were applied,
 * so that they must not be taken from it again.
 */
static bool have_keys(struct recovery *r)
{
	struct diag ignored = {0};

	if (open_keys(r, &ignored) != 0)
		return false;
	if (!strcmp(keyring_header(r->kr)->anchor, r->anchor))
		return true;
	keyring_close(STEAL_PTR(r->kr));
	return false;
}

/* What is refused is refused before the first write; only the medium fails later. */
static bool refused(const struct diag *d)
{
	return d->id != DIAG_SYSTEM && d->id != DIAG_NO_SPACE;
}

static int recover_keys(struct recovery *r, bool resumed, struct diag *d)
{
	if (resumed && have_keys(r))
		return 0;
	int err = keyring_recover(r->store, r->anchor, r->escrow, r->identity, r->passphrase, r->cheap, d);
	if (err == 0)
		return open_keys(r, d);
	if (!resumed && refused(d))
		recovery_marker_remove(r->store_fd, NULL);
	return err;
}

/* --- 3: announced orders --- */

static int open_repositories(struct recovery *r, struct diag *d)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < r->conf.n_repositories; i++)
		err = repo_open(r->conf.repositories[i].url, keyring_volume_id(r->kr), keyring_header(r->kr)->sign_pk,
				&r->repos[i], d);
	return err;
}

/* What was destroyed stays destroyed, also when the escrow is older than the order. */
static int reapply(struct recovery *r, struct diag *d)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < r->conf.n_repositories; i++) {
		size_t n = 0;

		err = shred_reapply(r->kr, r->repos[i], &n, d);
		r->n_applied += n;
	}
	return err;
}

/* --- 5: the trail --- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st, (void)type, (void)f;
	return remove(path);
}

/* What an earlier attempt may have begun holds nothing but its own record. */
static int begin_trail(struct recovery *r, struct diag *d)
{
	char path[PATH_MAX + 16];
	int err;

	snprintf(path, sizeof(path), "%s/trail", r->store);
	if (there(r, "trail") && nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		return diag_fail_errno(d, -errno, "%s", path);
	struct trail_anew anew = {.created = time(NULL), .old = r->marker.old};
	struct keyring_fresh f;

	/* Not by time, which machines see differently: whatever is backed up from now on carries a higher transaction. */
	keyring_fresh_get(r->kr, &f);
	anew.txn = f.txn > r->last_txn ? f.txn : r->last_txn;
	err = keyring_trail_lost(r->kr);
	if (err)
		return diag_fail_errno(d, err, "%s", r->anchor);
	err = trail_create(r->store_fd, r->kr, d);
	return err ? err : trail_anew_write(r->store_fd, r->kr, &anew, d);
}

static void say_what_was_lost(const struct recovery *r, char *out, size_t size)
{
	const struct trail_head *old = &r->marker.old;
	char root[65];
	int n = snprintf(out, size, "%zu announced orders applied again%s", r->n_applied,
			 r->marker.records_lost ? "; the records were lost" : "");

	bytes_hex(root, old->root, 32);
	if (r->marker.trail_lost && old->size)
		snprintf(out + n, size - (size_t)n,
			 "; the trail before this was lost; its last head that is known: %" PRIu64 " entries, root %s",
			 old->size, root);
	else if (r->marker.trail_lost)
		snprintf(out + n, size - (size_t)n, "; the trail before this was lost; no head of it is known");
}

static int append(const struct recovery *r, struct trail *t, struct trail_head *ret)
{
	struct trail_event ev = {.uid = (uint32_t)getuid(), .pid = (uint32_t)getpid(), .operation = "key.recover",
				 .result = "ok"};

	snprintf(ev.member, sizeof(ev.member), "%s", identity_card(r->identity)->name);
	snprintf(ev.object, sizeof(ev.object), "volume %s", keyring_header(r->kr)->name);
	say_what_was_lost(r, ev.detail, sizeof(ev.detail));
	int err = trail_append(t, &ev, true);
	return err ? err : trail_checkpoint(t, ret, NULL);
}

static int record(struct recovery *r, struct diag *d)
{
	struct keyring_fresh fresh;
	struct trail_head head;
	struct trail *t;
	int err = r->marker.trail_lost ? begin_trail(r, d) : 0;

	if (err == 0)
		err = trail_open(r->store_fd, r->kr, NULL, &t, d);
	if (err)
		return err;
	err = append(r, t, &head);
	trail_close(t);
	if (err)
		return diag_fail(d, DIAG_TRAIL, err, "%s", r->store);
	keyring_fresh_get(r->kr, &fresh);
	fresh.trail_size = head.size;
	memcpy(fresh.trail_root, head.root, sizeof(fresh.trail_root));
	err = keyring_fresh_put(r->kr, &fresh);
	return err ? diag_fail_errno(d, err, "%s", r->anchor) : 0;
}

/* --- all of it --- */

int recovery_run(struct recovery *r, struct diag *d)
{
	bool resumed;
	int err;

	r->store_fd = open(r->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->store_fd < 0)
		return diag_fail_errno(d, -errno, "%s", r->store);
	err = look(r, &resumed, d);
	if (err == 0)
		err = choose_repositories(r, d);
	if (err == 0)
		err = begin(r, resumed, d);
	if (err == 0)
		err = recover_keys(r, resumed, d);
	if (err == 0)
		err = open_repositories(r, d);
	if (err == 0)
		err = reapply(r, d);
	if (err == 0 && (r->marker.records_lost || r->marker.trail_lost))
		err = recovery_survey(r, d);
	if (err == 0 && r->marker.records_lost)
		err = recovery_rebuild(r, d);
	if (err == 0)
		err = record(r, d);
	return err ? err : recovery_marker_remove(r->store_fd, d);
}

void recovery_free(struct recovery *r)
{
	for (size_t i = 0; i < r->conf.n_repositories; i++)
		repo_close(r->repos[i]);
	keyring_close(r->kr);
	cleanup_fd(&r->store_fd);
	r->kr = NULL;
}
