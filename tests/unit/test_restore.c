/*
 * Restoring: every set gives back exactly the tree of its moment, nothing else is ever written, and
 * what cannot be given back is told.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/sysmacros.h>

#include "backup/setview_internal.h"
#include "tests/unit/backup_tree.h"
#include "tests/unit/set_craft.h"

/* ---- short forms ---- */

static struct setview *view(struct backup_fixture *b, const struct set_catalog *c, size_t set)
{
	struct setview *sv = NULL;

	assert_int_equal(setview_open(b->repo, keys(b), c, set, &sv, &b->d), 0);
	return sv;
}

/* Paths of the set (none: all of it) into to. */
static int restore(struct backup_fixture *b, const struct set_catalog *c, size_t set,
		   const char *to, bool in_place, const char *path, struct restore_result *ret)
{
	struct setview *sv = view(b, c, set);
	struct restore_request in = {
	    .view = sv, .to = to, .in_place = in_place, .paths = &path, .n_paths = path ? 1 : 0};

	b->d = (struct diag){0};
	int err = restore_run(&in, ret, &b->d);
	setview_close(sv);
	return err;
}

static int restore_latest(struct backup_fixture *b, const char *path, struct restore_result *ret)
{
	struct set_catalog c;

	load(b, &c);
	int err = restore(b, &c, c.n_sets - 1, b->out_dir, false, path, ret);
	set_catalog_free(&c);
	return err;
}

static void in_out(const struct backup_fixture *b, const char *path, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s", b->out_dir, path);
}

static bool out_has(const struct backup_fixture *b, const char *path)
{
	char full[PATH_MAX];
	struct stat st;

	in_out(b, path, full);
	return lstat(full, &st) == 0;
}

static void expect_content(const struct backup_fixture *b, const char *path, const void *want,
			   size_t len)
{
	CLEANUP_FREE uint8_t *got = NULL;
	char full[PATH_MAX];

	in_out(b, path, full);
	assert_int_equal(read_raw(full, &got), len);
	assert_memory_equal(got, want, len);
}

static void expect_noise(const struct backup_fixture *b, const char *path, uint64_t seed,
			 size_t len)
{
	CLEANUP_FREE uint8_t *p = noise(seed, len);

	expect_content(b, path, p, len);
}

static void no_leftovers(const char *dir)
{
	CLEANUP_DIR DIR *d = opendir(dir);

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		assert_null(strstr(e->d_name, ".coffer-restore"));
}

/* ---- promise 4 ---- */

#define N_SETS 6

/*
 * Promise 4: a full set and increments over a random life, with a full one between; each restores
 * to the tree of its moment: bytes, names, types, owners, modes, times, xattrs, links and holes.
 */
static void lives_of(struct backup_fixture *b, uint64_t seed)
{
	struct life l = life_begin(b->fx->v, seed);
	char *want[N_SETS];
	struct set_catalog c;
	struct restore_result res;
	size_t before;

	load(b, &c);
	before = c.n_sets;
	set_catalog_free(&c);
	for (size_t i = 0; i < N_SETS; i++) {
		live_on(&l, i ? 150 : 600);
		want[i] = tree_of_volume(b->fx->v, VOLUME_ROOT_ID);
		back_up_only(b, i == 0 || i == 4);
	}
	load(b, &c);
	assert_int_equal(c.n_sets, before + N_SETS);
	for (size_t i = 0; i < N_SETS; i++) {
		assert_int_equal(c.sets[before + i].full, i == 0 || i == 4);
		assert_int_equal(restore(b, &c, before + i, b->out_dir, false, NULL, &res), 0);
		char *got = tree_of_folder(b->out_dir);
		expect_tree(got, want[i]);
		free(got);
		free(want[i]);
		remove_tree(AT_FDCWD, b->out_dir);
	}
	set_catalog_free(&c);
	assert_int_equal(b->fx->n_alarms, 0);
}

static void random_lives(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct backup_fixture *b = *state;

		lives_of(b, seed);
		if (seed < 3) {
			backup_teardown(state);
			backup_setup(state);
		}
	}
}

/* Promise 4: what FUSE's own callers make: devices, sockets, set-id bits, ACLs, capabilities, times
 * before 1970 .. and a name of 255 bytes. */
