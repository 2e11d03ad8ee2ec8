/*
 * What holds while several threads are in the same file: readers see whole blocks that somebody
 * wrote and never older ones than they have seen, whatever is overwritten, committed, cut or kept
 * by a snapshot meanwhile; and after a crash every committed block opens.
 *
 * Every block is filled with a stamp (its number, a version that only grows), so that a torn, old
 * or swapped block shows. Run under -Db_sanitize=thread as well.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/data_fixture.h"

#define N_BLOCKS 512u
#define ROUNDS 300u
#define STAMPS (MAP_BLOCK / sizeof(struct stamp))

struct stamp {
	uint64_t block, version;
};

struct shared {
	struct fx *f;
	/* The version that was written last, before and after the call: a read that began after
	 * done and ended before begun saw something between the two. */
	_Atomic uint64_t begun[N_BLOCKS], done[N_BLOCKS];
	atomic_bool stop;
	_Atomic unsigned n_wrong, n_failed, n_reads;
};

static void fill(uint8_t *p, uint64_t block, uint64_t version)
{
	struct stamp s = {block, version};

	for (size_t i = 0; i < STAMPS; i++)
		memcpy(p + i * sizeof(s), &s, sizeof(s));
}

/* Of one block, or UINT64_MAX when it is not whole. A block of zeros is a hole: version 0. */
static uint64_t version_of(const uint8_t *p, uint64_t block)
{
	static const uint8_t zeros[MAP_BLOCK];
	struct stamp s;

	if (!memcmp(p, zeros, MAP_BLOCK))
		return 0;
	memcpy(&s, p, sizeof(s));
	for (size_t i = 0; i < STAMPS; i++) {
		if (memcmp(p + i * sizeof(s), &s, sizeof(s)))
			return UINT64_MAX;
	}
	return s.block == block ? s.version : UINT64_MAX;
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Blocks [first, first + n) with the version after the newest; one writer a block at a time. */
static void write_range(struct shared *s, uint64_t first, size_t n, uint8_t *buf)
{
	uint64_t version = s->done[first] + 1;

	for (size_t i = 0; i < n; i++) {
		fill(buf + i * MAP_BLOCK, first + i, version);
		s->begun[first + i] = version;
	}
	pthread_mutex_lock(&s->f->v.lock);
	int r = data_write(&s->f->v, &s->f->ino, buf, n * MAP_BLOCK, first * MAP_BLOCK);
	pthread_mutex_unlock(&s->f->v.lock);
	s->n_failed += r != 0;
	for (size_t i = 0; i < n; i++)
		s->done[first + i] = version;
}

static void check_range(struct shared *s, uint64_t first, size_t n, uint8_t *buf)
{
	uint64_t before[256];

	for (size_t i = 0; i < n; i++)
		before[i] = s->done[first + i];
	pthread_mutex_lock(&s->f->v.lock);
	ssize_t r = data_read(&s->f->v, &s->f->ino, buf, n * MAP_BLOCK, first * MAP_BLOCK);
	pthread_mutex_unlock(&s->f->v.lock);
	s->n_failed += r < 0;
	for (size_t i = 0; r > 0 && i < n; i++) {
		uint64_t version = version_of(buf + i * MAP_BLOCK, first + i);

		s->n_wrong += version < before[i] || version > s->begun[first + i];
	}
	s->n_reads++;
}

static void *reader(void *arg)
{
	struct shared *s = arg;
	uint8_t *buf = aligned_alloc(MAP_BLOCK, 256 * MAP_BLOCK);
	uint64_t seed = (uint64_t)(uintptr_t)&seed | 1;

	while (!s->stop) {
		size_t n = 1 + next_random(&seed) % 256;

		check_range(s, next_random(&seed) % (N_BLOCKS - n), n, buf);
	}
	free(buf);
	return NULL;
}

struct writer {
	struct shared *s;
	uint64_t first, n_blocks; /* its own part */
	size_t max;
};

/* Sizes from a block to several map groups: in place, fresh, and past the page cache. */
static void *writer(void *arg)
{
	struct writer *w = arg;
	uint8_t *buf = aligned_alloc(MAP_BLOCK, w->max * MAP_BLOCK);
	uint64_t seed = w->first * 77 + 1;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = w->first + next_random(&seed) % (w->n_blocks / w->max) * w->max;

		write_range(w->s, at, w->max, buf);
	}
	free(buf);
	return NULL;
}

