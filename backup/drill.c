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

#define POOL_MAX 4096

static uint64_t tag_of(const struct drill *dr, uint64_t id)
{
	uint8_t b[8], out[KDF_KEY_LEN];

	bytes_put64(b, id);
	kdf_derive(out, dr->tag_key, "drill", b, sizeof(b));
	return bytes_get64(out);
}

/* Where a tag stands or belongs; the pool is sorted. */
static size_t place(const struct drill *dr, uint64_t tag)
{
	size_t lo = 0, hi = dr->n_pool;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (dr->pool[mid].tag < tag)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The lowest tags stay. Two names of a file have one tag. */
static void offer(struct drill *dr, const struct view_entry *ve)
{
	uint64_t tag = tag_of(dr, ve->e.child);

	if (dr->any_past && tag <= dr->past)
		return;
	size_t i = place(dr, tag);
	if (i == dr->cap_pool || (i < dr->n_pool && dr->pool[i].tag == tag))
		return;
	if (dr->n_pool < dr->cap_pool)
		dr->n_pool++;
	memmove(&dr->pool[i + 1], &dr->pool[i], (dr->n_pool - 1 - i) * sizeof(*dr->pool));
	dr->pool[i] = (struct drill_drawn){tag, *ve};
}

/* Fills the pool with regular files whose key is there. */
static int candidates(struct drill *dr)
{
	char order[KEYRING_ORDER_REF_MAX + 1];
	struct view_names it;
	struct view_entry ve;
	int more = view_names_open(dr->view, 0, 0, true, &it);

	if (more)
		return more;
	dr->n_pool = 0;
	while ((more = view_names_next(&it, &ve)) > 0 || more == -EBADMSG) {
		if (more < 0) { /* what the index lacks cannot be drawn: that is found out, too */
			drill_bad(dr, 0, "the index is damaged");
			continue;
		}
		if (!S_ISREG(ve.e.type_mode) || keyring_gone(dr->in->kr, KEYRING_BACKUP, ve.e.child, order))
			continue;
		dr->res.n_in_set += !dr->any_past;
		offer(dr, &ve);
	}
	view_names_close(&it);
	if (!dr->any_past && dr->n_pool < dr->cap_pool)
		dr->res.n_in_set = dr->n_pool; /* all of them are here, each once */
	return more;
}

static int pool_new(struct drill *dr)
{
	dr->cap_pool = POOL_MAX;
	dr->pool = calloc(dr->cap_pool, sizeof(*dr->pool));
	kdf_random(dr->tag_key, sizeof(dr->tag_key));
	return dr->pool ? candidates(dr) : -ENOMEM;
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

/* Draws until there are enough or the set has no more. */
static int draw(struct drill *dr)
{
	int err = 0;

	while (err == 0 && dr->n_pool && dr->res.n_files < dr->in->n_files) {
		for (size_t i = 0; err == 0 && i < dr->n_pool && dr->res.n_files < dr->in->n_files; i++)
			err = one(dr, &dr->pool[i].name);
		dr->past = dr->pool[dr->n_pool - 1].tag;
		dr->any_past = true;
		if (err || dr->res.n_files == dr->in->n_files || dr->n_pool < dr->cap_pool)
			break;
		err = candidates(dr);
		if (err)
			diag_fail_errno(dr->d, err, "set %s, index", setview_id(dr->view));
	}
	return err;
}

static int all(struct drill *dr)
{
	int err = pool_new(dr);

	if (err == 0)
		err = drill_scratch_begin(dr);
	if (err)
		return diag_fail_errno(dr->d, err, "%s", dr->in->scratch);
	err = draw(dr);
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
