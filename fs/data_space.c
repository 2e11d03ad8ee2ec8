/*
 * Slots of one file's object: which may be written, and when one that was given up may be written
 * again.
 *
 * Nothing about free slots is stored. What a mount frees it remembers (the states stand in
 * fs/data_internal.h); what it has forgotten, or an earlier mount left, a survey finds: it walks
 * the file's map records in small steps, marks every slot that is named or otherwise accounted for,
 * and what stays unmarked is free. Slots that change hands meanwhile are marked as they do; slots
 * from above the limit are not judged. A survey begins only while no snapshot is open, so that what
 * only snapshots hold cannot be mistaken for free.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "fs/data_internal.h"

#define SURVEY_STEP 512u /* records looked at in one step */
#define DEAD_MIN 64u     /* slots that are not worth a survey */
#define FRAGMENT_MIN 16u /* a shorter free run is no place for a longer write */
#define PUNCH_MIN 256u   /* free runs from this length are given back to the medium */

/* ---- lists of runs ---- */

/* Without memory the run is left out: its slots are dead until the next survey. */
static void runs_add(struct data_runs *l, uint64_t slot, uint64_t n, uint64_t birth)
{
	struct data_run *last = l->n ? &l->v[l->n - 1] : NULL;

	if (last && last->slot + last->n == slot && last->birth == birth) {
		last->n += n;
		l->n_slots += n;
		return;
	}
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 8;
		struct data_run *wider = reallocarray(l->v, cap, sizeof(*wider));

		if (!wider)
			return;
		l->v = wider;
		l->cap = cap;
	}
	l->v[l->n++] = (struct data_run){.slot = slot, .n = n, .birth = birth};
	l->n_slots += n;
}

static void runs_clear(struct data_runs *l)
{
	free(l->v);
	*l = (struct data_runs){0};
}

static int compare_runs(const void *a, const void *b)
{
	const struct data_run *x = a, *y = b;

	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* Sorts, joins neighbours, drops what was used up. */
static void runs_normalise(struct data_runs *l)
{
	size_t n = 0;

	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), compare_runs);
	for (size_t i = 0; i < l->n; i++) {
		if (!l->v[i].n)
			continue;
		if (n && l->v[n - 1].slot + l->v[n - 1].n == l->v[i].slot &&
		    l->v[n - 1].birth == l->v[i].birth)
			l->v[n - 1].n += l->v[i].n;
		else
			l->v[n++] = l->v[i];
	}
	l->n = n;
}

/* ---- the survey's marks ---- */

static void survey_mark(struct data_survey *s, uint64_t slot, uint64_t n)
{
	for (uint64_t i = slot; s && i < slot + n && i < s->limit; i++)
		s->named[i / 8] |= (uint8_t)(1u << i % 8);
}

static void survey_mark_runs(struct data_survey *s, const struct data_runs *l)
{
	for (size_t i = 0; i < l->n; i++)
		survey_mark(s, l->v[i].slot, l->v[i].n);
}

static void survey_mark_group(struct data_survey *s, const struct map_group *m)
{
	for (unsigned i = 0; i < MAP_GROUP; i++) {
		if (m->e[i].slot != MAP_HOLE)
			survey_mark(s, m->e[i].slot, 1);
	}
}

static void survey_drop(struct vfile *f)
{
	if (f->survey)
		free(f->survey->named);
	free(f->survey);
	f->survey = NULL;
}

/* ---- taking and giving ---- */

/* The first free run of at least want slots; when none is and most of the file is free, the
 * longest. */
static struct data_run *pick_run(struct vfile *f, uint64_t want)
{
	struct data_run *longest = NULL;

	if (f->free_unsorted) {
		runs_normalise(&f->free);
		f->free_unsorted = false;
	}
	if (want >= f->no_fit && f->free.n_slots < f->n_slots / 4)
		return NULL;
	for (size_t i = 0; i < f->free.n; i++) {
		struct data_run *run = &f->free.v[i];

		if (run->n >= want)
			return run;
		if (!longest || run->n > longest->n)
			longest = run;
	}
	f->no_fit = want < f->no_fit ? want : f->no_fit;
	if (longest && longest->n >= FRAGMENT_MIN && f->free.n_slots >= f->n_slots / 4)
		return longest;
	return NULL;
}

