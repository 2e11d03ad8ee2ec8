/*
 * File data: what was written is read back, through every way of changing a file and across
 * crashes; what was tampered with is an error, never data, zeros or a hole.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

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
	fx_free(*state);
	return 0;
}

/* ---- what was written ---- */

/* Small content stays in the inode; the first byte beyond moves all of it to blocks, and both
 * survive a crash. */
static void test_inline_to_blocks(void **state)
{
	struct fx *f = *state;
	uint8_t buf[VOLUME_INLINE_MAX + 1];

	fx_fill(buf, sizeof(buf));
	fx_write(f, buf, 100, 0);
	fx_write(f, buf + 100, VOLUME_INLINE_MAX - 100, 100);
	assert_null(f->ino.file);
	assert_int_equal(f->ino.inline_len, VOLUME_INLINE_MAX);
	fx_commit(f);
	fx_crash(f);
	fx_assert_content(f, buf, VOLUME_INLINE_MAX);
	fx_write(f, buf + VOLUME_INLINE_MAX, 1, VOLUME_INLINE_MAX);
	assert_null(f->ino.inline_data);
	fx_assert_content(f, buf, sizeof(buf));
	fx_crash(f); /* before publication */
	fx_assert_content(f, buf, VOLUME_INLINE_MAX);
	fx_write(f, buf + VOLUME_INLINE_MAX, 1, VOLUME_INLINE_MAX);
	fx_commit(f);
	fx_crash(f);
	assert_null(f->ino.inline_data);
	fx_assert_content(f, buf, sizeof(buf));
}

struct model {
	uint8_t *live, *durable;
	uint64_t size, durable_size;
};

#define MODEL_MAX (3 * MIB)

static void model_step(struct fx *f, struct model *m)
{
	static uint8_t buf[MODEL_MAX];
	uint64_t off = fx_random() % MODEL_MAX, len = fx_random() % (fx_random() % 4 ? 9000 : MIB),
		 old = m->size;

	if (fx_random() % 3 == 0)
		off &= ~(uint64_t)(MAP_BLOCK - 1);
	len = len < MODEL_MAX - off ? len : MODEL_MAX - off;
	switch (fx_random() % 8) {
	case 0:
	case 1:
	case 2:
		fx_fill(buf, len);
		fx_write(f, buf, len, off);
		memcpy(m->live + off, buf, len);
		if (len && off + len > m->size)
			m->size = off + len;
		break;
	case 3:
		assert_int_equal(data_truncate(&f->v, &f->ino, off), 0);
		if (off < old)
			memset(m->live + off, 0, old - off);
		m->size = off;
		break;
	case 4:
		assert_int_equal(data_punch(&f->v, &f->ino, off, len), 0);
		if (off < m->size)
			memset(m->live + off, 0, len < m->size - off ? len : m->size - off);
		break;
	case 5:
		assert_int_equal(fx_publish(f), 0);
		break;
	case 6:
		if (off < m->size) {
			len = len < m->size - off ? len : m->size - off;
			assert_int_equal(data_read(&f->v, &f->ino, buf, len, off), len);
			assert_memory_equal(buf, m->live + off, len);
		}
		break;
	default:
		fx_commit(f);
		memcpy(m->durable, m->live, MODEL_MAX);
		m->durable_size = m->size;
	}
}

/* Random changes against a flat buffer. A crash brings back what the last commit had, exactly. */
static void test_model(void **state)
{
	struct fx *f = *state;
	struct model m = {.live = calloc(1, MODEL_MAX), .durable = calloc(1, MODEL_MAX)};

	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < 30; i++)
			model_step(f, &m);
		fx_assert_content(f, m.live, m.size);
		if (round % 4 == 3) {
			fx_crash(f);
			memcpy(m.live, m.durable, MODEL_MAX);
			m.size = m.durable_size;
			fx_assert_content(f, m.live, m.size);
		}
	}
	assert_int_equal(fx_alarms, 0);
	free(m.live);
	free(m.durable);
}

