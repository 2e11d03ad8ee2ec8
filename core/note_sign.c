/*
 * The signature block of notes: splitting it off, adding to it, verifying one key's line in it.
 *
 * C2SP signed-note, signature type 0x01 (Ed25519). Lines of other types and other keys are passed
 * over when they have the form of a signature line: witnesses may have added theirs.
 */
#include "core/note.h"
#include "core/note_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base64.h"
#include "core/cleanup.h"
#include "core/kdf.h"

#define DASH "\xe2\x80\x94 " /* U+2014 and a blank open a signature line */
#define DASH_LEN 4
#define HASH_LEN 4
#define BLOB_MAX 4096 /* room for post-quantum cosignatures */
#define TYPE_ED25519 0x01

struct signature {
	const char *name;
	size_t name_len;
	uint8_t blob[BLOB_MAX]; /* key hash and signature */
	size_t blob_len;
};

void note_key_id(const uint8_t pk[IDENTITY_KEY_LEN], char out[NOTE_KEY_ID_LEN + 1])
{
	uint8_t hash[KDF_HASH_LEN];

	kdf_hash(hash, pk, IDENTITY_KEY_LEN);
	bytes_hex(out, hash, NOTE_KEY_ID_LEN / 2);
}

void note_member_key_name(const uint8_t pk[IDENTITY_KEY_LEN], char out[NOTE_KEY_NAME_MAX + 1])
{
	char id[NOTE_KEY_ID_LEN + 1];

	note_key_id(pk, id);
	snprintf(out, NOTE_KEY_NAME_MAX + 1, "coffer-member/%s", id);
}

void note_volume_key_name(const uint8_t volume_id[16], char out[NOTE_KEY_NAME_MAX + 1])
{
	char hex[33];

	bytes_hex(hex, volume_id, 16);
	snprintf(out, NOTE_KEY_NAME_MAX + 1, "coffer-volume/%s", hex);
}

/* The name goes in front of the key so that a signature never counts under another name. */
static void key_hash(const char *name, const uint8_t pk[IDENTITY_KEY_LEN], uint8_t ret[HASH_LEN])
{
	uint8_t in[NOTE_KEY_NAME_MAX + 2 + IDENTITY_KEY_LEN], hash[32];
	size_t n = strlen(name);

	memcpy(in, name, n);
	in[n++] = '\n';
	in[n++] = TYPE_ED25519;
	memcpy(in + n, pk, IDENTITY_KEY_LEN);
	kdf_sha256(hash, in, n + IDENTITY_KEY_LEN);
	memcpy(ret, hash, HASH_LEN);
}

static bool key_name_ok(const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)s;

	for (size_t at = 0, n; at < len; at += n) {
		uint32_t cp;

		n = note_utf8(p + at, len - at, &cp);
		if (n == 0 || !note_char_ok(cp) || note_char_blank(cp) || cp == '+')
			return false;
	}
	return len > 0;
}

/* One line, from *at to its newline; moves *at behind it. */
static int signature_next(const char **at, struct signature *ret)
{
	const char *line = *at, *end = strchr(line, '\n'), *gap;

	if (!end || strncmp(line, DASH, DASH_LEN) != 0)
		return -EUCLEAN;
	ret->name = line + DASH_LEN;
	gap = memchr(ret->name, ' ', (size_t)(end - ret->name));
	if (!gap)
		return -EUCLEAN;
	ret->name_len = (size_t)(gap - ret->name);
	if (!key_name_ok(ret->name, ret->name_len))
		return -EUCLEAN;
	gap++;
	if (base64_decode(gap, (size_t)(end - gap), ret->blob, sizeof(ret->blob), &ret->blob_len) <
		0 ||
	    ret->blob_len <= HASH_LEN)
		return -EUCLEAN;
	*at = end + 1;
	return 0;
}

int note_split(const char *text, size_t *ret_body_len)
{
	size_t len = strnlen(text, NOTE_TEXT_MAX + 1), gap = 0;
	struct signature sig;
	const char *at;

	if (len > NOTE_TEXT_MAX || !note_lines_ok(text, len))
		return -EUCLEAN;
	/* The last empty line: a body may have empty lines, a signature block has none. */
	for (size_t i = len - 1; i > 0 && gap == 0; i--)
		if (text[i] == '\n' && text[i - 1] == '\n')
			gap = i;
	if (gap < 2 || gap > NOTE_BODY_MAX || text[gap + 1] == '\0')
		return -EUCLEAN;
	at = text + gap + 1;
	for (size_t n = 0; *at; n++)
		if (n == NOTE_SIGNATURES_MAX || signature_next(&at, &sig) < 0)
			return -EUCLEAN;
	*ret_body_len = gap;
	return 0;
}

