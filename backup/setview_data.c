/* The content of a file in a view: records of a range laid over each other. */
#include <errno.h>
#include <string.h>

#include "backup/setview_internal.h"

/* Lays one record over the range: what is data or hole in it replaces what was. */
static int overlay(struct setview *sv, const struct view_entry *ve, uint8_t what[SET_RANGE_BLOCKS],
		   uint8_t *buf, struct bytes_w *body)
{
	uint8_t one[SET_RANGE_BLOCKS];
	const uint8_t *bytes;
	size_t n;

	bytes_w_reset(body);
	int err = setview_read(sv, ve, body);
	if (err)
		return err;
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

int setview_range(struct setview *sv, size_t first, size_t end, uint8_t what[SET_RANGE_BLOCKS],
		  uint8_t *buf, size_t *ret_n)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	const struct view_entry *ve = &sv->data.v[first];
	size_t n = 1, from;

	while (first + n < end && ve[n].e.range == ve->e.range)
		n++;
	/* The newest that stands alone is the ground. */
	for (from = n - 1; from > 0 && (ve[from].e.flags & SET_OVERLAY); from--)
		;
	memset(what, SET_BLOCK_HOLE, SET_RANGE_BLOCKS);
	for (size_t i = from; i < n; i++) {
		int err = overlay(sv, &ve[i], what, buf, &body);
		if (err)
			return err;
	}
	*ret_n = n;
	return 0;
}
