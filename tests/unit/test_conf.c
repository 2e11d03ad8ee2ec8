/*
 * core/conf: what coffer.conf says is what is read, and every mistake in it is named by its line
 * and key, so that a typing error never means something else.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/conf.h"
#include "core/durable.h"

#define REPOSITORY "[repository main]\nurl = /srv/sets\n"

static struct conf read_good(const char *text)
{
	struct conf c;
	struct diag d = {0};

	if (conf_parse(text, "c", &c, &d) != 0)
		fail_msg("%s", d.object);
	return c;
}

/* The first mistake, and how many there are. */
static void expect_mistake(const char *text, size_t n_all, const char *want)
{
	static struct conf_mistakes m;
	struct conf c, before;
	struct diag d = {0};
	char got[300];

	memset(&c, 0x5a, sizeof(c));
	before = c;
	assert_int_equal(conf_check(text, strlen(text), &c, &m), -EINVAL);
	assert_memory_equal(&c, &before, sizeof(c));
	conf_mistake_text(&m.list[0], got, sizeof(got));
	assert_string_equal(got, want);
	assert_int_equal(m.n_all, n_all);
	assert_int_equal(conf_parse(text, "the file", &c, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_POLICY);
	assert_non_null(strstr(d.object, want));
	assert_non_null(strstr(d.object, "the file"));
	assert_memory_equal(&c, &before, sizeof(c));
}

/* --- what is said --- */

/* Nothing said means the defaults that the header states. */
static void test_defaults(void **state)
{
	struct conf c = read_good(""), d = read_good("# nothing\n\n; at all\n");

	(void)state;
	assert_int_equal(c.n_repositories, 0);
	assert_int_equal(c.n_media, 0);
	assert_true(c.backup_wanted);
	assert_false(c.verify_after);
	assert_int_equal(c.grace_hours, 24);
	assert_int_equal(c.drill_days, 0);
	assert_int_equal(c.parity, 0);
	assert_int_equal(c.merge_after, 0);
	assert_int_equal(c.drill_files, 20);
	assert_int_equal(c.checkpoint_seconds, 60);
	for (int t = 0; t < CONF_N_TIERS; t++)
		assert_false(c.tiers[t].set);
	assert_memory_equal(&c, &d, sizeof(c));
}

/* Every key has its effect, whatever the order and the blanks. */
static void test_every_key(void **state)
{
	struct conf c = read_good("[repository main]\n"
				  "url = /srv/sets\n"
				  "kept = platform\n"
				  "[ repository   far away ]\r\n"
				  "  url=s3://host/bucket ; a comment\n"
				  "[medium D-17]\nkept = department\npath = /media/disk\n"
				  "[backup]\nwanted = yes\nverify_after = 25%\ngrace_hours = 48\n"
				  "read_mib = 300\nwrite_mib = 20\n"
				  "parity = 5\nmerge_after = 12\n"
				  "drill_days = 30\ndrill_files = 7\n"
				  "[daily]\nkind = incremental\nat = 01:30\nkeep = 7\n"
				  "[weekly]\nkind = full\nat = 2:00\nkeep = 5\nweekday = saturday\n"
				  "[monthly]\nkind = full\nat = 23:59\nkeep = 12\nday = last\n"
				  "[trail]\ncheckpoint_seconds = 3600");

	(void)state;
	assert_int_equal(c.n_repositories, 2);
	assert_string_equal(c.repositories[0].name, "main");
	assert_string_equal(c.repositories[0].url, "/srv/sets");
	assert_int_equal(c.repositories[0].kept, CONF_KEPT_PLATFORM);
	assert_string_equal(c.repositories[1].name, "far away");
	assert_string_equal(c.repositories[1].url, "s3://host/bucket");
	assert_int_equal(c.repositories[1].kept, CONF_KEPT_UNSAID);
	assert_int_equal(c.n_media, 1);
	assert_string_equal(c.media[0].name, "D-17");
	assert_string_equal(c.media[0].path, "/media/disk");
	assert_int_equal(c.media[0].kept, CONF_KEPT_DEPARTMENT);
	assert_true(c.backup_wanted);
	assert_int_equal(c.verify_after, 25);
	assert_int_equal(c.read_mib, 300);
	assert_int_equal(c.write_mib, 20);
	assert_int_equal(c.grace_hours, 48);
	assert_int_equal(c.parity, 5);
	assert_int_equal(c.merge_after, 12);
	assert_int_equal(c.drill_days, 30);
	assert_int_equal(c.drill_files, 7);
	assert_true(c.tiers[CONF_DAILY].set && !c.tiers[CONF_DAILY].full);
	assert_int_equal(c.tiers[CONF_DAILY].at.hour, 1);
	assert_int_equal(c.tiers[CONF_DAILY].at.minute, 30);
	assert_int_equal(c.tiers[CONF_DAILY].keep, 7);
	assert_true(c.tiers[CONF_WEEKLY].set && c.tiers[CONF_WEEKLY].full);
	assert_int_equal(c.tiers[CONF_WEEKLY].at.hour, 2);
	assert_int_equal(c.tiers[CONF_WEEKLY].weekday, 6);
	assert_int_equal(c.tiers[CONF_MONTHLY].day, CONF_DAY_LAST);
	assert_int_equal(c.tiers[CONF_MONTHLY].at.hour, 23);
	assert_int_equal(c.checkpoint_seconds, 3600);
}

/* Long names are not cut, as inih alone would, so that two of them stay two. */
static void test_long_names(void **state)
{
	struct conf c = read_good(
	    "[repository a123456789b123456789c123456789d123456789e123456789f123456789abc]\n"
	    "url = /a\n"
	    "[repository a123456789b123456789c123456789d123456789e123456789f123456789abd]\n"
	    "url = /b\n");

	(void)state;
	assert_int_equal(c.n_repositories, 2);
	assert_int_equal(strlen(c.repositories[0].name), CONF_NAME_MAX);
	assert_string_equal(c.repositories[1].url, "/b");
}

/* --- mistakes --- */

/* Each mistake is named by the line and key it is in, also on a last line that is not ended. */
static void test_mistakes_are_named(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
	    {"[trail]\ncheckpoint_seconds = 9\n",
	     "line 2, [trail] checkpoint_seconds: a whole number from 10 to 3600"},
	    {"[trail]\n\ncheckpoint_seconds = 9",
	     "line 3, [trail] checkpoint_seconds: a whole number from 10 to 3600"},
	    {"[trail]\ncheckpoint_seconds = 3601\n",
	     "line 2, [trail] checkpoint_seconds: a whole number from 10 to 3600"},
	    {"[trail]\ncheckpoint_seconds = -18446744073709551556\n",
	     "line 2, [trail] checkpoint_seconds: a whole number from 10 to 3600"},
	    {"[trail]\ncheckpoint_seconds = +60\n",
	     "line 2, [trail] checkpoint_seconds: a whole number from 10 to 3600"},
	    {"[trail]\ncheckpoint_seconds =\n",
	     "line 2, [trail] checkpoint_seconds: a whole number from 10 to 3600"},
	    {"[trail]\ncheckpoint_seconds = 60\ncheckpoint_seconds = 60\n",
	     "line 3, [trail] checkpoint_seconds: given twice"},
	    {"[trail]\ncheckpoint = 60\n",
	     "line 2, [trail] checkpoint: no such key here (known: checkpoint_seconds)"},
	    {"[trail]\n\nnonsense", "line 3, [trail]: neither a section nor key = value"},
	    {"[trail\ncheckpoint_seconds = 60\n", "line 1, [trail]: the ] is missing"},
	    {"[trail] x\n", "line 1, [trail] x]: nothing may follow the ] of a section"},
	    {"url = /a\n", "line 1, url: stands before any section"},
	    {"[repository ]\nurl = /a\n",
	     "line 2, [repository] url: no such section (known: repository NAME, medium LABEL, "
	     "backup, daily, weekly, monthly, trail)"},
	    {"[repository a/b]\nurl = /a\n", "line 1, [repository a/b]: a name has no / in it"},
	    {"\n[repository a]\nkept = platform\n", "line 2, [repository a] url: missing"},
	    {"[repository a]\nurl = a/b\n", "line 2, [repository a] url: an absolute path, or a "
					    "scheme and ://, of at most 180 bytes"},
	    {"[repository a]\nurl = /a\nurl = /b\n", "line 3, [repository a] url: given twice"},
	    {"[repository a]\nurl = /a\n[repository a]\nurl = /b\n",
	     "line 4, [repository a] url: given twice"},
	    {"[repository a]\nurl = /a\n[repository b]\nurl = /a\n",
	     "line 4, [repository b] url: another repository lies there"},
	    {"[repository a]\nurl = /a\nkept = here\n",
	     "line 3, [repository a] kept: department or platform"},
	    {"[medium a]\npath = x\nkept = platform\n",
	     "line 2, [medium a] path: an absolute path of at most 180 bytes"},
	    {"[backup]\nwanted = maybe\n", "line 2, [backup] wanted: yes or no"},
	    {"[backup]\ndrill_days = 367\n",
	     "line 2, [backup] drill_days: a whole number from 0 (none) to 366"},
	    {REPOSITORY "[daily]\nkind = full\nat = 24:00\nkeep = 1\n",
	     "line 5, [daily] at: a time from 00:00 to 23:59"},
	    {REPOSITORY "[daily]\nkind = some\nat = 01:00\nkeep = 1\n",
	     "line 4, [daily] kind: full or incremental"},
	    {REPOSITORY "[weekly]\nkind = full\nat = 01:00\nkeep = 1\nweekday = Sunday\n",
	     "line 7, [weekly] weekday: a day from sunday to saturday"},
	    {REPOSITORY "[monthly]\nkind = full\nat = 01:00\nkeep = 1\nday = 32\n",
	     "line 7, [monthly] day: a whole number from 1 to 31, or last"},
	    {REPOSITORY "[monthly]\nkind = full\nat = 01:00\nday = 1\n",
	     "line 3, [monthly] keep: missing"},
	    {"[daily]\nkind = full\nat = 01:00\nkeep = 1\n",
	     "line 1, [daily]: backups are wanted, but there is no [repository NAME]"},
	    {"[trail]\ncheckpoint_seconds = 6\x01\n", "line 2, [trail]: a control character"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_mistake(rows[i].text, 1, rows[i].want);
}

/* A mistyped section is found even when it is empty, and is one mistake whatever it holds. */
static void test_unknown_section(void **state)
{
	static const char why[] = "no such section (known: repository NAME, medium LABEL, backup, "
				  "daily, weekly, monthly, trail)";
	char want[200];

	(void)state;
	snprintf(want, sizeof(want), "line 2, [trial]: %s", why);
	expect_mistake("\n[trial]\n", 1, want);
	expect_mistake("\n[trial]", 1, want);
	snprintf(want, sizeof(want), "line 2, [repositry a] url: %s", why);
	expect_mistake("[repositry a]\nurl = /a\nkept = platform\n[trail]\n", 1, want);
}

/* All mistakes are found in one reading, and the first is the one that is printed. */
static void test_all_mistakes(void **state)
{
	static struct conf_mistakes m;
	static const char text[] = "[backup]\nwanted = x\nfoo = 1\n[trail]\ncheckpoint_seconds = 1\n";
	struct conf c;

	(void)state;
	expect_mistake(text, 3, "line 2, [backup] wanted: yes or no");
	assert_int_equal(conf_check(text, strlen(text), &c, &m), -EINVAL);
	assert_int_equal(m.n, 3);
	assert_int_equal(m.list[1].line, 3);
	assert_string_equal(m.list[1].key, "foo");
	assert_int_equal(m.list[2].line, 5);
	assert_string_equal(m.list[2].section, "trail");
}

/* More mistakes than the list holds are counted; more sections than there may be are refused. */
static void test_too_many(void **state)
{
	static struct conf_mistakes m;
	CLEANUP_FREE char *text = calloc(200, 64);
	struct conf c;
	size_t n = 0;

	(void)state;
	n += (size_t)sprintf(text, "[trail]\n");
	for (int i = 0; i < 100; i++)
		n += (size_t)sprintf(text + n, "bad%d = 1\n", i);
	assert_int_equal(conf_check(text, n, &c, &m), -EINVAL);
	assert_int_equal(m.n, CONF_MISTAKES_MAX);
	assert_int_equal(m.n_all, 100);
	n = 0;
	for (int i = 0; i < CONF_REPOSITORIES_MAX + 1; i++)
		n += (size_t)sprintf(text + n, "[repository r%d]\nurl = /r%d\n", i, i);
	assert_int_equal(conf_check(text, n, &c, &m), -EINVAL);
	assert_int_equal(m.list[0].line, 2 * CONF_REPOSITORIES_MAX + 1);
}

/* A line that is too long is one mistake, not two lines. */
static void test_long_line(void **state)
{
	char text[600] = "[repository a]\nurl = /";

	(void)state;
	memset(text + strlen(text), 'x', 400);
	strcat(text, "\n[trail]\n");
	expect_mistake(text, 2, "line 1, [repository a] url: missing");
}

/* Text behind a NUL is not passed over. */
static void test_nul(void **state)
{
	static const char text[] = "[trail]\ncheckpoint_seconds = 60\n\0\nnonsense\n";
	static struct conf_mistakes m;
	struct conf c;

	(void)state;
	assert_int_equal(conf_check(text, sizeof(text) - 1, &c, &m), -EINVAL);
	assert_int_equal(m.list[0].line, 3);
}

/* --- files --- */

static int folder(void **state)
{
	static char dir[64];

	strcpy(dir, "/tmp/coffer-conf-XXXXXX");
	assert_non_null(mkdtemp(dir));
	*state = dir;
	return 0;
}

static int folder_end(void **state)
{
	CLEANUP_FD int fd = open(*state, O_RDONLY | O_DIRECTORY);

	unlinkat(fd, CONF_FILE, 0);
	assert_int_equal(rmdir(*state), 0);
	return 0;
}

/* What is written is what is read, and no file is what an empty one is. */
static void test_write_and_load(void **state)
{
	CLEANUP_FD int fd = open(*state, O_RDONLY | O_DIRECTORY);
	struct conf c, got;
	struct diag d = {0};

	assert_int_equal(conf_load(fd, &got, &d), 0);
	conf_init(&c);
	assert_memory_equal(&got, &c, sizeof(c));
	conf_default_schedule(&c);
	c.n_repositories = 1;
	strcpy(c.repositories[0].name, "main");
	strcpy(c.repositories[0].url, "/srv/sets of the office");
	c.repositories[0].kept = CONF_KEPT_DEPARTMENT;
	c.n_media = 1;
	strcpy(c.media[0].name, "D 17");
	c.media[0].kept = CONF_KEPT_PLATFORM;
	c.checkpoint_seconds = 30;
	assert_int_equal(conf_write(fd, &c, &d), 0);
	assert_int_equal(conf_load(fd, &got, &d), 0);
	assert_memory_equal(&got, &c, sizeof(c));
	/* A mistake in the file is told with its line. */
	assert_int_equal(durable_replace(fd, CONF_FILE, "[trail]\nx = 1\n", 14, 0600), 0);
	assert_int_equal(conf_load(fd, &got, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_POLICY);
	assert_non_null(strstr(d.object, "line 2"));
}

/* What the file could not say is refused, and what stood there stands: no line is smuggled in. */
static void test_write_refused(void **state)
{
	static const struct {
		const char *name, *url;
	} rows[] = {
	    {"main", "/a ;b"},	   {"main", "/a\n[trail]\ncheckpoint_seconds = 3600"},
	    {"main", " /a"},	   {"main", "/a "},
	    {"main", "relative"},  {"main", ""},
	    {"a]b", "/a"},	   {"a/b", "/a"},
	    {" main", "/a"},	   {"", "/a"},
	};
	CLEANUP_FD int fd = open(*state, O_RDONLY | O_DIRECTORY);
	struct conf c, got;

	conf_init(&c);
	assert_int_equal(conf_write(fd, &c, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct conf bad = c;
		struct diag d = {0};

		bad.n_repositories = 1;
		strcpy(bad.repositories[0].name, rows[i].name);
		strcpy(bad.repositories[0].url, rows[i].url);
		assert_int_equal(conf_write(fd, &bad, &d), -EINVAL);
		assert_int_equal(d.id, DIAG_POLICY);
		assert_int_equal(conf_load(fd, &got, NULL), 0);
		assert_memory_equal(&got, &c, sizeof(c));
	}
}

/* A share is a whole number of percent, from 1 to 99; all and none have words. */
static void shares(void **state)
{
	static const struct {
		const char *text;
		int percent; /* -1: a mistake */
	} cases[] = {{"no", 0},	  {"yes", 100}, {"1%", 1},    {"99%", 99},   {"0%", -1},  {"100%", -1}, {"25", -1},
		     {"%", -1},	  {"-1%", -1},	{"2.5%", -1}, {"25%%", -1},  {"25 %", -1}, {"", -1},	 {"0x9%", -1},
		     {"00000025%", -1}};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[80];
		struct conf c;
		struct diag d = {0};

		snprintf(text, sizeof(text), "[backup]\nverify_after = %s\n", cases[i].text);
		assert_int_equal(conf_parse(text, "t", &c, &d), cases[i].percent < 0 ? -EINVAL : 0);
		if (cases[i].percent >= 0)
			assert_int_equal(c.verify_after, cases[i].percent);
		else
			assert_non_null(strstr(d.object, "verify_after"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_every_key),
	    cmocka_unit_test(shares),
	    cmocka_unit_test(test_long_names),
	    cmocka_unit_test(test_mistakes_are_named),
	    cmocka_unit_test(test_unknown_section),
	    cmocka_unit_test(test_all_mistakes),
	    cmocka_unit_test(test_too_many),
	    cmocka_unit_test(test_long_line),
	    cmocka_unit_test(test_nul),
	    cmocka_unit_test_setup_teardown(test_write_and_load, folder, folder_end),
	    cmocka_unit_test_setup_teardown(test_write_refused, folder, folder_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
