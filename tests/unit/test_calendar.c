/*
 * Appointments in local time: every one comes exactly once, whatever daylight saving, leap years
 * and short months do.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/calendar.h"

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

static struct calendar_rule daily(unsigned hour, unsigned minute)
{
	return (struct calendar_rule){.every = CALENDAR_DAY, .hour = hour, .minute = minute};
}

static struct calendar_rule weekly(unsigned weekday, unsigned hour, unsigned minute)
{
	return (struct calendar_rule){
	    .every = CALENDAR_WEEK, .weekday = weekday, .hour = hour, .minute = minute};
}

static struct calendar_rule monthly(unsigned day, unsigned hour, unsigned minute)
{
	return (struct calendar_rule){
	    .every = CALENDAR_MONTH, .day = day, .hour = hour, .minute = minute};
}

#define expect_last(r, now, want) assert_int_equal(calendar_last(&(r), utc(now)), utc(want))
#define expect_next(r, now, want) assert_int_equal(calendar_next(&(r), utc(now)), utc(want))

/* The appointment itself belongs to the past, the second before it does not. */
static void test_borders(void **state)
{
	struct calendar_rule r = daily(1, 30);
	(void)state;

	zone("Asia/Shanghai");
	expect_last(r, "2026-06-09T17:30:00Z", "2026-06-09T17:30:00Z");
	expect_last(r, "2026-06-09T17:29:59Z", "2026-06-08T17:30:00Z");
	expect_next(r, "2026-06-09T17:30:00Z", "2026-06-10T17:30:00Z");
	expect_next(r, "2026-06-09T17:29:59Z", "2026-06-09T17:30:00Z");
}

/* Asia/Shanghai: no daylight saving today; the years that had it are still right. */
static void test_shanghai(void **state)
{
	struct calendar_rule r = daily(0, 0), w = weekly(1, 8, 0), d = daily(2, 30);
	(void)state;

	zone("Asia/Shanghai");
	expect_last(r, "2026-12-31T16:00:00Z", "2026-12-31T16:00:00Z");
	expect_next(r, "2026-12-31T15:59:59Z", "2026-12-31T16:00:00Z");
	expect_next(w, "2026-11-28T10:00:00Z", "2026-11-30T00:00:00Z");
	expect_last(w, "2026-11-28T10:00:00Z", "2026-11-23T00:00:00Z");
	/* 1991-04-14 02:00 to 03:00 did not exist. */
	expect_next(d, "1991-04-13T12:00:00Z", "1991-04-13T18:00:00Z");
}

/* A time that is skipped takes place when the clocks go forward; the days around it are not
 * shifted. */
