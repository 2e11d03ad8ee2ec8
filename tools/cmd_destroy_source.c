/*
 * Where coffer destroy reads orders: in the store, or, for who may not, in a private copy of what the serving process
 * tells.
 *
 * The copy has the store's layout, so that the same code verifies it: the chain of charters from the fingerprint on,
 * the requester's and every member's signature, the inventory's digest. A serving process that tells something else
 * than it holds gains nothing by it: a statement names charter and order by digest.
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/durable.h"
#include "tools/cmd_destroy.h"

#define CHARTERS "charter"

static int put(int dirfd, const char *name, const char *text)
{
	CLEANUP_FD int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return -EUCLEAN;
	return fd < 0 ? -errno : durable_pwrite(fd, text, len, 0);
}

/* A new folder of the copy, opened. */
static int folder(int dirfd, const char *name)
{
	if (mkdirat(dirfd, name, 0700) != 0)
		return -errno;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int copy_charters(int top, const json_t *texts)
{
	CLEANUP_FD int dirfd = folder(top, CHARTERS);
	int err = dirfd < 0 ? dirfd : 0;

	for (size_t i = 0; err == 0 && i < json_array_size(texts); i++) {
		char name[24];

		snprintf(name, sizeof(name), "%zu", i + 1);
		err = put(dirfd, name, json_string_value(json_array_get(texts, i)));
	}
	return err;
}

/* Only names that an order's folder has: what is told becomes no path. */
static bool known_name(const char *name)
{
	return !strcmp(name, ORDER_FILE_ORDER) || !strcmp(name, ORDER_FILE_INVENTORY) ||
	       !strcmp(name, ORDER_FILE_JOURNAL) || !strcmp(name, ORDER_FILE_CERTIFICATE) || order_statement_name(name);
}

static int copy_order(int top, const char *number, json_t *files)
{
	CLEANUP_FD int orders = folder(top, ORDER_FOLDER);
	CLEANUP_FD int dirfd = orders < 0 ? orders : folder(orders, number);
	int err = dirfd < 0 ? dirfd : 0;
	const char *name;
	json_t *text;

	json_object_foreach(files, name, text)
		if (err == 0 && known_name(name))
			err = put(dirfd, name, json_string_value(text));
	return err;
}

static int copy(struct destroy_source *src, const char *number)
{
	const char *base = getenv("TMPDIR");
	int err;

	if (snprintf(src->copy, sizeof(src->copy), "%s/coffer-order.XXXXXX", base && *base ? base : "/tmp") >=
		    (int)sizeof(src->copy) ||
	    !mkdtemp(src->copy)) {
		src->copy[0] = 0;
		return -errno;
	}
	src->fd = open(src->copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = src->fd < 0 ? -errno : copy_charters(src->fd, json_object_get(src->answer, "charters"));
	if (err == 0 && number)
		err = copy_order(src->fd, number, json_object_get(src->answer, "files"));
	return err;
}

static int served(const struct located *l, const char *number, struct destroy_source *src, struct diag *d)
{
	const char *first;
	json_t *req = number ? json_pack("{s:s, s:s}", "op", "order.read", "order", number)
			     : json_pack("{s:s}", "op", "orders.list");
	int err = control_call(l->run, req, NULL, NULL, &src->answer, d);

	if (err)
		return err;
	first = json_string_value(json_object_get(src->answer, "first"));
	/* The store's own header, where it can be read, is worth more than what is told. */
	if (l->header)
		memcpy(src->first, l->header->charter_first, 32);
	else if (!first || bytes_unhex(first, src->first, 32) != 0)
		return diag_fail_errno(d, -EUCLEAN, "the serving process's answer");
	err = copy(src, number);
	return err ? diag_fail_errno(d, err, "a copy of what the serving process tells") : 0;
}

int destroy_source_open(const struct located *l, const char *number, bool must_be_served, struct destroy_source *ret,
			struct diag *d)
{
	struct destroy_source src = {.fd = -1};
	int err = 0;

	if (must_be_served && !l->mounted)
		return diag_fail(d, DIAG_NOT_MOUNTED, -ENOTCONN, "%s", l->store);
	if (must_be_served || l->store_fd < 0) {
		err = served(l, number, &src, d);
	} else {
		src.fd = fcntl(l->store_fd, F_DUPFD_CLOEXEC, 0);
		memcpy(src.first, l->header->charter_first, 32);
		err = src.fd < 0 ? diag_fail_errno(d, -errno, "%s", l->store) : 0;
	}
	if (err)
		destroy_source_close(&src);
	else
		*ret = src;
	return err;
}

static int on_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	remove(path);
	return 0;
}

void destroy_source_close(struct destroy_source *src)
{
	if (src->fd >= 0)
		close(src->fd);
	if (*src->copy)
		nftw(src->copy, on_remove, 8, FTW_DEPTH | FTW_PHYS);
	json_decref(src->answer);
	*src = (struct destroy_source){.fd = -1};
}

int destroy_charter(const struct destroy_source *src, struct charter **ret, struct diag *d)
{
	return charter_load(src->fd, NULL, src->first, ret, d);
}

int destroy_load(const struct destroy_source *src, const char *number, struct charter **ret_charter, struct order *ret,
		 struct diag *d)
{
	int err = destroy_charter(src, ret_charter, d);

	if (err)
		return err;
	err = order_load(src->fd, number, ret, NULL, NULL, d);
	if (err) {
		free(*ret_charter);
		*ret_charter = NULL;
	}
	return err;
}
