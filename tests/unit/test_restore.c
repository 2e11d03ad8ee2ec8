/* Promise 4: every set gives back exactly the tree of its moment, whatever FUSE's callers made in
 * it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/sysmacros.h>

#include "tests/unit/restore_fixture.h"

#define N_SETS 6

/*
 * Promise 4: a full set and increments over a random life, with a full one between; each restores
 * to the tree of its moment: bytes, names, types, owners, modes, times, xattrs, links and holes.
 */
static void lives_of(struct backup_fixture *b, uint64_t seed)
{
	struct life l = life_begin(b->fx->v, seed);
	char *want[N_SETS];
	struct set_catalog c;
	struct restore_result res;
	size_t before;

	load(b, &c);
	before = c.n_sets;
	set_catalog_free(&c);
	for (size_t i = 0; i < N_SETS; i++) {
		live_on(&l, i ? 150 : 600);
		want[i] = tree_of_volume(b->fx->v, VOLUME_ROOT_ID);
		back_up_only(b, i == 0 || i == 4);
	}
	load(b, &c);
	assert_int_equal(c.n_sets, before + N_SETS);
	for (size_t i = 0; i < N_SETS; i++) {
		assert_int_equal(c.sets[before + i].full, i == 0 || i == 4);
		assert_int_equal(restore(b, &c, before + i, b->out_dir, false, NULL, &res), 0);
		char *got = tree_of_folder(b->out_dir);
		expect_tree(got, want[i]);
		free(got);
		free(want[i]);
		remove_tree(AT_FDCWD, b->out_dir);
	}
	set_catalog_free(&c);
	assert_int_equal(b->fx->n_alarms, 0);
}

static void random_lives(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct backup_fixture *b = *state;

		lives_of(b, seed);
		if (seed < 3) {
			backup_teardown(state);
			backup_setup(state);
		}
	}
}

/* Promise 4: what FUSE's own callers make: devices, sockets, set-id bits, ACLs, capabilities, times
 * before 1970 .. and a name of 255 bytes. */
static void special_things(void **state)
{
	static const uint8_t acl[] = {
	    2, 0,    0,    0,    1,    0,    6,    0, 0xff, 0xff, 0xff, 0xff, 2,    0,    7,
	    0, 0xe8, 3,    0,    0,    4,    0,    4, 0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,
	    7, 0,    0xff, 0xff, 0xff, 0xff, 0x20, 0, 0,    0,    0xff, 0xff, 0xff, 0xff};
	static const uint8_t cap[] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	struct volume_new dev = {.mode = S_IFCHR | 0666, .rdev = makedev(1, 3)};
	struct volume_attr a, in = {.mode = 06755, .mtime = {.tv_sec = -5, .tv_nsec = 999999999}};
	struct restore_result res;
	char longest[VOLUME_NAME_MAX + 1];

	if (geteuid() != 0)
		skip();
	memset(longest, 'x', VOLUME_NAME_MAX);
	longest[VOLUME_NAME_MAX] = 0;
	assert_int_equal(volume_make(v, VOLUME_ROOT_ID, "null", &dev, &a), 0);
	make(v, VOLUME_ROOT_ID, "fifo", S_IFIFO | 0640);
	make(v, VOLUME_ROOT_ID, "socket", S_IFSOCK | 0640);
	uint64_t tool = make_noise(v, VOLUME_ROOT_ID, "tool", 1, 9000);
	assert_int_equal(volume_setattr(v, tool, VOLUME_SET_MODE | VOLUME_SET_MTIME, &in, &a), 0);
	uint64_t shared = make(v, VOLUME_ROOT_ID, "shared", S_IFDIR | 02770);
	assert_int_equal(
	    volume_setxattr(v, shared, "system.posix_acl_default", acl, sizeof(acl), 0), 0);
	uint64_t f = make_noise(v, VOLUME_ROOT_ID, longest, 2, 10);
	assert_int_equal(volume_setxattr(v, f, "system.posix_acl_access", acl, sizeof(acl), 0), 0);
	uint64_t capable = make_noise(v, VOLUME_ROOT_ID, "capable", 3, 10);
	assert_int_equal(volume_setxattr(v, capable, "security.capability", cap, sizeof(cap), 0),
			 0);
	assert_int_equal(
	    volume_setxattr(v, find_id(v, VOLUME_ROOT_ID, "fifo"), "trusted.t", "1", 1, 0), 0);
	make(v, VOLUME_ROOT_ID, "link", S_IFLNK | 0777);
	assert_int_equal(
	    volume_setxattr(v, find_id(v, VOLUME_ROOT_ID, "link"), "trusted.l", "", 0, 0), 0);

	char *want = tree_of_volume(v, VOLUME_ROOT_ID);
	back_up_only(b, true);
	assert_int_equal(restore_latest(b, NULL, &res), 0);
	char *got = tree_of_folder(b->out_dir);
	expect_tree(got, want);
	assert_int_equal(res.n_other, 4);
	assert_int_equal(res.n_dirs, 1);
	assert_int_equal(res.n_files, 3);
	free(got);
	free(want);
}

