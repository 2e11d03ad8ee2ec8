/*
 * Repositories in front of their back ends: URLs, names, and whose repository it is. See repo.h.
 */
#include "backup/repo_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/note.h"

#define REPO_MARK "coffer-repository"
#define REPO_MARK_VERSION 1
#define REPO_MARK_MAX (64u << 10)
#define REPO_NAME_MAX 200

static bool component_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

bool repo_component_valid(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!component_char(s[i]))
			return false;
	return len > 0 && *s != '.';
}

/* Such components, with a slash between: no way out of the repository, no hidden file. A prefix
 * ends in one, or is empty. */
static bool name_valid(const char *name, bool prefix)
{
	if (strlen(name) > REPO_NAME_MAX)
		return false;
	while (*name) {
		size_t len = strcspn(name, "/");

		if (!repo_component_valid(name, len))
			return false;
		name += len;
		if (!*name)
			return true;
		name++;
	}
	return prefix;
}

static int attach_back_end(struct repo *r, bool create, struct diag *d)
{
	const char *path = !strncmp(r->url, "file:", 5) ? r->url + 5 : r->url;

	if (repo_s3_url(r->url))
		return repo_s3_open(r->url, &r->ops, &r->self, d);
	int err = path == r->url && strstr(path, "://")
		      ? -EPROTONOSUPPORT
		      : repo_folder_open(path, create, &r->ops, &r->self);
	return err ? diag_fail(d, DIAG_NO_REPOSITORY, err, "%s", r->url) : 0;
}

static int attach(const char *url, bool create, struct repo **ret, struct diag *d)
{
	struct repo *r = calloc(1, sizeof(*r));

	if (!r || !(r->url = strdup(url))) {
		free(r);
		return diag_fail_errno(d, -ENOMEM, "%s", url);
	}
	int err = attach_back_end(r, create, d);
	if (err) {
		repo_close(r);
		return err;
	}
	*ret = r;
	return 0;
}

static int check_mark(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		      struct diag *d)
{
	CLEANUP_FREE uint8_t *text = NULL;
	CLEANUP_NOTE struct note n = {0};
	char key_name[NOTE_KEY_NAME_MAX + 1];
	uint8_t id[16];
	size_t len;

	int err = repo_get(r, REPO_MARK, REPO_MARK_MAX, &text, &len);
	if (err)
		return diag_fail(d, DIAG_NO_REPOSITORY, err, "%s", r->url);
	if (strlen((const char *)text) != len || note_parse((const char *)text, &n) != 0 ||
	    strcmp(n.type, "repository") != 0)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "%s/%s", r->url, REPO_MARK);
	if (n.version != REPO_MARK_VERSION)
		return diag_fail(d, DIAG_VERSION, -EPROTONOSUPPORT, "%s/%s", r->url, REPO_MARK);
	if (note_get_hex(&n, "volume", id, sizeof(id)) != 0)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "%s/%s", r->url, REPO_MARK);
	if (memcmp(id, volume_id, sizeof(id)) != 0)
		return diag_fail(d, DIAG_REPOSITORY_OTHER, -EINVAL, "%s", r->url);
	note_volume_key_name(volume_id, key_name);
	if (note_verify((const char *)text, key_name, sign_pk) != 0)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG, "%s/%s", r->url, REPO_MARK);
	return 0;
}

static int write_mark(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_seed[32])
{
	CLEANUP_BYTES struct bytes_w w = {0};
	CLEANUP_FREE char *body = NULL, *text = NULL;

	note_begin(&w, "repository", REPO_MARK_VERSION);
	note_put_hex(&w, "volume", volume_id, 16);
	note_put_time(&w, "created", time(NULL));
	int err = note_end(&w, &body);
	if (err == 0)
		err = note_sign_volume(body, volume_id, sign_seed, &text);
	return err ? err : repo_put_new(r, REPO_MARK, text, strlen(text));
}

int repo_create(const char *url, const uint8_t volume_id[16], const uint8_t sign_seed[32],
		struct diag *d)
{
	uint8_t pk[IDENTITY_KEY_LEN];
	struct repo *r;
	uint64_t size;
	int err = attach(url, true, &r, d);

	if (err)
		return err;
	identity_sign_pk_from_seed(sign_seed, pk);
	if (repo_size(r, REPO_MARK, &size) == -ENOENT) {
		err = write_mark(r, volume_id, sign_seed);
		if (err)
			diag_fail_errno(d, err, "%s", url);
	} else {
		err = check_mark(r, volume_id, pk, d);
	}
	repo_close(r);
	return err;
}

