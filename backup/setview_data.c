/* The content of a file in a view: records of a range laid over each other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/setview_internal.h"

/* Lays one record over the range: what is data or hole in it replaces what was. */
static int overlay(struct setview *sv, const struct view_entry *ve, unsigned depth,
		   uint8_t what[SET_RANGE_BLOCKS], uint8_t *buf, struct bytes_w *body)
{
	uint8_t one[SET_RANGE_BLOCKS];
	const uint8_t *bytes;
	size_t n;

	bytes_w_reset(body);
	int err = setview_read(sv, ve, body);
	if (err)
		return err;
	if (set_entry_is_delta(&ve->e))
		return setview_make(sv, ve, body, depth, what, buf);
	if (set_data_decode(body->buf, body->len, one, &bytes, &n) != 0)
		return -EBADMSG;
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++) {
		if (one[i] == SET_BLOCK_SAME)
			continue;
		what[i] = one[i];
		if (one[i] == SET_BLOCK_DATA) {
			memcpy(buf + i * MAP_BLOCK, bytes, MAP_BLOCK);
			bytes += MAP_BLOCK;
		}
	}
	return 0;
}

/* The newest record that stands alone is the ground. */
int setview_lay(struct setview *sv, const struct view_entry *run, size_t n, unsigned depth,
		uint8_t what[SET_RANGE_BLOCKS], uint8_t *buf)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	size_t from = n - 1;

	while (from > 0 && (run[from].e.flags & SET_OVERLAY))
		from--;
	memset(what, SET_BLOCK_HOLE, SET_RANGE_BLOCKS);
	for (size_t i = from; i < n; i++) {
		int err = overlay(sv, &run[i], depth, what, buf, &body);
		if (err)
			return err;
	}
	return 0;
}

static int data_cursor(struct setview *sv, uint64_t id, struct set_cursor **ret)
{
	const struct set_key from = {.id = id, .class = SET_DATA},
			     to = {.id = id, .class = SET_DATA, .sub = UINT64_MAX};

	return set_cursor_open(sv->index, sv->n_chain, &from, &to, ret);
}

int view_data_open(struct setview *sv, uint64_t id, struct view_data *ret)
{
	*ret = (struct view_data){.sv = sv};
	int err = data_cursor(sv, id, &ret->c);
	if (err)
		view_data_close(ret);
	return err;
}

void view_data_close(struct view_data *it)
{
	set_cursor_close(it->c);
	free(it->run.v);
	*it = (struct view_data){0};
}

int view_run_add(struct view_run *r, const struct view_entry *ve)
{
	if (r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 16;
		struct view_entry *more = realloc(r->v, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->v = more;
		r->cap = cap;
	}
	r->v[r->n++] = *ve;
	return 0;
}

/* The records of the next range into run. */
static int take_run(struct view_data *it)
{
	struct view_entry ve;
	int more = 1;

	it->run.n = 0;
	int err = it->is_held ? view_run_add(&it->run, &it->held) : 0;
	it->is_held = false;
	while (err == 0 && (more = set_cursor_next(it->c, &ve.e, &ve.set)) > 0) {
		if (it->run.n && ve.e.range != it->run.v[0].e.range) {
			it->held = ve;
			it->is_held = true;
			break;
		}
		err = view_run_add(&it->run, &ve);
	}
	return err ? err : more < 0 ? more : 0;
}

int view_data_next(struct view_data *it, uint64_t *ret_range, uint8_t what[SET_RANGE_BLOCKS], uint8_t *buf)
{
	int err = take_run(it);

	if (err || it->run.n == 0)
		return err;
	*ret_range = it->run.v[0].e.range;
	err = setview_lay(it->sv, it->run.v, it->run.n, 0, what, buf);
	return err ? err : 1;
}

int view_data_version(struct setview *sv, uint64_t id, uint64_t *ret)
{
	struct set_cursor *c;
	struct set_entry e;
	uint64_t version = 0;
	uint32_t set;
	int err = data_cursor(sv, id, &c);

	if (err)
		return err;
	while ((err = set_cursor_next(c, &e, &set)) > 0)
		if (e.version > version)
			version = e.version;
	set_cursor_close(c);
	if (err == 0)
		*ret = version;
	return err;
}
