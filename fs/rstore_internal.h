/*
 * Inside the record store. Shared by fs/rstore*.c and nobody else.
 *
 *   rstore.c          open, create, close, pending writes
 *   rstore_db.c       SQLite: rows, transactions, checkpoints; maps its errors
 *   rstore_pending.c  the overlay
 *   rstore_node.c     freshness nodes: codec and cache
 *   rstore_tree.c     the tree: find, put, delete, cursor
 *   rstore_read.c     records: get, scan, digest, erase
 *   rstore_commit.c   the commit record and the commit
 *   rstore_snap.c     snapshots
 *   rstore_check.c    the full check
 *
 * Between commits every cached node is clean and equals the durable state. A commit changes nodes
 * in memory and rows inside one SQLite transaction; when anything fails, it rolls back and forgets
 * every dirty node, so that the next read fetches the old ones again. The overlay is emptied only
 * after the commit is durable.
 *
 * Pointers to nodes are good until the next call that begins with a descent (rstore_tree_*,
 * rstore_cursor_*): only there is the cache trimmed.
 */
#ifndef COFFER_FS_RSTORE_INTERNAL_H
#define COFFER_FS_RSTORE_INTERNAL_H

#include <sqlite3.h>

#include "core/secret.h"
#include "core/suite.h"
#include "fs/rstore.h"

#define TREE_TAG_LEN 8
#define TREE_LEVELS 16 /* more than 2^63 records ever need */
/* A record key, or 0xf0 || snapshot id BE64 || record key. */
#define TREE_KEPT_PREFIX 9
#define TREE_KEY_MAX (TREE_KEPT_PREFIX + RSTORE_KEY_MAX)

struct tree_key {
	uint8_t len;
	uint8_t b[TREE_KEY_MAX];
};

/* In a leaf: a record. In an inner node: a child and the lowest key it covers. */
struct tree_entry {
	struct tree_key key;
	bool dirty;   /* inner: the child awaits writing in this commit */
	uint64_t ref; /* row or node number */
	uint64_t txn; /* in which it was sealed */
	uint8_t tag[TREE_TAG_LEN];
};

struct tree_node {
	uint64_t no;
	uint64_t txn;
	uint8_t tag[TREE_TAG_LEN];
	uint8_t level; /* 0: leaf */
	bool dirty;    /* pinned until the commit ends */
	unsigned n, cap;
	int last_pos; /* of the last insertion, to recognise runs */
	struct tree_entry *e;
	struct tree_node *hash_next;
	struct tree_node *prev, *next; /* on the list of clean or of dirty nodes */
};

/* All it takes to fetch and check a node. */
struct tree_ref {
	uint64_t no, txn;
	uint8_t level;
	uint8_t tag[TREE_TAG_LEN];
};

struct node_list {
	struct tree_node *head, *tail; /* most recently used first */
};
struct node_cache {
	struct tree_node **hash;
	size_t n_hash; /* a power of two */
	size_t bytes, max_bytes;
	struct node_list clean, dirty;
};

#define PENDING_HEIGHT 20
struct pending_item {
	struct rstore_key key;
	bool erase;   /* nothing older may stay, not even for snapshots */
	bool has_val; /* else a deletion */
	uint8_t *val;
	size_t len;
	struct pending_item *next[];
};
struct pending {
	struct pending_item *head[PENDING_HEIGHT];
	size_t n, bytes; /* of items and values */
	uint64_t rng;
};

struct head_snap {
	uint64_t id, txn;
	bool closing; /* no longer readable; commits remove what it kept */
};
/* The commit record. */
struct head {
	uint64_t txn;
	struct tree_ref root;
	uint64_t next_row, next_node, next_snap;
	unsigned n_snaps;
	struct head_snap snaps[RSTORE_SNAPSHOTS_MAX]; /* oldest first */
};

enum db_table { DB_REC, DB_NODE, DB_HEAD, DB_N_TABLES };
struct db_statements {
	sqlite3_stmt *get[DB_N_TABLES], *put[DB_N_TABLES], *del[DB_N_TABLES];
	sqlite3_stmt *begin, *commit, *rollback;
};

