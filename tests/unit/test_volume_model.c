/*
 * Random operations on the volume against a model in memory, compared all along and whole at each
 * remount.
 *
 * The seed is printed; COFFER_TEST_SEED repeats a run, COFFER_TEST_OPS lengthens it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/falloc.h>
#include <time.h>

#include "tests/unit/volume_fixture.h"

#define NODES_MAX 400
#define ENTRIES_MAX 24
#define CONTENT_MAX 300000u
#define N_NAMES 14

struct node {
	uint64_t id; /* 0: free */
	uint32_t type, nlink;
	uint8_t *content;
	size_t size;
	struct {
		char name[16];
		unsigned node;
	} e[ENTRIES_MAX];
	unsigned n, parent;
};

struct model {
	struct fixture *fx;
	struct volume *v;
	struct node node[NODES_MAX]; /* 1 is the root, 0 nothing */
	uint64_t rng;
};

static uint64_t draw(struct model *m, uint64_t below)
{
	m->rng ^= m->rng << 13;
	m->rng ^= m->rng >> 7;
	m->rng ^= m->rng << 17;
	return (m->rng >> 11) % below;
}

static unsigned pick(struct model *m, uint32_t type)
{
	for (int tries = 0; tries < 200; tries++) {
		unsigned i = 1 + (unsigned)draw(m, NODES_MAX - 1);
		if (m->node[i].id && m->node[i].type == type)
			return i;
	}
	return type == S_IFDIR ? 1 : 0;
}

static void pick_name(struct model *m, char name[16])
{
	snprintf(name, 16, "name%u", (unsigned)draw(m, N_NAMES));
}

