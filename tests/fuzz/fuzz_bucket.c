/* Dentry buckets: what is taken is written the same, and nothing is handed out of what is not. */
#include "fs/engine_internal.h"
#include "tests/fuzz/fuzz.h"

static int copy(void *arg, const struct dentry_sealed *d)
{
	dir_bucket_copy(d, arg);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_w w = {0};
	int r = dir_bucket_each(data, size, copy, &w);

	FUZZ_CHECK(r == 0 || (r == -EUCLEAN && w.len == 0));
	FUZZ_CHECK(r < 0 || (w.err == 0 && w.len == size && memcmp(w.buf, data, size) == 0));
	bytes_w_free(&w);
	return 0;
}
