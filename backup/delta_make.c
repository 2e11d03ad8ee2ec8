/*
 * A delta as a stream goes by. See delta.h.
 *
 *   same place   while a block has the sums that the basis has in the same place, it is a copy, and
 *                nothing is searched
 *   search       at the first block that differs librsync takes over, for a stretch: 1 MiB, twice
 *                that after each stretch that found something, 16 MiB at most. Ending a stretch loses
 *                less than a block, and bounds how far commands lag behind
 *   pass over    a stretch in which less than an eighth was found is new data, most likely, and
 *                searching that costs ten times what searching old data does: the next 2 MiB are
 *                taken as they are, twice as many after each further failure, 32 MiB at most. Blocks
 *                in the same place are noticed all the while
 *
 * librsync's output is read back into commands here (its delta format: magic, then commands with
 * big-endian numbers), and each is held to what it may say: copies lie within the basis, and the
 * commands of a stretch make exactly its length.
 */
#include <errno.h>
#include <librsync.h>
#include <stdlib.h>
#include <string.h>

#include "backup/delta_internal.h"

#define SEARCH_MIN ((uint64_t)1 << 20)
#define PASS_MIN ((uint64_t)2 << 20)
#define PASS_MAX ((uint64_t)32 << 20)
#define OUT_LEN (64u << 10)

#define OP_END 0x00
#define OP_LITERAL_MAX 0x40 /* 1 .. 64: so many bytes follow */
#define OP_LITERAL_N 0x41   /* .. 0x44: a length of 1, 2, 4, 8 bytes, then the bytes */
#define OP_COPY_N 0x45	    /* .. 0x54: position and length, 1, 2, 4 or 8 bytes each */
#define OP_COPY_LAST 0x54

struct parser {
	uint8_t op;
	uint8_t param[16];
	unsigned have, need;	/* bytes of param; of the magic at first */
	bool begun, in_command, ended;
	uint64_t literal;	/* bytes of the command at hand that are still to come */
	uint64_t copied, made;	/* of the stretch */
};
struct delta {
	const struct delta_basis *b;
	struct delta_sink sink;
	uint64_t pos;		/* in the stream */
	rs_job_t *job;
	uint64_t stretch, left; /* length of this or the next stretch; what is to be fed of it */
	uint64_t pass, passing; /* how much to pass over after the next failure; and now */
	struct parser parse;
	uint8_t out[OUT_LEN];
};

int delta_new(const struct delta_basis *b, const struct delta_sink *sink, struct delta **ret)
{
	struct delta *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->b = b;
	d->sink = *sink;
	d->stretch = SEARCH_MIN;
	d->pass = PASS_MIN;
	*ret = d;
	return 0;
}

void delta_free(struct delta *d)
{
	if (!d)
		return;
	if (d->job)
		rs_job_free(d->job);
	free(d);
}

/* --- librsync's output --- */

static uint64_t number(const uint8_t *p, unsigned len)
{
	uint64_t v = 0;

	while (len--)
		v = v << 8 | *p++;
	return v;
}

static int command(struct delta *d)
{
	struct parser *x = &d->parse;

	x->in_command = false;
	if (x->op < OP_COPY_N) {
		x->literal = number(x->param, x->need);
		return x->literal ? 0 : -EUCLEAN;
	}
	unsigned at_len = 1u << ((x->op - OP_COPY_N) / 4);
	uint64_t at = number(x->param, at_len), len = number(x->param + at_len, x->need - at_len);
	if (len == 0 || at > d->b->len || len > d->b->len - at)
		return -EUCLEAN;
	x->copied += len;
	x->made += len;
	return d->sink.copy(d->sink.arg, at, len);
}

static int begin_command(struct parser *x, uint8_t op)
{
	x->op = op;
	x->have = x->need = 0;
	if (op == OP_END) {
		x->ended = true;
	} else if (op <= OP_LITERAL_MAX) {
		x->literal = op;
	} else if (op < OP_COPY_N) {
		x->need = 1u << (op - OP_LITERAL_N);
	} else if (op <= OP_COPY_LAST) {
		x->need = (1u << ((op - OP_COPY_N) / 4)) + (1u << ((op - OP_COPY_N) % 4));
	} else {
		return -EUCLEAN;
	}
	x->in_command = x->need > 0;
	return 0;
}

static int parse_byte(struct delta *d, uint8_t byte)
{
	struct parser *x = &d->parse;

	if (x->ended)
		return -EUCLEAN;
	if (x->begun && !x->in_command)
		return begin_command(x, byte);
	x->param[x->have++] = byte;
	if (!x->begun) {
		x->begun = x->have == 4;
		return x->begun && number(x->param, 4) != RS_DELTA_MAGIC ? -EUCLEAN : 0;
	}
	return x->have == x->need ? command(d) : 0;
}

