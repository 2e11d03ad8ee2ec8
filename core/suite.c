/*
 * AEAD suites over libsodium: one row a suite, and the box and block constructions on top.
 *
 * A row knows how to prepare a key and how to seal and open detached under a prepared key and a
 * nonce. Everything else is common. A suite whose nonce is too short to be drawn at random takes
 * the one-time-key route for boxes (short_nonce): the first 16 random bytes derive the key and
 * only the last 8 are the nonce.
 *
 * A suite may leave its boxes to another row (boxes). aegis256 is there when the library has it,
 * which is known when this is compiled; its row stays either way, so that it can be named.
 */
#include "core/suite.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/kdf.h"

#define BOX_SALT_LEN 16
#define BOX_LABEL "coffer box key 1"
#define PREPARED_LEN 512

/* Room for the longest nonce of any row; shorter ones use its beginning. */
struct nonce {
	uint8_t bytes[32];
};

struct prepared {
	_Alignas(16) uint8_t bytes[PREPARED_LEN];
};

struct suite {
	uint8_t id;
	const char *name;
	const char *needs;
	uint8_t tag_len;     /* of blocks */
	bool on_request;     /* never chosen by itself */
	bool short_nonce;
	enum suite_id boxes; /* the row that seals its boxes; 0: this one */
	bool (*available)(void);
	void (*prepare)(struct prepared *st, const uint8_t *key);
	void (*seal)(const struct prepared *st, const struct nonce *n, const uint8_t *ad,
		     size_t ad_len, const uint8_t *pt, size_t len, uint8_t *ct, uint8_t *tag);
	int (*open)(const struct prepared *st, const struct nonce *n, const uint8_t *ad,
		    size_t ad_len, const uint8_t *ct, size_t len, const uint8_t *tag, uint8_t *pt);
};

struct block_key {
	const struct suite *suite;
	struct prepared st;
};

static_assert(sizeof(crypto_aead_aes256gcm_state) <= PREPARED_LEN, "AES-GCM state");
static_assert(sizeof(struct block_key) <= sizeof(struct suite_key), "block key");
static_assert(SUITE_KEY_LEN == KDF_KEY_LEN, "key length");
static_assert(SUITE_TAG_LEN == crypto_aead_aes256gcm_ABYTES, "AES-GCM tag");
static_assert(SUITE_TAG_LEN == crypto_aead_xchacha20poly1305_ietf_ABYTES, "XChaCha20 tag");
static_assert(SUITE_NONCE_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "XChaCha20 nonce");

static pthread_once_t sodium_once = PTHREAD_ONCE_INIT;

static void sodium_start(void)
{
	/* Fails only without a random source; going on would repeat nonces. */
	if (sodium_init() < 0)
		abort();
}

static void need_sodium(void)
{
	pthread_once(&sodium_once, sodium_start);
}

/* ---- rows ---- */

static bool always(void)
{
	return true;
}

static bool gcm_available(void)
{
	need_sodium();
	return crypto_aead_aes256gcm_is_available() == 1;
}

#ifdef crypto_aead_aegis256_KEYBYTES

static_assert(SUITE_TAG_LEN_MAX == crypto_aead_aegis256_ABYTES, "AEGIS-256 tag");
static_assert(SUITE_KEY_LEN == crypto_aead_aegis256_KEYBYTES, "AEGIS-256 key");
static_assert(sizeof(struct nonce) == crypto_aead_aegis256_NPUBBYTES, "AEGIS-256 nonce");

/* In software it would be slow and its timing would tell of the key; its boxes need the same. */
static bool aegis_available(void)
{
	return gcm_available();
}

static void aegis_seal(const struct prepared *st, const struct nonce *n, const uint8_t *ad,
		       size_t ad_len, const uint8_t *pt, size_t len, uint8_t *ct, uint8_t *tag)
{
	crypto_aead_aegis256_encrypt_detached(ct, tag, NULL, pt, len, ad, ad_len, NULL, n->bytes,
					      st->bytes);
}

static int aegis_open(const struct prepared *st, const struct nonce *n, const uint8_t *ad,
		      size_t ad_len, const uint8_t *ct, size_t len, const uint8_t *tag, uint8_t *pt)
{
	return crypto_aead_aegis256_decrypt_detached(pt, NULL, ct, len, tag, ad, ad_len, n->bytes,
						     st->bytes);
}

#else

static bool aegis_available(void)
{
	return false;
}

#define aegis_seal NULL
#define aegis_open NULL

#endif

static void gcm_prepare(struct prepared *st, const uint8_t *key)
{
	crypto_aead_aes256gcm_beforenm((crypto_aead_aes256gcm_state *)(void *)st->bytes, key);
}