/* Commits and crashes cannot be undone, so what a snapshot keeps is checked against what it was. */
static void commit_once(struct shared *s)
{
	pthread_mutex_lock(&s->f->v.lock);
	fx_commit(s->f);
	pthread_mutex_unlock(&s->f->v.lock);
}

static void begin(struct shared *s)
{
	uint8_t *buf = aligned_alloc(MAP_BLOCK, (size_t)N_BLOCKS * MAP_BLOCK);

	*s = (struct shared){.f = fx_new()};
	/* The threads take the lock for themselves. */
	pthread_mutex_unlock(&s->f->v.lock);
	write_range(s, 0, N_BLOCKS, buf);
	commit_once(s);
	free(buf);
}

static void end(struct shared *s)
{
	pthread_mutex_lock(&s->f->v.lock);
	fx_free(s->f);
}

static void assert_all_right(struct shared *s)
{
	assert_int_equal(s->n_failed, 0);
	assert_int_equal(s->n_wrong, 0);
	assert_int_equal(fx_alarms, 0);
	assert_true(s->n_reads > 0);
}

/* Two readers, three writers of disjoint parts, commits all the time. */
static void run(struct shared *s, void (*between)(struct shared *s, unsigned round))
{
	struct writer part[3] = {
	    {s, 0, 192, 1}, {s, 192, 160, 16}, {s, 352, 160, 80}};
	pthread_t r[2], w[3];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&r[i], NULL, reader, s), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&w[i], NULL, writer, &part[i]), 0);
	for (unsigned i = 0; i < 40; i++) {
		commit_once(s);
		if (between)
			between(s, i);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(w[i], NULL);
	s->stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(r[i], NULL);
}

static void move_some(struct shared *s, unsigned round)
{
	(void)round;
	pthread_mutex_lock(&s->f->v.lock);
	s->n_failed += data_rewrite_some(&s->f->v, &s->f->ino) < 0;
	pthread_mutex_unlock(&s->f->v.lock);
}

static void test_readers_writers_commits(void **state)
{
	struct shared s;
	uint8_t *buf = aligned_alloc(MAP_BLOCK, 256 * MAP_BLOCK);

	(void)state;
	begin(&s);
	run(&s, move_some);
	assert_all_right(&s);
	commit_once(&s);
	/* Whatever was taken is in the map or free again. */
	const struct vfile *f = s.f->ino.file;
	assert_int_equal(f->n_mapped, N_BLOCKS);
	assert_int_equal(f->n_slots, f->n_mapped + f->free.n_slots);
	pthread_mutex_lock(&s.f->v.lock);
	fx_crash(s.f);
	pthread_mutex_unlock(&s.f->v.lock);
	for (uint64_t at = 0; at < N_BLOCKS; at += 256)
		check_range(&s, at, 256, buf);
	assert_all_right(&s);
	free(buf);
	end(&s);
}

/* What a snapshot names stays readable, without the lock, while everything is overwritten. */
static struct map_group snap_groups[N_BLOCKS / MAP_GROUP];
static uint64_t snap_version[N_BLOCKS];

static void read_snapshot(struct shared *s, unsigned round)
{
	uint8_t *buf = aligned_alloc(MAP_BLOCK, MAP_GROUP * MAP_BLOCK);
	unsigned no = round % (N_BLOCKS / MAP_GROUP);

	s->n_failed += data_read_entries(&s->f->v, FX_ID, no, &snap_groups[no], 0, MAP_GROUP, buf) != 0;
	for (unsigned i = 0; i < MAP_GROUP; i++)
		s->n_wrong += version_of(buf + i * MAP_BLOCK, no * MAP_GROUP + i) !=
			      snap_version[no * MAP_GROUP + i];
	free(buf);
}

static void test_snapshot_meanwhile(void **state)
{
	struct rstore_snap snap;
	struct shared s;

	(void)state;
	begin(&s);
	pthread_mutex_lock(&s.f->v.lock);
	assert_int_equal(rstore_snap_open(s.f->v.rs, &snap), 0);
	for (unsigned no = 0; no < N_BLOCKS / MAP_GROUP; no++)
		assert_int_equal(data_entries(&s.f->v, &s.f->ino, (uint64_t)no * MAP_GROUP, MAP_GROUP,
					      snap_groups[no].e), 0);
	pthread_mutex_unlock(&s.f->v.lock);
	for (unsigned i = 0; i < N_BLOCKS; i++)
		snap_version[i] = s.done[i];
	run(&s, read_snapshot);
	assert_all_right(&s);
	end(&s);
}

