/*
 * core/escrow: an erasable, self-contained copy of the keys for its recipients alone.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/escrow.h"

#define CHUNK ((size_t)256 << 10)

struct fixture {
	char dir[64], file[160];
	uint8_t seed[32], pk[32];
	struct identity *ada, *ben, *eve;
	struct identity_card recipients[2];
	struct escrow_content c;
};

static void set_state(struct fixture *f, size_t len)
{
	secret_slab_free(f->c.state);
	f->c.state = secret_slab_new(len);
	assert_non_null(f->c.state);
	f->c.state_len = len;
	kdf_random(f->c.state, len);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char hex[33];

	assert_non_null(f);
	strcpy(f->dir, "/tmp/coffer-escrow-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	kdf_random(f->seed, sizeof(f->seed));
	identity_sign_pk_from_seed(f->seed, f->pk);
	f->ada = identity_new("Ada", "1");
	f->ben = identity_new("Ben", "2");
	f->eve = identity_new("Eve", "3");
	f->recipients[0] = *identity_card(f->ada);
	f->recipients[1] = *identity_card(f->ben);
	kdf_random(&f->c.volume_id, sizeof(f->c.volume_id));
	kdf_random(&f->c.vk, sizeof(f->c.vk));
	kdf_random(&f->c.anchor, sizeof(f->c.anchor));
	f->c.anchor.generation = 1;
	kdf_random(&f->c.charter_first, sizeof(f->c.charter_first));
	strcpy(f->c.name, "land registry");
	set_state(f, 5000);
	bytes_hex(hex, f->c.volume_id, 16);
	snprintf(f->file, sizeof(f->file), "%s/%s.escrow", f->dir, hex);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	escrow_destroy(f->dir, f->c.volume_id);
	assert_int_equal(rmdir(f->dir), 0);
	identity_free(f->ada);
	identity_free(f->ben);
	identity_free(f->eve);
	secret_slab_free(f->c.state);
	free(f);
	return 0;
}

static void put(struct fixture *f)
{
	assert_int_equal(escrow_create(f->dir, f->c.volume_id, NULL), 0);
	assert_int_equal(escrow_write(f->dir, &f->c, f->seed, f->recipients, 2, NULL), 0);
}

static void expect_opens(struct fixture *f, const struct identity *id)
{
	struct escrow_content got;

	assert_int_equal(escrow_open(f->dir, f->c.volume_id, id, &got, NULL), 0);
	assert_memory_equal(got.volume_id, f->c.volume_id, 16);
	assert_string_equal(got.name, f->c.name);
	assert_memory_equal(got.vk, f->c.vk, 32);
	assert_memory_equal(got.charter_first, f->c.charter_first, 32);
	assert_memory_equal(got.sign_pk, f->pk, 32);
	assert_int_equal(got.anchor.generation, f->c.anchor.generation);
	assert_int_equal(got.anchor.txn, f->c.anchor.txn);
	assert_memory_equal(got.anchor.tk, f->c.anchor.tk, 32);
	assert_int_equal(got.state_len, f->c.state_len);
	assert_memory_equal(got.state, f->c.state, got.state_len);
	escrow_content_wipe(&got);
}

static uint8_t *slurp(struct fixture *f, size_t *ret_len)
{
	int fd = open(f->file, O_RDONLY);
	struct stat st;
	uint8_t *buf;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	buf = malloc((size_t)st.st_size);
	assert_non_null(buf);
	assert_int_equal(read(fd, buf, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return buf;
}

static void poke(struct fixture *f, off_t off, const void *p, size_t len)
{
	int fd = open(f->file, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, p, len, off), len);
	close(fd);
}

static void flip(struct fixture *f, off_t off)
{
	int fd = open(f->file, O_RDWR);
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, off), 1);
	b ^= 1;
	assert_int_equal(pwrite(fd, &b, 1, off), 1);
	close(fd);
}

/* Every recipient gets everything; nobody else anything. */
static void test_recipients_and_nobody_else(void **state)
{
	struct fixture *f = *state;
	struct escrow_content got = {0};
	struct diag d = {0};

	put(f);
	expect_opens(f, f->ada);
	expect_opens(f, f->ben);
	assert_int_equal(escrow_open(f->dir, f->c.volume_id, f->eve, &got, &d), -ENOKEY);
	assert_int_equal(d.id, DIAG_WRONG_SECRET);
	assert_null(got.state);
}

