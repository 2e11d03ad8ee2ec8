/*
 * The policy: what coffer.conf may say and every mistake in it, and which tiers are due.
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

#include "backup/policy.h"

static const char whole[] = "# the form\n"
			    "[repository main]\n"
			    "url = /srv/backup\n"
			    "kept = platform\n"
			    "[medium \xe7\xa3\x81\xe5\xb8\xa6 7]\n"
			    "kept = department\n"
			    "path = /media/tape7\n"
			    "[backup]\n"
			    "wanted = yes\n"
			    "verify_after = yes\n"
			    "grace_hours = 48\n"
			    "drill_days = 90\n"
			    "drill_files = 50\n"
			    "[daily]\n"
			    "kind = incremental\n"
			    "at = 1:30\n"
			    "keep = 7\n"
			    "[weekly]\n"
			    "kind = full\n"
			    "at = 02:00\n"
			    "weekday = saturday\n"
			    "keep = 5\n"
			    "[monthly]\n"
			    "kind = full\n"
			    "at = 23:59\n"
			    "day = last\n"
			    "keep = 12\n"
			    "[trail]\n"
			    "checkpoint_seconds = 300\n";

static void zone(const char *tz)
{
	setenv("TZ", tz, 1);
	tzset();
}

static int64_t utc(const char *text)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);

	assert_non_null(end);
	assert_string_equal(end, "");
	return timegm(&tm);
}

static void parse(const char *text, struct conf *ret)
{
	struct diag d = {0};
	int err = conf_parse(text, "coffer.conf", ret, &d);

	if (err)
		diag_print(&d, stderr);
	assert_int_equal(err, 0);
}

/* --- what it says --- */

/* Every field of the form arrives. */
static void test_all_fields(void **state)
{
	struct conf c;
	(void)state;

	parse(whole, &c);
	assert_int_equal(c.n_repositories, 1);
	assert_string_equal(c.repositories[0].name, "main");
	assert_string_equal(c.repositories[0].url, "/srv/backup");
	assert_int_equal(c.repositories[0].kept, CONF_KEPT_PLATFORM);
	assert_int_equal(c.n_media, 1);
	assert_string_equal(c.media[0].name, "\xe7\xa3\x81\xe5\xb8\xa6 7");
	assert_string_equal(c.media[0].path, "/media/tape7");
	assert_int_equal(c.media[0].kept, CONF_KEPT_DEPARTMENT);
	assert_true(c.backup_wanted && c.verify_after);
	assert_int_equal(c.grace_hours, 48);
	assert_int_equal(c.drill_days, 90);
	assert_int_equal(c.drill_files, 50);
	const struct conf_tier *t = c.tiers;
	assert_true(t[CONF_DAILY].set && !t[CONF_DAILY].full && t[CONF_DAILY].keep == 7);
	assert_true(t[CONF_DAILY].at.hour == 1 && t[CONF_DAILY].at.minute == 30);
	assert_true(t[CONF_WEEKLY].set && t[CONF_WEEKLY].full && t[CONF_WEEKLY].weekday == 6 &&
		    t[CONF_WEEKLY].keep == 5);
	assert_true(t[CONF_MONTHLY].set && t[CONF_MONTHLY].full &&
		    t[CONF_MONTHLY].day == CONF_DAY_LAST);
	assert_true(t[CONF_MONTHLY].at.hour == 23 && t[CONF_MONTHLY].at.minute == 59 &&
		    t[CONF_MONTHLY].keep == 12);
	assert_int_equal(c.checkpoint_seconds, 300);
}

/* What is not said has a default, and no tier is taken that nobody asked for. */
static void test_defaults(void **state)
{
	struct conf c;
	(void)state;

	parse("", &c);
	assert_true(c.backup_wanted && !c.verify_after);
	assert_int_equal(c.grace_hours, 24);
	assert_int_equal(c.drill_days, 0);
	assert_int_equal(c.checkpoint_seconds, 60);
	for (int t = 0; t < CONF_N_TIERS; t++)
		assert_false(c.tiers[t].set);
}

