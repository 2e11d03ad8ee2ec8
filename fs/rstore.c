/*
 * The record store: opening, closing, and pending writes.
 */
#include "fs/rstore.h"

#include <fcntl.h>
#include <string.h>

#include "core/durable.h"
#include "fs/rstore_internal.h"

int rstore_key_cmp(const struct rstore_key *a, const struct rstore_key *b)
{
	unsigned min = a->len < b->len ? a->len : b->len;
	int c = memcmp(a->b, b->b, min);

	return c ? c : (int)a->len - (int)b->len;
}

int rstore_key_valid(const struct rstore_key *key)
{
	return key->len && key->len <= RSTORE_KEY_MAX && key->b[0] < RSTORE_KEY_RESERVED ? 0
											 : -EINVAL;
}

/* --- opening --- */

static int derive_keys(struct rstore *rs)
{
	uint8_t epoch[KDF_KEY_LEN];

	rs->keys = secret_new(2 * KDF_KEY_LEN);
	if (!rs->keys)
		return -ENOMEM;
	keyring_epoch_key(rs->kr, KEYRING_RECORDS, epoch);
	kdf_derive(secret_bytes(rs->keys), epoch, "coffer node", NULL, 0);
	kdf_derive(secret_bytes(rs->keys) + KDF_KEY_LEN, epoch, "coffer head", NULL, 0);
	secret_wipe(epoch, sizeof(epoch));
	return 0;
}

int rstore_new(const struct rstore_config *cfg, struct rstore **ret)
{
	struct rstore *rs = calloc(1, sizeof(*rs));
	int r;

	if (!rs)
		return -ENOMEM;
	rs->kr = cfg->kr;
	rs->suite = keyring_suite(cfg->kr);
	rs->key_of = cfg->key_of;
	rs->arg = cfg->arg;
	rs->plain.wiped = true;
	memcpy(rs->volume_id, keyring_volume_id(cfg->kr), sizeof(rs->volume_id));
	r = rstore_cache_init(&rs->cache, cfg->cache_bytes);
	if (!r)
		r = derive_keys(rs);
	if (r)
		rstore_close(rs);
	else
		*ret = rs;
	return r;
}

void rstore_close(struct rstore *rs)
{
	if (!rs)
		return;
	rstore_db_close(rs);
	rstore_pending_clear(&rs->pending);
	rstore_cache_free(&rs->cache);
	bytes_w_free(&rs->plain);
	bytes_w_free(&rs->box);
	bytes_w_free(&rs->sealed);
	secret_free(rs->keys);
	free(rs);
}

CLEANUP_DEFINE(rstore, struct rstore *, rstore_close)

static int meta_path(const struct rstore_config *cfg, char **ret)
{
	return asprintf(ret, "%s/meta.db", cfg->store) < 0 ? -ENOMEM : 0;
}

static int sync_folder(const char *path)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : durable_sync_dir(fd);
}

static int claim_file(const char *path)
{
	CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : 0;
}

/* Leaves no half-made file behind that a second attempt would stumble over. */
static void remove_files(const char *path)
{
	static const char *const suffixes[] = {"", "-wal", "-journal"};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		CLEANUP_FREE char *name = NULL;

		if (asprintf(&name, "%s%s", path, suffixes[i]) < 0) {
			name = NULL;
			continue;
		}
		unlink(name);
	}
}

int rstore_create(const struct rstore_config *cfg, struct diag *d)
{
	__attribute__((cleanup(cleanup_rstore))) struct rstore *rs = NULL;
	CLEANUP_FREE char *path = NULL;
	int r = meta_path(cfg, &path);

	if (!r)
		r = rstore_new(cfg, &rs);
	if (!r)
		r = claim_file(path);
	if (r == -EEXIST)
		return diag_fail(d, DIAG_STORE_EXISTS, r, "%s", path);
	if (r)
		return diag_fail_errno(d, r, "%s", cfg->store);
	r = rstore_db_create(rs, path);
	if (!r)
		r = rstore_commit_first(rs, cfg->first_txn ? cfg->first_txn : 1);
	if (!r)
		r = rstore_db_checkpoint(rs, true);
	if (!r)
		r = sync_folder(cfg->store);
	if (!r)
		return 0;
	rstore_close(STEAL_PTR(rs));
	remove_files(path);
	return diag_fail_errno(d, r, "%s", cfg->store);
}

