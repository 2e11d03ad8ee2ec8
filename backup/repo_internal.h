/* Inside repositories: the table of operations that a back end fills in. */
#ifndef COFFER_BACKUP_REPO_INTERNAL_H
#define COFFER_BACKUP_REPO_INTERNAL_H

#include "backup/repo.h"

/* Names have been validated before any of these is called. 0 or -errno. */
struct repo_ops {
	/* exclusive: -EEXIST when taken. Durable and whole on return. */
	int (*put)(void *self, const char *name, const void *p, size_t len, bool exclusive);
	int (*read)(void *self, const char *name, uint64_t off, void *p, size_t len);
	int (*size)(void *self, const char *name, uint64_t *ret);
	int (*remove)(void *self, const char *name);
	int (*list)(void *self, const char *prefix, char ***ret, size_t *ret_n);
	void (*close)(void *self);
};

struct repo {
	const struct repo_ops *ops;
	void *self;
	char *url;
};

/* A folder; create makes it (0700). -ENOENT when there is none. */
int repo_folder_open(const char *path, bool create, const struct repo_ops **ret_ops,
		     void **ret_self);
bool repo_s3_url(const char *url);
/*
 * A bucket, which must be there, and a prefix in it; URLs: repo_s3_url.c. DIAG_NO_REPOSITORY with
 * the reason: -ENOENT no such bucket, -EACCES refused, -ENOKEY no credentials, -EINVAL no such URL.
 */
int repo_s3_open(const char *url, const struct repo_ops **ret_ops, void **ret_self, struct diag *d);

/* A component of a name: [A-Za-z0-9._-], no leading dot. */
bool repo_component_valid(const char *s, size_t len);

#endif
