/*
 * The inode record: attributes, and the content of what is small enough, padded. docs/format.md
 * "Inode record".
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "fs/engine.h"

#define RECORD_VERSION 1
#define FLAG_XATTRS 1u
#define FLAG_IN_BLOCKS 2u
#define NSEC_PER_SEC 1000000000u
#define SECTOR 512u
#define SYMLINK_MAX_LEN 4095u

static void put_time(struct bytes_w *out, struct timespec t)
{
	bytes_w_u64(out, (uint64_t)t.tv_sec);
	bytes_w_u32(out, (uint32_t)t.tv_nsec);
}

static struct timespec get_time(struct bytes_r *r)
{
	struct timespec t = {.tv_sec = (time_t)bytes_r_u64(r)};

	t.tv_nsec = (long)bytes_r_u32(r);
	if (t.tv_nsec >= (long)NSEC_PER_SEC)
		bytes_r_fail(r);
	return t;
}

void inode_encode(const struct inode_record *r, struct bytes_w *out)
{
	const struct volume_attr *a = &r->attr;
	size_t before = out->len;

	bytes_w_u8(out, RECORD_VERSION);
	bytes_w_u8(out, (uint8_t)((r->has_xattrs ? FLAG_XATTRS : 0) |
				  (r->in_blocks ? FLAG_IN_BLOCKS : 0)));
	bytes_w_u32(out, a->mode);
	bytes_w_u32(out, a->nlink);
	bytes_w_u32(out, a->uid);
	bytes_w_u32(out, a->gid);
	bytes_w_u64(out, a->rdev);
	bytes_w_u64(out, a->size);
	put_time(out, a->atime);
	put_time(out, a->mtime);
	put_time(out, a->ctime);
	put_time(out, a->btime);
	bytes_w_u64(out, r->parent);
	bytes_w_u64(out, r->n_slots);
	bytes_w_u64(out, r->n_mapped);
	bytes_w_blob(out, r->inline_data, r->inline_len);
	record_pad(out, out->len - before);
}

/* What the fields say together: a file's content is inline and whole, or in blocks; other types
 * have none of either. */
static bool consistent(const struct inode_record *r)
{
	switch (r->attr.mode & S_IFMT) {
	case S_IFREG:
		if (r->in_blocks)
			return r->inline_len == 0 && r->attr.size <= VOLUME_SIZE_MAX;
		return r->inline_len == r->attr.size && r->inline_len <= VOLUME_INLINE_MAX &&
		       r->n_slots == 0 && r->n_mapped == 0;
	case S_IFLNK:
		return !r->in_blocks && r->inline_len > 0 && r->inline_len == r->attr.size &&
		       r->inline_len <= SYMLINK_MAX_LEN &&
		       !memchr(r->inline_data, 0, r->inline_len);
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return !r->in_blocks && r->inline_len == 0;
	default:
		return false;
	}
}

int inode_decode(const void *p, size_t len, struct inode_record *ret)
{
	struct bytes_r r = bytes_r_init(p, len);
	struct inode_record rec = {0};
	struct volume_attr *a = &rec.attr;

	if (bytes_r_u8(&r) != RECORD_VERSION)
		bytes_r_fail(&r);
	unsigned flags = bytes_r_u8(&r);
	if (flags & ~(FLAG_XATTRS | FLAG_IN_BLOCKS))
		bytes_r_fail(&r);
	rec.has_xattrs = flags & FLAG_XATTRS;
	rec.in_blocks = flags & FLAG_IN_BLOCKS;
	a->mode = bytes_r_u32(&r);
	a->nlink = bytes_r_u32(&r);
	a->uid = bytes_r_u32(&r);
	a->gid = bytes_r_u32(&r);
	a->rdev = bytes_r_u64(&r);
	a->size = bytes_r_u64(&r);
	a->atime = get_time(&r);
	a->mtime = get_time(&r);
	a->ctime = get_time(&r);
	a->btime = get_time(&r);
	rec.parent = bytes_r_u64(&r);
	rec.n_slots = bytes_r_u64(&r);
	rec.n_mapped = bytes_r_u64(&r);
	rec.inline_data = bytes_r_blob(&r, SYMLINK_MAX_LEN, &rec.inline_len);
	if (r.err || !record_padded(p, len, len - r.left) || !consistent(&rec))
		return -EUCLEAN;
	a->blocks =
	    rec.in_blocks ? rec.n_mapped * (MAP_BLOCK / SECTOR) : (a->size + SECTOR - 1) / SECTOR;
	*ret = rec;
	return 0;
}
