/*
 * Repair believes digests and signatures, never a copy; it replaces what is damaged and nothing else, and what
 * nobody has it names and marks.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/prune.h"
#include "backup/repair.h"
#include "backup/set_copy.h"
#include "tests/unit/backup_fixture.h"

struct bench {
	struct backup_fixture *b;
	struct set_catalog cat;
	struct repo *copy;
	char copy_dir[128];
	size_t n_before;
};

static void bench_new(struct backup_fixture *b, struct bench *x)
{
	*x = (struct bench){.b = b};
	make_noise(b->fx->v, VOLUME_ROOT_ID, "one", 1, 2 << 20);
	back_up_only(b, true);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "two", 2, 1 << 20);
	back_up_only(b, false);
	load(b, &x->cat);
	assert_int_equal(x->cat.n_sets, 2);
	snprintf(x->copy_dir, sizeof(x->copy_dir), "%s/copy", b->fx->dir);
	assert_int_equal(repo_create_copy(x->copy_dir, b->repo, &b->d), 0);
	struct set_copying c = {.from = b->repo, .volume_id = keyring_volume_id(keys(b)),
				.sign_pk = keyring_header(keys(b))->sign_pk};
	assert_int_equal(repo_open(x->copy_dir, c.volume_id, c.sign_pk, &x->copy, &b->d), 0);
	c.to = x->copy;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(set_copy(&c, &x->cat.sets[i], &b->d), 0);
}

static void bench_free(struct bench *x)
{
	repo_close(x->copy);
	set_catalog_free(&x->cat);
}

static int on_before(void *arg, const struct repair_item *i, struct diag *d)
{
	struct bench *x = arg;
	(void)i;

	if (x->n_before++ == SIZE_MAX)
		return diag_fail(d, DIAG_TRAIL, -EIO, "no trail");
	return 0;
}

static void run(struct bench *x, size_t n_others, bool dry_run, struct repair_result *ret)
{
	struct repair_request in = {.repo = x->b->repo, .others = &x->copy, .n_others = n_others,
				    .volume_id = keyring_volume_id(keys(x->b)),
				    .sign_pk = keyring_header(keys(x->b))->sign_pk, .dry_run = dry_run,
				    .before = on_before, .arg = x};

	assert_int_equal(repair_run(&in, ret, &x->b->d), 0);
}

static const char *const objects[] = {"manifest", "packs", "index", "pack-00000"};

static void test_each_object(void **state)
{
	struct bench x;
	struct repair_result r;

	bench_new(*state, &x);
	for (size_t i = 0; i < 2; i++) {
		for (size_t o = 0; o < 4; o++) {
			CLEANUP_FREE uint8_t *good = NULL, *now = NULL;
			char path[PATH_MAX];

			object_path(x.b, x.cat.sets[i].id, objects[o], path);
			size_t len = read_raw(path, &good);
			flip_raw(path, len / 2, 16);
			run(&x, 1, true, &r);
			assert_int_equal(r.n_done, 1);
			free(r.items);
			assert_int_equal(x.n_before, i * 4 + o);
			run(&x, 1, false, &r);
			assert_int_equal(r.n_done, 1);
			assert_int_equal(r.n_lost, 0);
			assert_string_equal(r.items[0].what, objects[o]);
			assert_string_equal(r.items[0].from, x.copy_dir);
			free(r.items);
			assert_int_equal(read_raw(path, &now), len);
			assert_memory_equal(now, good, len);
			assert_int_equal(x.n_before, i * 4 + o + 1);
		}
	}
	bench_free(&x);
}

/* The copy is damaged in another place: as good as none. */
static void test_a_bad_copy(void **state)
{
	struct bench x;
	struct repair_result r;
	char path[PATH_MAX];
	bool *whole;

	bench_new(*state, &x);
	object_path(x.b, x.cat.sets[0].id, "pack-00000", path);
	flip_raw(path, 100, 1);
	snprintf(path, sizeof(path), "%s/sets/%s/pack-00000", x.copy_dir, x.cat.sets[0].id);
	flip_raw(path, 5000, 1);
	run(&x, 1, false, &r);
	assert_int_equal(r.n_done, 0);
	assert_int_equal(r.n_lost, 1);
	assert_int_equal(r.items[0].state, REPAIR_LOST);
	free(r.items);
	/* Marked: neither it nor what builds on it counts. */
	assert_int_equal(prune_survey(x.b->repo, &x.cat, &whole), 0);
	assert_false(whole[0] || whole[1]);
	free(whole);
	flip_raw(path, 5000, 1);
	run(&x, 1, false, &r);
	assert_int_equal(r.n_done, 1);
	free(r.items);
	assert_int_equal(prune_survey(x.b->repo, &x.cat, &whole), 0);
	assert_true(whole[0] && whole[1]);
	free(whole);
	bench_free(&x);
}

