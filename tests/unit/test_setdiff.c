/*
 * Comparing and searching sets: what two sets differ in is what the volume differed in between
 * them, however the sets were taken; and what was destroyed is told without names.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/setdiff.h"
#include "backup/setfind.h"
#include "tests/unit/backup_tree.h"

/* ---- a model: the paths of the live volume, as of now ---- */

struct model_entry {
	char path[1024];
	uint64_t id, parent;
	struct volume_attr a;
	uint8_t content[KDF_HASH_LEN], xattrs[KDF_HASH_LEN];
};
struct model {
	struct model_entry *v;
	size_t n;
};

static void model_content(struct volume *v, const struct volume_attr *a, uint8_t ret[KDF_HASH_LEN])
{
	CLEANUP_BYTES struct bytes_w w = {0};

	if (S_ISREG(a->mode) && a->size) {
		ssize_t n = volume_read(v, a->id, bytes_w_room(&w, a->size), a->size, 0);
		assert_int_equal(n, a->size);
	} else if (S_ISLNK(a->mode)) {
		assert_int_equal(volume_readlink(v, a->id, &w), 0);
	}
	kdf_hash(ret, w.len ? w.buf : (const uint8_t *)"", w.len);
}

static void model_xattrs(struct volume *v, uint64_t id, uint8_t ret[KDF_HASH_LEN])
{
	CLEANUP_BYTES struct bytes_w list = {0}, all = {0};
	const char *names[64];

	assert_int_equal(volume_listxattr(v, id, &list), 0);
	size_t n = tree_names((char *)list.buf, list.len, names);
	for (size_t i = 0; i < n; i++) {
		CLEANUP_BYTES struct bytes_w val = {0};
		assert_int_equal(volume_getxattr(v, id, names[i], &val), 0);
		bytes_w_blob(&all, names[i], strlen(names[i]));
		bytes_w_blob(&all, val.len ? val.buf : (const uint8_t *)"", val.len);
	}
	kdf_hash(ret, all.len ? all.buf : (const uint8_t *)"", all.len);
}

static void model_folder(struct model *m, struct volume *v, uint64_t dir, const char *path)
{
	struct tree_children *cs = calloc(1, sizeof(*cs));

	assert_int_equal(volume_readdir(v, dir, 0, false, tree_dirent, cs), 0);
	for (size_t i = 0; i < cs->n; i++) {
		m->v = realloc(m->v, (m->n + 1) * sizeof(*m->v));
		assert_non_null(m->v);
		struct model_entry *e = &m->v[m->n++];
		*e = (struct model_entry){.id = cs->c[i].id, .parent = dir};
		snprintf(e->path, sizeof(e->path), "%.700s%s%s", path, *path ? "/" : "", cs->c[i].name);
		assert_int_equal(volume_peek(v, e->id, &e->a), 0);
		model_content(v, &e->a, e->content);
		model_xattrs(v, e->id, e->xattrs);
		if (S_ISDIR(e->a.mode)) {
			char sub[1024];
			strcpy(sub, e->path);
			model_folder(m, v, cs->c[i].id, sub);
		}
	}
	free(cs);
}

static int model_order(const void *a, const void *b)
{
	return strcmp(((const struct model_entry *)a)->path, ((const struct model_entry *)b)->path);
}

static struct model model_of(struct volume *v)
{
	struct model m = {0};

	model_folder(&m, v, VOLUME_ROOT_ID, "");
	if (m.n)
		qsort(m.v, m.n, sizeof(*m.v), model_order);
	return m;
}

static const struct model_entry *model_find(const struct model *m, const char *path)
{
	struct model_entry *key = calloc(1, sizeof(*key));

	strcpy(key->path, path);
	const struct model_entry *e =
	    m->n ? bsearch(key, m->v, m->n, sizeof(*m->v), model_order) : NULL;
	free(key);
	return e;
}

static bool model_content_differs(const struct model_entry *p, const struct model_entry *q)
{
	if ((p->a.mode & S_IFMT) != (q->a.mode & S_IFMT))
		return true;
	return (S_ISREG(p->a.mode) && p->a.size != q->a.size) || p->a.rdev != q->a.rdev ||
	       memcmp(p->content, q->content, KDF_HASH_LEN) != 0;
}

