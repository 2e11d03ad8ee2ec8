/*
 * coffer backup export: sets, and what they build on, as ciphertext onto labelled offline media.
 *
 * The medium becomes a repository like any, so that it is restored from, scrubbed and verified as one; its
 * label stands in the object "medium", and in the register of the repository that it was made from. No key is
 * needed for the copy. What is interrupted goes on when the command is given again: sets get their manifests
 * last, and the label is written when everything is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/conf.h"
#include "tools/cmd_backup_media.h"

#define ROOM_SLACK (4u << 20)

/* --- which sets --- */

static int mark_chain(const struct set_catalog *c, size_t i, bool *wanted, struct diag *d)
{
	CLEANUP_FREE size_t *chain = NULL;
	size_t n = 0;
	int err = set_catalog_chain(c, i, &chain, &n, d);

	for (size_t k = 0; err == 0 && k < n; k++)
		wanted[chain[k]] = true;
	return err;
}

int media_choose(const struct set_catalog *c, const struct life_args *a, bool all, size_t **ret, size_t *ret_n,
		 struct diag *d)
{
	CLEANUP_FREE bool *wanted = calloc(c->n_sets + 1, sizeof(*wanted));
	CLEANUP_FREE size_t *list = calloc(c->n_sets + 1, sizeof(*list));
	size_t n = 0, i;
	int err = wanted && list ? 0 : diag_fail_errno(d, -ENOMEM, "sets");

	for (size_t k = 0; err == 0 && k < a->n_sets; k++) {
		err = set_catalog_find(c, a->sets[k], 0, &i, d);
		if (err == 0)
			err = mark_chain(c, i, wanted, d);
	}
	if (err == 0 && a->n_sets == 0 && !all) {
		err = set_catalog_find(c, "latest", 0, &i, d);
		if (err == 0)
			err = mark_chain(c, i, wanted, d);
	}
	for (i = 0; err == 0 && i < c->n_sets; i++)
		if (wanted[i] || (all && a->n_sets == 0))
			list[n++] = i;
	if (err)
		return err;
	*ret = STEAL_PTR(list);
	*ret_n = n;
	return 0;
}

int media_room(const char *url, uint64_t n, struct diag *d)
{
	struct statvfs st;

	if (!strncmp(url, "file:", 5))
		url += 5;
	if (strstr(url, "://"))
		return 0;
	if (statvfs(url, &st) != 0)
		return diag_fail_errno(d, -errno, "%s", url);
	uint64_t room = (uint64_t)st.f_bavail * st.f_frsize;
	if (n && n + ROOM_SLACK > room)
		return diag_fail(d, DIAG_NO_SPACE, -ENOSPC, "%s: %llu bytes are to be written, %llu are free", url,
				 (unsigned long long)n, (unsigned long long)room);
	return 0;
}

int media_progress(void *arg, uint64_t n_objects, uint64_t n_bytes)
{
	char size[32];

	cli_size(n_bytes, size);
	cli_progress("%s: %llu objects, %s", (const char *)arg, (unsigned long long)n_objects, size);
	return 0;
}

/* --- the medium --- */

struct export {
	const struct life_args *a;
	const struct located_repo *lr;
	struct recorder rec;
	struct repo *to;
	enum conf_kept kept;
	struct medium m;       /* what it says of itself, then what it will */
	size_t *sets, n_sets;  /* positions in the catalogue */
	struct set_copying copying;
};

/* What coffer.conf says of the label, unless the command says it. */
static int find_kept(struct export *x, struct diag *d)
{
	struct conf c;
	int err = conf_load(x->lr->l.store_fd, &c, d);

	if (err)
		return err;
	if (x->a->kept)
		x->kept = strcmp(x->a->kept, "platform") ? CONF_KEPT_DEPARTMENT : CONF_KEPT_PLATFORM;
	for (size_t i = 0; !x->a->kept && i < c.n_media; i++)
		if (!strcmp(c.media[i].name, x->a->label))
			x->kept = c.media[i].kept;
	if (x->kept == CONF_KEPT_UNSAID)
		return diag_fail(d, DIAG_USAGE, -EINVAL,
				 "--kept department or platform: coffer.conf has no [medium %s]", x->a->label);
	return 0;
}

