/* RFC 6962 tree hashing over tiles. */
#include "core/merkle.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/kdf.h"

void merkle_leaf(uint8_t ret[MERKLE_HASH_LEN], const void *entry, size_t len)
{
	kdf_sha256_node(ret, 0x00, entry, len, NULL, 0);
}

void merkle_node(uint8_t ret[MERKLE_HASH_LEN], const uint8_t left[MERKLE_HASH_LEN],
		 const uint8_t right[MERKLE_HASH_LEN])
{
	uint8_t out[MERKLE_HASH_LEN];

	kdf_sha256_node(out, 0x01, left, MERKLE_HASH_LEN, right, MERKLE_HASH_LEN);
	memcpy(ret, out, sizeof(out));
}

/* The root over n hashes, n a power of two up to 256. */
static void fold(uint8_t ret[MERKLE_HASH_LEN], const uint8_t (*hash)[MERKLE_HASH_LEN], unsigned n)
{
	uint8_t row[MERKLE_TILE_WIDTH / 2][MERKLE_HASH_LEN];
	const uint8_t(*from)[MERKLE_HASH_LEN] = hash;

	for (; n > 1; n /= 2) {
		for (unsigned i = 0; i < n / 2; i++)
			merkle_node(row[i], from[2 * i], from[2 * i + 1]);
		from = row;
	}
	memcpy(ret, from[0], MERKLE_HASH_LEN);
}

void merkle_tile_root(uint8_t ret[MERKLE_HASH_LEN], const uint8_t (*hash)[MERKLE_HASH_LEN])
{
	fold(ret, hash, MERKLE_TILE_WIDTH);
}

void merkle_edge_add(struct merkle_edge *e, const uint8_t leaf[MERKLE_HASH_LEN])
{
	memcpy(e->hash[0][merkle_edge_width(e->size, 0)], leaf, MERKLE_HASH_LEN);
	e->size++;
	for (unsigned level = 0, n = merkle_edge_filled(e); level < n; level++) {
		/* The subtree just completed is the newest hash one level up. */
		if (level + 1 < MERKLE_LEVELS)
			merkle_tile_root(
			    e->hash[level + 1][merkle_edge_width(e->size - 1, level + 1)],
			    e->hash[level]);
	}
}

unsigned merkle_edge_filled(const struct merkle_edge *e)
{
	unsigned n = 0;

	if (!e->size)
		return 0;
	while (n < MERKLE_LEVELS && merkle_edge_width(e->size, n) == 0)
		n++;
	return n;
}

void merkle_edge_root(const struct merkle_edge *e, uint8_t ret[MERKLE_HASH_LEN])
{
	uint8_t root[MERKLE_HASH_LEN], sub[MERKLE_HASH_LEN];
	bool have = false;

	/*
	 * The complete subtrees are the one-bits of the size; they join from the smallest,
	 * rightmost.
	 */
	for (unsigned level = 0; level < MERKLE_LEVELS; level++) {
		unsigned width = merkle_edge_width(e->size, level);
		for (unsigned bit = 1; bit < MERKLE_TILE_WIDTH; bit <<= 1) {
			if (!(width & bit))
				continue;
			fold(sub, &e->hash[level][width & ~(2 * bit - 1)], bit);
			if (have)
				merkle_node(root, sub, root);
			else
				memcpy(root, sub, sizeof(root));
			have = true;
		}
	}
	if (!have)
		kdf_sha256(root, "", 0);
	memcpy(ret, root, sizeof(root));
}

unsigned merkle_tile_width(uint64_t size, unsigned level, uint64_t n)
{
	uint64_t edge = merkle_tile_index(size, level);

	if (n < edge)
		return MERKLE_TILE_WIDTH;
	return n == edge ? merkle_edge_width(size, level) : 0;
}

void merkle_tile_path(char ret[MERKLE_PATH_MAX], int level, uint64_t n, unsigned width)
{
	uint64_t scale = 1;
	size_t at;

	if (level == MERKLE_ENTRIES)
		at = (size_t)snprintf(ret, MERKLE_PATH_MAX, "tile/entries/");
	else
		at = (size_t)snprintf(ret, MERKLE_PATH_MAX, "tile/%d/", level);
	/* Three digits a folder, from the first to the last; all but the last carry an x. */
	while (n / scale >= 1000)
		scale *= 1000;
	for (; scale > 1; scale /= 1000)
		at += (size_t)snprintf(ret + at, MERKLE_PATH_MAX - at, "x%03u/",
				       (unsigned)(n / scale % 1000));
	at += (size_t)snprintf(ret + at, MERKLE_PATH_MAX - at, "%03u", (unsigned)(n % 1000));
	if (width < MERKLE_TILE_WIDTH)
		snprintf(ret + at, MERKLE_PATH_MAX - at, ".p/%u", width);
}
