/* Walking the tree of a set: children, paths, and what to say where something was destroyed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backup/setview_internal.h"
#include "core/cleanup.h"

/* --- names --- */

int view_names_open(struct setview *sv, uint64_t parent, uint64_t link, bool every, struct view_names *ret)
{
	const struct set_key from = {.id = parent, .class = SET_NAME, .sub = link},
			     to = {.id = every ? UINT64_MAX : parent, .class = SET_NAME, .sub = UINT64_MAX};

	*ret = (struct view_names){0};
	return set_cursor_open(sv->index, sv->n_chain, &from, &to, &ret->c);
}

void view_names_close(struct view_names *it)
{
	set_cursor_close(it->c);
	it->c = NULL;
}

/* A link's last entry counts: what follows with the same key takes its place. */
int view_names_next(struct view_names *it, struct view_entry *ret)
{
	struct view_entry ve;
	int more;

	while ((more = set_cursor_next(it->c, &ve.e, &ve.set)) > 0) {
		const struct view_entry before = it->held;
		bool was_held = it->is_held;

		if (ve.e.kind != SET_NAME && ve.e.kind != SET_GONE)
			continue;
		it->held = ve;
		it->is_held = true;
		if (!was_held || before.e.kind == SET_GONE ||
		    (before.e.id == ve.e.id && before.e.link == ve.e.link))
			continue;
		*ret = before;
		return 1;
	}
	if (more < 0)
		return more;
	bool last = it->is_held && it->held.e.kind == SET_NAME;
	it->is_held = false;
	*ret = it->held;
	return last;
}

static int tell_child(struct setview *sv, const struct view_entry *ve, struct bytes_w *body, setview_link_fn fn,
		      void *arg)
{
	char order[KEYRING_ORDER_REF_MAX + 1], name[VOLUME_NAME_MAX + 1];

	bytes_w_reset(body);
	int err = setview_read(sv, ve, body);
	if (err == 0 && set_name_decode(body->buf, body->len, name) != 0)
		err = -EBADMSG;
	if (err == 0)
		return fn(arg, ve->e.link, ve->e.child, ve->e.type_mode, name, NULL);
	if (err == -EBADMSG)
		return fn(arg, ve->e.link, ve->e.child, ve->e.type_mode, NULL, NULL);
	if (err != -EKEYREVOKED)
		return err;
	setview_order(sv, ve->e.child, ve->e.id, order);
	return fn(arg, ve->e.link, ve->e.child, ve->e.type_mode, NULL, order);
}

#define CHILDREN_BATCH 128

/* Names of dir from *io_link on, at most a batch; *io_link moves behind them. What could not be read counts
 * in *io_n_bad. */
static int take_batch(struct setview *sv, uint64_t dir, uint64_t *io_link, struct view_entry *v, size_t *ret_n,
		      uint64_t *io_n_bad)
{
	struct view_names it;
	int more = view_names_open(sv, dir, *io_link, false, &it);

	*ret_n = 0;
	if (more)
		return more;
	while (*ret_n < CHILDREN_BATCH && (more = view_names_next(&it, &v[*ret_n])) != 0) {
		*io_n_bad += more == -EBADMSG;
		if (more < 0 && more != -EBADMSG)
			break;
		*ret_n += more > 0;
	}
	view_names_close(&it);
	if (*ret_n)
		*io_link = v[*ret_n - 1].e.link + 1;
	return more < 0 ? more : 0;
}

/* No block of an index is in use while fn runs, however deep it goes. */
int setview_links(struct setview *sv, uint64_t dir, uint64_t link, setview_link_fn fn, void *arg)
{
	CLEANUP_FREE struct view_entry *v = calloc(CHILDREN_BATCH, sizeof(*v));
	struct bytes_w body = {0};
	uint64_t n_bad = 0;
	size_t n = 0;
	int err = v ? 0 : -ENOMEM;

	do {
		if (err == 0)
			err = take_batch(sv, dir, &link, v, &n, &n_bad);
		for (size_t i = 0; err == 0 && i < n; i++)
			err = tell_child(sv, &v[i], &body, fn, arg);
	} while (err == 0 && n == CHILDREN_BATCH && link);
	if (err == 0 && n_bad) /* names that nobody can count */
		err = fn(arg, 0, 0, 0, NULL, NULL);
	bytes_w_free(&body);
	return err;
}

struct without_links {
	setview_fn fn;
	void *arg;
};

static int drop_link(void *arg, uint64_t link, uint64_t child, uint32_t type_mode, const char *name,
		     const char *order)
{
	const struct without_links *w = arg;
	(void)link;

	return w->fn(w->arg, child, type_mode, name, order);
}

