/*
 * The sets of a repository as one tree that never changes: a folder for each set, named by the local time of its snapshot
 * and its id ("2026-11-20T18-00-05_20261120T100005Z-1a2b3c4d"), and "latest", a link to the newest. fs/front_tree.h
 * mounts it.
 *
 * In a set's folder everything is as the set has it: owners, modes, ACLs, xattrs, times, holes; the names of one file have
 * one inode number. What is destroyed has no name any more and is absent. What does not open, because it is damaged or
 * its own key alone is destroyed, is -EIO and told to trouble; so is a name that is not found where others do not open,
 * and all content of a file of which a record lacks: nothing is ever handed out that the set does not hold.
 *
 * Sets are opened when they are first asked for. What is held in memory has a bound (setmount_internal.h), whatever
 * the sets hold. Once the key state that the keyring was opened from is superseded, everything is -EIO. One thread at
 * a time.
 */
#ifndef COFFER_BACKUP_SETMOUNT_H
#define COFFER_BACKUP_SETMOUNT_H

#include "backup/set.h"
#include "fs/readonly_tree.h"

struct setmount;
struct setmount_config {
	/* These outlive the tree. */
	struct repo *repo;
	struct keyring *kr;
	const struct set_catalog *catalog;
	/* What could not be read. object: "set ID, id N"; order: under which it is destroyed, "" when not known to be. */
	void (*trouble)(void *arg, const char *object, int err, const char *order);
	void *arg;
};
/* DIAG_SET_MISSING when there is no set. */
int setmount_new(const struct setmount_config *cfg, struct setmount **ret, struct diag *d);
void setmount_free(struct setmount *m);

/* The tree is a struct setmount. */
extern const struct readonly_tree_ops setmount_ops;

#endif
