/*
 * Changes of custody (rotating, escrows, slots) when power goes, or a medium fails, at any write:
 * opened again, the volume is wholly before the change or wholly after it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/keyring_crash_fixture.h"

#define FIRST_UNUSED (FIRST_ID + N_IDS)

static int act_rotate(struct fixture *f)
{
	const struct keyring_rotation in = {.first_unused = FIRST_UNUSED};
	struct keyring_rotated done;

	return keyring_rotate(f->kr, &in, &done, NULL);
}

static int act_escrow_add(struct fixture *f)
{
	char place[128];
	size_t pending;
	int r;

	snprintf(place, sizeof(place), "%s/second", f->dir);
	r = keyring_escrow_add(f->kr, place, &pending, NULL);
	return r == -EEXIST ? 0 : r;
}

static int act_escrow_remove(struct fixture *f)
{
	const struct keyring_rotation in = {.first_unused = FIRST_UNUSED};
	struct keyring_rotated done;
	int r = keyring_escrow_remove(f->kr, f->escrow, false, &in, &done, NULL);

	return r == -ENOENT ? 0 : r;
}

static int act_slot_add(struct fixture *f)
{
	int r =
	    keyring_slot_add(f->kr, "Ada again", NULL, identity_card(f->ada)->seal_pk, false, NULL);

	return r == -EEXIST ? 0 : r;
}

static const struct act {
	int (*fn)(struct fixture *f);
	uint64_t generation; /* afterwards */
	size_t n_escrows, n_slots;
	unsigned n_writes; /* at least */
} acts[] = {
    {act_rotate, 2, 1, 1, 12},
    {act_escrow_add, 2, 2, 1, 12},
    {act_escrow_remove, 2, 0, 1, 12},
    {act_slot_add, 1, 1, 2, 2},
};
#define N_ACTS (sizeof(acts) / sizeof(acts[0]))

/* Wholly before the act or wholly after it. Returns whether it is after. */
static bool check_act(struct fixture *f, const struct act *a)
{
	struct keyring_escrow_status st[KEYRING_ESCROWS_MAX];
	size_t n_escrows = keyring_escrow_list(f->kr, st);
	bool after = keyring_generation(f->kr) == a->generation && n_escrows == a->n_escrows &&
		     keyring_header(f->kr)->n_slots == a->n_slots;

	if (!after) {
		assert_int_equal(keyring_generation(f->kr), 1);
		assert_int_equal(n_escrows, 1);
		assert_int_equal(keyring_header(f->kr)->n_slots, 1);
	}
	check_keys(f, 0, 0, 0);
	check_tidy_with(f, n_escrows);
	return after;
}

/* Every act with the fault of each kind at each of its writes. At says false when there is no n-th
 * write. */
static void at_every_write(bool (*at)(const struct act *a, enum fault_kind kind, unsigned n),
			   const enum fault_kind kinds[2])
{
	for (size_t i = 0; i < N_ACTS; i++) {
		for (size_t k = 0; k < 2; k++) {
			unsigned n = 0;

			while (at(&acts[i], kinds[k], n))
				n++;
			assert_true(n >= acts[i].n_writes);
		}
	}
}

/* Cut at write n, opened, done again if need be; false when there is no n-th write. */
static bool act_cut_at(const struct act *a, enum fault_kind kind, unsigned n)
{
	struct fixture *f;
	struct keyring_fresh fresh;
	void *state;
	bool reached;
	int r;

	fixture_volume(&state);
	f = state;
	/* Only one slot holds this. */
	keyring_fresh_get(f->kr, &fresh);
	fresh.txn = 7;
	assert_int_equal(keyring_fresh_put(f->kr, &fresh), 0);
	arm(kind, n);
	r = a->fn(f);
	reached = disarm();
	reopen(f);
	assert_true(check_act(f, a) || r < 0);
	keyring_fresh_get(f->kr, &fresh);
	assert_int_equal(fresh.txn, 7);
	if (!check_act(f, a))
		assert_int_equal(a->fn(f), 0);
	assert_true(check_act(f, a));
	reopen(f);
	assert_true(check_act(f, a));
	fixture_end(&state);
	return reached;
}

/*
 * Power goes before, or within, any write of a change of custody: old or new keys open the volume,
 * with every key that was given out and the freshness that was written last.
 */
