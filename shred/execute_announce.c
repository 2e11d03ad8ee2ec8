/*
 * Announcements: what an order ends stands in every repository before the keys end it.
 *
 * A recovery may find an escrow from before the puncture. Before anything mounts it applies what
 * the repositories announce, so the destroyed data does not come back with the older keys. An
 * announcement is a note of the volume (docs/format.md "Announcements"), in parts when it has many
 * ranges:
 *
 *   announce/NUMBER, announce/NUMBER.2 ..              the ids of the order
 *   announce/NUMBER.names, announce/NUMBER.names.2 ..  the lookup ids that its erasure retired
 * (live tree only)
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/note.h"
#include "shred/execute_internal.h"

#define TYPE "announcement"
#define VERSION 1
#define PREFIX "announce/"
#define PART_RANGES 16384u /* two numbers of 20 digits each stay below the limit of a body */
#define OBJECT_LEN 96

struct announcement {
	char number[ORDER_NUMBER_MAX + 1];
	unsigned trees;
	struct keyring_range *ranges;
	size_t n;
};

static void announcement_free(struct announcement *a)
{
	free(a->ranges);
	*a = (struct announcement){0};
}

static const char *trees_text(unsigned trees)
{
	return trees == KEYRING_BOTH ? "live backup" : "live";
}

static int body(const uint8_t volume_id[16], const struct announcement *a, char **ret)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	note_begin(&w, TYPE, VERSION);
	note_put_hex(&w, "volume", volume_id, 16);
	note_put(&w, "order", a->number);
	note_put(&w, "trees", trees_text(a->trees));
	for (size_t i = 0; i < a->n; i++)
		note_put_fmt(&w, "range", "%" PRIu64 "-%" PRIu64, a->ranges[i].first,
			     a->ranges[i].last);
	return note_end(&w, ret);
}

/* --- reading --- */

static int range_parse(const char *s, struct keyring_range *ret)
{
	char *end;

	/* How the numbers are written is checked by writing the body anew. */
	ret->first = strtoull(s, &end, 10);
	if (*end != '-')
		return -EUCLEAN;
	ret->last = strtoull(end + 1, &end, 10);
	return *end || ret->last < ret->first ? -EUCLEAN : 0;
}

static int fields(const struct note *n, struct announcement *a)
{
	const char *order = note_get(n, "order"), *trees = note_get(n, "trees");
	int r = 0;

	if (!order || !trees || strlen(order) > ORDER_NUMBER_MAX)
		return -EUCLEAN;
	strcpy(a->number, order);
	a->trees = strcmp(trees, "live") ? KEYRING_BOTH : KEYRING_MASK(KEYRING_LIVE);
	a->ranges = calloc(n->n_fields, sizeof(*a->ranges));
	if (!a->ranges)
		return -ENOMEM;
	for (size_t i = 0; i < n->n_fields && r == 0; i++)
		if (strcmp(n->fields[i].key, "range") == 0)
			r = range_parse(n->fields[i].value, &a->ranges[a->n++]);
	return r;
}

static int parse(const char *text, struct keyring *kr, struct announcement *ret)
{
	CLEANUP_WITH(announcement_free) struct announcement a = {0};
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_FREE char *again = NULL;
	/* A version of its own is told apart from damage: what a newer program announced is not to be written over. */
	int r = note_open_volume(text, keyring_volume_id(kr), keyring_header(kr)->sign_pk, TYPE, VERSION, &n);

	if (r == 0)
		r = fields(&n, &a);
	if (r == 0)
		r = body(keyring_volume_id(kr), &a, &again);
	if (r)
		return r;
	if (!note_body_is(text, again))
		return -EUCLEAN;
	*ret = a;
	a = (struct announcement){0};
	return 0;
}

/* -ENOENT when there is none. */
static int get(struct repo *repo, const char *object, struct keyring *kr, struct announcement *ret)
{
	CLEANUP_FREE char *text = NULL;
	int r = repo_get_note(repo, object, &text);

	return r ? r : parse(text, kr, ret);
}

/* --- writing --- */

/* Both in ascending order, as every announcement is written. */
static bool holds_all(const struct announcement *a, const struct keyring_range *ranges, size_t n)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		while (k < a->n && a->ranges[k].last < ranges[i].last)
			k++;
		if (k == a->n || a->ranges[k].first > ranges[i].first)
			return false;
	}
	return true;
}

