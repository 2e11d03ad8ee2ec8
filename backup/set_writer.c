/* The writer of a set. See set_writer.h. */
#include "backup/set_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/set_writer_internal.h"
#include "core/cleanup.h"

/* A block of the index goes among the records. */
static int put_block(void *arg, uint32_t number, const void *plain, size_t len, uint32_t *ret_pack,
		     uint32_t *ret_off, uint32_t *ret_len)
{
	struct set_writer *w = arg;

	bytes_w_reset(&w->block);
	int err = set_index_block_seal(w->kr, w->m.id, number, plain, len, &w->block);
	*ret_len = (uint32_t)w->block.len;
	return err ? err : pack_writer_raw(w->packs, w->block.buf, w->block.len, ret_pack, ret_off);
}

int set_writer_make(struct repo *r, struct keyring *kr, const struct set_manifest *m, struct set_writer **ret)
{
	struct set_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->repo = r;
	w->kr = kr;
	w->m = *m;
	w->m.packs = NULL;
	w->m.n_packs = 0;
	w->m.merged = m->merged ? strdup(m->merged) : NULL;
	w->m.stands_for = m->stands_for ? strdup(m->stands_for) : NULL;
	w->index.put = put_block;
	w->index.arg = w;
	throttle_init(&w->throttle, 0);
	int err = (m->merged && !w->m.merged) || (m->stands_for && !w->m.stands_for)
			  ? -ENOMEM
			  : pack_writer_new(r, kr, m, &w->throttle, &w->packs);
	if (err) {
		set_writer_free(w);
		return err;
	}
	*ret = w;
	return 0;
}

int set_writer_new(struct repo *r, struct keyring *kr, const struct set_manifest *m,
		   struct set_writer **ret)
{
	struct set_manifest named = *m;
	char name[SET_NAME_LEN];
	struct set_writer *w;

	set_id_new(time(NULL), named.id);
	named.packs = NULL;
	named.n_packs = 0;
	int err = set_writer_make(r, kr, &named, &w);
	if (err)
		return err;
	set_object(named.id, SET_UNFINISHED, name);
	err = repo_put_new(r, name, NULL, 0);
	if (err) {
		set_writer_free(w);
		return err;
	}
	*ret = w;
	return 0;
}

void set_writer_limit(struct set_writer *w, uint64_t bytes_per_second)
{
	w->throttle.bytes_per_second = bytes_per_second;
}

const char *set_writer_id(const struct set_writer *w)
{
	return w->m.id;
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

/* What the pipeline has sealed is entered here, by the one thread that keeps the index. */
static int enter_sealed(struct set_writer *w)
{
	CLEANUP_FREE struct pack_sealed *v = NULL;
	size_t n = 0;
	int err = pack_writer_sealed(w->packs, &v, &n);

	for (size_t i = 0; err == 0 && i < n; i++) {
		count(w, &v[i].e, v[i].len);
		err = set_index_add(&w->index, &v[i].e);
	}
	return err;
}

int set_writer_record(struct set_writer *w, const struct set_entry *e, uint64_t basis, const void *body, size_t len)
{
	int err = pack_writer_add(w->packs, e, basis, body, len);

	return err ? err : enter_sealed(w);
}

int set_writer_stored(struct set_writer *w, struct set_entry *e, const uint8_t *stored)
{
	int err = pack_writer_raw(w->packs, stored, e->len, &e->pack, &e->off);

	if (err)
		return err;
	count(w, e, 0);
	w->n_bytes += e->len;
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

int set_writer_settle(struct set_writer *w)
{
	int err = pack_writer_drain(w->packs);

	if (err == 0)
		err = enter_sealed(w);
	if (err == 0)
		err = set_index_flush(&w->index);
	if (err == 0)
		err = pack_writer_flush(w->packs);
	if (err)
		return err;
	size_t n;
	const struct set_pack *packs = pack_writer_packs(w->packs, &n);
	struct set_pack *copy = calloc(n + 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	if (n)
		memcpy(copy, packs, n * sizeof(*copy));
	free(w->m.packs);
	w->m.packs = copy;
	w->m.n_packs = n;
	return 0;
}

/* What the manifest vouches for beside the packs. */
static int put_tables(struct set_writer *w)
{
	CLEANUP_BYTES struct bytes_w table = {0}, top = {0};
	char name[SET_NAME_LEN];
	int err = set_index_top_seal(w->kr, w->m.id, w->index.fences, w->index.n_fences, &top);

	if (err == 0) {
		set_object(w->m.id, "index", name);
		err = pack_put_checked(w->repo, name, top.buf, top.len, &w->throttle, &w->m.index);
	}
	if (err == 0)
		err = set_pack_table_encode(&w->m, &table);
	if (err == 0) {
		set_object(w->m.id, "packs", name);
		err = pack_put_checked(w->repo, name, table.buf, table.len, &w->throttle, &w->m.pack_table);
	}
	return err;
}

int set_writer_finish(struct set_writer *w, const uint8_t sign_seed[32], struct set_manifest *ret)
{
	CLEANUP_FREE char *text = NULL;
	char name[SET_NAME_LEN];
	int err = set_writer_settle(w);

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
	w->m.merged = w->m.stands_for = NULL;
	w->m.n_packs = 0;
	return 0;
}

void set_writer_abort(struct set_writer *w)
{
	/* Nothing may be put any more once the removal has begun. */
	throttle_stop(&w->throttle);
	pack_writer_free(w->packs);
	w->packs = NULL;
	set_remove(w->repo, w->m.id);
	set_writer_free(w);
}

void set_writer_free(struct set_writer *w)
{
	if (!w)
		return;
	throttle_stop(&w->throttle);
	pack_writer_free(w->packs);
	throttle_destroy(&w->throttle);
	set_index_writer_free(&w->index);
	bytes_w_free(&w->block);
	set_manifest_free(&w->m);
	free(w);
}
