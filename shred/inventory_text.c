/*
 * The text of an inventory: a head of seven lines, then an item a line.
 *
 * There is one text for an inventory: what was parsed is written anew and compared, so nothing
 * stands in it that was not understood.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "shred/inventory.h"

#define FIRST_LINE "coffer-inventory/1\n"
#define LINE_MAX_LEN 128
#define N_HEAD 6 /* lines after the first */

/* One letter a flag, in the order of the flags. */
static const char letters[] = "tphslmxkd";
#define N_LETTERS (sizeof(letters) - 1)

static void __attribute__((format(printf, 2, 3))) line(struct bytes_w *w, const char *fmt, ...)
{
	char text[LINE_MAX_LEN];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bytes_w_raw(w, text, (size_t)n);
	bytes_w_u8(w, '\n');
}

static void flags_text(unsigned flags, char out[N_LETTERS + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < N_LETTERS; i++)
		if (flags & (1u << i))
			out[n++] = letters[i];
	if (!n)
		out[n++] = '-';
	out[n] = 0;
}

static void put_head(struct bytes_w *w, const struct inventory *inv)
{
	char hex[2 * sizeof(inv->sealed) + 1];

	bytes_hex(hex, inv->sealed, sizeof(inv->sealed));
	bytes_w_raw(w, FIRST_LINE, strlen(FIRST_LINE));
	line(w, "moved: %s", inv->destroy_moved ? "destroy" : "keep");
	line(w, "linked: %s", inv->destroy_linked ? "destroy" : "keep");
	line(w, "sealed: %s", hex);
	line(w, "ids: %" PRIu64, inv->n_destroy);
	line(w, "kept: %" PRIu64, inv->n_kept);
	line(w, "bytes: %" PRIu64, inv->n_bytes);
}

int inventory_encode(const struct inventory *inv, char **ret, size_t *ret_len)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	char flags[N_LETTERS + 1];

	put_head(&w, inv);
	for (size_t i = 0; i < inv->n_items; i++) {
		flags_text(inv->items[i].flags, flags);
		line(&w, "%" PRIu64 " %s %" PRIu64, inv->items[i].id, flags, inv->items[i].bytes);
	}
	size_t len = w.len;
	bytes_w_u8(&w, 0);
	if (w.err)
		return w.err;
	*ret = (char *)STEAL_PTR(w.buf);
	*ret_len = len;
	return 0;
}

/* --- reading --- */

struct text {
	const char *p;
	size_t left;
};

/* The next line, without its end, into out. */
static int next_line(struct text *t, char out[LINE_MAX_LEN])
{
	const char *end = t->left ? memchr(t->p, '\n', t->left) : NULL;
	size_t len = end ? (size_t)(end - t->p) : 0;

	if (!end || len >= LINE_MAX_LEN || memchr(t->p, 0, len))
		return -EUCLEAN;
	memcpy(out, t->p, len);
	out[len] = 0;
	t->p += len + 1;
	t->left -= len + 1;
	return 0;
}

/* How it is written is checked by writing it anew. */
static int number(const char *s, const char **ret_end, uint64_t *ret)
{
	char *end;

	if (*s < '0' || *s > '9')
		return -EUCLEAN;
	errno = 0;
	*ret = strtoull(s, &end, 10);
	*ret_end = end;
	return errno ? -EUCLEAN : 0;
}

static int head_value(const char *text, const char *key, const char **ret)
{
	size_t n = strlen(key);

	if (strncmp(text, key, n) != 0)
		return -EUCLEAN;
	*ret = text + n;
	return 0;
}

static int get_head(struct text *t, struct inventory *inv)
{
	static const char *const keys[N_HEAD] = {
	    "moved: ", "linked: ", "sealed: ", "ids: ", "kept: ", "bytes: "};
	uint64_t *const numbers[N_HEAD] = {
	    [3] = &inv->n_destroy, [4] = &inv->n_kept, [5] = &inv->n_bytes};
	char text[LINE_MAX_LEN];
	const char *value, *end;

	for (size_t i = 0; i < N_HEAD; i++) {
		if (next_line(t, text) || head_value(text, keys[i], &value))
			return -EUCLEAN;
		if (i == 0)
			inv->destroy_moved = strcmp(value, "destroy") == 0;
		else if (i == 1)
			inv->destroy_linked = strcmp(value, "destroy") == 0;
		else if (i == 2 ? bytes_unhex(value, inv->sealed, sizeof(inv->sealed))
				: number(value, &end, numbers[i]))
			return -EUCLEAN;
	}
	return 0;
}

static int get_item(const char *text, struct inventory_item *ret)
{
	const char *at;
	int r = number(text, &at, &ret->id);

	if (r || *at++ != ' ')
		return -EUCLEAN;
	for (ret->flags = 0; *at && *at != ' '; at++) {
		const char *letter = strchr(letters, *at);

		if (!letter && *at != '-')
			return -EUCLEAN;
		if (letter)
			ret->flags |= 1u << (letter - letters);
	}
	if (*at++ != ' ')
		return -EUCLEAN;
	return number(at, &at, &ret->bytes);
}

static int get_items(struct text *t, struct inventory *inv)
{
	char text[LINE_MAX_LEN];
	size_t n = 0;

	for (size_t i = 0; i < t->left; i++)
		n += t->p[i] == '\n';
	inv->items = calloc(n ? n : 1, sizeof(*inv->items));
	if (!inv->items)
		return -ENOMEM;
	for (; t->left; inv->n_items++) {
		struct inventory_item *item = &inv->items[inv->n_items];

		if (next_line(t, text) || get_item(text, item) || item->id < VOLUME_FIRST_ID ||
		    (inv->n_items && item->id <= item[-1].id))
			return -EUCLEAN;
	}
	return 0;
}

static bool totals_hold(const struct inventory *inv)
{
	uint64_t n_kept = 0, n_bytes = 0;

	for (size_t i = 0; i < inv->n_items; i++) {
		bool kept = inv->items[i].flags & INVENTORY_KEPT;

		n_kept += kept;
		n_bytes += kept ? 0 : inv->items[i].bytes;
	}
	return n_kept == inv->n_kept && inv->n_items - n_kept == inv->n_destroy &&
	       n_bytes == inv->n_bytes;
}

int inventory_decode(const void *p, size_t len, struct inventory *ret)
{
	CLEANUP_WITH(inventory_free) struct inventory inv = {0};
	CLEANUP_FREE char *again = NULL;
	struct text t = {p, len};
	size_t again_len, first = strlen(FIRST_LINE);
	int r;

	if (len < first || memcmp(p, FIRST_LINE, first) != 0)
		return -EUCLEAN;
	t.p += first;
	t.left -= first;
	r = get_head(&t, &inv);
	if (r == 0)
		r = get_items(&t, &inv);
	if (r == 0)
		r = inventory_encode(&inv, &again, &again_len);
	if (r)
		return r;
	if (!totals_hold(&inv) || again_len != len || memcmp(again, p, len) != 0)
		return -EUCLEAN;
	*ret = inv;
	inv = (struct inventory){0};
	return 0;
}
