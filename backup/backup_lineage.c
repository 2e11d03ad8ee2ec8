/* See backup_lineage.h. */
#include "backup/backup_lineage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/setview_internal.h"
#include "core/cleanup.h"

/* Files saved many times between two sets leave a trail of ids that no set knows. */
#define WALK_MAX 256

struct backup_lineage {
	struct volume *v;
	struct repo *repo;
	const struct set_catalog *catalog;
	size_t parent;
	struct setview *view; /* of the parent, once it is needed */
	bool no_view;	      /* it cannot be read */
};

struct backup_lineage *backup_lineage_new(struct volume *v, struct repo *r,
					  const struct set_catalog *catalog, size_t parent)
{
	struct backup_lineage *l = calloc(1, sizeof(*l));

	if (l)
		*l = (struct backup_lineage){
		    .v = v, .repo = r, .catalog = catalog, .parent = parent};
	return l;
}

void backup_lineage_free(struct backup_lineage *l)
{
	if (!l)
		return;
	setview_close(l->view);
	free(l);
}

void backup_basis_free(struct backup_basis *b)
{
	delta_basis_free(b->sums);
	*b = (struct backup_basis){0};
}

/* --- a signature out of the chain --- */

/* The parts of a signature as they are read. */
struct reading {
	struct setview *sv;
	uint64_t id;
	struct view_entry ve;
	struct set_sign s; /* of part 0 */
	struct bytes_w body, sums;
};

static void reading_free(struct reading *x)
{
	bytes_w_free(&x->body);
	bytes_w_free(&x->sums);
}

/* The newest of each part; all must be of one version. */
static int find_part(struct reading *x, uint64_t part)
{
	const struct set_key key = {.id = x->id, .class = SET_SIGN, .sub = part};

	for (size_t i = x->sv->n_chain; i-- > 0;) {
		struct view_entry ve = {.set = (uint32_t)i};
		int err = set_index_find(x->sv->index[i], &key, &ve.e);

		if (err == -ENOENT)
			continue;
		if (err == 0 && part > 0 && ve.e.version != x->ve.e.version)
			err = -EBADMSG;
		if (err == 0)
			x->ve = ve;
		return err;
	}
	return -ENOENT;
}

static int read_part(struct reading *x, uint64_t part)
{
	struct set_sign s;
	int err = find_part(x, part);

	bytes_w_reset(&x->body);
	if (err == 0)
		err = setview_read(x->sv, &x->ve, &x->body);
	if (err == 0)
		err = set_sign_decode(x->body.buf, x->body.len, part, &s);
	if (err)
		return err;
	if (part == 0)
		x->s = s;
	else if (s.n_blocks != x->s.n_blocks || s.block_log != x->s.block_log)
		return -EBADMSG;
	bytes_w_raw(&x->sums, s.sums, s.n_sums * DELTA_SUM_LEN);
	return x->sums.err;
}

/* The file that a file is made from, if it is a delta. All its ranges have the same. 1, 0, -errno. */
static int made_from(struct setview *sv, uint64_t id, uint64_t *ret)
{
	const struct set_key from = {.id = id, .class = SET_DATA},
			     to = {.id = id, .class = SET_DATA, .sub = UINT64_MAX};
	struct set_cursor *c;
	struct set_entry e;
	uint32_t set;
	int more = set_cursor_open(sv->index, sv->n_chain, &from, &to, &c);

	if (more)
		return more;
	while ((more = set_cursor_next(c, &e, &set)) > 0 && !set_entry_is_delta(&e))
		;
	set_cursor_close(c);
	if (more > 0)
		*ret = e.basis;
	return more;
}

/* No order has destroyed it, nor what it is made from: -EKEYREVOKED. */
static int stands(struct setview *sv, uint64_t id)
{
	char order[KEYRING_ORDER_REF_MAX + 1];
	int more = 1;

	for (unsigned depth = 0; more > 0 && depth <= SET_DELTA_DEPTH_MAX; depth++) {
		if (keyring_gone(sv->kr, KEYRING_BACKUP, id, order))
			return -EKEYREVOKED;
		more = made_from(sv, id, &id);
	}
	return more > 0 ? -EBADMSG : more;
}

