/* Identities: keys come back only with their passphrase, and a card proves both of them. */
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

#include "core/cleanup.h"
#include "core/identity.h"
#include "core/note.h"

static struct secret *pass_of(const char *s)
{
	struct secret *p = secret_new(strlen(s));

	assert_non_null(p);
	memcpy(secret_bytes(p), s, strlen(s));
	return p;
}

static struct identity *somebody(void)
{
	struct identity *id = identity_new("李 伟", "GZ-1001");

	assert_non_null(id);
	return id;
}

/* Names are printable, and no two that differ look alike. */
static void test_names(void **state)
{
	static const char *const good[] = {"Li Wei", "李伟", "O'Brien, J.", "é", "a"};
	static const char *const bad[] = {
	    "",
	    " x",
	    "x ",
	    "a|b",
	    "a\nb",
	    "a\x1b",
	    "\xe3\x80\x80x",
	    "x\xc2\xa0",
	    "a\xe2\x80\x8b"
	    "b",
	    "a\xe2\x80\xae"
	    "b",
	    "a\xc2\xad"
	    "b",
	    "a\xef\xbb\xbf"
	    "b",
	    "\xff",
	    "12345678901234567890123456789012345678901234567890123456789012345",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(identity_name_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(identity_name_valid(bad[i]));
	assert_null(identity_new("a|b", "1"));
	assert_null(identity_new("a", ""));
}

/* A signature holds for its message and key only. */
static void test_sign(void **state)
{
	CLEANUP_IDENTITY struct identity *a = somebody(), *b = somebody();
	const uint8_t seed[32] = {7};
	uint8_t sig[IDENTITY_SIG_LEN], pk[IDENTITY_KEY_LEN];

	(void)state;
	identity_sign(a, "message", 7, sig);
	assert_int_equal(identity_verify(identity_card(a)->sign_pk, "message", 7, sig), 0);
	assert_int_equal(identity_verify(identity_card(a)->sign_pk, "messagf", 7, sig), -EBADMSG);
	assert_int_equal(identity_verify(identity_card(a)->sign_pk, "message", 6, sig), -EBADMSG);
	assert_int_equal(identity_verify(identity_card(b)->sign_pk, "message", 7, sig), -EBADMSG);
	sig[63] ^= 1;
	assert_int_equal(identity_verify(identity_card(a)->sign_pk, "message", 7, sig), -EBADMSG);
	identity_sign_pk_from_seed(seed, pk);
	identity_sign_with_seed(seed, "m", 1, sig);
	assert_int_equal(identity_verify(pk, "m", 1, sig), 0);
}

/* RFC 8032 section 7.1, test 2: the seed's key and signature are Ed25519's. */
static void test_sign_vector(void **state)
{
	uint8_t seed[32], pk[32], want_pk[32], sig[64], want_sig[64];

	(void)state;
	bytes_unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", seed, 32);
	bytes_unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", want_pk,
		    32);
	assert_int_equal(
	    bytes_unhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
			"085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
			want_sig, 64),
	    0);
	identity_sign_pk_from_seed(seed, pk);
	identity_sign_with_seed(seed, "\x72", 1, sig);
	assert_memory_equal(pk, want_pk, 32);
	assert_memory_equal(sig, want_sig, 64);
}

/* Only the addressee opens a sealed box, and only whole. */
static void test_seal(void **state)
{
	CLEANUP_IDENTITY struct identity *a = somebody(), *b = somebody();
	uint8_t box[5 + IDENTITY_SEAL_OVERHEAD], msg[5];
	const uint8_t zero[IDENTITY_KEY_LEN] = {0};

	(void)state;
	assert_int_equal(identity_seal(identity_card(a)->seal_pk, "hello", 5, box), 0);
	assert_int_equal(identity_unseal(a, box, sizeof(box), msg), 0);
	assert_memory_equal(msg, "hello", 5);
	assert_int_equal(identity_unseal(b, box, sizeof(box), msg), -EBADMSG);
	for (size_t i = 0; i < sizeof(box); i++) {
		box[i] ^= 1;
		assert_int_equal(identity_unseal(a, box, sizeof(box), msg), -EBADMSG);
		box[i] ^= 1;
	}
	assert_int_equal(identity_unseal(a, box, sizeof(box) - 1, msg), -EBADMSG);
	assert_int_equal(identity_unseal(a, box, IDENTITY_SEAL_OVERHEAD - 1, msg), -EBADMSG);
	/* A key of small order would let anybody open the box. */
	assert_int_equal(identity_seal(zero, "hello", 5, box), -EBADMSG);
}

