/*
 * The files of the tree: tiles and entry bundles, whole and partial, below STORE/trail (C2SP
 * tlog-tiles).
 *
 * A whole tile never changes again. A partial one is a file for each width, never changed either,
 * so that who reads beside the writer finds either the file he knows of or none, and then a newer
 * checkpoint.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/trail_internal.h"

#define BUNDLE_MAX ((size_t)MERKLE_TILE_WIDTH * (2 + TRAIL_ENTRY_LIMIT))

/* Makes the folders that path lies in. */
static int make_folders(int dir_fd, const char *path)
{
	char folder[MERKLE_PATH_MAX];

	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(p - path), path);
		int r = durable_mkdir(dir_fd, folder, 0700);
		if (r)
			return r;
	}
	return 0;
}

static int file_write(int dir_fd, const char *path, const void *p, size_t len)
{
	int r = durable_replace(dir_fd, path, p, len, 0600);

	if (r != -ENOENT)
		return r;
	r = make_folders(dir_fd, path);
	return r ? r : durable_replace(dir_fd, path, p, len, 0600);
}

int trail_tile_write(int dir_fd, unsigned level, uint64_t n, unsigned width,
		     const uint8_t (*hash)[MERKLE_HASH_LEN])
{
	char path[MERKLE_PATH_MAX];

	merkle_tile_path(path, (int)level, n, width);
	return file_write(dir_fd, path, hash, (size_t)width * MERKLE_HASH_LEN);
}

int trail_tile_read(int dir_fd, unsigned level, uint64_t n, unsigned width,
		    uint8_t (*ret)[MERKLE_HASH_LEN])
{
	CLEANUP_FREE uint8_t *buf = NULL;
	char path[MERKLE_PATH_MAX];
	size_t len;

	merkle_tile_path(path, (int)level, n, width);
	int r = durable_read(dir_fd, path, (size_t)MERKLE_TILE_WIDTH * MERKLE_HASH_LEN, &buf, &len);
	if (r)
		return r == -EFBIG ? -EUCLEAN : r;
	if (len != (size_t)width * MERKLE_HASH_LEN)
		return -EUCLEAN;
	memcpy(ret, buf, len);
	return 0;
}

int trail_bundle_write(int dir_fd, uint64_t n, unsigned width, const void *p, size_t len)
{
	char path[MERKLE_PATH_MAX];

	merkle_tile_path(path, MERKLE_ENTRIES, n, width);
	return file_write(dir_fd, path, p, len);
}

int trail_bundle_read(int dir_fd, uint64_t n, unsigned width, uint8_t **ret, size_t *ret_len)
{
	char path[MERKLE_PATH_MAX];

	merkle_tile_path(path, MERKLE_ENTRIES, n, width);
	int r = durable_read(dir_fd, path, BUNDLE_MAX, ret, ret_len);
	return r == -EFBIG ? -EUCLEAN : r;
}

void trail_bundle_put(struct bytes_w *w, const void *entry, size_t len)
{
	bytes_w_u8(w, (uint8_t)(len >> 8));
	bytes_w_u8(w, (uint8_t)len);
	bytes_w_raw(w, entry, len);
}

const uint8_t *trail_bundle_next(struct bytes_r *r, size_t *ret_len)
{
	size_t len = (size_t)bytes_r_u8(r) << 8;

	len |= bytes_r_u8(r);
	const uint8_t *p = bytes_r_raw(r, len);
	if (r->err)
		return NULL;
	*ret_len = len;
	return p;
}

/* --- what a larger tree supersedes --- */

/* Empties the folder of a tile's partial files, but for the one of width keep (0: none). */
static void sweep_folder(int dir_fd, int level, uint64_t n, unsigned keep)
{
	char path[MERKLE_PATH_MAX], kept[8];
	struct dirent *e;

	merkle_tile_path(path, level, n, 1);
	*strrchr(path, '/') = '\0';
	snprintf(kept, sizeof(kept), "%u", keep);
	CLEANUP_FD int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	CLEANUP_DIR DIR *dir = fdopendir(fd);
	if (!dir)
		return;
	int entries_fd = STEAL_FD(fd); /* now dir's */
	while ((e = readdir(dir))) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    strcmp(e->d_name, kept) != 0)
			unlinkat(entries_fd, e->d_name, 0);
	}
	if (!keep)
		unlinkat(dir_fd, path, AT_REMOVEDIR);
}

void trail_tiles_sweep(int dir_fd, uint64_t old_size, uint64_t size)
{
	for (unsigned level = 0; level < MERKLE_LEVELS; level++) {
		uint64_t last = merkle_tile_index(size, level);

		if (merkle_level_size(size, level) == 0)
			break;
		for (uint64_t n = merkle_tile_index(old_size, level); n <= last; n++) {
			unsigned keep = n == last ? merkle_edge_width(size, level) : 0;
			sweep_folder(dir_fd, (int)level, n, keep);
			if (level == 0)
				sweep_folder(dir_fd, MERKLE_ENTRIES, n, keep);
		}
	}
}

/* --- the edge --- */

int trail_edge_read(int dir_fd, uint64_t n, uint64_t size, struct merkle_edge *ret)
{
	uint8_t root[MERKLE_HASH_LEN];
	bool have =
	    false; /* root is of the whole tile one level down, left of which n's edge runs */

	memset(ret, 0, sizeof(*ret));
	ret->size = n;
	for (unsigned level = 0; level < MERKLE_LEVELS; level++) {
		uint64_t index = merkle_tile_index(n, level);
		unsigned at = merkle_edge_width(n, level);
		unsigned width = merkle_tile_width(size, level, index);

		if (width == 0) {
			have = false;
			continue;
		}
		int r = trail_tile_read(dir_fd, level, index, width, ret->hash[level]);
		if (r)
			return r;
		if (have && memcmp(root, ret->hash[level][at], MERKLE_HASH_LEN) != 0)
			return -EUCLEAN;
		have = width == MERKLE_TILE_WIDTH;
		if (have)
			merkle_tile_root(root, ret->hash[level]);
	}
	return 0;
}