/* What init writes says the same when it is read again, with and without a schedule. */
static void test_written_and_read(void **state)
{
	char dir[] = "/tmp/coffer-policy-XXXXXX";
	struct diag d = {0};
	struct conf c, again;
	(void)state;

	assert_non_null(mkdtemp(dir));
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (int i = 0; i < 3; i++) {
		if (i == 0)
			parse(whole, &c);
		else
			parse("[repository a]\nurl = /a\n[repository b]\nurl = s3://host/b\n", &c);
		if (i == 2)
			conf_default_schedule(&c);
		assert_int_equal(conf_write(fd, &c, &d), 0);
		assert_int_equal(conf_load(fd, &again, &d), 0);
		assert_memory_equal(&c, &again, sizeof(c));
	}
	assert_int_equal(unlinkat(fd, CONF_FILE, 0), 0);
	assert_int_equal(conf_load(fd, &again, &d), 0);
	assert_int_equal(again.n_repositories, 0);
	close(fd);
	rmdir(dir);
}

/* --- every mistake --- */

struct expected {
	int line;
	const char *section, *key, *why; /* why: a part of it */
};

static void expect_mistakes(const char *text, size_t len, const struct expected *want, size_t n)
{
	struct conf_mistakes m;
	struct conf c = {.drill_days = 12345};

	int err = conf_check(text, len, &c, &m);
	for (size_t i = 0; m.n_all != n && i < m.n; i++)
		fprintf(stderr, "%d [%s] %s: %s\n", m.list[i].line, m.list[i].section,
			m.list[i].key, m.list[i].why);
	assert_int_equal(m.n_all, n);
	assert_int_equal(err, -EINVAL);
	assert_int_equal(c.drill_days, 12345);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(m.list[i].line, want[i].line);
		assert_string_equal(m.list[i].section, want[i].section);
		assert_string_equal(m.list[i].key, want[i].key);
		assert_non_null(strstr(m.list[i].why, want[i].why));
	}
}
#define EXPECT_MISTAKES(text, ...)                                                                 \
	expect_mistakes(text, sizeof(text) - 1, (const struct expected[]){__VA_ARGS__},            \
			sizeof((const struct expected[]){__VA_ARGS__}) / sizeof(struct expected))

/* One run tells all of them, in the order of lines. */
static void test_all_mistakes_at_once(void **state)
{
	(void)state;
	EXPECT_MISTAKES(
	    "early = 1\n"                         /* 1 */
	    "[repository main]\n"                 /* 2 */
	    "url = relative/path\n"               /* 3 */
	    "[daly]\n"                            /* 4 */
	    "kind = full\n"                       /* 5 */
	    "at = 01:00\n"                        /* 6 */
	    "[daily]\n"                           /* 7: lacks at */
	    "kind = sometimes\n"                  /* 8 */
	    "keep = 0\n"                          /* 9 */
	    "kep = 7\n"                           /* 10 */
	    "nonsense\n"                          /* 11 */
	    "[monthly]\n"                         /* 12 */
	    "kind = full\nat = 24:00\nday = 32\n" /* 13..15 */
	    "keep = 12 sets\n"                    /* 16 */
	    "keep = 12\n"                         /* 17 */
	    "[trail]\n"                           /* 18 */
	    "checkpoint_seconds = 5\n",           /* 19 */
	    {1, "", "early", "before any section"}, {3, "repository main", "url", "absolute"},
	    {5, "daly", "kind", "no such section"}, {7, "daily", "at", "missing"},
	    {8, "daily", "kind", "full or incremental"}, {9, "daily", "keep", "1 to 10000"},
	    {10, "daily", "kep", "known: kind, at, keep"}, {11, "daily", "", "neither"},
	    {14, "monthly", "at", "00:00 to 23:59"}, {15, "monthly", "day", "1 to 31, or last"},
	    {16, "monthly", "keep", "1 to 10000"}, {17, "monthly", "keep", "given twice"},
	    {19, "trail", "checkpoint_seconds", "10 to 3600"});
}