uint64_t data_space_alloc(struct vfile *f, uint64_t want, uint64_t *ret_slot)
{
	struct data_run *run = f->free.n_slots ? pick_run(f, want) : NULL;

	if (!run) {
		if (want > MAP_SLOT_END - f->n_slots)
			return 0;
		*ret_slot = f->n_slots;
		f->n_slots += want;
		return want;
	}
	uint64_t n = run->n < want ? run->n : want;
	*ret_slot = run->slot;
	run->slot += n;
	run->n -= n;
	f->free.n_slots -= n;
	return n;
}

/* Only space is at stake: a medium that cannot punch keeps it until it is reused. */
static void punch(struct volume *v, const struct vfile *f, const struct data_run *run)
{
	if (run->n >= PUNCH_MIN)
		(void)object_punch(v, f->id, run->slot, run->n);
}

/* Nobody reads what cooled in this generation any more. */
static void cooled(struct volume *v, struct vfile *f, struct data_runs *l)
{
	for (size_t i = 0; i < l->n; i++) {
		runs_add(&f->free, l->v[i].slot, l->v[i].n, 0);
		punch(v, f, &l->v[i]);
	}
	if (l->n) {
		f->free_unsorted = true;
		f->no_fit = UINT64_MAX;
	}
	runs_clear(l);
}

/*
 * A reader knows slots that were named when it came, so those given up in its generation or the
 * next must wait for it. The generation changes only when nobody of the one before is left: two
 * are enough, and a reader that never ends holds back no more than what is given up until it does.
 */
static void cool(struct volume *v, struct vfile *f)
{
	while (!f->n_readers[!f->generation]) {
		cooled(v, f, &f->cooling[!f->generation]);
		if (!f->cooling[f->generation].n)
			break;
		f->generation = !f->generation;
	}
}

unsigned data_space_reader(struct vfile *f)
{
	f->n_readers[f->generation]++;
	return f->generation;
}

void data_space_reader_gone(struct volume *v, struct vfile *f, unsigned generation)
{
	f->n_readers[generation]--;
	cool(v, f);
}

void data_space_return(struct volume *v, struct vfile *f, uint64_t slot, uint64_t n)
{
	runs_add(&f->cooling[f->generation], slot, n, 0);
	survey_mark(f->survey, slot, n);
	if (!f->n_readers[0] && !f->n_readers[1])
		cool(v, f);
}

void data_space_free(struct volume *v, struct vfile *f, const struct map_entry *e)
{
	if (e->birth == 0) {
		if (f->resync)
			data_space_forget(f, 1);
		else
			data_space_return(v, f, e->slot, 1);
		return;
	}
	runs_add(&f->freed, e->slot, 1, e->birth);
	survey_mark(f->survey, e->slot, 1);
}

void data_space_forget(struct vfile *f, uint64_t n)
{
	f->n_forgotten += n;
	if (f->survey)
		f->survey->forgot = true;
}

void data_space_forget_all(struct vfile *f)
{
	survey_drop(f);
	runs_clear(&f->free);
	runs_clear(&f->freed);
	runs_clear(&f->awaiting);
	runs_clear(&f->cooling[0]);
	runs_clear(&f->cooling[1]);
}

void data_space_published(struct vfile *f)
{
	for (size_t i = 0; i < f->freed.n; i++)
		runs_add(&f->awaiting, f->freed.v[i].slot, f->freed.v[i].n, f->freed.v[i].birth);
	runs_clear(&f->freed);
	f->uncommitted = true;
}

/* What lies free at the end is no longer part of the object. */
static void trim_end(struct vfile *f)
{
	struct data_run *last = f->free.n ? &f->free.v[f->free.n - 1] : NULL;

	if (!last || last->slot + last->n != f->n_slots)
		return;
	f->n_slots = last->slot;
	f->free.n_slots -= last->n;
	f->free.n--;
}

void data_space_committed(struct volume *v, struct vfile *f)
{
	uint64_t held = rstore_snap_newest_txn(v->rs);

	runs_normalise(&f->awaiting);
	for (size_t i = 0; i < f->awaiting.n; i++) {
		struct data_run *run = &f->awaiting.v[i];

		if (run->birth <= held) {
			data_space_forget(f, run->n);
			continue;
		}
		data_space_return(v, f, run->slot, run->n);
	}
	runs_clear(&f->awaiting);
	f->uncommitted = false;
	runs_normalise(&f->free);
	f->free_unsorted = false;
	trim_end(f);
}

/* ---- the survey ---- */

/* Slots that are accounted for and in no map. */
static uint64_t unmapped_slots(const struct vfile *f)
{
	return f->free.n_slots + f->freed.n_slots + f->awaiting.n_slots + f->cooling[0].n_slots +
	       f->cooling[1].n_slots;
}

