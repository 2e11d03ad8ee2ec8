/*
 * Repair: puts right what it can, says so, and makes no good file worse. What it cannot put right stays EIO.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "core/cleanup.h"
#include "fs/engine.h"
#include "tests/unit/meta_rows.h"
#include "tests/unit/snapshot_fixture.h"

struct texts {
	unsigned n;
	char text[32][300];
};

static void note(void *arg, const char *text)
{
	struct texts *t = arg;

	if (t->n < 32)
		snprintf(t->text[t->n], sizeof(t->text[0]), "%.299s", text);
	t->n++;
}

static unsigned findings(struct fixture *f, struct texts *t)
{
	struct volume_check c;

	t->n = 0;
	assert_int_equal(volume_check(f->v, true, note, t, &c), 0);
	return t->n;
}

static struct volume_repair repair(struct fixture *f, struct texts *t)
{
	struct volume_repair r;

	t->n = 0;
	assert_int_equal(volume_repair(f->v, note, t, &r), 0);
	assert_int_equal(t->n >= r.n_dropped + r.n_found + r.n_counts, true);
	return r;
}

static void check_content(struct fixture *f, uint64_t id, const uint8_t *want, size_t len)
{
	CLEANUP_FREE uint8_t *p = malloc(len + 1);

	assert_non_null(p);
	assert_int_equal(volume_read(f->v, id, p, len + 1, 0), len);
	assert_memory_equal(p, want, len);
}

static uint64_t in_lost_and_found(struct fixture *f, uint64_t id)
{
	uint64_t folder, found = 0;
	char name[32];

	if (fx_lookup(f, VOLUME_ROOT_ID, "lost+found", &folder) != 0)
		return 0;
	assert_int_equal(fx_attr(f, folder).mode, S_IFDIR | 0700);
	snprintf(name, sizeof(name), "file-%llu", (unsigned long long)id);
	return fx_lookup(f, folder, name, &found) == 0 ? found : 0;
}

/* --- a sound volume --- */

/* There is nothing to do, and nothing is done: no folder is made, nothing said. */
static void sound_stays(void **state)
{
	struct fixture *f = *state;
	struct texts t;
	uint64_t ret;

	fx_file(f, fx_dir(f, VOLUME_ROOT_ID, "d"), "f", "x", 1);
	struct volume_repair r = repair(f, &t);
	assert_int_equal(r.n_dropped + r.n_found + r.n_counts, 0);
	assert_int_equal(t.n, 0);
	assert_int_equal(fx_lookup(f, VOLUME_ROOT_ID, "lost+found", &ret), -ENOENT);
	assert_int_equal(findings(f, &t), 0);
}

/* Unlinked but open is no orphan to be found. */
static void open_and_unlinked_stays(void **state)
{
	struct fixture *f = *state;
	struct texts t;
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "open", "x", 1);

	assert_int_equal(volume_open_file(f->v, id, true), 0);
	assert_int_equal(volume_unlink(f->v, VOLUME_ROOT_ID, "open"), 0);
	assert_int_equal(repair(f, &t).n_found, 0);
	check_content(f, id, (const uint8_t *)"x", 1);
	volume_release_file(f->v, id, true);
}

/* --- entries that do not open --- */

static bool opens(struct fixture *f)
{
	struct diag d = {0};

	return fx_try_open(f, false, &d) == 0;
}

