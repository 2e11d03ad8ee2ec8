/*
 * The identity file: the seeds of a member in a box under a passphrase, its parameters in the
 * grammar of notes.
 *
 * The box's associated data is every line before it, so that neither the name nor a cost can be
 * changed unnoticed.
 */
#include "core/identity.h"
#include "core/identity_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/kdf.h"
#include "core/note.h"
#include "core/note_internal.h"
#include "core/suite.h"

#define FILE_TYPE "identity"
#define FILE_VERSION 1
#define FILE_TEXT_MAX (64u << 10)
#define BOX_LEN (IDENTITY_SEEDS_LEN + SUITE_BOX_OVERHEAD)
/* libsodium's interactive cost, which is also the floor */
#define COST_OPS 2
#define COST_MEM (64u << 20)

struct identity_file {
	struct identity_card card;
	bool passphrase; /* false: the box is under the zero key, the file's mode is its only guard
			  */
	uint64_t ops, mem;
	uint8_t salt[KDF_SALT_LEN];
	uint8_t box[BOX_LEN];
};

/* The lines before the box. */
static void put_head(struct bytes_w *w, const struct identity_file *f)
{
	note_begin(w, FILE_TYPE, FILE_VERSION);
	note_put(w, "name", f->card.name);
	note_put(w, "number", f->card.number);
	note_put_hex(w, "sign-key", f->card.sign_pk, IDENTITY_KEY_LEN);
	note_put_hex(w, "seal-key", f->card.seal_pk, IDENTITY_KEY_LEN);
	note_put(w, "kdf", f->passphrase ? "argon2id" : "none");
	if (!f->passphrase)
		return;
	note_put_u64(w, "ops", f->ops);
	note_put_u64(w, "memory", f->mem);
	note_put_hex(w, "salt", f->salt, sizeof(f->salt));
}

static int box_key(const struct identity_file *f, struct secret *pass, uint8_t key[SUITE_KEY_LEN])
{
	memset(key, 0, SUITE_KEY_LEN);
	if (!f->passphrase)
		return 0;
	if (!pass)
		return -ENOKEY;
	return kdf_passphrase(key, secret_bytes(pass), secret_len(pass), f->salt, f->ops, f->mem);
}

int identity_export(const struct identity *id, struct secret *pass, char **ret)
{
	struct identity_file f = {
	    .card = id->card, .passphrase = pass != NULL, .ops = COST_OPS, .mem = COST_MEM};
	CLEANUP_BYTES struct bytes_w w = {0};
	uint8_t key[SUITE_KEY_LEN];
	int r;

	kdf_random(f.salt, sizeof(f.salt));
	put_head(&w, &f);
	if (w.err)
		return w.err;
	r = box_key(&f, pass, key);
	if (r == 0)
		suite_seal(suite_by_id(SUITE_XCHACHA20POLY1305), key, w.buf, w.len,
			   identity_keys(id)->seeds, IDENTITY_SEEDS_LEN, f.box);
	secret_wipe(key, sizeof(key));
	if (r < 0)
		return r;
	note_put_hex(&w, "box", f.box, BOX_LEN);
	return note_end(&w, ret);
}

static int parse_cost(const struct note *n, struct identity_file *f)
{
	const char *kdf = note_get(n, "kdf");

	if (!kdf)
		return -EUCLEAN;
	f->passphrase = strcmp(kdf, "argon2id") == 0;
	if (!f->passphrase)
		return strcmp(kdf, "none") == 0 ? 0 : -EUCLEAN;
	if (note_get_u64(n, "ops", &f->ops) < 0 || note_get_u64(n, "memory", &f->mem) < 0 ||
	    note_get_hex(n, "salt", f->salt, sizeof(f->salt)) < 0)
		return -EUCLEAN;
	return 0;
}

