/*
 * Reading and judging what a volume shows: see the header. Snapshots: view_snapshot.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/crash/view.h"

#define NODES_MAX 100u

struct seen {
	struct volume_attr at;
	uint8_t *content;
	char target[16];
	size_t xattr_len[REFERENCE_XATTRS]; /* + 1; 0: none */
	uint8_t *xattr[REFERENCE_XATTRS];
	unsigned child[OPS_LETTERS];
};

struct view {
	struct seen n[NODES_MAX]; /* 1 is the root; an inode with two names is there twice */
	unsigned count;
};

/* ---- reading ---- */

struct listing {
	unsigned letter[2 * OPS_LETTERS];
	uint64_t id[2 * OPS_LETTERS];
	uint32_t type[2 * OPS_LETTERS];
	unsigned n;
	bool odd;
};

static int note_entry(void *arg, const char *name, uint64_t id, uint32_t type, uint64_t cookie,
		      const struct volume_attr *attr)
{
	struct listing *l = arg;
	unsigned c = (unsigned)(name[0] - 'a');

	(void)cookie, (void)attr;
	/* What a test itself put there to see whether the volume works. */
	if (!strcmp(name, "new"))
		return 0;
	if (c >= OPS_LETTERS || strcmp(name, drive_name(c)) || l->n == 2 * OPS_LETTERS) {
		l->odd = true;
		return 0;
	}
	l->letter[l->n] = c;
	l->id[l->n] = id;
	l->type[l->n++] = type;
	return 0;
}

static bool read_content(struct driver *d, struct seen *s)
{
	size_t size = s->at.size;

	s->content = malloc(size + 1);
	assert_non_null(s->content);
	ssize_t n = volume_read(d->fx->v, s->at.id, s->content, size + 1, 0);
	return n == (ssize_t)size ? true
				  : drive_wrong(d, "reading %zu bytes of %llu gives %zd", size,
						(unsigned long long)s->at.id, n);
}

static bool read_xattrs(struct driver *d, struct seen *s)
{
	for (unsigned k = 0; k < REFERENCE_XATTRS; k++) {
		CLEANUP_BYTES struct bytes_w out = {0};
		char name[16];

		snprintf(name, sizeof(name), "user.%u", k);
		int r = volume_getxattr(d->fx->v, s->at.id, name, &out);
		if (r == -ENODATA)
			continue;
		if (r)
			return drive_wrong(d, "xattr %s of %llu: %d", name,
					   (unsigned long long)s->at.id, r);
		s->xattr_len[k] = out.len + 1;
		s->xattr[k] = malloc(out.len + 1);
		assert_non_null(s->xattr[k]);
		if (out.len)
			memcpy(s->xattr[k], out.buf, out.len);
	}
	return true;
}

static bool read_target(struct driver *d, struct seen *s)
{
	CLEANUP_BYTES struct bytes_w out = {0};
	int r = volume_readlink(d->fx->v, s->at.id, &out);

	if (r || out.len >= sizeof(s->target))
		return drive_wrong(d, "symlink %llu: %d", (unsigned long long)s->at.id, r);
	memcpy(s->target, out.buf, out.len);
	return true;
}

static bool read_node(struct driver *d, struct view *w, unsigned at, unsigned depth);

static bool read_folder(struct driver *d, struct view *w, unsigned at, unsigned depth)
{
	struct listing l = {0};
	uint64_t dir = w->n[at].at.id;
	int r = volume_readdir(d->fx->v, dir, 0, false, note_entry, &l);

	if (r || l.odd)
		return drive_wrong(d, "listing %llu: %d%s", (unsigned long long)dir, r,
				   l.odd ? ", names that were never made" : "");
	for (unsigned i = 0; i < l.n; i++) {
		unsigned next = w->count + 1;

		if (next == NODES_MAX || depth > 10 || w->n[at].child[l.letter[i]])
			return drive_wrong(d, "listing %llu: a name twice, or no end",
					   (unsigned long long)dir);
		struct seen *s = &w->n[next];
		r = find(d->fx->v, dir, drive_name(l.letter[i]), &s->at);
		if (r || s->at.id != l.id[i] || (s->at.mode & S_IFMT) != l.type[i])
			return drive_wrong(d, "'%c' in %llu is listed and looked up as %d",
					   'a' + l.letter[i], (unsigned long long)dir, r);
		w->count = next;
		w->n[at].child[l.letter[i]] = next;
		if (!read_node(d, w, next, depth + 1))
			return false;
	}
	return true;
}

