/* coffer quota: how much the files of a volume may hold. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli.h"
#include "tools/control.h"
#include "tools/locate.h"

static const char usage[] =
	"usage: coffer quota VOLUME [SIZE|none] [--json]\n\n"
	"Shows what the files of a mounted volume hold and may hold, or sets the latter: 500G, 1.5T, a number of bytes, or none.\n"
	"It may be less than they hold: what is there stays, and writing fails (EDQUOT) until they hold less; deleting always works.\n"
	"statfs, and so df, tells the quota as the volume's size. Names, attributes and ACLs do not count.\n";

static int show(const char *run, bool json, struct diag *d)
{
	char used[32], quota[32];
	json_t *st = NULL;

	if (control_call(run, json_pack("{s:s}", "op", "status"), NULL, NULL, &st, d) != 0)
		return cli_fail(d);
	const json_t *space = json_object_get(st, "space");
	json_int_t u = json_integer_value(json_object_get(space, "used_bytes"));
	json_int_t q = json_integer_value(json_object_get(space, "quota_bytes"));
	if (json) {
		cli_json(json_pack("{s:I, s:I}", "used_bytes", u, "quota_bytes", q));
	} else {
		cli_size((uint64_t)u, used);
		cli_size((uint64_t)q, quota);
		printf("used   %s\nquota  %s\n", used, q ? quota : "none");
	}
	json_decref(st);
	return DIAG_EXIT_DONE;
}

static int set(const char *run, uint64_t bytes, struct diag *d)
{
	json_t *ok = NULL;
	int err = control_call(run, json_pack("{s:s, s:I}", "op", "quota", "bytes", (json_int_t)bytes), NULL, NULL, &ok, d);

	json_decref(ok);
	return err ? cli_fail(d) : DIAG_EXIT_DONE;
}

static int run_quota(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
	bool json = false;
	uint64_t bytes = 0;
	struct diag d = {0};
	struct located l;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'j')
			return cli_usage(&cmd_quota, "unknown option");
		json = true;
	}
	int n = argc - optind;
	if (n < 1 || n > 2)
		return cli_usage(&cmd_quota, "one VOLUME is needed, and at most one SIZE");
	const char *size = n == 2 ? argv[optind + 1] : NULL;
	if (size && strcmp(size, "none") != 0 && (cli_parse_size(size, &bytes) != 0 || bytes == 0))
		return cli_usage(&cmd_quota, "\"%s\" is no size", size);
	if (locate_served(argv[optind], &l, &d) != 0)
		return cli_fail(&d);
	if (!l.mounted)
		diag_fail(&d, DIAG_NOT_MOUNTED, -ENOTCONN, "%s", argv[optind]);
	int code = !l.mounted ? cli_fail(&d) : size ? set(l.run, bytes, &d) : show(l.run, json, &d);
	locate_free(&l);
	return code;
}

const struct cli_command cmd_quota = {"quota", "how much the files of a volume may hold", usage, run_quota};
