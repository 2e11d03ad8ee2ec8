/*
 * Destruction in the live store, and the inventory it is asked for with.
 *
 * The adversary of these tests holds every byte of the store from before and after, and the keyring
 * as it is afterwards.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <sqlite3.h>

#include "fs/engine_internal.h"
#include "tests/unit/snapshot_fixture.h"

#define ROWS_MAX 4096

/* ---- the order's steps ---- */

static void puncture(struct fixture *f, const uint64_t *ids, size_t n)
{
	struct keyring_range *r = calloc(n ? n : 1, sizeof(*r));
	struct diag d = {0};
	size_t pending;

	for (size_t i = 0; i < n; i++)
		r[i] = (struct keyring_range){ids[i], ids[i]};
	if (n)
		assert_int_equal(
		    keyring_puncture(f->kr, KEYRING_BOTH, r, n, "order-1", &pending, &d), 0);
	free(r);
}

/* What the executor does with the lookup ids that destruction leaves. */
static size_t puncture_lookups(struct fixture *f, const struct bytes_w *lookups)
{
	uint64_t ids[64];
	size_t n = lookups->len / 8;

	assert_true(n <= 64 && lookups->len % 8 == 0);
	for (size_t i = 0; i < n; i++)
		ids[i] = bytes_get64(lookups->buf + 8 * i);
	puncture(f, ids, n);
	return n;
}

static struct volume_destroyed destroy(struct fixture *f, const uint64_t *ids, size_t n)
{
	CLEANUP_BYTES struct bytes_w lookups = {0};
	struct volume_destroyed done;

	puncture(f, ids, n);
	assert_int_equal(volume_destroy(f->v, ids, n, true, &done, &lookups), 0);
	puncture_lookups(f, &lookups);
	return done;
}

static void expect_content(struct fixture *f, uint64_t id, uint32_t seed, size_t len)
{
	uint8_t *want = fx_bytes(seed, len), *got = malloc(len);

	assert_int_equal(volume_read(f->v, id, got, len, 0), (ssize_t)len);
	assert_memory_equal(got, want, len);
	free(want);
	free(got);
}

static uint64_t file(struct fixture *f, uint64_t parent, const char *name, uint32_t seed,
		     size_t len)
{
	uint8_t *p = fx_bytes(seed, len);
	uint64_t id = fx_file(f, parent, name, p, len);

	free(p);
	return id;
}

static void count_bad(void *arg, const char *text)
{
	fprintf(stderr, "check: %s\n", text);
	++*(unsigned *)arg;
}

static void expect_sound(struct fixture *f)
{
	struct volume_check ck;
	unsigned n = 0;

	assert_int_equal(volume_check(f->v, true, count_bad, &n, &ck), 0);
	assert_int_equal(n, 0);
}

/* ---- raw bytes ---- */

struct row {
	uint8_t *p;
	size_t len;
	unsigned found; /* raw, in so many files */
};
struct rows {
	struct row r[ROWS_MAX];
	size_t n;
};

/* Every sealed record in a closed store's meta.db. */
static void rows_read(const char *store, struct rows *ret)
{
	char path[192];
	sqlite3 *db;
	sqlite3_stmt *st;

	snprintf(path, sizeof(path), "%s/meta.db", store);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT val FROM rec", -1, &st, NULL), SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW) {
		struct row *r = &ret->r[ret->n++];

		assert_true(ret->n < ROWS_MAX);
		r->len = (size_t)sqlite3_column_bytes(st, 0);
		r->p = malloc(r->len);
		memcpy(r->p, sqlite3_column_blob(st, 0), r->len);
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
}

static void rows_free(struct rows *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->r[i].p);
	r->n = 0;
}

static bool rows_have(const struct rows *r, const struct row *one)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->r[i].len == one->len && memcmp(r->r[i].p, one->p, one->len) == 0)
			return true;
	return false;
}

static const void *needle;
static size_t needle_len;
static unsigned needle_found;

static int search_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	if (type != FTW_F || st->st_size == 0)
		return 0;
	uint8_t *p = malloc((size_t)st->st_size);
	int fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, p, (size_t)st->st_size, 0), st->st_size);
	close(fd);
	needle_found += memmem(p, (size_t)st->st_size, needle, needle_len) != NULL;
	free(p);
	return 0;
}

