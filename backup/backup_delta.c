/* See backup_delta.h. */
#include "backup/backup_delta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/set_internal.h"
#include "core/cleanup.h"

#define SPREAD_MAX 4
#define LITERAL UINT64_MAX

struct op {
	uint64_t off; /* in the basis; LITERAL */
	size_t len;
};
/* A range whose commands are not complete. */
struct waiting {
	struct waiting *next;
	uint64_t range, version;
	uint8_t what[SET_RANGE_BLOCKS], check[SET_CHECK_LEN];
	unsigned log;
	size_t len, made; /* bytes that commands make; have made */
	struct op *ops;
	size_t n_ops, cap_ops;
	size_t copied;
	uint8_t content[SET_RANGE];
};
struct backup_delta {
	struct backup_basis basis;
	struct backup_delta_out out;
	uint64_t n_blocks;
	uint64_t pos; /* of the delta in the stream */
	struct delta *delta;
	struct waiting *first, **end, *spare;
	struct bytes_w ops, body;
	uint64_t carried;
	bool used;
};

static int on_copy(void *arg, uint64_t off, uint64_t len);
static int on_literal(void *arg, const uint8_t *p, size_t len);

int backup_delta_new(struct backup_basis *basis, uint64_t n_blocks, const struct backup_delta_out *out,
		     struct backup_delta **ret)
{
	struct backup_delta *d = calloc(1, sizeof(*d));

	if (!d) {
		backup_basis_free(basis);
		return -ENOMEM;
	}
	d->basis = *basis;
	*basis = (struct backup_basis){0};
	d->out = *out;
	d->n_blocks = n_blocks;
	d->end = &d->first;
	const struct delta_sink sink = {on_copy, on_literal, d};
	int err = delta_new(d->basis.sums, &sink, &d->delta);
	if (err) {
		backup_delta_free(d);
		return err;
	}
	*ret = d;
	return 0;
}

static void waiting_free(struct waiting *w)
{
	if (w)
		free(w->ops);
	free(w);
}

void backup_delta_free(struct backup_delta *d)
{
	if (!d)
		return;
	for (struct waiting *w = d->first, *next; w; w = next) {
		next = w->next;
		waiting_free(w);
	}
	waiting_free(d->spare);
	delta_free(d->delta);
	backup_basis_free(&d->basis);
	bytes_w_free(&d->ops);
	bytes_w_free(&d->body);
	free(d);
}

unsigned backup_delta_log(const struct backup_delta *d)
{
	return delta_basis_log(d->basis.sums);
}

/* --- one range --- */

static int put_whole(struct backup_delta *d, uint64_t range, uint64_t version,
		     const uint8_t *what, const uint8_t *content)
{
	struct set_entry e = {.kind = SET_DATA, .range = range, .version = version};

	bytes_w_reset(&d->body);
	set_data_encode_runs(what, &d->body);
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		if (what[i] == SET_BLOCK_DATA)
			bytes_w_raw(&d->body, content + i * MAP_BLOCK, MAP_BLOCK);
	return d->body.err ? d->body.err : d->out.put(d->out.arg, &e, &d->body);
}

static int put_delta(struct backup_delta *d, const struct waiting *w)
{
	struct set_entry e = {.kind = SET_DATA,
			      .flags = SET_DELTA,
			      .range = w->range,
			      .version = w->version,
			      .basis = d->basis.id,
			      .as_of = d->basis.as_of};
	struct set_delta x = {.block_log = w->log,
			      .n_blocks = w->len / MAP_BLOCK,
			      .as_of = d->basis.as_of};
	size_t at = 0;

	bytes_w_reset(&d->ops);
	for (size_t i = 0; i < w->n_ops; at += w->ops[i++].len) {
		if (w->ops[i].off == LITERAL)
			set_delta_put_bytes(&d->ops, w->content + at, w->ops[i].len);
		else
			set_delta_put_copy(&d->ops, w->ops[i].off, w->ops[i].len);
	}
	x.ops = d->ops.buf;
	x.ops_len = d->ops.len;
	memcpy(x.what, w->what, sizeof(x.what));
	memcpy(x.check, w->check, sizeof(x.check));
	bytes_w_reset(&d->body);
	set_delta_encode(&x, &d->body);
	if (d->ops.err || d->body.err)
		return -ENOMEM;
	d->used = true;
	d->carried += w->len - w->copied;
	return d->out.put(d->out.arg, &e, &d->body);
}

