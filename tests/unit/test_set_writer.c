/* The writer of a set: bounded packs, nothing that counts before it is read back, nothing left
 * over. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/repo_internal.h"
#include "backup/set_writer.h"
#include "tests/unit/set_sample.h"

struct collected {
	struct set_entry *e;
	size_t n, cap;
};

static int collect(void *arg, const struct set_entry *e)
{
	struct collected *c = arg;

	if (c->n == c->cap)
		return -ENOSPC;
	c->e[c->n++] = *e;
	return 0;
}

static struct set_writer *begin(struct backup_fixture *b)
{
	struct set_manifest m = sample(SET_A);
	struct set_writer *w = NULL;

	memcpy(m.volume_id, keyring_volume_id(keys(b)), 16);
	assert_int_equal(set_writer_new(b->repo, keys(b), &m, &w), 0);
	return w;
}

static void put_noise(struct set_writer *w, uint64_t i, size_t len)
{
	CLEANUP_FREE uint8_t *p = noise(i, len);
	struct set_entry e = {.kind = SET_DATA, .id = 100 + i};

	assert_int_equal(set_writer_record(w, &e, 0, p, len), 0);
}

/* Packs stay within their size, and every record is found where the index says. */
static void packs_are_bounded(void **state)
{
	struct backup_fixture *b = *state;
	struct set_writer *w = begin(b);
	struct set_manifest m;
	CLEANUP_FREE struct set_entry *e = calloc(40, sizeof(*e));
	struct collected c = {.e = e, .cap = 40};

	for (uint64_t i = 0; i < 40; i++)
		put_noise(w, i, SET_RANGE + 3);
	assert_int_equal(set_writer_finish(w, keyring_sign_seed(keys(b)), &m), 0);
	set_writer_free(w);
	assert_int_equal(m.n_packs, 3);
	for (size_t i = 0; i < m.n_packs; i++)
		assert_true(m.packs[i].len <= SET_PACK_MAX);
	assert_int_equal(set_index_read(b->repo, keys(b), &m, collect, &c, &b->d), 0);
	assert_int_equal(c.n, 40);
	for (size_t i = 0; i < 40; i++) {
		CLEANUP_BYTES struct bytes_w out = {0};
		CLEANUP_FREE uint8_t *p = noise(i, SET_RANGE + 3);
		assert_int_equal(set_record_read(b->repo, keys(b), &m, &e[i], &out), 0);
		assert_memory_equal(out.buf, p, out.len);
	}
	set_manifest_free(&m);
}

/* A repository that does not keep what it is given, from the n-th object on. */
static const struct repo_ops *honest;
static unsigned n_honest;

static int forgetful_put(void *self, const char *name, const void *p, size_t len, bool exclusive)
{
	CLEANUP_FREE uint8_t *copy = malloc(len + 1);

	if (n_honest) {
		n_honest--;
		return honest->put(self, name, p, len, exclusive);
	}
	memcpy(copy, p, len);
	if (len)
		copy[len / 2] ^= 1;
	return honest->put(self, name, copy, len, exclusive);
}

/* A set counts only when the repository gives back what it was given: pack, index and pack table
 * are read again. */
static void read_back(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	struct repo_ops lying = *b->repo->ops;

	honest = b->repo->ops;
	lying.put = forgetful_put;
	for (unsigned i = 1; i <= 3; i++) { /* after the mark: the pack, the index, the table */
		n_honest = i;
		b->repo->ops = &lying;
		struct set_writer *w = begin(b);
		put_noise(w, 1, 5000);
		assert_int_equal(set_writer_finish(w, keyring_sign_seed(keys(b)), &m), -EIO);
		set_writer_abort(w);
		b->repo->ops = honest;
		struct set_catalog c;
		load(b, &c);
		assert_int_equal(c.n_sets + c.n_damaged, 0);
		set_catalog_free(&c);
	}
}

static size_t n_set_folders(struct backup_fixture *b)
{
	char **names_;
	size_t n;

	assert_int_equal(repo_list(b->repo, "sets/", &names_, &n), 0);
	repo_list_free(names_, n);
	return n;
}

/* Until it is finished there is no set; one that is given up leaves nothing. */
static void aborted(void **state)
{
	struct backup_fixture *b = *state;
	struct set_writer *w = begin(b);
	struct set_catalog c;

	for (uint64_t i = 0; i < 40; i++)
		put_noise(w, i, SET_RANGE);
	load(b, &c);
	assert_int_equal(c.n_sets, 0);
	assert_int_equal(c.n_damaged, 0);
	set_catalog_free(&c);
	assert_int_equal(n_set_folders(b), 1);
	set_writer_abort(w);
	assert_int_equal(n_set_folders(b), 0);
}

/* What a killed run left is removed after a day, not sooner; a set that is finished, or being
 * pruned, is not touched. */
static void killed_runs(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest finished = dated(SET_A, 10, "", 0);
	struct set_writer *w = begin(b);
	char recent[SET_ID_MAX + 1], name[SET_NAME_LEN];
	struct set_catalog c;

	put_noise(w, 1, 100);
	set_writer_free(w); /* this moment's run dies */
	set_id_stamp(time(NULL) - 23 * 3600, recent);
	strcat(recent, "-12345678");
	set_object(recent, SET_UNFINISHED, name);
	assert_int_equal(repo_put(b->repo, name, NULL, 0), 0);
	set_object("20200101T000000Z-12345678", SET_UNFINISHED, name);
	assert_int_equal(repo_put(b->repo, name, NULL, 0), 0);
	set_object("20200101T000000Z-12345678", "pack-00000", name);
	assert_int_equal(repo_put(b->repo, name, "x", 1), 0);
	set_object("20200101T000000Z-87654321", "pack-00000", name); /* a prune's: no mark */
	assert_int_equal(repo_put(b->repo, name, "x", 1), 0);
	strcpy(finished.id, "20200102T000000Z-12345678");
	put_set(b, &finished);
	set_object(finished.id, SET_UNFINISHED, name);
	assert_int_equal(repo_put(b->repo, name, NULL, 0), 0);
	assert_int_equal(n_set_folders(b), 5);

	set_remove_unfinished(b->repo);
	assert_int_equal(n_set_folders(b), 4);
	assert_int_equal(repo_size(b->repo, name, &finished.to_txn), -ENOENT);
	load(b, &c);
	assert_int_equal(c.n_sets, 1);
	set_catalog_free(&c);
	assert_int_equal(set_remove(b->repo, finished.id), 0);
	assert_int_equal(n_set_folders(b), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(packs_are_bounded),
	    WITH_REPOSITORY(read_back),
	    WITH_REPOSITORY(aborted),
	    WITH_REPOSITORY(killed_runs),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
