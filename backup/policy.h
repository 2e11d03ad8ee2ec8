/*
 * The backup policy: which tiers are due, judged by the sets that a repository holds.
 *
 * A tier is due when no set of it was taken at or after its latest appointment. So an appointment
 * that was missed, or many of them, is caught up once; one run serves all tiers that are due, and
 * is full when one of them asks for that. A set that is dated in the future, because the clock was
 * set back since, counts for nothing here: it must not hold back backups until its date comes.
 * Pure: now is a parameter. Thread-safe.
 */
#ifndef COFFER_BACKUP_POLICY_H
#define COFFER_BACKUP_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backup/calendar.h"
#include "core/conf.h"

/* A set's date may be ahead of now by so much, in seconds, without being called future: clocks are
 * adjusted all the time. */
#define POLICY_CLOCK_SLACK 300

#define POLICY_TIERS_MAX 63

/* Tiers as a set of bits, 1 << CONF_DAILY ... */
#define POLICY_TIER(t) (1u << (t))

/* "daily weekly" in any order, each once; nothing else. -EINVAL. */
int policy_tiers_parse(const char *text, unsigned *ret);
/* In the order daily, weekly, monthly; "" for none. */
void policy_tiers_text(unsigned tiers, char out[POLICY_TIERS_MAX + 1]);
/* The known tiers in a manifest's text; whatever else stands there is passed over. */
unsigned policy_tiers_of(const char *text);

void policy_rule(const struct conf *c, enum conf_tier_name t, struct calendar_rule *ret);

struct policy_set {
	const char *tiers;
	int64_t time;
};
struct policy_due {
	unsigned tiers; /* due; 0 nothing */
	bool full;
	struct {
		int64_t last;   /* its latest appointment */
		int64_t next;   /* the one after now */
		int64_t newest; /* time of its newest set; INT64_MIN none */
	} tier[CONF_N_TIERS];   /* where conf has the tier */
	size_t n_future;        /* sets dated after now */
	int64_t future;         /* the latest of those dates */
};
/* Nothing is due when backups are not wanted. */
void policy_due(const struct conf *c, const struct policy_set *sets, size_t n, int64_t now,
		struct policy_due *ret);

#define POLICY_NEVER INT64_MIN
/*
 * Whether a restore drill is due: passed is the time of the newest one that passed, POLICY_NEVER
 * when there is none. One that failed proves nothing, so it stays due. An hour is allowed for, so
 * that a timer which calls at the same time of day is not a day late each time.
 */
bool policy_drill_due(const struct conf *c, int64_t passed, int64_t now);
/* A sentence about something in c that is allowed but likely not meant; NULL when there is none. */
const char *policy_remark(const struct conf *c);

#endif
