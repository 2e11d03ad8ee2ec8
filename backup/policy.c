/* Which tiers are due. See policy.h. */
#include "backup/policy.h"

#include <errno.h>
#include <string.h>

/* The tier that the first len bytes of text name; -1 none. */
static int tier_by_word(const char *text, size_t len)
{
	for (int t = 0; t < CONF_N_TIERS; t++) {
		const char *name = conf_tier_name(t);

		if (strlen(name) == len && !memcmp(name, text, len))
			return t;
	}
	return -1;
}

int policy_tiers_parse(const char *text, unsigned *ret)
{
	unsigned tiers = 0;

	for (const char *p = text;; p++) {
		size_t n = strcspn(p, " ");
		int t = tier_by_word(p, n);

		if (t < 0 || tiers & POLICY_TIER(t))
			return -EINVAL;
		tiers |= POLICY_TIER(t);
		p += n;
		if (!*p)
			break;
	}
	*ret = tiers;
	return 0;
}

void policy_tiers_text(unsigned tiers, char out[POLICY_TIERS_MAX + 1])
{
	*out = 0;
	for (int t = 0; t < CONF_N_TIERS; t++) {
		if (!(tiers & POLICY_TIER(t)))
			continue;
		if (*out)
			strcat(out, " ");
		strcat(out, conf_tier_name(t));
	}
}

unsigned policy_tiers_of(const char *text)
{
	unsigned tiers = 0;

	while (*text) {
		size_t n = strcspn(text, " ");
		int t = tier_by_word(text, n);

		if (t >= 0)
			tiers |= POLICY_TIER(t);
		text += n + strspn(text + n, " ");
	}
	return tiers;
}

void policy_rule(const struct conf *c, enum conf_tier_name t, struct calendar_rule *ret)
{
	static const enum calendar_every every[] = {CALENDAR_DAY, CALENDAR_WEEK, CALENDAR_MONTH};
	const struct conf_tier *r = &c->tiers[t];

	*ret = (struct calendar_rule){.every = every[t],
				      .hour = r->at.hour,
				      .minute = r->at.minute,
				      .weekday = r->weekday,
				      .day = r->day};
}

static int64_t newest_of(const struct policy_set *sets, size_t n, enum conf_tier_name t,
			 int64_t latest)
{
	int64_t newest = INT64_MIN;

	for (size_t i = 0; i < n; i++)
		if (sets[i].time <= latest && sets[i].time > newest &&
		    policy_tiers_of(sets[i].tiers) & POLICY_TIER(t))
			newest = sets[i].time;
	return newest;
}

void policy_due(const struct conf *c, const struct policy_set *sets, size_t n, int64_t now,
		struct policy_due *ret)
{
	const int64_t latest = now + POLICY_CLOCK_SLACK;
	struct policy_due due = {.future = INT64_MIN};

	for (size_t i = 0; i < n; i++) {
		if (sets[i].time <= latest)
			continue;
		due.n_future++;
		if (sets[i].time > due.future)
			due.future = sets[i].time;
	}
	for (int t = 0; t < CONF_N_TIERS; t++) {
		struct calendar_rule r;

		if (!c->tiers[t].set)
			continue;
		policy_rule(c, t, &r);
		due.tier[t].last = calendar_last(&r, now);
		due.tier[t].next = calendar_next(&r, now);
		due.tier[t].newest = newest_of(sets, n, t, latest);
		if (!c->backup_wanted || due.tier[t].newest >= due.tier[t].last)
			continue;
		due.tiers |= POLICY_TIER(t);
		due.full |= c->tiers[t].full;
	}
	*ret = due;
}

const char *policy_remark(const struct conf *c)
{
	bool any = false, full = false;

	for (int t = 0; t < CONF_N_TIERS; t++) {
		any |= c->tiers[t].set;
		full |= c->tiers[t].set && c->tiers[t].full;
	}
	if (!c->backup_wanted)
		return any ? "wanted = no: the tiers below it are never taken" : NULL;
	if (!any)
		return "there is no tier ([daily], [weekly], [monthly]): nothing is ever due";
	if (!full)
		return "no tier is full: every set rests on the first one, and none can ever be "
		       "pruned";
	return NULL;
}

bool policy_drill_due(const struct conf *c, int64_t passed, int64_t now)
{
	if (!c->backup_wanted || c->drill_days == 0)
		return false;
	if (passed == POLICY_NEVER || passed > now + POLICY_CLOCK_SLACK)
		return true;
	return now >= passed + (int64_t)c->drill_days * 86400 - 3600;
}
