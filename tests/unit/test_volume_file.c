/* The volume: files, their objects, and the volume as a whole. Crashes: test_volume_crash.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "fs/data_internal.h"
#include "fs/engine_internal.h"
#include "tests/unit/volume_fixture.h"

#define ROOT VOLUME_ROOT_ID

/* ---- files ---- */

/* Promise: holes read as zeros, are found by seeking, and take no blocks; fallocate's modes do what
 * they say. */
static void holes(void **state)
{
	struct fixture *fx = *state;
	uint64_t id = make_file(fx->v, ROOT, "f", 'f', 1 << 20), at;
	struct volume_attr a;
	char c[2];

	assert_int_equal(
	    volume_fallocate(fx->v, id, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 131072),
	    0);
	fixture_remount(fx);
	assert_int_equal(volume_seek(fx->v, id, 0, SEEK_HOLE, &at), 0);
	assert_int_equal(at, 65536);
	assert_int_equal(volume_seek(fx->v, id, 70000, SEEK_DATA, &at), 0);
	assert_int_equal(at, 65536 + 131072);
	assert_int_equal(volume_read(fx->v, id, c, 2, 65535), 2);
	assert_true(c[0] == 'f' && c[1] == 0);
	assert_int_equal(volume_getattr(fx->v, id, &a), 0);
	assert_int_equal(a.blocks, ((1 << 20) - 131072) / 512);
	assert_int_equal(volume_fallocate(fx->v, id, FALLOC_FL_KEEP_SIZE, 0, 2 << 20), 0);
	assert_int_equal(volume_getattr(fx->v, id, &a), 0);
	assert_int_equal(a.size, 1 << 20);
	assert_int_equal(volume_fallocate(fx->v, id, 0, 0, 2 << 20), 0);
	assert_int_equal(volume_fallocate(fx->v, id, FALLOC_FL_ZERO_RANGE, (2 << 20) - 1, 5), 0);
	assert_int_equal(volume_getattr(fx->v, id, &a), 0);
	assert_int_equal(a.size, (2 << 20) + 4);
	assert_int_equal(volume_fallocate(fx->v, id, 0, 0, 0), -EINVAL);
	assert_int_equal(volume_fallocate(fx->v, id, FALLOC_FL_COLLAPSE_RANGE, 0, 4096),
			 -EOPNOTSUPP);
	assert_int_equal(volume_fallocate(fx->v, id, FALLOC_FL_PUNCH_HOLE, 0, 4096), -EOPNOTSUPP);
	assert_int_equal(volume_seek(fx->v, id, a.size, SEEK_DATA, &at), -ENXIO);
}

struct on_the_way {
	struct fixture *fx;
	uint64_t src, dst;
	atomic_bool done;
	ssize_t result;
};

/* Until the call of the other thread lets go of the lock while it has the file, or is done. */
static void await_wait(struct on_the_way *w, const struct vinode *ino, uint32_t n_pins)
{
	struct volume *v = w->fx->v;
	bool there = false;

	while (!there && !w->done) {
		sched_yield();
		pthread_mutex_lock(&v->lock);
		there = ino->n_pins > n_pins;
		pthread_mutex_unlock(&v->lock);
	}
}

static void *lengthen(void *arg)
{
	struct on_the_way *w = arg;

	w->result = volume_fallocate(w->fx->v, w->dst, 0, 0, 3 * MAP_BLOCK);
	w->done = true;
	return NULL;
}

/* Promise: what makes a file longer cuts nothing that a write on its way made longer still. */
static void lengthened_meanwhile(void **state)
{
	struct fixture *fx = *state;
	uint64_t id = make_file(fx->v, ROOT, "f", 'f', 2 * MAP_BLOCK);
	struct on_the_way w = {.fx = fx, .dst = id};
	struct data_writer mine;
	struct volume_attr a;
	struct vinode *ino;
	pthread_t t;

	engine_enter(fx->v);
	assert_int_equal(inode_get(fx->v, id, &ino), 0);
	assert_int_equal(data_writer_begin(fx->v, ino, 0, 1, &mine), 0);
	engine_leave(fx->v);
	assert_int_equal(pthread_create(&t, NULL, lengthen, &w), 0);
	await_wait(&w, ino, 1);
	assert_int_equal(volume_write(fx->v, id, "end", 3, 6 * MAP_BLOCK, false), 3);
	engine_enter(fx->v);
	data_writer_end(fx->v, ino, &mine);
	engine_leave(fx->v);
	pthread_join(t, NULL);
	assert_int_equal(w.result, 0);
	assert_int_equal(volume_getattr(fx->v, id, &a), 0);
	assert_int_equal(a.size, 6 * MAP_BLOCK + 3);
	engine_enter(fx->v);
	inode_unpin(fx->v, ino);
	engine_leave(fx->v);
}

