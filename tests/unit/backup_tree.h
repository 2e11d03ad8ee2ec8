/*
 * Trees as text, for comparing a live volume with a folder: a line for each entry in the order of
 * paths, with everything that a restore must bring back. And a life that changes a volume at
 * random, from a seed.
 */
#ifndef COFFER_TESTS_UNIT_BACKUP_TREE_H
#define COFFER_TESTS_UNIT_BACKUP_TREE_H

#include <linux/falloc.h>
#include <sys/xattr.h>

#include "tests/unit/backup_fixture.h"

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

struct tree_child {
	char name[VOLUME_NAME_MAX + 1];
	uint64_t id;
};
struct tree_children {
	struct tree_child c[256];
	size_t n;
};

static inline int tree_order(const void *a, const void *b)
{
	return strcmp(((const struct tree_child *)a)->name, ((const struct tree_child *)b)->name);
}

static inline void tree_add(struct tree_children *cs, const char *name, uint64_t id)
{
	assert_true(cs->n < 256);
	strcpy(cs->c[cs->n].name, name);
	cs->c[cs->n++].id = id;
}

/* What both sides have in common; owners only when root could restore them. */
static inline void tree_line(FILE *out, const char *path, const struct volume_attr *a)
{
	fprintf(out, "%s %o %u", path, a->mode, a->nlink);
	if (geteuid() == 0)
		fprintf(out, " %u:%u", a->uid, a->gid);
	if (S_ISREG(a->mode))
		fprintf(out, " %llu", (unsigned long long)a->size);
	if (S_ISCHR(a->mode) || S_ISBLK(a->mode))
		fprintf(out, " dev %llx", (unsigned long long)a->rdev);
	/* Looking at one name of a symbolic link moves the time that its other name shows. */
	if (!S_ISLNK(a->mode) || a->nlink == 1)
		fprintf(out, " a%lld.%09ld", (long long)a->atime.tv_sec, a->atime.tv_nsec);
	fprintf(out, " m%lld.%09ld", (long long)a->mtime.tv_sec, a->mtime.tv_nsec);
}

static inline void tree_xattr(FILE *out, const char *name, const void *val, size_t len)
{
	uint8_t h[KDF_HASH_LEN];

	kdf_hash(h, len ? val : (const void *)"", len);
	fprintf(out, " [%s %zu %02x%02x]", name, len, h[0], h[1]);
}

static inline int tree_name_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names in a list of strings, sorted into v; how many. */
static inline size_t tree_names(const char *list, size_t len, const char *v[64])
{
	size_t n = 0;

	for (size_t at = 0; at < len; at += strlen(list + at) + 1) {
		assert_true(n < 64);
		v[n++] = list + at;
	}
	qsort(v, n, sizeof(*v), tree_name_order);
	return n;
}

/* ---- the live volume ---- */

static inline int tree_dirent(void *arg, const char *name, uint64_t id, uint32_t type_mode,
			      uint64_t cookie, const struct volume_attr *attr)
{
	(void)type_mode;
	(void)cookie;
	(void)attr;
	tree_add(arg, name, id);
	return 0;
}

static inline void tree_live_content(FILE *out, struct volume *v, const struct volume_attr *a)
{
	CLEANUP_FREE uint8_t *buf = malloc(1 << 20);
	struct kdf_hash_state *st = aligned_alloc(64, sizeof(*st));
	uint64_t data, hole = 0;
	uint8_t h[KDF_HASH_LEN];

	kdf_hash_init(st);
	while (hole < a->size && volume_seek(v, a->id, hole, SEEK_DATA, &data) == 0) {
		assert_int_equal(volume_seek(v, a->id, data, SEEK_HOLE, &hole), 0);
		fprintf(out, " %llu-%llu", (unsigned long long)data, (unsigned long long)hole);
		for (uint64_t at = data; at < hole;) {
			ssize_t n = volume_read(v, a->id, buf,
						hole - at < 1 << 20 ? hole - at : 1 << 20, at);
			assert_true(n > 0);
			kdf_hash_update(st, buf, (size_t)n);
			at += (uint64_t)n;
		}
	}
	kdf_hash_final(st, h);
	free(st);
	fprintf(out, " %02x%02x%02x%02x", h[0], h[1], h[2], h[3]);
}