static int same_folder(const char *url, const char *to)
{
	struct stat a, b;

	return stat(strncmp(url, "file:", 5) ? url : url + 5, &a) == 0 && stat(to, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(const struct set_manifest *const *)a)->id, (*(const struct set_manifest *const *)b)->id);
}

/* What the medium holds now, all of it, from its own catalogue. */
static int describe(struct export *x, struct diag *d)
{
	CLEANUP_WITH(set_catalog_free) struct set_catalog c = {0};
	CLEANUP_FREE const struct set_manifest **sets = NULL;
	const struct header *h = x->lr->l.header;
	int err = set_catalog_load(x->to, h->volume_id, h->sign_pk, &c, d);

	if (err)
		return err;
	medium_free(&x->m);
	x->m = (struct medium){.kept = x->kept};
	snprintf(x->m.label, sizeof(x->m.label), "%s", x->a->label);
	sets = calloc(c.n_sets + 1, sizeof(*sets));
	x->m.sets = calloc(c.n_sets + 1, sizeof(*x->m.sets));
	if (!sets || !x->m.sets)
		return diag_fail_errno(d, -ENOMEM, "%s", x->a->to);
	for (size_t i = 0; i < c.n_sets; i++)
		sets[i] = &c.sets[i];
	if (c.n_sets)
		qsort(sets, c.n_sets, sizeof(*sets), by_id);
	for (size_t i = 0; i < c.n_sets; i++) {
		strcpy(x->m.sets[x->m.n_sets++], sets[i]->id);
		x->m.n_bytes += sets[i]->index.len + sets[i]->pack_table.len;
		for (size_t k = 0; k < sets[i]->n_packs; k++)
			x->m.n_bytes += sets[i]->packs[k].len;
	}
	medium_digest(sets, c.n_sets, x->m.digest);
	return 0;
}

/* The folder holds this label or none; and the register does not know the label on another medium. */
static int check_label(struct export *x, struct diag *d)
{
	CLEANUP_WITH(medium_free) struct medium known = {0};
	const struct header *h = x->lr->l.header;
	struct diag none = {0};
	int err = medium_read(x->to, h->volume_id, h->sign_pk, &x->m);

	if (err == 0)
		return strcmp(x->m.label, x->a->label) == 0
			       ? 0 : diag_fail(d, DIAG_MEDIUM, -EPERM, "%s is labelled %s", x->a->to, x->m.label);
	if (err != -ENOENT)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, err, "%s/%s", x->a->to, MEDIUM_OBJECT);
	err = media_find(x->lr, x->a->label, &known, &none);
	if (err == 0 && !known.forgotten && describe(x, d) != 0)
		return -EIO;
	/* Stopped between register and label, it holds exactly what the register says. */
	if (err == 0 && !known.forgotten && memcmp(known.digest, x->m.digest, sizeof(known.digest)) != 0)
		return diag_fail(d, DIAG_MEDIUM, -EPERM, "%s has no label, and there is a medium %s with %zu sets",
				 x->a->to, x->a->label, known.n_sets);
	return err && err != -ENOENT ? diag_fail_errno(d, err, "medium %s", x->a->label) : 0;
}

static int open_medium(struct export *x, struct diag *d)
{
	const struct header *h = x->lr->l.header;

	if (strstr(x->a->to, "://"))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "--to %s: a folder", x->a->to);
	if (same_folder(repo_url(x->lr->repo), x->a->to))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "--to %s is the repository itself", x->a->to);
	int err = repo_create_copy(x->a->to, x->lr->repo, d);
	if (err == 0)
		err = repo_open(x->a->to, h->volume_id, h->sign_pk, &x->to, d);
	return err ? err : check_label(x, d);
}

static int check_room(struct export *x, struct diag *d)
{
	uint64_t n = 0, one;

	for (size_t i = 0; i < x->n_sets; i++) {
		const struct set_manifest *m = &x->lr->catalog.sets[x->sets[i]];
		int err = set_copy_missing(x->to, m, &one);

		if (err)
			return diag_fail_errno(d, err, "%s", x->a->to);
		n += one;
	}
	return media_room(x->a->to, n, d);
}

