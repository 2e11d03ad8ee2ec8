/*
 * The store of memfs. See memfs.h.
 */
#include "tests/bench/memfs.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS (1u << 18)

static struct entry *table[BUCKETS];
struct inode memfs_root;

struct timespec memfs_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t;
}

/* ---- names ---- */

static struct entry **bucket(const struct inode *dir, const char *name)
{
	uint64_t h = (uintptr_t)dir >> 4;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return &table[(h ^ h >> 32) % BUCKETS];
}

struct entry *memfs_find(const struct inode *dir, const char *name)
{
	struct entry *e = *bucket(dir, name);

	while (e && (e->dir != dir || strcmp(e->name, name) != 0))
		e = e->hash_next;
	return e;
}

static void touch(struct inode *dir)
{
	dir->st.st_mtim = dir->st.st_ctim = memfs_now();
}

void memfs_enter(struct inode *dir, const char *name, struct inode *child)
{
	struct entry **b = bucket(dir, name), *e = malloc(sizeof(*e) + strlen(name) + 1);

	if (!e)
		abort();
	*e = (struct entry){.hash_next = *b, .dir = dir, .child = child, .place = dir->n_names};
	strcpy(e->name, name);
	*b = e;
	if ((dir->n_names & (dir->n_names + 1)) == 0) {
		dir->names = realloc(dir->names, 2 * (dir->n_names + 1) * sizeof(e));
		if (!dir->names)
			abort();
	}
	dir->names[dir->n_names++] = e;
	dir->n_live++;
	touch(dir);
}

void memfs_leave(struct entry *e)
{
	struct entry **b = bucket(e->dir, e->name);

	while (*b != e)
		b = &(*b)->hash_next;
	*b = e->hash_next;
	e->dir->names[e->place] = NULL;
	e->dir->n_live--;
	touch(e->dir);
	free(e);
}

/* ---- inodes and xattrs ---- */

struct xattr **memfs_xattr(struct inode *i, const char *name)
{
	struct xattr **x = &i->xattrs;

	while (*x && strcmp((*x)->name, name) != 0)
		x = &(*x)->next;
	return x;
}

void memfs_xattr_remove(struct xattr **at_x)
{
	struct xattr *x = *at_x;

	*at_x = x->next;
	free(x->name);
	free(x->val);
	free(x);
}

void memfs_drop(struct inode *i)
{
	if (i->refs || i->st.st_nlink || i == &memfs_root)
		return;
	for (struct xattr *x = i->xattrs, *next; x; x = next) {
		next = x->next;
		free(x->name);
		free(x->val);
		free(x);
	}
	free(i->data);
	free(i->names);
	free(i);
}

void memfs_resize(struct inode *i, size_t size)
{
	if (size > i->cap) {
		size_t cap = size > 2 * i->cap ? size : 2 * i->cap;

		i->data = realloc(i->data, cap);
		if (!i->data)
			abort();
		memset(i->data + i->cap, 0, cap - i->cap);
		i->cap = cap;
	}
	if (size < (size_t)i->st.st_size)
		memset(i->data + size, 0, (size_t)i->st.st_size - size);
	i->st.st_size = (off_t)size;
	i->st.st_blocks = (blkcnt_t)((size + 511) / 512);
}

void memfs_unname(struct entry *e)
{
	struct inode *i = e->child;

	if (S_ISDIR(i->st.st_mode)) {
		e->dir->st.st_nlink--;
		i->st.st_nlink = 0;
	} else {
		i->st.st_nlink--;
	}
	i->st.st_ctim = memfs_now();
	memfs_leave(e);
	memfs_drop(i);
}