/* Growing shows zeros, never what was cut off. */
static void test_cut_and_grow(void **state)
{
	struct fx *f = *state;
	uint8_t *buf = calloc(1, 40 * KIB);

	fx_fill(buf, 40 * KIB);
	fx_write(f, buf, 40 * KIB, 0);
	fx_commit(f);
	assert_int_equal(data_truncate(&f->v, &f->ino, 10000), 0);
	fx_commit(f);
	assert_int_equal(data_truncate(&f->v, &f->ino, 40 * KIB), 0);
	memset(buf + 10000, 0, 40 * KIB - 10000);
	fx_assert_content(f, buf, 40 * KIB);
	assert_int_equal(data_truncate(&f->v, &f->ino, 0), 0);
	fx_write(f, "x", 1, 8000);
	memset(buf, 0, 8000);
	buf[8000] = 'x';
	fx_assert_content(f, buf, 8001);
	fx_commit(f);
	fx_crash(f);
	fx_assert_content(f, buf, 8001);
	free(buf);
}

/* Holes are told apart from data, also where data was punched out, at any distance. */
static void test_seek(void **state)
{
	struct fx *f = *state;
	uint64_t at, far = (uint64_t)5 << 30;
	uint8_t buf[2 * MAP_BLOCK];

	fx_fill(buf, sizeof(buf));
	fx_write(f, buf, sizeof(buf), 3 * MAP_BLOCK);
	fx_write(f, buf, MAP_BLOCK, far);
	for (int durable = 0; durable < 2; durable++) {
		assert_int_equal(data_seek(&f->v, &f->ino, 0, SEEK_DATA, &at), 0);
		assert_int_equal(at, 3 * MAP_BLOCK);
		assert_int_equal(data_seek(&f->v, &f->ino, 0, SEEK_HOLE, &at), 0);
		assert_int_equal(at, 0);
		assert_int_equal(data_seek(&f->v, &f->ino, 3 * MAP_BLOCK + 7, SEEK_DATA, &at), 0);
		assert_int_equal(at, 3 * MAP_BLOCK + 7);
		assert_int_equal(data_seek(&f->v, &f->ino, 3 * MAP_BLOCK + 7, SEEK_HOLE, &at), 0);
		assert_int_equal(at, 5 * MAP_BLOCK);
		assert_int_equal(data_seek(&f->v, &f->ino, at, SEEK_DATA, &at), 0);
		assert_int_equal(at, far);
		assert_int_equal(data_seek(&f->v, &f->ino, far, SEEK_HOLE, &at), 0);
		assert_int_equal(at, far + MAP_BLOCK);
		assert_int_equal(data_seek(&f->v, &f->ino, far + MAP_BLOCK, SEEK_DATA, &at),
				 -ENXIO);
		fx_commit(f);
		fx_crash(f);
	}
	assert_int_equal(data_punch(&f->v, &f->ino, 0, 8 * MAP_BLOCK), 0);
	fx_commit(f);
	fx_crash(f);
	assert_int_equal(data_seek(&f->v, &f->ino, 0, SEEK_DATA, &at), 0);
	assert_int_equal(at, far);
	assert_int_equal(data_truncate(&f->v, &f->ino, far), 0);
	assert_int_equal(data_seek(&f->v, &f->ino, 0, SEEK_DATA, &at), -ENXIO);
	assert_int_equal(f->ino.file->n_mapped, 0);
}

/* A write that fails half-way leaves what was there, and nothing beyond the size that growing could
 * show. */
static void test_failed_write(void **state)
{
	struct fx *f = *state;
	uint8_t *buf = calloc(1, 2 * MIB), *got = calloc(1, 2 * MIB);
	struct rlimit limit, old;

	fx_fill(buf, 2 * MIB);
	fx_write(f, buf, 400 * KIB, 0);
	fx_commit(f);
	/* A gap in the object, so that the write goes to two places, and the second is beyond the
	 * limit. */
	assert_int_equal(data_punch(&f->v, &f->ino, 10 * MAP_BLOCK, 30 * MAP_BLOCK), 0);
	memset(buf + 10 * MAP_BLOCK, 0, 30 * MAP_BLOCK);
	fx_commit(f);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){.rlim_cur = 500 * KIB, .rlim_max = old.rlim_max};
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_equal(data_write(&f->v, &f->ino, buf + 400 * KIB, MIB, 400 * KIB), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	uint64_t size = f->ino.attr.size;
	assert_true(size > 400 * KIB); /* the part that fitted into the gap */
	assert_int_equal(data_truncate(&f->v, &f->ino, 2 * MIB), 0);
	assert_int_equal(data_read(&f->v, &f->ino, got, 2 * MIB, 0), 2 * MIB);
	assert_memory_equal(got, buf, size);
	for (uint64_t i = size; i < 2 * MIB; i++)
		assert_int_equal(got[i], 0);
	fx_write(f, buf, 2 * MIB, 0);
	fx_commit(f);
	fx_crash(f);
	fx_assert_content(f, buf, 2 * MIB);
	free(buf);
	free(got);
}

