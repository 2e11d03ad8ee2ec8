/*
 * Deltas of rewritten files: what comes out makes the new file from the old one, costs about what
 * changed, and needs memory that does not grow with the file. And the codecs of their records.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backup/delta.h"
#include "backup/set_delta.h"
#include "core/cleanup.h"

#define KIB 1024u
#define MIB (1024u * KIB)

static uint64_t seed = 88172645463325252u;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void noise(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(rnd() >> 24);
}

/* --- making and applying --- */

struct made {
	const uint8_t *basis;
	size_t basis_len;
	struct bytes_w out;
	size_t n_literal;
};

static int on_copy(void *arg, uint64_t off, uint64_t len)
{
	struct made *m = arg;

	assert_true(len > 0 && off <= m->basis_len && len <= m->basis_len - off);
	bytes_w_raw(&m->out, m->basis + off, (size_t)len);
	return 0;
}

static int on_literal(void *arg, const uint8_t *p, size_t len)
{
	struct made *m = arg;

	assert_true(len > 0);
	bytes_w_raw(&m->out, p, len);
	m->n_literal += len;
	return 0;
}

static struct delta_basis *basis_of(const uint8_t *p, size_t len, unsigned log)
{
	CLEANUP_BYTES struct bytes_w sums = {0};
	struct delta_basis *b = NULL;

	assert_int_equal(delta_sums(p, len, log, &sums), 0);
	assert_int_equal(sums.len, ((len - 1) / ((size_t)1 << log) + 1) * DELTA_SUM_LEN);
	assert_int_equal(
	    delta_basis_new(sums.buf, sums.len / DELTA_SUM_LEN, log, len, &b), 0);
	return b;
}

/* How many bytes had to be taken from the new file; what comes out is the new file. */
static size_t delta_of(const uint8_t *old, size_t old_len, const uint8_t *new, size_t new_len)
{
	unsigned log = delta_block_log(old_len);
	struct delta_basis *b = basis_of(old, old_len, log);
	struct made m = {.basis = old, .basis_len = old_len};
	const struct delta_sink sink = {on_copy, on_literal, &m};
	struct delta *d = NULL;

	assert_int_equal(delta_new(b, &sink, &d), 0);
	for (size_t at = 0; at < new_len; at += SET_RANGE) {
		CLEANUP_BYTES struct bytes_w sums = {0};
		size_t n = new_len - at < SET_RANGE ? new_len - at : SET_RANGE;

		assert_int_equal(delta_sums(new + at, n, log, &sums), 0);
		assert_int_equal(delta_feed(d, new + at, n, sums.buf), 0);
	}
	assert_int_equal(delta_finish(d, 0), 0);
	assert_int_equal(m.out.len, new_len);
	assert_true(new_len == 0 || memcmp(m.out.buf, new, new_len) == 0);
	bytes_w_free(&m.out);
	delta_free(d);
	delta_basis_free(b);
	return m.n_literal;
}

/* An old file of noise, and the new one made of it by hand. */
struct pair {
	uint8_t *old, *new;
	size_t old_len, new_len;
	size_t block;
};

static struct pair pair(size_t len, size_t more)
{
	struct pair p = {.old = malloc(len), .new = malloc(len + more), .old_len = len,
			 .block = (size_t)1 << delta_block_log(len)};

	assert_non_null(p.old);
	assert_non_null(p.new);
	noise(p.old, len);
	return p;
}

static void put(struct pair *p, const uint8_t *from, size_t len)
{
	memcpy(p->new + p->new_len, from, len);
	p->new_len += len;
}

static void put_noise(struct pair *p, size_t len)
{
	noise(p->new + p->new_len, len);
	p->new_len += len;
}

static size_t settle(struct pair *p)
{
	size_t n = delta_of(p->old, p->old_len, p->new, p->new_len);

	free(p->old);
	free(p->new);
	return n;
}

