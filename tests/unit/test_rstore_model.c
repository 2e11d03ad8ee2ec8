/*
 * The record store against a model in memory: tens of thousands of random operations, after which
 * store, scans and every open snapshot must agree with the model. The seed is printed; give it as
 * argument to run the same again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/rstore_fixture.h"

#define N_KEYS 3000
#define N_OPS 40000
#define N_SNAPS 4

static uint64_t seed;

/* version 0: absent. txn 0: pending. */
struct cell {
	uint32_t version;
	uint64_t txn;
};
struct state {
	struct cell cell[N_KEYS];
};

struct model {
	struct fx f;
	uint64_t rng;
	uint32_t next_version;
	struct state now, durable;
	struct {
		bool open;
		struct rstore_snap snap;
		struct state state;
	} snaps[N_SNAPS];
};

static uint64_t draw(struct model *m, uint64_t below)
{
	m->rng ^= m->rng << 13;
	m->rng ^= m->rng >> 7;
	m->rng ^= m->rng << 17;
	return (m->rng >> 11) % below;
}

/* Keys of several lengths, in another order than their numbers. */
static struct rstore_key key_of(unsigned i)
{
	struct rstore_key k = {.len = (uint8_t)(3 + i % 5), .b = {(uint8_t)(i % 7)}};

	k.b[1] = (uint8_t)(i >> 8);
	k.b[2] = (uint8_t)i;
	return k;
}

static unsigned index_of(const struct rstore_key *k)
{
	return (unsigned)k->b[1] << 8 | k->b[2];
}

/* What version v of record i holds: 4 to 300 bytes. */
static size_t value_of(unsigned i, uint32_t v, uint8_t buf[300])
{
	size_t len = 4 + (i * 31 + v * 17) % 297;

	memset(buf, (int)(i ^ v), len);
	bytes_put32(buf, v);
	return len;
}

static void assert_cell(unsigned i, const struct cell *want, const void *val, size_t len)
{
	uint8_t buf[300];

	assert_int_equal(len, value_of(i, want->version, buf));
	assert_memory_equal(val, buf, len);
}

/* --- comparison --- */

struct walk {
	const struct state *want;
	uint64_t since, coming; /* coming: the number that pending records show */
	bool seen[N_KEYS];
	struct rstore_key last;
	unsigned n;
};

static int visit(void *arg, const struct rstore_key *key, const void *val, size_t len, uint64_t txn)
{
	struct walk *w = arg;
	unsigned i = index_of(key);
	const struct cell *cell = &w->want->cell[i];

	assert_true(i < N_KEYS && !w->seen[i] && cell->version);
	assert_true(!w->n || rstore_key_cmp(&w->last, key) < 0);
	assert_int_equal(txn, cell->txn ? cell->txn : w->coming);
	assert_true(txn > w->since);
	assert_cell(i, cell, val, len);
	w->seen[i] = true;
	w->last = *key;
	w->n++;
	return 0;
}

static void assert_walked(const struct walk *w)
{
	for (unsigned i = 0; i < N_KEYS; i++) {
		const struct cell *cell = &w->want->cell[i];
		bool expected = cell->version && (!cell->txn || cell->txn > w->since);

		assert_int_equal(w->seen[i], expected);
	}
}

static void compare_now(struct model *m)
{
	struct walk w = {.want = &m->now, .coming = rstore_next_txn(m->f.rs)};

	assert_int_equal(rstore_scan(m->f.rs, NULL, NULL, visit, &w), 0);
	assert_walked(&w);
}

/* In pieces of random size, from a random transaction on. */
static void compare_snap(struct model *m, unsigned s)
{
	struct walk w = {.want = &m->snaps[s].state};
	struct rstore_key next = {.len = 1};
	bool more = true;

	if (draw(m, 2))
		w.since = m->snaps[s].state.cell[draw(m, N_KEYS)].txn;
	while (more)
		assert_int_equal(rstore_snap_scan(m->f.rs, &m->snaps[s].snap, w.since, &next, NULL,
						  1 + draw(m, 500), visit, &w, &more, &next),
				 0);
	assert_walked(&w);
}

static void compare_one(struct model *m)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	unsigned i = (unsigned)draw(m, N_KEYS), s = (unsigned)draw(m, N_SNAPS);
	struct rstore_key k = key_of(i);
	const struct cell *cell = &m->now.cell[i];
	int r = rstore_get(m->f.rs, &k, &w, NULL);

	assert_int_equal(r, cell->version ? 0 : -ENOENT);
	if (!r)
		assert_cell(i, cell, w.buf, w.len);
	if (!m->snaps[s].open)
		return;
	cell = &m->snaps[s].state.cell[i];
	bytes_w_reset(&w);
	r = rstore_snap_get(m->f.rs, &m->snaps[s].snap, &k, &w, NULL);
	assert_int_equal(r, cell->version ? 0 : -ENOENT);
	if (!r)
		assert_cell(i, cell, w.buf, w.len);
}

/* --- operations --- */

