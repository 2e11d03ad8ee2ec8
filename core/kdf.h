/*
 * Key derivation, hashing and randomness. All primitives are libsodium's.
 *
 * Derivation is keyed BLAKE2b-256 with the label as message prefix: every label is a constant
 * of the calling module, listed in docs/format.md "Derivations". Stateless, thread-safe.
 */
#ifndef COFFER_CORE_KDF_H
#define COFFER_CORE_KDF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KDF_KEY_LEN 32
#define KDF_HASH_LEN 32
#define KDF_SALT_LEN 16

/* Argon2id floor and ceiling (docs/format.md "Slots"); outside them a slot is refused. */
#define KDF_PASS_OPS_MIN 2
#define KDF_PASS_OPS_MAX 64
#define KDF_PASS_MEM_MIN (64u << 20)
#define KDF_PASS_MEM_MAX (2u << 30)

void kdf_random(void *out, size_t len);

/* out = BLAKE2b-256(key, label_len u8 || label || ctx). label is at most 32 characters. */
void kdf_derive(uint8_t out[KDF_KEY_LEN], const uint8_t key[KDF_KEY_LEN], const char *label,
		const void *ctx, size_t ctx_len);
/* One GGM step: left child || right child = BLAKE2b-512(key = seed, "coffer ggm 1"). */
void kdf_ggm_children(uint8_t out[2 * KDF_KEY_LEN], const uint8_t seed[KDF_KEY_LEN]);
/* A 64-bit keyed lookup hash of a name: the first 8 bytes of BLAKE2b-256(key, name). */
uint64_t kdf_lookup_hash(const uint8_t key[KDF_KEY_LEN], const void *name, size_t len);

/* Unkeyed BLAKE2b-256 and SHA-256. */
void kdf_hash(uint8_t out[KDF_HASH_LEN], const void *p, size_t len);
void kdf_sha256(uint8_t out[32], const void *p, size_t len);
/* HMAC-SHA-256 (RFC 2104), for protocols that prescribe it: keys of any length. */
void kdf_hmac_sha256(uint8_t out[32], const void *key, size_t key_len, const void *p, size_t len);
/* SHA-256 over two pieces, as Merkle trees need: out = SHA-256(prefix || a || b). */
void kdf_sha256_node(uint8_t out[32], uint8_t prefix, const void *a, size_t a_len, const void *b,
		     size_t b_len);

/* Incremental BLAKE2b-256. On the heap it needs aligned_alloc(64). */
struct kdf_hash_state {
	_Alignas(64) uint8_t opaque[384];
};
void kdf_hash_init(struct kdf_hash_state *st);
void kdf_hash_update(struct kdf_hash_state *st, const void *p, size_t len);
void kdf_hash_final(struct kdf_hash_state *st, uint8_t out[KDF_HASH_LEN]);

/* Argon2id, 32 bytes. -ERANGE outside floor and ceiling, -ENOMEM. */
int kdf_passphrase(uint8_t out[KDF_KEY_LEN], const void *pass, size_t pass_len,
		   const uint8_t salt[KDF_SALT_LEN], uint64_t ops, uint64_t mem_bytes);

/* Constant-time comparison. */
bool kdf_equal(const void *a, const void *b, size_t len);

#endif
