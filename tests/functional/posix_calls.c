/*
 * posix_calls: system calls by the line, each with what it must come to. Reads a script on standard input, works in the
 * current folder, prints every line that came to something else, and last how many calls it made. Exit code 0 when all
 * came out as expected, 1 when not, 2 for a mistake in the script.
 *
 *   EXPECTED : CALL ARGUMENTS        ok (no error), an errno name, or the exact number or text
 *   EXPECTED : moves PATH CALL ..    which of the times a, m, c of PATH the call changed, in this order; "-" for none
 *   EXPECTED : forked CALL ..        the call, made by another process
 *   user UID GID[,GROUP..]           who makes the calls from here on; 0 0 for root
 *   umask 027
 *   repeat N : CALL ARGUMENTS        the call N times, "%" in its arguments being 0 .. N-1; each must succeed
 *
 * Words are separated by spaces. {x*300} stands for 300 x; "" for an empty word. \0 \n \s (space) \\ are escapes. "@a" ..
 * "@z" name open descriptors. In texts that are compared a zero byte shows as "_". A line that begins with # is a comment.
 */
#include "posix_calls.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_FDS 26
#define LINE_LEN_MAX (1u << 20)

static int fds[N_FDS];
static unsigned line_number;

static void mistake(const char *what, const char *word)
{
	fprintf(stderr, "line %u: %s: %s\n", line_number, what, word);
	exit(2);
}

/* ---- what the calls use ---- */

const char *calls_arg(const struct args *a, int i, const char *fallback)
{
	return i < a->n ? a->v[i] : fallback;
}

long calls_number(const char *s)
{
	char *end;
	long n = strtol(s, &end, 0);
	static const char suffixes[] = "KMGT";
	const char *suffix = *end ? strchr(suffixes, *end) : NULL;

	if (suffix) {
		n <<= 10 * (suffix - suffixes + 1);
		end++;
	}
	if (end == s || *end)
		mistake("not a number", s);
	return n;
}

long calls_flags(const struct word *table, const char *s)
{
	long flags = 0;

	while (*s) {
		size_t len = strcspn(s, "|");
		const struct word *w = table;

		while (w->name && (strlen(w->name) != len || strncmp(w->name, s, len) != 0))
			w++;
		if (w->name)
			flags |= w->value;
		else if (isdigit((unsigned char)*s))
			flags |= strtol(s, NULL, 0);
		else
			mistake("unknown flag", s);
		s += len + (s[len] == '|');
	}
	return flags;
}

static int *fd_slot(const char *name)
{
	if (name[0] != '@' || name[1] < 'a' || name[1] > 'z' || name[2])
		mistake("not a descriptor", name);
	return &fds[name[1] - 'a'];
}

int calls_fd(const char *name)
{
	return *fd_slot(name);
}

void calls_fd_set(const char *name, int fd)
{
	*fd_slot(name) = fd;
}

void calls_done(struct outcome *o, long r)
{
	o->r = r < 0 ? -errno : r;
}

void calls_text(struct outcome *o, const char *text, size_t len)
{
	o->text = malloc(len + 1);
	if (!o->text)
		abort();
	for (size_t i = 0; i < len; i++)
		o->text[i] = text[i] ? text[i] : '_';
	o->text[len] = 0;
	o->text_len = len;
}

/* ---- reading lines ---- */

/* One character or escape; *s moves past it. */
static char unescaped(const char **s)
{
	char c = *(*s)++;

	if (c != '\\' || !**s)
		return c;
	c = *(*s)++;
	return c == '0' ? '\0' : c == 'n' ? '\n' : c == 's' ? ' ' : c;
}

/* {x*300} at s: its length in the script, or 0 when it is none. */
static size_t repetition(const char *s, const char **ret_unit, size_t *ret_unit_len, size_t *ret_n)
{
	const char *close = *s == '{' ? strchr(s, '}') : NULL;
	const char *star = close ? memchr(s, '*', (size_t)(close - s)) : NULL;

	if (!star || !isdigit((unsigned char)star[1]))
		return 0;
	*ret_unit = s + 1;
	*ret_unit_len = (size_t)(star - s - 1);
	*ret_n = strtoul(star + 1, NULL, 10);
	return (size_t)(close - s + 1);
}

