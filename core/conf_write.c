/* coffer.conf as `init` leaves it: every key with its meaning, so that the file explains itself. */
#include "core/conf.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/durable.h"

void conf_default_schedule(struct conf *c)
{
	c->tiers[CONF_DAILY] = (struct conf_tier){.set = true, .at = {1, 0}, .keep = 7};
	c->tiers[CONF_WEEKLY] =
	    (struct conf_tier){.set = true, .full = true, .at = {2, 0}, .keep = 5};
	c->tiers[CONF_MONTHLY] =
	    (struct conf_tier){.set = true, .full = true, .at = {3, 0}, .day = 1, .keep = 12};
}

static void put(struct bytes_w *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct bytes_w *w, const char *fmt, ...)
{
	char line[CONF_URL_MAX + 256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	bytes_w_raw(w, line, strlen(line));
}

static void put_places(struct bytes_w *w, const struct conf *c)
{
	put(w, "# Where sets are written: the first repository unless another is named.\n"
	       "# kept says with whom it lies: department or platform.\n");
	for (size_t i = 0; i < c->n_repositories; i++) {
		put(w, "[repository %s]\nurl = %s\n", c->repositories[i].name,
		    c->repositories[i].url);
		if (c->repositories[i].kept)
			put(w, "kept = %s\n", conf_kept_name(c->repositories[i].kept));
		put(w, "\n");
	}
	put(w, "# Offline media: [medium LABEL] with kept, and path where it shows when it is "
	       "attached.\n");
	for (size_t i = 0; i < c->n_media; i++) {
		put(w, "[medium %s]\nkept = %s\n", c->media[i].name,
		    conf_kept_name(c->media[i].kept));
		if (*c->media[i].path)
			put(w, "path = %s\n", c->media[i].path);
		put(w, "\n");
	}
}

static const char *share(unsigned percent, char text[8])
{
	if (percent == 0 || percent >= 100)
		return percent ? "yes" : "no";
	snprintf(text, 8, "%u%%", percent);
	return text;
}

static void put_backup(struct bytes_w *w, const struct conf *c)
{
	char text[8];

	put(w, "\n[backup]\n# no: nothing is ever due\nwanted = %s\n",
	    c->backup_wanted ? "yes" : "no");
	put(w,
	    "# yes: every record of a new set is read and opened again, beyond the read-back of "
	    "every pack; 25%%: so many of them, drawn at random\n"
	    "verify_after = %s\n"
	    "# at most so many MiB a second of the volume are read, and put into a repository (0: no limit)\n"
	    "read_mib = %u\nwrite_mib = %u\n",
	    share(c->verify_after, text), c->read_mib, c->write_mib);
	put(w,
	    "# from the removal of a manifest by `backup prune` to the removal of its packs\n"
	    "grace_hours = %u\n",
	    c->grace_hours);
	put(w,
	    "# percent of each pack that may be damaged and still be repaired without another copy (0: none)\n"
	    "parity = %u\n"
	    "# `backup prune` merges sets that only stay because others build on them, once there are so many (0: never)\n"
	    "merge_after = %u\n",
	    c->parity, c->merge_after);
	put(w,
	    "# a restore drill every so many days (0: none), on so many files drawn at random\n"
	    "drill_days = %u\ndrill_files = %u\n\n",
	    c->drill_days, c->drill_files);
}

static void put_tiers(struct bytes_w *w, const struct conf *c)
{
	put(w,
	    "# Tiers: kind is full or incremental, at is local time, keep is how many sets stay.\n"
	    "# A tier without a section is not taken. `coffer backup run --due` takes what is "
	    "due.\n");
	for (int t = 0; t < CONF_N_TIERS; t++) {
		const struct conf_tier *r = &c->tiers[t];

		if (!r->set)
			continue;
		put(w, "[%s]\nkind = %s\nat = %02u:%02u\n", conf_tier_name(t),
		    r->full ? "full" : "incremental", r->at.hour, r->at.minute);
		if (t == CONF_WEEKLY)
			put(w, "weekday = %s\n", conf_weekday_name(r->weekday));
		if (t == CONF_MONTHLY && r->day == CONF_DAY_LAST)
			put(w, "day = last\n");
		else if (t == CONF_MONTHLY)
			put(w, "day = %u\n", r->day);
		put(w, "keep = %u\n\n", r->keep);
	}
}

/* Where text and c differ: a word of one section, or NULL. */
static const char *unreadable(const char *text, size_t len, const struct conf *c, struct conf *again,
			      struct conf_mistakes *m)
{
	if (conf_check(text, len, again, m) != 0)
		return m->n ? m->list[0].section : "";
	if (again->n_repositories != c->n_repositories || again->n_media != c->n_media)
		return "repository or medium";
	for (size_t i = 0; i < c->n_repositories; i++)
		if (strcmp(again->repositories[i].name, c->repositories[i].name) != 0 ||
		    strcmp(again->repositories[i].url, c->repositories[i].url) != 0)
			return c->repositories[i].name;
	for (size_t i = 0; i < c->n_media; i++)
		if (strcmp(again->media[i].name, c->media[i].name) != 0 ||
		    strcmp(again->media[i].path, c->media[i].path) != 0)
			return c->media[i].name;
	return NULL;
}

static int check_readable(const struct bytes_w *w, const struct conf *c, struct diag *d)
{
	CLEANUP_FREE struct conf *again = malloc(sizeof(*again));
	CLEANUP_FREE struct conf_mistakes *m = malloc(sizeof(*m));
	const char *what;

	if (w->err || !again || !m)
		return diag_fail_errno(d, -ENOMEM, "%s", CONF_FILE);
	what = unreadable((const char *)w->buf, w->len, c, again, m);
	return what ? diag_fail(d, DIAG_POLICY, -EINVAL, "%s: [%s] could not be read back", CONF_FILE, what) : 0;
}

int conf_write(int store_fd, const struct conf *c, struct diag *d)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	put(&w, "# coffer.conf: what this volume's backups and trail do.\n"
		"# `coffer policy check` names every mistake, `coffer policy show` says what is in "
		"force.\n\n");
	put_places(&w, c);
	put_backup(&w, c);
	put_tiers(&w, c);
	put(&w,
	    "[trail]\n# a signed checkpoint at least this often, in seconds\ncheckpoint_seconds = "
	    "%u\n",
	    c->checkpoint_seconds);
	int err = check_readable(&w, c, d);
	if (err)
		return err;
	err = durable_replace(store_fd, CONF_FILE, w.buf, w.len, 0600);
	return err ? diag_fail_errno(d, err, "%s", CONF_FILE) : 0;
}
