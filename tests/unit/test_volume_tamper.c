/*
 * Promise 2 at the whole volume: somebody who can write to the store does everything to every row of meta.db and to every slot of
 * every object, and each time all that the volume holds is read through the engine. Each answer is what was written or -EIO:
 * never other bytes, an older version, zeros, a hole, "no such file", or a folder that lacks an entry; and where
 * anything in use was touched, the check says so.
 *
 * The volume has a record of every kind: small and large files, extended attributes in their own record, folders of several buckets,
 * holes, links, symlinks, special files, history, lineage, an orphan, a snapshot with what it keeps. An older copy of each row
 * comes from the same store before every file was changed once more.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <sys/xattr.h>

#include "core/cleanup.h"
#include "tests/unit/volume_fixture.h"

#define LARGE ((size_t)300 << 10) /* two groups of the block map */
#define HOLE_AT ((size_t)64 << 10)
#define N_SMALL 150 /* records of several leaves */
#define SLOT 4096

/* --- what the volume holds --- */

static void name_small(unsigned i, char out[32])
{
	snprintf(out, 32, "small-%03u", i);
}

/* Version 1 or 2 of everything. */
static void fill(struct volume *v, unsigned version)
{
	const char c = (char)('0' + version);
	char name[32], big[3000];
	uint64_t folder = version == 1 ? make(v, VOLUME_ROOT_ID, "folder", S_IFDIR | 0755)
				       : find_id(v, VOLUME_ROOT_ID, "folder");

	for (unsigned i = 0; i < N_SMALL; i++) {
		name_small(i, name);
		if (version == 1)
			make_file(v, folder, name, c, 700);
		else
			for (unsigned at = 0; at < 700; at++)
				write_at(v, find_id(v, folder, name), &c, 1, at);
	}
	static char block[LARGE];
	uint64_t large = version == 1 ? make(v, folder, "large", S_IFREG | 0644) : find_id(v, folder, "large");
	memset(block, c, sizeof(block));
	write_at(v, large, block, HOLE_AT, 0);
	write_at(v, large, block, LARGE - 2 * HOLE_AT, 2 * HOLE_AT);
	memset(big, c, sizeof(big));
	assert_int_equal(volume_setxattr(v, large, "user.big", big, sizeof(big), 0), 0);
	assert_int_equal(volume_setxattr(v, folder, "user.note", &c, 1, 0), 0);
}

static void fill_once(struct volume *v)
{
	struct volume_attr a;
	uint64_t folder = find_id(v, VOLUME_ROOT_ID, "folder");

	assert_int_equal(volume_link(v, find_id(v, folder, "small-000"), VOLUME_ROOT_ID, "linked", &a), 0);
	volume_forget(v, a.id, 1);
	make(v, folder, "pipe", S_IFIFO | 0600);
	make(v, folder, "symlink", S_IFLNK | 0777);
	/* history, lineage, a dead object */
	make_file(v, folder, "gone", 'g', LARGE);
	assert_int_equal(volume_unlink(v, folder, "gone"), 0);
	make_file(v, folder, "saved", 's', 100);
	make_file(v, folder, "saved.new", 'n', 5000);
	assert_int_equal(volume_rename(v, folder, "saved.new", folder, "saved", 0), 0);
}

/* --- reading everything --- */

/* What one reading found. */
struct reading {
	unsigned n_eio, n_wrong;
	char first[160];
};

static void wrong(struct reading *r, const char *what, const char *name, long got)
{
	if (r->n_wrong++ == 0)
		snprintf(r->first, sizeof(r->first), "%s of %s: %ld", what, name, got);
}

/* 0 when it is as wanted; counts what it is else. */
static bool answered(struct reading *r, const char *what, const char *name, long got, long want)
{
	if (got == want)
		return true;
	if (got == -EIO)
		r->n_eio++;
	else
		wrong(r, what, name, got);
	return false;
}

static bool is_hole(size_t off)
{
	return off >= HOLE_AT && off < 2 * HOLE_AT;
}

