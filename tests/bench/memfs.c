/*
 * The floor under the benchmark: a FUSE filesystem that stores everything in memory and nothing else.
 *
 * It stands on coffer's own way of taking requests (fs/front_device.c), asks the kernel for the same features and answers with the
 * same timeouts, so that what coffer needs beyond it is what coffer does: records, seals, freshness, commits. One lock guards it
 * all. Ids are the addresses of inodes; an inode goes when it has neither a name nor a reference.
 *
 * usage: memfs MOUNTPOINT    (serves in the foreground until unmounted)
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "fs/front_device.h"
#include "tests/bench/memfs.h"

#define TIMEOUT 86400.0
#define THREADS 4

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct inode *at(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &memfs_root : (struct inode *)(uintptr_t)ino;
}

static fuse_ino_t id_of(const struct inode *i)
{
	return i == &memfs_root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)i;
}

/* ---- inodes ---- */

static void reply_entry(fuse_req_t req, struct inode *i)
{
	struct fuse_entry_param e = {.ino = id_of(i), .generation = 1, .attr = i->st, .attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT};

	i->refs++;
	fuse_reply_entry(req, &e);
}

static struct inode *make(fuse_req_t req, struct inode *dir, const char *name, mode_t mode, dev_t rdev)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct inode *i = calloc(1, sizeof(*i));

	if (!i)
		abort();
	i->st = (struct stat){.st_ino = id_of(i), .st_mode = mode & ~(ctx->umask & 0777), .st_uid = ctx->uid, .st_gid = ctx->gid,
			      .st_rdev = rdev, .st_nlink = S_ISDIR(mode) ? 2 : 1, .st_blksize = MEMFS_BLOCK};
	i->st.st_atim = i->st.st_mtim = i->st.st_ctim = memfs_now();
	if (S_ISDIR(mode)) {
		i->parent = dir;
		dir->st.st_nlink++;
	}
	memfs_enter(dir, name, i);
	return i;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	front_device_init(conn);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	pthread_mutex_lock(&lock);
	struct entry *e = memfs_find(at(parent), name);
	struct fuse_entry_param absent = {.entry_timeout = TIMEOUT};

	if (e)
		reply_entry(req, e->child);
	else
		fuse_reply_entry(req, &absent);
	pthread_mutex_unlock(&lock);
}

