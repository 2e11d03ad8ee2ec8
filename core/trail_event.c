/*
 * A record of the trail and its two seals (docs/format.md "Trail entry").
 *
 * The whole record is a box under the trail's entry key with volume and index bound in, so that
 * an entry opens nowhere but at its place. The name inside is a box of its own under a key made
 * of the live keys of parent and child: when either is punctured, the name is gone although the
 * entry still opens.
 */
#include <errno.h>
#include <string.h>

#include "core/kdf.h"
#include "core/trail_internal.h"

#define ENTRY_LABEL "coffer trail entry 1"
#define NAME_LABEL "coffer trail name 1"
#define RECORD_VERSION 1
#define RECORD_STEP 64u /* records are padded to a multiple */
#define FLAG_NAME_GONE 1u

static const uint8_t zeros[RECORD_STEP];

int trail_keys_open(struct trail_keys *k, struct keyring *kr)
{
	uint8_t epoch[KDF_KEY_LEN];

	k->entry = secret_new(KDF_KEY_LEN);
	if (!k->entry)
		return -ENOMEM;
	k->kr = kr;
	k->suite = keyring_suite(kr);
	k->volume_id = keyring_volume_id(kr);
	keyring_epoch_key(kr, KEYRING_TRAIL, epoch);
	kdf_derive(secret_bytes(k->entry), epoch, ENTRY_LABEL, k->volume_id, 16);
	secret_wipe(epoch, sizeof(epoch));
	return 0;
}

void trail_keys_close(struct trail_keys *k)
{
	secret_free(STEAL_PTR(k->entry));
}

/* --- the name --- */

static size_t name_ad(const struct trail_keys *k, const struct trail_event *ev, uint8_t ad[64])
{
	size_t n = strlen(NAME_LABEL);

	memcpy(ad, NAME_LABEL, n);
	memcpy(ad + n, k->volume_id, 16);
	bytes_put64(ad + n + 16, ev->parent);
	bytes_put64(ad + n + 24, ev->child);
	return n + 32;
}

/*
 * One key of both: without either there is no name. After 0 the keyring is in use, so that no
 * puncture is called complete while the key is in memory; name_key_end ends both.
 */
static int name_key(const struct trail_keys *k, const struct trail_event *ev,
		    uint8_t ret[KDF_KEY_LEN])
{
	uint8_t parent[KDF_KEY_LEN], child[KDF_KEY_LEN];

	keyring_use_begin(k->kr);
	int r = keyring_file_key(k->kr, KEYRING_LIVE, ev->parent, parent);
	if (!r)
		r = keyring_file_key(k->kr, KEYRING_LIVE, ev->child, child);
	if (!r)
		kdf_derive(ret, parent, NAME_LABEL, child, sizeof(child));
	secret_wipe(parent, sizeof(parent));
	secret_wipe(child, sizeof(child));
	if (r)
		keyring_use_end(k->kr);
	return r;
}

static void name_key_end(const struct trail_keys *k, uint8_t key[KDF_KEY_LEN])
{
	secret_wipe(key, KDF_KEY_LEN);
	keyring_use_end(k->kr);
}

int trail_name_seal(const struct trail_keys *k, const struct trail_event *ev,
		    struct trail_name *ret)
{
	size_t n = strnlen(ev->name, sizeof(ev->name));
	uint8_t key[KDF_KEY_LEN], plain[256] = {0}, ad[64];

	ret->len = 0;
	ret->gone = false;
	if (n == 0)
		return 0;
	if (n == sizeof(ev->name) || !ev->parent || !ev->child)
		return -EINVAL;
	int r = name_key(k, ev, key);
	if (r == -EKEYREVOKED) {
		ret->gone = true;
		return 0;
	}
	if (r)
		return r;
	plain[0] = (uint8_t)n;
	memcpy(plain + 1, ev->name, n);
	size_t padded = (1 + n + TRAIL_NAME_STEP - 1) / TRAIL_NAME_STEP * TRAIL_NAME_STEP;
	suite_seal(k->suite, key, ad, name_ad(k, ev, ad), plain, padded, ret->box);
	ret->len = padded + SUITE_BOX_OVERHEAD;
	name_key_end(k, key);
	secret_wipe(plain, sizeof(plain));
	return 0;
}

int trail_name_open(const struct trail_keys *k, const struct trail_name *name,
		    struct trail_event *ev)
{
	uint8_t key[KDF_KEY_LEN], plain[256] = {0}, ad[64];

	ev->name[0] = '\0';
	ev->name_gone = name->gone;
	if (!name->len)
		return 0;
	if (name->len <= SUITE_BOX_OVERHEAD || name->len > TRAIL_NAME_BOX_MAX)
		return -EUCLEAN;
	int r = name_key(k, ev, key);
	if (r == -EKEYREVOKED) {
		ev->name_gone = true;
		return 0;
	}
	if (r)
		return r;
	r = suite_open(k->suite, key, ad, name_ad(k, ev, ad), name->box, name->len, plain);
	name_key_end(k, key);
	if (!r && (size_t)plain[0] + 1 > name->len - SUITE_BOX_OVERHEAD)
		r = -EUCLEAN;
	if (!r) {
		memcpy(ev->name, plain + 1, plain[0]);
		ev->name[plain[0]] = '\0';
	}
	secret_wipe(plain, sizeof(plain));
	return r;
}

/* --- the record --- */