static void committed(struct model *m)
{
	struct rstore_root root;

	rstore_root_get(m->f.rs, &root);
	for (unsigned i = 0; i < N_KEYS; i++) {
		if (m->now.cell[i].version && !m->now.cell[i].txn)
			m->now.cell[i].txn = root.txn;
	}
	m->durable = m->now;
}

static void write_some(struct model *m)
{
	unsigned from = (unsigned)draw(m, N_KEYS), n = draw(m, 50) ? 1 : (unsigned)draw(m, 600);
	bool remove = draw(m, 5) < 2;

	for (unsigned i = from; i < from + n && i < N_KEYS; i++) {
		struct rstore_key k = key_of(i);
		uint8_t buf[300];

		if (remove) {
			assert_int_equal(rstore_del(m->f.rs, &k), 0);
			m->now.cell[i] = (struct cell){0};
			continue;
		}
		m->now.cell[i] = (struct cell){.version = ++m->next_version};
		assert_int_equal(rstore_put(m->f.rs, &k, buf, value_of(i, m->next_version, buf)),
				 0);
	}
}

static void erase_some(struct model *m)
{
	unsigned a = (unsigned)draw(m, N_KEYS), b = (unsigned)draw(m, N_KEYS);
	struct rstore_key from = key_of(a), to = key_of(b);

	assert_int_equal(rstore_erase_range(m->f.rs, &from, &to, NULL), 0);
	/* What snapshots kept goes with the commit. */
	assert_int_equal(rstore_commit(m->f.rs, NULL), 0);
	for (unsigned i = 0; i < N_KEYS; i++) {
		struct rstore_key k = key_of(i);

		if (rstore_key_cmp(&k, &from) < 0 || rstore_key_cmp(&k, &to) >= 0)
			continue;
		m->now.cell[i] = (struct cell){0};
		for (unsigned s = 0; s < N_SNAPS; s++)
			m->snaps[s].state.cell[i] = (struct cell){0};
	}
	committed(m);
}

static void snap_toggle(struct model *m)
{
	unsigned s = (unsigned)draw(m, N_SNAPS);

	if (m->snaps[s].open) {
		compare_snap(m, s);
		assert_int_equal(rstore_snap_close(m->f.rs, m->snaps[s].snap.id), 0);
		committed(m);
	} else {
		assert_int_equal(rstore_snap_open(m->f.rs, &m->snaps[s].snap), 0);
		committed(m);
		m->snaps[s].state = m->now;
	}
	m->snaps[s].open = !m->snaps[s].open;
}

static void reopen(struct model *m)
{
	struct rstore_root root;

	rstore_root_get(m->f.rs, &root);
	fx_close(&m->f);
	m->f.cfg.cache_bytes = 30000 + draw(m, 400000);
	assert_int_equal(rstore_open(&m->f.cfg, &root, &m->f.rs, NULL), 0);
	m->now = m->durable;
}

static void step(struct model *m)
{
	uint64_t what = draw(m, 1000);

	if (what < 900)
		write_some(m);
	else if (what < 970)
		compare_one(m);
	else if (what < 990) {
		assert_int_equal(rstore_commit(m->f.rs, NULL), 0);
		committed(m);
	} else if (what < 994)
		snap_toggle(m);
	else if (what < 996)
		reopen(m);
	else if (what < 998)
		compare_now(m);
	else if (draw(m, 10) == 0)
		erase_some(m);
}

/* The whole promise at once: the store is what the model says, at every moment that can be asked
 * for. */
static void test_model(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	struct rstore_check c;
	int64_t n = 0;

	(void)state;
	assert_non_null(m);
	m->rng = seed;
	fx_folder(&m->f);
	assert_int_equal(rstore_create(&m->f.cfg, NULL), 0);
	assert_int_equal(rstore_open(&m->f.cfg, NULL, &m->f.rs, NULL), 0);
	for (int i = 0; i < N_OPS; i++)
		step(m);
	compare_now(m);
	for (unsigned s = 0; s < N_SNAPS; s++) {
		if (m->snaps[s].open)
			compare_snap(m, s);
	}
	assert_int_equal(rstore_check(m->f.rs, NULL, NULL, &c), 0);
	assert_int_equal(c.n_bad, 0);
	for (unsigned s = 0; s < N_SNAPS; s++) {
		if (m->snaps[s].open)
			assert_int_equal(rstore_snap_close(m->f.rs, m->snaps[s].snap.id), 0);
	}
	assert_int_equal(rstore_commit(m->f.rs, NULL), 0);
	for (unsigned i = 0; i < N_KEYS; i++)
		n += m->now.cell[i].version != 0;
	assert_int_equal(rstore_check(m->f.rs, NULL, NULL, &c), 0);
	fx_close(&m->f);
	/* No row and no node is left that nothing leads to. */
	assert_int_equal(fx_count(&m->f, "SELECT count(*) FROM rec"), n);
	assert_int_equal(fx_count(&m->f, "SELECT count(*) FROM node"), c.n_nodes);
	fx_remove(&m->f);
	free(m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_model),
	};

	kdf_random(&seed, sizeof(seed));
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 10);
	seed |= !seed;
	printf("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
