/*
 * Slots: nothing that a durable record names is overwritten, space that nothing names comes back,
 * files are laid out in order, no counter serves twice, and a sync that failed is not forgotten.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tests/unit/data_fixture.h"

#define KIB 1024u
#define MIB (1024u * 1024u)

static int setup(void **state)
{
	*state = fx_new();
	return 0;
}

static int teardown(void **state)
{
	fx_fail_syncs = 0;
	fx_free(*state);
	return 0;
}

/* ---- promise 3: what a commit names stays until the next one is durable ---- */

/* Overwrites, cuts, punches and publishes without a commit. */
static void churn(struct fx *f, size_t len)
{
	uint8_t *buf = malloc(len);

	for (int i = 0; i < 6; i++) {
		fx_write(f, fx_fill(buf, len), len, 0);
		fx_write(f, buf, 5000, fx_random() % (len - 5000));
		assert_int_equal(data_punch(&f->v, &f->ino, 3 * MAP_BLOCK, 9 * MAP_BLOCK), 0);
		if (i % 2)
			assert_int_equal(fx_publish(f), 0);
		assert_int_equal(data_truncate(&f->v, &f->ino, fx_random() % len), 0);
	}
	free(buf);
}

/* Until the commit, every slot that the last one named holds what it held; a crash shows the old
 * content whole. */
static void test_no_reuse_before_commit(void **state)
{
	struct fx *f = *state;
	size_t len = 256 * KIB, n = len / MAP_BLOCK;
	uint8_t *buf = fx_fill(malloc(len), len), *raw = malloc(len), *now = malloc(MAP_BLOCK);
	uint64_t slots[64];

	for (int round = 0; round < 4; round++) {
		fx_write(f, fx_fill(buf, len), len, 0);
		fx_commit(f);
		for (size_t i = 0; i < n; i++) {
			slots[i] = fx_entry(f, i).slot;
			fx_raw_read(f, slots[i], 1, raw + i * MAP_BLOCK);
		}
		churn(f, len);
		for (size_t i = 0; i < n; i++) {
			fx_raw_read(f, slots[i], 1, now);
			assert_memory_equal(now, raw + i * MAP_BLOCK, MAP_BLOCK);
		}
		if (round % 2) {
			fx_crash(f);
			fx_assert_content(f, buf, len);
		}
	}
	free(buf);
	free(raw);
	free(now);
}

/* What is written between publication and commit belongs to the next commit, and does not touch
 * what the coming one names. */
static void test_data_written_during_commit(void **state)
{
	struct fx *f = *state;
	uint8_t a[MAP_BLOCK], b[MAP_BLOCK], c[MAP_BLOCK];

	fx_write(f, fx_fill(a, sizeof(a)), sizeof(a), 0);
	fx_commit(f);
	fx_write(f, fx_fill(b, sizeof(b)), sizeof(b), 0);
	assert_int_equal(fx_publish(f), 0);
	uint64_t published = fx_entry(f, 0).slot;
	fx_write(f, fx_fill(c, sizeof(c)), sizeof(c), 0);
	assert_int_not_equal(fx_entry(f, 0).slot, published);
	assert_int_equal(rstore_commit(f->v.rs, NULL), 0);
	f->durable = f->pending;
	data_committed(&f->v, &f->ino);
	fx_assert_content(f, c, sizeof(c));
	fx_crash(f);
	fx_assert_content(f, b, sizeof(b));
}

static unsigned runs_of(struct fx *f, uint64_t n)
{
	unsigned runs = 1;

	for (uint64_t i = 1; i < n; i++)
		runs += fx_entry(f, i).slot != fx_entry(f, i - 1).slot + 1;
	return runs;
}

/* Blocks overwritten one by one from the last to the first, each commit taking some. */
static void scatter(struct fx *f, uint8_t *buf, uint64_t n)
{
	for (uint64_t i = n; i--;) {
		fx_write(f, fx_fill(buf + i * MAP_BLOCK, MAP_BLOCK), MAP_BLOCK, i * MAP_BLOCK);
		if (i % 100 == 0)
			fx_commit(f);
	}
}

static void rewrite(struct fx *f)
{
	int r;

	do {
		r = data_rewrite_some(&f->v, &f->ino);
	} while (r > 0);
	assert_int_equal(r, 0);
}

/* A file whose blocks lie scattered is moved to slots in line. Content and births stay: no backup
 * takes it for new, and a cut before the commit shows it where it was. */
