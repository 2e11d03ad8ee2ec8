/*
 * What a store, an anchor and an escrow say of themselves before any key opens: header, anchor
 * slots, escrow slots, and the key state inside its box. Identities and cards are in
 * test_reject_notes.c.
 */
#include "tests/reject/reject.h"

#include "core/anchor.h"
#include "core/escrow_internal.h"
#include "core/header.h"
#include "core/keyring_internal.h"
#include "tests/reject/known.h"

/* A folder with one file of these bytes in it. */
struct place {
	char dir[64];
	int fd;
};

static void place_make(struct place *p)
{
	strcpy(p->dir, "/tmp/coffer-reject-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(p->fd >= 0);
}

static void place_put(const struct place *p, const char *name, const void *buf, size_t len)
{
	CLEANUP_FD int fd = openat(p->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(durable_pwrite(fd, buf, len, 0), 0);
}

static void place_end(struct place *p, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		unlinkat(p->fd, names[i], 0);
	close(p->fd);
	assert_int_equal(rmdir(p->dir), 0);
}

/* --- header --- */

/* Both copies are these bytes. */
static int header_file(const uint8_t *p, size_t len, struct diag *d)
{
	static const char *const names[] = {"header", "header.bak"};
	struct header *h = (struct header *)&h;
	bool used_backup = true;
	struct place at;

	place_make(&at);
	place_put(&at, names[0], p, len);
	place_put(&at, names[1], p, len);
	int r = header_read(at.fd, "store", &h, &used_backup, d);
	if (r < 0)
		assert_true(used_backup && h == (struct header *)&h);
	else
		free(h);
	place_end(&at, names, 2);
	return r;
}

/* The file is what the signature covers: it is signed here, by the key that seed.ok names. */
static int header_signed(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE uint8_t *buf = malloc(len + IDENTITY_SIG_LEN);

	assert_non_null(buf);
	memcpy(buf, p, len);
	identity_sign_with_seed(known_seed, buf, len, buf + len);
	return header_file(buf, len + IDENTITY_SIG_LEN, d);
}

/* A damaged copy is told apart from no header: the other copy serves, and the caller learns of it.
 */
static void header_one_copy_damaged(void **state)
{
	static const char *const names[] = {"header", "header.bak"};
	CLEANUP_FREE uint8_t *good = NULL;
	struct place at;
	size_t len;

	(void)state;
	assert_int_equal(
	    durable_read(AT_FDCWD, TESTS_DIR "/reject/header_file/seed.ok", 1 << 16, &good, &len),
	    0);
	place_make(&at);
	place_put(&at, names[1], good, len);
	good[len - 1] ^= 1;
	place_put(&at, names[0], good, len);
	struct header *h = NULL;
	bool used_backup = false;
	assert_int_equal(header_read(at.fd, "store", &h, &used_backup, NULL), 0);
	assert_true(used_backup && strcmp(h->name, "land registry") == 0);
	free(h);
	place_end(&at, names, 2);
}

/* --- anchor --- */

static int anchor_file(const uint8_t *p, size_t len, struct diag *d)
{
	static const char *const names[] = {"anchor"};
	struct anchor_state st, untouched;
	struct anchor *a = NULL;
	bool stale;
	struct place at;

	memset(&untouched, 0x5a, sizeof(untouched));
	st = untouched;
	place_make(&at);
	place_put(&at, names[0], p, len);
	int r = anchor_open(at.dir, known_volume_id, known_vk, &a, d);
	assert_true(r == 0 || !a);
	if (r == 0)
		r = anchor_get(a, &st, &stale, d);
	if (r < 0)
		assert_memory_equal(&st, &untouched, sizeof(st));
	else
		assert_int_equal(st.generation, 3);
	anchor_close(a);
	place_end(&at, names, 1);
	return r;
}

/* --- escrow --- */

/* The file is one slot without its signature, which is made here; the other slot holds nothing. */
static int escrow_file(const uint8_t *p, size_t len, struct diag *d)
{
	CLEANUP_FREE uint8_t *whole = calloc(2, ESCROW_CHUNK);
	CLEANUP_IDENTITY struct identity *ada = known_member(1);
	struct escrow_content c, untouched = {.name = "untouched"};
	char name[ESCROW_NAME_LEN];
	struct place at;

	assert_non_null(whole);
	memcpy(whole, p, len);
	identity_sign_with_seed(known_seed, whole, len, whole + len);
	escrow_file_name(known_volume_id, name);
	place_make(&at);
	place_put(&at, name, whole, 2 * ESCROW_CHUNK);
	c = untouched;
	int r = escrow_open(at.dir, known_volume_id, ada, &c, d);
	if (r < 0)
		assert_null(c.state);
	else
		assert_string_equal(c.name, "land registry");
	escrow_content_wipe(&c);
	place_end(&at, (const char *const[]){name}, 1);
	return r;
}

/* --- key state --- */

static int tree(const uint8_t *p, size_t len, struct diag *d)
{
	struct keytree *t = NULL;
	struct bytes_r r = bytes_r_init(p, len);
	int e = keytree_decode(&r, &t);

	(void)d;
	assert_true((e == 0) == (t != NULL));
	if (e == 0)
		e = bytes_r_done(&r);
	keytree_free(t);
	return e;
}

static int state_decode(const uint8_t *p, size_t len, struct diag *d)
{
	struct keyring_state *st = NULL;
	int r = keyring_state_decode(p, len, &st);

	(void)d;
	assert_true((r == 0) == (st != NULL));
	keyring_state_free(st);
	return r;
}

int main(void)
{
	static const struct reject_parser parsers[] = {
	    {"header", header_signed, true, DIAG_HEADER_DAMAGED, DIAG_HEADER_DAMAGED},
	    {"header_file", header_file, true, DIAG_HEADER_DAMAGED, DIAG_HEADER_DAMAGED},
	    {"anchor", anchor_file, true, DIAG_ANCHOR_DAMAGED, DIAG_ANCHOR_DAMAGED},
	    {"escrow", escrow_file, false, DIAG_NONE, DIAG_NONE},
	    {"keytree", tree, false, DIAG_NONE, DIAG_NONE},
	    {"keystate", state_decode, false, DIAG_NONE, DIAG_NONE},
	};
	const struct CMUnitTest more[] = {cmocka_unit_test(header_one_copy_damaged)};

	return reject_run("reject_header", parsers, sizeof(parsers) / sizeof(*parsers), more, 1);
}
