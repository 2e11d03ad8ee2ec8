/*
 * Statements that are not what they seem: forged, copied from elsewhere, edited, renamed, or no
 * statements at all. None counts, and none harms who reads it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "tests/unit/order_fixture.h"

/* Signing with one's own key in another's name is a signature that does not verify. */
static void test_forged_signature(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[STRANGER], .claims_to_be = people[OWNER]};

	plant(p, &f);
	expect_ignored(p, "the signature does not verify");
}

/* An identity with a member's name but another key is a stranger. */
static void test_impostor(void **state)
{
	struct place *p = *state;
	CLEANUP_IDENTITY struct identity *impostor = identity_new("Own Li", "1001");
	struct diag d = {0};

	assert_non_null(impostor);
	assert_int_equal(order_say(p->fd, p->c, &p->o, impostor, ORDER_APPROVE, NULL, NOW, &d),
			 -EPERM);
	assert_int_equal(d.id, DIAG_NOT_MEMBER);
}

/* What was said of another order, volume, charter or wording does not count here. */
static void test_replayed(void **state)
{
	struct place *p = *state;
	uint8_t other[32];

	memset(other, 0x77, sizeof(other));
	const struct {
		struct forgery f;
		const char *why;
	} bad[] = {
	    {{.signer = people[OWNER], .volume = other}, "another volume"},
	    {{.signer = people[OWNER], .number = "D-20261128-0002"}, "another order"},
	    {{.signer = people[OWNER], .digest = other}, "another wording"},
	    {{.signer = people[OWNER], .charter = other}, "another charter"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		plant(p, &bad[i].f);
		expect_ignored(p, bad[i].why);
	}
}

/* Copying a real approval from one order's folder to another's gains nothing. */
static void test_copied_between_orders(void **state)
{
	struct place *p = *state;
	struct order second = blank_order(p->c, "D-20261128-0002", people[REQUESTER]), first = p->o;
	CLEANUP_FREE char *text = NULL;
	char name[40];

	add_order(p, &second, people[REQUESTER]);
	p->o = second;
	say(p, OWNER, ORDER_APPROVE, NOW);
	p->o = first;
	statement_name("approve", people[OWNER], name);
	text = read_file(p, "D-20261128-0002", name);
	write_file(p, name, text);
	expect_ignored(p, "another order");
}

/* No byte of an approval can change, and none can be cut off. */
static void test_edited_statement(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *text = NULL;
	char name[40];

	say(p, OWNER, ORDER_APPROVE, NOW);
	statement_name("approve", people[OWNER], name);
	text = read_file(p, p->number, name);
	for (size_t i = 0; text[i]; i++) {
		text[i] ^= 1;
		write_file(p, name, text);
		expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
		text[i] ^= 1;
	}
	for (size_t n = strlen(text); n-- > 0;) {
		text[n] = '\0';
		write_file(p, name, text);
		expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
	}
}

/* A rejection does not become an approval by renaming its file. */
static void test_renamed_decision(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[OWNER], .decision = "reject"};
	char name[40];

	statement_name("approve", people[OWNER], name);
	f.file = name;
	plant(p, &f);
	expect_ignored(p, "not named after its signer and decision");
}

/* A signed statement in another shape than coffer writes is not understood, so it does not count.
 */
static void test_unknown_content(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[OWNER], .extra = "unless it rains"};

	plant(p, &f);
	expect_ignored(p, "malformed");
}

/* Links, devices, folders, giants and binary rubbish in a statement's place are ignored and harm
 * nobody. */
static void test_hostile_files(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[OWNER], .file = "aside"};
	char name[40], path[160], aside[160];
	int fd;

	statement_name("approve", people[OWNER], name);
	path_of(p, p->number, name, path);
	path_of(p, p->number, "aside", aside);
	plant(p, &f);
	assert_int_equal(symlink("aside", path), 0); /* to a valid approval of his, even */
	expect_ignored(p, "not a regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_ignored(p, "not a regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_ignored(p, "not a regular file");
	assert_int_equal(rmdir(path), 0);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0); /* a sparse terabyte */
	close(fd);
	expect_ignored(p, "too large");
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "coffer-statement/1\n\0\xff\x1b[2J", 25), 25);
	close(fd);
	expect_ignored(p, "malformed");
	write_file(p, name, "");
	expect_ignored(p, "malformed");
	assert_int_equal(unlink(path), 0);
	path_of(p, p->number, "approve.\x1b[2J\x1b[31mowned", path);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	close(fd);
	expect_ignored(p, "not named after a key");
}

/* Thousands of planted files push no real statement out of the list or the count. */
static void test_crowding(void **state)
{
	struct place *p = *state;
	struct order_statement list[ORDER_STATEMENTS_MAX];
	char name[40];
	size_t n;

	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "approve.%016x", i);
		write_file(p, name, "rubbish");
	}
	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, SECURITY, ORDER_APPROVE, NOW);
	expect(p, ORDER_APPROVED, 0);
	assert_int_equal(order_statements(p->fd, p->c, &p->o, NOW, list, &n, NULL), 0);
	assert_int_equal(n, ORDER_STATEMENTS_MAX);
	assert_true(list[0].counts && list[1].counts);
	assert_false(list[2].counts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_PLACE(test_forged_signature), IN_PLACE(test_impostor),
	    IN_PLACE(test_replayed),         IN_PLACE(test_copied_between_orders),
	    IN_PLACE(test_edited_statement), IN_PLACE(test_renamed_decision),
	    IN_PLACE(test_unknown_content),  IN_PLACE(test_hostile_files),
	    IN_PLACE(test_crowding),
	};

	return cmocka_run_group_tests(tests, make_people, free_people);
}