static bool read_node(struct driver *d, struct view *w, unsigned at, unsigned depth)
{
	struct seen *s = &w->n[at];

	if (S_ISLNK(s->at.mode))
		return read_target(d, s);
	if (!read_xattrs(d, s))
		return false;
	if (S_ISREG(s->at.mode))
		return read_content(d, s);
	return S_ISDIR(s->at.mode) ? read_folder(d, w, at, depth) : true;
}

struct view *view_read(struct driver *d)
{
	struct view *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->count = 1;
	int r = volume_getattr(d->fx->v, VOLUME_ROOT_ID, &w->n[1].at);
	if (r)
		drive_wrong(d, "the root: %d", r);
	if (r == 0 && read_node(d, w, 1, 0))
		return w;
	view_free(w);
	return NULL;
}

void view_free(struct view *w)
{
	for (unsigned i = 1; i < NODES_MAX; i++) {
		free(w->n[i].content);
		for (unsigned k = 0; k < REFERENCE_XATTRS; k++)
			free(w->n[i].xattr[k]);
	}
	free(w);
}

/* ---- judging ---- */

struct judge {
	struct driver *d;
	const struct view *w;
	const struct claim *c;
	unsigned k;
	const char *path;
};

static bool xattrs_are(const struct seen *s, const struct reference_node *n)
{
	uint8_t value[4096];

	for (unsigned k = 0; k < REFERENCE_XATTRS; k++) {
		size_t len = n->xattr[k] ? ops_xattr_value(n->xattr[k], value) + 1 : 0;

		if (s->xattr_len[k] != len || (len && memcmp(s->xattr[k], value, len - 1)))
			return false;
	}
	return true;
}

static bool attrs_are(const struct seen *s, const struct reference_node *n)
{
	return (s->at.mode & 07777) == n->mode && s->at.uid == n->uid && s->at.gid == n->gid &&
	       xattrs_are(s, n);
}

static bool attrs_fit(const struct judge *j, const struct seen *s, uint64_t serial)
{
	for (unsigned i = j->k; i <= j->c->begun; i++) {
		const struct reference_node *n = reference_by_serial(&j->c->history[i], serial);

		if (n && attrs_are(s, n))
			return true;
	}
	return false;
}

/* Each block is of some version, from what was there when the write began. */
static bool blocks_fit(const struct judge *j, const struct seen *s, uint64_t serial, unsigned from)
{
	for (size_t at = 0; at < s->at.size; at += MAP_BLOCK) {
		size_t len = s->at.size - at < MAP_BLOCK ? s->at.size - at : MAP_BLOCK;
		bool fits = false;

		for (unsigned i = from; i <= j->c->begun && !fits; i++) {
			const struct reference_node *n =
			    reference_by_serial(&j->c->history[i], serial);

			fits = n && n->content->len >= at + len &&
			       !memcmp(n->content->p + at, s->content + at, len);
		}
		if (!fits)
			return false;
	}
	return true;
}

static bool content_fits(const struct judge *j, const struct seen *s,
			 const struct reference_node *at_k)
{
	const struct reference_node *n;
	unsigned from = at_k->heir, last = j->c->acked > j->k ? j->c->acked : j->k;

	if (at_k->heir)
		from--; /* what it had when the rename began */
	/* What step k itself, when it was in flight, would have made durable does not count. */
	for (unsigned i = 0; i <= last; i++) {
		n = reference_by_serial(&j->c->history[i], at_k->serial);
		if (n && i <= j->c->acked && n->synced > from)
			from = n->synced;
	}
	if (j->c->live)
		from = j->c->acked;
	for (unsigned i = from; i <= j->c->begun; i++) {
		n = reference_by_serial(&j->c->history[i], at_k->serial);
		if (n && n->content->len == s->at.size &&
		    !memcmp(n->content->p ? n->content->p : (uint8_t *)"", s->content, s->at.size))
			return true;
	}
	n = reference_by_serial(&j->c->history[j->c->begun], at_k->serial);
	if (n && n->torn && blocks_fit(j, s, at_k->serial, from))
		return true;
	return drive_wrong(j->d, "%llu has %llu bytes that it never had from state %u to %u",
			   (unsigned long long)s->at.id, (unsigned long long)s->at.size, from,
			   j->c->begun);
}

