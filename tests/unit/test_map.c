/*
 * Block map records: one encoding for each group, nothing else accepted, never larger than a page.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/map.h"

/* Usable bytes of a 4096-byte SQLite table leaf cell without overflow, less a record header and row
 * number. */
#define PAGE_ROOM(page) ((page) - 35 - 24)

/* Every test runs for each length of tag that a suite has. */
static size_t tag_len;

static int short_tags(void **state)
{
	(void)state;
	tag_len = SUITE_TAG_LEN;
	return 0;
}

static int long_tags(void **state)
{
	(void)state;
	tag_len = SUITE_TAG_LEN_MAX;
	return 0;
}

static uint64_t seed = 1;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void set(struct map_entry *e, uint64_t slot, uint64_t birth, uint64_t counter,
		uint8_t session)
{
	*e = (struct map_entry){.slot = slot, .birth = birth, .counter = counter};
	memset(e->session, session, sizeof(e->session));
	for (size_t i = 0; i < tag_len; i++)
		e->tag[i] = (uint8_t)next_random();
}

/* Runs of holes and of blocks, of a few sessions. */
static void random_group(struct map_group *g)
{
	map_init(g);
	for (unsigned i = 0; i < MAP_GROUP;) {
		unsigned n = 1 + (unsigned)(next_random() % 20);
		uint64_t slot = next_random() % MAP_SLOT_END / 2,
			 birth = next_random() % MAP_BIRTH_END;
		uint64_t counter = next_random() % MAP_COUNTER_END / 2;
		uint8_t session = (uint8_t)(next_random() % 5);
		bool hole = next_random() % 3 == 0;

		for (; n-- && i < MAP_GROUP; i++) {
			if (!hole)
				set(&g->e[i], slot++, birth, counter++, session);
		}
	}
}

/* The largest: every block a run and a session of its own, every number as long as it can be. */
static void worst_group(struct map_group *g)
{
	for (unsigned i = 0; i < MAP_GROUP; i++)
		set(&g->e[i], MAP_SLOT_END - 2 * i - 1, MAP_BIRTH_END - 1,
		    MAP_COUNTER_END - 2 * i - 1, (uint8_t)i);
}

static void assert_same(const struct map_group *a, const struct map_group *b)
{
	for (unsigned i = 0; i < MAP_GROUP; i++)
		assert_memory_equal(&a->e[i], &b->e[i], sizeof(a->e[i]));
}

/* What was entered comes back, and is written as the same bytes again. */
static void test_round_trip(void **state)
{
	(void)state;
	for (int round = 0; round < 500; round++) {
		struct map_group g, back;
		struct bytes_w w = {0}, again = {0};

		random_group(&g);
		map_encode(&g, tag_len, &w);
		assert_int_equal(w.err, 0);
		assert_int_equal(map_decode(w.buf, w.len, tag_len, &back), 0);
		assert_same(&g, &back);
		map_encode(&back, tag_len, &again);
		assert_int_equal(again.len, w.len);
		assert_memory_equal(again.buf, w.buf, w.len);
		bytes_w_free(&w);
		bytes_w_free(&again);
	}
}

/* The largest record fits a page once sealed; a file written in one go costs little more than its
 * tags. */
static void test_size(void **state)
{
	struct map_group g;
	struct bytes_w w = {0};

	(void)state;
	assert_true(MAP_RECORD_MAX(tag_len) + SUITE_BOX_OVERHEAD <=
		    PAGE_ROOM(tag_len > SUITE_TAG_LEN ? 8192 : 4096));
	worst_group(&g);
	map_encode(&g, tag_len, &w);
	assert_int_equal(w.err, 0);
	assert_int_equal(w.len, MAP_RECORD_MAX(tag_len));
	bytes_w_reset(&w);
	for (unsigned i = 0; i < MAP_GROUP; i++)
		set(&g.e[i], 1000 + i, 7, 5000 + i, 9);
	map_encode(&g, tag_len, &w);
	assert_true(w.len <= MAP_GROUP * tag_len + MAP_SESSION_LEN + 16);
	bytes_w_reset(&w);
	map_init(&g);
	map_encode(&g, tag_len, &w);
	assert_int_equal(w.len, 3);
	assert_int_equal(map_decode(w.buf, w.len, tag_len, &g), 0);
	assert_true(map_all_holes(&g));
	bytes_w_free(&w);
}

