/* The index of a set: sorted blocks, fences, look-up, and merging along a chain. */
#include <malloc.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/set_index.h"
#include "tests/unit/backup_fixture.h"

static const char set_a[] = "20261128T091500Z-1a2b3c4d", set_b[] = "20261128T091500Z-1a2b3c4e",
		  set_c[] = "20261128T091500Z-1a2b3c4f";

/* A set whose one pack holds nothing but the blocks of its index. */
struct built {
	struct backup_fixture *b;
	struct set_manifest m;
	struct set_pack pack;
	struct bytes_w blocks;
	struct set_index_writer w;
};

static int put_block(void *arg, uint32_t number, const void *plain, size_t len, uint32_t *ret_pack,
		     uint32_t *ret_off, uint32_t *ret_len)
{
	struct built *x = arg;

	*ret_pack = 0;
	*ret_off = (uint32_t)x->blocks.len;
	int err = set_index_block_seal(keys(x->b), x->m.id, number, plain, len, &x->blocks);
	*ret_len = (uint32_t)x->blocks.len - *ret_off;
	return err;
}

static void build_begin(struct backup_fixture *b, const char *id, struct built *x)
{
	*x = (struct built){.b = b, .w = {.put = put_block, .arg = x}};
	strcpy(x->m.id, id);
	x->m.n_packs = 1;
	x->m.packs = &x->pack;
}

static void put_top(struct built *x)
{
	CLEANUP_BYTES struct bytes_w top = {0};
	char name[SET_NAME_LEN];

	assert_int_equal(set_index_top_seal(keys(x->b), x->m.id, x->w.fences, x->w.n_fences, &top), 0);
	set_object(x->m.id, "index", name);
	assert_int_equal(repo_put(x->b->repo, name, top.buf, top.len), 0);
	x->m.index.len = top.len;
}

static void put_pack(struct built *x)
{
	char name[SET_NAME_LEN];

	set_object_pack(x->m.id, 0, name);
	assert_int_equal(repo_put(x->b->repo, name, x->blocks.buf, x->blocks.len), 0);
}

static void build_end(struct built *x)
{
	assert_int_equal(set_index_flush(&x->w), 0);
	put_top(x);
	put_pack(x);
}

static void build_free(struct built *x)
{
	set_index_writer_free(&x->w);
	bytes_w_free(&x->blocks);
}

/* ---- what is put comes back ---- */

#define N_ENTRIES 100000

/* All kinds, every key once, in an order far from sorted. */
static struct set_entry entry(size_t i)
{
	size_t k = (i * 7919) % N_ENTRIES;
	struct set_entry e = {.kind = (uint8_t)(1 + k % 5), .flags = (uint8_t)(k % 2), .id = k / 5 + 1};

	if (e.kind == SET_NAME || e.kind == SET_GONE) {
		e.link = k * 77;
		e.child = UINT64_MAX - k;
	}
	if (e.kind == SET_EDGE)
		e.link = k + 5;
	if (e.kind == SET_NAME)
		e.type_mode = S_IFDIR;
	if (e.kind == SET_DATA)
		e.range = k % 1000;
	if (e.kind <= SET_DATA) {
		e.version = k;
		e.pack = (uint32_t)k / 100;
		e.off = UINT32_MAX - (uint32_t)k;
		e.len = (uint32_t)k;
		memset(e.sum, (int)k, sizeof(e.sum));
	}
	return e;
}

static void build(struct backup_fixture *b, const char *id, size_t n, struct built *x)
{
	build_begin(b, id, x);
	for (size_t i = 0; i < n; i++) {
		struct set_entry e = entry(i);
		assert_int_equal(set_index_add(&x->w, &e), 0);
	}
	build_end(x);
}

static struct set_index *open_built(struct built *x, struct set_blocks *cache)
{
	struct set_index *ix = NULL;

	assert_int_equal(set_index_open(x->b->repo, keys(x->b), &x->m, cache, &ix), 0);
	return ix;
}

static int count(void *arg, const struct set_entry *e)
{
	(void)e;
	++*(size_t *)arg;
	return 0;
}

static int refuse(void *arg, const struct set_entry *e)
{
	(void)arg;
	(void)e;
	return -ENOSPC;
}

/* Every entry is found by its key and comes back whole; all come back in order; an error of the callback comes back
 * as it is; an empty index is one. */
