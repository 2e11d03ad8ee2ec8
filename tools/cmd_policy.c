/* coffer policy: every mistake in coffer.conf, and what it says when there is none. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/policy.h"
#include "core/cleanup.h"
#include "core/conf.h"
#include "tools/cli.h"
#include "tools/locate.h"

static const char usage[] =
    "usage: coffer policy check VOLUME [--json]\n"
    "       coffer policy show VOLUME [--json]\n\n"
    "check  names line and key of every mistake in coffer.conf; exit code 2 when there is one.\n"
    "show   what is in force, and when each tier comes next.\n";

/* --- check --- */

static void print_mistakes(const struct conf_mistakes *m, bool json)
{
	json_t *a = json_array();
	char text[300];

	for (size_t i = 0; i < m->n; i++) {
		const struct conf_mistake *k = &m->list[i];

		conf_mistake_text(k, text, sizeof(text));
		if (!json)
			printf("%s %s\n", CONF_FILE, text);
		json_array_append_new(a,
				      json_pack("{s:i, s:s, s:s, s:s}", "line", k->line, "section",
						k->section, "key", k->key, "why", k->why));
	}
	if (m->n_all > m->n && !json)
		printf("and %zu more\n", m->n_all - m->n);
	if (json)
		cli_json(json_pack("{s:I, s:O}", "found", (json_int_t)m->n_all, "mistakes", a));
	json_decref(a);
}

static int check(const struct conf *c, const struct conf_mistakes *m, int err, bool json,
		 struct diag *d)
{
	const char *remark;

	if (err && m->n_all == 0) /* it could not be read */
		return err;
	if (err || json)
		print_mistakes(m, json);
	if (err)
		return diag_fail(d, DIAG_POLICY, err, "%s: %zu mistake%s", CONF_FILE, m->n_all,
				 m->n_all == 1 ? "" : "s");
	remark = policy_remark(c);
	if (remark)
		fprintf(stderr, "coffer: remark: %s\n", remark);
	if (!json)
		printf("coffer.conf is in order\n");
	return 0;
}

/* --- show --- */

static int64_t next_of(const struct conf *c, enum conf_tier_name t)
{
	struct calendar_rule r;

	policy_rule(c, t, &r);
	return calendar_next(&r, time(NULL));
}

/* "sunday", "the 1st day" .. of the tiers that have one. */
static void day_text(const struct conf_tier *r, enum conf_tier_name t, char out[32])
{
	*out = 0;
	if (t == CONF_WEEKLY)
		snprintf(out, 32, "on %s ", conf_weekday_name(r->weekday));
	else if (t == CONF_MONTHLY && r->day == CONF_DAY_LAST)
		snprintf(out, 32, "on the last day ");
	else if (t == CONF_MONTHLY)
		snprintf(out, 32, "on day %u ", r->day);
}

static void print_tiers(const struct conf *c)
{
	char day[32], when[32];

	for (int t = 0; t < CONF_N_TIERS; t++) {
		const struct conf_tier *r = &c->tiers[t];

		if (!r->set) {
			printf("%s: none\n", conf_tier_name(t));
			continue;
		}
		day_text(r, t, day);
		cli_time(next_of(c, t), when);
		printf("%s: %s, %sat %02u:%02u, the last %u kept; next %s\n", conf_tier_name(t),
		       r->full ? "full" : "incremental", day, r->at.hour, r->at.minute, r->keep,
		       c->backup_wanted ? when : "never");
	}
}

static void print_conf(const struct conf *c)
{
	for (size_t i = 0; i < c->n_repositories; i++) {
		const struct conf_repository *r = &c->repositories[i];
		printf("repository %s: %s%s%s\n", r->name, r->url,
		       r->kept ? ", kept with the " : "", conf_kept_name(r->kept));
	}
	for (size_t i = 0; i < c->n_media; i++) {
		const struct conf_medium *m = &c->media[i];
		printf("offline medium %s: kept with the %s%s%s\n", m->name,
		       conf_kept_name(m->kept), *m->path ? ", attached at " : "", m->path);
	}
	printf("backups: %s\n", c->backup_wanted ? "wanted" : "not wanted");
	print_tiers(c);
	if (c->verify_after == 0 || c->verify_after == 100)
		printf("verification after a backup: %s\n",
		       c->verify_after ? "every record" : "none beyond the read-back of packs");
	else
		printf("verification after a backup: %u %% of the records\n", c->verify_after);
	if (c->read_mib)
		printf("a backup reads at most %u MiB a second\n", c->read_mib);
	if (c->write_mib)
		printf("a backup writes at most %u MiB a second\n", c->write_mib);
	printf("packs of removed sets go after %u h\n", c->grace_hours);
	if (c->parity)
		printf("parity: %u %% of each pack\n", c->parity);
	if (c->merge_after)
		printf("%u sets that others merely build on are merged\n", c->merge_after);
	if (c->drill_days)
		printf("restore drill every %u days on %u files\n", c->drill_days, c->drill_files);
	else
		printf("restore drill: none\n");
	printf("trail checkpoint every %u s\n", c->checkpoint_seconds);
}

