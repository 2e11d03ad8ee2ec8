/*
 * A small S3 server in a thread on 127.0.0.1, which fails on purpose. One request a connection. It
 * checks every signature and every body's digest, and counts what was wrong; its faults hit the
 * request with a given number.
 */
#ifndef COFFER_TESTS_S3_SERVER_H
#define COFFER_TESTS_S3_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backup/repo_s3_internal.h"
#include "core/kdf.h"

#define SERVER_OBJECTS 64
#define SERVER_UPLOADS 16
#define SERVER_PARTS 16
#define SERVER_FIELDS 24

enum s3_fault {
	FAULT_NONE,
	FAULT_DROP_EARLY,  /* closes before it has read anything */
	FAULT_DROP_BEFORE, /* closes when it has read all, and does nothing */
	FAULT_DROP_AFTER,  /* does it, and closes without an answer */
	FAULT_CUT_HEADER,  /* does it, and cuts the answer's header */
	FAULT_CUT_BODY,    /* does it, and cuts the answer's body */
	FAULT_503,         /* refuses */
	FAULT_500_AFTER,   /* does it, and denies it */
	FAULT_N
};
enum s3_conditions { CONDITIONS_HONOURED, CONDITIONS_IGNORED, CONDITIONS_REFUSED };

struct served_object {
	char key[256], token[64];
	uint8_t *data;
	size_t len;
	unsigned version;
};

struct s3_server {
	int fd;
	unsigned port;
	pthread_t thread;
	pthread_mutex_t lock; /* for all below */
	struct served_object objects[SERVER_OBJECTS];
	struct {
		bool used;
		char key[256], token[64];
		struct served_object parts[SERVER_PARTS];
	} uploads[SERVER_UPLOADS];
	unsigned versions, requests, faults_hit, wrong; /* wrong: bad signatures and digests */
	enum s3_fault fault;
	unsigned fault_from, fault_times;
	enum s3_conditions conditions;
	bool halves;             /* stores the first half of what it is given */
	const char *race_key;    /* another's object appears here just before ours arrives */
	const char *replace_key; /* this object is replaced once a fault has hit */
	const char *listing;     /* answer to every listing */
	const char *key_id;      /* the only one it knows */
	const char *range;       /* answer to every range */
	unsigned page;
};

struct served {
	int fd;
	char method[8], path[600], query[4096], *header;
	struct s3_field fields[SERVER_FIELDS];
	size_t n_fields;
	uint8_t *body;
	size_t body_len;
	bool cut_header, cut_body, silent, deny;
};

static const char *served_field(const struct served *q, const char *name)
{
	for (size_t i = 0; i < q->n_fields; i++)
		if (!strcmp(q->fields[i].name, name))
			return q->fields[i].value;
	return NULL;
}

static bool served_header(struct served *q)
{
	size_t n = 0, cap = 16384;
	ssize_t r;
	char *end;

	q->header = calloc(1, cap);
	while (!(end = strstr(q->header, "\r\n\r\n"))) {
		r = n < cap - 1 ? recv(q->fd, q->header + n, 1, 0) : 0;
		if (r <= 0)
			return false;
		n++;
	}
	end[2] = 0;
	char *line = strstr(q->header, "\r\n"), *mark;
	*line = 0;
	if (sscanf(q->header, "%7s %599s", q->method, q->path) != 2)
		return false;
	mark = strchr(q->header, '?');
	if (mark)
		sscanf(mark + 1, "%4095s", q->query);
	q->path[strcspn(q->path, "?")] = 0;
	for (line += 2; *line && q->n_fields < SERVER_FIELDS; line = end + 2) {
		end = strstr(line, "\r\n");
		*end = 0;
		char *colon = strchr(line, ':');
		if (!colon)
			return false;
		*colon = 0;
		for (char *c = line; *c; c++)
			*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
		q->fields[q->n_fields++] =
		    (struct s3_field){line, colon + 1 + strspn(colon + 1, " ")};
	}
	return true;
}

