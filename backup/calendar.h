/*
 * When a recurring appointment took place last and takes place next, in the local time of the
 * process (TZ).
 *
 * An appointment is a time of day on every day, on a weekday, or on a day of the month. What the
 * local calendar does not make plain is settled so:
 * - a time that daylight saving skips: the instant the clocks went forward (02:30 on such a night
 * is 03:00)
 * - a time that comes twice when clocks go back: the first of the two, and only that one
 * - a day that a month lacks: its last day (31 in April is the 30th; 29 to 31 in February the 28th,
 * or 29th) Pure: now is a parameter, nothing is read but the time zone. Thread-safe.
 */
#ifndef COFFER_BACKUP_CALENDAR_H
#define COFFER_BACKUP_CALENDAR_H

#include <stdint.h>
#include <time.h>

enum calendar_every { CALENDAR_DAY, CALENDAR_WEEK, CALENDAR_MONTH };

struct calendar_rule {
	enum calendar_every every;
	unsigned hour, minute;
	unsigned weekday; /* of CALENDAR_WEEK: 0 Sunday .. 6 */
	unsigned day;     /* of CALENDAR_MONTH: 1 .. 31 */
};

/* The newest appointment at or before now. */
int64_t calendar_last(const struct calendar_rule *r, int64_t now);
/* The first one after now. */
int64_t calendar_next(const struct calendar_rule *r, int64_t now);

/* The instant of a local date (month 1..12) and time, as settled above. */
int64_t calendar_instant(int year, unsigned month, unsigned day, unsigned hour, unsigned minute);
unsigned calendar_days_in_month(int year, unsigned month);

#endif
