/*
 * Opening: header, slot, anchor, state; then whatever an interruption left to finish.
 *
 * The anchor alone says which generation counts. A later state without its anchor is a puncture
 * that never happened and is thrown away; an earlier one is a puncture that did and has not been
 * cleaned up.
 */
#include "core/keyring_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

/*
 * Reading beside a serving process, the state may be replaced between the anchor's reading and its
 * own.
 */
#define TRIES_MAX 8

static int folders_open(struct keyring *kr, const char *store, struct diag *d)
{
	kr->store = strdup(store);
	if (!kr->store)
		return diag_fail_errno(d, -ENOMEM, "%s", store);
	kr->store_fd = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (kr->store_fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return diag_fail(d, DIAG_NO_VOLUME, -errno, "%s", store);
	if (kr->store_fd < 0)
		return diag_fail_errno(d, -errno, "%s", store);
	return 0;
}

/* Header and slot: the volume key. */
static int unlock(struct keyring *kr, const struct header_unlock *with, struct diag *d)
{
	const char *label;
	int r = header_read(kr->store_fd, kr->store, &kr->header, &kr->used_backup, d);

	if (r < 0)
		return r;
	kr->suite = suite_by_id(kr->header->suite);
	if (!kr->suite) {
		const char *name = suite_id_name(kr->header->suite);
		const char *needs = suite_id_needs(kr->header->suite);

		return diag_fail(d, DIAG_SUITE, -EPROTONOSUPPORT, "%s: %s. %s", kr->store,
				 name ? name : "unknown suite", needs ? needs : "A newer coffer.");
	}
	r = header_unlock(kr->header, with, &kr->vk, &label, d);
	if (r < 0)
		return r;
	strcpy(kr->slot_label, label);
	kr->keys_fd = openat(kr->store_fd, KEYRING_KEYS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (kr->keys_fd < 0)
		return diag_fail(d, DIAG_KEYSTATE, -errno, "%s/" KEYRING_KEYS_DIR, kr->store);
	return 0;
}

/* What the anchor says, and the state it opens. *ret_bad: copies of the state to mend. */
static int state_load(struct keyring *kr, bool *ret_other_stale, unsigned *ret_bad, struct diag *d)
{
	uint64_t before = 0;
	int r = 0;

	keyring_state_free(STEAL_PTR(kr->state));
	for (int i = 0; i < TRIES_MAX; i++) {
		r = anchor_get(kr->anchor, kr->at, ret_other_stale, d);
		if (r < 0)
			return r;
		r = keyring_file_load(kr->keys_fd, kr->header->volume_id, kr->at->generation,
				      kr->at->tk, &kr->state, ret_bad);
		if (r == 0)
			return 0;
		if (kr->at->generation == before)
			break;
		before = kr->at->generation;
	}
	return diag_fail(d, r == -EPROTONOSUPPORT ? DIAG_VERSION : DIAG_KEYSTATE, r,
			 "%s/" KEYRING_KEYS_DIR "/state-%" PRIu64, kr->store, kr->at->generation);
}

static int state_find(struct keyring *kr, bool *ret_other_stale, unsigned *ret_bad, struct diag *d)
{
	int r = anchor_open(kr->header->anchor, kr->header->volume_id, secret_bytes(kr->vk),
			    &kr->anchor, d);

	return r < 0 ? r : state_load(kr, ret_other_stale, ret_bad, d);
}

/* The header signs itself; only the sealed state can say that its key is the volume's. */
static int prove(struct keyring *kr, struct diag *d)
{
	uint8_t pk[IDENTITY_KEY_LEN];

	kr->seed = secret_new(KDF_KEY_LEN);
	if (!kr->seed)
		return diag_fail_errno(d, -ENOMEM, "guarded memory");
	memcpy(secret_bytes(kr->seed), keyring_state_seed(kr->state), KDF_KEY_LEN);
	identity_sign_pk_from_seed(secret_bytes(kr->seed), pk);
	if (memcmp(pk, kr->header->sign_pk, sizeof(pk)) != 0 ||
	    kr->state->suite != kr->header->suite)
		return diag_fail(d, DIAG_HEADER_DAMAGED, -EBADMSG, "%s/header", kr->store);
	return 0;
}

static int anchor_is_newest(const struct keyring *kr, struct diag *d)
{
	const char *dir = keyring_escrow_newer(kr->state, kr->at->generation, NULL);

	if (!dir)
		return 0;
	return diag_fail(d, DIAG_ROLLED_BACK, -ESTALE, "anchor %s is older than the escrow in %s",
			 kr->header->anchor, dir);
}

/*
 * To read beside a serving process finishes nothing, but takes no old copy either. When the serving
 * process has carried out an order since the anchor was read, what it left is read anew.
 */
static int newest_beside(struct keyring *kr, struct diag *d)
{
	for (int i = 0; i < TRIES_MAX; i++) {
		uint64_t before = kr->at->generation;
		bool stale;
		unsigned bad;
		int r;

		if (anchor_is_newest(kr, NULL) == 0)
			return 0;
		r = state_load(kr, &stale, &bad, d);
		if (r < 0)
			return r;
		if (kr->at->generation == before)
			break;
	}
	return anchor_is_newest(kr, d);
}

/*
 * Steps 3 to 5 of an interrupted puncture, and second copies. Nobody else has kr yet, so no lock is
 * needed.
 */
static int finish(struct keyring *kr, bool other_stale, unsigned bad, struct diag *d)
{
	int r = anchor_is_newest(kr, d);

	if (r < 0)
		return r;
	kr->unfinished = other_stale;
	r = keyring_settle(kr);
	if (r < 0)
		return diag_fail_errno(d, r, "keys of %s", kr->store);
	/* Redundancy that cannot be had now (a full disk) is no reason not to open. */
	keyring_file_mend(kr->keys_fd, kr->state, kr->at->tk, bad);
	header_repair(kr->store_fd, kr->header, secret_bytes(kr->seed), NULL);
	keyring_escrow_rewrite(kr, KEYRING_ESCROW_STALE);
	return 0;
}

static void cleanup_keyring(struct keyring **kr)
{
	keyring_close(*kr);
}

int keyring_open(const char *store, const struct header_unlock *with, unsigned flags,
		 struct keyring **ret, struct diag *d)
{
	CLEANUP_WITH(cleanup_keyring) struct keyring *kr = keyring_alloc();
	bool other_stale = false;
	unsigned bad = 0;
	int r;

	if (!kr)
		return diag_fail_errno(d, -ENOMEM, "guarded memory");
	kr->flags = flags;
	r = folders_open(kr, store, d);
	if (r == 0)
		r = unlock(kr, with, d);
	if (r == 0)
		r = state_find(kr, &other_stale, &bad, d);
	if (r == 0)
		r = prove(kr, d);
	if (r == 0)
		r = flags & KEYRING_READ_ONLY ? newest_beside(kr, d)
					      : finish(kr, other_stale, bad, d);
	if (r == 0)
		*ret = STEAL_PTR(kr);
	return r;
}
