/*
 * A script of what programs do to a volume, and a model of what was acknowledged: for the crash and
 * fault tests of the whole engine.
 *
 * The model keeps, for each step, the namespace after it, and for each file every content that it
 * had. What a volume shows after a crash must be the namespace after some step between the last
 * that was made durable and the last that was begun; and for each file a content that it had, not
 * older than the one last synced, nor than the one it had when it was renamed over another.
 */
#ifndef COFFER_TESTS_FAULT_ENGINE_SCRIPT_H
#define COFFER_TESTS_FAULT_ENGINE_SCRIPT_H

#include <stdio.h>

#include "tests/unit/volume_fixture.h"

#define NAMES_MAX 12
#define FILES_MAX 48
#define VERSIONS_MAX 40

enum script_op {
	MAKE,
	FOLDER,
	WRITE, /* a bytes at b */
	CUT,   /* to a bytes */
	PUNCH, /* a bytes at b */
	XATTR,
	RENAME,
	EXCHANGE,
	LINK,
	UNLINK,
	RMDIR,
	FSYNC,
	SYNC,
	SNAP_OPEN,
	SNAP_CLOSE,
};

struct script_step {
	enum script_op op;
	const char *name, *to;
	size_t a;
	uint64_t b;
};

/* Inline files and files in blocks, both ways of saving, reuse of slots with and without a
 * snapshot, holes, sizes within a block, links, folders. */
static const struct script_step script[] = {
    {MAKE, .name = "a"},
    {WRITE, .name = "a", .a = 100},
    {FSYNC, .name = "a"},
    {WRITE, .name = "a", .a = 20000}, /* out of its inode */
    {MAKE, .name = "b"},
    {WRITE, .name = "b", .a = 300000},
    {FSYNC, .name = "b"},
    {WRITE, .name = "b", .a = 9000, .b = 4000},
    {FSYNC, .name = "a"},
    {WRITE, .name = "b", .a = 5000, .b = 100000},
    {FSYNC, .name = "b"},
    {MAKE, .name = "t"}, /* saved as careful programs do */
    {WRITE, .name = "t", .a = 50000},
    {FSYNC, .name = "t"},
    {RENAME, .name = "t", .to = "a"},
    {FSYNC, .name = "b"},
    {MAKE, .name = "t"}, /* and as others do */
    {WRITE, .name = "t", .a = 60000},
    {RENAME, .name = "t", .to = "b"},
    {FSYNC, .name = "a"},
    {CUT, .name = "a", .a = 10000},
    {FSYNC, .name = "a"},
    {CUT, .name = "a", .a = 40000},
    {WRITE, .name = "a", .a = 3000, .b = 30000},
    {FSYNC, .name = "a"},
    {FOLDER, .name = "d"},
    {MAKE, .name = "d/c"},
    {WRITE, .name = "d/c", .a = 1500},
    {.op = SYNC},
    {.op = SNAP_OPEN},
    {WRITE, .name = "a", .a = 50000},
    {FSYNC, .name = "a"},
    {WRITE, .name = "d/c", .a = 4096, .b = 1000},
    {UNLINK, .name = "b"},
    {.op = SYNC},
    {PUNCH, .name = "a", .a = 16384, .b = 8192},
    {FSYNC, .name = "a"},
    {WRITE, .name = "a", .a = 50000},
    {FSYNC, .name = "a"},
    {.op = SNAP_CLOSE},
    {WRITE, .name = "a", .a = 50000},
    {FSYNC, .name = "a"},
    {WRITE, .name = "a", .a = 50000},
    {FSYNC, .name = "a"},
    {WRITE, .name = "a", .a = 30000, .b = 10000},
    {XATTR, .name = "a"},
    {FSYNC, .name = "a"},
    {MAKE, .name = "e"},
    {WRITE, .name = "e", .a = 70000},
    {EXCHANGE, .name = "e", .to = "a"},
    {FSYNC, .name = "d/c"},
    {UNLINK, .name = "d/c"},
    {RMDIR, .name = "d"},
    {LINK, .name = "a", .to = "h"},
    {UNLINK, .name = "a"},
    {WRITE, .name = "h", .a = 8192, .b = 4096},
    {FSYNC, .name = "h"},
    {CUT, .name = "e", .a = 0},
    {.op = SYNC},
    {WRITE, .name = "h", .a = 200000},
    {MAKE, .name = "i"},
    {.op = SYNC},
    /* What follows is in the log alone: blocks, cuts, holes, inline content and out of it. */
    {WRITE, .name = "h", .a = 5000, .b = 3000},
    {FSYNC, .name = "h"},
    {WRITE, .name = "i", .a = 300},
    {FSYNC, .name = "i"},
    {CUT, .name = "h", .a = 6000},
    {WRITE, .name = "h", .a = 700, .b = 40000},
    {FSYNC, .name = "h"},
    {CUT, .name = "i", .a = 100},
    {FSYNC, .name = "i"},
    {PUNCH, .name = "h", .a = 4096, .b = 0},
    {FSYNC, .name = "h"},
    {WRITE, .name = "i", .a = 5000, .b = 50},
    {FSYNC, .name = "i"},
    {WRITE, .name = "h", .a = 9000, .b = 0},
    {FSYNC, .name = "h"},
    {RENAME, .name = "i", .to = "k"}, /* not what the log can say */
    {WRITE, .name = "k", .a = 700, .b = 4000},
    {FSYNC, .name = "k"},
    {WRITE, .name = "k", .a = 700, .b = 4500},
    {FSYNC, .name = "k"},
    {.op = SYNC},
};
#define SCRIPT_STEPS (sizeof(script) / sizeof(script[0]))