static void test_rewrite(void **state)
{
	enum { N = 600 };
	struct fx *f = *state;
	uint8_t *buf = malloc(N * MAP_BLOCK);
	uint64_t birth[N];

	fx_write(f, fx_fill(buf, N * MAP_BLOCK), N * MAP_BLOCK, 0);
	fx_commit(f);
	assert_false(data_rewrite_due(&f->ino));
	scatter(f, buf, N);
	assert_true(data_rewrite_due(&f->ino));
	assert_true(runs_of(f, N) > N / 2);
	for (uint64_t i = 0; i < N; i++)
		birth[i] = fx_entry(f, i).birth;
	rewrite(f);
	assert_false(data_rewrite_due(&f->ino));
	fx_assert_content(f, buf, N * MAP_BLOCK);
	fx_crash(f);
	fx_assert_content(f, buf, N * MAP_BLOCK);
	assert_true(runs_of(f, N) > N / 2);
	rewrite(f);
	/* What is written after it was moved is new, what is not is as old as it was. */
	fx_write(f, fx_fill(buf + 5 * MAP_BLOCK, MAP_BLOCK), MAP_BLOCK, 5 * MAP_BLOCK);
	fx_commit(f);
	fx_crash(f);
	assert_true(runs_of(f, N) <= N / MAP_GROUP + 3);
	for (uint64_t i = 0; i < N; i++) {
		if (i == 5)
			assert_true(fx_entry(f, i).birth > birth[i]);
		else
			assert_int_equal(fx_entry(f, i).birth, birth[i]);
	}
	fx_assert_content(f, buf, N * MAP_BLOCK);
	free(buf);
}

/* Holes stay holes, and a block that does not open stays where it is and is reported. */
static void test_rewrite_holes_and_damage(void **state)
{
	enum { N = 256 };
	struct fx *f = *state;
	uint8_t *buf = malloc(N * MAP_BLOCK), bad[MAP_BLOCK] = {0};

	fx_write(f, fx_fill(buf, N * MAP_BLOCK), N * MAP_BLOCK, 0);
	fx_commit(f);
	scatter(f, buf, N);
	assert_int_equal(data_punch(&f->v, &f->ino, 70 * MAP_BLOCK, 9 * MAP_BLOCK), 0);
	memset(buf + 70 * MAP_BLOCK, 0, 9 * MAP_BLOCK);
	fx_commit(f);
	uint64_t mapped = f->ino.file->n_mapped;
	rewrite(f);
	fx_commit(f);
	assert_int_equal(f->ino.file->n_mapped, mapped);
	assert_int_equal(fx_entry(f, 75).slot, MAP_HOLE);
	fx_assert_content(f, buf, N * MAP_BLOCK);
	scatter(f, buf, N);
	fx_raw_write(f, fx_entry(f, 3).slot, 1, bad);
	assert_int_equal(data_rewrite_some(&f->v, &f->ino), -EIO);
	assert_int_equal(fx_alarms, 1);
	assert_false(data_rewrite_due(&f->ino));
	free(buf);
}

/* Space is used again after commits, so that a file overwritten for ever stays bounded. */
static void test_reuse_after_commit(void **state)
{
	struct fx *f = *state;
	uint8_t *buf = malloc(MIB);

	for (int i = 0; i < 20; i++) {
		fx_write(f, fx_fill(buf, MIB), MIB, 0);
		fx_commit(f);
		fx_assert_content(f, buf, MIB);
	}
	assert_true(f->ino.file->n_slots <= 2 * MIB / MAP_BLOCK);
	free(buf);
}

/* The same across mounts: what earlier ones left is found by a survey. */
static void test_survey(void **state)
{
	struct fx *f = *state;
	uint8_t *buf = malloc(MIB);

	fx_write(f, fx_fill(buf, MIB), MIB, 0);
	fx_commit(f);
	for (int i = 0; i < 60; i++) {
		size_t at = fx_random() % (MIB / 2);

		fx_crash(f);
		fx_fill(buf + at, MIB / 2);
		fx_write(f, buf + at, MIB / 2, at);
		fx_commit(f);
	}
	fx_assert_content(f, buf, MIB);
	assert_true(f->ino.file->n_slots <= 4 * MIB / MAP_BLOCK);
	assert_int_equal(f->ino.file->n_mapped, MIB / MAP_BLOCK);
	fx_crash(f);
	fx_assert_content(f, buf, MIB);
	free(buf);
}

