/*
 * A request made ready for libcurl: its address, its signature, its header lines. The session
 * token, the one secret among the lines, is wiped with them.
 */
#include "backup/repo_s3_internal.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/kdf.h"

void s3_request_field(struct s3_request *rq, const char *name, const char *value)
{
	if (rq->n_fields < S3_FIELDS_MAX)
		rq->fields[rq->n_fields++] = (struct s3_field){name, value};
}

static void lines_free(struct curl_slist *l)
{
	for (struct curl_slist *i = l; i; i = i->next)
		secret_wipe(i->data, strlen(i->data)); /* one of them may hold the session token */
	curl_slist_free_all(l);
}

void s3_prepared_free(struct s3_prepared *p)
{
	lines_free(p->lines);
	secret_free(p->token);
	free(p->authorization);
	free(p->url);
}

/* Kept sorted by name, as the signature wants them. */
static void add_field(struct s3_prepared *p, const char *name, const char *value)
{
	size_t i = p->n_fields++;

	for (; i && strcmp(p->fields[i - 1].name, name) > 0; i--)
		p->fields[i] = p->fields[i - 1];
	p->fields[i] = (struct s3_field){name, value};
}

/* The URL in text; *ret_path_off is where its path begins, *ret_path_end where it ends. */
static int build_url(struct s3 *s, const struct s3_request *rq, struct bytes_w *w,
		     size_t *ret_path_off, size_t *ret_path_end)
{
	const char *scheme = s->place.tls ? "https://" : "http://";

	bytes_w_raw(w, scheme, strlen(scheme));
	bytes_w_raw(w, s->place.host, strlen(s->place.host));
	*ret_path_off = w->len;
	bytes_w_u8(w, '/');
	s3_encode(w, s->place.bucket, true);
	if (rq->key) {
		bytes_w_u8(w, '/');
		s3_encode(w, s->place.prefix, false);
		s3_encode(w, rq->key, false);
	}
	*ret_path_end = w->len;
	if (rq->query) {
		bytes_w_u8(w, '?');
		bytes_w_raw(w, rq->query, strlen(rq->query));
	}
	bytes_w_u8(w, 0);
	return w->err;
}

static int sign(struct s3 *s, const struct s3_request *rq, struct s3_prepared *p, const char *path)
{
	struct s3_credentials *c = &s->credentials;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (c->token) {
		p->token = secret_new(secret_len(c->token) + 1);
		if (p->token) {
			memcpy(secret_bytes(p->token), secret_bytes(c->token),
			       secret_len(c->token));
			add_field(p, "x-amz-security-token", (const char *)secret_bytes(p->token));
		} else {
			err = -ENOMEM;
		}
	}
	struct s3_signing in = {.method = rq->method,
				.path = path,
				.query = rq->query ? rq->query : "",
				.fields = p->fields,
				.n_fields = p->n_fields,
				.payload_hex = p->payload,
				.region = s->place.region,
				.stamp = p->stamp,
				.key_id = c->key_id,
				.secret = secret_bytes(c->secret),
				.secret_len = secret_len(c->secret)};
	if (err == 0)
		err = s3_sign(&in, &p->authorization);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static int add_line(struct s3_prepared *p, const char *name, const char *value)
{
	size_t n = strlen(name) + strlen(value) + 3;
	CLEANUP_FREE char *line = malloc(n);

	if (!line)
		return -ENOMEM;
	snprintf(line, n, "%s: %s", name, value);
	struct curl_slist *more = curl_slist_append(p->lines, line);
	secret_wipe(line, n);
	if (!more)
		return -ENOMEM;
	p->lines = more;
	return 0;
}

static int add_lines(struct s3_prepared *p)
{
	int err = add_line(p, "authorization", p->authorization);

	for (size_t i = 0; err == 0 && i < p->n_fields; i++)
		err = add_line(p, p->fields[i].name, p->fields[i].value);
	/* No waiting for permission to send: servers that do not know it cost a second each time.
	 */
	if (err == 0) {
		struct curl_slist *more = curl_slist_append(p->lines, "Expect:");
		err = more ? 0 : -ENOMEM;
		p->lines = more ? more : p->lines;
	}
	return err;
}

int s3_prepare(struct s3 *s, const struct s3_request *rq, struct s3_prepared *p)
{
	CLEANUP_BYTES struct bytes_w url = {0};
	CLEANUP_FREE char *path = NULL;
	size_t off, end;
	uint8_t hash[32];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(p->stamp, sizeof(p->stamp), "%Y%m%dT%H%M%SZ", &tm);
	kdf_sha256(hash, rq->body ? rq->body : "", rq->body_len);
	bytes_hex(p->payload, hash, sizeof(hash));
	for (size_t i = 0; i < rq->n_fields; i++)
		add_field(p, rq->fields[i].name, rq->fields[i].value);
	add_field(p, "host", s->place.host);
	add_field(p, "x-amz-content-sha256", p->payload);
	add_field(p, "x-amz-date", p->stamp);
	int err = build_url(s, rq, &url, &off, &end);
	if (err)
		return err;
	path = strndup((const char *)url.buf + off, end - off);
	p->url = (char *)STEAL_PTR(url.buf);
	err = path ? sign(s, rq, p, path) : -ENOMEM;
	return err ? err : add_lines(p);
}
