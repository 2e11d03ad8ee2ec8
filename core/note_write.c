/* Writing the bodies of notes. Whatever does not fit the grammar is latched in the writer, never
 * written. */
#include "core/note.h"
#include "core/note_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void latch(struct bytes_w *w, int err)
{
	if (!w->err)
		w->err = err;
}

void note_begin(struct bytes_w *w, const char *type, unsigned version)
{
	char line[NOTE_WORD_MAX + 32];
	int n;

	if (!note_word_ok(type, strlen(type), NOTE_WORD_MAX) || version == 0 || w->len != 0) {
		latch(w, -EINVAL);
		return;
	}
	n = snprintf(line, sizeof(line), "coffer-%s/%u\n", type, version);
	bytes_w_raw(w, line, (size_t)n);
}

static void put(struct bytes_w *w, const char *key, const char *value, size_t len)
{
	size_t key_len = strlen(key);

	if (!note_word_ok(key, key_len, NOTE_WORD_MAX) || !note_value_valid(value, len) ||
	    w->len == 0 || w->len + key_len + len + 3 > NOTE_BODY_MAX) {
		latch(w, -EINVAL);
		return;
	}
	bytes_w_raw(w, key, key_len);
	bytes_w_raw(w, ": ", 2);
	bytes_w_raw(w, value, len);
	bytes_w_raw(w, "\n", 1);
}

void note_put(struct bytes_w *w, const char *key, const char *value)
{
	put(w, key, value, strlen(value));
}

void note_put_fmt(struct bytes_w *w, const char *key, const char *fmt, ...)
{
	char value[NOTE_VALUE_MAX + 1];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(value))
		latch(w, -EINVAL);
	else
		put(w, key, value, (size_t)n);
}

void note_put_hex(struct bytes_w *w, const char *key, const void *p, size_t n)
{
	char value[NOTE_VALUE_MAX + 1];

	if (n > NOTE_VALUE_MAX / 2) {
		latch(w, -EINVAL);
		return;
	}
	bytes_hex(value, p, n);
	put(w, key, value, 2 * n);
}

void note_put_u64(struct bytes_w *w, const char *key, uint64_t v)
{
	note_put_fmt(w, key, "%" PRIu64, v);
}

void note_put_time(struct bytes_w *w, const char *key, int64_t unix_seconds)
{
	char value[NOTE_TIME_LEN + 1];

	if (note_time_format(unix_seconds, value) < 0)
		latch(w, -EINVAL);
	else
		note_put(w, key, value);
}

int note_end(struct bytes_w *w, char **ret_body)
{
	if (w->len == 0)
		latch(w, -EINVAL);
	bytes_w_u8(w, 0);
	if (w->err)
		return w->err;
	*ret_body = (char *)w->buf;
	*w = (struct bytes_w){0};
	return 0;
}
