/* Handlers of the read-only front end: get state, one piece of work, exactly one reply. See front_tree.h. */
#include "fs/front_tree.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "fs/front_internal.h"

struct front_tree {
	struct fuse_session *se;
	struct front_device *device;
	const struct readonly_tree_ops *ops;
	void *tree;
	bool mounted;
	_Atomic pid_t tid; /* of the thread that serves; 0 none */
};

/* Of one open folder. */
struct open_dir {
	bool damaged; /* an entry that could not be named was met */
};

static struct front_tree *self(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const unsigned wanted = FUSE_CAP_POSIX_ACL | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
				FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ | FUSE_CAP_CACHE_SYMLINKS;
	(void)userdata;

	conn->want |= conn->capable & wanted;
	conn->want &= ~(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ | FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS);
	conn->max_readahead = FRONT_DEVICE_MAX_REQUEST;
	conn->time_gran = 1;
}

/* What is mounted never changes, so the kernel may keep it. */
static void entry(const struct volume_attr *a, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){
		.ino = a->id, .generation = 1, .attr_timeout = FRONT_TIMEOUT, .entry_timeout = FRONT_TIMEOUT};
	front_stat(a, &ret->attr);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct front_tree *f = self(req);
	struct fuse_entry_param e = {.entry_timeout = FRONT_TIMEOUT};
	struct volume_attr a;
	int err = f->ops->lookup(f->tree, parent, name, &a);

	if (err && err != -ENOENT) {
		fuse_reply_err(req, -err);
		return;
	}
	if (err == 0)
		entry(&a, &e);
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct front_tree *f = self(req);
	struct volume_attr a;
	struct stat st;
	int err = f->ops->getattr(f->tree, ino, &a);
	(void)fi;

	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	front_stat(&a, &st);
	fuse_reply_attr(req, &st, FRONT_TIMEOUT);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct front_tree *f = self(req);
	int err = f->ops->readlink(f->tree, ino, &w);

	bytes_w_u8(&w, 0);
	if (err == 0)
		err = w.err;
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_readlink(req, (const char *)w.buf);
}

/* --- folders --- */

struct listing {
	fuse_req_t req;
	char *buf;
	size_t size, len;
	bool plus;
	struct open_dir *dir;
};

static int put(struct listing *l, const char *name, const struct fuse_entry_param *e, off_t off)
{
	char *at = l->buf + l->len;
	size_t room = l->size - l->len;
	size_t n = l->plus ? fuse_add_direntry_plus(l->req, at, room, name, e, off)
			   : fuse_add_direntry(l->req, at, room, name, &e->attr, off);

	if (n > room)
		return 1;
	l->len += n;
	return 0;
}

/* An entry without ino has no reference: the kernel looks it up when somebody asks. */
static int on_entry(void *arg, const char *name, uint64_t node, uint32_t type_mode, uint64_t cookie,
		    const struct volume_attr *attr)
{
	struct fuse_entry_param e = {.attr = {.st_ino = node, .st_mode = type_mode}};
	struct listing *l = arg;

	if (!name) {
		l->dir->damaged = true;
		return 0;
	}
	if (attr)
		entry(attr, &e);
	return put(l, name, &e, (off_t)cookie + 2);
}

/* Offsets 1 and 2 are "." and ".."; the tree's cookies lie above them. */
static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
	CLEANUP_FREE char *buf = malloc(size);
	struct front_tree *f = self(req);
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus, .dir = (struct open_dir *)(uintptr_t)fi->fh};
	const struct fuse_entry_param here = {.attr = {.st_ino = ino, .st_mode = S_IFDIR}};
	int err = buf ? 0 : -ENOMEM;

	if (off == 0)
		l.dir->damaged = false;
	if (err == 0 && off == 0 && put(&l, ".", &here, 1) == 0)
		off = 1;
	if (err == 0 && off == 1 && put(&l, "..", &here, 2) == 0)
		off = 2;
	if (err == 0 && off >= 2)
		err = f->ops->readdir(f->tree, ino, (uint64_t)off - 2, plus, on_entry, &l);
	/* What can be listed has been; then that it is not all. */
	if (err >= 0 && l.len == 0 && l.dir->damaged)
		err = -EIO;
	if (err < 0 && l.len == 0)
		fuse_reply_err(req, -err);
	else
		fuse_reply_buf(req, buf, l.len);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct open_dir *dir = calloc(1, sizeof(*dir));
	(void)ino;

	if (!dir) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)dir;
	if (fuse_reply_open(req, fi) != 0)
		free(dir);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	free((struct open_dir *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi, true);
}