static uint64_t dead_slots(const struct vfile *f)
{
	uint64_t known = f->n_mapped + unmapped_slots(f);

	return f->n_slots > known ? f->n_slots - known : 0;
}

static bool survey_due(struct volume *v, const struct vfile *f)
{
	uint64_t dead = dead_slots(f);

	if (dead <= DEAD_MIN || dead <= f->n_slots / 4 || f->uncommitted ||
	    rstore_snap_newest_txn(v->rs))
		return false;
	return !f->surveyed || f->n_forgotten > f->n_slots / 4;
}

static void survey_begin(struct vfile *f)
{
	struct data_survey *s = calloc(1, sizeof(*s));

	if (!s)
		return;
	s->limit = f->n_slots;
	s->named = calloc(1, (size_t)(s->limit / 8 + 1));
	f->survey = s;
	if (!s->named) {
		survey_drop(f);
		return;
	}
	survey_mark_runs(s, &f->free);
	survey_mark_runs(s, &f->freed);
	survey_mark_runs(s, &f->awaiting);
	survey_mark_runs(s, &f->cooling[0]);
	survey_mark_runs(s, &f->cooling[1]);
	for (const struct data_writer *w = f->writers; w; w = w->next) {
		for (size_t i = 0; w->io && i < w->io->n; i++)
			survey_mark(s, w->io->e[i].slot, 1);
	}
	for (size_t i = 0; i < f->n_groups; i++) {
		if (f->groups[i]->dirty && f->groups[i]->m)
			survey_mark_group(s, f->groups[i]->m);
	}
}

struct survey_walk {
	struct data_survey *s;
	uint64_t next_txn;
	size_t tag_len;
	unsigned n;
};

static int survey_record(void *arg, const struct rstore_key *key, const void *val, size_t len,
			 uint64_t txn)
{
	struct survey_walk *w = arg;
	struct map_group m;
	int r = map_decode(val, len, w->tag_len, &m);

	if (r < 0 || key->len < 8)
		return -EUCLEAN;
	/* A pending record hides the durable one and the slots that one still names. */
	if (txn >= w->next_txn)
		return -EAGAIN;
	survey_mark_group(w->s, &m);
	w->s->next_group = bytes_get64be(key->b + key->len - 8) + 1;
	return ++w->n == SURVEY_STEP;
}

/* Every record was seen: unmarked slots are named by nothing. */
static void survey_finish(struct volume *v, struct vfile *f)
{
	struct data_survey *s = f->survey;
	bool forgot = s->forgot;

	f->survey = NULL;
	for (uint64_t i = 0, n; i < s->limit && i < f->n_slots; i += n) {
		n = 1;
		if (!(i % 8) && s->named[i / 8] == 0xff)
			n = 8;
		else if (!(s->named[i / 8] & 1u << i % 8))
			data_space_return(v, f, i, 1);
	}
	runs_normalise(&f->free);
	f->free_unsorted = false;
	for (size_t i = 0; i < f->free.n; i++)
		punch(v, f, &f->free.v[i]);
	uint64_t unmapped = unmapped_slots(f);
	/* Taken slots are in no list and no map: with any on their way the count would be wrong. */
	if (!forgot && !f->writers && unmapped <= f->n_slots)
		f->n_mapped = f->n_slots - unmapped;
	f->surveyed = true;
	f->n_forgotten = 0;
	free(s->named);
	free(s);
}

void data_space_survey(struct volume *v, struct vfile *f)
{
	if (!f->survey) {
		if (!survey_due(v, f))
			return;
		survey_begin(f);
	}
	/* Between publication and commit the records say more than is durable. */
	if (!f->survey || f->uncommitted)
		return;
	struct survey_walk w = {.s = f->survey, .next_txn = rstore_next_txn(v->rs),
				.tag_len = engine_tag_len(v)};
	struct rstore_key from = engine_file_key_at(f->id, SUB_MAP, f->survey->next_group);
	struct rstore_key to = engine_sub_end(f->id, SUB_MAP);
	int r = rstore_scan(v->rs, &from, &to, survey_record, &w);

	if (r == 0) {
		survey_finish(v, f);
	} else if (r < 0) {
		survey_drop(f);
		/* A damaged record is the reader's to report; the rest stays dead in this mount. */
		f->surveyed = r != -EAGAIN;
		f->n_forgotten = 0;
	}
}
