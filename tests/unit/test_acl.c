/* Access control lists: only valid ones are kept, they and the mode agree, and folders hand theirs
 * down (POSIX.1e). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "fs/engine.h"
#include "tests/unit/snapshot_fixture.h"

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"
#define U_OBJ 1
#define USER 2
#define G_OBJ 4
#define GROUP 8
#define MASK 16
#define OTHER 32
#define NO_ID UINT32_MAX

struct entry {
	uint16_t tag, perm;
	uint32_t id;
};

static void encode(struct bytes_w *w, const struct entry *e, size_t n)
{
	bytes_w_reset(w);
	bytes_w_u32(w, 2);
	for (size_t i = 0; i < n; i++) {
		bytes_w_u16(w, e[i].tag);
		bytes_w_u16(w, e[i].perm);
		bytes_w_u32(w, e[i].id);
	}
}

static int set(struct fixture *f, uint64_t id, const char *name, const struct entry *e, size_t n)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	encode(&w, e, n);
	return volume_setxattr(f->v, id, name, w.buf, w.len, 0);
}

static void expect(struct fixture *f, uint64_t id, const char *name, const struct entry *e,
		   size_t n)
{
	CLEANUP_BYTES struct bytes_w want = {0}, got = {0};

	encode(&want, e, n);
	assert_int_equal(volume_getxattr(f->v, id, name, &got), 0);
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.buf, want.buf, want.len);
}

static void expect_none(struct fixture *f, uint64_t id, const char *name)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	assert_int_equal(volume_getxattr(f->v, id, name, &w), -ENODATA);
}

static unsigned mode(struct fixture *f, uint64_t id)
{
	return fx_attr(f, id).mode & 07777;
}

/* What the kernel would refuse to store is refused here, and the mode stays. */
static void invalid_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", "x", 1);
	static const struct {
		struct entry e[6];
		size_t n;
	} bad[] = {
	    {{{U_OBJ, 7, NO_ID}, {G_OBJ, 5, NO_ID}}, 2},                    /* no other */
	    {{{G_OBJ, 5, NO_ID}, {OTHER, 5, NO_ID}}, 2},                    /* no owner */
	    {{{U_OBJ, 7, NO_ID}, {OTHER, 5, NO_ID}, {G_OBJ, 5, NO_ID}}, 3}, /* order */
	    {{{U_OBJ, 7, NO_ID}, {U_OBJ, 7, NO_ID}, {G_OBJ, 5, NO_ID}, {OTHER, 5, NO_ID}}, 4},
	    {{{U_OBJ, 7, NO_ID}, {USER, 7, 5}, {G_OBJ, 5, NO_ID}, {OTHER, 5, NO_ID}}, 4}, /* mask */
	    {{{U_OBJ, 8, NO_ID}, {G_OBJ, 5, NO_ID}, {OTHER, 5, NO_ID}}, 3}, /* permission */
	    {{{U_OBJ, 7, NO_ID}, {3, 7, 5}, {G_OBJ, 5, NO_ID}, {OTHER, 5, NO_ID}}, 4}, /* tag */
	    {{{U_OBJ, 7, NO_ID},
	      {USER, 7, NO_ID},
	      {G_OBJ, 5, NO_ID},
	      {MASK, 7, NO_ID},
	      {OTHER, 5, NO_ID}},
	     5}, /* nobody */
	};
	CLEANUP_BYTES struct bytes_w w = {0};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(set(f, id, ACCESS, bad[i].e, bad[i].n), -EINVAL);
	encode(&w, (struct entry[]){{U_OBJ, 7, NO_ID}, {G_OBJ, 5, NO_ID}, {OTHER, 5, NO_ID}}, 3);
	for (size_t len = 1; len < w.len; len++)
		if (len != 4)
			assert_int_equal(volume_setxattr(f->v, id, ACCESS, w.buf, len, 0), -EINVAL);
	w.buf[0] = 3;
	assert_int_equal(volume_setxattr(f->v, id, ACCESS, w.buf, w.len, 0), -EOPNOTSUPP);
	assert_int_equal(mode(f, id), 0644);
	expect_none(f, id, ACCESS);
}

/* An access ACL and the mode say the same, whichever is set. */
static void mode_and_acl_agree(void **state)
{
	struct fixture *f = *state;
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", "x", 1);
	struct entry e[] = {{U_OBJ, 7, NO_ID}, {USER, 6, 42},    {G_OBJ, 1, NO_ID},
			    {GROUP, 7, 43},    {MASK, 4, NO_ID}, {OTHER, 0, NO_ID}};
	struct volume_attr in = {.mode = 0521}, out;

	assert_int_equal(set(f, id, ACCESS, e, 6), 0);
	assert_int_equal(mode(f, id), 0740);
	fx_remount(f);
	assert_int_equal(mode(f, id), 0740);
	expect(f, id, ACCESS, e, 6);
	assert_int_equal(volume_setattr(f->v, id, VOLUME_SET_MODE, &in, &out), 0);
	e[0].perm = 5;
	e[4].perm = 2; /* the group bits are the mask's */
	e[5].perm = 1;
	expect(f, id, ACCESS, e, 6);
	assert_int_equal(mode(f, id), 0521);
	/* Removing it leaves the mode. */
	assert_int_equal(volume_removexattr(f->v, id, ACCESS), 0);
	assert_int_equal(volume_removexattr(f->v, id, ACCESS), 0);
	expect_none(f, id, ACCESS);
	assert_int_equal(mode(f, id), 0521);
}

