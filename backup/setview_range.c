/*
 * The content of a file in a view, read here and there.
 *
 * Who reads a file from its beginning to its end counts the blocks, and so sees when records lack: what was destroyed
 * while the set was taken has none. Who reads a piece does not see that, and would take what lacks for a hole.
 * Therefore it is found out first, for the file as a whole, wherever it can be so.
 */
#include <errno.h>
#include <stdlib.h>

#include "backup/setview_internal.h"

static int cursor(struct setview *sv, uint64_t id, uint64_t from, uint64_t to, struct set_cursor **ret)
{
	const struct set_key first = {.id = id, .class = SET_DATA, .sub = from},
			     last = {.id = id, .class = SET_DATA, .sub = to};

	return set_cursor_open(sv->index, sv->n_chain, &first, &last, ret);
}

int setview_range(struct setview *sv, uint64_t id, uint64_t range, uint8_t what[SET_RANGE_BLOCKS], uint8_t *buf)
{
	struct view_run run = {0};
	struct view_entry ve;
	struct set_cursor *c;
	int more, err = cursor(sv, id, range, range, &c);

	if (err)
		return err;
	while (err == 0 && (more = set_cursor_next(c, &ve.e, &ve.set)) != 0)
		err = more < 0 ? more : view_run_add(&run, &ve);
	set_cursor_close(c);
	if (err == 0 && run.n)
		err = setview_lay(sv, run.v, run.n, 0, what, buf);
	free(run.v);
	return err ? err : run.n != 0;
}

int setview_next_range(struct setview *sv, uint64_t id, uint64_t from, uint64_t *ret)
{
	struct set_cursor *c;
	struct set_entry e;
	uint32_t set;
	int err = cursor(sv, id, from, UINT64_MAX, &c);

	if (err)
		return err;
	int more = set_cursor_next(c, &e, &set);
	set_cursor_close(c);
	if (more > 0)
		*ret = e.range;
	return more < 0 ? more : more ? 0 : -ENXIO;
}

static int count_blocks(struct setview *sv, uint64_t id, uint8_t *range, uint64_t *ret)
{
	uint8_t what[SET_RANGE_BLOCKS];
	uint64_t at, n = 0;
	struct view_data it;
	int more = view_data_open(sv, id, &it);

	if (more)
		return more;
	while ((more = view_data_next(&it, &at, what, range)) > 0)
		for (size_t k = 0; k < SET_RANGE_BLOCKS; k++)
			n += what[k] == SET_BLOCK_DATA;
	view_data_close(&it);
	*ret = n;
	return more;
}

/* A set is complete but for what was destroyed in the live volume while it was taken; else there would be none. */
static bool may_lack(struct setview *sv, uint64_t id, const struct set_node *n)
{
	char order[KEYRING_ORDER_REF_MAX + 1];

	return n->attr.size <= SETVIEW_COUNTED * (uint64_t)SET_RANGE || keyring_gone(sv->kr, KEYRING_LIVE, id, order);
}

int setview_content_whole(struct setview *sv, uint64_t id, const struct set_node *n, uint8_t *range)
{
	uint64_t n_blocks = 0;

	if (!n->in_blocks || !may_lack(sv, id, n))
		return 0;
	int err = count_blocks(sv, id, range, &n_blocks);
	return err == 0 && n_blocks != n->n_mapped ? -EBADMSG : err;
}
