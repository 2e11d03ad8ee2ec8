/*
 * Byte codecs: little-endian accessors, a growing writer and a checked reader.
 *
 * On-disk structures are byte arrays; nothing is ever read through a struct overlay. The
 * reader never passes its end: the first short read latches an error, yields zeros and is
 * reported once by bytes_r_done. The writer latches ENOMEM the same way. Neither is shared
 * between threads.
 */
#ifndef COFFER_CORE_BYTES_H
#define COFFER_CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void bytes_put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void bytes_put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline void bytes_put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline uint16_t bytes_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t bytes_get32(const uint8_t *p)
{
	uint32_t v = 0;
	for (int i = 3; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static inline uint64_t bytes_get64(const uint8_t *p)
{
	uint64_t v = 0;
	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

/* Big-endian, for keys that sort by memcmp. */
static inline void bytes_put64be(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
}

static inline uint64_t bytes_get64be(const uint8_t *p)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

/*
 * A growing buffer. Zero-initialise; release with bytes_w_free. err is 0 or -ENOMEM. With wiped,
 * which is set before the first byte and stays, no memory goes back with what it held: for plaintext
 * of files. Keys do not belong here (core/secret.h).
 */
struct bytes_w {
	uint8_t *buf;
	size_t len;
	size_t cap;
	int err;
	bool wiped;
};

void bytes_w_free(struct bytes_w *w);
/* Empties the buffer and keeps its memory, with what it held. */
void bytes_w_reset(struct bytes_w *w);
/* Room for n more bytes at the end, counted as written; NULL once err is set. */
uint8_t *bytes_w_room(struct bytes_w *w, size_t n);
void bytes_w_raw(struct bytes_w *w, const void *p, size_t n);
void bytes_w_u8(struct bytes_w *w, uint8_t v);
void bytes_w_u16(struct bytes_w *w, uint16_t v);
void bytes_w_u32(struct bytes_w *w, uint32_t v);
void bytes_w_u64(struct bytes_w *w, uint64_t v);
/* Unsigned LEB128, at most 10 bytes. */
void bytes_w_varint(struct bytes_w *w, uint64_t v);
/* A varint length and the bytes. */
void bytes_w_blob(struct bytes_w *w, const void *p, size_t n);

#define CLEANUP_BYTES __attribute__((cleanup(bytes_w_free)))

/* A reader over bytes it does not own. */
struct bytes_r {
	const uint8_t *p;
	size_t left;
	int err; /* 0 or -EUCLEAN */
};

static inline struct bytes_r bytes_r_init(const void *p, size_t len)
{
	return (struct bytes_r){.p = p, .left = len};
}

/* n bytes in place; NULL once the reader has run short. n == 0 yields a non-NULL pointer. */
const uint8_t *bytes_r_raw(struct bytes_r *r, size_t n);
/* Copies n bytes, or zeros when short. */
void bytes_r_copy(struct bytes_r *r, void *out, size_t n);
uint8_t bytes_r_u8(struct bytes_r *r);
uint16_t bytes_r_u16(struct bytes_r *r);
uint32_t bytes_r_u32(struct bytes_r *r);
uint64_t bytes_r_u64(struct bytes_r *r);
/* Rejects overlong (non-minimal) and over-64-bit encodings. */
uint64_t bytes_r_varint(struct bytes_r *r);
/* A blob written by bytes_w_blob, at most max bytes; *ret_len is 0 and NULL comes back on error. */
const uint8_t *bytes_r_blob(struct bytes_r *r, size_t max, size_t *ret_len);
/* Marks the content malformed: for checks beyond lengths. */
void bytes_r_fail(struct bytes_r *r);
/* 0 when nothing failed and nothing is left over, else -EUCLEAN. */
int bytes_r_done(const struct bytes_r *r);

/* Lower-case hexadecimal. out holds 2 * n + 1 bytes. */
void bytes_hex(char *out, const void *p, size_t n);
/* Exactly 2 * n lower-case digits, nothing else. 0 or -EUCLEAN. */
int bytes_unhex(const char *s, void *out, size_t n);

#endif
