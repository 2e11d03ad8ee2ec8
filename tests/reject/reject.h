/*
 * Malformed inputs, one a file: tests/reject/PARSER/NAME.ERROR holds bytes that PARSER must refuse
 * with that errno, and tests/reject/PARSER/NAME.ok bytes that it must take, so that the others are
 * known to be refused for what is wrong with them and not for something else. tests/reject/make.py
 * makes the files.
 *
 * A parser is told the bytes and says what the product said; it checks for itself that outputs are
 * untouched after a failure. Where an input must be signed or sealed to be looked at, it does that
 * first.
 */
#ifndef COFFER_TESTS_REJECT_H
#define COFFER_TESTS_REJECT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/diag.h"
#include "core/durable.h"

struct reject_parser {
	const char *name; /* of the folder */
	int (*parse)(const uint8_t *p, size_t len, struct diag *d);
	bool diagnoses; /* fills d: a failure must name its row */
	/* The row that an error is told as; DIAG_VERSION for -EPROTONOSUPPORT. */
	enum diag_id malformed, unsigned_;
};

struct reject_case {
	const struct reject_parser *parser;
	char file[320]; /* below tests/reject */
	char title[336];
	int expected;
};

static inline int reject_errno(const char *word)
{
	static const struct {
		const char *word;
		int err;
	} words[] = {{"ok", 0},
		     {"EUCLEAN", -EUCLEAN},
		     {"EBADMSG", -EBADMSG},
		     {"EPROTONOSUPPORT", -EPROTONOSUPPORT},
		     {"EINVAL", -EINVAL},
		     {"EOPNOTSUPP", -EOPNOTSUPP},
		     {"EXDEV", -EXDEV},
		     {"EPIPE", -EPIPE},
		     {"ENOKEY", -ENOKEY}};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcmp(words[i].word, word) == 0)
			return words[i].err;
	return 1; /* matches nothing */
}

/* Every length of the malformed input is a buffer of its own, so that a sanitizer sees a read
 * beyond it. */
static inline void reject_one(void **state)
{
	const struct reject_case *c = *state;
	CLEANUP_FREE uint8_t *whole = NULL, *exact = NULL;
	char path[512];
	struct diag d = {0};
	size_t len;

	snprintf(path, sizeof(path), "%s/reject/%s", TESTS_DIR, c->file);
	assert_int_equal(durable_read(AT_FDCWD, path, 16 << 20, &whole, &len), 0);
	exact = malloc(len ? len : 1);
	assert_non_null(exact);
	memcpy(exact, whole, len);
	int r = c->parser->parse(exact, len, &d);
	if (r != c->expected)
		print_message("# %s: %d (%s), not %d\n", c->file, r, d.object, c->expected);
	assert_int_equal(r, c->expected);
	if (r == 0 || !c->parser->diagnoses)
		return;
	assert_int_equal(d.err, r);
	assert_int_equal(d.id, r == -EPROTONOSUPPORT ? DIAG_VERSION
			       : r == -EBADMSG       ? c->parser->unsigned_
						     : c->parser->malformed);
}

/* Fills cases with one for each file of the parser; how many. */
static inline size_t reject_files(const struct reject_parser *parser, struct reject_case *cases,
				  size_t cap)
{
	char path[512];
	const struct dirent *e;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/reject/%s", TESTS_DIR, parser->name);
	CLEANUP_DIR DIR *dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		const char *dot = strrchr(e->d_name, '.');

		if (e->d_name[0] == '.' || !dot || n == cap)
			continue;
		struct reject_case *c = &cases[n++];
		*c = (struct reject_case){.parser = parser, .expected = reject_errno(dot + 1)};
		snprintf(c->file, sizeof(c->file), "%s/%s", parser->name, e->d_name);
		snprintf(c->title, sizeof(c->title), "%s %s", c->expected ? "refuses" : "takes",
			 c->file);
	}
	return n;
}

static inline int reject_by_title(const void *a, const void *b)
{
	return strcmp(((const struct reject_case *)a)->file, ((const struct reject_case *)b)->file);
}

/* A parser without a well-formed file, or with nothing but that, tests nothing. */
static inline bool reject_balanced(const struct reject_case *cases, size_t n)
{
	size_t n_ok = 0;

	for (size_t i = 0; i < n; i++)
		n_ok += cases[i].expected == 0;
	return n_ok > 0 && n > n_ok + 2;
}

#define REJECT_CASES_MAX 512

/* Runs every file of the parsers, and more (tests that build their input). The exit code of main.
 */
static inline int reject_run(const char *group, const struct reject_parser *parsers,
			     size_t n_parsers, const struct CMUnitTest *more, size_t n_more)
{
	static struct reject_case cases[REJECT_CASES_MAX];
	static struct CMUnitTest tests[REJECT_CASES_MAX + 32];
	size_t n = 0;

	for (size_t i = 0; i < n_parsers; i++) {
		size_t k = reject_files(&parsers[i], cases + n, REJECT_CASES_MAX - n);

		if (!reject_balanced(cases + n, k)) {
			fprintf(stderr, "tests/reject/%s lacks files\n", parsers[i].name);
			return 1;
		}
		n += k;
	}
	if (n == REJECT_CASES_MAX) { /* maybe more, and they would not run */
		fprintf(stderr, "tests/reject: more files than REJECT_CASES_MAX\n");
		return 1;
	}
	qsort(cases, n, sizeof(*cases), reject_by_title);
	for (size_t i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){cases[i].title, reject_one, NULL, NULL, &cases[i]};
	if (n_more)
		memcpy(tests + n, more, n_more * sizeof(*more));
	return _cmocka_run_group_tests(group, tests, n + n_more, NULL, NULL);
}

#endif
