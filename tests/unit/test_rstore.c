/* The record store: what was committed is there, in order, in a tree that stays dense and shallow.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/rstore_texts.h"

/* What was committed is there after reopening; what was not is gone; absent is -ENOENT. */
static void test_durable(void **state)
{
	struct fx *f = *state;
	struct rstore_key k = fx_key(1);
	CLEANUP_BYTES struct bytes_w w = {0};
	struct rstore_root root;
	uint64_t txn;

	put(f, 1, "one");
	put(f, 2, "two");
	assert_true(rstore_dirty(f->rs));
	assert_true(rstore_pending_bytes(f->rs) >= 6);
	commit(f);
	assert_false(rstore_dirty(f->rs));
	assert_int_equal(rstore_pending_bytes(f->rs), 0);
	put(f, 1, "uno");
	assert_int_equal(rstore_commit(f->rs, &root), 0);
	del(f, 2);
	put(f, 3, "three");
	reopen(f);
	expect(f, 1, "uno");
	expect(f, 2, "two");
	expect(f, 3, NULL);
	assert_int_equal(rstore_get(f->rs, &k, &w, &txn), 0);
	assert_int_equal(txn, root.txn);
}

/* A store made for keys that have served another begins above all transactions of that one. */
static void test_first_txn(void **state)
{
	struct rstore_root root, older = {.txn = 1000};
	struct fx f;
	(void)state;

	fx_folder(&f);
	f.cfg.first_txn = 1001;
	assert_int_equal(rstore_create(&f.cfg, NULL), 0);
	assert_int_equal(rstore_open(&f.cfg, &older, &f.rs, NULL), 0);
	rstore_root_get(f.rs, &root);
	assert_int_equal(root.txn, 1001);
	put(&f, 1, "one");
	commit(&f);
	expect(&f, 1, "one");
	fx_remove(&f);
}

/* A page holds the longest block map of the suite. */
static void test_page_size(void **state)
{
	(void)state;
	for (uint8_t id = SUITE_AEGIS256; id <= SUITE_XCHACHA20POLY1305; id++) {
		struct fx f;

		fx_keyring.suite = suite_by_id(id);
		if (!fx_keyring.suite)
			continue;
		fx_folder(&f);
		assert_int_equal(rstore_create(&f.cfg, NULL), 0);
		assert_int_equal(fx_count(&f, "PRAGMA page_size"),
				 suite_tag_len(fx_keyring.suite) > SUITE_TAG_LEN ? 8192 : 4096);
		assert_int_equal(rstore_open(&f.cfg, NULL, &f.rs, NULL), 0);
		fx_remove(&f);
	}
	fx_keyring.suite = NULL;
}

/* Reads and scans see pending records, deletions included, with the coming transaction's number. */
static void test_pending(void **state)
{
	struct fx *f = *state;
	struct rstore_key from = fx_key(2), to = fx_key(7);
	char text[200] = "";
	CLEANUP_BYTES struct bytes_w w = {0};
	uint64_t txn;

	for (uint64_t n = 1; n <= 8; n++)
		put(f, n, "old");
	commit(f);
	del(f, 3);
	put(f, 4, "new");
	put(f, 0, "zero");
	del(f, 99);
	expect(f, 3, NULL);
	expect(f, 4, "new");
	assert_int_equal(rstore_scan(f->rs, &from, &to, list, text), 0);
	assert_string_equal(text, "2=old 4=new 5=old 6=old ");
	text[0] = '\0';
	assert_int_equal(rstore_scan(f->rs, NULL, NULL, list, text), 0);
	assert_string_equal(text, "0=zero 1=old 2=old 4=new 5=old 6=old 7=old 8=old ");
	from = fx_key(4);
	assert_int_equal(rstore_get(f->rs, &from, &w, &txn), 0);
	assert_int_equal(txn, rstore_next_txn(f->rs));
	commit(f);
	text[0] = '\0';
	assert_int_equal(rstore_scan(f->rs, NULL, NULL, list, text), 0);
	assert_string_equal(text, "0=zero 1=old 2=old 4=new 5=old 6=old 7=old 8=old ");
}

static int stop_at_two(void *arg, const struct rstore_key *key, const void *val, size_t len,
		       uint64_t txn)
{
	(void)key;
	(void)val;
	(void)len;
	(void)txn;
	return ++*(int *)arg == 2 ? 77 : 0;
}

