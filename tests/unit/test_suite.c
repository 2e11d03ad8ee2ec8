/*
 * AEAD suites: fixed vectors made by other implementations, and no altered byte is ever opened.
 *
 * Every test of a suite runs for each suite; one that this machine lacks is skipped.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/suite.h"

#define MSG_LEN 37
#define BOX_LEN (MSG_LEN + SUITE_BOX_OVERHEAD)
/* Past the eight-block and sixteen-block strides of vectorised implementations. */
#define LENGTHS_MAX 300

static uint8_t key[SUITE_KEY_LEN]; /* 00 01 .. 1f */
static const uint8_t zeros[LENGTHS_MAX];

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	return 0;
}

/* The suite that the test's state names; skips the test when it is not available. */
static const struct suite *suite_under_test(void **state)
{
	const struct suite *s = suite_by_name(*state);

	if (!s)
		skip();
	return s;
}

static void fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + 1);
}

/* ---- vectors ---- */

struct vector {
	const char *suite;
	const char *box;   /* key 00..1f, ad "ad", plaintext "coffer", nonce 40..57 */
	const char *block; /* the same at counter 0x0102030405060708: ciphertext, tag */
};

/* aes256gcm's box key: BLAKE2b-256(key, 16 || "coffer box key 1" || 40..4f) = b404 5304 bb9b .. */
static const struct vector vectors[] = {
	{"aegis256",
	 "404142434445464748494a4b4c4d4e4f5051525354555657"
	 "3c67e2bf1622d379b6449795c3ca34d06ac5246a92bd",
	 "1de082eee6d6aa46ee1c3d76271b78ee6d6aaf4476f8bc6091486eb8988fd22a5283c81bf35c"},
	{"aes256gcm",
	 "404142434445464748494a4b4c4d4e4f5051525354555657"
	 "3c67e2bf1622d379b6449795c3ca34d06ac5246a92bd",
	 "d4d01703f7348f1b4c49c0f953b0f1b4290a3050674e"},
	{"xchacha20poly1305",
	 "404142434445464748494a4b4c4d4e4f5051525354555657"
	 "b7566316b592413c0c9ce18bee0ca733293968d3960b",
	 "332b9709f54b98b7cd6931c5c57111da9e5f4dbe2861"},
};

static const struct vector *vector_of(const struct suite *s)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		if (!strcmp(vectors[i].suite, suite_name(s)))
			return &vectors[i];
	}
	fail_msg("no vector for %s", suite_name(s));
	return NULL;
}

/* A volume sealed elsewhere opens here. */
static void test_box_vector(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t box[6 + SUITE_BOX_OVERHEAD], pt[6];

	assert_int_equal(bytes_unhex(vector_of(s)->box, box, sizeof(box)), 0);
	assert_int_equal(suite_open(s, key, "ad", 2, box, sizeof(box), pt), 0);
	assert_memory_equal(pt, "coffer", 6);
}

/* The block construction is fixed byte for byte. */
static void test_block_vector(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t want[6 + SUITE_TAG_LEN_MAX], got[6 + SUITE_TAG_LEN_MAX];
	size_t len = 6 + suite_tag_len(s);
	struct suite_key k;

	assert_int_equal(bytes_unhex(vector_of(s)->block, want, len), 0);
	suite_key_init(&k, s, key);
	suite_block_seal(&k, 0x0102030405060708ull, "ad", 2, "coffer", 6, got, got + 6);
	assert_memory_equal(got, want, len);
}

