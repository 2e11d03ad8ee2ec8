/* Promise 5: a copy belongs to what it is a copy of, and what was destroyed is told, never given
 * back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/setview_internal.h"
#include "tests/unit/restore_fixture.h"

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
	assert_int_equal(s.n,
			 3); /* names are content too: folders and special files join as well */
	assert_true(s.all_empty);
	for (size_t i = 0; i < s.n; i++) {
		in_out(b,
		       s.set_id[i] == id       ? "f"
		       : s.set_id[i] == folder ? "folder"
					       : "fifo",
		       path);
		assert_int_equal(lstat(path, &st), 0);
		assert_int_equal(s.new_id[i], st.st_ino);
	}
}

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(copies_join_the_lineage),
	    WITH_REPOSITORY(destroyed_is_told),
	    WITH_REPOSITORY(destroyed_in_the_volume),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
