/*
 * The full check: every node and record, read from the medium and opened.
 *
 * A node that does not open hides what it covers; the walk reports it and goes on beside it.
 */
#include "fs/rstore_internal.h"

struct check {
	struct rstore *rs;
	void (*bad)(void *arg, const struct rstore_key *key, int err);
	void *arg;
	struct rstore_check *ret;
	struct bytes_w val;
};

static void check_free(struct check *c)
{
	bytes_w_free(&c->val);
}

static void report(struct check *c, const struct tree_key *tk, int err)
{
	struct rstore_key key;

	tree_key_record(tk, &key, NULL);
	if (!c->ret->n_bad++)
		c->ret->first_bad = key;
	if (c->bad)
		c->bad(c->arg, &key, err);
}

/* What is wrong with the store is a finding; what keeps us from looking ends the check. */
static bool is_finding(int err)
{
	return err == -EBADMSG || err == -EUCLEAN || err == -EIO;
}

static int check_record(struct check *c, const struct tree_entry *e)
{
	struct rstore_key key;
	int r;

	tree_key_record(&e->key, &key, NULL);
	bytes_w_reset(&c->val);
	c->ret->n_records++;
	r = rstore_record_open(c->rs, &key, e, &c->val);
	if (r == -EKEYREVOKED)
		return 0;
	if (is_finding(r)) {
		report(c, &e->key, r);
		r = 0;
	}
	return r;
}

static int check_node(struct check *c, const struct tree_ref *ref, const struct tree_key *low)
{
	struct tree_node *n;
	int r = 0;

	/* Looked up again for every entry: checking one may push the node out of the cache. */
	for (unsigned i = 0; !r; i++) {
		struct tree_entry e;
		struct tree_ref child;

		rstore_cache_trim(&c->rs->cache);
		r = rstore_node_load(c->rs, ref, &n);
		if (is_finding(r)) {
			report(c, low, r);
			c->ret->n_bad_nodes++;
			return 0;
		}
		if (r)
			break;
		c->ret->n_nodes += i == 0;
		if (i == n->n)
			break;
		e = n->e[i];
		if (!n->level) {
			r = check_record(c, &e);
			continue;
		}
		tree_child_ref(n, i, &child);
		r = check_node(c, &child, i ? &e.key : low);
	}
	return r;
}

int rstore_check(struct rstore *rs, void (*bad)(void *arg, const struct rstore_key *key, int err),
		 void *arg, struct rstore_check *ret)
{
	struct rstore_check result = {0};
	__attribute__((cleanup(check_free))) struct check c = {
	    .rs = rs, .bad = bad, .arg = arg, .ret = &result};
	struct tree_key lowest = {0};
	int r;

	/* What memory remembers says nothing about the medium. */
	rstore_cache_drop_clean(&rs->cache);
	rstore_db_forget(rs);
	r = check_node(&c, &rs->durable.root, &lowest);
	if (!r)
		*ret = result;
	return r;
}
