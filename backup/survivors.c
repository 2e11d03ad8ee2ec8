/* See survivors.h. */
#include "backup/survivors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/hold.h"
#include "backup/prune.h"
#include "backup/set_writer.h"
#include "backup/setview_internal.h"
#include "core/cleanup.h"

struct securing {
	struct repo *repo;
	struct keyring *kr;
	const uint64_t *ids;
	size_t n;
	const struct set_catalog *c;
	size_t set;	      /* at hand */
	uint64_t n_doomed;    /* deltas of it that lose their basis */
	struct setview *view; /* of it */
	struct set_writer *w;
	uint8_t *range;
	struct bytes_w body;
	struct survivors res;
};

static const struct set_manifest *at_hand(const struct securing *x)
{
	return &x->c->sets[x->set];
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool listed(const struct securing *x, uint64_t id)
{
	return bsearch(&id, x->ids, x->n, sizeof(id), compare_ids) != NULL;
}

/* A delta of a file that stays, made from one that goes. */
static bool loses_its_basis(const struct securing *x, const struct set_entry *e)
{
	char order[KEYRING_ORDER_REF_MAX + 1];

	return set_entry_is_delta(e) && listed(x, e->basis) && !listed(x, e->id) &&
	       !keyring_gone(x->kr, KEYRING_BACKUP, e->id, order);
}

static int count_doomed(void *arg, const struct set_entry *e)
{
	struct securing *x = arg;

	x->n_doomed += loses_its_basis(x, e);
	return 0;
}

/* --- the set anew --- */

static int put_whole(struct securing *x, const struct set_entry *e)
{
	const struct view_entry ve = {.e = *e, .set = (uint32_t)x->view->n_chain - 1};
	struct set_entry whole = {.kind = SET_DATA, .id = e->id, .range = e->range, .version = e->version};
	uint8_t what[SET_RANGE_BLOCKS];
	int err = setview_lay(x->view, &ve, 1, 0, what, x->range);

	if (err)
		return err;
	bytes_w_reset(&x->body);
	set_data_encode_runs(what, &x->body);
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		if (what[i] == SET_BLOCK_DATA)
			bytes_w_raw(&x->body, x->range + i * MAP_BLOCK, MAP_BLOCK);
	x->res.n_ranges++;
	return x->body.err ? x->body.err : set_writer_record(x->w, &whole, 0, x->body.buf, x->body.len);
}

static int put_as_stored(struct securing *x, const struct set_entry *e)
{
	const struct set_manifest *m = at_hand(x);
	struct set_entry again = *e;
	uint8_t sum[SET_CHECKSUM_LEN];
	char name[SET_NAME_LEN];

	if (e->pack >= m->n_packs || e->len > SET_FRAME_MAX)
		return -EBADMSG;
	bytes_w_reset(&x->body);
	uint8_t *p = bytes_w_room(&x->body, e->len);
	if (!p)
		return x->body.err;
	set_object_pack(m->id, e->pack, name);
	int err = set_damage(repo_read(x->repo, name, e->off, p, e->len));
	if (err)
		return err;
	set_checksum(p, e->len, sum);
	if (memcmp(sum, e->sum, sizeof(sum)) != 0)
		return -EBADMSG;
	return set_writer_stored(x->w, &again, p);
}

static int put_entry(void *arg, const struct set_entry *e)
{
	struct securing *x = arg;

	if (e->kind == SET_GONE || e->kind == SET_EDGE)
		return set_writer_entry(x->w, e);
	return loses_its_basis(x, e) ? put_whole(x, e) : put_as_stored(x, e);
}

/* The old set's id before a list of its own. */
static int prepend(const char *id, const char *list, char **ret)
{
	return asprintf(ret, "%s%s%s", id, list ? " " : "", list ? list : "") < 0 ? -ENOMEM : 0;
}

static int begin(struct securing *x)
{
	struct set_manifest m = *at_hand(x);
	CLEANUP_FREE char *merged = NULL, *stands_for = NULL;
	int err = prepend(m.id, m.merged, &merged);

	if (err == 0)
		err = prepend(m.id, m.stands_for, &stands_for);
	if (err)
		return err;
	m.merged = merged;
	m.stands_for = stands_for;
	m.n_nodes = m.n_names = m.n_data = m.n_sign = m.n_gone = 0;
	return set_writer_new(x->repo, x->kr, &m, &x->w);
}

static bool is_held(struct repo *r, const char *id)
{
	char name[SET_NAME_LEN];
	uint64_t size;

	set_object(id, HOLD_OBJECT, name);
	return repo_size(r, name, &size) == 0;
}

/* Whoever holds the old set holds what takes its place. */
static int hold_too(struct securing *x, const char *id, bool *ret_held, struct diag *d)
{
	const struct header *h = keyring_header(x->kr);
	struct hold hold;
	int err = hold_get(x->repo, at_hand(x)->id, h->volume_id, h->sign_pk, &hold);

	*ret_held = err != -ENOENT;
	if (err == -ENOENT || is_held(x->repo, id))
		return 0;
	if (err && err != -EBADMSG && err != -EUCLEAN)
		return diag_fail_errno(d, err, "%s: set %s, hold", repo_url(x->repo), at_hand(x)->id);
	if (err) { /* it says nothing, and holds all the same */
		hold.time = at_hand(x)->time;
		strcpy(hold.by, "coffer");
		snprintf(hold.reason, sizeof(hold.reason), "stands for set %s, which is held", at_hand(x)->id);
	}
	strcpy(hold.set, id);
	return hold_put(x->repo, h->volume_id, keyring_sign_seed(x->kr), &hold, d);
}

static int replace(struct securing *x, const struct set_manifest *anew, struct diag *d)
{
	bool held;
	int err = hold_too(x, anew->id, &held, d);

	if (err || held)
		return err;
	err = prune_remove_manifest(x->repo, at_hand(x)->id, (int64_t)time(NULL));
	return err ? diag_fail_errno(d, err, "%s: set %s, for which set %s stands", repo_url(x->repo),
				     at_hand(x)->id, anew->id)
		   : 0;
}

static int rewrite(struct securing *x, struct diag *d)
{
	CLEANUP_WITH(set_manifest_free) struct set_manifest anew = {0};
	struct diag inner = {0};
	int err = begin(x);

	if (err == 0)
		err = set_index_read(x->repo, x->kr, at_hand(x), put_entry, x, &inner);
	if (err == 0)
		err = set_writer_finish(x->w, keyring_sign_seed(x->kr), &anew);
	if (err) {
		if (x->w)
			set_writer_abort(x->w);
		x->w = NULL;
		if (err == -EBADMSG || err == -EKEYREVOKED)
			return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG,
					 "%s: set %s, which holds files that stay as deltas on what goes",
					 repo_url(x->repo), at_hand(x)->id);
		return diag_fail_errno(d, err, "%s: set %s anew", repo_url(x->repo), at_hand(x)->id);
	}
	set_writer_free(x->w);
	x->w = NULL;
	x->res.n_sets++;
	return replace(x, &anew, d);
}

