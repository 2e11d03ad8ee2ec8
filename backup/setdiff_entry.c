/* What differs between two entries, one of each set. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "backup/content.h"
#include "backup/setdiff_internal.h"

static uint64_t timeline(const struct setview *sv)
{
	return sv->catalog->sets[sv->chain[sv->n_chain - 1]].timeline;
}

/* The same version of the same file, by the indices alone. Transactions mean something only within
 * one history. What cannot be read is not the same: comparing it will tell. */
static bool same_version(const struct setdiff *x, uint64_t a, uint64_t b)
{
	uint64_t newest[2];
	struct view_entry va, vb;

	return a == b && timeline(x->view[0]) == timeline(x->view[1]) &&
	       setview_node(x->view[0], a, &va) == 0 && setview_node(x->view[1], b, &vb) == 0 &&
	       va.e.version == vb.e.version && view_data_version(x->view[0], a, &newest[0]) == 0 &&
	       view_data_version(x->view[1], b, &newest[1]) == 0 && newest[0] == newest[1];
}

static bool has_xattr(const struct set_node *n, const char *key, const uint8_t *val, size_t len)
{
	const uint8_t *other;
	const char *name;
	size_t pos = 0, other_len;

	while (volume_xattrs_next(n->xattrs, n->xattrs_len, &pos, &name, &other, &other_len))
		if (strcmp(name, key) == 0)
			return other_len == len && (len == 0 || memcmp(other, val, len) == 0);
	return false;
}

/* As sets: their order says nothing. */
static bool same_xattrs(const struct set_node *a, const struct set_node *b)
{
	const uint8_t *val;
	const char *name;
	size_t pos = 0, len, n_a = 0, n_b = 0;

	while (volume_xattrs_next(a->xattrs, a->xattrs_len, &pos, &name, &val, &len)) {
		if (!has_xattr(b, name, val, len))
			return false;
		n_a++;
	}
	for (pos = 0; volume_xattrs_next(b->xattrs, b->xattrs_len, &pos, &name, &val, &len);)
		n_b++;
	return n_a == n_b;
}

static bool same_attributes(const struct set_node *a, const struct set_node *b, bool same_content)
{
	const struct volume_attr *p = &a->attr, *q = &b->attr;

	if (p->mode != q->mode || p->uid != q->uid || p->gid != q->gid || !same_xattrs(a, b))
		return false;
	/* A folder's moves with every name in it, a file's with its content. */
	return S_ISDIR(q->mode) || !same_content ||
	       (p->mtime.tv_sec == q->mtime.tv_sec && p->mtime.tv_nsec == q->mtime.tv_nsec);
}

/* An entry that cannot be compared: counted on its side, and 0. */
static int set_aside(struct setdiff *x, int side, uint64_t id, const char *path, int err)
{
	char order[KEYRING_ORDER_REF_MAX + 1];

	if (err == -EKEYREVOKED) {
		setview_order(x->view[side], id, id, order);
		setdiff_destroyed(x, side, order);
		return 0;
	}
	if (err != -EBADMSG)
		return err;
	setdiff_damaged(x, side, path);
	return 0;
}

struct side {
	struct bytes_w body;
	struct set_node n;
};

static int same_content(struct setdiff *x, const uint64_t id[2], const struct side s[2],
			bool *ret_same, int *ret_side)
{
	const struct set_node *a = &s[0].n, *b = &s[1].n;
	uint8_t digest[2][CONTENT_DIGEST_LEN];

	*ret_same = (a->attr.mode & S_IFMT) == (b->attr.mode & S_IFMT);
	if (!*ret_same || S_ISDIR(a->attr.mode))
		return 0;
	if (!S_ISREG(a->attr.mode)) {
		*ret_same = a->attr.rdev == b->attr.rdev && a->inline_len == b->inline_len &&
			    (!a->inline_len || !memcmp(a->inline_data, b->inline_data, a->inline_len));
		return 0;
	}
	*ret_same = a->attr.size == b->attr.size;
	for (int i = 0; *ret_same && i < 2; i++) {
		int err = content_digest_set(x->view[i], id[i], &s[i].n, digest[i]);

		*ret_side = i;
		if (err)
			return err;
	}
	*ret_same = *ret_same && memcmp(digest[0], digest[1], CONTENT_DIGEST_LEN) == 0;
	return 0;
}

int setdiff_compare(struct setdiff *x, uint64_t a, uint64_t b, const char *path, bool *ret_content,
		    bool *ret_attributes)
{
	const uint64_t id[2] = {a, b};
	struct side s[2] = {0};
	bool same = true;
	int err = 0, side = 0;

	*ret_content = *ret_attributes = false;
	if (same_version(x, a, b))
		return 0;
	for (int i = 0; err == 0 && i < 2; i++) {
		err = setview_read_node(x->view[i], id[i], &s[i].body, &s[i].n);
		side = i;
	}
	if (err == 0)
		err = same_content(x, id, s, &same, &side);
	if (err) {
		err = set_aside(x, side, id[side], path, err);
	} else {
		*ret_content = !same;
		*ret_attributes = !same_attributes(&s[0].n, &s[1].n, same);
	}
	bytes_w_free(&s[0].body);
	bytes_w_free(&s[1].body);
	return err;
}
