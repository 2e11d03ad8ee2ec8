/* What subcommands share: reporting, sizes, times, progress. See cli.h. */
#include "tools/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool progress_shown, output_lost;

int cli_fail(const struct diag *d)
{
	cli_progress_done();
	return diag_print(d, stderr);
}

int cli_end(int code)
{
	struct diag d = {0};

	if (fflush(stdout) == 0 && !ferror(stdout) && !output_lost)
		return code;
	diag_fail_errno(&d, errno && !output_lost ? -errno : -EIO, "standard output");
	int lost = cli_fail(&d);
	return code == DIAG_EXIT_DONE ? lost : code;
}

int cli_usage(const struct cli_command *c, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "coffer %s: ", c->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n  see `coffer %s --help`\n", c->name);
	return DIAG_EXIT_USAGE;
}

int cli_help(const struct cli_command *c)
{
	fputs(c->usage, stdout);
	return DIAG_EXIT_DONE;
}

void cli_json(json_t *j)
{
	if (json_dumpf(j, stdout, JSON_COMPACT | JSON_SORT_KEYS) != 0)
		output_lost = true;
	putchar('\n');
	json_decref(j);
}

int cli_verb(const char *name, const char *const *verbs)
{
	for (int i = 0; name && verbs[i]; i++)
		if (!strcmp(name, verbs[i]))
			return i;
	return -1;
}

void cli_size(uint64_t bytes, char out[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes;
	int u = 0;

	while (v >= 1024 && u < 6) {
		v /= 1024;
		u++;
	}
	snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

int cli_parse_size(const char *s, uint64_t *ret)
{
	static const char units[] = "KMGTPE";
	char *end;
	double n = strtod(s, &end);
	const char *unit = *(end += strspn(end, " ")) ? strchr(units, toupper((unsigned char)*end)) : NULL;

	if (end == s || !(n >= 0) || *s == '-')
		return -EINVAL;
	if (unit) {
		n *= (double)(UINT64_C(1) << 10 * (unit - units + 1));
		end += strcmp(end + 1, "iB") == 0 ? 3 : strcmp(end + 1, "B") == 0 ? 2 : 1;
	}
	if (*end || n >= 9.2e18)
		return -EINVAL;
	*ret = (uint64_t)n;
	return 0;
}

int cli_parse_number(const char *s, unsigned max, unsigned *ret)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (*s < '0' || *s > '9' || *end || n < 1 || n > max)
		return -EINVAL;
	*ret = (unsigned)n;
	return 0;
}

void cli_time(int64_t unix_seconds, char out[32])
{
	time_t t = (time_t)unix_seconds;
	struct tm tm;

	if (!localtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		strcpy(out, "?");
}

int cli_parse_time(const char *s, int64_t *ret)
{
	static const char *const forms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M",
					    "%Y-%m-%dT%H:%M", "%Y-%m-%d"};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		struct tm tm = {.tm_isdst = -1};
		const char *end = strptime(s, forms[i], &tm);

		if (!end || (strcmp(end, "") != 0 && strcmp(end, "Z") != 0))
			continue;
		time_t t = *end ? timegm(&tm) : mktime(&tm);
		if (t == (time_t)-1)
			return -EINVAL;
		*ret = t;
		return 0;
	}
	return -EINVAL;
}

void cli_progress(const char *fmt, ...)
{
	va_list ap;

	if (!isatty(STDERR_FILENO))
		return;
	fputs("\r\033[K", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fflush(stderr);
	progress_shown = true;
}

void cli_progress_done(void)
{
	if (!progress_shown)
		return;
	fputs("\r\033[K", stderr);
	progress_shown = false;
}