static inline void tree_live_entry(FILE *out, struct volume *v, uint64_t id, const char *path)
{
	CLEANUP_BYTES struct bytes_w list = {0}, target = {0};
	struct tree_children *cs = calloc(1, sizeof(*cs));
	struct volume_attr a;
	const char *names[64];
	char sub[PATH_MAX];

	assert_int_equal(volume_peek(v, id, &a), 0);
	tree_line(out, path, &a);
	assert_int_equal(volume_listxattr(v, id, &list), 0);
	size_t n = tree_names((char *)list.buf, list.len, names);
	for (size_t i = 0; i < n; i++) {
		CLEANUP_BYTES struct bytes_w val = {0};
		assert_int_equal(volume_getxattr(v, id, names[i], &val), 0);
		tree_xattr(out, names[i], val.buf, val.len);
	}
	if (S_ISREG(a.mode))
		tree_live_content(out, v, &a);
	if (S_ISLNK(a.mode)) {
		assert_int_equal(volume_readlink(v, id, &target), 0);
		fprintf(out, " -> %.*s", (int)target.len, (char *)target.buf);
	}
	fputc('\n', out);
	if (S_ISDIR(a.mode))
		assert_int_equal(volume_readdir(v, id, 0, false, tree_dirent, cs), 0);
	qsort(cs->c, cs->n, sizeof(cs->c[0]), tree_order);
	for (size_t i = 0; i < cs->n; i++) {
		snprintf(sub, sizeof(sub), "%s/%s", path, cs->c[i].name);
		tree_live_entry(out, v, cs->c[i].id, sub);
	}
	free(cs);
}

/* Caller frees. */
static inline char *tree_of_volume(struct volume *v, uint64_t id)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	tree_live_entry(out, v, id, "");
	fclose(out);
	return text;
}

/* ---- a folder ---- */

static inline void tree_file_content(FILE *out, int fd, uint64_t size)
{
	CLEANUP_FREE uint8_t *buf = malloc(1 << 20);
	struct kdf_hash_state *st = aligned_alloc(64, sizeof(*st));
	uint8_t h[KDF_HASH_LEN];
	off_t data, hole = 0;

	kdf_hash_init(st);
	while ((uint64_t)hole < size && (data = lseek(fd, hole, SEEK_DATA)) >= 0) {
		hole = lseek(fd, data, SEEK_HOLE);
		assert_true(hole > data);
		fprintf(out, " %lld-%lld", (long long)data, (long long)hole);
		for (off_t at = data; at < hole;) {
			ssize_t n =
			    pread(fd, buf, hole - at < 1 << 20 ? (size_t)(hole - at) : 1 << 20, at);
			assert_true(n > 0);
			kdf_hash_update(st, buf, (size_t)n);
			at += n;
		}
	}
	kdf_hash_final(st, h);
	free(st);
	fprintf(out, " %02x%02x%02x%02x", h[0], h[1], h[2], h[3]);
}

static inline void tree_file_xattrs(FILE *out, const char *full)
{
	char list[4096];
	uint8_t *val = malloc(65536);
	const char *names[64];
	ssize_t len = llistxattr(full, list, sizeof(list));

	assert_true(len >= 0);
	size_t n = tree_names(list, (size_t)len, names);
	for (size_t i = 0; i < n; i++) {
		ssize_t l = lgetxattr(full, names[i], val, 65536);
		assert_true(l >= 0);
		tree_xattr(out, names[i], val, (size_t)l);
	}
	free(val);
}

static inline void tree_folder_entry(FILE *out, const char *full, const char *path)
{
	struct tree_children *cs = calloc(1, sizeof(*cs));
	char sub[PATH_MAX], sub_full[PATH_MAX];
	struct stat st;

	assert_int_equal(lstat(full, &st), 0);
	struct volume_attr a = {.mode = st.st_mode,
				.nlink = (uint32_t)st.st_nlink,
				.uid = st.st_uid,
				.gid = st.st_gid,
				.size = (uint64_t)st.st_size,
				.rdev = st.st_rdev,
				.atime = st.st_atim,
				.mtime = st.st_mtim};
	tree_line(out, path, &a);
	tree_file_xattrs(out, full);
	if (S_ISREG(st.st_mode)) {
		CLEANUP_FD int fd = open(full, O_RDONLY | O_NOATIME | O_CLOEXEC);
		assert_true(fd >= 0);
		tree_file_content(out, fd, a.size);
	}
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlink(full, sub, sizeof(sub));
		assert_true(n > 0);
		fprintf(out, " -> %.*s", (int)n, sub);
	}
	fputc('\n', out);
	DIR *dir = S_ISDIR(st.st_mode) ? opendir(full) : NULL;
	for (struct dirent *e; dir && (e = readdir(dir));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			tree_add(cs, e->d_name, 0);
	if (dir)
		closedir(dir);
	qsort(cs->c, cs->n, sizeof(cs->c[0]), tree_order);
	for (size_t i = 0; i < cs->n; i++) {
		snprintf(sub, sizeof(sub), "%.2000s/%s", path, cs->c[i].name);
		snprintf(sub_full, sizeof(sub_full), "%.2000s/%s", full, cs->c[i].name);
		tree_folder_entry(out, sub_full, sub);
	}
	free(cs);
}

