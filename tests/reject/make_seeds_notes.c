/* Notes of every type, and the text of an inventory, for make_seeds.c. */
#include "tests/reject/make_seeds.h"

#include "core/charter.h"
#include "core/order_internal.h"
#include "shred/certificate_internal.h"
#include "shred/inventory.h"
#include "tests/reject/known.h"

static void identity_seeds(void)
{
	CLEANUP_IDENTITY struct identity *ada = known_member(1);
	static const char thing[] = "coffer-thing/1\nkey: value\nempty: \nunicode: \xe9\x94\x81\n";
	CLEANUP_FREE char *card = NULL;
	char *text;

	seed_must(identity_export(ada, NULL, &text), "identity");
	seed_put_text("identity", "seed.ok", text);
	seed_must(identity_card_export(ada, &card), "card");
	seed_put_body("card", card);
	seed_put_text("note", "seed.ok", known_sign(thing, strlen(thing)));
}

static void charter_seed(uint8_t ret_digest[32])
{
	static const unsigned roles[] = {CHARTER_OWNER, CHARTER_SECURITY, CHARTER_OPERATOR,
					 CHARTER_AUDITOR};
	struct charter *c = calloc(1, sizeof(*c));
	char *body;

	memcpy(c->volume_id, known_volume_id, 16);
	identity_sign_pk_from_seed(known_seed, c->sign_pk);
	c->number = 1;
	c->created = KNOWN_TIME;
	for (uint8_t i = 0; i < 4; i++) {
		CLEANUP_IDENTITY struct identity *id = known_member(i + 1);

		c->members[c->n_members++] =
		    (struct charter_member){*identity_card(id), roles[i], i ? -1 : 1000};
	}
	strcpy(c->quorums[0].action, "destroy");
	c->quorums[0].roles = CHARTER_OWNER | CHARTER_SECURITY;
	strcpy(c->quorums[1].action, "charter");
	c->quorums[1].roles = CHARTER_OWNER | CHARTER_SECURITY;
	c->n_quorums = 2;
	seed_must(charter_build(c, &body, NULL), "charter");
	memcpy(ret_digest, c->digest, 32);
	seed_put_text("charter", "seed.ok", body);
	free(c);
}

static void order_seeds(const uint8_t charter[32])
{
	CLEANUP_IDENTITY struct identity *ada = known_member(1);
	struct order o = {.number = "D-20251128-0001",
			  .action = "destroy",
			  .created = KNOWN_TIME,
			  .expires = KNOWN_TIME + 86400,
			  .description = "parcels of 1998",
			  .reason = "retention is over",
			  .legal_basis = "archives act",
			  .method = "crypto erase",
			  .unit = "records office",
			  .n_ids = 3,
			  .n_bytes = 4096};
	struct order_paper p = {.number = "D-20251128-0001",
				.st = {.decision = ORDER_APPROVE,
				       .role = CHARTER_SECURITY,
				       .created = KNOWN_TIME,
				       .expires = KNOWN_TIME + 86400,
				       .opinion = "agreed"}};
	char *body;

	memcpy(o.volume_id, known_volume_id, 16);
	memcpy(o.charter, charter, 32);
	memcpy(o.requester_pk, identity_card(ada)->sign_pk, 32);
	strcpy(o.requester, identity_card(ada)->name);
	seed_must(order_build(&o, &body, NULL), "order");
	seed_put_text("order", "seed.ok", body);
	memcpy(p.volume_id, known_volume_id, 16);
	memcpy(p.charter, charter, 32);
	memcpy(p.digest, o.digest, 32);
	memcpy(p.st.signer_pk, identity_card(ada)->sign_pk, 32);
	strcpy(p.st.signer, identity_card(ada)->name);
	seed_must(order_paper_build(&p, &body), "statement");
	seed_put_text("statement", "seed.ok", body);
}

static void journal_seed(const uint8_t charter[32])
{
	struct bytes_w w = {0};
	char *body;
	uint8_t digest[32] = {6};

	note_begin(&w, "journal", 1);
	note_put_hex(&w, "volume", known_volume_id, 16);
	note_put_hex(&w, "charter", charter, 32);
	note_put(&w, "order", "D-20251128-0001");
	note_put_hex(&w, "order-digest", digest, 32);
	note_put(&w, "step", "quorum-at 1764320400");
	note_put(&w, "step", ORDER_STEP_BEGIN);
	seed_must(note_end(&w, &body), "journal");
	seed_put_text("journal", "seed.ok", body);
}

/* A value for a field of a certificate; readers look at its form only where they use it. */
static void certificate_value(struct bytes_w *w, const char *key)
{
	static const uint8_t zeros[32];

	if (!strcmp(key, "volume"))
		note_put_hex(w, key, known_volume_id, 16);
	else if (!strcmp(key, "charter") || !strcmp(key, "charter-first") ||
		 strstr(key, "digest") || strstr(key, "root"))
		note_put_hex(w, key, zeros, 32);
	else if (!strcmp(key, "requested") || !strcmp(key, "began") || !strcmp(key, "completed"))
		note_put_time(w, key, KNOWN_TIME);
	else if (!strcmp(key, "number"))
		note_put(w, key, "D-20251128-0001");
	else
		note_put(w, key, "1");
}

static void certificate_seed(void)
{
	struct bytes_w w = {0};
	char *body;

	note_begin(&w, CERTIFICATE_TYPE, CERTIFICATE_VERSION);
	for (size_t i = 0; i < certificate_n_fields; i++)
		certificate_value(&w, certificate_fields[i].key);
	seed_must(note_end(&w, &body), "certificate");
	seed_put_text("certificate", "seed.ok", body);
}

static void announcement_seed(void)
{
	struct bytes_w w = {0};
	char *body;

	note_begin(&w, "announcement", 1);
	note_put_hex(&w, "volume", known_volume_id, 16);
	note_put(&w, "order", "D-20251128-0001");
	note_put(&w, "trees", "live backup");
	note_put(&w, "range", "20-29");
	note_put(&w, "range", "40-40");
	seed_must(note_end(&w, &body), "announcement");
	seed_put_text("announcement", "seed.ok", body);
}

static void inventory_seed(void)
{
	struct inventory_item items[] = {
	    {20, INVENTORY_TARGET | INVENTORY_PRESENT | INVENTORY_DIR, 0},
	    {21, INVENTORY_PRESENT, 4096},
	    {22, INVENTORY_HISTORY | INVENTORY_MOVED | INVENTORY_KEPT, 10}};
	const struct inventory inv = {.items = items,
				      .n_items = 3,
				      .n_destroy = 2,
				      .n_kept = 1,
				      .n_bytes = 4096,
				      .destroy_linked = true,
				      .sealed = {3}};
	char *text;
	size_t len;

	seed_must(inventory_encode(&inv, &text, &len), "inventory");
	seed_put_text("inventory", "seed.ok", text);
}

void seed_notes(void)
{
	uint8_t charter[32];

	identity_seeds();
	charter_seed(charter);
	order_seeds(charter);
	journal_seed(charter);
	certificate_seed();
	announcement_seed();
	inventory_seed();
}