static void special_things(void **state)
{
	static const uint8_t acl[] = {
	    2, 0,    0,    0,    1,    0,    6,    0, 0xff, 0xff, 0xff, 0xff, 2,    0,    7,
	    0, 0xe8, 3,    0,    0,    4,    0,    4, 0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,
	    7, 0,    0xff, 0xff, 0xff, 0xff, 0x20, 0, 0,    0,    0xff, 0xff, 0xff, 0xff};
	static const uint8_t cap[] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	struct volume_new dev = {.mode = S_IFCHR | 0666, .rdev = makedev(1, 3)};
	struct volume_attr a, in = {.mode = 06755, .mtime = {.tv_sec = -5, .tv_nsec = 999999999}};
	struct restore_result res;
	char longest[VOLUME_NAME_MAX + 1];

	if (geteuid() != 0)
		skip();
	memset(longest, 'x', VOLUME_NAME_MAX);
	longest[VOLUME_NAME_MAX] = 0;
	assert_int_equal(volume_make(v, VOLUME_ROOT_ID, "null", &dev, &a), 0);
	make(v, VOLUME_ROOT_ID, "fifo", S_IFIFO | 0640);
	make(v, VOLUME_ROOT_ID, "socket", S_IFSOCK | 0640);
	uint64_t tool = make_noise(v, VOLUME_ROOT_ID, "tool", 1, 9000);
	assert_int_equal(volume_setattr(v, tool, VOLUME_SET_MODE | VOLUME_SET_MTIME, &in, &a), 0);
	uint64_t shared = make(v, VOLUME_ROOT_ID, "shared", S_IFDIR | 02770);
	assert_int_equal(
	    volume_setxattr(v, shared, "system.posix_acl_default", acl, sizeof(acl), 0), 0);
	uint64_t f = make_noise(v, VOLUME_ROOT_ID, longest, 2, 10);
	assert_int_equal(volume_setxattr(v, f, "system.posix_acl_access", acl, sizeof(acl), 0), 0);
	uint64_t capable = make_noise(v, VOLUME_ROOT_ID, "capable", 3, 10);
	assert_int_equal(volume_setxattr(v, capable, "security.capability", cap, sizeof(cap), 0),
			 0);
	assert_int_equal(
	    volume_setxattr(v, find_id(v, VOLUME_ROOT_ID, "fifo"), "trusted.t", "1", 1, 0), 0);
	make(v, VOLUME_ROOT_ID, "link", S_IFLNK | 0777);
	assert_int_equal(
	    volume_setxattr(v, find_id(v, VOLUME_ROOT_ID, "link"), "trusted.l", "", 0, 0), 0);

	char *want = tree_of_volume(v, VOLUME_ROOT_ID);
	back_up_only(b, true);
	assert_int_equal(restore_latest(b, NULL, &res), 0);
	char *got = tree_of_folder(b->out_dir);
	expect_tree(got, want);
	assert_int_equal(res.n_other, 4);
	assert_int_equal(res.n_dirs, 1);
	assert_int_equal(res.n_files, 3);
	free(got);
	free(want);
}

/* Promise 4: a terabyte of holes costs what it holds, and comes back as holes; increments know what
 * became one. */
static void holes_stay_holes(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	struct restore_result res;
	struct volume_attr a, in = {.size = (uint64_t)1 << 40};
	uint64_t id = make(v, VOLUME_ROOT_ID, "sparse", S_IFREG | 0644);
	struct set_catalog c;
	char *want[2];

	assert_int_equal(volume_setattr(v, id, VOLUME_SET_SIZE, &in, &a), 0);
	for (unsigned i = 0; i < 5; i++)
		write_at(v, id, "islands", 7, (uint64_t)i * 77777777777u);
	want[0] = tree_of_volume(v, VOLUME_ROOT_ID);
	back_up_only(b, true);
	assert_int_equal(volume_fallocate(v, id, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  77777770000u, 20000),
			 0);
	write_at(v, id, "another", 7, 999999999999u);
	want[1] = tree_of_volume(v, VOLUME_ROOT_ID);
	back_up_only(b, false);
	load(b, &c);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(restore(b, &c, i, b->out_dir, false, NULL, &res), 0);
		assert_true(res.n_bytes <= 6 * 4096);
		char *got = tree_of_folder(b->out_dir);
		expect_tree(got, want[i]);
		free(got);
		free(want[i]);
		remove_tree(AT_FDCWD, b->out_dir);
	}
	set_catalog_free(&c);
}

