/*
 * A repository in an S3 bucket (AWS, Ceph RGW, MinIO): the table of operations. Parts and rules:
 * repo_s3_internal.h.
 *
 * The bucket must be there; coffer neither makes nor configures one. Addresses are path-style.
 */
#include "backup/repo_s3_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"

/* A read that got this far begins to count its tries anew: long reads over bad lines end, endless
 * ones too. */
#define PROGRESS (1u << 20)

int s3_head(struct s3 *s, const char *name, struct s3_reply *re)
{
	struct s3_request rq = {.method = "HEAD", .key = name};
	int err = s3_perform(s, &rq, re);

	return err ? err : re->length == UINT64_MAX ? -EPROTO : 0;
}

static int put(void *self, const char *name, const void *p, size_t len, bool exclusive)
{
	return s3_put_object(self, name, p, len, exclusive);
}

static int size(void *self, const char *name, uint64_t *ret)
{
	struct s3_reply re;
	int err = s3_head(self, name, &re);

	if (err == 0)
		*ret = re.length;
	return err;
}

static int remove_object(void *self, const char *name)
{
	struct s3_request rq = {.method = "DELETE", .key = name};
	struct s3_reply re;

	return s3_perform(self, &rq, &re);
}

static int list(void *self, const char *prefix, char ***ret, size_t *ret_n)
{
	return s3_list(self, prefix, ret, ret_n);
}

/* --- reading --- */

struct reading {
	struct s3 *s;
	const char *name;
	uint64_t off;
	uint8_t *p;
	size_t len, got;
	char etag[S3_ETAG_MAX + 1]; /* of the object that the first bytes came from */
	bool short_object;
};

/* Asks for what is still missing, of the same object as before. */
static int read_on(struct reading *r, struct s3_reply *re)
{
	uint64_t off = r->off + r->got;
	char range[64];

	snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, off, r->off + r->len - 1);
	struct s3_request rq = {.method = "GET",
				.key = r->name,
				.into = r->p + r->got,
				.into_len = r->len - r->got,
				.into_off = off};
	s3_request_field(&rq, "range", range);
	if (r->got && *r->etag)
		s3_request_field(&rq, "if-match", r->etag);
	int err = s3_attempt(r->s, &rq, re);
	r->got += re->got;
	if (re->got)
		memcpy(r->etag, re->etag, sizeof(r->etag));
	uint64_t total = re->ranged ? re->range_total : re->status == 200 ? re->length : UINT64_MAX;
	r->short_object = re->status / 100 == 2 && total < r->off + r->len;
	return err;
}

static int read_object(void *self, const char *name, uint64_t off, void *p, size_t len)
{
	struct reading r = {.s = self, .name = name, .off = off, .p = p, .len = len};
	unsigned tries = 0;
	uint64_t ignored;
	size_t last = 0;
	struct s3_reply re;

	if (len == 0)
		return size(self, name, &ignored);
	if (off > INT64_MAX || len > INT64_MAX - off)
		return -ENODATA;
	for (;;) {
		int err = read_on(&r, &re);
		if (r.got == len)
			return 0;
		if (r.short_object)
			return -ENODATA;
		if (err == 0 &&
		    re.status == 412) { /* replaced meanwhile: from the beginning, of the new one */
			r.got = last = 0;
			err = -ECONNRESET;
		} else if (err == 0 && re.status / 100 ==
					   2) { /* less than it promised, or than was asked for */
			err = -ECONNRESET;
		}
		if (r.got - last >= PROGRESS) {
			last = r.got;
			tries = 0;
		}
		if (!s3_again(r.s, &tries, err, &re))
			return s3_outcome(err, &re);
	}
}

/* --- opening --- */

static void close_s3(void *self)
{
	struct s3 *s = self;

	s3_pool_drain(s);
	s3_credentials_free(&s->credentials);
	pthread_mutex_destroy(&s->lock);
	free(s->ca);
	free(s);
}

static const struct repo_ops s3_ops = {
    .put = put,
    .read = read_object,
    .size = size,
    .remove = remove_object,
    .list = list,
    .close = close_s3,
};

static const char *first_set(const char *const *names)
{
	for (; *names; names++) {
		const char *v = secure_getenv(*names);
		if (v && *v)
			return v;
	}
	return NULL;
}

static int find_place(struct s3 *s, const char *url, const char **ret_why)
{
	static const char *const endpoints[] = {"COFFER_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3",
						"AWS_ENDPOINT_URL", NULL};
	static const char *const regions[] = {"AWS_REGION", "AWS_DEFAULT_REGION", NULL};
	static const char *const bundles[] = {"AWS_CA_BUNDLE", NULL};
	const struct s3_environment env = {first_set(endpoints), first_set(regions)};
	const char *ca = first_set(bundles);
	int err = s3_url_parse(url, &env, &s->place, ret_why);

	if (err || !ca || !s->place.tls)
		return err;
	*ret_why = "AWS_CA_BUNDLE names no readable file";
	if (access(ca, R_OK) != 0)
		return -errno;
	s->ca = strdup(ca);
	return s->ca ? 0 : -ENOMEM;
}

/* Asked once, so that a wrong name, key or region is told as that and not as a missing object
 * later. */
static int check_bucket(struct s3 *s, const char **ret_why)
{
	struct s3_request rq = {.method = "HEAD"};
	struct s3_reply re;
	int err = s3_perform(s, &rq, &re);

	*ret_why = err == -ENOENT   ? "the server has no such bucket"
		   : err == -EACCES ? "the server refuses these credentials for the bucket"
		   : err == -EREMCHG
		       ? "the bucket is in another region (AWS_REGION) or at another endpoint"
		   : err == -EKEYREJECTED
		       ? "the server's certificate is not trusted (AWS_CA_BUNDLE)"
		       : "the server does not answer as it should";
	return err;
}

int s3_open(const char *url, const struct s3_tuning *t, const struct repo_ops **ret_ops,
	    void **ret_self, struct diag *d)
{
	struct s3 *s = calloc(1, sizeof(*s));
	const char *why;

	if (!s)
		return diag_fail_errno(d, -ENOMEM, "%s", url);
	s->tuning = *t;
	pthread_mutex_init(&s->lock, NULL);
	int err = find_place(s, url, &why);
	if (err == 0)
		err = s3_credentials_load(&s->credentials, &why);
	if (err == 0)
		err = check_bucket(s, &why);
	if (err) {
		close_s3(s);
		return diag_fail(d, DIAG_NO_REPOSITORY, err, "%s: %s", url, why);
	}
	*ret_ops = &s3_ops;
	*ret_self = s;
	return 0;
}

int repo_s3_open(const char *url, const struct repo_ops **ret_ops, void **ret_self, struct diag *d)
{
	return s3_open(url, &s3_tuning_default, ret_ops, ret_self, d);
}
