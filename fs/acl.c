/*
 * POSIX.1e access control lists, kept as the xattrs by which the kernel passes them.
 *
 * The value is the kernel's: u32 LE version 2, then entries {u16 tag, u16 permissions, u32 id}. The
 * kernel checks permissions against it; the engine keeps what POSIX.1e says about its relation to
 * the mode: an access ACL's owner, mask (or group) and other entries are the mode's bits, in both
 * directions, and a new inode inherits its folder's default ACL in place of the umask. Source:
 * POSIX.1e draft 17, sections 23.1 and 23.3.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "fs/engine.h"

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define ACL_VERSION 2u
#define ACL_HEAD_LEN 4u
#define ACL_ENTRY_LEN 8u
#define ACL_NO_ID UINT32_MAX

enum acl_tag {
	TAG_USER_OBJ = 0x01,
	TAG_USER = 0x02,
	TAG_GROUP_OBJ = 0x04,
	TAG_GROUP = 0x08,
	TAG_MASK = 0x10,
	TAG_OTHER = 0x20,
};

/* A checked ACL, changed in place in its encoded form; offsets of the entries that stand for mode
 * bits (0: none). */
struct acl {
	uint8_t *p;
	size_t len;
	size_t user_obj, group_obj, mask, other;
	bool extended; /* says more than a mode can */
};

static unsigned perm_get(const struct acl *a, size_t off)
{
	return bytes_get16(a->p + off + 2);
}

static void perm_set(struct acl *a, size_t off, unsigned perm)
{
	bytes_put16(a->p + off + 2, (uint16_t)(perm & 7));
}

/* The entry that the group bits of a mode stand for. */
static size_t group_class(const struct acl *a)
{
	return a->mask ? a->mask : a->group_obj;
}

/* One entry: tags come in ascending order, and each but USER and GROUP once. */
static int check_entry(struct acl *a, size_t off, unsigned *io_tag)
{
	unsigned tag = bytes_get16(a->p + off);
	bool named = tag == TAG_USER || tag == TAG_GROUP;
	size_t *place = NULL;

	if (perm_get(a, off) > 7 || tag < *io_tag || (tag == *io_tag && !named))
		return -EINVAL;
	*io_tag = tag;
	switch (tag) {
	case TAG_USER_OBJ:
		place = &a->user_obj;
		break;
	case TAG_GROUP_OBJ:
		place = &a->group_obj;
		break;
	case TAG_MASK:
		place = &a->mask;
		break;
	case TAG_OTHER:
		place = &a->other;
		break;
	case TAG_USER:
	case TAG_GROUP:
		break;
	default:
		return -EINVAL;
	}
	if (place)
		*place = off;
	else if (bytes_get32(a->p + off + 4) == ACL_NO_ID)
		return -EINVAL;
	if (named || tag == TAG_MASK)
		a->extended = true;
	return 0;
}

/* p stays the caller's. -EINVAL, -EOPNOTSUPP for another version. */
static int acl_parse(uint8_t *p, size_t len, struct acl *ret)
{
	struct acl a = {.p = p, .len = len};
	unsigned tag = 0;

	if (len < ACL_HEAD_LEN || (len - ACL_HEAD_LEN) % ACL_ENTRY_LEN)
		return -EINVAL;
	if (bytes_get32(p) != ACL_VERSION)
		return -EOPNOTSUPP;
	for (size_t off = ACL_HEAD_LEN; off < len; off += ACL_ENTRY_LEN) {
		int r = check_entry(&a, off, &tag);
		if (r)
			return r;
	}
	if (!a.user_obj || !a.group_obj || !a.other || (a.extended && !a.mask))
		return -EINVAL;
	*ret = a;
	return 0;
}

static uint32_t acl_mode(const struct acl *a)
{
	return perm_get(a, a->user_obj) << 6 | perm_get(a, group_class(a)) << 3 |
	       perm_get(a, a->other);
}

static int copy_value(const void *val, size_t len, uint8_t **ret)
{
	uint8_t *p = malloc(len ? len : 1);

	if (!p)
		return -ENOMEM;
	memcpy(p, val, len);
	*ret = p;
	return 0;
}

