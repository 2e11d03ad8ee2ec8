/* Inside the view of a set: the merged indices of its chain. */
#ifndef COFFER_BACKUP_SETVIEW_INTERNAL_H
#define COFFER_BACKUP_SETVIEW_INTERNAL_H

#include "backup/restore.h"
#include "backup/set_body.h"
#include "backup/set_internal.h"

struct view_entry {
	struct set_entry e;
	uint32_t set; /* position in the chain */
};
struct view_list {
	struct view_entry *v;
	size_t n, cap;
};
struct setview {
	struct repo *repo;
	struct keyring *kr;
	const struct set_catalog *catalog;
	size_t *chain, n_chain;
	struct view_list nodes; /* by id, the latest of each */
	struct view_list names; /* by (parent, link), present ones */
	struct view_list data;  /* by (id, range, set) */
};

const struct set_manifest *setview_manifest(const struct setview *sv, const struct view_entry *ve);
const char *setview_id(const struct setview *sv);
/* Reads one record: body appended to out. */
int setview_read(struct setview *sv, const struct view_entry *ve, struct bytes_w *out);
/* The order that destroyed an id, or the folder that named it; "" when none is known. */
void setview_order(struct setview *sv, uint64_t id, uint64_t parent,
		   char ret[KEYRING_ORDER_REF_MAX + 1]);
/* ret points into body. -EKEYREVOKED, -EBADMSG. */
int setview_read_node(struct setview *sv, uint64_t id, struct bytes_w *body, struct set_node *ret);
/* NULL when the id is not in the set. */
const struct view_entry *setview_node(const struct setview *sv, uint64_t id);
/* Entries of a folder, or of a file's data: first and count. */
size_t setview_names_of(const struct setview *sv, uint64_t parent, size_t *ret_first);
size_t setview_data_of(const struct setview *sv, uint64_t id, size_t *ret_first);
/*
 * One range of a file as the set has it. first is its first data entry, end where the file's end;
 * *ret_n of them are the range's. what tells each block, buf (SET_RANGE bytes) holds those that are
 * data. -EKEYREVOKED, -EBADMSG.
 */
int setview_range(struct setview *sv, size_t first, size_t end, uint8_t what[SET_RANGE_BLOCKS],
		  uint8_t *buf, size_t *ret_n);

/* An entry met on a walk. Pointers are valid during the call. */
struct setview_met {
	uint64_t id, parent;
	uint32_t type_mode;
	const char *path;  /* "a/b"; of its folder ("" the root) when the name is not known */
	const char *name;  /* the last component; NULL: not known */
	const char *order; /* then: destroyed under it; NULL: its name is damaged */
};
/*
 * Everything below a folder whose path is given, folders before what is in them. fn's answer: 0 goes
 * on, SETVIEW_SKIP leaves out what is below this entry, a negative errno ends it. -ENAMETOOLONG
 * beyond a path of 64 KiB.
 */
#define SETVIEW_SKIP 1
typedef int (*setview_met_fn)(void *arg, const struct setview_met *m);
int setview_walk(struct setview *sv, uint64_t dir, const char *path, setview_met_fn fn, void *arg);

#endif
