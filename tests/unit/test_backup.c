/*
 * Taking, verifying and scrubbing sets: what they show to who has no key, what they cost, what is
 * noticed, and what a run that fails leaves.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/set_body.h"
#include "backup/set_writer.h"
#include "tests/unit/backup_fixture.h"

static struct backup_verdict verify(struct backup_fixture *b, const struct set_manifest *m)
{
	struct backup_verdict v;

	assert_int_equal(backup_verify(b->repo, keys(b), m, &v, &b->d), 0);
	return v;
}

static struct backup_verdict scrub(struct backup_fixture *b, const struct set_manifest *m)
{
	struct backup_verdict v;

	assert_int_equal(backup_scrub(b->repo, m, &v, &b->d), 0);
	return v;
}

static void expect_good(struct backup_fixture *b, const struct set_manifest *m)
{
	struct backup_verdict v = verify(b, m);

	assert_int_equal(v.n_bad, 0);
	assert_int_equal(v.n_records, m->n_nodes + m->n_names + m->n_data + m->n_sign);
	assert_int_equal(scrub(b, m).n_bad, 0);
}

/* Both notice, and say where. */
static void expect_bad(struct backup_fixture *b, const struct set_manifest *m)
{
	struct backup_verdict v = verify(b, m), s = scrub(b, m);

	assert_true(v.n_bad > 0);
	assert_non_null(strstr(v.first_bad, m->id));
	assert_true(s.n_bad > 0);
	assert_non_null(strstr(s.first_bad, m->id));
}

static int remember(void *arg, const struct set_entry *e)
{
	struct set_entry **at = arg;

	*(*at)++ = *e;
	return 0;
}

static uint64_t n_snapshots(struct backup_fixture *b)
{
	struct volume_stat st;

	volume_stat(b->fx->v, &st);
	return st.n_snapshots;
}

/* ---- promise 1 ---- */

static const struct needle {
	const char *p;
	size_t len;
} needles[] = {
    {"quarterly figures", 17},   {"CONTENT-OF-A-SMALL-FILE", 23}, {"CONTENT-OF-A-LARGE-FILE", 23},
    {"user.a-telling-name", 19}, {"A-TELLING-VALUE", 15},         {"where-a-link-leads", 18},
    {"renamed later", 13}};

static int search_file(void *arg, const char *path)
{
	CLEANUP_FREE uint8_t *p = NULL;
	size_t len = read_raw(path, &p);
	unsigned *n_files = arg;

	for (size_t i = 0; i < sizeof(needles) / sizeof(*needles); i++) {
		/* Half of one is as bad. */
		assert_null(memmem(p, len, needles[i].p, needles[i].len / 2));
		assert_null(memmem(path, strlen(path), needles[i].p, needles[i].len));
	}
	CLEANUP_FREE uint8_t *random = noise(77, 4096);
	for (size_t i = 0; i + 16 <= 4096; i += 16)
		assert_null(memmem(p, len, random + i, 16));
	(*n_files)++;
	return 0;
}

/* Promise 1: no content, no name, no attribute of a file stands in any file of the repository,
 * compressed or not. */
static void repository_shows_nothing(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	uint64_t docs = make(v, VOLUME_ROOT_ID, "quarterly figures", S_IFDIR | 0755);
	uint64_t small = make(v, docs, "renamed later", S_IFREG | 0644),
		 large = make_noise(v, docs, "large", 77, 4096);
	struct volume_new link = {.mode = S_IFLNK | 0777, .target = "where-a-link-leads"};
	struct volume_attr a;
	unsigned n_files = 0;

	write_at(v, small, needles[1].p, needles[1].len, 0);
	for (unsigned i = 0; i < 300; i++)
		write_at(v, large, needles[2].p, needles[2].len, 10000 + i * 4096);
	assert_int_equal(volume_setxattr(v, small, "user.a-telling-name", "A-TELLING-VALUE", 15, 0),
			 0);
	assert_int_equal(volume_make(v, docs, "link", &link, &a), 0);
	volume_forget(v, a.id, 1);
	back_up_only(b, true);
	assert_int_equal(volume_rename(v, docs, "renamed later", docs, "renamed", 0), 0);
	back_up_only(b, false);
	assert_int_equal(each_raw(b->repo_dir, search_file, &n_files), 0);
	assert_true(n_files >= 9); /* two sets of at least four, and the repository's mark */
}

