/*
 * S3 credentials, as the AWS tools keep them. Secrets go from the file straight into guarded
 * memory; the environment's copy is the environment's.
 */
#include "backup/repo_s3_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/kdf.h"

#define FILE_MAX_LEN (64u << 10)
#define VALUE_MAX 4096 /* session tokens are long */

void s3_credentials_free(struct s3_credentials *c)
{
	secret_free(c->secret);
	secret_free(c->token);
	*c = (struct s3_credentials){0};
}

static bool same(struct secret *a, struct secret *b)
{
	if (!a || !b)
		return a == b;
	return secret_len(a) == secret_len(b) &&
	       kdf_equal(secret_bytes(a), secret_bytes(b), secret_len(a));
}

bool s3_credentials_equal(const struct s3_credentials *a, const struct s3_credentials *b)
{
	return !strcmp(a->key_id, b->key_id) && same(a->secret, b->secret) &&
	       same(a->token, b->token);
}

/* Values end up in header fields: nothing but visible characters. */
static bool visible(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return len > 0 && len <= VALUE_MAX;
}

static int set_secret(struct secret **out, const char *s, size_t len)
{
	if (*out || !visible(s, len))
		return -EUCLEAN;
	*out = secret_new(len);
	if (!*out)
		return -ENOMEM;
	memcpy(secret_bytes(*out), s, len);
	return 0;
}

/* A slash or comma would end the key's name in the Authorization field. */
static int set_key_id(struct s3_credentials *c, const char *s, size_t len)
{
	if (*c->key_id || !visible(s, len) || len > S3_KEY_ID_MAX || memchr(s, '/', len) ||
	    memchr(s, ',', len))
		return -EUCLEAN;
	memcpy(c->key_id, s, len);
	c->key_id[len] = 0;
	return 0;
}

/* --- the file --- */

static void trim(const char **s, size_t *len)
{
	while (*len && (**s == ' ' || **s == '\t')) {
		++*s;
		--*len;
	}
	while (*len && strchr(" \t\r", (*s)[*len - 1]))
		--*len;
}

static bool is(const char *s, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(s, word, len);
}

static int on_pair(struct s3_credentials *c, const char *s, size_t len)
{
	const char *eq = memchr(s, '=', len), *value;
	size_t key_len, value_len;

	if (!eq)
		return -EUCLEAN;
	key_len = (size_t)(eq - s);
	value = eq + 1;
	value_len = len - key_len - 1;
	trim(&s, &key_len);
	trim(&value, &value_len);
	if (is(s, key_len, "aws_access_key_id"))
		return set_key_id(c, value, value_len);
	if (is(s, key_len, "aws_secret_access_key"))
		return set_secret(&c->secret, value, value_len);
	if (is(s, key_len, "aws_session_token"))
		return set_secret(&c->token, value, value_len);
	return 0; /* the AWS tools have settings of their own here */
}

/* Continued lines (settings nested below one of the others) begin with white space. */
static int on_line(struct s3_credentials *c, const char *profile, bool *inside, const char *s,
		   size_t len)
{
	bool nested = len && (*s == ' ' || *s == '\t');

	trim(&s, &len);
	if (len == 0 || *s == '#' || *s == ';' || nested)
		return 0;
	if (*s != '[')
		return *inside ? on_pair(c, s, len) : 0;
	if (s[len - 1] != ']')
		return -EUCLEAN;
	s++;
	len -= 2;
	trim(&s, &len);
	*inside = is(s, len, profile);
	return 0;
}

int s3_credentials_parse(const char *text, size_t len, const char *profile,
			 struct s3_credentials *ret)
{
	struct s3_credentials c = {0};
	bool inside = false;
	int err = memchr(text, 0, len) ? -EUCLEAN : 0;

	while (err == 0 && len) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl ? (size_t)(nl - text) : len;

		err = on_line(&c, profile, &inside, text, n);
		n += nl != NULL;
		text += n;
		len -= n;
	}
	if (err == 0 && !*c.key_id && !c.secret)
		err = -ENOKEY;
	else if (err == 0 && (!*c.key_id || !c.secret))
		err = -EUCLEAN;
	if (err) {
		s3_credentials_free(&c);
		return err;
	}
	*ret = c;
	return 0;
}

/* Into guarded memory at once: no buffer of stdio or of a parser keeps a copy. */
static int read_file(const char *path, struct secret **ret, size_t *ret_len)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX_LEN)
		return -EUCLEAN;
	if (st.st_mode & S_IROTH)
		return -EPERM;
	CLEANUP_SECRET struct secret *s = secret_new((size_t)st.st_size + 1);
	if (!s)
		return -ENOMEM;
	int err = durable_pread(fd, secret_bytes(s), (size_t)st.st_size, 0);
	if (err)
		return err;
	*ret_len = (size_t)st.st_size;
	*ret = STEAL_PTR(s);
	return 0;
}

static int from_file(const char *path, const char *profile, struct s3_credentials *ret,
		     const char **ret_why)
{
	CLEANUP_SECRET struct secret *text = NULL;
	size_t len = 0;
	int err = read_file(path, &text, &len);

	if (err == 0)
		err = s3_credentials_parse((const char *)secret_bytes(text), len, profile, ret);
	if (err == -ENOENT)
		err = -ENOKEY;
	*ret_why = err == -ENOKEY  ? "no credentials: set AWS_ACCESS_KEY_ID and "
				     "AWS_SECRET_ACCESS_KEY, or the profile in "
				     "~/.aws/credentials"
		   : err == -EPERM ? "others may read the credentials file: chmod 600"
				   : "the credentials file is unreadable or malformed";
	return err;
}

/* --- the environment --- */

/* Empty counts as unset. */
static const char *setting(const char *name)
{
	const char *s = secure_getenv(name);

	return s && *s ? s : NULL;
}

static int from_environment(const char *id, const char *secret, struct s3_credentials *ret)
{
	const char *token = setting("AWS_SESSION_TOKEN");
	struct s3_credentials c = {0};
	int err = set_key_id(&c, id, strlen(id));

	if (err == 0)
		err = set_secret(&c.secret, secret, strlen(secret));
	if (err == 0 && token)
		err = set_secret(&c.token, token, strlen(token));
	if (err) {
		s3_credentials_free(&c);
		return err;
	}
	*ret = c;
	return 0;
}

int s3_credentials_load(struct s3_credentials *ret, const char **ret_why)
{
	const char *id = setting("AWS_ACCESS_KEY_ID"), *secret = setting("AWS_SECRET_ACCESS_KEY");
	const char *file = setting("AWS_SHARED_CREDENTIALS_FILE"), *home = setting("HOME");
	const char *profile = setting("AWS_PROFILE");
	char path[PATH_MAX];

	if (id || secret) {
		*ret_why =
		    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: both, and of visible characters";
		return id && secret ? from_environment(id, secret, ret) : -EUCLEAN;
	}
	if (!file) {
		if (snprintf(path, sizeof(path), "%s/.aws/credentials", home ? home : "/root") >=
		    (int)sizeof(path))
			path[0] = 0;
		file = path;
	}
	return from_file(file, profile ? profile : "default", ret, ret_why);
}
