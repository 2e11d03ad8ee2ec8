/* Verifying what a set makes of deltas. See backup.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backup/backup.h"
#include "backup/setview_internal.h"
#include "core/cleanup.h"

struct making {
	struct setview *view;
	const uint64_t *ids; /* sorted; NULL: all */
	size_t n;
	uint8_t *range;
	struct backup_verdict *v;
};

static void bad(struct making *x, const struct set_entry *e, const char *why)
{
	if (x->v->n_bad++ == 0)
		snprintf(x->v->first_bad, sizeof(x->v->first_bad), "set %s, range %llu of id %llu: %s",
			 setview_id(x->view), (unsigned long long)e->range, (unsigned long long)e->id, why);
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int on_entry(void *arg, const struct set_entry *e)
{
	struct making *x = arg;
	const struct view_entry ve = {.e = *e, .set = (uint32_t)x->view->n_chain - 1};
	char order[KEYRING_ORDER_REF_MAX + 1];
	uint8_t what[SET_RANGE_BLOCKS];

	if (!set_entry_is_delta(e) ||
	    (x->ids && !bsearch(&e->id, x->ids, x->n, sizeof(e->id), compare_ids)) ||
	    keyring_gone(x->view->kr, KEYRING_BACKUP, e->id, order))
		return 0;
	int err = setview_lay(x->view, &ve, 1, 0, what, x->range);
	if (err == -EKEYREVOKED)
		bad(x, e, "what it is made from was destroyed");
	else if (err == -EBADMSG)
		bad(x, e, "cannot be made from what it rests on");
	else
		return err;
	return 0;
}

int backup_verify_deltas(struct repo *r, struct keyring *kr, const struct set_catalog *c, size_t set,
			 const uint64_t *ids, size_t n, struct backup_verdict *io, struct diag *d)
{
	CLEANUP_FREE uint8_t *range = malloc(SET_RANGE);
	struct making x = {.ids = ids, .n = n, .range = range, .v = io};
	struct diag inner = {0};
	int err = range ? setview_open(r, kr, c, set, &x.view, &inner) : -ENOMEM;

	if (err == 0)
		err = set_index_read(r, kr, &c->sets[set], on_entry, &x, &inner);
	setview_close(x.view);
	/* An index or a chain that is not whole was, or will be, said of the set that it belongs to. */
	if (err == -EBADMSG || err == -ENOENT)
		return 0;
	return err ? diag_fail_errno(d, err, "verifying set %s", c->sets[set].id) : 0;
}
