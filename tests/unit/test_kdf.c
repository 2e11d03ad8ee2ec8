/*
 * Derivation and hashing against values computed by other implementations (hashlib, OpenSSL): a
 * change of any of them makes every existing volume unreadable.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/kdf.h"

static uint8_t key[KDF_KEY_LEN]; /* 00 01 .. 1f */

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	return 0;
}

static void assert_hex(const void *p, size_t len, const char *want)
{
	char got[2 * 64 + 1];

	bytes_hex(got, p, len);
	assert_string_equal(got, want);
}

static void test_derive_golden(void **state)
{
	uint8_t out[KDF_KEY_LEN];

	(void)state;
	kdf_derive(out, key, "coffer test 1", "context", 7);
	assert_hex(out, 32, "5f013ccb77955838faf901cc8ce6c0c077348db587e157f3825445e0acd470c1");
	kdf_derive(out, key, "coffer test 1", NULL, 0);
	assert_hex(out, 32, "f2d439a0350a389a0aee1ad18b9aee2f0040502d2ecd810fc8f3126771502dd0");
}

/* The label's length is bound, so that no label and context run into another pair. */
static void test_derive_separates(void **state)
{
	uint8_t a[KDF_KEY_LEN], b[KDF_KEY_LEN];

	(void)state;
	kdf_derive(a, key, "label", "x", 1);
	kdf_derive(b, key, "labelx", "", 0);
	assert_false(kdf_equal(a, b, sizeof(a)));
	kdf_derive(b, key, "label", "y", 1);
	assert_false(kdf_equal(a, b, sizeof(a)));
	key[31] ^= 1;
	kdf_derive(b, key, "label", "x", 1);
	key[31] ^= 1;
	assert_false(kdf_equal(a, b, sizeof(a)));
}

/* A key may be replaced by what is derived from it. */
static void test_derive_in_place(void **state)
{
	uint8_t k[KDF_KEY_LEN];

	(void)state;
	memcpy(k, key, sizeof(k));
	kdf_derive(k, k, "coffer test 1", "context", 7);
	assert_hex(k, 32, "5f013ccb77955838faf901cc8ce6c0c077348db587e157f3825445e0acd470c1");
}

static void test_ggm_golden(void **state)
{
	uint8_t out[2 * KDF_KEY_LEN];

	(void)state;
	kdf_ggm_children(out, key);
	assert_hex(out, 64,
		   "61f6faf8ab1fbfdf1343c8e6f2a5eb0a7b0d0e16939442b33c9fe323fd2a0411"
		   "1ad80a28a98ea4447f15b0aa23c7a2dbc3fdc03d6112238b2f3b2e7d4bef2fc5");
}

static void test_lookup_golden(void **state)
{
	(void)state;
	assert_true(kdf_lookup_hash(key, "report.pdf", 10) == 0xa879996f11e6fbe0ull);
	assert_true(kdf_lookup_hash(key, "report.pdF", 10) != 0xa879996f11e6fbe0ull);
}

