/*
 * The building half: what a power cut leaves. See medium.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/fault/medium_internal.h"

struct content {
	uint8_t *p;
	size_t len, cap;
};

struct entry {
	const char *path; /* of the base or of a call */
	bool folder;
	unsigned file;
};

struct medium_state {
	struct content *files; /* by number */
	struct entry *entries;
	size_t n_entries, cap_entries;
};

/* ---- what was synced when ---- */

static bool in_folder(const char *path, const char *folder)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	return strlen(folder) == n && !memcmp(path, folder, n);
}

static bool covers(const struct medium_op *sync, const struct medium_op *op)
{
	bool of_file = op->kind <= MEDIUM_PUNCH;

	switch (sync->kind) {
	case MEDIUM_SYNC:
		return of_file && op->file == sync->file;
	case MEDIUM_SYNC_FOLDER:
		return !of_file && op->path && op->kind < MEDIUM_SYNC_FOLDER &&
		       in_folder(op->to ? op->to : op->path, sync->path);
	case MEDIUM_SYNC_ALL:
		return true;
	default:
		return false;
	}
}

/* The first sync that covers it. When one of a file's failed, nobody owes its bytes any more;
 * entries are in a journal, which remembers. */
static void find_sync(size_t at)
{
	struct medium_op *op = &medium.ops[at];

	for (size_t i = at + 1; i < medium.n_ops; i++) {
		if (!covers(&medium.ops[i], op) ||
		    (medium.ops[i].failed && op->kind > MEDIUM_PUNCH))
			continue;
		op->synced_at = medium.ops[i].failed ? SIZE_MAX - 1 : i;
		return;
	}
	op->synced_at = SIZE_MAX - 1;
}

static bool durable(size_t at, size_t n_ops)
{
	if (medium.ops[at].synced_at == SIZE_MAX)
		find_sync(at);
	return medium.ops[at].synced_at < n_ops;
}

/* ---- applying calls ---- */

static void reach(struct content *c, size_t len)
{
	if (len > c->cap) {
		c->cap = len + len / 2 + 4096;
		c->p = medium_need(realloc(c->p, c->cap));
	}
	if (len > c->len) {
		memset(c->p + c->len, 0, len - c->len);
		c->len = len;
	}
}

static uint64_t dice(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed * 0x2545f4914f6cdd1dULL >> 33;
}

/* unit 0: whole. Units are those of the file, not of the write. */
static void put_write(struct content *c, const struct medium_op *op, unsigned unit, uint64_t *seed)
{
	if (!unit) {
		reach(c, op->off + op->len);
		memcpy(c->p + op->off, op->data, op->len);
		return;
	}
	for (size_t at = 0, n; at < op->len; at += n) {
		n = unit - (op->off + at) % unit;
		n = n < op->len - at ? n : op->len - at;
		if (dice(seed) & 1)
			continue;
		reach(c, op->off + at + n);
		memcpy(c->p + op->off + at, op->data + at, n);
	}
}

static void punch(struct content *c, const struct medium_op *op)
{
	if (op->off < c->len)
		memset(c->p + op->off, 0, op->len < c->len - op->off ? op->len : c->len - op->off);
}

static void add_entry(struct medium_state *s, const char *path, bool folder, unsigned file)
{
	if (s->n_entries == s->cap_entries) {
		s->cap_entries = s->cap_entries ? 2 * s->cap_entries : 64;
		s->entries =
		    medium_need(reallocarray(s->entries, s->cap_entries, sizeof(*s->entries)));
	}
	s->entries[s->n_entries++] = (struct entry){path, folder, file};
}

static struct entry *find_entry(const struct medium_state *s, const char *path)
{
	for (size_t i = 0; i < s->n_entries; i++) {
		if (!strcmp(s->entries[i].path, path))
			return &s->entries[i];
	}
	return NULL;
}

