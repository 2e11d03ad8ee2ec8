/*
 * Regular files as callers see them: handles, reads, writes, ranges. Blocks are fs/data*.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/secret.h"
#include "fs/engine_internal.h"

#define COPY_CHUNK ((size_t)1 << 20)

static int get_regular(struct volume *v, uint64_t id, struct vinode **ret)
{
	int r = inode_get(v, id, ret);

	if (r || S_ISREG((*ret)->attr.mode))
		return r;
	r = S_ISDIR((*ret)->attr.mode) ? -EISDIR : -EINVAL;
	inode_unpin(v, *ret);
	return r;
}

/* One whose content may leave it or change. */
static int get_thawed(struct volume *v, uint64_t id, struct vinode **ret)
{
	int r = get_regular(v, id, ret);

	if (r)
		return r;
	r = freeze_check(v, id);
	if (r)
		inode_unpin(v, *ret);
	return r;
}

static void modified(struct volume *v, struct vinode *ino)
{
	ino->attr.mtime = ino->attr.ctime = engine_now();
	inode_mark_dirty(v, ino);
}

/* ---- handles ---- */

int volume_open_file(struct volume *v, uint64_t id, bool writable)
{
	struct vinode *ino;

	engine_enter(v);
	int r = writable ? engine_writable(v) : 0;
	if (r == 0)
		r = writable ? get_thawed(v, id, &ino) : get_regular(v, id, &ino);
	if (r == 0) {
		ino->n_open++;
		ino->n_open_writable += writable;
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r;
}

void volume_release_file(struct volume *v, uint64_t id, bool writable)
{
	engine_enter(v);
	struct vinode *ino = inode_peek(v, id);
	if (ino && ino->n_open) {
		ino->n_open--;
		if (writable && ino->n_open_writable)
			ino->n_open_writable--;
		inode_settle(v, ino);
	}
	engine_leave(v);
}

bool volume_is_writable(struct volume *v, uint64_t id)
{
	engine_enter(v);
	const struct vinode *ino = inode_peek(v, id);
	bool writable = ino && ino->n_open_writable;
	engine_leave(v);
	return writable;
}

int volume_writable_ids(struct volume *v, uint64_t **ret, size_t *ret_n)
{
	size_t n = 0;

	engine_enter(v);
	uint64_t *ids = calloc(v->n_vinodes + 1, sizeof(*ids));
	for (size_t i = 0; ids && i < v->hash_size; i++) {
		for (struct vinode *ino = v->hash[i]; ino; ino = ino->hash_next) {
			if (ino->n_open_writable)
				ids[n++] = ino->id;
		}
	}
	engine_leave(v);
	if (!ids)
		return -ENOMEM;
	*ret = ids;
	*ret_n = n;
	return 0;
}

/* ---- reading and writing ---- */

ssize_t volume_read(struct volume *v, uint64_t id, void *buf, size_t len, uint64_t off)
{
	struct vinode *ino;

	engine_enter(v);
	v->n_requests++;
	ssize_t r = get_regular(v, id, &ino);
	if (r == 0) {
		r = data_read(v, ino, buf, len, off);
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r;
}

static int check_end(uint64_t off, uint64_t len)
{
	uint64_t end;

	return __builtin_add_overflow(off, len, &end) || end > VOLUME_SIZE_MAX ? -EFBIG : 0;
}

/* data_write within the quota. */
static int write_claimed(struct volume *v, struct vinode *ino, const void *buf, size_t len, uint64_t off)
{
	uint64_t claim;
	int r = usage_claim(v, ino, off, len, &claim);

	if (r)
		return r;
	r = data_write(v, ino, buf, len, off);
	usage_settle(v, ino, claim);
	return r;
}

ssize_t volume_write(struct volume *v, uint64_t id, const void *buf, size_t len, uint64_t off,
		     bool kernel_times)
{
	struct vinode *ino;
	int r = check_end(off, len);

	if (r)
		return r;
	engine_enter(v);
	v->n_requests++;
	r = engine_room(v);
	if (r == 0)
		r = get_thawed(v, id, &ino);
	if (r == 0) {
		r = write_claimed(v, ino, buf, len, off);
		if (r == 0 && !kernel_times)
			modified(v, ino);
		inode_mark_dirty(v, ino);
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r ? r : (ssize_t)len;
}

/* ---- ranges ---- */

/* With copy-on-write nothing can be set aside for a file; that the space is there now is all one
 * can say. */
static int check_free(struct volume *v, uint64_t len)
{
	struct statvfs st;

	if (fstatvfs(v->store_fd, &st))
		return -errno;
	return len > (uint64_t)st.f_bavail * st.f_frsize ? -ENOSPC : 0;
}

static int punch_within(struct volume *v, struct vinode *ino, uint64_t off, uint64_t len)
{
	if (off >= ino->attr.size)
		return 0;
	return data_punch(v, ino, off, len < ino->attr.size - off ? len : ino->attr.size - off);
}

static int fallocate_locked(struct volume *v, struct vinode *ino, int mode, uint64_t off,
			    uint64_t len)
{
	bool keep = mode & FALLOC_FL_KEEP_SIZE;
	uint64_t claim;
	int r;

	if (mode & FALLOC_FL_PUNCH_HOLE)
		return punch_within(v, ino, off, len);
	r = engine_room(v);
	if (r == 0)
		r = check_free(v, len);
	if (r == 0)
		r = usage_claim(v, ino, off, len, &claim);
	if (r == 0)
		usage_settle(v, ino, claim); /* nothing is set aside */
	if (r == 0 && (mode & FALLOC_FL_ZERO_RANGE))
		r = punch_within(v, ino, off, len);
	if (r == 0 && !keep && off + len > ino->attr.size)
		r = data_extend(v, ino, off + len);
	return r;
}

int volume_fallocate(struct volume *v, uint64_t id, int mode, uint64_t off, uint64_t len)
{
	struct vinode *ino;
	int r = len ? check_end(off, len) : -EINVAL;

	if (r)
		return r;
	if (mode != 0 && mode != FALLOC_FL_KEEP_SIZE && mode != FALLOC_FL_ZERO_RANGE &&
	    mode != (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE) &&
	    mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	engine_enter(v);
	r = engine_writable(v);
	if (r == 0)
		r = get_thawed(v, id, &ino);
	if (r == 0) {
		r = fallocate_locked(v, ino, mode, off, len);
		if (r == 0)
			modified(v, ino);
		inode_mark_dirty(v, ino);
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r;
}

int volume_seek(struct volume *v, uint64_t id, uint64_t off, int whence, uint64_t *ret)
{
	struct vinode *ino;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	engine_enter(v);
	int r = get_regular(v, id, &ino);
	if (r == 0) {
		r = off < ino->attr.size ? data_seek(v, ino, off, whence, ret) : -ENXIO;
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r;
}

/* ---- copying ---- */

struct copy {
	struct vinode *src, *dst;
	uint64_t src_off, dst_off;
	uint8_t *buf;
};

/* A hole stays one: len bytes of zeros at the destination, without blocks. */
static int copy_hole(struct volume *v, struct copy *c, size_t len)
{
	int r = punch_within(v, c->dst, c->dst_off, len);

	if (r == 0)
		r = data_extend(v, c->dst, c->dst_off + len);
	return r;
}

/* One piece of at most len bytes; how many in *ret_n, 0 at the source's end. */
static int copy_piece(struct volume *v, struct copy *c, size_t len, size_t *ret_n)
{
	uint64_t data, hole;

	*ret_n = 0;
	if (c->src_off >= c->src->attr.size)
		return 0;
	uint64_t left = c->src->attr.size - c->src_off;
	size_t n = len < left ? len : (size_t)left;
	int r = data_seek(v, c->src, c->src_off, SEEK_DATA, &data);
	if (r && r != -ENXIO)
		return r;
	if (r == -ENXIO || data > c->src_off) {
		if (r == 0 && data - c->src_off < n)
			n = (size_t)(data - c->src_off);
		r = copy_hole(v, c, n);
	} else {
		/* No further than the next hole, which stays one. */
		r = data_seek(v, c->src, c->src_off, SEEK_HOLE, &hole);
		if (r)
			return r;
		if (n > hole - c->src_off)
			n = (size_t)(hole - c->src_off);
		if (n > COPY_CHUNK)
			n = COPY_CHUNK;
		ssize_t got = data_read(v, c->src, c->buf, n, c->src_off);
		if (got < 0)
			return (int)got;
		n = (size_t)got;
		/* Reading lets go of the lock. */
		r = freeze_check(v, c->src->id);
		if (r == 0)
			r = freeze_check(v, c->dst->id);
		if (r == 0)
			r = write_claimed(v, c->dst, c->buf, n, c->dst_off);
	}
	if (r == 0)
		*ret_n = n;
	return r;
}

/* One piece under the lock; the lineage with the first. */
static int copy_step(struct volume *v, uint64_t src, uint64_t dst, struct copy *c, size_t len,
		     bool first, size_t *ret_n)
{
	int r = engine_room(v);

	c->src = c->dst = NULL;
	if (r == 0)
		r = get_thawed(v, src, &c->src);
	if (r) {
		c->src = NULL;
		return r;
	}
	r = get_thawed(v, dst, &c->dst);
	if (r == 0) {
		if (first)
			r = engine_add_edge(v, src, dst, VOLUME_EDGE_COPIED);
		if (r == 0)
			r = copy_piece(v, c, len, ret_n);
		if (r == 0 && *ret_n)
			modified(v, c->dst);
		inode_mark_dirty(v, c->dst);
		inode_unpin(v, c->dst);
	}
	inode_unpin(v, c->src);
	return r;
}

ssize_t volume_copy(struct volume *v, uint64_t src, uint64_t src_off, uint64_t dst,
		    uint64_t dst_off, size_t len)
{
	struct copy c = {.src_off = src_off, .dst_off = dst_off};
	size_t done = 0;
	int r = check_end(dst_off, len);

	if (r == 0)
		r = check_end(src_off, len);
	if (r)
		return r;
	if (src == dst && src_off < dst_off + len && dst_off < src_off + len)
		return -EINVAL;
	c.buf = malloc(COPY_CHUNK);
	if (!c.buf)
		return -ENOMEM;
	while (r == 0 && done < len) {
		size_t n = 0;

		engine_enter(v);
		r = copy_step(v, src, dst, &c, len - done, done == 0, &n);
		engine_leave(v);
		if (r || n == 0)
			break;
		done += n;
		c.src_off += n;
		c.dst_off += n;
	}
	secret_wipe(c.buf, COPY_CHUNK);
	free(c.buf);
	return done ? (ssize_t)done : r;
}
