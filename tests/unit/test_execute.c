/* Execution: what is destroyed opens nowhere afterwards, and all else is as it was. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/execute_fixture.h"

/* The whole way: live data, sets, a copy of the repository and of the store from before; survivors
 * are what they were. */
static void destroys(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	char old_repo[128], old_store[128];
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;
	struct shred_verdict v;
	struct diag d = {0};

	assert_int_equal(volume_sync(s->fx.v), 0);
	snprintf(old_repo, sizeof(old_repo), "%s.old", s->repo_dir);
	snprintf(old_store, sizeof(old_store), "%s.old", s->fx.store);
	copy_all(s->repo_dir, old_repo);
	copy_all(s->fx.store, old_store);
	struct opening before = open_sets(s, old_repo, x.all, 7);
	assert_int_equal(before.n_open, before.n_records);

	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_DONE);
	assert_int_equal(res.n_ids, 7);
	assert_int_equal(res.n_set_records, before.n_records);
	assert_string_equal(in_trail(s, OPERATION_VERIFY).last.result, "ok");
	check_destroyed(s, &x);
	struct opening after = open_sets(s, old_repo, x.all, 7);
	assert_int_equal(after.n_records, before.n_records);
	assert_int_equal(after.n_open, 0);
	assert_int_equal(s->n_invalidated, 7);

	enum order_state now;
	unsigned missing;
	assert_int_equal(order_judge(s->store_fd, s->charter, &o, time(NULL), &now, &missing, &d),
			 0);
	assert_int_equal(now, ORDER_DONE);
	struct inventory inv = take_inventory(s, &x.survivor, 1, PLAIN);
	assert_int_equal(shred_verify(&s->ctx, &o, &inv, &v, &d), 0);
	assert_true(v.n_live_open == 1 && v.n_set_open > 0 && v.n_raw_open == 1);
	inventory_free(&inv);
	/* Again, after a restart: done is done. */
	stage_reopen(s);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_DONE);
	check_destroyed(s, &x);

	/* The store of before does not open with the anchor of now. */
	struct keyring *kr = NULL;
	CLEANUP_SECRET struct secret *pass = fixture_passphrase();
	const struct header_unlock with = {.passphrase = pass};
	assert_true(keyring_open(old_store, &with, KEYRING_READ_ONLY, &kr, &d) < 0);
}

/* Nobody can confirm a guessed name afterwards: the folders that held it have new lookup ids, the
 * old ones are punctured and announced. */
static void ends_lookup_ids(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.big, PLAIN);
	struct shred_result res;
	struct bytes_w left = {0};
	struct volume_destroyed done;
	char name[64];
	uint64_t size;

	execute(s, &o, &res);
	snprintf(name, sizeof(name), "announce/%s.names", o.number);
	assert_int_equal(repo_size(s->repo, name, &size), 0);
	assert_int_equal(volume_destroy(s->fx.v, &x.big, 1, false, &done, &left), 0);
	assert_int_equal(left.len, 0);
	bytes_w_free(&left);
	check_file(s->fx.v, find_id(s->fx.v, x.t, "doc"), '2', 9500);
}

/* Kept files stay whole when the folder around them goes. */
static void spares_what_is_kept(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	struct volume_attr a;
	struct shred_result res;
	uint64_t t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755),
		 linked = make_file(v, t, "linked", 'l', BIG);

	assert_int_equal(volume_link(v, linked, VOLUME_ROOT_ID, "outside", &a), 0);
	volume_forget(v, linked, 1);
	make_file(v, t, "goes", 'g', 100);
	struct order o = order_for(s, t, PLAIN);
	execute(s, &o, &res);
	assert_int_equal(res.n_ids, 2);
	check_file(v, find_id(v, VOLUME_ROOT_ID, "outside"), 'l', BIG);
	assert_int_equal(nlink_of(v, linked), 1);
}

/* An escrow out of reach leaves the order pending and the certificate says so; once it is back the
 * order completes. */
static void waits_for_escrows(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;
	char away[128], path[160], *text;

	snprintf(away, sizeof(away), "%s.away", s->escrow);
	assert_int_equal(rename(s->escrow, away), 0);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_ESCROW_PENDING);
	assert_int_equal(res.n_escrow_pending, 1);
	snprintf(path, sizeof(path), "%s/orders/%s/certificate", s->fx.store, o.number);
	assert_int_equal(note_file_read(AT_FDCWD, path, 1 << 20, &text), 0);
	assert_non_null(strstr(text, "\nescrows-pending: 1\n"));
	free(text);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_ESCROW_PENDING);
	remove_tree(AT_FDCWD, s->escrow);
	assert_int_equal(rename(away, s->escrow), 0);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_DONE);
	assert_int_equal(note_file_read(AT_FDCWD, path, 1 << 20, &text), 0);
	assert_non_null(strstr(text, "\nescrows-pending: 0\n"));
	free(text);
	check_destroyed(s, &x);
}

/* Keeping the backups needs a set that holds the files as they are; then only the live data goes.
 */
static void keeps_backups(void **state)
{
	struct stage *s = *state;
	struct wish keep = {.backups_kept = true};
	struct scene x = play(s);
	struct shred_result res;

	write_at(s->fx.v, x.big, "changed", 7, 50000);
	struct order o = order_for(s, x.t, keep);
	refused(s, &o, DIAG_POLICY);
	assert_false(key_gone(s, KEYRING_LIVE, x.t));
	backup(s, false);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_DONE);
	for (size_t i = 0; i < 7; i++) {
		assert_true(key_gone(s, KEYRING_LIVE, x.all[i]));
		assert_false(key_gone(s, KEYRING_BACKUP, x.all[i]));
	}
	struct opening open = open_sets(s, s->repo_dir, x.all, 7);
	assert_int_equal(open.n_open, open.n_records);
	check_survivors(s, &x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGED(destroys),          STAGED(ends_lookup_ids), STAGED(spares_what_is_kept),
	    STAGED(waits_for_escrows), STAGED(keeps_backups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
