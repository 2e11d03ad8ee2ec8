/*
 * Custody: slots and escrow places that come and go, and the change of the volume key.
 *
 * VK lies wrapped in the header and seals the anchor, on two media that no write joins. What makes
 * the change whole is the anchor's second slot: while one slot opens under the old VK and the other
 * under the new, either header makes a volume, and replacing the header is the one step that
 * decides. The steps are in keyring.h.
 */
#include "core/keyring_internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* Takes the change lock, or says why not. */
static int change_begin(struct keyring *kr, struct diag *d)
{
	bool adrift;

	if (kr->flags & KEYRING_READ_ONLY)
		return diag_fail_errno(d, -EROFS, "keys of %s", kr->store);
	if (keyring_in_use_here(kr))
		return diag_fail_errno(d, -EDEADLK, "keys of %s", kr->store);
	pthread_mutex_lock(&kr->change);
	pthread_mutex_lock(&kr->anchor_lock);
	adrift = kr->adrift;
	pthread_mutex_unlock(&kr->anchor_lock);
	if (!adrift)
		return 0;
	pthread_mutex_unlock(&kr->change);
	return diag_fail_errno(d, -EROFS, "keys of %s", kr->store);
}

static void exclusive_begin(struct keyring *kr)
{
	pthread_rwlock_wrlock(&kr->epoch);
	pthread_mutex_lock(&kr->anchor_lock);
	pthread_mutex_lock(&kr->tree_lock);
}

static void exclusive_end(struct keyring *kr)
{
	pthread_mutex_unlock(&kr->tree_lock);
	pthread_mutex_unlock(&kr->anchor_lock);
	pthread_rwlock_unlock(&kr->epoch);
}

/* Both locks of exclusive_begin held. */
static int settle(struct keyring *kr, struct diag *d)
{
	int r = keyring_settle(kr);

	return r < 0 ? diag_fail_errno(d, r, "keys of %s", kr->store) : 0;
}

/* --- slots --- */

static struct header *header_copy(const struct keyring *kr)
{
	struct header *h = malloc(sizeof(*h));

	if (h)
		*h = *kr->header;
	return h;
}

/* The rest of a header never changes, so who reads that needs no lock. */
static void header_adopt(struct keyring *kr, const struct header *next)
{
	memcpy(kr->header->vk_commit, next->vk_commit, sizeof(next->vk_commit));
	memcpy(kr->header->slots, next->slots, sizeof(next->slots));
	kr->header->n_slots = next->n_slots;
}

/* Memory takes it only once both copies are written: a removed slot may not survive in one. */
static int header_take(struct keyring *kr, const struct header *next, struct diag *d)
{
	int r = header_write(kr->store_fd, next, secret_bytes(kr->seed), d);

	if (r == 0)
		header_adopt(kr, next);
	return r;
}

int keyring_slot_add(struct keyring *kr, const char *label, const struct header_unlock *with,
		     const uint8_t *seal_pk, bool cheap, struct diag *d)
{
	CLEANUP_FREE struct header *next = NULL;
	int r = change_begin(kr, d);

	if (r < 0)
		return r;
	next = header_copy(kr);
	r = next ? header_slot_add(next, secret_bytes(kr->vk), label, with, seal_pk, cheap, d)
		 : diag_fail_errno(d, -ENOMEM, "slot %s", label);
	if (r == 0)
		r = header_take(kr, next, d);
	pthread_mutex_unlock(&kr->change);
	return r;
}

int keyring_slot_remove(struct keyring *kr, const char *label, struct diag *d)
{
	CLEANUP_FREE struct header *next = NULL;
	int r = change_begin(kr, d);

	if (r < 0)
		return r;
	next = header_copy(kr);
	r = next ? header_slot_remove(next, label, d)
		 : diag_fail_errno(d, -ENOMEM, "slot %s", label);
	if (r == 0)
		r = header_take(kr, next, d);
	pthread_mutex_unlock(&kr->change);
	return r;
}

