/*
 * The trail under attack: whatever is changed in its files, the offline check names the first
 * wrong entry, and a trail that falls behind or contradicts a head held elsewhere does not open.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/keyring_internal.h"
#include "core/merkle.h"
#include "core/trail_internal.h"
#include "tests/unit/trail_fixture.h"

#define N 600u /* two whole bundles, one of 88 */

static struct trail_head head_at(struct fixture *fx, uint64_t from, uint64_t to)
{
	struct trail_head h;

	append_numbers(fx, from, to);
	assert_int_equal(trail_checkpoint(fx->t, &h, NULL), 0);
	assert_int_equal(h.size, to);
	return h;
}

static void assert_wrong_at(struct fixture *fx, uint64_t index, const char *why)
{
	struct trail_verdict v = verify(fx, NULL, 0);

	assert_true(v.damaged);
	if (v.first_wrong != index)
		fail_msg("%llu instead of %llu: %s", (unsigned long long)v.first_wrong,
			 (unsigned long long)index, v.why);
	if (!strstr(v.why, why))
		fail_msg("why: %s", v.why);
}

/* Offset of the entry's length field within its bundle. */
static size_t entry_offset(const struct taken *f, unsigned n)
{
	size_t off = 0;

	while (n--)
		off += 2 + ((size_t)f->buf[off] << 8 | f->buf[off + 1]);
	return off;
}

/* --- entries --- */

/* Any single changed byte of any entry is found, and the entry named. */
static void flipped_byte(void **state)
{
	struct fixture *fx = *state;

	head_at(fx, 0, N);
	struct taken f = take(fx, "tile/entries/001");
	for (unsigned i = 0; i < 256; i += 51) {
		size_t at = entry_offset(&f, i) + 2 + i % 40;
		f.buf[at] ^= 1;
		put(fx, &f, f.buf, f.len);
		assert_wrong_at(fx, 256 + i, "not what its tile");
		f.buf[at] ^= 1;
	}
	put_back(fx, &f);
	assert_sound(fx, N, 0);
}

/* An entry taken out is missed where it was, the very last one too. */
static void removed_entry(void **state)
{
	struct fixture *fx = *state;

	head_at(fx, 0, N);
	struct taken f = take(fx, "tile/entries/001");
	size_t from = entry_offset(&f, 44), to = entry_offset(&f, 45);
	uint8_t *cut = malloc(f.len);
	assert_non_null(cut);
	memcpy(cut, f.buf, from);
	memcpy(cut + from, f.buf + to, f.len - to);
	put(fx, &f, cut, f.len - (to - from));
	assert_wrong_at(fx, 300, "not what its tile");
	/* the last entry of the trail */
	struct taken p = take(fx, "tile/entries/002.p/88");
	put_back(fx, &f);
	put(fx, &p, p.buf, entry_offset(&p, 87));
	assert_wrong_at(fx, 599, "ends within");
	put_back(fx, &p);
	assert_sound(fx, N, 0);
	free(cut);
}

/* Two entries that changed places are found at the first of the places. */
static void swapped_entries(void **state)
{
	struct fixture *fx = *state;

	head_at(fx, 0, N);
	struct taken f = take(fx, "tile/entries/002.p/88");
	size_t a = entry_offset(&f, 10), b = entry_offset(&f, 11), end = entry_offset(&f, 12);
	uint8_t *swapped = malloc(f.len);
	assert_non_null(swapped);
	memcpy(swapped, f.buf, f.len);
	memcpy(swapped + a, f.buf + b, end - b);
	memcpy(swapped + a + (end - b), f.buf + a, b - a);
	put(fx, &f, swapped, f.len);
	assert_wrong_at(fx, 522, "not what its tile");
	put_back(fx, &f);
	assert_sound(fx, N, 0);
	free(swapped);
}

/*
 * A bundle cut short, gone, or with something behind its end names the first entry that is not
 * whole.
 */
