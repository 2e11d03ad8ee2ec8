/*
 * The shortest list of operations that still fails (delta debugging, Zeller & Hildebrandt 2002).
 */
#ifndef COFFER_TESTS_CRASH_SHRINK_H
#define COFFER_TESTS_CRASH_SHRINK_H

#include <stdbool.h>

#include "tests/crash/ops.h"

/* Whether the list fails; called in a process of its own, so it may crash. */
typedef bool (*shrink_fails_fn)(void *arg, const struct op *ops, size_t n);
/* Shortens ops in place until no single operation can be left out or seconds are over; the new
 * length. */
size_t shrink(struct op *ops, size_t n, shrink_fails_fn fails, void *arg, unsigned seconds);

#endif
