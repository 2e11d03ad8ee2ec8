/*
 * Merkle trees: RFC 6962 vectors, every size against the recursive definition, tile arithmetic
 * and paths.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/kdf.h"
#include "core/merkle.h"
#include "core/secret.h"

/* The leaves and roots that the Certificate Transparency implementations test with. */
static const char *const leaves[] = {
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
};
static const char *const roots[] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

/* A log that others built gets the same root here: the hashing is RFC 6962's. */
static void known_vectors(void **state)
{
	struct merkle_edge *e = calloc(1, sizeof(*e));
	uint8_t data[16], hash[32];
	char text[65];

	(void)state;
	assert_non_null(e);
	for (size_t i = 0;; i++) {
		merkle_edge_root(e, hash);
		bytes_hex(text, hash, 32);
		assert_string_equal(text, roots[i]);
		if (i == sizeof(leaves) / sizeof(leaves[0]))
			break;
		size_t len = strlen(leaves[i]) / 2;
		assert_int_equal(bytes_unhex(leaves[i], data, len), 0);
		merkle_leaf(hash, data, len);
		merkle_edge_add(e, hash);
	}
	free(e);
}

/* RFC 6962 section 2.1, word by word. */
static void mth(uint8_t out[32], uint8_t (*leaf)[32], size_t n)
{
	uint8_t left[32], right[32];
	size_t k = 1;

	if (n == 1) {
		memcpy(out, leaf[0], 32);
		return;
	}
	while (k * 2 < n)
		k *= 2;
	mth(left, leaf, k);
	mth(right, leaf + k, n - k);
	merkle_node(out, left, right);
}

#define N_LEAVES 66000u /* past 256 * 256: three levels of tiles */

/* The root from tiles is the root by definition, at every boundary of tiles and at odd sizes. */
static void edge_matches_definition(void **state)
{
	static const unsigned sizes[] = {1,     2,     3,     7,     255,   256,
					 257,   511,   512,   513,   767,   1000,
					 65279, 65280, 65535, 65536, 65537, N_LEAVES};
	struct merkle_edge *e = calloc(1, sizeof(*e));
	uint8_t(*leaf)[32] = malloc((size_t)N_LEAVES * 32), want[32], got[32];
	size_t next = 0;

	(void)state;
	assert_non_null(e);
	assert_non_null(leaf);
	for (unsigned i = 0; i < N_LEAVES; i++) {
		uint8_t data[4];
		bytes_put32(data, i);
		merkle_leaf(leaf[i], data, sizeof(data));
		merkle_edge_add(e, leaf[i]);
		if (i + 1 != sizes[next])
			continue;
		mth(want, leaf, sizes[next++]);
		merkle_edge_root(e, got);
		assert_memory_equal(got, want, 32);
	}
	assert_int_equal(next, sizeof(sizes) / sizeof(sizes[0]));
	free(leaf);
	free(e);
}

/* Whoever stores a tile when it fills misses none: filled names exactly the levels completed. */
static void filled_levels(void **state)
{
	struct merkle_edge *e = calloc(1, sizeof(*e));
	uint8_t leaf[32] = {1}, below[32];
	unsigned n_filled[3] = {0};

	(void)state;
	assert_non_null(e);
	assert_int_equal(merkle_edge_filled(e), 0);
	for (unsigned i = 0; i < 65536; i++) {
		merkle_edge_add(e, leaf);
		for (unsigned level = 0; level < merkle_edge_filled(e); level++)
			n_filled[level]++;
	}
	assert_int_equal(n_filled[0], 256);
	assert_int_equal(n_filled[1], 1);
	assert_int_equal(n_filled[2], 0);
	/* and a full tile's root stands in the level above */
	merkle_tile_root(below, e->hash[0]);
	assert_memory_equal(below, e->hash[1][255], 32);
	merkle_tile_root(below, e->hash[1]);
	assert_memory_equal(below, e->hash[2][0], 32);
	free(e);
}

/* Readers made for C2SP tlog-tiles find every tile where they look for it. */
static void tile_paths(void **state)
{
	char path[MERKLE_PATH_MAX];

	(void)state;
	merkle_tile_path(path, 0, 0, 256);
	assert_string_equal(path, "tile/0/000");
	merkle_tile_path(path, 1, 999, 255);
	assert_string_equal(path, "tile/1/999.p/255");
	merkle_tile_path(path, 0, 1000, 256);
	assert_string_equal(path, "tile/0/x001/000");
	merkle_tile_path(path, MERKLE_ENTRIES, 1234067, 256);
	assert_string_equal(path, "tile/entries/x001/x234/067");
	merkle_tile_path(path, MERKLE_ENTRIES, 1234067, 8);
	assert_string_equal(path, "tile/entries/x001/x234/067.p/8");
	merkle_tile_path(path, 7, UINT64_MAX, 255);
	assert_string_equal(path, "tile/7/x018/x446/x744/x073/x709/x551/615.p/255");
}

/* The width asked for is the width that a tree of that size has. */
static void tile_widths(void **state)
{
	(void)state;
	assert_int_equal(merkle_tile_width(0, 0, 0), 0);
	assert_int_equal(merkle_tile_width(255, 0, 0), 255);
	assert_int_equal(merkle_tile_width(256, 0, 0), 256);
	assert_int_equal(merkle_tile_width(256, 0, 1), 0);
	assert_int_equal(merkle_tile_width(256, 1, 0), 1);
	assert_int_equal(merkle_tile_width(70000, 0, 273), 112);
	assert_int_equal(merkle_tile_width(70000, 1, 1), 17);
	assert_int_equal(merkle_tile_width(70000, 2, 0), 1);
	assert_int_equal(merkle_tile_width(70000, 2, 1), 0);
	assert_int_equal(merkle_tile_width(UINT64_MAX, 7, 0), 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(known_vectors), cmocka_unit_test(edge_matches_definition),
	    cmocka_unit_test(filled_levels), cmocka_unit_test(tile_paths),
	    cmocka_unit_test(tile_widths),
	};

	if (secret_process_init() != 0)
		return 99;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