/* One folder's entries: what stood in it is found, whole, with its counts; the history leads to it from the folder. */
static void lost_names(void **state)
{
	struct fixture *f = *state;
	struct texts t;
	CLEANUP_FREE uint8_t *p = fx_bytes(3, 300000);
	sqlite3_int64 before[META_ROWS_MAX];
	uint64_t big, small, sub, deep, hard = 0;
	struct volume_attr a;
	unsigned n_repaired = 0;

	uint64_t dir = fx_dir(f, VOLUME_ROOT_ID, "d");
	big = fx_file(f, dir, "big", p, 300000);
	small = fx_file(f, dir, "small", p, 100);
	sub = fx_dir(f, dir, "sub");
	deep = fx_file(f, sub, "deep", p, 5000);
	assert_int_equal(volume_link(f->v, small, VOLUME_ROOT_ID, "second", &a), 0);
	volume_forget(f->v, small, 1);
	assert_int_equal(volume_sync(f->v), 0);
	fx_close(f);
	int n = meta_rows(f->store, "SELECT id FROM rec", before);
	for (int i = 0; i < n; i++) {
		if (!meta_flip(f->store, "rec", before[i]))
			continue; /* an earlier repair rewrote it */
		if (!opens(f)) {
			assert_true(meta_flip(f->store, "rec", before[i]));
			continue;
		}
		findings(f, &t);
		bool entries = false;
		for (unsigned k = 0; k < t.n && k < 32; k++)
			entries |= strstr(t.text[k], "directory entry") != NULL;
		if (!entries) {
			fx_close(f);
			assert_true(meta_flip(f->store, "rec", before[i]));
			continue;
		}
		struct volume_repair r = repair(f, &t);
		assert_int_equal(r.n_dropped, 1);
		assert_int_equal(findings(f, &t), 0);
		fx_remount(f);
		assert_int_equal(findings(f, &t), 0);
		check_content(f, big, p, 300000);
		check_content(f, small, p, 100);
		check_content(f, deep, p, 5000);
		n_repaired++;
		fx_close(f);
	}
	fx_open(f);
	assert_true(n_repaired >= 3); /* those of the root, of d and of sub: one bucket or more each */
	assert_int_equal(in_lost_and_found(f, big), big);
	assert_int_equal(in_lost_and_found(f, deep), deep);
	assert_int_equal(in_lost_and_found(f, sub), sub);
	assert_int_equal(fx_attr(f, sub).nlink, 2);
	/* Of two names one was left, or it had to be found like the others. */
	assert_int_equal(fx_attr(f, small).nlink, 1);
	assert_true(in_lost_and_found(f, small) == small || fx_lookup(f, VOLUME_ROOT_ID, "second", &hard) == 0);
}

struct seen_history {
	uint64_t child;
	unsigned n;
};

static int see(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool present, const char *name)
{
	struct seen_history *s = arg;

	(void)parent, (void)link, (void)present, (void)name;
	s->n += child == s->child && !present;
	return 0;
}

/* Promise 5 after a repair: an order to destroy the folder still leads to what stood in it. */
static void history_leads_there(void **state)
{
	struct fixture *f = *state;
	struct texts t;
	sqlite3_int64 rows[META_ROWS_MAX];
	uint64_t dir = fx_dir(f, VOLUME_ROOT_ID, "d"), id = fx_file(f, dir, "secret", "x", 1);
	bool done = false;

	assert_int_equal(volume_sync(f->v), 0);
	fx_close(f);
	int n = meta_rows(f->store, "SELECT id FROM rec", rows);
	for (int i = 0; i < n && !done; i++) {
		uint64_t found = 0;
		if (!meta_flip(f->store, "rec", rows[i]))
			continue;
		if (opens(f)) {
			bool hidden = fx_lookup(f, dir, "secret", &found) == -EIO && fx_attr(f, id).nlink == 1;
			struct volume_check c;
			t.n = 0;
			assert_int_equal(volume_check(f->v, false, note, &t, &c), 0);
			if (hidden && t.n && strstr(t.text[0], "directory entry")) {
				struct seen_history s = {.child = id};
				assert_int_equal(repair(f, &t).n_found, 1);
				assert_int_equal(volume_history(f->v, dir, see, &s), 0);
				assert_int_equal(s.n, 1);
				done = true;
				break;
			}
			fx_close(f);
		}
		assert_true(meta_flip(f->store, "rec", rows[i]));
	}
	assert_true(done);
}

/* --- what cannot be put right --- */

