/* Bodies of delta ranges and signatures. See set_delta.h. */
#include "backup/set_delta.h"

#include <errno.h>
#include <string.h>

#include "core/kdf.h"

#define SIGN_VERSION 1

void set_delta_check(const uint8_t *sums, size_t len, uint8_t ret[SET_CHECK_LEN])
{
	kdf_hash(ret, sums, len);
}

/* A command is a number: twice the length, and 1 when it copies. */
void set_delta_put_copy(struct bytes_w *ops, uint64_t off, size_t len)
{
	bytes_w_varint(ops, (uint64_t)len << 1 | 1);
	bytes_w_varint(ops, off);
}

void set_delta_put_bytes(struct bytes_w *ops, const void *p, size_t len)
{
	bytes_w_varint(ops, (uint64_t)len << 1);
	bytes_w_raw(ops, p, len);
}

static int next_op(struct bytes_r *r, struct set_delta_op *op)
{
	uint64_t head = bytes_r_varint(r);

	*op = (struct set_delta_op){.copy = head & 1};
	if (head >> 1 == 0 || head >> 1 > SET_RANGE)
		bytes_r_fail(r);
	op->len = r->err ? 0 : (size_t)(head >> 1);
	if (!op->copy) {
		op->bytes = bytes_r_raw(r, op->len);
	} else {
		op->off = bytes_r_varint(r);
		if (op->off > VOLUME_SIZE_MAX - op->len)
			bytes_r_fail(r);
	}
	return r->err;
}

void set_delta_encode(const struct set_delta *d, struct bytes_w *out)
{
	set_data_encode_runs(d->what, out);
	bytes_w_u8(out, (uint8_t)d->block_log);
	bytes_w_varint(out, d->n_blocks);
	bytes_w_u64(out, d->as_of);
	bytes_w_raw(out, d->check, SET_CHECK_LEN);
	bytes_w_raw(out, d->ops, d->ops_len);
}

/* All of them, and together just what they have to make. */
static bool ops_are_whole(const struct set_delta *d)
{
	struct bytes_r r = bytes_r_init(d->ops, d->ops_len);
	size_t made = 0, whole = d->n_blocks * MAP_BLOCK;
	struct set_delta_op op;

	while (r.left) {
		if (next_op(&r, &op) || op.len > whole - made)
			return false;
		made += op.len;
	}
	return made == whole;
}

int set_delta_decode(const void *p, size_t len, struct set_delta *ret)
{
	struct bytes_r r = bytes_r_init(p, len);
	struct set_delta d = {0};

	int err = set_data_decode_runs(&r, d.what);
	if (err)
		return err;
	d.block_log = bytes_r_u8(&r);
	uint64_t n_blocks = bytes_r_varint(&r);
	d.as_of = bytes_r_u64(&r);
	bytes_r_copy(&r, d.check, SET_CHECK_LEN);
	if (r.err || d.block_log < DELTA_LOG_MIN || d.block_log > DELTA_LOG_MAX || n_blocks == 0 ||
	    n_blocks > SET_RANGE_BLOCKS)
		return -EUCLEAN;
	d.n_blocks = (size_t)n_blocks;
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		if (d.what[i] == SET_BLOCK_SAME ||
		    (d.what[i] == SET_BLOCK_DATA && i >= d.n_blocks))
			return -EUCLEAN;
	d.ops_len = r.left;
	d.ops = bytes_r_raw(&r, r.left);
	if (!ops_are_whole(&d))
		return -EUCLEAN;
	*ret = d;
	return 0;
}

bool set_delta_next(const struct set_delta *d, size_t *pos, struct set_delta_op *ret)
{
	struct bytes_r r = bytes_r_init(d->ops + *pos, d->ops_len - *pos);

	if (!r.left || next_op(&r, ret))
		return false;
	*pos = d->ops_len - r.left;
	return true;
}

/* --- signatures --- */

uint64_t set_sign_sums(uint64_t n_blocks, unsigned block_log)
{
	return ((n_blocks * MAP_BLOCK - 1) >> block_log) + 1;
}

uint64_t set_sign_parts(uint64_t n_blocks, unsigned block_log)
{
	return (set_sign_sums(n_blocks, block_log) + SET_SIGN_PART - 1) / SET_SIGN_PART;
}

void set_sign_encode(const struct set_sign *s, struct bytes_w *out)
{
	bytes_w_u8(out, SIGN_VERSION);
	bytes_w_u8(out, (uint8_t)s->block_log);
	bytes_w_u8(out, (uint8_t)s->depth);
	bytes_w_varint(out, s->n_blocks);
	bytes_w_varint(out, s->carried);
	bytes_w_raw(out, s->sums, s->n_sums * DELTA_SUM_LEN);
}

int set_sign_decode(const void *p, size_t len, uint64_t part, struct set_sign *ret)
{
	struct bytes_r r = bytes_r_init(p, len);
	struct set_sign s = {0};

	if (bytes_r_u8(&r) != SIGN_VERSION)
		bytes_r_fail(&r);
	s.block_log = bytes_r_u8(&r);
	s.depth = bytes_r_u8(&r);
	s.n_blocks = bytes_r_varint(&r);
	s.carried = bytes_r_varint(&r);
	if (r.err || s.block_log < DELTA_LOG_MIN || s.block_log > DELTA_LOG_MAX ||
	    s.depth > SET_DELTA_DEPTH_MAX || s.n_blocks == 0 ||
	    s.n_blocks > DELTA_FILE_MAX / MAP_BLOCK ||
	    set_sign_sums(s.n_blocks, s.block_log) > DELTA_BLOCKS_MAX)
		return -EUCLEAN;
	uint64_t n = set_sign_sums(s.n_blocks, s.block_log), first = part * SET_SIGN_PART;
	if (part > DELTA_BLOCKS_MAX / SET_SIGN_PART || first >= n)
		return -EUCLEAN;
	s.n_sums = n - first < SET_SIGN_PART ? (size_t)(n - first) : SET_SIGN_PART;
	s.sums = bytes_r_raw(&r, s.n_sums * DELTA_SUM_LEN);
	if (bytes_r_done(&r))
		return -EUCLEAN;
	*ret = s;
	return 0;
}
