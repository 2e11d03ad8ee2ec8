/*
 * The key state in memory: copies, the list of what is gone, and the encoding.
 *
 * The encoding holds keys, so it is built in guarded memory of known size; its public part (escrow
 * registry, recipients, gone ranges) is collected in an ordinary buffer first. Format:
 * docs/format.md "Key state".
 */
#include "core/keyring_internal.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"

#define STATE_VERSION 1
#define SEED_LEN 32
#define FIXED_KEYS_LEN (SEED_LEN + KEYRING_N_EPOCH * KDF_KEY_LEN)
/* version, generation, volume id, suite, created, keys, length of the public part */
#define FIXED_LEN (2 + 8 + HEADER_ID_LEN + 1 + 8 + FIXED_KEYS_LEN + 4)

/* --- life --- */

struct keyring_state *keyring_state_new(void)
{
	CLEANUP_KEYRING_STATE struct keyring_state *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->fixed = secret_new(FIXED_KEYS_LEN);
	return st->fixed ? STEAL_PTR(st) : NULL;
}

void keyring_state_free(struct keyring_state *st)
{
	if (!st)
		return;
	for (size_t i = 0; i < st->n_escrows; i++)
		free(st->escrows[i]);
	for (int t = 0; t < KEYRING_N_TREES; t++) {
		free(st->gone[t].v);
		keytree_free(st->trees[t]);
	}
	secret_free(st->fixed);
	free(st);
}

