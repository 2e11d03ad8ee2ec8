/*
 * Padding of records whose length would tell a file's: zeros up to the next step. Steps are of
 * RECORD_PAD bytes, from RECORD_PAD_WIDE on of RECORD_PAD_WIDE / 4. What is sealed keeps its
 * length, so the steps are all that a reader of meta.db sees.
 */
#include <string.h>

#include "core/bytes.h"
#include "fs/engine.h"

static size_t padded(size_t len)
{
	size_t step = len < RECORD_PAD_WIDE ? RECORD_PAD : RECORD_PAD_WIDE / 4;

	return (len + step - 1) / step * step;
}

void record_pad(struct bytes_w *out, size_t len)
{
	static const uint8_t zeros[RECORD_PAD_WIDE / 4];

	bytes_w_raw(out, zeros, padded(len) - len);
}

bool record_padded(const uint8_t *p, size_t len, size_t used)
{
	if (used > len || len != padded(used))
		return false;
	for (size_t i = used; i < len; i++)
		if (p[i])
			return false;
	return true;
}
