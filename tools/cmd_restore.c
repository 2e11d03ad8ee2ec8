/*
 * coffer restore.
 *
 * Into the mounted volume the serving process restores, and who asks needs no key. To a folder outside it is an
 * export: it takes the secret, reads keys and repository itself, and is recorded in the trail first when the volume is mounted.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/restore.h"
#include "core/cleanup.h"
#include "core/trail.h"
#include "tools/cli.h"
#include "tools/control.h"
#include "tools/located_repo.h"
#include "tools/recorder.h"

static const char usage[] =
	"usage: coffer restore VOLUME [--set ID|--at TIME] PATH.. --to DIR | --in-place | --all --to DIR\n\n"
	"Brings PATHs back as a set has them; the newest set unless --set or --at say otherwise.\n"
	"  --set ID           a set of `coffer backup list`, or the beginning of its id\n"
	"  --at TIME          the newest set at or before, as in \"2026-11-20 18:00\"\n"
	"  --to DIR           a folder. Inside the mounted volume no key is needed; elsewhere it is an export, with the secret.\n"
	"                     An operator names a new folder, which only the files' owners can enter\n"
	"  --in-place         where the paths were; existing files are replaced\n"
	"  --all              everything\n"
	"  --resume           goes on after an interruption: what lies in DIR with the very content, compared with the set, stays;\n"
	"                     give the same set (--set), and the same paths\n"
	"  --repository NAME  of coffer.conf; for an export also a copy's folder or S3 URL (s3+https://HOST/BUCKET/PREFIX)\n"
	"  --json\n"
	"Secret: --passphrase-file FILE   --key-file FILE   --identity FILE [--identity-passphrase-file FILE]\n"
	"What an order destroyed is reported as destroyed under it. Exit code 4 when something is damaged.\n";

struct args {
	const char *volume, *set, *to, *repository;
	char **paths;
	size_t n_paths;
	int64_t at;
	bool in_place, all, resume, json;
	struct cli_unlock secrets;
};

static int arguments(struct args *a, int argc, char **argv)
{
	static const struct option options[] = {{"set", required_argument, NULL, 's'},
						{"at", required_argument, NULL, 'a'},
						{"to", required_argument, NULL, 't'},
						{"in-place", no_argument, NULL, 'i'},
						{"all", no_argument, NULL, 'A'},
						{"resume", no_argument, NULL, 'R'},
						{"repository", required_argument, NULL, 'r'},
						{"json", no_argument, NULL, 'j'},
						CLI_UNLOCK_OPTIONS, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			a->set = optarg;
			break;
		case 'a':
			if (cli_parse_time(optarg, &a->at) != 0)
				return cli_usage(&cmd_restore, "--at \"%s\" (as in \"2026-11-20 18:00\")", optarg);
			break;
		case 't':
			a->to = optarg;
			break;
		case 'i':
			a->in_place = true;
			break;
		case 'A':
			a->all = true;
			break;
		case 'R':
			a->resume = true;
			break;
		case 'r':
			a->repository = optarg;
			break;
		case 'j':
			a->json = true;
			break;
		default:
			if (!cli_unlock_option(&a->secrets, c, optarg))
				return cli_usage(&cmd_restore, "unknown or incomplete option");
		}
	}
	if (optind >= argc)
		return cli_usage(&cmd_restore, "VOLUME is needed");
	a->volume = argv[optind];
	a->paths = argv + optind + 1;
	a->n_paths = (size_t)(argc - optind - 1);
	if (!a->to == !a->in_place)
		return cli_usage(&cmd_restore, "either --to DIR or --in-place");
	if ((a->n_paths == 0) != a->all)
		return cli_usage(&cmd_restore, "either paths or --all");
	if (a->set && a->at)
		return cli_usage(&cmd_restore, "either --set or --at");
	return 0;
}

/* --- what came of it --- */

static int report(json_t *r, const struct args *a, struct diag *d)
{
	json_int_t damaged = json_integer_value(json_object_get(r, "damaged"));
	json_int_t destroyed = json_integer_value(json_object_get(r, "destroyed"));
	const char *first = json_string_value(json_object_get(r, "first_damaged"));
	char size[32];
	int err = 0;

	cli_progress_done();
	cli_size((uint64_t)json_integer_value(json_object_get(r, "bytes")), size);
	json_int_t refused = json_integer_value(json_object_get(r, "refused"));
	const char *first_refused = json_string_value(json_object_get(r, "first_refused"));
	if (refused)
		err = diag_fail(d, DIAG_DENIED, -EPERM, "attributes of %lld entries were not granted, first %s", refused,
				first_refused ? first_refused : "?");
	if (damaged)
		err = diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%lld entries could not be restored, first %s", damaged,
				first ? first : "?");
	if (a->json) {
		cli_json(r);
		return err;
	}
	printf("restored %lld files, %lld folders, %lld others, %lld links, %s from set %s\n",
	       json_integer_value(json_object_get(r, "files")), json_integer_value(json_object_get(r, "folders")),
	       json_integer_value(json_object_get(r, "other")), json_integer_value(json_object_get(r, "links")), size,
	       json_string_value(json_object_get(r, "set")));
	json_int_t kept = json_integer_value(json_object_get(r, "kept"));
	if (kept)
		printf("%lld entries were there already, with the same content\n", kept);
	if (destroyed)
		printf("destroyed under order %s and not restored: %lld entr%s; neither names nor content can be read\n",
		       json_string_value(json_object_get(r, "order")), destroyed, destroyed == 1 ? "y" : "ies");
	json_decref(r);
	return err;
}

/* --- through the serving process --- */

static void on_progress(void *arg, const json_t *p)
{
	char size[32];
	(void)arg;
	cli_size((uint64_t)json_integer_value(json_object_get(p, "bytes")), size);
	cli_progress("restore: %lld files, %s", json_integer_value(json_object_get(p, "files")), size);
}

