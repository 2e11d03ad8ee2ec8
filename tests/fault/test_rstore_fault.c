/*
 * The record store on a failing medium: the n-th write, truncation, sync or read fails, for every n
 * of a script of commits, snapshots, erasure, checkpoints and reopens. What was acknowledged stays,
 * what failed can be tried again, and after a failed sync nothing is acknowledged until reopened.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/fault/faulty_vfs.h"
#include "tests/fault/rstore_script.h"

enum after { RETRY, REOPEN };

static bool live_is(struct fx *f, unsigned step)
{
	struct state_digest d;

	return script_live_digest(f->rs, &d) == 0 && !memcmp(&d, &script_live[step], sizeof(d));
}

static void open_again(struct fx *f)
{
	fx_close(f);
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
}

/* After a failed sync: refused until reopened; then the last acknowledged state, or the one
 * that was being made. */
static void after_sync(struct fx *f, unsigned step)
{
	if (f->rs) {
		assert_int_equal(rstore_commit(f->rs, NULL), -EROFS);
		assert_int_equal(rstore_scrub(f->rs), -EROFS);
		assert_int_equal(script_snap_open(f), -EROFS);
	}
	open_again(f);
	assert_true(script_holds(f, step) || script_holds(f, step + 1));
}

/* A step has failed with r. Returns whether it is to be taken again. */
static bool recover(struct fx *f, unsigned step, enum faulty_kind kind, enum after after, int r)
{
	if (r == -EROFS || faulty_vfs_hit_sync()) {
		after_sync(f, step);
		return !script_holds(f, step + 1);
	}
	assert_true(r == -EIO || (kind == FAULTY_FULL && r == -ENOSPC));
	if (f->rs && after == RETRY) {
		/* Pending records are as they were, and what is read is right. */
		assert_true(live_is(f, step + 1));
		return true;
	}
	open_again(f);
	assert_true(script_holds(f, step));
	return true;
}

/* The whole script with one failure; false when the script is shorter than that. */
static bool run(enum faulty_kind kind, uint64_t at, enum after after)
{
	struct rstore_check c;
	struct fx f;
	bool hit;

	script_begin(&f);
	faulty_vfs_plan(kind, at);
	if (rstore_open(&f.cfg, NULL, &f.rs, NULL))
		assert_int_equal(rstore_open(&f.cfg, NULL, &f.rs, NULL), 0);
	for (unsigned step = 0; step < SCRIPT_STEPS; step++) {
		int r = script_step(&f, step);

		if (r) {
			assert_true(faulty_vfs_hit());
			if (recover(&f, step, kind, after, r))
				assert_int_equal(script_step(&f, step), 0);
			assert_true(script_holds(&f, step + 1));
		}
	}
	hit = faulty_vfs_hit();
	assert_true(script_holds(&f, SCRIPT_STEPS));
	open_again(&f);
	assert_true(script_holds(&f, SCRIPT_STEPS));
	assert_int_equal(rstore_check(f.rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_bad, 0);
	fx_remove(&f);
	return hit;
}

static void run_all(enum faulty_kind kind, enum after after)
{
	uint64_t n = 1;

	while (run(kind, n, after))
		n++;
	/* The script is long enough to mean something. */
	assert_true(n > 200);
}

static void test_error_retry(void **state)
{
	(void)state;
	run_all(FAULTY_ERROR, RETRY);
}

static void test_error_reopen(void **state)
{
	(void)state;
	run_all(FAULTY_ERROR, REOPEN);
}

/* A full medium is -ENOSPC, and everything stays as it was. */
static void test_full_retry(void **state)
{
	(void)state;
	run_all(FAULTY_FULL, RETRY);
}

/* A failed creation leaves nothing in the way of the next. */
static void test_create(void **state)
{
	uint64_t n = 0;
	bool hit = true;

	(void)state;
	while (hit) {
		struct fx f;
		int r;

		fx_folder(&f);
		faulty_vfs_plan(FAULTY_ERROR, ++n);
		r = rstore_create(&f.cfg, NULL);
		hit = faulty_vfs_hit();
		faulty_vfs_plan(FAULTY_NONE, 0);
		if (r) {
			assert_int_equal(access(f.db, F_OK), -1);
			assert_int_equal(rstore_create(&f.cfg, NULL), 0);
		}
		assert_int_equal(rstore_open(&f.cfg, NULL, &f.rs, NULL), 0);
		fx_remove(&f);
	}
	assert_true(n > 10);
}

/* A record that cannot be read is an error, never absent or another's; afterwards it is there
 * again. */
static void test_reads(void **state)
{
	struct fx f;
	uint64_t n = 0;
	bool hit = true;

	(void)state;
	script_begin(&f);
	assert_int_equal(rstore_open(&f.cfg, NULL, &f.rs, NULL), 0);
	for (unsigned step = 0; step < 9; step++)
		assert_int_equal(script_step(&f, step), 0);
	while (hit) {
		struct state_digest d;
		int r;

		fx_close(&f);
		faulty_vfs_plan_read(++n);
		r = rstore_open(&f.cfg, NULL, &f.rs, NULL);
		if (r) {
			assert_int_equal(r, -EIO);
			assert_true(faulty_vfs_hit());
			assert_int_equal(rstore_open(&f.cfg, NULL, &f.rs, NULL), 0);
		}
		r = script_digest(f.rs, &d);
		hit = faulty_vfs_hit();
		assert_true(r == 0 || (hit && r == -EIO));
		assert_true(script_holds(&f, 9));
	}
	assert_true(n > 20);
	fx_remove(&f);
}

static int install(void **state)
{
	(void)state;
	faulty_vfs_install();
	script_reference();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_error_retry), cmocka_unit_test(test_error_reopen),
	    cmocka_unit_test(test_full_retry),  cmocka_unit_test(test_create),
	    cmocka_unit_test(test_reads),
	};

	return cmocka_run_group_tests(tests, install, NULL);
}
