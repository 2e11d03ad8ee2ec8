/*
 * core/keyring: escrows that are away, anchors that are old or lost, and recovery.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/bytes.h"
#include "tests/unit/keyring_fixture.h"

/* An escrow out of reach leaves the puncture done and the escrow pending, until it is back. */
static void test_escrow_pending(void **state)
{
	struct fixture *f = *state;
	struct keyring_escrow_status st[KEYRING_ESCROWS_MAX];
	size_t pending = 9;

	assert_int_equal(keyring_escrow_list(f->kr, st), 1);
	assert_true(st[0].confirmed);
	assert_string_equal(st[0].dir, f->escrow);
	assert_int_equal(rename(f->escrow, f->saved), 0);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	assert_int_equal(pending, 1);
	assert_int_equal(keyring_escrow_list(f->kr, st), 1);
	assert_false(st[0].confirmed);
	assert_int_equal(st[0].generation, 0);
	assert_true(strlen(st[0].why) > 0);
	/* An empty mount point in its place is not the escrow. */
	assert_int_equal(mkdir(f->escrow, 0700), 0);
	assert_int_equal(keyring_escrow_sync(f->kr, &pending), 0);
	assert_int_equal(pending, 1);
	assert_int_equal(n_entries(f->escrow), 0);
	assert_int_equal(rmdir(f->escrow), 0);
	assert_int_equal(rename(f->saved, f->escrow), 0);
	assert_int_equal(keyring_escrow_list(f->kr, st), 1);
	assert_int_equal(st[0].generation, 1);
	assert_false(st[0].confirmed);
	assert_int_equal(keyring_escrow_sync(f->kr, &pending), 0);
	assert_int_equal(pending, 0);
	assert_int_equal(keyring_escrow_list(f->kr, st), 1);
	assert_true(st[0].confirmed);
}

/* Opening catches up with an escrow that was away, without being asked. */
static void test_open_catches_up(void **state)
{
	struct fixture *f = *state;
	struct keyring_escrow_status st[KEYRING_ESCROWS_MAX];
	size_t pending;

	assert_int_equal(rename(f->escrow, f->saved), 0);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	assert_int_equal(rename(f->saved, f->escrow), 0);
	reopen(f);
	assert_int_equal(keyring_escrow_list(f->kr, st), 1);
	assert_true(st[0].confirmed);
}

/* An anchor and store put back to before a destruction are refused: the escrow remembers. */
static void test_rolled_back_anchor(void **state)
{
	struct fixture *f = *state;
	char store[128], anchor[128];
	struct diag d = {0};
	size_t pending;

	snprintf(store, sizeof(store), "%s-store", f->saved);
	snprintf(anchor, sizeof(anchor), "%s-anchor", f->saved);
	copy_tree(f->store, store);
	copy_tree(f->anchor, anchor);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	shut(f);
	replace_tree(store, f->store);
	replace_tree(anchor, f->anchor);
	assert_int_equal(open_flags(f, 0, &d), -ESTALE);
	assert_int_equal(d.id, DIAG_ROLLED_BACK);
	/* Nor to read: what was destroyed would be there to be read. */
	d.id = DIAG_NONE;
	assert_int_equal(open_flags(f, KEYRING_READ_ONLY, &d), -ESTALE);
	assert_int_equal(d.id, DIAG_ROLLED_BACK);
}

static int recover(struct fixture *f, const char *store, const struct identity *id, struct diag *d)
{
	CLEANUP_SECRET struct secret *pass = secret_new(16);

	memcpy(secret_bytes(pass), "a new passphrase", 16);
	return keyring_recover(store, f->anchor, f->escrow, id, pass, true, d);
}

static void open_recovered(struct fixture *f, const char *store)
{
	CLEANUP_SECRET struct secret *pass = secret_new(16);
	const struct header_unlock with = {.passphrase = pass};

	memcpy(secret_bytes(pass), "a new passphrase", 16);
	assert_int_equal(keyring_open(store, &with, 0, &f->kr, NULL), 0);
	assert_string_equal(keyring_slot_label(f->kr), "recovery");
}

/*
 * Bare metal: with the escrow and a recipient alone the same keys come back, and what was destroyed
 * does not.
 */
static void test_recover_bare_metal(void **state)
{
	struct fixture *f = *state;
	CLEANUP_IDENTITY struct identity *eve = identity_new("Eve", "6");
	struct header before = *keyring_header(f->kr);
	struct keyring_fresh fresh = {.txn = 5, .id_floor = 99}, got;
	struct diag d = {0};
	size_t pending;

	assert_int_equal(keyring_fresh_put(f->kr, &fresh), 0);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	shut(f);
	remove_tree(f->store);
	remove_tree(f->anchor);
	assert_int_equal(mkdir(f->store, 0700), 0);
	assert_int_equal(recover(f, f->store, eve, &d), -ENOKEY);
	assert_int_equal(d.id, DIAG_WRONG_SECRET);
	assert_false(exists(f->store, "header"));
	assert_int_equal(recover(f, f->store, f->ada, NULL), 0);
	open_recovered(f, f->store);
	check_keys(f, KEYRING_BOTH, 20, 25);
	keyring_fresh_get(f->kr, &got);
	assert_int_equal(got.txn, 5);
	assert_int_equal(got.id_floor, 99);
	assert_memory_equal(keyring_header(f->kr)->volume_id, before.volume_id, 16);
	assert_memory_equal(keyring_header(f->kr)->sign_pk, before.sign_pk, 32);
	assert_memory_equal(keyring_header(f->kr)->charter_first, before.charter_first, 32);
	assert_int_equal(keyring_header(f->kr)->created, before.created);
	assert_int_equal(keyring_header(f->kr)->suite, before.suite);
	assert_string_equal(keyring_header(f->kr)->name, before.name);
}

