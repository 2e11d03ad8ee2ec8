/*
 * STORE/reserve: space kept back for one commit and the record store's checkpoint.
 *
 * When a commit meets a full medium a part of the file is given up and the commit tried again, until
 * it fits or nothing is left, so that what was done can be made durable and deleting still works. In
 * parts, because others may write to the medium as well: what they take of one part does not end
 * deleting. From then until the file is whole again, whatever needs new space is refused at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "fs/engine_internal.h"

#define RESERVE_NAME "reserve"
#define RESERVE_LEN ((off_t)16 << 20)
#define RESERVE_PART ((off_t)4 << 20)
/* Made again only with this much beside it, or this part of a small medium: the two must not chase
 * each other. More than LOW_PART, or a medium that has recovered would be nearly full at once. */
#define RESERVE_SPARE ((uint64_t)32 << 20)
#define SPARE_PART 8u
/* Nearly full: less than this part of the medium is free, and less than this much. */
#define LOW_PART 16u
#define LOW_LEN ((uint64_t)128 << 20)

/* How much of it is there, allocated. */
static off_t kept_back(struct volume *v)
{
	struct stat st;

	if (fstatat(v->store_fd, RESERVE_NAME, &st, 0))
		return 0;
	return (off_t)st.st_blocks * 512 < st.st_size ? (off_t)st.st_blocks * 512 : st.st_size;
}

static bool in_place(struct volume *v)
{
	return kept_back(v) >= RESERVE_LEN;
}

static uint64_t medium_part(const struct statvfs *st, unsigned part, uint64_t at_most)
{
	uint64_t n = (uint64_t)st->f_blocks * st->f_frsize / part;

	return n < at_most ? n : at_most;
}

static int make_reserve(struct volume *v)
{
	struct statvfs st;

	if (fstatvfs(v->store_fd, &st))
		return -errno;
	off_t had = kept_back(v);
	uint64_t spare = medium_part(&st, SPARE_PART, RESERVE_SPARE);
	if ((uint64_t)st.f_bavail * st.f_frsize < (uint64_t)(RESERVE_LEN - had) + spare)
		return -ENOSPC;
	CLEANUP_FD int fd =
	    openat(v->store_fd, RESERVE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	/* Media without fallocate get their blocks by writing, which this does there. */
	int r = -posix_fallocate(fd, 0, RESERVE_LEN);
	if (r && ftruncate(fd, had) < 0)
		(void)unlinkat(v->store_fd, RESERVE_NAME, 0);
	return r;
}

void reserve_fill(struct volume *v)
{
	/* Without it nothing new may begin, whatever the reason: deleting could not be made
	 * durable. */
	v->starved = !in_place(v) && make_reserve(v) != 0;
}

bool reserve_spare(struct volume *v, uint64_t len)
{
	struct statvfs st;

	if (fstatvfs(v->store_fd, &st))
		return false;
	return (uint64_t)st.f_bavail * st.f_frsize >=
	       len + (uint64_t)RESERVE_LEN + medium_part(&st, LOW_PART, LOW_LEN);
}

bool reserve_low(struct volume *v)
{
	struct statvfs st;

	if (fstatvfs(v->store_fd, &st))
		return false;
	return (uint64_t)st.f_bavail * st.f_frsize < medium_part(&st, LOW_PART, LOW_LEN);
}

bool reserve_release(struct volume *v)
{
	off_t had = kept_back(v);

	v->starved = true;
	if (!had)
		return false;
	off_t left = (had - 1) / RESERVE_PART * RESERVE_PART;
	CLEANUP_FD int fd = openat(v->store_fd, RESERVE_NAME, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (!left || fd < 0 || ftruncate(fd, left) < 0)
		(void)unlinkat(v->store_fd, RESERVE_NAME, 0);
	return true;
}

int engine_room(struct volume *v)
{
	int r = engine_writable(v);

	if (r == 0 && rstore_pending_bytes(v->rs) > ENGINE_PENDING_LIMIT)
		r = -EIO;
	return r ? r : v->starved ? -ENOSPC : 0;
}
