/*
 * Retention: what stays, why, and that nothing which stays ever loses its ground.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/prune.h"
#include "tests/unit/backup_fixture.h"

#define NOW 1796000000
#define HOUR 3600

/* --- catalogues by hand --- */

struct shelf {
	struct set_manifest m[64];
	struct set_catalog c;
	bool whole[64];
};

static void id_of(size_t i, char out[SET_ID_MAX + 1])
{
	set_id_stamp(NOW + (int64_t)i * HOUR, out);
	snprintf(out + strlen(out), 10, "-%08x", (unsigned)i);
}

/* parent -1: full */
static void put(struct shelf *s, const char *tiers, int parent)
{
	size_t i = s->c.n_sets++;
	struct set_manifest *m = &s->m[i];

	assert_true(i < 64);
	s->c.sets = s->m;
	*m = (struct set_manifest){.full = parent < 0,
				   .timeline = 1,
				   .time = NOW + (int64_t)i * HOUR,
				   .to_txn = 10 * i + 10};
	id_of(i, m->id);
	strcpy(m->tiers, tiers);
	if (parent >= 0) {
		strcpy(m->parent, s->m[parent].id);
		m->from_txn = s->m[parent].to_txn;
	}
}

static struct prune_verdict *plan(struct shelf *s, const struct prune_rules *r)
{
	struct prune_verdict *v = NULL;
	bool *whole = NULL;

	assert_int_equal(prune_survey(NULL, &s->c, &whole), 0);
	for (size_t i = 0; i < s->c.n_sets; i++)
		whole[i] = whole[i] && s->whole[i];
	assert_int_equal(prune_plan(&s->c, r, whole, &v), 0);
	free(whole);
	return v;
}

static struct shelf shelf_new(void)
{
	struct shelf s = {0};

	memset(s.whole, true, sizeof(s.whole));
	return s;
}

/* want: a character a set, k kept, r removed. */
static void expect_plan(struct shelf *s, const struct prune_rules *r, const char *want)
{
	CLEANUP_FREE struct prune_verdict *v = plan(s, r);
	char got[65] = "";

	for (size_t i = 0; i < s->c.n_sets; i++) {
		got[i] = v[i].keep ? 'k' : 'r';
		assert_true(*v[i].why);
	}
	assert_string_equal(got, want);
}

/* The last N of each tier stay; a set that serves two tiers counts in both. */
static void test_last_of_each_tier(void **state)
{
	const struct prune_rules r = {.keep = {2, 1, 1}};
	struct shelf s = shelf_new();
	(void)state;

	put(&s, "monthly", -1);
	put(&s, "daily", -1);
	put(&s, "daily weekly", -1);
	put(&s, "weekly", -1);
	put(&s, "daily", -1);
	put(&s, "daily", -1);
	expect_plan(&s, &r, "krrkkk");
	put(&s, "daily weekly monthly", -1);
	expect_plan(&s, &r, "rrrrrkk");
}

/* What a kept set builds on stays, through the whole chain, and says for whom. */
static void test_chains(void **state)
{
	const struct prune_rules r = {.keep = {1, 1, 1}};
	struct shelf s = shelf_new();
	(void)state;

	put(&s, "weekly", -1);
	put(&s, "daily", 0);
	put(&s, "daily", 1);
	put(&s, "weekly", -1);
	put(&s, "daily", 3);
	put(&s, "daily", 4);
	put(&s, "daily", 5);
	expect_plan(&s, &r, "rrrkkkk");
	CLEANUP_FREE struct prune_verdict *v = plan(&s, &r);
	assert_non_null(strstr(v[4].why, s.m[5].id));
	assert_non_null(strstr(v[4].why, "builds on it"));
	assert_non_null(strstr(v[6].why, "daily 1 of 1, the newest complete chain"));
}

/* Whatever the rules: the newest chain that can be restored stays. */
static void test_newest_complete_chain(void **state)
{
	const struct prune_rules r = {.keep = {1, 1, 1}};
	struct shelf s = shelf_new();
	(void)state;

	put(&s, "daily", -1);
	put(&s, "daily", 0);
	put(&s, "daily", -1);
	put(&s, "daily", 2);
	s.whole[3] = false;
	s.whole[2] = false;
	/* The broken ones take nobody's place, and wait until whole ones have replaced them. */
	expect_plan(&s, &r, "kkkk");
	put(&s, "daily", -1);
	expect_plan(&s, &r, "rrrrk");
}

/* A chain that lacks its parent, or that runs in a circle, is broken and ends nothing. */
static void test_broken_chains(void **state)
{
	const struct prune_rules r = {.keep = {1, 1, 1}};
	struct shelf s = shelf_new();
	(void)state;

	put(&s, "daily", -1);
	put(&s, "daily", 0);
	put(&s, "daily", 1);
	strcpy(s.m[1].parent, "20250101T000000Z-00000000");
	expect_plan(&s, &r, "kkk");
	strcpy(s.m[1].parent, s.m[2].id);
	expect_plan(&s, &r, "kkk");
}

