/*
 * A snapshot against the reference of when it was opened: see view.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/crash/view.h"

struct walk {
	struct driver *d;
	unsigned n_inodes, n_names;
};

static const struct reference_node *by_id(const struct reference *r, uint64_t id)
{
	for (unsigned i = 1; i < REFERENCE_NODES; i++) {
		if (r->n[i].serial && r->n[i].id == id)
			return &r->n[i];
	}
	return NULL;
}

static int stop(struct walk *w, uint64_t id, const char *what)
{
	drive_wrong(w->d, "the snapshot: %s of %llu", what, (unsigned long long)id);
	return -ECANCELED;
}

static int see_inode(void *arg, const struct volume_snap_inode *in)
{
	struct walk *w = arg;
	const struct reference_node *n = by_id(&w->d->at_snap, in->attr.id);

	if (!in->attr.nlink)
		return 0; /* open when the snapshot was taken, or left by a crash */
	if (!n || (in->attr.mode & S_IFMT) != n->type || (in->attr.mode & 07777) != n->mode ||
	    in->attr.nlink != n->nlink)
		return stop(w, in->attr.id, "the inode");
	w->n_inodes++;
	if (n->type != S_IFREG)
		return 0;
	if (in->attr.size != n->content->len ||
	    (in->inline_data && memcmp(in->inline_data, n->content->p, in->inline_len)))
		return stop(w, in->attr.id, "the content");
	return 0;
}

static int see_name(void *arg, uint64_t parent, uint64_t link, uint64_t child, uint32_t type_mode,
		    const char *name, int name_err)
{
	struct walk *w = arg;
	const struct reference *r = &w->d->at_snap;
	const struct reference_node *dir = by_id(r, parent);
	unsigned c = name_err ? OPS_LETTERS : (unsigned)(name[0] - 'a');

	(void)link;
	if (!dir || c >= OPS_LETTERS || !dir->child[c] || r->n[dir->child[c]].id != child ||
	    r->n[dir->child[c]].type != type_mode || strcmp(name, drive_name(c)))
		return stop(w, child, "a name");
	w->n_names++;
	return 0;
}

static int see_map(void *arg, uint64_t id, uint64_t group, uint64_t txn, const struct map_group *g)
{
	static const uint8_t zeros[MAP_BLOCK];
	struct walk *w = arg;
	const struct reference_node *n = by_id(&w->d->at_snap, id);

	(void)txn;
	if (!n || !n->content)
		return 0; /* an orphan's */
	for (unsigned i = 0; i < MAP_GROUP; i++) {
		uint64_t off = (group * MAP_GROUP + i) * MAP_BLOCK;
		uint8_t block[MAP_BLOCK];
		const uint8_t *shown = zeros;

		if (off >= n->content->len)
			break;
		size_t len = n->content->len - off < MAP_BLOCK ? n->content->len - off : MAP_BLOCK;
		if (g->e[i].slot != MAP_HOLE) {
			int r = volume_snapshot_read(w->d->fx->v, &w->d->snap, id, group, g, i, 1,
						     block);
			if (r) {
				stop(w, id, "a block");
				return r;
			}
			shown = block;
		}
		if (memcmp(shown, n->content->p + off, len))
			return stop(w, id, "the bytes");
	}
	return 0;
}

bool view_snapshot_fits(struct driver *d)
{
	const struct volume_snap_ops ops = {.inode = see_inode, .name = see_name, .map = see_map};
	const struct reference *r = &d->at_snap;
	struct walk w = {.d = d};
	unsigned n_inodes = 0, n_names = 0;
	int err = volume_snapshot_scan(d->fx->v, &d->snap, 0, &ops, &w);

	d->got = err && err != -ECANCELED ? err : -EBADMSG;
	if (err)
		return d->why[0] ? false : drive_wrong(d, "the snapshot does not scan: %d", err);
	for (unsigned i = 1; i < REFERENCE_NODES; i++) {
		n_inodes += r->n[i].serial && r->n[i].nlink;
		for (unsigned c = 0; c < OPS_LETTERS; c++)
			n_names += r->n[i].child[c] != 0;
	}
	if (w.n_inodes != n_inodes || w.n_names != n_names)
		return drive_wrong(d, "the snapshot has %u inodes and %u names, not %u and %u",
				   w.n_inodes, w.n_names, n_inodes, n_names);
	return true;
}
