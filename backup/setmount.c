/* The tree of mounted sets: its top, opening sets, attributes. See setmount.h. */
#include "backup/setmount_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/secret.h"

/* --- sets --- */

void setmount_top_name(const struct set_manifest *m, char out[SETMOUNT_TOP_LEN])
{
	char when[20] = "";
	time_t t = m->time;
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H-%M-%S", &tm);
	snprintf(out, SETMOUNT_TOP_LEN, "%s_%s", when, m->id);
}

static const struct set_catalog *sets(const struct setmount *m)
{
	return m->cfg.catalog;
}

int setmount_failed(struct setmount *m, const struct setmount_at *at, int err)
{
	char order[KEYRING_ORDER_REF_MAX + 1] = "", object[SET_ID_MAX + 40];

	if (err >= 0 || err == -ENOMEM)
		return err;
	if (err == -EKEYREVOKED && !keyring_gone(m->cfg.kr, KEYRING_BACKUP, at->id, order))
		keyring_gone(m->cfg.kr, KEYRING_LIVE, at->id, order);
	snprintf(object, sizeof(object), "set %s, id %llu", sets(m)->sets[at->set].id, (unsigned long long)at->id);
	m->cfg.trouble(m->cfg.arg, object, err, order);
	return -EIO;
}

static struct setmount_view *least_used(struct setmount *m)
{
	struct setmount_view *v = &m->views[0];

	for (size_t i = 1; i < SETMOUNT_VIEWS; i++)
		if (m->views[i].used < v->used)
			v = &m->views[i];
	return v;
}

static int open_set(struct setmount *m, size_t set, struct setview **ret)
{
	const struct set_manifest *manifest = &sets(m)->sets[set];
	struct diag d = {0};

	for (size_t i = 0; i < SETMOUNT_VIEWS; i++) {
		if (!m->views[i].sv || m->views[i].set != set)
			continue;
		m->views[i].used = ++m->n_uses;
		*ret = m->views[i].sv;
		return 0;
	}
	struct setmount_view *v = least_used(m);
	setview_close(v->sv);
	*v = (struct setmount_view){0};
	int err = manifest->next_id >> NODE_BITS
		      ? diag_fail(&d, DIAG_SET_DAMAGED, -EOVERFLOW, "set %s: ids beyond 2^%d", manifest->id, NODE_BITS)
		      : setview_open(m->cfg.repo, m->cfg.kr, sets(m), set, &v->sv, &d);
	if (err) {
		m->cfg.trouble(m->cfg.arg, d.object, err, "");
		return err == -ENOMEM ? err : -EIO;
	}
	v->set = set;
	v->used = ++m->n_uses;
	*ret = v->sv;
	return 0;
}

int setmount_find(struct setmount *m, uint64_t node, struct setmount_at *ret)
{
	struct setmount_at at = {.node = node, .id = node & (((uint64_t)1 << NODE_BITS) - 1)};

	/* What these keys open may be destroyed by now. */
	if (keyring_superseded(m->cfg.kr))
		return -EIO;
	if (node >> NODE_BITS == 0 || node >> NODE_BITS > sets(m)->n_sets)
		return -ENOENT;
	at.set = (size_t)(node >> NODE_BITS) - 1;
	int err = open_set(m, at.set, &at.sv);
	if (err == 0)
		*ret = at;
	return err;
}

/* --- records and attributes --- */

static void forget_node(struct setmount *m)
{
	if (m->node_body.len)
		secret_wipe(m->node_body.buf, m->node_body.len);
	bytes_w_reset(&m->node_body);
	m->node = 0;
}

int setmount_read_node(struct setmount *m, const struct setmount_at *at, const struct set_node **ret)
{
	if (m->node != at->node) {
		forget_node(m);
		int err = setview_read_node(at->sv, at->id, &m->node_body, &m->node_read);
		if (err)
			return setmount_failed(m, at, err);
		m->node = at->node;
	}
	*ret = &m->node_read;
	return 0;
}

void setmount_attr(const struct setmount_at *at, const struct set_node *n, struct volume_attr *ret)
{
	*ret = n->attr;
	ret->id = at->node;
	ret->blocks = n->in_blocks ? n->n_mapped * (MAP_BLOCK / 512) : (n->inline_len + 511) / 512;
}

