/*
 * The volume after a crash of its process, after ENOSPC, and after damage. (Power cuts, where the
 * page cache goes as well, are tests/crash's.)
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "fs/engine_internal.h"
#include "tests/unit/volume_fixture.h"

#define ROOT VOLUME_ROOT_ID

/* In the crashing process: a failure there must reach the parent. */
#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static uint64_t put_file(struct volume *v, const char *name, char c, size_t len)
{
	struct volume_new in = {.mode = S_IFREG | 0600};
	struct volume_attr a;
	char *p = malloc(len);

	MUST(p && volume_make(v, ROOT, name, &in, &a) == 0);
	memset(p, c, len);
	MUST(volume_write(v, a.id, p, len, 0, false) == (ssize_t)len);
	free(p);
	return a.id;
}

static void sync_some(struct volume *v)
{
	put_file(v, "unsynced before", 'u', 50000);
	uint64_t id = put_file(v, "synced", 's', 300000);
	MUST(volume_rename(v, ROOT, "unsynced before", ROOT, "moved", 0) == 0);
	MUST(volume_fsync(v, id) == 0);
	put_file(v, "after", 'a', 300000);
	MUST(volume_unlink(v, ROOT, "synced") == 0);
}

/* Promise: what fsync acknowledged is there, with the namespace of that moment; what came later is
 * not, in no part. */
static void fsync_holds(void **state)
{
	struct fixture *fx = *state;
	struct volume_attr a;

	fixture_crash(fx, sync_some);
	fixture_mount(fx);
	check_clean(fx->v);
	check_file(fx->v, find_id(fx->v, ROOT, "synced"), 's', 300000);
	assert_int_equal(find(fx->v, ROOT, "unsynced before", &a), -ENOENT);
	assert_int_equal(find(fx->v, ROOT, "after", &a), -ENOENT);
	/* named by the commit, its data not asked for: there, and empty, never torn */
	assert_int_equal(find(fx->v, ROOT, "moved", &a), 0);
	assert_int_equal(a.size, 0);
	assert_int_equal(a.blocks, 0);
	assert_int_equal(fx->n_alarms, 0);
}

static void sync_all(struct volume *v)
{
	put_file(v, "one", '1', 10);
	put_file(v, "two", '2', 1000000);
	MUST(volume_sync(v) == 0);
	uint64_t id = put_file(v, "three", '3', 10);
	MUST(volume_write(v, id, "later", 5, 500000, false) == 5);
}

/* Promise: sync makes all of it durable. */
static void sync_holds(void **state)
{
	struct fixture *fx = *state;
	struct volume_attr a;

	fixture_crash(fx, sync_all);
	fixture_mount(fx);
	check_clean(fx->v);
	check_file(fx->v, find_id(fx->v, ROOT, "one"), '1', 10);
	check_file(fx->v, find_id(fx->v, ROOT, "two"), '2', 1000000);
	assert_int_equal(find(fx->v, ROOT, "three", &a), -ENOENT);
	assert_int_equal(inodes_in_use(fx->v), 3);
}

static void save_over(struct volume *v)
{
	put_file(v, "doc.tmp", 'n', 400000);
	MUST(volume_rename(v, ROOT, "doc.tmp", ROOT, "doc", 0) == 0);
	MUST(volume_fsync(v, put_file(v, "other", 'x', 10)) == 0);
}

/* Promise: a commit that another file's fsync asked for publishes a rename over a file only with
 * the new content. */
static void rename_over_is_whole(void **state)
{
	struct fixture *fx = *state;
	uint64_t old = make_file(fx->v, ROOT, "doc", 'o', 400000), id;

	fixture_crash(fx, save_over);
	fixture_mount(fx);
	check_clean(fx->v);
	id = find_id(fx->v, ROOT, "doc");
	assert_int_not_equal(id, old);
	check_file(fx->v, id, 'n', 400000);
	assert_int_equal(inodes_in_use(fx->v), 3);
}