static void forget(fuse_ino_t ino, uint64_t n)
{
	struct inode *i = at(ino);

	i->refs -= n < i->refs ? n : i->refs;
	memfs_drop(i);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	pthread_mutex_lock(&lock);
	forget(ino, n);
	pthread_mutex_unlock(&lock);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *list)
{
	pthread_mutex_lock(&lock);
	for (size_t k = 0; k < count; k++)
		forget(list[k].ino, list[k].nlookup);
	pthread_mutex_unlock(&lock);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	pthread_mutex_lock(&lock);
	fuse_reply_attr(req, &at(ino)->st, TIMEOUT);
	pthread_mutex_unlock(&lock);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, struct fuse_file_info *fi)
{
	(void)fi;
	pthread_mutex_lock(&lock);
	struct inode *i = at(ino);
	if (set & FUSE_SET_ATTR_MODE)
		i->st.st_mode = (i->st.st_mode & S_IFMT) | (st->st_mode & 07777);
	if (set & FUSE_SET_ATTR_UID)
		i->st.st_uid = st->st_uid;
	if (set & FUSE_SET_ATTR_GID)
		i->st.st_gid = st->st_gid;
	if (set & FUSE_SET_ATTR_SIZE)
		memfs_resize(i, (size_t)st->st_size);
	if (set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		i->st.st_atim = set & FUSE_SET_ATTR_ATIME_NOW ? memfs_now() : st->st_atim;
	if (set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		i->st.st_mtim = set & FUSE_SET_ATTR_MTIME_NOW ? memfs_now() : st->st_mtim;
	i->st.st_ctim = set & FUSE_SET_ATTR_CTIME ? st->st_ctim : memfs_now();
	fuse_reply_attr(req, &i->st, TIMEOUT);
	pthread_mutex_unlock(&lock);
}

/* ---- making and removing ---- */

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	pthread_mutex_lock(&lock);
	reply_entry(req, make(req, at(parent), name, mode, rdev));
	pthread_mutex_unlock(&lock);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	op_mknod(req, parent, name, S_IFDIR | (mode & 07777), 0);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	pthread_mutex_lock(&lock);
	struct inode *i = make(req, at(parent), name, S_IFLNK | 0777, 0);
	memfs_resize(i, strlen(target));
	memcpy(i->data, target, strlen(target));
	reply_entry(req, i);
	pthread_mutex_unlock(&lock);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[MEMFS_BLOCK] = {0};

	pthread_mutex_lock(&lock);
	memcpy(target, at(ino)->data, (size_t)at(ino)->st.st_size % sizeof(target));
	pthread_mutex_unlock(&lock);
	fuse_reply_readlink(req, target);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	pthread_mutex_lock(&lock);
	struct inode *i = make(req, at(parent), name, S_IFREG | (mode & 07777), 0);
	struct fuse_entry_param e = {.ino = id_of(i), .generation = 1, .attr = i->st, .attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT};
	i->refs++;
	fi->keep_cache = 1;
	fuse_reply_create(req, &e, fi);
	pthread_mutex_unlock(&lock);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	pthread_mutex_lock(&lock);
	memfs_enter(at(parent), name, at(ino));
	at(ino)->st.st_nlink++;
	reply_entry(req, at(ino));
	pthread_mutex_unlock(&lock);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	int err = 0;

	pthread_mutex_lock(&lock);
	struct entry *e = memfs_find(at(parent), name);
	if (!e)
		err = ENOENT;
	else if (S_ISDIR(e->child->st.st_mode) && e->child->n_live)
		err = ENOTEMPTY;
	else
		memfs_unname(e);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, err);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name, unsigned int flags)
{
	int err = flags ? EINVAL : 0;

	pthread_mutex_lock(&lock);
	struct entry *from = memfs_find(at(parent), name), *to = memfs_find(at(new_parent), new_name);
	if (!err && !from)
		err = ENOENT;
	if (!err && to)
		memfs_unname(to);
	if (!err) {
		struct inode *i = from->child;

		memfs_leave(from);
		memfs_enter(at(new_parent), new_name, i);
		if (S_ISDIR(i->st.st_mode)) {
			at(parent)->st.st_nlink--;
			at(new_parent)->st.st_nlink++;
			i->parent = at(new_parent);
		}
	}
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, err);
}

/* ---- files ---- */

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void op_done(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	op_done(req, ino, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	pthread_mutex_lock(&lock);
	const struct inode *i = at(ino);
	size_t left = off < i->st.st_size ? (size_t)(i->st.st_size - off) : 0;
	fuse_reply_buf(req, left ? i->data + off : NULL, size < left ? size : left);
	pthread_mutex_unlock(&lock);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	pthread_mutex_lock(&lock);
	struct inode *i = at(ino);
	if ((size_t)off + size > (size_t)i->st.st_size)
		memfs_resize(i, (size_t)off + size);
	memcpy(i->data + off, buf, size);
	pthread_mutex_unlock(&lock);
	fuse_reply_write(req, size);
}

/* ---- listing ---- */

struct listing {
	fuse_req_t req;
	char *buf;
	size_t size, len;
	bool plus;
};

static bool put(struct listing *l, const char *name, struct inode *i, size_t off, bool refer)
{
	struct fuse_entry_param e = {.ino = refer ? id_of(i) : 0, .generation = 1, .attr = i->st, .attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT};
	size_t n = l->plus ? fuse_add_direntry_plus(l->req, l->buf + l->len, l->size - l->len, name, &e, (off_t)off)
			   : fuse_add_direntry(l->req, l->buf + l->len, l->size - l->len, name, &i->st, (off_t)off);

	if (n > l->size - l->len)
		return false;
	l->len += n;
	i->refs += l->plus && refer;
	return true;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct listing l = {.req = req, .buf = malloc(size), .size = size, .plus = plus};
	size_t k = (size_t)off;
	bool fits = l.buf != NULL;

	pthread_mutex_lock(&lock);
	struct inode *dir = at(ino);
	if (fits && k == 0 && (fits = put(&l, ".", dir, 1, false)))
		k = 1;
	if (fits && k == 1 && (fits = put(&l, "..", dir->parent ? dir->parent : dir, 2, false)))
		k = 2;
	for (; fits && k - 2 < dir->n_names; k++)
		if (dir->names[k - 2])
			fits = put(&l, dir->names[k - 2]->name, dir->names[k - 2]->child, k + 1, true);
	fuse_reply_buf(req, l.buf, l.len);
	pthread_mutex_unlock(&lock);
	free(l.buf);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {.f_bsize = MEMFS_BLOCK, .f_frsize = MEMFS_BLOCK, .f_blocks = 1 << 26, .f_bfree = 1 << 25, .f_bavail = 1 << 25, .f_namemax = 255};

	(void)ino;
	fuse_reply_statfs(req, &st);
}

/* ---- extended attributes ---- */

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct xattr *x = calloc(1, sizeof(*x));

	(void)flags;
	if (!x || !(x->name = strdup(name)) || !(x->val = malloc(size + 1)))
		abort();
	memcpy(x->val, value, size);
	x->len = size;
	pthread_mutex_lock(&lock);
	struct xattr **old = memfs_xattr(at(ino), name);
	if (*old)
		memfs_xattr_remove(old);
	x->next = at(ino)->xattrs;
	at(ino)->xattrs = x;
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, 0);
}

