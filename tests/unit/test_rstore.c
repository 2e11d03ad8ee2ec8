/*
 * The record store: answers, durability, the shape of the tree, snapshots, erasure. Tampering has
 * its own file, as has the long random run against a model.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/rstore_fixture.h"

static int setup(void **state)
{
	struct fx *f = calloc(1, sizeof(*f));

	fx_folder(f);
	fx_revoked = 0;
	if (rstore_create(&f->cfg, NULL) || rstore_open(&f->cfg, NULL, &f->rs, NULL))
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	fx_remove(*state);
	free(*state);
	return 0;
}

static void reopen(struct fx *f)
{
	fx_close(f);
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
}

static void put(struct fx *f, uint64_t n, const char *text)
{
	struct rstore_key k = fx_key(n);

	assert_int_equal(rstore_put(f->rs, &k, text, strlen(text)), 0);
}

static void del(struct fx *f, uint64_t n)
{
	struct rstore_key k = fx_key(n);

	assert_int_equal(rstore_del(f->rs, &k), 0);
}

static void commit(struct fx *f)
{
	assert_int_equal(rstore_commit(f->rs, NULL), 0);
}

static void assert_value(const struct bytes_w *w, int r, const char *text)
{
	if (!text) {
		assert_int_equal(r, -ENOENT);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(w->len, strlen(text));
	assert_memory_equal(w->buf, text, w->len);
}

static void expect(struct fx *f, uint64_t n, const char *text)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct rstore_key k = fx_key(n);

	assert_value(&w, rstore_get(f->rs, &k, &w, NULL), text);
}

static void expect_snap(struct fx *f, const struct rstore_snap *s, uint64_t n, const char *text)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct rstore_key k = fx_key(n);

	assert_value(&w, rstore_snap_get(f->rs, s, &k, &w, NULL), text);
}

/* Appends "NUMBER=VALUE " to a text. */
static int list(void *arg, const struct rstore_key *key, const void *val, size_t len, uint64_t txn)
{
	char *text = arg;

	assert_true(txn > 0);
	sprintf(text + strlen(text), "%d=%.*s ", (int)fx_key_number(key), (int)len,
		(const char *)val);
	return 0;
}

/* --- records --- */

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

/* --- snapshots --- */

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

/* --- destruction --- */

/* A record whose key is revoked says so, does not stop scans, and is dropped when it was pending.
 */
static void test_revoked(void **state)
{
	struct fx *f = *state;
	CLEANUP_BYTES struct bytes_w w = {0};
	struct rstore_key k = fx_key(2);
	struct rstore_check c;
	char text[200] = "";

	for (uint64_t n = 1; n <= 3; n++)
		put(f, n, "x");
	commit(f);
	put(f, 2, "pending");
	put(f, 4, "pending");
	fx_revoked = 2;
	commit(f);
	assert_int_equal(rstore_get(f->rs, &k, &w, NULL), -EKEYREVOKED);
	assert_int_equal(w.len, 0);
	assert_int_equal(rstore_scan(f->rs, NULL, NULL, list, text), 0);
	assert_string_equal(text, "1=x 3=x 4=pending ");
	assert_int_equal(rstore_check(f->rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_records, 4);
	assert_int_equal(c.n_bad, 0);
	fx_revoked = 0;
	expect(f, 2, "x");
}

static bool file_holds(const char *path, const void *needle, size_t len)
{
	CLEANUP_FILE FILE *file = fopen(path, "r");
	CLEANUP_FREE char *all = NULL;
	struct stat st;

	if (!file || fstat(fileno(file), &st) || !st.st_size)
		return false;
	all = malloc((size_t)st.st_size);
	assert_int_equal(fread(all, 1, (size_t)st.st_size, file), st.st_size);
	return memmem(all, (size_t)st.st_size, needle, len) != NULL;
}

/* The last sealed bytes of the only record, as they stand in the file. */
static void sealed_end(struct fx *f, uint8_t ret[32])
{
	sqlite3 *db;
	sqlite3_stmt *st;

	fx_close(f);
	db = fx_raw(f);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT val FROM rec", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	memcpy(ret, (const uint8_t *)sqlite3_column_blob(st, 0) + sqlite3_column_bytes(st, 0) - 32,
	       32);
	sqlite3_finalize(st);
	sqlite3_close(db);
	assert_int_equal(rstore_open(&f->cfg, NULL, &f->rs, NULL), 0);
}

/* An erased record is in no file any more, though a snapshot had kept it and its key is gone. */
static void test_erase(void **state)
{
	struct fx *f = *state;
	struct rstore_key from = fx_key(1), to = fx_key(3);
	CLEANUP_FREE char *wal = NULL;
	struct rstore_snap s;
	uint8_t sealed[32], large[10000] = {0};
	uint64_t n = 0;

	assert_true(asprintf(&wal, "%s-wal", f->db) > 0);
	assert_int_equal(rstore_put(f->rs, &from, large, sizeof(large)), 0);
	commit(f);
	sealed_end(f, sealed);
	assert_true(file_holds(f->db, sealed, sizeof(sealed)));
	assert_int_equal(rstore_snap_open(f->rs, &s), 0);
	put(f, 1, "newer");
	commit(f);
	put(f, 2, "pending");
	put(f, 3, "outside");
	fx_revoked = 1;
	assert_int_equal(rstore_erase_range(f->rs, &from, &to, &n), 0);
	assert_int_equal(n, 2);
	commit(f);
	assert_int_equal(rstore_scrub(f->rs), 0);
	fx_revoked = 0;
	expect(f, 1, NULL);
	expect(f, 2, NULL);
	expect(f, 3, "outside");
	expect_snap(f, &s, 1, NULL);
	assert_false(file_holds(f->db, sealed, sizeof(sealed)));
	assert_false(file_holds(wal, sealed, sizeof(sealed)));
	put(f, 1, "again");
	commit(f);
	expect(f, 1, "again");
	expect_snap(f, &s, 1, NULL);
}

