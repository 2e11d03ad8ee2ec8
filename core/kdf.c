/*
 * Key derivation, hashing and randomness over libsodium.
 *
 * The library is initialised on first use, so that callers need no order. Hash states that took
 * in a key are wiped before they leave the stack.
 */
#include "core/kdf.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

#define LABEL_MAX 32

static_assert(KDF_SALT_LEN == crypto_pwhash_argon2id_SALTBYTES, "salt length");
static_assert(sizeof(struct kdf_hash_state) >= sizeof(crypto_generichash_blake2b_state),
	      "hash state length");

static pthread_once_t sodium_once = PTHREAD_ONCE_INIT;

static void sodium_start(void)
{
	/* Fails only without a random source; going on would hand out predictable keys. */
	if (sodium_init() < 0)
		abort();
}

static void need_sodium(void)
{
	pthread_once(&sodium_once, sodium_start);
}

void kdf_random(void *out, size_t len)
{
	need_sodium();
	randombytes_buf(out, len);
}

void kdf_derive(uint8_t out[KDF_KEY_LEN], const uint8_t key[KDF_KEY_LEN], const char *label,
		const void *ctx, size_t ctx_len)
{
	crypto_generichash_blake2b_state st;
	size_t label_len = strlen(label);
	uint8_t prefix = (uint8_t)label_len;

	assert(label_len <= LABEL_MAX);
	need_sodium();
	crypto_generichash_blake2b_init(&st, key, KDF_KEY_LEN, KDF_KEY_LEN);
	crypto_generichash_blake2b_update(&st, &prefix, 1);
	crypto_generichash_blake2b_update(&st, (const uint8_t *)label, label_len);
	crypto_generichash_blake2b_update(&st, ctx, ctx_len);
	crypto_generichash_blake2b_final(&st, out, KDF_KEY_LEN);
	sodium_memzero(&st, sizeof(st));
}

void kdf_ggm_children(uint8_t out[2 * KDF_KEY_LEN], const uint8_t seed[KDF_KEY_LEN])
{
	static const uint8_t label[] = "coffer ggm 1";

	need_sodium();
	crypto_generichash_blake2b(out, 2 * KDF_KEY_LEN, label, sizeof(label) - 1, seed,
				   KDF_KEY_LEN);
}

uint64_t kdf_lookup_hash(const uint8_t key[KDF_KEY_LEN], const void *name, size_t len)
{
	uint8_t digest[KDF_HASH_LEN];
	uint64_t hash;

	need_sodium();
	crypto_generichash_blake2b(digest, sizeof(digest), name, len, key, KDF_KEY_LEN);
	hash = bytes_get64(digest);
	sodium_memzero(digest, sizeof(digest));
	return hash;
}

void kdf_hash(uint8_t out[KDF_HASH_LEN], const void *p, size_t len)
{
	need_sodium();
	crypto_generichash_blake2b(out, KDF_HASH_LEN, p, len, NULL, 0);
}

void kdf_sha256(uint8_t out[32], const void *p, size_t len)
{
	need_sodium();
	crypto_hash_sha256(out, p, len);
}

void kdf_hmac_sha256(uint8_t out[32], const void *key, size_t key_len, const void *p, size_t len)
{
	crypto_auth_hmacsha256_state st;

	need_sodium();
	crypto_auth_hmacsha256_init(&st, key, key_len);
	crypto_auth_hmacsha256_update(&st, p, len);
	crypto_auth_hmacsha256_final(&st, out);
	sodium_memzero(&st, sizeof(st));
}

void kdf_sha256_node(uint8_t out[32], uint8_t prefix, const void *a, size_t a_len, const void *b,
		     size_t b_len)
{
	crypto_hash_sha256_state st;

	need_sodium();
	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, &prefix, 1);
	crypto_hash_sha256_update(&st, a, a_len);
	crypto_hash_sha256_update(&st, b, b_len);
	crypto_hash_sha256_final(&st, out);
}

static crypto_generichash_blake2b_state *blake(struct kdf_hash_state *st)
{
	return (crypto_generichash_blake2b_state *)(void *)st->opaque;
}

void kdf_hash_init(struct kdf_hash_state *st)
{
	need_sodium();
	crypto_generichash_blake2b_init(blake(st), NULL, 0, KDF_HASH_LEN);
}

void kdf_hash_update(struct kdf_hash_state *st, const void *p, size_t len)
{
	crypto_generichash_blake2b_update(blake(st), p, len);
}

void kdf_hash_final(struct kdf_hash_state *st, uint8_t out[KDF_HASH_LEN])
{
	crypto_generichash_blake2b_final(blake(st), out, KDF_HASH_LEN);
}

int kdf_passphrase(uint8_t out[KDF_KEY_LEN], const void *pass, size_t pass_len,
		   const uint8_t salt[KDF_SALT_LEN], uint64_t ops, uint64_t mem_bytes)
{
	uint8_t key[KDF_KEY_LEN];
	int r;

	/* A header is not trusted yet when its slots are tried: no endless or feeble hashing. */
	if (ops < KDF_PASS_OPS_MIN || ops > KDF_PASS_OPS_MAX)
		return -ERANGE;
	if (mem_bytes < KDF_PASS_MEM_MIN || mem_bytes > KDF_PASS_MEM_MAX)
		return -ERANGE;
	if (pass_len > crypto_pwhash_argon2id_PASSWD_MAX)
		return -ERANGE;
	need_sodium();
	r = crypto_pwhash_argon2id(key, sizeof(key), pass, pass_len, salt, ops, (size_t)mem_bytes,
				   crypto_pwhash_argon2id_ALG_ARGON2ID13);
	if (r == 0)
		memcpy(out, key, sizeof(key));
	sodium_memzero(key, sizeof(key));
	return r == 0 ? 0 : -ENOMEM;
}

bool kdf_equal(const void *a, const void *b, size_t len)
{
	return sodium_memcmp(a, b, len) == 0;
}
