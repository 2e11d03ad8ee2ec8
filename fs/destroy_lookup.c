/*
 * Lookup ids that destruction leaves to be punctured.
 *
 * The hash of a name in a folder is keyed by the folder's lookup id, so whoever holds that key and
 * an old copy of the record store could confirm a guessed name. The ids are kept in the store until
 * they are punctured: a crash between the destruction and the puncture of its lookup ids loses
 * none.
 */
#include <errno.h>

#include "core/bytes.h"
#include "fs/destroy_internal.h"

static bool punctured(struct volume *v, uint64_t lookup_id)
{
	char order[KEYRING_ORDER_REF_MAX + 1];

	return keyring_gone(v->kr, KEYRING_LIVE, lookup_id, order);
}

static int of_folder(struct volume *v, uint64_t dir, struct bytes_w *out)
{
	CLEANUP_BYTES struct bytes_w val = {0};
	struct rstore_key key = engine_key(SPACE_LOOKUP, &dir, 1);
	int r = rstore_get(v->rs, &key, &val, NULL);

	if (r == -ENOENT)
		return 0;
	if (r == 0 && val.len != 8)
		r = -EUCLEAN;
	if (r)
		return engine_fault(v, r, dir, "lookup id", 0);
	uint64_t lookup_id = bytes_get64(val.buf);
	if (punctured(v, lookup_id))
		return rstore_del(v->rs, &key);
	bytes_w_u64(out, lookup_id);
	return out->err;
}

/* Keys cannot be deleted while they are scanned: the retired ids are collected first. */
static int collect_retired(void *arg, const struct rstore_key *key, const void *val, size_t len,
			   uint64_t txn)
{
	struct bytes_w *w = arg;

	(void)val;
	(void)len;
	(void)txn;
	if (key->len != 9)
		return -EUCLEAN;
	bytes_w_u64(w, bytes_get64be(key->b + 1));
	return w->err;
}

static int of_retired(struct volume *v, struct bytes_w *out)
{
	CLEANUP_BYTES struct bytes_w all = {0};
	struct rstore_key from = engine_key(SPACE_RETIRED, NULL, 0),
			  to = engine_key(SPACE_RETIRED + 1, NULL, 0);
	int r = rstore_scan(v->rs, &from, &to, collect_retired, &all);

	if (r)
		return engine_fault(v, r, 0, "retired lookup id", 0);
	for (size_t at = 0; at < all.len && r == 0; at += 8) {
		uint64_t lookup_id = bytes_get64(all.buf + at);
		struct rstore_key key = engine_key(SPACE_RETIRED, &lookup_id, 1);

		if (punctured(v, lookup_id)) {
			r = rstore_del(v->rs, &key);
		} else {
			bytes_w_u64(out, lookup_id);
			r = out->err;
		}
	}
	return r;
}

int destroy_lookup_ids(struct volume *v, const uint64_t *ids, size_t n, struct bytes_w *out)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = of_folder(v, ids[i], out);
	return r ? r : of_retired(v, out);
}
