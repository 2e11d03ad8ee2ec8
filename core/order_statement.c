/*
 * Statements: their text, and whether one counts.
 *
 * A statement counts when its file is the one its signer's key names, the signature is that key's,
 * volume, charter, order and the digest of the complete order are these, the signer is in the
 * charter in force with the role claimed, and the role may say this. Each check has its reason in
 * words, for whoever wonders why an approval is not seen.
 */
#include "core/order.h"
#include "core/order_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/note.h"

#define STATEMENT_TYPE "statement"
#define STATEMENT_VERSION 1

static const char *const words[] = {
    [ORDER_APPROVE] = "approve", [ORDER_REJECT] = "reject", [ORDER_WITHDRAW] = "withdraw"};

/* 0 when it is no decision. */
static enum order_decision decision_of(const char *word, size_t len)
{
	for (int i = ORDER_APPROVE; i <= ORDER_WITHDRAW; i++)
		if (strlen(words[i]) == len && memcmp(words[i], word, len) == 0)
			return (enum order_decision)i;
	return 0;
}

const char *order_decision_name(enum order_decision decision)
{
	return words[decision];
}

bool order_statement_name(const char *file)
{
	const char *dot = strchr(file, '.');

	return dot && decision_of(file, (size_t)(dot - file)) &&
	       strlen(dot + 1) == NOTE_KEY_ID_LEN && !strchr(file, '/') &&
	       note_value_valid(file, strlen(file));
}

void order_paper_file(enum order_decision decision, const uint8_t signer_pk[32],
		      char out[ORDER_PAPER_NAME_MAX + 1])
{
	char id[NOTE_KEY_ID_LEN + 1];

	note_key_id(signer_pk, id);
	snprintf(out, ORDER_PAPER_NAME_MAX + 1, "%s.%s", words[decision], id);
}

/* --- text --- */

int order_paper_build(const struct order_paper *p, char **ret_body)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	note_begin(&w, STATEMENT_TYPE, STATEMENT_VERSION);
	note_put_hex(&w, "volume", p->volume_id, sizeof(p->volume_id));
	note_put_hex(&w, "charter", p->charter, sizeof(p->charter));
	note_put(&w, "order", p->number);
	note_put_hex(&w, "order-digest", p->digest, sizeof(p->digest));
	note_put(&w, "decision", words[p->st.decision]);
	note_put(&w, "role", charter_role_name(p->st.role));
	note_put(&w, "signer", p->st.signer);
	note_put_hex(&w, "signer-key", p->st.signer_pk, sizeof(p->st.signer_pk));
	note_put_time(&w, "created", p->st.created);
	if (p->st.decision == ORDER_APPROVE)
		note_put_time(&w, "expires", p->st.expires);
	note_put(&w, "opinion", p->st.opinion);
	return note_end(&w, ret_body);
}

static int parse_said(const struct note *n, struct order_statement *st)
{
	const char *decision = note_get(n, "decision"), *role = note_get(n, "role");
	const char *signer = note_get(n, "signer"), *opinion = note_get(n, "opinion");

	if (!decision || !role || !signer || !identity_name_valid(signer) || !opinion ||
	    strlen(opinion) > ORDER_TEXT_MAX)
		return -EUCLEAN;
	st->decision = decision_of(decision, strlen(decision));
	st->role = charter_role_by_name(role);
	strcpy(st->signer, signer);
	strcpy(st->opinion, opinion);
	if (!st->decision || !st->role || note_get_time(n, "created", &st->created) < 0 ||
	    note_get_hex(n, "signer-key", st->signer_pk, sizeof(st->signer_pk)) < 0)
		return -EUCLEAN;
	return st->decision == ORDER_APPROVE ? note_get_time(n, "expires", &st->expires) : 0;
}

static int parse_paper(const struct note *n, struct order_paper *p)
{
	const char *number = note_get(n, "order");

	if (strcmp(n->type, STATEMENT_TYPE) != 0)
		return -EUCLEAN;
	if (n->version != STATEMENT_VERSION)
		return -EPROTONOSUPPORT;
	if (!number || !order_number_valid(number) ||
	    note_get_hex(n, "volume", p->volume_id, sizeof(p->volume_id)) < 0 ||
	    note_get_hex(n, "charter", p->charter, sizeof(p->charter)) < 0 ||
	    note_get_hex(n, "order-digest", p->digest, sizeof(p->digest)) < 0)
		return -EUCLEAN;
	strcpy(p->number, number);
	return parse_said(n, &p->st);
}

int order_paper_parse(const char *text, struct order_paper *ret)
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_FREE char *again = NULL;
	char name[NOTE_KEY_NAME_MAX + 1];
	struct order_paper p = {0};
	int r;

	r = note_parse(text, &n);
	if (r == 0)
		r = parse_paper(&n, &p);
	if (r == 0)
		r = order_paper_build(&p, &again);
	if (r < 0)
		return r;
	if (!note_body_is(text, again))
		return -EUCLEAN;
	note_member_key_name(p.st.signer_pk, name);
	r = note_verify(text, name, p.st.signer_pk);
	if (r == 0)
		*ret = p;
	return r;
}

/* --- whether it counts: NULL, or why not --- */

const struct charter_member *order_member(const struct charter *c, const uint8_t pk[32],
					  const char *name)
{
	const struct charter_member *m = charter_find_key(c, pk);

	return m && strcmp(m->card.name, name) == 0 ? m : NULL;
}