struct text_field {
	size_t off, size; /* in struct trail_event */
};
#define TEXT_FIELD(f)                                                                              \
	{                                                                                          \
		offsetof(struct trail_event, f), sizeof(((struct trail_event *)0)->f)              \
	}
static const struct text_field text_fields[] = {
    TEXT_FIELD(member),  TEXT_FIELD(program), TEXT_FIELD(operation), TEXT_FIELD(object),
    TEXT_FIELD(purpose), TEXT_FIELD(result),  TEXT_FIELD(detail),
};
#define N_TEXT_FIELDS (sizeof(text_fields) / sizeof(text_fields[0]))

static int record_encode(struct bytes_w *w, const struct trail_event *ev, int64_t account_ns,
			 const struct trail_name *name)
{
	bytes_w_u8(w, RECORD_VERSION);
	bytes_w_u8(w, name->gone ? FLAG_NAME_GONE : 0);
	bytes_w_u64(w, (uint64_t)ev->time_ns);
	bytes_w_u64(w, (uint64_t)account_ns);
	bytes_w_u32(w, ev->uid);
	bytes_w_u32(w, ev->pid);
	bytes_w_u64(w, ev->parent);
	bytes_w_u64(w, ev->child);
	for (size_t i = 0; i < N_TEXT_FIELDS; i++) {
		const char *text = (const char *)ev + text_fields[i].off;
		size_t n = strnlen(text, text_fields[i].size);
		if (n == text_fields[i].size)
			return -EINVAL;
		bytes_w_blob(w, text, n);
	}
	bytes_w_blob(w, name->box, name->len);
	bytes_w_raw(w, zeros, (RECORD_STEP - w->len % RECORD_STEP) % RECORD_STEP);
	return w->err;
}

static void text_decode(struct bytes_r *r, struct trail_event *ret, const struct text_field *f)
{
	size_t n;
	const uint8_t *p = bytes_r_blob(r, f->size - 1, &n);
	char *out = (char *)ret + f->off;

	if (!p)
		return;
	if (memchr(p, '\0', n))
		bytes_r_fail(r);
	memcpy(out, p, n);
	out[n] = '\0';
}

static int record_decode(const uint8_t *p, size_t len, struct trail_event *ret,
			 struct trail_name *ret_name)
{
	struct bytes_r r = bytes_r_init(p, len);
	size_t n;

	if (bytes_r_u8(&r) != RECORD_VERSION)
		return len ? -EPROTONOSUPPORT : -EUCLEAN;
	uint8_t flags = bytes_r_u8(&r);
	if (flags & ~FLAG_NAME_GONE)
		bytes_r_fail(&r);
	ret_name->gone = flags & FLAG_NAME_GONE;
	ret->time_ns = (int64_t)bytes_r_u64(&r);
	ret->account_ns = (int64_t)bytes_r_u64(&r);
	ret->uid = bytes_r_u32(&r);
	ret->pid = bytes_r_u32(&r);
	ret->parent = bytes_r_u64(&r);
	ret->child = bytes_r_u64(&r);
	for (size_t i = 0; i < N_TEXT_FIELDS; i++)
		text_decode(&r, ret, &text_fields[i]);
	const uint8_t *box = bytes_r_blob(&r, TRAIL_NAME_BOX_MAX, &n);
	if (box)
		memcpy(ret_name->box, box, n);
	ret_name->len = n;
	if (r.left >= RECORD_STEP)
		bytes_r_fail(&r);
	n = r.left;
	const uint8_t *pad = bytes_r_raw(&r, n);
	if (pad && memcmp(pad, zeros, n) != 0)
		bytes_r_fail(&r);
	return bytes_r_done(&r);
}

static size_t entry_ad(const struct trail_keys *k, uint64_t index, uint8_t ad[64])
{
	size_t n = strlen(ENTRY_LABEL);

	memcpy(ad, ENTRY_LABEL, n);
	memcpy(ad + n, k->volume_id, 16);
	bytes_put64(ad + n + 16, index);
	return n + 24;
}

int trail_event_seal(const struct trail_keys *k, uint64_t index, const struct trail_event *ev,
		     int64_t account_ns, const struct trail_name *name, uint8_t *out,
		     size_t *ret_len)
{
	struct bytes_w w CLEANUP_BYTES = {0};
	uint8_t ad[64];
	int r = record_encode(&w, ev, account_ns, name);

	if (!r && w.len + SUITE_BOX_OVERHEAD > TRAIL_ENTRY_MAX)
		r = -EINVAL;
	if (!r) {
		suite_seal(k->suite, secret_bytes(k->entry), ad, entry_ad(k, index, ad), w.buf,
			   w.len, out);
		*ret_len = w.len + SUITE_BOX_OVERHEAD;
	}
	return r;
}

int trail_event_open(const struct trail_keys *k, uint64_t index, const void *entry, size_t len,
		     struct trail_event *ret, struct trail_name *ret_name)
{
	uint8_t plain[TRAIL_ENTRY_MAX], ad[64];

	memset(ret, 0, sizeof(*ret));
	memset(ret_name, 0, sizeof(*ret_name));
	if (len < SUITE_BOX_OVERHEAD || len > TRAIL_ENTRY_MAX)
		return -EUCLEAN;
	int r = suite_open(k->suite, secret_bytes(k->entry), ad, entry_ad(k, index, ad), entry, len,
			   plain);
	return r ? r : record_decode(plain, len - SUITE_BOX_OVERHEAD, ret, ret_name);
}