static void one_insertion_costs_itself_and_a_block(void **state)
{
	static const size_t sizes[] = {64 * KIB, 100 * KIB, 3 * MIB + 777, 12 * MIB};
	(void)state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		for (int where = 0; where < 3; where++) {
			struct pair p = pair(sizes[i], KIB);
			size_t at = where * (p.old_len / 2), b = p.block;

			put(&p, p.old, at);
			put_noise(&p, KIB);
			put(&p, p.old + at, p.old_len - at);
			/* Searching ends a few times; each time loses less than a block. */
			assert_true(settle(&p) <= KIB + 7 * b);
		}
}

static void what_is_deleted_costs_a_block(void **state)
{
	(void)state;
	struct pair p = pair(4 * MIB, 0);
	size_t b = p.block;

	put(&p, p.old, MIB + 5);
	put(&p, p.old + MIB + 700, 3 * MIB - 700);
	assert_true(settle(&p) <= 5 * b);
}

static void what_stands_in_the_same_place_is_not_searched(void **state)
{
	(void)state;
	struct pair p = pair(8 * MIB, 0);
	size_t b = p.block;

	put(&p, p.old, p.old_len);
	assert_int_equal(settle(&p), 0);
	p = pair(8 * MIB, 0);
	put(&p, p.old, p.old_len);
	for (size_t at = 0; at < 8 * MIB; at += MIB)
		p.new[at + 99] ^= 1;
	assert_true(settle(&p) <= 2 * 8 * b);
}

static void blocks_in_another_order_are_found(void **state)
{
	(void)state;
	struct pair p = pair(4 * MIB, 0);
	size_t b = p.block;

	for (size_t i = p.old_len / b; i-- > 0;)
		put(&p, p.old + i * b, b);
	assert_int_equal(p.new_len, p.old_len);
	assert_int_equal(settle(&p), 0);
}

static void new_files_that_share_nothing_are_taken_whole(void **state)
{
	(void)state;
	struct pair p = pair(2 * MIB, 70 * MIB);

	put_noise(&p, 70 * MIB);
	assert_int_equal(settle(&p), 70 * MIB);
	p = pair(2 * MIB, 0);
	assert_int_equal(settle(&p), 0); /* and an empty one */
	p = pair(2 * MIB, 0);
	put_noise(&p, 1);
	assert_int_equal(settle(&p), 1);
}

/* After much that is new, what is old is found again before long. */
static void a_large_insertion_does_not_hide_what_follows(void **state)
{
	(void)state;
	struct pair p = pair(24 * MIB, 6 * MIB + 3);
	size_t b = p.block;

	put(&p, p.old, MIB);
	put_noise(&p, 6 * MIB + 3);
	put(&p, p.old + MIB, 23 * MIB);
	assert_true(settle(&p) <= 6 * MIB + 3 + 9 * MIB + 8 * b);
}

static void random_edits_of_all_kinds(void **state)
{
	(void)state;
	for (int round = 0; round < 60; round++) {
		struct pair p = pair(64 * KIB + rnd() % (2 * MIB), 4 * MIB);
		size_t at = 0;

		while (at < p.old_len && p.new_len < p.old_len) {
			size_t n = 1 + rnd() % (p.old_len / 8);

			n = n < p.old_len - at ? n : p.old_len - at;
			switch (rnd() % 5) {
			case 0:
				put_noise(&p, rnd() % 5000);
				break;
			case 1:
				at += n / 4;
				break;
			case 2: /* something from elsewhere */
				put(&p, p.old + rnd() % (p.old_len - n + 1), n);
				break;
			case 3:
				memset(p.new + p.new_len, 0, n);
				p.new_len += n;
				break;
			default:
				put(&p, p.old + at, n);
				at += n;
			}
		}
		settle(&p);
	}
}

static void block_lengths_follow_the_size(void **state)
{
	(void)state;
	assert_int_equal(delta_block_log(DELTA_FILE_MIN - 1), 0);
	assert_int_equal(delta_block_log(DELTA_FILE_MIN), 11);
	assert_int_equal(delta_block_log(1 * MIB), 12);
	assert_int_equal(delta_block_log(128 * MIB), 14);
	assert_int_equal(delta_block_log((uint64_t)4096 * MIB), 14);
	assert_int_equal(delta_block_log((uint64_t)4096 * MIB + 1), 15);
	assert_int_equal(delta_block_log(DELTA_FILE_MAX), DELTA_LOG_MAX);
	assert_int_equal(delta_block_log(DELTA_FILE_MAX + 1), 0);
}

