/* See hold.h. */
#include "backup/hold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/set_internal.h"
#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"

#define TYPE "hold"
#define RELEASE_TYPE "hold-release"
#define VERSION 1

static int body(const struct hold *h, const uint8_t volume_id[16], char **ret)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	note_begin(&w, TYPE, VERSION);
	note_put_hex(&w, "volume", volume_id, 16);
	note_put(&w, "set", h->set);
	note_put_time(&w, "time", h->time);
	note_put(&w, "by", h->by);
	note_put(&w, "reason", h->reason);
	return note_end(&w, ret);
}

int hold_put(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_seed[32],
	     const struct hold *h, struct diag *d)
{
	CLEANUP_FREE char *plain = NULL, *text = NULL;
	char name[SET_NAME_LEN];
	int err = set_id_valid(h->set) ? body(h, volume_id, &plain) : -EINVAL;

	if (err == 0)
		err = note_sign_volume(plain, volume_id, sign_seed, &text);
	if (err)
		return diag_fail_errno(d, err, "hold on set %s", h->set);
	set_object(h->set, HOLD_OBJECT, name);
	err = repo_put_new(r, name, text, strlen(text));
	if (err == -EEXIST)
		return diag_fail(d, DIAG_EXISTS, err, "set %s is held", h->set);
	return err ? diag_fail_errno(d, err, "%s/%s", repo_url(r), name) : 0;
}

static int parse(const char *text, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		 struct hold *h)
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_FREE char *again = NULL;
	char set[SET_ID_MAX + 1];
	int err = note_open_volume(text, volume_id, sign_pk, TYPE, VERSION, &n);

	if (err)
		return err;
	if (note_get_text(&n, "set", set, sizeof(set)) || strcmp(set, h->set) != 0 ||
	    note_get_time(&n, "time", &h->time) || note_get_text(&n, "by", h->by, sizeof(h->by)) ||
	    note_get_text(&n, "reason", h->reason, sizeof(h->reason)))
		return -EUCLEAN;
	err = body(h, volume_id, &again);
	return err ? err : note_body_is(text, again) ? 0 : -EUCLEAN;
}

int hold_get(struct repo *r, const char *set, const uint8_t volume_id[16], const uint8_t sign_pk[32],
	     struct hold *ret)
{
	CLEANUP_FREE uint8_t *text = NULL;
	struct hold h = {0};
	char name[SET_NAME_LEN];
	size_t len;

	set_object(set, HOLD_OBJECT, name);
	int err = repo_get(r, name, NOTE_TEXT_MAX, &text, &len);
	if (err)
		return err;
	memcpy(h.set, set, strnlen(set, SET_ID_MAX));
	kdf_sha256(h.digest, text, len);
	err = strlen((const char *)text) == len ? parse((const char *)text, volume_id, sign_pk, &h)
						: -EUCLEAN;
	if (err) {
		/* What does not verify is not repeated. */
		memset(h.by, 0, sizeof(h.by));
		memset(h.reason, 0, sizeof(h.reason));
		h.time = 0;
		err = err == -ENOMEM || err == -EBADMSG ? err : -EUCLEAN;
	}
	*ret = h;
	return err;
}

int hold_remove(struct repo *r, const char *set, const uint8_t digest[32])
{
	CLEANUP_FREE uint8_t *text = NULL;
	char name[SET_NAME_LEN];
	uint8_t now[32];
	size_t len;

	set_object(set, HOLD_OBJECT, name);
	int err = repo_get(r, name, NOTE_TEXT_MAX, &text, &len);
	if (err)
		return err;
	kdf_sha256(now, text, len);
	return memcmp(now, digest, sizeof(now)) == 0 ? repo_delete(r, name) : -ESTALE;
}

/* --- the order's inventory --- */

int hold_release_build(const uint8_t volume_id[16], const char *set, const uint8_t digest[32],
		       char **ret)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	note_begin(&w, RELEASE_TYPE, VERSION);
	note_put_hex(&w, "volume", volume_id, 16);
	note_put(&w, "set", set);
	note_put_hex(&w, "hold", digest, 32);
	return note_end(&w, ret);
}

int hold_release_parse(const char *text, const uint8_t volume_id[16], char ret_set[SET_ID_MAX + 1],
		       uint8_t ret_digest[32])
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_FREE char *again = NULL;
	char set[SET_ID_MAX + 1];
	uint8_t digest[32];
	int err = note_parse(text, &n);

	if (err)
		return err;
	if (note_get_text(&n, "set", set, sizeof(set)) || !set_id_valid(set) ||
	    note_get_hex(&n, "hold", digest, sizeof(digest)))
		return -EUCLEAN;
	/* Written anew it is the same text, so type, version and volume are these too. */
	err = hold_release_build(volume_id, set, digest, &again);
	if (err == 0 && strcmp(again, text) != 0)
		err = -EUCLEAN;
	if (err)
		return err;
	strcpy(ret_set, set);
	memcpy(ret_digest, digest, sizeof(digest));
	return 0;
}
