/*
 * The closure over folders: what stands or ever stood under the targets, and who keeps it.
 *
 * A folder is condemned when it is a target, when it is no more, or when the folder that it stands
 * in now is condemned (with destroy_moved, also when it only once stood in one). Children of
 * condemned folders are visited, past ones and those that only a set remembers included. A present
 * folder that nobody condemned in the end was moved out. Files are decided on once all folders are:
 * by where their present links are.
 *
 * The engine's callbacks run under its lock, so they only collect.
 */
#include "shred/inventory_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/cleanup.h"

void closure_free(struct closure *c)
{
	set_knowledge_free(&c->sets);
	closure_table_free(&c->t);
}

static void condemn(struct closure *c, size_t at)
{
	c->t.v[at].condemned = c->t.v[at].settled = true;
}

/* What the live volume says of an id that was just reached. */
static int look(struct closure *c, struct closure_node *n, struct diag *d)
{
	struct keyring *kr = volume_keyring(c->in->volume);
	char order[KEYRING_ORDER_REF_MAX + 1];
	struct volume_attr attr;
	bool gone_live = keyring_gone(kr, KEYRING_LIVE, n->id, order);
	int r = gone_live ? -ENOENT : volume_peek(c->in->volume, n->id, &attr);

	n->gone = gone_live && keyring_gone(kr, KEYRING_BACKUP, n->id, order);
	if (r == -ENOENT)
		return 0;
	if (r)
		return diag_fail(d, DIAG_STORE_DAMAGED, r, "id %llu", (unsigned long long)n->id);
	n->flags |= INVENTORY_PRESENT | (S_ISDIR(attr.mode) ? INVENTORY_DIR : 0);
	n->bytes = S_ISREG(attr.mode) ? attr.size : 0;
	return 0;
}

static bool is_present_folder(const struct closure_node *n)
{
	return (n->flags & INVENTORY_PRESENT) && (n->flags & INVENTORY_DIR);
}

/* Whether the folder stands in a condemned one: 1, 0, -errno. */
static int stands_inside(struct closure *c, const struct closure_node *n)
{
	uint64_t parent;
	int r = volume_parent(c->in->volume, n->id, &parent);

	if (r)
		return r;
	size_t at = closure_table_find(&c->t, parent);
	return at != SIZE_MAX && c->t.v[at].condemned;
}

int closure_reach(struct closure *c, uint64_t id, unsigned flag, size_t *ret, struct diag *d)
{
	bool added;
	size_t at;
	int r = closure_table_add(&c->t, id, &at, &added);

	if (r)
		return diag_fail_errno(d, r, "inventory");
	if (added)
		r = look(c, &c->t.v[at], d);
	if (r)
		return r;
	c->t.v[at].flags |= flag;
	*ret = at;
	return 0;
}

/* A child of a condemned folder, by any account. */
static int visit(struct closure *c, uint64_t child, unsigned flag, struct diag *d)
{
	size_t at;
	int r;

	if (child < VOLUME_FIRST_ID)
		return 0;
	r = closure_reach(c, child, flag, &at, d);
	if (r)
		return r;
	const struct closure_node *n = &c->t.v[at];
	if (n->condemned)
		return 0;
	bool goes = !(n->flags & INVENTORY_PRESENT);
	if (is_present_folder(n)) {
		r = c->in->destroy_moved ? 1 : stands_inside(c, n);
		if (r < 0)
			return diag_fail_errno(d, r, "id %llu", (unsigned long long)n->id);
		goes = r;
	}
	if (goes)
		condemn(c, at);
	return 0;
}

/* --- one folder --- */

static int collect_child(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool present,
			 const char *name)
{
	struct bytes_w *w = arg;

	(void)parent;
	(void)link;
	(void)name;
	bytes_w_u64(w, child);
	bytes_w_u8(w, present);
	return w->err;
}

static int visit_live(struct closure *c, uint64_t folder, struct diag *d)
{
	CLEANUP_BYTES struct bytes_w found = {0};
	int r = volume_history(c->in->volume, folder, collect_child, &found);

	if (r)
		return diag_fail_errno(d, r, "folder with id %llu", (unsigned long long)folder);
	struct bytes_r rd = bytes_r_init(found.buf, found.len);
	while (r == 0 && rd.left) {
		uint64_t child = bytes_r_u64(&rd);
		bool present = bytes_r_u8(&rd);

		r = visit(c, child, present ? 0 : INVENTORY_HISTORY, d);
	}
	return r;
}

static int visit_sets(struct closure *c, uint64_t folder, struct diag *d)
{
	size_t first, n = set_pairs_of(&c->sets.children, folder, &first);
	int r = 0;

	for (size_t i = first; i < first + n && r == 0; i++)
		r = visit(c, c->sets.children.v[i].b, INVENTORY_SET, d);
	return r;
}