int acl_set(struct volume *v, struct vinode *ino, const char *name, const void *val, size_t len,
	    bool *ret_drop)
{
	CLEANUP_FREE uint8_t *p = NULL;
	bool access = strcmp(name, ACL_ACCESS) == 0;
	struct acl a;

	(void)v;
	if (!access && strcmp(name, ACL_DEFAULT) != 0)
		return -EOPNOTSUPP;
	if (S_ISLNK(ino->attr.mode))
		return -EOPNOTSUPP;
	/* No entries: the same as removing it. */
	if (len == 0 || (len == ACL_HEAD_LEN && bytes_get32(val) == ACL_VERSION)) {
		*ret_drop = true;
		return 0;
	}
	int r = copy_value(val, len, &p);
	if (r == 0)
		r = acl_parse(p, len, &a);
	if (r)
		return r;
	if (!access && !S_ISDIR(ino->attr.mode))
		return -EACCES;
	if (access)
		ino->attr.mode = (ino->attr.mode & ~0777u) | acl_mode(&a);
	*ret_drop = access && !a.extended;
	return 0;
}

/* A stored ACL, copied out of the list for change; 0 with *ret_p NULL when there is none. */
static int acl_load(struct volume *v, const struct vinode *ino, const struct bytes_w *list,
		    const char *name, uint8_t **ret_p, struct acl *ret)
{
	CLEANUP_FREE uint8_t *p = NULL;
	size_t len;
	const uint8_t *val = xattr_find(list->buf, list->len, name, &len);

	if (!val)
		return 0;
	int r = copy_value(val, len, &p);
	if (r)
		return r;
	if (acl_parse(p, len, ret))
		return engine_fault(v, -EUCLEAN, ino->id, "access control list", 0);
	*ret_p = STEAL_PTR(p);
	return 0;
}

int acl_chmod(struct volume *v, struct vinode *ino)
{
	CLEANUP_BYTES struct bytes_w list = {0}, next = {0};
	CLEANUP_FREE uint8_t *p = NULL;
	uint32_t mode = ino->attr.mode;
	struct acl a;
	int r = xattr_read(v, ino, &list);

	if (r == 0)
		r = acl_load(v, ino, &list, ACL_ACCESS, &p, &a);
	if (r || !p)
		return r;
	perm_set(&a, a.user_obj, mode >> 6);
	perm_set(&a, group_class(&a), mode >> 3);
	perm_set(&a, a.other, mode);
	xattr_replace(list.buf, list.len, ACL_ACCESS, a.p, a.len, &next);
	return next.err ? next.err : xattr_write(v, ino, next.buf, next.len);
}

/* Both the ACL's entries and the mode keep only what the other allows (POSIX.1e 23.3). */
static void acl_mask_both(struct acl *a, uint32_t *io_mode)
{
	uint32_t both = *io_mode & acl_mode(a);

	perm_set(a, a->user_obj, both >> 6);
	perm_set(a, group_class(a), both >> 3);
	perm_set(a, a->other, both);
	*io_mode = (*io_mode & ~0777u) | (both & 0777u);
}

int acl_inherit(struct volume *v, struct vinode *dir, struct vinode *ino, uint32_t umask)
{
	CLEANUP_BYTES struct bytes_w theirs = {0}, with_default = {0}, list = {0};
	CLEANUP_FREE uint8_t *p = NULL;
	struct acl a;

	if (S_ISLNK(ino->attr.mode))
		return 0;
	int r = xattr_read(v, dir, &theirs);
	if (r == 0)
		r = acl_load(v, dir, &theirs, ACL_DEFAULT, &p, &a);
	if (r)
		return r;
	if (!p) {
		ino->attr.mode &= ~(umask & 0777u);
		return 0;
	}
	/* The child's own default is the parent's, unmasked: taken before the entries change. */
	if (S_ISDIR(ino->attr.mode))
		xattr_replace(NULL, 0, ACL_DEFAULT, a.p, a.len, &with_default);
	acl_mask_both(&a, &ino->attr.mode);
	xattr_replace(with_default.buf, with_default.len, ACL_ACCESS, a.extended ? a.p : NULL,
		      a.len, &list);
	if (with_default.err || list.err)
		return with_default.err ? with_default.err : list.err;
	return list.len ? xattr_write(v, ino, list.buf, list.len) : 0;
}
