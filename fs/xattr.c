/*
 * Extended attributes: one sealed list for each inode that has any, padded as a record.
 *
 * The list is a run of pairs, each u8 name length, name, a zero byte, u32 LE value length, value.
 * The zero lets names be handed out in place. The record exists exactly while the inode record says
 * has_xattrs, so the two are put together: the inode record goes into the overlay in the same call,
 * never only "dirty", or a commit between would publish one without the other. ctime moves with
 * every change, which also brings the list to the next incremental backup.
 */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "core/bytes.h"
#include "fs/engine.h"

#define XATTR_NAME_LEN_MAX 255u
#define XATTR_VALUE_LEN_MAX 65536u
#define XATTR_LIST_LEN_MAX (1u << 20)
#define XATTR_PAIR_OVERHEAD 6u

#define ACL_NAME_PREFIX "system.posix_acl_"

bool volume_xattrs_next(const uint8_t *xattrs, size_t len, size_t *pos, const char **name,
			const uint8_t **val, size_t *val_len)
{
	size_t at = *pos;

	if (at >= len || len - at < XATTR_PAIR_OVERHEAD)
		return false;
	size_t name_len = xattrs[at];
	const uint8_t *n = xattrs + at + 1;
	if (!name_len || len - at - XATTR_PAIR_OVERHEAD < name_len || n[name_len] ||
	    memchr(n, 0, name_len))
		return false;
	at += 1 + name_len + 1;
	size_t n_val = bytes_get32(xattrs + at);
	at += 4;
	if (n_val > XATTR_VALUE_LEN_MAX || len - at < n_val)
		return false;
	*name = (const char *)n;
	*val = xattrs + at;
	*val_len = n_val;
	*pos = at + n_val;
	return true;
}

int xattr_record_decode(const uint8_t *p, size_t len, size_t *ret_list_len)
{
	size_t pos = 0, val_len;
	const char *name;
	const uint8_t *val;

	/* No name has length zero, so a list ends where its padding begins. */
	while (volume_xattrs_next(p, len, &pos, &name, &val, &val_len))
		;
	if (!pos || !record_padded(p, len, pos))
		return -EUCLEAN;
	*ret_list_len = pos;
	return 0;
}

const uint8_t *xattr_find(const uint8_t *list, size_t len, const char *name, size_t *ret_len)
{
	size_t pos = 0, val_len;
	const char *n;
	const uint8_t *val;

	while (volume_xattrs_next(list, len, &pos, &n, &val, &val_len)) {
		if (strcmp(n, name) == 0) {
			*ret_len = val_len;
			return val;
		}
	}
	return NULL;
}

static void put_pair(struct bytes_w *out, const char *name, const void *val, size_t val_len)
{
	size_t name_len = strlen(name);

	bytes_w_u8(out, (uint8_t)name_len);
	bytes_w_raw(out, name, name_len + 1);
	bytes_w_u32(out, (uint32_t)val_len);
	bytes_w_raw(out, val, val_len);
}

void xattr_replace(const uint8_t *list, size_t len, const char *name, const void *val,
		   size_t val_len, struct bytes_w *out)
{
	size_t pos = 0, n_old;
	const char *n;
	const uint8_t *old;
	bool placed = !val;

	while (volume_xattrs_next(list, len, &pos, &n, &old, &n_old)) {
		if (strcmp(n, name) != 0) {
			put_pair(out, n, old, n_old);
		} else if (!placed) {
			put_pair(out, name, val, val_len);
			placed = true;
		}
	}
	if (!placed)
		put_pair(out, name, val, val_len);
}

int xattr_read(struct volume *v, struct vinode *ino, struct bytes_w *out)
{
	if (!ino->has_xattrs)
		return 0;
	struct rstore_key key = engine_file_key(ino->id, SUB_XATTR);
	size_t before = out->len;
	size_t len = 0;
	int r = rstore_get(v->rs, &key, out, NULL);

	/* The inode says that there is one: its absence, though proved, is damage. */
	if (r == -ENOENT)
		r = -EUCLEAN;
	if (r == 0)
		r = xattr_record_decode(out->buf + before, out->len - before, &len);
	out->len = before + len;
	return r ? engine_fault(v, r, ino->id, "xattr record", 0) : 0;
}

int xattr_write(struct volume *v, struct vinode *ino, const void *list, size_t len)
{
	CLEANUP_BYTES struct bytes_w record = {0};
	struct rstore_key key = engine_file_key(ino->id, SUB_XATTR);
	int r = 0;

	if (len > XATTR_LIST_LEN_MAX)
		return -ENOSPC;
	bytes_w_raw(&record, list, len);
	record_pad(&record, len);
	if (record.err)
		return record.err;
	if (len)
		r = rstore_put(v->rs, &key, record.buf, record.len);
	else if (ino->has_xattrs)
		r = rstore_del(v->rs, &key);
	if (r)
		return r;
	ino->has_xattrs = len > 0;
	ino->names_epoch = v->epoch;
	inode_mark_dirty(v, ino);
	r = inode_put_record(v, ino);
	return r ? engine_half_done(v, r, "xattrs") : 0;
}