/* The file gives the same keys back, to its passphrase alone. */
static void test_file_roundtrip(void **state)
{
	CLEANUP_IDENTITY struct identity *id = somebody(), *back = NULL, *none = NULL;
	CLEANUP_SECRET struct secret *pass = pass_of("correct horse battery");
	CLEANUP_SECRET struct secret *wrong = pass_of("correct horse batterz");
	CLEANUP_FREE char *text = NULL;
	uint8_t box[1 + IDENTITY_SEAL_OVERHEAD], msg[1], sig[IDENTITY_SIG_LEN];
	struct diag d = {0};

	(void)state;
	assert_int_equal(identity_export(id, pass, &text), 0);
	assert_int_equal(identity_import(text, pass, "test", &back, &d), 0);
	assert_memory_equal(identity_card(back), identity_card(id), sizeof(struct identity_card));
	identity_sign(back, "x", 1, sig);
	assert_int_equal(identity_verify(identity_card(id)->sign_pk, "x", 1, sig), 0);
	assert_int_equal(identity_seal(identity_card(id)->seal_pk, "x", 1, box), 0);
	assert_int_equal(identity_unseal(back, box, sizeof(box), msg), 0);

	assert_int_equal(identity_import(text, wrong, "test", &none, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_WRONG_SECRET);
	assert_int_equal(identity_import(text, NULL, "test", &none, &d), -ENOKEY);
	assert_int_equal(d.id, DIAG_WRONG_SECRET);
	assert_null(none);
}

/* No line of the file can be changed: name, keys, cost and box are one. */
static void test_file_tampered(void **state)
{
	static const struct {
		const char *from, *to;
		enum diag_id id;
	} edits[] = {
	    {"GZ-1001", "GZ-1002", DIAG_WRONG_SECRET},
	    {"ops: 2", "ops: 3", DIAG_WRONG_SECRET},
	    {"ops: 2", "ops: 1", DIAG_NOTE_MALFORMED},          /* below the floor */
	    {"ops: 2", "ops: 4000000000", DIAG_NOTE_MALFORMED}, /* above the ceiling */
	    {"ops: 2", "ops: 02", DIAG_NOTE_MALFORMED},
	    {"memory: 67108864", "memory: 1024", DIAG_NOTE_MALFORMED},
	    {"memory: 67108864", "memory: 99999999999999", DIAG_NOTE_MALFORMED},
	    {"kdf: argon2id", "kdf: scrypt", DIAG_NOTE_MALFORMED},
	    {"coffer-identity/1", "coffer-identity/2", DIAG_VERSION},
	    {"coffer-identity/1", "coffer-card/1", DIAG_NOTE_MALFORMED},
	    {"number: ", "extra: x\nnumber: ", DIAG_NOTE_MALFORMED},
	    {"box: ", "box: 00", DIAG_NOTE_MALFORMED},
	};
	CLEANUP_IDENTITY struct identity *id = somebody(), *none = NULL;
	CLEANUP_SECRET struct secret *pass = pass_of("correct horse battery");
	CLEANUP_FREE char *text = NULL;

	(void)state;
	assert_int_equal(identity_export(id, pass, &text), 0);
	for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		CLEANUP_FREE char *edited = NULL;
		char *at = strstr(text, edits[i].from);
		struct diag d = {0};

		assert_non_null(at);
		assert_true(asprintf(&edited, "%.*s%s%s", (int)(at - text), text, edits[i].to,
				     at + strlen(edits[i].from)) > 0);
		assert_true(identity_import(edited, pass, "test", &none, &d) < 0);
		assert_int_equal(d.id, edits[i].id);
		assert_null(none);
	}
	for (size_t n = 0; n < strlen(text); n += 7) {
		CLEANUP_FREE char *cut = strndup(text, n);
		struct diag d = {0};

		assert_true(identity_import(cut, pass, "test", &none, &d) < 0);
		assert_int_equal(d.id, DIAG_NOTE_MALFORMED);
	}
}