static void remove_entry(struct medium_state *s, const char *path)
{
	struct entry *e = find_entry(s, path);

	if (e)
		*e = s->entries[--s->n_entries];
}

static void apply_entry(struct medium_state *s, const struct medium_op *op)
{
	struct entry *e;

	switch (op->kind) {
	case MEDIUM_CREATE:
		remove_entry(s, op->path);
		add_entry(s, op->path, false, op->file);
		break;
	case MEDIUM_MKDIR:
		remove_entry(s, op->path);
		add_entry(s, op->path, true, 0);
		break;
	case MEDIUM_UNLINK:
		remove_entry(s, op->path);
		break;
	case MEDIUM_RENAME:
		e = find_entry(s, op->path);
		if (e) {
			struct entry moved = *e;

			remove_entry(s, op->path);
			remove_entry(s, op->to);
			add_entry(s, op->to, moved.folder, moved.file);
		}
		break;
	default:
		break;
	}
}

static void apply(struct medium_state *s, const struct medium_op *op, unsigned unit, uint64_t *seed)
{
	struct content *c = &s->files[op->file];

	switch (op->kind) {
	case MEDIUM_WRITE:
		put_write(c, op, unit, seed);
		break;
	case MEDIUM_TRUNCATE:
		if (op->off < c->len)
			c->len = op->off;
		reach(c, op->off);
		break;
	case MEDIUM_PUNCH:
		punch(c, op);
		break;
	default:
		apply_entry(s, op);
		break;
	}
}

static void apply_unsynced(struct medium_state *s, const struct medium_op *op,
			   enum medium_keep keep, unsigned unit, uint64_t *seed)
{
	uint64_t d = dice(seed);

	switch (keep) {
	case MEDIUM_SYNCED:
		break;
	case MEDIUM_ALL:
		apply(s, op, 0, seed);
		break;
	case MEDIUM_SOME:
		if (d & 1)
			apply(s, op, 0, seed);
		break;
	case MEDIUM_TORN:
		if (d & 3)
			apply(s, op, (d & 4) ? unit : 0, seed);
		break;
	}
}

struct medium_state *medium_cut(size_t n_ops, enum medium_keep keep, unsigned unit, uint64_t seed)
{
	struct medium_state *s = medium_need(calloc(1, sizeof(*s)));

	seed = seed * 0x9e3779b97f4a7c15ULL + 1;
	s->files = medium_need(calloc(medium.n_files + 1u, sizeof(*s->files)));
	for (unsigned i = 0; i < medium.n_base; i++) {
		const struct medium_base *b = &medium.base[i];

		add_entry(s, b->path, b->folder, b->file);
		if (b->folder || !b->len)
			continue;
		reach(&s->files[b->file], b->len);
		memcpy(s->files[b->file].p, b->data, b->len);
	}
	for (size_t i = 0; i < n_ops && i < medium.n_ops; i++) {
		if (durable(i, n_ops))
			apply(s, &medium.ops[i], 0, &seed);
		else
			apply_unsynced(s, &medium.ops[i], keep, unit, &seed);
	}
	return s;
}

void medium_state_free(struct medium_state *s)
{
	for (unsigned i = 0; i < medium.n_files; i++)
		free(s->files[i].p);
	free(s->files);
	free(s->entries);
	free(s);
}

/* ---- using it ---- */

/* The same for the same names and contents, in whichever order they came to be. */
uint64_t medium_state_hash(const struct medium_state *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n_entries; i++) {
		const struct entry *e = &s->entries[i];
		uint64_t h = XXH3_64bits(e->path, strlen(e->path));

		if (!e->folder && s->files[e->file].len)
			h = XXH3_64bits_withSeed(s->files[e->file].p, s->files[e->file].len, h);
		sum += h * 2 + e->folder;
	}
	return sum;
}

