/*
 * Power cuts in what programs do, written down: the ways in which other encrypted filesystems were
 * seen to lose data. Each script is cut behind every call as in test_crash_states, and whatever is
 * left can be read, judged, worked with and deleted.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "tests/crash/workload.h"
#include "tests/fault/medium.h"

static struct identity *who;

static void run_script(const struct op *ops, size_t n)
{
	struct workload *w = workload_new(who, 1);
	size_t before = workload_n_seen();
	bool right = workload_run(w, ops, n, WORKLOAD_ALL);

	if (!right)
		fprintf(stderr, "%s\n%s\n", workload_story, w->d.why);
	printf("# %zu distinct states\n", workload_n_seen() - before);
	assert_int_equal(w->n_steps, n);
	workload_free(w);
	assert_true(right);
}
#define RUN(script) run_script(script, sizeof(script) / sizeof((script)[0]))

/* Elsewhere: mkdir, fsync, power cut, and everything in the folder is EIO and cannot be deleted. */
static void folder_made_and_synced(void **state)
{
	static const struct op script[] = {
	    {OP_MKDIR, .path = "a"},
	    {OP_FSYNC, .path = "a"},
	    {OP_CREATE, .path = "ab"},
	    {OP_WRITE, .path = "ab", .len = 9000, .salt = 1},
	    {OP_FSYNC, .path = "ab"},
	    {OP_MKDIR, .path = "ac"},
	    {OP_MKDIR, .path = "acd"},
	    {OP_CREATE, .path = "acde"},
	    {OP_FSYNC, .path = "acde"},
	    {OP_FSYNC, .path = "acd"},
	    {OP_RENAME, .path = "ac", .to = "f"},
	    {OP_FSYNC, .path = "a"},
	    {OP_UNLINK, .path = "fde"},
	    {OP_RMDIR, .path = "fd"},
	    {OP_FSYNC, .path = "f"},
	};
	(void)state;
	RUN(script);
}

/* Elsewhere: a long name lives in a side file that nobody syncs. g and h stand for 255 bytes. */
static void long_names(void **state)
{
	static const struct op script[] = {
	    {OP_CREATE, .path = "g"},
	    {OP_WRITE, .path = "g", .len = 5000, .salt = 2},
	    {OP_FSYNC, .path = "g"},
	    {OP_MKDIR, .path = "h"},
	    {OP_CREATE, .path = "hg"},
	    {OP_FSYNC, .path = "hg"},
	    {OP_RENAME, .path = "g", .to = "hh"},
	    {OP_FSYNC, .path = "hh"},
	    {OP_LINK, .path = "hh", .to = "g"},
	    {OP_SYMLINK, .path = "b", .salt = 3},
	    {OP_FSYNC, .path = "h"},
	    {OP_UNLINK, .path = "hh"},
	    {OP_RENAME_EXCHANGE, .path = "hg", .to = "g"},
	    {OP_FSYNC, .path = "g"},
	};

	(void)state;
	RUN(script);
}

/*
 * Elsewhere: blocks overwritten in place are torn, and a database with a write-ahead log is lost:
 * a is the database, b its log. Log frames, fsync, again; checkpoint into the database in pages,
 * fsync, log restarted.
 */
