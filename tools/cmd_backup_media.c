/*
 * The register of offline media: telling it, entering and forgetting media. Who enters is recorded on the trail
 * and signed by the volume: by the serving process, or here with the unlock secret when it is not mounted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backup/medium.h"
#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/note.h"
#include "tools/cmd_backup_media.h"

static int register_here(struct recorder *rec, struct repo *r, struct medium *m, char **ret_note, struct diag *d)
{
	char object[128];

	snprintf(object, sizeof(object), "medium %s", m->label);
	snprintf(m->by, sizeof(m->by), "uid %u", (unsigned)getuid());
	m->time = time(NULL);
	int err = recorder_put(rec, "backup.medium", object, m->reason, "ok", m->forgotten ? "forgotten" : "", d);
	return err ? err : medium_put(r, keyring_volume_id(rec->kr), keyring_sign_seed(rec->kr), m, ret_note, d);
}

static int register_served(struct recorder *rec, const char *repository, const struct medium *m, char **ret_note,
			   struct diag *d)
{
	json_t *sets = json_array(), *ok = NULL;
	char digest[65];

	for (size_t i = 0; i < m->n_sets; i++)
		json_array_append_new(sets, json_string(m->sets[i]));
	bytes_hex(digest, m->digest, 32);
	json_t *req = json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:s, s:b}", "op", "backup.medium", "label", m->label,
				"kept", conf_kept_name(m->kept), "digest", digest, "bytes", (json_int_t)m->n_bytes,
				"sets", sets, "reason", m->reason, "forgotten", m->forgotten);
	if (repository)
		json_object_set_new(req, "repository", json_string(repository));
	int err = control_call(rec->l->run, req, NULL, NULL, &ok, d);
	if (err)
		return err;
	const char *note = json_string_value(json_object_get(ok, "note"));
	*ret_note = note ? strdup(note) : NULL;
	json_decref(ok);
	return *ret_note ? 0 : diag_fail_errno(d, -ENOMEM, "medium %s", m->label);
}

int media_register(struct recorder *rec, struct repo *r, const char *repository, struct medium *m, char **ret_note,
		   struct diag *d)
{
	return rec->kr ? register_here(rec, r, m, ret_note, d) : register_served(rec, repository, m, ret_note, d);
}

int media_find(const struct located_repo *lr, const char *label, struct medium *ret, struct diag *d)
{
	struct medium *list = NULL;
	size_t n = 0, n_bad;
	const struct header *h = lr->l.header;
	int err = medium_list(lr->repo, h->volume_id, h->sign_pk, &list, &n, &n_bad, d);

	if (err)
		return err;
	err = -ENOENT;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(list[i].label, label) != 0)
			continue;
		*ret = list[i];
		list[i] = (struct medium){0};
		err = 0;
	}
	medium_list_free(list, n);
	return err == -ENOENT ? diag_fail(d, DIAG_NOT_FOUND, err, "medium %s", label) : err;
}

/* --- list --- */

static json_t *told(const struct medium *m)
{
	json_t *sets = json_array();
	char digest[65];

	for (size_t i = 0; i < m->n_sets; i++)
		json_array_append_new(sets, json_string(m->sets[i]));
	bytes_hex(digest, m->digest, 32);
	return json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:s, s:o}", "label", m->label, "kept",
			 conf_kept_name(m->kept), "state", m->forgotten ? "forgotten" : "present", "time",
			 (json_int_t)m->time, "by", m->by, "reason", m->reason, "bytes", (json_int_t)m->n_bytes,
			 "digest", digest, "sets", sets);
}

static void print(const struct medium *m)
{
	char when[32], size[32];

	cli_time(m->time, when);
	cli_size(m->n_bytes, size);
	if (m->forgotten) {
		printf("%-20s  forgotten %s by %s: %s\n", m->label, when, m->by, m->reason);
		return;
	}
	printf("%-20s  kept with the %s, written %s by %s, %zu sets, %s\n", m->label, conf_kept_name(m->kept), when, m->by,
	       m->n_sets, size);
	for (size_t i = 0; i < m->n_sets; i++)
		printf("  %s\n", m->sets[i]);
}

static int list_media(const struct located_repo *lr, bool json, struct diag *d)
{
	const struct header *h = lr->l.header;
	struct medium *list = NULL;
	json_t *all = json_array();
	size_t n = 0, n_bad = 0;
	int err = medium_list(lr->repo, h->volume_id, h->sign_pk, &list, &n, &n_bad, d);

	for (size_t i = 0; err == 0 && i < n; i++) {
		if (json)
			json_array_append_new(all, told(&list[i]));
		else
			print(&list[i]);
	}
	if (err == 0 && json)
		cli_json(json_incref(all));
	json_decref(all);
	medium_list_free(list, n);
	if (err == 0 && n_bad)
		err = diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG, "%zu entries under %s/media", n_bad, repo_url(lr->repo));
	return err;
}

/* --- forget --- */

static int forget(struct life_args *a, const struct located_repo *lr, struct diag *d)
{
	CLEANUP_WITH(medium_free) struct medium m = {0};
	CLEANUP_FREE char *note = NULL;
	struct recorder rec = {0};

	if (!a->reason || !*a->reason || strlen(a->reason) > MEDIUM_REASON_MAX ||
	    !note_value_valid(a->reason, strlen(a->reason)))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "media forget needs --reason: what became of the medium");
	int err = media_find(lr, a->operands[2], &m, d);
	if (err)
		return err;
	m.forgotten = true;
	strcpy(m.reason, a->reason);
	err = recorder_open(&rec, &lr->l, &a->secrets, d);
	if (err == 0)
		err = media_register(&rec, lr->repo, a->repository, &m, &note, d);
	err = recorder_close(&rec, err, d);
	if (err == 0 && !a->json)
		printf("medium %s is forgotten: %zu sets lie there no more\n", m.label, m.n_sets);
	else if (err == 0)
		cli_json(told(&m));
	return err;
}

int life_media(struct life_args *a, struct diag *d)
{
	bool listing = !strcmp(a->operands[0], "list");
	struct located_repo lr;

	if (listing ? a->n_operands != 2 : strcmp(a->operands[0], "forget") != 0 || a->n_operands != 3)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "media list VOLUME, or media forget VOLUME LABEL");
	int err = located_repo_open(a->operands[1], a->repository, &lr, d);
	if (err)
		return err;
	err = listing ? list_media(&lr, a->json, d) : forget(a, &lr, d);
	located_repo_close(&lr);
	return err;
}
