/*
 * coffer backup: run, list, verify, scrub. What is due is in cmd_backup_due.c; the other verbs each have a file.
 *
 * run goes to the serving process of a mounted volume, so that who asks needs no key. list and scrub need none either;
 * verify opens records, with the secret, beside the serving process or without one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/backup.h"
#include "backup/proof.h"
#include "core/cleanup.h"
#include "core/conf.h"
#include "tools/cli.h"
#include "tools/cmd_backup.h"
#include "tools/cmd_backup_life.h"
#include "tools/cmd_backup_mount.h"
#include "tools/charter_copy.h"
#include "tools/control.h"
#include "tools/located_repo.h"

static const char usage[] =
	"usage: coffer backup run VOLUME --tier daily|weekly|monthly [--full]\n"
	"       coffer backup run VOLUME --due\n"
	"       coffer backup list VOLUME\n"
	"       coffer backup show VOLUME --set ID\n"
	"       coffer backup diff VOLUME SET1 SET2 [secret]\n"
	"       coffer backup find VOLUME PATH|PATTERN [secret]\n"
	"       coffer backup scrub VOLUME [--set ID]\n"
	"       coffer backup verify VOLUME [--set ID] [--sample PERCENT] [secret]\n"
	"       coffer backup drill VOLUME [--files M] [--to DIR]\n"
	"       coffer backup prune VOLUME [--dry-run] [secret]\n"
	"       coffer backup hold VOLUME SET --reason TEXT\n"
	"       coffer backup holds VOLUME\n"
	"       coffer backup release VOLUME SET --reason TEXT --identity FILE | VOLUME ORDER\n"
	"       coffer backup merge VOLUME [--set ID --set ID.. | --older-than DAYS] [--dry-run]\n"
	"       coffer backup repair VOLUME [--set ID] [--from REPOSITORY] [--dry-run] [secret]\n"
	"       coffer backup export VOLUME [--set ID]... --to DIR --label LABEL [--kept department|platform] [secret]\n"
	"       coffer backup import DIR VOLUME [--set ID]... [--label LABEL] [secret]\n"
	"       coffer backup media list VOLUME | media forget VOLUME LABEL --reason TEXT [secret]\n"
	"       coffer backup mount VOLUME MOUNTPOINT [--repository NAME] [-f] [secret]\n\n"
	"run     takes a set of a mounted volume, without stopping its writers; incremental when a parent fits.\n"
	"        Needs no key: the serving process does the work.\n"
	"        --due takes, in one run, every tier of coffer.conf whose time has come; nothing when there is none. When\n"
	"        drill_days have passed since the last good drill, one follows.\n"
	"list    the sets of a repository, oldest first.\n"
	"show    everything that a set's manifest says, its packs, and the sets that it builds on. Needs no key.\n"
	"diff    which paths were added, removed, changed (content, attributes) or renamed from SET1 to SET2.\n"
	"find    in which sets a path occurs, with size and time. A pattern without '/' is compared with every name, one\n"
	"        with '/' with whole paths; '*', '?' and [..] as in a shell.\n"
	"scrub   compares packs and indices with the manifests' checksums, of every set or one. Needs no key.\n"
	"verify  opens every record with today's keys, or (--sample) so many percent of them; what an order destroyed counts as\n"
	"        destroyed. Leaves a signed record.\n"
	"drill   restores M files of the newest set (without --files as many as drill_files of coffer.conf says), drawn at\n"
	"        random, compares them with the set and with the live files that did not change since, removes them, and\n"
	"        leaves a signed record. Needs no key: the serving process does the work, in its run folder, or for root\n"
	"        and the serving user in DIR.\n"
	"prune   removes the sets that the policy no longer keeps and nothing kept builds on; --dry-run only shows.\n"
	"        Recorded on the trail: of an unmounted volume it needs the secret.\n"
	"hold    keeps a set, and what it builds on, from being pruned or merged away; holds lists them.\n"
	"release asks for the end of a hold, an order that the charter's quorum approves (coffer destroy approve), and\n"
	"        with the ORDER's number executes it.\n"
	"merge   makes one set of several that follow one another, where retention keeps all but the last only because others\n"
	"        build on them; those named, or all such runs of incremental sets. Records are copied as they are sealed, what\n"
	"        newer ones cover is dropped, sets that come after build on the merged one. Needs no key: the serving\n"
	"        process does the work. prune does it as well, when coffer.conf says merge_after.\n"
	"repair  puts damaged objects back from parity, from --from, from the other repositories and attached media of\n"
	"        coffer.conf, each compared with the signed manifest before it counts. What is lost is named, with the secret\n"
	"        by path; the next set builds on none of it. Needs the secret when VOLUME is not mounted.\n"
	"export  copies sets (the latest when none is named) and what they build on to DIR, offline media with a LABEL, as\n"
	"        ciphertext; verified after copying; goes on where it was interrupted. DIR can be restored from and scrubbed\n"
	"        like a repository. Whether it is kept with the department or on the platform goes into the register.\n"
	"import  brings sets from such media, or any copy of the repository, back; what is damaged there is left out.\n"
	"media   the register: which label holds which sets, where it is kept, since when, by whom. forget enters what\n"
	"        became of a medium that is no more. Export, import and forget need the secret when VOLUME is not mounted.\n"
	"mount   shows every set as a read-only folder at MOUNTPOINT, named by date and id, and the newest as \"latest\"; owners,\n"
	"        modes and ACLs of the files count. An export: it takes the secret and is recorded first. Goes to the\n"
	"        background (-f: stays) until `coffer umount MOUNTPOINT`, or until an order is executed.\n\n"
	"All but holds and release: --repository NAME of coffer.conf (the first when left out; show, diff, find, list, scrub,\n"
	"verify and mount also take the path or S3 URL of a copy). All but mount: --json. A set may be named by the beginning\n"
	"of its id, or as \"latest\".\n"
	"Secret: --passphrase-file FILE   --key-file FILE   --identity FILE [--identity-passphrase-file FILE]\n";

enum verb { RUN, LIST, SHOW, DIFF, FIND, SCRUB, VERIFY, DRILL, PRUNE };
static const struct {
	const char *operands;
	size_t n; /* after VOLUME */
} verb_takes[] = {
	[DIFF] = {"VOLUME, SET1 and SET2", 2}, [FIND] = {"VOLUME and a path or pattern", 1}, [PRUNE] = {NULL, 0},
};

