/*
 * Memory that runs out on demand, for tests: the n-th allocation of the program or of SQLite fails.
 *
 * Calls of malloc, calloc, realloc, reallocarray and strdup in what is linked
 * statically are taken over by the linker (--wrap), SQLite's by its own hook. Those of other shared
 * libraries and of the simulated medium (medium.h) are not. A test turns it on only while the code under test runs.
 */
#ifndef COFFER_TESTS_FAULT_FAILING_MEMORY_H
#define COFFER_TESTS_FAULT_FAILING_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Before anything uses SQLite. */
void failing_memory_install(void);
/* The n-th allocation from now on fails (1 is the next; 0: none), all after it as well when it
 * lasts. Counts only while on. */
void failing_memory_plan(uint64_t n, bool lasts);
void failing_memory_on(bool on);
bool failing_memory_failed(void);

#endif
