/* The charter's roles, rules and look-ups. Its text is in charter_text.c, its chain in
 * charter_store.c. */
#include "core/charter.h"
#include "core/charter_internal.h"

#include <errno.h>
#include <string.h>

#include "core/note_internal.h"

static const struct {
	enum charter_role role;
	const char *name;
} roles[] = {
    {CHARTER_OWNER, "owner"},     {CHARTER_SECURITY, "security"},   {CHARTER_OPERATOR, "operator"},
    {CHARTER_AUDITOR, "auditor"}, {CHARTER_CUSTODIAN, "custodian"},
};
#define N_ROLES (sizeof(roles) / sizeof(roles[0]))
#define ALL_ROLES ((1u << N_ROLES) - 1)

const char *charter_role_name(enum charter_role role)
{
	for (size_t i = 0; i < N_ROLES; i++)
		if (roles[i].role == role)
			return roles[i].name;
	return "unknown";
}

unsigned charter_role_by_name(const char *name)
{
	for (size_t i = 0; i < N_ROLES; i++)
		if (strcmp(roles[i].name, name) == 0)
			return roles[i].role;
	return 0;
}

void charter_roles_text(unsigned mask, char out[64])
{
	out[0] = '\0';
	for (size_t i = 0; i < N_ROLES; i++) {
		if (!(mask & roles[i].role))
			continue;
		if (out[0])
			strcat(out, "+");
		strcat(out, roles[i].name);
	}
}

unsigned charter_roles_parse(const char *text)
{
	char one[16];
	unsigned mask = 0;

	for (;;) {
		size_t len = strcspn(text, "+");
		unsigned role;

		if (len >= sizeof(one))
			return 0;
		memcpy(one, text, len);
		one[len] = '\0';
		role = charter_role_by_name(one);
		if (role == 0)
			return 0;
		mask |= role;
		if (text[len] == '\0')
			return mask;
		text += len + 1;
	}
}

/* --- rules --- */

/*
 * Finds a member of its own for a role, moving members already given to other roles where that
 * frees one (augmenting paths of bipartite matching). given[m] is the index of the role that member
 * m has, or -1.
 */
static bool fill_role(const struct charter *c, size_t role, int *given, bool *tried)
{
	for (size_t m = 0; m < c->n_members; m++) {
		if (tried[m] || !(c->members[m].roles & roles[role].role))
			continue;
		tried[m] = true;
		if (given[m] < 0 || fill_role(c, (size_t)given[m], given, tried)) {
			given[m] = (int)role;
			return true;
		}
	}
	return false;
}

/* Whether distinct members can stand for the roles of the mask. */
static bool fillable(const struct charter *c, unsigned mask)
{
	int given[CHARTER_MEMBERS_MAX];

	for (size_t m = 0; m < c->n_members; m++)
		given[m] = -1;
	for (size_t r = 0; r < N_ROLES; r++) {
		bool tried[CHARTER_MEMBERS_MAX] = {false};

		if ((mask & roles[r].role) && !fill_role(c, r, given, tried))
			return false;
	}
	return true;
}

static int check_member(const struct charter_member *m, struct diag *d)
{
	if (!identity_name_valid(m->card.name) || !identity_name_valid(m->card.number))
		return diag_fail(d, DIAG_POLICY, -EINVAL,
				 "charter: a member's name or number is no name");
	if (m->roles == 0 || (m->roles & ~ALL_ROLES))
		return diag_fail(d, DIAG_ROLE, -EINVAL, "charter: %s has no role", m->card.name);
	if ((m->roles & CHARTER_AUDITOR) && m->roles != CHARTER_AUDITOR)
		return diag_fail(d, DIAG_ROLE, -EINVAL,
				 "charter: %s: an auditor may hold no other role", m->card.name);
	if ((m->roles & CHARTER_OPERATOR) && (m->roles & (CHARTER_OWNER | CHARTER_SECURITY)))
		return diag_fail(d, DIAG_ROLE, -EINVAL,
				 "charter: %s: an operator may be neither owner nor security",
				 m->card.name);
	if (m->uid < -1 || m->uid >= UINT32_MAX)
		return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: %s: user id out of range",
				 m->card.name);
	return 0;
}

static bool same_key(const uint8_t a[IDENTITY_KEY_LEN], const uint8_t b[IDENTITY_KEY_LEN])
{
	return memcmp(a, b, IDENTITY_KEY_LEN) == 0;
}

/* The next character that tells names apart, 0 at the end; *at moves behind it. */
static uint32_t next_telling(const char *s, size_t *at)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t len = strlen(s);

	while (*at < len) {
		uint32_t cp;

		*at += note_utf8(p + *at, len - *at, &cp);
		if (note_char_blank(cp))
			continue;
		/* Full-width forms, which an input method makes of the same keys. */
		if (cp >= 0xff01 && cp <= 0xff5e)
			cp -= 0xff01 - '!';
		return cp >= 'A' && cp <= 'Z' ? cp - 'A' + 'a' : cp;
	}
	return 0;
}

