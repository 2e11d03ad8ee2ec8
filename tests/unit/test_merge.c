/*
 * Merging: whatever was merged, every set that is left restores to the tree of its moment, at every step of it;
 * nothing goes that is held, kept for its own sake, or that something else needs.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/hold.h"
#include "backup/merge.h"
#include "backup/setview_internal.h"
#include "tests/unit/backup_tree.h"

#define NOW 1796000000

static void clear(const char *dir)
{
	char cmd[PATH_MAX + 16];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	assert_int_equal(system(cmd), 0);
}

/* --- the sets of a life, and the trees they must bring back --- */

struct wanted {
	struct {
		uint64_t txn;
		char *tree;
	} v[64];
	size_t n;
};

static void want(struct backup_fixture *b, struct wanted *w, bool full)
{
	struct set_manifest m;

	w->v[w->n].tree = tree_of_volume(b->fx->v, VOLUME_ROOT_ID);
	back_up(b, full, &m);
	w->v[w->n++].txn = m.to_txn;
	set_manifest_free(&m);
}

static void wanted_free(struct wanted *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i].tree);
	w->n = 0;
}

static void expect_set(struct backup_fixture *b, const struct set_catalog *c, size_t i, const struct wanted *w)
{
	struct restore_request in = {.to = b->out_dir};
	struct restore_result res;

	assert_int_equal(setview_open(b->repo, keys(b), c, i, &in.view, &b->d), 0);
	int r = restore_run(&in, &res, &b->d);
	if (r)
		diag_print(&b->d, stderr);
	assert_int_equal(r, 0);
	setview_close(in.view);
	char *got = tree_of_folder(b->out_dir);
	for (size_t k = 0; k < w->n; k++)
		if (w->v[k].txn == c->sets[i].to_txn)
			expect_tree(got, w->v[k].tree);
	free(got);
	clear(b->out_dir);
}

static void expect_all(struct backup_fixture *b, const struct wanted *w)
{
	struct set_catalog c;

	load(b, &c);
	assert_int_equal(c.n_damaged, 0);
	for (size_t i = 0; i < c.n_sets; i++)
		expect_set(b, &c, i, w);
	set_catalog_free(&c);
}

static void expect_verified(struct backup_fixture *b, const struct set_manifest *m)
{
	struct backup_verdict v;

	assert_int_equal(backup_verify(b->repo, keys(b), m, &v, &b->d), 0);
	assert_int_equal(v.n_bad, 0);
	assert_int_equal(backup_scrub(b->repo, m, &v, &b->d), 0);
	assert_int_equal(v.n_bad, 0);
}

/* --- merging n sets from the first on --- */

struct shop {
	struct set_catalog c;
	bool *whole;
	struct prune_verdict *verdicts;
	struct merge_rules rules;
};

/* Retention that keeps the newest of each chain only, so that all others may go. */
static void shop_open(struct backup_fixture *b, struct shop *s)
{
	const struct prune_rules keep = {.keep = {1, 1, 1}, .held = prune_held_by_object, .arg = b->repo};

	load(b, &s->c);
	assert_int_equal(prune_survey(b->repo, &s->c, &s->whole), 0);
	assert_int_equal(prune_plan(&s->c, &keep, s->whole, &s->verdicts), 0);
	s->rules = (struct merge_rules){.verdicts = s->verdicts, .whole = s->whole, .before = INT64_MAX, .min = 1};
}

static void shop_close(struct shop *s)
{
	set_catalog_free(&s->c);
	free(s->whole);
	free(s->verdicts);
}

static int write_merged(struct backup_fixture *b, const struct shop *s, const struct merge_run *run,
			struct set_manifest *ret, struct merge_figures *f)
{
	static const uint8_t charter[32] = {7};
	const struct merge_request in = {.repo = b->repo, .kr = keys(b), .catalog = &s->c, .run = run,
					 .charter = charter, .trail = {.size = 5, .root = {9}}};

	return merge_write(&in, ret, f, &b->d);
}

static void remove_members(struct backup_fixture *b, const struct shop *s, const struct merge_run *run,
			   const struct wanted *w)
{
	for (size_t i = run->n; i-- > 0;) {
		assert_int_equal(prune_remove_manifest(b->repo, s->c.sets[run->members[i]].id, NOW), 0);
		if (w && (i == 0 || i + 1 == run->n))
			expect_all(b, w);
		if (i % 2)
			assert_int_equal(prune_remove_rest(b->repo, s->c.sets[run->members[i]].id), 0);
	}
}

