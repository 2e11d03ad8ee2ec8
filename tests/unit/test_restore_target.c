/* Where a restore writes: what was asked for comes there, and nothing else is ever written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/restore_fixture.h"
#include "tests/unit/set_craft.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(single_paths),        WITH_REPOSITORY(in_place),
	    WITH_REPOSITORY(links_in_the_target), WITH_REPOSITORY(folder_swapped_meanwhile),
	    WITH_REPOSITORY(names_cannot_escape),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