static int put_part(const struct execution *x, struct repo *repo, const char *object,
		    const struct announcement *a)
{
	CLEANUP_FREE char *text = NULL, *note = NULL;
	int r = body(keyring_volume_id(x->kr), a, &text);

	if (r == 0)
		r = note_sign_volume(text, keyring_volume_id(x->kr), keyring_sign_seed(x->kr), &note);
	return r ? r : repo_put(repo, object, note, strlen(note));
}

static void object_name(char out[OBJECT_LEN], const char *number, bool names, unsigned part)
{
	int n = snprintf(out, OBJECT_LEN, PREFIX "%s%s", number, names ? ".names" : "");

	if (part > 1)
		snprintf(out + n, OBJECT_LEN - (size_t)n, ".%u", part);
}

/* The first part from *io_part on that is free, or already says the same: nothing announced is ever
 * overwritten. */
static int put_where_free(const struct execution *x, struct repo *repo, bool names,
			  const struct announcement *a, unsigned *io_part)
{
	char object[OBJECT_LEN];

	for (;; ++*io_part) {
		CLEANUP_WITH(announcement_free) struct announcement old = {0};

		object_name(object, x->o.number, names, *io_part);
		int r = get(repo, object, x->kr, &old);
		if (r == -ENOENT || r == -EBADMSG || r == -EUCLEAN)
			return put_part(x, repo, object, a);
		if (r)
			return r;
		if (old.trees == a->trees && holds_all(&old, a->ranges, a->n))
			return 0;
	}
}

static int put_parts(const struct execution *x, struct repo *repo, bool names, unsigned trees,
		     const struct keyring_range *ranges, size_t n)
{
	unsigned part = 1;
	int r = 0;

	for (size_t at = 0; at < n && r == 0; at += PART_RANGES, part++) {
		size_t left = n - at;
		struct announcement a = {.trees = trees,
					 .n = left < PART_RANGES ? left : PART_RANGES};

		strcpy(a.number, x->o.number);
		a.ranges = calloc(a.n, sizeof(*a.ranges));
		if (!a.ranges)
			return -ENOMEM;
		memcpy(a.ranges, ranges + at, a.n * sizeof(*a.ranges));
		r = put_where_free(x, repo, names, &a, &part);
		announcement_free(&a);
	}
	return r;
}

int announce_put(const struct execution *x, bool names, unsigned trees,
		 const struct keyring_range *ranges, size_t n, struct diag *d)
{
	int r = 0;

	for (size_t i = 0; i < x->ctx->n_repos && r == 0; i++) {
		r = put_parts(x, x->ctx->repos[i], names, trees, ranges, n);
		if (r)
			diag_fail_errno(d, r, "announcing order %s in %s", x->o.number,
					repo_url(x->ctx->repos[i]));
	}
	return r;
}

/* --- applying --- */

/* 1 when it changed the keys. */
static int apply(struct keyring *kr, struct repo *repo, const char *name, struct diag *d)
{
	CLEANUP_WITH(announcement_free) struct announcement a = {0};
	uint64_t before = keyring_generation(kr);
	char object[OBJECT_LEN];
	size_t pending;

	if (snprintf(object, sizeof(object), PREFIX "%s", name) >= (int)sizeof(object))
		return 0;
	int r = get(repo, object, kr, &a);
	if (r == -EBADMSG || r == -EUCLEAN || r == -EFBIG)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG, "%s/%s", repo_url(repo), object);
	if (r == -EPROTONOSUPPORT)
		return diag_fail(d, DIAG_VERSION, r, "%s/%s", repo_url(repo), object);
	if (r)
		return diag_fail_errno(d, r, "%s/%s", repo_url(repo), object);
	if (!a.n)
		return 0;
	r = keyring_puncture(kr, a.trees, a.ranges, a.n, a.number, &pending, d);
	return r ? r : keyring_generation(kr) != before;
}

int shred_reapply(struct keyring *kr, struct repo *repo, size_t *ret_n, struct diag *d)
{
	char **names = NULL;
	size_t n = 0, n_applied = 0;
	int r = repo_list(repo, PREFIX, &names, &n), first = 0;

	if (r)
		return r == -ENOENT ? (*ret_n = 0, 0)
				    : diag_fail_errno(d, r, "%s/" PREFIX, repo_url(repo));
	for (size_t i = 0; i < n; i++) {
		struct diag one = {0};

		r = apply(kr, repo, names[i], &one);
		n_applied += r == 1;
		if (r < 0 && !first) {
			first = r;
			if (d)
				*d = one;
		}
	}
	repo_list_free(names, n);
	*ret_n = n_applied;
	return first;
}