/* Of what the policy does not speak nothing is removed. */
static void test_no_rule(void **state)
{
	const struct prune_rules r = {.keep = {1, 0, 1}};
	struct shelf s = shelf_new();
	(void)state;

	put(&s, "weekly", -1);
	put(&s, "weekly daily", -1);
	put(&s, "", -1);
	put(&s, "yearly", -1);
	put(&s, "daily", -1);
	put(&s, "daily", -1);
	expect_plan(&s, &r, "kkkkrk");
}

static bool held_second(void *arg, const struct set_manifest *m, char why[64])
{
	snprintf(why, 64, "held by order H-1");
	return !strcmp(m->id, arg);
}

/* A held set stays with all that it builds on. */
static void test_hold(void **state)
{
	struct shelf s = shelf_new();
	struct prune_rules r = {.keep = {1, 1, 1}, .held = held_second, .arg = s.m[1].id};
	(void)state;

	put(&s, "daily", -1);
	put(&s, "daily", 0);
	put(&s, "daily", 1);
	put(&s, "daily", -1);
	expect_plan(&s, &r, "kkrk");
	CLEANUP_FREE struct prune_verdict *v = plan(&s, &r);
	assert_string_equal(v[1].why, "held by order H-1");
}

/* One that was held while it was merged stays whole: what it was taken on stays, though it was merged as well. */
static void test_hold_of_merged(void **state)
{
	char merged[2 * SET_ID_MAX + 2];
	struct shelf s = shelf_new();
	struct prune_rules r = {.keep = {1, 1, 1}, .held = held_second, .arg = s.m[3].id};
	(void)state;

	put(&s, "daily", -1);
	put(&s, "daily", 0);
	put(&s, "daily", 1);
	put(&s, "daily", 2);
	put(&s, "daily", 0);
	snprintf(merged, sizeof(merged), "%s %s", s.m[2].id, s.m[3].id);
	s.m[4].to_txn = s.m[3].to_txn;
	strcpy(s.m[4].parent, s.m[1].id);
	s.m[4].from_txn = s.m[1].to_txn;
	s.m[4].merged = merged;
	s.m[4].stands_for = s.m[3].id;
	expect_plan(&s, &r, "kkkkk");
	r.held = NULL;
	expect_plan(&s, &r, "kkrrk");
}

static void test_empty(void **state)
{
	const struct prune_rules r = {.keep = {1, 1, 1}};
	struct shelf s = shelf_new();
	(void)state;

	expect_plan(&s, &r, "");
}

/* ---- any life ---- */

static unsigned draw(uint64_t *x, unsigned n)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (unsigned)(*x >> 20) % n;
}

static void random_shelf(struct shelf *s, uint64_t *x)
{
	static const char *const tiers[] = {"daily",        "daily",   "daily",  "weekly",
					    "daily weekly", "monthly", "by hand"};
	size_t n = 1 + draw(x, 40);

	*s = shelf_new();
	for (size_t i = 0; i < n; i++) {
		int parent =
		    i && draw(x, 4) ? (int)(draw(x, 3) ? i - 1 : draw(x, (unsigned)i)) : -1;
		put(s, tiers[draw(x, 7)], parent);
		s->whole[i] = draw(x, 10) != 0;
	}
}

static size_t parent_of(const struct shelf *s, size_t i)
{
	for (size_t k = 0; k < s->c.n_sets; k++)
		if (!strcmp(s->m[k].id, s->m[i].parent))
			return k;
	return i;
}

/* The whole sets of a tier that stay are its newest ones, and at least as many as the rule says if
 * there are so many. */
static void check_tier(const struct shelf *s, const bool *whole, const struct prune_verdict *v,
		       const char *tier, unsigned keep)
{
	unsigned n = 0;

	for (size_t i = s->c.n_sets; i-- > 0 && n < keep;) {
		if (!whole[i] || !strstr(s->m[i].tiers, tier))
			continue;
		assert_true(v[i].keep);
		n++;
	}
}

