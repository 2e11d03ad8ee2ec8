/* The catalogue: which sets a repository holds, which one is meant, and what it takes to restore
 * it. */
#include "backup/set_copy.h"
#include "backup/set_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"

#define UNFINISHED_SECONDS (24 * 60 * 60)

static int load_one(struct repo *r, const char *id, const uint8_t volume_id[16],
		    const uint8_t sign_pk[32], struct set_manifest *ret)
{
	CLEANUP_FREE char *text = NULL;
	struct set_manifest m;
	int err = set_manifest_fetch(r, id, volume_id, sign_pk, &text, &m);

	if (err)
		return err;
	err = set_pack_table_read(r, &m);
	if (err == 0)
		*ret = m;
	else
		set_manifest_free(&m);
	return err;
}

static int by_time(const void *a, const void *b)
{
	const struct set_manifest *x = a, *y = b;

	if (x->to_txn != y->to_txn)
		return x->to_txn < y->to_txn ? -1 : 1;
	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	/* What stands for a set comes after it. */
	if (!x->merged != !y->merged)
		return x->merged ? 1 : -1;
	return strcmp(x->id, y->id);
}

int set_catalog_load(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		     struct set_catalog *ret, struct diag *d)
{
	struct set_catalog c = {0};
	char **ids = NULL;
	size_t n = 0;
	int err = repo_list(r, "sets/", &ids, &n);

	if (err == 0) {
		c.sets = calloc(n ? n : 1, sizeof(*c.sets));
		c.damaged = calloc(n ? n : 1, sizeof(*c.damaged));
		err = c.sets && c.damaged ? 0 : -ENOMEM;
	}
	for (size_t i = 0; err == 0 && i < n; i++) {
		if (!set_id_valid(ids[i]))
			continue;
		int one = load_one(r, ids[i], volume_id, sign_pk, &c.sets[c.n_sets]);
		if (one == 0)
			c.n_sets++;
		else if (one == -ENOMEM)
			err = one;
		else if (one != -ENOENT) /* without a manifest there is no set */
			strcpy(c.damaged[c.n_damaged++], ids[i]);
	}
	repo_list_free(ids, n);
	if (err) {
		set_catalog_free(&c);
		return diag_fail_errno(d, err, "%s", repo_url(r));
	}
	if (c.n_sets)
		qsort(c.sets, c.n_sets, sizeof(*c.sets), by_time);
	*ret = c;
	return 0;
}

void set_catalog_free(struct set_catalog *c)
{
	for (size_t i = 0; i < c->n_sets; i++)
		set_manifest_free(&c->sets[i]);
	free(c->sets);
	free(c->damaged);
	*c = (struct set_catalog){0};
}

static bool is_damaged(const struct set_catalog *c, const char *id)
{
	for (size_t i = 0; i < c->n_damaged; i++)
		if (!strcmp(c->damaged[i], id))
			return true;
	return false;
}

static int find_id(const struct set_catalog *c, const char *id, size_t *ret_i, struct diag *d)
{
	size_t n = 0;

	if (is_damaged(c, id))
		return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "set %s, manifest", id);
	for (size_t i = 0; i < c->n_sets; i++) {
		if (strncmp(c->sets[i].id, id, strlen(id)) != 0)
			continue;
		*ret_i = i;
		n++;
	}
	if (n == 1)
		return 0;
	/* One that was merged away: its snapshot is the merged set's, when it was the newest of them. */
	for (size_t i = 0; n == 0 && i < c->n_sets; i++) {
		if (!set_stands_for(&c->sets[i], id))
			continue;
		*ret_i = i;
		return 0;
	}
	return diag_fail(d, DIAG_SET_MISSING, n ? -EINVAL : -ENOENT,
			 n ? "%s (several begin so)" : "%s", id);
}

int set_catalog_find(const struct set_catalog *c, const char *id, int64_t at, size_t *ret_i,
		     struct diag *d)
{
	if (id && strcmp(id, "latest") != 0)
		return find_id(c, id, ret_i, d);
	for (size_t i = c->n_sets; i-- > 0;) {
		if (!id && at && c->sets[i].time > at)
			continue;
		*ret_i = i;
		return 0;
	}
	return diag_fail(d, DIAG_SET_MISSING, -ENOENT, "%s",
			 id   ? id
			 : at ? "none so early"
			      : "none yet");
}

