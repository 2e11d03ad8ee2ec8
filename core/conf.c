/*
 * coffer.conf: reading it line by line, strict about what it does not know. See conf.h.
 *
 * inih splits keys from values. It reports one malformed line only, cuts long section names, tells
 * handlers no line numbers (as Debian builds it) and passes over sections without keys; so the
 * reader of lines that it is given keeps track of lines and sections itself, and hands on nothing
 * but pairs.
 */
#include "core/conf_internal.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/durable.h"

#define CONF_FILE_MAX (64u << 10)
#define INSTANCES_MAX (CONF_REPOSITORIES_MAX + CONF_MEDIA_MAX + CONF_N_TIERS + 2)

/* A section as it stands in the file; sections of one name are one. */
struct instance {
	const struct conf_section *section;
	char title[80]; /* "repository main" */
	void *about;
	int line;
	int given[CONF_KEYS_MAX]; /* line of each key; 0: not given */
};
struct parse {
	struct conf *c;
	struct conf_mistakes *m;
	const char *next, *end; /* where the reader stands */
	int line;
	char title[80]; /* of the section that the line is in */
	int title_line;
	struct instance *in; /* NULL: in a section that is not known */
	bool told;           /* that it is not known */
	size_t n_instances;
	struct instance instances[INSTANCES_MAX];
};

static void mistake(struct parse *p, int line, const char *section, const char *key,
		    const char *why)
{
	struct conf_mistakes *m = p->m;
	size_t i;

	if (m->n_all++ >= CONF_MISTAKES_MAX)
		return;
	for (i = m->n++; i > 0 && m->list[i - 1].line > line; i--)
		m->list[i] = m->list[i - 1];
	m->list[i].line = line;
	snprintf(m->list[i].section, sizeof(m->list[i].section), "%s", section);
	snprintf(m->list[i].key, sizeof(m->list[i].key), "%s", key);
	snprintf(m->list[i].why, sizeof(m->list[i].why), "%s", why);
}

/* --- sections --- */

static const struct conf_section *section_by_title(const char *title, const char **ret_name)
{
	for (const struct conf_section *s = conf_sections; s->word; s++) {
		size_t n = strlen(s->word);

		if (strncmp(title, s->word, n) != 0 ||
		    (s->named ? !isspace((unsigned char)title[n]) : title[n]))
			continue;
		*ret_name = title + n;
		while (isspace((unsigned char)**ret_name))
			++*ret_name;
		return s;
	}
	return NULL;
}

static const char *name_mistake(const struct conf_section *s, const char *name)
{
	if (!s->named)
		return NULL;
	if (!*name || strlen(name) > CONF_NAME_MAX)
		return "the name has 1 to 63 bytes";
	return strchr(name, '/') ? "a name has no / in it" : NULL;
}

static struct instance *instance(struct parse *p, const struct conf_section *s, const char *name)
{
	char title[sizeof(p->title)];
	struct instance *in;

	snprintf(title, sizeof(title), "%s%s%s", s->word, *name ? " " : "", name);
	for (size_t i = 0; i < p->n_instances; i++)
		if (!strcmp(p->instances[i].title, title))
			return &p->instances[i];
	void *about = s->place(p->c, s, name);
	if (!about || p->n_instances == INSTANCES_MAX)
		return NULL;
	in = &p->instances[p->n_instances++];
	*in = (struct instance){.section = s, .about = about, .line = p->line};
	strcpy(in->title, title);
	return in;
}

/* title is the whole of what stands between the brackets. */
static void section_begin(struct parse *p, const char *title)
{
	const char *name = "", *why;
	const struct conf_section *s = section_by_title(title, &name);

	p->in = NULL;
	p->told = s != NULL; /* else told with the first key, or when the section ends */
	p->title_line = p->line;
	snprintf(p->title, sizeof(p->title), "%s", title);
	if (!s)
		return;
	why = name_mistake(s, name);
	if (!why) {
		p->in = instance(p, s, name);
		why = p->in ? NULL : "more than 16 of these";
	}
	if (why)
		mistake(p, p->line, p->title, "", why);
}

/* Once for each unknown section: its keys are not mistakes of their own. */
static void tell_unknown(struct parse *p, int line, const char *key)
{
	static const char why[] = "no such section (known: repository NAME, medium LABEL, backup, "
				  "daily, weekly, monthly, trail)";

	if (!p->told)
		mistake(p, line, p->title, key, *p->title ? why : "stands before any section");
	p->told = true;
}

