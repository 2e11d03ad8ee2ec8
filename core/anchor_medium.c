/*
 * What an anchor lies on, as far as the kernel tells: filesystem, device, and whether overwriting
 * reaches the old bytes.
 *
 * Best effort, for the record and for people: whatever cannot be found out is left out or called
 * unknown.
 */
#include "core/anchor.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define FAMILY_COW "copy-on-write: overwriting does not reach the old bytes"
#define FAMILY_LOG "log-structured: overwriting does not reach the old bytes"
#define FAMILY_NET "network: what the server keeps is unknown"
#define FAMILY_MEM "memory: lost at power-off"
#define FAMILY_LAYER "stacked: what lies beneath is unknown"

/* Filesystems whose kind says more than their device. */
struct medium_row {
	long f_type;
	const char *name;
	const char *remark;
};

static const struct medium_row rows[] = {
    {BTRFS_SUPER_MAGIC, "btrfs", FAMILY_COW},
    {0x2fc12fc1, "zfs", FAMILY_COW},
    {(long)0xca451a4e, "bcachefs", FAMILY_COW},
    {(long)F2FS_SUPER_MAGIC, "f2fs", FAMILY_LOG},
    {NILFS_SUPER_MAGIC, "nilfs2", FAMILY_LOG},
    {0x24051905, "ubifs", FAMILY_LOG},
    {NFS_SUPER_MAGIC, "nfs", FAMILY_NET},
    {(long)0xff534d42, "cifs", FAMILY_NET},
    {(long)0xfe534d42, "smb2", FAMILY_NET},
    {0x00c36400, "ceph", FAMILY_NET},
    {0x01021997, "9p", FAMILY_NET},
    {TMPFS_MAGIC, "tmpfs", FAMILY_MEM},
    {(long)0x858458f6, "ramfs", FAMILY_MEM},
    {OVERLAYFS_SUPER_MAGIC, "overlay", FAMILY_LAYER},
    {FUSE_SUPER_MAGIC, "fuse", FAMILY_LAYER},
    {0xf15f, "ecryptfs", FAMILY_LAYER},
};

static const struct medium_row *row_find(const char *dir)
{
	struct statfs fs;

	if (statfs(dir, &fs) < 0)
		return NULL;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if ((unsigned int)rows[i].f_type == (unsigned int)fs.f_type)
			return &rows[i];
	}
	return NULL;
}

/* Filesystem type and source of the mount with this id, from /proc/self/mountinfo. */
static bool mount_find(unsigned long long id, char type[64], char source[256])
{
	CLEANUP_FILE FILE *f = fopen("/proc/self/mountinfo", "re");
	CLEANUP_FREE char *line = NULL;
	size_t cap = 0;

	while (f && getline(&line, &cap, f) > 0) {
		unsigned long long this_id;
		const char *dash;

		if (sscanf(line, "%llu ", &this_id) != 1 || this_id != id)
			continue;
		dash = strstr(line, " - ");
		return dash && sscanf(dash, " - %63s %255s", type, source) == 2;
	}
	return false;
}

/* "0" or "1" of the disk's queue; a partition's queue is its disk's. */
static const char *rotation(unsigned major, unsigned minor)
{
	static const char *const queues[] = {"queue", "../queue"};
	char path[PATH_MAX];

	for (size_t i = 0; i < 2; i++) {
		CLEANUP_FILE FILE *f = NULL;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/rotational", major, minor,
			 queues[i]);
		f = fopen(path, "re");
		if (f)
			return fgetc(f) == '1' ? "rotational"
					       : "not rotational: flash may keep old bytes";
	}
	return "kind of device unknown";
}

static bool is_virtual(const char *source)
{
	return !strncmp(source, "/dev/vd", 7) || !strncmp(source, "/dev/xvd", 8) ||
	       !strncmp(source, "/dev/loop", 9) || !strncmp(source, "/dev/nbd", 8) ||
	       !strncmp(source, "/dev/rbd", 8);
}

void anchor_medium(const char *dir, char *out, size_t out_len)
{
	const struct medium_row *row = row_find(dir);
	char type[64] = "unknown filesystem", source[256] = "unknown device";
	struct statx st;

	if (row) {
		snprintf(out, out_len, "%s (%s)", row->name, row->remark);
		return;
	}
	if (statx(AT_FDCWD, dir, 0, STATX_BASIC_STATS | STATX_MNT_ID, &st) < 0) {
		snprintf(out, out_len, "unknown");
		return;
	}
	if (st.stx_mask & STATX_MNT_ID)
		mount_find(st.stx_mnt_id, type, source);
	snprintf(out, out_len, "%s on %s (%s)", type, source,
		 is_virtual(source) ? "virtual disk: what lies beneath is unknown"
				    : rotation(st.stx_dev_major, st.stx_dev_minor));
}