/* ---- the model ---- */

struct model_version {
	unsigned step;
	uint8_t *p;
	size_t len;
};
struct model_file {
	uint64_t id; /* 0: the step that makes it was not acknowledged */
	bool folder;
	unsigned n;
	struct model_version v[VERSIONS_MAX];
	unsigned heir_step, heir_version; /* renamed over another; heir_step 0: never */
	unsigned names_step; /* the last that changed a name of it, from 1 */
	bool torn; /* a write failed: the newest version or the one before, block by block */
};
struct model_names {
	unsigned n;
	struct {
		char path[8];
		unsigned file;
	} e[NAMES_MAX];
};
struct model {
	struct model_file f[FILES_MAX];
	unsigned n_files;
	struct model_names at[SCRIPT_STEPS + 1]; /* [i]: after i steps */
	/* What is durable once i steps were acknowledged. */
	unsigned names_from[SCRIPT_STEPS + 1];
	unsigned synced[SCRIPT_STEPS + 1][FILES_MAX];
	unsigned snap_step; /* that opened the snapshot; steps before it are in it */
	struct volume_snapshot snap;
	bool snap_known;
};

static inline struct model_names *model_now(struct model *m, unsigned step)
{
	return &m->at[step + 1];
}

static inline int names_find(const struct model_names *n, const char *path)
{
	for (unsigned i = 0; i < n->n; i++) {
		if (!strcmp(n->e[i].path, path))
			return (int)i;
	}
	return -1;
}

static inline void names_set(struct model_names *n, const char *path, unsigned file)
{
	int i = names_find(n, path);

	if (i < 0) {
		assert_true(n->n < NAMES_MAX);
		i = (int)n->n++;
		strcpy(n->e[i].path, path);
	}
	n->e[i].file = file;
}

/* The names of the file are other ones since step i. */
static inline void names_changed(struct model *m, unsigned file, unsigned i)
{
	m->f[file].names_step = i + 1;
}

static inline void names_remove(struct model_names *n, const char *path)
{
	int i = names_find(n, path);

	assert_true(i >= 0);
	n->e[i] = n->e[--n->n];
}

static inline struct model_file *names_file(struct model *m, unsigned step, const char *path)
{
	int i = names_find(model_now(m, step), path);

	assert_true(i >= 0);
	return &m->f[model_now(m, step)->e[i].file];
}