struct args {
	const char *volume, *tier, *set, *repository, *to;
	char **operands;
	unsigned files, sample;
	bool full, due, dry_run, json;
	struct cli_unlock secrets;
};

static int arguments(struct args *a, enum verb verb, int argc, char **argv)
{
	static const struct option options[] = {{"tier", required_argument, NULL, 't'},
						{"full", no_argument, NULL, 'f'},
						{"due", no_argument, NULL, 'd'},
						{"dry-run", no_argument, NULL, 'n'},
						{"set", required_argument, NULL, 's'},
						{"repository", required_argument, NULL, 'r'},
						{"files", required_argument, NULL, 'm'},
						{"sample", required_argument, NULL, 'p'},
						{"to", required_argument, NULL, 'o'},
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
		case 'm':
			if (cli_parse_number(optarg, 100000, &a->files) != 0)
				return -EINVAL;
			break;
		case 'p':
			if (cli_parse_number(optarg, 100, &a->sample) != 0)
				return -EINVAL;
			break;
		case 'o':
			a->to = optarg;
			break;
		case 'j':
			a->json = true;
			break;
		default:
			if (!cli_unlock_option(&a->secrets, c, optarg))
				return -EINVAL;
		}
	}
	if ((size_t)(argc - optind) != 1 + verb_takes[verb].n)
		return -EINVAL;
	a->volume = argv[optind];
	a->operands = argv + optind + 1;
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

int cmd_backup_take(const struct located *l, const struct backup_wanted *a, json_t **ret, struct diag *d)
{
	json_t *req = json_pack("{s:s, s:s, s:b}", "op", "backup.run", "tiers", a->tiers, "full", a->full);

	if (a->repository)
		json_object_set_new(req, "repository", json_string(a->repository));
	int err = control_call(l->run, req, on_progress, NULL, ret, d);
	cli_progress_done();
	return err;
}

void cmd_backup_print(const json_t *j)
{
	json_int_t percent = json_integer_value(json_object_get(j, "verified_percent"));
	char bytes[32], stored[32], verified[64] = "";

	if (percent == 100)
		snprintf(verified, sizeof(verified), ", verified");
	else if (percent)
		snprintf(verified, sizeof(verified), ", %lld%% of the records verified", percent);
	cli_size((uint64_t)json_integer_value(json_object_get(j, "bytes")), bytes);
	cli_size((uint64_t)json_integer_value(json_object_get(j, "stored")), stored);
	printf("set %s (%s, %s): %lld files, %s, stored in %s%s\n", json_string_value(json_object_get(j, "set")),
	       json_string_value(json_object_get(j, "kind")), json_string_value(json_object_get(j, "tiers")),
	       json_integer_value(json_object_get(j, "files")), bytes, stored,
	       verified);
}