static int through_server(const struct args *a, const struct located *l, const char *to, struct diag *d)
{
	json_t *paths = json_array(), *ok = NULL;
	char copy[PATH_MAX];

	for (size_t i = 0; i < a->n_paths; i++)
		json_array_append_new(paths, control_name(a->paths[i]));
	json_t *req = json_pack("{s:s, s:o, s:I, s:b, s:b, s:b}", "op", "restore", "paths", paths, "at", (json_int_t)a->at,
				"in_place", a->in_place, "all", a->all, "resume", a->resume);
	if (a->set)
		json_object_set_new(req, "set", json_string(a->set));
	if (a->repository) /* the serving process stands in another folder */
		json_object_set_new(req, "repository",
				    json_string(strchr(a->repository, '/') && realpath(a->repository, copy) ? copy : a->repository));
	if (to)
		json_object_set_new(req, "to", json_string(to));
	int err = control_call(l->run, req, on_progress, NULL, &ok, d);
	return err ? err : report(ok, a, d);
}

/* --- export --- */

static int on_export_progress(void *arg, uint64_t n_files, uint64_t n_bytes)
{
	char size[32];
	(void)arg;
	if (n_files % 64 == 0) {
		cli_size(n_bytes, size);
		cli_progress("export: %llu files, %s", (unsigned long long)n_files, size);
	}
	return 0;
}

static int record(const struct located *l, struct keyring *kr, const char *set, const char *to, struct diag *d)
{
	char object[SET_ID_MAX + 8], detail[TRAIL_DETAIL_MAX + 1];

	snprintf(object, sizeof(object), "set %s", set);
	snprintf(detail, sizeof(detail), "to %.900s", to);
	return recorder_note(l, kr, "export", object, detail, d);
}

static json_t *figures(const struct restore_result *r, const char *set)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:o, s:I, s:o}", "set", set, "kept",
			 (json_int_t)r->n_kept, "files",
			 (json_int_t)r->n_files, "folders", (json_int_t)r->n_dirs, "other", (json_int_t)r->n_other,
			 "links", (json_int_t)r->n_links, "bytes", (json_int_t)r->n_bytes, "destroyed",
			 (json_int_t)r->n_destroyed, "order", r->order, "damaged", (json_int_t)r->n_damaged,
			 "first_damaged", control_text(r->first_damaged), "refused", (json_int_t)r->n_refused, "first_refused",
			 control_text(r->first_refused));
}

static int export_set(const struct args *a, struct located_repo *lr, struct keyring *kr, struct diag *d)
{
	struct restore_request in = {.paths = (const char *const *)a->paths, .n_paths = a->n_paths, .to = a->to, .resume = a->resume,
				     .progress = on_export_progress};
	struct restore_result res = {0};
	size_t set;

	int err = set_catalog_find(&lr->catalog, a->at ? NULL : a->set, a->at, &set, d);
	if (err == 0)
		err = record(&lr->l, kr, lr->catalog.sets[set].id, a->to, d);
	if (err == 0)
		err = setview_open(lr->repo, kr, &lr->catalog, set, &in.view, d);
	if (err)
		return err;
	err = restore_run(&in, &res, d);
	setview_close(in.view);
	if (err && !(err == -EBADMSG && res.n_damaged) && !(err == -EPERM && res.n_refused))
		return err;
	return report(figures(&res, lr->catalog.sets[set].id), a, d);
}

static int export(struct args *a, struct diag *d)
{
	struct header_unlock with;
	struct located_repo lr;
	struct keyring *kr;

	int err = located_repo_open(a->volume, a->repository, &lr, d);
	if (err)
		return err;
	err = cli_unlock_get(&a->secrets, "Passphrase of the volume (an export needs it): ", &with, d);
	if (err == 0)
		err = keyring_open(lr.l.store, &with, lr.l.mounted ? KEYRING_READ_ONLY : 0, &kr, d);
	if (err == 0) {
		err = export_set(a, &lr, kr, d);
		keyring_close(kr);
	}
	located_repo_close(&lr);
	return err;
}

/* Whether DIR (or its parent, for a new folder) lies in the mounted volume; the absolute path in out. */
static bool inside_mount(const char *dir, const struct located *l, char out[PATH_MAX])
{
	char parent[PATH_MAX], real[PATH_MAX];
	struct stat st, root;
	const char *last = "";

	if (!l->mounted || stat(l->mountpoint, &root) != 0)
		return false;
	snprintf(parent, sizeof(parent), "%s", dir);
	if (!realpath(dir, real)) {
		char *slash = strrchr(parent, '/');
		last = slash ? slash + 1 : dir;
		if (slash && slash != parent)
			*slash = 0;
		else
			strcpy(parent, slash ? "/" : ".");
		if (!realpath(parent, real))
			return false;
	}
	if (stat(real, &st) != 0 || st.st_dev != root.st_dev)
		return false;
	return snprintf(out, PATH_MAX, "%s%s%s", real, *last ? "/" : "", last) < PATH_MAX;
}

static int run(int argc, char **argv)
{
	struct args a = {0};
	struct diag d = {0};
	struct located l;
	char to[PATH_MAX];
	int err = arguments(&a, argc, argv);

	if (err)
		return err;
	if (locate_served(a.volume, &l, &d) != 0)
		return cli_fail(&d);
	if (a.in_place)
		err = through_server(&a, &l, NULL, &d);
	else if (inside_mount(a.to, &l, to))
		err = through_server(&a, &l, to, &d);
	else
		err = export(&a, &d);
	locate_free(&l);
	cli_unlock_free(&a.secrets);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_restore = {"restore", "bring files back from a set", usage, run};
