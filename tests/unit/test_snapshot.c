/*
 * Snapshots: a frozen image while the volume goes on, and increments that lead exactly from one
 * image to the next.
 *
 * The test plays backup and restore: an image is built out of what a scan delivers (and what it
 * reads), described as text, and compared with the description of the live volume at the moment the
 * snapshot was asked for.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "fs/engine_internal.h"
#include "fs/rstore_internal.h"
#include "tests/unit/snapshot_life.h"

/* ---- tests ---- */

/* Promise 4: a set is the volume as it was when asked for, whatever happens while it is read. The
 * next mount that may write ends it: who read it is gone. */
static void shows_the_moment(void **state)
{
	struct fixture *f = *state;
	struct life l;
	struct volume_snapshot s, again;

	live_begin(&l, f, 1);
	live_on(&l, 300);
	char *want = describe_live(f);
	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	live_on(&l, 300);
	struct image *im = image_new(f);
	assert_int_equal(scan_into(im, &s, 0), 0);
	expect_image(im, want);
	image_free(im);

	/* It outlives the mount, and shows the same until somebody may write. */
	live_on(&l, 100);
	fx_close(f);
	fx_open_as(f, true);
	assert_int_equal(volume_snapshot_find(f->v, s.snap.id, &again), 0);
	assert_memory_equal(&again, &s, sizeof(s));
	im = image_new(f);
	assert_int_equal(scan_into(im, &again, 0), 0);
	expect_image(im, want);
	image_free(im);
	free(want);

	fx_remount(f);
	assert_int_equal(volume_snapshot_find(f->v, s.snap.id, &again), -ENOENT);
	live_on(&l, 300);
	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	assert_int_equal(volume_snapshot_close(f->v, &s), 0);
	assert_int_equal(volume_snapshot_find(f->v, s.snap.id, &again), -ENOENT);
	assert_int_equal(f->n_alarms, 0);
}

/* Promise 4: a chain of increments is the full image each time, and delivers nothing that did not
 * change. */
static void increments_lead_on(void **state)
{
	struct fixture *f = *state;
	struct life l;
	struct image *chain = image_new(f);
	static bool was[IDS_MAX];
	uint64_t since = 0;

	live_begin(&l, f, 2);
	for (unsigned round = 0; round < 6; round++) {
		struct volume_snapshot s;

		live_on(&l, round ? 60 : 400);
		char *want = describe_live(f);
		assert_int_equal(volume_snapshot_open(f->v, &s), 0);
		memcpy(was, l.touched, sizeof(was));
		memset(l.touched, 0, sizeof(l.touched));
		live_on(&l, 20); /* belongs to the next round */
		assert_int_equal(scan_into(chain, &s, since), 0);
		expect_image(chain, want);
		for (size_t id = 2; round && id < IDS_MAX; id++)
			if (chain->touched[id])
				assert_true(was[id]);
		since = s.snap.txn;
		assert_int_equal(volume_snapshot_close(f->v, &s), 0);
		if (round == 3)
			fx_remount(f);
		free(want);
	}
	image_free(chain);
	assert_int_equal(f->n_alarms, 0);
}

/* Promise 4: cost follows the change: one block of a large file, nothing at all when nothing
 * changed. */