/* --- copying --- */

static int copy(struct export *x, struct diag *d)
{
	static const char *const notes[] = {"charter/", "announce/"};
	const struct header *h = x->lr->l.header;
	int err = 0;

	x->copying = (struct set_copying){.from = x->lr->repo, .to = x->to, .volume_id = h->volume_id,
					  .sign_pk = h->sign_pk, .progress = media_progress, .arg = (void *)"export"};
	for (size_t i = 0; err == 0 && i < 2; i++) {
		size_t n_bad;

		err = set_copy_notes(&x->copying, notes[i], &n_bad, d);
		if (err == 0 && n_bad)
			err = diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG, "%s/%s: %zu notes", repo_url(x->lr->repo),
					notes[i], n_bad);
	}
	for (size_t i = 0; err == 0 && i < x->n_sets; i++)
		err = set_copy(&x->copying, &x->lr->catalog.sets[x->sets[i]], d);
	cli_progress_done();
	return err;
}

static int label(struct export *x, struct diag *d)
{
	CLEANUP_FREE char *note = NULL;
	int err = describe(x, d);

	if (err == 0)
		err = media_register(&x->rec, x->lr->repo, x->a->repository, &x->m, &note, d);
	if (err == 0) {
		err = repo_put(x->to, MEDIUM_OBJECT, note, strlen(note));
		if (err)
			diag_fail_errno(d, err, "%s/%s", x->a->to, MEDIUM_OBJECT);
	}
	return err;
}

static int recorded(struct export *x, struct diag *d)
{
	char object[128], detail[256];

	snprintf(object, sizeof(object), "medium %s", x->a->label);
	snprintf(detail, sizeof(detail), "%zu sets to %.150s", x->n_sets, x->a->to);
	int err = recorder_put(&x->rec, "backup.export", object, conf_kept_name(x->kept), "begun", detail, d);
	if (err)
		return err;
	err = copy(x, d);
	if (err == 0)
		err = label(x, d);
	struct diag ignored = {0};
	int trail = recorder_put(&x->rec, "backup.export", object, conf_kept_name(x->kept), err ? "failed" : "ok",
				 err ? diag_name(d ? d->id : DIAG_NONE) : detail, err ? &ignored : d);
	return err ? err : trail;
}

static void report(const struct export *x)
{
	char size[32];

	if (x->a->json) {
		cli_json(json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "label", x->m.label, "kept",
				   conf_kept_name(x->kept), "sets", (json_int_t)x->m.n_sets, "bytes",
				   (json_int_t)x->m.n_bytes, "objects_copied", (json_int_t)x->copying.n_objects,
				   "bytes_copied", (json_int_t)x->copying.n_bytes));
		return;
	}
	cli_size(x->copying.n_bytes, size);
	printf("medium %s holds %zu sets, each verified after copying; %s were copied. Kept with the %s.\n", x->m.label,
	       x->m.n_sets, size, conf_kept_name(x->kept));
}

static int export(struct export *x, struct life_args *a, struct diag *d)
{
	int err = find_kept(x, d);

	if (err == 0)
		err = media_choose(&x->lr->catalog, a, false, &x->sets, &x->n_sets, d);
	if (err == 0)
		err = recorder_open(&x->rec, &x->lr->l, &a->secrets, d);
	if (err == 0)
		err = open_medium(x, d);
	if (err == 0)
		err = check_room(x, d);
	if (err == 0)
		err = recorded(x, d);
	return recorder_close(&x->rec, err, d);
}

int life_export(struct life_args *a, struct diag *d)
{
	struct located_repo lr;
	struct export x = {.a = a, .lr = &lr};

	if (!medium_label_valid(a->label))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "--label: 1 to %d bytes, no '/' and no control characters",
				 CONF_NAME_MAX);
	int err = located_repo_open(a->operands[0], a->repository, &lr, d);
	if (err)
		return err;
	err = export(&x, a, d);
	if (err == 0)
		report(&x);
	free(x.sets);
	medium_free(&x.m);
	repo_close(x.to);
	located_repo_close(&lr);
	return err;
}
