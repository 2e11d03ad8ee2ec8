/* VOLUME to store and control socket. See locate.h. */
#include "tools/locate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "tools/recovery_marker.h"

static const char *run_root(void)
{
	const char *dir = getenv("COFFER_RUN_DIR");

	return dir && *dir ? dir : "/run/coffer";
}

void locate_run_dir(const uint8_t volume_id[16], char out[PATH_MAX])
{
	char hex[33];

	bytes_hex(hex, volume_id, 16);
	snprintf(out, PATH_MAX, "%s/%s", run_root(), hex);
}

static void read_where(const char *run, struct located *l)
{
	char path[PATH_MAX + 8];

	snprintf(path, sizeof(path), "%s/where", run);
	json_t *j = json_load_file(path, 0, NULL);
	const char *store = json_string_value(json_object_get(j, "store"));
	const char *mountpoint = json_string_value(json_object_get(j, "mountpoint"));
	if (store && mountpoint && strlen(store) < PATH_MAX && strlen(mountpoint) < PATH_MAX) {
		strcpy(l->store, store);
		strcpy(l->mountpoint, mountpoint);
		l->pid = (pid_t)json_integer_value(json_object_get(j, "pid"));
	}
	json_decref(j);
}

static bool answers(const char *run)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
	    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control", run) >= (int)sizeof(sa.sun_path))
		return false;
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
}

/* Looks through the run folder for the mount point. */
static bool by_mountpoint(const char *real, struct located *l)
{
	CLEANUP_DIR DIR *dir = opendir(run_root());
	struct dirent *de;

	while (dir && (de = readdir(dir))) {
		char run[PATH_MAX];
		struct located one = {.store_fd = -1};

		if (de->d_name[0] == '.')
			continue;
		snprintf(run, sizeof(run), "%s/%s", run_root(), de->d_name);
		read_where(run, &one);
		if (!strcmp(one.mountpoint, real) && answers(run)) {
			strcpy(one.run, run);
			one.mounted = true;
			*l = one;
			return true;
		}
	}
	return false;
}

static int not_there(const char *volume, int err, struct diag *d)
{
	return diag_fail(d, err == EACCES ? DIAG_DENIED : DIAG_NO_VOLUME, -err, "%s", volume);
}

static int look(const char *volume, bool served, struct located *ret, struct diag *d)
{
	struct located l = {.store_fd = -1};
	char real[PATH_MAX];
	bool backup;

	if (!realpath(volume, real))
		return not_there(volume, errno, d);
	if (!by_mountpoint(real, &l))
		strcpy(l.store, real);
	l.store_fd = open(l.store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l.store_fd < 0 && errno == EACCES && served && l.mounted) {
		*ret = l;
		return 0;
	}
	if (l.store_fd < 0)
		return not_there(volume, errno, d);
	int err = recovery_marker_refuse(l.store_fd, l.store, d);
	if (err == 0)
		err = header_read(l.store_fd, l.store, &l.header, &backup, d);
	if (err) {
		close(l.store_fd);
		return err;
	}
	locate_run_dir(l.header->volume_id, l.run);
	l.mounted = answers(l.run);
	if (l.mounted)
		read_where(l.run, &l);
	*ret = l;
	return 0;
}

int locate(const char *volume, struct located *ret, struct diag *d)
{
	return look(volume, false, ret, d);
}

int locate_served(const char *volume, struct located *ret, struct diag *d)
{
	return look(volume, true, ret, d);
}

void locate_free(struct located *l)
{
	free(l->header);
	if (l->store_fd >= 0)
		close(l->store_fd);
	*l = (struct located){.store_fd = -1};
}
