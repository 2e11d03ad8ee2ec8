/*
 * A backup in memory: builds an image out of what a snapshot's scan delivers (and what it reads),
 * and describes images and the live volume as text, so that the two can be compared. Included by
 * one file of a test program.
 */
#ifndef COFFER_TESTS_SNAPSHOT_IMAGE_H
#define COFFER_TESTS_SNAPSHOT_IMAGE_H

#include "fs/engine.h"
#include "tests/unit/snapshot_fixture.h"

/* Every mount skips what the last one had reserved: numbers grow in steps of thousands. */
#define IDS_MAX 32768
#define LINKS_MAX 32768

/* ---- an image ---- */

struct image_inode {
	bool there;
	struct volume_attr attr;
	struct bytes_w xattrs, data;
};
struct image_name {
	bool there;
	uint64_t parent, child;
	char name[VOLUME_NAME_MAX + 1];
};
struct image {
	struct fixture *f;
	const struct volume_snapshot *s;
	uint64_t since;
	struct image_inode inodes[IDS_MAX];
	struct image_name names[LINKS_MAX];
	bool touched[IDS_MAX]; /* delivered in this scan */
	unsigned n_blocks, n_edges, n_calls;
	uint64_t last_id;
};

static void image_free(struct image *im)
{
	for (size_t i = 0; i < IDS_MAX; i++) {
		bytes_w_free(&im->inodes[i].xattrs);
		bytes_w_free(&im->inodes[i].data);
	}
	free(im);
}

static void resize(struct bytes_w *w, size_t len)
{
	if (len > w->len)
		memset(bytes_w_room(w, len - w->len), 0, len - w->len);
	else
		w->len = len;
}

static int take_inode(void *arg, const struct volume_snap_inode *in)
{
	struct image *im = arg;
	struct image_inode *ii = &im->inodes[in->attr.id];

	assert_true(in->attr.id < IDS_MAX && in->attr.id >= im->last_id);
	assert_true(in->txn > im->since && in->txn <= im->s->snap.txn);
	im->last_id = in->attr.id;
	im->n_calls++;
	im->touched[in->attr.id] = true;
	ii->there = true;
	ii->attr = in->attr;
	bytes_w_reset(&ii->xattrs);
	bytes_w_raw(&ii->xattrs, in->xattrs, in->xattrs_len);
	if (in->inline_data)
		bytes_w_reset(&ii->data);
	resize(&ii->data, S_ISDIR(in->attr.mode) ? 0 : in->attr.size);
	if (in->inline_data)
		memcpy(ii->data.buf, in->inline_data, in->inline_len);
	return 0;
}

static int take_name(void *arg, uint64_t parent, uint64_t link, uint64_t child, uint32_t type_mode,
		     const char *name, int name_err)
{
	struct image *im = arg;

	assert_int_equal(name_err, 0);
	assert_true(link < LINKS_MAX && link < im->s->next_link && child < im->s->next_id);
	assert_true(type_mode && !(type_mode & ~(unsigned)S_IFMT));
	im->n_calls++;
	im->names[link] = (struct image_name){.there = true, .parent = parent, .child = child};
	strcpy(im->names[link].name, name);
	return 0;
}

static int take_map(void *arg, uint64_t id, uint64_t group, uint64_t txn, const struct map_group *g)
{
	struct image *im = arg;
	struct bytes_w *data = &im->inodes[id].data;
	uint8_t block[MAP_BLOCK];

	assert_true(im->inodes[id].there && txn > im->since && txn <= im->s->snap.txn);
	im->n_calls++;
	for (unsigned i = 0; i < MAP_GROUP; i++) {
		uint64_t off = group * MAP_GROUP_BYTES + i * MAP_BLOCK;
		size_t n = off >= data->len              ? 0
			   : data->len - off < MAP_BLOCK ? data->len - off
							 : MAP_BLOCK;

		if (g->e[i].slot == MAP_HOLE) {
			memset(data->buf + off, 0, n);
		} else if (g->e[i].birth > im->since) {
			assert_int_equal(
			    volume_snapshot_read(im->f->v, im->s, id, group, g, i, 1, block), 0);
			memcpy(data->buf + off, block, n);
			im->n_blocks++;
		}
	}
	return 0;
}

static int take_gone(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool last)
{
	struct image *im = arg;

	(void)parent;
	im->n_calls++;
	im->names[link].there = false;
	if (last)
		im->inodes[child].there = false;
	return 0;
}

static int take_edge(void *arg, uint64_t a, uint64_t b, uint8_t kind)
{
	struct image *im = arg;

	assert_true(a < b && kind);
	im->n_edges++;
	return 0;
}

static const struct volume_snap_ops taking = {take_inode, take_name, take_map, take_gone,
					      take_edge};

static int scan_into(struct image *im, const struct volume_snapshot *s, uint64_t since)
{
	im->s = s;
	im->since = since;
	im->n_blocks = im->n_edges = im->n_calls = 0;
	im->last_id = 0;
	memset(im->touched, 0, sizeof(im->touched));
	return volume_snapshot_scan(im->f->v, s, since, &taking, im);
}

static struct image *image_new(struct fixture *f)
{
	struct image *im = calloc(1, sizeof(*im));

	assert_non_null(im);
	im->f = f;
	return im;
}

