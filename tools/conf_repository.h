/* A repository given on the command line, entered in a configuration. */
#ifndef COFFER_TOOLS_CONF_REPOSITORY_H
#define COFFER_TOOLS_CONF_REPOSITORY_H

#include "core/conf.h"

/*
 * Named "main", then "repository2" .. A relative path becomes absolute: the serving process has another working folder.
 * DIAG_USAGE when there are too many or it is too long.
 */
int conf_repository_add(struct conf *c, const char *url, struct diag *d);

#endif
