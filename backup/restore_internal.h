/* Inside restoring: the run's state, shared by walking (restore_run.c) and writing
 * (restore_write.c). */
#ifndef COFFER_BACKUP_RESTORE_INTERNAL_H
#define COFFER_BACKUP_RESTORE_INTERNAL_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "backup/setview_internal.h"

struct restore {
	const struct restore_request *in;
	struct setview *sv;
	struct restore_result res;
	struct diag *d;
	int to_fd;
	bool made_target;
	char path[PATH_MAX]; /* of the entry at hand, relative to the target, for messages and links
			      */
	void *links;         /* tsearch tree of files with more names to come (restore_write.c) */
	uint8_t *range;      /* SET_RANGE bytes */
};

/* Counts the entry at hand as one of which the target refuses something. */
void restore_refused(struct restore *r);

/*
 * Writes the entry with node n as name in dir_fd. Folders are made (or reused in place) and left
 * for restore_set_attributes. -EBADMSG: damaged, nothing is left behind; other errors are the
 * target's.
 */
int restore_write(struct restore *r, int dir_fd, const char *name, uint64_t id,
		  const struct set_node *n);
/*
 * In a restore that goes on: whether the entry lies there as name already, with the very content. 1: it does, and has its
 * attributes; 0: it does not. -EBADMSG: the set's records do not open; other errors are the target's.
 */
int restore_kept(struct restore *r, int dir_fd, const char *name, uint64_t id, const struct set_node *n);
/* Names that are used until an entry is complete; what an interrupted run left of them in a folder goes. */
bool restore_is_temp(const char *name);
void restore_clear(int dir_fd);
/* A target that was made says so until it has its own attributes, so that a run that goes on gives it those. */
int restore_mark(struct restore *r);
bool restore_marked(const struct restore *r);
void restore_unmark(struct restore *r);
void restore_links_free(struct restore *r);
/* The folder at a path of dir_fd (path_len bytes, may be 0), component by component: no link is
 * followed. */
int restore_open_folder(int dir_fd, const char *path, size_t path_len, int *ret_fd);

/* Owner, xattrs, mode and times of what fd (which may be O_PATH) stands for; a folder's after its
 * content. */
int restore_set_attributes(struct restore *r, int fd, const struct set_node *n);
/* The same for an entry of dir_fd, whatever it is. */
int restore_set_attributes_at(struct restore *r, int dir_fd, const char *name,
			      const struct set_node *n);

#endif