/* What inih would silently pass over: empty unknown sections, text behind brackets, continuations,
 * lines too long, zero bytes. */
static void test_hidden_mistakes(void **state)
{
	char longer[400];
	(void)state;

	EXPECT_MISTAKES("[nothing]\n[trail]\n", {1, "nothing", "", "no such section"});
	EXPECT_MISTAKES("[trail]\n[other]", {2, "other", "", "no such section"});
	EXPECT_MISTAKES("[trail] checkpoint_seconds = 60\n",
			{1, "trail] checkpoint_seconds = 60", "", "follow"});
	EXPECT_MISTAKES("[trail\ncheckpoint_seconds = 60\n", {1, "trail", "", "missing"});
	EXPECT_MISTAKES("[trail]\ncheckpoint_seconds = 60\n  checkpoint_seconds = 70\n",
			{3, "trail", "checkpoint_seconds", "given twice"});
	EXPECT_MISTAKES("[trail]\ncheckpoint_seconds = 60\n [daily]\n",
			{3, "daily", "kind", "missing"}, {3, "daily", "at", "missing"},
			{3, "daily", "keep", "missing"}, {3, "daily", "", "no [repository"});
	EXPECT_MISTAKES("[trail]\n\0checkpoint_seconds = 5\n",
			{2, "trail", "", "control character"});
	EXPECT_MISTAKES("[trail]\nx\033[2J = 5\n", {2, "trail", "", "control character"});
	snprintf(longer, sizeof(longer), "[trail]\n#%0250d\n", 0);
	expect_mistakes(longer, strlen(longer), &(struct expected){2, "trail", "", "longer"}, 1);
}

static void test_places(void **state)
{
	char many[2000] = "";
	(void)state;

	EXPECT_MISTAKES("[repository a]\nurl = /x\n[repository b]\nurl = /x\n",
			{4, "repository b", "url", "another"});
	EXPECT_MISTAKES("[repository a]\n", {1, "repository a", "url", "missing"});
	EXPECT_MISTAKES("[repository]\nurl = /x\n", {2, "repository", "url", "no such section"});
	EXPECT_MISTAKES("[repository ]\nurl = /x\n", {2, "repository", "url", "no such section"});
	EXPECT_MISTAKES("[repository a/b]\nurl = /x\n", {1, "repository a/b", "", "no /"});
	EXPECT_MISTAKES("[medium tape]\npath = /x\n", {1, "medium tape", "kept", "missing"});
	EXPECT_MISTAKES("[medium tape]\nkept = somewhere\n",
			{2, "medium tape", "kept", "department or platform"});
	EXPECT_MISTAKES("[daily]\nkind = full\nat = 01:00\nkeep = 1\n",
			{1, "daily", "", "no [repository NAME]"});
	for (int i = 0; i < 17; i++)
		sprintf(many + strlen(many), "[repository r%d]\nurl = /r%d\n", i, i);
	expect_mistakes(many, strlen(many),
			&(struct expected){33, "repository r16", "", "more than 16"}, 1);
}

/* A name is kept whole, up to the longest one. */
static void test_long_names(void **state)
{
	char name[80], text[200];
	struct conf_mistakes m;
	struct conf c;
	(void)state;

	memset(name, 'n', sizeof(name));
	name[63] = 0;
	int n = snprintf(text, sizeof(text), "[repository %s]\nurl = /x\n", name);
	assert_int_equal(conf_check(text, (size_t)n, &c, &m), 0);
	assert_string_equal(c.repositories[0].name, name);
	name[63] = 'n';
	name[64] = 0;
	n = snprintf(text, sizeof(text), "[repository %s]\nurl = /x\n", name);
	assert_int_equal(conf_check(text, (size_t)n, &c, &m), -EINVAL);
	assert_non_null(strstr(m.list[0].why, "1 to 63"));
}

