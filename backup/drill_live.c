/*
 * The live volume beside a drill.
 *
 * Writers go on meanwhile. So files are read first, and then a snapshot tells which of them changed
 * since the set was taken: what was written before a read, and would explain a difference, is in
 * that snapshot.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/drill_internal.h"

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

int drill_live_look(struct drill *dr, uint64_t id, const struct set_node *n,
		    const uint8_t digest[CONTENT_DIGEST_LEN])
{
	uint8_t live[CONTENT_DIGEST_LEN];
	struct volume_attr a;

	if (!dr->in->live || volume_peek(dr->in->live, id, &a) != 0 || !S_ISREG(a.mode) ||
	    !same_time(&a.ctime, &n->attr.ctime))
		return 0;
	int err = content_digest_live(dr->in->live, id, a.size, live);
	if (err == -ENOENT || err == -EKEYREVOKED || err == -ESTALE) /* it went meanwhile */
		return 0;
	struct drill_look *more = realloc(dr->looks, (dr->n_looks + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	dr->looks = more;
	dr->looks[dr->n_looks++] = (struct drill_look){
	    .id = id,
	    .same = err == 0 && a.size == n->attr.size && memcmp(live, digest, sizeof(live)) == 0};
	return 0;
}

/* --- what changed since the set --- */

static void changed(struct drill *dr, uint64_t id)
{
	for (size_t i = 0; i < dr->n_looks; i++)
		if (dr->looks[i].id == id)
			dr->looks[i].changed = true;
}

static int on_inode(void *arg, const struct volume_snap_inode *in)
{
	changed(arg, in->attr.id);
	return 0;
}

static int on_map(void *arg, uint64_t id, uint64_t group, uint64_t txn, const struct map_group *g)
{
	(void)group, (void)txn, (void)g;
	changed(arg, id);
	return 0;
}

static int on_name(void *arg, uint64_t parent, uint64_t link, uint64_t child, uint32_t type_mode,
		   const char *name, int name_err)
{
	(void)arg, (void)parent, (void)link, (void)child, (void)type_mode, (void)name;
	(void)name_err;
	return 0;
}

static int on_gone(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool last)
{
	(void)parent, (void)link;
	if (last)
		changed(arg, child);
	return 0;
}

static int on_edge(void *arg, uint64_t a, uint64_t b, uint8_t kind)
{
	(void)arg, (void)a, (void)b, (void)kind;
	return 0;
}

static int mark_changed(struct drill *dr)
{
	static const struct volume_snap_ops ops = {
	    .inode = on_inode, .name = on_name, .map = on_map, .gone = on_gone, .edge = on_edge};
	const struct set_manifest *m = &dr->in->catalog->sets[dr->in->set];
	struct volume_snapshot snap;
	int err = volume_snapshot_open(dr->in->live, &snap);

	if (err)
		return err;
	if (snap.timeline != m->timeline || snap.snap.txn < m->to_txn)
		err = -ESTALE;
	else
		err = volume_snapshot_scan(dr->in->live, &snap, m->to_txn, &ops, dr);
	int closed = volume_snapshot_close(dr->in->live, &snap);
	return err ? err : closed;
}

int drill_live_settle(struct drill *dr)
{
	if (dr->n_looks == 0 || mark_changed(dr) != 0)
		return 0;
	for (size_t i = 0; i < dr->n_looks; i++) {
		if (dr->looks[i].changed)
			continue;
		dr->res.n_live++;
		if (!dr->looks[i].same)
			drill_bad(dr, dr->looks[i].id, "the live file, unchanged since, differs");
	}
	return 0;
}
