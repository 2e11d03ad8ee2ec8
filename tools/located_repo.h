/* A volume's repository as a tool opens it by itself, without keys: located volume, configuration, repository, catalogue. */
#ifndef COFFER_TOOLS_LOCATED_REPO_H
#define COFFER_TOOLS_LOCATED_REPO_H

#include "backup/set.h"
#include "tools/locate.h"

struct located_repo {
	struct located l;
	struct repo *repo;
	struct set_catalog catalog;
};
/* name: of the repository in coffer.conf, the label of a medium there that has a path, or a path to a copy of one; NULL the first. DIAG_NO_REPOSITORY. */
int located_repo_open(const char *volume, const char *name, struct located_repo *ret, struct diag *d);
void located_repo_close(struct located_repo *lr);

#endif
