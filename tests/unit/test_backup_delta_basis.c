/* When the basis of a delta is destroyed: it is gone, and what is to stay stays whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/hold.h"
#include "backup/survivors.h"
#include "tests/unit/delta_fixture.h"

/* The basis is destroyed under the delta: told, and nothing else comes in its place. */
static void a_destroyed_basis_is_told(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(1, 2 * MIB), got = {0};
	uint64_t old = save(b->fx->v, "document", &t);

	back_up_only(b, false);
	edit(&t, 5, 0, 2, KIB);
	save(b->fx->v, "document", &t);
	back_up_only(b, false);
	assert_true(deltas(b).n > 0);
	puncture(b, KEYRING_BOTH, old, "order-1");
	assert_int_equal(content(b, 1, "document", &got), -EKEYREVOKED);
	free(got.p);
	/* And nothing is built on it again. */
	edit(&t, 5, 0, 3, KIB);
	save(b->fx->v, "document", &t);
	back_up_only(b, false);
	expect_version(b, 2, "document", &t);
	free(t.p);
}

/* A document saved over three times and changed in place, a set for each: the ids in order. */
static void take_four(struct backup_fixture *b, struct text was[4], uint64_t ids[4])
{
	struct text t = text_of(11, 3 * MIB);

	for (unsigned i = 0; i < 4; i++) {
		if (i == 2) {
			write_at(b->fx->v, ids[1], "in place", 8, MIB);
			memcpy(t.p + MIB, "in place", 8);
			ids[2] = ids[1];
		} else {
			edit(&t, i * 100 * KIB, 0, i, 1000);
			ids[i] = save(b->fx->v, "document", &t);
		}
		was[i] = copy_of(&t);
		back_up_only(b, false);
	}
	free(t.p);
}

/*
 * Promise 5, and 4 of what stays: the first version is destroyed, which the later ones are made
 * from; every set still restores them, and of the first one nothing.
 */
static void what_stays_survives_its_basis(void **state)
{
	struct backup_fixture *b = *state;
	struct survivors s;
	struct text was[4], got = {0};
	uint64_t ids[4];

	take_four(b, was, ids);
	assert_true(deltas(b).n > 0);
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 1); /* what is made from what is made from it needs no more */
	assert_true(s.n_ranges >= 3);
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 0);
	puncture(b, KEYRING_BOTH, ids[0], "D-1");
	for (unsigned i = 1; i < 4; i++)
		expect_version(b, i, "document", &was[i]);
	struct set_catalog c;
	load(b, &c);
	assert_int_equal(c.n_sets, 4);
	struct setview *sv;
	struct volume_attr a;
	assert_int_equal(setview_open(b->repo, keys(b), &c, 0, &sv, &b->d), 0);
	assert_int_equal(setview_attr(sv, ids[0], &a), -EKEYREVOKED);
	setview_close(sv);
	for (size_t i = 0; i < c.n_sets; i++) {
		struct backup_verdict v;

		assert_int_equal(backup_verify(b->repo, keys(b), &c.sets[i], &v, &b->d), 0);
		assert_int_equal(v.n_bad, 0);
	}
	/* The chain goes on. */
	set_catalog_free(&c);
	edit(&was[3], 5, 0, 77, KIB);
	save(b->fx->v, "document", &was[3]);
	assert_true(back_up_size(b, false) < 200 * KIB);
	expect_version(b, 4, "document", &was[3]);
	for (unsigned i = 0; i < 4; i++)
		free(was[i].p);
	free(got.p);
}