bool set_catalog_parent(const struct set_catalog *c, size_t child, size_t *ret)
{
	const struct set_manifest *m = &c->sets[child];
	bool found = false;

	for (size_t i = 0; *m->parent && i < c->n_sets; i++) {
		const struct set_manifest *p = &c->sets[i];
		if (i == child || !set_stands_for(p, m->parent) || p->timeline != m->timeline ||
		    p->to_txn != m->from_txn || p->to_txn > m->to_txn)
			continue;
		/* Of one that was merged and the merged set, the former may be on its way out. */
		if (found && !p->merged)
			continue;
		*ret = i;
		found = true;
	}
	return found;
}

bool set_catalog_superseded(const struct set_catalog *c, size_t i, size_t *ret_by)
{
	for (size_t k = 0; k < c->n_sets; k++) {
		if (k == i || !set_merged_from(&c->sets[k], c->sets[i].id))
			continue;
		*ret_by = k;
		return true;
	}
	return false;
}

int set_catalog_chain(const struct set_catalog *c, size_t i, size_t **ret, size_t *ret_n,
		      struct diag *d)
{
	CLEANUP_FREE size_t *chain = calloc(c->n_sets ? c->n_sets : 1, sizeof(*chain));
	size_t n = 0;

	if (!chain)
		return diag_fail_errno(d, -ENOMEM, "set %s", c->sets[i].id);
	for (;;) {
		/* More links than sets would be a circle. */
		if (n == c->n_sets)
			return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG,
					 "set %s: its parents form a circle", c->sets[i].id);
		chain[n++] = i;
		if (c->sets[i].full)
			break;
		if (set_catalog_parent(c, i, &i))
			continue;
		const char *parent = c->sets[i].parent;
		if (is_damaged(c, parent))
			return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG,
					 "set %s, which set %s builds on", parent, c->sets[i].id);
		return diag_fail(d, DIAG_SET_MISSING, -ENOENT, "%s, which set %s builds on", parent,
				 c->sets[i].id);
	}
	for (size_t a = 0, b = n - 1; a < b; a++, b--) {
		size_t t = chain[a];
		chain[a] = chain[b];
		chain[b] = t;
	}
	*ret = STEAL_PTR(chain);
	*ret_n = n;
	return 0;
}

/* --- removing --- */

int set_remove(struct repo *r, const char *id)
{
	char name[SET_NAME_LEN], prefix[SET_NAME_LEN];
	char **objects = NULL;
	size_t n = 0;

	set_object(id, "manifest", name);
	set_object(id, "", prefix);
	int err = repo_delete(r, name);
	if (err == 0)
		err = repo_list(r, prefix, &objects, &n);
	for (size_t i = 0; err == 0 && i < n; i++) {
		if (strlen(objects[i]) > SET_OBJECT_MAX || !strcmp(objects[i], SET_UNFINISHED))
			continue;
		set_object(id, objects[i], name);
		err = repo_delete(r, name);
	}
	repo_list_free(objects, n);
	set_object(id, SET_UNFINISHED, name);
	return err ? err : repo_delete(r, name);
}

static void remove_if_unfinished(struct repo *r, const char *id)
{
	char name[SET_NAME_LEN];
	uint64_t size;

	set_object(id, SET_UNFINISHED, name);
	if (repo_size(r, name, &size) != 0)
		return;
	set_object(id, "manifest", name);
	int err = repo_size(r, name, &size);
	if (err == -ENOENT) {
		set_remove(r, id);
	} else if (err == 0) { /* it ended between its manifest and its mark */
		set_object(id, SET_UNFINISHED, name);
		repo_delete(r, name);
	}
}

void set_remove_unfinished(struct repo *r)
{
	char oldest[SET_ID_MAX + 1];
	char **ids = NULL;
	size_t n = 0;

	set_id_stamp(time(NULL) - UNFINISHED_SECONDS, oldest);
	if (repo_list(r, "sets/", &ids, &n) != 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (set_id_valid(ids[i]) && strcmp(ids[i], oldest) < 0)
			remove_if_unfinished(r, ids[i]);
	repo_list_free(ids, n);
}
