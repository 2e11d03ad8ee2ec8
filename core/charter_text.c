/*
 * The charter as a signed note. Whatever is parsed is written anew and compared: one charter has
 * one text, and nothing stands in it that the rules have not seen.
 */
#include "core/charter.h"
#include "core/charter_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/note.h"
#include "core/note_internal.h"

#define CHARTER_TYPE "charter"
#define CHARTER_VERSION 1
#define MEMBER_PARTS 6

static void put_member(struct bytes_w *w, const struct charter_member *m)
{
	char sign[2 * IDENTITY_KEY_LEN + 1], seal[2 * IDENTITY_KEY_LEN + 1], roles[64],
	    uid[24] = "-";

	bytes_hex(sign, m->card.sign_pk, IDENTITY_KEY_LEN);
	bytes_hex(seal, m->card.seal_pk, IDENTITY_KEY_LEN);
	charter_roles_text(m->roles, roles);
	if (m->uid >= 0)
		snprintf(uid, sizeof(uid), "%" PRId64, m->uid);
	note_put_fmt(w, "member", "%s|%s|%s|%s|%s|%s", m->card.name, m->card.number, sign, seal,
		     roles, uid);
}

int charter_body(const struct charter *c, char **ret_body)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	note_begin(&w, CHARTER_TYPE, CHARTER_VERSION);
	note_put_hex(&w, "volume", c->volume_id, sizeof(c->volume_id));
	note_put_hex(&w, "volume-key", c->sign_pk, sizeof(c->sign_pk));
	note_put_u64(&w, "number", c->number);
	note_put_hex(&w, "previous", c->previous, sizeof(c->previous));
	note_put_time(&w, "created", c->created);
	for (size_t i = 0; i < c->n_members; i++)
		put_member(&w, &c->members[i]);
	for (size_t i = 0; i < c->n_quorums; i++) {
		char roles[64];

		charter_roles_text(c->quorums[i].roles, roles);
		note_put_fmt(&w, "quorum", "%s|%s", c->quorums[i].action, roles);
	}
	return note_end(&w, ret_body);
}

int charter_build(struct charter *c, char **ret_body, struct diag *d)
{
	char *body;
	int r;

	r = charter_check(c, d);
	if (r < 0)
		return r;
	r = charter_body(c, &body);
	if (r == -ENOMEM)
		return diag_fail_errno(d, r, "charter");
	if (r < 0)
		return diag_fail(d, DIAG_NOTE_MALFORMED, r, "charter %" PRIu64, c->number);
	note_body_digest(body, c->digest);
	*ret_body = body;
	return 0;
}

/* --- parsing --- */

/* Cuts a copy of value at every '|'; exactly n parts. */
static int cut(char *value, char **parts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		parts[i] = value ? strsep(&value, "|") : NULL;
		if (!parts[i])
			return -EUCLEAN;
	}
	return value ? -EUCLEAN : 0;
}

static int parse_uid(const char *s, int64_t *ret)
{
	uint64_t uid;

	if (strcmp(s, "-") == 0) {
		*ret = -1;
		return 0;
	}
	if (note_decimal(s, &uid) < 0 || uid >= UINT32_MAX)
		return -EUCLEAN;
	*ret = (int64_t)uid;
	return 0;
}

static int parse_member(const char *value, struct charter_member *m)
{
	char copy[NOTE_VALUE_MAX + 1], *part[MEMBER_PARTS];

	strcpy(copy, value);
	if (cut(copy, part, MEMBER_PARTS) < 0 || !identity_name_valid(part[0]) ||
	    !identity_name_valid(part[1]) || strlen(part[2]) != 2 * IDENTITY_KEY_LEN ||
	    strlen(part[3]) != 2 * IDENTITY_KEY_LEN)
		return -EUCLEAN;
	strcpy(m->card.name, part[0]);
	strcpy(m->card.number, part[1]);
	m->roles = charter_roles_parse(part[4]);
	if (bytes_unhex(part[2], m->card.sign_pk, IDENTITY_KEY_LEN) < 0 ||
	    bytes_unhex(part[3], m->card.seal_pk, IDENTITY_KEY_LEN) < 0 || m->roles == 0)
		return -EUCLEAN;
	return parse_uid(part[5], &m->uid);
}

