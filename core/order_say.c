/*
 * Saying something about an order: made and signed where the key is, judged and stored where the
 * order is. The judge relies on nothing that the maker has checked.
 */
#include "core/order.h"
#include "core/order_internal.h"

#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/note.h"

/* --- making --- */

static unsigned one_of(unsigned roles)
{
	return roles & -roles;
}

static bool is_requester(const struct order *o, const uint8_t pk[32])
{
	return memcmp(pk, o->requester_pk, sizeof(o->requester_pk)) == 0;
}

/*
 * The role in which it is said: one that allows it, when there is one. A role must be claimed in
 * any case, or an attempt could not even be judged.
 */
static unsigned role_for(const struct charter *c, const struct order *o,
			 const struct identity_card *who, enum order_decision decision,
			 unsigned missing)
{
	const struct charter_member *m = order_member(c, who->sign_pk, who->name);
	const struct charter_quorum *q = charter_quorum(c, o->action);
	unsigned may, roles = m ? m->roles : CHARTER_OWNER;

	if (decision == ORDER_WITHDRAW)
		may = roles & CHARTER_OWNER;
	else
		may = q ? roles & q->roles : 0;
	if (decision == ORDER_APPROVE && (may & missing))
		may &= missing;
	return one_of(may ? may : roles);
}

int order_statement_make(const struct charter *c, const struct order *o, const struct identity *id,
			 enum order_decision decision, const char *opinion, unsigned missing,
			 int64_t now, char **ret_text, struct diag *d)
{
	const struct identity_card *card = identity_card(id);
	struct order_paper p = {.st = {.decision = decision, .created = now}};
	CLEANUP_FREE char *body = NULL;
	int r;

	if (opinion && strlen(opinion) > ORDER_TEXT_MAX)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EINVAL, "the opinion on order %s",
				 o->number);
	p.st.role = role_for(c, o, card, decision, missing);
	memcpy(p.volume_id, o->volume_id, sizeof(p.volume_id));
	memcpy(p.charter, c->digest, sizeof(p.charter));
	memcpy(p.digest, o->digest, sizeof(p.digest));
	strcpy(p.number, o->number);
	strcpy(p.st.signer, card->name);
	memcpy(p.st.signer_pk, card->sign_pk, sizeof(p.st.signer_pk));
	strcpy(p.st.opinion, opinion ? opinion : "");
	if (decision == ORDER_APPROVE)
		p.st.expires = now + ORDER_APPROVAL_LIFE;
	r = order_paper_build(&p, &body);
	if (r == -EINVAL)
		return diag_fail(d, DIAG_NOTE_MALFORMED, r, "the opinion on order %s", o->number);
	if (r == 0)
		r = note_sign(body, id, ret_text);
	return r < 0 ? diag_fail_errno(d, r, "order %s", o->number) : 0;
}

/* --- judging --- */

static int parse(const char *text, struct order_paper *ret, struct diag *d)
{
	int r = strlen(text) > ORDER_NOTE_MAX ? -EUCLEAN : order_paper_parse(text, ret);

	switch (r) {
	case 0:
		return 0;
	case -ENOMEM:
		return diag_fail_errno(d, r, "statement");
	case -EPROTONOSUPPORT:
		return diag_fail(d, DIAG_VERSION, r, "statement");
	case -EBADMSG:
		return diag_fail(d, DIAG_NOTE_UNSIGNED, r, "statement");
	default:
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "statement");
	}
}

int order_statement_parse(const char *text, struct order_statement *ret, struct diag *d)
{
	struct order_paper p;
	int r = parse(text, &p, d);

	if (r == 0)
		*ret = p.st;
	return r;
}

/* Why the person may not say it: the part of the verdict that has diagnoses of its own. */
static int check_right(const struct charter *c, const struct order *o,
		       const struct order_statement *st, struct diag *d)
{
	const struct charter_member *m = order_member(c, st->signer_pk, st->signer);
	const struct charter_quorum *q = charter_quorum(c, o->action);
	bool requester = is_requester(o, st->signer_pk), may;

	if (st->decision == ORDER_APPROVE && requester)
		return diag_fail(d, DIAG_REQUESTER, -EPERM, "order %s", o->number);
	if (st->decision == ORDER_WITHDRAW)
		may = requester || st->role == CHARTER_OWNER;
	else
		may = q && (q->roles & st->role);
	if (!may || !(m->roles & st->role))
		return diag_fail(d, DIAG_ROLE, -EPERM, "%s may not %s order %s", st->signer,
				 order_decision_name(st->decision), o->number);
	return 0;
}

