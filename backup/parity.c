/*
 * See parity.h. The object, all integers little-endian:
 *
 *   head and table | parity blocks, group by group | head and table again
 *
 * n blocks of a pack; block j is row j / G of group j % G. Rows that a group lacks, and what the last block
 * lacks, are zeros. The code is systematic with a Cauchy matrix over GF(2^8): every k of its k + m rows can be
 * inverted.
 */
#include "backup/parity.h"

#include <errno.h>
#include <isa-l/erasure_code.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/set_copy.h"
#include "backup/set_internal.h"
#include "core/cleanup.h"

#define MAGIC "CPAR"
#define VERSION 1
#define HEAD_LEN 32
#define ROWS_MAX 200 /* data blocks of a group */
#define CODE_MAX 255 /* and parity, in GF(2^8) */
#define BLOCK_MAX 4096
#define BLOCK_MIN 64

struct shape {
	uint64_t len;
	uint32_t block;
	size_t n;      /* data blocks */
	size_t groups; /* G */
	size_t k, m;   /* rows of a group, parity blocks of a group */
	size_t table;  /* bytes of head, table and its checksum */
	size_t total;  /* of the object */
};

/* --- the shape --- */

static void finish(struct shape *s)
{
	s->n = (size_t)((s->len + s->block - 1) / s->block);
	s->k = (s->n + s->groups - 1) / s->groups;
	s->table = HEAD_LEN + (s->n + s->groups * s->m) * SET_CHECKSUM_LEN + SET_CHECKSUM_LEN;
	s->total = 2 * s->table + s->groups * s->m * s->block;
}

static void shape_for(size_t len, unsigned percent, struct shape *s)
{
	size_t rows = CODE_MAX * 100 / (100 + percent) - 1;

	if (rows > ROWS_MAX)
		rows = ROWS_MAX;
	*s = (struct shape){.len = len, .block = BLOCK_MAX};
	if (len < rows * BLOCK_MAX) {
		size_t even = (len + rows - 1) / rows;
		s->block = (uint32_t)((even + BLOCK_MIN - 1) / BLOCK_MIN * BLOCK_MIN);
	}
	size_t n = (len + s->block - 1) / s->block;
	s->groups = (n + rows - 1) / rows;
	size_t k = (n + s->groups - 1) / s->groups;
	/* A run of the share begins and ends within blocks: one more. */
	s->m = (k * percent + 99) / 100 + 1;
	finish(s);
}

static void put_head(const struct shape *s, uint8_t p[HEAD_LEN])
{
	memset(p, 0, HEAD_LEN);
	memcpy(p, MAGIC, 4);
	p[4] = VERSION;
	bytes_put64(p + 8, s->len);
	bytes_put32(p + 16, s->block);
	bytes_put32(p + 20, (uint32_t)s->groups);
	bytes_put32(p + 24, (uint32_t)s->m);
}

/* Nothing in it is trusted further than what parity_encode could have written of this length. */
static int get_head(const uint8_t *p, size_t len, struct shape *s)
{
	*s = (struct shape){.len = len, .block = bytes_get32(p + 16), .groups = bytes_get32(p + 20),
			    .m = bytes_get32(p + 24)};
	if (memcmp(p, MAGIC, 4) != 0 || p[4] != VERSION || bytes_get64(p + 8) != len || s->block < BLOCK_MIN ||
	    s->block > BLOCK_MAX || s->block % BLOCK_MIN || s->groups == 0 || s->groups > len || s->m == 0 ||
	    s->m > CODE_MAX)
		return -EUCLEAN;
	finish(s);
	return s->k + s->m <= CODE_MAX ? 0 : -EUCLEAN;
}

/* --- encoding --- */

/* Pointers to the rows of a group; short ones are copied to spare (zeroed, k blocks). */
static void rows_of(const struct shape *s, const uint8_t *p, size_t group, uint8_t *spare, uint8_t **rows)
{
	for (size_t i = 0; i < s->k; i++) {
		uint64_t off = (uint64_t)(i * s->groups + group) * s->block;
		size_t n = off >= s->len ? 0 : s->len - off < s->block ? (size_t)(s->len - off) : s->block;

		rows[i] = n == s->block ? (uint8_t *)p + off : spare + i * s->block;
		if (n && n < s->block)
			memcpy(rows[i], p + off, n);
	}
}

