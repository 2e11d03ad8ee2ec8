/* See repair.h. */
#include "backup/repair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/parity.h"
#include "backup/set_copy.h"
#include "backup/set_internal.h"
#include "core/cleanup.h"

struct repairing {
	const struct repair_request *in;
	struct repair_result res;
	const char *id;          /* the set at hand */
	struct bytes_w lost;     /* text of its mark */
	struct diag *d;
};

/* --- what came of it --- */

static int add_item(struct repairing *x, const struct repair_item *i)
{
	struct repair_item *more = realloc(x->res.items, (x->res.n_items + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	more[x->res.n_items++] = *i;
	x->res.items = more;
	x->res.n_done += i->state == REPAIR_DONE;
	x->res.n_lost += i->state == REPAIR_LOST;
	if (i->state == REPAIR_LOST) {
		bytes_w_raw(&x->lost, i->what, strlen(i->what));
		bytes_w_u8(&x->lost, '\n');
	}
	return x->lost.err;
}

static void name_item(struct repairing *x, const char *what, uint64_t len, struct repair_item *i)
{
	*i = (struct repair_item){.state = REPAIR_LOST, .len = len};
	snprintf(i->set, sizeof(i->set), "%s", x->id);
	snprintf(i->what, sizeof(i->what), "%s", what);
}

/* Those frames that follow one another from the beginning: nothing else tells where a record is. */
static uint64_t walk_frames(struct repo *r, const char *id, const char *what, uint64_t len)
{
	uint8_t f[SET_FRAME_LEN];
	char name[SET_NAME_LEN];
	uint64_t n = 0, off = 0;

	if (strncmp(what, "pack-", 5) != 0)
		return 0;
	set_object(id, what, name);
	while (off + SET_FRAME_LEN <= len && repo_read(r, name, off, f, sizeof(f)) == 0 && !memcmp(f, "CF", 2)) {
		off += SET_FRAME_LEN + bytes_get32(f + 8);
		n++;
	}
	return n;
}

/* --- one object --- */

/* Out of its parity, else out of the first copy that has it. */
static int find_good(struct repairing *x, const char *what, const struct set_pack *p, struct repair_item *i,
		     uint8_t **ret)
{
	int err = parity_fetch(x->in->repo, x->id, what, p, ret);

	if (err == 0)
		snprintf(i->from, sizeof(i->from), "parity");
	for (size_t k = 0; err == -EBADMSG && k < x->in->n_others; k++) {
		err = set_object_fetch(x->in->others[k], x->id, what, p, ret);
		if (err == 0)
			snprintf(i->from, sizeof(i->from), "%.250s", repo_url(x->in->others[k]));
		else if (err != -ENOMEM) /* a copy that cannot be read is as good as none */
			err = -EBADMSG;
	}
	return err;
}

static int before(struct repairing *x, const struct repair_item *i)
{
	return x->in->before && !x->in->dry_run ? x->in->before(x->in->arg, i, x->d) : 0;
}

static int repair_object(void *arg, const char *what, const struct set_pack *p)
{
	struct repairing *x = arg;
	CLEANUP_FREE uint8_t *bytes = NULL;
	struct repair_item i;
	int err = set_object_fetch(x->in->repo, x->id, what, p, &bytes);

	x->res.n_objects++;
	x->res.n_bytes += p->len;
	if (x->in->progress)
		x->in->progress(x->in->arg, x->res.n_sets, x->res.n_bytes);
	if (err != -EBADMSG)
		return err;
	name_item(x, what, p->len, &i);
	err = find_good(x, what, p, &i, &bytes);
	if (err == 0) {
		i.state = REPAIR_DONE;
		err = before(x, &i);
		if (err == 0 && !x->in->dry_run)
			err = set_object_replace(x->in->repo, x->id, what, p, bytes);
	} else if (err == -EBADMSG) {
		i.n_frames = walk_frames(x->in->repo, x->id, what, p->len);
		err = 0;
	}
	return err ? err : add_item(x, &i);
}

/* --- one set --- */

/* Its manifest, from here or, when it is damaged, from a copy. -EBADMSG: nobody has it. */
static int repair_manifest(struct repairing *x, bool damaged, char **ret_text, struct set_manifest *ret)
{
	const struct repair_request *in = x->in;
	char name[SET_NAME_LEN];
	struct repair_item i;
	int err = -EBADMSG;

	if (!damaged)
		return set_manifest_fetch(in->repo, x->id, in->volume_id, in->sign_pk, ret_text, ret);
	name_item(x, "manifest", 0, &i);
	for (size_t k = 0; err && err != -ENOMEM && k < in->n_others; k++) {
		err = set_manifest_fetch(in->others[k], x->id, in->volume_id, in->sign_pk, ret_text, ret);
		if (err == 0)
			snprintf(i.from, sizeof(i.from), "%.250s", repo_url(in->others[k]));
	}
	if (err == -ENOMEM)
		return err;
	if (err) {
		err = add_item(x, &i);
		return err ? err : -EBADMSG;
	}
	i.state = REPAIR_DONE;
	err = before(x, &i);
	set_object(x->id, "manifest", name);
	if (err == 0 && !in->dry_run)
		err = repo_put(in->repo, name, *ret_text, strlen(*ret_text));
	return err ? err : add_item(x, &i);
}

/* The table first: what the packs are, it tells. */
static int repair_parts(struct repairing *x, struct set_manifest *m)
{
	struct set_manifest head = *m;
	int err;

	head.packs = NULL;
	head.n_packs = 0;
	err = set_each_object(&head, repair_object, x);
	if (err)
		return err;
	err = set_pack_table_read(x->in->repo, m);
	for (size_t k = 0; err == -EBADMSG && k < x->in->n_others; k++)
		err = set_pack_table_read(x->in->others[k], m);
	if (err) /* lost, and said so already */
		return err == -EBADMSG ? 0 : err;
	char what[24];
	for (size_t i = 0; err == 0 && i < m->n_packs; i++) {
		snprintf(what, sizeof(what), "pack-%05u", (unsigned)i);
		err = repair_object(x, what, &m->packs[i]);
	}
	return err;
}

static int mark(struct repairing *x)
{
	char name[SET_NAME_LEN];
	uint64_t size;

	if (x->in->dry_run)
		return 0;
	set_object(x->id, SET_DAMAGED, name);
	if (x->lost.len)
		return repo_put(x->in->repo, name, x->lost.buf, x->lost.len);
	return repo_size(x->in->repo, name, &size) == -ENOENT ? 0 : repo_delete(x->in->repo, name);
}

static bool has(struct repo *r, const char *id, const char *what)
{
	char name[SET_NAME_LEN];
	uint64_t size;

	set_object(id, what, name);
	return repo_size(r, name, &size) == 0;
}

/* Whether a folder without a manifest once was a set: not removed by retention, not being written. */
static bool lost_its_manifest(struct repairing *x)
{
	struct repo *r = x->in->repo;

	return has(r, x->id, "packs") && !has(r, x->id, SET_UNFINISHED) && !has(r, x->id, "pruned");
}

static int repair_set(struct repairing *x, const char *id)
{
	CLEANUP_FREE char *text = NULL;
	struct set_manifest m = {0};
	int err;

	x->id = id;
	bytes_w_reset(&x->lost);
	err = set_manifest_fetch(x->in->repo, id, x->in->volume_id, x->in->sign_pk, &text, &m);
	if (err == -ENOENT && !lost_its_manifest(x))
		return 0;
	bool damaged = err != 0;
	if (err && err != -ENOENT && set_damage(err) != -EBADMSG)
		return err;
	x->res.n_sets++;
	free(STEAL_PTR(text));
	err = repair_manifest(x, damaged, &text, &m);
	if (err == 0)
		err = repair_parts(x, &m);
	else if (err == -EBADMSG)
		err = 0;
	set_manifest_free(&m);
	return err ? err : mark(x);
}

int repair_run(const struct repair_request *in, struct repair_result *ret, struct diag *d)
{
	struct repairing x = {.in = in, .d = d};
	char **ids = NULL;
	size_t n = 0;
	int err = repo_list(in->repo, "sets/", &ids, &n);
	struct diag none = {0};

	if (d)
		*d = none;
	for (size_t i = 0; err == 0 && i < n; i++)
		if (set_id_valid(ids[i]) && (!in->set || !strcmp(in->set, ids[i])))
			err = repair_set(&x, ids[i]);
	repo_list_free(ids, n);
	bytes_w_free(&x.lost);
	*ret = x.res;
	if (err && (!d || d->id == DIAG_NONE))
		return diag_fail_errno(d, err, "repairing %s", repo_url(in->repo));
	return err;
}