/* The next word of the line, expanded into memory that the caller frees; NULL at the end. */
static char *next_word(const char **at, size_t *ret_len)
{
	const char *s = *at + strspn(*at, " \t"), *unit;
	size_t unit_len, n, skip, len = 0;
	char *out;

	if (!*s)
		return NULL;
	out = malloc(LINE_LEN_MAX);
	if (!out)
		abort();
	while (*s && *s != ' ' && *s != '\t') {
		skip = repetition(s, &unit, &unit_len, &n);
		if (skip && len + n * unit_len >= LINE_LEN_MAX)
			mistake("too long", s);
		for (size_t i = 0; skip && i < n; i++) {
			const char *u = unit;
			while (u < unit + unit_len)
				out[len++] = unescaped(&u);
		}
		s += skip;
		if (!skip && s[0] == '"' && s[1] == '"')
			s += 2;
		else if (!skip)
			out[len++] = unescaped(&s);
	}
	out[len] = 0;
	*at = s;
	*ret_len = len;
	return out;
}

static void args_free(struct args *a)
{
	for (int i = 0; i < a->n; i++)
		free(a->v[i]);
	a->n = 0;
}

static void args_parse(const char *s, struct args *ret)
{
	ret->n = 0;
	while (ret->n < CALLS_WORDS_MAX) {
		ret->v[ret->n] = next_word(&s, &ret->len[ret->n]);
		if (!ret->v[ret->n])
			return;
		ret->n++;
	}
	if (*s)
		mistake("too many words", s);
}

/* ---- making calls ---- */

static const struct call *find_call(const char *name)
{
	const struct call *tables[] = {calls_names, calls_files};

	for (size_t i = 0; i < 2; i++) {
		for (const struct call *c = tables[i]; c->name; c++) {
			if (strcmp(c->name, name) == 0)
				return c;
		}
	}
	mistake("unknown call", name);
	return NULL;
}

static struct args rest_of(const struct args *a, int from)
{
	struct args rest = {.n = a->n - from};

	if (rest.n < 1)
		mistake("what to call is missing", a->n ? a->v[0] : "");
	for (int i = 0; i < rest.n; i++) {
		rest.v[i] = a->v[from + i];
		rest.len[i] = a->len[from + i];
	}
	return rest;
}

static void make_call(const struct args *a, struct outcome *o);

/* Until the clock that the kernel stamps with has moved. */
static void tick(void)
{
	struct timespec start, now;

	clock_gettime(CLOCK_REALTIME_COARSE, &start);
	do {
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	} while (now.tv_nsec == start.tv_nsec && now.tv_sec == start.tv_sec);
}

static int same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void call_moves(const struct args *a, struct outcome *o)
{
	struct args rest = rest_of(a, 2);
	struct stat before, after;
	char moved[4];
	size_t n = 0;

	/* Held, so that a rename of it does not matter. */
	int fd = open(a->v[1], O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &before) != 0)
		mistake("nothing there", a->v[1]);
	tick();
	make_call(&rest, o);
	int r = fstat(fd, &after);
	close(fd);
	if (o->r < 0 || r != 0)
		return;
	free(o->text);
	if (!same_time(before.st_atim, after.st_atim))
		moved[n++] = 'a';
	if (!same_time(before.st_mtim, after.st_mtim))
		moved[n++] = 'm';
	if (!same_time(before.st_ctim, after.st_ctim))
		moved[n++] = 'c';
	if (!n)
		moved[n++] = '-';
	calls_text(o, moved, n);
}

/* The other process sends back what its call came to; a text comes without its zero bytes. */
static void call_forked(const struct args *a, struct outcome *o)
{
	struct args rest = rest_of(a, 1);
	int pipes[2], status;
	char buf[4096];

	if (pipe(pipes) != 0)
		abort();
	pid_t pid = fork();
	if (pid == 0) {
		struct outcome theirs = {0};
		make_call(&rest, &theirs);
		if (write(pipes[1], &theirs.r, sizeof(theirs.r)) != sizeof(theirs.r))
			_exit(1);
		if (theirs.text && write(pipes[1], theirs.text, theirs.text_len) < 0)
			_exit(1);
		_exit(0);
	}
	close(pipes[1]);
	if (read(pipes[0], &o->r, sizeof(o->r)) != sizeof(o->r))
		mistake("the other process died", a->v[0]);
	ssize_t n = read(pipes[0], buf, sizeof(buf));
	if (n > 0)
		calls_text(o, buf, (size_t)n);
	close(pipes[0]);
	waitpid(pid, &status, 0);
}