static void grow_out_of_inode(struct volume *v)
{
	struct volume_attr in = {.mode = 0640}, a;
	char *p = malloc(300000);

	MUST(p && volume_lookup(v, ROOT, "doc", &a) == 0);
	memset(p, 'o', 300000);
	MUST(volume_write(v, a.id, p, 300000, 0, false) == 300000);
	MUST(volume_setattr(v, a.id, VOLUME_SET_MODE, &in, &a) == 0);
	MUST(volume_fsync(v, put_file(v, "other", 'x', 10)) == 0);
}

/* Promise: a file that outgrows its inode record is whole in one form or the other. */
static void leaving_the_inode_is_whole(void **state)
{
	struct fixture *fx = *state;
	struct volume_attr a;

	make_file(fx->v, ROOT, "doc", 'o', 100);
	fixture_crash(fx, grow_out_of_inode);
	fixture_mount(fx);
	check_clean(fx->v);
	assert_int_equal(find(fx->v, ROOT, "doc", &a), 0);
	assert_int_equal(a.mode, S_IFREG | 0640);
	check_file(fx->v, a.id, 'o', a.size);
	assert_true(a.size == 100 || a.size == 300000);
}

static void leave_orphans(struct volume *v)
{
	uint64_t a = put_file(v, "a", 'a', 600000), b = put_file(v, "b", 'b', 10);

	MUST(volume_sync(v) == 0);
	MUST(volume_open_file(v, a, true) == 0 && volume_open_file(v, b, false) == 0);
	MUST(volume_unlink(v, ROOT, "a") == 0 && volume_unlink(v, ROOT, "b") == 0);
	MUST(volume_write(v, a, "more", 4, 1000000, false) == 4);
	MUST(volume_sync(v) == 0);
}

static unsigned count_objects(const char *dir)
{
	unsigned n = 0;
	DIR *d = opendir(dir);

	for (struct dirent *e; d && (e = readdir(d));) {
		char path[512];
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (lstat(path, &st) == 0)
			n += S_ISDIR(st.st_mode) ? count_objects(path) : 1;
	}
	if (d)
		closedir(d);
	return n;
}

/* Promise: files that were unlinked but open at the crash are reclaimed at the next mount: records
 * and objects. */
static void orphans_are_reclaimed(void **state)
{
	struct fixture *fx = *state;
	char objects[160];

	snprintf(objects, sizeof(objects), "%s/objects", fx->store);
	fixture_crash(fx, leave_orphans);
	assert_int_equal(count_objects(objects), 1);
	fixture_mount(fx);
	assert_int_equal(inodes_in_use(fx->v), 1);
	check_clean(fx->v);
	fixture_remount(fx);
	assert_int_equal(count_objects(objects), 0);
	assert_int_equal(inodes_in_use(fx->v), 1);
	assert_int_equal(fx->n_alarms, 0);
}

static uint64_t *shared_id; /* with the crashing process */

static void take_ids(struct volume *v)
{
	for (int i = 0; i < 3000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%d", i);
		*shared_id = put_file(v, name, 'x', 1);
	}
}

/* Promise: an id that was given out is never given out again, though nothing of it became durable.
 */
static void ids_are_not_reused(void **state)
{
	struct fixture *fx = *state;

	shared_id = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared_id, MAP_FAILED);
	fixture_crash(fx, take_ids);
	fixture_mount(fx);
	assert_true(*shared_id > 3000);
	assert_true(make(fx->v, ROOT, "next", S_IFREG) > *shared_id);
	munmap(shared_id, 4096);
}

static int remove_below(const char *dir, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	remove_tree(AT_FDCWD, path);
	return access(path, F_OK);
}

/* Promise: on bare metal the keys come back from an escrow or an anchor that has seen another store;
 * the new one goes on above its transactions and ids, and no record of the old one fits into it. */
