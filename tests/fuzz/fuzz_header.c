/* The store's header. What is well-formed but unsigned is signed, and must then be taken and be
 * written the same. */
#include "core/header.c"

#include "tests/fuzz/fuzz.h"
#include "tests/reject/known.h"

#define SIGN_PK_OFF (HEADER_MAGIC_LEN + 2 + HEADER_ID_LEN + 1 + 8 + 32)

/* Under a key that is known here: the signature at the end is made anew. */
static void sign(uint8_t *buf, size_t len)
{
	size_t body = len - IDENTITY_SIG_LEN;

	identity_sign_pk_from_seed(known_seed, buf + SIGN_PK_OFF);
	identity_sign_with_seed(known_seed, buf, body, buf + body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct header h;
	CLEANUP_BYTES struct bytes_w again = {0};
	CLEANUP_FREE uint8_t *buf = malloc(size + 1);

	memset(&h, 0, sizeof(h));
	int r = header_decode(data, size, &h);
	FUZZ_CHECK(r == 0 || fuzz_refusal(r));
	if (r != -EBADMSG)
		return 0;
	memcpy(buf, data, size);
	sign(buf, size);
	memset(&h, 0, sizeof(h));
	FUZZ_CHECK(header_decode(buf, size, &h) == 0);
	FUZZ_CHECK(header_encode(&again, &h, known_seed) == 0);
	FUZZ_CHECK(again.len == size && memcmp(again.buf, buf, size) == 0);
	return 0;
}
