/* How many entries an opened index block has, for test_reject_sets.c. */
#ifndef COFFER_TESTS_INDEX_ENTRIES_H
#define COFFER_TESTS_INDEX_ENTRIES_H

#include <stddef.h>
#include <stdint.h>

int index_entries(const uint8_t *plain, size_t len, size_t *ret_n);

#endif
