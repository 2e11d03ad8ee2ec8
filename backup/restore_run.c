/*
 * A restore run: which entries, in which order, and what becomes of those that cannot be restored.
 *
 * Damage and destruction stop nothing: they are counted and named, and the rest goes on. Errors of
 * the target (no space, no permission, a name taken) stop the run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/restore_internal.h"
#include "core/cleanup.h"

struct folder {
	struct restore *r;
	int fd;
};

static int entry(struct restore *r, int dir_fd, const char *name, uint64_t id, uint32_t type_mode);

static void note_first(struct restore *r, uint64_t *io_n, char first[512])
{
	if ((*io_n)++ == 0)
		snprintf(first, 512, "%.500s", *r->path ? r->path : "/");
}

static void damaged(struct restore *r)
{
	note_first(r, &r->res.n_damaged, r->res.first_damaged);
}

void restore_refused(struct restore *r)
{
	note_first(r, &r->res.n_refused, r->res.first_refused);
}

/* An error of the target, told once, where it is known what was being written. */
static int failed(struct restore *r, int err)
{
	return diag_fail_errno(r->d, err, "%s/%s", r->in->to, r->path);
}

/* Appends a component to r->path; its length before. */
static int path_push(struct restore *r, const char *name, size_t *ret_len)
{
	size_t len = strlen(r->path);
	int n = snprintf(r->path + len, sizeof(r->path) - len, "%s%s", len ? "/" : "", name);

	*ret_len = len;
	if (n >= 0 && (size_t)n < sizeof(r->path) - len)
		return 0;
	r->path[len] = 0;
	return failed(r, -ENAMETOOLONG);
}

static int on_child(void *arg, uint64_t child, uint32_t type_mode, const char *name,
		    const char *order)
{
	struct folder *f = arg;
	struct restore *r = f->r;
	size_t len;

	if (!name && !order) {
		damaged(r);
		return 0;
	}
	if (!name) {
		r->res.n_destroyed++;
		snprintf(r->res.order, sizeof(r->res.order), "%s", order);
		return 0;
	}
	int err = path_push(r, name, &len);
	if (err)
		return err;
	err = entry(r, f->fd, name, child, type_mode);
	r->path[len] = 0;
	return err;
}

static int children(struct restore *r, int fd, uint64_t id)
{
	struct folder f = {.r = r, .fd = fd};

	if (r->in->resume)
		restore_clear(fd);
	return setview_children(r->sv, id, on_child, &f);
}

static int folder_content(struct restore *r, int dir_fd, const char *name, uint64_t id,
			  const struct set_node *n)
{
	CLEANUP_FD int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return failed(r, -errno);
	int err = children(r, fd, id);
	if (err)
		return err;
	err = restore_set_attributes(r, fd, n);
	return err ? failed(r, err) : 0;
}

static int tell(struct restore *r)
{
	if (r->in->progress && r->in->progress(r->in->arg, r->res.n_files, r->res.n_bytes))
		return diag_fail(r->d, DIAG_INTERRUPTED, -EINTR, "restore to %s", r->in->to);
	return 0;
}

/* A folder whose own record is damaged still holds what its children's records say: they are
 * restored into a plain one. */
static struct set_node plain_folder(void)
{
	return (struct set_node){.attr = {.mode = S_IFDIR | 0700,
					  .uid = geteuid(),
					  .gid = getegid(),
					  .atime.tv_nsec = UTIME_NOW,
					  .mtime.tv_nsec = UTIME_NOW}};
}

static int entry(struct restore *r, int dir_fd, const char *name, uint64_t id, uint32_t type_mode)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	struct set_node n;
	int err = setview_read_node(r->sv, id, &body, &n);

	if (err == -EBADMSG && S_ISDIR(type_mode)) {
		damaged(r);
		n = plain_folder();
		err = 0;
	}
	if (err == 0)
		err = restore_write(r, dir_fd, name, id, &n);
	if (err == -EKEYREVOKED) {
		r->res.n_destroyed++;
		setview_order(r->sv, id, id, r->res.order);
		return 0;
	}
	if (err == -EBADMSG) {
		damaged(r);
		return 0;
	}
	if (err)
		return failed(r, err);
	if (S_ISDIR(n.attr.mode))
		err = folder_content(r, dir_fd, name, id, &n);
	return err ? err : tell(r);
}

