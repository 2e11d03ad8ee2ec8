/*
 * Diagnostics: a complete table, the promised exit codes, one message with object, cause and next
 * step.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/diag.h"

/* ---- table ---- */

static void assert_sentence(const char *s)
{
	size_t len = s ? strlen(s) : 0;

	assert_true(len > 8 || !strcmp(s, "Go on."));
	assert_true(s[0] >= 'A' && s[0] <= 'Z');
	assert_int_equal(s[len - 1], '.');
	assert_null(strstr(s, ". "));
	assert_null(strpbrk(s, "\n\t%"));
}

/* Every kind of failure has a name, a cause and a next step, each one sentence. */
static void test_rows_are_complete(void **state)
{
	(void)state;
	for (int id = DIAG_NONE; id < DIAG_N; id++) {
		const char *name = diag_name((enum diag_id)id);

		assert_non_null(name);
		assert_true(strlen(name) > 3);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz-"), strlen(name));
		assert_sentence(diag_cause((enum diag_id)id));
		assert_sentence(diag_next((enum diag_id)id));
	}
}

/* Names are stable handles: each leads back to its row, and no two rows share one. */
static void test_names_lead_back(void **state)
{
	(void)state;
	for (int id = DIAG_NONE; id < DIAG_N; id++)
		assert_int_equal(diag_by_name(diag_name((enum diag_id)id)), id);
	assert_int_equal(diag_by_name("no-such-row"), DIAG_N);
	assert_int_equal(diag_by_name(""), DIAG_N);
	assert_string_equal(diag_name(DIAG_WRONG_SECRET), "wrong-secret");
	assert_string_equal(diag_name(DIAG_ROLLED_BACK), "rolled-back");
	assert_string_equal(diag_name(DIAG_QUORUM), "quorum");
}

static bool in(enum diag_id id, const enum diag_id *ids, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ids[i] == id)
			return true;
	}
	return false;
}

/* Scripts tell a refusal (3) from damage (4) from a failure (1) by the exit code. */
static void test_exit_codes(void **state)
{
	static const enum diag_id refused[] = {
		DIAG_PASS_WEAK,	 DIAG_NOT_MEMBER,  DIAG_ROLE,  DIAG_QUORUM, DIAG_REQUESTER,
		DIAG_ORDER_STATE, DIAG_ORDER_DRIFT, DIAG_TRAIL, DIAG_DENIED, DIAG_HOLD,
		DIAG_MEDIUM,
	};
	static const enum diag_id integrity[] = {
		DIAG_HEADER_DAMAGED, DIAG_ANCHOR_DAMAGED, DIAG_ROLLED_BACK,
		DIAG_KEYSTATE,	     DIAG_STORE_DAMAGED,  DIAG_SET_DAMAGED,
		DIAG_NOTE_MALFORMED, DIAG_NOTE_UNSIGNED,  DIAG_TRAIL_DAMAGED,
	};
	static const enum diag_id usage[] = {DIAG_USAGE, DIAG_POLICY};

	(void)state;
	assert_int_equal(diag_exit_code(DIAG_NONE), 0);
	for (int i = DIAG_NONE + 1; i < DIAG_N; i++) {
		enum diag_id id = (enum diag_id)i;
		int want = DIAG_EXIT_FAILED;

		if (in(id, refused, sizeof(refused) / sizeof(refused[0])))
			want = DIAG_EXIT_REFUSED;
		if (in(id, integrity, sizeof(integrity) / sizeof(integrity[0])))
			want = DIAG_EXIT_INTEGRITY;
		if (in(id, usage, sizeof(usage) / sizeof(usage[0])))
			want = DIAG_EXIT_USAGE;
		assert_int_equal(diag_exit_code(id), want);
	}
}

/* A number that is no row reads as the general one, never as memory beside the table. */
static void test_unknown_row(void **state)
{
	(void)state;
	assert_string_equal(diag_name(DIAG_N), "system");
	assert_string_equal(diag_name((enum diag_id)4711), "system");
}

/* ---- recording ---- */

/* The failure comes back as the return value, the newest one is kept, and nobody need listen. */
static void test_fail(void **state)
{
	struct diag d = {0};

	(void)state;
	assert_int_equal(diag_fail(&d, DIAG_QUORUM, -EPERM, "order %d", 7), -EPERM);
	assert_int_equal(d.id, DIAG_QUORUM);
	assert_int_equal(d.err, -EPERM);
	assert_string_equal(d.object, "order 7");
	assert_int_equal(diag_fail(&d, DIAG_ROLE, -EACCES, "%s of %s", "wang", d.object), -EACCES);
	assert_int_equal(d.id, DIAG_ROLE);
	assert_string_equal(d.object, "wang of order 7");
	assert_int_equal(diag_fail(NULL, DIAG_ROLE, -EACCES, "x"), -EACCES);
	assert_int_equal(diag_fail_errno(NULL, -EIO, "x"), -EIO);
}

/* An over-long object is cut, not written past. */
static void test_long_object(void **state)
{
	char name[2000];
	struct diag d = {0};

	(void)state;
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	diag_fail(&d, DIAG_EXISTS, -EEXIST, "%s", name);
	assert_int_equal(strlen(d.object), sizeof(d.object) - 1);
}

