/* The sections and keys of coffer.conf: where each value goes and what form it has. */
#include "core/conf_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const tiers[] = {"daily", "weekly", "monthly"};
static const char *const weekdays[] = {"sunday",   "monday", "tuesday", "wednesday",
				       "thursday", "friday", "saturday"};
static const char *const kepts[] = {"", "department", "platform"};

const char *conf_tier_name(enum conf_tier_name t)
{
	return tiers[t];
}

const char *conf_weekday_name(unsigned weekday)
{
	return weekdays[weekday % 7];
}

const char *conf_kept_name(enum conf_kept k)
{
	return kepts[k];
}

/* --- forms of values --- */

static int parse_number(const struct conf_key *k, const char *value, void *field)
{
	unsigned n = 0;
	size_t len = strlen(value);

	if (len == 0 || len > 9 || strspn(value, "0123456789") != len)
		return -EINVAL;
	for (; *value; value++)
		n = n * 10 + (unsigned)(*value - '0');
	if (n < k->min || n > k->max)
		return -EINVAL;
	*(unsigned *)field = n;
	return 0;
}

/* The number of a word in a list; -1 when it is not there. */
static int word_in(const char *value, const char *const *words, int n)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(value, words[i]))
			return i;
	return -1;
}

static int parse_bool(const struct conf_key *k, const char *value, void *field)
{
	static const char *const words[] = {"no", "yes"};
	int i = word_in(value, words, 2);
	(void)k;

	if (i < 0)
		return -EINVAL;
	*(bool *)field = i;
	return 0;
}

/* "no", "yes", or a share: "25%" */
static int parse_share(const struct conf_key *k, const char *value, void *field)
{
	size_t len = strlen(value);
	bool all = false;
	char digits[8];

	if (parse_bool(k, value, &all) == 0) {
		*(unsigned *)field = all ? 100 : 0;
		return 0;
	}
	if (len < 2 || len >= sizeof(digits) || value[len - 1] != '%')
		return -EINVAL;
	memcpy(digits, value, len - 1);
	digits[len - 1] = 0;
	return parse_number(k, digits, field);
}

static int parse_kind(const struct conf_key *k, const char *value, void *field)
{
	static const char *const words[] = {"incremental", "full"};
	int i = word_in(value, words, 2);
	(void)k;

	if (i < 0)
		return -EINVAL;
	*(bool *)field = i;
	return 0;
}

static int parse_kept(const struct conf_key *k, const char *value, void *field)
{
	int i = word_in(value, kepts, 3);
	(void)k;

	if (i <= 0)
		return -EINVAL;
	*(enum conf_kept *)field = (enum conf_kept)i;
	return 0;
}

static int parse_weekday(const struct conf_key *k, const char *value, void *field)
{
	int i = word_in(value, weekdays, 7);
	(void)k;

	if (i < 0)
		return -EINVAL;
	*(unsigned *)field = (unsigned)i;
	return 0;
}

static int parse_day(const struct conf_key *k, const char *value, void *field)
{
	if (strcmp(value, "last") != 0)
		return parse_number(k, value, field);
	*(unsigned *)field = CONF_DAY_LAST;
	return 0;
}

/* "01:30", or "1:30" */
static int parse_clock(const struct conf_key *k, const char *value, void *field)
{
	const char *colon = strchr(value, ':');
	struct conf_clock c;
	char *end;
	(void)k;

	if (!colon || colon == value || colon - value > 2 || strlen(colon + 1) != 2 ||
	    strspn(value, "0123456789:") != strlen(value) || strchr(colon + 1, ':'))
		return -EINVAL;
	c.hour = (unsigned)strtoul(value, &end, 10);
	c.minute = (unsigned)strtoul(colon + 1, &end, 10);
	if (c.hour > 23 || c.minute > 59)
		return -EINVAL;
	*(struct conf_clock *)field = c;
	return 0;
}

/* The serving process has another working folder: a relative path would mean another place there.
 */
static int parse_url(const struct conf_key *k, const char *value, void *field)
{
	size_t len = strlen(value);
	bool absolute = *value == '/' || !strncmp(value, "file:/", 6) ||
			(strstr(value, "://") && *value != ':');
	(void)k;

	if (len > CONF_URL_MAX || !absolute)
		return -EINVAL;
	memcpy(field, value, len + 1);
	return 0;
}

static int parse_path(const struct conf_key *k, const char *value, void *field)
{
	return *value == '/' ? parse_url(k, value, field) : -EINVAL;
}

/* --- what sections are about --- */

