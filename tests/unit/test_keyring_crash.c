/*
 * core/keyring when power goes, or a medium fails, at any write of creating, puncturing and putting
 * freshness: opened again, the volume is wholly before the act or wholly after it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/keyring_crash_fixture.h"

/* One puncture cut at write n; false when it has no n-th write. */
static bool puncture_cut_at(enum fault_kind kind, unsigned n)
{
	struct fixture *f;
	struct keyring_fresh fresh;
	void *state;
	bool reached, moved;
	size_t pending = 0;
	int r;

	fixture_volume(&state);
	f = state;
	/* Only one slot holds this. */
	keyring_fresh_get(f->kr, &fresh);
	fresh.txn = 7;
	assert_int_equal(keyring_fresh_put(f->kr, &fresh), 0);
	arm(kind, n);
	r = destroy(f, &pending);
	reached = disarm();
	moved = anchor_moved(f);
	/* Success is said only of what a power cut cannot take back. */
	if (r == 0)
		assert_true(moved);
	reopen(f);
	check_either(f, moved);
	keyring_fresh_get(f->kr, &fresh);
	assert_int_equal(fresh.txn, 7);
	assert_int_equal(keyring_generation(f->kr), moved ? 2 : 1);
	check_tidy(f);
	/* And the order can be carried out, or found carried out, after it. */
	assert_int_equal(destroy(f, &pending), 0);
	assert_int_equal(pending, 0);
	reopen(f);
	check_either(f, true);
	check_tidy(f);
	fixture_end(&state);
	return reached;
}

static unsigned puncture_cut_everywhere(enum fault_kind kind)
{
	unsigned n = 0;

	while (puncture_cut_at(kind, n))
		n++;
	return n;
}

/*
 * Power goes before any write of a puncture: before the anchor nothing has happened, from it on the
 * opening finishes.
 */
static void test_power_cut_before_any_write(void **state)
{
	(void)state;
	/* Two states, two slots, two removals of two writes, two escrow slots at least. */
	assert_true(puncture_cut_everywhere(FAULT_CUT) >= 10);
}

/* The same with the interrupted write half done. */
static void test_power_cut_within_any_write(void **state)
{
	(void)state;
	assert_true(puncture_cut_everywhere(FAULT_TORN) >= 10);
}

/*
 * One write fails and the process goes on: the keyring keeps serving, what it says agrees with what
 * a reopening finds or will find, and the same order again completes it.
 */
static bool puncture_fails_once_at(unsigned n)
{
	struct fixture *f;
	void *state;
	struct keyring_fresh fresh;
	bool reached, gone;
	size_t pending = 0;
	char order[KEYRING_ORDER_REF_MAX + 1];
	int r;

	fixture_volume(&state);
	f = state;
	arm(FAULT_ONCE, n);
	r = destroy(f, &pending);
	reached = disarm();
	gone = keyring_gone(f->kr, KEYRING_LIVE, GONE_FIRST, order);
	if (r == 0)
		assert_true(gone);
	if (anchor_moved(f))
		assert_true(gone);
	check_either(f, gone);
	/* The freshness write that comes next may not bring back what memory holds gone. */
	keyring_fresh_get(f->kr, &fresh);
	fresh.txn++;
	assert_int_equal(keyring_fresh_put(f->kr, &fresh), 0);
	assert_int_equal(anchor_moved(f), gone);
	if (n % 2) {
		reopen(f);
		check_either(f, gone);
	}
	assert_int_equal(destroy(f, &pending), 0);
	assert_int_equal(pending, 0);
	check_either(f, true);
	check_tidy(f);
	reopen(f);
	check_either(f, true);
	check_tidy(f);
	fixture_end(&state);
	return reached;
}

static void test_any_write_fails_once(void **state)
{
	unsigned n = 0;

	(void)state;
	while (puncture_fails_once_at(n))
		n++;
	assert_true(n >= 10);
}

/*
 * A state that does not read back as it was written stops the puncture while nothing has changed
 * yet.
 */
static void test_medium_that_lies(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 2; n++) {
		struct fixture *f;
		void *own;
		size_t pending;

		fixture_volume(&own);
		f = own;
		arm(FAULT_LIE, n);
		assert_true(destroy(f, &pending) < 0);
		assert_true(disarm());
		assert_false(anchor_moved(f));
		assert_int_equal(keyring_generation(f->kr), 1);
		check_either(f, false);
		check_tidy(f);
		assert_int_equal(destroy(f, &pending), 0);
		reopen(f);
		check_either(f, true);
		fixture_end(&own);
	}
}

