/*
 * Writing a merged set: a second pass through the members' indices, in the order of keys. See merge.h.
 *
 * Of the entries of one key, the oldest member's first:
 *
 *   NODE          the last, unless the file is gone
 *   NAME, GONE    the last; a GONE stays, for older sets below and for inventories of destructions
 *   EDGE          each kind once
 *   DATA          from the newest that stands alone on, unless the file is gone; and for each transaction as of which
 *                 something was made from it, from the newest up to there that stands alone, up to there
 *   SIGN          the last, unless the file is gone or its content is newer: what is merged could not tell any more what it
 *                 was then
 */
#include "backup/merge_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/set_writer.h"
#include "core/cleanup.h"
#include "core/kdf.h"

#define WINDOW (256u << 10) /* of a member's packs, read at once for each kind of record */
#define TOLD_EVERY 1024

struct window {
	uint8_t *p;
	uint32_t pack;
	uint64_t off;
	size_t len;
};
struct merging {
	const struct merge_request *in;
	struct merge_known known;
	struct set_writer *w;
	struct set_blocks *blocks;
	struct set_index **index; /* of each member */
	struct window (*windows)[SET_KINDS];
	uint8_t *record; /* one that is longer than a window */
	/* entries of the key at hand */
	struct set_entry *e;
	uint32_t *member;
	bool *keep;
	size_t n, cap;
	/* of the id at hand */
	uint64_t id, newest_data;
	struct merge_figures figures;
};

static const struct set_manifest *member_of(const struct merging *x, uint32_t k)
{
	return &x->in->catalog->sets[x->in->run->members[k]];
}

/* --- stored bytes --- */

static int fill_window(struct merging *x, uint32_t k, const struct set_entry *e, struct window *w)
{
	const struct set_manifest *m = member_of(x, k);
	char name[SET_NAME_LEN];

	if (e->pack >= m->n_packs || e->off > m->packs[e->pack].len || e->len > m->packs[e->pack].len - e->off)
		return -EBADMSG;
	if (!w->p && !(w->p = malloc(WINDOW)))
		return -ENOMEM;
	uint64_t left = m->packs[e->pack].len - e->off;
	w->pack = e->pack;
	w->off = e->off;
	w->len = 0;
	set_object_pack(m->id, e->pack, name);
	size_t len = left < WINDOW ? (size_t)left : WINDOW;
	if (e->len > len)
		return set_damage(repo_read(x->in->repo, name, e->off, x->record, e->len));
	int err = set_damage(repo_read(x->in->repo, name, e->off, w->p, len));
	w->len = err ? 0 : len;
	return err;
}

/* Frame and box of a record, as long as nothing else is read. */
static int stored(struct merging *x, uint32_t k, const struct set_entry *e, const uint8_t **ret)
{
	struct window *w = &x->windows[k][e->kind];
	uint8_t sum[SET_CHECKSUM_LEN];
	int err = 0;

	if (e->len > SET_FRAME_MAX)
		return -EBADMSG;
	if (w->len == 0 || w->pack != e->pack || e->off < w->off || e->off + (uint64_t)e->len > w->off + w->len)
		err = fill_window(x, k, e, w);
	if (err)
		return err;
	*ret = w->len ? w->p + (e->off - w->off) : x->record;
	set_checksum(*ret, e->len, sum);
	return memcmp(sum, e->sum, sizeof(sum)) == 0 ? 0 : -EBADMSG;
}

/* --- what stays of one key --- */

static void keep_data_up_to(struct merging *x, uint64_t as_of)
{
	size_t end = 0, from;

	while (end < x->n && x->e[end].version <= as_of)
		end++;
	if (end == 0)
		return;
	for (from = end - 1; from > 0 && (x->e[from].flags & SET_OVERLAY); from--)
		;
	for (; from < end; from++)
		x->keep[from] = true;
}

static void choose_data(struct merging *x)
{
	const struct set_entry *last = &x->e[x->n - 1];
	size_t first, n = merge_needed(&x->known, last->id, &first);

	if (last->version > x->newest_data)
		x->newest_data = last->version;
	if (!merge_is_gone(&x->known, last->id, x->member[x->n - 1]))
		keep_data_up_to(x, UINT64_MAX);
	for (size_t i = 0; i < n; i++)
		keep_data_up_to(x, x->known.needed.v[first + i].as_of);
}

