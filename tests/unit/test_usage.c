/*
 * What files hold is counted right through every change, crash and reclaiming, and the quota holds exactly.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/falloc.h>
#include <pthread.h>

#include "tests/unit/volume_fixture.h"

#define BLOCK ((uint64_t)MAP_BLOCK)

static uint64_t used(struct volume *v)
{
	struct volume_stat st;

	volume_stat(v, &st);
	return st.used_bytes;
}

static void set_size(struct volume *v, uint64_t id, uint64_t size)
{
	struct volume_attr a = {.size = size};

	assert_int_equal(volume_setattr(v, id, VOLUME_SET_SIZE, &a, &a), 0);
}

/* The count follows each change at once, and is what the records say after the next commit. */
static void follows_changes(void **state)
{
	struct fixture *fx = *state;
	struct volume *v = fx->v;
	uint64_t a, b;

	assert_int_equal(used(v), 0);
	a = make_file(v, VOLUME_ROOT_ID, "a", 'a', 1000);
	assert_int_equal(used(v), 1000);
	write_at(v, a, "x", 1, 4094);
	assert_int_equal(used(v), 4095);
	write_at(v, a, "x", 1, 4095);
	assert_int_equal(used(v), BLOCK);
	write_at(v, a, "x", 1, 100 * BLOCK);
	assert_int_equal(used(v), 2 * BLOCK);
	write_at(v, a, "y", 1, 100 * BLOCK);
	assert_int_equal(used(v), 2 * BLOCK);
	check_clean(v);
	set_size(v, a, 1 << 30);
	assert_int_equal(used(v), 2 * BLOCK);
	b = make_file(v, VOLUME_ROOT_ID, "b", 'b', 10 * BLOCK);
	assert_int_equal(used(v), 12 * BLOCK);
	assert_int_equal(volume_fallocate(v, b, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BLOCK, 2 * BLOCK), 0);
	assert_int_equal(used(v), 10 * BLOCK);
	assert_int_equal(volume_copy(v, b, 0, a, 200 * BLOCK, 10 * BLOCK), 10 * BLOCK);
	assert_int_equal(used(v), 18 * BLOCK);
	set_size(v, b, BLOCK);
	assert_int_equal(used(v), 11 * BLOCK);
	fixture_remount(fx);
	v = fx->v;
	assert_int_equal(used(v), 11 * BLOCK);
	check_clean(v);
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "a"), 0);
	assert_int_equal(used(v), BLOCK);
	set_size(v, b, 0);
	assert_int_equal(used(v), 0);
	check_clean(v);
}

/* An unlinked file counts while it is open, and is given up with its last handle. */
static void unlinked_and_open(void **state)
{
	struct fixture *fx = *state;
	uint64_t id = make_file(fx->v, VOLUME_ROOT_ID, "a", 'a', 5 * BLOCK);

	assert_int_equal(volume_open_file(fx->v, id, true), 0);
	assert_int_equal(volume_unlink(fx->v, VOLUME_ROOT_ID, "a"), 0);
	write_at(fx->v, id, "more", 4, 9 * BLOCK);
	assert_int_equal(used(fx->v), 6 * BLOCK);
	assert_int_equal(volume_sync(fx->v), 0);
	assert_int_equal(used(fx->v), 6 * BLOCK);
	volume_release_file(fx->v, id, true);
	assert_int_equal(used(fx->v), 0);
	check_clean(fx->v);
}

static void leave_things_undone(struct volume *v)
{
	uint64_t open = make_file(v, VOLUME_ROOT_ID, "open", 'o', 7 * BLOCK);

	make_file(v, VOLUME_ROOT_ID, "kept", 'k', 3 * BLOCK);
	assert_int_equal(volume_open_file(v, open, true), 0);
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "open"), 0);
	assert_int_equal(volume_set_quota(v, 40 * BLOCK), 0);
	/* None of it is durable: it must not be counted afterwards. */
	make_file(v, VOLUME_ROOT_ID, "lost", 'l', 20 * BLOCK);
	write_at(v, find_id(v, VOLUME_ROOT_ID, "kept"), "x", 1, 30 * BLOCK);
}