static int entry_of(const struct node *dir, const char *name)
{
	for (unsigned i = 0; i < dir->n; i++) {
		if (strcmp(dir->e[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

static unsigned child(const struct node *dir, const char *name)
{
	int i = entry_of(dir, name);

	return i < 0 ? 0 : dir->e[i].node;
}

static void entry_set(struct node *dir, const char *name, unsigned node)
{
	int i = entry_of(dir, name);

	if (i < 0) {
		i = (int)dir->n++;
		strcpy(dir->e[i].name, name);
	}
	dir->e[i].node = node;
}

static void entry_drop(struct node *dir, const char *name)
{
	int i = entry_of(dir, name);

	dir->e[i] = dir->e[--dir->n];
}

static void unref(struct model *m, unsigned i)
{
	struct node *n = &m->node[i];

	if (n->type == S_IFDIR)
		n->nlink = 1;
	if (--n->nlink)
		return;
	free(n->content);
	*n = (struct node){0};
}

/* ---- operations ---- */

static void op_make(struct model *m)
{
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};
	unsigned d = pick(m, S_IFDIR), i = 2;
	struct node *dir = &m->node[d];
	uint32_t type = types[draw(m, 6)];
	char name[16];
	uint64_t id = 0;

	while (i < NODES_MAX && m->node[i].id)
		i++;
	pick_name(m, name);
	if (i == NODES_MAX || dir->n == ENTRIES_MAX)
		return;
	int r = try_make(m->v, dir->id, name, type | 0644, &id);
	if (child(dir, name)) {
		assert_int_equal(r, -EEXIST);
		return;
	}
	assert_int_equal(r, 0);
	m->node[i] = (struct node){.id = id, .type = type, .nlink = 1, .parent = d};
	entry_set(dir, name, i);
}

static void op_link(struct model *m)
{
	unsigned f = pick(m, S_IFREG), d = pick(m, S_IFDIR);
	struct node *dir = &m->node[d];
	struct volume_attr a;
	char name[16];

	pick_name(m, name);
	if (!f || dir->n == ENTRIES_MAX)
		return;
	int r = volume_link(m->v, m->node[f].id, dir->id, name, &a);
	if (child(dir, name)) {
		assert_int_equal(r, -EEXIST);
		return;
	}
	assert_int_equal(r, 0);
	volume_forget(m->v, a.id, 1);
	entry_set(dir, name, f);
	m->node[f].nlink++;
}

static void op_remove(struct model *m)
{
	struct node *dir = &m->node[pick(m, S_IFDIR)];
	char name[16];

	pick_name(m, name);
	unsigned i = child(dir, name);
	bool folder = i && m->node[i].type == S_IFDIR;
	int want = !i ? -ENOENT : folder && m->node[i].n ? -ENOTEMPTY : 0;
	int r = folder ? volume_rmdir(m->v, dir->id, name) : volume_unlink(m->v, dir->id, name);

	assert_int_equal(r, want);
	if (r)
		return;
	entry_drop(dir, name);
	unref(m, i);
}

static bool below(const struct model *m, unsigned dir, unsigned top)
{
	for (; dir != 1; dir = m->node[dir].parent) {
		if (dir == top)
			return true;
	}
	return top == 1;
}

static int want_rename(const struct model *m, unsigned fd, unsigned td, unsigned from, unsigned to,
		       unsigned flags)
{
	bool from_dir = m->node[from].type == S_IFDIR, to_dir = to && m->node[to].type == S_IFDIR;

	if (!from)
		return -ENOENT;
	if (to && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!to && (flags & RENAME_EXCHANGE))
		return -ENOENT;
	if (fd != td && from_dir && below(m, td, from))
		return -EINVAL;
	if (flags & RENAME_EXCHANGE)
		return fd != td && to_dir && below(m, fd, to) ? -EINVAL : 0;
	if (!to || to == from)
		return 0;
	if (!from_dir)
		return to_dir ? -EISDIR : 0;
	return !to_dir ? -ENOTDIR : m->node[to].n ? -ENOTEMPTY : 0;
}

static void op_rename(struct model *m)
{
	static const unsigned all_flags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	unsigned fd = pick(m, S_IFDIR), td = pick(m, S_IFDIR), flags = all_flags[draw(m, 5)];
	struct node *a = &m->node[fd], *b = &m->node[td];
	char name[16], new_name[16];

	pick_name(m, name);
	pick_name(m, new_name);
	unsigned from = child(a, name), to = child(b, new_name);
	if (!to && b->n == ENTRIES_MAX)
		return;
	int r = volume_rename(m->v, a->id, name, b->id, new_name, flags);
	assert_int_equal(r, want_rename(m, fd, td, from, to, flags));
	if (r || from == to)
		return;
	entry_set(b, new_name, from);
	m->node[from].parent = td;
	if (flags & RENAME_EXCHANGE) {
		entry_set(a, name, to);
		m->node[to].parent = fd;
		return;
	}
	entry_drop(a, name);
	if (to)
		unref(m, to);
}

static void resize(struct node *f, size_t size)
{
	if (size > f->size) {
		f->content = realloc(f->content, size);
		assert_non_null(f->content);
		memset(f->content + f->size, 0, size - f->size);
	}
	f->size = size;
}

static void op_write(struct model *m)
{
	struct node *f = &m->node[pick(m, S_IFREG)];
	static uint8_t buf[40000];
	size_t off = draw(m, draw(m, 3) ? 3000 : CONTENT_MAX - sizeof(buf));
	size_t len = 1 + draw(m, draw(m, 2) ? 1500 : sizeof(buf));

	if (!f->id)
		return;
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)draw(m, 256);
	assert_int_equal(volume_write(m->v, f->id, buf, len, off, draw(m, 2)), len);
	if (off + len > f->size)
		resize(f, off + len);
	memcpy(f->content + off, buf, len);
}

static void op_truncate(struct model *m)
{
	struct node *f = &m->node[pick(m, S_IFREG)];
	struct volume_attr in = {.size = draw(m, draw(m, 2) ? 5000 : CONTENT_MAX)}, a;

	if (!f->id)
		return;
	assert_int_equal(volume_setattr(m->v, f->id, VOLUME_SET_SIZE, &in, &a), 0);
	assert_int_equal(a.size, in.size);
	resize(f, in.size);
}

static void op_punch(struct model *m)
{
	struct node *f = &m->node[pick(m, S_IFREG)];
	size_t off = draw(m, CONTENT_MAX), len = 1 + draw(m, 100000);
	bool zero = draw(m, 2);
	int mode = zero ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (!f->id || off + len > CONTENT_MAX)
		return;
	assert_int_equal(volume_fallocate(m->v, f->id, mode, off, len), 0);
	size_t end = off + len < f->size ? off + len : f->size;
	if (off < end)
		memset(f->content + off, 0, end - off);
	if (zero && off + len > f->size)
		resize(f, off + len);
}

static void op_copy(struct model *m)
{
	struct node *s = &m->node[pick(m, S_IFREG)], *d = &m->node[pick(m, S_IFREG)];
	size_t src_off = draw(m, 50000), dst_off = draw(m, 50000), len = draw(m, 60000);

	if (!s->id || !d->id || s == d)
		return;
	size_t want = src_off >= s->size ? 0 : s->size - src_off < len ? s->size - src_off : len;
	assert_int_equal(volume_copy(m->v, s->id, src_off, d->id, dst_off, len), want);
	if (!want)
		return;
	if (dst_off + want > d->size)
		resize(d, dst_off + want);
	memcpy(d->content + dst_off, s->content + src_off, want);
}

/* ---- comparison ---- */

static void compare_file(struct model *m, const struct node *f)
{
	struct volume_attr a;
	uint8_t *buf = malloc(f->size + 1);

	assert_non_null(buf);
	assert_int_equal(volume_getattr(m->v, f->id, &a), 0);
	assert_int_equal(a.size, f->size);
	assert_int_equal(a.nlink, f->nlink);
	assert_int_equal(volume_read(m->v, f->id, buf, f->size + 1, 0), f->size);
	if (f->size)
		assert_memory_equal(buf, f->content, f->size);
	free(buf);
}

struct comparison {
	struct model *m;
	struct node *dir;
	unsigned n;
};

static int compare_entry(void *arg, const char *name, uint64_t id, uint32_t type_mode,
			 uint64_t cookie, const struct volume_attr *attr)
{
	struct comparison *c = arg;
	unsigned i = child(c->dir, name);
	(void)cookie;
	(void)attr;

	assert_true(i > 0);
	assert_int_equal(c->m->node[i].id, id);
	assert_int_equal(c->m->node[i].type, type_mode);
	c->n++;
	return 0;
}

static void compare_dir(struct model *m, struct node *dir)
{
	struct comparison c = {.m = m, .dir = dir};
	unsigned folders = 0;

	assert_int_equal(volume_readdir(m->v, dir->id, 0, false, compare_entry, &c), 0);
	assert_int_equal(c.n, dir->n);
	for (unsigned i = 0; i < dir->n; i++) {
		struct node *n = &m->node[dir->e[i].node];

		assert_int_equal(find_id(m->v, dir->id, dir->e[i].name), n->id);
		folders += n->type == S_IFDIR;
	}
	assert_int_equal(nlink_of(m->v, dir->id), 2 + folders);
}

static void compare_all(struct model *m)
{
	uint64_t n = 0;

	for (unsigned i = 1; i < NODES_MAX; i++) {
		struct node *f = &m->node[i];

		n += f->id != 0;
		if (f->id && f->type == S_IFREG)
			compare_file(m, f);
		else if (f->id && f->type == S_IFDIR)
			compare_dir(m, f);
	}
	assert_int_equal(inodes_in_use(m->v), n);
	check_clean(m->v);
	assert_int_equal(m->fx->n_alarms, 0);
}

static void op_compare(struct model *m)
{
	struct node *f = &m->node[pick(m, S_IFREG)];

	if (f->id)
		compare_file(m, f);
	compare_dir(m, &m->node[pick(m, S_IFDIR)]);
}

static void op_sync(struct model *m)
{
	struct node *f = &m->node[pick(m, S_IFREG)];

	if (f->id && draw(m, 2))
		assert_int_equal(volume_fsync(m->v, f->id), 0);
	else if (draw(m, 4) == 0)
		assert_int_equal(volume_sync(m->v), 0);
}

static void op_remount(struct model *m)
{
	if (draw(m, 12))
		return;
	fixture_remount(m->fx);
	m->v = m->fx->v;
	compare_all(m);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

static void (*const ops[])(struct model *) = {
    op_make,     op_make,   op_make,  op_link,    op_remove, op_remove,
    op_rename,   op_rename, op_write, op_write,   op_write,  op_write,
    op_truncate, op_punch,  op_copy,  op_compare, op_sync,   op_remount,
};
#define N_OPS (sizeof(ops) / sizeof(ops[0]))

static struct model *model_new(struct fixture *fx, struct volume *v, uint64_t seed)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->fx = fx;
	m->v = v;
	m->rng = seed ? seed : 1;
	m->node[1] = (struct node){.id = VOLUME_ROOT_ID, .type = S_IFDIR, .nlink = 1, .parent = 1};
	return m;
}

static void model_free(struct model *m)
{
	for (unsigned i = 0; i < NODES_MAX; i++)
		free(m->node[i].content);
	free(m);
}

static uint64_t seed_of_run(void)
{
	uint64_t seed =
	    from_environment("COFFER_TEST_SEED", (uint64_t)time(NULL) * 2654435761u + 1);

	print_message("seed %llu\n", (unsigned long long)seed);
	return seed;
}

/* Promise: whatever is done in whatever order, the volume is what a plain filesystem would be, now
 * and after a remount. */
static void as_the_model(void **state)
{
	struct fixture *fx = *state;
	struct model *m = model_new(fx, fx->v, seed_of_run());
	uint64_t n_ops = from_environment("COFFER_TEST_OPS", 4000);

	for (uint64_t i = 0; i < n_ops; i++)
		ops[draw(m, N_OPS)](m);
	fixture_remount(fx);
	m->v = fx->v;
	compare_all(m);
	model_free(m);
}

static uint64_t crash_seed;

static void work_until_crash(struct volume *v)
{
	struct model *m = model_new(NULL, v, crash_seed);
	uint64_t n = 1 + draw(m, 600);

	/* all but the remount */
	for (uint64_t i = 0; i < n; i++)
		ops[draw(m, N_OPS - 1)](m);
}

/* Promise: a crash at any point, between any syncs, leaves a volume that mounts and in which
 * everything fits together. */
static void crash_anywhere(void **state)
{
	struct fixture *fx = *state;

	crash_seed = seed_of_run();
	for (int i = 0; i < 6; i++, crash_seed += 7919) {
		fixture_crash(fx, work_until_crash);
		fixture_mount(fx);
		check_clean(fx->v);
		assert_int_equal(fx->n_alarms, 0);
		/* an empty root for the next model */
		fixture_teardown(state);
		fixture_setup(state);
		fx = *state;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {MOUNTED(as_the_model), MOUNTED(crash_anywhere)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