/* An errno chooses the row that tells most, and with it the exit code. */
static void test_errno_rows(void **state)
{
	static const struct {
		int err;
		enum diag_id id;
	} rows[] = {
		{-ENOSPC, DIAG_NO_SPACE},	   {-EDQUOT, DIAG_NO_SPACE},
		{-EACCES, DIAG_DENIED},		   {-EPERM, DIAG_DENIED},
		{-ENOENT, DIAG_NOT_FOUND},	   {-EEXIST, DIAG_EXISTS},
		{-EBADMSG, DIAG_STORE_DAMAGED},	   {-EUCLEAN, DIAG_STORE_DAMAGED},
		{-EPROTONOSUPPORT, DIAG_VERSION},  {-ENOKEY, DIAG_WRONG_SECRET},
		{-EKEYREVOKED, DIAG_DESTROYED},	   {-EINTR, DIAG_INTERRUPTED},
		{-EIO, DIAG_SYSTEM},		   {-ENOMEM, DIAG_SYSTEM},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct diag d = {0};

		assert_int_equal(diag_fail_errno(&d, rows[i].err, "f"), rows[i].err);
		assert_int_equal(d.id, rows[i].id);
		assert_int_equal(d.err, rows[i].err);
	}
}

/* The codes that mean something of their own here say so; others read as the system has them. */
static void test_errno_texts(void **state)
{
	(void)state;
	assert_string_equal(diag_errno(-EBADMSG), "authentication failed");
	assert_string_equal(diag_errno(EBADMSG), "authentication failed");
	assert_string_equal(diag_errno(-EUCLEAN), "malformed");
	assert_string_equal(diag_errno(-ENOKEY), "no key");
	assert_string_equal(diag_errno(-EKEYREVOKED), "destroyed");
	assert_string_equal(diag_errno(-EROFS), "frozen or read-only");
	assert_string_equal(diag_errno(-EIO), "Input/output error");
	assert_string_equal(diag_errno(-123456), "unknown error");
}

/* ---- printing ---- */

static void assert_prints(const struct diag *d, enum diag_exit code, const char *want)
{
	CLEANUP_FREE char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	assert_int_equal(diag_print(d, f), code);
	fclose(f);
	assert_string_equal(text, want);
}

/* Object, cause, the errno where there is one, next step; and the exit code. */
static void test_print(void **state)
{
	struct diag d = {0};

	(void)state;
	assert_prints(&d, DIAG_EXIT_DONE, "");
	diag_fail(&d, DIAG_WRONG_SECRET, 0, "/srv/store");
	assert_prints(&d, DIAG_EXIT_FAILED,
		      "coffer: /srv/store: No unlock slot opens with this passphrase, identity or "
		      "key file.\n"
		      "  Try again, or see with 'coffer key list' which slots there are.\n");
	diag_fail(&d, DIAG_STORE_DAMAGED, -EBADMSG, "inode 12");
	assert_prints(&d, DIAG_EXIT_INTEGRITY,
		      "coffer: inode 12: A record or block of the store failed its check "
		      "(authentication failed).\n"
		      "  Run 'coffer check --data' to see what is affected, and restore that from "
		      "a set with 'coffer restore'.\n");
	diag_fail(&d, DIAG_USAGE, 0, "%s", "");
	assert_prints(&d, DIAG_EXIT_USAGE,
		      "coffer: The command line is wrong.\n"
		      "  Run 'coffer help' for the commands and their arguments.\n");
}

/* A file name cannot drive the terminal or forge a second message; Chinese names stay whole. */
static void test_print_tames_objects(void **state)
{
	struct diag d = {0};

	(void)state;
	diag_fail(&d, DIAG_EXISTS, 0, "%s", "a\x1b[2J\nb\x7f\xc2\x9b" "31m\xe6\xa1\xa3");
	assert_prints(&d, DIAG_EXIT_FAILED,
		      "coffer: a?[2J?b???31m\xe6\xa1\xa3: "
		      "There is already something of that name.\n"
		      "  Choose another name, or remove what is there first.\n");
	assert_non_null(strchr(d.object, '\n'));
}

/* ---- logging ---- */

/* What one call of diag_log puts on standard error. */
static char *logged(const char *text)
{
	FILE *f = tmpfile();
	int saved = dup(STDERR_FILENO);
	char *got = calloc(1, 4096);

	assert_true(f && saved >= 0 && got);
	assert_true(dup2(fileno(f), STDERR_FILENO) >= 0);
	errno = ESTALE;
	diag_log(DIAG_WARNING, "%s", text);
	assert_int_equal(errno, ESTALE);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(f);
	assert_true(fread(got, 1, 4095, f) > 0);
	fclose(f);
	return got;
}

/* One line a message, whatever is in it, at most its fixed length, and errno stays. */
static void test_log_lines(void **state)
{
	CLEANUP_FREE char *got = logged("anchor\nforged\x1b line");
	CLEANUP_FREE char *cut = NULL;
	char text[3000];

	(void)state;
	assert_string_equal(got, "coffer: anchor?forged? line\n");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	cut = logged(text);
	assert_int_equal(strlen(cut), strlen("coffer: ") + 1023 + 1);
	assert_int_equal(cut[strlen(cut) - 1], '\n');
}

/* With the system log chosen, standard error stays clean. */
static void test_log_to_syslog(void **state)
{
	FILE *f = tmpfile();
	int saved = dup(STDERR_FILENO);

	(void)state;
	assert_true(f && saved >= 0 && dup2(fileno(f), STDERR_FILENO) >= 0);
	diag_log_open(true);
	diag_log(DIAG_INFO, "unit test of diag_log");
	diag_log_open(false);
	dup2(saved, STDERR_FILENO);
	close(saved);
	fseek(f, 0, SEEK_END);
	assert_int_equal(ftell(f), 0);
	fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_are_complete),
		cmocka_unit_test(test_names_lead_back),
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_unknown_row),
		cmocka_unit_test(test_fail),
		cmocka_unit_test(test_long_object),
		cmocka_unit_test(test_errno_rows),
		cmocka_unit_test(test_errno_texts),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_print_tames_objects),
		cmocka_unit_test(test_log_lines),
		cmocka_unit_test(test_log_to_syslog),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