static int scribble(void *arg, const struct backup_progress *p)
{
	struct backup_fixture *b = arg;

	if (p->n_records > 2) /* told at most a few times a second: this is the first time */
		return 0;
	write_at(b->fx->v, find_id(b->fx->v, VOLUME_ROOT_ID, "z"), "too late", 8, 0);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "later", 9, 100000);
	assert_int_equal(volume_unlink(b->fx->v, VOLUME_ROOT_ID, "y"), 0);
	return 0;
}

/* Promise 4: writers go on while a set is taken; it holds the moment all the same, and the next
 * increment what they did. */
static void writers_go_on(void **state)
{
	struct backup_fixture *b = *state;
	struct backup_request in = request(b, true);
	struct set_manifest m;
	struct restore_result res;
	char *want, *got;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "y", 1, 50000);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "z", 2, 50000);
	want = tree_of_volume(b->fx->v, VOLUME_ROOT_ID);
	in.progress = scribble;
	assert_int_equal(backup_run(&in, &m, &b->d), 0);
	set_manifest_free(&m);
	assert_int_equal(restore_latest(b, NULL, &res), 0);
	got = tree_of_folder(b->out_dir);
	expect_tree(got, want);
	free(got);
	free(want);
	remove_tree(AT_FDCWD, b->out_dir);

	want = tree_of_volume(b->fx->v, VOLUME_ROOT_ID);
	assert_non_null(strstr(want, "/later"));
	back_up_only(b, false);
	assert_int_equal(restore_latest(b, NULL, &res), 0);
	got = tree_of_folder(b->out_dir);
	expect_tree(got, want);
	free(got);
	free(want);
}

/* ---- where it goes ---- */

/* A file or folder alone comes under its own last name, however the path is written; a second time
 * it does not overwrite. */
static void single_paths(void **state)
{
	static const char *const spellings[] = {"docs/inner/f", "/docs/inner/f/",
						"./docs/.//inner/f/."};
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	uint64_t docs = make(v, VOLUME_ROOT_ID, "docs", S_IFDIR | 0755);
	uint64_t inner = make(v, docs, "inner", S_IFDIR | 0700);
	struct restore_result res;

	make_noise(v, inner, "f", 5, 5000);
	back_up_only(b, true);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(restore_latest(b, spellings[i], &res), 0);
		expect_noise(b, "f", 5, 5000);
		assert_int_equal(res.n_files, 1);
		assert_int_equal(restore_latest(b, spellings[i], &res), -EEXIST);
		no_leftovers(b->out_dir);
		remove_tree(AT_FDCWD, b->out_dir);
	}
	assert_int_equal(restore_latest(b, "docs", &res), 0);
	expect_noise(b, "docs/inner/f", 5, 5000);
	assert_int_equal(restore_latest(b, "docs/none", &res), -ENOENT);
	assert_int_equal(b->d.id, DIAG_NOT_FOUND);
	assert_int_equal(restore_latest(b, "docs/inner/f/x", &res), -ENOENT);
	assert_int_equal(restore_latest(b, "../etc", &res), -ENOENT);
}

/* In place, files are replaced as a whole, folders that lack are made as they were, and what else
 * is there stays. */
static void in_place(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	uint64_t docs = make(v, VOLUME_ROOT_ID, "docs", S_IFDIR | 0751);
	uint64_t inner = make(v, docs, "inner", S_IFDIR | 0715);
	struct restore_result res;
	struct set_catalog c;
	struct stat st;
	char path[PATH_MAX];

	make_noise(v, inner, "f", 5, 5000);
	make_noise(v, docs, "g", 6, 5000);
	back_up_only(b, true);
	load(b, &c);
	assert_int_equal(mkdir(b->out_dir, 0700), 0);
	assert_int_equal(restore(b, &c, 0, b->out_dir, true, "docs/inner/f", &res), 0);
	expect_noise(b, "docs/inner/f", 5, 5000);
	assert_false(out_has(b, "docs/g"));
	in_out(b, "docs", path);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0751);
	in_out(b, "docs/inner", path);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0715);

	in_out(b, "docs/inner/f", path);
	write_raw(path, "changed", 7);
	in_out(b, "docs/mine", path);
	write_raw(path, "mine", 4);
	assert_int_equal(restore(b, &c, 0, b->out_dir, true, "docs", &res), 0);
	expect_noise(b, "docs/inner/f", 5, 5000);
	expect_noise(b, "docs/g", 6, 5000);
	expect_content(b, "docs/mine", "mine", 4);
	in_out(b, "docs/inner", path);
	no_leftovers(path);
	set_catalog_free(&c);
}

