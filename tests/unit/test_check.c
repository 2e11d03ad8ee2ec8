/* The check of a volume: silent about a sound one, and each kind of damage is found and named. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "fs/engine.h"
#include "tests/unit/meta_rows.h"
#include "tests/unit/snapshot_fixture.h"

struct findings {
	unsigned n;
	char text[16][5000];
};

static void note(void *arg, const char *text)
{
	struct findings *fi = arg;

	if (fi->n < 16)
		snprintf(fi->text[fi->n], sizeof(fi->text[0]), "%s", text);
	fi->n++;
}

static struct volume_check run(struct fixture *f, bool data, struct findings *fi)
{
	struct volume_check ck;

	memset(fi, 0, sizeof(*fi));
	assert_int_equal(volume_check(f->v, data, note, fi, &ck), 0);
	assert_int_equal(ck.n_bad, fi->n);
	return ck;
}

static void expect_one(const struct findings *fi, const char *text)
{
	if (fi->n != 1 || strcmp(fi->text[0], text) != 0)
		for (unsigned i = 0; i < fi->n; i++)
			print_error("found: %s\n", fi->text[i]);
	assert_int_equal(fi->n, 1);
	assert_string_equal(fi->text[0], text);
}

/* /d/sub/f (20 blocks), /d/small, /d/second link of f, /l -> .. */
static uint64_t plant(struct fixture *f, uint64_t *ret_dir)
{
	uint8_t *p = fx_bytes(1, 81000);
	uint64_t dir = fx_dir(f, VOLUME_ROOT_ID, "d"), sub = fx_dir(f, dir, "sub");
	uint64_t id = fx_file(f, sub, "f", p, 81000);
	struct volume_attr a;

	fx_file(f, dir, "small", p, 100);
	fx_make(f, VOLUME_ROOT_ID, "l", S_IFLNK | 0777);
	assert_int_equal(volume_link(f->v, id, dir, "second", &a), 0);
	volume_forget(f->v, id, 1);
	assert_int_equal(volume_setxattr(f->v, id, "user.x", "y", 1, 0), 0);
	assert_int_equal(volume_sync(f->v), 0);
	free(p);
	*ret_dir = dir;
	return id;
}

/* A check that cries wolf is not read: nothing is found in a volume with all there is, in use and
 * after a remount. */
static void sound_is_silent(void **state)
{
	struct fixture *f = *state;
	struct findings *fi = malloc(sizeof(*fi));
	uint64_t dir, id = plant(f, &dir), open_id;
	struct volume_snapshot s;

	/* Unlinked but open, rewritten under a snapshot, punched, cut short. */
	open_id = fx_file(f, dir, "open", "x", 1);
	assert_int_equal(volume_open_file(f->v, open_id, true), 0);
	assert_int_equal(volume_unlink(f->v, dir, "open"), 0);
	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	fx_write(f, id, "new", 3, 9000);
	assert_int_equal(volume_fallocate(f->v, id, 3, 20000, 30000), 0);
	struct volume_check ck = run(f, true, fi);
	assert_int_equal(fi->n, 0);
	assert_int_equal(ck.n_inodes, 7);
	assert_int_equal(ck.n_blocks, 20 - 7);
	assert_true(ck.n_records > 12);
	volume_release_file(f->v, open_id, true);
	assert_int_equal(volume_snapshot_close(f->v, &s), 0);
	fx_remount(f);
	ck = run(f, true, fi);
	assert_int_equal(fi->n, 0);
	assert_int_equal(ck.n_inodes, 6);
	free(fi);
}

