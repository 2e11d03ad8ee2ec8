/* Certificates: what they state is what happened, they cannot be edited, and people can read them
 * in both languages. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shred/media.h"
#include "tests/unit/shred_fixture.h"

struct issued {
	struct order o;
	char *note;
	uint8_t id[16], pk[32], first[32];
};

/* One folder with one file, destroyed; its certificate. */
static struct issued issue(struct stage *s)
{
	const struct header *h = keyring_header(s->fx.kr);
	uint64_t t = make(s->fx.v, VOLUME_ROOT_ID, "secret-folder-name", S_IFDIR | 0755);
	struct shred_result res;
	struct issued c = {0};
	char path[160];

	make_file(s->fx.v, t, "secret-file-name", 'f', 12345);
	backup(s, true);
	c.o = order_for(s, t, (struct wish){0});
	execute(s, &c.o, &res);
	snprintf(path, sizeof(path), "%s/orders/%s/certificate", s->fx.store, c.o.number);
	assert_int_equal(note_file_read(AT_FDCWD, path, 1 << 20, &c.note), 0);
	memcpy(c.id, h->volume_id, 16);
	memcpy(c.pk, h->sign_pk, 32);
	memcpy(c.first, h->charter_first, 32);
	return c;
}

static int check(const struct issued *c, const char *text, enum diag_id *ret)
{
	struct diag d = {0};
	int r = certificate_check(text, c->id, c->pk, c->first, &d);

	*ret = d.id;
	return r;
}

/* It states the order, the people with their numbers, roles and times, what was verified, and where
 * the trail stood. */
static void states_what_happened(void **state)
{
	struct stage *s = *state;
	struct issued c = issue(s);
	CLEANUP_NOTE struct note n = {0};
	enum diag_id why;
	uint8_t digest[32];
	uint64_t v;

	assert_int_equal(check(&c, c.note, &why), 0);
	assert_int_equal(note_parse(c.note, &n), 0);
	assert_string_equal(note_get(&n, "number"), c.o.number);
	assert_string_equal(note_get(&n, "requester"), "赵一|1001");
	assert_non_null(strstr(c.note, "\napprover: 钱二|1002|owner|20"));
	assert_non_null(strstr(c.note, "\napprover: 孙三|1003|security|20"));
	assert_non_null(note_get_nth(&n, "approver", 1));
	assert_null(note_get_nth(&n, "approver", 2));
	assert_int_equal(note_get_hex(&n, "order-digest", digest, 32), 0);
	assert_memory_equal(digest, c.o.digest, 32);
	assert_string_equal(note_get(&n, "ids"), "2");
	assert_string_equal(note_get(&n, "bytes"), "12345");
	assert_string_equal(note_get(&n, "live-open"), "0");
	assert_string_equal(note_get(&n, "set-open"), "0");
	assert_int_equal(note_get_u64(&n, "set-records", &v), 0);
	assert_true(v >= 4);
	assert_int_equal(note_get_u64(&n, "trail-size", &v), 0);
	assert_true(v >= 3);
	assert_non_null(strstr(note_get_nth(&n, "escrow", 0), "|confirmed"));
	assert_non_null(note_get_nth(&n, "limit-zh", 3));
	assert_non_null(note_get_nth(&n, "limit-en", 3));
	assert_non_null(strstr(c.note, "\nmethod: NIST SP 800-88 Rev. 1: Purge"));
	/* No name of what was destroyed. */
	assert_null(strstr(c.note, "secret-"));
	free(c.note);
}

/* Any flipped bit, any truncation, another volume, another key, another first charter: refused. */
static void tampering_is_noticed(void **state)
{
	struct stage *s = *state;
	struct issued c = issue(s);
	size_t len = strlen(c.note);
	struct diag d = {0};
	enum diag_id why;
	uint8_t other[32];

	for (size_t i = 0; i < len; i++) {
		c.note[i] ^= (char)(1 << i % 8);
		if (c.note[i])
			assert_true(check(&c, c.note, &why) < 0);
		c.note[i] ^= (char)(1 << i % 8);
	}
	for (size_t cut = 0; cut < len; cut += 7) {
		CLEANUP_FREE char *part = strndup(c.note, cut);
		assert_true(check(&c, part, &why) < 0);
	}
	memcpy(other, c.id, 16);
	other[0] ^= 1;
	assert_true(certificate_check(c.note, other, c.pk, NULL, &d) < 0);
	memcpy(other, c.pk, 32);
	other[31] ^= 1;
	assert_true(certificate_check(c.note, c.id, other, NULL, &d) < 0);
	memcpy(other, c.first, 32);
	other[5] ^= 1;
	assert_true(certificate_check(c.note, c.id, c.pk, other, &d) < 0);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	assert_int_equal(certificate_check(c.note, c.id, c.pk, NULL, &d), 0);
	free(c.note);
}

