/* What the parts of order share: statements as papers, and the scan over them. */
#ifndef COFFER_CORE_ORDER_INTERNAL_H
#define COFFER_CORE_ORDER_INTERNAL_H

#include "core/order.h"

#define ORDER_NOTE_MAX (64u << 10) /* of an order and of a statement */
#define ORDER_FILE_MODE 0644
#define ORDER_FOLDER_MODE 0755

bool order_number_valid(const char *s);

/* A statement as it was signed: what it is about, and what it says. */
struct order_paper {
	uint8_t volume_id[16];
	uint8_t charter[32];
	uint8_t digest[32]; /* of the order */
	char number[ORDER_NUMBER_MAX + 1];
	struct order_statement st;
};
int order_paper_build(const struct order_paper *p, char **ret_body);
/* Parses and verifies the signature of the key it names. -EUCLEAN, -EPROTONOSUPPORT, -EBADMSG. */
int order_paper_parse(const char *text, struct order_paper *ret);
/* NULL when it counts for this order at time now, else why not. */
const char *order_paper_why_not(const struct order_paper *p, const struct charter *c,
				const struct order *o, int64_t now);
/* "approve.KEYID" */
#define ORDER_PAPER_NAME_MAX 31
void order_paper_file(enum order_decision decision, const uint8_t signer_pk[32],
		      char out[ORDER_PAPER_NAME_MAX + 1]);

/* Calls fn for every statement file of the order, judged. Stateless; what fn is given lives until
 * it returns. */
typedef void (*order_scan_fn)(const struct order_statement *st, void *arg);
int order_scan(int dirfd, const struct charter *c, const struct order *o, int64_t now,
	       order_scan_fn fn, void *arg);

/* The member that a signing key and a name say, else NULL. */
const struct charter_member *order_member(const struct charter *c, const uint8_t pk[32],
					  const char *name);

#endif
