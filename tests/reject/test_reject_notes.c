/*
 * Everything that people and the volume sign: the grammar of notes, each type of note, and the
 * inventory text that an order names by digest. Bodies lie in the files; they are signed here by
 * the volume's key and by the first member's (both of his keys), so that each is refused for its
 * content; "unsigned" tests sign with others.
 */
#include "tests/reject/reject.h"

#include "core/charter.h"
#include "core/order_internal.h"
#include "shred/certificate.h"
#include "shred/inventory.h"
#include "tests/fuzz/fuzz_announcement.h"
#include "tests/reject/known.h"

/* The bytes as a string; a NUL inside ends it, as it does for whoever is handed a text. */
static char *as_text(const uint8_t *p, size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	memcpy(text, p, len);
	text[len] = '\0';
	return text;
}

/* --- the grammar --- */

/* A whole note: split, verified for the volume's key, parsed. */
static int note(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = as_text(p, len);
	char name[NOTE_KEY_NAME_MAX + 1];
	uint8_t digest[32] = {0x5a}, untouched[32] = {0x5a};
	CLEANUP_NOTE struct note n = {0};
	size_t body_len = SIZE_MAX;

	(void)d;
	note_volume_key_name(known_volume_id, name);
	int r = note_verify(text, name, known_pk());
	if (r == -EUCLEAN) {
		assert_int_equal(note_split(text, &body_len), -EUCLEAN);
		assert_int_equal(body_len, SIZE_MAX);
		assert_int_equal(note_digest(text, digest), -EUCLEAN);
		assert_memory_equal(digest, untouched, sizeof(digest));
	}
	return r < 0 ? r : note_parse(text, &n);
}

/* A signed body that is none of a type: only parsing can tell. */
static int note_body(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = known_sign(p, len);
	CLEANUP_NOTE struct note n = {0};
	char name[NOTE_KEY_NAME_MAX + 1];

	(void)d;
	note_volume_key_name(known_volume_id, name);
	assert_int_equal(note_verify(text, name, known_pk()), 0);
	int r = note_parse(text, &n);
	assert_true(r == 0 || (!n.mem && !n.fields && !n.type));
	return r;
}

/* --- types --- */

static int card(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = known_sign(p, len);
	struct identity_card c = {.name = "untouched"};
	int r = identity_card_import(text, "test", &c, d);

	assert_true(r == 0 || strcmp(c.name, "untouched") == 0);
	return r;
}

/* An identity file has no signature: its box authenticates it. */
static int identity(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = as_text(p, len);
	struct identity *id = NULL;
	int r = identity_import(text, NULL, "test", &id, d);

	assert_true((r == 0) == (id != NULL));
	identity_free(id);
	return r;
}

static int charter(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = known_sign(p, len);
	struct charter *c = NULL;
	int r = charter_parse(text, &c, d);

	assert_true((r == 0) == (c != NULL));
	assert_true(r != -EINVAL || d->id == DIAG_POLICY || d->id == DIAG_ROLE);
	if (r == -EINVAL)
		d->id = DIAG_NOTE_MALFORMED; /* one of several rows, checked above */
	free(c);
	return r;
}

static int order(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = known_sign(p, len);
	static struct order o;

	strcpy(o.number, "untouched");
	int r = order_parse(text, &o, d);
	assert_true(r == 0 || strcmp(o.number, "untouched") == 0);
	return r;
}

static int statement(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = known_sign(p, len);
	static struct order_paper paper;

	(void)d;
	strcpy(paper.number, "untouched");
	int r = order_paper_parse(text, &paper);
	assert_true(r == 0 || strcmp(paper.number, "untouched") == 0);
	return r;
}

/* The order that journal/seed.ok is of. */
static struct order journal_order(void)
{
	struct order o = {.number = "D-20251128-0001", .digest = {6}};
	CLEANUP_FREE char *body = NULL;
	CLEANUP_NOTE struct note n = {0};
	uint8_t *p;
	size_t len;