static void truncated_bundle(void **state)
{
	struct fixture *fx = *state;

	head_at(fx, 0, N);
	struct taken f = take(fx, "tile/entries/001");
	put(fx, &f, f.buf, entry_offset(&f, 54) + 30);
	assert_wrong_at(fx, 310, "ends within");
	put(fx, &f, f.buf, entry_offset(&f, 54) + 1);
	assert_wrong_at(fx, 310, "ends within");
	put(fx, &f, f.buf, 0);
	assert_wrong_at(fx, 256, "ends within");
	/* and one that goes on */
	uint8_t *longer = calloc(1, f.len + 1);
	assert_non_null(longer);
	memcpy(longer, f.buf, f.len);
	put(fx, &f, longer, f.len + 1);
	assert_wrong_at(fx, 511, "goes on");
	assert_int_equal(unlinkat(fx->store_fd, "trail/tile/entries/001", 0), 0);
	assert_wrong_at(fx, 256, "tile/entries/001 is missing");
	put_back(fx, &f);
	assert_sound(fx, N, 0);
	free(longer);
}

/* --- tiles --- */

/* A tile that is gone or cut short is named by the first entry under it. */
static void removed_tile(void **state)
{
	struct fixture *fx = *state;
	static const struct {
		const char *name;
		uint64_t index;
	} tile[] = {{"tile/0/000", 0},
		    {"tile/0/001", 256},
		    {"tile/0/002.p/88", 512},
		    {"tile/1/000.p/2", 0}};

	head_at(fx, 0, N);
	for (size_t i = 0; i < 4; i++) {
		struct taken f = take(fx, tile[i].name);
		assert_int_equal(unlinkat(fx->store_fd, f.path, 0), 0);
		assert_wrong_at(fx, tile[i].index, "is missing");
		put(fx, &f, f.buf, f.len - 1);
		assert_wrong_at(fx, tile[i].index, "is malformed");
		put_back(fx, &f);
	}
	assert_sound(fx, N, 0);
}

/* A changed hash of a tile is found at the entry, or the subtree, that it stood for. */
static void changed_tile(void **state)
{
	struct fixture *fx = *state;

	head_at(fx, 0, N);
	struct taken f = take(fx, "tile/0/001");
	f.buf[70 * 32 + 5] ^= 0x80;
	put(fx, &f, f.buf, f.len);
	assert_wrong_at(fx, 256 + 70, "not what its tile");
	f.buf[70 * 32 + 5] ^= 0x80;
	put_back(fx, &f);
	f = take(fx, "tile/1/000.p/2");
	f.buf[32] ^= 1;
	put(fx, &f, f.buf, f.len);
	assert_wrong_at(fx, 256, "level 1");
	/* which opening notices too, because the root is made of it */
	assert_int_not_equal(reopen(fx), 0);
	assert_int_equal(fx->d.id, DIAG_TRAIL_DAMAGED);
	f.buf[32] ^= 1;
	put_back(fx, &f);
	assert_sound(fx, N, 0);
}

/* Entry and tile changed together still do not make the signed root. */
static void changed_entry_and_tile(void **state)
{
	struct fixture *fx = *state;

	struct trail_head early = head_at(fx, 0, 520);
	head_at(fx, 520, N);
	struct taken f = take(fx, "tile/entries/002.p/88"), tile = take(fx, "tile/0/002.p/88");
	size_t at = entry_offset(&f, 30);
	f.buf[at + 2] ^= 1;
	merkle_leaf(tile.buf + 30 * 32, f.buf + at + 2, entry_offset(&f, 31) - at - 2);
	put_back(fx, &f);
	put_back(fx, &tile);
	assert_wrong_at(fx, 0, "root");
	/* an agreeing earlier head narrows it down */
	struct trail_verdict v = verify(fx, &early, 1);
	assert_true(v.damaged);
	assert_int_equal(v.first_wrong, 520);
}

/* --- checkpoints and heads --- */

/*
 * No byte of a checkpoint can be changed; an agreeing earlier head tells how far the trail is
 * still good.
 */
static void edited_checkpoint(void **state)
{
	struct fixture *fx = *state;

	struct trail_head early = head_at(fx, 0, 100);
	head_at(fx, 100, N);
	struct taken f = take(fx, "checkpoint");
	/* every byte in turn */
	for (size_t i = 0; i < f.len; i++) {
		f.buf[i] ^= 1;
		put(fx, &f, f.buf, f.len);
		struct trail_verdict v = verify(fx, &early, 1);
		assert_true(v.damaged);
		assert_true(v.first_wrong == 100 || v.first_wrong == 0);
		f.buf[i] ^= 1;
	}
	/* the root: the size is still believed for looking, and the earlier head holds */
	char *root = strchr(strchr((char *)f.buf, '\n') + 1, '\n') + 1;
	*root = *root == 'A' ? 'B' : 'A';
	put(fx, &f, f.buf, f.len);
	assert_int_equal(verify(fx, &early, 1).first_wrong, 100);
	put(fx, &f, f.buf, f.len / 2);
	assert_wrong_at(fx, 0, "checkpoint is malformed");
	assert_int_not_equal(reopen(fx), 0);
	assert_int_equal(fx->d.id, DIAG_TRAIL_DAMAGED);
	assert_int_equal(unlinkat(fx->store_fd, f.path, 0), 0);
	assert_wrong_at(fx, 0, "checkpoint is missing");
	free(f.buf);
}