/* Promise 4: a terabyte of holes costs what it holds, and comes back as holes; increments know what
 * became one. */
static void holes_stay_holes(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;
	struct restore_result res;
	struct volume_attr a, in = {.size = (uint64_t)1 << 40};
	uint64_t id = make(v, VOLUME_ROOT_ID, "sparse", S_IFREG | 0644);
	struct set_catalog c;
	char *want[2];

	assert_int_equal(volume_setattr(v, id, VOLUME_SET_SIZE, &in, &a), 0);
	for (unsigned i = 0; i < 5; i++)
		write_at(v, id, "islands", 7, (uint64_t)i * 77777777777u);
	want[0] = tree_of_volume(v, VOLUME_ROOT_ID);
	back_up_only(b, true);
	assert_int_equal(volume_fallocate(v, id, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  77777770000u, 20000),
			 0);
	write_at(v, id, "another", 7, 999999999999u);
	want[1] = tree_of_volume(v, VOLUME_ROOT_ID);
	back_up_only(b, false);
	load(b, &c);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(restore(b, &c, i, b->out_dir, false, NULL, &res), 0);
		assert_true(res.n_bytes <= 6 * 4096);
		char *got = tree_of_folder(b->out_dir);
		expect_tree(got, want[i]);
		free(got);
		free(want[i]);
		remove_tree(AT_FDCWD, b->out_dir);
	}
	set_catalog_free(&c);
}

static int scribble(void *arg, const struct backup_progress *p)
{
	struct backup_fixture *b = arg;

	if (p->n_records > 2) /* told at most a few times a second: this is the first time */
		return 0;
	write_at(b->fx->v, find_id(b->fx->v, VOLUME_ROOT_ID, "z"), "too late", 8, 0);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "later", 9, 100000);
	assert_int_equal(volume_unlink(b->fx->v, VOLUME_ROOT_ID, "y"), 0);
	return 0;
}

/* Promise 4: writers go on while a set is taken; it holds the moment all the same, and the next
 * increment what they did. */
static void writers_go_on(void **state)
{
	struct backup_fixture *b = *state;
	struct backup_request in = request(b, true);
	struct set_manifest m;
	struct restore_result res;
	char *want, *got;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "y", 1, 50000);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "z", 2, 50000);
	want = tree_of_volume(b->fx->v, VOLUME_ROOT_ID);
	in.progress = scribble;
	assert_int_equal(backup_run(&in, &m, &b->d), 0);
	set_manifest_free(&m);
	assert_int_equal(restore_latest(b, NULL, &res), 0);
	got = tree_of_folder(b->out_dir);
	expect_tree(got, want);
	free(got);
	free(want);
	remove_tree(AT_FDCWD, b->out_dir);

	want = tree_of_volume(b->fx->v, VOLUME_ROOT_ID);
	assert_non_null(strstr(want, "/later"));
	back_up_only(b, false);
	assert_int_equal(restore_latest(b, NULL, &res), 0);
	got = tree_of_folder(b->out_dir);
	expect_tree(got, want);
	free(got);
	free(want);
}

static int give_away(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return lchown(path, 1001, 1001);
}

/* Who is not root gets the content, and is told that owners are not what they were; set-id bits
 * then mean nothing and go. */
static void without_privileges(void **state)
{
	struct backup_fixture *b = *state;
	struct volume_attr a, in = {.mode = 04755};
	int status;

	if (geteuid() != 0)
		skip();
	uint64_t id = make_noise(b->fx->v, VOLUME_ROOT_ID, "tool", 1, 5000); /* 1000:1000's */
	assert_int_equal(volume_setattr(b->fx->v, id, VOLUME_SET_MODE, &in, &a), 0);
	back_up_only(b, true);
	struct set_catalog c;
	load(b, &c);
	struct restore_request rq = {.view = view(b, &c, 0), .to = b->out_dir};
	assert_int_equal(mkdir(b->out_dir, 0700), 0);
	assert_int_equal(chown(b->out_dir, 1001, 1001), 0);
	assert_int_equal(chmod(b->fx->dir, 0711), 0);
	assert_int_equal(nftw(b->repo_dir, give_away, 16, FTW_PHYS), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct restore_result res;
		if (setgid(1001) || setuid(1001))
			_exit(1);
		int err = restore_run(&rq, &res, &b->d);
		_exit(err == -EPERM && res.n_refused == 1 && res.n_files == 1 &&
			      !strcmp(res.first_refused, "tool")
			  ? 0
			  : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	setview_close(rq.view);
	set_catalog_free(&c);
	struct stat st;
	char path[PATH_MAX];
	in_out(b, "tool", path);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0755);
	expect_noise(b, "tool", 1, 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(random_lives),       WITH_REPOSITORY(special_things),
	    WITH_REPOSITORY(holes_stay_holes),   WITH_REPOSITORY(writers_go_on),
	    WITH_REPOSITORY(without_privileges),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