/*
 * A failed first anchor write followed by another order: neither generation's state is lost on the
 * way.
 */
static void test_failure_then_another_order(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 6; n++) {
		for (unsigned m = 0; m < 6; m++) {
			struct fixture *f;
			void *own;
			size_t pending;
			bool moved;

			fixture_volume(&own);
			f = own;
			arm(FAULT_ONCE, n);
			destroy(f, &pending);
			arm(FAULT_CUT, m);
			puncture(f, KEYRING_BOTH, 30, 30, "D-2", &pending);
			disarm();
			moved = anchor_moved(f);
			reopen(f);
			if (!moved)
				check_keys(f, 0, 0, 0);
			check_tidy(f);
			assert_int_equal(destroy(f, &pending), 0);
			assert_int_equal(puncture(f, KEYRING_BOTH, 30, 30, "D-2", &pending), 0);
			reopen(f);
			check_tidy(f);
			fixture_end(&own);
		}
	}
}

/*
 * Power goes again and again while an opening finishes a puncture: it gets there in the end, and
 * never back.
 */
static void test_power_cut_while_finishing(void **state)
{
	(void)state;
	for (unsigned first = 2; first < 8; first++) {
		for (unsigned n = 0;; n++) {
			struct fixture *f;
			void *own;
			bool moved, reached;
			size_t pending;

			fixture_volume(&own);
			f = own;
			arm(FAULT_TORN, first);
			destroy(f, &pending);
			disarm();
			moved = anchor_moved(f);
			shut(f);
			arm(FAULT_TORN, n);
			open_flags(f, 0, NULL);
			reached = disarm();
			reopen(f);
			check_either(f, moved);
			check_tidy(f);
			fixture_end(&own);
			if (!reached)
				break;
		}
	}
}

/*
 * Power goes while a volume is made: there is none, or there is a whole one. A failure that is not
 * a power cut can be repeated.
 */
static void create_fails_at(enum fault_kind kind, bool *ret_reached, unsigned n)
{
	struct fixture *f;
	struct diag d = {0};
	void *state;
	int r, opened;

	fixture_folders(&state);
	f = state;
	arm(kind, n);
	r = create(f, NULL);
	*ret_reached = disarm();
	opened = open_flags(f, 0, &d);
	if (r == 0)
		assert_int_equal(opened, 0);
	if (opened < 0)
		assert_int_equal(d.id, DIAG_NO_VOLUME);
	if (kind == FAULT_ONCE && r < 0) {
		assert_true(opened < 0);
		assert_int_equal(create(f, NULL), 0);
		opened = open_flags(f, 0, NULL);
		assert_int_equal(opened, 0);
	}
	if (opened == 0) {
		note_keys(f);
		reopen(f);
		check_either(f, false);
		check_tidy(f);
	}
	fixture_end(&state);
}

static void test_power_cut_while_creating(void **state)
{
	static const enum fault_kind kinds[] = {FAULT_CUT, FAULT_TORN, FAULT_ONCE};

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		bool reached = true;
		unsigned n = 0;

		for (; reached; n++)
			create_fails_at(kinds[k], &reached, n);
		assert_true(n > 8);
	}
}

/* Power goes while the anchor takes freshness: the old or the new one is there, never less. */
static void test_power_cut_in_fresh_put(void **state)
{
	(void)state;
	for (int torn = 0; torn < 2; torn++) {
		struct fixture *f;
		struct keyring_fresh fresh, got;
		void *own;

		fixture_volume(&own);
		f = own;
		keyring_fresh_get(f->kr, &fresh);
		for (fresh.txn = 1; fresh.txn < 6; fresh.txn++) {
			arm(torn ? FAULT_TORN : FAULT_CUT, 0);
			assert_int_equal(keyring_fresh_put(f->kr, &fresh), -EIO);
			disarm();
			keyring_fresh_get(f->kr, &got);
			assert_int_equal(got.txn, fresh.txn - 1);
			reopen(f);
			keyring_fresh_get(f->kr, &got);
			assert_int_equal(got.txn, fresh.txn - 1);
			assert_int_equal(keyring_fresh_put(f->kr, &fresh), 0);
		}
		fixture_end(&own);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_power_cut_before_any_write),
	    cmocka_unit_test(test_power_cut_within_any_write),
	    cmocka_unit_test(test_any_write_fails_once),
	    cmocka_unit_test(test_medium_that_lies),
	    cmocka_unit_test(test_failure_then_another_order),
	    cmocka_unit_test(test_power_cut_while_finishing),
	    cmocka_unit_test(test_power_cut_while_creating),
	    cmocka_unit_test(test_power_cut_in_fresh_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
