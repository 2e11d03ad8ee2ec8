/*
 * Freezes: what is frozen does not change, by whatever way one tries, and everything else does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/xattr.h>

#include "tests/unit/volume_fixture.h"

/* d/f and d/sub frozen; d/f is open for writing; free and loose stand beside d. */
struct scene {
	uint64_t d, f, sub, loose, free;
};

static struct scene play(struct volume *v)
{
	struct scene x = {.d = make(v, VOLUME_ROOT_ID, "d", S_IFDIR | 0755)};

	x.f = make_file(v, x.d, "f", 'f', 9000);
	x.sub = make(v, x.d, "sub", S_IFDIR | 0755);
	x.loose = make_file(v, VOLUME_ROOT_ID, "loose", 'l', 100);
	x.free = make(v, VOLUME_ROOT_ID, "free", S_IFDIR | 0755);
	assert_int_equal(volume_setxattr(v, x.f, "user.a", "1", 1, 0), 0);
	assert_int_equal(volume_open_file(v, x.f, true), 0);
	return x;
}

static int rename_to(struct volume *v, uint64_t from, const char *name, uint64_t to, const char *as)
{
	return volume_rename(v, from, name, to, as, 0);
}

static void expect_names_fixed(struct volume *v, const struct scene *x)
{
	struct volume_attr a;
	uint64_t id;

	assert_int_equal(try_make(v, x->d, "new", S_IFREG | 0644, &id), -EROFS);
	assert_int_equal(try_make(v, x->sub, "new", S_IFDIR | 0755, &id), -EROFS);
	assert_int_equal(volume_link(v, x->loose, x->d, "in", &a), -EROFS);
	assert_int_equal(volume_link(v, x->f, x->free, "out", &a), -EROFS);
	assert_int_equal(rename_to(v, VOLUME_ROOT_ID, "loose", x->d, "in"), -EROFS);
	assert_int_equal(rename_to(v, x->d, "f", x->free, "out"), -EROFS);
	assert_int_equal(rename_to(v, x->d, "f", x->d, "g"), -EROFS);
	assert_int_equal(rename_to(v, VOLUME_ROOT_ID, "d", x->free, "d"), -EROFS);
	assert_int_equal(
	    volume_rename(v, VOLUME_ROOT_ID, "free", VOLUME_ROOT_ID, "d", RENAME_EXCHANGE), -EROFS);
	assert_int_equal(volume_unlink(v, x->d, "f"), -EROFS);
	assert_int_equal(volume_rmdir(v, x->d, "sub"), -EROFS);
}

static void expect_content_fixed(struct volume *v, const struct scene *x)
{
	struct volume_attr a = {.mode = 0600, .size = 1};

	assert_int_equal(volume_write(v, x->f, "x", 1, 0, false), -EROFS);
	assert_int_equal(volume_fallocate(v, x->f, 0, 0, 20000), -EROFS);
	assert_int_equal(volume_copy(v, x->loose, 0, x->f, 0, 10), -EROFS);
	assert_int_equal(volume_copy(v, x->f, 0, x->loose, 0, 10), -EROFS);
	assert_int_equal(volume_setattr(v, x->f, VOLUME_SET_MODE, &a, &a), -EROFS);
	assert_int_equal(volume_setattr(v, x->f, VOLUME_SET_SIZE, &a, &a), -EROFS);
	assert_int_equal(volume_setxattr(v, x->f, "user.b", "2", 1, 0), -EROFS);
	assert_int_equal(volume_removexattr(v, x->f, "user.a"), -EROFS);
	assert_int_equal(volume_open_file(v, x->f, true), -EROFS);
	assert_int_equal(volume_add_edge(v, x->loose, x->f, VOLUME_EDGE_RESTORED), -EROFS);
}

/* Frozen ids stay as they are, open handle or not, and can be read; the rest of the volume goes on;
 * and thawed they are as before. */
