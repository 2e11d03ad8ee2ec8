/* See conf_repository.h. */
#include "tools/conf_repository.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int conf_repository_add(struct conf *c, const char *url, struct diag *d)
{
	struct conf_repository *r = &c->repositories[c->n_repositories];
	char cwd[PATH_MAX] = "";
	bool whole = *url == '/' || strstr(url, "://") || !strncmp(url, "file:", 5);

	if (c->n_repositories == CONF_REPOSITORIES_MAX)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "more than %d repositories", CONF_REPOSITORIES_MAX);
	if (!whole && !getcwd(cwd, sizeof(cwd)))
		return diag_fail_errno(d, -errno, "%s", url);
	if (strlen(cwd) + 1 + strlen(url) > CONF_URL_MAX)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "--repo %s", url);
	snprintf(r->name, sizeof(r->name), c->n_repositories ? "repository%zu" : "main", c->n_repositories + 1);
	strcpy(whole ? r->url : stpcpy(stpcpy(r->url, cwd), "/"), url);
	c->n_repositories++;
	return 0;
}
