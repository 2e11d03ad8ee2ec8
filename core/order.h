/*
 * Orders and what is said about them: signed notes in STORE/orders/NUMBER/.
 *
 * - order: the request, signed by the requester
 * - inventory: the ids it covers, whose SHA-256 the order states (docs/format.md "Inventory")
 * - approve.KEYID, reject.KEYID, withdraw.KEYID: one of each for each member
 * - state: the executor's journal of steps done, a note signed by the volume
 * - certificate: signed by the volume
 *
 * Each note states volume, charter digest, order number and the digest of the complete order; a
 * statement counts only when all of them match, its signer is in the charter in force with the role
 * it claims, and it has not expired. A change of charter therefore voids what was approved under
 * the old one. What people decide is only ever read from their own notes, never from state. A
 * statement is read from the one file that its signer's key names, so that nobody speaks twice;
 * every file is read as hostile: no symbolic links, regular files of bounded size only. Stateless;
 * callers serialise writers.
 *
 * What makes an order's state, the first that fits:
 * - EXECUTING, ESCROW_PENDING or DONE: the journal has begun, whatever is said later
 * - EXPIRED: another charter is in force
 * - WITHDRAWN: the requester or an owner withdraws
 * - REJECTED: a member in a role of the quorum rejects (neither this nor a withdrawal expires)
 * - EXPIRED: its own time is over
 * - APPROVED: every role of the quorum approves, each by another member
 * - REQUESTED
 *
 * What signatures cannot show is that a statement was taken away: who deletes a rejection file
 * makes the order approvable again. The trail records statements; whoever executes compares with
 * it.
 */
#ifndef COFFER_CORE_ORDER_H
#define COFFER_CORE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/charter.h"
#include "core/diag.h"
#include "core/identity.h"

#define ORDER_NUMBER_MAX 31 /* "D-20261128-0001" */
#define ORDER_TEXT_MAX 1024 /* of a form field */
#define ORDER_STATEMENTS_MAX 64
#define ORDER_APPROVAL_LIFE (30 * 86400) /* seconds after which an approval no longer counts */
#define ORDER_CLOCK_SKEW 600             /* seconds by which a signer's clock may be ahead */
#define ORDER_INVENTORY_MAX (256u << 20)
/* Files in STORE/orders/NUMBER/. */
#define ORDER_FOLDER "orders"
#define ORDER_FILE_ORDER "order"
#define ORDER_FILE_INVENTORY "inventory"
#define ORDER_FILE_JOURNAL "state"
#define ORDER_FILE_CERTIFICATE "certificate"

enum order_decision { ORDER_APPROVE = 1, ORDER_REJECT = 2, ORDER_WITHDRAW = 3 };

struct order {
	char number[ORDER_NUMBER_MAX + 1];
	uint8_t volume_id[16];
	uint8_t charter[32];
	char action[32]; /* "destroy" */
	int64_t created, expires;
	uint8_t requester_pk[32];
	char requester[IDENTITY_NAME_MAX + 1];
	/* the form; what stays readable for ever */
	char description[ORDER_TEXT_MAX + 1];
	char reason[ORDER_TEXT_MAX + 1];
	char legal_basis[ORDER_TEXT_MAX + 1];
	char method[ORDER_TEXT_MAX + 1];
	char unit[ORDER_TEXT_MAX + 1];
	bool backups_kept;
	/* the inventory */
	uint64_t n_ids;
	uint64_t n_bytes;
	uint8_t inventory[32]; /* SHA-256 of the inventory file */
	uint8_t sealed[32];    /* volume_sealed_digest: over the sealed live records */
	uint8_t digest[32];    /* of this order's body; set by build and parse */
};

struct order_statement {
	enum order_decision decision;
	uint8_t signer_pk[32];
	char signer[IDENTITY_NAME_MAX + 1];
	enum charter_role role;
	int64_t created, expires; /* expires is 0 unless it approves */
	char opinion[ORDER_TEXT_MAX + 1];
	bool counts;       /* false: why_not names the file and says why it is ignored */
	char why_not[160]; /* what was not signed leaves signer, role and opinion empty */
};

enum order_state {
	ORDER_REQUESTED,
	ORDER_APPROVED,
	ORDER_REJECTED,
	ORDER_WITHDRAWN,
	ORDER_EXPIRED,
	ORDER_EXECUTING,
	ORDER_ESCROW_PENDING,
	ORDER_DONE,
};
const char *order_state_name(enum order_state s);

/* Body text, caller frees; sets o->digest. DIAG_NOTE_MALFORMED for a field outside the grammar. */
int order_build(struct order *o, char **ret_body, struct diag *d);
/* Parses and verifies the requester's signature against the key the order itself names; the charter
 * is the caller's check. */
int order_parse(const char *text, struct order *ret, struct diag *d);

/* An open folder STORE/orders/NUMBER, or -errno (-EINVAL when it is no number). The caller closes
 * it. */
int order_folder_open(int store_fd, const char *number);

