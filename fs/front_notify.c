/*
 * What the front end tells the kernel of its own accord: write dirty pages back, forget what is gone.
 *
 * A notification makes the kernel send requests and wait for their answers. It therefore never comes from a loop thread,
 * nor from one that holds an engine lock.
 */
#include "fs/front_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"

int front_flush(struct front *f)
{
	CLEANUP_FREE uint64_t *ids = NULL;
	CLEANUP_FD int fd = -1;
	size_t n;
	int err;

	/* First everything at once; then, file by file, what is open for writing, and waited for. */
	fd = open(f->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/*
	 * Pages that found no room are gone and are their writers' errors, told at fsync and close; the kernel tells whoever syncs
	 * next as well, however long ago it was. A full volume must still be backed up.
	 */
	if (syncfs(fd) != 0 && errno != ENOSPC && errno != EDQUOT)
		return -errno;
	err = volume_writable_ids(f->volume, &ids, &n);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		/* Invalidating from 0 with length 0 writes back and drops every page of the file. */
		err = fuse_lowlevel_notify_inval_inode(f->se, ids[i], 0, 0);
		if (err && err != -ENOENT)
			return err;
	}
	return 0;
}

void front_invalidate(struct front *f, const uint64_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fuse_lowlevel_notify_inval_inode(f->se, ids[i], 0, 0);
}

void front_invalidate_entry(struct front *f, uint64_t parent, const char *name)
{
	fuse_lowlevel_notify_inval_entry(f->se, parent, name, strlen(name));
}
