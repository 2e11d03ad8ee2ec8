/*
 * What an attempt amounts to, and whether and when to try again.
 *
 * Only what may pass by itself is tried again: no connection, a lost one, silence, 408, 429, 500,
 * 502, 503, 504 and the conflicts that S3 asks to repeat. Refusals are tried again once the
 * credentials have changed: a serving process lives longer than keys do.
 */
#include "backup/repo_s3_internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/kdf.h"

static bool code_is(const struct s3_reply *re, const char *const *codes)
{
	for (; *codes; codes++)
		if (!strcmp(re->code, *codes))
			return true;
	return false;
}

int s3_outcome(int err, const struct s3_reply *re)
{
	static const char *const full[] = {"QuotaExceeded", "XMinioStorageFull",
					   "InsufficientStorage", NULL};

	if (err || re->status / 100 == 2)
		return err;
	if (code_is(re, full))
		return -ENOSPC;
	switch (re->status) {
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 409:
		return -EBUSY;
	case 304: /* what MinIO once said for the next */
	case 412:
		return -EEXIST;
	case 416:
		return -ENODATA;
	case 429:
	case 503:
		return -EAGAIN;
	case 507:
		return -ENOSPC;
	default:
		return re->status / 100 == 3   ? -EREMCHG
		       : re->status / 100 == 5 ? -EREMOTEIO
					       : -EPROTO;
	}
}

bool s3_transient(int err, const struct s3_reply *re)
{
	static const char *const repeatable[] = {"RequestTimeout", "ConditionalRequestConflict",
						 "OperationAborted", "SlowDown", NULL};

	if (err)
		return err == -ECONNREFUSED || err == -ECONNRESET || err == -ETIMEDOUT ||
		       err == -EHOSTUNREACH || err == -ENETUNREACH;
	switch (re->status) {
	case 408:
	case 429:
	case 500:
	case 502:
	case 503:
	case 504:
		return true;
	default:
		return re->status / 100 != 2 && code_is(re, repeatable);
	}
}

/* Exponentially longer; half of it is chance, so that clients that failed together do not come back
 * together. */
void s3_wait(const struct s3 *s, unsigned tries, long at_least_s)
{
	uint64_t ms = s->tuning.backoff_ms;
	uint32_t chance;

	for (unsigned i = 0; i < tries && ms < s->tuning.backoff_max_ms; i++)
		ms *= 2;
	if (ms > s->tuning.backoff_max_ms)
		ms = s->tuning.backoff_max_ms;
	kdf_random(&chance, sizeof(chance));
	ms = ms / 2 + chance % (ms / 2 + 1);
	if (at_least_s > 0 && ms < (uint64_t)at_least_s * 1000)
		ms = (uint64_t)at_least_s * 1000;
	struct timespec left = {.tv_sec = (time_t)(ms / 1000),
				.tv_nsec = (long)(ms % 1000) * 1000000};
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

/* Whether the credentials' source now holds others. */
static bool renewed(struct s3 *s)
{
	struct s3_credentials now = {0};
	const char *why;

	if (s3_credentials_load(&now, &why) != 0)
		return false;
	pthread_mutex_lock(&s->lock);
	bool changed = !s3_credentials_equal(&now, &s->credentials);
	if (changed) {
		struct s3_credentials old = s->credentials;
		s->credentials = now;
		now = old;
	}
	pthread_mutex_unlock(&s->lock);
	s3_credentials_free(&now);
	return changed;
}

/*
 * A server that did not answer through all tries of one request is asked once by each further one,
 * until it answers: giving up a set takes a request for each of its packs.
 */
static bool patient(struct s3 *s, unsigned tries, int err)
{
	pthread_mutex_lock(&s->lock);
	if (!err)
		s->unreachable = false;
	bool patience = !s->unreachable && tries + 1 < s->tuning.tries;
	if (err && !patience)
		s->unreachable = true;
	pthread_mutex_unlock(&s->lock);
	return patience;
}

bool s3_again(struct s3 *s, unsigned *tries, int err, const struct s3_reply *re)
{
	static const char *const expired[] = {"ExpiredToken", "InvalidToken",
					      "TokenRefreshRequired", NULL};
	bool refused = !err && (re->status == 401 || re->status == 403 ||
				(re->status == 400 && code_is(re, expired)));

	if (!refused && err && !s3_transient(err, re))
		return false;
	if (!patient(s, *tries, err))
		return false;
	if (refused) {
		++*tries;
		return renewed(s);
	}
	if (!s3_transient(err, re))
		return false;
	s3_wait(s, (*tries)++, re->retry_after_s);
	return true;
}

int s3_perform(struct s3 *s, const struct s3_request *rq, struct s3_reply *re)
{
	unsigned tries = 0;
	int err;

	do {
		err = s3_attempt(s, rq, re);
	} while (s3_again(s, &tries, err, re));
	return s3_outcome(err, re);
}