static void test_any_life(void **state)
{
	uint64_t x = 0x9e3779b97f4a7c15u;
	unsigned n_removed = 0;
	(void)state;

	for (unsigned round = 0; round < 3000; round++) {
		struct shelf s;
		random_shelf(&s, &x);
		const struct prune_rules r = {
		    .keep = {1 + draw(&x, 4), 1 + draw(&x, 3), 1 + draw(&x, 2)}};
		CLEANUP_FREE struct prune_verdict *v = plan(&s, &r);
		CLEANUP_FREE bool *manifests = NULL;
		bool newest = true;

		assert_int_equal(prune_survey(NULL, &s.c, &manifests), 0);
		CLEANUP_FREE struct prune_verdict *loose = NULL;
		assert_int_equal(prune_plan(&s.c, &r, manifests, &loose), 0);
		for (size_t i = 0; i < s.c.n_sets; i++)
			manifests[i] = manifests[i] && s.whole[i];
		for (size_t i = s.c.n_sets; i-- > 0;) {
			n_removed += !v[i].keep;
			/* Looking at objects as well only ever keeps more. */
			assert_true(v[i].keep || !loose[i].keep);
			assert_true(!v[i].keep || v[parent_of(&s, i)].keep);
			if (newest && manifests[i]) {
				assert_true(v[i].keep);
				newest = false;
			}
		}
		check_tier(&s, manifests, v, "daily", r.keep[0]);
		check_tier(&s, manifests, v, "weekly", r.keep[1]);
		check_tier(&s, manifests, v, "monthly", r.keep[2]);
	}
	assert_true(n_removed > 3000);
}

/* ---- in a repository ---- */

static void orphans(struct backup_fixture *b, int64_t now, struct prune_orphan **ret, size_t *ret_n)
{
	struct set_catalog c;

	load(b, &c);
	assert_int_equal(prune_orphans(b->repo, &c, now, 24 * HOUR, ret, ret_n), 0);
	set_catalog_free(&c);
}

static void expect_orphan(struct backup_fixture *b, int64_t now, const char *id,
			  enum prune_orphan_state want)
{
	struct prune_orphan *list = NULL;
	bool found = false;
	size_t n = 0;

	orphans(b, now, &list, &n);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(list[i].id, id) != 0)
			continue;
		found = true;
		assert_int_equal(list[i].state, want);
	}
	assert_true(found);
	free(list);
}

static size_t n_orphans(struct backup_fixture *b, int64_t now)
{
	struct prune_orphan *list = NULL;
	size_t n = 0;

	orphans(b, now, &list, &n);
	free(list);
	return n;
}

static bool folder_there(struct backup_fixture *b, const char *id)
{
	char path[PATH_MAX];

	object_path(b, id, "", path);
	return access(path, F_OK) == 0;
}

/* First the manifest, then, after the grace time, everything else; what stays can be verified. */
static void test_two_steps(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest old, new;
	struct set_catalog c;
	struct backup_verdict verdict = {0};
	int64_t now = time(NULL);

	make_noise(b->fx->v, VOLUME_ROOT_ID, "file", 1, 300000);
	back_up(b, true, &old);
	back_up(b, true, &new);
	assert_int_equal(prune_remove_manifest(b->repo, old.id, now), 0);
	load(b, &c);
	assert_int_equal(c.n_sets, 1);
	assert_string_equal(c.sets[0].id, new.id);
	set_catalog_free(&c);
	/* Who still reads packs of the old set can. */
	assert_int_equal(set_objects_present(b->repo, &old), 0);
	expect_orphan(b, now, old.id, PRUNE_ORPHAN_WAITING);
	expect_orphan(b, now + 24 * HOUR - 1, old.id, PRUNE_ORPHAN_WAITING);
	expect_orphan(b, now + 24 * HOUR, old.id, PRUNE_ORPHAN_DUE);
	assert_int_equal(prune_remove_rest(b->repo, old.id), 0);
	assert_int_equal(n_orphans(b, now), 0);
	assert_false(folder_there(b, old.id));
	assert_int_equal(backup_verify(b->repo, keys(b), &new, &verdict, &b->d), 0);
	assert_int_equal(verdict.n_bad, 0);
	set_manifest_free(&old);
	set_manifest_free(&new);
}

/* A set that has its manifest is never taken for leftovers. */
static void test_rest_only_without_manifest(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "file", 1, 300000);
	back_up(b, true, &m);
	assert_int_equal(n_orphans(b, time(NULL) + 1000 * HOUR), 0);
	assert_int_equal(prune_remove_rest(b->repo, m.id), -EBUSY);
	assert_int_equal(set_objects_present(b->repo, &m), 0);
	assert_int_equal(prune_remove_rest(b->repo, "../sets"), -EINVAL);
	assert_int_equal(prune_remove_manifest(b->repo, "x", 0), -EINVAL);
	/* Nor is one whose manifest is damaged. */
	char path[PATH_MAX];
	object_path(b, m.id, "manifest", path);
	write_raw(path, "x", 1);
	assert_int_equal(n_orphans(b, time(NULL) + 1000 * HOUR), 0);
	set_manifest_free(&m);
}

static void put_object(struct backup_fixture *b, const char *id, const char *what, const char *text)
{
	char name[SET_NAME_LEN];

	set_object(id, what, name);
	assert_int_equal(repo_put(b->repo, name, text, strlen(text)), 0);
}

