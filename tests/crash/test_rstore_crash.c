/*
 * The record store and power cuts: power goes at the n-th write, truncation, sync or deletion, for
 * every n of a script; of what was not synced, all, nothing or any part reaches the medium. The
 * store then opens to a state that was committed, not older than the last one acknowledged, and the
 * anchor never refuses it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/fault/faulty_vfs.h"
#include "tests/fault/rstore_script.h"

static uint64_t seed;

/* Runs the script into the cut. Returns the number of acknowledged steps and the root of the last.
 */
static unsigned run_until_cut(struct fx *f, uint64_t at, struct rstore_root *ret_root)
{
	unsigned step = 0;

	memset(ret_root, 0, sizeof(*ret_root));
	faulty_vfs_plan(FAULTY_POWER, at);
	if (rstore_open(&f->cfg, NULL, &f->rs, NULL))
		return 0;
	rstore_root_get(f->rs, ret_root);
	for (; step < SCRIPT_STEPS && !script_step(f, step); step++)
		rstore_root_get(f->rs, ret_root);
	return step;
}

/* What is found can be worked with: it is whole, and commits last. */
static void assert_works(struct fx *f)
{
	struct rstore_check c;
	struct rstore_key k = fx_key(7);
	CLEANUP_BYTES struct bytes_w w = {0};

	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_bad, 0);
	assert_int_equal(rstore_put(f->rs, &k, "after", 5), 0);
	assert_int_equal(rstore_commit(f->rs, NULL), 0);
	assert_int_equal(script_reopen(f), 0);
	assert_int_equal(rstore_get(f->rs, &k, &w, NULL), 0);
	assert_int_equal(w.len, 5);
}

/* A cut at operation at; with again, another one while the store recovers from the first. */
static bool cut(uint64_t at, enum faulty_keep keep, uint64_t again)
{
	struct rstore_root root;
	unsigned done;
	struct fx f;
	bool hit;

	script_begin(&f);
	done = run_until_cut(&f, at, &root);
	/* The close is part of the story: a cut may fall into it. */
	fx_close(&f);
	hit = faulty_vfs_hit();
	faulty_vfs_restore(keep, seed + at);
	if (again) {
		faulty_vfs_plan(FAULTY_POWER, again);
		(void)rstore_open(&f.cfg, &root, &f.rs, NULL);
		fx_close(&f);
		faulty_vfs_restore(keep, seed + at + 1);
	}
	assert_int_equal(rstore_open(&f.cfg, &root, &f.rs, NULL), 0);
	assert_true(script_holds(&f, done) || (done < SCRIPT_STEPS && script_holds(&f, done + 1)));
	assert_works(&f);
	fx_remove(&f);
	return hit;
}

static void cut_everywhere(enum faulty_keep keep)
{
	uint64_t n = 1;

	while (cut(n, keep, keep == FAULTY_KEEP_SOME && n % 2 ? 1 + n % 11 : 0))
		n++;
	assert_true(n > 200);
}

static void test_all_arrived(void **state)
{
	(void)state;
	cut_everywhere(FAULTY_KEEP_ALL);
}

static void test_only_synced(void **state)
{
	(void)state;
	cut_everywhere(FAULTY_KEEP_NONE);
}

/* And a second cut during recovery after every other one. */
static void test_any_part(void **state)
{
	(void)state;
	cut_everywhere(FAULTY_KEEP_SOME);
}

static int install(void **state)
{
	(void)state;
	faulty_vfs_install();
	script_reference();
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_arrived),
	    cmocka_unit_test(test_only_synced),
	    cmocka_unit_test(test_any_part),
	};

	kdf_random(&seed, sizeof(seed));
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 10);
	printf("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, install, NULL);
}