/* Block by block, so that one that is refused does not hide the others. */
static void read_bytes(struct volume *v, struct reading *r, const char *name, uint64_t id, char c, size_t len, bool holes)
{
	char p[SLOT];

	for (size_t off = 0; off < len; off += SLOT) {
		size_t n = len - off < SLOT ? len - off : SLOT;
		if (!answered(r, "read", name, volume_read(v, id, p, n, off), (long)n))
			continue;
		for (size_t i = 0; i < n; i++)
			if (p[i] != (holes && is_hole(off) ? 0 : c)) {
				wrong(r, "byte", name, (long)(off + i));
				break;
			}
	}
}

static void read_file(struct volume *v, struct reading *r, uint64_t parent, const char *name, char c, size_t len)
{
	struct volume_attr a;

	if (!answered(r, "lookup", name, volume_lookup(v, parent, name, &a), 0))
		return;
	if (a.size != len)
		wrong(r, "size", name, (long)a.size);
	read_bytes(v, r, name, a.id, c, len, len == LARGE);
	volume_forget(v, a.id, 1);
}

static void read_xattr(struct volume *v, struct reading *r, uint64_t id, const char *name, char c, size_t len)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	if (!answered(r, "xattr", name, volume_getxattr(v, id, name, &w), 0))
		return;
	if (w.len != len)
		wrong(r, "xattr length", name, (long)w.len);
	for (size_t i = 0; i < w.len; i++)
		if (w.buf[i] != (uint8_t)c) {
			wrong(r, "xattr byte", name, (long)i);
			return;
		}
}

struct listing {
	unsigned n;
	uint64_t cookie;
};

static int count_entry(void *arg, const char *name, uint64_t id, uint32_t type, uint64_t cookie, const struct volume_attr *a)
{
	struct listing *l = arg;

	(void)name, (void)id, (void)type, (void)a;
	l->n++;
	l->cookie = cookie;
	return 0;
}

/* As the kernel does: again from the last cookie until nothing comes. What precedes the damage is delivered first. */
static void list(struct volume *v, struct reading *r, uint64_t dir, const char *name, unsigned want)
{
	struct listing l = {0};
	unsigned before;

	do {
		before = l.n;
		if (!answered(r, "listing", name, volume_readdir(v, dir, l.cookie, false, count_entry, &l), 0))
			return;
	} while (l.n > before);
	if (l.n != want)
		wrong(r, "entries", name, l.n);
}

static void read_folder(struct volume *v, struct reading *r, uint64_t folder)
{
	char name[32];
	struct volume_attr a;

	for (unsigned i = 0; i < N_SMALL; i++) {
		name_small(i, name);
		read_file(v, r, folder, name, '2', 700);
	}
	read_file(v, r, folder, "large", '2', LARGE);
	read_file(v, r, folder, "saved", 'n', 5000);
	if (answered(r, "lookup", "large", volume_lookup(v, folder, "large", &a), 0)) {
		read_xattr(v, r, a.id, "user.big", '2', 3000);
		volume_forget(v, a.id, 1);
	}
	if (answered(r, "lookup", "symlink", volume_lookup(v, folder, "symlink", &a), 0)) {
		CLEANUP_BYTES struct bytes_w w = {0};
		if (answered(r, "readlink", "symlink", volume_readlink(v, a.id, &w), 0) &&
		    (w.len != 6 || memcmp(w.buf, "target", 6) != 0))
			wrong(r, "target", "symlink", (long)w.len);
		volume_forget(v, a.id, 1);
	}
	if (answered(r, "lookup", "pipe", volume_lookup(v, folder, "pipe", &a), 0)) {
		if (a.mode != (S_IFIFO | 0600))
			wrong(r, "mode", "pipe", a.mode);
		volume_forget(v, a.id, 1);
	}
	/* What is not there may be unknown, but never turns up again. */
	long gone = volume_lookup(v, folder, "gone", &a);
	if (gone != -ENOENT)
		answered(r, "lookup", "gone", gone, -ENOENT);
	read_xattr(v, r, folder, "user.note", '2', 1);
	list(v, r, folder, "folder", N_SMALL + 4);
}

