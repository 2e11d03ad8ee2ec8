/*
 * What a destruction will meet: names that lead to the ids, folders that held such names, files
 * that it spares.
 *
 * Reads entries and history once, changes nothing. Entries and history tell ids under the records
 * epoch key, so it works when the ids' own keys are gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "fs/destroy_internal.h"
#include "fs/walk.h"

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool listed(const struct survey *s, uint64_t id)
{
	return bsearch(&id, s->ids, s->n, sizeof(id), compare_ids) != NULL;
}

static bool punctured(const struct survey *s, uint64_t id)
{
	char order[KEYRING_ORDER_REF_MAX + 1];

	return keyring_gone(s->v->kr, KEYRING_LIVE, id, order);
}

void survey_free(struct survey *s)
{
	free(s->gone);
	free(s->losses);
	free(s->spared);
	free(s->retired);
	free(s->past);
}

/* Room for one more element; NULL without memory. */
static void *grow(void *p, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	size_t want = *cap ? *cap * 2 : 64;
	void *wider = reallocarray(p, want, size);
	if (wider)
		*cap = want;
	return wider;
}

static int add_gone(struct survey *s, const struct history_gone *g)
{
	struct history_gone *p = grow(s->gone, s->n_gone, &s->cap_gone, sizeof(*p));

	if (!p)
		return -ENOMEM;
	s->gone = p;
	p[s->n_gone++] = *g;
	return 0;
}

/* The walk comes by a folder's entries one after the other. */
static int add_loss(struct survey *s, uint64_t parent, bool folder)
{
	if (!s->n_losses || s->losses[s->n_losses - 1].folder != parent) {
		struct survey_loss *p = grow(s->losses, s->n_losses, &s->cap_losses, sizeof(*p));

		if (!p)
			return -ENOMEM;
		s->losses = p;
		p[s->n_losses++] = (struct survey_loss){.folder = parent};
	}
	s->losses[s->n_losses - 1].n_subfolders += folder;
	return 0;
}

static int add_spared(struct survey *s, uint64_t child)
{
	struct survey_spared *p;

	for (size_t i = 0; i < s->n_spared; i++) {
		if (s->spared[i].id == child) {
			s->spared[i].n_links++;
			return 0;
		}
	}
	p = grow(s->spared, s->n_spared, &s->cap_spared, sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->spared = p;
	p[s->n_spared++] = (struct survey_spared){child, 1};
	return 0;
}

/*
 * Names that lead to ids of other orders, punctured but not yet taken out, go with the rehash of
 * their folder, so they count as lost, too. What stands inside another order's folder is that
 * order's business.
 */
static int survey_entry(void *arg, uint64_t parent, const struct dentry_sealed *d)
{
	struct survey *s = arg;
	bool inside = listed(s, parent), child_goes = listed(s, d->child) || punctured(s, d->child);

	if (!inside && !child_goes)
		return 0;
	struct history_gone g = {
	    .parent = parent, .child = d->child, .link = d->link, .last = child_goes};
	int r = add_gone(s, &g);
	if (r)
		return r;
	if (inside)
		return child_goes ? 0 : add_spared(s, d->child);
	return punctured(s, parent) ? 0 : add_loss(s, parent, S_ISDIR(d->type_mode));
}

/* A file that the order spares may lose a link in a destroyed folder, but not its last; a folder
 * has only one. */
static int check_spared(struct survey *s)
{
	for (size_t i = 0; i < s->n_spared; i++) {
		struct vinode *ino;
		int r = inode_get(s->v, s->spared[i].id, &ino);

		if (r)
			return r == -ENOENT ? -EINVAL : r;
		bool fits = !S_ISDIR(ino->attr.mode) && ino->attr.nlink > s->spared[i].n_links;
		inode_unpin(s->v, ino);
		if (!fits)
			return -EINVAL;
	}
	return 0;
}

/* ---- folders that held such a name once ---- */

static int past_record(void *arg, const struct rstore_key *key, const void *val, size_t len,
		       uint64_t txn)
{
	struct survey *s = arg;
	struct history_gone g;
	int r = history_gone_decode(key, val, len, &g);

	if (r || !listed(s, g.child) || listed(s, g.parent))
		return r;
	if (s->n_past && s->past[s->n_past - 1].folder == g.parent) {
		struct survey_past *last = &s->past[s->n_past - 1];

		last->txn = txn > last->txn ? txn : last->txn;
		return 0;
	}
	struct survey_past *p = grow(s->past, s->n_past, &s->cap_past, sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->past = p;
	p[s->n_past++] = (struct survey_past){g.parent, txn};
	return 0;
}

static bool loses_already(const struct survey *s, uint64_t folder, size_t n_losses)
{
	return n_losses && bsearch(&folder, s->losses, n_losses, sizeof(*s->losses), compare_ids);
}

static int add_retired(struct survey *s, uint64_t folder)
{
	uint64_t *p = grow(s->retired, s->n_retired, &s->cap_retired, sizeof(*p));

	if (!p)
		return -ENOMEM;
	s->retired = p;
	p[s->n_retired++] = folder;
	return 0;
}

/*
 * An old copy of the store still has the name's hash under the lookup id that the folder had then.
 * It needs a new one, unless it got one since (in the transaction in which the name went, at the
 * latest): so repetitions come to an end.
 */
static int settle_past(struct survey *s, const struct survey_past *past)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct rstore_key key = engine_key(SPACE_LOOKUP, &past->folder, 1);
	struct vinode *dir;
	uint64_t txn = 0;
	int r = rstore_get(s->v->rs, &key, &val, &txn);

	if (r)
		return r == -ENOENT ? 0 : engine_fault(s->v, r, past->folder, "lookup id", 0);
	if (txn >= past->txn || punctured(s, past->folder))
		return 0;
	r = inode_get(s->v, past->folder, &dir);
	if (r)
		return r == -ENOENT ? add_retired(s, past->folder) : r;
	bool orphan = dir->orphan;
	inode_unpin(s->v, dir);
	return orphan ? add_retired(s, past->folder) : add_loss(s, past->folder, false);
}

static int survey_past(struct survey *s)
{
	struct rstore_key from = engine_key(SPACE_HISTORY, NULL, 0),
			  to = engine_key(SPACE_HISTORY + 1, NULL, 0);
	size_t n_losses = s->n_losses;
	int r = rstore_scan(s->v->rs, &from, &to, past_record, s);

	if (r)
		return engine_fault(s->v, r, 0, "history", 0);
	for (size_t i = 0; i < s->n_past && r == 0; i++)
		if (!loses_already(s, s->past[i].folder, n_losses))
			r = settle_past(s, &s->past[i]);
	return r;
}

int survey_run(struct survey *s)
{
	int r = walk_dentries(s->v, false, survey_entry, s);

	if (r == 0)
		r = survey_past(s);
	return r ? r : check_spared(s);
}
