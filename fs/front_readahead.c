/*
 * How far the kernel reads ahead on the mounted volume.
 *
 * The kernel's default of 128 KiB makes every read request that small, and leaves one under way at a time; each then costs a
 * round trip and a seal's overhead. The limit is a file of the mount's backing device info in sysfs. It is found through the mount table, never by asking the
 * filesystem itself: at this time nobody answers yet. Not being allowed to write it is no error.
 */
#include "fs/front_internal.h"

#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"

#define READAHEAD_KIB (FRONT_DEVICE_READAHEAD >> 10) /* the kernel caps it at what INIT agrees on */

/* The octal escapes of the mount table, undone in place. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		unsigned v;
		if (*s == '\\' && sscanf(s, "\\%3o", &v) == 1 && strlen(s) >= 4) {
			*out++ = (char)v;
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = 0;
}

/* "MAJOR:MINOR" of the last thing mounted there. */
static bool find_device(const char *mountpoint, char ret[32])
{
	CLEANUP_FILE FILE *f = fopen("/proc/self/mountinfo", "re");
	CLEANUP_FREE char *line = NULL;
	size_t cap = 0;
	bool found = false;

	while (f && getline(&line, &cap, f) > 0) {
		char device[32];
		CLEANUP_FREE char *place = malloc(cap + 1);

		if (!place || sscanf(line, "%*d %*d %31s %*s %s", device, place) != 2)
			continue;
		unescape(place);
		if (strcmp(place, mountpoint) != 0)
			continue;
		strcpy(ret, device);
		found = true;
	}
	return found;
}

void front_readahead(const char *mountpoint)
{
	char device[32], path[80];

	if (!find_device(mountpoint, device))
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%s/read_ahead_kb", device);
	CLEANUP_FILE FILE *f = fopen(path, "we");
	if (f)
		fprintf(f, "%u\n", READAHEAD_KIB);
}
