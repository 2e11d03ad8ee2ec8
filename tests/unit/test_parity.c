/*
 * Parity brings back what it says it does, bit by bit, at any place; what is beyond is told and left alone.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/parity.h"
#include "backup/set_copy.h"
#include "tests/unit/backup_fixture.h"

static uint64_t draw(uint64_t *x, uint64_t n)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x % n;
}

struct sample {
	uint8_t *good, *p;
	size_t len;
	struct bytes_w parity;
};

static void sample_new(struct sample *s, size_t len, unsigned percent)
{
	*s = (struct sample){.good = noise(len, len), .p = noise(len, len), .len = len};
	assert_int_equal(parity_encode(s->p, len, percent, &s->parity), 0);
}

static void sample_free(struct sample *s)
{
	free(s->good);
	free(s->p);
	bytes_w_free(&s->parity);
}

static int repair(struct sample *s, size_t *ret_n)
{
	return parity_repair(s->p, s->len, s->parity.buf, s->parity.len, ret_n);
}

static void expect_repaired(struct sample *s)
{
	size_t n = 0;

	assert_int_equal(repair(s, &n), 0);
	assert_true(n > 0);
	assert_memory_equal(s->p, s->good, s->len);
}

/* One run of the stated share, wherever it begins. */
static void test_a_run(void **state)
{
	static const size_t lens[] = {1, 63, 64, 65, 4096, 10000, 300000, 3000000, 9000001};
	static const unsigned percents[] = {1, 5, 20, 50};
	uint64_t x = 7;
	(void)state;

	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		for (size_t q = 0; q < 4; q++) {
			struct sample s;
			size_t share = lens[i] * percents[q] / 100;

			sample_new(&s, lens[i], percents[q]);
			share = share ? share : 1;
			size_t at = draw(&x, lens[i] - share + 1);
			for (size_t k = 0; k < share; k++)
				s.p[at + k] ^= (uint8_t)(1 + draw(&x, 255));
			expect_repaired(&s);
			sample_free(&s);
		}
	}
}

/* Single bytes at random, as many as a group bears, wherever they fall. */
static void test_scattered(void **state)
{
	uint64_t x = 99;
	(void)state;

	for (int round = 0; round < 12; round++) {
		struct sample s;

		/* 8 MiB in blocks of 4096: 11 groups of 187 rows and 11 parity blocks. */
		sample_new(&s, 8 << 20, 5);
		for (int k = 0; k < 10; k++)
			s.p[draw(&x, s.len)] ^= (uint8_t)(1 + draw(&x, 255));
		expect_repaired(&s);
		sample_free(&s);
	}
}

/* Parity blocks and one table damaged as well, in place of data. */
static void test_damaged_parity(void **state)
{
	uint64_t x = 5;
	struct sample s;
	size_t n;
	(void)state;

	for (int round = 0; round < 8; round++) {
		sample_new(&s, 1 << 20, 5);
		s.parity.buf[draw(&x, 500)] ^= 1;	      /* the first table */
		s.parity.buf[s.parity.len / 2] ^= 1; /* a parity block */
		for (int k = 0; k < 5; k++)
			s.p[draw(&x, s.len)] ^= 3;
		expect_repaired(&s);
		/* The second table as well: nothing is known any more, and nothing is changed. */
		s.parity.buf[s.parity.len - 1 - draw(&x, 500)] ^= 1;
		s.p[17] ^= 1;
		assert_int_equal(repair(&s, &n), -EBADMSG);
		s.p[17] ^= 1;
		assert_memory_equal(s.p, s.good, s.len);
		sample_free(&s);
	}
}

/* Beyond the share: refused, and not a byte touched. */
static void test_too_much(void **state)
{
	struct sample s;
	size_t n;
	(void)state;

	sample_new(&s, 8 << 20, 5);
	memset(s.p + 1000000, 0, s.len * 7 / 100);
	CLEANUP_FREE uint8_t *before = malloc(s.len);
	memcpy(before, s.p, s.len);
	assert_int_equal(repair(&s, &n), -EBADMSG);
	assert_memory_equal(before, s.p, s.len);
	sample_free(&s);
}

static void test_undamaged_and_malformed(void **state)
{
	struct sample s;
	size_t n = 9;
	(void)state;

	sample_new(&s, 100000, 10);
	assert_int_equal(repair(&s, &n), 0);
	assert_int_equal(n, 0);
	assert_int_not_equal(parity_repair(s.p, s.len - 1, s.parity.buf, s.parity.len, &n), 0);
	for (size_t cut = 0; cut < s.parity.len; cut += 97)
		assert_true(parity_repair(s.p, s.len, s.parity.buf, cut, &n) != 0);
	/* Any head: no crash, no change (the sanitizers look on). */
	for (size_t at = 0; at < 32; at++) {
		for (int v = 0; v < 256; v += 5) {
			uint8_t was = s.parity.buf[at];

			s.parity.buf[at] = (uint8_t)v;
			parity_repair(s.p, s.len, s.parity.buf, s.parity.len, &n);
			s.parity.buf[at] = was;
		}
	}
	assert_memory_equal(s.p, s.good, s.len);
	assert_int_equal(parity_encode(s.p, 0, 5, &s.parity), -EINVAL);
	assert_int_equal(parity_encode(s.p, 10, 0, &s.parity), -EINVAL);
	assert_int_equal(parity_encode(s.p, 10, 51, &s.parity), -EINVAL);
	sample_free(&s);
}

/* In a repository: damaged, cut short, made longer; gone altogether it cannot be brought back. */
static void test_in_a_set(void **state)
{
	struct backup_fixture *b = *state;
	CLEANUP_FREE uint8_t *good = NULL;
	struct set_manifest m;
	char path[PATH_MAX];
	uint8_t *got;
	size_t n;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "file", 1, 3 << 20);
	back_up(b, true, &m);
	assert_int_equal(parity_cover(b->repo, &m, 10, &n, &b->d), 0);
	assert_int_equal(n, 1 + m.n_packs);
	assert_int_equal(parity_cover(b->repo, &m, 10, &n, &b->d), 0);
	assert_int_equal(n, 0);
	object_path(b, m.id, "pack-00000", path);
	size_t len = read_raw(path, &good);
	for (int what = 0; what < 4; what++) {
		CLEANUP_FREE uint8_t *bad = calloc(1, len + 100);

		memcpy(bad, good, len);
		bad[len / 3] ^= 255;
		write_raw(path, bad, what == 1 ? len - len / 20 : what == 2 ? len + 100 : what == 3 ? len / 2 : len);
		int r = parity_fetch(b->repo, m.id, "pack-00000", &m.packs[0], &got);
		assert_int_equal(r, what == 3 ? -EBADMSG : 0);
		if (r == 0) {
			assert_memory_equal(got, good, len);
			free(got);
		}
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(parity_fetch(b->repo, m.id, "pack-00000", &m.packs[0], &got), -EBADMSG);
	set_manifest_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_run),
		cmocka_unit_test(test_scattered),
		cmocka_unit_test(test_damaged_parity),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_undamaged_and_malformed),
		WITH_REPOSITORY(test_in_a_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