static void choose_edges(struct merging *x)
{
	for (size_t i = 0; i < x->n; i++) {
		x->keep[i] = true;
		for (size_t k = 0; k < i; k++)
			x->keep[i] &= x->e[k].flags != x->e[i].flags;
	}
}

static void choose(struct merging *x)
{
	const size_t last = x->n - 1;
	const struct set_entry *e = &x->e[last];

	memset(x->keep, 0, x->n * sizeof(*x->keep));
	switch (e->kind) {
	case SET_DATA:
		choose_data(x);
		break;
	case SET_EDGE:
		choose_edges(x);
		break;
	case SET_NODE:
		x->keep[last] = !merge_is_gone(&x->known, e->id, x->member[last]);
		break;
	case SET_SIGN:
		x->keep[last] = !merge_is_gone(&x->known, e->id, x->member[last]) && e->version >= x->newest_data;
		break;
	default:
		x->keep[last] = true;
	}
}

static int put(struct merging *x, size_t i)
{
	struct set_entry e = x->e[i];
	const uint8_t *bytes;

	if (e.kind == SET_GONE || e.kind == SET_EDGE)
		return set_writer_entry(x->w, &e);
	int err = stored(x, x->member[i], &e, &bytes);
	if (err)
		return err;
	x->figures.n_kept++;
	x->figures.n_bytes += e.len;
	return set_writer_stored(x->w, &e, bytes);
}

static int put_group(struct merging *x)
{
	int err = 0;

	if (x->n == 0)
		return 0;
	if (x->e[0].id != x->id) {
		x->id = x->e[0].id;
		x->newest_data = 0;
	}
	choose(x);
	for (size_t i = 0; err == 0 && i < x->n; i++) {
		if (x->keep[i])
			err = put(x, i);
		else
			x->figures.n_dropped++;
	}
	x->n = 0;
	return err;
}

/* --- the pass --- */

static int collect(struct merging *x, const struct set_entry *e, uint32_t member)
{
	if (x->n == x->cap) {
		size_t cap = x->cap ? 2 * x->cap : 128;
		struct set_entry *es = realloc(x->e, cap * sizeof(*es));
		if (es)
			x->e = es;
		uint32_t *ms = realloc(x->member, cap * sizeof(*ms));
		if (ms)
			x->member = ms;
		bool *ks = realloc(x->keep, cap * sizeof(*ks));
		if (ks)
			x->keep = ks;
		if (!es || !ms || !ks)
			return -ENOMEM;
		x->cap = cap;
	}
	x->e[x->n] = *e;
	x->member[x->n++] = member;
	return 0;
}

static int tell(struct merging *x)
{
	uint64_t done = x->figures.n_kept + x->figures.n_dropped;

	if (!x->in->progress || done % TOLD_EVERY)
		return 0;
	return x->in->progress(x->in->arg, done, x->figures.n_bytes) ? -EINTR : 0;
}

static int pass(struct merging *x)
{
	const struct set_key from = {0}, to = {UINT64_MAX, UINT8_MAX, UINT64_MAX};
	struct set_cursor *c;
	struct set_entry e;
	uint32_t member;
	int more = set_cursor_open(x->index, x->in->run->n, &from, &to, &c);

	if (more)
		return more;
	while ((more = set_cursor_next(c, &e, &member)) > 0) {
		const struct set_key key = set_entry_key(&e);
		int err = 0;

		if (x->n) {
			const struct set_key at = set_entry_key(&x->e[0]);
			err = set_key_cmp(&at, &key) ? put_group(x) : 0;
		}
		if (err == 0)
			err = collect(x, &e, member);
		if (err == 0)
			err = tell(x);
		if (err) {
			more = err;
			break;
		}
	}
	set_cursor_close(c);
	return more ? more : put_group(x);
}

/* --- around it --- */

static int open_members(struct merging *x)
{
	size_t n = x->in->run->n;
	int err = 0;

	x->blocks = set_blocks_new();
	x->index = calloc(n, sizeof(*x->index));
	x->windows = calloc(n, sizeof(*x->windows));
	x->record = malloc(SET_FRAME_MAX);
	if (!x->blocks || !x->index || !x->windows || !x->record)
		return -ENOMEM;
	for (uint32_t k = 0; err == 0 && k < n; k++)
		err = set_index_open(x->in->repo, x->in->kr, member_of(x, k), x->blocks, &x->index[k]);
	return err;
}

