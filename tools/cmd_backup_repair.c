/*
 * coffer backup repair: damaged objects of sets put back from parity or another copy, and what is lost named.
 *
 * Copies are what --from names, the other repositories of coffer.conf, and its offline media that are attached.
 * Each replacement is on the trail before it happens. With the secret, what is lost is named by path.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/parity.h"
#include "backup/repair.h"
#include "core/cleanup.h"
#include "core/conf.h"
#include "tools/cmd_backup_media.h"

#define OTHERS_MAX (CONF_REPOSITORIES_MAX + CONF_MEDIA_MAX + 1)
#define PATHS_SHOWN 1000

struct repair {
	const struct life_args *a;
	const struct located_repo *lr;
	struct recorder rec;
	struct keyring *kr; /* when the secret was given; the recorder's, or one of our own */
	struct conf conf;
	struct repo *others[OTHERS_MAX];
	size_t n_others;
	struct repair_result res;
	json_t *paths; /* of what is lost */
	uint64_t n_records, n_paths, n_parity;
};

/* --- copies --- */

static void add_other(struct repair *x, const char *url)
{
	const struct header *h = x->lr->l.header;
	struct diag none = {0};
	struct repo *r;

	if (x->n_others == OTHERS_MAX || !strcmp(url, repo_url(x->lr->repo)) ||
	    repo_open(url, h->volume_id, h->sign_pk, &r, &none) != 0)
		return;
	x->others[x->n_others++] = r;
}

/* The one that was asked for must be there; of the others, whatever is. */
static int open_others(struct repair *x, struct diag *d)
{
	const struct header *h = x->lr->l.header;
	const char *from = x->a->from;

	for (size_t i = 0; from && i < x->conf.n_repositories; i++)
		if (!strcmp(x->conf.repositories[i].name, from))
			from = x->conf.repositories[i].url;
	for (size_t i = 0; from && i < x->conf.n_media; i++)
		if (!strcmp(x->conf.media[i].name, from) && *x->conf.media[i].path)
			from = x->conf.media[i].path;
	if (from) {
		int err = repo_open(from, h->volume_id, h->sign_pk, &x->others[0], d);
		if (err)
			return err;
		x->n_others = 1;
	}
	for (size_t i = 0; i < x->conf.n_repositories; i++)
		add_other(x, x->conf.repositories[i].url);
	for (size_t i = 0; i < x->conf.n_media; i++)
		if (*x->conf.media[i].path)
			add_other(x, x->conf.media[i].path);
	return 0;
}

/* --- repairing --- */

static int on_before(void *arg, const struct repair_item *i, struct diag *d)
{
	struct repair *x = arg;
	char object[96], detail[400];

	snprintf(object, sizeof(object), "set %s, %s", i->set, i->what);
	snprintf(detail, sizeof(detail), "in %.150s from %.200s", repo_url(x->lr->repo), i->from);
	return recorder_put(&x->rec, "backup.repair", object, "", "ok", detail, d);
}

static void on_progress(void *arg, uint64_t n_sets, uint64_t n_bytes)
{
	char size[32];
	(void)arg;

	cli_size(n_bytes, size);
	cli_progress("repair: %llu sets, %s", (unsigned long long)n_sets, size);
}

static int run(struct repair *x, struct diag *d)
{
	const struct header *h = x->lr->l.header;
	struct repair_request in = {.repo = x->lr->repo, .others = x->others, .n_others = x->n_others,
				    .volume_id = h->volume_id, .sign_pk = h->sign_pk, .dry_run = x->a->dry_run,
				    .before = on_before, .progress = on_progress, .arg = x};
	size_t i;
	int err = 0;

	if (x->a->n_sets) {
		err = set_catalog_find(&x->lr->catalog, x->a->sets[0], 0, &i, d);
		/* One whose manifest is damaged is found by its whole id. */
		in.set = err == 0 ? x->lr->catalog.sets[i].id : x->a->sets[0];
		err = err == -EBADMSG ? 0 : err;
	}
	if (err == 0)
		err = repair_run(&in, &x->res, d);
	cli_progress_done();
	return err;
}

/* What the policy wants beside each set, and is not there. */
static int add_parity(struct repair *x, struct diag *d)
{
	CLEANUP_WITH(set_catalog_free) struct set_catalog c = {0};
	const struct header *h = x->lr->l.header;
	int err = 0;

	if (x->a->dry_run || !x->conf.parity)
		return 0;
	err = set_catalog_load(x->lr->repo, h->volume_id, h->sign_pk, &c, d);
	for (size_t i = 0; err == 0 && i < c.n_sets; i++) {
		struct diag none = {0};
		size_t n = 0;

		err = parity_cover(x->lr->repo, &c.sets[i], x->conf.parity, &n, &none);
		x->n_parity += n;
		if (err == -EBADMSG) /* of what is lost there is none */
			err = 0;
		else if (err && d)
			*d = none;
	}
	return err;
}

/* --- what is lost --- */

static int on_path(void *arg, const char *path)
{
	struct repair *x = arg;

	if (x->n_paths++ < PATHS_SHOWN)
		json_array_append_new(x->paths, *path ? control_name(path) : json_null());
	return 0;
}

static bool lost_of(const struct repair *x, const char *id)
{
	for (size_t i = 0; i < x->res.n_items; i++)
		if (x->res.items[i].state == REPAIR_LOST && !strcmp(x->res.items[i].set, id))
			return true;
	return false;
}

