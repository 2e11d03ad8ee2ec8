/*
 * core/keyring: slots and escrow places that come and go, and rotation. Power cuts in them are in
 * test_keyring_crash.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/bytes.h"
#include "tests/unit/keyring_fixture.h"

#define FIRST_UNUSED (FIRST_ID + N_IDS)

static struct secret *secret_of(const char *text)
{
	struct secret *s = secret_new(strlen(text));

	assert_non_null(s);
	memcpy(secret_bytes(s), text, strlen(text));
	return s;
}

static int open_with(struct fixture *f, const struct header_unlock *with, struct diag *d)
{
	return keyring_open(f->store, with, 0, &f->kr, d);
}

/* Opens with this, by the slot of that label, and derives every key that was noted. */
static void check_opens(struct fixture *f, const struct header_unlock *with, const char *label)
{
	shut(f);
	assert_int_equal(open_with(f, with, NULL), 0);
	assert_string_equal(keyring_slot_label(f->kr), label);
	check_keys(f, 0, 0, 0);
}

static void check_shut_out(struct fixture *f, const struct header_unlock *with)
{
	struct diag d = {0};

	shut(f);
	assert_int_equal(open_with(f, with, &d), -ENOKEY);
	assert_int_equal(d.id, DIAG_WRONG_SECRET);
	reopen(f);
}

/* --- slots --- */

