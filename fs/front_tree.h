/*
 * The read-only FUSE front end: a tree that never changes (fs/readonly_tree.h), mounted.
 *
 * The kernel enforces permissions by the owners, modes and ACLs that the tree tells, and refuses every change (EROFS).
 * front_tree_new mounts, front_tree_serve answers requests until it is unmounted or stopped, front_tree_free unmounts what
 * is left. Requests are answered by the thread in front_tree_serve alone.
 */
#ifndef COFFER_FS_FRONT_TREE_H
#define COFFER_FS_FRONT_TREE_H

#include "core/diag.h"
#include "fs/readonly_tree.h"

struct front_tree;
struct front_tree_config {
	const struct readonly_tree_ops *ops;
	void *tree;
	const char *mountpoint;
	const char *fsname, *subtype; /* as mount tables show them: SOURCE and fuse.SUBTYPE */
	bool allow_other;
};
int front_tree_new(const struct front_tree_config *cfg, struct front_tree **ret, struct diag *d);
/* Returns when unmounted or stopped; nothing is mounted any more then. */
void front_tree_serve(struct front_tree *f);
/* From any thread: front_tree_serve returns soon, or at a later request; call again while it has not. */
void front_tree_stop(struct front_tree *f);
void front_tree_free(struct front_tree *f);

#endif