static bool served_body(struct served *q)
{
	const char *len = served_field(q, "content-length");

	q->body_len = len ? strtoul(len, NULL, 10) : 0;
	q->body = malloc(q->body_len + 1);
	for (size_t n = 0; n < q->body_len;) {
		ssize_t r = recv(q->fd, q->body + n, q->body_len - n, 0);
		if (r <= 0)
			return false;
		n += (size_t)r;
	}
	q->body[q->body_len] = 0;
	return true;
}

static void served_reply(struct served *q, int status, const char *fields, const void *body,
			 size_t len)
{
	char head[2048];
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 %d Status\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n",
			 status, len, fields);

	if (q->silent)
		return;
	if (q->deny) {
		n = snprintf(
		    head, sizeof(head),
		    "HTTP/1.1 500 Status\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
		len = 0;
	}
	if (q->cut_header || (q->cut_body && (len == 0 || !strcmp(q->method, "HEAD")))) {
		n /= 2;
		len = 0;
	} else if (q->cut_body) {
		len /= 2;
	}
	send(q->fd, head, (size_t)n, MSG_NOSIGNAL);
	if (strcmp(q->method, "HEAD") != 0 && len)
		send(q->fd, body, len, MSG_NOSIGNAL);
}

static void served_error(struct served *q, int status, const char *code)
{
	char text[256];
	int n = snprintf(text, sizeof(text),
			 "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>%s</Code></Error>",
			 code);

	served_reply(q, status, "", text, (size_t)n);
}

/* What was signed is what arrived. */
static bool served_authentic(struct s3_server *s, const struct served *q)
{
	const char *auth = served_field(q, "authorization"), *names,
		   *payload = served_field(q, "x-amz-content-sha256");
	struct s3_field fields[SERVER_FIELDS];
	char list[512], hex[65], *expected, *save = NULL;
	uint8_t hash[32];
	size_t n = 0;

	kdf_sha256(hash, q->body, q->body_len);
	bytes_hex(hex, hash, 32);
	if (!auth || !payload || strcmp(payload, hex) != 0 ||
	    !(names = strstr(auth, "SignedHeaders=")))
		return false;
	snprintf(list, sizeof(list), "%.*s", (int)strcspn(names + 14, ","), names + 14);
	for (char *name = strtok_r(list, ";", &save); name; name = strtok_r(NULL, ";", &save)) {
		const char *v = served_field(q, name);
		if (!v || n == SERVER_FIELDS)
			return false;
		fields[n++] = (struct s3_field){name, v};
	}
	struct s3_signing in = {.method = q->method,
				.path = q->path,
				.query = q->query,
				.fields = fields,
				.n_fields = n,
				.payload_hex = payload,
				.region = "us-east-1",
				.stamp = served_field(q, "x-amz-date"),
				.key_id = s->key_id,
				.secret = (const uint8_t *)"server-secret",
				.secret_len = 13};
	if (!in.stamp || s3_sign(&in, &expected) != 0)
		return false;
	bool same = !strcmp(expected, auth);
	free(expected);
	return same;
}

static struct served_object *served_find(struct s3_server *s, const char *key, bool make)
{
	struct served_object *spare = NULL;

	for (size_t i = 0; i < SERVER_OBJECTS; i++) {
		if (*s->objects[i].key && !strcmp(s->objects[i].key, key))
			return &s->objects[i];
		if (!*s->objects[i].key && !spare)
			spare = &s->objects[i];
	}
	if (!make || !spare)
		return NULL;
	snprintf(spare->key, sizeof(spare->key), "%s", key);
	return spare;
}

static void served_store(struct s3_server *s, const char *key, const void *p, size_t len,
			 const char *token)
{
	struct served_object *o = served_find(s, key, true);

	if (s->halves)
		len /= 2;
	free(o->data);
	o->data = malloc(len + 1);
	memcpy(o->data, p, len);
	o->len = len;
	o->version = ++s->versions;
	snprintf(o->token, sizeof(o->token), "%s", token ? token : "");
}

static void served_forget(struct served_object *o)
{
	free(o->data);
	*o = (struct served_object){0};
}

