/* Extended attributes: kept exactly, within their limits, and told to snapshots by ctime. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/xattr.h>

#include "fs/engine.h"
#include "tests/unit/snapshot_fixture.h"

static int set(struct fixture *f, uint64_t id, const char *name, const char *val, int flags)
{
	return volume_setxattr(f->v, id, name, val, strlen(val), flags);
}

static void expect(struct fixture *f, uint64_t id, const char *name, const char *val)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	assert_int_equal(volume_getxattr(f->v, id, name, &w), 0);
	assert_int_equal(w.len, strlen(val));
	if (w.len)
		assert_memory_equal(w.buf, val, w.len);
}

/* Promise 4 (identical in xattrs) begins here: what is set is there, in order, also after a
 * remount. */
static void values_are_kept(void **state)
{
	struct fixture *f = *state;
	static const char names[] = "user.b\0user.a\0user.empty";
	CLEANUP_BYTES struct bytes_w w = {0};
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", "x", 1);

	assert_int_equal(volume_getxattr(f->v, id, "user.a", &w), -ENODATA);
	assert_int_equal(set(f, id, "user.b", "one", 0), 0);
	assert_int_equal(set(f, id, "user.a", "two", 0), 0);
	assert_int_equal(set(f, id, "user.empty", "", 0), 0);
	assert_int_equal(set(f, id, "user.b", "longer than before", 0), 0);
	fx_remount(f);
	expect(f, id, "user.b", "longer than before");
	expect(f, id, "user.a", "two");
	expect(f, id, "user.empty", "");
	assert_int_equal(volume_listxattr(f->v, id, &w), 0);
	assert_int_equal(w.len, sizeof(names));
	assert_memory_equal(w.buf, names, sizeof(names));

	assert_int_equal(volume_removexattr(f->v, id, "user.b"), 0);
	assert_int_equal(volume_removexattr(f->v, id, "user.b"), -ENODATA);
	assert_int_equal(volume_removexattr(f->v, id, "user.a"), 0);
	assert_int_equal(volume_removexattr(f->v, id, "user.empty"), 0);
	bytes_w_reset(&w);
	assert_int_equal(volume_listxattr(f->v, id, &w), 0);
	assert_int_equal(w.len, 0);
	fx_remount(f);
	assert_int_equal(volume_listxattr(f->v, id, &w), 0);
	assert_int_equal(w.len, 0);
	assert_int_equal(f->n_alarms, 0);
}

/* setxattr(2): CREATE and REPLACE, and a refused call changes nothing. */
static void flags_are_honoured(void **state)
{
	struct fixture *f = *state;
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", "x", 1);

	assert_int_equal(set(f, id, "user.a", "v", XATTR_REPLACE), -ENODATA);
	assert_int_equal(set(f, id, "user.a", "v", XATTR_CREATE), 0);
	assert_int_equal(set(f, id, "user.a", "w", XATTR_CREATE), -EEXIST);
	expect(f, id, "user.a", "v");
	assert_int_equal(set(f, id, "user.a", "w", XATTR_REPLACE), 0);
	expect(f, id, "user.a", "w");
}