/* A signature by another volume's key is none. */
static void foreign_key(void **state)
{
	struct fixture *fx = *state;
	struct trail_verdict v;
	uint8_t pk[32], seed[32] = {9};

	head_at(fx, 0, 10);
	identity_sign_pk_from_seed(seed, pk);
	assert_int_equal(trail_verify(fx->store_fd, fx->volume_id, pk, NULL, 0, &v, &fx->d), 0);
	assert_true(v.damaged);
	assert_non_null(strstr(v.why, "not signed"));
	seed[0] = 8;
	assert_int_equal(trail_verify(fx->store_fd, seed, fx->sign_pk, NULL, 0, &v, &fx->d), 0);
	assert_true(v.damaged);
}

/* Any earlier head of the same tree agrees, at every boundary, given in any order. */
static void honest_heads_agree(void **state)
{
	struct fixture *fx = *state;
	static const uint64_t size[] = {1, 2, 100, 255, 256, 257, 511, 512, 513, 599, N};
	struct trail_head h[11], none = {0};

	for (size_t i = 0; i < 11; i++)
		h[10 - i] = head_at(fx, i ? size[i - 1] : 0, size[i]);
	append_numbers(fx, N, N + 1);
	struct trail_verdict v = verify(fx, h, 11);
	if (v.damaged)
		fail_msg("entry %llu: %s", (unsigned long long)v.first_wrong, v.why);
	assert_int_equal(v.n_tail, 1);
	for (size_t i = 0; i < 11; i++)
		assert_int_equal(reopen_anchored(fx, &h[i]), 0);
	assert_int_equal(reopen_anchored(fx, &none), 0);
}

/* An older copy of the whole trail is perfect in itself; a head held elsewhere gives it away. */
static void older_copy(void **state)
{
	struct fixture *fx = *state;

	struct trail_head h[2] = {head_at(fx, 0, 300)};
	keep(fx, "old");
	h[1] = head_at(fx, 300, N);
	put_kept(fx, "old");
	assert_sound(fx, 300, 0);
	struct trail_verdict v = verify(fx, h, 2);
	assert_true(v.damaged);
	assert_int_equal(v.first_wrong, 300);
	assert_int_equal(reopen_anchored(fx, &h[1]), -EUCLEAN);
	assert_int_equal(fx->d.id, DIAG_TRAIL_DAMAGED);
	assert_string_equal(fx->d.object, "trail: 300 entries, the anchor knows of 600");
	assert_int_equal(reopen_anchored(fx, &h[0]), 0);
	/* an older checkpoint alone over the newer tiles */
	head_at(fx, 300, 310);
	struct taken f = take(fx, "checkpoint");
	head_at(fx, 310, 320);
	put_back(fx, &f);
	v = verify(fx, h, 1);
	assert_true(v.damaged);
}

/* Who opens the trail without a head of his own is held to the anchor's all the same. */
static void anchor_is_heeded(void **state)
{
	struct fixture *fx = *state;
	struct anchor_state *at = fx->kr->at, before = *at;

	struct trail_head h[2] = {head_at(fx, 0, 300)};
	keep(fx, "old");
	h[1] = head_at(fx, 300, N);
	at->trail_size = h[1].size;
	memcpy(at->trail_root, h[1].root, sizeof(at->trail_root));
	assert_int_equal(reopen(fx), 0);
	put_kept(fx, "old");
	assert_int_equal(reopen(fx), -EUCLEAN);
	assert_int_equal(fx->d.id, DIAG_TRAIL_DAMAGED);
	assert_int_equal(reopen_anchored(fx, &h[0]), -EUCLEAN);
	/* As long, but another. */
	at->trail_size = h[0].size;
	assert_int_equal(reopen(fx), -EUCLEAN);
	memcpy(at->trail_root, h[0].root, sizeof(at->trail_root));
	assert_int_equal(reopen(fx), 0);
	*at = before;
}