static int set_attr(struct setmount *m, uint64_t node, struct volume_attr *ret)
{
	const struct set_node *n;
	struct setmount_at at;
	int err = setmount_find(m, node, &at);

	if (err == 0)
		err = setmount_read_node(m, &at, &n);
	if (err == 0)
		setmount_attr(&at, n, ret);
	return err;
}

/* A set's own folder has the attributes of the volume's root then. They are kept: a listing asks for all of them. */
static int top_attr(struct setmount *m, size_t set, struct volume_attr *ret)
{
	struct volume_attr *a = &m->tops[set];
	int err = keyring_superseded(m->cfg.kr) ? -EIO : 0;

	if (err == 0 && a->id == 0)
		err = set_attr(m, setmount_node(set, VOLUME_ROOT_ID), a);
	if (err == 0)
		*ret = *a;
	return err;
}

static struct volume_attr latest_attr(const struct setmount *m)
{
	char target[SETMOUNT_TOP_LEN];
	struct volume_attr a = m->root;

	setmount_top_name(&sets(m)->sets[sets(m)->n_sets - 1], target);
	a.id = NODE_LATEST;
	a.mode = S_IFLNK | 0777;
	a.nlink = 1;
	a.size = strlen(target);
	return a;
}

static int op_getattr(void *tree, uint64_t node, struct volume_attr *ret)
{
	struct setmount *m = tree;

	if (node == READONLY_TREE_ROOT)
		*ret = m->root;
	else if (node == NODE_LATEST)
		*ret = latest_attr(m);
	else
		return set_attr(m, node, ret);
	return 0;
}

/* --- names --- */

static int top_lookup(struct setmount *m, const char *name, struct volume_attr *ret)
{
	char top[SETMOUNT_TOP_LEN];

	if (!strcmp(name, "latest")) {
		*ret = latest_attr(m);
		return 0;
	}
	for (size_t i = 0; i < sets(m)->n_sets; i++) {
		setmount_top_name(&sets(m)->sets[i], top);
		if (!strcmp(name, top))
			return top_attr(m, i, ret);
	}
	return -ENOENT;
}

static int op_lookup(void *tree, uint64_t dir, const char *name, struct volume_attr *ret)
{
	struct setmount *m = tree;
	struct setmount_at at;
	uint64_t id;

	if (dir == READONLY_TREE_ROOT)
		return top_lookup(m, name, ret);
	int err = setmount_find(m, dir, &at);
	if (err == 0)
		err = setmount_lookup(m, &at, name, &id);
	return err ? err : set_attr(m, setmount_node(at.set, id), ret);
}

/* Without attributes: nobody who only lists the sets has them all opened. */
static int top_readdir(struct setmount *m, uint64_t cookie, readonly_tree_entry_fn fn, void *arg)
{
	char top[SETMOUNT_TOP_LEN];

	for (size_t i = (size_t)cookie; i < sets(m)->n_sets; i++) {
		setmount_top_name(&sets(m)->sets[i], top);
		if (fn(arg, top, setmount_node(i, VOLUME_ROOT_ID), S_IFDIR, i + 1, NULL))
			return 0;
	}
	if (cookie <= sets(m)->n_sets)
		fn(arg, "latest", NODE_LATEST, S_IFLNK, sets(m)->n_sets + 1, NULL);
	return 0;
}

static int op_readdir(void *tree, uint64_t dir, uint64_t cookie, bool plus, readonly_tree_entry_fn fn, void *arg)
{
	struct setmount *m = tree;
	struct setmount_at at;

	if (dir == READONLY_TREE_ROOT)
		return top_readdir(m, cookie, fn, arg);
	int err = setmount_find(m, dir, &at);
	return err ? err : setmount_readdir(m, &at, cookie, plus, fn, arg);
}

static int op_readlink(void *tree, uint64_t node, struct bytes_w *out)
{
	char top[SETMOUNT_TOP_LEN];
	struct setmount *m = tree;
	const struct set_node *n;
	struct setmount_at at;

	if (node == NODE_LATEST) {
		setmount_top_name(&sets(m)->sets[sets(m)->n_sets - 1], top);
		bytes_w_raw(out, top, strlen(top));
		return 0;
	}
	int err = setmount_find(m, node, &at);
	if (err == 0)
		err = setmount_read_node(m, &at, &n);
	if (err)
		return err;
	if (!S_ISLNK(n->attr.mode))
		return -EINVAL;
	bytes_w_raw(out, n->inline_data, n->inline_len);
	return 0;
}