static void delivers_only_changes(void **state)
{
	struct fixture *f = *state;
	struct volume_snapshot a, b, c;
	struct image *im = image_new(f);
	uint8_t *p = fx_bytes(1, 1 << 20);
	uint64_t big = fx_file(f, VOLUME_ROOT_ID, "big", p, 1 << 20);

	for (unsigned i = 0; i < 300; i++) {
		char name[32];
		snprintf(name, sizeof(name), "small%u", i);
		fx_file(f, VOLUME_ROOT_ID, name, p + i, 100);
	}
	assert_int_equal(volume_snapshot_open(f->v, &a), 0);
	assert_int_equal(scan_into(im, &a, 0), 0);
	assert_int_equal(im->n_blocks, 256);

	fx_write(f, big, "changed", 7, 500000);
	assert_int_equal(volume_snapshot_open(f->v, &b), 0);
	assert_int_equal(scan_into(im, &b, a.snap.txn), 0);
	assert_int_equal(im->n_blocks, 1);
	assert_int_equal(im->n_calls, 2); /* inode and map group */
	assert_memory_equal(im->inodes[big].data.buf + 500000, "changed", 7);

	assert_int_equal(volume_snapshot_open(f->v, &c), 0);
	assert_int_equal(scan_into(im, &c, b.snap.txn), 0);
	assert_int_equal(im->n_calls, 0);
	assert_int_equal(volume_snapshot_close(f->v, &b), 0);
	assert_int_equal(volume_snapshot_close(f->v, &a), 0);
	assert_int_equal(volume_snapshot_close(f->v, &c), 0);
	image_free(im);
	free(p);
}

/* Lineages are part of an image: each edge once, new ones only in an increment. */
static void delivers_edges(void **state)
{
	struct fixture *f = *state;
	struct volume_snapshot a, b;
	struct image *im = image_new(f);
	uint64_t x = fx_file(f, VOLUME_ROOT_ID, "x", "1", 1),
		 y = fx_file(f, VOLUME_ROOT_ID, "y", "2", 1);
	uint64_t z = fx_file(f, VOLUME_ROOT_ID, "z", "3", 1);

	assert_int_equal(volume_add_edge(f->v, y, x, VOLUME_EDGE_RESTORED), 0);
	assert_int_equal(volume_snapshot_open(f->v, &a), 0);
	assert_int_equal(volume_add_edge(f->v, z, y, VOLUME_EDGE_COPIED), 0);
	assert_int_equal(volume_snapshot_open(f->v, &b), 0);
	assert_int_equal(scan_into(im, &a, 0), 0);
	assert_int_equal(im->n_edges, 1);
	assert_int_equal(scan_into(im, &b, 0), 0);
	assert_int_equal(im->n_edges, 2);
	assert_int_equal(scan_into(im, &b, a.snap.txn), 0);
	assert_int_equal(im->n_edges, 1);
	assert_int_equal(volume_snapshot_close(f->v, &a), 0);
	assert_int_equal(volume_snapshot_close(f->v, &b), 0);
	image_free(im);
}

static bool object_there(const struct fixture *f, uint64_t id)
{
	char path[64], whole[192];
	struct stat st;

	volume_object_path(id, 0, path);
	snprintf(whole, sizeof(whole), "%s/%s", f->store, path);
	return stat(whole, &st) == 0;
}

/* In a process that ends without a word: as many as there can be, one needing an object whose file
 * is gone and more records than one commit removes. */
static void leave_open(struct fixture *f, uint64_t id)
{
	struct volume_snapshot s;
	struct volume_attr a;

	for (unsigned i = 0; i < RSTORE_SNAPSHOTS_MAX; i++)
		if (volume_snapshot_open(f->v, &s))
			_exit(1);
	for (uint64_t file = id + 1; file < id + 5000; file++) {
		a.mode = 0600;
		if (volume_setattr(f->v, file, VOLUME_SET_MODE, &a, &a))
			_exit(2);
	}
	_exit(volume_unlink(f->v, VOLUME_ROOT_ID, "f") || volume_sync(f->v) ? 3 : 0);
}

/* What a killed backup left open ends with the next mount: there is room for new ones at once, and
 * what only they kept goes. */
