/* Bodies of set records. The first byte of the input says which: NODE, NAME, DATA, SIGN,
 * or 8, DATA as a delta. */
#include "backup/set_delta.h"
#include "tests/fuzz/fuzz.h"

static void check_again(struct bytes_w *w, const uint8_t *p, size_t len)
{
	FUZZ_CHECK(w->err == 0 && w->len == len && memcmp(w->buf, p, len) == 0);
	bytes_w_free(w);
}

static void node(const uint8_t *p, size_t len)
{
	struct set_node n = {.n_mapped = 77};
	struct bytes_w w = {0};
	int r = set_node_decode(p, len, &n);

	FUZZ_CHECK(r == 0 || (r == -EUCLEAN && n.n_mapped == 77 && !n.xattrs));
	if (r < 0)
		return;
	set_node_encode(&n, &w);
	check_again(&w, p, len);
}

static void name(const uint8_t *p, size_t len)
{
	char text[VOLUME_NAME_MAX + 1] = "untouched";
	struct bytes_w w = {0};
	int r = set_name_decode(p, len, text);

	FUZZ_CHECK(r == 0 || (r == -EUCLEAN && strcmp(text, "untouched") == 0));
	if (r < 0)
		return;
	set_name_encode(text, &w);
	check_again(&w, p, len);
}

static void data_runs(const uint8_t *p, size_t len)
{
	uint8_t what[SET_RANGE_BLOCKS];
	const uint8_t *bytes = NULL;
	struct bytes_w w = {0};
	size_t n = 0;
	int r = set_data_decode(p, len, what, &bytes, &n);

	FUZZ_CHECK(r == 0 || (r == -EUCLEAN && !bytes && n == 0));
	if (r < 0)
		return;
	FUZZ_CHECK(bytes + n * MAP_BLOCK == p + len);
	set_data_encode_runs(what, &w);
	bytes_w_raw(&w, bytes, n * MAP_BLOCK);
	check_again(&w, p, len);
}

/* Commands are handed out to the last, and make what they promise. */
static void delta(const uint8_t *p, size_t len)
{
	struct set_delta d = {.as_of = 77};
	struct set_delta_op op;
	struct bytes_w w = {0};
	size_t pos = 0, made = 0;
	int r = set_delta_decode(p, len, &d);

	FUZZ_CHECK(r == 0 || (r == -EUCLEAN && d.as_of == 77 && !d.ops));
	if (r < 0)
		return;
	while (set_delta_next(&d, &pos, &op)) {
		FUZZ_CHECK(op.len > 0 && (op.copy || (op.bytes >= p && op.bytes + op.len <= p + len)));
		made += op.len;
	}
	FUZZ_CHECK(pos == d.ops_len && made == d.n_blocks * MAP_BLOCK && made <= SET_RANGE);
	set_delta_encode(&d, &w);
	check_again(&w, p, len);
}

static void sign(const uint8_t *p, size_t len)
{
	struct set_sign s = {.carried = 77};
	struct bytes_w w = {0};
	int r = set_sign_decode(p, len, 0, &s);

	FUZZ_CHECK(r == 0 || (r == -EUCLEAN && s.carried == 77 && !s.sums));
	if (r < 0)
		return;
	set_sign_encode(&s, &w);
	check_again(&w, p, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0]) {
	case SET_NODE:
		node(data + 1, size - 1);
		break;
	case SET_NAME:
		name(data + 1, size - 1);
		break;
	case SET_DATA:
		data_runs(data + 1, size - 1);
		break;
	case SET_SIGN:
		sign(data + 1, size - 1);
		break;
	case 8:
		delta(data + 1, size - 1);
		break;
	}
	return 0;
}