static void *copy_it(void *arg)
{
	struct on_the_way *w = arg;

	w->result = volume_copy(w->fx->v, w->src, 0, w->dst, 0, 8 * MAP_BLOCK);
	w->done = true;
	return NULL;
}

/* Promise: content does not leave a file that was frozen while it was read. */
static void copied_while_frozen(void **state)
{
	struct fixture *fx = *state;
	uint64_t src = make_file(fx->v, ROOT, "src", 's', 8 * MAP_BLOCK);
	struct on_the_way w = {.fx = fx, .src = src, .dst = make_file(fx->v, ROOT, "dst", 'd', 10)};
	struct data_io *io[DATA_IOS];
	struct volume_attr a;
	struct vinode *ino;
	pthread_t t;

	engine_enter(fx->v);
	assert_int_equal(inode_get(fx->v, src, &ino), 0);
	for (unsigned i = 0; i < DATA_IOS; i++)
		assert_int_equal(data_io_get(fx->v, DATA_YIELD, false, &io[i]), 0);
	engine_leave(fx->v);
	assert_int_equal(pthread_create(&t, NULL, copy_it, &w), 0);
	await_wait(&w, ino, 1);
	assert_int_equal(volume_freeze(fx->v, &src, 1), 0);
	engine_enter(fx->v);
	for (unsigned i = 0; i < DATA_IOS; i++)
		data_io_put(fx->v, io[i]);
	inode_unpin(fx->v, ino);
	engine_leave(fx->v);
	pthread_join(t, NULL);
	assert_int_equal(w.result, -EROFS);
	volume_thaw(fx->v);
	assert_int_equal(volume_getattr(fx->v, w.dst, &a), 0);
	assert_int_equal(a.size, 10);
}

/* Promise: a copy has the bytes and holes of its source and joins its lineage. */
static void copy_range(void **state)
{
	struct fixture *fx = *state;
	uint64_t src = make_file(fx->v, ROOT, "src", 's', 3 << 20), pair[2] = {0, 0}, at;
	uint64_t dst = make_file(fx->v, ROOT, "dst", 'd', 100);
	struct volume_attr a;
	char c;

	assert_int_equal(volume_fallocate(fx->v, src, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  1 << 20, 1 << 20),
			 0);
	assert_int_equal(volume_copy(fx->v, src, 0, dst, 0, 8 << 20), 3 << 20);
	assert_int_equal(volume_copy(fx->v, src, 0, src, 4096, 8192), -EINVAL);
	assert_int_equal(volume_copy(fx->v, src, 3 << 20, dst, 0, 1), 0);
	fixture_remount(fx);
	assert_int_equal(volume_getattr(fx->v, dst, &a), 0);
	assert_int_equal(a.size, 3 << 20);
	assert_int_equal(a.blocks, (2 << 20) / 512);
	assert_int_equal(volume_seek(fx->v, dst, 0, SEEK_HOLE, &at), 0);
	assert_int_equal(at, 1 << 20);
	assert_int_equal(volume_read(fx->v, dst, &c, 1, (3 << 20) - 1), 1);
	assert_int_equal(c, 's');
	assert_int_equal(volume_edges(fx->v, dst, note_edge, pair), 0);
	assert_int_equal(pair[0], src);
	assert_int_equal(pair[1], VOLUME_EDGE_COPIED);
}

static bool object_exists(struct fixture *fx, uint64_t id)
{
	char rel[64], path[200];

	volume_object_path(id, 0, rel);
	snprintf(path, sizeof(path), "%s/%s", fx->store, rel);
	return access(path, F_OK) == 0;
}

/* Promise: an unlinked open file stays whole until its last handle goes; then inode and object go.
 */
static void unlinked_open_file(void **state)
{
	struct fixture *fx = *state;
	uint64_t id = make_file(fx->v, ROOT, "f", 'f', 100000), *ids;
	struct volume_attr a;
	size_t n;

	assert_int_equal(volume_open_file(fx->v, id, true), 0);
	assert_int_equal(volume_writable_ids(fx->v, &ids, &n), 0);
	assert_true(n == 1 && ids[0] == id);
	free(ids);
	assert_int_equal(volume_unlink(fx->v, ROOT, "f"), 0);
	assert_int_equal(volume_fsync(fx->v, id), 0);
	check_file(fx->v, id, 'f', 100000);
	assert_int_equal(nlink_of(fx->v, id), 0);
	assert_true(object_exists(fx, id));
	volume_release_file(fx->v, id, true);
	assert_int_equal(volume_getattr(fx->v, id, &a), -ENOENT);
	assert_int_equal(inodes_in_use(fx->v), 1);
	fixture_remount(fx);
	assert_false(object_exists(fx, id));
	assert_int_equal(inodes_in_use(fx->v), 1);
}

