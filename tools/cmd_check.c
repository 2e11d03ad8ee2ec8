/* coffer check: verifies a volume, and puts right what can be. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "fs/volume.h"
#include "tools/cli.h"
#include "tools/control.h"
#include "tools/locate.h"
#include "tools/recorder.h"

static const char check_usage[] =
	"usage: coffer check VOLUME [--data] [--json] [secret]\n"
	"       coffer check STORE --repair [--data] [--json] [secret]\n\n"
	"Verifies every record, the freshness tree, link counts and maps; with --data every block as well.\n"
	"A mounted volume is checked by its serving process; an unmounted one needs the secret:\n"
	"  --passphrase-file FILE   --key-file FILE   --identity FILE [--identity-passphrase-file FILE]\n"
	"Exit code 4 when something is damaged.\n\n"
	"--repair, of a store that is not mounted: takes entries that do not open out of their folders, gives files that no name\n"
	"leads to one in /lost+found, sets link counts right, and says each thing it does; then checks again. It touches no\n"
	"content. What it cannot put right stays damaged: restore it from a set. It is recorded in the trail.\n";

static uint64_t number(const json_t *j, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(j, key));
}

static int report_check(json_t *r, bool json)
{
	uint64_t bad = number(r, "bad");
	size_t i;
	json_t *f;

	if (json) {
		cli_json(json_incref(r));
	} else {
		json_array_foreach(json_object_get(r, "repaired"), i, f)
			printf("repaired: %s\n", json_string_value(f));
		json_array_foreach(json_object_get(r, "findings"), i, f)
			printf("%s\n", json_string_value(f));
		printf("%llu records, %llu inodes, %llu blocks: %s\n", (unsigned long long)number(r, "records"),
		       (unsigned long long)number(r, "inodes"), (unsigned long long)number(r, "blocks"),
		       bad ? "DAMAGED" : "whole");
	}
	json_decref(r);
	return bad ? DIAG_EXIT_INTEGRITY : DIAG_EXIT_DONE;
}

static void on_bad(void *arg, const char *finding)
{
	json_array_append_new(arg, control_text(finding));
}

static int check_unmounted(const char *store, struct cli_unlock *secrets, bool data, json_t **ret, struct diag *d)
{
	struct header_unlock with;
	struct volume_check c = {0};
	struct keyring *kr;
	struct volume *v;
	json_t *findings = json_array();

	int err = cli_unlock_get(secrets, "Passphrase of the volume: ", &with, d);
	if (err == 0)
		err = keyring_open(store, &with, 0, &kr, d);
	if (err)
		return err;
	struct volume_config cfg = {.store = store, .kr = kr, .read_only = true};
	err = volume_open(&cfg, &v, d);
	if (err == 0) {
		err = volume_check(v, data, on_bad, findings, &c);
		if (err)
			diag_fail_errno(d, err, "checking %s", store);
		volume_close(v);
	}
	keyring_close(kr);
	*ret = json_pack("{s:I, s:I, s:I, s:I, s:o}", "records", (json_int_t)c.n_records, "inodes",
			 (json_int_t)c.n_inodes, "blocks", (json_int_t)c.n_blocks, "bad", (json_int_t)c.n_bad,
			 "findings", findings);
	return err;
}

/* --- repair --- */

static int repair_open(struct recorder *r, struct volume *v, json_t *done, struct diag *d)
{
	struct volume_repair rep = {0};
	struct keyring_fresh fresh;
	char detail[100];

	/* What the engine writes to the anchor carries the other heads along. */
	keyring_fresh_get(r->kr, &fresh);
	volume_set_heads(v, fresh.charter_head, fresh.trail_size, fresh.trail_root);
	int err = recorder_put(r, "repair", r->l->store, "", "begun", "", d);
	if (err)
		return err;
	err = volume_repair(v, on_bad, done, &rep);
	if (err)
		diag_fail(d, err == -EUCLEAN ? DIAG_STORE_DAMAGED : DIAG_SYSTEM, err,
			  err == -EUCLEAN ? "%s: a node of the record tree; nothing was changed" : "repairing %s", r->l->store);
	snprintf(detail, sizeof(detail), "%llu entries dropped, %llu files found, %llu counts",
		 (unsigned long long)rep.n_dropped, (unsigned long long)rep.n_found, (unsigned long long)rep.n_counts);
	struct diag ignored = {0};
	int said = recorder_put(r, "repair", r->l->store, "", err ? "failed" : "ok", detail, err ? &ignored : d);
	return err ? err : said;
}

/* Repairs, and checks what came of it. */
static int repair_unmounted(const struct located *l, struct cli_unlock *secrets, json_t *done, struct diag *d)
{
	struct recorder r;
	struct volume *v;
	int err = recorder_open(&r, l, secrets, d);

	if (err == 0) {
		struct volume_config cfg = {.store = l->store, .kr = r.kr};
		err = volume_open(&cfg, &v, d);
		if (err == 0) {
			err = repair_open(&r, v, done, d);
			int closed = volume_close(v);
			if (closed && err == 0)
				err = diag_fail_errno(d, closed, "closing %s", l->store);
		}
	}
	return recorder_close(&r, err, d);
}

static int run_repair(struct located *l, struct cli_unlock *secrets, bool data, json_t **ret, struct diag *d)
{
	json_t *done = json_array();
	int err = l->mounted ? diag_fail(d, DIAG_MOUNTED, -EBUSY, "%s at %s", l->store, l->mountpoint)
			     : repair_unmounted(l, secrets, done, d);

	if (err == 0)
		err = check_unmounted(l->store, secrets, data, ret, d);
	if (err == 0)
		json_object_set(*ret, "repaired", done);
	json_decref(done);
	return err;
}

static int run_check(int argc, char **argv)
{
	static const struct option options[] = {{"data", no_argument, NULL, 'd'}, {"json", no_argument, NULL, 'j'},
						{"repair", no_argument, NULL, 'R'},
						CLI_UNLOCK_OPTIONS, {0}};
	struct cli_unlock secrets = {0};
	bool data = false, json = false, repair = false;
	struct diag d = {0};
	struct located l;
	json_t *r = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			data = true;
		else if (c == 'j')
			json = true;
		else if (c == 'R')
			repair = true;
		else if (!cli_unlock_option(&secrets, c, optarg))
			return cli_usage(&cmd_check, "unknown or incomplete option");
	}
	if (argc - optind != 1)
		return cli_usage(&cmd_check, "one VOLUME is needed");
	if (locate_served(argv[optind], &l, &d) != 0)
		return cli_fail(&d);
	int err;
	if (repair)
		err = run_repair(&l, &secrets, data, &r, &d);
	else if (l.mounted)
		err = control_call(l.run, json_pack("{s:s, s:b}", "op", "check", "data", data), NULL, NULL, &r, &d);
	else
		err = check_unmounted(l.store, &secrets, data, &r, &d);
	cli_unlock_free(&secrets);
	locate_free(&l);
	if (err) {
		json_decref(r);
		return cli_fail(&d);
	}
	return report_check(r, json);
}

const struct cli_command cmd_check = {"check", "verify a volume", check_usage, run_check};
