/*
 * Files that programs write anew and rename over the old one: a set stores what changed, every set
 * restores its own version, and what is wrong with a delta is noticed before a byte of it counts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/set_delta.h"
#include "backup/hold.h"
#include "backup/set_writer.h"
#include "backup/setview_internal.h"
#include "backup/survivors.h"
#include "tests/unit/backup_tree.h"

#define KIB 1024u
#define MIB (1024u * KIB)

/* What the file at hand holds. */
struct text {
	uint8_t *p;
	size_t len;
};

static struct text text_of(uint64_t seed, size_t len)
{
	return (struct text){noise(seed, len), len};
}

/* len bytes of other noise at off, in the place of old_len that go. */
static void edit(struct text *t, size_t off, size_t old_len, uint64_t seed, size_t len)
{
	CLEANUP_FREE uint8_t *more = noise(seed, len);
	size_t now = t->len - old_len + len;
	uint8_t *p = malloc(now + 1);

	assert_non_null(p);
	memcpy(p, t->p, off);
	memcpy(p + off, more, len);
	memcpy(p + off + len, t->p + off + old_len, t->len - off - old_len);
	free(t->p);
	*t = (struct text){p, now};
}

static struct text copy_of(const struct text *t)
{
	struct text c = {malloc(t->len + 1), t->len};

	assert_non_null(c.p);
	memcpy(c.p, t->p, t->len);
	return c;
}

/* As an editor saves: a new file, renamed over the old one. */
static uint64_t save(struct volume *v, const char *name, const struct text *t)
{
	uint64_t id = make(v, VOLUME_ROOT_ID, "saving~", S_IFREG | 0644);

	if (t->len)
		write_at(v, id, t->p, t->len, 0);
	assert_int_equal(volume_rename(v, VOLUME_ROOT_ID, "saving~", VOLUME_ROOT_ID, name, 0), 0);
	return id;
}

/* Bytes in the packs that a run made. */
static uint64_t back_up_size(struct backup_fixture *b, bool full)
{
	struct set_manifest m;
	struct backup_verdict v;
	uint64_t n = 0;

	back_up(b, full, &m);
	for (size_t i = 0; i < m.n_packs; i++)
		n += m.packs[i].len;
	assert_int_equal(backup_verify(b->repo, keys(b), &m, &v, &b->d), 0);
	assert_int_equal(v.n_bad, 0);
	set_manifest_free(&m);
	return n;
}

/* The content of a file in a set: 0, or why not. */
static int content(struct backup_fixture *b, size_t set, const char *path, struct text *ret)
{
	CLEANUP_FREE uint8_t *buf = malloc(SET_RANGE);
	uint8_t what[SET_RANGE_BLOCKS];
	struct set_catalog c;
	struct setview *sv;
	struct view_data it;
	struct volume_attr a;
	uint64_t id, range;
	int more;

	load(b, &c);
	assert_int_equal(setview_open(b->repo, keys(b), &c, set, &sv, &b->d), 0);
	assert_int_equal(setview_resolve(sv, path, &id, &b->d), 0);
	assert_int_equal(setview_attr(sv, id, &a), 0);
	ret->len = a.size;
	ret->p = calloc(1, a.size / SET_RANGE * SET_RANGE + SET_RANGE);
	assert_int_equal(view_data_open(sv, id, &it), 0);
	while ((more = view_data_next(&it, &range, what, buf)) > 0)
		for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
			if (what[i] == SET_BLOCK_DATA && range * SET_RANGE < a.size)
				memcpy(ret->p + range * SET_RANGE + i * MAP_BLOCK,
				       buf + i * MAP_BLOCK, MAP_BLOCK);
	view_data_close(&it);
	setview_close(sv);
	set_catalog_free(&c);
	return more;
}

static void expect_version(struct backup_fixture *b, size_t set, const char *path,
			   const struct text *want)
{
	struct text got = {0};

	assert_int_equal(content(b, set, path, &got), 0);
	assert_int_equal(got.len, want->len);
	assert_true(memcmp(got.p, want->p, want->len) == 0);
	free(got.p);
}

/* How many entries of the newest set are deltas; and the last of them. */
struct counting {
	size_t n;
	struct set_entry last;
};

