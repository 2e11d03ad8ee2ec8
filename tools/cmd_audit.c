/* coffer audit: showing and verifying the trail. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/keyring.h"
#include "core/trail.h"
#include "tools/cli.h"
#include "tools/control.h"
#include "tools/located_repo.h"
#include "tools/trail_anew.h"

static const char usage[] =
	"usage: coffer audit show VOLUME [--from N] [--operation NAME] [--json] [secret]\n"
	"       coffer audit verify VOLUME [--checkpoint FILE ..] [--json]\n\n"
	"show    the records, oldest first; through the serving process, or with the secret.\n"
	"verify  recomputes the whole tree from the store, without keys, and compares it with the checkpoint, with those\n"
	"        that the sets of the repositories hold, and with each --checkpoint FILE kept elsewhere. Exit code 4 when wrong.\n"
	"Secret: --passphrase-file FILE   --key-file FILE   --identity FILE [--identity-passphrase-file FILE]\n";

#define HEADS_MAX 4096
#define PAGE 5000

struct args {
	const char *volume, *operation;
	const char *checkpoints[64];
	size_t n_checkpoints;
	uint64_t from;
	bool json;
	struct cli_unlock secrets;
};

static int arguments(struct args *a, int argc, char **argv)
{
	static const struct option options[] = {{"from", required_argument, NULL, 'f'},
						{"operation", required_argument, NULL, 'o'},
						{"checkpoint", required_argument, NULL, 'c'},
						{"json", no_argument, NULL, 'j'},
						CLI_UNLOCK_OPTIONS, {0}};
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'f')
			a->from = strtoull(optarg, &end, 10);
		else if (c == 'o')
			a->operation = optarg;
		else if (c == 'j')
			a->json = true;
		else if (c == 'c' && a->n_checkpoints < 64)
			a->checkpoints[a->n_checkpoints++] = optarg;
		else if (!cli_unlock_option(&a->secrets, c, optarg))
			return -EINVAL;
		if (c == 'f' && (*optarg < '0' || *optarg > '9' || *end))
			return -EINVAL;
	}
	if (argc - optind != 1)
		return -EINVAL;
	a->volume = argv[optind];
	return 0;
}

/* --- show --- */

static void print_entry(const struct args *a, const json_t *e)
{
	const char *operation = json_string_value(json_object_get(e, "operation"));
	const char *member = json_string_value(json_object_get(e, "member"));
	const char *detail = json_string_value(json_object_get(e, "detail"));
	const char *purpose = json_string_value(json_object_get(e, "purpose"));
	char when[32];

	if (a->operation && strcmp(a->operation, operation) != 0)
		return;
	cli_time(json_integer_value(json_object_get(e, "time_ns")) / 1000000000, when);
	printf("%6lld  %s  uid %lld%s%s  %-18s %-9s %s%s%s%s%s\n", json_integer_value(json_object_get(e, "index")), when,
	       json_integer_value(json_object_get(e, "uid")), *member ? " " : "", member, operation,
	       json_string_value(json_object_get(e, "result")), json_string_value(json_object_get(e, "object")),
	       *purpose ? "  " : "", purpose, *detail ? "  " : "", detail);
}

static void print_entries(const struct args *a, json_t *entries)
{
	size_t i;
	json_t *e;

	if (a->json) {
		json_t *out = json_array();
		json_array_foreach(entries, i, e)
			if (!a->operation || !strcmp(a->operation, json_string_value(json_object_get(e, "operation"))))
				json_array_append(out, e);
		cli_json(out);
		return;
	}
	json_array_foreach(entries, i, e)
		print_entry(a, e);
}

/* No record is left out for a byte in it that JSON does not take. */
static int on_entry(uint64_t index, const struct trail_event *ev, void *arg)
{
	json_t *e = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "index", (json_int_t)index, "time_ns",
			      (json_int_t)ev->time_ns, "uid", (json_int_t)ev->uid, "pid", (json_int_t)ev->pid, "member",
			      control_text(ev->member), "operation", control_text(ev->operation), "object",
			      control_text(ev->object), "purpose", control_text(ev->purpose), "result",
			      control_text(ev->result), "detail", control_text(ev->detail));

	return json_array_append_new(arg, e) ? -ENOMEM : 0;
}

static int show_unmounted(struct args *a, const struct located *l, json_t *entries, struct diag *d)
{
	struct header_unlock with;
	struct keyring *kr;
	struct trail *t;

	int err = cli_unlock_get(&a->secrets, "Passphrase of the volume: ", &with, d);
	if (err == 0)
		err = keyring_open(l->store, &with, 0, &kr, d);
	if (err)
		return err;
	err = trail_open(l->store_fd, kr, NULL, &t, d);
	if (err == 0) {
		err = trail_read(t, a->from, on_entry, entries, d);
		trail_close(t);
	}
	keyring_close(kr);
	return err;
}

/* Page by page: the serving process tells a part of a long trail at a time. */
static int show_mounted(const struct args *a, const struct located *l, json_t *entries, struct diag *d)
{
	json_int_t from = (json_int_t)a->from;
	size_t n = PAGE;
	int err = 0;

	while (err == 0 && n == PAGE) {
		json_t *ok = NULL;

		err = control_call(l->run, json_pack("{s:s, s:I, s:I}", "op", "trail.read", "from", from, "max",
						     (json_int_t)PAGE), NULL, NULL, &ok, d);
		json_t *page = json_object_get(ok, "entries");
		n = json_array_size(page);
		if (n) {
			from = json_integer_value(json_object_get(json_array_get(page, n - 1), "index")) + 1;
			json_array_extend(entries, page);
		}
		json_decref(ok);
	}
	return err;
}