static void read_all(struct volume *v, struct reading *r)
{
	struct volume_attr a;

	list(v, r, VOLUME_ROOT_ID, "/", 2);
	read_file(v, r, VOLUME_ROOT_ID, "linked", '2', 700);
	if (!answered(r, "lookup", "folder", volume_lookup(v, VOLUME_ROOT_ID, "folder", &a), 0))
		return;
	read_folder(v, r, a.id);
	volume_forget(v, a.id, 1);
}

/* --- the store as somebody left it --- */

static char copies[2][128]; /* "old", "new": folders that hold store and anchor */

static void copy_tree(const char *from, const char *to)
{
	char cmd[1000];

	snprintf(cmd, sizeof(cmd), "rm -rf '%.200s' && cp -a '%.200s' '%.200s'", to, from, to);
	assert_int_equal(system(cmd), 0);
}

static void keep_copy(struct fixture *fx, unsigned which, const char *name)
{
	char to[200];

	snprintf(copies[which], sizeof(copies[which]), "%.60s/%.30s", fx->dir, name);
	assert_int_equal(mkdir(copies[which], 0700), 0);
	snprintf(to, sizeof(to), "%s/store", copies[which]);
	copy_tree(fx->store, to);
	snprintf(to, sizeof(to), "%s/anchor", copies[which]);
	copy_tree(fx->anchor, to);
}

/* The good store again, keys opened. */
static void start_over(struct fixture *fx)
{
	char from[200];

	if (fx->kr)
		fixture_close_keys(fx);
	snprintf(from, sizeof(from), "%s/store", copies[1]);
	copy_tree(from, fx->store);
	snprintf(from, sizeof(from), "%s/anchor", copies[1]);
	copy_tree(from, fx->anchor);
}

static void ignore_finding(void *arg, const char *text)
{
	(void)arg, (void)text;
}

struct outcome {
	bool refused;	      /* the volume was not opened at all */
	struct reading found; /* else */
	uint64_t n_findings;  /* of the check */
	unsigned n_alarms;
};

static struct outcome outcome_of(struct fixture *fx)
{
	struct outcome o = {0};
	struct volume_check c = {0};
	struct volume_config cfg;

	fixture_open_keys(fx);
	fx->n_alarms = 0;
	cfg = fixture_config(fx);
	int r = volume_open(&cfg, &fx->v, &fx->d);
	if (r) {
		assert_true(fx->d.id == DIAG_STORE_DAMAGED || fx->d.id == DIAG_ROLLED_BACK);
		o.refused = true;
		fx->v = NULL;
		return o;
	}
	read_all(fx->v, &o.found);
	r = volume_check(fx->v, true, ignore_finding, NULL, &c);
	o.n_findings = c.n_bad + (r != 0);
	o.n_alarms = fx->n_alarms;
	volume_close(fx->v); /* may well not be able to commit */
	fx->v = NULL;
	return o;
}

/* Refused, or nothing but right answers and EIO; and whoever got EIO, an alarm was raised and the check has findings. */
static bool judge(const struct outcome *o, const char *what, const char *table, long long row)
{
	bool good = o->refused || (o->found.n_wrong == 0 && (o->found.n_eio == 0 || (o->n_findings && o->n_alarms)));

	if (!good)
		fprintf(stderr, "%s %s %lld: %u wrong (%s), %u EIO, %llu findings, %u alarms\n", table, what, row, o->found.n_wrong,
			o->found.first, o->found.n_eio, (unsigned long long)o->n_findings, o->n_alarms);
	return good;
}

static bool noticed(const struct outcome *o)
{
	return o->refused || o->found.n_eio || o->n_findings;
}

/* --- rows --- */

static sqlite3 *database(const char *folder)
{
	char path[200];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%.180s/meta.db", folder);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	return db;
}

