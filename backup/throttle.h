/*
 * How fast a backup may go: bytes per second, by a token bucket. Thread-safe.
 */
#ifndef COFFER_BACKUP_THROTTLE_H
#define COFFER_BACKUP_THROTTLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct throttle {
	uint64_t bytes_per_second; /* 0: no limit */
	pthread_mutex_t lock;
	pthread_cond_t stopped;
	bool stop;
	uint64_t free_at; /* CLOCK_MONOTONIC, nanoseconds: when what was let through has been paid for */
};
/* At most a quarter of a second's bytes may come at once. */
void throttle_init(struct throttle *t, uint64_t bytes_per_second);
void throttle_destroy(struct throttle *t);
/* Waits until n more bytes may go; at once after throttle_stop, or when t is NULL. */
void throttle_wait(struct throttle *t, size_t n);
void throttle_stop(struct throttle *t);

/* When n bytes may go that are asked for at now; *io_free_at is the state. Pure. */
uint64_t throttle_due(uint64_t bytes_per_second, uint64_t now, size_t n, uint64_t *io_free_at);

#endif