static void database_with_log(void **state)
{
	static const struct op script[] = {
	    {OP_CREATE, .path = "a"},
	    {OP_WRITE, .path = "a", .len = 40960, .salt = 1},
	    {OP_FSYNC, .path = "a"},
	    {OP_CREATE, .path = "b"},
	    {OP_WRITE, .path = "b", .off = 0, .len = 32, .salt = 2},
	    {OP_WRITE, .path = "b", .off = 32, .len = 4120, .salt = 3},
	    {OP_WRITE, .path = "b", .off = 4152, .len = 4120, .salt = 4},
	    {OP_FSYNC, .path = "b"},
	    {OP_WRITE, .path = "b", .off = 8272, .len = 4120, .salt = 5},
	    {OP_FSYNC, .path = "b"},
	    {OP_WRITE, .path = "a", .off = 4096, .len = 4096, .salt = 3},
	    {OP_WRITE, .path = "a", .off = 20480, .len = 4096, .salt = 4},
	    {OP_WRITE, .path = "a", .off = 40960, .len = 4096, .salt = 5},
	    {OP_FSYNC, .path = "a"},
	    {OP_WRITE, .path = "b", .off = 0, .len = 32, .salt = 6},
	    {OP_WRITE, .path = "b", .off = 32, .len = 4120, .salt = 7},
	    {OP_FSYNC, .path = "b"},
	    {OP_WRITE, .path = "a", .off = 4096, .len = 4096, .salt = 7},
	    {OP_FSYNC, .path = "a"},
	    {OP_TRUNCATE, .path = "b", .off = 0},
	    {OP_FSYNC, .path = "b"},
	};
	(void)state;
	RUN(script);
}

/* Saved as careful programs do and as careless ones do, over and over, with readers' handles and a
 * snapshot on the old versions: the name has one whole version, the snapshot its own. */
static void saved_under_handles(void **state)
{
	static const struct op script[] = {
	    {OP_CREATE, .path = "a"},
	    {OP_WRITE, .path = "a", .len = 9000, .salt = 1},
	    {OP_FSYNC, .path = "a"},
	    {OP_OPEN, .path = "a", .to = "@0"},
	    {.kind = OP_SNAPSHOT},
	    {OP_CREATE, .path = "b"},
	    {OP_WRITE, .path = "b", .len = 12000, .salt = 2},
	    {OP_RENAME, .path = "b", .to = "a"}, /* careless: no fsync */
	    {OP_WRITE, .path = "@0", .off = 100, .len = 5000, .salt = 3},
	    {OP_FSYNC, .path = "@0"},
	    {OP_OPEN, .path = "a", .to = "@1"},
	    {OP_WRITE, .path = "@1", .off = 4096, .len = 4096, .salt = 4},
	    {OP_CREATE, .path = "b"},
	    {OP_WRITE, .path = "b", .len = 3000, .salt = 5},
	    {OP_FSYNC, .path = "b"},
	    {OP_RENAME, .path = "b", .to = "a"},
	    {OP_FSYNC, .path = "a"},
	    {OP_TRUNCATE, .path = "@1", .off = 50000},
	    {OP_READ, .path = "@0"},
	    {OP_READ, .path = "@1"},
	    {OP_CLOSE, .path = "@0"},
	    {.kind = OP_SYNC},
	    {.kind = OP_SNAPSHOT_END},
	    {OP_CLOSE, .path = "@1"},
	    {.kind = OP_SYNC},
	};
	(void)state;
	RUN(script);
}

/* Many small synced writes without any change of names: what a log of its own may carry, inline and
 * in blocks, shortened, with holes, until a rename and a sync come between. */
static void synced_again_and_again(void **state)
{
	struct op ops[54] = {
	    {OP_CREATE, .path = "a"},
	    {OP_WRITE, .path = "a", .len = 30000, .salt = 1},
	    {OP_CREATE, .path = "b"},
	    {.kind = OP_SYNC},
	};
	size_t n = 4;

	(void)state;
	for (unsigned i = 0; i < 23; i++) {
		const char *path = i % 3 ? "a" : "b";
		struct op change = {OP_WRITE, .off = i * 1237 % 9000, .len = 1 + i * 977 % 6000,
				    .salt = i};

		if (i % 7 == 5)
			change.kind = i % 2 ? OP_TRUNCATE : OP_PUNCH;
		strcpy(change.path, path);
		ops[n++] = change;
		ops[n] = (struct op){.kind = OP_FSYNC};
		strcpy(ops[n++].path, path);
		if (i == 14)
			ops[n++] = (struct op){OP_RENAME, .path = "b", .to = "c"};
		if (i == 14)
			ops[n++] = (struct op){OP_LINK, .path = "c", .to = "b"};
	}
	ops[n++] = (struct op){.kind = OP_SYNC};
	run_script(ops, n);
}

