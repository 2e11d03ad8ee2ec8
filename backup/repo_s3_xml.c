/*
 * The XML of S3 answers, and no more of XML than that: an optional declaration, then one element;
 * elements with attributes (skipped), text, the five named entities and characters by number. A
 * document type, comments, sections and instructions are refused, so that nothing expands and
 * nothing is fetched. Depth and path are bounded; the text of an element is never longer than what
 * it was written as. No recursion.
 */
#include "backup/repo_s3_internal.h"

#include <errno.h>
#include <string.h>

#include "core/cleanup.h"

#define DEPTH_MAX 12
#define PATH_LEN_MAX 255

struct walk {
	const char *p, *end;
	char path[PATH_LEN_MAX + 1];
	size_t path_len;
	size_t starts[DEPTH_MAX]; /* of each name in path, to cut it off again */
	size_t depth;
	bool leaf; /* nothing but text since the last start tag */
	bool done; /* the one element has ended */
	struct bytes_w text;
};

static bool space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(struct walk *w)
{
	while (w->p < w->end && space(*w->p))
		w->p++;
}

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '.' || c == ':';
}

static size_t name_len(const struct walk *w)
{
	const char *p = w->p;

	while (p < w->end && name_char(*p))
		p++;
	return (size_t)(p - w->p);
}

static bool skip_literal(struct walk *w, const char *s)
{
	size_t n = strlen(s);

	if ((size_t)(w->end - w->p) < n || memcmp(w->p, s, n) != 0)
		return false;
	w->p += n;
	return true;
}

/* --- text --- */

