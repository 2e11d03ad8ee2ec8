/*
 * Reading, writing and punching slots of an object.
 *
 * What is long goes past the page cache (O_DIRECT): the kernel keeps the plaintext already, and a
 * second copy of everything as ciphertext would push half of it out, cost a copy and have to be
 * written back later. What is short goes through it, where neighbours are gathered before they are
 * written. Where the medium refuses O_DIRECT everything goes through the page cache.
 */
#include <errno.h>
#include <fcntl.h>

#include "core/durable.h"
#include "fs/object_internal.h"

/* Slots from which a transfer counts as long: 128 KiB. */
#define DIRECT_MIN 32u

struct transfer {
	int (*io)(int fd, void *buf, uint64_t len, off_t off);
	unsigned how;
	bool dirties;
};

static int io_read(int fd, void *buf, uint64_t len, off_t off)
{
	return durable_pread(fd, buf, (size_t)len, off);
}

static int io_write(int fd, void *buf, uint64_t len, off_t off)
{
	return durable_pwrite(fd, buf, (size_t)len, off);
}

static int io_punch(int fd, void *buf, uint64_t len, off_t off)
{
	(void)buf;
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, (off_t)len) < 0
		   ? -errno
		   : 0;
}

/* Slots within one segment. */
static int in_segment(struct volume *v, uint64_t id, uint64_t slot, uint64_t n,
		      const struct transfer *t, uint8_t *buf)
{
	off_t off = (off_t)(slot % OBJECT_SEGMENT_SLOTS * MAP_BLOCK);
	struct object_fd *e;
	int r = object_acquire(v, id, slot / OBJECT_SEGMENT_SLOTS, t->how, &e);

	if (r < 0)
		return r;
	bool direct = t->how & OBJECT_DIRECT && e->direct_fd >= 0;
	r = t->io(direct ? e->direct_fd : e->fd, buf, n * MAP_BLOCK, off);
	if (r == -EINVAL && direct) {
		object_refuse_direct(v);
		r = t->io(e->fd, buf, n * MAP_BLOCK, off);
	}
	object_release(v, e, t->dirties);
	return r;
}

/* One call for each segment that the slots touch. */
static int each_segment(struct volume *v, uint64_t id, uint64_t slot, uint64_t n_slots,
			const struct transfer *t, uint8_t *buf)
{
	while (n_slots) {
		uint64_t in = slot % OBJECT_SEGMENT_SLOTS;
		uint64_t n =
		    OBJECT_SEGMENT_SLOTS - in < n_slots ? OBJECT_SEGMENT_SLOTS - in : n_slots;
		int r = in_segment(v, id, slot, n, t, buf);

		if (r < 0)
			return r;
		buf = buf ? buf + n * MAP_BLOCK : NULL;
		slot += n;
		n_slots -= n;
	}
	return 0;
}

static int io_prefetch(int fd, void *buf, uint64_t len, off_t off)
{
	(void)buf;
	return -posix_fadvise(fd, off, (off_t)len, POSIX_FADV_WILLNEED);
}

static unsigned how_long(const void *buf, size_t n_slots)
{
	return n_slots >= DIRECT_MIN && (uintptr_t)buf % MAP_BLOCK == 0 ? OBJECT_DIRECT : 0;
}

int object_pread(struct volume *v, uint64_t id, uint64_t slot, void *buf, size_t n_slots)
{
	struct transfer t = {io_read, how_long(buf, n_slots), false};

	return each_segment(v, id, slot, n_slots, &t, buf);
}

void object_prefetch(struct volume *v, uint64_t id, uint64_t slot, size_t n_slots)
{
	struct transfer t = {io_prefetch, 0, false};

	/* A long one is not read through the page cache. */
	if (n_slots < DIRECT_MIN)
		(void)each_segment(v, id, slot, n_slots, &t, NULL);
}

int object_pwrite(struct volume *v, uint64_t id, uint64_t slot, const void *buf, size_t n_slots)
{
	struct transfer t = {io_write, how_long(buf, n_slots) | OBJECT_WRITE, true};

	return each_segment(v, id, slot, n_slots, &t, (uint8_t *)(uintptr_t)buf);
}

int object_punch(struct volume *v, uint64_t id, uint64_t slot, uint64_t n_slots)
{
	struct transfer t = {io_punch, 0, false};

	return each_segment(v, id, slot, n_slots, &t, NULL);
}