/* A small file renamed over another before it was published, and then grown out of its inode: the
 * name comes with all of it. */
static void heir_that_grows(void **state)
{
	static const struct op script[] = {
	    {OP_CREATE, .path = "e"},
	    {OP_CREATE, .path = "d"},
	    {OP_RENAME, .path = "d", .to = "h"},
	    {OP_WRITE, .path = "h", .off = 747, .len = 512, .salt = 1},
	    {OP_RENAME, .path = "h", .to = "e"},
	    {OP_WRITE, .path = "e", .off = 74558, .len = 2047, .salt = 2},
	    {OP_CREATE, .path = "f"},
	    {OP_FSYNC, .path = "f"},
	};
	(void)state;
	RUN(script);
}

/* Elsewhere: a store is unusable after a cut right behind init. Here: from the acknowledgement on
 * it mounts and works; before, what is there does not open, and says so. */
static void cut_behind_init(void **state)
{
	struct driver d = {.who = who};
	unsigned n_states = 0, n_up = 0;
	uint8_t block[3000] = {1};

	(void)state;
	d.fx = fixture_new();
	reference_init(&d.ref);
	medium_record(d.fx->dir);
	driver_create(d.fx, who);
	medium_stop();
	for (size_t cut = 0; cut <= medium_n_ops(); cut++) {
		for (unsigned salt = 0; salt < 6; salt++) {
			struct medium_state *s =
			    medium_cut(cut, salt ? MEDIUM_TORN : MEDIUM_SYNCED, 512, salt);
			uint64_t id;

			medium_state_put(s);
			medium_state_free(s);
			n_states++;
			bool up = driver_mount(&d, false);
			assert_true(up || cut < medium_n_ops());
			if (!up)
				continue;
			n_up++;
			id = make(d.fx->v, VOLUME_ROOT_ID, "a", S_IFREG | 0600);
			write_at(d.fx->v, id, block, sizeof(block), 0);
			assert_int_equal(volume_fsync(d.fx->v, id), 0);
			check_clean(d.fx->v);
			assert_int_equal(d.fx->n_alarms, 0);
			assert_true(driver_unmount(&d));
		}
	}
	printf("# %u states, %u of them a volume\n", n_states, n_up);
	assert_true(n_up >= 6);
	driver_end(&d);
	remove_tree(AT_FDCWD, d.fx->dir);
	free(d.fx);
}

/* Promise: what was handed over is durable by itself, without any sync. */
static void durable_by_itself(void **state)
{
	static const struct op script[] = {
	    {OP_MKDIR, .path = "a"},
	    {OP_CREATE, .path = "ab"},
	    {OP_WRITE, .path = "ab", .len = 60000, .salt = 1},
	    {OP_CREATE, .path = "c"},
	    {OP_WRITE, .path = "c", .len = 100, .salt = 2},
	    {OP_RENAME, .path = "c", .to = "ac"},
	};
	const struct timespec pause = {.tv_nsec = 20000000};
	struct driver d = {.who = who};
	struct volume_stat was, now;

	(void)state;
	d.fx = fixture_new();
	reference_init(&d.ref);
	driver_create(d.fx, who);
	medium_record(d.fx->dir);
	assert_true(driver_mount(&d, false));
	for (size_t i = 0; i < sizeof(script) / sizeof(script[0]); i++)
		assert_int_equal(drive(&d, &script[i], NULL, NULL), DRIVE_DONE);
	/* Two commits after the last change: the first may have begun before it. */
	volume_stat(d.fx->v, &was);
	uint64_t root = VOLUME_ROOT_ID;
	for (unsigned i = 0; i < 3000; i++) {
		struct volume_attr in = {.mode = 0755}, out;

		assert_int_equal(volume_setattr(d.fx->v, root, VOLUME_SET_MODE, &in, &out), 0);
		volume_stat(d.fx->v, &now);
		if (now.txn >= was.txn + 2)
			break;
		nanosleep(&pause, NULL);
	}
	assert_true(now.txn >= was.txn + 2);
	size_t cut = medium_n_ops();
	assert_true(driver_unmount(&d));
	medium_stop();
	struct medium_state *s = medium_cut(cut, MEDIUM_SYNCED, 0, 0);
	medium_state_put(s);
	medium_state_free(s);
	assert_true(driver_mount(&d, false));
	struct view *w = view_read(&d);
	assert_non_null(w);
	if (!view_is(&d, w, &d.ref))
		fail_msg("%s", d.why);
	view_free(w);
	assert_true(driver_unmount(&d));
	driver_end(&d);
	remove_tree(AT_FDCWD, d.fx->dir);
	free(d.fx);
}