/* Promise: an object that a snapshot needs outlives its file, and goes when the snapshot does. */
static void snapshot_keeps_object(void **state)
{
	struct fixture *fx = *state;
	uint64_t id = make_file(fx->v, ROOT, "f", 'f', 100000);
	struct volume_snapshot s;

	assert_int_equal(volume_snapshot_open(fx->v, &s), 0);
	uint64_t later = make_file(fx->v, ROOT, "later", 'l', 100000);
	assert_int_equal(volume_sync(fx->v), 0);
	assert_int_equal(volume_unlink(fx->v, ROOT, "f"), 0);
	assert_int_equal(volume_unlink(fx->v, ROOT, "later"), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(volume_sync(fx->v), 0);
		committer_chores(fx->v);
	}
	assert_true(object_exists(fx, id));
	assert_int_equal(volume_snapshot_find(fx->v, s.snap.id, &s), 0);
	assert_int_equal(volume_snapshot_close(fx->v, &s), 0);
	fixture_remount(fx);
	assert_false(object_exists(fx, id));
	assert_false(object_exists(fx, later));
}

/* Promise: a file with more map records than are deleted at a time goes wholly all the same. */
static void large_file_goes(void **state)
{
	struct fixture *fx = *state;
	uint64_t id = make(fx->v, ROOT, "large", S_IFREG | 0600);

	for (uint64_t i = 0; i < 2500; i++)
		write_at(fx->v, id, "x", 1, i * MAP_GROUP_BYTES);
	assert_int_equal(volume_sync(fx->v), 0);
	assert_int_equal(volume_unlink(fx->v, ROOT, "large"), 0);
	fixture_remount(fx);
	fixture_remount(fx);
	assert_false(object_exists(fx, id));
	assert_int_equal(inodes_in_use(fx->v), 1);
	check_clean(fx->v); /* no map record of a file that is not */
}

/* Promise: an unnamed file can be given a name, and is then as any other; without one it goes. */
static void unnamed_file(void **state)
{
	struct fixture *fx = *state;
	struct volume_new in = {.mode = S_IFREG | 0666, .umask = 022, .uid = 1, .gid = 2};
	struct volume_attr a, b;

	assert_int_equal(volume_make(fx->v, 0, NULL, &in, &a), 0);
	assert_int_equal(a.nlink, 0);
	assert_int_equal(a.mode, S_IFREG | 0644);
	write_at(fx->v, a.id, "content", 7, 0);
	assert_int_equal(volume_link(fx->v, a.id, ROOT, "named", &b), 0);
	assert_int_equal(b.nlink, 1);
	volume_forget(fx->v, a.id, 2);
	assert_int_equal(volume_make(fx->v, 0, NULL, &in, &b), 0);
	volume_forget(fx->v, b.id, 1);
	assert_int_equal(volume_getattr(fx->v, b.id, &b), -ENOENT);
	fixture_remount(fx);
	assert_int_equal(find_id(fx->v, ROOT, "named"), a.id);
	assert_int_equal(inodes_in_use(fx->v), 2);
}

/* ---- the volume ---- */

/* Promise: a store has one owner. */
static void one_owner(void **state)
{
	struct fixture *fx = *state;
	struct volume_config cfg = fixture_config(fx);
	struct volume *second;

	assert_int_equal(volume_open(&cfg, &second, &fx->d), -EBUSY);
	assert_int_equal(fx->d.id, DIAG_MOUNTED);
	assert_int_equal(volume_create(&cfg, 0, 0, &fx->d), -EBUSY);
	fixture_unmount(fx);
	assert_int_equal(volume_create(&cfg, 0, 0, &fx->d), -EEXIST);
	fixture_mount(fx);
}

/* Promise: a volume opened for reading changes nothing and says so. */
static void opened_for_reading(void **state)
{
	struct fixture *fx = *state;
	struct volume_config cfg;
	struct volume_attr a = {.mode = 0600};
	struct volume_stat st;
	uint64_t f = make_file(fx->v, ROOT, "f", 'f', 5000), id;

	fixture_unmount(fx);
	cfg = fixture_config(fx);
	cfg.read_only = true;
	assert_int_equal(volume_open(&cfg, &fx->v, &fx->d), 0);
	check_file(fx->v, f, 'f', 5000);
	assert_int_equal(try_make(fx->v, ROOT, "g", S_IFREG, &id), -EROFS);
	assert_int_equal(volume_write(fx->v, f, "x", 1, 0, false), -EROFS);
	assert_int_equal(volume_unlink(fx->v, ROOT, "f"), -EROFS);
	assert_int_equal(volume_rename(fx->v, ROOT, "f", ROOT, "g", 0), -EROFS);
	assert_int_equal(volume_setattr(fx->v, f, VOLUME_SET_MODE, &a, &a), -EROFS);
	assert_int_equal(volume_open_file(fx->v, f, true), -EROFS);
	assert_int_equal(volume_fsync(fx->v, f), 0);
	volume_stat(fx->v, &st);
	assert_true(st.read_only && st.why_read_only[0]);
}