static void leftovers_are_closed(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE uint8_t *p = fx_bytes(1, 100000);
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", p, 100000);
	struct volume_snapshot s;
	struct volume_stat st;
	char name[16];
	int status;

	for (unsigned i = 1; i < 5000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(fx_file(f, VOLUME_ROOT_ID, name, "x", 1), id + i);
	}
	fx_close(f);
	pid_t pid = fork();
	if (pid == 0) {
		fx_open(f);
		leave_open(f, id);
	}
	assert_true(waitpid(pid, &status, 0) == pid && status == 0);
	fx_open_as(f, true);
	volume_stat(f->v, &st);
	assert_int_equal(st.n_snapshots, RSTORE_SNAPSHOTS_MAX);
	assert_true(object_there(f, id));
	fx_close(f);

	fx_open(f);
	volume_stat(f->v, &st);
	assert_int_equal(st.n_snapshots, 0);
	assert_int_equal(volume_snapshot_find(f->v, 1, &s), -ENOENT);
	committer_chores(f->v);
	engine_enter(f->v);
	assert_int_equal(f->v->rs->durable.n_snaps, 0);
	engine_leave(f->v);
	assert_false(object_there(f, id));
	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	assert_int_equal(volume_snapshot_close(f->v, &s), 0);
	assert_int_equal(f->n_alarms, 0);
}

/* One that is to be kept outlives a remount, with what it shows, until its time has come; a time that no run would set
 * (a clock that was wrong) keeps nothing. */
static void kept_until_then(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE uint8_t *p = fx_bytes(1, 100000);
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", p, 100000);
	const int64_t now = time(NULL), later = now + VOLUME_SNAPSHOT_KEEP_SECONDS;
	struct volume_snapshot s, found;
	struct volume_stat st;

	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	assert_int_equal(volume_snapshot_keep(f->v, &s, later), 0);
	assert_int_equal(volume_unlink(f->v, VOLUME_ROOT_ID, "f"), 0);
	for (unsigned i = 0; i < 2; i++) {
		fx_close(f);
		fx_open(f);
		committer_chores(f->v);
		assert_int_equal(volume_snapshot_find(f->v, s.snap.id, &found), 0);
		assert_int_equal(found.keep_until, later);
		assert_int_equal(found.snap.txn, s.snap.txn);
		assert_true(object_there(f, id));
	}
	engine_enter(f->v);
	snapshot_close_expired(f->v);
	engine_leave(f->v);
	assert_int_equal(volume_snapshot_find(f->v, s.snap.id, &found), 0);
	assert_int_equal(volume_snapshot_keep(f->v, &s, now - 1), 0);
	engine_enter(f->v);
	snapshot_close_expired(f->v);
	engine_leave(f->v);
	assert_int_equal(volume_snapshot_find(f->v, s.snap.id, &found), -ENOENT);
	assert_int_equal(volume_snapshot_keep(f->v, &s, later), -ESTALE);

	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	engine_enter(f->v);
	snapshot_close_expired(f->v); /* somebody reads it */
	engine_leave(f->v);
	assert_int_equal(volume_snapshot_find(f->v, s.snap.id, &found), 0);
	assert_int_equal(volume_snapshot_keep(f->v, &s, now + 1000 * VOLUME_SNAPSHOT_KEEP_SECONDS), 0);
	fx_close(f);
	fx_open(f);
	volume_stat(f->v, &st);
	assert_int_equal(st.n_snapshots, 0);
	committer_chores(f->v);
	assert_false(object_there(f, id));
}

/* A scan that begins in the middle delivers just what a whole one delivers from there on. */
struct seen_at {
	uint64_t id, group;
};
struct seen_all {
	struct seen_at v[64];
	size_t n;
};

static int see_inode(void *arg, const struct volume_snap_inode *in)
{
	struct seen_all *a = arg;

	a->v[a->n++] = (struct seen_at){in->attr.id, UINT64_MAX};
	return 0;
}

static int see_map(void *arg, uint64_t id, uint64_t group, uint64_t txn, const struct map_group *g)
{
	struct seen_all *a = arg;

	(void)txn;
	(void)g;
	a->v[a->n++] = (struct seen_at){id, group};
	return 0;
}

