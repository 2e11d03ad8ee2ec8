/*
 * The full check of a volume, while it is in use.
 *
 *   log       what fsync put there since the last commit opens and follows one on the other
 *   store     every node and record opens and is the one that the tree names (rstore_check)
 *   records   every inode, xattr list, entry and map decodes and agrees with its inode
 *   links     every inode is named as often as it says, every name leads somewhere, every folder
 * stands in its parent blocks    (on request) every block opens
 *
 * The first three hold the engine lock, so that they see one state; blocks are read a group at a
 * time. A file that is destroyed, but not yet taken out, is no finding.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "fs/check_internal.h"
#include "fs/log.h"
#include "fs/walk.h"

#define PATH_DEPTH_MAX 256
#define TEXT_MAX 4608

/* ---- paths, for texts ---- */

struct check_inode *check_find(struct check *c, uint64_t id)
{
	size_t lo = 0, hi = c->n_inodes;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c->inodes[mid].id == id)
			return &c->inodes[mid];
		if (c->inodes[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

struct name_of {
	struct volume *v;
	uint64_t parent, child;
	char name[VOLUME_NAME_MAX + 1];
};

static int name_of_entry(void *arg, const struct dentry_sealed *d)
{
	struct name_of *n = arg;

	return d->child == n->child && dir_open_name(n->v, n->parent, d, n->name) == 0;
}

static int name_of_bucket(void *arg, const struct rstore_key *key, const void *val, size_t len,
			  uint64_t txn)
{
	(void)key;
	(void)txn;
	return dir_bucket_each(val, len, name_of_entry, arg);
}

/* Puts "/NAME" in front of the path that begins at *io_at. False when the name does not open or the
 * path is long. */
static bool prepend_name(struct check *c, uint64_t parent, uint64_t child, char *buf, size_t *io_at)
{
	struct name_of n = {.v = c->v, .parent = parent, .child = child};
	struct rstore_key from = engine_file_key_at(parent, SUB_DENTRY, 0),
			  to = engine_sub_end(parent, SUB_DENTRY);

	if (rstore_scan(c->v->rs, &from, &to, name_of_bucket, &n) != 1)
		return false;
	size_t len = strlen(n.name);
	if (len + 1 > *io_at)
		return false;
	*io_at -= len + 1;
	buf[*io_at] = '/';
	memcpy(buf + *io_at + 1, n.name, len);
	return true;
}

/* The path, or "file ID" where names do not open. */
static void path_of(struct check *c, uint64_t id, char out[TEXT_MAX])
{
	size_t at = TEXT_MAX - 1;
	uint64_t here = id;

	out[at] = 0;
	for (int depth = 0; here != VOLUME_ROOT_ID && depth < PATH_DEPTH_MAX; depth++) {
		struct check_inode *ci = check_find(c, here);

		if (!ci || !ci->named_in || !prepend_name(c, ci->named_in, here, out, &at))
			break;
		here = ci->named_in;
	}
	if (here != VOLUME_ROOT_ID)
		snprintf(out, TEXT_MAX, "file %llu", (unsigned long long)id);
	else if (id == VOLUME_ROOT_ID)
		strcpy(out, "/");
	else
		memmove(out, out + at, TEXT_MAX - at);
}

void check_report(struct check *c, uint64_t id, const char *fmt, ...)
{
	char path[TEXT_MAX], text[TEXT_MAX + 256];
	va_list ap;

	c->out->n_bad++;
	if (!c->bad)
		return;
	path_of(c, id, path);
	int n = snprintf(text, sizeof(text), "%s: ", path);
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	c->bad(c->arg, text);
}

/* ---- the store ---- */

static void store_bad(void *arg, const struct rstore_key *key, int err)
{
	struct check *c = arg;

	if (c->n_bad_keys == c->cap_bad_keys) {
		size_t cap = c->cap_bad_keys ? c->cap_bad_keys * 2 : 64;
		void *keys = reallocarray(c->bad_keys, cap, sizeof(*c->bad_keys));
		void *errs = keys ? reallocarray(c->bad_errs, cap, sizeof(*c->bad_errs)) : NULL;

		if (keys)
			c->bad_keys = keys;
		if (errs)
			c->bad_errs = errs;
		if (!keys || !errs) {
			c->incomplete = true;
			c->out->n_bad++;
			return;
		}
		c->cap_bad_keys = cap;
	}
	c->bad_keys[c->n_bad_keys] = *key;
	c->bad_errs[c->n_bad_keys++] = err;
}

int check_store(struct check *c, struct rstore_check *ret)
{
	return rstore_check(c->v->rs, store_bad, c, ret);
}

static const char *key_what(const struct rstore_key *key)
{
	switch (key->len ? key->b[0] : 0) {
	case SPACE_HISTORY:
		return "history record";
	case SPACE_EDGE:
		return "lineage record";
	case SPACE_LOOKUP:
		return "lookup id of a folder";
	case SPACE_RETIRED:
		return "retired lookup id";
	case SPACE_ORPHAN:
		return "orphan record";
	case SPACE_DEAD_OBJECT:
		return "record of a dead object";
	case SPACE_COUNTERS:
		return "counters";
	default:
		return "node of the record tree";
	}
}

/* The keys of damage in the store, as findings; only now are there paths to name them by. */
static void report_store(struct check *c)
{
	static const char *const subs[] = {"inode record", "xattr record", "directory entry",
					   "block map"};
	enum engine_sub sub;
	uint64_t id, at;

	for (size_t i = 0; i < c->n_bad_keys; i++) {
		const struct rstore_key *key = &c->bad_keys[i];
		const char *why = diag_errno(c->bad_errs[i]);

		if (!walk_key_parse(key, &id, &sub, &at)) {
			c->out->n_bad++;
			char text[256];
			snprintf(text, sizeof(text), "record store: %s: %s", key_what(key), why);
			if (c->bad)
				c->bad(c->arg, text);
		} else if (sub == SUB_MAP) {
			check_report(c, id, "%s at byte %llu: %s", subs[sub],
				     (unsigned long long)(at * MAP_GROUP_BYTES), why);
		} else {
			check_report(c, id, "%s: %s", subs[sub], why);
		}
	}
}

/* ---- the whole ---- */

void check_free(struct check *c)
{
	free(c->bad_keys);
	free(c->bad_errs);
	free(c->inodes);
	free(c->slots);
}

/* The sum that the quota is held against. */
static void check_used(struct check *c)
{
	const struct volume *v = c->v;

	/* After another finding it would only be its consequence. */
	if (v->used_known && !c->passed_over && !c->out->n_bad && !c->n_bad_keys && c->used != v->used_records)
		check_report(c, VOLUME_ROOT_ID, "%llu bytes are counted as used, the files hold %llu",
			     (unsigned long long)v->used_records, (unsigned long long)c->used);
}

static int check_locked(struct check *c)
{
	struct rstore_check store = {0};
	int r = check_store(c, &store);

	if (r)
		return r;
	c->out->n_records = store.n_records;
	r = check_records(c);
	if (r == 0)
		r = check_links(c);
	if (r == 0)
		check_used(c);
	report_store(c);
	return r;
}

/* Before the commit, which empties it. Damage found at opening is told for as long as the volume is
 * open. */
static int check_log(struct check *c)
{
	uint64_t n_frames, n_bad, off;
	int r = log_verify(c->v, &n_frames, &n_bad, &off);
	char text[160];

	if (r || !n_bad)
		return r;
	c->out->n_bad++;
	snprintf(text, sizeof(text),
		 "log: damaged at byte %" PRIu64 "; synced writes from there on were not applied", off);
	if (c->bad)
		c->bad(c->arg, text);
	return 0;
}

int volume_check(struct volume *v, bool data, void (*bad)(void *arg, const char *text), void *arg,
		 struct volume_check *ret)
{
	struct volume_check out = {0};
	CLEANUP_WITH(check_free) struct check c = {.v = v, .bad = bad, .arg = arg, .out = &out};
	engine_enter(v);
	int r = check_log(&c);
	engine_leave(v);
	if (r == 0)
		r = engine_commit(v, NULL);
	/* A read-only volume is checked as it stands. */
	if (r && r != -EROFS)
		return r;
	engine_enter(v);
	r = check_locked(&c);
	engine_leave(v);
	if (r == 0 && data)
		r = check_blocks(&c);
	if (r == 0)
		*ret = out;
	return r;
}