static void survives_a_crash(void **state)
{
	struct fixture *fx = *state;
	struct volume_stat st;

	fixture_crash(fx, leave_things_undone);
	fixture_mount(fx);
	volume_stat(fx->v, &st);
	assert_int_equal(st.quota_bytes, 40 * BLOCK);
	for (int i = 0; i < 500 && used(fx->v) != 3 * BLOCK; i++)
		usleep(20000);
	assert_int_equal(used(fx->v), 3 * BLOCK);
	check_clean(fx->v);
}

static ssize_t try_write(struct volume *v, uint64_t id, size_t blocks, uint64_t at)
{
	uint8_t *p = calloc(blocks, BLOCK);
	ssize_t n = volume_write(v, id, p, blocks * BLOCK, at * BLOCK, false);

	free(p);
	return n;
}

/* Not a block more than the quota, and none less; what is there may be overwritten and deleted. */
static void holds_exactly(void **state)
{
	struct fixture *fx = *state;
	struct volume *v = fx->v;
	struct volume_new link = {.mode = S_IFLNK | 0777, .target = "t"};
	uint64_t id = make_file(v, VOLUME_ROOT_ID, "a", 'a', 6 * BLOCK), b = make(v, VOLUME_ROOT_ID, "b", S_IFREG | 0644);
	struct volume_attr a;

	assert_int_equal(volume_set_quota(v, 10 * BLOCK), 0);
	assert_int_equal(try_write(v, id, 5, 6), -EDQUOT);
	assert_int_equal(used(v), 6 * BLOCK);
	assert_int_equal(try_write(v, id, 8, 2), 8 * BLOCK);
	assert_int_equal(used(v), 10 * BLOCK);
	assert_int_equal(try_write(v, id, 10, 0), 10 * BLOCK);
	assert_int_equal(try_write(v, id, 1, 10), -EDQUOT);
	assert_int_equal(try_write(v, id, 11, 0), -EDQUOT);
	assert_int_equal(volume_write(v, b, "x", 1, 0, false), -EDQUOT);
	assert_int_equal(volume_make(v, VOLUME_ROOT_ID, "l", &link, &a), -EDQUOT);
	assert_int_equal(volume_fallocate(v, b, 0, 0, BLOCK), -EDQUOT);
	assert_int_equal(volume_copy(v, id, 0, b, 0, BLOCK), -EDQUOT);
	assert_int_equal(volume_fallocate(v, id, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * BLOCK, BLOCK), 0);
	assert_int_equal(try_write(v, id, 1, 10), BLOCK);
	assert_int_equal(try_write(v, id, 1, 3), -EDQUOT);
	/* Below what is held: nothing more, until less is held. */
	assert_int_equal(volume_set_quota(v, 5 * BLOCK), 0);
	assert_int_equal(try_write(v, id, 1, 3), -EDQUOT);
	assert_int_equal(try_write(v, id, 3, 0), 3 * BLOCK);
	set_size(v, id, 3 * BLOCK);
	assert_int_equal(volume_write(v, b, "x", 1, 0, false), 1);
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "a"), 0);
	assert_int_equal(volume_set_quota(v, 0), 0);
	assert_int_equal(try_write(v, b, 100, 0), 100 * BLOCK);
	check_clean(v);
}

struct writer {
	struct volume *v;
	uint64_t id;
	unsigned written;
};

static void *write_until_full(void *arg)
{
	static const uint8_t blocks[16 * MAP_BLOCK];
	struct writer *w = arg;

	/* Not for ever: a quota that does not hold fails the test, not the machine's disk. */
	while (w->written < 1000 &&
	       volume_write(w->v, w->id, blocks, sizeof(blocks), w->written * sizeof(blocks),
			    false) > 0)
		w->written++;
	return NULL;
}

