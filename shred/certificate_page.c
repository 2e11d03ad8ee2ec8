/* A certificate for people: plain text for a terminal, and one HTML page that prints on A4. Both
 * show every field, in order. */
#include "shred/certificate.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "shred/certificate_internal.h"

static void put(struct bytes_w *w, const char *s)
{
	bytes_w_raw(w, s, strlen(s));
}

static void __attribute__((format(printf, 2, 3))) put_fmt(struct bytes_w *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(w, text);
}

static int end(struct bytes_w *w, char **ret)
{
	bytes_w_u8(w, 0);
	if (w->err)
		return w->err;
	*ret = (char *)STEAL_PTR(w->buf);
	return 0;
}

static int open_note(const char *text, struct note *ret, struct diag *d)
{
	int r = certificate_parse(text, ret);

	if (r == -EPROTONOSUPPORT)
		return diag_fail(d, DIAG_VERSION, r, "certificate");
	return r ? diag_fail(d, DIAG_NOTE_MALFORMED, r, "certificate") : 0;
}

/* --- text --- */

int certificate_text(const char *note, char **ret, struct diag *d)
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_BYTES struct bytes_w w = {0};
	int r = open_note(note, &n, d);

	if (r)
		return r;
	put(&w, "数据销毁证书 / Certificate of destruction\n");
	for (size_t i = 0; i < certificate_n_fields; i++) {
		const struct certificate_field *f = &certificate_fields[i];

		if (f->section_en)
			put_fmt(&w, "\n%s / %s\n", f->section_zh, f->section_en);
		for (size_t k = 0; note_get_nth(&n, f->key, k); k++) {
			put_fmt(&w, "  %s / %s: ", f->zh, f->en);
			put(&w, note_get_nth(&n, f->key, k));
			put(&w, "\n");
		}
	}
	r = end(&w, ret);
	return r ? diag_fail_errno(d, r, "certificate") : 0;
}

/* --- page --- */

static const char style[] =
    "@page{size:A4;margin:18mm}"
    "body{font-family:'Noto Serif CJK SC','Source Han Serif "
    "SC',SimSun,serif;font-size:10pt;color:#000;"
    "max-width:174mm;margin:0 auto}"
    "h1{font-size:16pt;text-align:center;margin:0 0 2mm}"
    "h2{font-size:11pt;margin:4mm 0 1mm;border-bottom:0.3mm solid #000}"
    "p.sub{text-align:center;margin:0 0 4mm}"
    "table{width:100%;border-collapse:collapse}"
    "th,td{border:0.2mm solid #666;padding:1mm 1.5mm;text-align:left;vertical-align:top;"
    "overflow-wrap:anywhere}"
    "th{width:34%;font-weight:normal;background:#f2f2f2}"
    "tr{page-break-inside:avoid}"
    "pre{font-size:6.5pt;white-space:pre-wrap;overflow-wrap:anywhere;border:0.2mm solid "
    "#666;padding:2mm}"
    "div.hand{display:flex;justify-content:space-between;margin-top:10mm}";

static void put_escaped(struct bytes_w *w, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '&':
			put(w, "&amp;");
			break;
		case '<':
			put(w, "&lt;");
			break;
		case '>':
			put(w, "&gt;");
			break;
		case '"':
			put(w, "&quot;");
			break;
		default:
			bytes_w_u8(w, (uint8_t)*s);
		}
	}
}

static void put_head(struct bytes_w *w, const struct note *n)
{
	put(w, "<!DOCTYPE html>\n<html lang=\"zh-CN\">\n<head>\n<meta charset=\"utf-8\">\n<title>");
	put_escaped(w, note_get(n, "number"));
	put(w, "</title>\n<style>");
	put(w, style);
	put(w, "</style>\n</head>\n<body>\n<h1>数据销毁证书</h1>\n"
	       "<p class=\"sub\" lang=\"en\">Certificate of destruction</p>\n");
}

static void put_rows(struct bytes_w *w, const struct note *n)
{
	bool open = false;

	for (size_t i = 0; i < certificate_n_fields; i++) {
		const struct certificate_field *f = &certificate_fields[i];

		if (f->section_en) {
			put(w, open ? "</table>\n" : "");
			put_fmt(w, "<h2>%s <span lang=\"en\">%s</span></h2>\n<table>\n",
				f->section_zh, f->section_en);
			open = true;
		}
		for (size_t k = 0; note_get_nth(n, f->key, k); k++) {
			put_fmt(w, "<tr><th>%s<br><span lang=\"en\">%s</span></th><td>", f->zh,
				f->en);
			put_escaped(w, note_get_nth(n, f->key, k));
			put(w, "</td></tr>\n");
		}
	}
	put(w, "</table>\n");
}

/* The note itself is part of the page: who has the paper can type it in, who has the file can check
 * it. */
static void put_note(struct bytes_w *w, const char *note)
{
	put(w, "<h2>签名原文 <span lang=\"en\">Signed note</span></h2>\n<pre>");
	put_escaped(w, note);
	put(w, "</pre>\n<div class=\"hand\"><span>经办人 / Handled by: ____________</span>"
	       "<span>监销人 / Witness: ____________</span>"
	       "<span>日期 / Date: ____________</span></div>\n</body>\n</html>\n");
}

int certificate_html(const char *note, char **ret, struct diag *d)
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_BYTES struct bytes_w w = {0};
	int r = open_note(note, &n, d);

	if (r)
		return r;
	put_head(&w, &n);
	put_rows(&w, &n);
	put_note(&w, note);
	r = end(&w, ret);
	return r ? diag_fail_errno(d, r, "certificate") : 0;
}
