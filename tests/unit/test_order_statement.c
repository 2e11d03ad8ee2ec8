/* Statements that are made in one place and stored in another: whoever stores one judges it anew.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/order_fixture.h"

static char *made(const struct place *p, int who, enum order_decision decision, unsigned missing,
		  int64_t now)
{
	struct diag d = {0};
	char *text = NULL;

	assert_int_equal(order_statement_make(p->c, &p->o, people[who], decision, "seen", missing,
					      now, &text, &d),
			 0);
	return text;
}

/* Neither the check nor the store takes it, and both say why; nothing changes. */
static void not_stored(const struct place *p, const char *text, int64_t now, enum diag_id id)
{
	struct diag d = {0};

	assert_true(order_statement_check(p->fd, p->c, &p->o, text, now, &d) < 0);
	assert_int_equal(d.id, id);
	d = (struct diag){0};
	assert_true(order_statement_store(p->fd, p->c, &p->o, text, now, &d) < 0);
	assert_int_equal(d.id, id);
}

static void stored(const struct place *p, const char *text, int64_t now)
{
	struct diag d = {0};

	assert_int_equal(order_statement_check(p->fd, p->c, &p->o, text, now, &d), 0);
	assert_int_equal(order_statement_store(p->fd, p->c, &p->o, text, now, &d), 0);
}

/* Making touches no store; checking stores nothing; what is stored counts, and says what it said.
 */
static void test_made_then_stored(void **state)
{
	struct place *p = *state;
	unsigned all = CHARTER_OWNER | CHARTER_SECURITY;
	CLEANUP_FREE char *text = made(p, BOTH, ORDER_APPROVE, CHARTER_SECURITY, NOW);
	struct order_statement st;
	struct diag d = {0};

	assert_int_equal(order_statement_parse(text, &st, &d), 0);
	assert_int_equal(st.decision, ORDER_APPROVE);
	assert_int_equal(st.role, CHARTER_SECURITY); /* the one that was missing */
	assert_string_equal(st.signer, "Both Sun");
	assert_string_equal(st.opinion, "seen");
	assert_int_equal(st.expires, NOW + ORDER_APPROVAL_LIFE);
	assert_int_equal(order_statement_check(p->fd, p->c, &p->o, text, NOW, &d), 0);
	expect(p, ORDER_REQUESTED, all);
	stored(p, text, NOW);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER);
	stored(p, text, NOW); /* again changes nothing */
	expect(p, ORDER_REQUESTED, CHARTER_OWNER);
}

/* The judge relies on nothing that a maker has looked at: a note by anybody can be made. */
static void test_store_judges(void **state)
{
	struct place *p = *state;
	const struct {
		int who;
		enum order_decision decision;
		enum diag_id id;
	} bad[] = {
	    {STRANGER, ORDER_APPROVE, DIAG_NOT_MEMBER}, {STRANGER, ORDER_REJECT, DIAG_NOT_MEMBER},
	    {REQUESTER, ORDER_APPROVE, DIAG_REQUESTER}, {OPERATOR, ORDER_APPROVE, DIAG_ROLE},
	    {AUDITOR, ORDER_REJECT, DIAG_ROLE},         {SECURITY, ORDER_WITHDRAW, DIAG_ROLE},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CLEANUP_FREE char *text = made(p, bad[i].who, bad[i].decision, 0, NOW);

		not_stored(p, text, NOW, bad[i].id);
	}
	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
}

/* Who carries a statement of somebody else changes nothing in it. */
static void test_store_altered(void **state)
{
	struct place *p = *state;
	static const char *const changes[][2] = {
	    {"decision: approve", "decision: reject"}, {"role: owner", "role: security"},
	    {"opinion: seen", "opinion: scene"},       {"D-20261128-0001", "D-20261128-0002"},
	    {"signer: Own Li", "signer: Sec Wang"},
	};
	CLEANUP_FREE char *text = made(p, OWNER, ORDER_APPROVE, CHARTER_OWNER, NOW);
	CLEANUP_FREE char *cut = strndup(text, strlen(text) / 2);
	struct diag d = {0};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		CLEANUP_FREE char *other = edit(text, changes[i][0], changes[i][1]);

		d = (struct diag){0};
		assert_true(order_statement_store(p->fd, p->c, &p->o, other, NOW, &d) < 0);
		assert_true(d.id == DIAG_NOTE_UNSIGNED || d.id == DIAG_NOTE_MALFORMED);
	}
	not_stored(p, cut, NOW, DIAG_NOTE_MALFORMED);
	not_stored(p, "", NOW, DIAG_NOTE_MALFORMED);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
}

/* Nor is it stored for another order, under another charter, or at another time. */
static void test_store_elsewhere(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *text = made(p, OWNER, ORDER_APPROVE, CHARTER_OWNER, NOW);
	CLEANUP_FREE struct charter *other = make_charter(0xab, NOW + 1);
	struct order second = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	struct diag d = {0};

	add_order(p, &second, people[REQUESTER]);
	assert_true(order_statement_store(p->fd, p->c, &second, text, NOW, &d) < 0);
	assert_int_equal(d.id, DIAG_ORDER_STATE);
	assert_true(order_statement_store(p->fd, other, &p->o, text, NOW, &d) < 0);
	assert_int_equal(d.id, DIAG_ORDER_STATE);
	not_stored(p, text, NOW + ORDER_APPROVAL_LIFE, DIAG_ORDER_STATE);
	not_stored(p, text, NOW - ORDER_CLOCK_SKEW - 1, DIAG_ORDER_STATE);
	say(p, SECURITY, ORDER_REJECT, NOW);
	not_stored(p, text, NOW, DIAG_ORDER_STATE);
	expect(p, ORDER_REJECTED, CHARTER_OWNER | CHARTER_SECURITY);
}

/* Everybody who reads orders has everybody's notes: an earlier one never replaces a later one. */
static void test_store_earlier(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *earlier = made(p, OWNER, ORDER_APPROVE, CHARTER_OWNER, NOW);
	CLEANUP_FREE char *later = made(p, OWNER, ORDER_APPROVE, CHARTER_OWNER, NOW + DAY);
	CLEANUP_FREE char *there = NULL;
	char name[40];

	stored(p, earlier, NOW);
	stored(p, later, NOW + DAY);
	not_stored(p, earlier, NOW + DAY, DIAG_ORDER_STATE);
	statement_name("approve", people[OWNER], name);
	there = read_file(p, p->number, name);
	assert_string_equal(there, later);
}

/* What is told of an order becomes file names: only a statement's own. */
static void test_statement_names(void **state)
{
	char name[40], other[48];

	(void)state;
	statement_name("reject", people[OWNER], name);
	assert_true(order_statement_name(name));
	snprintf(other, sizeof(other), "../%s", name);
	assert_false(order_statement_name(other));
	snprintf(other, sizeof(other), "%s/x", name);
	assert_false(order_statement_name(other));
	assert_false(order_statement_name("approve./../../x"));
	assert_false(order_statement_name("reject."));
	assert_false(order_statement_name("order"));
	assert_false(order_statement_name("."));
	assert_false(order_statement_name(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_PLACE(test_made_then_stored), IN_PLACE(test_store_judges),
	    IN_PLACE(test_store_altered),    IN_PLACE(test_store_elsewhere),
	    IN_PLACE(test_store_earlier),    cmocka_unit_test(test_statement_names),
	};

	return cmocka_run_group_tests(tests, make_people, free_people);
}