/* A file without a passphrase is accepted only when its mode keeps others out. */
static void test_file_without_passphrase(void **state)
{
	CLEANUP_IDENTITY struct identity *id = somebody(), *back = NULL, *none = NULL;
	char path[] = "/tmp/test-identity-XXXXXX";
	CLEANUP_FREE char *text = NULL;
	struct diag d = {0};
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(identity_export(id, NULL, &text), 0);
	assert_int_equal(write(fd, text, strlen(text)), (int)strlen(text));
	assert_int_equal(fchmod(fd, 0640), 0);
	assert_int_equal(identity_load(path, NULL, &none, &d), -EPERM);
	assert_int_equal(d.id, DIAG_SECRET_FILE);
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(identity_load(path, NULL, &back, &d), 0);
	assert_memory_equal(identity_card(back), identity_card(id), sizeof(struct identity_card));
	close(fd);
	unlink(path);
	assert_int_equal(identity_load(path, NULL, &none, &d), -ENOENT);
	assert_int_equal(identity_load("/tmp", NULL, &none, &d), -EINVAL);
}

/* A card comes back as it was, from a file too. */
static void test_card_roundtrip(void **state)
{
	CLEANUP_IDENTITY struct identity *id = somebody();
	char path[] = "/tmp/test-identity-XXXXXX";
	CLEANUP_FREE char *text = NULL;
	struct identity_card card;
	struct diag d = {0};
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(identity_card_export(id, &text), 0);
	assert_int_equal(identity_card_import(text, "test", &card, &d), 0);
	assert_memory_equal(&card, identity_card(id), sizeof(card));
	assert_int_equal(write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
	memset(&card, 0, sizeof(card));
	assert_int_equal(identity_card_load(path, &card, &d), 0);
	assert_memory_equal(&card, identity_card(id), sizeof(card));
	unlink(path);
}

/* No byte of a card can change. */
static void test_card_tampered(void **state)
{
	CLEANUP_IDENTITY struct identity *id = somebody();
	CLEANUP_FREE char *text = NULL;
	struct identity_card card;

	(void)state;
	assert_int_equal(identity_card_export(id, &text), 0);
	for (size_t i = 0; text[i]; i++) {
		struct diag d = {0};

		text[i] ^= 1;
		assert_true(identity_card_import(text, "test", &card, &d) < 0);
		assert_true(d.id == DIAG_NOTE_MALFORMED || d.id == DIAG_NOTE_UNSIGNED ||
			    d.id == DIAG_VERSION);
		text[i] ^= 1;
	}
}

/* Body of a card that claims a's signing key and, as its own, b's sealing key and proof. */
static char *stolen_card(const struct identity *a, const char *b_card)
{
	CLEANUP_NOTE struct note theirs = {0};
	CLEANUP_BYTES struct bytes_w w = {0};
	char *body = NULL;

	assert_int_equal(note_parse(b_card, &theirs), 0);
	note_begin(&w, "card", 1);
	note_put(&w, "name", identity_card(a)->name);
	note_put(&w, "number", identity_card(a)->number);
	note_put_hex(&w, "sign-key", identity_card(a)->sign_pk, IDENTITY_KEY_LEN);
	note_put(&w, "seal-key", note_get(&theirs, "seal-key"));
	note_put(&w, "seal-proof", note_get(&theirs, "seal-proof"));
	assert_int_equal(note_end(&w, &body), 0);
	return body;
}

/* Nobody's card can carry a sealing key that is not his own: the proof's signature lacks. */
static void test_card_stolen_seal_key(void **state)
{
	CLEANUP_IDENTITY struct identity *a = somebody(), *b = somebody();
	CLEANUP_FREE char *b_card = NULL, *body = NULL, *text = NULL;
	struct identity_card card;
	struct diag d = {0};

	(void)state;
	assert_int_equal(identity_card_export(b, &b_card), 0);
	body = stolen_card(a, b_card);
	assert_int_equal(note_sign(body, a, &text), 0);
	assert_int_equal(identity_card_import(text, "test", &card, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_sign),
	    cmocka_unit_test(test_sign_vector),
	    cmocka_unit_test(test_seal),
	    cmocka_unit_test(test_file_roundtrip),
	    cmocka_unit_test(test_file_tampered),
	    cmocka_unit_test(test_file_without_passphrase),
	    cmocka_unit_test(test_card_roundtrip),
	    cmocka_unit_test(test_card_tampered),
	    cmocka_unit_test(test_card_stolen_seal_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
