/* coffer status and sync: how a volume stands. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/keyring.h"
#include "fs/volume.h"
#include "tools/cli.h"
#include "tools/control.h"
#include "tools/locate.h"

static const char status_usage[] =
	"usage: coffer status VOLUME [--json]\n\n"
	"Where the volume stands, its space, sets, escrows, orders and trail. Needs no key; of an unmounted volume it tells\n"
	"what the header says.\n";

static const char sync_usage[] = "usage: coffer sync VOLUME\n\n"
				 "Everything written so far is on disk when it returns.\n";

static const char *text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static uint64_t number(const json_t *j, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(j, key));
}

static void print_space(const json_t *space)
{
	char total[32], left[32];
	uint64_t t = number(space, "total_bytes"), f = number(space, "free_bytes");

	cli_size(t, total);
	cli_size(f, left);
	printf("space         %s of %s free (%llu %%)%s\n", left, total, (unsigned long long)(t ? f * 100 / t : 0),
	       t && f * 100 / t < 30 ? "  under 30 %: plan an expansion" : "");
	cli_size(number(space, "used_bytes"), left);
	cli_size(number(space, "quota_bytes"), total);
	printf("files         %llu, holding %s%s%s\n", (unsigned long long)number(space, "inodes"), left,
	       number(space, "quota_bytes") ? " of a quota of " : "", number(space, "quota_bytes") ? total : "");
	if (json_is_true(json_object_get(space, "read_only")))
		printf("read-only     %s\n", text(space, "why_read_only"));
}

static void print_proof(const json_t *p, const char *name, const char *things)
{
	char when[32];

	if (!p) {
		printf("              no %s yet\n", name);
		return;
	}
	cli_time((int64_t)number(p, "time"), when);
	printf("              last %s %s (%s): %llu %s, ", name, when, text(p, "set"),
	       (unsigned long long)number(p, "checked"), things);
	if (json_object_get(p, "percent") && number(p, "percent") < 100)
		printf("%llu%% drawn at random, ", (unsigned long long)number(p, "percent"));
	if (number(p, "bad"))
		printf("%llu BAD, first %s\n", (unsigned long long)number(p, "bad"), text(p, "first_bad"));
	else
		printf("good\n");
}

static void print_repositories(const json_t *repos)
{
	size_t i;
	json_t *r;
	char when[32];

	json_array_foreach(repos, i, r) {
		if (json_object_get(r, "error")) {
			printf("repository    %s: %s\n", text(r, "url"), text(r, "error"));
			continue;
		}
		printf("repository    %s: %llu sets", text(r, "url"), (unsigned long long)number(r, "sets"));
		if (json_object_get(r, "last")) {
			cli_time((int64_t)number(r, "last_time"), when);
			printf(", last %s (%s)", when, text(r, "last"));
		}
		if (number(r, "damaged"))
			printf(", %llu DAMAGED", (unsigned long long)number(r, "damaged"));
		putchar('\n');
		print_proof(json_object_get(r, "drill"), "drill", "files");
		print_proof(json_object_get(r, "verify"), "verify", "records");
	}
	if (!json_array_size(repos))
		printf("repository    none\n");
}

static void print_lists(const json_t *st)
{
	size_t i;
	json_t *e;

	json_array_foreach(json_object_get(st, "escrows"), i, e)
		printf("escrow        %s: %s%s\n", text(e, "place"),
		       json_is_true(json_object_get(e, "confirmed")) ? "up to date" : "NOT CONFIRMED: ", text(e, "why"));
	if (!json_array_size(json_object_get(st, "escrows")))
		printf("escrow        none: losing the anchor loses the volume\n");
	json_array_foreach(json_object_get(st, "orders"), i, e)
		printf("order         %s %s%s%s  %s\n", text(e, "order"), text(e, "state"),
		       *text(e, "missing") ? ", missing " : "", text(e, "missing"), text(e, "description"));
}

static void print_mounted(const json_t *st)
{
	const json_t *alarms = json_object_get(st, "alarms"), *anchor = json_object_get(st, "anchor");

	printf("volume        %s (%s)\nstore         %s\nmounted       %s\n", text(st, "name"), text(st, "volume"),
	       text(st, "store"), text(st, "mountpoint"));
	print_space(json_object_get(st, "space"));
	printf("keys          %s, generation %llu\nanchor        %s\n              %s\n", text(st, "suite"),
	       (unsigned long long)number(st, "generation"), text(anchor, "place"), text(anchor, "medium"));
	print_repositories(json_object_get(st, "repositories"));
	print_lists(st);
	printf("trail         %llu entries\n", (unsigned long long)number(st, "trail_entries"));
	if (!json_is_true(json_object_get(st, "confined")))
		printf("process       NOT CONFINED: serves without a filter of system calls (see its log; ordinary users' do)\n");
	if (number(alarms, "count"))
		printf("ALARMS        %llu since mount, last: %s\n", (unsigned long long)number(alarms, "count"),
		       text(alarms, "last"));
	else
		printf("health        no integrity alarm since mount\n");
}

static void print_unmounted(const struct located *l, bool json)
{
	char id[33];

	bytes_hex(id, l->header->volume_id, 16);
	if (json)
		cli_json(json_pack("{s:s, s:s, s:s, s:b, s:s, s:{s:s}}", "name", l->header->name, "volume", id,
				   "store", l->store, "mounted", 0, "suite", suite_id_name(l->header->suite),
				   "anchor", "place", l->header->anchor));
	else
		printf("volume        %s (%s)\nstore         %s\nmounted       no\nkeys          %s, %zu slots\nanchor        %s\n",
		       l->header->name, id, l->store, suite_id_name(l->header->suite), l->header->n_slots,
		       l->header->anchor);
}

/* "VOLUME [--json]"; NULL when malformed. */
static const char *one_volume(int argc, char **argv, const char *flag_name, bool *flag, bool *json)
{
	const char *volume = NULL;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			*json = true;
		else if (flag_name && !strcmp(argv[i], flag_name))
			*flag = true;
		else if (argv[i][0] == '-' || volume)
			return NULL;
		else
			volume = argv[i];
	}
	return volume;
}

static int run_status(int argc, char **argv)
{
	bool json = false;
	const char *volume = one_volume(argc, argv, NULL, NULL, &json);
	struct diag d = {0};
	struct located l;
	json_t *st = NULL;

	if (!volume)
		return cli_usage(&cmd_status, "one VOLUME is needed");
	if (locate_served(volume, &l, &d) != 0)
		return cli_fail(&d);
	int err = 0;
	if (!l.mounted)
		print_unmounted(&l, json);
	else
		err = control_call(l.run, json_pack("{s:s}", "op", "status"), NULL, NULL, &st, &d);
	locate_free(&l);
	if (err)
		return cli_fail(&d);
	if (st && json)
		cli_json(json_incref(st));
	else if (st)
		print_mounted(st);
	json_decref(st);
	return DIAG_EXIT_DONE;
}

static int run_sync(int argc, char **argv)
{
	struct diag d = {0};
	struct located l;
	json_t *ok = NULL;

	if (argc != 2 || argv[1][0] == '-')
		return cli_usage(&cmd_sync, "one VOLUME is needed");
	if (locate_served(argv[1], &l, &d) != 0)
		return cli_fail(&d);
	int err = control_call(l.run, json_pack("{s:s}", "op", "sync"), NULL, NULL, &ok, &d);
	json_decref(ok);
	locate_free(&l);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_status = {"status", "how a volume stands", status_usage, run_status};
const struct cli_command cmd_sync = {"sync", "bring everything to disk", sync_usage, run_sync};