static void new_store_for_old_keys(void **state)
{
	struct fixture *fx = *state;
	struct volume_config cfg = fixture_config(fx);
	struct keyring_fresh before, after;
	struct volume_stat st;

	uint64_t old = make_file(fx->v, ROOT, "old", 'o', 50000);
	fixture_unmount(fx);
	keyring_fresh_get(fx->kr, &before);
	assert_true(before.txn > 1);
	assert_int_equal(remove_below(fx->store, "meta.db"), -1);
	assert_int_equal(remove_below(fx->store, "objects"), -1);
	assert_int_equal(volume_create(&cfg, 1000, 1000, &fx->d), 0);
	keyring_fresh_get(fx->kr, &after);
	assert_true(after.txn > before.txn + 1000);
	fixture_mount(fx);
	assert_true(make_file(fx->v, ROOT, "new", 'n', 50000) > old);
	volume_stat(fx->v, &st);
	assert_true(st.txn > before.txn);
	fixture_unmount(fx);
	fixture_close_keys(fx);
	fixture_open_keys(fx);
	fixture_mount(fx);
	check_clean(fx->v);
	check_file(fx->v, find_id(fx->v, ROOT, "new"), 'n', 50000);
}

/* Promise: a file of holes has no object; it can be deleted, and the next of its kind synced. */
static void files_of_holes(void **state)
{
	struct fixture *fx = *state;
	struct volume_attr in = {.size = 1 << 20}, a;

	for (int i = 0; i < 3; i++) {
		uint64_t id = make(fx->v, ROOT, "hole", S_IFREG | 0600);

		assert_int_equal(volume_setattr(fx->v, id, VOLUME_SET_SIZE, &in, &a), 0);
		assert_int_equal(volume_fsync(fx->v, id), 0);
		assert_int_equal(volume_unlink(fx->v, ROOT, "hole"), 0);
		fixture_remount(fx);
	}
}

static void overwrite_unsynced(struct volume *v)
{
	struct volume_attr a, in = {.size = 1000};
	char block[40960];

	memset(block, 'n', sizeof(block));
	MUST(volume_lookup(v, ROOT, "doc", &a) == 0);
	MUST(volume_write(v, a.id, block, sizeof(block), 0, false) == sizeof(block));
	MUST(volume_setattr(v, a.id, VOLUME_SET_SIZE, &in, &a) == 0);
	MUST(volume_fsync(v, put_file(v, "other", 'x', 10)) == 0);
}

/* Promise: overwriting and cutting off without a sync leaves the old content whole. */
static void unsynced_overwrite(void **state)
{
	struct fixture *fx = *state;

	make_file(fx->v, ROOT, "doc", 'o', 200000);
	fixture_crash(fx, overwrite_unsynced);
	fixture_mount(fx);
	check_clean(fx->v);
	check_file(fx->v, find_id(fx->v, ROOT, "doc"), 'o', 200000);
	assert_int_equal(fx->n_alarms, 0);
}

/* ---- a full disk ---- */

/* A small medium of our own, or the test is skipped. */
static void mount_small(const char *dir)
{
	assert_int_equal(mkdir(dir, 0700), 0);
	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=80m") != 0)
		skip();
}

static int fill(struct volume *v, unsigned *io_n)
{
	static char block[1 << 20];
	int r = 0;

	memset(block, 'x', sizeof(block));
	for (; r == 0 && *io_n < 500; (*io_n)++) {
		char name[32];
		uint64_t id;

		snprintf(name, sizeof(name), "f%u", *io_n);
		r = try_make(v, ROOT, name, S_IFREG | 0600, &id);
		if (r == 0) {
			ssize_t n = volume_write(v, id, block, sizeof(block), 0, false);
			r = n < 0 ? (int)n : 0;
		}
		if (r == 0 && *io_n % 8 == 7)
			r = volume_sync(v);
	}
	return r;
}

/* Promise: on a full disk the caller gets ENOSPC, what was acknowledged stays, and deleting works
 * and makes space. */
