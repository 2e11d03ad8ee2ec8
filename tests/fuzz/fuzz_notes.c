/*
 * Every type of note: card, identity file, charter, order, statement, journal, manifest,
 * announcement, certificate, drill, verification. Input: a body, which is signed here by the volume
 * and by a member, so that only its content can be wrong.
 */
#include "core/order_journal.c"

#include "backup/proof.h"
#include "backup/set.h"
#include "core/charter.h"
#include "shred/certificate.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_announcement.h"
#include "tests/reject/known.h"

static void card(const char *note)
{
	struct identity_card c;
	int r = identity_card_import(note, "fuzz", &c, NULL);

	FUZZ_CHECK(r == 0 || fuzz_refusal(r));
	FUZZ_CHECK(r < 0 || (identity_name_valid(c.name) && identity_name_valid(c.number)));
}

/* Not signed: its box is what authenticates it. */
static void identity(const char *body)
{
	struct identity *id = NULL;
	int r = identity_import(body, NULL, "fuzz", &id, NULL);

	FUZZ_CHECK(r == 0 || r == -ENOKEY || fuzz_refusal(r));
	FUZZ_CHECK((r == 0) == (id != NULL));
	identity_free(id);
}

static void charter(const char *note)
{
	struct charter *c = NULL;
	CLEANUP_FREE char *again = NULL;
	int r = charter_parse(note, &c, NULL);

	FUZZ_CHECK(r == 0 || r == -EINVAL || fuzz_refusal(r));
	if (r == 0)
		FUZZ_CHECK(charter_build(c, &again, NULL) == 0 && note_body_is(note, again));
	free(c);
}

static void order(const char *note)
{
	static struct order o;
	CLEANUP_FREE char *again = NULL;
	int r = order_parse(note, &o, NULL);

	FUZZ_CHECK(r == 0 || fuzz_refusal(r));
	if (r == 0)
		FUZZ_CHECK(order_build(&o, &again, NULL) == 0 && note_body_is(note, again));
}

static void statement(const char *note)
{
	static struct order_paper p;
	int r = order_paper_parse(note, &p);

	FUZZ_CHECK(r == 0 || fuzz_refusal(r));
}

static void journal(const char *note)
{
	struct order o = {.number = "D-20251128-0001", .digest = {6}};
	struct note n = {0};
	char(*steps)[STEP_MAX + 1] = NULL;
	size_t n_steps;

	memcpy(o.volume_id, known_volume_id, 16);
	/* Whatever charter it names is this order's. */
	if (note_parse(note, &n) == 0)
		note_get_hex(&n, "charter", o.charter, 32);
	note_free(&n);
	int r = journal_parse(note, &o, &steps, &n_steps);
	FUZZ_CHECK(r == 0 || r == -EINVAL || fuzz_refusal(r));
	FUZZ_CHECK((r == 0) == (steps != NULL));
	free(steps);
}

static void manifest(const char *note)
{
	struct set_manifest m;
	CLEANUP_FREE char *again = NULL;
	int r = set_manifest_parse(note, known_volume_id, known_pk(), &m);

	FUZZ_CHECK(r == 0 || fuzz_refusal(r));
	FUZZ_CHECK(r < 0 || set_manifest_build(&m, known_seed, &again) == 0);
	if (r == 0)
		set_manifest_free(&m);
}

static void proof(const char *note, enum proof_kind kind)
{
	struct proof p;
	CLEANUP_FREE char *again = NULL;
	int r = proof_parse(note, kind, known_volume_id, known_pk(), &p);

	FUZZ_CHECK(r == 0 || fuzz_refusal(r));
	FUZZ_CHECK(r < 0 || (proof_build(&p, known_volume_id, known_seed, &again) == 0 &&
			     proof_parse(again, kind, known_volume_id, known_pk(), &p) == 0));
}

static void drill(const char *note)
{
	proof(note, PROOF_DRILL);
}

static void verification(const char *note)
{
	proof(note, PROOF_VERIFY);
}

static void certificate(const char *note)
{
	CLEANUP_FREE char *text = NULL, *html = NULL;
	int r = certificate_check(note, known_volume_id, known_pk(), NULL, NULL);

	FUZZ_CHECK(r == 0 || fuzz_refusal(r));
	if (r == 0)
		FUZZ_CHECK(certificate_text(note, &text, NULL) == 0 &&
			   certificate_html(note, &html, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct {
		const char *begins;
		void (*parse)(const char *note);
	} types[] = {{"coffer-card/", card},
		     {"coffer-charter/", charter},
		     {"coffer-order/", order},
		     {"coffer-statement/", statement},
		     {"coffer-journal/", journal},
		     {"coffer-manifest/", manifest},
		     {"coffer-certificate/", certificate},
		     {"coffer-drill/", drill},
		     {"coffer-verify/", verification},
		     {"coffer-announcement/", fuzz_announcement}};
	CLEANUP_FREE char *body = fuzz_text(data, size);

	if (!body || size < 2)
		return 0;
	if (strncmp(body, "coffer-identity/", 16) == 0)
		identity(body);
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (strncmp(body, types[i].begins, strlen(types[i].begins)) == 0) {
			CLEANUP_FREE char *note = known_sign(body, size);
			types[i].parse(note);
		}
	}
	return 0;
}
