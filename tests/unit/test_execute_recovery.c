/* Recovery from copies of any age: what was announced as destroyed is destroyed again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/execute_fixture.h"

static void swap_in(const char *dir)
{
	char old[128], now[128];

	snprintf(old, sizeof(old), "%s.old", dir);
	snprintf(now, sizeof(now), "%s.now", dir);
	assert_int_equal(rename(dir, now), 0);
	assert_int_equal(rename(old, dir), 0);
}

/* Store, anchor and escrow from before the order open the data again, until the announcements are
 * applied: then nothing does. */
static void recovery_destroys_again(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	const char *dirs[] = {s->fx.store, s->fx.anchor, s->escrow};
	struct shred_result res;
	char old[128], name[64], ref[KEYRING_ORDER_REF_MAX + 1];
	struct diag d = {0};
	uint8_t *p;
	size_t n, len;

	stage_close(s);
	for (int i = 0; i < 3; i++) {
		snprintf(old, sizeof(old), "%s.old", dirs[i]);
		copy_all(dirs[i], old);
	}
	stage_open(s);
	execute(s, &o, &res);
	stage_close(s);
	for (int i = 0; i < 3; i++)
		swap_in(dirs[i]);
	stage_open(s);
	assert_false(key_gone(s, KEYRING_BACKUP, x.doc));

	snprintf(name, sizeof(name), "announce/%s", o.number);
	assert_int_equal(repo_get(s->repo, name, 1 << 20, &p, &len), 0);
	p[len / 2] ^= 1;
	assert_int_equal(repo_put(s->repo, name, p, len), 0);
	assert_true(shred_reapply(s->fx.kr, s->repo, &n, &d) < 0);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	assert_int_equal(n, 1); /* the lookup ids */
	p[len / 2] ^= 1;
	assert_int_equal(repo_put(s->repo, name, p, len), 0);
	free(p);
	assert_int_equal(shred_reapply(s->fx.kr, s->repo, &n, &d), 0);
	assert_int_equal(n, 1);
	assert_int_equal(shred_reapply(s->fx.kr, s->repo, &n, &d), 0);
	assert_int_equal(n, 0);
	for (size_t i = 0; i < 7; i++) {
		assert_true(key_gone(s, KEYRING_LIVE, x.all[i]));
		assert_true(key_gone(s, KEYRING_BACKUP, x.all[i]));
	}
	assert_true(keyring_gone(s->fx.kr, KEYRING_LIVE, x.doc, ref));
	assert_string_equal(ref, o.number);
	struct opening open = open_sets(s, s->repo_dir, x.all, 7);
	assert_int_equal(open.n_open, 0);
}

/* A repository without announcements has nothing to apply. */
static void reapply_nothing(void **state)
{
	struct stage *s = *state;
	struct diag d = {0};
	size_t n = 7;

	assert_int_equal(shred_reapply(s->fx.kr, s->repo, &n, &d), 0);
	assert_int_equal(n, 0);
}

/* More ranges than one note holds come in parts; announcing again adds nothing, and all parts are
 * applied. */
static void announces_in_parts(void **state)
{
	enum { N = 20000 };
	struct stage *s = *state;
	struct execution x = {.ctx = &s->ctx, .kr = s->fx.kr, .o = {.number = "D-20261128-0001"}};
	CLEANUP_FREE struct keyring_range *r = calloc(N, sizeof(*r));
	struct diag d = {0};
	char **names;
	size_t n;

	assert_non_null(r);
	for (uint64_t i = 0; i < N; i++)
		r[i] = (struct keyring_range){1000 + 2 * i, 1000 + 2 * i};
	for (int again = 0; again < 2; again++) {
		assert_int_equal(announce_put(&x, false, KEYRING_BOTH, r, N, &d), 0);
		assert_int_equal(repo_list(s->repo, "announce/", &names, &n), 0);
		assert_int_equal(n, 2);
		repo_list_free(names, n);
	}
	assert_int_equal(
	    announce_put(&x, false, KEYRING_BOTH, &(struct keyring_range){7000000, 7000001}, 1, &d),
	    0);
	assert_int_equal(shred_reapply(s->fx.kr, s->repo, &n, &d), 0);
	assert_int_equal(n, 3);
	assert_true(key_gone(s, KEYRING_LIVE, 1000) &&
		    key_gone(s, KEYRING_BACKUP, 1000 + 2 * (N - 1)));
	assert_true(key_gone(s, KEYRING_LIVE, 7000001));
	assert_false(key_gone(s, KEYRING_LIVE, 1001));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGED(recovery_destroys_again),
	    STAGED(reapply_nothing),
	    STAGED(announces_in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
