/*
 * core/keytree against an independent model: the root seed and the set of what was punctured,
 * derived by recursion.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/keytree.h"

#define NODE_LEN 41
#define RANGES_MAX 4096

/* --- the model --- */

struct model {
	uint8_t root[KDF_KEY_LEN];
	size_t n;
	struct {
		uint64_t first, last;
	} gone[RANGES_MAX];
};

static void model_walk(uint8_t out[KDF_KEY_LEN], const uint8_t seed[KDF_KEY_LEN], uint64_t id,
		       int bits_left)
{
	uint8_t both[2 * KDF_KEY_LEN];

	if (bits_left == 0) {
		memcpy(out, seed, KDF_KEY_LEN);
		return;
	}
	kdf_ggm_children(both, seed);
	model_walk(out, id >> (bits_left - 1) & 1 ? both + KDF_KEY_LEN : both, id, bits_left - 1);
}

static bool model_has(const struct model *m, uint64_t id)
{
	for (size_t i = 0; i < m->n; i++) {
		if (m->gone[i].first <= id && id <= m->gone[i].last)
			return false;
	}
	return true;
}

static uint8_t *encoded(const struct keytree *t, size_t *ret_len)
{
	uint8_t *buf = malloc(keytree_encoded_len(t));

	assert_non_null(buf);
	*ret_len = keytree_encoded_len(t);
	keytree_encode(t, buf);
	return buf;
}

/* The root is the only seed of a new tree's encoding. */
static struct model *model_new(const struct keytree *t)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	struct model *m = calloc(1, sizeof(*m));
	size_t len;

	assert_non_null(m);
	buf = encoded(t, &len);
	assert_int_equal(len, 4 + NODE_LEN);
	assert_int_equal(bytes_get64(buf + 4), 0);
	assert_int_equal(buf[12], 0);
	memcpy(m->root, buf + 13, KDF_KEY_LEN);
	return m;
}

static void check_id(struct keytree *t, const struct model *m, uint64_t id)
{
	uint8_t want[KDF_KEY_LEN], got[KDF_KEY_LEN];

	assert_int_equal(keytree_has(t, id), model_has(m, id));
	if (!model_has(m, id)) {
		assert_int_equal(keytree_derive(t, id, got), -EKEYREVOKED);
		return;
	}
	model_walk(want, m->root, id, 64);
	assert_int_equal(keytree_derive(t, id, got), 0);
	assert_memory_equal(got, want, KDF_KEY_LEN);
}

static void puncture(struct keytree *t, struct model *m, uint64_t first, uint64_t last)
{
	assert_int_equal(keytree_puncture(t, first, last), 0);
	assert_true(m->n < RANGES_MAX);
	m->gone[m->n].first = first;
	m->gone[m->n++].last = last;
}

/* Every edge of every range, and its neighbours. */
static void check_edges(struct keytree *t, const struct model *m)
{
	for (size_t i = 0; i < m->n; i++) {
		for (uint64_t k = 0; k < 4; k++) {
			check_id(t, m, m->gone[i].first - 2 + k);
			check_id(t, m, m->gone[i].last - 2 + k);
		}
	}
}

static uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* --- tests --- */

/*
 * A key is the GGM path of its id, at both ends of the id space as in the middle, in any order of
 * asking.
 */
static void test_derives_as_the_model(void **state)
{
	CLEANUP_KEYTREE struct keytree *t = keytree_new();
	CLEANUP_FREE struct model *m = model_new(t);
	static const uint64_t ids[] = {
	    0,  1,  2,  3,    1, UINT64_MAX, UINT64_MAX - 1, 1ull << 63, (1ull << 63) - 1,
	    17, 16, 15, 1000, 17};

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		check_id(t, m, ids[i]);
}

/*
 * The worked example of docs/format.md: keys of a known root, so that no change of code can move
 * them.
 */
