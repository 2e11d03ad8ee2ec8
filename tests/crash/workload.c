/*
 * Recording a workload and judging what power cuts leave of it: see the header.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/crash/workload.h"
#include "tests/fault/medium.h"

/* Hashes of all that were looked at. */
static struct {
	uint64_t *v;
	size_t size, n;
} seen;
char workload_story[160];

/* ---- distinct states ---- */

static bool note_hash(uint64_t hash)
{
	size_t i = hash & (seen.size - 1);

	hash |= !hash;
	while (seen.v[i] && seen.v[i] != hash)
		i = (i + 1) & (seen.size - 1);
	if (seen.v[i])
		return false;
	seen.v[i] = hash;
	seen.n++;
	return true;
}

static bool is_new(uint64_t hash)
{
	if (2 * (seen.n + 1) > seen.size) {
		uint64_t *old = seen.v;
		size_t n = seen.size;

		seen.size = n ? 2 * n : 1u << 16;
		seen.n = 0;
		seen.v = calloc(seen.size, sizeof(*seen.v));
		assert_non_null(seen.v);
		for (size_t i = 0; i < n; i++) {
			if (old[i])
				note_hash(old[i]);
		}
		free(old);
	}
	return note_hash(hash);
}

size_t workload_n_seen(void)
{
	return seen.n;
}

void workload_forget(void)
{
	free(seen.v);
	memset(&seen, 0, sizeof(seen));
}

/* ---- recording ---- */

static void note_begun(void *arg)
{
	struct workload *w = arg;

	w->begun_at[w->d.steps] = medium_n_ops();
}

static void note_step(struct workload *w, const struct op *op)
{
	w->n_steps = w->d.steps;
	w->acked_at[w->n_steps] = medium_n_ops();
	reference_copy(&w->history[w->n_steps], &w->d.ref);
	if (op->kind == OP_SNAPSHOT) {
		w->snap_from = w->n_steps;
		w->snap_to = 0;
	} else if (op->kind == OP_SNAPSHOT_END) {
		w->snap_to = w->n_steps;
	}
}

/* The whole list, on a new volume; false: something was wrong without any cut. */
static bool record(struct workload *w, const struct op *ops, size_t n)
{
	driver_create(w->fx, w->d.who);
	medium_record(w->fx->dir);
	bool right = driver_mount(&w->d, false);
	reference_copy(&w->history[0], &w->d.ref);
	for (size_t i = 0; i < n && right; i++) {
		enum drive_result r = drive(&w->d, &ops[i], note_begun, w);

		right = r != DRIVE_WRONG;
		if (r == DRIVE_DONE)
			note_step(w, &ops[i]);
	}
	if (w->fx->v)
		right = driver_unmount(&w->d) && right;
	medium_stop();
	struct medium_state *s = medium_cut(medium_n_ops(), MEDIUM_ALL, 0, 0);
	if (right && !medium_state_is(s))
		right = drive_wrong(&w->d,
				    "the store was changed by calls that the medium does not see");
	medium_state_free(s);
	return right;
}

struct workload *workload_new(struct identity *who, uint64_t seed)
{
	struct workload *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->fx = fixture_new();
	w->d = (struct driver){.fx = w->fx, .who = who};
	w->seed = seed;
	w->only = WORKLOAD_ALL;
	reference_init(&w->d.ref);
	return w;
}

void workload_free(struct workload *w)
{
	for (unsigned i = 0; i <= w->n_steps; i++)
		reference_drop(&w->history[i]);
	driver_end(&w->d);
	remove_tree(AT_FDCWD, w->fx->dir);
	free(w->fx);
	free(w);
}

/* ---- judging a state ---- */

static struct claim claim_at(const struct workload *w, size_t cut)
{
	struct claim c = {.history = w->history};

	while (c.acked < w->n_steps && w->acked_at[c.acked + 1] <= cut)
		c.acked++;
	c.begun = c.acked;
	while (c.begun < w->n_steps && w->begun_at[c.begun + 1] < cut)
		c.begun++;
	return c;
}

/* Work goes on, and is durable. */
static bool goes_on(struct workload *w)
{
	struct volume *v = w->fx->v;
	uint8_t block[5000], got[sizeof(block) + 1];
	uint64_t id = 0;

	memset(block, (int)w->n_states, sizeof(block));
	int r = try_make(v, VOLUME_ROOT_ID, "new", S_IFREG | 0600, &id);
	if (r == 0 && volume_write(v, id, block, sizeof(block), 0, false) != (ssize_t)sizeof(block))
		r = -EIO;
	if (r == 0)
		r = volume_fsync(v, id);
	if (r == 0 && (volume_read(v, id, got, sizeof(got), 0) != (ssize_t)sizeof(block) ||
		       memcmp(block, got, sizeof(block))))
		r = -EIO;
	return r ? drive_wrong(&w->d, "it cannot be worked with: %d", r) : true;
}

/* Nothing stands there that cannot be deleted. */
static int remove_below(struct volume *v, uint64_t dir)
{
	struct volume_attr a;
	int r = 0;

	for (unsigned c = 0; c < OPS_LETTERS && r == 0; c++) {
		const char *name = drive_name(c);

		if (find(v, dir, name, &a))
			continue;
		r = S_ISDIR(a.mode) ? remove_below(v, a.id) : 0;
		if (r == 0)
			r = S_ISDIR(a.mode) ? volume_rmdir(v, dir, name)
					    : volume_unlink(v, dir, name);
	}
	return r;
}