static void comes_back(void **state)
{
	struct backup_fixture *b = *state;
	const struct set_key lowest = {0}, highest = {UINT64_MAX, UINT8_MAX, UINT64_MAX};
	struct set_blocks *cache = set_blocks_new();
	struct set_cursor *c;
	struct set_entry got, before = {0};
	struct built x;
	uint32_t which;
	size_t n = 0;

	build(b, set_a, N_ENTRIES, &x);
	assert_true(x.w.n_fences > 60);
	struct set_index *ix = open_built(&x, cache);
	for (size_t i = 0; i < N_ENTRIES; i += 101) {
		const struct set_entry want = entry(i);
		const struct set_key key = set_entry_key(&want);

		assert_int_equal(set_index_find(ix, &key, &got), 0);
		assert_memory_equal(&got, &want, sizeof(want));
	}
	const struct set_key never = {.id = 10, .class = SET_DATA, .sub = 100000};
	assert_int_equal(set_index_find(ix, &never, &got), -ENOENT);
	assert_int_equal(set_cursor_open(&ix, 1, &lowest, &highest, &c), 0);
	for (; set_cursor_next(c, &got, &which) == 1; n++) {
		assert_true(n == 0 || set_entry_cmp(&before, &got) < 0);
		before = got;
	}
	assert_int_equal(n, N_ENTRIES);
	set_cursor_close(c);
	set_index_close(ix);
	n = 0;
	assert_int_equal(set_index_read(b->repo, keys(b), &x.m, count, &n, &b->d), 0);
	assert_int_equal(n, N_ENTRIES);
	assert_int_equal(set_index_read(b->repo, keys(b), &x.m, refuse, NULL, &b->d), -ENOSPC);
	build_free(&x);
	build(b, set_b, 0, &x);
	assert_int_equal(x.blocks.len, 0);
	assert_int_equal(set_index_read(b->repo, keys(b), &x.m, refuse, NULL, &b->d), 0);
	build_free(&x);
	set_blocks_free(cache);
}

/* ---- promise 2 ---- */

static void expect_bad(struct built *x)
{
	size_t n = 0;

	x->b->d = (struct diag){0};
	assert_int_equal(set_index_read(x->b->repo, keys(x->b), &x->m, count, &n, &x->b->d), -EBADMSG);
	assert_int_equal(x->b->d.id, DIAG_SET_DAMAGED);
}

/* Blocks left out, exchanged, taken from another set, or a bit changed anywhere in them: refused. */
static void changed_blocks(void **state)
{
	struct backup_fixture *b = *state;
	struct built x, other;
	struct set_fence *f;

	build(b, set_b, 5000, &other);
	build(b, set_a, 5000, &x);
	assert_true(x.w.n_fences >= 3);
	f = x.w.fences;
	for (size_t off = f[0].off; off < f[0].off + f[0].len; off += off < 200 ? 1 : 997) {
		x.blocks.buf[off] ^= 4;
		put_pack(&x);
		expect_bad(&x);
		x.blocks.buf[off] ^= 4;
	}
	memcpy(x.blocks.buf + f[1].off, other.blocks.buf + other.w.fences[1].off, f[1].len);
	put_pack(&x);
	expect_bad(&x);
	build_free(&x);

	build(b, set_a, 5000, &x);
	f = x.w.fences;
	struct set_fence first = f[0]; /* its place, and another block's */
	f[0].off = f[1].off;
	f[0].len = f[1].len;
	put_top(&x);
	expect_bad(&x);
	f[0] = first;
	f[0].pack = 1; /* no such pack */
	put_top(&x);
	expect_bad(&x);
	f[0] = first;
	f[0].n--;
	put_top(&x);
	expect_bad(&x);
	f[0] = first;
	f[0].last.sub++;
	put_top(&x);
	expect_bad(&x);
	f[0] = first;
	x.blocks.len--;
	put_top(&x);
	put_pack(&x);
	expect_bad(&x);
	build_free(&x);
	build_free(&other);
}

/* The fences: of another set, cut, or a bit changed anywhere. */
static void changed_top(void **state)
{
	struct backup_fixture *b = *state;
	struct built x, other;
	char path[PATH_MAX], from[PATH_MAX];
	CLEANUP_FREE uint8_t *p = NULL, *q = NULL;

	build(b, set_b, 3000, &other);
	build(b, set_a, 3000, &x);
	object_path(b, set_a, "index", path);
	object_path(b, set_b, "index", from);
	size_t len = read_raw(path, &p);
	assert_int_equal(read_raw(from, &q), len);
	for (size_t off = 0; off < len; off++) {
		flip_raw(path, off, 1);
		expect_bad(&x);
		flip_raw(path, off, 1);
	}
	write_raw(path, q, len);
	expect_bad(&x);
	for (size_t cut = 1; cut <= len; cut = 3 * cut + 1) {
		write_raw(path, p, len - cut);
		expect_bad(&x);
		x.m.index.len = len - cut; /* even when the manifest agrees */
		expect_bad(&x);
		x.m.index.len = len;
	}
	build_free(&x);
	build_free(&other);
}

/* ---- chains ---- */

#define MODEL_IDS 400
#define MODEL_LINKS 20

/* Three sets with names of many folders, some taken away: what a merge yields is what a plain table of the latest says,
 * from any key on. */
