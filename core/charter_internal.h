/* What the parts of charter share. */
#ifndef COFFER_CORE_CHARTER_INTERNAL_H
#define COFFER_CORE_CHARTER_INTERNAL_H

#include "core/charter.h"

/* "owner+security"; 0 when a name is unknown. */
unsigned charter_roles_parse(const char *text);
/* The body without any rule applied beyond the grammar of notes. */
int charter_body(const struct charter *c, char **ret_body);

#endif