/* A symbolic link in the target is never a way out of it: not on the way to an entry, not for a
 * folder, not for a second link. */
static void links_in_the_target(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	uint64_t docs = make(v, VOLUME_ROOT_ID, "docs", S_IFDIR | 0755);
	struct restore_result res;
	struct set_catalog c;
	char path[PATH_MAX], outside[PATH_MAX];

	make_noise(v, docs, "f", 5, 5000);
	make_noise(v, VOLUME_ROOT_ID, "g", 6, 5000);
	back_up_only(b, true);
	load(b, &c);
	snprintf(outside, sizeof(outside), "%s/outside", b->fx->dir);
	assert_int_equal(mkdir(outside, 0700), 0);
	assert_int_equal(mkdir(b->out_dir, 0700), 0);
	in_out(b, "docs", path);
	assert_int_equal(symlink(outside, path), 0);
	assert_true(restore(b, &c, 0, b->out_dir, true, "docs/f", &res) < 0);
	assert_true(restore(b, &c, 0, b->out_dir, true, "docs", &res) < 0);
	assert_int_equal(rmdir(outside), 0); /* empty */

	/* A link in a file's place is replaced, not written through. */
	in_out(b, "g", path);
	write_raw(outside, "precious", 8);
	assert_int_equal(symlink(outside, path), 0);
	assert_int_equal(restore(b, &c, 0, b->out_dir, true, "g", &res), 0);
	expect_noise(b, "g", 6, 5000);
	CLEANUP_FREE uint8_t *got = NULL;
	assert_int_equal(read_raw(outside, &got), 8);
	set_catalog_free(&c);
}

struct swap {
	struct backup_fixture *b;
	char folder[PATH_MAX], outside[PATH_MAX];
};

static int swap_folder(void *arg, uint64_t n_files, uint64_t n_bytes)
{
	struct swap *s = arg;
	char aside[PATH_MAX];

	(void)n_bytes;
	if (n_files != 1)
		return 0;
	in_out(s->b, "aside", aside);
	if (rename(s->folder, aside) == 0)
		assert_int_equal(symlink(s->outside, s->folder), 0);
	return 0;
}

/* Nor is one that appears while a restore runs: the second name of a file is never linked to what
 * it leads to. */
static void folder_swapped_meanwhile(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	uint64_t docs = make(v, VOLUME_ROOT_ID, "docs", S_IFDIR | 0755);
	uint64_t id = make_noise(v, docs, "f", 5, 5000);
	struct swap s = {.b = b};
	struct restore_result res;
	struct set_catalog c;
	struct volume_attr a;
	char path[PATH_MAX];

	assert_int_equal(volume_link(v, id, VOLUME_ROOT_ID, "z", &a), 0);
	volume_forget(v, id, 1);
	back_up_only(b, true);
	in_out(b, "docs", s.folder);
	snprintf(s.outside, sizeof(s.outside), "%s/outside", b->fx->dir);
	assert_int_equal(mkdir(s.outside, 0700), 0);
	snprintf(path, sizeof(path), "%.4000s/f", s.outside);
	write_raw(path, "somebody else's", 15);
	load(b, &c);
	struct restore_request in = {
	    .view = view(b, &c, 0), .to = b->out_dir, .progress = swap_folder, .arg = &s};
	assert_true(restore_run(&in, &res, &b->d) < 0);
	setview_close(in.view);
	set_catalog_free(&c);
	assert_false(out_has(b, "z"));
	no_leftovers(b->out_dir);
}

struct seen {
	uint64_t set_id[8], new_id[8];
	size_t n;
	const char *dir;
	bool all_empty;
};

static int see(void *arg, uint64_t set_id, uint64_t new_id)
{
	struct seen *s = arg;
	CLEANUP_DIR DIR *d = opendir(s->dir);
	struct stat st;

	assert_true(s->n < 8);
	s->set_id[s->n] = set_id;
	s->new_id[s->n++] = new_id;
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_ino == new_id && fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
		    S_ISREG(st.st_mode) && st.st_size)
			s->all_empty = false;
	return 0;
}

/* Promise 5: every copy joins the lineage before it holds a byte, so that a crash leaves none that
 * a destruction would miss. */
