/*
 * Taking requests from the kernel.
 *
 * Turn. One thread at a time holds the turn: it reads a request and answers it, and reads the next, so that a client which does
 * one small thing after the other always meets the same running thread. Before a request that may take long (a sync; or data,
 * while more requests wait) it passes the turn on and others go on reading. That is cheaper than waking another thread for every
 * request, and nobody waits for somebody else's sync.
 *
 * Set-id bits. With FUSE_HANDLE_KILLPRIV_V2 the kernel need not ask for security.capability before every write of a file and
 * for its mode before every chown. libfuse before 3.17 does not know the flag, and no libfuse passes on the one bit of a write
 * that says whose duty it is. The INIT reply is therefore amended on its way out, and the bit taken from the raw request. Kernel
 * side: process_init_reply, fuse_send_write_pages in fs/fuse.
 */
#include "fs/front_device.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/cleanup.h"

#define DATA_MANY 65536u /* bytes of one request from which on it is long by itself */
#define CAP_FSETID_BIT 4

struct front_device {
	struct fuse_session *se;
	void (*amend)(void *request, size_t len);
	int fd;
	pthread_mutex_t turn;
};

/* What the thread is at. NULL in threads that libfuse runs itself (io_uring). */
static __thread struct current {
	struct front_device *device;
	bool has_turn;
	struct fuse_in_header head;
	uint32_t write_flags;
	uint64_t init_unique; /* of an INIT that offers what libfuse does not know; 0: none */
} *current;

/* ---- what libfuse does not pass on ---- */

static void note_request(struct current *c, const void *buf, size_t len)
{
	struct fuse_write_in w;

	c->write_flags = 0;
	if (len < sizeof(c->head))
		return;
	memcpy(&c->head, buf, sizeof(c->head));
	if (c->head.opcode == FUSE_WRITE && len >= sizeof(c->head) + sizeof(w)) {
		memcpy(&w, (const char *)buf + sizeof(c->head), sizeof(w));
		c->write_flags = w.write_flags;
	}
#if FUSE_VERSION < FUSE_MAKE_VERSION(3, 17)
	struct fuse_init_in init = {0};
	size_t rest = len - sizeof(c->head);

	if (c->head.opcode == FUSE_INIT) {
		memcpy(&init, (const char *)buf + sizeof(c->head),
		       rest < sizeof(init) ? rest : sizeof(init));
		c->init_unique = init.flags & FUSE_HANDLE_KILLPRIV_V2 ? c->head.unique : 0;
	}
#endif
}

static void want(struct fuse_conn_info *conn, uint64_t flag, bool on)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	if (on)
		fuse_set_feature_flag(conn, flag);
	else
		fuse_unset_feature_flag(conn, flag);
#else
	conn->want = on ? conn->want | (conn->capable & (unsigned)flag) : conn->want & ~(unsigned)flag;
#endif
}

void front_device_init(struct fuse_conn_info *conn)
{
	static const uint64_t wanted[] = {
		FUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_POSIX_ACL, FUSE_CAP_DONT_MASK, FUSE_CAP_READDIRPLUS,
		FUSE_CAP_READDIRPLUS_AUTO, FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_ASYNC_READ, FUSE_CAP_ASYNC_DIO,
		FUSE_CAP_EXPORT_SUPPORT, FUSE_CAP_CACHE_SYMLINKS,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
		FUSE_CAP_HANDLE_KILLPRIV_V2, /* before: amend_init */
#endif
	};
	/*
	 * Only the kernel changes files, so it need not look for changes; and locks stay its own. With
	 * ATOMIC_O_TRUNC, which libfuse wants by default, nobody would ask us to truncate but open.
	 */
	static const uint64_t unwanted[] = {
		FUSE_CAP_AUTO_INVAL_DATA, FUSE_CAP_SPLICE_READ, FUSE_CAP_FLOCK_LOCKS, FUSE_CAP_POSIX_LOCKS,
		FUSE_CAP_ATOMIC_O_TRUNC, FUSE_CAP_HANDLE_KILLPRIV,
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		want(conn, wanted[i], true);
	for (size_t i = 0; i < sizeof(unwanted) / sizeof(*unwanted); i++)
		want(conn, unwanted[i], false);
	conn->max_write = FRONT_DEVICE_MAX_REQUEST;
	conn->max_readahead = FRONT_DEVICE_READAHEAD;
	conn->time_gran = 1;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
}

#if FUSE_VERSION < FUSE_MAKE_VERSION(3, 17)

static ssize_t device_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return read(fd, buf, len);
}