static void assert_snapshot_content(struct fx *f, const struct rstore_snap *s, const uint8_t *want,
				    size_t n_groups)
{
	uint8_t got[MAP_GROUP * MAP_BLOCK];

	for (uint64_t no = 0; no < n_groups; no++) {
		struct rstore_key key = engine_file_key_at(FX_ID, SUB_MAP, no);
		struct bytes_w val = {0};
		struct map_group g;

		assert_int_equal(rstore_snap_get(f->v.rs, s, &key, &val, NULL), 0);
		assert_int_equal(map_decode(val.buf, val.len, engine_tag_len(&f->v), &g), 0);
		assert_int_equal(data_read_entries(&f->v, FX_ID, no, &g, 0, MAP_GROUP, got), 0);
		assert_memory_equal(got, want + no * MAP_GROUP_BYTES, MAP_GROUP_BYTES);
		bytes_w_free(&val);
	}
}

/* While a snapshot is open its blocks stay; when it is closed their space comes back. */
static void test_snapshot(void **state)
{
	struct fx *f = *state;
	uint8_t *old = malloc(MIB), *buf = malloc(MIB);
	struct rstore_snap s;

	fx_write(f, fx_fill(old, MIB), MIB, 0);
	fx_commit(f);
	assert_int_equal(rstore_snap_open(f->v.rs, &s), 0);
	for (int i = 0; i < 12; i++) {
		fx_write(f, fx_fill(buf, MIB), MIB, 0);
		fx_commit(f);
		if (i == 6) {
			assert_int_equal(data_truncate(&f->v, &f->ino, 0), 0);
			fx_commit(f);
			fx_crash(f);
		}
	}
	assert_snapshot_content(f, &s, old, MIB / MAP_GROUP_BYTES);
	fx_assert_content(f, buf, MIB);
	assert_int_equal(rstore_snap_close(f->v.rs, s.id), 0);
	uint64_t before = f->ino.file->n_slots;
	for (int i = 0; i < 12; i++) {
		fx_write(f, fx_fill(buf, MIB), MIB, 0);
		fx_commit(f);
	}
	assert_true(f->ino.file->n_slots <= before);
	fx_crash(f);
	fx_assert_content(f, buf, MIB);
	free(old);
	free(buf);
}

/* A survey that begins while blocks are only in memory does not give their slots away. */
static void test_survey_beside_unpublished(void **state)
{
	struct fx *f = *state;
	uint8_t *buf = malloc(2 * MIB);
	struct rstore_snap s;

	fx_write(f, fx_fill(buf, MIB), MIB, 0);
	fx_commit(f);
	assert_int_equal(rstore_snap_open(f->v.rs, &s), 0);
	fx_write(f, fx_fill(buf, MIB), MIB, 0);
	fx_commit(f); /* a whole MiB is dead now, until the snapshot is gone */
	for (size_t at = 0; at < MIB; at += 8 * MAP_BLOCK)
		fx_write(f, fx_fill(buf + at, MAP_BLOCK), MAP_BLOCK, at);
	assert_int_equal(rstore_snap_close(f->v.rs, s.id), 0);
	for (int i = 0; i < 6; i++) {
		for (size_t at = MAP_BLOCK; at < MIB; at += 8 * MAP_BLOCK)
			fx_write(f, fx_fill(buf + at, 3 * MAP_BLOCK), 3 * MAP_BLOCK, at);
		fx_assert_content(f, buf, MIB);
	}
	assert_true(f->ino.file->surveyed);
	/* Uses up everything that the survey found. */
	fx_fill(buf + MIB, MIB);
	for (size_t at = MIB; at < 2 * MIB; at += MAP_BLOCK)
		fx_write(f, buf + at, MAP_BLOCK, at);
	fx_assert_content(f, buf, 2 * MIB);
	fx_commit(f);
	fx_crash(f);
	fx_assert_content(f, buf, 2 * MIB);
	free(buf);
}

