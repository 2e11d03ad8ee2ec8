/* coffer backup drill: asks the serving process for a restore drill, and prints what came of it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/cmd_backup.h"
#include "tools/control.h"

static void on_progress(void *arg, const json_t *p)
{
	char size[32];
	(void)arg;

	cli_size((uint64_t)json_integer_value(json_object_get(p, "bytes")), size);
	cli_progress("drill: %lld files, %s", json_integer_value(json_object_get(p, "files")), size);
}

int cmd_backup_drill_ask(const struct located *l, const struct backup_drill *a, json_t **ret,
			 struct diag *d)
{
	json_t *req = json_pack("{s:s}", "op", "backup.drill");
	char to[PATH_MAX];

	if (a->files)
		json_object_set_new(req, "files", json_integer((json_int_t)a->files));
	if (a->repository)
		json_object_set_new(req, "repository", json_string(a->repository));
	if (a->to) {
		/* The serving process has another working folder. */
		if (!realpath(a->to, to)) {
			json_decref(req);
			return diag_fail_errno(d, -errno, "%s", a->to);
		}
		json_object_set_new(req, "to", json_string(to));
	}
	int err = control_call(l->run, req, on_progress, NULL, ret, d);
	cli_progress_done();
	return err;
}

static json_int_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

int cmd_backup_drill_judge(const json_t *j, struct diag *d)
{
	const char *first = json_string_value(json_object_get(j, "first_bad"));

	return number(j, "bad") ? diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%s", first ? first : "?") : 0;
}

void cmd_backup_drill_print(const json_t *j)
{
	json_int_t bad = number(j, "bad"), destroyed = number(j, "destroyed");
	char size[32];

	cli_size((uint64_t)number(j, "bytes"), size);
	printf("drill %s on set %s: %lld of %lld files restored, %s, and compared, %lld with the live file as well: ",
	       json_string_value(json_object_get(j, "drill")), json_string_value(json_object_get(j, "set")),
	       number(j, "files"), number(j, "files_in_set"), size, number(j, "live"));
	if (bad)
		printf("%lld BAD", bad);
	else
		printf("good");
	if (destroyed)
		printf(", %lld destroyed under orders", destroyed);
	putchar('\n');
}

int cmd_backup_drill(const char *volume, const struct backup_drill *a, bool json, struct diag *d)
{
	struct located l;
	json_t *j = NULL;
	int err = locate_served(volume, &l, d);

	if (err)
		return err;
	err = cmd_backup_drill_ask(&l, a, &j, d);
	locate_free(&l);
	if (err)
		return err;
	err = cmd_backup_drill_judge(j, d);
	if (json)
		cli_json(json_incref(j));
	else
		cmd_backup_drill_print(j);
	json_decref(j);
	return err;
}