/* In how many files of the store the bytes stand. */
static unsigned raw_search(struct fixture *f, const void *p, size_t len)
{
	needle = p;
	needle_len = len;
	needle_found = 0;
	assert_int_equal(nftw(f->store, search_file, 16, FTW_PHYS), 0);
	return needle_found;
}

static void copy_file(const char *from, const char *to)
{
	uint8_t buf[65536];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)n), n);
	close(in);
	close(out);
}

/* meta.db as it stands in the closed store, kept by somebody: FIXTURE/old/meta.db. */
static void keep_old_copy(struct fixture *f, char old[96])
{
	char from[192], to[192];

	snprintf(old, 96, "%s/old", f->dir);
	assert_int_equal(mkdir(old, 0700), 0);
	snprintf(from, sizeof(from), "%s/meta.db", f->store);
	snprintf(to, sizeof(to), "%s/meta.db", old);
	copy_file(from, to);
}

/* ---- tests ---- */

/*
 * Promise 5: afterwards no byte of the destroyed files' ciphertext and sealed records is left in
 * the store, names and handles are dead; the siblings are as they were. Also after a remount.
 */
static void nothing_is_left(void **state)
{
	struct fixture *f = *state;
	uint64_t keep = fx_dir(f, VOLUME_ROOT_ID, "keep"),
		 doomed = fx_dir(f, VOLUME_ROOT_ID, "doomed");
	uint64_t sub = fx_dir(f, doomed, "sub");
	uint64_t big = file(f, sub, "big", 1, 300000), small = file(f, doomed, "small", 2, 500);
	uint64_t sibling = file(f, keep, "sibling", 3, 300000),
		 inner = file(f, keep, "inner", 4, 20000);
	uint64_t ids[] = {doomed, sub, big, small, inner},
		 found; /* ascending: ids are given out in sequence */
	uint8_t sealed[MAP_BLOCK], *plain = fx_bytes(2, 500);
	struct rows *before = calloc(1, sizeof(*before)), *after = calloc(1, sizeof(*after));
	char path[192], object[64];

	assert_int_equal(volume_setxattr(f->v, small, "user.secret", "s", 1, 0), 0);
	fx_close(f);
	rows_read(f->store, before);
	volume_object_path(big, 0, object);
	snprintf(path, sizeof(path), "%s/%s", f->store, object);
	int fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, sealed, sizeof(sealed), MAP_BLOCK), MAP_BLOCK);
	close(fd);
	assert_int_equal(raw_search(f, sealed, sizeof(sealed)), 1);
	fx_open(f);

	assert_int_equal(volume_open_file(f->v, big, true), 0);
	uint8_t *late = fx_bytes(9, 100000);
	fx_write(f, big, late, 100000, 50000); /* unpublished */
	struct volume_destroyed done = destroy(f, ids, 5);
	/* While it is mounted: closing would tidy up. */
	for (size_t i = 0; i < before->n; i++)
		before->r[i].found = raw_search(f, before->r[i].p, before->r[i].len);
	assert_int_equal(raw_search(f, sealed, sizeof(sealed)), 0);
	assert_int_equal(done.n_inodes, 5);
	assert_int_equal(done.n_names, 5);
	assert_int_equal(done.n_objects, 2);
	assert_int_equal(done.n_handles, 1);
	assert_true(done.bytes_overwritten >= 320000);

	assert_int_equal(volume_read(f->v, big, sealed, 1, 0), -EIO);
	assert_int_equal(volume_write(f->v, big, "x", 1, 0, false), -EIO);
	volume_release_file(f->v, big, true);
	assert_int_equal(fx_lookup(f, VOLUME_ROOT_ID, "doomed", &found), -ENOENT);
	assert_int_equal(fx_lookup(f, keep, "inner", &found), -ENOENT);
	assert_int_equal(fx_lookup(f, keep, "sibling", &found), 0);
	assert_int_equal(fx_attr(f, VOLUME_ROOT_ID).nlink, 3);
	expect_sound(f);
	fx_remount(f);
	assert_int_equal(fx_lookup(f, VOLUME_ROOT_ID, "doomed", &found), -ENOENT);
	assert_int_equal(fx_lookup(f, keep, "sibling", &found), 0);
	assert_int_equal(found, sibling);
	expect_content(f, sibling, 3, 300000);
	expect_sound(f);
	fx_close(f);

	assert_int_equal(raw_search(f, plain, 32), 0);
	assert_int_equal(raw_search(f, late, 32), 0);
	rows_read(f->store, after);
	unsigned n_erased = 0;
	for (size_t i = 0; i < before->n; i++) {
		if (rows_have(after, &before->r[i]))
			continue;
		n_erased++;
		assert_int_equal(before->r[i].found, 0);
		assert_int_equal(raw_search(f, before->r[i].p, before->r[i].len), 0);
	}
	assert_true(n_erased >= 5 + 1 + 2 + 5); /* inodes, xattrs, maps, names */
	rows_free(before);
	rows_free(after);
	free(before);
	free(after);
	free(plain);
	free(late);
}

