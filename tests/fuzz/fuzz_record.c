/* Set records as stored: the frame that is plain, and what the box of one holds (compression and
 * padding). */
#include "backup/set_record.c"

#include "tests/fuzz/fuzz.h"
#include "tests/reject/known_record.h"

/* The input as a frame: taken only when it is the record that the index names. */
static void frame(const uint8_t *p, size_t len)
{
	struct set_entry e = known_record;
	int r;

	e.len = (uint32_t)len;
	r = check_frame(&e, p, len);
	FUZZ_CHECK(r == 0 || r == -EBADMSG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_w w = {0};

	frame(data, size);
	if (size < HEAD_LEN)
		return 0;
	int r = unpack_body(data, size, &w);
	FUZZ_CHECK(r == 0 || r == -EBADMSG);
	FUZZ_CHECK(r < 0 || w.len <= SET_RECORD_MAX);
	bytes_w_free(&w);
	return 0;
}