static void copies_join_the_lineage(void **state)
{
	struct backup_fixture *b = *state;
	struct set_catalog c;
	struct restore_result res;
	uint64_t id = make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 5, 50000);
	uint64_t folder = make(b->fx->v, VOLUME_ROOT_ID, "folder", S_IFDIR | 0700);
	struct seen s = {.dir = b->out_dir, .all_empty = true};
	struct stat st;
	char path[PATH_MAX];

	make(b->fx->v, VOLUME_ROOT_ID, "fifo", S_IFIFO | 0600);
	back_up_only(b, true);
	load(b, &c);
	struct restore_request in = {
	    .view = view(b, &c, 0), .to = b->out_dir, .restored = see, .arg = &s};
	assert_int_equal(restore_run(&in, &res, &b->d), 0);
	setview_close(in.view);
	set_catalog_free(&c);
	assert_int_equal(s.n, 3); /* names are content too: folders and special files join as well */
	assert_true(s.all_empty);
	for (size_t i = 0; i < s.n; i++) {
		in_out(b, s.set_id[i] == id ? "f" : s.set_id[i] == folder ? "folder" : "fifo", path);
		assert_int_equal(lstat(path, &st), 0);
		assert_int_equal(s.new_id[i], st.st_ino);
	}
}

/* ---- promise 2 ---- */

static void expect_damage(struct backup_fixture *b, uint64_t at_least)
{
	struct restore_result res;

	assert_int_equal(restore_latest(b, NULL, &res), -EBADMSG);
	assert_int_equal(b->d.id, DIAG_SET_DAMAGED);
	assert_true(res.n_damaged >= at_least);
	assert_true(*res.first_damaged);
	no_leftovers(b->out_dir);
}

/*
 * Promise 2: a byte flipped in any record of a pack costs the entry it belongs to, which is named and
 * lacks in the target; all others are as they were. (The files are sized so that every one has
 * NODE, NAME and DATA of its own.)
 */
static int end_of_records(void *arg, const struct set_entry *e)
{
	size_t *end = arg;

	if (e->len && e->off + e->len > *end)
		*end = e->off + e->len;
	return 0;
}

static void flipped_bytes(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	char pack[PATH_MAX], name[8];

	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		make_noise(b->fx->v, VOLUME_ROOT_ID, name, i, 6000);
	}
	back_up(b, true, &m);
	assert_int_equal(m.n_packs, 1);
	object_path(b, m.id, "pack-00000", pack);
	size_t end = 0;
	assert_int_equal(set_index_read(b->repo, keys(b), &m, end_of_records, &end, &b->d), 0);
	for (size_t off = 3; off < end; off += end / 40) {
		struct restore_result res;
		unsigned n = 0;

		flip_raw(pack, off, 0x20);
		b->d = (struct diag){0};
		assert_int_equal(restore_latest(b, NULL, &res), -EBADMSG);
		assert_int_equal(res.n_damaged, 1);
		for (unsigned i = 0; i < 8; i++) {
			snprintf(name, sizeof(name), "f%u", i);
			if (!out_has(b, name))
				continue;
			expect_noise(b, name, i, 6000);
			n++;
		}
		assert_true(n >= 7); /* 8: it was the root's own record */
		no_leftovers(b->out_dir);
		remove_tree(AT_FDCWD, b->out_dir);
		flip_raw(pack, off, 0x20);
	}
	set_manifest_free(&m);
}

/* Promise 2: packs cut short, exchanged, taken from another set or gone give damage, never other
 * data. */
static void packs_mixed_up(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest a, m;
	char p0[PATH_MAX], p1[PATH_MAX], other[PATH_MAX], aside[PATH_MAX];

	make_noise(b->fx->v, VOLUME_ROOT_ID, "big", 1, 40 << 20);
	back_up(b, true, &a);
	back_up(b, true, &m);
	assert_int_equal(m.n_packs, 3);
	object_path(b, m.id, "pack-00000", p0);
	object_path(b, m.id, "pack-00001", p1);
	object_path(b, a.id, "pack-00001", other);
	snprintf(aside, sizeof(aside), "%s/aside", b->fx->dir);

	assert_int_equal(renameat2(AT_FDCWD, p0, AT_FDCWD, p1, RENAME_EXCHANGE), 0);
	expect_damage(b, 1);
	assert_int_equal(renameat2(AT_FDCWD, p0, AT_FDCWD, p1, RENAME_EXCHANGE), 0);
	remove_tree(AT_FDCWD, b->out_dir);

	assert_int_equal(renameat2(AT_FDCWD, p1, AT_FDCWD, other, RENAME_EXCHANGE), 0);
	expect_damage(b, 1);
	assert_false(out_has(b, "big"));
	assert_int_equal(renameat2(AT_FDCWD, p1, AT_FDCWD, other, RENAME_EXCHANGE), 0);
	remove_tree(AT_FDCWD, b->out_dir);

	assert_int_equal(truncate(p1, (off_t)m.packs[1].len - 1), 0);
	expect_damage(b, 1);
	assert_false(out_has(b, "big"));
	remove_tree(AT_FDCWD, b->out_dir);

	assert_int_equal(rename(p0, aside), 0);
	expect_damage(b, 1);
	assert_false(out_has(b, "big"));
	set_manifest_free(&a);
	set_manifest_free(&m);
}

