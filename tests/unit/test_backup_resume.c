/*
 * Backups that are interrupted: earlier sets stay good, and the next run goes on where the last checkpoint was.
 *
 * Content is large, because checkpoints are far apart, and compresses well, so that it costs little.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/content.h"
#include "backup/repo_internal.h"
#include "backup/set_writer.h"
#include "tests/unit/backup_fixture.h"

#define MIB ((uint64_t)1 << 20)

/* Every block tells where it belongs. */
static uint64_t make_large(struct backup_fixture *b, const char *name, uint64_t seed, uint64_t mib)
{
	uint64_t id = make(b->fx->v, VOLUME_ROOT_ID, name, S_IFREG | 0644);
	CLEANUP_FREE uint8_t *p = calloc(1, MIB);

	assert_non_null(p);
	for (uint64_t m = 0; m < mib; m++) {
		for (size_t off = 0; off < MIB; off += MAP_BLOCK) {
			bytes_put64(p + off, seed);
			bytes_put64(p + off + 8, m * MIB + off);
		}
		write_at(b->fx->v, id, p, MIB, m * MIB);
	}
	return id;
}

static size_t n_snapshots(struct backup_fixture *b)
{
	struct volume_stat st;

	volume_stat(b->fx->v, &st);
	return st.n_snapshots;
}

static void remount(struct backup_fixture *b)
{
	fixture_unmount(b->fx);
	fixture_mount(b->fx);
}

/* --- a repository that stops taking things --- */

static const struct repo_ops *honest;
static unsigned n_puts_left;
static int refusal;
static struct repo_ops failing;

static int failing_put(void *self, const char *name, const void *p, size_t len, bool exclusive)
{
	if (n_puts_left == 0)
		return refusal;
	n_puts_left--;
	return honest->put(self, name, p, len, exclusive);
}

/* A run of which the repository takes n objects. */
static int run_with(struct backup_fixture *b, unsigned n, int err, bool full, struct set_manifest *ret)
{
	struct backup_request in = request(b, full);

	honest = b->repo->ops;
	failing = *honest;
	failing.put = failing_put;
	n_puts_left = n;
	refusal = err;
	b->d = (struct diag){0};
	b->repo->ops = &failing;
	int r = backup_run(&in, ret, &b->d);
	b->repo->ops = honest;
	return r;
}

/* --- what a set holds --- */

static void digest_in(struct backup_fixture *b, const struct set_catalog *c, size_t set, uint64_t id,
		      uint8_t ret[CONTENT_DIGEST_LEN])
{
	CLEANUP_BYTES struct bytes_w body = {0};
	struct setview *sv;
	struct set_node n;

	assert_int_equal(setview_open(b->repo, keys(b), c, set, &sv, &b->d), 0);
	assert_int_equal(setview_read_node(sv, id, &body, &n), 0);
	assert_int_equal(content_digest_set(sv, id, &n, ret), 0);
	setview_close(sv);
}

static void digest_now(struct backup_fixture *b, uint64_t id, uint8_t ret[CONTENT_DIGEST_LEN])
{
	struct volume_attr a;

	assert_int_equal(volume_peek(b->fx->v, id, &a), 0);
	assert_int_equal(content_digest_live(b->fx->v, id, a.size, ret), 0);
}

static void expect_verified(struct backup_fixture *b, const struct set_manifest *m)
{
	struct backup_verdict v = {0};

	assert_int_equal(backup_verify(b->repo, keys(b), m, &v, &b->d), 0);
	assert_int_equal(v.n_bad, 0);
	assert_int_equal(backup_scrub(b->repo, m, &v, &b->d), 0);
	assert_int_equal(v.n_bad, 0);
}

