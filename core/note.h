/*
 * Signed notes (C2SP signed-note, Ed25519) and the strict grammar of their bodies.
 *
 * A note is a body, an empty line, and signature lines "— NAME BASE64(key hash 4 || signature 64)".
 * coffer's bodies: the first line is "coffer-TYPE/VERSION", every other line "key: value"; keys are
 * [a-z0-9-]+; values are UTF-8 of at most 4096 bytes without control characters (C0, DEL, C1), line
 * or paragraph separators, or bidirectional controls (U+061C, U+200E/F, U+202A-E, U+2066-9),
 * without leading or trailing blanks; a body is at most 1 MiB. Order and repetition of keys are the
 * type's business. (A trail checkpoint has the C2SP checkpoint body instead; note_sign and
 * note_verify do not care.) A signature is accepted only when the full public key verifies it; the
 * key hash only selects. Stateless, thread-safe.
 */
#ifndef COFFER_CORE_NOTE_H
#define COFFER_CORE_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/diag.h"
#include "core/identity.h"

#define NOTE_BODY_MAX (1u << 20)
#define NOTE_TEXT_MAX (NOTE_BODY_MAX + (256u << 10)) /* body and signature lines */
#define NOTE_VALUE_MAX 4096
#define NOTE_SIGNATURES_MAX 300
#define NOTE_KEY_ID_LEN 16 /* hex digits that tell a member's key in file names */
#define NOTE_KEY_NAME_MAX 63
#define NOTE_TIME_LEN 20 /* "2026-11-28T09:00:00Z" */

/* --- names of keys --- */

/* The hex of the first 8 bytes of BLAKE2b-256(pk): selects, proves nothing. */
void note_key_id(const uint8_t pk[IDENTITY_KEY_LEN], char out[NOTE_KEY_ID_LEN + 1]);
/* "coffer-member/KEYID". (A person's name has blanks, which the C2SP form forbids in names of
 * keys.) */
void note_member_key_name(const uint8_t pk[IDENTITY_KEY_LEN], char out[NOTE_KEY_NAME_MAX + 1]);
/* "coffer-volume/VOLUMEID" in hex. */
void note_volume_key_name(const uint8_t volume_id[16], char out[NOTE_KEY_NAME_MAX + 1]);

/* --- writing --- */

/* Whether len bytes fit the grammar of a value; empty does. */
bool note_value_valid(const char *v, size_t len);

/* Starts a body "coffer-TYPE/VERSION\n". The writer collects text; note_put_* latch -EINVAL in
 * w->err. */
void note_begin(struct bytes_w *w, const char *type, unsigned version);
/* "key: value\n"; a value outside the grammar latches -EINVAL. */
void note_put(struct bytes_w *w, const char *key, const char *value);
void note_put_fmt(struct bytes_w *w, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void note_put_hex(struct bytes_w *w, const char *key, const void *p, size_t n);
void note_put_u64(struct bytes_w *w, const char *key, uint64_t v);
/* "2026-11-28T09:00:00Z" */
void note_put_time(struct bytes_w *w, const char *key, int64_t unix_seconds);

/*
 * Ends a body: 0 and its text, NUL-terminated, caller frees; or what was latched. The writer is
 * empty afterwards and bytes_w_free stays harmless.
 */
int note_end(struct bytes_w *w, char **ret_body);

/* Time as the notes write it, years 1970 to 9999. -EINVAL outside. */
int note_time_format(int64_t unix_seconds, char out[NOTE_TIME_LEN + 1]);
/* Exactly that form and an existing date, else -EUCLEAN. */
int note_time_parse(const char *s, int64_t *ret);

/*
 * body plus one signature by the identity under its member key name; text is NUL-terminated, caller
 * frees. -EINVAL when the body is no body.
 */
int note_sign(const char *body, const struct identity *id, char **ret_text);
/* The same with a bare seed (a volume's signing key). key_name: no blanks, no '+'. */
int note_sign_seed(const char *body, const char *key_name, const uint8_t seed[32], char **ret_text);
/* The same under the volume's key name. */
int note_sign_volume(const char *body, const uint8_t volume_id[16], const uint8_t seed[32], char **ret_text);
/* Appends a further signature to a signed note. */
int note_cosign(const char *text, const struct identity *id, char **ret_text);
int note_cosign_seed(const char *text, const char *key_name, const uint8_t seed[32],
		     char **ret_text);

/* --- reading --- */

/*
 * Splits a note: the body (with its last newline) is text[0..*ret_body_len). Checks the signature
 * block's form, verifies nothing. -EUCLEAN.
 */
int note_split(const char *text, size_t *ret_body_len);
/* 0 when at least one signature line by exactly this name and key verifies, else -EBADMSG; -EUCLEAN
 * when malformed. */
int note_verify(const char *text, const char *key_name, const uint8_t pk[IDENTITY_KEY_LEN]);
/* SHA-256 of the body. -EUCLEAN. */
int note_digest(const char *text, uint8_t ret[32]);
/* The same for a bare body, as it will be once signed. */
void note_body_digest(const char *body, uint8_t ret[32]);
/*
 * Whether the body of text is exactly this one. A type that writes its body anew from what it has
 * parsed and compares knows that nothing stood there that it has not understood.
 */
bool note_body_is(const char *text, const char *body);

/*
 * Reads a note where others may write: the last component is not followed when it is a symbolic
 * link (-ELOOP), only a regular file is read (-EINVAL), at most max bytes (-EFBIG), and a NUL
 * inside is -EUCLEAN. Caller frees.
 */
int note_file_read(int dirfd, const char *name, size_t max, char **ret_text);
/* The same for bytes that are no text; NUL-terminated beyond their length. */
int note_file_read_raw(int dirfd, const char *name, size_t max, uint8_t **ret, size_t *ret_len);

/* A parsed body: keys and values point into memory it owns. */
struct note_field {
	const char *key;
	const char *value;
};
struct note {
	char *type; /* "coffer-order/1" without "coffer-" and version: "order" */
	unsigned version;
	struct note_field *fields;
	size_t n_fields;
	char *mem;
};
/* Parses the body of a note (or a bare body). -EUCLEAN. Verifies nothing. */
int note_parse(const char *text, struct note *ret);
void note_free(struct note *n);
/*
 * A note by the volume, of this type and version: verified, then parsed. -EBADMSG: another's; -EUCLEAN: no such note;
 * -EPROTONOSUPPORT: of another version.
 */
int note_open_volume(const char *text, const uint8_t volume_id[16], const uint8_t pk[IDENTITY_KEY_LEN],
		     const char *type, unsigned version, struct note *ret);
/* The only value of key; NULL when absent or given more than once. */
const char *note_get(const struct note *n, const char *key);
/* The i-th value of key, NULL past the end. */
const char *note_get_nth(const struct note *n, const char *key, size_t i);
/* Typed: 0 or -EUCLEAN (absent, repeated, malformed, out of range). */
int note_get_text(const struct note *n, const char *key, char *out, size_t size); /* fits, with its NUL */
int note_get_hex(const struct note *n, const char *key, void *out, size_t len);
int note_get_u64(const struct note *n, const char *key, uint64_t *ret);
int note_get_time(const struct note *n, const char *key, int64_t *ret);

#define CLEANUP_NOTE __attribute__((cleanup(note_free)))

#endif
