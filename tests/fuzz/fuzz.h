/*
 * What every fuzz target shares. A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput:
 * tests/long/fuzz.test links it with libFuzzer; in the default run replay_main.c drives it over
 * tests/fuzz/corpus/fuzz_NAME.
 *
 * A target checks more than that nothing crashes: what a parser takes is written anew and must be
 * the same bytes (where the format has one encoding), and a refusal leaves outputs as they were.
 * FUZZ_CHECK says what must hold.
 */
#ifndef COFFER_TESTS_FUZZ_H
#define COFFER_TESTS_FUZZ_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond)                                                                           \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Malformed, unsigned, newer: all that untrusted bytes may be called. */
static inline bool fuzz_refusal(int r)
{
	return r == -EUCLEAN || r == -EBADMSG || r == -EPROTONOSUPPORT;
}

/* The bytes as a NUL-terminated copy, on the heap so that a sanitizer sees its end; NULL when one
 * is inside. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = memchr(data, 0, size) ? NULL : malloc(size + 1);

	if (text) {
		memcpy(text, data, size);
		text[size] = '\0';
	}
	return text;
}

#endif