/* A lost anchor alone: the header keeps its slots, and recovery may be repeated. */
static void test_recover_anchor(void **state)
{
	struct fixture *f = *state;

	shut(f);
	remove_tree(f->anchor);
	assert_int_equal(recover(f, f->store, f->ada, NULL), 0);
	open_recovered(f, f->store);
	assert_int_equal(keyring_header(f->kr)->n_slots, 2);
	check_keys(f, 0, 0, 0);
	shut(f);
	assert_int_equal(recover(f, f->store, f->ada, NULL), 0);
	reopen(f);
	assert_int_equal(keyring_header(f->kr)->n_slots, 2);
	assert_string_equal(keyring_slot_label(f->kr), "Ada");
	check_keys(f, 0, 0, 0);
}

/* An escrow from before a destruction does not undo it while store or anchor still tell. */
static void test_recover_refuses_old_escrow(void **state)
{
	struct fixture *f = *state;
	char empty[128];
	struct diag d = {0};
	size_t pending;

	copy_tree(f->escrow, f->saved);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	shut(f);
	replace_tree(f->saved, f->escrow);
	snprintf(empty, sizeof(empty), "%s-empty", f->saved);
	assert_int_equal(mkdir(empty, 0700), 0);
	assert_int_equal(recover(f, empty, f->ada, &d), -ESTALE);
	assert_int_equal(d.id, DIAG_ESCROW);
	remove_tree(f->anchor);
	assert_int_equal(recover(f, f->store, f->ada, &d), -ESTALE);
	assert_int_equal(d.id, DIAG_ESCROW);
}

/* Store and anchor are lost; the escrow as it was saved brings the volume back, which is then open. */
static void lose_and_recover(struct fixture *f)
{
	shut(f);
	remove_tree(f->anchor);
	remove_tree(f->store);
	assert_int_equal(mkdir(f->store, 0700), 0);
	replace_tree(f->saved, f->escrow);
	assert_int_equal(recover(f, f->store, f->ada, NULL), 0);
	open_recovered(f, f->store);
}

/*
 * Recovered from an older escrow, a volume may reach a generation that another escrow already holds
 * under another tree key. That one is not current, whatever its number says, and is overwritten.
 */
static void test_same_generation_of_another_descent(void **state)
{
	struct fixture *f = *state;
	struct keyring_escrow_status st[KEYRING_ESCROWS_MAX];
	char newer[128];
	size_t pending;

	snprintf(newer, sizeof(newer), "%s-newer", f->saved);
	copy_tree(f->escrow, f->saved);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	copy_tree(f->escrow, newer);
	lose_and_recover(f);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	replace_tree(newer, f->escrow);
	assert_int_equal(keyring_escrow_list(f->kr, st), 1);
	assert_int_equal(st[0].generation, keyring_generation(f->kr));
	assert_false(st[0].confirmed);
	shut(f);
	open_recovered(f, f->store);
	assert_int_equal(keyring_escrow_list(f->kr, st), 1);
	assert_true(st[0].confirmed);
	check_keys(f, KEYRING_BOTH, 20, 25);
}

/* Bytes of one chunk of the escrow file: of slot 0 or slot 1, whose state fits one. */
#define CHUNK ((size_t)256 << 10)

static void escrow_slot(struct fixture *f, const char *dir, int slot, uint8_t *buf, bool write)
{
	CLEANUP_FD int fd = -1;
	char hex[33], path[256];

	bytes_hex(hex, f->volume_id, 16);
	snprintf(path, sizeof(path), "%s/%s.escrow", dir, hex);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	if (write)
		assert_int_equal(durable_pwrite(fd, buf, CHUNK, slot * (off_t)CHUNK), 0);
	else
		assert_int_equal(durable_pread(fd, buf, CHUNK, slot * (off_t)CHUNK), 0);
}

/*
 * Power went between the escrow's two slots: the older one still holds the tree key from before the
 * destruction. That is not called confirmed, and opening, syncing or the same order again
 * overwrites it.
 */
