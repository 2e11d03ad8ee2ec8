/*
 * Random workloads and failures, for every n: the n-th write, sync, creation, rename or deletion in
 * the store ends with EIO or ENOSPC, once or from then on, the n-th read with EIO, the n-th
 * allocation with nothing. Whoever asked is told, or nothing is harmed; the volume goes on showing
 * what it should; asked again, a sync that says yes means it; and after a power cut all that was
 * acknowledged is there.
 *
 *   COFFER_FAULT_SEED    the workload's seed (default: the time)
 *   COFFER_FAULT_LISTS   how many workloads, each with every n (default 2: one of each mix)
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <time.h>

#include "tests/crash/view.h"
#include "tests/fault/failing_memory.h"
#include "tests/fault/medium.h"

#define LIST_LEN 45u

enum what { CHANGES, READS, MEMORY };
struct plan {
	const char *name;
	enum what what;
	int err;
	bool lasts;
	unsigned every; /* n by this step; 1: all */
};

struct run {
	struct fixture *fx;
	struct driver d;
	struct reference history[LIST_LEN + 1];
	struct op done[LIST_LEN]; /* by step - 1 */
	unsigned n_steps;
	bool told, hit;
};

static struct identity *who;
static uint64_t seed, n_lists;
static char story[160];

/* ---- failing ---- */

static void arm(const struct plan *p, uint64_t n)
{
	if (p->what == MEMORY)
		failing_memory_plan(n, p->lasts);
	else
		medium_fail(p->what == READS ? MEDIUM_READS : MEDIUM_CHANGES, n, p->err, p->lasts);
}

static bool hit(const struct plan *p)
{
	return p->what == MEMORY ? failing_memory_failed() : medium_failed();
}

static void memory_counts(void *arg)
{
	(void)arg;
	failing_memory_on(true);
}

static bool is_told(int err)
{
	return err == -EIO || err == -ENOSPC || err == -EROFS || err == -ENOMEM;
}

/* ---- one run ---- */

static void note_step(struct run *r)
{
	r->n_steps = r->d.steps;
	reference_copy(&r->history[r->n_steps], &r->d.ref);
}

/* A store that cannot be read or has no memory to be read with is not mounted. */
static bool mount_armed(struct run *r)
{
	memory_counts(NULL);
	bool up = driver_mount(&r->d, false);
	failing_memory_on(false);
	return up;
}

/* Until something fails; false: it failed otherwise than it may. */
static bool do_list(struct run *r, const struct op *ops)
{
	for (unsigned i = 0; i < LIST_LEN; i++) {
		enum drive_result done = drive(&r->d, &ops[i], memory_counts, NULL);

		failing_memory_on(false);
		if (done == DRIVE_SKIPPED)
			continue;
		note_step(r);
		r->done[r->n_steps - 1] = ops[i];
		if (done == DRIVE_DONE)
			continue;
		r->told = true;
		reference_torn(&r->history[r->n_steps], &ops[i]);
		return is_told(r->d.got)
			   ? true
			   : drive_wrong(&r->d, "step %u was told %d", r->d.steps, r->d.got);
	}
	return true;
}

static bool shows(struct run *r, const struct claim *c)
{
	struct view *w = view_read(&r->d);
	bool fits = w && view_fits(&r->d, w, c);

	if (w)
		view_free(w);
	return fits;
}

static bool whole(struct run *r)
{
	struct volume_check c;
	int err = volume_check(r->fx->v, true, print_finding, NULL, &c);

	return err || c.n_bad
		   ? drive_wrong(&r->d, "check: %d, %llu bad", err, (unsigned long long)c.n_bad)
		   : true;
}

/* The failure is over. What is shown is right, and a sync that says yes has everything. */
static bool sync_again(struct run *r, struct claim *c)
{
	const struct op sync = {.kind = OP_SYNC};
	const struct claim live = {r->history, c->acked, c->begun, .live = true};
	struct volume_stat st;

	/* One that turned read-only may show half of what failed until it is mounted anew. */
	volume_stat(r->fx->v, &st);
	if (!st.read_only && !shows(r, &live))
		return false;
	if (volume_sync(r->fx->v) == 0)
		(void)reference_do(&r->history[c->acked], &sync, c->acked);
	return true;
}

static bool after_cut(struct run *r, const struct claim *c, size_t n_ops)
{
	struct medium_state *s = medium_cut(n_ops, MEDIUM_SYNCED, 0, 0);

	medium_state_put(s);
	medium_state_free(s);
	if (!driver_mount(&r->d, false))
		return false;
	bool right = shows(r, c) && whole(r) && !r->fx->n_alarms;
	return driver_unmount(&r->d) && right;
}

