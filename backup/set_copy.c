/* See set_copy.h. */
#include "backup/set_copy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/hold.h"
#include "backup/parity.h"
#include "backup/set_internal.h"
#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"

/* --- objects --- */

int set_each_object(const struct set_manifest *m, set_object_fn fn, void *arg)
{
	char what[SET_OBJECT_MAX];
	int err = fn(arg, "index", &m->index);

	if (err == 0)
		err = fn(arg, "packs", &m->pack_table);
	for (size_t i = 0; err == 0 && i < m->n_packs; i++) {
		snprintf(what, sizeof(what), "pack-%05" PRIu32, (uint32_t)i);
		err = fn(arg, what, &m->packs[i]);
	}
	return err;
}

int set_object_fetch(struct repo *r, const char *id, const char *what, const struct set_pack *p,
		     uint8_t **ret)
{
	CLEANUP_FREE uint8_t *bytes = NULL;
	char name[SET_NAME_LEN];
	uint8_t digest[32];
	size_t len;

	set_object(id, what, name);
	int err = set_damage(repo_get(r, name, p->len, &bytes, &len));
	if (err)
		return err;
	kdf_hash(digest, bytes, len);
	if (len != p->len || memcmp(digest, p->digest, sizeof(digest)) != 0)
		return -EBADMSG;
	*ret = STEAL_PTR(bytes);
	return 0;
}

int set_object_replace(struct repo *r, const char *id, const char *what, const struct set_pack *p,
		       const uint8_t *bytes)
{
	CLEANUP_FREE uint8_t *back = NULL;
	char name[SET_NAME_LEN];

	set_object(id, what, name);
	int err = repo_put(r, name, bytes, p->len);
	if (err == 0)
		err = set_object_fetch(r, id, what, p, &back);
	return err == -EBADMSG ? -EIO : err;
}

int set_manifest_fetch(struct repo *r, const char *id, const uint8_t volume_id[16],
		       const uint8_t sign_pk[32], char **ret_text, struct set_manifest *ret)
{
	CLEANUP_FREE char *text = NULL;
	struct set_manifest m;
	char name[SET_NAME_LEN];

	set_object(id, "manifest", name);
	int err = repo_get_note(r, name, &text);
	if (err == 0)
		err = set_manifest_parse(text, volume_id, sign_pk, &m);
	if (err)
		return err;
	if (strcmp(m.id, id) != 0) { /* a good manifest in another set's place */
		set_manifest_free(&m);
		return -EBADMSG;
	}
	*ret_text = STEAL_PTR(text);
	*ret = m;
	return 0;
}

/* --- copying a set --- */

struct one_copy {
	struct set_copying *c;
	const char *id;
	const char *damaged; /* "from": what of it is not as it should be */
	char what[SET_OBJECT_MAX];
};

static int told(struct set_copying *c, uint64_t len)
{
	c->n_objects += len > 0;
	c->n_bytes += len;
	return c->progress && c->progress(c->arg, c->n_objects, c->n_bytes) ? -EINTR : 0;
}

/* What no manifest vouches for, as it is; one that is there stays. */
static int copy_aside(struct set_copying *c, const char *id, const char *what, uint64_t max)
{
	CLEANUP_FREE uint8_t *text = NULL;
	char name[SET_NAME_LEN];
	size_t len;

	set_object(id, what, name);
	int err = repo_get(c->from, name, max, &text, &len);
	if (err)
		return err == -ENOENT ? 0 : err;
	err = repo_put_new(c->to, name, text, len);
	return err == -EEXIST ? 0 : err;
}

/* It says itself whether it is whole; without it the set is one all the same. */
static int copy_parity(const struct one_copy *x, const char *what, uint64_t len)
{
	char name[32];

	parity_name(what, name);
	int err = set_damage(copy_aside(x->c, x->id, name, PARITY_LEN_MAX(len)));
	return err == -EBADMSG ? 0 : err;
}

static int copy_object(void *arg, const char *what, const struct set_pack *p)
{
	struct one_copy *x = arg;
	CLEANUP_FREE uint8_t *there = NULL, *bytes = NULL;

	snprintf(x->what, sizeof(x->what), "%s", what);
	if (set_object_fetch(x->c->to, x->id, what, p, &there) == 0)
		return told(x->c, 0);
	int err = set_object_fetch(x->c->from, x->id, what, p, &bytes);
	if (err)
		return err;
	err = set_object_replace(x->c->to, x->id, what, p, bytes);
	if (err == 0)
		err = copy_parity(x, what, p->len);
	return err ? err : told(x->c, p->len);
}

static bool same_manifest(const struct set_manifest *a, const struct set_manifest *b)
{
	return memcmp(a->index.digest, b->index.digest, 32) == 0 &&
	       memcmp(a->pack_table.digest, b->pack_table.digest, 32) == 0 && a->to_txn == b->to_txn;
}

