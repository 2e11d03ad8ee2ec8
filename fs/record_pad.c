/*
 * Padding of records whose length would tell a file's: zeros up to the next multiple of
 * RECORD_PAD. What is sealed keeps its length, so the steps are all that a reader of meta.db sees.
 */
#include <string.h>

#include "core/bytes.h"
#include "fs/engine.h"

void record_pad(struct bytes_w *out, size_t len)
{
	static const uint8_t zeros[RECORD_PAD];

	bytes_w_raw(out, zeros, (RECORD_PAD - len % RECORD_PAD) % RECORD_PAD);
}

bool record_padded(const uint8_t *p, size_t len, size_t used)
{
	if (len % RECORD_PAD || used > len || len - used >= RECORD_PAD)
		return false;
	for (size_t i = used; i < len; i++)
		if (p[i])
			return false;
	return true;
}