static void flip(const char *path, off_t at)
{
	uint8_t b;
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

/* Promise 2: one flipped bit in a block is a line with path and position; the blocks beside it are
 * not blamed. */
static void flipped_block(void **state)
{
	struct fixture *f = *state;
	struct findings *fi = malloc(sizeof(*fi));
	char path[192], object[64], text[128];
	struct rstore_key key;
	struct map_group g;
	CLEANUP_BYTES struct bytes_w w = {0};
	uint64_t dir, id = plant(f, &dir);

	key = engine_file_key_at(id, SUB_MAP, 0);
	engine_enter(f->v);
	assert_int_equal(rstore_get(f->v->rs, &key, &w, NULL), 0);
	engine_leave(f->v);
	assert_int_equal(map_decode(w.buf, w.len, suite_tag_len(suite_best()), &g), 0);
	volume_object_path(id, 0, object);
	snprintf(path, sizeof(path), "%s/%s", f->store, object);
	flip(path, (off_t)(g.e[3].slot * MAP_BLOCK + 5));
	run(f, false, fi);
	assert_int_equal(fi->n, 0);
	run(f, true, fi);
	snprintf(text, sizeof(text), "block at byte 12288: authentication failed");
	assert_int_equal(fi->n, 1);
	assert_non_null(strstr(fi->text[0], text));
	/* One of its two names. */
	assert_true(!strncmp(fi->text[0], "/d/sub/f: ", 10) ||
		    !strncmp(fi->text[0], "/d/second: ", 11));
	free(fi);
}

/* Every record in turn: flipped in the database it is found, and with all of them gone bad the
 * check still ends. */
static void flipped_records(void **state)
{
	struct fixture *f = *state;
	struct findings *fi = malloc(sizeof(*fi));
	sqlite3_int64 ids[META_ROWS_MAX];
	struct diag d = {0};
	uint64_t dir;
	unsigned n_bad = 0;

	plant(f, &dir);
	fx_close(f);
	int n = meta_rows(f->store, "SELECT id FROM rec", ids);
	assert_true(n > 12);
	for (int i = 0; i < n; i++) {
		if (!meta_flip(f->store, "rec", ids[i]))
			continue; /* rewritten by the last mount */
		if (fx_try_open(f, false, &d)) {
			/* What every mount needs, such as the counters: flipped back for the
			 * others. */
			assert_int_equal(diag_exit_code(d.id), DIAG_EXIT_INTEGRITY);
			assert_true(meta_flip(f->store, "rec", ids[i]));
			continue;
		}
		run(f, true, fi);
		assert_true(fi->n >= ++n_bad);
		fx_close(f);
	}
	assert_true(n_bad > 10);
	free(fi);
}

/* Puts a record as only a defect could: validly sealed, and wrong. */
static void put(struct fixture *f, const struct rstore_key *key, const struct bytes_w *w)
{
	engine_enter(f->v);
	assert_int_equal(w ? rstore_put(f->v->rs, key, w->buf, w->len) : rstore_del(f->v->rs, key),
			 0);
	engine_leave(f->v);
	assert_int_equal(volume_sync(f->v), 0);
}

static void get(struct fixture *f, const struct rstore_key *key, struct bytes_w *w)
{
	bytes_w_reset(w);
	engine_enter(f->v);
	assert_int_equal(rstore_get(f->v->rs, key, w, NULL), 0);
	engine_leave(f->v);
}

static void change_inode(struct fixture *f, uint64_t id, void (*change)(struct inode_record *r))
{
	struct rstore_key key = engine_file_key(id, SUB_INODE);
	CLEANUP_BYTES struct bytes_w w = {0}, out = {0};
	struct inode_record r;

	get(f, &key, &w);
	assert_int_equal(inode_decode(w.buf, w.len, &r), 0);
	change(&r);
	inode_encode(&r, &out);
	put(f, &key, &out);
}

static void one_link_more(struct inode_record *r)
{
	r->attr.nlink++;
}

static void other_parent(struct inode_record *r)
{
	r->parent = VOLUME_ROOT_ID;
}

static void one_block_more(struct inode_record *r)
{
	r->n_mapped++;
}

static void no_xattrs(struct inode_record *r)
{
	r->has_xattrs = false;
}

/* What is authentic can still be wrong: link counts, parents, figures, xattrs. */
static void wrong_link_count(void **state)
{
	struct fixture *f = *state;
	struct findings *fi = malloc(sizeof(*fi));
	uint64_t dir, id;

	plant(f, &dir);
	id = fx_file(f, dir, "one", "x", 1);
	fx_remount(f);
	change_inode(f, id, one_link_more);
	run(f, true, fi);
	expect_one(fi, "/d/one: link count is 2, should be 1");
	free(fi);
}

static void wrong_folders(void **state)
{
	struct fixture *f = *state;
	struct findings *fi = malloc(sizeof(*fi));
	uint64_t dir, sub = 0;

	plant(f, &dir);
	assert_int_equal(fx_lookup(f, dir, "sub", &sub), 0);
	fx_remount(f);
	change_inode(f, sub, other_parent);
	run(f, false, fi);
	expect_one(fi, "/d/sub: its record names file 1 as its parent");
	change_inode(f, dir, one_link_more);
	run(f, false, fi);
	assert_int_equal(fi->n, 2);
	assert_string_equal(fi->text[0], "/d: link count is 4, should be 3");
	free(fi);
}

static void wrong_figures(void **state)
{
	struct fixture *f = *state;
	struct findings *fi = malloc(sizeof(*fi));
	uint64_t dir, id = plant(f, &dir);

	assert_int_equal(volume_unlink(f->v, dir, "second"), 0);
	fx_remount(f);
	change_inode(f, id, one_block_more);
	run(f, false, fi);
	/* Maps are checked before names are known. */
	assert_int_equal(fi->n, 1);
	assert_non_null(strstr(fi->text[0], ": 20 blocks are mapped, its inode says 21"));
	fx_remount(f);
	change_inode(f, id, no_xattrs);
	run(f, false, fi);
	assert_int_equal(fi->n, 2);
	assert_non_null(strstr(fi->text[0], "xattrs that its inode does not know"));
	free(fi);
}

/* Two blocks in one slot would show one file's block twice. */
static void shared_slot(void **state)
{
	struct fixture *f = *state;
	struct findings *fi = malloc(sizeof(*fi));
	CLEANUP_BYTES struct bytes_w w = {0}, out = {0};
	struct map_group g;
	uint64_t dir, id = plant(f, &dir);
	struct rstore_key key = engine_file_key_at(id, SUB_MAP, 0);

	fx_remount(f);
	get(f, &key, &w);
	assert_int_equal(map_decode(w.buf, w.len, suite_tag_len(suite_best()), &g), 0);
	g.e[7] = g.e[6];
	g.e[9].slot = 5000;
	map_encode(&g, suite_tag_len(suite_best()), &out);
	put(f, &key, &out);
	run(f, false, fi);
	assert_int_equal(fi->n, 2);
	assert_non_null(strstr(fi->text[0], "block at byte 28672 shares its slot"));
	assert_non_null(strstr(fi->text[1], "block at byte 36864 lies beyond its object"));
	/* And neither opens: the slot's block belongs elsewhere. */
	run(f, true, fi);
	assert_int_equal(fi->n, 4);
	free(fi);
}

struct first_bucket {
	struct rstore_key key;
};

static int take_bucket(void *arg, const struct rstore_key *key, const void *val, size_t len,
		       uint64_t txn)
{
	(void)val;
	(void)len;
	(void)txn;
	((struct first_bucket *)arg)->key = *key;
	return 1;
}

/* A name that is gone without leave, and one that leads nowhere. */
static void lost_and_dangling(void **state)
{
	struct fixture *f = *state;
	struct findings *fi = malloc(sizeof(*fi));
	struct first_bucket b;
	uint64_t dir = fx_dir(f, VOLUME_ROOT_ID, "d"), id = fx_file(f, dir, "f", "x", 1);
	struct rstore_key from = engine_file_key(dir, SUB_DENTRY),
			  to = engine_sub_end(dir, SUB_DENTRY);
	struct rstore_key inode = engine_file_key(id, SUB_INODE);
	CLEANUP_BYTES struct bytes_w bucket = {0};
	char text[128];

	fx_remount(f);
	engine_enter(f->v);
	assert_int_equal(rstore_scan(f->v->rs, &from, &to, take_bucket, &b), 1);
	engine_leave(f->v);
	get(f, &b.key, &bucket);
	put(f, &b.key, NULL);
	run(f, false, fi);
	snprintf(text, sizeof(text), "file %llu: no name leads to it", (unsigned long long)id);
	expect_one(fi, text);
	put(f, &b.key, &bucket);
	put(f, &inode, NULL);
	run(f, false, fi);
	snprintf(text, sizeof(text), "/d: a name in it leads to file %llu, which is not there",
		 (unsigned long long)id);
	expect_one(fi, text);
	free(fi);
}

/* A power cut after the puncture leaves names that no longer open, until execution goes on: that is no damage. */
static void half_destroyed_is_silent(void **state)
{
	struct fixture *f = *state;
	struct findings *fi = malloc(sizeof(*fi));
	struct diag d = {0};
	size_t pending;
	uint64_t keep = fx_dir(f, VOLUME_ROOT_ID, "keep"), gone = fx_dir(f, VOLUME_ROOT_ID, "gone");
	const struct keyring_range range = {gone, gone};

	assert_non_null(fi);
	fx_dir(f, keep, "inner");
	assert_int_equal(volume_sync(f->v), 0);
	assert_int_equal(keyring_puncture(f->kr, KEYRING_BOTH, &range, 1, "D-1", &pending, &d), 0);
	fx_close(f);
	fx_open(f);
	run(f, true, fi);
	assert_int_equal(fi->n, 0);
	free(fi);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_VOLUME(sound_is_silent),
	    IN_VOLUME(flipped_block),
	    IN_VOLUME(flipped_records),
	    IN_VOLUME(wrong_link_count),
	    IN_VOLUME(wrong_folders),
	    IN_VOLUME(wrong_figures),
	    IN_VOLUME(shared_slot),
	    IN_VOLUME(lost_and_dangling),
	    IN_VOLUME(half_destroyed_is_silent),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