static int read_basis(struct setview *sv, uint64_t id, struct backup_basis *ret)
{
	CLEANUP_WITH(reading_free) struct reading x = {.sv = sv, .id = id};
	int err = read_part(&x, 0);

	if (err)
		return err;
	err = stands(sv, id);
	if (err)
		return err;
	if (x.s.depth >= SET_DELTA_DEPTH_MAX || x.s.carried > x.s.n_blocks * MAP_BLOCK / 2)
		return -ERANGE; /* time to store it whole again */
	uint64_t n = set_sign_parts(x.s.n_blocks, x.s.block_log);
	for (uint64_t part = 1; err == 0 && part < n; part++)
		err = read_part(&x, part);
	if (err)
		return err;
	*ret = (struct backup_basis){.id = id,
				     .as_of = x.ve.e.version,
				     .depth = x.s.depth,
				     .carried = x.s.carried,
				     .n_blocks = x.s.n_blocks};
	return delta_basis_new(x.sums.buf, x.sums.len / DELTA_SUM_LEN, x.s.block_log,
			       x.s.n_blocks * MAP_BLOCK, &ret->sums);
}

/* --- the way back --- */

struct walk {
	uint64_t ids[WALK_MAX];
	size_t n;
};

static int on_edge(void *arg, uint64_t other, uint8_t kind)
{
	struct walk *w = arg;

	if (kind != VOLUME_EDGE_SAVED_OVER || w->n == WALK_MAX)
		return 0;
	for (size_t i = 0; i < w->n; i++)
		if (w->ids[i] == other)
			return 0;
	w->ids[w->n++] = other;
	return 0;
}

static bool open_view(struct backup_lineage *l)
{
	struct diag ignored = {0};

	if (!l->view && !l->no_view)
		l->no_view = setview_open(l->repo, volume_keyring(l->v), l->catalog, l->parent,
					  &l->view, &ignored) != 0;
	return l->view;
}

/* An id that the parent may know. What cannot be read is no basis; what is wrong with it is for a
 * verification to say. */
static int try_basis(struct backup_lineage *l, uint64_t id, struct backup_basis *ret)
{
	if (id >= l->catalog->sets[l->parent].next_id || !open_view(l))
		return -ENOENT;
	int err = read_basis(l->view, id, ret);
	return err == 0 || err == -ENOMEM || err == -ERANGE ? err : -ENOENT;
}

int backup_lineage_basis(struct backup_lineage *l, uint64_t id, struct backup_basis *ret)
{
	struct walk w = {.ids = {id}, .n = 1};

	for (size_t i = 0; i < w.n; i++) {
		int err = i ? try_basis(l, w.ids[i], ret) : -ENOENT;

		if (err != -ENOENT)
			return err == -ERANGE ? -ENOENT : err;
		err = volume_edges(l->v, w.ids[i], on_edge, &w);
		if (err)
			return err;
	}
	return -ENOENT;
}

/* --- overlays --- */

int backup_lineage_worn(struct backup_lineage *l, uint64_t id, uint64_t range)
{
	const struct set_key key = {.id = id, .class = SET_DATA, .sub = range};
	uint64_t ground = 0, over = 0;
	struct set_cursor *c;
	struct set_entry e;
	unsigned n = 0;
	uint32_t set;

	if (!open_view(l))
		return 0;
	int more = set_cursor_open(l->view->index, l->view->n_chain, &key, &key, &c);
	if (more)
		return more;
	while ((more = set_cursor_next(c, &e, &set)) > 0) {
		if (e.flags & SET_OVERLAY) {
			over += e.len;
			n++;
			continue;
		}
		/* A delta takes little, and rests on more. */
		ground = set_entry_is_delta(&e) ? SET_RANGE : e.len;
		over = n = 0;
	}
	set_cursor_close(c);
	if (more == -ENOMEM)
		return more;
	return more == 0 && (n >= BACKUP_OVERLAYS_MAX || over > ground / 2);
}