/*
 * Promise 1: the length of a stored record tells little of the name in it: all of up to 31 bytes
 * look the same, whatever they are made of.
 */
static void lengths_are_padded(void **state)
{
	static const char *const names[] = {"a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
					    "thirty-one-bytes-is-what-this-i",
					    "thirty-one-bytes-is-what-this-is"};
	struct backup_fixture *b = *state;
	struct set_manifest m;
	struct set_entry entries[16], *end = entries;
	uint32_t len[4], n = 0;

	for (unsigned i = 0; i < 4; i++) {
		make(b->fx->v, VOLUME_ROOT_ID, names[i], S_IFREG | 0644);
		back_up(b, false, &m);
		end = entries;
		assert_int_equal(set_index_read(b->repo, keys(b), &m, remember, &end, &b->d), 0);
		set_manifest_free(&m);
		for (const struct set_entry *e = entries; e < end; e++)
			if (e->kind == SET_NAME &&
			    e->child == find_id(b->fx->v, VOLUME_ROOT_ID, names[i]))
				len[n++] = e->len;
		assert_int_equal(n, i + 1);
	}
	assert_int_equal(len[0], len[1]);
	assert_int_equal(len[1], len[2]);
	assert_true(len[3] > len[2]);
}

/* ---- promise 4: cost ---- */

/* Promise 4: an increment stores what changed: one block of a large file, and with nothing changed
 * no record at all. */
static void increments_cost_the_change(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	uint64_t big = make_noise(v, VOLUME_ROOT_ID, "big", 1, 8 << 20);
	struct set_manifest full, inc, none;
	char name[32];

	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "small%u", i);
		make_noise(v, VOLUME_ROOT_ID, name, i, 100);
	}
	back_up(b, false, &full); /* no parent: full all the same */
	assert_true(full.full);
	assert_int_equal(full.n_nodes, 102);
	assert_int_equal(full.n_names, 101);
	assert_int_equal(full.n_data, 8);
	expect_good(b, &full);

	write_at(v, big, "changed", 7, 5000000);
	back_up(b, false, &inc);
	assert_false(inc.full);
	assert_string_equal(inc.parent, full.id);
	assert_int_equal(inc.from_txn, full.to_txn);
	assert_int_equal(inc.n_nodes, 1);
	assert_int_equal(inc.n_names, 0);
	assert_int_equal(inc.n_data, 1);
	assert_int_equal(inc.n_packs, 1);
	assert_true(inc.packs[0].len < 3 * MAP_BLOCK);
	expect_good(b, &inc);

	back_up(b, false, &none);
	assert_string_equal(none.parent, inc.id);
	assert_int_equal(none.n_packs, 0);
	assert_int_equal(none.n_nodes + none.n_names + none.n_data + none.n_gone, 0);
	expect_good(b, &none);
	set_manifest_free(&full);
	set_manifest_free(&inc);
	set_manifest_free(&none);
}

static int count_entry(void *arg, const struct set_entry *e)
{
	unsigned *n = arg;

	if (e->kind == SET_DATA)
		n[e->flags & SET_OVERLAY ? 1 : 0]++;
	return 0;
}

static void count_data(struct backup_fixture *b, const struct set_manifest *m, unsigned ret[2])
{
	ret[0] = ret[1] = 0;
	assert_int_equal(set_index_read(b->repo, keys(b), m, count_entry, ret, &b->d), 0);
}

/* A range most of which changed is stored whole, so that a restore needs nothing older; one that
 * changed little is laid over. */