/* A scan ends when the callback says so, with its value. */
static void test_scan_stops(void **state)
{
	struct fx *f = *state;
	int n = 0;

	for (uint64_t i = 1; i <= 5; i++)
		put(f, i, "x");
	assert_int_equal(rstore_scan(f->rs, NULL, NULL, stop_at_two, &n), 77);
	assert_int_equal(n, 2);
	commit(f);
	n = 0;
	assert_int_equal(rstore_scan(f->rs, NULL, NULL, stop_at_two, &n), 77);
	assert_int_equal(n, 2);
}

/* Limits: keys empty, too long or reserved and values too long are refused; the largest and the
 * empty value come back as they were. */
static void test_limits(void **state)
{
	struct fx *f = *state;
	struct rstore_key bad[] = {{.len = 0},
				   {.len = RSTORE_KEY_MAX + 1, .b = {1}},
				   {.len = 4, .b = {RSTORE_KEY_RESERVED}}};
	struct rstore_key k = {.len = RSTORE_KEY_MAX, .b = {0xef}}, k2 = {.len = 1, .b = {1}};
	CLEANUP_BYTES struct bytes_w w = {0}, back = {0};

	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(rstore_put(f->rs, &bad[i], "x", 1), -EINVAL);
		assert_int_equal(rstore_del(f->rs, &bad[i]), -EINVAL);
		assert_int_equal(rstore_get(f->rs, &bad[i], &w, NULL), -EINVAL);
	}
	memset(bytes_w_room(&w, RSTORE_VALUE_MAX + 1), 'v', RSTORE_VALUE_MAX + 1);
	assert_int_equal(rstore_put(f->rs, &k, w.buf, RSTORE_VALUE_MAX + 1), -E2BIG);
	assert_int_equal(rstore_put(f->rs, &k, w.buf, RSTORE_VALUE_MAX), 0);
	assert_int_equal(rstore_put(f->rs, &k2, NULL, 0), 0);
	commit(f);
	reopen(f);
	assert_int_equal(rstore_get(f->rs, &k2, &back, NULL), 0);
	assert_int_equal(back.len, 0);
	assert_int_equal(rstore_get(f->rs, &k, &back, NULL), 0);
	assert_int_equal(back.len, RSTORE_VALUE_MAX);
	assert_memory_equal(back.buf, w.buf, back.len);
}

/* A prefix sorts before what it is a prefix of. */
static void test_key_order(void **state)
{
	struct rstore_key a = {.len = 1, .b = {5}}, b = {.len = 2, .b = {5, 0}},
			  c = {.len = 1, .b = {6}};

	(void)state;
	assert_true(rstore_key_cmp(&a, &b) < 0 && rstore_key_cmp(&b, &c) < 0);
	assert_true(rstore_key_cmp(&c, &a) > 0);
	assert_int_equal(rstore_key_cmp(&b, &b), 0);
}

/* Transaction numbers never repeat: each attempt takes one, each open leaves a gap. */
static void test_txn(void **state)
{
	struct fx *f = *state;
	struct rstore_root a, b;

	put(f, 1, "a");
	assert_int_equal(rstore_commit(f->rs, &a), 0);
	assert_int_equal(rstore_commit(f->rs, &b), 0);
	assert_int_equal(a.txn, b.txn);
	assert_int_equal(rstore_next_txn(f->rs), a.txn + 1);
	reopen(f);
	assert_true(rstore_next_txn(f->rs) >= a.txn + (1 << 20));
	rstore_root_get(f->rs, &b);
	assert_memory_equal(&a, &b, sizeof(a));
}

/* There is one store to a folder and one process to a store. */
static void test_exclusive(void **state)
{
	struct fx *f = *state;
	struct rstore *second = NULL;
	struct diag d = {0};

	assert_int_equal(rstore_create(&f->cfg, &d), -EEXIST);
	assert_int_equal(d.id, DIAG_STORE_EXISTS);
	assert_int_equal(rstore_open(&f->cfg, NULL, &second, &d), -EBUSY);
	assert_int_equal(d.id, DIAG_MOUNTED);
	assert_null(second);
	expect(f, 1, NULL);
}

/* --- the tree --- */