static int take(const struct args *a, struct diag *d)
{
	const struct backup_wanted wanted = {.tiers = a->tier, .repository = a->repository, .full = a->full};
	struct located l;
	json_t *j = NULL;
	int err = locate_served(a->volume, &l, d);

	if (err)
		return err;
	err = cmd_backup_take(&l, &wanted, &j, d);
	locate_free(&l);
	if (err)
		return err;
	if (a->json)
		cli_json(json_incref(j));
	else
		cmd_backup_print(j);
	json_decref(j);
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

/* A recovery from nothing needs the charters that the repository keeps: they are part of what must be whole. */
static void look_at_charters(const struct located_repo *lr, struct totals *t)
{
	struct diag why = {0};

	if (lr->catalog.n_sets == 0 ||
	    charter_copy_check(lr->repo, lr->l.header->charter_first,
			       lr->catalog.sets[lr->catalog.n_sets - 1].charter, &why) == 0)
		return;
	if (t->bad++ == 0)
		snprintf(t->first_bad, sizeof(t->first_bad), "%.150s", why.object);
}

static int look(const struct located_repo *lr, struct keyring *kr, const struct args *a, unsigned percent, struct totals *t,
		struct diag *d)
{
	size_t first = 0, end = lr->catalog.n_sets;
	const char *set = a->set;

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
		int err = kr ? backup_verify_some(lr->repo, kr, &lr->catalog.sets[i], percent, &v, d)
			     : backup_scrub(lr->repo, &lr->catalog.sets[i], &v, d);
		if (err == 0 && kr && percent == 100) /* a sample opens records only */
			err = backup_verify_deltas(lr->repo, kr, &lr->catalog, i, NULL, 0, &v, d);
		if (err)
			return err;
		add(t, &v);
		cli_progress("%s: %llu sets", kr ? "verify" : "scrub", (unsigned long long)t->sets);
	}
	cli_progress_done();
	if (!set)
		look_at_charters(lr, t);
	return 0;
}

static int report(const struct totals *t, bool json, bool verify, unsigned percent, struct diag *d)
{
	char size[32];

	cli_size(t->bytes, size);
	if (json)
		cli_json(json_pack("{s:I, s:i, s:I, s:I, s:I, s:I, s:s}", "sets", (json_int_t)t->sets, "percent", (int)percent,
				   "records", (json_int_t)t->records, "bytes", (json_int_t)t->bytes, "bad", (json_int_t)t->bad,
				   "destroyed", (json_int_t)t->destroyed, "first_bad", t->first_bad));
	else
		printf("%llu sets, %llu %s, %s: %s%s", (unsigned long long)t->sets, (unsigned long long)t->records,
		       verify ? "records" : "packs", size, t->bad ? "DAMAGED: " : "good", t->first_bad);
	if (!json && percent < 100)
		printf(", of %u%% drawn at random", percent);
	if (!json && t->destroyed)
		printf(", %llu records destroyed under orders", (unsigned long long)t->destroyed);
	if (!json)
		putchar('\n');
	return t->bad ? diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%s", t->first_bad) : 0;
}

/* For `coffer status`. A repository that takes no writes (a copy on a medium) is no reason to fail. */
static void leave_record(const struct located_repo *lr, struct keyring *kr, const char *set, unsigned percent,
			 const struct totals *t)
{
	struct proof p = {.kind = PROOF_VERIFY, .time = time(NULL), .n_sets = t->sets, .percent = percent, .n_checked = t->records,
			  .n_bytes = t->bytes, .n_destroyed = t->destroyed, .n_bad = t->bad};
	struct diag d = {0};
	size_t i;

	if (set_catalog_find(&lr->catalog, set ? set : "latest", 0, &i, &d) != 0)
		return;
	snprintf(p.set, sizeof(p.set), "%s", lr->catalog.sets[i].id);
	snprintf(p.first_bad, sizeof(p.first_bad), "%s", t->first_bad);
	if (proof_put(lr->repo, keyring_volume_id(kr), keyring_sign_seed(kr), &p, &d) != 0)
		fprintf(stderr, "coffer: warning: the result is not recorded: %s: %s\n", d.object, strerror(-d.err));
}

