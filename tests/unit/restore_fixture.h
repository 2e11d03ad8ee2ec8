/* Short forms of restoring from the sets of backup_tree.h, and of what has to be there afterwards.
 */
#ifndef COFFER_TESTS_UNIT_RESTORE_FIXTURE_H
#define COFFER_TESTS_UNIT_RESTORE_FIXTURE_H

#include "tests/unit/backup_tree.h"

static inline struct setview *view(struct backup_fixture *b, const struct set_catalog *c,
				   size_t set)
{
	struct setview *sv = NULL;

	assert_int_equal(setview_open(b->repo, keys(b), c, set, &sv, &b->d), 0);
	return sv;
}

/* Paths of the set (none: all of it) into to. */
static inline int restore(struct backup_fixture *b, const struct set_catalog *c, size_t set,
			  const char *to, bool in_place, const char *path,
			  struct restore_result *ret)
{
	struct setview *sv = view(b, c, set);
	struct restore_request in = {
	    .view = sv, .to = to, .in_place = in_place, .paths = &path, .n_paths = path ? 1 : 0};

	b->d = (struct diag){0};
	int err = restore_run(&in, ret, &b->d);
	setview_close(sv);
	return err;
}

static inline int restore_latest(struct backup_fixture *b, const char *path,
				 struct restore_result *ret)
{
	struct set_catalog c;

	load(b, &c);
	int err = restore(b, &c, c.n_sets - 1, b->out_dir, false, path, ret);
	set_catalog_free(&c);
	return err;
}

static inline void in_out(const struct backup_fixture *b, const char *path, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s", b->out_dir, path);
}

static inline bool out_has(const struct backup_fixture *b, const char *path)
{
	char full[PATH_MAX];
	struct stat st;

	in_out(b, path, full);
	return lstat(full, &st) == 0;
}

static inline void expect_content(const struct backup_fixture *b, const char *path,
				  const void *want, size_t len)
{
	CLEANUP_FREE uint8_t *got = NULL;
	char full[PATH_MAX];

	in_out(b, path, full);
	assert_int_equal(read_raw(full, &got), len);
	assert_memory_equal(got, want, len);
}

static inline void expect_noise(const struct backup_fixture *b, const char *path, uint64_t seed,
				size_t len)
{
	CLEANUP_FREE uint8_t *p = noise(seed, len);

	expect_content(b, path, p, len);
}

static inline void no_leftovers(const char *dir)
{
	CLEANUP_DIR DIR *d = opendir(dir);

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		assert_null(strstr(e->d_name, ".coffer-restore"));
}

#endif