static int count_delta(void *arg, const struct set_entry *e)
{
	struct counting *c = arg;

	if (set_entry_is_delta(e)) {
		c->n++;
		c->last = *e;
	}
	return 0;
}

static struct counting deltas(struct backup_fixture *b)
{
	struct counting n = {0};
	struct set_catalog c;

	load(b, &c);
	assert_int_equal(set_index_read(b->repo, keys(b), &c.sets[c.n_sets - 1], count_delta, &n,
					&b->d),
			 0);
	set_catalog_free(&c);
	return n;
}

/* ---- what it costs, and what comes back ---- */

static void a_rewritten_file_costs_its_change(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(1, 5 * MIB + 321), first = copy_of(&t);
	uint64_t old = save(b->fx->v, "document", &t);

	back_up_only(b, false);
	edit(&t, 2 * MIB + 5, 0, 2, KIB);
	save(b->fx->v, "document", &t);
	/* A KiB, about a block where it stands, and the signature. */
	assert_true(back_up_size(b, false) < 120 * KIB);
	struct counting n = deltas(b);
	assert_true(n.n >= 5);
	assert_int_equal(n.last.basis, old);
	expect_version(b, 0, "document", &first);
	expect_version(b, 1, "document", &t);
	free(first.p);
	free(t.p);
}

static void the_first_version_in_a_full_set_stands_alone(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(1, 2 * MIB);

	save(b->fx->v, "document", &t);
	back_up_only(b, false);
	edit(&t, 0, 0, 2, KIB);
	save(b->fx->v, "document", &t);
	back_up_only(b, true);
	assert_int_equal(deltas(b).n, 0);
	expect_version(b, 1, "document", &t);
	free(t.p);
}

/* Every kind of edit, each saved and backed up; all versions come back, whatever rests on what. */
static void every_version_of_a_long_chain_comes_back(void **state)
{
	enum { N = 20 };
	struct backup_fixture *b = *state;
	struct text t = text_of(9, 2 * MIB + 100), was[N];
	uint64_t size[N];
	size_t n_whole = 0;

	for (unsigned i = 0; i < N; i++) {
		size_t off = (i * 7919u * 131) % (t.len - 70 * KIB);

		switch (i % 5) {
		case 0:
			edit(&t, off, 0, i, 3000);
			break;
		case 1:
			edit(&t, off, 60 * KIB, i, 0);
			break;
		case 2:
			edit(&t, 0, 0, i, 50 * KIB + 1);
			break;
		case 3:
			edit(&t, t.len, 0, i, 40 * KIB);
			break;
		default:
			edit(&t, off, 500, i, 500);
		}
		was[i] = copy_of(&t);
		save(b->fx->v, "document", &t);
		size[i] = back_up_size(b, false);
		n_whole += size[i] > 2 * MIB;
	}
	for (unsigned i = 0; i < N; i++) {
		expect_version(b, i, "document", &was[i]);
		free(was[i].p);
	}
	/* Whole at first and again after eight deltas. */
	assert_true(size[0] > 2 * MIB && size[9] > 2 * MIB && size[18] > 2 * MIB);
	assert_int_equal(n_whole, 3);
	free(t.p);
}

/* Deltas that carry more than half of the file are a reason, too. */
static void much_change_makes_it_whole_again(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(3, 4 * MIB);
	size_t n_whole = 0;

	for (unsigned i = 0; i < 6; i++) {
		if (i) /* a quarter, spread so that each range keeps more than it changes */
			for (unsigned k = 0; k < 4; k++)
				edit(&t, k * MIB, 256 * KIB, i * 10 + k, 256 * KIB);
		save(b->fx->v, "document", &t);
		n_whole += back_up_size(b, false) > 4 * MIB;
	}
	expect_version(b, 5, "document", &t);
	assert_int_equal(n_whole, 2);
	free(t.p);
}

/* Versions between two sets are in none; the way leads over them. */
static void saving_often_between_sets_is_one_delta(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(4, 3 * MIB);
	uint64_t old = save(b->fx->v, "document", &t);

	back_up_only(b, false);
	for (unsigned i = 0; i < 30; i++) {
		edit(&t, i * 1000, 0, i, 10);
		save(b->fx->v, "document", &t);
	}
	assert_true(back_up_size(b, false) < 300 * KIB);
	assert_int_equal(deltas(b).last.basis, old);
	expect_version(b, 1, "document", &t);
	free(t.p);
}

