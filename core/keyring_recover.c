/*
 * Recovery: a store's header, key state and anchor rebuilt from an escrow.
 *
 * An escrow that was out of reach when something was destroyed still holds the old tree key. So
 * whatever speaks of a later generation is asked first: the state files in the store, the anchor if
 * it still opens, and the other registered escrows. What none of them knows, the caller re-applies
 * from the orders announced in the repositories.
 */
#include "core/keyring_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "core/durable.h"

#define RECOVERY_LABEL "recovery"

struct recovery {
	const char *store, *anchor_dir, *escrow_dir;
	int store_fd, keys_fd;
	struct escrow_content *content; /* guarded */
	struct keyring_state *state;
	struct header *header;
	struct anchor *anchor;
	bool state_differs; /* the store's state of this generation does not open with this escrow */
};

static void recovery_free(struct recovery *rc)
{
	anchor_close(rc->anchor);
	keyring_state_free(rc->state);
	if (rc->content)
		escrow_content_wipe(rc->content);
	secret_slab_free(rc->content);
	free(rc->header);
	cleanup_fd(&rc->keys_fd);
	cleanup_fd(&rc->store_fd);
}

static int store_open(struct recovery *rc, struct diag *d)
{
	int r;

	rc->store_fd = open(rc->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc->store_fd < 0)
		return diag_fail_errno(d, -errno, "%s", rc->store);
	r = durable_mkdir(rc->store_fd, KEYRING_KEYS_DIR, 0700);
	if (r < 0)
		return diag_fail_errno(d, r, "%s/" KEYRING_KEYS_DIR, rc->store);
	rc->keys_fd = openat(rc->store_fd, KEYRING_KEYS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc->keys_fd < 0)
		return diag_fail_errno(d, -errno, "%s/" KEYRING_KEYS_DIR, rc->store);
	return 0;
}

/*
 * The header that is still there, if it is one; the store's volume or the only one in the escrow
 * place.
 */
static int volume_find(struct recovery *rc, uint8_t ret_id[HEADER_ID_LEN], struct diag *d)
{
	bool used_backup;
	int r = header_read(rc->store_fd, rc->store, &rc->header, &used_backup, d);

	if (r == 0) {
		memcpy(ret_id, rc->header->volume_id, HEADER_ID_LEN);
		return 0;
	}
	if (r == -EPROTONOSUPPORT || r == -ENOMEM || r == -EACCES)
		return r;
	/* Lost or damaged: that is what recovery is for. */
	return escrow_find(rc->escrow_dir, ret_id, d);
}

/* Opens the escrow; its state has to prove the key that signed it. */
static int content_open(struct recovery *rc, const uint8_t id[HEADER_ID_LEN],
			const struct identity *recipient, struct diag *d)
{
	uint8_t pk[IDENTITY_KEY_LEN];
	int r;

	rc->content = secret_slab_new(sizeof(*rc->content));
	if (!rc->content)
		return diag_fail_errno(d, -ENOMEM, "guarded memory");
	r = escrow_open(rc->escrow_dir, id, recipient, rc->content, d);
	if (r < 0)
		return r;
	r = keyring_state_decode(rc->content->state, rc->content->state_len, &rc->state);
	if (r < 0)
		return diag_fail(d, r == -EPROTONOSUPPORT ? DIAG_VERSION : DIAG_ESCROW, r,
				 "escrow in %s", rc->escrow_dir);
	identity_sign_pk_from_seed(keyring_state_seed(rc->state), pk);
	if (memcmp(pk, rc->content->sign_pk, sizeof(pk)) != 0 ||
	    memcmp(rc->state->volume_id, id, HEADER_ID_LEN) != 0 ||
	    rc->state->generation != rc->content->anchor.generation)
		return diag_fail(d, DIAG_ESCROW, -EBADMSG, "escrow in %s", rc->escrow_dir);
	/* Whoever knows a recipient's card can make an escrow; the store's key he has not. */
	if (rc->header && memcmp(pk, rc->header->sign_pk, sizeof(pk)) != 0)
		return diag_fail(d, DIAG_ESCROW, -EBADMSG,
				 "escrow in %s: not signed by the volume that %s/header names",
				 rc->escrow_dir, rc->store);
	return 0;
}