static void whole_when_cheaper(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	uint64_t id = make_noise(v, VOLUME_ROOT_ID, "f", 1, 1 << 20);
	CLEANUP_FREE uint8_t *p = noise(2, 1 << 20);
	struct set_manifest m;
	unsigned n[2];

	back_up_only(b, true);
	for (unsigned i = 0; i < 4; i++)
		write_at(v, id, p, 4096, i * (256u << 10));
	back_up(b, false, &m);
	count_data(b, &m, n);
	assert_int_equal(n[0], 0);
	assert_int_equal(n[1], 1);
	set_manifest_free(&m);
	write_at(v, id, p, 700000, 0);
	write_at(v, id, p, 4096, (1 << 20) - 4096);
	back_up(b, false, &m);
	count_data(b, &m, n);
	assert_int_equal(n[0], 1);
	assert_int_equal(n[1], 0);
	set_manifest_free(&m);

	/* Most of what came, but not of the range: what did not come must not be left out. */
	write_at(v, id, p, MAP_GROUP_BYTES, MAP_GROUP_BYTES);
	back_up(b, false, &m);
	count_data(b, &m, n);
	assert_int_equal(n[0], 0);
	assert_int_equal(n[1], 1);
	set_manifest_free(&m);

	/* A new file has nothing older. */
	make_noise(v, VOLUME_ROOT_ID, "new", 3, 5000);
	back_up(b, false, &m);
	count_data(b, &m, n);
	assert_int_equal(n[0], 1);
	assert_int_equal(n[1], 0);
	set_manifest_free(&m);
}

/* ---- promise 2 ---- */

/* Promise 2: a flipped byte anywhere in pack, index or pack table is noticed, and so is what was
 * cut short or has a tail. */
static void changed_bytes(void **state)
{
	struct backup_fixture *b = *state;
	static const char *const objects[] = {"pack-00000", "index"};
	struct set_manifest m;
	char path[PATH_MAX];

	make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 1, 5000);
	back_up(b, true, &m);
	for (size_t i = 0; i < 2; i++) {
		uint64_t len = i ? m.index.len : m.packs[0].len;

		object_path(b, m.id, objects[i], path);
		for (size_t off = 0; off < len; off += 1 + len / 97) {
			flip_raw(path, off, 0x80);
			expect_bad(b, &m);
			flip_raw(path, off, 0x80);
		}
		assert_int_equal(truncate(path, (off_t)len + 1), 0);
		assert_int_equal(scrub(b, &m).n_bad, 1);
		assert_int_equal(truncate(path, (off_t)len), 0);
		expect_good(b, &m);
		assert_int_equal(truncate(path, (off_t)len - 1), 0);
		expect_bad(b, &m);
		assert_int_equal(truncate(path, 0), 0);
		expect_bad(b, &m);
		assert_int_equal(unlink(path), 0);
		expect_bad(b, &m);
		make_noise(b->fx->v, VOLUME_ROOT_ID, i ? "h" : "g", 1, 5000);
		set_manifest_free(&m);
		back_up(b, true, &m);
	}
	set_manifest_free(&m);
}

/* Promise 2: packs that changed places, or stand in another set's place, are noticed. */
static void packs_mixed_up(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest a, m;
	char p0[PATH_MAX], p1[PATH_MAX], other[PATH_MAX];

	make_noise(b->fx->v, VOLUME_ROOT_ID, "big", 1, 40 << 20);
	back_up(b, true, &a);
	back_up(b, true, &m);
	assert_int_equal(m.n_packs, 3);
	assert_true(m.packs[0].len <= SET_PACK_MAX);
	expect_good(b, &m);
	object_path(b, m.id, "pack-00000", p0);
	object_path(b, m.id, "pack-00001", p1);
	object_path(b, a.id, "pack-00000", other);
	assert_int_equal(renameat2(AT_FDCWD, p0, AT_FDCWD, p1, RENAME_EXCHANGE), 0);
	expect_bad(b, &m);
	assert_int_equal(renameat2(AT_FDCWD, p0, AT_FDCWD, p1, RENAME_EXCHANGE), 0);
	assert_int_equal(renameat2(AT_FDCWD, p0, AT_FDCWD, other, RENAME_EXCHANGE), 0);
	expect_bad(b, &m);
	expect_bad(b, &a);
	set_manifest_free(&a);
	set_manifest_free(&m);
}

/* An adversary who makes the checksums fit passes the scrub, which says so, but never the seals. */
static void fitting_checksums(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	CLEANUP_FREE uint8_t *p = NULL;
	char path[PATH_MAX];

	make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 1, 5000);
	back_up(b, true, &m);
	object_path(b, m.id, "pack-00000", path);
	size_t len = read_raw(path, &p);
	p[len / 2] ^= 1;
	write_raw(path, p, len);
	set_checksum(p, len, m.packs[0].sum);
	assert_int_equal(scrub(b, &m).n_bad, 0);
	assert_int_equal(verify(b, &m).n_bad, 1);
	set_manifest_free(&m);
}

