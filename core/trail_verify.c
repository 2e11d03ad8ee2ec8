/*
 * The offline check: every hash of the tree computed again from the entries, without any
 * decryption key.
 *
 * Entries stream through an edge. Each new hash is compared with the tile on disk at once, so
 * that the first difference names its entry; each earlier head is compared when its size goes by;
 * the checkpoint at the end. A serving process may make a new checkpoint meanwhile and remove the
 * partial files of the old one: when something seems wrong and the checkpoint is another by then,
 * the check starts again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/note.h"
#include "core/trail_internal.h"

#define TAIL_MAX ((size_t)1 << 30)
#define ROUNDS_MAX 32

struct verifier {
	int dir_fd;
	const uint8_t *volume_id, *sign_pk;
	struct trail_head *earlier; /* by size */
	size_t n_earlier;
	/* this round's */
	char *text;
	struct trail_head claimed; /* by the checkpoint */
	size_t n_compared;         /* of earlier */
	uint64_t covered;          /* size of the largest earlier head that agrees */
	struct merkle_edge *edge;  /* computed */
	struct merkle_edge *disk;  /* the tiles on disk that lie over the newest entry */
	struct trail_verdict *verdict;
};

static void verifier_free(struct verifier *v)
{
	cleanup_free(&v->earlier);
	cleanup_free(&v->text);
	cleanup_free(&v->edge);
	cleanup_free(&v->disk);
	cleanup_fd(&v->dir_fd);
}

/* Steps return 0 to go on, 1 when the verdict is damaged, -errno when they could not look. */
static int wrong(struct verifier *v, uint64_t index, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int wrong(struct verifier *v, uint64_t index, const char *fmt, ...)
{
	va_list ap;

	v->verdict->damaged = true;
	v->verdict->first_wrong = index;
	va_start(ap, fmt);
	vsnprintf(v->verdict->why, sizeof(v->verdict->why), fmt, ap);
	va_end(ap);
	return 1;
}

/* A file that is missing, malformed or unreadable is damage; other errors are ours. */
static int wrong_file(struct verifier *v, int r, uint64_t index, const char *what)
{
	switch (r) {
	case -ENOENT:
	case -ENOTDIR:
		return wrong(v, index, "%s is missing", what);
	case -EUCLEAN:
	case -EFBIG:
	case -EISDIR:
		return wrong(v, index, "%s is malformed", what);
	case -EIO:
		return wrong(v, index, "%s cannot be read from the medium", what);
	default:
		return r;
	}
}

static int load_tile(struct verifier *v, unsigned level, uint64_t n)
{
	unsigned width = merkle_tile_width(v->claimed.size, level, n);
	char path[MERKLE_PATH_MAX];

	int r = trail_tile_read(v->dir_fd, level, n, width, v->disk->hash[level]);
	if (!r)
		return 0;
	merkle_tile_path(path, (int)level, n, width);
	return wrong_file(v, r, (n * MERKLE_TILE_WIDTH) << (8 * level), path);
}

/* The hashes that the newest leaf made, one a level, against the tiles. */
static int check_tiles(struct verifier *v)
{
	unsigned filled = merkle_edge_filled(v->edge);

	for (unsigned level = 0; level <= filled && level < MERKLE_LEVELS; level++) {
		uint64_t pos = merkle_level_size(v->edge->size, level) - 1;
		unsigned at = (unsigned)(pos % MERKLE_TILE_WIDTH);
		int r = at ? 0 : load_tile(v, level, pos / MERKLE_TILE_WIDTH);
		if (r)
			return r;
		if (memcmp(v->edge->hash[level][at], v->disk->hash[level][at], MERKLE_HASH_LEN) !=
		    0)
			return wrong(v, pos << (8 * level),
				     level ? "a tile of level %u does not cover the tiles below it"
					   : "the entry is not what its tile (level %u) says",
				     level);
	}
	return 0;
}

/* Earlier heads of the size reached. */
static int check_heads(struct verifier *v)
{
	uint8_t root[MERKLE_HASH_LEN];
	uint64_t size = v->edge->size;

	for (; v->n_compared < v->n_earlier && v->earlier[v->n_compared].size == size;
	     v->n_compared++) {
		merkle_edge_root(v->edge, root);
		if (memcmp(root, v->earlier[v->n_compared].root, sizeof(root)) != 0)
			return wrong(v, v->covered,
				     "the first %llu entries are not those of an earlier head",
				     (unsigned long long)size);
		v->covered = size;
	}
	return 0;
}

static int check_bundle(struct verifier *v, uint64_t n, unsigned width)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	uint8_t leaf[MERKLE_HASH_LEN];
	uint64_t first = n * MERKLE_TILE_WIDTH;
	char path[MERKLE_PATH_MAX];
	size_t len;

	merkle_tile_path(path, MERKLE_ENTRIES, n, width);
	int r = trail_bundle_read(v->dir_fd, n, width, &buf, &len);
	if (r)
		return wrong_file(v, r, first, path);
	struct bytes_r in = bytes_r_init(buf, len);
	for (unsigned i = 0; i < width && !r; i++) {
		const uint8_t *entry = trail_bundle_next(&in, &len);
		if (!entry)
			return wrong(v, first + i, "%s ends within the entry", path);
		merkle_leaf(leaf, entry, len);
		merkle_edge_add(v->edge, leaf);
		r = check_tiles(v);
		if (!r)
			r = check_heads(v);
	}
	if (!r && bytes_r_done(&in))
		r = wrong(v, first + width - 1, "%s goes on behind its last entry", path);
	return r;
}

