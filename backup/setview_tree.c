/* Walking the tree of a set: children, paths, and what to say where something was destroyed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backup/setview_internal.h"

int setview_children(struct setview *sv, uint64_t dir, setview_fn fn, void *arg)
{
	size_t first, n = setview_names_of(sv, dir, &first);
	struct bytes_w body = {0};
	char order[KEYRING_ORDER_REF_MAX + 1], name[VOLUME_NAME_MAX + 1];
	int err = 0;

	for (size_t i = first; err == 0 && i < first + n; i++) {
		const struct view_entry *ve = &sv->names.v[i];

		bytes_w_reset(&body);
		err = setview_read(sv, ve, &body);
		if (err == 0 && set_name_decode(body.buf, body.len, name) != 0)
			err = -EBADMSG;
		if (err == 0) {
			err = fn(arg, ve->e.child, ve->e.type_mode, name, NULL);
		} else if (err == -EKEYREVOKED) {
			setview_order(sv, ve->e.child, dir, order);
			err = fn(arg, ve->e.child, ve->e.type_mode, NULL, order);
		} else if (err == -EBADMSG) {
			err = fn(arg, ve->e.child, ve->e.type_mode, NULL, NULL);
		}
	}
	bytes_w_free(&body);
	return err;
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