/* A history signed by the volume itself, but forked from the one that was witnessed. */
static void forked_copy(void **state)
{
	struct fixture *fx = *state;
	struct trail_head h[3];

	h[0] = head_at(fx, 0, 300);
	keep(fx, "fork");
	h[1] = head_at(fx, 300, 310);
	h[2] = head_at(fx, 310, N);
	put_kept(fx, "fork");
	assert_int_equal(reopen(fx), 0);
	head_at(fx, 300, N + 100);
	struct trail_verdict v = verify(fx, h, 3);
	assert_true(v.damaged);
	assert_int_equal(v.first_wrong, 300);
	assert_int_equal(reopen_anchored(fx, &h[0]), 0);
	assert_int_equal(reopen_anchored(fx, &h[1]), -EUCLEAN);
	assert_int_equal(reopen_anchored(fx, &h[2]), -EUCLEAN);
	assert_int_equal(fx->d.id, DIAG_TRAIL_DAMAGED);
}

/* A tile made to fit the anchored head does not fit the tree above it. */
static void forged_tile_for_the_anchor(void **state)
{
	struct fixture *fx = *state;

	struct trail_head real = head_at(fx, 0, 100);
	keep(fx, "real");
	/* the fork starts anew */
	trail_close(fx->t);
	fx->t = NULL;
	remove_tree(fx->store_fd, "trail");
	assert_int_equal(trail_create(fx->store_fd, fx->kr, &fx->d), 0);
	assert_int_equal(reopen(fx), 0);
	head_at(fx, 0, 300);
	assert_int_equal(reopen_anchored(fx, &real), -EUCLEAN);
	struct taken f = take(fx, "tile/0/000");
	int fd = openat(fx->store_fd, "real/trail/tile/0/000.p/100", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, f.buf, 100 * 32), 100 * 32);
	close(fd);
	put_back(fx, &f);
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(reopen_anchored(fx, &real), -EUCLEAN);
	assert_int_equal(fx->d.id, DIAG_TRAIL_DAMAGED);
}

/* --- the tail --- */

/* Seven entries, five of them after the checkpoint, each synced; their frames' offsets. */
static struct taken synced_tail(struct fixture *fx, size_t off[6])
{
	head_at(fx, 0, 2);
	for (uint64_t i = 2; i < 7; i++) {
		struct trail_event ev = numbered(i);
		assert_int_equal(trail_append(fx->t, &ev, true), 0);
	}
	struct taken f = take(fx, "tail");
	off[0] = 0;
	for (size_t i = 0; i < 5; i++)
		off[i + 1] = off[i] + TRAIL_FRAME_HEAD + bytes_get32(f.buf + off[i]);
	assert_int_equal(off[5], f.len);
	keep(fx, "kept");
	return f;
}

static void assert_tail_refused(struct fixture *fx, const struct taken *f, const uint8_t *p,
				size_t len, uint64_t index)
{
	char object[64];

	put_kept(fx, "kept");
	put(fx, f, p, len);
	assert_wrong_at(fx, index, "tail");
	assert_int_equal(reopen(fx), -EUCLEAN);
	assert_int_equal(fx->d.id, DIAG_TRAIL_DAMAGED);
	snprintf(object, sizeof(object), "trail entry %llu", (unsigned long long)index);
	assert_string_equal(fx->d.object, object);
}

/* A changed byte anywhere in a synced frame that others follow is damage, never a torn end. */
static void damaged_frame(void **state)
{
	struct fixture *fx = *state;
	size_t off[6];
	struct taken f = synced_tail(fx, off);

	for (size_t at = off[1]; at < off[2]; at++) {
		f.buf[at] ^= 0x10;
		assert_tail_refused(fx, &f, f.buf, f.len, 3);
		f.buf[at] ^= 0x10;
	}
	put_kept(fx, "kept");
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(read_numbers(fx, 0), 7);
	free(f.buf);
}

