/*
 * Memory that runs out: see the header.
 */
#include "tests/fault/failing_memory.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fault/medium.h"

static atomic_ullong count;
static uint64_t at;
static bool for_good;
static atomic_bool on, failed;
static sqlite3_mem_methods real;

void failing_memory_plan(uint64_t n, bool lasts)
{
	at = n;
	for_good = lasts;
	count = 0;
	failed = false;
}

void failing_memory_on(bool now)
{
	on = now;
}

bool failing_memory_failed(void)
{
	return failed;
}

static bool runs_out(void)
{
	if (!on || !at || medium_busy)
		return false;
	uint64_t n = ++count;
	if (n != at && !(for_good && n > at))
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t n)
{
	return runs_out() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return runs_out() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return runs_out() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return runs_out() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return runs_out() ? NULL : __real_strdup(s);
}

static void *sqlite_malloc(int n)
{
	return runs_out() ? NULL : real.xMalloc(n);
}

static void *sqlite_realloc(void *p, int n)
{
	return runs_out() ? NULL : real.xRealloc(p, n);
}

void failing_memory_install(void)
{
	sqlite3_mem_methods mine;

	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real) != SQLITE_OK)
		abort();
	mine = real;
	mine.xMalloc = sqlite_malloc;
	mine.xRealloc = sqlite_realloc;
	/* No reserve of its own to hide behind. */
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &mine) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK)
		abort();
}
