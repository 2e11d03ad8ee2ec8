/*
 * Who may say what of an order and when: nothing but the quorum's own words, each by another person
 * and in its time, makes an order approved.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/order_fixture.h"

/* The quorum approves, each by one word from another person. */
static void test_quorum(void **state)
{
	struct place *p = *state;
	struct order_statement list[ORDER_STATEMENTS_MAX];
	size_t n;

	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
	say(p, OWNER, ORDER_APPROVE, NOW);
	expect(p, ORDER_REQUESTED, CHARTER_SECURITY);
	say(p, SECURITY, ORDER_APPROVE, NOW + 1);
	expect_at(p, NOW + 1, ORDER_APPROVED, 0);
	assert_int_equal(order_statements(p->fd, p->c, &p->o, NOW + 1, list, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_true(list[0].counts && list[1].counts);
	assert_string_equal(list[0].signer, "Own Li");
	assert_int_equal(list[0].role, CHARTER_OWNER);
	assert_string_equal(list[1].opinion, "seen");
}

/* One person with both roles is one approval, however often he says it. */
static void test_two_roles_one_person(void **state)
{
	struct place *p = *state;
	struct forgery owner = {.signer = people[BOTH], .role = "owner"};
	struct forgery security = {.signer = people[BOTH], .role = "security"};

	say(p, BOTH, ORDER_APPROVE, NOW);
	expect(p, ORDER_REQUESTED, CHARTER_SECURITY);
	/* Speaks for the other role now, and no longer for the first. */
	say(p, BOTH, ORDER_APPROVE, NOW);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER);

	/* Two notes of his, one for each role, under every name he might give them. */
	static const char *const names[] = {"approve.0000000000000000", "approve.x",
					    "reject.0000000000000000"};

	for (size_t i = 0; i < 3; i++) {
		owner.file = names[i];
		plant(p, &owner);
	}
	expect(p, ORDER_REQUESTED, CHARTER_OWNER);
	plant(p, &security);
	owner.file = NULL;
	plant(p, &owner);
	expect(p, ORDER_REQUESTED, CHARTER_SECURITY);
	/* Under a colleague's name. */
	char name[40];

	statement_name("approve", people[SECURITY], name);
	security.file = name;
	plant(p, &security);
	expect(p, ORDER_REQUESTED, CHARTER_SECURITY);
}

/* A second person completes what the first left open, in whatever order they come. */
static void test_two_roles_two_people(void **state)
{
	struct place *p = *state;

	say(p, BOTH, ORDER_APPROVE, NOW);
	say(p, OWNER, ORDER_APPROVE, NOW);
	expect(p, ORDER_REQUESTED, CHARTER_SECURITY);
	say(p, BOTH, ORDER_APPROVE, NOW);
	expect(p, ORDER_APPROVED, 0);
}

/* The requester's own approval is refused, and ignored when planted. */
static void test_requester(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[REQUESTER]};

	say_refused(p, REQUESTER, ORDER_APPROVE, NOW, DIAG_REQUESTER);
	plant(p, &f);
	expect_ignored(p, "the requester may not approve");
}