static bool empties(struct workload *w)
{
	int r = remove_below(w->fx->v, VOLUME_ROOT_ID);

	if (r == 0)
		r = volume_sync(w->fx->v);
	return r ? drive_wrong(&w->d, "it cannot be emptied: %d", r) : true;
}

/* When it must still be there. */
static bool snapshot_due(const struct workload *w, const struct claim *c)
{
	return w->snap_from && c->acked >= w->snap_from && (!w->snap_to || c->begun < w->snap_to);
}

static bool snapshot_holds(struct workload *w)
{
	struct volume_snapshot s;

	if (volume_snapshot_find(w->fx->v, w->d.snap.snap.id, &s))
		return drive_wrong(&w->d, "the open snapshot is lost");
	if (!w->d.at_snap.next_serial)
		reference_copy(&w->d.at_snap, &w->history[w->snap_from]);
	return view_snapshot_fits(&w->d);
}

static bool view_allowed(struct workload *w, const struct claim *c)
{
	struct view *view = view_read(&w->d);
	bool fits = view && view_fits(&w->d, view, c);

	if (view)
		view_free(view);
	return fits;
}

static bool whole(struct workload *w)
{
	struct volume_check c;
	int r = volume_check(w->fx->v, true, print_finding, NULL, &c);

	if (r || c.n_bad || w->fx->n_alarms)
		return drive_wrong(&w->d, "check: %d, %llu bad, %u alarms", r,
				   (unsigned long long)c.n_bad, w->fx->n_alarms);
	return true;
}

/* A mount that may not write shows the same: nothing had to be repaired. */
static bool reads_only(struct workload *w, const struct claim *c)
{
	if (!driver_mount(&w->d, true))
		return false;
	bool right = view_allowed(w, c) && (!snapshot_due(w, c) || snapshot_holds(w));
	return driver_unmount(&w->d) && right;
}

static bool state_holds(struct workload *w, size_t cut)
{
	const struct claim c = claim_at(w, cut);

	if ((snapshot_due(w, &c) || w->n_states % 8 == 0) && !reads_only(w, &c))
		return false;
	if (!driver_mount(&w->d, false))
		return false;
	bool right = view_allowed(w, &c) && whole(w) && goes_on(w);
	if (right && w->n_states % 4 == 1)
		right = empties(w) && whole(w);
	return driver_unmount(&w->d) && right;
}

/* ---- all states of a workload ---- */

static const struct {
	enum medium_keep keep;
	unsigned unit, n_salts;
} kinds[] = {
    {MEDIUM_SYNCED, 0, 1}, {MEDIUM_ALL, 0, 1},     {MEDIUM_SOME, 0, 3},
    {MEDIUM_TORN, 512, 3}, {MEDIUM_TORN, 4096, 2},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static bool look_at(struct workload *w, size_t cut, unsigned kind, unsigned salt)
{
	uint64_t number = w->n_states++;

	if (w->only != WORKLOAD_ALL && w->only != number)
		return true;
	struct medium_state *s = medium_cut(cut, kinds[kind].keep, kinds[kind].unit,
					    w->seed * 1000003 + cut * 64 + kind * 16 + salt);
	bool right = true;
	snprintf(
	    workload_story, sizeof(workload_story),
	    "COFFER_CRASH_SEED=%llu COFFER_CRASH_STATE=%llu: cut behind call %zu, keep %d, unit %u",
	    (unsigned long long)w->seed, (unsigned long long)number, cut, kinds[kind].keep,
	    kinds[kind].unit);
	if (is_new(medium_state_hash(s))) {
		medium_state_put(s);
		right = state_holds(w, cut);
	}
	medium_state_free(s);
	return right;
}

static bool all_cuts(struct workload *w, uint64_t enough)
{
	for (size_t cut = 0; cut <= medium_n_ops(); cut++) {
		for (unsigned k = 0; k < N_KINDS; k++) {
			for (unsigned salt = 0; salt < kinds[k].n_salts; salt++) {
				if (seen.n < enough && !look_at(w, cut, k, salt))
					return false;
			}
		}
	}
	return true;
}

/* Power fails again while a volume comes back: what was acknowledged before the first cut holds
 * behind the second. */
static bool cut_again(struct workload *w, uint64_t enough)
{
	uint64_t dice = w->seed;
	size_t cut = ops_dice(&dice, medium_n_ops() + 1);
	const struct claim c = claim_at(w, cut);
	struct medium_state *s = medium_cut(cut, MEDIUM_SOME, 0, dice);

	medium_state_put(s);
	medium_state_free(s);
	/* From here on every cut lies behind that claim's. */
	for (unsigned i = 1; i <= w->n_steps; i++) {
		w->acked_at[i] = i <= c.acked ? 0 : SIZE_MAX;
		w->begun_at[i] = i <= c.begun ? 0 : SIZE_MAX;
	}
	w->snap_from = 0; /* the mount that is cut closes it */
	medium_record(w->fx->dir);
	bool right = driver_mount(&w->d, false) && driver_unmount(&w->d);
	medium_stop();
	return right && all_cuts(w, enough);
}

bool workload_run(struct workload *w, const struct op *ops, size_t n, uint64_t enough)
{
	snprintf(workload_story, sizeof(workload_story), "COFFER_CRASH_SEED=%llu: before any cut",
		 (unsigned long long)w->seed);
	return record(w, ops, n) && all_cuts(w, enough) && cut_again(w, enough);
}