static inline char *tree_of_folder(const char *folder)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	tree_folder_entry(out, folder, "");
	fclose(out);
	return text;
}

/* Tells the first line that differs: whole trees are beyond what an assertion prints. */
static inline void expect_tree(const char *got, const char *want)
{
	size_t at = 0;

	while (got[at] && got[at] == want[at])
		at++;
	while (at && got[at - 1] != '\n')
		at--;
	if (strcmp(got, want) != 0)
		fprintf(stderr, "got  %.*s\nwant %.*s\n", (int)strcspn(got + at, "\n"), got + at,
			(int)strcspn(want + at, "\n"), want + at);
	assert_int_equal(strcmp(got, want), 0);
}

/* ---- a life ---- */

struct life {
	struct volume *v;
	uint64_t x;
	uint64_t dirs[24];
	size_t n_dirs;
};

static inline unsigned draw(struct life *l, unsigned n)
{
	l->x ^= l->x << 13;
	l->x ^= l->x >> 7;
	l->x ^= l->x << 17;
	return (unsigned)(l->x >> 20) % n;
}

static inline uint64_t life_dir(struct life *l)
{
	struct volume_attr a;
	uint64_t id = l->dirs[draw(l, (unsigned)l->n_dirs)];

	return volume_peek(l->v, id, &a) == 0 ? id : VOLUME_ROOT_ID;
}

/* Few names, so that they meet. */
static inline void life_name(struct life *l, char out[32])
{
	unsigned form = draw(l, 3), i = draw(l, 8);

	snprintf(out, 32, "%s%u",
		 form == 0   ? "n"
		 : form == 1 ? "a longer name "
			     : "\xe6\x96\x87\xe4\xbb\xb6",
		 i);
}

/* An entry somewhere, 0 when the name drawn is free. */
static inline uint64_t life_entry(struct life *l, uint64_t *ret_dir, char name[32],
				  struct volume_attr *a)
{
	*ret_dir = life_dir(l);
	life_name(l, name);
	return find(l->v, *ret_dir, name, a) == 0 ? a->id : 0;
}

static inline void life_make(struct life *l)
{
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFREG,
					 S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK};
	struct volume_attr a;
	uint64_t dir;
	char name[32];

	if (life_entry(l, &dir, name, &a))
		return;
	uint32_t type = types[draw(l, 8)];
	if (type == S_IFDIR && l->n_dirs == 24)
		type = S_IFREG;
	uint32_t mode = type == S_IFLNK ? 0777 : 0600 + draw(l, 0200);
	struct volume_new in = {.mode = type | mode,
				.uid = draw(l, 3) ? geteuid() : 7,
				.gid = getegid(),
				.target = "somewhere/else"};
	assert_int_equal(volume_make(l->v, dir, name, &in, &a), 0);
	volume_forget(l->v, a.id, 1);
	if (type == S_IFDIR)
		l->dirs[l->n_dirs++] = a.id;
}

