/* Inside the view of a set: the indices of its chain, merged where they are read. */
#ifndef COFFER_BACKUP_SETVIEW_INTERNAL_H
#define COFFER_BACKUP_SETVIEW_INTERNAL_H

#include "backup/pack_window.h"
#include "backup/restore.h"
#include "backup/set_body.h"
#include "backup/set_index.h"

struct view_entry {
	struct set_entry e;
	uint32_t set; /* position in the chain */
};
struct setview {
	struct repo *repo;
	struct keyring *kr;
	const struct set_catalog *catalog;
	size_t *chain, n_chain;
	struct set_blocks *blocks;
	struct pack_windows *windows;
	struct set_index **index; /* of each set of the chain */
	struct view_made *made;	  /* ranges that deltas copy from (setview_delta.c) */
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
/* The latest record of an id. -ENOENT when it is not in the set, -EBADMSG. */
int setview_node(struct setview *sv, uint64_t id, struct view_entry *ret);

/*
 * As setview_children, in the order of links, from a link of the folder on: where a listing stopped it goes on,
 * whatever else is done with the view meanwhile. A non-zero answer of fn ends it and is returned.
 */
typedef int (*setview_link_fn)(void *arg, uint64_t link, uint64_t child, uint32_t type_mode, const char *name,
			       const char *order);
int setview_links(struct setview *sv, uint64_t dir, uint64_t link, setview_link_fn fn, void *arg);

/* The names that the set has, in the order of (parent, link), from a link of a folder on; of that folder or
 * (every) of all from it on. */
struct view_names {
	struct set_cursor *c;
	struct view_entry held; /* read, and perhaps superseded by what follows */
	bool is_held;
};
int view_names_open(struct setview *sv, uint64_t parent, uint64_t link, bool every, struct view_names *ret);
/* 1: the next; 0: no more. -EBADMSG: entries could not be read; called again it goes on behind them. */
int view_names_next(struct view_names *it, struct view_entry *ret);
void view_names_close(struct view_names *it);

/*
 * Lays n records of one range, the oldest first, over each other: what tells each block, buf
 * (SET_RANGE bytes) holds those that are data. depth: how many deltas rest on this one. -EKEYREVOKED,
 * -EBADMSG.
 */
int setview_lay(struct setview *sv, const struct view_entry *run, size_t n, unsigned depth,
		uint8_t what[SET_RANGE_BLOCKS], uint8_t *buf);
/* Makes a range of the delta in body, which ve describes, and checks it. Errors as above. */
int setview_make(struct setview *sv, const struct view_entry *ve, const struct bytes_w *body,
		 unsigned depth, uint8_t what[SET_RANGE_BLOCKS], uint8_t *buf);
void setview_made_free(struct setview *sv);

/* The records of one range, the oldest first. A merged set may have several. Free v. */
struct view_run {
	struct view_entry *v;
	size_t n, cap;
};
int view_run_add(struct view_run *r, const struct view_entry *ve);

/* The content of a file, range by range. */
struct view_data {
	struct setview *sv;
	struct set_cursor *c;
	struct view_run run;
	struct view_entry held; /* the first of the next range */
	bool is_held;
};
int view_data_open(struct setview *sv, uint64_t id, struct view_data *ret);
/*
 * The next range as the set has it. 1: what tells each block, buf (SET_RANGE bytes) holds those that are
 * data; 0: no more. -EKEYREVOKED, -EBADMSG.
 */
int view_data_next(struct view_data *it, uint64_t *ret_range, uint8_t what[SET_RANGE_BLOCKS], uint8_t *buf);
void view_data_close(struct view_data *it);
/* --- content read here and there (setview_range.c) --- */

/* One range of a file. 1: what tells each block, buf (SET_RANGE bytes) holds those that are data; 0: there is no
 * record of it, which makes it a hole only if setview_content_whole said so. -EKEYREVOKED, -EBADMSG. */
int setview_range(struct setview *sv, uint64_t id, uint64_t range, uint8_t what[SET_RANGE_BLOCKS], uint8_t *buf);
/* The first range from a given one on that has a record. -ENXIO: none. */
int setview_next_range(struct setview *sv, uint64_t id, uint64_t from, uint64_t *ret);
/*
 * 0: no record of the file's content lacks, so that what has none is a hole. -EBADMSG: some do. A file of up to
 * SETVIEW_COUNTED ranges, and any whose live key is destroyed, is read whole (range: SET_RANGE bytes, scratch) and its
 * blocks are counted; of others nothing can lack (docs/format.md "What makes a set").
 */
#define SETVIEW_COUNTED 8
int setview_content_whole(struct setview *sv, uint64_t id, const struct set_node *n, uint8_t *range);
/* The version of the newest record of a file's content; 0: there is none. */
int view_data_version(struct setview *sv, uint64_t id, uint64_t *ret);

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