/* The reply to an INIT that offered it accepts FUSE_HANDLE_KILLPRIV_V2. */
static bool amend_init(const struct iovec *iov, int count, struct fuse_init_out *ret)
{
	struct fuse_out_header h;

	if (!current || !current->init_unique || count != 2 || iov[0].iov_len != sizeof(h) ||
	    iov[1].iov_len < offsetof(struct fuse_init_out, max_background) || iov[1].iov_len > sizeof(*ret))
		return false;
	memcpy(&h, iov[0].iov_base, sizeof(h));
	if (h.unique != current->init_unique || h.error)
		return false;
	memcpy(ret, iov[1].iov_base, iov[1].iov_len);
	ret->flags |= FUSE_HANDLE_KILLPRIV_V2;
	current->init_unique = 0;
	return true;
}

static ssize_t device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fuse_init_out out;
	(void)userdata;

	if (amend_init(iov, count, &out)) {
		struct iovec amended[2] = {iov[0], {.iov_base = &out, .iov_len = iov[1].iov_len}};

		return writev(fd, amended, 2);
	}
	return writev(fd, iov, count);
}

static int watch_replies(struct front_device *d)
{
	static const struct fuse_custom_io io = {.read = device_read, .writev = device_writev};

	return fuse_session_custom_io(d->se, &io, d->fd);
}

#else

/* Nothing to amend; and not every build of these versions would let us. */
static int watch_replies(struct front_device *d)
{
	(void)d;
	return 0;
}

#endif

bool front_device_lacks_fsetid(fuse_req_t req)
{
	char path[40], line[128];
	unsigned long long caps = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)fuse_req_ctx(req)->pid);
	CLEANUP_FILE FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	return !(caps >> CAP_FSETID_BIT & 1);
}

bool front_device_write_kills(fuse_req_t req, const struct fuse_file_info *fi)
{
	if (fi->writepage)
		return false;
	if (current)
		return current->write_flags & FUSE_WRITE_KILL_SUIDGID;
	return front_device_lacks_fsetid(req); /* no raw request: io_uring */
}

/* ---- the loop ---- */

static bool more_waits(const struct front_device *d)
{
	struct pollfd p = {.fd = d->fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static bool takes_long(const struct front_device *d, const struct current *c, const void *req,
		       size_t len)
{
	struct fuse_read_in r = {0};

	switch (c->head.opcode) {
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
	case FUSE_COPY_FILE_RANGE:
	case FUSE_FALLOCATE:
	case FUSE_LSEEK:
		return true;
	case FUSE_WRITE:
		return len >= DATA_MANY || more_waits(d);
	case FUSE_READ:
		if (len >= sizeof(c->head) + sizeof(r))
			memcpy(&r, (const char *)req + sizeof(c->head), sizeof(r));
		return r.size >= DATA_MANY || more_waits(d);
	default:
		return false;
	}
}

static void take_turn(struct current *c)
{
	if (!c->has_turn)
		pthread_mutex_lock(&c->device->turn);
	c->has_turn = true;
}

static void pass_turn(struct current *c)
{
	if (c->has_turn)
		pthread_mutex_unlock(&c->device->turn);
	c->has_turn = false;
}

void front_device_loop(struct front_device *d)
{
	struct current c = {.device = d};
	struct fuse_buf buf = {0};

	current = &c;
	for (;;) {
		take_turn(&c);
		if (fuse_session_exited(d->se))
			break;
		int n = fuse_session_receive_buf(d->se, &buf);
		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0)
			break;
		note_request(&c, buf.mem, (size_t)n);
		if (takes_long(d, &c, buf.mem, (size_t)n))
			pass_turn(&c);
		if (d->amend)
			d->amend(buf.mem, (size_t)n);
		fuse_session_process_buf(d->se, &buf);
	}
	fuse_session_exit(d->se);
	pass_turn(&c);
	current = NULL;
	free(buf.mem);
}

/* ---- life ---- */

int front_device_new(struct fuse_session *se, void (*amend)(void *request, size_t len), struct front_device **ret)
{
	CLEANUP_FREE struct front_device *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->se = se;
	d->amend = amend;
	d->fd = fuse_session_fd(se);
	int err = watch_replies(d);
	if (err)
		return err;
	pthread_mutex_init(&d->turn, NULL);
	*ret = STEAL_PTR(d);
	return 0;
}

void front_device_free(struct front_device *d)
{
	if (!d)
		return;
	pthread_mutex_destroy(&d->turn);
	free(d);
}