static void put_utf8(struct bytes_w *w, uint32_t c)
{
	if (c < 0x80) {
		bytes_w_u8(w, (uint8_t)c);
	} else if (c < 0x800) {
		bytes_w_u8(w, (uint8_t)(0xc0 | c >> 6));
		bytes_w_u8(w, (uint8_t)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		bytes_w_u8(w, (uint8_t)(0xe0 | c >> 12));
		bytes_w_u8(w, (uint8_t)(0x80 | (c >> 6 & 63)));
		bytes_w_u8(w, (uint8_t)(0x80 | (c & 63)));
	} else {
		bytes_w_u8(w, (uint8_t)(0xf0 | c >> 18));
		bytes_w_u8(w, (uint8_t)(0x80 | (c >> 12 & 63)));
		bytes_w_u8(w, (uint8_t)(0x80 | (c >> 6 & 63)));
		bytes_w_u8(w, (uint8_t)(0x80 | (c & 63)));
	}
}

static int digit(char c, unsigned base)
{
	int v = c >= '0' && c <= '9'   ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : 99;

	return v < (int)base ? v : -1;
}

/* Behind "&#". Zero and surrogates are no characters. */
static int character_reference(struct walk *w)
{
	unsigned base = w->p < w->end && *w->p == 'x' ? 16 : 10;
	uint32_t c = 0;
	size_t n = 0;

	w->p += base == 16;
	for (; w->p < w->end && *w->p != ';'; w->p++, n++) {
		int v = digit(*w->p, base);
		if (v < 0 || n == 7)
			return -EUCLEAN;
		c = c * base + (uint32_t)v;
	}
	if (n == 0 || !skip_literal(w, ";") || c == 0 || c > 0x10ffff ||
	    (c >= 0xd800 && c < 0xe000))
		return -EUCLEAN;
	put_utf8(&w->text, c);
	return 0;
}

static int entity(struct walk *w)
{
	static const struct {
		const char *name;
		char c;
	} named[] = {
	    {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};

	if (skip_literal(w, "&#"))
		return character_reference(w);
	for (size_t i = 0; i < sizeof(named) / sizeof(*named); i++) {
		if (skip_literal(w, named[i].name)) {
			bytes_w_u8(&w->text, (uint8_t)named[i].c);
			return 0;
		}
	}
	return -EUCLEAN;
}

static int text(struct walk *w)
{
	while (w->p < w->end && *w->p != '<') {
		uint8_t c = (uint8_t)*w->p;

		if (c == '&') {
			int err = entity(w);
			if (err)
				return err;
			continue;
		}
		if (c < 0x20 && !space((char)c))
			return -EUCLEAN;
		bytes_w_u8(&w->text, c);
		w->p++;
	}
	return w->text.err;
}

/* Between children there is only white space. */
static bool text_blank(const struct walk *w)
{
	for (size_t i = 0; i < w->text.len; i++)
		if (!space((char)w->text.buf[i]))
			return false;
	return true;
}

/* --- tags --- */

static int enter(struct walk *w, const char *name, size_t len)
{
	size_t at = w->path_len;

	if (len == 0 || w->depth == DEPTH_MAX || at + 1 + len > PATH_LEN_MAX)
		return -EUCLEAN;
	if (w->depth)
		w->path[at++] = '/';
	memcpy(w->path + at, name, len);
	w->starts[w->depth++] = at;
	w->path_len = at + len;
	w->path[w->path_len] = 0;
	w->leaf = true;
	bytes_w_reset(&w->text);
	return 0;
}

static int leave(struct walk *w, s3_xml_fn *fn, void *arg)
{
	int err = 0;

	if (w->leaf) {
		bytes_w_u8(&w->text, 0);
		err = w->text.err ? w->text.err
				  : fn(arg, w->path, (const char *)w->text.buf, w->text.len - 1);
	} else if (!text_blank(w)) {
		err = -EUCLEAN;
	}
	w->path_len = w->starts[--w->depth];
	w->path_len -= w->depth > 0;
	w->path[w->path_len] = 0;
	w->leaf = false;
	w->done = w->depth == 0;
	bytes_w_reset(&w->text);
	return err;
}

/* name = "value" */
static int attribute(struct walk *w)
{
	size_t n = name_len(w);

	if (n == 0)
		return -EUCLEAN;
	w->p += n;
	skip_space(w);
	if (!skip_literal(w, "="))
		return -EUCLEAN;
	skip_space(w);
	if (w->p == w->end || (*w->p != '"' && *w->p != '\''))
		return -EUCLEAN;
	char quote = *w->p++;
	while (w->p < w->end && *w->p != quote && *w->p != '<')
		w->p++;
	if (w->p == w->end || *w->p != quote)
		return -EUCLEAN;
	w->p++;
	return 0;
}

/* Behind "<". */
static int start_tag(struct walk *w, s3_xml_fn *fn, void *arg)
{
	size_t n = name_len(w);
	int err;

	if (w->done || (w->depth && !text_blank(w)))
		return -EUCLEAN;
	err = enter(w, w->p, n);
	if (err)
		return err;
	w->p += n;
	for (;;) {
		bool apart = w->p < w->end && space(*w->p);

		skip_space(w);
		if (skip_literal(w, ">"))
			return 0;
		if (skip_literal(w, "/>"))
			return leave(w, fn, arg);
		err = apart ? attribute(w) : -EUCLEAN;
		if (err)
			return err;
	}
}

/* Behind "</". */
static int end_tag(struct walk *w, s3_xml_fn *fn, void *arg)
{
	if (w->depth == 0 || !skip_literal(w, w->path + w->starts[w->depth - 1]))
		return -EUCLEAN;
	skip_space(w);
	return skip_literal(w, ">") ? leave(w, fn, arg) : -EUCLEAN;
}

static int declaration(struct walk *w)
{
	skip_literal(w, "\xef\xbb\xbf");
	skip_space(w);
	if (!skip_literal(w, "<?xml "))
		return 0;
	for (skip_space(w); !skip_literal(w, "?>"); skip_space(w)) {
		int err = attribute(w);
		if (err)
			return err;
	}
	return 0;
}

int s3_xml_walk(const void *p, size_t len, s3_xml_fn *fn, void *arg)
{
	struct walk w = {.p = p, .end = (const char *)p + len};
	int err = declaration(&w);

	while (err == 0 && w.p < w.end) {
		if (skip_literal(&w, "</"))
			err = end_tag(&w, fn, arg);
		else if (skip_literal(&w, "<"))
			err = start_tag(&w, fn, arg);
		else
			err = text(&w);
		if (err == 0 && w.depth == 0 && !text_blank(&w))
			err = -EUCLEAN;
	}
	if (err == 0 && !w.done)
		err = -EUCLEAN;
	bytes_w_free(&w.text);
	return err;
}
