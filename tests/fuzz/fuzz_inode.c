/* Inode records: one encoding each. */
#include "fs/engine.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct inode_record rec = {.n_slots = 77};
	struct bytes_w w = {0};
	int r = inode_decode(data, size, &rec);

	if (r < 0) {
		FUZZ_CHECK(r == -EUCLEAN && rec.n_slots == 77 && !rec.inline_data);
		return 0;
	}
	FUZZ_CHECK(rec.inline_len == 0 ||
		   (rec.inline_data >= data && rec.inline_data + rec.inline_len <= data + size));
	inode_encode(&rec, &w);
	FUZZ_CHECK(w.err == 0 && w.len == size && memcmp(w.buf, data, size) == 0);
	bytes_w_free(&w);
	return 0;
}