static void close_members(struct merging *x)
{
	for (size_t k = 0; k < x->in->run->n; k++) {
		if (x->index)
			set_index_close(x->index[k]);
		for (size_t i = 0; x->windows && i < SET_KINDS; i++)
			free(x->windows[k][i].p);
	}
	free(x->index);
	free(x->windows);
	free(x->record);
	free(x->e);
	free(x->member);
	free(x->keep);
	set_blocks_free(x->blocks);
	merge_known_free(&x->known);
}

/* "ID ID .." of all members, and of all that the newest stands for. */
static int lists(const struct merging *x, struct set_manifest *m)
{
	const struct set_manifest *newest = member_of(x, (uint32_t)(x->in->run->n - 1));
	CLEANUP_BYTES struct bytes_w merged = {0}, stands = {0};

	for (uint32_t k = 0; k < x->in->run->n; k++) {
		bytes_w_raw(&merged, member_of(x, k)->id, strlen(member_of(x, k)->id));
		bytes_w_u8(&merged, k + 1 < x->in->run->n ? ' ' : 0);
	}
	if (newest->stands_for) {
		bytes_w_raw(&stands, newest->stands_for, strlen(newest->stands_for));
		bytes_w_u8(&stands, ' ');
	}
	bytes_w_raw(&stands, newest->id, strlen(newest->id) + 1);
	if (merged.err || stands.err)
		return -ENOMEM;
	m->merged = strdup((const char *)merged.buf);
	m->stands_for = strdup((const char *)stands.buf);
	return m->merged && m->stands_for ? 0 : -ENOMEM;
}

static int describe(const struct merging *x, struct set_manifest *m)
{
	const struct set_manifest *oldest = member_of(x, 0), *newest = member_of(x, (uint32_t)(x->in->run->n - 1));

	*m = (struct set_manifest){.full = oldest->full,
				   .timeline = newest->timeline,
				   .time = newest->time,
				   .from_txn = oldest->from_txn,
				   .to_txn = newest->to_txn,
				   .next_id = newest->next_id,
				   .next_link = newest->next_link,
				   .generation = keyring_generation(x->in->kr),
				   .trail = x->in->trail};
	strcpy(m->parent, oldest->parent);
	strcpy(m->tiers, newest->tiers);
	memcpy(m->volume_id, keyring_volume_id(x->in->kr), 16);
	memcpy(m->charter, x->in->charter, 32);
	/* Bodies are not opened: what the members held is the most that this can hold. */
	for (uint32_t k = 0; k < x->in->run->n; k++)
		m->n_bytes += member_of(x, k)->n_bytes;
	return lists(x, m);
}

static int write_set(struct merging *x, struct set_manifest *ret)
{
	struct set_manifest m;
	int err = describe(x, &m);

	if (err == 0)
		err = set_writer_new(x->in->repo, x->in->kr, &m, &x->w);
	set_manifest_free(&m);
	if (err)
		return err;
	err = pass(x);
	if (err == 0)
		err = set_writer_finish(x->w, keyring_sign_seed(x->in->kr), ret);
	if (err)
		set_writer_abort(x->w);
	else
		set_writer_free(x->w);
	return err;
}

int merge_write(const struct merge_request *in, struct set_manifest *ret, struct merge_figures *ret_figures,
		struct diag *d)
{
	struct merging x = {.in = in};
	const char *newest = in->catalog->sets[in->run->members[in->run->n - 1]].id;
	int err = merge_know(in, &x.known, d);

	if (err)
		return err;
	err = open_members(&x);
	if (err == 0)
		err = write_set(&x, ret);
	close_members(&x);
	if (err == 0)
		*ret_figures = x.figures;
	if (err == -EBADMSG || err == -EUCLEAN)
		return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "a set that was to be merged up to %s", newest);
	if (err == -EINTR)
		return diag_fail(d, DIAG_INTERRUPTED, err, "merging up to set %s", newest);
	return err ? diag_fail_errno(d, err, "merging up to set %s in %s", newest, repo_url(in->repo)) : 0;
}