/* One that says no more than a mode is not kept; nor is an empty one. */
static void plain_is_dropped(void **state)
{
	struct fixture *f = *state;
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", "x", 1);
	const struct entry plain[] = {{U_OBJ, 6, NO_ID}, {G_OBJ, 2, NO_ID}, {OTHER, 1, NO_ID}};
	const struct entry more[] = {
	    {U_OBJ, 6, NO_ID}, {G_OBJ, 2, NO_ID}, {MASK, 7, NO_ID}, {OTHER, 1, NO_ID}};

	assert_int_equal(set(f, id, ACCESS, more, 4), 0);
	expect(f, id, ACCESS, more, 4);
	assert_int_equal(mode(f, id), 0671);
	assert_int_equal(set(f, id, ACCESS, plain, 3), 0);
	expect_none(f, id, ACCESS);
	assert_int_equal(mode(f, id), 0621);
	assert_int_equal(set(f, id, ACCESS, more, 4), 0);
	assert_int_equal(set(f, id, ACCESS, NULL, 0), 0);
	expect_none(f, id, ACCESS);
}

/* Default ACLs belong to folders, ACLs to nothing that is a symlink. */
static void only_where_they_belong(void **state)
{
	struct fixture *f = *state;
	const struct entry e[] = {{U_OBJ, 6, NO_ID}, {G_OBJ, 2, NO_ID}, {OTHER, 1, NO_ID}};
	uint64_t file = fx_file(f, VOLUME_ROOT_ID, "f", "x", 1);
	uint64_t link = fx_make(f, VOLUME_ROOT_ID, "l", S_IFLNK | 0777);

	assert_int_equal(set(f, file, DEFAULT, e, 3), -EACCES);
	assert_int_equal(set(f, file, "system.posix_acl_else", e, 3), -EOPNOTSUPP);
	assert_int_equal(set(f, link, ACCESS, e, 3), -EOPNOTSUPP);
	assert_int_equal(set(f, VOLUME_ROOT_ID, DEFAULT, e, 3), 0);
	expect(f, VOLUME_ROOT_ID, DEFAULT, e, 3);
	assert_int_equal(volume_removexattr(f->v, VOLUME_ROOT_ID, DEFAULT), 0);
	expect_none(f, VOLUME_ROOT_ID, DEFAULT);
}

/* POSIX.1e 23.3: with a default ACL the umask says nothing, without it alone does. */
static void folders_hand_down(void **state)
{
	struct fixture *f = *state;
	const struct entry def[] = {{U_OBJ, 7, NO_ID},
				    {USER, 7, 42},
				    {G_OBJ, 7, NO_ID},
				    {MASK, 7, NO_ID},
				    {OTHER, 5, NO_ID}};
	struct entry acc[5];
	struct volume_new in = {.mode = S_IFREG | 0666, .umask = 077, .uid = 1, .gid = 1};
	struct volume_attr a;
	uint64_t dir = fx_dir(f, VOLUME_ROOT_ID, "d");

	assert_int_equal(volume_make(f->v, dir, "before", &in, &a), 0);
	assert_int_equal(a.mode & 07777, 0600);
	expect_none(f, a.id, ACCESS);
	volume_forget(f->v, a.id, 1);

	assert_int_equal(set(f, dir, DEFAULT, def, 5), 0);
	assert_int_equal(volume_make(f->v, dir, "file", &in, &a), 0);
	volume_forget(f->v, a.id, 1);
	memcpy(acc, def, sizeof(acc));
	acc[0].perm = 6; /* masked by 0666: owner, mask and other */
	acc[3].perm = 6;
	acc[4].perm = 4;
	fx_remount(f);
	assert_int_equal(mode(f, a.id), 0664);
	expect(f, a.id, ACCESS, acc, 5);
	expect_none(f, a.id, DEFAULT);

	in.mode = S_IFDIR | 0750;
	assert_int_equal(volume_make(f->v, dir, "sub", &in, &a), 0);
	volume_forget(f->v, a.id, 1);
	acc[0].perm = 7;
	acc[3].perm = 5;
	acc[4].perm = 0;
	fx_remount(f);
	assert_int_equal(mode(f, a.id), 0750);
	expect(f, a.id, ACCESS, acc, 5);
	expect(f, a.id, DEFAULT, def, 5);
	/* The record that the ACL took along knows where the folder stands. */
	uint64_t parent;
	assert_int_equal(volume_parent(f->v, a.id, &parent), 0);
	assert_int_equal(parent, dir);
	assert_int_equal(f->n_alarms, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_VOLUME(invalid_is_refused),
	    IN_VOLUME(mode_and_acl_agree),
	    IN_VOLUME(plain_is_dropped),
	    IN_VOLUME(only_where_they_belong),
	    IN_VOLUME(folders_hand_down),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
