/*
 * core/anchor: two slots, of which the newest that opens counts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/anchor.h"
#include "core/bytes.h"
#include "core/cleanup.h"

#define SLOT_LEN 4096

struct fixture {
	char parent[64], dir[96], file[128];
	uint8_t id[16], vk[32];
	struct anchor *a;
};

static struct anchor_state some_state(uint64_t generation, uint64_t txn)
{
	struct anchor_state st = {
	    .generation = generation, .txn = txn, .id_floor = 16, .trail_size = 7};

	memset(st.tk, (int)generation, sizeof(st.tk));
	memset(st.root_tag, 0x11, sizeof(st.root_tag));
	memset(st.charter_head, 0x22, sizeof(st.charter_head));
	memset(st.trail_root, 0x33, sizeof(st.trail_root));
	return st;
}

static void reopen(struct fixture *f)
{
	anchor_close(f->a);
	f->a = NULL;
	assert_int_equal(anchor_open(f->dir, f->id, f->vk, &f->a, NULL), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->parent, "/tmp/coffer-anchor-XXXXXX");
	assert_non_null(mkdtemp(f->parent));
	snprintf(f->dir, sizeof(f->dir), "%s/a", f->parent);
	snprintf(f->file, sizeof(f->file), "%s/anchor", f->dir);
	kdf_random(f->id, sizeof(f->id));
	kdf_random(f->vk, sizeof(f->vk));
	assert_int_equal(anchor_create(f->dir, f->id, NULL), 0);
	reopen(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	anchor_close(f->a);
	anchor_destroy(f->dir);
	rmdir(f->dir);
	assert_int_equal(rmdir(f->parent), 0);
	free(f);
	return 0;
}

static void slot_io(struct fixture *f, int slot, uint8_t *buf, bool write)
{
	int fd = open(f->file, O_RDWR);
	off_t off = (off_t)slot * SLOT_LEN;

	assert_true(fd >= 0);
	if (write)
		assert_int_equal(pwrite(fd, buf, SLOT_LEN, off), SLOT_LEN);
	else
		assert_int_equal(pread(fd, buf, SLOT_LEN, off), SLOT_LEN);
	close(fd);
}

static void flip(struct fixture *f, int slot, size_t off)
{
	uint8_t buf[SLOT_LEN];

	slot_io(f, slot, buf, false);
	buf[off] ^= 1;
	slot_io(f, slot, buf, true);
}

static void expect(struct fixture *f, const struct anchor_state *want, bool want_stale)
{
	struct anchor_state got;
	bool stale = !want_stale;

	reopen(f);
	assert_int_equal(anchor_get(f->a, &got, &stale, NULL), 0);
	assert_memory_equal(&got, want, sizeof(got));
	assert_int_equal(stale, want_stale);
}

/* What was put is what comes back; the folder is closed to others and the file has a fixed size. */
static void test_put_and_get(void **state)
{
	struct fixture *f = *state;
	struct anchor_state st = some_state(1, 10);
	struct stat s;

	assert_int_equal(anchor_put_both(f->a, &st), 0);
	expect(f, &st, false);
	for (st.txn = 11; st.txn < 20; st.txn++) {
		assert_int_equal(anchor_put(f->a, &st), 0);
		expect(f, &st, false);
	}
	assert_int_equal(stat(f->dir, &s), 0);
	assert_int_equal(s.st_mode & 0777, 0700);
	assert_int_equal(stat(f->file, &s), 0);
	assert_int_equal(s.st_mode & 0777, 0600);
	assert_int_equal(s.st_size, 2 * SLOT_LEN);
}

/* A routine write spares the newest slot: torn at any byte, the state before it still stands. */
static void test_torn_write_keeps_the_other(void **state)
{
	struct fixture *f = *state;
	struct anchor_state st = some_state(1, 10), before;
	uint8_t now[2][SLOT_LEN], torn[SLOT_LEN];

	assert_int_equal(anchor_put_both(f->a, &st), 0);
	before = st;
	slot_io(f, 0, now[0], false);
	st.txn = 11;
	assert_int_equal(anchor_put(f->a, &st), 0);
	slot_io(f, 0, now[1], false);
	assert_memory_not_equal(now[0], now[1], SLOT_LEN);
	for (size_t n = 33; n < 224; n++) {
		memcpy(torn, now[1], n);
		memcpy(torn + n, now[0] + n, SLOT_LEN - n);
		slot_io(f, 0, torn, true);
		expect(f, &before, true);
	}
	slot_io(f, 0, now[1], true);
	expect(f, &st, false);
}

