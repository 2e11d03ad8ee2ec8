/*
 * core/keyring: opening, what is destroyed and what is not, and what must be refused.
 * Escrows and recovery are in test_keyring_recover.c, power cuts and failing media in
 * test_keyring_crash.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>

#include "core/bytes.h"
#include "tests/unit/keyring_fixture.h"

/* --- making and opening --- */

/*
 * What was made is what opens, as often as it is opened; a second init finds it and touches
 * nothing.
 */
static void test_create_and_open(void **state)
{
	struct fixture *f = *state;
	struct diag d = {0};
	struct keyring_fresh fresh;

	assert_string_equal(keyring_header(f->kr)->name, "land registry");
	assert_string_equal(keyring_header(f->kr)->anchor, f->anchor);
	assert_memory_equal(keyring_volume_id(f->kr), f->volume_id, 16);
	assert_memory_equal(keyring_sign_seed(f->kr), f->sign_seed, 32);
	assert_ptr_equal(keyring_suite(f->kr), suite_best());
	assert_string_equal(keyring_slot_label(f->kr), "Ada");
	assert_false(keyring_used_backup(f->kr));
	assert_int_equal(keyring_generation(f->kr), 1);
	keyring_fresh_get(f->kr, &fresh);
	assert_int_equal(fresh.id_floor, FIRST_ID);
	assert_memory_equal(fresh.charter_head, f->charter, 32);
	assert_int_equal(create(f, &d), -EEXIST);
	assert_int_equal(d.id, DIAG_STORE_EXISTS);
	reopen(f);
	check_keys(f, 0, 0, 0);
}

/* Keys of different ids, trees and epochs have nothing to do with each other. */
static void test_keys_are_apart(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 1; i < N_IDS; i++)
		assert_memory_not_equal(f->noted[0][i], f->noted[0][i - 1], KDF_KEY_LEN);
	for (size_t i = 0; i < N_IDS; i++)
		assert_memory_not_equal(f->noted[0][i], f->noted[1][i], KDF_KEY_LEN);
	assert_memory_not_equal(f->epoch[0], f->epoch[1], KDF_KEY_LEN);
	assert_memory_not_equal(f->epoch[1], f->epoch[2], KDF_KEY_LEN);
}

/* The cache never answers for another id or tree, however many ids pass through it. */
static void test_cache_under_pressure(void **state)
{
	struct fixture *f = *state;
	uint8_t key[KDF_KEY_LEN];

	for (uint64_t id = 0; id < 20000; id++)
		assert_int_equal(keyring_file_key(f->kr, id % 2, id * 512, key), 0);
	check_keys(f, 0, 0, 0);
}

/*
 * An init that cannot succeed leaves nothing that looks like a volume, and nothing in the way of
 * the next.
 */
