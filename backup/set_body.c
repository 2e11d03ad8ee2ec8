/* Bodies of set records. See set_body.h. */
#include "backup/set_body.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define NODE_VERSION 1
#define NODE_IN_BLOCKS 1
#define NAME_PAD 32
#define XATTRS_MAX (2u << 20)
#define SYMLINK_SIZE 4096u /* with the NUL that a target never holds */

static void put_time(struct bytes_w *w, struct timespec t)
{
	bytes_w_u64(w, (uint64_t)t.tv_sec);
	bytes_w_u32(w, (uint32_t)t.tv_nsec);
}

static struct timespec get_time(struct bytes_r *r)
{
	struct timespec t = {.tv_sec = (time_t)bytes_r_u64(r), .tv_nsec = bytes_r_u32(r)};

	if (t.tv_nsec >= 1000000000)
		bytes_r_fail(r);
	return t;
}

void set_node_encode(const struct set_node *n, struct bytes_w *out)
{
	bytes_w_u8(out, NODE_VERSION);
	bytes_w_u8(out, n->in_blocks ? NODE_IN_BLOCKS : 0);
	bytes_w_u32(out, n->attr.mode);
	bytes_w_u32(out, n->attr.nlink);
	bytes_w_u32(out, n->attr.uid);
	bytes_w_u32(out, n->attr.gid);
	bytes_w_u64(out, n->attr.rdev);
	bytes_w_u64(out, n->attr.size);
	put_time(out, n->attr.atime);
	put_time(out, n->attr.mtime);
	put_time(out, n->attr.ctime);
	put_time(out, n->attr.btime);
	bytes_w_u64(out, n->n_mapped);
	bytes_w_blob(out, n->xattrs, n->xattrs_len);
	bytes_w_blob(out, n->inline_data, n->inline_len);
}

/* What the fields say together, as the engine's own inode records have it. */
static bool consistent(const struct set_node *n)
{
	switch (n->attr.mode & S_IFMT) {
	case S_IFREG:
		return n->attr.size <= VOLUME_SIZE_MAX &&
		       (n->in_blocks ? n->inline_len == 0
				     : n->inline_len == n->attr.size && n->n_mapped == 0);
	case S_IFLNK:
		return !n->in_blocks && n->inline_len > 0 && n->inline_len < SYMLINK_SIZE &&
		       !memchr(n->inline_data, 0, n->inline_len);
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return !n->in_blocks && n->inline_len == 0;
	default:
		return false;
	}
}

static bool xattrs_well_formed(const uint8_t *list, size_t len)
{
	size_t pos = 0, val_len;
	const uint8_t *val;
	const char *name;

	while (volume_xattrs_next(list, len, &pos, &name, &val, &val_len))
		;
	return pos == len;
}

int set_node_decode(const void *p, size_t len, struct set_node *ret)
{
	struct bytes_r r = bytes_r_init(p, len);
	struct set_node n = {0};

	if (bytes_r_u8(&r) != NODE_VERSION)
		bytes_r_fail(&r);
	uint8_t flags = bytes_r_u8(&r);
	n.in_blocks = flags & NODE_IN_BLOCKS;
	n.attr.mode = bytes_r_u32(&r);
	n.attr.nlink = bytes_r_u32(&r);
	n.attr.uid = bytes_r_u32(&r);
	n.attr.gid = bytes_r_u32(&r);
	n.attr.rdev = bytes_r_u64(&r);
	n.attr.size = bytes_r_u64(&r);
	n.attr.atime = get_time(&r);
	n.attr.mtime = get_time(&r);
	n.attr.ctime = get_time(&r);
	n.attr.btime = get_time(&r);
	n.n_mapped = bytes_r_u64(&r);
	n.xattrs = bytes_r_blob(&r, XATTRS_MAX, &n.xattrs_len);
	n.inline_data = bytes_r_blob(&r, SYMLINK_SIZE, &n.inline_len);
	if (r.err || (flags & ~NODE_IN_BLOCKS) || !consistent(&n) ||
	    !xattrs_well_formed(n.xattrs, n.xattrs_len))
		bytes_r_fail(&r);
	int err = bytes_r_done(&r);
	if (err == 0)
		*ret = n;
	return err;
}

/* With a zero at least, to the next multiple. */
static size_t padded_len(size_t name_len)
{
	return (name_len + NAME_PAD) / NAME_PAD * NAME_PAD;
}

void set_name_encode(const char *name, struct bytes_w *out)
{
	size_t len = strlen(name), padded = padded_len(len);
	uint8_t *p = bytes_w_room(out, padded);

	if (p) {
		memset(p, 0, padded);
		memcpy(p, name, len);
	}
}

int set_name_decode(const void *p, size_t len, char ret[VOLUME_NAME_MAX + 1])
{
	const char *name = p;
	size_t n = strnlen(name, len);

	if (n == 0 || n > VOLUME_NAME_MAX || len != padded_len(n) || memchr(name, '/', n))
		return -EUCLEAN;
	for (size_t i = n; i < len; i++)
		if (name[i])
			return -EUCLEAN;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return -EUCLEAN;
	memcpy(ret, name, n + 1);
	return 0;
}

void set_data_encode_runs(const uint8_t what[SET_RANGE_BLOCKS], struct bytes_w *out)
{
	for (size_t i = 0; i < SET_RANGE_BLOCKS;) {
		size_t n = 1;

		while (i + n < SET_RANGE_BLOCKS && what[i + n] == what[i])
			n++;
		bytes_w_u8(out, what[i]);
		bytes_w_varint(out, n);
		i += n;
	}
}

int set_data_decode_runs(struct bytes_r *r, uint8_t what[SET_RANGE_BLOCKS])
{
	uint8_t runs[SET_RANGE_BLOCKS];

	for (size_t i = 0; i < SET_RANGE_BLOCKS;) {
		uint8_t kind = bytes_r_u8(r);
		uint64_t n = bytes_r_varint(r);

		/* Runs are as long as they can be: one encoding for each range. */
		if (r->err || kind > SET_BLOCK_DATA || n == 0 || n > SET_RANGE_BLOCKS - i ||
		    (i > 0 && runs[i - 1] == kind))
			return -EUCLEAN;
		memset(runs + i, kind, (size_t)n);
		i += (size_t)n;
	}
	memcpy(what, runs, sizeof(runs));
	return 0;
}

int set_data_decode(const void *p, size_t len, uint8_t what[SET_RANGE_BLOCKS],
		    const uint8_t **ret_bytes, size_t *ret_n_blocks)
{
	struct bytes_r r = bytes_r_init(p, len);
	uint8_t runs[SET_RANGE_BLOCKS];
	size_t n_blocks = 0;
	int err = set_data_decode_runs(&r, runs);

	if (err)
		return err;
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		n_blocks += runs[i] == SET_BLOCK_DATA;
	const uint8_t *bytes = bytes_r_raw(&r, n_blocks * MAP_BLOCK);
	if (bytes_r_done(&r))
		return -EUCLEAN;
	memcpy(what, runs, sizeof(runs));
	*ret_bytes = bytes;
	*ret_n_blocks = n_blocks;
	return 0;
}