/* Promise 2: counts in a manifest that the index does not bear out are a finding, even when
 * everything opens. */
static void counts_are_checked(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;

	back_up(b, true, &m);
	m.n_gone++;
	assert_int_equal(verify(b, &m).n_bad, 1);
	set_manifest_free(&m);
}

/* ---- promise 5 ---- */

/*
 * Promise 5: after a puncture every record of the id, its names included, stays shut, from any copy
 * of the repository's bytes; verify counts them as destroyed and finds nothing bad; scrubbing sees
 * no difference.
 */
static void destroyed_records(void **state)
{
	struct backup_fixture *b = *state;
	struct set_entry entries[64], *end = entries;
	struct set_manifest m;
	CLEANUP_BYTES struct bytes_w out = {0};
	CLEANUP_FREE uint8_t *copy = NULL;
	char path[PATH_MAX];
	unsigned n_opened = 0;

	uint64_t gone = make_noise(b->fx->v, VOLUME_ROOT_ID, "gone", 1, 3 << 20);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "kept", 2, 5000);
	back_up(b, true, &m);
	assert_int_equal(set_index_read(b->repo, keys(b), &m, remember, &end, &b->d), 0);
	assert_int_equal(end - entries, 3 + 2 + 4 + 1); /* and a signature */
	assert_int_equal(m.n_packs, 1);
	object_path(b, m.id, "pack-00000", path);
	assert_int_equal(read_raw(path, &copy), m.packs[0].len);
	puncture(b, KEYRING_BOTH, gone, "D-7");
	fixture_unmount(b->fx);
	fixture_close_keys(b->fx);
	fixture_open_keys(b->fx);
	fixture_mount(b->fx);

	struct backup_verdict v = verify(b, &m);
	assert_int_equal(v.n_bad, 0);
	assert_int_equal(v.n_destroyed, 1 + 1 + 3 + 1);
	assert_int_equal(v.n_records, 10);
	assert_int_equal(scrub(b, &m).n_bad, 0);
	for (const struct set_entry *e = entries; e < end; e++) {
		bool of_gone = e->id == gone || e->child == gone;
		bytes_w_reset(&out);
		assert_int_equal(set_record_open(keys(b), e, copy + e->off, e->len, &out),
				 of_gone ? -EKEYREVOKED : 0);
		assert_int_equal(set_record_read(b->repo, keys(b), &m, e, &out),
				 of_gone ? -EKEYREVOKED : 0);
		n_opened += !of_gone;
	}
	assert_int_equal(n_opened, 4);
	set_manifest_free(&m);
}

struct destroyer {
	struct backup_fixture *b;
	uint64_t id;
	unsigned trees;
	bool done;
};

static int destroy_meanwhile(void *arg, const struct backup_progress *p)
{
	struct destroyer *x = arg;
	CLEANUP_BYTES struct bytes_w lookups = {0};
	struct volume_destroyed done;

	(void)p;
	if (x->done)
		return 0;
	x->done = true;
	puncture(x->b, x->trees, x->id, "D-8");
	assert_int_equal(volume_destroy(x->b->fx->v, &x->id, 1, true, &done, &lookups), 0);
	return 0;
}

/* A destruction in the middle of a backup, of the live volume alone or of both: the set is made all
 * the same, and says what it has not. */
static void destroyed_meanwhile(struct backup_fixture *b, unsigned trees, uint64_t want_nodes)
{
	struct backup_request in = request(b, true);
	struct destroyer x = {.b = b, .trees = trees};
	struct set_manifest m;

	for (unsigned i = 0; i < 20; i++) {
		char name[8];
		snprintf(name, sizeof(name), "f%u", i);
		x.id = make_noise(b->fx->v, VOLUME_ROOT_ID, name, i, 5000);
	}
	in.progress = destroy_meanwhile;
	in.arg = &x;
	assert_int_equal(backup_run(&in, &m, &b->d), 0);
	assert_true(x.done);
	assert_int_equal(m.n_nodes, want_nodes);
	assert_int_equal(m.n_data, 19);
	assert_int_equal(verify(b, &m).n_bad, 0);
	assert_int_equal(n_snapshots(b), 0);
	set_manifest_free(&m);
}