static void section_end(struct parse *p)
{
	if (*p->title)
		tell_unknown(p, p->title_line, "");
}

/* --- lines --- */

static char *strip(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	n = strlen(s);
	while (n && isspace((unsigned char)s[n - 1]))
		s[--n] = 0;
	return s;
}

/* A section line, without blanks around it. */
static void section_line(struct parse *p, char *line)
{
	char *end = strchr(line, ']');
	char *rest = end ? end + 1 : line;

	section_end(p);
	while (isspace((unsigned char)*rest))
		rest++;
	if (!end || (*rest && *rest != ';')) {
		p->in = NULL;
		p->told = true;
		snprintf(p->title, sizeof(p->title), "%s", line + 1);
		mistake(p, p->line, p->title, "",
			end ? "nothing may follow the ] of a section" : "the ] is missing");
		return;
	}
	*end = 0;
	section_begin(p, strip(line + 1));
}

/* As inih sees it: a = or : before a comment that stands after a blank. */
static bool is_pair(const char *line)
{
	for (const char *s = line; *s; s++) {
		if (*s == '=' || *s == ':')
			return true;
		if (*s == ';' && s > line && isspace((unsigned char)s[-1]))
			return false;
	}
	return false;
}

static const char *form_mistake(const char *line, size_t len, size_t room)
{
	if (len >= room)
		return "the line is longer than 197 bytes";
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 && line[i] != '\t' && line[i] != '\r')
			return "a control character";
	return NULL;
}

/* Takes one line; true when out holds a pair to hand on. */
static bool take_line(struct parse *p, char *out, size_t room)
{
	const char *nl = memchr(p->next, '\n', (size_t)(p->end - p->next));
	size_t len = (size_t)((nl ? nl : p->end) - p->next);
	const char *why = form_mistake(p->next, len, room - 2);
	const char *line = p->next;

	p->next = nl ? nl + 1 : p->end;
	p->line++;
	if (why) {
		mistake(p, p->line, p->title, "", why);
		return false;
	}
	memcpy(out, line, len);
	out[len] = 0;
	char *s = strip(out);
	memmove(out, s, strlen(s) + 1); /* inih takes an indented line as a continuation */
	if (!*out || *out == '#' || *out == ';')
		return false;
	if (*out == '[')
		section_line(p, out);
	else if (is_pair(out))
		return true;
	else
		mistake(p, p->line, p->title, "", "neither a section nor key = value");
	return false;
}

/* inih's reader. */
static char *read_line(char *out, int size, void *stream)
{
	struct parse *p = stream;

	if (p->next == p->end)
		return NULL;
	if (!take_line(p, out, (size_t)size))
		*out = 0;
	strcat(out, "\n");
	return out;
}

/* inih's handler. */
static int on_pair(void *user, const char *section, const char *key, const char *value)
{
	struct parse *p = user;
	struct instance *in = p->in;
	char known[120] = "no such key here (known:";
	(void)section;

	if (!in) {
		tell_unknown(p, p->line, key);
		return 1;
	}
	for (size_t i = 0; i < CONF_KEYS_MAX && in->section->keys[i].name; i++) {
		const struct conf_key *k = &in->section->keys[i];

		if (strcmp(k->name, key) != 0) {
			snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s %s",
				 i ? "," : "", k->name);
			continue;
		}
		if (in->given[i])
			mistake(p, p->line, p->title, key, "given twice");
		else if (k->parse(k, value, (char *)in->about + k->off) != 0)
			mistake(p, p->line, p->title, key, k->form);
		in->given[i] = p->line;
		return 1;
	}
	strncat(known, ")", sizeof(known) - strlen(known) - 1);
	mistake(p, p->line, p->title, key, known);
	return 1;
}

/* --- what only the whole file shows --- */

static void check_required(struct parse *p)
{
	for (size_t i = 0; i < p->n_instances; i++) {
		const struct instance *in = &p->instances[i];

		for (size_t k = 0; k < CONF_KEYS_MAX && in->section->keys[k].name; k++)
			if (in->section->keys[k].required && !in->given[k])
				mistake(p, in->line, in->title, in->section->keys[k].name,
					"missing");
	}
}