/* Writers at the same time fill the quota to the last piece that fits, and do not pass it. */
static void holds_against_many(void **state)
{
	struct fixture *fx = *state;
	const uint64_t quota = 16 * BLOCK * 50 + 7;
	struct writer w[4];
	pthread_t t[4];
	unsigned written = 0;

	assert_int_equal(volume_set_quota(fx->v, quota), 0);
	for (int i = 0; i < 4; i++) {
		char name[2] = {(char)('a' + i)};
		w[i] = (struct writer){.v = fx->v, .id = make(fx->v, VOLUME_ROOT_ID, name, S_IFREG | 0644)};
		assert_int_equal(pthread_create(&t[i], NULL, write_until_full, &w[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		written += w[i].written;
	}
	assert_int_equal(written, 50);
	assert_int_equal(used(fx->v), 16 * BLOCK * 50);
	check_clean(fx->v);
}

/* The records of what is destroyed are not read: the whole is counted anew, and agrees. */
static void counted_anew_after_destruction(void **state)
{
	struct fixture *fx = *state;
	uint64_t id = make_file(fx->v, VOLUME_ROOT_ID, "a", 'a', 6 * BLOCK);
	struct volume_destroyed done;
	struct bytes_w lookup_ids = {0};
	struct diag d = {0};
	size_t pending;

	make_file(fx->v, VOLUME_ROOT_ID, "b", 'b', 2 * BLOCK);
	fixture_remount(fx);
	assert_int_equal(keyring_puncture(fx->kr, KEYRING_BOTH, &(struct keyring_range){id, id}, 1, "order", &pending, &d), 0);
	assert_int_equal(volume_destroy(fx->v, &id, 1, true, &done, &lookup_ids), 0);
	free(lookup_ids.buf);
	/* Closed before it is counted: the next open does. */
	fixture_remount(fx);
	make_file(fx->v, VOLUME_ROOT_ID, "c", 'c', 3 * BLOCK);
	for (int i = 0; i < 500 && used(fx->v) != 5 * BLOCK; i++)
		usleep(20000);
	assert_int_equal(used(fx->v), 5 * BLOCK);
	check_clean(fx->v);
}

/* At the limit a small file is judged by what it grows by, not by what is written. */
static void holds_exactly_small(void **state)
{
	struct fixture *fx = *state;
	struct volume *v = fx->v;
	uint64_t id = make_file(v, VOLUME_ROOT_ID, "a", 'a', 1000);

	assert_int_equal(volume_set_quota(v, 1000), 0);
	assert_int_equal(volume_write(v, id, "xy", 2, 998, false), 2);
	assert_int_equal(volume_write(v, id, "xy", 2, 999, false), -EDQUOT);
	assert_int_equal(volume_set_quota(v, 1001), 0);
	assert_int_equal(volume_write(v, id, "xy", 2, 999, false), 2);
	assert_int_equal(used(v), 1001);
	/* Two blocks, one of them for the content that was there. */
	assert_int_equal(volume_set_quota(v, 2 * BLOCK - 1), 0);
	assert_int_equal(volume_write(v, id, "x", 1, 5 * BLOCK, false), -EDQUOT);
	assert_int_equal(volume_set_quota(v, 2 * BLOCK), 0);
	assert_int_equal(volume_write(v, id, "x", 1, 5 * BLOCK, false), 1);
	assert_int_equal(used(v), 2 * BLOCK);
	check_clean(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    MOUNTED(follows_changes),  MOUNTED(unlinked_and_open),
	    MOUNTED(survives_a_crash), MOUNTED(holds_exactly),
	    MOUNTED(holds_against_many), MOUNTED(holds_exactly_small), MOUNTED(counted_anew_after_destruction),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