/* Promise 2: what a damaged block of the index told of is damage, never "no such file", nor a folder with less in it. */
static void damaged_index_block(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	struct set_catalog c;
	struct restore_result res;
	char path[PATH_MAX];
	uint64_t id;
	size_t end = 0;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 1, 5000);
	back_up(b, true, &m);
	assert_int_equal(set_index_read(b->repo, keys(b), &m, end_of_records, &end, &b->d), 0);
	assert_true(m.packs[0].len > end + SET_FRAME_LEN);
	object_path(b, m.id, "pack-00000", path);
	for (size_t off = end; off < m.packs[0].len; off += 7) {
		flip_raw(path, off, 1);
		load(b, &c);
		struct setview *sv = view(b, &c, 0);
		b->d = (struct diag){0};
		assert_int_equal(setview_resolve(sv, "f", &id, &b->d), -EBADMSG);
		assert_int_equal(b->d.id, DIAG_SET_DAMAGED);
		setview_close(sv);
		set_catalog_free(&c);
		assert_int_equal(restore_latest(b, NULL, &res), -EBADMSG);
		assert_true(res.n_damaged > 0);
		assert_false(out_has(b, "f"));
		remove_tree(AT_FDCWD, b->out_dir);
		flip_raw(path, off, 1);
	}
	set_manifest_free(&m);
}

/* Promise 2: a set whose index is damaged is refused before anything is written. */
static void damaged_index(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	struct set_catalog c;
	struct setview *sv = NULL;
	char path[PATH_MAX];

	make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 1, 100);
	back_up(b, true, &m);
	load(b, &c);
	object_path(b, m.id, "index", path);
	for (size_t off = 0; off < m.index.len; off++) {
		flip_raw(path, off, 1);
		assert_int_equal(setview_open(b->repo, keys(b), &c, 0, &sv, &b->d), -EBADMSG);
		assert_int_equal(b->d.id, DIAG_SET_DAMAGED);
		flip_raw(path, off, 1);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(setview_open(b->repo, keys(b), &c, 0, &sv, &b->d), -EBADMSG);
	set_manifest_free(&m);
	set_catalog_free(&c);
}

/* A folder whose own record is damaged gives up its content all the same, and is told. */
static void content_of_a_damaged_folder(void **state)
{
	struct backup_fixture *b = *state;
	uint64_t docs = make(b->fx->v, VOLUME_ROOT_ID, "docs", S_IFDIR | 0777);
	struct set_catalog c;
	struct restore_result res;
	struct stat st;
	char path[PATH_MAX];

	make_noise(b->fx->v, docs, "f", 5, 5000);
	back_up_only(b, true);
	load(b, &c);
	struct setview *sv = view(b, &c, 0);
	struct view_entry node;
	assert_int_equal(setview_node(sv, docs, &node), 0);
	object_path(b, c.sets[0].id, "pack-00000", path);
	flip_raw(path, node.e.off + node.e.len - 1, 1);
	setview_close(sv);
	set_catalog_free(&c);
	assert_int_equal(restore_latest(b, NULL, &res), -EBADMSG);
	assert_int_equal(res.n_damaged, 1);
	assert_string_equal(res.first_damaged, "docs");
	expect_noise(b, "docs/f", 5, 5000);
	in_out(b, "docs", path);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

/* A damaged name is damage for who looks for one in its folder, never "no such name"; its
 * neighbours are found. */
static void damaged_name(void **state)
{
	struct backup_fixture *b = *state;
	struct set_catalog c;
	struct restore_result res;
	char path[PATH_MAX];
	uint64_t id;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 5, 5000);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "g", 6, 5000);
	back_up_only(b, true);
	load(b, &c);
	struct setview *sv = view(b, &c, 0);
	struct view_names it;
	struct view_entry first, second;
	assert_int_equal(view_names_open(sv, VOLUME_ROOT_ID, 0, false, &it), 0);
	assert_int_equal(view_names_next(&it, &first), 1);
	assert_int_equal(view_names_next(&it, &second), 1);
	assert_int_equal(view_names_next(&it, &second), 0);
	view_names_close(&it);
	object_path(b, c.sets[0].id, "pack-00000", path);
	flip_raw(path, first.e.off + 60, 1);
	assert_int_equal(setview_resolve(sv, "f", &id, &b->d), -EBADMSG);
	assert_int_equal(b->d.id, DIAG_SET_DAMAGED);
	assert_int_equal(setview_resolve(sv, "g", &id, &b->d), 0);
	setview_close(sv);
	set_catalog_free(&c);
	assert_int_equal(restore_latest(b, NULL, &res), -EBADMSG);
	assert_int_equal(res.n_damaged, 1);
	expect_noise(b, "g", 6, 5000);
}