	assert_int_equal(
	    durable_read(AT_FDCWD, TESTS_DIR "/reject/journal/seed.ok", 1 << 16, &p, &len), 0);
	body = as_text(p, len);
	free(p);
	assert_int_equal(note_parse(body, &n), 0);
	assert_int_equal(note_get_hex(&n, "charter", o.charter, 32), 0);
	memcpy(o.volume_id, known_volume_id, 16);
	return o;
}

static int journal_at(const char *text, size_t len, struct diag *d)
{
	const struct order o = journal_order();
	char dir[] = "/tmp/coffer-reject-XXXXXX", path[128];
	char(*steps)[64] = NULL;
	size_t n = 77;

	assert_non_null(mkdtemp(dir));
	CLEANUP_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "orders/%s", o.number);
	assert_int_equal(durable_mkdir(fd, "orders", 0700), 0);
	assert_int_equal(durable_mkdir(fd, path, 0700), 0);
	snprintf(path, sizeof(path), "orders/%s/" ORDER_FILE_JOURNAL, o.number);
	assert_int_equal(durable_replace(fd, path, text, len, 0600), 0);
	int r = order_journal_get(fd, &o, known_pk(), &steps, &n, d);
	assert_true(r == 0 ? n == 2 : !steps && n == 77);
	free(steps);
	unlinkat(fd, path, 0);
	snprintf(path, sizeof(path), "orders/%s", o.number);
	unlinkat(fd, path, AT_REMOVEDIR);
	unlinkat(fd, "orders", AT_REMOVEDIR);
	rmdir(dir);
	return r;
}

static int journal(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = known_sign(p, len);

	return journal_at(text, strlen(text), d);
}

static int announcement(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = known_sign(p, len);

	(void)d;
	return announcement_try(text);
}

static int certificate(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = known_sign(p, len);

	return certificate_check(text, known_volume_id, known_pk(), NULL, d);
}

static int inventory(const uint8_t *p, size_t len, struct diag *d)
{
	struct inventory inv = {.n_kept = 77};
	int r = inventory_decode(p, len, &inv);

	(void)d;
	assert_true(r == 0 || (inv.n_kept == 77 && !inv.items));
	inventory_free(&inv);
	return r;
}

static const struct reject_parser parsers[] = {
    {"note", note, false, DIAG_NONE, DIAG_NONE},
    {"note_body", note_body, false, DIAG_NONE, DIAG_NONE},
    {"card", card, true, DIAG_NOTE_MALFORMED, DIAG_NOTE_UNSIGNED},
    {"identity", identity, false, DIAG_NONE, DIAG_NONE},
    {"charter", charter, true, DIAG_NOTE_MALFORMED, DIAG_NOTE_UNSIGNED},
    {"order", order, true, DIAG_NOTE_MALFORMED, DIAG_NOTE_UNSIGNED},
    {"statement", statement, false, DIAG_NONE, DIAG_NONE},
    {"journal", journal, true, DIAG_NOTE_UNSIGNED, DIAG_NOTE_UNSIGNED},
    {"announcement", announcement, false, DIAG_NONE, DIAG_NONE},
    {"certificate", certificate, true, DIAG_NOTE_MALFORMED, DIAG_NOTE_UNSIGNED},
    {"inventory", inventory, false, DIAG_NONE, DIAG_NONE},
};

/* --- signatures --- */

static int parse_order(const char *text)
{
	static struct order o;

	return order_parse(text, &o, NULL);
}

static int parse_statement(const char *text)
{
	static struct order_paper p;

	return order_paper_parse(text, &p);
}

static int parse_charter(const char *text)
{
	struct charter *c = NULL;
	int r = charter_parse(text, &c, NULL);

	free(c);
	return r;
}

static int parse_card(const char *text)
{
	struct identity_card c;

	return identity_card_import(text, "test", &c, NULL);
}

