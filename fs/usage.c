/*
 * What the volume's files hold, and the quota on it.
 *
 * A file counts with its mapped blocks, or with its content where that lies in the inode record; a symlink with its
 * target. Two sums make the whole:
 *
 *   used_records   over all inode records as they were last put, orphans included; it stands in the counters record,
 *                  put with every commit, so after a crash it agrees with the records that are there
 *   used_pending   over the inodes in memory, what each holds now less what its record says
 *
 * usage_update follows an inode (every change marks it dirty), usage_recorded the putting of its record, usage_dropped the
 * end of a record. A destroyed file's record ends without being read: its key is gone. Then the sum is counted anew, a walk
 * over the inode records in the background, during which records behind the walk change its sum as well. A sum that is
 * not known is kept as such in the counters, so the next open goes on counting.
 *
 * Records themselves, names and xattrs do not count: deleting must always work, and names cost little.
 *
 * Blocks are sealed and written without the lock, so several writers are on their way at once: each claims what it may add
 * before it begins, and lets go of the claim when what it added is counted.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/engine_internal.h"
#include "fs/walk.h"

static uint64_t held(const struct vinode *ino, uint64_t mapped)
{
	return inode_in_blocks(ino) ? mapped * MAP_BLOCK : ino->inline_len;
}

static void set_live(struct volume *v, struct vinode *ino, uint64_t bytes)
{
	v->used_pending += (int64_t)(bytes - ino->used_live);
	ino->used_live = bytes;
}

void usage_update(struct volume *v, struct vinode *ino)
{
	uint64_t slots, mapped = 0;

	if (inode_in_blocks(ino))
		data_figures(ino, &slots, &mapped);
	set_live(v, ino, held(ino, mapped));
}

void usage_loaded(struct vinode *ino)
{
	ino->used_live = ino->used_record = held(ino, ino->published_mapped);
}

/* The sum over records changes by so much, at this id. */
static void records_change(struct volume *v, uint64_t id, int64_t by)
{
	v->used_records += (uint64_t)by;
	if (v->recounting && id <= v->recount_id)
		v->recount_sum += (uint64_t)by;
}

void usage_recorded(struct volume *v, struct vinode *ino)
{
	uint64_t now = held(ino, ino->published_mapped);

	usage_update(v, ino);
	records_change(v, ino->id, (int64_t)(now - ino->used_record));
	v->used_pending -= (int64_t)(now - ino->used_record);
	ino->used_record = now;
}

void usage_forget(struct volume *v, struct vinode *ino)
{
	set_live(v, ino, ino->used_record);
}

void usage_dropped(struct volume *v, uint64_t id, uint64_t bytes)
{
	records_change(v, id, -(int64_t)bytes);
}

int usage_of_record(struct volume *v, uint64_t id, uint64_t *ret)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct rstore_key key = engine_file_key(id, SUB_INODE);
	struct inode_record rec;
	int r = rstore_get(v->rs, &key, &val, NULL);

	if (r == 0)
		r = inode_decode(val.buf, val.len, &rec);
	if (r == 0)
		*ret = usage_of(&rec);
	return r;
}

uint64_t usage_of(const struct inode_record *rec)
{
	return rec->in_blocks ? rec->n_mapped * MAP_BLOCK : rec->inline_len;
}

/* ---- counting anew ---- */

void usage_unknown(struct volume *v)
{
	v->used_known = false;
	v->recounting = false; /* one that runs begins again */
}

static int count_inode(void *arg, const struct rstore_key *key, const void *val, size_t len, uint64_t txn)
{
	struct volume *v = arg;
	struct inode_record rec;
	enum engine_sub sub;
	uint64_t id, at;
	(void)txn;

	if (v->stop || !v->recounting)
		return -ECANCELED;
	if (!walk_key_parse(key, &id, &sub, &at))
		return -EUCLEAN;
	v->recount_id = id;
	if (sub != SUB_INODE)
		return WALK_NEXT_ID;
	if (inode_decode(val, len, &rec))
		return -EUCLEAN;
	v->recount_sum += usage_of(&rec);
	return WALK_NEXT_ID;
}

void usage_count(struct volume *v)
{
	struct rstore_key from = engine_key(SPACE_FILE, NULL, 0), to = engine_key(SPACE_FILE + 1, NULL, 0);

	engine_enter(v);
	v->recounting = !v->used_known && !v->read_only;
	v->recount_id = v->recount_sum = 0;
	if (v->recounting && walk_records(v, &from, &to, true, count_inode, v) == 0 && v->recounting) {
		v->used_records = v->recount_sum;
		v->used_known = true;
	}
	/* What stands in the way is found by whoever reads it; until then the old sum stands. */
	v->recounting = false;
	engine_leave(v);
}

