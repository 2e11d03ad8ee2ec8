/*
 * The S3 back end without a server: signatures as AWS documents them, repository URLs, credentials
 * files, and the XML of answers, malformed and hostile ones included.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/repo_s3_internal.h"
#include "core/cleanup.h"

/* --- signatures --- */

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define WELCOME "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
#define EXAMPLE_SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

/* Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header", the four
 * examples. */
static void signatures_as_documented(void **state)
{
#define COMMON                                                                                     \
	{                                                                                          \
		"host", "examplebucket.s3.amazonaws.com"                                           \
	}
#define SHA(x)                                                                                     \
	{                                                                                          \
		"x-amz-content-sha256", x                                                          \
	}
#define DATE                                                                                       \
	{                                                                                          \
		"x-amz-date", "20130524T000000Z"                                                   \
	}
	static const struct {
		const char *method, *path, *query, *payload;
		struct s3_field fields[6];
		size_t n;
		const char *names, *signature;
	} cases[] = {
	    {"GET",
	     "test.txt",
	     "",
	     EMPTY,
	     {COMMON, {"range", "bytes=0-9"}, SHA(EMPTY), DATE},
	     4,
	     "host;range;x-amz-content-sha256;x-amz-date",
	     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
	    {"PUT",
	     "test$file.text",
	     "",
	     WELCOME,
	     {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
	      COMMON,
	      SHA(WELCOME),
	      DATE,
	      {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
	     5,
	     "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
	     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
	    {"GET",
	     "",
	     "lifecycle=",
	     EMPTY,
	     {COMMON, SHA(EMPTY), DATE},
	     3,
	     "host;x-amz-content-sha256;x-amz-date",
	     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
	    {"GET",
	     "",
	     "max-keys=2&prefix=J",
	     EMPTY,
	     {COMMON, SHA(EMPTY), DATE},
	     3,
	     "host;x-amz-content-sha256;x-amz-date",
	     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CLEANUP_BYTES struct bytes_w path = {0};
		CLEANUP_FREE char *got = NULL;
		char expected[400];

		bytes_w_u8(&path, '/');
		s3_encode(&path, cases[i].path, false);
		bytes_w_u8(&path, 0);
		struct s3_signing in = {.method = cases[i].method,
					.path = (char *)path.buf,
					.query = cases[i].query,
					.fields = cases[i].fields,
					.n_fields = cases[i].n,
					.payload_hex = cases[i].payload,
					.region = "us-east-1",
					.stamp = "20130524T000000Z",
					.key_id = "AKIAIOSFODNN7EXAMPLE",
					.secret = (const uint8_t *)EXAMPLE_SECRET,
					.secret_len = strlen(EXAMPLE_SECRET)};
		assert_int_equal(s3_sign(&in, &got), 0);
		snprintf(expected, sizeof(expected),
			 "AWS4-HMAC-SHA256 "
			 "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
			 "SignedHeaders=%s,Signature=%s",
			 cases[i].names, cases[i].signature);
		assert_string_equal(got, expected);
	}
}

/* What is not unreserved is encoded in upper case; slashes only where they are no separators. */
static void encodes(void **state)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	(void)state;
	s3_encode(&w, "a/B-0._~ +=&$\xc3\xa4%", false);
	s3_encode(&w, "/", true);
	bytes_w_u8(&w, 0);
	assert_string_equal((char *)w.buf, "a/B-0._~%20%2B%3D%26%24%C3%A4%25%2F");
}

/* A request that cannot be signed as asked is not signed in another way. */
static void signing_refuses(void **state)
{
	static const struct s3_field field = {"host", "h"};
	struct s3_signing in = {.method = "GET",
				.path = "/",
				.query = "",
				.fields = &field,
				.n_fields = 1,
				.payload_hex = EMPTY,
				.region = "r",
				.stamp = "20130524T000000Z",
				.key_id = "K",
				.secret = (const uint8_t *)"s",
				.secret_len = 1};
	char *got = NULL, region[200];

	(void)state;
	in.stamp = "2013";
	assert_int_equal(s3_sign(&in, &got), -EINVAL);
	in.stamp = "20130524T000000Z";
	memset(region, 'r', sizeof(region) - 1);
	region[sizeof(region) - 1] = 0;
	in.region = region;
	assert_int_equal(s3_sign(&in, &got), -EINVAL);
	in.region = "r";
	in.secret_len = 1 << 20;
	assert_int_equal(s3_sign(&in, &got), -EINVAL);
	assert_null(got);
}

/* --- URLs --- */

static void urls(void **state)
{
	static const struct {
		const char *url, *endpoint, *region;
		bool tls;
		const char *host, *bucket, *prefix, *ret_region;
	} good[] = {
	    {"s3://bucket", NULL, NULL, true, "s3.us-east-1.amazonaws.com", "bucket", "",
	     "us-east-1"},
	    {"s3://bucket/", NULL, "eu-west-1", true, "s3.eu-west-1.amazonaws.com", "bucket", "",
	     "eu-west-1"},
	    {"s3://bucket/a", NULL, "cn-north-1", true, "s3.cn-north-1.amazonaws.com.cn", "bucket",
	     "a/", "cn-north-1"},
	    {"s3://bucket/a/b_c//", "http://rgw:7480", "", false, "rgw:7480", "bucket", "a/b_c/",
	     "us-east-1"},
	    {"s3://buc.ket/a", "https://rgw/", NULL, true, "rgw", "buc.ket", "a/", "us-east-1"},
	    {"s3+http://127.0.0.1:9000/bucket/dept", "https://x", NULL, false, "127.0.0.1:9000",
	     "bucket", "dept/", "us-east-1"},
	    {"s3+https://minio.example:443/bucket", NULL, NULL, true, "minio.example", "bucket", "",
	     "us-east-1"},
	    {"s3+http://h:443/bucket", NULL, NULL, false, "h:443", "bucket", "", "us-east-1"},
	    {"s3+http://[::1]:80/bucket", NULL, NULL, false, "[::1]", "bucket", "", "us-east-1"},
	    {"s3+https://[fe80::1]/bucket/p", NULL, NULL, true, "[fe80::1]", "bucket", "p/",
	     "us-east-1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct s3_environment env = {good[i].endpoint, good[i].region};
		struct s3_place p;
		const char *why;

		assert_true(repo_s3_url(good[i].url));
		assert_int_equal(s3_url_parse(good[i].url, &env, &p, &why), 0);
		assert_int_equal(p.tls, good[i].tls);
		assert_string_equal(p.host, good[i].host);
		assert_string_equal(p.bucket, good[i].bucket);
		assert_string_equal(p.prefix, good[i].prefix);
		assert_string_equal(p.region, good[i].ret_region);
	}
	assert_false(repo_s3_url("/s3://x"));
	assert_false(repo_s3_url("s3:/bucket"));
	assert_false(repo_s3_url("http://h/bucket"));
}

/* No secret, no way out of the prefix, nothing that one server would read otherwise than another.
 */
static void urls_refused(void **state)
{
	static const char *const bad[] = {
	    "s3://",
	    "s3://ab",
	    "s3://buck et",
	    "s3://-bucket",
	    "s3://.bucket",
	    "s3://bu..cket",
	    "s3://bucket/../other",
	    "s3://bucket/a/../b",
	    "s3://bucket/.hidden",
	    "s3://bucket//a",
	    "s3://bucket/a//b",
	    "s3://bucket/a?b=c",
	    "s3://bucket/a#b",
	    "s3://bucket/a%2fb",
	    "s3://bucket/\xc3\xa4",
	    "s3+http://",
	    "s3+http://host",
	    "s3+http://host/",
	    "s3+http:///bucket",
	    "s3+http://user:pw@host/bucket",
	    "s3+http://host:/bucket",
	    "s3+http://host:x/bucket",
	    "s3+http://host:123456/bucket",
	    "s3+http://ho st/bucket",
	    "s3+http://host:1:2/bucket",
	    "s3+http://[::1/bucket",
	    "s3+http://[::1]x/bucket",
	    "s3+http://::1/bucket",
	    "s3+ftp://host/bucket",
	    "s3+http://ho\nst/bucket",
	};
	static const char *const endpoints[] = {"host",           "ftp://host",
						"https://",       "https://host/path",
						"https://u@host", "https://host?x"};
	struct s3_environment env = {0};
	struct s3_place p;
	const char *why;
	char longest[700];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(s3_url_parse(bad[i], &env, &p, &why), -EINVAL);
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(*endpoints); i++) {
		env.endpoint = endpoints[i];
		assert_int_equal(s3_url_parse("s3://bucket", &env, &p, &why), -EINVAL);
	}
	env = (struct s3_environment){.region = "us/east"};
	assert_int_equal(s3_url_parse("s3://bucket", &env, &p, &why), -EINVAL);
	env = (struct s3_environment){0};
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	memcpy(longest, "s3://bucket/", 12);
	assert_int_equal(s3_url_parse(longest, &env, &p, &why), -EINVAL);
	memcpy(longest, "s3://aaaaaaa", 12);
	assert_int_equal(s3_url_parse(longest, &env, &p, &why), -EINVAL);
	memcpy(longest, "s3+http://aa", 12);
	assert_int_equal(s3_url_parse(longest, &env, &p, &why), -EINVAL);
}

/* --- credentials --- */

static void expect_secret(struct secret *s, const char *text)
{
	assert_non_null(s);
	assert_int_equal(secret_len(s), strlen(text));
	assert_memory_equal(secret_bytes(s), text, strlen(text));
}

static const char sample[] =
    "# comment\n; another\n\n[default]\naws_access_key_id = "
    "AKID\r\naws_secret_access_key=sec/ret+1=\n"
    "region = x\ns3 =\n  endpoint_url = http://y\n[ other ]\n\taws_secret_access_key = nested\n"
    "aws_session_token = tok\naws_secret_access_key = two\naws_access_key_id = OTHER";

/* Each profile has its own; comments, carriage returns and the AWS tools' own settings are passed
 * over. */
static void credentials_file(void **state)
{
	struct s3_credentials c = {0}, other = {0};

	(void)state;
	assert_int_equal(s3_credentials_parse(sample, strlen(sample), "default", &c), 0);
	assert_string_equal(c.key_id, "AKID");
	expect_secret(c.secret, "sec/ret+1=");
	assert_null(c.token);
	assert_int_equal(s3_credentials_parse(sample, strlen(sample), "other", &other), 0);
	assert_string_equal(other.key_id, "OTHER");
	expect_secret(other.secret, "two");
	expect_secret(other.token, "tok");
	assert_false(s3_credentials_equal(&c, &other));
	assert_true(s3_credentials_equal(&c, &c));
	s3_credentials_free(&c);
	s3_credentials_free(&other);
	assert_int_equal(s3_credentials_parse(sample, strlen(sample), "third", &c), -ENOKEY);
	assert_int_equal(s3_credentials_parse("", 0, "default", &c), -ENOKEY);
}

/* What is malformed is not half-used. */
static void credentials_file_malformed(void **state)
{
	static const char *const bad[] = {
	    "[default]\naws_access_key_id = A\n",
	    "[default]\naws_secret_access_key = s\n",
	    "[default]\naws_access_key_id = A\naws_access_key_id = B\naws_secret_access_key = s\n",
	    "[default]\naws_access_key_id=A\naws_secret_access_key=s\naws_secret_access_key=t\n",
	    "[default]\naws_access_key_id = A b\naws_secret_access_key = s\n",
	    "[default]\naws_access_key_id = A/b\naws_secret_access_key = s\n",
	    "[default]\naws_access_key_id = A\naws_secret_access_key =\n",
	    "[default]\naws_access_key_id = A\naws_secret_access_key = s\x01\n",
	    "[default]\naws_access_key_id A\n",
	    "[default\naws_access_key_id = A\n",
	    "[",
	};
	struct s3_credentials c = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(s3_credentials_parse(bad[i], strlen(bad[i]), "default", &c),
				 -EUCLEAN);
	assert_int_equal(s3_credentials_parse("[default]\0", 10, "default", &c), -EUCLEAN);
	/* However it is cut, it is an error or a key that the file has. */
	for (size_t n = 0; n < strlen(sample); n++) {
		int err = s3_credentials_parse(sample, n, "default", &c);
		assert_true(err == 0 || err == -EUCLEAN || err == -ENOKEY);
		if (err == 0) {
			assert_string_equal(c.key_id, "AKID");
			s3_credentials_free(&c);
		}
	}
}

static void forget_environment(void)
{
	static const char *const names[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
					    "AWS_SESSION_TOKEN", "AWS_SHARED_CREDENTIALS_FILE",
					    "AWS_PROFILE"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unsetenv(names[i]);
}

/* The environment comes first, then the file that is named, then the one at home; others may not
 * read it. */
static void credentials_sources(void **state)
{
	char dir[] = "/tmp/coffer-s3-XXXXXX", path[96], folder[64];
	struct s3_credentials c = {0};
	const char *why;

	(void)state;
	forget_environment();
	assert_non_null(mkdtemp(dir));
	snprintf(folder, sizeof(folder), "%s/.aws", dir);
	assert_int_equal(mkdir(folder, 0700), 0);
	snprintf(path, sizeof(path), "%s/credentials", folder);
	setenv("HOME", dir, 1);
	assert_int_equal(s3_credentials_load(&c, &why), -ENOKEY);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, sample, strlen(sample)), (ssize_t)strlen(sample));
	close(fd);
	assert_int_equal(s3_credentials_load(&c, &why), 0);
	assert_string_equal(c.key_id, "AKID");
	s3_credentials_free(&c);
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	setenv("AWS_PROFILE", "other", 1);
	setenv("HOME", "/nowhere", 1);
	assert_int_equal(s3_credentials_load(&c, &why), 0);
	assert_string_equal(c.key_id, "OTHER");
	s3_credentials_free(&c);
	assert_int_equal(chmod(path, 0604), 0);
	assert_int_equal(s3_credentials_load(&c, &why), -EPERM);
	assert_int_equal(chmod(path, 0600), 0);
	setenv("AWS_SHARED_CREDENTIALS_FILE", dir, 1);
	assert_int_equal(s3_credentials_load(&c, &why), -EUCLEAN);

	setenv("AWS_ACCESS_KEY_ID", "ENVID", 1);
	assert_int_equal(s3_credentials_load(&c, &why), -EUCLEAN); /* half of a pair is a mistake */
	setenv("AWS_SECRET_ACCESS_KEY", "envsecret", 1);
	setenv("AWS_SESSION_TOKEN", "envtoken", 1);
	assert_int_equal(s3_credentials_load(&c, &why), 0);
	assert_string_equal(c.key_id, "ENVID");
	expect_secret(c.secret, "envsecret");
	expect_secret(c.token, "envtoken");
	s3_credentials_free(&c);
	setenv("AWS_SECRET_ACCESS_KEY", "new\nline", 1);
	assert_int_equal(s3_credentials_load(&c, &why), -EUCLEAN);
	forget_environment();
	unlink(path);
	rmdir(folder);
	rmdir(dir);
}

/* --- XML --- */

static int collect(void *arg, const char *path, const char *text, size_t len)
{
	struct bytes_w *w = arg;

	bytes_w_raw(w, path, strlen(path));
	bytes_w_u8(w, '=');
	bytes_w_raw(w, text, len);
	bytes_w_u8(w, ';');
	return 0;
}

/* What the servers send is read: declarations, attributes, empty elements, white space, entities.
 */
static void xml_read(void **state)
{
	static const struct {
		const char *xml, *expected;
	} good[] = {
	    {"<a/>", "a=;"},
	    {"<a></a>", "a=;"},
	    {" <a> x </a >\n", "a= x ;"},
	    {"\xef\xbb\xbf<?xml version=\"1.0\" encoding='UTF-8'?>\n<a xmlns=\"http://x/\" b = "
	     "'c'><b/>\n<c>1</c> <c>2</c></a>",
	     "a/b=;a/c=1;a/c=2;"},
	    {"<a><b><c>1</c></b><b><c d=\"&gt;\">2</c></b></a>", "a/b/c=1;a/b/c=2;"},
	    {"<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#xe4;&#x20AC;&#x1F600;</a>",
	     "a=<>&\"'AB\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80;"},
	    {"<a>&amp;lt;</a>", "a=&lt;;"}, /* decoded once */
	    {"<a>]]></a>", "a=]]>;"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		CLEANUP_BYTES struct bytes_w w = {0};

		assert_int_equal(s3_xml_walk(good[i].xml, strlen(good[i].xml), collect, &w), 0);
		bytes_w_u8(&w, 0);
		assert_string_equal((char *)w.buf, good[i].expected);
	}
}

/* Nothing that expands, fetches, nests without end or is not well-formed. */
static void xml_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    " ",
	    "text",
	    "<",
	    "<a",
	    "<a>",
	    "</a>",
	    "<a></b>",
	    "<a></ab>",
	    "<ab></a>",
	    "<a><b></a></b>",
	    "<a/><b/>",
	    "<a/>x",
	    "x<a/>",
	    "< a/>",
	    "<a b/>",
	    "<a b=c/>",
	    "<a b=\"c/>",
	    "<a b=\"<\"/>",
	    "<a/ >",
	    "<ab=\"c\"/>",
	    "<!DOCTYPE a><a/>",
	    "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
	    "<a><!-- c --></a>",
	    "<a><![CDATA[x]]></a>",
	    "<a><?php?></a>",
	    "<?xml version=\"1.0\"",
	    "<?xml version?><a/>",
	    "<a>&b;</a>",
	    "<a>&amp</a>",
	    "<a>& </a>",
	    "<a>&</a>",
	    "<a>&#;</a>",
	    "<a>&#x;</a>",
	    "<a>&#0;</a>",
	    "<a>&#xd800;</a>",
	    "<a>&#x110000;</a>",
	    "<a>&#99999999999999;</a>",
	    "<a>&#-1;</a>",
	    "<a>&#xg;</a>",
	    "<a>\x01</a>",
	    "<a>x<b/></a>",
	    "<a><b/>x</a>",
	    "<a><b></b>&#65;</a>",
	    "<a b=\"c\"d=\"e\"/>",
	    "<>x</>",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CLEANUP_BYTES struct bytes_w w = {0};

		if (s3_xml_walk(bad[i], strlen(bad[i]), collect, &w) != -EUCLEAN)
			fail_msg("accepted: %s", bad[i]);
	}
}

/* Depth and names have an end; a walk ends where it is told to. */
static int stop(void *arg, const char *path, const char *text, size_t len)
{
	(void)path;
	(void)text;
	(void)len;
	return ++*(int *)arg == 2 ? -ENOMEM : 0;
}

static void xml_bounds(void **state)
{
	char deep[4000] = "", longest[400];
	CLEANUP_BYTES struct bytes_w w = {0};
	int calls = 0;

	(void)state;
	for (int i = 0; i < 500; i++)
		strcat(deep, "<a>");
	for (int i = 0; i < 500; i++)
		strcat(deep, "</a>");
	assert_int_equal(s3_xml_walk(deep, strlen(deep), collect, &w), -EUCLEAN);
	memset(longest, 'a', sizeof(longest));
	longest[0] = '<';
	memcpy(longest + sizeof(longest) - 2, "/>", 2);
	assert_int_equal(s3_xml_walk(longest, sizeof(longest), collect, &w), -EUCLEAN);
	assert_int_equal(s3_xml_walk("<a><b/><b/><b/></a>", 19, stop, &calls), -ENOMEM);
	assert_int_equal(calls, 2);
}

/* Every cut and every changed byte of an answer is an answer or an error; sanitizers see to the
 * rest. */
static void xml_mangled(void **state)
{
	static const char answer[] =
	    "<?xml version=\"1.0\"?><L a=\"b\"><C><K>x&amp;y&#65;</K></C><P/></L>";
	size_t len = sizeof(answer) - 1, accepted = 0;

	(void)state;
	for (size_t n = 0; n < len; n++) {
		CLEANUP_BYTES struct bytes_w w = {0};
		CLEANUP_FREE char *cut =
		    malloc(n ? n : 1); /* exactly as long, so that a step too far shows */
		memcpy(cut, answer, n);
		assert_int_equal(s3_xml_walk(cut, n, collect, &w), -EUCLEAN);
	}
	for (size_t i = 0; i < len; i++) {
		for (unsigned v = 0; v < 256; v++) {
			CLEANUP_BYTES struct bytes_w w = {0};
			CLEANUP_FREE char *changed = malloc(len);
			memcpy(changed, answer, len);
			changed[i] = (char)v;
			int err = s3_xml_walk(changed, len, collect, &w);
			assert_true(err == 0 || err == -EUCLEAN);
			accepted += err == 0;
		}
	}
	assert_true(accepted > len && accepted < 256 * len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(signatures_as_documented),
	    cmocka_unit_test(encodes),
	    cmocka_unit_test(signing_refuses),
	    cmocka_unit_test(urls),
	    cmocka_unit_test(urls_refused),
	    cmocka_unit_test(credentials_file),
	    cmocka_unit_test(credentials_file_malformed),
	    cmocka_unit_test(credentials_sources),
	    cmocka_unit_test(xml_read),
	    cmocka_unit_test(xml_refused),
	    cmocka_unit_test(xml_bounds),
	    cmocka_unit_test(xml_mangled),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
