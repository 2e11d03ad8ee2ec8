/*
 * The index of a set: which records it holds and where they lie. Sorted blocks in the packs, found
 * through fences in the object "index".
 *
 * Entries are collected until there are SET_INDEX_RUN of them, sorted by key, cut into blocks and
 * sealed into the packs among the records; so writing takes bounded memory at any size. Each block
 * has a fence: its first and last key and its place. Blocks of different runs may overlap. A reader
 * holds the fences (about 56 bytes for some 700 entries) and, in a cache, some blocks; it looks a key
 * up by binary search, or merges the indices of a chain in the order of keys. Format: docs/format.md
 * "Set index". Readers and writers are used by one thread at a time.
 */
#ifndef COFFER_BACKUP_SET_INDEX_H
#define COFFER_BACKUP_SET_INDEX_H

#include "backup/set_internal.h"

#define SET_INDEX_RUN 32768        /* entries sorted in memory */
#define SET_INDEX_BLOCK (32u << 10) /* plaintext of a block, at which it is full */
#define SET_INDEX_BLOCK_ENTRIES 1024

/* What entries are sorted by. class is the kind, but NAME for GONE; sub the link, range or other id. */
struct set_key {
	uint64_t id;
	uint8_t class;
	uint64_t sub;
};
struct set_key set_entry_key(const struct set_entry *e);
int set_key_cmp(const struct set_key *a, const struct set_key *b);
/* By key, then kind (a GONE follows a NAME), then version. For qsort. */
int set_entry_cmp(const void *a, const void *b);

struct set_fence {
	struct set_key first, last;
	uint32_t n; /* entries */
	uint32_t pack, off, len;
};

/* --- codecs --- */

void set_index_put_entry(struct bytes_w *w, const struct set_entry *e);
/* Entries one after the other. -EBADMSG malformed; whatever fn returns but 0 ends it. */
int set_index_entries(const uint8_t *plain, size_t len, set_entry_fn fn, void *arg);
/* A block as stored, frame and box, appended to out. number: counted through the set. */
int set_index_block_seal(struct keyring *kr, const char *id, uint32_t number, const void *plain, size_t len,
			 struct bytes_w *out);
/* The plaintext is appended. -EBADMSG. */
int set_index_block_open(struct keyring *kr, const char *id, uint32_t number, const void *stored, size_t len,
			 struct bytes_w *out);
/* The object "index". */
int set_index_top_seal(struct keyring *kr, const char *id, const struct set_fence *f, size_t n,
		       struct bytes_w *out);
/* Caller frees *ret. -EBADMSG. */
int set_index_top_open(struct keyring *kr, const char *id, const void *box, size_t len,
		       struct set_fence **ret, size_t *ret_n);
/* What lies in that box. -EBADMSG. */
void set_index_put_fences(struct bytes_w *w, const struct set_fence *f, size_t n);
int set_index_fences(const void *plain, size_t len, struct set_fence **ret, size_t *ret_n);

/* --- writing --- */

/* Takes a block into a pack and says where it lies. */
typedef int (*set_block_fn)(void *arg, uint32_t number, const void *plain, size_t len, uint32_t *ret_pack,
			    uint32_t *ret_off, uint32_t *ret_len);
/* Zero-initialise but for put and arg; set_index_writer_free. */
struct set_index_writer {
	set_block_fn put;
	void *arg;
	struct set_entry *run; /* SET_INDEX_RUN of them, once there is one */
	size_t n_run;
	struct set_fence *fences;
	size_t n_fences, cap_fences;
};
int set_index_add(struct set_index_writer *w, const struct set_entry *e);
/* Sorts what was collected and puts it, so that fences speak of everything added. After a failure
 * the writer is of no more use. */
int set_index_flush(struct set_index_writer *w);
void set_index_writer_free(struct set_index_writer *w);

/* --- reading --- */

/* Blocks of several indices, opened; at most 64 that nobody uses are kept. */
struct set_blocks;
struct set_blocks *set_blocks_new(void);
void set_blocks_free(struct set_blocks *c); /* after the indices and cursors that use it */

struct set_index;
/* Reads the fences. m must outlive it. -EBADMSG, or what the repository answers. */
int set_index_open(struct repo *r, struct keyring *kr, const struct set_manifest *m, struct set_blocks *cache,
		   struct set_index **ret);
void set_index_close(struct set_index *ix);
/* The entry of a key (the last one, should there be several). -ENOENT, -EBADMSG. */
int set_index_find(struct set_index *ix, const struct set_key *key, struct set_entry *ret);

/* Entries of n indices from one key to another, both included; at equal keys the first index's first. */
struct set_cursor;
int set_cursor_open(struct set_index *const *ix, size_t n, const struct set_key *from, const struct set_key *to,
		    struct set_cursor **ret);
/* 1: *ret is the next and *ret_ix its index's position; 0: no more. -EBADMSG: a block is damaged. */
int set_cursor_next(struct set_cursor *c, struct set_entry *ret, uint32_t *ret_ix);
void set_cursor_close(struct set_cursor *c);

#endif