static void scans_from_the_middle(void **state)
{
	static const struct volume_snap_ops ops = {.inode = see_inode, .map = see_map};
	struct fixture *f = *state;
	CLEANUP_FREE uint8_t *p = fx_bytes(1, 1 << 20);
	struct volume_snapshot s;
	struct seen_all all = {0};
	char name[8];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		fx_file(f, VOLUME_ROOT_ID, name, p, i % 2 ? 1 << 20 : 10);
	}
	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	assert_int_equal(volume_snapshot_scan(f->v, &s, 0, &ops, &all), 0);
	assert_true(all.n >= 5 + 2 * 4);
	for (size_t i = 0; i < all.n; i++) {
		struct seen_all rest = {0};

		if (all.v[i].group == 0)
			continue; /* a file is begun with its inode */
		assert_int_equal(volume_snapshot_scan_from(f->v, &s, 0, all.v[i].id,
							   all.v[i].group == UINT64_MAX ? 0 : all.v[i].group, &ops,
							   &rest),
				 0);
		assert_int_equal(rest.n, all.n - i);
		assert_memory_equal(rest.v, all.v + i, rest.n * sizeof(*rest.v));
	}
	assert_int_equal(volume_snapshot_close(f->v, &s), 0);
}

/* A crash between the snapshot and its facts leaves one that nobody can find: the next opening
 * closes it. */
static void unknown_ones_are_closed(void **state)
{
	struct fixture *f = *state;
	struct rstore_snap lost, list[RSTORE_SNAPSHOTS_MAX];
	struct volume_snapshot s;

	engine_enter(f->v);
	assert_int_equal(rstore_snap_open(f->v->rs, &lost), 0);
	engine_leave(f->v);
	assert_int_equal(volume_snapshot_find(f->v, lost.id, &s), -ENOENT);
	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	engine_enter(f->v);
	assert_int_equal(rstore_snap_list(f->v->rs, list), 1);
	engine_leave(f->v);
	assert_int_equal(list[0].id, s.snap.id);
	assert_int_equal(volume_snapshot_close(f->v, &s), 0);
}

/* ---- beside a writer ---- */

#define SAVED_LEN 20000

struct saver {
	struct fixture *f;
	atomic_bool stop;
	int err;
	unsigned n_saved;
};

/* Saves as editors do: a new file, written and renamed over the old one. */
static void *save_on(void *arg)
{
	struct saver *sv = arg;
	uint8_t *p = malloc(SAVED_LEN);

	while (!sv->stop && !sv->err) {
		struct volume_new in = {.mode = S_IFREG | 0644};
		struct volume_attr a;

		memset(p, (int)(++sv->n_saved % 251 + 1), SAVED_LEN);
		int r = volume_make(sv->f->v, VOLUME_ROOT_ID, "new", &in, &a);
		if (r == 0) {
			ssize_t n = volume_write(sv->f->v, a.id, p, SAVED_LEN, 0, false);
			r = n == SAVED_LEN ? 0 : -EIO;
			volume_forget(sv->f->v, a.id, 1);
		}
		if (r == 0)
			r = volume_rename(sv->f->v, VOLUME_ROOT_ID, "new", VOLUME_ROOT_ID, "saved",
					  0);
		sv->err = r;
	}
	free(p);
	return NULL;
}

static bool is_whole(const struct image *im)
{
	bool whole = true;

	for (size_t i = 0; i < LINKS_MAX; i++) {
		const struct image_inode *ii = &im->inodes[im->names[i].child];

		if (!im->names[i].there || strcmp(im->names[i].name, "saved") != 0)
			continue;
		whole &= ii->there && ii->data.len == SAVED_LEN && ii->data.buf[0];
		for (size_t k = 1; whole && k < SAVED_LEN; k++)
			whole &= ii->data.buf[k] == ii->data.buf[0];
	}
	return whole;
}

/* Promises 3 and 4: whichever moment it is, a file renamed over another is in the set with all its
 * content. */