/* What was killed behind the new set's manifest goes on here: the old one loses its basis, held or not. */
static int go_on(struct securing *x, const struct set_manifest *anew, struct diag *d)
{
	bool held;

	return set_stands_for(anew, at_hand(x)->id) ? hold_too(x, anew->id, &held, d) : 0;
}

static int one_set(struct securing *x, struct diag *d)
{
	size_t by;

	if (set_catalog_superseded(x->c, x->set, &by))
		return go_on(x, &x->c->sets[by], d);
	x->n_doomed = 0;
	int err = set_index_read(x->repo, x->kr, at_hand(x), count_doomed, x, d);
	if (err || !x->n_doomed)
		return err;
	err = setview_open(x->repo, x->kr, x->c, x->set, &x->view, d);
	if (err == 0)
		err = rewrite(x, d);
	setview_close(x->view);
	x->view = NULL;
	return err;
}

int survivors_secure(struct repo *r, struct keyring *kr, const uint64_t *ids, size_t n, struct survivors *ret,
		     struct diag *d)
{
	CLEANUP_WITH(set_catalog_free) struct set_catalog c = {0};
	CLEANUP_FREE uint8_t *range = malloc(SET_RANGE);
	struct securing x = {.repo = r, .kr = kr, .ids = ids, .n = n, .c = &c, .range = range};
	int err = range ? 0 : diag_fail_errno(d, -ENOMEM, "%s", repo_url(r));

	if (err == 0)
		err = set_catalog_load(r, keyring_volume_id(kr), keyring_header(kr)->sign_pk, &c, d);
	if (err == 0 && c.n_damaged)
		err = diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%s: set %s, manifest", repo_url(r),
				c.damaged[0]);
	for (x.set = 0; err == 0 && x.set < c.n_sets; x.set++)
		err = one_set(&x, d);
	bytes_w_free(&x.body);
	*ret = x.res;
	return err;
}
