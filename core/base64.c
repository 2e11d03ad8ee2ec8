/* Strict base64; the contract is in base64.h. */
#include "core/base64.h"

#include <errno.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(char *out, const void *p, size_t n)
{
	const uint8_t *in = p;

	for (; n >= 3; n -= 3, in += 3) {
		*out++ = alphabet[in[0] >> 2];
		*out++ = alphabet[(in[0] & 3) << 4 | in[1] >> 4];
		*out++ = alphabet[(in[1] & 15) << 2 | in[2] >> 6];
		*out++ = alphabet[in[2] & 63];
	}
	if (n > 0) {
		uint8_t second = n == 2 ? in[1] : 0;

		*out++ = alphabet[in[0] >> 2];
		*out++ = alphabet[(in[0] & 3) << 4 | second >> 4];
		*out++ = n == 2 ? alphabet[(second & 15) << 2] : '=';
		*out++ = '=';
	}
	*out = '\0';
}

static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

int base64_decode(const char *s, size_t len, void *out, size_t cap, size_t *ret_len)
{
	uint8_t *to = out;
	size_t pad = 0, n_out, n = 0;
	uint32_t acc = 0;
	unsigned bits = 0;

	if (len % 4 != 0)
		return -EUCLEAN;
	while (pad < 2 && pad < len && s[len - 1 - pad] == '=')
		pad++;
	n_out = len / 4 * 3 - pad;
	if (n_out > cap)
		return -EFBIG;
	for (size_t i = 0; i < len - pad; i++) {
		int v = sextet(s[i]);

		if (v < 0)
			return -EUCLEAN;
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			to[n++] = (uint8_t)(acc >> bits);
			acc &= (1u << bits) - 1;
		}
	}
	if (acc != 0) /* a second text for the same bytes */
		return -EUCLEAN;
	*ret_len = n;
	return 0;
}