/* Where even the index is lost, or what it rests on, no path is known; the objects stand for it. */
static int name_lost(struct repair *x, struct diag *d)
{
	CLEANUP_WITH(set_catalog_free) struct set_catalog c = {0};
	const struct header *h = x->lr->l.header;
	int err = set_catalog_load(x->lr->repo, h->volume_id, h->sign_pk, &c, d);

	for (size_t i = 0; err == 0 && i < c.n_sets; i++) {
		struct diag none = {0};
		uint64_t n = 0;

		if (!lost_of(x, c.sets[i].id))
			continue;
		err = repair_lost_paths(x->lr->repo, x->kr, &c, i, &x->res, on_path, x, &n, &none);
		x->n_records += n;
		err = err == -ENOMEM ? diag_fail_errno(d, err, "set %s", c.sets[i].id) : 0;
	}
	return err;
}

/* --- telling it --- */

static json_t *told(const struct repair *x)
{
	json_t *items = json_array();

	for (size_t i = 0; i < x->res.n_items; i++) {
		const struct repair_item *it = &x->res.items[i];

		json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "set", it->set, "object", it->what,
						       "state", it->state == REPAIR_LOST ? "lost" : x->a->dry_run ? "repairable" : "repaired",
						       "from", it->from, "bytes", (json_int_t)it->len, "frames",
						       (json_int_t)it->n_frames));
	}
	return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:o, s:O, s:I, s:I}", "repository", repo_url(x->lr->repo),
			 "dry_run", x->a->dry_run, "sets", (json_int_t)x->res.n_sets, "objects",
			 (json_int_t)x->res.n_objects, "repaired", (json_int_t)x->res.n_done, "lost",
			 (json_int_t)x->res.n_lost, "parity", (json_int_t)x->n_parity, "items", items, "lost_paths", x->paths,
			 "n_lost_paths", (json_int_t)x->n_paths, "lost_records", (json_int_t)x->n_records);
}

static void tell(const struct repair *x)
{
	char size[32], lossless[64];
	size_t i;
	json_t *p;

	for (i = 0; i < x->res.n_items; i++) {
		const struct repair_item *it = &x->res.items[i];

		cli_size(it->len, size);
		if (it->state == REPAIR_DONE)
			printf("set %s, %s: %s from %s\n", it->set, it->what, x->a->dry_run ? "can be repaired" : "repaired",
			       it->from);
		else
			printf("set %s, %s: LOST, %s, %llu records or more\n", it->set, it->what, it->len ? size : "size unknown",
			       (unsigned long long)it->n_frames);
	}
	json_array_foreach(x->paths, i, p) {
		char *name = NULL;

		if (control_name_get(p, &name) == 0)
			printf("  lost: %s\n", name);
		else
			printf("  lost: an entry whose name is lost as well\n");
		free(name);
	}
	if (x->n_paths > PATHS_SHOWN)
		printf("  and %llu more\n", (unsigned long long)(x->n_paths - PATHS_SHOWN));
	snprintf(lossless, sizeof(lossless), "%llu lost", (unsigned long long)x->res.n_lost);
	printf("%llu sets looked at: %llu objects %s, %s\n", (unsigned long long)x->res.n_sets,
	       (unsigned long long)x->res.n_done, x->a->dry_run ? "can be repaired" : "repaired",
	       x->res.n_lost ? lossless : "nothing is lost");
	if (x->res.n_lost && !x->a->dry_run)
		printf("What is lost is marked: no new set builds on it, so the next one stores that again and is whole.\n");
}

/* --- all of it --- */

static int unlock(struct repair *x, struct life_args *a, struct diag *d)
{
	struct header_unlock with;
	bool given = a->secrets.passphrase_file || a->secrets.identity_file || a->secrets.key_file;
	int err = a->dry_run ? 0 : recorder_open(&x->rec, &x->lr->l, &a->secrets, d);

	x->kr = x->rec.kr;
	if (err || x->kr || !given)
		return err;
	err = cli_unlock_get(&a->secrets, "Passphrase of the volume: ", &with, d);
	return err ? err : keyring_open(x->lr->l.store, &with, KEYRING_READ_ONLY, &x->kr, d);
}

static int repair(struct repair *x, struct life_args *a, struct diag *d)
{
	int err = conf_load(x->lr->l.store_fd, &x->conf, d);

	if (err == 0)
		err = open_others(x, d);
	if (err == 0)
		err = unlock(x, a, d);
	if (err == 0)
		err = run(x, d);
	if (err == 0)
		err = add_parity(x, d);
	if (err == 0 && x->kr && x->res.n_lost)
		err = name_lost(x, d);
	if (x->kr && x->kr != x->rec.kr)
		keyring_close(x->kr);
	return a->dry_run ? err : recorder_close(&x->rec, err, d);
}

int life_repair(struct life_args *a, struct diag *d)
{
	struct located_repo lr;
	struct repair *x = calloc(1, sizeof(*x));

	if (!x)
		return diag_fail_errno(d, -ENOMEM, "repair");
	*x = (struct repair){.a = a, .lr = &lr, .paths = json_array()};
	int err = located_repo_open(a->operands[0], a->repository, &lr, d);
	if (err == 0) {
		err = repair(x, a, d);
		if (err == 0 && a->json)
			cli_json(told(x));
		else if (err == 0)
			tell(x);
		if (err == 0 && x->res.n_lost)
			err = diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%s: %llu objects are lost", repo_url(lr.repo),
					(unsigned long long)x->res.n_lost);
		for (size_t i = 0; i < x->n_others; i++)
			repo_close(x->others[i]);
		located_repo_close(&lr);
	}
	json_decref(x->paths);
	free(x->res.items);
	free(x);
	return err;
}
