/*
 * Strict base64 (RFC 4648 section 4): standard alphabet, padding required, one text for each byte
 * string.
 *
 * For signatures in notes; not constant-time, so not for secrets. Stateless.
 */
#ifndef COFFER_CORE_BASE64_H
#define COFFER_CORE_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Characters that n bytes need, without a terminating NUL. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* out holds BASE64_LEN(n) + 1 bytes and is NUL-terminated. */
void base64_encode(char *out, const void *p, size_t n);
/*
 * len characters into at most cap bytes. -EUCLEAN for another alphabet, white space, wrong or
 * missing padding, and for unused bits that are not zero; -EFBIG when cap does not suffice.
 */
int base64_decode(const char *s, size_t len, void *out, size_t cap, size_t *ret_len);

#endif