/* Several writers of the same blocks: one after the other, never a mixture. */
static void *same_blocks(void *arg)
{
	struct shared *s = arg;
	uint8_t *buf = aligned_alloc(MAP_BLOCK, 64 * MAP_BLOCK);

	for (unsigned i = 0; i < ROUNDS / 3; i++) {
		uint64_t version = 1000 + i;

		for (size_t k = 0; k < 64; k++)
			fill(buf + k * MAP_BLOCK, k, version);
		pthread_mutex_lock(&s->f->v.lock);
		s->n_failed += data_write(&s->f->v, &s->f->ino, buf, 64 * MAP_BLOCK, 0) != 0;
		pthread_mutex_unlock(&s->f->v.lock);
	}
	free(buf);
	return NULL;
}

static void *cutter(void *arg)
{
	struct shared *s = arg;

	for (unsigned i = 0; i < ROUNDS / 3; i++) {
		pthread_mutex_lock(&s->f->v.lock);
		s->n_failed += data_truncate(&s->f->v, &s->f->ino, 10 * MAP_BLOCK) != 0;
		s->n_failed += data_punch(&s->f->v, &s->f->ino, MAP_BLOCK, 3 * MAP_BLOCK) != 0;
		pthread_mutex_unlock(&s->f->v.lock);
	}
	return NULL;
}

/* Content is that of one call after another: after a write of 64 blocks all are of one version, and
 * cutting leaves no mapped block beyond the end. */
static void test_overlapping_changes(void **state)
{
	uint8_t *buf = aligned_alloc(MAP_BLOCK, 64 * MAP_BLOCK);
	struct shared s;
	pthread_t t[4];

	(void)state;
	begin(&s);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, same_blocks, &s), 0);
	assert_int_equal(pthread_create(&t[3], NULL, cutter, &s), 0);
	for (unsigned i = 0; i < 200; i++) {
		pthread_mutex_lock(&s.f->v.lock);
		ssize_t n = data_read(&s.f->v, &s.f->ino, buf, 64 * MAP_BLOCK, 0);
		pthread_mutex_unlock(&s.f->v.lock);
		assert_true(n >= 10 * (ssize_t)MAP_BLOCK && n % MAP_BLOCK == 0);
		for (size_t k = 0; k < (size_t)n / MAP_BLOCK; k++)
			assert_true(version_of(buf + k * MAP_BLOCK, k) != UINT64_MAX);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(s.n_failed, 0);
	assert_int_equal(fx_alarms, 0);
	assert_null(s.f->ino.file->writers);
	commit_once(&s);
	free(buf);
	end(&s);
}

/* Frozen while a write was on its way: it is refused and takes nothing. */
static void test_frozen_meanwhile(void **state)
{
	struct shared s;
	uint8_t *buf = aligned_alloc(MAP_BLOCK, 256 * MAP_BLOCK);

	(void)state;
	begin(&s);
	pthread_mutex_lock(&s.f->v.lock);
	uint64_t mapped = s.f->ino.file->n_mapped;
	fx_frozen = -EROFS;
	assert_int_equal(data_write(&s.f->v, &s.f->ino, buf, 256 * MAP_BLOCK, 0), -EROFS);
	fx_frozen = 0;
	assert_int_equal(s.f->ino.file->n_mapped, mapped);
	assert_null(s.f->ino.file->writers);
	pthread_mutex_unlock(&s.f->v.lock);
	check_range(&s, 0, 256, buf);
	assert_all_right(&s);
	free(buf);
	end(&s);
}

static void *one_block(void *arg)
{
	struct shared *s = arg;
	uint8_t block[MAP_BLOCK] = {1};

	pthread_mutex_lock(&s->f->v.lock);
	s->n_failed += data_write(&s->f->v, &s->f->ino, block, sizeof(block), 0) == -EROFS;
	pthread_mutex_unlock(&s->f->v.lock);
	return NULL;
}

/* With the lock held: until a change is on its way. */
static bool await_writer(struct shared *s)
{
	const struct vfile *f = s->f->ino.file;

	for (unsigned i = 0; i < 1000000; i++) {
		if (f->writers)
			return true;
		pthread_mutex_unlock(&s->f->v.lock);
		sched_yield();
		pthread_mutex_lock(&s->f->v.lock);
	}
	return false;
}

