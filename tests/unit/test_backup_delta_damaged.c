/* What is wrong with a delta is noticed before a byte of it counts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/set_delta.h"
#include "backup/set_writer.h"
#include "tests/unit/delta_fixture.h"

/* A byte of the basis, the delta or the signature is another. */
static void damage_is_noticed(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(1, MIB), got = {0};
	char path[PATH_MAX];
	struct set_catalog c;

	save(b->fx->v, "document", &t);
	back_up_only(b, false);
	edit(&t, 5, 0, 2, KIB);
	save(b->fx->v, "document", &t);
	back_up_only(b, false);
	load(b, &c);
	struct set_entry e = deltas(b).last;
	object_path(b, c.sets[1].id, "pack-00000", path);
	flip_raw(path, e.off + e.len / 2, 1);
	assert_int_equal(content(b, 1, "document", &got), -EBADMSG);
	flip_raw(path, e.off + e.len / 2, 1);
	free(got.p);
	object_path(b, c.sets[0].id, "pack-00000", path);
	flip_raw(path, MIB / 2, 1); /* the one large record of the first set */
	assert_int_equal(content(b, 1, "document", &got), -EBADMSG);
	set_catalog_free(&c);
	free(got.p);
	free(t.p);
}

/* Sets made by hand, as only a broken writer would make them. */
struct crafted {
	uint64_t as_of;  /* what the index says */
	uint64_t inside; /* what the record says */
	uint64_t basis;
	bool right; /* what it makes has the digest it states */
	bool whole; /* the commands make what the file needs */
};

static void put(struct set_writer *w, struct set_entry e, uint64_t basis, struct bytes_w *body)
{
	e.version = e.version ? e.version : 5;
	assert_int_equal(set_writer_record(w, &e, basis, body->buf, body->len), 0);
	bytes_w_reset(body);
}

static void put_file(struct set_writer *w, uint64_t id, struct bytes_w *body)
{
	const struct set_node n = {.attr = {.mode = S_IFREG | 0644,
					    .nlink = 1,
					    .size = MAP_BLOCK,
					    .uid = geteuid(),
					    .gid = getegid()},
				   .in_blocks = true,
				   .n_mapped = 1};

	set_node_encode(&n, body);
	put(w, (struct set_entry){.kind = SET_NODE, .id = id}, 0, body);
}

static void put_crafted_delta(struct set_writer *w, const struct crafted *x, const uint8_t *block,
			      struct bytes_w *body)
{
	CLEANUP_BYTES struct bytes_w ops = {0}, sums = {0};
	struct set_delta d = {.block_log = 12, .n_blocks = 1, .as_of = x->inside};

	memset(d.what, SET_BLOCK_HOLE, sizeof(d.what));
	d.what[0] = SET_BLOCK_DATA;
	set_delta_put_copy(&ops, 0, x->whole ? MAP_BLOCK : MAP_BLOCK - 1);
	d.ops = ops.buf;
	d.ops_len = ops.len;
	assert_int_equal(delta_sums(block, MAP_BLOCK, 12, &sums), 0);
	set_delta_check(sums.buf, sums.len, d.check);
	d.check[3] ^= !x->right;
	set_delta_encode(&d, body);
	put(w,
	    (struct set_entry){.kind = SET_DATA,
			       .flags = SET_DELTA,
			       .id = 101,
			       .basis = x->basis,
			       .as_of = x->as_of,
			       .version = 8},
	    x->basis, body);
}

static int restored_of(struct backup_fixture *b, const struct crafted *x)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	CLEANUP_FREE uint8_t *block = noise(33, MAP_BLOCK), *buf = malloc(SET_RANGE);
	struct set_manifest m = {.full = true,
				 .tiers = "daily",
				 .timeline = 1,
				 .to_txn = 9,
				 .time = 1000},
			    done;
	uint8_t what[SET_RANGE_BLOCKS];
	struct set_writer *w;
	struct set_catalog c;
	struct setview *sv;
	struct view_data it;
	uint64_t range;

	memcpy(m.volume_id, keyring_volume_id(keys(b)), 16);
	assert_int_equal(set_writer_new(b->repo, keys(b), &m, &w), 0);
	put_file(w, 100, &body);
	put_file(w, 101, &body);
	memset(what, SET_BLOCK_HOLE, sizeof(what));
	what[0] = SET_BLOCK_DATA;
	set_data_encode_runs(what, &body);
	bytes_w_raw(&body, block, MAP_BLOCK);
	put(w, (struct set_entry){.kind = SET_DATA, .id = 100}, 0, &body);
	put_crafted_delta(w, x, block, &body);
	assert_int_equal(set_writer_finish(w, keyring_sign_seed(keys(b)), &done), 0);
	set_writer_free(w);
	load(b, &c);
	assert_int_equal(setview_open(b->repo, keys(b), &c, c.n_sets - 1, &sv, &b->d), 0);
	assert_int_equal(view_data_open(sv, 101, &it), 0);
	int r = view_data_next(&it, &range, what, buf);
	if (r == 1)
		assert_memory_equal(buf, block, MAP_BLOCK);
	view_data_close(&it);
	setview_close(sv);
	set_catalog_free(&c);
	set_remove(b->repo, done.id);
	set_manifest_free(&done);
	return r;
}

static void what_does_not_make_what_it_says_is_damage(void **state)
{
	struct backup_fixture *b = *state;
	const struct crafted good = {5, 5, 100, true, true};
	struct crafted x = good;

	assert_int_equal(restored_of(b, &good), 1);
	x.right = false; /* other content than was saved */
	assert_int_equal(restored_of(b, &x), -EBADMSG);
	x = good;
	x.whole = false;
	assert_int_equal(restored_of(b, &x), -EBADMSG);
	x = good;
	x.inside = 6; /* the index and the record disagree */
	assert_int_equal(restored_of(b, &x), -EBADMSG);
	x = good;
	x.as_of = x.inside = 4; /* the basis is not that old: zeros are not what was saved */
	assert_int_equal(restored_of(b, &x), -EBADMSG);
	x = good;
	x.as_of = x.inside = 8; /* made from what is not older */
	assert_int_equal(restored_of(b, &x), -EBADMSG);
	x.basis = 101; /* from itself */
	assert_int_equal(restored_of(b, &x), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(damage_is_noticed),
	    WITH_REPOSITORY(what_does_not_make_what_it_says_is_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
