/* Frames and packed bodies of set records for make_seeds.c. */
#include "backup/set_record.c"

#include "tests/reject/known_record.h"
#include "tests/reject/make_seeds.h"

void seed_frame(struct bytes_w *w)
{
	uint8_t *f = bytes_w_room(w, KNOWN_RECORD_LEN);

	memset(f, 0x55, KNOWN_RECORD_LEN);
	set_frame_put(f, &known_record, 0, KNOWN_RECORD_LEN - SET_FRAME_LEN);
}

void seed_packed(bool shrinks, struct bytes_w *w)
{
	struct set_sealer *s = set_sealer_new();
	uint8_t body[1000] = {0};

	for (size_t i = 0; i < sizeof(body) && !shrinks; i++)
		body[i] = (uint8_t)(i * i >> 3 ^ i * 37);
	if (s && pack_body(s, shrinks ? SET_DATA : SET_NAME, body, sizeof(body)) == 0)
		bytes_w_raw(w, s->plain.buf, s->plain.len);
	set_sealer_free(s);
}