/* Blocks that change in place lie over a delta as over anything, and under one they do not count. */
static void changes_in_place_before_and_after(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(5, 3 * MIB), v1, v2, v3;
	uint64_t id = save(b->fx->v, "document", &t);

	back_up_only(b, false);
	write_at(b->fx->v, id, "in place", 8, MIB + 77);
	memcpy(t.p + MIB + 77, "in place", 8);
	v1 = copy_of(&t);
	assert_true(back_up_size(b, false) < 64 * KIB);
	edit(&t, 100, 0, 6, 100);
	id = save(b->fx->v, "document", &t);
	v2 = copy_of(&t);
	assert_true(back_up_size(b, false) < 200 * KIB);
	assert_true(deltas(b).n > 0);
	write_at(b->fx->v, id, "again", 5, 2 * MIB);
	memcpy(t.p + 2 * MIB, "again", 5);
	v3 = copy_of(&t);
	assert_true(back_up_size(b, false) < 64 * KIB);
	/* On the version of the first set, through another delta. */
	edit(&t, 2 * MIB + 500, 100, 7, 0);
	save(b->fx->v, "document", &t);
	assert_true(back_up_size(b, false) < 200 * KIB);
	assert_true(deltas(b).n > 0);
	expect_version(b, 1, "document", &v1);
	expect_version(b, 2, "document", &v2);
	expect_version(b, 3, "document", &v3);
	expect_version(b, 4, "document", &t);
	free(v1.p);
	free(v2.p);
	free(v3.p);
	free(t.p);
}

static void holes_stay_holes(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	struct text t = text_of(6, 6 * MIB);
	struct restore_result res;
	struct set_catalog c;
	struct setview *sv;

	save(v, "document", &t);
	back_up_only(b, false);
	uint64_t id = make(v, VOLUME_ROOT_ID, "saving~", S_IFREG | 0644);
	write_at(v, id, t.p, MIB + 4096, 0);
	write_at(v, id, t.p + 3 * MIB, 2 * MIB + 999, 3 * MIB); /* a hole of 2 MiB, and shorter */
	write_at(v, id, "tail", 4, 5 * MIB + 300 * KIB);
	assert_int_equal(volume_fallocate(v, id, FALLOC_FL_KEEP_SIZE, 6 * MIB, 64 * KIB), 0);
	assert_int_equal(
	    volume_rename(v, VOLUME_ROOT_ID, "saving~", VOLUME_ROOT_ID, "document", 0), 0);
	assert_true(back_up_size(b, false) < 200 * KIB);
	assert_true(deltas(b).n > 0);

	char *want = tree_of_volume(v, VOLUME_ROOT_ID);
	load(b, &c);
	assert_int_equal(setview_open(b->repo, keys(b), &c, 1, &sv, &b->d), 0);
	const struct restore_request in = {.view = sv, .to = b->out_dir};
	assert_int_equal(restore_run(&in, &res, &b->d), 0);
	char *got = tree_of_folder(b->out_dir);
	assert_string_equal(got, want);
	free(got);
	free(want);
	setview_close(sv);
	set_catalog_free(&c);
	free(t.p);
}

/* What shares nothing with the old one, is small, or mostly holes, is stored as ever. */
static void what_gains_nothing_is_stored_whole(void **state)
{
	struct backup_fixture *b = *state;
	struct text old = text_of(7, 2 * MIB), other = text_of(8, 2 * MIB), small = text_of(9, 60 * KIB);

	save(b->fx->v, "a", &old);
	save(b->fx->v, "b", &old);
	save(b->fx->v, "c", &small);
	back_up_only(b, false);
	save(b->fx->v, "a", &other);
	save(b->fx->v, "b", &small);
	edit(&small, 10, 0, 1, 10);
	save(b->fx->v, "c", &small);
	back_up_only(b, false);
	assert_int_equal(deltas(b).n, 0);
	expect_version(b, 1, "a", &other);
	expect_version(b, 1, "c", &small);
	free(old.p);
	free(other.p);
	free(small.p);
}

