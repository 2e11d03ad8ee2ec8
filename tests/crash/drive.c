/*
 * Operations on a volume: see the header.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/crash/drive.h"

#include <linux/falloc.h>

#include "tests/crash/view.h"

const char *drive_name(unsigned letter)
{
	static char names[OPS_LETTERS][VOLUME_NAME_MAX + 1];
	char *name = names[letter];

	if (!name[0])
		memset(name, (int)('a' + letter), letter >= OPS_LETTERS - 2 ? VOLUME_NAME_MAX : 1);
	return name;
}

bool drive_wrong(struct driver *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->why, sizeof(d->why), fmt, ap);
	va_end(ap);
	return false;
}

/* ---- a volume ---- */

void driver_create(struct fixture *fx, struct identity *who)
{
	const struct header_unlock with = {.identity = who};

	fixture_create_keys(fx, fx->dir, who);
	assert_int_equal(keyring_open(fx->store, &with, 0, &fx->kr, &fx->d), 0);
	struct volume_config cfg = fixture_config(fx);
	assert_int_equal(volume_create(&cfg, 1000, 1000, &fx->d), 0);
	fixture_close_keys(fx);
}

bool driver_mount(struct driver *d, bool read_only)
{
	const struct header_unlock with = {.identity = d->who};
	struct fixture *fx = d->fx;
	int r = keyring_open(fx->store, &with, 0, &fx->kr, &fx->d);

	fx->n_alarms = 0;
	if (r)
		return drive_wrong(d, "the keys do not open: %d", r);
	struct volume_config cfg = fixture_config(fx);
	cfg.read_only = read_only;
	r = volume_open(&cfg, &fx->v, &fx->d);
	if (r == 0)
		return true;
	fixture_close_keys(fx);
	return drive_wrong(d, "does not mount: %d", r);
}

bool driver_unmount(struct driver *d)
{
	struct fixture *fx = d->fx;

	for (unsigned h = 0; h < OPS_HANDLES; h++) {
		if (d->ref.handle[h])
			volume_release_file(fx->v, d->ref.n[d->ref.handle[h]].id, true);
	}
	reference_close_all(&d->ref);
	int r = volume_close(fx->v);
	fx->v = NULL;
	fixture_close_keys(fx);
	return r ? drive_wrong(d, "closing ends with %d", r) : true;
}

void driver_end(struct driver *d)
{
	reference_drop(&d->ref);
	if (d->at_snap.next_serial)
		reference_drop(&d->at_snap);
}

/* ---- operations; all ids are found before the reference changes ---- */

struct where {
	uint64_t id, parent, to_id, to_parent;
	const char *name, *to_name;
};

static void locate(const struct reference *r, const char *path, uint64_t *ret_id,
		   uint64_t *ret_parent, const char **ret_name)
{
	unsigned letter = 0, dir = reference_parent(r, path, &letter);

	*ret_id = r->n[reference_find(r, path)].id;
	*ret_parent = r->n[dir].id;
	*ret_name = drive_name(letter);
}

static int make_inode(struct driver *d, const struct op *op, const struct where *w)
{
	static const uint32_t special[] = {S_IFIFO, S_IFSOCK, S_IFCHR};
	char target[16];
	struct volume_new in = {.uid = 1000, .gid = 1000};
	struct volume_attr a;

	snprintf(target, sizeof(target), "%u", op->salt);
	switch (op->kind) {
	case OP_MKDIR:
		in.mode = S_IFDIR | 0644;
		break;
	case OP_SYMLINK:
		in.mode = S_IFLNK | 0777;
		in.target = target;
		break;
	case OP_MKNOD:
		in.mode = special[op->salt % 3] | 0644;
		in.rdev = op->salt % 3 == 2 ? op->salt % 1000 : 0;
		break;
	default:
		in.mode = S_IFREG | 0644;
		break;
	}
	bool unnamed = op->kind == OP_TMPFILE;
	int r = volume_make(d->fx->v, unnamed ? 0 : w->parent, unnamed ? NULL : w->name, &in, &a);
	if (r)
		return r;
	d->ref.n[reference_find(&d->ref, op->path)].id = a.id;
	if (unnamed)
		r = volume_open_file(d->fx->v, a.id, true);
	volume_forget(d->fx->v, a.id, 1);
	return r;
}

static int link_inode(struct driver *d, const struct where *w)
{
	struct volume_attr a;
	int r = volume_link(d->fx->v, w->id, w->to_parent, w->to_name, &a);

	if (r == 0)
		volume_forget(d->fx->v, a.id, 1);
	return r;
}

static int write_range(struct driver *d, const struct op *op, const struct where *w)
{
	static uint8_t p[1 << 16]; /* no allocation: those of the engine are counted */

	assert_true(op->len <= sizeof(p));
	for (size_t i = 0; i < op->len; i++)
		p[i] = ops_byte(op->salt, i);
	ssize_t n = volume_write(d->fx->v, w->id, p, op->len, op->off, op->salt % 2);
	/* Less than asked for is how a failure in the middle is told. */
	return n < 0 ? (int)n : n < (ssize_t)op->len ? -EIO : 0;
}