int setview_children(struct setview *sv, uint64_t dir, setview_fn fn, void *arg)
{
	struct without_links w = {fn, arg};

	return setview_links(sv, dir, 0, drop_link, &w);
}

/* --- a walk --- */

#define WALK_PATH_MAX (64u << 10)

struct walk {
	struct setview *sv;
	setview_met_fn fn;
	void *arg;
	uint64_t dir;
	struct bytes_w path; /* NUL-terminated within; len is without the NUL */
};

static int walk_folder(struct walk *w, uint64_t dir);

static int walk_child(void *arg, uint64_t child, uint32_t type_mode, const char *name,
		      const char *order)
{
	struct walk *w = arg;
	size_t before = w->path.len;
	struct setview_met m = {
	    .id = child, .parent = w->dir, .type_mode = type_mode, .order = order};

	if (name) {
		if (before + strlen(name) + 2 > WALK_PATH_MAX)
			return -ENAMETOOLONG;
		if (before)
			bytes_w_u8(&w->path, '/');
		bytes_w_raw(&w->path, name, strlen(name));
	}
	bytes_w_u8(&w->path, 0);
	if (w->path.err)
		return w->path.err;
	w->path.len--;
	m.path = (const char *)w->path.buf;
	m.name = name ? m.path + w->path.len - strlen(name) : NULL;
	int err = w->fn(w->arg, &m);
	if (err == 0 && name && S_ISDIR(type_mode))
		err = walk_folder(w, child);
	w->path.len = before;
	return err == SETVIEW_SKIP ? 0 : err;
}

static int walk_folder(struct walk *w, uint64_t dir)
{
	uint64_t above = w->dir;

	w->dir = dir;
	int err = setview_children(w->sv, dir, walk_child, w);
	w->dir = above;
	return err;
}

int setview_walk(struct setview *sv, uint64_t dir, const char *path, setview_met_fn fn, void *arg)
{
	struct walk w = {.sv = sv, .fn = fn, .arg = arg};

	bytes_w_raw(&w.path, path, strlen(path));
	int err = w.path.err ? w.path.err : walk_folder(&w, dir);
	bytes_w_free(&w.path);
	return err;
}

/* --- to a path --- */

struct step {
	const char *name;
	size_t len;
	uint64_t found;
	bool is_found;
	uint64_t n_destroyed, n_damaged;
	char order[KEYRING_ORDER_REF_MAX + 1];
};

static int on_child(void *arg, uint64_t child, uint32_t type_mode, const char *name,
		    const char *order)
{
	struct step *st = arg;
	(void)type_mode;

	if (!name && !order) {
		st->n_damaged++;
	} else if (!name) {
		st->n_destroyed++;
		snprintf(st->order, sizeof(st->order), "%s", order);
	} else if (strlen(name) == st->len && !memcmp(name, st->name, st->len)) {
		st->found = child;
		st->is_found = true;
	}
	return 0;
}

static int not_found(struct setview *sv, const char *path, const struct step *st, struct diag *d)
{
	if (st->n_damaged) /* it may be the very one */
		return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG,
				 "set %s, %llu name%s in the folder of %s", setview_id(sv),
				 (unsigned long long)st->n_damaged, st->n_damaged == 1 ? "" : "s",
				 path);
	if (st->n_destroyed == 0)
		return diag_fail(d, DIAG_NOT_FOUND, -ENOENT, "%s in set %s", path, setview_id(sv));
	/* Whether this very name was among them can no longer be known, by anybody. */
	return diag_fail(d, DIAG_DESTROYED, -EKEYREVOKED,
			 "%s: no such name in set %s; of its folder, %llu entr%s destroyed under "
			 "order %s and can no "
			 "longer be named",
			 path, setview_id(sv), (unsigned long long)st->n_destroyed,
			 st->n_destroyed == 1 ? "y was" : "ies were", st->order);
}

int setview_resolve(struct setview *sv, const char *path, uint64_t *ret_id, struct diag *d)
{
	uint64_t id = VOLUME_ROOT_ID;
	const char *p = path;

	for (;;) {
		while (*p == '/')
			p++;
		if (!*p)
			break;
		struct step st = {.name = p, .len = strcspn(p, "/")};
		if (st.len == 1 && *p == '.') {
			p++;
			continue;
		}
		int err = setview_children(sv, id, on_child, &st);
		if (err)
			return diag_fail_errno(d, err, "set %s, the folder of %s", setview_id(sv),
					       path);
		if (!st.is_found)
			return not_found(sv, path, &st, d);
		id = st.found;
		p += st.len;
	}
	*ret_id = id;
	return 0;
}