/* A new tree key leaves no trace of the old one in either slot, and a half done change is told. */
static void test_new_key_goes_over_both(void **state)
{
	struct fixture *f = *state;
	struct anchor_state st = some_state(1, 10), next = some_state(2, 10);
	uint8_t old[2][SLOT_LEN], now[SLOT_LEN];

	assert_int_equal(anchor_put_both(f->a, &st), 0);
	slot_io(f, 0, old[0], false);
	slot_io(f, 1, old[1], false);
	assert_int_equal(anchor_put_both(f->a, &next), 0);
	expect(f, &next, false);
	/* As after a crash between the two: the second slot still as it was. */
	slot_io(f, 1, old[1], true);
	expect(f, &next, true);
	assert_int_equal(anchor_put_both(f->a, &next), 0);
	expect(f, &next, false);
	for (int i = 0; i < 2; i++) {
		slot_io(f, i, now, false);
		assert_memory_not_equal(now + 40, old[0] + 40, 184);
		assert_memory_not_equal(now + 40, old[1] + 40, 184);
	}
}

/* anchor_put may not change the tree key: that is a puncture's business, over both slots. */
static void test_put_refuses_another_key(void **state)
{
	struct fixture *f = *state;
	struct anchor_state st = some_state(1, 10), other = some_state(2, 11);

	assert_int_equal(anchor_put_both(f->a, &st), 0);
	assert_int_equal(anchor_put(f->a, &other), -EINVAL);
	other = some_state(1, 11);
	other.tk[0] ^= 1;
	assert_int_equal(anchor_put(f->a, &other), -EINVAL);
	reopen(f);
	assert_int_equal(anchor_put(f->a, &other), -EINVAL);
	expect(f, &st, false);
}

/* A flipped bit in one slot costs that slot; in both, the anchor is damaged, never half believed.
 */