static void reply_sized(fuse_req_t req, const void *p, size_t len, size_t size)
{
	if (!size)
		fuse_reply_xattr(req, len);
	else if (size < len)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, p, len);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	pthread_mutex_lock(&lock);
	const struct xattr *x = *memfs_xattr(at(ino), name);
	if (x)
		reply_sized(req, x->val, x->len, size);
	else
		fuse_reply_err(req, ENODATA);
	pthread_mutex_unlock(&lock);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char names[MEMFS_BLOCK];
	size_t len = 0;

	pthread_mutex_lock(&lock);
	for (const struct xattr *x = at(ino)->xattrs; x && len + strlen(x->name) < sizeof(names); x = x->next)
		len += (size_t)sprintf(names + len, "%s", x->name) + 1;
	pthread_mutex_unlock(&lock);
	reply_sized(req, names, len, size);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	pthread_mutex_lock(&lock);
	struct xattr **x = memfs_xattr(at(ino), name);
	int err = *x ? 0 : ENODATA;
	if (*x)
		memfs_xattr_remove(x);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, err);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init, .lookup = op_lookup, .forget = op_forget, .forget_multi = op_forget_multi,
	.getattr = op_getattr, .setattr = op_setattr, .readlink = op_readlink, .mknod = op_mknod,
	.mkdir = op_mkdir, .symlink = op_symlink, .unlink = op_unlink, .rmdir = op_unlink,
	.rename = op_rename, .link = op_link, .open = op_open, .create = op_create, .release = op_done,
	.read = op_read, .write = op_write, .fsync = op_fsync, .opendir = op_opendir,
	.readdir = op_readdir, .readdirplus = op_readdirplus, .statfs = op_statfs,
	.setxattr = op_setxattr, .getxattr = op_getxattr, .listxattr = op_listxattr,
	.removexattr = op_removexattr,
};

static void *serve(void *device)
{
	front_device_loop(device);
	return NULL;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct front_device *device;
	pthread_t more;

	if (argc != 2) {
		fprintf(stderr, "usage: memfs MOUNTPOINT\n");
		return 2;
	}
	if (fuse_opt_add_arg(&args, "memfs") ||
	    fuse_opt_add_arg(&args, "-osubtype=memfs,default_permissions,allow_other,fsname=memfs"))
		return 1;
	memfs_root.st = (struct stat){.st_ino = FUSE_ROOT_ID, .st_mode = S_IFDIR | 0755, .st_nlink = 2, .st_blksize = MEMFS_BLOCK};
	memfs_root.st.st_mtim = memfs_root.st.st_ctim = memfs_now();
	struct fuse_session *se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!se || fuse_session_mount(se, argv[1]) != 0 || front_device_new(se, NULL, &device) != 0)
		return 1;
	for (int n = 1; n < THREADS; n++)
		if (pthread_create(&more, NULL, serve, device) == 0)
			pthread_detach(more);
	front_device_loop(device);
	fuse_session_unmount(se);
	return 0;
}
