/* See recovery_marker.h. One line of JSON: it holds nothing secret. */
#include "tools/recovery_marker.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/durable.h"

#define NAME "recovering"
#define LEN_MAX 1024

static int parse(const char *text, struct recovery_marker *ret)
{
	struct recovery_marker m = {0};
	const char *root = "";
	json_int_t size = 0;
	int records = 0, trail = 0;
	json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	int err = j && json_unpack(j, "{s:b, s:b, s:I, s:s}", "records_lost", &records, "trail_lost", &trail, "trail_size",
				   &size, "trail_root", &root) == 0
			  ? bytes_unhex(root, m.old.root, 32)
			  : -EUCLEAN;

	json_decref(j);
	if (err || size < 0)
		return -EUCLEAN;
	m.records_lost = records;
	m.trail_lost = trail;
	m.old.size = (uint64_t)size;
	*ret = m;
	return 0;
}

int recovery_marker_read(int store_fd, struct recovery_marker *ret, struct diag *d)
{
	CLEANUP_FREE uint8_t *text = NULL;
	size_t len;
	int err = durable_read(store_fd, NAME, LEN_MAX, &text, &len);

	if (err == -ENOENT)
		return err;
	if (err == 0)
		err = parse((const char *)text, ret);
	return err ? diag_fail_errno(d, err, "the store's file \"" NAME "\"") : 0;
}

int recovery_marker_write(int store_fd, const struct recovery_marker *m, struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	char root[65];

	bytes_hex(root, m->old.root, 32);
	json_t *j = json_pack("{s:b, s:b, s:I, s:s}", "records_lost", m->records_lost, "trail_lost", m->trail_lost,
			      "trail_size", (json_int_t)m->old.size, "trail_root", root);
	text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	int err = text ? durable_replace(store_fd, NAME, text, strlen(text), 0600) : -ENOMEM;
	return err ? diag_fail_errno(d, err, "the store's file \"" NAME "\"") : 0;
}

int recovery_marker_remove(int store_fd, struct diag *d)
{
	int err = durable_unlink(store_fd, NAME);

	return err ? diag_fail_errno(d, err, "the store's file \"" NAME "\"") : 0;
}

int recovery_marker_refuse(int store_fd, const char *store, struct diag *d)
{
	if (faccessat(store_fd, NAME, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	return diag_fail(d, DIAG_INTERRUPTED, -EINPROGRESS, "the recovery of %s by 'coffer key recover'", store);
}
