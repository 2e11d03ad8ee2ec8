/*
 * Restoring: every set gives back exactly the tree of its moment, nothing else is ever written, and what cannot be given back is
 * told.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/set_body.h"
#include "backup/set_writer.h"
#include "tests/unit/backup_tree.h"

/* ---- short forms ---- */

static struct setview *view(struct backup_fixture *b, const struct set_catalog *c, size_t set)
{
	struct setview *sv = NULL;

	assert_int_equal(setview_open(b->repo, keys(b), c, set, &sv, &b->d), 0);
	return sv;
}

/* Paths of the set (none: all of it) into to. */
static int restore(struct backup_fixture *b, const struct set_catalog *c, size_t set, const char *to, bool in_place,
		   const char *path, struct restore_result *ret)
{
	struct setview *sv = view(b, c, set);
	struct restore_request in = {.view = sv, .to = to, .in_place = in_place, .paths = &path, .n_paths = path ? 1 : 0};

	b->d = (struct diag){0};
	int err = restore_run(&in, ret, &b->d);
	setview_close(sv);
	return err;
}

static int restore_latest(struct backup_fixture *b, const char *path, struct restore_result *ret)
{
	struct set_catalog c;

	load(b, &c);
	int err = restore(b, &c, c.n_sets - 1, b->out_dir, false, path, ret);
	set_catalog_free(&c);
	return err;
}

static void in_out(const struct backup_fixture *b, const char *path, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s", b->out_dir, path);
}

static bool out_has(const struct backup_fixture *b, const char *path)
{
	char full[PATH_MAX];
	struct stat st;

	in_out(b, path, full);
	return lstat(full, &st) == 0;
}

static void expect_content(const struct backup_fixture *b, const char *path, const void *want, size_t len)
{
	CLEANUP_FREE uint8_t *got = NULL;
	char full[PATH_MAX];

	in_out(b, path, full);
	assert_int_equal(read_raw(full, &got), len);
	assert_memory_equal(got, want, len);
}

static void expect_noise(const struct backup_fixture *b, const char *path, uint64_t seed, size_t len)
{
	CLEANUP_FREE uint8_t *p = noise(seed, len);

	expect_content(b, path, p, len);
}

static void no_leftovers(const char *dir)
{
	CLEANUP_DIR DIR *d = opendir(dir);

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		assert_null(strstr(e->d_name, ".coffer-restore"));
}

/* ---- promise 4 ---- */

#define N_SETS 6

/*
 * Promise 4: a full set and increments over a random life, with a full one between; each restores to the tree of its moment:
 * bytes, names, types, owners, modes, times, xattrs, links and holes.
 */
static void lives_of(struct backup_fixture *b, uint64_t seed)
{
	struct life l = life_begin(b->fx->v, seed);
	char *want[N_SETS];
	struct set_catalog c;
	struct restore_result res;
	size_t before;

	load(b, &c);
	before = c.n_sets;
	set_catalog_free(&c);
	for (size_t i = 0; i < N_SETS; i++) {
		live_on(&l, i ? 150 : 600);
		want[i] = tree_of_volume(b->fx->v, VOLUME_ROOT_ID);
		back_up_only(b, i == 0 || i == 4);
	}
	load(b, &c);
	assert_int_equal(c.n_sets, before + N_SETS);
	for (size_t i = 0; i < N_SETS; i++) {
		assert_int_equal(c.sets[before + i].full, i == 0 || i == 4);
		assert_int_equal(restore(b, &c, before + i, b->out_dir, false, NULL, &res), 0);
		char *got = tree_of_folder(b->out_dir);
		expect_tree(got, want[i]);
		free(got);
		free(want[i]);
		remove_tree(AT_FDCWD, b->out_dir);
	}
	set_catalog_free(&c);
	assert_int_equal(b->fx->n_alarms, 0);
}

static void random_lives(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct backup_fixture *b = *state;

		lives_of(b, seed);
		if (seed < 3) {
			backup_teardown(state);
			backup_setup(state);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_lives, backup_setup, backup_teardown),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
