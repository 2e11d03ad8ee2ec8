/*
 * coffer backup import: sets from an offline medium, or from any copy of a repository, back into one.
 *
 * The medium is read as hostile: names come from signed manifests only, no link is followed, and every object is
 * compared with its digest before it is put. A set that is damaged there is left out, with what builds on it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cmd_backup_media.h"

struct import {
	const struct life_args *a;
	const struct located_repo *lr;
	struct recorder rec;
	struct repo *from;
	struct set_catalog catalog; /* of the medium */
	size_t *sets, n_sets;
	char label[CONF_NAME_MAX + 1]; /* "" it says none */
	struct set_copying copying;
	size_t n_imported, n_bad;
	char first_bad[sizeof(((struct diag *)0)->object)];
};

static int open_medium(struct import *x, struct diag *d)
{
	CLEANUP_WITH(medium_free) struct medium m = {0};
	const struct header *h = x->lr->l.header;
	int err = repo_open(x->a->operands[0], h->volume_id, h->sign_pk, &x->from, d);

	if (err)
		return err;
	err = medium_read(x->from, h->volume_id, h->sign_pk, &m);
	if (err && err != -ENOENT)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, err, "%s/%s", x->a->operands[0], MEDIUM_OBJECT);
	if (x->a->label && strcmp(m.label, x->a->label) != 0)
		return diag_fail(d, DIAG_MEDIUM, -EPERM, "%s is labelled %s", x->a->operands[0],
				 *m.label ? m.label : "nothing");
	strcpy(x->label, m.label);
	return set_catalog_load(x->from, h->volume_id, h->sign_pk, &x->catalog, d);
}

static void bad(struct import *x, const char *text)
{
	if (x->n_bad++ == 0)
		snprintf(x->first_bad, sizeof(x->first_bad), "%s", text);
}

/* --- what a set builds on --- */

static bool in_repository(const struct set_catalog *c, const char *id)
{
	for (size_t i = 0; i < c->n_sets; i++)
		if (set_stands_for(&c->sets[i], id))
			return true;
	return false;
}

static int check_room(struct import *x, struct diag *d)
{
	uint64_t n = 0, one;

	for (size_t i = 0; i < x->n_sets; i++) {
		int err = set_copy_missing(x->lr->repo, &x->catalog.sets[x->sets[i]], &one);

		if (err)
			return diag_fail_errno(d, err, "%s", repo_url(x->lr->repo));
		n += one;
	}
	return media_room(repo_url(x->lr->repo), n, d);
}

/* --- copying --- */

/* Parents come first; one that did not come over takes what builds on it along. */
static int copy_one(struct import *x, const struct set_manifest *m, bool *done, struct diag *d)
{
	struct diag why = {0};
	char text[200];
	bool ground = m->full || in_repository(&x->lr->catalog, m->parent);

	for (size_t i = 0; !ground && i < x->catalog.n_sets; i++)
		ground = done[i] && set_stands_for(&x->catalog.sets[i], m->parent);
	if (!ground) {
		snprintf(text, sizeof(text), "set %s: set %s, which it builds on, is not there", m->id, m->parent);
		bad(x, text);
		return 0;
	}
	int err = set_copy(&x->copying, m, &why);
	if (err == -EBADMSG) {
		bad(x, why.object);
		return 0;
	}
	if (err) {
		if (d)
			*d = why;
		return err;
	}
	x->n_imported++;
	done[m - x->catalog.sets] = true;
	return 0;
}

static int copy_notes(struct import *x, struct diag *d)
{
	static const char *const notes[] = {"charter/", "announce/"};
	char text[200];
	int err = 0;

	for (size_t i = 0; err == 0 && i < 2; i++) {
		size_t n_bad = 0;

		err = set_copy_notes(&x->copying, notes[i], &n_bad, d);
		if (err == 0 && n_bad) {
			snprintf(text, sizeof(text), "%s: %zu notes that do not verify", notes[i], n_bad);
			bad(x, text);
		}
	}
	return err;
}

static int copy(struct import *x, struct diag *d)
{
	CLEANUP_FREE bool *done = calloc(x->catalog.n_sets + 1, sizeof(*done));
	const struct header *h = x->lr->l.header;
	int err = done ? 0 : diag_fail_errno(d, -ENOMEM, "%s", x->a->operands[0]);

	x->copying = (struct set_copying){.from = x->from, .to = x->lr->repo, .volume_id = h->volume_id,
					  .sign_pk = h->sign_pk, .progress = media_progress, .arg = (void *)"import"};
	if (err == 0)
		err = copy_notes(x, d);
	for (size_t i = 0; err == 0 && i < x->n_sets; i++)
		err = copy_one(x, &x->catalog.sets[x->sets[i]], done, d);
	cli_progress_done();
	return err;
}

static int recorded(struct import *x, struct diag *d)
{
	char object[128], detail[256];
	struct diag ignored = {0};

	snprintf(object, sizeof(object), "medium %s", *x->label ? x->label : "without a label");
	snprintf(detail, sizeof(detail), "%zu sets from %.150s", x->n_sets, x->a->operands[0]);
	int err = recorder_put(&x->rec, "backup.import", object, "", "begun", detail, d);
	if (err)
		return err;
	err = copy(x, d);
	snprintf(detail, sizeof(detail), "%zu sets, %zu bad", x->n_imported, x->n_bad);
	int trail = recorder_put(&x->rec, "backup.import", object, "", err ? "failed" : x->n_bad ? "integrity" : "ok",
				 detail, err ? &ignored : d);
	return err ? err : trail;
}

static int report(const struct import *x, struct diag *d)
{
	char size[32];

	cli_size(x->copying.n_bytes, size);
	if (x->a->json)
		cli_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:s}", "label", x->label, "sets", (json_int_t)x->n_imported,
				   "objects_copied", (json_int_t)x->copying.n_objects, "bytes_copied",
				   (json_int_t)x->copying.n_bytes, "bad", (json_int_t)x->n_bad, "first_bad",
				   x->first_bad));
	else
		printf("%zu sets verified and in %s; %s were copied\n", x->n_imported, repo_url(x->lr->repo), size);
	return x->n_bad ? diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%s", x->first_bad) : 0;
}

static int import(struct import *x, struct life_args *a, struct diag *d)
{
	char text[200];
	int err = open_medium(x, d);

	for (size_t i = 0; err == 0 && i < x->catalog.n_damaged && a->n_sets == 0; i++) {
		snprintf(text, sizeof(text), "set %s, manifest or table of packs", x->catalog.damaged[i]);
		bad(x, text);
	}
	if (err == 0)
		err = media_choose(&x->catalog, a, true, &x->sets, &x->n_sets, d);
	if (err == 0)
		err = check_room(x, d);
	if (err == 0)
		err = recorder_open(&x->rec, &x->lr->l, &a->secrets, d);
	if (err == 0)
		err = recorded(x, d);
	err = recorder_close(&x->rec, err, d);
	return err ? err : report(x, d);
}

int life_import(struct life_args *a, struct diag *d)
{
	struct located_repo lr;
	struct import x = {.a = a, .lr = &lr};
	int err = located_repo_open(a->operands[1], a->repository, &lr, d);

	if (err)
		return err;
	err = import(&x, a, d);
	free(x.sets);
	set_catalog_free(&x.catalog);
	repo_close(x.from);
	located_repo_close(&lr);
	return err;
}
