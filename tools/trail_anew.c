/* See trail_anew.h. */
#include "tools/trail_anew.h"

#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/note.h"

#define FILE_NAME "trail/anew"
#define TYPE "trail-anew"
#define VERSION 1

static int body(const uint8_t volume_id[16], const struct trail_anew *a, char **ret)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	note_begin(&w, TYPE, VERSION);
	note_put_hex(&w, "volume", volume_id, 16);
	note_put_time(&w, "created", a->created);
	note_put_u64(&w, "transaction", a->txn);
	note_put_u64(&w, "lost-size", a->old.size);
	note_put_hex(&w, "lost-root", a->old.root, 32);
	return note_end(&w, ret);
}

int trail_anew_write(int store_fd, struct keyring *kr, const struct trail_anew *a, struct diag *d)
{
	CLEANUP_FREE char *text = NULL, *note = NULL;
	int err = body(keyring_volume_id(kr), a, &text);

	if (err == 0)
		err = note_sign_volume(text, keyring_volume_id(kr), keyring_sign_seed(kr), &note);
	if (err == 0)
		err = durable_replace(store_fd, FILE_NAME, note, strlen(note), 0600);
	return err ? diag_fail_errno(d, err, "the store's file " FILE_NAME) : 0;
}

static int parse(const char *text, const uint8_t volume_id[16], struct trail_anew *ret)
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_FREE char *again = NULL;
	struct trail_anew a = {0};
	int err = note_parse(text, &n);

	if (err == 0 && (strcmp(n.type, TYPE) != 0 || n.version != VERSION))
		err = -EUCLEAN;
	if (err == 0)
		err = note_get_time(&n, "created", &a.created);
	if (err == 0)
		err = note_get_u64(&n, "transaction", &a.txn);
	if (err == 0)
		err = note_get_u64(&n, "lost-size", &a.old.size);
	if (err == 0)
		err = note_get_hex(&n, "lost-root", a.old.root, 32);
	if (err == 0)
		err = body(volume_id, &a, &again);
	if (err == 0 && !note_body_is(text, again))
		err = -EUCLEAN;
	if (err == 0)
		*ret = a;
	return err;
}

int trail_anew_read(int store_fd, const uint8_t volume_id[16], const uint8_t sign_pk[32], struct trail_anew *ret,
		    struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	char name[NOTE_KEY_NAME_MAX + 1];
	int err = note_file_read(store_fd, FILE_NAME, NOTE_TEXT_MAX, &text);

	if (err == -ENOENT)
		return err;
	note_volume_key_name(volume_id, name);
	if (err == 0)
		err = note_verify(text, name, sign_pk);
	if (err == -EBADMSG)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, err, "the store's file " FILE_NAME);
	if (err == 0)
		err = parse(text, volume_id, ret);
	if (err == -EUCLEAN)
		return diag_fail(d, DIAG_NOTE_MALFORMED, err, "the store's file " FILE_NAME);
	return err ? diag_fail_errno(d, err, "the store's file " FILE_NAME) : 0;
}
