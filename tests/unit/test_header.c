/*
 * core/header: the two copies, the signature, and the slots that unlock.
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

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/header.h"
#include "core/kdf.h"

struct fixture {
	char dir[64];
	int fd;
	uint8_t seed[32], vk[32];
	struct header h;
};

static struct secret *secret_from(const void *p, size_t len)
{
	struct secret *s = secret_new(len);

	assert_non_null(s);
	memcpy(secret_bytes(s), p, len);
	return s;
}

static struct secret *secret_of(const char *text)
{
	return secret_from(text, strlen(text));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/coffer-header-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY);
	assert_true(f->fd >= 0);
	kdf_random(f->seed, sizeof(f->seed));
	kdf_random(f->vk, sizeof(f->vk));
	kdf_random(f->h.volume_id, sizeof(f->h.volume_id));
	kdf_random(f->h.charter_first, sizeof(f->h.charter_first));
	strcpy(f->h.name, "land registry");
	strcpy(f->h.anchor, "/var/lib/coffer/anchor");
	f->h.suite = 3;
	f->h.created = 1795000000;
	header_vk_commit(f->vk, f->h.vk_commit);
	identity_sign_pk_from_seed(f->seed, f->h.sign_pk);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlinkat(f->fd, "header", 0);
	unlinkat(f->fd, "header.bak", 0);
	close(f->fd);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static void add_pass(struct fixture *f, const char *label, const char *text)
{
	CLEANUP_SECRET struct secret *pass = secret_of(text);
	const struct header_unlock with = {.passphrase = pass};

	assert_int_equal(header_slot_add(&f->h, f->vk, label, &with, NULL, true, NULL), 0);
}

static int unlock_with(struct fixture *f, const struct header_unlock *with, const char **ret_label,
		       struct diag *d)
{
	CLEANUP_SECRET struct secret *vk = NULL;
	int r = header_unlock(&f->h, with, &vk, ret_label, d);

	if (r == 0)
		assert_memory_equal(secret_bytes(vk), f->vk, 32);
	return r;
}

static int unlock_pass(struct fixture *f, const char *text, const char **ret_label, struct diag *d)
{
	CLEANUP_SECRET struct secret *pass = secret_of(text);
	const struct header_unlock with = {.passphrase = pass};

	return unlock_with(f, &with, ret_label, d);
}

/* --- files --- */

static int reread(struct fixture *f, struct header **ret, bool *ret_backup, struct diag *d)
{
	return header_read(f->fd, f->dir, ret, ret_backup, d);
}

static void write_header(struct fixture *f)
{
	assert_int_equal(header_write(f->fd, &f->h, f->seed, NULL), 0);
}

static void flip(struct fixture *f, const char *name, off_t off)
{
	int fd = openat(f->fd, name, O_RDWR);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, off), 1);
	b ^= 1;
	assert_int_equal(pwrite(fd, &b, 1, off), 1);
	close(fd);
}

static off_t length(struct fixture *f)
{
	struct stat st;

	assert_int_equal(fstatat(f->fd, "header", &st, 0), 0);
	return st.st_size;
}

/* Everything a header says comes back as it was written. */
static void test_round_trip(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE struct header *h = NULL;
	bool backup = true;

	add_pass(f, "passphrase", "correct horse battery");
	write_header(f);
	assert_int_equal(reread(f, &h, &backup, NULL), 0);
	assert_false(backup);
	assert_memory_equal(h, &f->h, sizeof(*h));
}

/*
 * A flipped bit anywhere is noticed: the other copy is used, and says so; with both damaged nothing
 * is believed.
 */
static void test_every_flip_is_noticed(void **state)
{
	struct fixture *f = *state;
	off_t len;

	add_pass(f, "passphrase", "correct horse battery");
	write_header(f);
	len = length(f);
	for (off_t off = 0; off < len; off++) {
		CLEANUP_FREE struct header *h = NULL, *none = NULL;
		struct diag d = {0};
		bool backup = false;

		flip(f, "header", off);
		assert_int_equal(reread(f, &h, &backup, NULL), 0);
		assert_true(backup);
		assert_memory_equal(h, &f->h, sizeof(*h));
		flip(f, "header.bak", off);
		assert_true(reread(f, &none, &backup, &d) < 0);
		assert_true(d.id == DIAG_HEADER_DAMAGED || d.id == DIAG_VERSION);
		assert_null(none);
		flip(f, "header", off);
		flip(f, "header.bak", off);
	}
}

