/* The volume: namespace and attributes as POSIX has them, across remounts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/volume_fixture.h"

#define ROOT VOLUME_ROOT_ID

/* ---- listings ---- */

struct names {
	char name[64][VOLUME_NAME_MAX + 1];
	uint64_t id[64], cookie[64];
	size_t n, stop_at;
};

static int add_name(void *arg, const char *name, uint64_t id, uint32_t type_mode, uint64_t cookie,
		    const struct volume_attr *attr)
{
	struct names *l = arg;

	if (l->n == l->stop_at)
		return 1;
	assert_true(cookie > 2 && cookie < UINT64_C(1) << 63);
	if (attr) {
		assert_int_equal(attr->id, id);
		assert_int_equal(attr->mode & S_IFMT, type_mode);
	}
	strcpy(l->name[l->n], name);
	l->id[l->n] = id;
	l->cookie[l->n] = cookie;
	l->n++;
	return 0;
}

static bool listed(const struct names *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->name[i], name) == 0)
			return true;
	}
	return false;
}

/* ---- namespace ---- */

/* Promise: what was made is there after a remount: types, owners, modes, contents, targets, links.
 */
static void survives_remount(void **state)
{
	struct fixture *fx = *state;
	CLEANUP_BYTES struct bytes_w target = {0};
	struct volume_attr a;

	uint64_t dir = make(fx->v, ROOT, "folder", S_IFDIR | 0750);
	uint64_t small = make_file(fx->v, dir, "small", 's', 100);
	uint64_t large = make_file(fx->v, dir, "large", 'l', 700000);
	uint64_t symlink = make(fx->v, dir, "symlink", S_IFLNK | 0777);
	uint64_t fifo = make(fx->v, ROOT, "fifo", S_IFIFO | 0600);
	assert_int_equal(volume_link(fx->v, large, ROOT, "hard", &a), 0);
	volume_forget(fx->v, large, 1);
	fixture_remount(fx);
	assert_int_equal(find_id(fx->v, ROOT, "folder"), dir);
	assert_int_equal(find_id(fx->v, dir, "small"), small);
	assert_int_equal(find_id(fx->v, ROOT, "hard"), large);
	assert_int_equal(find_id(fx->v, ROOT, "fifo"), fifo);
	check_file(fx->v, small, 's', 100);
	check_file(fx->v, large, 'l', 700000);
	assert_int_equal(volume_readlink(fx->v, symlink, &target), 0);
	assert_int_equal(target.len, strlen("target"));
	assert_memory_equal(target.buf, "target", target.len);
	assert_int_equal(find(fx->v, dir, "large", &a), 0);
	assert_int_equal(a.nlink, 2);
	assert_int_equal(a.uid, 1000);
	assert_int_equal(a.mode, S_IFREG | 0644);
	assert_int_equal(a.blocks, (700000 + 4095) / 4096 * 8);
	assert_int_equal(volume_getattr(fx->v, dir, &a), 0);
	assert_int_equal(a.mode, S_IFDIR | 0750);
	assert_int_equal(nlink_of(fx->v, ROOT), 3);
	assert_int_equal(inodes_in_use(fx->v), 6);
	assert_int_equal(fx->n_alarms, 0);
}

/* Promise: names are 1 to 255 bytes without a slash, unique in their folder, and compared as bytes.
 */