static bool model_attributes_differ(const struct model_entry *p, const struct model_entry *q)
{
	if (p->a.mode != q->a.mode || p->a.uid != q->a.uid || p->a.gid != q->a.gid ||
	    memcmp(p->xattrs, q->xattrs, KDF_HASH_LEN) != 0)
		return true;
	return !S_ISDIR(q->a.mode) && !model_content_differs(p, q) &&
	       (p->a.mtime.tv_sec != q->a.mtime.tv_sec || p->a.mtime.tv_nsec != q->a.mtime.tv_nsec);
}

/* ---- checking a comparison against two models ---- */

struct check {
	const struct model *a, *b;
	uint64_t n_same_path;		/* told as changed, and in both models by that path */
	bool *told_a, *told_b;		/* removed or renamed from; added, renamed to */
	char last[1024];
};

static void check_pair(const struct setdiff_entry *e, const struct model_entry *p,
		       const struct model_entry *q)
{
	assert_int_equal(e->content, model_content_differs(p, q));
	assert_int_equal(e->attributes, model_attributes_differ(p, q));
}

static int on_entry(void *arg, const struct setdiff_entry *e)
{
	struct check *c = arg;
	const struct model_entry *p = model_find(c->a, e->from ? e->from : e->path);
	const struct model_entry *q = model_find(c->b, e->path);

	assert_true(strcmp(c->last, e->path) < 0);
	snprintf(c->last, sizeof(c->last), "%s", e->path);
	switch (e->what) {
	case SETDIFF_ADDED:
		assert_true(q && !p);
		c->told_b[q - c->b->v] = true;
		break;
	case SETDIFF_REMOVED:
		assert_true(p && !q);
		c->told_a[p - c->a->v] = true;
		break;
	case SETDIFF_RENAMED:
		assert_true(p && q && p->id == q->id);
		assert_null(model_find(c->a, e->path));
		assert_null(model_find(c->b, e->from));
		c->told_a[p - c->a->v] = c->told_b[q - c->b->v] = true;
		check_pair(e, p, q);
		break;
	case SETDIFF_CHANGED:
		assert_non_null(q);
		c->told_b[q - c->b->v] = true;
		assert_true(e->content || e->attributes);
		if (p) {
			c->n_same_path++;
			check_pair(e, p, q);
		}
		break;
	}
	return 0;
}

/* Whether an entry with a new path has, or may have, moved along with its folder. */
static bool moved_along(const struct model *other, const struct model_entry *e)
{
	const char *slash = strrchr(e->path, '/'), *name = slash ? slash + 1 : e->path;

	for (size_t i = 0; i < other->n; i++) {
		const char *s = strrchr(other->v[i].path, '/');

		if (other->v[i].id == e->id && other->v[i].parent == e->parent &&
		    strcmp(s ? s + 1 : other->v[i].path, name) == 0)
			return true;
	}
	return false;
}

/* What was not told is the same in both. */
static void check_untold(const struct check *c)
{
	for (size_t i = 0; i < c->b->n; i++) {
		const struct model_entry *q = &c->b->v[i], *p = model_find(c->a, q->path);

		if (c->told_b[i])
			continue;
		assert_true(p || moved_along(c->a, q));
		if (p) {
			assert_false(model_content_differs(p, q));
			assert_false(model_attributes_differ(p, q));
		}
	}
	for (size_t i = 0; i < c->a->n; i++)
		assert_true(c->told_a[i] || model_find(c->b, c->a->v[i].path) ||
			    moved_along(c->b, &c->a->v[i]));
}

static struct setview *view(struct backup_fixture *b, const struct set_catalog *c, size_t set)
{
	struct setview *sv = NULL;

	assert_int_equal(setview_open(b->repo, keys(b), c, set, &sv, &b->d), 0);
	return sv;
}

static struct setdiff_result compare(struct backup_fixture *b, const struct set_catalog *cat, size_t i,
				     size_t k, setdiff_fn fn, void *arg)
{
	struct setview *p = view(b, cat, i), *q = view(b, cat, k);
	struct setdiff_result res;

	assert_int_equal(setdiff_run(p, q, fn, arg, &res, &b->d), 0);
	setview_close(p);
	setview_close(q);
	return res;
}

