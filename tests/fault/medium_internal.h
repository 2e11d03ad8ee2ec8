/* Shared by tests/fault/medium.c and medium_state.c. */
#ifndef COFFER_TESTS_FAULT_MEDIUM_INTERNAL_H
#define COFFER_TESTS_FAULT_MEDIUM_INTERNAL_H

#include <pthread.h>
#include <sys/types.h>

#include "tests/fault/medium.h"

#define FDS_MAX 1024

enum medium_kind {
	MEDIUM_WRITE,
	MEDIUM_TRUNCATE,
	MEDIUM_PUNCH,
	MEDIUM_SYNC, /* of a file */
	MEDIUM_CREATE,
	MEDIUM_UNLINK,
	MEDIUM_MKDIR,
	MEDIUM_RENAME,
	MEDIUM_SYNC_FOLDER,
	MEDIUM_SYNC_ALL,
};

struct medium_op {
	enum medium_kind kind;
	bool failed; /* a sync that did */
	unsigned file;
	uint64_t off;
	size_t len;
	uint8_t *data;
	char *path, *to;
	size_t synced_at; /* the call that made it durable, SIZE_MAX none */
};

/* A file's identity; where it is named is told by entries. */
struct medium_file {
	dev_t dev;
	ino_t ino;
	unsigned n_errors; /* of writing back */
	int err;           /* the last one */
};

/* What was there when the recording began. */
struct medium_base {
	char *path;
	bool folder;
	unsigned file;
	uint8_t *data;
	size_t len;
};

struct medium {
	pthread_mutex_t lock;
	volatile bool on;
	char *folder;
	struct medium_op *ops;
	size_t n_ops, cap_ops;
	struct medium_file *files;
	unsigned n_files;
	struct medium_base *base;
	unsigned n_base;

	unsigned seen[FDS_MAX]; /* n_errors that each descriptor was told of */

	enum medium_calls fail_which;
	uint64_t fail_at, n_calls;
	int err;
	bool lasts, failed;
	const char *failed_what;
};
extern struct medium medium;

void *medium_need(void *p);

#endif