/* Blocks in wild order would need every range of the basis for each of theirs. */
static void what_copies_from_everywhere_is_stored_whole(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(7, 8 * MIB), u = copy_of(&t);
	size_t block = 16 * KIB, n = 8 * MIB / block;

	save(b->fx->v, "a", &t);
	back_up_only(b, false);
	for (size_t i = 0; i < n; i++)
		memcpy(u.p + i * block, t.p + (i * 77 % n) * block, block);
	save(b->fx->v, "a", &u);
	back_up_only(b, false);
	assert_int_equal(deltas(b).n, 0);
	expect_version(b, 1, "a", &u);
	free(t.p);
	free(u.p);
}

/* Changes in place pile up in the sets until they take half of what they lie on; then they are one again. */
static void many_changes_in_place_make_a_range_whole(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(21, 2 * MIB);
	uint64_t id = make(b->fx->v, VOLUME_ROOT_ID, "database", S_IFREG | 0644);
	size_t n_whole = 0;

	write_at(b->fx->v, id, t.p, t.len, 0);
	back_up_only(b, false);
	for (unsigned i = 0; i < 12; i++) {
		CLEANUP_FREE uint8_t *page = noise(100 + i, 64 * KIB);

		/* Always the same group of the first range: the others do not come with it. */
		write_at(b->fx->v, id, page, 64 * KIB, 128 * KIB);
		memcpy(t.p + 128 * KIB, page, 64 * KIB);
		uint64_t size = back_up_size(b, false);
		assert_true(size < 100 * KIB || (size > MIB && size < MIB + 100 * KIB));
		n_whole += size > MIB;
	}
	/* Eight of 64 KiB with their frames are more than half of a MiB. */
	assert_int_equal(n_whole, 1);
	expect_version(b, 12, "database", &t);
	free(t.p);
}

/* ---- what is wrong ---- */

/* The basis is destroyed under the delta: told, and nothing else comes in its place. */
static void a_destroyed_basis_is_told(void **state)
{
	struct backup_fixture *b = *state;
	struct text t = text_of(1, 2 * MIB), got = {0};
	uint64_t old = save(b->fx->v, "document", &t);

	back_up_only(b, false);
	edit(&t, 5, 0, 2, KIB);
	save(b->fx->v, "document", &t);
	back_up_only(b, false);
	assert_true(deltas(b).n > 0);
	puncture(b, KEYRING_BOTH, old, "order-1");
	assert_int_equal(content(b, 1, "document", &got), -EKEYREVOKED);
	free(got.p);
	/* And nothing is built on it again. */
	edit(&t, 5, 0, 3, KIB);
	save(b->fx->v, "document", &t);
	back_up_only(b, false);
	expect_version(b, 2, "document", &t);
	free(t.p);
}

/* A document saved over three times and changed in place, a set for each: the ids in order. */
static void take_four(struct backup_fixture *b, struct text was[4], uint64_t ids[4])
{
	struct text t = text_of(11, 3 * MIB);

	for (unsigned i = 0; i < 4; i++) {
		if (i == 2) {
			write_at(b->fx->v, ids[1], "in place", 8, MIB);
			memcpy(t.p + MIB, "in place", 8);
			ids[2] = ids[1];
		} else {
			edit(&t, i * 100 * KIB, 0, i, 1000);
			ids[i] = save(b->fx->v, "document", &t);
		}
		was[i] = copy_of(&t);
		back_up_only(b, false);
	}
	free(t.p);
}

/*
 * Promise 5, and 4 of what stays: the first version is destroyed, which the later ones are made from; every set
 * still restores them, and of the first one nothing.
 */
static void what_stays_survives_its_basis(void **state)
{
	struct backup_fixture *b = *state;
	struct survivors s;
	struct text was[4], got = {0};
	uint64_t ids[4];

	take_four(b, was, ids);
	assert_true(deltas(b).n > 0);
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 1); /* what is made from what is made from it needs no more */
	assert_true(s.n_ranges >= 3);
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 0);
	puncture(b, KEYRING_BOTH, ids[0], "D-1");
	for (unsigned i = 1; i < 4; i++)
		expect_version(b, i, "document", &was[i]);
	struct set_catalog c;
	load(b, &c);
	assert_int_equal(c.n_sets, 4);
	struct setview *sv;
	struct volume_attr a;
	assert_int_equal(setview_open(b->repo, keys(b), &c, 0, &sv, &b->d), 0);
	assert_int_equal(setview_attr(sv, ids[0], &a), -EKEYREVOKED);
	setview_close(sv);
	for (size_t i = 0; i < c.n_sets; i++) {
		struct backup_verdict v;

		assert_int_equal(backup_verify(b->repo, keys(b), &c.sets[i], &v, &b->d), 0);
		assert_int_equal(v.n_bad, 0);
	}
	/* The chain goes on. */
	set_catalog_free(&c);
	edit(&was[3], 5, 0, 77, KIB);
	save(b->fx->v, "document", &was[3]);
	assert_true(back_up_size(b, false) < 200 * KIB);
	expect_version(b, 4, "document", &was[3]);
	for (unsigned i = 0; i < 4; i++)
		free(was[i].p);
	free(got.p);
}

