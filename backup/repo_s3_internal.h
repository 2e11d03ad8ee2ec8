/*
 * Inside the S3 back end.
 *
 *   repo_s3.c              the table of operations: read, size, remove, open
 *   repo_s3_put.c          uploads, simple and in parts, and what is known after a lost answer
 *   repo_s3_list.c         ListObjectsV2
 *   repo_s3_request.c      a request made ready: address, signature, header lines
 *   repo_s3_http.c         one request over libcurl
 *   repo_s3_retry.c        what came of it, and when to try again
 *   repo_s3_sign.c         Signature Version 4
 *   repo_s3_xml.c          the little XML that answers hold
 *   repo_s3_credentials.c  keys from the environment and the shared credentials file
 *   repo_s3_url.c          repository URLs and endpoints
 *
 * What the server says is not trusted: every length, range and name is checked and every body has a
 * cap. What it stores is sealed and signed anyway, so that a lying server can only refuse service,
 * never pass something off.
 *
 * Thread-safe: a request takes a connection of its own out of a pool; struct s3's lock guards the
 * pool, the credentials and what has been learned about the server, and is never held during a
 * request.
 */
#ifndef COFFER_BACKUP_REPO_S3_INTERNAL_H
#define COFFER_BACKUP_REPO_S3_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backup/repo_internal.h"
#include "core/bytes.h"
#include "core/secret.h"

#define S3_HOST_MAX 270 /* a name, a colon and a port */
#define S3_BUCKET_MAX 63
#define S3_PREFIX_MAX 512
#define S3_REGION_MAX 63
#define S3_ETAG_MAX 127
#define S3_KEY_ID_MAX 128
#define S3_TOKEN_LEN 32
#define S3_FIELDS_MAX 10
#define S3_POOL 8

/* --- where --- */

struct s3_place {
	bool tls;
	char host[S3_HOST_MAX + 1]; /* as in the Host field */
	char bucket[S3_BUCKET_MAX + 1];
	char prefix[S3_PREFIX_MAX + 1]; /* empty, or ends in '/' */
	char region[S3_REGION_MAX + 1];
};

/* What the environment says; NULL where it says nothing. */
struct s3_environment {
	const char *endpoint, *region;
};

/* -EINVAL, and why in ret_why. */
int s3_url_parse(const char *url, const struct s3_environment *env, struct s3_place *ret,
		 const char **ret_why);

/* --- credentials --- */

struct s3_credentials {
	char key_id[S3_KEY_ID_MAX + 1];
	struct secret *secret;
	struct secret *token; /* NULL: not temporary ones */
};

void s3_credentials_free(struct s3_credentials *c);
bool s3_credentials_equal(const struct s3_credentials *a, const struct s3_credentials *b);
/*
 * From AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, else from the profile
 * AWS_PROFILE ("default") of AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials). -ENOKEY when there
 * are none, -EPERM when others may read the file, -EUCLEAN when it is malformed; why in ret_why.
 */
int s3_credentials_load(struct s3_credentials *ret, const char **ret_why);
int s3_credentials_parse(const char *text, size_t len, const char *profile,
			 struct s3_credentials *ret);

/* --- signing --- */

struct s3_field {
	const char *name; /* lower case */
	const char *value;
};

struct s3_signing {
	const char *method, *path;     /* path: encoded */
	const char *query;             /* encoded, sorted by name */
	const struct s3_field *fields; /* sorted by name; all are signed */
	size_t n_fields;
	const char *payload_hex;    /* SHA-256 of the body */
	const char *region, *stamp; /* stamp: 20130524T000000Z */
	const char *key_id;
	const uint8_t *secret;
	size_t secret_len;
};

/* The value of the Authorization field; caller frees. -ENOMEM, -EINVAL. */
int s3_sign(const struct s3_signing *in, char **ret);
/* Percent-encodes what is not unreserved (RFC 3986); a slash stays unless encode_slash. */
void s3_encode(struct bytes_w *w, const char *s, bool encode_slash);

/* --- XML --- */

/*
 * Called for every element without children, in order: its path ("ListBucketResult/Contents/Key")
 * and its text, entities decoded. A result other than 0 ends the walk and is returned.
 */
