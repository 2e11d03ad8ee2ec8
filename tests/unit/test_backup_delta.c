/*
 * Files that programs write anew and rename over the old one: a set stores what changed, and every
 * set restores its own version.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/delta_fixture.h"

static void a_rewritten_file_costs_its_change(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(1, 5 * MIB + 321), first = copy_of(&t);
	uint64_t old = save(b->fx->v, "document", &t);

	back_up_only(b, false);
	edit(&t, 2 * MIB + 5, 0, 2, KIB);
	save(b->fx->v, "document", &t);
	/* A KiB, about a block where it stands, and the signature. */
	assert_true(back_up_size(b, false) < 120 * KIB);
	struct counting n = deltas(b);
	assert_true(n.n >= 5);
	assert_int_equal(n.last.basis, old);
	expect_version(b, 0, "document", &first);
	expect_version(b, 1, "document", &t);
	free(first.p);
	free(t.p);
}

static void the_first_version_in_a_full_set_stands_alone(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(1, 2 * MIB);

	save(b->fx->v, "document", &t);
	back_up_only(b, false);
	edit(&t, 0, 0, 2, KIB);
	save(b->fx->v, "document", &t);
	back_up_only(b, true);
	assert_int_equal(deltas(b).n, 0);
	expect_version(b, 1, "document", &t);
	free(t.p);
}

/* Every kind of edit, each saved and backed up; all versions come back, whatever rests on what. */
static void every_version_of_a_long_chain_comes_back(void **state)
{
	enum { N = 20 };
	struct backup_fixture *b = *state;
	struct text t = text_of(9, 2 * MIB + 100), was[N];
	uint64_t size[N];
	size_t n_whole = 0;

	for (unsigned i = 0; i < N; i++) {
		size_t off = (i * 7919u * 131) % (t.len - 70 * KIB);

		switch (i % 5) {
		case 0:
			edit(&t, off, 0, i, 3000);
			break;
		case 1:
			edit(&t, off, 60 * KIB, i, 0);
			break;
		case 2:
			edit(&t, 0, 0, i, 50 * KIB + 1);
			break;
		case 3:
			edit(&t, t.len, 0, i, 40 * KIB);
			break;
		default:
			edit(&t, off, 500, i, 500);
		}
		was[i] = copy_of(&t);
		save(b->fx->v, "document", &t);
		size[i] = back_up_size(b, false);
		n_whole += size[i] > 2 * MIB;
	}
	for (unsigned i = 0; i < N; i++) {
		expect_version(b, i, "document", &was[i]);
		free(was[i].p);
	}
	/* Whole at first and again after eight deltas. */
	assert_true(size[0] > 2 * MIB && size[9] > 2 * MIB && size[18] > 2 * MIB);
	assert_int_equal(n_whole, 3);
	free(t.p);
}

/* Deltas that carry more than half of the file are a reason, too. */
static void much_change_makes_it_whole_again(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(3, 4 * MIB);
	size_t n_whole = 0;

	for (unsigned i = 0; i < 6; i++) {
		if (i) /* a quarter, spread so that each range keeps more than it changes */
			for (unsigned k = 0; k < 4; k++)
				edit(&t, k * MIB, 256 * KIB, i * 10 + k, 256 * KIB);
		save(b->fx->v, "document", &t);
		n_whole += back_up_size(b, false) > 4 * MIB;
	}
	expect_version(b, 5, "document", &t);
	assert_int_equal(n_whole, 2);
	free(t.p);
}

/* Versions between two sets are in none; the way leads over them. */
static void saving_often_between_sets_is_one_delta(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(4, 3 * MIB);
	uint64_t old = save(b->fx->v, "document", &t);

	back_up_only(b, false);
	for (unsigned i = 0; i < 30; i++) {
		edit(&t, i * 1000, 0, i, 10);
		save(b->fx->v, "document", &t);
	}
	assert_true(back_up_size(b, false) < 300 * KIB);
	assert_int_equal(deltas(b).last.basis, old);
	expect_version(b, 1, "document", &t);
	free(t.p);
}

/* Blocks that change in place lie over a delta as over anything, and under one they do not count.
 */
static void changes_in_place_before_and_after(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(5, 3 * MIB), v1, v2, v3;
	uint64_t id = save(b->fx->v, "document", &t);

	back_up_only(b, false);
	write_at(b->fx->v, id, "in place", 8, MIB + 77);
	memcpy(t.p + MIB + 77, "in place", 8);
	v1 = copy_of(&t);
	assert_true(back_up_size(b, false) < 64 * KIB);
	edit(&t, 100, 0, 6, 100);
	id = save(b->fx->v, "document", &t);
	v2 = copy_of(&t);
	assert_true(back_up_size(b, false) < 200 * KIB);
	assert_true(deltas(b).n > 0);
	write_at(b->fx->v, id, "again", 5, 2 * MIB);
	memcpy(t.p + 2 * MIB, "again", 5);
	v3 = copy_of(&t);
	assert_true(back_up_size(b, false) < 64 * KIB);
	/* On the version of the first set, through another delta. */
	edit(&t, 2 * MIB + 500, 100, 7, 0);
	save(b->fx->v, "document", &t);
	assert_true(back_up_size(b, false) < 200 * KIB);
	assert_true(deltas(b).n > 0);
	expect_version(b, 1, "document", &v1);
	expect_version(b, 2, "document", &v2);
	expect_version(b, 3, "document", &v3);
	expect_version(b, 4, "document", &t);
	free(v1.p);
	free(v2.p);
	free(v3.p);
	free(t.p);
}

