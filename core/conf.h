/*
 * coffer.conf of a volume: STORE/coffer.conf, an INI file.
 *
 *   [repository NAME]        any number; the first is where `backup run` writes
 *   url = /path              a folder
 *   [trail]
 *   checkpoint_seconds = 60  10..3600
 *
 * Unknown sections and keys are mistakes, so that a typing error is found: every message names line and key.
 * Nothing secret and nothing that weakens a promise can be said here. Stateless.
 */
#ifndef COFFER_CORE_CONF_H
#define COFFER_CORE_CONF_H

#include <stddef.h>

#include "core/diag.h"

#define CONF_REPOSITORIES_MAX 16
#define CONF_URL_MAX 180 /* inih reads lines of at most 200 bytes */
#define CONF_NAME_MAX 63

struct conf_repository {
	char name[CONF_NAME_MAX + 1];
	char url[CONF_URL_MAX + 1];
};
struct conf {
	size_t n_repositories;
	struct conf_repository repositories[CONF_REPOSITORIES_MAX];
	unsigned checkpoint_seconds;
};

/* A missing file is an empty configuration with defaults. DIAG_POLICY. */
int conf_load(int store_fd, struct conf *ret, struct diag *d);
/* Parses text; object names it in messages. */
int conf_parse(const char *text, const char *object, struct conf *ret, struct diag *d);
/* A file with the given repositories and every default written out with its meaning. */
int conf_write(int store_fd, const struct conf *c, struct diag *d);

#endif