typedef int s3_xml_fn(void *arg, const char *path, const char *text, size_t len);
/* One element, without document type, comments, sections or instructions; else -EUCLEAN. */
int s3_xml_walk(const void *p, size_t len, s3_xml_fn *fn, void *arg);

/* --- requests --- */

/* How patient; all in one place, so that tests need not be. */
struct s3_tuning {
	unsigned tries;
	unsigned backoff_ms;         /* before the second try, doubled for each further one .. */
	unsigned backoff_max_ms;     /* .. up to this */
	unsigned connect_s, stall_s; /* to connect; without a byte moving */
	size_t single_max, part_len; /* above it in parts; of which size at least */
	unsigned list_page;          /* names asked for at once */
};
extern const struct s3_tuning s3_tuning_default;

struct s3 {
	struct s3_place place;
	struct s3_tuning tuning;
	char *ca; /* file of certificates; NULL: the system's */
	pthread_mutex_t lock;
	struct s3_credentials credentials; /* lock */
	void *idle[S3_POOL];               /* lock: connections, between requests */
	size_t n_idle;                     /* lock */
	bool no_conditions;                /* lock: the server refuses If-None-Match */
	bool unreachable; /* lock: all tries have failed, and nothing has come since */
};

struct s3_request {
	const char *method;
	const char *key;   /* below the prefix; NULL: the bucket */
	const char *query; /* encoded and sorted; NULL: none */
	const void *body;
	size_t body_len;
	struct s3_field fields[S3_FIELDS_MAX]; /* besides those that every request has */
	size_t n_fields;
	/* Where the body of a success goes: exactly into_len bytes of a 206 that begins at into_off
	 * .. */
	uint8_t *into;
	size_t into_len;
	uint64_t into_off;
	/* .. or a text of at most text_max bytes. */
	struct bytes_w *text;
	size_t text_max;
};

struct s3_reply {
	long status;   /* 0: none came */
	char code[64]; /* of an error: "NoSuchKey" */
	char etag[S3_ETAG_MAX + 1];
	char token[S3_TOKEN_LEN + 1]; /* s3_put_object's mark; empty when there is none */
	uint64_t length;              /* UINT64_MAX: not told */
	bool ranged;
	uint64_t range_first, range_total;
	size_t got; /* bytes in into that count */
	long retry_after_s;
};

/* A request made ready: address, fields and signature. Zero-initialise; s3_prepared_free. */
struct curl_slist;
struct s3_prepared {
	char *url;
	char stamp[17], payload[65];
	struct s3_field fields[S3_FIELDS_MAX + 4]; /* sorted */
	size_t n_fields;
	struct secret *token; /* with its end */
	char *authorization;
	struct curl_slist *lines;
};
int s3_prepare(struct s3 *s, const struct s3_request *rq, struct s3_prepared *p);
void s3_prepared_free(struct s3_prepared *p);

void s3_request_field(struct s3_request *rq, const char *name, const char *value);
/* One try. 0 once a whole answer of any status has come; else -errno: nothing is known about what
 * the server did. */
int s3_attempt(struct s3 *s, const struct s3_request *rq, struct s3_reply *re);
/* What err and the answer amount to: 0 for a success. */
int s3_outcome(int err, const struct s3_reply *re);
bool s3_transient(int err, const struct s3_reply *re);
/* Whether to try again, after having waited. *tries counts from 0. */
bool s3_again(struct s3 *s, unsigned *tries, int err, const struct s3_reply *re);
/* Tries until it has an answer that counts; for what may be done twice. */
int s3_perform(struct s3 *s, const struct s3_request *rq, struct s3_reply *re);
/* Waits as before the try with this number. */
void s3_wait(const struct s3 *s, unsigned tries, long at_least_s);
void s3_pool_drain(struct s3 *s);

/* --- operations --- */

int s3_head(struct s3 *s, const char *name, struct s3_reply *re);
int s3_put_object(struct s3 *s, const char *name, const void *p, size_t len, bool exclusive);
int s3_list(struct s3 *s, const char *prefix, char ***ret, size_t *ret_n);

/* As repo_s3_open, with another patience. */
int s3_open(const char *url, const struct s3_tuning *t, const struct repo_ops **ret_ops,
	    void **ret_self, struct diag *d);

#endif
