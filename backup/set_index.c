/*
 * A set's index: entries in chunks, each sealed under the index epoch key, bound to volume, set and
 * position.
 *
 * It holds ids, versions and places, never names; so it stays readable after a destruction and
 * tells which records are gone.
 */
#include "backup/set_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/suite.h"
#include "fs/volume.h"

#define CHUNK_LEN (256u << 10) /* plaintext, at which a chunk is sealed */
#define CHUNK_MAX (CHUNK_LEN + 4096 + SUITE_BOX_OVERHEAD)
#define INDEX_MAX ((size_t)4 << 30)
#define AD_LABEL "coffer-index"
#define AD_LABEL_LEN 12
#define AD_LEN (AD_LABEL_LEN + 16 + SET_ID_MAX + 1 + 5)

static void associated(struct keyring *kr, const char *id, uint32_t chunk, bool last,
		       uint8_t ad[AD_LEN])
{
	memset(ad, 0, AD_LEN);
	memcpy(ad, AD_LABEL, AD_LABEL_LEN);
	memcpy(ad + AD_LABEL_LEN, keyring_volume_id(kr), 16);
	memcpy(ad + AD_LABEL_LEN + 16, id, strlen(id));
	bytes_put32(ad + AD_LEN - 5, chunk);
	ad[AD_LEN - 1] = last;
}

static void index_key(struct keyring *kr, uint8_t ret[KDF_KEY_LEN])
{
	uint8_t epoch[KDF_KEY_LEN];

	keyring_epoch_key(kr, KEYRING_INDEX, epoch);
	kdf_derive(ret, epoch, "set index", NULL, 0);
	secret_wipe(epoch, sizeof(epoch));
}

static void put_entry(struct bytes_w *w, const struct set_entry *e)
{
	bytes_w_u8(w, e->kind);
	bytes_w_u8(w, e->flags);
	bytes_w_varint(w, e->id);
	switch (e->kind) {
	case SET_NAME:
		bytes_w_varint(w, e->type_mode);
		/* fallthrough */
	case SET_GONE:
		bytes_w_varint(w, e->link);
		bytes_w_varint(w, e->child);
		break;
	case SET_EDGE:
		bytes_w_varint(w, e->link);
		break;
	case SET_DATA:
		bytes_w_varint(w, e->range);
		break;
	}
	if (e->kind == SET_GONE || e->kind == SET_EDGE)
		return;
	bytes_w_varint(w, e->version);
	bytes_w_varint(w, e->pack);
	bytes_w_varint(w, e->off);
	bytes_w_varint(w, e->len);
	bytes_w_raw(w, e->sum, SET_CHECKSUM_LEN);
}

static uint32_t small(struct bytes_r *r)
{
	uint64_t v = bytes_r_varint(r);

	if (v > UINT32_MAX)
		bytes_r_fail(r);
	return (uint32_t)v;
}

static void get_entry(struct bytes_r *r, struct set_entry *e)
{
	*e = (struct set_entry){.kind = bytes_r_u8(r), .flags = bytes_r_u8(r)};
	e->id = bytes_r_varint(r);
	switch (e->kind) {
	case SET_NODE:
		break;
	case SET_NAME:
		e->type_mode = small(r);
		/* fallthrough */
	case SET_GONE:
		e->link = bytes_r_varint(r);
		e->child = bytes_r_varint(r);
		break;
	case SET_EDGE:
		e->link = bytes_r_varint(r);
		break;
	case SET_DATA:
		e->range = bytes_r_varint(r);
		if (e->range >= VOLUME_SIZE_MAX / SET_RANGE)
			bytes_r_fail(r);
		break;
	default:
		bytes_r_fail(r);
	}
	if (e->kind == SET_GONE || e->kind == SET_EDGE)
		return;
	e->version = bytes_r_varint(r);
	e->pack = small(r);
	e->off = small(r);
	e->len = small(r);
	bytes_r_copy(r, e->sum, SET_CHECKSUM_LEN);
}