static int check_anchor(const struct rstore *rs, const struct rstore_root *anchored,
			const char *path, struct diag *d)
{
	if (!anchored || rs->root.txn > anchored->txn)
		return 0;
	if (rs->root.txn == anchored->txn &&
	    kdf_equal(rs->root.tag, anchored->tag, sizeof(anchored->tag)))
		return 0;
	return diag_fail(d, DIAG_ROLLED_BACK, -EBADMSG,
			 "%s: transaction %llu, the anchor has seen %llu", path,
			 (unsigned long long)rs->root.txn, (unsigned long long)anchored->txn);
}

static int open_failed(int r, const char *path, struct diag *d)
{
	if (r == -EBUSY)
		return diag_fail(d, DIAG_MOUNTED, r, "%s", path);
	if (r == -EBADMSG || r == -EUCLEAN || r == -ENOENT)
		return diag_fail(d, DIAG_STORE_DAMAGED, r, "%s", path);
	if (r == -EPROTONOSUPPORT)
		return diag_fail(d, DIAG_VERSION, r, "%s", path);
	return diag_fail_errno(d, r, "%s", path);
}

int rstore_open(const struct rstore_config *cfg, const struct rstore_root *anchored,
		struct rstore **ret, struct diag *d)
{
	__attribute__((cleanup(cleanup_rstore))) struct rstore *rs = NULL;
	CLEANUP_FREE char *path = NULL;
	struct tree_node *root;
	int r = meta_path(cfg, &path);

	if (r)
		return diag_fail_errno(d, r, "%s", cfg->store);
	if (access(path, R_OK | W_OK) < 0)
		return open_failed(-errno, path, d);
	r = rstore_new(cfg, &rs);
	if (!r)
		r = rstore_db_open(rs, path);
	/* SQLite made the WAL just now. It syncs the folder for it, but does not look whether that
	 * succeeds; without its entry all that is committed from here on would go with the power. */
	if (!r)
		r = sync_folder(cfg->store);
	if (!r)
		r = rstore_head_load(rs);
	if (r)
		return open_failed(r, path, d);
	r = check_anchor(rs, anchored, path, d);
	if (r)
		return r;
	r = rstore_node_load(rs, &rs->head.root, &root);
	if (r)
		return open_failed(r, path, d);
	rs->next_txn = rs->durable.txn + RSTORE_TXN_GAP;
	*ret = STEAL_PTR(rs);
	return 0;
}

/* --- pending writes --- */

int rstore_put(struct rstore *rs, const struct rstore_key *key, const void *val, size_t len)
{
	CLEANUP_FREE uint8_t *copy = NULL;
	struct pending_item *it;
	int r = rstore_key_valid(key);

	if (r)
		return r;
	if (len > RSTORE_VALUE_MAX)
		return -E2BIG;
	copy = malloc(len ? len : 1);
	it = copy ? rstore_pending_at(&rs->pending, key) : NULL;
	if (!it)
		return -ENOMEM;
	if (len)
		memcpy(copy, val, len);
	rstore_pending_set(&rs->pending, it, true, STEAL_PTR(copy), len);
	return 0;
}

int rstore_del(struct rstore *rs, const struct rstore_key *key)
{
	struct pending_item *it;
	int r = rstore_key_valid(key);

	if (r)
		return r;
	it = rstore_pending_at(&rs->pending, key);
	if (!it)
		return -ENOMEM;
	rstore_pending_set(&rs->pending, it, false, NULL, 0);
	return 0;
}

bool rstore_dirty(const struct rstore *rs)
{
	return rs->pending.n > 0;
}

size_t rstore_pending_bytes(const struct rstore *rs)
{
	return rs->pending.bytes;
}

uint64_t rstore_next_txn(const struct rstore *rs)
{
	return rs->next_txn;
}

void rstore_root_get(const struct rstore *rs, struct rstore_root *ret)
{
	*ret = rs->root;
}

int rstore_scrub(struct rstore *rs)
{
	return rs->sync_failed ? -EROFS : rstore_db_checkpoint(rs, true);
}