static int parse(struct delta *d, const uint8_t *p, size_t len)
{
	struct parser *x = &d->parse;
	int err = 0;

	while (err == 0 && len) {
		if (!x->literal) {
			err = parse_byte(d, *p++);
			len--;
			continue;
		}
		size_t n = len < x->literal ? len : (size_t)x->literal;
		err = d->sink.literal(d->sink.arg, p, n);
		x->literal -= n;
		x->made += n;
		p += n;
		len -= n;
	}
	return err;
}

/* --- a stretch --- */

static int run(struct delta *d, const uint8_t *p, size_t len, bool last)
{
	rs_buffers_t b = {.next_in = (char *)p, .avail_in = len, .eof_in = last};
	rs_result r;

	do {
		size_t before = b.avail_in;

		b.next_out = (char *)d->out;
		b.avail_out = OUT_LEN;
		r = rs_job_iter(d->job, &b);
		if (r != RS_DONE && r != RS_BLOCKED)
			return delta_error(r);
		if (r == RS_BLOCKED && last && before == b.avail_in && b.avail_out == OUT_LEN)
			return -EUCLEAN;
		int err = parse(d, d->out, OUT_LEN - b.avail_out);
		if (err)
			return err;
	} while (r == RS_BLOCKED && (last || b.avail_in || b.avail_out == 0));
	return last && (r != RS_DONE || !d->parse.ended) ? -EUCLEAN : 0;
}

static int begin_stretch(struct delta *d)
{
	d->job = rs_delta_begin(d->b->sig);
	if (!d->job)
		return -ENOMEM;
	d->left = d->stretch;
	d->parse = (struct parser){0};
	return 0;
}

static int end_stretch(struct delta *d)
{
	uint64_t fed = d->stretch - d->left;
	int err = run(d, NULL, 0, true);

	rs_job_free(d->job);
	d->job = NULL;
	if (err)
		return err;
	if (d->parse.made != fed)
		return -EUCLEAN;
	if (d->parse.copied < fed / 8) {
		d->passing = d->pass;
		d->pass = d->pass < PASS_MAX ? 2 * d->pass : PASS_MAX;
		d->stretch = SEARCH_MIN;
	} else {
		d->pass = PASS_MIN;
		d->stretch = d->stretch < DELTA_SEARCH_MAX ? 2 * d->stretch : DELTA_SEARCH_MAX;
	}
	return 0;
}

static int search(struct delta *d, const uint8_t *p, size_t len)
{
	int err = run(d, p, len, false);

	d->left -= len;
	return err == 0 && d->left == 0 ? end_stretch(d) : err;
}

static bool in_same_place(const struct delta *d, size_t len, const uint8_t *sum)
{
	const struct delta_basis *b = d->b;
	uint64_t i = d->pos >> b->log;

	return sum && d->pos + len <= b->len && i < b->n &&
	       (len == (size_t)1 << b->log || d->pos + len == b->len) &&
	       memcmp(sum, b->sums + i * DELTA_SUM_LEN, DELTA_SUM_LEN) == 0;
}

/* One block or, within a stretch, as much as it takes. */
static int step(struct delta *d, const uint8_t *p, size_t len, const uint8_t *sum, size_t *ret_n)
{
	size_t block = (size_t)1 << d->b->log, n = len < block ? len : block;
	int err = 0;

	if (!d->job && in_same_place(d, n, sum)) {
		err = d->sink.copy(d->sink.arg, d->pos, n);
	} else if (!d->job && d->passing) {
		err = d->sink.literal(d->sink.arg, p, n);
		d->passing -= d->passing < n ? d->passing : n;
	} else {
		if (!d->job)
			err = begin_stretch(d);
		n = len < d->left ? len : (size_t)d->left;
		if (err == 0)
			err = search(d, p, n);
	}
	*ret_n = n;
	return err;
}

int delta_feed(struct delta *d, const uint8_t *p, size_t len, const uint8_t *sums)
{
	int err = 0;

	for (size_t i = 0, n; err == 0 && i < len; i += n) {
		const uint8_t *sum = sums ? sums + (i >> d->b->log) * DELTA_SUM_LEN : NULL;

		err = step(d, p + i, len - i, sum, &n);
		d->pos += n;
	}
	return err;
}

int delta_finish(struct delta *d, uint64_t gap)
{
	int err = d->job ? end_stretch(d) : 0;

	d->pos += gap;
	return err;
}