/* What goes together needs no whole records. */
static void what_goes_with_its_basis_is_left_alone(void **state)
{
	struct backup_fixture *b = *state;
	struct survivors s;
	struct text was[4];
	uint64_t ids[4];

	take_four(b, was, ids);
	const uint64_t all[] = {ids[0], ids[1], ids[3]}, middle[] = {ids[0], ids[1]};
	assert_int_equal(survivors_secure(b->repo, keys(b), all, 3, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 0);
	assert_int_equal(survivors_secure(b->repo, keys(b), middle, 2, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 1);
	puncture(b, KEYRING_BOTH, ids[0], "D-1");
	puncture(b, KEYRING_BOTH, ids[1], "D-1");
	expect_version(b, 3, "document", &was[3]);
	for (unsigned i = 0; i < 4; i++)
		free(was[i].p);
}

/* When it cannot be made whole, it is said before anything goes, and every set is as it was. */
static void survivors_that_cannot_be_read_are_told(void **state)
{
	struct backup_fixture *b = *state;
	struct survivors s;
	struct text was[4], got = {0};
	struct set_catalog c, after;
	char path[PATH_MAX];
	uint64_t ids[4];

	take_four(b, was, ids);
	load(b, &c);
	object_path(b, c.sets[0].id, "pack-00000", path);
	flip_raw(path, MIB / 2, 1);
	b->d = (struct diag){0};
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), -EBADMSG);
	assert_int_equal(b->d.id, DIAG_SET_DAMAGED);
	assert_non_null(strstr(b->d.object, c.sets[1].id));
	flip_raw(path, MIB / 2, 1);
	load(b, &after);
	assert_int_equal(after.n_sets, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(after.sets[i].id, c.sets[i].id);
	assert_int_equal(content(b, 3, "document", &got), 0);
	free(got.p);
	set_catalog_free(&c);
	set_catalog_free(&after);
	for (unsigned i = 0; i < 4; i++)
		free(was[i].p);
}

/* A held set stays where it is, and what stands for it is held as well. */
static void holds_outlast_it(void **state)
{
	struct backup_fixture *b = *state;
	struct hold h = {.time = 1000, .by = "the archive", .reason = "case 7"}, found;
	struct survivors s;
	struct text was[4];
	struct set_catalog c;
	uint64_t ids[4];

	take_four(b, was, ids);
	load(b, &c);
	strcpy(h.set, c.sets[1].id);
	assert_int_equal(
	    hold_put(b->repo, keyring_volume_id(keys(b)), keyring_sign_seed(keys(b)), &h, &b->d),
	    0);
	set_catalog_free(&c);
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 1);
	load(b, &c);
	assert_int_equal(c.n_sets, 5);
	assert_string_equal(c.sets[1].id, h.set);
	assert_int_equal(hold_get(b->repo, c.sets[2].id, keyring_volume_id(keys(b)),
				  keyring_header(keys(b))->sign_pk, &found),
			 0);
	assert_string_equal(found.by, h.by);
	assert_string_equal(found.reason, h.reason);
	/* Killed before the hold was passed on: the next run does it. */
	assert_int_equal(hold_remove(b->repo, c.sets[2].id, found.digest), 0);
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 0);
	assert_int_equal(hold_get(b->repo, c.sets[2].id, keyring_volume_id(keys(b)),
				  keyring_header(keys(b))->sign_pk, &found),
			 0);
	assert_string_equal(found.by, h.by);
	set_catalog_free(&c);
	puncture(b, KEYRING_BOTH, ids[0], "D-1");
	for (unsigned i = 1; i < 4; i++)
		expect_version(b, i + 1, "document", &was[i]);
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 0);
	for (unsigned i = 0; i < 4; i++)
		free(was[i].p);
}

/* A verification of the set says so, too. */
static uint64_t n_bad(struct backup_fixture *b, size_t set)
{
	struct backup_verdict v = {0};
	struct set_catalog c;

	load(b, &c);
	assert_int_equal(backup_verify_deltas(b->repo, keys(b), &c, set, NULL, 0, &v, &b->d), 0);
	assert_true(v.n_bad == 0 || strstr(v.first_bad, c.sets[set].id));
	set_catalog_free(&c);
	return v.n_bad;
}

static void verifying_makes_every_delta(void **state)
{
	struct backup_fixture *b = *state;
	struct text was[4];
	struct set_catalog c;
	char path[PATH_MAX];
	uint64_t ids[4];

	take_four(b, was, ids);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(n_bad(b, i), 0);
	load(b, &c);
	object_path(b, c.sets[0].id, "pack-00000", path);
	set_catalog_free(&c);
	flip_raw(path, MIB / 2, 1);
	assert_true(n_bad(b, 1) > 0);
	struct backup_verdict v = {0};
	load(b, &c);
	assert_int_equal(backup_verify_deltas(b->repo, keys(b), &c, 1, ids, 1, &v, &b->d), 0);
	assert_int_equal(v.n_bad, 0); /* the first version is no delta */
	assert_int_equal(backup_verify_deltas(b->repo, keys(b), &c, 1, ids + 1, 1, &v, &b->d), 0);
	assert_true(v.n_bad > 0);
	set_catalog_free(&c);
	flip_raw(path, MIB / 2, 1);
	puncture(b, KEYRING_BOTH, ids[0], "D-1");
	assert_true(n_bad(b, 1) > 0);
	puncture(b, KEYRING_BOTH, ids[1], "D-1");
	assert_int_equal(n_bad(b, 1), 0);
	for (unsigned i = 0; i < 4; i++)
		free(was[i].p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(a_destroyed_basis_is_told),
	    WITH_REPOSITORY(what_stays_survives_its_basis),
	    WITH_REPOSITORY(what_goes_with_its_basis_is_left_alone),
	    WITH_REPOSITORY(survivors_that_cannot_be_read_are_told),
	    WITH_REPOSITORY(holds_outlast_it),
	    WITH_REPOSITORY(verifying_makes_every_delta),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
