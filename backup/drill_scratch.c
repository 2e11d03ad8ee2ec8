/* The scratch folder of a drill: one file at a time, seen by nobody else, gone afterwards. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/drill_internal.h"
#include "core/cleanup.h"

#define PREFIX "coffer-drill-"
#define FILE_NAME "file"

int drill_scratch_begin(struct drill *dr)
{
	int n = snprintf(dr->scratch, sizeof(dr->scratch), "%s/" PREFIX "XXXXXX", dr->in->scratch);

	if (n < 0 || (size_t)n >= sizeof(dr->scratch))
		return -ENAMETOOLONG;
	dr->restore = calloc(1, sizeof(*dr->restore));
	uint8_t *range = malloc(SET_RANGE);
	if (!dr->restore || !range || !mkdtemp(dr->scratch)) { /* 0700 */
		int err = dr->restore && range ? -errno : -ENOMEM;
		free(range);
		free(dr->restore);
		dr->restore = NULL;
		return err;
	}
	*dr->restore = (struct restore){.sv = dr->view, .d = dr->d, .to_fd = -1, .range = range};
	dr->scratch_fd = open(dr->scratch, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dr->scratch_fd >= 0)
		return 0;
	int err = -errno;
	drill_scratch_end(dr);
	return err;
}

/* A scratch folder is flat. */
static void empty(int fd)
{
	CLEANUP_DIR DIR *dir = fdopendir(dup(fd));

	for (struct dirent *e; dir && (e = readdir(dir));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlinkat(fd, e->d_name, 0);
}

void drill_scratch_end(struct drill *dr)
{
	if (!dr->restore)
		return;
	if (dr->scratch_fd >= 0) {
		empty(dr->scratch_fd);
		close(dr->scratch_fd);
	}
	dr->scratch_fd = -1;
	rmdir(dr->scratch);
	free(dr->restore->range);
	free(dr->restore);
	dr->restore = NULL;
}

static int digest_restored(struct drill *dr, uint64_t *ret_size, uint8_t ret[CONTENT_DIGEST_LEN])
{
	CLEANUP_FD int fd = openat(dr->scratch_fd, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	*ret_size = (uint64_t)st.st_size;
	return content_digest_fd(fd, ret);
}

int drill_scratch_restore(struct drill *dr, uint64_t id, const struct set_node *n,
			  uint64_t *ret_size, uint8_t ret[CONTENT_DIGEST_LEN])
{
	const struct restore_request in = {.view = dr->view, .to = dr->scratch};
	struct set_node alone = *n;

	/* Other names of the file are no business of this folder. */
	alone.attr.nlink = 1;
	dr->restore->in = &in;
	int err = restore_write(dr->restore, dr->scratch_fd, FILE_NAME, id, &alone);
	dr->restore->in = NULL;
	if (err == 0) {
		dr->res.n_bytes = dr->restore->res.n_bytes;
		err = digest_restored(dr, ret_size, ret);
	}
	unlinkat(dr->scratch_fd, FILE_NAME, 0);
	return err;
}

void drill_sweep(const char *scratch)
{
	CLEANUP_FD int at = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_DIR DIR *dir = at < 0 ? NULL : fdopendir(dup(at));

	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) != 0)
			continue;
		CLEANUP_FD int fd =
		    openat(at, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		empty(fd);
		unlinkat(at, e->d_name, AT_REMOVEDIR);
	}
}