static void sealed_digest(struct fx *f, uint8_t ret[32], uint64_t *ret_n, uint64_t *ret_bytes)
{
	struct rstore_key from = fx_key(1), to = fx_key(3);
	struct kdf_hash_state st;

	*ret_n = *ret_bytes = 0;
	kdf_hash_init(&st);
	assert_int_equal(rstore_sealed_hash(f->rs, &from, &to, &st, ret_n, ret_bytes), 0);
	kdf_hash_final(&st, ret);
}

/* The digest over sealed bytes stands still while the records do, needs no key, and moves with
 * them. */
static void test_sealed_hash(void **state)
{
	struct fx *f = *state;
	uint8_t a[32], b[32];
	uint64_t n, bytes;

	put(f, 1, "one");
	put(f, 2, "two");
	put(f, 3, "outside");
	sealed_digest(f, a, &n, &bytes);
	assert_int_equal(n, 2);
	assert_int_equal(bytes, 2 * (3 + SUITE_BOX_OVERHEAD));
	put(f, 3, "outside still");
	commit(f);
	reopen(f);
	fx_revoked = 2;
	sealed_digest(f, b, &n, &bytes);
	fx_revoked = 0;
	assert_memory_equal(a, b, 32);
	put(f, 2, "two");
	sealed_digest(f, b, &n, &bytes);
	assert_memory_not_equal(a, b, 32);
}

/* --- format --- */

static void row_of(struct fx *f, const char *sql, struct bytes_w *ret)
{
	sqlite3 *db = fx_raw(f);
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	bytes_w_reset(ret);
	bytes_w_raw(ret, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
	sqlite3_finalize(st);
	sqlite3_close(db);
}

/* Opens a row with a key derived and an AD put together as the format says. */
static size_t open_row(struct fx *f, const char *sql, const char *label, const void *ad,
		       size_t ad_len, uint8_t ret[256], uint8_t ret_tag8[8])
{
	CLEANUP_BYTES struct bytes_w box = {0};
	uint8_t epoch[32], k[32];

	row_of(f, sql, &box);
	keyring_epoch_key(&fx_keyring, KEYRING_RECORDS, epoch);
	kdf_derive(k, epoch, label, NULL, 0);
	assert_in_range(box.len, SUITE_BOX_OVERHEAD, 256 + SUITE_BOX_OVERHEAD);
	assert_int_equal(
	    suite_open(keyring_suite(&fx_keyring), k, ad, ad_len, box.buf, box.len, ret), 0);
	memcpy(ret_tag8, box.buf + box.len - SUITE_TAG_LEN, 8);
	return box.len - SUITE_BOX_OVERHEAD;
}

/* The bytes on the medium are those of docs/format.md, worked example of "Records" included. */
static void test_format(void **state)
{
	struct fx *f = *state;
	CLEANUP_BYTES struct bytes_w a = {0}, b = {0}, want = {0};
	uint8_t ad[33], pt[256], tag8[8], none[8];
	struct rstore_root root;

	put(f, 1, "first");
	commit(f);
	put(f, 0x102, "second");
	assert_int_equal(rstore_commit(f->rs, &root), 0);
	fx_close(f);
	row_of(f, "SELECT val FROM rec WHERE id=1", &a);
	row_of(f, "SELECT val FROM rec WHERE id=2", &b);
	assert_int_equal(a.len, 5 + SUITE_BOX_OVERHEAD);

	bytes_w_raw(&want,
		    "\x02\x00"
		    "\x00\x0a"
		    "\x10\0\0\0\0\0\0\0\x01\0"
		    "\x01\x01",
		    16);
	bytes_w_raw(&want, a.buf + a.len - 16, 8);
	bytes_w_raw(&want,
		    "\x07\x03"
		    "\x01\x02\0"
		    "\x02\x00",
		    7);
	bytes_w_raw(&want, b.buf + b.len - 16, 8);
	memcpy(ad, fx_keyring.volume_id, 16);
	bytes_put64(ad + 16, 1);
	ad[24] = 0;
	bytes_put64(ad + 25, root.txn);
	assert_int_equal(
	    open_row(f, "SELECT val FROM node WHERE no=1", "coffer node", ad, 33, pt, tag8),
	    want.len);
	assert_memory_equal(pt, want.buf, want.len);

	bytes_w_reset(&want);
	bytes_w_u8(&want, 1);
	bytes_w_u64(&want, root.txn);
	bytes_w_u64(&want, 1);
	bytes_w_u8(&want, 0);
	bytes_w_u64(&want, root.txn);
	bytes_w_raw(&want, tag8, 8);
	bytes_w_u64(&want, 3);
	bytes_w_u64(&want, 2);
	bytes_w_u64(&want, 1);
	bytes_w_u8(&want, 0);
	assert_int_equal(open_row(f, "SELECT val FROM head", "coffer head", ad, 16, pt, none),
			 want.len);
	assert_memory_equal(pt, want.buf, want.len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_durable, setup, teardown),
	    cmocka_unit_test(test_first_txn),
	    cmocka_unit_test(test_page_size),
	    cmocka_unit_test_setup_teardown(test_pending, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_scan_stops, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
	    cmocka_unit_test(test_key_order),
	    cmocka_unit_test_setup_teardown(test_txn, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_exclusive, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_runs_are_dense, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_nodes_shrink, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_three_levels, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_wal_is_capped, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_snapshots, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_snapshot_handles, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_snapshot_scan, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_snapshot_close_large, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_revoked, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_erase, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sealed_hash, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_format, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