/* --- extended attributes --- */

static int xattrs(struct setmount *m, uint64_t node, const char *wanted, struct bytes_w *out)
{
	const struct set_node *n;
	struct setmount_at at;
	const uint8_t *val;
	const char *name;
	size_t pos = 0, len;

	if (node == READONLY_TREE_ROOT || node == NODE_LATEST)
		return wanted ? -ENODATA : 0;
	int err = setmount_find(m, node, &at);
	if (err == 0)
		err = setmount_read_node(m, &at, &n);
	while (err == 0 && volume_xattrs_next(n->xattrs, n->xattrs_len, &pos, &name, &val, &len)) {
		if (!wanted) {
			bytes_w_raw(out, name, strlen(name) + 1);
		} else if (!strcmp(name, wanted)) {
			bytes_w_raw(out, val, len);
			return 0;
		}
	}
	return err ? err : wanted ? -ENODATA : 0;
}

static int op_getxattr(void *tree, uint64_t node, const char *name, struct bytes_w *out)
{
	return xattrs(tree, node, name, out);
}

static int op_listxattr(void *tree, uint64_t node, struct bytes_w *out)
{
	return xattrs(tree, node, NULL, out);
}

/* --- content --- */

static int op_open(void *tree, uint64_t node)
{
	struct setmount_at at;
	int err = setmount_find(tree, node, &at);

	return err ? err : setmount_open(tree, &at);
}

static ssize_t op_read(void *tree, uint64_t node, void *buf, size_t len, uint64_t off)
{
	struct setmount_at at;
	int err = setmount_find(tree, node, &at);

	return err ? err : setmount_read(tree, &at, buf, len, off);
}

static int op_seek(void *tree, uint64_t node, uint64_t off, int whence, uint64_t *ret)
{
	struct setmount_at at;
	int err = setmount_find(tree, node, &at);

	return err ? err : setmount_seek(tree, &at, off, whence, ret);
}

const struct readonly_tree_ops setmount_ops = {
	.lookup = op_lookup,
	.getattr = op_getattr,
	.readdir = op_readdir,
	.readlink = op_readlink,
	.open = op_open,
	.read = op_read,
	.seek = op_seek,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
};

/* --- life --- */

int setmount_new(const struct setmount_config *cfg, struct setmount **ret, struct diag *d)
{
	const size_t n = cfg->catalog->n_sets;
	const int64_t time = n ? cfg->catalog->sets[n - 1].time : 0;

	if (n == 0)
		return diag_fail(d, DIAG_SET_MISSING, -ENOENT, "%s", repo_url(cfg->repo));
	if (n > SETMOUNT_SETS_MAX)
		return diag_fail_errno(d, -EOVERFLOW, "%s: %zu sets", repo_url(cfg->repo), n);
	struct setmount *m = calloc(1, sizeof(*m));
	if (m)
		m->tops = calloc(n, sizeof(*m->tops));
	if (!m || !m->tops) {
		setmount_free(m);
		return diag_fail_errno(d, -ENOMEM, "%s", repo_url(cfg->repo));
	}
	m->cfg = *cfg;
	m->root = (struct volume_attr){.id = READONLY_TREE_ROOT, .mode = S_IFDIR | 0555, .nlink = (uint32_t)n + 2,
				       .uid = geteuid(), .gid = getegid()};
	m->root.atime.tv_sec = m->root.mtime.tv_sec = m->root.ctime.tv_sec = m->root.btime.tv_sec = time;
	*ret = m;
	return 0;
}

void setmount_free(struct setmount *m)
{
	if (!m)
		return;
	forget_node(m);
	bytes_w_free(&m->node_body);
	setmount_names_free(m);
	setmount_file_free(m);
	for (size_t i = 0; i < SETMOUNT_VIEWS; i++)
		setview_close(m->views[i].sv);
	free(m->tops);
	free(m);
}
