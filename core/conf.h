/*
 * coffer.conf of a volume: STORE/coffer.conf, an INI file. What it says, and every mistake in it.
 *
 *   [repository NAME]        online; any number, the first is where `backup run` writes
 *   url = /path              a folder
 *   kept = department        with whom it lies: department or platform
 *   [medium LABEL]           offline; any number
 *   kept = department
 *   path = /media/disk       where its repository shows when it is attached
 *   [backup]
 *   wanted = yes             no: nothing is ever due
 *   verify_after = no        yes: the serving process opens every record of a new set; 25%: so many of them, at random
 *   read_mib = 0             0..100000 MiB a second read of the volume by a backup; 0: no limit
 *   write_mib = 0            0..100000 MiB a second put into a repository and read back; 0: no limit
 *   grace_hours = 24         1..8760, from the removal of a manifest to that of its packs
 *   parity = 0               0..50 %, of parity beside the objects of a set; 0: none
 *   merge_after = 0          0..1000, so many sets that others merely build on are merged; 0: never
 *   drill_days = 0           0..366, a restore drill every so many days; 0: none
 *   drill_files = 20         1..100000, drawn at random for a drill
 *   [daily], [weekly], [monthly]     a tier without a section is not taken
 *   kind = incremental       or full
 *   at = 01:00               local time
 *   weekday = sunday         of weekly
 *   day = last               of monthly: 1..31 or last; a month that lacks the day: its last
 *   keep = 7                 1..10000 sets
 *   [trail]
 *   checkpoint_seconds = 60  10..3600
 *
 * Unknown sections and keys are mistakes, and so are keys given twice, so that a typing error is
 * found: every message names line and key. Nothing secret and nothing that weakens a promise can be
 * said here. What a schedule means is in backup/policy.h. Stateless.
 */
#ifndef COFFER_CORE_CONF_H
#define COFFER_CORE_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "core/diag.h"

#define CONF_FILE "coffer.conf"
#define CONF_REPOSITORIES_MAX 16
#define CONF_MEDIA_MAX 16
#define CONF_URL_MAX 180 /* inih reads lines of at most 200 bytes */
#define CONF_NAME_MAX 63

enum conf_kept { CONF_KEPT_UNSAID, CONF_KEPT_DEPARTMENT, CONF_KEPT_PLATFORM };

struct conf_repository {
	char name[CONF_NAME_MAX + 1];
	char url[CONF_URL_MAX + 1];
	enum conf_kept kept;
};
struct conf_medium {
	char name[CONF_NAME_MAX + 1]; /* the label on it */
	char path[CONF_URL_MAX + 1];  /* "" not said */
	enum conf_kept kept;
};

enum conf_tier_name { CONF_DAILY, CONF_WEEKLY, CONF_MONTHLY, CONF_N_TIERS };
#define CONF_DAY_LAST 31 /* in every month, since a missing day stands for the last */

struct conf_clock {
	unsigned hour, minute;
};
struct conf_tier {
	bool set; /* has a section; the rest counts only then */
	bool full;
	struct conf_clock at;
	unsigned weekday; /* of weekly: 0 Sunday .. 6 */
	unsigned day;     /* of monthly: 1 .. CONF_DAY_LAST */
	unsigned keep;
};
struct conf {
	size_t n_repositories;
	struct conf_repository repositories[CONF_REPOSITORIES_MAX];
	size_t n_media;
	struct conf_medium media[CONF_MEDIA_MAX];
	bool backup_wanted;
	unsigned verify_after; /* percent of the records; 0: none */
	unsigned read_mib, write_mib;
	unsigned grace_hours, parity, merge_after, drill_days, drill_files;
	struct conf_tier tiers[CONF_N_TIERS];
	unsigned checkpoint_seconds;
};

/* What an empty file says: backups wanted, but no tier. */
void conf_init(struct conf *c);
/* The schedule of a new volume: daily incremental (7 kept), weekly full (5), monthly full (12), at
 * night. */
void conf_default_schedule(struct conf *c);
/* "daily" .. */
const char *conf_tier_name(enum conf_tier_name t);
/* "sunday" .. */
const char *conf_weekday_name(unsigned weekday);
/* "department", "platform", or "" when it is not said. */
const char *conf_kept_name(enum conf_kept k);

#define CONF_MISTAKES_MAX 64
struct conf_mistake {
	int line;
	char section[80], key[64]; /* key "" when it is about the section or the line */
	char why[120];
};
struct conf_mistakes {
	size_t n;     /* in list, by line */
	size_t n_all; /* found */
	struct conf_mistake list[CONF_MISTAKES_MAX];
};
/* "line 3, [daily] keep: a whole number from 1 to 10000" */
void conf_mistake_text(const struct conf_mistake *m, char *out, size_t size);

/* Goes on after a mistake, so that all are found. -EINVAL with m filled and ret untouched; -ENOMEM.
 */
int conf_check(const char *text, size_t len, struct conf *ret, struct conf_mistakes *m);
/* Parses text; object names it in messages. DIAG_POLICY with the first mistake and the number of
 * others. */
int conf_parse(const char *text, const char *object, struct conf *ret, struct diag *d);
/* A missing file is an empty configuration with defaults. DIAG_POLICY. */
int conf_load(int store_fd, struct conf *ret, struct diag *d);
/* The same, with all mistakes; m->n_all is 0 when something else failed. */
int conf_load_check(int store_fd, struct conf *ret, struct conf_mistakes *m, struct diag *d);
/*
 * A file that says c, with the meaning of every key. DIAG_POLICY (-EINVAL), and nothing written, when
 * a name, url or path could not be read back as it is (" ;" begins a comment, for one).
 */
int conf_write(int store_fd, const struct conf *c, struct diag *d);

#endif
