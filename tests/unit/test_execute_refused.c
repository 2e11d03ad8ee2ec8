/* Who may destroy: nothing but the quorum starts an execution, and only of what was signed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/execute_fixture.h"

/*
 * No approval, one, the requester's own, a forged one, or approvals of another order: refused, on
 * record, and nothing changed. The same order then runs with real approvals, so it was the quorum
 * that refused.
 */
static void needs_the_quorum(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	uint64_t generation = keyring_generation(s->fx.kr);
	struct order other = unapproved(s, x.survivor), o = unapproved(s, x.t);
	struct shred_result res;
	char from[200], to[200], cmd[512];

	refused(s, &o, DIAG_QUORUM);
	struct looking_for l = in_trail(s, "destroy.begin");
	assert_int_equal(l.n, 1);
	assert_string_equal(l.last.result, "refused");
	assert_non_null(strstr(l.last.object, o.number));

	assert_int_equal(say(s, &o, OWNER, ORDER_APPROVE), 0);
	refused(s, &o, DIAG_QUORUM);
	assert_true(say(s, &o, ASKER, ORDER_APPROVE) < 0);
	/* The security administrator approved another order: his statement is copied over. */
	assert_int_equal(say(s, &other, SECURITY, ORDER_APPROVE), 0);
	statement_path(s, &other, "approve", SECURITY, from);
	statement_path(s, &o, "approve", SECURITY, to);
	snprintf(cmd, sizeof(cmd), "cp %s %s", from, to);
	assert_int_equal(system(cmd), 0);
	refused(s, &o, DIAG_QUORUM);
	/* The same with the number and digest put right: the signature does not hold. */
	char digest[2][65];
	bytes_hex(digest[0], other.digest, 32);
	bytes_hex(digest[1], o.digest, 32);
	snprintf(cmd, sizeof(cmd), "sed -i 's/%s/%s/;s/%s/%s/' %s", other.number, o.number,
		 digest[0], digest[1], to);
	assert_int_equal(system(cmd), 0);
	refused(s, &o, DIAG_QUORUM);
	/* The owner's approval under the name of the security administrator's file. */
	statement_path(s, &o, "approve", OWNER, from);
	snprintf(cmd, sizeof(cmd), "cp %s %s", from, to);
	assert_int_equal(system(cmd), 0);
	refused(s, &o, DIAG_QUORUM);
	check_untouched(s, &x, &o, generation);

	assert_int_equal(say(s, &o, SECURITY, ORDER_APPROVE), 0);
	execute(s, &o, &res);
	check_destroyed(s, &x);
}

/* A rejection and a withdrawal stop an order, also when only the trail still knows of them. */
static void objections_stand(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	uint64_t generation = keyring_generation(s->fx.kr);
	struct order o = order_for(s, x.t, PLAIN);
	struct trail_event ev = {.operation = "destroy.reject", .result = "refused"};
	char path[200];

	assert_int_equal(say(s, &o, SECURITY, ORDER_REJECT), 0);
	refused(s, &o, DIAG_ORDER_STATE);
	statement_path(s, &o, "reject", SECURITY, path);
	assert_int_equal(unlink(path), 0);
	snprintf(ev.object, sizeof(ev.object), "order %s", o.number);
	strcpy(ev.result, "ok");
	assert_int_equal(trail_append(s->trail, &ev, true), 0);
	refused(s, &o, DIAG_ORDER_STATE);
	check_untouched(s, &x, &o, generation);

	struct order again = order_for(s, x.t, PLAIN);
	strcpy(ev.operation, "destroy.withdraw");
	snprintf(ev.object, sizeof(ev.object), "order %s", again.number);
	assert_int_equal(trail_append(s->trail, &ev, false), 0);
	refused(s, &again, DIAG_ORDER_STATE);
}

/* No trail, no destruction. */
static void needs_the_trail(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	uint64_t generation = keyring_generation(s->fx.kr);
	struct rlimit was, none;

	assert_int_equal(volume_sync(s->fx.v), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	none = was;
	none.rlim_cur = 0;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	refused(s, &o, DIAG_TRAIL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	check_untouched(s, &x, &o, generation);
}

/* What changed since the request stops it before anything is done: content, a new file, a moved
 * one. */
static void drift_stops(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;
	uint64_t extra;

	/* Another file and a further backup are no drift of this. */
	make_file(v, x.survivor_dir, "new", 'n', 10);
	backup(s, false);
	extra = make_file(v, x.t, "extra", 'e', 10);
	refused(s, &o, DIAG_ORDER_DRIFT);
	assert_string_equal(in_trail(s, "destroy.begin").last.result, "refused");
	struct order with = order_for(s, x.t, PLAIN);
	write_at(v, x.doc, "!", 1, 0);
	refused(s, &with, DIAG_ORDER_DRIFT);
	with = order_for(s, x.t, PLAIN);
	assert_int_equal(volume_rename(v, x.t, "extra", x.survivor_dir, "extra", 0), 0);
	refused(s, &with, DIAG_ORDER_DRIFT);
	assert_false(key_gone(s, KEYRING_LIVE, x.t));
	with = order_for(s, x.t, PLAIN);
	execute(s, &with, &res);
	check_destroyed(s, &x);
	check_file(v, extra, 'e', 10);
}

/* An inventory that is not the one that was signed, or approvals of which the order was edited:
 * refused and on record. */
static void edited_orders_are_refused(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN), p = order_for(s, x.t, PLAIN);
	uint64_t generation = keyring_generation(s->fx.kr);
	struct shred_result res;
	struct diag d = {0};
	char cmd[512];

	snprintf(cmd, sizeof(cmd),
		 "sed -i 's/^%" PRIu64 " tpd/%" PRIu64 " tpd/' %s/orders/%s/inventory", x.t,
		 x.survivor_dir, s->fx.store, o.number);
	assert_int_equal(system(cmd), 0);
	refused(s, &o, DIAG_NOTE_UNSIGNED);
	assert_string_equal(in_trail(s, "destroy.begin").last.result, "integrity");
	snprintf(cmd, sizeof(cmd), "sed -i 's/retention/attention/' %s/orders/%s/order",
		 s->fx.store, p.number);
	assert_int_equal(system(cmd), 0);
	refused(s, &p, DIAG_NOTE_UNSIGNED);
	assert_int_equal(in_trail(s, "destroy.begin").n, 2);
	assert_true(shred_execute(&s->ctx, "D-20200101-0001", &res, &d) < 0);
	assert_int_equal(d.id, DIAG_NOT_FOUND);
	assert_int_equal(in_trail(s, "destroy.begin").n, 2);
	check_untouched(s, &x, &o, generation);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGED(needs_the_quorum), STAGED(objections_stand),          STAGED(needs_the_trail),
	    STAGED(drift_stops),      STAGED(edited_orders_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
