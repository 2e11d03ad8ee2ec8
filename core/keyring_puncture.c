/*
 * Puncture: the one irreversible act, as the state machine in keyring.h.
 *
 * The point of no return is the first byte of the anchor's first slot. Before it, everything
 * written is undone. From it on nothing is: memory already goes on with the new state, and settling
 * repeats until both slots hold it.
 */
#include "core/keyring_internal.h"

#include <errno.h>
#include <string.h>

/* What is asked, checked before anything is locked. */
struct wanted {
	unsigned trees;
	const struct keyring_range *ranges;
	size_t n_ranges;
	const char *order;
};

static int wanted_check(const struct keyring *kr, const struct wanted *w, struct diag *d)
{
	size_t order_len = strlen(w->order);

	if (kr->flags & KEYRING_READ_ONLY)
		return diag_fail_errno(d, -EROFS, "keys of %s", kr->store);
	if (keyring_in_use_here(kr))
		return diag_fail_errno(d, -EDEADLK, "keys of %s", kr->store);
	if (w->trees == 0 || w->trees & ~KEYRING_BOTH || order_len == 0 ||
	    order_len > KEYRING_ORDER_REF_MAX)
		return diag_fail_errno(d, -EINVAL, "order %s", w->order);
	for (size_t i = 0; i < w->n_ranges; i++) {
		if (w->ranges[i].first > w->ranges[i].last)
			return diag_fail_errno(d, -EINVAL, "order %s: ids", w->order);
	}
	return 0;
}

static bool anything_left(const struct keyring_state *st, const struct wanted *w)
{
	for (int t = 0; t < KEYRING_N_TREES; t++) {
		if (!(w->trees & KEYRING_MASK(t)))
			continue;
		for (size_t i = 0; i < w->n_ranges; i++) {
			if (keytree_has_any(st->trees[t], w->ranges[i].first, w->ranges[i].last))
				return true;
		}
	}
	return false;
}

static int state_cut(struct keyring_state *st, const void *arg)
{
	const struct wanted *w = arg;
	int r = 0;

	for (int t = 0; t < KEYRING_N_TREES; t++) {
		if (!(w->trees & KEYRING_MASK(t)))
			continue;
		for (size_t i = 0; i < w->n_ranges && r == 0; i++) {
			r = keytree_puncture(st->trees[t], w->ranges[i].first, w->ranges[i].last);
			if (r == 0)
				r = keyring_state_add_gone(st, t, w->ranges[i].first,
							   w->ranges[i].last, w->order);
		}
	}
	return r;
}

int keyring_next_make(const struct keyring *kr, keyring_change_fn fn, const void *arg,
		      struct keyring_state **ret)
{
	CLEANUP_KEYRING_STATE struct keyring_state *next = keyring_state_clone(kr->state);
	int r;

	if (!next)
		return -ENOMEM;
	next->generation++;
	r = fn(next, arg);
	if (r == 0)
		*ret = STEAL_PTR(next);
	return r;
}

int keyring_lay_down(struct keyring *kr, const struct keyring_state *next,
		     const uint8_t tk[KDF_KEY_LEN])
{
	int r = keyring_file_write(kr->keys_fd, next, tk);

	if (r < 0)
		keyring_file_remove(kr->keys_fd, next->generation);
	return r;
}

void keyring_adopt(struct keyring *kr, struct keyring_state *next, const struct anchor_state *at)
{
	keyring_state_free(kr->state);
	kr->state = next;
	keyring_cache_drop(kr);
	*kr->at = *at;
}

int keyring_advance(struct keyring *kr, keyring_change_fn fn, const void *arg, struct diag *d)
{
	CLEANUP_KEYRING_STATE struct keyring_state *next = NULL;
	struct anchor_state at = *kr->at;
	int r = kr->adrift ? -EROFS : keyring_next_make(kr, fn, arg, &next);

	if (r < 0) {
		secret_wipe(&at, sizeof(at));
		return diag_fail_errno(d, r, "keys of %s", kr->store);
	}
	at.generation = next->generation;
	kdf_random(at.tk, sizeof(at.tk));
	r = keyring_lay_down(kr, next, at.tk);
	if (r < 0) {
		secret_wipe(&at, sizeof(at));
		return diag_fail_errno(d, r, "%s/" KEYRING_KEYS_DIR, kr->store);
	}
	kr->unfinished = true;
	r = anchor_put_both(kr->anchor, &at);
	if (r == 0)
		kr->unfinished = false;
	keyring_adopt(kr, STEAL_PTR(next), &at);
	secret_wipe(&at, sizeof(at));
	return r < 0 ? diag_fail_errno(d, r, "anchor %s", kr->header->anchor) : 0;
}

int keyring_settle(struct keyring *kr)
{
	int r = 0;

	if (kr->adrift)
		return -EROFS;
	if (kr->unfinished)
		r = anchor_put_both(kr->anchor, kr->at);
	if (r < 0)
		return r;
	kr->unfinished = false;
	/* Only now is it certain which generation the anchor opens: the others may go. */
	return keyring_file_discard_others(kr->keys_fd, kr->state->generation);
}

static int puncture_exclusive(struct keyring *kr, const struct wanted *w, struct diag *d)
{
	int r = 0;

	pthread_mutex_lock(&kr->anchor_lock);
	pthread_mutex_lock(&kr->tree_lock);
	if (anything_left(kr->state, w))
		r = keyring_advance(kr, state_cut, w, d);
	if (r == 0) {
		r = keyring_settle(kr);
		if (r < 0)
			diag_fail_errno(d, r, "%s/" KEYRING_KEYS_DIR, kr->store);
	}
	pthread_mutex_unlock(&kr->tree_lock);
	pthread_mutex_unlock(&kr->anchor_lock);
	return r;
}

int keyring_puncture(struct keyring *kr, unsigned trees, const struct keyring_range *ranges,
		     size_t n_ranges, const char *order, size_t *ret_pending, struct diag *d)
{
	const struct wanted w = {trees, ranges, n_ranges, order};
	size_t pending = 0;
	int r = wanted_check(kr, &w, d);

	if (r < 0)
		return r;
	pthread_mutex_lock(&kr->change);
	pthread_rwlock_wrlock(&kr->epoch);
	r = puncture_exclusive(kr, &w, d);
	pthread_rwlock_unlock(&kr->epoch);
	if (r == 0)
		pending = keyring_escrow_rewrite(kr, KEYRING_ESCROW_STALE);
	pthread_mutex_unlock(&kr->change);
	if (r == 0)
		*ret_pending = pending;
	return r;
}
