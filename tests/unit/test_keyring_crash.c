/*
 * core/keyring when power goes, or a medium fails, at any write.
 *
 * The durable layer is interposed at link time (-Wl,--wrap=..): from the n-th write on every one
 * fails, as after a power cut before it; or the n-th write in place is torn first; or the n-th
 * alone fails, or lies, or is done and yet reported as failed, as on a bad medium. For every n the
 * volume is then opened again and must be either wholly before the act or wholly after it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/bytes.h"
#include "tests/unit/keyring_fixture.h"

#define GONE_FIRST 20
#define GONE_LAST 25

/* --- the interposed layer --- */

enum fault_kind { FAULT_CUT, FAULT_TORN, FAULT_ONCE, FAULT_LIE, FAULT_DONE };

static struct {
	bool armed;
	enum fault_kind kind;
	unsigned at;    /* writes before the fault */
	unsigned calls; /* writes so far */
} fault;

static void arm(enum fault_kind kind, unsigned at)
{
	fault.armed = true;
	fault.kind = kind;
	fault.at = at;
	fault.calls = 0;
}

/* Disarms; whether the fault was reached at all. */
static bool disarm(void)
{
	fault.armed = false;
	return fault.calls > fault.at;
}

static bool fails(void)
{
	unsigned call;

	if (!fault.armed)
		return false;
	call = fault.calls++;
	if (fault.kind == FAULT_CUT || fault.kind == FAULT_TORN)
		return call >= fault.at;
	return call == fault.at;
}

int __real_durable_overwrite(int dirfd, const char *name, off_t off, const void *p, size_t len);
int __real_durable_replace(int dirfd, const char *name, const void *p, size_t len, mode_t mode);
int __real_durable_create(int dirfd, const char *name, const void *p, size_t len, mode_t mode);
int __real_durable_unlink(int dirfd, const char *name);
int __real_durable_mkdir(int dirfd, const char *name, mode_t mode);
int __real_durable_pwrite(int fd, const void *p, size_t len, off_t off);
int __wrap_durable_overwrite(int dirfd, const char *name, off_t off, const void *p, size_t len);
int __wrap_durable_replace(int dirfd, const char *name, const void *p, size_t len, mode_t mode);
int __wrap_durable_create(int dirfd, const char *name, const void *p, size_t len, mode_t mode);
int __wrap_durable_unlink(int dirfd, const char *name);
int __wrap_durable_mkdir(int dirfd, const char *name, mode_t mode);
int __wrap_durable_pwrite(int fd, const void *p, size_t len, off_t off);

/* The first 100 bytes land: into the box of an anchor slot, into the head of anything larger. */
static void tear(int dirfd, const char *name, off_t off, const void *p)
{
	CLEANUP_FD int fd = openat(dirfd, name, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, p, 100, off), 100);
}

int __wrap_durable_overwrite(int dirfd, const char *name, off_t off, const void *p, size_t len)
{
	if (!fails())
		return __real_durable_overwrite(dirfd, name, off, p, len);
	if (fault.kind != FAULT_CUT && fault.calls == fault.at + 1)
		tear(dirfd, name, off, p);
	return -EIO;
}

int __wrap_durable_replace(int dirfd, const char *name, const void *p, size_t len, mode_t mode)
{
	CLEANUP_FREE uint8_t *other = NULL;

	if (!fails())
		return __real_durable_replace(dirfd, name, p, len, mode);
	if (fault.kind == FAULT_DONE)
		__real_durable_replace(dirfd, name, p, len, mode);
	if (fault.kind != FAULT_LIE)
		return -EIO;
	/* A medium that says done and keeps something else. */
	other = malloc(len);
	assert_non_null(other);
	memcpy(other, p, len);
	other[len / 2] ^= 1;
	return __real_durable_replace(dirfd, name, other, len, mode);
}

int __wrap_durable_create(int dirfd, const char *name, const void *p, size_t len, mode_t mode)
{
	return fails() ? -EIO : __real_durable_create(dirfd, name, p, len, mode);
}