/* A header cut short at any length is refused, not read past its end. */
static void test_every_truncation_is_refused(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE uint8_t *whole = NULL;
	size_t len;

	add_pass(f, "passphrase", "correct horse battery");
	write_header(f);
	assert_int_equal(durable_read(f->fd, "header", 1 << 20, &whole, &len), 0);
	assert_int_equal(unlinkat(f->fd, "header.bak", 0), 0);
	for (size_t n = 0; n < len; n++) {
		CLEANUP_FREE struct header *h = NULL;
		struct diag d = {0};
		bool backup;
		int fd = openat(f->fd, "header", O_WRONLY | O_TRUNC);

		assert_int_equal(durable_pwrite(fd, whole, n, 0), 0);
		close(fd);
		assert_true(reread(f, &h, &backup, &d) < 0);
		assert_int_equal(d.id, DIAG_HEADER_DAMAGED);
	}
}

/* A version from the future is told apart from damage; no header at all is no volume. */
static void test_version_and_absence(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE struct header *h = NULL;
	struct diag d = {0};
	bool backup;

	assert_int_equal(reread(f, &h, &backup, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_NO_VOLUME);
	add_pass(f, "passphrase", "correct horse battery");
	write_header(f);
	flip(f, "header", 9);
	flip(f, "header.bak", 9);
	assert_int_equal(reread(f, &h, &backup, &d), -EPROTONOSUPPORT);
	assert_int_equal(d.id, DIAG_VERSION);
}

/* Repair restores exactly the copy that is wrong, so that the next damage finds a good one again.
 */
static void test_repair(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE struct header *h = NULL;
	bool backup;

	add_pass(f, "passphrase", "correct horse battery");
	write_header(f);
	flip(f, "header", 40);
	assert_int_equal(header_repair(f->fd, &f->h, f->seed, NULL), 0);
	flip(f, "header.bak", 40);
	assert_int_equal(reread(f, &h, &backup, NULL), 0);
	assert_false(backup);
	assert_int_equal(header_repair(f->fd, &f->h, f->seed, NULL), 0);
	assert_int_equal(unlinkat(f->fd, "header", 0), 0);
	free(STEAL_PTR(h));
	assert_int_equal(reread(f, &h, &backup, NULL), 0);
	assert_true(backup);
}

/*
 * Content outside the rules is refused even under a valid signature: Argon2 below its floor, a
 * relative anchor, a nameless volume.
 */
static void test_signed_nonsense_is_refused(void **state)
{
	struct fixture *f = *state;
	struct header good;
	bool backup;

	add_pass(f, "passphrase", "correct horse battery");
	good = f->h;
	for (int i = 0; i < 6; i++) {
		CLEANUP_FREE struct header *h = NULL;
		struct diag d = {0};

		f->h = good;
		if (i == 0)
			f->h.slots[0].mem = KDF_PASS_MEM_MIN - 1;
		if (i == 1)
			f->h.slots[0].ops = KDF_PASS_OPS_MAX + 1;
		if (i == 2)
			f->h.slots[0].kind = 9;
		if (i == 3)
			strcpy(f->h.anchor, "anchor");
		if (i == 4)
			strcpy(f->h.name, "");
		if (i == 5)
			strcpy(f->h.slots[0].label, "bad|label");
		write_header(f);
		assert_true(reread(f, &h, &backup, &d) < 0);
		assert_int_equal(d.id, DIAG_HEADER_DAMAGED);
	}
}

/* --- slots --- */

/*
 * The commitment of docs/format.md's worked example: escrows and headers of today must verify
 * tomorrow.
 */
static void test_golden_commitment(void **state)
{
	uint8_t vk[32], commit[32];
	char hex[65];

	(void)state;
	for (uint8_t i = 0; i < 32; i++)
		vk[i] = i;
	header_vk_commit(vk, commit);
	bytes_hex(hex, commit, sizeof(commit));
	assert_string_equal(hex,
			    "2fc78e76e2517ea691c3098335a3916f23f4e14214547831715255ebe162b7fa");
}

/* Each secret opens its own slot and is told by its label; another one opens none. */
static void test_unlock_by_passphrase(void **state)
{
	struct fixture *f = *state;
	struct diag d = {0};
	const char *label;

	add_pass(f, "first", "correct horse battery");
	add_pass(f, "second", "staple staple staple");
	assert_int_equal(unlock_pass(f, "staple staple staple", &label, NULL), 0);
	assert_string_equal(label, "second");
	assert_int_equal(unlock_pass(f, "correct horse battery", &label, NULL), 0);
	assert_string_equal(label, "first");
	assert_int_equal(unlock_pass(f, "correct horse batterx", &label, &d), -ENOKEY);
	assert_int_equal(d.id, DIAG_WRONG_SECRET);
}

/*
 * A member's slot opens with that member's identity and no other, also when only the card was there
 * to make it.
 */
static void test_unlock_by_identity(void **state)
{
	struct fixture *f = *state;
	CLEANUP_IDENTITY struct identity *a = identity_new("Ada", "1");
	CLEANUP_IDENTITY struct identity *b = identity_new("Ben", "2");
	CLEANUP_IDENTITY struct identity *c = identity_new("Cyn", "3");
	struct header_unlock with = {.identity = a};
	const char *label;

	assert_int_equal(header_slot_add(&f->h, f->vk, "ada", &with, NULL, false, NULL), 0);
	assert_int_equal(
	    header_slot_add(&f->h, f->vk, "ben", NULL, identity_card(b)->seal_pk, false, NULL), 0);
	assert_int_equal(unlock_with(f, &with, &label, NULL), 0);
	assert_string_equal(label, "ada");
	with.identity = b;
	assert_int_equal(unlock_with(f, &with, &label, NULL), 0);
	assert_string_equal(label, "ben");
	with.identity = c;
	assert_int_equal(unlock_with(f, &with, &label, NULL), -ENOKEY);
}

/* A key file opens by its exact content; one that is too short to be a key is not taken. */
static void test_unlock_by_keyfile(void **state)
{
	struct fixture *f = *state;
	uint8_t content[100];
	CLEANUP_SECRET struct secret *key = NULL, *other = NULL, *small = NULL, *large = NULL;
	struct header_unlock with = {0};
	const char *label;

	kdf_random(content, sizeof(content));
	key = secret_from(content, sizeof(content));
	content[99] ^= 1;
	other = secret_from(content, sizeof(content));
	small = secret_from(content, 31);
	large = secret_new((64 << 10) + 1);
	with.keyfile = small;
	assert_int_equal(header_slot_add(&f->h, f->vk, "k", &with, NULL, false, NULL), -EINVAL);
	with.keyfile = large;
	assert_int_equal(header_slot_add(&f->h, f->vk, "k", &with, NULL, false, NULL), -EINVAL);
	assert_int_equal(f->h.n_slots, 0);
	with.keyfile = key;
	assert_int_equal(header_slot_add(&f->h, f->vk, "k", &with, NULL, false, NULL), 0);
	assert_int_equal(unlock_with(f, &with, &label, NULL), 0);
	with.keyfile = other;
	assert_int_equal(unlock_with(f, &with, &label, NULL), -ENOKEY);
	with.keyfile = small;
	assert_int_equal(unlock_with(f, &with, &label, NULL), -ENOKEY);
}

/* A slot whose wrapping is touched, or that is carried into another volume, opens nothing. */
static void test_slot_is_bound(void **state)
{
	struct fixture *f = *state;
	CLEANUP_IDENTITY struct identity *a = identity_new("Ada", "1");
	struct header_unlock with = {.identity = a};
	const char *label;

	add_pass(f, "p", "correct horse battery");
	assert_int_equal(header_slot_add(&f->h, f->vk, "a", &with, NULL, false, NULL), 0);
	for (size_t i = 0; i < 96; i += 23) {
		f->h.slots[0].wrapped[i] ^= 1;
		assert_int_equal(unlock_pass(f, "correct horse battery", &label, NULL), -ENOKEY);
		f->h.slots[0].wrapped[i] ^= 1;
	}
	f->h.volume_id[0] ^= 1;
	assert_int_equal(unlock_pass(f, "correct horse battery", &label, NULL), -ENOKEY);
	assert_int_equal(unlock_with(f, &with, &label, NULL), -ENOKEY);
	f->h.volume_id[0] ^= 1;
	/* A slot that opens, but to another key than the header commits to. */
	f->h.vk_commit[0] ^= 1;
	assert_int_equal(unlock_with(f, &with, &label, NULL), -ENOKEY);
	f->h.vk_commit[0] ^= 1;
	assert_int_equal(unlock_with(f, &with, &label, NULL), 0);
}

/*
 * Under a new VK the slots that stay open to it alone, those whose secret was not brought are left
 * out, and the header they come from is as it was.
 */
static void test_rekey(void **state)
{
	struct fixture *f = *state;
	CLEANUP_IDENTITY struct identity *a = identity_new("Ada", "1");
	CLEANUP_IDENTITY struct identity *b = identity_new("Ben", "2");
	CLEANUP_SECRET struct secret *pass = secret_of("correct horse battery");
	const struct header_unlock by_pass = {.passphrase = pass}, by_a = {.identity = a};
	const struct header_unlock by_b = {.identity = b};
	bool keep[HEADER_SLOTS_MAX] = {true, true, true, false};
	struct header before, next;
	uint8_t vk[32], old_vk[32];
	const char *label;
	struct diag d = {0};

	kdf_random(vk, sizeof(vk));
	memcpy(old_vk, f->vk, sizeof(vk));
	add_pass(f, "not brought", "entirely other words");
	add_pass(f, "p", "correct horse battery");
	assert_int_equal(header_slot_add(&f->h, f->vk, "a", &by_a, NULL, false, NULL), 0);
	assert_int_equal(header_slot_add(&f->h, f->vk, "b", &by_b, NULL, false, NULL), 0);
	before = f->h;
	assert_int_equal(header_rekey(&f->h, vk, &by_pass, 1, keep, &next, NULL), 0);
	assert_memory_equal(&f->h, &before, sizeof(before));
	assert_true(!keep[0] && keep[1] && keep[2] && !keep[3]);
	assert_int_equal(next.n_slots, 2);
	assert_memory_not_equal(next.slots[0].salt, before.slots[1].salt, 16);
	f->h = next;
	memcpy(f->vk, vk, sizeof(vk));
	assert_int_equal(unlock_pass(f, "correct horse battery", &label, NULL), 0);
	assert_string_equal(label, "p");
	assert_int_equal(unlock_with(f, &by_a, &label, NULL), 0);
	assert_string_equal(label, "a");
	assert_int_equal(unlock_with(f, &by_b, &label, NULL), -ENOKEY);
	assert_int_equal(unlock_pass(f, "entirely other words", &label, NULL), -ENOKEY);
	write_header(f);
	/* An old slot put into the new header opens to a key that it does not commit to. */
	f->h.slots[1] = before.slots[2];
	assert_int_equal(unlock_with(f, &by_a, &label, NULL), -ENOKEY);
	memset(keep, 0, sizeof(keep));
	keep[0] = true;
	assert_int_equal(header_rekey(&before, vk, &by_pass, 1, keep, &next, &d), -EBUSY);
	assert_int_equal(d.id, DIAG_USAGE);
	memcpy(f->vk, old_vk, sizeof(vk));
}

/* Labels are unique, slots are finite, and the last way in cannot be taken away. */
static void test_slot_bookkeeping(void **state)
{
	struct fixture *f = *state;
	CLEANUP_IDENTITY struct identity *a = identity_new("Ada", "1");
	const uint8_t *pk = identity_card(a)->seal_pk;
	struct diag d = {0};
	char label[24];

	for (int i = 0; i < HEADER_SLOTS_MAX; i++) {
		snprintf(label, sizeof(label), "slot %d", i);
		assert_int_equal(header_slot_add(&f->h, f->vk, label, NULL, pk, false, NULL), 0);
	}
	assert_int_equal(header_slot_add(&f->h, f->vk, "more", NULL, pk, false, NULL), -ENOSPC);
	assert_int_equal(header_slot_remove(&f->h, "slot 5", NULL), 0);
	assert_int_equal(header_slot_remove(&f->h, "slot 5", &d), -ENOENT);
	assert_int_equal(d.id, DIAG_NOT_FOUND);
	assert_int_equal(header_slot_add(&f->h, f->vk, "slot 6", NULL, pk, false, &d), -EEXIST);
	assert_int_equal(d.id, DIAG_EXISTS);
	assert_int_equal(header_slot_add(&f->h, f->vk, "more", NULL, pk, false, NULL), 0);
	assert_int_equal(header_slot_add(&f->h, f->vk, "", NULL, pk, false, NULL), -EINVAL);
	while (f->h.n_slots > 1)
		assert_int_equal(header_slot_remove(&f->h, f->h.slots[0].label, NULL), 0);
	assert_int_equal(header_slot_remove(&f->h, f->h.slots[0].label, NULL), -EBUSY);
	write_header(f);
}

/* A full header with the longest texts still fits its file and comes back. */
static void test_largest_header(void **state)
{
	struct fixture *f = *state;
	CLEANUP_FREE struct header *h = NULL;
	bool backup;

	memset(f->h.name, 'n', HEADER_NAME_MAX);
	memset(f->h.anchor + 1, 'a', HEADER_PATH_MAX - 1);
	for (int i = 0; i < HEADER_SLOTS_MAX; i++) {
		struct header_slot *s = &f->h.slots[f->h.n_slots++];

		s->kind = HEADER_SLOT_KEYFILE;
		memset(s->label, 'l', HEADER_NAME_MAX);
		s->wrapped_len = sizeof(s->wrapped);
	}
	f->h.anchor[HEADER_PATH_MAX] = '\0';
	f->h.anchor[0] = '/';
	write_header(f);
	assert_int_equal(reread(f, &h, &backup, NULL), 0);
	assert_memory_equal(h, &f->h, sizeof(*h));
}

/* Passphrases that a guess would find first are refused before a slot is made of them. */
static void test_passphrase_rules(void **state)
{
	static const struct {
		const char *text;
		int want;
	} cases[] = {
	    {"eleven byte", -EINVAL},   {"twelve bytes", 0},   {"aaaaaaaaaaaaaaaa", -EINVAL},
	    {"land registry", -EINVAL}, {"land registry!", 0},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP_SECRET struct secret *pass = secret_of(cases[i].text);
		const struct header_unlock with = {.passphrase = pass};
		struct diag d = {0};

		assert_int_equal(header_passphrase_rules(&f->h, pass, &d), cases[i].want);
		if (cases[i].want == 0)
			continue;
		assert_int_equal(d.id, DIAG_PASS_WEAK);
		assert_int_equal(header_slot_add(&f->h, f->vk, "p", &with, NULL, true, NULL),
				 -EINVAL);
		assert_int_equal(f->h.n_slots, 0);
	}
}

#define FIXTURE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    FIXTURE_TEST(test_round_trip),
	    FIXTURE_TEST(test_every_flip_is_noticed),
	    FIXTURE_TEST(test_every_truncation_is_refused),
	    FIXTURE_TEST(test_version_and_absence),
	    FIXTURE_TEST(test_repair),
	    FIXTURE_TEST(test_signed_nonsense_is_refused),
	    cmocka_unit_test(test_golden_commitment),
	    FIXTURE_TEST(test_unlock_by_passphrase),
	    FIXTURE_TEST(test_unlock_by_identity),
	    FIXTURE_TEST(test_unlock_by_keyfile),
	    FIXTURE_TEST(test_slot_is_bound),
	    FIXTURE_TEST(test_slot_bookkeeping),
	    FIXTURE_TEST(test_rekey),
	    FIXTURE_TEST(test_largest_header),
	    FIXTURE_TEST(test_passphrase_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
