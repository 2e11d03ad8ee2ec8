/* The order itself: what was requested is kept whole, under its number, and nobody edits it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "tests/unit/order_fixture.h"

/* An order comes back whole with its inventory. */
static void test_load(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE uint8_t *inv = NULL;
	struct diag d = {0};
	struct order o;
	size_t len;

	assert_int_equal(order_load(p->fd, p->number, &o, &inv, &len, &d), 0);
	assert_memory_equal(&o, &p->o, sizeof(o));
	assert_int_equal(len, sizeof(inventory));
	assert_memory_equal(inv, inventory, len);
	assert_int_equal(order_load(p->fd, "D-20261128-0002", &o, NULL, NULL, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_NOT_FOUND);
	assert_int_equal(order_load(p->fd, "../orders/x", &o, NULL, NULL, &d), -ENOENT);
}

/* The request itself cannot be edited, swapped or moved, nor its inventory. */
static void test_edited_order(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *text = read_file(p, p->number, "order");
	CLEANUP_FREE char *kept = edit(text, "backups: destroyed", "backups: kept");
	struct order second = blank_order(p->c, "D-20261128-0002", people[REQUESTER]), o;
	CLEANUP_FREE char *other = sign_order(&second, people[REQUESTER]);
	struct diag d = {0};
	char path[160];

	write_file(p, "order", kept);
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	write_file(p, "order", other);
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	write_file(p, "order", text);
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), 0);
	write_file(p, "inventory", "another list");
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	path_of(p, p->number, "inventory", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), -EUCLEAN);
	path_of(p, p->number, "order", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), -EUCLEAN);
	assert_int_equal(d.id, DIAG_NOTE_MALFORMED);
}

/* A requester who replaces his own order after the approvals loses them. */
static void test_requester_rewrites(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *text = NULL;
	struct diag d = {0};

	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, SECURITY, ORDER_APPROVE, NOW);
	p->o.n_ids = 4000000;
	text = sign_order(&p->o, people[REQUESTER]);
	write_file(p, "order", text);
	assert_int_equal(order_load(p->fd, p->number, &p->o, NULL, NULL, &d), 0);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
}

/* Orders by strangers, for another volume, or for actions without a quorum are refused whole. */
static void test_void_orders(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE struct charter *other = make_charter(0xcd, NOW - DAY);
	struct order stranger = blank_order(p->c, "D-20261128-0002", people[STRANGER]);
	struct order export = blank_order(p->c, "D-20261128-0003", people[REQUESTER]);

	add_order(p, &stranger, people[STRANGER]);
	judge_fails(p, p->c, &stranger, -EPERM, DIAG_NOT_MEMBER);
	strcpy(export.action, "export");
	add_order(p, &export, people[REQUESTER]);
	judge_fails(p, p->c, &export, -EPERM, DIAG_QUORUM);
	judge_fails(p, other, &p->o, -EPERM, DIAG_ORDER_STATE);
	p->o = stranger;
	say_refused(p, OWNER, ORDER_APPROVE, NOW, DIAG_NOT_MEMBER);
}

/* What is stored belongs together and to a number that is free. */
static void test_store_refuses(void **state)
{
	struct place *p = *state;
	struct order o = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	CLEANUP_FREE char *text = sign_order(&o, people[REQUESTER]), *forged = NULL;
	CLEANUP_FREE char *first = sign_order(&p->o, people[REQUESTER]);
	struct diag d = {0};

	assert_int_equal(order_store(p->fd, &p->o, first, inventory, sizeof(inventory), &d),
			 -EEXIST);
	assert_int_equal(d.id, DIAG_EXISTS);
	assert_int_equal(order_store(p->fd, &o, text, "other", 5, &d), -EINVAL);
	assert_int_equal(order_store(p->fd, &o, first, inventory, sizeof(inventory), &d), -EINVAL);
	forged = edit(text, "ids: 3", "ids: 4");
	assert_int_equal(order_store(p->fd, &o, forged, inventory, sizeof(inventory), &d),
			 -EBADMSG);
	assert_int_equal(order_load(p->fd, o.number, &o, NULL, NULL, &d), -ENOENT);
}

/* Fields outside the grammar make no order. */
static void test_build_refuses(void **state)
{
	struct place *p = *state;
	struct order o;
	char *body = NULL;
	struct diag d = {0};

	o = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	strcpy(o.reason, "two\nlines: x");
	assert_int_equal(order_build(&o, &body, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_NOTE_MALFORMED);
	o = blank_order(p->c, "../../etc/passwd", people[REQUESTER]);
	assert_int_equal(order_build(&o, &body, &d), -EINVAL);
	o = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	o.expires = o.created;
	assert_int_equal(order_build(&o, &body, &d), -EINVAL);
	o = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	strcpy(o.action, "Destroy all");
	assert_int_equal(order_build(&o, &body, &d), -EINVAL);
}

/* Numbers go up, are never given twice, and only complete orders are listed. */
static void test_numbers(void **state)
{
	struct place *p = *state;
	struct order earlier = blank_order(p->c, "D-20251231-0007", people[REQUESTER]);
	CLEANUP_FREE char(*list)[ORDER_NUMBER_MAX + 1] = NULL;
	char next[ORDER_NUMBER_MAX + 1], path[160];
	size_t n;

	add_order(p, &earlier, people[REQUESTER]);
	snprintf(path, sizeof(path), "%s/orders/D-20261128-0009",
		 p->dir); /* half an order: a crash */
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/orders/rubbish", p->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/orders/D-20261128-0003", p->dir);
	assert_int_equal(symlink("D-20261128-0001", path), 0);
	assert_int_equal(order_list(p->fd, &list, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(list[0], "D-20251231-0007");
	assert_string_equal(list[1], "D-20261128-0001");
	assert_int_equal(order_next_number(p->fd, NOW, next), 0);
	assert_string_equal(next, "D-20261128-0010");
	assert_int_equal(order_next_number(p->fd, NOW + DAY, next), 0);
	assert_string_equal(next, "D-20261129-0001");
	snprintf(path, sizeof(path), "%s/orders/D-20261128-9999", p->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(order_next_number(p->fd, NOW, next), -ENOSPC);
}

/* A new store has no orders, and can number its first. */
static void test_no_orders(void **state)
{
	char(*list)[ORDER_NUMBER_MAX + 1] = NULL;
	char dir[] = "/tmp/test-order-XXXXXX", next[ORDER_NUMBER_MAX + 1];
	CLEANUP_FD int fd = -1;
	size_t n = 1;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(order_list(fd, &list, &n), 0);
	assert_int_equal(n, 0);
	assert_null(list);
	assert_int_equal(order_next_number(fd, NOW, next), 0);
	assert_string_equal(next, "D-20261128-0001");
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_PLACE(test_load),
	    IN_PLACE(test_edited_order),
	    IN_PLACE(test_requester_rewrites),
	    IN_PLACE(test_void_orders),
	    IN_PLACE(test_store_refuses),
	    IN_PLACE(test_build_refuses),
	    IN_PLACE(test_numbers),
	    cmocka_unit_test(test_no_orders),
	};

	return cmocka_run_group_tests(tests, make_people, free_people);
}