/* Records that a commit still owes hide the durable ones: no survey judges by them. */
static void test_survey_waits_for_commit(void **state)
{
	struct fx *f = *state;
	uint8_t *buf = malloc(MIB), *other = malloc(MIB);

	fx_write(f, fx_fill(buf, MIB), MIB, 0);
	fx_commit(f);
	fx_write(f, fx_fill(other, MIB), MIB, 0);
	assert_int_equal(fx_publish(f), 0);
	data_forget(&f->ino);
	assert_int_equal(data_attach(&f->v, &f->ino, f->pending.n_slots, f->pending.n_mapped), 0);
	for (size_t at = 0; at < MIB; at += MAP_BLOCK)
		fx_write(f, other, MAP_BLOCK, at);
	fx_crash(f);
	fx_assert_content(f, buf, MIB);
	free(buf);
	free(other);
}

#define N_FAR 1200u

static void write_far(struct fx *f, uint64_t i, uint64_t value)
{
	uint8_t block[MAP_BLOCK] = {0};

	bytes_put64(block, value);
	fx_write(f, block, sizeof(block), i * MAP_GROUP_BYTES);
}

static void punch_far(struct fx *f, uint64_t from, uint64_t to)
{
	assert_int_equal(
	    data_punch(&f->v, &f->ino, from * MAP_GROUP_BYTES, (to - from) * MAP_GROUP_BYTES), 0);
	fx_commit(f);
}

static void assert_far(struct fx *f, uint64_t i, uint64_t value)
{
	uint8_t block[MAP_BLOCK];

	assert_int_equal(data_read(&f->v, &f->ino, block, sizeof(block), i * MAP_GROUP_BYTES),
			 MAP_BLOCK);
	assert_int_equal(bytes_get64(block), value);
}

/*
 * A survey takes many steps; slots that are freed, reused or taken over by a new snapshot meanwhile
 * are each accounted for once. 0..1199: file blocks, each in a group of its own.
 */
static void test_survey_in_steps(void **state)
{
	struct fx *f = *state;
	struct rstore_snap s;

	for (uint64_t i = 0; i < N_FAR; i++)
		write_far(f, i, i);
	fx_commit(f);
	assert_int_equal(rstore_snap_open(f->v.rs, &s), 0);
	for (uint64_t i = 0; i < N_FAR; i++)
		write_far(f, i, i + 10000);
	fx_commit(f);
	assert_int_equal(rstore_snap_close(f->v.rs, s.id), 0);
	punch_far(f, 900, 950); /* free before it begins */
	write_far(f, 0, 10000);
	assert_non_null(f->ino.file->survey);
	punch_far(f, 1000, 1050); /* free while it runs */
	assert_int_equal(rstore_snap_open(f->v.rs, &s), 0);
	punch_far(f, 1050, 1100); /* the snapshot's from now on */
	for (uint64_t i = 0; i < N_FAR + 500; i++)
		write_far(f, N_FAR + i, i + 20000);
	assert_null(f->ino.file->survey);
	assert_true(f->ino.file->surveyed);
	fx_commit(f);
	fx_crash(f);
	for (uint64_t i = 0; i < N_FAR; i++)
		assert_far(f, i, i / 50 == 18 || i / 50 == 20 || i / 50 == 21 ? 0 : i + 10000);
	for (uint64_t i = 0; i < N_FAR + 500; i++)
		assert_far(f, N_FAR + i, i + 20000);
	for (uint64_t i = 1050; i < 1100; i++) {
		struct rstore_key key = engine_file_key_at(FX_ID, SUB_MAP, i);
		CLEANUP_BYTES struct bytes_w val = {0};
		uint8_t block[MAP_BLOCK];
		struct map_group g;

		assert_int_equal(rstore_snap_get(f->v.rs, &s, &key, &val, NULL), 0);
		assert_int_equal(map_decode(val.buf, val.len, engine_tag_len(&f->v), &g), 0);
		assert_int_equal(data_read_entries(&f->v, FX_ID, i, &g, 0, 1, block), 0);
		assert_int_equal(bytes_get64(block), i + 10000);
	}
}

/* ---- layout ---- */

/* Written front to back, in large steps or in tiny ones, a file lies in its object in order. */
static void test_sequential(void **state)
{
	struct fx *f = *state;
	uint8_t *buf = fx_fill(malloc(MIB), MIB);

	for (uint64_t i = 0; i < 4; i++)
		fx_write(f, buf, MIB, i * MIB);
	for (uint64_t off = 0; off < 40000; off += 100)
		fx_write(f, buf, 100, 4 * MIB + off);
	for (uint64_t i = 0; i < (4 * MIB + 40000) / MAP_BLOCK; i++)
		assert_int_equal(fx_entry(f, i).slot, i);
	assert_int_equal(f->ino.file->n_slots, f->ino.file->n_mapped);
	fx_commit(f);
	free(buf);
}