/* Generation, time and recipients can be told without keys, and only of this volume's own key. */
static void test_info(void **state)
{
	struct fixture *f = *state;
	struct escrow_info info;
	struct diag d = {0};
	uint8_t other[32], tag[16];

	f->c.anchor.generation = 77;
	put(f);
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, f->pk, &info, NULL), 0);
	assert_int_equal(info.generation, 77);
	escrow_key_tag(&f->c.anchor, tag);
	assert_memory_equal(info.key_tag, tag, sizeof(tag));
	assert_int_equal(info.n_recipients, 2);
	assert_string_equal(info.recipients[0], "Ada");
	assert_string_equal(info.recipients[1], "Ben");
	assert_true(info.written > 0);
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, NULL, &info, NULL), 0);
	memcpy(other, f->pk, 32);
	other[3] ^= 1;
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, other, &info, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_ESCROW);
}

/* Rewriting leaves the old content in neither slot, also where the new one is shorter. */
static void test_overwrites_everything(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE uint8_t *old = NULL, *now = NULL;
	size_t old_len, now_len;

	set_state(f, 300000);
	put(f);
	old = slurp(f, &old_len);
	set_state(f, 2000);
	f->c.anchor.generation++;
	put(f);
	expect_opens(f, f->ada);
	now = slurp(f, &now_len);
	assert_int_equal(old_len, now_len);
	assert_int_equal(now_len, 4 * CHUNK);
	/* From behind the recipients into the old signatures, piece by piece, in both slots. */
	for (size_t off = 464; off < 300000; off += 32) {
		size_t chunk = off / CHUNK, in = off % CHUNK;

		for (size_t slot = 0; slot < 2; slot++) {
			size_t at = (2 * chunk + slot) * CHUNK + in;

			assert_memory_not_equal(old + at, now + at, 32);
		}
	}
}

/* The file grows in place with the state, and what it held before survives until it is overwritten.
 */
static void test_grows(void **state)
{
	static const size_t sizes[] = {100, CHUNK - 900, CHUNK - 100, CHUNK, 3 * CHUNK, 1000};
	struct fixture *f = *state;
	struct stat before, after;

	put(f);
	assert_int_equal(stat(f->file, &before), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		set_state(f, sizes[i]);
		f->c.anchor.generation++;
		put(f);
		expect_opens(f, f->ben);
	}
	assert_int_equal(stat(f->file, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(after.st_size, 8 * CHUNK);
	/* Cut off while growing: half a stripe more is not taken for a slot. */
	assert_int_equal(truncate(f->file, after.st_size + (off_t)CHUNK), 0);
	expect_opens(f, f->ada);
}

/*
 * One slot damaged, the other serves; both, and the escrow says that it does not open. Sampled over
 * the slot.
 */
static void test_flips(void **state)
{
	struct fixture *f = *state;
	struct escrow_content got;
	struct diag d = {0};
	/* Head, two recipients, box, signature: what a slot of this state takes. */
	size_t len = 112 + 2 * 176 + 40 + 273 + 5000 + 64;

	put(f);
	for (size_t off = 0; off < len; off += off < 600 ? 1 : 131) {
		flip(f, (off_t)off);
		expect_opens(f, f->ada);
		flip(f, (off_t)(off + CHUNK));
		assert_true(escrow_open(f->dir, f->c.volume_id, f->ada, &got, &d) < 0);
		flip(f, (off_t)off);
		expect_opens(f, f->ada);
		flip(f, (off_t)(off + CHUNK));
	}
	flip(f, (off_t)len - 1);
	flip(f, (off_t)(len - 1 + CHUNK));
	assert_int_equal(escrow_open(f->dir, f->c.volume_id, f->ada, &got, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_ESCROW);
}

/* A crash between the slots: the newer one counts, and the next write heals the other. */
static void test_half_written(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE uint8_t *old = NULL;
	struct escrow_info info;
	size_t len;

	put(f);
	old = slurp(f, &len);
	f->c.anchor.generation = 2;
	put(f);
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, f->pk, &info, NULL), 0);
	assert_false(info.other_stale);
	poke(f, CHUNK, old + CHUNK, CHUNK);
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, f->pk, &info, NULL), 0);
	assert_int_equal(info.generation, 2);
	assert_true(info.other_stale);
	expect_opens(f, f->ada);
	f->c.anchor.generation = 3;
	put(f);
	poke(f, 0, old, CHUNK);
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, f->pk, &info, NULL), 0);
	assert_int_equal(info.generation, 3);
}

