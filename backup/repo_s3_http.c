/*
 * One request over libcurl.
 *
 * An attempt ends in one of two ways: a whole answer came, whatever its status; or none did, and
 * then nothing is known about what the server did with the request. Trying again is
 * repo_s3_retry.c's.
 */
#include "backup/repo_s3_internal.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ERROR_TEXT_MAX (64u << 10)
#define IGNORED_MAX (1u << 20)
#define RETRY_AFTER_MAX_S 20
#define SLOW_BYTES_S 128L
#define RECEIVE_BUFFER (256L << 10)

const struct s3_tuning s3_tuning_default = {
    .tries = 6,
    .backoff_ms = 250,
    .backoff_max_ms = 8000,
    .connect_s = 10,
    .stall_s = 60,
    .single_max = 16u << 20,
    .part_len = 16u << 20,
    .list_page = 1000,
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
	/* Fails only without memory; curl_easy_init then fails as well, and is checked. */
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- connections --- */

static CURL *connection_take(struct s3 *s)
{
	CURL *c = NULL;

	pthread_once(&curl_once, curl_start);
	pthread_mutex_lock(&s->lock);
	if (s->n_idle)
		c = s->idle[--s->n_idle];
	pthread_mutex_unlock(&s->lock);
	return c ? c : curl_easy_init();
}

/* Also forgets the request: no field of it stays behind. */
static void connection_give(struct s3 *s, CURL *c)
{
	curl_easy_reset(c);
	pthread_mutex_lock(&s->lock);
	if (s->n_idle < S3_POOL) {
		s->idle[s->n_idle++] = c;
		c = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	if (c)
		curl_easy_cleanup(c);
}

void s3_pool_drain(struct s3 *s)
{
	while (s->n_idle)
		curl_easy_cleanup(s->idle[--s->n_idle]);
}

/* --- the answer --- */

struct call {
	CURL *curl;
	const struct s3_request *rq;
	struct s3_reply *re;
	struct bytes_w error_text;
	size_t sent, ignored;
	bool header; /* has ended: libcurl takes one that was cut off for whole */
	bool enough; /* all that was asked for is there, and more came */
	int err;     /* why the transfer was given up */
};

static bool is_field(const char *line, size_t len, const char *name, const char **ret_value,
		     size_t *ret_len)
{
	size_t n = strlen(name);

	if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	for (n++; n < len && (line[n] == ' ' || line[n] == '\t'); n++)
		;
	while (len > n && strchr(" \t\r\n", line[len - 1]))
		len--;
	*ret_value = line + n;
	*ret_len = len - n;
	return true;
}

/* Visible characters that mean nothing in XML, since a part's tag is sent back in it; else nothing
 * is kept. */
static void keep(char *out, size_t max, const char *s, size_t len)
{
	*out = 0;
	if (len > max)
		return;
	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] > '~' || strchr("<>&", s[i]))
			return;
	memcpy(out, s, len);
	out[len] = 0;
}

/* "bytes 0-9/443" */
static void keep_range(struct s3_reply *re, const char *s, size_t len)
{
	unsigned long long first, last, total;
	char text[96], end;

	if (len >= sizeof(text))
		return;
	memcpy(text, s, len);
	text[len] = 0;
	if (sscanf(text, "bytes %20llu-%20llu/%20llu%c", &first, &last, &total, &end) != 3 ||
	    first > last || last >= total)
		return;
	re->ranged = true;
	re->range_first = first;
	re->range_total = total;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	const char *value;
	size_t len;

	(void)size;                                /* always 1 */
	if (n >= 5 && !memcmp(line, "HTTP/", 5)) { /* an answer after an interim one */
		*c->re->etag = 0;
		*c->re->token = 0;
		c->re->ranged = false;
		c->header = false;
	} else if (n <= 2) {
		c->header = true;
	} else if (is_field(line, n, "ETag", &value, &len)) {
		keep(c->re->etag, S3_ETAG_MAX, value, len);
	} else if (is_field(line, n, "x-amz-meta-coffer-put", &value, &len)) {
		keep(c->re->token, S3_TOKEN_LEN, value, len);
	} else if (is_field(line, n, "Content-Range", &value, &len)) {
		keep_range(c->re, value, len);
	}
	return n;
}

static size_t give_up(struct call *c, int err)
{
	c->err = err;
	return 0;
}

/* A 200 in place of a 206 is the object from its beginning. */
static size_t take_bytes(struct call *c, const char *p, size_t n, long status)
{
	const struct s3_request *rq = c->rq;
	uint64_t first = c->re->ranged ? c->re->range_first : 0;

	if ((status == 206 && !c->re->ranged) || first != rq->into_off)
		return give_up(c, -EPROTO);
	size_t room = rq->into_len - c->re->got, take = n < room ? n : room;
	memcpy(rq->into + c->re->got, p, take);
	c->re->got += take;
	if (take == n)
		return n;
	c->enough = true;
	return 0;
}

/* What nobody asked for; without end only from a server that means harm. */
static size_t ignore(struct call *c, size_t n)
{
	c->ignored += n;
	return c->ignored > IGNORED_MAX ? give_up(c, -EPROTO) : n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	struct bytes_w *text = c->rq->text;
	size_t max = c->rq->text_max;
	long status = 0;

	(void)size; /* always 1 */
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status / 100 == 2 && c->rq->into)
		return take_bytes(c, p, n, status);
	if (status / 100 != 2) {
		text = &c->error_text;
		max = ERROR_TEXT_MAX;
		if (n > max - text->len)
			return ignore(c, n);
	}
	if (!text)
		return ignore(c, n);
	if (n > max - text->len)
		return give_up(c, -EFBIG);
	bytes_w_raw(text, p, n);
	return text->err ? give_up(c, text->err) : n;
}