static void renames_are_whole(void **state)
{
	struct fixture *f = *state;
	struct saver sv = {.f = f};
	struct image *im = image_new(f);
	pthread_t thread;
	int r = 0;
	bool whole = true;

	/* What is promised is of a rename over a file: the first save has one before it, too. */
	uint8_t *first = fx_bytes(0, SAVED_LEN);
	memset(first, 1, SAVED_LEN);
	fx_file(f, VOLUME_ROOT_ID, "saved", first, SAVED_LEN);
	free(first);
	assert_int_equal(volume_sync(f->v), 0);
	assert_int_equal(pthread_create(&thread, NULL, save_on, &sv), 0);
	/* Nothing is asserted while the other thread uses the volume. */
	/* At least twenty snapshots, and more until the other thread has saved over itself. */
	for (unsigned i = 0; r == 0 && whole && i < 20000 &&
			     (i < 20 || __atomic_load_n(&sv.n_saved, __ATOMIC_RELAXED) < 2);
	     i++) {
		struct volume_snapshot s;

		memset(im->names, 0, sizeof(im->names));
		r = volume_snapshot_open(f->v, &s);
		if (r == 0)
			r = scan_into(im, &s, 0);
		whole = is_whole(im);
		if (r == 0)
			r = volume_snapshot_close(f->v, &s);
	}
	sv.stop = true;
	pthread_join(thread, NULL);
	image_free(im);
	assert_int_equal(r, 0);
	assert_true(whole);
	assert_int_equal(sv.err, 0);
	assert_true(sv.n_saved > 1);
}

static int refuse(void *arg, uint64_t id, uint64_t group, uint64_t txn, const struct map_group *g)
{
	(void)arg;
	(void)id;
	(void)group;
	(void)txn;
	(void)g;
	return -ECANCELED;
}

struct flip {
	struct fixture *f;
	const struct volume_snapshot *s;
	int err;
};

static int read_first(void *arg, uint64_t id, uint64_t group, uint64_t txn,
		      const struct map_group *g)
{
	struct flip *fl = arg;
	uint8_t block[MAP_BLOCK];

	(void)txn;
	fl->err = volume_snapshot_read(fl->f->v, fl->s, id, group, g, 0, 1, block);
	return 0;
}

/* Promise 2: damage ends a scan or a read with EIO and an alarm; a callback's own error comes back
 * as it is. */
static void damage_and_refusal(void **state)
{
	struct fixture *f = *state;
	struct volume_snapshot s;
	uint8_t *p = fx_bytes(1, 100000);
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", p, 100000);
	struct volume_snap_ops ops = {.map = refuse};
	char path[192], object[64];

	free(p);
	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	assert_int_equal(volume_snapshot_scan(f->v, &s, 0, &ops, NULL), -ECANCELED);

	volume_object_path(id, 0, object);
	snprintf(path, sizeof(path), "%s/%s", f->store, object);
	int fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	uint8_t b;
	assert_int_equal(pread(fd, &b, 1, 77), 1);
	b ^= 1;
	assert_int_equal(pwrite(fd, &b, 1, 77), 1);
	close(fd);
	struct flip fl = {.f = f, .s = &s};
	ops.map = read_first;
	assert_int_equal(volume_snapshot_scan(f->v, &s, 0, &ops, &fl), 0);
	assert_int_equal(fl.err, -EIO);
	assert_int_equal(f->n_alarms, 1);

	struct rstore_key key = engine_file_key_at(id, SUB_MAP, 0);
	engine_enter(f->v);
	assert_int_equal(rstore_put(f->v->rs, &key, "not a map", 9), 0);
	engine_leave(f->v);
	assert_int_equal(volume_snapshot_close(f->v, &s), 0);
	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	assert_int_equal(volume_snapshot_scan(f->v, &s, 0, &ops, &fl), -EIO);
	assert_int_equal(f->n_alarms, 2);
	assert_int_equal(volume_snapshot_close(f->v, &s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_VOLUME(shows_the_moment),
	    IN_VOLUME(increments_lead_on),
	    IN_VOLUME(delivers_only_changes),
	    IN_VOLUME(delivers_edges),
	    IN_VOLUME(leftovers_are_closed),
	    IN_VOLUME(kept_until_then),
	    IN_VOLUME(scans_from_the_middle),
	    IN_VOLUME(unknown_ones_are_closed),
	    IN_VOLUME(renames_are_whole),
	    IN_VOLUME(damage_and_refusal),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
