/*
 * What the kernel caches of the mounted volume: how far it reads ahead, and how much it holds back.
 *
 * Its default of 128 KiB ahead makes every read request that small, and leaves one under way at a time; each then costs a round
 * trip and a seal's overhead.
 *
 * Of all dirty pages it allows a FUSE filesystem 1 %, so that a process that does not answer keeps few. With more, random writes
 * are gathered and come in order. What must not be is that the process is made to wait, as any writer is when too many pages
 * are dirty, for pages that only it can write. One that has said that it is part of the way out (PR_SET_IO_FLUSHER, prctl(2)) is
 * throttled by its own device only; without that the part is so small that the dirty pages which make it wait are others'.
 *
 * Both limits are files of the mount's backing device info in sysfs. It is found through the mount table, never by asking the
 * filesystem itself: at this time nobody answers yet. Not being allowed to write them is no error.
 */
#include "fs/front_internal.h"

#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"

#define READAHEAD_KIB (FRONT_DEVICE_READAHEAD >> 10) /* the kernel caps it at what INIT agrees on */
/* Of the dirty pages that the kernel allows in all. */
#define DIRTY_PERCENT 10
#define DIRTY_PERCENT_FLUSHER 25

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

static void set_limit(const char *device, const char *name, unsigned value)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/class/bdi/%s/%s", device, name);
	CLEANUP_FILE FILE *f = fopen(path, "we");
	if (f)
		fprintf(f, "%u\n", value);
}

void front_bdi(const char *mountpoint, bool io_flusher)
{
	char device[32];

	if (!find_device(mountpoint, device))
		return;
	set_limit(device, "read_ahead_kb", READAHEAD_KIB);
	set_limit(device, "max_ratio", io_flusher ? DIRTY_PERCENT_FLUSHER : DIRTY_PERCENT);
}
