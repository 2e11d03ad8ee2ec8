/* What the store lies on. See media.h. */
#include "shred/media.h"

#include <stdio.h>
#include <string.h>

#include "core/anchor.h"

#define ROTATIONAL "(rotational)"

void media_describe_path(const char *path, char out[MEDIA_TEXT_MAX])
{
	anchor_medium(strncmp(path, "file:", 5) ? path : path + 5, out, MEDIA_TEXT_MAX);
}

void media_describe(int dir_fd, char out[MEDIA_TEXT_MAX])
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", dir_fd);
	media_describe_path(path, out);
}

bool media_overwriting_reaches(const char *description)
{
	size_t len = strlen(description), tail = strlen(ROTATIONAL);

	return len >= tail && strcmp(description + len - tail, ROTATIONAL) == 0;
}