static int parse_quorum(const char *value, struct charter_quorum *q)
{
	char copy[NOTE_VALUE_MAX + 1], *part[2];

	strcpy(copy, value);
	if (cut(copy, part, 2) < 0 || strlen(part[0]) >= sizeof(q->action))
		return -EUCLEAN;
	strcpy(q->action, part[0]);
	q->roles = charter_roles_parse(part[1]);
	return q->roles ? 0 : -EUCLEAN;
}

static int parse_lists(const struct note *n, struct charter *c)
{
	for (size_t i = 0; i < n->n_fields; i++) {
		const struct note_field *f = &n->fields[i];

		if (strcmp(f->key, "member") == 0) {
			if (c->n_members == CHARTER_MEMBERS_MAX ||
			    parse_member(f->value, &c->members[c->n_members++]) < 0)
				return -EUCLEAN;
		} else if (strcmp(f->key, "quorum") == 0) {
			if (c->n_quorums == CHARTER_QUORUMS_MAX ||
			    parse_quorum(f->value, &c->quorums[c->n_quorums++]) < 0)
				return -EUCLEAN;
		}
	}
	return 0;
}

static int parse_body(const char *text, struct charter *c)
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_FREE char *again = NULL;
	int r;

	r = note_parse(text, &n);
	if (r < 0)
		return r;
	if (strcmp(n.type, CHARTER_TYPE) != 0)
		return -EUCLEAN;
	if (n.version != CHARTER_VERSION)
		return -EPROTONOSUPPORT;
	if (note_get_hex(&n, "volume", c->volume_id, sizeof(c->volume_id)) < 0 ||
	    note_get_hex(&n, "volume-key", c->sign_pk, sizeof(c->sign_pk)) < 0 ||
	    note_get_u64(&n, "number", &c->number) < 0 ||
	    note_get_hex(&n, "previous", c->previous, sizeof(c->previous)) < 0 ||
	    note_get_time(&n, "created", &c->created) < 0 || parse_lists(&n, c) < 0)
		return -EUCLEAN;
	r = charter_body(c, &again);
	if (r < 0)
		return r;
	return note_body_is(text, again) ? note_digest(text, c->digest) : -EUCLEAN;
}

static bool signed_by_owner(const char *text, const struct charter *c)
{
	for (size_t i = 0; i < c->n_members; i++) {
		char name[NOTE_KEY_NAME_MAX + 1];

		note_member_key_name(c->members[i].card.sign_pk, name);
		if ((c->members[i].roles & CHARTER_OWNER) &&
		    note_verify(text, name, c->members[i].card.sign_pk) == 0)
			return true;
	}
	return false;
}

static int check_signatures(const char *text, const struct charter *c, struct diag *d)
{
	char name[NOTE_KEY_NAME_MAX + 1];

	note_volume_key_name(c->volume_id, name);
	if (note_verify(text, name, c->sign_pk) < 0)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG,
				 "charter %" PRIu64 ": the volume's signature", c->number);
	if (c->number == 1 && !signed_by_owner(text, c))
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG,
				 "charter 1: the signature of a founding owner");
	return 0;
}

int charter_parse(const char *text, struct charter **ret, struct diag *d)
{
	CLEANUP_FREE struct charter *c = calloc(1, sizeof(*c));
	int r = c ? parse_body(text, c) : -ENOMEM;

	if (r == -ENOMEM)
		return diag_fail_errno(d, r, "charter");
	if (r == -EPROTONOSUPPORT)
		return diag_fail(d, DIAG_VERSION, r, "charter");
	if (r < 0)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "charter");
	/* Signatures before rules: of a forged charter nothing but that is worth saying. */
	r = check_signatures(text, c, d);
	if (r == 0)
		r = charter_check(c, d);
	if (r < 0)
		return r;
	*ret = STEAL_PTR(c);
	return 0;
}