/* A slot that is added opens, one that is removed does not, in either copy of the header. */
static void test_slots_come_and_go(void **state)
{
	struct fixture *f = *state;
	CLEANUP_SECRET struct secret *pass = secret_of("ten more words"), *weak = secret_of("short");
	CLEANUP_IDENTITY struct identity *ben = identity_new("Ben", "2");
	const struct header_unlock by_pass = {.passphrase = pass}, by_weak = {.passphrase = weak};
	const struct header_unlock by_ben = {.identity = ben};
	const uint8_t *ben_pk = identity_card(ben)->seal_pk;
	struct diag d = {0};

	assert_int_equal(keyring_slot_add(f->kr, "words", &by_pass, NULL, true, NULL), 0);
	assert_int_equal(keyring_slot_add(f->kr, "Ben", NULL, ben_pk, false, NULL), 0);
	assert_int_equal(keyring_header(f->kr)->n_slots, 3);
	assert_int_equal(keyring_slot_add(f->kr, "Ben", NULL, ben_pk, false, &d), -EEXIST);
	assert_int_equal(keyring_slot_add(f->kr, "weak", &by_weak, NULL, true, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_PASS_WEAK);
	assert_int_equal(keyring_generation(f->kr), 1);
	check_opens(f, &by_pass, "words");
	check_opens(f, &by_ben, "Ben");
	assert_int_equal(keyring_slot_remove(f->kr, "nobody", &d), -ENOENT);
	assert_int_equal(keyring_slot_remove(f->kr, "Ben", NULL), 0);
	assert_string_equal(keyring_slot_label(f->kr), "Ben");
	check_shut_out(f, &by_ben);
	/* The other copy of the header does not remember it either. */
	flip_byte(f->store, "header", 100);
	check_shut_out(f, &by_ben);
	check_opens(f, &by_pass, "words");
	assert_int_equal(keyring_slot_remove(f->kr, "words", NULL), 0);
	assert_int_equal(keyring_slot_remove(f->kr, "Ada", &d), -EBUSY);
	assert_int_equal(d.id, DIAG_USAGE);
	reopen(f);
	check_keys(f, 0, 0, 0);
}

/* Nothing of it is done read-only, or inside one's own bracket, where it would wait for itself. */
static void test_refused_where_it_cannot_be(void **state)
{
	struct fixture *f = *state;
	struct keyring_rotation in = {.first_unused = FIRST_UNUSED};
	struct keyring_rotated done;
	char place[128];
	size_t pending;

	snprintf(place, sizeof(place), "%s/second", f->dir);
	for (int read_only = 0; read_only < 2; read_only++) {
		int want = read_only ? -EROFS : -EDEADLK;

		shut(f);
		assert_int_equal(open_flags(f, read_only ? KEYRING_READ_ONLY : 0, NULL), 0);
		keyring_use_begin(f->kr);
		assert_int_equal(keyring_slot_add(f->kr, "x", NULL, (uint8_t[32]){9}, false, NULL),
				 want);
		assert_int_equal(keyring_slot_remove(f->kr, "Ada", NULL), want);
		assert_int_equal(keyring_escrow_add(f->kr, place, &pending, NULL), want);
		assert_int_equal(keyring_escrow_remove(f->kr, f->escrow, false, &in, &done, NULL),
				 want);
		assert_int_equal(keyring_rotate(f->kr, &in, &done, NULL), want);
		keyring_use_end(f->kr);
	}
	assert_false(exists(f->dir, "second"));
	reopen(f);
	assert_int_equal(keyring_generation(f->kr), 1);
	check_keys(f, 0, 0, 0);
}

/* --- rotation --- */

/* What somebody had who copied everything before it: header, states, anchor, escrow. */
static void keep_copies(struct fixture *f, struct fixture *old)
{
	*old = (struct fixture){.ada = f->ada};
	snprintf(old->store, sizeof(old->store), "%s/old-store", f->dir);
	snprintf(old->anchor, sizeof(old->anchor), "%s/old-anchor", f->dir);
	snprintf(old->escrow, sizeof(old->escrow), "%s/old-escrow", f->dir);
	copy_tree(f->store, old->store);
	copy_tree(f->anchor, old->anchor);
	copy_tree(f->escrow, old->escrow);
	memcpy(old->volume_id, f->volume_id, sizeof(old->volume_id));
	memcpy(old->noted, f->noted, sizeof(old->noted));
	memcpy(old->epoch, f->epoch, sizeof(old->epoch));
}

/* The old keys, opened by their own means, derive what was given out, nothing of what follows. */
static void check_old_keys(struct fixture *f, struct fixture *old)
{
	CLEANUP_SECRET struct secret *vk = NULL;
	CLEANUP_FREE struct header *h = NULL;
	CLEANUP_ANCHOR struct anchor *a = NULL;
	CLEANUP_KEYRING_STATE struct keyring_state *st = NULL;
	CLEANUP_FD int fd = open(old->store, O_RDONLY | O_DIRECTORY);
	CLEANUP_FD int keys_fd = openat(fd, KEYRING_KEYS_DIR, O_RDONLY | O_DIRECTORY);
	const struct header_unlock with = {.identity = old->ada};
	static const uint64_t later[] = {FIRST_UNUSED, FIRST_UNUSED + 1, 1000, 1ull << 40, UINT64_MAX};
	struct anchor_state at;
	const char *label;
	unsigned bad;
	bool flag;

	assert_int_equal(header_read(fd, old->store, &h, &flag, NULL), 0);
	assert_int_equal(header_unlock(h, &with, &vk, &label, NULL), 0);
	assert_int_equal(anchor_open(old->anchor, h->volume_id, secret_bytes(vk), &a, NULL), 0);
	assert_int_equal(anchor_get(a, &at, &flag, NULL), 0);
	assert_int_equal(keyring_file_load(keys_fd, h->volume_id, at.generation, at.tk, &st, &bad),
			 0);
	for (int t = 0; t < KEYRING_N_TREES; t++) {
		uint8_t mine[KDF_KEY_LEN], theirs[KDF_KEY_LEN];

		for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
			assert_int_equal(keyring_file_key(f->kr, t, later[i], mine), 0);
			assert_int_equal(keytree_derive(st->trees[t], later[i], theirs), 0);
			assert_memory_not_equal(mine, theirs, KDF_KEY_LEN);
		}
		assert_int_equal(keytree_derive(st->trees[t], FIRST_ID, theirs), 0);
		assert_memory_equal(theirs, old->noted[t][0], KDF_KEY_LEN);
	}
	anchor_close(a);
	a = NULL;
	/* The old volume key opens neither slot of today's anchor, the old tree key no state of today. */
	assert_int_equal(anchor_open(f->anchor, h->volume_id, secret_bytes(vk), &a, NULL), 0);
	assert_int_equal(anchor_get(a, &at, &flag, NULL), -EBADMSG);
	assert_true(keyring_file_load(f->kr->keys_fd, h->volume_id, keyring_generation(f->kr), at.tk,
				      &st, &bad) < 0);
}

static void check_current(struct fixture *f, size_t n_escrows)
{
	struct keyring_escrow_status st[KEYRING_ESCROWS_MAX];
	struct anchor_state at;
	bool stale;

	assert_int_equal(anchor_get(f->kr->anchor, &at, &stale, NULL), 0);
	assert_false(stale);
	assert_int_equal(n_entries(f->keys), 2);
	assert_int_equal(keyring_escrow_list(f->kr, st), n_escrows);
	for (size_t i = 0; i < n_escrows; i++)
		assert_true(st[i].confirmed);
}

/*
 * A rotation keeps every key that was given out, and an old volume key, anchor, state and escrow
 * open nothing that is given out later.
 */