static json_t *tier_json(const struct conf *c, enum conf_tier_name t)
{
	const struct conf_tier *r = &c->tiers[t];
	char at[16];

	if (!r->set)
		return json_null();
	snprintf(at, sizeof(at), "%02u:%02u", r->at.hour, r->at.minute);
	json_t *j =
	    json_pack("{s:s, s:s, s:I, s:I}", "kind", r->full ? "full" : "incremental", "at", at,
		      "keep", (json_int_t)r->keep, "next", (json_int_t)next_of(c, t));
	if (j && t == CONF_WEEKLY)
		json_object_set_new(j, "weekday", json_string(conf_weekday_name(r->weekday)));
	if (j && t == CONF_MONTHLY)
		json_object_set_new(
		    j, "day", r->day == CONF_DAY_LAST ? json_string("last") : json_integer(r->day));
	return j;
}

static json_t *conf_json(const struct conf *c)
{
	json_t *repos = json_array(), *media = json_array();

	for (size_t i = 0; i < c->n_repositories; i++)
		json_array_append_new(repos,
				      json_pack("{s:s, s:s, s:s}", "name", c->repositories[i].name,
						"url", c->repositories[i].url, "kept",
						conf_kept_name(c->repositories[i].kept)));
	for (size_t i = 0; i < c->n_media; i++)
		json_array_append_new(media, json_pack("{s:s, s:s, s:s}", "label", c->media[i].name,
						       "path", c->media[i].path, "kept",
						       conf_kept_name(c->media[i].kept)));
	return json_pack("{s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:I}", "repositories",
			 repos, "media", media, "wanted", c->backup_wanted, "verify_after",
			 (json_int_t)c->verify_after, "read_mib", (json_int_t)c->read_mib, "write_mib",
			 (json_int_t)c->write_mib, "grace_hours", (json_int_t)c->grace_hours, "parity", (json_int_t)c->parity,
			 "merge_after", (json_int_t)c->merge_after, "drill_days",
			 (json_int_t)c->drill_days, "drill_files", (json_int_t)c->drill_files,
			 "daily", tier_json(c, CONF_DAILY), "weekly", tier_json(c, CONF_WEEKLY),
			 "monthly", tier_json(c, CONF_MONTHLY), "checkpoint_seconds",
			 (json_int_t)c->checkpoint_seconds);
}

static int show(const struct conf *c, bool json)
{
	if (json)
		cli_json(conf_json(c));
	else
		print_conf(c);
	return 0;
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"check", "show", NULL};
	int verb = cli_verb(argc > 1 ? argv[1] : NULL, verbs);
	CLEANUP_FREE struct conf_mistakes *m = calloc(1, sizeof(*m));
	CLEANUP_FREE struct conf *c = calloc(1, sizeof(*c));
	bool json = argc == 4 && !strcmp(argv[3], "--json");
	struct diag d = {0};
	struct located l;

	if (verb < 0)
		return cli_usage(&cmd_policy, "check or show");
	if (argc != 3 && !json)
		return cli_usage(&cmd_policy, "one VOLUME, and --json if wanted");
	if (!m || !c)
		return diag_fail_errno(&d, -ENOMEM, "%s", CONF_FILE), cli_fail(&d);
	if (locate(argv[2], &l, &d) != 0)
		return cli_fail(&d);
	int err = conf_load_check(l.store_fd, c, m, &d);
	locate_free(&l);
	if (verb == 0)
		err = check(c, m, err, json, &d);
	else if (err == 0)
		err = show(c, json);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_policy = {"policy", "coffer.conf", usage, run};
