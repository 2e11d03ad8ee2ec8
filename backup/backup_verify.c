/* Looking at sets again: scrub by checksum without keys, verify by opening every record with keys.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/backup.h"
#include "backup/set_internal.h"
#include "core/cleanup.h"

#define CHUNK (1u << 20)

static void __attribute__((format(printf, 2, 3)))
bad(struct backup_verdict *v, const char *fmt, ...)
{
	va_list ap;

	if (v->n_bad++)
		return;
	va_start(ap, fmt);
	vsnprintf(v->first_bad, sizeof(v->first_bad), fmt, ap);
	va_end(ap);
}

/* 0 good, -EBADMSG not what the manifest says or not readable. */
static int scrub_object(struct repo *r, const char *name, const struct set_pack *p,
			struct backup_verdict *v)
{
	CLEANUP_FREE uint8_t *buf = malloc(CHUNK);
	struct set_sum *s = buf ? set_sum_new() : NULL;
	uint8_t sum[SET_CHECKSUM_LEN];
	uint64_t size;
	int err = s ? repo_size(r, name, &size) : -ENOMEM;

	if (err == 0 && size != p->len)
		err = -EBADMSG;
	for (uint64_t off = 0; err == 0 && off < p->len; off += CHUNK) {
		size_t n = p->len - off < CHUNK ? (size_t)(p->len - off) : CHUNK;

		err = repo_read(r, name, off, buf, n);
		if (err == 0)
			set_sum_update(s, buf, n);
		v->n_bytes += n;
	}
	if (err == 0) {
		set_sum_final(s, sum);
		err = memcmp(sum, p->sum, sizeof(sum)) == 0 ? 0 : -EBADMSG;
	}
	if (s)
		set_sum_free(s);
	return set_damage(err);
}

int backup_scrub(struct repo *r, const struct set_manifest *m, struct backup_verdict *ret,
		 struct diag *d)
{
	struct backup_verdict v = {0};
	char name[SET_NAME_LEN];

	set_object(m->id, "index", name);
	int err = scrub_object(r, name, &m->index, &v);
	if (err == -EBADMSG)
		bad(&v, "set %s, index", m->id);
	else if (err)
		return diag_fail_errno(d, err, "%s/%s", repo_url(r), name);
	for (size_t i = 0; i < m->n_packs; i++) {
		set_object_pack(m->id, (uint32_t)i, name);
		err = scrub_object(r, name, &m->packs[i], &v);
		if (err == -EBADMSG)
			bad(&v, "set %s, pack %zu", m->id, i);
		else if (err)
			return diag_fail_errno(d, err, "%s/%s", repo_url(r), name);
		v.n_records++;
	}
	*ret = v;
	return 0;
}

struct verifying {
	struct repo *r;
	struct keyring *kr;
	const struct set_manifest *m;
	struct backup_verdict v;
	struct bytes_w plain;
	uint64_t n_kind[SET_KINDS];
	unsigned percent;
	uint64_t random; /* state; which records are drawn nobody can foresee */
};

/* xorshift64*: a record in a hundred need not be drawn by a cipher. */
static bool is_drawn(struct verifying *x)
{
	if (x->percent >= 100)
		return true;
	x->random ^= x->random >> 12;
	x->random ^= x->random << 25;
	x->random ^= x->random >> 27;
	return (x->random * 0x2545f4914f6cdd1du >> 32) % 100 < x->percent;
}

static int on_entry(void *arg, const struct set_entry *e)
{
	struct verifying *x = arg;

	x->n_kind[e->kind]++;
	if (e->kind == SET_GONE || e->kind == SET_EDGE || !is_drawn(x))
		return 0;
	bytes_w_reset(&x->plain);
	int err = set_record_read(x->r, x->kr, x->m, e, &x->plain);
	x->v.n_records++;
	x->v.n_bytes += e->len;
	if (err == -EKEYREVOKED) {
		x->v.n_destroyed++;
	} else if (err == -EBADMSG || err == -EUCLEAN) {
		bad(&x->v, "set %s, a record of id %llu", x->m->id, (unsigned long long)e->id);
	} else if (err) {
		return err;
	}
	return 0;
}

/* Entries cannot be left out: the chunks are numbered and sealed. The counts guard against our own
 * mistakes. */
static void check_counts(struct verifying *x)
{
	const struct set_manifest *m = x->m;

	if (x->n_kind[SET_NODE] != m->n_nodes || x->n_kind[SET_NAME] != m->n_names ||
	    x->n_kind[SET_DATA] != m->n_data || x->n_kind[SET_SIGN] != m->n_sign ||
	    x->n_kind[SET_GONE] != m->n_gone)
		bad(&x->v, "set %s: the index does not hold what the manifest counts", m->id);
}

int backup_verify(struct repo *r, struct keyring *kr, const struct set_manifest *m,
		  struct backup_verdict *ret, struct diag *d)
{
	return backup_verify_some(r, kr, m, 100, ret, d);
}

int backup_verify_some(struct repo *r, struct keyring *kr, const struct set_manifest *m, unsigned percent,
		       struct backup_verdict *ret, struct diag *d)
{
	struct verifying x = {.r = r, .kr = kr, .m = m, .percent = percent};
	struct diag inner = {0};

	kdf_random(&x.random, sizeof(x.random));
	x.random |= 1;
	int err = set_index_read(r, kr, m, on_entry, &x, &inner);

	if (err == -EBADMSG) {
		bad(&x.v, "set %s, index", m->id);
		err = 0;
	} else if (err == 0) {
		check_counts(&x);
	}
	bytes_w_free(&x.plain);
	if (err)
		return diag_fail_errno(d, err, "verifying set %s", m->id);
	*ret = x.v;
	return 0;
}