static inline uint8_t script_byte(unsigned step, size_t at)
{
	return (uint8_t)(step * 37 + at / 512 * 11 + at + 1);
}

/* A version of the file that begins as its last, of len bytes. */
static inline struct model_version *new_version(struct model_file *f, unsigned step, size_t len)
{
	struct model_version *v = &f->v[f->n];
	size_t old = f->n ? f->v[f->n - 1].len : 0;

	assert_true(f->n < VERSIONS_MAX);
	v->step = step;
	v->len = len;
	v->p = calloc(1, len + 1);
	assert_non_null(v->p);
	if (old)
		memcpy(v->p, f->v[f->n - 1].p, old < len ? old : len);
	f->n++;
	return v;
}

static inline void model_content(struct model *m, unsigned i)
{
	const struct script_step *s = &script[i];
	struct model_file *f = names_file(m, i, s->name);
	size_t old = f->v[f->n - 1].len;
	struct model_version *v;

	switch (s->op) {
	case WRITE:
		v = new_version(f, i, s->a + s->b > old ? s->a + s->b : old);
		for (size_t k = 0; k < s->a; k++)
			v->p[s->b + k] = script_byte(i, k);
		break;
	case CUT:
		new_version(f, i, s->a);
		break;
	default:
		v = new_version(f, i, old);
		memset(v->p + s->b, 0, s->a);
		break;
	}
}

static inline void model_rename(struct model *m, unsigned i)
{
	const struct script_step *s = &script[i];
	struct model_names *now = model_now(m, i);
	unsigned from = now->e[names_find(now, s->name)].file;
	int to = names_find(now, s->to);

	if (to >= 0) {
		m->f[from].heir_step = i + 1;
		m->f[from].heir_version = m->f[from].n - 1;
	}
	names_changed(m, from, i);
	if (s->op == EXCHANGE) {
		names_changed(m, now->e[to].file, i);
		names_set(now, s->name, now->e[to].file);
	} else {
		names_remove(now, s->name);
	}
	names_set(now, s->to, from);
}

static inline void model_durable(struct model *m, unsigned i)
{
	const struct script_step *s = &script[i];

	/* fsync brings the names that the file depends on; others may come along. */
	if (s->op == FSYNC) {
		unsigned names = names_file(m, i, s->name)->names_step;

		if (m->names_from[i + 1] < names)
			m->names_from[i + 1] = names;
	} else {
		m->names_from[i + 1] = i;
	}
	for (unsigned k = 0; k < m->n_files; k++) {
		if (s->op != FSYNC || &m->f[k] == names_file(m, i, s->name))
			m->synced[i + 1][k] = m->f[k].n ? m->f[k].n - 1 : 0;
	}
}

/* Step i as it should be; what it makes gets its id when it was acknowledged. */
static inline void model_step(struct model *m, unsigned i)
{
	const struct script_step *s = &script[i];
	struct model_names *now = model_now(m, i);

	*now = m->at[i];
	m->names_from[i + 1] = m->names_from[i];
	memcpy(m->synced[i + 1], m->synced[i], sizeof(m->synced[i]));
	switch (s->op) {
	case MAKE:
	case FOLDER:
		assert_true(m->n_files < FILES_MAX);
		names_set(now, s->name, m->n_files);
		m->f[m->n_files].folder = s->op == FOLDER;
		names_changed(m, m->n_files, i);
		if (s->op == MAKE)
			new_version(&m->f[m->n_files], i, 0);
		m->n_files++;
		break;
	case WRITE:
	case CUT:
	case PUNCH:
		model_content(m, i);
		break;
	case RENAME:
	case EXCHANGE:
		model_rename(m, i);
		break;
	case LINK:
		names_set(now, s->to, now->e[names_find(now, s->name)].file);
		names_changed(m, now->e[names_find(now, s->name)].file, i);
		break;
	case UNLINK:
	case RMDIR:
		names_changed(m, now->e[names_find(now, s->name)].file, i);
		names_remove(now, s->name);
		break;
	case FSYNC:
	case SYNC:
	case SNAP_OPEN:
		model_durable(m, i);
		if (s->op == SNAP_OPEN)
			m->snap_step = i + 1;
		break;
	case XATTR:
	case SNAP_CLOSE:
		break;
	}
}