static const char *wrong_subject(const struct order_paper *p, const struct charter *c,
				 const struct order *o)
{
	if (memcmp(p->volume_id, o->volume_id, sizeof(p->volume_id)) != 0 ||
	    memcmp(p->volume_id, c->volume_id, sizeof(p->volume_id)) != 0)
		return "it is about another volume";
	if (strcmp(p->number, o->number) != 0 ||
	    memcmp(p->digest, o->digest, sizeof(p->digest)) != 0)
		return "it is about another order, or this one in another wording";
	if (memcmp(p->charter, c->digest, sizeof(p->charter)) != 0 ||
	    memcmp(p->charter, o->charter, sizeof(p->charter)) != 0)
		return "it was made under another charter";
	return NULL;
}

static const char *wrong_time(const struct order_statement *st, int64_t now)
{
	if (st->created > now + ORDER_CLOCK_SKEW)
		return "it is dated in the future";
	if (st->decision != ORDER_APPROVE)
		return NULL;
	if (st->expires <= st->created || st->expires - st->created > ORDER_APPROVAL_LIFE)
		return "it is valid for longer than an approval may be";
	return now >= st->expires ? "it has expired" : NULL;
}

static const char *wrong_right(const struct order_statement *st, const struct charter *c,
			       const struct order *o)
{
	const struct charter_quorum *q = charter_quorum(c, o->action);
	bool requester = memcmp(st->signer_pk, o->requester_pk, sizeof(st->signer_pk)) == 0;

	switch (st->decision) {
	case ORDER_APPROVE:
		if (requester)
			return "the requester may not approve";
		/* fall through */
	case ORDER_REJECT:
		return q && (q->roles & st->role) ? NULL : "the role has no part in the quorum";
	case ORDER_WITHDRAW:
		return requester || st->role == CHARTER_OWNER
			   ? NULL
			   : "only the requester or an owner may withdraw";
	}
	return "no decision";
}

const char *order_paper_why_not(const struct order_paper *p, const struct charter *c,
				const struct order *o, int64_t now)
{
	const struct charter_member *m = order_member(c, p->st.signer_pk, p->st.signer);
	const char *why = wrong_subject(p, c, o);

	if (why)
		return why;
	if (!m)
		return "the signer is not in the charter";
	if (!(m->roles & p->st.role))
		return "the signer does not have the role";
	why = wrong_time(&p->st, now);
	return why ? why : wrong_right(&p->st, c, o);
}

/* --- files --- */

struct scan {
	const struct charter *c;
	const struct order *o;
	int64_t now;
	int dirfd;
	char ids[CHARTER_MEMBERS_MAX][NOTE_KEY_ID_LEN + 1];
};

static bool is_member_id(const struct scan *s, const char *id)
{
	for (size_t i = 0; i < s->c->n_members; i++)
		if (strcmp(s->ids[i], id) == 0)
			return true;
	return false;
}

static const char *read_why(int r)
{
	switch (r) {
	case -EBADMSG:
		return "the signature does not verify";
	case -EPROTONOSUPPORT:
		return "its format is newer than this program";
	case -EUCLEAN:
		return "it is malformed";
	case -EFBIG:
		return "it is too large";
	case -ELOOP:
	case -EINVAL:
	case -ENXIO:
		return "it is not a regular file";
	default:
		return "it cannot be read";
	}
}

/* Reads and judges one file of a member's name; st->decision is what the name says. */
static const char *judge_file(const struct scan *s, const char *file, struct order_statement *st)
{
	CLEANUP_FREE char *text = NULL;
	char expected[ORDER_PAPER_NAME_MAX + 1];
	struct order_paper p;
	int r;

	r = note_file_read(s->dirfd, file, ORDER_NOTE_MAX, &text);
	if (r == 0)
		r = order_paper_parse(text, &p);
	if (r < 0)
		return read_why(r);
	order_paper_file(p.st.decision, p.st.signer_pk, expected);
	/* One file for one signer and decision: a copy under another name would count twice. */
	if (strcmp(expected, file) != 0)
		return "it is not named after its signer and decision";
	*st = p.st;
	return order_paper_why_not(&p, s->c, s->o, s->now);
}

/* False when the name is not that of a statement. */
static bool judge_name(const struct scan *s, const char *file, struct order_statement *st)
{
	const char *dot = strchr(file, '.'), *why;

	*st = (struct order_statement){0};
	st->decision = dot ? decision_of(file, (size_t)(dot - file)) : 0;
	if (!st->decision)
		return false;
	if (strlen(dot + 1) != NOTE_KEY_ID_LEN || !note_value_valid(file, strlen(file))) {
		snprintf(st->why_not, sizeof(st->why_not), "%s file: it is not named after a key",
			 words[st->decision]);
		return true;
	}
	/* What is not a member's is not even opened: a folder full of rubbish costs no more than
	 * its listing. */
	why =
	    is_member_id(s, dot + 1) ? judge_file(s, file, st) : "the signer is not in the charter";
	st->counts = !why;
	if (why)
		snprintf(st->why_not, sizeof(st->why_not), "%.*s: %s", ORDER_PAPER_NAME_MAX, file,
			 why);
	return true;
}

int order_scan(int dirfd, const struct charter *c, const struct order *o, int64_t now,
	       order_scan_fn fn, void *arg)
{
	struct scan s = {.c = c, .o = o, .now = now, .dirfd = dirfd};
	CLEANUP_FD int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_DIR DIR *dir = NULL;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	fd = -1; /* the stream owns it */
	for (size_t i = 0; i < c->n_members; i++)
		note_key_id(c->members[i].card.sign_pk, s.ids[i]);
	for (;;) {
		struct order_statement st;
		struct dirent *e;

		errno = 0;
		e = readdir(dir);
		if (!e)
			return -errno;
		if (judge_name(&s, e->d_name, &st))
			fn(&st, arg);
	}
}