static void test_create_refusals(void **state)
{
	struct fixture *f = *state;
	char inside[128];
	const char *const bad_escrows[] = {inside};
	CLEANUP_SECRET struct secret *weak = secret_new(5);
	struct keyring_init in = {.store = f->store,
				  .anchor = f->anchor,
				  .name = "land registry",
				  .suite = suite_best(),
				  .charter_first = f->charter,
				  .volume_id = f->volume_id,
				  .sign_seed = f->sign_seed};
	struct diag d = {0};

	assert_int_equal(keyring_create(&in, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_USAGE);
	in.passphrase = weak;
	in.cheap_passphrase = true;
	assert_int_equal(keyring_create(&in, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_PASS_WEAK);
	in.passphrase = NULL;
	in.slot_cards = identity_card(f->ada);
	in.n_slot_cards = 1;
	snprintf(inside, sizeof(inside), "%s/escrow", f->store);
	in.escrows = bad_escrows;
	in.n_escrows = 1;
	assert_int_equal(keyring_create(&in, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_USAGE);
	in.recipients = identity_card(f->ada);
	in.n_recipients = 1;
	assert_int_equal(keyring_create(&in, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_ESCROW);
	in.n_escrows = 0;
	in.name = "bad\nname";
	assert_int_equal(keyring_create(&in, &d), -EINVAL);
	assert_false(exists(f->store, "header"));
	assert_false(exists(f->anchor, "anchor"));
	assert_int_equal(create(f, NULL), 0);
	reopen(f);
}

/* A passphrase slot opens the same keys, and only with its passphrase. */
static void test_passphrase_slot(void **state)
{
	struct fixture *f = *state;
	CLEANUP_SECRET struct secret *pass = secret_new(20), *wrong = secret_new(20);
	const struct header_unlock with = {.passphrase = pass}, other = {.passphrase = wrong};
	struct keyring_init in = {.store = f->store,
				  .anchor = f->anchor,
				  .name = "land registry",
				  .suite = suite_best(),
				  .charter_first = f->charter,
				  .volume_id = f->volume_id,
				  .sign_seed = f->sign_seed,
				  .passphrase = pass,
				  .cheap_passphrase = true};
	struct diag d = {0};

	memcpy(secret_bytes(pass), "twenty bytes of pass", 20);
	memcpy(secret_bytes(wrong), "twenty bytes of past", 20);
	assert_int_equal(keyring_create(&in, NULL), 0);
	assert_int_equal(keyring_open(f->store, &other, 0, &f->kr, &d), -ENOKEY);
	assert_int_equal(d.id, DIAG_WRONG_SECRET);
	assert_null(f->kr);
	assert_int_equal(keyring_open(f->store, &with, 0, &f->kr, NULL), 0);
	assert_string_equal(keyring_slot_label(f->kr), "passphrase");
}

/* --- puncture --- */

/*
 * What is destroyed stays destroyed over a reopening, with its order; everything else keeps its
 * keys.
 */
static void test_puncture(void **state)
{
	struct fixture *f = *state;
	char order[KEYRING_ORDER_REF_MAX + 1];
	size_t pending = 9;

	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	assert_int_equal(pending, 0);
	check_keys(f, KEYRING_BOTH, 20, 25);
	assert_int_equal(keyring_generation(f->kr), 2);
	reopen(f);
	check_keys(f, KEYRING_BOTH, 20, 25);
	assert_true(keyring_gone(f->kr, KEYRING_BACKUP, 22, order));
	assert_string_equal(order, "D-1");
	assert_false(keyring_gone(f->kr, KEYRING_LIVE, 19, order));
	assert_string_equal(order, "");
	assert_int_equal(n_entries(f->keys), 2);
	assert_true(exists(f->keys, "state-2.a"));
	assert_true(exists(f->keys, "state-2.b"));
}

/*
 * Keeping the backups touches the live tree alone; a later order may take the rest and does not
 * rewrite history.
 */
static void test_live_only_then_both(void **state)
{
	struct fixture *f = *state;
	char order[KEYRING_ORDER_REF_MAX + 1];
	size_t pending;

	assert_int_equal(puncture(f, KEYRING_MASK(KEYRING_LIVE), 20, 25, "D-1", &pending), 0);
	check_keys(f, KEYRING_MASK(KEYRING_LIVE), 20, 25);
	assert_int_equal(puncture(f, KEYRING_BOTH, 18, 22, "D-2", &pending), 0);
	reopen(f);
	assert_true(keyring_gone(f->kr, KEYRING_LIVE, 18, order));
	assert_string_equal(order, "D-2");
	assert_true(keyring_gone(f->kr, KEYRING_LIVE, 22, order));
	assert_string_equal(order, "D-1");
	assert_true(keyring_gone(f->kr, KEYRING_BACKUP, 22, order));
	assert_string_equal(order, "D-2");
	assert_false(keyring_gone(f->kr, KEYRING_BACKUP, 23, order));
}

/* The same order again changes nothing, not even the generation. */
static void test_puncture_is_idempotent(void **state)
{
	struct fixture *f = *state;
	size_t pending;

	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	assert_int_equal(puncture(f, KEYRING_BOTH, 21, 24, "D-9", &pending), 0);
	assert_int_equal(keyring_generation(f->kr), 2);
	assert_int_equal(keyring_puncture(f->kr, KEYRING_BOTH, NULL, 0, "D-9", &pending, NULL), 0);
	assert_int_equal(keyring_generation(f->kr), 2);
	check_keys(f, KEYRING_BOTH, 20, 25);
}

/* Nonsense is refused before anything changes. */
static void test_puncture_refusals(void **state)
{
	struct fixture *f = *state;
	size_t pending;

	assert_int_equal(puncture(f, 0, 20, 25, "D-1", &pending), -EINVAL);
	assert_int_equal(puncture(f, 8, 20, 25, "D-1", &pending), -EINVAL);
	assert_int_equal(puncture(f, KEYRING_BOTH, 25, 20, "D-1", &pending), -EINVAL);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "", &pending), -EINVAL);
	assert_int_equal(
	    puncture(f, KEYRING_BOTH, 20, 25, "an order number beyond all limits", &pending),
	    -EINVAL);
	keyring_use_begin(f->kr);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), -EDEADLK);
	assert_int_equal(keyring_escrow_sync(f->kr, &pending), -EDEADLK);
	keyring_use_end(f->kr);
	assert_int_equal(keyring_generation(f->kr), 1);
	check_keys(f, 0, 0, 0);
}

