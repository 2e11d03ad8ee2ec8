/*
 * coffer backup: run, list, verify, scrub. What is due is in cmd_backup_due.c, prune in cmd_backup_prune.c.
 *
 * run goes to the serving process of a mounted volume, so that who asks needs no key. list and scrub need none either;
 * verify opens records, with the secret, beside the serving process or without one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/backup.h"
#include "core/cleanup.h"
#include "core/conf.h"
#include "tools/cli.h"
#include "tools/cmd_backup.h"
#include "tools/control.h"
#include "tools/located_repo.h"

static const char usage[] =
	"usage: coffer backup run VOLUME --tier daily|weekly|monthly [--full] [--repository NAME] [--json]\n"
	"       coffer backup run VOLUME --due [--repository NAME] [--json]\n"
	"       coffer backup list VOLUME [--repository NAME] [--json]\n"
	"       coffer backup scrub VOLUME [--set ID] [--json]\n"
	"       coffer backup verify VOLUME [--set ID] [secret] [--json]\n"
	"       coffer backup prune VOLUME [--dry-run] [--repository NAME] [secret] [--json]\n\n"
	"run     takes a set of a mounted volume, without stopping its writers; incremental when a parent fits.\n"
	"        Needs no key: the serving process does the work.\n"
	"        --due takes, in one run, every tier of coffer.conf whose time has come; nothing when there is none.\n"
	"list    the sets of a repository, oldest first.\n"
	"scrub   compares packs and indices with the manifests' checksums, of every set or one. Needs no key.\n"
	"verify  opens every record with today's keys; what an order destroyed counts as destroyed.\n"
	"prune   removes the sets that the policy no longer keeps and nothing kept builds on; --dry-run only shows.\n"
	"        Recorded on the trail: of an unmounted volume it needs the secret.\n"
	"        --passphrase-file FILE   --key-file FILE   --identity FILE [--identity-passphrase-file FILE]\n";

struct args {
	const char *volume, *tier, *set, *repository;
	bool full, due, dry_run, json;
	struct cli_unlock secrets;
};

static int arguments(struct args *a, int argc, char **argv)
{
	static const struct option options[] = {{"tier", required_argument, NULL, 't'},
						{"full", no_argument, NULL, 'f'},
						{"due", no_argument, NULL, 'd'},
						{"dry-run", no_argument, NULL, 'n'},
						{"set", required_argument, NULL, 's'},
						{"repository", required_argument, NULL, 'r'},
						{"json", no_argument, NULL, 'j'},
						CLI_UNLOCK_OPTIONS, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 't':
			a->tier = optarg;
			break;
		case 'f':
			a->full = true;
			break;
		case 'd':
			a->due = true;
			break;
		case 'n':
			a->dry_run = true;
			break;
		case 's':
			a->set = optarg;
			break;
		case 'r':
			a->repository = optarg;
			break;
		case 'j':
			a->json = true;
			break;
		default:
			if (!cli_unlock_option(&a->secrets, c, optarg))
				return -EINVAL;
		}
	}
	if (argc - optind != 1)
		return -EINVAL;
	a->volume = argv[optind];
	return 0;
}

/* --- run --- */

static void on_progress(void *arg, const json_t *p)
{
	char size[32];
	(void)arg;
	cli_size((uint64_t)json_integer_value(json_object_get(p, "bytes")), size);
	cli_progress("backup: %lld records, %s", json_integer_value(json_object_get(p, "records")), size);
}

int cmd_backup_take(const struct located *l, const struct backup_wanted *a, struct diag *d)
{
	json_t *ok = NULL, *req = json_pack("{s:s, s:s, s:b}", "op", "backup.run", "tiers", a->tiers, "full", a->full);
	char bytes[32], stored[32];

	if (a->repository)
		json_object_set_new(req, "repository", json_string(a->repository));
	int err = control_call(l->run, req, on_progress, NULL, &ok, d);
	if (err)
		return err;
	cli_progress_done();
	if (a->json) {
		cli_json(ok);
		return 0;
	}
	cli_size((uint64_t)json_integer_value(json_object_get(ok, "bytes")), bytes);
	cli_size((uint64_t)json_integer_value(json_object_get(ok, "stored")), stored);
	printf("set %s (%s, %s): %lld files, %s, stored in %s%s\n", json_string_value(json_object_get(ok, "set")),
	       json_string_value(json_object_get(ok, "kind")), json_string_value(json_object_get(ok, "tiers")),
	       json_integer_value(json_object_get(ok, "files")), bytes, stored,
	       json_is_true(json_object_get(ok, "verified")) ? ", verified" : "");
	json_decref(ok);
	return 0;
}

/* --- list --- */

static uint64_t stored_bytes(const struct set_manifest *m)
{
	uint64_t n = m->index.len;

	for (size_t i = 0; i < m->n_packs; i++)
		n += m->packs[i].len;
	return n;
}

static void list_sets(const struct set_catalog *c, bool json)
{
	json_t *a = json_array();
	char when[32], size[32];

	for (size_t i = 0; i < c->n_sets; i++) {
		const struct set_manifest *m = &c->sets[i];

		json_array_append_new(a, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "set", m->id, "kind",
						   m->full ? "full" : "incremental", "parent", m->parent, "tiers",
						   m->tiers, "time", (json_int_t)m->time, "files",
						   (json_int_t)m->n_nodes, "stored", (json_int_t)stored_bytes(m)));
		if (json)
			continue;
		cli_time(m->time, when);
		cli_size(stored_bytes(m), size);
		printf("%s  %s  %-11s  %-8s  %8llu files  %10s\n", m->id, when, m->full ? "full" : "incremental", m->tiers,
		       (unsigned long long)m->n_nodes, size);
	}
	for (size_t i = 0; i < c->n_damaged; i++)
		fprintf(stderr, "coffer: set %s: its manifest is damaged\n", c->damaged[i]);
	if (json)
		cli_json(json_incref(a));
	json_decref(a);
}