static inline void model_free(struct model *m)
{
	for (unsigned k = 0; k < m->n_files; k++) {
		for (unsigned i = 0; i < m->f[k].n; i++)
			free(m->f[k].v[i].p);
	}
	free(m);
}

/* ---- the volume ---- */

static inline int lookup_path(struct volume *v, const char *path, uint64_t *ret_parent,
			      const char **ret_base, uint64_t *ret)
{
	const char *slash = strchr(path, '/');
	struct volume_attr at;
	int r = 0;

	*ret_parent = VOLUME_ROOT_ID;
	*ret_base = path;
	if (slash) {
		char dir[8] = "";

		memcpy(dir, path, (size_t)(slash - path));
		r = find(v, VOLUME_ROOT_ID, dir, &at);
		*ret_parent = at.id;
		*ret_base = slash + 1;
	}
	if (r == 0 && ret) {
		r = find(v, *ret_parent, *ret_base, &at);
		*ret = at.id;
	}
	return r;
}

static inline int step_content(struct volume *v, unsigned i, uint64_t id)
{
	const struct script_step *s = &script[i];
	struct volume_attr in = {.size = s->a}, out;

	if (s->op == CUT)
		return volume_setattr(v, id, VOLUME_SET_SIZE, &in, &out);
	if (s->op == PUNCH)
		return volume_fallocate(v, id, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, s->b,
					s->a);
	uint8_t *p = malloc(s->a);
	assert_non_null(p);
	for (size_t k = 0; k < s->a; k++)
		p[k] = script_byte(i, k);
	ssize_t n = volume_write(v, id, p, s->a, s->b, false);
	free(p);
	return n < 0 ? (int)n : 0;
}

static inline int step_names(struct volume *v, struct model *m, unsigned i)
{
	const struct script_step *s = &script[i];
	uint64_t parent, to_parent = 0, id = 0;
	const char *base, *to = NULL;
	struct volume_attr at;
	int r = lookup_path(v, s->name, &parent, &base, NULL);

	if (r == 0 && s->to)
		r = lookup_path(v, s->to, &to_parent, &to, NULL);
	if (r)
		return r;
	switch (s->op) {
	case MAKE:
	case FOLDER:
		r = try_make(v, parent, base, s->op == MAKE ? S_IFREG | 0644 : S_IFDIR | 0755, &id);
		if (r == 0)
			m->f[m->n_files - 1].id = id;
		return r;
	case RENAME:
		return volume_rename(v, parent, base, to_parent, to, 0);
	case EXCHANGE:
		return volume_rename(v, parent, base, to_parent, to, RENAME_EXCHANGE);
	case LINK:
		r = find(v, parent, base, &at);
		if (r == 0)
			r = volume_link(v, at.id, to_parent, to, &at);
		if (r == 0)
			volume_forget(v, at.id, 1);
		return r;
	case UNLINK:
		return volume_unlink(v, parent, base);
	default:
		return volume_rmdir(v, parent, base);
	}
}

/* Does step i, of which the model has been told. 0 or what the caller of it was told. */
static inline int script_do(struct volume *v, struct model *m, unsigned i)
{
	const struct script_step *s = &script[i];
	uint64_t parent, id = 0;
	const char *base;
	int r = 0;

	if (s->op <= XATTR && s->op >= WRITE)
		r = lookup_path(v, s->name, &parent, &base, &id);
	if (s->op == FSYNC)
		r = lookup_path(v, s->name, &parent, &base, &id);
	if (r)
		return r;
	switch (s->op) {
	case WRITE:
	case CUT:
	case PUNCH:
		return step_content(v, i, id);
	case XATTR:
		return volume_setxattr(v, id, "user.test", "value", 5, 0);
	case FSYNC:
		return volume_fsync(v, id);
	case SYNC:
		return volume_sync(v);
	case SNAP_OPEN:
		r = volume_snapshot_open(v, &m->snap);
		m->snap_known = r == 0;
		return r;
	case SNAP_CLOSE:
		return volume_snapshot_close(v, &m->snap);
	default:
		return step_names(v, m, i);
	}
}