static const crypto_aead_aes256gcm_state *gcm_state(const struct prepared *st)
{
	return (const crypto_aead_aes256gcm_state *)(const void *)st->bytes;
}

static void gcm_seal(const struct prepared *st, const struct nonce *n, const uint8_t *ad,
		     size_t ad_len, const uint8_t *pt, size_t len, uint8_t *ct, uint8_t *tag)
{
	crypto_aead_aes256gcm_encrypt_detached_afternm(ct, tag, NULL, pt, len, ad, ad_len, NULL,
						       n->bytes, gcm_state(st));
}

static int gcm_open(const struct prepared *st, const struct nonce *n, const uint8_t *ad,
		    size_t ad_len, const uint8_t *ct, size_t len, const uint8_t *tag, uint8_t *pt)
{
	return crypto_aead_aes256gcm_decrypt_detached_afternm(pt, NULL, ct, len, tag, ad, ad_len,
							      n->bytes, gcm_state(st));
}

/* The key itself, for who prepares nothing. */
static void plain_prepare(struct prepared *st, const uint8_t *key)
{
	memcpy(st->bytes, key, SUITE_KEY_LEN);
}

static void chacha_seal(const struct prepared *st, const struct nonce *n, const uint8_t *ad,
			size_t ad_len, const uint8_t *pt, size_t len, uint8_t *ct, uint8_t *tag)
{
	crypto_aead_xchacha20poly1305_ietf_encrypt_detached(ct, tag, NULL, pt, len, ad, ad_len,
							    NULL, n->bytes, st->bytes);
}

static int chacha_open(const struct prepared *st, const struct nonce *n, const uint8_t *ad,
		       size_t ad_len, const uint8_t *ct, size_t len, const uint8_t *tag,
		       uint8_t *pt)
{
	return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(pt, NULL, ct, len, tag, ad,
								   ad_len, n->bytes, st->bytes);
}

/* The fastest first. */
static const struct suite suites[] = {
	{
		.id = SUITE_AEGIS256,
		.name = "aegis256",
		.needs = "A processor with AES and carry-less multiplication instructions "
			 "and libsodium 1.0.19 or newer.",
		.tag_len = SUITE_TAG_LEN_MAX,
		.on_request = true,
		.boxes = SUITE_AES256GCM,
		.available = aegis_available,
		.prepare = plain_prepare,
		.seal = aegis_seal,
		.open = aegis_open,
	},
	{
		.id = SUITE_AES256GCM,
		.name = "aes256gcm",
		.needs = "A processor with AES and carry-less multiplication instructions "
			 "and libsodium 1.0.18 or newer.",
		.tag_len = SUITE_TAG_LEN,
		.short_nonce = true,
		.available = gcm_available,
		.prepare = gcm_prepare,
		.seal = gcm_seal,
		.open = gcm_open,
	},
	{
		.id = SUITE_XCHACHA20POLY1305,
		.name = "xchacha20poly1305",
		.needs = "Any processor and libsodium 1.0.18 or newer.",
		.tag_len = SUITE_TAG_LEN,
		.available = always,
		.prepare = plain_prepare,
		.seal = chacha_seal,
		.open = chacha_open,
	},
};

#define N_SUITES (sizeof(suites) / sizeof(suites[0]))

/* ---- choice ---- */

const struct suite *suite_by_id(uint8_t id)
{
	for (size_t i = 0; i < N_SUITES; i++) {
		if (suites[i].id == id)
			return suites[i].available() ? &suites[i] : NULL;
	}
	return NULL;
}

const struct suite *suite_by_name(const char *name)
{
	for (size_t i = 0; i < N_SUITES; i++) {
		if (!strcmp(suites[i].name, name))
			return suites[i].available() ? &suites[i] : NULL;
	}
	return NULL;
}

const struct suite *suite_best(void)
{
	size_t i = 0;

	while (suites[i].on_request || !suites[i].available())
		i++;
	return &suites[i];
}

uint8_t suite_id(const struct suite *s)
{
	return s->id;
}

const char *suite_name(const struct suite *s)
{
	return s->name;
}

const char *suite_needs(const struct suite *s)
{
	return s->needs;
}

static const struct suite *row_of(uint8_t id)
{
	for (size_t i = 0; i < N_SUITES; i++) {
		if (suites[i].id == id)
			return &suites[i];
	}
	return NULL;
}

const char *suite_id_name(uint8_t id)
{
	const struct suite *s = row_of(id);

	return s ? s->name : NULL;
}

const char *suite_id_needs(uint8_t id)
{
	const struct suite *s = row_of(id);

	return s ? s->needs : NULL;
}

