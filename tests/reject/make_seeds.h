/* Parts of the inputs' maker that reach what only its own file sees: each in a file that includes the product's. */
#ifndef COFFER_TESTS_MAKE_SEEDS_H
#define COFFER_TESTS_MAKE_SEEDS_H

#include <stdbool.h>

#include "core/bytes.h"

/* Index entries of every kind, as in an opened chunk. */
void seed_index(struct bytes_w *w);
/* The frame of a DATA record, and bytes in the place of its box. */
void seed_frame(struct bytes_w *w);
/* What a record's box holds: head, payload and padding. */
void seed_packed(bool shrinks, struct bytes_w *w);

#endif