int __wrap_durable_unlink(int dirfd, const char *name)
{
	return fails() ? -EIO : __real_durable_unlink(dirfd, name);
}

int __wrap_durable_mkdir(int dirfd, const char *name, mode_t mode)
{
	return fails() ? -EIO : __real_durable_mkdir(dirfd, name, mode);
}

int __wrap_durable_pwrite(int fd, const void *p, size_t len, off_t off)
{
	return fails() ? -EIO : __real_durable_pwrite(fd, p, len, off);
}

/* --- what must hold --- */

/* The anchor moved when one of its slots changed into one that opens under the next generation. */
static bool anchor_moved(struct fixture *f)
{
	struct anchor *a = NULL;
	struct anchor_state st;
	bool stale;

	assert_int_equal(anchor_open(f->anchor, f->volume_id, secret_bytes(f->kr->vk), &a, NULL),
			 0);
	assert_int_equal(anchor_get(a, &st, &stale, NULL), 0);
	anchor_close(a);
	return st.generation > 1;
}

/*
 * Both anchor slots hold the same tree key, nothing of another generation is left, and the n
 * escrows are current in both of their slots.
 */
static void check_tidy_with(struct fixture *f, size_t n_escrows)
{
	struct keyring_escrow_status st[KEYRING_ESCROWS_MAX];
	struct escrow_info info;
	struct anchor_state at;
	char name[40];
	bool stale = true;

	assert_int_equal(anchor_get(f->kr->anchor, &at, &stale, NULL), 0);
	assert_false(stale);
	assert_int_equal(n_entries(f->keys), 2);
	snprintf(name, sizeof(name), "state-%d.a", (int)keyring_generation(f->kr));
	assert_true(exists(f->keys, name));
	assert_int_equal(keyring_escrow_list(f->kr, st), n_escrows);
	for (size_t i = 0; i < n_escrows; i++) {
		assert_true(st[i].confirmed);
		assert_int_equal(escrow_info(st[i].dir, f->volume_id, NULL, &info, NULL), 0);
		assert_false(info.other_stale);
	}
}

static void check_tidy(struct fixture *f)
{
	check_tidy_with(f, 1);
}

static int destroy(struct fixture *f, size_t *ret_pending)
{
	return puncture(f, KEYRING_BOTH, GONE_FIRST, GONE_LAST, "D-1", ret_pending);
}

/* Before: everything derives. After: the range is gone. Never anything between, and never back. */
static void check_either(struct fixture *f, bool gone)
{
	if (gone)
		check_keys(f, KEYRING_BOTH, GONE_FIRST, GONE_LAST);
	else
		check_keys(f, 0, 0, 0);
}

/* --- tests --- */

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

/* --- custody --- */

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
	int r = keyring_slot_add(f->kr, "Ada again", NULL, identity_card(f->ada)->seal_pk, false,
				 NULL);

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
	for (size_t i = 0; i < N_ACTS; i++) {
		for (size_t k = 0; k < 2; k++) {
			unsigned n = 0;

			while (act_cut_at(&acts[i], kinds[k], n))
				n++;
			assert_true(n >= acts[i].n_writes);
		}
	}
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
	for (size_t i = 0; i < N_ACTS; i++) {
		for (size_t k = 0; k < 2; k++) {
			unsigned n = 0;

			while (act_fails_once_at(&acts[i], kinds[k], n))
				n++;
			assert_true(n >= acts[i].n_writes);
		}
	}
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
	    cmocka_unit_test(test_power_cut_before_any_write),
	    cmocka_unit_test(test_power_cut_within_any_write),
	    cmocka_unit_test(test_any_write_fails_once),
	    cmocka_unit_test(test_medium_that_lies),
	    cmocka_unit_test(test_failure_then_another_order),
	    cmocka_unit_test(test_power_cut_while_finishing),
	    cmocka_unit_test(test_power_cut_while_creating),
	    cmocka_unit_test(test_power_cut_in_fresh_put),
	    cmocka_unit_test(test_power_cut_in_custody),
	    cmocka_unit_test(test_any_write_of_custody_fails_once),
	    cmocka_unit_test(test_header_in_doubt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
