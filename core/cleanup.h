/*
 * Scope cleanup: resources released when their variable goes out of scope, errno kept.
 *
 * Every macro names one kind of resource. A resource that outlives its scope is released
 * explicitly with STEAL_PTR or STEAL_FD, which hand it on and leave nothing to clean.
 */
#ifndef COFFER_CORE_CLEANUP_H
#define COFFER_CORE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	int saved = errno;
	free(*(void **)p);
	errno = saved;
}

static inline void cleanup_fd(int *fd)
{
	int saved = errno;
	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void cleanup_file(FILE **f)
{
	int saved = errno;
	if (*f)
		fclose(*f);
	errno = saved;
}

static inline void cleanup_dir(DIR **d)
{
	int saved = errno;
	if (*d)
		closedir(*d);
	errno = saved;
}

#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))
#define CLEANUP_FD __attribute__((cleanup(cleanup_fd)))
#define CLEANUP_FILE __attribute__((cleanup(cleanup_file)))
#define CLEANUP_DIR __attribute__((cleanup(cleanup_dir)))

/* Runs FN(&variable) at the end of the scope; for types that have a _free of their own. */
#define CLEANUP_WITH(fn) __attribute__((cleanup(fn)))

/* Defines cleanup_NAME for a type whose release function takes the pointer itself. */
#define CLEANUP_DEFINE(name, type, release)                                                        \
	static inline void cleanup_##name(type *p)                                                 \
	{                                                                                          \
		int saved = errno;                                                                 \
		if (*p)                                                                            \
			release(*p);                                                               \
		errno = saved;                                                                     \
	}

#define STEAL_PTR(p)                                                                               \
	({                                                                                         \
		__auto_type steal_ = (p);                                                          \
		(p) = NULL;                                                                        \
		steal_;                                                                            \
	})

#define STEAL_FD(fd)                                                                               \
	({                                                                                         \
		int steal_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		steal_;                                                                            \
	})

#endif
