/*
 * Buffers for answers. Each thread keeps one: from the system a large one would come as new pages, every one of them to be cleared
 * first, and go back after each request.
 */
#include "fs/front_internal.h"

#include <stdlib.h>

#include "core/secret.h"

struct buffer {
	void *p;
	size_t len;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;

static void buffer_free(void *arg)
{
	struct buffer *b = arg;

	if (b->p)
		secret_wipe(b->p, b->len);
	free(b->p);
	free(b);
}

static void make_key(void)
{
	have_key = pthread_key_create(&key, buffer_free) == 0;
}

static struct buffer *own(void)
{
	pthread_once(&once, make_key);
	struct buffer *b = have_key ? pthread_getspecific(key) : NULL;
	if (b || !have_key)
		return b;
	b = calloc(1, sizeof(*b));
	if (b && pthread_setspecific(key, b) != 0) {
		free(b);
		return NULL;
	}
	return b;
}

void *front_buffer(size_t len)
{
	struct buffer *b = own();

	if (!b)
		return NULL;
	if (b->len >= len)
		return b->p;
	size_t wider = (len + MAP_BLOCK - 1) / MAP_BLOCK * MAP_BLOCK;
	void *p = aligned_alloc(MAP_BLOCK, wider);
	if (!p)
		return NULL;
	if (b->p)
		secret_wipe(b->p, b->len);
	free(b->p);
	*b = (struct buffer){p, wider};
	return p;
}
