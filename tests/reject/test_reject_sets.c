/*
 * What comes out of a repository, which others can write: manifests (signed here by the volume),
 * frames, and what lies in the boxes of records and index chunks.
 */
#include "backup/set_record.c"

#include "tests/reject/reject.h"

#include "backup/set_delta.h"
#include "tests/reject/index_entries.h"
#include "tests/reject/known.h"
#include "tests/reject/known_record.h"

static int manifest(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = known_sign(p, len);
	struct set_manifest m = {.id = "untouched"};

	(void)d;
	int r = set_manifest_parse(text, known_volume_id, known_pk(), &m);
	assert_true(r == 0 || (strcmp(m.id, "untouched") == 0 && !m.merged));
	set_manifest_free(&m);
	return r;
}

static int node(const uint8_t *p, size_t len, struct diag *d)
{
	struct set_node n = {.n_mapped = 77};
	int r = set_node_decode(p, len, &n);

	(void)d;
	assert_true(r == 0 || (n.n_mapped == 77 && !n.xattrs && !n.inline_data));
	return r;
}

static int name(const uint8_t *p, size_t len, struct diag *d)
{
	char text[VOLUME_NAME_MAX + 1] = "untouched";
	int r = set_name_decode(p, len, text);

	(void)d;
	assert_true(r == 0 || strcmp(text, "untouched") == 0);
	return r;
}

static int data(const uint8_t *p, size_t len, struct diag *d)
{
	uint8_t what[SET_RANGE_BLOCKS];
	const uint8_t *bytes = NULL;
	size_t n = 77;
	int r = set_data_decode(p, len, what, &bytes, &n);

	(void)d;
	assert_true(r == 0 || (!bytes && n == 77));
	return r;
}

static int delta(const uint8_t *p, size_t len, struct diag *d)
{
	struct set_delta x = {.as_of = 77};
	int r = set_delta_decode(p, len, &x);

	(void)d;
	assert_true(r == 0 || (x.as_of == 77 && !x.ops));
	return r;
}

static int sign(const uint8_t *p, size_t len, struct diag *d)
{
	struct set_sign x = {.carried = 77};
	int r = set_sign_decode(p, len, 0, &x);

	(void)d;
	assert_true(r == 0 || (x.carried == 77 && !x.sums));
	return r;
}

static int frame(const uint8_t *p, size_t len, struct diag *d)
{
	(void)d;
	return check_frame(&known_record, p, len);
}

/* The plaintext of a box: at least its head, which the length of the frame sees to. */
static int packed(const uint8_t *p, size_t len, struct diag *d)
{
	struct bytes_w w = {0};
	int r = unpack_body(p, len, &w);

	(void)d;
	assert_true(r < 0 || w.len == 1000);
	bytes_w_free(&w);
	return r;
}

static int index_chunk(const uint8_t *p, size_t len, struct diag *d)
{
	size_t n = 0;
	int r = index_entries(p, len, &n);

	(void)d;
	assert_true(r < 0 || n == 5);
	return r;
}

/* A manifest that another key signed under the volume's name is nobody's set. */
static void manifest_of_another_key(void **state)
{
	static const uint8_t other[32] = {1};
	CLEANUP_FREE uint8_t *body = NULL;
	char key_name[NOTE_KEY_NAME_MAX + 1];
	struct set_manifest m;
	struct bytes_w w = {0};
	size_t len;

	(void)state;
	note_volume_key_name(known_volume_id, key_name);
	assert_int_equal(
	    durable_read(AT_FDCWD, TESTS_DIR "/reject/manifest/seed.ok", 1 << 16, &body, &len), 0);
	bytes_w_raw(&w, body, len);
	bytes_w_raw(&w, "\n", 1);
	known_sign_line(&w, len, key_name, other);
	bytes_w_raw(&w, "", 1);
	assert_int_equal(set_manifest_parse((const char *)w.buf, known_volume_id, known_pk(), &m),
			 -EBADMSG);
	bytes_w_free(&w);
}

int main(void)
{
	static const struct reject_parser parsers[] = {
	    {"manifest", manifest, false, DIAG_NONE, DIAG_NONE},
	    {"node", node, false, DIAG_NONE, DIAG_NONE},
	    {"name", name, false, DIAG_NONE, DIAG_NONE},
	    {"data", data, false, DIAG_NONE, DIAG_NONE},
	    {"delta", delta, false, DIAG_NONE, DIAG_NONE},
	    {"sign", sign, false, DIAG_NONE, DIAG_NONE},
	    {"frame", frame, false, DIAG_NONE, DIAG_NONE},
	    {"packed", packed, false, DIAG_NONE, DIAG_NONE},
	    {"index", index_chunk, false, DIAG_NONE, DIAG_NONE},
	};
	const struct CMUnitTest more[] = {cmocka_unit_test(manifest_of_another_key)};

	return reject_run("reject_sets", parsers, sizeof(parsers) / sizeof(*parsers), more, 1);
}