size_t suite_tag_len(const struct suite *s)
{
	return s->tag_len;
}

/* ---- common to boxes and blocks ---- */

/* libsodium declares its pointers non-null; an empty message may come as NULL. */
static void seal_detached(const struct suite *s, const struct prepared *st, const struct nonce *n,
			  const void *ad, size_t ad_len, const void *pt, size_t len, void *ct,
			  uint8_t *tag)
{
	uint8_t nothing[1] = {0};

	s->seal(st, n, ad, ad_len, len ? pt : nothing, len, len ? ct : nothing, tag);
}

static int open_detached(const struct suite *s, const struct prepared *st, const struct nonce *n,
			 const void *ad, size_t ad_len, const void *ct, size_t len,
			 const uint8_t *tag, void *pt)
{
	uint8_t nothing[1] = {0};

	if (s->open(st, n, ad, ad_len, len ? ct : nothing, len, tag, len ? pt : nothing) == 0)
		return 0;
	if (len)
		memset(pt, 0, len);
	return -EBADMSG;
}

/* ---- boxes ---- */

static const struct suite *boxes_of(const struct suite *s)
{
	return s->boxes ? row_of(s->boxes) : s;
}

/* The key and nonce under which the box with this random nonce is sealed. */
static void box_prepare(const struct suite *s, const uint8_t *key, const uint8_t *random,
			struct prepared *st, struct nonce *n)
{
	uint8_t once[SUITE_KEY_LEN];

	*n = (struct nonce){{0}};
	if (!s->short_nonce) {
		memcpy(n->bytes, random, SUITE_NONCE_LEN);
		s->prepare(st, key);
		return;
	}
	kdf_derive(once, key, BOX_LABEL, random, BOX_SALT_LEN);
	memcpy(n->bytes, random + BOX_SALT_LEN, SUITE_NONCE_LEN - BOX_SALT_LEN);
	s->prepare(st, once);
	sodium_memzero(once, sizeof(once));
}

void suite_seal(const struct suite *s, const uint8_t key[SUITE_KEY_LEN], const void *ad,
		size_t ad_len, const void *pt, size_t len, uint8_t *box)
{
	uint8_t *ct = box + SUITE_NONCE_LEN;
	struct prepared st;
	struct nonce n;

	s = boxes_of(s);
	kdf_random(box, SUITE_NONCE_LEN);
	box_prepare(s, key, box, &st, &n);
	seal_detached(s, &st, &n, ad, ad_len, pt, len, ct, ct + len);
	sodium_memzero(&st, sizeof(st));
}

int suite_open(const struct suite *s, const uint8_t key[SUITE_KEY_LEN], const void *ad,
	       size_t ad_len, const void *box, size_t box_len, void *pt)
{
	const uint8_t *b = box, *ct = b + SUITE_NONCE_LEN;
	struct prepared st;
	struct nonce n;
	size_t len;
	int r;

	if (box_len < SUITE_BOX_OVERHEAD)
		return -EBADMSG;
	len = box_len - SUITE_BOX_OVERHEAD;
	s = boxes_of(s);
	box_prepare(s, key, b, &st, &n);
	r = open_detached(s, &st, &n, ad, ad_len, ct, len, ct + len, pt);
	sodium_memzero(&st, sizeof(st));
	return r;
}

/* ---- blocks ---- */

static const struct block_key *block_key(const struct suite_key *k)
{
	return (const struct block_key *)(const void *)k->opaque;
}

static struct nonce counter_nonce(uint64_t counter)
{
	struct nonce n = {{0}};

	bytes_put64(n.bytes, counter);
	return n;
}

void suite_key_init(struct suite_key *k, const struct suite *s, const uint8_t key[SUITE_KEY_LEN])
{
	struct block_key *bk = (struct block_key *)(void *)k->opaque;

	need_sodium();
	bk->suite = s;
	s->prepare(&bk->st, key);
}

void suite_block_seal(const struct suite_key *k, uint64_t counter, const void *ad, size_t ad_len,
		      const void *pt, size_t len, void *ct, uint8_t *tag)
{
	const struct block_key *bk = block_key(k);
	struct nonce n = counter_nonce(counter);

	seal_detached(bk->suite, &bk->st, &n, ad, ad_len, pt, len, ct, tag);
}

int suite_block_open(const struct suite_key *k, uint64_t counter, const void *ad, size_t ad_len,
		     const void *ct, size_t len, const uint8_t *tag, void *pt)
{
	const struct block_key *bk = block_key(k);
	struct nonce n = counter_nonce(counter);

	return open_detached(bk->suite, &bk->st, &n, ad, ad_len, ct, len, tag, pt);
}
