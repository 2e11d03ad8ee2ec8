/* The chain of charters in STORE/charter. */
#include "core/charter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/note.h"

#define FOLDER "charter"
#define FILE_MODE 0644
#define FOLDER_MODE 0755
#define FILE_NAME_LEN 24

static void file_name(uint64_t number, char out[FILE_NAME_LEN])
{
	snprintf(out, FILE_NAME_LEN, "%" PRIu64, number);
}

static int folder_open(int store_fd)
{
	int fd = openat(store_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* -ENOENT without a diag when there is no such number: the end of the chain. */
static int read_one(int dirfd, uint64_t number, struct charter **ret, struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	CLEANUP_FREE struct charter *c = NULL;
	char name[FILE_NAME_LEN];
	int r;

	file_name(number, name);
	r = note_file_read(dirfd, name, NOTE_TEXT_MAX, &text);
	if (r == -ENOENT)
		return r;
	if (r == -EUCLEAN || r == -EFBIG || r == -ELOOP || r == -EINVAL)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "charter %s", name);
	if (r < 0)
		return diag_fail_errno(d, r, "charter %s", name);
	r = charter_parse(text, &c, d);
	if (r < 0)
		return r;
	if (c->number != number)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG, "charter %s: another's number",
				 name);
	*ret = STEAL_PTR(c);
	return 0;
}

static bool follows(const struct charter *c, const struct charter *before)
{
	return c->number == before->number + 1 &&
	       memcmp(c->previous, before->digest, sizeof(c->previous)) == 0 &&
	       memcmp(c->volume_id, before->volume_id, sizeof(c->volume_id)) == 0 &&
	       memcmp(c->sign_pk, before->sign_pk, sizeof(c->sign_pk)) == 0;
}

/* From *cur to the charter whose digest is head, or to the last. */
static int follow(int dirfd, const uint8_t head[32], struct charter **cur, struct diag *d)
{
	while (!head || memcmp((*cur)->digest, head, 32) != 0) {
		CLEANUP_FREE struct charter *next = NULL;
		struct charter *before = *cur;
		int r = read_one(dirfd, before->number + 1, &next, d);

		if (r == -ENOENT && !head)
			return 0;
		if (r == -ENOENT)
			return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG,
					 "charter: the chain ends at %" PRIu64
					 ", before the one in force",
					 before->number);
		if (r < 0)
			return r;
		if (!follows(next, before))
			return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG,
					 "charter %" PRIu64 ": does not follow its predecessor",
					 next->number);
		*cur = STEAL_PTR(next);
		free(before);
	}
	return 0;
}

int charter_load(int store_fd, const uint8_t head[32], const uint8_t first[32],
		 struct charter **ret, struct diag *d)
{
	CLEANUP_FREE struct charter *c = NULL;
	CLEANUP_FD int dirfd = folder_open(store_fd);
	int r;

	if (dirfd < 0)
		return diag_fail_errno(d, dirfd, "the store's charter folder");
	r = read_one(dirfd, 1, &c, d);
	if (r == -ENOENT)
		return diag_fail(d, DIAG_NOT_FOUND, r, "charter 1");
	if (r < 0)
		return r;
	if (memcmp(c->digest, first, 32) != 0)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG,
				 "charter 1: not this volume's first");
	r = follow(dirfd, head, &c, d);
	if (r < 0)
		return r;
	*ret = STEAL_PTR(c);
	return 0;
}

/* 1: another text stands there and may be replaced; 0: this text stands there already. */
static int judge_existing(int dirfd, const struct charter *c, const char *text, struct diag *d)
{
	CLEANUP_FREE char *old = NULL;
	char name[FILE_NAME_LEN], next[FILE_NAME_LEN];
	int r;

	file_name(c->number, name);
	file_name(c->number + 1, next);
	r = note_file_read(dirfd, name, NOTE_TEXT_MAX, &old);
	if (r == 0 && strcmp(old, text) == 0)
		return 0;
	if (c->number == 1 || faccessat(dirfd, next, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return diag_fail(d, DIAG_EXISTS, -EEXIST, "charter %s", name);
	return 1;
}

int charter_store(int store_fd, const struct charter *c, const char *text, struct diag *d)
{
	CLEANUP_FREE struct charter *parsed = NULL, *before = NULL;
	CLEANUP_FD int dirfd = -1;
	char name[FILE_NAME_LEN];
	int r;

	r = charter_parse(text, &parsed, d);
	if (r < 0)
		return r;
	if (memcmp(parsed->digest, c->digest, sizeof(c->digest)) != 0)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EINVAL,
				 "charter %" PRIu64 ": another text", c->number);
	r = durable_mkdir(store_fd, FOLDER, FOLDER_MODE);
	dirfd = r < 0 ? r : folder_open(store_fd);
	if (dirfd < 0)
		return diag_fail_errno(d, dirfd, "the store's charter folder");
	if (parsed->number > 1) {
		r = read_one(dirfd, parsed->number - 1, &before, d);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r < 0 || !follows(parsed, before))
			return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG,
					 "charter %" PRIu64 ": does not follow its predecessor",
					 parsed->number);
	}
	file_name(parsed->number, name);
	r = durable_create(dirfd, name, text, strlen(text), FILE_MODE);
	if (r == -EEXIST) {
		r = judge_existing(dirfd, parsed, text, d);
		if (r <= 0)
			return r;
		r = durable_replace(dirfd, name, text, strlen(text), FILE_MODE);
	}
	return r < 0 ? diag_fail_errno(d, r, "charter %s", name) : 0;
}