/* ---- what a volume shows, against the model ---- */

struct shown {
	unsigned n;
	struct {
		char path[8];
		uint64_t id;
		uint32_t type;
	} e[NAMES_MAX + 1];
	const char *folder;
};

static inline int note_shown(void *arg, const char *name, uint64_t id, uint32_t type,
			     uint64_t cookie, const struct volume_attr *attr)
{
	struct shown *s = arg;

	(void)cookie, (void)attr;
	if (s->n > NAMES_MAX)
		return 1;
	snprintf(s->e[s->n].path, sizeof(s->e[s->n].path), "%s%.4s", s->folder, name);
	s->e[s->n].id = id;
	s->e[s->n++].type = type;
	return 0;
}

static inline void show(struct volume *v, struct shown *s)
{
	*s = (struct shown){.folder = ""};
	assert_int_equal(volume_readdir(v, VOLUME_ROOT_ID, 0, false, note_shown, s), 0);
	for (unsigned i = 0, n = s->n; i < n; i++) {
		if (!S_ISDIR(s->e[i].type))
			continue;
		s->folder = "d/";
		assert_int_equal(volume_readdir(v, s->e[i].id, 0, false, note_shown, s), 0);
	}
}

static inline bool names_are(const struct model *m, const struct model_names *n,
			     const struct shown *s)
{
	if (n->n != s->n)
		return false;
	for (unsigned i = 0; i < s->n; i++) {
		int k = names_find(n, s->e[i].path);

		if (k < 0)
			return false;
		const struct model_file *f = &m->f[n->e[k].file];
		if (f->folder != S_ISDIR(s->e[i].type) || (f->id && f->id != s->e[i].id))
			return false;
	}
	return true;
}

/* Each block is of the newest version or of the one before. */
static inline bool content_torn(const struct model_file *f, const uint8_t *p, size_t len)
{
	const struct model_version *v = &f->v[f->n - 1], *w = f->n > 1 ? v - 1 : v;

	for (size_t at = 0; at < len; at += 4096) {
		size_t n = len - at < 4096 ? len - at : 4096;

		if (!(at + n <= v->len && !memcmp(p + at, v->p + at, n)) &&
		    !(at + n <= w->len && !memcmp(p + at, w->p + at, n)))
			return false;
	}
	return true;
}

static inline bool content_is(struct volume *v, const struct model_file *f, uint64_t id,
			      unsigned from, unsigned steps)
{
	struct volume_attr a;
	bool fits = false;

	assert_int_equal(volume_getattr(v, id, &a), 0);
	uint8_t *p = malloc(a.size + 1);
	assert_non_null(p);
	assert_int_equal(volume_read(v, id, p, a.size + 1, 0), a.size);
	for (unsigned i = from; i < f->n && f->v[i].step < steps && !fits; i++)
		fits = f->v[i].len == a.size && !memcmp(f->v[i].p, p, a.size);
	if (!fits && f->torn)
		fits = content_torn(f, p, a.size);
	free(p);
	return fits;
}

/* acked steps are known to have succeeded, begun ones (one more at most) may have. */
static inline bool state_fits(struct volume *v, struct model *m, const struct shown *s,
			      unsigned names, unsigned acked, unsigned begun)
{
	const struct model_names *n = &m->at[names];

	if (!names_are(m, n, s))
		return false;
	for (unsigned i = 0; i < s->n; i++) {
		unsigned k = n->e[names_find(n, s->e[i].path)].file;
		const struct model_file *f = &m->f[k];
		unsigned from = m->synced[acked][k];

		if (f->heir_step && names >= f->heir_step && f->heir_version > from)
			from = f->heir_version;
		if (!f->folder && !content_is(v, f, s->e[i].id, from, begun))
			return false;
	}
	return true;
}

