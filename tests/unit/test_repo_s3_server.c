/*
 * The S3 back end against a server that fails: connections dropped at the n-th request for every n,
 * refusals, cut bodies, wrong sizes, hostile lists. Nothing is lost, nothing stands half-written,
 * nobody's object is overwritten.
 *
 * With COFFER_TEST_S3_URL (a URL and credentials as for a repository, under a prefix of its own)
 * the conformance test runs against that server as well.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "core/cleanup.h"
#include "core/identity.h"
#include "tests/unit/s3_server.h"

#define BIG 3500 /* four parts of this file's patience */
#define HUGE (5u << 20)

static const struct s3_tuning hasty = {.tries = 4,
				       .backoff_ms = 1,
				       .backoff_max_ms = 2,
				       .connect_s = 5,
				       .stall_s = 10,
				       .single_max = 1000,
				       .part_len = 1000,
				       .list_page = 1000};

struct place {
	struct s3_server server;
	const struct repo_ops *ops;
	void *self;
	struct repo repo; /* names are checked in front of the back end */
	struct diag d;
	char url[128];
	uint8_t big[BIG];
};

static void use_credentials(const char *id)
{
	setenv("AWS_ACCESS_KEY_ID", id, 1);
	setenv("AWS_SECRET_ACCESS_KEY", "server-secret", 1);
}

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	unsetenv("AWS_REGION");
	unsetenv("AWS_DEFAULT_REGION");
	unsetenv("AWS_SESSION_TOKEN");
	setenv("no_proxy", "127.0.0.1", 1);
	use_credentials("SERVERKEY");
	s3_server_start(&p->server);
	snprintf(p->url, sizeof(p->url), "s3+http://127.0.0.1:%u/bucket/dept", p->server.port);
	for (size_t i = 0; i < BIG; i++)
		p->big[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(s3_open(p->url, &hasty, &p->ops, &p->self, &p->d), 0);
	p->repo = (struct repo){.ops = p->ops, .self = p->self, .url = p->url};
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	p->ops->close(p->self);
	s3_server_stop(&p->server);
	/* In no test did a request come with a wrong signature or another body than was signed. */
	assert_int_equal(p->server.wrong, 0);
	free(p);
	return 0;
}

static void expect_object(struct repo *r, const char *name, const void *want, size_t len)
{
	CLEANUP_FREE uint8_t *got = NULL;
	size_t got_len;

	assert_int_equal(repo_get(r, name, len, &got, &got_len), 0);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, want, len);
}

static void expect_names(struct repo *r, const char *prefix, const char *want)
{
	char **names, got[512] = "";
	size_t n;

	assert_int_equal(repo_list(r, prefix, &names, &n), 0);
	for (size_t i = 0; i < n; i++) {
		strcat(got, names[i]);
		strcat(got, " ");
	}
	repo_list_free(names, n);
	assert_string_equal(got, want);
}

/* --- what a repository promises, of any server --- */

static void conformance(struct repo *r, uint8_t *data, size_t len)
{
	uint64_t size;
	uint8_t part[64], *got = NULL;
	size_t got_len;

	expect_names(r, "", "");
	assert_int_equal(repo_size(r, "nothing", &size), -ENOENT);
	assert_int_equal(repo_get(r, "nothing", 9, &got, &got_len), -ENOENT);
	assert_int_equal(repo_read(r, "nothing", 0, part, 0), -ENOENT);
	assert_int_equal(repo_put_new(r, "a", "first", 5), 0);
	assert_int_equal(repo_put_new(r, "a", "second", 6), -EEXIST);
	expect_object(r, "a", "first", 5);
	assert_int_equal(repo_put(r, "a", "two", 3), 0);
	expect_object(r, "a", "two", 3);
	assert_int_equal(repo_put_new(r, "sets/one/empty", NULL, 0), 0);
	expect_object(r, "sets/one/empty", "", 0);

	assert_int_equal(repo_put_new(r, "sets/one/pack", data, len), 0);
	assert_int_equal(repo_put_new(r, "sets/one/pack", data, len - 1), -EEXIST);
	expect_object(r, "sets/one/pack", data, len);
	for (size_t off = 0; off < len - sizeof(part); off += len / 7) {
		assert_int_equal(repo_read(r, "sets/one/pack", off, part, sizeof(part)), 0);
		assert_memory_equal(part, data + off, sizeof(part));
	}
	assert_int_equal(repo_read(r, "sets/one/pack", 0, part, 1), 0); /* "bytes=0-0" */
	assert_int_equal(part[0], data[0]);
	assert_int_equal(repo_read(r, "sets/one/pack", len - 1, part, 1), 0);
	assert_int_equal(repo_read(r, "sets/one/pack", len - 1, part, 2), -ENODATA);
	assert_int_equal(repo_read(r, "sets/one/pack", len, part, 1), -ENODATA);
	assert_int_equal(repo_read(r, "sets/one/pack", UINT64_MAX, part, 4), -ENODATA);
	assert_int_equal(repo_get(r, "sets/one/pack", len - 1, &got, &got_len), -EFBIG);

	assert_int_equal(repo_put(r, "sets/two/x", "1", 1), 0);
	/* s3rver 3.7 does not list a folder that holds folders only. */
	assert_int_equal(repo_put(r, "sets/y", "1", 1), 0);
	assert_int_equal(repo_put(r, "setsx", "1", 1), 0);
	expect_names(r, "", "a sets setsx ");
	expect_names(r, "sets/", "one two y ");
	expect_names(r, "sets/one/", "empty pack ");
	expect_names(r, "sets/none/", "");
	static const char *const all[] = {"sets/one/pack",
					  "sets/one/pack",
					  "sets/one/empty",
					  "sets/two/x",
					  "sets/y",
					  "setsx",
					  "a"};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		assert_int_equal(repo_delete(r, all[i]), 0);
	expect_names(r, "", "");
}