/* "lost+found" of a medium's filesystem counts as nothing. */
static int check_empty(struct repo *r)
{
	char **names = NULL;
	size_t n = 0, n_other = 0;
	int err = repo_list(r, "", &names, &n);

	for (size_t i = 0; err == 0 && i < n; i++)
		n_other += strcmp(names[i], "lost+found") != 0;
	repo_list_free(names, n);
	return err ? err : n_other ? -EEXIST : 0;
}

int repo_create_copy(const char *path, struct repo *from, struct diag *d)
{
	CLEANUP_FREE uint8_t *text = NULL;
	struct repo *r;
	uint64_t size;
	size_t len;
	int err = attach(path, true, &r, d);

	if (err)
		return err;
	err = repo_size(r, REPO_MARK, &size);
	if (err == -ENOENT) {
		err = check_empty(r);
		if (err == 0)
			err = repo_get(from, REPO_MARK, REPO_MARK_MAX, &text, &len);
		if (err == 0)
			err = repo_put_new(r, REPO_MARK, text, len);
	}
	repo_close(r);
	if (err == -EEXIST)
		return diag_fail(d, DIAG_EXISTS, err, "%s holds something else than a repository", path);
	return err ? diag_fail_errno(d, err, "%s", path) : 0;
}

int repo_open(const char *url, const uint8_t volume_id[16], const uint8_t sign_pk[32],
	      struct repo **ret, struct diag *d)
{
	struct repo *r;
	int err = attach(url, false, &r, d);

	if (err)
		return err;
	err = check_mark(r, volume_id, sign_pk, d);
	if (err) {
		repo_close(r);
		return err;
	}
	*ret = r;
	return 0;
}

void repo_close(struct repo *r)
{
	if (!r)
		return;
	if (r->self)
		r->ops->close(r->self);
	free(r->url);
	free(r);
}

const char *repo_url(const struct repo *r)
{
	return r->url;
}

int repo_put(struct repo *r, const char *name, const void *p, size_t len)
{
	return name_valid(name, false) ? r->ops->put(r->self, name, p, len, false) : -EINVAL;
}

int repo_put_new(struct repo *r, const char *name, const void *p, size_t len)
{
	return name_valid(name, false) ? r->ops->put(r->self, name, p, len, true) : -EINVAL;
}

int repo_get(struct repo *r, const char *name, size_t max, uint8_t **ret, size_t *ret_len)
{
	uint64_t size;
	int err = repo_size(r, name, &size);

	if (err)
		return err;
	if (size > max)
		return -EFBIG;
	/* One byte more, always zero: texts are read as strings. */
	CLEANUP_FREE uint8_t *p = malloc((size_t)size + 1);
	if (!p)
		return -ENOMEM;
	p[size] = 0;
	err = r->ops->read(r->self, name, 0, p, (size_t)size);
	if (err)
		return err;
	*ret = STEAL_PTR(p);
	*ret_len = (size_t)size;
	return 0;
}

int repo_get_note(struct repo *r, const char *name, char **ret)
{
	CLEANUP_FREE uint8_t *text = NULL;
	size_t len;
	int err = repo_get(r, name, NOTE_TEXT_MAX, &text, &len);

	if (err == 0 && strlen((const char *)text) != len)
		err = -EUCLEAN;
	if (err == 0)
		*ret = (char *)STEAL_PTR(text);
	return err;
}

int repo_read(struct repo *r, const char *name, uint64_t off, void *p, size_t len)
{
	return name_valid(name, false) ? r->ops->read(r->self, name, off, p, len) : -EINVAL;
}

int repo_size(struct repo *r, const char *name, uint64_t *ret)
{
	return name_valid(name, false) ? r->ops->size(r->self, name, ret) : -EINVAL;
}

int repo_delete(struct repo *r, const char *name)
{
	int err = name_valid(name, false) ? r->ops->remove(r->self, name) : -EINVAL;

	return err == -ENOENT ? 0 : err;
}

int repo_list(struct repo *r, const char *prefix, char ***ret, size_t *ret_n)
{
	return name_valid(prefix, true) ? r->ops->list(r->self, prefix, ret, ret_n) : -EINVAL;
}

void repo_list_free(char **names, size_t n)
{
	for (size_t i = 0; names && i < n; i++)
		free(names[i]);
	free(names);
}
