/*
 * Ids and link ids, and the counters record that makes them durable in batches. docs/format.md
 * "Counters".
 *
 * Whatever lies below the durable bound may have been given out, so after a crash counting goes on
 * at the bound: no id is ever used twice. A commit that finds less than half a batch left asks for
 * the next one, so that making a file hardly ever waits for a commit of its own.
 */
#include <errno.h>

#include "core/bytes.h"
#include "fs/engine_internal.h"

#define COUNTERS_VERSION 1
#define LOW (ENGINE_ID_BATCH / 2)
#define USED_UNKNOWN UINT64_MAX /* to be counted anew */

static struct rstore_key counters_key(void)
{
	return engine_key(SPACE_COUNTERS, NULL, 0);
}

int counters_load(struct volume *v)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct rstore_key key = counters_key();
	int r = rstore_get(v->rs, &key, &val, NULL);

	/* A volume without its counters is not one: ids would be given out again. */
	if (r)
		return r == -ENOENT ? -EUCLEAN : r;
	struct bytes_r rd = bytes_r_init(val.buf, val.len);
	if (bytes_r_u8(&rd) != COUNTERS_VERSION)
		bytes_r_fail(&rd);
	uint64_t id = bytes_r_u64(&rd), link = bytes_r_u64(&rd);
	uint64_t timeline = bytes_r_u64(&rd), n_inodes = bytes_r_u64(&rd);
	uint64_t used = bytes_r_u64(&rd), quota = bytes_r_u64(&rd);
	if (bytes_r_done(&rd) || id < VOLUME_FIRST_ID || !link)
		return -EUCLEAN;
	v->next_id = v->reserved_id = id;
	v->next_link = v->reserved_link = link;
	v->timeline = timeline;
	v->n_inodes = v->n_inodes_put = n_inodes;
	v->used_put = used;
	v->used_known = used != USED_UNKNOWN;
	v->used_records = v->used_known ? used : 0;
	v->quota = v->quota_put = quota;
	return 0;
}

/* The bound to ask for: the one there is while enough is left below it. */
static uint64_t bound(uint64_t next, uint64_t reserved, uint64_t asked)
{
	uint64_t have = asked > reserved ? asked : reserved;

	return have >= next + LOW ? have : next + ENGINE_ID_BATCH;
}

int counters_put(struct volume *v)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct rstore_key key = counters_key();
	uint64_t id = bound(v->next_id, v->reserved_id, v->asked_id);
	uint64_t link = bound(v->next_link, v->reserved_link, v->asked_link);

	uint64_t used = v->used_known ? v->used_records : USED_UNKNOWN;

	if (id == v->reserved_id && link == v->reserved_link && v->n_inodes == v->n_inodes_put &&
	    used == v->used_put && v->quota == v->quota_put)
		return 0;
	bytes_w_u8(&val, COUNTERS_VERSION);
	bytes_w_u64(&val, id);
	bytes_w_u64(&val, link);
	bytes_w_u64(&val, v->timeline);
	bytes_w_u64(&val, v->n_inodes);
	bytes_w_u64(&val, used);
	bytes_w_u64(&val, v->quota);
	int r = val.err ? val.err : rstore_put(v->rs, &key, val.buf, val.len);
	if (r)
		return r;
	v->asked_id = id;
	v->asked_link = link;
	v->n_inodes_put = v->n_inodes;
	v->used_put = used;
	v->quota_put = v->quota;
	return 0;
}

void counters_committed(struct volume *v)
{
	if (v->asked_id > v->reserved_id)
		v->reserved_id = v->asked_id;
	if (v->asked_link > v->reserved_link)
		v->reserved_link = v->asked_link;
	v->asked_id = v->asked_link = 0;
}

int engine_ids_ready(struct volume *v, unsigned n)
{
	uint64_t ids_left = v->reserved_id - v->next_id;
	uint64_t links_left = v->reserved_link - v->next_link;

	if (ids_left < LOW || links_left < LOW) {
		v->wake_now = true;
		pthread_cond_signal(&v->wake);
	}
	if (ids_left >= n && links_left >= n)
		return 0;
	return engine_commit_records(v);
}

int engine_new_id(struct volume *v, uint64_t *ret)
{
	int r = engine_ids_ready(v, 1);

	if (r == 0)
		*ret = v->next_id++;
	return r;
}

uint64_t engine_new_link(struct volume *v)
{
	return v->next_link++;
}
