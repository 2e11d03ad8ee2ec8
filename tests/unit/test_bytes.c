/*
 * Byte codecs: what goes in comes out, and nothing malformed is taken for a value.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/bytes.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static const uint64_t values[] = {
	0, 1, 0x7f, 0x80, 0xff, 0x3fff, 0x4000, 0xffff, 0xffffffff, 1ull << 32,
	1ull << 63, UINT64_MAX,
};

/* The byte order on disk is fixed, whatever the processor's. */
static void test_byte_order(void **state)
{
	static const uint8_t le[] = {0x02, 0x01, 0x06, 0x05, 0x04, 0x03, 0x0e,
				     0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x07};
	static const uint8_t be[] = {1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t out[14];

	(void)state;
	bytes_put16(out, 0x0102);
	bytes_put32(out + 2, 0x03040506);
	bytes_put64(out + 6, 0x0708090a0b0c0d0eull);
	assert_memory_equal(out, le, sizeof(le));
	assert_int_equal(bytes_get16(le), 0x0102);
	assert_int_equal(bytes_get32(le + 2), 0x03040506);
	assert_true(bytes_get64(le + 6) == 0x0708090a0b0c0d0eull);
	bytes_put64be(out, 0x0102030405060708ull);
	assert_memory_equal(out, be, sizeof(be));
	assert_true(bytes_get64be(be) == 0x0102030405060708ull);
}

/* Big-endian keys sort by memcmp as their numbers do. */
static void test_big_endian_sorts(void **state)
{
	uint8_t a[8], b[8];

	(void)state;
	for (size_t i = 1; i < LEN(values); i++) {
		bytes_put64be(a, values[i - 1]);
		bytes_put64be(b, values[i]);
		assert_true(memcmp(a, b, 8) < 0);
	}
}

static void write_all(struct bytes_w *w)
{
	bytes_w_u8(w, 0xab);
	bytes_w_u16(w, 0xcdef);
	bytes_w_u32(w, 0x12345678);
	bytes_w_u64(w, 0x123456789abcdef0ull);
	bytes_w_varint(w, 300);
	bytes_w_blob(w, "name", 4);
	bytes_w_blob(w, NULL, 0);
	bytes_w_raw(w, "xy", 2);
}

/* Everything written is read back, and nothing is left over. */
static void test_round_trip(void **state)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct bytes_r r;
	uint8_t xy[2];
	size_t len;

	(void)state;
	write_all(&w);
	assert_int_equal(w.err, 0);
	r = bytes_r_init(w.buf, w.len);
	assert_int_equal(bytes_r_u8(&r), 0xab);
	assert_int_equal(bytes_r_u16(&r), 0xcdef);
	assert_int_equal(bytes_r_u32(&r), 0x12345678);
	assert_true(bytes_r_u64(&r) == 0x123456789abcdef0ull);
	assert_true(bytes_r_varint(&r) == 300);
	assert_memory_equal(bytes_r_blob(&r, 16, &len), "name", 4);
	assert_int_equal(len, 4);
	assert_non_null(bytes_r_blob(&r, 16, &len));
	assert_int_equal(len, 0);
	assert_int_equal(bytes_r_done(&r), -EUCLEAN); /* two bytes left over */
	bytes_r_copy(&r, xy, 2);
	assert_memory_equal(xy, "xy", 2);
	assert_int_equal(bytes_r_done(&r), 0);
}

/* Cut anywhere, the same reading ends in an error, never in a value made of missing bytes. */
static void test_every_truncation_is_noticed(void **state)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	(void)state;
	write_all(&w);
	for (size_t cut = 0; cut < w.len; cut++) {
		struct bytes_r r = bytes_r_init(w.buf, cut);
		uint8_t xy[2] = {1, 1};
		size_t len;

		bytes_r_u8(&r);
		bytes_r_u16(&r);
		bytes_r_u32(&r);
		bytes_r_u64(&r);
		bytes_r_varint(&r);
		bytes_r_blob(&r, 16, &len);
		bytes_r_blob(&r, 16, &len);
		bytes_r_copy(&r, xy, 2);
		assert_int_equal(bytes_r_done(&r), -EUCLEAN);
		assert_memory_equal(xy, "\0\0", 2);
	}
}

/* The first short read stays: later reads yield zeros, even where bytes would be left. */
static void test_error_latches(void **state)
{
	struct bytes_r r = bytes_r_init("abc", 3);

	(void)state;
	assert_int_equal(bytes_r_u32(&r), 0);
	assert_int_equal(bytes_r_u8(&r), 0);
	assert_null(bytes_r_raw(&r, 0));
	assert_int_equal(r.err, -EUCLEAN);
	r = bytes_r_init("", 0);
	bytes_r_fail(&r);
	assert_int_equal(bytes_r_done(&r), -EUCLEAN);
}

