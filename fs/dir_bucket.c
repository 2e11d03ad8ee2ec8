/*
 * Buckets: the value of a dentry record, all entries of a folder whose names share a lookup hash
 * (nearly always one).
 *
 * The record as a whole is sealed under the records epoch key; each name inside once more under a
 * key of parent and child, padded so that its length says little. docs/format.md "Dentry bucket".
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/secret.h"
#include "fs/engine_internal.h"

#define BUCKET_VERSION 1
#define NAME_PAD 32u
#define NAME_PT_MAX 256u /* length byte and 255 bytes: a multiple of NAME_PAD */
#define TYPE_SHIFT 12
#define NAME_AD_LEN 31u

static size_t padded_len(size_t name_len)
{
	return (1 + name_len + NAME_PAD - 1) / NAME_PAD * NAME_PAD;
}

/* "coffer" || parent || child || link || type: a sealed name fits its place only. */
static void name_ad(uint8_t ad[NAME_AD_LEN], uint64_t parent, uint64_t child, uint64_t link,
		    uint32_t type_mode)
{
	memcpy(ad, "coffer", 6);
	bytes_put64(ad + 6, parent);
	bytes_put64(ad + 14, child);
	bytes_put64(ad + 22, link);
	ad[30] = (uint8_t)(type_mode >> TYPE_SHIFT);
}

static bool type_known(uint32_t type_mode)
{
	switch (type_mode) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return true;
	default:
		return false;
	}
}

static bool next_entry(struct bytes_r *r, struct dentry_sealed *d)
{
	if (r->err || !r->left)
		return false;
	d->child = bytes_r_u64(r);
	d->link = bytes_r_u64(r);
	d->type_mode = (uint32_t)bytes_r_u8(r) << TYPE_SHIFT;
	d->box = bytes_r_blob(r, SUITE_BOX_OVERHEAD + NAME_PT_MAX, &d->box_len);
	if (!d->child || !type_known(d->type_mode) || d->box_len < SUITE_BOX_OVERHEAD + NAME_PAD ||
	    (d->box_len - SUITE_BOX_OVERHEAD) % NAME_PAD)
		bytes_r_fail(r);
	return !r->err;
}

static struct bytes_r bucket_reader(const void *p, size_t len)
{
	struct bytes_r r = bytes_r_init(p, len);

	if (bytes_r_u8(&r) != BUCKET_VERSION || !r.left)
		bytes_r_fail(&r);
	return r;
}

int dir_bucket_each(const void *p, size_t len, int (*fn)(void *arg, const struct dentry_sealed *d),
		    void *arg)
{
	struct dentry_sealed d;
	struct bytes_r check = bucket_reader(p, len);

	/* The whole first: no entry is handed out of a malformed bucket. */
	while (next_entry(&check, &d))
		;
	if (bytes_r_done(&check))
		return -EUCLEAN;
	for (struct bytes_r r = bucket_reader(p, len); next_entry(&r, &d);) {
		int ret = fn(arg, &d);
		if (ret)
			return ret;
	}
	return 0;
}

void dir_bucket_copy(const struct dentry_sealed *d, struct bytes_w *out)
{
	if (!out->len)
		bytes_w_u8(out, BUCKET_VERSION);
	bytes_w_u64(out, d->child);
	bytes_w_u64(out, d->link);
	bytes_w_u8(out, (uint8_t)(d->type_mode >> TYPE_SHIFT));
	bytes_w_blob(out, d->box, d->box_len);
}

int dir_bucket_append(struct volume *v, uint64_t parent, const struct dentry *d,
		      struct bytes_w *out)
{
	uint8_t key[KDF_KEY_LEN], ad[NAME_AD_LEN], pt[NAME_PT_MAX] = {0};
	uint8_t box[SUITE_BOX_OVERHEAD + NAME_PT_MAX];
	size_t name_len = strlen(d->name), pt_len = padded_len(name_len);
	struct dentry_sealed sealed = {
	    .child = d->child,
	    .link = d->link,
	    .type_mode = d->type_mode,
	    .box = box,
	    .box_len = pt_len + SUITE_BOX_OVERHEAD,
	};
	int r = engine_name_key(v, parent, d->child, key);

	if (r)
		return r;
	pt[0] = (uint8_t)name_len;
	memcpy(pt + 1, d->name, name_len);
	name_ad(ad, parent, d->child, d->link, d->type_mode);
	suite_seal(keyring_suite(v->kr), key, ad, sizeof(ad), pt, pt_len, box);
	secret_wipe(key, sizeof(key));
	secret_wipe(pt, sizeof(pt));
	dir_bucket_copy(&sealed, out);
	return out->err;
}

/* Length, name, zeros, nothing else; and a name that could have been made. */
static bool name_well_formed(const uint8_t *pt, size_t pt_len)
{
	size_t len = pt[0];

	if (!len || padded_len(len) != pt_len)
		return false;
	if (memchr(pt + 1, 0, len) || memchr(pt + 1, '/', len))
		return false;
	for (size_t i = 1 + len; i < pt_len; i++) {
		if (pt[i])
			return false;
	}
	return true;
}

int dir_open_name(struct volume *v, uint64_t parent, const struct dentry_sealed *d,
		  char ret[VOLUME_NAME_MAX + 1])
{
	uint8_t key[KDF_KEY_LEN], ad[NAME_AD_LEN], pt[NAME_PT_MAX];
	size_t pt_len = d->box_len - SUITE_BOX_OVERHEAD;
	int r = engine_name_key(v, parent, d->child, key);

	if (r)
		return r;
	name_ad(ad, parent, d->child, d->link, d->type_mode);
	r = suite_open(keyring_suite(v->kr), key, ad, sizeof(ad), d->box, d->box_len, pt);
	secret_wipe(key, sizeof(key));
	if (r == 0 && !name_well_formed(pt, pt_len))
		r = -EUCLEAN;
	if (r == 0) {
		memcpy(ret, pt + 1, pt[0]);
		ret[pt[0]] = '\0';
	}
	secret_wipe(pt, sizeof(pt));
	return r;
}