static void a_signature_that_does_not_fit_its_file_is_refused(void **state)
{
	(void)state;
	CLEANUP_BYTES struct bytes_w sums = {0};
	CLEANUP_FREE uint8_t *p = malloc(64 * KIB);
	struct delta_basis *b = NULL;

	noise(p, 64 * KIB);
	assert_int_equal(delta_sums(p, 64 * KIB, 11, &sums), 0);
	assert_int_equal(delta_basis_new(sums.buf, 32, 11, 64 * KIB + 1, &b), -EUCLEAN);
	assert_int_equal(delta_basis_new(sums.buf, 31, 11, 64 * KIB, &b), -EUCLEAN);
	assert_int_equal(delta_basis_new(sums.buf, 0, 11, 0, &b), -EUCLEAN);
	assert_int_equal(delta_basis_new(sums.buf, 32, 5, 1024, &b), -EUCLEAN);
	assert_null(b);
}

/* Sums of parts are the parts of the sums: so ranges can be summed by themselves. */
static void sums_go_by_blocks(void **state)
{
	(void)state;
	CLEANUP_BYTES struct bytes_w whole = {0}, parts = {0};
	CLEANUP_FREE uint8_t *p = malloc(40000);

	noise(p, 40000);
	assert_int_equal(delta_sums(p, 40000, 12, &whole), 0);
	assert_int_equal(delta_sums(p, 16384, 12, &parts), 0);
	assert_int_equal(delta_sums(p + 16384, 40000 - 16384, 12, &parts), 0);
	assert_int_equal(whole.len, parts.len);
	assert_memory_equal(whole.buf, parts.buf, whole.len);
}

/* --- codecs --- */

static void sample(struct set_delta *d, struct bytes_w *ops)
{
	*d = (struct set_delta){.block_log = 12, .n_blocks = 3, .as_of = 77, .check = {1, 2}};
	memset(d->what, SET_BLOCK_HOLE, sizeof(d->what));
	d->what[0] = d->what[2] = SET_BLOCK_DATA;
	set_delta_put_copy(ops, 5, MAP_BLOCK + 1);
	set_delta_put_bytes(ops, "abc", 3);
	set_delta_put_copy(ops, VOLUME_SIZE_MAX - 2 * MAP_BLOCK, 2 * MAP_BLOCK - 4);
	d->ops = ops->buf;
	d->ops_len = ops->len;
}

static void a_delta_comes_back(void **state)
{
	(void)state;
	CLEANUP_BYTES struct bytes_w ops = {0}, body = {0};
	struct set_delta d, back;
	struct set_delta_op op;
	size_t pos = 0;

	sample(&d, &ops);
	set_delta_encode(&d, &body);
	assert_int_equal(set_delta_decode(body.buf, body.len, &back), 0);
	assert_memory_equal(d.what, back.what, sizeof(d.what));
	assert_memory_equal(d.check, back.check, sizeof(d.check));
	assert_int_equal(back.block_log, 12);
	assert_int_equal(back.n_blocks, 3);
	assert_int_equal(back.as_of, 77);
	assert_true(set_delta_next(&back, &pos, &op));
	assert_true(op.copy && op.off == 5 && op.len == MAP_BLOCK + 1);
	assert_true(set_delta_next(&back, &pos, &op));
	assert_true(!op.copy && op.len == 3 && memcmp(op.bytes, "abc", 3) == 0);
	assert_true(set_delta_next(&back, &pos, &op));
	assert_false(set_delta_next(&back, &pos, &op));
}