/* ---- descriptions: sorted by path, because entries are visited in the order of their names ----
 */

static void describe_inode(FILE *out, const char *path, const struct volume_attr *a,
			   const struct bytes_w *xattrs, const struct bytes_w *data)
{
	uint8_t h[KDF_HASH_LEN], x[KDF_HASH_LEN];

	kdf_hash(h, data->buf ? data->buf : (const uint8_t *)"", data->len);
	kdf_hash(x, xattrs->buf ? xattrs->buf : (const uint8_t *)"", xattrs->len);
	fprintf(out, "%s %llu %o %u %u:%u %llu %lld.%09ld %lld.%09ld %02x%02x%02x%02x %02x%02x\n",
		path, (unsigned long long)a->id, a->mode, a->nlink, a->uid, a->gid,
		(unsigned long long)(S_ISDIR(a->mode) ? 0 : a->size), (long long)a->mtime.tv_sec,
		a->mtime.tv_nsec, (long long)a->ctime.tv_sec, a->ctime.tv_nsec, h[0], h[1], h[2],
		h[3], x[0], x[1]);
}

struct child {
	char name[VOLUME_NAME_MAX + 1];
	uint64_t id;
};
struct children {
	struct child c[512];
	size_t n;
};

static int compare_children(const void *a, const void *b)
{
	return strcmp(((const struct child *)a)->name, ((const struct child *)b)->name);
}

static void add_child(struct children *cs, const char *name, uint64_t id)
{
	assert_true(cs->n < 512);
	strcpy(cs->c[cs->n].name, name);
	cs->c[cs->n++].id = id;
}

static void describe_image_dir(struct image *im, FILE *out, uint64_t id, const char *path)
{
	struct children *cs = calloc(1, sizeof(*cs));
	struct image_inode *ii = &im->inodes[id];
	char sub[PATH_MAX];

	assert_true(ii->there);
	describe_inode(out, path, &ii->attr, &ii->xattrs, &ii->data);
	for (size_t i = 0; S_ISDIR(ii->attr.mode) && i < LINKS_MAX; i++)
		if (im->names[i].there && im->names[i].parent == id)
			add_child(cs, im->names[i].name, im->names[i].child);
	qsort(cs->c, cs->n, sizeof(cs->c[0]), compare_children);
	for (size_t i = 0; i < cs->n; i++) {
		snprintf(sub, sizeof(sub), "%s/%s", path, cs->c[i].name);
		describe_image_dir(im, out, cs->c[i].id, sub);
	}
	free(cs);
}

static char *describe_image(struct image *im)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	describe_image_dir(im, out, VOLUME_ROOT_ID, "");
	fclose(out);
	return text;
}

static int take_dirent(void *arg, const char *name, uint64_t id, uint32_t type_mode,
		       uint64_t cookie, const struct volume_attr *attr)
{
	(void)type_mode;
	(void)cookie;
	(void)attr;
	add_child(arg, name, id);
	return 0;
}

static void live_xattrs(struct fixture *f, uint64_t id, struct bytes_w *out)
{
	CLEANUP_BYTES struct bytes_w names = {0};

	assert_int_equal(volume_listxattr(f->v, id, &names), 0);
	for (size_t at = 0; at < names.len; at += strlen((char *)names.buf + at) + 1) {
		CLEANUP_BYTES struct bytes_w val = {0};
		CLEANUP_BYTES struct bytes_w next = {0};
		const char *name = (char *)names.buf + at;

		assert_int_equal(volume_getxattr(f->v, id, name, &val), 0);
		xattr_replace(out->buf, out->len, name, val.buf ? val.buf : (const uint8_t *)"",
			      val.len, &next);
		bytes_w_reset(out);
		bytes_w_raw(out, next.buf, next.len);
	}
}

static void describe_live_dir(struct fixture *f, FILE *out, uint64_t id, const char *path)
{
	struct children *cs = calloc(1, sizeof(*cs));
	CLEANUP_BYTES struct bytes_w data = {0}, xattrs = {0};
	struct volume_attr a = fx_attr(f, id);
	char sub[PATH_MAX];

	if (S_ISREG(a.mode)) {
		resize(&data, a.size);
		if (a.size)
			assert_int_equal(volume_read(f->v, id, data.buf, a.size, 0),
					 (ssize_t)a.size);
	} else if (S_ISLNK(a.mode)) {
		assert_int_equal(volume_readlink(f->v, id, &data), 0);
	}
	live_xattrs(f, id, &xattrs);
	describe_inode(out, path, &a, &xattrs, &data);
	if (S_ISDIR(a.mode))
		assert_int_equal(volume_readdir(f->v, id, 0, false, take_dirent, cs), 0);
	qsort(cs->c, cs->n, sizeof(cs->c[0]), compare_children);
	for (size_t i = 0; i < cs->n; i++) {
		snprintf(sub, sizeof(sub), "%s/%s", path, cs->c[i].name);
		describe_live_dir(f, out, cs->c[i].id, sub);
	}
	free(cs);
}

static char *describe_live(struct fixture *f)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	describe_live_dir(f, out, VOLUME_ROOT_ID, "");
	fclose(out);
	return text;
}

static void expect_image(struct image *im, const char *want)
{
	char *got = describe_image(im);

	assert_string_equal(got, want);
	free(got);
}

#endif