static int look_and_report(struct args *a, const struct located_repo *lr, bool verify, struct diag *d)
{
	struct header_unlock with;
	struct keyring *kr = NULL;
	struct totals t = {0};
	const unsigned percent = verify && a->sample ? a->sample : 100;
	int err = 0;

	if (verify) {
		err = cli_unlock_get(&a->secrets, "Passphrase of the volume: ", &with, d);
		if (err == 0)
			err = keyring_open(lr->l.store, &with, KEYRING_READ_ONLY, &kr, d);
	}
	if (err == 0)
		err = look(lr, kr, a, percent, &t, d);
	if (err == 0 && kr)
		leave_record(lr, kr, a->set, percent, &t);
	if (kr)
		keyring_close(kr);
	return err ? err : report(&t, a->json, verify, percent, d);
}

static int in_repository(enum verb verb, struct args *a, struct located_repo *lr, struct diag *d)
{
	const struct backup_wanted wanted = {.repository = a->repository, .json = a->json};

	switch (verb) {
	case RUN:
		return cmd_backup_due(lr, &wanted, d);
	case LIST:
		list_sets(&lr->catalog, a->json);
		return 0;
	case SHOW:
		return cmd_backup_show(lr, a->set, a->json, d);
	case DIFF:
		return cmd_backup_diff(lr, &a->secrets, a->operands[0], a->operands[1], a->json, d);
	case FIND:
		return cmd_backup_find(lr, &a->secrets, a->operands[0], a->json, d);
	case PRUNE:
		return cmd_backup_prune(lr, &a->secrets, a->repository, a->dry_run, a->json, d);
	default:
		return look_and_report(a, lr, verb == VERIFY, d);
	}
}

static int dispatch(enum verb verb, struct args *a, struct diag *d)
{
	const struct backup_drill drill = {.repository = a->repository, .to = a->to, .files = a->files};
	struct located_repo lr;

	if (verb == RUN && !a->due)
		return take(a, d);
	if (verb == DRILL)
		return cmd_backup_drill(a->volume, &drill, a->json, d);
	int err = located_repo_open(a->volume, a->repository, &lr, d);
	if (err)
		return err;
	err = in_repository(verb, a, &lr, d);
	located_repo_close(&lr);
	return err;
}

/* What is wrong with options that are known each by itself; NULL when they go together. */
static const char *mistaken(enum verb verb, const struct args *a)
{
	if (verb == RUN && !a->tier == !a->due)
		return "run needs --tier daily, weekly or monthly, or else --due";
	if ((a->tier || a->full) && verb != RUN)
		return "--tier and --full go with run";
	if (a->due && (a->full || verb != RUN))
		return "--due goes with run, and the policy says what is full";
	if (a->dry_run && verb != PRUNE)
		return "--dry-run goes with prune";
	if ((a->files || a->to) && verb != DRILL)
		return "--files and --to go with drill";
	if (a->sample && verb != VERIFY)
		return "--sample goes with verify";
	if (verb == SHOW && !a->set)
		return "show needs --set ID";
	if (a->set && verb != SHOW && verb != SCRUB && verb != VERIFY)
		return "--set goes with show, scrub and verify";
	return NULL;
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"run",   "list",   "show",  "diff",  "find",
					    "scrub", "verify", "drill", "prune", NULL};
	if (argc > 1 && !strcmp(argv[1], "mount"))
		return cmd_backup_mount(argc - 1, argv + 1);
	int verb = cli_verb(argc > 1 ? argv[1] : NULL, verbs);
	int life = verb < 0 ? cmd_backup_life(&cmd_backup, argc - 1, argv + 1) : -1;
	struct args a = {0};
	struct diag d = {0};

	if (life >= 0)
		return life;
	if (verb < 0)
		return cli_usage(&cmd_backup, "run, list, show, diff, find, scrub, verify, drill, prune, hold, holds, release, merge, repair, export, import, media or mount");
	if (arguments(&a, verb, argc - 1, argv + 1) != 0)
		return cli_usage(&cmd_backup, "%s, and options that %s knows",
				 verb_takes[verb].operands ? verb_takes[verb].operands : "one VOLUME", verbs[verb]);
	const char *mistake = mistaken(verb, &a);
	if (mistake)
		return cli_usage(&cmd_backup, "%s", mistake);
	int err = dispatch(verb, &a, &d);
	cli_unlock_free(&a.secrets);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_backup = {"backup", "take, list, compare, verify, drill and prune sets", usage, run};