static int show(struct args *a, const struct located *l, struct diag *d)
{
	json_t *entries = json_array();
	int err = l->mounted ? show_mounted(a, l, entries, d) : show_unmounted(a, l, entries, d);

	if (err == 0)
		print_entries(a, entries);
	json_decref(entries);
	return err;
}

/* --- verify --- */

static int given_checkpoints(const struct args *a, const struct located *l, struct trail_head *heads, size_t *n,
			     struct diag *d)
{
	for (size_t i = 0; i < a->n_checkpoints; i++) {
		CLEANUP_FREE uint8_t *text = NULL;
		size_t len;
		int err = durable_read(AT_FDCWD, a->checkpoints[i], 65536, &text, &len);
		if (err)
			return diag_fail_errno(d, err, "%s", a->checkpoints[i]);
		err = trail_checkpoint_parse((const char *)text, l->header->volume_id, l->header->sign_pk, &heads[*n]);
		if (err)
			return diag_fail(d, DIAG_NOTE_UNSIGNED, err, "%s", a->checkpoints[i]);
		(*n)++;
	}
	return 0;
}

/* What the trail is compared with. */
struct earlier {
	struct trail_head *heads;
	size_t n;
	struct trail_anew anew; /* created 0: it never began anew */
	size_t n_lost;		/* checkpoints of the trail that was lost before then */
};

/* Every set holds the checkpoint of its time: the trail must extend all of them, but those of a trail that was lost. */
static void set_checkpoints(const char *volume, struct earlier *e)
{
	struct located_repo lr;
	struct diag ignored = {0};

	if (located_repo_open(volume, NULL, &lr, &ignored) != 0)
		return;
	for (size_t i = 0; i < lr.catalog.n_sets && e->n < HEADS_MAX; i++) {
		const struct set_manifest *m = &lr.catalog.sets[i];

		if (e->anew.created && m->to_txn <= e->anew.txn)
			e->n_lost++;
		else
			e->heads[e->n++] = m->trail;
	}
	located_repo_close(&lr);
}

static int collect(const struct args *a, const struct located *l, struct earlier *e, struct diag *d)
{
	int err = trail_anew_read(l->store_fd, l->header->volume_id, l->header->sign_pk, &e->anew, d);

	if (err == 0 || err == -ENOENT)
		err = given_checkpoints(a, l, e->heads, &e->n, d);
	if (err == 0)
		set_checkpoints(a->volume, e);
	return err;
}

static void print_verdict(const struct trail_verdict *v, const struct earlier *e)
{
	char when[32];

	printf("trail whole: %llu entries under the checkpoint, %llu after it; consistent with %zu earlier checkpoints\n",
	       (unsigned long long)v->size, (unsigned long long)v->n_tail, e->n);
	cli_time(e->anew.created, when);
	if (e->anew.created)
		printf("it began anew at %s: the one before was lost, with %llu entries or more; %zu checkpoints in sets are of that one\n",
		       when, (unsigned long long)e->anew.old.size, e->n_lost);
}

static int judge(const struct args *a, const struct located *l, const struct earlier *e, struct diag *d)
{
	struct trail_verdict v;
	int err = trail_verify(l->store_fd, l->header->volume_id, l->header->sign_pk, e->heads, e->n, &v, d);

	if (err)
		return err;
	if (a->json)
		cli_json(json_pack("{s:I, s:I, s:I, s:b, s:I, s:s, s:I, s:I}", "size", (json_int_t)v.size, "tail",
				   (json_int_t)v.n_tail, "checkpoints", (json_int_t)e->n, "damaged", v.damaged,
				   "first_wrong", (json_int_t)v.first_wrong, "why", v.why, "began_anew",
				   (json_int_t)e->anew.created, "checkpoints_lost", (json_int_t)e->n_lost));
	else if (!v.damaged)
		print_verdict(&v, e);
	if (v.damaged)
		return diag_fail(d, DIAG_TRAIL_DAMAGED, -EBADMSG, "%s, entry %llu: %s", l->store,
				 (unsigned long long)v.first_wrong, v.why);
	return 0;
}

static int verify(struct args *a, const struct located *l, struct diag *d)
{
	CLEANUP_FREE struct trail_head *heads = calloc(HEADS_MAX + 64, sizeof(*heads));
	struct earlier e = {.heads = heads};
	json_t *ok = NULL;

	if (!heads)
		return diag_fail_errno(d, -ENOMEM, "%s", l->store);
	/* Folds in what the serving process has noted since its last checkpoint. */
	if (l->mounted) {
		struct diag ignored = {0};
		control_call(l->run, json_pack("{s:s}", "op", "trail.checkpoint"), NULL, NULL, &ok, &ignored);
		json_decref(ok);
	}
	int err = collect(a, l, &e, d);
	return err ? err : judge(a, l, &e, d);
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"show", "verify", NULL};
	int verb = cli_verb(argc > 1 ? argv[1] : NULL, verbs);
	struct args a = {0};
	struct diag d = {0};
	struct located l;

	if (verb < 0)
		return cli_usage(&cmd_audit, "show or verify");
	if (arguments(&a, argc - 1, argv + 1) != 0)
		return cli_usage(&cmd_audit, "one VOLUME, and options that %s knows", verbs[verb]);
	if ((verb == 0 ? locate_served : locate)(a.volume, &l, &d) != 0)
		return cli_fail(&d);
	int err = verb == 0 ? show(&a, &l, &d) : verify(&a, &l, &d);
	cli_unlock_free(&a.secrets);
	locate_free(&l);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_audit = {"audit", "the trail", usage, run};
