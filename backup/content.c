/* See content.h. */
#include "backup/content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"

struct sum {
	struct kdf_hash_state st;
	uint64_t size;
};

static void begin(struct sum *s, uint64_t size)
{
	kdf_hash_init(&s->st);
	s->size = size;
}

static void number(struct sum *s, uint64_t n)
{
	uint8_t le[8];

	bytes_put64(le, n);
	kdf_hash_update(&s->st, le, sizeof(le));
}

/* One block; what lies behind the end of the file does not count. p is changed there. */
static void block(struct sum *s, uint64_t off, uint8_t p[MAP_BLOCK])
{
	static const uint8_t zeros[MAP_BLOCK];

	if (off >= s->size)
		return;
	if (s->size - off < MAP_BLOCK)
		memset(p + (s->size - off), 0, MAP_BLOCK - (size_t)(s->size - off));
	if (memcmp(p, zeros, MAP_BLOCK) == 0)
		return;
	number(s, off);
	kdf_hash_update(&s->st, p, MAP_BLOCK);
}

static void end(struct sum *s, uint8_t ret[CONTENT_DIGEST_LEN])
{
	number(s, s->size);
	kdf_hash_final(&s->st, ret);
}

/* --- in a set --- */

static void add_range(struct sum *s, uint64_t range, const uint8_t what[SET_RANGE_BLOCKS],
		      uint8_t *buf)
{
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		if (what[i] == SET_BLOCK_DATA)
			block(s, range * SET_RANGE + i * MAP_BLOCK, buf + i * MAP_BLOCK);
}

static int add_ranges(struct sum *s, struct setview *sv, uint64_t id, uint64_t n_mapped)
{
	CLEANUP_FREE uint8_t *buf = malloc(SET_RANGE);
	uint8_t what[SET_RANGE_BLOCKS];
	uint64_t mapped = 0, range;
	struct view_data it;
	int more = buf ? view_data_open(sv, id, &it) : -ENOMEM;

	if (more)
		return more;
	while ((more = view_data_next(&it, &range, what, buf)) > 0) {
		for (size_t k = 0; k < SET_RANGE_BLOCKS; k++)
			mapped += what[k] == SET_BLOCK_DATA;
		add_range(s, range, what, buf);
	}
	view_data_close(&it);
	if (more)
		return more;
	return mapped == n_mapped ? 0 : -EBADMSG;
}

/* Content that lies in the node itself. */
static void add_inline(struct sum *s, const struct set_node *n)
{
	uint8_t buf[MAP_BLOCK];

	for (size_t off = 0; off < n->inline_len; off += MAP_BLOCK) {
		size_t len = n->inline_len - off < MAP_BLOCK ? n->inline_len - off : MAP_BLOCK;

		memset(buf, 0, sizeof(buf));
		memcpy(buf, n->inline_data + off, len);
		block(s, off, buf);
	}
}

int content_digest_set(struct setview *sv, uint64_t id, const struct set_node *n,
		       uint8_t ret[CONTENT_DIGEST_LEN])
{
	struct sum s;
	int err = 0;

	begin(&s, n->attr.size);
	if (n->in_blocks)
		err = add_ranges(&s, sv, id, n->n_mapped);
	else
		add_inline(&s, n);
	if (err == 0)
		end(&s, ret);
	return err;
}

/* --- in a folder, in the volume --- */

struct source {
	int fd;
	struct volume *v;
	uint64_t id;
};

/* Where data begins and ends at or behind off; -ENXIO: none. */
static int next_data(const struct source *src, uint64_t off, uint64_t *ret_data, uint64_t *ret_hole)
{
	if (src->v) {
		int err = volume_seek(src->v, src->id, off, SEEK_DATA, ret_data);

		return err ? err : volume_seek(src->v, src->id, *ret_data, SEEK_HOLE, ret_hole);
	}
	off_t data = lseek(src->fd, (off_t)off, SEEK_DATA);
	off_t hole = data < 0 ? -1 : lseek(src->fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	*ret_data = (uint64_t)data;
	*ret_hole = (uint64_t)hole;
	return 0;
}

static ssize_t read_at(const struct source *src, void *p, size_t len, uint64_t off)
{
	if (src->v)
		return volume_read(src->v, src->id, p, len, off);
	ssize_t n = pread(src->fd, p, len, (off_t)off);
	return n < 0 ? -errno : n;
}

/* Up to SET_RANGE bytes at off, which is a multiple of the block size. */
static int add_piece(struct sum *s, const struct source *src, uint64_t off, uint8_t *buf)
{
	size_t len = s->size - off < SET_RANGE ? (size_t)(s->size - off) : SET_RANGE, got = 0;

	while (got < len) {
		ssize_t n = read_at(src, buf + got, len - got, off + got);

		if (n < 0)
			return (int)n;
		if (n == 0) /* it became shorter */
			return -ESTALE;
		got += (size_t)n;
	}
	for (size_t i = 0; i < len; i += MAP_BLOCK)
		block(s, off + i, buf + i);
	return 0;
}

static int digest_source(const struct source *src, uint64_t size, uint8_t ret[CONTENT_DIGEST_LEN])
{
	CLEANUP_FREE uint8_t *buf = malloc(SET_RANGE);
	uint64_t off = 0, data, hole;
	struct sum s;

	if (!buf)
		return -ENOMEM;
	begin(&s, size);
	while (off < size) {
		int err = next_data(src, off, &data, &hole);

		if (err == -ENXIO)
			break;
		if (err)
			return err;
		if (data / MAP_BLOCK * MAP_BLOCK > off)
			off = data / MAP_BLOCK * MAP_BLOCK;
		for (; err == 0 && off < hole && off < size; off += SET_RANGE)
			err = add_piece(&s, src, off, buf);
		if (err)
			return err;
	}
	end(&s, ret);
	return 0;
}

int content_digest_fd(int fd, uint8_t ret[CONTENT_DIGEST_LEN])
{
	const struct source src = {.fd = fd};
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	return digest_source(&src, (uint64_t)st.st_size, ret);
}

int content_digest_live(struct volume *v, uint64_t id, uint64_t size,
			uint8_t ret[CONTENT_DIGEST_LEN])
{
	const struct source src = {.fd = -1, .v = v, .id = id};

	return digest_source(&src, size, ret);
}
