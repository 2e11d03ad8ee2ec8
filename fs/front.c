/*
 * FUSE session: mount, negotiate, serve, unmount. See front.h.
 *
 * Loop threads read and answer requests; n_threads of them share the session (front_device.c). Stopping sets the session's flag and
 * interrupts their reads with SIGUSR2, whose handler does nothing: the read returns EINTR and the loop sees the flag.
 * A thread that had looked at the flag and was about to read misses the signal; so whoever stops asks again.
 */
#include "fs/front_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/cleanup.h"

#define STOP_AGAIN_NS 20000000

static void front_init(void *userdata, struct fuse_conn_info *conn)
{
	struct front *f = userdata;

	front_device_init(conn);
	f->no_opendir = (conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0;
}

void front_stat(const struct volume_attr *a, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = a->id,
		.st_mode = a->mode,
		.st_nlink = a->nlink,
		.st_uid = a->uid,
		.st_gid = a->gid,
		.st_rdev = a->rdev,
		.st_size = (off_t)a->size,
		.st_blocks = (blkcnt_t)a->blocks,
		.st_blksize = MAP_BLOCK,
		.st_atim = a->atime,
		.st_mtim = a->mtime,
		.st_ctim = a->ctime,
	};
}

double front_attr_timeout(const struct volume_attr *a)
{
	return S_ISREG(a->mode) && (a->mode & (S_ISUID | S_ISGID)) ? 0 : FRONT_TIMEOUT;
}

void front_entry(const struct volume_attr *a, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){
		.ino = a->id,
		.generation = 1, /* ids are never reused */
		.attr_timeout = front_attr_timeout(a),
		.entry_timeout = FRONT_TIMEOUT,
	};
	front_stat(a, &ret->attr);
}

void front_reply_entry(fuse_req_t req, const struct volume_attr *a)
{
	struct volume *v = front_volume(req);
	struct fuse_entry_param e;

	front_entry(a, &e);
	if (fuse_reply_entry(req, &e) != 0)
		volume_forget(v, a->id, 1);
}

int front_options(const struct front_config *cfg, const char *subtype, struct fuse_args *args)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	const char *fsname = cfg->fsname && *cfg->fsname ? cfg->fsname : "coffer";

	bytes_w_raw(&w, "default_permissions,subtype=", 28);
	bytes_w_raw(&w, subtype, strlen(subtype));
	bytes_w_raw(&w, ",fsname=", 8);
	/* A comma or backslash in the name would be read as the next option. */
	for (const char *p = fsname; *p; p++) {
		if (*p == ',' || *p == '\\')
			bytes_w_u8(&w, '\\');
		bytes_w_u8(&w, (uint8_t)*p);
	}
	if (cfg->allow_other)
		bytes_w_raw(&w, ",allow_other", 12);
	bytes_w_raw(&w, cfg->read_only ? ",ro" : ",rw", 3);
	if (cfg->options && *cfg->options) {
		bytes_w_u8(&w, ',');
		bytes_w_raw(&w, cfg->options, strlen(cfg->options));
	}
	bytes_w_u8(&w, 0);
	if (w.err)
		return w.err;
	if (fuse_opt_add_arg(args, "coffer") || fuse_opt_add_arg(args, "-o") ||
	    fuse_opt_add_arg(args, (const char *)w.buf))
		return -ENOMEM;
	return 0;
}

static void on_interrupt(int sig)
{
	(void)sig;
}

void front_interruptible_reads(void)
{
	struct sigaction sa = {.sa_handler = on_interrupt}; /* no SA_RESTART */

	sigaction(SIGUSR2, &sa, NULL);
}

int front_new(const struct front_config *cfg, struct front **ret, struct diag *d)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops ops = {.init = front_init};
	struct front *f = calloc(1, sizeof(*f));
	int err = -ENOMEM;

	if (!f)
		return diag_fail_errno(d, -ENOMEM, "%s", cfg->mountpoint);
	f->volume = cfg->volume;
	front_sync_init(f);
	f->read_only = cfg->read_only;
	f->n_threads = cfg->n_threads ? cfg->n_threads : FRONT_THREADS;
	if (f->n_threads > FRONT_THREADS_MAX)
		f->n_threads = FRONT_THREADS_MAX;
	f->mountpoint = strdup(cfg->mountpoint);
	front_namespace_ops(&ops);
	front_file_ops(&ops);
	front_interruptible_reads();
	if (f->mountpoint)
		err = front_options(cfg, "coffer", &args);
	if (err == 0) {
		f->se = fuse_session_new(&args, &ops, sizeof(ops), f);
		err = f->se ? 0 : -EINVAL;
	}
	fuse_opt_free_args(&args);
	if (err == 0) {
		errno = 0;
		if (fuse_session_mount(f->se, f->mountpoint) != 0)
			err = errno ? -errno : -EIO;
	}
	f->mounted = err == 0;
	if (err == 0)
		err = front_device_new(f->se, front_tmpfile_request, &f->device);
	if (err) {
		front_free(f);
		return diag_fail_errno(d, err, "mounting at %s", cfg->mountpoint);
	}
	front_bdi(f->mountpoint, cfg->io_flusher);
	*ret = f;
	return 0;
}

static void *loop(void *arg)
{
	struct front *f = arg;

	f->tids[atomic_fetch_add(&f->n_tids, 1) % FRONT_THREADS_MAX] = gettid();
	front_device_loop(f->device);
	return NULL;
}

/* Requests that nobody will answer any more end with this: a restore by this very process may be waiting for one. */
static void unmount(struct front *f)
{
	if (f->mounted)
		fuse_session_unmount(f->se);
	f->mounted = false;
}

static void join(struct front *f, pthread_t t)
{
	struct timespec until;

	do {
		front_stop(f);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += STOP_AGAIN_NS;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
	} while (pthread_timedjoin_np(t, NULL, &until) == ETIMEDOUT);
}

int front_serve(struct front *f)
{
	int err = front_seek_start(f);

	if (err)
		return err;
	for (unsigned i = 1; i < f->n_threads; i++)
		f->started[i] = pthread_create(&f->threads[i], NULL, loop, f) == 0;
	loop(f);
	for (unsigned i = 1; i < f->n_threads; i++)
		if (f->started[i])
			join(f, f->threads[i]);
	memset(f->started, 0, sizeof(f->started));
	unmount(f);
	front_seek_stop(f);
	return 0;
}

void front_stop(struct front *f)
{
	fuse_session_exit(f->se);
	for (unsigned i = 0; i < FRONT_THREADS_MAX; i++)
		if (f->tids[i])
			syscall(SYS_tgkill, getpid(), f->tids[i], SIGUSR2);
}

void front_free(struct front *f)
{
	if (!f)
		return;
	unmount(f);
	if (f->se)
		fuse_session_destroy(f->se);
	front_device_free(f->device);
	free(f->mountpoint);
	free(f);
}