/* A freeze is kept by handles that are open, ends with the power, and harms nothing committed. */
static void frozen_then_cut(void **state)
{
	struct driver d = {.who = who};
	static const struct op make_it[] = {
	    {OP_CREATE, .path = "a"},
	    {OP_WRITE, .path = "a", .len = 9000, .salt = 1},
	    {OP_OPEN, .path = "a", .to = "@0"},
	    {OP_CREATE, .path = "b"},
	    {OP_WRITE, .path = "b", .len = 200, .salt = 2},
	    {.kind = OP_SYNC},
	};
	uint8_t block[4096] = {9};

	(void)state;
	d.fx = fixture_new();
	reference_init(&d.ref);
	driver_create(d.fx, who);
	medium_record(d.fx->dir);
	assert_true(driver_mount(&d, false));
	for (size_t i = 0; i < sizeof(make_it) / sizeof(make_it[0]); i++)
		assert_int_equal(drive(&d, &make_it[i], NULL, NULL), DRIVE_DONE);
	struct volume *v = d.fx->v;
	uint64_t a = d.ref.n[reference_find(&d.ref, "a")].id;
	assert_int_equal(volume_freeze(v, &a, 1), 0);
	assert_int_equal(volume_write(v, a, block, sizeof(block), 0, false), -EROFS);
	assert_int_equal(volume_fallocate(v, a, 0, 0, 100000), -EROFS);
	assert_int_equal(volume_rename(v, 1, "b", 1, "a", 0), -EROFS);
	assert_int_equal(volume_rename(v, 1, "a", 1, "c", 0), -EROFS);
	assert_int_equal(volume_unlink(v, 1, "a"), -EROFS);
	assert_int_equal(volume_open_file(v, a, true), -EROFS);
	assert_true(view_file_fits(&d, reference_find(&d.ref, "@0")));
	assert_int_equal(volume_fsync(v, a), 0);
	size_t cut = medium_n_ops();
	volume_thaw(v);
	assert_true(driver_unmount(&d));
	medium_stop();
	struct medium_state *s = medium_cut(cut, MEDIUM_SYNCED, 0, 0);
	medium_state_put(s);
	medium_state_free(s);
	assert_true(driver_mount(&d, false));
	assert_true(view_file_fits(&d, reference_find(&d.ref, "a")));
	write_at(d.fx->v, a, block, sizeof(block), 0);
	assert_int_equal(volume_rename(d.fx->v, 1, "b", 1, "a", 0), 0);
	check_clean(d.fx->v);
	assert_true(driver_unmount(&d));
	driver_end(&d);
	remove_tree(AT_FDCWD, d.fx->dir);
	free(d.fx);
}

static int setup(void **state)
{
	(void)state;
	who = identity_new("Ada", "1");
	return !who;
}

static int teardown(void **state)
{
	(void)state;
	identity_free(who);
	workload_forget();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(folder_made_and_synced), cmocka_unit_test(long_names),
	    cmocka_unit_test(database_with_log),      cmocka_unit_test(saved_under_handles),
	    cmocka_unit_test(synced_again_and_again), cmocka_unit_test(heir_that_grows),
	    cmocka_unit_test(cut_behind_init),
	    cmocka_unit_test(durable_by_itself),      cmocka_unit_test(frozen_then_cut),
	};

	fixture_in_memory();
	return cmocka_run_group_tests(tests, setup, teardown);
}