static int parse_file(const char *text, struct identity_file *f)
{
	CLEANUP_NOTE struct note n = {0};
	const char *name, *number;
	int r;

	r = note_parse(text, &n);
	if (r < 0)
		return r;
	if (strcmp(n.type, FILE_TYPE) != 0)
		return -EUCLEAN;
	if (n.version != FILE_VERSION)
		return -EPROTONOSUPPORT;
	name = note_get(&n, "name");
	number = note_get(&n, "number");
	if (!name || !identity_name_valid(name) || !number || !identity_name_valid(number))
		return -EUCLEAN;
	strcpy(f->card.name, name);
	strcpy(f->card.number, number);
	if (note_get_hex(&n, "sign-key", f->card.sign_pk, IDENTITY_KEY_LEN) < 0 ||
	    note_get_hex(&n, "seal-key", f->card.seal_pk, IDENTITY_KEY_LEN) < 0 ||
	    note_get_hex(&n, "box", f->box, BOX_LEN) < 0)
		return -EUCLEAN;
	return parse_cost(&n, f);
}

/* The head as it must have stood; -EUCLEAN when text is not exactly head and box. */
static int canonical_head(const struct identity_file *f, const char *text, struct bytes_w *head)
{
	CLEANUP_BYTES struct bytes_w whole = {0};
	CLEANUP_FREE char *again = NULL;
	int r;

	put_head(head, f);
	put_head(&whole, f);
	note_put_hex(&whole, "box", f->box, BOX_LEN);
	r = note_end(&whole, &again);
	if (r < 0 || head->err)
		return r < 0 ? r : head->err;
	return strcmp(again, text) == 0 ? 0 : -EUCLEAN;
}

/* -EBADMSG: wrong passphrase, or the file was changed; the two cannot be told apart. */
static int open_box(const struct identity_file *f, const struct bytes_w *head, struct secret *pass,
		    struct identity **ret)
{
	uint8_t key[SUITE_KEY_LEN], seeds[IDENTITY_SEEDS_LEN];
	struct identity *id = NULL;
	int r;

	r = box_key(f, pass, key);
	if (r == 0)
		r = suite_open(suite_by_id(SUITE_XCHACHA20POLY1305), key, head->buf, head->len,
			       f->box, BOX_LEN, seeds);
	secret_wipe(key, sizeof(key));
	if (r < 0)
		return r;
	id = identity_from_seeds(f->card.name, f->card.number, seeds);
	secret_wipe(seeds, sizeof(seeds));
	if (!id)
		return -ENOMEM;
	if (memcmp(id->card.sign_pk, f->card.sign_pk, IDENTITY_KEY_LEN) != 0 ||
	    memcmp(id->card.seal_pk, f->card.seal_pk, IDENTITY_KEY_LEN) != 0) {
		identity_free(id);
		return -EUCLEAN;
	}
	*ret = id;
	return 0;
}

int identity_import(const char *text, struct secret *pass, const char *object,
		    struct identity **ret, struct diag *d)
{
	CLEANUP_BYTES struct bytes_w head = {0};
	struct identity_file f = {0};
	int r;

	r = parse_file(text, &f);
	if (r == 0)
		r = canonical_head(&f, text, &head);
	if (r == 0)
		r = open_box(&f, &head, pass, ret);
	switch (r) {
	case 0:
		return 0;
	case -EPROTONOSUPPORT:
		return diag_fail(d, DIAG_VERSION, r, "identity %s", object);
	case -ENOKEY:
	case -EBADMSG:
		return diag_fail(d, DIAG_WRONG_SECRET, r, "identity %s", object);
	case -ENOMEM:
		return diag_fail_errno(d, r, "identity %s", object);
	default:
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "identity %s", object);
	}
}

/* A file without a passphrase is as secret as its mode. */
static int mode_check(int fd, const char *text, const char *path, struct diag *d)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return diag_fail_errno(d, -errno, "identity %s", path);
	if ((st.st_mode & 077) && strstr(text, "\nkdf: none\n"))
		return diag_fail(d, DIAG_SECRET_FILE, -EPERM, "identity %s", path);
	return 0;
}

int identity_load(const char *path, struct secret *pass, struct identity **ret, struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int r = fd < 0 ? -errno : note_fd_read_text(fd, FILE_TEXT_MAX, &text);

	if (r == -EUCLEAN)
		return diag_fail(d, DIAG_NOTE_MALFORMED, r, "identity %s", path);
	if (r < 0)
		return diag_fail_errno(d, r, "identity %s", path);
	r = mode_check(fd, text, path, d);
	if (r < 0)
		return r;
	return identity_import(text, pass, path, ret, d);
}
