/* Promise 2: what is damaged is named and lacks, all else comes back, and no byte comes back
 * changed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/setview_internal.h"
#include "tests/unit/restore_fixture.h"
#include "tests/unit/set_craft.h"

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
 * Promise 2: a byte flipped in any record of a pack costs the entry it belongs to, which is named
 * and lacks in the target; all others are as they were. (The files are sized so that every one has
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

/* Promise 2: what a damaged block of the index told of is damage, never "no such file", nor a
 * folder with less in it. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(flipped_bytes),
	    WITH_REPOSITORY(packs_mixed_up),
	    WITH_REPOSITORY(damaged_index),
	    WITH_REPOSITORY(damaged_index_block),
	    WITH_REPOSITORY(content_of_a_damaged_folder),
	    WITH_REPOSITORY(damaged_name),
	    WITH_REPOSITORY(lacking_blocks),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