/* Creates the folder and both files. The number must be free: -EEXIST (DIAG_EXISTS). text and
 * inventory must be o's. */
int order_store(int store_fd, const struct order *o, const char *text, const void *inventory,
		size_t inventory_len, struct diag *d);
/*
 * Loads order and inventory and checks the inventory's digest. ret_inventory may be NULL; caller
 * frees. DIAG_NOT_FOUND, DIAG_NOTE_MALFORMED, DIAG_NOTE_UNSIGNED (also for another inventory than
 * was signed).
 */
int order_load(int store_fd, const char *number, struct order *ret, uint8_t **ret_inventory,
	       size_t *ret_inventory_len, struct diag *d);
/* Numbers in order of creation; caller frees the array (NULL when there is none). */
int order_list(int store_fd, char (**ret)[ORDER_NUMBER_MAX + 1], size_t *ret_n);
/* A number for today that is free and above every number of today. -ENOSPC after 9999. */
int order_next_number(int store_fd, int64_t now, char ret[ORDER_NUMBER_MAX + 1]);

/*
 * A statement is made where its signer's key is, and stored where the order is: made by
 * order_statement_make, which touches no store and only signs; judged and stored by the other two,
 * which trust nothing but signatures.
 *
 * Make: *ret_text is the signed note, caller frees. An approval claims a role of missing (roles
 * still without an approval, from order_judge) when the member has one. Whether it counts is for
 * the judge to say: what a person may not say is signed all the same, and refused there.
 * opinion may be NULL; DIAG_NOTE_MALFORMED when it is no line of text.
 */
int order_statement_make(const struct charter *c, const struct order *o, const struct identity *id,
			 enum order_decision decision, const char *opinion, unsigned missing,
			 int64_t now, char **ret_text, struct diag *d);
/*
 * What a note says, by the signature of the key that it names; counts stays false.
 * DIAG_NOTE_MALFORMED, DIAG_NOTE_UNSIGNED, DIAG_VERSION.
 */
int order_statement_parse(const char *text, struct order_statement *ret, struct diag *d);
/*
 * Whether the note may be stored for o at time now. As order_statement_parse; DIAG_NOT_MEMBER,
 * DIAG_REQUESTER (approving one's own request), DIAG_ROLE; DIAG_ORDER_STATE when the order is open
 * no more, or the note is about something else, has expired, or is older than what the member said
 * last.
 */
int order_statement_check(int store_fd, const struct charter *c, const struct order *o,
			  const char *text, int64_t now, struct diag *d);
/* Checks the same, then writes the file durably; the member's earlier statement of the kind goes. */
int order_statement_store(int store_fd, const struct charter *c, const struct order *o,
			  const char *text, int64_t now, struct diag *d);
/* Make and store in one. */
int order_say(int store_fd, const struct charter *c, const struct order *o,
	      const struct identity *id, enum order_decision decision, const char *opinion,
	      int64_t now, struct diag *d);
/* "approve", "reject", "withdraw" */
const char *order_decision_name(enum order_decision decision);
/* Whether a file of that name in an order's folder is a statement's. */
bool order_statement_name(const char *file);
/*
 * Every statement file, judged against charter and order at time now. Malformed files count as
 * ignored. ret holds ORDER_STATEMENTS_MAX; those that count come first, and others are left out for
 * them.
 */
int order_statements(int store_fd, const struct charter *c, const struct order *o, int64_t now,
		     struct order_statement *ret, size_t *ret_n, struct diag *d);
/*
 * The state at time now from statements and the journal. missing (a roles mask) says which
 * approvals lack. An order made under another charter than the one in force is ORDER_EXPIRED unless
 * it has begun executing. DIAG_NOT_MEMBER when the requester is not in the charter, DIAG_QUORUM
 * when the charter has no quorum for the action, DIAG_ORDER_STATE for another volume's order,
 * DIAG_NOTE_UNSIGNED for a journal that the volume did not sign.
 */
int order_judge(int store_fd, const struct charter *c, const struct order *o, int64_t now,
		enum order_state *ret, unsigned *ret_missing, struct diag *d);

/*
 * The journal: step names done so far, one signed note replaced durably. No journal is no steps.
 * Caller frees *ret. DIAG_NOTE_UNSIGNED when it is edited, or another order's.
 */
int order_journal_get(int store_fd, const struct order *o, const uint8_t sign_pk[32],
		      char (**ret)[64], size_t *ret_n, struct diag *d);
/* Adds a step of at most 63 bytes unless it is there. sign_seed is the volume's. */
int order_journal_add(int store_fd, const struct order *o, const uint8_t sign_seed[32],
		      const char *step, struct diag *d);
/* Step names with a meaning to order_judge. */
#define ORDER_STEP_BEGIN "begin"
#define ORDER_STEP_PUNCTURED "punctured"
#define ORDER_STEP_VERIFIED "verified"
#define ORDER_STEP_ESCROWED "escrowed"
#define ORDER_STEP_CERTIFIED "certified"
#define ORDER_STEP_DONE "done" /* of orders that end no keys: carried out */

#endif
