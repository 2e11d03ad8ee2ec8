/*
 * Restoring: the tree of a set as of its snapshot, and writing it out.
 *
 * setview merges the indices of a chain (full set and the incrementals up to the one asked for)
 * into one tree, using today's keys: what is destroyed shows as destroyed with its order, never as
 * damage, and its names are not known. restore_run writes like any program does (openat, temporary
 * file, rename); the target may be in the mounted volume or a plain folder. A view is used by one
 * thread at a time.
 */
#ifndef COFFER_BACKUP_RESTORE_H
#define COFFER_BACKUP_RESTORE_H

#include "backup/set.h"
#include "fs/volume.h"

struct setview;
int setview_open(struct repo *r, struct keyring *kr, const struct set_catalog *c, size_t set,
		 struct setview **ret, struct diag *d);
void setview_close(struct setview *sv);
/* DIAG_SET_DAMAGED when a name on the way does not open and no other fits. The id at a path ("a/b",
 * "/" the root). -ENOENT (DIAG_NOT_FOUND); when entries of the folder where it failed are
 * destroyed, DIAG_DESTROYED with how many and under which orders. */
int setview_resolve(struct setview *sv, const char *path, uint64_t *ret_id, struct diag *d);
/* Attributes; -EKEYREVOKED, -EBADMSG. */
int setview_attr(struct setview *sv, uint64_t id, struct volume_attr *ret);
/* Children: name NULL and order set when destroyed; both NULL when its name record is damaged, and once, with
 * child 0, when a part of the index is, so that there may be others. */
typedef int (*setview_fn)(void *arg, uint64_t child, uint32_t type_mode, const char *name,
			  const char *order);
int setview_children(struct setview *sv, uint64_t dir, setview_fn fn, void *arg);

struct restore_request {
	struct setview *view;
	const char *const *paths; /* n_paths == 0: everything */
	size_t n_paths;
	/* Existing or new folder; entries keep their own last component. The root's own attributes
	 * go to a new folder, or in place. */
	const char *to;
	bool in_place; /* to is the volume's root and paths keep their whole path; existing files
			  are replaced */
	/* Goes on where a run with the same request was interrupted: what lies in the target with the very content stays. */
	bool resume;
	/* Where, links and all, `to` must lie (a st_dev); NULL: anywhere. Held to what was opened, so
	 * that whoever swaps names meanwhile changes nothing. DIAG_DENIED. */
	const dev_t *within;
	bool quarantine; /* to is new, and nobody but its owner can enter it. DIAG_EXISTS */
	/* For each entry of any type, before its first byte is written: enters the lineage, so that
	 * no copy, and no folder's name, is ever outside it. new_id is st_ino. May be NULL. */
	int (*restored)(void *arg, uint64_t set_id, uint64_t new_id);
	int (*progress)(void *arg, uint64_t n_files, uint64_t n_bytes);
	void *arg;
};
struct restore_result {
	uint64_t n_files, n_dirs, n_other, n_links, n_bytes;
	uint64_t n_kept;                       /* found there whole, in a run that goes on; not in the counts above */
	uint64_t n_destroyed;                  /* entries reported as destroyed */
	char order[KEYRING_ORDER_REF_MAX + 1]; /* one of the orders */
	uint64_t n_damaged;
	char first_damaged[512];
	/* Restored without an owner, attribute or device node: not root, or the target's filesystem
	 * has no such thing. */
	uint64_t n_refused;
	char first_refused[512];
};
/*
 * Goes on past damaged and destroyed entries and past what the target refuses, and counts them. At
 * the end -EBADMSG (DIAG_SET_DAMAGED) when something was damaged, else -EPERM when something was
 * refused. Other errors of the target stop it. *ret is set in any case.
 */
int restore_run(const struct restore_request *in, struct restore_result *ret, struct diag *d);

#endif