struct guess {
	struct volume *v; /* a keyring and nothing else */
	uint64_t dir, victim;
	unsigned n_victim, n_open;
};

static int guess_entry(void *arg, const struct dentry_sealed *d)
{
	struct guess *g = arg;
	char name[VOLUME_NAME_MAX + 1];
	int r = dir_open_name(g->v, g->dir, d, name);

	if (d->child == g->victim) {
		assert_int_equal(r, -EKEYREVOKED);
		g->n_victim++;
	} else {
		g->n_open += r == 0;
	}
	return 0;
}

static int guess_bucket(void *arg, const struct rstore_key *key, const void *val, size_t len,
			uint64_t txn)
{
	(void)key;
	(void)txn;
	return dir_bucket_each(val, len, guess_entry, arg);
}

/* An old copy of a folder, with today's keys: the victim's name does not open, and no name can be
 * hashed against it. */
static void expect_no_guess(struct rstore *rs, struct volume *keys, uint64_t dir, uint64_t victim,
			    unsigned n_others)
{
	struct guess g = {.v = keys, .dir = dir, .victim = victim};
	struct rstore_key from = engine_file_key(dir, SUB_DENTRY),
			  to = engine_sub_end(dir, SUB_DENTRY);
	struct rstore_key lookup = engine_key(SPACE_LOOKUP, &dir, 1);
	CLEANUP_BYTES struct bytes_w w = {0};
	uint8_t key[32];

	assert_int_equal(rstore_scan(rs, &from, &to, guess_bucket, &g), 0);
	assert_int_equal(g.n_victim, 1);
	assert_int_equal(g.n_open, n_others);
	assert_int_equal(rstore_get(rs, &lookup, &w, NULL), 0);
	assert_int_equal(engine_subkey(keys, bytes_get64(w.buf), "lookup", key), -EKEYREVOKED);
}

/*
 * Promise 5: not even a confirmation of a guess, wherever the name once stood: in its folder, in
 * one that it was moved out of, in one that is gone since.
 */