static void *place_whole(struct conf *c, const struct conf_section *s, const char *name)
{
	(void)s, (void)name;
	return c;
}

static void *place_tier(struct conf *c, const struct conf_section *s, const char *name)
{
	(void)name;
	c->tiers[s->which].set = true;
	return &c->tiers[s->which];
}

static void *place_repository(struct conf *c, const struct conf_section *s, const char *name)
{
	(void)s;
	if (c->n_repositories == CONF_REPOSITORIES_MAX)
		return NULL;
	struct conf_repository *r = &c->repositories[c->n_repositories++];
	strcpy(r->name, name);
	return r;
}

static void *place_medium(struct conf *c, const struct conf_section *s, const char *name)
{
	(void)s;
	if (c->n_media == CONF_MEDIA_MAX)
		return NULL;
	struct conf_medium *m = &c->media[c->n_media++];
	strcpy(m->name, name);
	return m;
}

#define AT(type, field) offsetof(struct type, field)
#define FORM_KEPT "department or platform"
#define FORM_YES_NO "yes or no"
#define TIER_KIND                                                                                  \
	{                                                                                          \
		"kind", AT(conf_tier, full), true, parse_kind, 0, 0, "full or incremental"         \
	}
#define TIER_AT                                                                                    \
	{                                                                                          \
		"at", AT(conf_tier, at), true, parse_clock, 0, 0, "a time from 00:00 to 23:59"     \
	}
#define TIER_KEEP                                                                                  \
	{                                                                                          \
		"keep", AT(conf_tier, keep), true, parse_number, 1, 10000,                         \
		    "a whole number from 1 to 10000"                                               \
	}

const struct conf_section conf_sections[] = {
    {"repository",
     "NAME",
     0,
     place_repository,
     {{"url", AT(conf_repository, url), true, parse_url, 0, 0,
       "an absolute path, or a scheme and ://, of at most 180 bytes"},
      {"kept", AT(conf_repository, kept), false, parse_kept, 0, 0, FORM_KEPT}}},
    {"medium",
     "LABEL",
     0,
     place_medium,
     {{"kept", AT(conf_medium, kept), true, parse_kept, 0, 0, FORM_KEPT},
      {"path", AT(conf_medium, path), false, parse_path, 0, 0,
       "an absolute path of at most 180 bytes"}}},
    {"backup",
     NULL,
     0,
     place_whole,
     {{"wanted", AT(conf, backup_wanted), false, parse_bool, 0, 0, FORM_YES_NO},
      {"verify_after", AT(conf, verify_after), false, parse_share, 1, 99,
       "yes, no, or a share of the records from 1% to 99%"},
      {"read_mib", AT(conf, read_mib), false, parse_number, 0, 100000,
       "a whole number from 0 (no limit) to 100000"},
      {"write_mib", AT(conf, write_mib), false, parse_number, 0, 100000,
       "a whole number from 0 (no limit) to 100000"},
      {"grace_hours", AT(conf, grace_hours), false, parse_number, 1, 8760,
       "a whole number from 1 to 8760"},
      {"parity", AT(conf, parity), false, parse_number, 0, 50,
       "a whole number from 0 (none) to 50, in percent"},
      {"merge_after", AT(conf, merge_after), false, parse_number, 0, 1000,
       "a whole number from 0 (never) to 1000"},
      {"drill_days", AT(conf, drill_days), false, parse_number, 0, 366,
       "a whole number from 0 (none) to 366"},
      {"drill_files", AT(conf, drill_files), false, parse_number, 1, 100000,
       "a whole number from 1 to 100000"}}},
    {"daily", NULL, CONF_DAILY, place_tier, {TIER_KIND, TIER_AT, TIER_KEEP}},
    {"weekly",
     NULL,
     CONF_WEEKLY,
     place_tier,
     {TIER_KIND,
      TIER_AT,
      TIER_KEEP,
      {"weekday", AT(conf_tier, weekday), true, parse_weekday, 0, 0,
       "a day from sunday to saturday"}}},
    {"monthly",
     NULL,
     CONF_MONTHLY,
     place_tier,
     {TIER_KIND,
      TIER_AT,
      TIER_KEEP,
      {"day", AT(conf_tier, day), true, parse_day, 1, 31, "a whole number from 1 to 31, or last"}}},
    {"trail",
     NULL,
     0,
     place_whole,
     {{"checkpoint_seconds", AT(conf, checkpoint_seconds), false, parse_number, 10, 3600,
       "a whole number from 10 to 3600"}}},
    {0},
};
