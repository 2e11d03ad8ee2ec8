/*
 * Readers of one block that is overwritten and committed again and again: each sees one version,
 * whole, never an older one than before, and no alarm is raised. Slots are freed and used again
 * under them all the time, with and without an open snapshot.
 *
 * COFFER_BLOCK_COMMITS: how often (default 20000; the long form ten million).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/volume_fixture.h"

#define N_READERS 2u
#define WORDS 512u
/* In blocks, not in the inode record, and within a larger file. */
#define OFFSET 8192u
#define SNAPSHOT_EVERY 1000u

struct race {
	struct volume *v;
	uint64_t id;
	atomic_bool stop;
	atomic_ullong n_reads, torn, older;
};

static void *reader_main(void *arg)
{
	struct race *r = arg;
	uint64_t block[WORDS], last = 0;

	while (!r->stop) {
		if (volume_read(r->v, r->id, block, sizeof(block), OFFSET) != sizeof(block)) {
			r->torn++;
			continue;
		}
		for (unsigned i = 1; i < WORDS; i++) {
			if (block[i] != block[0]) {
				r->torn++;
				break;
			}
		}
		r->older += block[0] < last;
		last = block[0];
		r->n_reads++;
	}
	return NULL;
}

static void put(struct race *r, uint64_t version)
{
	uint64_t block[WORDS];

	for (unsigned i = 0; i < WORDS; i++)
		block[i] = version;
	write_at(r->v, r->id, block, sizeof(block), OFFSET);
}

static void write_and_commit(struct race *r, uint64_t n)
{
	struct volume_snapshot s = {0};
	bool open = false;

	for (uint64_t i = 2; i <= n; i++) {
		put(r, i);
		/* Now and then two in a commit: a slot that was never published is freed. */
		if (i % 3)
			assert_int_equal(volume_fsync(r->v, r->id), 0);
		if (i % SNAPSHOT_EVERY == 0) {
			int err =
			    open ? volume_snapshot_close(r->v, &s) : volume_snapshot_open(r->v, &s);
			assert_int_equal(err, 0);
			open = !open;
		}
	}
	if (open)
		assert_int_equal(volume_snapshot_close(r->v, &s), 0);
}

static void one_version_whole(void **state)
{
	struct fixture *fx = *state;
	const char *s = getenv("COFFER_BLOCK_COMMITS");
	uint64_t n = s && *s ? strtoull(s, NULL, 0) : 20000;
	struct race r = {.v = fx->v};
	pthread_t t[N_READERS];

	r.id = make_file(fx->v, VOLUME_ROOT_ID, "block", 'x', 5 * 4096);
	put(&r, 1);
	for (unsigned i = 0; i < N_READERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, reader_main, &r), 0);
	write_and_commit(&r, n);
	r.stop = true;
	for (unsigned i = 0; i < N_READERS; i++)
		pthread_join(t[i], NULL);
	printf("# %llu versions, %llu reads\n", (unsigned long long)n,
	       (unsigned long long)r.n_reads);
	assert_int_equal(r.torn, 0);
	assert_int_equal(r.older, 0);
	assert_int_equal(fx->n_alarms, 0);
	assert_true(r.n_reads > 0);
	check_clean(fx->v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(one_version_whole, fixture_setup, fixture_teardown),
	};

	fixture_in_memory();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