static void no_guess_is_confirmed(void **state)
{
	struct fixture *f = *state;
	uint64_t now = fx_dir(f, VOLUME_ROOT_ID, "now"), once = fx_dir(f, VOLUME_ROOT_ID, "once");
	uint64_t away = fx_dir(f, VOLUME_ROOT_ID, "away");
	uint64_t victim = file(f, now, "dismissal of Li.odt", 1, 100),
		 moved = file(f, once, "moved", 2, 100);
	uint64_t homeless = file(f, away, "homeless", 3, 100);
	uint64_t ids[] = {victim, moved, homeless}, found;
	char old[96];

	file(f, now, "sibling", 4, 10);
	file(f, once, "other", 4, 10);
	fx_close(f);
	keep_old_copy(f, old);
	fx_open(f);
	assert_int_equal(volume_rename(f->v, once, "moved", now, "moved", 0), 0);
	assert_int_equal(volume_rename(f->v, away, "homeless", now, "homeless", 0), 0);
	assert_int_equal(volume_rmdir(f->v, VOLUME_ROOT_ID, "away"), 0);
	assert_int_equal(volume_sync(f->v), 0);
	struct volume_destroyed done = destroy(f, ids, 3);
	assert_int_equal(done.n_names, 3);
	assert_int_equal(fx_lookup(f, now, "sibling", &found), 0);
	assert_int_equal(fx_lookup(f, once, "other", &found), 0);

	struct volume keys = {.kr = f->kr};
	struct rstore_config cfg = {
	    .store = old, .kr = f->kr, .key_of = engine_key_of, .arg = &keys};
	struct rstore *rs;
	struct diag d = {0};
	assert_int_equal(rstore_open(&cfg, NULL, &rs, &d), 0);
	expect_no_guess(rs, &keys, now, victim, 1);
	expect_no_guess(rs, &keys, once, moved, 1);
	expect_no_guess(rs, &keys, away, homeless, 0);
	rstore_close(rs);

	/* It comes to an end: nothing is left to puncture, and folders are not rehashed again. */
	CLEANUP_BYTES struct bytes_w lookups = {0};
	assert_int_equal(volume_destroy(f->v, ids, 3, true, &done, &lookups), 0);
	assert_int_equal(lookups.len, 0);
	assert_int_equal(done.n_inodes + done.n_names + done.n_objects, 0);
	expect_sound(f);
}

struct listing {
	struct {
		uint64_t parent, link, child;
		bool present;
		char name[64];
	} e[64];
	size_t n;
};

static int list_one(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool present,
		    const char *name)
{
	struct listing *l = arg;

	l->e[l->n].parent = parent;
	l->e[l->n].link = link;
	l->e[l->n].child = child;
	l->e[l->n].present = present;
	snprintf(l->e[l->n++].name, 64, "%s", name);
	return 0;
}

static size_t count(const struct listing *l, uint64_t child, bool present, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += l->e[i].child == child && l->e[i].present == present &&
		     !strcmp(l->e[i].name, name);
	return n;
}

/* Promise 3 for an order: cut off after the puncture, or after the store's part, it is finished by
 * doing it again. */
static void resumes_after_a_crash(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = fx_dir(f, VOLUME_ROOT_ID, "d"), id = file(f, dir, "f", 1, 20000);
	uint64_t sibling = file(f, VOLUME_ROOT_ID, "s", 2, 20000), ids[] = {dir, id}, found;
	CLEANUP_BYTES struct bytes_w first = {0}, second = {0};
	struct volume_destroyed done;
	struct listing l = {0};

	assert_int_equal(volume_sync(f->v), 0);
	puncture(f, ids, 2);
	fx_remount(f);
	/* Between the two: EIO, never "no such file"; what else there is works. */
	assert_int_equal(fx_lookup(f, VOLUME_ROOT_ID, "d", &found), -EIO);
	expect_content(f, sibling, 2, 20000);
	assert_int_equal(volume_history(f->v, VOLUME_ROOT_ID, list_one, &l), 0);
	assert_int_equal(count(&l, dir, true, "") + count(&l, sibling, true, "s"), 2);
	assert_int_equal(volume_destroy(f->v, ids, 2, false, &done, &first), 0);
	assert_int_equal(done.n_inodes, 2);
	assert_int_equal(fx_lookup(f, VOLUME_ROOT_ID, "d", &found), -ENOENT);
	fx_remount(f);
	assert_int_equal(volume_destroy(f->v, ids, 2, false, &done, &second), 0);
	assert_int_equal(done.n_inodes, 0);
	/* The lookup ids are told again until they are gone. */
	assert_int_equal(second.len, first.len);
	assert_int_equal(puncture_lookups(f, &second), 2);
	bytes_w_reset(&second);
	assert_int_equal(volume_destroy(f->v, ids, 2, false, &done, &second), 0);
	assert_int_equal(second.len, 0);
	expect_content(f, sibling, 2, 20000);
	expect_sound(f);
}

/* What an inventory left out is not torn along: refused whole; a file with another link loses only
 * this one. */