static void conforms(void **state)
{
	struct place *p = *state;

	uint8_t byte;

	conformance(&p->repo, p->big, BIG);
	assert_int_equal(repo_put(&p->repo, "empty", "", 0), 0);
	assert_int_equal(repo_read(&p->repo, "empty", 0, &byte, 1), -ENODATA);
	assert_int_equal(repo_delete(&p->repo, "empty"), 0);
	p->server.page = 1;
	conformance(&p->repo, p->big, BIG);
}

/* The same of a real server, in parts as large as real ones. */
static void conforms_elsewhere(void **state)
{
	const char *url = getenv("COFFER_TEST_S3_URL");
	size_t len = s3_tuning_default.part_len * 2 + 12345;
	CLEANUP_FREE uint8_t *data = malloc(len);
	struct repo r = {.url = NULL};
	struct diag d = {0};

	(void)state;
	kdf_random(data, len);
	assert_int_equal(s3_open(url, &s3_tuning_default, &r.ops, &r.self, &d), 0);
	conformance(&r, data, len);
	r.ops->close(r.self);
}

/* --- faults --- */

/* How often it hit. */
static unsigned clear_fault(struct place *p)
{
	pthread_mutex_lock(&p->server.lock);
	p->server.fault = FAULT_NONE;
	unsigned hit = p->server.faults_hit;
	pthread_mutex_unlock(&p->server.lock);
	return hit;
}

static unsigned requests(struct place *p)
{
	pthread_mutex_lock(&p->server.lock);
	unsigned n = p->server.requests;
	pthread_mutex_unlock(&p->server.lock);
	return n;
}

static void set_fault(struct place *p, enum s3_fault f, unsigned nth, unsigned times)
{
	pthread_mutex_lock(&p->server.lock);
	p->server.fault = f;
	p->server.fault_from = p->server.requests + nth;
	p->server.fault_times = times;
	p->server.faults_hit = 0;
	pthread_mutex_unlock(&p->server.lock);
}

/* Every operation once, the results checked. */
static void all_operations(struct place *p)
{
	uint8_t part[700];
	uint64_t size;

	assert_int_equal(repo_put_new(&p->repo, "new", "new content", 11), 0);
	assert_int_equal(repo_put_new(&p->repo, "sets/s/pack", p->big, BIG), 0);
	assert_int_equal(repo_put_new(&p->repo, "old", "other", 5), -EEXIST);
	assert_int_equal(repo_put(&p->repo, "old", "replaced", 8), 0);
	assert_int_equal(repo_size(&p->repo, "sets/s/pack", &size), 0);
	assert_int_equal(size, BIG);
	assert_int_equal(repo_read(&p->repo, "sets/s/pack", 1234, part, sizeof(part)), 0);
	assert_memory_equal(part, p->big + 1234, sizeof(part));
	expect_names(&p->repo, "", "new old sets ");
	assert_int_equal(repo_delete(&p->repo, "new"), 0);
	expect_names(&p->repo, "", "old sets ");
}

