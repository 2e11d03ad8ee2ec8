/*
 * A filesystem in memory that is right by being simple: what a volume has to look like, and, kept
 * for each step, what it may look like after a power cut.
 *
 * Folders are arrays indexed by letter (see ops.h), content is shared between copies until it is
 * written to.
 */
#ifndef COFFER_TESTS_CRASH_REFERENCE_H
#define COFFER_TESTS_CRASH_REFERENCE_H

#include <stdbool.h>

#include "tests/crash/ops.h"

#define REFERENCE_NODES 64u
#define REFERENCE_ROOT 1u
#define REFERENCE_XATTRS 4u

struct blob {
	unsigned refs;
	size_t len;
	uint8_t *p;
};

struct reference_node {
	uint64_t serial; /* never twice; 0: free */
	uint64_t id;     /* in the volume; 0 until the driver tells */
	uint32_t type, mode, nlink, uid, gid, rdev;
	uint32_t target;                  /* salt of a symlink's */
	uint32_t xattr[REFERENCE_XATTRS]; /* salts, 0: none */
	uint8_t child[OPS_LETTERS];
	uint8_t parent, n_open;
	struct blob *content;
	/* Steps are counted from 1; step n made state n of the history. */
	unsigned synced; /* the content of that state is durable */
	unsigned heir;   /* renamed over another: no older content under the name */
	bool torn;       /* a write failed: each block is of some version */
	unsigned named;  /* last change of names or attributes */
};

struct reference {
	struct reference_node n[REFERENCE_NODES];
	uint8_t handle[OPS_HANDLES];
	uint64_t next_serial;
	unsigned names_from; /* the namespace of that state or of a later one is durable */
};

enum { REFERENCE_SKIP = 1 };

void reference_init(struct reference *r);
void reference_copy(struct reference *to, const struct reference *from);
void reference_drop(struct reference *r);
/*
 * Does step number step: 0 or the -errno that the volume has to end with (nothing has changed
 * then). REFERENCE_SKIP: makes no sense here, not to be done.
 */
int reference_do(struct reference *r, const struct op *op, unsigned step);
/* The node; 0: none. */
unsigned reference_find(const struct reference *r, const char *path);
/* The folder in which path stands, 0: none. ret_letter: of the last component. */
unsigned reference_parent(const struct reference *r, const char *path, unsigned *ret_letter);
/* By serial; NULL. */
const struct reference_node *reference_by_serial(const struct reference *r, uint64_t serial);
/* The operation failed: the file that it would have written to may have been changed in part. */
void reference_torn(struct reference *r, const struct op *op);
/* Nodes that stand somewhere or are open. */
unsigned reference_count(const struct reference *r);
/* Every handle is closed, as by a crash or an unmount. */
void reference_close_all(struct reference *r);

#endif
