/*
 * Inodes in memory: how many, what the kernel's references hold, and what stops writers.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>

#include "fs/engine_internal.h"
#include "tests/unit/volume_fixture.h"

#define ROOT VOLUME_ROOT_ID
#define N_MANY (ENGINE_LRU_MAX + 3000u)

/* ---- the table of references ---- */

/* Promise: counts come back as they were put, whatever was taken out in between. */
static void references_table(void **state)
{
	struct inode_refs t = {0};
	(void)state;

	assert_int_equal(inode_refs_take(&t, 5), 0);
	for (uint64_t id = 1; id <= 20000; id++)
		assert_int_equal(inode_refs_put(&t, id * 4096, id), 0);
	for (uint64_t id = 2; id <= 20000; id += 2)
		assert_int_equal(inode_refs_take(&t, id * 4096), id);
	for (uint64_t id = 1; id <= 20000; id++)
		assert_int_equal(inode_refs_get(&t, id * 4096), id % 2 ? id : 0);
	inode_refs_drop(&t, 3 * 4096, 1);
	assert_int_equal(inode_refs_get(&t, 3 * 4096), 2);
	inode_refs_drop(&t, 3 * 4096, 7);
	assert_int_equal(inode_refs_get(&t, 3 * 4096), 0);
	inode_refs_drop(&t, 4096 * 4, 1);
	assert_int_equal(t.n, 9999);
	for (uint64_t id = 1; id <= 20000; id++)
		(void)inode_refs_take(&t, id * 4096);
	assert_int_equal(t.n, 0);
	inode_refs_free(&t);
}

/* ---- memory ---- */

static uint64_t make_referred(struct volume *v, unsigned i)
{
	struct volume_new in = {.mode = S_IFREG | 0600};
	struct volume_attr a;
	char name[32];

	snprintf(name, sizeof(name), "f%u", i);
	assert_int_equal(volume_make(v, ROOT, name, &in, &a), 0);
	return a.id;
}

/* Promise: however many inodes the kernel refers to, few are in memory; its references hold all the
 * same: an unlinked file lives until the last is let go of. */
static void references_outlive_memory(void **state)
{
	struct fixture *fx = *state;
	struct volume_attr a;
	uint64_t first = make_referred(fx->v, 0), last = 0;

	for (unsigned i = 1; i < N_MANY; i++)
		last = make_referred(fx->v, i);
	assert_int_equal(volume_sync(fx->v), 0);
	assert_true(fx->v->n_vinodes <= ENGINE_LRU_MAX + 2);
	assert_null(inode_peek(fx->v, first));
	assert_int_equal(volume_lookup(fx->v, ROOT, "f0", &a), 0);
	assert_int_equal(volume_unlink(fx->v, ROOT, "f0"), 0);
	assert_int_equal(volume_sync(fx->v), 0);
	volume_forget(fx->v, first, 1);
	assert_int_equal(volume_getattr(fx->v, first, &a), 0);
	assert_int_equal(a.nlink, 0);
	volume_forget(fx->v, first, 1);
	assert_int_equal(volume_getattr(fx->v, first, &a), -ENOENT);
	volume_forget(fx->v, last, 1);
	assert_int_equal(volume_getattr(fx->v, last, &a), 0);
	assert_int_equal(inodes_in_use(fx->v), N_MANY);
}

/* Promise: many deletions that wait for a commit count towards what may wait, too. */
static void deletions_count(void **state)
{
	struct fixture *fx = *state;
	struct volume_stat st;

	for (unsigned i = 0; i < 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "d%u", i);
		make(fx->v, ROOT, name, S_IFREG | 0600);
		assert_int_equal(volume_unlink(fx->v, ROOT, name), 0);
	}
	volume_stat(fx->v, &st);
	assert_true(st.pending_bytes > 200 * 3 * sizeof(struct rstore_key));
}

/* ---- damage that stands in the way of commits ---- */

/* The i-th freshness node, zeroed; false when there are fewer. */
static bool zero_node(const char *path, unsigned i)
{
	char sql[160];
	sqlite3 *db;

	snprintf(sql, sizeof(sql),
		 "UPDATE node SET val = zeroblob(length(val)) WHERE no = "
		 "(SELECT no FROM node ORDER BY no LIMIT 1 OFFSET %u)",
		 i);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	bool found = sqlite3_changes(db) == 1;
	sqlite3_close(db);
	return found;
}

/* Whether commits failed. */
static bool write_beside_damage(struct fixture *fx)
{
	struct volume_config cfg = fixture_config(fx);
	struct volume_stat st;
	uint64_t id;
	int r = volume_open(&cfg, &fx->v, NULL);

	if (r)
		return false;
	for (int i = 0; i < 3 && r == 0; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%d", i * 400);
		r = volume_unlink(fx->v, ROOT, name);
		assert_true(r == 0 || r == -EIO);
	}
	r = volume_sync(fx->v);
	assert_true(r == 0 || r == -EIO);
	volume_stat(fx->v, &st);
	assert_int_equal(st.read_only, r != 0);
	if (r) {
		assert_true(st.n_alarms > 0);
		assert_int_equal(try_make(fx->v, ROOT, "new", S_IFREG, &id), -EROFS);
	}
	(void)volume_close(fx->v);
	fx->v = NULL;
	return r != 0;
}

/* Enough for a tree of many nodes. */
static void fill_tree(struct volume *v)
{
	char name[32];

	for (int i = 0; i < 1200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		make_file(v, ROOT, name, 'f', 10);
	}
	for (int i = 1; i < 1200; i += 2) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(volume_unlink(v, ROOT, name), 0);
	}
}

/* Promise: a commit that damage keeps from succeeding is EIO and an alarm, and writers are refused
 * from then on instead of being told that all is well until the volume is closed. */
static void damaged_node_stops_writers(void **state)
{
	unsigned n_stopped = 0;
	bool damaged = true;

	for (unsigned i = 0; damaged; i++) {
		struct fixture *fx;
		char db[160];

		fixture_setup(state);
		fx = *state;
		fill_tree(fx->v);
		fixture_unmount(fx);
		snprintf(db, sizeof(db), "%s/meta.db", fx->store);
		damaged = zero_node(db, i);
		if (damaged)
			n_stopped += write_beside_damage(fx);
		fixture_teardown(state);
	}
	assert_true(n_stopped > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(references_table),
	    MOUNTED(references_outlive_memory),
	    MOUNTED(deletions_count),
	    cmocka_unit_test(damaged_node_stops_writers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
