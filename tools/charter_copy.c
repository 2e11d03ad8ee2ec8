/* Charter notes between store and repository. See charter_copy.h. */
#include "tools/charter_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/note.h"

#define FOLDER "charter"
#define OBJECT_LEN 40

static void object_name(uint64_t number, char out[OBJECT_LEN])
{
	snprintf(out, OBJECT_LEN, FOLDER "/%" PRIu64, number);
}

/* --- into the repository --- */

static int put_one(int folder, uint64_t number, struct repo *r)
{
	CLEANUP_FREE char *text = NULL;
	CLEANUP_FREE uint8_t *copy = NULL;
	char object[OBJECT_LEN];
	size_t len;
	int err;

	object_name(number, object);
	err = note_file_read(folder, object + strlen(FOLDER) + 1, NOTE_TEXT_MAX, &text);
	if (err)
		return err;
	if (repo_get(r, object, NOTE_TEXT_MAX, &copy, &len) == 0 && len == strlen(text) && !memcmp(copy, text, len))
		return 0;
	return repo_put(r, object, text, strlen(text));
}

int charter_copy_put(int store_fd, uint64_t number, struct repo *r, struct diag *d)
{
	CLEANUP_FD int folder = openat(store_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = folder < 0 ? -errno : 0;

	for (uint64_t i = 1; err == 0 && i <= number; i++)
		err = put_one(folder, i, r);
	return err ? diag_fail_errno(d, err, "copying the charter into %s", repo_url(r)) : 0;
}

/* --- and back --- */

/* Text and charter, both the caller's. -ENOENT (without d) when the repository does not hold it. */
static int read_one(struct repo *r, uint64_t number, const uint8_t first[32], uint8_t **ret_text,
		    struct charter **ret, struct diag *d)
{
	CLEANUP_FREE struct charter *c = NULL;
	CLEANUP_FREE uint8_t *text = NULL;
	char object[OBJECT_LEN];
	size_t len;
	int err;

	object_name(number, object);
	err = repo_get(r, object, NOTE_TEXT_MAX, &text, &len);
	if (err == -ENOENT)
		return err;
	if (err)
		return diag_fail_errno(d, err, "%s/%s", repo_url(r), object);
	if (memchr(text, 0, len))
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "%s/%s", repo_url(r), object);
	err = charter_parse((const char *)text, &c, d);
	if (err)
		return err;
	if (c->number != number || (number == 1 && memcmp(c->digest, first, 32) != 0))
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG, "%s/%s: not this volume's", repo_url(r), object);
	*ret_text = STEAL_PTR(text);
	*ret = STEAL_PTR(c);
	return 0;
}

static int get_one(struct repo *r, uint64_t number, const uint8_t first[32], int store_fd, struct diag *d)
{
	CLEANUP_FREE struct charter *c = NULL;
	CLEANUP_FREE uint8_t *text = NULL;
	int err = read_one(r, number, first, &text, &c, d);

	/* Checks that it follows the one before, and never replaces one that another follows. */
	return err ? err : charter_store(store_fd, c, (const char *)text, d);
}

int charter_copy_get(struct repo *r, const uint8_t first[32], int store_fd, struct diag *d)
{
	uint64_t number = 1;
	int err;

	do
		err = get_one(r, number, first, store_fd, d);
	while (err == 0 && number++ < UINT64_MAX);
	return err == -ENOENT ? 0 : err;
}

int charter_copy_check(struct repo *r, const uint8_t first[32], const uint8_t last[32], struct diag *d)
{
	uint8_t previous[32] = {0};
	bool reached = false;
	char object[OBJECT_LEN];

	for (uint64_t number = 1;; number++) {
		CLEANUP_FREE struct charter *c = NULL;
		CLEANUP_FREE uint8_t *text = NULL;
		int err = read_one(r, number, first, &text, &c, d);

		object_name(number, object);
		if (err == -ENOENT)
			break;
		if (err == 0 && memcmp(c->previous, previous, 32) != 0)
			err = -EBADMSG;
		if (err)
			return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%s/%s", repo_url(r), object);
		memcpy(previous, c->digest, 32);
		reached |= !memcmp(c->digest, last, 32);
	}
	return reached ? 0 : diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%s/%s is missing", repo_url(r), object);
}