static int gone_reserve(struct keyring_gone_list *l, size_t n)
{
	size_t cap = l->cap ? l->cap : 16;
	struct keyring_gone *grown;

	if (n > KEYRING_GONE_MAX)
		return -ENOSPC;
	if (n <= l->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	grown = reallocarray(l->v, cap, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->v = grown;
	l->cap = cap;
	return 0;
}

static int clone_tree(struct keyring_state *c, const struct keyring_state *st, int t)
{
	int r = gone_reserve(&c->gone[t], st->gone[t].n);

	if (r < 0)
		return r;
	if (st->gone[t].n)
		memcpy(c->gone[t].v, st->gone[t].v, st->gone[t].n * sizeof(*st->gone[t].v));
	c->gone[t].n = st->gone[t].n;
	c->trees[t] = keytree_clone(st->trees[t]);
	return c->trees[t] ? 0 : -ENOMEM;
}

struct keyring_state *keyring_state_clone(const struct keyring_state *st)
{
	CLEANUP_KEYRING_STATE struct keyring_state *c = keyring_state_new();

	if (!c)
		return NULL;
	c->generation = st->generation;
	memcpy(c->volume_id, st->volume_id, sizeof(c->volume_id));
	c->suite = st->suite;
	c->created = st->created;
	memcpy(secret_bytes(c->fixed), secret_bytes(st->fixed), FIXED_KEYS_LEN);
	for (size_t i = 0; i < st->n_escrows; i++) {
		if (keyring_state_add_escrow(c, st->escrows[i]) < 0)
			return NULL;
	}
	c->n_recipients = st->n_recipients;
	memcpy(c->recipients, st->recipients, sizeof(c->recipients));
	for (int t = 0; t < KEYRING_N_TREES; t++) {
		if (clone_tree(c, st, t) < 0)
			return NULL;
	}
	return STEAL_PTR(c);
}

uint8_t *keyring_state_seed(const struct keyring_state *st)
{
	return secret_bytes(st->fixed);
}

uint8_t *keyring_state_epoch(const struct keyring_state *st, enum keyring_epoch which)
{
	return secret_bytes(st->fixed) + SEED_LEN + (size_t)which * KDF_KEY_LEN;
}

static size_t find_escrow(const struct keyring_state *st, const char *dir)
{
	size_t i = 0;

	while (i < st->n_escrows && strcmp(st->escrows[i], dir) != 0)
		i++;
	return i;
}

bool keyring_state_has_escrow(const struct keyring_state *st, const char *dir)
{
	return find_escrow(st, dir) < st->n_escrows;
}

int keyring_state_remove_escrow(struct keyring_state *st, const char *dir)
{
	size_t i = find_escrow(st, dir);

	if (i == st->n_escrows)
		return -ENOENT;
	free(st->escrows[i]);
	st->n_escrows--;
	memmove(&st->escrows[i], &st->escrows[i + 1],
		(st->n_escrows - i) * sizeof(st->escrows[0]));
	st->escrows[st->n_escrows] = NULL;
	return 0;
}

int keyring_state_add_escrow(struct keyring_state *st, const char *dir)
{
	if (keyring_state_has_escrow(st, dir))
		return 0;
	if (st->n_escrows == KEYRING_ESCROWS_MAX)
		return -ENOSPC;
	if (strlen(dir) > HEADER_PATH_MAX)
		return -ENAMETOOLONG;
	st->escrows[st->n_escrows] = strdup(dir);
	if (!st->escrows[st->n_escrows])
		return -ENOMEM;
	st->n_escrows++;
	return 0;
}

/* --- what is gone --- */

/* The first range that ends at or after id. */
static size_t gone_lower_bound(const struct keyring_gone_list *l, uint64_t id)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->v[mid].last < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/*
 * Puts a range that meets none in front of position i, or into the one before when that adjoins
 * under the same order.
 */
static int gone_insert(struct keyring_gone_list *l, size_t i, uint64_t first, uint64_t last,
		       const char *order)
{
	int r;

	if (i > 0 && l->v[i - 1].last + 1 == first && !strcmp(l->v[i - 1].order, order)) {
		l->v[i - 1].last = last;
		return 0;
	}
	r = gone_reserve(l, l->n + 1);
	if (r < 0)
		return r;
	memmove(&l->v[i + 1], &l->v[i], (l->n - i) * sizeof(*l->v));
	memset(&l->v[i], 0, sizeof(l->v[i]));
	l->v[i].first = first;
	l->v[i].last = last;
	strcpy(l->v[i].order, order);
	l->n++;
	return 0;
}

int keyring_state_add_gone(struct keyring_state *st, enum keyring_tree tree, uint64_t first,
			   uint64_t last, const char *order)
{
	struct keyring_gone_list *l = &st->gone[tree];

	for (;;) {
		size_t i = gone_lower_bound(l, first);
		uint64_t gap_last = last;
		int r;

		/* Inside an older order's range: that one stays, go on behind it. */
		if (i < l->n && l->v[i].first <= first) {
			if (l->v[i].last >= last)
				return 0;
			first = l->v[i].last + 1;
			continue;
		}
		if (i < l->n && l->v[i].first <= last)
			gap_last = l->v[i].first - 1;
		r = gone_insert(l, i, first, gap_last, order);
		if (r < 0 || gap_last == last)
			return r;
		first = gap_last + 1;
	}
}

const struct keyring_gone *keyring_state_find_gone(const struct keyring_state *st,
						   enum keyring_tree tree, uint64_t id)
{
	const struct keyring_gone_list *l = &st->gone[tree];
	size_t i = gone_lower_bound(l, id);

	return i < l->n && l->v[i].first <= id ? &l->v[i] : NULL;
}

/* --- encoding --- */

static void public_encode(struct bytes_w *w, const struct keyring_state *st)
{
	bytes_w_u8(w, (uint8_t)st->n_escrows);
	for (size_t i = 0; i < st->n_escrows; i++)
		bytes_w_blob(w, st->escrows[i], strlen(st->escrows[i]));
	bytes_w_u8(w, (uint8_t)st->n_recipients);
	for (size_t i = 0; i < st->n_recipients; i++) {
		const struct identity_card *c = &st->recipients[i];

		bytes_w_blob(w, c->name, strlen(c->name));
		bytes_w_blob(w, c->number, strlen(c->number));
		bytes_w_raw(w, c->sign_pk, sizeof(c->sign_pk));
		bytes_w_raw(w, c->seal_pk, sizeof(c->seal_pk));
	}
	for (int t = 0; t < KEYRING_N_TREES; t++) {
		bytes_w_u32(w, (uint32_t)st->gone[t].n);
		for (size_t i = 0; i < st->gone[t].n; i++) {
			const struct keyring_gone *g = &st->gone[t].v[i];

			bytes_w_u64(w, g->first);
			bytes_w_u64(w, g->last);
			bytes_w_blob(w, g->order, strlen(g->order));
		}
	}
}

int keyring_state_encode(const struct keyring_state *st, uint8_t **ret, size_t *ret_len)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	size_t len;
	uint8_t *buf, *p;

	public_encode(&w, st);
	if (w.err)
		return w.err;
	len = FIXED_LEN + w.len;
	for (int t = 0; t < KEYRING_N_TREES; t++)
		len += keytree_encoded_len(st->trees[t]);
	buf = p = secret_slab_new(len);
	if (!buf)
		return -ENOMEM;
	bytes_put16(p, STATE_VERSION);
	bytes_put64(p + 2, st->generation);
	p = mempcpy(p + 10, st->volume_id, HEADER_ID_LEN);
	*p++ = st->suite;
	bytes_put64(p, (uint64_t)st->created);
	p = mempcpy(p + 8, secret_bytes(st->fixed), FIXED_KEYS_LEN);
	bytes_put32(p, (uint32_t)w.len);
	p = mempcpy(p + 4, w.buf, w.len);
	for (int t = 0; t < KEYRING_N_TREES; t++) {
		keytree_encode(st->trees[t], p);
		p += keytree_encoded_len(st->trees[t]);
	}
	*ret = buf;
	*ret_len = len;
	return 0;
}

/* --- decoding --- */

static void text_decode(struct bytes_r *r, char *out, size_t max)
{
	size_t len;
	const uint8_t *p = bytes_r_blob(r, max, &len);

	if (!p || memchr(p, '\0', len)) {
		bytes_r_fail(r);
		return;
	}
	memcpy(out, p, len);
	out[len] = '\0';
}

static int escrows_decode(struct bytes_r *r, struct keyring_state *st)
{
	char dir[HEADER_PATH_MAX + 1] = "";

	for (unsigned n = bytes_r_u8(r); n > 0 && !r->err; n--) {
		int e;

		text_decode(r, dir, HEADER_PATH_MAX);
		if (r->err || dir[0] != '/' || keyring_state_has_escrow(st, dir))
			return -EUCLEAN;
		e = keyring_state_add_escrow(st, dir);
		if (e < 0)
			return e == -ENOMEM ? e : -EUCLEAN;
	}
	return 0;
}

static void recipients_decode(struct bytes_r *r, struct keyring_state *st)
{
	st->n_recipients = bytes_r_u8(r);
	if (st->n_recipients > ESCROW_RECIPIENTS_MAX)
		bytes_r_fail(r);
	for (size_t i = 0; i < st->n_recipients && !r->err; i++) {
		struct identity_card *c = &st->recipients[i];

		text_decode(r, c->name, IDENTITY_NAME_MAX);
		text_decode(r, c->number, IDENTITY_NAME_MAX);
		bytes_r_copy(r, c->sign_pk, sizeof(c->sign_pk));
		bytes_r_copy(r, c->seal_pk, sizeof(c->seal_pk));
	}
}

static int gone_decode(struct bytes_r *r, struct keyring_gone_list *l)
{
	uint32_t n = bytes_r_u32(r);
	int e;

	/* An entry takes at least 17 bytes. */
	if (r->err || n > KEYRING_GONE_MAX || n > r->left / 17)
		return -EUCLEAN;
	e = gone_reserve(l, n);
	if (e < 0)
		return e;
	for (; l->n < n; l->n++) {
		struct keyring_gone *g = &l->v[l->n];

		g->first = bytes_r_u64(r);
		g->last = bytes_r_u64(r);
		text_decode(r, g->order, KEYRING_ORDER_REF_MAX);
		if (r->err || g->first > g->last || (l->n && g->first <= g[-1].last))
			return -EUCLEAN;
	}
	return 0;
}

static int public_decode(const uint8_t *in, size_t len, struct keyring_state *st)
{
	struct bytes_r r = bytes_r_init(in, len);
	int e = escrows_decode(&r, st);

	if (e < 0)
		return e;
	recipients_decode(&r, st);
	for (int t = 0; t < KEYRING_N_TREES && e == 0; t++)
		e = gone_decode(&r, &st->gone[t]);
	return e < 0 ? e : bytes_r_done(&r);
}

int keyring_state_decode(const uint8_t *in, size_t len, struct keyring_state **ret)
{
	CLEANUP_KEYRING_STATE struct keyring_state *st = keyring_state_new();
	struct bytes_r r = bytes_r_init(in, len);
	const uint8_t *public;
	uint32_t public_len;
	uint16_t version;
	int e;

	if (!st)
		return -ENOMEM;
	version = bytes_r_u16(&r);
	if (version != STATE_VERSION)
		return version > STATE_VERSION ? -EPROTONOSUPPORT : -EUCLEAN;
	st->generation = bytes_r_u64(&r);
	bytes_r_copy(&r, st->volume_id, HEADER_ID_LEN);
	st->suite = bytes_r_u8(&r);
	st->created = (int64_t)bytes_r_u64(&r);
	bytes_r_copy(&r, secret_bytes(st->fixed), FIXED_KEYS_LEN);
	public_len = bytes_r_u32(&r);
	public = bytes_r_raw(&r, public_len);
	if (!public)
		return -EUCLEAN;
	e = public_decode(public, public_len, st);
	for (int t = 0; t < KEYRING_N_TREES && e == 0; t++)
		e = keytree_decode(&r, &st->trees[t]);
	if (e == 0)
		e = bytes_r_done(&r);
	if (e == 0)
		*ret = STEAL_PTR(st);
	return e;
}