static char *signed_by_volume(struct stage *s, const char *body)
{
	char key[NOTE_KEY_NAME_MAX + 1], *note;

	note_volume_key_name(keyring_volume_id(s->fx.kr), key);
	assert_int_equal(note_sign_seed(body, key, keyring_sign_seed(s->fx.kr), &note), 0);
	return note;
}

/* Even the volume's own signature does not make a note of another form a certificate. */
static void form_is_strict(void **state)
{
	struct stage *s = *state;
	struct issued c = issue(s);
	enum diag_id why;
	size_t len;

	assert_int_equal(note_split(c.note, &len), 0);
	CLEANUP_FREE char *body = strndup(c.note, len);
	CLEANUP_FREE char *more = NULL, *newer = NULL;
	assert_true(asprintf(&more, "%sextra: 1\n", body) > 0);
	CLEANUP_FREE char *a = signed_by_volume(s, more);
	assert_true(check(&c, a, &why) < 0);
	assert_int_equal(why, DIAG_NOTE_MALFORMED);
	CLEANUP_FREE char *b = signed_by_volume(s, "coffer-journal/1\nstep: begin\n");
	assert_true(check(&c, b, &why) < 0);
	assert_int_equal(why, DIAG_NOTE_MALFORMED);
	assert_true(asprintf(&newer, "coffer-certificate/2%s", strchr(body, '\n')) > 0);
	CLEANUP_FREE char *n = signed_by_volume(s, newer);
	assert_true(check(&c, n, &why) < 0);
	assert_int_equal(why, DIAG_VERSION);
	free(c.note);
}

/* Text and page show every field in Chinese and English; what people wrote cannot become markup. */
static void people_can_read_it(void **state)
{
	static const char *const both[] = {"数据销毁证书",
					   "Certificate of destruction",
					   "审批人",
					   "Approver",
					   "核验结果",
					   "Verification",
					   "档案处",
					   "保留",
					   "rests on the puncture"};
	struct stage *s = *state;
	struct issued c = issue(s);
	CLEANUP_FREE char *text = NULL, *html = NULL;
	struct diag d = {0};

	assert_int_equal(certificate_text(c.note, &text, &d), 0);
	assert_int_equal(certificate_html(c.note, &html, &d), 0);
	for (size_t i = 0; i < sizeof(both) / sizeof(*both); i++) {
		assert_non_null(strstr(text, both[i]));
		assert_non_null(strstr(html, both[i]));
	}
	assert_non_null(strstr(html, "size:A4"));
	assert_non_null(strstr(html, "&lt;A&amp;B&gt;"));
	assert_null(strstr(html, "<A&B>"));
	assert_null(strstr(html, "http"));
	assert_null(strstr(html, "src="));
	assert_int_equal(certificate_html("no note", &html, &d), -EUCLEAN);
	assert_int_equal(certificate_text("", &text, &d), -EUCLEAN);
	free(c.note);
}

/* Overwriting is claimed only where it reaches the old bytes. */
static void media_are_told_apart(void **state)
{
	char out[MEDIA_TEXT_MAX];
	(void)state;

	assert_true(media_overwriting_reaches("ext4 on /dev/sda1 (rotational)"));
	assert_false(media_overwriting_reaches(
	    "ext4 on /dev/sda1 (not rotational: flash may keep old bytes)"));
	assert_false(media_overwriting_reaches(
	    "btrfs (copy-on-write: overwriting does not reach the old bytes)"));
	assert_false(media_overwriting_reaches(
	    "ext4 on /dev/vda (virtual disk: what lies beneath is unknown)"));
	assert_false(media_overwriting_reaches("nfs (network: what the server keeps is unknown)"));
	assert_false(media_overwriting_reaches(""));
	media_describe_path("/nowhere/at/all", out);
	assert_false(media_overwriting_reaches(out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGED(states_what_happened),
	    STAGED(tampering_is_noticed),
	    STAGED(form_is_strict),
	    STAGED(people_can_read_it),
	    cmocka_unit_test(media_are_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