static void full_disk(void **state)
{
	struct fixture *fx = fixture_new();
	char small[100], name[32];
	unsigned n = 0;
	struct volume_attr a;

	*state = fx;
	snprintf(small, sizeof(small), "%s/small", fx->dir);
	mount_small(small);
	fixture_create_at(fx, small);
	check_file(fx->v, make_file(fx->v, ROOT, "kept", 'k', 100000), 'k', 100000);
	assert_int_equal(volume_sync(fx->v), 0);
	assert_int_equal(fill(fx->v, &n), -ENOSPC);
	assert_true(n > 20);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		if (find(fx->v, ROOT, name, &a) == 0)
			assert_int_equal(volume_unlink(fx->v, ROOT, name), 0);
	}
	assert_int_equal(volume_sync(fx->v), 0);
	fixture_remount(fx);
	check_file(fx->v, find_id(fx->v, ROOT, "kept"), 'k', 100000);
	assert_int_equal(inodes_in_use(fx->v), 2);
	/* and the space is there again */
	make_file(fx->v, ROOT, "new", 'n', 20 << 20);
	fixture_remount(fx);
	check_file(fx->v, find_id(fx->v, ROOT, "new"), 'n', 20 << 20);
	fixture_unmount(fx);
	umount2(small, MNT_DETACH);
}

/* Promise: a small medium that was full recovers once a good part of it is free, however much less
 * than a large one's reserve that is; until then it says that nothing is. */
static void small_disk_recovers(void **state)
{
	struct fixture *fx = fixture_new();
	char small[100], name[32];
	struct volume_stat st;
	struct statvfs fs;
	unsigned n = 0, n_gone = 0;

	*state = fx;
	snprintf(small, sizeof(small), "%s/small", fx->dir);
	mount_small(small);
	fixture_create_at(fx, small);
	assert_int_equal(fill(fx->v, &n), -ENOSPC);
	/* What a commit does that finds no room; whether one did depends on the last write. */
	engine_enter(fx->v);
	reserve_release(fx->v);
	engine_leave(fx->v);
	assert_int_equal(volume_sync(fx->v), 0);
	volume_stat(fx->v, &st);
	assert_true(st.total_bytes > 0 && st.free_bytes == 0 && st.n_files_free == 0);
	do {
		assert_true(n_gone < n);
		snprintf(name, sizeof(name), "f%u", n_gone++);
		assert_int_equal(volume_unlink(fx->v, ROOT, name), 0);
		assert_int_equal(volume_sync(fx->v), 0);
		committer_chores(fx->v);
		volume_stat(fx->v, &st);
		assert_int_equal(statvfs(small, &fs), 0);
	} while (st.free_bytes == 0 && fs.f_bavail * fs.f_frsize < 40 << 20);
	assert_true(st.free_bytes > 0);
	make_file(fx->v, ROOT, "new", 'n', 1 << 20);
	assert_int_equal(volume_sync(fx->v), 0);
	fixture_unmount(fx);
	umount2(small, MNT_DETACH);
}

/* Promise: on a medium that is nearly full a snapshot gives way before a writer is refused, with the
 * space that only it held; whoever reads it is told so, and it is no damage. */
static void snapshot_gives_way(void **state)
{
	struct fixture *fx = fixture_new();
	const struct volume_snap_ops ops = {0};
	struct volume_snapshot s;
	struct volume_stat st;
	char small[100];

	*state = fx;
	snprintf(small, sizeof(small), "%s/small", fx->dir);
	mount_small(small);
	fixture_create_at(fx, small);
	make_file(fx->v, ROOT, "old", 'o', 20 << 20);
	assert_int_equal(volume_snapshot_open(fx->v, &s), 0);
	committer_chores(fx->v);
	assert_int_equal(volume_snapshot_find(fx->v, s.snap.id, &s), 0);
	assert_int_equal(volume_unlink(fx->v, ROOT, "old"), 0);
	uint64_t id = make(fx->v, ROOT, "new", S_IFREG | 0600);
	static char block[1 << 20];
	uint64_t off = 0;
	do {
		write_at(fx->v, id, block, sizeof(block), off);
		off += sizeof(block);
		volume_stat(fx->v, &st);
	} while (st.free_bytes > 3 << 20);
	assert_int_equal(volume_sync(fx->v), 0);
	committer_chores(fx->v);
	assert_int_equal(volume_snapshot_find(fx->v, s.snap.id, &s), -ENOENT);
	assert_int_equal(volume_snapshot_scan(fx->v, &s, 0, &ops, NULL), -ESTALE);
	volume_stat(fx->v, &st);
	assert_true(st.free_bytes > 15 << 20);
	assert_int_equal(fx->n_alarms, 0);
	fixture_unmount(fx);
	umount2(small, MNT_DETACH);
}

