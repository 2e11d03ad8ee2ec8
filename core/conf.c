/* coffer.conf: parsing through inih, strict about what it does not know. See conf.h. */
#include "core/conf.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/durable.h"

#define CONF_FILE "coffer.conf"
#define CONF_FILE_MAX (64u << 10)
#define REPOSITORY_SECTION "repository "

struct parse {
	struct conf *c;
	const char *object;
	struct diag *d;
	int err;
};

static int fail(struct parse *p, int line, const char *section, const char *key, const char *why)
{
	p->err = diag_fail(p->d, DIAG_POLICY, -EINVAL, "%s line %d, [%s] %s: %s", p->object, line,
			   section, key, why);
	return 0;
}

static struct conf_repository *repository(struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->n_repositories; i++)
		if (!strcmp(c->repositories[i].name, name))
			return &c->repositories[i];
	if (c->n_repositories == CONF_REPOSITORIES_MAX)
		return NULL;
	struct conf_repository *r = &c->repositories[c->n_repositories++];
	strcpy(r->name, name);
	return r;
}

static int on_repository(struct parse *p, int line, const char *section, const char *key,
			 const char *value)
{
	const char *name = section + strlen(REPOSITORY_SECTION);

	if (!*name || strlen(name) > CONF_NAME_MAX)
		return fail(p, line, section, key, "the name has 1 to 63 bytes");
	if (strcmp(key, "url") != 0)
		return fail(p, line, section, key, "no such key here (known: url)");
	if (!*value || strlen(value) > CONF_URL_MAX)
		return fail(p, line, section, key, "a path of 1 to 180 bytes");
	struct conf_repository *r = repository(p->c, name);
	if (!r)
		return fail(p, line, section, key, "more than 16 repositories");
	if (*r->url)
		return fail(p, line, section, key, "given twice");
	strcpy(r->url, value);
	return 1;
}

static int on_trail(struct parse *p, int line, const char *section, const char *key,
		    const char *value)
{
	char *end;

	if (strcmp(key, "checkpoint_seconds") != 0)
		return fail(p, line, section, key, "no such key here (known: checkpoint_seconds)");
	errno = 0;
	unsigned long n = strtoul(value, &end, 10);
	if (errno || *end || end == value || n < 10 || n > 3600)
		return fail(p, line, section, key, "a whole number from 10 to 3600");
	p->c->checkpoint_seconds = (unsigned)n;
	return 1;
}

static int line_of(const char *text, const char *at)
{
	int n = 1;

	for (const char *p = text; p < at; p++)
		n += *p == '\n';
	return n;
}

struct source {
	struct parse p;
	const char *text;
	const char *next; /* where the reader stands */
};

/* inih's reader of lines; remembers where it stands, since Debian's inih tells handlers no line numbers. */
static char *read_line(char *out, int size, void *stream)
{
	struct source *s = stream;
	int n = 0;

	if (!*s->next)
		return NULL;
	while (*s->next && n < size - 1) {
		char c = *s->next++;
		out[n++] = c;
		if (c == '\n')
			break;
	}
	out[n] = 0;
	return out;
}

static int on_pair(void *user, const char *section, const char *key, const char *value)
{
	struct source *s = user;
	int line = line_of(s->text, s->next) - 1;

	if (line < 1)
		line = 1;
	if (!strncmp(section, REPOSITORY_SECTION, strlen(REPOSITORY_SECTION)))
		return on_repository(&s->p, line, section, key, value);
	if (!strcmp(section, "trail"))
		return on_trail(&s->p, line, section, key, value);
	return fail(&s->p, line, section, key, "no such section (known: repository NAME, trail)");
}

int conf_parse(const char *text, const char *object, struct conf *ret, struct diag *d)
{
	CLEANUP_FREE struct conf *c = calloc(1, sizeof(*c));

	if (!c)
		return diag_fail_errno(d, -ENOMEM, "%s", object);
	c->checkpoint_seconds = 60;
	struct source s = {.p = {.c = c, .object = object, .d = d}, .text = text, .next = text};
	int line = ini_parse_stream(read_line, &s, on_pair, &s);
	if (s.p.err)
		return s.p.err;
	if (line != 0)
		return diag_fail(d, DIAG_POLICY, -EINVAL, "%s line %d: neither a section nor key = value",
				 object, line);
	for (size_t i = 0; i < c->n_repositories; i++)
		if (!*c->repositories[i].url)
			return diag_fail(d, DIAG_POLICY, -EINVAL, "%s: [repository %s] lacks url", object,
					 c->repositories[i].name);
	*ret = *c;
	return 0;
}

int conf_load(int store_fd, struct conf *ret, struct diag *d)
{
	CLEANUP_FREE uint8_t *text = NULL;
	size_t len;
	int err = durable_read(store_fd, CONF_FILE, CONF_FILE_MAX, &text, &len);

	if (err == -ENOENT)
		return conf_parse("", CONF_FILE, ret, d);
	if (err)
		return diag_fail_errno(d, err, "%s", CONF_FILE);
	return conf_parse((const char *)text, CONF_FILE, ret, d);
}

int conf_write(int store_fd, const struct conf *c, struct diag *d)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	char line[CONF_URL_MAX + 128];

	const char *head = "# coffer.conf: what this volume's backups and trail do. See docs/operations.md.\n\n";
	bytes_w_raw(&w, head, strlen(head));
	for (size_t i = 0; i < c->n_repositories; i++) {
		snprintf(line, sizeof(line), "[repository %s]\nurl = %s\n\n", c->repositories[i].name,
			 c->repositories[i].url);
		bytes_w_raw(&w, line, strlen(line));
	}
	snprintf(line, sizeof(line), "[trail]\n# a signed checkpoint at least this often, in seconds\n"
		 "checkpoint_seconds = %u\n", c->checkpoint_seconds);
	bytes_w_raw(&w, line, strlen(line));
	int err = w.err ? w.err : durable_replace(store_fd, CONF_FILE, w.buf, w.len, 0600);
	return err ? diag_fail_errno(d, err, "%s", CONF_FILE) : 0;
}