static void destroyed_meanwhile_both(void **state)
{
	destroyed_meanwhile(*state, KEYRING_BOTH, 20);
}

/* The inode record had been read by then; its blocks not: such a file is told as damaged by a
 * restore, not restored as holes. */
static void destroyed_meanwhile_live(void **state)
{
	destroyed_meanwhile(*state, KEYRING_MASK(KEYRING_LIVE), 21);
}

/* A sampled verification opens about so many records, other ones each time, and misses no damage for ever. */
static void verified_in_part(void **state)
{
	struct backup_fixture *b = *state;
	struct backup_verdict v = {0};
	struct set_manifest m;
	char name[16], path[PATH_MAX];
	bool found = false;

	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		make(b->fx->v, VOLUME_ROOT_ID, name, S_IFREG | 0644);
	}
	back_up(b, true, &m);
	const uint64_t all = verify(b, &m).n_records;
	assert_true(all >= 400);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(backup_verify_some(b->repo, keys(b), &m, 25, &v, &b->d), 0);
		assert_true(v.n_records > all / 10 && v.n_records < all / 2);
		assert_int_equal(v.n_bad, 0);
	}
	object_path(b, m.id, "pack-00000", path);
	flip_raw(path, SET_FRAME_LEN + 40, 1);
	for (unsigned i = 0; i < 200 && !found; i++) {
		assert_int_equal(backup_verify_some(b->repo, keys(b), &m, 25, &v, &b->d), 0);
		found = v.n_bad > 0;
	}
	assert_true(found);
	set_manifest_free(&m);
}

/* ---- parents ---- */

/* The parent is the newest set that still stands: one whose pack is gone, or its child, is no
 * ground to build on. */
static void parents_must_stand(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest full, inc, next;
	char path[PATH_MAX];

	make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 1, 5000);
	back_up(b, true, &full);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "g", 1, 5000);
	back_up(b, false, &inc);
	object_path(b, inc.id, "pack-00000", path);
	assert_int_equal(unlink(path), 0);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "h", 1, 5000);
	back_up(b, false, &next);
	assert_string_equal(next.parent, full.id);
	assert_int_equal(next.n_nodes, 3); /* the root, g and h */
	set_manifest_free(&next);
	object_path(b, full.id, "pack-00000", path);
	assert_int_equal(truncate(path, 9), 0);
	back_up(b, false, &next);
	assert_true(next.full);
	set_manifest_free(&full);
	set_manifest_free(&inc);
	set_manifest_free(&next);
}

/* A set of another timeline, or of a later state than the volume's, is no parent. */
static void parents_are_ancestors(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m, next, done;
	struct set_writer *w;

	back_up(b, true, &m);
	struct set_manifest other = m;
	other.timeline++;
	other.to_txn++;
	assert_int_equal(set_writer_new(b->repo, keys(b), &other, &w), 0);
	assert_int_equal(set_writer_finish(w, keyring_sign_seed(keys(b)), &done), 0);
	set_writer_free(w);
	set_manifest_free(&done);
	other = m;
	other.to_txn += 1000000;
	assert_int_equal(set_writer_new(b->repo, keys(b), &other, &w), 0);
	assert_int_equal(set_writer_finish(w, keyring_sign_seed(keys(b)), &done), 0);
	set_writer_free(w);
	set_manifest_free(&done);
	back_up(b, false, &next);
	assert_string_equal(next.parent, m.id);
	set_manifest_free(&m);
	set_manifest_free(&next);
}

/* What the manifest states: the moment, the requester's charter and trail head, and the sums that a
 * later look needs. */
static void manifest_states(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	struct set_catalog c;

	back_up(b, true, &m);
	load(b, &c);
	assert_int_equal(c.n_sets, 1);
	assert_string_equal(c.sets[0].id, m.id);
	assert_string_equal(c.sets[0].tiers, "daily");
	assert_int_equal(c.sets[0].charter[0], 7);
	assert_int_equal(c.sets[0].trail.size, 5);
	assert_int_equal(c.sets[0].trail.root[0], 9);
	assert_int_equal(c.sets[0].generation, keyring_generation(keys(b)));
	assert_int_equal(c.sets[0].to_txn, m.to_txn);
	assert_int_equal(c.sets[0].time, m.time);
	assert_int_equal(c.sets[0].n_packs, 1);
	expect_good(b, &c.sets[0]);
	set_catalog_free(&c);
	set_manifest_free(&m);
}