static void test_rotation(void **state)
{
	struct fixture *f = *state, old;
	const struct keyring_rotation in = {.first_unused = FIRST_UNUSED};
	struct keyring_rotated done = {.n_dropped = 9, .n_pending = 9};
	struct keyring_fresh fresh;
	uint8_t key[2][KDF_KEY_LEN];

	keep_copies(f, &old);
	keyring_fresh_get(f->kr, &fresh);
	fresh.txn = 41;
	assert_int_equal(keyring_fresh_put(f->kr, &fresh), 0);
	assert_int_equal(keyring_rotate(f->kr, &in, &done, NULL), 0);
	assert_int_equal(done.n_dropped, 0);
	assert_int_equal(done.n_pending, 0);
	assert_int_equal(keyring_generation(f->kr), 2);
	check_keys(f, 0, 0, 0);
	check_current(f, 1);
	assert_int_equal(keyring_file_key(f->kr, KEYRING_LIVE, FIRST_UNUSED, key[0]), 0);
	fresh.txn++;
	fresh.id_floor = FIRST_UNUSED;
	assert_int_equal(keyring_fresh_put(f->kr, &fresh), 0);
	/* Both copies of the header wrap the new key. */
	flip_byte(f->store, "header", 100);
	reopen(f);
	assert_true(keyring_used_backup(f->kr));
	reopen(f);
	assert_int_equal(keyring_file_key(f->kr, KEYRING_LIVE, FIRST_UNUSED, key[1]), 0);
	assert_memory_equal(key[0], key[1], KDF_KEY_LEN);
	check_keys(f, 0, 0, 0);
	check_current(f, 1);
	check_old_keys(f, &old);
	keyring_fresh_get(f->kr, &fresh);
	assert_int_equal(fresh.txn, 42);
	assert_int_equal(fresh.id_floor, FIRST_UNUSED);
}