static void test_golden_keys(void **state)
{
	static const struct {
		uint64_t id;
		const char *key;
	} golden[] = {
	    {0, "b8ea60677bc9766d07c0f1363f9b2839ec1be3ee013f4131f13c726ea5452066"},
	    {16, "6398b2213eda1aee879612c2fc351a33087417d81f6a61de46e4c5db087e69ea"},
	    {17, "c04721fa36b68b1cef78899914ad6534577419e41f50124e203fe493f029dd2d"},
	    {UINT64_MAX, "c99b923880210dd9a308d72d6bdd4a7c77a16cbb597d6b0da6761fc7b12a7315"},
	};
	CLEANUP_KEYTREE struct keytree *t = NULL;
	uint8_t encoding[4 + NODE_LEN] = {1}, key[KDF_KEY_LEN];
	struct bytes_r r = bytes_r_init(encoding, sizeof(encoding));
	char hex[2 * KDF_KEY_LEN + 1];

	(void)state;
	for (uint8_t i = 0; i < KDF_KEY_LEN; i++)
		encoding[13 + i] = i;
	assert_int_equal(keytree_decode(&r, &t), 0);
	for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
		assert_int_equal(keytree_derive(t, golden[i].id, key), 0);
		bytes_hex(hex, key, sizeof(key));
		assert_string_equal(hex, golden[i].key);
	}
}

/*
 * Random punctures: what is gone is gone, every other id keeps its key; the path cache never
 * revives anything.
 */
static void test_punctures_as_the_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		CLEANUP_KEYTREE struct keytree *t = keytree_new();
		CLEANUP_FREE struct model *m = model_new(t);
		uint64_t s = seed * 0x9e3779b97f4a7c15u;

		for (int i = 0; i < 24; i++) {
			/* Small numbers meet each other often; the shift brings in the large ones.
			 */
			uint64_t first = rnd(&s) >> (rnd(&s) % 2 ? 56 : rnd(&s) % 64);
			uint64_t len = rnd(&s) >> (rnd(&s) % 2 ? 60 : rnd(&s) % 64);
			uint64_t last = first + len < first ? UINT64_MAX : first + len;

			check_id(t, m, first);
			puncture(t, m, first, last);
			check_id(t, m, first);
			check_id(t, m, last + 1);
		}
		check_edges(t, m);
	}
}

/*
 * The state after a set of punctures depends on the set alone: not on order, repetition or how
 * ranges are cut.
 */
static void test_order_does_not_matter(void **state)
{
	CLEANUP_KEYTREE struct keytree *a = keytree_new(), *b = keytree_clone(a),
				       *c = keytree_clone(a);
	CLEANUP_FREE uint8_t *ea = NULL, *eb = NULL, *ec = NULL;
	size_t la, lb, lc;

	(void)state;
	assert_int_equal(keytree_puncture(a, 100, 299), 0);
	assert_int_equal(keytree_puncture(a, 7, 7), 0);
	for (uint64_t id = 299; id >= 100; id--)
		assert_int_equal(keytree_puncture(b, id, id), 0);
	assert_int_equal(keytree_puncture(b, 7, 7), 0);
	assert_int_equal(keytree_puncture(b, 7, 7), 0);
	assert_int_equal(keytree_puncture(c, 7, 7), 0);
	assert_int_equal(keytree_puncture(c, 200, 299), 0);
	assert_int_equal(keytree_puncture(c, 100, 250), 0);
	ea = encoded(a, &la);
	eb = encoded(b, &lb);
	ec = encoded(c, &lc);
	assert_int_equal(la, lb);
	assert_int_equal(la, lc);
	assert_memory_equal(ea, eb, la);
	assert_memory_equal(ea, ec, la);
}

/* The ends of the id space, all of it, nothing at all, and a range the wrong way round. */
static void test_extremes(void **state)
{
	CLEANUP_KEYTREE struct keytree *t = keytree_new(), *u = keytree_clone(t);
	CLEANUP_FREE struct model *m = model_new(t);
	uint8_t key[KDF_KEY_LEN];

	(void)state;
	puncture(t, m, 0, 0);
	puncture(t, m, UINT64_MAX, UINT64_MAX);
	assert_int_equal(keytree_n_nodes(t), 126);
	check_edges(t, m);
	assert_int_equal(keytree_puncture(t, 5, 4), -EINVAL);
	check_id(t, m, 5);
	puncture(t, m, 0, UINT64_MAX);
	assert_int_equal(keytree_n_nodes(t), 0);
	assert_int_equal(keytree_derive(t, 77, key), -EKEYREVOKED);
	assert_false(keytree_has_any(t, 0, UINT64_MAX));
	assert_int_equal(keytree_puncture(t, 0, UINT64_MAX), 0);
	assert_int_equal(keytree_derive(u, 77, key), 0);
}

