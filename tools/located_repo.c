/* See located_repo.h. */
#include "tools/located_repo.h"

#include <errno.h>
#include <string.h>

#include "core/conf.h"

/* A name from the configuration; anything with a '/' is a place itself (a copy, an offline medium). */
static const char *choose_url(const struct conf *c, const char *name)
{
	if (name && strchr(name, '/'))
		return name;
	for (size_t i = 0; i < c->n_repositories; i++)
		if (!name || !strcmp(c->repositories[i].name, name))
			return c->repositories[i].url;
	for (size_t i = 0; name && i < c->n_media; i++)
		if (!strcmp(c->media[i].name, name) && *c->media[i].path)
			return c->media[i].path;
	return NULL;
}

int located_repo_open(const char *volume, const char *name, struct located_repo *ret, struct diag *d)
{
	struct conf c;
	int err = locate(volume, &ret->l, d);

	ret->repo = NULL;
	ret->catalog = (struct set_catalog){0};
	if (err)
		return err;
	err = conf_load(ret->l.store_fd, &c, d);
	if (err == 0) {
		const char *url = choose_url(&c, name);
		const struct header *h = ret->l.header;
		err = url ? repo_open(url, h->volume_id, h->sign_pk, &ret->repo, d)
			  : diag_fail(d, DIAG_NO_REPOSITORY, -ENOENT, "%s", name ? name : "coffer.conf names none");
		if (err == 0)
			err = set_catalog_load(ret->repo, h->volume_id, h->sign_pk, &ret->catalog, d);
	}
	if (err)
		located_repo_close(ret);
	return err;
}

void located_repo_close(struct located_repo *lr)
{
	set_catalog_free(&lr->catalog);
	repo_close(lr->repo);
	lr->repo = NULL;
	locate_free(&lr->l);
}
