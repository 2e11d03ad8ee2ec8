/*
 * The trail on bad days: neither a power cut nor a failing medium nor many threads lose what was
 * acknowledged, or leave a trail that does not open.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "core/trail_internal.h"
#include "tests/unit/trail_fixture.h"

/* --- power cuts --- */

/*
 * Wherever a power cut ends the tail, the trail opens with every whole entry before it and goes
 * on.
 */
static void reopens_after_every_prefix(void **state)
{
	struct fixture *fx = *state;
	uint64_t whole = 4;
	struct taken tail;
	size_t ends[8];

	append_numbers(fx, 0, 4);
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	for (int i = 0; i < 3; i++) {
		append_numbers(fx, 4 + (uint64_t)i, 5 + (uint64_t)i);
		tail = take(fx, "tail");
		ends[i] = tail.len;
		free(tail.buf);
	}
	tail = take(fx, "tail");
	keep(fx, "crashed");
	for (size_t cut = 0; cut <= tail.len; cut++) {
		put_kept(fx, "crashed");
		put(fx, &tail, tail.buf, cut);
		if (whole < 7 && cut == ends[whole - 4])
			whole++;
		assert_sound(fx, 4, whole - 4);
		assert_int_equal(reopen(fx), 0);
		assert_int_equal(read_numbers(fx, 0), whole);
		append_numbers(fx, whole, whole + 1);
		assert_int_equal(read_numbers(fx, whole), whole + 1);
	}
	assert_int_equal(whole, 7);
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	assert_sound(fx, 8, 0);
	free(tail.buf);
}

/*
 * A page of the unsynced end that never reached the medium is no damage, even when a later page
 * did.
 */
static void unsynced_hole_is_cut(void **state)
{
	struct fixture *fx = *state;
	struct trail_event ev = numbered(2);

	append_numbers(fx, 0, 2);
	assert_int_equal(trail_append(fx->t, &ev, true), 0);
	struct taken synced = take(fx, "tail");
	append_numbers(fx, 3, 6);
	struct taken tail = take(fx, "tail");
	keep(fx, "crashed");
	put_kept(fx, "crashed");
	memset(tail.buf + synced.len, 0, 100);
	put(fx, &tail, tail.buf, tail.len);
	assert_sound(fx, 0, 3);
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(read_numbers(fx, 0), 3);
	append_numbers(fx, 3, 10);
	assert_int_equal(read_numbers(fx, 0), 10);
	free(synced.buf);
	free(tail.buf);
}

/* After a cut between the checkpoint and the emptying of the tail, no entry is there twice. */
static void cut_before_tail_is_emptied(void **state)
{
	struct fixture *fx = *state;
	struct stat st;

	append_numbers(fx, 0, 5);
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	append_numbers(fx, 5, 300);
	struct taken tail = take(fx, "tail");
	struct taken left = take(fx, "tile/0/000.p/5");
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	keep(fx, "crashed");
	put_kept(fx, "crashed");
	put(fx, &tail, tail.buf, tail.len);
	mkdirat(fx->store_fd, "trail/tile/0/000.p", 0700);
	put_back(fx, &left);
	assert_sound(fx, 300, 0);
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(read_numbers(fx, 0), 300);
	/* and the interrupted clean-up was finished */
	assert_int_equal(fstatat(fx->store_fd, "trail/tile/0/000.p", &st, 0), -1);
	append_numbers(fx, 300, 305);
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(read_numbers(fx, 0), 305);
	assert_sound(fx, 305, 0);
	free(tail.buf);
}

/* Entries appended while a checkpoint was written outlive a cut before the tail was renewed. */
static void cut_with_newer_entries_in_the_tail(void **state)
{
	struct fixture *fx = *state;

	append_numbers(fx, 0, 3);
	keep(fx, "early");
	append_numbers(fx, 3, 5);
	struct taken tail = take(fx, "tail");
	put_kept(fx, "early");
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	keep(fx, "crashed");
	put_kept(fx, "crashed");
	put_back(fx, &tail);
	assert_sound(fx, 3, 2);
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(read_numbers(fx, 0), 5);
}

/*
 * Tiles of a checkpoint that was never signed do no harm, even when the entries that follow are
 * others.
 */
static void cut_before_the_checkpoint(void **state)
{
	struct fixture *fx = *state;

	append_numbers(fx, 0, 5);
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	keep(fx, "crashed");
	append_numbers(fx, 5, 300);
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	keep(fx, "later");
	/*
	 * all files of the later state, but the checkpoint, the partial files and the tail of the
	 * earlier one
	 */
	put_kept(fx, "later");
	int fd = openat(fx->store_fd, "crashed", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	copy_tree(fd, fx->store_fd, "trail");
	close(fd);
	assert_sound(fx, 5, 0);
	assert_int_equal(reopen(fx), 0);
	append_numbers(fx, 5, 280);
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	assert_sound(fx, 280, 0);
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(read_numbers(fx, 0), 280);
}

/* --- failing media --- */

/* Puts another file behind the trail's tail descriptor. */
static void tail_becomes(struct fixture *fx, const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0 && fx->t->tail_fd >= 0);
	assert_int_equal(dup3(fd, fx->t->tail_fd, O_CLOEXEC), fx->t->tail_fd);
	close(fd);
}

