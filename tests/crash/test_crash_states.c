/*
 * Random workloads and power cuts (promise 3). Each is drawn from a seed and done once on a medium
 * that remembers every write, sync, rename, truncation and deletion in the store and the anchor;
 * then power is lost behind each of these calls, and of what was not synced nothing, all, a part in
 * any order, or a part torn at 512 or 4096 bytes arrives. Every state has to mount at once, be
 * whole, show what the history of a reference allows, and be fit to work with. At the end of each
 * workload power fails once more, while a volume comes back from such a state.
 *
 *   COFFER_CRASH_STATES   distinct states to look at (default 10000; the long form: a million)
 *   COFFER_CRASH_SEED     the first workload's seed; the next has the next number
 *   COFFER_CRASH_STATE    only the state of this number of that workload
 *
 * What fails is told with the three and with the shortest list of operations that still shows it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <time.h>

#include "tests/crash/shrink.h"
#include "tests/crash/workload.h"

#define SHRINK_SECONDS 240u

static struct identity *who;

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

/* ---- lists ---- */

static void draw_list(struct op *ops, uint64_t seed)
{
	const struct op_mix *mix = ops_mix_of(seed);
	struct reference r;

	reference_init(&r);
	for (unsigned i = 0; i < WORKLOAD_MAX; i++) {
		ops[i] = ops_draw(mix, &r, &seed);
		(void)reference_do(&r, &ops[i], i + 1);
	}
	reference_drop(&r);
}

static bool list_fails(void *arg, const struct op *ops, size_t n)
{
	struct workload *w = workload_new(who, *(uint64_t *)arg);
	bool right = workload_run(w, ops, n, UINT64_MAX);

	workload_free(w);
	return !right;
}

static void explain(struct op *ops, uint64_t seed, const char *why)
{
	fprintf(stderr, "%s\n%s\n", workload_story, why);
	workload_forget(); /* states count again, in processes of their own */
	size_t n = shrink(ops, WORKLOAD_MAX, list_fails, &seed, SHRINK_SECONDS);
	fprintf(stderr, "the shortest list that fails has %zu:\n", n);
	for (size_t i = 0; i < n; i++)
		ops_print(stderr, &ops[i]);
}

static void tell_story(int sig)
{
	(void)!write(STDERR_FILENO, workload_story, strlen(workload_story));
	(void)!write(STDERR_FILENO, "\n", 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void every_state_holds(void **state)
{
	uint64_t enough = from_environment("COFFER_CRASH_STATES", 10000), n_all = 0, n_lists = 0;
	uint64_t seed = from_environment("COFFER_CRASH_SEED", (uint64_t)time(NULL) << 20);
	uint64_t only = from_environment("COFFER_CRASH_STATE", WORKLOAD_ALL);
	static struct op ops[WORKLOAD_MAX];
	struct timespec from, to;

	(void)state;
	printf("# seed %llu\n", (unsigned long long)seed);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (; workload_n_seen() < enough && (only == WORKLOAD_ALL || !n_lists); seed++) {
		struct workload *w = workload_new(who, seed);

		w->only = only;
		draw_list(ops, seed);
		bool right = workload_run(w, ops, WORKLOAD_MAX, enough);
		n_all += w->n_states;
		n_lists++;
		if (!right)
			explain(ops, seed, w->d.why);
		workload_free(w);
		assert_true(right);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("# %zu distinct states of %llu, from %llu workloads, in %ld s\n", workload_n_seen(),
	       (unsigned long long)n_all, (unsigned long long)n_lists,
	       (long)(to.tv_sec - from.tv_sec));
	assert_true(workload_n_seen() > 0);
}

static int setup(void **state)
{
	(void)state;
	who = identity_new("Ada", "1");
	signal(SIGSEGV, tell_story);
	signal(SIGABRT, tell_story);
	return !who;
}

static int teardown(void **state)
{
	(void)state;
	identity_free(who);
	workload_forget();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_state_holds)};

	fixture_in_memory();
	return cmocka_run_group_tests(tests, setup, teardown);
}
