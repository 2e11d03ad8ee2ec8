/* The pipeline from record bodies to packs: nothing is lost or mixed up in it, and it ends whatever fails. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/pack_put.h"
#include "backup/repo_internal.h"
#include "backup/set_index.h"
#include "tests/unit/backup_fixture.h"

static const char id[] = "20261128T091500Z-1a2b3c4d";

struct run {
	struct backup_fixture *b;
	struct pack_writer *p;
	struct pack_sealed *v; /* collected */
	size_t n;
	uint64_t seed;
};

static struct set_entry entry(uint64_t i)
{
	return (struct set_entry){.kind = SET_DATA, .id = 100 + i, .range = i % 1000, .version = i};
}

static size_t size_of(uint64_t i)
{
	return i % 7 == 0 ? SET_RANGE : (i * 2654435761u) % 9000;
}

static void begin(struct backup_fixture *b, struct throttle *t, struct run *r)
{
	struct set_manifest m = {0};

	strcpy(m.id, id);
	*r = (struct run){.b = b};
	assert_int_equal(pack_writer_new(b->repo, keys(b), &m, t, &r->p), 0);
}

static int collect(struct run *r)
{
	struct pack_sealed *v;
	size_t n;
	int err = pack_writer_sealed(r->p, &v, &n);

	r->v = realloc(r->v, (r->n + n + 1) * sizeof(*v));
	assert_non_null(r->v);
	if (n)
		memcpy(r->v + r->n, v, n * sizeof(*v));
	r->n += n;
	free(v);
	return err;
}

static int add(struct run *r, uint64_t i)
{
	CLEANUP_FREE uint8_t *p = noise(i, size_of(i));
	const struct set_entry e = entry(i);
	int err = pack_writer_add(r->p, &e, 0, p, size_of(i));

	return err ? err : collect(r);
}

static void end(struct run *r)
{
	pack_writer_free(r->p);
	free(r->v);
}

#define N 400 /* 60 MB and more: several packs, and sealers that run */

/* Every record is in the place that was told, in packs of at most their size, and opens to what was added. */
static void everything_comes_back(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m = {0};
	static bool seen[N];
	struct run r;

	memset(seen, 0, sizeof(seen));
	begin(b, NULL, &r);
	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(add(&r, i), 0);
	assert_int_equal(pack_writer_flush(r.p), 0);
	assert_int_equal(collect(&r), 0);
	assert_int_equal(r.n, N);
	strcpy(m.id, id);
	m.packs = (struct set_pack *)pack_writer_packs(r.p, &m.n_packs);
	assert_true(m.n_packs >= 4);
	for (size_t i = 0; i < m.n_packs; i++) {
		char name[SET_NAME_LEN];
		uint64_t size;

		set_object_pack(id, (uint32_t)i, name);
		assert_int_equal(repo_size(b->repo, name, &size), 0);
		assert_int_equal(size, m.packs[i].len);
		assert_true(size > 0 && size <= SET_PACK_MAX);
	}
	for (size_t i = 0; i < N; i++) {
		CLEANUP_BYTES struct bytes_w out = {0};
		uint64_t which = r.v[i].e.id - 100;
		CLEANUP_FREE uint8_t *p = noise(which, size_of(which));

		assert_false(seen[which]);
		seen[which] = true;
		assert_int_equal(set_record_read(b->repo, keys(b), &m, &r.v[i].e, &out), 0);
		assert_int_equal(out.len, size_of(which));
		assert_memory_equal(out.buf, p, out.len);
		assert_int_equal(r.v[i].len, out.len);
	}
	end(&r);
}

/* What an order destroys while the pipeline runs is not told of, and hinders nothing. */
static void destroyed_meanwhile(void **state)
{
	struct backup_fixture *b = *state;
	struct run r;

	begin(b, NULL, &r);
	assert_int_equal(add(&r, 1), 0);
	puncture(b, KEYRING_BOTH, 102, "D-1");
	assert_int_equal(add(&r, 2), 0);
	assert_int_equal(add(&r, 3), 0);
	assert_int_equal(pack_writer_flush(r.p), 0);
	assert_int_equal(collect(&r), 0);
	for (size_t i = 0; i < r.n; i++)
		assert_int_not_equal(r.v[i].e.id, 102);
	assert_int_equal(r.n, 2);
	end(&r);
}

static const struct repo_ops *honest;
static unsigned n_left;

static int failing_put(void *self, const char *name, const void *p, size_t len, bool exclusive)
{
	return n_left-- == 0 ? -ENOSPC : honest->put(self, name, p, len, exclusive);
}