/* --- verify, scrub --- */

struct totals {
	uint64_t sets, records, bytes, bad, destroyed;
	char first_bad[160];
};

static void add(struct totals *t, const struct backup_verdict *v)
{
	t->sets++;
	t->records += v->n_records;
	t->bytes += v->n_bytes;
	t->destroyed += v->n_destroyed;
	if (v->n_bad && !t->bad)
		memcpy(t->first_bad, v->first_bad, sizeof(t->first_bad));
	t->bad += v->n_bad;
}

static int look(const struct located_repo *lr, struct keyring *kr, const char *set, struct totals *t, struct diag *d)
{
	size_t first = 0, end = lr->catalog.n_sets;

	if (set) {
		int err = set_catalog_find(&lr->catalog, set, 0, &first, d);
		if (err)
			return err;
		end = first + 1;
	}
	t->bad += set ? 0 : lr->catalog.n_damaged;
	if (t->bad)
		snprintf(t->first_bad, sizeof(t->first_bad), "set %s, manifest", lr->catalog.damaged[0]);
	for (size_t i = first; i < end; i++) {
		struct backup_verdict v = {0};
		int err = kr ? backup_verify(lr->repo, kr, &lr->catalog.sets[i], &v, d)
			     : backup_scrub(lr->repo, &lr->catalog.sets[i], &v, d);
		if (err)
			return err;
		add(t, &v);
		cli_progress("%s: %llu sets", kr ? "verify" : "scrub", (unsigned long long)t->sets);
	}
	cli_progress_done();
	return 0;
}

static int report(const struct totals *t, bool json, bool verify, struct diag *d)
{
	char size[32];

	cli_size(t->bytes, size);
	if (json)
		cli_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "sets", (json_int_t)t->sets, "records",
				   (json_int_t)t->records, "bytes", (json_int_t)t->bytes, "bad", (json_int_t)t->bad,
				   "destroyed", (json_int_t)t->destroyed, "first_bad", t->first_bad));
	else
		printf("%llu sets, %llu %s, %s: %s%s", (unsigned long long)t->sets, (unsigned long long)t->records,
		       verify ? "records" : "packs", size, t->bad ? "DAMAGED: " : "good", t->first_bad);
	if (!json && t->destroyed)
		printf(", %llu records destroyed under orders", (unsigned long long)t->destroyed);
	if (!json)
		putchar('\n');
	return t->bad ? diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%s", t->first_bad) : 0;
}

static int look_and_report(struct args *a, const struct located_repo *lr, bool verify, struct diag *d)
{
	struct header_unlock with;
	struct keyring *kr = NULL;
	struct totals t = {0};
	int err = 0;

	if (verify) {
		err = cli_unlock_get(&a->secrets, "Passphrase of the volume: ", &with, d);
		if (err == 0)
			err = keyring_open(lr->l.store, &with, KEYRING_READ_ONLY, &kr, d);
	}
	if (err == 0)
		err = look(lr, kr, a->set, &t, d);
	if (kr)
		keyring_close(kr);
	return err ? err : report(&t, a->json, verify, d);
}

static int dispatch(int verb, struct args *a, struct diag *d)
{
	const struct backup_wanted wanted = {.tiers = a->tier, .repository = a->repository, .full = a->full, .json = a->json};
	struct located_repo lr;
	struct located l;
	int err;

	if (verb == 0 && !a->due) {
		err = locate_served(a->volume, &l, d);
		if (err)
			return err;
		err = cmd_backup_take(&l, &wanted, d);
		locate_free(&l);
		return err;
	}
	err = located_repo_open(a->volume, a->repository, &lr, d);
	if (err)
		return err;
	if (verb == 0)
		err = cmd_backup_due(&lr, &wanted, d);
	else if (verb == 1)
		list_sets(&lr.catalog, a->json);
	else if (verb == 4)
		err = cmd_backup_prune(&lr, &a->secrets, a->dry_run, a->json, d);
	else
		err = look_and_report(a, &lr, verb == 3, d);
	located_repo_close(&lr);
	return err;
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"run", "list", "scrub", "verify", "prune", NULL};
	int verb = cli_verb(argc > 1 ? argv[1] : NULL, verbs);
	struct args a = {0};
	struct diag d = {0};

	if (verb < 0)
		return cli_usage(&cmd_backup, "run, list, scrub, verify or prune");
	if (arguments(&a, argc - 1, argv + 1) != 0)
		return cli_usage(&cmd_backup, "one VOLUME, and options that %s knows", verbs[verb]);
	if (verb == 0 && !a.tier == !a.due)
		return cli_usage(&cmd_backup, "run needs --tier daily, weekly or monthly, or else --due");
	if (a.due && (a.full || verb != 0))
		return cli_usage(&cmd_backup, "--due goes with run, and the policy says what is full");
	if (a.dry_run && verb != 4)
		return cli_usage(&cmd_backup, "--dry-run goes with prune");
	int err = dispatch(verb, &a, &d);
	cli_unlock_free(&a.secrets);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_backup = {"backup", "take, list, verify and prune sets", usage, run};