/* Answers a failed precondition itself. */
static bool served_may_put(struct s3_server *s, struct served *q, const char *key)
{
	bool asked = served_field(q, "if-none-match") != NULL;

	if (s->race_key && !strcmp(s->race_key, key)) {
		s->race_key = NULL;
		served_store(s, key, "another's", 9, "0123456789abcdef0123456789abcdef");
	}
	if (asked && s->conditions == CONDITIONS_REFUSED) {
		served_error(q, 501, "NotImplemented");
		return false;
	}
	if (asked && s->conditions == CONDITIONS_HONOURED && served_find(s, key, false)) {
		served_error(q, 412, "PreconditionFailed");
		return false;
	}
	return true;
}

static void served_put(struct s3_server *s, struct served *q, const char *key)
{
	unsigned part, id;
	char etag[64];

	if (sscanf(q->query, "partNumber=%u&uploadId=u%u", &part, &id) == 2) {
		if (id >= SERVER_UPLOADS || !s->uploads[id].used || part >= SERVER_PARTS) {
			served_error(q, 404, "NoSuchUpload");
			return;
		}
		struct served_object *o = &s->uploads[id].parts[part];
		free(o->data);
		o->data = malloc(q->body_len + 1);
		memcpy(o->data, q->body, q->body_len);
		o->len = q->body_len;
		snprintf(etag, sizeof(etag), "ETag: \"part%u\"\r\n", part);
		served_reply(q, 200, etag, "", 0);
	} else if (served_may_put(s, q, key)) {
		served_store(s, key, q->body, q->body_len,
			     served_field(q, "x-amz-meta-coffer-put"));
		snprintf(etag, sizeof(etag), "ETag: \"v%u\"\r\n", s->versions);
		served_reply(q, 200, etag, "", 0);
	}
}

static void served_drop_upload(struct s3_server *s, unsigned id)
{
	for (size_t i = 0; i < SERVER_PARTS; i++)
		served_forget(&s->uploads[id].parts[i]);
	s->uploads[id].used = false;
}

static void served_complete(struct s3_server *s, struct served *q, const char *key, unsigned id)
{
	static const char done[] = "<CompleteMultipartUploadResult><ETag>&quot;x-2&quot;</ETag></"
				   "CompleteMultipartUploadResult>";
	CLEANUP_BYTES struct bytes_w whole = {0};
	char line[64];

	if (id >= SERVER_UPLOADS || !s->uploads[id].used) {
		served_error(q, 404, "NoSuchUpload");
		return;
	}
	if (!served_may_put(s, q, key))
		return;
	for (unsigned i = 1; i < SERVER_PARTS; i++) {
		snprintf(line, sizeof(line), "<PartNumber>%u</PartNumber><ETag>\"part%u\"</ETag>",
			 i, i);
		if (strstr((char *)q->body, line))
			bytes_w_raw(&whole, s->uploads[id].parts[i].data,
				    s->uploads[id].parts[i].len);
	}
	served_store(s, key, whole.buf, whole.len, s->uploads[id].token);
	served_drop_upload(s, id);
	served_reply(q, 200, "", done, sizeof(done) - 1);
}

static void served_post(struct s3_server *s, struct served *q, const char *key)
{
	unsigned id;
	char text[256];

	if (sscanf(q->query, "uploadId=u%u", &id) == 1) {
		served_complete(s, q, key, id);
		return;
	}
	for (id = 0; id < SERVER_UPLOADS && s->uploads[id].used; id++)
		;
	if (id == SERVER_UPLOADS) {
		served_error(q, 400, "TooManyUploads");
		return;
	}
	s->uploads[id].used = true;
	snprintf(s->uploads[id].token, 64, "%s", served_field(q, "x-amz-meta-coffer-put"));
	int n = snprintf(
	    text, sizeof(text),
	    "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
	    "<UploadId>u%u</UploadId></InitiateMultipartUploadResult>",
	    id);
	served_reply(q, 200, "", text, (size_t)n);
}

