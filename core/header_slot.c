/*
 * Slots: how a passphrase, a member's identity or a key file wraps the volume key.
 *
 * Passphrase and key file give a key-encrypting key KEK. wrapped = commitment (24) || box of VK
 * (72): the commitment settles which KEK made the slot, so that no box can be crafted to open under
 * two. An identity slot is a sealed box of VK and volume id; its sealing key stands beside it.
 * Whatever opens is checked against the header's commitment to VK. Format: docs/format.md "Slots".
 */
#include "core/header.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/kdf.h"
#include "core/suite.h"

#define VK_LEN KDF_KEY_LEN
#define COMMIT_LEN 24
#define WRAPPED_LEN (COMMIT_LEN + VK_LEN + SUITE_BOX_OVERHEAD)
#define SEALED_LEN (VK_LEN + HEADER_ID_LEN + IDENTITY_SEAL_OVERHEAD)
#define KEYFILE_MIN 32
#define KEYFILE_MAX (64u << 10)
#define PASS_MIN 12
#define PASS_OPS 3
#define PASS_MEM (256u << 20)
#define SLOT_AD "coffer-slot"
#define SLOT_AD_LEN (11 + HEADER_ID_LEN + 1 + 16 + 8 + 8)

static_assert(WRAPPED_LEN <= sizeof(((struct header_slot *)0)->wrapped), "wrapped");
static_assert(SEALED_LEN <= sizeof(((struct header_slot *)0)->wrapped), "sealed");

/* --- wrapping --- */

static void slot_ad(const struct header *h, const struct header_slot *s, uint8_t ad[SLOT_AD_LEN])
{
	uint8_t *p = mempcpy(ad, SLOT_AD, 11);

	p = mempcpy(p, h->volume_id, HEADER_ID_LEN);
	*p++ = s->kind;
	p = mempcpy(p, s->salt, sizeof(s->salt));
	bytes_put64(p, s->ops);
	bytes_put64(p + 8, s->mem);
}

/* Salt and volume id key the hash of the content, so that one key file serves several volumes. */
static int kek_from_keyfile(const struct header *h, const struct header_slot *s,
			    struct secret *content, uint8_t kek[KDF_KEY_LEN])
{
	uint8_t salt[KDF_KEY_LEN];

	if (secret_len(content) < KEYFILE_MIN || secret_len(content) > KEYFILE_MAX)
		return -EINVAL;
	memcpy(salt, s->salt, sizeof(s->salt));
	memcpy(salt + sizeof(s->salt), h->volume_id, HEADER_ID_LEN);
	kdf_derive(kek, salt, "coffer key file 1", secret_bytes(content), secret_len(content));
	return 0;
}

static int slot_kek(const struct header *h, const struct header_slot *s,
		    const struct header_unlock *with, uint8_t kek[KDF_KEY_LEN])
{
	if (s->kind == HEADER_SLOT_KEYFILE)
		return kek_from_keyfile(h, s, with->keyfile, kek);
	return kdf_passphrase(kek, secret_bytes(with->passphrase), secret_len(with->passphrase),
			      s->salt, s->ops, s->mem);
}

static void slot_commit(const uint8_t kek[KDF_KEY_LEN], const uint8_t ad[SLOT_AD_LEN],
			uint8_t ret[COMMIT_LEN])
{
	uint8_t full[KDF_KEY_LEN];

	kdf_derive(full, kek, "coffer slot commit 1", ad, SLOT_AD_LEN);
	memcpy(ret, full, COMMIT_LEN);
}

static const struct suite *slot_suite(void)
{
	return suite_by_id(SUITE_XCHACHA20POLY1305);
}