/* RFC 7693 and FIPS 180-4 functions, and the Merkle node of RFC 6962. */
static void test_hash_golden(void **state)
{
	uint8_t out[32], a[32], b[32];

	(void)state;
	kdf_hash(out, "abc", 3);
	assert_hex(out, 32, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
	kdf_hash(out, NULL, 0);
	assert_hex(out, 32, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
	kdf_sha256(out, "abc", 3);
	assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	kdf_sha256_node(a, 0, NULL, 0, NULL, 0);
	assert_hex(a, 32, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
	kdf_sha256_node(b, 0, "ab", 2, "c", 1);
	kdf_sha256_node(out, 1, a, 32, b, 32);
	assert_hex(out, 32, "87c93eee22bfdd3e6dfed019ad8adc8a357e90bc6388d9ef0c2fe461e633204f");
}

/* RFC 4231, cases 2, 6 (a key longer than a block) and 3. */
static void test_hmac_sha256_golden(void **state)
{
	uint8_t out[32], long_key[131], data[50];

	(void)state;
	memset(long_key, 0xaa, sizeof(long_key));
	memset(data, 0xdd, sizeof(data));
	kdf_hmac_sha256(out, "Jefe", 4, "what do ya want for nothing?", 28);
	assert_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	kdf_hmac_sha256(out, long_key, sizeof(long_key),
			"Test Using Larger Than Block-Size Key - Hash Key First", 54);
	assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	kdf_hmac_sha256(out, long_key, 20, data, sizeof(data));
	assert_hex(out, 32, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
}

/* However the input is cut, the incremental hash is the hash of the whole. */
static void test_hash_incremental(void **state)
{
	uint8_t data[400], whole[KDF_HASH_LEN], parts[KDF_HASH_LEN];

	(void)state;
	kdf_random(data, sizeof(data));
	kdf_hash(whole, data, sizeof(data));
	for (size_t cut = 0; cut <= sizeof(data); cut += 25) {
		struct kdf_hash_state st;

		kdf_hash_init(&st);
		kdf_hash_update(&st, data, cut);
		kdf_hash_update(&st, data + cut, sizeof(data) - cut);
		kdf_hash_final(&st, parts);
		assert_memory_equal(whole, parts, sizeof(whole));
	}
}

static void test_passphrase_golden(void **state)
{
	uint8_t salt[KDF_SALT_LEN], out[KDF_KEY_LEN];

	(void)state;
	memcpy(salt, key, sizeof(salt));
	assert_int_equal(kdf_passphrase(out, "correct horse", 13, salt, 2, 64u << 20), 0);
	assert_hex(out, 32, "9aab5a81db651bf866ff7b6169794d2ad9bb00f3d95177925a5fca692a34dbd1");
}

/* Slot parameters come from disk: too cheap a hash and an endless one are refused unhashed. */
static void test_passphrase_limits(void **state)
{
	static const struct {
		uint64_t ops, mem;
	} bad[] = {
		{KDF_PASS_OPS_MIN - 1, KDF_PASS_MEM_MIN},
		{0, KDF_PASS_MEM_MIN},
		{KDF_PASS_OPS_MAX + 1, KDF_PASS_MEM_MIN},
		{UINT64_MAX, KDF_PASS_MEM_MIN},
		{KDF_PASS_OPS_MIN, KDF_PASS_MEM_MIN - 1},
		{KDF_PASS_OPS_MIN, (uint64_t)KDF_PASS_MEM_MAX + 1},
		{KDF_PASS_OPS_MIN, 1ull << 32},
		{KDF_PASS_OPS_MIN, UINT64_MAX},
	};
	uint8_t out[KDF_KEY_LEN] = {7}, before[KDF_KEY_LEN] = {7};

	(void)state;
	assert_true(KDF_PASS_MEM_MAX > KDF_PASS_MEM_MIN);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int r = kdf_passphrase(out, "pw", 2, key, bad[i].ops, bad[i].mem);

		assert_int_equal(r, -ERANGE);
		assert_memory_equal(out, before, sizeof(out));
	}
}

static void test_equal(void **state)
{
	(void)state;
	assert_true(kdf_equal("abc", "abc", 3));
	assert_false(kdf_equal("abc", "abd", 3));
	assert_false(kdf_equal("abc", "bbc", 3));
	assert_true(kdf_equal("a", "b", 0));
}

/* No two draws are the same, and none is what was in the buffer. */
static void test_random_differs(void **state)
{
	uint8_t a[32] = {0}, b[32] = {0}, zero[32] = {0};

	(void)state;
	kdf_random(a, sizeof(a));
	kdf_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, zero, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_derive_golden),
		cmocka_unit_test(test_derive_separates),
		cmocka_unit_test(test_derive_in_place),
		cmocka_unit_test(test_ggm_golden),
		cmocka_unit_test(test_lookup_golden),
		cmocka_unit_test(test_hash_golden),
		cmocka_unit_test(test_hmac_sha256_golden),
		cmocka_unit_test(test_hash_incremental),
		cmocka_unit_test(test_passphrase_golden),
		cmocka_unit_test(test_passphrase_limits),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_random_differs),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
