/* From statements and journal to the state of an order. Saying something is in order_say.c. */
#include "core/order.h"
#include "core/order_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/note.h"

static int open_folder(int store_fd, const struct order *o, struct diag *d)
{
	int fd = order_folder_open(store_fd, o->number);

	if (fd == -ENOENT)
		return diag_fail(d, DIAG_NOT_FOUND, fd, "order %s", o->number);
	return fd < 0 ? diag_fail_errno(d, fd, "order %s", o->number) : fd;
}

/* --- listing --- */

struct collection {
	struct order_statement *list;
	size_t n;
};

/* A full list gives up one that does not count for one that does: rubbish crowds nobody out. */
static void collect(const struct order_statement *st, void *arg)
{
	struct collection *col = arg;

	if (col->n < ORDER_STATEMENTS_MAX) {
		col->list[col->n++] = *st;
		return;
	}
	for (size_t i = 0; st->counts && i < col->n; i++) {
		if (!col->list[i].counts) {
			col->list[i] = *st;
			return;
		}
	}
}

static int by_weight(const void *a, const void *b)
{
	const struct order_statement *x = a, *y = b;

	if (x->counts != y->counts)
		return x->counts ? -1 : 1;
	if (x->created != y->created)
		return x->created < y->created ? -1 : 1;
	return strcmp(x->counts ? x->signer : x->why_not, y->counts ? y->signer : y->why_not);
}

int order_statements(int store_fd, const struct charter *c, const struct order *o, int64_t now,
		     struct order_statement *ret, size_t *ret_n, struct diag *d)
{
	struct collection col = {.list = ret};
	CLEANUP_FD int dirfd = open_folder(store_fd, o, d);
	int r;

	if (dirfd < 0)
		return dirfd;
	r = order_scan(dirfd, c, o, now, collect, &col);
	if (r < 0)
		return diag_fail_errno(d, r, "order %s", o->number);
	qsort(ret, col.n, sizeof(*ret), by_weight);
	*ret_n = col.n;
	return 0;
}

/* --- judging --- */

struct tally {
	const struct charter *c;
	bool approved_by[CHARTER_MEMBERS_MAX];
	unsigned approved; /* roles */
	bool rejected, withdrawn;
};

static void count(const struct order_statement *st, void *arg)
{
	struct tally *t = arg;
	size_t who;

	if (!st->counts)
		return;
	switch (st->decision) {
	case ORDER_APPROVE:
		/* A member approves once, in one role, whatever the folder lists. */
		who = (size_t)(charter_find_key(t->c, st->signer_pk) - t->c->members);
		if (!t->approved_by[who])
			t->approved |= st->role;
		t->approved_by[who] = true;
		break;
	case ORDER_REJECT:
		t->rejected = true;
		break;
	case ORDER_WITHDRAW:
		t->withdrawn = true;
		break;
	}
}

/* 1 and the state when execution has begun, else 0. */
static int begun(int store_fd, const struct charter *c, const struct order *o,
		 enum order_state *ret, struct diag *d)
{
	CLEANUP_FREE char(*steps)[64] = NULL;
	bool begin = false, verified = false, escrowed = false, certified = false, done = false;
	size_t n;
	int r;

	r = order_journal_get(store_fd, o, c->sign_pk, &steps, &n, d);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		begin |= strcmp(steps[i], ORDER_STEP_BEGIN) == 0;
		verified |= strcmp(steps[i], ORDER_STEP_VERIFIED) == 0;
		escrowed |= strcmp(steps[i], ORDER_STEP_ESCROWED) == 0;
		certified |= strcmp(steps[i], ORDER_STEP_CERTIFIED) == 0;
		done |= strcmp(steps[i], ORDER_STEP_DONE) == 0;
	}
	if (!begin)
		return 0;
	*ret = ORDER_EXECUTING;
	if (verified && !escrowed)
		*ret = ORDER_ESCROW_PENDING;
	if (done || (verified && escrowed && certified))
		*ret = ORDER_DONE;
	return 1;
}

/* What must hold of the order before anybody's word about it matters. */
static int check_order(const struct charter *c, const struct order *o, struct diag *d)
{
	if (!charter_quorum(c, o->action))
		return diag_fail(d, DIAG_QUORUM, -EPERM,
				 "order %s: the charter has no quorum for %s", o->number,
				 o->action);
	if (!order_member(c, o->requester_pk, o->requester))
		return diag_fail(d, DIAG_NOT_MEMBER, -EPERM, "order %s: its requester %s",
				 o->number, o->requester);
	return 0;
}

static enum order_state weigh(const struct tally *t, unsigned missing, const struct order *o,
			      int64_t now)
{
	if (t->withdrawn)
		return ORDER_WITHDRAWN;
	if (t->rejected)
		return ORDER_REJECTED;
	if (now >= o->expires)
		return ORDER_EXPIRED;
	return missing ? ORDER_REQUESTED : ORDER_APPROVED;
}

int order_judge(int store_fd, const struct charter *c, const struct order *o, int64_t now,
		enum order_state *ret, unsigned *ret_missing, struct diag *d)
{
	const struct charter_quorum *q = charter_quorum(c, o->action);
	bool other_charter = memcmp(o->charter, c->digest, sizeof(o->charter)) != 0;
	enum order_state state = ORDER_EXPIRED;
	struct tally t = {.c = c};
	CLEANUP_FD int dirfd = -1;
	unsigned missing;
	int r, executing;

	if (memcmp(o->volume_id, c->volume_id, sizeof(o->volume_id)) != 0)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s of another volume",
				 o->number);
	executing = begun(store_fd, c, o, &state, d);
	if (executing < 0)
		return executing;
	r = executing || other_charter ? 0 : check_order(c, o, d);
	dirfd = r < 0 ? r : open_folder(store_fd, o, d);
	if (dirfd < 0)
		return dirfd;
	r = order_scan(dirfd, c, o, now, count, &t);
	if (r < 0)
		return diag_fail_errno(d, r, "order %s", o->number);
	missing = q ? q->roles & ~t.approved : 0;
	*ret = executing || other_charter ? state : weigh(&t, missing, o, now);
	*ret_missing = missing;
	return 0;
}