/* Two names for one place would count every set twice. */
static void check_places(struct parse *p)
{
	const struct conf *c = p->c;

	for (size_t i = 0; i < p->n_instances; i++) {
		const struct instance *in = &p->instances[i];
		const struct conf_repository *r = in->about;

		if (strcmp(in->section->word, "repository") != 0 || !*r->url)
			continue;
		for (const struct conf_repository *o = c->repositories; o < r; o++)
			if (!strcmp(o->url, r->url))
				mistake(p, in->given[0], in->title, "url",
					"another repository lies there");
	}
}

static void check_tiers(struct parse *p)
{
	const struct conf *c = p->c;

	for (size_t i = 0; i < p->n_instances && c->backup_wanted && c->n_repositories == 0; i++)
		for (int t = 0; t < CONF_N_TIERS; t++)
			if (p->instances[i].about == &c->tiers[t])
				mistake(p, p->instances[i].line, p->instances[i].title, "",
					"backups are wanted, but there is no [repository NAME]");
}

void conf_init(struct conf *c)
{
	*c = (struct conf){
	    .backup_wanted = true, .grace_hours = 24, .drill_files = 20, .checkpoint_seconds = 60};
}

int conf_check(const char *text, size_t len, struct conf *ret, struct conf_mistakes *m)
{
	static const char bom[] = "\xef\xbb\xbf";
	CLEANUP_FREE struct conf *c = calloc(1, sizeof(*c));
	CLEANUP_FREE struct parse *p = calloc(1, sizeof(*p));

	*m = (struct conf_mistakes){0};
	if (!c || !p)
		return -ENOMEM;
	conf_init(c);
	*p = (struct parse){.c = c, .m = m, .next = text, .end = text + len};
	if (len >= 3 && !memcmp(text, bom, 3))
		p->next += 3;
	int line = ini_parse_stream(read_line, p, on_pair, p);
	section_end(p);
	if (line != 0) /* nothing it was given should be malformed to it */
		mistake(p, line > 0 ? line : p->line, "", "", "neither a section nor key = value");
	check_required(p);
	check_places(p);
	check_tiers(p);
	if (m->n_all)
		return -EINVAL;
	*ret = *c;
	return 0;
}

void conf_mistake_text(const struct conf_mistake *m, char *out, size_t size)
{
	if (*m->section)
		snprintf(out, size, "line %d, [%s]%s%s: %s", m->line, m->section,
			 *m->key ? " " : "", m->key, m->why);
	else
		snprintf(out, size, "line %d%s%s: %s", m->line, *m->key ? ", " : "", m->key,
			 m->why);
}

static int report(const struct conf_mistakes *m, int err, const char *object, struct diag *d)
{
	char text[300], more[40] = "";

	if (err == 0 || m->n_all == 0)
		return err ? diag_fail_errno(d, err, "%s", object) : 0;
	conf_mistake_text(&m->list[0], text, sizeof(text));
	if (m->n_all > 1)
		snprintf(more, sizeof(more), " (and %zu more)", m->n_all - 1);
	return diag_fail(d, DIAG_POLICY, err, "%s %s%s", object, text, more);
}

int conf_parse(const char *text, const char *object, struct conf *ret, struct diag *d)
{
	CLEANUP_FREE struct conf_mistakes *m = malloc(sizeof(*m));

	if (!m)
		return diag_fail_errno(d, -ENOMEM, "%s", object);
	return report(m, conf_check(text, strlen(text), ret, m), object, d);
}

int conf_load_check(int store_fd, struct conf *ret, struct conf_mistakes *m, struct diag *d)
{
	CLEANUP_FREE uint8_t *text = NULL;
	size_t len = 0;
	int err = durable_read(store_fd, CONF_FILE, CONF_FILE_MAX, &text, &len);

	m->n = m->n_all = 0;
	if (err && err != -ENOENT)
		return diag_fail_errno(d, err, "%s", CONF_FILE);
	return report(m, conf_check(text ? (const char *)text : "", len, ret, m), CONF_FILE, d);
}

int conf_load(int store_fd, struct conf *ret, struct diag *d)
{
	CLEANUP_FREE struct conf_mistakes *m = malloc(sizeof(*m));

	return m ? conf_load_check(store_fd, ret, m, d)
		 : diag_fail_errno(d, -ENOMEM, "%s", CONF_FILE);
}