/* Limits answer as the kernel's do, at the boundary and one beyond, and leave what was. */
static void limits_hold(void **state)
{
	struct fixture *f = *state;
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", "x", 1);
	char name[300];
	uint8_t *big = fx_bytes(1, 65537);
	CLEANUP_BYTES struct bytes_w w = {0};
	int r = 0, n = 0;

	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[256] = 0;
	assert_int_equal(set(f, id, name, "v", 0), -ERANGE);
	name[255] = 0;
	assert_int_equal(set(f, id, name, "v", 0), 0);
	expect(f, id, name, "v");
	assert_int_equal(set(f, id, "", "v", 0), -ERANGE);
	assert_int_equal(set(f, id, "system.other", "v", 0), -EOPNOTSUPP);
	assert_int_equal(volume_setxattr(f->v, id, "user.big", big, 65537, 0), -E2BIG);
	assert_int_equal(volume_setxattr(f->v, id, "user.big", big, 65536, 0), 0);
	assert_int_equal(volume_getxattr(f->v, id, "user.big", &w), 0);
	assert_int_equal(w.len, 65536);
	assert_memory_equal(w.buf, big, w.len);

	for (; r == 0 && n < 20; n++) {
		snprintf(name, sizeof(name), "user.%d", n);
		r = volume_setxattr(f->v, id, name, big, 65536, 0);
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(n, 15); /* user.big and fourteen more fit into 1 MiB */
	bytes_w_reset(&w);
	assert_int_equal(volume_getxattr(f->v, id, "user.big", &w), 0);
	assert_memory_equal(w.buf, big, 65536);
	free(big);
}

/* A change of an xattr is a change of the inode: ctime moves, mtime does not. */
static void ctime_moves(void **state)
{
	struct fixture *f = *state;
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", "x", 1);
	struct volume_attr in = {.mtime = {.tv_sec = 5}, .ctime = {.tv_sec = 7}}, a;

	assert_int_equal(volume_setattr(f->v, id, VOLUME_SET_MTIME | VOLUME_SET_CTIME, &in, &a), 0);
	assert_int_equal(set(f, id, "user.a", "v", 0), 0);
	a = fx_attr(f, id);
	assert_int_equal(a.mtime.tv_sec, 5);
	assert_true(a.ctime.tv_sec > 7);
	assert_int_equal(volume_setattr(f->v, id, VOLUME_SET_CTIME, &in, &a), 0);
	assert_int_equal(volume_removexattr(f->v, id, "user.a"), 0);
	assert_true(fx_attr(f, id).ctime.tv_sec > 7);
}

/* Lists come back from sets, too: every truncation and every wild length ends the iteration inside
 * the bytes. */
static void malformed_lists_end(void **state)
{
	CLEANUP_BYTES struct bytes_w list = {0}, next = {0};
	(void)state;

	xattr_replace(NULL, 0, "user.a", "1234", 4, &list);
	xattr_replace(list.buf, list.len, "user.b", "", 0, &next);
	for (size_t len = 0; len <= next.len; len++) {
		size_t pos = 0, val_len;
		const char *name;
		const uint8_t *val;
		uint8_t *copy = malloc(len ? len : 1); /* so that a sanitizer sees the end */

		memcpy(copy, next.buf, len);
		while (volume_xattrs_next(copy, len, &pos, &name, &val, &val_len))
			assert_true(pos <= len);
		assert_int_equal(pos == len, len == 0 || len == list.len || len == next.len);
		free(copy);
	}
	size_t pos = 0, n;
	const char *name;
	const uint8_t *val;
	next.buf[0] = 255;
	assert_false(volume_xattrs_next(next.buf, next.len, &pos, &name, &val, &n));
	next.buf[0] = 6;
	next.buf[3] = 0; /* a zero inside the name */
	assert_false(volume_xattrs_next(next.buf, next.len, &pos, &name, &val, &n));
	next.buf[3] = 'e';
	bytes_put32(next.buf + 8, UINT32_MAX);
	assert_false(volume_xattrs_next(next.buf, next.len, &pos, &name, &val, &n));
	bytes_put32(next.buf + 8, 4);
	assert_true(volume_xattrs_next(next.buf, next.len, &pos, &name, &val, &n));
}

/* Promise 2: an inode that has xattrs whose record is gone or garbled answers EIO, not "none". */
static void damage_is_told(void **state)
{
	struct fixture *f = *state;
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", "x", 1);
	struct rstore_key key = engine_file_key(id, SUB_XATTR);
	CLEANUP_BYTES struct bytes_w w = {0};

	assert_int_equal(set(f, id, "user.a", "v", 0), 0);
	engine_enter(f->v);
	assert_int_equal(rstore_put(f->v->rs, &key, "\x06user", 5), 0);
	engine_leave(f->v);
	assert_int_equal(volume_getxattr(f->v, id, "user.a", &w), -EIO);
	engine_enter(f->v);
	assert_int_equal(rstore_del(f->v->rs, &key), 0);
	engine_leave(f->v);
	assert_int_equal(volume_listxattr(f->v, id, &w), -EIO);
	assert_int_equal(set(f, id, "user.b", "v", 0), -EIO);
	assert_int_equal(f->n_alarms, 3);
}

/* Promise: what meta.db shows of a list's length are steps of 128 bytes. */
static void lengths_are_padded(void **state)
{
	struct fixture *f = *state;
	uint64_t id = fx_file(f, VOLUME_ROOT_ID, "f", "x", 1);
	struct rstore_key key = engine_file_key(id, SUB_XATTR);
	char val[300];

	memset(val, 'v', sizeof(val));
	for (size_t len = 0; len < sizeof(val); len += 7) {
		CLEANUP_BYTES struct bytes_w w = {0}, got = {0};

		assert_int_equal(volume_setxattr(f->v, id, "user.a", val, len, 0), 0);
		engine_enter(f->v);
		assert_int_equal(rstore_get(f->v->rs, &key, &w, NULL), 0);
		engine_leave(f->v);
		assert_true(w.len && w.len % 128 == 0);
		assert_int_equal(volume_getxattr(f->v, id, "user.a", &got), 0);
		assert_int_equal(got.len, len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_VOLUME(values_are_kept),
	    IN_VOLUME(flags_are_honoured),
	    IN_VOLUME(limits_hold),
	    IN_VOLUME(ctime_moves),
	    IN_VOLUME(damage_is_told),
	    IN_VOLUME(lengths_are_padded),
	    cmocka_unit_test(malformed_lists_end),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