static void make_call(const struct args *a, struct outcome *o)
{
	struct args rest;

	*o = (struct outcome){0};
	if (strcmp(a->v[0], "moves") == 0) {
		call_moves(a, o);
	} else if (strcmp(a->v[0], "forked") == 0) {
		call_forked(a, o);
	} else {
		const struct call *c = find_call(a->v[0]);

		if (a->n - 1 < c->min_args)
			mistake("arguments are missing", a->v[0]);
		rest = (struct args){.n = a->n - 1};
		for (int i = 0; i < rest.n; i++) {
			rest.v[i] = a->v[i + 1];
			rest.len[i] = a->len[i + 1];
		}
		errno = 0;
		c->fn(&rest, o);
	}
}

static const char *outcome_name(const struct outcome *o, char buf[32])
{
	if (o->text && o->r >= 0)
		return o->text;
	if (o->r < 0 && strerrorname_np((int)-o->r))
		return strerrorname_np((int)-o->r);
	snprintf(buf, 32, "%ld", o->r);
	return buf;
}

/* Whether the line came to what it expects: one of several when they are joined by "|" and all are errno names. */
static int as_expected(const char *want, const char *got, const struct outcome *o)
{
	if (strcmp(want, "ok") == 0)
		return o->r >= 0;
	if (strcmp(want, got) == 0)
		return 1;
	const char *bar = strchr(want, '|');
	return want[0] == 'E' && bar && o->r < 0 &&
	       ((strlen(got) == (size_t)(bar - want) && strncmp(want, got, (size_t)(bar - want)) == 0) ||
		strcmp(bar + 1, got) == 0);
}

static int line_expects(const char *line, const char *colon)
{
	struct args want, a;
	struct outcome o;
	char *head = strndup(line, (size_t)(colon - line));
	char buf[32];

	args_parse(head, &want);
	args_parse(colon + 1, &a);
	if (want.n != 1 || a.n < 1)
		mistake("neither expectation nor call", line);
	make_call(&a, &o);
	const char *got = outcome_name(&o, buf);
	int good = as_expected(want.v[0], got, &o);
	if (!good)
		printf("line %u: %.120s instead of %.120s: %s\n", line_number, got, want.v[0], colon + 1);
	free(o.text);
	free(head);
	args_free(&want);
	args_free(&a);
	return good;
}

/* ---- lines that are no calls ---- */

static void become(const char *s)
{
	char *end;
	uid_t uid = (uid_t)strtoul(s, &end, 10);
	gid_t groups[32];
	size_t n = 0;

	do {
		groups[n++] = (gid_t)strtoul(end + 1, &end, 10);
	} while (*end == ',' && n < 32);
	if (seteuid(0) || setegid(0) || setgroups(n, groups) || setegid(groups[0]) || seteuid(uid)) {
		perror("becoming another user");
		exit(2);
	}
}

static int line_repeats(const char *line)
{
	const char *colon = strchr(line, ':');
	char *number, *text;
	long n = strtol(line, NULL, 0);
	int good = 1;

	if (!colon)
		mistake("nothing to repeat", line);
	for (long i = 0; i < n && good; i++) {
		size_t len = 0;
		text = malloc(strlen(line) + 200);
		if (!text || asprintf(&number, "%ld", i) < 0)
			abort();
		for (const char *s = "ok :"; *s; s++)
			text[len++] = *s;
		for (const char *s = colon + 1; *s; s++) {
			if (*s == '%')
				len += (size_t)sprintf(text + len, "%s", number);
			else
				text[len++] = *s;
		}
		text[len] = 0;
		good = line_expects(text, text + 3);
		free(number);
		free(text);
	}
	return good;
}

int main(void)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	unsigned n_calls = 0, n_bad = 0;

	memset(fds, -1, sizeof(fds));
	umask(022);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((len = getline(&line, &cap, stdin)) > 0) {
		const char *s = line + strspn(line, " \t"), *colon;

		line_number++;
		if (line[len - 1] == '\n')
			line[len - 1] = 0;
		if (!*s || *s == '#')
			continue;
		if (strncmp(s, "user ", 5) == 0) {
			become(s + 5);
		} else if (strncmp(s, "umask ", 6) == 0) {
			umask((mode_t)strtoul(s + 6, NULL, 8));
		} else if (strncmp(s, "repeat ", 7) == 0) {
			n_calls++;
			n_bad += !line_repeats(s + 7);
		} else if ((colon = strstr(s, " : "))) {
			n_calls++;
			n_bad += !line_expects(s, colon + 1);
		} else {
			mistake("not understood", s);
		}
	}
	free(line);
	printf("%u calls, %u came out wrong\n", n_calls, n_bad);
	return n_bad || !n_calls ? 1 : 0;
}