/* --- an escrow place more --- */

static int place_make(struct keyring *kr, const char *dir, char path[PATH_MAX], struct diag *d)
{
	const char *const forbidden[] = {kr->store};
	int r = escrow_place_check(dir, forbidden, 1, d);

	if (r < 0)
		return r;
	if (kr->state->n_recipients == 0)
		return diag_fail(d, DIAG_ESCROW, -EINVAL, "%s: the volume has no recipients", dir);
	r = escrow_create(dir, kr->header->volume_id, d);
	if (r == 0 && !realpath(dir, path))
		r = diag_fail_errno(d, -errno, "%s", dir);
	if (r == 0 && keyring_state_has_escrow(kr->state, path))
		r = diag_fail(d, DIAG_EXISTS, -EEXIST, "escrow %s", path);
	return r;
}

static int add_place(struct keyring_state *next, const void *arg)
{
	return keyring_state_add_escrow(next, arg);
}

/* change held. */
static int place_add(struct keyring *kr, const char *dir, struct diag *d)
{
	char path[PATH_MAX];
	int r = place_make(kr, dir, path, d);

	if (r < 0)
		return r;
	exclusive_begin(kr);
	r = keyring_advance(kr, add_place, path, d);
	if (r == 0)
		r = settle(kr, d);
	exclusive_end(kr);
	return r;
}

int keyring_escrow_add(struct keyring *kr, const char *dir, size_t *ret_pending, struct diag *d)
{
	size_t pending = 0;
	int r = change_begin(kr, d);

	if (r < 0)
		return r;
	r = place_add(kr, dir, d);
	if (r == 0)
		pending = keyring_escrow_rewrite(kr, KEYRING_ESCROW_STALE);
	pthread_mutex_unlock(&kr->change);
	if (r == 0)
		*ret_pending = pending;
	return r;
}

/* --- rotation --- */

struct rotation {
	const struct keyring_rotation *in;
	const char *place; /* to be given up, or NULL */
	bool keep[HEADER_SLOTS_MAX];
	struct header *before, *header;
	struct secret *vk;
	struct keyring_state *next;
	struct anchor_state *at; /* guarded */
	struct anchor *anchor;
};

static void rotation_free(struct rotation *rot)
{
	anchor_close(rot->anchor);
	secret_slab_free(rot->at);
	keyring_state_free(rot->next);
	secret_free(rot->vk);
	free(rot->header);
	free(rot->before);
}

/* All slots that are not named are wanted. */
static int slots_choose(struct rotation *rot, struct diag *d)
{
	const struct header *h = rot->before;

	for (size_t i = 0; i < h->n_slots; i++)
		rot->keep[i] = true;
	for (size_t k = 0; k < rot->in->n_drop; k++) {
		size_t i = 0;

		while (i < h->n_slots && strcmp(h->slots[i].label, rot->in->drop[k]) != 0)
			i++;
		if (i == h->n_slots)
			return diag_fail(d, DIAG_NOT_FOUND, -ENOENT, "slot %s", rot->in->drop[k]);
		rot->keep[i] = false;
	}
	return 0;
}

/* What takes Argon2's time, before anybody has to wait; change held. */
static int header_prepare(const struct keyring *kr, struct rotation *rot, struct diag *d)
{
	int r;

	rot->before = header_copy(kr);
	rot->header = malloc(sizeof(*rot->header));
	rot->vk = secret_new(KDF_KEY_LEN);
	rot->at = secret_slab_new(sizeof(*rot->at));
	if (!rot->before || !rot->header || !rot->vk || !rot->at)
		return diag_fail_errno(d, -ENOMEM, "guarded memory");
	r = slots_choose(rot, d);
	if (r < 0)
		return r;
	kdf_random(secret_bytes(rot->vk), KDF_KEY_LEN);
	return header_rekey(rot->before, secret_bytes(rot->vk), rot->in->secrets,
			    rot->in->n_secrets, rot->keep, rot->header, d);
}