static void spares_what_is_not_listed(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = fx_dir(f, VOLUME_ROOT_ID, "d"), sub = fx_dir(f, dir, "sub");
	uint64_t linked = file(f, dir, "linked", 1, 9000), ids[] = {dir}, both[] = {dir, sub},
		 found;
	struct volume_destroyed done;
	CLEANUP_BYTES struct bytes_w lookups = {0};
	struct volume_attr a;

	assert_int_equal(volume_destroy(f->v, ids, 1, true, &done, &lookups), -EINVAL);
	assert_int_equal(volume_destroy(f->v, both, 2, true, &done, &lookups), -EINVAL);
	assert_int_equal(volume_destroy(f->v, (uint64_t[]){sub, dir}, 2, true, &done, &lookups),
			 -EINVAL);
	assert_int_equal(
	    volume_destroy(f->v, (uint64_t[]){VOLUME_ROOT_ID}, 1, true, &done, &lookups), -EINVAL);
	assert_int_equal(lookups.len, 0);
	assert_int_equal(fx_lookup(f, dir, "linked", &found), 0);
	expect_sound(f);

	assert_int_equal(volume_link(f->v, linked, VOLUME_ROOT_ID, "elsewhere", &a), 0);
	volume_forget(f->v, linked, 1);
	assert_int_equal(volume_sync(f->v), 0);
	done = destroy(f, both, 2);
	assert_int_equal(done.n_inodes, 2);
	assert_int_equal(fx_lookup(f, VOLUME_ROOT_ID, "elsewhere", &found), 0);
	assert_int_equal(found, linked);
	assert_int_equal(fx_attr(f, linked).nlink, 1);
	expect_content(f, linked, 1, 9000);
	expect_sound(f);
}

struct seen {
	uint64_t ids[64], victim;
	size_t n;
	unsigned n_names, n_dead_names;
};

static int see_name(void *arg, uint64_t parent, uint64_t link, uint64_t child, uint32_t type_mode,
		    const char *name, int name_err)
{
	struct seen *s = arg;

	(void)parent;
	(void)link;
	(void)type_mode;
	assert_int_equal(name_err, child == s->victim ? -EKEYREVOKED : 0);
	assert_int_equal(!*name, child == s->victim);
	s->n_names++;
	s->n_dead_names += child == s->victim;
	return 0;
}

static int see_inode(void *arg, const struct volume_snap_inode *in)
{
	struct seen *s = arg;

	s->ids[s->n++] = in->attr.id;
	return 0;
}

static bool seen(const struct seen *s, uint64_t id)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->ids[i] == id)
			return true;
	return false;
}

/* A snapshot that was open all the time shows the others still and the destroyed no more. */
static void snapshots_lose_it_too(void **state)
{
	struct fixture *f = *state;
	uint64_t victim = file(f, VOLUME_ROOT_ID, "v", 1, 20000),
		 other = file(f, VOLUME_ROOT_ID, "o", 2, 20000);
	const struct volume_snap_ops ops = {.inode = see_inode, .name = see_name};
	struct seen got = {.victim = victim};
	struct volume_snapshot s;

	assert_int_equal(volume_snapshot_open(f->v, &s), 0);
	destroy(f, &victim, 1);
	assert_int_equal(volume_snapshot_scan(f->v, &s, 0, &ops, &got), 0);
	assert_true(seen(&got, other));
	assert_false(seen(&got, victim));
	assert_int_equal(got.n_names, 2);
	assert_int_equal(got.n_dead_names, 1);
	assert_int_equal(volume_snapshot_close(f->v, &s), 0);
	expect_sound(f);
}

static int list_edge(void *arg, uint64_t other, uint8_t kind)
{
	uint64_t *got = arg;

	got[kind] = other;
	return 0;
}

/* Promise 5 needs the closure over history: what was ever under a folder, every link, every
 * relative is told. */