static void check_sets(struct backup_fixture *b, const struct set_catalog *cat, const struct model *m,
		       size_t i, size_t k)
{
	struct check c = {.a = &m[i],
			  .b = &m[k],
			  .told_a = calloc(m[i].n + 1, sizeof(bool)),
			  .told_b = calloc(m[k].n + 1, sizeof(bool))};
	struct setdiff_result res = compare(b, cat, i, k, on_entry, &c);

	assert_int_equal(res.n_damaged[0] + res.n_damaged[1], 0);
	assert_int_equal(res.n_destroyed[0] + res.n_destroyed[1], 0);
	check_untold(&c);
	free(c.told_a);
	free(c.told_b);
}

/* ---- tests ---- */

/* Whatever happened between two sets, full or incremental, in either direction: each path that came,
 * went, changed or moved is told as that, and nothing else is. */
static void test_random_lives(void **state)
{
	enum { SETS = 5 };
	struct backup_fixture *b = *state;
	struct model m[SETS];
	struct set_catalog cat;
	struct life l = life_begin(b->fx->v, 20261128);

	for (size_t i = 0; i < SETS; i++) {
		live_on(&l, i ? 60 : 200);
		back_up_only(b, i == 3);
		m[i] = model_of(b->fx->v);
	}
	load(b, &cat);
	assert_int_equal(cat.n_sets, SETS);
	for (size_t i = 0; i < SETS; i++)
		for (size_t k = 0; k < SETS; k++)
			check_sets(b, &cat, m, i, k);
	set_catalog_free(&cat);
	for (size_t i = 0; i < SETS; i++)
		free(m[i].v);
}

static int count(void *arg, const struct setdiff_entry *e)
{
	(void)e;
	++*(unsigned *)arg;
	return 0;
}

/* A folder that is renamed is one line; what lies in it is told only if it changed. */
static void test_renamed_folder(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	struct set_catalog cat;
	unsigned n = 0;
	uint64_t d = make(v, VOLUME_ROOT_ID, "d", S_IFDIR | 0755);
	uint64_t f = make_noise(v, d, "f", 1, 5000);

	make_noise(v, d, "g", 2, 5000);
	back_up_only(b, true);
	assert_int_equal(volume_rename(v, VOLUME_ROOT_ID, "d", VOLUME_ROOT_ID, "e", 0), 0);
	write_at(v, f, "x", 1, 100);
	back_up_only(b, false);
	load(b, &cat);
	struct setdiff_result res = compare(b, &cat, 0, 1, count, &n);
	assert_int_equal(res.n[SETDIFF_RENAMED], 1);
	assert_int_equal(res.n[SETDIFF_CHANGED], 1);
	assert_int_equal(n, 2);
	set_catalog_free(&cat);
}

/* A damaged record is counted and named, and the rest is compared; it is never a difference. */
static void test_damage(void **state)
{
	struct backup_fixture *b = *state;
	struct set_catalog cat;
	char path[PATH_MAX];
	uint8_t *raw;
	unsigned n = 0;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 1, 100000);
	back_up_only(b, true);
	back_up_only(b, true);
	load(b, &cat);
	object_path(b, cat.sets[1].id, "pack-00000", path);
	size_t len = read_raw(path, &raw);
	free(raw);
	for (size_t off = 10; off < len; off += 40)
		flip_raw(path, off, 1);
	struct setdiff_result res = compare(b, &cat, 0, 1, count, &n);
	assert_int_equal(res.n_damaged[0], 0);
	assert_true(res.n_damaged[1] > 0);
	assert_non_null(strstr(res.first_damaged, cat.sets[1].id));
	assert_int_equal(res.n[SETDIFF_CHANGED], 0);
	set_catalog_free(&cat);
}

struct found {
	unsigned n_hits, n_sets;
	uint64_t n_destroyed, n_damaged, size;
	char paths[1024], order[KEYRING_ORDER_REF_MAX + 1];
};

static int on_hit(void *arg, const struct setfind_hit *h)
{
	struct found *f = arg;

	f->n_hits++;
	f->size = h->size;
	strncat(f->paths, h->path, sizeof(f->paths) - strlen(f->paths) - 2);
	strcat(f->paths, " ");
	return 0;
}

