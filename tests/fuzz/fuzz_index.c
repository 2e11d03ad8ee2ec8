/* The entries of an index block, as they lie in its box. */
#include "backup/set_index.h"

#include "tests/fuzz/fuzz.h"

static int again(void *arg, const struct set_entry *e)
{
	set_index_put_entry(arg, e);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_w w = {0};
	int r = set_index_entries(data, size, again, &w);

	FUZZ_CHECK(r == 0 || r == -EBADMSG);
	/* What was handed out before the damage was as written, too. */
	FUZZ_CHECK(w.err == 0 && w.len <= size && (w.len == 0 || memcmp(w.buf, data, w.len) == 0));
	FUZZ_CHECK(r < 0 || w.len == size);
	bytes_w_free(&w);
	return 0;
}