/*
 * Whoever kept every file from before, the volume key and the new anchor opens none of the old
 * states: the tree key that they are sealed under is nowhere.
 */
static void test_old_state_is_useless(void **state)
{
	struct fixture *f = *state;
	struct keyring_state *old = NULL;
	unsigned bad;
	size_t pending;
	struct diag d = {0};
	char from[256], to[256];

	copy_tree(f->keys, f->saved);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	copy_tree(f->saved, f->keys);
	assert_int_equal(
	    keyring_file_load(f->kr->keys_fd, f->volume_id, 1, f->kr->at->tk, &old, &bad),
	    -EBADMSG);
	assert_null(old);
	/* Laid beside the new one, they are thrown away; the destroyed stays destroyed. */
	reopen(f);
	check_keys(f, KEYRING_BOTH, 20, 25);
	assert_false(exists(f->keys, "state-1.a"));
	assert_false(exists(f->keys, "state-1.b"));
	/* In the place of the new one, they are no state at all. */
	shut(f);
	for (int c = 'a'; c <= 'b'; c++) {
		snprintf(from, sizeof(from), "%s/state-1.%c", f->saved, c);
		snprintf(to, sizeof(to), "%s/state-2.%c", f->keys, c);
		assert_int_equal(rename(from, to), 0);
	}
	assert_int_equal(open_flags(f, 0, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_KEYSTATE);
}

/* --- damage --- */

/* One copy of header and state may be damaged: the other serves, and is made two again. */
static void test_one_copy_damaged(void **state)
{
	struct fixture *f = *state;

	shut(f);
	flip_byte(f->store, "header", 60);
	flip_byte(f->keys, "state-1.a", 100);
	reopen(f);
	assert_true(keyring_used_backup(f->kr));
	check_keys(f, 0, 0, 0);
	shut(f);
	flip_byte(f->store, "header.bak", 60);
	flip_byte(f->keys, "state-1.b", 100);
	reopen(f);
	assert_false(keyring_used_backup(f->kr));
	check_keys(f, 0, 0, 0);
}

/* Both copies damaged is an integrity error, named for what is damaged. */
static void test_both_copies_damaged(void **state)
{
	struct fixture *f = *state;
	struct diag d = {0};

	shut(f);
	copy_tree(f->store, f->saved);
	flip_byte(f->keys, "state-1.a", 100);
	flip_byte(f->keys, "state-1.b", 200);
	assert_int_equal(open_flags(f, 0, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_KEYSTATE);
	replace_tree(f->saved, f->store);
	flip_byte(f->store, "header", 60);
	flip_byte(f->store, "header.bak", 61);
	assert_true(open_flags(f, 0, &d) < 0);
	assert_int_equal(d.id, DIAG_HEADER_DAMAGED);
}

/* A torn anchor slot costs nothing, a lost anchor is told, and a wrong identity is a wrong secret.
 */
static void test_anchor_and_secret(void **state)
{
	struct fixture *f = *state;
	CLEANUP_IDENTITY struct identity *eve = identity_new("Eve", "6");
	const struct header_unlock with = {.identity = eve};
	struct diag d = {0};

	shut(f);
	flip_byte(f->anchor, "anchor", 100);
	reopen(f);
	shut(f);
	flip_byte(f->anchor, "anchor", 4096 + 100);
	reopen(f);
	check_keys(f, 0, 0, 0);
	shut(f);
	assert_int_equal(keyring_open(f->store, &with, 0, &f->kr, &d), -ENOKEY);
	assert_int_equal(d.id, DIAG_WRONG_SECRET);
	remove_tree(f->anchor);
	assert_int_equal(open_flags(f, 0, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_ANCHOR_MISSING);
	assert_int_equal(keyring_open("/nonexistent", &with, 0, &f->kr, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_NO_VOLUME);
}

/* A header that somebody else signed, with our slots in it, is not this volume's header. */
static void test_substituted_header(void **state)
{
	struct fixture *f = *state;
	struct header h = *keyring_header(f->kr);
	CLEANUP_FD int fd = open(f->store, O_RDONLY | O_DIRECTORY);
	uint8_t seed[32];
	struct diag d = {0};

	kdf_random(seed, sizeof(seed));
	identity_sign_pk_from_seed(seed, h.sign_pk);
	assert_int_equal(header_write(fd, &h, seed, NULL), 0);
	shut(f);
	assert_int_equal(open_flags(f, 0, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_HEADER_DAMAGED);
}

/* Beside a serving process nothing is written: no repair, no puncture, no anchor. */
static void test_read_only(void **state)
{
	struct fixture *f = *state;
	struct keyring_fresh fresh;
	size_t pending;

	shut(f);
	flip_byte(f->store, "header", 60);
	flip_byte(f->anchor, "anchor", 100);
	assert_int_equal(open_flags(f, KEYRING_READ_ONLY, NULL), 0);
	check_keys(f, 0, 0, 0);
	keyring_fresh_get(f->kr, &fresh);
	assert_int_equal(keyring_fresh_put(f->kr, &fresh), -EROFS);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), -EROFS);
	assert_int_equal(keyring_escrow_sync(f->kr, &pending), -EROFS);
	shut(f);
	assert_int_equal(open_flags(f, KEYRING_READ_ONLY, NULL), 0);
	assert_true(keyring_used_backup(f->kr));
}

/* --- freshness --- */

/* What was put is there after reopening and after a puncture, and never goes back. */
static void test_fresh(void **state)
{
	struct fixture *f = *state;
	struct keyring_fresh a = {.txn = 100, .id_floor = 50, .trail_size = 7}, b, got;
	size_t pending;

	memset(a.root_tag, 1, sizeof(a.root_tag));
	memset(a.charter_head, 2, sizeof(a.charter_head));
	memset(a.trail_root, 3, sizeof(a.trail_root));
	assert_int_equal(keyring_fresh_put(f->kr, &a), 0);
	for (int i = 0; i < 3; i++) {
		b = a;
		*(i == 0 ? &b.txn : i == 1 ? &b.id_floor : &b.trail_size) -= 1;
		assert_int_equal(keyring_fresh_put(f->kr, &b), -EINVAL);
	}
	reopen(f);
	keyring_fresh_get(f->kr, &got);
	assert_memory_equal(&got, &a, sizeof(a));
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	reopen(f);
	keyring_fresh_get(f->kr, &got);
	assert_memory_equal(&got, &a, sizeof(a));
	assert_int_equal(keyring_fresh_put(f->kr, &a), 0);
}

/* A lost trail takes its head out of the anchor, durably, and nothing else. */
static void test_trail_lost(void **state)
{
	struct fixture *f = *state;
	struct keyring_fresh a = {.txn = 100, .id_floor = 50, .trail_size = 7}, got;

	memset(a.charter_head, 2, sizeof(a.charter_head));
	memset(a.trail_root, 3, sizeof(a.trail_root));
	assert_int_equal(keyring_fresh_put(f->kr, &a), 0);
	assert_int_equal(keyring_trail_lost(f->kr), 0);
	reopen(f);
	a.trail_size = 0;
	memset(a.trail_root, 0, sizeof(a.trail_root));
	keyring_fresh_get(f->kr, &got);
	assert_memory_equal(&got, &a, sizeof(a));
}

/* --- threads --- */

struct puncturer {
	struct fixture *f;
	int result;
	size_t pending;
};

static void *puncture_thread(void *arg)
{
	struct puncturer *p = arg;

	p->result = puncture(p->f, KEYRING_BOTH, 20, 25, "D-1", &p->pending);
	return NULL;
}

/*
 * A puncture waits for the brackets that are open, new ones wait for it, and a thread inside one
 * may go on: nested brackets and keys of the old tree, until it leaves.
 */
static void test_brackets(void **state)
{
	struct fixture *f = *state;
	struct puncturer p = {.f = f};
	pthread_t thread;

	keyring_use_begin(f->kr);
	assert_int_equal(pthread_create(&thread, NULL, puncture_thread, &p), 0);
	/*
	 * Writers go first, so a refused try means that the puncture has taken its place in the
	 * queue.
	 */
	while (pthread_rwlock_tryrdlock(&f->kr->epoch) == 0) {
		pthread_rwlock_unlock(&f->kr->epoch);
		sched_yield();
	}
	keyring_use_begin(f->kr);
	check_keys(f, 0, 0, 0);
	keyring_use_end(f->kr);
	check_keys(f, 0, 0, 0);
	keyring_use_end(f->kr);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(p.result, 0);
	check_keys(f, KEYRING_BOTH, 20, 25);
	keyring_use_begin(f->kr);
	check_keys(f, KEYRING_BOTH, 20, 25);
	keyring_use_end(f->kr);
}

/* --- the state's encoding --- */

/*
 * A state cut short at any length, or with one byte more, is refused; whole, it comes back the
 * same.
 */
static void test_state_encoding(void **state)
{
	struct fixture *f = *state;
	struct keyring_state *st = NULL;
	uint8_t *buf, *again;
	size_t len, len2, pending;

	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	assert_int_equal(keyring_state_encode(f->kr->state, &buf, &len), 0);
	for (size_t n = 0; n < len; n++) {
		assert_int_equal(keyring_state_decode(buf, n, &st), -EUCLEAN);
		assert_null(st);
	}
	assert_int_equal(keyring_state_decode(buf, len, &st), 0);
	assert_int_equal(keyring_state_encode(st, &again, &len2), 0);
	assert_int_equal(len, len2);
	assert_memory_equal(buf, again, len);
	keyring_state_free(st);
	bytes_put16(buf, 2);
	assert_int_equal(keyring_state_decode(buf, len, &st), -EPROTONOSUPPORT);
	secret_slab_free(buf);
	secret_slab_free(again);
}

/*
 * The list of what is gone: disjoint and sorted whatever comes, adjoining ranges joined, the first
 * order kept.
 */
static void test_gone_list(void **state)
{
	struct fixture *f = *state;
	CLEANUP_KEYRING_STATE struct keyring_state *st = keyring_state_clone(f->kr->state);
	const struct keyring_gone_list *l = &st->gone[0];
	static const struct {
		uint64_t first, last;
		const char *order;
	} adds[] = {{10, 20, "a"},
		    {30, 40, "b"},
		    {5, 50, "c"},
		    {21, 22, "d"},
		    {51, 51, "c"},
		    {0, UINT64_MAX, "e"},
		    {UINT64_MAX, UINT64_MAX, "f"}};
	static const struct {
		uint64_t id;
		const char *order;
	} finds[] = {{0, "e"},  {4, "e"},  {5, "c"},  {9, "c"},         {10, "a"},
		     {20, "a"}, {21, "c"}, {29, "c"}, {30, "b"},        {40, "b"},
		     {41, "c"}, {51, "c"}, {52, "e"}, {UINT64_MAX, "e"}};

	for (size_t i = 0; i < sizeof(adds) / sizeof(adds[0]); i++)
		assert_int_equal(
		    keyring_state_add_gone(st, 0, adds[i].first, adds[i].last, adds[i].order), 0);
	for (size_t i = 0; i < sizeof(finds) / sizeof(finds[0]); i++)
		assert_string_equal(keyring_state_find_gone(st, 0, finds[i].id)->order,
				    finds[i].order);
	for (size_t i = 1; i < l->n; i++)
		assert_true(l->v[i].first == l->v[i - 1].last + 1);
	assert_int_equal(l->n, 7);
	assert_null(keyring_state_find_gone(st, 1, 10));
}
#define FOLDERS_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_folders, fixture_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VOLUME_TEST(test_create_and_open),
	    VOLUME_TEST(test_keys_are_apart),
	    VOLUME_TEST(test_cache_under_pressure),
	    FOLDERS_TEST(test_create_refusals),
	    FOLDERS_TEST(test_passphrase_slot),
	    VOLUME_TEST(test_puncture),
	    VOLUME_TEST(test_live_only_then_both),
	    VOLUME_TEST(test_puncture_is_idempotent),
	    VOLUME_TEST(test_puncture_refusals),
	    VOLUME_TEST(test_old_state_is_useless),
	    VOLUME_TEST(test_one_copy_damaged),
	    VOLUME_TEST(test_both_copies_damaged),
	    VOLUME_TEST(test_anchor_and_secret),
	    VOLUME_TEST(test_substituted_header),
	    VOLUME_TEST(test_read_only),
	    VOLUME_TEST(test_fresh),
	    VOLUME_TEST(test_trail_lost),
	    VOLUME_TEST(test_brackets),
	    VOLUME_TEST(test_state_encoding),
	    VOLUME_TEST(test_gone_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
