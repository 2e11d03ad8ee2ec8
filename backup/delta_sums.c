/* Signatures. See delta.h. */
#include <errno.h>
#include <librsync.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backup/delta_internal.h"
#include "core/cleanup.h"

#define SIG_HEAD_LEN 12 /* magic, block length, strong length: each u32 big-endian */

unsigned delta_block_log(uint64_t size)
{
	unsigned log = DELTA_LOG_MIN;

	if (size < DELTA_FILE_MIN || size > DELTA_FILE_MAX)
		return 0;
	/* Up to 16 KiB by size; beyond only so that the blocks stay countable. */
	while (log < 14 && ((uint64_t)1 << (2 * log + 1)) < 24 * size)
		log++;
	while (size > (uint64_t)DELTA_BLOCKS_MAX << log)
		log++;
	return log;
}

static void mute(void)
{
	rs_trace_to(NULL); /* it would print its errors */
}

void delta_quiet(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, mute);
}

int delta_error(int rs)
{
	return rs == RS_MEM_ERROR ? -ENOMEM : -EUCLEAN;
}

int delta_sums(const void *p, size_t len, unsigned block_log, struct bytes_w *out)
{
	size_t n = (len + (((size_t)1 << block_log) - 1)) >> block_log, before = out->len;

	delta_quiet();
	rs_job_t *job = rs_sig_begin((size_t)1 << block_log, RS_MAX_STRONG_SUM_LENGTH,
				     RS_RK_BLAKE2_SIG_MAGIC);
	uint8_t *room = bytes_w_room(out, SIG_HEAD_LEN + n * DELTA_SUM_LEN);

	if (!job || !room) {
		if (job)
			rs_job_free(job);
		return -ENOMEM;
	}
	rs_buffers_t b = {.next_in = (char *)p,
			  .avail_in = len,
			  .eof_in = 1,
			  .next_out = (char *)room,
			  .avail_out = SIG_HEAD_LEN + n * DELTA_SUM_LEN};
	rs_result r = rs_job_iter(job, &b);
	rs_job_free(job);
	if (r != RS_DONE || b.avail_out != 0) {
		out->len = before;
		return delta_error(r);
	}
	memmove(room, room + SIG_HEAD_LEN, n * DELTA_SUM_LEN);
	out->len -= SIG_HEAD_LEN;
	return 0;
}

static void put32be(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static int load(struct delta_basis *b)
{
	uint8_t head[SIG_HEAD_LEN];
	rs_buffers_t in = {.next_in = (char *)head, .avail_in = sizeof(head)};
	rs_job_t *job = rs_loadsig_begin(&b->sig);

	if (!job)
		return -ENOMEM;
	put32be(head, RS_RK_BLAKE2_SIG_MAGIC);
	put32be(head + 4, 1u << b->log);
	put32be(head + 8, RS_MAX_STRONG_SUM_LENGTH);
	rs_result r = rs_job_iter(job, &in);
	if (r == RS_BLOCKED) {
		in = (rs_buffers_t){.next_in = (char *)b->sums,
				    .avail_in = b->n * DELTA_SUM_LEN,
				    .eof_in = 1};
		r = rs_job_iter(job, &in);
	}
	rs_job_free(job);
	if (r == RS_DONE)
		r = rs_build_hash_table(b->sig);
	return r == RS_DONE ? 0 : delta_error(r);
}

int delta_basis_new(const uint8_t *sums, size_t n, unsigned block_log, uint64_t len,
		    struct delta_basis **ret)
{
	if (block_log < DELTA_LOG_MIN || block_log > DELTA_LOG_MAX || n == 0 ||
	    n > DELTA_BLOCKS_MAX || len == 0 || ((len - 1) >> block_log) + 1 != n)
		return -EUCLEAN;
	delta_quiet();
	struct delta_basis *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->log = block_log;
	b->n = n;
	b->len = len;
	b->sums = malloc(n * DELTA_SUM_LEN);
	int err = b->sums ? 0 : -ENOMEM;
	if (err == 0) {
		memcpy(b->sums, sums, n * DELTA_SUM_LEN);
		err = load(b);
	}
	if (err) {
		delta_basis_free(b);
		return err;
	}
	*ret = b;
	return 0;
}

unsigned delta_basis_log(const struct delta_basis *b)
{
	return b->log;
}

void delta_basis_free(struct delta_basis *b)
{
	if (!b)
		return;
	if (b->sig)
		rs_free_sumset(b->sig);
	free(b->sums);
	free(b);
}