/*
 * A slot that does not verify may still hold a tree key, and one of the same generation another: both
 * are told.
 */
static void test_other_slot_is_told(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE uint8_t *old = NULL;
	struct escrow_info info;
	size_t len;

	put(f);
	old = slurp(f, &len);
	flip(f, 40);
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, f->pk, &info, NULL), 0);
	assert_true(info.other_stale);
	kdf_random(f->c.anchor.tk, sizeof(f->c.anchor.tk));
	put(f);
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, f->pk, &info, NULL), 0);
	assert_false(info.other_stale);
	poke(f, CHUNK, old + CHUNK, CHUNK);
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, f->pk, &info, NULL), 0);
	assert_true(info.other_stale);
}

/* Erased, an escrow opens for nobody from either slot, and its place can be written again. */
static void test_erase(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE uint8_t *before = NULL, *after = NULL;
	struct escrow_content got;
	struct diag d = {0};
	size_t len, len_after;

	assert_int_equal(escrow_erase(f->dir, f->c.volume_id, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_ESCROW);
	put(f);
	before = slurp(f, &len);
	assert_int_equal(escrow_erase(f->dir, f->c.volume_id, NULL), 0);
	after = slurp(f, &len_after);
	assert_int_equal(len_after, len);
	for (size_t at = 0; at < len; at += 4096)
		assert_memory_not_equal(after + at, before + at, 4096);
	assert_true(escrow_open(f->dir, f->c.volume_id, f->ada, &got, NULL) < 0);
	put(f);
	expect_opens(f, f->ada);
}

/* Lengths in the head that point outside the slot are refused before anything is read there. */
static void test_hostile_lengths(void **state)
{
	struct fixture *f = *state;
	static const uint64_t boxes[] = {0, 1, CHUNK, UINT64_MAX, UINT64_MAX - 500, 1ull << 63};
	struct escrow_content got;
	struct escrow_info info;
	uint8_t le[8];

	put(f);
	for (size_t i = 0; i < sizeof(boxes) / sizeof(boxes[0]); i++) {
		bytes_put64(le, boxes[i]);
		poke(f, 56, le, 8);
		poke(f, (off_t)CHUNK + 56, le, 8);
		assert_true(escrow_open(f->dir, f->c.volume_id, f->ada, &got, NULL) < 0);
		assert_true(escrow_info(f->dir, f->c.volume_id, NULL, &info, NULL) < 0);
	}
	put(f);
	for (uint16_t n = 0; n < 3; n++) {
		bytes_put16(le, n == 0 ? 0 : n == 1 ? 17 : 65535);
		poke(f, 10, le, 2);
		poke(f, (off_t)CHUNK + 10, le, 2);
		assert_true(escrow_info(f->dir, f->c.volume_id, NULL, &info, NULL) < 0);
	}
}

/*
 * A file of zeros, an empty one and none are no escrow; writing never makes one where its medium is
 * missing.
 */
static void test_places(void **state)
{
	struct fixture *f = *state;
	struct escrow_info info;
	struct diag d = {0};
	uint8_t id[16];

	assert_int_equal(escrow_write(f->dir, &f->c, f->seed, f->recipients, 2, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_ESCROW);
	assert_int_equal(escrow_find(f->dir, id, &d), -ENOENT);
	assert_int_equal(escrow_create(f->dir, f->c.volume_id, NULL), 0);
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, NULL, &info, &d), -EBADMSG);
	assert_int_equal(escrow_find(f->dir, id, NULL), 0);
	assert_memory_equal(id, f->c.volume_id, 16);
	assert_int_equal(escrow_write(f->dir, &f->c, f->seed, f->recipients, 0, NULL), -EINVAL);
	put(f);
	expect_opens(f, f->ada);
	/* Making it again does not empty it. */
	assert_int_equal(escrow_create(f->dir, f->c.volume_id, NULL), 0);
	expect_opens(f, f->ada);
	id[0] ^= 1;
	assert_int_equal(escrow_create(f->dir, id, NULL), 0);
	assert_int_equal(escrow_find(f->dir, id, &d), -EEXIST);
	id[0] = (uint8_t)(f->c.volume_id[0] ^ 1);
	escrow_destroy(f->dir, id);
	assert_int_equal(truncate(f->file, 0), 0);
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, NULL, &info, &d), -EBADMSG);
}