int note_verify(const char *text, const char *key_name, const uint8_t pk[IDENTITY_KEY_LEN])
{
	size_t body_len, name_len = strlen(key_name);
	uint8_t hash[HASH_LEN];
	struct signature sig;
	const char *at;
	int r;

	r = note_split(text, &body_len);
	if (r < 0)
		return r;
	if (name_len > NOTE_KEY_NAME_MAX)
		return -EBADMSG;
	key_hash(key_name, pk, hash);
	for (at = text + body_len + 1; *at;) {
		r = signature_next(&at, &sig);
		if (r < 0)
			return r;
		if (sig.name_len == name_len && memcmp(sig.name, key_name, name_len) == 0 &&
		    sig.blob_len == HASH_LEN + IDENTITY_SIG_LEN &&
		    memcmp(sig.blob, hash, HASH_LEN) == 0 &&
		    identity_verify(pk, text, body_len, sig.blob + HASH_LEN) == 0)
			return 0;
	}
	return -EBADMSG;
}

int note_digest(const char *text, uint8_t ret[32])
{
	size_t body_len;
	int r = note_split(text, &body_len);

	if (r == 0)
		kdf_sha256(ret, text, body_len);
	return r;
}

void note_body_digest(const char *body, uint8_t ret[32])
{
	kdf_sha256(ret, body, strlen(body));
}

bool note_body_is(const char *text, const char *body)
{
	size_t len;

	return note_split(text, &len) == 0 && len == strlen(body) && memcmp(text, body, len) == 0;
}

/* "— NAME BASE64\n" behind what w holds. */
static int put_signature(struct bytes_w *w, const char *name, const uint8_t pk[IDENTITY_KEY_LEN],
			 const uint8_t sig[IDENTITY_SIG_LEN])
{
	uint8_t blob[HASH_LEN + IDENTITY_SIG_LEN];
	char b64[BASE64_LEN(sizeof(blob)) + 1];

	key_hash(name, pk, blob);
	memcpy(blob + HASH_LEN, sig, IDENTITY_SIG_LEN);
	base64_encode(b64, blob, sizeof(blob));
	bytes_w_raw(w, DASH, DASH_LEN);
	bytes_w_raw(w, name, strlen(name));
	bytes_w_raw(w, " ", 1);
	bytes_w_raw(w, b64, strlen(b64));
	bytes_w_raw(w, "\n", 1);
	return w->err;
}

/* Exactly one of id and seed is given. text is a bare body (signed: false) or a note. */
static int add_signature(const char *text, bool is_signed, const char *key_name,
			 const struct identity *id, const uint8_t *seed, char **ret_text)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	uint8_t pk[IDENTITY_KEY_LEN], sig[IDENTITY_SIG_LEN];
	size_t len = strnlen(text, NOTE_TEXT_MAX + 1), body_len = len;
	int r;

	if (strlen(key_name) > NOTE_KEY_NAME_MAX || !key_name_ok(key_name, strlen(key_name)))
		return -EINVAL;
	if (is_signed && note_split(text, &body_len) < 0)
		return -EUCLEAN;
	if (!is_signed && (len > NOTE_BODY_MAX || len < 2 || !note_lines_ok(text, len)))
		return -EINVAL;
	if (id) {
		memcpy(pk, identity_card(id)->sign_pk, sizeof(pk));
		identity_sign(id, text, body_len, sig);
	} else {
		identity_sign_pk_from_seed(seed, pk);
		identity_sign_with_seed(seed, text, body_len, sig);
	}
	bytes_w_raw(&w, text, len);
	if (!is_signed)
		bytes_w_raw(&w, "\n", 1);
	r = put_signature(&w, key_name, pk, sig);
	if (r < 0)
		return r;
	return note_end(&w, ret_text);
}

int note_sign(const char *body, const struct identity *id, char **ret_text)
{
	char name[NOTE_KEY_NAME_MAX + 1];

	note_member_key_name(identity_card(id)->sign_pk, name);
	return add_signature(body, false, name, id, NULL, ret_text);
}

int note_sign_seed(const char *body, const char *key_name, const uint8_t seed[32], char **ret_text)
{
	return add_signature(body, false, key_name, NULL, seed, ret_text);
}

int note_sign_volume(const char *body, const uint8_t volume_id[16], const uint8_t seed[32], char **ret_text)
{
	char name[NOTE_KEY_NAME_MAX + 1];

	note_volume_key_name(volume_id, name);
	return note_sign_seed(body, name, seed, ret_text);
}

int note_cosign(const char *text, const struct identity *id, char **ret_text)
{
	char name[NOTE_KEY_NAME_MAX + 1];

	note_member_key_name(identity_card(id)->sign_pk, name);
	return add_signature(text, true, name, id, NULL, ret_text);
}

int note_cosign_seed(const char *text, const char *key_name, const uint8_t seed[32],
		     char **ret_text)
{
	return add_signature(text, true, key_name, NULL, seed, ret_text);
}