/* An empty reader over NULL is an empty structure, not an error. */
static void test_empty_reader(void **state)
{
	struct bytes_r r = bytes_r_init(NULL, 0);

	(void)state;
	assert_non_null(bytes_r_raw(&r, 0));
	assert_int_equal(bytes_r_done(&r), 0);
}

/* Varints of every size come back; the widest takes ten bytes. */
static void test_varint_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(values); i++) {
		CLEANUP_BYTES struct bytes_w w = {0};
		struct bytes_r r;

		bytes_w_varint(&w, values[i]);
		r = bytes_r_init(w.buf, w.len);
		assert_true(bytes_r_varint(&r) == values[i]);
		assert_int_equal(bytes_r_done(&r), 0);
		if (values[i] == UINT64_MAX)
			assert_int_equal(w.len, 10);
	}
}

/* A value has one encoding: padded, too wide and endless ones are refused. */
static void test_varint_malformed(void **state)
{
	static const struct {
		size_t len;
		uint8_t bytes[12];
	} bad[] = {
		{2, {0x80, 0x00}},
		{3, {0xff, 0x80, 0x00}},
		{10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}},
		{10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81}},
		{11, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
		{1, {0x80}},
	};

	(void)state;
	for (size_t i = 0; i < LEN(bad); i++) {
		struct bytes_r r = bytes_r_init(bad[i].bytes, bad[i].len);

		assert_true(bytes_r_varint(&r) == 0);
		assert_int_equal(r.err, -EUCLEAN);
	}
}

/* A length from disk is checked against the limit and the bytes there are, also a huge one. */
static void test_blob_limits(void **state)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct bytes_r r;
	size_t len = 7;

	(void)state;
	bytes_w_blob(&w, "12345", 5);
	r = bytes_r_init(w.buf, w.len);
	assert_null(bytes_r_blob(&r, 4, &len));
	assert_int_equal(len, 0);
	assert_int_equal(r.err, -EUCLEAN);
	bytes_w_reset(&w);
	bytes_w_varint(&w, UINT64_MAX);
	bytes_w_u8(&w, 1);
	r = bytes_r_init(w.buf, w.len);
	assert_null(bytes_r_blob(&r, SIZE_MAX, &len));
	assert_int_equal(r.err, -EUCLEAN);
}

/* Growth keeps what was written, and a reset starts over; also where each move wipes what it leaves. */
static void grow(bool wiped)
{
	CLEANUP_BYTES struct bytes_w w = {.wiped = wiped};

	for (uint32_t i = 0; i < 10000; i++)
		bytes_w_u32(&w, i);
	assert_int_equal(w.len, 40000);
	for (uint32_t i = 0; i < 10000; i++)
		assert_int_equal(bytes_get32(w.buf + 4 * i), i);
	bytes_w_reset(&w);
	assert_int_equal(w.len, 0);
	assert_non_null(bytes_w_room(&w, 0));
	bytes_w_free(&w);
	assert_null(w.buf);
	assert_int_equal(w.wiped, wiped);
}

static void test_writer_grows(void **state)
{
	(void)state;
	grow(false);
	grow(true);
}

/* A length that cannot be had latches ENOMEM: no overflow, no partial field. */
static void test_writer_overflow(void **state)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	(void)state;
	bytes_w_u8(&w, 1);
	assert_null(bytes_w_room(&w, SIZE_MAX));
	assert_int_equal(w.err, -ENOMEM);
	bytes_w_u8(&w, 2);
	assert_int_equal(w.len, 1);
}

/* Hexadecimal is exact: lower case, full length, nothing around it. */
static void test_hex(void **state)
{
	static const char *const bad[] = {"",	   "00ff1",  "00ff1a0", "00ff1a00", "00FF1A",
					  "00ff1g", " 0ff1a", "00ff1\n", "0x00ff"};
	uint8_t raw[3] = {0, 0xff, 0x1a}, back[3] = {9, 9, 9};
	char text[7];

	(void)state;
	bytes_hex(text, raw, 3);
	assert_string_equal(text, "00ff1a");
	assert_int_equal(bytes_unhex(text, back, 3), 0);
	assert_memory_equal(raw, back, 3);
	for (size_t i = 0; i < LEN(bad); i++)
		assert_int_equal(bytes_unhex(bad[i], back, 3), -EUCLEAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_byte_order),
		cmocka_unit_test(test_big_endian_sorts),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_truncation_is_noticed),
		cmocka_unit_test(test_error_latches),
		cmocka_unit_test(test_empty_reader),
		cmocka_unit_test(test_varint_round_trip),
		cmocka_unit_test(test_varint_malformed),
		cmocka_unit_test(test_blob_limits),
		cmocka_unit_test(test_writer_grows),
		cmocka_unit_test(test_writer_overflow),
		cmocka_unit_test(test_hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