static void served_get(struct s3_server *s, struct served *q, const char *key)
{
	struct served_object *o = served_find(s, key, false);
	const char *range = served_field(q, "range"), *match = served_field(q, "if-match");
	size_t first = 0, last;
	char fields[400], etag[32];

	if (!o) {
		served_error(q, 404, "NoSuchKey");
		return;
	}
	snprintf(etag, sizeof(etag), "\"v%u\"", o->version);
	if (match && strcmp(match, etag) != 0) {
		served_error(q, 412, "PreconditionFailed");
		return;
	}
	int n =
	    snprintf(fields, sizeof(fields), "ETag: %s\r\n%s%s%s", etag,
		     *o->token ? "x-amz-meta-coffer-put: " : "", o->token, *o->token ? "\r\n" : "");
	if (!range) {
		served_reply(q, 200, fields, o->data, o->len);
		return;
	}
	if (sscanf(range, "bytes=%zu-%zu", &first, &last) != 2 || first >= o->len) {
		served_error(q, 416, "InvalidRange");
		return;
	}
	last = last < o->len ? last : o->len - 1;
	if (s->range)
		snprintf(fields + n, sizeof(fields) - (size_t)n, "Content-Range: %s\r\n", s->range);
	else
		snprintf(fields + n, sizeof(fields) - (size_t)n,
			 "Content-Range: bytes %zu-%zu/%zu\r\n", first, last, o->len);
	served_reply(q, 206, fields, o->data + first, last + 1 - first);
}

static int served_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void served_token(const char *name, char out[256])
{
	snprintf(out, 256, "%.255s", name);
	for (char *c = out; *c; c++)
		*c = *c == '/' ? '_' : *c;
}

/* The prefix of a listing's query, decoded; slashes are all that is encoded in it. */
static void served_prefix(const char *query, char out[256])
{
	const char *at = strstr(query, "&prefix=");
	size_t n = 0;

	for (at = at ? at + 8 : ""; *at && *at != '&' && n < 255; at++) {
		bool slash = !strncmp(at, "%2F", 3);

		out[n++] = slash ? '/' : *at;
		at += slash ? 2 : 0;
	}
	out[n] = 0;
}

/* Names and common prefixes together, in order, some of them twice. */
static size_t served_names(struct s3_server *s, const char *prefix, char names[][256])
{
	size_t n = 0, below = strlen(prefix);

	for (size_t i = 0; i < SERVER_OBJECTS; i++) {
		const char *key = s->objects[i].key, *slash;

		if (!*key || strncmp(key, prefix, below) != 0)
			continue;
		slash = strchr(key + below, '/');
		snprintf(names[n++], 256, "%.*s", slash ? (int)(slash - key) + 1 : 255, key);
	}
	qsort(names, n, 256, served_order);
	return n;
}

/* A page at a time; the continuation token is the last name given, its slashes escaped. */
static void served_list(struct s3_server *s, struct served *q)
{
	char names[SERVER_OBJECTS][256], prefix[256], token[256] = "", line[600];
	CLEANUP_BYTES struct bytes_w w = {0};
	size_t given = 0, i;

	served_prefix(q->query, prefix);
	sscanf(q->query, "continuation-token=%255[^&]", token);
	size_t n = served_names(s, prefix, names);
	bytes_w_raw(&w, "<ListBucketResult>", 18);
	for (i = 0; i < n && given < s->page; i++) {
		char mine[256];

		served_token(names[i], mine);
		if ((*token && strcmp(mine, token) <= 0) || (i && !strcmp(names[i], names[i - 1])))
			continue;
		given++;
		snprintf(line, sizeof(line),
			 mine[strlen(mine) - 1] == '_'
			     ? "<CommonPrefixes><Prefix>%.255s</Prefix></CommonPrefixes>"
			     : "<Contents><Key>%.255s</Key><Size>1</Size></Contents>",
			 names[i]);
		bytes_w_raw(&w, line, strlen(line));
	}
	while (i && i < n && !strcmp(names[i], names[i - 1]))
		i++;
	if (i < n) {
		served_token(names[i - 1], token);
		snprintf(line, sizeof(line),
			 "<NextContinuationToken>%.255s</NextContinuationToken>"
			 "<IsTruncated>true</IsTruncated></ListBucketResult>",
			 token);
	} else {
		snprintf(line, sizeof(line), "<IsTruncated>false</IsTruncated></ListBucketResult>");
	}
	bytes_w_raw(&w, line, strlen(line));
	served_reply(q, 200, "", w.buf, w.len);
}

