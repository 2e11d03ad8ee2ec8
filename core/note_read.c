/* Parsing the bodies of notes, and typed access to their fields. */
#include "core/note.h"
#include "core/note_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_PREFIX "coffer-"

/* "coffer-TYPE/VERSION", NUL-terminated in place. */
static int parse_type(char *line, struct note *n)
{
	char *slash = strchr(line, '/');
	uint64_t version;

	if (!slash || strncmp(line, TYPE_PREFIX, strlen(TYPE_PREFIX)) != 0)
		return -EUCLEAN;
	*slash = '\0';
	n->type = line + strlen(TYPE_PREFIX);
	if (!note_word_ok(n->type, strlen(n->type), NOTE_WORD_MAX) ||
	    note_decimal(slash + 1, &version) < 0 || version == 0 || version > 9999)
		return -EUCLEAN;
	n->version = (unsigned)version;
	return 0;
}

static int parse_field(char *line, struct note_field *f)
{
	char *colon = strchr(line, ':');

	if (!colon || colon[1] != ' ' || !note_word_ok(line, (size_t)(colon - line), NOTE_WORD_MAX))
		return -EUCLEAN;
	*colon = '\0';
	f->key = line;
	f->value = colon + 2;
	return note_value_valid(f->value, strlen(f->value)) ? 0 : -EUCLEAN;
}

/* Cuts n->mem into lines; every line is ended, which the caller has checked. */
static int parse_lines(struct note *n)
{
	char *line = n->mem, *end = strchr(line, '\n');
	int r;

	*end = '\0';
	r = parse_type(line, n);
	for (line = end + 1; r == 0 && *line; line = end + 1) {
		end = strchr(line, '\n');
		*end = '\0';
		r = parse_field(line, &n->fields[n->n_fields]);
		n->n_fields++;
	}
	return r;
}

/* How much of text is body: all of it when there is no signature block. */
static int body_of(const char *text, size_t *ret_len)
{
	size_t len = strnlen(text, NOTE_TEXT_MAX + 1);

	if (len <= NOTE_TEXT_MAX && strstr(text, "\n\n"))
		return note_split(text, ret_len);
	if (len > NOTE_BODY_MAX || !note_lines_ok(text, len))
		return -EUCLEAN;
	*ret_len = len;
	return 0;
}

int note_parse(const char *text, struct note *ret)
{
	struct note n = {0};
	size_t len, n_lines = 0;
	int r;

	r = body_of(text, &len);
	if (r < 0)
		return r;
	for (size_t i = 0; i < len; i++)
		n_lines += text[i] == '\n';
	n.mem = strndup(text, len);
	n.fields = calloc(n_lines, sizeof(*n.fields));
	if (!n.mem || !n.fields) {
		note_free(&n);
		return -ENOMEM;
	}
	r = parse_lines(&n);
	if (r < 0) {
		note_free(&n);
		return r;
	}
	*ret = n;
	return 0;
}

int note_open_volume(const char *text, const uint8_t volume_id[16], const uint8_t pk[IDENTITY_KEY_LEN],
		     const char *type, unsigned version, struct note *ret)
{
	char name[NOTE_KEY_NAME_MAX + 1];
	struct note n = {0};

	note_volume_key_name(volume_id, name);
	int r = note_verify(text, name, pk);
	if (r == 0)
		r = note_parse(text, &n);
	if (r < 0)
		return r;
	if (strcmp(n.type, type) != 0)
		r = -EUCLEAN;
	else if (n.version != version)
		r = -EPROTONOSUPPORT;
	if (r == 0)
		*ret = n;
	else
		note_free(&n);
	return r;
}

void note_free(struct note *n)
{
	int saved = errno;

	free(n->fields);
	free(n->mem);
	*n = (struct note){0};
	errno = saved;
}

const char *note_get_nth(const struct note *n, const char *key, size_t i)
{
	for (size_t f = 0; f < n->n_fields; f++)
		if (strcmp(n->fields[f].key, key) == 0 && i-- == 0)
			return n->fields[f].value;
	return NULL;
}

const char *note_get(const struct note *n, const char *key)
{
	return note_get_nth(n, key, 1) ? NULL : note_get_nth(n, key, 0);
}

int note_get_text(const struct note *n, const char *key, char *out, size_t size)
{
	const char *v = note_get(n, key);

	if (!v || strlen(v) >= size)
		return -EUCLEAN;
	strcpy(out, v);
	return 0;
}

int note_get_hex(const struct note *n, const char *key, void *out, size_t len)
{
	const char *v = note_get(n, key);

	return v && strlen(v) == 2 * len ? bytes_unhex(v, out, len) : -EUCLEAN;
}

int note_get_u64(const struct note *n, const char *key, uint64_t *ret)
{
	const char *v = note_get(n, key);

	return v ? note_decimal(v, ret) : -EUCLEAN;
}

int note_get_time(const struct note *n, const char *key, int64_t *ret)
{
	const char *v = note_get(n, key);

	return v ? note_time_parse(v, ret) : -EUCLEAN;
}