static int seal_chunk(struct set_index_writer *w, bool last)
{
	uint8_t key[KDF_KEY_LEN], ad[AD_LEN];
	size_t box_len = w->chunk.len + SUITE_BOX_OVERHEAD;

	if (w->chunk.err)
		return w->chunk.err;
	bytes_w_u32(&w->out, (uint32_t)box_len);
	uint8_t *box = bytes_w_room(&w->out, box_len);
	if (!box)
		return w->out.err;
	index_key(w->kr, key);
	associated(w->kr, w->id, w->n_chunks++, last, ad);
	suite_seal(keyring_suite(w->kr), key, ad, sizeof(ad), w->chunk.buf, w->chunk.len, box);
	secret_wipe(key, sizeof(key));
	bytes_w_reset(&w->chunk);
	return 0;
}

int set_index_add(struct set_index_writer *w, const struct set_entry *e)
{
	put_entry(&w->chunk, e);
	if (w->chunk.err)
		return w->chunk.err;
	return w->chunk.len >= CHUNK_LEN ? seal_chunk(w, false) : 0;
}

int set_index_finish(struct set_index_writer *w)
{
	return seal_chunk(w, true);
}

void set_index_writer_free(struct set_index_writer *w)
{
	bytes_w_free(&w->chunk);
	bytes_w_free(&w->out);
}

static int each_entry(const uint8_t *plain, size_t len, set_entry_fn fn, void *arg)
{
	struct bytes_r r = bytes_r_init(plain, len);
	struct set_entry e;

	while (r.left) {
		get_entry(&r, &e);
		if (r.err)
			return -EBADMSG;
		int err = fn(arg, &e);
		if (err)
			return err;
	}
	return 0;
}

/* One chunk opened; whether it says it is the last must fit its place. */
static int open_chunk(struct keyring *kr, const char *id, uint32_t chunk, bool last,
		      const uint8_t *box, size_t box_len, set_entry_fn fn, void *arg)
{
	CLEANUP_FREE uint8_t *plain = malloc(box_len);
	uint8_t key[KDF_KEY_LEN], ad[AD_LEN];

	if (!plain)
		return -ENOMEM;
	index_key(kr, key);
	associated(kr, id, chunk, last, ad);
	int err = suite_open(keyring_suite(kr), key, ad, sizeof(ad), box, box_len, plain);
	secret_wipe(key, sizeof(key));
	return err ? err : each_entry(plain, box_len - SUITE_BOX_OVERHEAD, fn, arg);
}

static int read_chunks(struct repo *r, struct keyring *kr, const struct set_manifest *m,
		       const char *name, set_entry_fn fn, void *arg)
{
	CLEANUP_FREE uint8_t *box = malloc(CHUNK_MAX);
	uint8_t len_bytes[4];
	uint64_t off = 0;
	int err = box ? 0 : -ENOMEM;

	for (uint32_t chunk = 0; err == 0 && off < m->index.len; chunk++) {
		err = set_damage(repo_read(r, name, off, len_bytes, sizeof(len_bytes)));
		if (err)
			break;
		uint32_t box_len = bytes_get32(len_bytes);
		off += sizeof(len_bytes);
		if (box_len < SUITE_BOX_OVERHEAD || box_len > CHUNK_MAX ||
		    box_len > m->index.len - off)
			return -EBADMSG;
		err = set_damage(repo_read(r, name, off, box, box_len));
		off += box_len;
		if (err == 0)
			err = open_chunk(kr, m->id, chunk, off == m->index.len, box, box_len, fn,
					 arg);
	}
	return err;
}

int set_index_read(struct repo *r, struct keyring *kr, const struct set_manifest *m,
		   set_entry_fn fn, void *arg, struct diag *d)
{
	char name[SET_NAME_LEN];
	uint64_t size;

	set_object(m->id, "index", name);
	int err = set_damage(repo_size(r, name, &size));
	if (err == 0 && (size != m->index.len || size > INDEX_MAX || size == 0))
		err = -EBADMSG;
	if (err == 0)
		err = read_chunks(r, kr, m, name, fn, arg);
	if (err == -EBADMSG)
		return diag_fail(d, DIAG_SET_DAMAGED, err, "set %s, index", m->id);
	return err ? diag_fail_errno(d, err, "%s/%s", repo_url(r), name) : 0;
}