/* ---- failures ---- */

static void expect_untouched(struct backup_fixture *b, const char *only)
{
	struct set_catalog c;
	char **names;
	size_t n;

	assert_int_equal(n_snapshots(b), 0);
	load(b, &c);
	assert_int_equal(c.n_sets, 1);
	assert_int_equal(c.n_damaged, 0);
	assert_string_equal(c.sets[0].id, only);
	expect_good(b, &c.sets[0]);
	set_catalog_free(&c);
	assert_int_equal(repo_list(b->repo, "sets/", &names, &n), 0);
	assert_int_equal(n, 1);
	repo_list_free(names, n);
}

static int stop(void *arg, const struct backup_progress *p)
{
	(void)arg;
	(void)p;
	return 1;
}

static int make_unwritable(void *arg)
{
	struct backup_fixture *b = arg;
	char from[PATH_MAX], to[PATH_MAX];

	snprintf(from, sizeof(from), "%s/sets", b->repo_dir);
	snprintf(to, sizeof(to), "%s/aside", b->repo_dir);
	assert_int_equal(rename(from, to), 0);
	write_raw(from, "in the way", 10);
	return 0;
}

static void make_writable(struct backup_fixture *b)
{
	char from[PATH_MAX], to[PATH_MAX];

	snprintf(to, sizeof(to), "%s/sets", b->repo_dir);
	snprintf(from, sizeof(from), "%s/aside", b->repo_dir);
	assert_int_equal(unlink(to), 0);
	assert_int_equal(rename(from, to), 0);
}

static int refuse_flush(void *arg)
{
	(void)arg;
	return -ENOSPC;
}

/* A run that is stopped, cannot flush, cannot write or cannot read the volume leaves no snapshot,
 * no part of a set, and the old sets. */
static void failed_runs_leave_nothing(void **state)
{
	struct backup_fixture *b = *state;
	struct backup_request in = request(b, true);
	struct set_manifest first, m;
	char object[64], path[192];

	uint64_t id = make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 1, 50000);
	back_up(b, true, &first);

	in.progress = stop;
	assert_int_equal(backup_run(&in, &m, &b->d), -EINTR);
	assert_int_equal(b->d.id, DIAG_INTERRUPTED);
	expect_untouched(b, first.id);

	in = request(b, true);
	in.flush = refuse_flush;
	assert_int_equal(backup_run(&in, &m, &b->d), -ENOSPC);
	expect_untouched(b, first.id);

	in = request(b, true);
	in.flush = make_unwritable;
	assert_int_equal(backup_run(&in, &m, &b->d), -ENOTDIR);
	make_writable(b);
	expect_untouched(b, first.id);

	/* Promise 2: damage in the volume is told as that, and never copied as if it were data. */
	volume_object_path(id, 0, object);
	snprintf(path, sizeof(path), "%s/%s", b->fx->store, object);
	flip_raw(path, 77, 1);
	in = request(b, true);
	assert_int_equal(backup_run(&in, &m, &b->d), -EIO);
	assert_int_equal(b->d.id, DIAG_STORE_DAMAGED);
	expect_untouched(b, first.id);
	set_manifest_free(&first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(repository_shows_nothing),
	    WITH_REPOSITORY(lengths_are_padded),
	    WITH_REPOSITORY(increments_cost_the_change),
	    WITH_REPOSITORY(whole_when_cheaper),
	    WITH_REPOSITORY(changed_bytes),
	    WITH_REPOSITORY(packs_mixed_up),
	    WITH_REPOSITORY(fitting_checksums),
	    WITH_REPOSITORY(counts_are_checked),
	    WITH_REPOSITORY(destroyed_records),
	    WITH_REPOSITORY(verified_in_part),
	    WITH_REPOSITORY(destroyed_meanwhile_both),
	    WITH_REPOSITORY(destroyed_meanwhile_live),
	    WITH_REPOSITORY(parents_must_stand),
	    WITH_REPOSITORY(parents_are_ancestors),
	    WITH_REPOSITORY(manifest_states),
	    WITH_REPOSITORY(failed_runs_leave_nothing),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