/* ---- promise 2: what was tampered with ---- */

static void assert_unreadable(struct fx *f, uint64_t block)
{
	uint8_t buf[MAP_BLOCK];
	unsigned before = fx_alarms;

	assert_int_equal(data_read(&f->v, &f->ino, buf, sizeof(buf), block * MAP_BLOCK), -EIO);
	assert_int_equal(data_read(&f->v, &f->ino, buf, 10, block * MAP_BLOCK + 5), -EIO);
	assert_int_equal(fx_alarms, before + 2);
}

static void tamper_setup(struct fx *f, uint8_t *buf, size_t n_blocks)
{
	fx_fill(buf, n_blocks * MAP_BLOCK);
	fx_write(f, buf, n_blocks * MAP_BLOCK, 0);
	fx_commit(f);
	fx_crash(f);
}

/* Any flipped bit of a block is an error, for that block only. */
static void test_flipped(void **state)
{
	struct fx *f = *state;
	uint8_t buf[3 * MAP_BLOCK], raw[MAP_BLOCK], got[MAP_BLOCK];

	tamper_setup(f, buf, 3);
	uint64_t slot = fx_entry(f, 1).slot;
	fx_raw_read(f, slot, 1, raw);
	for (size_t i = 0; i < MAP_BLOCK; i++) {
		raw[i] ^= (uint8_t)(1u << i % 8);
		fx_raw_write(f, slot, 1, raw);
		assert_unreadable(f, 1);
		raw[i] ^= (uint8_t)(1u << i % 8);
	}
	assert_int_equal(data_read(&f->v, &f->ino, got, MAP_BLOCK, 0), MAP_BLOCK);
	assert_memory_equal(got, buf, MAP_BLOCK);
	fx_raw_write(f, slot, 1, raw);
	fx_assert_content(f, buf, sizeof(buf));
}

/* Blocks in each other's places, or a copy of one in another's place. */
static void test_swapped(void **state)
{
	struct fx *f = *state;
	uint8_t buf[4 * MAP_BLOCK], a[MAP_BLOCK], b[MAP_BLOCK];

	tamper_setup(f, buf, 4);
	fx_raw_read(f, fx_entry(f, 1).slot, 1, a);
	fx_raw_read(f, fx_entry(f, 2).slot, 1, b);
	fx_raw_write(f, fx_entry(f, 1).slot, 1, b);
	assert_unreadable(f, 1);
	fx_raw_write(f, fx_entry(f, 2).slot, 1, a);
	assert_unreadable(f, 2);
	fx_raw_write(f, fx_entry(f, 1).slot, 1, a);
	fx_raw_write(f, fx_entry(f, 2).slot, 1, b);
	fx_assert_content(f, buf, sizeof(buf));
}

/* An object that is too short, zeroed or gone is neither a hole nor zeros. */
static void test_truncated_object(void **state)
{
	struct fx *f = *state;
	uint8_t buf[4 * MAP_BLOCK], zeros[MAP_BLOCK] = {0}, got[4 * MAP_BLOCK];
	char rel[64], path[160];

	tamper_setup(f, buf, 4);
	fx_raw_write(f, fx_entry(f, 0).slot, 1, zeros);
	assert_unreadable(f, 0);
	int fd = fx_object(f);
	assert_int_equal(ftruncate(fd, 3 * MAP_BLOCK + 100), 0);
	assert_unreadable(f, 3);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_unreadable(f, 1);
	close(fd);
	fx_crash(f); /* closes what is open of it */
	volume_object_path(FX_ID, 0, rel);
	snprintf(path, sizeof(path), "%s/%s", f->dir, rel);
	assert_int_equal(unlink(path), 0);
	assert_unreadable(f, 2);
	assert_int_equal(data_read(&f->v, &f->ino, got, sizeof(got), 0), -EIO);
	/* Nor does a write of part of a block make it readable. */
	assert_int_equal(data_write(&f->v, &f->ino, "x", 1, MAP_BLOCK + 1), -EIO);
	assert_unreadable(f, 1);
}