/* Positions first .. first + n - 1 of the catalogue. */
static void merge(struct backup_fixture *b, size_t first, size_t n, const struct wanted *w, struct merge_figures *f)
{
	struct set_manifest m;
	struct merge_run run;
	struct shop s;
	size_t v[SET_MERGED_MAX];

	shop_open(b, &s);
	for (size_t i = 0; i < n; i++)
		v[i] = first + n - 1 - i;
	int r = merge_check(&s.c, &s.rules, v, n, &run, &b->d);
	if (r)
		diag_print(&b->d, stderr);
	assert_int_equal(r, 0);
	assert_int_equal(write_merged(b, &s, &run, &m, f), 0);
	expect_verified(b, &m);
	if (w)
		expect_all(b, w);
	remove_members(b, &s, &run, w);
	set_manifest_free(&m);
	free(run.members);
	shop_close(&s);
}

/* --- promise 4 --- */

/* As an editor saves: a new file renamed over the old one, so that the sets hold deltas. */
static void save_document(struct volume *v, uint64_t seed)
{
	static uint8_t *doc;
	static const size_t len = 400000;
	CLEANUP_FREE uint8_t *more = noise(seed, 3000);

	if (!doc || seed == 0) {
		free(doc);
		doc = noise(77, len);
	}
	memcpy(doc + seed * 7919 % (len - 3000), more, 3000);
	uint64_t id = make(v, VOLUME_ROOT_ID, "saving~", S_IFREG | 0644);
	write_at(v, id, doc, len, 0);
	assert_int_equal(volume_rename(v, VOLUME_ROOT_ID, "saving~", VOLUME_ROOT_ID, "document", 0), 0);
}

static void lives_of(struct backup_fixture *b, uint64_t seed)
{
	struct life l = life_begin(b->fx->v, seed);
	struct wanted w = {0};
	struct merge_figures f;

	for (size_t i = 0; i < 8; i++) {
		live_on(&l, i ? 120 : 400);
		save_document(b->fx->v, i);
		want(b, &w, i == 0);
	}
	/* 0 full, 1 .. 7 on it: two in the middle, then with those before, then the full one, with sets taken between. */
	merge(b, 3, 2, &w, &f);
	live_on(&l, 120);
	save_document(b->fx->v, 8);
	want(b, &w, false);
	merge(b, 1, 4, &w, &f);
	assert_true(f.n_dropped > 0);
	live_on(&l, 60);
	save_document(b->fx->v, 9);
	want(b, &w, false);
	merge(b, 0, 3, &w, &f);
	live_on(&l, 60);
	save_document(b->fx->v, 10);
	want(b, &w, false);
	expect_all(b, &w);
	wanted_free(&w);
	assert_int_equal(b->fx->n_alarms, 0);
}

static void test_random_lives(void **state)
{
	for (uint64_t seed = 1; seed <= 2; seed++) {
		lives_of(*state, seed);
		if (seed < 2) {
			backup_teardown(state);
			assert_int_equal(backup_setup(state), 0);
		}
	}
}

/*
 * A signature tells of a file as it was at one moment. When what the file held then is merged away, it goes as well: the next
 * version that is saved must not be made from it.
 */
static void test_stale_signature(void **state)
{
	struct backup_fixture *b = *state;
	CLEANUP_FREE uint8_t *first = noise(1, 3 << 20), *second = noise(2, 1 << 20);
	struct merge_figures f;
	struct wanted w = {0};

	want(b, &w, true);
	uint64_t id = make(b->fx->v, VOLUME_ROOT_ID, "document", S_IFREG | 0644);
	write_at(b->fx->v, id, first, 3 << 20, 0);
	want(b, &w, false);
	write_at(b->fx->v, id, second, 1 << 20, 1 << 20); /* in place, one range of three */
	want(b, &w, false);
	merge(b, 1, 2, &w, &f);
	id = make(b->fx->v, VOLUME_ROOT_ID, "saving~", S_IFREG | 0644);
	memset(first + 1000, 7, 3000);
	write_at(b->fx->v, id, first, 3 << 20, 0);
	assert_int_equal(volume_rename(b->fx->v, VOLUME_ROOT_ID, "saving~", VOLUME_ROOT_ID, "document", 0), 0);
	want(b, &w, false);
	expect_all(b, &w);
	wanted_free(&w);
}