/* A crash between the two steps, or a copy that is on its way here: the grace time begins when it
 * is first seen. */
static void test_unmarked(void **state)
{
	static const char id[] = "20200101T000000Z-00000001";
	struct backup_fixture *b = *state;

	put_object(b, id, "pack-00000", "bytes");
	expect_orphan(b, NOW, id, PRUNE_ORPHAN_UNMARKED);
	assert_int_equal(prune_orphan_mark(b->repo, id, NOW), 0);
	expect_orphan(b, NOW + HOUR, id, PRUNE_ORPHAN_WAITING);
	expect_orphan(b, NOW + 24 * HOUR, id, PRUNE_ORPHAN_DUE);
}

/* A mark that is malformed or lies in the future begins anew instead of waiting for ever or ending
 * at once. */
static void test_bad_marks(void **state)
{
	static const char id[] = "20200101T000000Z-00000001";
	static const char *const marks[] = {"",
					    "yesterday\n",
					    "12 13\n",
					    "1796000000",
					    "1796000000\nx",
					    "99999999999999999999999999999999999999999\n",
					    "1999999999\n"};
	struct backup_fixture *b = *state;

	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		put_object(b, id, "pruned", marks[i]);
		expect_orphan(b, NOW + (i == 3 ? 100 * HOUR : 0), id,
			      i == 3 ? PRUNE_ORPHAN_DUE : PRUNE_ORPHAN_UNMARKED);
	}
}

/* A killed run's set goes when it is old and a later one is complete; one that may be running does
 * not. */
static void test_killed_run(void **state)
{
	static const char id[] = "20200101T000000Z-00000001";
	struct backup_fixture *b = *state;
	int64_t now = time(NULL);
	char fresh[SET_ID_MAX + 1];

	put_object(b, id, SET_UNFINISHED, "");
	put_object(b, id, "pack-00000", "bytes");
	expect_orphan(b, now, id, PRUNE_ORPHAN_RUNNING);
	/* backup_run cleans up by itself; put back what it took, as if another host had left it. */
	back_up_only(b, true);
	put_object(b, id, SET_UNFINISHED, "");
	expect_orphan(b, now, id, PRUNE_ORPHAN_DUE);
	assert_int_equal(prune_remove_rest(b->repo, id), 0);
	assert_false(folder_there(b, id));
	set_id_stamp(now - HOUR, fresh);
	strcat(fresh, "-00000002");
	put_object(b, fresh, SET_UNFINISHED, "");
	expect_orphan(b, now, fresh, PRUNE_ORPHAN_RUNNING);
}

/* A hold is an object in the set's folder; who cannot look does not remove. */
static void test_hold_object(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	char why[64] = "", path[PATH_MAX];

	back_up(b, true, &m);
	assert_false(prune_held_by_object(b->repo, &m, why));
	put_object(b, m.id, "hold", "");
	assert_true(prune_held_by_object(b->repo, &m, why));
	assert_string_equal(why, "held");
	object_path(b, m.id, "hold", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_true(prune_held_by_object(b->repo, &m, why));
	set_manifest_free(&m);
}

/* A set whose pack is gone does not count as one that can be restored. */
static void test_survey_of_objects(void **state)
{
	struct backup_fixture *b = *state;
	struct set_catalog c;
	char path[PATH_MAX];
	bool *whole;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "file", 1, 300000);
	back_up_only(b, true);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "other", 2, 300000);
	back_up_only(b, false);
	load(b, &c);
	assert_int_equal(c.n_sets, 2);
	assert_int_equal(prune_survey(b->repo, &c, &whole), 0);
	assert_true(whole[0] && whole[1]);
	free(whole);
	object_path(b, c.sets[0].id, "pack-00000", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(prune_survey(b->repo, &c, &whole), 0);
	assert_false(whole[0] || whole[1]);
	free(whole);
	assert_int_equal(prune_survey(NULL, &c, &whole), 0);
	assert_true(whole[0] && whole[1]);
	free(whole);
	set_catalog_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_last_of_each_tier),
	    cmocka_unit_test(test_chains),
	    cmocka_unit_test(test_newest_complete_chain),
	    cmocka_unit_test(test_broken_chains),
	    cmocka_unit_test(test_no_rule),
	    cmocka_unit_test(test_hold),
	    cmocka_unit_test(test_hold_of_merged),
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_any_life),
	    WITH_REPOSITORY(test_two_steps),
	    WITH_REPOSITORY(test_rest_only_without_manifest),
	    WITH_REPOSITORY(test_unmarked),
	    WITH_REPOSITORY(test_bad_marks),
	    WITH_REPOSITORY(test_killed_run),
	    WITH_REPOSITORY(test_hold_object),
	    WITH_REPOSITORY(test_survey_of_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