/* A good manifest of the other set, in the copy, is not this set's. */
static void test_another_sets_manifest(void **state)
{
	struct bench x;
	struct repair_result r;
	char path[PATH_MAX], other[PATH_MAX];
	CLEANUP_FREE uint8_t *text = NULL;

	bench_new(*state, &x);
	object_path(x.b, x.cat.sets[0].id, "manifest", path);
	assert_int_equal(unlink(path), 0);
	snprintf(other, sizeof(other), "%s/sets/%s/manifest", x.copy_dir, x.cat.sets[1].id);
	size_t len = read_raw(other, &text);
	snprintf(other, sizeof(other), "%s/sets/%s/manifest", x.copy_dir, x.cat.sets[0].id);
	write_raw(other, text, len);
	run(&x, 1, false, &r);
	assert_int_equal(r.n_lost, 1);
	assert_string_equal(r.items[0].what, "manifest");
	assert_int_equal(access(path, F_OK), -1);
	free(r.items);
	bench_free(&x);
}

/* Removed by retention, or being written, is not damaged. */
static void test_what_is_no_set(void **state)
{
	struct bench x;
	struct repair_result r;
	char path[PATH_MAX];

	bench_new(*state, &x);
	assert_int_equal(prune_remove_manifest(x.b->repo, x.cat.sets[1].id, 1796000000), 0);
	run(&x, 1, false, &r);
	assert_int_equal(r.n_sets, 1);
	assert_int_equal(r.n_items, 0);
	object_path(x.b, x.cat.sets[1].id, "manifest", path);
	assert_int_equal(access(path, F_OK), -1);
	free(r.items);
	bench_free(&x);
}

/* --- what is lost, by path --- */

static int on_path(void *arg, const char *path)
{
	strcat(arg, path);
	strcat(arg, ";");
	return 0;
}

static void test_names_only_what_is_gone(void **state)
{
	struct bench x;
	struct repair_result r;
	char path[PATH_MAX], names[256] = "";
	CLEANUP_FREE uint8_t *pack = NULL;
	uint64_t n = 0;

	bench_new(*state, &x);
	object_path(x.b, x.cat.sets[0].id, "pack-00000", path);
	size_t len = read_raw(path, &pack);
	flip_raw(path, len / 2, 1); /* within the content of "one" */
	run(&x, 0, false, &r);
	assert_int_equal(r.n_lost, 1);
	assert_int_equal(repair_lost_paths(x.b->repo, keys(x.b), &x.cat, 0, &r, on_path, names, &n, &x.b->d), 0);
	assert_int_equal(n, 1);
	assert_string_equal(names, "one;");
	free(r.items);
	bench_free(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_REPOSITORY(test_each_object),
		WITH_REPOSITORY(test_a_bad_copy),
		WITH_REPOSITORY(test_another_sets_manifest),
		WITH_REPOSITORY(test_what_is_no_set),
		WITH_REPOSITORY(test_names_only_what_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
