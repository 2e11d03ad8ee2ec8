/*
 * The tree of a set as of its snapshot: of everything the latest record in the chain's indices, what is
 * gone left out. Nothing is held but the indices' fences and some blocks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/setview_internal.h"
#include "core/cleanup.h"

static int open_index(struct setview *sv, size_t i, struct diag *d)
{
	const struct set_manifest *m = &sv->catalog->sets[sv->chain[i]];
	int err = set_index_open(sv->repo, sv->kr, m, sv->blocks, &sv->index[i]);

	if (err == -EBADMSG)
		return diag_fail(d, DIAG_SET_DAMAGED, err, "set %s, index", m->id);
	return err ? diag_fail_errno(d, err, "%s: set %s, index", repo_url(sv->repo), m->id) : 0;
}

int setview_open(struct repo *r, struct keyring *kr, const struct set_catalog *c, size_t set,
		 struct setview **ret, struct diag *d)
{
	struct setview *sv = calloc(1, sizeof(*sv));
	int err;

	if (!sv)
		return diag_fail_errno(d, -ENOMEM, "set %s", c->sets[set].id);
	sv->repo = r;
	sv->kr = kr;
	sv->catalog = c;
	err = set_catalog_chain(c, set, &sv->chain, &sv->n_chain, d);
	if (err == 0) {
		sv->blocks = set_blocks_new();
		sv->windows = pack_windows_new();
		sv->index = calloc(sv->n_chain, sizeof(*sv->index));
		err = sv->blocks && sv->windows && sv->index ? 0 : diag_fail_errno(d, -ENOMEM, "set %s", c->sets[set].id);
	}
	for (size_t i = 0; err == 0 && i < sv->n_chain; i++)
		err = open_index(sv, i, d);
	if (err) {
		setview_close(sv);
		return err;
	}
	*ret = sv;
	return 0;
}

void setview_close(struct setview *sv)
{
	if (!sv)
		return;
	for (size_t i = 0; sv->index && i < sv->n_chain; i++)
		set_index_close(sv->index[i]);
	free(sv->index);
	set_blocks_free(sv->blocks);
	pack_windows_free(sv->windows);
	setview_made_free(sv);
	free(sv->chain);
	free(sv);
}

const struct set_manifest *setview_manifest(const struct setview *sv, const struct view_entry *ve)
{
	return &sv->catalog->sets[sv->chain[ve->set]];
}

const char *setview_id(const struct setview *sv)
{
	return sv->catalog->sets[sv->chain[sv->n_chain - 1]].id;
}

int setview_read(struct setview *sv, const struct view_entry *ve, struct bytes_w *out)
{
	const struct set_manifest *m = setview_manifest(sv, ve);
	const uint8_t *stored;

	if (!pack_windows_cover(&ve->e))
		return set_record_read(sv->repo, sv->kr, m, &ve->e, out);
	int err = set_record_judge(sv->kr, m, &ve->e);
	if (err == 0)
		err = pack_windows_get(sv->windows, sv->repo, m, &ve->e, &stored);
	return err ? err : set_record_take(sv->kr, &ve->e, stored, out);
}

int setview_node(struct setview *sv, uint64_t id, struct view_entry *ret)
{
	const struct set_key key = {.id = id, .class = SET_NODE};

	for (size_t i = sv->n_chain; i-- > 0;) {
		int err = set_index_find(sv->index[i], &key, &ret->e);

		if (err != -ENOENT) {
			ret->set = (uint32_t)i;
			return err;
		}
	}
	return -ENOENT;
}

void setview_order(struct setview *sv, uint64_t id, uint64_t parent,
		   char ret[KEYRING_ORDER_REF_MAX + 1])
{
	if (!keyring_gone(sv->kr, KEYRING_BACKUP, id, ret) &&
	    !keyring_gone(sv->kr, KEYRING_LIVE, id, ret))
		keyring_gone(sv->kr, KEYRING_BACKUP, parent, ret);
}

int setview_read_node(struct setview *sv, uint64_t id, struct bytes_w *body, struct set_node *ret)
{
	char order[KEYRING_ORDER_REF_MAX + 1];
	struct view_entry ve;
	int err = setview_node(sv, id, &ve);

	/* A live file that was destroyed while the set was taken has a name in it, perhaps, and no
	 * node. */
	if (err == -ENOENT)
		return keyring_gone(sv->kr, KEYRING_LIVE, id, order) ? -EKEYREVOKED : -EBADMSG;
	if (err == 0)
		err = setview_read(sv, &ve, body);
	if (err == 0 && set_node_decode(body->buf, body->len, ret) != 0)
		err = -EBADMSG;
	return err;
}

int setview_attr(struct setview *sv, uint64_t id, struct volume_attr *ret)
{
	CLEANUP_BYTES struct bytes_w body = {0};
	struct set_node n;
	int err = setview_read_node(sv, id, &body, &n);

	if (err)
		return err;
	*ret = n.attr;
	ret->id = id;
	return 0;
}