/* What nobody has given out yet will come from roots that no old key has. */
static int state_rotate(struct keyring_state *next, const void *arg)
{
	const struct rotation *rot = arg;
	const struct keyring_rotation *in = rot->in;
	int r = 0;

	for (int t = 0; t < KEYRING_N_TREES && r == 0; t++)
		r = keytree_regenerate(next->trees[t], in->first_unused);
	if (r == 0 && rot->place)
		r = keyring_state_remove_escrow(next, rot->place);
	if (r == 0 && in->recipients) {
		next->n_recipients = in->n_recipients;
		memset(next->recipients, 0, sizeof(next->recipients));
		memcpy(next->recipients, in->recipients,
		       in->n_recipients * sizeof(*in->recipients));
	}
	return r;
}

static int rotation_make(struct keyring *kr, struct rotation *rot, struct diag *d)
{
	int r;

	if (rot->in->first_unused < kr->at->id_floor)
		return diag_fail(d, DIAG_USAGE, -EINVAL,
				 "keys of %s: ids that may have been given out", kr->store);
	r = keyring_next_make(kr, state_rotate, rot, &rot->next);
	if (r < 0)
		return diag_fail_errno(d, r, "keys of %s", kr->store);
	*rot->at = *kr->at;
	rot->at->generation = rot->next->generation;
	rot->at->id_floor = rot->in->first_unused;
	kdf_random(rot->at->tk, KDF_KEY_LEN);
	return 0;
}

/* Whether the header is certainly the old one still, as nothing has been renamed over it. */
static bool old_header_stands(const struct keyring *kr)
{
	CLEANUP_FREE struct header *h = NULL;
	bool used_backup;

	return header_read(kr->store_fd, kr->store, &h, &used_backup, NULL) == 0 && !used_backup &&
	       memcmp(h->vk_commit, kr->header->vk_commit, sizeof(h->vk_commit)) == 0;
}

/*
 * Either header may come back. The anchor's slots must stay as they are, and nothing may be sealed
 * any more under keys that the other header would not derive.
 */
static void go_adrift(struct keyring *kr, const struct rotation *rot)
{
	kr->adrift = true;
	for (int t = 0; t < KEYRING_N_TREES; t++)
		keytree_puncture(kr->state->trees[t], rot->in->first_unused, UINT64_MAX);
	keyring_cache_drop(kr);
}

/* The header wraps the old key; the anchor's older slot may hold anything. */
static void rotation_undo(struct keyring *kr)
{
	kr->unfinished = true;
	/* Should this fail, the next write to the anchor does it. */
	keyring_settle(kr);
}

/* Steps 1 to 3. */
static int rotation_write(struct keyring *kr, struct rotation *rot, struct diag *d)
{
	int r = keyring_lay_down(kr, rot->next, rot->at->tk);

	if (r < 0)
		return diag_fail_errno(d, r, "%s/" KEYRING_KEYS_DIR, kr->store);
	r = anchor_rekey(kr->anchor, secret_bytes(rot->vk), rot->at, &rot->anchor);
	if (r < 0) {
		rotation_undo(kr);
		return diag_fail_errno(d, r, "anchor %s", kr->header->anchor);
	}
	r = header_commit(kr->store_fd, rot->header, secret_bytes(kr->seed), d);
	if (r < 0 && old_header_stands(kr))
		rotation_undo(kr);
	else if (r < 0)
		go_adrift(kr, rot);
	return r;
}

/* The header has decided: memory follows. Then steps 4 and 5. */
static int rotation_take(struct keyring *kr, struct rotation *rot, struct diag *d)
{
	header_adopt(kr, rot->header);
	secret_free(kr->vk);
	kr->vk = STEAL_PTR(rot->vk);
	anchor_close(kr->anchor);
	kr->anchor = STEAL_PTR(rot->anchor);
	keyring_adopt(kr, STEAL_PTR(rot->next), rot->at);
	kr->unfinished = true;
	/* Redundancy that cannot be had now is put right at the next opening. */
	header_repair(kr->store_fd, kr->header, secret_bytes(kr->seed), NULL);
	return settle(kr, d);
}