static void chain_merges(void **state)
{
	struct backup_fixture *b = *state;
	static const char *const ids[] = {set_a, set_b, set_c};
	static struct set_entry model[MODEL_IDS][MODEL_LINKS];
	static struct built x[3];
	struct set_blocks *cache = set_blocks_new();
	struct set_index *ix[3];
	unsigned seed = 7;

	memset(model, 0, sizeof(model));
	for (unsigned s = 0; s < 3; s++) {
		build_begin(b, ids[s], &x[s]);
		for (unsigned i = 0; i < (s ? 1000u : 6000u); i++) {
			uint64_t id = (unsigned)rand_r(&seed) % MODEL_IDS, link = (unsigned)rand_r(&seed) % MODEL_LINKS;
			struct set_entry e = {.kind = rand_r(&seed) % 3 ? SET_NAME : SET_GONE, .id = id, .link = link,
					      .child = s * 100000 + i};

			if (model[id][link].child >= s * 100000 && model[id][link].kind)
				continue; /* once a set */
			if (e.kind == SET_NAME)
				e.version = i;
			model[id][link] = e;
			assert_int_equal(set_index_add(&x[s].w, &e), 0);
		}
		build_end(&x[s]);
		ix[s] = open_built(&x[s], cache);
	}
	for (uint64_t from = 0; from < MODEL_IDS; from += 37) {
		const struct set_key lo = {.id = from, .class = SET_NAME, .sub = 3},
				     hi = {.id = from + 50, .class = SET_NAME, .sub = UINT64_MAX};
		struct set_entry e, latest[51][MODEL_LINKS];
		struct set_cursor *c;
		uint32_t which, last_which = 0;
		struct set_key last = {0};
		int r;

		memset(latest, 0, sizeof(latest));
		assert_int_equal(set_cursor_open(ix, 3, &lo, &hi, &c), 0);
		while ((r = set_cursor_next(c, &e, &which)) == 1) {
			const struct set_key k = set_entry_key(&e);
			int cmp = set_key_cmp(&last, &k);

			assert_true(cmp < 0 || (cmp == 0 && last_which < which));
			last = k;
			last_which = which;
			latest[e.id - from][e.link] = e;
		}
		assert_int_equal(r, 0);
		set_cursor_close(c);
		for (uint64_t id = from; id <= from + 50 && id < MODEL_IDS; id++)
			for (uint64_t link = id == from ? 3 : 0; link < MODEL_LINKS; link++)
				assert_memory_equal(&latest[id - from][link], &model[id][link], sizeof(e));
	}
	for (unsigned s = 0; s < 3; s++) {
		set_index_close(ix[s]);
		build_free(&x[s]);
	}
	set_blocks_free(cache);
}

/* ---- memory ---- */

static int put_away(void *arg, uint32_t number, const void *plain, size_t len, uint32_t *ret_pack, uint32_t *ret_off,
		    uint32_t *ret_len)
{
	size_t *peak = arg, now = mallinfo2().uordblks + mallinfo2().hblkhd;

	(void)number;
	(void)plain;
	*ret_pack = *ret_off = 0;
	*ret_len = (uint32_t)len + SET_FRAME_LEN + 100;
	if (now > *peak)
		*peak = now;
	return 0;
}

/* The memory that writing and reading an index take does not follow its size: a million entries are 80 MB in memory. */
static void memory_is_bounded(void **state)
{
	struct backup_fixture *b = *state;
	const struct set_key lowest = {0}, highest = {UINT64_MAX, UINT8_MAX, UINT64_MAX};
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, peak = 0;
	struct set_index_writer w = {.put = put_away, .arg = &peak};
	struct set_blocks *cache = set_blocks_new();
	struct set_entry e;
	struct set_cursor *c;
	struct built x;
	uint32_t which;
	size_t n = 0;

	for (uint64_t i = 0; i < 1000000; i++) {
		e = (struct set_entry){.kind = SET_NODE, .id = i * 7919 % 1000003, .version = i};
		assert_int_equal(set_index_add(&w, &e), 0);
	}
	assert_int_equal(set_index_flush(&w), 0);
	assert_true(peak - before < 8u << 20);
	set_index_writer_free(&w);

	build_begin(b, set_a, &x);
	for (uint64_t i = 0; i < 300000; i++) {
		e = (struct set_entry){.kind = SET_NODE, .id = i, .version = i};
		assert_int_equal(set_index_add(&x.w, &e), 0);
	}
	build_end(&x);
	struct set_index *ix = open_built(&x, cache);
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	peak = 0;
	assert_int_equal(set_cursor_open(&ix, 1, &lowest, &highest, &c), 0);
	for (; set_cursor_next(c, &e, &which) == 1; n++)
		if (n % 1000 == 0 && mallinfo2().uordblks + mallinfo2().hblkhd > peak)
			peak = mallinfo2().uordblks + mallinfo2().hblkhd;
	assert_int_equal(n, 300000);
	assert_true(peak - before < 8u << 20);
	set_cursor_close(c);
	set_index_close(ix);
	set_blocks_free(cache);
	build_free(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(comes_back), WITH_REPOSITORY(changed_blocks), WITH_REPOSITORY(changed_top), WITH_REPOSITORY(chain_merges), WITH_REPOSITORY(memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
