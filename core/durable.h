/*
 * Small files written so that a power cut leaves the old or the new content, and whole reads.
 *
 * Everything that is not in the record store or an object file goes through here: headers, key
 * states, notes, manifests. Stateless.
 *
 * A name may carry folders ("notes/7"). The temporary file is ".NAME.tmp" in the same folder: who
 * lists a folder skips names that begin with a dot.
 */
#ifndef COFFER_CORE_DURABLE_H
#define COFFER_CORE_DURABLE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The longest file name that leaves room for its temporary one. */
#define DURABLE_NAME_MAX (255 - 5)

/*
 * Replaces dirfd/name: temporary file beside it, write, fsync, rename, fsync of the folder.
 * After a failure the old content stands and no temporary file is left behind; when only the last
 * sync failed, the new content is in place but may not survive a power cut. mode is exact, whatever
 * the umask.
 */
int durable_replace(int dirfd, const char *name, const void *p, size_t len, mode_t mode);
/* As durable_replace, but -EEXIST when the name is taken. */
int durable_create(int dirfd, const char *name, const void *p, size_t len, mode_t mode);
/*
 * Overwrites dirfd/name in place at off, then fdatasync, then reads back past the page cache
 * (O_DIRECT where the medium has it, else POSIX_FADV_DONTNEED) and compares. -EIO on a mismatch.
 * len and off are multiples of 4096, the file is long enough and no symbolic link, else -EINVAL,
 * -ELOOP.
 */
int durable_overwrite(int dirfd, const char *name, off_t off, const void *p, size_t len);
/*
 * The whole regular file, at most max bytes (-EFBIG), NUL-terminated beyond its length. Caller
 * frees. -EISDIR, -EINVAL for other kinds.
 */
int durable_read(int dirfd, const char *name, size_t max, uint8_t **ret, size_t *ret_len);
/* fsync of the folder itself. */
int durable_sync_dir(int dirfd);
/* unlinkat, then fsync of the folder; -ENOENT is success. */
int durable_unlink(int dirfd, const char *name);
/* mkdirat and fsync of the parent; an existing folder is success. */
int durable_mkdir(int dirfd, const char *name, mode_t mode);
/* Full-length pread/pwrite; a short read at end of file is -ENODATA. */
int durable_pread(int fd, void *p, size_t len, off_t off);
int durable_pwrite(int fd, const void *p, size_t len, off_t off);

#endif