static int on_set(void *arg, const struct setfind_set *s)
{
	struct found *f = arg;

	f->n_sets++;
	f->n_destroyed += s->n_destroyed;
	f->n_damaged += s->n_damaged;
	if (s->n_destroyed)
		strcpy(f->order, s->order);
	return 0;
}

static struct found search(struct backup_fixture *b, const char *pattern)
{
	struct set_catalog cat;
	struct found f = {0};

	load(b, &cat);
	const struct setfind_request in = {.repo = b->repo, .kr = keys(b), .catalog = &cat,
					   .pattern = pattern, .hit = on_hit, .set = on_set, .arg = &f};
	assert_int_equal(setfind_run(&in, &b->d), 0);
	set_catalog_free(&cat);
	return f;
}

/* A pattern with a slash means whole paths, without one every name; each set is looked at. */
static void test_find_patterns(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	struct diag d = {0};
	const struct set_catalog none = {0};
	uint64_t dir = make(v, VOLUME_ROOT_ID, "d", S_IFDIR | 0755);
	uint64_t sub = make(v, dir, "sub", S_IFDIR | 0755);

	make_noise(v, sub, "x", 1, 10);
	back_up_only(b, true);
	make_noise(v, VOLUME_ROOT_ID, "x", 1, 20);
	back_up_only(b, false);
	struct found f = search(b, "x");
	assert_int_equal(f.n_hits, 3);
	assert_int_equal(f.n_sets, 2);
	f = search(b, "/x");
	assert_string_equal(f.paths, "x ");
	assert_int_equal(f.size, 20);
	f = search(b, "d/*/x");
	assert_string_equal(f.paths, "d/sub/x d/sub/x ");
	assert_int_equal(search(b, "d/*x").n_hits, 0);
	assert_int_equal(search(b, "d//./sub/").n_hits, 2);
	const struct setfind_request empty = {.catalog = &none, .pattern = "/"};
	assert_int_equal(setfind_run(&empty, &d), -EINVAL);
}

/* What was destroyed is counted where it lay, with its order, and neither found nor compared by
 * name. */
static void test_destroyed(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	struct set_catalog cat;
	unsigned n = 0;
	uint64_t dir = make(v, VOLUME_ROOT_ID, "d", S_IFDIR | 0755);
	uint64_t secret = make_noise(v, dir, "secret", 1, 10);

	make_noise(v, dir, "other", 2, 10);
	back_up_only(b, true);
	back_up_only(b, false);
	puncture(b, KEYRING_BOTH, secret, "D-20261128-0001");
	struct found f = search(b, "d/secret");
	assert_int_equal(f.n_hits, 0);
	assert_int_equal(f.n_destroyed, 2);
	assert_string_equal(f.order, "D-20261128-0001");
	assert_int_equal(search(b, "/secret").n_destroyed, 0);
	assert_int_equal(search(b, "other").n_hits, 2);
	load(b, &cat);
	struct setdiff_result res = compare(b, &cat, 0, 1, count, &n);
	assert_int_equal(n, 0);
	assert_int_equal(res.n_destroyed[0], 1);
	assert_int_equal(res.n_destroyed[1], 1);
	assert_string_equal(res.order, "D-20261128-0001");
	set_catalog_free(&cat);
}

/* A set whose parent is gone is told as damage, and the others are searched. */
static void test_find_past_broken_chain(void **state)
{
	struct backup_fixture *b = *state;
	struct set_catalog cat;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "x", 1, 10);
	back_up_only(b, true);
	back_up_only(b, false);
	back_up_only(b, true);
	load(b, &cat);
	assert_int_equal(set_remove(b->repo, cat.sets[0].id), 0);
	set_catalog_free(&cat);
	struct found f = search(b, "x");
	assert_int_equal(f.n_sets, 2);
	assert_int_equal(f.n_hits, 1);
	assert_int_equal(f.n_damaged, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(test_random_lives),  WITH_REPOSITORY(test_renamed_folder), WITH_REPOSITORY(test_damage),
	    WITH_REPOSITORY(test_find_patterns), WITH_REPOSITORY(test_destroyed),      WITH_REPOSITORY(test_find_past_broken_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
