/*
 * The charter: who belongs to the volume, in which roles, and who must agree to what.
 *
 * A signed note "coffer-charter/1" (docs/format.md "Charter"), bound to volume id and volume
 * signing key, in a chain by digest. The first is signed by the volume's key and by every owner it
 * names that founds the volume (one at least); its digest is the volume's fingerprint. One person
 * (name and number; case, blanks and width of the characters aside) appears once, keys appear once,
 * a local user id appears once. Rules checked in code: at least one owner; an auditor holds no other role; an operator is neither owner
 * nor security administrator; every quorum names at least two distinct roles that distinct members
 * can fill; "destroy" has a quorum. Stateless; a struct charter is immutable after parsing.
 */
#ifndef COFFER_CORE_CHARTER_H
#define COFFER_CORE_CHARTER_H

#include <stddef.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/identity.h"

enum charter_role {
	CHARTER_OWNER = 1,
	CHARTER_SECURITY = 2,
	CHARTER_OPERATOR = 4,
	CHARTER_AUDITOR = 8,
	CHARTER_CUSTODIAN = 16,
};

#define CHARTER_MEMBERS_MAX 256
#define CHARTER_QUORUMS_MAX 16

struct charter_member {
	struct identity_card card;
	unsigned roles;
	int64_t uid; /* local user id for routine work, -1 none */
};
struct charter_quorum {
	char action[32]; /* "destroy", "charter", "hold-release", "export", "escrow-remove" */
	unsigned roles;  /* one approval of each role in the set, from distinct members */
};
struct charter {
	uint8_t volume_id[16];
	uint8_t sign_pk[32];
	uint64_t number;      /* 1 for the first */
	uint8_t previous[32]; /* zero for the first */
	int64_t created;
	size_t n_members;
	struct charter_member members[CHARTER_MEMBERS_MAX];
	size_t n_quorums;
	struct charter_quorum quorums[CHARTER_QUORUMS_MAX];
	uint8_t digest[32]; /* of the body; set by parse and build */
};

const char *charter_role_name(enum charter_role role); /* "owner", "security", .. */
/* 0 when unknown. */
unsigned charter_role_by_name(const char *name);
/* "owner+security" into out (64 bytes suffice). */
void charter_roles_text(unsigned roles, char out[64]);

/* Applies the rules. DIAG_ROLE / DIAG_POLICY with the reason. */
int charter_check(const struct charter *c, struct diag *d);
/* Body text, caller frees; sets c->digest. Runs charter_check. */
int charter_build(struct charter *c, char **ret_body, struct diag *d);
/*
 * Parses, checks rules, the volume key's signature and, on the first charter, a founding owner's.
 * The key is the one the charter itself names: what makes it this volume's is the digest of the
 * first. *ret is large: caller frees with free(). DIAG_NOTE_MALFORMED, DIAG_NOTE_UNSIGNED,
 * DIAG_VERSION, or what charter_check says.
 */
int charter_parse(const char *text, struct charter **ret, struct diag *d);
/*
 * STORE/charter/NUMBER: follows the chain from number 1, whose digest must be first, to the one
 * whose digest is head (32 bytes). With head NULL (a reader without keys) it is the last of the
 * chain, and may be one that was stored but never came into force. DIAG_NOTE_UNSIGNED when the
 * chain does not hold or does not reach head.
 */
int charter_load(int store_fd, const uint8_t head[32], const uint8_t first[32],
		 struct charter **ret, struct diag *d);
/*
 * Writes STORE/charter/NUMBER durably. text must be c's note. The same text again is success.
 * Another text under the number replaces one that no later charter follows: it never came into
 * force (a crash between storing and the anchor), which the caller knows from the head it built on.
 * Number 1 is never replaced: DIAG_EXISTS.
 */
int charter_store(int store_fd, const struct charter *c, const char *text, struct diag *d);

const struct charter_member *charter_find_key(const struct charter *c, const uint8_t sign_pk[32]);
/* NULL when there is none, and when several members have the name. */
const struct charter_member *charter_find_name(const struct charter *c, const char *name);
const struct charter_member *charter_find_uid(const struct charter *c, int64_t uid);
/* NULL when the charter names no quorum for the action (the action is then refused). */
const struct charter_quorum *charter_quorum(const struct charter *c, const char *action);

#endif