/* Of valid names: whether they read the same. */
static bool same_text(const char *a, const char *b)
{
	size_t i = 0, k = 0;
	uint32_t x, y;

	do {
		x = next_telling(a, &i);
		y = next_telling(b, &k);
	} while (x && x == y);
	return x == y;
}

/* What makes two entries one person: counted twice it could fill a quorum alone. */
static int check_distinct(const struct charter_member *a, const struct charter_member *b,
			  struct diag *d)
{
	const struct identity_card *x = &a->card, *y = &b->card;

	if (same_text(x->name, y->name) && same_text(x->number, y->number))
		return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: %s (%s) is named twice",
				 x->name, x->number);
	if (same_key(x->sign_pk, y->sign_pk) || same_key(x->seal_pk, y->seal_pk) ||
	    same_key(x->sign_pk, y->seal_pk) || same_key(x->seal_pk, y->sign_pk))
		return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: %s and %s share a key", x->name,
				 y->name);
	if (a->uid >= 0 && a->uid == b->uid)
		return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: %s and %s share a user id",
				 x->name, y->name);
	return 0;
}

static int check_members(const struct charter *c, struct diag *d)
{
	unsigned all = 0;
	int r;

	if (c->n_members == 0 || c->n_members > CHARTER_MEMBERS_MAX)
		return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: number of members");
	for (size_t i = 0; i < c->n_members; i++) {
		r = check_member(&c->members[i], d);
		for (size_t k = 0; r == 0 && k < i; k++)
			r = check_distinct(&c->members[k], &c->members[i], d);
		if (r < 0)
			return r;
		if (same_key(c->members[i].card.sign_pk, c->sign_pk))
			return diag_fail(d, DIAG_POLICY, -EINVAL,
					 "charter: %s has the volume's own key",
					 c->members[i].card.name);
		all |= c->members[i].roles;
	}
	if (!(all & CHARTER_OWNER))
		return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: no owner");
	return 0;
}

static int check_quorums(const struct charter *c, struct diag *d)
{
	if (c->n_quorums > CHARTER_QUORUMS_MAX)
		return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: number of quorums");
	for (size_t i = 0; i < c->n_quorums; i++) {
		const struct charter_quorum *q = &c->quorums[i];

		if (!note_word_ok(q->action, strnlen(q->action, sizeof(q->action)),
				  sizeof(q->action) - 1))
			return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: a quorum's action");
		if (charter_quorum(c, q->action) != q)
			return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: two quorums for %s",
					 q->action);
		if ((q->roles & ~ALL_ROLES) || __builtin_popcount(q->roles) < 2)
			return diag_fail(d, DIAG_POLICY, -EINVAL,
					 "charter: the quorum for %s needs two distinct roles",
					 q->action);
		if (!fillable(c, q->roles))
			return diag_fail(d, DIAG_POLICY, -EINVAL,
					 "charter: too few distinct members for the quorum for %s",
					 q->action);
	}
	if (!charter_quorum(c, "destroy"))
		return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: no quorum for destroy");
	return 0;
}

int charter_check(const struct charter *c, struct diag *d)
{
	static const uint8_t zero[32];
	bool first = memcmp(c->previous, zero, sizeof(zero)) == 0;
	int r;

	if (c->number == 0 || (c->number == 1) != first)
		return diag_fail(d, DIAG_POLICY, -EINVAL,
				 "charter: its number does not fit its predecessor");
	if (memcmp(c->sign_pk, zero, sizeof(zero)) == 0)
		return diag_fail(d, DIAG_POLICY, -EINVAL, "charter: no volume key");
	r = check_members(c, d);
	return r < 0 ? r : check_quorums(c, d);
}

/* --- look-ups --- */

const struct charter_member *charter_find_key(const struct charter *c, const uint8_t sign_pk[32])
{
	for (size_t i = 0; i < c->n_members; i++)
		if (same_key(c->members[i].card.sign_pk, sign_pk))
			return &c->members[i];
	return NULL;
}

const struct charter_member *charter_find_name(const struct charter *c, const char *name)
{
	const struct charter_member *found = NULL;

	for (size_t i = 0; i < c->n_members; i++) {
		if (strcmp(c->members[i].card.name, name) != 0)
			continue;
		if (found)
			return NULL;
		found = &c->members[i];
	}
	return found;
}

const struct charter_member *charter_find_uid(const struct charter *c, int64_t uid)
{
	for (size_t i = 0; uid >= 0 && i < c->n_members; i++)
		if (c->members[i].uid == uid)
			return &c->members[i];
	return NULL;
}

const struct charter_quorum *charter_quorum(const struct charter *c, const char *action)
{
	for (size_t i = 0; i < c->n_quorums; i++)
		if (strncmp(c->quorums[i].action, action, sizeof(c->quorums[i].action)) == 0)
			return &c->quorums[i];
	return NULL;
}
