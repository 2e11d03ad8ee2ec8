/*
 * Freezes: ids that stay as they are for a while.
 *
 * An order is checked against the volume and then ends keys; between the two nothing may come under
 * its folders, or the erasure after the puncture would meet what the order does not cover. The sets
 * live in memory only: who needs them after a restart sets them again. The engine lock makes them
 * take effect between two operations, so none is under way when volume_freeze returns.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "fs/engine_internal.h"

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool has(const struct frozen_ids *f, uint64_t id)
{
	return f->n && bsearch(&id, f->ids, f->n, sizeof(id), compare_ids);
}

static int replace(struct volume *v, struct frozen_ids *f, const uint64_t *ids, size_t n)
{
	CLEANUP_FREE uint64_t *copy = calloc(n ? n : 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (n)
		memcpy(copy, ids, n * sizeof(*copy));
	qsort(copy, n, sizeof(*copy), compare_ids);
	engine_enter(v);
	uint64_t *old = f->ids;
	f->ids = STEAL_PTR(copy);
	f->n = n;
	engine_leave(v);
	free(old);
	return 0;
}

int volume_freeze(struct volume *v, const uint64_t *ids, size_t n)
{
	return replace(v, &v->frozen, ids, n);
}

int volume_freeze_names(struct volume *v, const uint64_t *ids, size_t n)
{
	return replace(v, &v->frozen_names, ids, n);
}

void volume_thaw(struct volume *v)
{
	engine_enter(v);
	freeze_free(v);
	engine_leave(v);
}

void freeze_free(struct volume *v)
{
	free(v->frozen.ids);
	free(v->frozen_names.ids);
	v->frozen = v->frozen_names = (struct frozen_ids){0};
}

int freeze_check(struct volume *v, uint64_t id)
{
	return has(&v->frozen, id) ? -EROFS : 0;
}

int freeze_check_names(struct volume *v, uint64_t id)
{
	return has(&v->frozen, id) || has(&v->frozen_names, id) ? -EROFS : 0;
}