/* Ids that may have been given out are never given other keys; a mistake changes nothing. */
static void test_rotation_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const nobody[] = {"nobody"}, *const all[] = {"Ada"};
	const struct keyring_rotation low = {.first_unused = FIRST_UNUSED - 1};
	const struct keyring_rotation unknown = {
	    .first_unused = FIRST_UNUSED, .drop = nobody, .n_drop = 1};
	const struct keyring_rotation none = {
	    .first_unused = FIRST_UNUSED, .drop = all, .n_drop = 1};
	const struct keyring_rotation unsealed = {
	    .first_unused = FIRST_UNUSED, .recipients = identity_card(f->ada)};
	struct keyring_fresh fresh;
	struct keyring_rotated done;
	struct diag d = {0};

	keyring_fresh_get(f->kr, &fresh);
	fresh.id_floor = FIRST_UNUSED;
	assert_int_equal(keyring_fresh_put(f->kr, &fresh), 0);
	assert_int_equal(keyring_rotate(f->kr, &low, &done, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_USAGE);
	assert_int_equal(keyring_rotate(f->kr, &unknown, &done, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_NOT_FOUND);
	assert_int_equal(keyring_rotate(f->kr, &none, &done, &d), -EBUSY);
	assert_int_equal(d.id, DIAG_USAGE);
	assert_int_equal(keyring_rotate(f->kr, &unsealed, &done, &d), -EINVAL);
	assert_int_equal(keyring_generation(f->kr), 1);
	reopen(f);
	check_keys(f, 0, 0, 0);
	check_current(f, 1);
}

/*
 * A member goes: his slot, his place among the recipients, and what his copies could open of the
 * future. Slots whose secret is brought stay under their label, others go and are named.
 */
static void test_rotation_drops_a_member(void **state)
{
	struct fixture *f = *state;
	CLEANUP_SECRET struct secret *kept = secret_of("ten more words");
	CLEANUP_SECRET struct secret *left = secret_of("another phrase");
	CLEANUP_SECRET struct secret *file = secret_of("0123456789abcdef0123456789abcdef");
	CLEANUP_IDENTITY struct identity *ben = identity_new("Ben", "2");
	const struct header_unlock by_kept = {.passphrase = kept}, by_left = {.passphrase = left};
	const struct header_unlock by_file = {.keyfile = file}, by_ben = {.identity = ben};
	const struct header_unlock secrets[] = {by_file, by_kept};
	static const char *const drop[] = {"Ben"};
	const struct keyring_rotation in = {
	    .first_unused = FIRST_UNUSED,
	    .secrets = secrets,
	    .n_secrets = 2,
	    .drop = drop,
	    .n_drop = 1,
	    .recipients = identity_card(f->ada),
	    .n_recipients = 1,
	};
	struct identity_card two[2] = {*identity_card(f->ada), *identity_card(ben)};
	const struct keyring_rotation both = {
	    .first_unused = FIRST_UNUSED, .recipients = two, .n_recipients = 2};
	struct keyring_rotated done;
	struct escrow_content c;
	struct diag d = {0};

	assert_int_equal(keyring_rotate(f->kr, &both, &done, NULL), 0);
	assert_int_equal(escrow_open(f->escrow, f->volume_id, ben, &c, NULL), 0);
	escrow_content_wipe(&c);
	assert_int_equal(keyring_slot_add(f->kr, "words", &by_kept, NULL, true, NULL), 0);
	assert_int_equal(keyring_slot_add(f->kr, "phrase", &by_left, NULL, true, NULL), 0);
	assert_int_equal(keyring_slot_add(f->kr, "file", &by_file, NULL, true, NULL), 0);
	assert_int_equal(keyring_slot_add(f->kr, "Ben", &by_ben, NULL, true, NULL), 0);
	check_opens(f, &by_ben, "Ben");
	assert_int_equal(keyring_rotate(f->kr, &in, &done, NULL), 0);
	assert_int_equal(done.n_dropped, 2);
	assert_string_equal(done.dropped[0], "phrase");
	assert_string_equal(done.dropped[1], "Ben");
	assert_int_equal(keyring_header(f->kr)->n_slots, 3);
	check_shut_out(f, &by_left);
	check_shut_out(f, &by_ben);
	check_opens(f, &by_kept, "words");
	check_opens(f, &by_file, "file");
	assert_int_equal(keyring_header(f->kr)->slots[1].mem, KDF_PASS_MEM_MIN);
	assert_int_equal(escrow_open(f->escrow, f->volume_id, ben, &c, &d), -ENOKEY);
	assert_int_equal(escrow_open(f->escrow, f->volume_id, f->ada, &c, NULL), 0);
	escrow_content_wipe(&c);
}

/* What was destroyed before a rotation stays destroyed, and what is given out after it can be. */
static void test_rotation_and_destruction(void **state)
{
	struct fixture *f = *state;
	const struct keyring_rotation in = {.first_unused = FIRST_UNUSED};
	struct keyring_rotated done;
	char order[KEYRING_ORDER_REF_MAX + 1];
	uint8_t key[KDF_KEY_LEN];
	size_t pending;

	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	assert_int_equal(keyring_rotate(f->kr, &in, &done, NULL), 0);
	check_keys(f, KEYRING_BOTH, 20, 25);
	assert_int_equal(puncture(f, KEYRING_BOTH, 50, 50, "D-2", &pending), 0);
	assert_int_equal(pending, 0);
	reopen(f);
	check_keys(f, KEYRING_BOTH, 20, 25);
	assert_true(keyring_gone(f->kr, KEYRING_LIVE, 25, order));
	assert_string_equal(order, "D-1");
	assert_int_equal(keyring_file_key(f->kr, KEYRING_BACKUP, 50, key), -EKEYREVOKED);
	assert_int_equal(keyring_generation(f->kr), 4);
}

/* The volume can be recovered from the escrow as it is after a rotation. */
static void test_recover_after_rotation(void **state)
{
	struct fixture *f = *state;
	CLEANUP_SECRET struct secret *pass = secret_of("a new passphrase");
	const struct header_unlock with = {.passphrase = pass};
	const struct keyring_rotation in = {.first_unused = FIRST_UNUSED};
	struct keyring_rotated done;
	struct fixture old;
	struct diag d = {0};

	keep_copies(f, &old);
	assert_int_equal(keyring_rotate(f->kr, &in, &done, NULL), 0);
	shut(f);
	remove_tree(f->anchor);
	/* The escrow of before does not undo it while the store tells. */
	assert_int_equal(
	    keyring_recover(f->store, f->anchor, old.escrow, f->ada, pass, true, &d), -ESTALE);
	assert_int_equal(
	    keyring_recover(f->store, f->anchor, f->escrow, f->ada, pass, true, NULL), 0);
	assert_int_equal(open_with(f, &with, NULL), 0);
	check_keys(f, 0, 0, 0);
	check_current(f, 1);
	assert_int_equal(keyring_header(f->kr)->n_slots, 2);
}

/* --- escrow places --- */

/* A place that is added is registered, written, and overwritten by a destruction like the first. */
static void test_escrow_added(void **state)
{
	struct fixture *f = *state;
	struct keyring_escrow_status st[KEYRING_ESCROWS_MAX];
	char place[128], inside[128];
	struct diag d = {0};
	size_t pending = 9;

	snprintf(place, sizeof(place), "%s/second", f->dir);
	snprintf(inside, sizeof(inside), "%s/escrow", f->store);
	assert_int_equal(keyring_escrow_add(f->kr, inside, &pending, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_ESCROW);
	assert_int_equal(keyring_escrow_add(f->kr, place, &pending, NULL), 0);
	assert_int_equal(pending, 0);
	assert_int_equal(keyring_escrow_add(f->kr, place, &pending, &d), -EEXIST);
	assert_int_equal(d.id, DIAG_EXISTS);
	check_current(f, 2);
	check_keys(f, 0, 0, 0);
	reopen(f);
	check_current(f, 2);
	assert_int_equal(keyring_escrow_list(f->kr, st), 2);
	assert_string_equal(st[1].dir, place);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	assert_int_equal(pending, 0);
	check_current(f, 2);
	/* And it is a whole one. */
	CLEANUP_SECRET struct secret *pass = secret_of("a new passphrase");
	const struct header_unlock with = {.passphrase = pass};
	shut(f);
	remove_tree(f->store);
	remove_tree(f->anchor);
	remove_tree(f->escrow);
	assert_int_equal(mkdir(f->store, 0700), 0);
	assert_int_equal(keyring_recover(f->store, f->anchor, place, f->ada, pass, true, NULL), 0);
	assert_int_equal(open_with(f, &with, NULL), 0);
	check_keys(f, KEYRING_BOTH, 20, 25);
}

/*
 * A place that is given up is overwritten and removed; a copy taken of it before opens nothing that
 * is given out later.
 */
static void test_escrow_removed(void **state)
{
	struct fixture *f = *state, old;
	const struct keyring_rotation in = {.first_unused = FIRST_UNUSED};
	struct keyring_rotated done;
	struct diag d = {0};
	struct escrow_content c;
	char place[128];
	size_t pending;

	snprintf(place, sizeof(place), "%s/second", f->dir);
	assert_int_equal(keyring_escrow_add(f->kr, place, &pending, NULL), 0);
	keep_copies(f, &old);
	assert_int_equal(keyring_escrow_remove(f->kr, "/nowhere", true, &in, &done, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_NOT_FOUND);
	assert_int_equal(keyring_escrow_remove(f->kr, f->escrow, false, &in, &done, NULL), 0);
	assert_int_equal(n_entries(f->escrow), 0);
	check_current(f, 1);
	check_old_keys(f, &old);
	assert_int_equal(escrow_open(old.escrow, f->volume_id, f->ada, &c, NULL), 0);
	assert_memory_not_equal(c.vk, secret_bytes(f->kr->vk), KDF_KEY_LEN);
	assert_memory_not_equal(c.anchor.tk, f->kr->at->tk, KDF_KEY_LEN);
	escrow_content_wipe(&c);
	reopen(f);
	check_keys(f, 0, 0, 0);
	check_current(f, 1);
}

/* What cannot be overwritten is not given up, unless somebody says that it is lost. */
static void test_escrow_lost(void **state)
{
	struct fixture *f = *state;
	const struct keyring_rotation in = {.first_unused = FIRST_UNUSED};
	struct keyring_rotated done;
	struct diag d = {0};

	remove_tree(f->escrow);
	assert_int_equal(keyring_escrow_remove(f->kr, f->escrow, false, &in, &done, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_ESCROW);
	assert_int_equal(keyring_generation(f->kr), 1);
	assert_int_equal(keyring_escrow_remove(f->kr, f->escrow, true, &in, &done, NULL), 0);
	assert_int_equal(keyring_generation(f->kr), 2);
	assert_int_equal(done.n_pending, 0);
	reopen(f);
	check_keys(f, 0, 0, 0);
	check_current(f, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VOLUME_TEST(test_slots_come_and_go),
	    VOLUME_TEST(test_refused_where_it_cannot_be),
	    VOLUME_TEST(test_rotation),
	    VOLUME_TEST(test_rotation_refused),
	    VOLUME_TEST(test_rotation_drops_a_member),
	    VOLUME_TEST(test_rotation_and_destruction),
	    VOLUME_TEST(test_recover_after_rotation),
	    VOLUME_TEST(test_escrow_added),
	    VOLUME_TEST(test_escrow_removed),
	    VOLUME_TEST(test_escrow_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