static void expect_no_uploads(struct place *p)
{
	for (size_t i = 0; i < SERVER_UPLOADS; i++)
		assert_false(p->server.uploads[i].used);
}

/* Any single failure at any request goes unnoticed, whatever the server does with conditions. */
static void one_fault_anywhere(void **state)
{
	struct place *p = *state;

	p->server.page = 2;
	for (enum s3_conditions c = CONDITIONS_HONOURED; c <= CONDITIONS_REFUSED; c++) {
		p->server.conditions = c;
		for (enum s3_fault f = FAULT_DROP_EARLY; f < FAULT_N; f++) {
			unsigned n = 0, hit;
			do {
				s3_server_empty(&p->server);
				assert_int_equal(repo_put(&p->repo, "old", "old", 3), 0);
				set_fault(p, f, ++n, 1);
				all_operations(p);
				hit = clear_fault(p);
				expect_object(&p->repo, "old", "replaced", 8);
				expect_object(&p->repo, "sets/s/pack", p->big, BIG);
			} while (hit);
			assert_true(n > 15);
		}
	}
}

/* A server that fails for good at any request: what was said to be stored is, all else is whole or
 * not there. */
static void dead_from_any_request(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE uint8_t *got = NULL;
	size_t len;

	for (enum s3_fault f = FAULT_DROP_EARLY; f < FAULT_N; f++) {
		unsigned n = 0, hit;
		do {
			s3_server_empty(&p->server);
			assert_int_equal(repo_put(&p->repo, "old", "old", 3), 0);
			set_fault(p, f, ++n, UINT32_MAX / 2);
			int small = repo_put_new(&p->repo, "new", "new content", 11);
			int large = repo_put_new(&p->repo, "sets/s/pack", p->big, BIG);
			int replaced = repo_put(&p->repo, "old", "replaced", 8);
			hit = clear_fault(p);
			if (small == 0 || served_find(&p->server, "dept/new", false))
				expect_object(&p->repo, "new", "new content", 11);
			if (large == 0 || served_find(&p->server, "dept/sets/s/pack", false))
				expect_object(&p->repo, "sets/s/pack", p->big, BIG);
			assert_int_equal(repo_get(&p->repo, "old", 100, &got, &len), 0);
			if (replaced == 0)
				assert_string_equal((char *)got, "replaced");
			else
				assert_true(!strcmp((char *)got, "replaced") ||
					    !strcmp((char *)got, "old"));
			free(STEAL_PTR(got));
			if (hit)
				assert_int_not_equal(replaced, 0);
		} while (hit);
		assert_true(n > 8);
	}
}

/* A server that is not there is told as that, after a bounded number of tries. */
static void tries_are_bounded(void **state)
{
	struct place *p = *state;
	uint64_t size;
	uint8_t byte;

	assert_int_equal(repo_put(&p->repo, "a", "1", 1), 0);
	unsigned before = requests(p);
	set_fault(p, FAULT_503, 1, UINT32_MAX / 2);
	assert_int_equal(repo_size(&p->repo, "a", &size), -EAGAIN);
	assert_int_equal(requests(p) - before, hasty.tries);
	before = requests(p);
	assert_int_equal(repo_read(&p->repo, "a", 0, &byte, 1), -EAGAIN);
	assert_int_equal(requests(p) - before, hasty.tries);
	set_fault(p, FAULT_DROP_BEFORE, 1, UINT32_MAX / 2);
	before = requests(p);
	assert_int_equal(repo_size(&p->repo, "a", &size), -ECONNRESET);
	assert_int_equal(requests(p) - before, hasty.tries);
	/* Known to be gone, it is asked once by each request, and trusted again with its first
	 * answer. */
	before = requests(p);
	assert_int_equal(repo_delete(&p->repo, "a"), -ECONNRESET);
	assert_int_equal(requests(p) - before, 1);
	clear_fault(p);
	assert_int_equal(repo_size(&p->repo, "a", &size), 0);
	set_fault(p, FAULT_DROP_BEFORE, 1, 2);
	assert_int_equal(repo_size(&p->repo, "a", &size), 0);
	clear_fault(p);
	before = requests(p);
	assert_int_equal(repo_size(&p->repo, "none", &size), -ENOENT); /* an answer is an answer */
	assert_int_equal(requests(p) - before, 1);
}