static int lying_read(void *self, const char *name, uint64_t off, void *p, size_t len)
{
	int err = honest->read(self, name, off, p, len);

	if (err == 0 && n_left-- == 0)
		((uint8_t *)p)[len / 2] ^= 1;
	return err;
}

/* Whichever pack cannot be put, or does not come back as it was: that error, and every later call says it again. */
static void failures_stay(void **state)
{
	struct backup_fixture *b = *state;
	struct repo_ops ops = *b->repo->ops;

	honest = b->repo->ops;
	for (unsigned i = 0; i < 6; i++) {
		struct run r;
		int err = 0, expected = i % 2 ? -EIO : -ENOSPC;

		ops.put = i % 2 ? honest->put : failing_put;
		ops.read = i % 2 ? lying_read : honest->read;
		n_left = i % 2 ? i * 8 : i / 2;
		b->repo->ops = &ops;
		begin(b, NULL, &r);
		for (uint64_t k = 0; k < N && err == 0; k++)
			err = add(&r, k);
		if (err == 0)
			err = pack_writer_flush(r.p);
		assert_int_equal(err, expected);
		assert_int_equal(add(&r, 1), expected);
		assert_int_equal(pack_writer_flush(r.p), expected);
		end(&r);
		b->repo->ops = honest;
		assert_int_equal(set_remove(b->repo, id), 0);
	}
}

/* Given up in the middle: no thread is left behind, nothing waits for ever. */
static void given_up(void **state)
{
	struct backup_fixture *b = *state;

	for (uint64_t stop = 0; stop < 120; stop += 17) {
		struct run r;

		begin(b, NULL, &r);
		for (uint64_t i = 0; i < stop; i++)
			assert_int_equal(add(&r, i), 0);
		end(&r);
		assert_int_equal(set_remove(b->repo, id), 0);
	}
}

/* A pack whose bytes come back as they were put, but in which a record does not open, does not count. */
static void records_are_opened(void **state)
{
	struct backup_fixture *b = *state;
	struct set_entry e = entry(1);
	struct bytes_w pack = {0};
	struct set_pack p;
	size_t second;

	for (unsigned how = 0; how < 5; how++) {
		bytes_w_reset(&pack);
		assert_int_equal(set_record_seal(keys(b), &e, 0, "something", 9, &pack), 0);
		second = pack.len;
		assert_int_equal(set_index_block_seal(keys(b), id, 7, "entries", 7, &pack), 0);
		if (how == 1)
			pack.buf[SET_FRAME_LEN + 30] ^= 1;
		if (how == 2)
			pack.buf[16] ^= 1; /* the id: another key */
		if (how == 3)
			pack.buf[second + SET_FRAME_LEN + 30] ^= 1;
		if (how == 4)
			pack.len--;
		assert_int_equal(pack_put(b->repo, keys(b), id, how, &pack, NULL, &p), how ? -EIO : 0);
	}
	bytes_w_free(&pack);
}

/* The bucket: what is asked for in all takes bytes / rate, whatever the pieces; what was not used is lost but for a
 * quarter of a second. */
static void rate(void **state)
{
	const uint64_t second = 1000000000u;
	uint64_t free_at = 0, now = 100 * second, due = now;
	(void)state;

	for (unsigned i = 0; i < 1000; i++)
		due = throttle_due(1000000, due, 10000, &free_at);
	assert_true(due >= now + 9 * second + second / 2 && due <= now + 10 * second);
	now = due + 3600 * second; /* an hour of nothing */
	assert_int_equal(throttle_due(1000000, now, 250000, &free_at), now);
	assert_int_equal(throttle_due(1000000, now, 500000, &free_at), now + second / 2);
}

/* No limit and a limit that is taken back wait for nothing. */
static void rate_ends(void **state)
{
	struct throttle none, slow;
	(void)state;

	throttle_wait(NULL, SIZE_MAX / 2);
	throttle_init(&none, 0);
	throttle_wait(&none, SIZE_MAX / 2);
	throttle_destroy(&none);
	throttle_init(&slow, 1);
	throttle_stop(&slow);
	throttle_wait(&slow, 1u << 30);
	throttle_destroy(&slow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(everything_comes_back), WITH_REPOSITORY(destroyed_meanwhile), WITH_REPOSITORY(failures_stay),	 WITH_REPOSITORY(given_up),
	    WITH_REPOSITORY(records_are_opened),	 cmocka_unit_test(rate),    cmocka_unit_test(rate_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