static size_t on_send(char *out, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t left = c->rq->body_len - c->sent;

	n *= size;
	if (n > left)
		n = left;
	if (n)
		memcpy(out, (const char *)c->rq->body + c->sent, n);
	c->sent += n;
	return n;
}

/* libcurl begins again when a connection it kept turns out dead. */
static int on_seek(void *arg, curl_off_t off, int origin)
{
	struct call *c = arg;

	if (origin != SEEK_SET || off < 0 || (uint64_t)off > c->rq->body_len)
		return CURL_SEEKFUNC_FAIL;
	c->sent = (size_t)off;
	return CURL_SEEKFUNC_OK;
}

static int error_code(void *arg, const char *path, const char *text, size_t len)
{
	struct s3_reply *re = arg;

	if (!strcmp(path, "Error/Code"))
		keep(re->code, sizeof(re->code) - 1, text, len);
	return 0;
}

/*
 * A long operation (completing parts) may have its 200 on the way before it fails, and then says so
 * in the body (Amazon S3 API Reference, CompleteMultipartUpload).
 */
static void find_error(struct call *c)
{
	const struct bytes_w *t = c->re->status / 100 == 2 ? c->rq->text : &c->error_text;

	if (!t || !t->len)
		return;
	if (s3_xml_walk(t->buf, t->len, error_code, c->re) != 0)
		return; /* a proxy's page, or nothing: the status stands for itself */
	if (*c->re->code && c->re->status / 100 == 2)
		c->re->status = 500;
}

/* --- an attempt --- */

/* libcurl has no option that fails for these values but for want of memory, which the transfer then
 * reports. */
static void set_options(struct s3 *s, const struct s3_prepared *p, struct call *c)
{
	CURL *h = c->curl;
	bool sends = !strcmp(c->rq->method, "PUT") || !strcmp(c->rq->method, "POST");

	curl_easy_setopt(h, CURLOPT_URL, p->url);
	curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, s->place.tls ? "https" : "http");
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "coffer");
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, (long)s->tuning.connect_s);
	curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES_S);
	curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, (long)s->tuning.stall_s);
	curl_easy_setopt(h, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
	if (s->ca)
		curl_easy_setopt(h, CURLOPT_CAINFO, s->ca);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, p->lines);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, c);
	if (sends) {
		curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(h, CURLOPT_READFUNCTION, on_send);
		curl_easy_setopt(h, CURLOPT_READDATA, c);
		curl_easy_setopt(h, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(h, CURLOPT_SEEKDATA, c);
		curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)c->rq->body_len);
	}
	if (!strcmp(c->rq->method, "HEAD"))
		curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, c->rq->method);
}

static int transport_errno(CURL *h, CURLcode code)
{
	long os = 0;

	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(h, CURLINFO_OS_ERRNO, &os);
		return os == EHOSTUNREACH || os == ENETUNREACH || os == ETIMEDOUT ? -(int)os
										  : -ECONNREFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -EHOSTUNREACH;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_SEND_FAIL_REWIND:
	case CURLE_PARTIAL_FILE:
	case CURLE_SSL_CONNECT_ERROR:
		return -ECONNRESET;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return -EKEYREJECTED;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

/* TLS writes with write(2): a connection that is gone must not end the process, nor may a library
 * change its handlers. */
static CURLcode perform_without_sigpipe(CURL *h)
{
	static const struct timespec now = {0};
	sigset_t pipe_only, before, pending;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	bool was_pending = sigismember(&pending, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
	CURLcode code = curl_easy_perform(h);
	if (!was_pending)
		while (sigtimedwait(&pipe_only, NULL, &now) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return code;
}

static int transfer(struct s3 *s, const struct s3_prepared *p, struct call *c)
{
	curl_off_t length = -1, after = 0;

	set_options(s, p, c);
	CURLcode code = perform_without_sigpipe(c->curl);
	int err = c->enough ? 0 : c->err ? c->err : transport_errno(c->curl, code);
	if (err == 0 && !c->header)
		err = -ECONNRESET;
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->re->status);
	curl_easy_getinfo(c->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &after);
	c->re->length = length < 0 ? UINT64_MAX : (uint64_t)length;
	c->re->retry_after_s = after < 0                   ? 0
			       : after > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S
							   : (long)after;
	if (err == 0)
		find_error(c);
	return err;
}

int s3_attempt(struct s3 *s, const struct s3_request *rq, struct s3_reply *re)
{
	struct s3_prepared p = {0};
	struct call c = {.rq = rq, .re = re};
	int err;

	*re = (struct s3_reply){.length = UINT64_MAX};
	if (rq->text)
		bytes_w_reset(rq->text);
	c.curl = connection_take(s);
	err = c.curl ? s3_prepare(s, rq, &p) : -ENOMEM;
	if (err == 0)
		err = transfer(s, &p, &c);
	if (c.curl)
		connection_give(s, c.curl);
	bytes_w_free(&c.error_text);
	s3_prepared_free(&p);
	return err;
}