/* What stands under the id must be this set, or nothing. */
static int check_place(struct set_copying *c, const struct set_manifest *m, bool *ret_there)
{
	CLEANUP_FREE char *text = NULL;
	CLEANUP_WITH(set_manifest_free) struct set_manifest other = {0};
	int err = set_manifest_fetch(c->to, m->id, c->volume_id, c->sign_pk, &text, &other);

	*ret_there = err == 0;
	if (err == 0)
		return same_manifest(m, &other) ? 0 : -EEXIST;
	/* One that is damaged is put anew. */
	return err == -ENOENT || err == -EBADMSG || err == -EUCLEAN ? 0 : err;
}

static int copy_manifest(struct set_copying *c, const struct set_manifest *m)
{
	CLEANUP_FREE char *text = NULL;
	CLEANUP_WITH(set_manifest_free) struct set_manifest again = {0};
	char name[SET_NAME_LEN];
	int err = set_manifest_fetch(c->from, m->id, c->volume_id, c->sign_pk, &text, &again);

	if (err)
		return err == -EUCLEAN || err == -ENOENT ? -EBADMSG : err;
	if (!same_manifest(m, &again))
		return -EBADMSG;
	set_object(m->id, "manifest", name);
	err = repo_put(c->to, name, text, strlen(text));
	return err ? err : told(c, strlen(text));
}

int set_copy(struct set_copying *c, const struct set_manifest *m, struct diag *d)
{
	struct one_copy x = {.c = c, .id = m->id, .what = "manifest"};
	char mark[SET_NAME_LEN];
	bool there;
	int err = check_place(c, m, &there);

	if (err == -EEXIST)
		return diag_fail(d, DIAG_EXISTS, err, "another set %s in %s", m->id, repo_url(c->to));
	/* What was pruned and comes back is no remainder any more. */
	set_object(m->id, "pruned", mark);
	if (err == 0)
		err = repo_delete(c->to, mark);
	if (err == 0)
		err = set_each_object(m, copy_object, &x);
	if (err == 0)
		err = copy_aside(c, m->id, HOLD_OBJECT, NOTE_TEXT_MAX);
	if (err == 0 && !there) {
		strcpy(x.what, "manifest");
		err = copy_manifest(c, m);
	}
	if (err == 0) /* a prune may have marked what was not yet a set */
		err = repo_delete(c->to, mark);
	if (err == -EBADMSG)
		return diag_fail(d, DIAG_SET_DAMAGED, err, "set %s, %s, in %s", m->id, x.what,
				 repo_url(c->from));
	if (err == -EINTR)
		return diag_fail(d, DIAG_INTERRUPTED, err, "copying set %s", m->id);
	return err ? diag_fail_errno(d, err, "copying set %s into %s", m->id, repo_url(c->to)) : 0;
}

/* --- how much there is to copy --- */

struct counting {
	struct repo *to;
	const char *id;
	uint64_t n;
};

static int count_missing(void *arg, const char *what, const struct set_pack *p)
{
	struct counting *x = arg;
	char name[SET_NAME_LEN];
	uint64_t size;

	set_object(x->id, what, name);
	int err = set_damage(repo_size(x->to, name, &size));
	if (err == -EBADMSG || (err == 0 && size != p->len)) {
		x->n += p->len;
		err = 0;
	}
	return err;
}

int set_copy_missing(struct repo *to, const struct set_manifest *m, uint64_t *ret)
{
	struct counting x = {.to = to, .id = m->id};
	int err = set_each_object(m, count_missing, &x);

	if (err == 0)
		*ret = x.n;
	return err;
}

/* --- notes beside the sets --- */

static int copy_note(struct set_copying *c, const char *name, const char *key, size_t *io_bad)
{
	CLEANUP_FREE char *text = NULL;
	uint64_t size;
	int err = repo_size(c->to, name, &size);

	if (err != -ENOENT)
		return err;
	err = set_damage(repo_get_note(c->from, name, &text));
	if (err == 0 && note_verify(text, key, c->sign_pk) != 0)
		err = -EBADMSG;
	if (err == 0)
		err = repo_put_new(c->to, name, text, strlen(text));
	if (err == -EBADMSG) {
		(*io_bad)++;
		return 0;
	}
	return err == -EEXIST ? 0 : err;
}

int set_copy_notes(struct set_copying *c, const char *prefix, size_t *ret_n_bad, struct diag *d)
{
	char key[NOTE_KEY_NAME_MAX + 1], name[SET_NAME_LEN + 64];
	char **names = NULL;
	size_t n = 0;
	int err = set_damage(repo_list(c->from, prefix, &names, &n));

	*ret_n_bad = err == -EBADMSG; /* something that is no folder */
	if (err == -EBADMSG)
		return 0;
	note_volume_key_name(c->volume_id, key);
	for (size_t i = 0; err == 0 && i < n; i++) {
		if (snprintf(name, sizeof(name), "%s%s", prefix, names[i]) >= (int)sizeof(name))
			continue;
		err = copy_note(c, name, key, ret_n_bad);
		if (err == -EINVAL) { /* no name of ours */
			(*ret_n_bad)++;
			err = 0;
		}
	}
	repo_list_free(names, n);
	return err ? diag_fail_errno(d, err, "copying %s into %s", prefix, repo_url(c->to)) : 0;
}