static ino_t inode_of(struct backup_fixture *b, const char *id, const char *what)
{
	char path[PATH_MAX];
	struct stat st;

	object_path(b, id, what, path);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* The one set that is unfinished. */
static void unfinished_id(struct backup_fixture *b, char ret[SET_ID_MAX + 1])
{
	char **ids, name[SET_NAME_LEN];
	size_t n;
	uint64_t size;

	*ret = 0;
	assert_int_equal(repo_list(b->repo, "sets/", &ids, &n), 0);
	for (size_t i = 0; i < n; i++) {
		set_object(ids[i], SET_UNFINISHED, name);
		if (repo_size(b->repo, name, &size) == 0)
			strcpy(ret, ids[i]);
	}
	repo_list_free(ids, n);
}

/* ---- promises ---- */

/*
 * Promise 4: whichever object the repository refuses, and over a restart each time, runs that follow go on and end with
 * the image of the first one's snapshot, though the volume has changed; what was put before a checkpoint is not put
 * again; and the run that ends it takes a set of the changes as well.
 */
static void goes_on(void **state)
{
	struct backup_fixture *b = *state;
	uint8_t before[2][CONTENT_DIGEST_LEN], now[2][CONTENT_DIGEST_LEN], got[CONTENT_DIGEST_LEN];
	uint64_t id[2] = {make_large(b, "first", 1, 200), make_large(b, "second", 2, 180)};
	struct set_manifest m = {0};
	struct set_catalog c;
	char unfinished[SET_ID_MAX + 1], again[SET_ID_MAX + 1];
	ino_t pack = 0;
	int r = -1;

	for (unsigned i = 0; i < 2; i++)
		digest_now(b, id[i], before[i]);
	/* The mark, the first pack and the note are taken; then nothing. */
	assert_int_equal(run_with(b, 3, -ENOSPC, true, &m), -ENOSPC);
	assert_int_equal(b->d.id, DIAG_NO_SPACE);
	assert_non_null(strstr(b->d.object, "goes on"));
	unfinished_id(b, unfinished);
	assert_true(*unfinished);
	assert_int_equal(n_snapshots(b), 1);
	write_at(b->fx->v, id[0], "later", 5, 150 * MIB);
	write_at(b->fx->v, id[1], "later", 5, 3 * MIB);
	for (unsigned n = 0; *unfinished && n < 12; n++) {
		remount(b);
		assert_int_equal(n_snapshots(b), 1);
		load(b, &c);
		assert_int_equal(c.n_sets + c.n_damaged, 0);
		set_catalog_free(&c);
		pack = inode_of(b, unfinished, "pack-00000");
		assert_true(pack);
		r = run_with(b, n, -EIO, true, &m);
		assert_true(r == 0 || r == -EIO);
		unfinished_id(b, again);
		if (strcmp(again, unfinished) != 0)
			break;
	}
	/* The first set is there; the one on top of it may have failed. */
	if (r)
		back_up(b, false, &m);
	unfinished_id(b, again);
	assert_string_equal(again, "");
	assert_int_equal(n_snapshots(b), 0);
	load(b, &c);
	assert_int_equal(c.n_sets, 2);
	assert_string_equal(c.sets[0].id, unfinished);
	assert_true(c.sets[0].full);
	assert_false(c.sets[1].full);
	assert_string_equal(c.sets[1].id, m.id);
	assert_int_equal(inode_of(b, unfinished, "pack-00000"), pack);
	for (size_t s = 0; s < 2; s++)
		expect_verified(b, &c.sets[s]);
	for (unsigned i = 0; i < 2; i++) {
		digest_in(b, &c, 0, id[i], got);
		assert_memory_equal(got, before[i], sizeof(got));
		digest_now(b, id[i], now[i]);
		assert_memory_not_equal(now[i], before[i], sizeof(got));
		digest_in(b, &c, 1, id[i], got);
		assert_memory_equal(got, now[i], sizeof(got));
	}
	set_catalog_free(&c);
	set_manifest_free(&m);
}

/* What nobody can go on with is not in the way: a note that was changed, a pack that is gone, a snapshot that was
 * closed, a destruction since, of what may have been copied from. A set is taken anew, and is good. */
static void cannot_go_on(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	char unfinished[SET_ID_MAX + 1], path[PATH_MAX];

	make_large(b, "first", 1, 200);
	for (unsigned how = 0; how < 5; how++) {
		assert_int_equal(run_with(b, 3, -EIO, true, &m), -EIO);
		unfinished_id(b, unfinished);
		object_path(b, unfinished, how == 1 ? "pack-00000" : SET_UNFINISHED, path);
		if (how == 0)
			flip_raw(path, 100, 1);
		if (how == 1)
			assert_int_equal(unlink(path), 0);
		if (how == 2)
			assert_int_equal(truncate(path, 60), 0);
		if (how == 3) {
			struct volume_snapshot s;
			struct set_manifest half;
			struct set_progress at;

			assert_int_equal(set_progress_load(b->repo, keys(b), unfinished, &half, &at), 0);
			set_manifest_free(&half);
			assert_int_equal(volume_snapshot_find(b->fx->v, at.snap_id, &s), 0);
			assert_int_equal(volume_snapshot_close(b->fx->v, &s), 0);
		}
		if (how == 4)
			puncture(b, KEYRING_BOTH, make(b->fx->v, VOLUME_ROOT_ID, "retired", S_IFREG | 0600), "D-1");
		back_up(b, true, &m);
		assert_true(m.full);
		assert_string_not_equal(m.id, unfinished);
		expect_verified(b, &m);
		set_manifest_free(&m);
		if (how < 3)
			assert_int_equal(set_remove(b->repo, unfinished), 0);
		unfinished_id(b, unfinished);
		assert_string_equal(unfinished, "");
	}
}

/* Without a checkpoint there is nothing worth keeping: no object and no snapshot stays. */
static void small_runs_leave_nothing(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	char unfinished[SET_ID_MAX + 1];

	make_large(b, "first", 1, 20);
	for (unsigned n = 0; n < 5; n++) {
		assert_int_equal(run_with(b, n, -ENOSPC, true, &m), -ENOSPC);
		unfinished_id(b, unfinished);
		assert_string_equal(unfinished, "");
		assert_int_equal(n_snapshots(b), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {WITH_REPOSITORY(goes_on), WITH_REPOSITORY(cannot_go_on), WITH_REPOSITORY(small_runs_leave_nothing)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