/* --- nothing may know of a later generation --- */

static int outdated(const struct recovery *rc, const char *witness, struct diag *d)
{
	return diag_fail(d, DIAG_ESCROW, -ESTALE,
			 "escrow in %s holds generation %" PRIu64 ", but %s a later one",
			 rc->escrow_dir, rc->state->generation, witness);
}

/*
 * The same generation under another tree key is another line of descent, with destructions that
 * this escrow does not know: as bad as a later one. In a state file it looks like damage.
 */
static int other_descent(const struct recovery *rc, const char *witness, struct diag *d)
{
	return diag_fail(d, DIAG_ESCROW, -ESTALE,
			 "escrow in %s holds generation %" PRIu64 ", but %s it under another key",
			 rc->escrow_dir, rc->state->generation, witness);
}

static int check_states(struct recovery *rc, struct diag *d)
{
	CLEANUP_KEYRING_STATE struct keyring_state *st = NULL;
	uint64_t newest, generation = rc->state->generation;
	unsigned bad;
	int r = keyring_file_newest(rc->keys_fd, &newest);

	if (r < 0)
		return diag_fail_errno(d, r, "%s/" KEYRING_KEYS_DIR, rc->store);
	if (newest > generation)
		return outdated(rc, "the store has", d);
	rc->state_differs = newest == generation &&
			    keyring_file_load(rc->keys_fd, rc->state->volume_id, generation,
					      rc->content->anchor.tk, &st, &bad) < 0;
	return 0;
}

static int check_escrows(const struct recovery *rc, struct diag *d)
{
	char witness[HEADER_PATH_MAX + 32];
	const char *dir = keyring_escrow_newer(rc->state, rc->state->generation, NULL);
	uint8_t tag[16];

	if (!dir) {
		escrow_key_tag(&rc->content->anchor, tag);
		dir = keyring_escrow_newer(rc->state, rc->state->generation, tag);
		if (!dir)
			return 0;
		snprintf(witness, sizeof(witness), "the one in %s has", dir);
		return other_descent(rc, witness, d);
	}
	snprintf(witness, sizeof(witness), "the one in %s has", dir);
	return outdated(rc, witness, d);
}

/* What a living anchor knows better is kept; one that opens settles which descent is ours. */
static int anchor_heed(struct recovery *rc, const struct anchor_state *found, struct diag *d)
{
	struct anchor_state *ours = &rc->content->anchor;

	if (found->generation > rc->state->generation)
		return outdated(rc, "the anchor has", d);
	if (found->generation < rc->state->generation)
		return 0;
	if (!kdf_equal(found->tk, ours->tk, KDF_KEY_LEN))
		return other_descent(rc, "the anchor has", d);
	rc->state_differs = false;
	if (found->txn >= ours->txn)
		*ours = *found;
	return 0;
}

/* Opens the anchor that is there, or makes one. */
static int anchor_take(struct recovery *rc, struct diag *d)
{
	struct anchor_state *found = NULL;
	bool stale;
	int r = anchor_create(rc->anchor_dir, rc->state->volume_id, d);

	if (r < 0 && r != -EEXIST)
		return r;
	r = anchor_open(rc->anchor_dir, rc->state->volume_id, rc->content->vk, &rc->anchor, d);
	if (r < 0)
		return r;
	found = secret_slab_new(sizeof(*found));
	if (!found)
		return diag_fail_errno(d, -ENOMEM, "guarded memory");
	if (anchor_get(rc->anchor, found, &stale, NULL) == 0)
		r = anchor_heed(rc, found, d);
	secret_slab_free(found);
	if (r == 0 && rc->state_differs)
		r = other_descent(rc, "the store may have", d);
	return r;
}

/* --- rebuilding --- */