static void frozen_stays(void **state)
{
	struct fixture *fx = *state;
	struct volume *v = fx->v;
	struct scene x = play(v);

	assert_int_equal(volume_freeze(v, (uint64_t[]){x.sub, x.f, x.d}, 3), 0);
	expect_names_fixed(v, &x);
	expect_content_fixed(v, &x);
	check_file(v, x.f, 'f', 9000);
	assert_int_equal(volume_open_file(v, x.f, false), 0);
	volume_release_file(v, x.f, false);
	write_at(v, x.loose, "x", 1, 0);
	assert_int_equal(rename_to(v, VOLUME_ROOT_ID, "loose", x.free, "moved"), 0);
	check_clean(v);

	volume_thaw(v);
	write_at(v, x.f, "f", 1, 0);
	assert_int_equal(rename_to(v, x.free, "moved", x.d, "in"), 0);
	assert_int_equal(volume_rmdir(v, x.d, "sub"), 0);
	volume_release_file(v, x.f, true);
	check_clean(v);
}

/* Frozen names: the file is written to as ever, and keeps each of its names. */
static void frozen_names_stay(void **state)
{
	struct fixture *fx = *state;
	struct volume *v = fx->v;
	struct scene x = play(v);

	assert_int_equal(volume_freeze_names(v, &x.loose, 1), 0);
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "loose"), -EROFS);
	assert_int_equal(rename_to(v, VOLUME_ROOT_ID, "loose", x.d, "in"), -EROFS);
	assert_int_equal(rename_to(v, x.d, "f", VOLUME_ROOT_ID, "loose"), -EROFS);
	write_at(v, x.loose, "x", 1, 0);
	volume_thaw(v);
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "loose"), 0);
	volume_release_file(v, x.f, true);
}

/* A freeze replaces the one before, and ends with the mount. */
static void freezes_are_of_the_mount(void **state)
{
	struct fixture *fx = *state;
	struct scene x = play(fx->v);

	assert_int_equal(volume_freeze(fx->v, &x.f, 1), 0);
	assert_int_equal(volume_freeze(fx->v, &x.loose, 1), 0);
	write_at(fx->v, x.f, "f", 1, 0);
	assert_int_equal(volume_write(fx->v, x.loose, "x", 1, 0, false), -EROFS);
	volume_release_file(fx->v, x.f, true);
	fixture_remount(fx);
	write_at(fx->v, x.loose, "x", 1, 0);
}

/* Once a folder's key is gone nothing comes into it or leaves it, in the mount that still knows it
 * and in the next; nor does an attempt harm the volume. */
static void a_punctured_folder_takes_nothing(void **state)
{
	struct fixture *fx = *state;
	struct scene x = play(fx->v);
	struct volume_attr a;
	struct volume_stat st;
	struct diag d = {0};
	uint64_t id;
	size_t pending;

	volume_release_file(fx->v, x.f, true);
	assert_int_equal(volume_sync(fx->v), 0);
	assert_int_equal(volume_lookup(fx->v, VOLUME_ROOT_ID, "d", &a), 0);
	assert_int_equal(keyring_puncture(fx->kr, KEYRING_BOTH, &(struct keyring_range){x.d, x.d},
					  1, "order", &pending, &d),
			 0);
	for (int mount = 0; mount < 2; mount++) {
		struct volume *v = fx->v;

		assert_int_equal(try_make(v, x.d, "new", S_IFREG | 0644, &id), -EIO);
		assert_int_equal(volume_link(v, x.loose, x.d, "in", &a), -EIO);
		assert_int_equal(rename_to(v, VOLUME_ROOT_ID, "loose", x.d, "in"), -EIO);
		assert_int_equal(rename_to(v, x.d, "f", VOLUME_ROOT_ID, "f"), -EIO);
		volume_stat(v, &st);
		assert_false(st.read_only);
		check_file(v, find_id(v, VOLUME_ROOT_ID, "loose"), 'l', 100);
		fixture_remount(fx);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    MOUNTED(frozen_stays),
	    MOUNTED(frozen_names_stay),
	    MOUNTED(freezes_are_of_the_mount),
	    MOUNTED(a_punctured_folder_takes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