static int slot_wrap(const struct header *h, struct header_slot *s, const uint8_t vk[VK_LEN],
		     const struct header_unlock *with)
{
	uint8_t kek[KDF_KEY_LEN], key[KDF_KEY_LEN], ad[SLOT_AD_LEN];
	int r = slot_kek(h, s, with, kek);

	if (r < 0)
		return r;
	slot_ad(h, s, ad);
	slot_commit(kek, ad, s->wrapped);
	kdf_derive(key, kek, "coffer slot wrap 1", NULL, 0);
	suite_seal(slot_suite(), key, ad, sizeof(ad), vk, VK_LEN, s->wrapped + COMMIT_LEN);
	s->wrapped_len = WRAPPED_LEN;
	secret_wipe(kek, sizeof(kek));
	secret_wipe(key, sizeof(key));
	return 0;
}

/* 0, -EBADMSG when it is not this slot's secret. */
static int slot_unwrap(const struct header *h, const struct header_slot *s,
		       const struct header_unlock *with, uint8_t vk[VK_LEN])
{
	uint8_t kek[KDF_KEY_LEN], key[KDF_KEY_LEN], ad[SLOT_AD_LEN], commit[COMMIT_LEN];
	int r;

	if (s->wrapped_len != WRAPPED_LEN)
		return -EBADMSG;
	r = slot_kek(h, s, with, kek);
	if (r < 0)
		return r;
	slot_ad(h, s, ad);
	slot_commit(kek, ad, commit);
	kdf_derive(key, kek, "coffer slot wrap 1", NULL, 0);
	r = -EBADMSG;
	if (kdf_equal(commit, s->wrapped, COMMIT_LEN))
		r = suite_open(slot_suite(), key, ad, sizeof(ad), s->wrapped + COMMIT_LEN,
			       WRAPPED_LEN - COMMIT_LEN, vk);
	secret_wipe(kek, sizeof(kek));
	secret_wipe(key, sizeof(key));
	return r;
}

static int slot_seal(const struct header *h, struct header_slot *s, const uint8_t vk[VK_LEN],
		     const uint8_t *seal_pk)
{
	uint8_t msg[VK_LEN + HEADER_ID_LEN];
	int r;

	memcpy(msg, vk, VK_LEN);
	memcpy(msg + VK_LEN, h->volume_id, HEADER_ID_LEN);
	r = identity_seal(seal_pk, msg, sizeof(msg), s->wrapped);
	secret_wipe(msg, sizeof(msg));
	if (r < 0)
		return r;
	memcpy(s->seal_pk, seal_pk, sizeof(s->seal_pk));
	s->wrapped_len = SEALED_LEN;
	return 0;
}

static int slot_unseal(const struct header *h, const struct header_slot *s,
		       const struct identity *id, uint8_t vk[VK_LEN])
{
	uint8_t msg[VK_LEN + HEADER_ID_LEN];
	int r;

	if (s->wrapped_len != SEALED_LEN ||
	    memcmp(s->seal_pk, identity_card(id)->seal_pk, sizeof(s->seal_pk)) != 0)
		return -EBADMSG;
	r = identity_unseal(id, s->wrapped, SEALED_LEN, msg);
	if (r == 0 && memcmp(msg + VK_LEN, h->volume_id, HEADER_ID_LEN) != 0)
		r = -EBADMSG;
	if (r == 0)
		memcpy(vk, msg, VK_LEN);
	secret_wipe(msg, sizeof(msg));
	return r;
}

/* --- adding and removing --- */

static struct header_slot *slot_find(struct header *h, const char *label)
{
	for (size_t i = 0; i < h->n_slots; i++) {
		if (!strcmp(h->slots[i].label, label))
			return &h->slots[i];
	}
	return NULL;
}

int header_passphrase_rules(const struct header *h, struct secret *pass, struct diag *d)
{
	const uint8_t *p = secret_bytes(pass);
	size_t len = secret_len(pass), same = 1;

	if (len < PASS_MIN)
		return diag_fail(d, DIAG_PASS_WEAK, -EINVAL, "fewer than %d bytes", PASS_MIN);
	while (same < len && p[same] == p[0])
		same++;
	if (same == len)
		return diag_fail(d, DIAG_PASS_WEAK, -EINVAL, "one character, repeated");
	if (len == strlen(h->name) && !memcmp(p, h->name, len))
		return diag_fail(d, DIAG_PASS_WEAK, -EINVAL, "the name of the volume");
	return 0;
}

