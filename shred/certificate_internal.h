/* Shared by shred/certificate*.c: the fields of a certificate, in their order, with what people
 * read. */
#ifndef COFFER_SHRED_CERTIFICATE_INTERNAL_H
#define COFFER_SHRED_CERTIFICATE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/note.h"

#define CERTIFICATE_TYPE "certificate"
#define CERTIFICATE_VERSION 1

/* How often a field stands in a certificate. */
enum certificate_times { FIELD_ONCE, FIELD_ANY };
struct certificate_field {
	const char *key;
	enum certificate_times times;
	const char *zh, *en;
	const char *section_zh, *section_en; /* begins a section; NULL: goes on */
};
extern const struct certificate_field certificate_fields[];
extern const size_t certificate_n_fields;

/* Type, version, every field of the table in its order and nothing else. -EUCLEAN,
 * -EPROTONOSUPPORT. */
int certificate_parse(const char *text, struct note *ret);

#endif