static void holes_stay_holes(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	struct text t = text_of(6, 6 * MIB);
	struct restore_result res;
	struct set_catalog c;
	struct setview *sv;

	save(v, "document", &t);
	back_up_only(b, false);
	uint64_t id = make(v, VOLUME_ROOT_ID, "saving~", S_IFREG | 0644);
	write_at(v, id, t.p, MIB + 4096, 0);
	write_at(v, id, t.p + 3 * MIB, 2 * MIB + 999, 3 * MIB); /* a hole of 2 MiB, and shorter */
	write_at(v, id, "tail", 4, 5 * MIB + 300 * KIB);
	assert_int_equal(volume_fallocate(v, id, FALLOC_FL_KEEP_SIZE, 6 * MIB, 64 * KIB), 0);
	assert_int_equal(volume_rename(v, VOLUME_ROOT_ID, "saving~", VOLUME_ROOT_ID, "document", 0),
			 0);
	assert_true(back_up_size(b, false) < 200 * KIB);
	assert_true(deltas(b).n > 0);

	char *want = tree_of_volume(v, VOLUME_ROOT_ID);
	load(b, &c);
	assert_int_equal(setview_open(b->repo, keys(b), &c, 1, &sv, &b->d), 0);
	const struct restore_request in = {.view = sv, .to = b->out_dir};
	assert_int_equal(restore_run(&in, &res, &b->d), 0);
	char *got = tree_of_folder(b->out_dir);
	assert_string_equal(got, want);
	free(got);
	free(want);
	setview_close(sv);
	set_catalog_free(&c);
	free(t.p);
}

/* What shares nothing with the old one, is small, or mostly holes, is stored as ever. */
static void what_gains_nothing_is_stored_whole(void **state)
{
	struct backup_fixture *b = *state;
	struct text old = text_of(7, 2 * MIB), other = text_of(8, 2 * MIB),
		    small = text_of(9, 60 * KIB);

	save(b->fx->v, "a", &old);
	save(b->fx->v, "b", &old);
	save(b->fx->v, "c", &small);
	back_up_only(b, false);
	save(b->fx->v, "a", &other);
	save(b->fx->v, "b", &small);
	edit(&small, 10, 0, 1, 10);
	save(b->fx->v, "c", &small);
	back_up_only(b, false);
	assert_int_equal(deltas(b).n, 0);
	expect_version(b, 1, "a", &other);
	expect_version(b, 1, "c", &small);
	free(old.p);
	free(other.p);
	free(small.p);
}

/* Blocks in wild order would need every range of the basis for each of theirs. */
static void what_copies_from_everywhere_is_stored_whole(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(7, 8 * MIB), u = copy_of(&t);
	size_t block = 16 * KIB, n = 8 * MIB / block;

	save(b->fx->v, "a", &t);
	back_up_only(b, false);
	for (size_t i = 0; i < n; i++)
		memcpy(u.p + i * block, t.p + (i * 77 % n) * block, block);
	save(b->fx->v, "a", &u);
	back_up_only(b, false);
	assert_int_equal(deltas(b).n, 0);
	expect_version(b, 1, "a", &u);
	free(t.p);
	free(u.p);
}

/* Changes in place pile up in the sets until they take half of what they lie on; then they are one
 * again. */
static void many_changes_in_place_make_a_range_whole(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(21, 2 * MIB);
	uint64_t id = make(b->fx->v, VOLUME_ROOT_ID, "database", S_IFREG | 0644);
	size_t n_whole = 0;

	write_at(b->fx->v, id, t.p, t.len, 0);
	back_up_only(b, false);
	for (unsigned i = 0; i < 12; i++) {
		CLEANUP_FREE uint8_t *page = noise(100 + i, 64 * KIB);

		/* Always the same group of the first range: the others do not come with it. */
		write_at(b->fx->v, id, page, 64 * KIB, 128 * KIB);
		memcpy(t.p + 128 * KIB, page, 64 * KIB);
		uint64_t size = back_up_size(b, false);
		assert_true(size < 100 * KIB || (size > MIB && size < MIB + 100 * KIB));
		n_whole += size > MIB;
	}
	/* Eight of 64 KiB with their frames are more than half of a MiB. */
	assert_int_equal(n_whole, 1);
	expect_version(b, 12, "database", &t);
	free(t.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(a_rewritten_file_costs_its_change),
	    WITH_REPOSITORY(the_first_version_in_a_full_set_stands_alone),
	    WITH_REPOSITORY(every_version_of_a_long_chain_comes_back),
	    WITH_REPOSITORY(much_change_makes_it_whole_again),
	    WITH_REPOSITORY(saving_often_between_sets_is_one_delta),
	    WITH_REPOSITORY(changes_in_place_before_and_after),
	    WITH_REPOSITORY(holes_stay_holes),
	    WITH_REPOSITORY(many_changes_in_place_make_a_range_whole),
	    WITH_REPOSITORY(what_gains_nothing_is_stored_whole),
	    WITH_REPOSITORY(what_copies_from_everywhere_is_stored_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