/* draft-irtf-cfrg-xchacha-03, A.3.1. */
static void test_xchacha_draft_vector(void **state)
{
	static const char box_hex[] =
		"404142434445464748494a4b4c4d4e4f5051525354555657"
		"bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
		"731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
		"2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
		"21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49";
	static const char text[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
				   "only one tip for the future, sunscreen would be it.";
	uint8_t box[sizeof(box_hex) / 2], pt[sizeof(text) - 1], ad[12], k[SUITE_KEY_LEN];
	const struct suite *s = suite_by_id(SUITE_XCHACHA20POLY1305);

	(void)state;
	assert_non_null(s);
	for (size_t i = 0; i < sizeof(k); i++)
		k[i] = (uint8_t)(0x80 + i);
	assert_int_equal(bytes_unhex("50515253c0c1c2c3c4c5c6c7", ad, sizeof(ad)), 0);
	assert_int_equal(bytes_unhex(box_hex, box, sizeof(box)), 0);
	assert_int_equal(suite_open(s, k, ad, sizeof(ad), box, sizeof(box), pt), 0);
	assert_memory_equal(pt, text, sizeof(pt));
}

/* ---- boxes ---- */

/* Every length opens to what was sealed, the empty message included. */
static void test_box_round_trip(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t pt[LENGTHS_MAX], back[LENGTHS_MAX], box[LENGTHS_MAX + SUITE_BOX_OVERHEAD];

	fill(pt, sizeof(pt));
	for (size_t len = 0; len <= LENGTHS_MAX; len++) {
		suite_seal(s, key, "ad", 2, len ? pt : NULL, len, box);
		memset(back, 0, sizeof(back));
		assert_int_equal(suite_open(s, key, "ad", 2, box, len + SUITE_BOX_OVERHEAD,
					    len ? back : NULL),
				 0);
		assert_memory_equal(pt, back, len);
	}
}

static void assert_box_refused(const struct suite *s, const uint8_t *k, const void *ad,
			       size_t ad_len, const uint8_t *box, size_t box_len)
{
	uint8_t pt[BOX_LEN];

	memset(pt, 0xee, sizeof(pt));
	assert_int_equal(suite_open(s, k, ad, ad_len, box, box_len, pt), -EBADMSG);
	if (box_len > SUITE_BOX_OVERHEAD)
		assert_memory_equal(pt, zeros, box_len - SUITE_BOX_OVERHEAD);
}

/* One flipped bit in any byte of nonce, ciphertext or tag: refused, and the output is zeros. */
static void test_box_every_byte_counts(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t pt[MSG_LEN], box[BOX_LEN];

	fill(pt, sizeof(pt));
	suite_seal(s, key, "ad", 2, pt, sizeof(pt), box);
	for (size_t i = 0; i < sizeof(box); i++) {
		for (int bit = 0; bit < 8; bit += 7) {
			box[i] ^= (uint8_t)(1 << bit);
			assert_box_refused(s, key, "ad", 2, box, sizeof(box));
			box[i] ^= (uint8_t)(1 << bit);
		}
	}
	assert_int_equal(suite_open(s, key, "ad", 2, box, sizeof(box), pt), 0);
}

/* Cut at any length, or longer by a byte: refused. */
static void test_box_every_length_counts(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t pt[MSG_LEN], box[BOX_LEN + 1] = {0};

	fill(pt, sizeof(pt));
	suite_seal(s, key, "ad", 2, pt, sizeof(pt), box);
	for (size_t len = 0; len <= sizeof(box); len++) {
		if (len != BOX_LEN)
			assert_box_refused(s, key, "ad", 2, box, len);
	}
}

/* The associated data and the key are part of the seal, every byte and the length of them. */
static void test_box_binds_ad_and_key(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t ad[24], pt[MSG_LEN], box[BOX_LEN], other[SUITE_KEY_LEN];

	fill(ad, sizeof(ad));
	fill(pt, sizeof(pt));
	suite_seal(s, key, ad, sizeof(ad), pt, sizeof(pt), box);
	for (size_t i = 0; i < sizeof(ad); i++) {
		assert_box_refused(s, key, ad, i, box, sizeof(box));
		ad[i] ^= 0x80;
		assert_box_refused(s, key, ad, sizeof(ad), box, sizeof(box));
		ad[i] ^= 0x80;
	}
	memcpy(other, key, sizeof(other));
	for (size_t i = 0; i < sizeof(other); i++) {
		other[i] ^= 1;
		assert_box_refused(s, other, ad, sizeof(ad), box, sizeof(box));
		other[i] ^= 1;
	}
}

/* The same message sealed twice shares neither nonce nor ciphertext. */
static void test_box_is_randomised(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t pt[MSG_LEN], a[BOX_LEN], b[BOX_LEN];

	fill(pt, sizeof(pt));
	suite_seal(s, key, NULL, 0, pt, sizeof(pt), a);
	suite_seal(s, key, NULL, 0, pt, sizeof(pt), b);
	assert_memory_not_equal(a, b, SUITE_NONCE_LEN);
	assert_memory_not_equal(a + SUITE_NONCE_LEN, b + SUITE_NONCE_LEN, MSG_LEN);
}

/* A box of one suite does not open under another that shares the key. */
static void test_box_of_other_suite(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t pt[MSG_LEN], box[BOX_LEN];

	fill(pt, sizeof(pt));
	suite_seal(s, key, "ad", 2, pt, sizeof(pt), box);
	for (unsigned int id = 0; id < 256; id++) {
		const struct suite *other = suite_by_id((uint8_t)id);

		/* aegis256 seals boxes as aes256gcm does. */
		if (other && other != s &&
		    suite_id(other) + suite_id(s) != SUITE_AEGIS256 + SUITE_AES256GCM)
			assert_box_refused(other, key, "ad", 2, box, sizeof(box));
	}
}

/* ---- blocks ---- */

/* Every length, in place as well as apart, gives the same ciphertext and comes back. */
static void test_block_round_trip(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t pt[LENGTHS_MAX], ct[LENGTHS_MAX], work[LENGTHS_MAX];
	uint8_t tag[SUITE_TAG_LEN_MAX], tag_in_place[SUITE_TAG_LEN_MAX];
	struct suite_key k;

	suite_key_init(&k, s, key);
	fill(pt, sizeof(pt));
	for (size_t len = 0; len <= LENGTHS_MAX; len++) {
		suite_block_seal(&k, len, "ad", 2, pt, len, ct, tag);
		memcpy(work, pt, len);
		suite_block_seal(&k, len, "ad", 2, work, len, work, tag_in_place);
		assert_memory_equal(work, ct, len);
		assert_memory_equal(tag, tag_in_place, suite_tag_len(s));
		assert_int_equal(suite_block_open(&k, len, "ad", 2, work, len, tag, work), 0);
		assert_memory_equal(work, pt, len);
		memset(work, 0, sizeof(work));
		assert_int_equal(suite_block_open(&k, len, "ad", 2, ct, len, tag, work), 0);
		assert_memory_equal(work, pt, len);
	}
}

static void assert_block_refused(const struct suite_key *k, uint64_t counter, const char *ad,
				 const uint8_t *ct, size_t len, const uint8_t *tag)
{
	uint8_t pt[MSG_LEN];

	memset(pt, 0xee, sizeof(pt));
	assert_int_equal(suite_block_open(k, counter, ad, strlen(ad), ct, len, tag, pt), -EBADMSG);
	assert_memory_equal(pt, zeros, len);
}

/* Ciphertext, tag, counter, associated data and length: each altered alone is refused. */
static void test_block_every_part_counts(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t pt[MSG_LEN], ct[MSG_LEN], tag[SUITE_TAG_LEN_MAX];
	struct suite_key k;

	suite_key_init(&k, s, key);
	fill(pt, sizeof(pt));
	suite_block_seal(&k, 5, "ad", 2, pt, sizeof(pt), ct, tag);
	for (size_t i = 0; i < sizeof(ct); i++) {
		ct[i] ^= 1;
		assert_block_refused(&k, 5, "ad", ct, sizeof(ct), tag);
		ct[i] ^= 1;
		assert_block_refused(&k, 5, "ad", ct, i, tag);
	}
	for (size_t i = 0; i < suite_tag_len(s); i++) {
		tag[i] ^= 0x80;
		assert_block_refused(&k, 5, "ad", ct, sizeof(ct), tag);
		tag[i] ^= 0x80;
	}
	for (int bit = 0; bit < 64; bit++)
		assert_block_refused(&k, 5 ^ 1ull << bit, "ad", ct, sizeof(ct), tag);
	assert_block_refused(&k, 5, "ae", ct, sizeof(ct), tag);
	assert_block_refused(&k, 5, "", ct, sizeof(ct), tag);
	assert_int_equal(suite_block_open(&k, 5, "ad", 2, ct, sizeof(ct), tag, pt), 0);
}

/* A prepared key may be copied; the copy seals alike. */
static void test_block_key_copies(void **state)
{
	const struct suite *s = suite_under_test(state);
	uint8_t a[SUITE_TAG_LEN_MAX], b[SUITE_TAG_LEN_MAX];
	struct suite_key k, copy;

	suite_key_init(&k, s, key);
	copy = k;
	suite_block_seal(&k, 9, "x", 1, NULL, 0, NULL, a);
	suite_block_seal(&copy, 9, "x", 1, NULL, 0, NULL, b);
	assert_memory_equal(a, b, suite_tag_len(s));
}

/* ---- choice ---- */

/* Ids and names are the format's: they agree, and unknown ones yield nothing. */
static void test_lookup(void **state)
{
	(void)state;
	assert_null(suite_by_id(0));
	assert_null(suite_by_id(4));
	assert_null(suite_by_name("rot13"));
	assert_null(suite_by_name(""));
	assert_null(suite_id_name(0));
	assert_string_equal(suite_id_name(1), "aegis256");
	assert_string_equal(suite_id_name(2), "aes256gcm");
	assert_string_equal(suite_id_name(3), "xchacha20poly1305");
	assert_non_null(suite_id_needs(SUITE_AEGIS256));
	assert_null(suite_id_needs(0));
	for (unsigned int id = 0; id < 256; id++) {
		const struct suite *s = suite_by_id((uint8_t)id);

		if (!s)
			continue;
		assert_int_equal(suite_id(s), id);
		assert_string_equal(suite_name(s), suite_id_name((uint8_t)id));
		assert_ptr_equal(suite_by_name(suite_name(s)), s);
		assert_true(strlen(suite_needs(s)) > 0);
		assert_string_equal(suite_needs(s), suite_id_needs((uint8_t)id));
	}
}

/* One suite works on every machine; what is chosen unasked opens with every library there is. */
static void test_best(void **state)
{
	const struct suite *want = suite_by_name("aes256gcm");

	(void)state;
	assert_non_null(suite_by_name("xchacha20poly1305"));
	if (!want)
		want = suite_by_name("xchacha20poly1305");
	assert_ptr_equal(suite_best(), want);
}

static char aegis[] = "aegis256", gcm[] = "aes256gcm", chacha[] = "xchacha20poly1305";

/* clang-format off */
#define EACH_SUITE(test)                                                                           \
	{#test " (aegis256)", test, NULL, NULL, aegis},                                            \
	{#test " (aes256gcm)", test, NULL, NULL, gcm},                                             \
	{#test " (xchacha20poly1305)", test, NULL, NULL, chacha}
/* clang-format on */

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_SUITE(test_box_vector),
		EACH_SUITE(test_block_vector),
		cmocka_unit_test(test_xchacha_draft_vector),
		EACH_SUITE(test_box_round_trip),
		EACH_SUITE(test_box_every_byte_counts),
		EACH_SUITE(test_box_every_length_counts),
		EACH_SUITE(test_box_binds_ad_and_key),
		EACH_SUITE(test_box_is_randomised),
		EACH_SUITE(test_box_of_other_suite),
		EACH_SUITE(test_block_round_trip),
		EACH_SUITE(test_block_every_part_counts),
		EACH_SUITE(test_block_key_copies),
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_best),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