static void copy_file(const char *from, const char *to)
{
	CLEANUP_FD int in = open(from, O_RDONLY),
		       out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	char buf[65536];
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)n), n);
	assert_int_equal(n, 0);
}

/* Promise: an older copy of the store is refused at mount. */
static void older_copy(void **state)
{
	struct fixture *fx = *state;
	struct volume_config cfg;
	char meta[160], kept[160];

	snprintf(meta, sizeof(meta), "%s/meta.db", fx->store);
	snprintf(kept, sizeof(kept), "%s/kept", fx->dir);
	make_file(fx->v, ROOT, "before", 'b', 10);
	fixture_unmount(fx);
	copy_file(meta, kept);
	fixture_mount(fx);
	make_file(fx->v, ROOT, "after", 'a', 10);
	fixture_unmount(fx);
	copy_file(kept, meta);
	cfg = fixture_config(fx);
	assert_int_equal(volume_open(&cfg, &fx->v, &fx->d), -EBADMSG);
	assert_int_equal(fx->d.id, DIAG_ROLLED_BACK);
	fx->v = NULL;
}

#define N_THREADS 4
#define FILES_EACH 25

struct worker {
	struct volume *v;
	unsigned no;
};

static void *write_and_sync(void *arg)
{
	struct worker *w = arg;
	char name[32], body[6000];

	memset(body, 'a' + (int)w->no, sizeof(body));
	for (unsigned i = 0; i < FILES_EACH; i++) {
		struct volume_new in = {.mode = S_IFREG | 0600};
		struct volume_attr a;

		snprintf(name, sizeof(name), "t%u.%u", w->no, i);
		if (volume_make(w->v, ROOT, name, &in, &a) ||
		    volume_write(w->v, a.id, body, sizeof(body), 0, false) !=
			(ssize_t)sizeof(body) ||
		    volume_fsync(w->v, a.id))
			return arg;
		volume_forget(w->v, a.id, 1);
	}
	return NULL;
}

/* Promise: callers who sync at the same time share commits, and each gets what it asked for. */
static void concurrent_syncs(void **state)
{
	struct fixture *fx = *state;
	pthread_t t[N_THREADS];
	struct worker w[N_THREADS];
	struct volume_stat before, after;
	void *failed;
	char name[32];

	volume_stat(fx->v, &before);
	for (unsigned i = 0; i < N_THREADS; i++) {
		w[i] = (struct worker){fx->v, i};
		assert_int_equal(pthread_create(&t[i], NULL, write_and_sync, &w[i]), 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(t[i], &failed), 0);
		assert_null(failed);
	}
	volume_stat(fx->v, &after);
	assert_int_equal(after.pending_bytes, 0);
	assert_true(after.txn - before.txn <= N_THREADS * FILES_EACH + 2);
	fixture_remount(fx);
	for (unsigned i = 0; i < N_THREADS * FILES_EACH; i++) {
		snprintf(name, sizeof(name), "t%u.%u", i % N_THREADS, i / N_THREADS);
		check_file(fx->v, find_id(fx->v, ROOT, name), (char)('a' + i % N_THREADS), 6000);
	}
}

/* Promise: making more files than one reservation holds neither fails nor repeats an id. */
static void many_files(void **state)
{
	struct fixture *fx = *state;
	uint64_t last = 0;
	char name[32];

	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		uint64_t id = make(fx->v, ROOT, name, S_IFREG);
		assert_true(id > last);
		last = id;
	}
	assert_int_equal(inodes_in_use(fx->v), 5001);
	fixture_remount(fx);
	assert_int_equal(inodes_in_use(fx->v), 5001);
	find_id(fx->v, ROOT, "f4999");
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(volume_unlink(fx->v, ROOT, name), 0);
	}
	assert_int_equal(inodes_in_use(fx->v), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    MOUNTED(holes),
	    MOUNTED(copy_range),
	    MOUNTED(lengthened_meanwhile),
	    MOUNTED(copied_while_frozen),
	    MOUNTED(unlinked_open_file),
	    MOUNTED(snapshot_keeps_object),
	    MOUNTED(large_file_goes),
	    MOUNTED(unnamed_file),
	    MOUNTED(one_owner),
	    MOUNTED(opened_for_reading),
	    MOUNTED(older_copy),
	    MOUNTED(concurrent_syncs),
	    MOUNTED(many_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
