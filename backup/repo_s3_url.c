/*
 * Repository URLs of the S3 back end:
 *
 *   s3://BUCKET[/PREFIX]                     endpoint: the environment's, else AWS's for the region
 *   s3+http://HOST[:PORT]/BUCKET[/PREFIX]    the endpoint in the URL
 *   s3+https://HOST[:PORT]/BUCKET[/PREFIX]
 *
 * Nothing that would need encoding is allowed in a bucket or prefix, and no secret has a place in a
 * URL: it stands in coffer.conf and in certificates.
 */
#include "backup/repo_s3_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_REGION "us-east-1"

bool repo_s3_url(const char *url)
{
	return !strncmp(url, "s3://", 5) || !strncmp(url, "s3+http://", 10) ||
	       !strncmp(url, "s3+https://", 11);
}

static int copy(char *out, size_t max, const char *s, size_t len)
{
	if (len == 0 || len > max)
		return -EINVAL;
	memcpy(out, s, len);
	out[len] = 0;
	return 0;
}

static bool only(const char *s, const char *extra)
{
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		      (*s >= '0' && *s <= '9') || strchr(extra, *s)))
			return false;
	return true;
}

/* "name", "name:port", "[v6]" or "[v6]:port"; the scheme's own port is dropped, as HTTP clients
 * drop it from Host. */
static bool host_valid(struct s3_place *p)
{
	char *port = strrchr(p->host, ':'), *v6 = strrchr(p->host, ']');
	const char *own = p->tls ? ":443" : ":80";

	if (v6 && port && port < v6)
		port = NULL;
	if (port) {
		size_t n = strspn(port + 1, "0123456789");
		if (n == 0 || n > 5 || port[1 + n])
			return false;
		if (!strcmp(port, own))
			*port = 0;
	}
	if (*p->host == '[')
		return v6 && (!v6[1] || v6[1] == ':') && only(p->host, "[]:.");
	size_t name_len = strcspn(p->host, ":");
	return name_len > 0 && !v6 && strchr(p->host, ':') == strrchr(p->host, ':') &&
	       only(p->host, ".-:");
}

/* SCHEME://HOST[:PORT][/]; *ret_rest is what follows the host. */
static int parse_endpoint(const char *s, struct s3_place *p, const char **ret_rest)
{
	if (!strncmp(s, "https://", 8)) {
		p->tls = true;
		s += 8;
	} else if (!strncmp(s, "http://", 7)) {
		p->tls = false;
		s += 7;
	} else {
		return -EINVAL;
	}
	size_t len = strcspn(s, "/");
	if (copy(p->host, S3_HOST_MAX, s, len) || !host_valid(p))
		return -EINVAL;
	*ret_rest = s + len;
	return 0;
}

static int parse_prefix(const char *s, struct s3_place *p)
{
	size_t len = strlen(s);

	while (len && s[len - 1] == '/')
		len--;
	if (len == 0)
		return 0;
	if (len >= S3_PREFIX_MAX)
		return -EINVAL;
	memcpy(p->prefix, s, len);
	memcpy(p->prefix + len, "/", 2);
	for (const char *c = p->prefix; *c; c = strchr(c, '/') + 1)
		if (*c == '.' || *c == '/')
			return -EINVAL;
	return only(p->prefix, "._-/") ? 0 : -EINVAL;
}

/* BUCKET[/PREFIX] */
static int parse_bucket(const char *s, struct s3_place *p)
{
	size_t len = strcspn(s, "/");

	if (len < 3 || copy(p->bucket, S3_BUCKET_MAX, s, len) || !only(p->bucket, "._-") ||
	    strchr("._-", *p->bucket) || strstr(p->bucket, ".."))
		return -EINVAL;
	return s[len] ? parse_prefix(s + len + 1, p) : 0;
}

/* AWS's own endpoint; its Chinese regions are under another domain. */
static void default_endpoint(struct s3_place *p)
{
	p->tls = true;
	snprintf(p->host, sizeof(p->host), "s3.%s.amazonaws.com%s", p->region,
		 strncmp(p->region, "cn-", 3) ? "" : ".cn");
}

int s3_url_parse(const char *url, const struct s3_environment *env, struct s3_place *ret,
		 const char **ret_why)
{
	struct s3_place p = {0};
	const char *region = env->region && *env->region ? env->region : DEFAULT_REGION, *rest;

	*ret_why = "the region (AWS_REGION) may hold letters, digits and '-'";
	if (copy(p.region, S3_REGION_MAX, region, strlen(region)) || !only(p.region, "-"))
		return -EINVAL;
	if (!strncmp(url, "s3://", 5)) {
		default_endpoint(&p);
		*ret_why = "the endpoint in the environment has the form https://HOST[:PORT]";
		if (env->endpoint && *env->endpoint &&
		    (parse_endpoint(env->endpoint, &p, &rest) || (*rest && strcmp(rest, "/") != 0)))
			return -EINVAL;
		rest = url + 5;
	} else {
		*ret_why = "the form is s3+https://HOST[:PORT]/BUCKET/PREFIX";
		if (!repo_s3_url(url) || parse_endpoint(url + 3, &p, &rest) || *rest != '/')
			return -EINVAL;
		rest++;
	}
	*ret_why =
	    "a bucket has 3 to 63 letters, digits, '.', '-' or '_', a prefix components of these";
	if (parse_bucket(rest, &p))
		return -EINVAL;
	*ret = p;
	return 0;
}
