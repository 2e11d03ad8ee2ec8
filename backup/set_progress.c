/*
 * How far a set has come, kept in the repository: the object "unfinished".
 *
 * Empty until the first checkpoint. From then on it holds, sealed, the manifest as it would be, the packs that were put
 * and verified, the fences of the index so far, and the place of the scan. It is replaced as a whole and only after all
 * that it speaks of is durable; so whenever a run dies, the last note is true, and what lies there beside it is of no
 * use and removed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/set_writer_internal.h"
#include "core/cleanup.h"
#include "core/suite.h"

#define LABEL "coffer-progress"
#define LABEL_LEN 15
#define AD_LEN (LABEL_LEN + 16 + SET_ID_MAX + 1)
#define VERSION 1
#define PACK_LEN (8 + 32 + SET_CHECKSUM_LEN)
#define PROGRESS_MAX ((size_t)1 << 30)
#define TEXT_MAX (64u << 10)

#define DUE_FIRST (128u << 20)
#define DUE_SHARE 4 /* then after a quarter of what there is, so that checkpoints stay cheap */

static void progress_key(struct keyring *kr, uint8_t ret[KDF_KEY_LEN])
{
	uint8_t epoch[KDF_KEY_LEN];

	keyring_epoch_key(kr, KEYRING_INDEX, epoch);
	kdf_derive(ret, epoch, "set progress", NULL, 0);
	secret_wipe(epoch, sizeof(epoch));
}

static void associated(struct keyring *kr, const char *id, uint8_t ad[AD_LEN])
{
	memset(ad, 0, AD_LEN);
	memcpy(ad, LABEL, LABEL_LEN);
	memcpy(ad + LABEL_LEN, keyring_volume_id(kr), 16);
	memcpy(ad + LABEL_LEN + 16, id, strlen(id));
}

/* --- the note --- */

static int encode(const struct set_writer *w, const struct set_progress *p, struct bytes_w *out)
{
	CLEANUP_FREE char *text = NULL;
	CLEANUP_BYTES struct bytes_w fences = {0};
	int err = set_manifest_build(&w->m, keyring_sign_seed(w->kr), &text);

	if (err)
		return err;
	set_index_put_fences(&fences, w->index.fences, w->index.n_fences);
	bytes_w_u8(out, VERSION);
	bytes_w_u64(out, p->snap_id);
	bytes_w_u64(out, p->snap_txn);
	bytes_w_u64(out, p->id);
	bytes_w_u64(out, p->group);
	bytes_w_blob(out, text, strlen(text));
	bytes_w_varint(out, w->m.n_packs);
	for (size_t i = 0; i < w->m.n_packs; i++) {
		bytes_w_u64(out, w->m.packs[i].len);
		bytes_w_raw(out, w->m.packs[i].digest, 32);
		bytes_w_raw(out, w->m.packs[i].sum, SET_CHECKSUM_LEN);
	}
	bytes_w_raw(out, fences.buf, fences.len);
	return fences.err ? fences.err : out->err;
}

static int get_packs(struct bytes_r *r, struct set_manifest *m)
{
	uint64_t n = bytes_r_varint(r);

	if (r->err || n > r->left / PACK_LEN)
		return -EBADMSG;
	m->packs = calloc((size_t)n + 1, sizeof(*m->packs));
	if (!m->packs)
		return -ENOMEM;
	m->n_packs = (size_t)n;
	for (size_t i = 0; i < n; i++) {
		m->packs[i].len = bytes_r_u64(r);
		bytes_r_copy(r, m->packs[i].digest, 32);
		bytes_r_copy(r, m->packs[i].sum, SET_CHECKSUM_LEN);
	}
	return 0;
}

/* fences: what is left over in plain. */
static int decode(struct keyring *kr, const char *id, const uint8_t *plain, size_t len, struct set_manifest *m,
		  struct set_progress *p, struct bytes_r *ret_fences)
{
	struct bytes_r r = bytes_r_init(plain, len);
	uint8_t pk[32];
	size_t text_len;

	if (bytes_r_u8(&r) != VERSION)
		return -EBADMSG;
	p->snap_id = bytes_r_u64(&r);
	p->snap_txn = bytes_r_u64(&r);
	p->id = bytes_r_u64(&r);
	p->group = bytes_r_u64(&r);
	const uint8_t *blob = bytes_r_blob(&r, TEXT_MAX, &text_len);
	if (r.err)
		return -EBADMSG;
	CLEANUP_FREE char *text = strndup((const char *)blob, text_len);
	if (!text)
		return -ENOMEM;
	memcpy(pk, keyring_header(kr)->sign_pk, sizeof(pk));
	if (set_manifest_parse(text, keyring_volume_id(kr), pk, m) != 0 || strcmp(m->id, id) != 0)
		return -EBADMSG;
	int err = get_packs(&r, m);
	*ret_fences = r;
	return err;
}

static int put_note(struct set_writer *w, const struct bytes_w *plain)
{
	CLEANUP_BYTES struct bytes_w box = {0};
	uint8_t key[KDF_KEY_LEN], ad[AD_LEN];
	char name[SET_NAME_LEN];
	uint8_t *out = bytes_w_room(&box, plain->len + SUITE_BOX_OVERHEAD);

	if (!out)
		return box.err;
	progress_key(w->kr, key);
	associated(w->kr, w->m.id, ad);
	suite_seal(keyring_suite(w->kr), key, ad, sizeof(ad), plain->buf, plain->len, out);
	secret_wipe(key, sizeof(key));
	set_object(w->m.id, SET_UNFINISHED, name);
	return repo_put(w->repo, name, box.buf, box.len);
}

