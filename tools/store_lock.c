/* See store_lock.h. */
#include "tools/store_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "core/cleanup.h"

int store_lock(int store_fd, const char *store, int *ret_fd, struct diag *d)
{
	CLEANUP_FD int fd = openat(store_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return diag_fail_errno(d, -errno, "%s/lock", store);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? diag_fail(d, DIAG_MOUNTED, -EBUSY, "%s", store)
					    : diag_fail_errno(d, -errno, "%s/lock", store);
	*ret_fd = STEAL_FD(fd);
	return 0;
}
