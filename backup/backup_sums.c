/* See backup_sums.h. */
#include "backup/backup_sums.h"

#include <string.h>

void backup_sums_begin(struct backup_sums *s, uint64_t size, uint64_t n_mapped, unsigned log)
{
	uint64_t n_blocks = (size + MAP_BLOCK - 1) / MAP_BLOCK;

	bytes_w_reset(&s->sums);
	s->log = delta_block_log(size);
	s->on = s->log && n_mapped * 2 >= n_blocks;
	s->n_blocks = n_blocks;
	s->done = 0;
	/* Another length near it lets blocks be compared with those of an older version. */
	if (s->on && log && log + 1 >= s->log && log <= s->log + 1 &&
	    set_sign_sums(n_blocks, log) <= DELTA_BLOCKS_MAX)
		s->log = log;
}

static int add(struct backup_sums *s, const uint8_t *content, uint64_t until)
{
	int err = delta_sums(content, (size_t)(until - s->done), s->log, &s->sums);

	if (err == 0)
		s->done = until;
	return err;
}

static int add_holes(struct backup_sums *s, uint64_t until)
{
	static const uint8_t zeros[1 << DELTA_LOG_MAX];
	int err = 0;

	while (err == 0 && s->done < until)
		err = add(s, zeros, until - s->done < sizeof(zeros) ? until : s->done + sizeof(zeros));
	return err;
}

static uint64_t end_of(const struct backup_sums *s)
{
	return s->n_blocks * MAP_BLOCK;
}

int backup_sums_range(struct backup_sums *s, uint64_t range, const uint8_t *content)
{
	uint64_t from = range * SET_RANGE, end = end_of(s);

	if (!s->on || from >= end)
		return 0;
	int err = add_holes(s, from);
	return err ? err : add(s, content, end - from < SET_RANGE ? end : from + SET_RANGE);
}

const uint8_t *backup_sums_of(const struct backup_sums *s, uint64_t range, size_t *ret_len)
{
	uint64_t from = range * SET_RANGE;

	*ret_len = (size_t)(s->done - from);
	return s->sums.buf + (from >> s->log) * DELTA_SUM_LEN;
}

int backup_sums_end(struct backup_sums *s)
{
	return s->on ? add_holes(s, end_of(s)) : 0;
}

void backup_sums_free(struct backup_sums *s)
{
	bytes_w_free(&s->sums);
}