static int parse_certificate(const char *text)
{
	return certificate_check(text, known_volume_id, known_pk(), NULL, NULL);
}

static int parse_journal(const char *text)
{
	struct diag d;

	return journal_at(text, strlen(text), &d);
}

/* Well-formed bodies that others signed: the right name with another key, and the right key's line
 * from another body. */
static void refuses_other_signatures(void **state)
{
	static const struct {
		const char *parser;
		int (*parse)(const char *text);
	} types[] = {{"card", parse_card},
		     {"charter", parse_charter},
		     {"order", parse_order},
		     {"statement", parse_statement},
		     {"journal", parse_journal},
		     {"certificate", parse_certificate},
		     {"announcement", announcement_try}};

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		CLEANUP_FREE uint8_t *body = NULL;
		CLEANUP_FREE char *right = NULL, *moved = NULL;
		struct bytes_w w = {0};
		char path[256], name[NOTE_KEY_NAME_MAX + 1];
		size_t len;

		snprintf(path, sizeof(path), TESTS_DIR "/reject/%s/seed.ok", types[i].parser);
		assert_int_equal(durable_read(AT_FDCWD, path, 1 << 16, &body, &len), 0);
		right = known_sign(body, len);
		assert_int_equal(types[i].parse(right), 0);
		/* Eve signs under the volume's name and under her own. */
		CLEANUP_IDENTITY struct identity *eve = known_member(9);
		note_volume_key_name(known_volume_id, name);
		bytes_w_raw(&w, body, len);
		bytes_w_raw(&w, "\n", 1);
		known_sign_line(&w, len, name, identity_keys(eve)->seeds);
		known_sign_member(&w, len, eve);
		bytes_w_raw(&w, "", 1);
		assert_int_equal(types[i].parse((const char *)w.buf), -EBADMSG);
		bytes_w_free(&w);
		/* The right signatures, of a body that is longer by a line. */
		moved = malloc(strlen(right) + 32);
		sprintf(moved, "%.*sstep: more\n\n%s", (int)len, right, right + len + 1);
		int r = types[i].parse(moved);
		assert_true(r == -EBADMSG || r == -EUCLEAN);
	}
}

/* Nothing is asked of a text that is longer than any note may be, and a long one is refused in
 * time. */
static void refuses_huge(void **state)
{
	size_t len = 4u << 20;
	CLEANUP_FREE char *text = malloc(len + 1);
	CLEANUP_NOTE struct note n = {0};
	uint8_t digest[32];
	size_t body_len;

	(void)state;
	assert_non_null(text);
	memset(text, '\n', len);
	text[len] = '\0';
	assert_int_equal(note_split(text, &body_len), -EUCLEAN);
	assert_int_equal(note_parse(text, &n), -EUCLEAN);
	assert_int_equal(note_digest(text, digest), -EUCLEAN);
	assert_int_equal(note_verify(text, "x", known_pk()), -EUCLEAN);
	/* A body at the limit plus one byte, every line of it well-formed. */
	memset(text, 'v', NOTE_BODY_MAX + 1);
	memcpy(text, "coffer-thing/1\n", 15);
	for (size_t at = 15; at + 8 < NOTE_BODY_MAX; at += 1024)
		memcpy(text + at - 1, "\nk: v", 5);
	strcpy(text + NOTE_BODY_MAX, "\n");
	assert_int_equal(note_parse(text, &n), -EUCLEAN);
	strcpy(text + NOTE_BODY_MAX - 1, "\n");
	assert_int_equal(note_parse(text, &n), 0);
}

int main(void)
{
	const struct CMUnitTest more[] = {cmocka_unit_test(refuses_other_signatures),
					  cmocka_unit_test(refuses_huge)};

	return reject_run("reject_notes", parsers, sizeof(parsers) / sizeof(*parsers), more, 2);
}