/* Room for one group at work. */
struct work {
	uint8_t *matrix, *tables, *spare, *rows[CODE_MAX], *out[CODE_MAX];
};

static void work_free(struct work *w)
{
	free(w->matrix);
	free(w->tables);
	free(w->spare);
}

static int work_new(const struct shape *s, struct work *w)
{
	*w = (struct work){.matrix = malloc((s->k + s->m) * s->k), .tables = malloc(32 * s->k * s->m),
			   .spare = calloc(s->k + s->m, s->block)};
	if (!w->matrix || !w->tables || !w->spare)
		return -ENOMEM;
	gf_gen_cauchy1_matrix(w->matrix, (int)(s->k + s->m), (int)s->k);
	return 0;
}

/* Checksums of data blocks as they are, and behind them those of the parity blocks. */
static void put_sums(const struct shape *s, const uint8_t *p, const uint8_t *parity, uint8_t *table)
{
	uint8_t *at = table + HEAD_LEN;

	for (size_t j = 0; j < s->n; j++, at += SET_CHECKSUM_LEN) {
		size_t off = j * s->block, n = s->len - off < s->block ? (size_t)(s->len - off) : s->block;
		set_checksum(p + off, n, at);
	}
	for (size_t j = 0; j < s->groups * s->m; j++, at += SET_CHECKSUM_LEN)
		set_checksum(parity + j * s->block, s->block, at);
	set_checksum(table, s->table - SET_CHECKSUM_LEN, at);
}

int parity_encode(const uint8_t *p, size_t len, unsigned percent, struct bytes_w *out)
{
	CLEANUP_WITH(work_free) struct work w = {0};
	struct shape s;

	if (len == 0 || percent == 0 || percent > PARITY_PERCENT_MAX)
		return -EINVAL;
	shape_for(len, percent, &s);
	uint8_t *o = bytes_w_room(out, s.total);
	int err = o ? work_new(&s, &w) : out->err;
	if (err)
		return err;
	uint8_t *parity = o + s.table;
	ec_init_tables((int)s.k, (int)s.m, w.matrix + s.k * s.k, w.tables);
	for (size_t g = 0; g < s.groups; g++) {
		memset(w.spare, 0, s.k * s.block);
		rows_of(&s, p, g, w.spare, w.rows);
		for (size_t i = 0; i < s.m; i++)
			w.out[i] = parity + (g * s.m + i) * s.block;
		ec_encode_data((int)s.block, (int)s.k, (int)s.m, w.tables, w.rows, w.out);
	}
	put_head(&s, o);
	put_sums(&s, p, parity, o);
	memcpy(o + s.total - s.table, o, s.table);
	return 0;
}

/* --- repairing --- */

/* The table that still checks, of the two. */
static int find_table(const uint8_t *parity, size_t parity_len, size_t len, struct shape *s, const uint8_t **ret)
{
	uint8_t sum[SET_CHECKSUM_LEN];
	bool ours = false;

	if (parity_len < 2 * HEAD_LEN)
		return -EUCLEAN;
	/* The second one ends with the object: where it begins only a head tells, so a head is tried from both. */
	if (get_head(parity, len, s) == 0 && s->total == parity_len) {
		ours = true;
		set_checksum(parity, s->table - SET_CHECKSUM_LEN, sum);
		*ret = parity;
		if (memcmp(sum, parity + s->table - SET_CHECKSUM_LEN, sizeof(sum)) == 0)
			return 0;
	}
	for (unsigned percent = 1; percent <= PARITY_PERCENT_MAX; percent++) {
		shape_for(len, percent, s);
		if (s->total != parity_len)
			continue;
		struct shape found;
		const uint8_t *t = parity + s->total - s->table;
		ours = true;
		set_checksum(t, s->table - SET_CHECKSUM_LEN, sum);
		if (memcmp(sum, t + s->table - SET_CHECKSUM_LEN, sizeof(sum)) != 0 || get_head(t, len, &found) != 0 ||
		    found.total != parity_len)
			continue;
		*s = found;
		*ret = t;
		return 0;
	}
	return ours ? -EBADMSG : -EUCLEAN;
}