/* Fills in a new slot of the kind that the caller's secret asks for. */
static int slot_fill(const struct header *h, struct header_slot *s, const uint8_t vk[VK_LEN],
		     const struct header_unlock *with, const uint8_t *seal_pk, bool cheap)
{
	if (!seal_pk && with->identity)
		seal_pk = identity_card(with->identity)->seal_pk;
	if (seal_pk) {
		s->kind = HEADER_SLOT_IDENTITY;
		return slot_seal(h, s, vk, seal_pk);
	}
	kdf_random(s->salt, sizeof(s->salt));
	if (with->keyfile) {
		s->kind = HEADER_SLOT_KEYFILE;
	} else {
		s->kind = HEADER_SLOT_PASSPHRASE;
		s->ops = cheap ? KDF_PASS_OPS_MIN : PASS_OPS;
		s->mem = cheap ? KDF_PASS_MEM_MIN : PASS_MEM;
	}
	return slot_wrap(h, s, vk, with);
}

int header_slot_add(struct header *h, const uint8_t vk[32], const char *label,
		    const struct header_unlock *with, const uint8_t *seal_pk, bool cheap,
		    struct diag *d)
{
	struct header_slot s = {0};
	int r;

	if (!identity_name_valid(label))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "slot label");
	if (slot_find(h, label))
		return diag_fail(d, DIAG_EXISTS, -EEXIST, "slot %s", label);
	if (h->n_slots == HEADER_SLOTS_MAX)
		return diag_fail(d, DIAG_USAGE, -ENOSPC, "slot %s: all %d slots are taken", label,
				 HEADER_SLOTS_MAX);
	if (!seal_pk && (!with || (!with->passphrase && !with->identity && !with->keyfile)))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "slot %s: no secret", label);
	if (!seal_pk && with->passphrase) {
		r = header_passphrase_rules(h, with->passphrase, d);
		if (r < 0)
			return r;
	}
	r = slot_fill(h, &s, vk, with, seal_pk, cheap);
	if (r < 0)
		return diag_fail_errno(d, r, "slot %s", label);
	strcpy(s.label, label);
	h->slots[h->n_slots++] = s;
	return 0;
}

int header_slot_remove(struct header *h, const char *label, struct diag *d)
{
	struct header_slot *s = slot_find(h, label);

	if (!s)
		return diag_fail(d, DIAG_NOT_FOUND, -ENOENT, "slot %s", label);
	if (h->n_slots == 1)
		return diag_fail(d, DIAG_USAGE, -EBUSY, "slot %s is the last one", label);
	/* Order carries no meaning; the last one fills the gap. */
	*s = h->slots[--h->n_slots];
	memset(&h->slots[h->n_slots], 0, sizeof(*s));
	return 0;
}

/* --- unlocking --- */

static bool slot_fits(const struct header_slot *s, const struct header_unlock *with)
{
	switch (s->kind) {
	case HEADER_SLOT_PASSPHRASE:
		return with->passphrase != NULL;
	case HEADER_SLOT_IDENTITY:
		return with->identity != NULL;
	default:
		return with->keyfile != NULL;
	}
}

/* The commitment is the last word: a slot that opens to another key is not this volume's. */
static int slot_try(const struct header *h, const struct header_slot *s,
		    const struct header_unlock *with, uint8_t vk[VK_LEN])
{
	uint8_t commit[32];
	int r;

	if (s->kind == HEADER_SLOT_IDENTITY)
		r = slot_unseal(h, s, with->identity, vk);
	else
		r = slot_unwrap(h, s, with, vk);
	if (r < 0)
		return r;
	header_vk_commit(vk, commit);
	return kdf_equal(commit, h->vk_commit, sizeof(commit)) ? 0 : -EBADMSG;
}