static void name_rules(void **state)
{
	struct volume *v = ((struct fixture *)*state)->v;
	char name[VOLUME_NAME_MAX + 2];
	struct volume_attr a;
	uint64_t id;

	memset(name, 'n', sizeof(name));
	name[VOLUME_NAME_MAX + 1] = '\0';
	assert_int_equal(try_make(v, ROOT, name, S_IFREG, &id), -ENAMETOOLONG);
	assert_int_equal(find(v, ROOT, name, &a), -ENAMETOOLONG);
	name[VOLUME_NAME_MAX] = '\0';
	make(v, ROOT, name, S_IFREG);
	assert_int_equal(try_make(v, ROOT, name, S_IFREG, &id), -EEXIST);
	assert_int_equal(try_make(v, ROOT, "", S_IFREG, &id), -EINVAL);
	assert_int_equal(try_make(v, ROOT, "a/b", S_IFREG, &id), -EINVAL);
	assert_int_equal(try_make(v, ROOT, "..", S_IFDIR, &id), -EINVAL);
	make(v, ROOT, "\xe6\x9c\xba\xe5\xaf\x86", S_IFREG);
	assert_int_equal(find(v, ROOT, "\xe6\x9c\xba\xe5\xaf\x87", &a), -ENOENT);
	assert_int_equal(find(v, ROOT, "\xe6\x9c\xba\xe5\xaf\x86", &a), 0);
	assert_int_equal(find(v, a.id, "x", &a), -ENOTDIR);
	assert_int_equal(try_make(v, ROOT, "odd", 0644, &id), -EINVAL);
	for (size_t len = 34; len >= 30; len--) { /* about the padding's edge */
		name[len] = '\0';
		make(v, ROOT, name, S_IFREG);
		assert_int_equal(find(v, ROOT, name, &a), 0);
	}
}

/* Promise: "." and ".." lead where they must, for NFS re-export. */
static void dot_names(void **state)
{
	struct volume *v = ((struct fixture *)*state)->v;
	uint64_t a = make(v, ROOT, "a", S_IFDIR | 0755), b = make(v, a, "b", S_IFDIR | 0755), up;

	assert_int_equal(find_id(v, b, "."), b);
	assert_int_equal(find_id(v, b, ".."), a);
	assert_int_equal(find_id(v, ROOT, ".."), ROOT);
	assert_int_equal(volume_parent(v, b, &up), 0);
	assert_int_equal(up, a);
}

/* Promise: removing obeys types and emptiness; link counts follow. */
/* A file handle names an inode by its number alone: of any type, as long as it has a link. */
static void found_by_number(void **state)
{
	struct fixture *fx = *state;
	uint64_t id = make_file(fx->v, VOLUME_ROOT_ID, "f", 'f', 9000);
	struct volume_attr a;

	fixture_remount(fx);
	assert_int_equal(find(fx->v, id, ".", &a), 0);
	assert_int_equal(a.id, id);
	assert_int_equal(a.size, 9000);
	assert_int_equal(find(fx->v, id, "..", &a), -ENOTDIR);
	assert_int_equal(find(fx->v, id + 1000000, ".", &a), -ENOENT);
	assert_int_equal(volume_open_file(fx->v, id, false), 0);
	assert_int_equal(volume_unlink(fx->v, VOLUME_ROOT_ID, "f"), 0);
	assert_int_equal(find(fx->v, id, ".", &a), -ENOENT);
	volume_release_file(fx->v, id, false);
	assert_int_equal(find(fx->v, id, ".", &a), -ENOENT);
	assert_int_equal(fx->n_alarms, 0);
}

static void removal_rules(void **state)
{
	struct volume *v = ((struct fixture *)*state)->v;
	uint64_t dir = make(v, ROOT, "dir", S_IFDIR | 0755);
	uint64_t file = make_file(v, dir, "file", 'x', 10);
	struct volume_attr a;

	assert_int_equal(volume_rmdir(v, ROOT, "dir"), -ENOTEMPTY);
	assert_int_equal(volume_unlink(v, ROOT, "dir"), -EISDIR);
	assert_int_equal(volume_rmdir(v, dir, "file"), -ENOTDIR);
	assert_int_equal(volume_unlink(v, dir, "none"), -ENOENT);
	assert_int_equal(volume_link(v, dir, ROOT, "dir2", &a), -EPERM);
	assert_int_equal(volume_link(v, file, dir, "file", &a), -EEXIST);
	assert_int_equal(volume_link(v, file, ROOT, "hard", &a), 0);
	assert_int_equal(a.nlink, 2);
	volume_forget(v, file, 1);
	assert_int_equal(volume_unlink(v, dir, "file"), 0);
	assert_int_equal(nlink_of(v, file), 1);
	assert_int_equal(volume_rmdir(v, ROOT, "dir"), 0);
	assert_int_equal(nlink_of(v, ROOT), 2);
	assert_int_equal(find(v, ROOT, "dir", &a), -ENOENT);
	assert_int_equal(volume_unlink(v, ROOT, "hard"), 0);
	assert_int_equal(volume_getattr(v, file, &a), -ENOENT);
	assert_int_equal(inodes_in_use(v), 1);
}