/*
 * Who reads the folder has everybody's notes: an earlier one put in again would take back a later
 * one of its signer.
 */
static int check_newest(int dirfd, const struct charter *c, const struct order *o,
			const struct order_paper *p, int64_t now, struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	char file[ORDER_PAPER_NAME_MAX + 1];
	struct order_paper before;

	order_paper_file(p->st.decision, p->st.signer_pk, file);
	/* What does not count takes nobody's place. */
	if (note_file_read(dirfd, file, ORDER_NOTE_MAX, &text) < 0 ||
	    order_paper_parse(text, &before) < 0 || order_paper_why_not(&before, c, o, now))
		return 0;
	if (before.st.decision == p->st.decision && before.st.created > p->st.created &&
	    memcmp(before.st.signer_pk, p->st.signer_pk, sizeof(p->st.signer_pk)) == 0)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM,
				 "order %s: %s has said so again since that statement was signed",
				 p->number, p->st.signer);
	return 0;
}

static int check(int store_fd, const struct charter *c, const struct order *o, const char *text,
		 int64_t now, struct order_paper *ret, struct diag *d)
{
	CLEANUP_FD int dirfd = -1;
	enum order_state state;
	struct order_paper p;
	unsigned missing;
	const char *why;
	int r;

	r = parse(text, &p, d);
	if (r < 0)
		return r;
	if (!order_member(c, p.st.signer_pk, p.st.signer))
		return diag_fail(d, DIAG_NOT_MEMBER, -EPERM, "%s", p.st.signer);
	r = order_judge(store_fd, c, o, now, &state, &missing, d);
	if (r < 0)
		return r;
	if (state != ORDER_REQUESTED && state != ORDER_APPROVED)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s is %s", o->number,
				 order_state_name(state));
	r = check_right(c, o, &p.st, d);
	if (r < 0)
		return r;
	why = order_paper_why_not(&p, c, o, now);
	if (why)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s, the statement of %s: %s",
				 o->number, p.st.signer, why);
	dirfd = order_folder_open(store_fd, o->number);
	if (dirfd < 0)
		return diag_fail_errno(d, dirfd, "order %s", o->number);
	r = check_newest(dirfd, c, o, &p, now, d);
	if (r == 0)
		*ret = p;
	return r;
}

int order_statement_check(int store_fd, const struct charter *c, const struct order *o,
			  const char *text, int64_t now, struct diag *d)
{
	struct order_paper p;

	return check(store_fd, c, o, text, now, &p, d);
}

int order_statement_store(int store_fd, const struct charter *c, const struct order *o,
			  const char *text, int64_t now, struct diag *d)
{
	char file[ORDER_PAPER_NAME_MAX + 1];
	CLEANUP_FD int dirfd = -1;
	struct order_paper p;
	int r;

	r = check(store_fd, c, o, text, now, &p, d);
	if (r < 0)
		return r;
	order_paper_file(p.st.decision, p.st.signer_pk, file);
	dirfd = order_folder_open(store_fd, o->number);
	r = dirfd < 0 ? dirfd
		      : durable_replace(dirfd, file, text, strlen(text), ORDER_FILE_MODE);
	return r < 0 ? diag_fail_errno(d, r, "order %s", o->number) : 0;
}

int order_say(int store_fd, const struct charter *c, const struct order *o,
	      const struct identity *id, enum order_decision decision, const char *opinion,
	      int64_t now, struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	enum order_state state;
	unsigned missing = 0;
	int r;

	r = order_judge(store_fd, c, o, now, &state, &missing, d);
	if (r == 0)
		r = order_statement_make(c, o, id, decision, opinion, missing, now, &text, d);
	return r < 0 ? r : order_statement_store(store_fd, c, o, text, now, d);
}
