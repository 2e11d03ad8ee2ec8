/*
 * A tree of files that never changes, as the read-only front end (fs/front_tree.h) asks for it.
 *
 * Who implements it names its files by numbers of its own choice, READONLY_TREE_ROOT the root; the same number always
 * means the same file, so that the kernel may keep what it was told, and two names of one file have one number. Nothing
 * counts references. One request at a time. Errors are -errno, and go to the program that asked.
 */
#ifndef COFFER_FS_READONLY_TREE_H
#define COFFER_FS_READONLY_TREE_H

#include <sys/types.h>

#include "core/bytes.h"
#include "fs/volume.h"

#define READONLY_TREE_ROOT 1

/*
 * An entry of a listing; cookie: where to go on behind it, from 1 on and below 2^62. attr NULL: not looked at. name NULL:
 * here is an entry that cannot be named for damage; the listing goes on, and ends with EIO. Not 0: no room, stop.
 */
typedef int (*readonly_tree_entry_fn)(void *arg, const char *name, uint64_t node, uint32_t type_mode, uint64_t cookie,
				      const struct volume_attr *attr);

struct readonly_tree_ops {
	/* ret->id is the node. -ENOENT only when there is none for certain. */
	int (*lookup)(void *tree, uint64_t dir, const char *name, struct volume_attr *ret);
	int (*getattr)(void *tree, uint64_t node, struct volume_attr *ret);
	/* Entries behind a cookie (0: all) but "." and "..", until fn has no room. plus: with attr, where at hand. */
	int (*readdir)(void *tree, uint64_t dir, uint64_t cookie, bool plus, readonly_tree_entry_fn fn, void *arg);
	/* The target appended to out, without NUL. */
	int (*readlink)(void *tree, uint64_t node, struct bytes_w *out);
	/* Asked once at each opening, before read and seek. */
	int (*open)(void *tree, uint64_t node);
	/* Bytes read, short only at the end of the file. */
	ssize_t (*read)(void *tree, uint64_t node, void *buf, size_t len, uint64_t off);
	/* SEEK_DATA, SEEK_HOLE. -ENXIO. */
	int (*seek)(void *tree, uint64_t node, uint64_t off, int whence, uint64_t *ret);
	/* The value appended to out. -ENODATA. */
	int (*getxattr)(void *tree, uint64_t node, const char *name, struct bytes_w *out);
	/* Names with their NULs appended to out. */
	int (*listxattr)(void *tree, uint64_t node, struct bytes_w *out);
};

#endif