/* A failed upload in parts leaves nothing that costs and nobody sees. */
static void parts_are_given_up(void **state)
{
	struct place *p = *state;

	p->server.race_key = "dept/pack";
	assert_int_equal(repo_put_new(&p->repo, "pack", p->big, BIG), -EEXIST);
	expect_object(&p->repo, "pack", "another's", 9);
	expect_no_uploads(p);
}

/* Between the look and the commit another writer was faster: it keeps its object where the server
 * lets it. */
static void races_are_lost(void **state)
{
	struct place *p = *state;

	p->server.race_key = "dept/a";
	assert_int_equal(repo_put_new(&p->repo, "a", "ours", 4), -EEXIST);
	expect_object(&p->repo, "a", "another's", 9);
	/* Also when our answer was lost on the way, and theirs now stands there. */
	p->server.race_key = "dept/b";
	set_fault(p, FAULT_DROP_AFTER, 2, 1);
	assert_int_equal(repo_put_new(&p->repo, "b", "ours", 4), -EEXIST);
	assert_int_equal(p->server.faults_hit, 1);
	expect_object(&p->repo, "b", "another's", 9);
}

/* What the server stored in half does not stand, and is no success. */
static void halves_do_not_stand(void **state)
{
	struct place *p = *state;
	uint64_t size;

	p->server.halves = true;
	assert_int_equal(repo_put_new(&p->repo, "a", "0123456789", 10), -EIO);
	assert_int_equal(repo_put(&p->repo, "b", "0123456789", 10), -EIO);
	assert_int_equal(repo_put_new(&p->repo, "c", p->big, BIG), -EIO);
	p->server.halves = false;
	assert_int_equal(repo_size(&p->repo, "a", &size), -ENOENT);
	assert_int_equal(repo_size(&p->repo, "b", &size), -ENOENT);
	assert_int_equal(repo_size(&p->repo, "c", &size), -ENOENT);
	expect_no_uploads(p);
}

/* A broken read goes on where it broke; when the object was replaced meanwhile, all of it is of the
 * new one. */
static void reads_go_on(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE uint8_t *a = malloc(HUGE), *got = malloc(HUGE);

	memset(a, 'A', HUGE);
	assert_int_equal(repo_put(&p->repo, "a", "x", 1), 0);
	pthread_mutex_lock(&p->server.lock);
	served_store(&p->server, "dept/a", a, HUGE, "token");
	pthread_mutex_unlock(&p->server.lock);
	/* Each try brings half of what is left: more tries than are allowed without progress. */
	set_fault(p, FAULT_CUT_BODY, 1, 5);
	assert_int_equal(repo_read(&p->repo, "a", 0, got, HUGE), 0);
	assert_memory_equal(got, a, HUGE);
	assert_int_equal(p->server.faults_hit, 5);
	p->server.replace_key = "dept/a";
	set_fault(p, FAULT_CUT_BODY, 1, 1);
	assert_int_equal(repo_read(&p->repo, "a", 0, got, HUGE), 0);
	memset(a, 'B', HUGE);
	assert_memory_equal(got, a, HUGE);
}

/* Bytes of another range than was asked for are not taken for those. */
static void other_ranges_are_refused(void **state)
{
	static const char *const ranges[] = {"bytes 0-3/10",
					     "bytes 4-7/10",
					     "bytes 3-1/10",
					     "bytes 2-99/10",
					     "bytes 2-5/*",
					     "items 2-5/10",
					     "bytes 2-5/10x",
					     "",
					     "bytes 99999999999999999999999-5/10"};
	struct place *p = *state;
	uint8_t got[4] = "none";

	assert_int_equal(repo_put(&p->repo, "a", "0123456789", 10), 0);
	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		p->server.range = ranges[i];
		assert_int_equal(repo_read(&p->repo, "a", 2, got, 4), -EPROTO);
		assert_memory_equal(got, "none", 4);
	}
	p->server.range = "bytes 2-5/10";
	assert_int_equal(repo_read(&p->repo, "a", 2, got, 4), 0);
	assert_memory_equal(got, "2345", 4);
}

/* --- lists --- */

