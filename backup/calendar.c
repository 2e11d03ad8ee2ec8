/* Appointments in local time. See calendar.h. */
#include "backup/calendar.h"

#include <stdbool.h>

#define DAY 86400
/* More than any zone is away from UTC, so that an offset from before and one from after a local
 * date are both seen. */
#define AWAY (26 * 3600)

static long offset_at(int64_t t)
{
	time_t at = (time_t)t;
	struct tm tm = {0};

	localtime_r(&at, &tm);
	return tm.tm_gmtoff;
}

/* The first instant after from at which the zone's offset differs from the one at from; there is
 * one up to to. */
static int64_t change_between(int64_t from, int64_t to)
{
	const long before = offset_at(from);

	while (to - from > 1) {
		int64_t mid = from + (to - from) / 2;

		if (offset_at(mid) == before)
			from = mid;
		else
			to = mid;
	}
	return to;
}

int64_t calendar_instant(int year, unsigned month, unsigned day, unsigned hour, unsigned minute)
{
	struct tm tm = {.tm_year = year - 1900,
			.tm_mon = (int)month - 1,
			.tm_mday = (int)day,
			.tm_hour = (int)hour,
			.tm_min = (int)minute};
	const int64_t wall = timegm(&tm);
	const long before = offset_at(wall - AWAY), after = offset_at(wall + AWAY);

	/* Under the older offset first: of two instants with this wall clock that is the earlier
	 * one. */
	if (offset_at(wall - before) == before)
		return wall - before;
	if (offset_at(wall - after) == after)
		return wall - after;
	/* The clocks pass it over. */
	return change_between(wall - AWAY, wall + AWAY);
}

unsigned calendar_days_in_month(int year, unsigned month)
{
	static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month == 2 && leap ? 29 : days[month - 1];
}

/* A calendar day, counted from 1970-01-01: dates without time zones, in UTC's arithmetic. */
static int64_t date_of(int64_t now)
{
	int64_t wall = now + offset_at(now);

	return wall >= 0 ? wall / DAY : -((-wall + DAY - 1) / DAY);
}

static struct tm fields(int64_t date)
{
	time_t t = (time_t)(date * DAY);
	struct tm tm = {0};

	gmtime_r(&t, &tm);
	return tm;
}

static bool falls_on(const struct calendar_rule *r, const struct tm *tm)
{
	unsigned n;

	switch (r->every) {
	case CALENDAR_WEEK:
		return (unsigned)tm->tm_wday == r->weekday;
	case CALENDAR_MONTH:
		n = calendar_days_in_month(tm->tm_year + 1900, (unsigned)tm->tm_mon + 1);
		return (unsigned)tm->tm_mday == (r->day < n ? r->day : n);
	default:
		return true;
	}
}

/* Date by date, away from now, which costs at most some 35 looks. */
static int64_t search(const struct calendar_rule *r, int64_t now, int step)
{
	/* One date further than now's own: around midnight a clock may go back over the date line.
	 */
	for (int64_t date = date_of(now) - step;; date += step) {
		struct tm tm = fields(date);

		if (!falls_on(r, &tm))
			continue;
		int64_t at = calendar_instant(tm.tm_year + 1900, (unsigned)tm.tm_mon + 1,
					      (unsigned)tm.tm_mday, r->hour, r->minute);
		if (step < 0 ? at <= now : at > now)
			return at;
	}
}

int64_t calendar_last(const struct calendar_rule *r, int64_t now)
{
	return search(r, now, -1);
}

int64_t calendar_next(const struct calendar_rule *r, int64_t now)
{
	return search(r, now, 1);
}
