/*
 * Inside mounted sets: what is kept at hand, and how files are numbered.
 *
 * A node is the place of the set in the catalogue, plus one, above NODE_BITS bits of the file's id; 1 is the root and
 * 2 "latest". Ids count up from 16, so that 48 bits suffice for any volume; a set that says otherwise is refused.
 *
 * What is kept: SETMOUNT_VIEWS opened sets (of each the fences of its chain, at most 64 blocks of indices, and 24 ranges
 * that deltas were made from), SETMOUNT_RANGES ranges of content, names of folders up to SETMOUNT_NAMES_TOTAL bytes.
 */
#ifndef COFFER_BACKUP_SETMOUNT_INTERNAL_H
#define COFFER_BACKUP_SETMOUNT_INTERNAL_H

#include "backup/setmount.h"
#include "backup/setview_internal.h"

#define NODE_BITS 48
#define NODE_LATEST 2
#define SETMOUNT_SETS_MAX 65534u
#define SETMOUNT_VIEWS 3
#define SETMOUNT_RANGES 8
#define SETMOUNT_WHOLE 256 /* files of which is known whether all of their content is there */
#define SETMOUNT_LISTINGS 32
#define SETMOUNT_NAMES_MAX (4u << 20) /* of one folder; a larger one is searched through at each look-up */
#define SETMOUNT_NAMES_TOTAL (16u << 20)

struct setmount_view {
	struct setview *sv; /* NULL: free */
	size_t set;
	uint64_t used;
};
/* One range of a file, holes as zeros. */
struct setmount_range {
	uint64_t node, range; /* node 0: free */
	uint64_t used;
	uint8_t what[SET_RANGE_BLOCKS];
	uint8_t *content; /* SET_RANGE bytes */
};
struct setmount_child {
	uint64_t id;
	uint32_t name; /* where in names */
	uint32_t type_mode;
};
/* The names of a folder, sorted. */
struct setmount_listing {
	uint64_t node; /* 0: free */
	uint64_t used;
	struct bytes_w names;
	struct setmount_child *v;
	size_t n, cap;
	bool damaged;  /* there are others, which do not open */
	bool too_many; /* not kept */
};
struct setmount {
	struct setmount_config cfg;
	struct volume_attr root;
	struct volume_attr *tops; /* attributes of each set's own folder; id 0: not looked at yet */
	uint64_t n_uses;	  /* when something was used is told by this count */
	struct setmount_view views[SETMOUNT_VIEWS];
	/* The latest record that was read. */
	uint64_t node;
	struct bytes_w node_body;
	struct set_node node_read;
	struct setmount_listing listings[SETMOUNT_LISTINGS];
	struct setmount_range ranges[SETMOUNT_RANGES];
	struct {
		uint64_t node;
		int err;
	} whole[SETMOUNT_WHOLE];
};

/* A file in a set. */
struct setmount_at {
	uint64_t node, id;
	size_t set;
	struct setview *sv;
};
static inline uint64_t setmount_node(size_t set, uint64_t id)
{
	return ((uint64_t)set + 1) << NODE_BITS | id;
}
/* The name of a set's folder. */
#define SETMOUNT_TOP_LEN (20 + SET_ID_MAX + 2)
void setmount_top_name(const struct set_manifest *m, char out[SETMOUNT_TOP_LEN]);

/* Opens the set when it is not. -EIO, also once the keys are superseded; -ENOENT for a node of no set. */
int setmount_find(struct setmount *m, uint64_t node, struct setmount_at *ret);
/* Its record; *ret is valid until the next call. -EIO. */
int setmount_read_node(struct setmount *m, const struct setmount_at *at, const struct set_node **ret);
/* Tells what is wrong with the file, and makes it what the program gets to see. */
int setmount_failed(struct setmount *m, const struct setmount_at *at, int err);
void setmount_attr(const struct setmount_at *at, const struct set_node *n, struct volume_attr *ret);

/* --- setmount_names.c: within a set --- */
int setmount_lookup(struct setmount *m, const struct setmount_at *dir, const char *name, uint64_t *ret_id);
int setmount_readdir(struct setmount *m, const struct setmount_at *dir, uint64_t cookie, bool plus,
		     readonly_tree_entry_fn fn, void *arg);
void setmount_names_free(struct setmount *m);

/* --- setmount_file.c: within a set --- */
int setmount_open(struct setmount *m, const struct setmount_at *at);
ssize_t setmount_read(struct setmount *m, const struct setmount_at *at, uint8_t *buf, size_t len, uint64_t off);
int setmount_seek(struct setmount *m, const struct setmount_at *at, uint64_t off, int whence, uint64_t *ret);
void setmount_file_free(struct setmount *m);

#endif