static int check_tree(struct verifier *v)
{
	uint64_t size = v->claimed.size;
	uint8_t root[MERKLE_HASH_LEN];
	int r = 0;

	for (uint64_t n = 0; n <= merkle_tile_index(size, 0) && !r; n++) {
		unsigned width = merkle_tile_width(size, 0, n);
		r = width ? check_bundle(v, n, width) : 0;
	}
	if (r)
		return r;
	merkle_edge_root(v->edge, root);
	if (memcmp(root, v->claimed.root, sizeof(root)) != 0)
		return wrong(v, v->covered, "the checkpoint's root is not that of the entries");
	if (v->n_compared < v->n_earlier)
		return wrong(v, size, "the trail ends at %llu entries, an earlier head had %llu",
			     (unsigned long long)size,
			     (unsigned long long)v->earlier[v->n_earlier - 1].size);
	return 0;
}

/* Frames are checked for their form and sequence; what they hold, only the keys can tell. */
static int check_tail(struct verifier *v)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	struct trail_tail tail;
	size_t len;

	int r = durable_read(v->dir_fd, "tail", TAIL_MAX, &buf, &len);
	if (r)
		return wrong_file(v, r, v->claimed.size, "tail");
	r = trail_tail_scan(buf, len, v->claimed.size, &tail);
	v->verdict->n_tail = tail.n;
	return r ? wrong(v, tail.wrong, "the tail does not go on with this entry") : 0;
}

static int read_checkpoint(struct verifier *v, char **ret)
{
	uint8_t *buf = NULL;
	size_t len;

	int r = durable_read(v->dir_fd, "checkpoint", TRAIL_CHECKPOINT_MAX, &buf, &len);
	if (r)
		return r;
	if (strlen((char *)buf) != len) {
		free(buf);
		return -EUCLEAN;
	}
	*ret = (char *)buf;
	return 0;
}

static int verify_round(struct verifier *v)
{
	struct trail_head head;

	*v->verdict = (struct trail_verdict){0};
	v->n_compared = 0;
	v->covered = 0;
	memset(v->edge, 0, sizeof(*v->edge));
	cleanup_free(&v->text);
	v->text = NULL;
	int r = read_checkpoint(v, &v->text);
	if (!r)
		r = trail_checkpoint_body(v->text, v->volume_id, &v->claimed);
	if (r)
		return wrong_file(v, r, 0, "checkpoint");
	v->verdict->size = v->claimed.size;
	bool trusted = trail_checkpoint_parse(v->text, v->volume_id, v->sign_pk, &head) == 0;
	r = check_tree(v);
	/*
	 * An unsigned checkpoint attests nothing, not even the size; what earlier heads cover
	 * still stands.
	 */
	if (r >= 0 && !trusted)
		return wrong(v, v->covered, "the checkpoint is not signed by the volume's key");
	return r ? r : check_tail(v);
}

static bool checkpoint_moved(struct verifier *v)
{
	CLEANUP_FREE char *now = NULL;

	return v->text && read_checkpoint(v, &now) == 0 && strcmp(now, v->text) != 0;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = ((const struct trail_head *)a)->size, y = ((const struct trail_head *)b)->size;

	return (x > y) - (x < y);
}

static int verifier_init(struct verifier *v, const struct trail_head *earlier, size_t n_earlier)
{
	v->edge = malloc(sizeof(*v->edge));
	v->disk = malloc(sizeof(*v->disk));
	v->earlier = calloc(n_earlier + 1, sizeof(*v->earlier));
	if (!v->edge || !v->disk || !v->earlier)
		return -ENOMEM;
	/* A head of no entries says nothing, and a fresh anchor's is all zeros. */
	for (size_t i = 0; i < n_earlier; i++) {
		if (earlier[i].size)
			v->earlier[v->n_earlier++] = earlier[i];
	}
	qsort(v->earlier, v->n_earlier, sizeof(*v->earlier), by_size);
	return 0;
}

int trail_verify(int store_fd, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		 const struct trail_head *earlier, size_t n_earlier, struct trail_verdict *ret,
		 struct diag *d)
{
	struct trail_verdict verdict = {0};
	struct verifier v CLEANUP_WITH(verifier_free) = {
	    .dir_fd = -1,
	    .volume_id = volume_id,
	    .sign_pk = sign_pk,
	    .verdict = &verdict,
	};

	int r = verifier_init(&v, earlier, n_earlier);
	if (r)
		return diag_fail_errno(d, r, "trail");
	v.dir_fd = openat(store_fd, "trail", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (v.dir_fd < 0)
		r = wrong_file(&v, -errno, 0, "the folder");
	for (int round = 0; v.dir_fd >= 0 && round < ROUNDS_MAX; round++) {
		r = verify_round(&v);
		if (r == 0 || !checkpoint_moved(&v))
			break;
	}
	if (r < 0)
		return diag_fail_errno(d, r, "trail");
	*ret = verdict;
	return 0;
}
