/*
 * What the files of the inputs' maker share. The parts for indices and records are in files of
 * their own because they reach what only its own file sees: they include the product's.
 */
#ifndef COFFER_TESTS_MAKE_SEEDS_H
#define COFFER_TESTS_MAKE_SEEDS_H

#include <stdbool.h>

#include "core/bytes.h"

/* --- make_seeds.c: writing OUT/PARSER/NAME; what fails ends the program --- */
void seed_must(int r, const char *what);
void seed_put(const char *parser, const char *name, const void *p, size_t len);
/* Frees what w holds. */
void seed_put_w(const char *parser, const char *name, struct bytes_w *w);
/* Frees text. */
void seed_put_text(const char *parser, const char *name, char *text);
/* The body of a note alone: who reads the file signs it. */
void seed_put_body(const char *parser, const char *note);

/* --- make_seeds_notes.c --- */
void seed_notes(void);

/* --- make_seeds_index.c, make_seeds_record.c --- */
/* Index entries of every kind, as in an opened chunk. */
void seed_index(struct bytes_w *w);
/* The frame of a DATA record, and bytes in the place of its box. */
void seed_frame(struct bytes_w *w);
/* What a record's box holds: head, payload and padding. */
void seed_packed(bool shrinks, struct bytes_w *w);

#endif
