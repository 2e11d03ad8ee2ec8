/* The inode record's codec. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "fs/engine.h"

static const uint8_t content[] = "small content";

static struct inode_record sample(void)
{
	return (struct inode_record){
	    .attr = {.mode = S_IFREG | 0640,
		     .nlink = 3,
		     .uid = 1,
		     .gid = 2,
		     .size = sizeof(content),
		     .atime = {-1, 999999999},
		     .mtime = {2, 0},
		     .ctime = {3, 4},
		     .btime = {5, 6}},
	    .has_xattrs = true,
	    .inline_data = content,
	    .inline_len = sizeof(content),
	};
}

/* Promise: what was put into a record comes out of it, times before 1970 included. */
static void round_trip(void **state)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct inode_record r = sample(), back;
	(void)state;

	inode_encode(&r, &w);
	assert_int_equal(inode_decode(w.buf, w.len, &back), 0);
	assert_int_equal(back.attr.mode, r.attr.mode);
	assert_int_equal(back.attr.nlink, 3);
	assert_int_equal(back.attr.size, sizeof(content));
	assert_int_equal(back.attr.blocks, 1);
	assert_true(back.attr.atime.tv_sec == -1 && back.attr.atime.tv_nsec == 999999999);
	assert_true(back.attr.btime.tv_sec == 5 && back.attr.btime.tv_nsec == 6);
	assert_true(back.has_xattrs && !back.in_blocks);
	assert_int_equal(back.inline_len, sizeof(content));
	assert_memory_equal(back.inline_data, content, sizeof(content));
}

/* Promise: a truncated or lengthened record is malformed at every length, never read beyond. */
static void wrong_length(void **state)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct inode_record r = sample(), back;
	(void)state;

	inode_encode(&r, &w);
	for (size_t len = 0; len < w.len; len++)
		assert_int_equal(inode_decode(w.buf, len, &back), -EUCLEAN);
	bytes_w_u8(&w, 0);
	assert_int_equal(inode_decode(w.buf, w.len, &back), -EUCLEAN);
}

static int decode_changed(struct inode_record r)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct inode_record back;

	inode_encode(&r, &w);
	return inode_decode(w.buf, w.len, &back);
}

/* Promise: fields that contradict each other are malformed: no size without content, no folder with
 * blocks. */
static void contradictions(void **state)
{
	struct inode_record r = sample();
	(void)state;

	r.attr.size++;
	assert_int_equal(decode_changed(r), -EUCLEAN);
	r = sample();
	r.in_blocks = true;
	assert_int_equal(decode_changed(r), -EUCLEAN);
	r = sample();
	r.n_slots = 1;
	assert_int_equal(decode_changed(r), -EUCLEAN);
	r = sample();
	r.attr.mode = S_IFDIR | 0755;
	assert_int_equal(decode_changed(r), -EUCLEAN);
	r = sample();
	r.attr.mode = 0644;
	assert_int_equal(decode_changed(r), -EUCLEAN);
	r = sample();
	r.attr.mtime.tv_nsec = 1000000000;
	assert_int_equal(decode_changed(r), -EUCLEAN);
	r = (struct inode_record){.attr = {.mode = S_IFLNK | 0777, .nlink = 1}};
	assert_int_equal(decode_changed(r), -EUCLEAN);
	r = (struct inode_record){.attr = {.mode = S_IFREG, .size = VOLUME_SIZE_MAX + 1},
				  .in_blocks = true};
	assert_int_equal(decode_changed(r), -EUCLEAN);
	r.attr.size--;
	assert_int_equal(decode_changed(r), 0);
}

/* Promise: what meta.db shows of a small file's or a link target's length are steps of 128 bytes, from
 * 2048 on of 512, and the padding holds nothing but zeros. */
static void lengths_are_padded(void **state)
{
	static const uint8_t bytes[VOLUME_INLINE_MAX] = {1};
	size_t steps[] = {0, 0, 0};
	struct inode_record back;
	(void)state;

	for (size_t len = 0; len <= sizeof(bytes); len++) {
		CLEANUP_BYTES struct bytes_w w = {0};
		struct inode_record r = {.attr = {.mode = S_IFREG | 0644, .size = len},
					 .inline_data = bytes,
					 .inline_len = len};

		inode_encode(&r, &w);
		size_t step = 108 + len < 2048 ? 128 : 512;
		assert_int_equal(w.len % step, 0);
		assert_true(w.len < 108 + len + step);
		assert_int_equal(inode_decode(w.buf, w.len, &back), 0);
		assert_int_equal(back.inline_len, len);
		steps[0] += w.len == 128;
		steps[1] += w.len == 256;
		for (size_t at = 108 + len; at < w.len && len < 128; at++) {
			w.buf[at] = 1;
			assert_int_equal(inode_decode(w.buf, w.len, &back), -EUCLEAN);
			w.buf[at] = 0;
		}
	}
	assert_true(steps[0] >= 20 && steps[1] >= 127);
}

/* Promise: an unknown version or flag is refused, not guessed at. */
static void newer_format(void **state)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct inode_record r = sample(), back;
	(void)state;

	inode_encode(&r, &w);
	w.buf[0] = 2;
	assert_int_equal(inode_decode(w.buf, w.len, &back), -EUCLEAN);
	w.buf[0] = 1;
	w.buf[1] |= 0x80;
	assert_int_equal(inode_decode(w.buf, w.len, &back), -EUCLEAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(round_trip),
	    cmocka_unit_test(wrong_length),
	    cmocka_unit_test(contradictions),
	    cmocka_unit_test(lengths_are_padded),
	    cmocka_unit_test(newer_format),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