/* Holes take no space, and what is cut off is given back to the medium. */
static void test_space_returned(void **state)
{
	struct fx *f = *state;
	uint8_t *buf = fx_fill(malloc(4 * MIB), 4 * MIB);
	struct stat st;

	fx_write(f, buf, 4 * MIB, (uint64_t)1 << 40);
	assert_int_equal(f->ino.file->n_slots, 4 * MIB / MAP_BLOCK);
	fx_commit(f);
	assert_int_equal(data_truncate(&f->v, &f->ino, ((uint64_t)1 << 40) + MIB), 0);
	fx_commit(f);
	assert_int_equal(f->ino.file->n_slots, MIB / MAP_BLOCK);
	int fd = fx_object(f);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	assert_true(st.st_blocks * 512 <= 2 * MIB);
	free(buf);
}

/* ---- nonces ---- */

/* No counter serves twice, not even for a block that is sealed to the same slot again. */
static void test_counters(void **state)
{
	struct fx *f = *state;
	uint8_t buf[3 * MAP_BLOCK], session[MAP_SESSION_LEN];

	fx_write(f, fx_fill(buf, sizeof(buf)), sizeof(buf), 0);
	struct map_entry first = fx_entry(f, 1);
	fx_write(f, buf, sizeof(buf), 0);
	struct map_entry second = fx_entry(f, 1);
	assert_int_equal(first.slot, second.slot);
	assert_true(second.counter > first.counter);
	assert_memory_equal(first.session, second.session, MAP_SESSION_LEN);
	/* The session is renewed before its counters run out. */
	memcpy(session, f->v.session, sizeof(session));
	f->v.session_counter = DATA_SESSION_BLOCKS - 2;
	fx_write(f, buf, sizeof(buf), 0);
	assert_memory_not_equal(f->v.session, session, sizeof(session));
	assert_true(fx_entry(f, 2).counter < 3);
	fx_commit(f);
	fx_crash(f);
	fx_assert_content(f, buf, sizeof(buf));
}

/* Many sessions in one file: more keys than are kept prepared. */
static void test_many_sessions(void **state)
{
	struct fx *f = *state;
	uint8_t *buf = fx_fill(malloc(3 * DATA_KEYS * MAP_BLOCK), 3 * DATA_KEYS * MAP_BLOCK);

	for (size_t i = 0; i < 3 * DATA_KEYS; i++) {
		kdf_random(f->v.session, sizeof(f->v.session));
		f->v.session_counter = 0;
		fx_write(f, buf + i * MAP_BLOCK, MAP_BLOCK, i * MAP_BLOCK);
	}
	fx_commit(f);
	fx_crash(f);
	fx_assert_content(f, buf, 3 * DATA_KEYS * MAP_BLOCK);
	free(buf);
}

/* ---- syncs ---- */

/* After a failed sync nothing is published; the next one writes everything private to fresh slots
 * first. */
static void test_failed_sync(void **state)
{
	struct fx *f = *state;
	uint8_t buf[8 * MAP_BLOCK];
	uint64_t slots[8];

	fx_write(f, fx_fill(buf, sizeof(buf)), sizeof(buf), 0);
	for (uint64_t i = 0; i < 8; i++)
		slots[i] = fx_entry(f, i).slot;
	fx_fail_syncs = 1;
	assert_int_equal(fx_publish(f), -EIO);
	assert_true(data_dirty(&f->ino));
	assert_int_equal(f->ino.published_size, 0);
	assert_false(rstore_dirty(f->v.rs));
	fx_write(f, buf, 10, 0);
	fx_commit(f);
	for (uint64_t i = 0; i < 8; i++) {
		for (size_t k = 0; k < 8; k++)
			assert_int_not_equal(fx_entry(f, i).slot, slots[k]);
	}
	fx_crash(f);
	fx_assert_content(f, buf, sizeof(buf));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_no_reuse_before_commit, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_data_written_during_commit, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_rewrite, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_rewrite_holes_and_damage, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_reuse_after_commit, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_survey, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_snapshot, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_survey_beside_unpublished, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_survey_waits_for_commit, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_survey_in_steps, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sequential, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_space_returned, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_counters, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_many_sessions, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_failed_sync, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
