/*
 * Listing: ListObjectsV2 with a delimiter, page by page.
 *
 * Every key must lie under the prefix that was asked for; what then is no name of ours (other
 * tools' folders, hidden objects) is passed over. Names are asked for percent-encoded, and decoded
 * only when the answer says that they are. Pages and names are bounded, and a page must lead on: a
 * server cannot keep us here for ever.
 */
#include "backup/repo_s3_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

#define PAGE_TEXT_MAX (8u << 20)
#define PAGES_MAX 10000
#define NAMES_MAX (1u << 20)
#define CONTINUATION_MAX 4096
#define ROOT "ListBucketResult/"

/* A page as it stands: keys are judged once all of it has been read, since it says only somewhere
 * how they are encoded. */
struct page {
	char **keys;
	size_t n, cap;
	int truncated; /* -1: not told */
	bool encoded;
	char *next; /* NULL: none */
};

static void page_free(struct page *p)
{
	repo_list_free(p->keys, p->n);
	free(p->next);
}

static int add(char ***names, size_t *n, size_t *cap, const char *s, size_t len)
{
	if (*n == NAMES_MAX)
		return -EFBIG;
	if (*n == *cap) {
		size_t more = *cap ? 2 * *cap : 64;
		char **grown = realloc(*names, more * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		*names = grown;
		*cap = more;
	}
	(*names)[*n] = strndup(s, len);
	if (!(*names)[*n])
		return -ENOMEM;
	++*n;
	return 0;
}

static int on_element(void *arg, const char *path, const char *text, size_t len)
{
	struct page *p = arg;

	if (strncmp(path, ROOT, strlen(ROOT)) != 0)
		return -EUCLEAN;
	path += strlen(ROOT);
	if (strlen(text) != len)
		return -EUCLEAN;
	if (!strcmp(path, "Contents/Key") || !strcmp(path, "CommonPrefixes/Prefix"))
		return add(&p->keys, &p->n, &p->cap, text, len);
	if (!strcmp(path, "IsTruncated")) {
		if (p->truncated >= 0 || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
			return -EUCLEAN;
		p->truncated = *text == 't';
	} else if (!strcmp(path, "NextContinuationToken")) {
		if (p->next || len == 0 || len > CONTINUATION_MAX)
			return -EUCLEAN;
		p->next = strdup(text);
		return p->next ? 0 : -ENOMEM;
	} else if (!strcmp(path, "EncodingType")) {
		p->encoded = !strcmp(text, "url");
	}
	return 0;
}

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* In place. A plus is a space in what AWS sends. */
static int percent_decode(char *s)
{
	char *out = s;

	for (; *s; s++) {
		int high, low;

		if (*s == '+') {
			*out++ = ' ';
		} else if (*s != '%') {
			*out++ = *s;
		} else {
			high = hex(s[1]);
			low = high < 0 ? -1 : hex(s[2]);
			if (low < 0 || (high == 0 && low == 0))
				return -EUCLEAN;
			*out++ = (char)(high << 4 | low);
			s += 2;
		}
	}
	*out = 0;
	return 0;
}

/* --- the names --- */

struct listing {
	char *below; /* the repository's prefix and the one asked for */
	char **names;
	size_t n, cap;
};

static int take_key(struct listing *l, char *key, bool encoded)
{
	size_t below = strlen(l->below);

	if (encoded && percent_decode(key) != 0)
		return -EUCLEAN;
	if (strncmp(key, l->below, below) != 0)
		return -EUCLEAN;
	const char *name = key + below, *slash = strchr(name, '/');
	size_t len = slash ? (size_t)(slash - name) : strlen(name);
	if (slash && slash[1])
		return -EUCLEAN; /* more than the next component */
	return repo_component_valid(name, len) ? add(&l->names, &l->n, &l->cap, name, len) : 0;
}

static int build_query(const struct s3 *s, const struct listing *l, const char *token,
		       struct bytes_w *w)
{
	char page[48];

	bytes_w_reset(w);
	if (token) {
		bytes_w_raw(w, "continuation-token=", 19);
		s3_encode(w, token, true);
		bytes_w_u8(w, '&');
	}
	snprintf(page, sizeof(page), "&max-keys=%u&prefix=", s->tuning.list_page);
	bytes_w_raw(w, "delimiter=%2F&encoding-type=url&list-type=2", 43);
	bytes_w_raw(w, page, strlen(page));
	s3_encode(w, l->below, true);
	bytes_w_u8(w, 0);
	return w->err;
}

/* *token: in, where to go on (NULL: at the beginning); out, where the next page begins (NULL:
 * none). */
static int list_page(struct s3 *s, struct listing *l, char **token)
{
	CLEANUP_BYTES struct bytes_w query = {0}, text = {0};
	CLEANUP_WITH(page_free) struct page p = {.truncated = -1};
	struct s3_reply re;
	int err = build_query(s, l, *token, &query);

	if (err)
		return err;
	struct s3_request rq = {
	    .method = "GET", .query = (char *)query.buf, .text = &text, .text_max = PAGE_TEXT_MAX};
	err = s3_perform(s, &rq, &re);
	if (err == 0)
		err = s3_xml_walk(text.buf, text.len, on_element, &p);
	if (err)
		return err;
	if (p.truncated < 0 || (p.truncated && (!p.next || (*token && !strcmp(p.next, *token)))))
		return -EUCLEAN;
	for (size_t i = 0; err == 0 && i < p.n; i++)
		err = take_key(l, p.keys[i], p.encoded);
	free(*token);
	*token = p.truncated ? STEAL_PTR(p.next) : NULL;
	return err;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* An object "a" and objects below "a/" are one name. */
static void sort_unique(struct listing *l)
{
	size_t n = 0;

	if (l->n)
		qsort(l->names, l->n, sizeof(*l->names), by_name);
	for (size_t i = 0; i < l->n; i++) {
		if (n && !strcmp(l->names[n - 1], l->names[i]))
			free(l->names[i]);
		else
			l->names[n++] = l->names[i];
	}
	l->n = n;
}

int s3_list(struct s3 *s, const char *prefix, char ***ret, size_t *ret_n)
{
	CLEANUP_FREE char *token = NULL, *below = NULL;
	size_t len = strlen(prefix), pages = 0;
	struct listing l = {0};
	int err = 0;

	if (len && prefix[len - 1] != '/')
		return -EINVAL;
	if (asprintf(&below, "%s%s", s->place.prefix, prefix) < 0) {
		below = NULL;
		return -ENOMEM;
	}
	l.below = below;
	do {
		err = pages++ < PAGES_MAX ? list_page(s, &l, &token) : -EFBIG;
	} while (err == 0 && token);
	if (err) {
		repo_list_free(l.names, l.n);
		return err;
	}
	sort_unique(&l);
	*ret = l.names;
	*ret_n = l.n;
	return 0;
}
