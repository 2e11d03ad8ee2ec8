/*
 * A random life of a volume: makes, writes, cuts, punches, renames, links, unlinks and changes
 * attributes, by a seed, and remembers which inodes it touched. Included by one file of a test
 * program.
 */
#ifndef COFFER_TESTS_SNAPSHOT_LIFE_H
#define COFFER_TESTS_SNAPSHOT_LIFE_H

#include <errno.h>
#include <linux/falloc.h>

#include "tests/unit/snapshot_image.h"

struct life {
	struct fixture *f;
	uint32_t x;
	uint64_t dirs[32], files[256];
	size_t n_dirs, n_files;
	bool touched[IDS_MAX]; /* since the caller cleared it */
};

static unsigned draw(struct life *l, unsigned n)
{
	l->x = l->x * 1664525u + 1013904223u;
	return (l->x >> 8) % n;
}

static void touch(struct life *l, uint64_t id)
{
	assert_true(id < IDS_MAX);
	l->touched[id] = true;
}

static uint64_t a_dir(struct life *l)
{
	uint64_t id = l->dirs[draw(l, (unsigned)l->n_dirs)];

	return id;
}

static void random_name(struct life *l, char name[32])
{
	snprintf(name, 32, "n%u", draw(l, 40));
}

static void live_make(struct life *l)
{
	uint64_t dir = a_dir(l);
	char name[32];
	struct volume_new in = {
	    .mode = S_IFREG | 0640, .uid = draw(l, 9), .gid = 7, .target = "to"};
	struct volume_attr a;
	unsigned kind = draw(l, 8);

	random_name(l, name);
	if (kind == 0 && l->n_dirs < 32)
		in.mode = S_IFDIR | 0755;
	else if (kind == 1)
		in.mode = S_IFLNK | 0777;
	int r = volume_make(l->f->v, dir, name, &in, &a);
	if (r) {
		assert_int_equal(r, -EEXIST);
		return;
	}
	volume_forget(l->f->v, a.id, 1);
	touch(l, dir);
	touch(l, a.id);
	if (S_ISDIR(in.mode))
		l->dirs[l->n_dirs++] = a.id;
	else if (S_ISREG(in.mode) && l->n_files < 256)
		l->files[l->n_files++] = a.id;
}

/* A file that still is; 0 when the one drawn is not. */
static uint64_t a_file(struct life *l)
{
	struct volume_attr a;
	uint64_t id = l->n_files ? l->files[draw(l, (unsigned)l->n_files)] : 0;

	return id && volume_peek(l->f->v, id, &a) == 0 ? id : 0;
}

static void live_write(struct life *l)
{
	uint64_t id = a_file(l);
	size_t len = 1 + draw(l, draw(l, 4) ? 3000 : 300000);
	struct volume_attr in = {0}, a;

	if (!id)
		return;
	touch(l, id);
	switch (draw(l, 6)) {
	case 0:
		in.size = draw(l, 400000);
		assert_int_equal(volume_setattr(l->f->v, id, VOLUME_SET_SIZE, &in, &a), 0);
		return;
	case 1:
		assert_int_equal(volume_fallocate(l->f->v, id,
						  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						  draw(l, 400000), len),
				 0);
		return;
	default: {
		uint8_t *p = fx_bytes(l->x, len);
		fx_write(l->f, id, p, len, draw(l, 3) ? draw(l, 400000) : 0);
		free(p);
	}
	}
}

static void live_rename(struct life *l)
{
	uint64_t from = a_dir(l), to = a_dir(l), old = 0, moved = 0;
	char name[32], new_name[32];

	random_name(l, name);
	random_name(l, new_name);
	if (fx_lookup(l->f, from, name, &moved) || S_ISDIR(fx_attr(l->f, moved).mode))
		return;
	if (fx_lookup(l->f, to, new_name, &old) == 0 && S_ISDIR(fx_attr(l->f, old).mode))
		return;
	touch(l, from);
	touch(l, to);
	touch(l, moved);
	if (old)
		touch(l, old);
	assert_int_equal(volume_rename(l->f->v, from, name, to, new_name, 0), 0);
}

static void live_unlink(struct life *l)
{
	uint64_t dir = a_dir(l), id;
	char name[32];

	random_name(l, name);
	if (fx_lookup(l->f, dir, name, &id) || S_ISDIR(fx_attr(l->f, id).mode))
		return;
	touch(l, dir);
	touch(l, id);
	assert_int_equal(volume_unlink(l->f->v, dir, name), 0);
}

static void live_link(struct life *l)
{
	uint64_t dir = a_dir(l), id = a_file(l);
	char name[32];
	struct volume_attr a;

	random_name(l, name);
	if (!id || volume_link(l->f->v, id, dir, name, &a))
		return;
	volume_forget(l->f->v, a.id, 1);
	touch(l, dir);
	touch(l, id);
}

static void live_attrs(struct life *l)
{
	uint64_t id = a_file(l);
	struct volume_attr in = {.mode = 0600 + draw(l, 8), .mtime = {.tv_sec = draw(l, 1000)}}, a;
	char name[32];

	if (!id)
		return;
	touch(l, id);
	if (draw(l, 2)) {
		assert_int_equal(
		    volume_setattr(l->f->v, id, VOLUME_SET_MODE | VOLUME_SET_MTIME, &in, &a), 0);
		return;
	}
	snprintf(name, sizeof(name), "user.%u", draw(l, 3));
	if (draw(l, 3))
		assert_int_equal(volume_setxattr(l->f->v, id, name, name, draw(l, 6), 0), 0);
	else
		volume_removexattr(l->f->v, id, name);
}

static void live_on(struct life *l, unsigned n)
{
	static void (*const acts[])(struct life *) = {live_make,  live_make,   live_write,
						      live_write, live_rename, live_unlink,
						      live_link,  live_attrs};

	for (unsigned i = 0; i < n; i++)
		acts[draw(l, 8)](l);
}

static void live_begin(struct life *l, struct fixture *f, uint32_t seed)
{
	*l = (struct life){.f = f, .x = seed, .dirs = {VOLUME_ROOT_ID}, .n_dirs = 1};
}

#endif