static void inventory_finds_all(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = fx_dir(f, VOLUME_ROOT_ID, "d"), other = fx_dir(f, VOLUME_ROOT_ID, "other");
	uint64_t stays = file(f, dir, "stays", 1, 10), moved = file(f, dir, "moved", 2, 10);
	uint64_t deleted = file(f, dir, "deleted", 3, 10), new = file(f, dir, "new", 4, 10),
		 edges[8] = {0};
	struct listing l = {0};
	struct volume_attr a;

	assert_int_equal(volume_rename(f->v, dir, "moved", other, "moved", 0), 0);
	assert_int_equal(volume_unlink(f->v, dir, "deleted"), 0);
	assert_int_equal(volume_rename(f->v, dir, "new", dir, "stays", 0), 0); /* saved over */
	assert_int_equal(volume_link(f->v, new, other, "second", &a), 0);
	volume_forget(f->v, new, 1);
	fx_remount(f);
	assert_int_equal(volume_history(f->v, dir, list_one, &l), 0);
	assert_int_equal(count(&l, new, true, "stays"), 1);
	assert_int_equal(count(&l, new, false, ""), 1);
	assert_int_equal(count(&l, stays, false, ""), 1);
	assert_int_equal(count(&l, moved, false, ""), 1);
	assert_int_equal(count(&l, deleted, false, ""), 1);
	assert_int_equal(l.n, 5);

	l.n = 0;
	assert_int_equal(volume_links_of(f->v, (uint64_t[]){new, moved}, 2, list_one, &l), 0);
	assert_int_equal(count(&l, new, true, "stays") + count(&l, new, true, "second"), 2);
	assert_int_equal(count(&l, moved, true, "moved"), 1);
	assert_int_equal(l.n, 3);

	assert_int_equal(volume_edges(f->v, stays, list_edge, edges), 0);
	assert_int_equal(edges[VOLUME_EDGE_SAVED_OVER], new);
	assert_int_equal(volume_add_edge(f->v, moved, stays, VOLUME_EDGE_RESTORED), 0);
	assert_int_equal(volume_edges(f->v, stays, list_edge, edges), 0);
	assert_int_equal(edges[VOLUME_EDGE_RESTORED], moved);

	assert_int_equal(volume_peek(f->v, deleted, &a), -ENOENT);
	assert_int_equal(volume_peek(f->v, moved, &a), 0);
	assert_int_equal(a.size, 10);
}

/* The digest that an order fixes: the same while nothing changes, also over a remount; another
 * after any change. */
static void digest_tells_drift(void **state)
{
	struct fixture *f = *state;
	uint64_t a = file(f, VOLUME_ROOT_ID, "a", 1, 20000),
		 b = file(f, VOLUME_ROOT_ID, "b", 2, 50);
	uint64_t ids[] = {a, b}, bytes;
	uint8_t d0[32], d1[32], buf[100];
	struct volume_attr in = {.mode = 0600}, out;

	assert_int_equal(volume_sealed_digest(f->v, ids, 2, d0, &bytes), 0);
	assert_int_equal(bytes, 20050);
	assert_int_equal(volume_read(f->v, a, buf, sizeof(buf), 0), sizeof(buf));
	file(f, VOLUME_ROOT_ID, "c", 3, 20000);
	fx_remount(f);
	assert_int_equal(volume_sealed_digest(f->v, ids, 2, d1, &bytes), 0);
	assert_memory_equal(d0, d1, 32);
	fx_write(f, a, "x", 1, 10000);
	assert_int_equal(volume_sealed_digest(f->v, ids, 2, d1, &bytes), 0);
	assert_memory_not_equal(d0, d1, 32);
	assert_int_equal(volume_setattr(f->v, b, VOLUME_SET_MODE, &in, &out), 0);
	assert_int_equal(volume_sealed_digest(f->v, ids, 2, d0, &bytes), 0);
	assert_memory_not_equal(d0, d1, 32);
	assert_int_equal(volume_sealed_digest(f->v, (uint64_t[]){b, a}, 2, d0, &bytes), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_VOLUME(nothing_is_left),
	    IN_VOLUME(no_guess_is_confirmed),
	    IN_VOLUME(resumes_after_a_crash),
	    IN_VOLUME(spares_what_is_not_listed),
	    IN_VOLUME(snapshots_lose_it_too),
	    IN_VOLUME(inventory_finds_all),
	    IN_VOLUME(digest_tells_drift),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