/* Cut short anywhere, or with something after its end, it is malformed. */
static void test_truncated(void **state)
{
	struct map_group g, back;

	(void)state;
	for (int shape = 0; shape < 3; shape++) {
		struct bytes_w w = {0};

		if (shape == 0)
			worst_group(&g);
		else
			random_group(&g);
		map_encode(&g, tag_len, &w);
		for (size_t len = 0; len < w.len; len++) {
			/* A copy of that length, so that a checker of memory sees a read beyond it.
			 */
			uint8_t *cut = malloc(len + 1);

			memcpy(cut, w.buf, len);
			cut = realloc(cut, len ? len : 1);
			assert_int_equal(map_decode(cut, len, tag_len, &back), -EUCLEAN);
			free(cut);
		}
		bytes_w_u8(&w, 0);
		assert_int_equal(map_decode(w.buf, w.len, tag_len, &back), -EUCLEAN);
		bytes_w_free(&w);
	}
}

/* Whatever bytes are accepted are the one encoding of what they say. */
static void test_hostile(void **state)
{
	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct map_group g, back;
		struct bytes_w w = {0}, again = {0};

		random_group(&g);
		map_encode(&g, tag_len, &w);
		for (int n = 0; n < 1 + round % 3; n++)
			w.buf[round % 2 ? next_random() % 64 % w.len : next_random() % w.len] ^=
			    (uint8_t)(1u << next_random() % 8);
		if (map_decode(w.buf, w.len, tag_len, &back) == 0) {
			map_encode(&back, tag_len, &again);
			assert_int_equal(again.err, 0);
			assert_int_equal(again.len, w.len);
			assert_memory_equal(again.buf, w.buf, w.len);
		}
		bytes_w_free(&w);
		bytes_w_free(&again);
	}
}

static void assert_malformed(const void *p, size_t len)
{
	struct map_group g;

	assert_int_equal(map_decode(p, len, tag_len, &g), -EUCLEAN);
}

/* Second encodings of the same thing, and what means nothing. */
static void test_not_canonical(void **state)
{
	static const uint8_t two_holes[] = {1, 0, 0x80 | 31, 0x80 | 31};
	static const uint8_t overrun[] = {1, 0, 0x80 | 31, 0x80 | 32};
	static const uint8_t reserved_bit[] = {1, 0, 0xc0 | 63};
	static const uint8_t version[] = {2, 0, 0x80 | 63};
	uint8_t unused[2 + MAP_SESSION_LEN + 1] = {1, 1};
	struct map_group g;
	struct bytes_w w = {0};

	(void)state;
	assert_malformed(two_holes, sizeof(two_holes));
	assert_malformed(overrun, sizeof(overrun));
	assert_malformed(reserved_bit, sizeof(reserved_bit));
	assert_malformed(version, sizeof(version));
	unused[sizeof(unused) - 1] = 0x80 | 63;
	assert_malformed(unused, sizeof(unused));
	/* a run split in two */
	map_init(&g);
	set(&g.e[0], 5, 1, 5, 3);
	set(&g.e[1], 7, 1, 6, 3);
	map_encode(&g, tag_len, &w);
	uint8_t *second = w.buf + 2 + MAP_SESSION_LEN + 5 + tag_len;
	assert_int_equal(second[1], 7);
	second[1] = 6; /* its slot now follows the first's */
	assert_malformed(w.buf, w.len);
	bytes_w_free(&w);
}

/* An entry that could not be read back is not written. */
static void test_out_of_bounds(void **state)
{
	(void)state;
	for (int which = 0; which < 3; which++) {
		struct map_group g;
		struct bytes_w w = {0};

		map_init(&g);
		set(&g.e[9], which == 0 ? MAP_SLOT_END : 0, which == 1 ? MAP_BIRTH_END : 0,
		    which == 2 ? MAP_COUNTER_END : 0, 1);
		map_encode(&g, tag_len, &w);
		assert_int_equal(w.err, -EOVERFLOW);
		bytes_w_free(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_size),
	    cmocka_unit_test(test_truncated),     cmocka_unit_test(test_hostile),
	    cmocka_unit_test(test_not_canonical), cmocka_unit_test(test_out_of_bounds),
	};

	return cmocka_run_group_tests_name("16-byte tags", tests, short_tags, NULL) +
	       cmocka_run_group_tests_name("32-byte tags", tests, long_tags, NULL);
}