static int add_target(struct closure *c, uint64_t id, struct diag *d)
{
	char order[KEYRING_ORDER_REF_MAX + 1];
	size_t at;
	int r;

	if (id < VOLUME_FIRST_ID)
		return diag_fail(d, DIAG_DENIED, -EPERM, "the volume's root as a target");
	r = closure_reach(c, id, INVENTORY_TARGET, &at, d);
	if (r)
		return r;
	if (c->t.v[at].gone) {
		keyring_gone(volume_keyring(c->in->volume), KEYRING_LIVE, id, order);
		return diag_fail(d, DIAG_DESTROYED, -EKEYREVOKED, "id %llu under order %s",
				 (unsigned long long)id, order);
	}
	condemn(c, at);
	return 0;
}

/* --- who keeps a file --- */

static int collect_link(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool present,
			const char *name)
{
	struct bytes_w *w = arg;

	(void)link;
	(void)present;
	(void)name;
	bytes_w_u64(w, parent);
	bytes_w_u64(w, child);
	return w->err;
}

static int count_links(struct closure *c, const uint64_t *ids, size_t n, struct diag *d)
{
	CLEANUP_BYTES struct bytes_w found = {0};
	int r = n ? volume_links_of(c->in->volume, ids, n, collect_link, &found) : 0;

	if (r)
		return diag_fail_errno(d, r, "links to what was reached");
	struct bytes_r rd = bytes_r_init(found.buf, found.len);
	while (rd.left) {
		size_t parent = closure_table_find(&c->t, bytes_r_u64(&rd));
		size_t child = closure_table_find(&c->t, bytes_r_u64(&rd));

		if (parent != SIZE_MAX && c->t.v[parent].condemned)
			c->t.v[child].n_in++;
		else
			c->t.v[child].n_out++;
	}
	return 0;
}

static bool counts_links(const struct closure_node *n)
{
	bool file = (n->flags & INVENTORY_PRESENT) && !(n->flags & INVENTORY_DIR);

	return file && (!n->settled || (n->flags & INVENTORY_TARGET)) && !n->n_in && !n->n_out;
}

/* Flags by where it stands; whether it is spared. A target is never spared: the request names it.
 */
static bool judge(const struct closure *c, struct closure_node *n)
{
	bool target = n->flags & INVENTORY_TARGET;

	if (n->n_in && n->n_out) {
		n->flags |= INVENTORY_LINKED;
		return !target && !n->copied && !c->in->destroy_linked;
	}
	if (target && n->n_out > 1)
		n->flags |= INVENTORY_LINKED;
	if (target || !n->n_out)
		return false;
	n->flags |= INVENTORY_MOVED;
	return !n->copied && !c->in->destroy_moved;
}

static int settle_folder(struct closure *c, struct closure_node *n, struct diag *d)
{
	int inside = stands_inside(c, n);

	if (inside < 0)
		return diag_fail_errno(d, inside, "id %llu", (unsigned long long)n->id);
	if (!inside && !(n->flags & INVENTORY_TARGET))
		n->flags |= INVENTORY_MOVED;
	if (!n->condemned)
		n->flags |= INVENTORY_KEPT;
	n->settled = true;
	return 0;
}

int closure_settle(struct closure *c, struct diag *d)
{
	CLEANUP_FREE uint64_t *ids = calloc(c->t.n ? c->t.n : 1, sizeof(*ids));
	size_t n_ids = 0;
	int r;

	if (!ids)
		return diag_fail_errno(d, -ENOMEM, "inventory");
	for (size_t i = 0; i < c->t.n; i++)
		if (counts_links(&c->t.v[i]))
			ids[n_ids++] = c->t.v[i].id;
	r = count_links(c, ids, n_ids, d);
	for (size_t i = 0; i < c->t.n && r == 0; i++) {
		struct closure_node *n = &c->t.v[i];

		if (is_present_folder(n)) {
			r = settle_folder(c, n, d);
		} else if (!n->settled || (n->flags & INVENTORY_TARGET)) {
			bool spared = (n->flags & INVENTORY_PRESENT) && judge(c, n);

			n->flags |= spared ? INVENTORY_KEPT : 0;
			n->condemned = !spared;
			n->settled = true;
		}
	}
	return r;
}

/* A condemned folder, or something that is no more and may have been one, whose children nobody has visited. */
static bool to_descend(const struct closure_node *n)
{
	bool present_file = (n->flags & INVENTORY_PRESENT) && !(n->flags & INVENTORY_DIR);

	return n->condemned && !n->descended && !present_file;
}

int closure_descend(struct closure *c, struct diag *d)
{
	int r = 0;

	/* Children are added behind, so one pass reaches all of them; a folder that an earlier child
	 * condemns stands behind it or is found by the next pass. */
	for (bool more = true; more && r == 0;) {
		more = false;
		for (size_t i = 0; i < c->t.n && r == 0; i++) {
			if (!to_descend(&c->t.v[i]))
				continue;
			uint64_t id = c->t.v[i].id;

			more = c->t.v[i].descended = true;
			r = visit_live(c, id, d);
			if (r == 0)
				r = visit_sets(c, id, d);
		}
	}
	return r;
}

int closure_walk(struct closure *c, struct diag *d)
{
	int r = 0;

	for (size_t i = 0; i < c->in->n_targets && r == 0; i++)
		r = add_target(c, c->in->targets[i], d);
	if (r == 0)
		r = closure_descend(c, d);
	return r ? r : closure_settle(c, d);
}