/* Frames removed, swapped or repeated break the sequence. */
static void frames_out_of_order(void **state)
{
	struct fixture *fx = *state;
	size_t off[6], n;
	struct taken f = synced_tail(fx, off);
	uint8_t *p = malloc(2 * f.len);

	assert_non_null(p);
	/* the first removed, and one in the middle */
	assert_tail_refused(fx, &f, f.buf + off[1], f.len - off[1], 2);
	memcpy(p, f.buf, off[2]);
	memcpy(p + off[2], f.buf + off[3], f.len - off[3]);
	assert_tail_refused(fx, &f, p, f.len - (off[3] - off[2]), 4);
	/* swapped */
	n = off[3] - off[2];
	memcpy(p, f.buf, f.len);
	memcpy(p + off[1], f.buf + off[2], n);
	memcpy(p + off[1] + n, f.buf + off[1], off[2] - off[1]);
	assert_tail_refused(fx, &f, p, f.len, 3);
	/* repeated at the end */
	memcpy(p, f.buf, f.len);
	memcpy(p + f.len, f.buf + off[4], f.len - off[4]);
	assert_tail_refused(fx, &f, p, 2 * f.len - off[4], 7);
	free(p);
	free(f.buf);
}

/*
 * Frames renumbered by someone who knows the format: no key, so they open nowhere but at their
 * places.
 */
static void renumbered_frames(void **state)
{
	struct fixture *fx = *state;
	size_t off[6];
	struct taken f = synced_tail(fx, off);
	struct trail_frame a, b;
	struct bytes_w w CLEANUP_BYTES = {0};

	assert_true(trail_frame_get(f.buf + off[1], f.len - off[1], &a) > 0);
	assert_true(trail_frame_get(f.buf + off[2], f.len - off[2], &b) > 0);
	bytes_w_raw(&w, f.buf, off[1]);
	b.index = 3;
	b.synced = 3;
	trail_frame_put(&w, &b);
	a.index = 4;
	trail_frame_put(&w, &a);
	bytes_w_raw(&w, f.buf + off[3], f.len - off[3]);
	assert_int_equal(w.err, 0);
	put_kept(fx, "kept");
	put(fx, &f, w.buf, w.len);
	assert_int_equal(reopen(fx), -EBADMSG);
	assert_int_equal(fx->d.id, DIAG_TRAIL_DAMAGED);
	assert_string_equal(fx->d.object, "trail entry 3");
	free(f.buf);
}

/* The tail file itself may be empty, never missing. */
static void removed_tail(void **state)
{
	struct fixture *fx = *state;

	head_at(fx, 0, 2);
	trail_close(fx->t);
	fx->t = NULL;
	assert_int_equal(unlinkat(fx->store_fd, "trail/tail", 0), 0);
	assert_wrong_at(fx, 2, "tail is missing");
	assert_int_equal(reopen(fx), -EUCLEAN);
	remove_tree(fx->store_fd, "trail");
	assert_wrong_at(fx, 0, "folder is missing");
	assert_int_equal(reopen(fx), -EUCLEAN);
}

/* --- reading with keys --- */

static int ignore(uint64_t index, const struct trail_event *ev, void *arg)
{
	(void)ev;
	*(uint64_t *)arg = index;
	return 0;
}

/*
 * A reader gets the entries before the damage and an error, never a changed entry or another
 * one's.
 */
static void read_stops_at_damage(void **state)
{
	struct fixture *fx = *state;
	uint64_t last = 0;

	head_at(fx, 0, N);
	struct taken f = take(fx, "tile/entries/001");
	f.buf[entry_offset(&f, 44) + 2 + 50] ^= 4;
	put_back(fx, &f);
	assert_int_equal(trail_read(fx->t, 0, ignore, &last, &fx->d), -EBADMSG);
	assert_int_equal(fx->d.id, DIAG_TRAIL_DAMAGED);
	assert_string_equal(fx->d.object, "trail entry 300");
	assert_int_equal(last, 299);
}

#define TRAIL_TEST(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TRAIL_TEST(flipped_byte),
	    TRAIL_TEST(removed_entry),
	    TRAIL_TEST(swapped_entries),
	    TRAIL_TEST(truncated_bundle),
	    TRAIL_TEST(removed_tile),
	    TRAIL_TEST(changed_tile),
	    TRAIL_TEST(changed_entry_and_tile),
	    TRAIL_TEST(edited_checkpoint),
	    TRAIL_TEST(foreign_key),
	    TRAIL_TEST(honest_heads_agree),
	    TRAIL_TEST(older_copy),
	    TRAIL_TEST(anchor_is_heeded),
	    TRAIL_TEST(forked_copy),
	    TRAIL_TEST(forged_tile_for_the_anchor),
	    TRAIL_TEST(damaged_frame),
	    TRAIL_TEST(frames_out_of_order),
	    TRAIL_TEST(renumbered_frames),
	    TRAIL_TEST(removed_tail),
	    TRAIL_TEST(read_stops_at_damage),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
