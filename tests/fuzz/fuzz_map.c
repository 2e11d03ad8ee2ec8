/* Block maps: one encoding for each group, so what is taken is written the same. */
#include "fs/map.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct map_group untouched;
	struct map_group g = untouched;
	struct bytes_w w = {0};
	int r = map_decode(data, size, &g);

	if (r < 0) {
		FUZZ_CHECK(r == -EUCLEAN && memcmp(&g, &untouched, sizeof(g)) == 0);
		return 0;
	}
	map_encode(&g, &w);
	FUZZ_CHECK(w.err == 0 && w.len == size && memcmp(w.buf, data, size) == 0);
	FUZZ_CHECK(size <= MAP_RECORD_MAX);
	bytes_w_free(&w);
	return 0;
}
