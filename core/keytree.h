/*
 * A puncturable pseudorandom function: a GGM tree of keyed BLAKE2b over 64-bit ids.
 *
 * The state is a set of disjoint subtrees, each a (first id, depth, seed). Deriving walks from the
 * covering subtree to the leaf; puncturing a range replaces every subtree that meets it by the
 * subtrees beside it. What is punctured cannot be derived from the state any more, and every other
 * id derives the same key as before. Source: Goldreich, Goldwasser, Micali 1986; Aviram, Gellert,
 * Jager 2019.
 *
 * Not thread-safe: the keyring guards it. The path of the last derivation is cached in guarded
 * memory, so that neighbouring ids cost a step or two; puncturing drops the cache.
 */
#ifndef COFFER_CORE_KEYTREE_H
#define COFFER_CORE_KEYTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/kdf.h"

/* A decoded state may not hold more subtrees than this (2^22: about 168 MiB). */
#define KEYTREE_NODES_MAX (1u << 22)

struct keytree;

/* A whole tree from a fresh random root; NULL without memory. */
struct keytree *keytree_new(void);
/* A copy, for a puncture that may still fail. */
struct keytree *keytree_clone(const struct keytree *t);
void keytree_free(struct keytree *t);

/* 0, or -EKEYREVOKED when the id is punctured. */
int keytree_derive(struct keytree *t, uint64_t id, uint8_t ret[KDF_KEY_LEN]);
bool keytree_has(const struct keytree *t, uint64_t id);
/* Whether any id of first..last can still be derived. */
bool keytree_has_any(const struct keytree *t, uint64_t first, uint64_t last);
/*
 * Removes first..last inclusive; ids already gone are no error. 0, -EINVAL when first is above last,
 * -ENOMEM, or -ENOSPC when the state would outgrow KEYTREE_NODES_MAX (unchanged in all cases). At most 126 subtrees are added.
 */
int keytree_puncture(struct keytree *t, uint64_t first, uint64_t last);
/*
 * Removes everything from first to the end of the id space and puts fresh random subtrees there (a
 * new generation: an old state derives none of these ids' new keys). Returns as keytree_puncture.
 */
int keytree_regenerate(struct keytree *t, uint64_t first);
size_t keytree_n_nodes(const struct keytree *t);

/*
 * Encoded size: a count and 41 bytes a subtree. The encoding is secret, so it goes into memory of
 * the caller's choice.
 */
size_t keytree_encoded_len(const struct keytree *t);
void keytree_encode(const struct keytree *t, uint8_t *out);
/* Checks order, alignment, overlap and counts. -EUCLEAN, -ENOMEM. */
int keytree_decode(struct bytes_r *r, struct keytree **ret);

CLEANUP_DEFINE(keytree, struct keytree *, keytree_free)
#define CLEANUP_KEYTREE __attribute__((cleanup(cleanup_keytree)))

#endif