struct rstore {
	sqlite3 *db;
	struct db_statements st;
	int wal_pages;    /* as of the last commit */
	bool sync_failed; /* until reopened: no more commits */

	struct keyring *kr;
	const struct suite *suite;
	uint8_t volume_id[16];
	struct secret *keys; /* node key || head key */
	rstore_key_of_fn key_of;
	void *arg;

	struct head head; /* being built by a commit, else equal to durable */
	struct head durable;
	struct rstore_root root; /* of durable */
	uint64_t next_txn;
	struct node_cache cache;
	struct pending pending;
	/* Scratch: a node or head in the clear, a sealed row that was read or is a node's or the
	 * head's, a sealed record to be written. The first two are never held across a call. */
	struct bytes_w plain, box, sealed;
};

/* --- rstore.c --- */
int rstore_new(const struct rstore_config *cfg, struct rstore **ret);
int rstore_key_valid(const struct rstore_key *key);

/* --- rstore_db.c: 0 or -errno; a failed sync sets sync_failed --- */
/* Makes the tables in an empty file. */
int rstore_db_create(struct rstore *rs, const char *path);
int rstore_db_open(struct rstore *rs, const char *path);
void rstore_db_close(struct rstore *rs);
/* Replaces the content of out. -ENOENT when there is no such row. */
int rstore_db_get(struct rstore *rs, enum db_table t, uint64_t id, struct bytes_w *out);
int rstore_db_put(struct rstore *rs, enum db_table t, uint64_t id, const void *p, size_t len);
int rstore_db_del(struct rstore *rs, enum db_table t, uint64_t id);
int rstore_db_begin(struct rstore *rs);
int rstore_db_commit(struct rstore *rs);
void rstore_db_rollback(struct rstore *rs);
/* Empties the WAL into the database; truncate: and gives its space back. */
int rstore_db_checkpoint(struct rstore *rs, bool truncate);
/* Checkpoints when the WAL has grown long. What fails here is tried again later. */
void rstore_db_cap_wal(struct rstore *rs);
/* Lets go of cached pages. */
void rstore_db_forget(struct rstore *rs);

/* --- rstore_pending.c --- */
/* The item with the key, made when missing; NULL without memory. */
struct pending_item *rstore_pending_at(struct pending *p, const struct rstore_key *key);
struct pending_item *rstore_pending_find(struct pending *p, const struct rstore_key *key);
/* First item with a key >= key (NULL key: the first); go on with item->next[0]. */
struct pending_item *rstore_pending_from(struct pending *p, const struct rstore_key *key);
/* Takes val over (NULL: a deletion). */
void rstore_pending_set(struct pending *p, struct pending_item *it, bool has_val, uint8_t *val,
			size_t len);
void rstore_pending_clear(struct pending *p);

/* --- rstore_node.c --- */
int rstore_cache_init(struct node_cache *c, size_t max_bytes);
void rstore_cache_free(struct node_cache *c);
void rstore_cache_trim(struct node_cache *c);
/* After a commit: dirty nodes are clean. */
void rstore_cache_settle(struct node_cache *c);
/* After a failed one: dirty nodes are forgotten. */
void rstore_cache_drop_dirty(struct node_cache *c);
void rstore_cache_drop_clean(struct node_cache *c);
/* Cached or NULL. */
struct tree_node *rstore_node_peek(struct rstore *rs, uint64_t no);
/* From the cache, or read and checked. -EBADMSG. */
int rstore_node_load(struct rstore *rs, const struct tree_ref *ref, struct tree_node **ret);
/* A new empty dirty node with the next number. */
int rstore_node_new(struct rstore *rs, uint8_t level, struct tree_node **ret);
void rstore_node_dirty(struct rstore *rs, struct tree_node *node);
/* Removes it from the cache and the database. */
int rstore_node_delete(struct rstore *rs, struct tree_node *node);
/* Makes room for want entries in all. */
int rstore_node_reserve(struct rstore *rs, struct tree_node *node, unsigned want);
/* Seals and writes it as of txn; sets its txn and tag. */
int rstore_node_write(struct rstore *rs, struct tree_node *node, uint64_t txn);

