/* The trail's plain bytes. The first byte of the input says which: tail, bundle of entries,
 * checkpoint (body). */
#include "core/trail_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/reject/known.h"

#define CHECKPOINT_SIZE 300 /* of the seeds */

/* The frames that the scan lets pass are whole and in sequence. */
static void tail(const uint8_t *p, size_t len)
{
	struct trail_tail t = {0};
	struct trail_frame f;
	size_t n = 0;
	int r = trail_tail_scan(p, len, CHECKPOINT_SIZE, &t);

	FUZZ_CHECK(r == 0 || r == -EUCLEAN);
	if (r < 0)
		return;
	FUZZ_CHECK(t.start <= t.end && t.end <= len);
	for (size_t at = t.start; at < t.end; n++) {
		size_t step = trail_frame_get(p + at, len - at, &f);

		FUZZ_CHECK(step && f.index == CHECKPOINT_SIZE + n &&
			   f.entry + f.len == p + at + step);
		at += step;
	}
	FUZZ_CHECK(n == t.n);
}

static void bundle(const uint8_t *p, size_t len)
{
	struct bytes_r r = bytes_r_init(p, len);
	struct bytes_w w = {0};
	const uint8_t *entry;
	size_t n;

	while (r.left && (entry = trail_bundle_next(&r, &n)))
		trail_bundle_put(&w, entry, n);
	FUZZ_CHECK(bytes_r_done(&r) || (w.len == len && (len == 0 || memcmp(w.buf, p, len) == 0)));
	bytes_w_free(&w);
}

static void checkpoint(const uint8_t *p, size_t len)
{
	CLEANUP_FREE char *body = fuzz_text(p, len), *note = NULL, *again = NULL;
	struct trail_head h = {.size = 77};

	if (!body)
		return;
	note = known_sign(body, len);
	int r = trail_checkpoint_parse(note, known_volume_id, known_pk(), &h);
	FUZZ_CHECK(r == 0 || (fuzz_refusal(r) && h.size == 77));
	if (r == 0)
		FUZZ_CHECK(trail_checkpoint_make(&h, known_volume_id, known_seed, &again) == 0 &&
			   strncmp(again, body, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0]) {
	case 't':
		tail(data + 1, size - 1);
		break;
	case 'b':
		bundle(data + 1, size - 1);
		break;
	case 'c':
		checkpoint(data + 1, size - 1);
		break;
	}
	return 0;
}