static inline void life_write(struct life *l)
{
	static const unsigned sizes[] = {100, 2000, 3000, 5000, 70000, 300000, 1500000};
	struct volume_attr a, in = {0};
	uint64_t dir;
	char name[32];

	if (!life_entry(l, &dir, name, &a) || !S_ISREG(a.mode))
		return;
	uint64_t off = draw(l, 2) ? draw(l, sizes[draw(l, 7)]) : 0;
	size_t len = 1 + draw(l, sizes[draw(l, 7)]);

	if (draw(l, 6) == 0) { /* one group of a map, of the four that a record covers */
		off = draw(l, 6) * MAP_GROUP_BYTES;
		len = MAP_GROUP_BYTES;
	}
	switch (draw(l, 8)) {
	case 0:
		in.size = draw(l, 3) ? draw(l, sizes[draw(l, 7)]) : 0;
		assert_int_equal(volume_setattr(l->v, a.id, VOLUME_SET_SIZE, &in, &a), 0);
		return;
	case 1:
		assert_int_equal(volume_fallocate(l->v, a.id,
						  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off,
						  len),
				 0);
		return;
	case 2:
		assert_int_equal(
		    volume_fallocate(l->v, a.id, draw(l, 2) ? FALLOC_FL_KEEP_SIZE : 0, off, len),
		    0);
		return;
	default: {
		CLEANUP_FREE uint8_t *p = noise(l->x, len);
		if (draw(l, 3) == 0)
			memset(p, 'z', len); /* compresses */
		write_at(l->v, a.id, p, len, off);
	}
	}
}

static inline void life_rename(struct life *l)
{
	struct volume_attr a, b;
	uint64_t from, to;
	char name[32], new_name[32];
	unsigned flags = draw(l, 5) ? 0 : RENAME_EXCHANGE;

	if (!life_entry(l, &from, name, &a))
		return;
	life_entry(l, &to, new_name, &b);
	/* Whatever POSIX forbids (over a folder, into itself) is refused and changes nothing. */
	volume_rename(l->v, from, name, to, new_name, flags);
}

static inline void life_remove(struct life *l)
{
	struct volume_attr a;
	uint64_t dir;
	char name[32];

	if (!life_entry(l, &dir, name, &a))
		return;
	if (S_ISDIR(a.mode))
		volume_rmdir(l->v, dir, name);
	else
		assert_int_equal(volume_unlink(l->v, dir, name), 0);
}

static inline void life_link(struct life *l)
{
	struct volume_attr a, b;
	uint64_t dir, to;
	char name[32], new_name[32];

	if (!life_entry(l, &dir, name, &a) || S_ISDIR(a.mode) || life_entry(l, &to, new_name, &b))
		return;
	assert_int_equal(volume_link(l->v, a.id, to, new_name, &b), 0);
	volume_forget(l->v, b.id, 1);
}

static inline void life_attrs(struct life *l)
{
	struct volume_attr a,
	    in = {.mode = draw(l, 010000),
		  .mtime = {.tv_sec = draw(l, 1u << 31), .tv_nsec = draw(l, 1000000000)},
		  .atime = {.tv_sec = draw(l, 1u << 31), .tv_nsec = 17},
		  .uid = 12,
		  .gid = 34};
	unsigned mask = VOLUME_SET_MTIME | VOLUME_SET_ATIME;
	uint64_t dir;
	char name[32];

	if (!life_entry(l, &dir, name, &a))
		return;
	if (!S_ISLNK(a.mode) && draw(l, 2))
		mask |= VOLUME_SET_MODE;
	if (geteuid() == 0 && draw(l, 2))
		mask |= VOLUME_SET_UID | VOLUME_SET_GID;
	assert_int_equal(volume_setattr(l->v, a.id, mask, &in, &a), 0);
}

static inline void life_xattrs(struct life *l)
{
	struct volume_attr a;
	uint64_t dir;
	char name[32], key[32];

	if (!life_entry(l, &dir, name, &a) || (!S_ISREG(a.mode) && !S_ISDIR(a.mode)))
		return;
	snprintf(key, sizeof(key), "user.%u", draw(l, 3));
	if (draw(l, 3)) {
		CLEANUP_FREE uint8_t *p = noise(l->x, 1000);
		assert_int_equal(volume_setxattr(l->v, a.id, key, p, draw(l, 1000), 0), 0);
	} else {
		volume_removexattr(l->v, a.id, key);
	}
}

static inline void live_on(struct life *l, unsigned n)
{
	static void (*const acts[])(struct life *) = {
	    life_make,   life_make, life_make,   life_write, life_write, life_write,
	    life_rename, life_link, life_remove, life_attrs, life_xattrs};

	for (unsigned i = 0; i < n; i++)
		acts[draw(l, 11)](l);
}

static inline struct life life_begin(struct volume *v, uint64_t seed)
{
	return (struct life){
	    .v = v, .x = seed * 0x9e3779b97f4a7c15u, .dirs = {VOLUME_ROOT_ID}, .n_dirs = 1};
}

#endif