/* What came and went between two sets costs nothing afterwards; what was overwritten neither. */
static void test_drops_what_is_covered(void **state)
{
	struct backup_fixture *b = *state;
	struct merge_figures f;
	struct wanted w = {0};

	make_noise(b->fx->v, VOLUME_ROOT_ID, "stays", 1, 100000);
	want(b, &w, true);
	for (uint64_t i = 0; i < 4; i++) {
		CLEANUP_FREE uint8_t *p = noise(i, 1 << 20);
		struct volume_attr a;

		make_noise(b->fx->v, VOLUME_ROOT_ID, "comes and goes", 10 + i, 2 << 20);
		assert_int_equal(volume_lookup(b->fx->v, VOLUME_ROOT_ID, "stays", &a), 0);
		volume_forget(b->fx->v, a.id, 1);
		write_at(b->fx->v, a.id, p, 1 << 20, 0);
		want(b, &w, false);
		assert_int_equal(volume_unlink(b->fx->v, VOLUME_ROOT_ID, "comes and goes"), 0);
	}
	want(b, &w, false);
	merge(b, 1, 5, &w, &f);
	/* Attributes, one range of "stays" with its padding, and its signature. */
	assert_int_equal(f.n_kept, 3);
	assert_true(f.n_bytes < (1 << 20) + 65536);
	wanted_free(&w);
}

/* Neither merging nor what is left needs more than the set's own members had: an order's puncture stays one. */
static void test_destroyed_stays_destroyed(void **state)
{
	struct backup_fixture *b = *state;
	struct merge_figures f;
	struct restore_request in = {.to = b->out_dir};
	struct restore_result res;
	struct set_catalog c;

	uint64_t id = make_noise(b->fx->v, VOLUME_ROOT_ID, "secret", 1, 300000);
	back_up_only(b, true);
	for (int i = 0; i < 3; i++) {
		make_noise(b->fx->v, id == 0 ? 0 : VOLUME_ROOT_ID, (const char *[]){"a", "b", "c"}[i], 5, 5000);
		back_up_only(b, false);
	}
	puncture(b, KEYRING_BOTH, id, "D-20261128-0001");
	merge(b, 0, 3, NULL, &f);
	load(b, &c);
	assert_int_equal(c.n_sets, 2);
	assert_int_equal(setview_open(b->repo, keys(b), &c, 1, &in.view, &b->d), 0);
	assert_int_equal(restore_run(&in, &res, &b->d), 0);
	setview_close(in.view);
	assert_int_equal(res.n_destroyed, 1);
	assert_string_equal(res.order, "D-20261128-0001");
	assert_int_equal(res.n_damaged, 0);
	set_catalog_free(&c);
}

/* --- when it does not go well --- */

static size_t n_folders(struct backup_fixture *b)
{
	char **ids;
	size_t n;

	assert_int_equal(repo_list(b->repo, "sets/", &ids, &n), 0);
	repo_list_free(ids, n);
	return n;
}

static int stop(void *arg, uint64_t n_records, uint64_t n_bytes)
{
	(void)arg, (void)n_records, (void)n_bytes;
	return 1;
}

/* A record that is not what it should be is never copied; nothing is left, and all sets are as they were. */
static void test_damage_and_interruption(void **state)
{
	static const uint8_t charter[32] = {7};
	struct backup_fixture *b = *state;
	struct wanted w = {0};
	struct set_manifest m;
	struct merge_figures f;
	struct merge_run run;
	struct shop s;
	char path[PATH_MAX];

	make_noise(b->fx->v, VOLUME_ROOT_ID, "one", 1, 100000);
	want(b, &w, true);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "two", 2, 100000);
	want(b, &w, false);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "three", 3, 100000);
	want(b, &w, false);
	shop_open(b, &s);
	assert_int_equal(merge_check(&s.c, &s.rules, (size_t[]){1, 2}, 2, &run, &b->d), 0);
	object_path(b, s.c.sets[1].id, "pack-00000", path);
	flip_raw(path, 50000, 1);
	assert_int_equal(write_merged(b, &s, &run, &m, &f), -EBADMSG);
	assert_int_equal(b->d.id, DIAG_SET_DAMAGED);
	assert_int_equal(n_folders(b), 3);
	flip_raw(path, 50000, 1);
	const struct merge_request in = {.repo = b->repo, .kr = keys(b), .catalog = &s.c, .run = &run,
					 .charter = charter, .progress = stop};
	assert_int_equal(merge_write(&in, &m, &f, &b->d), -EINTR);
	assert_int_equal(n_folders(b), 3);
	expect_all(b, &w);
	free(run.members);
	shop_close(&s);
	wanted_free(&w);
}