/* Caller frees. */
static int get_note(struct repo *r, struct keyring *kr, const char *id, uint8_t **ret, size_t *ret_len)
{
	CLEANUP_FREE uint8_t *box = NULL;
	uint8_t key[KDF_KEY_LEN], ad[AD_LEN];
	char name[SET_NAME_LEN];
	size_t len;

	set_object(id, SET_UNFINISHED, name);
	int err = repo_get(r, name, PROGRESS_MAX, &box, &len);
	if (err)
		return err;
	if (len == 0)
		return -ENOENT;
	if (len <= SUITE_BOX_OVERHEAD)
		return -EBADMSG;
	CLEANUP_FREE uint8_t *plain = malloc(len);
	if (!plain)
		return -ENOMEM;
	progress_key(kr, key);
	associated(kr, id, ad);
	err = suite_open(keyring_suite(kr), key, ad, sizeof(ad), box, len, plain);
	secret_wipe(key, sizeof(key));
	if (err)
		return err;
	*ret = STEAL_PTR(plain);
	*ret_len = len - SUITE_BOX_OVERHEAD;
	return 0;
}

/* --- checkpoints --- */

bool set_writer_checkpoint_due(const struct set_writer *w)
{
	uint64_t since = w->n_bytes - w->n_settled;

	return since >= DUE_FIRST && since >= w->n_settled / DUE_SHARE;
}

bool set_writer_has_checkpoint(const struct set_writer *w)
{
	return w->has_checkpoint;
}

int set_writer_checkpoint(struct set_writer *w, const struct set_progress *p)
{
	CLEANUP_BYTES struct bytes_w plain = {0};
	int err = set_writer_settle(w);

	if (err == 0)
		err = encode(w, p, &plain);
	if (err == 0)
		err = put_note(w, &plain);
	if (err)
		return err;
	w->n_settled = w->n_bytes;
	w->has_checkpoint = true;
	return 0;
}

/* --- going on --- */

/* Packs were verified when they were put; that they are still there is enough. */
static int packs_present(struct repo *r, const struct set_manifest *m)
{
	char name[SET_NAME_LEN];
	uint64_t size;
	int err = 0;

	for (size_t i = 0; err == 0 && i < m->n_packs; i++) {
		set_object_pack(m->id, (uint32_t)i, name);
		err = set_damage(repo_size(r, name, &size));
		if (err == 0 && size != m->packs[i].len)
			err = -EBADMSG;
	}
	return err;
}

static int load(struct repo *r, struct keyring *kr, const char *id, struct set_manifest *m, struct set_progress *p,
		struct set_fence **ret_fences, size_t *ret_n)
{
	CLEANUP_FREE uint8_t *plain = NULL;
	struct bytes_r rest;
	size_t len;
	int err = get_note(r, kr, id, &plain, &len);

	if (err == 0)
		err = decode(kr, id, plain, len, m, p, &rest);
	if (err == 0)
		err = set_index_fences(rest.p, rest.left, ret_fences, ret_n);
	return err ? err : packs_present(r, m);
}

int set_progress_load(struct repo *r, struct keyring *kr, const char *id, struct set_manifest *ret,
		      struct set_progress *ret_p)
{
	CLEANUP_FREE struct set_fence *fences = NULL;
	struct set_manifest m = {0};
	struct set_progress p;
	size_t n;
	int err = load(r, kr, id, &m, &p, &fences, &n);

	if (err) {
		set_manifest_free(&m);
		return err;
	}
	*ret = m;
	*ret_p = p;
	return 0;
}

/* What was put after the checkpoint: packs with higher numbers. */
static int remove_later(struct repo *r, const struct set_manifest *m)
{
	char name[SET_NAME_LEN], prefix[SET_NAME_LEN];
	char **objects = NULL;
	size_t n = 0;

	set_object(m->id, "", prefix);
	int err = repo_list(r, prefix, &objects, &n);
	for (size_t i = 0; err == 0 && i < n; i++) {
		char *end;
		unsigned long pack = strncmp(objects[i], "pack-", 5) ? 0 : strtoul(objects[i] + 5, &end, 10);

		/* index and packs of a run that died before its manifest. */
		bool later = !strcmp(objects[i], "index") || !strcmp(objects[i], "packs") ||
			     (!strncmp(objects[i], "pack-", 5) && pack >= m->n_packs);
		if (!later || strlen(objects[i]) > SET_OBJECT_MAX)
			continue;
		set_object(m->id, objects[i], name);
		err = repo_delete(r, name);
	}
	repo_list_free(objects, n);
	return err;
}

int set_writer_resume(struct repo *r, struct keyring *kr, const char *id, struct set_writer **ret)
{
	CLEANUP_FREE struct set_fence *fences = NULL;
	struct set_manifest m = {0};
	struct set_progress p;
	struct set_writer *w = NULL;
	size_t n = 0;
	int err = load(r, kr, id, &m, &p, &fences, &n);

	if (err == 0)
		err = remove_later(r, &m);
	if (err == 0)
		err = set_writer_make(r, kr, &m, &w);
	set_manifest_free(&m);
	if (err)
		return err;
	w->index.fences = STEAL_PTR(fences);
	w->index.n_fences = w->index.cap_fences = n;
	w->n_records = w->m.n_nodes + w->m.n_names + w->m.n_data + w->m.n_sign + w->m.n_gone;
	w->n_bytes = w->n_settled = w->m.n_bytes;
	w->has_checkpoint = true;
	*ret = w;
	return 0;
}
