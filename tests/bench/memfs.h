/*
 * What memfs holds: inodes, names and xattrs in memory. Not locked; without memory for it, the program ends.
 */
#ifndef COFFER_BENCH_MEMFS_H
#define COFFER_BENCH_MEMFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#define MEMFS_BLOCK 4096u

struct inode;

struct xattr {
	struct xattr *next;
	size_t len;
	char *name;
	void *val;
};

/* A name in a folder. */
struct entry {
	struct entry *hash_next;
	struct inode *dir, *child;
	size_t place; /* in dir->names: its readdir offset */
	char name[];
};

struct inode {
	struct stat st;
	uint64_t refs;
	char *data; /* content, or a symlink's target */
	size_t cap;
	struct xattr *xattrs;
	struct inode *parent;   /* folders */
	struct entry **names;   /* folders: in order of arrival, NULL where one went */
	size_t n_names, n_live; /* of that array, and those of them that are there */
};

extern struct inode memfs_root;

struct timespec memfs_now(void);
/* NULL: no such name. */
struct entry *memfs_find(const struct inode *dir, const char *name);
/* Gives child a name; its link count is the caller's. */
void memfs_enter(struct inode *dir, const char *name, struct inode *child);
/* Takes the name away, nothing else. */
void memfs_leave(struct entry *e);
/* The name and its link; the inode with the last. */
void memfs_unname(struct entry *e);
/* Frees an inode that has neither name nor reference. */
void memfs_drop(struct inode *i);
/* Zeros where it grows. */
void memfs_resize(struct inode *i, size_t size);
/* Where the xattr is, or would be linked in. */
struct xattr **memfs_xattr(struct inode *i, const char *name);
void memfs_xattr_remove(struct xattr **at);

#endif