int header_unlock(const struct header *h, const struct header_unlock *with, struct secret **ret_vk,
		  const char **ret_label, struct diag *d)
{
	CLEANUP_SECRET struct secret *vk = secret_new(VK_LEN);
	int trouble = 0;

	if (!vk)
		return diag_fail_errno(d, -ENOMEM, "guarded memory");
	for (size_t i = 0; i < h->n_slots; i++) {
		int r;

		if (!slot_fits(&h->slots[i], with))
			continue;
		r = slot_try(h, &h->slots[i], with, secret_bytes(vk));
		if (r == 0) {
			*ret_label = h->slots[i].label;
			*ret_vk = STEAL_PTR(vk);
			return 0;
		}
		if (r != -EBADMSG && r != -EINVAL)
			trouble = r;
	}
	/* Not knowing is not the same as being wrong: Argon2 may lack memory. */
	if (trouble)
		return diag_fail_errno(d, trouble, "slots of %s", h->name);
	return diag_fail(d, DIAG_WRONG_SECRET, -ENOKEY, "%s", h->name);
}

/* --- a new volume key --- */

/* The secret that opens the slot; -ENOKEY, or what kept Argon2 from telling. */
static int secret_find(const struct header *h, const struct header_slot *s,
		       const struct header_unlock *secrets, size_t n, size_t *ret)
{
	CLEANUP_SECRET struct secret *vk = secret_new(VK_LEN);

	if (!vk)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int r;

		if (!slot_fits(s, &secrets[i]))
			continue;
		r = slot_try(h, s, &secrets[i], secret_bytes(vk));
		if (r == 0) {
			*ret = i;
			return 0;
		}
		if (r != -EBADMSG && r != -EINVAL)
			return r;
	}
	return -ENOKEY;
}

static int slot_rekey(const struct header *h, const struct header_slot *s, const uint8_t vk[VK_LEN],
		      const struct header_unlock *secrets, size_t n, struct header_slot *ret)
{
	struct header_slot next = {.kind = s->kind, .ops = s->ops, .mem = s->mem};
	size_t i;
	int r;

	strcpy(next.label, s->label);
	if (s->kind == HEADER_SLOT_IDENTITY) {
		r = slot_seal(h, &next, vk, s->seal_pk);
	} else {
		r = secret_find(h, s, secrets, n, &i);
		kdf_random(next.salt, sizeof(next.salt));
		if (r == 0)
			r = slot_wrap(h, &next, vk, &secrets[i]);
	}
	if (r == 0)
		*ret = next;
	return r;
}

int header_rekey(const struct header *h, const uint8_t vk[32], const struct header_unlock *secrets,
		 size_t n_secrets, bool keep[HEADER_SLOTS_MAX], struct header *ret, struct diag *d)
{
	CLEANUP_FREE struct header *next = malloc(sizeof(*next));

	if (!next)
		return diag_fail_errno(d, -ENOMEM, "header of %s", h->name);
	*next = *h;
	memset(next->slots, 0, sizeof(next->slots));
	next->n_slots = 0;
	header_vk_commit(vk, next->vk_commit);
	for (size_t i = 0; i < h->n_slots; i++) {
		int r = keep[i] ? slot_rekey(h, &h->slots[i], vk, secrets, n_secrets,
					     &next->slots[next->n_slots])
				: -ENOKEY;

		if (r < 0 && r != -ENOKEY)
			return diag_fail_errno(d, r, "slot %s", h->slots[i].label);
		keep[i] = r == 0;
		next->n_slots += keep[i];
	}
	if (next->n_slots == 0)
		return diag_fail(d, DIAG_USAGE, -EBUSY, "%s: no slot would be left", h->name);
	*ret = *next;
	return 0;
}