static bool is_acl(const char *name)
{
	return strncmp(name, ACL_NAME_PREFIX, strlen(ACL_NAME_PREFIX)) == 0;
}

static int check_name(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > XATTR_NAME_LEN_MAX)
		return -ERANGE;
	if (strncmp(name, "system.", 7) == 0 && !is_acl(name))
		return -EOPNOTSUPP;
	return 0;
}

/* Puts (val) or removes (NULL) one pair of an inode whose list is given, and stamps ctime. */
static int change_pair(struct volume *v, struct vinode *ino, const struct bytes_w *list,
		       const char *name, const void *val, size_t len)
{
	CLEANUP_BYTES struct bytes_w next = {0};

	xattr_replace(list->buf, list->len, name, val, len, &next);
	if (next.err)
		return next.err;
	struct timespec old = ino->attr.ctime;
	ino->attr.ctime = engine_now();
	int r = xattr_write(v, ino, next.buf, next.len);
	if (r)
		ino->attr.ctime = old;
	return r;
}

int volume_getxattr(struct volume *v, uint64_t id, const char *name, struct bytes_w *out)
{
	CLEANUP_BYTES struct bytes_w list = {0};
	struct vinode *ino;
	size_t len;

	engine_enter(v);
	int r = inode_get(v, id, &ino);
	if (r == 0) {
		r = xattr_read(v, ino, &list);
		inode_unpin(v, ino);
	}
	engine_leave(v);
	if (r)
		return r;
	const uint8_t *val = xattr_find(list.buf, list.len, name, &len);
	if (!val)
		return -ENODATA;
	bytes_w_raw(out, val, len);
	return out->err;
}

int volume_listxattr(struct volume *v, uint64_t id, struct bytes_w *out)
{
	CLEANUP_BYTES struct bytes_w list = {0};
	struct vinode *ino;
	size_t pos = 0, len;
	const char *name;
	const uint8_t *val;

	engine_enter(v);
	int r = inode_get(v, id, &ino);
	if (r == 0) {
		r = xattr_read(v, ino, &list);
		inode_unpin(v, ino);
	}
	engine_leave(v);
	if (r)
		return r;
	while (volume_xattrs_next(list.buf, list.len, &pos, &name, &val, &len))
		bytes_w_raw(out, name, strlen(name) + 1);
	return out->err;
}

static int set_locked(struct volume *v, struct vinode *ino, const char *name, const void *val,
		      size_t len, int flags)
{
	CLEANUP_BYTES struct bytes_w list = {0};
	bool drop = false;
	size_t old_len;
	int r = xattr_read(v, ino, &list);

	if (r)
		return r;
	uint32_t mode = ino->attr.mode;
	bool there = xattr_find(list.buf, list.len, name, &old_len) != NULL;
	if (there && (flags & XATTR_CREATE))
		return -EEXIST;
	if (!there && (flags & XATTR_REPLACE))
		return -ENODATA;
	if (is_acl(name)) {
		r = acl_set(v, ino, name, val, len, &drop);
		if (r)
			return r;
	}
	r = change_pair(v, ino, &list, name, drop ? NULL : val, len);
	if (r)
		ino->attr.mode = mode;
	return r;
}

int volume_setxattr(struct volume *v, uint64_t id, const char *name, const void *val, size_t len,
		    int flags)
{
	struct vinode *ino;
	int r = check_name(name);

	if (r)
		return r;
	if (len > XATTR_VALUE_LEN_MAX)
		return -E2BIG;
	if (!val)
		val = ""; /* an empty value is a value */
	engine_enter(v);
	r = engine_room(v);
	if (r == 0)
		r = inode_get(v, id, &ino);
	if (r == 0) {
		r = freeze_check(v, id);
		if (r == 0)
			r = set_locked(v, ino, name, val, len, flags);
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r;
}

static int remove_locked(struct volume *v, struct vinode *ino, const char *name)
{
	CLEANUP_BYTES struct bytes_w list = {0};
	size_t len;
	int r = xattr_read(v, ino, &list);

	if (r)
		return r;
	if (!xattr_find(list.buf, list.len, name, &len))
		return is_acl(name) ? 0
				    : -ENODATA; /* having no ACL is what removing one asks for */
	return change_pair(v, ino, &list, name, NULL, 0);
}

int volume_removexattr(struct volume *v, uint64_t id, const char *name)
{
	struct vinode *ino;
	int r = check_name(name);

	if (r)
		return r;
	engine_enter(v);
	r = engine_writable(v);
	if (r == 0)
		r = inode_get(v, id, &ino);
	if (r == 0) {
		r = freeze_check(v, id);
		if (r == 0)
			r = remove_locked(v, ino, name);
		inode_unpin(v, ino);
	}
	engine_leave(v);
	return r;
}