static void test_power_cut_in_custody(void **state)
{
	static const enum fault_kind kinds[] = {FAULT_CUT, FAULT_TORN};

	(void)state;
	at_every_write(act_cut_at, kinds);
}

/*
 * One write fails, or is said to have failed, and the process goes on: what was given out derives,
 * an id that memory gives a key keeps it, and what the anchor is told is there after opening.
 */
static bool act_fails_once_at(const struct act *a, enum fault_kind kind, unsigned n)
{
	struct fixture *f;
	struct keyring_fresh fresh;
	uint8_t key[KDF_KEY_LEN], again[KDF_KEY_LEN];
	void *state;
	bool reached, derives, put;

	fixture_volume(&state);
	f = state;
	arm(kind, n);
	a->fn(f);
	reached = disarm();
	check_keys(f, 0, 0, 0);
	derives = keyring_file_key(f->kr, KEYRING_LIVE, FIRST_UNUSED, key) == 0;
	keyring_fresh_get(f->kr, &fresh);
	fresh.txn++;
	put = keyring_fresh_put(f->kr, &fresh) == 0;
	assert_true(derives == put);
	reopen(f);
	check_act(f, a);
	keyring_fresh_get(f->kr, &fresh);
	assert_int_equal(fresh.txn, put ? 1 : 0);
	assert_int_equal(keyring_file_key(f->kr, KEYRING_LIVE, FIRST_UNUSED, again), 0);
	if (derives)
		assert_memory_equal(key, again, KDF_KEY_LEN);
	if (!check_act(f, a))
		assert_int_equal(a->fn(f), 0);
	assert_true(check_act(f, a));
	fixture_end(&state);
	return reached;
}

static void test_any_write_of_custody_fails_once(void **state)
{
	static const enum fault_kind kinds[] = {FAULT_ONCE, FAULT_DONE};

	(void)state;
	at_every_write(act_fails_once_at, kinds);
}

/*
 * The new header stands, but its folder could not be synced: until it is opened again nothing is
 * written that only one of the two headers would open, and whichever a power cut leaves does.
 */
static void test_header_in_doubt(void **state)
{
	(void)state;
	for (int reverted = 0; reverted < 2; reverted++) {
		struct fixture *f;
		struct keyring_fresh fresh;
		uint8_t key[KDF_KEY_LEN];
		char order[KEYRING_ORDER_REF_MAX + 1];
		size_t pending;
		void *own;

		fixture_volume(&own);
		f = own;
		copy_tree(f->store, f->saved);
		keyring_fresh_get(f->kr, &fresh);
		/* Two states, one slot of the anchor, then the header. */
		arm(FAULT_DONE, 3);
		assert_int_equal(act_rotate(f), -EIO);
		assert_true(disarm());
		check_keys(f, 0, 0, 0);
		assert_int_equal(keyring_file_key(f->kr, KEYRING_LIVE, FIRST_UNUSED, key),
				 -EKEYREVOKED);
		assert_true(keyring_gone(f->kr, KEYRING_BACKUP, UINT64_MAX, order));
		assert_int_equal(keyring_fresh_put(f->kr, &fresh), -EROFS);
		assert_int_equal(destroy(f, &pending), -EROFS);
		assert_int_equal(keyring_escrow_sync(f->kr, &pending), -EROFS);
		assert_int_equal(act_rotate(f), -EROFS);
		assert_int_equal(act_slot_add(f), -EROFS);
		shut(f);
		if (reverted) {
			char from[128], to[128];

			snprintf(from, sizeof(from), "%s/header", f->saved);
			snprintf(to, sizeof(to), "%s/header", f->store);
			assert_int_equal(rename(from, to), 0);
		}
		reopen(f);
		assert_int_equal(keyring_generation(f->kr), reverted ? 1 : 2);
		check_keys(f, 0, 0, 0);
		check_tidy(f);
		assert_int_equal(keyring_file_key(f->kr, KEYRING_LIVE, FIRST_UNUSED, key), 0);
		assert_int_equal(act_rotate(f), 0);
		reopen(f);
		check_keys(f, 0, 0, 0);
		check_tidy(f);
		fixture_end(&own);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_power_cut_in_custody),
	    cmocka_unit_test(test_any_write_of_custody_fails_once),
	    cmocka_unit_test(test_header_in_doubt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
