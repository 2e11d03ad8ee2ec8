/*
 * Inside the FUSE front end: the session, and small conversions shared by the handlers.
 */
#ifndef COFFER_FS_FRONT_INTERNAL_H
#define COFFER_FS_FRONT_INTERNAL_H

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "core/bytes.h"
#include "fs/front.h"
#include "fs/front_device.h"

#define FRONT_THREADS_MAX 16
/* Unless asked otherwise: some wait for the medium while others seal. */
#define FRONT_THREADS 4
/* The store has one owner and the kernel makes every change, so what it caches stays true. */
#define FRONT_TIMEOUT 86400.0
/* FATTR_KILL_SUIDGID: whoever gives the file away or truncates it has its set-id bits cleared. libfuse passes the bit on. */
#define FRONT_SET_ATTR_KILLS (1 << 11)

/* Requests that wait for one kind of sync (fs/front_sync.c). */
struct front_sync;
struct front_syncs {
	struct front_sync *head, **tail;
	bool busy; /* a thread works it to its end */
};

struct front {
	struct fuse_session *se;
	struct front_device *device;
	struct volume *volume;
	char *mountpoint;
	bool read_only;
	bool mounted;
	bool no_opendir; /* the kernel stops asking when told ENOSYS */
	unsigned n_threads;
	pthread_t threads[FRONT_THREADS_MAX];
	bool started[FRONT_THREADS_MAX];
	/* Kernel ids of the loop threads; an id that has ended is harmless to signal. */
	_Atomic pid_t tids[FRONT_THREADS_MAX];
	atomic_uint n_tids;

	pthread_mutex_t seek_lock; /* guards the two below it */
	struct front_seek *seeks;  /* in order of arrival */
	bool seek_stop;
	pthread_cond_t seek_wake;
	pthread_t seek_thread;
	bool seek_runs;

	pthread_mutex_t sync_lock; /* a leaf; guards the two below it */
	struct front_syncs by_log, by_commit;
};

static inline struct volume *front_volume(fuse_req_t req)
{
	return ((struct front *)fuse_req_userdata(req))->volume;
}

void front_stat(const struct volume_attr *a, struct stat *ret);
/*
 * How long the kernel may believe the attributes. A write that takes the set-id bits of a file away is ours to carry out, and its
 * reply has no place to say so: as long as a file has any, the kernel asks each time (before it runs it, too).
 */
double front_attr_timeout(const struct volume_attr *a);
/* Replies with an entry whose reference the engine has just given, or gives it back when nobody takes it. */
void front_reply_entry(fuse_req_t req, const struct volume_attr *a);
void front_entry(const struct volume_attr *a, struct fuse_entry_param *ret);

/* Mount options of the session: volume's name, permissions checked by the kernel, and what cfg says. -ENOMEM. */
int front_options(const struct front_config *cfg, const char *subtype, struct fuse_args *args);
/* SIGUSR2 interrupts a thread that waits for a request, and does nothing else. */
void front_interruptible_reads(void);
/* Answers a question for attributes, or one (size 0) how long the answer is. */
void front_reply_sized(fuse_req_t req, int err, const struct bytes_w *w, size_t size);
/* Other filesystems name trusted attributes to root only; the kernel leaves that to us. */
void front_drop_trusted(struct bytes_w *names);

/* --- front_sync.c --- */
void front_sync_init(struct front *f);
/* Answers fsync, now or by way of the thread that waits already. */
void front_sync(fuse_req_t req, fuse_ino_t ino);

/* --- front_seek.c --- */
/* The thread that may notify the kernel before it answers. Stopped when requests are no longer read; it answers what it has first. */
int front_seek_start(struct front *f);
void front_seek_stop(struct front *f);
/* Answers the request, now or from that thread. */
void front_seek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence);

/* --- front_tmpfile.c --- */
/* Turns the kernel's request for a file without a name into one for a file of FRONT_NO_NAME; leaves others as they are. */
#define FRONT_NO_NAME "/"
void front_tmpfile_request(void *request, size_t len);

/* Lets the kernel read further ahead and hold back more on what is mounted there, where it may. */
void front_bdi(const char *mountpoint, bool io_flusher);

/* --- front_buffer.c --- */
/*
 * A buffer for the answer to a read, of this thread and until it asks for the next; freed when the thread ends. Aligned, so that
 * a long read goes from the medium straight to where it is opened. NULL: no memory.
 */
void *front_buffer(size_t len);

/* Handlers, by file. */
void front_namespace_ops(struct fuse_lowlevel_ops *ops); /* front_namespace.c */
void front_file_ops(struct fuse_lowlevel_ops *ops);	 /* front_file.c */

#endif
