/* See throttle.h. */
#include "backup/throttle.h"

#include <errno.h>
#include <time.h>

#define SECOND 1000000000u
#define BURST (SECOND / 4)

void throttle_init(struct throttle *t, uint64_t bytes_per_second)
{
	pthread_condattr_t attr;

	*t = (struct throttle){.bytes_per_second = bytes_per_second};
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->stopped, &attr);
	pthread_condattr_destroy(&attr);
}

void throttle_destroy(struct throttle *t)
{
	pthread_cond_destroy(&t->stopped);
	pthread_mutex_destroy(&t->lock);
}

uint64_t throttle_due(uint64_t bytes_per_second, uint64_t now, size_t n, uint64_t *io_free_at)
{
	uint64_t cost = (uint64_t)((double)n / (double)bytes_per_second * SECOND);

	/* What was not used is lost but for the burst. */
	if (*io_free_at + BURST < now)
		*io_free_at = now - BURST;
	*io_free_at += cost;
	return *io_free_at > now ? *io_free_at : now;
}

void throttle_wait(struct throttle *t, size_t n)
{
	struct timespec now, until;

	if (!t || t->bytes_per_second == 0)
		return;
	pthread_mutex_lock(&t->lock);
	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t due = throttle_due(t->bytes_per_second, (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec, n,
				    &t->free_at);
	until = (struct timespec){.tv_sec = (time_t)(due / SECOND), .tv_nsec = (long)(due % SECOND)};
	while (!t->stop && pthread_cond_timedwait(&t->stopped, &t->lock, &until) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&t->lock);
}

void throttle_stop(struct throttle *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->stopped);
	pthread_mutex_unlock(&t->lock);
}
