/*
 * Cards: the public half of an identity as a note that proves both keys.
 *
 * Two signatures: by the signing key, and by the Ed25519 form of the sealing key ("seal-proof"),
 * whose X25519 form the reader computes and compares. So nobody can put another person's sealing
 * key on a card of his own.
 */
#include "core/identity.h"
#include "core/identity_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/bytes.h"
#include "core/kdf.h"
#include "core/note.h"
#include "core/note_internal.h"

#define CARD_TYPE "card"
#define CARD_VERSION 1
#define CARD_TEXT_MAX (64u << 10)

static int card_body(const struct identity_card *card, const uint8_t proof_pk[IDENTITY_KEY_LEN],
		     char **ret_body)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	note_begin(&w, CARD_TYPE, CARD_VERSION);
	note_put(&w, "name", card->name);
	note_put(&w, "number", card->number);
	note_put_hex(&w, "sign-key", card->sign_pk, IDENTITY_KEY_LEN);
	note_put_hex(&w, "seal-key", card->seal_pk, IDENTITY_KEY_LEN);
	note_put_hex(&w, "seal-proof", proof_pk, IDENTITY_KEY_LEN);
	return note_end(&w, ret_body);
}

int identity_card_export(const struct identity *id, char **ret)
{
	CLEANUP_FREE char *body = NULL, *text = NULL;
	char name[NOTE_KEY_NAME_MAX + 1];
	int r;

	r = card_body(&id->card, id->proof_pk, &body);
	if (r == 0)
		r = note_sign(body, id, &text);
	if (r < 0)
		return r;
	note_member_key_name(id->proof_pk, name);
	return note_cosign_seed(text, name, identity_keys(id)->seeds + IDENTITY_SEED_LEN, ret);
}

static int get_name(const struct note *n, const char *key, char out[IDENTITY_NAME_MAX + 1])
{
	const char *v = note_get(n, key);

	if (!v || !identity_name_valid(v))
		return -EUCLEAN;
	strcpy(out, v);
	return 0;
}

static int card_parse(const char *text, struct identity_card *card,
		      uint8_t proof_pk[IDENTITY_KEY_LEN])
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_FREE char *again = NULL;
	int r;

	r = note_parse(text, &n);
	if (r < 0)
		return r;
	if (strcmp(n.type, CARD_TYPE) != 0)
		return -EUCLEAN;
	if (n.version != CARD_VERSION)
		return -EPROTONOSUPPORT;
	if (get_name(&n, "name", card->name) < 0 || get_name(&n, "number", card->number) < 0 ||
	    note_get_hex(&n, "sign-key", card->sign_pk, IDENTITY_KEY_LEN) < 0 ||
	    note_get_hex(&n, "seal-key", card->seal_pk, IDENTITY_KEY_LEN) < 0 ||
	    note_get_hex(&n, "seal-proof", proof_pk, IDENTITY_KEY_LEN) < 0)
		return -EUCLEAN;
	r = card_body(card, proof_pk, &again);
	if (r < 0)
		return r;
	return note_body_is(text, again) ? 0 : -EUCLEAN;
}

static int card_verify(const char *text, const struct identity_card *card,
		       const uint8_t proof_pk[IDENTITY_KEY_LEN])
{
	char sign_name[NOTE_KEY_NAME_MAX + 1], proof_name[NOTE_KEY_NAME_MAX + 1];
	uint8_t seal_pk[IDENTITY_KEY_LEN];

	note_member_key_name(card->sign_pk, sign_name);
	note_member_key_name(proof_pk, proof_name);
	if (kdf_equal(card->sign_pk, proof_pk, IDENTITY_KEY_LEN) ||
	    identity_seal_pk_of(proof_pk, seal_pk) < 0 ||
	    !kdf_equal(seal_pk, card->seal_pk, IDENTITY_KEY_LEN))
		return -EBADMSG;
	if (note_verify(text, sign_name, card->sign_pk) < 0)
		return -EBADMSG;
	return note_verify(text, proof_name, proof_pk) < 0 ? -EBADMSG : 0;
}

int identity_card_import(const char *text, const char *object, struct identity_card *ret,
			 struct diag *d)
{
	struct identity_card card = {0};
	uint8_t proof_pk[IDENTITY_KEY_LEN];
	int r;

	r = card_parse(text, &card, proof_pk);
	if (r == -EPROTONOSUPPORT)
		return diag_fail(d, DIAG_VERSION, r, "card %s", object);
	if (r == -ENOMEM)
		return diag_fail_errno(d, r, "card %s", object);
	if (r < 0)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "card %s", object);
	if (card_verify(text, &card, proof_pk) < 0)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG, "card %s", object);
	*ret = card;
	return 0;
}

int identity_card_load(const char *path, struct identity_card *ret, struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int r = fd < 0 ? -errno : note_fd_read_text(fd, CARD_TEXT_MAX, &text);

	if (r == -EUCLEAN)
		return diag_fail(d, DIAG_NOTE_MALFORMED, r, "card %s", path);
	if (r < 0)
		return diag_fail_errno(d, r, "card %s", path);
	return identity_card_import(text, path, ret, d);
}
