/* Shared by fs/check*.c. The engine lock is held in all of it unless said otherwise. */
#ifndef COFFER_FS_CHECK_INTERNAL_H
#define COFFER_FS_CHECK_INTERNAL_H

#include "fs/engine.h"

/* What the walk learned of one inode; the table is in ascending order of ids. */
struct check_inode {
	uint64_t id;
	uint64_t parent; /* as the record of a folder says */
	uint32_t mode, nlink;
	uint32_t n_names, n_subfolders; /* found by walking entries */
	uint64_t named_in;              /* a folder with an entry for it, 0 none */
	bool in_blocks, no_record;      /* no_record: entries name it, but nothing is there */
};

struct check {
	struct volume *v;
	void (*bad)(void *arg, const char *text);
	void *arg;
	struct volume_check *out;

	struct rstore_key *bad_keys; /* records that do not open, ascending */
	int *bad_errs;
	size_t n_bad_keys, cap_bad_keys;
	bool passed_over;    /* files that are destroyed, and counted until their records are gone */
	uint64_t used;	     /* what the inode records say that files hold */
	bool incomplete; /* something that says how files hang together could not be read */

	struct check_inode *inodes;
	size_t n_inodes, cap_inodes;

	/* of the file whose maps the walk is passing */
	uint64_t map_id, n_slots, n_mapped, seen_mapped;
	uint8_t *slots; /* a bit for each slot in use */
};

/* NULL when there is none. */
struct check_inode *check_find(struct check *c, uint64_t id);
/* Reports "PATH: text" (the id where the path does not open). */
void check_report(struct check *c, uint64_t id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Collects what of the store does not open. */
int check_store(struct check *c, struct rstore_check *ret);
/* No link is left, but it was in use when that was written. */
bool check_is_orphan(struct check *c, uint64_t id);
void check_free(struct check *c);
/* Reads every record that opens, in order. Sets incomplete where it could not. */
int check_records(struct check *c);
/* Names against inodes. */
int check_links(struct check *c);
/* Decrypts every block. Called without the lock. */
int check_blocks(struct check *c);

#endif
