/* Snapshots of the record store: each shows its moment until it is closed, and costs what changed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/rstore_texts.h"

/* Each snapshot shows its own state, whichever the order in which they open and close. */
static void test_snapshots(void **state)
{
	struct fx *f = *state;
	struct rstore_snap a, b, c;

	put(f, 1, "a1");
	put(f, 2, "a2");
	assert_int_equal(rstore_snap_open(f->rs, &a), 0);
	put(f, 3, "b3");
	assert_int_equal(rstore_snap_open(f->rs, &b), 0);
	put(f, 1, "c1");
	del(f, 2);
	assert_int_equal(rstore_snap_open(f->rs, &c), 0);
	put(f, 1, "d1");
	put(f, 2, "d2");
	put(f, 3, "d3");
	commit(f);
	reopen(f);
	assert_int_equal(rstore_snap_newest_txn(f->rs), c.txn);
	for (int i = 0; i < 2; i++) {
		expect_snap(f, &b, 1, "a1");
		expect_snap(f, &b, 2, "a2");
		expect_snap(f, &b, 3, "b3");
		expect_snap(f, &c, 1, "c1");
		expect_snap(f, &c, 2, NULL);
		expect_snap(f, &c, 3, "b3");
		if (i == 0) {
			expect_snap(f, &a, 1, "a1");
			expect_snap(f, &a, 3, NULL);
			assert_int_equal(rstore_snap_close(f->rs, a.id), 0);
		}
	}
	assert_int_equal(rstore_snap_close(f->rs, c.id), 0);
	expect_snap(f, &b, 1, "a1");
	expect_snap(f, &b, 3, "b3");
	assert_int_equal(rstore_snap_close(f->rs, b.id), 0);
	expect(f, 1, "d1");
	expect(f, 2, "d2");
	expect(f, 3, "d3");
	fx_close(f);
	assert_int_equal(fx_count(f, "SELECT count(*) FROM rec"), 3);
}

/* Closed, unknown and forged snapshots are -ESTALE, never an empty one; there is a limit. */
static void test_snapshot_handles(void **state)
{
	struct fx *f = *state;
	struct rstore_snap s[RSTORE_SNAPSHOTS_MAX], list_of[RSTORE_SNAPSHOTS_MAX], one, forged;
	struct rstore_key k = fx_key(1), next;
	CLEANUP_BYTES struct bytes_w w = {0};
	bool more;

	put(f, 1, "x");
	for (size_t i = 0; i < RSTORE_SNAPSHOTS_MAX; i++)
		assert_int_equal(rstore_snap_open(f->rs, &s[i]), 0);
	assert_int_equal(rstore_snap_open(f->rs, &one), -EBUSY);
	reopen(f);
	assert_int_equal(rstore_snap_list(f->rs, list_of), RSTORE_SNAPSHOTS_MAX);
	assert_memory_equal(s, list_of, sizeof(s));
	assert_int_equal(rstore_snap_close(f->rs, s[3].id), 0);
	assert_int_equal(rstore_snap_close(f->rs, s[3].id), -ESTALE);
	assert_int_equal(rstore_snap_get(f->rs, &s[3], &k, &w, NULL), -ESTALE);
	forged = s[4];
	forged.txn--;
	assert_int_equal(rstore_snap_get(f->rs, &forged, &k, &w, NULL), -ESTALE);
	assert_int_equal(rstore_snap_scan(f->rs, &s[3], 0, NULL, NULL, 0, list, NULL, &more, &next),
			 -ESTALE);
	assert_int_equal(rstore_snap_open(f->rs, &one), 0);
	for (size_t i = 0; i < RSTORE_SNAPSHOTS_MAX; i++)
		assert_true(one.id > s[i].id);
}

/* A scan of a snapshot delivers what is newer than since, kept copies included, in key order, and
 * goes on where it stopped while the store changes. */
static void test_snapshot_scan(void **state)
{
	struct fx *f = *state;
	struct rstore_snap old, s;
	struct rstore_key next = fx_key(0), from = fx_key(4), to = fx_key(6);
	char text[200] = "";
	bool more = true;

	for (uint64_t n = 1; n <= 8; n++)
		put(f, n, "old");
	assert_int_equal(rstore_snap_open(f->rs, &old), 0);
	for (uint64_t n = 2; n <= 8; n += 2)
		put(f, n, "new");
	assert_int_equal(rstore_snap_open(f->rs, &s), 0);
	put(f, 4, "later");
	del(f, 5);
	put(f, 9, "later");
	commit(f);
	for (int calls = 0; more; calls++) {
		assert_true(calls < 5);
		assert_int_equal(
		    rstore_snap_scan(f->rs, &s, old.txn, &next, NULL, 1, list, text, &more, &next),
		    0);
		put(f, 8, "later");
		commit(f);
	}
	assert_string_equal(text, "2=new 4=new 6=new 8=new ");
	text[0] = '\0';
	assert_int_equal(rstore_snap_scan(f->rs, &s, 0, &from, &to, 0, list, text, &more, &next),
			 0);
	assert_string_equal(text, "4=new 5=old ");
	text[0] = '\0';
	assert_int_equal(rstore_snap_scan(f->rs, &old, 0, NULL, NULL, 0, list, text, &more, &next),
			 0);
	assert_string_equal(text, "1=old 2=old 3=old 4=old 5=old 6=old 7=old 8=old ");
}

/* Closing a large snapshot takes several commits and leaves nothing of it. */
static void test_snapshot_close_large(void **state)
{
	struct fx *f = *state;
	struct rstore_snap s;
	struct rstore_check c;
	const uint64_t n = 10000;

	for (uint64_t i = 1; i <= n; i++)
		put(f, i, "old");
	assert_int_equal(rstore_snap_open(f->rs, &s), 0);
	for (uint64_t i = 1; i <= n; i++)
		put(f, i, "new");
	commit(f);
	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_records, 2 * n);
	assert_int_equal(rstore_snap_close(f->rs, s.id), 0);
	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_records, n);
	fx_close(f);
	assert_int_equal(fx_count(f, "SELECT count(*) FROM rec"), n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    FRESH(test_snapshots),
	    FRESH(test_snapshot_handles),
	    FRESH(test_snapshot_scan),
	    FRESH(test_snapshot_close_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
