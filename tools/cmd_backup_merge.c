/* coffer backup merge: asks the serving process, which has the keys of indices and the signature. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cmd_backup_merge.h"
#include "tools/control.h"

static void on_progress(void *arg, const json_t *p)
{
	char size[32];
	(void)arg;

	cli_size((uint64_t)json_integer_value(json_object_get(p, "bytes")), size);
	cli_progress("merge: %lld records, %s", json_integer_value(json_object_get(p, "records")), size);
}

int cmd_backup_merge_ask(const struct located *l, json_t *req, json_t **ret, struct diag *d)
{
	int err = control_call(l->run, req, on_progress, NULL, ret, d);

	cli_progress_done();
	return err;
}

void cmd_backup_merge_print(const json_t *answer)
{
	bool dry_run = json_is_true(json_object_get(answer, "dry_run"));
	const json_t *list = json_object_get(answer, "merged"), *run, *id;
	char size[32];
	size_t i, k;

	json_array_foreach(list, i, run) {
		const json_t *sets = json_object_get(run, "sets");

		json_array_foreach(sets, k, id)
			printf("%-6s  %s\n", "merge", json_string_value(id));
		if (dry_run)
			continue;
		cli_size((uint64_t)json_integer_value(json_object_get(run, "stored")), size);
		printf("into    %s: %lld records, %s; %lld dropped\n", json_string_value(json_object_get(run, "set")),
		       json_integer_value(json_object_get(run, "kept")), size,
		       json_integer_value(json_object_get(run, "dropped")));
	}
	if (json_array_size(list) == 0)
		printf("nothing to merge\n");
	else if (dry_run)
		printf("nothing was changed\n");
}

int life_merge(struct life_args *a, struct diag *d)
{
	json_t *sets = json_array(), *ok = NULL;
	struct located l;

	for (size_t i = 0; i < a->n_sets; i++)
		json_array_append_new(sets, json_string(a->sets[i]));
	json_t *req = json_pack("{s:s, s:o, s:I, s:b}", "op", "backup.merge", "sets", sets, "older_than_days",
				(json_int_t)a->older_than, "dry_run", a->dry_run);
	if (a->repository)
		json_object_set_new(req, "repository", json_string(a->repository));
	int err = locate_served(a->operands[0], &l, d);
	if (err) {
		json_decref(req);
		return err;
	}
	err = cmd_backup_merge_ask(&l, req, &ok, d);
	locate_free(&l);
	if (err)
		return err;
	if (a->json)
		cli_json(json_incref(ok));
	else
		cmd_backup_merge_print(ok);
	json_decref(ok);
	return 0;
}