static void clear_folder(const struct medium_state *s, const char *rel)
{
	char abs[3 * PATH_MAX], inner[2 * PATH_MAX];

	snprintf(abs, sizeof(abs), "%s/%s", medium.folder, rel);
	DIR *dir = medium_need(opendir(abs));
	for (struct dirent *e; (e = readdir(dir));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    !strcmp(e->d_name, "reserve"))
			continue;
		snprintf(inner, sizeof(inner), "%s%s%s", rel, *rel ? "/" : "", e->d_name);
		snprintf(abs, sizeof(abs), "%s/%s", medium.folder, inner);
		if (e->d_type == DT_DIR)
			clear_folder(s, inner);
		if (!find_entry(s, inner))
			remove(abs);
	}
	closedir(dir);
}

/* Folders come before what is in them; an entry whose own folder is not there is lost with it. */
static void put_folders(const struct medium_state *s)
{
	char abs[2 * PATH_MAX];

	for (unsigned depth = 0; depth < 8; depth++) {
		for (size_t i = 0; i < s->n_entries; i++) {
			unsigned n = 0;

			for (const char *p = s->entries[i].path; *p; p++)
				n += *p == '/';
			if (!s->entries[i].folder || n != depth)
				continue;
			snprintf(abs, sizeof(abs), "%s/%s", medium.folder, s->entries[i].path);
			(void)mkdir(abs, 0700);
		}
	}
}

static void put_file(const char *path, const struct content *c)
{
	char abs[2 * PATH_MAX];

	snprintf(abs, sizeof(abs), "%s/%s", medium.folder, path);
	/* Not O_TRUNC: some filesystems flush a file at once that was emptied and written. */
	int fd = open(abs, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return; /* its folder is not there */
	if (c->len && write(fd, c->p, c->len) != (ssize_t)c->len)
		abort();
	if (ftruncate(fd, (off_t)c->len))
		abort();
	close(fd);
}

void medium_state_put(const struct medium_state *s)
{
	clear_folder(s, "");
	put_folders(s);
	for (size_t i = 0; i < s->n_entries; i++) {
		if (!s->entries[i].folder)
			put_file(s->entries[i].path, &s->files[s->entries[i].file]);
	}
}

static bool file_is(const char *abs, const struct content *c)
{
	struct stat st;
	int fd = open(abs, O_RDONLY | O_CLOEXEC);
	bool same = fd >= 0 && fstat(fd, &st) == 0 && (size_t)st.st_size == c->len;
	uint8_t *p = medium_need(malloc(c->len + 1));

	same = same && pread(fd, p, c->len, 0) == (ssize_t)c->len &&
	       (!c->len || !memcmp(p, c->p, c->len));
	free(p);
	if (fd >= 0)
		close(fd);
	return same;
}

static size_t count_entries(const char *rel)
{
	char abs[3 * PATH_MAX], inner[2 * PATH_MAX];
	size_t n = 0;

	snprintf(abs, sizeof(abs), "%s/%s", medium.folder, rel);
	DIR *dir = medium_need(opendir(abs));
	for (struct dirent *e; (e = readdir(dir));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    !strcmp(e->d_name, "reserve"))
			continue;
		n++;
		snprintf(inner, sizeof(inner), "%s%s%s", rel, *rel ? "/" : "", e->d_name);
		if (e->d_type == DT_DIR)
			n += count_entries(inner);
	}
	closedir(dir);
	return n;
}

bool medium_state_is(const struct medium_state *s)
{
	char abs[2 * PATH_MAX];

	if (count_entries("") != s->n_entries)
		return false;
	for (size_t i = 0; i < s->n_entries; i++) {
		const struct entry *e = &s->entries[i];

		snprintf(abs, sizeof(abs), "%s/%s", medium.folder, e->path);
		if (!e->folder && !file_is(abs, &s->files[e->file])) {
			fprintf(stderr, "%s was changed by unseen calls\n", e->path);
			return false;
		}
	}
	return true;
}