static void attach_old(sqlite3 *db)
{
	char text[300], *err = NULL;

	snprintf(text, sizeof(text), "ATTACH '%.120s/store/meta.db' AS old", copies[0]);
	if (sqlite3_exec(db, text, NULL, NULL, &err) != SQLITE_OK)
		fail_msg("%s: %s", text, err);
}

/* Runs one statement with @ replaced by the table, ?1 and ?2 by row numbers; the older store's database is "old". */
static void sql(const char *store, const char *fmt, const char *table, long long row, long long other)
{
	char text[600];
	size_t n = 0;
	sqlite3 *db = database(store);
	sqlite3_stmt *st;

	for (; *fmt; fmt++) {
		if (*fmt == '@')
			n += strlen(strcpy(text + n, table));
		else
			text[n++] = *fmt;
		assert_true(n < sizeof(text) - 16);
	}
	text[n] = 0;
	attach_old(db);
	assert_int_equal(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
	sqlite3_bind_int64(st, 1, row);
	sqlite3_bind_int64(st, 2, other);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	sqlite3_close(db);
}

struct rows {
	long long no[4000];
	size_t n;
};

static int add_row(void *arg, int n, char **val, char **name)
{
	struct rows *r = arg;

	(void)n, (void)name;
	assert_true(r->n < 4000);
	r->no[r->n++] = atoll(val[0]);
	return 0;
}

static void rows_of(const char *query, struct rows *ret)
{
	char store[200];

	snprintf(store, sizeof(store), "%s/store", copies[1]);
	sqlite3 *db = database(store);
	ret->n = 0;
	attach_old(db);
	assert_int_equal(sqlite3_exec(db, query, add_row, ret, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static const struct {
	const char *name, *text;
} deeds[] = {
	{"deleted", "DELETE FROM main.@ WHERE rowid=?1"},
	{"flipped", "UPDATE main.@ SET val=substr(val,1,length(val)/2)||CASE WHEN substr(val,length(val)/2+1,1)=x'00' THEN x'01' ELSE x'00' "
		    "END||substr(val,length(val)/2+2) WHERE rowid=?1"},
	{"cut", "UPDATE main.@ SET val=substr(val,1,length(val)-1) WHERE rowid=?1"},
	{"zeroed", "UPDATE main.@ SET val=zeroblob(length(val)) WHERE rowid=?1"},
	{"overwritten with its neighbour", "UPDATE main.@ SET val=(SELECT val FROM main.@ WHERE rowid=?2) WHERE rowid=?1"},
};

#define N_DEEDS (sizeof(deeds) / sizeof(*deeds))

static bool all; /* no sampling: TAMPER=all */

static unsigned deeds_on_table(struct fixture *fx, const char *table, bool sample)
{
	struct rows *rows = calloc(1, sizeof(*rows));
	char query[80];
	unsigned n_bad = 0, n_noticed = 0, n = 0;

	assert_non_null(rows);
	snprintf(query, sizeof(query), "SELECT rowid FROM main.%s ORDER BY 1", table);
	rows_of(query, rows);
	assert_true(rows->n > 0);
	for (size_t i = 0; i < rows->n; i++)
		for (size_t d = 0; d < N_DEEDS; d++) {
			if (sample && !all && i % (2 * N_DEEDS) != d)
				continue;
			long long other = rows->no[(i + 1) % rows->n];
			if (other == rows->no[i] && d == 4)
				continue; /* a table of one row */
			start_over(fx);
			sql(fx->store, deeds[d].text, table, rows->no[i], other);
			struct outcome o = outcome_of(fx);
			n_bad += !judge(&o, deeds[d].name, table, rows->no[i]);
			if (!noticed(&o))
				fprintf(stderr, "%s %lld %s: nobody noticed\n", table, rows->no[i], deeds[d].name);
			n_noticed += noticed(&o);
			n++;
		}
	fprintf(stderr, "%s: %zu rows, %u deeds, %u noticed\n", table, rows->n, n, n_noticed);
	assert_int_equal(n_noticed, n);
	free(rows);
	return n_bad;
}

/* Records of every kind: deleted, changed, cut, zeroed, another's in their place. One deed on every second, or all on all. */
static void test_every_record(void **state)
{
	assert_int_equal(deeds_on_table(*state, "rec", true), 0);
}

/* Every node of the freshness tree, and the commit record. */
static void test_every_node(void **state)
{
	assert_int_equal(deeds_on_table(*state, "node", false) + deeds_on_table(*state, "head", false), 0);
}

/* Every row that has an older version in the older store, put back with the same number. */
static void test_every_older_row(void **state)
{
	static const char *const tables[] = {"rec", "node", "head"};
	struct fixture *fx = *state;
	struct rows *rows = calloc(1, sizeof(*rows));
	unsigned n = 0;

	assert_non_null(rows);
	for (size_t t = 0; t < 3; t++) {
		char query[200];
		snprintf(query, sizeof(query),
			 "SELECT n.rowid FROM main.%s n JOIN old.%s o ON n.rowid=o.rowid WHERE n.val<>o.val", tables[t], tables[t]);
		rows_of(query, rows);
		for (size_t i = 0; i < rows->n; i++) {
			start_over(fx);
			sql(fx->store, "UPDATE main.@ SET val=(SELECT val FROM old.@ WHERE rowid=?1) WHERE rowid=?1", tables[t],
			    rows->no[i], 0);
			struct outcome o = outcome_of(fx);
			assert_true(judge(&o, "older", tables[t], rows->no[i]));
			assert_true(noticed(&o));
			n++;
		}
	}
	fprintf(stderr, "%u rows put back older\n", n);
	assert_true(n > 0);
	free(rows);
}

/* --- objects --- */

static char objects[64][160]; /* relative to the store */
static size_t n_objects;

static int note_object(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	const char *in = strstr(path, "/objects/");
	if (type == FTW_F && st->st_size >= 2 * SLOT && n_objects < 64)
		snprintf(objects[n_objects++], sizeof(objects[0]), "%.150s", in + 1);
	return 0;
}

static void find_objects(void)
{
	char dir[200];

	n_objects = 0;
	snprintf(dir, sizeof(dir), "%s/store/objects", copies[1]);
	assert_int_equal(nftw(dir, note_object, 16, FTW_PHYS), 0);
	assert_true(n_objects > 0);
}

static int open_object(const struct fixture *fx, size_t i)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%.150s", fx->store, objects[i]);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

enum object_deed { OBJECT_FLIP, OBJECT_ZERO, OBJECT_SWAP, OBJECT_PUNCH, OBJECT_N };

static void do_object(int fd, enum object_deed deed, off_t at)
{
	char a[SLOT], b[SLOT];
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	off_t other = at + 2 * SLOT <= st.st_size ? at + SLOT : 0;
	assert_int_equal(pread(fd, a, SLOT, at), SLOT);
	assert_int_equal(pread(fd, b, SLOT, other), SLOT);
	switch (deed) {
	case OBJECT_FLIP:
		a[SLOT - 1] ^= 1;
		assert_int_equal(pwrite(fd, a, SLOT, at), SLOT);
		break;
	case OBJECT_ZERO:
		memset(a, 0, SLOT);
		assert_int_equal(pwrite(fd, a, SLOT, at), SLOT);
		break;
	case OBJECT_SWAP:
		assert_int_equal(pwrite(fd, a, SLOT, other), SLOT);
		assert_int_equal(pwrite(fd, b, SLOT, at), SLOT);
		break;
	default:
		assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, SLOT), 0);
	}
}

/* Every third slot of every object: changed, zeroed, in another's place, a hole. Slots that nothing uses may go unnoticed. */
static void test_every_slot(void **state)
{
	struct fixture *fx = *state;
	unsigned n = 0, n_noticed = 0;

	find_objects();
	for (size_t i = 0; i < n_objects; i++)
		for (off_t at = 0;; at += 3 * SLOT) {
			struct stat st;
			start_over(fx);
			int fd = open_object(fx, i);
			assert_int_equal(fstat(fd, &st), 0);
			if (at + SLOT > st.st_size) {
				close(fd);
				break;
			}
			do_object(fd, (enum object_deed)(at / SLOT % OBJECT_N), at);
			close(fd);
			struct outcome o = outcome_of(fx);
			assert_true(judge(&o, "slot", objects[i], (long long)at));
			n_noticed += noticed(&o);
			n++;
		}
	fprintf(stderr, "%zu objects, %u deeds, %u noticed\n", n_objects, n, n_noticed);
	assert_true(n_noticed > 0);
}

/* Whole objects: gone, cut, another's, the older version of itself. */
static void test_every_object(void **state)
{
	struct fixture *fx = *state;

	find_objects();
	for (size_t i = 0; i < n_objects; i++)
		for (unsigned deed = 0; deed < 4; deed++) {
			char path[300], from[400], cmd[900];
			start_over(fx);
			snprintf(path, sizeof(path), "%s/%.150s", fx->store, objects[i]);
			if (deed == 2)
				snprintf(from, sizeof(from), "%s/%.150s", fx->store, objects[(i + 1) % n_objects]);
			else
				snprintf(from, sizeof(from), "%.120s/store/%.150s", copies[0], objects[i]);
			if (deed == 0)
				assert_int_equal(unlink(path), 0);
			else if (deed == 1)
				assert_int_equal(truncate(path, SLOT), 0);
			else if (access(from, F_OK) == 0 && strcmp(from, path) != 0) {
				snprintf(cmd, sizeof(cmd), "cp '%s' '%s'", from, path);
				assert_int_equal(system(cmd), 0);
			}
			struct outcome o = outcome_of(fx);
			assert_true(judge(&o, "object", objects[i], deed));
		}
}

/* --- whole files of the store --- */

/* The record store as it was, under today's anchor; and the whole store as it was. */
static void test_rolled_back(void **state)
{
	struct fixture *fx = *state;
	char from[200], to[200];

	start_over(fx);
	snprintf(from, sizeof(from), "%s/store/meta.db", copies[0]);
	snprintf(to, sizeof(to), "%s/meta.db", fx->store);
	copy_tree(from, to);
	assert_true(outcome_of(fx).refused);
	start_over(fx);
	snprintf(from, sizeof(from), "%s/store", copies[0]);
	copy_tree(from, fx->store);
	assert_true(outcome_of(fx).refused);
}

/* Untouched it is whole: or nothing above meant anything. */
static void test_untouched(void **state)
{
	struct fixture *fx = *state;

	start_over(fx);
	struct outcome o = outcome_of(fx);
	assert_false(o.refused);
	assert_int_equal(o.found.n_wrong, 0);
	assert_int_equal(o.found.n_eio, 0);
	assert_int_equal(o.n_findings, 0);
}

static int setup(void **state)
{
	fixture_in_memory();
	all = getenv("TAMPER") && !strcmp(getenv("TAMPER"), "all");
	fixture_setup(state);
	struct fixture *fx = *state;
	struct volume_snapshot snap;

	fill(fx->v, 1);
	fill_once(fx->v);
	fixture_unmount(fx);
	keep_copy(fx, 0, "old");
	fixture_mount(fx);
	assert_int_equal(volume_snapshot_open(fx->v, &snap), 0);
	fill(fx->v, 2);
	assert_int_equal(volume_sync(fx->v), 0);
	assert_int_equal(volume_snapshot_close(fx->v, &snap), 0);
	fixture_unmount(fx);
	keep_copy(fx, 1, "new");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_untouched),     cmocka_unit_test(test_every_record), cmocka_unit_test(test_every_node),
		cmocka_unit_test(test_every_older_row), cmocka_unit_test(test_every_slot),   cmocka_unit_test(test_every_object),
		cmocka_unit_test(test_rolled_back),
	};

	return cmocka_run_group_tests_name("tamper", tests, setup, fixture_teardown);
}
