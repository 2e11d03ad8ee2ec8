/*
 * Inside posix_calls: what its files share. One call is one function; it works on the words of its line and answers with
 * a number, an errno or a text.
 */
#ifndef COFFER_TESTS_POSIX_CALLS_H
#define COFFER_TESTS_POSIX_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define CALLS_WORDS_MAX 12

/* The words after the call's name; n of them, each NUL-terminated, with their lengths. */
struct args {
	char *v[CALLS_WORDS_MAX];
	size_t len[CALLS_WORDS_MAX];
	int n;
};

/* What a call came to: -errno or a number in r; text, when not NULL, is what is compared in its place. Caller frees. */
struct outcome {
	long r;
	char *text;
	size_t text_len;
};

struct call {
	const char *name;
	int min_args;
	void (*fn)(const struct args *a, struct outcome *o);
};

/* Ended by a call without a name. */
extern const struct call calls_names[];  /* posix_calls_names.c: names and attributes */
extern const struct call calls_files[];  /* posix_calls_files.c: open files */

/* The words of a table of constants, joined by "|", or a number; ends the program on one that is unknown. */
struct word {
	const char *name;
	long value;
};
long calls_flags(const struct word *table, const char *s);
extern const struct word calls_open_flags[];

/* The argument, or the fallback when there are fewer. */
const char *calls_arg(const struct args *a, int i, const char *fallback);
/* A number, in octal after a leading 0; ends the program on anything else. With a suffix K, M, G, T times 1024s. */
long calls_number(const char *s);
/* The descriptor that "@x" names; -1 when it is not open. calls_fd_set returns -EBADF for names that are not "@" and a letter. */
int calls_fd(const char *name);
void calls_fd_set(const char *name, int fd);

/* Answers with errno when r is negative, else with r. */
void calls_done(struct outcome *o, long r);
void calls_text(struct outcome *o, const char *text, size_t len);

/* "type,mode,size": the fields of st that are asked for, joined by commas. */
void calls_stat_text(const struct stat *st, const char *fields, struct outcome *o);

#endif
