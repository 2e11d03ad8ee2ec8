/* Signed notes: the grammar refuses what could deceive a reader, and a signature covers every byte
 * of the body. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base64.h"
#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"

static const uint8_t seed[32] = {1, 2, 3};
static const char key_name[] = "coffer-volume/test";

static char *sample_body(void)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	char *body = NULL;

	note_begin(&w, "sample", 1);
	note_put(&w, "name", "资料 \xe2\x80\x94 records");
	note_put_u64(&w, "count", 42);
	note_put_time(&w, "created", 1795856400);
	note_put_hex(&w, "id", "\x00\xff", 2);
	note_put(&w, "item", "a");
	note_put(&w, "item", "b");
	assert_int_equal(note_end(&w, &body), 0);
	return body;
}

static char *sample_note(void)
{
	CLEANUP_FREE char *body = sample_body();
	char *text = NULL;

	assert_int_equal(note_sign_seed(body, key_name, seed, &text), 0);
	return text;
}

/* Base64 has one text for each byte string, so that a note cannot be changed and still verify. */
static void test_base64_strict(void **state)
{
	static const char *const bad[] = {"Zg",       "Zg=",  "Zh==",   "Zm9=", "====", "Z===",
					  "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm_v", "Zm-v", "=m9v"};
	static const char *const good[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
					   "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	uint8_t out[16];
	char again[32];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(base64_decode(good[i], strlen(good[i]), out, sizeof(out), &len),
				 0);
		assert_int_equal(len, i);
		assert_memory_equal(out, "foobar", len);
		base64_encode(again, out, len);
		assert_string_equal(again, good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(base64_decode(bad[i], strlen(bad[i]), out, sizeof(out), &len),
				 -EUCLEAN);
	assert_int_equal(base64_decode("Zm9v", 4, out, 2, &len), -EFBIG);
}

/* What is written can be read back, field by field. */
static void test_roundtrip(void **state)
{
	CLEANUP_FREE char *text = sample_note();
	CLEANUP_NOTE struct note n = {0};
	uint8_t id[2];
	uint64_t count;
	int64_t t;

	(void)state;
	assert_int_equal(note_parse(text, &n), 0);
	assert_string_equal(n.type, "sample");
	assert_int_equal(n.version, 1);
	assert_int_equal(n.n_fields, 6);
	assert_int_equal(note_get_u64(&n, "count", &count), 0);
	assert_int_equal(count, 42);
	assert_int_equal(note_get_time(&n, "created", &t), 0);
	assert_int_equal(t, 1795856400);
	assert_string_equal(note_get(&n, "created"), "2026-11-28T09:00:00Z");
	assert_int_equal(note_get_hex(&n, "id", id, 2), 0);
	assert_memory_equal(id, "\x00\xff", 2);
	assert_int_equal(note_get_hex(&n, "id", id, 1), -EUCLEAN);
	/* A repeated key has no single value. */
	assert_null(note_get(&n, "item"));
	assert_string_equal(note_get_nth(&n, "item", 1), "b");
	assert_null(note_get_nth(&n, "item", 2));
	assert_null(note_get(&n, "absent"));
}

/*
 * The signature line is C2SP's: key hash = SHA-256(name || 0x0A || 0x01 || pk)[:4]. Checked against
 * the example key of the Go checksum database, whose verifier key is published as
 * "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8".
 */
static void test_key_hash_vector(void **state)
{
	static const char vkey[] = "Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
	CLEANUP_FREE char *text = sample_note();
	uint8_t key[33], in[64], hash[32], blob[80], pk[32];
	const char *line, *b64;
	size_t len;

	(void)state;
	assert_int_equal(base64_decode(vkey, strlen(vkey), key, sizeof(key), &len), 0);
	assert_int_equal(len, 33);
	memcpy(in, "sum.golang.org\n", 15);
	memcpy(in + 15, key, 33);
	kdf_sha256(hash, in, 48);
	assert_memory_equal(hash, "\x03\x3d\xe0\xae", 4);

	/* And the one that note_sign_seed writes is made alike. */
	identity_sign_pk_from_seed(seed, pk);
	memcpy(in, key_name, strlen(key_name));
	in[strlen(key_name)] = '\n';
	in[strlen(key_name) + 1] = 1;
	memcpy(in + strlen(key_name) + 2, pk, 32);
	kdf_sha256(hash, in, strlen(key_name) + 34);
	line = strstr(text, "\n\n\xe2\x80\x94 coffer-volume/test ");
	assert_non_null(line);
	b64 = strrchr(line, ' ') + 1;
	assert_int_equal(base64_decode(b64, strlen(b64) - 1, blob, sizeof(blob), &len), 0);
	assert_int_equal(len, 68);
	assert_memory_equal(blob, hash, 4);
}

/* No byte of a note's body, name or signature can change without the verification failing. */
static void test_every_byte_counts(void **state)
{
	CLEANUP_FREE char *text = sample_note();
	uint8_t pk[32];

	(void)state;
	identity_sign_pk_from_seed(seed, pk);
	assert_int_equal(note_verify(text, key_name, pk), 0);
	for (size_t i = 0; text[i]; i++) {
		char kept = text[i];

		for (int bit = 0; bit < 8; bit++) {
			text[i] = (char)(kept ^ (1 << bit));
			assert_int_not_equal(note_verify(text, key_name, pk), 0);
		}
		text[i] = kept;
	}
	assert_int_equal(note_verify(text, key_name, pk), 0);
}

/* A note cut anywhere verifies nowhere. */
static void test_truncated(void **state)
{
	CLEANUP_FREE char *text = sample_note();
	uint8_t pk[32];

	(void)state;
	identity_sign_pk_from_seed(seed, pk);
	for (size_t n = strlen(text); n-- > 0;) {
		text[n] = '\0';
		assert_int_not_equal(note_verify(text, key_name, pk), 0);
	}
}

/* A signature counts only for its own name and its own key. */
static void test_other_name_or_key(void **state)
{
	CLEANUP_FREE char *text = sample_note();
	const uint8_t other[32] = {9};
	uint8_t pk[32], other_pk[32];

	(void)state;
	identity_sign_pk_from_seed(seed, pk);
	identity_sign_pk_from_seed(other, other_pk);
	assert_int_equal(note_verify(text, "coffer-volume/tes", pk), -EBADMSG);
	assert_int_equal(note_verify(text, "coffer-volume/test2", pk), -EBADMSG);
	assert_int_equal(note_verify(text, key_name, other_pk), -EBADMSG);
}

/* Further signatures stand beside the first, in any order, and do not change the digest. */
static void test_cosign(void **state)
{
	CLEANUP_IDENTITY struct identity *id = identity_new("Li Wei", "1001");
	CLEANUP_FREE char *text = sample_note(), *body = sample_body(), *both = NULL;
	uint8_t pk[32], d1[32], d2[32], d3[32];
	char name[NOTE_KEY_NAME_MAX + 1];

	(void)state;
	assert_non_null(id);
	assert_int_equal(note_cosign(text, id, &both), 0);
	identity_sign_pk_from_seed(seed, pk);
	note_member_key_name(identity_card(id)->sign_pk, name);
	assert_int_equal(note_verify(both, key_name, pk), 0);
	assert_int_equal(note_verify(both, name, identity_card(id)->sign_pk), 0);
	assert_int_equal(note_verify(text, name, identity_card(id)->sign_pk), -EBADMSG);
	assert_int_equal(note_digest(text, d1), 0);
	assert_int_equal(note_digest(both, d2), 0);
	note_body_digest(body, d3);
	assert_memory_equal(d1, d2, 32);
	assert_memory_equal(d1, d3, 32);
	assert_true(note_body_is(both, body));
	body[strlen(body) - 2] ^= 1;
	assert_false(note_body_is(both, body));
}

/* Lines of unknown keys and other signature types are passed over; lines of no form are not. */
static void test_foreign_signatures(void **state)
{
	CLEANUP_FREE char *text = sample_note(), *more = NULL;
	static const char *const bad[] = {
	    "\xe2\x80\x94 a b AAAAAAAA\n", "\xe2\x80\x94 a+b AAAAAAAA\n",
	    "\xe2\x80\x94 a AAAA\n",       "- a AAAAAAAA\n",
	    "\xe2\x80\x94 a AAAAAAAA",     "\xe2\x80\x94  AAAAAAAA\n",
	    "\xe2\x80\x94 a AAAAAAAA \n",  "\xe2\x80\x94 a\xe3\x80\x80z AAAAAAAA\n",
	    "\n\xe2\x80\x94 a AAAAAAAA",
	};
	uint8_t pk[32];

	(void)state;
	identity_sign_pk_from_seed(seed, pk);
	assert_true(asprintf(&more, "%s\xe2\x80\x94 witness.example/w AAAAAAAAAA==\n", text) > 0);
	assert_int_equal(note_verify(more, key_name, pk), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CLEANUP_FREE char *t = NULL;

		assert_true(asprintf(&t, "%s%s", text, bad[i]) > 0);
		assert_int_equal(note_verify(t, key_name, pk), -EUCLEAN);
	}
}

/* Values that could change what a person sees are refused in writing and in reading. */
static void test_hostile_values(void **state)
{
	static const char *const bad[] = {
	    " lead",
	    "trail ",
	    "tab\there",
	    "esc\x1b[2J",
	    "cr\rx",
	    "nl\nkey: x",
	    "del\x7f",
	    "c1\xc2\x9b",
	    "rlo\xe2\x80\xae",
	    "lri\xe2\x81\xa6",
	    "alm\xd8\x9c",
	    "lrm\xe2\x80\x8e",
	    "ls\xe2\x80\xa8",
	    "ps\xe2\x80\xa9",
	    "\xe3\x80\x80wide",
	    "bad\xff",
	    "over\xc0\xaf",
	    "surr\xed\xa0\x80",
	    "high\xf4\x90\x80\x80",
	    "cut\xe4\xb8",
	    "over\xe0\x80\xaf",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CLEANUP_BYTES struct bytes_w w = {0};
		CLEANUP_NOTE struct note n = {0};
		CLEANUP_FREE char *text = NULL;
		char *body = NULL;

		assert_false(note_value_valid(bad[i], strlen(bad[i])));
		note_begin(&w, "sample", 1);
		note_put(&w, "key", bad[i]);
		assert_int_equal(note_end(&w, &body), -EINVAL);
		if (strchr(bad[i], '\n'))
			continue; /* read, that is simply two fields */
		assert_true(asprintf(&text, "coffer-sample/1\nkey: %s\n", bad[i]) > 0);
		assert_int_equal(note_parse(text, &n), -EUCLEAN);
	}
}

/* Sizes have bounds, and keys an alphabet. */
static void test_writer_limits(void **state)
{
	char value[NOTE_VALUE_MAX + 2];

	(void)state;
	memset(value, 'x', sizeof(value));
	value[NOTE_VALUE_MAX + 1] = '\0';
	for (int i = 0; i < 6; i++) {
		CLEANUP_BYTES struct bytes_w w = {0};
		char *body = NULL;

		note_begin(&w, i == 0 ? "Sample" : "sample", i == 1 ? 0 : 1);
		note_put(&w, i == 2 ? "key_" : i == 3 ? "" : "key", i == 4 ? value : "v");
		if (i == 5)
			note_put_time(&w, "t", -1);
		assert_int_equal(note_end(&w, &body), -EINVAL);
	}
	CLEANUP_BYTES struct bytes_w w = {0};
	char *body = NULL;

	value[NOTE_VALUE_MAX] = '\0';
	note_begin(&w, "sample", 1);
	for (int i = 0; i < 256; i++)
		note_put(&w, "key", value);
	assert_int_equal(note_end(&w, &body), -EINVAL); /* beyond 1 MiB */
}

/* Malformed bodies are refused whole. */
static void test_reject_bodies(void **state)
{
	static const char *const bad[] = {
	    "",
	    "\n",
	    "coffer-sample/1",
	    "coffer-sample/01\n",
	    "coffer-sample/0\n",
	    "coffer-sample/99999\n",
	    "coffer-sample/1 \n",
	    "coffer-/1\n",
	    "other-sample/1\n",
	    "coffer-sample\n",
	    "coffer-sample/1\nkey\n",
	    "coffer-sample/1\nkey:value\n",
	    "coffer-sample/1\n: value\n",
	    "coffer-sample/1\nKey: value\n",
	    "coffer-sample/1\nkey: value",
	    "coffer-sample/1\n\nkey: value\n",
	    "coffer-sample/1\nkey: value\n\n",
	    "coffer-sample/1\r\nkey: value\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CLEANUP_NOTE struct note n = {0};

		assert_int_equal(note_parse(bad[i], &n), -EUCLEAN);
	}
}

/* Numbers and times have one text each. */
static void test_canonical_numbers(void **state)
{
	static const char *const bad_u64[] = {"",
					      "00",
					      "01",
					      "-1",
					      "+1",
					      "1 2",
					      "0x1",
					      "18446744073709551616",
					      "99999999999999999999"};
	static const char *const bad_time[] = {"2026-11-28T09:00:00",  "2026-02-29T00:00:00Z",
					       "2026-04-31T00:00:00Z", "2026-11-28 09:00:00Z",
					       "2026-11-28T24:00:00Z", "2026-11-28T09:00:60Z",
					       "1969-12-31T23:59:59Z", "2026-1-28T09:00:000Z"};
	uint64_t v;
	int64_t t;

	(void)state;
	for (size_t i = 0; i < sizeof(bad_u64) / sizeof(bad_u64[0]); i++) {
		struct note_field f = {"k", bad_u64[i]};
		struct note n = {.fields = &f, .n_fields = 1};

		assert_int_equal(note_get_u64(&n, "k", &v), -EUCLEAN);
	}
	for (size_t i = 0; i < sizeof(bad_time) / sizeof(bad_time[0]); i++)
		assert_int_equal(note_time_parse(bad_time[i], &t), -EUCLEAN);
	assert_int_equal(note_time_parse("2024-02-29T23:59:59Z", &t), 0);
	struct note_field f = {"k", "18446744073709551615"};
	struct note n = {.fields = &f, .n_fields = 1};

	assert_int_equal(note_get_u64(&n, "k", &v), 0);
	assert_true(v == UINT64_MAX);
}

/* Nothing is signed that could not be read back. */
static void test_sign_refuses(void **state)
{
	char *text = NULL;

	(void)state;
	assert_int_equal(note_sign_seed("", key_name, seed, &text), -EINVAL);
	assert_int_equal(note_sign_seed("no newline", key_name, seed, &text), -EINVAL);
	assert_int_equal(note_sign_seed("esc \x1b\n", key_name, seed, &text), -EINVAL);
	assert_int_equal(note_sign_seed("body\n", "a name", seed, &text), -EINVAL);
	assert_int_equal(note_sign_seed("body\n", "a+b", seed, &text), -EINVAL);
	assert_int_equal(note_sign_seed("body\n", "", seed, &text), -EINVAL);
	assert_int_equal(note_cosign_seed("body\n", key_name, seed, &text), -EUCLEAN);
}

/* Reading where others may write follows no link, hangs on no FIFO, and takes no more than its
 * bound. */
static void test_file_read(void **state)
{
	char dir[] = "/tmp/test-note-XXXXXX";
	CLEANUP_FD int fd = -1;
	char *text = NULL;
	int file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	file = openat(fd, "good", O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_int_equal(write(file, "text\n", 5), 5);
	close(file);
	file = openat(fd, "nul", O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_int_equal(write(file, "te\0t\n", 5), 5);
	close(file);
	assert_int_equal(symlinkat("good", fd, "link"), 0);
	assert_int_equal(mkfifoat(fd, "fifo", 0600), 0);
	assert_int_equal(mkdirat(fd, "dir", 0700), 0);

	assert_int_equal(note_file_read(fd, "good", 5, &text), 0);
	assert_string_equal(text, "text\n");
	free(text);
	assert_int_equal(note_file_read(fd, "good", 4, &text), -EFBIG);
	assert_int_equal(note_file_read(fd, "nul", 100, &text), -EUCLEAN);
	assert_int_equal(note_file_read(fd, "link", 100, &text), -ELOOP);
	assert_int_equal(note_file_read(fd, "fifo", 100, &text), -EINVAL);
	assert_int_equal(note_file_read(fd, "dir", 100, &text), -EINVAL);
	assert_int_equal(note_file_read(fd, "absent", 100, &text), -ENOENT);

	unlinkat(fd, "good", 0);
	unlinkat(fd, "nul", 0);
	unlinkat(fd, "link", 0);
	unlinkat(fd, "fifo", 0);
	unlinkat(fd, "dir", AT_REMOVEDIR);
	assert_int_equal(rmdir(dir), 0);
}

/* A note by the volume counts as one type and version, under that volume's key alone; a text value must fit. */
static void test_open_volume(void **state)
{
	const uint8_t volume[16] = {7}, other_volume[16] = {8}, other_seed[32] = {9};
	CLEANUP_FREE char *body = sample_body();
	CLEANUP_FREE char *text = NULL;
	uint8_t pk[IDENTITY_KEY_LEN], other_pk[IDENTITY_KEY_LEN];
	struct note n = {0};
	char item[5];
	(void)state;

	identity_sign_pk_from_seed(seed, pk);
	identity_sign_pk_from_seed(other_seed, other_pk);
	assert_int_equal(note_sign_volume(body, volume, seed, &text), 0);
	assert_int_equal(note_open_volume(text, volume, other_pk, "sample", 1, &n), -EBADMSG);
	assert_int_equal(note_open_volume(text, other_volume, pk, "sample", 1, &n), -EBADMSG);
	assert_int_equal(note_open_volume(text, volume, pk, "simple", 1, &n), -EUCLEAN);
	assert_int_equal(note_open_volume(text, volume, pk, "sample", 2, &n), -EPROTONOSUPPORT);
	assert_null(n.fields);
	assert_int_equal(note_open_volume(text, volume, pk, "sample", 1, &n), 0);
	assert_int_equal(note_get_text(&n, "id", item, sizeof(item)), 0);
	assert_string_equal(item, "00ff");
	assert_int_equal(note_get_text(&n, "id", item, sizeof(item) - 1), -EUCLEAN);
	assert_int_equal(note_get_text(&n, "item", item, sizeof(item)), -EUCLEAN);
	assert_int_equal(note_get_text(&n, "absent", item, sizeof(item)), -EUCLEAN);
	note_free(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_base64_strict),   cmocka_unit_test(test_roundtrip),
	    cmocka_unit_test(test_key_hash_vector), cmocka_unit_test(test_every_byte_counts),
	    cmocka_unit_test(test_truncated),       cmocka_unit_test(test_other_name_or_key),
	    cmocka_unit_test(test_cosign),          cmocka_unit_test(test_foreign_signatures),
	    cmocka_unit_test(test_hostile_values),  cmocka_unit_test(test_writer_limits),
	    cmocka_unit_test(test_reject_bodies),   cmocka_unit_test(test_canonical_numbers),
	    cmocka_unit_test(test_sign_refuses),    cmocka_unit_test(test_file_read),
	    cmocka_unit_test(test_open_volume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