/* Frozen while a write that would keep its slot waited for its turn: it is refused as well. */
static void test_frozen_in_place(void **state)
{
	uint8_t block[MAP_BLOCK] = {9}, got[MAP_BLOCK];
	struct data_io *io[DATA_IOS];
	struct shared s;
	pthread_t t;

	(void)state;
	begin(&s);
	pthread_mutex_lock(&s.f->v.lock);
	fx_write(s.f, block, sizeof(block), 0);
	for (unsigned i = 0; i < DATA_IOS; i++)
		assert_int_equal(data_io_get(&s.f->v, DATA_YIELD, false, &io[i]), 0);
	assert_int_equal(pthread_create(&t, NULL, one_block, &s), 0);
	assert_true(await_writer(&s));
	fx_frozen = -EROFS;
	for (unsigned i = 0; i < DATA_IOS; i++)
		data_io_put(&s.f->v, io[i]);
	pthread_mutex_unlock(&s.f->v.lock);
	pthread_join(t, NULL);
	fx_frozen = 0;
	assert_int_equal(s.n_failed, 1);
	pthread_mutex_lock(&s.f->v.lock);
	assert_int_equal(data_read(&s.f->v, &s.f->ino, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(got, block, sizeof(block));
	pthread_mutex_unlock(&s.f->v.lock);
	end(&s);
}

static void *large_write(void *arg)
{
	struct shared *s = arg;
	uint8_t *buf = aligned_alloc(MAP_BLOCK, 256 * MAP_BLOCK);

	write_range(s, 0, 256, buf);
	free(buf);
	return NULL;
}

/* A sync that failed while blocks were on their way may have lost them: they are written again like
 * those that were in the map. */
static void test_sync_failed_meanwhile(void **state)
{
	uint8_t block[MAP_BLOCK] = {1};
	struct shared s;
	pthread_t t;

	(void)state;
	begin(&s);
	pthread_mutex_lock(&s.f->v.lock);
	for (unsigned i = 0; !s.f->ino.file->resync && i < 1000; i++) {
		fx_write(s.f, block, sizeof(block), 400 * MAP_BLOCK);
		assert_int_equal(pthread_create(&t, NULL, large_write, &s), 0);
		bool caught = false;
		while (!caught && s.done[0] < i + 2) {
			caught = s.f->ino.file->writers && s.f->ino.file->writers->io;
			if (caught) {
				fx_fail_syncs = 1;
				assert_int_equal(data_publish(&s.f->v, &s.f->ino), -EIO);
				assert_int_equal(data_publish(&s.f->v, &s.f->ino), 0);
				assert_false(s.f->ino.file->resync);
			}
			pthread_mutex_unlock(&s.f->v.lock);
			sched_yield();
			pthread_mutex_lock(&s.f->v.lock);
		}
		pthread_mutex_unlock(&s.f->v.lock);
		pthread_join(t, NULL);
		pthread_mutex_lock(&s.f->v.lock);
		if (caught)
			break;
	}
	assert_true(s.f->ino.file->resync);
	uint64_t slot = fx_entry(s.f, 0).slot;
	fx_commit(s.f);
	assert_int_not_equal(fx_entry(s.f, 0).slot, slot);
	pthread_mutex_unlock(&s.f->v.lock);
	end(&s);
}

/* A slot given up while somebody may read it is not taken again before the reader is gone. */
static void test_slots_cool(void **state)
{
	struct fx *f = fx_new();
	uint8_t block[MAP_BLOCK] = {1}, *big = calloc(1, 64 * MAP_BLOCK);

	(void)state;
	fx_write(f, big, 64 * MAP_BLOCK, 0);
	fx_commit(f);
	uint64_t slot = fx_entry(f, 5).slot;
	unsigned early = data_space_reader(f->ino.file);
	fx_write(f, block, MAP_BLOCK, 5 * MAP_BLOCK);
	fx_commit(f);
	unsigned late = data_space_reader(f->ino.file);
	for (uint64_t i = 6; i < 12; i++) {
		fx_write(f, block, MAP_BLOCK, i * MAP_BLOCK);
		assert_int_not_equal(fx_entry(f, i).slot, slot);
	}
	data_space_reader_gone(&f->v, f->ino.file, early);
	data_space_reader_gone(&f->v, f->ino.file, late);
	fx_write(f, block, MAP_BLOCK, 20 * MAP_BLOCK);
	assert_int_equal(fx_entry(f, 20).slot, slot);
	free(big);
	fx_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_readers_writers_commits),
	    cmocka_unit_test(test_snapshot_meanwhile),
	    cmocka_unit_test(test_overlapping_changes),
	    cmocka_unit_test(test_frozen_meanwhile),
	    cmocka_unit_test(test_frozen_in_place),
	    cmocka_unit_test(test_sync_failed_meanwhile),
	    cmocka_unit_test(test_slots_cool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