static void lists_of_servers(void **state)
{
	static const struct {
		const char *body;
		const char *names; /* NULL: -EUCLEAN */
	} cases[] = {
	    {"<ListBucketResult "
	     "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name><KeyCount>2</"
	     "KeyCount>"
	     "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents><Key>dept/"
	     "sets/%62</Key>"
	     "<ETag>&quot;x&quot;</ETag></Contents><CommonPrefixes><Prefix>dept%2Fsets%2Fa%2F</"
	     "Prefix></CommonPrefixes>"
	     "</ListBucketResult>",
	     "a b "},
	    /* An object and objects below it are one name; what is no name of ours is passed over.
	     */
	    {"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>dept/sets/a</Key></"
	     "Contents><CommonPrefixes>"
	     "<Prefix>dept/sets/a/</Prefix></CommonPrefixes><Contents><Key>dept/sets/</Key></"
	     "Contents><Contents>"
	     "<Key>dept/sets/.hidden</Key></Contents><Contents><Key>dept/sets/&#228;</Key></"
	     "Contents><Contents>"
	     "<Key>dept/sets/a b</Key></Contents></ListBucketResult>",
	     "a "},
	    {"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>dept/sets/%62</"
	     "Key></Contents></ListBucketResult>",
	     ""}, /* not said to be encoded */
	    {"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>other/sets/a</Key></"
	     "Contents></ListBucketResult>",
	     NULL},
	    {"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>dept/sets/a/b</"
	     "Key></Contents></ListBucketResult>",
	     NULL},
	    {"<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</"
	     "EncodingType><Contents><Key>dept/sets/%0</Key>"
	     "</Contents></ListBucketResult>",
	     NULL},
	    {"<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</"
	     "EncodingType><Contents><Key>dept/sets/a%00</Key>"
	     "</Contents></ListBucketResult>",
	     NULL},
	    {"<ListBucketResult><Contents><Key>dept/sets/a</Key></Contents></ListBucketResult>",
	     NULL},
	    {"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", NULL},
	    {"<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>", NULL},
	    {"<ListBucketResult><IsTruncated>false</IsTruncated><IsTruncated>true</IsTruncated></"
	     "ListBucketResult>",
	     NULL},
	    /* The same page for ever. */
	    {"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</"
	     "NextContinuationToken></ListBucketResult>",
	     NULL},
	    {"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken></"
	     "NextContinuationToken></ListBucketResult>",
	     NULL},
	    {"<Other><IsTruncated>false</IsTruncated></Other>", NULL},
	    {"<ListBucketResult><IsTruncated>false</IsTruncated>", NULL},
	    {"", NULL},
	};
	struct place *p = *state;
	char **names;
	size_t n;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		p->server.listing = cases[i].body;
		if (cases[i].names)
			expect_names(&p->repo, "sets/", cases[i].names);
		else
			assert_int_equal(repo_list(&p->repo, "sets/", &names, &n), -EUCLEAN);
	}
	p->server.listing = NULL;
	assert_int_equal(repo_list(&p->repo, "sets", &names, &n), -EINVAL);
}

/* An answer without end is cut off. */
static void endless_lists_end(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *body = malloc((9u << 20) + 1);
	char **names;
	size_t n;

	memset(body, ' ', 9u << 20);
	body[9u << 20] = 0;
	p->server.listing = body;
	assert_int_equal(repo_list(&p->repo, "sets/", &names, &n), -EFBIG);
	pthread_mutex_lock(&p->server.lock); /* it may still be sending */
	p->server.listing = NULL;
	pthread_mutex_unlock(&p->server.lock);
}

/* --- opening, keys --- */

static int try_open(const char *url, struct diag *d)
{
	const struct repo_ops *ops;
	void *self;
	int err = s3_open(url, &hasty, &ops, &self, d);

	if (err == 0)
		ops->close(self);
	return err;
}

/* What is wrong is said when the repository is opened: no bucket, no keys, other keys, no server.
 */
