/*
 * Merkle tree hashing (RFC 6962 section 2.1) and the arithmetic of its tiles (C2SP tlog-tiles).
 *
 * A tile of level L and index N holds up to 256 hashes; each is the root of a complete subtree of
 * 256^L leaves. The edge of a tree is the rightmost tile of every level. It is all that is needed
 * to append and to compute the root, and whoever streams leaves through an edge sees the root of
 * every earlier size go by: consistency is shown by recomputing, not by proofs. Nothing here
 * touches a disk. An edge belongs to one thread at a time.
 */
#ifndef COFFER_CORE_MERKLE_H
#define COFFER_CORE_MERKLE_H

#include <stddef.h>
#include <stdint.h>

#define MERKLE_HASH_LEN 32
#define MERKLE_TILE_WIDTH 256u
#define MERKLE_LEVELS 8u    /* 256^8 leaves: every 64-bit size */
#define MERKLE_ENTRIES (-1) /* "level" of an entry bundle in merkle_tile_path */
#define MERKLE_PATH_MAX 64

struct merkle_edge {
	uint64_t size; /* leaves */
	/*
	 * hash[L][i], i < (size >> 8L) & 255: the partial tile; a tile just filled stays until
	 * the next add.
	 */
	uint8_t hash[MERKLE_LEVELS][MERKLE_TILE_WIDTH][MERKLE_HASH_LEN];
};

/* SHA-256(0x00 || entry). */
void merkle_leaf(uint8_t ret[MERKLE_HASH_LEN], const void *entry, size_t len);
/* SHA-256(0x01 || left || right). */
void merkle_node(uint8_t ret[MERKLE_HASH_LEN], const uint8_t left[MERKLE_HASH_LEN],
		 const uint8_t right[MERKLE_HASH_LEN]);
/* The root over a whole tile: 256 hashes of one level make one hash of the next. */
void merkle_tile_root(uint8_t ret[MERKLE_HASH_LEN], const uint8_t (*hash)[MERKLE_HASH_LEN]);

/* The empty tree is a zeroed edge. */
void merkle_edge_add(struct merkle_edge *e, const uint8_t leaf[MERKLE_HASH_LEN]);
/* Levels whose tile the last add completed: 0 .. n - 1, of index merkle_tile_index(size, L) - 1. */
unsigned merkle_edge_filled(const struct merkle_edge *e);
/* The root over all leaves; of the empty tree SHA-256 of nothing. */
void merkle_edge_root(const struct merkle_edge *e, uint8_t ret[MERKLE_HASH_LEN]);

/* Hashes at a level of a tree of that size. */
static inline uint64_t merkle_level_size(uint64_t size, unsigned level)
{
	return size >> (8 * level);
}

/* Index of the partial tile at the right edge; complete tiles lie left of it. */
static inline uint64_t merkle_tile_index(uint64_t size, unsigned level)
{
	return merkle_level_size(size, level) / MERKLE_TILE_WIDTH;
}

/* Hashes in the partial tile at the right edge, 0..255. */
static inline unsigned merkle_edge_width(uint64_t size, unsigned level)
{
	return (unsigned)(merkle_level_size(size, level) % MERKLE_TILE_WIDTH);
}

/* Hashes in tile n of a level, in a tree of that size: 0..256. */
unsigned merkle_tile_width(uint64_t size, unsigned level, uint64_t n);

/*
 * "tile/0/x001/x234/067", "tile/entries/000.p/5": level or MERKLE_ENTRIES, index, and how many of
 * the 256 it holds (256: complete).
 */
void merkle_tile_path(char ret[MERKLE_PATH_MAX], int level, uint64_t n, unsigned width);

#endif
