/*
 * Objects into S3, whole and once.
 *
 * An upload becomes visible in one request, its commit: the PUT itself, or the completion of its
 * parts. Every upload has a random token, stored with the object (x-amz-meta-coffer-put). It
 * settles what a lost answer leaves open:
 *
 *   commit's answer      object that stands there   then
 *   success              ours, of the right size    done
 *                        ours, of another size      looked at again; at last taken away: -EIO
 *   none, or transient   ours, of the right size    done: only the answer was lost
 *                        another's, exclusive       -EEXIST
 *                        none, or not exclusive     commit again
 *   precondition failed  ours                       done: an earlier try had arrived
 *                        another's                  -EEXIST
 *
 * Exclusive: a look first, then a commit with "If-None-Match: *", which servers that know it obey
 * in one step (AWS, Ceph RGW, MinIO). Those that ignore it are left with the look; those that
 * refuse it (501) are remembered, and not asked again.
 */
#include "backup/repo_s3_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/kdf.h"

#define RESULT_MAX (64u << 10)
#define UPLOAD_ID_MAX 1024
#define PARTS_MAX 10000
#define ABORT_TRIES 2

struct put {
	struct s3 *s;
	const char *name;
	size_t len;
	bool exclusive;
	char token[S3_TOKEN_LEN + 1];
};

enum standing { NOTHING, OURS, OURS_OTHER_SIZE, ANOTHERS };

static int look(const struct put *u, enum standing *ret)
{
	struct s3_reply re;
	int err = s3_head(u->s, u->name, &re);

	if (err && err != -ENOENT)
		return err;
	*ret = err                               ? NOTHING
	       : strcmp(re.token, u->token) != 0 ? ANOTHERS
	       : re.length != u->len             ? OURS_OTHER_SIZE
						 : OURS;
	return 0;
}

/* An object of the wrong size must not stand; what another writer put since is left alone. */
static int settle(const struct put *u)
{
	enum standing now = NOTHING;
	int err = 0;

	for (unsigned i = 0; i < u->s->tuning.tries; i++) {
		err = look(u, &now);
		if (err)
			return err;
		if (now == OURS || (now == ANOTHERS && !u->exclusive))
			return 0;
		if (now == ANOTHERS)
			return -EEXIST;
		s3_wait(u->s, i, 0);
	}
	if (now == OURS_OTHER_SIZE) {
		struct s3_request rq = {.method = "DELETE", .key = u->name};
		struct s3_reply re;
		s3_attempt(u->s, &rq, &re);
	}
	return -EIO;
}

/* After a commit whose fate is unknown. 1: it stands, 0: to be tried again; else -errno. */
static int fate(const struct put *u)
{
	enum standing now;
	int err = look(u, &now);

	if (err)
		return err;
	if (now == OURS)
		return 1;
	return now == ANOTHERS && u->exclusive ? -EEXIST : 0;
}

static bool conditions_refused(struct s3 *s, const struct s3_reply *re)
{
	if (re->status != 501 && strcmp(re->code, "NotImplemented") != 0)
		return false;
	pthread_mutex_lock(&s->lock);
	bool first = !s->no_conditions;
	s->no_conditions = true;
	pthread_mutex_unlock(&s->lock);
	return first;
}

static bool conditions_usable(struct s3 *s)
{
	pthread_mutex_lock(&s->lock);
	bool usable = !s->no_conditions;
	pthread_mutex_unlock(&s->lock);
	return usable;
}

/* base: the request without conditions. */
static int commit_once(const struct put *u, const struct s3_request *base, struct s3_reply *re)
{
	struct s3_request rq = *base;
	bool conditional = u->exclusive && conditions_usable(u->s);

	if (conditional)
		s3_request_field(&rq, "if-none-match", "*");
	int err = s3_attempt(u->s, &rq, re);
	if (err == 0 && conditional && conditions_refused(u->s, re))
		err = s3_attempt(u->s, base, re);
	return err;
}

static int commit(const struct put *u, const struct s3_request *base)
{
	unsigned tries = 0;
	struct s3_reply re;
	bool unsure = false;

	for (;;) {
		int err = commit_once(u, base, &re), outcome = s3_outcome(err, &re);
		if (outcome == 0)
			return settle(u);
		/* A completed upload is gone: the same question as after a lost answer. */
		if (unsure && (outcome == -EEXIST || outcome == -ENOENT)) {
			int known = fate(u);
			return known == 1 ? 0 : known ? known : settle(u);
		}
		if (!s3_again(u->s, &tries, err, &re))
			return outcome;
		unsure = true;
		int known = fate(u);
		if (known)
			return known == 1 ? 0 : known;
	}
}

/* --- in parts --- */

static int upload_id_of(void *arg, const char *path, const char *text, size_t len)
{
	char *id = arg;

	if (strcmp(path, "InitiateMultipartUploadResult/UploadId") != 0)
		return 0;
	if (*id || len == 0 || len > UPLOAD_ID_MAX || strlen(text) != len)
		return -EUCLEAN;
	memcpy(id, text, len + 1);
	return 0;
}

