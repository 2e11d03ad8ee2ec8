/*
 * A SQLite VFS that fails on demand or loses power: see the header.
 */
#include "tests/fault/faulty_vfs.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR 512

struct faulty_file {
	sqlite3_file base;
	char *path;
	sqlite3_file *real; /* lies behind this struct */
};

/* A change not yet synced: bytes [off, off+len) and file size, before and after. */
struct change {
	char *path;
	int64_t off;
	uint8_t *before, *after;
	int64_t before_len, after_len; /* of the bytes; before may be shorter at the end of file */
	int64_t before_size;
	bool truncated; /* to off */
	struct change *older, *newer;
};

static struct {
	sqlite3_vfs *real;
	enum faulty_kind kind;
	uint64_t n, at, reads, read_at;
	bool hit, hit_sync, power_off;
	struct change *oldest, *newest;
} world;

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct faulty_file *)f)->real;
}

/* --- plan --- */

/* Counts an operation; 0, or the error it has to end with. */
static int operation(bool is_sync, int error)
{
	if (world.power_off)
		return SQLITE_IOERR;
	world.n++;
	if (world.kind == FAULTY_NONE || world.n != world.at)
		return SQLITE_OK;
	world.hit = true;
	world.hit_sync = is_sync;
	world.power_off = world.kind == FAULTY_POWER;
	return error;
}

bool faulty_vfs_hit(void)
{
	return world.hit;
}

bool faulty_vfs_hit_sync(void)
{
	return world.hit_sync;
}

/* --- what is not synced --- */

static void change_free(struct change *c)
{
	*(c->older ? &c->older->newer : &world.oldest) = c->newer;
	*(c->newer ? &c->newer->older : &world.newest) = c->older;
	free(c->path);
	free(c->before);
	free(c->after);
	free(c);
}

static void forget_changes(const char *path)
{
	struct change *next;

	for (struct change *c = world.oldest; c; c = next) {
		next = c->newer;
		if (!path || !strcmp(c->path, path))
			change_free(c);
	}
}

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

static uint8_t *read_range(sqlite3_file *real, int64_t off, int64_t len)
{
	uint8_t *p = need(calloc(1, (size_t)len + 1));

	if (len && real->pMethods->xRead(real, p, (int)len, off) != SQLITE_OK)
		abort();
	return p;
}

static void remember(struct faulty_file *f, int64_t off, const void *p, int64_t len, bool truncated)
{
	struct change *c = need(calloc(1, sizeof(*c)));
	sqlite3_int64 size;
	int64_t end;

	f->real->pMethods->xFileSize(f->real, &size);
	end = truncated || off + len > size ? size : off + len;
	c->path = need(strdup(f->path));
	c->off = off;
	c->truncated = truncated;
	c->before_size = size;
	c->before_len = end > off ? end - off : 0;
	c->before = read_range(f->real, off, c->before_len);
	c->after_len = len;
	c->after = need(malloc((size_t)len + 1));
	if (len)
		memcpy(c->after, p, (size_t)len);
	c->older = world.newest;
	*(world.newest ? &world.newest->newer : &world.oldest) = c;
	world.newest = c;
}

static void put_bytes(const char *path, const uint8_t *p, int64_t len, int64_t off)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, p, (size_t)len, off) != len)
		abort();
	close(fd);
}

static void put_size(const char *path, int64_t size)
{
	if (truncate(path, size) < 0)
		abort();
}

static void undo(const struct change *c)
{
	if (c->before_len)
		put_bytes(c->path, c->before, c->before_len, c->off);
	put_size(c->path, c->before_size);
}

static void redo(const struct change *c, uint64_t dice)
{
	int64_t len = c->after_len;

	if (c->truncated) {
		put_size(c->path, c->off);
		return;
	}
	if ((dice & 7) == 0 && len > SECTOR)
		len = (int64_t)(dice >> 8) % (len / SECTOR) * SECTOR;
	if (len)
		put_bytes(c->path, c->after, len, c->off);
}

void faulty_vfs_plan(enum faulty_kind kind, uint64_t at)
{
	world.kind = kind;
	world.at = at;
	world.n = world.reads = world.read_at = 0;
	world.hit = world.hit_sync = false;
	forget_changes(NULL);
}

void faulty_vfs_plan_read(uint64_t at)
{
	faulty_vfs_plan(FAULTY_NONE, 0);
	world.read_at = at;
}

void faulty_vfs_restore(enum faulty_keep keep, uint64_t seed)
{
	if (keep != FAULTY_KEEP_ALL) {
		for (struct change *c = world.newest; c; c = c->older)
			undo(c);
	}
	for (struct change *c = world.oldest; c && keep == FAULTY_KEEP_SOME; c = c->newer) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		if (seed >> 63)
			redo(c, seed >> 8);
	}
	world.power_off = false;
	faulty_vfs_plan(FAULTY_NONE, 0);
}

/* --- files --- */

static int file_close(sqlite3_file *f)
{
	struct faulty_file *ff = (struct faulty_file *)f;
	int rc = ff->real->pMethods->xClose(ff->real);

	free(ff->path);
	return rc;
}

static int file_read(sqlite3_file *f, void *p, int n, sqlite3_int64 off)
{
	if (++world.reads == world.read_at) {
		world.hit = true;
		return SQLITE_IOERR_READ;
	}
	return real_of(f)->pMethods->xRead(real_of(f), p, n, off);
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 off)
{
	bool was_on = !world.power_off;
	int rc = operation(false, world.kind == FAULTY_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE);

	/* The write during which the power goes may still arrive. */
	if (!rc || (was_on && world.power_off))
		remember((struct faulty_file *)f, off, p, n, false);
	return rc ? rc : real_of(f)->pMethods->xWrite(real_of(f), p, n, off);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = operation(false, SQLITE_IOERR_TRUNCATE);

	if (rc)
		return rc;
	remember((struct faulty_file *)f, size, NULL, 0, true);
	return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
	int rc = operation(true, SQLITE_IOERR_FSYNC);

	(void)flags;
	if (!rc)
		forget_changes(((struct faulty_file *)f)->path);
	return rc;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), ret);
}

static int file_lock(sqlite3_file *f, int how)
{
	return real_of(f)->pMethods->xLock(real_of(f), how);
}

static int file_unlock(sqlite3_file *f, int how)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), how);
}

static int file_reserved(sqlite3_file *f, int *ret)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int file_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int file_traits(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static const sqlite3_io_methods methods = {
    .iVersion = 1, /* no shared memory, no mapping */
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_traits,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	struct faulty_file *ff = (struct faulty_file *)f;
	int rc;

	(void)vfs;
	memset(ff, 0, sizeof(*ff));
	ff->real = (sqlite3_file *)(void *)(ff + 1);
	rc = world.real->xOpen(world.real, name, ff->real, flags, ret_flags);
	if (rc != SQLITE_OK)
		return rc;
	ff->path = need(strdup(name ? name : ""));
	ff->base.pMethods = &methods;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	int rc = operation(false, SQLITE_IOERR_DELETE);

	(void)vfs;
	if (rc)
		return rc;
	forget_changes(name);
	return world.real->xDelete(world.real, name, sync_dir);
}

void faulty_vfs_install(void)
{
	static sqlite3_vfs vfs;

	world.real = sqlite3_vfs_find(NULL);
	vfs = *world.real;
	vfs.pNext = NULL;
	vfs.zName = "faulty";
	vfs.szOsFile = (int)sizeof(struct faulty_file) + world.real->szOsFile;
	vfs.xOpen = vfs_open;
	vfs.xDelete = vfs_delete;
	if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK)
		abort();
}
