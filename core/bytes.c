/*
 * Byte codecs: the growing writer, the checked reader, hexadecimal.
 *
 * Both ends latch their first error, so that a codec is written as a plain list of fields with
 * one check at its end.
 */
#include "core/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/secret.h"

#define WRITER_MIN_CAP 64
#define VARINT_MAX_LEN 10

/* ---- writer ---- */

void bytes_w_free(struct bytes_w *w)
{
	int saved = errno;

	if (w->wiped && w->buf)
		secret_wipe(w->buf, w->cap);
	free(w->buf);
	*w = (struct bytes_w){.wiped = w->wiped};
	errno = saved;
}

void bytes_w_reset(struct bytes_w *w)
{
	w->len = 0;
	w->err = 0;
}

/* realloc may leave what it moved behind. */
static uint8_t *move_wiped(struct bytes_w *w, size_t cap)
{
	uint8_t *buf = malloc(cap);

	if (!buf || !w->buf)
		return buf;
	memcpy(buf, w->buf, w->len);
	secret_wipe(w->buf, w->cap);
	free(w->buf);
	return buf;
}

static int writer_grow(struct bytes_w *w, size_t n)
{
	size_t need, cap = w->cap ? w->cap : WRITER_MIN_CAP;
	uint8_t *buf;

	if (__builtin_add_overflow(w->len, n, &need))
		return -ENOMEM;
	while (cap < need) {
		if (__builtin_mul_overflow(cap, 2, &cap))
			return -ENOMEM;
	}
	if (w->buf && cap == w->cap)
		return 0;
	buf = w->wiped ? move_wiped(w, cap) : realloc(w->buf, cap);
	if (!buf)
		return -ENOMEM;
	w->buf = buf;
	w->cap = cap;
	return 0;
}

uint8_t *bytes_w_room(struct bytes_w *w, size_t n)
{
	uint8_t *p;

	if (w->err)
		return NULL;
	w->err = writer_grow(w, n);
	if (w->err)
		return NULL;
	p = w->buf + w->len;
	w->len += n;
	return p;
}

void bytes_w_raw(struct bytes_w *w, const void *p, size_t n)
{
	uint8_t *room = bytes_w_room(w, n);

	if (room && n)
		memcpy(room, p, n);
}

void bytes_w_u8(struct bytes_w *w, uint8_t v)
{
	bytes_w_raw(w, &v, 1);
}

void bytes_w_u16(struct bytes_w *w, uint16_t v)
{
	uint8_t *room = bytes_w_room(w, 2);

	if (room)
		bytes_put16(room, v);
}

void bytes_w_u32(struct bytes_w *w, uint32_t v)
{
	uint8_t *room = bytes_w_room(w, 4);

	if (room)
		bytes_put32(room, v);
}

void bytes_w_u64(struct bytes_w *w, uint64_t v)
{
	uint8_t *room = bytes_w_room(w, 8);

	if (room)
		bytes_put64(room, v);
}

void bytes_w_varint(struct bytes_w *w, uint64_t v)
{
	uint8_t enc[VARINT_MAX_LEN];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		enc[n++] = (uint8_t)(v | 0x80);
	enc[n++] = (uint8_t)v;
	bytes_w_raw(w, enc, n);
}

void bytes_w_blob(struct bytes_w *w, const void *p, size_t n)
{
	bytes_w_varint(w, n);
	bytes_w_raw(w, p, n);
}

/* ---- reader ---- */

void bytes_r_fail(struct bytes_r *r)
{
	r->err = -EUCLEAN;
}

const uint8_t *bytes_r_raw(struct bytes_r *r, size_t n)
{
	static const uint8_t nothing[1];
	const uint8_t *p = r->p ? r->p : nothing;

	if (r->err || n > r->left) {
		bytes_r_fail(r);
		return NULL;
	}
	if (n) {
		r->p += n;
		r->left -= n;
	}
	return p;
}

void bytes_r_copy(struct bytes_r *r, void *out, size_t n)
{
	const uint8_t *p = bytes_r_raw(r, n);

	if (!n)
		return;
	if (p)
		memcpy(out, p, n);
	else
		memset(out, 0, n);
}

uint8_t bytes_r_u8(struct bytes_r *r)
{
	const uint8_t *p = bytes_r_raw(r, 1);

	return p ? *p : 0;
}

uint16_t bytes_r_u16(struct bytes_r *r)
{
	const uint8_t *p = bytes_r_raw(r, 2);

	return p ? bytes_get16(p) : 0;
}

uint32_t bytes_r_u32(struct bytes_r *r)
{
	const uint8_t *p = bytes_r_raw(r, 4);

	return p ? bytes_get32(p) : 0;
}

uint64_t bytes_r_u64(struct bytes_r *r)
{
	const uint8_t *p = bytes_r_raw(r, 8);

	return p ? bytes_get64(p) : 0;
}

uint64_t bytes_r_varint(struct bytes_r *r)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < VARINT_MAX_LEN; i++) {
		uint8_t b = bytes_r_u8(r);

		if (r->err)
			return 0;
		/* One value, one encoding: sealed and signed bytes must not have twins. */
		if ((i == VARINT_MAX_LEN - 1 && b > 1) || (i > 0 && b == 0))
			break;
		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (!(b & 0x80))
			return v;
	}
	bytes_r_fail(r);
	return 0;
}

const uint8_t *bytes_r_blob(struct bytes_r *r, size_t max, size_t *ret_len)
{
	uint64_t len = bytes_r_varint(r);
	const uint8_t *p;

	*ret_len = 0;
	if (len > max) {
		bytes_r_fail(r);
		return NULL;
	}
	p = bytes_r_raw(r, (size_t)len);
	if (p)
		*ret_len = (size_t)len;
	return p;
}

int bytes_r_done(const struct bytes_r *r)
{
	return r->err || r->left ? -EUCLEAN : 0;
}

/* ---- hexadecimal ---- */

void bytes_hex(char *out, const void *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[b[i] >> 4];
		out[2 * i + 1] = digits[b[i] & 15];
	}
	out[2 * n] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int bytes_unhex(const char *s, void *out, size_t n)
{
	uint8_t *b = out;

	if (strnlen(s, 2 * n + 1) != 2 * n)
		return -EUCLEAN;
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(s[2 * i]), lo = hex_digit(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EUCLEAN;
		b[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}