/* --- files --- */

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct front_tree *f = self(req);
	int err = f->ops->open(f->tree, ino);

	fi->keep_cache = 1;
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct front_tree *f = self(req);
	char *buf = front_buffer(size);
	ssize_t n = buf ? f->ops->read(f->tree, ino, buf, size, (uint64_t)off) : -ENOMEM;
	(void)fi;

	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct front_tree *f = self(req);
	uint64_t at;
	int err = f->ops->seek(f->tree, ino, (uint64_t)off, whence, &at);
	(void)fi;

	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_lseek(req, (off_t)at);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	/* No medium of its own whose room could be told. */
	const struct statvfs st = {
		.f_bsize = MAP_BLOCK, .f_frsize = MAP_BLOCK, .f_namemax = VOLUME_NAME_MAX, .f_flag = ST_RDONLY};
	(void)ino;

	fuse_reply_statfs(req, &st);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct front_tree *f = self(req);
	int err = f->ops->getxattr(f->tree, ino, name, &w);

	front_reply_sized(req, err, &w, size);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct front_tree *f = self(req);
	int err = f->ops->listxattr(f->tree, ino, &w);

	if (err == 0 && fuse_req_ctx(req)->uid != 0)
		front_drop_trusted(&w);
	front_reply_sized(req, err, &w, size);
}

static const struct fuse_lowlevel_ops handlers = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.readlink = op_readlink,
	.opendir = op_opendir,
	.releasedir = op_releasedir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.open = op_open,
	.read = op_read,
	.lseek = op_lseek,
	.statfs = op_statfs,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
};

/* --- life --- */

static int mount_session(struct front_tree *f, const struct front_tree_config *cfg)
{
	const struct front_config shown = {
		.mountpoint = cfg->mountpoint, .fsname = cfg->fsname, .allow_other = cfg->allow_other, .read_only = true};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int err = front_options(&shown, cfg->subtype, &args);

	if (err == 0) {
		f->se = fuse_session_new(&args, &handlers, sizeof(handlers), f);
		err = f->se ? 0 : -EINVAL;
	}
	fuse_opt_free_args(&args);
	if (err)
		return err;
	errno = 0;
	f->mounted = fuse_session_mount(f->se, cfg->mountpoint) == 0;
	if (!f->mounted)
		return errno ? -errno : -EIO;
	return front_device_new(f->se, NULL, &f->device);
}

int front_tree_new(const struct front_tree_config *cfg, struct front_tree **ret, struct diag *d)
{
	struct front_tree *f = calloc(1, sizeof(*f));

	if (!f)
		return diag_fail_errno(d, -ENOMEM, "%s", cfg->mountpoint);
	f->ops = cfg->ops;
	f->tree = cfg->tree;
	front_interruptible_reads();
	int err = mount_session(f, cfg);
	if (err) {
		front_tree_free(f);
		return diag_fail_errno(d, err, "mounting at %s", cfg->mountpoint);
	}
	*ret = f;
	return 0;
}

static void unmount(struct front_tree *f)
{
	if (f->mounted)
		fuse_session_unmount(f->se);
	f->mounted = false;
}

void front_tree_serve(struct front_tree *f)
{
	f->tid = gettid();
	front_device_loop(f->device);
	f->tid = 0;
	unmount(f);
}

void front_tree_stop(struct front_tree *f)
{
	pid_t tid = f->tid;

	fuse_session_exit(f->se);
	if (tid)
		syscall(SYS_tgkill, getpid(), tid, SIGUSR2);
}

void front_tree_free(struct front_tree *f)
{
	if (!f)
		return;
	unmount(f);
	if (f->se)
		fuse_session_destroy(f->se);
	front_device_free(f->device);
	free(f);
}
