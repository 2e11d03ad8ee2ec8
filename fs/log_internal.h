/* What fs/log.c and fs/log_replay.c share: the log in memory. */
#ifndef COFFER_FS_LOG_INTERNAL_H
#define COFFER_FS_LOG_INTERNAL_H

#include "core/secret.h"
#include "fs/log.h"

struct vlog {
	struct secret *key; /* of the heads */
	size_t wanted_size;
	pthread_mutex_t lock; /* a leaf; guards what follows */
	pthread_cond_t settled;
	int fd; /* -1: no file */
	size_t size;
	bool ready, making;
	bool broken; /* a write failed: no more frames on this base */
	unsigned n_wanted, n_failures;
	/* the chain: where the next frame belongs */
	struct rstore_root base; /* txn 0: none yet */
	uint64_t seq;
	uint8_t prev[LOG_TAG_LEN];
	size_t pos;
	uint64_t generation; /* how often it began anew */
	/* the batch that collects */
	unsigned n_items;
	struct log_item items[LOG_ENTRIES_MAX];
	struct bytes_w boxes;
	/* tickets */
	uint64_t open_no, done_no, failed_no;
	bool writing;
	struct bytes_w frame; /* the writer's own */
	/* damage found at opening */
	bool damaged;
	uint64_t damaged_off;
};

struct log_keys log_keys_of(struct volume *v);

#endif
