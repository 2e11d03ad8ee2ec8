/* See drill.h. Drawing and comparing; the scratch folder is drill_scratch.c's, the live volume
 * drill_live.c's. */
#include "backup/drill_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

void drill_bad(struct drill *dr, uint64_t id, const char *what)
{
	if (dr->res.n_bad++ == 0)
		snprintf(dr->res.first_bad, sizeof(dr->res.first_bad), "set %s, id %llu: %s",
			 setview_id(dr->view), (unsigned long long)id, what);
}

/* --- drawing --- */

static int by_child(const void *a, const void *b)
{
	const struct view_entry *x = *(const struct view_entry *const *)a,
				*y = *(const struct view_entry *const *)b;

	return x->e.child < y->e.child ? -1 : x->e.child > y->e.child;
}

/* One name of each regular file whose key is there. */
static int candidates(struct drill *dr)
{
	char order[KEYRING_ORDER_REF_MAX + 1];
	const struct view_list *names = &dr->view->names;
	size_t n = 0;

	dr->pool = calloc(names->n + 1, sizeof(*dr->pool));
	if (!dr->pool)
		return -ENOMEM;
	for (size_t i = 0; i < names->n; i++)
		if (S_ISREG(names->v[i].e.type_mode))
			dr->pool[n++] = &names->v[i];
	qsort(dr->pool, n, sizeof(*dr->pool), by_child);
	for (size_t i = 0; i < n; i++) {
		const struct view_entry *ve = dr->pool[i];

		if ((i + 1 < n && dr->pool[i + 1]->e.child == ve->e.child) ||
		    keyring_gone(dr->in->kr, KEYRING_BACKUP, ve->e.child, order))
			continue;
		dr->pool[dr->n_pool++] = ve;
	}
	dr->res.n_in_set = dr->n_pool;
	return 0;
}

static size_t below(size_t n)
{
	uint64_t r, end = UINT64_MAX - UINT64_MAX % n;

	do
		kdf_random(&r, sizeof(r));
	while (r >= end);
	return (size_t)(r % n);
}

/* Takes one out of the pool. */
static const struct view_entry *draw(struct drill *dr)
{
	size_t i = below(dr->n_pool);
	const struct view_entry *ve = dr->pool[i];

	dr->pool[i] = dr->pool[--dr->n_pool];
	return ve;
}

/* --- one file --- */

static int name_opens(struct drill *dr, const struct view_entry *ve)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	char name[VOLUME_NAME_MAX + 1];
	int err = setview_read(dr->view, ve, &body);

	return err == 0 && set_name_decode(body.buf, body.len, name) != 0 ? -EBADMSG : err;
}

/* Against the set's records, read anew. */
static int compare(struct drill *dr, uint64_t id, const uint8_t restored[CONTENT_DIGEST_LEN],
		   uint64_t size)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	uint8_t digest[CONTENT_DIGEST_LEN];
	struct set_node n;
	int err = setview_read_node(dr->second, id, &body, &n);

	if (err == 0)
		err = content_digest_set(dr->second, id, &n, digest);
	if (err)
		return err;
	if (n.attr.size != size || memcmp(digest, restored, sizeof(digest)) != 0) {
		drill_bad(dr, id, "the restored file differs from the set's records");
		return 0;
	}
	return drill_live_look(dr, id, &n, digest);
}

static int restore_and_compare(struct drill *dr, uint64_t id)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	uint8_t digest[CONTENT_DIGEST_LEN];
	uint64_t size;
	struct set_node n;
	int err = setview_read_node(dr->view, id, &body, &n);

	if (err == 0 && !S_ISREG(n.attr.mode))
		err = -EBADMSG;
	if (err == 0)
		err = drill_scratch_restore(dr, id, &n, &size, digest);
	return err ? err : compare(dr, id, digest, size);
}

/* What is wrong with the set is counted, what is wrong with the machine is returned. */
static int one(struct drill *dr, const struct view_entry *ve)
{
	uint64_t id = ve->e.child;
	int err = name_opens(dr, ve);

	if (err == 0)
		err = restore_and_compare(dr, id);
	if (err == -EKEYREVOKED) {
		dr->res.n_destroyed++;
		return 0;
	}
	if (err && err != -EBADMSG)
		return diag_fail_errno(dr->d, err, "%s", dr->in->scratch);
	if (err)
		drill_bad(dr, id, "cannot be restored");
	dr->res.n_files++;
	if (dr->in->progress && dr->in->progress(dr->in->arg, dr->res.n_files, dr->res.n_bytes))
		return diag_fail(dr->d, DIAG_INTERRUPTED, -EINTR, "drill on set %s",
				 setview_id(dr->view));
	return 0;
}

static int all(struct drill *dr)
{
	int err = candidates(dr);

	if (err == 0)
		err = drill_scratch_begin(dr);
	if (err)
		return diag_fail_errno(dr->d, err, "%s", dr->in->scratch);
	while (err == 0 && dr->n_pool && dr->res.n_files < dr->in->n_files)
		err = one(dr, draw(dr));
	drill_scratch_end(dr);
	return err ? err : drill_live_settle(dr);
}

int drill_run(const struct drill_request *in, struct drill_result *ret, struct diag *d)
{
	struct drill dr = {.in = in, .d = d, .scratch_fd = -1};
	int err = setview_open(in->repo, in->kr, in->catalog, in->set, &dr.view, d);

	if (err == 0)
		err = setview_open(in->repo, in->kr, in->catalog, in->set, &dr.second, d);
	if (err == 0)
		err = all(&dr);
	free(dr.pool);
	free(dr.looks);
	setview_close(dr.second);
	setview_close(dr.view);
	*ret = dr.res;
	return err;
}