/* --- rstore_tree.c --- */
int tree_key_cmp(const struct tree_key *a, const struct tree_key *b);
void tree_key_plain(struct tree_key *ret, const struct rstore_key *key);
/* Of a record kept for a snapshot; key NULL: the start of the snapshot's range. */
void tree_key_kept(struct tree_key *ret, uint64_t snap, const struct rstore_key *key);
/* The record key inside either; *ret_kept (may be NULL) tells which. */
void tree_key_record(const struct tree_key *k, struct rstore_key *ret, bool *ret_kept);
void tree_child_ref(const struct tree_node *node, unsigned i, struct tree_ref *ret);
/* 0, -ENOENT (proved), -EBADMSG .. */
int rstore_tree_find(struct rstore *rs, const struct tree_key *key, struct tree_entry *ret);
int rstore_tree_put(struct rstore *rs, const struct tree_entry *in);
int rstore_tree_del(struct rstore *rs, const struct tree_key *key);
/* Writes every dirty node, children first, and enters the root in rs->head. */
int rstore_tree_flush(struct rstore *rs, uint64_t txn);

/*
 * Walks entries with from <= key < to and txn > since in key order, a leaf's worth at a time,
 * copied out: the tree may change meanwhile.
 */
struct tree_cursor {
	struct rstore *rs;
	uint64_t since;
	struct tree_key next, to;
	bool more;
	unsigned n, i;
	struct tree_entry *run;
};
int rstore_cursor_init(struct tree_cursor *c, struct rstore *rs, const struct tree_key *from,
		       const struct tree_key *to, uint64_t since);
/* NULL at the end. */
int rstore_cursor_peek(struct tree_cursor *c, const struct tree_entry **ret);
void rstore_cursor_free(struct tree_cursor *c);
/* Cursors over record keys (NULL bounds: all) as they are now, and as kept for a snapshot. */
int rstore_cursor_plain(struct tree_cursor *c, struct rstore *rs, const struct rstore_key *from,
			const struct rstore_key *to, uint64_t since);
int rstore_cursor_kept(struct tree_cursor *c, struct rstore *rs, uint64_t snap,
		       const struct rstore_key *from, const struct rstore_key *to, uint64_t since);

/* --- rstore_read.c --- */
/* Seals a record as of txn into rs->sealed and gives the tag for its entry. 0, -EKEYREVOKED. */
int rstore_record_seal(struct rstore *rs, const struct rstore_key *key, uint64_t txn,
		       const void *val, size_t len, uint8_t ret_tag[TREE_TAG_LEN]);
/* Fetches the sealed bytes that the entry names into rs->box; they bear the entry's tag. */
int rstore_record_fetch(struct rstore *rs, const struct tree_entry *e);
/* Fetches and opens; appends to out, which is wiped when it goes. */
int rstore_record_open(struct rstore *rs, const struct rstore_key *key, const struct tree_entry *e,
		       struct bytes_w *out);

/* --- rstore_commit.c --- */
/* Writes the first commit record, of transaction txn, and an empty root. */
int rstore_commit_first(struct rstore *rs, uint64_t txn);
/* Reads the commit record into rs->durable and rs->root. -EBADMSG */
int rstore_head_load(struct rstore *rs);
/* Commits even when nothing is pending: what changed in rs->head becomes durable, or is undone. */
int rstore_commit_head(struct rstore *rs);

/* --- rstore_snap.c: within a commit --- */
/* Enters an entry that is about to go for every snapshot that needs it; *ret_kept when one did. */
int rstore_snap_keep(struct rstore *rs, const struct rstore_key *key, const struct tree_entry *e,
		     uint64_t txn, bool *ret_kept);
/* Removes what snapshots kept of the record, with the rows. */
int rstore_snap_erase(struct rstore *rs, const struct rstore_key *key);
/* Removes a bounded part of what closing snapshots kept. */
int rstore_snap_drain(struct rstore *rs);

#endif