static bool play(struct run *r, const struct plan *p, const struct op *ops, uint64_t n)
{
	medium_record(r->fx->dir);
	arm(p, n);
	reference_copy(&r->history[0], &r->d.ref);
	bool up = mount_armed(r), right = !up || do_list(r, ops);
	r->hit = hit(p);
	struct claim c = {
	    .history = r->history, .acked = r->n_steps - r->told, .begun = r->n_steps};
	arm(p, 0);
	if (!up && !r->hit)
		return false;
	if (up && right)
		right = sync_again(r, &c);
	size_t n_ops = medium_n_ops();
	char why[WHY_MAX];
	memcpy(why, r->d.why, sizeof(why));
	if (up)
		(void)driver_unmount(&r->d); /* may say that not all could be committed */
	medium_stop();
	memcpy(r->d.why, why, sizeof(why));
	return right && after_cut(r, &c, n_ops);
}

/* False when the workload has fewer calls. */
static bool run(const struct plan *p, const struct op *ops, uint64_t n, unsigned *n_told)
{
	struct run *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	snprintf(story, sizeof(story), "COFFER_FAULT_SEED=%llu: %s, call %llu",
		 (unsigned long long)seed, p->name, (unsigned long long)n);
	r->fx = fixture_new();
	r->d = (struct driver){.fx = r->fx, .who = who};
	reference_init(&r->d.ref);
	driver_create(r->fx, who);
	bool right = play(r, p, ops, n);
	bool was_hit = r->hit;
	*n_told += r->told;
	if (!right) {
		fprintf(stderr, "%s: %s\n", story, r->d.why);
		for (unsigned i = r->n_steps > 12 ? r->n_steps - 12 : 0; i < r->n_steps; i++)
			ops_print(stderr, &r->done[i]);
	}
	for (unsigned i = 0; i <= r->n_steps; i++)
		reference_drop(&r->history[i]);
	driver_end(&r->d);
	remove_tree(AT_FDCWD, r->fx->dir);
	free(r->fx);
	free(r);
	assert_true(right);
	return was_hit;
}

static void draw_list(struct op *ops)
{
	struct reference r;
	uint64_t dice = seed;

	reference_init(&r);
	for (unsigned i = 0; i < LIST_LEN; i++) {
		ops[i] = ops_draw(ops_mix_of(seed), &r, &dice);
		(void)reference_do(&r, &ops[i], i + 1);
	}
	reference_drop(&r);
}

static void run_all(const struct plan *p)
{
	uint64_t first = seed;
	struct op ops[LIST_LEN];
	unsigned n_runs = 0, n_told = 0;

	for (uint64_t i = 0; i < n_lists; i++, seed++) {
		draw_list(ops);
		for (uint64_t n = 1 + seed % p->every; run(p, ops, n, &n_told); n += p->every)
			n_runs++;
	}
	seed = first;
	printf("# %s: %u runs, in %u of them a caller was told\n", p->name, n_runs, n_told);
	assert_true(n_runs > (p->what == READS ? 0 : 20));
}

static void test_eio(void **state)
{
	const struct plan p = {"EIO once", CHANGES, EIO, false, 1};
	(void)state;
	run_all(&p);
}

static void test_eio_for_good(void **state)
{
	const struct plan p = {"EIO for good", CHANGES, EIO, true, 1};
	(void)state;
	run_all(&p);
}

static void test_full(void **state)
{
	const struct plan p = {"ENOSPC once", CHANGES, ENOSPC, false, 1};
	(void)state;
	run_all(&p);
}

static void test_full_for_good(void **state)
{
	const struct plan p = {"ENOSPC for good", CHANGES, ENOSPC, true, 1};
	(void)state;
	run_all(&p);
}

static void test_unreadable(void **state)
{
	const struct plan p = {"EIO of a read", READS, EIO, false, 1};
	(void)state;
	run_all(&p);
}

static void test_no_memory(void **state)
{
	const struct plan p = {"ENOMEM once", MEMORY, ENOMEM, false, 1};
	(void)state;
	run_all(&p);
}

static void test_no_memory_for_good(void **state)
{
	const struct plan p = {"ENOMEM for good", MEMORY, ENOMEM, true, 7};
	(void)state;
	run_all(&p);
}

static void tell_story(int sig)
{
	(void)!write(STDERR_FILENO, story, strlen(story));
	(void)!write(STDERR_FILENO, "\n", 1);
	signal(sig, SIG_DFL);
	raise(sig);
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
	return 0;
}

int main(void)
{
	const char *s = getenv("COFFER_FAULT_SEED"), *n = getenv("COFFER_FAULT_LISTS");
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_eio),
	    cmocka_unit_test(test_eio_for_good),
	    cmocka_unit_test(test_full),
	    cmocka_unit_test(test_full_for_good),
	    cmocka_unit_test(test_unreadable),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_no_memory_for_good),
	};

	fixture_in_memory();
	failing_memory_install();
	seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL) << 20;
	n_lists = n ? strtoull(n, NULL, 0) : 2;
	printf("# seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, setup, teardown);
}