static void test_skipped_hour(void **state)
{
	struct calendar_rule r = daily(2, 30);
	(void)state;

	zone("Europe/Berlin");
	expect_last(r, "2026-03-28T12:00:00Z", "2026-03-28T01:30:00Z");
	expect_next(r, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z");
	expect_last(r, "2026-03-29T00:59:59Z", "2026-03-28T01:30:00Z");
	expect_last(r, "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z");
	expect_next(r, "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z");
	zone("America/New_York");
	expect_next(r, "2026-03-08T06:59:59Z", "2026-03-08T07:00:00Z");
	expect_next(r, "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z");
	/* Where the hour after midnight is skipped, the appointment stays on its day. */
	r = daily(0, 30);
	zone("Africa/Cairo");
	expect_next(r, "2026-04-23T12:00:00Z", "2026-04-23T22:00:00Z");
	expect_next(r, "2026-04-23T22:00:00Z", "2026-04-24T21:30:00Z");
}

/* A time that comes twice takes place the first time, and not again an hour later. */
static void test_repeated_hour(void **state)
{
	struct calendar_rule r = daily(2, 30);
	(void)state;

	zone("Europe/Berlin");
	expect_next(r, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z");
	expect_last(r, "2026-10-25T00:30:00Z", "2026-10-25T00:30:00Z");
	expect_last(r, "2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z");
	expect_last(r, "2026-10-25T01:29:00Z", "2026-10-25T00:30:00Z");
	expect_next(r, "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
	r = daily(1, 15);
	zone("America/New_York");
	expect_next(r, "2026-11-01T00:00:00Z", "2026-11-01T05:15:00Z");
	expect_next(r, "2026-11-01T05:15:00Z", "2026-11-02T06:15:00Z");
	expect_last(r, "2026-11-01T06:20:00Z", "2026-11-01T05:15:00Z");
}

/* A day that a month lacks is its last day; the 31st and "last" are the same in every month. */
static void test_month_ends(void **state)
{
	struct calendar_rule last = monthly(31, 3, 0), thirty = monthly(30, 3, 0),
			     leap = monthly(29, 3, 0);
	(void)state;

	zone("UTC");
	expect_next(last, "2026-04-01T00:00:00Z", "2026-04-30T03:00:00Z");
	expect_next(last, "2026-04-30T03:00:00Z", "2026-05-31T03:00:00Z");
	expect_next(last, "2026-02-01T00:00:00Z", "2026-02-28T03:00:00Z");
	expect_last(last, "2026-03-30T00:00:00Z", "2026-02-28T03:00:00Z");
	expect_next(thirty, "2026-02-01T00:00:00Z", "2026-02-28T03:00:00Z");
	expect_next(thirty, "2026-02-28T03:00:00Z", "2026-03-30T03:00:00Z");
	expect_next(leap, "2027-02-01T00:00:00Z", "2027-02-28T03:00:00Z");
	expect_next(leap, "2028-02-01T00:00:00Z", "2028-02-29T03:00:00Z");
	expect_next(leap, "2028-02-28T23:00:00Z", "2028-02-29T03:00:00Z");
	expect_last(last, "2027-01-01T00:00:00Z", "2026-12-31T03:00:00Z");
	/* The local month counts, not UTC's. */
	zone("Asia/Shanghai");
	expect_next(last, "2026-04-29T19:00:00Z", "2026-05-30T19:00:00Z");
	expect_last(last, "2026-04-29T19:00:00Z", "2026-04-29T19:00:00Z");
}

static void test_days_in_month(void **state)
{
	(void)state;
	assert_int_equal(calendar_days_in_month(2000, 2), 29);
	assert_int_equal(calendar_days_in_month(2100, 2), 28);
	assert_int_equal(calendar_days_in_month(2028, 2), 29);
	assert_int_equal(calendar_days_in_month(2027, 2), 28);
	assert_int_equal(calendar_days_in_month(2026, 4), 30);
	assert_int_equal(calendar_days_in_month(2026, 12), 31);
}

/* A day that a country leaves out, as Samoa did on 2011-12-30. */
static void test_skipped_day(void **state)
{
	struct calendar_rule r = daily(12, 0);
	(void)state;

	zone("Pacific/Apia");
	expect_last(r, "2011-12-30T09:59:59Z", "2011-12-29T22:00:00Z");
	expect_last(r, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z");
	expect_next(r, "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z");
}

/* ---- against a clock that is watched minute by minute ---- */

#define OCCURRENCES_MAX 800

static unsigned days_since(const struct tm *tm)
{
	struct tm date = {.tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday};

	return (unsigned)(timegm(&date) / 86400);
}

/* Whether the rule has an appointment on a date, said anew and otherwise than in calendar.c. */
static bool has_appointment(const struct calendar_rule *r, unsigned date)
{
	time_t t = (time_t)date * 86400, next = t + 86400;
	struct tm tm, tomorrow;

	gmtime_r(&t, &tm);
	gmtime_r(&next, &tomorrow);
	if (r->every == CALENDAR_WEEK)
		return (unsigned)tm.tm_wday == r->weekday;
	if (r->every == CALENDAR_MONTH)
		return (unsigned)tm.tm_mday == r->day ||
		       ((unsigned)tm.tm_mday < r->day && tomorrow.tm_mon != tm.tm_mon);
	return true;
}

/* The instants at which a clock on the wall first shows each appointment, or a later time. */
static size_t watch(const struct calendar_rule *r, int64_t from, int64_t to, int64_t *ret)
{
	unsigned due = 0;
	size_t n = 0;

	for (int64_t t = from; t < to; t += 60) {
		time_t at = (time_t)t;
		struct tm tm;

		localtime_r(&at, &tm);
		unsigned minute = (unsigned)tm.tm_hour * 60 + (unsigned)tm.tm_min,
			 date = days_since(&tm);
		if (due == 0)
			due = date + 1;
		while (!has_appointment(r, due))
			due++;
		if (date > due || (date == due && minute >= r->hour * 60 + r->minute)) {
			assert_true(n < OCCURRENCES_MAX);
			ret[n++] = t;
			due++;
		}
	}
	return n;
}

static void compare(const struct calendar_rule *r, const char *from, const char *to)
{
	int64_t *seen = malloc(OCCURRENCES_MAX * sizeof(*seen));

	assert_non_null(seen);
	size_t n = watch(r, utc(from), utc(to), seen);
	assert_true(n > 10);
	for (size_t i = 1; i < n; i++) {
		assert_int_equal(calendar_last(r, seen[i]), seen[i]);
		assert_int_equal(calendar_last(r, seen[i] - 1), seen[i - 1]);
		assert_int_equal(calendar_next(r, seen[i] - 1), seen[i]);
		assert_int_equal(calendar_next(r, seen[i - 1]), seen[i]);
		for (int64_t t = seen[i - 1]; t < seen[i]; t += 7001)
			assert_int_equal(calendar_last(r, t), seen[i - 1]);
	}
	free(seen);
}

/* Two years in zones of every kind: none missed, none twice, each at the instant that the wall
 * clock shows. */
static void test_against_a_watched_clock(void **state)
{
	static const char *const zones[] = {"Asia/Shanghai", "Europe/Berlin", "America/New_York",
					    "Australia/Lord_Howe", "Africa/Cairo"};
	(void)state;

	for (size_t z = 0; z < sizeof(zones) / sizeof(*zones); z++) {
		const struct calendar_rule rules[] = {daily(2, 30), daily(0, 0), weekly(0, 1, 59),
						      monthly(31, 2, 0)};

		zone(zones[z]);
		for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
			compare(&rules[i], "2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_borders),      cmocka_unit_test(test_shanghai),
	    cmocka_unit_test(test_skipped_hour), cmocka_unit_test(test_repeated_hour),
	    cmocka_unit_test(test_month_ends),   cmocka_unit_test(test_days_in_month),
	    cmocka_unit_test(test_skipped_day),  cmocka_unit_test(test_against_a_watched_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