/* A lost answer leaves an upload without parts, which the bucket's life cycle takes away
 * (docs/operations.md "What the bucket needs"). */
static int begin_upload(const struct put *u, char ret_id[UPLOAD_ID_MAX + 1])
{
	CLEANUP_BYTES struct bytes_w text = {0};
	struct s3_request rq = {.method = "POST",
				.key = u->name,
				.query = "uploads=",
				.text = &text,
				.text_max = RESULT_MAX};
	struct s3_reply re;

	s3_request_field(&rq, "x-amz-meta-coffer-put", u->token);
	int err = s3_perform(u->s, &rq, &re);
	*ret_id = 0;
	if (err == 0)
		err = s3_xml_walk(text.buf, text.len, upload_id_of, ret_id);
	return err ? err : *ret_id ? 0 : -EUCLEAN;
}

static int query_of(const char *id, size_t part, struct bytes_w *ret)
{
	char number[40];

	snprintf(number, sizeof(number), "partNumber=%zu&", part);
	bytes_w_reset(ret);
	if (part)
		bytes_w_raw(ret, number, strlen(number));
	bytes_w_raw(ret, "uploadId=", 9);
	s3_encode(ret, id, true);
	bytes_w_u8(ret, 0);
	return ret->err;
}

static int put_part(const struct put *u, const char *id, size_t number, const uint8_t *p,
		    size_t len, struct bytes_w *list)
{
	CLEANUP_BYTES struct bytes_w query = {0};
	struct s3_reply re;
	char line[S3_ETAG_MAX + 100];
	int err = query_of(id, number, &query);

	if (err)
		return err;
	struct s3_request rq = {.method = "PUT",
				.key = u->name,
				.query = (char *)query.buf,
				.body = p,
				.body_len = len};
	err = s3_perform(u->s, &rq, &re);
	if (err)
		return err;
	if (!*re.etag)
		return -EPROTO;
	snprintf(line, sizeof(line), "<Part><PartNumber>%zu</PartNumber><ETag>%s</ETag></Part>",
		 number, re.etag);
	bytes_w_raw(list, line, strlen(line));
	return list->err;
}

static int put_parts(const struct put *u, const char *id, const uint8_t *p, struct bytes_w *list)
{
	static const char head[] =
	    "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
	static const char tail[] = "</CompleteMultipartUpload>";
	size_t part_len = u->s->tuning.part_len;
	int err = 0;

	if (u->len / PARTS_MAX >= part_len)
		part_len = u->len / PARTS_MAX + 1;
	bytes_w_raw(list, head, sizeof(head) - 1);
	for (size_t off = 0, n = 1; err == 0 && off < u->len; off += part_len, n++) {
		size_t left = u->len - off;
		err = put_part(u, id, n, p + off, left < part_len ? left : part_len, list);
	}
	bytes_w_raw(list, tail, sizeof(tail) - 1);
	return err ? err : list->err;
}

/* As well as it goes: parts that stay are invisible, and the bucket's life cycle takes them away.
 */
static void abort_upload(const struct put *u, const char *query)
{
	struct s3_request rq = {.method = "DELETE", .key = u->name, .query = query};
	struct s3_reply re;

	for (int i = 0; i < ABORT_TRIES; i++)
		if (s3_attempt(u->s, &rq, &re) == 0)
			return;
}

static int put_multipart(const struct put *u, const uint8_t *p)
{
	CLEANUP_BYTES struct bytes_w list = {0}, query = {0}, result = {0};
	char id[UPLOAD_ID_MAX + 1];
	enum standing now = NOTHING;
	int err = begin_upload(u, id);

	if (err)
		return err;
	err = query_of(id, 0, &query);
	if (err)
		return err;
	err = put_parts(u, id, p, &list);
	if (err == 0 && u->exclusive) /* time has passed since the first look */
		err = look(u, &now);
	if (err == 0 && now != NOTHING)
		err = -EEXIST;
	struct s3_request rq = {.method = "POST",
				.key = u->name,
				.query = (char *)query.buf,
				.body = list.buf,
				.body_len = list.len,
				.text = &result,
				.text_max = RESULT_MAX};
	if (err == 0)
		err = commit(u, &rq);
	if (err)
		abort_upload(u, (char *)query.buf);
	return err;
}

/* --- */

int s3_put_object(struct s3 *s, const char *name, const void *p, size_t len, bool exclusive)
{
	struct put u = {.s = s, .name = name, .len = len, .exclusive = exclusive};
	uint8_t token[S3_TOKEN_LEN / 2];

	kdf_random(token, sizeof(token));
	bytes_hex(u.token, token, sizeof(token));
	if (exclusive) {
		enum standing now;
		int err = look(&u, &now);
		if (err)
			return err;
		if (now != NOTHING)
			return -EEXIST;
	}
	if (len > s->tuning.single_max)
		return put_multipart(&u, p);
	struct s3_request rq = {.method = "PUT", .key = name, .body = p, .body_len = len};
	s3_request_field(&rq, "x-amz-meta-coffer-put", u.token);
	return commit(&u, &rq);
}
