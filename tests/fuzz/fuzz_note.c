/* The grammar of notes: splitting, verifying, parsing, looking up. Input: the text of a note. */
#include "core/note.h"
#include "tests/fuzz/fuzz.h"
#include "tests/reject/known.h"

/* A parsed body, written anew by the writer, is the same text; and no value breaks the grammar. */
static void write_again(const struct note *n, const char *body, size_t len)
{
	struct bytes_w w = {0};
	char *again = NULL;

	note_begin(&w, n->type, n->version);
	for (size_t i = 0; i < n->n_fields; i++)
		note_put(&w, n->fields[i].key, n->fields[i].value);
	FUZZ_CHECK(note_end(&w, &again) == 0);
	FUZZ_CHECK(strlen(again) == len && memcmp(again, body, len) == 0);
	free(again);
}

static void look_up(const struct note *n)
{
	uint8_t hex[16];
	uint64_t v;
	int64_t t;

	for (size_t i = 0; i < n->n_fields && i < 8; i++) {
		note_get_hex(n, n->fields[i].key, hex, sizeof(hex));
		note_get_u64(n, n->fields[i].key, &v);
		note_get_time(n, n->fields[i].key, &t);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_FREE char *text = fuzz_text(data, size);
	char name[NOTE_KEY_NAME_MAX + 1];
	struct note n = {0};
	size_t body_len = 0;

	if (!text)
		return 0;
	int r = note_split(text, &body_len);
	FUZZ_CHECK(r == 0 || (r == -EUCLEAN && body_len == 0));
	FUZZ_CHECK(r < 0 || (body_len < size && text[body_len - 1] == '\n'));
	note_volume_key_name(known_volume_id, name);
	int v = note_verify(text, name, known_pk());
	FUZZ_CHECK(r == 0 ? v == 0 || v == -EBADMSG : v == -EUCLEAN);
	int p = note_parse(text, &n);
	FUZZ_CHECK(p == 0 || (p == -EUCLEAN && !n.mem && !n.fields));
	if (p == 0) {
		write_again(&n, text, r == 0 ? body_len : size);
		look_up(&n);
	}
	note_free(&n);
	return 0;
}