/* More mistakes than there is room for are counted; the short form names the first and how many
 * follow. */
static void test_many_mistakes(void **state)
{
	static char text[4000];
	struct conf_mistakes m;
	struct diag d = {0};
	struct conf c;
	(void)state;

	strcpy(text, "[trail]\n");
	for (int i = 0; i < 100; i++)
		sprintf(text + strlen(text), "key%d = 1\n", i);
	assert_int_equal(conf_check(text, strlen(text), &c, &m), -EINVAL);
	assert_int_equal(m.n_all, 100);
	assert_int_equal(m.n, CONF_MISTAKES_MAX);
	assert_int_equal(conf_parse(text, "coffer.conf", &c, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_POLICY);
	assert_non_null(strstr(d.object, "coffer.conf line 2, [trail] key0: "));
	assert_non_null(strstr(d.object, "(and 99 more)"));
}

/* A byte order mark, carriage returns, blanks and comments are no mistakes. */
static void test_forms_of_files(void **state)
{
	struct conf c;
	(void)state;

	parse("\xef\xbb\xbf[ trail ]\r\n; a comment\r\n\r\n  checkpoint_seconds=90 ; so often\r\n",
	      &c);
	assert_int_equal(c.checkpoint_seconds, 90);
	parse("[trail]\ncheckpoint_seconds: 90", &c);
	assert_int_equal(c.checkpoint_seconds, 90);
}

/* --- tiers as text --- */

static void test_tier_text(void **state)
{
	static const char *const wrong[] = {
	    "",       " ",    "daily ",      " daily", "daily  weekly", "daily daily",
	    "hourly", "dail", "daily,weekly"};
	char text[POLICY_TIERS_MAX + 1];
	unsigned t;
	(void)state;

	assert_int_equal(policy_tiers_parse("monthly daily", &t), 0);
	policy_tiers_text(t, text);
	assert_string_equal(text, "daily monthly");
	policy_tiers_text(7, text);
	assert_string_equal(text, "daily weekly monthly");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(policy_tiers_parse(wrong[i], &t), -EINVAL);
	assert_int_equal(policy_tiers_of("daily weekly"),
			 POLICY_TIER(CONF_DAILY) | POLICY_TIER(CONF_WEEKLY));
	assert_int_equal(policy_tiers_of("by hand"), 0);
}

/* --- due --- */

/* daily incremental 01:30, weekly full Saturday 02:00, monthly full last day 23:59 */
static struct policy_due due_at(const struct conf *c, const char *now,
				const struct policy_set *sets, size_t n)
{
	struct policy_due due;

	policy_due(c, sets, n, utc(now), &due);
	return due;
}

#define SETS(...)                                                                                  \
	(const struct policy_set[]){__VA_ARGS__},                                                  \
	    sizeof((const struct policy_set[]){__VA_ARGS__}) / sizeof(struct policy_set)
#define D POLICY_TIER(CONF_DAILY)
#define W POLICY_TIER(CONF_WEEKLY)
#define M POLICY_TIER(CONF_MONTHLY)

/* A repository without sets: one run serves all tiers, and is full because one of them is. */
static void test_first_run(void **state)
{
	struct conf c;
	(void)state;

	zone("Asia/Shanghai");
	parse(whole, &c);
	struct policy_due due = due_at(&c, "2026-11-28T10:00:00Z", NULL, 0);
	assert_int_equal(due.tiers, D | W | M);
	assert_true(due.full);
	due = due_at(&c, "2026-11-28T10:00:00Z",
		     SETS({"daily weekly monthly", utc("2026-11-28T09:59:00Z")}));
	assert_int_equal(due.tiers, 0);
	assert_false(due.full);
}

/* From the appointment on, and only when no set of that tier has been taken since. */
static void test_due_by_the_minute(void **state)
{
	const int64_t before = utc("2026-11-26T10:00:00Z");
	struct conf c;
	(void)state;

	zone("Asia/Shanghai");
	parse(whole, &c);
	/* Thursday 26th 18:00; next daily is Friday 01:30 local = 26th 17:30Z. */
	assert_int_equal(
	    due_at(&c, "2026-11-26T17:29:59Z", SETS({"daily weekly monthly", before})).tiers, 0);
	struct policy_due due =
	    due_at(&c, "2026-11-26T17:30:00Z", SETS({"daily weekly monthly", before}));
	assert_int_equal(due.tiers, D);
	assert_false(due.full);
	assert_int_equal(due.tier[CONF_DAILY].newest, before);
	assert_int_equal(due.tier[CONF_DAILY].next, utc("2026-11-27T17:30:00Z"));
	/* A set of another tier does not serve it. */
	due =
	    due_at(&c, "2026-11-26T18:00:00Z",
		   SETS({"daily weekly monthly", before}, {"weekly", utc("2026-11-26T17:45:00Z")}));
	assert_int_equal(due.tiers, D);
	due =
	    due_at(&c, "2026-11-26T18:00:00Z",
		   SETS({"daily weekly monthly", before}, {"daily", utc("2026-11-26T17:30:00Z")}));
	assert_int_equal(due.tiers, 0);
	/* Saturday 02:00 local: after the daily set of 01:30, only the weekly one is due, and it is
	 * full. */
	due =
	    due_at(&c, "2026-11-27T18:00:00Z",
		   SETS({"daily weekly monthly", before}, {"daily", utc("2026-11-27T17:31:00Z")}));
	assert_int_equal(due.tiers, W);
	assert_true(due.full);
}

/* Many appointments missed are caught up by one run. */
static void test_caught_up_once(void **state)
{
	struct conf c;
	(void)state;

	zone("Europe/Berlin");
	parse(whole, &c);
	struct policy_due due = due_at(&c, "2026-11-28T12:00:00Z",
				       SETS({"daily weekly monthly", utc("2026-08-01T00:00:00Z")}));
	assert_int_equal(due.tiers, D | W | M);
	due = due_at(&c, "2026-11-28T12:10:00Z",
		     SETS({"daily weekly monthly", utc("2026-08-01T00:00:00Z")},
			  {"daily weekly monthly", utc("2026-11-28T12:05:00Z")}));
	assert_int_equal(due.tiers, 0);
}

/* After the clock was set back, sets from the future neither count nor block, and are told. */
static void test_clock_set_back(void **state)
{
	const int64_t future = utc("2027-05-01T00:00:00Z");
	struct conf c;
	(void)state;

	zone("Europe/Berlin");
	parse(whole, &c);
	struct policy_due due =
	    due_at(&c, "2026-11-28T12:00:00Z", SETS({"daily weekly monthly", future}));
	assert_int_equal(due.tiers, D | W | M);
	assert_int_equal(due.n_future, 1);
	assert_int_equal(due.future, future);
	/* The set that is then taken counts, so that it happens once. */
	due = due_at(&c, "2026-11-28T12:15:00Z",
		     SETS({"daily weekly monthly", future},
			  {"daily weekly monthly", utc("2026-11-28T12:00:05Z")}));
	assert_int_equal(due.tiers, 0);
	assert_int_equal(due.n_future, 1);
	/* Seconds between two clocks are nothing to speak of. */
	due = due_at(&c, "2026-11-28T12:15:00Z",
		     SETS({"daily weekly monthly", utc("2026-11-28T12:15:09Z")}));
	assert_int_equal(due.tiers, 0);
	assert_int_equal(due.n_future, 0);
}

static void test_not_wanted(void **state)
{
	struct conf c;
	(void)state;

	zone("UTC");
	parse(whole, &c);
	c.backup_wanted = false;
	assert_int_equal(due_at(&c, "2026-11-28T12:00:00Z", NULL, 0).tiers, 0);
	assert_non_null(policy_remark(&c));
	parse("", &c);
	assert_int_equal(due_at(&c, "2026-11-28T12:00:00Z", NULL, 0).tiers, 0);
	assert_non_null(policy_remark(&c));
	parse(whole, &c);
	assert_null(policy_remark(&c));
	c.tiers[CONF_WEEKLY].full = c.tiers[CONF_MONTHLY].full = false;
	assert_non_null(policy_remark(&c));
}

/* --- a year --- */

struct year {
	struct conf c;
	struct policy_set sets[3];
	unsigned n_runs, n[CONF_N_TIERS], n_full;
};

/* A timer that fires every quarter of an hour, but not while off(t). */
static void live(struct year *y, int64_t from, int64_t to, bool (*off)(int64_t t))
{
	static const char *const names[] = {"daily", "weekly", "monthly"};

	for (int64_t now = from; now < to; now += 900) {
		struct policy_due due;

		if (off && off(now))
			continue;
		policy_due(&y->c, y->sets, 3, now, &due);
		y->n_runs += due.tiers != 0;
		y->n_full += due.full;
		for (int t = 0; t < CONF_N_TIERS; t++) {
			if (!(due.tiers & POLICY_TIER(t)))
				continue;
			y->n[t]++;
			y->sets[t] = (struct policy_set){names[t], now};
		}
	}
}

static struct year year_begin(int64_t from)
{
	struct year y = {.sets = {{"daily", from}, {"weekly", from}, {"monthly", from}}};

	parse(whole, &y.c);
	return y;
}

static bool nights_off(int64_t t)
{
	time_t at = (time_t)t;
	struct tm tm;

	localtime_r(&at, &tm);
	return tm.tm_hour < 8 || tm.tm_hour >= 18;
}

/* A leap year in each zone: each appointment is served once, through both changes of the clock. */
static void test_a_year(void **state)
{
	static const char *const zones[] = {"Asia/Shanghai", "Europe/Berlin", "America/New_York"};
	(void)state;

	for (size_t z = 0; z < 3; z++) {
		zone(zones[z]);
		int64_t from = calendar_instant(2028, 1, 1, 0, 0),
			to = calendar_instant(2029, 1, 1, 0, 0);
		struct year y = year_begin(from);
		live(&y, from, to, NULL);
		assert_int_equal(y.n[CONF_DAILY], 366);
		assert_int_equal(y.n[CONF_WEEKLY], 53); /* 2028 begins on a Saturday */
		assert_int_equal(y.n[CONF_MONTHLY],
				 11); /* the last one's quarter of an hour is in the next year */
		assert_int_equal(y.n_full, 53 + 11);
		/* A host that is off at night catches up in the morning: as many sets, but one run
		 * serves what coincides. */
		y = year_begin(from);
		live(&y, from, to, nights_off);
		assert_int_equal(y.n[CONF_DAILY], 366);
		assert_int_equal(y.n[CONF_WEEKLY], 53);
		assert_int_equal(y.n[CONF_MONTHLY], 11);
		assert_int_equal(y.n_runs, 366);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_fields),       cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_written_and_read), cmocka_unit_test(test_all_mistakes_at_once),
	    cmocka_unit_test(test_hidden_mistakes),  cmocka_unit_test(test_places),
	    cmocka_unit_test(test_long_names),       cmocka_unit_test(test_many_mistakes),
	    cmocka_unit_test(test_forms_of_files),   cmocka_unit_test(test_tier_text),
	    cmocka_unit_test(test_first_run),        cmocka_unit_test(test_due_by_the_minute),
	    cmocka_unit_test(test_caught_up_once),   cmocka_unit_test(test_clock_set_back),
	    cmocka_unit_test(test_not_wanted),       cmocka_unit_test(test_a_year),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
