/* The catalogue: which sets a repository holds, which chain a set stands on, and what is damaged.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/repo_internal.h"
#include "tests/unit/set_sample.h"

/* Sets are found by id, by what an id begins with, as the latest, and by time. */
static void finds_sets(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest a = dated(SET_A, 30, "", 0), m = dated(SET_B, 10, "", 0),
			    n = dated(SET_C, 20, "", 0);
	struct set_catalog c;
	size_t i;

	load(b, &c);
	assert_int_equal(set_catalog_find(&c, "latest", 0, &i, &b->d), -ENOENT);
	assert_int_equal(b->d.id, DIAG_SET_MISSING);
	set_catalog_free(&c);
	put_set(b, &a);
	put_set(b, &m);
	put_set(b, &n);
	load(b, &c);
	assert_int_equal(c.n_sets, 3);
	assert_string_equal(c.sets[0].id, SET_B); /* by transaction */
	assert_string_equal(c.sets[2].id, SET_A);
	assert_int_equal(set_catalog_find(&c, NULL, 0, &i, &b->d), 0);
	assert_int_equal(i, 2);
	assert_int_equal(set_catalog_find(&c, "latest", 0, &i, &b->d), 0);
	assert_int_equal(i, 2);
	assert_int_equal(set_catalog_find(&c, SET_C, 0, &i, &b->d), 0);
	assert_int_equal(i, 1);
	assert_int_equal(set_catalog_find(&c, "20261101", 0, &i, &b->d), 0);
	assert_int_equal(i, 2);
	assert_int_equal(set_catalog_find(&c, "20261102", 0, &i, &b->d), -EINVAL);
	assert_int_equal(set_catalog_find(&c, "20261103", 0, &i, &b->d), -ENOENT);
	assert_int_equal(set_catalog_find(&c, NULL, 1020, &i, &b->d), 0);
	assert_int_equal(i, 1);
	assert_int_equal(set_catalog_find(&c, NULL, 1029, &i, &b->d), 0);
	assert_int_equal(i, 1);
	assert_int_equal(set_catalog_find(&c, NULL, 1009, &i, &b->d), -ENOENT);
	set_catalog_free(&c);
}

static int chain_of(struct backup_fixture *b, const char *id, size_t *ret_n)
{
	CLEANUP_FREE size_t *chain = NULL;
	struct set_catalog c;
	size_t i;

	load(b, &c);
	int err = set_catalog_find(&c, id, 0, &i, &b->d);
	if (err == 0)
		err = set_catalog_chain(&c, i, &chain, ret_n, &b->d);
	if (err == 0)
		assert_true(c.sets[chain[0]].full && chain[*ret_n - 1] == i);
	set_catalog_free(&c);
	return err;
}

/* A chain is whole or none: each link continues exactly where its parent ended, on the same
 * timeline. */
static void chains(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest a = dated(SET_A, 10, "", 0), m = dated(SET_B, 20, SET_A, 10),
			    n = dated(SET_C, 30, SET_B, 20);
	char name[SET_NAME_LEN], path[PATH_MAX];
	size_t count;

	put_set(b, &a);
	put_set(b, &m);
	put_set(b, &n);
	assert_int_equal(chain_of(b, SET_C, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(chain_of(b, SET_A, &count), 0);
	assert_int_equal(count, 1);

	m.from_txn = 9; /* a gap */
	put_set(b, &m);
	assert_int_equal(chain_of(b, SET_C, &count), -ENOENT);
	assert_int_equal(b->d.id, DIAG_SET_MISSING);
	m.from_txn = 10;
	m.timeline++;
	put_set(b, &m);
	assert_int_equal(chain_of(b, SET_C, &count), -ENOENT);
	m = dated(SET_B, 20, SET_C, 30); /* a circle */
	m.from_txn = m.to_txn = n.from_txn = n.to_txn = 20;
	put_set(b, &m);
	put_set(b, &n);
	assert_int_equal(chain_of(b, SET_C, &count), -EBADMSG);
	assert_int_equal(b->d.id, DIAG_SET_DAMAGED);

	m = dated(SET_B, 20, SET_A, 10);
	put_set(b, &m);
	object_path(b, SET_A, "manifest", path);
	flip_raw(path, 40, 1);
	assert_int_equal(chain_of(b, SET_B, &count), -EBADMSG);
	set_object(SET_A, "manifest", name);
	assert_int_equal(repo_delete(b->repo, name), 0);
	assert_int_equal(chain_of(b, SET_B, &count), -ENOENT);
	assert_int_equal(b->d.id, DIAG_SET_MISSING);
}

/* Promise 2: a manifest in another set's place, one with a tail behind a zero, a changed pack
 * table: damaged, named, and no set. */
static void damaged_sets(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest a = dated(SET_A, 10, "", 0);
	CLEANUP_FREE uint8_t *p = NULL;
	struct set_catalog c;
	char path[PATH_MAX], name[SET_NAME_LEN];
	size_t i;

	put_set(b, &a);
	object_path(b, SET_A, "manifest", path);
	size_t len = read_raw(path, &p);
	set_object(SET_B, "manifest", name);
	assert_int_equal(repo_put(b->repo, name, p, len), 0);
	load(b, &c);
	assert_int_equal(c.n_sets, 1);
	assert_int_equal(c.n_damaged, 1);
	assert_string_equal(c.damaged[0], SET_B);
	assert_int_equal(set_catalog_find(&c, SET_B, 0, &i, &b->d), -EBADMSG);
	assert_int_equal(b->d.id, DIAG_SET_DAMAGED);
	set_catalog_free(&c);

	write_raw(path, p, len + 1);
	load(b, &c);
	assert_int_equal(c.n_damaged, 2);
	set_catalog_free(&c);
	write_raw(path, p, len);

	object_path(b, SET_A, "packs", path);
	write_raw(path, "0123456789012345678901234567890123456789012345678901234", 56);
	load(b, &c);
	assert_int_equal(c.n_sets, 0);
	assert_int_equal(c.n_damaged, 2);
	set_catalog_free(&c);
	assert_int_equal(unlink(path), 0);
	load(b, &c);
	assert_int_equal(c.n_damaged, 2);
	set_catalog_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(finds_sets),
	    WITH_REPOSITORY(chains),
	    WITH_REPOSITORY(damaged_sets),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
