/* The writer of a set. See set_writer.h. */
#include "backup/set_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/set_index.h"
#include "core/cleanup.h"

#define READ_BACK (1u << 20)

struct set_writer {
	struct repo *repo;
	struct keyring *kr;
	struct set_manifest m;
	struct set_index_writer index;
	struct bytes_w pack;
	uint64_t n_records, n_bytes;
};

static void new_id(char out[SET_ID_MAX + 1])
{
	char stamp[SET_ID_MAX + 1], hex[9];
	uint8_t salt[4];

	set_id_stamp(time(NULL), stamp);
	kdf_random(salt, sizeof(salt));
	bytes_hex(hex, salt, sizeof(salt));
	snprintf(out, SET_ID_MAX + 1, "%.16s-%s", stamp, hex);
}

/* What the repository gives back must be what was put: a set counts only when it can be read. */
static int read_back(struct set_writer *w, const char *name, const struct set_pack *p)
{
	CLEANUP_FREE uint8_t *buf = malloc(READ_BACK);
	uint8_t sum[SET_CHECKSUM_LEN];
	int err = 0;

	if (!buf)
		return -ENOMEM;
	struct set_sum *s = set_sum_new();
	if (!s)
		return -ENOMEM;
	for (uint64_t off = 0; err == 0 && off < p->len; off += READ_BACK) {
		size_t n = p->len - off < READ_BACK ? (size_t)(p->len - off) : READ_BACK;
		err = repo_read(w->repo, name, off, buf, n);
		if (err == 0)
			set_sum_update(s, buf, n);
	}
	set_sum_final(s, sum);
	set_sum_free(s);
	if (err == 0 && memcmp(sum, p->sum, sizeof(sum)) != 0)
		err = -EIO;
	return err;
}

static int put_object(struct set_writer *w, const char *name, const struct bytes_w *b,
		      struct set_pack *ret)
{
	*ret = (struct set_pack){.len = b->len};
	kdf_hash(ret->digest, b->buf, b->len);
	set_checksum(b->buf, b->len, ret->sum);
	int err = repo_put_new(w->repo, name, b->buf, b->len);
	return err ? err : read_back(w, name, ret);
}

static int flush_pack(struct set_writer *w)
{
	char name[SET_NAME_LEN];

	if (w->pack.len == 0)
		return 0;
	struct set_pack *more = realloc(w->m.packs, (w->m.n_packs + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	w->m.packs = more;
	set_object_pack(w->m.id, (uint32_t)w->m.n_packs, name);
	/* Counted before it is put, so that an abort removes it as well. */
	struct set_pack *p = &w->m.packs[w->m.n_packs++];
	int err = put_object(w, name, &w->pack, p);
	bytes_w_reset(&w->pack);
	return err;
}

/* A block of the index goes among the records. */
static int put_block(void *arg, uint32_t number, const void *plain, size_t len, uint32_t *ret_pack,
		     uint32_t *ret_off, uint32_t *ret_len)
{
	struct set_writer *w = arg;
	int err = w->pack.len + SET_INDEX_BLOCK_MAX > SET_PACK_MAX ? flush_pack(w) : 0;

	if (err)
		return err;
	*ret_pack = (uint32_t)w->m.n_packs;
	*ret_off = (uint32_t)w->pack.len;
	err = set_index_block_seal(w->kr, w->m.id, number, plain, len, &w->pack);
	*ret_len = (uint32_t)w->pack.len - *ret_off;
	return err;
}

int set_writer_new(struct repo *r, struct keyring *kr, const struct set_manifest *m,
		   struct set_writer **ret)
{
	struct set_writer *w = calloc(1, sizeof(*w));
	char name[SET_NAME_LEN];

	if (!w)
		return -ENOMEM;
	w->repo = r;
	w->kr = kr;
	w->m = *m;
	w->m.packs = NULL;
	w->m.n_packs = 0;
	new_id(w->m.id);
	w->index.put = put_block;
	w->index.arg = w;
	set_object(w->m.id, SET_UNFINISHED, name);
	int err = repo_put_new(r, name, NULL, 0);
	if (err) {
		set_writer_free(w);
		return err;
	}
	*ret = w;
	return 0;
}

static void count(struct set_writer *w, const struct set_entry *e, size_t len)
{
	w->n_records++;
	w->n_bytes += len;
	w->m.n_bytes += len;
	w->m.n_nodes += e->kind == SET_NODE;
	w->m.n_names += e->kind == SET_NAME;
	w->m.n_data += e->kind == SET_DATA;
	w->m.n_sign += e->kind == SET_SIGN;
	w->m.n_gone += e->kind == SET_GONE;
}

int set_writer_record(struct set_writer *w, struct set_entry *e, uint64_t basis, const void *body,
		      size_t len)
{
	int err = 0;

	if (w->pack.len && w->pack.len + set_record_room(len) > SET_PACK_MAX)
		err = flush_pack(w);
	if (err)
		return err;
	e->pack = (uint32_t)w->m.n_packs;
	e->off = (uint32_t)w->pack.len;
	err = set_record_seal(w->kr, e, basis, body, len, &w->pack);
	if (err)
		return err;
	count(w, e, len);
	return set_index_add(&w->index, e);
}

int set_writer_entry(struct set_writer *w, const struct set_entry *e)
{
	count(w, e, 0);
	return set_index_add(&w->index, e);
}

void set_writer_figures(const struct set_writer *w, uint64_t *ret_records, uint64_t *ret_bytes)
{
	*ret_records = w->n_records;
	*ret_bytes = w->n_bytes;
}

/* What the manifest vouches for beside the packs. */
static int put_tables(struct set_writer *w)
{
	CLEANUP_BYTES struct bytes_w table = {0}, top = {0};
	char name[SET_NAME_LEN];
	int err = set_index_top_seal(w->kr, w->m.id, w->index.fences, w->index.n_fences, &top);

	if (err == 0) {
		set_object(w->m.id, "index", name);
		err = put_object(w, name, &top, &w->m.index);
	}
	if (err == 0)
		err = set_pack_table_encode(&w->m, &table);
	if (err == 0) {
		set_object(w->m.id, "packs", name);
		err = put_object(w, name, &table, &w->m.pack_table);
	}
	return err;
}

int set_writer_finish(struct set_writer *w, const uint8_t sign_seed[32], struct set_manifest *ret)
{
	CLEANUP_FREE char *text = NULL;
	char name[SET_NAME_LEN];
	int err = set_index_flush(&w->index);

	if (err == 0)
		err = flush_pack(w);
	if (err == 0)
		err = put_tables(w);
	if (err == 0)
		err = set_manifest_build(&w->m, sign_seed, &text);
	if (err == 0) {
		set_object(w->m.id, "manifest", name);
		err = repo_put_new(w->repo, name, text, strlen(text));
	}
	if (err)
		return err;
	/* The set exists; a mark that stays is removed by a later run. */
	set_object(w->m.id, SET_UNFINISHED, name);
	repo_delete(w->repo, name);
	*ret = w->m;
	w->m.packs = NULL;
	w->m.n_packs = 0;
	return 0;
}

void set_writer_abort(struct set_writer *w)
{
	set_remove(w->repo, w->m.id);
	set_writer_free(w);
}

void set_writer_free(struct set_writer *w)
{
	if (!w)
		return;
	set_index_writer_free(&w->index);
	bytes_w_free(&w->pack);
	set_manifest_free(&w->m);
	free(w);
}