/* has_any sees a single survivor at either edge, and none inside what is gone. */
static void test_has_any(void **state)
{
	CLEANUP_KEYTREE struct keytree *t = keytree_new();

	(void)state;
	assert_int_equal(keytree_puncture(t, 10, 20), 0);
	assert_false(keytree_has_any(t, 10, 20));
	assert_false(keytree_has_any(t, 15, 15));
	assert_true(keytree_has_any(t, 9, 20));
	assert_true(keytree_has_any(t, 10, 21));
	assert_true(keytree_has_any(t, 0, UINT64_MAX));
}

/* A clone is a copy: puncturing one leaves the other whole. */
static void test_clone_is_apart(void **state)
{
	CLEANUP_KEYTREE struct keytree *t = keytree_new(), *c = NULL;
	CLEANUP_FREE struct model *m = model_new(t);

	(void)state;
	check_id(t, m, 42);
	c = keytree_clone(t);
	assert_int_equal(keytree_puncture(c, 42, 42), 0);
	assert_false(keytree_has(c, 42));
	check_id(t, m, 42);
	check_id(c, m, 43);
}

/*
 * A new generation: ids below keep their keys, ids from first on have new ones, punctured or not
 * before.
 */
static void test_regenerate(void **state)
{
	static const uint64_t floors[] = {0, 1, 1000, 1ull << 40, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(floors) / sizeof(floors[0]); i++) {
		CLEANUP_KEYTREE struct keytree *t = keytree_new(), *old = NULL;
		CLEANUP_FREE struct model *m = model_new(t);
		uint64_t first = floors[i], probes[] = {first, UINT64_MAX, first | 1ull << 50};

		puncture(t, m, 3, 3);
		old = keytree_clone(t);
		assert_int_equal(keytree_regenerate(t, first), 0);
		for (size_t k = 0; k < 3; k++) {
			uint8_t fresh[KDF_KEY_LEN], before[KDF_KEY_LEN];

			assert_int_equal(keytree_derive(t, probes[k], fresh), 0);
			if (keytree_derive(old, probes[k], before) == 0)
				assert_memory_not_equal(fresh, before, KDF_KEY_LEN);
		}
		if (first > 3) {
			check_id(t, m, 3);
			check_id(t, m, 2);
			check_id(t, m, first - 1);
		}
		assert_true(keytree_has_any(t, first, UINT64_MAX));
	}
}

/* A state read back is the same state. */
static void test_encoding_round_trip(void **state)
{
	CLEANUP_KEYTREE struct keytree *t = keytree_new(), *u = NULL;
	CLEANUP_FREE struct model *m = model_new(t);
	CLEANUP_FREE uint8_t *e1 = NULL, *e2 = NULL;
	struct bytes_r r;
	size_t l1, l2;

	(void)state;
	puncture(t, m, 5, 900);
	puncture(t, m, 1ull << 40, 1ull << 41);
	e1 = encoded(t, &l1);
	r = bytes_r_init(e1, l1);
	assert_int_equal(keytree_decode(&r, &u), 0);
	assert_int_equal(bytes_r_done(&r), 0);
	e2 = encoded(u, &l2);
	assert_int_equal(l1, l2);
	assert_memory_equal(e1, e2, l1);
	check_edges(u, m);
}

static int decode(const uint8_t *buf, size_t len)
{
	struct bytes_r r = bytes_r_init(buf, len);
	CLEANUP_KEYTREE struct keytree *t = NULL;

	return keytree_decode(&r, &t);
}

/* A truncated state is refused at every length; so is a count that promises more than there is. */
static void test_truncated(void **state)
{
	CLEANUP_KEYTREE struct keytree *t = keytree_new();
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;

	(void)state;
	assert_int_equal(keytree_puncture(t, 5, 9), 0);
	buf = encoded(t, &len);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(decode(buf, n), -EUCLEAN);
	assert_int_equal(decode(buf, len), 0);
	bytes_put32(buf, UINT32_MAX);
	assert_int_equal(decode(buf, len), -EUCLEAN);
	bytes_put32(buf, KEYTREE_NODES_MAX + 1);
	assert_int_equal(decode(buf, len), -EUCLEAN);
	bytes_put32(buf, bytes_get32(buf) + 1);
	assert_int_equal(decode(buf, len), -EUCLEAN);
}