struct repairing {
	struct shape s;
	uint8_t *p;
	const uint8_t *parity;
	const uint8_t *sums;
	struct work w;
	uint8_t *healed; /* blocks to put, in order of list */
	size_t *list, n_list;
};

static bool data_good(const struct repairing *x, size_t j)
{
	uint8_t sum[SET_CHECKSUM_LEN];
	size_t off = j * x->s.block, n = x->s.len - off < x->s.block ? (size_t)(x->s.len - off) : x->s.block;

	set_checksum(x->p + off, n, sum);
	return memcmp(sum, x->sums + j * SET_CHECKSUM_LEN, sizeof(sum)) == 0;
}

static bool parity_good(const struct repairing *x, size_t j)
{
	uint8_t sum[SET_CHECKSUM_LEN];

	set_checksum(x->parity + j * x->s.block, x->s.block, sum);
	return memcmp(sum, x->sums + (x->s.n + j) * SET_CHECKSUM_LEN, sizeof(sum)) == 0;
}

/* Solves for the lost rows of one group, from k rows that are good: chosen[i] of the code's k + m. */
static int solve(struct repairing *x, const size_t *chosen, const size_t *lost, size_t n_lost, uint8_t **from)
{
	const size_t k = x->s.k;
	CLEANUP_FREE uint8_t *b = malloc(k * k);
	CLEANUP_FREE uint8_t *inverse = malloc(k * k);
	CLEANUP_FREE uint8_t *rows = malloc(k * n_lost);

	if (!b || !inverse || !rows)
		return -ENOMEM;
	for (size_t i = 0; i < k; i++)
		memcpy(b + i * k, x->w.matrix + chosen[i] * k, k);
	if (gf_invert_matrix(b, inverse, (int)k) != 0)
		return -EBADMSG;
	for (size_t i = 0; i < n_lost; i++)
		memcpy(rows + i * k, inverse + lost[i] * k, k);
	ec_init_tables((int)k, (int)n_lost, rows, x->w.tables);
	ec_encode_data((int)x->s.block, (int)k, (int)n_lost, x->w.tables, from, x->w.out);
	return 0;
}

static int repair_group(struct repairing *x, size_t g)
{
	const struct shape *s = &x->s;
	size_t lost[CODE_MAX], chosen[CODE_MAX], n_lost = 0, n = 0;
	uint8_t *from[CODE_MAX];

	memset(x->w.spare, 0, s->k * s->block);
	rows_of(s, x->p, g, x->w.spare, x->w.rows);
	for (size_t i = 0; i < s->k; i++) {
		size_t j = i * s->groups + g;

		if (j >= s->n || data_good(x, j)) {
			chosen[n] = i;
			from[n++] = x->w.rows[i];
		} else {
			lost[n_lost++] = i;
		}
	}
	for (size_t i = 0; i < s->m && n < s->k; i++) {
		if (!parity_good(x, g * s->m + i))
			continue;
		chosen[n] = s->k + i;
		from[n++] = (uint8_t *)x->parity + (g * s->m + i) * s->block;
	}
	if (n < s->k)
		return -EBADMSG;
	for (size_t i = 0; i < n_lost; i++) {
		x->w.out[i] = x->healed + x->n_list * s->block;
		x->list[x->n_list++] = lost[i] * s->groups + g;
	}
	return n_lost ? solve(x, chosen, lost, n_lost, from) : 0;
}

/* Only when every group is solved is anything put. */
static void put_healed(struct repairing *x)
{
	for (size_t i = 0; i < x->n_list; i++) {
		size_t off = x->list[i] * x->s.block;
		size_t n = x->s.len - off < x->s.block ? (size_t)(x->s.len - off) : x->s.block;

		memcpy(x->p + off, x->healed + i * x->s.block, n);
	}
}

