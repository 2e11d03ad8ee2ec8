/* Block maps: one encoding for each group, so what is taken is written the same. With the tags of
 * every suite. */
#include "fs/map.h"
#include "tests/fuzz/fuzz.h"

static void one(const uint8_t *data, size_t size, size_t tag_len)
{
	static const struct map_group untouched;
	struct map_group g = untouched;
	struct bytes_w w = {0};
	int r = map_decode(data, size, tag_len, &g);

	if (r < 0) {
		FUZZ_CHECK(r == -EUCLEAN && memcmp(&g, &untouched, sizeof(g)) == 0);
		return;
	}
	map_encode(&g, tag_len, &w);
	FUZZ_CHECK(w.err == 0 && w.len == size && memcmp(w.buf, data, size) == 0);
	FUZZ_CHECK(size <= MAP_RECORD_MAX(tag_len));
	bytes_w_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	one(data, size, SUITE_TAG_LEN);
	one(data, size, SUITE_TAG_LEN_MAX);
	return 0;
}