/* Another volume's slot, put in the place of this one's, does not count. */
static void test_foreign_slot(void **state)
{
	struct fixture *f = *state;
	struct escrow_info info;

	put(f);
	f->c.volume_id[0] ^= 1;
	assert_int_equal(escrow_create(f->dir, f->c.volume_id, NULL), 0);
	{
		CLEANUP_FREE uint8_t *buf = NULL;
		char hex[33], path[160];
		size_t len;
		int fd;

		buf = slurp(f, &len);
		bytes_hex(hex, f->c.volume_id, 16);
		snprintf(path, sizeof(path), "%s/%s.escrow", f->dir, hex);
		fd = open(path, O_WRONLY);
		assert_int_equal(write(fd, buf, len), len);
		close(fd);
	}
	assert_int_equal(escrow_info(f->dir, f->c.volume_id, f->pk, &info, NULL), -EBADMSG);
	escrow_destroy(f->dir, f->c.volume_id);
	f->c.volume_id[0] ^= 1;
	expect_opens(f, f->ada);
}

/* A place on or under the store, by whatever name it is reached, would lose the escrow with it. */
static void test_place_check(void **state)
{
	struct fixture *f = *state;
	char store[96], under[128], beside[128], link[128];
	const char *const forbidden[] = {"/nonexistent/repository", store};
	struct diag d = {0};

	snprintf(store, sizeof(store), "%s/store", f->dir);
	snprintf(under, sizeof(under), "%s/escrow", store);
	snprintf(beside, sizeof(beside), "%s/store-escrow", f->dir);
	snprintf(link, sizeof(link), "%s/link", f->dir);
	assert_int_equal(mkdir(store, 0700), 0);
	assert_int_equal(symlink(store, link), 0);
	assert_int_equal(escrow_place_check(store, forbidden, 2, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_ESCROW);
	assert_int_equal(escrow_place_check(under, forbidden, 2, NULL), -EINVAL);
	assert_int_equal(escrow_place_check(link, forbidden, 2, NULL), -EINVAL);
	assert_int_equal(escrow_place_check(beside, forbidden, 2, NULL), 0);
	assert_int_equal(escrow_place_check(f->dir, forbidden, 2, NULL), 0);
	assert_true(escrow_place_check("/nonexistent/a/b", forbidden, 2, NULL) < 0);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(rmdir(store), 0);
}

#define FIXTURE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    FIXTURE_TEST(test_recipients_and_nobody_else),
	    FIXTURE_TEST(test_info),
	    FIXTURE_TEST(test_overwrites_everything),
	    FIXTURE_TEST(test_grows),
	    FIXTURE_TEST(test_flips),
	    FIXTURE_TEST(test_half_written),
	    FIXTURE_TEST(test_other_slot_is_told),
	    FIXTURE_TEST(test_erase),
	    FIXTURE_TEST(test_hostile_lengths),
	    FIXTURE_TEST(test_places),
	    FIXTURE_TEST(test_foreign_slot),
	    FIXTURE_TEST(test_place_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