static bool header_matches(const struct recovery *rc)
{
	uint8_t commit[32];

	if (!rc->header)
		return false;
	header_vk_commit(rc->content->vk, commit);
	return memcmp(rc->header->volume_id, rc->state->volume_id, HEADER_ID_LEN) == 0 &&
	       memcmp(rc->header->sign_pk, rc->content->sign_pk, IDENTITY_KEY_LEN) == 0 &&
	       memcmp(rc->header->vk_commit, commit, sizeof(commit)) == 0;
}

/* A header that stands and is this volume's keeps its slots; else everything comes from the escrow.
 */
static int header_rebuild(struct recovery *rc, struct secret *pass, bool cheap, struct diag *d)
{
	const struct header_unlock with = {.passphrase = pass};
	char path[PATH_MAX];
	struct header *h;

	if (!header_matches(rc)) {
		free(rc->header);
		rc->header = calloc(1, sizeof(*rc->header));
		if (!rc->header)
			return diag_fail_errno(d, -ENOMEM, "%s/header", rc->store);
	}
	h = rc->header;
	memcpy(h->volume_id, rc->state->volume_id, HEADER_ID_LEN);
	strcpy(h->name, rc->content->name);
	h->suite = rc->state->suite;
	header_vk_commit(rc->content->vk, h->vk_commit);
	memcpy(h->sign_pk, rc->content->sign_pk, sizeof(h->sign_pk));
	memcpy(h->charter_first, rc->content->charter_first, sizeof(h->charter_first));
	h->created = rc->state->created;
	if (!realpath(rc->anchor_dir, path))
		return diag_fail_errno(d, -errno, "anchor %s", rc->anchor_dir);
	if (strlen(path) > HEADER_PATH_MAX)
		return diag_fail_errno(d, -ENAMETOOLONG, "anchor %s", rc->anchor_dir);
	strcpy(h->anchor, path);
	/*
	 * The slot of an earlier recovery gives way, unless it is the only one: then it is
	 * replaced.
	 */
	if (h->n_slots == 1 && !strcmp(h->slots[0].label, RECOVERY_LABEL))
		h->n_slots = 0;
	else
		header_slot_remove(h, RECOVERY_LABEL, NULL);
	return header_slot_add(h, rc->content->vk, RECOVERY_LABEL, &with, NULL, cheap, d);
}

/* State, anchor, header: as in creating, the header comes last. */
static int write_all(struct recovery *rc, struct diag *d)
{
	int r = keyring_file_write(rc->keys_fd, rc->state, rc->content->anchor.tk);

	if (r < 0)
		return diag_fail_errno(d, r, "%s/" KEYRING_KEYS_DIR, rc->store);
	r = anchor_put_both(rc->anchor, &rc->content->anchor);
	if (r < 0)
		return diag_fail_errno(d, r, "anchor %s", rc->anchor_dir);
	r = header_write(rc->store_fd, rc->header, keyring_state_seed(rc->state), d);
	if (r < 0)
		return r;
	r = keyring_file_discard_others(rc->keys_fd, rc->state->generation);
	return r < 0 ? diag_fail_errno(d, r, "%s/" KEYRING_KEYS_DIR, rc->store) : 0;
}

int keyring_recover(const char *store, const char *anchor, const char *escrow_dir,
		    const struct identity *recipient, struct secret *new_passphrase, bool cheap,
		    struct diag *d)
{
	CLEANUP_WITH(recovery_free)
	struct recovery rc = {.store = store,
			      .anchor_dir = anchor,
			      .escrow_dir = escrow_dir,
			      .store_fd = -1,
			      .keys_fd = -1};
	uint8_t id[HEADER_ID_LEN];
	int r = store_open(&rc, d);

	if (r == 0)
		r = volume_find(&rc, id, d);
	if (r == 0)
		r = content_open(&rc, id, recipient, d);
	if (r == 0)
		r = check_states(&rc, d);
	if (r == 0)
		r = check_escrows(&rc, d);
	if (r == 0)
		r = anchor_take(&rc, d);
	if (r == 0)
		r = header_rebuild(&rc, new_passphrase, cheap, d);
	return r < 0 ? r : write_all(&rc, d);
}