/* Interrupted behind the manifest: retention takes the members away, and none of them in the count. */
static void test_retention_ends_it(void **state)
{
	struct backup_fixture *b = *state;
	struct wanted w = {0};
	struct set_manifest m;
	struct merge_figures f;
	struct merge_run run;
	struct shop s;

	for (uint64_t i = 0; i < 5; i++) {
		char name[8];

		snprintf(name, sizeof(name), "f%d", (int)i);
		make_noise(b->fx->v, VOLUME_ROOT_ID, name, i, 20000);
		want(b, &w, i == 0);
	}
	shop_open(b, &s);
	assert_int_equal(merge_check(&s.c, &s.rules, (size_t[]){1, 2, 3}, 3, &run, &b->d), 0);
	assert_int_equal(write_merged(b, &s, &run, &m, &f), 0);
	char newest[SET_ID_MAX + 1];
	strcpy(newest, s.c.sets[3].id);
	shop_close(&s);
	shop_open(b, &s);
	size_t n_gone = 0;
	for (size_t i = 0; i < s.c.n_sets; i++) {
		bool member = set_merged_from(&m, s.c.sets[i].id);

		assert_int_equal(s.verdicts[i].keep, !member);
		n_gone += member;
		if (!member)
			continue;
		assert_non_null(strstr(s.verdicts[i].why, m.id));
		assert_int_equal(prune_remove_manifest(b->repo, s.c.sets[i].id, NOW), 0);
	}
	assert_int_equal(n_gone, 3);
	expect_all(b, &w);
	/* The name of the newest member still leads to its snapshot. */
	size_t at;
	shop_close(&s);
	shop_open(b, &s);
	assert_int_equal(set_catalog_find(&s.c, newest, 0, &at, &b->d), 0);
	assert_string_equal(s.c.sets[at].id, m.id);
	shop_close(&s);
	free(run.members);
	set_manifest_free(&m);
	wanted_free(&w);
}

/* --- which ones may --- */

static void hold_set(struct backup_fixture *b, const char *id)
{
	struct hold h = {.time = NOW, .by = "x", .reason = "y"};

	strcpy(h.set, id);
	assert_int_equal(hold_put(b->repo, keyring_volume_id(keys(b)), keyring_sign_seed(keys(b)), &h, &b->d), 0);
}

static void test_plan(void **state)
{
	struct backup_fixture *b = *state;
	struct merge_run *runs, run;
	struct shop s;
	size_t n;

	for (int i = 0; i < 6; i++)
		back_up_only(b, i == 0);
	shop_open(b, &s);
	/* All but the full one; the newest ends it, since its snapshot stays. */
	assert_int_equal(merge_plan(&s.c, &s.rules, &runs, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(runs[0].n, 5);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(runs[0].members[i], i + 1);
	merge_runs_free(runs, n);
	/* Not worth it; not old enough. */
	s.rules.min = 5;
	assert_int_equal(merge_plan(&s.c, &s.rules, &runs, &n), 0);
	assert_int_equal(n, 0);
	merge_runs_free(runs, n);
	s.rules.min = 1;
	s.rules.before = s.c.sets[0].time;
	assert_int_equal(merge_plan(&s.c, &s.rules, &runs, &n), 0);
	assert_int_equal(n, 0);
	merge_runs_free(runs, n);
	s.rules.before = INT64_MAX;
	/* Named: in any order, but without gaps, and not one alone. */
	assert_int_equal(merge_check(&s.c, &s.rules, (size_t[]){3, 1, 2}, 3, &run, &b->d), 0);
	assert_int_equal(run.members[0], 1);
	free(run.members);
	assert_int_equal(merge_check(&s.c, &s.rules, (size_t[]){1, 3}, 2, &run, &b->d), -EINVAL);
	assert_int_equal(merge_check(&s.c, &s.rules, (size_t[]){1}, 1, &run, &b->d), -EINVAL);
	/* A hold is a border: what is held stays as it is, also as the last one. */
	hold_set(b, s.c.sets[3].id);
	shop_close(&s);
	shop_open(b, &s);
	assert_int_equal(merge_plan(&s.c, &s.rules, &runs, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(runs[0].n, 2);
	assert_int_equal(runs[1].n, 2);
	assert_int_equal(runs[1].members[0], 4);
	merge_runs_free(runs, n);
	assert_int_equal(merge_check(&s.c, &s.rules, (size_t[]){2, 3}, 2, &run, &b->d), -EPERM);
	assert_int_equal(b->d.id, DIAG_HOLD);
	assert_int_equal(merge_check(&s.c, &s.rules, (size_t[]){3, 4}, 2, &run, &b->d), -EPERM);
	/* Kept for its own sake. */
	s.verdicts[1].own = true;
	assert_int_equal(merge_check(&s.c, &s.rules, (size_t[]){1, 2}, 2, &run, &b->d), -EPERM);
	s.verdicts[1].own = false;
	s.whole[2] = false;
	assert_int_equal(merge_check(&s.c, &s.rules, (size_t[]){1, 2}, 2, &run, &b->d), -EBADMSG);
	shop_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_REPOSITORY(test_random_lives),
		WITH_REPOSITORY(test_stale_signature),
		WITH_REPOSITORY(test_drops_what_is_covered),
		WITH_REPOSITORY(test_destroyed_stays_destroyed),
		WITH_REPOSITORY(test_damage_and_interruption),
		WITH_REPOSITORY(test_retention_ends_it),
		WITH_REPOSITORY(test_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
