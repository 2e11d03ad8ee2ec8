/* Manifests with a value in every field, and sets in a repository that are no more than their
 * manifest. */
#ifndef COFFER_TESTS_UNIT_SET_SAMPLE_H
#define COFFER_TESTS_UNIT_SET_SAMPLE_H

#include "tests/unit/backup_fixture.h"

static const uint8_t volume[16] = {0xab, 0xcd}, seed[32] = {0x11};

static inline struct set_manifest sample(const char *id)
{
	struct set_manifest m = {.full = true,
				 .tiers = "daily weekly",
				 .timeline = 17,
				 .time = 1795857300,
				 .from_txn = 0,
				 .to_txn = 40,
				 .next_id = 99,
				 .next_link = 98,
				 .n_nodes = 1,
				 .n_names = 2,
				 .n_data = 3,
				 .n_gone = 4,
				 .n_bytes = 5,
				 .generation = 6,
				 .charter = {7},
				 .trail = {8, {9}},
				 .index = {10, {11}, {12}},
				 .pack_table = {13, {14}, {15}}};

	strcpy(m.id, id);
	memcpy(m.volume_id, volume, 16);
	return m;
}

/* A set of no packs in the repository, with what the caller changes. */
static inline void put_set(struct backup_fixture *b, const struct set_manifest *m)
{
	CLEANUP_FREE char *text = NULL;
	char name[SET_NAME_LEN];
	struct set_manifest copy = *m;

	memcpy(copy.volume_id, keyring_volume_id(keys(b)), 16);
	copy.pack_table = (struct set_pack){0};
	kdf_hash(copy.pack_table.digest, "", 0);
	assert_int_equal(set_manifest_build(&copy, keyring_sign_seed(keys(b)), &text), 0);
	set_object(m->id, "packs", name);
	assert_int_equal(repo_put(b->repo, name, NULL, 0), 0);
	set_object(m->id, "manifest", name);
	assert_int_equal(repo_put(b->repo, name, text, strlen(text)), 0);
}

static inline struct set_manifest dated(const char *id, uint64_t to_txn, const char *parent,
					uint64_t from_txn)
{
	struct set_manifest m = sample(id);

	m.to_txn = to_txn;
	m.from_txn = from_txn;
	m.time = 1000 + (int64_t)to_txn;
	m.full = !*parent;
	strcpy(m.parent, parent);
	return m;
}

#define SET_A "20261101T000000Z-aaaaaaaa"
#define SET_B "20261102T000000Z-bbbbbbbb"
#define SET_C "20261102T000000Z-cccccccc"

#endif
