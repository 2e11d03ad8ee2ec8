/* The journal of an order: it carries an execution through, and only the volume writes it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/order_fixture.h"

static void step(const struct place *p, const char *name)
{
	struct diag d = {0};

	assert_int_equal(order_journal_add(p->fd, &p->o, seed, name, &d), 0);
}

/* The journal carries an order through execution, whatever time and people do meanwhile. */
static void test_journal(void **state)
{
	struct place *p = *state;
	struct charter *old = p->c;
	char(*steps)[64] = NULL;
	struct diag d = {0};
	size_t n;

	assert_int_equal(order_journal_get(p->fd, &p->o, p->c->sign_pk, &steps, &n, &d), 0);
	assert_int_equal(n, 0);
	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, SECURITY, ORDER_APPROVE, NOW);
	step(p, ORDER_STEP_BEGIN);
	step(p, ORDER_STEP_BEGIN); /* idempotent */
	expect(p, ORDER_EXECUTING, 0);
	say_refused(p, OWNER, ORDER_WITHDRAW, NOW, DIAG_ORDER_STATE);
	expect_at(p, NOW + 90 * DAY, ORDER_EXECUTING, CHARTER_OWNER | CHARTER_SECURITY);
	p->c = make_charter(0xab, NOW + 1);
	free(old);
	expect(p, ORDER_EXECUTING, CHARTER_OWNER | CHARTER_SECURITY);
	step(p, ORDER_STEP_PUNCTURED);
	step(p, "objects/17");
	expect(p, ORDER_EXECUTING, CHARTER_OWNER | CHARTER_SECURITY);
	step(p, ORDER_STEP_VERIFIED);
	expect(p, ORDER_ESCROW_PENDING, CHARTER_OWNER | CHARTER_SECURITY);
	step(p, ORDER_STEP_CERTIFIED);
	expect(p, ORDER_ESCROW_PENDING, CHARTER_OWNER | CHARTER_SECURITY);
	step(p, ORDER_STEP_ESCROWED);
	expect(p, ORDER_DONE, CHARTER_OWNER | CHARTER_SECURITY);
	assert_int_equal(order_journal_get(p->fd, &p->o, p->c->sign_pk, &steps, &n, &d), 0);
	assert_int_equal(n, 6);
	assert_string_equal(steps[2], "objects/17");
	free(steps);
}

static void journal_fails(const struct place *p)
{
	const uint8_t *pk = p->c->sign_pk;
	char(*steps)[64] = NULL;
	struct diag d = {0};
	size_t n;

	assert_int_equal(order_journal_get(p->fd, &p->o, pk, &steps, &n, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	judge_fails(p, p->c, &p->o, -EBADMSG, DIAG_NOTE_UNSIGNED);
	assert_int_equal(order_journal_add(p->fd, &p->o, seed, "x", &d), -EBADMSG);
}

/* A journal that the volume did not write so is no journal: never "nothing done", never "done". */
static void test_journal_edited(void **state)
{
	struct place *p = *state;
	static const uint8_t other_seed[32] = {77};
	struct order second = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	CLEANUP_FREE char *text = NULL, *more = NULL, *other = NULL, *member = NULL, *body = NULL;
	char path[160];
	size_t len;

	step(p, ORDER_STEP_BEGIN);
	text = read_file(p, p->number, "state");
	more = edit(text, "step: begin\n", "step: begin\nstep: punctured\n");
	write_file(p, "state", more);
	journal_fails(p);
	for (size_t i = 0; i < strlen(text); i += 3) {
		text[i] ^= 1;
		write_file(p, "state", text);
		journal_fails(p);
		text[i] ^= 1;
	}
	write_file(p, "state", "");
	journal_fails(p);
	/* The same body under a member's signature. */
	assert_int_equal(note_split(text, &len), 0);
	body = strndup(text, len);
	assert_int_equal(note_sign(body, people[OWNER], &member), 0);
	write_file(p, "state", member);
	journal_fails(p);
	/* Another order's journal, which the volume did sign. */
	add_order(p, &second, people[REQUESTER]);
	assert_int_equal(order_journal_add(p->fd, &second, seed, ORDER_STEP_BEGIN, NULL), 0);
	other = read_file(p, "D-20261128-0002", "state");
	write_file(p, "state", other);
	journal_fails(p);
	path_of(p, p->number, "state", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("../D-20261128-0002/state", path), 0);
	journal_fails(p);
	assert_int_equal(unlink(path), 0);
	/* Another volume's key. */
	assert_int_equal(order_journal_add(p->fd, &p->o, other_seed, ORDER_STEP_BEGIN, NULL), 0);
	journal_fails(p);
}

/* Steps fit the grammar. */
static void test_journal_steps(void **state)
{
	struct place *p = *state;
	struct diag d = {0};
	char longer[65];

	memset(longer, 'x', 64);
	longer[64] = '\0';
	assert_int_equal(order_journal_add(p->fd, &p->o, seed, "", &d), -EINVAL);
	assert_int_equal(order_journal_add(p->fd, &p->o, seed, longer, &d), -EINVAL);
	assert_int_equal(order_journal_add(p->fd, &p->o, seed, "a\nstep: b", &d), -EINVAL);
	assert_int_equal(order_journal_add(p->fd, &p->o, seed, longer + 1, &d), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_PLACE(test_journal),
	    IN_PLACE(test_journal_edited),
	    IN_PLACE(test_journal_steps),
	};

	return cmocka_run_group_tests(tests, make_people, free_people);
}