/* What goes together needs no whole records. */
static void what_goes_with_its_basis_is_left_alone(void **state)
{
	struct backup_fixture *b = *state;
	struct survivors s;
	struct text was[4];
	uint64_t ids[4];

	take_four(b, was, ids);
	const uint64_t all[] = {ids[0], ids[1], ids[3]}, middle[] = {ids[0], ids[1]};
	assert_int_equal(survivors_secure(b->repo, keys(b), all, 3, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 0);
	assert_int_equal(survivors_secure(b->repo, keys(b), middle, 2, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 1);
	puncture(b, KEYRING_BOTH, ids[0], "D-1");
	puncture(b, KEYRING_BOTH, ids[1], "D-1");
	expect_version(b, 3, "document", &was[3]);
	for (unsigned i = 0; i < 4; i++)
		free(was[i].p);
}

/* When it cannot be made whole, it is said before anything goes, and every set is as it was. */
static void survivors_that_cannot_be_read_are_told(void **state)
{
	struct backup_fixture *b = *state;
	struct survivors s;
	struct text was[4], got = {0};
	struct set_catalog c, after;
	char path[PATH_MAX];
	uint64_t ids[4];

	take_four(b, was, ids);
	load(b, &c);
	object_path(b, c.sets[0].id, "pack-00000", path);
	flip_raw(path, MIB / 2, 1);
	b->d = (struct diag){0};
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), -EBADMSG);
	assert_int_equal(b->d.id, DIAG_SET_DAMAGED);
	assert_non_null(strstr(b->d.object, c.sets[1].id));
	flip_raw(path, MIB / 2, 1);
	load(b, &after);
	assert_int_equal(after.n_sets, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(after.sets[i].id, c.sets[i].id);
	assert_int_equal(content(b, 3, "document", &got), 0);
	free(got.p);
	set_catalog_free(&c);
	set_catalog_free(&after);
	for (unsigned i = 0; i < 4; i++)
		free(was[i].p);
}

/* A held set stays where it is, and what stands for it is held as well. */
static void holds_outlast_it(void **state)
{
	struct backup_fixture *b = *state;
	struct hold h = {.time = 1000, .by = "the archive", .reason = "case 7"}, found;
	struct survivors s;
	struct text was[4];
	struct set_catalog c;
	uint64_t ids[4];

	take_four(b, was, ids);
	load(b, &c);
	strcpy(h.set, c.sets[1].id);
	assert_int_equal(hold_put(b->repo, keyring_volume_id(keys(b)), keyring_sign_seed(keys(b)), &h, &b->d), 0);
	set_catalog_free(&c);
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 1);
	load(b, &c);
	assert_int_equal(c.n_sets, 5);
	assert_string_equal(c.sets[1].id, h.set);
	assert_int_equal(hold_get(b->repo, c.sets[2].id, keyring_volume_id(keys(b)),
				  keyring_header(keys(b))->sign_pk, &found),
			 0);
	assert_string_equal(found.by, h.by);
	assert_string_equal(found.reason, h.reason);
	/* Killed before the hold was passed on: the next run does it. */
	assert_int_equal(hold_remove(b->repo, c.sets[2].id, found.digest), 0);
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 0);
	assert_int_equal(hold_get(b->repo, c.sets[2].id, keyring_volume_id(keys(b)),
				  keyring_header(keys(b))->sign_pk, &found),
			 0);
	assert_string_equal(found.by, h.by);
	set_catalog_free(&c);
	puncture(b, KEYRING_BOTH, ids[0], "D-1");
	for (unsigned i = 1; i < 4; i++)
		expect_version(b, i + 1, "document", &was[i]);
	assert_int_equal(survivors_secure(b->repo, keys(b), ids, 1, &s, &b->d), 0);
	assert_int_equal(s.n_sets, 0);
	for (unsigned i = 0; i < 4; i++)
		free(was[i].p);
}

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
	uint64_t as_of;	 /* what the index says */
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
	const struct set_node n = {.attr = {.mode = S_IFREG | 0644, .nlink = 1, .size = MAP_BLOCK,
					    .uid = geteuid(), .gid = getegid()},
				   .in_blocks = true, .n_mapped = 1};

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
	    (struct set_entry){.kind = SET_DATA, .flags = SET_DELTA, .id = 101, .basis = x->basis,
			       .as_of = x->as_of, .version = 8},
	    x->basis, body);
}