/* Every order of insertion and removal leaves the same answers, through a cache of a few nodes. */
static void test_many(void **state)
{
	struct fx *f = *state;
	const uint64_t n = 9973, step = 4567; /* coprime: a permutation */
	struct rstore_check c;

	f->cfg.cache_bytes = 100000;
	reopen(f);
	for (uint64_t i = 0; i < n; i++) {
		put(f, 1 + i * step % n, "v");
		if (i % 1500 == 0)
			commit(f);
	}
	commit(f);
	reopen(f);
	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_records, n);
	assert_int_equal(c.n_bad, 0);
	for (uint64_t i = 0; i < n - 1; i++) {
		del(f, 1 + i * step % n);
		if (i % 1500 == 0) {
			commit(f);
			expect(f, 1 + i * step % n, NULL);
			expect(f, 1 + (n - 1) * step % n, "v");
		}
	}
	commit(f);
	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_records, 1);
	del(f, 1 + (n - 1) * step % n);
	commit(f);
	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_records, 0);
	assert_int_equal(c.n_nodes, 1);
	fx_close(f);
	assert_int_equal(fx_count(f, "SELECT count(*) FROM rec"), 0);
	assert_int_equal(fx_count(f, "SELECT count(*) FROM node"), 1);
}

/* Ascending runs fill their leaves, at the edge of the tree and in the middle. */
static void test_runs_are_dense(void **state)
{
	struct fx *f = *state;
	const uint64_t n = 40 * RSTORE_NODE_MAX;
	struct rstore_check c;

	for (uint64_t i = 1; i <= n / 2; i++)
		put(f, i, "low");
	for (uint64_t i = 1; i <= 200; i++)
		put(f, 1000000 + i, "high");
	commit(f);
	for (uint64_t i = n / 2 + 1; i <= n; i++) {
		put(f, i, "low");
		if (i % 100 == 0)
			commit(f);
	}
	commit(f);
	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_in_range(c.n_nodes, 41, 48);
}

/* Emptied ranges give their nodes back, and half-empty neighbours join. */
static void test_nodes_shrink(void **state)
{
	struct fx *f = *state;
	struct rstore_check c;

	for (uint64_t i = 1; i <= 40 * RSTORE_NODE_MAX; i++)
		put(f, i, "x");
	commit(f);
	for (uint64_t i = 1; i <= 40 * RSTORE_NODE_MAX; i++) {
		if (i % 32)
			del(f, i);
	}
	commit(f);
	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_records, 40 * RSTORE_NODE_MAX / 32);
	assert_in_range(c.n_nodes, 4, 12);
	assert_int_equal(c.n_bad, 0);
}

/* Three levels: what is removed around the seam of two inner nodes can be entered anew in any
 * order. */
static void test_three_levels(void **state)
{
	struct fx *f = *state;
	const uint64_t n = RSTORE_NODE_MAX * RSTORE_NODE_MAX + 20 * RSTORE_NODE_MAX;
	const uint64_t from = n - 30 * RSTORE_NODE_MAX, len = 25 * RSTORE_NODE_MAX;
	struct rstore_check c;

	for (uint64_t i = 1; i <= n; i++)
		put(f, i, "x");
	commit(f);
	for (uint64_t i = 0; i < len; i++)
		del(f, from + i);
	commit(f);
	for (uint64_t i = 0; i < len; i++) {
		put(f, from + i * 4567 % len, "y");
		if (i % 1000 == 0)
			commit(f);
	}
	commit(f);
	reopen(f);
	for (uint64_t i = 1; i <= n; i++)
		expect(f, i, i >= from && i < from + len ? "y" : "x");
	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_records, n);
	assert_int_equal(c.n_bad, 0);
}

/* The WAL stays below its cap, however much is written. */
static void test_wal_is_capped(void **state)
{
	struct fx *f = *state;
	CLEANUP_FREE char *wal = NULL;
	CLEANUP_FREE char *val = calloc(1, 1 << 20);
	struct stat st;

	assert_true(asprintf(&wal, "%s-wal", f->db) > 0);
	for (uint64_t i = 1; i <= 100; i++) {
		struct rstore_key k = fx_key(i % 10);

		assert_int_equal(rstore_put(f->rs, &k, val, 1 << 20), 0);
		commit(f);
	}
	assert_int_equal(stat(wal, &st), 0);
	assert_in_range(st.st_size, 1, 64 << 20);
	assert_int_equal(rstore_scrub(f->rs), 0);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    FRESH(test_durable),
	    cmocka_unit_test(test_first_txn),
	    cmocka_unit_test(test_page_size),
	    FRESH(test_pending),
	    FRESH(test_scan_stops),
	    FRESH(test_limits),
	    cmocka_unit_test(test_key_order),
	    FRESH(test_txn),
	    FRESH(test_exclusive),
	    FRESH(test_many),
	    FRESH(test_runs_are_dense),
	    FRESH(test_nodes_shrink),
	    FRESH(test_three_levels),
	    FRESH(test_wal_is_capped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
