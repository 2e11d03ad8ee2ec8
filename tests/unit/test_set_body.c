/* The bodies of a set's records: every field comes back, and nothing else is taken for one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/set_body.h"
#include "tests/unit/backup_fixture.h"

/* Every field of a node comes back; every shorter text of one is refused, and so is what
 * contradicts itself. */
static void nodes(void **state)
{
	static const uint8_t xattrs[] = {6, 'u', 's', 'e', 'r', '.', 'a', 0, 2, 0, 0, 0, 'v', 'w'};
	CLEANUP_BYTES struct bytes_w w = {0};
	const struct set_node n = {.attr = {.mode = S_IFREG | 04755,
					    .nlink = 3,
					    .uid = 70000,
					    .gid = 80000,
					    .size = 4,
					    .atime = {-1, 999999999},
					    .mtime = {1, 2},
					    .ctime = {3, 4},
					    .btime = {5, 6}},
				   .inline_data = (const uint8_t *)"data",
				   .inline_len = 4,
				   .xattrs = xattrs,
				   .xattrs_len = sizeof(xattrs)};
	struct set_node got, bad;

	(void)state;
	set_node_encode(&n, &w);
	assert_int_equal(set_node_decode(w.buf, w.len, &got), 0);
	assert_memory_equal(&got.attr, &n.attr, sizeof(n.attr));
	assert_memory_equal(got.inline_data, "data", 4);
	assert_int_equal(got.xattrs_len, sizeof(xattrs));
	assert_memory_equal(got.xattrs, xattrs, sizeof(xattrs));
	for (size_t len = 0; len < w.len; len++)
		assert_int_equal(set_node_decode(w.buf, len, &got), -EUCLEAN);

	for (unsigned i = 0; i < 8; i++) {
		bad = n;
		switch (i) {
		case 0:
			bad.attr.mode = 0755;
			break;
		case 1:
			bad.attr.size = 5;
			break;
		case 2:
			bad.in_blocks = true;
			break;
		case 3:
			bad.attr.mtime.tv_nsec = 1000000000;
			break;
		case 4:
			bad.xattrs_len = sizeof(xattrs) - 1;
			break;
		case 5:
			bad.attr.mode = S_IFDIR | 0755;
			break;
		case 6:
			bad.attr.mode = S_IFLNK | 0777;
			bad.inline_data = (const uint8_t *)"a\0bc";
			break;
		case 7:
			bad.n_mapped = 1;
			break;
		}
		bytes_w_reset(&w);
		set_node_encode(&bad, &w);
		assert_int_equal(set_node_decode(w.buf, w.len, &got), -EUCLEAN);
	}
}

/* Names come back padded; what could not be a name is refused. */
static void names(void **state)
{
	static const struct {
		const char *p;
		size_t len;
	} bad[] = {{"", 0},      {"\0", 1},  {".\0", 2}, {"..\0", 3},
		   {"a/b\0", 4}, {"/\0", 2}, {"abc", 3}, {"a\0b\0", 4}};
	CLEANUP_BYTES struct bytes_w w = {0};
	char longest[VOLUME_NAME_MAX + 2], got[VOLUME_NAME_MAX + 1];

	(void)state;
	memset(longest, 'x', VOLUME_NAME_MAX + 1);
	longest[VOLUME_NAME_MAX] = 0;
	set_name_encode(longest, &w);
	assert_int_equal(w.len, 256);
	assert_int_equal(set_name_decode(w.buf, w.len, got), 0);
	assert_string_equal(got, longest);
	bytes_w_reset(&w);
	longest[VOLUME_NAME_MAX] = 'x';
	longest[VOLUME_NAME_MAX + 1] = 0;
	set_name_encode(longest, &w);
	assert_int_equal(set_name_decode(w.buf, w.len, got), -EUCLEAN);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(set_name_decode(bad[i].p, bad[i].len, got), -EUCLEAN);
}

/* Runs cover the range exactly, and bring exactly their blocks. */
static void runs(void **state)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	uint8_t what[SET_RANGE_BLOCKS], got[SET_RANGE_BLOCKS];
	const uint8_t *bytes;
	size_t n, head;

	(void)state;
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		what[i] = (uint8_t)(i * i % 3);
	what[SET_RANGE_BLOCKS - 1] = SET_BLOCK_DATA;
	set_data_encode_runs(what, &w);
	head = w.len;
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		if (what[i] == SET_BLOCK_DATA)
			memset(bytes_w_room(&w, MAP_BLOCK), (int)i, MAP_BLOCK);
	assert_int_equal(set_data_decode(w.buf, w.len, got, &bytes, &n), 0);
	assert_memory_equal(got, what, sizeof(what));
	assert_ptr_equal(bytes, w.buf + head);
	assert_int_equal(n * MAP_BLOCK, w.len - head);
	assert_int_equal(set_data_decode(w.buf, w.len - 1, got, &bytes, &n), -EUCLEAN);
	bytes_w_u8(&w, 0);
	assert_int_equal(set_data_decode(w.buf, w.len, got, &bytes, &n), -EUCLEAN);
	static const uint8_t bad[][4] = {
	    {1, 0x81, 2, 0}, {3, 0x80, 2, 0}, {1, 0, 1, 0}, {1, 0xff, 1, 0}};
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(set_data_decode(bad[i], 3, got, &bytes, &n), -EUCLEAN);
	assert_int_equal(set_data_decode((const uint8_t[]){1, 0x80, 2}, 3, got, &bytes, &n), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nodes),
	    cmocka_unit_test(names),
	    cmocka_unit_test(runs),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