static int full_disk_teardown(void **state)
{
	return *state ? fixture_teardown(state) : 0;
}

/* ---- damage ---- */

static void flip(const char *path, off_t off)
{
	CLEANUP_FD int fd = open(path, O_RDWR);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, off), 1);
	b ^= 1;
	assert_int_equal(pwrite(fd, &b, 1, off), 1);
}

/* Promise: a flipped or missing block is EIO and an alarm, never data and never a hole; its
 * neighbours still read. */
static void damaged_block(void **state)
{
	struct fixture *fx = *state;
	uint64_t id = make_file(fx->v, ROOT, "f", 'f', 3 * 4096),
		 other = make_file(fx->v, ROOT, "g", 'g', 4096);
	char rel[64], path[200], buf[4096];

	fixture_unmount(fx);
	volume_object_path(id, 0, rel);
	snprintf(path, sizeof(path), "%s/%s", fx->store, rel);
	flip(path, 4096 + 17);
	volume_object_path(other, 0, rel);
	snprintf(path, sizeof(path), "%s/%s", fx->store, rel);
	assert_int_equal(unlink(path), 0);
	fixture_mount(fx);
	assert_int_equal(volume_read(fx->v, id, buf, 4096, 4096), -EIO);
	assert_int_equal(fx->n_alarms, 1);
	assert_int_equal(volume_read(fx->v, id, buf, 4096, 0), 4096);
	assert_int_equal(volume_read(fx->v, id, buf, 4096, 8192), 4096);
	assert_int_equal(volume_read(fx->v, other, buf, 4096, 0), -EIO);
	assert_int_equal(fx->n_alarms, 2);
}

/* Promise: wherever a byte of the record store flips, no name turns into "no such file" and no
 * content into another. */
static void damaged_records(void **state)
{
	struct fixture *fx = *state;
	char meta[160], name[32], buf[100];
	struct stat st;
	unsigned n_failed = 0;

	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		make_file(fx->v, ROOT, name, 'f', 100);
	}
	fixture_unmount(fx);
	snprintf(meta, sizeof(meta), "%s/meta.db", fx->store);
	assert_int_equal(stat(meta, &st), 0);
	for (off_t off = 4096 + 2000; off < st.st_size; off += 4096 * 3 + 61) {
		struct volume_config cfg = fixture_config(fx);
		struct volume_attr a;
		int r;

		flip(meta, off);
		cfg.read_only = true; /* so that nothing is written over the damage */
		r = volume_open(&cfg, &fx->v, NULL);
		for (int i = 0; r == 0 && i < 50; i++) {
			snprintf(name, sizeof(name), "f%d", i);
			r = find(fx->v, ROOT, name, &a);
			assert_int_not_equal(r, -ENOENT);
			if (r == 0 && volume_read(fx->v, a.id, buf, 100, 0) == 100)
				assert_true(buf[0] == 'f' && buf[99] == 'f');
		}
		n_failed += r != 0;
		volume_close(fx->v);
		fx->v = NULL;
		flip(meta, off);
	}
	assert_true(n_failed > 0);
	fixture_mount(fx);
	check_file(fx->v, find_id(fx->v, ROOT, "f49"), 'f', 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    MOUNTED(fsync_holds),
	    MOUNTED(sync_holds),
	    MOUNTED(rename_over_is_whole),
	    MOUNTED(leaving_the_inode_is_whole),
	    MOUNTED(orphans_are_reclaimed),
	    MOUNTED(ids_are_not_reused),
	    MOUNTED(new_store_for_old_keys),
	    MOUNTED(files_of_holes),
	    MOUNTED(unsynced_overwrite),
	    MOUNTED(damaged_block),
	    MOUNTED(damaged_records),
	    cmocka_unit_test_setup_teardown(full_disk, NULL, full_disk_teardown),
	    cmocka_unit_test_setup_teardown(small_disk_recovers, NULL, full_disk_teardown),
	    cmocka_unit_test_setup_teardown(snapshot_gives_way, NULL, full_disk_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