static void test_flips(void **state)
{
	struct fixture *f = *state;
	struct anchor_state st = some_state(1, 10), got;
	struct diag d = {0};
	bool stale;

	assert_int_equal(anchor_put_both(f->a, &st), 0);
	for (size_t off = 0; off < 224; off++) {
		for (int slot = 0; slot < 2; slot++) {
			flip(f, slot, off);
			expect(f, &st, true);
			flip(f, slot, off);
		}
	}
	flip(f, 0, 100);
	flip(f, 1, 100);
	assert_int_equal(anchor_get(f->a, &got, &stale, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_ANCHOR_DAMAGED);
}

/* A raised sequence does not make an old slot the newest: it is sealed into the box. */
static void test_sequence_is_bound(void **state)
{
	struct fixture *f = *state;
	struct anchor_state st = some_state(1, 10);
	uint8_t buf[SLOT_LEN];

	assert_int_equal(anchor_put_both(f->a, &st), 0);
	st.txn = 11;
	assert_int_equal(anchor_put(f->a, &st), 0);
	slot_io(f, 1, buf, false);
	bytes_put64(buf + 32, 1000);
	slot_io(f, 1, buf, true);
	expect(f, &st, true);
}

/*
 * A change of VK: while the header is not replaced either key opens the anchor, each to its own
 * state, and whichever goes on ends the other.
 */
static void test_rekey(void **state)
{
	struct fixture *f = *state;
	uint8_t old_vk[32], new_vk[32];

	kdf_random(new_vk, sizeof(new_vk));
	memcpy(old_vk, f->vk, sizeof(old_vk));
	for (int newest = 0; newest < 2; newest++) {
		struct anchor_state st = some_state(1, 10), next = some_state(2, 10), got;
		struct anchor *renewed = NULL, *old = NULL;
		bool stale;

		memcpy(f->vk, old_vk, sizeof(old_vk));
		reopen(f);
		assert_int_equal(anchor_put_both(f->a, &st), 0);
		st.txn += 1;
		/* So that each slot is once the newest. */
		for (int i = 0; i <= newest; i++)
			assert_int_equal(anchor_put(f->a, &st), 0);
		assert_int_equal(anchor_rekey(f->a, new_vk, &next, &renewed), 0);
		expect(f, &st, true);
		memcpy(f->vk, new_vk, sizeof(new_vk));
		expect(f, &next, true);
		/* Given up: the old key takes back the slot. */
		if (newest == 0) {
			memcpy(f->vk, old_vk, sizeof(old_vk));
			reopen(f);
			assert_int_equal(anchor_put_both(f->a, &st), 0);
			expect(f, &st, false);
			anchor_close(renewed);
			assert_int_equal(anchor_rekey(f->a, new_vk, &next, &renewed), 0);
			memcpy(f->vk, new_vk, sizeof(new_vk));
		}
		/* Gone through with: the old key opens nothing any more. */
		assert_int_equal(anchor_put_both(renewed, &next), 0);
		expect(f, &next, false);
		next.txn++;
		assert_int_equal(anchor_put(renewed, &next), 0);
		expect(f, &next, false);
		anchor_close(renewed);
		assert_int_equal(anchor_open(f->dir, f->id, old_vk, &old, NULL), 0);
		assert_int_equal(anchor_get(old, &got, &stale, NULL), -EBADMSG);
		anchor_close(old);
	}
}

/* Missing, unwritten, foreign, newer, under another key, cut short: each is told for what it is. */
static void test_what_is_not_an_anchor(void **state)
{
	struct fixture *f = *state;
	struct anchor_state st = some_state(1, 10);
	struct anchor *a = NULL;
	uint8_t other[32];
	struct diag d = {0};
	bool stale;

	assert_int_equal(anchor_get(f->a, &st, &stale, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_ANCHOR_DAMAGED);
	assert_int_equal(anchor_put_both(f->a, &st), 0);
	assert_int_equal(anchor_create(f->dir, f->id, &d), -EEXIST);
	assert_int_equal(d.id, DIAG_STORE_EXISTS);
	expect(f, &st, false);

	memcpy(other, f->id, 16);
	other[0] ^= 1;
	assert_int_equal(anchor_open(f->dir, other, f->vk, &a, &d), -EXDEV);
	memcpy(other, f->vk, 32);
	other[0] ^= 1;
	assert_int_equal(anchor_open(f->dir, f->id, other, &a, NULL), 0);
	assert_int_equal(anchor_get(a, &st, &stale, NULL), -EBADMSG);
	anchor_close(STEAL_PTR(a));

	flip(f, 0, 9);
	flip(f, 1, 9);
	assert_int_equal(anchor_open(f->dir, f->id, f->vk, &a, &d), -EPROTONOSUPPORT);
	assert_int_equal(d.id, DIAG_VERSION);
	assert_int_equal(truncate(f->file, SLOT_LEN), 0);
	assert_int_equal(anchor_open(f->dir, f->id, f->vk, &a, &d), -EUCLEAN);
	assert_int_equal(d.id, DIAG_ANCHOR_DAMAGED);
	assert_int_equal(unlink(f->file), 0);
	assert_int_equal(anchor_open(f->dir, f->id, f->vk, &a, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_ANCHOR_MISSING);
	assert_int_equal(anchor_open("/nonexistent/anchor", f->id, f->vk, &a, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_ANCHOR_MISSING);
	assert_null(a);
}

/* The encoding is a bijection: no field is lost or crossed with another. */
static void test_state_encoding(void **state)
{
	uint8_t in[ANCHOR_STATE_LEN], out[ANCHOR_STATE_LEN];
	struct anchor_state st;

	(void)state;
	kdf_random(in, sizeof(in));
	anchor_state_decode(in, &st);
	anchor_state_encode(&st, out);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(st.generation, bytes_get64(in));
	assert_int_equal(st.trail_size, bytes_get64(in + 104));
}

/* Something can always be said about the medium, and it fits the room given. */
static void test_medium(void **state)
{
	char words[200] = "", few[8];

	(void)state;
	anchor_medium("/proc", words, sizeof(words));
	assert_non_null(strstr(words, "proc"));
	anchor_medium("/nonexistent", words, sizeof(words));
	assert_string_equal(words, "unknown");
	anchor_medium("/tmp", few, sizeof(few));
	assert_true(strlen(few) > 0);
}

#define FIXTURE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    FIXTURE_TEST(test_put_and_get),
	    FIXTURE_TEST(test_torn_write_keeps_the_other),
	    FIXTURE_TEST(test_new_key_goes_over_both),
	    FIXTURE_TEST(test_put_refuses_another_key),
	    FIXTURE_TEST(test_flips),
	    FIXTURE_TEST(test_sequence_is_bound),
	    FIXTURE_TEST(test_rekey),
	    FIXTURE_TEST(test_what_is_not_an_anchor),
	    cmocka_unit_test(test_state_encoding),
	    cmocka_unit_test(test_medium),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
