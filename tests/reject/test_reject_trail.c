/*
 * The trail's files, which whoever holds the store can write: checkpoint (a body, signed here by
 * the volume), tail, bundles of entries and tiles. What the entries hold is sealed; that these
 * bytes are the trail's own, the tree shows (tests/unit/test_trail_verify.c).
 */
#include "tests/reject/reject.h"

#include "core/trail_internal.h"
#include "tests/reject/known.h"

#define CHECKPOINT_SIZE 300
#define WIDTH 3 /* of the bundle and the tile */

static int checkpoint(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE char *text = known_sign(p, len);
	struct trail_head h = {.size = 77};

	(void)d;
	int r = trail_checkpoint_parse(text, known_volume_id, known_pk(), &h);
	assert_true(r == 0 ? h.size == CHECKPOINT_SIZE : h.size == 77);
	return r;
}

/* What is torn at the end is left out, never taken for an entry. */
static int tail(const uint8_t *p, size_t len, struct diag *d)
{
	struct trail_tail t = {0};
	int r = trail_tail_scan(p, len, CHECKPOINT_SIZE, &t);

	(void)d;
	assert_true(t.n <= 3 && t.start <= t.end && t.end <= len);
	assert_int_equal(t.start > 0, r == 0 && t.n > 0 && t.first < CHECKPOINT_SIZE);
	assert_true(r == 0 || t.wrong >= CHECKPOINT_SIZE);
	return r;
}

static int bundle(const uint8_t *p, size_t len, struct diag *d)
{
	struct bytes_r r = bytes_r_init(p, len);
	size_t n;

	(void)d;
	for (int i = 0; i < WIDTH; i++) {
		const uint8_t *entry = trail_bundle_next(&r, &n);

		if (!entry)
			return -EUCLEAN;
		assert_true(entry + n <= p + len);
	}
	return bytes_r_done(&r);
}

static int tile(const uint8_t *p, size_t len, struct diag *d)
{
	char dir[] = "/tmp/coffer-reject-XXXXXX", path[MERKLE_PATH_MAX];
	uint8_t hash[MERKLE_TILE_WIDTH][MERKLE_HASH_LEN], zero[WIDTH][MERKLE_HASH_LEN] = {{0}};

	(void)d;
	assert_non_null(mkdtemp(dir));
	CLEANUP_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	merkle_tile_path(path, 0, 0, WIDTH);
	assert_int_equal(trail_tile_write(fd, 0, 0, WIDTH, zero), 0);
	assert_int_equal(durable_replace(fd, path, p, len, 0600), 0);
	memset(hash, 0x5a, sizeof(hash));
	int r = trail_tile_read(fd, 0, 0, WIDTH, hash);
	assert_int_equal(hash[0][0], r == 0 ? 0 : 0x5a);
	assert_int_equal(hash[WIDTH][0], 0x5a);
	unlinkat(fd, path, 0);
	for (char *slash; (slash = strrchr(path, '/'));) {
		*slash = '\0';
		unlinkat(fd, path, AT_REMOVEDIR);
	}
	assert_int_equal(rmdir(dir), 0);
	return r;
}

/* Another key's checkpoint is refused, and so is this volume's under another origin. */
static void checkpoint_of_another(void **state)
{
	static const uint8_t other[32] = {1};
	const struct trail_head head = {.size = 5};
	CLEANUP_FREE char *theirs = NULL, *ours = NULL;
	const uint8_t other_id[16] = {9};
	struct trail_head h = {.size = 77};

	(void)state;
	assert_int_equal(trail_checkpoint_make(&head, known_volume_id, other, &theirs), 0);
	assert_int_equal(trail_checkpoint_parse(theirs, known_volume_id, known_pk(), &h), -EBADMSG);
	assert_int_equal(trail_checkpoint_make(&head, other_id, known_seed, &ours), 0);
	assert_int_equal(trail_checkpoint_parse(ours, known_volume_id, known_pk(), &h), -EUCLEAN);
	assert_int_equal(h.size, 77);
}

int main(void)
{
	static const struct reject_parser parsers[] = {
	    {"checkpoint", checkpoint, false, DIAG_NONE, DIAG_NONE},
	    {"tail", tail, false, DIAG_NONE, DIAG_NONE},
	    {"bundle", bundle, false, DIAG_NONE, DIAG_NONE},
	    {"tile", tile, false, DIAG_NONE, DIAG_NONE},
	};
	const struct CMUnitTest more[] = {cmocka_unit_test(checkpoint_of_another)};

	return reject_run("reject_trail", parsers, sizeof(parsers) / sizeof(*parsers), more, 1);
}