/* Promise: a folder that was removed while in use holds nothing and takes nothing. */
static void removed_folder(void **state)
{
	struct volume *v = ((struct fixture *)*state)->v;
	struct volume_attr a;
	uint64_t dir = make(v, ROOT, "dir", S_IFDIR | 0755), id;

	assert_int_equal(volume_lookup(v, ROOT, "dir", &a), 0); /* held */
	assert_int_equal(volume_rmdir(v, ROOT, "dir"), 0);
	assert_int_equal(try_make(v, dir, "late", S_IFREG, &id), -ENOENT);
	assert_int_equal(volume_getattr(v, dir, &a), 0);
	assert_int_equal(a.nlink, 0);
	volume_forget(v, dir, 1);
	assert_int_equal(volume_getattr(v, dir, &a), -ENOENT);
}

/* Promise: rename follows POSIX on types, emptiness, self, subtrees and flags. */
static void rename_rules(void **state)
{
	struct volume *v = ((struct fixture *)*state)->v;
	uint64_t a = make(v, ROOT, "a", S_IFDIR | 0755), b = make(v, a, "b", S_IFDIR | 0755), up;
	uint64_t f = make_file(v, ROOT, "f", 'f', 10);
	struct volume_attr at;

	make_file(v, b, "inside", 'i', 10);
	assert_int_equal(volume_rename(v, ROOT, "a", b, "x", 0), -EINVAL);
	assert_int_equal(volume_rename(v, ROOT, "a", a, "x", 0), -EINVAL);
	assert_int_equal(volume_rename(v, ROOT, "f", ROOT, "a", 0), -EISDIR);
	assert_int_equal(volume_rename(v, ROOT, "a", ROOT, "f", 0), -ENOTDIR);
	make(v, ROOT, "c", S_IFDIR | 0755);
	assert_int_equal(volume_rename(v, ROOT, "c", a, "b", 0), -ENOTEMPTY);
	assert_int_equal(volume_rename(v, ROOT, "f", a, "b", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(volume_rename(v, ROOT, "f", a, "none", RENAME_EXCHANGE), -ENOENT);
	assert_int_equal(volume_rename(v, ROOT, "f", a, "b", 4), -EINVAL);
	assert_int_equal(volume_rename(v, ROOT, "a", b, "inside", RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(volume_rename(v, ROOT, "none", a, "b", 0), -ENOENT);
	/* two names of one file */
	assert_int_equal(volume_link(v, f, a, "f2", &at), 0);
	volume_forget(v, f, 1);
	assert_int_equal(volume_rename(v, ROOT, "f", a, "f2", 0), 0);
	assert_int_equal(find_id(v, ROOT, "f"), f);
	/* a folder over an empty one, into another parent */
	assert_int_equal(volume_rename(v, a, "b", ROOT, "c", 0), 0);
	assert_int_equal(find_id(v, ROOT, "c"), b);
	assert_int_equal(nlink_of(v, a), 2);
	assert_int_equal(nlink_of(v, ROOT), 4);
	assert_int_equal(volume_parent(v, b, &up), 0);
	assert_int_equal(up, ROOT);
	assert_int_equal(volume_rename(v, ROOT, "f", ROOT, "g", RENAME_NOREPLACE), 0);
	assert_int_equal(find(v, ROOT, "f", &at), -ENOENT);
}

/* Promise: an exchange swaps a file and a folder between parents, counts and parents included. */
static void exchange(void **state)
{
	struct fixture *fx = *state;
	uint64_t a = make(fx->v, ROOT, "a", S_IFDIR | 0755), up;
	uint64_t d = make(fx->v, a, "d", S_IFDIR | 0755);
	uint64_t f = make_file(fx->v, ROOT, "f", 'f', 5000);

	assert_int_equal(volume_rename(fx->v, ROOT, "f", a, "d", RENAME_EXCHANGE), 0);
	fixture_remount(fx);
	assert_int_equal(find_id(fx->v, a, "d"), f);
	assert_int_equal(find_id(fx->v, ROOT, "f"), d);
	assert_int_equal(volume_parent(fx->v, d, &up), 0);
	assert_int_equal(up, ROOT);
	assert_int_equal(nlink_of(fx->v, a), 2);
	assert_int_equal(nlink_of(fx->v, ROOT), 4);
	check_file(fx->v, f, 'f', 5000);
}

struct history {
	size_t n_gone, n_last, n_present;
	uint64_t last_child;
};

static int count_history(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool present,
			 const char *name)
{
	struct history *h = arg;

	assert_int_equal(parent, ROOT);
	assert_true(link > 0);
	if (present) {
		assert_true(name[0]);
		h->n_present++;
	} else {
		h->n_gone++;
		h->last_child = child;
	}
	return 0;
}

/* Promise: nothing that ever had a name is forgotten: each link that went leaves history, a file
 * saved over its lineage. */
static void history_and_lineage(void **state)
{
	struct fixture *fx = *state;
	uint64_t old = make_file(fx->v, ROOT, "doc", 'o', 10);
	uint64_t heir = make_file(fx->v, ROOT, "doc.tmp", 'n', 9000);
	uint64_t pair[2] = {0, 0};
	struct history h = {0};

	assert_int_equal(volume_rename(fx->v, ROOT, "doc.tmp", ROOT, "doc", 0), 0);
	fixture_remount(fx);
	check_file(fx->v, find_id(fx->v, ROOT, "doc"), 'n', 9000);
	assert_int_equal(volume_edges(fx->v, heir, note_edge, pair), 0);
	assert_int_equal(pair[0], old);
	assert_int_equal(pair[1], VOLUME_EDGE_SAVED_OVER);
	assert_int_equal(volume_edges(fx->v, old, note_edge, pair), 0);
	assert_int_equal(pair[0], heir);
	assert_int_equal(volume_history(fx->v, ROOT, count_history, &h), 0);
	assert_int_equal(h.n_present, 1);
	assert_int_equal(h.n_gone, 2); /* doc -> old, doc.tmp -> heir */
	assert_int_equal(volume_unlink(fx->v, ROOT, "doc"), 0);
	h = (struct history){0};
	assert_int_equal(volume_history(fx->v, ROOT, count_history, &h), 0);
	assert_int_equal(h.n_present, 0);
	assert_int_equal(h.n_gone, 3);
	/* a file that keeps another link is not saved over */
	uint64_t kept = make_file(fx->v, ROOT, "kept", 'k', 10);
	struct volume_attr a;
	assert_int_equal(volume_link(fx->v, kept, ROOT, "kept2", &a), 0);
	volume_forget(fx->v, kept, 1);
	make_file(fx->v, ROOT, "new", 'n', 10);
	assert_int_equal(volume_rename(fx->v, ROOT, "new", ROOT, "kept", 0), 0);
	pair[0] = 0;
	assert_int_equal(volume_edges(fx->v, kept, note_edge, pair), 0);
	assert_int_equal(pair[0], 0);
}

/* Promise: a listing that goes on from a cookie neither repeats nor skips what stood all the time,
 * whatever came and went. */
static void stable_cookies(void **state)
{
	struct fixture *fx = *state;
	struct names first = {.stop_at = 20}, rest = {.stop_at = 64};
	char name[32];

	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "stays%d", i);
		make(fx->v, ROOT, name, S_IFREG);
		snprintf(name, sizeof(name), "goes%d", i);
		if (i < 10)
			make(fx->v, ROOT, name, S_IFREG);
	}
	assert_int_equal(volume_readdir(fx->v, ROOT, 0, false, add_name, &first), 0);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "goes%d", i);
		assert_int_equal(volume_unlink(fx->v, ROOT, name), 0);
		snprintf(name, sizeof(name), "comes%d", i);
		make(fx->v, ROOT, name, S_IFREG);
	}
	fixture_remount(fx);
	assert_int_equal(volume_readdir(fx->v, ROOT, first.cookie[19], false, add_name, &rest), 0);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "stays%d", i);
		assert_int_equal(listed(&first, name) + listed(&rest, name), 1);
	}
	for (size_t i = 1; i < rest.n; i++)
		assert_true(rest.cookie[i] > rest.cookie[i - 1]);
}