static bool node_fits(const struct judge *j, const struct seen *s, const struct reference_node *n)
{
	char target[16];

	if ((s->at.mode & S_IFMT) != n->type || (n->id && s->at.id != n->id))
		return drive_wrong(j->d, "state %u: %llu stands where %llu should", j->k,
				   (unsigned long long)s->at.id, (unsigned long long)n->id);
	if (s->at.nlink != n->nlink || s->at.rdev != n->rdev)
		return drive_wrong(j->d, "state %u: %llu has %u links, not %u", j->k,
				   (unsigned long long)s->at.id, s->at.nlink, n->nlink);
	snprintf(target, sizeof(target), "%u", n->target);
	if (n->type == S_IFLNK)
		return strcmp(target, s->target)
			   ? drive_wrong(j->d, "symlink to %s, not %s", s->target, target)
			   : true;
	if (!attrs_fit(j, s, n->serial))
		return drive_wrong(j->d, "state %u: attributes of %llu", j->k,
				   (unsigned long long)s->at.id);
	return n->type == S_IFREG ? content_fits(j, s, n) : true;
}

static bool tree_fits(const struct judge *j, unsigned at, unsigned node)
{
	const struct reference *r = &j->c->history[j->k];
	const struct seen *s = &j->w->n[at];

	if (!node_fits(j, s, &r->n[node]))
		return false;
	for (unsigned c = 0; r->n[node].type == S_IFDIR && c < OPS_LETTERS; c++) {
		if (!s->child[c] != !r->n[node].child[c])
			return drive_wrong(j->d, "state %u: '%c' in %llu is %s", j->k, 'a' + c,
					   (unsigned long long)s->at.id,
					   s->child[c] ? "too much" : "missing");
		if (s->child[c] && !tree_fits(j, s->child[c], r->n[node].child[c]))
			return false;
	}
	return true;
}

bool view_fits(struct driver *d, const struct view *w, const struct claim *c)
{
	unsigned from = c->live ? c->acked : c->history[c->acked].names_from;
	char all[4 * WHY_MAX] = "";

	for (unsigned k = c->begun + 1; k-- > from;) {
		const struct judge j = {.d = d, .w = w, .c = c, .k = k};

		if (tree_fits(&j, 1, REFERENCE_ROOT)) {
			d->why[0] = '\0';
			return true;
		}
		if (strlen(all) < 2 * WHY_MAX)
			sprintf(all + strlen(all), "%.*s; ", WHY_MAX, d->why);
	}
	return drive_wrong(d, "acknowledged %u, begun %u, durable from %u: %.300s", c->acked,
			   c->begun, from, all);
}

bool view_is(struct driver *d, const struct view *w, const struct reference *r)
{
	/* A history of one state, in which all is synced. */
	struct reference now;
	const struct claim c = {.history = &now};

	reference_copy(&now, r);
	now.names_from = 0;
	for (unsigned i = 1; i < REFERENCE_NODES; i++)
		now.n[i].heir = now.n[i].synced = 0;
	bool fits = view_fits(d, w, &c);
	reference_drop(&now);
	return fits;
}

bool view_file_fits(struct driver *d, unsigned node)
{
	const struct reference_node *n = &d->ref.n[node];
	struct seen s = {0};
	int r = volume_getattr(d->fx->v, n->id, &s.at);

	if (r)
		return drive_wrong(d, "attributes of %llu: %d", (unsigned long long)n->id, r);
	if (n->type != S_IFREG)
		return true;
	bool fits = read_content(d, &s);
	if (fits && (s.at.size != n->content->len || s.at.nlink != n->nlink))
		fits = drive_wrong(d, "%llu has %llu bytes, not %zu", (unsigned long long)n->id,
				   (unsigned long long)s.at.size, n->content->len);
	if (fits && s.at.size && memcmp(s.content, n->content->p, s.at.size))
		fits = drive_wrong(d, "%llu has other content", (unsigned long long)n->id);
	free(s.content);
	return fits;
}