/* A file's own record: it stays EIO, other files are as they were, no count is touched. */
static void damaged_file_stays(void **state)
{
	struct fixture *f = *state;
	struct texts t;
	sqlite3_int64 rows[META_ROWS_MAX];
	unsigned n_seen = 0;

	fx_file(f, VOLUME_ROOT_ID, "a", "x", 1);
	fx_file(f, VOLUME_ROOT_ID, "b", "y", 1);
	assert_int_equal(volume_sync(f->v), 0);
	fx_close(f);
	int n = meta_rows(f->store, "SELECT id FROM rec", rows);
	for (int i = 0; i < n; i++) {
		if (!meta_flip(f->store, "rec", rows[i]))
			continue;
		if (!opens(f)) {
			assert_true(meta_flip(f->store, "rec", rows[i]));
			continue;
		}
		unsigned before = findings(f, &t);
		bool inode = t.n && strstr(t.text[0], "inode record");
		if (inode) {
			struct volume_repair r = repair(f, &t);
			assert_int_equal(r.n_dropped + r.n_found + r.n_counts, 0);
			assert_int_equal(t.n, 1); /* it says that it is blind */
			assert_int_equal(findings(f, &t), before);
			n_seen++;
		}
		fx_close(f);
		(void)meta_flip(f->store, "rec", rows[i]);
	}
	assert_true(n_seen >= 2);
	fx_open(f);
}

/* A node of the record tree: nothing is done. */
static void damaged_node_refused(void **state)
{
	struct fixture *f = *state;
	struct texts t = {0};
	struct volume_repair r;
	sqlite3_int64 nodes[META_ROWS_MAX];
	char name[16];
	bool refused = false;

	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		fx_file(f, VOLUME_ROOT_ID, name, "x", 1);
	}
	assert_int_equal(volume_sync(f->v), 0);
	fx_close(f);
	int n = meta_rows(f->store, "SELECT no FROM node", nodes);
	assert_true(n > 1);
	for (int i = 0; i < n && !refused; i++) {
		if (!meta_flip(f->store, "node", nodes[i]))
			continue;
		if (opens(f)) {
			refused = volume_repair(f->v, note, &t, &r) < 0;
			assert_int_equal(t.n, 0);
			volume_close(f->v);
			keyring_close(f->kr);
		}
		(void)meta_flip(f->store, "node", nodes[i]);
	}
	assert_true(refused);
	fx_open(f);
}

/* --- counts --- */

static void one_more(struct fixture *f, uint64_t id)
{
	struct vinode *ino;

	engine_enter(f->v);
	assert_int_equal(inode_get(f->v, id, &ino), 0);
	ino->attr.nlink++;
	inode_mark_dirty(f->v, ino);
	inode_unpin(f->v, ino);
	engine_leave(f->v);
	assert_int_equal(volume_sync(f->v), 0);
}

/* Counts that a defect left wrong follow the names again. */
static void counts(void **state)
{
	struct fixture *f = *state;
	struct texts t;
	uint64_t dir = fx_dir(f, VOLUME_ROOT_ID, "d"), id = fx_file(f, dir, "f", "x", 1);

	one_more(f, dir);
	one_more(f, id);
	assert_int_equal(findings(f, &t), 2);
	struct volume_repair r = repair(f, &t);
	assert_int_equal(r.n_counts, 2);
	assert_int_equal(r.n_found, 0);
	assert_int_equal(fx_attr(f, dir).nlink, 2);
	assert_int_equal(fx_attr(f, id).nlink, 1);
	assert_int_equal(findings(f, &t), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_VOLUME(sound_stays),
		IN_VOLUME(open_and_unlinked_stays),
		IN_VOLUME(lost_names),
		IN_VOLUME(history_leads_there),
		IN_VOLUME(damaged_file_stays),
		IN_VOLUME(damaged_node_refused),
		IN_VOLUME(counts),
	};

	return cmocka_run_group_tests_name("repair", tests, NULL, NULL);
}