/* Promise: a listing with attributes takes a reference to just the entries that were accepted. */
static void readdir_plus_references(void **state)
{
	struct volume *v = ((struct fixture *)*state)->v;
	struct names l = {.stop_at = 1};
	struct volume_attr a;

	make_file(v, ROOT, "a", 'a', 1);
	make_file(v, ROOT, "b", 'b', 1);
	assert_int_equal(volume_readdir(v, ROOT, 0, true, add_name, &l), 0);
	assert_int_equal(l.n, 1);
	assert_int_equal(volume_unlink(v, ROOT, "a"), 0);
	assert_int_equal(volume_unlink(v, ROOT, "b"), 0);
	/* the accepted one is held though unlinked, the other gone */
	assert_int_equal(inodes_in_use(v), 2);
	assert_int_equal(volume_getattr(v, l.id[0], &a), 0);
	volume_forget(v, l.id[0], 1);
	assert_int_equal(inodes_in_use(v), 1);
}

/* ---- attributes ---- */

/* Promise: a set-gid folder hands down its group and, to folders, the bit; the umask applies. */
static void inheritance(void **state)
{
	struct volume *v = ((struct fixture *)*state)->v;
	struct volume_attr in = {.gid = 77, .mode = 02775}, a;
	struct volume_new n = {.mode = S_IFDIR | 0777, .umask = 027, .uid = 5, .gid = 6};
	uint64_t dir = make(v, ROOT, "dir", S_IFDIR | 0755);

	assert_int_equal(volume_setattr(v, dir, VOLUME_SET_GID | VOLUME_SET_MODE, &in, &a), 0);
	assert_int_equal(a.mode, S_IFDIR | 02775);
	assert_int_equal(volume_make(v, dir, "sub", &n, &a), 0);
	volume_forget(v, a.id, 1);
	assert_int_equal(a.gid, 77);
	assert_int_equal(a.uid, 5);
	assert_int_equal(a.mode, S_IFDIR | 02750);
	n.mode = S_IFREG | 0666;
	assert_int_equal(volume_make(v, dir, "file", &n, &a), 0);
	volume_forget(v, a.id, 1);
	assert_int_equal(a.gid, 77);
	assert_int_equal(a.mode, S_IFREG | 0640);
	n.mode = S_IFCHR | 0600;
	n.rdev = 0x0105;
	assert_int_equal(volume_make(v, ROOT, "dev", &n, &a), 0);
	volume_forget(v, a.id, 1);
	assert_int_equal(a.gid, 6);
	assert_int_equal(a.rdev, 0x0105);
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Promise: given times are taken as they are, before 1970 and after 2038; what is not given moves
 * as POSIX says. */
static void times(void **state)
{
	struct fixture *fx = *state;
	uint64_t id = make_file(fx->v, ROOT, "f", 'f', 10);
	struct volume_attr in = {.atime = {-5, 7},
				 .mtime = {INT64_C(1) << 33, 8},
				 .ctime = {9, 10}},
			   a;

	assert_int_equal(volume_setattr(fx->v, id,
					VOLUME_SET_ATIME | VOLUME_SET_MTIME | VOLUME_SET_CTIME, &in,
					&a),
			 0);
	fixture_remount(fx);
	assert_int_equal(volume_getattr(fx->v, id, &a), 0);
	assert_true(same_time(a.atime, in.atime) && same_time(a.mtime, in.mtime) &&
		    same_time(a.ctime, in.ctime));
	/* the kernel's own writeback leaves times alone, a direct write does not */
	assert_int_equal(volume_write(fx->v, id, "x", 1, 0, true), 1);
	assert_int_equal(volume_getattr(fx->v, id, &a), 0);
	assert_true(same_time(a.mtime, in.mtime) && same_time(a.ctime, in.ctime));
	write_at(fx->v, id, "y", 1, 0);
	assert_int_equal(volume_getattr(fx->v, id, &a), 0);
	assert_false(same_time(a.mtime, in.mtime) || same_time(a.ctime, in.ctime));
	in.mtime.tv_nsec = 1000000000;
	assert_int_equal(volume_setattr(fx->v, id, VOLUME_SET_MTIME, &in, &a), -EINVAL);
}

/* Promise: set-id bits fall when asked; sizes are set for files only and within bounds. */
static void setattr_rules(void **state)
{
	struct volume *v = ((struct fixture *)*state)->v;
	uint64_t id = make_file(v, ROOT, "f", 'f', 10), dir = make(v, ROOT, "d", S_IFDIR | 0755);
	uint64_t fifo = make(v, ROOT, "p", S_IFIFO);
	struct volume_attr in = {.mode = 06755, .uid = 3}, a;

	assert_int_equal(volume_setattr(v, id, VOLUME_SET_MODE, &in, &a), 0);
	assert_int_equal(volume_setattr(v, id, VOLUME_SET_UID | VOLUME_KILL_SUIDGID, &in, &a), 0);
	assert_int_equal(a.mode, S_IFREG | 0755);
	assert_int_equal(a.uid, 3);
	in.mode = 02644;
	assert_int_equal(volume_setattr(v, id, VOLUME_SET_MODE, &in, &a), 0);
	assert_int_equal(volume_setattr(v, id, VOLUME_KILL_SUIDGID, &in, &a), 0);
	assert_int_equal(a.mode, S_IFREG | 02644);
	assert_int_equal(volume_setattr(v, dir, VOLUME_SET_SIZE, &in, &a), -EISDIR);
	assert_int_equal(volume_setattr(v, fifo, VOLUME_SET_SIZE, &in, &a), -EINVAL);
	in.size = VOLUME_SIZE_MAX + 1;
	assert_int_equal(volume_setattr(v, id, VOLUME_SET_SIZE, &in, &a), -EFBIG);
	in.size = VOLUME_SIZE_MAX;
	assert_int_equal(volume_setattr(v, id, VOLUME_SET_SIZE, &in, &a), 0);
	assert_int_equal(a.size, VOLUME_SIZE_MAX);
	assert_int_equal(volume_write(v, id, "x", 1, VOLUME_SIZE_MAX, false), -EFBIG);
	assert_int_equal(volume_open_file(v, dir, false), -EISDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    MOUNTED(survives_remount), MOUNTED(name_rules),
	    MOUNTED(dot_names), MOUNTED(found_by_number),        MOUNTED(removal_rules),
	    MOUNTED(removed_folder),   MOUNTED(rename_rules),
	    MOUNTED(exchange),         MOUNTED(history_and_lineage),
	    MOUNTED(stable_cookies),   MOUNTED(readdir_plus_references),
	    MOUNTED(inheritance),      MOUNTED(times),
	    MOUNTED(setattr_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
