/* Content of files in mounted sets: whole ranges are opened, and the latest are kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/setmount_internal.h"
#include "core/secret.h"

static void drop(struct setmount_range *r)
{
	if (r->content)
		secret_wipe(r->content, SET_RANGE);
	free(r->content);
	*r = (struct setmount_range){0};
}

void setmount_file_free(struct setmount *m)
{
	for (size_t i = 0; i < SETMOUNT_RANGES; i++)
		drop(&m->ranges[i]);
}

/* The place of the range that was not used for longest, free, with room for content; NULL: no memory. */
static struct setmount_range *place(struct setmount *m)
{
	struct setmount_range *r = &m->ranges[0];

	for (size_t i = 1; i < SETMOUNT_RANGES; i++)
		if (m->ranges[i].used < r->used)
			r = &m->ranges[i];
	r->node = 0;
	if (!r->content)
		r->content = malloc(SET_RANGE);
	return r->content ? r : NULL;
}

/* Holes come as zeros, which is what they read as. */
static int fill(const struct setmount_at *at, uint64_t range, struct setmount_range *r)
{
	int there = setview_range(at->sv, at->id, range, r->what, r->content);

	if (there < 0)
		return there;
	if (there == 0)
		memset(r->what, SET_BLOCK_HOLE, sizeof(r->what));
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		if (r->what[i] != SET_BLOCK_DATA)
			memset(r->content + i * MAP_BLOCK, 0, MAP_BLOCK);
	return 0;
}

static int get_range(struct setmount *m, const struct setmount_at *at, uint64_t range, struct setmount_range **ret)
{
	struct setmount_range *r = NULL;

	for (size_t i = 0; i < SETMOUNT_RANGES && !r; i++)
		if (m->ranges[i].node == at->node && m->ranges[i].range == range)
			r = &m->ranges[i];
	if (!r) {
		r = place(m);
		int err = r ? fill(at, range, r) : -ENOMEM;
		if (err)
			return err;
		r->node = at->node;
		r->range = range;
	}
	r->used = ++m->n_uses;
	*ret = r;
	return 0;
}

/* Found out once for each file, as long as it is remembered. */
static int check_whole(struct setmount *m, const struct setmount_at *at, const struct set_node *n)
{
	size_t i = (size_t)((at->node ^ at->node >> NODE_BITS) % SETMOUNT_WHOLE);

	if (!n->in_blocks || m->whole[i].node == at->node)
		return n->in_blocks ? m->whole[i].err : 0;
	struct setmount_range *scratch = place(m);
	int err = scratch ? setview_content_whole(at->sv, at->id, n, scratch->content) : -ENOMEM;
	if (err == 0 || err == -EBADMSG || err == -EKEYREVOKED) {
		m->whole[i].node = at->node;
		m->whole[i].err = err;
	}
	return err;
}

static int regular(struct setmount *m, const struct setmount_at *at, const struct set_node **ret)
{
	int err = setmount_read_node(m, at, ret);

	if (err)
		return err;
	if (!S_ISREG((*ret)->attr.mode))
		return -EINVAL;
	return setmount_failed(m, at, check_whole(m, at, *ret));
}

int setmount_open(struct setmount *m, const struct setmount_at *at)
{
	const struct set_node *n;

	return regular(m, at, &n);
}

/* The n bytes at off, which lie within the file. */
static int read_blocks(struct setmount *m, const struct setmount_at *at, uint8_t *buf, size_t len, uint64_t off)
{
	struct setmount_range *r;

	for (size_t done = 0, n; done < len; done += n) {
		size_t within = (size_t)((off + done) % SET_RANGE);

		n = SET_RANGE - within < len - done ? SET_RANGE - within : len - done;
		int err = get_range(m, at, (off + done) / SET_RANGE, &r);
		if (err)
			return err;
		memcpy(buf + done, r->content + within, n);
	}
	return 0;
}

ssize_t setmount_read(struct setmount *m, const struct setmount_at *at, uint8_t *buf, size_t len, uint64_t off)
{
	const struct set_node *n;
	int err = regular(m, at, &n);

	if (err)
		return err;
	if (off >= n->attr.size)
		return 0;
	if (len > n->attr.size - off)
		len = (size_t)(n->attr.size - off);
	if (n->in_blocks)
		err = read_blocks(m, at, buf, len, off);
	else
		memcpy(buf, n->inline_data + off, len);
	return err ? setmount_failed(m, at, err) : (ssize_t)len;
}

/* The first block from off on, in its range, that is data, or is not. False: none there. */
static bool find_block(const struct setmount_range *r, uint64_t off, bool data, uint64_t *ret)
{
	for (size_t i = (size_t)(off % SET_RANGE / MAP_BLOCK); i < SET_RANGE_BLOCKS; i++) {
		uint64_t at = r->range * SET_RANGE + i * MAP_BLOCK;

		if ((r->what[i] == SET_BLOCK_DATA) != data)
			continue;
		*ret = at > off ? at : off;
		return true;
	}
	return false;
}

static int seek_blocks(struct setmount *m, const struct setmount_at *at, uint64_t off, bool data, uint64_t size,
		       uint64_t *ret)
{
	struct setmount_range *r;
	uint64_t range;

	for (; off < size; off = (off / SET_RANGE + 1) * SET_RANGE) {
		int err = setview_next_range(at->sv, at->id, off / SET_RANGE, &range);

		if (err && err != -ENXIO)
			return err;
		if (!data && (err || range > off / SET_RANGE)) {
			*ret = off;
			return 0;
		}
		if (err)
			return err;
		if (range > off / SET_RANGE)
			off = range * SET_RANGE;
		err = off < size ? get_range(m, at, range, &r) : 0;
		if (err)
			return err;
		if (off < size && find_block(r, off, data, ret))
			return data && *ret >= size ? -ENXIO : 0;
	}
	return -ENXIO;
}

int setmount_seek(struct setmount *m, const struct setmount_at *at, uint64_t off, int whence, uint64_t *ret)
{
	const bool data = whence == SEEK_DATA;
	const struct set_node *n;
	int err = regular(m, at, &n);

	if (err)
		return err;
	const uint64_t size = n->attr.size;
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (off >= size)
		return -ENXIO;
	if (!n->in_blocks) {
		*ret = data ? off : size;
		return 0;
	}
	err = seek_blocks(m, at, off, data, size, ret);
	if (err == -ENXIO) {
		*ret = size;
		return data ? err : 0;
	}
	if (err)
		return setmount_failed(m, at, err);
	if (*ret > size)
		*ret = size;
	return 0;
}