/* From few enough ranges that making it is cheap. */
static bool is_spread(const struct waiting *w)
{
	uint64_t seen[SPREAD_MAX];
	size_t n = 0;

	for (size_t i = 0; i < w->n_ops; i++) {
		if (w->ops[i].off == LITERAL)
			continue;
		uint64_t last = (w->ops[i].off + w->ops[i].len - 1) / SET_RANGE;
		for (uint64_t r = w->ops[i].off / SET_RANGE; r <= last; r++) {
			size_t k = 0;

			while (k < n && seen[k] != r)
				k++;
			if (k == SPREAD_MAX)
				return true;
			if (k == n)
				seen[n++] = r;
		}
	}
	return false;
}

/* The first of those that wait is complete. */
static int complete(struct backup_delta *d)
{
	struct waiting *w = d->first;
	int err;

	d->first = w->next;
	if (!d->first)
		d->end = &d->first;
	if (w->copied < w->len / 4 || is_spread(w))
		err = put_whole(d, w->range, w->version, w->what, w->content);
	else
		err = put_delta(d, w);
	waiting_free(d->spare);
	d->spare = w;
	return err;
}

/* --- what the delta says --- */

static int add_op(struct waiting *w, uint64_t off, size_t len)
{
	struct op *last = w->n_ops ? &w->ops[w->n_ops - 1] : NULL;

	if (last && (off == LITERAL ? last->off == LITERAL
				    : last->off != LITERAL && last->off + last->len == off)) {
		last->len += len;
		return 0;
	}
	if (w->n_ops == w->cap_ops) {
		size_t cap = w->cap_ops ? 2 * w->cap_ops : 16;
		struct op *more = realloc(w->ops, cap * sizeof(*more));
		if (!more)
			return -ENOMEM;
		w->ops = more;
		w->cap_ops = cap;
	}
	w->ops[w->n_ops++] = (struct op){off, len};
	return 0;
}

/* Cut where a range ends. The bytes themselves are those that wait with it. */
static int add(struct backup_delta *d, uint64_t off, uint64_t len)
{
	while (len) {
		struct waiting *w = d->first;

		if (!w)
			return -EUCLEAN;
		size_t left = w->len - w->made, n = len < left ? (size_t)len : left;
		int err = add_op(w, off, n);
		w->made += n;
		w->copied += off == LITERAL ? 0 : n;
		if (err == 0 && w->made == w->len)
			err = complete(d);
		if (err)
			return err;
		off += off == LITERAL ? 0 : n;
		len -= n;
	}
	return 0;
}

static int on_copy(void *arg, uint64_t off, uint64_t len)
{
	return add(arg, off, len);
}

static int on_literal(void *arg, const uint8_t *p, size_t len)
{
	(void)p;
	return add(arg, LITERAL, len);
}

/* --- ranges --- */

static int wait_for(struct backup_delta *d, const struct backup_delta_range *r)
{
	struct waiting *w = d->spare ? d->spare : calloc(1, sizeof(*w));

	d->spare = NULL;
	if (!w)
		return -ENOMEM;
	w->next = NULL;
	w->range = r->range;
	w->version = r->version;
	w->log = r->log;
	w->len = r->len;
	w->made = w->n_ops = w->copied = 0;
	memcpy(w->what, r->what, sizeof(w->what));
	memcpy(w->content, r->content, SET_RANGE);
	set_delta_check(r->sums, set_sign_sums(r->len / MAP_BLOCK, r->log) * DELTA_SUM_LEN, w->check);
	*d->end = w;
	d->end = &w->next;
	return 0;
}

/* Data, and none behind the end of the file: that no signature covers. */
static bool fits(const struct backup_delta_range *r)
{
	bool any = false;

	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++) {
		if (r->what[i] != SET_BLOCK_DATA)
			continue;
		if (i >= r->len / MAP_BLOCK)
			return false;
		any = true;
	}
	return any;
}

int backup_delta_range(struct backup_delta *d, const struct backup_delta_range *r)
{
	uint64_t from = r->range * SET_RANGE;
	int err = 0;

	if (!fits(r))
		return put_whole(d, r->range, r->version, r->what, r->content);
	if (from != d->pos)
		err = delta_finish(d->delta, from - d->pos);
	if (err == 0)
		err = wait_for(d, r);
	if (err)
		return err;
	d->pos = from + r->len;
	return delta_feed(d->delta, r->content, r->len,
			  r->log == backup_delta_log(d) ? r->sums : NULL);
}

int backup_delta_end(struct backup_delta *d, unsigned *ret_depth, uint64_t *ret_carried)
{
	int err = delta_finish(d->delta, 0);

	if (err == 0 && d->first)
		err = -EUCLEAN;
	*ret_depth = d->used ? d->basis.depth + 1 : 0;
	*ret_carried = d->used ? d->basis.carried + d->carried : 0;
	return err;
}
