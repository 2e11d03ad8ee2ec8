/*
 * The whole engine on a failing medium: the n-th write, truncation, sync, creation or deletion ends
 * with EIO or ENOSPC, once or from then on, for every n of the script; and the n-th read with EIO.
 * The error reaches whoever asked, or harms nothing. Then power is lost: what was acknowledged is
 * there, also what is acknowledged after the failure.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/fault/engine_script.h"
#include "tests/fault/medium.h"

struct plan {
	enum medium_calls which;
	int err;
	bool lasts;
	enum medium_keep keep;
};

static struct identity *who;
static unsigned n_runs, n_told;
static char story[128]; /* of the last run, to be read when it fails */

static struct fixture *begin(void)
{
	struct fixture *fx = fixture_new();
	struct volume_config cfg;

	fixture_create_keys(fx, fx->dir, who);
	assert_int_equal(script_open_keys(fx, who), 0);
	cfg = fixture_config(fx);
	assert_int_equal(volume_create(&cfg, 1000, 1000, &fx->d), 0);
	fixture_close_keys(fx);
	return fx;
}

/* A store that cannot be read is not mounted, whatever the cause; SQLite tells none. */
static bool is_told(const struct fixture *fx, int r)
{
	return r == -EIO || r == -ENOSPC || r == -EROFS || (!fx->v && r == -EBADMSG);
}

/* A write that failed may have been done in part. */
static void note_failed(struct model *m, unsigned i)
{
	const struct script_step *s = &script[i];

	if (s->op == WRITE || s->op == CUT || s->op == PUNCH)
		names_file(m, i, s->name)->torn = true;
}

/* Steps until one fails or the script ends; how many were acknowledged. */
static unsigned run_steps(struct fixture *fx, struct model *m, int *ret_err)
{
	unsigned i = 0;

	for (*ret_err = 0; i < SCRIPT_STEPS; i++) {
		model_step(m, i);
		*ret_err = script_do(fx->v, m, i);
		if (*ret_err)
			break;
	}
	if (*ret_err)
		note_failed(m, i);
	return i;
}

/* What can be asked of a volume after a failure: everything again. When it says yes, all that was
 * acknowledged, and what had failed if it took place, is durable. */
static bool sync_again(struct fixture *fx, struct model *m, unsigned acked)
{
	if (volume_sync(fx->v))
		return false;
	m->names_from[acked] = acked;
	for (unsigned k = 0; k < m->n_files; k++) {
		unsigned n = m->f[k].n;

		while (n && m->f[k].v[n - 1].step >= acked)
			n--;
		m->synced[acked][k] = n ? n - 1 : 0;
	}
	return true;
}

static void after_cut(struct fixture *fx, struct model *m, unsigned acked, unsigned begun)
{
	struct volume_check c;

	fx->n_alarms = 0;
	assert_int_equal(script_open_keys(fx, who), 0);
	if (script_mount(fx)) {
		diag_print(&fx->d, stderr);
		fail_msg("does not mount");
	}
	assert_true(script_holds(fx->v, m, acked, begun));
	assert_int_equal(volume_check(fx->v, true, print_finding, NULL, &c), 0);
	assert_int_equal(c.n_bad, 0);
	assert_int_equal(fx->n_alarms, 0);
	assert_int_equal(volume_close(fx->v), 0);
	fx->v = NULL;
	fixture_close_keys(fx);
}

static void cut_power(struct fixture *fx, size_t n_ops, enum medium_keep keep, uint64_t salt)
{
	struct medium_state *s = medium_cut(n_ops, keep, 0, salt);

	(void)fx;
	medium_state_put(s);
	medium_state_free(s);
}

/* The script with the n-th call failing; false when it made fewer. */
static bool run(const struct plan *p, uint64_t n)
{
	struct fixture *fx = begin();
	struct model *m = calloc(1, sizeof(*m));
	unsigned acked = 0;
	int err;

	assert_non_null(m);
	medium_record(fx->dir);
	assert_int_equal(script_open_keys(fx, who), 0);
	medium_fail(p->which, n, p->err, p->lasts);
	err = script_mount(fx);
	if (err == 0)
		acked = run_steps(fx, m, &err);
	bool hit = medium_failed();
	if (err) {
		assert_true(hit);
		if (!is_told(fx, err))
			fail_msg("call %llu: step %u was told %d", (unsigned long long)n, acked,
				 err);
	}
	bool whole = fx->v && sync_again(fx, m, acked);
	assert_true(err || whole || p->lasts || hit);
	size_t n_ops = medium_n_ops();
	snprintf(story, sizeof(story), "call %llu (%s): %u steps, then %d; then %s",
		 (unsigned long long)n, medium_failed_what(), acked, err, whole ? "whole" : "not");
	(void)volume_close(fx->v);
	fx->v = NULL;
	if (fx->kr)
		fixture_close_keys(fx);
	medium_fail(p->which, 0, 0, false);
	medium_stop();
	cut_power(fx, n_ops, p->keep, n);
	after_cut(fx, m, acked, acked + (err && acked < SCRIPT_STEPS));
	n_runs++;
	n_told += err != 0;
	remove_tree(AT_FDCWD, fx->dir);
	free(fx);
	model_free(m);
	return hit;
}

static void run_all(const struct plan *p)
{
	uint64_t n = 1;

	n_runs = n_told = 0;
	while (run(p, n))
		n++;
	printf("# %u runs, in %u of them a caller was told\n", n_runs, n_told);
	assert_true(n > (p->which == MEDIUM_READS ? 2 : 150));
}

static void test_eio(void **state)
{
	const struct plan p = {.err = EIO, .keep = MEDIUM_SYNCED};
	(void)state;
	run_all(&p);
}

static void test_eio_for_good(void **state)
{
	const struct plan p = {.err = EIO, .lasts = true, .keep = MEDIUM_SOME};
	(void)state;
	run_all(&p);
}

static void test_full(void **state)
{
	const struct plan p = {.err = ENOSPC, .keep = MEDIUM_SYNCED};
	(void)state;
	run_all(&p);
}

static void test_full_for_good(void **state)
{
	const struct plan p = {.err = ENOSPC, .lasts = true, .keep = MEDIUM_SYNCED};
	(void)state;
	run_all(&p);
}

static void test_unreadable(void **state)
{
	const struct plan p = {.which = MEDIUM_READS, .err = EIO, .keep = MEDIUM_SYNCED};
	(void)state;
	run_all(&p);
}

static int tell(void **state)
{
	(void)state;
	printf("# last: %s\n", story);
	return 0;
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
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_eio, tell),
	    cmocka_unit_test_teardown(test_eio_for_good, tell),
	    cmocka_unit_test_teardown(test_full, tell),
	    cmocka_unit_test_teardown(test_full_for_good, tell),
	    cmocka_unit_test_teardown(test_unreadable, tell),
	};

	fixture_in_memory();
	return cmocka_run_group_tests(tests, setup, teardown);
}
