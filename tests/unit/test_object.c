/*
 * Objects: ciphertext files beyond the number of descriptors kept open, their segments and paths,
 * syncs, and their end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tests/unit/data_fixture.h"

#define MIB (1024u * 1024u)

static int setup(void **state)
{
	*state = fx_new();
	return 0;
}

static int teardown(void **state)
{
	fx_fail_syncs = 0;
	fx_free(*state);
	return 0;
}

static void write_object(struct fx *f, uint64_t id, const uint8_t *block)
{
	assert_int_equal(object_pwrite(&f->v, id, 0, block, 1), 0);
}

/* More objects than descriptors: all are written, synced and readable, and a failure is told by the
 * object it hit. */
static void test_many_objects(void **state)
{
	struct fx *f = *state;
	uint8_t block[MAP_BLOCK] = {0}, got[MAP_BLOCK];

	for (uint64_t id = 100; id < 900; id++) {
		bytes_put64(block, id);
		write_object(f, id, block);
	}
	for (uint64_t id = 100; id < 900; id++)
		assert_int_equal(object_sync(&f->v, id), 0);
	for (uint64_t id = 100; id < 900; id++) {
		assert_int_equal(object_pread(&f->v, id, 0, got, 1), 0);
		assert_int_equal(bytes_get64(got), id);
	}
	write_object(f, 100, block);
	write_object(f, 101, block);
	fx_fail_syncs = 1;
	assert_int_equal(object_sync(&f->v, 100), -EIO);
	assert_int_equal(object_sync(&f->v, 101), 0);
	int fd = (write_object(f, 101, block), object_dirty_fd(&f->v, 101));
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(object_sync(&f->v, 101), 0);
	assert_int_equal(object_dirty_fd(&f->v, 101), -1);
	assert_int_equal(object_pread(&f->v, 5000, 0, got, 1), -ENOENT);
	assert_int_equal(object_pread(&f->v, 100, 1, got, 1), -ENODATA);
}

/* Slots on both sides of a segment's end are one range to the caller. */
static void test_segments(void **state)
{
	struct fx *f = *state;
	uint8_t buf[4 * MAP_BLOCK], got[4 * MAP_BLOCK];
	uint64_t n;

	fx_fill(buf, sizeof(buf));
	assert_int_equal(object_pwrite(&f->v, FX_ID, OBJECT_SEGMENT_SLOTS - 2, buf, 4), 0);
	assert_int_equal(object_sync(&f->v, FX_ID), 0);
	object_drop(&f->v, FX_ID);
	assert_int_equal(object_pread(&f->v, FX_ID, OBJECT_SEGMENT_SLOTS - 2, got, 4), 0);
	assert_memory_equal(got, buf, sizeof(buf));
	assert_int_equal(object_erase(&f->v, FX_ID, true, &n), 0);
	assert_true(n >= sizeof(buf) && n < MIB);
	assert_int_equal(object_pread(&f->v, FX_ID, OBJECT_SEGMENT_SLOTS, got, 1), -ENOENT);
	assert_int_equal(object_erase(&f->v, FX_ID, true, &n), 0);
	assert_int_equal(n, 0);
}

/* Erasing overwrites what is allocated before it unlinks: another link to the file shows none of
 * the old bytes. */
static void test_erase(void **state)
{
	struct fx *f = *state;
	uint8_t buf[8 * MAP_BLOCK];
	uint64_t n;
	struct stat st;

	fx_write(f, fx_fill(buf, sizeof(buf)), sizeof(buf), 0);
	fx_commit(f);
	int fd = fx_object(f);
	assert_int_equal(object_erase(&f->v, FX_ID, true, &n), 0);
	assert_int_equal(n, sizeof(buf));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_size, 0);
	close(fd);
	write_object(f, 77, buf);
	assert_int_equal(object_unlink(&f->v, 77), 0);
	assert_int_equal(object_pread(&f->v, 77, 0, buf, 1), -ENOENT);
	assert_int_equal(object_unlink(&f->v, 77), 0);
}

/* Ids in sequence share folders of 4096; the path is part of the format. */
/* An object without a file, such as that of a file of holes, can be unlinked and synced, also where
 * its folder was never made. */
static void test_no_object(void **state)
{
	struct fx *f = *state;

	assert_int_equal(object_unlink(&f->v, 77), 0);
	assert_int_equal(object_sync(&f->v, 78), 0);
	assert_int_equal(object_note_dir(&f->v, 78), 0);
	assert_int_equal(object_sync(&f->v, 78), 0);
}

static void test_paths(void **state)
{
	char path[64];

	(void)state;
	volume_object_path(0x0123456789abcdef, 3, path);
	assert_string_equal(path, "objects/123456789/abc/0123456789abcdef.3");
	volume_object_path(16, 0, path);
	assert_string_equal(path, "objects/0/000/0000000000000010.0");
	volume_object_path(UINT64_MAX, UINT32_MAX, path);
	assert_string_equal(path, "objects/ffffffffff/fff/ffffffffffffffff.4294967295");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_many_objects, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_segments, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_erase, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_no_object, setup, teardown),
	    cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