static void test_half_rewritten_escrow(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE uint8_t *old = malloc(CHUNK), *now = malloc(CHUNK);
	struct keyring_escrow_status st[KEYRING_ESCROWS_MAX];
	size_t pending;

	copy_tree(f->escrow, f->saved);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
	for (int slot = 0; slot < 2; slot++) {
		for (int how = 0; how < 3; how++) {
			escrow_slot(f, f->saved, slot, old, false);
			escrow_slot(f, f->escrow, slot, old, true);
			assert_int_equal(keyring_escrow_list(f->kr, st), 1);
			assert_int_equal(st[0].generation, 2);
			assert_false(st[0].confirmed);
			assert_true(strlen(st[0].why) > 0);
			if (how == 0)
				reopen(f);
			else if (how == 1)
				assert_int_equal(keyring_escrow_sync(f->kr, &pending), 0);
			else
				assert_int_equal(
				    puncture(f, KEYRING_BOTH, 20, 25, "D-1", &pending), 0);
			escrow_slot(f, f->escrow, slot, now, false);
			assert_memory_not_equal(now, old, CHUNK);
			assert_int_equal(keyring_escrow_list(f->kr, st), 1);
			assert_true(st[0].confirmed);
		}
	}
}

/*
 * Two lines of descent have reached one generation. The escrow of the other line would bring back
 * what this one destroyed: refused as long as anchor, store or an escrow of this line tell.
 */
static void test_recover_refuses_other_descent(void **state)
{
	struct fixture *f = *state;
	char other[128];
	struct diag d = {0};
	size_t pending;

	snprintf(other, sizeof(other), "%s-other", f->saved);
	copy_tree(f->escrow, f->saved);
	assert_int_equal(puncture(f, KEYRING_BOTH, 30, 30, "D-1", &pending), 0);
	copy_tree(f->escrow, other);
	lose_and_recover(f);
	assert_int_equal(puncture(f, KEYRING_BOTH, 20, 25, "D-2", &pending), 0);
	shut(f);
	replace_tree(other, f->escrow);
	assert_int_equal(recover(f, f->store, f->ada, &d), -ESTALE);
	assert_int_equal(d.id, DIAG_ESCROW);
	open_recovered(f, f->store);
	check_keys(f, KEYRING_BOTH, 20, 25);
	shut(f);
	/* Without the anchor the store's own state has to open. */
	replace_tree(other, f->escrow);
	remove_tree(f->anchor);
	assert_int_equal(recover(f, f->store, f->ada, &d), -ESTALE);
	assert_int_equal(d.id, DIAG_ESCROW);
}

/* Key states that are merely damaged are recovered: the anchor tells that the escrow is its own. */
static void test_recover_damaged_states(void **state)
{
	struct fixture *f = *state;

	shut(f);
	flip_byte(f->keys, "state-1.a", 100);
	flip_byte(f->keys, "state-1.b", 100);
	assert_true(open_flags(f, 0, NULL) < 0);
	assert_int_equal(recover(f, f->store, f->ada, NULL), 0);
	reopen(f);
	check_keys(f, 0, 0, 0);
}

/* Whoever knows a recipient's card can seal an escrow to it, but not sign it as the volume. */
static void test_recover_refuses_forged_escrow(void **state)
{
	struct fixture *f = *state;
	struct fixture forged = {.ada = f->ada};
	struct diag d = {0};
	struct header before = *keyring_header(f->kr);

	snprintf(forged.store, sizeof(forged.store), "%s/forged", f->dir);
	snprintf(forged.anchor, sizeof(forged.anchor), "%s/forged-a", f->dir);
	snprintf(forged.escrow, sizeof(forged.escrow), "%s/forged-e", f->dir);
	assert_int_equal(mkdir(forged.store, 0700), 0);
	memcpy(forged.volume_id, f->volume_id, sizeof(forged.volume_id));
	kdf_random(forged.sign_seed, sizeof(forged.sign_seed));
	assert_int_equal(create(&forged, NULL), 0);
	shut(f);
	replace_tree(forged.escrow, f->escrow);
	remove_tree(f->anchor);
	assert_int_equal(recover(f, f->store, f->ada, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_ESCROW);
	CLEANUP_FREE struct header *after = NULL;
	bool used_backup;
	CLEANUP_FD int fd = open(f->store, O_RDONLY | O_DIRECTORY);
	assert_int_equal(header_read(fd, f->store, &after, &used_backup, NULL), 0);
	assert_memory_equal(after->sign_pk, before.sign_pk, 32);
	assert_memory_equal(after->vk_commit, before.vk_commit, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VOLUME_TEST(test_escrow_pending),
	    VOLUME_TEST(test_open_catches_up),
	    VOLUME_TEST(test_rolled_back_anchor),
	    VOLUME_TEST(test_recover_bare_metal),
	    VOLUME_TEST(test_recover_anchor),
	    VOLUME_TEST(test_recover_refuses_old_escrow),
	    VOLUME_TEST(test_same_generation_of_another_descent),
	    VOLUME_TEST(test_half_rewritten_escrow),
	    VOLUME_TEST(test_recover_refuses_other_descent),
	    VOLUME_TEST(test_recover_damaged_states),
	    VOLUME_TEST(test_recover_refuses_forged_escrow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