/* Who is not in the charter, or not in the role he claims, is not heard. */
static void test_wrong_people(void **state)
{
	struct place *p = *state;
	struct forgery stranger = {.signer = people[STRANGER]};
	char name[40], path[160];

	say_refused(p, STRANGER, ORDER_APPROVE, NOW, DIAG_NOT_MEMBER);
	say_refused(p, OPERATOR, ORDER_APPROVE, NOW, DIAG_ROLE);
	say_refused(p, AUDITOR, ORDER_APPROVE, NOW, DIAG_ROLE);
	say_refused(p, AUDITOR, ORDER_REJECT, NOW, DIAG_ROLE);
	plant(p, &stranger);
	expect_ignored(p, "the signer is not in the charter");
	statement_name("approve", people[STRANGER], name);
	path_of(p, p->number, name, path);
	assert_int_equal(unlink(path), 0);

	static const struct {
		int who;
		const char *role, *why;
	} bad[] = {
	    {OWNER, "security", "does not have the role"},
	    {OPERATOR, "owner", "does not have the role"},
	    {OPERATOR, "operator", "no part in the quorum"},
	    {AUDITOR, "auditor", "no part in the quorum"},
	    {OWNER, "king", "malformed"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct forgery f = {.signer = people[bad[i].who], .role = bad[i].role};

		plant(p, &f);
		expect_ignored(p, bad[i].why);
		statement_name("approve", people[bad[i].who], name);
		path_of(p, p->number, name, path);
		assert_int_equal(unlink(path), 0);
	}
}

/* Approvals end after 30 days, cannot claim longer, and cannot be dated ahead. */
static void test_times(void **state)
{
	struct place *p = *state;
	const struct {
		struct forgery f;
		const char *why;
	} bad[] = {
	    {{.signer = people[OWNER], .created = NOW - 30 * DAY}, "has expired"},
	    {{.signer = people[OWNER], .expires = NOW + 30 * DAY + 1},
	     "longer than an approval may be"},
	    {{.signer = people[OWNER], .created = NOW - DAY, .expires = NOW + 30 * DAY}, "longer"},
	    {{.signer = people[OWNER], .expires = NOW - 1}, "longer"},
	    {{.signer = people[OWNER], .created = NOW + ORDER_CLOCK_SKEW + 1},
	     "dated in the future"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		plant(p, &bad[i].f);
		expect_ignored(p, bad[i].why);
	}
	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, SECURITY, ORDER_APPROVE, NOW + 10 * DAY);
	expect_at(p, NOW + 30 * DAY - 1, ORDER_APPROVED, 0);
	expect_at(p, NOW + 30 * DAY, ORDER_REQUESTED, CHARTER_OWNER);
	say(p, OWNER, ORDER_APPROVE, NOW + 30 * DAY); /* renewed */
	expect_at(p, NOW + 30 * DAY, ORDER_APPROVED, 0);
}

/* The order itself ends too, and then nothing more is said about it. */
static void test_order_expires(void **state)
{
	struct place *p = *state;

	expect_at(p, NOW + 60 * DAY - 1, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
	expect_at(p, NOW + 60 * DAY, ORDER_EXPIRED, CHARTER_OWNER | CHARTER_SECURITY);
	say_refused(p, OWNER, ORDER_APPROVE, NOW + 60 * DAY, DIAG_ORDER_STATE);
}

/* A change of charter voids what was approved under the old one, and the order with it. */
static void test_charter_changed(void **state)
{
	struct place *p = *state;
	struct charter *old = p->c;

	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, SECURITY, ORDER_APPROVE, NOW);
	expect(p, ORDER_APPROVED, 0);
	p->c = make_charter(0xab, NOW + 1);
	free(old);
	expect(p, ORDER_EXPIRED, CHARTER_OWNER | CHARTER_SECURITY);
	say_refused(p, OWNER, ORDER_APPROVE, NOW, DIAG_ORDER_STATE);
}

/* One rejection from the quorum rejects, and no time heals it. */
static void test_reject(void **state)
{
	struct place *p = *state;
	struct forgery weak = {
	    .signer = people[OPERATOR], .decision = "reject", .role = "operator"};

	plant(p, &weak);
	expect_ignored(p, "no part in the quorum");
	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, BOTH, ORDER_APPROVE, NOW);
	expect(p, ORDER_APPROVED, 0);
	say(p, SECURITY, ORDER_REJECT, NOW);
	expect(p, ORDER_REJECTED, 0);
	expect_at(p, NOW + 59 * DAY, ORDER_REJECTED, CHARTER_OWNER | CHARTER_SECURITY);
	say_refused(p, SECURITY, ORDER_APPROVE, NOW, DIAG_ORDER_STATE);
	say_refused(p, REQUESTER, ORDER_WITHDRAW, NOW, DIAG_ORDER_STATE);
}

/* The requester or an owner withdraws, nobody else. */
static void test_withdraw(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[SECURITY], .decision = "withdraw", .role = "security"};

	say_refused(p, SECURITY, ORDER_WITHDRAW, NOW, DIAG_ROLE);
	say_refused(p, OPERATOR, ORDER_WITHDRAW, NOW, DIAG_ROLE);
	plant(p, &f);
	expect_ignored(p, "only the requester or an owner may withdraw");
	say(p, OWNER, ORDER_WITHDRAW, NOW);
	expect(p, ORDER_WITHDRAWN, CHARTER_OWNER | CHARTER_SECURITY);
}

/* A requester without any role of the quorum withdraws his own. */
static void test_withdraw_requester(void **state)
{
	struct place *p = *state;
	struct order mine = blank_order(p->c, "D-20261128-0005", people[OPERATOR]);

	add_order(p, &mine, people[OPERATOR]);
	p->o = mine;
	say(p, OPERATOR, ORDER_WITHDRAW, NOW);
	expect(p, ORDER_WITHDRAWN, CHARTER_OWNER | CHARTER_SECURITY);
}

/* An opinion is a line of text, or refused. */
static void test_opinion(void **state)
{
	struct place *p = *state;
	struct diag d = {0};
	char longer[ORDER_TEXT_MAX + 2];

	memset(longer, 'x', sizeof(longer));
	longer[ORDER_TEXT_MAX + 1] = '\0';
	assert_int_equal(
	    order_say(p->fd, p->c, &p->o, people[OWNER], ORDER_APPROVE, longer, NOW, &d), -EINVAL);
	assert_int_equal(
	    order_say(p->fd, p->c, &p->o, people[OWNER], ORDER_APPROVE, "a\nb", NOW, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_NOTE_MALFORMED);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_PLACE(test_quorum),
	    IN_PLACE(test_two_roles_one_person),
	    IN_PLACE(test_two_roles_two_people),
	    IN_PLACE(test_requester),
	    IN_PLACE(test_wrong_people),
	    IN_PLACE(test_times),
	    IN_PLACE(test_order_expires),
	    IN_PLACE(test_charter_changed),
	    IN_PLACE(test_reject),
	    IN_PLACE(test_withdraw),
	    IN_PLACE(test_withdraw_requester),
	    IN_PLACE(test_opinion),
	};

	return cmocka_run_group_tests(tests, make_people, free_people);
}
