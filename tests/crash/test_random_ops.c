/*
 * Random operations on a volume beside a reference in memory: each ends as it must, and the whole
 * volume, snapshots included, is what the reference is, now and after every remount.
 *
 * COFFER_TEST_OPS: how many (default 100000, the long form millions). COFFER_TEST_SEED: repeats a
 * run. When one fails, its list is printed as short as it can be made.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "tests/crash/shrink.h"
#include "tests/crash/view.h"

#define LIST_LEN 1500u /* operations on one volume */
#define COMPARE_EVERY 75u
#define SHRINK_SECONDS 240u

static struct identity *who;
static uint64_t n_done; /* operations that were no skips */
static char last_why[WHY_MAX + 64];

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

static bool compare_all(struct driver *d)
{
	struct volume_check c;
	struct view *w = view_read(d);
	bool fits = w && view_is(d, w, &d->ref);

	if (w)
		view_free(w);
	if (!fits)
		return false;
	int r = volume_check(d->fx->v, true, print_finding, NULL, &c);
	return r || c.n_bad || d->fx->n_alarms
		   ? drive_wrong(d, "check: %d, %llu bad", r, (unsigned long long)c.n_bad)
		   : true;
}

/* Orphans are reclaimed behind a mount's back, soon. */
static bool count_fits(struct driver *d)
{
	const struct timespec pause = {.tv_nsec = 5000000};

	for (unsigned i = 0; i < 4000; i++) {
		if (inodes_in_use(d->fx->v) == reference_count(&d->ref))
			return true;
		nanosleep(&pause, NULL);
	}
	return drive_wrong(d, "%llu inodes in use, not %u",
			   (unsigned long long)inodes_in_use(d->fx->v), reference_count(&d->ref));
}

/* The list on a new volume; how many were done before something was wrong (n: nothing was). */
static size_t run_list(const struct op *ops, size_t n)
{
	struct fixture *fx = fixture_new();
	struct driver d = {.fx = fx, .who = who};
	bool right;
	size_t i = 0;

	reference_init(&d.ref);
	driver_create(fx, who);
	right = driver_mount(&d, false);
	for (; i < n && right; i++) {
		enum drive_result r = drive(&d, &ops[i], NULL, NULL);
		right = r != DRIVE_WRONG;
		n_done += r == DRIVE_DONE;
		if (right && (i % COMPARE_EVERY == 0 || ops[i].kind == OP_REMOUNT))
			right = compare_all(&d);
	}
	right = right && driver_unmount(&d) && driver_mount(&d, false) && compare_all(&d) &&
		count_fits(&d);
	if (!right)
		snprintf(last_why, sizeof(last_why), "operation %zu: %s", i, d.why);
	if (fx->v && !driver_unmount(&d) && right)
		right = false;
	driver_end(&d);
	remove_tree(AT_FDCWD, fx->dir);
	free(fx);
	return right ? n : i < n ? i : n - 1;
}

static bool list_fails(void *arg, const struct op *ops, size_t n)
{
	(void)arg;
	return n && run_list(ops, n) < n;
}

/* Drawn with the reference alone, which knows how each ends. */
static void draw_list(struct op *ops, uint64_t seed)
{
	struct reference r;

	reference_init(&r);
	for (unsigned i = 0; i < LIST_LEN; i++) {
		ops[i] = ops_draw(&ops_mix_model, &r, &seed);
		(void)reference_do(&r, &ops[i], i + 1);
	}
	reference_drop(&r);
}

static void explain(struct op *ops, size_t n, uint64_t seed)
{
	fprintf(stderr, "COFFER_TEST_SEED=%llu: %s\n", (unsigned long long)seed, last_why);
	n = shrink(ops, n + 1, list_fails, NULL, SHRINK_SECONDS);
	fprintf(stderr, "the shortest list that fails has %zu:\n", n);
	for (size_t i = 0; i < n; i++)
		ops_print(stderr, &ops[i]);
}

/* Promise: whatever is done in whatever order, the volume is what a plain filesystem would be. */
static void as_the_reference(void **state)
{
	uint64_t n_ops = from_environment("COFFER_TEST_OPS", 100000), seed;
	static struct op ops[LIST_LEN];

	(void)state;
	seed = from_environment("COFFER_TEST_SEED", (uint64_t)time(NULL) << 20);
	printf("# seed %llu\n", (unsigned long long)seed);
	for (uint64_t done = 0; done < n_ops; done += LIST_LEN, seed++) {
		draw_list(ops, seed);
		size_t n = run_list(ops, LIST_LEN);
		if (n == LIST_LEN)
			continue;
		explain(ops, n, seed);
		fail_msg("not as the reference: seed %llu", (unsigned long long)seed);
	}
	printf("# %llu operations\n", (unsigned long long)n_done);
	assert_true(n_done > n_ops / 2);
}

static bool has_both(void *arg, const struct op *ops, size_t n)
{
	bool first = false, then = false;

	(void)arg;
	for (size_t i = 0; i < n; i++) {
		then |= first && ops[i].kind == OP_RENAME;
		first |= ops[i].kind == OP_SYNC;
	}
	return then;
}

/* Promise: what a failing run prints is as short as it gets. */
static void shrinks(void **state)
{
	struct op ops[200] = {0};

	(void)state;
	ops[37].kind = OP_SYNC;
	ops[151].kind = OP_RENAME;
	assert_int_equal(shrink(ops, 200, has_both, NULL, 60), 2);
	assert_int_equal(ops[0].kind, OP_SYNC);
	assert_int_equal(ops[1].kind, OP_RENAME);
}

static int setup(void **state)
{
	(void)state;
	who = identity_new("Ada", "1");
	return !who;
}

static int teardown(void **state)
{
	(void)state;
	identity_free(who);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(shrinks),
					   cmocka_unit_test(as_the_reference)};

	fixture_in_memory();
	return cmocka_run_group_tests(tests, setup, teardown);
}