static int restored_of(struct backup_fixture *b, const struct crafted *x)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	CLEANUP_FREE uint8_t *block = noise(33, MAP_BLOCK), *buf = malloc(SET_RANGE);
	struct set_manifest m = {.full = true, .tiers = "daily", .timeline = 1, .to_txn = 9,
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

/* A verification of the set says so, too. */
static uint64_t n_bad(struct backup_fixture *b, size_t set)
{
	struct backup_verdict v = {0};
	struct set_catalog c;

	load(b, &c);
	assert_int_equal(backup_verify_deltas(b->repo, keys(b), &c, set, NULL, 0, &v, &b->d), 0);
	assert_true(v.n_bad == 0 || strstr(v.first_bad, c.sets[set].id));
	set_catalog_free(&c);
	return v.n_bad;
}

static void verifying_makes_every_delta(void **state)
{
	struct backup_fixture *b = *state;
	struct text was[4];
	struct set_catalog c;
	char path[PATH_MAX];
	uint64_t ids[4];

	take_four(b, was, ids);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(n_bad(b, i), 0);
	load(b, &c);
	object_path(b, c.sets[0].id, "pack-00000", path);
	set_catalog_free(&c);
	flip_raw(path, MIB / 2, 1);
	assert_true(n_bad(b, 1) > 0);
	struct backup_verdict v = {0};
	load(b, &c);
	assert_int_equal(backup_verify_deltas(b->repo, keys(b), &c, 1, ids, 1, &v, &b->d), 0);
	assert_int_equal(v.n_bad, 0); /* the first version is no delta */
	assert_int_equal(backup_verify_deltas(b->repo, keys(b), &c, 1, ids + 1, 1, &v, &b->d), 0);
	assert_true(v.n_bad > 0);
	set_catalog_free(&c);
	flip_raw(path, MIB / 2, 1);
	puncture(b, KEYRING_BOTH, ids[0], "D-1");
	assert_true(n_bad(b, 1) > 0);
	puncture(b, KEYRING_BOTH, ids[1], "D-1");
	assert_int_equal(n_bad(b, 1), 0);
	for (unsigned i = 0; i < 4; i++)
		free(was[i].p);
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
	    WITH_REPOSITORY(a_rewritten_file_costs_its_change),
	    WITH_REPOSITORY(the_first_version_in_a_full_set_stands_alone),
	    WITH_REPOSITORY(every_version_of_a_long_chain_comes_back),
	    WITH_REPOSITORY(much_change_makes_it_whole_again),
	    WITH_REPOSITORY(saving_often_between_sets_is_one_delta),
	    WITH_REPOSITORY(changes_in_place_before_and_after),
	    WITH_REPOSITORY(holes_stay_holes),
	    WITH_REPOSITORY(many_changes_in_place_make_a_range_whole),
	    WITH_REPOSITORY(what_gains_nothing_is_stored_whole),
	    WITH_REPOSITORY(what_copies_from_everywhere_is_stored_whole),
	    WITH_REPOSITORY(a_destroyed_basis_is_told),
	    WITH_REPOSITORY(what_stays_survives_its_basis),
	    WITH_REPOSITORY(what_goes_with_its_basis_is_left_alone),
	    WITH_REPOSITORY(survivors_that_cannot_be_read_are_told),
	    WITH_REPOSITORY(holds_outlast_it),
	    WITH_REPOSITORY(damage_is_noticed),
	    WITH_REPOSITORY(verifying_makes_every_delta),
	    WITH_REPOSITORY(what_does_not_make_what_it_says_is_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
