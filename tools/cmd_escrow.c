/* coffer escrow: the places of the recovery copies of the keys. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli.h"
#include "tools/control.h"
#include "tools/locate.h"

static const char usage[] = "usage: coffer escrow list VOLUME [--json]\n"
			    "       coffer escrow add VOLUME DIR\n"
			    "       coffer escrow sync VOLUME\n\n"
			    "The volume must be mounted.\n\n"
			    "list  where the escrows lie, and whether each holds the current keys.\n"
			    "add   a further place: an existing folder on an erasable medium, outside store and repositories.\n"
			    "sync  rewrites those that do not hold the current keys.\n";

struct args {
	const char *volume, *dir;
	bool json;
};

static int arguments(struct args *a, int n, int argc, char **argv, struct diag *d)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'j')
			return diag_fail(d, DIAG_USAGE, -EINVAL, "unknown option");
		a->json = true;
	}
	if (argc - optind != n)
		return diag_fail(d, DIAG_USAGE, -EINVAL, n == 2 ? "VOLUME and DIR are needed" : "one VOLUME is needed");
	a->volume = argv[optind];
	a->dir = n == 2 ? argv[optind + 1] : NULL;
	return 0;
}

static int list(const struct args *a, const struct located *l, struct diag *d)
{
	json_t *st = NULL, *e, *places;
	size_t i;
	int err = control_call(l->run, json_pack("{s:s}", "op", "status"), NULL, NULL, &st, d);

	if (err)
		return err;
	places = json_object_get(st, "escrows");
	if (a->json)
		cli_json(json_incref(places));
	else
		json_array_foreach(places, i, e)
			printf("%s  generation %lld, %s%s\n", json_string_value(json_object_get(e, "place")),
			       json_integer_value(json_object_get(e, "generation")),
			       json_is_true(json_object_get(e, "confirmed")) ? "up to date" : "NOT CONFIRMED: ",
			       json_string_value(json_object_get(e, "why")));
	json_decref(st);
	return 0;
}

/* "pending" of an answer. */
static int check_pending(json_t *ok, const struct located *l, struct diag *d)
{
	json_int_t pending = json_integer_value(json_object_get(ok, "pending"));

	json_decref(ok);
	return pending ? diag_fail(d, DIAG_ESCROW, -EIO, "%lld of the escrows of %s", pending, l->store) : 0;
}

static int add(const struct args *a, const struct located *l, struct diag *d)
{
	char path[PATH_MAX];
	json_t *ok = NULL;

	/* Made anew it would lie on the disk under the place where a medium is to be attached. */
	if (!realpath(a->dir, path))
		return diag_fail(d, DIAG_ESCROW, -errno, "%s", a->dir);
	int err = control_call(l->run, json_pack("{s:s, s:s}", "op", "escrow.add", "place", path), NULL, NULL, &ok, d);
	if (err)
		return err;
	json_int_t pending = json_integer_value(json_object_get(ok, "pending"));
	json_decref(ok);
	printf("escrow %s added and written\n", path);
	if (pending)
		printf("%lld other place%s not be rewritten: see `coffer escrow list`\n", pending,
		       pending == 1 ? " could" : "s could");
	return 0;
}

static int sync_all(const struct args *a, const struct located *l, struct diag *d)
{
	json_t *ok = NULL;
	int err = control_call(l->run, json_pack("{s:s}", "op", "escrow.sync"), NULL, NULL, &ok, d);
	(void)a;

	return err ? err : check_pending(ok, l, d);
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"list", "add", "sync", NULL};
	static int (*const run_verb[])(const struct args *a, const struct located *l, struct diag *d) = {list, add, sync_all};
	int verb = cli_verb(argc > 1 ? argv[1] : NULL, verbs);
	struct args a = {0};
	struct diag d = {0};
	struct located l;

	if (verb < 0)
		return cli_usage(&cmd_escrow, "list, add or sync");
	if (arguments(&a, verb == 1 ? 2 : 1, argc - 1, argv + 1, &d) != 0 || locate_served(a.volume, &l, &d) != 0)
		return cli_fail(&d);
	int err = run_verb[verb](&a, &l, &d);
	locate_free(&l);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_escrow = {"escrow", "recovery copies of the keys", usage, run};