/* ---- what a set may say ---- */

static void put_bad_names(struct set_writer *w, struct bytes_w *body)
{
	static const struct {
		const char *name;
		size_t len;
	} bad[] = {{"..", 2},  {".", 1},    {"", 0},    {"../escaped", 10},
		   {"a/b", 3}, {"/etc", 4}, {"a\0b", 3}};
	const struct set_node n = {.attr = {.mode = S_IFREG | 0644,
					    .nlink = 1,
					    .size = 1,
					    .uid = geteuid(),
					    .gid = getegid()},
				   .inline_data = (const uint8_t *)"x",
				   .inline_len = 1};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put_node(w, 100 + i, &n, body);
		put_name(w, 100 + i, 100 + i, bad[i].name, bad[i].len, body);
	}
	put_node(w, 200, &n, body);
	put_name(w, 200, 200, "good", 4, body);
}

/* Names from a set are checked like anybody's: none leads out of its folder. */
static void names_cannot_escape(void **state)
{
	struct backup_fixture *b = *state;
	struct restore_result res;
	char path[PATH_MAX];
	struct stat st;

	craft(b, put_bad_names);
	assert_int_equal(restore_latest(b, NULL, &res), -EBADMSG);
	assert_int_equal(res.n_damaged, 7);
	expect_content(b, "good", "x", 1);
	snprintf(path, sizeof(path), "%s/escaped", b->fx->dir);
	assert_int_equal(lstat(path, &st), -1);
}

/* Promise 2: a block whose record a set lacks (its file was destroyed in the live volume while the
 * set was taken) is no hole. */
static void lacking_blocks(void **state)
{
	struct backup_fixture *b = *state;
	struct restore_result res;

	craft(b, put_half_a_file);
	assert_int_equal(restore_latest(b, NULL, &res), -EBADMSG);
	assert_int_equal(res.n_damaged, 1);
	assert_int_equal(res.n_files, 0);
	assert_false(out_has(b, "f"));
}

/* ---- promise 5 ---- */

/*
 * Promise 5: what is destroyed is told as destroyed under its order, in whole restores and by path,
 * and is no damage; all else is as it was. What is left of its bytes does not matter.
 */
static void destroyed_is_told(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	uint64_t docs = make(v, VOLUME_ROOT_ID, "docs", S_IFDIR | 0755), id;
	struct restore_result res;
	struct set_catalog c;
	struct volume_attr a;
	char path[PATH_MAX];

	uint64_t gone = make_noise(v, docs, "secret", 1, 5000);
	make_noise(v, docs, "kept", 2, 5000);
	uint64_t folder = make(v, VOLUME_ROOT_ID, "folder", S_IFDIR | 0755);
	make_noise(v, folder, "child", 3, 5000);
	back_up_only(b, true);
	write_at(v, gone, "more", 4, 4000);
	back_up_only(b, false);
	puncture(b, KEYRING_BOTH, gone, "D-2026-1");
	puncture(b, KEYRING_BOTH, folder, "D-2026-2");

	load(b, &c);
	struct setview *sv = view(b, &c, 1);
	assert_int_equal(setview_resolve(sv, "docs/secret", &id, &b->d), -EKEYREVOKED);
	assert_int_equal(b->d.id, DIAG_DESTROYED);
	assert_non_null(strstr(b->d.object, "D-2026-1"));
	/* The name of what never was is not told apart: nobody can confirm a guess. */
	assert_int_equal(setview_resolve(sv, "docs/never was", &id, &b->d), -EKEYREVOKED);
	assert_int_equal(setview_resolve(sv, "docs/kept", &id, &b->d), 0);
	assert_int_equal(setview_attr(sv, gone, &a), -EKEYREVOKED);
	struct view_entry node;
	assert_int_equal(setview_node(sv, gone, &node), 0);
	object_path(b, setview_manifest(sv, &node)->id, "pack-00000", path);
	flip_raw(path, node.e.off + 50, 1);
	assert_int_equal(setview_attr(sv, gone, &a), -EKEYREVOKED);
	setview_close(sv);
	set_catalog_free(&c);

	assert_int_equal(restore_latest(b, NULL, &res), 0);
	assert_int_equal(res.n_destroyed, 2);
	assert_int_equal(res.n_damaged, 0);
	assert_int_equal(strncmp(res.order, "D-2026-", 7), 0);
	assert_int_equal(res.n_files, 1);
	expect_noise(b, "docs/kept", 2, 5000);
	assert_false(out_has(b, "docs/secret"));
	assert_false(out_has(b, "folder"));
}

