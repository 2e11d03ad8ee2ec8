/*
 * Where each record stands, and under which key each is sealed.
 *
 * A record key is a space byte and big-endian integers, so that everything of one id lies together
 * and ranges are plain comparisons. What belongs to one file is sealed under that file's keys and
 * ends with them; what tells files apart (names' buckets, history, edges) is sealed under the
 * records epoch key, the names inside once more under both files'.
 */
#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/secret.h"
#include "fs/engine_internal.h"

#define FILE_KEY_LEN 10u /* space, id, sub */

struct rstore_key engine_key(enum engine_space space, const uint64_t *parts, size_t n_parts)
{
	struct rstore_key k = {.len = (uint8_t)(1 + 8 * n_parts)};

	k.b[0] = (uint8_t)space;
	for (size_t i = 0; i < n_parts; i++)
		bytes_put64be(k.b + 1 + 8 * i, parts[i]);
	return k;
}

struct rstore_key engine_file_key(uint64_t id, enum engine_sub sub)
{
	struct rstore_key k = engine_key(SPACE_FILE, &id, 1);

	k.b[k.len++] = (uint8_t)sub;
	return k;
}

struct rstore_key engine_file_key_at(uint64_t id, enum engine_sub sub, uint64_t at)
{
	struct rstore_key k = engine_file_key(id, sub);

	bytes_put64be(k.b + k.len, at);
	k.len += 8;
	return k;
}

struct rstore_key engine_file_end(uint64_t id)
{
	uint64_t next = id + 1;

	return engine_key(SPACE_FILE, &next, 1);
}

struct rstore_key engine_sub_end(uint64_t id, enum engine_sub sub)
{
	struct rstore_key k = engine_file_key(id, sub);

	k.b[FILE_KEY_LEN - 1]++;
	return k;
}

int engine_subkey(struct volume *v, uint64_t id, const char *label, uint8_t ret[32])
{
	uint8_t fk[KDF_KEY_LEN];
	int r = keyring_file_key(v->kr, KEYRING_LIVE, id, fk);

	if (r)
		return r;
	kdf_derive(ret, fk, label, NULL, 0);
	secret_wipe(fk, sizeof(fk));
	return 0;
}

/* Both halves are needed, so the end of either file ends the name. */
int engine_name_key(struct volume *v, uint64_t parent, uint64_t child, uint8_t ret[32])
{
	uint8_t a[KDF_KEY_LEN], b[KDF_KEY_LEN];
	int r = engine_subkey(v, parent, "name", a);

	if (r)
		return r;
	r = engine_subkey(v, child, "name", b);
	if (r == 0)
		kdf_derive(ret, a, "name pair", b, sizeof(b));
	secret_wipe(a, sizeof(a));
	secret_wipe(b, sizeof(b));
	return r;
}

int engine_block_key(struct volume *v, uint64_t id, const uint8_t session[MAP_SESSION_LEN],
		     struct suite_key *ret)
{
	uint8_t fk[KDF_KEY_LEN], key[KDF_KEY_LEN];
	int r = keyring_file_key(v->kr, KEYRING_LIVE, id, fk);

	if (r)
		return r;
	kdf_derive(key, fk, "block", session, MAP_SESSION_LEN);
	suite_key_init(ret, keyring_suite(v->kr), key);
	secret_wipe(fk, sizeof(fk));
	secret_wipe(key, sizeof(key));
	return 0;
}

static void records_key(struct volume *v, uint8_t ret[32])
{
	uint8_t epoch[KDF_KEY_LEN];

	keyring_epoch_key(v->kr, KEYRING_RECORDS, epoch);
	kdf_derive(ret, epoch, "record", NULL, 0);
	secret_wipe(epoch, sizeof(epoch));
}

int engine_key_of(void *arg, const struct rstore_key *key, uint8_t ret[32])
{
	struct volume *v = arg;

	if (key->len >= FILE_KEY_LEN && key->b[0] == SPACE_FILE) {
		uint64_t id = bytes_get64be(key->b + 1);

		switch (key->b[FILE_KEY_LEN - 1]) {
		case SUB_INODE:
		case SUB_XATTR:
			return engine_subkey(v, id, "attr", ret);
		case SUB_MAP:
			return engine_subkey(v, id, "map", ret);
		default:
			break;
		}
	}
	records_key(v, ret);
	return 0;
}