/* --- where to begin --- */

/* Past slashes and "." components, as setview_resolve reads a path. */
static const char *skip(const char *p)
{
	while (*p == '/' || (*p == '.' && (p[1] == '/' || !p[1])))
		p++;
	return p;
}

static const char *last_component(const char *path)
{
	const char *last = skip(path);

	for (const char *p = last; *p; p = skip(p + strcspn(p, "/")))
		last = p;
	return last;
}

int restore_open_folder(int dir_fd, const char *path, size_t path_len, int *ret_fd)
{
	CLEANUP_FD int at = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *end = path + path_len;
	char part[VOLUME_NAME_MAX + 1];

	for (const char *p = path; at >= 0 && p < end;) {
		size_t n = strcspn(p, "/");

		if (n > VOLUME_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(part, p, n);
		part[n] = 0;
		p += n + 1;
		if (n == 0)
			continue;
		CLEANUP_FD int above = at;
		at = openat(above, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	if (at < 0)
		return -errno;
	*ret_fd = STEAL_FD(at);
	return 0;
}

/* A folder that was made on the way, at the first len bytes of path. */
static int finish_made(struct restore *r, int fd, const char *path, size_t len)
{
	CLEANUP_FREE char *part = strndup(path, len);
	CLEANUP_BYTES struct bytes_w body = {0};
	struct set_node n;
	uint64_t id;

	if (!part)
		return failed(r, -ENOMEM);
	int err = setview_resolve(r->sv, part, &id, r->d);
	if (err)
		return err;
	if (setview_read_node(r->sv, id, &body, &n) != 0 || !S_ISDIR(n.attr.mode)) {
		damaged(r);
		return 0;
	}
	err = restore_set_attributes(r, fd, &n);
	return err ? failed(r, err) : 0;
}

/*
 * The entry at path, whose components from rest on are still to go, below the folder at. In place
 * the folders on the way are made where they lack, and get their attributes once their content is
 * there.
 */
static int descend(struct restore *r, int at, const char *path, const char *rest, uint64_t id)
{
	char name[VOLUME_NAME_MAX + 1];
	size_t len, before;

	rest = skip(rest);
	len = strcspn(rest, "/");
	if (len > VOLUME_NAME_MAX)
		return diag_fail_errno(r->d, -ENAMETOOLONG, "%s", path);
	memcpy(name, rest, len);
	name[len] = 0;
	const char *more = skip(rest + len);
	int err = path_push(r, name, &before);
	if (err)
		return err;
	if (!*more) {
		if (r->in->resume)
			restore_clear(at);
		return entry(r, at, name, id, 0);
	}
	bool made = mkdirat(at, name, 0700) == 0;
	if (!made && errno != EEXIST)
		return failed(r, -errno);
	CLEANUP_FD int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(r, -errno);
	err = descend(r, fd, path, more, id);
	if (err == 0 && made)
		err = finish_made(r, fd, path, (size_t)(rest + len - path));
	r->path[before] = 0;
	return err;
}

static int root(struct restore *r)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	struct set_node n;
	int err = children(r, r->to_fd, VOLUME_ROOT_ID);

	if (err || (!r->made_target && !r->in->in_place))
		return err;
	err = setview_read_node(r->sv, VOLUME_ROOT_ID, &body, &n);
	if (err == -EBADMSG || (err == 0 && !S_ISDIR(n.attr.mode))) {
		damaged(r);
		return 0;
	}
	if (err == 0 && r->made_target)
		restore_unmark(r); /* before the times are set, which this moves */
	if (err == 0)
		err = restore_set_attributes(r, r->to_fd, &n);
	return err ? failed(r, err) : 0;
}

static int one_path(struct restore *r, const char *path)
{
	uint64_t id;
	int err = setview_resolve(r->sv, path, &id, r->d);

	if (err)
		return err;
	*r->path = 0;
	if (id == VOLUME_ROOT_ID)
		return root(r);
	return descend(r, r->to_fd, path, r->in->in_place ? path : last_component(path), id);
}

static int check_within(const struct restore *r, int fd)
{
	struct stat st;

	if (!r->in->within)
		return 0;
	if (fstat(fd, &st) != 0)
		return diag_fail_errno(r->d, -errno, "%s", r->in->to);
	return st.st_dev == *r->in->within
		   ? 0
		   : diag_fail(r->d, DIAG_DENIED, -EPERM, "%s lies outside the volume", r->in->to);
}

/* The folder that `to` is or will be in, and the name there: "." for one that ends in no name. */
static int open_above(const struct restore *r, int *ret_fd, char last[VOLUME_NAME_MAX + 1])
{
	CLEANUP_FREE char *above = strdup(r->in->to);
	size_t n = above ? strlen(above) : 0;

	if (!above)
		return diag_fail_errno(r->d, -ENOMEM, "%s", r->in->to);
	while (n > 1 && above[n - 1] == '/')
		above[--n] = 0;
	char *slash = strrchr(above, '/');
	const char *name = slash ? slash + 1 : above;
	if (strlen(name) > VOLUME_NAME_MAX)
		return diag_fail_errno(r->d, -ENAMETOOLONG, "%s", r->in->to);
	strcpy(last, *name ? name : ".");
	if (slash)
		slash[slash == above] = 0;
	*ret_fd = open(slash ? above : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? diag_fail_errno(r->d, -errno, "%s", r->in->to) : 0;
}

/* Nothing is made outside; and what was made is what is there. */
static int make_target(struct restore *r, int above, const char *last)
{
	struct stat st;

	if (faccessat(above, last, F_OK, 0) != 0) {
		int err = check_within(r, above);
		if (err)
			return err;
		r->made_target = mkdirat(above, last, 0700) == 0;
		if (!r->made_target && errno != EEXIST)
			return diag_fail_errno(r->d, -errno, "%s", r->in->to);
	}
	if (r->in->quarantine && !r->made_target)
		return diag_fail(r->d, DIAG_EXISTS, -EEXIST,
				 "%s: a new folder is needed, which only the owner of the files can enter",
				 r->in->to);
	r->to_fd = openat(above, last, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->to_fd < 0 || fstat(r->to_fd, &st) != 0)
		return diag_fail_errno(r->d, -errno, "%s", r->in->to);
	if (r->made_target && (st.st_uid != geteuid() || (st.st_mode & 077)))
		return diag_fail_errno(r->d, -ESTALE, "%s", r->in->to);
	int err = check_within(r, r->to_fd);
	if (err)
		return err;
	if (r->made_target && !r->in->quarantine && (err = restore_mark(r)) != 0)
		return diag_fail_errno(r->d, err, "%s", r->in->to);
	r->made_target |= r->in->resume && restore_marked(r);
	return 0;
}

static int open_target(struct restore *r)
{
	char last[VOLUME_NAME_MAX + 1];
	CLEANUP_FD int above = -1;
	int err = open_above(r, &above, last);

	if (err == 0)
		err = make_target(r, above, last);
	if (err)
		return err;
	r->range = malloc(SET_RANGE);
	return r->range ? 0 : diag_fail_errno(r->d, -ENOMEM, "%s", r->in->to);
}

static void close_target(struct restore *r)
{
	restore_links_free(r);
	free(r->range);
	if (r->to_fd >= 0)
		close(r->to_fd);
}

int restore_run(const struct restore_request *in, struct restore_result *ret, struct diag *d)
{
	CLEANUP_FREE struct restore *r = calloc(1, sizeof(*r));

	*ret = (struct restore_result){0};
	if (!r)
		return diag_fail_errno(d, -ENOMEM, "%s", in->to);
	r->in = in;
	r->sv = in->view;
	r->d = d;
	r->to_fd = -1;
	int err = open_target(r);
	if (err == 0 && in->n_paths == 0)
		err = root(r);
	for (size_t i = 0; err == 0 && i < in->n_paths; i++)
		err = one_path(r, in->paths[i]);
	if (err == 0 && r->made_target)
		restore_unmark(r);
	close_target(r);
	*ret = r->res;
	if (err == 0 && r->res.n_damaged)
		err = diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG,
				"set %s: %llu entries could not be restored, first %s",
				setview_id(r->sv), (unsigned long long)r->res.n_damaged,
				r->res.first_damaged);
	else if (err == 0 && r->res.n_refused)
		err = diag_fail_errno(
		    d, -EPERM, "%llu entries lack an owner, attribute or device, first %s/%s",
		    (unsigned long long)r->res.n_refused, in->to, r->res.first_refused);
	return err;
}
