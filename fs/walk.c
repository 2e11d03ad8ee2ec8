/* Walks over live records. */
#include <errno.h>

#include "core/bytes.h"
#include "fs/walk.h"

#define WALK_BATCH 4096u
#define WALK_PAUSE 0x7fff0002

struct rstore_key walk_key_after(const struct rstore_key *k)
{
	struct rstore_key next = *k;

	next.b[next.len++] = 0; /* engine keys are at most 25 bytes long */
	return next;
}

bool walk_key_parse(const struct rstore_key *k, uint64_t *ret_id, enum engine_sub *ret_sub,
		    uint64_t *ret_at)
{
	if (k->len < 10 || k->b[0] != SPACE_FILE)
		return false;
	uint8_t sub = k->b[9];
	bool has_at = sub == SUB_DENTRY || sub == SUB_MAP;
	if (sub > SUB_MAP || k->len != (has_at ? 18 : 10))
		return false;
	*ret_id = bytes_get64be(k->b + 1);
	*ret_sub = sub;
	*ret_at = has_at ? bytes_get64be(k->b + 10) : 0;
	return true;
}

struct walk {
	struct rstore_key next;
	size_t left;
	rstore_scan_fn fn;
	void *arg;
};

static int walk_step(void *arg, const struct rstore_key *key, const void *val, size_t len,
		     uint64_t txn)
{
	struct walk *w = arg;

	w->next = walk_key_after(key);
	int r = w->fn(w->arg, key, val, len, txn);
	if (r == WALK_NEXT_ID)
		w->next = engine_file_end(bytes_get64be(key->b + 1));
	if (r)
		return r;
	return --w->left ? 0 : WALK_PAUSE;
}

int walk_records(struct volume *v, const struct rstore_key *from, const struct rstore_key *to,
		 bool breathe, rstore_scan_fn fn, void *arg)
{
	struct walk w = {.next = *from, .left = WALK_BATCH, .fn = fn, .arg = arg};

	for (;;) {
		int r = rstore_scan(v->rs, &w.next, to, walk_step, &w);
		if (r != WALK_NEXT_ID && r != WALK_PAUSE)
			return r;
		if (r == WALK_NEXT_ID && --w.left)
			continue;
		w.left = WALK_BATCH;
		if (breathe) {
			engine_leave(v);
			engine_enter(v);
		}
	}
}

struct dentry_walk {
	walk_dentry_fn fn;
	void *arg;
	uint64_t id; /* where the walk stands, for the report */
};

struct bucket_walk {
	struct dentry_walk *dw;
	uint64_t parent;
};

static int bucket_entry(void *arg, const struct dentry_sealed *d)
{
	struct bucket_walk *b = arg;

	return b->dw->fn(b->dw->arg, b->parent, d);
}

static int dentry_record(void *arg, const struct rstore_key *key, const void *val, size_t len,
			 uint64_t txn)
{
	struct dentry_walk *dw = arg;
	enum engine_sub sub;
	uint64_t at;

	(void)txn;
	if (!walk_key_parse(key, &dw->id, &sub, &at))
		return -EUCLEAN;
	if (sub == SUB_MAP)
		return WALK_NEXT_ID; /* a file: its maps need not be opened */
	if (sub != SUB_DENTRY)
		return 0;
	struct bucket_walk b = {dw, dw->id};
	return dir_bucket_each(val, len, bucket_entry, &b);
}

int walk_dentries(struct volume *v, bool breathe, walk_dentry_fn fn, void *arg)
{
	struct dentry_walk dw = {.fn = fn, .arg = arg};
	struct rstore_key from = engine_key(SPACE_FILE, NULL, 0),
			  to = engine_key(SPACE_FILE + 1, NULL, 0);

	int r = walk_records(v, &from, &to, breathe, dentry_record, &dw);
	return r < 0 ? engine_fault(v, r, dw.id, "folder entries", 0) : r;
}
