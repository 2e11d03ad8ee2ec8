/*
 * The header file: encoding, signature, and its two copies.
 *
 * Nothing in it is believed before the signature verifies, and the signing key itself only once the
 * key state has proved it (keyring). STORE/header is written first: a store whose header stands is
 * complete, and the other copy is put right at the next opening.
 */
#include "core/header.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/durable.h"
#include "core/kdf.h"

#define HEADER_MAGIC "COFFERHD"
#define HEADER_MAGIC_LEN 8
#define HEADER_FILE_MAX (64u << 10)
#define HEADER_FILE "header"
#define HEADER_BACKUP "header.bak"
#define HEADER_MODE 0644

void header_vk_commit(const uint8_t vk[32], uint8_t ret[32])
{
	kdf_derive(ret, vk, "coffer vk commit 1", NULL, 0);
}

/* --- encoding --- */

static void slot_encode(struct bytes_w *w, const struct header_slot *s)
{
	bytes_w_u8(w, s->kind);
	bytes_w_blob(w, s->label, strlen(s->label));
	bytes_w_raw(w, s->salt, sizeof(s->salt));
	bytes_w_u64(w, s->ops);
	bytes_w_u64(w, s->mem);
	bytes_w_raw(w, s->seal_pk, sizeof(s->seal_pk));
	bytes_w_blob(w, s->wrapped, s->wrapped_len);
}

static int header_encode(struct bytes_w *w, const struct header *h, const uint8_t sign_seed[32])
{
	uint8_t sig[IDENTITY_SIG_LEN];

	bytes_w_raw(w, HEADER_MAGIC, HEADER_MAGIC_LEN);
	bytes_w_u16(w, HEADER_VERSION);
	bytes_w_raw(w, h->volume_id, sizeof(h->volume_id));
	bytes_w_u8(w, h->suite);
	bytes_w_u64(w, (uint64_t)h->created);
	bytes_w_raw(w, h->vk_commit, sizeof(h->vk_commit));
	bytes_w_raw(w, h->sign_pk, sizeof(h->sign_pk));
	bytes_w_raw(w, h->charter_first, sizeof(h->charter_first));
	bytes_w_blob(w, h->name, strlen(h->name));
	bytes_w_blob(w, h->anchor, strlen(h->anchor));
	bytes_w_u8(w, (uint8_t)h->n_slots);
	for (size_t i = 0; i < h->n_slots; i++)
		slot_encode(w, &h->slots[i]);
	if (w->err)
		return w->err;
	identity_sign_with_seed(sign_seed, w->buf, w->len, sig);
	bytes_w_raw(w, sig, sizeof(sig));
	return w->err;
}

/* A blob as a C string of at most max bytes, without NUL in it. */
static void text_decode(struct bytes_r *r, char *out, size_t max)
{
	size_t len;
	const uint8_t *p = bytes_r_blob(r, max, &len);

	if (!p || memchr(p, '\0', len)) {
		bytes_r_fail(r);
		return;
	}
	memcpy(out, p, len);
	out[len] = '\0';
}

/* What a slot of each kind must look like, so that unlocking need not ask again. */
static bool slot_valid(const struct header_slot *s)
{
	if (!identity_name_valid(s->label) || s->wrapped_len == 0)
		return false;
	switch (s->kind) {
	case HEADER_SLOT_PASSPHRASE:
		return s->ops >= KDF_PASS_OPS_MIN && s->ops <= KDF_PASS_OPS_MAX &&
		       s->mem >= KDF_PASS_MEM_MIN && s->mem <= KDF_PASS_MEM_MAX;
	case HEADER_SLOT_IDENTITY:
	case HEADER_SLOT_KEYFILE:
		return true;
	default:
		return false;
	}
}

static void slot_decode(struct bytes_r *r, struct header_slot *s)
{
	const uint8_t *wrapped;
	size_t len;

	s->kind = bytes_r_u8(r);
	text_decode(r, s->label, HEADER_NAME_MAX);
	bytes_r_copy(r, s->salt, sizeof(s->salt));
	s->ops = bytes_r_u64(r);
	s->mem = bytes_r_u64(r);
	bytes_r_copy(r, s->seal_pk, sizeof(s->seal_pk));
	wrapped = bytes_r_blob(r, sizeof(s->wrapped), &len);
	if (!wrapped)
		return;
	memcpy(s->wrapped, wrapped, len);
	s->wrapped_len = (uint8_t)len;
	if (!slot_valid(s))
		bytes_r_fail(r);
}

static void header_decode_fields(struct bytes_r *r, struct header *h)
{
	bytes_r_copy(r, h->volume_id, sizeof(h->volume_id));
	h->suite = bytes_r_u8(r);
	h->created = (int64_t)bytes_r_u64(r);
	bytes_r_copy(r, h->vk_commit, sizeof(h->vk_commit));
	bytes_r_copy(r, h->sign_pk, sizeof(h->sign_pk));
	bytes_r_copy(r, h->charter_first, sizeof(h->charter_first));
	text_decode(r, h->name, HEADER_NAME_MAX);
	text_decode(r, h->anchor, HEADER_PATH_MAX);
	h->n_slots = bytes_r_u8(r);
	if (h->n_slots > HEADER_SLOTS_MAX)
		bytes_r_fail(r);
	for (size_t i = 0; !r->err && i < h->n_slots; i++)
		slot_decode(r, &h->slots[i]);
	if (!identity_name_valid(h->name) || h->anchor[0] != '/')
		bytes_r_fail(r);
}