/* What is cut off, added, or does not add up is malformed. */
static void a_malformed_delta_is_refused(void **state)
{
	(void)state;
	CLEANUP_BYTES struct bytes_w ops = {0}, body = {0}, w = {0};
	struct set_delta d, back = {.as_of = 4711};

	sample(&d, &ops);
	set_delta_encode(&d, &body);
	for (size_t n = 0; n < body.len; n++)
		assert_int_equal(set_delta_decode(body.buf, n, &back), -EUCLEAN);
	bytes_w_u8(&body, 0);
	assert_int_equal(set_delta_decode(body.buf, body.len, &back), -EUCLEAN);
	d.n_blocks = 2; /* what is data, and the commands, reach further */
	set_delta_encode(&d, &w);
	assert_int_equal(set_delta_decode(w.buf, w.len, &back), -EUCLEAN);
	d.n_blocks = 4;
	bytes_w_reset(&w);
	set_delta_encode(&d, &w);
	assert_int_equal(set_delta_decode(w.buf, w.len, &back), -EUCLEAN);
	d.n_blocks = 3;
	d.what[1] = SET_BLOCK_SAME;
	bytes_w_reset(&w);
	set_delta_encode(&d, &w);
	assert_int_equal(set_delta_decode(w.buf, w.len, &back), -EUCLEAN);
	assert_int_equal(back.as_of, 4711);
}

static void a_signature_comes_back_in_parts(void **state)
{
	(void)state;
	CLEANUP_FREE uint8_t *sums = calloc(SET_SIGN_PART, DELTA_SUM_LEN);
	CLEANUP_BYTES struct bytes_w w = {0};
	/* 17000 sums of 4 KiB: two parts */
	struct set_sign s = {.block_log = 12, .depth = 2, .n_blocks = 17000, .carried = 99,
			     .sums = sums, .n_sums = SET_SIGN_PART};
	struct set_sign back = {.depth = 55};

	assert_int_equal(set_sign_sums(17000, 12), 17000);
	assert_int_equal(set_sign_parts(17000, 12), 2);
	assert_int_equal(set_sign_parts(SET_SIGN_PART, 12), 1);
	set_sign_encode(&s, &w);
	assert_int_equal(set_sign_decode(w.buf, w.len, 1, &back), -EUCLEAN);
	assert_int_equal(set_sign_decode(w.buf, w.len, 2, &back), -EUCLEAN);
	assert_int_equal(set_sign_decode(w.buf, w.len, UINT64_MAX, &back), -EUCLEAN);
	assert_int_equal(set_sign_decode(w.buf, w.len - 1, 0, &back), -EUCLEAN);
	assert_int_equal(back.depth, 55);
	assert_int_equal(set_sign_decode(w.buf, w.len, 0, &back), 0);
	assert_true(back.depth == 2 && back.carried == 99 && back.n_sums == SET_SIGN_PART);
	bytes_w_reset(&w);
	s.n_sums = 17000 - SET_SIGN_PART;
	set_sign_encode(&s, &w);
	assert_int_equal(set_sign_decode(w.buf, w.len, 1, &back), 0);
	assert_int_equal(back.n_sums, 17000 - SET_SIGN_PART);
	s.depth = SET_DELTA_DEPTH_MAX + 1;
	bytes_w_reset(&w);
	set_sign_encode(&s, &w);
	assert_int_equal(set_sign_decode(w.buf, w.len, 1, &back), -EUCLEAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_insertion_costs_itself_and_a_block),
	    cmocka_unit_test(what_is_deleted_costs_a_block),
	    cmocka_unit_test(what_stands_in_the_same_place_is_not_searched),
	    cmocka_unit_test(blocks_in_another_order_are_found),
	    cmocka_unit_test(new_files_that_share_nothing_are_taken_whole),
	    cmocka_unit_test(a_large_insertion_does_not_hide_what_follows),
	    cmocka_unit_test(random_edits_of_all_kinds),
	    cmocka_unit_test(block_lengths_follow_the_size),
	    cmocka_unit_test(a_signature_that_does_not_fit_its_file_is_refused),
	    cmocka_unit_test(sums_go_by_blocks),
	    cmocka_unit_test(a_delta_comes_back),
	    cmocka_unit_test(a_malformed_delta_is_refused),
	    cmocka_unit_test(a_signature_comes_back_in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