static void put_node(uint8_t *at, uint64_t first, uint8_t depth)
{
	memset(at, 0xaa, NODE_LEN);
	bytes_put64(at, first);
	at[8] = depth;
}

static int decode_two(uint64_t first1, uint8_t depth1, uint64_t first2, uint8_t depth2)
{
	uint8_t buf[4 + 2 * NODE_LEN];

	bytes_put32(buf, 2);
	put_node(buf + 4, first1, depth1);
	put_node(buf + 4 + NODE_LEN, first2, depth2);
	return decode(buf, sizeof(buf));
}

/*
 * Subtrees that overlap, repeat, go backwards, are misaligned or too deep would derive wrong or
 * revived keys.
 */
static void test_hostile_states(void **state)
{
	(void)state;
	assert_int_equal(decode_two(0, 63, 2, 63), 0);
	assert_int_equal(decode_two(0, 63, 1, 64), -EUCLEAN);
	assert_int_equal(decode_two(0, 63, 0, 63), -EUCLEAN);
	assert_int_equal(decode_two(2, 63, 0, 63), -EUCLEAN);
	assert_int_equal(decode_two(0, 64, 1, 63), -EUCLEAN);
	assert_int_equal(decode_two(0, 64, 1, 65), -EUCLEAN);
	assert_int_equal(decode_two(0, 64, 1, 255), -EUCLEAN);
	assert_int_equal(decode_two(0, 0, 0, 0), -EUCLEAN);
	assert_int_equal(decode_two(0, 0, 1ull << 63, 1), -EUCLEAN);
	assert_int_equal(decode_two(1ull << 63, 1, UINT64_MAX, 64), -EUCLEAN);
	assert_int_equal(decode_two(0, 1, 1ull << 63, 1), 0);
	assert_int_equal(decode_two(0, 1, UINT64_MAX, 64), 0);
}

/*
 * The state grows with the number of separate ranges, not with the number of ids: bounds that
 * sizing relies on.
 */
static void test_size_bounds(void **state)
{
	CLEANUP_KEYTREE struct keytree *one = keytree_new(), *contiguous = keytree_new(),
				       *scattered = keytree_new();
	CLEANUP_FREE struct model *m = model_new(scattered);
	uint64_t s = 42;

	(void)state;
	assert_int_equal(keytree_puncture(one, 123456, 123456), 0);
	assert_int_equal(keytree_n_nodes(one), 64);
	for (uint64_t id = 5000; id < 6000; id++)
		assert_int_equal(keytree_puncture(contiguous, id, id), 0);
	assert_true(keytree_n_nodes(contiguous) <= 126);
	for (int i = 0; i < 1000; i++) {
		uint64_t id = rnd(&s) % 1000000;

		puncture(scattered, m, id, id);
	}
	/*
	 * Among a million ids (20 levels), paths of 1000 share 10 levels: about 10 each, and 44
	 * above.
	 */
	assert_true(keytree_n_nodes(scattered) <= 44 + 1000 * 12);
	assert_true(keytree_encoded_len(scattered) <= 512u << 10);
	for (int i = 0; i < 1000; i++)
		check_id(scattered, m, rnd(&s) % 1000000);
	check_id(scattered, m, m->gone[0].first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_derives_as_the_model),
	    cmocka_unit_test(test_golden_keys),
	    cmocka_unit_test(test_punctures_as_the_model),
	    cmocka_unit_test(test_order_does_not_matter),
	    cmocka_unit_test(test_extremes),
	    cmocka_unit_test(test_has_any),
	    cmocka_unit_test(test_clone_is_apart),
	    cmocka_unit_test(test_regenerate),
	    cmocka_unit_test(test_encoding_round_trip),
	    cmocka_unit_test(test_truncated),
	    cmocka_unit_test(test_hostile_states),
	    cmocka_unit_test(test_size_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