static inline bool script_holds(struct volume *v, struct model *m, unsigned acked, unsigned begun)
{
	struct shown s;

	show(v, &s);
	for (unsigned names = m->names_from[acked]; names <= begun; names++) {
		if (state_fits(v, m, &s, names, acked, begun))
			return true;
	}
	fprintf(stderr, "acknowledged %u, begun %u, durable from %u; shown:", acked, begun,
		m->names_from[acked]);
	for (unsigned i = 0; i < s.n; i++)
		fprintf(stderr, " %s=%llu", s.e[i].path, (unsigned long long)s.e[i].id);
	fprintf(stderr, "\n");
	return false;
}

/* ---- the snapshot ---- */

struct snap_view {
	struct volume *v;
	struct model *m;
	unsigned n_files;
};

static inline const struct model_version *snap_version(struct model *m, uint64_t id)
{
	const struct model_names *n = &m->at[m->snap_step];

	for (unsigned i = 0; i < n->n; i++) {
		const struct model_file *f = &m->f[n->e[i].file];
		unsigned k = f->n;

		if (f->id != id || f->folder)
			continue;
		while (f->v[k - 1].step >= m->snap_step)
			k--;
		return &f->v[k - 1];
	}
	return NULL;
}

static inline int snap_inode(void *arg, const struct volume_snap_inode *in)
{
	struct snap_view *sv = arg;
	const struct model_version *ver;

	if (!S_ISREG(in->attr.mode))
		return 0;
	ver = snap_version(sv->m, in->attr.id);
	assert_non_null(ver);
	assert_int_equal(in->attr.size, ver->len);
	if (in->inline_data)
		assert_memory_equal(in->inline_data, ver->p, ver->len);
	sv->n_files++;
	return 0;
}

static inline int snap_map(void *arg, uint64_t id, uint64_t group, uint64_t txn,
			   const struct map_group *g)
{
	struct snap_view *sv = arg;
	const struct model_version *ver = snap_version(sv->m, id);
	static const uint8_t zeros[MAP_BLOCK];

	(void)txn;
	assert_non_null(ver);
	for (unsigned i = 0; i < MAP_GROUP; i++) {
		uint64_t off = (group * MAP_GROUP + i) * MAP_BLOCK;
		uint8_t b[MAP_BLOCK];

		if (off >= ver->len)
			break;
		size_t n = ver->len - off < MAP_BLOCK ? ver->len - off : MAP_BLOCK;
		if (g->e[i].slot == MAP_HOLE) {
			assert_memory_equal(zeros, ver->p + off, n);
			continue;
		}
		assert_int_equal(
		    volume_snapshot_read(sv->v, &sv->m->snap, id, group, g, i, 1, b), 0);
		assert_memory_equal(b, ver->p + off, n);
	}
	return 0;
}

/* The snapshot shows what it showed when it was opened. */
static inline void snapshot_holds(struct volume *v, struct model *m)
{
	const struct volume_snap_ops ops = {.inode = snap_inode, .map = snap_map};
	struct snap_view sv = {.v = v, .m = m};
	const struct model_names *n = &m->at[m->snap_step];
	struct volume_snapshot s;
	unsigned n_files = 0;

	for (unsigned i = 0; i < n->n; i++)
		n_files += !m->f[n->e[i].file].folder;
	assert_int_equal(volume_snapshot_find(v, m->snap.snap.id, &s), 0);
	assert_int_equal(s.snap.txn, m->snap.snap.txn);
	assert_int_equal(volume_snapshot_scan(v, &s, 0, &ops, &sv), 0);
	assert_int_equal(sv.n_files, n_files);
}

/* ---- keys that open at once, and mounting that may fail ---- */

static inline int script_open_keys(struct fixture *fx, struct identity *who)
{
	const struct header_unlock with = {.identity = who};

	return keyring_open(fx->store, &with, 0, &fx->kr, &fx->d);
}

static inline int script_mount(struct fixture *fx)
{
	struct volume_config cfg = fixture_config(fx);

	return volume_open(&cfg, &fx->v, &fx->d);
}

#endif