/*
 * A full disk fails the append that met it and no other: nothing acknowledged is lost, nothing
 * refused is there.
 */
static void full_disk_fails_one_append(void **state)
{
	struct fixture *fx = *state;
	struct trail_event refused = {.time_ns = 1};
	char path[96];

	append_numbers(fx, 0, 3);
	tail_becomes(fx, "/dev/full");
	assert_int_equal(trail_append(fx->t, &refused, false), -ENOSPC);
	assert_int_equal(trail_append(fx->t, &refused, true), -ENOSPC);
	assert_int_equal(read_numbers(fx, 0), 3);
	snprintf(path, sizeof(path), "%s/trail/tail", fx->store);
	tail_becomes(fx, path);
	append_numbers(fx, 3, 6);
	keep(fx, "crashed");
	put_kept(fx, "crashed");
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(read_numbers(fx, 0), 6);
}

/*
 * After a failed sync the kernel may have dropped its pages: all of the tail is written again
 * before anything is promised.
 */
static void failed_sync_rewrites_the_tail(void **state)
{
	struct fixture *fx = *state;
	struct trail_event refused = {.time_ns = 1}, next;

	append_numbers(fx, 0, 3);
	tail_becomes(fx, "/dev/null"); /* takes every write, cannot sync */
	append_numbers(fx, 3, 4);
	assert_int_not_equal(trail_append(fx->t, &refused, true), 0);
	assert_int_equal(read_numbers(fx, 0), 4);
	next = numbered(4);
	assert_int_equal(trail_append(fx->t, &next, true), 0);
	keep(fx, "crashed");
	put_kept(fx, "crashed");
	assert_sound(fx, 0, 5);
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(read_numbers(fx, 0), 5);
}

/* A checkpoint that cannot be written leaves the old one, loses no entry, and succeeds later. */
static void failed_checkpoint_is_retried(void **state)
{
	struct fixture *fx = *state;
	struct trail_head head;

	append_numbers(fx, 0, 5);
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	append_numbers(fx, 5, 300);
	/* a folder where a tile wants to be */
	assert_int_equal(mkdirat(fx->store_fd, "trail/tile/0/001.p", 0700), 0);
	assert_int_equal(mkdirat(fx->store_fd, "trail/tile/0/001.p/44", 0700), 0);
	assert_int_not_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	trail_head_get(fx->t, &head);
	assert_int_equal(head.size, 5);
	assert_sound(fx, 5, 295);
	assert_int_equal(read_numbers(fx, 0), 300);
	append_numbers(fx, 300, 301);
	assert_int_equal(unlinkat(fx->store_fd, "trail/tile/0/001.p/44", AT_REMOVEDIR), 0);
	assert_int_equal(trail_checkpoint(fx->t, &head, NULL), 0);
	assert_int_equal(head.size, 301);
	assert_sound(fx, 301, 0);
	assert_int_equal(read_numbers(fx, 0), 301);
}

/* --- threads --- */

#define N_THREADS 4
#define N_EACH 300

static atomic_int n_done;

static void *append_some(void *arg)
{
	void *failed = NULL;
	struct fixture *fx = arg;
	struct trail_event ev = {.time_ns = 1};

	for (int i = 0; i < N_EACH && !failed; i++) {
		if (trail_append(fx->t, &ev, false) != 0 ||
		    (i % 50 == 49 && trail_tick(fx->t) != 0) ||
		    (i % 10 == 9 && trail_checkpoint(fx->t, NULL, NULL) != 0))
			failed = arg;
	}
	n_done++;
	return failed;
}

static int count(uint64_t index, const struct trail_event *ev, void *arg)
{
	(void)ev;
	assert_int_equal(index, (*(uint64_t *)arg)++);
	return 0;
}

/*
 * Appends, checkpoints, reads and offline checks at once: no entry is lost, and no check sees
 * damage that is none.
 */
static void threads_and_verification_at_once(void **state)
{
	struct fixture *fx = *state;
	pthread_t thread[N_THREADS];
	struct trail_verdict v;
	uint64_t n;
	void *failed;

	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, append_some, fx), 0);
	do {
		v = verify(fx, NULL, 0);
		if (v.damaged)
			fail_msg("entry %llu: %s", (unsigned long long)v.first_wrong, v.why);
		n = 0;
		assert_int_equal(trail_read(fx->t, 0, count, &n, &fx->d), 0);
	} while (n_done < N_THREADS);
	for (int i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(thread[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	assert_sound(fx, N_THREADS * N_EACH, 0);
}

#define TRAIL_TEST(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TRAIL_TEST(reopens_after_every_prefix),
	    TRAIL_TEST(unsynced_hole_is_cut),
	    TRAIL_TEST(cut_before_tail_is_emptied),
	    TRAIL_TEST(cut_with_newer_entries_in_the_tail),
	    TRAIL_TEST(cut_before_the_checkpoint),
	    TRAIL_TEST(full_disk_fails_one_append),
	    TRAIL_TEST(failed_sync_rewrites_the_tail),
	    TRAIL_TEST(failed_checkpoint_is_retried),
	    TRAIL_TEST(threads_and_verification_at_once),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