/* After the volume, too, has let go of it, an increment restores without it: the tree of that
 * moment. */
static void destroyed_in_the_volume(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	uint64_t docs = make(v, VOLUME_ROOT_ID, "docs", S_IFDIR | 0755);
	CLEANUP_BYTES struct bytes_w lookups = {0};
	struct volume_destroyed done;
	struct restore_result res;
	char *want, *got;

	uint64_t gone = make_noise(v, docs, "secret", 1, 50000);
	make_noise(v, docs, "kept", 2, 5000);
	back_up_only(b, true);
	puncture(b, KEYRING_BOTH, gone, "D-1");
	assert_int_equal(volume_destroy(v, &gone, 1, true, &done, &lookups), 0);
	want = tree_of_volume(v, VOLUME_ROOT_ID);
	back_up_only(b, false);
	assert_int_equal(restore_latest(b, NULL, &res), 0);
	got = tree_of_folder(b->out_dir);
	expect_tree(got, want);
	assert_int_equal(res.n_destroyed, 0);
	free(got);
	free(want);
}

static int give_away(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return lchown(path, 1001, 1001);
}

/* Who is not root gets the content, and is told that owners are not what they were; set-id bits
 * then mean nothing and go. */
static void without_privileges(void **state)
{
	struct backup_fixture *b = *state;
	struct volume_attr a, in = {.mode = 04755};
	int status;

	if (geteuid() != 0)
		skip();
	uint64_t id = make_noise(b->fx->v, VOLUME_ROOT_ID, "tool", 1, 5000); /* 1000:1000's */
	assert_int_equal(volume_setattr(b->fx->v, id, VOLUME_SET_MODE, &in, &a), 0);
	back_up_only(b, true);
	struct set_catalog c;
	load(b, &c);
	struct restore_request rq = {.view = view(b, &c, 0), .to = b->out_dir};
	assert_int_equal(mkdir(b->out_dir, 0700), 0);
	assert_int_equal(chown(b->out_dir, 1001, 1001), 0);
	assert_int_equal(chmod(b->fx->dir, 0711), 0);
	assert_int_equal(nftw(b->repo_dir, give_away, 16, FTW_PHYS), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct restore_result res;
		if (setgid(1001) || setuid(1001))
			_exit(1);
		int err = restore_run(&rq, &res, &b->d);
		_exit(err == -EPERM && res.n_refused == 1 && res.n_files == 1 &&
			      !strcmp(res.first_refused, "tool")
			  ? 0
			  : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	setview_close(rq.view);
	set_catalog_free(&c);
	struct stat st;
	char path[PATH_MAX];
	in_out(b, "tool", path);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0755);
	expect_noise(b, "tool", 1, 5000);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, backup_setup, backup_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(random_lives),
	    TEST(special_things),
	    TEST(holes_stay_holes),
	    TEST(writers_go_on),
	    TEST(single_paths),
	    TEST(in_place),
	    TEST(links_in_the_target),
	    TEST(folder_swapped_meanwhile),
	    TEST(copies_join_the_lineage),
	    TEST(flipped_bytes),
	    TEST(packs_mixed_up),
	    TEST(damaged_index),
	    TEST(damaged_index_block),
	    TEST(content_of_a_damaged_folder),
	    TEST(damaged_name),
	    TEST(names_cannot_escape),
	    TEST(lacking_blocks),
	    TEST(destroyed_is_told),
	    TEST(destroyed_in_the_volume),
	    TEST(without_privileges),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