static void opening_says_why(void **state)
{
	struct place *p = *state;
	char url[128];
	struct diag d = {0};

	snprintf(url, sizeof(url), "s3+http://127.0.0.1:%u/nobucket", p->server.port);
	assert_int_equal(try_open(url, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_NO_REPOSITORY);
	assert_non_null(strstr(d.object, "no such bucket"));
	use_credentials("OTHERKEY");
	assert_int_equal(try_open(p->url, &d), -EACCES);
	assert_non_null(strstr(d.object, "credentials"));
	assert_null(strstr(d.object, "server-secret"));
	p->server.wrong = 0;
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	setenv("HOME", "/nowhere", 1);
	assert_int_equal(try_open(p->url, &d), -ENOKEY);
	use_credentials("SERVERKEY");
	assert_int_equal(try_open("s3+http://127.0.0.1:1/bucket", &d), -ECONNREFUSED);
	assert_int_equal(try_open("s3://user@bucket", &d), -EINVAL);
	assert_int_equal(try_open(p->url, &d), 0);
}

/* A serving process outlives keys: refused, it looks whether there are new ones. */
static void keys_are_renewed(void **state)
{
	struct place *p = *state;
	uint64_t size;

	assert_int_equal(repo_put(&p->repo, "a", "1", 1), 0);
	p->server.key_id = "NEWKEY";
	assert_int_equal(repo_size(&p->repo, "a", &size), -EACCES);
	use_credentials("NEWKEY");
	assert_int_equal(repo_size(&p->repo, "a", &size), 0);
	p->server.wrong = 0; /* those with the old key */
}

/* Temporary credentials: the session token is sent, and signed. */
static void session_tokens(void **state)
{
	struct place *p = *state;
	struct diag d = {0};

	setenv("AWS_SESSION_TOKEN", "a/long+token==", 1);
	assert_int_equal(try_open(p->url, &d), 0);
	unsetenv("AWS_SESSION_TOKEN");
}

/* Whose repository it is holds here as in a folder. */
static void belongs_to_one_volume(void **state)
{
	struct place *p = *state;
	uint8_t volume[16] = {1}, other[16] = {2}, seed[32] = {3}, pk[32];
	struct repo *r;

	identity_sign_pk_from_seed(seed, pk);
	assert_int_equal(repo_open(p->url, volume, pk, &r, &p->d), -ENOENT);
	assert_int_equal(p->d.id, DIAG_NO_REPOSITORY);
	assert_int_equal(repo_create(p->url, volume, seed, &p->d), 0);
	assert_int_equal(repo_create(p->url, volume, seed, &p->d), 0);
	assert_int_equal(repo_create(p->url, other, seed, &p->d), -EINVAL);
	assert_int_equal(p->d.id, DIAG_REPOSITORY_OTHER);
	assert_int_equal(repo_open(p->url, volume, pk, &r, &p->d), 0);
	assert_string_equal(repo_url(r), p->url);
	repo_close(r);
}

/* --- threads --- */

struct worker {
	struct place *p;
	int n, err;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	char name[32], text[32];
	uint8_t got[32];

	for (int i = 0; i < 8 && w->err == 0; i++) {
		snprintf(name, sizeof(name), "sets/%d/%d", w->n, i);
		snprintf(text, sizeof(text), "object %d of %d", i, w->n);
		w->err = repo_put_new(&w->p->repo, name, text, strlen(text));
		if (w->err == 0)
			w->err = repo_read(&w->p->repo, name, 0, got, strlen(text));
		if (w->err == 0 && memcmp(got, text, strlen(text)) != 0)
			w->err = -EBADMSG;
	}
	return NULL;
}

/* Many threads use one repository. */
static void threads(void **state)
{
	struct worker w[6];
	pthread_t t[6];

	for (int i = 0; i < 6; i++) {
		w[i] = (struct worker){.p = *state, .n = i};
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < 6; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(w[i].err, 0);
	}
}

int main(void)
{
	const struct CMUnitTest elsewhere[] = {cmocka_unit_test(conforms_elsewhere)};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(conforms, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_fault_anywhere, setup, teardown),
	    cmocka_unit_test_setup_teardown(dead_from_any_request, setup, teardown),
	    cmocka_unit_test_setup_teardown(tries_are_bounded, setup, teardown),
	    cmocka_unit_test_setup_teardown(parts_are_given_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(races_are_lost, setup, teardown),
	    cmocka_unit_test_setup_teardown(halves_do_not_stand, setup, teardown),
	    cmocka_unit_test_setup_teardown(reads_go_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(other_ranges_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(lists_of_servers, setup, teardown),
	    cmocka_unit_test_setup_teardown(endless_lists_end, setup, teardown),
	    cmocka_unit_test_setup_teardown(opening_says_why, setup, teardown),
	    cmocka_unit_test_setup_teardown(keys_are_renewed, setup, teardown),
	    cmocka_unit_test_setup_teardown(session_tokens, setup, teardown),
	    cmocka_unit_test_setup_teardown(belongs_to_one_volume, setup, teardown),
	    cmocka_unit_test_setup_teardown(threads, setup, teardown),
	};

	if (secret_process_init() != 0)
		return 1;
	if (getenv("COFFER_TEST_S3_URL"))
		return cmocka_run_group_tests(elsewhere, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
