/*
 * The kernel's device of a FUSE session: how requests are taken from it, and what of them libfuse does not pass on.
 *
 * Owns the reading side of the session's descriptor and the turn to read it. Knows nothing of volumes, so that the in-memory
 * filesystem of the benchmark (tests/bench/memfs.c) stands on the same code and differs in what it stores only.
 */
#ifndef COFFER_FS_FRONT_DEVICE_H
#define COFFER_FS_FRONT_DEVICE_H

#include <fuse_lowlevel.h>
#include <stdbool.h>

struct front_device;

/* After the session was mounted, before its first loop; ret is freed after the last. Each request is shown to amend (may be NULL)
 * before libfuse sees it. -errno. */
int front_device_new(struct fuse_session *se, void (*amend)(void *request, size_t len), struct front_device **ret);
void front_device_free(struct front_device *d);
/*
 * One thread's loop: until the session has exited or is unmounted. Any number of threads may be in it. A thread whose wait is to
 * end early is sent a signal that interrupts system calls.
 */
void front_device_loop(struct front_device *d);
#define FRONT_DEVICE_MAX_REQUEST (1u << 20)
/* What the kernel reads ahead of a reader: as many requests of the full size as keep disk and processors busy at once. */
#define FRONT_DEVICE_READAHEAD (4 * FRONT_DEVICE_MAX_REQUEST)
/* In init handlers: asks the kernel for all that it can take off a filesystem of one owner. FUSE_HANDLE_KILLPRIV_V2 also with a
 * libfuse that does not know it. */
void front_device_init(struct fuse_conn_info *conn);
/* Whether the caller lacks CAP_FSETID: for what changes content without having such a bit (fallocate, copy_file_range). One whom
 * we cannot see (of a foreign pid namespace) does. Reads a file of /proc. */
bool front_device_lacks_fsetid(fuse_req_t req);
/*
 * In a handler of WRITE: whether the caller's write takes the set-id bits of the file away (FUSE_WRITE_KILL_SUIDGID: he lacks
 * CAP_FSETID). Never for pages that are written back: the kernel has settled that when they became dirty.
 */
bool front_device_write_kills(fuse_req_t req, const struct fuse_file_info *fi);

#endif