/* Older ciphertext of the same block, which once stood in the very same slot. */
static void test_older_block(void **state)
{
	struct fx *f = *state;
	uint8_t first[4 * MAP_BLOCK], buf[4 * MAP_BLOCK], raw[MAP_BLOCK];

	tamper_setup(f, first, 4);
	uint64_t slot = fx_entry(f, 0).slot;
	fx_raw_read(f, slot, 1, raw);
	for (int i = 0; i < 8; i++) {
		fx_write(f, fx_fill(buf, MAP_BLOCK), MAP_BLOCK, 0);
		fx_commit(f);
		if (fx_entry(f, 0).slot == slot)
			break;
	}
	assert_int_equal(fx_entry(f, 0).slot, slot);
	fx_raw_write(f, slot, 1, raw);
	assert_unreadable(f, 0);
}

/* The tag in the map is of this block of this file: an entry moved elsewhere opens nothing. */
static void test_moved_entry(void **state)
{
	struct fx *f = *state;
	uint8_t buf[4 * MAP_BLOCK], got[4 * MAP_BLOCK];
	struct map_group g = {0}, moved;

	tamper_setup(f, buf, 4);
	for (unsigned i = 0; i < 4; i++)
		moved.e[i] = g.e[i] = fx_entry(f, i);
	assert_int_equal(data_read_entries(&f->v, FX_ID, 0, &g, 0, 4, got), 0);
	assert_memory_equal(got, buf, sizeof(buf));
	moved.e[1] = g.e[2];
	assert_int_equal(data_read_entries(&f->v, FX_ID, 0, &moved, 1, 1, got), -EBADMSG);
	assert_int_equal(data_read_entries(&f->v, FX_ID, 1, &g, 0, 4, got), -EBADMSG);
	for (unsigned i = 0; i < 4; i++)
		fx_raw_read(f, g.e[i].slot, 1, buf + i * MAP_BLOCK);
	assert_int_equal(object_pwrite(&f->v, FX_ID + 1, g.e[0].slot, buf, 4), 0);
	assert_int_equal(data_read_entries(&f->v, FX_ID + 1, 0, &g, 0, 4, got), -EBADMSG);
}

/* A map record that was altered is found before any block is read by it. */
static void test_foreign_map(void **state)
{
	struct fx *f = *state;
	uint8_t buf[4 * MAP_BLOCK];
	struct rstore_key key = engine_file_key_at(FX_ID, SUB_MAP, 0);
	struct bytes_w val = {0};

	tamper_setup(f, buf, 4);
	assert_int_equal(rstore_get(f->v.rs, &key, &val, NULL), 0);
	assert_int_equal(rstore_put(f->v.rs, &key, val.buf, val.len - 1), 0);
	assert_int_equal(rstore_commit(f->v.rs, NULL), 0);
	fx_crash(f);
	assert_unreadable(f, 0);
	assert_int_equal(data_truncate(&f->v, &f->ino, 0), -EIO);
	assert_int_equal(f->ino.attr.size, sizeof(buf));
	bytes_w_free(&val);
}

/* A destroyed file answers nothing but EIO, and holds no commit up. */
static void test_destroyed(void **state)
{
	struct fx *f = *state;
	uint8_t buf[MAP_BLOCK];
	uint64_t at;

	fx_fill(buf, sizeof(buf));
	fx_write(f, buf, sizeof(buf), 0);
	f->ino.destroyed = true;
	assert_int_equal(data_read(&f->v, &f->ino, buf, 1, 0), -EIO);
	assert_int_equal(data_write(&f->v, &f->ino, buf, 1, 0), -EIO);
	assert_int_equal(data_truncate(&f->v, &f->ino, 0), -EIO);
	assert_int_equal(data_punch(&f->v, &f->ino, 0, 1), -EIO);
	assert_int_equal(data_seek(&f->v, &f->ino, 0, SEEK_DATA, &at), -EIO);
	assert_int_equal(data_publish(&f->v, &f->ino), -EIO);
	assert_int_equal(data_sync_fd(&f->v, &f->ino), -1);
	assert_false(data_dirty(&f->ino));
	data_committed(&f->v, &f->ino);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_inline_to_blocks, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_model, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cut_and_grow, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_seek, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_failed_write, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_flipped, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_swapped, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_truncated_object, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_older_block, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_moved_entry, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_foreign_map, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_destroyed, setup, teardown),
	};

	int bad = 0;

	/* With every suite of this machine: their tags differ in length. */
	for (uint8_t id = SUITE_AEGIS256; id <= SUITE_XCHACHA20POLY1305; id++) {
		fx_suite = suite_by_id(id);
		if (fx_suite)
			bad += cmocka_run_group_tests_name(suite_id_name(id), tests, NULL, NULL);
	}
	return bad;
}