/* ---- the quota ---- */

uint64_t usage_total(const struct volume *v)
{
	int64_t n = (int64_t)v->used_records + v->used_pending;

	return n > 0 ? (uint64_t)n : 0;
}

/* How many of the bytes [off, end) of a file in blocks would need a block that it does not have. */
static int missing(struct volume *v, struct vinode *ino, uint64_t off, uint64_t end, uint64_t *ret)
{
	uint64_t size = (ino->attr.size + MAP_BLOCK - 1) & ~(uint64_t)(MAP_BLOCK - 1), n = 0;
	int r = 0;

	off &= ~(uint64_t)(MAP_BLOCK - 1);
	end = (end + MAP_BLOCK - 1) & ~(uint64_t)(MAP_BLOCK - 1);
	if (end > size)
		n = end - (off > size ? off : size);
	for (uint64_t data, hole = off; r == 0 && hole < end && hole < ino->attr.size; hole = data) {
		r = data_seek(v, ino, hole, SEEK_HOLE, &hole);
		if (r || hole >= end || hole >= ino->attr.size)
			break;
		r = data_seek(v, ino, hole, SEEK_DATA, &data);
		if (r == -ENXIO) {
			data = size;
			r = 0;
		}
		n += (data < end ? data : end) - hole;
	}
	*ret = n;
	return r;
}

/* Whether so many bytes more fit, beside what writers on their way have claimed. */
static bool fits(const struct volume *v, uint64_t more, uint64_t claimed)
{
	uint64_t used = usage_total(v) + claimed;

	return more <= v->quota && used <= v->quota - more;
}

/* The bytes that the write adds, exactly. */
static int growth(struct volume *v, struct vinode *ino, uint64_t off, uint64_t len, uint64_t *ret)
{
	uint64_t end = off + len, first = off / MAP_BLOCK;

	if (inode_in_blocks(ino))
		return missing(v, ino, off, end, ret);
	*ret = end > ino->inline_len ? end - ino->inline_len : 0;
	if (end <= VOLUME_INLINE_MAX)
		return 0;
	/* It goes to blocks: those written, and the first, where the content is that it had. */
	uint64_t n = (end + MAP_BLOCK - 1) / MAP_BLOCK - first + (first && ino->inline_len);
	*ret = n * MAP_BLOCK - ino->inline_len;
	return 0;
}

/* Whether it may go on, after a wait in which others had the lock. */
static int still_there(struct volume *v, const struct vinode *ino)
{
	return ino->destroyed ? -EIO : freeze_check(v, ino->id);
}

int usage_claim(struct volume *v, struct vinode *ino, uint64_t off, uint64_t len, uint64_t *ret_claim)
{
	uint64_t more = len + 2 * MAP_BLOCK;
	int r = 0;

	*ret_claim = 0;
	if (!v->quota)
		return 0;
	/* Near the limit it is looked at exactly, so that what is there can be overwritten; and not judged by the claims of
	 * others, which are as large as could be, but when they have settled. */
	while (r == 0 && v->quota && !fits(v, more, v->used_claimed)) {
		r = growth(v, ino, off, len, &more);
		if (r || !more || fits(v, more, v->used_claimed))
			break;
		if (!v->used_claimed || !fits(v, more, 0))
			return -EDQUOT;
		pthread_cond_wait(&v->claims_settled, &v->lock);
		r = still_there(v, ino);
		more = len + 2 * MAP_BLOCK;
	}
	if (r)
		return r;
	v->used_claimed += more;
	*ret_claim = more;
	return 0;
}

void usage_settle(struct volume *v, struct vinode *ino, uint64_t claim)
{
	if (!claim)
		return;
	if (!ino->destroyed)
		usage_update(v, ino);
	v->used_claimed -= claim;
	pthread_cond_broadcast(&v->claims_settled);
}

int usage_room(struct volume *v, uint64_t more)
{
	return v->quota && more && !fits(v, more, v->used_claimed) ? -EDQUOT : 0;
}

int volume_set_quota(struct volume *v, uint64_t bytes)
{
	engine_enter(v);
	int r = engine_writable(v);
	if (r == 0)
		v->quota = bytes;
	engine_leave(v);
	return r ? r : engine_commit(v, NULL);
}