static int change_content(struct driver *d, const struct op *op, const struct where *w)
{
	static const int modes[] = {
	    [OP_ALLOCATE] = 0,
	    [OP_ALLOCATE_KEEP] = FALLOC_FL_KEEP_SIZE,
	    [OP_PUNCH] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    [OP_ZERO] = FALLOC_FL_ZERO_RANGE,
	    [OP_ZERO_KEEP] = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	struct volume_attr in = {.size = op->off}, out;
	ssize_t n;

	switch (op->kind) {
	case OP_WRITE:
		return write_range(d, op, w);
	case OP_TRUNCATE:
		return volume_setattr(d->fx->v, w->id, VOLUME_SET_SIZE, &in, &out);
	case OP_COPY:
		n = volume_copy(d->fx->v, w->id, op->salt % 5000, w->to_id, op->off, op->len);
		return n < 0 ? (int)n : 0;
	default:
		return volume_fallocate(d->fx->v, w->id, modes[op->kind], op->off, op->len);
	}
}

static int change_attr(struct driver *d, const struct op *op, const struct where *w)
{
	struct volume_attr in = {.mode = op->salt & 0777,
				 .uid = op->salt % 1000,
				 .gid = op->salt / 1000 % 1000},
			   out;
	uint8_t value[4096];
	char name[16];

	snprintf(name, sizeof(name), "user.%u", op->salt % REFERENCE_XATTRS);
	switch (op->kind) {
	case OP_CHMOD:
		return volume_setattr(d->fx->v, w->id, VOLUME_SET_MODE, &in, &out);
	case OP_CHOWN:
		return volume_setattr(d->fx->v, w->id, VOLUME_SET_UID | VOLUME_SET_GID, &in, &out);
	case OP_SETXATTR:
		return volume_setxattr(d->fx->v, w->id, name, value,
				       ops_xattr_value(op->salt | 1u << 30, value), 0);
	default:
		return volume_removexattr(d->fx->v, w->id, name);
	}
}

static int change_handle(struct driver *d, const struct op *op, const struct where *w)
{
	if (op->kind == OP_OPEN)
		return volume_open_file(d->fx->v, w->id, true);
	volume_release_file(d->fx->v, w->id, true);
	return 0;
}

static int change_name(struct driver *d, const struct op *op, const struct where *w)
{
	unsigned flags = op->kind == OP_RENAME_NOREPLACE  ? RENAME_NOREPLACE
			 : op->kind == OP_RENAME_EXCHANGE ? RENAME_EXCHANGE
							  : 0;

	if (op->kind == OP_UNLINK)
		return volume_unlink(d->fx->v, w->parent, w->name);
	if (op->kind == OP_RMDIR)
		return volume_rmdir(d->fx->v, w->parent, w->name);
	return volume_rename(d->fx->v, w->parent, w->name, w->to_parent, w->to_name, flags);
}

static int change_snapshot(struct driver *d, const struct op *op)
{
	int r = 0;

	if (op->kind == OP_SNAPSHOT) {
		r = volume_snapshot_open(d->fx->v, &d->snap);
		if (r == 0)
			reference_copy(&d->at_snap, &d->ref);
		return r;
	}
	if (!view_snapshot_fits(d))
		return d->got;
	r = volume_snapshot_close(d->fx->v, &d->snap);
	reference_drop(&d->at_snap);
	return r;
}

/* Nothing but a mount ends a snapshot in these tests. */
static int remount(struct driver *d)
{
	if (!driver_unmount(d) || !driver_mount(d, false))
		return -EBADMSG;
	if (d->at_snap.next_serial)
		reference_drop(&d->at_snap);
	return 0;
}

static int perform(struct driver *d, const struct op *op, const struct where *w)
{
	switch (op->kind) {
	case OP_CREATE ... OP_MKNOD:
	case OP_TMPFILE:
		return make_inode(d, op, w);
	case OP_LINK:
		return link_inode(d, w);
	case OP_UNLINK ... OP_RENAME_EXCHANGE:
		return change_name(d, op, w);
	case OP_WRITE ... OP_COPY:
		return change_content(d, op, w);
	case OP_CHMOD ... OP_REMOVEXATTR:
		return change_attr(d, op, w);
	case OP_OPEN:
	case OP_CLOSE:
		return change_handle(d, op, w);
	case OP_FSYNC:
		return volume_fsync(d->fx->v, w->id);
	case OP_SYNC:
		return volume_sync(d->fx->v);
	case OP_SNAPSHOT:
	case OP_SNAPSHOT_END:
		return change_snapshot(d, op);
	case OP_REMOUNT:
		return remount(d);
	default:
		return view_file_fits(d, reference_find(&d->ref, op->path)) ? 0 : -EBADMSG;
	}
}

static bool makes_sense(const struct driver *d, const struct op *op)
{
	bool open = d->at_snap.next_serial != 0;

	return op->kind == OP_SNAPSHOT ? !open : op->kind == OP_SNAPSHOT_END ? open : true;
}

/* Handles are let go of by driver_unmount, which tells the reference. */
static int step_reference(struct driver *d, const struct op *op)
{
	struct op sync = {.kind = OP_SYNC};

	return reference_do(&d->ref, op->kind == OP_REMOUNT ? &sync : op, d->steps + 1);
}

enum drive_result drive(struct driver *d, const struct op *op, void (*before)(void *), void *arg)
{
	struct where w;

	if (!makes_sense(d, op))
		return DRIVE_SKIPPED;
	locate(&d->ref, op->path, &w.id, &w.parent, &w.name);
	locate(&d->ref, op->to, &w.to_id, &w.to_parent, &w.to_name);
	int want = step_reference(d, op);
	if (want == REFERENCE_SKIP)
		return DRIVE_SKIPPED;
	d->steps++;
	if (before)
		before(arg);
	d->why[0] = '\0';
	int got = perform(d, op, &w);
	d->got = got;
	if (d->fx->n_alarms)
		drive_wrong(d, "%u alarms", d->fx->n_alarms);
	else if (got != want && !d->why[0])
		drive_wrong(d, "ended with %d instead of %d", got, want);
	return d->why[0] ? DRIVE_WRONG : DRIVE_DONE;
}