static void served_do(struct s3_server *s, struct served *q)
{
	const char *key = strncmp(q->path, "/bucket", 7) ? NULL : q->path + 7;
	struct served_object *o;
	unsigned id;

	if (!served_authentic(s, q)) {
		s->wrong++;
		served_error(q, 403, "SignatureDoesNotMatch");
		return;
	}
	if (!key || (*key && *key != '/')) {
		served_error(q, 404, "NoSuchBucket");
	} else if (!*key) {
		if (!strcmp(q->method, "HEAD"))
			served_reply(q, 200, "", "", 0);
		else if (s->listing)
			served_reply(q, 200, "", s->listing, strlen(s->listing));
		else
			served_list(s, q);
	} else if (!strcmp(q->method, "PUT")) {
		served_put(s, q, key + 1);
	} else if (!strcmp(q->method, "POST")) {
		served_post(s, q, key + 1);
	} else if (!strcmp(q->method, "DELETE")) {
		if (sscanf(q->query, "uploadId=u%u", &id) == 1) {
			if (id < SERVER_UPLOADS)
				served_drop_upload(s, id);
		} else if ((o = served_find(s, key + 1, false))) {
			served_forget(o);
		}
		served_reply(q, 204, "", "", 0);
	} else {
		served_get(s, q, key + 1);
	}
}

static void served_connection(struct s3_server *s, int fd)
{
	struct served q = {.fd = fd};
	enum s3_fault f = FAULT_NONE;

	pthread_mutex_lock(&s->lock);
	s->requests++;
	if (s->requests >= s->fault_from && s->requests - s->fault_from < s->fault_times)
		f = s->fault;
	s->faults_hit += f != FAULT_NONE;
	if (f != FAULT_DROP_EARLY && served_header(&q) && served_body(&q) &&
	    f != FAULT_DROP_BEFORE) {
		q.silent = f == FAULT_DROP_AFTER;
		q.cut_header = f == FAULT_CUT_HEADER;
		q.cut_body = f == FAULT_CUT_BODY;
		q.deny = f == FAULT_500_AFTER;
		if (f == FAULT_503)
			served_error(&q, 503, "SlowDown");
		else
			served_do(s, &q);
	}
	if (f != FAULT_NONE && s->replace_key) {
		struct served_object *o = served_find(s, s->replace_key, false);
		memset(o->data, 'B', o->len);
		o->version = ++s->versions;
		s->replace_key = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	/* All that was sent shall arrive: unread input would make closing a reset. */
	shutdown(fd, SHUT_WR);
	for (char c[512]; f == FAULT_NONE && recv(fd, c, sizeof(c), 0) > 0;)
		;
	close(fd);
	free(q.header);
	free(q.body);
}

static void *served_thread(void *arg)
{
	struct s3_server *s = arg;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0)
		served_connection(s, fd);
	return NULL;
}

static void s3_server_start(struct s3_server *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	*s = (struct s3_server){.page = 1000, .key_id = "SERVERKEY"};
	pthread_mutex_init(&s->lock, NULL);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s->fd, 64), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
	s->port = ntohs(a.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, served_thread, s), 0);
}

static void s3_server_empty(struct s3_server *s)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < SERVER_OBJECTS; i++)
		served_forget(&s->objects[i]);
	for (unsigned i = 0; i < SERVER_UPLOADS; i++)
		served_drop_upload(s, i);
	pthread_mutex_unlock(&s->lock);
}

static void s3_server_stop(struct s3_server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	s3_server_empty(s);
	pthread_mutex_destroy(&s->lock);
}

#endif