static int rotate_exclusive(struct keyring *kr, struct rotation *rot, struct diag *d)
{
	int r;

	exclusive_begin(kr);
	/* Both slots have to hold this generation before one of them may go. */
	r = settle(kr, d);
	if (r == 0)
		r = rotation_make(kr, rot, d);
	if (r == 0)
		r = rotation_write(kr, rot, d);
	if (r == 0)
		r = rotation_take(kr, rot, d);
	exclusive_end(kr);
	return r;
}

static int recipients_check(const struct keyring *kr, const struct keyring_rotation *in,
			    struct diag *d)
{
	if (in->recipients && (in->n_recipients > ESCROW_RECIPIENTS_MAX ||
			       (in->n_recipients == 0 && kr->state->n_escrows > 0)))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "recipients of the escrows");
	return 0;
}

/* change held. */
static int rotate(struct keyring *kr, const struct keyring_rotation *in, const char *place,
		  struct keyring_rotated *ret, struct diag *d)
{
	CLEANUP_WITH(rotation_free) struct rotation rot = {.in = in, .place = place};
	struct keyring_rotated done = {0};
	int r = recipients_check(kr, in, d);

	if (r == 0)
		r = header_prepare(kr, &rot, d);
	if (r == 0)
		r = rotate_exclusive(kr, &rot, d);
	if (r < 0)
		return r;
	for (size_t i = 0; i < rot.before->n_slots; i++) {
		if (!rot.keep[i])
			strcpy(done.dropped[done.n_dropped++], rot.before->slots[i].label);
	}
	done.n_pending = keyring_escrow_rewrite(kr, KEYRING_ESCROW_STALE);
	*ret = done;
	return 0;
}

int keyring_rotate(struct keyring *kr, const struct keyring_rotation *in,
		   struct keyring_rotated *ret, struct diag *d)
{
	int r = change_begin(kr, d);

	if (r < 0)
		return r;
	r = rotate(kr, in, NULL, ret, d);
	pthread_mutex_unlock(&kr->change);
	return r;
}

/* --- an escrow place less --- */

/* The place as it was registered: a lost one may have no real path any more. */
static int place_find(const struct keyring *kr, const char *dir, char path[PATH_MAX],
		      struct diag *d)
{
	bool as_given = keyring_state_has_escrow(kr->state, dir);

	if (as_given)
		strcpy(path, dir);
	if (!as_given && (!realpath(dir, path) || !keyring_state_has_escrow(kr->state, path)))
		return diag_fail(d, DIAG_NOT_FOUND, -ENOENT, "escrow %s", dir);
	return 0;
}

/* change held. */
static int place_remove(struct keyring *kr, const char *dir, bool lost,
			const struct keyring_rotation *in, struct keyring_rotated *ret,
			struct diag *d)
{
	char path[PATH_MAX];
	int r = place_find(kr, dir, path, d);

	if (r < 0)
		return r;
	/* First: once it is no longer registered, nobody would come back to it. */
	r = escrow_erase(path, kr->header->volume_id, lost ? NULL : d);
	if (r < 0 && !lost)
		return r;
	r = rotate(kr, in, path, ret, d);
	if (r == 0)
		escrow_destroy(path, kr->header->volume_id);
	return r;
}

int keyring_escrow_remove(struct keyring *kr, const char *dir, bool lost,
			  const struct keyring_rotation *in, struct keyring_rotated *ret,
			  struct diag *d)
{
	int r = change_begin(kr, d);

	if (r < 0)
		return r;
	r = place_remove(kr, dir, lost, in, ret, d);
	pthread_mutex_unlock(&kr->change);
	return r;
}