int parity_repair(uint8_t *p, size_t len, const uint8_t *parity, size_t parity_len, size_t *ret_n)
{
	struct repairing x = {.p = p};
	const uint8_t *table;
	int err = len ? find_table(parity, parity_len, len, &x.s, &table) : -EUCLEAN;

	if (err)
		return err;
	x.parity = parity + x.s.table;
	x.sums = table + HEAD_LEN;
	x.healed = malloc(x.s.groups * x.s.m * x.s.block);
	x.list = calloc(x.s.groups * x.s.m, sizeof(*x.list));
	err = x.healed && x.list ? work_new(&x.s, &x.w) : -ENOMEM;
	for (size_t g = 0; err == 0 && g < x.s.groups; g++)
		err = repair_group(&x, g);
	if (err == 0) {
		put_healed(&x);
		*ret_n = x.n_list;
	}
	work_free(&x.w);
	free(x.healed);
	free(x.list);
	return err;
}

/* --- in a repository --- */

void parity_name(const char *what, char out[32])
{
	snprintf(out, 32, "parity-%.23s", what);
}

struct covering {
	struct repo *r;
	const char *id;
	unsigned percent;
	size_t n;
};

static int cover(void *arg, const char *what, const struct set_pack *p)
{
	struct covering *x = arg;
	CLEANUP_BYTES struct bytes_w w = {0};
	CLEANUP_FREE uint8_t *bytes = NULL;
	char name[SET_NAME_LEN], parity[32];
	uint64_t size;

	parity_name(what, parity);
	set_object(x->id, parity, name);
	/* The table of packs is small; a copy of it, or of the manifest, comes from elsewhere. */
	if (p->len == 0 || !strcmp(what, "packs") || repo_size(x->r, name, &size) == 0)
		return 0;
	int err = set_object_fetch(x->r, x->id, what, p, &bytes);
	if (err == 0)
		err = parity_encode(bytes, p->len, x->percent, &w);
	if (err == 0)
		err = repo_put(x->r, name, w.buf, w.len);
	x->n += err == 0;
	return err;
}

int parity_cover(struct repo *r, const struct set_manifest *m, unsigned percent, size_t *ret_n, struct diag *d)
{
	struct covering x = {.r = r, .id = m->id, .percent = percent};
	int err = set_each_object(m, cover, &x);

	*ret_n = x.n;
	if (err == -EBADMSG)
		return diag_fail(d, DIAG_SET_DAMAGED, err, "set %s", m->id);
	return err ? diag_fail_errno(d, err, "parity of set %s in %s", m->id, repo_url(r)) : 0;
}

/* What lies there, cut or filled up with zeros to the length that it should have. */
static int read_as_is(struct repo *r, const char *name, uint64_t len, uint8_t **ret)
{
	CLEANUP_FREE uint8_t *p = calloc(1, len);
	uint64_t size;
	int err = p ? set_damage(repo_size(r, name, &size)) : -ENOMEM;

	if (err)
		return err;
	if (size > len)
		size = len;
	/* A sector that cannot be read spoils its own bytes only. */
	for (uint64_t off = 0; off < size; off += BLOCK_MAX) {
		size_t n = size - off < BLOCK_MAX ? (size_t)(size - off) : BLOCK_MAX;

		err = set_damage(repo_read(r, name, off, p + off, n));
		if (err && err != -EBADMSG)
			return err;
	}
	*ret = STEAL_PTR(p);
	return 0;
}

int parity_fetch(struct repo *r, const char *id, const char *what, const struct set_pack *p, uint8_t **ret)
{
	CLEANUP_FREE uint8_t *bytes = NULL, *parity = NULL;
	char name[SET_NAME_LEN], of[32];
	uint8_t digest[32];
	size_t parity_len, n;

	parity_name(what, of);
	set_object(id, of, name);
	int err = set_damage(repo_get(r, name, PARITY_LEN_MAX(p->len), &parity, &parity_len));
	if (err)
		return err;
	set_object(id, what, name);
	err = read_as_is(r, name, p->len, &bytes);
	if (err == 0)
		err = parity_repair(bytes, p->len, parity, parity_len, &n);
	if (err)
		return err == -EUCLEAN ? -EBADMSG : err;
	kdf_hash(digest, bytes, p->len);
	if (memcmp(digest, p->digest, sizeof(digest)) != 0)
		return -EBADMSG;
	*ret = STEAL_PTR(bytes);
	return 0;
}