/* -EUCLEAN malformed, -EPROTONOSUPPORT newer, -EBADMSG unsigned. */
static int header_decode(const uint8_t *buf, size_t len, struct header *h)
{
	size_t body = len - IDENTITY_SIG_LEN;
	struct bytes_r r;
	uint16_t version;

	if (len < HEADER_MAGIC_LEN + 2 + IDENTITY_SIG_LEN ||
	    memcmp(buf, HEADER_MAGIC, HEADER_MAGIC_LEN) != 0)
		return -EUCLEAN;
	r = bytes_r_init(buf + HEADER_MAGIC_LEN, body - HEADER_MAGIC_LEN);
	version = bytes_r_u16(&r);
	if (version != HEADER_VERSION)
		return version > HEADER_VERSION ? -EPROTONOSUPPORT : -EUCLEAN;
	header_decode_fields(&r, h);
	if (bytes_r_done(&r) < 0)
		return -EUCLEAN;
	return identity_verify(h->sign_pk, buf, body, buf + body);
}

/* --- files --- */

static int copy_write(int store_fd, const char *name, const struct bytes_w *w, struct diag *d)
{
	int r = durable_replace(store_fd, name, w->buf, w->len, HEADER_MODE);

	return r < 0 ? diag_fail_errno(d, r, "%s", name) : 0;
}

int header_write(int store_fd, const struct header *h, const uint8_t sign_seed[32], struct diag *d)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	int r = header_encode(&w, h, sign_seed);

	if (r < 0)
		return diag_fail_errno(d, r, "%s", HEADER_FILE);
	r = copy_write(store_fd, HEADER_FILE, &w, d);
	return r < 0 ? r : copy_write(store_fd, HEADER_BACKUP, &w, d);
}

int header_commit(int store_fd, const struct header *h, const uint8_t sign_seed[32], struct diag *d)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	int r = header_encode(&w, h, sign_seed);

	if (r < 0)
		return diag_fail_errno(d, r, "%s", HEADER_FILE);
	return copy_write(store_fd, HEADER_FILE, &w, d);
}

static bool copy_holds(int store_fd, const char *name, const struct bytes_w *w)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;

	return durable_read(store_fd, name, HEADER_FILE_MAX, &buf, &len) == 0 && len == w->len &&
	       memcmp(buf, w->buf, len) == 0;
}

int header_repair(int store_fd, const struct header *h, const uint8_t sign_seed[32], struct diag *d)
{
	static const char *const names[] = {HEADER_FILE, HEADER_BACKUP};
	CLEANUP_BYTES struct bytes_w w = {0};
	/* Ed25519 is deterministic, so an intact copy holds exactly these bytes. */
	int r = header_encode(&w, h, sign_seed);

	if (r < 0)
		return diag_fail_errno(d, r, "%s", HEADER_FILE);
	for (size_t i = 0; i < 2 && r == 0; i++) {
		if (!copy_holds(store_fd, names[i], &w))
			r = copy_write(store_fd, names[i], &w, d);
	}
	return r;
}

static int copy_read(int store_fd, const char *name, struct header *h)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;
	int r = durable_read(store_fd, name, HEADER_FILE_MAX, &buf, &len);

	memset(h, 0, sizeof(*h));
	return r < 0 ? r : header_decode(buf, len, h);
}

/* Neither copy will do: what to say about it. */
static int header_complain(const char *object, int first, int backup, struct diag *d)
{
	if (first == -ENOENT && backup == -ENOENT)
		return diag_fail(d, DIAG_NO_VOLUME, -ENOENT, "%s", object);
	if (first == -EPROTONOSUPPORT || backup == -EPROTONOSUPPORT)
		return diag_fail(d, DIAG_VERSION, -EPROTONOSUPPORT, "%s/" HEADER_FILE, object);
	if (first == -EACCES || first == -ENOMEM)
		return diag_fail_errno(d, first, "%s/" HEADER_FILE, object);
	return diag_fail(d, DIAG_HEADER_DAMAGED, first == -ENOENT ? backup : first,
			 "%s/" HEADER_FILE, object);
}

int header_read(int store_fd, const char *object, struct header **ret, bool *ret_used_backup,
		struct diag *d)
{
	CLEANUP_FREE struct header *h = malloc(sizeof(*h));
	int first, backup;

	if (!h)
		return diag_fail_errno(d, -ENOMEM, "%s", object);
	first = copy_read(store_fd, HEADER_FILE, h);
	backup = first < 0 ? copy_read(store_fd, HEADER_BACKUP, h) : 0;
	if (first < 0 && backup < 0)
		return header_complain(object, first, backup, d);
	*ret_used_backup = first < 0;
	*ret = STEAL_PTR(h);
	return 0;
}
