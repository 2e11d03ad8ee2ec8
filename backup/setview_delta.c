/*
 * Ranges that were stored as a delta: made from the content of an older file of the lineage.
 *
 * "As of transaction T" needs no set: of the basis's records those count whose version is T or lower,
 * as any set up to T would have shown it; so it stays true when sets are merged. T is below the
 * version of what is made from it, so that no circle can be; and writers stop at
 * SET_DELTA_DEPTH_MAX. Making is recursive to that depth, and everything stays in memory: a range at
 * each depth, and the latest MADE_MAX ranges that were copied from. Files are read in order, and what
 * one range copies from, the next goes on with.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/set_delta.h"
#include "backup/setview_internal.h"
#include "core/cleanup.h"

#define MADE_MAX 24

struct made_range {
	uint64_t id, range, as_of;
	uint64_t used; /* when, by the count of uses */
	uint8_t *content;
};
struct view_made {
	struct made_range v[MADE_MAX];
	uint64_t n_uses;
};

void setview_made_free(struct setview *sv)
{
	for (size_t i = 0; sv->made && i < MADE_MAX; i++)
		free(sv->made->v[i].content);
	free(sv->made);
	sv->made = NULL;
}

static const uint8_t *known(struct setview *sv, uint64_t id, uint64_t range, uint64_t as_of)
{
	for (size_t i = 0; i < MADE_MAX; i++) {
		struct made_range *m = &sv->made->v[i];

		if (!m->content || m->id != id || m->range != range || m->as_of != as_of)
			continue;
		m->used = ++sv->made->n_uses;
		return m->content;
	}
	return NULL;
}

/* In the place of the one that was not used for longest. */
static void keep(struct setview *sv, const struct made_range *m)
{
	struct made_range *oldest = &sv->made->v[0];

	for (size_t i = 1; i < MADE_MAX; i++)
		if (sv->made->v[i].used < oldest->used)
			oldest = &sv->made->v[i];
	free(oldest->content);
	*oldest = *m;
	oldest->used = ++sv->made->n_uses;
}

/* The records of a range up to a transaction, the oldest first. */
static int records_as_of(struct setview *sv, const struct made_range *m, struct view_run *run)
{
	const struct set_key key = {.id = m->id, .class = SET_DATA, .sub = m->range};
	struct set_cursor *c;
	struct view_entry ve;
	int err = set_cursor_open(sv->index, sv->n_chain, &key, &key, &c);

	if (err)
		return err;
	while ((err = set_cursor_next(c, &ve.e, &ve.set)) > 0) {
		if (ve.e.version > m->as_of)
			continue;
		err = view_run_add(run, &ve);
		if (err)
			break;
	}
	set_cursor_close(c);
	return err;
}

static int fill(struct setview *sv, const struct made_range *m, unsigned depth)
{
	uint8_t what[SET_RANGE_BLOCKS];
	struct view_run run = {0};
	int err = records_as_of(sv, m, &run);

	memset(what, SET_BLOCK_HOLE, sizeof(what));
	if (err == 0 && run.n)
		err = setview_lay(sv, run.v, run.n, depth, what, m->content);
	free(run.v);
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		if (what[i] != SET_BLOCK_DATA)
			memset(m->content + i * MAP_BLOCK, 0, MAP_BLOCK);
	return err;
}

/* The content of a basis's range, holes as zeros; valid until the next call. */
static int basis_range(struct setview *sv, struct made_range m, unsigned depth,
		       const uint8_t **ret)
{
	if (!sv->made && !(sv->made = calloc(1, sizeof(*sv->made))))
		return -ENOMEM;
	*ret = known(sv, m.id, m.range, m.as_of);
	if (*ret)
		return 0;
	CLEANUP_FREE uint8_t *content = malloc(SET_RANGE);
	if (!content)
		return -ENOMEM;
	m.content = content;
	int err = fill(sv, &m, depth);
	if (err)
		return err;
	keep(sv, &m);
	*ret = STEAL_PTR(content);
	return 0;
}

static int copy(struct setview *sv, const struct set_entry *e, uint64_t off, size_t len,
		unsigned depth, uint8_t *to)
{
	while (len) {
		const struct made_range m = {
		    .id = e->basis, .range = off / SET_RANGE, .as_of = e->as_of};
		size_t at = (size_t)(off % SET_RANGE), n = SET_RANGE - at;
		const uint8_t *from;
		int err = basis_range(sv, m, depth + 1, &from);

		if (err)
			return err;
		n = n < len ? n : len;
		memcpy(to, from + at, n);
		to += n;
		off += n;
		len -= n;
	}
	return 0;
}

static int check(const struct set_delta *d, const uint8_t *content)
{
	CLEANUP_BYTES struct bytes_w sums = {0};
	uint8_t found[SET_CHECK_LEN];
	int err = delta_sums(content, d->n_blocks * MAP_BLOCK, d->block_log, &sums);

	if (err)
		return err;
	set_delta_check(sums.buf, sums.len, found);
	return memcmp(found, d->check, sizeof(found)) == 0 ? 0 : -EBADMSG;
}

int setview_make(struct setview *sv, const struct view_entry *ve, const struct bytes_w *body,
		 unsigned depth, uint8_t what[SET_RANGE_BLOCKS], uint8_t *buf)
{
	struct set_delta_op op;
	struct set_delta d;
	size_t pos = 0, made = 0;

	if (set_delta_decode(body->buf, body->len, &d) != 0 || d.as_of != ve->e.as_of ||
	    d.as_of >= ve->e.version || depth >= SET_DELTA_DEPTH_MAX)
		return -EBADMSG;
	while (set_delta_next(&d, &pos, &op)) {
		if (op.copy) {
			int err = copy(sv, &ve->e, op.off, op.len, depth, buf + made);
			if (err)
				return err;
		} else {
			memcpy(buf + made, op.bytes, op.len);
		}
		made += op.len;
	}
	memcpy(what, d.what, SET_RANGE_BLOCKS);
	return check(&d, buf);
}
