/*
 * Escrows of an opened keyring: writing them, and telling what they hold.
 *
 * An escrow is written outside the epoch lock, because its medium may be slow; the change lock
 * keeps the generation still meanwhile. One that is out of reach stays pending and is caught up
 * with later.
 */
#include "core/keyring_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Everything an escrow carries, as of now. The caller releases with escrow_content_wipe. */
static int content_make(struct keyring *kr, struct escrow_content *ret)
{
	struct escrow_content c = {0};
	int r;

	memcpy(c.volume_id, kr->header->volume_id, sizeof(c.volume_id));
	strcpy(c.name, kr->header->name);
	memcpy(c.charter_first, kr->header->charter_first, sizeof(c.charter_first));
	memcpy(c.sign_pk, kr->header->sign_pk, sizeof(c.sign_pk));
	memcpy(c.vk, secret_bytes(kr->vk), sizeof(c.vk));
	pthread_mutex_lock(&kr->anchor_lock);
	pthread_mutex_lock(&kr->tree_lock);
	c.anchor = *kr->at;
	r = keyring_state_encode(kr->state, &c.state, &c.state_len);
	pthread_mutex_unlock(&kr->tree_lock);
	pthread_mutex_unlock(&kr->anchor_lock);
	if (r == 0)
		*ret = c;
	secret_wipe(&c, sizeof(c));
	return r;
}

/* The generation alone does not settle it: see escrow_key_tag. */
static bool is_newest(const struct escrow_info *info, uint64_t generation, const uint8_t tag[16])
{
	return info->generation == generation && memcmp(info->key_tag, tag, 16) == 0;
}

/* Nor does one slot: after a crash between the two, the other still holds the old tree key. */
static bool is_current(const struct escrow_info *info, uint64_t generation, const uint8_t tag[16])
{
	return is_newest(info, generation, tag) && !info->other_stale;
}

static bool holds(const struct keyring *kr, const char *dir, const struct escrow_content *c)
{
	struct escrow_info info;
	uint8_t tag[16];

	escrow_key_tag(&c->anchor, tag);
	return escrow_info(dir, kr->header->volume_id, kr->header->sign_pk, &info, NULL) == 0 &&
	       is_current(&info, c->anchor.generation, tag);
}

/* Registry and recipients change only under the change lock, which the caller holds. */
size_t keyring_escrow_rewrite(struct keyring *kr, enum keyring_escrow_which which)
{
	const struct keyring_state *st = kr->state;
	struct escrow_content c = {0};
	size_t pending = 0;

	if (st->n_escrows == 0)
		return 0;
	if (content_make(kr, &c) < 0)
		return st->n_escrows;
	for (size_t i = 0; i < st->n_escrows; i++) {
		if (which == KEYRING_ESCROW_STALE && holds(kr, st->escrows[i], &c))
			continue;
		if (escrow_write(st->escrows[i], &c, secret_bytes(kr->seed), st->recipients,
				 st->n_recipients, NULL) < 0)
			pending++;
	}
	escrow_content_wipe(&c);
	return pending;
}

const char *keyring_escrow_newer(const struct keyring_state *st, uint64_t generation,
				 const uint8_t *tag)
{
	uint8_t sign_pk[IDENTITY_KEY_LEN];

	identity_sign_pk_from_seed(keyring_state_seed(st), sign_pk);
	for (size_t i = 0; i < st->n_escrows; i++) {
		struct escrow_info info;

		if (escrow_info(st->escrows[i], st->volume_id, sign_pk, &info, NULL) < 0)
			continue;
		if (info.generation > generation)
			return st->escrows[i];
		if (tag && info.generation == generation && memcmp(info.key_tag, tag, 16) != 0)
			return st->escrows[i];
	}
	return NULL;
}

int keyring_escrow_sync(struct keyring *kr, size_t *ret_pending)
{
	size_t pending = 0;
	int r;

	if (kr->flags & KEYRING_READ_ONLY)
		return -EROFS;
	if (keyring_in_use_here(kr))
		return -EDEADLK;
	pthread_mutex_lock(&kr->change);
	pthread_mutex_lock(&kr->anchor_lock);
	pthread_mutex_lock(&kr->tree_lock);
	/* No escrow may run ahead of the anchor. */
	r = keyring_settle(kr);
	pthread_mutex_unlock(&kr->tree_lock);
	pthread_mutex_unlock(&kr->anchor_lock);
	if (r == 0)
		pending = keyring_escrow_rewrite(kr, KEYRING_ESCROW_ALL);
	pthread_mutex_unlock(&kr->change);
	if (r == 0)
		*ret_pending = pending;
	return r;
}

static void status_fill(const struct keyring *kr, uint64_t generation, const uint8_t tag[16],
			struct keyring_escrow_status *s)
{
	struct escrow_info info;
	int r = escrow_info(s->dir, kr->header->volume_id, kr->header->sign_pk, &info, NULL);

	if (r < 0) {
		snprintf(s->why, sizeof(s->why), "%s", diag_errno(r));
		return;
	}
	s->generation = info.generation;
	s->confirmed = is_current(&info, generation, tag);
	if (!s->confirmed && is_newest(&info, generation, tag))
		snprintf(s->why, sizeof(s->why), "one of its two copies is not rewritten yet");
	else if (!s->confirmed)
		snprintf(s->why, sizeof(s->why),
			 "holds generation %" PRIu64 "%s, the volume is at %" PRIu64, s->generation,
			 s->generation == generation ? " of another descent" : "", generation);
}

size_t keyring_escrow_list(struct keyring *kr, struct keyring_escrow_status *ret)
{
	uint64_t generation;
	uint8_t tag[16];
	size_t n;

	pthread_mutex_lock(&kr->anchor_lock);
	generation = kr->at->generation;
	escrow_key_tag(kr->at, tag);
	pthread_mutex_unlock(&kr->anchor_lock);
	pthread_mutex_lock(&kr->tree_lock);
	n = kr->state->n_escrows;
	memset(ret, 0, n * sizeof(*ret));
	for (size_t i = 0; i < n; i++)
		strcpy(ret[i].dir, kr->state->escrows[i]);
	pthread_mutex_unlock(&kr->tree_lock);
	for (size_t i = 0; i < n; i++)
		status_fill(kr, generation, tag, &ret[i]);
	return n;
}
