/*
 * Holds on sets: what is told of a hold is what the volume signed about that very set; anything else in
 * its place still holds; a release removes the hold that it names, and no other.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/hold.h"
#include "backup/prune.h"
#include "tests/unit/backup_fixture.h"

#define ONE "20261128T095021Z-ff2b2aaf"
#define TWO "20261128T095022Z-ff2b2aaf"

static const struct hold sample = {.set = ONE, .time = 1796000000, .by = "operator", .reason = "case 4711"};

static int place(struct backup_fixture *b, const struct hold *h)
{
	return hold_put(b->repo, keyring_volume_id(keys(b)), keyring_sign_seed(keys(b)), h, &b->d);
}

static int look(struct backup_fixture *b, const char *set, struct hold *ret)
{
	return hold_get(b->repo, set, keyring_volume_id(keys(b)), keyring_header(keys(b))->sign_pk, ret);
}

static bool held(struct backup_fixture *b, const char *set)
{
	struct set_manifest m = {0};
	char why[64];

	strcpy(m.id, set);
	return prune_held_by_object(b->repo, &m, why);
}

static void test_comes_back(void **state)
{
	struct backup_fixture *b = *state;
	struct hold h;

	assert_int_equal(look(b, ONE, &h), -ENOENT);
	assert_int_equal(place(b, &sample), 0);
	assert_int_equal(place(b, &sample), -EEXIST);
	assert_int_equal(look(b, ONE, &h), 0);
	assert_string_equal(h.set, ONE);
	assert_string_equal(h.by, "operator");
	assert_string_equal(h.reason, "case 4711");
	assert_int_equal(h.time, sample.time);
	assert_true(held(b, ONE));
	assert_false(held(b, TWO));
}

/* Every bit of it counts, another set's says nothing here, and whatever it is, it holds. */
static void test_tampered_still_holds(void **state)
{
	struct backup_fixture *b = *state;
	CLEANUP_FREE uint8_t *good = NULL;
	char path[PATH_MAX];
	struct hold h;

	assert_int_equal(place(b, &sample), 0);
	object_path(b, ONE, HOLD_OBJECT, path);
	size_t len = read_raw(path, &good);
	for (size_t i = 0; i < len; i++) {
		flip_raw(path, i, 1);
		assert_int_not_equal(look(b, ONE, &h), 0);
		assert_string_equal(h.reason, "");
		assert_true(held(b, ONE));
		flip_raw(path, i, 1);
	}
	assert_int_equal(look(b, ONE, &h), 0);
	struct hold other = sample;
	strcpy(other.set, TWO);
	assert_int_equal(place(b, &other), 0);
	object_path(b, TWO, HOLD_OBJECT, path);
	write_raw(path, good, len);
	assert_int_equal(look(b, TWO, &h), -EUCLEAN);
	write_raw(path, "", 0);
	assert_int_not_equal(look(b, TWO, &h), 0);
	assert_true(held(b, TWO));
}

static void test_what_a_note_cannot_say(void **state)
{
	struct backup_fixture *b = *state;
	struct hold h = sample;

	strcpy(h.reason, "two\nlines");
	assert_int_not_equal(place(b, &h), 0);
	h = sample;
	strcpy(h.set, "../../etc/passwd");
	assert_int_equal(place(b, &h), -EINVAL);
	assert_false(held(b, ONE));
}

static void test_release_names_the_hold(void **state)
{
	struct backup_fixture *b = *state;
	const uint8_t *volume = keyring_volume_id(keys(b));
	CLEANUP_FREE char *text = NULL;
	uint8_t digest[32], other[16] = {1};
	char set[SET_ID_MAX + 1];
	struct hold h;

	assert_int_equal(place(b, &sample), 0);
	assert_int_equal(look(b, ONE, &h), 0);
	assert_int_equal(hold_release_build(volume, ONE, h.digest, &text), 0);
	assert_int_equal(hold_release_parse(text, volume, set, digest), 0);
	assert_string_equal(set, ONE);
	assert_memory_equal(digest, h.digest, 32);
	assert_int_equal(hold_release_parse(text, other, set, digest), -EUCLEAN);
	for (char *p = text; *p; p++) {
		*p ^= 1;
		if (hold_release_parse(text, volume, set, digest) == 0)
			assert_true(strcmp(set, ONE) != 0 || memcmp(digest, h.digest, 32) != 0);
		*p ^= 1;
	}
	digest[0] ^= 1;
	assert_int_equal(hold_remove(b->repo, ONE, digest), -ESTALE);
	assert_true(held(b, ONE));
	assert_int_equal(hold_remove(b->repo, TWO, h.digest), -ENOENT);
	assert_int_equal(hold_remove(b->repo, ONE, h.digest), 0);
	assert_false(held(b, ONE));
}

/* Whoever planned before the hold was placed removes nothing; nor what has lost its manifest. */
static void test_prune_stops_at_it(void **state)
{
	struct backup_fixture *b = *state;
	CLEANUP_FREE struct prune_orphan *o = NULL;
	struct set_catalog c = {0};
	struct set_manifest m;
	struct hold h = sample;
	char path[PATH_MAX];
	size_t n;

	back_up(b, true, &m);
	strcpy(h.set, m.id);
	assert_int_equal(place(b, &h), 0);
	assert_int_equal(prune_remove_manifest(b->repo, m.id, sample.time), -EPERM);
	object_path(b, m.id, "manifest", path);
	assert_int_equal(unlink(path), 0);
	load(b, &c);
	assert_int_equal(prune_orphans(b->repo, &c, sample.time, 0, &o, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(o[0].state, PRUNE_ORPHAN_HELD);
	set_catalog_free(&c);
	set_manifest_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_REPOSITORY(test_comes_back),
		WITH_REPOSITORY(test_tampered_still_holds),
		WITH_REPOSITORY(test_what_a_note_cannot_say),
		WITH_REPOSITORY(test_release_names_the_hold),
		WITH_REPOSITORY(test_prune_stops_at_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
